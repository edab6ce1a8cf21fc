//! The slow log: each worker keeps its own clients' slow calls; SLOWLOG gathers them. Entries are numbered over the service.
//!
//! What it keeps is bounded in bytes as well: arguments are cut, clients' names are short, and an entry is one allocation.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::kv::jobs::job::SlowCall;
use crate::kv::sessions::clients;
use crate::kv::sessions::session::Client;
use crate::kv::sessions::wire;
use crate::kv::sessions::worker_state::WorkerState;
use crate::kv::shared::hand_offs::HandOff;
use crate::kv::shared::runtime::Knob;
use crate::kv::table::redaction::{REDACTED, is_secret};

/// As Redis cuts them: so many arguments of so many bytes.
const ARGS_MAX: usize = 32;
const ARG_BYTES_MAX: usize = 128;

/// Bytes that one worker's entries take at most, whatever their number may be: the oldest go. An entry has up to 5 KB.
const BYTES_MAX: usize = 16 << 20;
/// What an entry takes beside its bytes: its place in the queue, and the allocator's word.
const ENTRY_BYTES: usize = 32;

/// One worker's entries, newest first, each as `wire` encodes it.
#[derive(Default)]
pub struct SlowLog {
    entries: VecDeque<Box<[u8]>>,
    bytes: usize,
}

impl SlowLog {
    fn push(&mut self, entry: &Entry, entries_max: usize) {
        let entry = wire::encode(entry).into_boxed_slice();
        self.bytes += ENTRY_BYTES + entry.len();
        self.entries.push_front(entry);
        while self.entries.len() > entries_max || self.bytes > BYTES_MAX {
            let oldest = self.entries.pop_back().expect("bytes are those of entries");
            self.bytes -= ENTRY_BYTES + oldest.len();
        }
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// The newest entries, for `decode`.
    #[must_use]
    pub fn newest(&self, count: usize) -> Vec<u8> {
        self.entries.iter().take(count).flatten().copied().collect()
    }

    pub fn clear(&mut self) {
        *self = SlowLog::default();
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub number: u64,
    pub started_us: i64,
    pub duration_us: u64,
    pub args: Vec<Vec<u8>>,
    pub address: String,
    pub name: Vec<u8>,
}

pub fn remember(worker: &mut WorkerState, client: &Client, call: SlowCall) {
    let entries_max = worker.shared.runtime.read(Knob::SlowlogEntriesMax) as usize;
    let entry = Entry {
        number: worker.shared.hand_offs.next(HandOff::SlowlogNext),
        started_us: call.started_us,
        duration_us: call.duration_us,
        args: call.args,
        address: clients::shown(&client.address),
        name: client.name.borrow().clone(),
    };
    worker.slow_log.push(&entry, entries_max);
}

/// The arguments as the log keeps them.
#[must_use]
pub fn cut(name: &str, args: &[&[u8]]) -> Vec<Vec<u8>> {
    let kept = if args.len() > ARGS_MAX { ARGS_MAX - 1 } else { args.len() };
    let shown = (0..kept).map(|index| match is_secret(name, args, index) {
        true => REDACTED.to_vec(),
        false => cut_argument(args[index]),
    });
    let mut cut: Vec<Vec<u8>> = shown.collect();
    if kept < args.len() {
        cut.push(format!("... ({} more arguments)", args.len() - kept).into_bytes());
    }
    cut
}

fn cut_argument(arg: &[u8]) -> Vec<u8> {
    if arg.len() <= ARG_BYTES_MAX {
        return arg.to_vec();
    }
    let mut cut = arg[..ARG_BYTES_MAX].to_vec();
    cut.extend_from_slice(format!("... ({} more bytes)", arg.len() - ARG_BYTES_MAX).as_bytes());
    cut
}

/// What `SlowLog::newest` gave; what follows something else is left out.
#[must_use]
pub fn decode(mut bytes: &[u8]) -> Vec<Entry> {
    std::iter::from_fn(|| wire::decode_first(&mut bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::sessions::session::CLIENT_NAME_BYTES_MAX;

    #[test]
    fn arguments_are_cut_and_passwords_left_out() {
        let long = [b'x'; 130];
        let args: Vec<&[u8]> = std::iter::once(&long[..]).chain(std::iter::repeat_n(&b"y"[..], 39)).collect();
        let cut_args = cut("set", &args);
        assert_eq!((cut_args.len(), cut_args[31].as_slice()), (32, &b"... (9 more arguments)"[..]));
        assert_eq!(cut_args[0], [&[b'x'; 128][..], b"... (2 more bytes)"].concat());
        let args: [&[u8]; 4] = [b"CONFIG", b"SET", b"requirepass", b"hunter2"];
        assert_eq!(cut("config|set", &args)[3], REDACTED);
    }

    #[test]
    fn entries_cross_to_another_worker_unchanged() {
        let entry = |number, name: &[u8]| Entry {
            number,
            started_us: -1,
            duration_us: 12_345,
            args: vec![b"GET".to_vec(), Vec::new()],
            address: "[::1]:1".to_owned(),
            name: name.to_vec(),
        };
        let mut log = SlowLog::default();
        let entries = [entry(u64::MAX, b"me"), entry(3, b"")];
        entries.iter().rev().for_each(|entry| log.push(entry, 128));
        let bytes = log.newest(2);
        assert_eq!(decode(&bytes), entries);
        assert_eq!(decode(&bytes[..bytes.len() - 1]).len(), 1);
        assert_eq!(decode(&log.newest(1)), entries[..1]);
        log.clear();
        assert_eq!((log.count(), log.bytes), (0, 0));
    }

    #[test]
    fn what_is_kept_is_bounded_in_entries_and_in_bytes() {
        let long = vec![b'x'; 1 << 20];
        let args = cut("set", &[&long[..]; 1000]);
        let entry = Entry {
            number: 1,
            started_us: 0,
            duration_us: 0,
            args,
            address: "127.0.0.1:1".to_owned(),
            name: vec![b'n'; CLIENT_NAME_BYTES_MAX],
        };
        let mut log = SlowLog::default();
        (0..200).for_each(|_| log.push(&entry, 128));
        assert_eq!(log.count(), 128);
        assert!(log.bytes < 128 * 6000, "{}", log.bytes);
        (0..10_000).for_each(|_| log.push(&entry, 65_536));
        assert!(log.bytes <= BYTES_MAX && log.count() > BYTES_MAX / 6000, "{} in {}", log.count(), log.bytes);
        let held: usize = log.entries.iter().map(|entry| ENTRY_BYTES + entry.len()).sum();
        assert_eq!(log.bytes, held);
        log.push(&entry, 0);
        assert_eq!((log.count(), log.bytes), (0, 0));
    }
}
