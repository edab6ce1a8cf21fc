//! Calls that change many keys' worth of rows are prepared beside the writer: they come whole or not at all, and nobody waits for them, while
//! the writer and the workers are killed at any moment, and while what they read changes under them.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::kills::kill_for;
use crate::support::{Connection, Service, number_from_environment, program, turn, wait_until};
use emptyserver::sys::clock;

/// More than a call may change while others wait for it.
const MEMBERS: u64 = 12_000;
/// Every so many-th member of the other set is one of both.
const SHARED: u64 = 4;
const POINTS: [&str; 4] = ["order-served", "before-commit", "order-served", "after-commit"];
const ROUNDS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(60);

fn fill(connection: &mut Connection, key: &str, member: impl Fn(u64) -> String) {
    for first in (0..MEMBERS).step_by(1000) {
        let words: Vec<String> = (first..first + 1000).flat_map(|n| [n.to_string(), member(n)]).collect();
        let mut call = vec!["ZADD", key];
        call.extend(words.iter().map(String::as_str));
        connection.call(&call);
    }
}

/// The calls, and what each leaves under which key.
const CALLS: [(&[&str], &str, u64); 6] = [
    (&["ZUNIONSTORE", "union", "2", "a", "b"], "union", 2 * MEMBERS - MEMBERS / SHARED),
    (&["ZINTERSTORE", "both", "2", "a", "b"], "both", MEMBERS / SHARED),
    (&["COPY", "a", "copy", "REPLACE"], "copy", MEMBERS),
    (&["ZRANGESTORE", "part", "a", "1000", "9999"], "part", 9000),
    (&["ZREMRANGEBYRANK", "copy", "0", "5999"], "copy", MEMBERS - 6000),
    (&["SORT", "a", "ALPHA", "STORE", "sorted"], "sorted", MEMBERS),
];

/// What became of calls.
#[derive(Default)]
struct Became {
    done: u64,
    /// With their connections.
    lost: u64,
    /// A slow machine does not prepare such a call between two of the writer's deaths: after three in a row it is refused.
    refused: u64,
}

const REFUSAL: &str = "-ERR internal error";
const REFUSAL_LOGGED: &str = "a call is refused: a writer died each time while it was prepared";

/// One after the other, again and again. What was acknowledged is there with the next look; of what was not, either it or what was before.
fn call_on(address: SocketAddr, is_over: &AtomicBool) -> Became {
    let (mut connection, mut became) = (None, Became::default());
    for (call, key, count) in CALLS.iter().cycle() {
        let open = loop {
            match connection.as_mut() {
                Some(open) => break open,
                None => connection = Connection::try_open(address).ok(),
            }
        };
        let length = if *key == "sorted" { "LLEN" } else { "ZCARD" };
        match open.try_call(call) {
            Ok(reply) if reply.to_string() == REFUSAL => became.refused += 1,
            Ok(reply) if reply.is_error() => panic!("{call:?}: {reply}"),
            Ok(_) => {
                became.done += 1;
                // Nobody else changes it: the copy alone was cut before its removal came.
                if let Ok(found) = open.try_call(&[length, key]) {
                    let is_expected = found.integer() == i64::try_from(*count).unwrap() || *key == "copy";
                    assert!(is_expected || found.is_error(), "{call:?} was answered, and left {found}");
                }
            }
            Err(_) => {
                became.lost += 1;
                connection = None;
            }
        }
        if is_over.load(Ordering::SeqCst) {
            return became;
        }
    }
    unreachable!("the calls go round")
}

/// Writes what has nothing to do with them, and now and then gives a member of their sources another score.
fn write_beside(address: SocketAddr, is_over: &AtomicBool, written: &AtomicU64) {
    let (mut connection, mut number) = (None, 0_u64);
    while !is_over.load(Ordering::SeqCst) {
        let Some(open) = connection.as_mut() else {
            connection = Connection::try_open(address).ok();
            continue;
        };
        number += 1;
        let text = number.to_string();
        let call: &[&str] = match number % 200 {
            0 => &["ZADD", "a", "XX", &text, "member 7"],
            _ => &["SET", "beside", &text],
        };
        match open.try_call(call) {
            Ok(_) => drop(written.fetch_add(1, Ordering::SeqCst)),
            Err(_) => connection = None,
        }
        clock::pause(Duration::from_millis(1));
    }
}

fn service() -> Service {
    let service = Service::start(&[("WORKERS", "4"), ("DEBUG_COMMANDS", "yes")]);
    let mut control = service.connect();
    fill(&mut control, "a", |n| format!("member {n}"));
    fill(&mut control, "b", |n| if n % SHARED == 0 { format!("member {n}") } else { format!("other {n}") });
    service
}

