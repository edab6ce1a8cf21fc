//! The keyspace against a model of it: the same random changes go to both, and everything that can be read must agree,
//! with few hash homes and tiny chunks so that runs, shifts and big values happen all the time.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::fixture::{Fixture, NOW_MS};
use super::{Expiry, Keyspace, Lookup};

const DATABASES: u8 = 3;

#[derive(Clone, Debug)]
pub(in crate::storage) enum Op {
    Put {
        key: u8,
        value: Vec<u8>,
        expiry: Expiry,
    },
    WriteRange {
        key: u8,
        offset: u64,
        bytes: Vec<u8>,
    },
    Delete(u8),
    SetExpiry(u8, Option<i64>),
    Rename(u8, u8),
    Copy {
        from: u8,
        to_database: u8,
        to: u8,
        replace: bool,
    },
    Move(u8, u8),
    Flush,
    FlushAll,
    Swap(u8, u8),
    Select(u8),
    SweepExpired(usize),
    SweepOrphans(usize),
    /// Ends the group and begins the next, this much later.
    Commit {
        later_ms: i64,
    },
    /// Undoes the group and begins the next.
    Rollback,
    SetSavepoint,
    UndoToSavepoint,
    /// Writes the batch out in the middle of the group.
    Spill,
    /// A new transaction under the batch.
    Recover,
}

pub(in crate::storage) type Strings = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

#[derive(Clone, Debug, Default)]
pub(in crate::storage) struct Model {
    pub(in crate::storage) databases: [Strings; DATABASES as usize],
    pub(in crate::storage) selected: u8,
    pub(in crate::storage) now_ms: i64,
}

impl Model {
    fn strings(&mut self) -> &mut Strings {
        &mut self.databases[usize::from(self.selected)]
    }

    pub(in crate::storage) fn forget_expired(&mut self) {
        let now_ms = self.now_ms;
        for strings in &mut self.databases {
            strings.retain(|_, (_, expires)| expires.is_none_or(|at| at > now_ms));
        }
    }

    /// Applies the op; what the keyspace must answer, when it answers.
    pub(in crate::storage) fn apply(&mut self, op: &Op) -> Option<u64> {
        let strings = self.strings();
        let answer = match op {
            Op::Put { key, value, expiry } => {
                let expires = match expiry {
                    Expiry::Clear => None,
                    Expiry::Keep => strings.get(&name(*key)).and_then(|(_, expires)| *expires),
                    Expiry::At(at) => Some(*at),
                };
                strings.insert(name(*key), (value.clone(), expires));
                None
            }
            Op::WriteRange { bytes, key, .. } if bytes.is_empty() => {
                Some(strings.get(&name(*key)).map_or(0, |(value, _)| value.len() as u64))
            }
            Op::WriteRange { key, offset, bytes } => {
                let value = &mut strings.entry(name(*key)).or_default().0;
                let end = *offset as usize + bytes.len();
                value.resize(value.len().max(end), 0);
                value[*offset as usize..end].copy_from_slice(bytes);
                Some(value.len() as u64)
            }
            Op::Delete(key) => Some(u64::from(strings.remove(&name(*key)).is_some())),
            Op::SetExpiry(key, expires) => {
                Some(u64::from(strings.get_mut(&name(*key)).map(|entry| entry.1 = *expires).is_some()))
            }
            Op::Rename(from, to) => Some(u64::from(match strings.remove(&name(*from)) {
                Some(entry) => {
                    strings.insert(name(*to), entry);
                    true
                }
                None => false,
            })),
            Op::Copy { from, to_database, to, replace } => {
                Some(u64::from(self.copy(&name(*from), *to_database, &name(*to), *replace)))
            }
            Op::Move(key, to_database) => {
                let moved = self.copy(&name(*key), *to_database, &name(*key), false);
                if moved {
                    self.strings().remove(&name(*key));
                }
                Some(u64::from(moved))
            }
            Op::Flush => {
                strings.clear();
                None
            }
            Op::FlushAll => {
                self.databases = Default::default();
                None
            }
            Op::Swap(a, b) => {
                self.databases.swap(usize::from(*a), usize::from(*b));
                None
            }
            Op::Select(database) => {
                self.selected = *database;
                None
            }
            _ => None,
        };
        self.forget_expired();
        answer
    }

    fn copy(&mut self, from: &[u8], to_database: u8, to: &[u8], replace: bool) -> bool {
        let Some(entry) = self.strings().get(from).cloned() else { return false };
        let same = to_database == self.selected && from == to;
        let target = &mut self.databases[usize::from(to_database)];
        if same || (target.contains_key(to) && !replace) {
            return false;
        }
        target.insert(to.to_vec(), entry);
        true
    }
}

/// Few keys, so that they meet.
fn name(key: u8) -> Vec<u8> {
    format!("key:{key}").into_bytes()
}

