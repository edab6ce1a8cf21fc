//! Streams and their groups against a model of them: few bytes in a row, so that long entries and names lie apart, and few deletions, so that
//! trimmed entries are left to the sweeper all the time.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::engine::tests::between;
use super::kind_model::{self, Outcome, Step, Tested, key, run, times, told};
use super::rows::{Homes, crowd_files};
use super::{
    Asked, Claim, Direction, GroupRead, Keyspace, Lookup, NewId, NoGroup, Start, StorageError, Stream, StreamCounters,
    StreamId, Trim, TrimTo,
};

#[derive(Clone, Debug)]
enum Op {
    Add(u8, u64, u8, Option<Trim>),
    Delete(u8, Vec<u64>),
    Trim(u8, Trim),
    SetId(u8, u64),
    Create(u8, u8, Option<u64>),
    SetGroup(u8, u8, u64),
    Destroy(u8, u8),
    Read(u8, u8, u8, Option<u64>, u64, bool),
    Acknowledge(u8, u8, Vec<u64>),
    Claim(u8, u8, u8, Vec<u64>, i64, bool),
    ClaimFrom(u8, u8, u8, u64, u64, i64),
    DeleteConsumer(u8, u8, u8),
}

#[derive(Clone, Debug, Default)]
struct Group {
    delivered: StreamId,
    /// Owner, time, count.
    pending: BTreeMap<StreamId, (u8, i64, u64)>,
    consumers: BTreeMap<u8, (i64, Option<i64>)>,
}

#[derive(Clone, Debug, Default)]
struct Entries {
    entries: BTreeMap<StreamId, Vec<Vec<u8>>>,
    last: StreamId,
    max_deleted: StreamId,
    added: u64,
    groups: BTreeMap<u8, Group>,
}

/// `None`: a string.
type Value = Option<Entries>;

type Model = kind_model::Model<Value>;

const KEYS: u8 = 2;
const GROUPS: u8 = 3;
const CONSUMERS: u8 = 3;

impl kind_model::Value for Value {
    fn string() -> Self {
        None
    }

    fn is_nothing(&self) -> bool {
        false
    }
}

/// Few, with several of one time.
fn id(number: u64) -> StreamId {
    StreamId { ms: number / 4, seq: number % 4 }
}

fn ids(numbers: &[u64]) -> Vec<StreamId> {
    numbers.iter().map(|number| id(*number)).collect()
}

/// Some are longer than what stays in a row.
fn fields(number: u8) -> Vec<Vec<u8>> {
    let value = if number.is_multiple_of(3) {
        format!("a value that is too long for its row: {number}")
    } else {
        number.to_string()
    };
    vec![vec![b'f' + number % 2], value.into_bytes()]
}

fn name(number: u8) -> Vec<u8> {
    if number == 0 { b"a name that is too long for the key of its row".to_vec() } else { vec![b'a' + number] }
}

impl Model {
    /// The stream that is there; `Err`: what is told instead.
    fn stream(&mut self, key: u8) -> Result<&mut Entries, i64> {
        match self.keys.get_mut(&key) {
            None => Err(0),
            Some((None, _)) => Err(-1),
            Some((Some(stream), _)) => Ok(stream),
        }
    }
}

/// What a call tells that found no group: as `told` says it.
fn found<T>(lookup: super::Result<Lookup<std::result::Result<T, NoGroup>>>, number: impl Fn(T) -> i64) -> i64 {
    told(lookup, |found| match found {
        Ok(found) => number(found),
        Err(NoGroup::NoKey) => 0,
        Err(NoGroup::NoGroup) => -2,
    })
}

impl Entries {
    fn trim(&mut self, trim: &Trim, removed: Option<u64>) -> u64 {
        let goes = match trim.to {
            TrimTo::Length(length) => (self.entries.len() as u64).saturating_sub(length),
            TrimTo::Id(first) => self.entries.range(..first).count() as u64,
        };
        // How much of it goes with `~` follows from the nodes, which have tests of their own.
        let goes = removed.filter(|removed| trim.is_approximate && *removed <= goes).unwrap_or(goes);
        for _ in 0..goes {
            self.entries.pop_first();
        }
        goes
    }