#[test]
fn long_calls_come_whole_or_not_at_all_whoever_is_killed() {
    let _turn = turn();
    let seconds = number_from_environment("LONG_CALLS_SECONDS", 10);
    let mut service = service();
    let address = service.address();
    let (is_over, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let calling: Vec<_> = (0..2)
        .map(|_| {
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || call_on(address, &is_over))
        })
        .collect();
    let writing = {
        let (is_over, written) = (Arc::clone(&is_over), Arc::clone(&written));
        thread::spawn(move || write_beside(address, &is_over, &written))
    };
    let kills = kill_for(&service, seconds, &POINTS);
    is_over.store(true, Ordering::SeqCst);
    writing.join().unwrap();
    let became: Vec<Became> = calling.into_iter().map(|calls| calls.join().unwrap()).collect();
    let sum = |count: fn(&Became) -> u64| became.iter().map(count).sum::<u64>();
    let (done, lost, refused) = (sum(|became| became.done), sum(|became| became.lost), sum(|became| became.refused));
    assert!(done > 0, "no call was answered, {lost} connections were lost, {refused} were refused");
    // A worker that dies takes the refusal with it.
    let logged = service.log().lines().iter().filter(|line| line.contains(REFUSAL_LOGGED)).count() as u64;
    assert!(refused <= logged, "{refused} calls were refused, and {logged} for the writer's deaths");
    // All of them once more, in peace, and nothing is left over.
    let mut control = service.connect();
    for (call, key, count) in CALLS {
        assert!(!control.call(call).is_error());
        let length = if key == "sorted" { "LLEN" } else { "ZCARD" };
        assert_eq!(control.call(&[length, key]).integer(), i64::try_from(count).unwrap(), "{call:?}");
    }
    wait_until("the sweeper", PATIENCE, || {
        control.call(&["SAVE"]);
        let orphans = rusqlite_count(&service, "SELECT count(*) FROM orphan");
        (orphans == 0).then_some(())
    });
    drop(control);
    assert!(service.stop().success());
    let checked =
        Command::new(program()).arg("check").env_clear().env("EMPTYSERVER_DATA", service.data()).output().unwrap();
    let text = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(text.contains("no problem found"), "{text}");
    println!(
        "{kills} kills in {seconds} s: {done} calls were answered, {lost} lost with their connections, {refused} refused, {} writes beside",
        written.load(Ordering::SeqCst)
    );
}

fn rusqlite_count(service: &Service, sql: &str) -> u64 {
    let connection = rusqlite::Connection::open_with_flags(
        service.data().join("data.db"),
        rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
    );
    connection.unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Others are answered while such a call goes on: each of their groups would have waited for all of it. And it holds as of the moment when it
/// is seen: nothing that was acknowledged before is missing in it.
#[test]
fn others_write_while_a_long_call_is_prepared_and_none_of_what_they_wrote_is_missing_in_it() {
    let _turn = turn();
    let service = service();
    let address = service.address();
    let is_over = Arc::new(AtomicBool::new(false));
    let calling = {
        let is_over = Arc::clone(&is_over);
        thread::spawn(move || {
            let mut connection = Connection::try_open(address).unwrap();
            for (call, ..) in CALLS.iter().cycle().take(ROUNDS * CALLS.len()) {
                assert!(!connection.call(call).is_error());
            }
            is_over.store(true, Ordering::SeqCst);
        })
    };
    let mut connection = Connection::try_open(address).unwrap();
    let (mut written, mut score) = (0_u64, 0);
    // What the union said last, and which score was acknowledged before that.
    let mut seen = (String::new(), 0);
    while !is_over.load(Ordering::SeqCst) {
        connection.call(&["SET", "beside", "value"]);
        written += 1;
        if written % 50 == 0 {
            score += 1;
            connection.call(&["ZADD", "a", "XX", &(1_000_000 + score).to_string(), "member 7"]);
        }
        let found = connection.call(&["ZSCORE", "union", "member 7"]);
        let found = found.text();
        if found != seen.0 && !seen.0.is_empty() {
            let has = found.parse::<u64>().unwrap();
            assert!(has >= 1_000_000 + seen.1, "a union that came later has {has}, where {} was acknowledged", seen.1);
        }
        seen = (found, score);
    }
    calling.join().unwrap();
    let calls = (ROUNDS * CALLS.len()) as u64;
    assert!(written > 4 * calls, "{written} writes beside {calls} long calls");
}
