//! What the others notice when a process, or an executor in it, dies.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use emptyserver::sys::clock;
use nix::sys::signal::Signal;

use crate::support::{Client, Server, descendants, is_alive, numbers, signal, sockets_of, status, threads_of, until};

#[test]
fn jobs_in_flight_survive_the_death_of_the_lanes_process_in_order() {
    let server = Server::start("echo", &["--workers", "2"]);
    let mut clients: Vec<Client> = (0..12).map(|_| server.client()).collect();
    let mut witness = server.client();
    for (index, client) in clients.iter_mut().enumerate() {
        // Over both lanes and the loop itself: the replies keep the order of the requests.
        let requests = (0..8).map(|turn| match turn % 4 {
            0 => format!("pool {index} {turn}\n"),
            1 => format!("{index} {turn}\n"),
            _ => format!("lane slow 5 {index} {turn}\n"),
        });
        client.send(&requests.collect::<String>());
    }
    for death in 0..2 {
        clients.iter_mut().for_each(|client| assert!(!client.line().is_empty()));
        let lane = *server.pids().last().unwrap();
        signal(lane, Signal::SIGKILL);
        let started = clock::monotonic();
        assert_eq!(witness.ask("meanwhile"), "meanwhile", "the loop goes on");
        witness.ask("lane again");
        println!("death {death}: the lane answered {:?} after it was killed", clock::monotonic() - started);
    }
    for (index, client) in clients.iter_mut().enumerate() {
        let place =
            |line: String| -> Vec<usize> { line.split(' ').rev().take(2).map(|word| word.parse().unwrap()).collect() };
        for turn in 2..8 {
            assert_eq!(place(client.line()), [turn, index]);
        }
    }
    server.assert_idle();
}

#[test]
fn a_job_that_kills_its_process_each_time_is_refused_and_the_others_are_answered() {
    let server = Server::start("echo", &["--workers", "2"]);
    let mut clients: Vec<Client> = (0..6).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| client.send("lane slow 20\n"));
    let mut poisoner = server.client();
    poisoner.send("lane die\n");
    clients.iter_mut().for_each(|client| client.send("lane second\n"));
    for client in &mut clients {
        assert_eq!((client.line().as_str(), client.line().as_str()), ("lane slow 20", "lane second"));
    }
    assert_eq!(poisoner.line(), "refused: Poisoned");
    assert_eq!(poisoner.ask("lane after"), "lane after");
    server.assert_idle();
}

#[test]
fn a_panic_is_answered_and_its_lane_goes_on() {
    for workers in ["0", "2"] {
        let server = Server::start("echo", &["--workers", workers]);
        for lane in ["lane", "pool"] {
            let mut clients: Vec<Client> = (0..8).map(|_| server.client()).collect();
            clients.iter_mut().for_each(|client| client.send(&format!("{lane} slow 10\n")));
            for (index, client) in clients.iter_mut().enumerate() {
                let job = if index % 2 == 0 { "panic" } else { "quiet" };
                client.send(&format!("{lane} {job}\n{lane} after\n"));
            }
            for (index, client) in clients.iter_mut().enumerate() {
                assert_eq!(client.line(), format!("{lane} slow 10"));
                let expected = if index % 2 == 0 { "refused: Panicked".into() } else { format!("{lane} quiet") };
                assert_eq!(client.line(), expected);
                assert_eq!(client.line(), format!("{lane} after"));
            }
        }
        server.assert_idle();
    }
}

#[test]
fn when_the_supervisor_is_killed_all_its_children_are_gone_within_a_second() {
    let mut server = Server::start("echo", &["--workers", "4"]);
    let mut client = server.client();
    client.send("lane slow 5000\n");
    let pids = server.pids();
    assert_eq!(pids.len(), 5);
    // One that can't hear of it, and one that is busy.
    signal(pids[1], Signal::SIGSTOP);
    let started = clock::monotonic();
    signal(server.pid(), Signal::SIGKILL);
    until("all are gone", || !pids.iter().any(|&pid| is_alive(pid)));
    let took = clock::monotonic() - started;
    println!("all children were gone {took:?} after the supervisor");
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(client.has_ended());
    assert_eq!(server.wait(), -9);
}