    fn group(&mut self, group: u8) -> Result<&mut Group, i64> {
        self.groups.get_mut(&group).ok_or(-2)
    }
}

fn read(keyspace: &mut Keyspace, model: &mut Model, op: (u8, u8, u8, Option<u64>, u64, bool)) -> Outcome {
    let (at, group, consumer, after, count, acknowledged) = op;
    let asked = after.map_or(Asked::New, |after| Asked::Behind(id(after)));
    let read = GroupRead { asked, count, is_acknowledged: acknowledged, changes_only_served: false };
    let mut shown = Vec::new();
    let names = (name(group), name(consumer));
    let got = keyspace.group_read::<StorageError>(&key(at), (&names.0, &names.1), &read, &mut |id, fields| {
        let fields = fields.map(|fields| fields.all()).transpose()?;
        shown.push((id, fields.map(|fields| fields.into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>())));
        Ok(())
    });
    let found = found(got, |got| 1 + i64::from(got.is_served) + 2 * i64::from(got.is_new_consumer));
    let now_ms = model.now_ms;
    let mut given = Vec::new();
    let expected = model.stream(at).and_then(|stream| {
        let entries = stream.entries.clone();
        let group = stream.group(group)?;
        let is_new = !group.consumers.contains_key(&consumer);
        let known = group.consumers.entry(consumer).or_insert((now_ms, None));
        known.0 = now_ms;
        let mut is_served = true;
        if let Asked::Behind(after) = asked {
            let owned = group.pending.iter_mut().filter(|(id, (owner, ..))| **id > after && *owner == consumer);
            for (id, (_, delivered, deliveries)) in owned.take(count as usize) {
                let fields = entries.get(id).cloned();
                if fields.is_some() {
                    (*delivered, *deliveries) = (now_ms, *deliveries + 1);
                }
                given.push((*id, fields));
            }
        } else {
            let delivered = group.delivered;
            let new: Vec<_> = entries.into_iter().filter(|(id, _)| *id > delivered).collect();
            is_served = !new.is_empty();
            for (id, fields) in new.into_iter().take(count as usize) {
                group.delivered = id;
                if acknowledged {
                    group.pending.insert(id, (consumer, now_ms, 1));
                    known.1 = Some(now_ms);
                }
                given.push((id, Some(fields)));
            }
        }
        Ok(1 + i64::from(is_served) + 2 * i64::from(is_new))
    });
    prop_assert_eq!((found, shown), (expected.unwrap_or_else(|told| told), given));
    Ok(())
}

/// Claims these ids, which are pending or not. Returns which were got, and which are gone.
fn claim(
    entries: &BTreeMap<StreamId, Vec<Vec<u8>>>,
    group: &mut Group,
    (consumer, now_ms): (u8, i64),
    ids: &[StreamId],
    (idle_ms_min, is_forced): (i64, bool),
    count: usize,
) -> (Vec<StreamId>, Vec<StreamId>) {
    let (mut got, mut deleted) = (Vec::new(), Vec::new());
    group.consumers.entry(consumer).or_insert((now_ms, None)).0 = now_ms;
    for id in ids {
        if got.len() + deleted.len() == count {
            break;
        }
        let old = group.pending.get(id).copied();
        if !entries.contains_key(id) {
            if group.pending.remove(id).is_some() {
                deleted.push(*id);
            }
            continue;
        }
        let deliveries = match old {
            Some((_, delivered, _)) if now_ms - delivered < idle_ms_min => continue,
            Some((_, _, deliveries)) => deliveries + 1,
            None if is_forced => 2,
            None => continue,
        };
        group.pending.insert(*id, (consumer, now_ms, deliveries));
        group.consumers.get_mut(&consumer).unwrap().1 = Some(now_ms);
        got.push(*id);
    }
    (got, deleted)
}

