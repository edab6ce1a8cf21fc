//! What the model tests of all kinds of values have in common: keys that hold a string or something of the kind, and may end; they are renamed,
//! copied, swept, committed, taken back. A kind brings its values, its own operations and how its keys are compared.

use std::collections::BTreeMap;
use std::fmt::Debug;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::engine::tests::{Between, happen};
use super::fixture::{Fixture, NOW_MS, memory};
use super::memtable::Memory;
use super::{Expiry, Keyspace, Lookup, Result};

pub(super) type Outcome = std::result::Result<(), TestCaseError>;

/// What a key holds.
pub(super) trait Value: Clone + Debug {
    fn string() -> Self;

    /// Nothing is left of it, so there is no key.
    fn is_nothing(&self) -> bool;
}

/// A kind of values that is tested.
pub(super) trait Tested {
    type Value: Value;
    type Op: Clone + Debug;

    /// Does it to both; they must answer alike.
    fn apply(keyspace: &mut Keyspace, model: &mut Model<Self::Value>, op: &Self::Op) -> Outcome;

    fn compare(keyspace: &Keyspace, model: &Model<Self::Value>) -> Outcome;

    /// Makes the keyspace one with so few homes and bytes that all that is rare happens all the time.
    fn crowd(keyspace: &mut Keyspace, homes: u64);

    /// When all is merged and swept.
    fn compare_files(_keyspace: &Keyspace, _model: &Model<Self::Value>) -> Outcome {
        Ok(())
    }
}

#[derive(Clone, Debug)]
pub(super) struct Model<V> {
    /// With the time when it ends.
    pub(super) keys: BTreeMap<u8, (V, Option<i64>)>,
    pub(super) now_ms: i64,
}

#[derive(Clone, Debug)]
pub(super) enum Step<O> {
    /// One of the kind's own.
    Op(O),
    PutString(u8),
    Delete(u8),
    SetExpiry(u8, Option<i64>),
    Rename(u8, u8),
    Copy(u8, u8, bool),
    Flush,
    Sweep(usize),
    Spill,
    Commit(i64),
    Rollback,
    SetSavepoint,
    UndoToSavepoint,
}

pub(super) fn key(number: u8) -> [u8; 1] {
    [b'a' + number]
}

/// When a key may end.
pub(super) fn times() -> impl Strategy<Value = Option<i64>> {
    prop::option::of(NOW_MS - 2..NOW_MS + 40)
}

/// A number out of what was looked up; -1 stands for another kind, 0 for no key.
pub(super) fn told<T>(lookup: Result<Lookup<T>>, number: impl Fn(T) -> i64) -> i64 {
    match lookup.unwrap() {
        Lookup::Absent => 0,
        Lookup::OtherKind(_) => -1,
        Lookup::Found(found) => number(found),
    }
}

pub(super) fn slices(names: &[Vec<u8>]) -> Vec<&[u8]> {
    names.iter().map(Vec::as_slice).collect()
}

impl<V: Value> Model<V> {
    fn forget_what_is_gone(&mut self) {
        let now_ms = self.now_ms;
        self.keys.retain(|_, (value, at)| at.is_none_or(|at| at > now_ms) && !value.is_nothing());
    }
}

