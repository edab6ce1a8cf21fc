//! An echo server on the core: each line comes back. Some lines do more:
//!
//! - `pool …` and `lane …` come back by way of a pool thread, and of the process that serves all workers. There `slow MS …`
//!   takes that long, `panic` panics, and `die` ends the process. With `park` at its end the connection parks after the answer.
//! - `lane wait` and `lane wait MS` are parked jobs: the oldest on any worker gets the next number for each `lane give`; `unblock`
//!   cancels those of the own worker. `lane tell …` is a notice to every worker, and `notices` says what has come of these.
//! - `park MS` comes back after that time, `park` when anybody, on any worker, says `wake`.
//! - `origin` says over which listener the client has come. `bytes N` is answered with that many bytes, `processes` with what each process says of itself; `quit` closes.
//!
//! ```text
//! cargo run --example echo -- --listen 127.0.0.1:7000 --workers 2
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use emptyserver::server::{
    Application, Audience, ConnectionId, Counter, Effects, Executor, ExecutorContext, Input, LaneId, LaneSpec,
    ListenerKind, Outbox, Peer, Refusal, Responder, Runs, Scoreboard, Service, Slot, StartError, Step, Task, TaskId,
    Tickets, Wire, WorkerContext,
};
use emptyserver::sys;

#[path = "support/start.rs"]
mod start;

const POOL: LaneId = LaneId(0);
const LANE: LaneId = LaneId(1);
/// Reply bytes of one turn after which the service lets others come first.
const TURN_BYTES: usize = 64 << 10;
const BYTES_MAX: u64 = 1 << 30;

struct Echo {
    gifts: Gifts,
}

struct Line(Vec<u8>);

impl Wire for Line {
    fn bytes_kept(&self) -> usize {
        self.0.capacity()
    }
    fn encode(&mut self, out: &mut Vec<u8>) -> Option<bytes::Bytes> {
        out.extend_from_slice(&self.0);
        None
    }
    fn decode(bytes: &bytes::Bytes) -> Option<Line> {
        Some(Line(bytes.to_vec()))
    }
}

impl Application for Echo {
    type Service = EchoService;
    type Executor = EchoExecutor;
    type Job = Line;
    type Done = Line;

    fn lanes(&self) -> Vec<LaneSpec> {
        let lane = |name, runs| LaneSpec { name, runs, jobs_max: 64, batch_max: 16, niceness: 0 };
        vec![lane("pool", Runs::Threads(2)), lane("lane", Runs::Process)]
    }
    fn service(&self, context: &WorkerContext) -> Result<EchoService, StartError> {
        Ok(EchoService {
            own: context.slot,
            scoreboard: context.scoreboard,
            parked: BTreeSet::new(),
            waiting: BTreeSet::new(),
            notices: 0,
            missed: 0,
            last_notice: Vec::new(),
        })
    }
    fn executor(&self, _lane: LaneId, context: &ExecutorContext) -> Result<EchoExecutor, StartError> {
        Ok(EchoExecutor {
            is_lane: context.slot == context.scoreboard.lane_slot(),
            gifts: self.gifts,
            owed: 0,
            waiting: BTreeMap::new(),
            is_complete: false,
        })
    }
    fn turned_away(&self) -> &'static [u8] {
        b"too many connections\n"
    }
}

struct EchoService {
    own: Slot,
    scoreboard: Scoreboard,
    /// Connections that wait for a `wake`.
    parked: BTreeSet<ConnectionId>,
    /// Connections whose job is parked.
    waiting: BTreeSet<ConnectionId>,
    notices: u64,
    missed: u64,
    last_notice: Vec<u8>,
}

impl EchoService {
    fn line(&mut self, session: &mut Session, line: &[u8], out: &mut Outbox, effects: &mut Effects) -> Step<Line> {
        let id = session.id;
        let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
        match words[..] {
            [b"quit"] => return Step::Close,
            [b"pool" | b"lane", ..] => {
                if words.ends_with(&[b"park"]) {
                    self.parked.insert(id);
                }
                if let [b"lane", b"wait", ms] = words[..] {
                    let time = Duration::from_millis(start::number(ms).unwrap_or(0));
                    session.waits_until = Some(sys::clock::monotonic() + time);
                }
                return Step::Submit(if words[0] == b"pool" { POOL } else { LANE }, Line(line.to_vec()));
            }
            [b"unblock"] => {
                self.waiting.iter().for_each(|&id| effects.cancel(id));
                reply(line, out);
            }
            [b"origin"] => reply(format!("{} {:?}", session.origin.0, session.origin.1).as_bytes(), out),
            [b"notices"] => {
                let last = String::from_utf8_lossy(&self.last_notice);
                reply(format!("{} missed {} last {last}", self.notices, self.missed).as_bytes(), out);
            }
            [b"park"] => {
                self.parked.insert(id);
                return Step::Park(None);
            }
            [b"park", ms] => {
                let time = Duration::from_millis(start::number(ms).unwrap_or(0));
                return Step::Park(Some(sys::clock::monotonic() + time));
            }
            [b"wake"] => {
                self.wake(effects);
                self.scoreboard
                    .workers()
                    .filter(|&slot| slot != self.own)
                    .for_each(|slot| effects.send(slot, b"wake".into()));
                reply(line, out);
            }
            [b"bytes", count] => {
                let count = start::number(count).unwrap_or(0).min(BYTES_MAX) as usize;
                reply(&vec![b'x'; count], out);
            }
            [b"processes"] => reply(self.processes().as_bytes(), out),
            _ => reply(line, out),
        }
        Step::Continue
    }