/// Does it to both; they must answer alike.
fn apply(keyspace: &mut Keyspace, model: &mut Model, op: &Op) -> Outcome {
    let now_ms = model.now_ms;
    let claim_of = |idle_ms_min, is_forced| Claim {
        idle_ms_min,
        delivered_ms: now_ms,
        deliveries: None,
        counts_as_delivery: true,
        is_forced,
    };
    match op {
        Op::Add(at, number, of, trim) => {
            let parts = fields(*of);
            let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let added = keyspace.stream_add(&key(*at), NewId::Exactly(id(*number)), &slices, trim.as_ref(), false);
            let added = added.unwrap();
            let was_there = model.keys.contains_key(at);
            let value = &mut model.keys.entry(*at).or_insert_with(|| (Some(Entries::default()), None)).0;
            match (added, value) {
                (Lookup::OtherKind(_), None) => {}
                (Lookup::Found(Err(_)), Some(stream)) => {
                    prop_assert!(id(*number) <= stream.last);
                    if !was_there {
                        model.keys.remove(at);
                    }
                }
                (Lookup::Found(Ok(added)), Some(stream)) => {
                    prop_assert!(id(*number) > stream.last);
                    (stream.last, stream.added) = (id(*number), stream.added + 1);
                    stream.entries.insert(id(*number), parts);
                    let trimmed = trim.as_ref().map_or(0, |trim| stream.trim(trim, Some(added.trimmed)));
                    prop_assert_eq!(added.trimmed, trimmed);
                }
                (added, value) => prop_assert!(false, "{added:?} {value:?}"),
            }
        }
        Op::Delete(at, numbers) => {
            let found = told(keyspace.stream_delete(&key(*at), &ids(numbers)), |count| count as i64);
            let expected = model.stream(*at).map(|stream| {
                let mut count = 0;
                for id in ids(numbers) {
                    if stream.entries.remove(&id).is_some() {
                        stream.max_deleted = stream.max_deleted.max(id);
                        count += 1;
                    }
                }
                count
            });
            prop_assert_eq!(found, expected.unwrap_or_else(|told| told));
        }
        Op::Trim(at, trim) => {
            let found = told(keyspace.stream_trim(&key(*at), trim), |count| count as i64);
            let removed = u64::try_from(found).ok();
            let expected = model.stream(*at).map(|stream| stream.trim(trim, removed) as i64);
            prop_assert_eq!(found, expected.unwrap_or_else(|told| told));
        }
        Op::SetId(at, number) => {
            let counters = StreamCounters { last: id(*number), added: None, max_deleted: None };
            let found = told(keyspace.stream_set_id(&key(*at), &counters), |set| if set.is_ok() { 1 } else { 2 });
            let expected = model.stream(*at).map(|stream| {
                let top = stream.entries.last_key_value().map_or(StreamId::MIN, |(id, _)| *id);
                let may = id(*number) >= stream.max_deleted.max(top);
                if may {
                    stream.last = id(*number);
                }
                if may { 1 } else { 2 }
            });
            prop_assert_eq!(found, expected.unwrap_or_else(|told| told));
        }
        Op::Create(at, group, start) => {
            let from = (start.map_or(Start::Last, |start| Start::At(id(start))), None);
            let made =
                told(keyspace.group_create(&key(*at), &name(*group), from, true), |made| i64::from(made.is_done));
            let value = &mut model.keys.entry(*at).or_insert_with(|| (Some(Entries::default()), None)).0;
            let expected = match value {
                None => -1,
                Some(stream) if stream.groups.contains_key(group) => 0,
                Some(stream) => {
                    let delivered = start.map_or(stream.last, id);
                    stream.groups.insert(*group, Group { delivered, ..Group::default() });
                    1
                }
            };
            prop_assert_eq!(made, expected);
        }
        Op::SetGroup(at, group, number) => {
            let from = (Start::At(id(*number)), None);
            let set = found(keyspace.group_set_id(&key(*at), &name(*group), from), |()| 1);
            let expected = model.stream(*at).and_then(|stream| {
                stream.group(*group)?.delivered = id(*number);
                Ok(1)
            });
            prop_assert_eq!(set, expected.unwrap_or_else(|told| told));
        }
        Op::Destroy(at, group) => {
            let gone = told(keyspace.group_destroy(&key(*at), &name(*group)), i64::from);
            let expected = model.stream(*at).map(|stream| i64::from(stream.groups.remove(group).is_some()));
            prop_assert_eq!(gone, expected.unwrap_or_else(|told| told));
        }
        Op::Read(at, group, consumer, after, count, acknowledged) => {
            read(keyspace, model, (*at, *group, *consumer, *after, *count, *acknowledged))?;
        }
        Op::Acknowledge(at, group, numbers) => {
            let count =
                found(keyspace.group_acknowledge(&key(*at), &name(*group), &ids(numbers)), |count| count as i64);
            let expected = model.stream(*at).and_then(|stream| {
                let group = stream.group(*group)?;
                Ok(ids(numbers).iter().filter(|id| group.pending.remove(id).is_some()).count() as i64)
            });
            prop_assert_eq!(count, expected.unwrap_or_else(|told| told));
        }
        Op::Claim(at, group, consumer, numbers, idle, is_forced) => {
            let mut shown = Vec::new();
            let names = (name(*group), name(*consumer));
            let what = (&ids(numbers)[..], &claim_of(*idle, *is_forced), StreamId::MIN);
            let claimed = keyspace.group_claim::<StorageError>(&key(*at), (&names.0, &names.1), what, &mut |id, _| {
                shown.push(id);
                Ok(())
            });
            let claimed = found(claimed, |claimed| 1 + claimed.deleted.len() as i64);
            let mut got = Vec::new();
            let expected = model.stream(*at).and_then(|stream| {
                let entries = stream.entries.clone();
                let group = stream.group(*group)?;
                let by = (*consumer, now_ms);
                let (taken, deleted) = claim(&entries, group, by, &ids(numbers), (*idle, *is_forced), usize::MAX);
                got = taken;
                Ok(1 + deleted.len() as i64)
            });
            prop_assert_eq!((claimed, shown), (expected.unwrap_or_else(|told| told), got));
        }
        Op::ClaimFrom(at, group, consumer, first, count, idle) => {
            let mut shown = Vec::new();
            let names = (name(*group), name(*consumer));
            let (from, what) = ((id(*first), *count), claim_of(*idle, false));
            let claimed = keyspace.group_claim_from::<StorageError>(
                &key(*at),
                (&names.0, &names.1),
                from,
                &what,
                &mut |id, _| {
                    shown.push(id);
                    Ok(())
                },
            );
            let claimed = found(claimed, |claimed| 1 + claimed.deleted.len() as i64);
            let mut got = Vec::new();
            let expected = model.stream(*at).and_then(|stream| {
                let entries = stream.entries.clone();
                let group = stream.group(*group)?;
                let looks = 10 * *count as usize;
                let ids: Vec<StreamId> = group.pending.range(id(*first)..).map(|(id, _)| *id).take(looks).collect();
                let by = (*consumer, now_ms);
                let (taken, deleted) = claim(&entries, group, by, &ids, (*idle, false), *count as usize);
                got = taken;
                Ok(1 + deleted.len() as i64)
            });
            prop_assert_eq!((claimed, shown), (expected.unwrap_or_else(|told| told), got));
        }
        Op::DeleteConsumer(at, group, consumer) => {
            let gone = found(keyspace.consumer_delete(&key(*at), &name(*group), &name(*consumer)), |count| {
                count.map_or(1, |count| 2 + count as i64)
            });
            let expected = model.stream(*at).and_then(|stream| {
                let group = stream.group(*group)?;
                let before = group.pending.len();
                group.pending.retain(|_, (owner, ..)| owner != consumer);
                let count = (before - group.pending.len()) as i64;
                Ok(group.consumers.remove(consumer).map_or(1, |_| 2 + count))
            });
            prop_assert_eq!(gone, expected.unwrap_or_else(|told| told));
        }
    }
    Ok(())
}

