//! The writer's work between groups, in small steps: the `-wal`, expired keys, rows of deleted values, unused pages, the disk,
//! backups.
//!
//! The checkpoint thread (`checkpoints`) copies the `-wal` beside the writer; the writer only takes the short WAL restart. With
//! durability `everysec` the sync thread makes the last second durable.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use crate::kv::lanes::average_ttl::AverageTtls;
use crate::kv::lanes::backup_taker::BackupTaker;
use crate::kv::lanes::calls::Calls;
use crate::kv::lanes::checkpoints::Checkpoints;
use crate::kv::lanes::writer::end_if_sync_failed;
use crate::kv::metrics::statistics::{Counted, Measured, Statistics};
use crate::kv::shared::Shared;
use crate::kv::shared::latency::Event;
use crate::kv::shared::runtime::Knob;
use crate::server::ExecutorContext;
use crate::storage::checkpoint::{Checkpointer, Pace, Progress, WalFile};
use crate::storage::{Durability, Keyspace, Options, StorageError, file_system};
use crate::sys::{clock, thread};

pub struct Housekeeping {
    pace: Pace,
    wal_bytes_max: u64,
    /// Not before then: the WAL restart was blocked.
    restart_at: Instant,
    checkpoints: Checkpoints,
    backups: BackupTaker,
    _syncs: Option<SyncThread>,
    wal_looked_at: Instant,
    /// When a group ran last.
    active_at: Instant,
    swept_at: Instant,
    average_ttls: AverageTtls,
    /// After a sweep that failed.
    sweep_not_before: Instant,
    /// There is less room than the reserve: nothing may grow, and what is not needed is given back.
    is_disk_short: bool,
    /// A checkpoint would make the file shorter.
    can_shrink: bool,
    /// The last sweep found all that it may take at once: there is more.
    has_more_to_sweep: bool,
    disk_reserve_bytes: u64,
    /// When the last pass that a client asked for began.
    asked_pass_at: Instant,
}

/// How often each thing is looked at, however busy the writer is.
const WAL_EVERY: Duration = Duration::from_millis(2);
/// So long without a group, and the `-wal` is copied though it is far from its budget.
const QUIET: Duration = Duration::from_secs(1);
/// Between two attempts at a checkpoint that a client waits for.
const ASKED_PASS_EVERY: Duration = Duration::from_millis(20);
const SWEEP_EVERY: Duration = Duration::from_millis(50);
const SWEEP_BESIDE_EVERY: Duration = Duration::from_millis(10);
/// After one that failed at nothing in particular.
const SWEEP_AGAIN: Duration = Duration::from_secs(60);
/// Rows of one step: a millisecond or two.
const EXPIRED_ROWS: usize = 200;
const ORPHAN_ROWS: usize = 1000;
const VACUUM_PAGES: u32 = 64;
/// Unused pages up to this share of the file are kept for what will be written next, while the disk has room.
const UNUSED_PERCENT: u64 = 25;
/// On a disk that is nearly full the `-wal` begins anew as soon as it has this much.
const WAL_BYTES_WHEN_SHORT: u64 = 64 << 10;
/// Between two attempts at the WAL restart, when readers block it.
const RESTART_EVERY: Duration = Duration::from_millis(50);
/// A pass that takes longer has a disk that is in trouble.
const PASS_MAX: Duration = Duration::from_secs(1);
/// The longest that readers, who keep the `-wal` from beginning anew, make the writer pause after a group.
const PAUSE_MAX: Duration = Duration::from_millis(20);

