//! When a generation is frozen, and how much is merged between groups.
//!
//! ```text
//! frozen    when it is full (whoever commits does that), after a second without a group, at half of the age that the tables may have, and
//!           where somebody wants everything in the tables: a checkpoint that is asked for, a backup
//! merged    beside groups in proportion to what they add (`Pace`); without a pause after a moment without groups, or where somebody waits
//! ```
//! On a disk that is soon short of room nothing waits: what deletions give back is known when they are merged, and a small generation needs
//! little of the journal. On a full disk, and where the tables are damaged, a merge waits and is tried again. Meanwhile groups go on as long as the journal has room.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::report::{Merged, Unmerged};
use crate::storage::error::{Result, StorageError};
use crate::storage::merge::{Pace, SLICE};
use crate::storage::{Backlog, Keyspace};
use crate::sys::clock;

pub(super) struct Merges {
    pace: Pace,
    /// The newest generation at the last step, and how full it was.
    seen: (u64, f64),
    stepped_at: Instant,
    /// When the first group of each generation came.
    begun_at: BTreeMap<u64, Instant>,
    /// After a slice that failed.
    not_before: Instant,
    /// Slices in a row that failed.
    failures: u32,
    /// The disk is soon short of room.
    is_urgent: bool,
    /// Up to this generation somebody waits for all of it.
    wanted: u64,
    /// He waits for what the newest one has as well, and it is not frozen yet.
    wants_newest: bool,
    /// How long a pass was waited for since the last slice.
    waited: Duration,
    /// How old the tables may be.
    age_max: Duration,
    /// As they were reported.
    pauses: u64,
    left_out: u64,
}

/// Where the disk is filling, a generation has at least so long: four of them outlive the time for which a reader keeps them.
const URGENT_AGE: Duration = Duration::from_millis(250);
/// After so long without a group, what was written is merged.
const QUIET: Duration = Duration::from_secs(1);
/// After so long without a group, what is frozen is merged without pauses. Between the requests of one client less passes.
const LULL: Duration = Duration::from_millis(5);
/// The longest that a step merges while somebody waits for the end.
const STEP_WANTED: Duration = Duration::from_millis(15);
/// After a slice that found the disk full.
const AGAIN_WHEN_FULL: Duration = Duration::from_millis(100);
/// After slices that failed for what no row is to blame for.
const AGAIN: Duration = Duration::from_secs(60);
/// One to find that something is wrong, one for each row that a slice is then repeated without.
const FAILURES_MAX: u32 = 4;

/// Whether a pass has written back enough for another slice; it may be waited for so long.
type MayAppend<'a> = &'a dyn Fn(&Keyspace, Duration) -> Result<bool>;

/// What remains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Go on at once.
    Now,
    /// Something is frozen: look again after a moment without groups.
    InALull,
    Nothing,
}

impl Merges {
    pub(super) fn start(now: Instant, age_max: Duration) -> Merges {
        Merges {
            pace: Pace::default(),
            seen: (0, 0.0),
            stepped_at: now,
            begun_at: BTreeMap::new(),
            not_before: now,
            failures: 0,
            is_urgent: false,
            wanted: 0,
            wants_newest: false,
            waited: Duration::ZERO,
            age_max,
            pauses: 0,
            left_out: 0,
        }
    }

    /// What has been committed up to now is merged as soon as it goes.
    pub(super) fn want_all(&mut self) {
        self.wants_newest = true;
    }

    /// Whether everything is merged as soon as it goes.
    pub(super) fn hurry(&mut self, is_urgent: bool) {
        self.is_urgent = is_urgent;
    }

    /// Whether all that somebody waited for is in the tables.
    pub(super) fn has_all(&self, base: &Keyspace) -> bool {
        base.backlog().is_none_or(|backlog| !self.wants_newest && backlog.merged >= self.wanted)
    }

    /// How many bytes the next group should have.
    pub(super) fn group_bytes_max(&self, base: &Keyspace) -> usize {
        base.backlog().map_or(usize::MAX, |backlog| self.pace.group_bytes_max(&backlog.room))
    }

