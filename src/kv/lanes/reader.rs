//! A reader thread's executor: a batch of jobs is taken first, then a snapshot answers it, and a fresh one what comes later than some
//! milliseconds. Between batches no snapshot is open, so nothing holds the `-wal` back.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::kv::cache::{Learning, Seen};
use crate::kv::call::Notifications;
use crate::kv::errors;
use crate::kv::jobs::job::{Call, Done, DoneOutcome, Job, Kind, Presence, Unit};
use crate::kv::lanes::calls::{Answers, Calls, Ran, Weight, keys_to_keep};
use crate::kv::lanes::file_watch;
use crate::kv::lanes::lane_executor::refused;
use crate::kv::metrics::statistics::Counted;
use crate::kv::shared::Shared;
use crate::kv::shared::broken::{self, Variant};
use crate::kv::shared::hand_offs::HandOff;
use crate::kv::shared::running_scripts::ScriptLane;
use crate::kv::shared::runtime::Knob;
use crate::kv::shared::settings::{
    JOB_REPLY_BYTES_MAX, JOB_TIME_MAX, LIGHT_BYTES_MAX, READ_TIME_MAX, SNAPSHOT_AGE_MAX,
};
use crate::kv::shared::turns;
use crate::server::{Counter, ExecutorContext, LogLimit, Task, TaskId};
use crate::storage::{Keyspace, Options, StorageError};
use crate::sys::clock;

/// Calls whose counts become visible together, before their replies leave: some microseconds of work.
const CALLS_TOGETHER: usize = 16;

/// The longest that a long read waits for the `-wal` to begin anew. Other long reads may take as long to end.
const GIVE_WAY_MAX: Duration = Duration::from_secs(1);
const GIVE_WAY_LOOK: Duration = Duration::from_millis(2);

/// How often a read begins anew because its view was lost.
const VIEWS_MAX: usize = 3;

/// How often an EXEC of reads begins anew because its snapshot was lost.
const EXECUTIONS_MAX: usize = 8;

pub struct Reader {
    keyspace: Keyspace,
    options: Options,
    calls: Calls,
    /// It has point reads behind it: what reads much is sent to the heavy lane.
    is_light: bool,
    /// When the present snapshot was begun.
    begun: Instant,
    limit: Arc<Limit>,
}

/// When the read that runs now has to end.
struct Limit {
    start: Instant,
    /// Milliseconds after `start`.
    at_ms: AtomicU64,
}

impl Limit {
    fn set(&self, at: Instant) {
        let at_ms = at.saturating_duration_since(self.start).as_millis();
        self.at_ms.store(u64::try_from(at_ms).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        clock::monotonic().duration_since(self.start).as_millis() >= u128::from(self.at_ms.load(Ordering::Relaxed))
    }
}

impl Reader {
    pub fn new(shared: Arc<Shared>, context: &ExecutorContext, is_light: bool) -> Result<Reader, StorageError> {
        let mut options = shared.settings.storage.clone();
        // A worker that died of SIGBUS met a page that can't be read: without a map that is an error of the read.
        options.mmap &= context.scoreboard.read(context.slot, Counter::BusErrorsTotal) == 0;
        let start = clock::monotonic();
        let limit = Arc::new(Limit { start, at_ms: AtomicU64::new(u64::MAX) });
        let keyspace = open(&shared, &options, &limit)?;
        // The light one runs none.
        let lane = ScriptLane::Heavy(context.slot);
        if !is_light {
            shared.running_scripts.end(lane);
        }
        Ok(Reader { keyspace, options, calls: Calls::new(shared, context, lane), is_light, begun: start, limit })
    }