impl Housekeeping {
    pub fn start(
        shared: &Arc<Shared>,
        context: &ExecutorContext,
        options: &Options,
    ) -> Result<Housekeeping, StorageError> {
        let now = clock::monotonic();
        let syncs = match options.durability {
            Durability::EverySec => Some(SyncThread::start(shared, context)?),
            Durability::Always | Durability::Os => None,
        };
        Ok(Housekeeping {
            pace: Pace::new(options.wal_bytes_max),
            wal_bytes_max: options.wal_bytes_max,
            restart_at: now,
            checkpoints: Checkpoints::start(shared, options)?,
            backups: BackupTaker::start(shared),
            _syncs: syncs,
            wal_looked_at: now,
            active_at: now,
            swept_at: now,
            average_ttls: AverageTtls::start(),
            sweep_not_before: now,
            is_disk_short: false,
            can_shrink: false,
            has_more_to_sweep: true,
            disk_reserve_bytes: 2 * options.wal_bytes_max,
            asked_pass_at: now - ASKED_PASS_EVERY,
        })
    }

    /// What is due now; `is_idle`: no group ran since the last call. Returns when to come again if no job comes before.
    pub fn step(&mut self, keyspace: &mut Keyspace, calls: &Calls, is_idle: bool) -> Result<Duration, StorageError> {
        let now = clock::monotonic();
        if !is_idle {
            self.active_at = now;
        }
        let is_time = now.duration_since(self.wal_looked_at) >= WAL_EVERY;
        if is_time {
            self.wal_looked_at = now;
            self.look_at_disk(keyspace, calls)?;
        }
        // Beside a pass after each group: it may be the last that the pass bears.
        if is_time || self.checkpoints.is_running() {
            self.look_at_wal(keyspace, calls)?;
        }
        // A step is a commit of its own: beside a busy writer it takes its turn, and an idle one goes on without a break.
        let is_due = match (self.has_more_to_sweep, is_idle) {
            (true, true) => true,
            (true, false) => now.duration_since(self.swept_at) >= SWEEP_BESIDE_EVERY,
            (false, _) => now.duration_since(self.swept_at) >= SWEEP_EVERY,
        };
        if is_due && now >= self.sweep_not_before {
            self.swept_at = now;
            let unused_percent = if self.is_disk_short { 0 } else { UNUSED_PERCENT };
            self.has_more_to_sweep = match sweep(keyspace, calls, &mut self.average_ttls, unused_percent) {
                Err(error) if error.is_of_the_call() => self.sweep_failed(keyspace, &error, now)?,
                swept => swept?,
            };
            calls.shared.latency.consider_duration(Event::ExpireCycle, clock::monotonic().duration_since(now));
        }
        let next_step = self.backups.step(keyspace, is_idle);
        Ok(match self.has_more_to_sweep {
            true => Duration::ZERO,
            false if is_asked_for(&calls.shared) => WAL_EVERY.min(next_step),
            false => SWEEP_EVERY.min(next_step),
        })
    }

    /// A bad row is nobody's affair but its own: no write fails because of it, and what else is to be swept is. True when there is more.
    fn sweep_failed(
        &mut self,
        keyspace: &mut Keyspace,
        error: &StorageError,
        now: Instant,
    ) -> Result<bool, StorageError> {
        keyspace.rollback()?;
        let goes_on = *error != StorageError::OutOfMemory && keyspace.sweep_past_failure();
        if goes_on {
            tracing::error!(%error, "a row can't be swept, and is left alone until the next start");
        } else {
            tracing::error!(%error, "nothing can be swept for a while");
            self.sweep_not_before = now + SWEEP_AGAIN;
        }
        Ok(goes_on)
    }

    /// Passes beside the writer, each over what was added during the one before and so shorter than that, then the last
    /// step.
    fn look_at_wal(&mut self, keyspace: &mut Keyspace, calls: &Calls) -> Result<(), StorageError> {
        let statistics = &calls.statistics;
        self.checkpoints.collect(statistics);
        let mut progress = keyspace.wal_progress()?;
        // Between two passes no group comes, or the second would have that much more to do.
        loop {
            if self.checkpoints.is_running() {
                progress = self.checkpoints.give_way(&self.pace, progress, keyspace, statistics)?;
            }
            if !self.begin_pass(&progress, calls) {
                break;
            }
        }
        if !self.checkpoints.is_running() && progress.log_bytes() > self.wal_bytes_max {
            // Readers hold the WAL restart back: the writer is slowed in proportion to what it has piled up.
            clock::pause(self.pace.pause(progress.log_bytes(), WAL_EVERY).min(PAUSE_MAX));
        }
        let now = clock::monotonic();
        // With no room left the -wal can be written only where it has been before, and the file shrinks only by this.
        let is_due = progress.log_bytes() >= WAL_BYTES_WHEN_SHORT || self.can_shrink;
        let wants_restart = self.is_disk_short && is_due || self.pace.wants_restart(&progress);
        let mut is_held = self.pace.is_held(&progress);
        if !self.checkpoints.is_running() && wants_restart && now >= self.restart_at {
            is_held &= !self.restart(keyspace, statistics, now)?;
        }
        calls.shared.runtime.set(Knob::WalIsHeld, u64::from(is_held));
        statistics.set(Counted::WalBytes, progress.log_bytes());
        Ok(())
    }

