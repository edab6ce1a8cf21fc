//! Drives an application without sockets, processes or threads: a test chooses what happens when.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use super::arrived::Arrived;
use super::counters::{Scoreboard, Slot};
use super::input::Input;
use super::listener::{Address, ListenerKind};
use super::outbox::Outbox;
use super::service::{
    Application, Audience, ConnectionId, Effect, Effects, Executor, ExecutorContext, Fate, LaneId, Peer, Responder,
    Service, StartError, Step, Task, TaskId, Tickets, Wire, WorkerContext,
};

/// One worker's service and one executor of each lane, stepped by hand.
pub struct Pump<A: Application> {
    service: A::Service,
    lanes: Vec<Lane<A>>,
    context: ExecutorContext,
    connections: Vec<Option<Pumped<<A::Service as Service>::Session>>>,
    /// Messages that the service sent to other workers.
    pub sent: Vec<(Slot, Vec<u8>)>,
    pub is_draining: bool,
    /// How often the service gave way to other connections.
    pub turns: u64,
    jobs: u64,
}

struct Lane<A: Application> {
    executor: A::Executor,
    said: Said<A>,
    /// Submitted jobs, oldest first.
    queue: VecDeque<Task<A::Job>>,
    /// On their way to the executor.
    cancels: Vec<TaskId>,
    /// What a worker knows of its jobs, where the executor is to die with words that nobody has heard.
    ledger: Option<Ledger>,
}

/// Jobs as a `ProcessLane` keeps them, by number: as bytes.
#[derive(Default)]
struct Ledger {
    in_flight: BTreeMap<u64, (ConnectionId, Bytes)>,
    /// Those of which it was heard that they are parked.
    parked: BTreeMap<u64, (ConnectionId, Bytes)>,
    /// Of these a new executor has not been told yet.
    unregistered: BTreeSet<u64>,
    /// Of these nobody waits for an answer any more.
    cancelled: BTreeSet<u64>,
}

/// What the executor has said.
struct Said<A: Application> {
    /// Jobs of the batch that can't be cancelled.
    lasting: BTreeSet<u64>,
    /// On its way to the service.
    arrived: VecDeque<Arrived<A::Done>>,
    /// Jobs that wait for their answer, by number; `None` while the task is still in the batch.
    parked: BTreeMap<u64, Option<Task<A::Job>>>,
    /// Tasks of the batch that were answered or parked.
    settled: usize,
}

impl<A: Application> Responder<A::Done> for Said<A> {
    fn answer(&mut self, id: TaskId, done: A::Done) {
        let was_parked = self.parked.remove(&id.number).is_some();
        self.settled += usize::from(!was_parked);
        let answer = if was_parked { Arrived::ParkedAnswer } else { Arrived::Answer };
        self.arrived.push_back(answer(id.connection, done));
    }

    fn park(&mut self, id: TaskId) {
        self.settled += 1;
        self.parked.insert(id.number, None);
        let parked = if self.lasting.contains(&id.number) { Arrived::Lasting } else { Arrived::Parked };
        self.arrived.push_back(parked(id.connection, id.number));
    }

    fn notify(&mut self, to: Audience, notice: &[u8]) {
        if matches!(to, Audience::All | Audience::Worker(INCARNATION)) {
            self.arrived.push_back(Arrived::Notice(Bytes::copy_from_slice(notice)));
        }
    }
}

/// The only worker's.
const INCARNATION: u64 = 1;

struct Pumped<S> {
    session: S,
    input: Input,
    out: Outbox,
    /// What has left the outbox, as it does at the end of each round.
    sent: Vec<u8>,
    state: State,
    /// A wake came while its job was in flight.
    was_woken: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    InFlight,
    Parked { has_deadline: bool },
    Waiting { lane: usize, number: u64, has_deadline: bool },
    Closing,
}

