//! The model of Redis: strings and lists with the times when they end, in a few databases. A state keeps rows whose time has passed until
//! something removes them, since DBSIZE may count them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::schedule::Random;
use crate::storage::{End, Expiry, Keyspace, Lookup, Result, StorageError};

pub(super) const DATABASES: u8 = 3;
pub(super) const KEYS: u8 = 9;

type Key = Vec<u8>;
/// A string, or a list as `list_of` has it.
type Value = Vec<u8>;
type Values = BTreeMap<Key, (Value, Option<i64>)>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    databases: [Arc<Values>; DATABASES as usize],
    pub(super) tickets: Tickets,
}

/// When somebody began, and when he ended.
pub(super) type Times = (i64, i64);

/// Of two workers the last job that was applied.
pub(super) type Tickets = [u64; 2];

/// A change, in the database beside it.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Put { key: u8, value: Vec<u8>, expiry: Expiry },
    WriteRange { key: u8, offset: u64, bytes: Vec<u8> },
    Push { key: u8, item: Vec<u8> },
    Pop(u8),
    Delete(u8),
    SetExpiry(u8, Option<i64>),
    Rename(u8, u8),
    Copy { from: u8, to_database: u8, to: u8, replace: bool },
    Move(u8, u8),
    Flush,
    FlushAll,
    Swap(u8),
}

/// What somebody has read of a database.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    Value(u8, Option<Value>),
    Head(u8, Option<(u64, Option<i64>)>),
    Range(u8, u64, u64, Option<Vec<u8>>),
    Keys(BTreeSet<Key>),
    Count(u64),
    Random(Option<Key>),
}

/// What a change answers that is meant for another kind of value.
const OTHER_KIND: u64 = u64::MAX;
/// No string begins so.
const LIST: &[u8] = b"list";

pub(super) fn name(key: u8) -> Key {
    format!("key:{key}").into_bytes()
}

/// A list in bytes: each item behind its length.
fn list_of(items: &[Vec<u8>]) -> Value {
    let items = items.iter().flat_map(|item| std::iter::once(item.len() as u8).chain(item.iter().copied()));
    LIST.iter().copied().chain(items).collect()
}

/// The items of a list; `None`: it is a string.
fn items_of(value: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut rest, mut items) = (value.strip_prefix(LIST)?, Vec::new());
    while let Some((length, behind)) = rest.split_first() {
        let (item, behind) = behind.split_at(usize::from(*length));
        items.push(item.to_vec());
        rest = behind;
    }
    Some(items)
}

fn length(value: &[u8]) -> u64 {
    items_of(value).map_or(value.len(), |items| items.len()) as u64
}

fn told<T>(lookup: Lookup<T>, number: impl Fn(T) -> u64) -> Option<u64> {
    Some(match lookup {
        Lookup::Absent => 0,
        Lookup::Found(found) => number(found),
        Lookup::OtherKind(_) => OTHER_KIND,
    })
}

impl Change {
    pub(super) fn random(random: &mut Random, now_ms: i64, stamp: u64) -> (u8, Change) {
        // Most of it in one place, so that changes meet.
        let database = if random.one_in(4) { random.below(u64::from(DATABASES)) as u8 } else { 0 };
        let key = |random: &mut Random| random.below(u64::from(KEYS)) as u8;
        let at = |random: &mut Random| now_ms - 1 + random.below(30) as i64;
        // Says when it was written, so that every value is another.
        let bytes = |random: &mut Random| {
            let length = if random.one_in(3) { random.below(60) as usize } else { random.below(13) as usize };
            stamp.to_string().bytes().chain([b'.']).cycle().take(length.max(1)).collect::<Vec<u8>>()
        };
        let change = match random.below(41) {
            36..40 => Change::Push { key: key(random), item: bytes(random) },
            40 => Change::Pop(key(random)),
            0..14 => Change::Put {
                key: key(random),
                value: bytes(random),
                expiry: match random.below(6) {
                    0..4 => Expiry::Clear,
                    4 => Expiry::Keep,
                    _ => Expiry::At(at(random)),
                },
            },
            14..17 => Change::WriteRange { key: key(random), offset: random.below(50), bytes: bytes(random) },
            17..20 => Change::Delete(key(random)),
            20..22 => {
                let ends = if random.one_in(3) { None } else { Some(at(random)) };
                Change::SetExpiry(key(random), ends)
            }
            22..26 => Change::Rename(key(random), key(random)),
            26..28 => Change::Copy {
                from: key(random),
                to_database: random.below(u64::from(DATABASES)) as u8,
                to: key(random),
                replace: random.one_in(2),
            },
            28..31 => Change::Move(key(random), random.below(u64::from(DATABASES)) as u8),
            31 => Change::Swap(random.below(u64::from(DATABASES)) as u8),
            32..34 => Change::Flush,
            _ if random.one_in(4) => Change::FlushAll,
            _ => Change::Delete(key(random)),
        };
        (database, change)
    }

