//! What speaks for the whole service, with clients on each of four workers: settings, the slow log, statistics, and what
//! clients' libraries read from INFO.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use crate::support::{Connection, Service, Value, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

/// A connection on each worker. One that has far fewer than the others is the only one that listens: so each gets some in
/// the end, also where the machine let one sleep at first.
pub(super) fn one_on_each(service: &Service, workers: usize) -> Vec<Connection> {
    let mut on_each: BTreeMap<usize, Connection> = BTreeMap::new();
    let mut others = Vec::new();
    wait_until("a connection on each worker", PATIENCE, || {
        for mut connection in (0..workers).map(|_| service.connect()).collect::<Vec<_>>() {
            let worker = worker_of(&mut connection, workers);
            if let Some(known) = on_each.insert(worker, connection) {
                others.push(known);
            }
        }
        (on_each.len() == workers).then_some(())
    });
    on_each.into_values().collect()
}

/// Nobody else sends anything: the worker whose count of commands grows is the one that answers.
fn worker_of(connection: &mut Connection, workers: usize) -> usize {
    let mut commands = || {
        let info = info(connection, "workers");
        (0..workers).map(|worker| field(&info[&format!("worker{worker}")], "commands")).collect::<Vec<u64>>()
    };
    let (before, after) = (commands(), commands());
    before.iter().zip(after).position(|(before, after)| after > *before).expect("one has answered")
}

fn info(connection: &mut Connection, section: &str) -> BTreeMap<String, String> {
    let text = connection.call(&["INFO", section]).text();
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.map(|(name, value)| (name.to_owned(), value.trim_end().to_owned())).collect()
}

fn field(line: &str, name: &str) -> u64 {
    let prefix = format!("{name}=");
    let found = line.split(',').find_map(|part| part.strip_prefix(&prefix));
    found.unwrap_or_else(|| panic!("no {name} in {line}")).parse().expect("a number")
}

#[test]
fn a_setting_that_is_changed_on_one_worker_holds_on_all_and_on_one_that_is_started_again() {
    let service = Service::start(&[("WORKERS", "4")]);
    let mut connections = one_on_each(&service, 4);
    assert_eq!(connections[0].ask("CONFIG SET slowlog-max-len 77 maxclients 500 timeout 600"), "+OK");
    for connection in &mut connections {
        assert_eq!(connection.ask("CONFIG GET slowlog-max-len"), "[\"slowlog-max-len\" \"77\"]");
        assert_eq!(connection.ask("CONFIG GET maxclients"), "[\"maxclients\" \"500\"]");
    }
    for name in ["worker-0", "worker-1", "worker-2", "worker-3"] {
        service.replace(name);
    }
    let mut connection = service.connect();
    assert_eq!(connection.ask("CONFIG GET slowlog-max-len"), "[\"slowlog-max-len\" \"77\"]");
    assert_eq!(connection.ask("CONFIG GET timeout"), "[\"timeout\" \"600\"]");
}

#[test]
fn fewer_clients_are_let_in_as_soon_as_maxclients_says_so() {
    let service = Service::start(&[("WORKERS", "2")]);
    let mut first = service.connect();
    assert_eq!(first.ask("CONFIG SET maxclients 2"), "+OK");
    let mut second = service.connect();
    assert_eq!(second.ask("PING"), "+PONG");
    let mut third = service.connect();
    assert_eq!(third.read().to_string(), "-ERR max number of clients reached");
    assert!(third.is_closed());
    assert_eq!(first.ask("CONFIG SET maxclients 3"), "+OK");
    assert_eq!(service.connect().ask("PING"), "+PONG");
}

#[test]
fn a_timeout_that_is_set_later_closes_clients_that_were_there_before() {
    let service = Service::start(&[("WORKERS", "2")]);
    let mut silent = service.connect();
    assert_eq!(silent.ask("PING"), "+PONG");
    let mut busy = service.connect();
    assert_eq!(busy.ask("CONFIG SET timeout 1"), "+OK");
    assert!(silent.is_closed());
    let mut again = service.connect();
    assert_eq!(again.ask("CONFIG SET timeout 0"), "+OK");
    assert_eq!(again.ask("PING"), "+PONG");
}

