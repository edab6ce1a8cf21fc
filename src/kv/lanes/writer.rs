//! The writer: all workers' jobs become groups, a group is one transaction, and no reply leaves before its COMMIT returned.
//!
//! While a group commits, the next gathers in the sockets: group commit, with no timers and no added latency.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::kv::commands::table::Handler;
use crate::kv::errors;
use crate::kv::jobs::job::{Call, Done, DoneOutcome, Job, Kind, Unit, Watched};
use crate::kv::lanes::accounts::Accounts;
use crate::kv::lanes::calls::{Answer, Answers, Calls, Ran};
use crate::kv::lanes::file_watch::SharedFileWatch;
use crate::kv::lanes::lane_executor::refused;
use crate::kv::lanes::left_out::{LeftOut, Place};
use crate::kv::lanes::long_calls::LongCalls;
use crate::kv::lanes::marking::Marking;
use crate::kv::lanes::serving::{self, Ending, Served, ServedCall};
use crate::kv::lanes::telling::Telling;
use crate::kv::lanes::upkeep::{WriterUpkeep, publish_sizes};
use crate::kv::lanes::waiters::Waiters;
use crate::kv::lanes::waiting_variants;
use crate::kv::metrics::statistics::{Counted, Measured};
use crate::kv::shared::Shared;
use crate::kv::shared::broken::{self, Variant};
use crate::kv::shared::faults::{self, Point, reach};
use crate::kv::shared::hand_offs::HandOff;
use crate::kv::shared::latency::Event;
use crate::kv::shared::running_scripts::ScriptLane;
use crate::kv::shared::settings::{
    GROUP_REPLY_BYTES_MAX, GROUP_TIME_MAX, JOB_REPLY_BYTES_MAX, JOB_TIME_MAX, RIDING_BYTES_MAX,
};
use crate::kv::shared::turns;
use crate::kv::shared::versions::Marks;
use crate::server::{Counter, ExecutorContext, Global, LogLimit, Responder, Task, Tickets as ToldTickets};
use crate::storage::file_system::FileSystem;
use crate::storage::upkeep::{self, GroupTickets, Rescue, Tickets};
use crate::storage::{Keyspace, Options, SavePoint, StorageError, failed_sync};
use crate::sys::{clock, process};

pub struct Writer {
    pub(super) keyspace: Keyspace,
    pub(super) calls: Calls,
    marking: Marking,
    pub(super) telling: Telling,
    pub(super) waiters: Waiters,
    pub(super) long_calls: LongCalls,
    accounts: Accounts,
    /// Of the group at hand.
    pub(super) served: Served,
    /// The incarnations of workers that are there.
    pub(super) met: BTreeSet<u64>,
    may_map: bool,
    pub(super) upkeep: WriterUpkeep,
    files: SharedFileWatch,
    /// Once the files are not ours any more.
    rescue: Option<Rescue>,
    /// True when a group ran since the last upkeep.
    has_run: bool,
    /// Of the group at hand: its replies wait until it is committed.
    pub(super) reply_bytes: usize,
    /// True within a script: what its calls do can be undone until its end.
    pub(super) is_scripting: bool,
}

