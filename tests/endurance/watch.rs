//! Optimistic locking over several workers: many clients count one key up with WATCH, GET, MULTI, SET, EXEC, and no step
//! is lost or done twice, whether the writer dies meanwhile or not.
//!
//! `WATCH_SECONDS=20 cargo test --release --test endurance watch -- --nocapture` goes on for so long.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::{Connection, Service, Value, number_from_environment, turn, wait_until};
use emptyserver::sys::clock;

const CLIENTS: usize = 32;
const PATIENCE: Duration = Duration::from_secs(30);
/// A writer that lived so long is started again without delay.
const SOUND: Duration = Duration::from_millis(2100);

#[derive(Default)]
struct Outcome {
    executed: u64,
    aborted: u64,
    /// Transactions whose reply got lost: each leaves a key of its own if it was executed.
    unknown: Vec<String>,
}

fn count_up(client: usize, address: SocketAddr, is_over: &AtomicBool, executed: &AtomicU64) -> Outcome {
    let mut outcome = Outcome::default();
    let mut connection = Connection::open(address);
    for attempt in 0_u64.. {
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        let mark = format!("mark:{client}:{attempt}");
        match step(&mut connection, &mark) {
            Ok(true) => {
                outcome.executed += 1;
                executed.fetch_add(1, Ordering::SeqCst);
            }
            Ok(false) => outcome.aborted += 1,
            Err(_) => {
                outcome.unknown.push(mark);
                connection = Connection::open(address);
            }
        }
    }
    outcome
}

/// One attempt. True when it was executed.
fn step(connection: &mut Connection, mark: &str) -> std::io::Result<bool> {
    connection.try_call(&["WATCH", "n"])?;
    let value = connection.try_call(&["GET", "n"])?;
    let next = value.text().parse::<u64>().unwrap_or(0) + 1;
    connection.try_call(&["MULTI"])?;
    connection.try_call(&["SET", "n", &next.to_string()])?;
    connection.try_call(&["SET", mark, "1"])?;
    match connection.try_call(&["EXEC"])? {
        Value::Null(_) => Ok(false),
        Value::Array(replies) => {
            assert!(replies.iter().all(|reply| reply.to_string() == "+OK"), "{replies:?}");
            Ok(true)
        }
        other => panic!("EXEC answers {other}"),
    }
}

/// Kills the writer whenever it has lived for a while and the count has gone on, until the time is over. Says how often.
fn kill_writers(service: &Service, executed: &AtomicU64, time: Duration) -> u64 {
    let end = clock::monotonic() + time;
    let mut kills = 0;
    loop {
        let goal = executed.load(Ordering::SeqCst) + 20;
        let sound = clock::monotonic() + if kills < 3 { Duration::ZERO } else { SOUND };
        let is_over = wait_until("progress", PATIENCE + time, || {
            let now = clock::monotonic();
            let has_gone_on = executed.load(Ordering::SeqCst) >= goal && now >= sound;
            (now >= end || has_gone_on).then_some(now >= end)
        });
        if is_over {
            return kills;
        }
        service.replace("write");
        kills += 1;
    }
}

fn count_with_many_clients(is_killing: bool) {
    let time = Duration::from_secs(number_from_environment("WATCH_SECONDS", 3));
    let service = Service::start(&[("WORKERS", "4")]);
    let is_over = Arc::new(AtomicBool::new(false));
    let executed = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (address, is_over, executed) = (service.address(), Arc::clone(&is_over), Arc::clone(&executed));
            thread::spawn(move || count_up(client, address, &is_over, &executed))
        })
        .collect();
    let kills = if is_killing {
        kill_writers(&service, &executed, time)
    } else {
        let end = clock::monotonic() + time;
        wait_until("the end of the time", time + PATIENCE, || (clock::monotonic() >= end).then_some(()));
        0
    };
    is_over.store(true, Ordering::SeqCst);
    let outcomes: Vec<Outcome> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    let mut connection = service.connect();
    let mut was_executed = |mark: &&String| connection.call(&["EXISTS", mark]).integer() == 1;
    let unknown: Vec<&String> = outcomes.iter().flat_map(|outcome| &outcome.unknown).collect();
    let found = unknown.iter().filter(|mark| was_executed(mark)).count() as u64;
    let executed: u64 = outcomes.iter().map(|outcome| outcome.executed).sum();
    let aborted: u64 = outcomes.iter().map(|outcome| outcome.aborted).sum();
    let value: u64 = connection.call(&["GET", "n"]).text().parse().unwrap();
    println!(
        "{executed} executed, {aborted} aborted, {} without a reply of which {found} were executed, {kills} kills: the value is {value}",
        unknown.len()
    );
    assert!(executed > 0 && aborted > 0, "clients got in each other's way");
    assert_eq!(value, executed + found);
    assert!(!is_killing || kills > 0);
}

#[test]
fn the_value_is_the_number_of_successful_execs() {
    let _turn = turn();
    count_with_many_clients(false);
}

#[test]
fn the_value_is_the_number_of_successful_execs_while_writers_die() {
    let _turn = turn();
    count_with_many_clients(true);
}