#[test]
fn the_slow_log_is_one_over_all_workers() {
    let service = Service::start(&[("WORKERS", "4")]);
    let mut connections = one_on_each(&service, 4);
    assert_eq!(connections[0].ask("CONFIG SET slowlog-log-slower-than 0"), "+OK");
    for (worker, connection) in connections.iter_mut().enumerate() {
        assert_eq!(connection.ask(&format!("SET from-{worker} 1")), "+OK");
    }
    assert_eq!(connections[3].ask("CONFIG SET slowlog-log-slower-than -1"), "+OK");
    for connection in &mut connections {
        let log = connection.call(&["SLOWLOG", "GET", "-1"]);
        let entries = log.items();
        let numbers: Vec<i64> = entries.iter().map(|entry| entry.items()[0].integer()).collect();
        assert!(numbers.is_sorted_by(|a, b| a > b), "newest first: {numbers:?}");
        let keys: BTreeSet<String> =
            entries.iter().filter_map(|entry| entry.items()[3].items().get(1)).map(Value::text).collect();
        assert!((0..4).all(|worker| keys.contains(&format!("from-{worker}"))), "{keys:?}");
    }
    let length = connections[1].call(&["SLOWLOG", "LEN"]).integer();
    assert!(length >= 5, "{length}");
    assert_eq!(connections[2].ask("SLOWLOG RESET"), "+OK");
    assert_eq!(connections[0].call(&["SLOWLOG", "LEN"]).integer(), 0);
}

#[test]
fn statistics_are_sums_over_all_processes_and_begin_anew_together() {
    let service = Service::start(&[("WORKERS", "4")]);
    let mut connections = one_on_each(&service, 4);
    assert_eq!(connections[0].ask("CONFIG RESETSTAT"), "+OK");
    for connection in &mut connections {
        assert_eq!(connection.ask("SET a 1"), "+OK");
        assert_eq!(connection.ask("GET a"), "\"1\"");
        assert!(connection.ask("INCR a b").starts_with("-ERR"));
    }
    for connection in &mut connections {
        let stats = info(connection, "commandstats");
        assert_eq!((field(&stats["cmdstat_set"], "calls"), field(&stats["cmdstat_get"], "calls")), (4, 4));
        assert_eq!(field(&stats["cmdstat_incr"], "rejected_calls"), 4);
        assert_eq!(info(connection, "errorstats")["errorstat_ERR"], "count=4");
        assert_eq!(info(connection, "stats")["keyspace_hits"], "4");
    }
    assert_eq!(connections[3].ask("CONFIG RESETSTAT"), "+OK");
    for connection in &mut connections {
        assert!(!info(connection, "commandstats").contains_key("cmdstat_set"));
        assert_eq!(info(connection, "stats")["keyspace_hits"], "0");
    }
}

#[test]
fn saves_move_the_wal_into_the_file_and_are_dated() {
    let service = Service::start(&[("WORKERS", "2")]);
    let mut connection = service.connect();
    assert_eq!(connection.call(&["SET", "a", &"x".repeat(100_000)]).to_string(), "+OK");
    assert_eq!(info(&mut connection, "persistence")["rdb_changes_since_last_save"], "1");
    let before = connection.call(&["LASTSAVE"]).integer();
    assert_eq!(connection.ask("SAVE"), "+OK");
    assert!(connection.call(&["LASTSAVE"]).integer() >= before);
    let persistence = info(&mut connection, "persistence");
    assert_eq!((&*persistence["rdb_changes_since_last_save"], &*persistence["rdb_last_bgsave_status"]), ("0", "ok"));
    assert!(std::fs::metadata(service.data().join("data.db")).unwrap().len() > 100_000);
    assert_eq!(connection.ask("BGSAVE"), "+Background saving started");
    wait_until("the end of the save", PATIENCE, || {
        (info(&mut connection, "persistence")["rdb_bgsave_in_progress"] == "0").then_some(())
    });
}

