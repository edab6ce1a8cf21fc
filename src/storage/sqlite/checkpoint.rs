//! Moves the -wal into the file beside the writer, and keeps the -wal near its budget. Knows frames and budgets; the
//! threads that call it are the writer process's.
//!
//! ```text
//! checkpoint thread    Checkpointer::passive   copies what is committed, while the writer goes on; has the file written
//!                                              back part by part as it copies, then syncs it
//! writer thread        Keyspace::restart_wal   copies the little that is left and lets the -wal begin anew,
//!                                              between two groups, in at most 10 ms of waiting: else tried again
//! ```
//! Why two: a passive pass never catches up with a busy writer, so on its own it never lets the -wal restart (measured:
//! past 1 GB in seconds); and the whole work on the writer's thread stalls commits for 50-250 ms.
//! Why part by part: the disk does a commit's sync behind whatever else it was given. And as it copies: tens of thousands of
//! pages take a tenth of a second to copy, in which the writer would have to stand still, and SQLite itself syncs all of them at
//! once when a pass reaches the end of the -wal (<https://www.sqlite.org/c3ref/wal_checkpoint_v2.html>).
//! The -wal is restarted, not truncated: overwriting allocated blocks syncs 1.75 times faster than appending.

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::time::Duration;

use rusqlite::Connection;

use super::connection::{Options, Role, connect};
use super::keyspace::Keyspace;
use super::schema::PAGE_BYTES;
use super::vfs;
use crate::storage::error::{Result, StorageError};

/// A frame of the -wal: a page and its header (<https://www.sqlite.org/fileformat2.html#the_write_ahead_log>).
const FRAME_BYTES: u64 = PAGE_BYTES as u64 + 24;

/// What the writer's WAL restart may always copy.
const LAST_STEP_FRAMES: u64 = 16;
/// A pass of so many frames takes some 20 ms: the writer can wait for it.
const SHORT_PASS_FRAMES: u64 = 512;

/// The longest that the writer's WAL restart waits for readers.
const LAST_STEP_WAIT: Duration = Duration::from_millis(10);

/// Pages that are written back at once: the disk has done them in a millisecond or two, which a commit may have to wait for.
const PART_PAGES: u64 = 32;

/// A part of the data file that a pass has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    pub offset: u64,
    pub length: u64,
    /// How many of its pages have changed.
    pub pages: u64,
}

