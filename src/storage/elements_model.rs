//! Hashes and sets against a model of them: few homes, few bytes in a row, so that they are packed and unpacked, long elements lie apart
//! and runs of colliding homes happen all the time.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::engine::tests::between;
use super::fixture::NOW_MS;
use super::kind_model::{self, Outcome, Step, Tested, key, run, slices, times, told};
use super::rows::Homes;
use super::{Added, Elements, Expiry, Keyspace, Kind, Lookup, SetMoved, StorageError};

#[derive(Clone, Debug)]
enum Op {
    Set(u8, Vec<(u8, u8)>),
    SetNew(u8, u8, u8),
    Update(u8, u8, u8),
    HashDelete(u8, Vec<u8>),
    Add(u8, Vec<u8>),
    SetRemove(u8, Vec<u8>),
    SetMove(u8, u8, u8),
    Pop(u8, u64, u64),
    Build(u8, bool, Vec<(u8, u8)>, bool),
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    String,
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
    Set(BTreeSet<Vec<u8>>),
}

type Model = kind_model::Model<Value>;

const KEYS: u8 = 5;

/// Some are longer than what stays in a row's key, some integers.
fn name(number: u8) -> Vec<u8> {
    match number % 4 {
        0 => number.to_string().into_bytes(),
        1 => format!("-{number}").into_bytes(),
        2 => format!("name {number}").into_bytes(),
        _ => format!("a name that is too long for its row: {number}").into_bytes(),
    }
}

fn value(number: u8) -> Vec<u8> {
    vec![number; usize::from(number) % 45]
}

impl kind_model::Value for Value {
    fn string() -> Self {
        Self::String
    }

    fn is_nothing(&self) -> bool {
        match self {
            Self::String => false,
            Self::Hash(fields) => fields.is_empty(),
            Self::Set(members) => members.is_empty(),
        }
    }
}

impl Model {
    fn hash(&mut self, key: u8) -> Option<&mut BTreeMap<Vec<u8>, Vec<u8>>> {
        match &mut self.keys.entry(key).or_insert_with(|| (Value::Hash(BTreeMap::new()), None)).0 {
            Value::Hash(fields) => Some(fields),
            _ => None,
        }
    }

    fn set(&mut self, key: u8) -> Option<&mut BTreeSet<Vec<u8>>> {
        match &mut self.keys.entry(key).or_insert_with(|| (Value::Set(BTreeSet::new()), None)).0 {
            Value::Set(members) => Some(members),
            _ => None,
        }
    }
}

