//! Eight clients that do nothing wrong, and what they see: each sends a GET or a SET every few milliseconds. A call that takes longer counts as
//! all those that it kept its client from sending, so that a stop of the service counts for as long as it lasted and not as one slow call.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use emptyserver::sys::clock;
use hdrhistogram::Histogram;

use crate::support::{Connection, Service, wait_until};

const CLIENTS: usize = 8;
const PACE: Duration = Duration::from_millis(4);
/// Somebody new comes so often.
const NEWCOMER_PACE: Duration = Duration::from_millis(50);
const KEYS: usize = 32;
/// Whoever has no answer by then was refused.
const PATIENCE: Duration = Duration::from_secs(5);

/// What they saw in one phase.
pub(crate) struct Seen {
    latencies_us: Histogram<u64>,
    /// What went wrong: an error, a wrong value, a closed connection.
    pub(crate) refused: Vec<String>,
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self { latencies_us: Histogram::new(3).unwrap(), refused: Vec::new() }
    }

    /// A call took so long; others were due meanwhile, one each `pace`.
    fn record(&mut self, latency: Duration, pace: Duration) {
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap();
        self.latencies_us.record_correct(us(latency), us(pace)).unwrap();
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.latencies_us.add(other.latencies_us).unwrap();
        self.refused.extend(other.refused);
    }

    pub(crate) fn calls(&self) -> u64 {
        self.latencies_us.len()
    }

    pub(crate) fn at(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.latencies_us.value_at_quantile(quantile))
    }

    pub(crate) fn worst(&self) -> Duration {
        Duration::from_micros(self.latencies_us.max())
    }
}

struct Innocent {
    number: usize,
    connection: Connection,
    /// What each of its keys has to hold.
    expected: Vec<Option<String>>,
    turns: usize,
    /// Nothing went wrong so far: who was refused once says nothing more.
    is_well: bool,
}

pub(crate) struct Innocents {
    clients: Vec<Innocent>,
    address: SocketAddr,
    password: Option<String>,
}

impl Innocents {
    /// At least two on each worker.
    pub(crate) fn connect(service: &Service, password: Option<&str>) -> Self {
        wait_until("innocents on all workers", PATIENCE * 4, || {
            let mut innocents = Self::connect_anyhow(service, password);
            let spread = innocents.spread();
            spread.iter().all(|count| *count >= 2).then_some(innocents)
        })
    }

    fn connect_anyhow(service: &Service, password: Option<&str>) -> Self {
        let clients = (0..CLIENTS).map(|number| Innocent {
            number,
            connection: open(service.address(), password).unwrap(),
            expected: vec![None; KEYS],
            turns: 0,
            is_well: true,
        });
        Self { clients: clients.collect(), address: service.address(), password: password.map(str::to_owned) }
    }

    /// While `body` runs.
    pub(crate) fn during<T>(&mut self, body: impl FnOnce() -> T) -> (Seen, T) {
        let is_over = AtomicBool::new(false);
        let (address, password) = (self.address, self.password.as_deref());
        let start = clock::monotonic();
        let mut seen = Seen::new();
        let result = thread::scope(|scope| {
            let is_over = &is_over;
            let mut threads: Vec<_> =
                self.clients.iter_mut().map(|client| scope.spawn(move || client.run(start, is_over))).collect();
            threads.push(scope.spawn(move || newcomers(address, password, start, is_over)));
            let end = SetAtEnd(is_over);
            let result = body();
            drop(end);
            threads.into_iter().for_each(|thread| seen.add(thread.join().unwrap()));
            result
        });
        (seen, result)
    }

    /// How many are on each worker, as INFO has it.
    fn spread(&mut self) -> Vec<u64> {
        let info = self.clients[0].connection.call(&["INFO", "workers"]).text();
        figures(&info, "connections=").collect()
    }

    /// Of all processes, since the service began.
    pub(crate) fn restarts(&mut self) -> Result<u64, String> {
        let info = self.clients[0].connection.try_call(&["INFO", "everything"]).map_err(|error| error.to_string())?;
        Ok(figures(&info.text(), "restarts=").sum::<u64>() + figures(&info.text(), "writer_restarts:").sum::<u64>())
    }
}

/// The numbers behind each such name.
fn figures<'a>(info: &'a str, name: &'a str) -> impl Iterator<Item = u64> + 'a {
    info.match_indices(name).filter_map(move |(at, _)| {
        let rest = &info[at + name.len()..];
        rest[..rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
    })
}

fn open(address: SocketAddr, password: Option<&str>) -> std::io::Result<Connection> {
    let mut connection = Connection::try_open(address)?;
    connection.patience = PATIENCE;
    if let Some(password) = password {
        connection.try_call(&["AUTH", password])?;
    }
    Ok(connection)
}

impl Innocent {
    fn run(&mut self, start: Instant, is_over: &AtomicBool) -> Seen {
        // Not all at the same instant.
        let first = start + PACE * u32::try_from(self.number).unwrap() / u32::try_from(CLIENTS).unwrap();
        if !self.is_well {
            return Seen::new();
        }
        paced(first, PACE, is_over, |seen| {
            if let Err(error) = self.turn() {
                seen.refused.push(format!("innocent {}: {error}", self.number));
                self.is_well = false;
            }
            self.is_well
        })
    }

    fn turn(&mut self) -> Result<(), String> {
        let index = self.turns / 2 % KEYS;
        let key = format!("innocent:{}:{index}", self.number);
        let is_write = self.turns.is_multiple_of(2);
        self.turns += 1;
        if is_write {
            let value = format!("{}{}", self.turns, "v".repeat(100));
            let answer = self.connection.try_call(&["SET", &key, &value]).map_err(|error| error.to_string())?;
            self.expected[index] = Some(value);
            return if answer.to_string() == "+OK" { Ok(()) } else { Err(format!("SET: {answer}")) };
        }
        // Another one than was just written: what the cache does not know comes from a lane.
        let index = (index + KEYS / 2) % KEYS;
        let key = format!("innocent:{}:{index}", self.number);
        let answer = self.connection.try_call(&["GET", &key]).map_err(|error| error.to_string())?;
        if answer.is_error() {
            return Err(format!("GET: {answer}"));
        }
        let value = answer.bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        if value == self.expected[index] { Ok(()) } else { Err(format!("GET gave {value:?}")) }
    }
}

/// Whoever comes anew is served as well.
fn newcomers(address: SocketAddr, password: Option<&str>, start: Instant, is_over: &AtomicBool) -> Seen {
    paced(start, NEWCOMER_PACE, is_over, |seen| {
        let answer = open(address, password).and_then(|mut connection| connection.try_call(&["PING"]));
        match answer {
            Ok(answer) if answer.to_string() == "+PONG" => true,
            other => {
                seen.refused.push(format!("a newcomer: {other:?}"));
                false
            }
        }
    })
}

/// Does `step` at `first` and each `pace` later, or when the one before is done, until it says no or all is over.
pub(crate) fn paced(
    first: Instant,
    pace: Duration,
    is_over: &AtomicBool,
    mut step: impl FnMut(&mut Seen) -> bool,
) -> Seen {
    let mut seen = Seen::new();
    let mut due = first;
    while !is_over.load(Ordering::SeqCst) {
        let now = clock::monotonic();
        if now < due {
            thread::park_timeout(due - now);
            continue;
        }
        let goes_on = step(&mut seen);
        seen.record(clock::monotonic() - now, pace);
        if !goes_on {
            break;
        }
        due = (due + pace).max(now);
    }
    seen
}

/// Ends the others' loops also when the test panics.
pub(crate) struct SetAtEnd<'a>(pub(crate) &'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
