//! Sorted sets against a model of them: few homes, few rows in a count, few bytes in a name, so that they are packed and unpacked, counts
//! are divided, and long members that begin alike need new labels all the time.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::engine::tests::between;
use super::fixture::NOW_MS;
use super::kind_model::{self, Outcome, Step, Tested, key, run, slices, times, told};
use super::rows::Homes;
use super::{Bound, Direction, Expiry, Keyspace, Kind, Lookup, SortedSet, StorageError, Thresholds, score_of};

#[derive(Clone, Debug)]
enum Op {
    /// Which scores are given: all, only to new members, only to others, only greater ones.
    Add(u8, Vec<(u8, u8)>, u8),
    Remove(u8, Vec<u8>),
    RemoveRanks(u8, u64, u64),
    Pop(u8, u64, bool),
    Build(u8, Vec<(u8, u8)>, bool),
}

type Members = BTreeMap<Vec<u8>, f64>;

/// `None`: a string.
type Value = Option<Members>;

type Model = kind_model::Model<Value>;

const KEYS: u8 = 3;
const NAMES: u8 = 48;
const SCORES: [f64; 10] = [0.0, -0.0, 1.0, f64::INFINITY, f64::NEG_INFINITY, -1.5, 1e300, 1.0, 0.1, 9007199254740993.0];

/// Many are longer than what stays in a row's key and begin alike, up to its last byte and not so far.
fn name(number: u8) -> Vec<u8> {
    const ALIKE: &str = "18 bytes and alike";
    match number % 6 {
        0 => number.to_string().into_bytes(),
        1 => vec![0; usize::from(number)],
        2 => ALIKE.as_bytes()[..usize::from(number) * 18 / 48].to_vec(),
        3 => format!("{ALIKE}{}", char::from(number)).into_bytes(),
        4 => [ALIKE.as_bytes(), &[number.reverse_bits(); 9]].concat(),
        _ => format!("{ALIKE} of many bytes {}", 100 - number).into_bytes(),
    }
}

fn score(number: u8) -> f64 {
    SCORES[usize::from(number) % SCORES.len()]
}

impl kind_model::Value for Value {
    fn string() -> Self {
        None
    }

    fn is_nothing(&self) -> bool {
        self.as_ref().is_some_and(Members::is_empty)
    }
}

impl Model {
    fn set(&mut self, key: u8) -> Option<&mut Members> {
        self.keys.entry(key).or_insert_with(|| (Some(Members::new()), None)).0.as_mut()
    }
}

fn ordered(members: &Members) -> Vec<(Vec<u8>, f64)> {
    let mut all: Vec<_> = members.iter().map(|(name, score)| (name.clone(), *score)).collect();
    // The names are in their order already.
    all.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap());
    all
}

fn is_wanted(which: u8, old: Option<f64>, new: f64) -> bool {
    match which {
        0 => true,
        1 => old.is_none(),
        2 => old.is_some(),
        _ => old.is_none_or(|old| new > old),
    }
}

/// Does it to both; they must answer alike.
fn apply(keyspace: &mut Keyspace, model: &mut Model, op: &Op) -> Outcome {
    match op {
        Op::Add(at, pairs, which) => {
            let names: Vec<_> = pairs.iter().map(|(n, _)| name(*n)).collect();
            let found = keyspace.sorted_set_add::<StorageError>(&key(*at), &slices(&names), |number, old| {
                let new = score(pairs[number].1);
                Ok(is_wanted(*which, old, new).then_some(new))
            });
            let found = told(found, |scored| (scored.added * 100 + scored.changed) as i64);
            let expected = model.set(*at).map_or(-1, |members| {
                let mut count = 0;
                for (name, (_, s)) in names.iter().zip(pairs) {
                    let (old, new) = (members.get(name).copied(), score(*s));
                    if is_wanted(*which, old, new) && old != Some(new) {
                        count += if old.is_none() { 100 } else { 1 };
                        members.insert(name.clone(), new);
                    }
                }
                count
            });
            prop_assert_eq!(found, expected);
        }
        Op::Remove(at, names) => {
            let names: Vec<_> = names.iter().map(|n| name(*n)).collect();
            let found = told(keyspace.sorted_set_remove(&key(*at), &slices(&names)), |removed| {
                removed.count as i64 + 100 * i64::from(removed.is_gone)
            });
            let expected = model.set(*at).map_or(-1, |members| {
                let count = names.iter().filter(|name| members.remove(*name).is_some()).count() as i64;
                count + 100 * i64::from(count > 0 && members.is_empty())
            });
            prop_assert_eq!(found, expected);
        }
        Op::RemoveRanks(at, rank, count) => {
            let found = told(keyspace.sorted_set_remove_ranks(&key(*at), *rank, *count), |removed| {
                removed.count as i64 + 100 * i64::from(removed.is_gone)
            });
            let expected = model.set(*at).map_or(-1, |members| {
                let gone: Vec<_> = ordered(members).into_iter().skip(*rank as usize).take(*count as usize).collect();
                gone.iter().for_each(|(name, _)| _ = members.remove(name));
                gone.len() as i64 + 100 * i64::from(!gone.is_empty() && members.is_empty())
            });
            prop_assert_eq!(found, expected);
        }
        Op::Pop(at, count, is_backward) => {
            let direction = if *is_backward { Direction::Backward } else { Direction::Forward };
            let mut shown = Vec::new();
            let popped = keyspace.sorted_set_pop::<StorageError>(&key(*at), *count, direction, |name, score| {
                shown.push((name.to_vec(), score));
                Ok(())
            });
            let found = told(popped, |removed| removed.count as i64 + 100 * i64::from(removed.is_gone));
            let expected = model.set(*at).map_or(-1, |members| {
                let mut all = ordered(members);
                if *is_backward {
                    all.reverse();
                }
                all.truncate(*count as usize);
                all.iter().for_each(|(name, _)| _ = members.remove(name));
                assert_eq!(bits(&shown), bits(&all));
                all.len() as i64 + 100 * i64::from(!all.is_empty() && members.is_empty())
            });
            prop_assert_eq!(found, expected);
        }
        Op::Build(at, pairs, keeps) => build(keyspace, model, (*at, *keeps), pairs)?,
    }
    Ok(())
}

