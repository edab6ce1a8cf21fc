//! Rows in a sorted map: the snapshot that a batch and a view are tried on, and what they must come to.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use proptest::prelude::*;

use super::{
    Apart, Batch, Between, Direction, ElementRow, Head, KeyRow, Kind, Name, Origin, Part, Passing, Range, Row, RowKey,
    Snapshot, Stretch, Table, View,
};
use crate::storage::error::Result;

type Show<'a> = &'a mut dyn FnMut(RowKey<'_>, Row<'_>) -> ControlFlow<()>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::storage) enum Owned {
    Orphan,
    OrphanItems(u64),
    OrphanEntries(super::StreamId),
    Chunk(Vec<u8>),
    Element(Vec<u8>, Option<Apart>),
    Key(Head, Option<Vec<u8>>),
    Database(u64),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::storage) struct Rows(pub(in crate::storage) BTreeMap<(Table, u128, Vec<u8>), Owned>);

impl Owned {
    pub(in crate::storage) fn of(row: Row<'_>) -> Self {
        match row {
            Row::Orphan => Self::Orphan,
            Row::OrphanItems(position) => Self::OrphanItems(position),
            Row::OrphanEntries(id) => Self::OrphanEntries(id),
            Row::Chunk(bytes) => Self::Chunk(bytes.to_vec()),
            Row::Element(row) => Self::Element(row.value.to_vec(), row.apart),
            Row::Key(row) => Self::Key(row.head, row.value.map(<[u8]>::to_vec)),
            Row::Database(space) => Self::Database(space),
        }
    }

    pub(in crate::storage) fn row(&self) -> Row<'_> {
        match self {
            Self::Orphan => Row::Orphan,
            Self::OrphanItems(position) => Row::OrphanItems(*position),
            Self::OrphanEntries(id) => Row::OrphanEntries(*id),
            Self::Chunk(bytes) => Row::Chunk(bytes),
            Self::Element(value, apart) => Row::Element(ElementRow { value, apart: *apart }),
            Self::Key(head, value) => Row::Key(KeyRow { head: *head, value: value.as_deref() }),
            Self::Database(space) => Row::Database(*space),
        }
    }

    fn head_only(&self) -> Self {
        match self {
            Self::Key(head, _) => Self::Key(*head, None),
            other => other.clone(),
        }
    }
}

fn owned(key: RowKey<'_>) -> (Table, u128, Vec<u8>) {
    (key.table(), key.fields(), key.tail().to_vec())
}

impl Rows {
    fn apply(&mut self, batch: &Batch) {
        let applied: std::result::Result<(), ()> = batch.in_order(|changed| {
            match changed.row {
                Some(row) => self.0.insert(owned(changed.key), Owned::of(row)),
                None => self.0.remove(&owned(changed.key)),
            };
            Ok(())
        });
        applied.unwrap();
    }
}