    pub fn run(&mut self, tasks: &[Task<Job>], answer: &mut dyn FnMut(TaskId, Done)) {
        self.calls.begin();
        self.limit.set(self.calls.ended() + READ_TIME_MAX);
        let notifications = Notifications::from_word(self.calls.shared.runtime.read(Knob::KeyspaceEvents));
        self.calls.want_events(notifications.classes());
        let was_open = broken::is(Variant::JoinedSnapshot) && self.keyspace.is_in_transaction();
        let begun = self.calls.fit_map(&mut self.keyspace, self.options.mmap).and_then(|()| self.begin());
        if let (Err(error), false) = (begun, was_open) {
            tell_of_no_snapshot(&error);
            let text = errors::storage_text(&error);
            tasks.iter().for_each(|task| answer(task.id, refused(&task.job, &text)));
            return;
        }
        let mut answered = Vec::with_capacity(tasks.len());
        let (mut calls, mut bytes) = (0, 0);
        for task in tasks {
            let done = self.job(&task.job);
            bytes += done.replies.len();
            answered.push((task.id, done));
            calls += task.job.calls.len();
            // Large replies leave at once: the thread holds one of them and not a batch of them.
            if calls >= CALLS_TOGETHER || bytes >= JOB_REPLY_BYTES_MAX {
                self.give(&mut answered, answer);
                (calls, bytes) = (0, 0);
            }
        }
        self.give(&mut answered, answer);
        if let Err(error) = self.keyspace.end_read() {
            tracing::error!(%error, "a snapshot can't be let go");
        }
        debug_assert!(!self.keyspace.is_in_transaction(), "no snapshot is open between batches");
        if broken::is(Variant::JoinedSnapshot) && self.begin().is_ok() {
            self.keyspace.entry(b"anything").ok();
        }
    }

    fn begin(&mut self) -> Result<(), StorageError> {
        self.begun = self.calls.ended();
        self.calls.view_begins();
        self.keyspace.begin_read(self.calls.shared.clock.now_ms())
    }

    /// Long reads that follow one another hold the `-wal` for ever, however new each snapshot is: it begins anew only while nobody reads
    /// from it, or all who do have ended a few milliseconds later. So they wait for that once it is far beyond its budget.
    fn give_way(&mut self) -> Result<(), StorageError> {
        let hand_offs = &self.calls.shared.hand_offs;
        if self.is_light || hand_offs.read(HandOff::WalIsHeld) == 0 {
            return Ok(());
        }
        self.keyspace.end_read()?;
        let until = clock::monotonic() + GIVE_WAY_MAX;
        while hand_offs.read(HandOff::WalIsHeld) != 0 && clock::monotonic() < until {
            clock::pause(GIVE_WAY_LOOK);
        }
        self.calls.begin();
        self.begin()
    }

    /// Before a job, or a call of a run: a snapshot that is not old, so that whoever reads for long does not hold the `-wal`. It was
    /// begun after the job was submitted, as every snapshot of the batch.
    fn renew(&mut self) -> Result<(), StorageError> {
        self.give_way()?;
        // SQLite may have ended it by itself, after an error.
        let is_lost = !self.keyspace.is_in_transaction();
        if is_lost || self.calls.ended().saturating_duration_since(self.begun) >= SNAPSHOT_AGE_MAX {
            self.keyspace.end_read()?;
            self.begin()?;
        }
        Ok(())
    }

    fn give(&mut self, answered: &mut Vec<(TaskId, Done)>, answer: &mut dyn FnMut(TaskId, Done)) {
        self.calls.settle();
        answered.drain(..).for_each(|(id, done)| answer(id, done));
    }

    fn job(&mut self, job: &Job) -> Done {
        if let Err(error) = self.renew() {
            tell_of_no_snapshot(&error);
            return refused(job, &errors::storage_text(&error));
        }
        self.limit.set(self.calls.ended() + READ_TIME_MAX);
        match &job.kind {
            Kind::Watch => self.watch(job),
            // Of a call that may wait it is looked here whether it has to.
            Kind::Run | Kind::Wait(_) => {
                let mut learning = Learning::of(&job.seen);
                let Answers { replies, ends, slow, missed, denied, is_heavy, waits, .. } =
                    self.run_calls(job, &mut learning);
                let outcome = waits.map_or_else(|| DoneOutcome::of_run(job, ends.len(), is_heavy), DoneOutcome::Waits);
                let ends = if job.wants_ends { ends } else { Vec::new() };
                Done { slow, ends, missed, denied, learned: learning.learned(), ..Done::new(outcome, replies) }
            }
            Kind::Exec(_) => {
                let mut answers = Answers::default();
                self.execute(job, 0, &mut answers);
                let Answers { replies, ends, slow, missed, denied, .. } = answers;
                Done { slow, ends, missed, denied, ..Done::new(DoneOutcome::Executed, replies) }
            }
        }
    }

