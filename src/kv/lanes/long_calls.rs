//! Calls that change so much that others would wait for them, of all workers: they are parked, and prepared one after the other on a thread
//! beside the writer (`preparing`). What that thread writes ahead the writer does for it, a slice between groups; what the call has changed
//! becomes part of a group, if its keys are as they were before the thread's first look. If not, it is prepared anew, and the last time it
//! just runs.
//!
//! In a transaction or a script there is nothing to prepare by itself: such a call runs with its group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::kv::errors;
use crate::kv::jobs::job::{Job, Kind};
use crate::kv::lanes::preparing::{Attempt, Bench, Outcome, PreparedCall, Request};
use crate::kv::shared::Shared;
use crate::kv::shared::hand_offs::HandOff;
use crate::kv::shared::runtime::Pausing;
use crate::server::{Task, TaskId};
use crate::storage::{Keyspace, Options, StorageError};
use crate::sys::clock;

/// How often a call is prepared for nothing before it runs in its group.
const ATTEMPTS_MAX: u32 = 3;
/// When so many writers have died while the same call was being prepared, it is refused.
const DEATHS_MAX: u64 = 3;
/// For how long at a time the thread's orders are served: where nobody asks for anything else, and where somebody does.
const SLICE_IDLE: Duration = Duration::from_millis(5);
const SLICE_BESIDE: Duration = Duration::from_millis(2);
/// How soon the thread is looked at again, and one that has done its part while writes are paused.
const LOOK_EVERY: Duration = Duration::from_millis(1);
const PAUSED_LOOK_EVERY: Duration = Duration::from_millis(20);
/// For so long the thread's orders wait for a `-wal` that begins anew. Who reads it from elsewhere may hold it for ever.
const WAL_WAIT: Duration = Duration::from_secs(2);

pub(super) struct LongCalls {
    shared: Arc<Shared>,
    options: Options,
    /// By the number of the job: in the order in which they came.
    waiting: BTreeMap<u64, LongCall>,
    /// Of the group at hand: the jobs that it has parked, and the call that it has answered.
    new: BTreeSet<u64>,
    ended: Option<Ready>,
    /// The call that is being prepared, and what came of it once that is known.
    at_hand: Option<LongCall>,
    outcome: Option<Outcome>,
    bench: Option<Bench>,
    /// The present group, or an attempt at it before, has found that what was prepared holds: its own marks are no change.
    holds: bool,
    /// Since when orders wait for the `-wal`.
    waits_since: Option<Instant>,
    /// Writers have died of it.
    refused: Option<u64>,
}

pub(super) struct LongCall {
    pub(super) id: TaskId,
    /// Its first call is the one.
    pub(super) job: Job,
    attempts: u32,
    /// Its worker is gone, and nobody gets the answer.
    is_forgotten: bool,
}

/// A call that a group may answer.
pub(super) struct Ready {
    pub(super) call: LongCall,
    outcome: Outcome,
}