/// What a job of the group came to; nobody sees it before COMMIT.
enum Applied {
    Answers(Answers),
    /// A watched key had changed.
    NotExecuted,
    /// Nothing of it was run: this error.
    Refused(Cow<'static, str>),
    /// It waits, if the group has not served it as well.
    Parked,
}

/// How an attempt at a group ended.
enum Group {
    Committed(Vec<Applied>),
    /// Rolled back, nothing applied.
    Failed(StorageError),
    /// All is to be rolled back and run again.
    Spoiled(Spoiled),
}

/// How an attempt at a job, or at a call, ended.
pub(super) enum Attempt<T> {
    Done(T),
    Spoiled(Spoiled),
}

/// What an attempt at a group met that is not the affair of all of it.
pub(super) enum Spoiled {
    /// This call failed, with this as its answer, and a part of the group is lost with the transaction that it spoiled.
    ByCall(Place, Cow<'static, str>),
    /// A row that can't be written. Whose it is shows when each call's rows are written by themselves.
    ByRow(StorageError),
}

/// What a call of a job came to.
pub(super) enum Called {
    Answered,
    /// It did nothing, and this error is the answer.
    Refused(Cow<'static, str>),
    /// A read of too much: it was not run.
    TooHeavy,
    /// A change that others would wait for: it was not run.
    TakesLong,
    /// It waits.
    Parked,
}

/// Exit code of a writer that does not know whether the disk has what it wrote.
const SYNC_FAILED: i32 = 4;

impl Writer {
    pub fn new(shared: &Arc<Shared>, context: &ExecutorContext) -> Result<Writer, StorageError> {
        let started = Self::start(shared, context);
        if let Err(error) = &started {
            end_if_sync_failed(shared, error);
        }
        started
    }

    fn start(shared: &Arc<Shared>, context: &ExecutorContext) -> Result<Writer, StorageError> {
        if shared.settings.debug_commands {
            faults::listen(&shared.hand_offs);
        }
        let mut options = shared.settings.storage.clone();
        // A predecessor that died of SIGBUS met a page that can't be read: without a map that is an error of the read.
        options.mmap &= context.scoreboard.read(context.slot, Counter::BusErrorsTotal) == 0;
        let options = &options;
        let opened = upkeep::prepare_to_write(options, shared.hand_offs.read(HandOff::MustCheckpoint) != 0)?;
        shared.hand_offs.set(HandOff::MustCheckpoint, 0);
        if let FileSystem::Shared(name) = opened.file_system {
            tracing::warn!(
                file_system = name,
                "the data lies on a shared file system: a named volume is safer and faster"
            );
        }
        if let Some(version) = opened.migrated_from {
            tracing::info!(version, "the data file was brought up to date");
        }
        let marking = Marking::of(Marks::of(shared.versions.clone()));
        let waiters = Waiters::new(&marking);
        let mut keyspace = Keyspace::open_writer_on(options, shared.memory, marking.hook())?;
        // Not before all that the predecessor has committed is published: whoever finds an even version may look into the memory.
        marking.lock().marks.settle();
        let boot = context.scoreboard.global(Global::Boot).load(Ordering::SeqCst);
        let (tickets, sizes) = Tickets::take_over(&mut keyspace, shared.clock.now_ms(), boot)?;
        let accounts = Accounts::open(shared, &keyspace)?;
        shared.running_scripts.end(ScriptLane::Writer);
        let mut calls = Calls::new(Arc::clone(shared), context, ScriptLane::Writer);
        calls.begin_with_sources(&keyspace)?;
        publish_sizes(&calls.statistics, &sizes);
        let files = SharedFileWatch::start(shared, !matches!(opened.file_system, FileSystem::Shared(_)));
        let mut upkeep = WriterUpkeep::start(shared, context, options, tickets)?;
        upkeep.look_at_disk(&keyspace);
        Ok(Writer {
            keyspace,
            calls,
            telling: Telling::new(shared, context.scoreboard, &marking),
            marking,
            waiters,
            long_calls: LongCalls::new(shared, options),
            accounts,
            served: Served::new(),
            met: BTreeSet::new(),
            may_map: options.mmap,
            upkeep,
            files,
            rescue: None,
            has_run: false,
            reply_bytes: 0,
            is_scripting: false,
        })
    }

