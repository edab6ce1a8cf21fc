//! Named points at which the writer can be told to die: how the tests prove that no point of its life loses or repeats a
//! write. Set by DEBUG KILL-WRITER, which is there only when the operator allows DEBUG.

use crate::kv::shared::hand_offs::{HandOff, HandOffs};
use crate::storage::points;
use crate::sys::process;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    BeforeCommit = 1,
    AfterCommit = 2,
    BeforeUnmark = 3,
    AmidReplies = 4,
}

const POINTS: [(&str, Point); 4] = [
    ("before-commit", Point::BeforeCommit),
    ("after-commit", Point::AfterCommit),
    ("before-unmark", Point::BeforeUnmark),
    ("amid-replies", Point::AmidReplies),
];

/// The numbers of the points of storage come behind those.
const OF_STORAGE: u64 = 100;

/// By name: the writer's own points, and those that it passes in storage.
#[must_use]
pub fn point_named(is_name: impl Fn(&str) -> bool) -> Option<u64> {
    let own = POINTS.iter().find(|(name, _)| is_name(name)).map(|(_, point)| *point as u64);
    let of_storage = || points::Point::ALL.iter().find(|(name, _)| is_name(name));
    own.or_else(|| of_storage().map(|(_, point)| OF_STORAGE + *point as u64))
}

/// The writer is here. Ends the process, once, if it was told to die here.
pub fn reach(hand_offs: &HandOffs, point: Point) {
    reached(hand_offs, point as u64);
}

/// From now on this process dies at points of storage, too.
pub fn listen(hand_offs: &HandOffs) {
    let hand_offs = hand_offs.clone();
    points::tell(move |point| reached(&hand_offs, OF_STORAGE + point as u64));
}

fn reached(hand_offs: &HandOffs, point: u64) {
    if hand_offs.read(HandOff::KillAt) == point {
        hand_offs.set(HandOff::KillAt, 0);
        process::kill_self();
    }
}
