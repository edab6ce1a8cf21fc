//! One key's facts as bytes: how a reader thread hands them to its loop, and how the cache keeps them.
//!
//! ```text
//! version u64 | hash u64 | expires_at_ms i64 | length u64 | key_bytes u16 | value_bytes u16 | kind u8 | database u8 | flags u8 | 0
//! key | value | zeros up to a multiple of 8
//! ```

use crate::kv::table::look::KEY_BYTES_MAX;
use crate::storage::{Entry, Kind};

pub(super) const HEADER_BYTES: usize = 40;
/// Positions and sizes of records are multiples of this.
pub(super) const UNIT_BYTES: usize = 8;
/// Kind of a key that is not there.
const ABSENT: u8 = 0;

const FLAGS_AT: usize = 38;
/// The value is in the record.
const HAS_VALUE: u8 = 1;
/// The record was used since it was written.
const IS_USED: u8 = 2;
/// The key ends, at `expires_at_ms`: any time is one that a client may give, so none can stand for "never".
const EXPIRES: u8 = 4;

/// A record in somebody's bytes.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    header: &'a [u8; HEADER_BYTES],
    /// Key and value.
    body: &'a [u8],
}

/// A key that is asked for.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// `Versions::hash_of` database and key.
    pub hash: u64,
    pub database: u8,
    pub key: &'a [u8],
}

/// Records one behind the other, in the order of the keys that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// When they were asked for.
    pub(super) epoch: u64,
    bytes: Vec<u8>,
}

/// What version slots and the epoch said when keys were asked for: the answer is kept if they still say so when it comes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// As of the first key.
    pub epoch: u64,
    /// One for each key. Empty: nobody wants to keep the answer.
    pub versions: Vec<u64>,
}

/// A reader's side: what it finds, in the order in which it was asked for.
pub struct Learning<'a> {
    /// Of the keys of the present call, and of the calls behind it.
    versions: &'a [u64],
    later: &'a [u64],
    learned: Learned,
}

impl<'a> Learning<'a> {
    #[must_use]
    pub fn of(seen: &'a Seen) -> Learning<'a> {
        let learned = Learned { epoch: seen.epoch, bytes: Vec::new() };
        Learning { versions: &[], later: &seen.versions, learned }
    }

    /// Whether anything of the present call's keys can be kept.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.versions.iter().any(|version| version.is_multiple_of(2))
    }

    /// A call with so many keys that may be kept begins, whether or not it will be run, or how often: each key gets its own version.
    pub fn begin(&mut self, keys: usize) {
        (self.versions, self.later) = self.later.split_at(keys.min(self.later.len()));
    }

    /// The call's key of this number, if its answer is wanted.
    pub fn keep<'k>(
        &mut self,
        number: usize,
        asked: impl FnOnce() -> Asked<'k>,
        entry: Option<&Entry>,
        value: Option<&[u8]>,
    ) {
        // One that was changing when it was asked for can't be current.
        if let Some(version) = self.versions.get(number).filter(|version| version.is_multiple_of(2)) {
            self.learned.push(asked(), *version, entry, value);
        }
    }

    #[must_use]
    pub fn learned(self) -> Learned {
        self.learned
    }
}

/// Bytes of a record with such a key and value.
pub(super) const fn size_of(key_bytes: usize, value_bytes: usize) -> usize {
    (HEADER_BYTES + key_bytes + value_bytes).next_multiple_of(UNIT_BYTES)
}