    /// The real keyspace does it; what it answers.
    pub(super) fn run(&self, keyspace: &mut Keyspace, database: u8) -> Result<Option<u64>> {
        keyspace.select(database);
        Ok(match self {
            Change::Put { key, value, expiry } => {
                keyspace.put_string(&name(*key), value, *expiry)?;
                None
            }
            Change::WriteRange { key, offset, bytes } => match keyspace.string_length(&name(*key))? {
                Lookup::OtherKind(_) => Some(OTHER_KIND),
                _ => Some(keyspace.write_string_range(&name(*key), *offset, bytes)?),
            },
            Change::Push { key, item } => {
                told(keyspace.list_push(&name(*key), End::Back, &[item], false)?, |pushed| pushed.length)
            }
            Change::Pop(key) => {
                let popped = keyspace.list_pop::<StorageError>(&name(*key), End::Front, 1, |_| Ok(()))?;
                told(popped, |removed| removed.count)
            }
            Change::Delete(key) => Some(u64::from(keyspace.delete(&name(*key))?)),
            Change::SetExpiry(key, ends) => Some(u64::from(keyspace.set_expiry(&name(*key), *ends)?)),
            Change::Rename(from, to) => Some(u64::from(keyspace.rename(&name(*from), &name(*to))?)),
            Change::Copy { from, to_database, to, replace } => {
                Some(u64::from(keyspace.copy(&name(*from), *to_database, &name(*to), *replace)?))
            }
            Change::Move(key, to_database) => Some(u64::from(keyspace.move_key(&name(*key), *to_database)?)),
            Change::Flush => {
                keyspace.flush_database()?;
                None
            }
            Change::FlushAll => {
                keyspace.flush_all()?;
                None
            }
            Change::Swap(other) => {
                keyspace.swap_databases(database, *other)?;
                None
            }
        })
    }
}

fn is_live(ends: Option<i64>, now_ms: i64) -> bool {
    ends.is_none_or(|at| at > now_ms)
}

impl State {
    fn values(&mut self, database: u8) -> &mut Values {
        Arc::make_mut(&mut self.databases[usize::from(database)])
    }

    fn live(&self, database: u8, key: u8, now_ms: i64) -> Option<&(Vec<u8>, Option<i64>)> {
        self.databases[usize::from(database)].get(&name(key)).filter(|(_, ends)| is_live(*ends, now_ms))
    }

