//! The core's contract: what an application gives the core, and what it may ask of it.
//!
//! An application has two halves. The event-loop half (`Service`) is called by one thread only; the slow half (`Executor`)
//! owns what one pool thread needs, such as a database connection. Neither sees a socket.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::counters::{Scoreboard, Slot};
use super::input::Input;
use super::listener::{Address, ListenerKind};
use super::outbox::Outbox;
use super::tls::Secured;

/// Names one connection of one worker, for as long as the connection lives and never again: a generation and a slab index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// An index into what `Application::lanes` returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneId(pub usize);

/// A bounded queue and those who run it.
#[derive(Clone, Debug)]
pub struct LaneSpec {
    /// Threads are named `<name>-<number>`.
    pub name: &'static str,
    pub runs: Runs,
    /// Jobs of one worker that are queued or running; further ones wait in the loop, in order.
    pub jobs_max: usize,
    /// Jobs that a thread takes at once.
    pub batch_max: usize,
    /// How much the threads yield to others, 0 to 19.
    pub niceness: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// This many threads in each worker.
    Threads(usize),
    /// One thread in a process of its own, for all workers (with `workers = 0`: one thread).
    Process,
}

/// Builds both halves. Made before the first fork; every process and thread has the same one.
pub trait Application: Send + Sync + 'static {
    type Service: Service<Job = Self::Job, Done = Self::Done>;
    type Executor: Executor<Job = Self::Job, Done = Self::Done>;
    type Job: Send + Wire + 'static;
    type Done: Send + Wire + 'static;

    fn lanes(&self) -> Vec<LaneSpec>;
    /// Called in each worker after fork, once.
    fn service(&self, context: &WorkerContext) -> Result<Self::Service, StartError>;
    /// Called on each pool thread, once, and again after a panic there.
    fn executor(&self, lane: LaneId, context: &ExecutorContext) -> Result<Self::Executor, StartError>;
    /// Bytes for a peer that is turned away because there are too many connections.
    fn turned_away(&self) -> &'static [u8];
    /// Somebody wants files to be read again (SIGHUP). Called by the first process, which reads none: it leaves word for another. False when
    /// there is nothing to be read.
    fn hangup(&self) -> bool {
        false
    }
}

/// What a service may know of where it runs.
#[derive(Clone)]
pub struct WorkerContext {
    pub slot: Slot,
    /// Counts the starts of processes: no two have the same.
    pub incarnation: u64,
    pub scoreboard: Scoreboard,
}

/// What an executor may know of where it runs.
#[derive(Clone)]
pub struct ExecutorContext {
    pub slot: Slot,
    pub scoreboard: Scoreboard,
    /// Number of the thread in its lane.
    pub thread: usize,
}

/// Both ends of an accepted connection.
#[derive(Clone, Debug)]
pub struct Peer {
    pub id: ConnectionId,
    /// Counts the connections of the whole service, from 1.
    pub number: u64,
    pub address: Address,
    pub local: Address,
    pub descriptor: i32,
    /// Over which of the service's listeners it has come, by its place, and what kind of one that is.
    pub listener: usize,
    pub kind: ListenerKind,
    /// The peer is on this machine for certain. Never true of one that a proxy stands for.
    pub is_local: bool,
    /// What TLS has to say of it.
    pub secured: Option<Secured>,
}

/// The event-loop half. One per worker, called by one thread only: no locks, and nothing that waits.
pub trait Service {
    type Session;
    type Job;
    type Done;