impl<'a> Record<'a> {
    /// The record at the begin of `bytes`, which has a whole one.
    pub(super) fn at(bytes: &'a [u8]) -> Record<'a> {
        let (header, rest) = bytes.split_first_chunk().expect("records are whole");
        let record = Record { header, body: &[] };
        Record { body: &rest[..record.key_bytes() + record.value_bytes()], ..record }
    }

    /// Writes the record to the begin of `bytes`.
    pub(super) fn write(&self, bytes: &mut [u8]) {
        bytes[..HEADER_BYTES].copy_from_slice(self.header);
        bytes[HEADER_BYTES..HEADER_BYTES + self.body.len()].copy_from_slice(self.body);
    }

    fn u64_at(&self, at: usize) -> u64 {
        u64::from_le_bytes(*self.header[at..].first_chunk().expect("within the header"))
    }

    fn u16_at(&self, at: usize) -> usize {
        usize::from(u16::from_le_bytes(*self.header[at..].first_chunk().expect("within the header")))
    }

    fn key_bytes(&self) -> usize {
        self.u16_at(32)
    }

    fn value_bytes(&self) -> usize {
        self.u16_at(34)
    }

    pub(super) fn size(&self) -> usize {
        size_of(self.key_bytes(), self.value_bytes())
    }

    /// What its version slot said when it was asked for.
    pub(super) fn version(&self) -> u64 {
        self.u64_at(0)
    }

    /// Of database and key.
    pub(super) fn hash(&self) -> u64 {
        self.u64_at(8)
    }

    pub(super) fn database(&self) -> u8 {
        self.header[37]
    }

    pub(super) fn key(&self) -> &'a [u8] {
        &self.body[..self.key_bytes()]
    }

    pub(super) fn is_of(&self, database: u8, key: &[u8]) -> bool {
        self.database() == database && self.key() == key
    }

    pub(super) fn is_used(&self) -> bool {
        self.header[FLAGS_AT] & IS_USED != 0
    }

    /// When the key ends, if it does.
    pub(super) fn expires_at_ms(&self) -> Option<i64> {
        (self.header[FLAGS_AT] & EXPIRES != 0).then(|| self.u64_at(16).cast_signed())
    }

    /// `None`: there is no such key.
    pub fn entry(&self) -> Option<Entry> {
        let kind = match self.header[36] {
            ABSENT => return None,
            1 => Kind::String,
            2 => Kind::List,
            3 => Kind::Set,
            4 => Kind::SortedSet,
            5 => Kind::Hash,
            _ => Kind::Stream,
        };
        Some(Entry { kind, expires_at_ms: self.expires_at_ms(), length: self.u64_at(24), id: None })
    }

    /// The string, if it is known.
    pub fn value(&self) -> Option<&'a [u8]> {
        (self.header[FLAGS_AT] & HAS_VALUE != 0).then(|| &self.body[self.key_bytes()..])
    }
}

/// Notes in the record at the begin of `bytes` whether it was used.
pub(super) fn set_used(bytes: &mut [u8], is_used: bool) {
    let flags = bytes[FLAGS_AT] & !IS_USED;
    bytes[FLAGS_AT] = if is_used { flags | IS_USED } else { flags };
}