    pub fn run(&mut self, tasks: &[Task<Job>], responder: &mut dyn Responder<Done>) {
        if self.rescue.is_some() {
            tasks.iter().for_each(|task| responder.answer(task.id, refused(&task.job, errors::FILES_LOST)));
            return;
        }
        let mut left_out = LeftOut::default();
        let begun = clock::monotonic();
        self.has_run = true;
        let mut begun_anew = 0;
        let group = loop {
            match self.group(tasks, &mut left_out) {
                Group::Spoiled(Spoiled::ByRow(error)) => {
                    self.roll_back();
                    if !left_out.go_one_by_one() {
                        self.failed(&error);
                        break Group::Failed(error);
                    }
                }
                Group::Spoiled(Spoiled::ByCall(place, text)) => {
                    // All of it runs again without that call.
                    self.roll_back();
                    if !left_out.leave_out(place, text) {
                        tracing::error!("a group of changes has begun anew too often and is given up");
                        self.calls.statistics.add(Counted::GroupFailuresTotal, 1);
                        break Group::Failed(StorageError::Internal("too many calls of a group failed".into()));
                    }
                }
                // Twice: a group that only deletes needs no more room than the `-wal` has, or the journal has no room and the tables have.
                Group::Failed(StorageError::Full) if begun_anew < 2 => {
                    begun_anew += 1;
                    if !self.upkeep.make_room(&mut self.keyspace) {
                        break Group::Failed(StorageError::Full);
                    }
                    if begun_anew == 2 {
                        self.keyspace.bypass_journal();
                    }
                }
                ended => break ended,
            }
        };
        self.unmark();
        self.long_calls.group_ended();
        self.calls.settle();
        match group {
            Group::Committed(applied) => {
                // The others come again, in the next group.
                let tasks = &tasks[..applied.len()];
                self.count_group(tasks, begun);
                self.telling.tell(&mut self.keyspace, self.served.iter().filter_map(ServedCall::client), responder);
                for (index, (task, applied)) in tasks.iter().zip(applied).enumerate() {
                    match done(&task.job, applied).or_else(|| self.take_served(task.id.number)) {
                        Some(done) => responder.answer(task.id, done),
                        None => responder.park(task.id),
                    }
                    if index == tasks.len() / 2 {
                        reach(&self.calls.shared.hand_offs, Point::AmidReplies);
                    }
                }
                self.answer_served(responder);
            }
            Group::Failed(error) => {
                let text = errors::storage_text(&error);
                tasks.iter().for_each(|task| responder.answer(task.id, refused(&task.job, &text)));
                self.refuse_long_call(&text, responder);
            }
            Group::Spoiled(..) => unreachable!("the loop goes on after a call that failed"),
        }
    }

    /// One attempt: begin, apply all but `left_out`, commit. What is not a call's affair undoes everything.
    fn group(&mut self, tasks: &[Task<Job>], left_out: &mut LeftOut) -> Group {
        match self.apply(tasks, left_out) {
            Ok(Attempt::Done(applied)) => Group::Committed(applied),
            Ok(Attempt::Spoiled(spoiled)) => Group::Spoiled(spoiled),
            Err(error) => {
                self.failed(&error);
                Group::Failed(error)
            }
        }
    }

