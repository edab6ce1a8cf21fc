//! Clients that write, and remember what they sent and what was acknowledged when.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;

use emptyserver::storage::{Keyspace, Lookup};
use emptyserver::sys::clock;

use crate::support::{Connection, Value};

const CLIENTS: usize = 3;
const KEYS_PER_CLIENT: u64 = 40;

/// One write of a client: to its key, of its number, which only rises.
struct Entry {
    key: String,
    number: u64,
    sent_us: i64,
    /// `None`: the connection closed before an answer.
    acknowledged_us: Option<i64>,
}

/// Everything that all clients wrote.
pub(crate) struct Journal(Vec<Entry>);

/// Returns when the clients have done so many writes together. `disturb` is called twice meanwhile.
pub(crate) fn write_for_a_while(address: SocketAddr, writes: u64, mut disturb: impl FnMut()) -> Journal {
    let each = writes / CLIENTS as u64;
    let (tell, told) = mpsc::channel();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let tell = (client == 0).then(|| tell.clone());
            thread::spawn(move || run(client, address, each, tell.as_ref()))
        })
        .collect();
    drop(tell);
    told.iter().for_each(|()| disturb());
    Journal(clients.into_iter().flat_map(|thread| thread.join().unwrap()).collect())
}

/// `tell` hears when a third and when two thirds are done.
fn run(client: usize, address: SocketAddr, writes: u64, tell: Option<&mpsc::Sender<()>>) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut connection = Connection::open(address);
    let (mut number, mut next_third) = (0, writes / 3);
    while number < writes {
        if let Some(tell) = tell
            && number >= next_third
        {
            tell.send(()).unwrap();
            next_third += writes / 3 + 1;
        }
        // One or several at once; now and then a large value, which lies in a table of its own.
        let count = 1 + number % 3;
        let first = entries.len();
        let mut bytes = Vec::new();
        for _ in 0..count {
            number += 1;
            let key = if number % 50 == 0 {
                format!("big:{client}")
            } else {
                format!("{client}:{}", number % KEYS_PER_CLIENT)
            };
            bytes.extend_from_slice(&crate::support::encoded(&[
                b"SET".to_vec(),
                key.clone().into_bytes(),
                value(&key, number),
            ]));
            entries.push(Entry { key, number, sent_us: clock::wall_us(), acknowledged_us: None });
        }
        let mut is_lost = connection.try_send_bytes(&bytes).is_err();
        for entry in &mut entries[first..] {
            is_lost = is_lost
                || match connection.try_read() {
                    Ok(Value::Simple(_)) => false,
                    Ok(other) => panic!("{other}"),
                    Err(_) => true,
                };
            entry.acknowledged_us = (!is_lost).then(clock::wall_us);
        }
        if is_lost {
            connection = Connection::open(address);
        }
    }
    entries
}

/// The number, over and over: half of one value and half of another is neither.
fn value(key: &str, number: u64) -> Vec<u8> {
    let times = if key.starts_with("big") { 8000 } else { 30 };
    format!("{number:09},").repeat(times).into_bytes()
}

impl Journal {
    /// For a durability that promises nothing about the last writes.
    pub(crate) fn without_acknowledgements(mut self) -> Self {
        self.0.iter_mut().for_each(|entry| entry.acknowledged_us = None);
        self
    }

    pub(crate) fn begun_us(&self) -> i64 {
        self.0.iter().map(|entry| entry.sent_us).min().unwrap()
    }

    /// Of each key: its value is the last that was acknowledged by then, or a later one that was sent by then. Returns how
    /// many acknowledged writes were compared.
    pub(crate) fn check(&self, keyspace: &Keyspace, at_us: i64) -> Result<usize, String> {
        let mut keys: Vec<&str> = self.0.iter().map(|entry| entry.key.as_str()).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut compared = 0;
        for key in keys {
            let of_key = || self.0.iter().filter(|entry| entry.key == key);
            let by_then = |time: &Option<i64>| time.is_some_and(|time| time < at_us);
            let acknowledged =
                of_key().filter(|entry| by_then(&entry.acknowledged_us)).map(|entry| entry.number).max().unwrap_or(0);
            let sent = of_key().filter(|entry| entry.sent_us < at_us).map(|entry| entry.number).max().unwrap_or(0);
            let found = match keyspace.string(key.as_bytes()).map_err(|error| error.to_string())? {
                Lookup::Absent => 0,
                Lookup::OtherKind(_) => return Err(format!("{key} is of another kind")),
                Lookup::Found(bytes) => {
                    let number = std::str::from_utf8(&bytes[..9]).ok().and_then(|digits| digits.parse().ok());
                    let number = number.ok_or_else(|| format!("{key} has a value that nobody wrote"))?;
                    if bytes != value(key, number) {
                        return Err(format!("{key} has a part of the value {number}"));
                    }
                    number
                }
            };
            if !(acknowledged..=sent).contains(&found) {
                return Err(format!("{key} is {found}: {acknowledged} was acknowledged, {sent} sent"));
            }
            compared += usize::from(acknowledged > 0);
        }
        Ok(compared)
    }
}
