//! `emptyserver bench` against our service and against redis-server: what it counts is what they counted.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Connection, PATIENCE, Redis, Service, wait_until};
use emptyserver::sys::clock;
use serde_json::Value as Json;

/// Exit code, standard output, standard error.
fn bench(address: SocketAddr, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_emptyserver"));
    command.env_clear().args(["bench", "-u", &format!("redis://{address}")]).args(arguments);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The report of a run that went well.
fn report(address: SocketAddr, arguments: &[&str]) -> Json {
    let (code, out, err) = bench(address, &[arguments, &["--json"]].concat());
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    serde_json::from_str(&out).unwrap()
}

/// What the service itself has counted of a command.
fn calls(connection: &mut Connection, name: &str) -> u64 {
    let info = connection.ask("INFO commandstats");
    let calls = info.split(&format!("cmdstat_{name}:calls=")).nth(1).and_then(|rest| rest.split(',').next());
    calls.map_or(0, |calls| calls.parse().unwrap())
}

fn counts_agree(address: SocketAddr) {
    let mut connection = Connection::open(address);
    let filled = report(address, &["--prefill", "-n", "0", "-r", "1000", "-d", "20"]);
    assert_eq!(filled["prefill"][0]["requests"], 1000);
    assert_eq!(connection.ask("DBSIZE"), ":1000");
    assert_eq!(connection.ask("STRLEN key:000000000999"), ":20");
    assert_eq!(calls(&mut connection, "set"), 1000);

    let words = "-n 5000 -r 1000 -t get:9,set:1 -c 7 -P 3 --threads 2 -d 1-50";
    let mixed = report(address, &words.split(' ').collect::<Vec<_>>());
    let measured = &mixed["measurements"][0];
    let requests = |name: &str| measured["commands"][name]["requests"].as_u64().unwrap();
    assert_eq!(measured["requests"], 5000);
    assert_eq!((measured["nulls"].as_u64(), &measured["errors"]), (Some(0), &serde_json::json!({})));
    assert_eq!(requests("get") + requests("set"), 5000);
    assert_eq!(calls(&mut connection, "get"), requests("get"));
    assert_eq!(calls(&mut connection, "set"), 1000 + requests("set"));
    assert_eq!(connection.ask("DBSIZE"), ":1000");
    let latency = &measured["latency_ms"];
    let ms = |name: &str| latency[name].as_f64().unwrap();
    assert!(0.0 < ms("p50") && ms("p50") <= ms("p99") && ms("p99") <= ms("p99.9") && ms("p99.9") <= ms("max"));
}

/// New keys in random places are what the disk is slowest at, and nothing but the checkpoints' pace bounds the `-wal`.
#[test]
fn a_first_fill_does_not_outrun_the_checkpoints() {
    const BUDGET_BYTES: u64 = 16 << 20;
    let service = Service::start(&[("WAL_BYTES_MAX", "16Mi")]);
    let wal = service.data().join("data.db-wal");
    let is_over = AtomicBool::new(false);
    let largest = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut largest = 0;
            while !is_over.load(Ordering::Relaxed) {
                largest = std::fs::metadata(&wal).unwrap().len().max(largest);
                clock::pause(Duration::from_millis(2));
            }
            largest
        });
        report(service.address(), &["--prefill", "-n", "0", "-r", "50000", "-P", "4"]);
        is_over.store(true, Ordering::Relaxed);
        watcher.join().unwrap()
    });
    let checkpoints = Connection::open(service.address()).ask("INFO persistence");
    assert!(largest > BUDGET_BYTES / 2, "{largest}: too few keys to tell");
    assert!(largest <= 2 * BUDGET_BYTES, "{largest} B\n{checkpoints}");
}

#[test]
fn what_it_counts_is_what_the_service_counted() {
    counts_agree(Service::start(&[]).address());
}

#[test]
fn what_it_counts_is_what_redis_counted() {
    if let Some(redis) = Redis::start(&[]) {
        counts_agree(redis.address());
    }
}

#[test]
fn every_command_of_a_mix_and_of_a_template_is_understood() {
    let service = Service::start(&[]);
    let words = "-n 2000 -r 100 -P 4 -t get,set,mset10,mget10,incr,ping --distribution zipf --command";
    let template = "2 HSET h:__number__ __key__ __value__";
    let arguments: Vec<&str> = words.split(' ').chain([template]).collect();
    // There are no hashes yet: these are errors, and nothing else is.
    let (code, out, _) = bench(service.address(), &[&arguments[..], &["--json"]].concat());
    let report: Json = serde_json::from_str(&out).unwrap();
    let commands = report["measurements"][0]["commands"].as_object().unwrap();
    assert_eq!(commands.len(), 7);
    for (name, command) in commands {
        let is_known = name != "HSET h:__number__ __key__ __value__" || code == 0;
        assert!(command["requests"].as_u64().unwrap() > 100, "{name}");
        assert_eq!(command["errors"].as_u64() == Some(0), is_known, "{name}");
    }
}

