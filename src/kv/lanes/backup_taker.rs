//! The writer makes a backup beside its groups: a few pages after each, then a thread of its own does the rest (`backup_carrier`).
//! Here: when one is due, whether there is room, what BACKUP, INFO and the status page show. How pages are copied is
//! `storage::copies`. The writer itself touches no directory but the data's, or one on a disk of this machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::kv::lanes::backup_carrier::{Carrier, Failed, Looked, Place, Report};
use crate::kv::lanes::writer::end_if_sync_failed;
use crate::kv::shared::Shared;
use crate::kv::shared::backups::{BackupName, Failure, Finished, Kind, Phase, Room, STALL_SAID};
use crate::storage::copies::{Copier, Step};
use crate::storage::{Keyspace, StorageError, backup, file_system};
use crate::sys::clock;

/// While nothing is to be copied.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// After a scheduled backup that failed.
const FAILED_AGAIN: Duration = Duration::from_secs(60);
/// Between two looks at the room that a backup would have.
const ROOM_EVERY: Duration = Duration::from_millis(200);
/// So long without progress in the directory of backups, and the backup is given up.
const STALL_MAX: Duration = Duration::from_secs(120);

pub struct BackupTaker {
    shared: Arc<Shared>,
    /// What there was at the start is looked at.
    looking: Looking,
    running: Option<Running>,
    /// Has a second holder while a thread lives: one that hangs may outlive its backup.
    alive: Arc<()>,
    /// It was said that the directory does not answer.
    is_stall_said: bool,
    /// When the last scheduled one was asked for, in milliseconds since 1970.
    scheduled_ms: u64,
    /// Not before then, after a failure.
    not_before: Instant,
    room_looked_at: Option<Instant>,
    /// The next backup takes its room from the data's disk.
    is_on_data_disk: bool,
    disk_reserve_bytes: u64,
}

enum Looking {
    NotBegun,
    Running(Carrier),
    Done,
}

struct Running {
    name: BackupName,
    begun: Instant,
    stage: Stage,
    thread: Carrier,
}

enum Stage {
    /// The thread looks at the directory.
    Preparing,
    Copying(Copier, Place),
    /// The thread has the rest.
    Finishing(Place),
}

impl BackupTaker {
    pub fn start(shared: &Arc<Shared>) -> BackupTaker {
        // One that was only asked for is made now.
        if let Some(begun) = shared.backups.running().filter(|running| running.phase != Phase::Waiting) {
            tracing::warn!(name = %begun.name, "the writer that made a backup has ended, and the backup with it");
            shared.backups.fail(begun.name, Failure::Interrupted, now_ms());
        }
        BackupTaker {
            shared: Arc::clone(shared),
            looking: Looking::NotBegun,
            running: None,
            alive: Arc::new(()),
            is_stall_said: false,
            scheduled_ms: 0,
            not_before: clock::monotonic(),
            room_looked_at: None,
            is_on_data_disk: false,
            disk_reserve_bytes: 2 * shared.settings.storage.wal_bytes_max,
        }
    }

    /// What is due now, between two transactions; `is_idle`: no group waits for its turn. Returns when to come again.
    pub fn step(&mut self, keyspace: &mut Keyspace, is_idle: bool) -> Duration {
        match self.running.as_ref().map(|running| &running.stage) {
            None => self.idle(keyspace),
            Some(Stage::Copying(..)) => self.copy(is_idle),
            Some(Stage::Preparing | Stage::Finishing(_)) => self.collect(keyspace),
        }
    }

