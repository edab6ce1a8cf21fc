//! What is committed and not in the tables: for whoever decides how much of it is merged when.

use std::time::{Duration, Instant};

use super::groups::Groups;
use super::keyspace::Keyspace;
use crate::storage::error::Result;
use crate::storage::merge::Room;
use crate::storage::sqlite::GENERATIONS;
use crate::sys::clock;

/// All generations after `merged`, up to the newest, which takes what is written.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Backlog {
    pub merged: u64,
    pub newest: u64,
    /// Of the newest one: 0 as long as it is empty, 1 when the next group begins another.
    pub fullness: f64,
    /// What there is to merge without freezing, and what room.
    pub room: Room,
    /// Of all of them.
    pub rows: u64,
    pub bytes: u64,
}

/// A generation takes groups while this is left of it: the largest usual one finds room.
const HEADROOM: f64 = 0.25;
/// In `merge_until`: slices that fail in a row for a row that is to be found yet.
const FAILURES_MAX: u32 = 4;
const LAST_SLICE: Duration = Duration::from_millis(20);

impl Groups {
    fn backlog(&self) -> Backlog {
        let memory = self.memory();
        let (merged, newest) = (memory.merged(), memory.newest());
        let last = memory.figures_of(newest);
        let used = last.used_bytes as f64 / last.arena_bytes.max(1) as f64;
        let fullness = match last.versions {
            0 => 0.0,
            _ => (used.max(self.region_used()) / (1.0 - HEADROOM)).min(1.0),
        };
        let all = memory.figures();
        let free_places = GENERATIONS.saturating_sub(newest - merged);
        let room = Room {
            free: free_places as f64 + 1.0 - fullness,
            rows_left: (all.rows - last.rows).saturating_sub(self.merger.rows_done()),
            bytes_left: all.row_bytes - last.row_bytes,
        };
        Backlog { merged, newest, fullness, room, rows: all.rows, bytes: all.used_bytes }
    }
}

impl Keyspace {
    /// `None`: every group goes into the tables at once.
    #[must_use]
    pub fn backlog(&self) -> Option<Backlog> {
        self.store.groups.as_ref().map(Groups::backlog)
    }

    /// Rows of all databases that are in memory and not in the tables, as of now; in a reader's process too.
    #[must_use]
    pub fn unmerged_rows(&self) -> u64 {
        self.store.memory().figures().rows
    }

    /// How much longer the file becomes, at most, by what is committed and not in the tables: pages are not full, and a row has its index.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn unmerged_growth_bytes(&self) -> Result<u64> {
        match self.store.memory().figures().row_bytes {
            0 => Ok(0),
            bytes => Ok((bytes / 2 * 3).saturating_sub(self.store.unused_bytes()?)),
        }
    }

    /// How often a group has waited until a generation was free.
    #[must_use]
    pub fn pauses(&self) -> u64 {
        self.store.groups.as_ref().map_or(0, |groups| groups.pauses)
    }

    /// Rows that could not be written into their tables, since the start.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.store.groups.as_ref().map_or(0, |groups| groups.merger.left_out())
    }

    /// All that is committed goes into the tables, between groups, but not for longer than `until`: true when it is done.
    ///
    /// # Errors
    /// Those of a commit.
    pub fn merge_until(&mut self, now_ms: i64, until: Instant) -> Result<bool> {
        let mut failures = 0;
        loop {
            let is_frozen = self.freeze(now_ms);
            loop {
                if clock::monotonic() >= until {
                    return Ok(self.backlog().is_none_or(|backlog| backlog.rows == 0));
                }
                match self.merge(LAST_SLICE) {
                    Ok(Some(_)) => failures = 0,
                    Ok(None) => break,
                    Err(error) if error.is_of_the_call() && failures < FAILURES_MAX => failures += 1,
                    Err(error) => return Err(error),
                }
            }
            if is_frozen {
                return Ok(true);
            }
        }
    }
}
