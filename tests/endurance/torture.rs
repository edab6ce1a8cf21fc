//! The cache under torture: readers on several workers, writers of all kinds, transactions that compete, and a writer process and
//! workers that are killed meanwhile, at random moments and at the worst ones. Not one read may be older than a write that was
//! acknowledged, or than what any client had seen, before it was sent; and of transactions that watch a key one runs.
//!
//! `TORTURE_SECONDS=600 cargo test --release --test endurance torture -- --nocapture` goes on for so long. `tests/broken_variants.sh`
//! shows that it fails when the cache is wrong.

mod arena;
mod hashes;
mod objects;
mod readers;
mod writers;

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Service, number_from_environment, signal, turn};
use arena::{Arena, Dice};
use emptyserver::sys::clock;
use nix::sys::signal::Signal;
use objects::{Family, objects};

const WORKERS: u64 = 4;
const READERS: u64 = 3;
const WRITERS: usize = 3;
/// Small, so that records push each other out: some 400 of them for each worker.
const CACHE_BYTES: &str = "256Ki";
/// Deaths in a row, of which the last few are followed by a short delay; and the rest after them, which ends the row: it begins when the
/// service writes again, since only who has lived for two seconds is started without a delay the next time.
const DEATHS_IN_A_ROW: usize = 5;
const BETWEEN_DEATHS: Duration = Duration::from_millis(150);
const REST: Duration = Duration::from_millis(2200);
/// Where a write is decided but not known to all come first, and twice.
const POINTS: [&str; 6] =
    ["after-commit", "before-unmark", "after-commit", "before-commit", "before-unmark", "amid-replies"];

fn fill(service: &Service) {
    let mut connection = service.connect();
    let numbers: Vec<usize> = (0..readers::BALLAST_KEYS).collect();
    for numbers in numbers.chunks(200) {
        let pairs = numbers.iter().flat_map(|number| <[String; 2]>::from(readers::ballast(*number)));
        let words: Vec<String> = std::iter::once("MSET".to_owned()).chain(pairs).collect();
        assert_eq!(connection.call(&words).to_string(), "+OK");
    }
}

/// Kills at random moments and, through the writers, at the named points, until the time is over. Says how often at random.
fn kill(service: &Service, arena: &Arena, until: Instant, seed: u64) -> (u64, u64) {
    let mut dice = Dice::new(seed);
    let of = |family| (0..arena.objects.len()).filter(move |number| arena.objects[*number].family == family);
    let (flushing, twice) =
        (of(Family::Flush).next().unwrap(), of(Family::Exec).chain(of(Family::Script)).collect::<Vec<usize>>());
    let (mut writers, mut workers) = (0, 0);
    let is_over = || arena.is_over() || clock::monotonic() >= until;
    for death in 0.. {
        if death % DEATHS_IN_A_ROW == 0 {
            wait_for_a_write(arena, is_over);
            wait(REST, is_over);
        } else {
            wait(BETWEEN_DEATHS, is_over);
        }
        if is_over() {
            return (writers, workers);
        }
        match death % 6 {
            0 => {
                service.process("write").into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
                writers += 1;
            }
            1 => {
                let worker = format!("worker-{}", dice.roll(WORKERS as usize));
                service.process(&worker).into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
                workers += 1;
            }
            _ => {
                // What changes everything at once has its own rules, and so has what is changed twice; both are rare otherwise.
                let number = match dice.roll(3) {
                    0 => flushing,
                    1 => twice[dice.roll(twice.len())],
                    _ => dice.roll(arena.objects.len()),
                };
                *arena.order.lock().unwrap() = Some((number, POINTS[dice.roll(POINTS.len())]));
            }
        }
    }
    (writers, workers)
}

fn wait_for_a_write(arena: &Arena, is_over: impl Fn() -> bool) {
    while !is_over() {
        let Some(mut connection) = arena.connect() else { return };
        if connection.try_call(&["SET", "alive", "yes"]).is_ok() {
            return;
        }
    }
}

fn wait(time: Duration, is_over: impl Fn() -> bool) {
    let until = clock::monotonic() + time;
    while !is_over() && clock::monotonic() < until {
        thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn nothing_that_is_read_is_older_than_what_was_acknowledged_or_seen_whoever_dies() {
    let _turn = turn();
    let seconds = number_from_environment("TORTURE_SECONDS", 12);
    let seed = number_from_environment("TORTURE_SEED", u64::from(std::process::id()));
    let contenders = number_from_environment("TORTURE_CONTENDERS", 6);
    let workers = WORKERS.to_string();
    // 0: every group goes into the tables at once.
    let journal_bytes = number_from_environment("TORTURE_JOURNAL_BYTES", 8 << 20).to_string();
    let service = Service::start(&[
        ("WORKERS", workers.as_str()),
        ("CACHE_BYTES", CACHE_BYTES),
        ("JOURNAL_BYTES_MAX", journal_bytes.as_str()),
        ("DEBUG_COMMANDS", "yes"),
        ("DURABILITY", "os"),
    ]);
    fill(&service);
    let arena = Arena::new(service.address(), objects(3));
    let until = clock::monotonic() + Duration::from_secs(seconds);
    let (arena, service) = (&arena, &service);
    let (random_kills, worker_kills, count) = thread::scope(|scope| {
        let contending = scope.spawn(|| writers::contend(arena, contenders));
        for part in 0..WRITERS {
            scope.spawn(move || writers::write(arena, part, WRITERS, seed + part as u64));
        }
        for reader in 0..READERS {
            scope.spawn(move || readers::read(arena, seed + 100 + reader));
        }
        let (writers, workers) = kill(service, arena, until, seed + 1000);
        arena.end();
        (writers, workers, contending.join().unwrap())
    });
    let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::SeqCst);
    let mut connection = service.connect();
    let (hits, fresh) = (connection.of_info("cache_hits"), connection.of_info("memtable_hits"));
    println!(
        "seed {seed}: {} reads ({hits} from a cache, {fresh} from the memtable, {} of what is there in truth, {} undecided), {} writes ({} without a \
         reply), {} transactions that ran and {} that did not; killed: the writer {random_kills} times at random and {} at \
         named points, a worker {worker_kills} times",
        of(&arena.reads),
        of(&arena.peeks),
        of(&arena.unjudged),
        of(&arena.writes),
        of(&arena.unknown_writes),
        of(&arena.execs),
        of(&arena.refused_execs),
        of(&arena.kills_at_points),
    );
    let findings = arena.findings();
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
    assert_eq!(
        connection.call(&["GET", "count"]).text(),
        count.to_string(),
        "finding: lost exclusion: each EXEC counts one"
    );
    assert!(of(&arena.reads) > 500 * seconds && hits > 200 * seconds, "too few reads to prove anything");
    assert!(of(&arena.writes) > 50 * seconds, "too few writes to prove anything");
    assert!(contenders == 0 || of(&arena.execs) > 5 * seconds, "too few transactions to prove anything");
    assert!(random_kills + worker_kills > 0 && of(&arena.kills_at_points) > seconds / 4, "too few deaths");
}