#[test]
fn a_child_that_waits_for_something_else_dies_with_the_supervisor_too() {
    let mut server = Server::start("echo", &["--workers", "1", "--drain-seconds", "60"]);
    let pids = server.pids();
    let mut client = server.client();
    client.send("lane slow 20000\n");
    assert_eq!(server.client().ask("it was read"), "it was read");
    signal(pids[0], Signal::SIGKILL);
    assert!(client.has_ended());
    signal(server.pid(), Signal::SIGTERM);
    until("only the lane is left", || !descendants(server.pid()).iter().any(|child| child.pid != pids[1]));
    // It finishes the dead worker's job and hears nobody meanwhile.
    signal(server.pid(), Signal::SIGKILL);
    let started = clock::monotonic();
    until("it is gone", || !is_alive(pids[1]));
    assert!(clock::monotonic() - started < Duration::from_secs(1));
    assert_eq!(server.wait(), -9);
}

/// Which processes hold a socket, by its inode.
fn holders(pids: &[i32]) -> HashMap<u64, HashSet<i32>> {
    let mut holders: HashMap<u64, HashSet<i32>> = HashMap::new();
    for &pid in pids {
        sockets_of(pid).into_iter().for_each(|inode| _ = holders.entry(inode).or_default().insert(pid));
    }
    holders
}

/// The inode of the socket that listens on the port (proc(5), /proc/net/tcp: state 0A).
fn listener_inode(port: u16) -> u64 {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!("0100007F:{port:04X}");
    let fields = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let row = fields.into_iter().find(|row| row[1] == local && row[3] == "0A").unwrap();
    row[9].parse().unwrap()
}

fn assert_descriptors_are_own(server: &Server) {
    let pids = server.pids();
    let (lane, workers) = pids.split_last().unwrap();
    let all: Vec<i32> = pids.iter().copied().chain([server.pid()]).collect();
    // A link to each other worker, one to the lane, the control socket, both ends of the bell, the listener.
    let expected = (workers.len() - 1) + 5;
    for &worker in workers {
        until("links are handed out, and the status connection is closed", || sockets_of(worker).len() == expected);
    }
    until("the lane has its links", || sockets_of(*lane).len() == workers.len() + 3);
    let listener = listener_inode(server.address.port());
    // The supervisor closes its own copy of an end just after it was taken.
    until("no end of a link has two holders: its end of file would not mean death", || {
        holders(&all).iter().all(|(&inode, pids)| inode == listener || pids.len() == 1)
    });
    let expected: HashSet<i32> = workers.iter().copied().chain([server.pid()]).collect();
    assert_eq!(
        holders(&all)[&listener],
        expected,
        "the listener belongs to supervisor and workers, not to lane {lane}"
    );
}

#[test]
fn each_process_holds_only_its_own_descriptors() {
    let server = Server::start("echo", &["--workers", "3"]);
    assert_descriptors_are_own(&server);
    for slot in [1, 3, 0] {
        let before = server.pids();
        signal(before[slot], Signal::SIGKILL);
        until("it is replaced", || {
            let now = server.pids();
            now[slot] != 0 && now[slot] != before[slot]
        });
        assert_eq!(server.client().ask("lane works"), "lane works");
        assert_descriptors_are_own(&server);
    }
}

#[test]
fn with_affinity_each_loop_and_pool_thread_is_allowed_one_cpu() {
    let server = Server::start("echo", &["--workers", "2", "--cpu-affinity"]);
    let pids = server.pids();
    let mut seen = 0;
    for (slot, &pid) in pids.iter().enumerate() {
        for (name, cpus) in threads_of(pid, "Cpus_allowed_list") {
            let is_control_of_lane = slot == 2 && name == "lane";
            if !is_control_of_lane {
                assert!(cpus.parse::<usize>().is_ok(), "thread {name} of process {slot} may run on {cpus}");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 2 * 3 + 1, "two workers with a loop and two threads each, and the lane's thread");
}

#[test]
fn a_parked_connection_is_woken_from_any_worker_also_after_one_was_replaced() {
    let server = Server::start("echo", &["--workers", "3"]);
    for round in 0..2 {
        let mut parked: Vec<Client> = (0..9).map(|_| server.client()).collect();
        for client in &mut parked {
            assert_eq!(client.ask("here"), "here");
            client.send("park\nnext\n");
        }
        let mut waker = server.client();
        // Parking has no reply: a wake may come before it, so there is more than one.
        for client in &mut parked {
            client.stream().set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let mut byte = [0];
            until("it is woken", || {
                waker.ask("wake");
                client.stream().peek(&mut byte).is_ok()
            });
            assert_eq!((client.line().as_str(), client.line().as_str()), ("woken", "next"), "round {round}");
        }
        let victim = numbers(&status(&mut waker)["pid"])[round] as i32;
        drop((parked, waker));
        signal(victim, Signal::SIGKILL);
        until("it is replaced", || !server.pids()[..3].iter().any(|&pid| pid == victim || pid == 0));
    }
}
