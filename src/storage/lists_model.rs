//! Lists against a model of them: few bytes in a row, blocks of two items and strides of four, so that lists are unpacked, counted, spread
//! and renumbered, and long items lie apart, all the time.

use std::ops::ControlFlow;

use proptest::prelude::*;

use super::engine::tests::between;
use super::fixture::NOW_MS;
use super::kind_model::{self, Outcome, Step, Tested, key, run, times, told};
use super::rows::{Homes, crowd_files};
use super::{End, Expiry, Keyspace, Kind, List, Lookup, StorageError, index_of, range_of};

#[derive(Clone, Debug)]
enum Op {
    Push(u8, End, Vec<u8>, bool),
    Pop(u8, End, u64),
    Set(u8, i64, u8),
    Insert(u8, End, u8, u8),
    /// Many at one place.
    Crowd(u8, End, u8, u8),
    Remove(u8, i64, u8),
    Trim(u8, i64, i64),
    Move((u8, End), (u8, End)),
    Build(u8, Vec<u8>, bool),
}

/// `None`: a string.
type Value = Option<Vec<Vec<u8>>>;

type Model = kind_model::Model<Value>;

const KEYS: u8 = 3;
const VALUES: u8 = 12;

/// Some are numbers, some longer than what stays in a row.
fn value(number: u8) -> Vec<u8> {
    match number % 4 {
        0 => number.to_string().into_bytes(),
        3 => format!("an item that is too long for its row: {number}").into_bytes(),
        _ => vec![b'a' + number; usize::from(number)],
    }
}

impl kind_model::Value for Value {
    fn string() -> Self {
        None
    }

    fn is_nothing(&self) -> bool {
        self.as_ref().is_some_and(Vec::is_empty)
    }
}

impl Model {
    /// The list, empty if the key is not there; `None`: it is a string.
    fn list(&mut self, key: u8) -> Option<&mut Vec<Vec<u8>>> {
        self.keys.entry(key).or_insert_with(|| (Some(Vec::new()), None)).0.as_mut()
    }
}

fn push(list: &mut Vec<Vec<u8>>, end: End, value: Vec<u8>) {
    list.insert(if end == End::Front { 0 } else { list.len() }, value);
}

fn pop(list: &mut Vec<Vec<u8>>, end: End) -> Vec<u8> {
    list.remove(if end == End::Front { 0 } else { list.len() - 1 })
}

fn insert(keyspace: &mut Keyspace, model: &mut Model, at: u8, side: End, (pivot, new): (u8, u8)) -> (i64, i64) {
    let found = told(keyspace.list_insert(&key(at), side, &value(pivot), &value(new)), |length| {
        length.map_or(-2, |length| length as i64)
    });
    let expected = model.list(at).map_or(-1, |list| match list.iter().position(|item| *item == value(pivot)) {
        _ if list.is_empty() => 0,
        None => -2,
        Some(place) => {
            list.insert(if side == End::Front { place } else { place + 1 }, value(new));
            list.len() as i64
        }
    });
    (found, expected)
}