    fn apply(&mut self, tasks: &[Task<Job>], left_out: &mut LeftOut) -> Result<Attempt<Vec<Applied>>, StorageError> {
        // After the group's last job was taken, and before anything of it runs.
        self.keyspace.begin_write(self.calls.shared.clock.now_ms())?;
        self.keyspace.set_thresholds(self.calls.shared.runtime.thresholds());
        self.telling.begin(&mut self.keyspace);
        self.calls.begin();
        self.calls.want_events(self.telling.classes());
        self.waiters.begin();
        self.reply_bytes = 0;
        if let Attempt::Spoiled(spoiled) = self.answer_long_call(left_out)? {
            return Ok(Attempt::Spoiled(spoiled));
        }
        if let Attempt::Spoiled(spoiled) = self.serve(left_out)? {
            return Ok(Attempt::Spoiled(spoiled));
        }
        let mut applied = Vec::with_capacity(tasks.len());
        let known_before: Option<Vec<bool>> = broken::is(Variant::ExecBlindToItsGroup)
            .then(|| tasks.iter().map(|task| self.must_not_execute(&task.job)).collect());
        let begun = self.calls.ended();
        for (index, task) in tasks.iter().enumerate() {
            let is_full = self.reply_bytes >= GROUP_REPLY_BYTES_MAX || self.has_used(begun, GROUP_TIME_MAX);
            if is_full && index > 0 {
                break;
            }
            if let Some(text) = left_out.job(index) {
                applied.push(Applied::Refused(text.clone()));
                continue;
            }
            let is_exec = matches!(task.job.kind, Kind::Exec(_));
            let ask = || known_before.as_ref().map_or_else(|| self.must_not_execute(&task.job), |known| known[index]);
            if is_exec && left_out.must_not_execute(index, ask) {
                applied.push(Applied::NotExecuted);
                continue;
            }
            match self.job(index, task, left_out)? {
                Attempt::Done(done) => applied.push(done),
                Attempt::Spoiled(spoiled) => return Ok(Attempt::Spoiled(spoiled)),
            }
        }
        if broken::is(Variant::CountedPerWrite) {
            clock::pause(Duration::from_millis(12));
        }
        let tasks = &tasks[..applied.len()];
        reach(&self.calls.shared.hand_offs, Point::BeforeCommit);
        let has_marks = self.marking.lock().marks.has_marks();
        let (parked, served) = serving::fates((&self.waiters, &self.long_calls), &self.served, tasks);
        let has_changes = has_marks
            || !served.is_empty()
            || self.keyspace.changes_sources()
            || self.accounts.has_changes()
            || broken::is(Variant::NeverMarked);
        if waiting_variants::takes_undo() {
            return Ok(Attempt::Spoiled(Spoiled::ByRow(StorageError::Internal("a test undoes this group".into()))));
        }
        match self.keyspace.spill_if_direct() {
            Err(error) if error.is_of_the_call() => return Ok(Attempt::Spoiled(Spoiled::ByRow(error))),
            written => written?,
        }
        let last = if has_changes { last_of_each(tasks) } else { HashMap::new() };
        let served =
            if waiting_variants::is(waiting_variants::Variant::ServedUnrecorded) { Vec::new() } else { served };
        self.accounts.record(&mut self.keyspace)?;
        self.upkeep.commit(&mut self.keyspace, GroupTickets { last, parked, served })?;
        self.waiters.committed();
        self.long_calls.committed(&mut self.keyspace);
        self.calls.sources_committed();
        reach(&self.calls.shared.hand_offs, Point::AfterCommit);
        self.accounts.committed();
        Ok(Attempt::Done(applied))
    }

    fn has_used(&self, begun: Instant, time: Duration) -> bool {
        turns::is_over(self.calls.ended().saturating_duration_since(begun), time)
    }

