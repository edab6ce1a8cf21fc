//! The thread beside the writer that makes a backup of its copy. It alone touches the directory of backups: that may be on a network,
//! and hang for as long as the network does. The writer waits for none of it.
//!
//! Here: the directory, names, what is kept, what is told. How a file is written back, carried and removed is `storage::copies`.
//!
//! ```text
//! look      at the start   what is there, and what an interrupted one left
//! prepare   before         makes the directory; says where the writer copies to, and the largest number there
//! follow    meanwhile      gives the copy to the disk as it grows
//! finish    behind         syncs, checks, carries it into the directory if it is not there, names it, removes the oldest
//! ```

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::kv::lanes::backup_files::{self, part_of};
use crate::kv::shared::Shared;
use crate::kv::shared::backups::{BackupName, Backups, Failure, Kind};
use crate::storage::copies::{WriteBackOrders, WriteBacks, carry, discard_gradually, write_backs};
use crate::storage::file_system::{self, FileSystem};
use crate::storage::{StorageError, backup};
use crate::sys::thread;

/// The thread gives way to all that somebody waits for.
const NICENESS: i32 = 10;

pub(super) type Failed = (Failure, StorageError);

pub(super) struct Carrier {
    /// What the thread follows while the writer copies.
    orders: WriteBackOrders,
    reports: Receiver<Report>,
    /// The thread may end long after that.
    is_given_up: Arc<AtomicBool>,
}

pub(super) enum Report {
    Looked(Looked),
    Prepared(Place),
    /// The copy is checked, and on its way to the directory.
    Moving,
    Finished(u64),
    Failed(Failed),
}

/// What was there at the start.
pub(super) struct Looked {
    /// The newest that the schedule counts, and its bytes.
    pub(super) newest: Option<(BackupName, u64)>,
    pub(super) is_on_data_disk: bool,
}

/// Where a copy is made.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) part: PathBuf,
    /// It lies beside the data and is carried to the directory when it is finished.
    pub(super) is_carried: bool,
    /// The copy takes room from the data.
    pub(super) is_on_data_disk: bool,
    /// In the directory of backups.
    pub(super) available_bytes: Option<u64>,
    pub(super) number_max: u64,
}

/// What the thread works with.
struct Work {
    shared: Arc<Shared>,
    lineage: u64,
    reports: Sender<Report>,
    is_given_up: Arc<AtomicBool>,
    /// Counted by the writer: there is one such thread at a time.
    _alive: Arc<()>,
}

impl Carrier {
    pub(super) fn look(shared: &Arc<Shared>, lineage: u64, alive: &Arc<()>) -> io::Result<Carrier> {
        Self::start(shared, lineage, alive, |work, _| {
            let looked = work.look();
            work.report(looked.map_or_else(Report::Failed, Report::Looked));
        })
    }

    pub(super) fn make(shared: &Arc<Shared>, lineage: u64, alive: &Arc<()>, name: BackupName) -> io::Result<Carrier> {
        Self::start(shared, lineage, alive, move |work, write_backs| match work.prepare(name) {
            Ok(place) => work.make(name, &place, write_backs),
            Err(failed) => work.report(Report::Failed(failed)),
        })
    }

    fn start(
        shared: &Arc<Shared>,
        lineage: u64,
        alive: &Arc<()>,
        body: impl FnOnce(&Work, &WriteBacks) + Send + 'static,
    ) -> io::Result<Carrier> {
        let (orders, write_backs) = write_backs();
        let (reports_end, reports) = bounded(4);
        let is_given_up = Arc::new(AtomicBool::new(false));
        let work = Work {
            shared: Arc::clone(shared),
            lineage,
            reports: reports_end,
            is_given_up: Arc::clone(&is_given_up),
            _alive: Arc::clone(alive),
        };
        shared.backups.move_on();
        thread::spawn("backup", move || {
            if let Err(error) = thread::set_niceness(NICENESS) {
                tracing::debug!(%error, "the backup's thread runs like any other");
            }
            body(&work, &write_backs);
        })?;
        Ok(Carrier { orders, reports, is_given_up })
    }

    pub(super) fn orders(&self) -> WriteBackOrders {
        self.orders.clone()
    }

    /// `Err` once the thread has ended without a word.
    pub(super) fn report(&self) -> Result<Option<Report>, ()> {
        match self.reports.try_recv() {
            Ok(report) => Ok(Some(report)),
            Err(crossbeam_channel::TryRecvError::Empty) => Ok(None),
            Err(crossbeam_channel::TryRecvError::Disconnected) => Err(()),
        }
    }

    /// The thread removes what it has, as soon as it can, unless that has its name already. What it may hang too long to remove is
    /// removed by another.
    pub(super) fn give_up(self, place: Option<&Place>) {
        self.is_given_up.store(true, Ordering::SeqCst);
        let Some(part) = place.filter(|place| place.is_carried).map(|place| place.part.clone()) else { return };
        if let Err(error) = thread::spawn("backup-left", move || discard_gradually(&part, &|| {})) {
            tracing::warn!(%error, "what a backup has left stays until its thread goes on");
        }
    }
}

impl Work {
    fn report(&self, report: Report) {
        // Without a listener the service has ended, or has given this one up.
        drop(self.reports.send(report));
    }

    fn backups(&self) -> &Backups {
        &self.shared.backups
    }

    fn data(&self) -> &Path {
        &self.shared.settings.storage.directory
    }

    fn directory(&self) -> &Path {
        &self.shared.settings.backups.directory
    }