/// Does it to both; they must answer alike.
fn apply(keyspace: &mut Keyspace, model: &mut Model, op: &Op) -> Outcome {
    match op {
        Op::Set(at, pairs) => {
            let args: Vec<Vec<u8>> = pairs.iter().flat_map(|(f, v)| [name(*f), value(*v)]).collect();
            let found = told(keyspace.hash_set(&key(*at), &slices(&args)), |added| added.count as i64);
            let expected = model.hash(*at).map_or(-1, |fields| {
                let new = pairs.iter().filter(|(f, v)| fields.insert(name(*f), value(*v)).is_none());
                new.count() as i64
            });
            prop_assert_eq!(found, expected);
        }
        Op::SetNew(at, f, v) => {
            let found = told(keyspace.hash_set_new(&key(*at), &name(*f), &value(*v)), |added| added.count as i64);
            let expected = model.hash(*at).map_or(-1, |fields| {
                let is_new = !fields.contains_key(&name(*f));
                fields.entry(name(*f)).or_insert_with(|| value(*v));
                i64::from(is_new)
            });
            prop_assert_eq!(found, expected);
        }
        Op::Update(at, f, v) => {
            let found = keyspace.hash_update::<_, StorageError>(&key(*at), &name(*f), |old| {
                Ok((old.map_or(1000, <[u8]>::len) as i64, value(*v)))
            });
            let found = told(found, |(told, _)| told);
            let expected = model
                .hash(*at)
                .map_or(-1, |fields| fields.insert(name(*f), value(*v)).map_or(1000, |old| old.len()) as i64);
            prop_assert_eq!(found, expected);
        }
        Op::HashDelete(at, names) => {
            let args: Vec<Vec<u8>> = names.iter().map(|n| name(*n)).collect();
            let found = told(keyspace.hash_delete(&key(*at), &slices(&args)), |removed| {
                removed.count as i64 + 100 * i64::from(removed.is_gone)
            });
            let expected = model.hash(*at).map_or(-1, |fields| {
                let count = args.iter().filter(|name| fields.remove(*name).is_some()).count() as i64;
                count + 100 * i64::from(count > 0 && fields.is_empty())
            });
            prop_assert_eq!(found, expected);
        }
        Op::Add(at, names) => {
            let args: Vec<Vec<u8>> = names.iter().map(|n| name(*n)).collect();
            let found = told(keyspace.set_add(&key(*at), &slices(&args)), |added| added.count as i64);
            let expected = model
                .set(*at)
                .map_or(-1, |members| args.iter().filter(|name| members.insert((*name).clone())).count() as i64);
            prop_assert_eq!(found, expected);
        }
        Op::SetRemove(at, names) => {
            let args: Vec<Vec<u8>> = names.iter().map(|n| name(*n)).collect();
            let found = told(keyspace.set_remove(&key(*at), &slices(&args)), |removed| removed.count as i64);
            let expected =
                model.set(*at).map_or(-1, |members| args.iter().filter(|name| members.remove(*name)).count() as i64);
            prop_assert_eq!(found, expected);
        }
        Op::SetMove(from, to, _) if from == to => {}
        Op::SetMove(from, to, n) => {
            let name = name(*n);
            let found = keyspace.set_move(&key(*from), &key(*to), &name).unwrap();
            let is_new = model.set(*to).map(|members| members.is_empty());
            match (model.set(*from), is_new) {
                (None, _) => prop_assert!(matches!(found, Lookup::OtherKind(_))),
                (Some(members), _) if members.is_empty() => prop_assert_eq!(found, Lookup::Absent),
                (Some(_), None) => prop_assert!(matches!(found, Lookup::OtherKind(_))),
                (Some(members), Some(is_new)) => {
                    let moved = members.remove(&name).then_some(members.is_empty()).map(|is_gone| {
                        let count = u64::from(model.set(*to).is_some_and(|members| members.insert(name)));
                        SetMoved { is_gone, added: Added { count, is_new } }
                    });
                    prop_assert_eq!(found, Lookup::Found(moved));
                }
            }
        }
        Op::Pop(at, count, seed) => {
            let mut random = numbers(*seed);
            match keyspace.set_pop::<StorageError>(&key(*at), *count, &mut random, &mut |_| Ok(())).unwrap() {
                Lookup::Found(popped) => {
                    let members = model.set(*at).unwrap();
                    prop_assert_eq!(popped.members.len(), members.len().min(*count as usize));
                    for member in &popped.members {
                        prop_assert!(members.remove(member));
                    }
                    prop_assert_eq!(popped.is_gone, members.is_empty());
                }
                Lookup::Absent => prop_assert!(!model.keys.contains_key(at)),
                Lookup::OtherKind(_) => prop_assert!(model.set(*at).is_none()),
            }
        }
        Op::Build(at, is_hash, pairs, keeps) => build(keyspace, model, (*at, *is_hash, *keeps), pairs)?,
    }
    Ok(())
}

fn build(
    keyspace: &mut Keyspace,
    model: &mut Model,
    (at, is_hash, keeps): (u8, bool, bool),
    pairs: &[(u8, u8)],
) -> Outcome {
    let mut building = keyspace.build(if is_hash { Kind::Hash } else { Kind::Set });
    let (mut fields, mut members) = (BTreeMap::new(), BTreeSet::new());
    for (n, v) in pairs {
        let (name, value) = (name(*n), if is_hash { value(*v) } else { Vec::new() });
        let is_new = keyspace.add_to(&mut building, &name, &value).unwrap();
        prop_assert_eq!(is_new, members.insert(name.clone()));
        fields.entry(name).or_insert(value);
    }
    let expiry = if keeps { Expiry::Keep } else { Expiry::At(NOW_MS + 30) };
    prop_assert_eq!(keyspace.put_built(&key(at), building, expiry).unwrap(), members.len() as u64);
    let expires = if keeps { model.keys.get(&at).and_then(|entry| entry.1) } else { Some(NOW_MS + 30) };
    model.keys.insert(at, (if is_hash { Value::Hash(fields) } else { Value::Set(members) }, expires));
    Ok(())
}