    /// Of a run with large replies, or one that takes long, not all calls.
    fn run_calls(&mut self, job: &Job, learning: &mut Learning<'_>) -> Answers {
        let mut answers = Answers::default();
        let begun = self.calls.ended();
        let weight = self.is_light.then_some(LIGHT_BYTES_MAX);
        let mut at = 0;
        while let Some((call, next)) = job.calls.at(at) {
            let has_had_its_turn = turns::is_over(self.calls.ended().saturating_duration_since(begun), JOB_TIME_MAX);
            if answers.replies.len() >= JOB_REPLY_BYTES_MAX || has_had_its_turn {
                break;
            }
            // Each unit may see what is new since the one before it.
            let renewed = self.renew();
            self.limit.set(self.calls.ended() + READ_TIME_MAX);
            if call.unit == Unit::Begins && renewed.is_ok() {
                at = self.execute(job, at, &mut answers);
                continue;
            }
            at = next;
            learning.begin(keys_to_keep(&call));
            if let Err(error) = renewed {
                self.failed(&call, &error, &mut answers);
                continue;
            }
            match self.read(job, &call, weight, learning, &mut answers) {
                ran @ (Ran::Answered | Ran::Refused) => {
                    answers.end(&call);
                    if let Ran::Answered = ran {
                        self.calls.misses(&self.keyspace, &call, &mut answers.missed);
                    }
                }
                Ran::Failed(error) => self.failed(&call, &error, &mut answers),
                Ran::Panicked | Ran::Parked { .. } | Ran::TakesLong => self.panicked(&call, &mut answers),
                Ran::Waits(args) => {
                    let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                    answers.waits.get_or_insert_default().push(call.row, call.admitted(), &args);
                    break;
                }
                Ran::TooHeavy => {
                    answers.is_heavy = true;
                    break;
                }
            }
        }
        answers
    }

    /// A call, anew with another view where memory was used again under it.
    fn read(
        &mut self,
        job: &Job,
        call: &Call<'_>,
        weight: Weight,
        learning: &mut Learning<'_>,
        answers: &mut Answers,
    ) -> Ran {
        for _ in 1..VIEWS_MAX {
            let answer = answers.next(&self.calls, job, call, weight);
            match self.calls.read(&mut self.keyspace, call, answer, learning) {
                Ran::Failed(StorageError::ViewLost) => {}
                ran => return ran,
            }
            if let Err(error) = self.begin_anew() {
                return Ran::Failed(error);
            }
        }
        let answer = answers.next(&self.calls, job, call, weight);
        self.calls.read(&mut self.keyspace, call, answer, learning)
    }

    fn begin_anew(&mut self) -> Result<(), StorageError> {
        self.keyspace.end_read()?;
        self.begin()
    }

    /// All calls of the transaction that begins at this byte, from one snapshot. Where an error has made SQLite end it, all of them begin
    /// anew without the call that failed. Returns where the next call begins.
    fn execute(&mut self, job: &Job, begin: usize, answers: &mut Answers) -> usize {
        let mut left_out: HashMap<usize, StorageError> = HashMap::new();
        let mut views = 1;
        let before = answers.place();
        loop {
            self.keyspace.hold_snapshot(true);
            let executed = self.try_to_execute(job, begin, &left_out, answers);
            self.keyspace.hold_snapshot(false);
            let (at, error) = match executed {
                Ok(next) => return next,
                Err(lost) => lost,
            };
            answers.go_back(before);
            if error == StorageError::ViewLost && views < VIEWS_MAX && self.begin_anew().is_ok() {
                views += 1;
                continue;
            }
            if left_out.len() >= EXECUTIONS_MAX || self.renew().is_err() {
                return job.calls.transaction(begin).fold(begin, |_, (_, call, next)| {
                    self.failed(&call, &error, answers);
                    next
                });
            }
            left_out.insert(at, error);
        }
    }

