//! Calls that change very many rows are prepared beside the writer. Whoever sends one notices nothing of that.

use std::thread;

use crate::support::{Connection, Service, encoded, wait_until};

use std::time::Duration;

const MEMBERS: u64 = 12_000;
const UNION: &[&str] = &["ZUNIONSTORE", "union", "2", "a", "b"];
const PATIENCE: Duration = Duration::from_secs(30);

fn service() -> Service {
    let service = Service::start(&[("WORKERS", "2")]);
    let mut connection = service.connect();
    for key in ["a", "b"] {
        for first in (0..MEMBERS).step_by(1000) {
            let words: Vec<String> = (first..first + 1000).flat_map(|n| [n.to_string(), format!("{key}{n}")]).collect();
            let mut call = vec!["ZADD", key];
            call.extend(words.iter().map(String::as_str));
            connection.call(&call);
        }
    }
    service
}

fn pipeline(calls: &[&str]) -> Vec<u8> {
    calls.iter().flat_map(|call| encoded(&call.split(' ').collect::<Vec<_>>())).collect()
}

#[test]
fn a_long_call_keeps_its_place_in_a_pipeline_whatever_is_around_it() {
    let service = service();
    let mut connection = service.connect();
    let calls = [
        ("SET x 1", "OK"),
        ("ZUNIONSTORE union 2 a b", "24000"),
        ("GET x", "1"),
        ("ZCARD union", "24000"),
        ("SET x 2", "OK"),
        ("ZADD union 1 more", "1"),
        ("COPY union copy", "1"),
        ("COPY union copy", "0"),
        ("ZREMRANGEBYRANK copy 1 -2", "23999"),
        ("ZRANGE copy 0 0", "a0"),
        ("GET x", "2"),
        ("ZUNIONSTORE other 2 a x", "WRONGTYPE"),
        ("CLIENT REPLY SKIP", ""),
        ("ZUNIONSTORE muted 2 a b", ""),
        ("ZCARD muted", "24000"),
        ("MULTI", "OK"),
        ("ZUNIONSTORE queued 2 a b", "QUEUED"),
        ("ZCARD queued", "QUEUED"),
        ("EXEC", "24000"),
        ("EVAL return{redis.call('zunionstore','scripted',2,'a','b')} 0", "24000"),
        ("SORT a ALPHA STORE sorted", "12000"),
        ("LRANGE sorted 0 0", "a0"),
        ("ZRANGESTORE part a 0 9999", "10000"),
        ("ZCARD part", "10000"),
    ];
    connection.send_bytes(&pipeline(&calls.map(|(call, _)| call)));
    for (call, expected) in calls.iter().filter(|(_, expected)| !expected.is_empty()) {
        let reply = connection.read().to_string();
        assert!(reply.contains(expected), "{call}: {reply}");
    }
}

#[test]
fn a_stop_waits_for_a_long_call_that_has_begun() {
    let mut service = service();
    let mut connection = service.connect();
    connection.send_bytes(&[pipeline(&["SET begun 1"]), encoded(UNION)].concat());
    assert_eq!(connection.read().to_string(), "+OK");
    let reading = thread::spawn(move || connection.try_read().map(|reply| reply.integer()));
    assert!(service.stop().success());
    assert_eq!(reading.join().unwrap().unwrap(), 24_000);
    service.restart_after_stop(&[]);
    assert_eq!(service.connect().ask("ZCARD union"), ":24000");
}

#[test]
fn what_a_client_has_sent_is_done_though_it_has_gone() {
    let service = service();
    let mut connection = service.connect();
    connection.send_bytes(&[pipeline(&["SET begun 1"]), encoded(UNION)].concat());
    assert_eq!(connection.read().to_string(), "+OK");
    drop(connection);
    let mut other = service.connect();
    wait_until("the union", PATIENCE, || (other.ask("ZCARD union") == ":24000").then_some(()));
    assert_eq!(other.of_info("blocked_clients"), 0);
}

#[test]
fn a_pause_holds_back_what_was_prepared_and_nobody_sees_a_part_of_it() {
    let service = service();
    let (mut connection, mut other) = (service.connect(), service.connect());
    connection.send(UNION);
    assert_eq!(other.ask("CLIENT PAUSE 100000 WRITE"), "+OK");
    let seen = other.ask("ZCARD union");
    assert!([":0", ":24000"].contains(&seen.as_str()), "{seen}");
    for _ in 0..2000 {
        assert_eq!(other.ask("ZCARD union"), seen, "nothing changes while writes are paused");
    }
    assert_eq!(other.ask("CLIENT UNPAUSE"), "+OK");
    assert_eq!(connection.read().integer(), 24_000);
    assert_eq!(other.ask("ZCARD union"), ":24000");
}

#[test]
fn long_calls_of_many_clients_are_answered_one_after_the_other() {
    let service = service();
    // Long enough, and so short that the last one waits for seven others on a slow machine too.
    let mut connection = service.connect();
    for (from, to) in [("a", "short a"), ("b", "short b")] {
        assert_eq!(connection.call(&["ZRANGESTORE", to, from, "0", "2999"]).integer(), 3000);
    }
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let mut connection = Connection::open(service.address());
            thread::spawn(move || {
                let key = format!("union {client}");
                for _ in 0..2 {
                    assert_eq!(connection.call(&["ZUNIONSTORE", &key, "2", "short a", "short b"]).integer(), 6000);
                    assert_eq!(connection.call(&["ZCARD", &key]).integer(), 6000);
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
}
