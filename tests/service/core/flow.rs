//! Memory and attention are bounded: peers that do not read, that send too much, or too little at a time.

use std::time::Duration;

use emptyserver::sys::clock;

use crate::support::{Client, Server, numbers, status, until};

#[test]
fn a_client_that_never_reads_is_closed_over_its_limit_and_stops_nobody() {
    let server = Server::start("echo", &["--workers", "1", "--output-bytes-max", "1000000"]);
    let mut other = server.client();
    let mut deaf = server.client();
    deaf.send("bytes 50000000\n");
    until("it is closed", || numbers(&status(&mut other)["connections"])[0] == 1);
    assert_eq!(other.ask("pool still here"), "pool still here");
    assert!(deaf.rest().len() < 50_000_000);
    server.assert_idle();
}

#[test]
fn a_client_that_writes_all_its_requests_before_it_reads_is_answered_whole_and_in_order() {
    for (word, count) in [("direct", 100_000), ("pool", 30_000), ("lane", 30_000)] {
        let server = Server::start("echo", &["--workers", "1", "--output-bytes-max", "200000000"]);
        let (mut client, mut other) = (server.client(), server.client());
        let padding = "x".repeat(1000);
        // Far more than the sockets hold in both directions: the last is taken only if replies pile up meanwhile.
        let all: String = (0..count).map(|number| format!("{word} {number} {padding}\n")).collect();
        client.send(&all);
        assert_eq!(other.ask("meanwhile"), "meanwhile");
        for number in 0..count {
            assert_eq!(client.line(), format!("{word} {number} {padding}"));
        }
        assert_eq!(client.ask("last"), "last");
        let status = status(&mut other);
        let most = |name: &str| status[name].parse::<usize>().unwrap();
        println!("{word}: at most {} bytes of input and {} of output", most("input_max"), most("output_max"));
        assert!(most("input_max") <= 192 << 10, "more was read than could be handled");
        assert!(most("output_max") <= all.len());
        server.assert_idle();
    }
}

#[test]
fn a_client_that_reads_is_served_at_its_own_pace_and_not_closed_for_being_slow() {
    let server = Server::start("echo", &["--workers", "1", "--output-bytes-max", "8000000"]);
    let mut client = server.client();
    // Many times what may be unsent, asked for at once.
    client.send(&"bytes 100000\n".repeat(2_000));
    for _ in 0..2_000 {
        assert_eq!(client.line().len(), 100_000);
    }
    assert_eq!(client.ask("last"), "last");
    server.assert_idle();
}

#[test]
fn a_client_that_asks_and_never_reads_is_served_up_to_its_limit_and_closed() {
    let server = Server::start("echo", &["--workers", "1", "--output-bytes-max", "4000000"]);
    let (mut deaf, mut other) = (server.client(), server.client());
    deaf.send(&"bytes 10000\n".repeat(10_000));
    until("it is closed", || numbers(&status(&mut other)["connections"])[0] == 1);
    let most = status(&mut other)["output_max"].parse::<usize>().unwrap();
    assert!((4_000_000..5_000_000).contains(&most), "{most}");
    server.assert_idle();
}

#[test]
fn what_stands_behind_a_large_reply_is_answered_when_that_has_left() {
    let server = Server::start("echo", &["--workers", "1"]);
    let mut client = server.client();
    // All is read at once, so nothing but the room for replies can make it go on.
    client.send("bytes 12000000\nbehind\nlane last\n");
    assert_eq!(server.client().ask("meanwhile"), "meanwhile");
    server.assert_idle();
    assert_eq!(client.line().len(), 12_000_000);
    assert_eq!((client.line().as_str(), client.line().as_str()), ("behind", "lane last"));
}

#[test]
fn one_byte_at_a_time_is_as_good_as_all_at_once() {
    let server = Server::start("echo", &["--workers", "2"]);
    for request in ["hello", "pool hello", "lane hello"] {
        let mut client = server.client();
        for byte in format!("{request}\n{request}\n").bytes() {
            client.send(&char::from(byte).to_string());
        }
        assert_eq!((client.line().as_str(), client.line().as_str()), (request, request));
    }
    server.assert_idle();
}

#[test]
fn a_large_request_and_its_large_reply_cross_both_lanes_whole() {
    let server = Server::start("echo", &["--workers", "2"]);
    let text = "x".repeat(900_000);
    let mut clients: Vec<Client> = (0..8).map(|_| server.client()).collect();
    // All at once, and read only then: neither end of a lane may wait for the other.
    for lane in ["lane", "pool"] {
        std::thread::scope(|scope| {
            for client in &mut clients {
                let text = &text;
                scope.spawn(move || {
                    for _ in 0..5 {
                        assert!(client.ask(&format!("{lane} {text}")).ends_with(text));
                    }
                });
            }
        });
    }
    server.assert_idle();
}

#[test]
fn a_connection_without_a_request_closes_when_its_time_is_over() {
    let server = Server::start("echo", &["--workers", "1", "--idle-timeout-seconds", "1"]);
    let (mut idle, mut parked, mut busy) = (server.client(), server.client(), server.client());
    let started = clock::monotonic();
    parked.send("park 1500\n");
    busy.send("pool slow 1500\n");
    assert!(idle.has_ended());
    let took = clock::monotonic() - started;
    assert!((Duration::from_millis(900)..Duration::from_secs(3)).contains(&took), "{took:?}");
    assert_eq!(busy.line(), "pool slow 1500");
    assert_eq!(parked.line(), "woken");
    assert_eq!(parked.ask("still here"), "still here");
    assert!(parked.has_ended() && busy.has_ended());
}

#[test]
fn a_wake_that_comes_while_the_job_is_in_flight_is_not_lost() {
    for lane in ["pool", "lane"] {
        let server = Server::start("echo", &["--workers", "1"]);
        let (mut parks, mut waker) = (server.client(), server.client());
        parks.send(&format!("first\n{lane} slow 200 park\nnext\n"));
        assert_eq!(parks.line(), "first");
        // Its job was submitted in the same round, and is answered later.
        assert_eq!(waker.ask("wake"), "wake");
        assert_eq!(parks.line(), format!("{lane} slow 200 park"));
        assert_eq!((parks.line().as_str(), parks.line().as_str()), ("woken", "next"));
        server.assert_idle();
    }
}
