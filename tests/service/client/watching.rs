//! Looking at a service over time.

use std::process::Stdio;

use super::program::{Servers, cli, run};
use crate::support::{Log, PATIENCE, Redis, Service};

#[test]
fn stat_prints_a_line_at_each_interval() {
    let servers = Servers::start();
    for address in servers.addresses() {
        run(address, &["set", "a", "1"]);
        let told = run(address, &["--stat", "-i", "0.02", "--samples", "3"]);
        let lines: Vec<&str> = told.out.lines().collect();
        assert_eq!((told.code, lines.len()), (0, 4), "{told:?}");
        assert!(lines[0].contains("keys") && lines[0].contains("per second"), "{told:?}");
        assert_eq!(lines[3].split_whitespace().next(), Some("1"));
        let json = run(address, &["--stat", "-i", "0.02", "--samples", "2", "--json"]);
        for line in json.out.lines() {
            assert_eq!(serde_json::from_str::<serde_json::Value>(line).unwrap()["keys"], 1);
        }
    }
}

#[test]
fn latency_has_percentiles_and_a_histogram() {
    let servers = Servers::start();
    for address in servers.addresses() {
        let told = run(address, &["--latency", "--samples", "20", "-i", "0.001"]);
        assert!(told.out.starts_with("samples 20  min 0."), "{told:?}");
        assert!(told.out.lines().skip(1).all(|line| line.starts_with("< ")) && told.out.contains('█'), "{told:?}");
        let json = run(address, &["--latency", "--samples", "5", "--json"]);
        let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
        assert_eq!(json["samples"], 5);
        assert!(json["p50_us"].as_u64().unwrap() <= json["max_us"].as_u64().unwrap());
    }
}

#[test]
fn latency_history_has_a_line_for_each_interval() {
    let service = Service::start(&[("WORKERS", "1")]);
    let told = run(service.address(), &["--latency-history", "-i", "0.05", "--samples", "3"]);
    assert_eq!(told.out.lines().filter(|line| line.starts_with("samples ")).count(), 3, "{told:?}");
}

#[test]
fn watch_shows_a_value_whenever_it_has_changed() {
    let service = Service::start(&[("WORKERS", "1")]);
    let address = service.address();
    let mut child = cli(address, &["--watch", "a", "-i", "0.01", "--samples", "3", "--no-raw"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let log = Log::default();
    log.gather(child.stdout.take().unwrap());
    log.wait_for(0, PATIENCE, |line| line == "(nil)").expect("the key is not there yet");
    run(address, &["set", "a", "first"]);
    log.wait_for(0, PATIENCE, |line| line == "\"first\"").expect("it has been set");
    run(address, &["append", "a", "!"]);
    log.wait_for(0, PATIENCE, |line| line == "\"first!\"").expect("it has changed");
    assert!(child.wait().unwrap().success());
}

#[test]
fn watch_knows_every_type() {
    let Some(redis) = Redis::start(&[]) else { return };
    let address = redis.address();
    for (fill, shown) in [
        (&["rpush", "l", "a", "b"][..], "1) \"a\"\n2) \"b\"\n"),
        (&["hset", "h", "name", "Ann"], "field │ value\n──────┼──────\nname  │ Ann\n"),
        (&["zadd", "z", "1.5", "a"], "member │ score\n───────┼──────\na      │   1.5\n"),
        (&["sadd", "s", "x"], "1) \"x\"\n"),
        (&["xadd", "x", "1-0", "t", "20"], "id  │ t\n────┼───\n1-0 │ 20\n"),
    ] {
        run(address, fill);
        let told = run(address, &["--watch", fill[1], "--samples", "1", "--no-raw"]);
        assert_eq!(told.out.split_once(" UTC\n").unwrap().1, shown);
    }
}