impl Learned {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What was found of a key of at most `KEY_BYTES_MAX` bytes. A string that does not fit a record is left out of it.
    pub(super) fn push(&mut self, asked: Asked<'_>, version: u64, entry: Option<&Entry>, value: Option<&[u8]>) {
        let Asked { hash, database, key } = asked;
        debug_assert!(key.len() <= KEY_BYTES_MAX);
        let value = value.filter(|value| value.len() <= usize::from(u16::MAX));
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&version.to_le_bytes());
        let expires_at_ms = entry.and_then(|entry| entry.expires_at_ms);
        header[8..16].copy_from_slice(&hash.to_le_bytes());
        header[16..24].copy_from_slice(&expires_at_ms.unwrap_or(0).to_le_bytes());
        header[24..32].copy_from_slice(&entry.map_or(0, |entry| entry.length).to_le_bytes());
        header[32..34].copy_from_slice(&(key.len() as u16).to_le_bytes());
        header[34..36].copy_from_slice(&(value.map_or(0, <[u8]>::len) as u16).to_le_bytes());
        header[36] = entry.map_or(ABSENT, |entry| entry.kind as u8);
        header[37] = database;
        header[FLAGS_AT] =
            if value.is_some() { HAS_VALUE } else { 0 } | if expires_at_ms.is_some() { EXPIRES } else { 0 };
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.bytes.resize(self.bytes.len().next_multiple_of(UNIT_BYTES), 0);
    }

    /// Bytes so far: where the next record goes.
    pub(super) fn end(&self) -> usize {
        self.bytes.len()
    }

    /// The record that was pushed when this was the end.
    pub(super) fn record(&self, at: usize) -> Record<'_> {
        Record::at(&self.bytes[at..])
    }

    /// Forgets what was pushed since.
    pub(super) fn truncate(&mut self, end: usize) {
        self.bytes.truncate(end);
    }

    pub(super) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let record = Record::at(rest);
            rest = &rest[record.size()..];
            Some(record)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_of_each_call_has_its_own_version() {
        let seen = Seen { epoch: 2, versions: vec![2, 4, 5, 6] };
        let mut learning = Learning::of(&seen);
        let mut wanted = Vec::new();
        // The first is not run, and the last one twice.
        for (keys, runs) in [(1, 0), (0, 1), (1, 1), (2, 2)] {
            learning.begin(keys);
            wanted.push(learning.is_wanted());
            for number in (0..runs).flat_map(|_| 0..keys) {
                learning.keep(number, || Asked { hash: 0, database: 0, key: b"key" }, None, None);
            }
        }
        assert_eq!(wanted, [true, false, true, true]);
        let learned = learning.learned();
        assert_eq!(learned.records().map(|record| record.version()).collect::<Vec<_>>(), [4, 6, 6]);
    }

    #[test]
    fn what_was_pushed_is_read_back() {
        let mut learned = Learned::default();
        let entry = |kind, expires_at_ms, length| Entry { kind, expires_at_ms, length, id: None };
        let asked = |database, key| Asked { hash: u64::from(database) + 1000, database, key };
        let (short, long) = (entry(Kind::String, None, 5), entry(Kind::String, Some(-1), 1 << 40));
        let hash = entry(Kind::Hash, Some(77), 3);
        learned.push(asked(0, b"absent"), 2, None, None);
        learned.push(asked(15, b""), 4, Some(&short), Some(b"value"));
        learned.push(asked(1, &[b'k'; KEY_BYTES_MAX]), 6, Some(&long), None);
        learned.push(asked(2, b"h"), 8, Some(&hash), None);
        assert_eq!(learned.bytes.len() % UNIT_BYTES, 0);
        let records: Vec<Record<'_>> = learned.records().collect();
        let heads: Vec<(u64, u8, usize)> =
            records.iter().map(|record| (record.version(), record.database(), record.key().len())).collect();
        assert!(records.iter().all(|record| record.hash() == u64::from(record.database()) + 1000));
        assert_eq!(heads, [(2, 0, 6), (4, 15, 0), (6, 1, KEY_BYTES_MAX), (8, 2, 1)]);
        let facts: Vec<(Option<Entry>, Option<&[u8]>)> =
            records.iter().map(|record| (record.entry(), record.value())).collect();
        assert_eq!(facts, [(None, None), (Some(short), Some(&b"value"[..])), (Some(long), None), (Some(hash), None)]);
    }

    #[test]
    fn any_time_may_be_the_one_when_a_key_ends() {
        for expires_at_ms in [None, Some(i64::MIN), Some(-1), Some(0), Some(i64::MAX - 1), Some(i64::MAX)] {
            let mut learned = Learned::default();
            let entry = Entry { kind: Kind::String, expires_at_ms, length: 1, id: None };
            learned.push(Asked { hash: 0, database: 0, key: b"k" }, 2, Some(&entry), Some(b"v"));
            let mut bytes = learned.bytes.clone();
            set_used(&mut bytes, true);
            let record = Record::at(&bytes);
            assert_eq!((record.entry(), record.expires_at_ms(), record.is_used()), (Some(entry), expires_at_ms, true));
        }
    }

    #[test]
    fn a_value_too_long_for_a_record_is_left_to_the_database() {
        let mut learned = Learned::default();
        let value = vec![1; 70_000];
        let entry = Entry { kind: Kind::String, expires_at_ms: None, length: 70_000, id: None };
        learned.push(Asked { hash: 0, database: 0, key: b"k" }, 2, Some(&entry), Some(&value));
        let record = learned.records().next().unwrap();
        assert_eq!((record.entry(), record.value()), (Some(entry), None));
    }
}
