//! Words that one process leaves for another, in shared memory: what the writer found, and what it is asked for. They control what is
//! done; nothing here is a setting or a statistic. They end with the service.

use std::io;

use crate::sys::atomic::{AtomicU64, Ordering};
use crate::sys::shared;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandOff {
    /// 1 while less than the reserve is free: no command that makes the data grow is admitted.
    DiskNearlyFull,
    /// 1 since a write failed, until one succeeds: the service is not ready.
    WritesFailing,
    /// 1 after a failed sync, until a checkpoint was complete.
    MustCheckpoint,
    /// 1 while the `-wal` is far beyond its budget, for readers keep it from beginning anew.
    WalIsHeld,
    /// What was committed before this time (milliseconds of the machine's uptime) is on the disk, with durability `everysec`.
    SyncedUntilMs,
    /// Checkpoints that clients have asked for, and the number of the last one that is done.
    CheckpointsAsked,
    CheckpointsDone,
    /// What the data file, its `-wal` and its `-shm` were when they were opened; 1 once the names mean others. See `file_watch`.
    DataFile,
    WalFile,
    IndexFile,
    FilesLost,
    /// Where the writer is to die; see `faults`.
    KillAt,
    /// The number of the next entry of the slow log.
    SlowlogNext,
    /// How often scripts and libraries in the file have changed: what another process knows of them may be old.
    SourcesVersion,
    /// 1 once a script has published something: from then on a worker that misses the writer's words may owe messages to others.
    ScriptsPublish,
    /// The same of ACL LOG.
    AclLogNext,
    /// How often a signal has asked for the file of users to be read again, and how many of these were heard.
    UsersFileAsked,
    UsersFileRead,
    /// The number of the job that is being prepared beside the writer, and how many writers have died meanwhile.
    LongCall,
    LongCallDeaths,
}
const WORDS: usize = HandOff::LongCallDeaths as usize + 1;

#[derive(Clone)]
pub struct HandOffs(&'static [AtomicU64]);

impl HandOffs {
    /// Before the first fork.
    pub fn new() -> io::Result<HandOffs> {
        Ok(HandOffs(shared::words(WORDS)?))
    }

    #[must_use]
    pub fn read(&self, which: HandOff) -> u64 {
        self.0[which as usize].load(Ordering::SeqCst)
    }

    /// True exactly when the word is not 0.
    #[must_use]
    pub fn is_set(&self, which: HandOff) -> bool {
        self.read(which) != 0
    }

    pub fn set(&self, which: HandOff, value: u64) {
        self.0[which as usize].store(value, Ordering::SeqCst);
    }

    /// Counts: the value before.
    #[must_use]
    pub fn next(&self, which: HandOff) -> u64 {
        self.0[which as usize].fetch_add(1, Ordering::SeqCst)
    }
}