impl<A: Application> Pump<A> {
    pub fn new(application: &A, scoreboard: Scoreboard) -> Result<Pump<A>, StartError> {
        let lanes = application.lanes();
        // Process lanes first, as in a real start.
        let mut order: Vec<usize> = (0..lanes.len()).collect();
        order.sort_by_key(|&lane| lanes[lane].runs != super::service::Runs::Process);
        let context = ExecutorContext { slot: Slot(0), scoreboard, thread: 0 };
        let mut executors: Vec<Option<A::Executor>> = lanes.iter().map(|_| None).collect();
        for lane in order {
            executors[lane] = Some(application.executor(LaneId(lane), &context)?);
        }
        let service = application.service(&WorkerContext { slot: Slot(0), incarnation: INCARNATION, scoreboard })?;
        let lane_of = |mut executor: A::Executor| {
            executor.meet(INCARNATION);
            executor.all_registered();
            let said = Said { arrived: VecDeque::new(), parked: BTreeMap::new(), settled: 0, lasting: BTreeSet::new() };
            Lane { executor, said, queue: VecDeque::new(), cancels: Vec::new(), ledger: None }
        };
        Ok(Pump {
            service,
            lanes: executors.into_iter().flatten().map(lane_of).collect(),
            context,
            connections: Vec::new(),
            sent: Vec::new(),
            is_draining: false,
            turns: 0,
            jobs: 0,
        })
    }

    /// A new connection; its number is used in the other calls.
    pub fn connect(&mut self) -> usize {
        let index = self.connections.len();
        let id = ConnectionId(index as u64);
        let address = Address::from(SocketAddr::from(([127, 0, 0, 1], 50_000)));
        let (number, listener, kind) = (index as u64 + 1, 0, ListenerKind::Tcp);
        let (local, is_local, secured) = (address.clone(), true, None);
        let peer = Peer { id, number, address, local, descriptor: 8, listener, kind, is_local, secured };
        let mut effects = Effects::default();
        let session = self.service.open(peer, &mut effects);
        let (input, out) = (Input::default(), Outbox::default());
        let pumped = Pumped { session, input, out, sent: Vec::new(), state: State::Open, was_woken: false };
        self.connections.push(Some(pumped));
        self.apply(effects);
        index
    }

    /// Bytes from the peer, handled as far as they can be without a lane.
    pub fn receive(&mut self, connection: usize, bytes: &[u8]) {
        if let Some(pumped) = &mut self.connections[connection] {
            pumped.input.extend(bytes);
        }
        self.go_on(connection);
    }

    /// The bytes for the peer since the last call.
    pub fn sent_to(&mut self, connection: usize) -> Vec<u8> {
        let Some(pumped) = &mut self.connections[connection] else { return Vec::new() };
        let mut sent = std::mem::take(&mut pumped.sent);
        sent.append(&mut pumped.out.take());
        sent
    }

    #[must_use]
    pub fn is_open(&self, connection: usize) -> bool {
        self.connections[connection].as_ref().is_some_and(|pumped| pumped.state != State::Closing)
    }

    /// Whether it was not closed, or was not asked to go.
    #[must_use]
    pub fn is_there(&self, connection: usize) -> bool {
        self.connections[connection].is_some()
    }

    /// Whether its job is parked, as far as it has heard.
    #[must_use]
    pub fn is_waiting(&self, connection: usize) -> bool {
        self.connections[connection].as_ref().is_some_and(|pumped| matches!(pumped.state, State::Waiting { .. }))
    }

    /// What an executor has said and nobody has heard.
    #[must_use]
    pub fn unheard(&self, lane: LaneId) -> usize {
        self.lanes[lane.0].said.arrived.len()
    }

    /// Jobs that wait in a lane.
    #[must_use]
    pub fn queued(&self, lane: LaneId) -> usize {
        self.lanes[lane.0].queue.len()
    }

    /// Jobs that a lane has parked, and that are neither answered nor cancelled.
    #[must_use]
    pub fn parked(&self, lane: LaneId) -> usize {
        self.lanes[lane.0].said.parked.len()
    }

    /// Runs at most `count` jobs of a lane as one batch, and delivers what its executor says. Returns how many ran.
    pub fn run_lane(&mut self, lane: LaneId, count: usize) -> usize {
        let count = self.work(lane, count);
        self.deliver(lane, usize::MAX);
        count
    }