#[test]
fn waitaof_answers_after_the_sync_that_the_durability_promises() {
    let everysec = Service::start(&[("WORKERS", "2"), ("DURABILITY", "everysec")]);
    let mut connection = everysec.connect();
    assert_eq!(connection.ask("SET a 1"), "+OK");
    assert_eq!(connection.ask("WAITAOF 1 0 1"), "[:0 :0]", "a millisecond is too short");
    assert_eq!(connection.ask("WAITAOF 1 0 0"), "[:1 :0]");
    assert_eq!(connection.ask("WAITAOF 1 0 20000"), "[:1 :0]");
    let os = Service::start(&[("WORKERS", "2"), ("DURABILITY", "os")]);
    let mut connection = os.connect();
    let refusal = "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";
    assert_eq!(connection.ask("WAITAOF 1 0 0"), refusal);
    assert_eq!(connection.ask("WAITAOF 0 0 0"), "[:0 :0]");
}

#[test]
fn shutdown_ends_the_service_in_good_order() {
    for workers in ["0", "2"] {
        let mut service = Service::start(&[("WORKERS", workers)]);
        let mut connection = service.connect();
        assert_eq!(connection.ask("SET a 1"), "+OK");
        connection.send(&["SHUTDOWN"]);
        connection.send(&["SET", "a", "2"]);
        assert!(connection.is_closed(), "without an answer");
        assert_eq!(service.wait_for_end(PATIENCE).code(), Some(0), "{workers} workers");
        service.restart();
        assert_eq!(service.connect().ask("GET a"), "\"1\"", "what came behind it did not run");
    }
}

#[test]
fn debug_kills_the_writer_where_it_is_told_to_and_sleeps_without_holding_up_others() {
    let service = Service::start(&[("WORKERS", "1"), ("DEBUG_COMMANDS", "yes")]);
    let (mut sleeper, mut other) = (service.connect(), service.connect());
    sleeper.send(&["DEBUG", "SLEEP", "0.3"]);
    assert_eq!(other.ask("PING"), "+PONG");
    for point in ["before-commit", "after-commit", "before-unmark", "amid-replies"] {
        let writer = service.process("write");
        assert_eq!(other.ask(&format!("DEBUG KILL-WRITER {point}")), "+OK");
        // Its reply may be lost, its effect may not be repeated.
        let mut client = service.connect();
        match client.try_call(&["APPEND", point, "x"]) {
            Ok(length) => assert_eq!(length.integer(), 1, "{point}"),
            Err(_) => assert_eq!(other.ask(&format!("GET {point}")), "\"x\"", "{point}"),
        }
        assert_ne!(service.process("write"), writer, "{point}");
    }
    assert_eq!(sleeper.read().to_string(), "+OK");
}

#[test]
fn client_libraries_read_info() {
    let service = Service::start(&[("WORKERS", "4")]);
    let client = redis::Client::open(format!("redis://{}", service.address())).unwrap();
    let mut connection = client.get_connection().unwrap();
    let () = redis::cmd("SET").arg("a").arg(1).query(&mut connection).unwrap();
    let info: redis::InfoDict = redis::cmd("INFO").query(&mut connection).unwrap();
    assert!(info.get::<String>("redis_version").unwrap().starts_with("7.2."));
    assert_eq!(info.get::<u16>("tcp_port"), Some(service.address().port()));
    assert_eq!(
        (info.get::<String>("role").unwrap(), info.get::<u64>("connected_slaves")),
        ("master".to_owned(), Some(0))
    );
    assert!(info.get::<u64>("used_memory").is_some() && info.get::<f64>("mem_fragmentation_ratio").is_some());
    let script = "import redis, sys\nkv = redis.Redis(port=int(sys.argv[1]), socket_timeout=5)\ninfo = kv.info('everything')\n\
                  print(info['redis_version'], info['db0']['keys'], info['worker0']['state'], info['cmdstat_set']['calls'])\n\
                  print(kv.config_get('maxmemory*')['maxmemory-policy'], len(kv.slowlog_get()), kv.memory_stats()['keys.count'])";
    let python = Command::new("python3").args(["-c", script, &service.address().port().to_string()]).output();
    match python {
        Ok(output) if output.status.success() => {
            let shown = String::from_utf8(output.stdout).unwrap();
            assert!(shown.starts_with("7.2.") && shown.contains(" 1 serving 1\nnoeviction 0 1"), "{shown}");
        }
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("No module named 'redis'") => {
            println!("skipped: redis-py is not installed");
        }
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => println!("skipped: python3 is not installed"),
    }
}