pub(in crate::storage) fn apply(keyspace: &mut Keyspace, op: &Op) -> Option<u64> {
    match op {
        Op::Put { key, value, expiry } => {
            keyspace.put_string(&name(*key), value, *expiry).unwrap();
            None
        }
        Op::WriteRange { key, offset, bytes } => {
            Some(keyspace.write_string_range(&name(*key), *offset, bytes).unwrap())
        }
        Op::Delete(key) => Some(u64::from(keyspace.delete(&name(*key)).unwrap())),
        Op::SetExpiry(key, expires) => Some(u64::from(keyspace.set_expiry(&name(*key), *expires).unwrap())),
        Op::Rename(from, to) => Some(u64::from(keyspace.rename(&name(*from), &name(*to)).unwrap())),
        Op::Copy { from, to_database, to, replace } => {
            Some(u64::from(keyspace.copy(&name(*from), *to_database, &name(*to), *replace).unwrap()))
        }
        Op::Move(key, to_database) => Some(u64::from(keyspace.move_key(&name(*key), *to_database).unwrap())),
        Op::Flush => {
            keyspace.flush_database().unwrap();
            None
        }
        Op::FlushAll => {
            keyspace.flush_all().unwrap();
            None
        }
        Op::Swap(a, b) => {
            keyspace.swap_databases(*a, *b).unwrap();
            None
        }
        Op::Select(database) => {
            keyspace.select(*database);
            None
        }
        Op::SweepExpired(rows) => {
            assert!(keyspace.sweep_expired(*rows).unwrap() <= *rows);
            None
        }
        Op::SweepOrphans(rows) => {
            assert!(keyspace.sweep_orphans(*rows).unwrap() <= *rows);
            None
        }
        Op::Spill => {
            keyspace.spill().unwrap();
            None
        }
        Op::Recover => {
            keyspace.recover().unwrap();
            None
        }
        Op::Commit { .. } | Op::Rollback | Op::SetSavepoint | Op::UndoToSavepoint => None,
    }
}

pub(in crate::storage) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = || 0..16u8;
    let database = || 0..DATABASES;
    // Inline up to 12 bytes, then chunks of 8.
    let bytes =
        || prop_oneof![3 => prop::collection::vec(any::<u8>(), 0..13), 2 => prop::collection::vec(any::<u8>(), 0..60)];
    let at = || NOW_MS - 2..NOW_MS + 40;
    let expiry = prop_oneof![3 => Just(Expiry::Clear), 1 => Just(Expiry::Keep), 2 => at().prop_map(Expiry::At)];
    let op = prop_oneof![
        12 => (key(), bytes(), expiry).prop_map(|(key, value, expiry)| Op::Put { key, value, expiry }),
        6 => (key(), 0..70u64, bytes()).prop_map(|(key, offset, bytes)| Op::WriteRange { key, offset, bytes }),
        6 => key().prop_map(Op::Delete),
        3 => (key(), prop::option::of(at())).prop_map(|(key, expires)| Op::SetExpiry(key, expires)),
        3 => (key(), key()).prop_map(|(from, to)| Op::Rename(from, to)),
        3 => (key(), database(), key(), any::<bool>())
            .prop_map(|(from, to_database, to, replace)| Op::Copy { from, to_database, to, replace }),
        2 => (key(), database()).prop_map(|(key, database)| Op::Move(key, database)),
        1 => Just(Op::Flush),
        1 => Just(Op::FlushAll),
        1 => (database(), database()).prop_map(|(a, b)| Op::Swap(a, b)),
        3 => database().prop_map(Op::Select),
        2 => (1..6usize).prop_map(Op::SweepExpired),
        2 => (1..6usize).prop_map(Op::SweepOrphans),
        3 => (0..6i64).prop_map(|later_ms| Op::Commit { later_ms }),
        1 => Just(Op::Rollback),
        1 => Just(Op::SetSavepoint),
        1 => Just(Op::UndoToSavepoint),
        1 => Just(Op::Spill),
        1 => Just(Op::Recover),
    ];
    prop::collection::vec(op, 1..120)
}

