//! Memory and attention are bounded: peers that do not read, that send too much, or too little at a time.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use emptyserver::server::sys::clock;

use super::support::{Client, Server, numbers, status, until};

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

/// Sends requests without reading replies until nothing moves any more. Returns how many lines were sent whole, and what was
/// sent of the next.
fn flood(client: &mut Client, word: &str) -> (usize, String) {
    client.stream().set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut stream = client.stream();
    for first in (0..).step_by(1000) {
        let block: String = (first..first + 1000).map(|number| format!("{word} {number}\n")).collect();
        let mut sent = 0;
        while sent < block.len() {
            match stream.write(&block.as_bytes()[sent..]) {
                Ok(count) => sent += count,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    let (whole, cut) = block[..sent].rsplit_once('\n').unwrap_or(("", &block[..sent]));
                    return (first + whole.lines().count(), cut.to_owned());
                }
            }
        }
        assert!(first < 20_000_000, "the server reads without bound");
    }
    unreachable!("the loop has no end")
}

#[test]
fn a_pipeline_flood_from_a_client_that_does_not_read_stays_in_bounds_and_in_order() {
    for word in ["direct", "pool", "lane"] {
        let server = Server::start("echo", &["--workers", "1"]);
        let (mut client, mut other) = (server.client(), server.client());
        let (count, cut) = match word {
            "direct" => flood(&mut client, word),
            // Each is a round of its own: as many as pass in a short time, in one write.
            _ => {
                let block: String = (0..20_000).map(|number| format!("{word} {number}\n")).collect();
                client.send(&block);
                (20_000, String::new())
            }
        };
        assert_eq!(other.ask("meanwhile"), "meanwhile");
        println!("{word}: {count} requests are on their way");
        // Whoever waits for a peer to read does not wait in a busy loop.
        if word == "direct" {
            server.assert_idle();
        }
        for number in 0..count {
            assert_eq!(client.line(), format!("{word} {number}"));
        }
        let status = status(&mut other);
        let most = |name: &str| status[name].parse::<usize>().unwrap();
        println!("{word}: at most {} bytes of input and {} of output", most("input_max"), most("output_max"));
        assert!(most("input_max") <= 192 << 10, "more was read than could be handled");
        assert!(most("output_max") <= 384 << 10, "a connection that does not read its replies was read");
        assert_eq!(client.ask("last"), cut + "last");
        server.assert_idle();
    }
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
