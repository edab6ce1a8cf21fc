//! How many keys a space has beyond those that its table counts: what is not merged, row by row. Most rows say themselves what lies below
//! them; what a generation comes to is remembered once nothing is added to it.

use std::ops::ControlFlow;

use super::committed::Committed;
use super::scan;
use crate::storage::error::Result;
use crate::storage::memtable::{Collected, Window};
use crate::storage::rows::{Origin, Part, Range};

/// By how many the keys of a space, and those of them that end, are more.
type Change = (i64, i64);

/// Changes by space and generation.
#[derive(Default)]
pub(super) struct Remembered(Vec<(u64, u64, Change)>);

/// Spaces are flushed and new ones come: those that were asked for last are remembered.
const REMEMBERED_MAX: usize = 256;

impl Remembered {
    fn find(&self, space: u64, generation: u64) -> Option<Change> {
        let found = self.0.iter().find(|(of, number, _)| (*of, *number) == (space, generation));
        found.map(|(.., change)| *change)
    }

    fn add(&mut self, space: u64, generation: u64, change: Change) {
        self.0.truncate(REMEMBERED_MAX - 1);
        self.0.insert(0, (space, generation, change));
    }

    fn forget_before(&mut self, generation: u64) {
        self.0.retain(|(_, number, _)| *number >= generation);
    }
}

impl Committed {
    /// What all that is not merged comes to: each generation changes what is there after the one before it.
    pub(super) fn count_unmerged(&self, space: u64) -> Result<Change> {
        let window = self.window.get();
        self.remembered.borrow_mut().forget_before(window.oldest);
        let (mut keys, mut ends) = (0, 0);
        for generation in window.oldest..=window.newest {
            let change = self.count_generation(space, generation, &window)?;
            (keys, ends) = (keys + change.0, ends + change.1);
        }
        Ok((keys, ends))
    }

    fn count_generation(&self, space: u64, generation: u64, window: &Window) -> Result<Change> {
        // Of the oldest one the tables may have a part, which they count; and where a row could not be written, none says what lies below it.
        let is_below_known = generation > window.oldest && !self.base.has_left_out()?;
        let is_remembered = is_below_known && generation < self.whole_before.get();
        if is_remembered && let Some(known) = self.remembered.borrow().find(space, generation) {
            return Ok(known);
        }
        let (mut keys, mut ends) = (0, 0);
        let range = Range::Keys { space, first: 0, last: u64::MAX };
        let alone = Window { oldest: generation, newest: generation, ..*window };
        self.with_portions(|portion, other| {
            scan::unmerged(self.memory, range, &alone, (portion, other), &mut |row| {
                let above = row.row.map(|row| row.of_key().head.expires_at_ms);
                let below = match row.origin {
                    Origin::Absent if is_below_known => None,
                    Origin::Present { expires_at_ms, .. } if is_below_known => Some(expires_at_ms),
                    _ => self.expiry_in_table(row, above)?,
                };
                keys += i64::from(above.is_some()) - i64::from(below.is_some());
                ends += i64::from(above.flatten().is_some()) - i64::from(below.flatten().is_some());
                Ok(ControlFlow::Continue(()))
            })
        })?;
        if is_remembered {
            self.remembered.borrow_mut().add(space, generation, (keys, ends));
        }
        Ok((keys, ends))
    }

    /// When the key ends that the table has, if it has it. `above`: what memory says of it.
    fn expiry_in_table(&self, row: &Collected<'_>, above: Option<Option<i64>>) -> Result<Option<Option<i64>>> {
        match self.base.row_in_table(row.key, Part::Head, |row| row.of_key().head.expires_at_ms) {
            // Whether the table counts it nobody can say any more, and the number of all keys is not to be lost for one.
            // Where somebody writes, that would spoil his transaction unseen.
            Err(error) if error.is_damage() && self.base.check_writing().is_err() => Ok(above),
            below => below,
        }
    }
}
