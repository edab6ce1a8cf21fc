//! Parked jobs and notices with real processes: who is served, in which order, and who dies meanwhile.

use std::time::Duration;

use emptyserver::sys::clock;
use nix::sys::signal::Signal;

use crate::support::{Client, Server, numbers, signal, status, until};

/// Clients whose jobs are parked, in this order.
fn waiting(server: &Server, count: usize) -> Vec<Client> {
    let one = |_| {
        let mut client = server.client();
        assert_eq!(client.ask("lane wait"), "parked");
        client
    };
    (0..count).map(one).collect()
}

/// The client's gift; `None` when its connection was closed. It gets one and no other.
fn gift_of(client: &mut Client) -> Option<u64> {
    client.send("and then\nquit\n");
    let text = client.rest();
    let (line, rest) = text.split_once('\n')?;
    assert_eq!(rest, "and then\n");
    Some(line.strip_prefix("given ").and_then(|number| number.parse().ok()).expect("nothing else is said"))
}

/// Who is still there gets what is given, in the order of waiting.
fn assert_served_in_order(server: &Server, mut clients: Vec<Client>) {
    let mut giver = server.client();
    clients.iter().for_each(|_| assert_eq!(giver.ask("lane give"), "lane give"));
    let gifts: Vec<u64> = clients.iter_mut().map(|client| gift_of(client).expect("it is there")).collect();
    assert!(gifts.is_sorted() && gifts.windows(2).all(|two| two[1] == two[0] + 1), "{gifts:?}");
}

#[test]
fn parked_jobs_are_answered_in_order_on_all_workers_and_in_a_single_process() {
    for workers in ["0", "3"] {
        let server = Server::start("echo", &["--workers", workers]);
        let clients = waiting(&server, 12);
        assert_eq!(server.client().ask("lane others go on"), "lane others go on");
        assert_served_in_order(&server, clients);
        server.assert_idle();
    }
}

#[test]
fn more_jobs_may_be_parked_than_in_flight() {
    for workers in ["0", "1"] {
        // The lane admits 64 of a worker.
        let server = Server::start("echo", &["--workers", workers]);
        let clients = waiting(&server, 200);
        assert_eq!(server.client().ask("lane there is room"), "lane there is room");
        assert_served_in_order(&server, clients);
    }
}

#[test]
fn a_parked_job_ends_by_time_by_request_and_with_its_peer_and_never_gets_anything_then() {
    for workers in ["0", "1"] {
        let server = Server::start("echo", &["--workers", workers]);
        let mut timed = server.client();
        let started = clock::monotonic();
        assert_eq!(timed.ask("lane wait 150"), "parked");
        assert_eq!(timed.line(), "cancelled");
        assert!(clock::monotonic() - started >= Duration::from_millis(150));
        assert_eq!(timed.ask("goes on"), "goes on");
        let mut asked = waiting(&server, 3);
        assert_eq!(timed.ask("unblock"), "unblock");
        asked.iter_mut().for_each(|client| assert_eq!(client.line(), "cancelled"));
        // These leave, one of them by closing one direction only.
        let mut gone = waiting(&server, 2);
        gone[0].stream().shutdown(std::net::Shutdown::Write).unwrap();
        assert!(gone[0].has_ended());
        drop(gone);
        until("only the others are there", || numbers(&status(&mut timed)["connections"])[0] == 4);
        assert_served_in_order(&server, waiting(&server, 2));
        server.assert_idle();
    }
}

#[test]
fn a_drain_closes_those_whose_jobs_are_parked() {
    for workers in ["0", "2"] {
        let mut server = Server::start("echo", &["--workers", workers]);
        let mut clients = waiting(&server, 6);
        let started = clock::monotonic();
        signal(server.pid(), Signal::SIGTERM);
        clients.iter_mut().for_each(|client| assert!(client.has_ended()));
        assert_eq!(server.wait(), 0);
        assert!(clock::monotonic() - started < Duration::from_secs(1), "the drain limit was not needed");
    }
}

