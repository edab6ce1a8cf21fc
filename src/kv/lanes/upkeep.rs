//! The writer's upkeep between groups, as clients see it: carries their wishes to the base's (`storage::upkeep`), publishes its
//! report, and takes backups. What is done when is the base's affair.

use std::sync::Arc;
use std::time::Duration;

use crate::kv::lanes::backup_taker::BackupTaker;
use crate::kv::lanes::writer::end_if_sync_failed;
use crate::kv::metrics::statistics::{Counted, Measured, Statistics};
use crate::kv::shared::Shared;
use crate::kv::shared::hand_offs::HandOff;
use crate::kv::shared::latency::Event as Latency;
use crate::kv::shared::runtime::Knob;
use crate::server::ExecutorContext;
use crate::storage::upkeep::{Event, GroupTickets, Hooks, Merged, Size, Tickets, Upkeep, Wishes};
use crate::storage::{DATABASES, Keyspace, Options, StorageError};
use crate::sys::clock;

pub struct WriterUpkeep {
    upkeep: Upkeep,
    backups: BackupTaker,
    shared: Arc<Shared>,
    statistics: Statistics,
    /// `ChangesSinceCheckpoint` when the running pass began.
    changes_at_pass: u64,
}

impl WriterUpkeep {
    pub fn start(
        shared: &Arc<Shared>,
        context: &ExecutorContext,
        options: &Options,
        tickets: Tickets,
    ) -> Result<WriterUpkeep, StorageError> {
        Ok(WriterUpkeep {
            upkeep: Upkeep::start(options, tickets, clock::monotonic(), hooks(shared, context))?,
            backups: BackupTaker::start(shared),
            shared: Arc::clone(shared),
            statistics: Statistics::new(context.scoreboard, context.slot),
            changes_at_pass: 0,
        })
    }

    /// What is due now; `is_idle`: no group ran since the last call; `begin` is called once its time is settled. Returns when to come
    /// again if no job comes before.
    ///
    /// # Errors
    /// Those of a commit or a checkpoint.
    pub fn step(
        &mut self,
        keyspace: &mut Keyspace,
        is_idle: bool,
        begin: impl FnOnce(&mut Keyspace),
    ) -> Result<Duration, StorageError> {
        let (runtime, hand_offs) = (&self.shared.runtime, &self.shared.hand_offs);
        let (asked, done) = (hand_offs.read(HandOff::CheckpointsAsked), hand_offs.read(HandOff::CheckpointsDone));
        let wishes = Wishes {
            now_ms: self.shared.clock.now_ms(),
            is_idle,
            removes_expired: runtime.read(Knob::ActiveExpire) != 0,
            checkpoint: Some(asked).filter(|asked| *asked > done),
            merges_all: self.backups.is_running(),
        };
        begin(keyspace);
        let next = self.upkeep.step(keyspace, clock::monotonic(), &wishes);
        self.publish();
        match &next {
            Ok(_) => {}
            // Whoever asks for a backup is told that there is no room.
            Err(StorageError::Full) => keyspace.rollback()?,
            Err(_) => return next,
        }
        let next_of_backup = self.backups.step(keyspace, is_idle);
        Ok(next?.min(next_of_backup))
    }

    /// Of all that is to be done between groups only this. Returns when to come again.
    pub fn go_on_with_backup(&mut self, keyspace: &mut Keyspace) -> Duration {
        self.backups.step(keyspace, true)
    }

    /// Before the first call: what grows is refused from the start on where there is no room.
    pub fn look_at_disk(&mut self, keyspace: &Keyspace) {
        if let Err(error) = self.upkeep.look_at_disk(keyspace) {
            tracing::warn!(%error, "the room on the disk can't be looked at");
        }
        self.publish();
    }

    /// COMMIT of a group.
    ///
    /// # Errors
    /// Those of `Keyspace::commit`.
    pub fn commit(&mut self, keyspace: &mut Keyspace, tickets: GroupTickets) -> Result<(), StorageError> {
        self.upkeep.commit(keyspace, tickets)?;
        self.publish();
        Ok(())
    }

    pub fn tickets(&self) -> &Tickets {
        self.upkeep.tickets()
    }

    pub fn tickets_mut(&mut self) -> &mut Tickets {
        self.upkeep.tickets_mut()
    }

    /// Whether very much more may be written between groups: not so that any group is throttled for it.
    ///
    /// # Errors
    /// The `-wal` can't be looked at.
    pub fn may_append_much(&self, keyspace: &Keyspace) -> Result<bool, StorageError> {
        self.upkeep.may_append_much(keyspace)
    }

    /// How many bytes of jobs the next group may have.
    pub fn group_bytes_max(&self, keyspace: &Keyspace) -> usize {
        self.upkeep.group_bytes_max(keyspace)
    }

    /// Until no pass of a checkpoint is running, or for a second.
    pub fn await_pass(&mut self) {
        self.upkeep.await_pass(clock::monotonic());
        self.publish();
    }

    /// After a group that found the disk full. False when another attempt at it would find the same.
    pub fn make_room(&mut self, keyspace: &mut Keyspace) -> bool {
        let is_done = self.upkeep.restart_full_wal(keyspace, clock::monotonic());
        self.publish();
        is_done
    }

    /// Whether the disk takes writes again; `None`: it was tried a moment ago. After an error the caller rolls back.
    pub fn try_to_write(&mut self, keyspace: &mut Keyspace) -> Option<Result<(), StorageError>> {
        self.upkeep.try_to_write(keyspace, clock::monotonic(), self.shared.clock.now_ms())
    }