    fn stop_waiting(&mut self, session: &mut Session) {
        session.waits_until = None;
        self.waiting.remove(&session.id);
    }

    fn wake(&mut self, effects: &mut Effects) {
        std::mem::take(&mut self.parked).into_iter().for_each(|id| effects.wake(id));
    }

    /// `NAME=VALUE …`: pids and connections by slot, the workers first.
    fn processes(&self) -> String {
        let each = |counter| {
            let values: Vec<String> = self
                .scoreboard
                .workers()
                .chain([self.scoreboard.lane_slot()])
                .map(|slot| self.scoreboard.read(slot, counter).to_string())
                .collect();
            values.join(",")
        };
        format!(
            "pid={} connections={} listening={} here={} accept_empty={} turned_away={} input_max={} output_max={}",
            each(Counter::Pid),
            each(Counter::Connections),
            each(Counter::Listening),
            self.own.0,
            self.scoreboard.sum(Counter::AcceptEmptyTotal),
            self.scoreboard.sum(Counter::TurnedAwayTotal),
            self.scoreboard.slots().map(|slot| self.scoreboard.read(slot, Counter::InputBytesMax)).max().unwrap_or(0),
            self.scoreboard.slots().map(|slot| self.scoreboard.read(slot, Counter::OutputBytesMax)).max().unwrap_or(0),
        )
    }
}

struct Session {
    id: ConnectionId,
    origin: (usize, ListenerKind),
    /// Until when its parked job is waited for, if that is a question of time.
    waits_until: Option<Instant>,
}

fn reply(line: &[u8], out: &mut Outbox) {
    out.buffer().extend_from_slice(line);
    out.buffer().push(b'\n');
}

impl Service for EchoService {
    type Session = Session;
    type Job = Line;
    type Done = Line;

    fn open(&mut self, peer: Peer, _effects: &mut Effects) -> Session {
        Session { id: peer.id, origin: (peer.listener, peer.kind), waits_until: None }
    }

    fn receive(
        &mut self,
        session: &mut Session,
        input: &mut Input,
        out: &mut Outbox,
        effects: &mut Effects,
    ) -> Step<Line> {
        let unsent = out.len();
        while out.len() - unsent < TURN_BYTES {
            let Some(line) = start::next_line(input) else {
                return if input.len() > start::LINE_BYTES_MAX { Step::Close } else { Step::NeedInput };
            };
            match self.line(session, &line, out, effects) {
                Step::Continue => {}
                other => return other,
            }
        }
        Step::Continue
    }

    fn complete(&mut self, session: &mut Session, done: Line, out: &mut Outbox, _effects: &mut Effects) -> Step<Line> {
        self.stop_waiting(session);
        reply(&done.0, out);
        if done.0.ends_with(b" park") { Step::Park(None) } else { Step::NeedInput }
    }

    fn parked(&mut self, session: &mut Session, effects: &mut Effects) -> Option<Instant> {
        self.waiting.insert(session.id);
        effects.write(session.id, &b"parked\n"[..]);
        session.waits_until
    }

    fn cancelled(&mut self, session: &mut Session, out: &mut Outbox, _effects: &mut Effects) -> Step<Line> {
        self.stop_waiting(session);
        reply(b"cancelled", out);
        Step::NeedInput
    }

    fn notice(&mut self, _from: LaneId, notice: &[u8], _effects: &mut Effects) {
        self.notices += 1;
        self.last_notice = notice.to_vec();
    }

    fn missed_notices(&mut self, _from: LaneId, _effects: &mut Effects) {
        self.missed += 1;
    }

    fn resume(&mut self, session: &mut Session, out: &mut Outbox, _effects: &mut Effects) -> Step<Line> {
        self.parked.remove(&session.id);
        reply(b"woken", out);
        Step::NeedInput
    }