    /// What is due between two groups, the last of which was at `active_at`.
    ///
    /// # Errors
    /// Those of a commit that are everybody's, but for a full disk.
    pub(super) fn step(
        &mut self,
        base: &mut Keyspace,
        now: Instant,
        now_ms: i64,
        active_at: Instant,
        may_append: MayAppend<'_>,
        merged: &mut Merged,
    ) -> Result<Next> {
        let Some(mut backlog) = base.backlog() else { return Ok(Next::Nothing) };
        self.observe(&backlog, now);
        let since_group = now.duration_since(active_at);
        let age = self.begun_at.get(&backlog.newest).map_or(Duration::ZERO, |begun| now.duration_since(*begun));
        // Else the place of a small generation would be missing to a full one.
        // And who reads a generation keeps its place for a while.
        let is_urgent = self.is_urgent && backlog.merged + 1 >= backlog.newest && age >= URGENT_AGE;
        let is_due = since_group >= QUIET || age >= self.age_max / 2 || self.wants_newest || is_urgent;
        if is_due && backlog.fullness > 0.0 && base.freeze(now_ms) {
            backlog = base.backlog().unwrap_or(backlog);
        }
        if self.wants_newest && backlog.fullness == 0.0 {
            (self.wanted, self.wants_newest) = (backlog.newest - 1, false);
        }
        let passed = now.duration_since(std::mem::replace(&mut self.stepped_at, now));
        let share = self.share_added(&backlog);
        self.pace.added(share, &backlog.room, passed, self.age_max / 4);
        if backlog.room.rows_left == 0 && backlog.merged + 1 >= backlog.newest {
            return Ok(Next::Nothing);
        }
        if now < self.not_before {
            return Ok(Next::InALull);
        }
        let is_wanted = self.wants_newest || backlog.merged < self.wanted || self.is_urgent;
        let is_lull = since_group >= LULL;
        let time = match self.pace.due(&backlog.room) {
            _ if is_wanted => STEP_WANTED,
            due if is_lull => due.max(SLICE),
            due => due,
        };
        let has_more = match self.merge(base, time, may_append, merged) {
            Ok(has_more) => has_more,
            Err(error) => self.failed(base, &error, now)?,
        };
        Ok(match has_more {
            false => Next::Nothing,
            true if now < self.not_before => Next::InALull,
            true if is_lull || is_wanted => Next::Now,
            true => Next::InALull,
        })
    }

    /// Slices for about so long. True when there is more.
    fn merge(
        &mut self,
        base: &mut Keyspace,
        time: Duration,
        may_append: MayAppend<'_>,
        merged: &mut Merged,
    ) -> Result<bool> {
        let begun = clock::monotonic();
        let mut spent = Duration::ZERO;
        while spent < time {
            if !may_append(base, time - spent)? {
                self.waited += clock::monotonic().duration_since(begun).saturating_sub(spent);
                break;
            }
            let Some(mut slice) = base.merge(SLICE)? else { return Ok(false) };
            self.failures = 0;
            merged.slices += 1;
            merged.rows += slice.rows;
            merged.duration += slice.duration;
            merged.generations += u64::from(slice.is_last);
            let before = std::mem::replace(&mut spent, clock::monotonic().duration_since(begun));
            // What the disk is waited for is a part of what a row costs, so that groups become smaller where it is slow.
            slice.duration = slice.duration.max(spent - before) + std::mem::take(&mut self.waited);
            self.pace.sliced(&slice);
        }
        Ok(true)
    }

    /// True: there is more, for later.
    fn failed(&mut self, base: &mut Keyspace, error: &StorageError, now: Instant) -> Result<bool> {
        self.failures += 1;
        match error {
            StorageError::Full => self.not_before = now + AGAIN_WHEN_FULL,
            error if !error.is_of_the_call() => return Err(error.clone()),
            // The row that is to blame is found and put aside.
            _ if self.failures <= FAILURES_MAX => {}
            error => {
                tracing::error!(%error, "what is committed can't be merged into its tables; it stays in the journal");
                self.not_before = now + AGAIN;
            }
        }
        base.rollback()?;
        Ok(true)
    }

    fn observe(&mut self, backlog: &Backlog, now: Instant) {
        if backlog.fullness > 0.0 {
            self.begun_at.entry(backlog.newest).or_insert(now);
        }
        // One that was full within a step.
        (backlog.merged + 1..backlog.newest).for_each(|generation| _ = self.begun_at.entry(generation).or_insert(now));
        self.begun_at.retain(|generation, _| *generation > backlog.merged);
    }

    /// How much of a generation was added since the last step.
    fn share_added(&mut self, backlog: &Backlog) -> f64 {
        let (newest, fullness) = std::mem::replace(&mut self.seen, (backlog.newest, backlog.fullness));
        let more = backlog.newest.saturating_sub(newest) as f64 + backlog.fullness - fullness;
        more.clamp(0.0, 1.0)
    }

    pub(super) fn report(&mut self, base: &Keyspace, now: Instant, merged: &mut Merged) -> Option<Unmerged> {
        let backlog = base.backlog()?;
        let (pauses, left_out) = (base.pauses(), base.left_out());
        merged.pauses += pauses - std::mem::replace(&mut self.pauses, pauses);
        merged.left_out += left_out - std::mem::replace(&mut self.left_out, left_out);
        self.begun_at.retain(|generation, _| *generation > backlog.merged);
        let oldest = self.begun_at.first_key_value().map(|(_, begun)| *begun);
        Some(Unmerged {
            bytes: backlog.bytes,
            rows: backlog.rows,
            generations: backlog.newest - backlog.merged - u64::from(backlog.fullness == 0.0),
            age: oldest.map_or(Duration::ZERO, |begun| now.duration_since(begun)),
        })
    }
}
