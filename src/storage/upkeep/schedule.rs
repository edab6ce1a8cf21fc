//! The schedule of upkeep: a step between two groups of the writer, which takes a few milliseconds at most unless the write throttle
//! holds it.
//!
//! The checkpoint thread copies the `-wal` beside the writer; a step only takes the short WAL restart. Decisions depend on the
//! time that is given; the clock is read only to measure how long something took.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::average_expiry::AverageExpiry;
use super::checkpoint_thread::CheckpointThread;
use super::merges::{Merges, Next};
use super::pace::Pace;
use super::report::{Disk, Event, Hooks, Report, Size, Wishes};
use super::sync_thread::SyncThread;
use super::tickets::{GroupTickets, Tickets};
use crate::storage::error::{Result, StorageError};
use crate::storage::file_system;
use crate::storage::points::{Point, pass};
use crate::storage::sqlite::Kept;
use crate::storage::sqlite::checkpoint::{Checkpointer, Progress};
use crate::storage::{DATABASES, Durability, Keyspace, Options};
use crate::sys::clock;

pub struct Upkeep {
    hooks: Hooks,
    directory: PathBuf,
    disk_reserve_bytes: u64,
    wal_bytes_max: u64,
    pace: Pace,
    tickets: Tickets,
    checkpoints: CheckpointThread,
    _syncs: Option<SyncThread>,
    merges: Merges,
    /// The checkpoint for which all is being merged, or was.
    merged_for: u64,
    /// It was wished for at the last step.
    merges_all: bool,
    average_expiry: AverageExpiry,
    /// When a group ran last.
    active_at: Instant,
    wal_looked_at: Instant,
    /// Not before then: readers blocked the WAL restart.
    restart_at: Instant,
    /// When the last pass began.
    pass_begun_at: Option<Instant>,
    is_disk_short: bool,
    /// It will be soon.
    is_disk_filling: bool,
    /// On the disk, less what the file has no room for yet of what is in the `-wal`.
    free_bytes: u64,
    /// How long the file may become.
    data_bytes_max: Option<u64>,
    wal_room: WalRoom,
    /// All regions of the journal have their first cells.
    has_first_cells: bool,
    /// A checkpoint would make the file shorter.
    can_shrink: bool,
    swept_at: Instant,
    /// After a sweep that failed.
    sweep_not_before: Instant,
    /// The last sweep found all that it may take at once: there is more.
    has_more_to_sweep: bool,
    /// When it was last tried whether the disk takes writes again.
    tried_at: Instant,
    report: Report,
}

/// A moment without groups.
const LULL: Duration = Duration::from_millis(5);
/// How often the `-wal` and the disk are looked at, however busy the writer is.
const WAL_EVERY: Duration = Duration::from_millis(2);
/// After so long without a group, the `-wal` is copied though it is far from its budget.
const QUIET: Duration = Duration::from_secs(1);
/// Between two attempts at a checkpoint that somebody waits for.
const ASKED_PASS_EVERY: Duration = Duration::from_millis(20);
const SWEEP_EVERY: Duration = Duration::from_millis(50);
const SWEEP_BESIDE_EVERY: Duration = Duration::from_millis(10);
/// After a sweep that failed at nothing in particular.
const SWEEP_AGAIN: Duration = Duration::from_secs(60);
/// The longest that a step works off what waits on a disk that is short of room.
const SETTLE_MAX: Duration = Duration::from_millis(250);
/// Rows of one step: a millisecond or two.
const EXPIRED_ROWS: usize = 200;
const ORPHAN_ROWS: usize = 1000;
/// The same of rows in memory.
const READ_ROWS: usize = 4000;
const VACUUM_PAGES: u32 = 64;
/// Unused pages up to this share of the file are kept for what will be written next, while the disk has room.
const UNUSED_PERCENT: u64 = 25;
/// On a disk that is nearly full: what a deletion writes before it gives anything back, such as the list of what is to be swept, finds them.
const PAGES_WHEN_SHORT: u64 = 16;
/// On a disk that is nearly full the `-wal` is restarted as soon as it has this much.
const WAL_BYTES_WHEN_SHORT: u64 = 64 << 10;
/// What a slice of a merge or a sweep writes into the `-wal`, at most and about.
const UPKEEP_BYTES: u64 = 512 << 10;
/// Between two attempts at the WAL restart, when readers block it.
const RESTART_EVERY: Duration = Duration::from_millis(50);
/// Attempts at the WAL restart of at most 10 ms each, where a group found the disk full.
const RESTARTS_WHEN_FULL: usize = 20;
/// A pass that takes longer has a disk that is in trouble.
const PASS_MAX: Duration = Duration::from_secs(1);
/// The longest that the writer pauses after a group while readers keep the `-wal` from being restarted.
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// Between two attempts to write while writes fail.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// How long the `-wal` may become on a disk that is short of room. None: as long as it will.
#[derive(Clone, Copy, Debug, Default)]
struct WalRoom {
    bytes_max: Option<u64>,
}

