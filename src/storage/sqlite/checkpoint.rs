//! Copies the -wal into the data file and restarts it. Knows frames and extents; when to do it is the upkeep's affair.
//!
//! ```text
//! checkpoint thread    Checkpointer::passive   copies committed frames beside the writer; hands each extent out to be
//!                                              written back as soon as it is copied, then syncs the file
//! writer thread        Keyspace::restart_wal   the WAL restart, between two groups: copies the few frames that are left, so that
//!                                              the next commit overwrites the -wal from its start. Waits 10 ms at most.
//! ```
//! Why two: a passive checkpoint never catches up with a busy writer, so alone it never lets the -wal restart (measured: past
//! 1 GB in seconds). All of it on the writer's thread stalls commits for 50-250 ms.
//! Why in extents: a commit's fsync queues behind whatever else the disk was given. Without them SQLite syncs tens of thousands of
//! pages at once at the end of a pass (<https://www.sqlite.org/c3ref/wal_checkpoint_v2.html>), and the writer stands still
//! meanwhile.
//! The -wal is restarted, not truncated: overwriting allocated blocks syncs 1.75 times faster than appending.

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::time::Duration;

use rusqlite::Connection;

use super::base::Base;
use super::connection::{Options, Role, connect};
use super::schema::PAGE_BYTES;
use super::vfs;
use crate::storage::error::{Result, StorageError};

/// A frame of the -wal: a page and its header (<https://www.sqlite.org/fileformat2.html#the_write_ahead_log>).
pub const FRAME_BYTES: u64 = PAGE_BYTES as u64 + 24;

/// The longest that the WAL restart waits for readers.
const RESTART_WAIT: Duration = Duration::from_millis(10);

/// Pages of one write-back extent. The disk takes a millisecond or two for it, which a commit's fsync may have to wait for.
const EXTENT_PAGES: u64 = 32;

/// A write-back extent: the range of the data file that a pass has changed since the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    pub offset: u64,
    pub length: u64,
    /// How many of its pages have changed.
    pub pages: u64,
}

impl Extent {
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
    /// extent to `write_back` as soon as it is copied, and syncs the file in the end.
    ///
    /// # Errors
    /// What `write_back` fails with counts as a failed sync: the kernel tells of it only once.
    pub fn passive(&self, write_back: &mut dyn FnMut(&File, Extent) -> io::Result<()>) -> Result<Progress> {
        let (mut extent, mut failure) = (Extent::default(), None);
        let copied = vfs::observing(
            &mut |offset, length| {
                extent.extend(offset, length);
                if extent.pages < EXTENT_PAGES {
                    return Ok(());
                }
                write_back(&self.data, std::mem::take(&mut extent))
                    .inspect_err(|error| failure = Some(error.to_string()))
            },
            || run(&self.connection, "PASSIVE"),
        );
        let sync_failed = |reason: String| StorageError::SyncFailed(format!("data file: {reason}"));
        if let Some(reason) = failure {
            return Err(sync_failed(reason));
        }
        let (progress, _) = copied?;
        let rest = if extent.pages > 0 { write_back(&self.data, extent) } else { Ok(()) };
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

impl Base {
    /// The writer's WAL restart, between two groups: copies the rest and lets the next commit begin the -wal anew. False
    /// when a reader or a running pass was in the way for 10 ms: try again after a later group.
    pub fn restart_wal(&mut self) -> Result<bool> {
        if self.is_in_transaction() {
            return Err(StorageError::Internal("a checkpoint inside a transaction".into()));
        }
        let usual =
            self.connection.query_row("PRAGMA busy_timeout", [], |row| row.get(0)).map(Duration::from_millis)?;
        self.connection.busy_timeout(RESTART_WAIT)?;
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

    /// How much of the disk the -wal has, of which it may use less now.
    pub fn wal_file_bytes(&self) -> Result<u64> {
        let path = format!("{}-wal", self.connection.path().unwrap_or_default());
        match std::fs::metadata(&path) {
            Ok(found) => Ok(found.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(StorageError::Io(format!("{path}: {error}"))),
        }
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
    use super::*;
    use crate::storage::fixture::{Fixture, NOW_MS};
    use crate::storage::{Expiry, Keyspace};

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
    fn keep(_: &File, _: Extent) -> io::Result<()> {
        Ok(())
    }

    fn wal_bytes(options: &Options) -> u64 {
        std::fs::metadata(options.directory.join("data.db-wal")).unwrap().len()
    }

    #[test]
    fn a_pass_and_a_wal_restart_let_the_next_commit_overwrite_the_same_file() {
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
        while fixture.write(|keyspace| keyspace.vacuum(1000, crate::storage::sqlite::Kept::Pages(0))).unwrap() > 0 {}
        let growth = fixture.writer.growth_bytes().unwrap();
        assert!(growth < -50_000, "{growth}");
        assert!(fixture.writer.restart_wal().unwrap());
        assert_eq!(fixture.writer.growth_bytes().unwrap(), 0);
    }

    #[test]
    fn a_wal_restart_gives_up_on_a_reader_and_succeeds_when_it_has_gone() {
        let mut fixture = Fixture::new();
        fill(&mut fixture, 4, 2);
        let mut reader = fixture.reader();
        reader.begin_read(NOW_MS).unwrap();
        reader.key_count().unwrap();
        fill(&mut fixture, 5, 1);
        assert!(!fixture.writer.restart_wal().unwrap());
        let usual: u64 = fixture.writer.connection().query_row("PRAGMA busy_timeout", [], |row| row.get(0)).unwrap();
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
    fn a_pass_writes_back_what_it_copies_extent_by_extent_in_the_order_of_the_file() {
        let mut fixture = Fixture::new();
        let checkpointer = Checkpointer::open(&fixture.options).unwrap();
        fill(&mut fixture, 12, 60);
        let data = std::fs::read(fixture.options.data_path()).unwrap();
        let mut extents: Vec<Extent> = Vec::new();
        let write_back = &mut |_: &File, extent| {
            extents.push(extent);
            Ok(())
        };
        let progress = checkpointer.passive(write_back).unwrap();
        assert_eq!(progress.checkpointed, progress.log_frames);
        assert!(extents.len() > 2, "{extents:?}");
        assert!(extents[..extents.len() - 1].iter().all(|extent| extent.pages == EXTENT_PAGES), "{extents:?}");
        assert!(extents.is_sorted_by_key(|extent| extent.offset), "{extents:?}");
        assert!(extents.iter().all(|extent| extent.length >= extent.pages * u64::from(PAGE_BYTES)), "{extents:?}");
        // What changed lies in an extent.
        let page = PAGE_BYTES as usize;
        for (number, now) in std::fs::read(fixture.options.data_path()).unwrap().chunks(page).enumerate() {
            let offset = (number * page) as u64;
            let is_within =
                extents.iter().any(|extent| (extent.offset..extent.offset + extent.length).contains(&offset));
            assert!(
                is_within || data.get(number * page..(number + 1) * page) == Some(now),
                "page {number}: {extents:?}"
            );
        }
        assert!(fixture.writer.restart_wal().unwrap());
    }

    #[test]
    fn an_extent_is_written_back_before_the_next_is_copied() {
        let mut fixture = Fixture::new();
        let checkpointer = Checkpointer::open(&fixture.options).unwrap();
        fill(&mut fixture, 15, 60);
        let mut first = None;
        let write_back = &mut |_: &File, extent: Extent| {
            if first.is_none() {
                first = Some((std::fs::read(fixture.options.data_path())?, (extent.offset + extent.length) as usize));
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
}
