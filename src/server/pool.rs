//! Pool threads: each builds its executor, then takes batches of tasks from a source and answers them there.
//!
//! The same thread body serves both kinds of lane: a `QueueSource` is a worker's own threads, `lane_server::LinkSource` the
//! process that serves all workers. What a panic costs is decided here, for both.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

use super::arrived::Arrived;
use super::config::Limits;
use super::counters::{Scoreboard, Slot};
use super::service::{
    Application, Audience, ConnectionId, Executor, ExecutorContext, LaneId, LaneSpec, Refusal, Responder, Runs,
    StartError, Task, TaskId, Wire,
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
    /// True when it answers a task of the batch, and not a parked job.
    fn answer(&mut self, id: TaskId, done: E::Done) -> bool;
    /// A task of this batch.
    fn park(&mut self, id: TaskId, batch: &[Task<E::Job>]);
    fn notify(&mut self, to: Audience, notice: &[u8]);
    /// An executor begins, or begins anew: it is to hear which workers there are and which jobs are parked.
    fn introduce(&mut self, _executor: &mut E) {}
    /// The executor is done with these tasks: those that it has parked are taken out, where this process has to keep them.
    fn keep_parked(&mut self, _tasks: &mut Vec<Task<E::Job>>) {}
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
    let (mut tasks, mut settled) = (Vec::new(), Vec::new());
    source.introduce(bench.executor());
    let mut wait = bench.idle(source);
    loop {
        tasks.clear();
        match source.take(&mut tasks, wait, bench.executor()) {
            Taken::End => break,
            Taken::OneByOne => bench.run_one_by_one(source, &mut tasks),
            Taken::Batch if tasks.is_empty() => {}
            Taken::Batch => {
                settled.clear();
                if bench.run(source, &tasks, &mut settled) {
                    if settled.len() < tasks.len() {
                        let left = tasks.split_off(settled.len());
                        debug_assert!(!left.iter().any(|task| settled.contains(&task.id)), "the last ones are left");
                        source.put_back(left);
                    }
                    source.keep_parked(&mut tasks);
                } else {
                    source.keep_parked(&mut tasks);
                    source.introduce(bench.executor());
                    // One of those without an answer is to blame.
                    tasks.retain(|task| !settled.contains(&task.id));
                    source.check_not_applied(bench.executor(), &tasks);
                    bench.run_one_by_one(source, &mut tasks);
                }
            }
        }
        source.settle();
        wait = bench.idle(source);
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

    /// Runs tasks together. False after a panic: then there is a new executor, which knows nothing yet. `settled` has those that were
    /// answered or parked.
    fn run<S: Source<E>>(&mut self, source: &mut S, tasks: &[Task<E::Job>], settled: &mut Vec<TaskId>) -> bool {
        let executor = self.executor();
        let mut desk = Desk { source, tasks, settled, has_spoken: false };
        let outcome = catch_unwind(AssertUnwindSafe(|| executor.run(tasks, &mut desk)));
        if outcome.is_err() {
            self.make_again();
        }
        outcome.is_ok()
    }

    fn run_one_by_one(&mut self, source: &mut impl Source<E>, tasks: &mut Vec<Task<E::Job>>) {
        let mut alone = Vec::with_capacity(1);
        for task in tasks.drain(..) {
            let id = task.id;
            if source.begin_alone(id) {
                alone.push(task);
                let mut settled = Vec::new();
                let is_sound = self.run(source, &alone, &mut settled);
                source.end_alone();
                source.keep_parked(&mut alone);
                if !is_sound {
                    source.introduce(self.executor());
                }
                if let (false, true, [task]) = (is_sound, settled.is_empty(), &alone[..]) {
                    source.check_not_applied(self.executor(), &alone);
                    source.answer(id, self.executor().refuse(&task.job, Refusal::Panicked));
                }
                alone.clear();
            } else {
                source.answer(id, self.executor().refuse(&task.job, Refusal::Poisoned));
            }
            source.settle();
        }
    }

    /// Work between batches. A panic there is no job's fault, and stops no job.
    fn idle<S: Source<E>>(&mut self, source: &mut S) -> Option<Duration> {
        let executor = self.executor();
        let mut settled = Vec::new();
        let mut desk: Desk<'_, E, S> = Desk { source, tasks: &[], settled: &mut settled, has_spoken: false };
        let outcome = catch_unwind(AssertUnwindSafe(|| executor.idle(&mut desk)));
        let has_spoken = desk.has_spoken;
        let wait = outcome.unwrap_or_else(|_| {
            self.make_again();
            source.introduce(self.executor());
            Some(AFTER_IDLE_PANIC)
        });
        if has_spoken {
            source.settle();
        }
        wait
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

/// What an executor speaks to during one call.
struct Desk<'a, E: Executor, S> {
    source: &'a mut S,
    tasks: &'a [Task<E::Job>],
    settled: &'a mut Vec<TaskId>,
    has_spoken: bool,
}

impl<E: Executor, S: Source<E>> Responder<E::Done> for Desk<'_, E, S> {
    fn answer(&mut self, id: TaskId, done: E::Done) {
        self.has_spoken = true;
        if self.source.answer(id, done) {
            self.settled.push(id);
        }
    }

    fn park(&mut self, id: TaskId) {
        self.has_spoken = true;
        self.settled.push(id);
        self.source.park(id, self.tasks);
    }

    fn notify(&mut self, to: Audience, notice: &[u8]) {
        self.has_spoken = true;
        self.source.notify(to, notice);
    }
}

/// Jobs of one round that stay together even if other threads have nothing to do, where the lane's batches are that large.
const SHARE_MIN: usize = 16;

/// A lane's threads within this process, as their loop sees them.
pub(super) struct Pool<J, D> {
    orders: Option<Sender<Order<J>>>,
    arrived: Receiver<Arrived<D>>,
    /// Of the notices in `arrived`.
    notice_bytes: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
    batch_max: usize,
}

/// What a loop wants of its threads.
pub(super) enum Order<J> {
    Run(Vec<Task<J>>),
    /// The parked job is not wanted any more.
    Cancel(TaskId),
}

impl<J: Send + 'static, D: Send + 'static> Pool<J, D> {
    /// Starts the threads; returns once every one has its executor.
    pub(super) fn start<A>(
        application: &Arc<A>,
        lane: LaneId,
        spec: &LaneSpec,
        place: &Place,
        waker: &Waker,
        limits: &Limits,
    ) -> Result<Pool<J, D>, StartError>
    where
        A: Application<Job = J, Done = D>,
    {
        // Both queues hold whatever the lane admits: neither end ever waits to send. Where jobs may be parked the queues have no bound of
        // their own, but there is one for what they hold: a parked job is answered once and cancelled once, and there is one of each
        // connection; notices have a bound in bytes.
        let (count, (orders, orders_end), (arrived_end, arrived)) = match spec.runs {
            Runs::Threads(count) => (count.max(1), bounded(spec.jobs_max), bounded(spec.jobs_max)),
            Runs::Process => (1, unbounded(), unbounded()),
        };
        let notice_bytes = Arc::new(AtomicUsize::new(0));
        let (ready, readies) = bounded(count);
        let mut threads = Vec::new();
        for thread in 0..count {
            let notices = (spec.runs == Runs::Process)
                .then(|| NoticeBound { unread: Arc::clone(&notice_bytes), bytes_max: limits.lane_notice_bytes_max });
            let source =
                QueueSource::new(orders_end.clone(), arrived_end.clone(), waker.clone(), spec.batch_max, notices);
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
        Ok(Pool { orders: Some(orders), arrived, notice_bytes, threads, batch_max: spec.batch_max })
    }

    /// Hands a round's jobs over, in as few hops as there are threads to share them.
    pub(super) fn submit(&mut self, batch: &mut Vec<Task<J>>) {
        // Small batches are not torn apart: another thread's wake-up costs more than a short job.
        let share = batch.len().div_ceil(self.threads.len()).max(SHARE_MIN).min(self.batch_max);
        while !batch.is_empty() {
            let rest = batch.split_off(batch.len().min(share));
            let part = std::mem::replace(batch, rest);
            self.order(Order::Run(part));
        }
    }

    /// The parked job is not wanted any more: either its answer comes, or the word that it is cancelled.
    pub(super) fn cancel(&mut self, connection: ConnectionId, number: u64) {
        self.order(Order::Cancel(TaskId { incarnation: 0, connection, number }));
    }

    fn order(&self, order: Order<J>) {
        let orders = self.orders.as_ref().expect("orders are given only before the end");
        orders
            .try_send(order)
            .unwrap_or_else(|_| unreachable!("the queue holds all that the lane admits, and threads outlive it"));
    }

    /// The next thing that has come. After a ring, to be called until there is none.
    pub(super) fn next_arrived(&self) -> Option<Arrived<D>> {
        let arrived = self.arrived.try_recv().ok()?;
        if let Arrived::Notice(notice) = &arrived {
            self.notice_bytes.fetch_sub(notice.len(), Ordering::Relaxed);
        }
        Some(arrived)
    }
}

impl<J, D> Drop for Pool<J, D> {
    /// The threads finish what they were given, then their executors' last work, and end.
    fn drop(&mut self) {
        drop(self.orders.take());
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

/// A worker's own lane: orders from a queue, answers to a queue and a ring.
struct QueueSource<J, D> {
    orders: Receiver<Order<J>>,
    arrived: Sender<Arrived<D>>,
    waker: Waker,
    batch_max: usize,
    put_back: Vec<Task<J>>,
    /// `Some` when the lane's executor may park jobs and give notices.
    notices: Option<NoticeBound>,
    /// Jobs that wait for their answer, by number; `None` while the task is still in the batch.
    parked: BTreeMap<u64, Option<Task<J>>>,
    has_new_parked: bool,
    /// Answers to parked jobs that are in the loop's queue, which nothing but the end of both takes away.
    acknowledged: Vec<u64>,
    /// True from the first notice that was dropped until one is given again.
    is_missing: bool,
}

struct NoticeBound {
    /// Bytes of the notices in the loop's queue.
    unread: Arc<AtomicUsize>,
    bytes_max: usize,
}

impl<J, D> QueueSource<J, D> {
    fn new(
        orders: Receiver<Order<J>>,
        arrived: Sender<Arrived<D>>,
        waker: Waker,
        batch_max: usize,
        notices: Option<NoticeBound>,
    ) -> QueueSource<J, D> {
        QueueSource {
            orders,
            arrived,
            waker,
            batch_max,
            put_back: Vec::new(),
            notices,
            parked: BTreeMap::new(),
            has_new_parked: false,
            acknowledged: Vec::new(),
            is_missing: false,
        }
    }

    fn say(&self, what: Arrived<D>) {
        // The queue holds all that the lane admits. With the loop gone nobody waits for the answer.
        if self.arrived.try_send(what).is_ok() {
            self.waker.wake();
        }
    }

    fn obey<E: Executor<Job = J>>(&mut self, order: Order<J>, tasks: &mut Vec<Task<J>>, executor: &mut E) {
        match order {
            Order::Run(mut more) if !tasks.is_empty() => tasks.append(&mut more),
            Order::Run(first) => *tasks = first,
            Order::Cancel(id) => {
                // Else it was answered before.
                if self.parked.remove(&id.number).is_some() {
                    executor.cancel(id);
                    self.say(Arrived::Cancelled(id.connection));
                }
            }
        }
    }
}

impl<E: Executor> Source<E> for QueueSource<E::Job, E::Done>
where
    E::Job: Wire,
{
    fn take(&mut self, tasks: &mut Vec<Task<E::Job>>, wait: Option<Duration>, executor: &mut E) -> Taken {
        self.acknowledged.drain(..).for_each(|number| executor.acknowledged(0, number));
        if !self.put_back.is_empty() {
            *tasks = std::mem::take(&mut self.put_back);
            return Taken::Batch;
        }
        let first = match wait {
            None => self.orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(time) => self.orders.recv_timeout(time),
        };
        match first {
            Ok(order) => {
                self.obey(order, tasks, executor);
                // What came meanwhile goes along: the busier the thread, the larger its batch.
                while tasks.len() < self.batch_max
                    && let Ok(order) = self.orders.try_recv()
                {
                    self.obey(order, tasks, executor);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Taken::End,
        }
        Taken::Batch
    }

    fn answer(&mut self, id: TaskId, done: E::Done) -> bool {
        if self.parked.remove(&id.number).is_none() {
            self.say(Arrived::Answer(id.connection, done));
            return true;
        }
        self.acknowledged.push(id.number);
        self.say(Arrived::ParkedAnswer(id.connection, done));
        false
    }

    fn park(&mut self, id: TaskId, batch: &[Task<E::Job>]) {
        assert!(self.notices.is_some(), "only the executor of a process lane parks jobs");
        self.parked.insert(id.number, None);
        self.has_new_parked = true;
        let is_cancellable = batch.iter().any(|task| task.id == id && task.job.is_cancellable());
        let parked = if is_cancellable { Arrived::Parked } else { Arrived::Lasting };
        self.say(parked(id.connection, id.number));
    }

    fn notify(&mut self, to: Audience, notice: &[u8]) {
        let bound = self.notices.as_ref().expect("only the executor of a process lane gives notices");
        if !matches!(to, Audience::All | Audience::Worker(0)) {
            return;
        }
        let unread = bound.unread.load(Ordering::Relaxed);
        match Admission::of(unread, notice.len(), bound.bytes_max, &mut self.is_missing) {
            Admission::Say => {
                bound.unread.fetch_add(notice.len(), Ordering::Relaxed);
                self.say(Arrived::Notice(Bytes::copy_from_slice(notice)));
            }
            Admission::BeginGap => self.say(Arrived::Missed),
            Admission::Drop => {}
        }
    }

    fn introduce(&mut self, executor: &mut E) {
        executor.meet(0);
        let served = executor.tickets(0).served;
        for number in served {
            // It was served by the executor before this one, which panicked before it answered.
            if let Some(Some(task)) = self.parked.remove(&number) {
                self.say(Arrived::ParkedLost(task.id.connection));
            }
            executor.acknowledged(0, number);
        }
        self.parked.values().flatten().for_each(|task| executor.register(task));
        if self.notices.is_some() {
            self.say(Arrived::Missed);
        }
        executor.all_registered();
    }

    fn keep_parked(&mut self, tasks: &mut Vec<Task<E::Job>>) {
        if !std::mem::take(&mut self.has_new_parked) {
            return;
        }
        for task in std::mem::take(tasks) {
            match self.parked.get_mut(&task.id.number) {
                Some(place @ None) => *place = Some(task),
                _ => tasks.push(task),
            }
        }
    }

    fn put_back(&mut self, tasks: Vec<Task<E::Job>>) {
        self.put_back = tasks;
    }

    fn settle(&mut self) {}
}

/// What becomes of a notice, by how many bytes wait to be read already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Say,
    /// It is the first one that is dropped: that is said in its place.
    BeginGap,
    Drop,
}

impl Admission {
    /// After a gap notices go on once half of the bound is free: a reader that stays at its bound has one gap and not many. One alone may
    /// be of any size.
    pub(super) fn of(unread: usize, bytes: usize, bytes_max: usize, is_missing: &mut bool) -> Admission {
        let limit = if *is_missing { bytes_max / 2 } else { bytes_max };
        let has_room = unread == 0 || unread + bytes <= limit;
        match (has_room, std::mem::replace(is_missing, !has_room)) {
            (true, _) => Admission::Say,
            (false, false) => Admission::BeginGap,
            (false, true) => Admission::Drop,
        }
    }
}

/// A task of a lane within the process: its number is no ticket, since it ends with the process.
pub(super) fn local_task<J>(connection: ConnectionId, number: u64, job: J) -> Task<J> {
    Task { id: TaskId { incarnation: 0, connection, number }, job }
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