impl WalRoom {
    /// Whether there is some for another transaction of upkeep. `can_restart`: readers do not keep the `-wal` from beginning anew.
    fn is_left(self, base: &Keyspace, can_restart: bool) -> Result<bool> {
        let Some(bytes_max) = self.bytes_max else { return Ok(true) };
        let progress = base.wal_progress()?;
        let begins_anew = can_restart && progress.remaining_bytes() == 0;
        Ok(begins_anew || progress.log_bytes() + UPKEEP_BYTES <= bytes_max)
    }
}

impl Upkeep {
    /// Of the base of these options, which the caller has open for writing and has taken the tickets of.
    ///
    /// # Errors
    /// A thread can't be started, or a file can't be opened.
    pub fn start(options: &Options, tickets: Tickets, now: Instant, hooks: Hooks) -> Result<Upkeep> {
        let syncs = match options.durability {
            Durability::EverySec => Some(SyncThread::start(options, &hooks)?),
            Durability::Always | Durability::Os => None,
        };
        Ok(Upkeep {
            directory: options.directory.clone(),
            disk_reserve_bytes: 2 * options.wal_bytes_max,
            wal_bytes_max: options.wal_bytes_max,
            pace: Pace::new(options.wal_bytes_max),
            tickets,
            checkpoints: CheckpointThread::start(options, &hooks)?,
            _syncs: syncs,
            merges: Merges::start(now, options.merge_age_max),
            merged_for: 0,
            merges_all: false,
            average_expiry: AverageExpiry::start(now),
            active_at: now,
            wal_looked_at: now,
            restart_at: now,
            pass_begun_at: None,
            is_disk_short: false,
            is_disk_filling: false,
            free_bytes: 0,
            data_bytes_max: None,
            wal_room: WalRoom::default(),
            has_first_cells: false,
            can_shrink: false,
            swept_at: now,
            sweep_not_before: now,
            has_more_to_sweep: true,
            tried_at: now,
            report: Report::default(),
            hooks,
        })
    }

    /// What is due now, between two transactions. Returns when to come again if no group comes before. What it did before an error
    /// is in the report as well.
    ///
    /// # Errors
    /// Those of a commit or a checkpoint.
    pub fn step(&mut self, base: &mut Keyspace, now: Instant, wishes: &Wishes) -> Result<Duration> {
        if !wishes.is_idle {
            self.active_at = now;
        }
        self.hear(wishes);
        let is_time = now.duration_since(self.wal_looked_at) >= WAL_EVERY;
        if is_time {
            self.wal_looked_at = now;
            self.look_at_disk(base)?;
            self.fit_to_disk(base)?;
        }
        // Beside a pass after each group: it may be the last that the pass bears.
        if is_time || self.checkpoints.is_running() {
            self.look_at_wal(base, now, wishes)?;
        }
        let mut next = self.merge(base, now, wishes)?;
        if self.is_disk_short {
            next = self.settle(base, next, now, wishes)?;
        }
        let has_room = self.has_wal_room(base, now)?;
        if has_room && self.is_sweep_due(now, wishes.is_idle) {
            self.swept_at = now;
            let begun = clock::monotonic();
            self.has_more_to_sweep = match self.sweep(base, now, wishes) {
                Err(error) if error.is_of_the_call() => self.sweep_failed(base, &error, now)?,
                swept => swept?,
            };
            self.report.events.push(Event::Swept { duration: clock::monotonic().duration_since(begun) });
        }
        Ok(match next {
            // Whatever there is to do waits for a checkpoint, and that perhaps for readers.
            _ if !has_room => LULL,
            _ if self.has_more_to_sweep => Duration::ZERO,
            Next::Now => Duration::ZERO,
            Next::InALull => LULL,
            Next::Nothing if self.is_asked_for(wishes) => WAL_EVERY,
            Next::Nothing => SWEEP_EVERY,
        })
    }