    fn open(&mut self, peer: Peer, effects: &mut Effects) -> Self::Session;
    /// Bytes have come, or the connection may go on: consume whole requests from `input`, put replies into `out`.
    fn receive(
        &mut self,
        session: &mut Self::Session,
        input: &mut Input,
        out: &mut Outbox,
        effects: &mut Effects,
    ) -> Step<Self::Job>;
    /// The submitted job was answered.
    fn complete(
        &mut self,
        session: &mut Self::Session,
        done: Self::Done,
        out: &mut Outbox,
        effects: &mut Effects,
    ) -> Step<Self::Job>;
    /// A parked connection was woken, or its time is over.
    fn resume(&mut self, session: &mut Self::Session, out: &mut Outbox, effects: &mut Effects) -> Step<Self::Job>;
    /// What the core keeps for the connection was counted again: what does the service keep for it, and what may it have?
    fn account(&mut self, _session: &mut Self::Session, _kept: &Kept) -> Account {
        Account { bytes: 0, output_bytes_max: usize::MAX, may_be_closed: true, has_idle_timeout: true }
    }
    /// The lane has parked the submitted job. Its answer comes later, by `complete`; until when is it waited for at most? Then the
    /// core cancels it, as it does when `Effects::cancel` asks, or when the peer is gone.
    fn parked(&mut self, _session: &mut Self::Session, _effects: &mut Effects) -> Option<Instant> {
        None
    }
    /// The parked job was cancelled before it was served: it has had no effect and will have none. An answer that crossed the cancel
    /// comes by `complete` instead: there is one outcome, never both.
    fn cancelled(
        &mut self,
        _session: &mut Self::Session,
        _out: &mut Outbox,
        _effects: &mut Effects,
    ) -> Step<Self::Job> {
        Step::Close
    }
    /// The executor of a process lane has something to say that nobody asked for. It comes after the answers that were given
    /// before it, and before those that were given later.
    fn notice(&mut self, _from: LaneId, _notice: &[u8], _effects: &mut Effects) {}
    /// Notices of that lane are lost: this worker did not read them in time, or the executor before this one died with
    /// them. So whatever follows from notices is unknown now. Called at the start of each executor, and before the notice after a gap.
    fn missed_notices(&mut self, _from: LaneId, _effects: &mut Effects) {}
    /// The connection has too much of something, and is about to be closed for that: the operator is to be told.
    fn overrun(&mut self, _session: &mut Self::Session, excess: Excess) {
        tracing::warn!(?excess, "a connection is closed");
    }
    fn close(&mut self, session: Self::Session, effects: &mut Effects);
    /// Another worker sent a message.
    fn hear(&mut self, from: Slot, message: &[u8], effects: &mut Effects);
    /// Another worker is gone: it will answer nothing that was sent to it. All that came from it was heard before.
    fn lost(&mut self, from: Slot, effects: &mut Effects);
    /// A message that was sent to another worker is lost: that one is not there, or has no room for it.
    fn unsent(&mut self, to: Slot, effects: &mut Effects) {
        self.lost(to, effects);
    }
    /// Called about twenty times a second.
    fn tick(&mut self, effects: &mut Effects);
}

/// What a connection does next. The core applies it after the call has returned.
#[derive(Debug, PartialEq)]
pub enum Step<J> {
    /// All whole requests are consumed.
    NeedInput,
    /// There is more to do, but others come first; then `receive` is called again.
    Continue,
    /// The job goes to the lane; `complete` brings its answer. Nothing of the connection's input is looked at until then.
    Submit(LaneId, J),
    /// Nothing happens until `Effects::wake` or the deadline; then `resume`. Without a deadline the connection closes when its peer
    /// stops sending, since that may mean that it is gone.
    Park(Option<Instant>),
    /// The connection closes once its replies are sent.
    Close,
}

/// What the core keeps for one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Received bytes that are not consumed, and the memory that they lie in.
    pub unread: usize,
    pub input: usize,
    /// Reply bytes that are not sent, and the memory that they lie in.
    pub unsent: usize,
    pub output: usize,
    /// What its transport has of its own.
    pub transport: usize,
    /// The job that is on a lane.
    pub job: usize,
}

/// What a service says of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// What it keeps for it beside that.
    pub bytes: usize,
    /// It closes over so many unsent bytes, or at the core's limit.
    pub output_bytes_max: usize,
    /// It closes where all connections together have too much.
    pub may_be_closed: bool,
    /// It closes when nothing has come or left for as long as a connection may be idle.
    pub has_idle_timeout: bool,
}

/// What a connection has more of than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// Received bytes without a whole request.
    Input { bytes: usize },
    /// Replies that its peer does not read.
    Output { bytes: usize },
    /// Nothing: all connections together have too much, and of these it has most.
    All { bytes: usize, all_bytes: u64 },
}

/// What a service wants done beside the connection at hand, applied in order after the call.
#[derive(Debug, Default)]
pub struct Effects {
    pub(super) list: Vec<Effect>,
}

#[derive(Debug)]
pub(super) enum Effect {
    Wake(ConnectionId),
    Cancel(ConnectionId),
    Close(ConnectionId),
    Write(ConnectionId, Bytes),
    Send(Slot, Vec<u8>),
    Drain,
}

