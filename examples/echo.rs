//! An echo server on the core: each line comes back. Some lines do more:
//!
//! - `pool …` and `lane …` come back by way of a pool thread, and of the process that serves all workers. There `slow MS …`
//!   takes that long, `panic` panics, and `die` ends the process. With `park` at its end the connection parks after the answer.
//! - `park MS` comes back after that time, `park` when anybody, on any worker, says `wake`.
//! - `bytes N` is answered with that many, `processes` with what each process says of itself; `quit` closes.
//!
//! ```text
//! cargo run --example echo -- --listen 127.0.0.1:7000 --workers 2
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use emptyserver::server::{
    Application, ConnectionId, Counter, Effects, Executor, ExecutorContext, Input, LaneId, LaneSpec, Outbox, Peer,
    Refusal, Responder, Runs, Scoreboard, Service, Slot, StartError, Step, Task, Wire, WorkerContext,
};
use emptyserver::sys;

#[path = "support/start.rs"]
mod start;

const POOL: LaneId = LaneId(0);
const LANE: LaneId = LaneId(1);
/// Reply bytes of one turn after which the service lets others come first.
const TURN_BYTES: usize = 64 << 10;
const BYTES_MAX: u64 = 1 << 30;

struct Echo;

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
        Ok(EchoService { own: context.slot, scoreboard: context.scoreboard, parked: BTreeSet::new() })
    }
    fn executor(&self, _lane: LaneId, context: &ExecutorContext) -> Result<EchoExecutor, StartError> {
        Ok(EchoExecutor { is_lane: context.slot == context.scoreboard.lane_slot() })
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
}

impl EchoService {
    fn line(&mut self, id: ConnectionId, line: &[u8], out: &mut Outbox, effects: &mut Effects) -> Step<Line> {
        let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
        match words[..] {
            [b"quit"] => return Step::Close,
            [b"pool" | b"lane", ..] => {
                if words.ends_with(&[b"park"]) {
                    self.parked.insert(id);
                }
                return Step::Submit(if words[0] == b"pool" { POOL } else { LANE }, Line(line.to_vec()));
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

fn reply(line: &[u8], out: &mut Outbox) {
    out.buffer().extend_from_slice(line);
    out.buffer().push(b'\n');
}

impl Service for EchoService {
    type Session = ConnectionId;
    type Job = Line;
    type Done = Line;

    fn open(&mut self, peer: Peer, _effects: &mut Effects) -> ConnectionId {
        peer.id
    }

    fn receive(
        &mut self,
        id: &mut ConnectionId,
        input: &mut Input,
        out: &mut Outbox,
        effects: &mut Effects,
    ) -> Step<Line> {
        let unsent = out.len();
        while out.len() - unsent < TURN_BYTES {
            let Some(line) = start::next_line(input) else {
                return if input.len() > start::LINE_BYTES_MAX { Step::Close } else { Step::NeedInput };
            };
            match self.line(*id, &line, out, effects) {
                Step::Continue => {}
                other => return other,
            }
        }
        Step::Continue
    }

    fn complete(&mut self, _: &mut ConnectionId, done: Line, out: &mut Outbox, _effects: &mut Effects) -> Step<Line> {
        reply(&done.0, out);
        if done.0.ends_with(b" park") { Step::Park(None) } else { Step::NeedInput }
    }

    fn resume(&mut self, id: &mut ConnectionId, out: &mut Outbox, _effects: &mut Effects) -> Step<Line> {
        self.parked.remove(id);
        reply(b"woken", out);
        Step::NeedInput
    }

    fn close(&mut self, id: ConnectionId, _effects: &mut Effects) {
        self.parked.remove(&id);
    }

    fn hear(&mut self, _from: Slot, _message: &[u8], effects: &mut Effects) {
        self.wake(effects);
    }
    fn lost(&mut self, _from: Slot, _effects: &mut Effects) {}
    fn tick(&mut self, _effects: &mut Effects) {}
}

struct EchoExecutor {
    is_lane: bool,
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
                _ => {}
            }
            responder.answer(task.id, Line(task.job.0.clone()));
        }
    }

    fn refuse(&self, _job: &Line, why: Refusal) -> Line {
        Line(format!("refused: {why:?}").into_bytes())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    start::serve(Echo)
}