    /// Before anything is refused for what only waits to be merged, and while deletions have room to give back: that, for a while.
    fn settle(&mut self, base: &mut Keyspace, mut next: Next, now: Instant, wishes: &Wishes) -> Result<Next> {
        let has_unmerged = |base: &Keyspace| base.backlog().is_some_and(|backlog| backlog.rows > 0);
        let until = clock::monotonic() + SETTLE_MAX;
        while self.is_disk_short && next != Next::InALull && clock::monotonic() < until {
            if !has_unmerged(base) && !self.has_more_to_sweep {
                break;
            }
            self.look_at_wal(base, now, wishes)?;
            if !self.has_wal_room(base, now)? {
                return Ok(Next::InALull);
            }
            next = self.merge(base, now, wishes)?;
            self.has_more_to_sweep = match self.sweep(base, now, wishes) {
                Err(error) if error.is_of_the_call() => self.sweep_failed(base, &error, now)?,
                swept => swept?,
            };
            self.look_at_disk(base)?;
            self.fit_to_disk(base)?;
        }
        Ok(next)
    }

    /// Who wants everything in the tables waits for what is committed by now.
    fn hear(&mut self, wishes: &Wishes) {
        let is_asked = wishes.checkpoint.is_some_and(|asked| asked > self.merged_for);
        let was_wished = std::mem::replace(&mut self.merges_all, wishes.merges_all);
        if is_asked || wishes.merges_all && !was_wished {
            self.merged_for = wishes.checkpoint.unwrap_or(0).max(self.merged_for);
            self.merges.want_all();
        }
    }

    fn merge(&mut self, base: &mut Keyspace, now: Instant, wishes: &Wishes) -> Result<Next> {
        let Self { checkpoints, pace, active_at, report, merges, wal_room, restart_at, .. } = self;
        let can_restart = now >= *restart_at;
        let may_append = |base: &Keyspace, longest| {
            Ok(wal_room.is_left(base, can_restart)? && checkpoints.may_append(pace, base, longest)?)
        };
        let generations = report.merged.generations;
        let next = merges.step(base, now, wishes.now_ms, *active_at, &may_append, &mut report.merged)?;
        report.unmerged = merges.report(base, now, &mut report.merged);
        if report.merged.generations > generations {
            report.sizes = sizes_between(base).or(report.sizes);
        }
        Ok(next)
    }

    /// Whether very much more may be written between groups: not so that any group is throttled for it.
    ///
    /// # Errors
    /// The `-wal` can't be looked at.
    pub fn may_append_much(&self, base: &Keyspace) -> Result<bool> {
        Ok(!self.checkpoints.is_running() && self.pace.has_room_for_much(&base.wal_progress()?))
    }

    /// What was found and done since the last report.
    pub fn report(&mut self) -> Report {
        std::mem::take(&mut self.report)
    }

    /// At the start, and then as often as at the `-wal`: a busy writer fills a reserve of a few megabytes in some ten milliseconds.
    ///
    /// # Errors
    /// The size of the data file can't be read.
    pub fn look_at_disk(&mut self, base: &Keyspace) -> Result<()> {
        match file_system::available_bytes(&self.directory) {
            Ok(free_bytes) => {
                // What is committed and not yet in the file, or not even in the tables, will make that longer.
                let growth_bytes = base.growth_bytes()?;
                self.free_bytes = free_bytes.saturating_sub(u64::try_from(growth_bytes).unwrap_or(0));
                let unmerged_bytes = base.unmerged_growth_bytes()?;
                let room = self.free_bytes.saturating_sub(unmerged_bytes);
                self.is_disk_short = room < self.disk_reserve_bytes;
                self.is_disk_filling = room < self.disk_reserve_bytes * 2 + unmerged_bytes;
                self.can_shrink = growth_bytes < 0;
                self.report.disk = Some(Disk { free_bytes, is_short: self.is_disk_short });
            }
            Err(error) => tracing::warn!(%error, "the free space of the disk can't be read"),
        }
        Ok(())
    }

    fn has_wal_room(&self, base: &Keyspace, now: Instant) -> Result<bool> {
        self.wal_room.is_left(base, now >= self.restart_at)
    }

