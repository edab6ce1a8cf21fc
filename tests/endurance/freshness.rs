//! A GET that is sent after a write was acknowledged never sees an older value, on any connection of any worker, and no
//! two reads one after the other see new then old: also while writers are killed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::{Connection, Service, Value, number_from_environment, signal, turn};
use nix::sys::signal::Signal;

const KEYS: usize = 4;

fn number(value: &Value) -> u64 {
    match value {
        Value::Bulk(digits) => std::str::from_utf8(digits).unwrap().parse().unwrap(),
        other => panic!("not a number: {other}"),
    }
}

/// Of each key the number that was last acknowledged: only rises.
struct Acknowledged([AtomicU64; KEYS]);

/// One writer per key counts up; it alone knows what comes next.
fn write(service: &Service, key: usize, acknowledged: &Acknowledged, is_over: &AtomicBool) -> u64 {
    let mut connection = service.connect();
    let mut next = 1;
    while !is_over.load(Ordering::SeqCst) {
        let reply = connection.try_call(&["SET", &format!("key:{key}"), &next.to_string()]);
        match reply {
            Ok(reply) => {
                assert_eq!(reply.to_string(), "+OK");
                acknowledged.0[key].store(next, Ordering::SeqCst);
            }
            // Applied or not: the next number settles it.
            Err(_) => connection = service.connect(),
        }
        next += 1;
    }
    next
}

fn read_one(connection: &mut Connection, key: usize, how: usize) -> u64 {
    let name = format!("key:{key}");
    match how % 3 {
        0 => number(&connection.call(&["GET", &name])),
        1 => match connection.call(&["MGET", &name, "nothing"]) {
            Value::Array(values) => number(&values[0]),
            other => panic!("{other}"),
        },
        // Behind another command of the same pipeline.
        _ => {
            connection.send_bytes(format!("PING\r\nGET {name}\r\n").as_bytes());
            connection.read();
            number(&connection.read())
        }
    }
}

/// Returns how many reads there were.
fn read(
    service: &Service,
    first: usize,
    acknowledged: &Acknowledged,
    seen: &Acknowledged,
    is_over: &AtomicBool,
) -> u64 {
    // Several connections, so that each worker has some.
    let mut connections: Vec<Connection> = (0..4).map(|_| service.connect()).collect();
    let mut count = 0;
    while !is_over.load(Ordering::SeqCst) {
        let turn = first + count as usize;
        let (key, connection) = (turn % KEYS, &mut connections[turn / KEYS % 4]);
        // What anybody has seen or been told before this read is sent.
        let least = acknowledged.0[key].load(Ordering::SeqCst).max(seen.0[key].load(Ordering::SeqCst));
        let found = read_one(connection, key, turn / 7);
        assert!(found >= least, "key:{key} is {found}, and was {least} before");
        seen.0[key].fetch_max(found, Ordering::SeqCst);
        count += 1;
    }
    count
}

fn zeros() -> Acknowledged {
    Acknowledged(std::array::from_fn(|_| AtomicU64::new(0)))
}

#[test]
fn no_read_is_older_than_what_was_acknowledged_or_seen_before_it_also_across_killed_writers() {
    assert_eq!(race(&[("JOURNAL_BYTES_MAX", "0")]), 0);
}

#[test]
fn no_read_is_older_either_where_loops_and_readers_find_it_in_the_memtable() {
    assert!(race(&[("JOURNAL_BYTES_MAX", "16Mi")]) > 0);
}

/// Returns how many reads the memtable answered on loops.
fn race(settings: &[(&str, &str)]) -> u64 {
    let _turn = turn();
    let settings = [&[("WORKERS", "4"), ("WAL_BYTES_MAX", "1Mi")], settings].concat();
    let service = Service::start(&settings);
    for key in 0..KEYS {
        assert_eq!(service.connect().ask(&format!("SET key:{key} 0")), "+OK");
    }
    let seconds = number_from_environment("FRESHNESS_SECONDS", 6);
    let (acknowledged, seen, is_over) = (zeros(), zeros(), AtomicBool::new(false));
    let (service, acknowledged, seen, is_over) = (&service, &acknowledged, &seen, &is_over);
    thread::scope(|scope| {
        let writers: Vec<_> =
            (0..KEYS).map(|key| scope.spawn(move || write(service, key, acknowledged, is_over))).collect();
        let readers: Vec<_> =
            (0..4).map(|first| scope.spawn(move || read(service, first, acknowledged, seen, is_over))).collect();
        let mut kills = 0;
        for _ in 0..seconds * 2 {
            thread::park_timeout(Duration::from_millis(500));
            if let Some(pid) = service.process("write") {
                signal(pid, Signal::SIGKILL);
                kills += 1;
            }
        }
        is_over.store(true, Ordering::SeqCst);
        let writes: u64 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        let reads: u64 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        println!("{reads} reads beside {writes} writes and {kills} killed writers");
        assert!(reads > 100 && writes > 20 && kills > 0);
    });
    service.connect().of_info("memtable_hits")
}