fn entries_of(stream: &Stream<'_>, direction: Direction) -> Vec<(StreamId, Vec<Vec<u8>>)> {
    let mut shown = Vec::new();
    let range = StreamId::ALL;
    stream
        .range::<StorageError>(range, direction, &mut |id, fields| {
            shown.push((id, fields.all()?.into_iter().map(<[u8]>::to_vec).collect()));
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    shown
}

fn compare_stream(stream: &Stream<'_>, model: &Entries) -> Outcome {
    let head = stream.head();
    let first = model.entries.first_key_value().map_or(StreamId::MIN, |(id, _)| *id);
    let said = (head.length, head.last, head.first, head.max_deleted, head.added, head.groups);
    let length = model.entries.len() as u64;
    let groups = model.groups.len() as u64;
    prop_assert_eq!(said, (length, model.last, first, model.max_deleted, model.added, groups));
    let mut shown = entries_of(stream, Direction::Forward);
    prop_assert!(shown.iter().map(|(id, fields)| (id, fields)).eq(&model.entries));
    shown.reverse();
    prop_assert_eq!(entries_of(stream, Direction::Backward), shown);
    // As many nodes as the head says, with the entries that begin them.
    let mut nodes = 0;
    stream
        .each_of_nodes::<StorageError>(&mut |_, begins, _| {
            nodes += u64::from(begins);
            Ok(())
        })
        .unwrap();
    prop_assert_eq!(nodes, head.nodes);
    for (number, expected) in &model.groups {
        let Some(group) = stream.group(&name(*number)).unwrap() else {
            return Err(TestCaseError::fail(format!("group {number} is not there")));
        };
        prop_assert_eq!(group.delivered, expected.delivered);
        let mut consumers = BTreeMap::new();
        for consumer in stream.consumers(&group).unwrap() {
            let number = (0..CONSUMERS).find(|number| name(*number) == consumer.name).unwrap();
            let same = stream.consumer(&group, &consumer.name).unwrap();
            prop_assert_eq!(same.as_ref(), Some(&consumer));
            let mut owned = Vec::new();
            let all = StreamId::ALL;
            stream
                .pending_of::<StorageError>(&group, &consumer, all, &mut |id, _| {
                    owned.push(id);
                    Ok(ControlFlow::Continue(()))
                })
                .unwrap();
            let expected = expected.pending.iter().filter(|(_, (owner, ..))| *owner == number).map(|(id, _)| *id);
            prop_assert!(expected.eq(owned.iter().copied()) && owned.len() as u64 == consumer.pending);
            consumers.insert(number, (consumer.seen_ms, consumer.active_ms));
        }
        prop_assert_eq!(&consumers, &expected.consumers);
        let mut pending = BTreeMap::new();
        let (all, mut owners) = (StreamId::ALL, stream.owners(&group));
        stream
            .pending::<StorageError>(&group, all, &mut |id, found| {
                let owner = owners.name(&found)?;
                let owner = (0..CONSUMERS).find(|number| name(*number) == owner).unwrap();
                pending.insert(id, (owner, found.delivered_ms, found.deliveries));
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        prop_assert_eq!(&pending, &expected.pending);
        let bounds = expected.pending.keys().next().copied().zip(expected.pending.keys().next_back().copied());
        prop_assert_eq!(stream.pending_bounds(&group).unwrap(), bounds);
    }
    Ok(())
}

fn compare(keyspace: &Keyspace, model: &Model) -> Outcome {
    for at in 0..KEYS {
        let entry = keyspace.entry(&key(at)).unwrap();
        prop_assert_eq!(entry.map(|entry| entry.expires_at_ms), model.keys.get(&at).map(|expected| expected.1));
        match (keyspace.stream(&key(at)).unwrap(), model.keys.get(&at)) {
            (Lookup::Absent, None) | (Lookup::OtherKind(_), Some((None, _))) => {}
            (Lookup::Found(stream), Some((Some(model), _))) => compare_stream(&stream, model)?,
            (_, expected) => prop_assert!(false, "{at}: {expected:?}"),
        }
    }
    Ok(())
}

fn trim() -> impl Strategy<Value = Trim> {
    let to = prop_oneof![(0..8u64).prop_map(TrimTo::Length), (0..60u64).prop_map(|number| TrimTo::Id(id(number)))];
    (to, any::<bool>(), prop_oneof![Just(0), 0..6u64]).prop_map(|(to, is_approximate, entries_max)| Trim {
        to,
        is_approximate,
        entries_max: if is_approximate { entries_max } else { 0 },
    })
}

fn ops() -> impl Strategy<Value = Vec<Step<Op>>> {
    let keys = || 0..KEYS;
    let groups = || 0..GROUPS;
    let consumers = || 0..CONSUMERS;
    let numbers = || prop::collection::vec(0..60u64, 1..5);
    let op = prop_oneof![
        16 => (keys(), 0..60u64, any::<u8>(), prop::option::weighted(0.3, trim())).prop_map(|(k, n, f, t)| Op::Add(k, n, f, t)),
        3 => (keys(), numbers()).prop_map(|(k, n)| Op::Delete(k, n)),
        2 => (keys(), trim()).prop_map(|(k, t)| Op::Trim(k, t)),
        1 => (keys(), 0..60u64).prop_map(|(k, n)| Op::SetId(k, n)),
        3 => (keys(), groups(), prop::option::of(0..60u64)).prop_map(|(k, g, s)| Op::Create(k, g, s)),
        1 => (keys(), groups(), 0..60u64).prop_map(|(k, g, n)| Op::SetGroup(k, g, n)),
        1 => (keys(), groups()).prop_map(|(k, g)| Op::Destroy(k, g)),
        6 => (keys(), groups(), consumers(), prop::option::weighted(0.3, 0..60u64), 1..6u64, prop::bool::weighted(0.8))
            .prop_map(|(k, g, c, a, n, y)| Op::Read(k, g, c, a, n, y)),
        3 => (keys(), groups(), numbers()).prop_map(|(k, g, n)| Op::Acknowledge(k, g, n)),
        2 => (keys(), groups(), consumers(), numbers(), 0..3i64, any::<bool>())
            .prop_map(|(k, g, c, n, i, f)| Op::Claim(k, g, c, n, i, f)),
        2 => (keys(), groups(), consumers(), 0..60u64, 1..4u64, 0..3i64)
            .prop_map(|(k, g, c, f, n, i)| Op::ClaimFrom(k, g, c, f, n, i)),
        1 => (keys(), groups(), consumers()).prop_map(|(k, g, c)| Op::DeleteConsumer(k, g, c)),
    ];
    let step = prop_oneof![
        40 => op.prop_map(Step::Op),
        1 => keys().prop_map(Step::PutString),
        1 => keys().prop_map(Step::Delete),
        2 => (keys(), times()).prop_map(|(k, t)| Step::SetExpiry(k, t)),
        1 => (keys(), keys()).prop_map(|(a, b)| Step::Rename(a, b)),
        2 => (keys(), keys(), any::<bool>()).prop_map(|(a, b, r)| Step::Copy(a, b, r)),
        1 => Just(Step::Flush),
        2 => (1..5usize).prop_map(Step::Sweep),
        1 => Just(Step::Spill),
        4 => (0..3i64).prop_map(Step::Commit),
        1 => Just(Step::Rollback),
        1 => Just(Step::SetSavepoint),
        1 => Just(Step::UndoToSavepoint),
    ];
    prop::collection::vec(step, 1..100)
}

struct Streams;

impl Tested for Streams {
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
        let thresholds = super::Thresholds { stream_node_max_entries: 3, ..super::Thresholds::default() };
        keyspace.set_thresholds(thresholds);
    }

    /// No entry lies there that no stream has, and nothing of a group that is gone.
    fn compare_files(keyspace: &Keyspace, model: &Model) -> Outcome {
        let rows = |sql: &str| keyspace.connection().query_row(sql, [], |row| row.get::<_, u64>(0)).unwrap();
        let streams = || model.keys.values().filter_map(|(value, _)| value.as_ref());
        let entries: usize = streams().map(|stream| stream.entries.len()).sum();
        let pending: usize = streams().flat_map(|stream| stream.groups.values()).map(|group| group.pending.len()).sum();
        prop_assert_eq!(rows("SELECT count(*) FROM stream_entry"), entries as u64);
        prop_assert_eq!(rows("SELECT count(*) FROM stream_pending"), pending as u64);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn streams_agree_with_their_model(ops in ops()) {
        run::<Streams>(&ops, 6, None)?;
    }

    #[test]
    fn streams_agree_with_their_model_whatever_is_merged_and_whoever_takes_over(ops in ops(), between in between()) {
        run::<Streams>(&ops, 6, Some(&between))?;
    }
}