    /// On a disk that is short of room the file grows no more than it has room for beside the `-wal`, and this no more than is left for it. The
    /// journal is small before, so that what waits in it is no reason to refuse anything.
    fn fit_to_disk(&mut self, base: &mut Keyspace) -> Result<()> {
        self.merges.hurry(self.is_disk_filling);
        base.keep_few_cells(self.is_disk_filling);
        self.wal_room = WalRoom::default();
        let bytes_max = match self.is_disk_short {
            true => {
                let for_wal = (self.disk_reserve_bytes / 4).min(self.free_bytes / 2);
                let wal_bytes_max = base.wal_file_bytes()? + for_wal;
                self.wal_room = WalRoom { bytes_max: Some(wal_bytes_max) };
                // A transaction that finds less in the -wal takes it from the file.
                let for_data = if wal_bytes_max < UPKEEP_BYTES { 0 } else { self.free_bytes - for_wal };
                Some(base.data_bytes()? + for_data)
            }
            false => None,
        };
        if bytes_max != self.data_bytes_max {
            base.limit_data_bytes(bytes_max)?;
            self.data_bytes_max = bytes_max;
        }
        Ok(())
    }

    /// Once, while there is still room: deletions find their place in the journal then, wherever the next generation lies.
    fn make_first_cells(&mut self, base: &mut Keyspace, now_ms: i64) -> Result<()> {
        if self.has_first_cells || !self.is_disk_filling || base.backlog().is_none() {
            return Ok(());
        }
        base.begin_upkeep(now_ms)?;
        match base.make_first_cells().and_then(|()| base.commit()) {
            Err(StorageError::Full) => return base.rollback(),
            made => made?,
        }
        self.has_first_cells = true;
        Ok(())
    }

    /// How many bytes of jobs the next group may have.
    pub fn group_bytes_max(&self, base: &Keyspace) -> usize {
        self.checkpoints.group_bytes_max().min(self.merges.group_bytes_max(base))
    }

    /// COMMIT of a group, while a pass keeps its hands off the disk. How many keys there are then is in the report.
    ///
    /// # Errors
    /// Those of `Keyspace::commit`.
    pub fn commit(&mut self, base: &mut Keyspace, tickets: GroupTickets) -> Result<()> {
        self.tickets.record(base, &tickets)?;
        let sizes = sizes_within(base)?;
        self.checkpoints.during_commit(|| base.commit())?;
        self.tickets.committed(tickets);
        self.report.sizes = sizes.or_else(|| sizes_between(base)).or(self.report.sizes);
        Ok(())
    }

    pub fn tickets(&self) -> &Tickets {
        &self.tickets
    }

    pub fn tickets_mut(&mut self) -> &mut Tickets {
        &mut self.tickets
    }

    /// Returns when no pass is running, or after a second.
    pub fn await_pass(&mut self, now: Instant) {
        self.checkpoints.wait(PASS_MAX, now, &mut self.report.events);
    }

    /// On a full disk the `-wal` can be written only where it has been before. False when readers or a pass were in the way of its
    /// restart.
    pub fn restart_full_wal(&mut self, base: &mut Keyspace, now: Instant) -> bool {
        // Beside a running pass the WAL restart gives up at once.
        self.await_pass(now);
        (0..RESTARTS_WHEN_FULL).any(|_| match base.restart_wal() {
            Ok(is_done) => is_done,
            Err(error) => {
                (self.hooks.failed)(&error);
                false
            }
        })
    }

    /// While writes fail nobody may send any more, so whether the disk takes them again is tried here. `None`: it was tried a moment
    /// ago. After an error the caller rolls back.
    pub fn try_to_write(&mut self, base: &mut Keyspace, now: Instant, now_ms: i64) -> Option<Result<()>> {
        if now.duration_since(self.tried_at) < TRY_EVERY {
            return None;
        }
        self.tried_at = now;
        Some(self.tickets.write_nothing(base, now_ms))
    }

    /// The checkpoint thread ends.
    pub fn stop(&mut self) {
        self.checkpoints.end();
    }

    /// The orderly end: everything is in the tables and in the file, the `-wal` is empty. What is not merged by `until` stays in the
    /// journal, and the next start takes it from there.
    ///
    /// # Errors
    /// Those of a merge and of a checkpoint; `Busy` when a reader did not end.
    pub fn finish(&mut self, base: &mut Keyspace, options: &Options, now_ms: i64, until: Instant) -> Result<()> {
        self.stop();
        if !base.merge_until(now_ms, until)? {
            tracing::warn!("not all that is committed could be merged in time; the journal has it");
        }
        Checkpointer::open(options)?.truncate().map(|_| ())
    }

    fn is_asked_for(&self, wishes: &Wishes) -> bool {
        wishes.checkpoint.is_some_and(|asked| asked > self.checkpoints.done())
    }

