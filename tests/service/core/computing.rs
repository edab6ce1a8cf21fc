//! Heavy arithmetic beside quick answers, and the queue before a lane that is full.

use std::time::Duration;

use emptyserver::sys::clock;

use crate::support::{Client, Server};

/// How long one such job takes on this machine, to make it as long as the test needs.
fn calibrated(client: &mut Client, at_least: Duration) -> (u64, String) {
    let mut below = 20_000;
    loop {
        let started = clock::monotonic();
        let answer = client.ask(&format!("primes {below}"));
        if clock::monotonic() - started >= at_least {
            return (below, answer);
        }
        below *= 2;
    }
}

#[test]
fn primes_are_counted_right() {
    let server = Server::start("compute", &["--workers", "1"]);
    let mut client = server.client();
    for (below, count) in [(0, "0"), (3, "1"), (100, "25"), (10_000, "1229")] {
        assert_eq!(client.ask(&format!("primes {below}")), count);
    }
    server.assert_idle();
}

#[test]
fn while_a_lane_computes_its_worker_answers_others_at_once_and_those_that_wait_keep_their_order() {
    let server = Server::start("compute", &["--workers", "1"]);
    let mut witness = server.client();
    let (below, answer) = calibrated(&mut witness, Duration::from_millis(60));
    // The lane lets two jobs in: the others wait before it.
    let mut clients: Vec<Client> = (0..10).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send(&format!("primes {below}\nthen this\n"));
        assert_eq!(witness.ask("it was read"), "it was read");
    }
    let mut slowest = Duration::ZERO;
    let mut asked = 0;
    while !clients.iter().all(Client::has_reply) {
        // From the last to the first: those before one that has its reply must have theirs when they are looked at later.
        let answered: Vec<bool> = clients.iter().rev().map(Client::has_reply).collect();
        assert!(answered.is_sorted(), "a connection that waited longer was served later: {answered:?}, the last first");
        let started = clock::monotonic();
        assert_eq!(witness.ask("quick"), "quick");
        slowest = slowest.max(clock::monotonic() - started);
        asked += 1;
        clock::pause(Duration::from_millis(1));
    }
    println!("ten jobs of 60 ms and more; meanwhile {asked} quick answers, the slowest after {slowest:?}");
    for client in &mut clients {
        assert_eq!((client.line(), client.line()), (answer.clone(), "then this".into()));
    }
    assert!(asked >= 20 && slowest < Duration::from_secs(1), "{asked} answers, {slowest:?}");
    server.assert_idle();
}