    fn unusable(&self) -> impl Fn(io::Error) -> Failed + use<> {
        let directory = self.directory().to_owned();
        move |error| {
            (Failure::Directory, StorageError::Unwritable { directory: directory.clone(), reason: error.to_string() })
        }
    }

    fn look(&self) -> Result<Looked, Failed> {
        let unusable = self.unusable();
        self.shared
            .settings
            .backups
            .clean_up(self.data(), self.lineage, &|| self.backups().move_on())
            .map_err(&unusable)?;
        let found = backup_files::found_in(self.directory()).map_err(&unusable)?;
        let is_newest = |one: &&backup_files::Found| one.lineage() == Some(self.lineage) && one.name.kind == Kind::Kept;
        let newest = found.iter().rev().find(is_newest).map(|one| (one.name, one.bytes));
        Ok(Looked { newest, is_on_data_disk: self.is_on_data_disk().unwrap_or(false) })
    }

    /// Of the directory, or of that in which it will be made.
    fn is_on_data_disk(&self) -> io::Result<bool> {
        let there = self.directory().ancestors().find_map(|place| fs::metadata(place).ok());
        Ok(there.map(|facts| facts.dev()) == Some(fs::metadata(self.data())?.dev()))
    }

    fn prepare(&self, name: BackupName) -> Result<Place, Failed> {
        let (directory, unusable) = (self.directory(), self.unusable());
        fs::create_dir_all(directory).map_err(&unusable)?;
        self.backups().move_on();
        let is_on_data_disk = self.is_on_data_disk().map_err(&unusable)?;
        let kind = file_system::file_system(directory).map_err(|error| (Failure::Directory, error))?;
        // By trying, and early: else the writer would copy for nothing.
        let probe = directory.join(format!(".write-check-{}", std::process::id()));
        File::create(&probe).and_then(|_| fs::remove_file(&probe)).map_err(&unusable)?;
        self.backups().move_on();
        let found = backup_files::found_in(directory).map_err(&unusable)?;
        self.backups().move_on();
        let is_carried = !is_on_data_disk && kind != FileSystem::Local;
        let file = directory.join(name.to_string());
        let part = if is_carried {
            backup::part_of(&self.data().join(name.to_string()))
        } else {
            part_of(&file, self.lineage)
        };
        let place = Place {
            part,
            is_carried,
            is_on_data_disk: is_carried || is_on_data_disk,
            available_bytes: file_system::available_bytes(directory).ok(),
            number_max: backup_files::number_max(&found, self.lineage),
        };
        self.report(Report::Prepared(place.clone()));
        Ok(place)
    }

    fn make(&self, name: BackupName, place: &Place, write_backs: &WriteBacks) {
        let file = self.directory().join(name.to_string());
        let followed = write_backs
            .follow(&place.part)
            .map_err(|error| (Failure::Finishing, StorageError::Io(format!("{}: {error}", place.part.display()))));
        let made = followed.and_then(|is_complete| {
            if !is_complete {
                return Ok(None);
            }
            backup::settle(&place.part).map_err(finishing)?;
            if place.is_carried {
                self.report(Report::Moving);
                self.carry(&place.part, &file)?;
            } else {
                self.mind_giving_up()?;
                backup::give_name(&place.part, &file).map_err(finishing)?;
            }
            Ok(Some(fs::metadata(&file).map(|facts| facts.len()).unwrap_or(0)))
        });
        let is_made = matches!(made, Ok(Some(_)));
        // Nobody waits for what is removed in small steps: it is told before.
        match made {
            Ok(Some(bytes)) => self.report(Report::Finished(bytes)),
            Ok(None) => {}
            Err(failed) => self.report(Report::Failed(failed)),
        }
        if place.part.exists() {
            self.remove(&place.part);
        }
        if is_made && let Err(error) = self.remove_oldest(name) {
            tracing::warn!(%error, "old backups can't be removed");
        }
    }

    fn remove(&self, part: &Path) {
        discard_gradually(part, &|| self.backups().move_on());
    }

    fn remove_oldest(&self, name: BackupName) -> io::Result<()> {
        self.shared.settings.backups.remove_oldest(name, self.lineage, &|| self.backups().move_on())
    }

    fn mind_giving_up(&self) -> Result<(), Failed> {
        self.backups().move_on();
        match self.is_given_up.load(Ordering::SeqCst) {
            true => Err((Failure::Interrupted, StorageError::Io("it was given up".into()))),
            false => Ok(()),
        }
    }

    /// Into the directory of backups.
    fn carry(&self, from: &Path, file: &Path) -> Result<(), Failed> {
        let part = part_of(file, self.lineage);
        let mut given_up = Ok(());
        let carried = carry(from, &part, &mut || {
            self.mind_giving_up().map_err(|failed| {
                let error = failed.1.clone();
                given_up = Err(failed);
                error
            })
        });
        let named = given_up.and(carried.map_err(moving)).and_then(|()| {
            backup::give_name(&part, file).map_err(finishing)?;
            self.backups().move_on();
            Ok(())
        });
        if named.is_err() {
            self.remove(&part);
        }
        named
    }
}

fn moving(error: StorageError) -> Failed {
    match error {
        StorageError::Full => (Failure::NoRoom, StorageError::Full),
        other => (Failure::Moving, other),
    }
}

fn finishing(error: StorageError) -> Failed {
    match error {
        StorageError::Full => (Failure::NoRoom, StorageError::Full),
        other => (Failure::Finishing, other),
    }
}