    /// What the change must answer.
    pub(super) fn apply(&mut self, database: u8, change: &Change, now_ms: i64) -> Option<u64> {
        match change {
            Change::Put { key, value, expiry } => {
                let ends = match expiry {
                    Expiry::Clear => None,
                    Expiry::Keep => self.live(database, *key, now_ms).and_then(|(_, ends)| *ends),
                    Expiry::At(at) => Some(*at),
                };
                match is_live(ends, now_ms) {
                    true => self.values(database).insert(name(*key), (value.clone(), ends)),
                    false => self.values(database).remove(&name(*key)),
                };
                None
            }
            Change::WriteRange { key, offset, bytes } => Some(self.write_range(database, *key, *offset, bytes, now_ms)),
            Change::Push { key, item } => Some(self.push(database, *key, item, now_ms)),
            Change::Pop(key) => Some(self.pop(database, *key, now_ms)),
            Change::Delete(key) => {
                let was_there = self.live(database, *key, now_ms).is_some();
                self.values(database).remove(&name(*key));
                Some(u64::from(was_there))
            }
            Change::SetExpiry(key, ends) => {
                let found = self.live(database, *key, now_ms).cloned();
                match &found {
                    // One that removes the key also removes what was no key any more.
                    _ if !is_live(*ends, now_ms) => drop(self.values(database).remove(&name(*key))),
                    Some((value, _)) => drop(self.values(database).insert(name(*key), (value.clone(), *ends))),
                    None => {}
                }
                Some(u64::from(found.is_some()))
            }
            Change::Rename(from, to) => Some(u64::from(self.transfer(database, *from, database, *to, now_ms))),
            Change::Move(key, to_database) => {
                let is_free = *to_database != database && self.live(*to_database, *key, now_ms).is_none();
                Some(u64::from(is_free && self.transfer(database, *key, *to_database, *key, now_ms)))
            }
            Change::Copy { from, to_database, to, replace } => {
                let is_same = *to_database == database && from == to;
                let is_taken = !replace && self.live(*to_database, *to, now_ms).is_some();
                let found = self.live(database, *from, now_ms).filter(|_| !is_same && !is_taken).cloned();
                Some(u64::from(found.map(|entry| self.values(*to_database).insert(name(*to), entry)).is_some()))
            }
            Change::Flush => {
                self.databases[usize::from(database)] = Arc::default();
                None
            }
            Change::FlushAll => {
                self.databases = Default::default();
                None
            }
            Change::Swap(other) => {
                self.databases.swap(usize::from(database), usize::from(*other));
                None
            }
        }
    }

    fn write_range(&mut self, database: u8, key: u8, offset: u64, bytes: &[u8], now_ms: i64) -> u64 {
        let (mut value, ends) = self.live(database, key, now_ms).cloned().unwrap_or_default();
        if items_of(&value).is_some() {
            return OTHER_KIND;
        }
        let end = offset as usize + bytes.len();
        value.resize(value.len().max(end), 0);
        value[offset as usize..end].copy_from_slice(bytes);
        let length = value.len() as u64;
        self.values(database).insert(name(key), (value, ends));
        length
    }

    fn push(&mut self, database: u8, key: u8, item: &[u8], now_ms: i64) -> u64 {
        let empty = || (list_of(&[]), None);
        let (value, ends) = self.live(database, key, now_ms).cloned().unwrap_or_else(empty);
        let Some(mut items) = items_of(&value) else { return OTHER_KIND };
        items.push(item.to_vec());
        self.values(database).insert(name(key), (list_of(&items), ends));
        items.len() as u64
    }

    fn pop(&mut self, database: u8, key: u8, now_ms: i64) -> u64 {
        let Some((value, ends)) = self.live(database, key, now_ms).cloned() else { return 0 };
        let Some(items) = items_of(&value) else { return OTHER_KIND };
        match items.len() {
            1 => self.values(database).remove(&name(key)),
            _ => self.values(database).insert(name(key), (list_of(&items[1..]), ends)),
        };
        1
    }

    fn transfer(&mut self, database: u8, from: u8, to_database: u8, to: u8, now_ms: i64) -> bool {
        let Some(entry) = self.live(database, from, now_ms).cloned() else { return false };
        self.values(database).remove(&name(from));
        self.values(to_database).insert(name(to), entry);
        true
    }

