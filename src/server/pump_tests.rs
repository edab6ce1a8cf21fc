//! The pump with a small application: which interleaving happens is written down in the test.

use std::collections::BTreeMap;

use super::*;
use crate::server::service::{LaneSpec, Refusal, Responder, Runs, Wire};
use std::time::{Duration, Instant};

/// Answers a digit at once, upper-case letters by a lane, `P` parks after that; `p` parks until woken, `t` for a time, `w` wakes all, `v` the first
/// connection; `q` closes. The job `W` is parked until a `G` is run, which answers the oldest with `*`; `u` cancels that of the first
/// connection. `N` is told to all.
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
        Ok(WorkerState { parked: Vec::new(), closed: 0, heard: String::new() })
    }
    fn executor(&self, _lane: LaneId, _context: &ExecutorContext) -> Result<Caser, StartError> {
        Ok(Caser { waiting: BTreeMap::new(), is_complete: false })
    }
    fn turned_away(&self) -> &'static [u8] {
        b""
    }
}

struct WorkerState {
    parked: Vec<ConnectionId>,
    closed: usize,
    heard: String,
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
            b'u' => effects.cancel(ConnectionId(0)),
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

    fn parked(&mut self, _: &mut ConnectionId, _: &mut Effects) -> Option<Instant> {
        Some(crate::sys::clock::monotonic() + Duration::from_secs(60))
    }

    fn cancelled(&mut self, _: &mut ConnectionId, out: &mut Outbox, _: &mut Effects) -> Step<Letter> {
        out.buffer().push(b'x');
        Step::NeedInput
    }

    fn notice(&mut self, from: LaneId, notice: &[u8], _: &mut Effects) {
        self.heard += &format!("{}{} ", from.0, String::from_utf8_lossy(notice));
    }

    fn missed_notices(&mut self, _: LaneId, _: &mut Effects) {
        self.heard += "missed ";
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

struct Caser {
    waiting: BTreeMap<u64, TaskId>,
    is_complete: bool,
}

impl Executor for Caser {
    type Job = Letter;
    type Done = Letter;

    fn run(&mut self, tasks: &[Task<Letter>], responder: &mut dyn Responder<Letter>) {
        for task in tasks {
            match task.job.0 {
                b'W' => {
                    self.waiting.insert(task.id.number, task.id);
                    responder.park(task.id);
                    continue;
                }
                b'G' if self.is_complete => {
                    if let Some((_, id)) = self.waiting.pop_first() {
                        responder.answer(id, Letter(b'*'));
                    }
                }
                b'N' => responder.notify(Audience::All, b"N"),
                _ => {}
            }
            responder.answer(task.id, Letter(task.job.0.to_ascii_lowercase()));
        }
    }
    fn register(&mut self, task: &Task<Letter>) {
        assert_eq!((task.job.0, self.is_complete), (b'W', false));
        self.waiting.insert(task.id.number, task.id);
    }
    fn all_registered(&mut self) {
        self.is_complete = true;
    }
    fn cancel(&mut self, id: TaskId) {
        self.waiting.remove(&id.number);
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

#[test]
fn a_parked_job_is_answered_by_a_later_one_and_the_connection_goes_on_then() {
    let mut pump = pump();
    let (first, second, third) = (pump.connect(), pump.connect(), pump.connect());
    pump.receive(first, b"W1");
    pump.receive(second, b"W2");
    pump.settle();
    assert_eq!((pump.parked(LaneId(0)), pump.queued(LaneId(0))), (2, 0));
    assert_eq!((pump.sent_to(first), pump.sent_to(second)), (b"".to_vec(), b"".to_vec()));
    assert_eq!(pump.call(third, b"NG"), b"ng");
    assert_eq!((pump.sent_to(first), pump.sent_to(second)), (b"*1".to_vec(), b"".to_vec()));
    assert_eq!(pump.service.heard, "0N ");
}

/// One connection's job is parked, and another one's is about to answer it.
fn about_to_be_served() -> (Pump<Letters>, usize, usize) {
    let mut pump = pump();
    let (waits, gives) = (pump.connect(), pump.connect());
    pump.receive(waits, b"W1");
    pump.settle();
    pump.receive(gives, b"G");
    (pump, waits, gives)
}

#[test]
fn whichever_way_an_answer_and_a_cancel_cross_there_is_one_outcome() {
    // The lane has answered when the time is over, and nobody has heard of it.
    let (mut pump, waits, gives) = about_to_be_served();
    pump.work(LaneId(0), 1);
    assert!(pump.expire(waits));
    assert!(!pump.expire(waits), "a cancel is on its way");
    pump.work(LaneId(0), 0);
    pump.settle();
    assert_eq!((pump.sent_to(waits), pump.sent_to(gives)), (b"*1".to_vec(), b"g".to_vec()));
    // The cancel is heard first, and the other job gives nothing away.
    let (mut pump, waits, gives) = about_to_be_served();
    assert!(pump.expire(waits));
    pump.work(LaneId(0), 1);
    assert_eq!(pump.sent_to(waits), b"", "the lane's word is on its way");
    pump.settle();
    assert_eq!((pump.sent_to(waits), pump.sent_to(gives)), (b"x1".to_vec(), b"g".to_vec()));
    // It is asked for, twice.
    let (mut pump, waits, gives) = about_to_be_served();
    let asks = pump.connect();
    pump.receive(asks, b"uu");
    pump.settle();
    assert_eq!((pump.sent_to(waits), pump.sent_to(gives)), (b"x1".to_vec(), b"g".to_vec()));
    assert_eq!(pump.parked(LaneId(0)), 0);
}

#[test]
fn a_connection_that_is_gone_takes_its_parked_job_with_it_also_before_it_has_heard_of_it() {
    let (mut pump, waits, gives) = about_to_be_served();
    let next = pump.connect();
    pump.receive(next, b"W");
    pump.disconnect(waits);
    pump.settle();
    assert_eq!(pump.parked(LaneId(0)), 1, "only the other one's");
    assert_eq!(pump.call(gives, b"G"), b"gg");
    assert_eq!(pump.sent_to(next), b"*");
    pump.receive(next, b"W");
    pump.work(LaneId(0), 1);
    pump.disconnect(next);
    pump.settle();
    pump.settle();
    pump.work(LaneId(0), 0);
    assert_eq!(pump.parked(LaneId(0)), 0);
}

#[test]
fn a_new_executor_is_told_of_those_that_wait_and_not_of_those_that_are_cancelled() {
    let (mut pump, waits, gives) = about_to_be_served();
    let (next, last) = (pump.connect(), pump.connect());
    pump.settle();
    assert_eq!(pump.sent_to(waits), b"*1");
    for connection in [waits, next, last] {
        pump.receive(connection, b"W");
        pump.settle();
    }
    assert!(pump.expire(next));
    pump.replace_executor(&Letters, LaneId(0)).unwrap();
    pump.settle();
    assert_eq!((pump.sent_to(next), pump.service.heard.as_str()), (b"x".to_vec(), "missed "));
    assert_eq!(pump.call(gives, b"GG"), b"ggg");
    assert_eq!((pump.sent_to(waits), pump.sent_to(last)), (b"*".to_vec(), b"*".to_vec()));
}
