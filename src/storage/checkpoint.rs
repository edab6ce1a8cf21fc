//! Moves the -wal into the file beside the writer, and keeps the -wal near its budget. Knows frames and budgets; the
//! threads that call it are the writer process's.
//!
//! ```text
//! checkpoint thread    Checkpointer::passive   copies what is committed, while the writer goes on; then syncs the file
//! writer thread        Keyspace::restart_wal   copies the little that is left and lets the -wal begin anew,
//!                                              between two groups, in at most 10 ms of waiting: else tried again
//! ```
//! Why two: a passive pass never catches up with a busy writer, so on its own it never lets the -wal restart (measured:
//! past 1 GB in seconds); and the whole work on the writer's thread stalls commits for 50-250 ms.
//! The -wal is restarted, not truncated: overwriting allocated blocks syncs 1.75 times faster than appending.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::time::Duration;

use rusqlite::Connection;

use super::connection::{Options, Role, connect};
use super::error::{Result, StorageError};
use super::keyspace::Keyspace;
use super::schema::PAGE_BYTES;

/// A frame of the -wal: a page and its header (<https://www.sqlite.org/fileformat2.html#the_write_ahead_log>).
const FRAME_BYTES: u64 = PAGE_BYTES as u64 + 24;

/// The longest that the writer's last step waits for readers.
const LAST_STEP_WAIT: Duration = Duration::from_millis(10);

/// How far the frames of the -wal have been copied into the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Frames in use; the file `-wal` may be longer.
    pub log_frames: u64,
    /// How many of them, from the first, are in the data file.
    pub checkpointed: u64,
}

impl Progress {
    pub fn log_bytes(&self) -> u64 {
        self.log_frames * FRAME_BYTES
    }

    pub fn remaining_bytes(&self) -> u64 {
        self.log_frames.saturating_sub(self.checkpointed) * FRAME_BYTES
    }
}

/// The second connection of the writer process, for its checkpoint thread.
pub struct Checkpointer {
    connection: Connection,
    /// The data file once more, to sync it. Never closed: closing any descriptor of a file drops the locks that SQLite
    /// holds on it in this process (fcntl(2)). One per writer process, which ends by exiting.
    data: ManuallyDrop<File>,
}

impl Checkpointer {
    pub fn open(options: &Options) -> Result<Self> {
        let connection = connect(options, Role::Checkpoint)?;
        let data = File::open(options.data_path()).map_err(|error| StorageError::Io(error.to_string()))?;
        Ok(Self { connection, data: ManuallyDrop::new(data) })
    }

    /// What is in the -wal now; does nothing about it.
    pub fn progress(&self) -> Result<Progress> {
        progress(&self.connection)
    }

    /// Copies what is committed and no reader holds back, beside the writer and the readers, who never wait for it. Then
    /// syncs the file, so that the writer's last step finds nothing to wait for: SQLite itself would leave that to the
    /// pass that reaches the end of the -wal.
    pub fn passive(&self) -> Result<Progress> {
        let progress = run(&self.connection, "PASSIVE")?.0;
        self.data.sync_data().map_err(|error| StorageError::SyncFailed(format!("data file: {error}")))?;
        Ok(progress)
    }

    /// The whole -wal into the file, both synced: after a failed sync (see `failed_sync`), before a new writer serves. Waits
    /// for readers up to the busy timeout; `Busy` when they did not end.
    pub fn complete(&self) -> Result<Progress> {
        whole(&self.connection, "RESTART")
    }

    /// The orderly end: all is in the file, the -wal is empty.
    pub fn truncate(&self) -> Result<Progress> {
        whole(&self.connection, "TRUNCATE")
    }
}