    fn job(&mut self, index: usize, task: &Task<Job>, left_out: &LeftOut) -> Result<Attempt<Applied>, StorageError> {
        let job = &task.job;
        if matches!(job.kind, Kind::Wait(_)) && !self.waiters.are_all_known() {
            self.waiters.park(task);
            return Ok(Attempt::Done(Applied::Parked));
        }
        let mut answers = Answers { ends: Vec::with_capacity(job.calls.len()), ..Answers::default() };
        let begun = self.calls.ended();
        let is_run = job.kind == Kind::Run;
        for (number, call) in job.calls.iter().enumerate() {
            let is_over = answers.replies.len() >= JOB_REPLY_BYTES_MAX || self.has_used(begun, JOB_TIME_MAX);
            if is_run && number > 0 && call.unit != Unit::GoesOn {
                if is_over {
                    break;
                }
                if let Attempt::Spoiled(spoiled) = self.serve(left_out)? {
                    return Ok(Attempt::Spoiled(spoiled));
                }
            }
            if let Some(text) = left_out.call((index, number)) {
                answers.fail(&call, text);
                continue;
            }
            // All of a transaction belongs together, whatever it reads.
            let weight = (call.unit == Unit::Alone && number > 0).then_some(RIDING_BYTES_MAX);
            let answer = answers.next(&self.calls, job, &call, weight);
            self.telling.is_of(task.id);
            let is_script = matches!(call.command().handler, Handler::Script(_));
            self.keyspace.defer_long(is_run && call.unit == Unit::Alone && !is_script);
            let called = self.call((index, number), &call, answer);
            self.keyspace.defer_long(false);
            match called? {
                // A reader has it, and what is behind it, when this group is committed; or it comes again, as the first of its job.
                Attempt::Done(Called::TooHeavy) => break,
                Attempt::Done(Called::TakesLong) if number > 0 => break,
                Attempt::Done(Called::TakesLong) => {
                    self.long_calls.park(task);
                    return Ok(Attempt::Done(Applied::Parked));
                }
                Attempt::Done(Called::Parked) => {
                    self.waiters.park(task);
                    return Ok(Attempt::Done(Applied::Parked));
                }
                Attempt::Done(Called::Answered) => answers.end(&call),
                Attempt::Done(Called::Refused(text)) => answers.fail(&call, &text),
                Attempt::Spoiled(spoiled) => return Ok(Attempt::Spoiled(spoiled)),
            }
            if let Some(spoiled) = self.bound_batch((index, number), left_out)? {
                return Ok(Attempt::Spoiled(spoiled));
            }
        }
        self.reply_bytes += answers.replies.len();
        Ok(match self.serve(left_out)? {
            Attempt::Done(()) => Attempt::Done(Applied::Answers(answers)),
            Attempt::Spoiled(spoiled) => Attempt::Spoiled(spoiled),
        })
    }

    /// One call. What one has changed that failed is undone, and nothing else.
    pub(super) fn call(
        &mut self,
        place: Place,
        call: &Call<'_>,
        answer: Answer<'_>,
    ) -> Result<Attempt<Called>, StorageError> {
        if let Handler::Script(script) = call.command().handler {
            return self.script(place, call, script, answer);
        }
        self.accounts.begin_call();
        let mut savepoint = self.keyspace.savepoint();
        let ran = match self.telling.before_call(&mut self.keyspace, call) {
            Ok(()) => {
                if self.telling.ends_keys() {
                    self.keep_since(savepoint);
                    savepoint = self.keyspace.savepoint();
                }
                let mut ending = Ending { waiters: &mut self.waiters, served: &mut self.served, ended: Vec::new() };
                let ran = self.calls.run(&mut self.keyspace, &mut ending, &mut self.accounts, call, answer);
                ending.ended.into_iter().for_each(|(row, with_error)| self.calls.count_ended(row, with_error));
                ran
            }
            Err(error) => Ran::Failed(error),
        };
        if let Ran::Answered | Ran::Parked { keeps_changes: true } = ran {
            self.keep_since(savepoint);
            self.telling.call_ended(&mut self.keyspace, &self.calls.take_told());
            let is_answered = matches!(ran, Ran::Answered);
            return Ok(Attempt::Done(if is_answered { Called::Answered } else { Called::Parked }));
        }
        self.accounts.undo_call();
        self.telling.call_failed(&mut self.keyspace);
        let called = match ran {
            Ran::Failed(error) => return self.storage_failed(place, call, error, savepoint),
            Ran::TooHeavy => return Ok(Attempt::Done(Called::TooHeavy)),
            Ran::TakesLong => Called::TakesLong,
            Ran::Answered | Ran::Refused => Called::Answered,
            Ran::Parked { .. } => Called::Parked,
            // Only a reader lets what reads wait.
            Ran::Waits(_) => Called::Refused(errors::INTERNAL.into()),
            Ran::Panicked => {
                self.calls.statistics.add(Counted::PanicsTotal, 1);
                tracing::error!("a handler panicked; what it did is undone");
                Called::Refused(errors::INTERNAL.into())
            }
        };
        self.keyspace.undo_to(savepoint)?;
        Ok(Attempt::Done(called))
    }

