//! Keys that end soon and are not merged: the writer ends them by rows of a group, so that most short-lived keys never cost a write into
//! the tables, and so that others hear in time that they have ended. Of no more than some megabytes of them, those that end first: the
//! others are merged as they are, and swept from the tables. What a writer finds in memory when it starts, it looks through bit by bit.

use std::collections::BTreeSet;
use std::time::Duration;

use super::keyspace::Keyspace;
use crate::storage::DATABASES;
use crate::storage::error::Result;
use crate::storage::keyspace::Store;
use crate::storage::memtable::{Filler, Lost, Walk};
use crate::storage::rows::{Name, Row, RowKey, Table};

#[derive(Default)]
pub(super) struct Deadlines {
    /// The first to end comes first.
    known: BTreeSet<Deadline>,
    bytes: usize,
    ahead_ms: i64,
    /// Generations that predecessors have filled and whose keys were not looked at yet, and how far the oldest of them is looked at.
    unread: std::ops::Range<u64>,
    walk: Option<Walk>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Deadline {
    at_ms: i64,
    space: u64,
    position: u64,
    key: Box<[u8]>,
}

const BYTES_MAX: usize = 8 << 20;
/// What a place in the set takes beside the deadline itself.
const PLACE_BYTES: usize = 16;
/// Whoever ends later is merged by then, where nothing is older than half of that before it is merged.
const AHEAD_MS: i64 = 60_000;

impl Deadline {
    fn bytes(&self) -> usize {
        size_of::<Self>() + PLACE_BYTES + self.key.len()
    }
}

impl Deadlines {
    /// `merge_age_max`: so long a row waits for its merge.
    pub(super) fn new(merge_age_max: Duration) -> Self {
        let merge_ms = i64::try_from(merge_age_max.as_millis()).unwrap_or(i64::MAX);
        Self { ahead_ms: merge_ms.saturating_mul(2).max(AHEAD_MS), ..Self::default() }
    }

    /// A row of a group that is committed.
    pub(super) fn note(&mut self, key: RowKey<'_>, row: Option<Row<'_>>, now_ms: i64) {
        let (Name::Key { space, position, key }, Some(Row::Key(row))) = (key.name(), row) else { return };
        let is_near = |at: &i64| *at <= now_ms.saturating_add(self.ahead_ms);
        let Some(at_ms) = row.head.expires_at_ms.filter(is_near) else { return };
        let deadline = Deadline { at_ms, space, position, key: key.into() };
        let bytes = deadline.bytes();
        let is_full = self.bytes + bytes > BYTES_MAX;
        if is_full && self.known.last().is_none_or(|last| *last <= deadline) {
            return;
        }
        if self.known.insert(deadline) {
            self.bytes += bytes;
        }
        while self.bytes > BYTES_MAX
            && let Some(last) = self.known.pop_last()
        {
            self.bytes -= last.bytes();
        }
    }

    /// What predecessors have left in these generations is looked at bit by bit: so many rows take a while.
    pub(super) fn read_later(&mut self, generations: std::ops::Range<u64>) {
        (self.unread, self.walk) = (generations, None);
    }

    /// So many rows of what is not looked at yet. True when there are more.
    fn read(&mut self, filler: &Filler, rows_max: usize, now_ms: i64) -> bool {
        let mut scratch = Vec::new();
        for _ in 0..rows_max {
            let merged = filler.memory().merged();
            if self.unread.start <= merged {
                // Those are in the tables, and swept from there.
                self.read_later(merged + 1..self.unread.end);
            }
            if self.unread.is_empty() {
                return false;
            }
            let generation = filler.frozen(self.unread.start);
            let walk = self.walk.take().map_or_else(|| generation.walk(Table::Key), Ok);
            let next = walk.and_then(|mut walk| {
                let change = generation.next(&mut walk, &mut scratch)?;
                self.walk = change.is_some().then_some(walk);
                Ok(change)
            });
            match next {
                Ok(Some(change)) => self.note(change.key, change.row, now_ms),
                Ok(None) | Err(Lost) => self.read_later(self.unread.start + 1..self.unread.end),
            }
        }
        !self.unread.is_empty()
    }

    fn take_due(&mut self, now_ms: i64) -> Option<Deadline> {
        if !self.is_due(now_ms) {
            return None;
        }
        let deadline = self.known.pop_first()?;
        self.bytes -= deadline.bytes();
        Some(deadline)
    }

    fn is_due(&self, now_ms: i64) -> bool {
        self.known.first().is_some_and(|first| first.at_ms <= now_ms)
    }
}

impl Keyspace {
    /// After a start: looks at so many keys that were not merged then, for `end_unmerged`. True when there are more.
    pub fn read_unmerged_deadlines(&mut self, rows_max: usize, now_ms: i64) -> bool {
        let Some(groups) = &mut self.store.groups else { return false };
        groups.deadlines.read(&groups.filler, rows_max, now_ms)
    }

    /// Whether `end_unmerged` has something to do.
    #[must_use]
    pub fn has_unmerged_to_end(&self, now_ms: i64) -> bool {
        self.store.groups.as_ref().is_some_and(|groups| groups.deadlines.is_due(now_ms))
    }

    /// Removes keys that are not merged and whose time has passed, those that ended first before the others; how many. Another database
    /// may be selected then.
    pub fn end_unmerged(&mut self, rows_max: usize) -> Result<usize> {
        let now_ms = self.now_ms();
        let mut ended = 0;
        // As often as the deadline was moved there is one that says nothing.
        for _ in 0..rows_max {
            let Some(due) = self.store.groups.as_mut().and_then(|groups| groups.deadlines.take_due(now_ms)) else {
                break;
            };
            let name = RowKey::key(due.space, due.position, &due.key);
            let newest = self.store.unmerged(name)?.flatten();
            if newest.is_none_or(|head| head.expires_at_ms != Some(due.at_ms)) {
                continue;
            }
            for database in 0..DATABASES as u8 {
                if self.space_of(database)? == due.space {
                    self.select(database);
                    // Not announced: it was gone for everybody before.
                    self.delete(&due.key)?;
                    ended += 1;
                }
            }
        }
        Ok(ended)
    }
}