/// `between`: there is memory, and this happens between the groups. Else all groups go into the tables at once.
pub(super) fn run<T: Tested>(steps: &[Step<T::Op>], homes: u64, between: Option<&[Between]>) -> Outcome {
    let mut fixture = Fixture::on(if between.is_some() { memory() } else { Memory::off() });
    let mut happenings = between.unwrap_or_default().iter().cycle();
    T::crowd(&mut fixture.writer, homes);
    let mut model = Model { keys: BTreeMap::new(), now_ms: NOW_MS };
    let (mut committed, mut saved) = (model.clone(), None);
    fixture.writer.begin_write(model.now_ms).unwrap();
    for step in steps {
        match step {
            Step::Commit(later_ms) => {
                fixture.writer.commit().unwrap();
                if let Some(happening) = happenings.next() {
                    happen(&mut fixture, *happening, model.now_ms);
                    T::crowd(&mut fixture.writer, homes);
                }
                let mut reader = fixture.reader();
                T::crowd(&mut reader, homes);
                reader.begin_read(model.now_ms).unwrap();
                T::compare(&reader, &model)?;
                if between.is_none() {
                    verify(&reader)?;
                }
                reader.end_read().unwrap();
                model.now_ms += later_ms;
                model.forget_what_is_gone();
                (committed, saved) = (model.clone(), None);
                fixture.writer.begin_write(model.now_ms).unwrap();
            }
            Step::Rollback => {
                fixture.writer.rollback().unwrap();
                fixture.writer.begin_write(model.now_ms).unwrap();
                (model, saved) = (committed.clone(), None);
            }
            Step::SetSavepoint if saved.is_none() => saved = Some((fixture.writer.savepoint(), model.clone())),
            Step::SetSavepoint => {}
            Step::Sweep(_) | Step::Spill if saved.is_some() => {}
            Step::UndoToSavepoint => {
                if let Some((savepoint, then)) = saved.take() {
                    fixture.writer.undo_to(savepoint).unwrap();
                    model = then;
                }
            }
            step => {
                match step {
                    Step::Op(op) => T::apply(&mut fixture.writer, &mut model, op)?,
                    step => apply(&mut fixture.writer, &mut model, step)?,
                }
                model.forget_what_is_gone();
            }
        }
        T::compare(&fixture.writer, &model)?;
    }
    let keyspace = &mut fixture.writer;
    if between.is_some() {
        keyspace.commit().unwrap();
        keyspace.merge_all(model.now_ms).unwrap();
        keyspace.begin_write(model.now_ms).unwrap();
    }
    while keyspace.sweep_orphans(5).unwrap() + keyspace.sweep_expired(5).unwrap() > 0 {}
    T::compare(keyspace, &model)?;
    keyspace.commit().unwrap();
    keyspace.begin_write(model.now_ms).unwrap();
    verify(keyspace)?;
    prop_assert_eq!(keyspace.orphans_left().unwrap(), 0);
    T::compare_files(keyspace, &model)
}

/// What can be done to a key whatever it holds.
fn apply<V: Value, O>(keyspace: &mut Keyspace, model: &mut Model<V>, step: &Step<O>) -> Outcome {
    match step {
        Step::PutString(at) => {
            keyspace.put_string(&key(*at), b"s", Expiry::Clear).unwrap();
            model.keys.insert(*at, (V::string(), None));
        }
        Step::Delete(at) => {
            prop_assert_eq!(keyspace.delete(&key(*at)).unwrap(), model.keys.remove(at).is_some());
        }
        Step::SetExpiry(at, expires) => {
            let is_there = model.keys.get_mut(at).map(|entry| entry.1 = *expires).is_some();
            prop_assert_eq!(keyspace.set_expiry(&key(*at), *expires).unwrap(), is_there);
        }
        Step::Rename(from, to) => {
            let entry = model.keys.remove(from);
            prop_assert_eq!(keyspace.rename(&key(*from), &key(*to)).unwrap(), entry.is_some());
            entry.map(|entry| model.keys.insert(*to, entry));
        }
        Step::Copy(from, to, replace) => {
            let is_done = keyspace.copy(&key(*from), 0, &key(*to), *replace).unwrap();
            let may = model.keys.contains_key(from) && from != to && (*replace || !model.keys.contains_key(to));
            prop_assert_eq!(is_done, may);
            if may {
                model.keys.insert(*to, model.keys[from].clone());
            }
        }
        Step::Flush => {
            keyspace.flush_database().unwrap();
            model.keys.clear();
        }
        Step::Sweep(rows) => {
            prop_assert!(keyspace.sweep_expired(*rows).unwrap() <= *rows);
            prop_assert!(keyspace.sweep_orphans(*rows).unwrap() <= *rows);
        }
        Step::Spill => keyspace.spill().unwrap(),
        Step::Op(_) | Step::Commit(_) | Step::Rollback | Step::SetSavepoint | Step::UndoToSavepoint => {}
    }
    Ok(())
}

fn verify(keyspace: &Keyspace) -> Outcome {
    prop_assert_eq!(keyspace.verify().unwrap().problems, Vec::<String>::new());
    Ok(())
}