    /// The same, but what the executor says stays on its way until `deliver`. Cancels that are on their way come first.
    pub fn work(&mut self, lane: LaneId, count: usize) -> usize {
        let Lane { executor, said, queue, cancels, ledger } = &mut self.lanes[lane.0];
        cancels.retain(|&id| {
            // Else it was answered before, or comes behind its registration.
            if said.parked.remove(&id.number).is_some() {
                executor.cancel(id);
                said.arrived.push_back(Arrived::Cancelled(id.connection));
                return false;
            }
            ledger.as_ref().is_some_and(|ledger| ledger.unregistered.contains(&id.number))
        });
        let mut tasks: Vec<Task<A::Job>> = queue.drain(..count.min(queue.len())).collect();
        if tasks.is_empty() {
            return 0;
        }
        said.settled = 0;
        said.lasting.extend(tasks.iter().filter(|task| !task.job.is_cancellable()).map(|task| task.id.number));
        executor.run(&tasks, said);
        said.lasting.clear();
        tasks.drain(said.settled..).rev().for_each(|task| queue.push_front(task));
        for task in tasks {
            if let Some(place @ None) = said.parked.get_mut(&task.id.number) {
                *place = Some(task);
            }
        }
        said.settled
    }

    /// Brings the service at most `count` of the things that an executor has said. Returns how many there were.
    pub fn deliver(&mut self, lane: LaneId, count: usize) -> usize {
        let count = count.min(self.lanes[lane.0].said.arrived.len());
        for _ in 0..count {
            let Lane { said, ledger, executor, .. } = &mut self.lanes[lane.0];
            let one = said.arrived.pop_front().expect("counted");
            if let Some(number) = ledger.as_mut().and_then(|ledger| ledger.hear(&one)) {
                executor.acknowledged(INCARNATION, number);
            }
            self.hear_lane(lane, one);
        }
        count
    }

    /// From now on the lane's executor can be lost: before its first job.
    pub fn may_lose_executor(&mut self, lane: LaneId) {
        self.lanes[lane.0].ledger = Some(Ledger::default());
    }

    /// The executor dies with all that it has said and nobody has heard: between batches, or, `in_batch`, where the next one panics, if it
    /// does. Another one takes its place, and jobs are sorted out as a `ProcessLane` does it. Parked ones are registered by `register`.
    pub fn lose_executor(&mut self, application: &A, lane: LaneId, in_batch: bool) -> Result<(), StartError> {
        let Lane { mut executor, mut said, queue, ledger, .. } = self.lanes.remove(lane.0);
        let tasks: Vec<Task<A::Job>> = queue.into();
        if in_batch && !tasks.is_empty() {
            // Whether it has died or ended its batch: nobody hears of it.
            drop(catch_unwind(AssertUnwindSafe(|| executor.run(&tasks, &mut said))));
        }
        drop((executor, tasks));
        let mut executor = application.executor(lane, &self.context)?;
        executor.meet(INCARNATION);
        let mut ledger = ledger.expect("`may_lose_executor` was called");
        let mut said = Said { arrived: VecDeque::new(), parked: BTreeMap::new(), settled: 0, lasting: BTreeSet::new() };
        let again = ledger.sort_out(&executor.tickets(INCARNATION).in_order(), &mut executor, &mut said.arrived);
        said.arrived.push_back(Arrived::Missed);
        self.lanes.insert(lane.0, Lane { executor, said, queue: again, cancels: Vec::new(), ledger: Some(ledger) });
        // These words are the worker's own.
        self.deliver(lane, usize::MAX);
        Ok(())
    }

    /// Parked jobs that a new executor has not been told of.
    #[must_use]
    pub fn unregistered(&self, lane: LaneId) -> usize {
        self.lanes[lane.0].ledger.as_ref().map_or(0, |ledger| ledger.unregistered.len())
    }

