//! Pool threads: each builds its executor, then takes batches of tasks from a source and answers them there.
//!
//! The same thread body serves both kinds of lane: a `QueueSource` is a worker's own threads, `lane_server::LinkSource` the
//! process that serves all workers. What a panic costs is decided here, for both.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::counters::{Scoreboard, Slot};
use super::service::{
    Application, ConnectionId, Executor, ExecutorContext, LaneId, LaneSpec, Refusal, StartError, Task, TaskId,
};
use super::waker::Waker;
use crate::sys;

/// What a source gave its thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Tasks to run together; or none, when the wait is over.
    Batch,
    /// Tasks that must be run one by one, each noted before it begins.
    OneByOne,
    /// Nothing will come any more.
    End,
}

/// Where a pool thread's tasks come from and its answers go to.
pub(super) trait Source<E: Executor> {
    /// Fills `tasks`, waiting at most so long for the first (`None`: until there is one).
    fn take(&mut self, tasks: &mut Vec<Task<E::Job>>, wait: Option<Duration>, executor: &mut E) -> Taken;
    fn answer(&mut self, id: TaskId, done: E::Done);
    /// The last tasks of a batch, which the executor has left for the next one.
    fn put_back(&mut self, tasks: Vec<Task<E::Job>>);
    /// All tasks of the batch are answered, or put back.
    fn settle(&mut self);
    /// Before and after a task that runs alone; `begin` is false when it must not be run at all.
    fn begin_alone(&mut self, _id: TaskId) -> bool {
        true
    }
    fn end_alone(&mut self) {}
    /// After a panic: these tasks have no answer. One that was applied nevertheless must not be run again, nor be answered as
    /// if nothing had happened.
    fn check_not_applied(&self, _executor: &E, _tasks: &[Task<E::Job>]) {}
}

/// The body of a pool thread. Ends when the source does.
pub(super) fn run<E: Executor>(
    executor: E,
    rebuild: impl FnMut() -> Result<E, StartError>,
    source: &mut impl Source<E>,
) {
    let mut bench = Bench { executor: Some(executor), rebuild };
    let (mut tasks, mut answered) = (Vec::new(), Vec::new());
    let mut wait = bench.idle();
    loop {
        tasks.clear();
        match source.take(&mut tasks, wait, bench.executor()) {
            Taken::End => break,
            Taken::OneByOne => bench.run_one_by_one(source, &tasks),
            Taken::Batch if tasks.is_empty() => {}
            Taken::Batch => {
                answered.clear();
                if !bench.run(source, &tasks, &mut answered) {
                    // One of those without an answer is to blame.
                    tasks.retain(|task| !answered.contains(&task.id));
                    source.check_not_applied(bench.executor(), &tasks);
                    bench.run_one_by_one(source, &tasks);
                } else if answered.len() < tasks.len() {
                    let left = tasks.split_off(answered.len());
                    debug_assert!(!left.iter().any(|task| answered.contains(&task.id)), "the last ones are left");
                    source.put_back(left);
                }
            }
        }
        source.settle();
        wait = bench.idle();
    }
    bench.executor().finish();
}

/// A thread's executor, and how to make it again: one that panicked is not used any more.
struct Bench<E, R> {
    /// `None` only while it is made again.
    executor: Option<E>,
    rebuild: R,
}

/// Idle work that panicked is not tried again at once.
const AFTER_IDLE_PANIC: Duration = Duration::from_secs(1);

impl<E: Executor, R: FnMut() -> Result<E, StartError>> Bench<E, R> {
    fn executor(&mut self) -> &mut E {
        self.executor.as_mut().expect("there is one, but while it is made again")
    }