    /// The file can't be read, or not be written: what the call did is undone, or all of the group.
    pub(super) fn storage_failed(
        &mut self,
        place: Place,
        call: &Call<'_>,
        error: StorageError,
        savepoint: SavePoint,
    ) -> Result<Attempt<Called>, StorageError> {
        static CALL_FAILED: LogLimit = LogLimit::new();
        if !error.is_of_the_call() {
            return Err(error);
        }
        // A value that is too large is the peer's doing, and no news.
        if error.spoils_transaction()
            && let Some(left_out) = CALL_FAILED.admit()
        {
            tracing::error!(%error, command = call.command().name, left_out, "a call failed and is undone");
        }
        let text = errors::storage_text(&error);
        self.keyspace.undo_to(savepoint)?;
        if error.spoils_transaction() && !self.keyspace.recover()? {
            return Ok(Attempt::Spoiled(Spoiled::ByCall(place, text)));
        }
        Ok(Attempt::Done(Called::Refused(text)))
    }

    fn keep_since(&mut self, savepoint: SavePoint) {
        if !self.is_scripting {
            self.keyspace.keep_since(savepoint);
        }
    }

    /// After a call: a large batch is written to the tables. One call at a time, once some row of the group could not be written.
    pub(super) fn bound_batch(&mut self, place: Place, left_out: &LeftOut) -> Result<Option<Spoiled>, StorageError> {
        let is_one_by_one = left_out.is_one_by_one();
        let written = if is_one_by_one { self.keyspace.spill() } else { self.keyspace.spill_if_large() };
        match written {
            Ok(()) => Ok(None),
            Err(error) if !error.is_of_the_call() => Err(error),
            Err(error) if is_one_by_one => {
                tracing::error!(%error, "what a call has changed can't be written; its group is run again without it");
                Ok(Some(Spoiled::ByCall(place, errors::storage_text(&error))))
            }
            Err(error) => Ok(Some(Spoiled::ByRow(error))),
        }
    }

    /// True for an EXEC of which a watched key has changed.
    fn must_not_execute(&self, job: &Job) -> bool {
        matches!(&job.kind, Kind::Exec(watched) if watched.iter().any(|watched| self.has_changed(watched)))
    }

    /// True when EXEC must not run: something watched was touched, or has expired since. What an earlier job of this group
    /// touched has made its slot odd already.
    fn has_changed(&self, watched: &Watched) -> bool {
        !watched.is_unchanged(&self.calls.shared.versions, self.keyspace.now_ms())
    }

    fn unmark(&mut self) {
        self.tell_of_waiters();
        reach(&self.calls.shared.hand_offs, Point::BeforeUnmark);
        self.marking.lock().marks.unmark();
    }

    /// A group is lost to a storage error that is no call's: all of it is undone, and all of it gets the error.
    fn failed(&mut self, error: &StorageError) {
        end_if_sync_failed(&self.calls.shared, error);
        static GROUP_FAILED: LogLimit = LogLimit::new();
        if let Some(left_out) = GROUP_FAILED.admit() {
            tracing::error!(%error, left_out, "a group of changes failed and is undone");
        }
        self.calls.statistics.add(Counted::GroupFailuresTotal, 1);
        // The next group may need less memory; anything else it meets as well.
        if *error != StorageError::OutOfMemory {
            self.calls.shared.hand_offs.set(HandOff::WritesFailing, 1);
        }
        self.roll_back();
    }

    fn roll_back(&mut self) {
        self.waiters.rolled_back();
        self.long_calls.rolled_back();
        self.calls.sources_rolled_back();
        self.accounts.rolled_back();
        self.served.clear();
        if let Err(error) = self.keyspace.rollback() {
            // A transaction that can be neither finished nor undone: the next writer finds the file as it was before.
            tracing::error!(%error, "a group can't be undone");
            process::exit_at_once(1);
        }
    }

