//! The writer's work between groups, in small bites: the `-wal`, expired keys, rows of deleted values, unused pages, the disk,
//! backups.
//!
//! The checkpoint thread copies the `-wal` beside the writer; the writer only takes the short last step. With durability
//! `everysec` the sync thread makes the last second durable.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::kv::application::Shared;
use crate::kv::backup_taker::BackupTaker;
use crate::kv::calls::Calls;
use crate::kv::latency::Event;
use crate::kv::runtime::Knob;
use crate::kv::statistics::{Counted, Measured, Statistics};
use crate::kv::writer::end_if_sync_failed;
use crate::server::ExecutorContext;
use crate::server::sys::{clock, thread};
use crate::storage::checkpoint::{Checkpointer, Pace, WalFile};
use crate::storage::{Durability, Keyspace, Options, StorageError, file_system};

pub struct Housekeeping {
    pace: Pace,
    wal_bytes_max: u64,
    /// Passes since the `-wal` began anew.
    passes: u32,
    /// Not before then: the last step was blocked.
    restart_at: Instant,
    checkpoints: CheckpointThread,
    backups: BackupTaker,
    _syncs: Option<SyncThread>,
    wal_looked_at: Instant,
    swept_at: Instant,
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
/// Between two attempts at a checkpoint that a client waits for.
const ASKED_PASS_EVERY: Duration = Duration::from_millis(20);
const SWEEP_EVERY: Duration = Duration::from_millis(50);
const SWEEP_BESIDE_EVERY: Duration = Duration::from_millis(10);
/// Rows of one bite: a millisecond or two.
const EXPIRED_ROWS: usize = 200;
const ORPHAN_ROWS: usize = 1000;
const VACUUM_PAGES: u32 = 64;
/// Unused pages up to this share of the file are kept for what will be written next, while the disk has room.
const UNUSED_PERCENT: u64 = 25;
/// On a disk that is nearly full the `-wal` begins anew as soon as it has this much.
const WAL_BYTES_WHEN_SHORT: u64 = 64 << 10;
/// Between two attempts at the last step, when readers block it.
const RESTART_EVERY: Duration = Duration::from_millis(50);
/// After a pass that failed.
const FAILED_PASS_AGAIN: Duration = Duration::from_millis(200);
/// A pass that takes longer has a disk that is in trouble.
const PASS_MAX: Duration = Duration::from_secs(1);
/// How long the writer stands still at first so that a pass gains on it.
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_DOUBLINGS_MAX: u32 = 5;

impl Housekeeping {
    pub fn start(shared: &Arc<Shared>, context: &ExecutorContext) -> Result<Housekeeping, StorageError> {
        let options = &shared.settings.storage;
        let now = clock::monotonic();
        let syncs = match options.durability {
            Durability::EverySec => Some(SyncThread::start(shared, context)?),
            Durability::Always | Durability::Os => None,
        };
        Ok(Housekeeping {
            pace: Pace::new(options.wal_bytes_max),
            wal_bytes_max: options.wal_bytes_max,
            passes: 0,
            restart_at: now,
            checkpoints: CheckpointThread::start(shared)?,
            backups: BackupTaker::start(shared),
            _syncs: syncs,
            wal_looked_at: now,
            swept_at: now,
            is_disk_short: false,
            can_shrink: false,
            has_more_to_sweep: true,
            disk_reserve_bytes: 2 * options.wal_bytes_max,
            asked_pass_at: now - ASKED_PASS_EVERY,
        })
    }

    /// What is due now; `is_idle`: no group ran since the last call. Returns when to come again if no job comes before.
    pub fn bite(&mut self, keyspace: &mut Keyspace, calls: &Calls, is_idle: bool) -> Result<Duration, StorageError> {
        let now = clock::monotonic();
        if now.duration_since(self.wal_looked_at) >= WAL_EVERY {
            self.wal_looked_at = now;
            self.look_at_disk(keyspace, calls)?;
            self.look_at_wal(keyspace, calls)?;
        }
        // A bite is a commit of its own: beside a busy writer it takes its turn, and an idle one goes on without a break.
        let is_due = match (self.has_more_to_sweep, is_idle) {
            (true, true) => true,
            (true, false) => now.duration_since(self.swept_at) >= SWEEP_BESIDE_EVERY,
            (false, _) => now.duration_since(self.swept_at) >= SWEEP_EVERY,
        };
        if is_due {
            self.swept_at = now;
            self.has_more_to_sweep = sweep(keyspace, calls, if self.is_disk_short { 0 } else { UNUSED_PERCENT })?;
            calls.shared.latency.consider_duration(Event::ExpireCycle, clock::monotonic().duration_since(now));
        }
        let next_bite = self.backups.bite(keyspace, is_idle);
        Ok(match self.has_more_to_sweep {
            true => Duration::ZERO,
            false if is_asked_for(&calls.shared) => WAL_EVERY.min(next_bite),
            false => SWEEP_EVERY.min(next_bite),
        })
    }

