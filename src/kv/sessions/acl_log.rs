//! What ACL LOG tells: each worker keeps what its own clients were refused; the command gathers them and puts like to like. Bounded in entries
//! and in bytes.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::kv::metrics::statistics::Counted;
use crate::kv::sessions::clients;
use crate::kv::sessions::session::Client;
use crate::kv::sessions::wire;
use crate::kv::sessions::worker_state::WorkerState;
use crate::kv::shared::hand_offs::HandOff;
use crate::kv::shared::runtime::Knob;
use crate::kv::users::{Denial, Refused};

/// Within so long the same refusal is counted and makes no new entry (Redis: ACL_LOG_GROUPING_MAX_TIME_DELTA).
const SAME_WITHIN_MS: i64 = 60_000;
/// Of one worker's entries so many are compared.
const COMPARED_MAX: usize = 10;
/// Bytes that one worker's entries take at most.
const BYTES_MAX: usize = 4 << 20;

/// One worker's entries, the one that was changed last first.
#[derive(Default)]
pub struct AclLog {
    entries: VecDeque<Entry>,
    bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Over the whole service.
    pub number: u64,
    pub count: u64,
    pub denial: Denial,
    pub created_ms: i64,
    pub updated_ms: i64,
    /// The last client, as CLIENT LIST shows it.
    pub client: Vec<u8>,
}

/// A client of this worker was refused something.
pub fn remember(worker: &mut WorkerState, client: &Client, denial: Denial) {
    worker.statistics.add(counted(denial.what), 1);
    let entries_max = worker.shared.runtime.read(Knob::AclLogEntriesMax) as usize;
    let now_ms = worker.shared.clock.now_ms();
    let mut line = clients::line(client, worker.clock.now_ms());
    // Without the line's end.
    line.pop();
    let next = || worker.shared.hand_offs.next(HandOff::AclLogNext);
    worker.acl_log.add(denial, line, now_ms, entries_max, next);
}

const fn counted(what: Refused) -> Counted {
    match what {
        Refused::Command => Counted::DeniedCommandsTotal,
        Refused::Key => Counted::DeniedKeysTotal,
        Refused::Channel => Counted::DeniedChannelsTotal,
        Refused::Login => Counted::AuthFailuresTotal,
    }
}

impl AclLog {
    fn add(&mut self, denial: Denial, client: Vec<u8>, now_ms: i64, entries_max: usize, next: impl FnOnce() -> u64) {
        let is_same = |entry: &Entry| entry.denial == denial && (now_ms - entry.updated_ms).abs() <= SAME_WITHIN_MS;
        let known = self.entries.iter().take(COMPARED_MAX).position(is_same);
        let entry = match known.and_then(|place| self.entries.remove(place)) {
            Some(entry) => {
                self.bytes -= entry.bytes();
                Entry { count: entry.count + 1, updated_ms: now_ms, client, ..entry }
            }
            None => Entry { number: next(), count: 1, denial, created_ms: now_ms, updated_ms: now_ms, client },
        };
        self.bytes += entry.bytes();
        self.entries.push_front(entry);
        while self.entries.len() > entries_max || self.bytes > BYTES_MAX {
            let oldest = self.entries.pop_back().expect("bytes are those of entries");
            self.bytes -= oldest.bytes();
        }
    }

    /// All entries, for `gather`.
    #[must_use]
    pub fn encoded(&self) -> Vec<u8> {
        wire::encode(&self.entries)
    }

    pub fn clear(&mut self) {
        *self = AclLog::default();
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        size_of::<Entry>() + self.denial.object.len() + self.denial.user.len() + self.client.len()
    }
}

/// The entries of all workers as one log, newest first: what is the same on several of them is one entry.
#[must_use]
pub fn gather(logs: &[Vec<u8>]) -> Vec<Entry> {
    let entries = logs.iter().filter_map(|log| wire::decode::<Vec<Entry>>(log)).flatten();
    let mut entries: Vec<Entry> = entries.collect();
    entries.sort_unstable_by_key(|entry| std::cmp::Reverse((entry.updated_ms, entry.number)));
    let mut gathered: Vec<Entry> = Vec::with_capacity(entries.len());
    // Where the oldest entry of each refusal is: no newer one is nearer to what comes.
    let mut oldest: HashMap<Denial, usize> = HashMap::new();
    for entry in entries {
        let place = oldest.get(&entry.denial).copied();
        match place.map(|place| &mut gathered[place]) {
            Some(known) if known.updated_ms - entry.updated_ms <= SAME_WITHIN_MS => {
                known.count += entry.count;
                if entry.created_ms < known.created_ms {
                    (known.created_ms, known.number) = (entry.created_ms, entry.number);
                }
            }
            _ => {
                oldest.insert(entry.denial.clone(), gathered.len());
                gathered.push(entry);
            }
        }
    }
    gathered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::users::Context;

    fn denial(object: &str) -> Denial {
        Denial { what: Refused::Key, context: Context::TopLevel, object: object.into(), user: b"ann".to_vec() }
    }

    fn add(log: &mut AclLog, object: &str, now_ms: i64, number: u64) {
        log.add(denial(object), b"id=1".to_vec(), now_ms, 3, || number);
    }

    fn shown(entries: &[Entry]) -> Vec<(String, u64, u64, i64)> {
        let shown = |entry: &Entry| {
            let object = String::from_utf8(entry.denial.object.clone()).unwrap();
            (object, entry.number, entry.count, entry.created_ms)
        };
        entries.iter().map(shown).collect()
    }

    #[test]
    fn the_same_refusal_within_a_minute_is_counted_and_comes_first() {
        let mut log = AclLog::default();
        add(&mut log, "a", 0, 0);
        add(&mut log, "b", 1, 1);
        add(&mut log, "a", 60_000, 2);
        let all = gather(&[log.encoded()]);
        assert_eq!(shown(&all), [("a".into(), 0, 2, 0), ("b".into(), 1, 1, 1)]);
        add(&mut log, "a", 120_001, 2);
        assert_eq!(shown(&gather(&[log.encoded()]))[0], ("a".into(), 2, 1, 120_001));
        add(&mut log, "c", 120_002, 3);
        assert_eq!(log.entries.len(), 3, "the oldest went");
        log.clear();
        assert_eq!((log.entries.len(), log.bytes), (0, 0));
    }

    #[test]
    fn the_logs_of_all_workers_are_one() {
        let (mut one, mut other) = (AclLog::default(), AclLog::default());
        add(&mut one, "a", 5, 1);
        add(&mut other, "a", 3, 0);
        add(&mut other, "a", 9, 7);
        add(&mut other, "b", 4, 2);
        let all = gather(&[one.encoded(), other.encoded(), b"?".to_vec()]);
        assert_eq!(shown(&all), [("a".into(), 0, 3, 3), ("b".into(), 2, 1, 4)]);
        assert_eq!(all[0].updated_ms, 9);
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes() {
        let mut log = AclLog::default();
        for number in 0..5000_u64 {
            let long = Denial { object: vec![b'k'; 1024], user: number.to_le_bytes().to_vec(), ..denial("") };
            log.add(long, vec![b'c'; 600], 0, 65_536, || number);
        }
        assert!(log.bytes <= BYTES_MAX && log.entries.len() > 2000, "{} in {}", log.entries.len(), log.bytes);
        assert_eq!(log.bytes, log.entries.iter().map(Entry::bytes).sum::<usize>());
    }
}