impl Effects {
    /// Resumes a parked connection of this worker. Where its job is in flight the wake is remembered: if the connection parks before it
    /// needs input, it is resumed at once.
    pub fn wake(&mut self, id: ConnectionId) {
        self.list.push(Effect::Wake(id));
    }

    /// Asks that the parked job of a connection of this worker is not served any more. `Service::cancelled` tells that it was in
    /// time; `complete`, that it was not.
    pub fn cancel(&mut self, id: ConnectionId) {
        self.list.push(Effect::Cancel(id));
    }

    /// Closes a connection of this worker, whatever it is doing; its unsent replies are tried once.
    pub fn close(&mut self, id: ConnectionId) {
        self.list.push(Effect::Close(id));
    }

    /// Puts bytes into the outbox of a connection of this worker. Where several are sent the same, they share its memory.
    pub fn write(&mut self, id: ConnectionId, bytes: impl Into<Bytes>) {
        self.list.push(Effect::Write(id, bytes.into()));
    }

    /// Sends a message to another worker. It is lost when that worker is gone or does not read; `Service::unsent` tells so.
    pub fn send(&mut self, to: Slot, message: Vec<u8>) {
        self.list.push(Effect::Send(to, message));
    }

    /// Asks the supervisor for an orderly end of everything.
    pub fn drain(&mut self) {
        self.list.push(Effect::Drain);
    }
}

/// Where a job came from, and where its answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskId {
    /// The incarnation of the worker that sent it.
    pub incarnation: u64,
    pub connection: ConnectionId,
    /// The job's number, from a counter shared by all workers: with the incarnation, the job's ticket. On lanes of threads the
    /// incarnation is 0, and the lane counts for itself. Of two parked jobs the one with the smaller number came first.
    pub number: u64,
}

#[derive(Debug)]
pub struct Task<J> {
    pub id: TaskId,
    pub job: J,
}

/// Why a job is answered without having been run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It made its executor panic; what it did is undone.
    Panicked,
    /// It was running when its process died, twice.
    Poisoned,
}

/// Whom a notice is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every worker that is there.
    All,
    /// The worker of this incarnation, if it is still there.
    Worker(u64),
}

/// Where an executor's words go. Each worker hears them in the order in which they were said; nothing overtakes. What depends on a
/// commit is said after it.
pub trait Responder<D> {
    /// The one answer to a task of the batch, or to a parked job.
    fn answer(&mut self, id: TaskId, done: D);
    /// Instead of an answer to a task of the batch: it comes later, from any call that has a responder. Until then a job that can be
    /// cancelled counts nowhere as one in flight. The executor keeps what it needs to serve it. Only on a lane that is `Runs::Process`.
    fn park(&mut self, id: TaskId);
    /// Says something that was not asked for. Nobody waits: a worker that leaves more than `Limits::lane_notice_bytes_max` unread
    /// misses notices, and learns that (`Service::missed_notices`). Only on a lane that is `Runs::Process`.
    fn notify(&mut self, to: Audience, notice: &[u8]);
}

/// What has become of one worker's jobs. An executor that survives its process, such as one with a database, stores it with
/// every commit; then no job is applied twice, and no parked one served twice, whoever dies when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tickets {
    /// The number of the last job that was applied, or parked: jobs up to it are never run again.
    pub applied: u64,
    /// Parked jobs up to `applied` that wait. Without their numbers here their workers would take them for applied ones whose answers
    /// are lost, where they had not heard yet that they are parked.
    pub parked: Vec<u64>,
    /// Parked jobs that were served, and that `Executor::acknowledged` was not called for.
    pub served: Vec<u64>,
}

/// What has become of one job that has no answer yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing: it is to be sent, or sent again.
    NotApplied,
    /// It was parked, and waits.
    Parked,
    /// It was applied, or served, and its answer will not come any more.
    AnswerLost,
}

impl Tickets {
    /// With their numbers in the order in which `fate` looks for them.
    pub(super) fn in_order(mut self) -> Tickets {
        self.parked.sort_unstable();
        self.served.sort_unstable();
        self
    }