    /// A pass beside the writer, then a second for what the writer has added meanwhile, then the last step. The writer gives
    /// way to the second, in bounded bites: beside a busy writer no pass ever reaches the end of the `-wal`.
    fn look_at_wal(&mut self, keyspace: &mut Keyspace, calls: &Calls) -> Result<(), StorageError> {
        let statistics = &calls.statistics;
        self.checkpoints.collect(statistics);
        let mut progress = keyspace.wal_progress()?;
        let (now, asked) = (clock::monotonic(), calls.shared.runtime.read(Knob::CheckpointsAsked));
        let is_asked = is_asked_for(&calls.shared) && now.duration_since(self.asked_pass_at) >= ASKED_PASS_EVERY;
        if self.checkpoints.can_begin(now) && (is_asked || self.pace.wants_pass(&progress)) {
            self.asked_pass_at = now;
            self.passes += u32::from(!is_asked && self.pace.is_due(&progress));
            self.checkpoints.begin(asked, statistics);
        }
        let is_over = progress.log_bytes() > self.wal_bytes_max;
        let pause = match self.checkpoints.is_running() {
            // Twice as long each time: a pass that outlasts the wait finds another group's changes, and ends for nothing.
            true if is_over || self.passes > 1 => PAUSE * (1 << self.passes.saturating_sub(2).min(PAUSE_DOUBLINGS_MAX)),
            // Readers hold the last step back: the writer is slowed in proportion to what it has piled up.
            false if is_over => self.pace.pause(progress.log_bytes(), WAL_EVERY).min(PAUSE),
            _ => Duration::ZERO,
        };
        if !pause.is_zero() {
            self.checkpoints.wait(pause, statistics);
            progress = keyspace.wal_progress()?;
        }
        let now = clock::monotonic();
        // With no room left the -wal can be written only where it has been before, and the file shrinks only by this.
        let is_due = progress.log_bytes() >= WAL_BYTES_WHEN_SHORT || self.can_shrink;
        let wants_restart = self.is_disk_short && is_due || self.pace.wants_restart(&progress);
        if !self.checkpoints.is_running() && wants_restart && now >= self.restart_at {
            self.restart(keyspace, statistics, now)?;
        }
        statistics.set(Counted::WalBytes, progress.log_bytes());
        Ok(())
    }

    /// Until no pass is running, which is a matter of milliseconds.
    pub fn await_pass(&mut self, statistics: &Statistics) {
        if self.checkpoints.is_running() {
            self.checkpoints.wait(PASS_MAX, statistics);
        }
    }

    fn restart(&mut self, keyspace: &mut Keyspace, statistics: &Statistics, now: Instant) -> Result<(), StorageError> {
        let is_done = match keyspace.restart_wal() {
            // The file can't grow: sweeping and deleting go on in what room the -wal has.
            Err(StorageError::Full) => false,
            tried => tried?,
        };
        if is_done {
            self.passes = 0;
            statistics.set(Counted::ChangesSinceCheckpoint, 0);
            statistics.set(Counted::LastCheckpointSeconds, now_seconds());
        } else {
            self.restart_at = now + RESTART_EVERY;
        }
        let duration_us = clock::monotonic().duration_since(now).as_micros() as u64;
        statistics.raise(Counted::CheckpointMicrosecondsMax, duration_us);
        Ok(())
    }