    /// False when there is no need, or one is running, or it must not be yet.
    fn begin_pass(&mut self, progress: &Progress, calls: &Calls) -> bool {
        let (now, asked) = (clock::monotonic(), calls.shared.runtime.read(Knob::CheckpointsAsked));
        let is_asked = is_asked_for(&calls.shared) && now.duration_since(self.asked_pass_at) >= ASKED_PASS_EVERY;
        // Every read looks through what is not copied yet; and on a disk that is short of room the -wal is kept small.
        let is_early = now.duration_since(self.active_at) >= QUIET || self.is_disk_short;
        let is_wanted = is_asked || self.pace.wants_pass(progress) || is_early && self.pace.has_much_left(progress);
        if !is_wanted || !self.checkpoints.can_begin(now) {
            return false;
        }
        self.asked_pass_at = now;
        self.checkpoints.begin(asked, progress, &calls.statistics);
        self.checkpoints.is_running()
    }

    /// Until no pass is running.
    pub fn await_pass(&mut self, statistics: &Statistics) {
        if self.checkpoints.is_running() {
            self.checkpoints.wait(PASS_MAX, statistics);
        }
    }

    /// How many bytes of jobs the next group may have.
    pub fn group_bytes_max(&self) -> usize {
        self.checkpoints.group_bytes_max()
    }

    /// COMMIT of a group, while a pass keeps its hands off the disk.
    ///
    /// # Errors
    /// Those of `Keyspace::commit`.
    pub fn commit(&self, keyspace: &mut Keyspace) -> Result<(), StorageError> {
        self.checkpoints.during_commit(|| keyspace.commit())
    }

    /// True when it is done.
    fn restart(
        &mut self,
        keyspace: &mut Keyspace,
        statistics: &Statistics,
        now: Instant,
    ) -> Result<bool, StorageError> {
        let is_done = match keyspace.restart_wal() {
            // The file can't grow: sweeping and deleting go on in what room the -wal has.
            Err(StorageError::Full) => false,
            tried => tried?,
        };
        if is_done {
            statistics.set(Counted::ChangesSinceCheckpoint, 0);
            statistics.set(Counted::LastCheckpointSeconds, now_seconds());
        } else {
            self.restart_at = now + RESTART_EVERY;
        }
        let duration_us = clock::monotonic().duration_since(now).as_micros() as u64;
        tracing::debug!(is_done, duration_us, "the WAL restart of a checkpoint");
        statistics.raise(Counted::CheckpointMicrosecondsMax, duration_us);
        Ok(is_done)
    }

    /// At the start, and then as often as at the `-wal`: a busy writer fills a reserve of a few megabytes in some ten milliseconds.
    pub fn look_at_disk(&mut self, keyspace: &Keyspace, calls: &Calls) -> Result<(), StorageError> {
        let directory = &calls.shared.settings.storage.directory;
        match file_system::available_bytes(directory) {
            Ok(bytes) => {
                // What is committed and not yet in the file will make that longer.
                let growth_bytes = keyspace.growth_bytes()?;
                let room = bytes.saturating_sub(u64::try_from(growth_bytes).unwrap_or(0));
                self.is_disk_short = room < self.disk_reserve_bytes;
                self.can_shrink = growth_bytes < 0;
                calls.statistics.set(Counted::DiskFreeBytes, bytes);
                calls.statistics.set(Counted::DiskNearlyFull, u64::from(self.is_disk_short));
            }
            Err(error) => tracing::warn!(%error, "the free space of the disk can't be read"),
        }
        Ok(())
    }

