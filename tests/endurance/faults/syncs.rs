//! Syncs and writes that fail, one or all of them.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::strace::{self, Strace};
use crate::support::{Connection, Service, Value, number_from_environment, signal, thread_named, wait_until};
use nix::sys::signal::Signal;

/// What clients that append unique words to a key of their own were told.
struct Appended {
    key: String,
    acknowledged: Vec<String>,
    /// Sent, and never answered: the connection closed.
    unknown: Vec<String>,
    /// Answered with an error: not applied.
    refused: Vec<String>,
}

/// Appends from 4 connections while `disturb` runs; then everybody stops.
fn append_during(service: &Service, disturb: impl FnOnce()) -> Vec<Appended> {
    let is_over = AtomicBool::new(false);
    let over = &is_over;
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|client| scope.spawn(move || append(service, client, over))).collect();
        // Also when it panics: else the clients would go on for ever.
        let outcome = catch_unwind(AssertUnwindSafe(disturb));
        is_over.store(true, Ordering::SeqCst);
        outcome.unwrap_or_else(|panic| resume_unwind(panic));
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    })
}

fn append(service: &Service, client: usize, is_over: &AtomicBool) -> Appended {
    let key = format!("log:{client}");
    let mut told = Appended { key, acknowledged: Vec::new(), unknown: Vec::new(), refused: Vec::new() };
    let mut connection = service.connect();
    let mut number = 0;
    while !is_over.load(Ordering::SeqCst) {
        number += 1;
        let word = format!("{client}-{number};");
        match connection.try_call(&["APPEND", &told.key, &word]) {
            Ok(Value::Integer(_)) => told.acknowledged.push(word),
            Ok(Value::Error(_)) => told.refused.push(word),
            Ok(other) => panic!("{other}"),
            Err(_) => {
                told.unknown.push(word);
                connection = service.connect();
            }
        }
    }
    told
}

/// Acknowledged words once, those without an answer at most once, refused ones never.
fn check(connection: &mut Connection, told: &[Appended]) {
    for told in told {
        let Value::Bulk(bytes) = connection.call(&["GET", &told.key]) else { panic!("{} is gone", told.key) };
        let text = String::from_utf8(bytes).unwrap();
        let found: Vec<&str> = text.split_inclusive(';').collect();
        let times = |word: &String| found.iter().filter(|found| *found == word).count();
        for word in &told.acknowledged {
            assert_eq!(times(word), 1, "acknowledged: {word}");
        }
        for word in &told.unknown {
            assert!(times(word) <= 1, "without an answer: {word}");
        }
        for word in &told.refused {
            assert_eq!(times(word), 0, "refused: {word}");
        }
    }
}

fn count(told: &[Appended], of: fn(&Appended) -> &Vec<String>) -> usize {
    told.iter().map(|told| of(told).len()).sum()
}

const SYNCS: &str = "inject=fsync,fdatasync:error=EIO:when=";

#[test]
fn a_failed_sync_of_the_writer_is_answered_to_nobody_and_its_successor_has_all_that_was_acknowledged() {
    if !strace::is_available() {
        return;
    }
    let service = Service::start(&[("WORKERS", "2")]);
    let rounds = number_from_environment("FAULT_ROUNDS", 4);
    let told = append_during(&service, || {
        for round in 0..rounds {
            let writer = service.process("write").unwrap();
            let from = service.log().len();
            let strace = Strace::attach(&[writer], &["-f", "-e", &format!("{SYNCS}{}", 1 + round * 3)]);
            let line = service.log().wait_for(from, Duration::from_secs(20), |line| line.contains("Exited(4)"));
            assert!(line.is_some(), "the writer ends at once");
            drop(strace);
            let line = service.log().wait_for(from, Duration::from_secs(20), |line| {
                line.contains("everything is written and synced again")
            });
            assert!(line.is_some());
            let mut connection = service.connect();
            assert_eq!(connection.ask("SET after 1"), "+OK", "round {round}");
        }
    });
    let mut connection = service.connect();
    check(&mut connection, &told);
    assert!(!service.data().join("data.db-sync-failed").exists(), "it is done");
    let (acknowledged, unknown) = (count(&told, |told| &told.acknowledged), count(&told, |told| &told.unknown));
    assert_eq!(count(&told, |told| &told.refused), 0, "a sync that failed is no error reply");
    println!("{rounds} failed syncs: {acknowledged} acknowledged writes are there, {unknown} had no answer");
}

