//! The orderly end, and signals that are none of a child's business.

use std::time::Duration;

use emptyserver::sys::clock;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::support::{Client, Server, is_alive, signal, until};

/// Requests in flight are answered, idle connections closed, and the service ends well.
fn assert_drains(mut server: Server, end: impl FnOnce(&Server)) {
    let mut idle: Vec<Client> = (0..6).map(|_| server.client()).collect();
    idle.iter_mut().for_each(|client| assert_eq!(client.ask("idle"), "idle"));
    let mut busy: Vec<Client> = (0..6).map(|_| server.client()).collect();
    for (index, client) in busy.iter_mut().enumerate() {
        let lane = if index % 2 == 0 { "lane" } else { "pool" };
        assert_eq!(client.ask("sent"), "sent");
        client.send(&format!("{lane} slow 150 {index}\n{lane} second {index}\n"));
    }
    let mut parked = server.client();
    assert_eq!(parked.ask("parks"), "parks");
    parked.send("park\n");
    // What was sent to a worker before an answer of that worker was read by it: each has an idle connection.
    idle.iter_mut().for_each(|client| assert_eq!(client.ask("idle"), "idle"));
    let started = clock::monotonic();
    end(&server);
    for (index, client) in busy.iter_mut().enumerate() {
        let lane = if index % 2 == 0 { "lane" } else { "pool" };
        assert_eq!(client.rest(), format!("{lane} slow 150 {index}\n{lane} second {index}\n"));
    }
    idle.iter_mut().for_each(|client| assert!(client.has_ended()));
    assert!(parked.has_ended());
    assert_eq!(server.wait(), 0);
    let took = clock::monotonic() - started;
    println!("drained within {took:?}");
    assert!(took > Duration::from_millis(100), "something was in flight");
    assert!(took < Duration::from_secs(2), "the drain limit was not needed: {took:?}");
}

#[test]
fn sigterm_answers_what_is_in_flight_and_closes_what_is_idle() {
    assert_drains(Server::start("echo", &["--workers", "2"]), |server| signal(server.pid(), Signal::SIGTERM));
}

#[test]
fn without_workers_one_process_serves_everything_and_drains() {
    let server = Server::start("echo", &["--workers", "0"]);
    assert_eq!(server.pids()[0], server.pid());
    server.assert_idle();
    assert_drains(server, |server| signal(server.pid(), Signal::SIGTERM));
}

#[test]
fn an_interrupt_of_the_whole_group_drains_as_well() {
    let server = Server::start("echo", &["--workers", "2"]);
    assert_drains(server, |server| killpg(Pid::from_raw(server.pid()), Signal::SIGINT).unwrap());
}

#[test]
fn the_lanes_process_is_killed_during_the_drain_and_its_jobs_are_still_answered() {
    let server = Server::start("echo", &["--workers", "2"]);
    let lane = server.pids()[2];
    assert_drains(server, |server| {
        signal(server.pid(), Signal::SIGTERM);
        signal(lane, Signal::SIGKILL);
    });
}

#[test]
fn signals_to_children_and_a_hangup_of_the_group_end_nobody() {
    let server = Server::start("echo", &["--workers", "2"]);
    let pids = server.pids();
    for &pid in &pids {
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().for_each(|one| signal(pid, one));
    }
    killpg(Pid::from_raw(server.pid()), Signal::SIGHUP).unwrap();
    until("the hangup is logged", || server.has_logged("SIGHUP"));
    assert_eq!(server.client().ask("lane works"), "lane works");
    assert_eq!(server.pids(), pids);
    assert!(pids.iter().all(|&pid| is_alive(pid)));
    server.assert_idle();
}

#[test]
fn a_drain_ends_in_time_whatever_a_peer_or_a_job_does() {
    for workers in ["0", "2"] {
        let mut server = Server::start("echo", &["--workers", workers, "--drain-seconds", "1"]);
        let (mut stuck, mut deaf) = (server.client(), server.client());
        deaf.send("bytes 8000000\n");
        stuck.send("pool slow 60000\n");
        // Each worker has one of these, and has read the above before it answers.
        let mut others: Vec<Client> = (0..12).map(|_| server.client()).collect();
        others.iter_mut().for_each(|client| assert_eq!(client.ask("read"), "read"));
        let started = clock::monotonic();
        signal(server.pid(), Signal::SIGTERM);
        assert_eq!(server.wait(), 0);
        let took = clock::monotonic() - started;
        println!("{workers} workers: ended after {took:?}");
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
}