fn build(keyspace: &mut Keyspace, model: &mut Model, (at, keeps): (u8, bool), pairs: &[(u8, u8)]) -> Outcome {
    let mut building = keyspace.build(Kind::SortedSet);
    let mut members = Members::new();
    for (n, s) in pairs {
        let is_new = !members.contains_key(&name(*n));
        if n % 2 == 0 || !is_new {
            prop_assert_eq!(keyspace.add_score_to(&mut building, &name(*n), score(*s)).unwrap(), is_new);
        } else {
            keyspace.add_new_score_to(&mut building, &name(*n), score(*s)).unwrap();
        }
        members.entry(name(*n)).or_insert(score(*s));
    }
    let expiry = if keeps { Expiry::Keep } else { Expiry::At(NOW_MS + 30) };
    prop_assert_eq!(keyspace.put_built(&key(at), building, expiry).unwrap(), members.len() as u64);
    let expires = if keeps { model.keys.get(&at).and_then(|entry| entry.1) } else { Some(NOW_MS + 30) };
    model.keys.insert(at, (Some(members), expires));
    Ok(())
}

/// -0 is told from 0.
fn bits(members: &[(Vec<u8>, f64)]) -> Vec<(Vec<u8>, u64)> {
    members.iter().map(|(name, score)| (name.clone(), score.to_bits())).collect()
}

fn compare(keyspace: &Keyspace, model: &Model) -> Outcome {
    for at in 0..KEYS {
        let entry = keyspace.entry(&key(at)).unwrap();
        let expected = model.keys.get(&at);
        prop_assert_eq!(entry.map(|entry| entry.expires_at_ms), expected.map(|expected| expected.1));
        let found = keyspace.sorted_set(&key(at)).unwrap();
        match (expected.map(|expected| &expected.0), found) {
            (None, Lookup::Absent) | (Some(None), Lookup::OtherKind(Kind::String)) => {}
            (Some(Some(members)), Lookup::Found(set)) => compare_set(&set, members)?,
            _ => prop_assert!(false, "key {} is something else", at),
        }
    }
    Ok(())
}