    /// Whether this may be read of the state by somebody who began at `now_ms` and ended at `until_ms`. A key whose time passes
    /// meanwhile is there, or swept already.
    pub(super) fn shows(&self, database: u8, seen: &Seen, (now_ms, until_ms): Times) -> bool {
        let values = &self.databases[usize::from(database)];
        let entry = |key: u8| self.live(database, key, now_ms);
        let may_be_gone = |key: u8| entry(key).is_none_or(|(_, ends)| !is_live(*ends, until_ms));
        let live = |at_ms: i64| values.iter().filter(move |(_, (_, ends))| is_live(*ends, at_ms)).map(|(key, _)| key);
        match seen {
            Seen::Value(key, None) | Seen::Head(key, None) | Seen::Range(key, _, _, None) => may_be_gone(*key),
            Seen::Value(key, Some(seen)) => entry(*key).is_some_and(|(value, _)| value == seen),
            Seen::Head(key, Some(head)) => entry(*key).is_some_and(|(value, ends)| (length(value), *ends) == *head),
            Seen::Range(key, start, end, Some(bytes)) => entry(*key).is_some_and(|(value, _)| {
                let end = (*end as usize).min(value.len());
                value[(*start as usize).min(end)..end] == **bytes
            }),
            Seen::Keys(keys) => {
                live(until_ms).all(|key| keys.contains(key))
                    && keys.iter().all(|key| live(now_ms).any(|live| live == key))
            }
            Seen::Count(count) => (live(until_ms).count() as u64..=values.len() as u64).contains(count),
            Seen::Random(None) => live(until_ms).next().is_none(),
            Seen::Random(Some(key)) => live(now_ms).any(|live| live == key),
        }
    }
}

impl Seen {
    /// Reads something of a database, about this key where it is about one.
    pub(super) fn read(keyspace: &mut Keyspace, random: &mut Random, database: u8, key: u8) -> Result<Seen> {
        keyspace.select(database);
        Ok(match random.below(16) {
            0..8 => Seen::value(keyspace, database, key)?,
            8..10 => {
                let head = keyspace.entry(&name(key))?;
                Seen::Head(key, head.map(|head| (head.length, head.expires_at_ms)))
            }
            10..12 => {
                let start = random.below(20);
                let end = start + 1 + random.below(30);
                match keyspace.string_range(&name(key), start, end)? {
                    Lookup::Absent => Seen::Range(key, start, end, None),
                    Lookup::Found(bytes) => Seen::Range(key, start, end, Some(bytes)),
                    Lookup::OtherKind(_) => Seen::value(keyspace, database, key)?,
                }
            }
            12..14 => Seen::keys(keyspace, database)?,
            14 => Seen::Count(keyspace.key_count()?),
            _ => Seen::Random(keyspace.random_key(random.next())?),
        })
    }

    pub(super) fn value(keyspace: &mut Keyspace, database: u8, key: u8) -> Result<Seen> {
        keyspace.select(database);
        let value = match keyspace.string(&name(key))? {
            Lookup::Absent => None,
            Lookup::Found(string) => Some(string),
            Lookup::OtherKind(_) => Some(Self::list(keyspace, key)?),
        };
        Ok(Seen::Value(key, value))
    }

    fn list(keyspace: &Keyspace, key: u8) -> Result<Value> {
        let Lookup::Found(list) = keyspace.list(&name(key))? else {
            return Err(StorageError::Internal("what is no string is no list either".into()));
        };
        let mut items = Vec::new();
        list.each::<StorageError>(0, list.len(), |item| {
            items.push(item.to_vec());
            Ok(())
        })?;
        Ok(list_of(&items))
    }

    pub(super) fn keys(keyspace: &mut Keyspace, database: u8) -> Result<Seen> {
        keyspace.select(database);
        let (mut keys, mut cursor) = (BTreeSet::new(), 0);
        loop {
            let mut is_new = true;
            cursor = keyspace.scan(cursor, 3, &mut |key, _| is_new &= keys.insert(key.to_vec()))?;
            if !is_new {
                return Err(StorageError::Internal("a scan of one view shows a key twice".into()));
            }
            if cursor == 0 {
                return Ok(Seen::Keys(keys));
            }
        }
    }
}
