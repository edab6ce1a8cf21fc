//! Peers that stop sending, or vanish: what they asked for is answered, and nothing of them stays.

use std::time::Duration;

use emptyserver::sys::clock;

use crate::support::{Client, Server, numbers, until};

#[test]
fn a_peer_that_stops_sending_gets_all_its_replies_and_then_the_end() {
    for workers in ["0", "2"] {
        let server = Server::start("echo", &["--workers", workers]);
        for request in ["one\n", "pool one\n", "lane one\n", "one\npool two\nthree\nlane four\nfive\n", "park 30\n", ""]
        {
            for _ in 0..20 {
                let mut client = server.client();
                client.send(request);
                // Often in the same packet: then epoll has but one word for both.
                client.finish();
                assert_eq!(client.rest(), request.replace("park 30", "woken"));
            }
        }
        let many: String = (0..50_000).map(|number| format!("{number}\n")).collect();
        let mut client = server.client();
        let stream = client.stream().try_clone().unwrap();
        let writer = std::thread::spawn({
            let many = many.clone();
            move || {
                std::io::Write::write_all(&mut (&stream), many.as_bytes()).unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
            }
        });
        assert_eq!(client.rest(), many);
        writer.join().unwrap();
        until("nobody is left", || connections(&server) == 1);
        server.assert_idle();
    }
}

/// The asking connection is one of them.
fn connections(server: &Server) -> u64 {
    numbers(&server.status()["connections"]).iter().sum()
}

#[test]
fn nothing_stays_of_peers_that_are_gone_whatever_they_waited_for() {
    let server = Server::start("echo", &["--workers", "2"]);
    for request in [
        "",
        "half a li",
        "park\n",
        "park\nmore\n",
        "park 50\n",
        "pool slow 20\n",
        "lane slow 20\nmore\n",
        "bytes 900000\n",
    ] {
        for is_sudden in [false, true] {
            for _ in 0..4 {
                let mut client = server.client();
                assert_eq!(client.ask("hello"), "hello");
                client.send(request);
                if is_sudden {
                    client.abort();
                }
            }
        }
    }
    until("nobody is left", || connections(&server) == 1);
    server.assert_idle();
}

#[test]
fn a_late_answer_never_reaches_the_next_tenant_of_its_place() {
    let server = Server::start("echo", &["--workers", "1"]);
    let mut witness = server.client();
    let started = clock::monotonic();
    let mut turn = 0;
    while clock::monotonic() - started < Duration::from_secs(1) {
        for lane in ["pool", "lane"] {
            turn += 1;
            let mut leaving = server.client();
            leaving.send(&format!("{lane} slow 3 leaving {turn}\n"));
            assert_eq!(witness.ask("it was read"), "it was read");
            leaving.abort();
            assert_eq!(witness.ask("it was closed"), "it was closed");
            let mut next: Client = server.client();
            let request = format!("{lane} next {turn}");
            assert_eq!(next.ask(&request), request);
            next.finish();
            assert_eq!(next.rest(), "");
        }
    }
    println!("{turn} places changed their tenant while a job was in flight");
    server.assert_idle();
}