/// Does it to both; they must answer alike.
fn apply(keyspace: &mut Keyspace, model: &mut Model, op: &Op) -> Outcome {
    match op {
        Op::Push(at, end, values, must_be_there) => {
            let values: Vec<Vec<u8>> = values.iter().map(|v| value(*v)).collect();
            let args: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
            let found = told(keyspace.list_push(&key(*at), *end, &args, *must_be_there), |pushed| pushed.length as i64);
            let expected = model.list(*at).map_or(-1, |list| {
                if !*must_be_there || !list.is_empty() {
                    values.iter().for_each(|value| push(list, *end, value.clone()));
                }
                list.len() as i64
            });
            prop_assert_eq!(found, expected);
        }
        Op::Pop(at, end, count) => {
            let mut popped = Vec::new();
            let found = keyspace.list_pop::<StorageError>(&key(*at), *end, *count, |value| {
                popped.push(value.to_vec());
                Ok(())
            });
            let found = told(found, |removed| removed.count as i64);
            let mut expected = Vec::new();
            let count = model.list(*at).map_or(-1, |list| {
                while !list.is_empty() && (expected.len() as u64) < *count {
                    expected.push(pop(list, *end));
                }
                expected.len() as i64
            });
            prop_assert_eq!((found, popped), (count, expected));
        }
        Op::Set(at, index, new) => {
            let found = told(keyspace.list_set(&key(*at), *index, &value(*new)), |is_set| if is_set { 1 } else { -2 });
            let expected = model.list(*at).map_or(-1, |list| match index_of(*index, list.len() as u64) {
                _ if list.is_empty() => 0,
                None => -2,
                Some(index) => {
                    list[index as usize] = value(*new);
                    1
                }
            });
            prop_assert_eq!(found, expected);
        }
        Op::Insert(at, side, pivot, new) => {
            let (found, expected) = insert(keyspace, model, *at, *side, (*pivot, *new));
            prop_assert_eq!(found, expected);
        }
        Op::Crowd(at, side, pivot, new) => {
            for _ in 0..12 {
                let (found, expected) = insert(keyspace, model, *at, *side, (*pivot, *new));
                prop_assert_eq!(found, expected);
            }
        }
        Op::Remove(at, count, of) => {
            let found = told(keyspace.list_remove(&key(*at), *count, &value(*of)), |removed| removed.count as i64);
            let expected = model.list(*at).map_or(-1, |list| {
                let mut places: Vec<usize> = (0..list.len()).filter(|place| list[*place] == value(*of)).collect();
                if *count < 0 {
                    places.reverse();
                }
                if *count != 0 {
                    places.truncate(count.unsigned_abs() as usize);
                }
                places.sort_unstable();
                places.iter().rev().for_each(|place| drop(list.remove(*place)));
                places.len() as i64
            });
            prop_assert_eq!(found, expected);
        }
        Op::Trim(at, start, stop) => {
            let found = told(keyspace.list_trim(&key(*at), *start, *stop), |removed| removed.count as i64);
            let expected = model.list(*at).map_or(-1, |list| {
                let before = list.len();
                let (first, count) = range_of(*start, *stop, list.len() as u64).unwrap_or((0, 0));
                *list = list.iter().skip(first as usize).take(count as usize).cloned().collect();
                (before - list.len()) as i64
            });
            prop_assert_eq!(found, expected);
        }
        Op::Move((at, from), (target, to)) => {
            let found = match at == target {
                true => keyspace.list_rotate(&key(*at), *from, *to).unwrap(),
                false => {
                    let moved = keyspace.list_move((&key(*at), *from), (&key(*target), *to)).unwrap();
                    if let Lookup::Found(moved) = &moved {
                        prop_assert_eq!(moved.is_gone, model.list(*at).is_some_and(|list| list.len() == 1));
                        prop_assert_eq!(moved.is_new, model.list(*target).is_some_and(|list| list.is_empty()));
                    }
                    moved.map(|moved| moved.item)
                }
            };
            let is_list = model.list(*target).is_some();
            match model.list(*at) {
                None => prop_assert_eq!(found, Lookup::OtherKind(Kind::String)),
                Some(list) if list.is_empty() => prop_assert_eq!(found, Lookup::Absent),
                Some(_) if !is_list => prop_assert_eq!(found, Lookup::OtherKind(Kind::String)),
                Some(list) => {
                    let item = pop(list, *from);
                    model.list(*target).into_iter().for_each(|list| push(list, *to, item.clone()));
                    prop_assert_eq!(found, Lookup::Found(item));
                }
            }
        }
        Op::Build(at, values, keeps) => {
            let mut building = keyspace.build_list();
            for number in values {
                keyspace.add_to_list(&mut building, &value(*number)).unwrap();
            }
            let expiry = if *keeps { Expiry::Keep } else { Expiry::At(NOW_MS + 30) };
            prop_assert_eq!(keyspace.put_built_list(&key(*at), building, expiry).unwrap(), values.len() as u64);
            let expires = if *keeps { model.keys.get(at).and_then(|entry| entry.1) } else { Some(NOW_MS + 30) };
            model.keys.insert(*at, (Some(values.iter().map(|number| value(*number)).collect()), expires));
        }
    }
    Ok(())
}

fn shown(list: &List<'_>, first: u64, count: u64) -> Vec<Vec<u8>> {
    let mut items = Vec::new();
    list.each::<StorageError>(first, count, |item| {
        items.push(item.to_vec());
        Ok(())
    })
    .unwrap();
    items
}