    /// The threads beside the writer end.
    pub fn stop(&mut self) {
        self.backups.stop();
        self.checkpoints.end();
    }

    /// Of all that is to be done between groups only this. Returns when to come again.
    pub fn go_on_with_backup(&mut self, keyspace: &mut Keyspace) -> Duration {
        self.backups.step(keyspace, true)
    }

    /// Everything into the file.
    pub fn finish(&mut self, options: &Options) -> Result<(), StorageError> {
        self.stop();
        Checkpointer::open(options)?.truncate().map(|_| ())
    }
}

/// True while a client's SAVE or BGSAVE is not done.
fn is_asked_for(shared: &Shared) -> bool {
    shared.runtime.read(Knob::CheckpointsAsked) > shared.runtime.read(Knob::CheckpointsDone)
}

pub fn now_seconds() -> u64 {
    (clock::wall_ms() / 1000).unsigned_abs()
}

/// One transaction of cleaning. True when there is more.
fn sweep(
    keyspace: &mut Keyspace,
    calls: &Calls,
    average_ttls: &mut AverageTtls,
    unused_percent: u64,
) -> Result<bool, StorageError> {
    keyspace.begin_write(calls.shared.clock.now_ms())?;
    let is_active = calls.shared.runtime.read(Knob::ActiveExpire) != 0;
    let expired = if is_active { keyspace.sweep_expired(EXPIRED_ROWS)? } else { 0 };
    let orphans = keyspace.sweep_orphans(ORPHAN_ROWS)?;
    let pages = if expired + orphans == 0 { keyspace.vacuum(VACUUM_PAGES, unused_percent)? } else { 0 };
    average_ttls.look(keyspace, &calls.statistics);
    calls.statistics.set(Counted::DataBytes, keyspace.data_bytes()?);
    if expired + orphans == 0 && pages == 0 {
        keyspace.rollback()?;
        return Ok(false);
    }
    for database in 0..crate::storage::DATABASES as u8 {
        keyspace.select(database);
        calls.statistics.set_keys(database, keyspace.key_count()?, keyspace.expires_count()?);
    }
    keyspace.commit()?;
    calls.statistics.add(Counted::ExpiredKeysTotal, expired as u64);
    Ok(expired == EXPIRED_ROWS || orphans == ORPHAN_ROWS || pages > 0)
}

/// With durability `everysec`: what was committed in the last second reaches the disk.
struct SyncThread {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl SyncThread {
    fn start(shared: &Arc<Shared>, context: &ExecutorContext) -> Result<SyncThread, StorageError> {
        let (end, ended) = bounded(1);
        // Opened once: its name may come to mean another file.
        let wal = WalFile::open(&shared.settings.storage)?;
        let statistics = Statistics::new(context.scoreboard, context.slot);
        let shared = Arc::clone(shared);
        let thread = spawn("sync", move || {
            while ended.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                let (begun_ms, begun) = (clock::uptime_ms(), clock::monotonic());
                let synced = wal.sync();
                match synced {
                    Ok(()) => {
                        // Whoever was committed before the sync began may be told.
                        statistics.set(Counted::SyncedUntilMs, begun_ms);
                        statistics.add(Counted::SyncsTotal, 1);
                        let duration = clock::monotonic().duration_since(begun);
                        statistics.measured(Measured::Sync, duration.as_micros() as u64);
                    }
                    Err(error) => {
                        end_if_sync_failed(&shared, &error);
                        tracing::error!(%error, "the -wal can't be synced");
                    }
                }
            }
        })?;
        Ok(SyncThread { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for SyncThread {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the sync thread panicked");
        }
    }
}

pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StorageError> {
    thread::spawn(name, body).map_err(|error| StorageError::Io(format!("can't start a thread: {error}")))
}