    /// Passes beside the writer, each over what was added during the one before and so shorter than that, then the WAL restart.
    fn look_at_wal(&mut self, base: &mut Keyspace, now: Instant, wishes: &Wishes) -> Result<()> {
        self.checkpoints.collect(now, &mut self.report.events);
        let mut progress = base.wal_progress()?;
        // Between two passes no group comes, or the second would have that much more to do.
        loop {
            if self.checkpoints.is_running() {
                progress = self.checkpoints.throttle(&self.pace, progress, base, now, &mut self.report.events)?;
            }
            if !self.begin_pass(base, &progress, now, wishes) {
                break;
            }
        }
        if !self.checkpoints.is_running() && progress.log_bytes() > self.wal_bytes_max {
            // Readers hold the WAL restart back: the writer is slowed in proportion to what it has piled up.
            clock::pause(self.pace.pause(progress.log_bytes(), WAL_EVERY).min(PAUSE_MAX));
        }
        // With no room left the -wal can be written only where it has been before, and the file shrinks only by this.
        let is_due = progress.log_bytes() >= WAL_BYTES_WHEN_SHORT || self.can_shrink;
        let wants_restart = self.is_disk_short && is_due || self.pace.wants_restart(&progress);
        let mut is_held = self.pace.is_held(&progress);
        if !self.checkpoints.is_running() && wants_restart && now >= self.restart_at {
            is_held &= !self.restart(base, now)?;
        }
        self.report.is_wal_held = Some(is_held);
        self.report.wal_bytes = Some(progress.log_bytes());
        Ok(())
    }

    /// False when there is no need, or one is running, or it must not be yet.
    fn begin_pass(&mut self, base: &Keyspace, progress: &Progress, now: Instant, wishes: &Wishes) -> bool {
        let is_asked = self.is_asked_for(wishes)
            && self.merges.has_all(base)
            && self.pass_begun_at.is_none_or(|begun| now.duration_since(begun) >= ASKED_PASS_EVERY);
        // Every read looks through what is not copied yet; and on a disk that is short of room the -wal is kept small.
        let is_early = now.duration_since(self.active_at) >= QUIET || self.is_disk_short;
        let is_wanted = is_asked || self.pace.wants_pass(progress) || is_early && self.pace.has_much_left(progress);
        if !is_wanted || !self.checkpoints.can_begin(now) {
            return false;
        }
        self.pass_begun_at = Some(now);
        let asked = wishes.checkpoint.filter(|_| self.merges.has_all(base));
        let is_begun = self.checkpoints.begin(asked, progress);
        if is_begun {
            self.report.events.push(Event::PassBegun);
        }
        is_begun
    }

    /// True when it is done.
    fn restart(&mut self, base: &mut Keyspace, now: Instant) -> Result<bool> {
        let begun = clock::monotonic();
        let is_done = match base.restart_wal() {
            // The file can't grow: sweeping and deleting go on in what room the -wal has.
            Err(StorageError::Full) => false,
            tried => tried?,
        };
        if !is_done {
            self.restart_at = now + RESTART_EVERY;
        }
        let duration = clock::monotonic().duration_since(begun);
        tracing::debug!(is_done, duration_us = duration.as_micros() as u64, "the WAL restart of a checkpoint");
        self.report.events.push(Event::WalRestart { duration, is_done });
        Ok(is_done)
    }

    /// A step is a commit of its own: beside a busy writer it takes its turn, and an idle one goes on without a break.
    fn is_sweep_due(&self, now: Instant, is_idle: bool) -> bool {
        let since = now.duration_since(self.swept_at);
        let is_due = match (self.has_more_to_sweep, is_idle) {
            (true, true) => true,
            (true, false) => since >= SWEEP_BESIDE_EVERY,
            (false, _) => since >= SWEEP_EVERY,
        };
        is_due && now >= self.sweep_not_before
    }

