//! Many clients read on in one stream over four workers, while the writer and the workers are killed: whoever reads by ids sees each entry
//! once and in order; of a group each entry is given to one consumer, which is the one that the group says has it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::kills::kill_for;
use crate::support::{Connection, Service, Value, number_from_environment, turn, wait_until};
use emptyserver::sys::clock;

const PATIENCE: Duration = Duration::from_secs(60);
const ADD_EVERY: Duration = Duration::from_millis(5);
const POINTS: [&str; 4] = ["before-commit", "after-commit", "before-unmark", "amid-replies"];
const LAST: &str = "the last";

/// In the order of the stream.
type Id = (u64, u64);

fn id(text: &str) -> Id {
    let (ms, seq) = text.split_once('-').unwrap();
    (ms.parse().unwrap(), seq.parse().unwrap())
}

/// Its id and its value.
fn entry(entry: &Value) -> (Id, String) {
    (id(&entry.items()[0].text()), entry.items()[1].items()[1].text())
}

/// The entries in a reply to a read of one stream.
fn entries(reply: &Value) -> Vec<(Id, String)> {
    let [stream] = reply.items() else { panic!("{reply}") };
    let [_, entries] = stream.items() else { panic!("{reply}") };
    entries.items().iter().map(entry).collect()
}

/// Calls until the connection dies, and again on a new one, until `take` has seen the last entry.
fn read_on(address: SocketAddr, call: impl Fn(&str) -> Vec<String>, mut take: impl FnMut(Id, &str)) -> u64 {
    let (mut connection, mut last, mut lost) = (None, (0, 0), 0);
    loop {
        let Some(open) = connection.as_mut() else {
            connection = Connection::try_open(address).ok();
            continue;
        };
        let words = call(&format!("{}-{}", last.0, last.1));
        match open.try_call(&words.iter().map(String::as_str).collect::<Vec<_>>()) {
            Ok(reply) if reply.is_error() => {}
            Ok(reply) => {
                for (id, value) in entries(&reply) {
                    take(id, &value);
                    last = id;
                    if value == LAST {
                        return lost;
                    }
                }
            }
            Err(_) => {
                lost += 1;
                connection = None;
            }
        }
    }
}

/// All values by their ids.
fn reader(address: SocketAddr) -> BTreeMap<Id, String> {
    let mut seen: BTreeMap<Id, String> = BTreeMap::new();
    let call = |last: &str| ["XREAD", "COUNT", "10", "BLOCK", "0", "STREAMS", "s", last].map(String::from).to_vec();
    read_on(address, call, |id, value| {
        assert!(seen.keys().next_back().is_none_or(|last| *last < id), "{id:?} came twice, or out of turn");
        seen.insert(id, value.to_owned());
    });
    seen
}

/// The ids that a consumer got.
fn consumer(address: SocketAddr, name: &str) -> BTreeSet<Id> {
    let mut got = BTreeSet::new();
    let call = |_: &str| {
        ["XREADGROUP", "GROUP", "g", name, "COUNT", "1", "BLOCK", "0", "STREAMS", "s", ">"].map(String::from).to_vec()
    };
    read_on(address, call, |id, _| assert!(got.insert(id), "{id:?} came twice"));
    got
}

/// Adds until it is over. Returns the ids that were acknowledged.
fn add(address: SocketAddr, is_over: &AtomicBool) -> BTreeSet<Id> {
    let (mut acknowledged, mut connection, mut number) = (BTreeSet::new(), None, 0_u64);
    while !is_over.load(Ordering::SeqCst) {
        let Some(open) = connection.as_mut() else {
            connection = Connection::try_open(address).ok();
            continue;
        };
        number += 1;
        match open.try_call(&["XADD", "s", "*", "n", &number.to_string()]) {
            Ok(reply) if reply.is_error() => {}
            Ok(reply) => drop(acknowledged.insert(id(&reply.text()))),
            Err(_) => connection = None,
        }
        clock::pause(ADD_EVERY);
    }
    acknowledged
}

#[test]
fn readers_of_a_stream_miss_nothing_whoever_is_killed() {
    let _turn = turn();
    let seconds = number_from_environment("STREAM_READERS_SECONDS", 10);
    let count = number_from_environment("STREAM_READERS", 20);
    let service = Service::start(&[("WORKERS", "4"), ("DEBUG_COMMANDS", "yes")]);
    let address = service.address();
    service.connect().call(&["XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"]);
    let (is_over, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let readers: Vec<JoinHandle<_>> = (0..count).map(|_| thread::spawn(move || reader(address))).collect();
    let consumers: Vec<JoinHandle<_>> = (0..count)
        .map(|number| {
            let ended = Arc::clone(&ended);
            thread::spawn(move || {
                let got = consumer(address, &format!("consumer {number}"));
                ended.fetch_add(1, Ordering::SeqCst);
                got
            })
        })
        .collect();
    let adding = {
        let is_over = Arc::clone(&is_over);
        thread::spawn(move || add(address, &is_over))
    };
    let kills = kill_for(&service, seconds, &POINTS);
    is_over.store(true, Ordering::SeqCst);
    let acknowledged = adding.join().unwrap();
    // One for each consumer: it ends the reading of whoever gets it.
    let mut control = service.connect();
    wait_until("the end of all consumers", PATIENCE, || {
        if ended.load(Ordering::SeqCst) == count {
            return Some(());
        }
        control.call(&["XADD", "s", "*", "n", LAST]);
        None
    });
    let all: BTreeMap<Id, String> = control.call(&["XRANGE", "s", "-", "+"]).items().iter().map(entry).collect();
    assert!(acknowledged.iter().all(|id| all.contains_key(id)), "an acknowledged entry is lost");
    for reader in readers {
        let seen = reader.join().unwrap();
        let last = *seen.keys().next_back().unwrap();
        let expected: BTreeMap<_, _> = all.clone().into_iter().filter(|(id, _)| *id <= last).collect();
        assert_eq!(seen.len(), expected.len(), "a reader has missed some");
        assert!(seen == expected);
    }
    let mut owners: BTreeMap<Id, String> = BTreeMap::new();
    let pending = control.call(&["XPENDING", "s", "g", "-", "+", "1000000"]);
    for entry in pending.items() {
        owners.insert(id(&entry.items()[0].text()), entry.items()[1].text());
    }
    assert!(acknowledged.iter().all(|id| owners.contains_key(id)), "an entry was given to nobody");
    for (number, consumer) in consumers.into_iter().enumerate() {
        let name = format!("consumer {number}");
        let got = consumer.join().unwrap();
        assert!(got.iter().all(|id| owners[id] == name), "{name} got what another has");
    }
    println!("{count} readers and consumers each, {kills} kills in {seconds} s: {} entries", all.len());
}
