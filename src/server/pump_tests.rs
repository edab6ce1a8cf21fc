//! The pump with a small application: which interleaving happens is written down in the test.

use super::*;
use crate::server::service::{LaneSpec, Refusal, Responder, Runs, Wire};
use std::time::Duration;

/// Answers a digit at once, upper-case letters by a lane, `P` parks after that; `p` parks until woken, `t` for a time, `w` wakes all, `v` the first connection; `q` closes.
struct Letters;

#[derive(Debug, PartialEq)]
struct Letter(u8);

impl Wire for Letter {
    fn encode(&mut self, out: &mut Vec<u8>) -> Option<bytes::Bytes> {
        out.push(self.0);
        None
    }
    fn decode(bytes: &bytes::Bytes) -> Option<Letter> {
        bytes.first().copied().map(Letter)
    }
}

impl Application for Letters {
    type Service = WorkerState;
    type Executor = Caser;
    type Job = Letter;
    type Done = Letter;

    fn lanes(&self) -> Vec<LaneSpec> {
        vec![LaneSpec { name: "case", runs: Runs::Threads(1), jobs_max: 8, batch_max: 8, niceness: 0 }]
    }
    fn service(&self, _context: &WorkerContext) -> Result<WorkerState, StartError> {
        Ok(WorkerState { parked: Vec::new(), closed: 0 })
    }
    fn executor(&self, _lane: LaneId, _context: &ExecutorContext) -> Result<Caser, StartError> {
        Ok(Caser)
    }
    fn turned_away(&self) -> &'static [u8] {
        b""
    }
}

struct WorkerState {
    parked: Vec<ConnectionId>,
    closed: usize,
}

impl Service for WorkerState {
    type Session = ConnectionId;
    type Job = Letter;
    type Done = Letter;

    fn open(&mut self, peer: Peer, _effects: &mut Effects) -> ConnectionId {
        peer.id
    }

    fn receive(
        &mut self,
        id: &mut ConnectionId,
        input: &mut Input,
        out: &mut Outbox,
        effects: &mut Effects,
    ) -> Step<Letter> {
        let Some(&byte) = input.bytes().first() else { return Step::NeedInput };
        input.consume(1);
        match byte {
            b'A'..=b'Z' => return Step::Submit(LaneId(0), Letter(byte)),
            b'p' => {
                self.parked.push(*id);
                return Step::Park(None);
            }
            b't' => return Step::Park(Some(crate::sys::clock::monotonic() + Duration::from_secs(60))),
            b'w' => {
                self.parked.drain(..).for_each(|id| effects.wake(id));
                effects.send(Slot(1), b"w".into());
            }
            b'v' => effects.wake(ConnectionId(0)),
            b'q' => return Step::Close,
            digit => out.buffer().push(digit),
        }
        Step::Continue
    }

    fn complete(&mut self, _: &mut ConnectionId, done: Letter, out: &mut Outbox, _: &mut Effects) -> Step<Letter> {
        out.buffer().push(done.0);
        if done.0 == b'p' { Step::Park(None) } else { Step::NeedInput }
    }

    fn resume(&mut self, _: &mut ConnectionId, out: &mut Outbox, _: &mut Effects) -> Step<Letter> {
        out.buffer().push(b'!');
        Step::NeedInput
    }

    fn close(&mut self, _: ConnectionId, _: &mut Effects) {
        self.closed += 1;
    }
    fn hear(&mut self, _: Slot, _: &[u8], effects: &mut Effects) {
        self.parked.drain(..).for_each(|id| effects.wake(id));
    }
    fn lost(&mut self, from: Slot, effects: &mut Effects) {
        effects.write(ConnectionId(0), format!("lost {}", from.0).into_bytes());
    }
    fn tick(&mut self, effects: &mut Effects) {
        effects.drain();
    }
}

struct Caser;

impl Executor for Caser {
    type Job = Letter;
    type Done = Letter;

    fn run(&mut self, tasks: &[Task<Letter>], responder: &mut dyn Responder<Letter>) {
        tasks.iter().for_each(|task| responder.answer(task.id, Letter(task.job.0.to_ascii_lowercase())));
    }
    fn refuse(&self, _job: &Letter, _why: Refusal) -> Letter {
        Letter(b'?')
    }
}