    /// The error is that of the call at this byte, which has ended the snapshot.
    fn try_to_execute(
        &mut self,
        job: &Job,
        begin: usize,
        left_out: &HashMap<usize, StorageError>,
        answers: &mut Answers,
    ) -> Result<usize, (usize, StorageError)> {
        let (seen, mut end) = (Seen::default(), begin);
        for (at, call, next) in job.calls.transaction(begin) {
            end = next;
            if let Some(error) = left_out.get(&at) {
                self.failed(&call, error, answers);
                continue;
            }
            let answer = answers.next(&self.calls, job, &call, None);
            match self.calls.read(&mut self.keyspace, &call, answer, &mut Learning::of(&seen)) {
                Ran::Answered => {
                    answers.end(&call);
                    self.calls.misses(&self.keyspace, &call, &mut answers.missed);
                }
                Ran::Refused => answers.end(&call),
                Ran::Failed(error) if error != StorageError::ViewLost && self.keyspace.is_in_transaction() => {
                    self.failed(&call, &error, answers);
                }
                Ran::Failed(error) => return Err((at, error)),
                Ran::Panicked | Ran::TooHeavy | Ran::TakesLong | Ran::Parked { .. } | Ran::Waits(_) => {
                    self.panicked(&call, answers);
                }
            }
        }
        Ok(end)
    }

    fn failed(&self, call: &Call<'_>, error: &StorageError, answers: &mut Answers) {
        tell_of_failure(error, call.command().name);
        answers.fail(call, &errors::storage_text(error));
    }

    fn panicked(&mut self, call: &Call<'_>, answers: &mut Answers) {
        self.reopen();
        answers.fail(call, errors::INTERNAL);
    }

    fn watch(&mut self, job: &Job) -> Done {
        let mut views = 1;
        loop {
            match self.look_at_watched(job) {
                Ok(found) => return Done::new(DoneOutcome::Watched(found), Vec::new()),
                Err(StorageError::ViewLost) if views < VIEWS_MAX && self.begin_anew().is_ok() => views += 1,
                Err(error) => {
                    tell_of_failure(&error, "watch");
                    return refused(job, &errors::storage_text(&error));
                }
            }
        }
    }

    fn look_at_watched(&mut self, job: &Job) -> Result<Vec<Presence>, StorageError> {
        let mut found = Vec::new();
        for call in job.calls.iter() {
            self.keyspace.select(call.database);
            for key in &call.args[1..] {
                found.push(Presence::of(self.keyspace.entry(key)?.as_ref()));
            }
        }
        Ok(found)
    }

    /// After a panic: what the connection was in the middle of is unknown.
    fn reopen(&mut self) {
        self.calls.statistics.add(Counted::PanicsTotal, 1);
        tracing::error!("a handler panicked; its reader is opened again");
        let now_ms = self.keyspace.now_ms();
        if file_watch::are_lost(&self.calls.shared) {
            return;
        }
        let reopened = open(&self.calls.shared, &self.options, &self.limit).and_then(|mut keyspace| {
            keyspace.begin_read(now_ms)?;
            Ok(keyspace)
        });
        match reopened {
            Ok(keyspace) => self.keyspace = keyspace,
            Err(error) => tracing::error!(%error, "the reader can't be opened again and goes on as it is"),
        }
    }
}

fn open(shared: &Shared, options: &Options, limit: &Arc<Limit>) -> Result<Keyspace, StorageError> {
    let keyspace = Keyspace::open_reader_on(options, shared.memory)?;
    let limit = Arc::clone(limit);
    keyspace.limit_reads(move || limit.is_over());
    Ok(keyspace)
}

fn tell_of_no_snapshot(error: &StorageError) {
    static NO_SNAPSHOT: LogLimit = LogLimit::new();
    if let Some(left_out) = NO_SNAPSHOT.admit() {
        tracing::error!(%error, left_out, "a snapshot can't be taken");
    }
}

/// A row that can't be read is met as often as clients ask for it.
fn tell_of_failure(error: &StorageError, command: &str) {
    static FAILED: LogLimit = LogLimit::new();
    if let Some(left_out) = FAILED.admit() {
        tracing::error!(%error, command, left_out, "a read failed");
    }
}