    /// Tells a new executor of one of them, by its place among them; behind the last that there are no more.
    pub fn register(&mut self, lane: LaneId, place: usize) {
        let Lane { executor, said, ledger, .. } = &mut self.lanes[lane.0];
        let ledger = ledger.as_mut().expect("`may_lose_executor` was called");
        if let Some(number) = ledger.unregistered.iter().nth(place).copied() {
            ledger.unregistered.remove(&number);
            let (connection, bytes) = &ledger.parked[&number];
            let task = task(number, *connection, bytes);
            executor.register(&task);
            said.parked.insert(number, Some(task));
        }
        if ledger.unregistered.is_empty() {
            executor.all_registered();
        }
    }

    /// The executor dies, after all that it had said was heard, and another one takes its place: parked jobs are registered with it.
    pub fn replace_executor(&mut self, application: &A, lane: LaneId) -> Result<(), StartError> {
        self.deliver(lane, usize::MAX);
        let Lane { executor, said, cancels, .. } = &mut self.lanes[lane.0];
        *executor = application.executor(lane, &self.context)?;
        executor.meet(INCARNATION);
        for id in cancels.drain(..) {
            if said.parked.remove(&id.number).is_some() {
                said.arrived.push_back(Arrived::Cancelled(id.connection));
            }
        }
        said.arrived.push_back(Arrived::Missed);
        said.parked.values().flatten().for_each(|task| executor.register(task));
        executor.all_registered();
        Ok(())
    }

    fn hear_lane(&mut self, lane: LaneId, one: Arrived<A::Done>) {
        let mut effects = Effects::default();
        match one {
            Arrived::Notice(notice) => {
                self.service.notice(lane, &notice, &mut effects);
                self.apply(effects);
            }
            Arrived::Missed => {
                self.service.missed_notices(lane, &mut effects);
                self.apply(effects);
            }
            Arrived::Lasting(..) => {}
            Arrived::Parked(id, number) => {
                let Some(pumped) = &mut self.connections[id.0 as usize] else {
                    return self.cancel_at(lane.0, id, number);
                };
                let until = self.service.parked(&mut pumped.session, &mut effects);
                pumped.state = State::Waiting { lane: lane.0, number, has_deadline: until.is_some() };
                self.apply(effects);
            }
            Arrived::Answer(id, done) | Arrived::ParkedAnswer(id, done) => {
                let connection = id.0 as usize;
                let Some(pumped) = &mut self.connections[connection] else { return };
                pumped.state = State::Open;
                let step = self.service.complete(&mut pumped.session, done, &mut pumped.out, &mut effects);
                self.after(connection, step, effects);
            }
            Arrived::Cancelled(id) => {
                let connection = id.0 as usize;
                let Some(pumped) = &mut self.connections[connection] else { return };
                pumped.state = State::Open;
                let step = self.service.cancelled(&mut pumped.session, &mut pumped.out, &mut effects);
                self.after(connection, step, effects);
            }
            Arrived::AnswerLost(id) | Arrived::ParkedLost(id) => self.disconnect(id.0 as usize),
        }
    }

    /// Runs all lanes until nothing is queued.
    pub fn settle(&mut self) {
        while (0..self.lanes.len()).map(|lane| self.run_lane(LaneId(lane), usize::MAX)).sum::<usize>() > 0 {}
    }

    /// Sends, settles, and returns the reply bytes.
    pub fn call(&mut self, connection: usize, bytes: &[u8]) -> Vec<u8> {
        self.receive(connection, bytes);
        self.settle();
        self.sent_to(connection)
    }

    /// One step of a lane's work between batches.
    pub fn idle(&mut self, lane: LaneId) {
        // When it wants to be called again is the test's to decide.
        let Lane { executor, said, .. } = &mut self.lanes[lane.0];
        executor.idle(said);
        self.deliver(lane, usize::MAX);
    }

    /// A message from another worker.
    pub fn hear(&mut self, from: Slot, message: &[u8]) {
        let mut effects = Effects::default();
        self.service.hear(from, message, &mut effects);
        self.apply(effects);
    }

    /// Another worker is gone.
    pub fn lose(&mut self, from: Slot) {
        let mut effects = Effects::default();
        self.service.lost(from, &mut effects);
        self.apply(effects);
    }

    /// A message to another worker is lost.
    pub fn cannot_send(&mut self, to: Slot) {
        let mut effects = Effects::default();
        self.service.unsent(to, &mut effects);
        self.apply(effects);
    }

