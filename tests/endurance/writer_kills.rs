//! Only the writer dies, at the points of its life where a write could get lost or be done twice, while clients append
//! unique ids: what was acknowledged is there exactly once, everything else at most once.
//!
//! `WRITER_KILLS=200 cargo test --release --test endurance writer_kills -- --nocapture` kills so often at each point.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::{Connection, Service, Value, number_from_environment, turn, wait_until};
use emptyserver::sys::clock;

const CLIENTS: usize = 8;
const LOGS: usize = 4;
/// So many deaths in a row are followed by a start without delay, and a writer that lived so long is a sound one again.
const KILLS_IN_A_ROW: u64 = 3;
const SOUND: Duration = Duration::from_millis(2100);
const POINTS_OF_A_GROUP: &[&str] =
    &["journal-appended", "group-committed", "half-inserted", "rows-inserted", "ahead-published", "group-published"];
const POINTS_OF_A_GENERATION: &[&str] = &[
    "slice-applied",
    "merge-committed",
    "merged-published",
    "pins-seen",
    "nonce-cleared",
    "generation-cleared",
    "nonce-set",
    "generation-begun",
];
const PATIENCE: Duration = Duration::from_secs(30);

/// What one client has seen, for others to read while it goes on.
#[derive(Default)]
struct Seen {
    acknowledged: AtomicU64,
    /// Connections that closed on it.
    closed: AtomicU64,
    slowest_us: AtomicU64,
}

/// What became of an id, as far as its client knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Acknowledged,
    /// No reply came.
    Unknown,
    /// Answered with an error.
    Refused,
}

struct Client {
    seen: Arc<Seen>,
    thread: JoinHandle<HashMap<String, Fate>>,
}

struct Load {
    clients: Vec<Client>,
    is_over: Arc<AtomicBool>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let client = |number| {
            let (seen, is_over) = (Arc::new(Seen::default()), Arc::clone(&is_over));
            let shared = Arc::clone(&seen);
            Client { seen, thread: thread::spawn(move || append(number, address, &shared, &is_over)) }
        };
        Self { clients: (0..CLIENTS).map(client).collect(), is_over }
    }

    fn sum(&self, of: impl Fn(&Seen) -> u64) -> u64 {
        self.clients.iter().map(|client| of(&client.seen)).sum()
    }

    fn closed(&self) -> u64 {
        self.sum(|seen| seen.closed.load(Ordering::SeqCst))
    }

    /// Every client has got so many more acknowledgements: whatever was under way before is answered.
    fn wait_for_progress(&self, more: u64) {
        let goals: Vec<u64> =
            self.clients.iter().map(|client| client.seen.acknowledged.load(Ordering::SeqCst) + more).collect();
        wait_until("acknowledgements for every client", PATIENCE, || {
            let has_come = |(client, goal): (&Client, &u64)| client.seen.acknowledged.load(Ordering::SeqCst) >= *goal;
            self.clients.iter().zip(&goals).all(has_come).then_some(())
        });
    }

    fn end(self) -> HashMap<String, Fate> {
        self.is_over.store(true, Ordering::SeqCst);
        self.clients.into_iter().flat_map(|client| client.thread.join().unwrap()).collect()
    }
}

fn append(client: usize, address: SocketAddr, seen: &Seen, is_over: &AtomicBool) -> HashMap<String, Fate> {
    let mut fates = HashMap::new();
    let mut connection = Connection::open(address);
    for number in 0_u64.. {
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        let id = format!("{client}.{number}");
        let begun = clock::monotonic();
        let reply = connection.try_call(&["APPEND", &format!("log:{}", number as usize % LOGS), &format!("{id};")]);
        seen.slowest_us.fetch_max(micros(begun), Ordering::SeqCst);
        let fate = match reply {
            Ok(Value::Integer(_)) => {
                seen.acknowledged.fetch_add(1, Ordering::SeqCst);
                Fate::Acknowledged
            }
            Ok(_) => Fate::Refused,
            Err(_) => {
                seen.closed.fetch_add(1, Ordering::SeqCst);
                connection = Connection::open(address);
                Fate::Unknown
            }
        };
        fates.insert(id, fate);
    }
    fates
}

