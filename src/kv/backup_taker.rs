//! The writer makes a backup beside its groups: a few pages after each, then a thread of its own finishes the file. Also when
//! the next one is due, and which old ones go.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

use crate::kv::application::Shared;
use crate::kv::backups::{BackupName, Failure, Finished, Kind, Phase};
use crate::kv::settings::BackupSettings;
use crate::server::sys::{clock, disk, thread};
use crate::storage::backup::{self, Backup};
use crate::storage::file_system::{self, FileSystem};
use crate::storage::{Keyspace, PAGE_BYTES, StorageError};

/// How long a bite copies; a busy writer has its groups for as long in between.
const BITE: Duration = Duration::from_millis(2);
/// Pages between two looks at the clock.
const PAGES_AT_ONCE: u32 = 16;
/// How many bites the thread may be behind in writing back: then the disk sets the pace.
const BITES_BEHIND_MAX: usize = 4;
/// What is given to the disk at once: a commit's sync waits behind it.
const WRITE_BACK_BYTES: u64 = 256 << 10;
/// While nothing is to be copied.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// After a scheduled backup that failed.
const FAILED_AGAIN: Duration = Duration::from_secs(60);
/// Of an old backup, at once, then a pause.
const REMOVE_BYTES: u64 = 1 << 20;
const REMOVE_PAUSE: Duration = Duration::from_millis(5);
/// The thread gives way to all that somebody waits for.
const NICENESS: i32 = 10;

pub struct BackupTaker {
    shared: Arc<Shared>,
    running: Option<Running>,
    /// When the last scheduled one was asked for, in milliseconds since 1970.
    scheduled_ms: u64,
    /// Not before then, after a failure.
    not_before: Instant,
    /// When the last bite ended, and how long it took.
    bitten: (Instant, Duration),
    disk_reserve_bytes: u64,
}

struct Running {
    name: BackupName,
    begun: Instant,
    /// `None` once all pages are copied: the thread has the rest.
    copy: Option<Backup>,
    thread: Finisher,
}

impl BackupTaker {
    /// Cleans up what an earlier writer has left behind.
    pub fn start(shared: &Arc<Shared>) -> BackupTaker {
        let settings = &shared.settings.backups;
        // One that was only asked for is made now.
        if let Some(begun) = shared.backups.running().filter(|running| running.phase != Phase::Waiting) {
            tracing::warn!(name = %begun.name, "the writer that made a backup has ended, and the backup with it");
            shared.backups.fail(begun.name, Failure::Interrupted, now_ms());
        }
        let made = settings.clean_up().unwrap_or_else(|error| {
            tracing::warn!(%error, directory = %settings.directory.display(), "the backups can't be listed");
            Vec::new()
        });
        let newest = made.iter().filter(|(name, _)| name.kind == Kind::Kept).max();
        if let (Some(&(name, bytes)), None) = (newest, shared.backups.last_finished()) {
            shared.backups.know(Finished { name, at_ms: name.at_ms, duration_ms: 0, bytes });
        }
        BackupTaker {
            shared: Arc::clone(shared),
            running: None,
            scheduled_ms: newest.map_or(0, |(name, _)| name.at_ms),
            not_before: clock::monotonic(),
            bitten: (clock::monotonic(), Duration::ZERO),
            disk_reserve_bytes: 2 * shared.settings.storage.wal_bytes_max,
        }
    }