    /// The deadline of a parked connection, or of its parked job, has come, if it has one. True when it was resumed, or a cancel is on
    /// its way.
    pub fn expire(&mut self, connection: usize) -> bool {
        match self.connections[connection].as_ref().map(|pumped| pumped.state) {
            Some(State::Parked { has_deadline: true }) => self.wake(connection),
            Some(State::Waiting { has_deadline: true, .. }) => self.cancel(connection),
            _ => return false,
        }
        true
    }

    pub fn tick(&mut self) {
        let mut effects = Effects::default();
        self.service.tick(&mut effects);
        self.apply(effects);
    }

    pub fn disconnect(&mut self, connection: usize) {
        self.cancel(connection);
        if let Some(pumped) = self.connections[connection].take() {
            let mut effects = Effects::default();
            self.service.close(pumped.session, &mut effects);
            self.apply(effects);
        }
    }

    /// Calls the service until it needs more input, or waits for something else.
    fn go_on(&mut self, connection: usize) {
        loop {
            let Some(pumped) = &mut self.connections[connection] else { return };
            if pumped.state != State::Open {
                return;
            }
            let mut effects = Effects::default();
            let step = self.service.receive(&mut pumped.session, &mut pumped.input, &mut pumped.out, &mut effects);
            let needs_input = matches!(step, Step::NeedInput);
            self.act(connection, step, effects);
            if needs_input {
                return;
            }
        }
    }

    fn after(&mut self, connection: usize, step: Step<A::Job>, effects: Effects) {
        self.act(connection, step, effects);
        self.go_on(connection);
    }

    fn act(&mut self, connection: usize, step: Step<A::Job>, mut effects: Effects) {
        if let Some(pumped) = &mut self.connections[connection] {
            match step {
                Step::NeedInput => pumped.was_woken = false,
                Step::Continue => {
                    self.turns += 1;
                    pumped.sent.append(&mut pumped.out.take());
                }
                Step::Park(until) => {
                    pumped.state = State::Parked { has_deadline: until.is_some() };
                    if std::mem::take(&mut pumped.was_woken) {
                        effects.wake(ConnectionId(connection as u64));
                    }
                }
                Step::Close => pumped.state = State::Closing,
                Step::Submit(LaneId(lane), job) => {
                    pumped.state = State::InFlight;
                    self.jobs += 1;
                    let id = TaskId {
                        incarnation: INCARNATION,
                        connection: ConnectionId(connection as u64),
                        number: self.jobs,
                    };
                    let Lane { queue, ledger, .. } = &mut self.lanes[lane];
                    let mut job = job;
                    if let Some(ledger) = ledger {
                        ledger.in_flight.insert(id.number, (id.connection, encoded(&mut job)));
                    }
                    queue.push_back(Task { id, job });
                }
            }
        }
        self.apply(effects);
    }

    fn apply(&mut self, effects: Effects) {
        for effect in effects.list {
            match effect {
                Effect::Send(slot, message) => self.sent.push((slot, message)),
                Effect::Drain => self.is_draining = true,
                Effect::Close(id) => self.disconnect(id.0 as usize),
                Effect::Write(id, bytes) => {
                    if let Some(pumped) = &mut self.connections[id.0 as usize] {
                        pumped.out.append_shared(&bytes);
                    }
                }
                Effect::Wake(id) => self.wake(id.0 as usize),
                Effect::Cancel(id) => self.cancel(id.0 as usize),
            }
        }
    }

    /// The connection's parked job, if it has one, is not wanted any more.
    fn cancel(&mut self, connection: usize) {
        if let Some(pumped) = &mut self.connections[connection]
            && let State::Waiting { lane, number, has_deadline } = &mut pumped.state
        {
            *has_deadline = false;
            let (lane, number) = (*lane, *number);
            self.cancel_at(lane, ConnectionId(connection as u64), number);
        }
    }