    fn count_group(&mut self, tasks: &[Task<Job>], begun: Instant) {
        let statistics = &self.calls.statistics;
        let commands = tasks.iter().map(|task| task.job.calls.len() as u64).sum();
        let duration_us = u64::try_from(clock::monotonic().duration_since(begun).as_micros()).unwrap_or(u64::MAX);
        self.calls.shared.latency.consider(Event::Commit, duration_us);
        self.calls.shared.hand_offs.set(HandOff::WritesFailing, 0);
        statistics.add(Counted::GroupsTotal, 1);
        statistics.add(Counted::GroupJobsTotal, tasks.len() as u64);
        statistics.add(Counted::GroupCommandsTotal, commands);
        statistics.raise(Counted::GroupCommandsMax, commands);
        statistics.add(Counted::CommitMicrosecondsTotal, duration_us);
        statistics.raise(Counted::CommitMicrosecondsMax, duration_us);
        statistics.measured(Measured::Commit, duration_us);
        statistics.measured(Measured::Group, commands);
        statistics.add(Counted::ChangesSinceCheckpoint, commands);
    }

    pub fn idle(&mut self, responder: &mut dyn Responder<Done>) -> Duration {
        if let Some(wait) = self.look_at_files() {
            self.refuse_long_calls(errors::FILES_LOST, responder);
            return wait;
        }
        self.accounts.look_at_file();
        if self.waiters.must_look() || self.long_calls.is_ready() {
            self.run(&[], responder);
        }
        if let Err(error) = self.calls.fit_map(&mut self.keyspace, self.may_map) {
            tracing::warn!(%error, "the map of the data file can't be changed");
        }
        self.try_to_write();
        let is_idle = !std::mem::take(&mut self.has_run);
        let next = self.upkeep.step(&mut self.keyspace, is_idle, |keyspace| self.telling.begin(keyspace));
        let next = next.and_then(|next| Ok(self.go_on_with_long_calls(is_idle)?.map_or(next, |wait| next.min(wait))));
        self.unmark();
        let wait = next.unwrap_or_else(|error| {
            self.failed(&error);
            self.unmark();
            RETRY
        });
        self.telling.upkeep_ended(&mut self.keyspace);
        self.telling.tell(&mut self.keyspace, std::iter::empty(), responder);
        wait
    }

    /// When to come again, once the files are lost: what is in them is saved, and nothing else is done.
    fn look_at_files(&mut self) -> Option<Duration> {
        let options = &self.calls.shared.settings.storage;
        if self.rescue.is_none() {
            let changed = self.files.look()?;
            self.calls.shared.hand_offs.set(HandOff::WritesFailing, 1);
            self.rescue = Some(Rescue::begin(&self.keyspace, &changed, &options.directory));
        }
        self.upkeep.await_pass();
        if let Some(Err(error)) =
            self.rescue.as_mut().map(|rescue| rescue.go_on(&mut self.keyspace, options, clock::wall_ms()))
        {
            end_if_sync_failed(&self.calls.shared, &error);
            tracing::error!(%error, "what was acknowledged can't be copied into the data file yet");
            return Some(RESCUE_AGAIN);
        }
        Some(RETRY.min(self.upkeep.go_on_with_backup(&mut self.keyspace)))
    }

    /// While writes fail the service says that it is not ready, so perhaps nobody sends one any more: whether the disk takes
    /// them again must not depend on that.
    fn try_to_write(&mut self) {
        if !self.calls.shared.hand_offs.is_set(HandOff::WritesFailing) {
            return;
        }
        match self.upkeep.try_to_write(&mut self.keyspace) {
            None => {}
            Some(Ok(())) => {
                tracing::info!("the disk takes writes again");
                self.calls.shared.hand_offs.set(HandOff::WritesFailing, 0);
            }
            Some(Err(error)) => {
                end_if_sync_failed(&self.calls.shared, &error);
                tracing::debug!(%error, "writes go on failing");
                self.roll_back();
            }
        }
    }

    #[must_use]
    pub fn batch_bytes_max(&self) -> usize {
        self.upkeep.group_bytes_max(&self.keyspace).min(self.keyspace.group_bytes_max())
    }