    /// Of the job of this number; 0: it was never sent.
    pub(super) fn fate(&self, number: u64) -> Fate {
        let is_listed = |numbers: &[u64]| numbers.binary_search(&number).is_ok();
        if number == 0 || number > self.applied && !is_listed(&self.served) {
            return Fate::NotApplied;
        }
        if is_listed(&self.parked) { Fate::Parked } else { Fate::AnswerLost }
    }
}

/// The slow half: runs jobs on one pool thread.
///
/// Parked jobs: `run` parks them; `cancel` or `forget` ends their waiting, or the executor answers them, after the commit that
/// serves them. An executor that follows another one, which has panicked or died with its process, has none at first: `register` brings those
/// that still wait, of all workers in any order (their numbers tell which came first), and `all_registered` says that there
/// are no more. Until then it must serve none of them, nor give another job what one of them may be waiting for before its turn.
pub trait Executor: Sized {
    type Job;
    type Done;

    /// Answers or parks every task once, each as soon as it is done. It may leave some of the last ones, but not all, for the next batch, where
    /// they come first: those have nothing done and no answer. After a panic, those without an answer are run again one by one, so
    /// whatever they did must be undone by then: an executor that has applied tasks says so in `last_applied`, or answers
    /// them before it does anything that could panic.
    fn run(&mut self, tasks: &[Task<Self::Job>], responder: &mut dyn Responder<Self::Done>);
    /// The answer to a job that will not be run.
    fn refuse(&self, job: &Self::Job, why: Refusal) -> Self::Done;
    /// Ordinary work between batches, in a small step. Returns when to call again if no job comes before.
    fn idle(&mut self, _responder: &mut dyn Responder<Self::Done>) -> Option<Duration> {
        None
    }
    /// How many bytes of jobs the next batch may have; a job that is larger comes alone.
    fn batch_bytes_max(&self) -> usize {
        usize::MAX
    }
    /// The number of the last job applied of this incarnation, also by an executor before this one: such jobs are never run again.
    fn last_applied(&self, _incarnation: u64) -> u64 {
        0
    }
    /// The same with what has become of parked jobs. For an executor that never parks `last_applied` says all.
    fn tickets(&self, incarnation: u64) -> Tickets {
        Tickets { applied: self.last_applied(incarnation), ..Tickets::default() }
    }
    /// A worker is there, and hears notices from now on. On lanes of threads its incarnation is 0.
    fn meet(&mut self, _incarnation: u64) {}
    /// No job of this incarnation will ever come again, and those that are parked are nobody's.
    fn forget(&mut self, _incarnation: u64) {}
    /// A job that was parked by an executor before this one, and still waits.
    fn register(&mut self, _task: &Task<Self::Job>) {}
    /// Every worker that was there at the start has registered its parked jobs, or is gone. Those that can be served may be, at the
    /// latest in `idle`, which follows. Of what an executor before this one had parked nothing else waits any more.
    fn all_registered(&mut self) {}
    /// The parked job must not be served any more. It may be one that the executor does not know, after a panic.
    fn cancel(&mut self, _id: TaskId) {}
    /// The worker has the answer to this parked job: the record that it was served can go.
    fn acknowledged(&mut self, _incarnation: u64, _number: u64) {}
    /// The last work of an orderly end.
    fn finish(&mut self) {}
}

/// A value that crosses a process boundary. The same program is on both sides: no versions, no foreign input.
pub trait Wire: Sized {
    /// About the memory that it takes.
    fn bytes_kept(&self) -> usize {
        0
    }
    /// Of a job: whether its client can end its waiting, once it is parked. One of which this is false is parked because it takes long: its
    /// connection has it in flight until the answer comes, and it is served for whoever has gone as well.
    fn is_cancellable(&self) -> bool {
        true
    }
    /// Appends its bytes to `out`, all but the last ones if those are large: they are returned, to be sent from where they lie. It can
    /// be encoded again.
    fn encode(&mut self, out: &mut Vec<u8>) -> Option<Bytes>;
    /// From all of these bytes; it may keep parts of them. `None` when they were not made by `encode`.
    fn decode(bytes: &Bytes) -> Option<Self>;
}

/// Why a process can't serve; the text is for the operator and names the way out.
#[derive(Debug)]
pub struct StartError(pub Cow<'static, str>);

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

impl StartError {
    pub fn new(text: impl Into<Cow<'static, str>>) -> StartError {
        StartError(text.into())
    }
}