    /// What is due now, between two transactions; `is_idle`: no group waits for its turn. Returns when to come again.
    pub fn bite(&mut self, keyspace: &Keyspace, is_idle: bool) -> Duration {
        let Some(running) = &mut self.running else {
            return self.begin_if_asked(keyspace);
        };
        let name = running.name;
        let Some(copy) = &mut running.copy else {
            self.collect();
            return LOOK_EVERY;
        };
        let now = clock::monotonic();
        let (ended, took) = self.bitten;
        if !running.thread.has_room() || !is_idle && now.duration_since(ended) < took {
            return BITE;
        }
        let advanced = copy_for(BITE, copy);
        let copied = copy.copied();
        self.shared.backups.copied(copied.pages, copied.pages_total);
        let end = clock::monotonic();
        self.bitten = (end, end.duration_since(now));
        match advanced {
            Ok(false) if self.has_room() => {
                self.write_back(copied.pages);
                return Duration::ZERO;
            }
            Ok(false) => self.fail(name, Failure::NoRoom, &StorageError::Full),
            Ok(true) => self.finish(),
            Err(StorageError::Full) => self.fail(name, Failure::NoRoom, &StorageError::Full),
            Err(error) => self.fail(name, Failure::Copying, &error),
        }
        LOOK_EVERY
    }

    /// The orderly end of the writer: a backup that is not finished is none.
    pub fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            tracing::warn!(name = %running.name, "the service ends before its backup does: there is none");
            self.shared.backups.fail(running.name, Failure::Interrupted, now_ms());
            drop(running.copy);
            // A check can't be interrupted: the process ends, and the next start removes the file.
            running.thread.leave();
        }
    }

    fn begin_if_asked(&mut self, keyspace: &Keyspace) -> Duration {
        self.ask_if_due();
        let Some(name) = self.shared.backups.asked() else { return LOOK_EVERY };
        match self.begin(keyspace, name) {
            Ok(running) => {
                tracing::info!(%name, "a backup begins");
                self.shared.backups.begin(name);
                self.running = Some(running);
                Duration::ZERO
            }
            Err((failure, error)) => {
                self.fail(name, failure, &error);
                LOOK_EVERY
            }
        }
    }

    fn ask_if_due(&mut self) {
        let interval = self.shared.settings.backups.interval;
        let now_ms = now_ms();
        // Also when the clock was put back: one more is better than none for a year.
        let is_due =
            now_ms.checked_sub(self.scheduled_ms).is_none_or(|since| u128::from(since) >= interval.as_millis());
        if !interval.is_zero()
            && is_due
            && clock::monotonic() >= self.not_before
            && self.shared.backups.ask(Kind::Kept, now_ms).is_ok()
        {
            self.scheduled_ms = now_ms;
        }
    }

    fn begin(&self, keyspace: &Keyspace, name: BackupName) -> Result<Running, (Failure, StorageError)> {
        let directory = &self.shared.settings.backups.directory;
        let unusable = |error: io::Error| {
            (Failure::Directory, StorageError::Unwritable { directory: directory.clone(), reason: error.to_string() })
        };
        fs::create_dir_all(directory).map_err(unusable)?;
        if let Ok(FileSystem::Network(kind)) = file_system::file_system(directory) {
            tracing::warn!(kind, directory = %directory.display(), "backups go over a network: writes wait when it does");
        }
        let needed = keyspace.data_bytes().map_err(|error| (Failure::Copying, error))? + self.disk_reserve_bytes;
        if file_system::available_bytes(directory).is_ok_and(|room| room < needed) {
            return Err((Failure::NoRoom, StorageError::Full));
        }
        let file = directory.join(name.to_string());
        let part = backup::part_of(&file);
        let copy = Backup::begin(keyspace, &part).map_err(|error| (Failure::Directory, error))?;
        let thread = Finisher::start(part, file, self.shared.settings.backups.clone()).map_err(unusable)?;
        Ok(Running { name, begun: clock::monotonic(), copy: Some(copy), thread })
    }

    /// The data's own growth needs what is left.
    fn has_room(&self) -> bool {
        let directory = &self.shared.settings.backups.directory;
        file_system::available_bytes(directory).map_or(true, |room| room >= self.disk_reserve_bytes)
    }

    fn write_back(&mut self, pages: u64) {
        if let Some(running) = &self.running {
            running.thread.order(Order::WriteBack(pages * u64::from(PAGE_BYTES)));
        }
    }

    fn finish(&mut self) {
        if let Some(running) = &mut self.running {
            // What was committed up to now is in it.
            running.copy = None;
            self.shared.backups.check();
            running.thread.order(Order::Finish);
        }
    }

    fn collect(&mut self) {
        let Some(running) = &self.running else { return };
        let name = running.name;
        match running.thread.reports.try_recv() {
            Ok(Ok(bytes)) => {
                let duration = clock::monotonic().duration_since(running.begun);
                let last = Finished { name, at_ms: now_ms(), duration_ms: duration.as_millis() as u64, bytes };
                tracing::info!(%name, bytes, duration_ms = last.duration_ms, "a backup is finished");
                self.running = None;
                self.shared.backups.finish(last);
            }
            Ok(Err(StorageError::Full)) => self.fail(name, Failure::NoRoom, &StorageError::Full),
            Ok(Err(error)) => self.fail(name, Failure::Finishing, &error),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                self.fail(name, Failure::Finishing, &StorageError::Internal("its thread panicked".into()));
            }
        }
    }

    fn fail(&mut self, name: BackupName, failure: Failure, error: &StorageError) {
        tracing::error!(%name, %error, reason = failure.text(), "a backup failed");
        if let Some(running) = self.running.take() {
            drop(running.copy);
            running.thread.leave();
        }
        // So that the schedule tries again.
        self.scheduled_ms = 0;
        self.not_before = clock::monotonic() + FAILED_AGAIN;
        self.shared.backups.fail(name, failure, now_ms());
    }
}

