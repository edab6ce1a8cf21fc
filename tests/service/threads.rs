//! Who touches the disk: pool threads, and nobody else. What each thread of the real program asks the kernel for is
//! recorded under a mixed load.

use std::collections::BTreeMap;

use crate::support::strace::{self, Line, RECORD, Strace};
use crate::support::{Connection, Service, descendants, turn};

/// Calls that name a file, and calls on descriptors; not the time, memory or futexes.
const CALLS: &str =
    "trace=%file,%desc,%net,fsync,fdatasync,sync_file_range,msync,fallocate,io_submit,io_uring_enter,statfs,flock";

/// Everything that clients can ask for, on each of many connections: with replies of lanes, of the loop, and of all
/// workers together.
fn mixed_load(connections: &mut [Connection]) {
    for (n, connection) in connections.iter_mut().enumerate() {
        let words = format!(
            "PING;SET key:{n} {n};GET key:{n};INCR count;GET nothing;MGET key:1 key:2;INFO;INFO everything;CLIENT LIST;CLIENT ID;\
             CLIENT INFO;CONFIG GET *;CONFIG SET slowlog-log-slower-than 100;CONFIG SET timeout 100;CONFIG RESETSTAT;SLOWLOG GET;\
             SLOWLOG RESET;LATENCY LATEST;COMMAND COUNT;COMMAND DOCS get;DBSIZE;TIME;SCAN 0;KEYS *;RANDOMKEY;MEMORY USAGE key:{n};\
             EXPIRE key:{n} 100;TTL key:{n};DEL key:{n};FLUSHDB;SELECT 1;SET other 1;SWAPDB 1 2;SELECT 0;LASTSAVE;BGSAVE;SAVE;\
             WAITAOF 1 0 1000;CLIENT PAUSE 1 WRITE;CLIENT UNPAUSE;NOSUCHCOMMAND;GET;OBJECT ENCODING key:{n};LOLWUT;DUMP key:{n}"
        );
        for command in words.split(';') {
            connection.ask(command);
        }
        for command in ["WATCH key:1", "GET key:1", "MULTI", "SET key:1 2", "PING", "INFO server", "EXEC"] {
            connection.ask(command);
        }
        let value = "v".repeat(200_000);
        assert_eq!(connection.call(&["SET", "big", &value]).to_string(), "+OK");
        assert_eq!(connection.ask("STRLEN big"), ":200000");
        connection.ask("GET big");
    }
}

/// What is said of a failure: which thread did what on what.
fn told(line: &Line) -> String {
    let on = line.descriptor(0).unwrap_or_else(|| line.args.chars().take(80).collect());
    format!("{} {}({on})", line.thread, line.name)
}

/// A file of some file system: not a socket, an epoll, a pipe, a terminal.
fn is_file(line: &Line) -> bool {
    line.descriptor(0).is_some_and(|name| name.starts_with('/') && !name.starts_with("/dev/"))
}

fn is_log_line(line: &Line) -> bool {
    matches!(line.name.as_str(), "write" | "writev") && line.descriptor_number(0) == Some(2)
}

/// Names a file: it looks at the disk whatever it is about.
fn names_a_file(line: &Line) -> bool {
    ["open", "stat", "newfstatat", "access", "faccessat", "readlink", "unlink", "rename", "mkdir", "chdir", "getcwd"]
        .iter()
        .any(|name| line.name.starts_with(name))
        || line.name.contains("statx")
        || line.name == "lstat"
}

fn is_pool_thread(name: &str) -> bool {
    ["read-", "heavy-", "write-"].iter().any(|lane| name.starts_with(lane)) || matches!(name, "checkpoint" | "sync")
}

fn record(settings: &[(&str, &str)], between: impl FnOnce(&Service)) -> Vec<Line> {
    let service = Service::start(settings);
    // What a process does once, at its first use, is done.
    let mut connections: Vec<Connection> = (0..8).map(|_| service.connect()).collect();
    mixed_load(&mut connections);
    let pids: Vec<i32> = descendants(service.pid()).iter().map(|process| process.pid).chain([service.pid()]).collect();
    let options: Vec<&str> = RECORD.iter().copied().chain(["-e", CALLS]).collect();
    let strace = Strace::attach(&pids, &options);
    mixed_load(&mut connections);
    // Connections that come and go, and one that breaks the protocol.
    for _ in 0..8 {
        let mut connection = service.connect();
        assert_eq!(connection.ask("PING"), "+PONG");
    }
    let mut broken = service.connect();
    broken.send_bytes(b"*1\r\n$-5\r\n");
    broken.read();
    between(&service);
    strace.finish()
}

#[test]
fn a_loop_makes_no_file_system_call_and_the_data_is_touched_by_pool_threads_only() {
    let _turn = turn();
    if !strace::is_available() {
        return;
    }
    for durability in ["always", "everysec"] {
        let lines = record(
            &[("WORKERS", "2"), ("DURABILITY", durability), ("WAL_BYTES_MAX", "1Mi"), ("DEBUG_COMMANDS", "yes")],
            |_| {},
        );
        let mut touched: BTreeMap<String, usize> = BTreeMap::new();
        let mut wrong = Vec::new();
        for line in lines.iter().filter(|line| !line.is_end_only && !is_log_line(line)) {
            let is_loop = line.thread.starts_with("worker-");
            if is_loop && (is_file(line) || names_a_file(line)) {
                wrong.push(told(line));
            }
            if line.descriptor(0).is_some_and(|name| name.contains("data.db")) {
                *touched.entry(line.thread.clone()).or_default() += 1;
                if !is_pool_thread(&line.thread) {
                    wrong.push(told(line));
                }
            }
        }
        wrong.sort();
        wrong.dedup();
        assert!(wrong.is_empty(), "{durability}: {wrong:#?}");
        println!("{durability}: {} calls; on the data: {touched:?}", lines.len());
        let is_seen = |name: &str| touched.keys().any(|thread| thread.starts_with(name));
        assert!(is_seen("write-0") && is_seen("checkpoint"), "there was something to see: {touched:?}");
        assert!(lines.iter().any(|line| line.thread.starts_with("worker-") && line.name.starts_with("send")));
    }
}

#[test]
fn the_data_is_written_and_synced_by_the_writer_process_alone() {
    if !strace::is_available() {
        return;
    }
    let lines = record(&[("WORKERS", "2"), ("WAL_BYTES_MAX", "1Mi")], |service| {
        service.replace("worker-0");
        assert_eq!(service.connect().ask("SET a 1"), "+OK");
    });
    let changes = ["pwrite", "write", "ftruncate", "fsync", "fdatasync", "fallocate"];
    let is_change = |line: &Line| changes.iter().any(|name| line.name.starts_with(name));
    let of_data =
        |line: &Line| line.descriptor(0).is_some_and(|name| name.ends_with("data.db") || name.ends_with("-wal"));
    let mut threads: Vec<&str> =
        lines.iter().filter(|line| is_change(line) && of_data(line)).map(|line| line.thread.as_str()).collect();
    threads.sort_unstable();
    threads.dedup();
    assert!(threads.iter().all(|name| name.starts_with("write-") || *name == "checkpoint"), "{threads:?}");
    assert!(threads.contains(&"write-0") && threads.contains(&"checkpoint"), "{threads:?}");
}