    /// From before the first page is copied.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// The orderly end of the writer: a backup that is not finished is none.
    pub fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            tracing::warn!(name = %running.name, "the service ends before its backup does: there is none");
            self.shared.backups.fail(running.name, Failure::Interrupted, now_ms());
            // Nobody waits for the thread: the process ends, and the next start removes what it leaves.
            running.thread.give_up(None);
        }
    }

    fn idle(&mut self, keyspace: &mut Keyspace) -> Duration {
        self.look(keyspace);
        self.look_at_room(keyspace);
        if matches!(self.looking, Looking::Done) {
            self.ask_if_due();
        }
        let Some(name) = self.shared.backups.asked() else { return LOOK_EVERY };
        if Arc::strong_count(&self.alive) > 1 {
            // That of the backup before, which removes old ones, or that of one that was given up and still hangs.
            self.watch(name);
            return LOOK_EVERY;
        }
        match self.begin(keyspace, name) {
            Ok(running) => {
                self.shared.backups.begin(name);
                self.running = Some(running);
            }
            Err(failed) => self.fail(name, failed),
        }
        LOOK_EVERY
    }

    /// At the start, beside the first groups.
    fn look(&mut self, keyspace: &Keyspace) {
        let carrier = match &self.looking {
            Looking::Done => return,
            Looking::NotBegun => {
                let begun = backup::origin_of(keyspace).and_then(|origin| {
                    Carrier::look(&self.shared, origin.lineage, &self.alive)
                        .map_err(|error| StorageError::Io(error.to_string()))
                });
                self.looking = match begun {
                    Ok(carrier) => Looking::Running(carrier),
                    Err(error) => self.looked_in_vain(&error),
                };
                return;
            }
            Looking::Running(carrier) => carrier,
        };
        self.looking = match carrier.report() {
            Ok(None) => {
                if self.shared.backups.still_for() >= STALL_SAID && !self.is_stall_said {
                    self.say_stall();
                }
                return;
            }
            Ok(Some(Report::Looked(looked))) => self.looked(&looked),
            Ok(Some(Report::Failed((_, error)))) => self.looked_in_vain(&error),
            Ok(Some(_)) | Err(()) => self.looked_in_vain(&StorageError::Internal("its thread panicked".into())),
        };
    }

    fn looked(&mut self, looked: &Looked) -> Looking {
        self.is_stall_said = false;
        self.is_on_data_disk = looked.is_on_data_disk;
        if let (Some((name, bytes)), None) = (looked.newest, self.shared.backups.last_finished()) {
            self.shared.backups.know(Finished { name, at_ms: name.at_ms, duration_ms: 0, bytes });
        }
        self.scheduled_ms = self.scheduled_ms.max(looked.newest.map_or(0, |(name, _)| name.at_ms));
        Looking::Done
    }

    fn looked_in_vain(&self, error: &StorageError) -> Looking {
        let directory = self.shared.settings.backups.directory.display();
        tracing::warn!(%error, %directory, "the backups can't be listed");
        Looking::Done
    }

    /// So that who asks for a backup that can't be is told so at once.
    fn look_at_room(&mut self, keyspace: &Keyspace) {
        let now = clock::monotonic();
        if self.room_looked_at.is_some_and(|before| now.duration_since(before) < ROOM_EVERY) {
            return;
        }
        self.room_looked_at = Some(now);
        let available = file_system::available_bytes(&self.shared.settings.storage.directory);
        let room = match (self.is_on_data_disk, keyspace.data_bytes(), available) {
            (true, Ok(backup_bytes), Ok(available_bytes)) => {
                Some(Room { backup_bytes, reserve_bytes: self.disk_reserve_bytes, available_bytes })
            }
            _ => None,
        };
        self.shared.backups.know_room(room);
    }

    fn ask_if_due(&mut self) {
        let interval = self.shared.settings.backups.interval;
        let now_ms = now_ms();
        // Also when the clock was put back: one more is better than none for a year.
        let is_due =
            now_ms.checked_sub(self.scheduled_ms).is_none_or(|since| u128::from(since) >= interval.as_millis());
        if interval.is_zero() || !is_due || clock::monotonic() < self.not_before {
            return;
        }
        match self.shared.backups.ask(Kind::Kept, now_ms) {
            Ok(_) => self.scheduled_ms = now_ms,
            // It fails as one that was begun, so that somebody hears of it.
            Err(refusal) if refusal.is_for_room() => {
                let name = BackupName::kept(now_ms);
                tracing::error!(%name, error = %refusal, "a backup failed");
                self.shared.backups.fail(name, Failure::NoRoom, now_ms);
                self.not_before = clock::monotonic() + FAILED_AGAIN;
            }
            Err(_) => {}
        }
    }

    fn begin(&self, keyspace: &Keyspace, name: BackupName) -> Result<Running, Failed> {
        let origin = backup::origin_of(keyspace).map_err(|error| (Failure::Copying, error))?;
        let thread = Carrier::make(&self.shared, origin.lineage, &self.alive, name)
            .map_err(|error| (Failure::Copying, StorageError::Io(error.to_string())))?;
        Ok(Running { name, begun: clock::monotonic(), stage: Stage::Preparing, thread })
    }

    /// What the thread tells.
    fn collect(&mut self, keyspace: &mut Keyspace) -> Duration {
        let Some(running) = &self.running else { return LOOK_EVERY };
        let name = running.name;
        match running.thread.report() {
            Ok(Some(Report::Prepared(place))) => match self.begin_copy(keyspace, place) {
                Ok(()) => return Duration::ZERO,
                Err(failed) => self.fail(name, failed),
            },
            Ok(Some(Report::Moving)) => {
                self.shared.backups.move_on();
                self.shared.backups.enter(Phase::Moving);
            }
            Ok(Some(Report::Finished(bytes))) => self.finished(bytes),
            Ok(Some(Report::Failed(failed))) => self.fail(name, failed),
            Ok(Some(Report::Looked(_)) | None) => self.watch(name),
            Err(()) => {
                self.fail(name, (Failure::Finishing, StorageError::Internal("its thread panicked".into())));
            }
        }
        LOOK_EVERY
    }

    fn begin_copy(&mut self, keyspace: &mut Keyspace, place: Place) -> Result<(), Failed> {
        self.is_stall_said = false;
        self.is_on_data_disk = place.is_on_data_disk;
        let copying = |error| (Failure::Copying, error);
        let backup_bytes = keyspace.data_bytes().map_err(copying)?;
        let here = file_system::available_bytes(&self.shared.settings.storage.directory).ok();
        let reserve_bytes = self.disk_reserve_bytes;
        let is_short = |room: Option<u64>, reserve: u64| room.is_some_and(|room| room < backup_bytes + reserve);
        if place.is_carried && is_short(here, reserve_bytes) {
            tracing::error!(
                backup_bytes,
                reserve_bytes,
                available_bytes = here,
                "no room beside the data for a backup that goes to a network"
            );
            return Err((Failure::NoRoomHere, StorageError::Full));
        }
        // In a directory that others have as well the data needs no reserve.
        let reserve_bytes = if place.is_carried { 0 } else { reserve_bytes };
        if is_short(place.available_bytes, reserve_bytes) {
            let available_bytes = place.available_bytes;
            tracing::error!(backup_bytes, reserve_bytes, available_bytes, "no room for a backup in its directory");
            return Err((Failure::NoRoom, StorageError::Full));
        }
        backup::count(keyspace, place.number_max).map_err(|error| {
            end_if_sync_failed(&self.shared, &error);
            (if error == StorageError::Full { Failure::NoRoom } else { Failure::Copying }, error)
        })?;
        if let Some(running) = &mut self.running {
            let copier = Copier::begin(keyspace, &place.part, running.thread.orders())
                .map_err(|error| (Failure::Directory, error))?;
            tracing::info!(name = %running.name, "a backup begins");
            running.stage = Stage::Copying(copier, place);
            self.shared.backups.enter(Phase::Copying);
        }
        Ok(())
    }

    fn copy(&mut self, is_idle: bool) -> Duration {
        let Some(Running { name, stage: Stage::Copying(copier, place), .. }) = &mut self.running else {
            return LOOK_EVERY;
        };
        let name = *name;
        let stepped = copier.step(clock::monotonic(), is_idle);
        if let Ok(Step::Waits(time)) = stepped {
            return time;
        }
        let copied = copier.copied();
        self.shared.backups.copied(copied.pages, copied.pages_total);
        // The data's own growth needs what is left.
        let has_room = || {
            let room = file_system::available_bytes(backup::parent(&place.part));
            room.map_or(true, |room| room >= self.disk_reserve_bytes)
        };
        match stepped {
            Ok(Step::Copied | Step::Waits(_)) if has_room() => return Duration::ZERO,
            Ok(Step::Complete) => {
                self.shared.backups.enter(Phase::Checking);
                let place = place.clone();
                if let Some(running) = &mut self.running
                    && let Stage::Copying(copier, _) = std::mem::replace(&mut running.stage, Stage::Finishing(place))
                {
                    copier.finish();
                }
            }
            Ok(Step::Copied | Step::Waits(_)) | Err(StorageError::Full) => {
                self.fail(name, (Failure::NoRoom, StorageError::Full));
            }
            Err(error) => self.fail(name, (Failure::Copying, error)),
        }
        LOOK_EVERY
    }

    fn finished(&mut self, bytes: u64) {
        let Some(running) = self.running.take() else { return };
        let name = running.name;
        let duration = clock::monotonic().duration_since(running.begun);
        let last = Finished { name, at_ms: now_ms(), duration_ms: duration.as_millis() as u64, bytes };
        tracing::info!(%name, bytes, duration_ms = last.duration_ms, "a backup is finished");
        self.is_stall_said = false;
        self.room_looked_at = None;
        self.shared.backups.finish(last);
    }

    /// A directory that does not answer is said to be so, and given up in the end.
    fn watch(&mut self, name: BackupName) {
        let stage = self.running.as_ref().map(|running| &running.stage);
        if matches!(stage, Some(Stage::Finishing(place)) if place.is_carried) {
            let room = file_system::available_bytes(&self.shared.settings.storage.directory);
            if room.is_ok_and(|room| room < self.disk_reserve_bytes) {
                // The data needs it, and the thread that has the file open may hang.
                tracing::warn!(%name, "the copy of a backup that waits for its directory takes room that the data needs");
                return self.fail(name, (Failure::NoRoomHere, StorageError::Full));
            }
        }
        // Syncing and checking beside the data take as long as they take.
        if self.shared.backups.running().is_some_and(|running| running.phase == Phase::Checking) {
            return;
        }
        let still = self.shared.backups.still_for();
        if still >= STALL_MAX {
            let error = StorageError::Io(format!("no answer within {} seconds", STALL_MAX.as_secs()));
            self.fail(name, (Failure::Stalled, error));
        } else if still >= STALL_SAID && !self.is_stall_said {
            self.say_stall();
        }
    }

    fn say_stall(&mut self) {
        self.is_stall_said = true;
        let directory = self.shared.settings.backups.directory.display();
        tracing::warn!(%directory, "the directory of backups does not answer; the service goes on, its backup waits");
    }

    fn fail(&mut self, name: BackupName, (failure, error): Failed) {
        tracing::error!(%name, %error, reason = failure.text(), "a backup failed");
        if let Some(Running { stage, thread, .. }) = self.running.take() {
            thread.give_up(if let Stage::Finishing(place) = &stage { Some(place) } else { None });
        }
        // So that the schedule tries again.
        self.scheduled_ms = 0;
        self.not_before = clock::monotonic() + FAILED_AGAIN;
        self.room_looked_at = None;
        self.shared.backups.fail(name, failure, now_ms());
    }
}

fn now_ms() -> u64 {
    clock::wall_ms().unsigned_abs()
}
