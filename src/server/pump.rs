//! Drives an application without sockets, processes or threads: a test chooses what happens when.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::counters::{Scoreboard, Slot};
use super::input::Input;
use super::outbox::Outbox;
use super::service::{
    Application, ConnectionId, Effect, Effects, Executor, ExecutorContext, LaneId, Peer, Service, StartError, Step,
    Task, TaskId, WorkerContext,
};

/// One worker's service and one executor of each lane, stepped by hand.
pub struct Pump<A: Application> {
    service: A::Service,
    executors: Vec<A::Executor>,
    /// Submitted jobs by lane, oldest first.
    queues: Vec<VecDeque<Task<A::Job>>>,
    connections: Vec<Option<Pumped<<A::Service as Service>::Session>>>,
    /// Messages that the service sent to other workers.
    pub sent: Vec<(Slot, Vec<u8>)>,
    pub is_draining: bool,
    /// How often the service gave way to other connections.
    pub turns: u64,
    jobs: u64,
}

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
        let service = application.service(&WorkerContext { slot: Slot(0), incarnation: 1, scoreboard })?;
        Ok(Pump {
            service,
            executors: executors.into_iter().flatten().collect(),
            queues: lanes.iter().map(|_| VecDeque::new()).collect(),
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
        let address = SocketAddr::from(([127, 0, 0, 1], 50_000));
        let peer = Peer { id, number: index as u64 + 1, address, local: address, descriptor: 8 };
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

    /// Jobs that wait in a lane.
    #[must_use]
    pub fn queued(&self, lane: LaneId) -> usize {
        self.queues[lane.0].len()
    }

    /// Runs at most `count` jobs of a lane as one batch, and delivers their answers. Returns how many ran.
    pub fn run_lane(&mut self, lane: LaneId, count: usize) -> usize {
        let count = count.min(self.queues[lane.0].len());
        let mut tasks: Vec<Task<A::Job>> = self.queues[lane.0].drain(..count).collect();
        let mut answers = Vec::new();
        if count > 0 {
            self.executors[lane.0].run(&tasks, &mut |id, done| answers.push((id.connection, done)));
        }
        let count = answers.len();
        tasks.drain(count..).rev().for_each(|task| self.queues[lane.0].push_front(task));
        for (id, done) in answers {
            let connection = id.0 as usize;
            let Some(pumped) = &mut self.connections[connection] else { continue };
            pumped.state = State::Open;
            let mut effects = Effects::default();
            let step = self.service.complete(&mut pumped.session, done, &mut pumped.out, &mut effects);
            self.after(connection, step, effects);
        }
        count
    }

    /// Runs all lanes until nothing is queued.
    pub fn settle(&mut self) {
        while (0..self.queues.len()).map(|lane| self.run_lane(LaneId(lane), usize::MAX)).sum::<usize>() > 0 {}
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
        self.executors[lane.0].idle();
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

    /// The deadline of a parked connection has come, if it has one. True when it was resumed.
    pub fn expire(&mut self, connection: usize) -> bool {
        let state = self.connections[connection].as_ref().map(|pumped| pumped.state);
        let has_deadline = matches!(state, Some(State::Parked { has_deadline: true }));
        if has_deadline {
            self.wake(connection);
        }
        has_deadline
    }

    pub fn tick(&mut self) {
        let mut effects = Effects::default();
        self.service.tick(&mut effects);
        self.apply(effects);
    }

    pub fn disconnect(&mut self, connection: usize) {
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
                    let id = TaskId { incarnation: 1, connection: ConnectionId(connection as u64), number: self.jobs };
                    self.queues[lane].push_back(Task { id, job });
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
                        pumped.out.buffer().extend_from_slice(&bytes);
                    }
                }
                Effect::Wake(id) => self.wake(id.0 as usize),
            }
        }
    }

    fn wake(&mut self, connection: usize) {
        let Some(pumped) = &mut self.connections[connection] else { return };
        match pumped.state {
            State::Parked { .. } => {}
            State::InFlight => {
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

#[cfg(test)]
#[path = "pump_tests.rs"]
mod tests;