impl Keyspace {
    /// The writer's last step, between two groups: copies the rest and lets the next commit begin the -wal anew. False
    /// when a reader or a running pass was in the way for 10 ms: try again after a later group.
    pub fn restart_wal(&mut self) -> Result<bool> {
        if self.is_in_transaction() {
            return Err(StorageError::Internal("a checkpoint inside a transaction".into()));
        }
        let usual =
            self.connection.query_row("PRAGMA busy_timeout", [], |row| row.get(0)).map(Duration::from_millis)?;
        self.connection.busy_timeout(LAST_STEP_WAIT)?;
        let done = run(&self.connection, "RESTART");
        self.connection.busy_timeout(usual)?;
        done.map(|(_, blocked)| !blocked)
    }

    /// By how much a checkpoint makes the data file longer, or (negative) shorter.
    pub fn growth_bytes(&self) -> Result<i64> {
        let path = self.connection.path().unwrap_or_default();
        let now = std::fs::metadata(path).map_err(|error| StorageError::Io(format!("{path}: {error}")))?.len();
        Ok(self.data_bytes()?.cast_signed() - now.cast_signed())
    }

    /// What is in the -wal now. After a commit: how near the budget it is.
    pub fn wal_progress(&self) -> Result<Progress> {
        progress(&self.connection)
    }
}

/// The `-wal` file, for durability `everysec`. SQLite takes no locks on this file, so it may be opened and closed freely;
/// it lives as long as any connection does.
#[derive(Debug)]
pub struct WalFile(File);

impl WalFile {
    pub fn open(options: &Options) -> Result<Self> {
        let mut path = options.data_path().into_os_string();
        path.push("-wal");
        File::open(path).map(Self).map_err(|error| StorageError::Io(format!("open -wal: {error}")))
    }

    /// Returns when everything committed before the call is on the disk.
    pub fn sync(&self) -> Result<()> {
        self.0.sync_data().map_err(|error| StorageError::SyncFailed(format!("-wal: {error}")))
    }
}

/// When to work on the -wal, and how much the writer must give way. Pure arithmetic over the budget.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    budget_bytes: u64,
}

impl Pace {
    pub fn new(wal_bytes_max: u64) -> Self {
        Self { budget_bytes: wal_bytes_max.max(FRAME_BYTES) }
    }

    /// Time for a passive pass: a 256th of the budget is not copied yet. Small passes, since the disk does a commit's sync
    /// behind a pass's: 32 MB at once made commits wait for 100 ms, 4 MB for 30. When the -wal is to begin anew they go on
    /// until a sixty-fourth is left, which the writer's last step copies while everybody waits.
    pub fn wants_pass(&self, progress: &Progress) -> bool {
        let tolerated = if self.is_due(progress) { self.budget_bytes / 64 } else { self.budget_bytes / 256 };
        progress.remaining_bytes() > tolerated
    }

    /// The -wal should begin anew: half of the budget is used. The other half is what the writer may fill until it does.
    pub fn is_due(&self, progress: &Progress) -> bool {
        progress.log_bytes() >= self.budget_bytes / 2
    }

    /// Time for the writer's last step: what is left to copy is a matter of milliseconds.
    pub fn wants_restart(&self, progress: &Progress) -> bool {
        self.is_due(progress) && !self.wants_pass(progress)
    }

    /// How long the writer pauses after a group that took `group`, so that the passes gain on it: nothing within the
    /// budget, as long as the group itself at twice the budget, and so on in proportion.
    pub fn pause(&self, log_bytes: u64, group: Duration) -> Duration {
        let excess = log_bytes.saturating_sub(self.budget_bytes);
        group.mul_f64((excess as f64 / self.budget_bytes as f64).min(16.0))
    }
}

fn progress(connection: &Connection) -> Result<Progress> {
    Ok(run(connection, "NOOP")?.0)
}