    #[must_use]
    pub fn tickets(&self, incarnation: u64) -> ToldTickets {
        let applied = self.upkeep.tickets().last_applied(incarnation);
        let (parked, served) = self.upkeep.tickets().parked(incarnation);
        ToldTickets { applied, parked, served }
    }

    pub fn meet(&mut self, incarnation: u64) {
        self.met.insert(incarnation);
    }

    pub fn forget(&mut self, incarnation: u64) {
        self.met.remove(&incarnation);
        self.waiters.forget(incarnation);
        self.long_calls.forget(incarnation);
        self.upkeep.tickets_mut().forget(incarnation);
    }

    /// The orderly end: everything in the file, an empty `-wal`.
    pub fn finish(&mut self) {
        self.long_calls.stop();
        if let Some(rescue) = &mut self.rescue {
            self.upkeep.stop();
            if let Err(error) = rescue.go_on(&mut self.keyspace, &self.calls.shared.settings.storage, clock::wall_ms())
            {
                tracing::error!(%error, "what was acknowledged can't be copied into the data file");
            }
            return;
        }
        let options = Options { mmap: self.may_map, ..self.calls.shared.settings.storage.clone() };
        let finished = self.upkeep.finish(&mut self.keyspace, &options).and_then(|()| self.keyspace.keep_side_files());
        if let Err(error) = finished {
            end_if_sync_failed(&self.calls.shared, &error);
            tracing::warn!(%error, "the last checkpoint did not end; the next start needs a moment longer");
        }
    }

    #[cfg(test)]
    pub(crate) fn is_mapped(&self) -> bool {
        self.keyspace.is_mapped()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.files.end();
    }
}

/// Of each worker's incarnation the last of these jobs: they are known as applied with the group's commit.
fn last_of_each(tasks: &[Task<Job>]) -> HashMap<u64, u64> {
    let mut last: HashMap<u64, u64> = HashMap::new();
    for task in tasks {
        let number = last.entry(task.id.incarnation).or_default();
        *number = task.id.number.max(*number);
    }
    last
}

/// After a rescue that failed.
const RESCUE_AGAIN: Duration = Duration::from_secs(1);
/// After an upkeep that failed.
const RETRY: Duration = Duration::from_millis(100);

/// The outcome of a failed sync is unknown, and the kernel forgets it: nothing is answered, this process ends, and the
/// next one writes and syncs everything again before it serves.
pub fn end_if_sync_failed(shared: &Shared, error: &StorageError) {
    if let StorageError::SyncFailed(_) = error {
        tracing::error!(%error, "a sync failed: the writer ends, and the next one checkpoints first");
        shared.hand_offs.set(HandOff::MustCheckpoint, 1);
        if let Err(error) = failed_sync::note(&shared.settings.storage) {
            // The shared memory has it too, for as long as the service lives.
            tracing::error!(%error, "a failed sync can't be noted in the data directory");
        }
        process::exit_at_once(SYNC_FAILED);
    }
}

/// `None`: it waits.
fn done(job: &Job, applied: Applied) -> Option<Done> {
    let answers = match applied {
        Applied::Answers(answers) => answers,
        Applied::NotExecuted => return Some(Done::new(DoneOutcome::NotExecuted, Vec::new())),
        Applied::Refused(text) => return Some(refused(job, &text)),
        Applied::Parked => return None,
    };
    Some(answered(job, answers))
}

pub(super) fn answered(job: &Job, answers: Answers) -> Done {
    let outcome = match job.kind {
        Kind::Run | Kind::Wait(_) => DoneOutcome::of_run(job, answers.ends.len(), false),
        Kind::Exec(_) | Kind::Watch => DoneOutcome::Executed,
    };
    let ends = if job.wants_ends { answers.ends } else { Vec::new() };
    Done { slow: answers.slow, ends, denied: answers.denied, ..Done::new(outcome, answers.replies) }
}