    fn close(&mut self, session: Session, _effects: &mut Effects) {
        self.parked.remove(&session.id);
        self.waiting.remove(&session.id);
    }

    fn hear(&mut self, _from: Slot, _message: &[u8], effects: &mut Effects) {
        self.wake(effects);
    }
    fn lost(&mut self, _from: Slot, _effects: &mut Effects) {}
    fn tick(&mut self, _effects: &mut Effects) {}
}

/// Who got which number, in memory that outlives every process but the first: pairs of an incarnation and a job's number. A gift is made
/// by one store, that of the job's number. The last bit is set until its worker has acknowledged it.
#[derive(Clone, Copy)]
struct Gifts {
    words: &'static [AtomicU64],
}

const GIFTS_MAX: usize = 1 << 16;

impl Gifts {
    fn new() -> std::io::Result<Gifts> {
        Ok(Gifts { words: sys::shared::words(2 * GIFTS_MAX)? })
    }

    fn made(&self) -> impl Iterator<Item = (u64, u64)> {
        let pairs = self.words.chunks(2).map(|pair| (pair[0].load(Ordering::SeqCst), pair[1].load(Ordering::SeqCst)));
        pairs.take_while(|(_, record)| *record != 0)
    }

    /// The gift's number, from 1.
    fn make(&self, id: TaskId) -> usize {
        let place = self.made().count();
        self.words[2 * place].store(id.incarnation, Ordering::SeqCst);
        self.words[2 * place + 1].store(id.number << 1 | 1, Ordering::SeqCst);
        place + 1
    }

    fn acknowledge(&self, incarnation: u64, number: u64) {
        let place = self.made().position(|made| made == (incarnation, number << 1 | 1));
        place.into_iter().for_each(|place| self.words[2 * place + 1].store(number << 1, Ordering::SeqCst));
    }
}

struct EchoExecutor {
    is_lane: bool,
    gifts: Gifts,
    /// Gifts for those who come.
    owed: u64,
    /// Parked jobs by number: the oldest first.
    waiting: BTreeMap<u64, TaskId>,
    /// True once it knows of all that were parked before its time.
    is_complete: bool,
}

impl EchoExecutor {
    fn serve(&mut self, responder: &mut dyn Responder<Line>) {
        while self.is_complete
            && self.owed > 0
            && let Some((_, id)) = self.waiting.pop_first()
        {
            self.owed -= 1;
            let number = self.gifts.make(id);
            responder.answer(id, Line(format!("given {number}").into_bytes()));
        }
    }
}

impl Executor for EchoExecutor {
    type Job = Line;
    type Done = Line;

    fn run(&mut self, tasks: &[Task<Line>], responder: &mut dyn Responder<Line>) {
        for task in tasks {
            let words: Vec<&[u8]> = task.job.0.split(|&byte| byte == b' ').collect();
            match words[1..] {
                [b"slow", ms, ..] => sys::clock::pause(Duration::from_millis(start::number(ms).unwrap_or(0))),
                [b"panic", ..] => panic!("asked to"),
                [b"die", ..] if self.is_lane => sys::process::exit_at_once(9),
                [b"wait", ..] => {
                    self.waiting.insert(task.id.number, task.id);
                    responder.park(task.id);
                    self.serve(responder);
                    continue;
                }
                [b"give"] => {
                    self.owed += 1;
                    self.serve(responder);
                }
                [b"tell", what] => responder.notify(Audience::All, what),
                _ => {}
            }
            responder.answer(task.id, Line(task.job.0.clone()));
        }
    }

    fn idle(&mut self, responder: &mut dyn Responder<Line>) -> Option<Duration> {
        self.serve(responder);
        None
    }

    fn tickets(&self, incarnation: u64) -> Tickets {
        // No job but a parked one is recorded: what a process that dies was running is run again.
        let served = self.gifts.made().filter(|(of, record)| *of == incarnation && record & 1 == 1);
        Tickets { served: served.map(|(_, record)| record >> 1).collect(), ..Tickets::default() }
    }

    fn register(&mut self, task: &Task<Line>) {
        self.waiting.insert(task.id.number, task.id);
    }

    fn all_registered(&mut self) {
        self.is_complete = true;
    }

    fn cancel(&mut self, id: TaskId) {
        self.waiting.remove(&id.number);
    }

    fn acknowledged(&mut self, incarnation: u64, number: u64) {
        self.gifts.acknowledge(incarnation, number);
    }

    fn forget(&mut self, incarnation: u64) {
        self.waiting.retain(|_, id| id.incarnation != incarnation);
    }

    fn refuse(&self, _job: &Line, why: Refusal) -> Line {
        Line(format!("refused: {why:?}").into_bytes())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    start::serve(Echo { gifts: Gifts::new()? })
}