    /// A transaction of cleaning, and one that ends keys which no table has yet. True when there is more.
    fn sweep(&mut self, base: &mut Keyspace, now: Instant, wishes: &Wishes) -> Result<bool> {
        self.make_first_cells(base, wishes.now_ms)?;
        let has_more_to_end = wishes.removes_expired && self.end_unmerged(base, wishes.now_ms)?;
        base.begin_upkeep(wishes.now_ms)?;
        let expired = if wishes.removes_expired { base.sweep_expired(EXPIRED_ROWS)? } else { 0 };
        let orphans = base.sweep_orphans(ORPHAN_ROWS)?;
        let kept = if self.is_disk_short { Kept::Pages(PAGES_WHEN_SHORT) } else { Kept::Percent(UNUSED_PERCENT) };
        let pages = if expired + orphans == 0 { base.vacuum(VACUUM_PAGES, kept)? } else { 0 };
        if let Some(ttls_ms) = self.average_expiry.look(base, now) {
            self.report.average_ttls_ms = Some(ttls_ms);
        }
        self.report.data_bytes = Some(base.data_bytes()?);
        if expired + orphans == 0 && pages == 0 {
            base.rollback()?;
            return Ok(has_more_to_end);
        }
        let sizes = sizes_within(base)?;
        pass(Point::BiteSwept);
        base.commit()?;
        self.report.sizes = sizes.or_else(|| sizes_between(base)).or(self.report.sizes);
        self.report.expired_keys += expired as u64;
        Ok(expired == EXPIRED_ROWS || orphans == ORPHAN_ROWS || pages > 0 || has_more_to_end)
    }

    /// True when there is more.
    fn end_unmerged(&mut self, base: &mut Keyspace, now_ms: i64) -> Result<bool> {
        let has_more_to_read = base.read_unmerged_deadlines(READ_ROWS, now_ms);
        if !base.has_unmerged_to_end(now_ms) {
            return Ok(has_more_to_read);
        }
        base.begin_upkeep(now_ms)?;
        let ended = base.end_unmerged(EXPIRED_ROWS)?;
        base.commit()?;
        self.report.expired_keys += ended as u64;
        Ok(has_more_to_read || base.has_unmerged_to_end(now_ms))
    }

    /// A bad row is nobody's affair but its own: no write fails because of it, and what else is to be swept is. True when there is more.
    fn sweep_failed(&mut self, base: &mut Keyspace, error: &StorageError, now: Instant) -> Result<bool> {
        base.rollback()?;
        let goes_on = *error != StorageError::OutOfMemory && base.sweep_past_failure();
        if goes_on {
            tracing::error!(%error, "a row can't be swept, and is left alone until the next start");
        } else {
            tracing::error!(%error, "nothing can be swept for a while");
            self.sweep_not_before = now + SWEEP_AGAIN;
        }
        Ok(goes_on)
    }
}

/// How many keys each database has, within a write transaction. None where that would need rows of the tables: one of them that is damaged
/// lets the whole transaction not be committed.
fn sizes_within(base: &mut Keyspace) -> Result<Option<[Size; DATABASES]>> {
    if base.counts_need_rows() { Ok(None) } else { sizes(base).map(Some) }
}

/// The same between transactions. None: damage is in the way, say, and the figures stay as they were.
pub(super) fn sizes_between(base: &mut Keyspace) -> Option<[Size; DATABASES]> {
    base.begin_read(base.now_ms()).ok()?;
    let sizes = sizes(base);
    base.end_read().or_else(|_| base.rollback()).ok()?;
    sizes.ok()
}

fn sizes(base: &mut Keyspace) -> Result<[Size; DATABASES]> {
    let mut sizes = [Size::default(); DATABASES];
    for (number, size) in sizes.iter_mut().enumerate() {
        base.select(number as u8);
        let (keys, expires) = base.rough_counts()?;
        *size = Size { keys, expires };
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Expiry;
    use crate::storage::fixture::Fixture;

    #[test]
    fn what_a_transaction_of_upkeep_may_write_has_room_in_the_wal_or_the_wal_begins_anew() {
        let mut fixture = Fixture::new();
        while !fixture.writer.restart_wal().unwrap() {}
        for key in 0..50_u64 {
            fixture.write(|keyspace| keyspace.put_string(&key.to_le_bytes(), &[1; 900], Expiry::Clear).unwrap());
        }
        let base = &mut fixture.writer;
        let log_bytes = base.wal_progress().unwrap().log_bytes();
        assert!(log_bytes > 50 * 4096 && log_bytes <= base.wal_file_bytes().unwrap());
        let room = |bytes_max| WalRoom { bytes_max: Some(bytes_max) };
        let (enough, too_little) = (room(log_bytes + UPKEEP_BYTES), room(log_bytes + UPKEEP_BYTES - 1));
        assert!(enough.is_left(base, true).unwrap() && !too_little.is_left(base, true).unwrap());
        assert!(WalRoom::default().is_left(base, true).unwrap(), "a disk that has room");
        assert!(base.restart_wal().unwrap());
        assert!(too_little.is_left(base, true).unwrap(), "the next commit begins it anew");
        assert!(!too_little.is_left(base, false).unwrap(), "readers keep it from that");
    }
}
