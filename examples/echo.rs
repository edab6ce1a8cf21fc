//! An echo server on the core: each line comes back. A line that begins with `pool ` takes the way over a pool thread of the
//! same process, one that begins with `lane ` the way over the process that serves all workers; `slow MS …` keeps a pool
//! thread busy for so long; `pids` tells the workers' processes; `panic` and `die` try the lane's process.
//!
//!     cargo run --example echo -- --listen 127.0.0.1:7000 --workers 2

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use emptyserver::server::{
    Application, Board, Counter, Effects, Executor, ExecutorContext, Input, LaneId, LaneSpec, Limits, Outbox, Peer,
    Refusal, Runs, ServerConfig, Service, Slot, StartError, Step, Task, TaskId, Wire, WorkerContext, supervisor, sys,
};

#[derive(Parser)]
struct Flags {
    #[arg(long, default_value = "127.0.0.1:7000")]
    listen: std::net::SocketAddr,
    /// Worker processes; 0 = everything in one process.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    #[arg(long, default_value_t = 10_000)]
    connections_max: usize,
    #[arg(long)]
    cpu_affinity: bool,
}

const POOL: LaneId = LaneId(0);
const LANE: LaneId = LaneId(1);
const LINE_BYTES_MAX: usize = 1 << 20;

struct Echo;

struct Line(Vec<u8>);

impl Wire for Line {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
    fn decode(bytes: &[u8]) -> Option<Line> {
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
        Ok(EchoService { board: context.board })
    }
    fn executor(&self, _lane: LaneId, context: &ExecutorContext) -> Result<EchoExecutor, StartError> {
        Ok(EchoExecutor { is_lane: context.slot == context.board.lane_slot() })
    }
    fn turned_away(&self) -> &'static [u8] {
        b"too many connections\n"
    }
}

struct EchoService {
    board: Board,
}

impl EchoService {
    fn line(&self, line: &[u8], out: &mut Outbox) -> Step<Line> {
        match line {
            b"quit" => Step::Close,
            b"pids" => {
                for slot in self.board.slots() {
                    let (pid, connections) =
                        (self.board.read(slot, Counter::Pid), self.board.read(slot, Counter::Connections));
                    out.buffer().extend_from_slice(format!("{} {pid} {connections} ", slot.0).as_bytes());
                }
                out.buffer()
                    .extend_from_slice(format!("empty {}\n", self.board.sum(Counter::AcceptEmptyTotal)).as_bytes());
                Step::Continue
            }
            _ if line.starts_with(b"lane ") => Step::Submit(LANE, Line(line.to_vec())),
            _ if line.starts_with(b"pool ") || line.starts_with(b"slow ") => Step::Submit(POOL, Line(line.to_vec())),
            _ => {
                reply(line, out);
                Step::Continue
            }
        }
    }
}

fn reply(line: &[u8], out: &mut Outbox) {
    out.buffer().extend_from_slice(line);
    out.buffer().push(b'\n');
}

impl Service for EchoService {
    type Session = ();
    type Job = Line;
    type Done = Line;

    fn open(&mut self, _peer: Peer, _effects: &mut Effects) {}

    fn receive(&mut self, (): &mut (), input: &mut Input, out: &mut Outbox, _effects: &mut Effects) -> Step<Line> {
        while out.len() < 64 << 10 {
            let Some(end) = input.bytes().iter().position(|&byte| byte == b'\n') else {
                return if input.len() > LINE_BYTES_MAX { Step::Close } else { Step::NeedInput };
            };
            let line = input.bytes()[..end].to_vec();
            input.consume(end + 1);
            match self.line(&line, out) {
                Step::Continue => {}
                other => return other,
            }
        }
        Step::Continue
    }

    fn complete(&mut self, (): &mut (), done: Line, out: &mut Outbox, _effects: &mut Effects) -> Step<Line> {
        reply(&done.0, out);
        Step::NeedInput
    }

    fn resume(&mut self, (): &mut (), _out: &mut Outbox, _effects: &mut Effects) -> Step<Line> {
        Step::NeedInput
    }
    fn close(&mut self, (): (), _effects: &mut Effects) {}
    fn hear(&mut self, _from: Slot, _message: &[u8], _effects: &mut Effects) {}
    fn lost(&mut self, _from: Slot, _effects: &mut Effects) {}
    fn tick(&mut self, _effects: &mut Effects) {}
}

struct EchoExecutor {
    is_lane: bool,
}

impl Executor for EchoExecutor {
    type Job = Line;
    type Done = Line;

    fn run(&mut self, tasks: &[Task<Line>], answer: &mut dyn FnMut(TaskId, Line)) {
        for task in tasks {
            let words: Vec<&[u8]> = task.job.0.split(|&byte| byte == b' ').collect();
            match words[..] {
                [b"slow", ms, ..] => {
                    let ms = std::str::from_utf8(ms).ok().and_then(|ms| ms.parse().ok()).unwrap_or(0);
                    let until = sys::clock::monotonic() + Duration::from_millis(ms);
                    while sys::clock::monotonic() < until {
                        std::hint::spin_loop();
                    }
                }
                [_, b"panic"] => panic!("asked to"),
                [_, b"die"] if self.is_lane => sys::process::exit_at_once(9),
                _ => {}
            }
            answer(task.id, Line(task.job.0.clone()));
        }
    }

    fn refuse(&self, _job: &Line, why: Refusal) -> Line {
        Line(format!("refused: {why:?}").into_bytes())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let flags = Flags::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal()).init();
    let limits = Limits { connections_max: flags.connections_max, ..Limits::default() };
    let mut config = ServerConfig {
        listen: flags.listen,
        workers: flags.workers,
        cpu_affinity: flags.cpu_affinity,
        drain_seconds: 2,
        limits,
    };
    let listener = supervisor::bind(&mut config)?;
    let board = Board::new(config.workers.max(1), 0)?;
    let code = supervisor::run(supervisor::Start { application: Arc::new(Echo), config, board, lock: None, listener })?;
    sys::process::exit_at_once(code)
}