/// A checkpoint in one of SQLite's modes, and whether it was blocked before its end.
fn run(connection: &Connection, mode: &str) -> Result<(Progress, bool)> {
    let mut statement = connection.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?;
    let (blocked, log_frames, checkpointed) =
        statement.query_row([], |row| Ok((row.get::<_, bool>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))?;
    // -1 before the first transaction of this connection has looked at the -wal.
    let frames = |count: i64| count.max(0).cast_unsigned();
    Ok((Progress { log_frames: frames(log_frames), checkpointed: frames(checkpointed) }, blocked))
}

fn whole(connection: &Connection, mode: &str) -> Result<Progress> {
    match run(connection, mode)? {
        (progress, false) => Ok(progress),
        (_, true) => Err(StorageError::Busy),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::Expiry;
    use super::super::fixture::{Fixture, NOW_MS};
    use super::*;

    /// Groups of twenty keys; a write of what is there already would leave no frame.
    fn fill(fixture: &mut Fixture, value: u8, groups: u32) {
        for group in 0..groups {
            fixture.write(|keyspace| {
                for n in 0..20 {
                    keyspace.put_string(&(group * 20 + n).to_le_bytes(), &[value; 200], Expiry::Clear).unwrap();
                }
            });
        }
    }

    fn wal_bytes(options: &Options) -> u64 {
        std::fs::metadata(options.directory.join("data.db-wal")).unwrap().len()
    }

    #[test]
    fn a_pass_and_the_last_step_let_the_wal_begin_anew_in_the_same_file() {
        let mut fixture = Fixture::new();
        let checkpointer = Checkpointer::open(&fixture.options).unwrap();
        fill(&mut fixture, 1, 20);
        let before = fixture.writer.wal_progress().unwrap();
        assert!(before.log_frames > 0 && before.checkpointed < before.log_frames, "{before:?}");
        assert_eq!(checkpointer.progress().unwrap(), before, "looking changes nothing");
        let passed = checkpointer.passive().unwrap();
        assert_eq!(passed.remaining_bytes(), 0);
        fill(&mut fixture, 2, 1);
        let size = wal_bytes(&fixture.options);
        assert!(fixture.writer.restart_wal().unwrap());
        assert_eq!(wal_bytes(&fixture.options), size, "not truncated");
        fill(&mut fixture, 3, 1);
        let after = fixture.writer.wal_progress().unwrap();
        assert!(after.log_frames < before.log_frames / 4, "{after:?}");
        assert_eq!(wal_bytes(&fixture.options), size, "written from its start");
    }

    #[test]
    fn what_a_checkpoint_will_add_to_the_file_is_known_before() {
        let mut fixture = Fixture::new();
        fill(&mut fixture, 1, 20);
        let growth = fixture.writer.growth_bytes().unwrap();
        assert!(growth > 50_000, "{growth}");
        assert!(fixture.writer.restart_wal().unwrap());
        assert_eq!(fixture.writer.growth_bytes().unwrap(), 0);
        fixture.write(|keyspace| keyspace.flush_database()).unwrap();
        while fixture.write(|keyspace| keyspace.sweep_orphans(1000)).unwrap() > 0 {}
        while fixture.write(|keyspace| keyspace.vacuum(1000, 0)).unwrap() > 0 {}
        let growth = fixture.writer.growth_bytes().unwrap();
        assert!(growth < -50_000, "{growth}");
        assert!(fixture.writer.restart_wal().unwrap());
        assert_eq!(fixture.writer.growth_bytes().unwrap(), 0);
    }

    #[test]
    fn the_last_step_gives_up_on_a_reader_and_succeeds_when_it_has_gone() {
        let mut fixture = Fixture::new();
        fill(&mut fixture, 4, 2);
        let mut reader = fixture.reader();
        reader.begin_read(NOW_MS).unwrap();
        reader.key_count().unwrap();
        fill(&mut fixture, 5, 1);
        assert!(!fixture.writer.restart_wal().unwrap());
        let usual: u64 = fixture.writer.connection.query_row("PRAGMA busy_timeout", [], |row| row.get(0)).unwrap();
        assert_eq!(usual, 5000);
        reader.renew_snapshot().unwrap();
        assert!(fixture.writer.restart_wal().unwrap(), "between its bites a reader holds nothing");
        fixture.writer.begin_write(NOW_MS).unwrap();
        assert!(matches!(fixture.writer.restart_wal(), Err(StorageError::Internal(_))));
    }

    #[test]
    fn a_complete_checkpoint_leaves_nothing_only_in_the_wal() {
        let mut fixture = Fixture::new();
        fill(&mut fixture, 6, 5);
        let checkpointer = Checkpointer::open(&fixture.options).unwrap();
        let progress = checkpointer.complete().unwrap();
        assert_eq!(progress.remaining_bytes(), 0);
        fill(&mut fixture, 7, 1);
        WalFile::open(&fixture.options).unwrap().sync().unwrap();
        checkpointer.truncate().unwrap();
        assert_eq!(wal_bytes(&fixture.options), 0);
    }

    #[test]
    fn beside_a_busy_reader_the_wal_stays_near_its_budget() {
        let mut fixture = Fixture::new();
        fixture.options.wal_bytes_max = 2 << 20;
        let pace = Pace::new(fixture.options.wal_bytes_max);
        let (options, is_over) = (fixture.options.clone(), AtomicBool::new(false));
        let checkpointer = Checkpointer::open(&options).unwrap();
        let mut largest = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut reader = Keyspace::open_reader(&options).unwrap();
                while !is_over.load(Ordering::SeqCst) {
                    reader.begin_read(NOW_MS).unwrap();
                    reader.scan(0, 50, &mut |_, _| {}).unwrap();
                    reader.end_read().unwrap();
                }
            });
            for round in 0..600u32 {
                fill(&mut fixture, round as u8, 1 + round % 13);
                let progress = fixture.writer.wal_progress().unwrap();
                largest = largest.max(progress.log_bytes());
                if pace.wants_pass(&progress) {
                    checkpointer.passive().unwrap();
                }
                if pace.wants_restart(&fixture.writer.wal_progress().unwrap()) {
                    fixture.writer.restart_wal().unwrap();
                }
            }
            is_over.store(true, Ordering::SeqCst);
        });
        assert!(largest < 8 << 20, "{largest}");
        fixture.write(|keyspace| assert_eq!(keyspace.verify().unwrap().problems, [""; 0]));
    }

    #[test]
    fn a_wal_over_its_budget_is_cut_to_it_at_the_next_restart() {
        let mut fixture = Fixture::new();
        fixture.options.wal_bytes_max = 40_000;
        fixture.writer = Keyspace::open_writer(&fixture.options, Box::new(|_| {})).unwrap();
        fill(&mut fixture, 10, 30);
        assert!(wal_bytes(&fixture.options) > 100_000);
        assert!(fixture.writer.restart_wal().unwrap());
        fill(&mut fixture, 11, 1);
        assert!(wal_bytes(&fixture.options) <= 40_000 + FRAME_BYTES, "{}", wal_bytes(&fixture.options));
    }

    #[test]
    fn passes_are_small_the_restart_comes_at_half_of_the_budget_and_the_writer_gives_way_above_it() {
        let pace = Pace::new(1000 * FRAME_BYTES);
        let at = |log_frames, checkpointed| Progress { log_frames, checkpointed };
        assert!(!pace.wants_pass(&at(3, 0)) && pace.wants_pass(&at(4, 0)));
        assert!(!pace.wants_restart(&at(499, 499)) && pace.wants_restart(&at(500, 499)));
        assert!(pace.wants_pass(&at(500, 0)) && !pace.wants_restart(&at(500, 0)));
        assert!(pace.wants_pass(&at(600, 584)) && !pace.wants_restart(&at(600, 584)), "a last step of a moment");
        assert!(!pace.wants_pass(&at(600, 585)) && pace.wants_restart(&at(600, 585)));
        let group = Duration::from_millis(4);
        assert_eq!(pace.pause(1000 * FRAME_BYTES, group), Duration::ZERO);
        assert_eq!(pace.pause(1500 * FRAME_BYTES, group), Duration::from_millis(2));
        assert_eq!(pace.pause(u64::MAX, group), Duration::from_millis(64));
        assert_eq!(Pace::new(0).pause(0, group), Duration::ZERO);
    }
}
