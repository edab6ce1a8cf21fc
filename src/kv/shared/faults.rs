//! Named points at which the writer can be told to die: how the tests prove that no point of its life loses or repeats a
//! write. Set by DEBUG KILL-WRITER, which is there only when the operator allows DEBUG.

use crate::kv::shared::hand_offs::{HandOff, HandOffs};
use crate::sys::process;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    BeforeCommit = 1,
    AfterCommit = 2,
    BeforeUnmark = 3,
    AmidReplies = 4,
}

impl Point {
    pub const ALL: [(&'static str, Point); 4] = [
        ("before-commit", Point::BeforeCommit),
        ("after-commit", Point::AfterCommit),
        ("before-unmark", Point::BeforeUnmark),
        ("amid-replies", Point::AmidReplies),
    ];
}

/// The writer is here. Ends the process, once, if it was told to die here.
pub fn reach(hand_offs: &HandOffs, point: Point) {
    if hand_offs.read(HandOff::KillAt) == point as u64 {
        hand_offs.set(HandOff::KillAt, 0);
        process::kill_self();
    }
}
