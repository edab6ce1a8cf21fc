//! What goes into a step of upkeep and what comes out of it: plain values.

use std::sync::Arc;
use std::time::Duration;

use crate::storage::DATABASES;
use crate::storage::error::StorageError;

/// What the caller wants of a step.
#[derive(Clone, Copy, Debug)]
pub struct Wishes {
    /// Keys that end before this time (milliseconds since 1970) have expired.
    pub now_ms: i64,
    /// No group ran since the last step.
    pub is_idle: bool,
    /// Expired keys are removed though nobody meets them.
    pub removes_expired: bool,
    /// The number of the last checkpoint that somebody asked for, while it is not done.
    pub checkpoint: Option<u64>,
    /// Somebody copies the file: what is committed by now should be in the tables.
    pub merges_all: bool,
}

/// What was found and done since the last report. `None`: it was not looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    pub disk: Option<Disk>,
    pub wal_bytes: Option<u64>,
    /// Readers keep the `-wal` from being restarted, and it is far beyond its budget.
    pub is_wal_held: Option<bool>,
    pub data_bytes: Option<u64>,
    /// Of each database, when a sweep has changed them.
    pub sizes: Option<[Size; DATABASES]>,
    /// For how long the keys of each database that end will still be there, in milliseconds: an estimate. 0: there are none.
    pub average_ttls_ms: Option<[u64; DATABASES]>,
    /// Keys that were removed because their time had passed.
    pub expired_keys: u64,
    pub unmerged: Option<Unmerged>,
    pub merged: Merged,
    /// In the order in which they happened.
    pub events: Vec<Event>,
}

/// The room on the data's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    pub free_bytes: u64,
    /// Less than the reserve: nothing may grow, and what is not needed is given back.
    pub is_short: bool,
}

/// What is committed and not in the tables yet: it lies in the journal and in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unmerged {
    pub bytes: u64,
    pub rows: u64,
    /// Those that have rows; one of them takes what is written.
    pub generations: u64,
    /// How old the oldest of it is: so old is what `sqlite3` shows.
    pub age: Duration,
}

/// Rows on their way into the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    pub slices: u64,
    pub rows: u64,
    /// Of all slices together.
    pub duration: Duration,
    /// Generations of which the last row has come.
    pub generations: u64,
    /// How often a group had to wait until a generation was free.
    pub pauses: u64,
    /// Rows that could not be written and were put aside (table `left_out`).
    pub left_out: u64,
}

/// How many keys a database has, and how many of them end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    pub keys: u64,
    pub expires: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A pass has begun to copy what is in the `-wal`.
    PassBegun,
    PassEnded {
        duration: Duration,
        is_failed: bool,
        /// All that was in the `-wal` at its begin is in the data file.
        is_complete: bool,
        /// The last checkpoint that had been asked for at its begin, if it is done with this pass.
        done: Option<u64>,
    },
    /// `is_done` is false when readers were in the way, or the disk was full.
    WalRestart { duration: Duration, is_done: bool },
    /// One step of sweeping.
    Swept { duration: Duration },
}

/// A sync of the `-wal` with durability `everysec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synced {
    /// Whatever was committed before that is on the disk: milliseconds of `clock::uptime_ms`.
    pub begun_ms: u64,
    pub duration: Duration,
}

/// What can't wait for a report. It is called on the thread on which it happens.
#[derive(Clone)]
pub struct Hooks {
    /// Something failed. After a failed sync this must not return: the process ends before anything else is acknowledged.
    pub failed: Arc<dyn Fn(&StorageError) + Send + Sync>,
    pub synced: Arc<dyn Fn(Synced) + Send + Sync>,
}