fn pump() -> Pump<Letters> {
    Pump::new(&Letters, Scoreboard::new(2, 0).unwrap()).unwrap()
}

#[test]
fn replies_keep_request_order_and_one_job_is_in_flight_per_connection() {
    let mut pump = pump();
    let (first, second) = (pump.connect(), pump.connect());
    pump.receive(first, b"1A2BC3");
    pump.receive(second, b"X9");
    assert_eq!(pump.queued(LaneId(0)), 2, "one of each connection");
    assert_eq!(pump.sent_to(first), b"1");
    assert_eq!(pump.run_lane(LaneId(0), 1), 1);
    assert_eq!((pump.sent_to(first), pump.sent_to(second)), (b"a2".to_vec(), b"".to_vec()));
    assert_eq!(pump.queued(LaneId(0)), 2);
    pump.settle();
    assert_eq!((pump.sent_to(first), pump.sent_to(second)), (b"bc3".to_vec(), b"x9".to_vec()));
    assert_eq!(pump.call(first, b"Z"), b"z");
}

#[test]
fn a_parked_connection_goes_on_when_it_is_woken_or_its_time_has_come() {
    let mut pump = pump();
    let (parked, timed, waker) = (pump.connect(), pump.connect(), pump.connect());
    pump.receive(parked, b"p1");
    pump.receive(timed, b"t2");
    assert_eq!(pump.sent_to(parked), b"");
    assert!(!pump.expire(parked), "it has no deadline");
    assert!(pump.expire(timed));
    assert_eq!(pump.sent_to(timed), b"!2");
    pump.receive(waker, b"w");
    assert_eq!(pump.sent_to(parked), b"!1");
    assert_eq!(pump.sent, [(Slot(1), b"w".to_vec())]);
    pump.receive(parked, b"p4");
    pump.hear(Slot(1), b"w");
    assert_eq!(pump.sent_to(parked), b"!4");
}

#[test]
fn a_wake_while_the_job_is_in_flight_is_remembered_until_the_connection_parks_or_needs_input() {
    let mut pump = pump();
    let (first, waker) = (pump.connect(), pump.connect());
    pump.receive(first, b"P1");
    pump.receive(waker, b"vv");
    assert_eq!(pump.sent_to(first), b"");
    pump.settle();
    assert_eq!(pump.sent_to(first), b"p!1", "woken once, as soon as it parked");
    pump.receive(first, b"P");
    pump.settle();
    assert_eq!(pump.sent_to(first), b"p");
    pump.receive(waker, b"v");
    assert_eq!(pump.sent_to(first), b"!");
    // It does not park after this job: what it parks for later is something else.
    pump.receive(first, b"A");
    pump.receive(waker, b"v");
    pump.settle();
    pump.receive(first, b"p2");
    assert_eq!(pump.sent_to(first), b"a");
    pump.receive(waker, b"v");
    assert_eq!(pump.sent_to(first), b"!2");
}

#[test]
fn an_answer_for_a_connection_that_is_gone_is_nobodys() {
    let mut pump = pump();
    let leaving = pump.connect();
    pump.receive(leaving, b"A");
    pump.disconnect(leaving);
    let next = pump.connect();
    pump.settle();
    assert_eq!(pump.sent_to(next), b"");
    assert!(!pump.is_open(leaving));
    assert_eq!(pump.service.closed, 1);
}

#[test]
fn effects_reach_the_pump() {
    let mut pump = pump();
    let connection = pump.connect();
    pump.lose(Slot(1));
    assert_eq!(pump.sent_to(connection), b"lost 1");
    assert_eq!(pump.call(connection, b"1q2"), b"1");
    assert!(!pump.is_open(connection));
    pump.tick();
    assert!(pump.is_draining);
}

#[test]
fn a_long_pipeline_needs_no_deep_stack() {
    let mut pump = pump();
    let connection = pump.connect();
    assert_eq!(pump.call(connection, &vec![b'7'; 1_000_000]).len(), 1_000_000);
}
