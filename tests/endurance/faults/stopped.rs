//! Processes that stand still in the middle of their work: others go on, and nothing is lost when they go on too.

use std::time::Duration;

use emptyserver::sys::clock;
use nix::sys::signal::Signal;

use crate::support::{Connection, PATIENCE, Service, signal, wait_until};

/// Stands still until this is dropped.
struct Stopped(i32);

impl Stopped {
    fn new(pid: i32) -> Self {
        signal(pid, Signal::SIGSTOP);
        let stands_still = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T ");
        wait_until("the process to stand still", PATIENCE, || stands_still().then_some(()));
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal(self.0, Signal::SIGCONT);
    }
}

/// Connections of which each worker has some, with what `INFO` calls the worker of each.
fn connections(service: &Service, count: usize) -> Vec<Connection> {
    let mut connections: Vec<Connection> = (0..count).map(|_| service.connect()).collect();
    for (n, connection) in connections.iter_mut().enumerate() {
        assert_eq!(connection.ask(&format!("SET own:{n} 0")), "+OK");
    }
    connections
}

#[test]
fn while_the_writer_stands_still_reads_go_on_and_writes_wait_and_no_connection_is_lost() {
    let service = Service::start(&[("WORKERS", "2"), ("LANE_JOBS_MAX", "20")]);
    let mut connections = connections(&service, 100);
    let stopped = Stopped::new(service.process("write").unwrap());
    let (writing, reading) = connections.split_at_mut(80);
    for (n, connection) in writing.iter_mut().enumerate() {
        // More jobs than the lane takes: the others wait in the workers.
        let pipeline = format!("INCR own:{n}\r\n").repeat(10) + &format!("GET own:{n}\r\nINCR all\r\n");
        connection.send_bytes(pipeline.as_bytes());
    }
    let mut slowest = Duration::ZERO;
    for round in 0..20 {
        for (n, connection) in reading.iter_mut().enumerate() {
            let begun = clock::monotonic();
            assert_eq!(connection.ask(&format!("GET own:{}", 80 + n)), "\"0\"", "round {round}");
            slowest = slowest.max(clock::monotonic().duration_since(begun));
        }
    }
    println!("the slowest of 400 reads took {slowest:?}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    let mut late = service.connect();
    assert_eq!(late.ask("PING"), "+PONG", "and new connections come");
    for connection in writing.iter_mut() {
        connection.patience = Duration::from_millis(1);
        assert!(connection.try_read().is_err(), "nothing is acknowledged meanwhile");
        connection.patience = PATIENCE;
    }
    drop(stopped);
    for connection in writing.iter_mut() {
        for number in 1..=10 {
            assert_eq!(connection.read().to_string(), format!(":{number}"));
        }
        assert_eq!(connection.read().to_string(), "\"10\"");
        connection.read();
    }
    assert_eq!(late.ask("GET all"), "\"80\"");
}

#[test]
fn a_worker_that_stands_still_while_it_holds_jobs_stops_nobody_else_and_answers_afterwards() {
    let service = Service::start(&[("WORKERS", "2")]);
    let mut connections = connections(&service, 40);
    for connection in &mut connections {
        connection.send_bytes("APPEND word x\r\n".repeat(50).as_bytes());
    }
    let stopped = Stopped::new(service.process("worker-0").unwrap());
    // Those of the other worker get all their answers, and that to this; the others some that were on their way.
    connections.iter_mut().for_each(|connection| connection.send(&["PING"]));
    let mut waiting: Vec<(usize, Connection, usize)> =
        connections.into_iter().enumerate().map(|(n, connection)| (n, connection, 0)).collect();
    let mut answered = Vec::new();
    let mut moved_at = clock::monotonic();
    while answered.is_empty() || clock::monotonic().duration_since(moved_at) < Duration::from_secs(1) {
        for (n, mut connection, mut replies) in std::mem::take(&mut waiting) {
            connection.patience = Duration::from_millis(5);
            while replies <= 50 && connection.try_read().is_ok() {
                replies += 1;
                moved_at = clock::monotonic();
            }
            if replies == 51 { answered.push((n, connection)) } else { waiting.push((n, connection, replies)) }
        }
        assert!(clock::monotonic().duration_since(moved_at) < PATIENCE, "{}", answered.len());
    }
    println!("{} connections go on, {} wait", answered.len(), waiting.len());
    for (n, connection) in &mut answered {
        connection.patience = PATIENCE;
        let begun = clock::monotonic();
        assert_eq!(connection.ask(&format!("INCR own:{n}")), ":1");
        assert_eq!(connection.ask(&format!("GET own:{n}")), "\"1\"");
        assert!(clock::monotonic().duration_since(begun) < Duration::from_secs(2));
    }
    drop(stopped);
    for (n, connection, replies) in &mut waiting {
        connection.patience = PATIENCE;
        (*replies..=50).for_each(|_| drop(connection.read()));
        assert_eq!(connection.ask(&format!("INCR own:{n}")), ":1");
    }
    assert_eq!(service.connect().ask("STRLEN word"), format!(":{}", 40 * 50));
}

#[test]
fn a_worker_killed_while_the_writer_stands_still_leaves_whole_jobs_or_nothing() {
    let service = Service::start(&[("WORKERS", "2")]);
    let mut connections = connections(&service, 20);
    let stopped = Stopped::new(service.process("write").unwrap());
    for connection in &mut connections {
        connection.send_bytes(b"MULTI\r\nINCR one\r\nINCR two\r\nEXEC\r\n");
    }
    // Their jobs lie in the sockets of the lane when they die.
    for connection in &mut connections {
        for word in ["+OK", "+QUEUED", "+QUEUED"] {
            assert_eq!(connection.read().to_string(), word);
        }
    }
    service.replace("worker-0");
    service.replace("worker-1");
    drop(stopped);
    let mut connection = service.connect();
    assert_eq!(connection.ask("SET after 1"), "+OK", "what the dead left behind came before");
    let (one, two) = (connection.ask("GET one"), connection.ask("GET two"));
    assert_eq!(one, two);
    println!("{one} of 20 transactions of killed workers were applied");
}

fn hangs(connection: &mut Connection) -> u64 {
    let info = connection.call(&["INFO", "workers"]).text();
    let line = info.lines().find_map(|line| line.strip_prefix("worker_hangs_total:")).unwrap().to_owned();
    line.parse().unwrap()
}

/// One connection to each of two workers, by their process ids.
fn to_each_worker(service: &Service) -> Vec<(i32, Connection)> {
    let mut found: Vec<(i32, Connection)> = Vec::new();
    for pid in service.workers() {
        let other = Stopped::new(service.workers().into_iter().find(|other| *other != pid).unwrap());
        let connection = wait_until("a connection to the worker that goes on", PATIENCE, || {
            let mut connection = service.connect();
            connection.patience = Duration::from_secs(1);
            let is_answered = connection.try_call(&["PING"]).is_ok();
            connection.patience = PATIENCE;
            is_answered.then_some(connection)
        });
        drop(other);
        found.push((pid, connection));
    }
    found
}

#[test]
fn a_worker_whose_loop_hangs_is_replaced_and_the_others_go_on() {
    let service = Service::start(&[("WORKERS", "2"), ("DEBUG_COMMANDS", "yes"), ("LOOP_STALL_SECONDS", "2")]);
    let mut connections = to_each_worker(&service);
    let (other_pid, mut other) = connections.pop().unwrap();
    let (hung_pid, mut hung) = connections.pop().unwrap();
    hung.send(&["DEBUG", "SLEEP-LOOP", "3000"]);
    let replaced = wait_until("another worker in its place", PATIENCE, || {
        assert_eq!(other.ask("PING"), "+PONG", "the other worker goes on");
        service.process("worker-0").filter(|pid| *pid != hung_pid)
    });
    assert!(hung.is_closed());
    assert_eq!(service.workers(), [replaced, other_pid]);
    assert_eq!(hangs(&mut other), 1);
    let line = service.log().lines().into_iter().find(|line| line.contains("does not come round")).unwrap();
    assert!(
        line.contains("worker-0") && line.contains(&hung_pid.to_string()) && line.contains("\"seconds\":2"),
        "{line}"
    );
    assert_eq!(service.connect().ask("SET a 1"), "+OK");
}

#[test]
fn workers_that_somebody_stopped_alone_or_with_the_whole_service_are_not_ended() {
    let service = Service::start(&[("WORKERS", "2"), ("LOOP_STALL_SECONDS", "1")]);
    let pids = service.workers();
    let mut connections = to_each_worker(&service);
    // The supervisor looks once a second, and samples the processes' times then: these asking ones' always differ.
    let looks = |connection: &mut Connection, count: u64| {
        for _ in 0..count {
            let before = connection.call(&["INFO", "cpu"]).text();
            wait_until("another look of the supervisor", PATIENCE, || {
                (connection.call(&["INFO", "cpu"]).text() != before).then_some(())
            });
        }
    };
    let alone = Stopped::new(pids[0]);
    looks(&mut connections[1].1, 4);
    drop(alone);
    let all: Vec<Stopped> = {
        let processes = service.processes();
        std::iter::once(service.pid()).chain(processes.iter().map(|process| process.pid)).map(Stopped::new).collect()
    };
    clock::pause(Duration::from_secs(4));
    drop(all);
    looks(&mut connections[1].1, 4);
    assert_eq!(service.workers(), pids);
    for (_, connection) in &mut connections {
        assert_eq!(connection.ask("PING"), "+PONG");
        assert_eq!(hangs(connection), 0);
    }
}