    /// Looks as often as at the `-wal`: a busy writer fills a reserve of a few megabytes in some ten milliseconds.
    fn look_at_disk(&mut self, keyspace: &Keyspace, calls: &Calls) -> Result<(), StorageError> {
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

    /// Everything into the file.
    pub fn finish(&mut self, shared: &Shared) -> Result<(), StorageError> {
        self.backups.stop();
        self.checkpoints.end();
        Checkpointer::open(&shared.settings.storage)?.truncate().map(|_| ())
    }
}

/// True while a client's SAVE or BGSAVE is not done.
fn is_asked_for(shared: &Shared) -> bool {
    shared.runtime.read(Knob::CheckpointsAsked) > shared.runtime.read(Knob::CheckpointsDone)
}

fn now_seconds() -> u64 {
    (clock::wall_ms() / 1000).unsigned_abs()
}

/// One transaction of cleaning. True when there is more.
fn sweep(keyspace: &mut Keyspace, calls: &Calls, unused_percent: u64) -> Result<bool, StorageError> {
    keyspace.begin_write(calls.shared.clock.now_ms())?;
    let is_active = calls.shared.runtime.read(Knob::ActiveExpire) != 0;
    let expired = if is_active { keyspace.sweep_expired(EXPIRED_ROWS)? } else { 0 };
    let orphans = keyspace.sweep_orphans(ORPHAN_ROWS)?;
    let pages = if expired + orphans == 0 { keyspace.vacuum(VACUUM_PAGES, unused_percent)? } else { 0 };
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

/// Copies the `-wal` into the file when asked to, beside the writer.
struct CheckpointThread {
    shared: Arc<Shared>,
    orders: Option<Sender<()>>,
    reports: Receiver<Pass>,
    running: Option<Running>,
    /// The last pass failed: not before then.
    not_before: Option<Instant>,
    thread: Option<JoinHandle<()>>,
}

/// What was there when the pass began.
struct Running {
    /// The last checkpoint that a client had asked for.
    asked: u64,
    changes: u64,
}

struct Pass {
    duration: Duration,
    is_failed: bool,
    /// Everything that was committed at its begin is in the file.
    is_complete: bool,
}

impl CheckpointThread {
    fn start(shared: &Arc<Shared>) -> Result<CheckpointThread, StorageError> {
        let (orders, orders_end) = bounded(1);
        let (reports_end, reports) = bounded(1);
        let checkpointer = Checkpointer::open(&shared.settings.storage)?;
        let thread_shared = Arc::clone(shared);
        let thread = spawn("checkpoint", move || {
            while let Ok(()) = orders_end.recv() {
                let begun = clock::monotonic();
                let outcome = checkpointer.passive();
                if let Err(error) = &outcome {
                    end_if_sync_failed(&thread_shared, error);
                    tracing::error!(%error, "a checkpoint failed");
                }
                let pass = Pass {
                    duration: clock::monotonic().duration_since(begun),
                    is_failed: outcome.is_err(),
                    is_complete: outcome.is_ok_and(|progress| progress.remaining_bytes() == 0),
                };
                if reports_end.send(pass).is_err() {
                    break;
                }
            }
        })?;
        let shared = Arc::clone(shared);
        Ok(CheckpointThread {
            shared,
            orders: Some(orders),
            reports,
            running: None,
            not_before: None,
            thread: Some(thread),
        })
    }

    fn is_running(&self) -> bool {
        self.running.is_some()
    }

    fn can_begin(&self, now: Instant) -> bool {
        !self.is_running() && self.not_before.is_none_or(|at| at <= now)
    }

    fn begin(&mut self, asked: u64, statistics: &Statistics) {
        let orders = self.orders.as_ref().expect("orders are given only before the end");
        let changes = statistics.read(Counted::ChangesSinceCheckpoint);
        self.running = orders.try_send(()).is_ok().then_some(Running { asked, changes });
    }

    fn collect(&mut self, statistics: &Statistics) {
        if let Ok(pass) = self.reports.try_recv() {
            self.ended(&pass, statistics);
        }
    }

    /// Until the pass has ended, but not longer.
    fn wait(&mut self, time: Duration, statistics: &Statistics) {
        if let Ok(pass) = self.reports.recv_timeout(time) {
            self.ended(&pass, statistics);
        }
    }

    fn ended(&mut self, pass: &Pass, statistics: &Statistics) {
        let running = self.running.take();
        self.not_before = pass.is_failed.then(|| clock::monotonic() + FAILED_PASS_AGAIN);
        if let (Some(running), true) = (running, pass.is_complete) {
            let changes = statistics.read(Counted::ChangesSinceCheckpoint).saturating_sub(running.changes);
            statistics.set(Counted::ChangesSinceCheckpoint, changes);
            statistics.set(Counted::LastCheckpointSeconds, now_seconds());
            self.shared.runtime.set(Knob::CheckpointsDone, running.asked);
        }
        self.shared.latency.consider_duration(Event::Checkpoint, pass.duration);
        let duration_us = pass.duration.as_micros() as u64;
        statistics.add(Counted::CheckpointsTotal, 1);
        statistics.add(Counted::CheckpointMicrosecondsTotal, duration_us);
        statistics.measured(Measured::Checkpoint, duration_us);
        statistics.set(Counted::LastCheckpointFailed, u64::from(pass.is_failed));
    }

    fn end(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the checkpoint thread panicked");
        }
    }
}

impl Drop for CheckpointThread {
    fn drop(&mut self) {
        self.end();
    }
}

/// With durability `everysec`: what was committed in the last second reaches the disk.
struct SyncThread {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl SyncThread {
    fn start(shared: &Arc<Shared>, context: &ExecutorContext) -> Result<SyncThread, StorageError> {
        let (end, ended) = bounded(1);
        let options: Options = shared.settings.storage.clone();
        let statistics = Statistics::new(context.board, context.slot);
        let shared = Arc::clone(shared);
        let thread = spawn("sync", move || {
            while ended.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                let (begun_ms, begun) = (clock::uptime_ms(), clock::monotonic());
                let synced = WalFile::open(&options).and_then(|wal| wal.sync());
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

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StorageError> {
    thread::spawn(name, body).map_err(|error| StorageError::Io(format!("can't start a thread: {error}")))
}