/// Everything that a connection can read must be what the model says.
pub(in crate::storage) fn compare(keyspace: &mut Keyspace, model: &Model) -> Result<(), TestCaseError> {
    let selected = keyspace.database();
    for database in 0..DATABASES {
        keyspace.select(database);
        let strings = &model.databases[usize::from(database)];
        for key in 0..16 {
            let key = name(key);
            let expected = strings.get(&key);
            let whole = keyspace.string(&key).unwrap();
            prop_assert_eq!(&whole, &expected.map_or(Lookup::Absent, |(value, _)| Lookup::Found(value.clone())));
            let entry = keyspace.entry(&key).unwrap();
            prop_assert_eq!(
                entry.map(|entry| (entry.length, entry.expires_at_ms)),
                expected.map(|(value, at)| (value.len() as u64, *at))
            );
            if let Some((value, _)) = expected {
                let (start, end) = (value.len() / 3, value.len() * 2 / 3 + 1);
                let range = keyspace.string_range(&key, start as u64, end as u64).unwrap();
                prop_assert_eq!(range, Lookup::Found(value[start..end.min(value.len())].to_vec()));
                prop_assert_eq!(keyspace.string_length(&key).unwrap(), Lookup::Found(value.len() as u64));
            }
        }
        let mut seen = BTreeSet::new();
        let mut cursor = 0;
        loop {
            cursor = keyspace.scan(cursor, 2, &mut |key, _| assert!(seen.insert(key.to_vec()), "shown twice")).unwrap();
            if cursor == 0 {
                break;
            }
        }
        prop_assert_eq!(seen, strings.keys().cloned().collect::<BTreeSet<_>>());
        let random = keyspace.random_key(0x9E37_79B9_7F4A_7C15).unwrap();
        prop_assert_eq!(random.is_none(), strings.is_empty());
        prop_assert!(random.is_none_or(|key| strings.contains_key(&key)));
    }
    keyspace.select(selected);
    Ok(())
}

pub(in crate::storage) fn verify(keyspace: &Keyspace) -> Result<(), TestCaseError> {
    prop_assert_eq!(keyspace.verify().unwrap().problems, Vec::<String>::new());
    Ok(())
}

fn run(ops: &[Op]) -> Result<(), TestCaseError> {
    let mut fixture = Fixture::crowded();
    let announced = fixture.announced.clone();
    let mut reader = fixture.reader();
    Fixture::crowd_keyspace(&mut reader);
    let keyspace = &mut fixture.writer;
    let mut model = Model { now_ms: NOW_MS, ..Model::default() };
    let mut committed = model.clone();
    let mut saved = None;
    keyspace.begin_write(model.now_ms).unwrap();
    for op in ops {
        match op {
            Op::Commit { later_ms } => {
                keyspace.commit().unwrap();
                reader.begin_read(model.now_ms).unwrap();
                compare(&mut reader, &model)?;
                verify(&reader)?;
                reader.end_read().unwrap();
                model.now_ms += later_ms;
                model.forget_expired();
                (committed, saved) = (model.clone(), None);
                keyspace.begin_write(model.now_ms).unwrap();
            }
            Op::Rollback => {
                keyspace.rollback().unwrap();
                keyspace.begin_write(model.now_ms).unwrap();
                // Which database is selected is no part of a transaction.
                committed.selected = model.selected;
                (model, saved) = (committed.clone(), None);
            }
            Op::SetSavepoint if saved.is_none() => saved = Some((keyspace.savepoint(), model.clone())),
            // What works on the tables writes the batch out, and so never comes within a call.
            Op::SweepExpired(_) | Op::SweepOrphans(_) | Op::Spill if saved.is_some() => {}
            Op::UndoToSavepoint => {
                if let Some((savepoint, mut saved)) = saved.take() {
                    keyspace.undo_to(savepoint).unwrap();
                    saved.selected = model.selected;
                    model = saved;
                }
            }
            op => {
                announced.take();
                let before = model.databases.clone();
                prop_assert_eq!(apply(keyspace, op), model.apply(op), "{:?}", op);
                every_difference_was_announced(&before, &model.databases, &announced.take())?;
            }
        }
        compare(keyspace, &model)?;
    }
    // All that is left to the sweeper goes, and takes nothing else along.
    while keyspace.sweep_orphans(5).unwrap() > 0 {}
    while keyspace.sweep_expired(5).unwrap() > 0 {}
    while keyspace.sweep_orphans(5).unwrap() > 0 {}
    compare(keyspace, &model)?;
    prop_assert_eq!(keyspace.sweep_orphans(1).unwrap(), 0);
    keyspace.commit().unwrap();
    keyspace.begin_write(model.now_ms).unwrap();
    verify(keyspace)?;
    // Nothing is left in the tables that nobody can reach.
    prop_assert_eq!(keyspace.orphans_left().unwrap(), 0);
    Ok(())
}

fn every_difference_was_announced(
    before: &[Strings],
    after: &[Strings],
    announced: &[Option<(u8, Vec<u8>)>],
) -> Result<(), TestCaseError> {
    for (database, (before, after)) in before.iter().zip(after).enumerate() {
        for key in before.keys().chain(after.keys()) {
            let told = announced
                .iter()
                .any(|told| told.as_ref().is_none_or(|(at, told)| usize::from(*at) == database && told == key));
            prop_assert!(told || before.get(key) == after.get(key), "{} {:?}", database, key);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn the_keyspace_agrees_with_its_model(ops in ops()) {
        run(&ops)?;
    }
}