impl Part {
    /// SQLite copies pages in the order of the file, so what lies between them did not change.
    fn extend(&mut self, offset: u64, length: u64) {
        if self.pages == 0 {
            self.offset = offset;
        }
        let end = (self.offset + self.length).max(offset + length);
        self.offset = self.offset.min(offset);
        self.length = end - self.offset;
        self.pages += 1;
    }
}

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

    /// Copies what is committed and no reader holds back, beside the writer and the readers, who never wait for it. Gives each
    /// part of the file to `write_back` as soon as it is copied, and syncs the file in the end.
    ///
    /// # Errors
    /// What `write_back` fails with counts as a failed sync: the kernel tells of it only once.
    pub fn passive(&self, write_back: &mut dyn FnMut(&File, Part) -> io::Result<()>) -> Result<Progress> {
        let (mut part, mut failure) = (Part::default(), None);
        let copied = vfs::observing(
            &mut |offset, length| {
                part.extend(offset, length);
                if part.pages < PART_PAGES {
                    return Ok(());
                }
                write_back(&self.data, std::mem::take(&mut part)).inspect_err(|error| failure = Some(error.to_string()))
            },
            || run(&self.connection, "PASSIVE"),
        );
        let sync_failed = |reason: String| StorageError::SyncFailed(format!("data file: {reason}"));
        if let Some(reason) = failure {
            return Err(sync_failed(reason));
        }
        let (progress, _) = copied?;
        let rest = if part.pages > 0 { write_back(&self.data, part) } else { Ok(()) };
        rest.and_then(|()| self.data.sync_data()).map_err(|error| sync_failed(error.to_string()))?;
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
    /// The writer's WAL restart, between two groups: copies the rest and lets the next commit begin the -wal anew. False
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

    /// Time for a passive pass: the -wal is to begin anew, and much is left. Not before: a page that changes ten times is
    /// then written to the file once, and its neighbours with it. Measured over a million keys: 45 us of a disk for a frame
    /// where 1 MB is copied at once, 22 where it is 16 MB, 13 where it is 64.
    pub fn wants_pass(&self, progress: &Progress) -> bool {
        self.is_due(progress) && self.has_much_left(progress)
    }

    /// More than the writer's WAL restart should copy while everybody waits.
    pub fn has_much_left(&self, progress: &Progress) -> bool {
        progress.remaining_bytes() > (self.budget_bytes / 128).max(LAST_STEP_FRAMES * FRAME_BYTES)
    }

    /// The -wal should begin anew: half of the budget is used. The other half is what the writer may fill until it does.
    fn is_due(&self, progress: &Progress) -> bool {
        progress.log_bytes() >= self.budget_bytes / 2
    }

    /// So much beyond the budget that somebody has to give way: readers hold the -wal, and the writer alone does not get it back.
    pub fn is_held(&self, progress: &Progress) -> bool {
        progress.remaining_bytes() > 0 && progress.log_bytes() > self.budget_bytes / 2 * 3
    }

    /// Time for the writer's WAL restart: what is left to copy is a matter of milliseconds.
    pub fn wants_restart(&self, progress: &Progress) -> bool {
        self.is_due(progress) && !self.wants_pass(progress)
    }

    /// How many pages a pass over `pass` frames, begun when the -wal had `begun_at`, has to have written back before the writer
    /// adds to the `log_frames` that the -wal has now. Half as many may come as are written back, so that each pass is shorter
    /// than the one before, and a sixteenth of the pass ahead of it, so that groups and parts need not take turns. More than there
    /// are beside a short pass, for the next thing after it is the writer's WAL restart, and above one and a half of the budget.
    pub fn written_before_more(&self, begun_at: u64, pass: u64, log_frames: u64) -> u64 {
        if pass <= SHORT_PASS_FRAMES || log_frames * FRAME_BYTES > self.budget_bytes / 2 * 3 {
            return u64::MAX;
        }
        let added = log_frames.saturating_sub(begun_at);
        2 * added.saturating_sub(pass / 16)
    }

    /// How long the writer pauses after a group that took `group` while readers keep the -wal from beginning anew: nothing
    /// within the budget, as long as the group itself at twice the budget, and so on in proportion.
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

    /// Leaves writing back to the sync.
    fn keep(_: &File, _: Part) -> io::Result<()> {
        Ok(())
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
        let passed = checkpointer.passive(&mut keep).unwrap();
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
        assert!(fixture.writer.restart_wal().unwrap(), "between its steps a reader holds nothing");
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
                    checkpointer.passive(&mut keep).unwrap();
                }
                if pace.wants_restart(&fixture.writer.wal_progress().unwrap()) {
                    fixture.writer.restart_wal().unwrap();
                }
                // As the writer gives way to readers that hold it, who may be waiting for a processor.
                let pause = pace.pause(progress.log_bytes(), Duration::from_millis(2));
                std::thread::park_timeout(pause.min(Duration::from_millis(20)));
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
    fn a_pass_writes_back_what_it_copies_part_by_part_in_the_order_of_the_file() {
        let mut fixture = Fixture::new();
        let checkpointer = Checkpointer::open(&fixture.options).unwrap();
        fill(&mut fixture, 12, 60);
        let data = std::fs::read(fixture.options.data_path()).unwrap();
        let mut parts: Vec<Part> = Vec::new();
        let write_back = &mut |_: &File, part| {
            parts.push(part);
            Ok(())
        };
        let progress = checkpointer.passive(write_back).unwrap();
        assert_eq!(progress.checkpointed, progress.log_frames);
        assert!(parts.len() > 2, "{parts:?}");
        assert!(parts[..parts.len() - 1].iter().all(|part| part.pages == PART_PAGES), "{parts:?}");
        assert!(parts.is_sorted_by_key(|part| part.offset), "{parts:?}");
        assert!(parts.iter().all(|part| part.length >= part.pages * u64::from(PAGE_BYTES)), "{parts:?}");
        // What changed lies in a part.
        let page = PAGE_BYTES as usize;
        for (number, now) in std::fs::read(fixture.options.data_path()).unwrap().chunks(page).enumerate() {
            let offset = (number * page) as u64;
            let is_within = parts.iter().any(|part| (part.offset..part.offset + part.length).contains(&offset));
            assert!(is_within || data.get(number * page..(number + 1) * page) == Some(now), "page {number}: {parts:?}");
        }
        assert!(fixture.writer.restart_wal().unwrap());
    }

    #[test]
    fn a_part_is_written_back_before_the_next_is_copied() {
        let mut fixture = Fixture::new();
        let checkpointer = Checkpointer::open(&fixture.options).unwrap();
        fill(&mut fixture, 15, 60);
        let mut first = None;
        let write_back = &mut |_: &File, part: Part| {
            if first.is_none() {
                first = Some((std::fs::read(fixture.options.data_path())?, (part.offset + part.length) as usize));
            }
            Ok(())
        };
        checkpointer.passive(write_back).unwrap();
        let (then, end) = first.unwrap();
        let now = std::fs::read(fixture.options.data_path()).unwrap();
        assert!(then[..end] == now[..end] && then[end..] != now[end..]);
    }

    #[test]
    fn what_cannot_be_written_back_is_a_failed_sync() {
        let mut fixture = Fixture::new();
        let checkpointer = Checkpointer::open(&fixture.options).unwrap();
        // In the midst of a pass, and at its end.
        for groups in [60, 1] {
            fill(&mut fixture, 14 + groups as u8, groups);
            let failed = checkpointer.passive(&mut |_, _| Err(io::Error::other("bad sector")));
            assert!(matches!(failed, Err(StorageError::SyncFailed(text)) if text.contains("bad sector")));
        }
    }

    #[test]
    fn a_pass_begins_at_half_of_the_budget_and_the_writer_gives_way_to_it() {
        let pace = Pace::new(2560 * FRAME_BYTES);
        let at = |log_frames, checkpointed| Progress { log_frames, checkpointed };
        assert!(!pace.wants_pass(&at(1279, 0)) && pace.wants_pass(&at(1280, 0)));
        assert!(!pace.wants_restart(&at(1279, 1279)) && pace.wants_restart(&at(1280, 1279)));
        assert!(pace.wants_pass(&at(1300, 1279)) && !pace.wants_restart(&at(1300, 1279)), "a WAL restart of a moment");
        assert!(!pace.wants_pass(&at(1300, 1280)) && pace.wants_restart(&at(1300, 1280)));
        assert!(!pace.is_held(&at(3840, 0)) && pace.is_held(&at(3841, 3840)) && !pace.is_held(&at(3841, 3841)));
        let small = Pace::new(100 * FRAME_BYTES);
        assert!(small.wants_pass(&at(60, 43)) && small.wants_restart(&at(60, 44)));
        assert!(!small.wants_pass(&at(40, 0)) && small.has_much_left(&at(40, 0)) && !small.has_much_left(&at(40, 24)));
        assert_eq!([1600, 1700, 1701, 2100].map(|now| pace.written_before_more(1600, 1600, now)), [0, 0, 2, 800]);
        assert_eq!([512, 513].map(|pass| pace.written_before_more(1600, pass, 1600)), [u64::MAX, 0], "a last pass");
        assert_eq!([3840, 3841].map(|now| pace.written_before_more(3740, 1600, now)), [0, u64::MAX], "too much");
        let pace = Pace::new(1000 * FRAME_BYTES);
        let group = Duration::from_millis(4);
        assert_eq!(pace.pause(1000 * FRAME_BYTES, group), Duration::ZERO);
        assert_eq!(pace.pause(1500 * FRAME_BYTES, group), Duration::from_millis(2));
        assert_eq!(pace.pause(u64::MAX, group), Duration::from_millis(64));
        assert_eq!(Pace::new(0).pause(0, group), Duration::ZERO);
    }
}
