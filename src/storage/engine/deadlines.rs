//! Keys that end soon and are not merged: the writer ends them by rows of a group, so that most short-lived keys never cost a write into
//! the tables. Of no more than some megabytes of them: the others are merged as they are, and swept from the tables like those of an
//! earlier start.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::keyspace::Keyspace;
use crate::storage::DATABASES;
use crate::storage::error::Result;
use crate::storage::keyspace::Store;
use crate::storage::rows::{Name, Row, RowKey};

#[derive(Default)]
pub(super) struct Deadlines {
    heap: BinaryHeap<Reverse<Deadline>>,
    bytes: usize,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Deadline {
    at_ms: i64,
    space: u64,
    position: u64,
    key: Box<[u8]>,
}

const BYTES_MAX: usize = 4 << 20;
/// Whoever ends later is merged by then.
const AHEAD_MS: i64 = 60_000;

impl Deadline {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.key.len()
    }
}

impl Deadlines {
    /// A row of a group that is committed.
    pub(super) fn note(&mut self, key: RowKey<'_>, row: Option<Row<'_>>, now_ms: i64) {
        let (Name::Key { space, position, key }, Some(Row::Key(row))) = (key.name(), row) else { return };
        let Some(at_ms) = row.head.expires_at_ms.filter(|at| *at <= now_ms.saturating_add(AHEAD_MS)) else { return };
        let deadline = Deadline { at_ms, space, position, key: key.into() };
        if self.bytes + deadline.bytes() <= BYTES_MAX {
            self.bytes += deadline.bytes();
            self.heap.push(Reverse(deadline));
        }
    }

    fn take_due(&mut self, now_ms: i64) -> Option<Deadline> {
        if !self.is_due(now_ms) {
            return None;
        }
        let Reverse(deadline) = self.heap.pop()?;
        self.bytes -= deadline.bytes();
        Some(deadline)
    }

    fn is_due(&self, now_ms: i64) -> bool {
        self.heap.peek().is_some_and(|Reverse(first)| first.at_ms <= now_ms)
    }
}

impl Keyspace {
    /// Whether `end_unmerged` has something to do.
    #[must_use]
    pub fn has_unmerged_to_end(&self, now_ms: i64) -> bool {
        self.store.groups.as_ref().is_some_and(|groups| groups.deadlines.is_due(now_ms))
    }

    /// Removes keys that are not merged and whose time has passed, the oldest first; how many. Another database may be selected then.
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