    /// Runs tasks together. False after a panic; `answered` has those that were answered.
    fn run(&mut self, source: &mut impl Source<E>, tasks: &[Task<E::Job>], answered: &mut Vec<TaskId>) -> bool {
        let executor = self.executor();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            executor.run(tasks, &mut |id, done| {
                answered.push(id);
                source.answer(id, done);
            });
        }));
        if outcome.is_err() {
            self.make_again();
        }
        outcome.is_ok()
    }

    fn run_one_by_one(&mut self, source: &mut impl Source<E>, tasks: &[Task<E::Job>]) {
        for task in tasks {
            if source.begin_alone(task.id) {
                let alone = std::slice::from_ref(task);
                let mut answered = Vec::new();
                let is_sound = self.run(source, alone, &mut answered);
                source.end_alone();
                if !is_sound && answered.is_empty() {
                    source.check_not_applied(self.executor(), alone);
                    source.answer(task.id, self.executor().refuse(&task.job, Refusal::Panicked));
                }
            } else {
                source.answer(task.id, self.executor().refuse(&task.job, Refusal::Poisoned));
            }
            source.settle();
        }
    }

    /// Work between batches. A panic there is no job's fault, and stops no job.
    fn idle(&mut self) -> Option<Duration> {
        let executor = self.executor();
        catch_unwind(AssertUnwindSafe(|| executor.idle())).unwrap_or_else(|_| {
            self.make_again();
            Some(AFTER_IDLE_PANIC)
        })
    }

    /// An executor that can't be made again ends its process, which starts anew.
    fn make_again(&mut self) {
        tracing::error!("a pool thread's executor panicked and is made again");
        // The old one goes first: it may hold what the new one needs, such as a lock on a file.
        self.executor = None;
        self.executor = Some((self.rebuild)().unwrap_or_else(|error| {
            tracing::error!(%error, "an executor can't be made again");
            sys::process::exit_at_once(1)
        }));
    }
}

/// Jobs of one round that stay together even if other threads have nothing to do, where the lane's batches are that large.
const SHARE_MIN: usize = 16;

/// A lane's threads within this process, as their loop sees them.
pub(super) struct Pool<J, D> {
    jobs: Option<Sender<Vec<Task<J>>>>,
    answers: Receiver<(ConnectionId, D)>,
    threads: Vec<JoinHandle<()>>,
    batch_max: usize,
}

impl<J: Send + 'static, D: Send + 'static> Pool<J, D> {
    /// Starts the threads; returns once every one has its executor.
    pub(super) fn start<A>(
        application: &Arc<A>,
        lane: LaneId,
        spec: &LaneSpec,
        place: &Place,
        waker: &Waker,
    ) -> Result<Pool<J, D>, StartError>
    where
        A: Application<Job = J, Done = D>,
    {
        let count = match spec.runs {
            super::service::Runs::Threads(count) => count.max(1),
            super::service::Runs::Process => 1,
        };
        // Both queues hold whatever the lane admits: neither end ever waits to send.
        let (jobs, jobs_end) = bounded::<Vec<Task<J>>>(spec.jobs_max);
        let (answers_end, answers) = bounded(spec.jobs_max);
        let (ready, readies) = bounded(count);
        let mut threads = Vec::new();
        for thread in 0..count {
            let source = QueueSource {
                jobs: jobs_end.clone(),
                answers: answers_end.clone(),
                waker: waker.clone(),
                batch_max: spec.batch_max,
                put_back: Vec::new(),
            };
            let (application, ready, niceness) = (Arc::clone(application), ready.clone(), spec.niceness);
            let context = ExecutorContext { slot: place.slot, scoreboard: place.scoreboard, thread };
            let cpu = place.cpu(thread);
            let handle = std::thread::Builder::new().name(format!("{}-{thread}", spec.name)).spawn(move || {
                let _guard = EndWithThread;
                set_place(cpu, niceness);
                serve_queue(&*application, lane, &context, source, &ready);
            });
            threads.push(handle.map_err(|error| StartError::new(format!("can't start a thread: {error}")))?);
        }
        for _ in 0..count {
            readies.recv().unwrap_or_else(|_| Err(StartError::new("a pool thread died while it started")))?;
        }
        Ok(Pool { jobs: Some(jobs), answers, threads, batch_max: spec.batch_max })
    }

    /// Hands a round's jobs over, in as few hops as there are threads to share them.
    pub(super) fn submit(&mut self, batch: &mut Vec<Task<J>>) {
        // Small batches are not torn apart: another thread's wake-up costs more than a short job.
        let share = batch.len().div_ceil(self.threads.len()).max(SHARE_MIN).min(self.batch_max);
        while !batch.is_empty() {
            let rest = batch.split_off(batch.len().min(share));
            let part = std::mem::replace(batch, rest);
            let jobs = self.jobs.as_ref().expect("jobs are submitted only before the end");
            jobs.try_send(part)
                .unwrap_or_else(|_| unreachable!("the queue holds all that the lane admits, and threads outlive it"));
        }
    }