#[test]
fn errors_are_counted_by_text_and_end_with_code_1() {
    let service = Service::start(&[]);
    let (code, out, _) = bench(service.address(), &["-n", "30", "-c", "2", "--command", "GET a b"]);
    assert_eq!(code, 1);
    assert!(out.contains("error, 30 times: ERR wrong number of arguments for 'get' command"), "{out}");
    let (code, out, _) = bench(service.address(), &["-n", "30", "-c", "2", "--json", "--command", "GET a b"]);
    let report: Json = serde_json::from_str(&out).unwrap();
    let errors = report["measurements"][0]["errors"].as_object().unwrap();
    assert_eq!((code, errors.len(), errors.values().next().unwrap()), (1, 1, &serde_json::json!(30)));
}

#[test]
fn a_rate_sends_what_is_due_and_no_more() {
    let service = Service::start(&[]);
    let report = report(service.address(), &["--rate", "2000", "--seconds", "0.5", "-r", "10", "-c", "20"]);
    let measured = &report["measurements"][0];
    let number = |name: &str| measured[name].as_u64().unwrap();
    assert_eq!(number("requests") + number("unsent"), 1000);
    assert_eq!(number("nulls"), number("requests"), "no key is there");
}

#[test]
fn what_comes_before_the_measurement_does_not_count() {
    let service = Service::start(&[]);
    let warm = report(service.address(), &["-n", "100", "--warm-up", "0.2", "-c", "3", "-P", "2"]);
    assert_eq!(warm["measurements"][0]["requests"], 100);
    assert!(calls(&mut service.connect(), "get") > 100);
}

#[test]
fn one_hot_key_is_one_key() {
    let service = Service::start(&[]);
    report(service.address(), &["-n", "200", "-t", "set", "--distribution", "one"]);
    assert_eq!(service.connect().ask("DBSIZE"), ":1");
}

#[test]
fn password_and_database_are_those_of_the_cli() {
    let service = Service::start(&[("PASSWORD", "pw")]);
    let arguments = ["-n", "10", "-t", "set", "--distribution", "one", "--db", "3"];
    let (code, _, err) = bench(service.address(), &arguments);
    assert_eq!((code, err.as_str()), (1, "emptyserver bench: NOAUTH Authentication required.\n"));
    report(service.address(), &[&arguments[..], &["-a", "pw", "-3"]].concat());
    let mut connection = service.connect();
    connection.ask("AUTH pw");
    assert_eq!((connection.ask("DBSIZE").as_str(), connection.ask("SELECT 3").as_str()), (":0", "+OK"));
    assert_eq!(connection.ask("DBSIZE"), ":1");
}

#[test]
fn a_unix_socket_is_a_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kv.sock").display().to_string();
    let Some(redis) = Redis::start(&["--unixsocket", &path]) else { return };
    let words = ["bench", "--socket", &path, "-n", "1000", "-t", "set", "-P", "8", "--db", "3"];
    let output = Command::new(env!("CARGO_BIN_EXE_emptyserver")).env_clear().args(words).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(calls(&mut Connection::open(redis.address()), "set"), 1000);
}

#[test]
fn two_services_are_measured_in_turn() {
    let (one, other) = (Service::start(&[]), Service::start(&[]));
    let url = format!("redis://{}", other.address());
    let arguments = ["--versus", &url, "--rounds", "2", "-n", "50", "-r", "10", "-t", "set", "--prefill"];
    let report = report(one.address(), &arguments);
    let targets: Vec<&str> =
        report["measurements"].as_array().unwrap().iter().map(|run| run["target"].as_str().unwrap()).collect();
    let (first, second) = (one.address().to_string(), other.address().to_string());
    assert_eq!(targets, [&first, &second, &first, &second]);
    assert_eq!(report["rate_ratios"].as_array().unwrap().len(), 2);
    for service in [&one, &other] {
        assert_eq!(calls(&mut service.connect(), "set"), 10 + 2 * 50);
    }
    let (code, out, _) = bench(one.address(), &arguments);
    assert!(
        code == 0 && out.contains("\nmedian (min-max) of 2 rounds\n") && out.contains("first by second: "),
        "{out}"
    );
}

#[test]
fn a_service_that_is_not_there_or_goes_away_ends_it_with_code_3() {
    let mut service = Service::start(&[]);
    let load = Command::new(env!("CARGO_BIN_EXE_emptyserver"))
        .env_clear()
        .args(["bench", "-u", &format!("redis://{}", service.address()), "--seconds", "60"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut connection = service.connect();
    wait_until("the load", PATIENCE, || (calls(&mut connection, "get") > 0).then_some(()));
    service.kill_all();
    let output = load.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(output.stderr, b"emptyserver bench: the service closed the connection\n");
    let (code, _, err) = bench(service.address(), &["-n", "1"]);
    assert!(code == 3 && err.starts_with("emptyserver bench: cannot connect to "), "{err}");
}