/// Numbers as good as random ones.
fn numbers(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

fn all(elements: &Elements<'_>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut found = BTreeMap::new();
    elements
        .each::<StorageError>(|name, value| {
            assert!(found.insert(name.to_vec(), value.to_vec()).is_none(), "shown twice");
            Ok(())
        })
        .unwrap();
    found
}

fn compare(keyspace: &Keyspace, model: &Model) -> Outcome {
    for at in 0..KEYS {
        let entry = keyspace.entry(&key(at)).unwrap();
        let expected = model.keys.get(&at);
        prop_assert_eq!(entry.map(|entry| entry.expires_at_ms), expected.map(|expected| expected.1));
        let (elements, expected) = match expected.map(|expected| &expected.0) {
            None => {
                prop_assert!(matches!(keyspace.hash(&key(at)).unwrap(), Lookup::Absent));
                continue;
            }
            Some(Value::String) => {
                prop_assert!(matches!(keyspace.set(&key(at)).unwrap(), Lookup::OtherKind(Kind::String)));
                continue;
            }
            Some(Value::Hash(fields)) => (keyspace.hash(&key(at)).unwrap(), fields.clone()),
            Some(Value::Set(members)) => {
                prop_assert!(matches!(keyspace.hash(&key(at)).unwrap(), Lookup::OtherKind(Kind::Set)));
                let fields = members.iter().map(|member| (member.clone(), Vec::new())).collect();
                (keyspace.set(&key(at)).unwrap(), fields)
            }
        };
        let Lookup::Found(elements) = elements else { panic!("nothing of key {at}") };
        prop_assert_eq!(elements.len(), expected.len() as u64);
        prop_assert_eq!(&all(&elements), &expected);
        let (mut names, mut scanned, mut cursor) = (BTreeSet::new(), BTreeMap::new(), 0);
        elements
            .each_name::<StorageError>(|name| {
                names.insert(name.to_vec());
                Ok(())
            })
            .unwrap();
        prop_assert!(names.iter().eq(expected.keys()));
        loop {
            cursor = elements
                .scan::<StorageError>(cursor, 2, |name, value| {
                    scanned.insert(name.to_vec(), value.to_vec());
                    Ok(())
                })
                .unwrap();
            if cursor == 0 {
                break;
            }
        }
        prop_assert_eq!(&scanned, &expected);
        for number in 0..40 {
            let name = name(number);
            let expected = expected.get(&name);
            prop_assert_eq!(elements.get(&name, <[u8]>::to_vec).unwrap(), expected.cloned());
            prop_assert_eq!(elements.contains(&name).unwrap(), expected.is_some());
            prop_assert_eq!(elements.value_length(&name).unwrap(), expected.map(|value| value.len() as u64));
        }
        walk(&elements, &expected)?;
        random(&elements, &expected)?;
    }
    Ok(())
}

fn walk(elements: &Elements<'_>, expected: &BTreeMap<Vec<u8>, Vec<u8>>) -> Outcome {
    let (mut walk, mut seen, mut places) = (elements.walk().unwrap(), BTreeSet::new(), Vec::new());
    while let Some((position, name)) = walk.place() {
        places.push((position, name.to_vec()));
        seen.insert(walk.show_name(<[u8]>::to_vec).unwrap().unwrap());
        walk.advance().unwrap();
    }
    prop_assert!(places.windows(2).all(|two| two[0] < two[1]));
    prop_assert!(seen.iter().eq(expected.keys()));
    for (position, name) in &places {
        let mut walk = elements.walk().unwrap();
        walk.seek((*position, name)).unwrap();
        prop_assert_eq!(walk.place(), Some((*position, &name[..])));
    }
    Ok(())
}

fn random(elements: &Elements<'_>, expected: &BTreeMap<Vec<u8>, Vec<u8>>) -> Outcome {
    for count in [1, 2, expected.len() as u64] {
        let (mut seen, mut shown) = (BTreeSet::new(), 0);
        let mut show = |name: &[u8], value: &[u8]| {
            assert_eq!(expected.get(name).map(Vec::as_slice), Some(value));
            seen.insert(name.to_vec());
            shown += 1;
            Ok::<(), StorageError>(())
        };
        elements.random(count, &mut numbers(count), &mut show).unwrap();
        prop_assert_eq!((seen.len() as u64, shown), (count.min(expected.len() as u64), seen.len()));
        let mut shown = 0;
        let mut show = |name: &[u8], value: &[u8]| {
            assert_eq!(expected.get(name).map(Vec::as_slice), Some(value));
            shown += 1;
            Ok::<(), StorageError>(())
        };
        elements.random_repeating(count + 3, &mut numbers(count), &mut show).unwrap();
        prop_assert_eq!(shown, count + 3);
    }
    Ok(())
}

fn ops() -> impl Strategy<Value = Vec<Step<Op>>> {
    let at = || 0..KEYS;
    let name = || 0..40u8;
    let names = || prop::collection::vec(name(), 1..8);
    let pairs = || prop::collection::vec((name(), any::<u8>()), 1..8);
    let op = prop_oneof![
        10 => (at(), pairs()).prop_map(|(at, pairs)| Op::Set(at, pairs)),
        2 => (at(), name(), any::<u8>()).prop_map(|(at, f, v)| Op::SetNew(at, f, v)),
        3 => (at(), name(), any::<u8>()).prop_map(|(at, f, v)| Op::Update(at, f, v)),
        5 => (at(), names()).prop_map(|(at, names)| Op::HashDelete(at, names)),
        10 => (at(), names()).prop_map(|(at, names)| Op::Add(at, names)),
        5 => (at(), names()).prop_map(|(at, names)| Op::SetRemove(at, names)),
        4 => (at(), at(), name()).prop_map(|(from, to, n)| Op::SetMove(from, to, n)),
        3 => (at(), 1..6u64, any::<u64>()).prop_map(|(at, count, seed)| Op::Pop(at, count, seed)),
        3 => (at(), any::<bool>(), prop::collection::vec((name(), any::<u8>()), 0..40), any::<bool>())
            .prop_map(|(at, is_hash, pairs, keeps)| Op::Build(at, is_hash, pairs, keeps)),
    ];
    let step = prop_oneof![
        41 => op.prop_map(Step::Op),
        1 => at().prop_map(Step::PutString),
        2 => at().prop_map(Step::Delete),
        2 => (at(), times()).prop_map(|(at, expires)| Step::SetExpiry(at, expires)),
        2 => (at(), at()).prop_map(|(from, to)| Step::Rename(from, to)),
        3 => (at(), at(), any::<bool>()).prop_map(|(from, to, replace)| Step::Copy(from, to, replace)),
        1 => Just(Step::Flush),
        2 => (1..9usize).prop_map(Step::Sweep),
        2 => Just(Step::Spill),
        4 => (0..6i64).prop_map(Step::Commit),
        1 => Just(Step::Rollback),
        1 => Just(Step::SetSavepoint),
        1 => Just(Step::UndoToSavepoint),
    ];
    prop::collection::vec(step, 1..80)
}

struct HashesAndSets;

impl Tested for HashesAndSets {
    type Value = Value;
    type Op = Op;

    fn apply(keyspace: &mut Keyspace, model: &mut Model, op: &Op) -> Outcome {
        apply(keyspace, model, op)
    }

    fn compare(keyspace: &Keyspace, model: &Model) -> Outcome {
        compare(keyspace, model)
    }

    fn crowd(keyspace: &mut Keyspace, homes: u64) {
        keyspace.set_homes(Homes::crowded(homes));
        keyspace.crowd(Homes::crowded(homes), super::keyspace::Layout::SMALL);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn hashes_and_sets_agree_with_their_model(ops in ops(), homes in prop_oneof![Just(3u64), Just(1000)]) {
        run::<HashesAndSets>(&ops, homes, None)?;
    }

    #[test]
    fn hashes_and_sets_agree_with_their_model_whatever_is_merged_and_whoever_takes_over(
        ops in ops(),
        between in between(),
    ) {
        // As many homes as a writer has that `happen` makes.
        run::<HashesAndSets>(&ops, 6, Some(&between))?;
    }
}