#[test]
fn a_failed_sync_of_a_checkpoint_ends_the_writer_too() {
    if !strace::is_available() {
        return;
    }
    let service = Service::start(&[("WORKERS", "2"), ("WAL_BYTES_MAX", "1Mi")]);
    let mut connection = service.connect();
    let writer = service.process("write").unwrap();
    let strace = Strace::attach(&[thread_named(writer, "checkpoint")], &["-e", &format!("{SYNCS}1")]);
    let told = append_during(&service, || {
        let value = "v".repeat(10_000);
        wait_until("the end of the writer", Duration::from_secs(20), || {
            for n in 0..20 {
                match connection.try_call(&["SET", &format!("key:{n}"), &value]) {
                    Ok(reply) => assert_eq!(reply.to_string(), "+OK"),
                    // It was committed, and the reply died with the writer.
                    Err(_) => connection = service.connect(),
                }
            }
            service.process("write").filter(|new| *new != writer)
        });
    });
    drop(strace);
    check(&mut service.connect(), &told);
    assert!(service.log().lines().iter().any(|line| line.contains("everything is written and synced again")));
}

#[test]
fn a_failed_sync_is_remembered_when_the_whole_service_ends_before_it_is_made_good() {
    if !strace::is_available() {
        return;
    }
    let mut service = Service::start(&[("WORKERS", "1")]);
    assert_eq!(service.connect().ask("SET a 1"), "+OK");
    let writer = service.process("write").unwrap();
    // The supervisor stands still, so nobody takes the writer's place.
    signal(service.pid(), Signal::SIGSTOP);
    let strace = Strace::attach(&[writer], &["-f", "-e", &format!("{SYNCS}1+")]);
    let mut connection = service.connect();
    connection.send(&["SET", "b", "2"]);
    let note = service.data().join("data.db-sync-failed");
    wait_until("the note", Duration::from_secs(20), || note.exists().then_some(()));
    service.kill_all();
    drop(strace);
    assert!(connection.is_closed(), "nothing was answered");
    service.restart();
    assert!(!note.exists());
    assert!(service.log().lines().iter().any(|line| line.contains("everything is written and synced again")));
    assert_eq!(service.connect().ask("GET a"), "\"1\"");
}

#[test]
fn while_no_sync_works_nothing_is_acknowledged_and_reads_go_on() {
    if !strace::is_available() {
        return;
    }
    let service = Service::start(&[("WORKERS", "2")]);
    let mut connection = service.connect();
    assert_eq!(connection.ask("SET a 1"), "+OK");
    let supervisor =
        Strace::attach(&[service.pid(), service.process("write").unwrap()], &["-f", "-e", &format!("{SYNCS}1+")]);
    let mut writing = service.connect();
    writing.send(&["SET", "a", "2"]);
    let from = service.log().len();
    let is_third = |line: &str| line.contains("Exited(4)") && line.contains("\"delay_ms\":50");
    assert!(
        service.log().wait_for(from.saturating_sub(1), Duration::from_secs(20), is_third).is_some(),
        "again and again"
    );
    writing.patience = Duration::from_millis(50);
    assert!(writing.try_read().is_err(), "nothing is acknowledged");
    assert!(["\"1\"", "\"2\""].contains(&connection.ask("GET a").as_str()), "reads go on");
    drop(supervisor);
    // The write is applied once, or its connection closes because nobody knows.
    writing.patience = Duration::from_secs(20);
    match writing.try_read() {
        Ok(reply) => assert_eq!(reply.to_string(), "+OK"),
        Err(error) => println!("the reply was lost: {error}"),
    }
    assert_eq!(connection.ask("SET a 3"), "+OK");
    assert_eq!(connection.ask("GET a"), "\"3\"");
}