/// What the group is to do with it.
pub(super) enum Decision<'a> {
    Adopt(&'a PreparedCall),
    Run,
    Again,
    Refuse(&'static str),
}

impl LongCall {
    fn of(task: &Task<Job>) -> LongCall {
        let Job { version, calls, wants_ends, rights, .. } = &task.job;
        // Its bytes lie in the frame that brought it: a copy keeps no others.
        let job = Job { wants_ends: *wants_ends, rights: *rights, ..Job::new(Kind::Run, *version, calls.after(0)) };
        LongCall { id: task.id, job, attempts: 0, is_forgotten: false }
    }
}

impl LongCalls {
    pub(super) fn new(shared: &Arc<Shared>, options: &Options) -> LongCalls {
        let hand_offs = &shared.hand_offs;
        let was_at_hand = hand_offs.read(HandOff::LongCall);
        let deaths = if was_at_hand == 0 { 0 } else { hand_offs.read(HandOff::LongCallDeaths) + 1 };
        hand_offs.set(HandOff::LongCallDeaths, deaths);
        LongCalls {
            shared: Arc::clone(shared),
            options: options.clone(),
            waiting: BTreeMap::new(),
            new: BTreeSet::new(),
            ended: None,
            at_hand: None,
            outcome: None,
            bench: None,
            holds: false,
            waits_since: None,
            refused: (deaths >= DEATHS_MAX).then_some(was_at_hand),
        }
    }

    /// A call that an executor before this one has parked.
    pub(super) fn register(&mut self, task: &Task<Job>) {
        self.waiting.insert(task.id.number, LongCall::of(task));
    }

    /// The calls of this incarnation are nobody's.
    pub(super) fn forget(&mut self, incarnation: u64) {
        self.waiting.retain(|_, call| call.id.incarnation != incarnation);
        if let Some(call) = self.at_hand.as_mut().filter(|call| call.id.incarnation == incarnation) {
            call.is_forgotten = true;
        }
    }

    pub(super) fn has(&self, number: u64) -> bool {
        let is_at_hand = self.at_hand.as_ref().is_some_and(|call| call.id.number == number);
        is_at_hand || self.waiting.contains_key(&number)
    }

    // ---- within a group

    pub(super) fn park(&mut self, task: &Task<Job>) {
        self.new.insert(task.id.number);
        self.waiting.insert(task.id.number, LongCall::of(task));
    }

    /// True for a job that the group has parked, and none before it.
    pub(super) fn is_new(&self, number: u64) -> bool {
        self.new.contains(&number)
    }

    /// True when a group has something to do for one of them.
    pub(super) fn is_ready(&self) -> bool {
        let is_paused = || self.shared.runtime.pausing(|| self.shared.clock.now_ms()).0 != Pausing::Nothing;
        let is_wanted = self.at_hand.as_ref().is_some_and(|call| !call.is_forgotten);
        self.outcome.is_some() && is_wanted && !is_paused()
    }

    /// `answered`, `again` or `put_back` follows.
    pub(super) fn take_ready(&mut self) -> Option<Ready> {
        if self.is_ready() { self.take_at_hand() } else { None }
    }

    fn take_at_hand(&mut self) -> Option<Ready> {
        let outcome = self.outcome.take()?;
        let call = self.at_hand.take()?;
        Some(Ready { call, outcome })
    }

    /// Before anything of the group is run. Asked again after an attempt at it, it stays what it was.
    pub(super) fn decide<'a>(&mut self, ready: &'a Ready, now_ms: i64) -> Decision<'a> {
        match &ready.outcome.done {
            _ if self.refused == Some(ready.call.id.number) => Decision::Refuse(errors::INTERNAL),
            Attempt::Prepared(prepared) if self.holds || prepared.holds(&self.shared, now_ms) => {
                self.holds = true;
                Decision::Adopt(prepared)
            }
            Attempt::Prepared(_) | Attempt::Overtaken if ready.call.attempts < ATTEMPTS_MAX => Decision::Again,
            Attempt::Full => Decision::Refuse(errors::DISK_FULL),
            Attempt::Prepared(_) | Attempt::Overtaken | Attempt::Failed => Decision::Run,
        }
    }

    /// The group is over, whatever became of it.
    pub(super) fn group_ended(&mut self) {
        self.holds = false;
    }

    pub(super) fn answered(&mut self, ready: Ready) {
        self.ended = Some(ready);
    }

    pub(super) fn put_back(&mut self, ready: Ready) {
        (self.at_hand, self.outcome) = (Some(ready.call), Some(ready.outcome));
    }

    pub(super) fn again(&mut self, keyspace: &mut Keyspace, ready: Ready) {
        keyspace.end_building(&ready.outcome.ids);
        self.waiting.insert(ready.call.id.number, ready.call);
    }

    pub(super) fn committed(&mut self, keyspace: &mut Keyspace) {
        self.new.clear();
        if let Some(ready) = self.ended.take() {
            self.is_over(keyspace, &ready);
        }
    }

    pub(super) fn rolled_back(&mut self) {
        for number in std::mem::take(&mut self.new) {
            self.waiting.remove(&number);
        }
        if let Some(ready) = self.ended.take() {
            self.put_back(ready);
        }
    }

    // ---- between groups

    /// Nobody is going to answer it.
    pub(super) fn is_over(&mut self, keyspace: &mut Keyspace, ready: &Ready) {
        keyspace.end_building(&ready.outcome.ids);
        self.shared.hand_offs.set(HandOff::LongCall, 0);
        self.shared.hand_offs.set(HandOff::LongCallDeaths, 0);
    }

    /// Looks what the thread has done, and gives it the next call. `None`: it has nothing to do.
    pub(super) fn look(&mut self, keyspace: &mut Keyspace, request: impl FnOnce(&Job) -> Request) -> Option<Duration> {
        if self.at_hand.is_some() && self.outcome.is_none() {
            self.outcome = self.bench.as_ref()?.outcome();
        }
        let is_forgotten = self.at_hand.as_ref().is_some_and(|call| call.is_forgotten);
        if is_forgotten && let Some(ready) = self.take_at_hand() {
            self.is_over(keyspace, &ready);
        }
        if self.at_hand.is_none() {
            let (number, call) = self.waiting.pop_first()?;
            self.begin(number, call, request);
        }
        Some(if self.outcome.is_some() { PAUSED_LOOK_EVERY } else { LOOK_EVERY })
    }

    /// All of them, to be refused: nothing is prepared any more.
    pub(super) fn give_up(&mut self) -> Vec<LongCall> {
        self.stop();
        self.outcome = None;
        self.at_hand.take().into_iter().chain(std::mem::take(&mut self.waiting).into_values()).collect()
    }

    fn begin(&mut self, number: u64, mut call: LongCall, request: impl FnOnce(&Job) -> Request) {
        call.attempts += 1;
        if self.shared.hand_offs.read(HandOff::LongCall) != number {
            self.shared.hand_offs.set(HandOff::LongCallDeaths, 0);
            self.shared.hand_offs.set(HandOff::LongCall, number);
        }
        let is_refused = self.refused == Some(number);
        if is_refused {
            tracing::error!(deaths = DEATHS_MAX, "a call is refused: a writer died each time while it was prepared");
        } else if self.bench.is_none() {
            self.bench = Bench::start(&self.shared, &self.options)
                .inspect_err(|error| tracing::warn!(%error, "calls that take long can't be prepared"))
                .ok();
        }
        let is_asked = !is_refused && self.bench.as_ref().is_some_and(|bench| bench.ask(request(&call.job)));
        if !is_asked {
            self.bench = None;
            self.outcome = Some(Outcome { done: Attempt::Failed, ids: Vec::new() });
        }
        self.at_hand = Some(call);
    }

    /// Does for the thread what it waits for, a slice of it. `may_append`: without holding up groups. False: there is nothing to do now.
    ///
    /// # Errors
    /// Those of a commit that are everybody's.
    pub(super) fn serve(
        &mut self,
        keyspace: &mut Keyspace,
        may_append: bool,
        is_idle: bool,
    ) -> Result<bool, StorageError> {
        let Some(orders) = self.bench.as_mut().and_then(|bench| bench.orders.as_mut()) else { return Ok(false) };
        if !orders.has_some() {
            return Ok(false);
        }
        if self.shared.hand_offs.is_set(HandOff::DiskNearlyFull) {
            orders.refuse(&StorageError::Full);
            return Ok(true);
        }
        let now = clock::monotonic();
        let waits_since = *self.waits_since.get_or_insert(now);
        if !may_append && now.duration_since(waits_since) < WAL_WAIT {
            return Ok(false);
        }
        if may_append {
            self.waits_since = None;
        }
        let time = if is_idle { SLICE_IDLE } else { SLICE_BESIDE };
        orders.serve(keyspace, self.shared.clock.now_ms(), time)?;
        Ok(true)
    }

    /// The thread ends, whatever it is at.
    pub(super) fn stop(&mut self) {
        self.bench = None;
    }
}