impl Snapshot for Rows {
    fn row<R>(&self, key: RowKey<'_>, part: Part, show: impl FnOnce(Row<'_>) -> R) -> Result<Option<R>> {
        let found = self.0.get(&owned(key));
        Ok(found.map(|row| if part == Part::Head { show(row.head_only().row()) } else { show(row.row()) }))
    }

    fn scan(&self, range: Range, show: &mut dyn FnMut(RowKey<'_>, Row<'_>) -> ControlFlow<()>) -> Result<()> {
        for ((table, fields, tail), row) in &self.0 {
            let key = RowKey::new(*table, *fields, tail);
            let (of, first, last) = range.bounds();
            let is_within = *table == of && (first..=last).contains(fields);
            if is_within && show(key, row.head_only().row()).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn walk(&self, stretch: Stretch<'_>, show: &mut dyn FnMut(RowKey<'_>, Row<'_>) -> ControlFlow<()>) -> Result<()> {
        let mut within = Vec::new();
        self.scan(stretch.range(), &mut |key, row| {
            within.push((owned(key), Owned::of(row)));
            ControlFlow::Continue(())
        })?;
        if stretch.direction == Direction::Backward {
            within.reverse();
        }
        for (name, row) in &within {
            let key = RowKey::new(name.0, name.1, &name.2);
            if !stretch.direction.is_before(key, stretch.first()) && show(key, row.row()).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn total(&self, _: Between<'_>) -> Result<Option<u64>> {
        Ok(None)
    }
}

#[derive(Clone, Debug)]
enum Op {
    Put(u8, u8, bool),
    Delete(u8, bool),
    Mark,
    /// To one of the marks that stand.
    Undo(usize),
    Apply,
}

/// Few rows of all tables, many of them at the same position.
fn name(number: u8) -> (Table, u128, Vec<u8>) {
    let bytes = [number / 5];
    owned(match number % 8 {
        0 => RowKey::key(1, u64::from(number / 16), &bytes),
        1 => RowKey::key(2, u64::from(number / 16), &bytes),
        2 => RowKey::chunk(i64::from(number / 20), u64::from(number / 5)),
        3 => RowKey::orphan_value(i64::from(number)),
        4 => RowKey::element(Table::HashField, i64::from(number / 30), u64::from(number / 20), &bytes),
        5 => RowKey::element(Table::SetMember, i64::from(number / 30), u64::from(number / 20), &bytes),
        6 => RowKey::element(Table::SortedOrder, i64::from(number / 40), u64::from(number / 20), &bytes),
        _ => RowKey::database(number % 16),
    })
}

fn row(table: Table, value: u8) -> Owned {
    let expires_at_ms = (value.is_multiple_of(3)).then_some(i64::from(value));
    let head = Head {
        kind: Kind::String,
        id: (value.is_multiple_of(4)).then_some(7),
        expires_at_ms,
        length: u64::from(value),
    };
    match table {
        Table::Orphan => Owned::Orphan,
        Table::Chunk => Owned::Chunk(vec![value; usize::from(value)]),
        Table::Database => Owned::Database(u64::from(value)),
        Table::HashField | Table::SetMember | Table::ListItem | Table::ListCount => {
            let apart =
                (value.is_multiple_of(5)).then_some(Apart { id: i64::from(value), name_bytes: 0, value_bytes: 9 });
            let bytes = if apart.is_some() { 0 } else { usize::from(value % 4) };
            Owned::Element(vec![value; bytes], apart)
        }
        Table::SortedOrder => Owned::Element(if value.is_multiple_of(3) { vec![1] } else { Vec::new() }, None),
        Table::SortedMember | Table::CountBlock => Owned::Element(vec![value; 8], None),
        Table::CountSum => Owned::Element(vec![value; 16], None),
        Table::StreamEntry | Table::StreamConsumer | Table::StreamConsumerName | Table::StreamPending => {
            Owned::Element(vec![value; 1 + usize::from(value % 4)], None)
        }
        Table::StreamGroup => {
            let apart = Apart { id: i64::from(value), name_bytes: 0, value_bytes: 0 };
            Owned::Element(vec![value; 1 + usize::from(value % 4)], Some(apart))
        }
        Table::StreamOwned => Owned::Element(Vec::new(), None),
        Table::Key => Owned::Key(head, (value.is_multiple_of(2)).then(|| vec![value; 3])),
    }
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        12 => (0..80u8, any::<u8>(), any::<bool>()).prop_map(|(name, value, is_blind)| Op::Put(name, value, is_blind)),
        5 => (0..80u8, any::<bool>()).prop_map(|(name, is_blind)| Op::Delete(name, is_blind)),
        2 => Just(Op::Mark),
        2 => (0..4usize).prop_map(Op::Undo),
        1 => Just(Op::Apply),
    ];
    prop::collection::vec(op, 1..200)
}

fn origin(rows: &Rows, batch: &Batch, key: RowKey<'_>, is_blind: bool) -> Origin {
    if is_blind || batch.knows(key) || key.table() != Table::Key {
        return Origin::Blind;
    }
    Origin::of(rows.row(key, Part::Head, |row| row.of_key().head).unwrap().as_ref())
}

fn compare(batch: &Batch, below: &Rows, expected: &Rows) {
    let view = View { batch, snapshot: below };
    for number in 0..80 {
        let name = name(number);
        let key = RowKey::new(name.0, name.1, &name.2);
        assert_eq!(view.row(key, Part::Whole, Owned::of).unwrap().as_ref(), expected.0.get(&name));
    }
    for range in [
        Range::Keys { space: 1, first: 0, last: 999 },
        Range::Keys { space: 1, first: 2, last: 3 },
        Range::Keys { space: 2, first: 1, last: 9 },
        Range::Chunks { id: 1, first: 0, last: 999 },
        Range::Elements { table: Table::HashField, id: 1, first: 0, last: 999 },
        Range::Elements { table: Table::SetMember, id: 0, first: 1, last: 1 },
    ] {
        for count in [0, 1, 3, usize::MAX] {
            let walk = |scan: &dyn Fn(Show<'_>)| {
                let mut seen = Vec::new();
                scan(&mut |key, row| {
                    seen.push((owned(key), Owned::of(row).head_only()));
                    if seen.len() > count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
                seen
            };
            let found = walk(&|show| view.scan(range, show).unwrap());
            assert_eq!(found, walk(&|show| expected.scan(range, show).unwrap()));
        }
    }
    for direction in [Direction::Forward, Direction::Backward] {
        for (id, position, tail, end) in
            [(0, 0, &b""[..], 9), (0, 1, &[5], 1), (1, 2, &[12], 4), (1, 3, &[15, 0], 9), (1, 3, &[14, 255], 0)]
        {
            let stretch = Stretch { table: Table::SortedOrder, id, begin: (position, tail), end, direction };
            for count in [0, 2, usize::MAX] {
                let walk_so_far = |rows_max: usize, walk: &dyn Fn(Show<'_>)| {
                    let mut seen = Vec::new();
                    walk(&mut |key, row| {
                        seen.push((owned(key), Owned::of(row)));
                        if seen.len() > rows_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                    });
                    seen
                };
                let walk = |walk: &dyn Fn(Show<'_>)| walk_so_far(count, walk);
                let found = walk(&|show| view.walk(stretch, show).unwrap());
                assert_eq!(found, walk(&|show| expected.walk(stretch, show).unwrap()));
                for passed in [0, 1, 2, 40] {
                    let found = walk(&|show| view.walk_passing(stretch, &mut Passing::rows(passed), show).unwrap());
                    let all = walk_so_far(usize::MAX, &|show| expected.walk(stretch, show).unwrap());
                    let behind = all.into_iter().skip(passed as usize);
                    assert!(behind.take(count.saturating_add(1)).eq(found));
                }
            }
        }
    }
    for space in [1, 2] {
        let count = |rows: &Rows| {
            let (mut keys, mut expires) = (0, 0);
            for ((table, fields, tail), row) in &rows.0 {
                let is_of =
                    matches!(RowKey::new(*table, *fields, tail).name(), Name::Key { space: of, .. } if of == space);
                keys += i64::from(is_of);
                expires += i64::from(is_of && matches!(row, Owned::Key(head, _) if head.expires_at_ms.is_some()));
            }
            (keys, expires)
        };
        let (before, after) = (count(below), count(expected));
        assert_eq!(view.count_changes(space).unwrap(), (after.0 - before.0, after.1 - before.1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_batch_over_a_snapshot_is_the_snapshot_with_the_changes_that_were_not_undone(ops in ops()) {
        let (mut below, mut expected) = (Rows::default(), Rows::default());
        let mut batch = Batch::default();
        let mut marks = Vec::new();
        for op in &ops {
            match op {
                Op::Put(number, value, is_blind) => {
                    let name = name(*number);
                    let key = RowKey::new(name.0, name.1, &name.2);
                    let row = row(name.0, *value);
                    batch.put(key, row.row(), origin(&below, &batch, key, *is_blind)).unwrap();
                    expected.0.insert(name, row);
                }
                Op::Delete(number, is_blind) => {
                    let name = name(*number);
                    let key = RowKey::new(name.0, name.1, &name.2);
                    batch.delete(key, origin(&below, &batch, key, *is_blind)).unwrap();
                    expected.0.remove(&name);
                }
                Op::Mark => marks.push((batch.savepoint(), expected.clone())),
                Op::Undo(number) => {
                    if *number < marks.len() {
                        let (mark, then) = marks[*number].clone();
                        batch.undo_to(mark);
                        marks.truncate(*number);
                        expected = then;
                    }
                }
                Op::Apply => {
                    below.apply(&batch);
                    batch.clear();
                    marks.clear();
                }
            }
            compare(&batch, &below, &expected);
        }
        below.apply(&batch);
        prop_assert_eq!(below, expected);
    }
}

#[test]
fn the_origin_of_a_row_is_that_of_its_first_change_that_stands() {
    let mut batch = Batch::default();
    let key = RowKey::key(1, 5, b"k");
    let row = row(Table::Key, 2);
    let origin = |batch: &Batch| {
        let mut found = Vec::new();
        batch
            .each(|changed| {
                found.push(changed.origin);
                Ok::<_, ()>(())
            })
            .unwrap();
        found
    };
    let mark = batch.savepoint();
    batch.put(key, row.row(), Origin::Absent).unwrap();
    batch.delete(key, Origin::Blind).unwrap();
    assert_eq!(origin(&batch), [Origin::Absent]);
    batch.undo_to(mark);
    assert_eq!(origin(&batch), []);
    assert!(!batch.knows(key) && batch.find(key).is_none());
    batch.put(key, row.row(), Origin::Blind).unwrap();
    batch.put(key, row.row(), Origin::Absent).unwrap();
    assert_eq!(origin(&batch), [Origin::Blind]);
}