#[test]
fn a_failed_write_is_an_error_reply_and_not_applied_and_the_next_one_works() {
    if !strace::is_available() {
        return;
    }
    let service = Service::start(&[("WORKERS", "2")]);
    let mut connection = service.connect();
    // A group of 90 kB is two writes. A disk that was full for a moment only is tried once more.
    let cases = [
        ("EIO", "1+", true),
        ("ENOSPC", "1+", true),
        ("EIO", "1", true),
        ("EIO", "2", true),
        ("ENOSPC", "1", false),
        ("ENOSPC", "2", false),
        ("ENOSPC", "2+2", true),
    ];
    for (error, when, is_refused) in cases {
        assert_eq!(connection.ask("SET a old"), "+OK");
        let writer = service.process("write").unwrap();
        let inject = format!("inject=pwrite64:error={error}:when={when}");
        let strace = Strace::attach(&[thread_named(writer, "write-0")], &["-e", &inject]);
        let reply = connection.call(&["SET", "a", &"new".repeat(30_000)]).to_string();
        if is_refused {
            let word = if error == "EIO" { "could not be read or written" } else { "disk is full" };
            assert!(reply.starts_with("-MISCONF") && reply.contains(word), "{error} {when}: {reply}");
            assert_eq!(connection.ask("GET a"), "\"old\"", "{error} {when}");
        } else {
            assert_eq!((reply.as_str(), connection.ask("STRLEN a").as_str()), ("+OK", ":90000"), "{error} {when}");
        }
        drop(strace);
        assert_eq!(connection.ask("SET a newer"), "+OK", "{error} {when}");
        assert_eq!(connection.ask("GET a"), "\"newer\"", "{error} {when}");
        assert_eq!(service.process("write"), Some(writer), "the same writer goes on");
    }
    let told = append_during(&service, || {
        for when in 1..13 {
            let writer = service.process("write").unwrap();
            let inject = format!("inject=pwrite64:error=ENOSPC:when={when}");
            drop(Strace::attach(&[thread_named(writer, "write-0")], &["-e", &inject]));
        }
    });
    check(&mut connection, &told);
}

#[test]
fn a_checkpoint_that_cannot_write_is_repeated_until_it_can() {
    if !strace::is_available() {
        return;
    }
    let mut service = Service::start(&[("WORKERS", "1"), ("WAL_BYTES_MAX", "1Mi")]);
    let mut connection = service.connect();
    let writer = service.process("write").unwrap();
    let thread = thread_named(writer, "checkpoint");
    let strace = Strace::attach(&[thread], &["-e", "inject=pwrite64:error=ENOSPC:when=1+"]);
    let value = "v".repeat(20_000);
    let from = service.log().len();
    for n in 0..60 {
        assert_eq!(connection.call(&["SET", &format!("key:{n}"), &value]).to_string(), "+OK");
    }
    assert!(
        service.log().wait_for(from, Duration::from_secs(20), |line| line.contains("a checkpoint failed")).is_some()
    );
    drop(strace);
    let lines = |service: &Service| service.log().lines().len();
    wait_until("a checkpoint that succeeds", Duration::from_secs(20), || {
        for n in 0..20 {
            assert_eq!(connection.call(&["SET", &format!("key:{n}"), &value]).to_string(), "+OK");
        }
        let wal = std::fs::metadata(service.data().join("data.db")).unwrap().len();
        (wal > 1_000_000).then_some(())
    });
    assert!(lines(&service) < from + 200, "it is tried again in measure: {}", lines(&service));
    service.kill_all();
    service.restart();
    assert_eq!(service.connect().ask("DBSIZE"), ":60");
}
