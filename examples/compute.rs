//! Heavy arithmetic on the core: `primes N` counts the primes below N on a pool thread, any other line comes back at once.
//! However much is being counted, the loop goes on answering; a lane that is full makes connections wait in order.
//!
//! ```text
//! cargo run --release --example compute -- --listen 127.0.0.1:7000 --workers 2
//! ```

use emptyserver::server::{
    Application, Effects, Executor, ExecutorContext, Input, LaneId, LaneSpec, Outbox, Peer, Refusal, Responder, Runs,
    Service, Slot, StartError, Step, Task, Wire, WorkerContext,
};

#[path = "support/start.rs"]
mod start;

struct Compute;

/// Count the primes below this number.
struct Primes(u64);
struct Answer(String);

impl Wire for Primes {
    fn encode(&mut self, out: &mut Vec<u8>) -> Option<bytes::Bytes> {
        out.extend_from_slice(&self.0.to_le_bytes());
        None
    }
    fn decode(bytes: &bytes::Bytes) -> Option<Primes> {
        Some(Primes(u64::from_le_bytes(bytes[..].try_into().ok()?)))
    }
}

impl Wire for Answer {
    fn encode(&mut self, out: &mut Vec<u8>) -> Option<bytes::Bytes> {
        out.extend_from_slice(self.0.as_bytes());
        None
    }
    fn decode(bytes: &bytes::Bytes) -> Option<Answer> {
        Some(Answer(String::from_utf8(bytes.to_vec()).ok()?))
    }
}

impl Application for Compute {
    type Service = WorkerState;
    type Executor = Counter;
    type Job = Primes;
    type Done = Answer;

    fn lanes(&self) -> Vec<LaneSpec> {
        // Long jobs: a thread takes one at a time, few are let in, and the loop comes first.
        vec![LaneSpec { name: "compute", runs: Runs::Threads(1), jobs_max: 2, batch_max: 1, niceness: 5 }]
    }
    fn service(&self, _context: &WorkerContext) -> Result<WorkerState, StartError> {
        Ok(WorkerState)
    }
    fn executor(&self, _lane: LaneId, _context: &ExecutorContext) -> Result<Counter, StartError> {
        Ok(Counter)
    }
    fn turned_away(&self) -> &'static [u8] {
        b"too many connections\n"
    }
}

struct WorkerState;

impl Service for WorkerState {
    type Session = ();
    type Job = Primes;
    type Done = Answer;

    fn open(&mut self, _peer: Peer, _effects: &mut Effects) {}

    fn receive(&mut self, (): &mut (), input: &mut Input, out: &mut Outbox, _effects: &mut Effects) -> Step<Primes> {
        while let Some(line) = start::next_line(input) {
            let below = line.strip_prefix(b"primes ").and_then(start::number);
            match below {
                Some(below) => return Step::Submit(LaneId(0), Primes(below)),
                None => write(&String::from_utf8_lossy(&line), out),
            }
        }
        if input.len() > start::LINE_BYTES_MAX { Step::Close } else { Step::NeedInput }
    }

    fn complete(&mut self, (): &mut (), done: Answer, out: &mut Outbox, _effects: &mut Effects) -> Step<Primes> {
        write(&done.0, out);
        Step::NeedInput
    }

    fn resume(&mut self, (): &mut (), _out: &mut Outbox, _effects: &mut Effects) -> Step<Primes> {
        Step::NeedInput
    }
    fn close(&mut self, (): (), _effects: &mut Effects) {}
    fn hear(&mut self, _from: Slot, _message: &[u8], _effects: &mut Effects) {}
    fn lost(&mut self, _from: Slot, _effects: &mut Effects) {}
    fn tick(&mut self, _effects: &mut Effects) {}
}

fn write(line: &str, out: &mut Outbox) {
    out.buffer().extend_from_slice(line.as_bytes());
    out.buffer().push(b'\n');
}

struct Counter;

impl Executor for Counter {
    type Job = Primes;
    type Done = Answer;

    fn run(&mut self, tasks: &[Task<Primes>], responder: &mut dyn Responder<Answer>) {
        for task in tasks {
            responder.answer(task.id, Answer(count_primes(task.job.0).to_string()));
        }
    }

    fn refuse(&self, _job: &Primes, why: Refusal) -> Answer {
        Answer(format!("refused: {why:?}"))
    }
}

/// By trial division: slow on purpose.
fn count_primes(below: u64) -> u64 {
    let is_prime = |n: &u64| (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    (2..below).filter(is_prime).count() as u64
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    start::serve(Compute)
}