fn copy_for(time: Duration, copy: &mut Backup) -> Result<bool, StorageError> {
    let begun = clock::monotonic();
    loop {
        if copy.advance(PAGES_AT_ONCE)? {
            return Ok(true);
        }
        if clock::monotonic().duration_since(begun) >= time {
            return Ok(false);
        }
    }
}

/// The thread beside the writer that gives the copy to the disk as it grows, and in the end makes a backup of it.
struct Finisher {
    orders: Sender<Order>,
    reports: Receiver<Result<u64, StorageError>>,
}

enum Order {
    /// So many bytes have been copied.
    WriteBack(u64),
    /// All is copied: sync, check, name it, and remove the oldest.
    Finish,
}

impl Finisher {
    fn start(part: PathBuf, file: PathBuf, settings: BackupSettings) -> io::Result<Finisher> {
        let (orders, orders_end) = bounded(BITES_BEHIND_MAX + 1);
        let (reports_end, reports) = bounded(1);
        thread::spawn("backup", move || {
            if let Err(error) = thread::set_niceness(NICENESS) {
                tracing::debug!(%error, "the backup's thread runs like any other");
            }
            match follow(&orders_end, &part) {
                Ok(true) => {
                    // Without a listener the service has ended; the file is a backup all the same.
                    drop(reports_end.send(finished(&part, &file, &settings)));
                }
                Ok(false) => backup::discard(&part),
                Err(error) => {
                    backup::discard(&part);
                    drop(reports_end.send(Err(StorageError::Io(format!("{}: {error}", part.display())))));
                }
            }
        })?;
        Ok(Finisher { orders, reports })
    }

    fn has_room(&self) -> bool {
        self.orders.len() < BITES_BEHIND_MAX
    }

    fn order(&self, order: Order) {
        // There is room for it, or the thread has failed and reports that.
        drop(self.orders.try_send(order));
    }

    /// The thread removes what it has, unless it is finishing already.
    fn leave(self) {
        drop(self);
    }
}