#[test]
fn an_executor_that_panics_loses_nobody_who_waits() {
    for workers in ["0", "2"] {
        let server = Server::start("echo", &["--workers", workers]);
        let clients = waiting(&server, 6);
        assert_eq!(server.client().ask("lane panic"), "refused: Panicked");
        assert_served_in_order(&server, clients);
    }
}

#[test]
fn who_waits_keeps_its_place_when_the_writer_is_killed_and_leaves_it_with_its_worker() {
    let server = Server::start("echo", &["--workers", "2"]);
    let mut clients = waiting(&server, 12);
    for round in 0..3 {
        let pids = server.pids();
        // The writer, a worker, both.
        let victims = match round {
            0 => vec![pids[2]],
            1 => vec![pids[0]],
            _ => vec![pids[2], pids[1]],
        };
        victims.iter().for_each(|&pid| signal(pid, Signal::SIGKILL));
        until("they are replaced", || {
            let now = server.pids();
            now.iter().all(|pid| *pid != 0 && !victims.contains(pid))
        });
        assert_eq!(server.client().ask("lane again"), "lane again");
        if round > 0 {
            clients.retain_mut(|client| {
                client.stream().set_read_timeout(Some(Duration::from_millis(20))).unwrap();
                let is_there = client.stream().peek(&mut [0]).is_err();
                client.stream().set_read_timeout(None).unwrap();
                is_there
            });
        }
        println!("round {round}: {} wait", clients.len());
        clients.extend(waiting(&server, 6));
    }
    assert!(clients.len() >= 6);
    assert_served_in_order(&server, clients);
    server.assert_idle();
}

#[test]
fn nobody_is_served_twice_or_out_of_turn_however_often_the_writer_is_killed_while_it_serves() {
    let server = Server::start("echo", &["--workers", "2"]);
    let mut clients = waiting(&server, 60);
    let mut giver = server.client();
    // More gifts than there are clients: those that a dead writer had not yet given away are lost in this example.
    giver.send(&"lane slow 2\nlane give\n".repeat(300));
    for _ in 0..5 {
        clock::pause(Duration::from_millis(40));
        let lane = *server.pids().last().unwrap();
        if lane != 0 {
            signal(lane, Signal::SIGKILL);
        }
    }
    let gifts: Vec<Option<u64>> = clients.iter_mut().map(gift_of).collect();
    let got: Vec<u64> = gifts.iter().copied().flatten().collect();
    println!("{} of {} got something; the others' answers were lost", got.len(), clients.len());
    assert!(got.len() >= 50, "an answer is lost only with the writer that had just given it: {gifts:?}");
    // Whose answer was lost had got its gift, and nobody got another one instead.
    let in_turn = |(place, gift): (usize, &Option<u64>)| gift.is_none_or(|gift| gift == place as u64 + 1);
    assert!(gifts.iter().enumerate().all(in_turn), "{gifts:?}");
}

#[test]
fn notices_reach_every_worker_and_a_new_writer_is_a_gap() {
    for workers in ["0", "2"] {
        let server = Server::start("echo", &["--workers", workers]);
        // Some on each worker.
        let mut clients: Vec<Client> = (0..12).map(|_| server.client()).collect();
        assert_eq!(clients[0].ask("lane tell hello"), "lane tell hello");
        assert!(clients[0].ask("notices").starts_with("1 missed "), "before the answer that was given later");
        for client in &mut clients {
            until("it is heard", || client.ask("notices").ends_with("last hello"));
        }
        if workers == "0" {
            continue;
        }
        let missed = |client: &mut Client| client.ask("notices").split(' ').nth(2).unwrap().parse::<u64>().unwrap();
        let before: Vec<u64> = clients.iter_mut().map(missed).collect();
        signal(server.pids()[2], Signal::SIGKILL);
        for (client, before) in clients.iter_mut().zip(before) {
            until("the gap is told", || missed(client) == before + 1);
        }
        assert_eq!(clients[0].ask("lane tell again"), "lane tell again");
        for client in &mut clients {
            until("it is heard", || client.ask("notices").ends_with("last again"));
        }
    }
}