    fn cancel_at(&mut self, lane: usize, connection: ConnectionId, number: u64) {
        let Lane { cancels, ledger, .. } = &mut self.lanes[lane];
        cancels.push(TaskId { incarnation: INCARNATION, connection, number });
        if let Some(ledger) = ledger {
            ledger.cancelled.insert(number);
        }
    }

    fn wake(&mut self, connection: usize) {
        let Some(pumped) = &mut self.connections[connection] else { return };
        match pumped.state {
            State::Parked { .. } => {}
            State::InFlight | State::Waiting { .. } => {
                pumped.was_woken = true;
                return;
            }
            State::Open | State::Closing => return,
        }
        pumped.state = State::Open;
        let mut effects = Effects::default();
        let step = self.service.resume(&mut pumped.session, &mut pumped.out, &mut effects);
        self.after(connection, step, effects);
    }
}

impl Ledger {
    /// The number of a parked job whose answer this is.
    fn hear<D>(&mut self, one: &Arrived<D>) -> Option<u64> {
        let of = |jobs: &BTreeMap<u64, (ConnectionId, Bytes)>, connection: ConnectionId| {
            jobs.iter().find(|(_, (of, _))| *of == connection).map(|(number, _)| *number)
        };
        match *one {
            Arrived::Answer(id, _) | Arrived::AnswerLost(id) => {
                let number = of(&self.in_flight, id)?;
                self.in_flight.remove(&number);
                None
            }
            Arrived::Parked(_, number) | Arrived::Lasting(_, number) => {
                let job = self.in_flight.remove(&number);
                job.into_iter().for_each(|job| drop(self.parked.insert(number, job)));
                None
            }
            Arrived::ParkedAnswer(id, _) | Arrived::ParkedLost(id) | Arrived::Cancelled(id) => {
                let number = of(&self.parked, id)?;
                self.parked.remove(&number);
                matches!(one, Arrived::ParkedAnswer(..)).then_some(number)
            }
            Arrived::Notice(_) | Arrived::Missed => None,
        }
    }

    /// Goes by what a new executor says: the jobs that are sent again.
    fn sort_out<E: Executor>(
        &mut self,
        tickets: &Tickets,
        executor: &mut E,
        arrived: &mut VecDeque<Arrived<E::Done>>,
    ) -> VecDeque<Task<E::Job>>
    where
        E::Job: Wire,
    {
        for &number in &tickets.served {
            executor.acknowledged(INCARNATION, number);
            if let Some((connection, _)) = self.parked.remove(&number) {
                arrived.push_back(Arrived::ParkedLost(connection));
            }
        }
        let mut again = VecDeque::new();
        for (number, (connection, bytes)) in self.in_flight.clone() {
            match tickets.fate(number) {
                Fate::NotApplied => again.push_back(task(number, connection, &bytes)),
                Fate::Parked => {
                    self.in_flight.remove(&number);
                    let is_cancellable = E::Job::decode(&bytes).is_some_and(|job| job.is_cancellable());
                    self.parked.insert(number, (connection, bytes));
                    let parked = if is_cancellable { Arrived::Parked } else { Arrived::Lasting };
                    arrived.push_back(parked(connection, number));
                }
                Fate::AnswerLost => {
                    self.in_flight.remove(&number);
                    arrived.push_back(Arrived::AnswerLost(connection));
                }
            }
        }
        // Nobody is left who could serve these.
        for number in std::mem::take(&mut self.cancelled) {
            if let Some((connection, _)) = self.parked.remove(&number) {
                arrived.push_back(Arrived::Cancelled(connection));
            }
        }
        self.unregistered = self.parked.keys().copied().collect();
        again
    }
}

fn encoded<J: Wire>(job: &mut J) -> Bytes {
    let mut bytes = Vec::new();
    let last = job.encode(&mut bytes);
    last.into_iter().for_each(|last| bytes.extend_from_slice(&last));
    bytes.into()
}

fn task<J: Wire>(number: u64, connection: ConnectionId, bytes: &Bytes) -> Task<J> {
    let id = TaskId { incarnation: INCARNATION, connection, number };
    Task { id, job: J::decode(bytes).expect("it was encoded by the same program") }
}

#[cfg(test)]
#[path = "pump_tests.rs"]
mod tests;