fn compare_set(set: &SortedSet<'_>, members: &Members) -> Outcome {
    let all = ordered(members);
    prop_assert_eq!(set.len(), all.len() as u64);
    // Some of all, others each time.
    for number in (0..NAMES).filter(|number| (usize::from(*number) + all.len()).is_multiple_of(4)) {
        let name = name(number);
        let expected = members.get(&name);
        prop_assert_eq!(set.score(&name).unwrap().map(f64::to_bits), expected.copied().map(f64::to_bits));
        let rank = expected.map(|score| (all.iter().position(|member| member.0 == name).unwrap() as u64, *score));
        prop_assert_eq!(set.rank(&name).unwrap(), rank);
        let of = score(number / 6);
        for is_behind in [false, true] {
            for bound in [Bound::Score { score: of, is_behind }, Bound::Member { score: of, member: &name, is_behind }]
            {
                let before = all.iter().filter(|(name, score)| bound.is_behind_of(name, *score)).count();
                prop_assert_eq!(set.count_before(bound).unwrap(), before as u64, "{:?}", bound);
            }
        }
    }
    for direction in [Direction::Forward, Direction::Backward] {
        let mut all = all.clone();
        if direction == Direction::Backward {
            all.reverse();
        }
        for (rank, count) in [(0, u64::MAX), (0, 1), (1, 3), (all.len() as u64 / 2, 5), (all.len() as u64, 1)] {
            let mut shown = Vec::new();
            set.each_from::<StorageError>(rank, count, direction, |name, score| {
                shown.push((name.to_vec(), score));
                Ok(())
            })
            .unwrap();
            let expected: Vec<_> = all.iter().skip(rank as usize).take(count.min(1000) as usize).cloned().collect();
            prop_assert_eq!(bits(&shown), bits(&expected));
        }
    }
    let (mut scanned, mut cursor) = (Members::new(), 0);
    loop {
        cursor = set
            .scan::<StorageError>(cursor, 2, |name, score| {
                scanned.insert(name.to_vec(), score);
                Ok(())
            })
            .unwrap();
        if cursor == 0 {
            break;
        }
    }
    prop_assert_eq!(bits(&ordered(&scanned)), bits(&all));
    let (mut walk, mut walked) = (set.elements().walk().unwrap(), Members::new());
    while let Some(score) = walk.score() {
        walked.insert(walk.show_name(<[u8]>::to_vec).unwrap().unwrap(), score);
        walk.advance().unwrap();
    }
    prop_assert_eq!(bits(&ordered(&walked)), bits(&all));
    let mut seen = BTreeSet::new();
    let mut numbers = (1..).map(|number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    set.random::<StorageError>(2, &mut || numbers.next().unwrap(), |name, score| {
        assert_eq!(members.get(name).map(|score| score.to_bits()), Some(score.to_bits()));
        seen.insert(name.to_vec());
        Ok(())
    })
    .unwrap();
    prop_assert_eq!(seen.len(), all.len().min(2));
    let mut each = Members::new();
    set.elements()
        .each::<StorageError>(|name, value| {
            each.insert(name.to_vec(), score_of(value)?);
            Ok(())
        })
        .unwrap();
    prop_assert_eq!(bits(&ordered(&each)), bits(&all));
    Ok(())
}

fn ops() -> impl Strategy<Value = Vec<Step<Op>>> {
    let at = || 0..KEYS;
    let name = || 0..NAMES;
    let pairs = |count| prop::collection::vec((name(), any::<u8>()), count);
    let op = prop_oneof![
        12 => (at(), pairs(1..12), prop_oneof![3 => Just(0u8), 1 => 1..4u8])
            .prop_map(|(at, pairs, which)| Op::Add(at, pairs, which)),
        // Members of one score.
        6 => (at(), prop::collection::vec((name(), Just(2u8)), 1..20)).prop_map(|(at, pairs)| Op::Add(at, pairs, 0)),
        5 => (at(), prop::collection::vec(name(), 1..8)).prop_map(|(at, names)| Op::Remove(at, names)),
        4 => (at(), 0..20u64, 0..20u64).prop_map(|(at, rank, count)| Op::RemoveRanks(at, rank, count)),
        3 => (at(), 1..6u64, any::<bool>()).prop_map(|(at, count, is_backward)| Op::Pop(at, count, is_backward)),
        3 => (at(), pairs(0..60), any::<bool>()).prop_map(|(at, pairs, keeps)| Op::Build(at, pairs, keeps)),
    ];
    let step = prop_oneof![
        33 => op.prop_map(Step::Op),
        1 => at().prop_map(Step::PutString),
        1 => at().prop_map(Step::Delete),
        1 => (at(), times()).prop_map(|(at, expires)| Step::SetExpiry(at, expires)),
        1 => (at(), at()).prop_map(|(from, to)| Step::Rename(from, to)),
        3 => (at(), at(), any::<bool>()).prop_map(|(from, to, replace)| Step::Copy(from, to, replace)),
        1 => Just(Step::Flush),
        2 => (1..9usize).prop_map(Step::Sweep),
        2 => Just(Step::Spill),
        4 => (0..6i64).prop_map(Step::Commit),
        1 => Just(Step::Rollback),
        1 => Just(Step::SetSavepoint),
        1 => Just(Step::UndoToSavepoint),
    ];
    prop::collection::vec(step, 1..60)
}

struct SortedSets;

impl Tested for SortedSets {
    type Value = Value;
    type Op = Op;

    fn apply(keyspace: &mut Keyspace, model: &mut Model, op: &Op) -> Outcome {
        apply(keyspace, model, op)
    }

    fn compare(keyspace: &Keyspace, model: &Model) -> Outcome {
        compare(keyspace, model)
    }

    fn crowd(keyspace: &mut Keyspace, homes: u64) {
        // Listpacks know no -0.
        keyspace.set_thresholds(Thresholds { zset_max_listpack_entries: 0, ..Thresholds::default() });
        keyspace.set_homes(Homes::crowded(homes));
        keyspace.crowd(Homes::crowded(homes), super::keyspace::Layout::SMALL);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn sorted_sets_agree_with_their_model(ops in ops(), homes in prop_oneof![Just(3u64), Just(1000)]) {
        run::<SortedSets>(&ops, homes, None)?;
    }

    #[test]
    fn sorted_sets_agree_with_their_model_whatever_is_merged_and_whoever_takes_over(
        ops in ops(),
        between in between(),
    ) {
        // As many homes as a writer has that `happen` makes.
        run::<SortedSets>(&ops, 6, Some(&between))?;
    }
}
