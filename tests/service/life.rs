//! The whole service as its operator and its clients see it: it starts, answers, stops, and survives its processes.

use std::time::Duration;

use crate::support::{Service, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn what_was_acknowledged_is_there_after_a_stop_and_after_a_kill() {
    let mut service = Service::start(&[("WORKERS", "2")]);
    assert_eq!(service.connect().ask("SET a 1"), "+OK");
    assert_eq!(service.stop().code(), Some(0));
    service.restart();
    assert_eq!(service.connect().ask("INCR a"), ":2");
    service.kill_all();
    service.restart();
    assert_eq!(service.connect().ask("INCR a"), ":3");
    service.kill_supervisor();
    service.restart();
    assert_eq!(service.connect().ask("GET a"), "\"3\"");
}

#[test]
fn a_killed_worker_closes_its_own_connections_only() {
    let service = Service::start(&[("WORKERS", "2")]);
    let mut connections = vec![service.connect()];
    assert_eq!(connections[0].ask("SET a 1"), "+OK");
    // Usually the first few do; a machine with much to do may let one worker sleep, and the other takes more.
    wait_until("both workers have connections", PATIENCE, || {
        connections.push(service.connect());
        let workers = connections[0].call(&["INFO", "workers"]).text();
        let mut lines = workers.lines().filter(|line| line.starts_with("worker"));
        lines.all(|line| !line.contains("connections=0,")).then_some(())
    });
    service.replace("worker-0");
    let all = connections.len();
    let alive = connections.iter_mut().filter_map(|connection| connection.try_call(&["GET", "a"]).ok()).count();
    assert!((1..all).contains(&alive), "{alive} of {all} are alive");
    assert_eq!(service.connect().ask("GET a"), "\"1\"");
}

#[test]
fn a_killed_writer_closes_no_connection_and_loses_no_write() {
    let service = Service::start(&[("WORKERS", "2")]);
    let mut connection = service.connect();
    assert_eq!(connection.ask("INCR a"), ":1");
    service.replace("write");
    assert_eq!(connection.ask("INCR a"), ":2");
    assert_eq!(service.processes().iter().filter(|process| process.name == "write").count(), 1);
}