    /// The next answer that has come. After a ring, to be called until there is none.
    pub(super) fn next_answer(&self) -> Option<(ConnectionId, D)> {
        self.answers.try_recv().ok()
    }
}

impl<J, D> Drop for Pool<J, D> {
    /// The threads finish what they were given, then their executors' last work, and end.
    fn drop(&mut self) {
        drop(self.jobs.take());
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a pool thread panicked outside its executor");
            }
        }
    }
}

/// Where a process's threads run.
pub(super) struct Place {
    pub(super) slot: Slot,
    pub(super) scoreboard: Scoreboard,
    /// The allowed CPUs if each thread is to have one of its own, else empty.
    pub(super) cpus: Vec<usize>,
    /// Number of this process's first pool thread among all threads of the service.
    pub(super) first: usize,
}

impl Place {
    pub(super) fn cpu(&self, thread: usize) -> Option<usize> {
        (!self.cpus.is_empty()).then(|| self.cpus[(self.first + thread) % self.cpus.len()])
    }
}

/// Gives the calling thread its CPU and niceness. What can't be had is said, and the thread runs without.
pub(super) fn set_place(cpu: Option<usize>, niceness: i32) {
    if let Some(Err(error)) = cpu.map(sys::thread::pin_to) {
        tracing::warn!(%error, cpu, "a thread can't be tied to its CPU");
    }
    if niceness != 0
        && let Err(error) = sys::thread::set_niceness(niceness)
    {
        tracing::warn!(%error, niceness, "a thread can't be made nicer");
    }
}

fn serve_queue<A: Application>(
    application: &A,
    lane: LaneId,
    context: &ExecutorContext,
    mut source: QueueSource<A::Job, A::Done>,
    ready: &Sender<Result<(), StartError>>,
) {
    let build = || application.executor(lane, context);
    let (executor, outcome) = match build() {
        Ok(executor) => (Some(executor), Ok(())),
        Err(error) => (None, Err(error)),
    };
    if ready.send(outcome).is_ok()
        && let Some(executor) = executor
    {
        run(executor, build, &mut source);
    }
}

/// A worker's own lane: jobs from a queue, answers to a queue and a ring.
struct QueueSource<J, D> {
    jobs: Receiver<Vec<Task<J>>>,
    answers: Sender<(ConnectionId, D)>,
    waker: Waker,
    batch_max: usize,
    put_back: Vec<Task<J>>,
}

impl<E: Executor> Source<E> for QueueSource<E::Job, E::Done> {
    fn take(&mut self, tasks: &mut Vec<Task<E::Job>>, wait: Option<Duration>, _executor: &mut E) -> Taken {
        if !self.put_back.is_empty() {
            *tasks = std::mem::take(&mut self.put_back);
            return Taken::Batch;
        }
        let first = match wait {
            None => self.jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(time) => self.jobs.recv_timeout(time),
        };
        match first {
            Ok(batch) => {
                *tasks = batch;
                // What came meanwhile goes along: the busier the thread, the larger its batch.
                while tasks.len() < self.batch_max
                    && let Ok(mut more) = self.jobs.try_recv()
                {
                    tasks.append(&mut more);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Taken::End,
        }
        Taken::Batch
    }

    fn answer(&mut self, id: TaskId, done: E::Done) {
        // The queue holds all that the lane admits. With the loop gone nobody waits for the answer.
        if self.answers.try_send((id.connection, done)).is_ok() {
            self.waker.wake();
        }
    }

    fn put_back(&mut self, tasks: Vec<Task<E::Job>>) {
        self.put_back = tasks;
    }

    fn settle(&mut self) {}
}

/// A task of a lane within the process: it has no ticket, since it ends with the process.
pub(super) fn local_task<J>(connection: ConnectionId, job: J) -> Task<J> {
    Task { id: TaskId { incarnation: 0, connection, number: 0 }, job }
}

/// Starts the thread of a process lane; the caller joins it.
pub(super) fn spawn_named(name: String, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name).spawn(move || {
        let _guard = EndWithThread;
        body();
    })
}

/// A thread that panics outside its executor's work takes its process with it, which is started anew: jobs that nobody runs
/// would be waited for, for ever.
struct EndWithThread;

impl Drop for EndWithThread {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a pool thread panicked outside its executor");
            sys::process::exit_at_once(1);
        }
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