    /// The threads beside the writer end.
    pub fn stop(&mut self) {
        self.backups.stop();
        self.upkeep.stop();
    }

    /// Everything into the file.
    ///
    /// # Errors
    /// Those of a checkpoint.
    pub fn finish(&mut self, keyspace: &mut Keyspace, options: &Options) -> Result<(), StorageError> {
        self.backups.stop();
        // The supervisor ends whoever takes longer than all of it.
        let until = clock::monotonic() + Duration::from_secs(self.shared.settings.drain_seconds) / 2;
        self.upkeep.finish(keyspace, options, self.shared.clock.now_ms(), until)
    }

    fn publish(&mut self) {
        let report = self.upkeep.report();
        let statistics = &self.statistics;
        if let Some(disk) = report.disk {
            statistics.set(Counted::DiskFreeBytes, disk.free_bytes);
            self.shared.hand_offs.set(HandOff::DiskNearlyFull, u64::from(disk.is_short));
        }
        if let Some(bytes) = report.wal_bytes {
            statistics.set(Counted::WalBytes, bytes);
        }
        if let Some(is_held) = report.is_wal_held {
            self.shared.hand_offs.set(HandOff::WalIsHeld, u64::from(is_held));
        }
        if let Some(unmerged) = report.unmerged {
            statistics.set(Counted::UnmergedBytes, unmerged.bytes);
            statistics.set(Counted::UnmergedRows, unmerged.rows);
            statistics.set(Counted::UnmergedGenerations, unmerged.generations);
            statistics.set(Counted::MergeLagMs, unmerged.age.as_millis() as u64);
        }
        publish_merged(statistics, &report.merged);
        if let Some(bytes) = report.data_bytes {
            statistics.set(Counted::DataBytes, bytes);
        }
        if let Some(sizes) = &report.sizes {
            publish_sizes(statistics, sizes);
        }
        for (number, ttl_ms) in report.average_ttls_ms.iter().flatten().enumerate() {
            statistics.set_average_ttl(number as u8, *ttl_ms);
        }
        statistics.add(Counted::ExpiredKeysTotal, report.expired_keys);
        report.events.iter().for_each(|event| self.publish_event(event));
    }

    fn publish_event(&mut self, event: &Event) {
        let statistics = &self.statistics;
        match *event {
            Event::PassBegun => self.changes_at_pass = statistics.read(Counted::ChangesSinceCheckpoint),
            Event::PassEnded { duration, is_failed, is_complete, done } => {
                if is_complete {
                    let changes = statistics.read(Counted::ChangesSinceCheckpoint).saturating_sub(self.changes_at_pass);
                    statistics.set(Counted::ChangesSinceCheckpoint, changes);
                    statistics.set(Counted::LastCheckpointSeconds, now_seconds());
                }
                if let Some(done) = done {
                    self.shared.hand_offs.set(HandOff::CheckpointsDone, done);
                }
                self.shared.latency.consider_duration(Latency::Checkpoint, duration);
                let duration_us = duration.as_micros() as u64;
                statistics.add(Counted::CheckpointsTotal, 1);
                statistics.add(Counted::CheckpointMicrosecondsTotal, duration_us);
                statistics.measured(Measured::Checkpoint, duration_us);
                statistics.set(Counted::LastCheckpointFailed, u64::from(is_failed));
            }
            Event::WalRestart { duration, is_done } => {
                if is_done {
                    statistics.set(Counted::ChangesSinceCheckpoint, 0);
                    statistics.set(Counted::LastCheckpointSeconds, now_seconds());
                }
                statistics.raise(Counted::CheckpointMicrosecondsMax, duration.as_micros() as u64);
            }
            Event::Swept { duration } => self.shared.latency.consider_duration(Latency::ExpireCycle, duration),
        }
    }
}

fn publish_merged(statistics: &Statistics, merged: &Merged) {
    if *merged == Merged::default() {
        return;
    }
    for (counted, count) in [
        (Counted::MergesTotal, merged.generations),
        (Counted::MergedRowsTotal, merged.rows),
        (Counted::MergeSlicesTotal, merged.slices),
        (Counted::MergeMicrosecondsTotal, merged.duration.as_micros() as u64),
        (Counted::MergePausesTotal, merged.pauses),
        (Counted::RowsLeftOutTotal, merged.left_out),
    ] {
        statistics.add(counted, count);
    }
}

/// How many keys each database has, for those who do not ask the keyspace.
pub fn publish_sizes(statistics: &Statistics, sizes: &[Size; DATABASES]) {
    for (number, size) in sizes.iter().enumerate() {
        statistics.set_keys(number as u8, size.keys, size.expires);
    }
}

/// What the threads beside the writer tell at once.
fn hooks(shared: &Arc<Shared>, context: &ExecutorContext) -> Hooks {
    let statistics = Statistics::new(context.scoreboard, context.slot);
    let (hand_offs, shared) = (shared.hand_offs.clone(), Arc::clone(shared));
    Hooks {
        failed: Arc::new(move |error| end_if_sync_failed(&shared, error)),
        synced: Arc::new(move |synced| {
            // Whoever was committed before the sync began may be told.
            hand_offs.set(HandOff::SyncedUntilMs, synced.begun_ms);
            statistics.add(Counted::SyncsTotal, 1);
            statistics.measured(Measured::Sync, synced.duration.as_micros() as u64);
        }),
    }
}

fn now_seconds() -> u64 {
    (clock::wall_ms() / 1000).unsigned_abs()
}