/// Until all is copied (true), or it was given up (false).
fn follow(orders: &Receiver<Order>, part: &Path) -> io::Result<bool> {
    let file = File::open(part)?;
    let mut written = 0;
    while let Ok(order) = orders.recv() {
        match order {
            Order::WriteBack(bytes) => {
                write_back(&file, written, bytes)?;
                written = written.max(bytes);
            }
            Order::Finish => {
                // Pages that were copied again, all over the file: else the sync would give them to the disk at once.
                write_back(&file, 0, file.metadata()?.len())?;
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// In pieces, so that a commit's sync waits for one of them at most.
fn write_back(file: &File, from: u64, to: u64) -> io::Result<()> {
    let mut written = from;
    while written < to {
        let length = WRITE_BACK_BYTES.min(to - written);
        disk::write_back(file, written, length)?;
        written += length;
    }
    Ok(())
}

fn finished(part: &Path, file: &Path, settings: &BackupSettings) -> Result<u64, StorageError> {
    if let Err(error) = backup::finish(part, file) {
        backup::discard(part);
        return Err(error);
    }
    let bytes = fs::metadata(file).map(|facts| facts.len()).unwrap_or(0);
    if let Err(error) = settings.remove_oldest() {
        tracing::warn!(%error, "old backups can't be removed");
    }
    Ok(bytes)
}

impl BackupSettings {
    /// The finished backups and their bytes. What an interrupted one has left is removed.
    fn clean_up(&self) -> io::Result<Vec<(BackupName, u64)>> {
        // An earlier program left its files readable for everybody.
        let is_backup = |name: &str| BackupName::of_file(Path::new(name.trim_end_matches(backup::PART))).is_some();
        for (file, error) in file_system::tighten(&self.directory, &is_backup) {
            tracing::warn!(file = %file.display(), %error, "others may read this file, and that can't be changed");
        }
        if self.is_own_directory
            && let Err(error) = file_system::tighten_directory(&self.directory)
        {
            tracing::warn!(directory = %self.directory.display(), %error, "others may look into this directory, and that can't be changed");
        }
        for path in self.files()? {
            let is_part = path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(backup::PART));
            if is_part && BackupName::of_file(&path.with_extension("")).is_some() {
                tracing::info!(file = %path.display(), "what an interrupted backup left is removed");
                backup::discard(&path);
            }
        }
        self.made()
    }

    /// The finished backups and their bytes, in no order.
    pub fn made(&self) -> io::Result<Vec<(BackupName, u64)>> {
        let named = |path: &PathBuf| Some((BackupName::of_file(path)?, fs::metadata(path).ok()?.len()));
        Ok(self.files()?.iter().filter_map(named).collect())
    }

    fn remove_oldest(&self) -> io::Result<()> {
        let mut kept: Vec<BackupName> =
            self.made()?.into_iter().map(|(name, _)| name).filter(|name| name.kind == Kind::Kept).collect();
        kept.sort_unstable_by(|a, b| b.cmp(a));
        let keep = if self.keep == 0 { usize::MAX } else { self.keep };
        for name in kept.into_iter().skip(keep) {
            remove_by_and_by(&self.directory.join(name.to_string()))?;
            tracing::info!(%name, "an old backup was removed");
        }
        Ok(())
    }

    fn files(&self) -> io::Result<Vec<PathBuf>> {
        match fs::read_dir(&self.directory) {
            Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// The file system frees a large file's blocks in one go, and every sync waits for that. Under another name first: what is
/// left of it must not look like a backup. Whoever copies it at this moment, or has linked to it, keeps the whole of it.
fn remove_by_and_by(file: &Path) -> io::Result<()> {
    let part = backup::part_of(file);
    fs::rename(file, &part)?;
    if part.symlink_metadata()?.is_file() {
        let going = File::options().write(true).open(&part)?;
        let mut length = going.metadata()?.len();
        while length > 0 && disk::is_known_to_nobody_else(&going)? {
            length = length.saturating_sub(REMOVE_BYTES);
            going.set_len(length)?;
            clock::pause(REMOVE_PAUSE);
        }
    }
    fs::remove_file(&part)
}

fn now_ms() -> u64 {
    clock::wall_ms().unsigned_abs()
}