fn compare(keyspace: &Keyspace, model: &Model) -> Outcome {
    for at in 0..KEYS {
        let entry = keyspace.entry(&key(at)).unwrap();
        let expected = model.keys.get(&at);
        prop_assert_eq!(entry.map(|entry| entry.expires_at_ms), expected.map(|expected| expected.1));
        let list = keyspace.list(&key(at)).unwrap();
        let expected = match expected.map(|expected| &expected.0) {
            None => {
                prop_assert!(matches!(list, Lookup::Absent));
                continue;
            }
            Some(None) => {
                prop_assert!(matches!(list, Lookup::OtherKind(Kind::String)));
                continue;
            }
            Some(Some(items)) => items,
        };
        let Lookup::Found(list) = list else { panic!("nothing of key {at}") };
        let length = expected.len() as u64;
        prop_assert_eq!(list.len(), length);
        prop_assert_eq!(&shown(&list, 0, length), expected);
        for index in 0..=length {
            let item = list.get(index, <[u8]>::to_vec).unwrap();
            prop_assert_eq!(item.as_ref(), expected.get(index as usize));
        }
        for first in [length / 3, length / 2, length - 1] {
            let count = (length - first).div_ceil(2);
            prop_assert_eq!(&shown(&list, first, count), &expected[first as usize..(first + count) as usize]);
        }
        for (number, from) in [(1, End::Front), (3, End::Back), (4, End::Back)] {
            let looked = length - length / 4;
            let mut found = Vec::new();
            list.find::<StorageError>(&value(number), from, looked, &mut |index| {
                found.push(index);
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
            let matches = (0..length).filter(|index| expected[*index as usize] == value(number));
            let matches: Vec<u64> = match from {
                End::Front => matches.filter(|index| *index < looked).collect(),
                End::Back => matches.rev().filter(|index| *index >= length - looked).collect(),
            };
            prop_assert_eq!(found, matches);
        }
        prop_assert!(list.memory_bytes(3).unwrap() > 0);
    }
    Ok(())
}

fn ops() -> impl Strategy<Value = Vec<Step<Op>>> {
    let at = || prop_oneof![3 => Just(0..1), 1 => Just(0..KEYS)].prop_flat_map(|range| range);
    let end = || prop_oneof![Just(End::Front), Just(End::Back)];
    let number = || 0..VALUES;
    let numbers = |most| prop::collection::vec(0..VALUES, 1..most);
    let index = || -12..40i64;
    let op = prop_oneof![
        12 => (at(), end(), numbers(8), prop::bool::weighted(0.2))
            .prop_map(|(at, end, values, must)| Op::Push(at, end, values, must)),
        8 => (at(), end(), 0..6u64).prop_map(|(at, end, count)| Op::Pop(at, end, count)),
        1 => (at(), end(), 6..60u64).prop_map(|(at, end, count)| Op::Pop(at, end, count)),
        4 => (at(), index(), number()).prop_map(|(at, index, v)| Op::Set(at, index, v)),
        8 => (at(), end(), number(), number()).prop_map(|(at, side, pivot, v)| Op::Insert(at, side, pivot, v)),
        2 => (at(), end(), number(), number()).prop_map(|(at, side, pivot, v)| Op::Crowd(at, side, pivot, v)),
        8 => (at(), -3..4i64, number()).prop_map(|(at, count, v)| Op::Remove(at, count, v)),
        5 => (at(), 0..9i64, -9..0i64).prop_map(|(at, start, stop)| Op::Trim(at, start, stop)),
        1 => (at(), index(), index()).prop_map(|(at, start, stop)| Op::Trim(at, start, stop)),
        5 => ((at(), end()), (at(), end())).prop_map(|(from, to)| Op::Move(from, to)),
        4 => (at(), numbers(50), any::<bool>()).prop_map(|(at, values, keeps)| Op::Build(at, values, keeps)),
    ];
    let step = prop_oneof![
        56 => op.prop_map(Step::Op),
        1 => at().prop_map(Step::PutString),
        1 => at().prop_map(Step::Delete),
        1 => (at(), times()).prop_map(|(at, expires)| Step::SetExpiry(at, expires)),
        2 => (at(), at()).prop_map(|(from, to)| Step::Rename(from, to)),
        3 => (at(), at(), any::<bool>()).prop_map(|(from, to, replace)| Step::Copy(from, to, replace)),
        1 => Just(Step::Flush),
        4 => (1..9usize).prop_map(Step::Sweep),
        2 => Just(Step::Spill),
        6 => (0..3i64).prop_map(Step::Commit),
        1 => Just(Step::Rollback),
        1 => Just(Step::SetSavepoint),
        1 => Just(Step::UndoToSavepoint),
    ];
    prop::collection::vec(step, 1..100)
}

struct Lists;

impl Tested for Lists {
    type Value = Value;
    type Op = Op;

    fn apply(keyspace: &mut Keyspace, model: &mut Model, op: &Op) -> Outcome {
        apply(keyspace, model, op)
    }

    fn compare(keyspace: &Keyspace, model: &Model) -> Outcome {
        compare(keyspace, model)
    }

    fn crowd(keyspace: &mut Keyspace, homes: u64) {
        crowd_files(homes);
        keyspace.set_homes(Homes::crowded(homes));
        keyspace.crowd(Homes::crowded(homes), super::keyspace::Layout::SMALL);
    }

    /// No item lies there that no list has.
    fn compare_files(keyspace: &Keyspace, model: &Model) -> Outcome {
        let rows = "SELECT (SELECT count(*) FROM list_item)";
        let rows = keyspace.connection().query_row(rows, [], |row| row.get::<_, u64>(0)).unwrap();
        let items: usize = model.keys.values().filter_map(|(value, _)| value.as_ref().map(Vec::len)).sum();
        prop_assert!(rows <= items as u64, "{rows} rows of {items} items");
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn lists_agree_with_their_model(ops in ops()) {
        run::<Lists>(&ops, 6, None)?;
    }

    #[test]
    fn lists_agree_with_their_model_whatever_is_merged_and_whoever_takes_over(ops in ops(), between in between()) {
        run::<Lists>(&ops, 6, Some(&between))?;
    }
}