fn micros(since: Instant) -> u64 {
    u64::try_from(clock::monotonic().duration_since(since).as_micros()).unwrap_or(u64::MAX)
}

/// How often each id stands in the logs.
fn counts(service: &Service) -> HashMap<String, u64> {
    let mut connection = service.connect();
    let mut counts = HashMap::new();
    for log in 0..LOGS {
        for id in connection.call(&["GET", &format!("log:{log}")]).text().split_terminator(';') {
            *counts.entry(id.to_owned()).or_default() += 1;
        }
    }
    counts
}

/// Kills the writer again and again at `point`. Gives the pauses that the slowest client saw.
fn kill_at(service: &Service, point: &str, kills: u64, load: &Load) -> Vec<u64> {
    let mut control = service.connect();
    let mut pauses = Vec::new();
    for kill in 0..kills {
        if kill % KILLS_IN_A_ROW == 0 {
            let begun = clock::monotonic();
            wait_until("a writer that has lived for a while", PATIENCE, || {
                (clock::monotonic().duration_since(begun) >= SOUND).then_some(())
            });
        }
        load.wait_for_progress(3);
        let old = service.process("write").unwrap();
        load.clients.iter().for_each(|client| client.seen.slowest_us.store(0, Ordering::SeqCst));
        assert_eq!(control.call(&["DEBUG", "KILL-WRITER", point]).to_string(), "+OK");
        wait_until("another writer", PATIENCE, || service.process("write").filter(|new| *new != old));
        load.wait_for_progress(2);
        let slowest = load.clients.iter().map(|client| client.seen.slowest_us.load(Ordering::SeqCst)).max();
        pauses.push(slowest.unwrap_or_default());
    }
    pauses.sort_unstable();
    pauses
}

/// Kills the writer at each of these points; `settings` besides.
fn kill_at_points(points: &[&str], settings: &[(&str, &str)]) {
    let _turn = turn();
    let kills = number_from_environment("WRITER_KILLS", 6);
    for point in points {
        let service = Service::start(&[&[("WORKERS", "2"), ("DEBUG_COMMANDS", "yes")], settings].concat());
        let load = Load::start(service.address());
        let pauses = kill_at(&service, point, kills, &load);
        let closed = load.closed();
        let fates = load.end();
        let counts = counts(&service);
        println!(
            "{kills} kills {point}: {} ids, {closed} connections closed, the pause was {:.1} ms in the middle and {:.1} ms at most",
            fates.len(),
            pauses[pauses.len() / 2] as f64 / 1000.0,
            pauses[pauses.len() - 1] as f64 / 1000.0,
        );
        for (id, fate) in &fates {
            let count = counts.get(id).copied().unwrap_or_default();
            let is_right = match fate {
                Fate::Acknowledged => count == 1,
                Fate::Unknown => count <= 1,
                Fate::Refused => count == 0,
            };
            assert!(is_right, "{point}: {id} stands there {count} times");
        }
        let strangers: Vec<&String> = counts.keys().filter(|id| !fates.contains_key(*id)).collect();
        assert!(strangers.is_empty(), "{point}: nobody sent {strangers:?}");
        let refused = fates.values().filter(|fate| **fate == Fate::Refused).count();
        assert_eq!(refused, 0, "{point}: a command was refused");
        if *point == "before-commit" {
            assert_eq!(closed, 0, "a kill before COMMIT closes no connection");
        }
    }
}

#[test]
fn a_killed_writer_loses_nothing_and_repeats_nothing() {
    kill_at_points(&["before-commit", "after-commit", "before-unmark", "amid-replies"], &[]);
}

/// Between COMMIT and S, amid a merge, amid a generation's change, and while a successor takes over.
#[test]
fn a_writer_that_is_killed_beside_its_memory_loses_nothing_and_repeats_nothing() {
    // Each generation is full after some hundred calls.
    let settings = [("JOURNAL_BYTES_MAX", "4Mi")];
    kill_at_points(&["before-commit", "after-commit", "before-unmark", "amid-replies"], &settings);
    kill_at_points(POINTS_OF_A_GROUP, &settings);
    kill_at_points(POINTS_OF_A_GENERATION, &settings);
}
