//! Generations into the tables of a temporary file. A generation is what a group's batch had: its rows say the same of the tables as those
//! of many groups.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::{Merger, Rows, Slice};
use crate::storage::error::{Result, StorageError};
use crate::storage::fixture::{Fixture, NOW_MS};
use crate::storage::model::{Model, Op, apply, compare, ops, verify};
use crate::storage::points::{Point, listen, pass};
use crate::storage::rows::{Batch, Head, Origin, Row, RowKey, Table};
use crate::storage::sqlite::Base;
use crate::storage::{Asked, Expiry, GroupRead, Keyspace, Lookup, NewId, Start, StreamId};

type Name = (Table, u128, Vec<u8>);

/// None: it is deleted.
type Change = (Name, Option<Vec<u8>>, Origin);

/// A generation and how far it was shown.
#[derive(Clone, Default)]
struct Generation {
    rows: Rc<Vec<Change>>,
    at: usize,
}

impl Generation {
    fn of(batch: &Batch) -> Self {
        let mut rows = Vec::new();
        batch
            .in_order(|changed| {
                let key = changed.key;
                let bytes = changed.row.map(|row| {
                    let mut bytes = Vec::new();
                    row.write(&mut bytes);
                    bytes
                });
                rows.push(((key.table(), key.fields(), key.tail().to_vec()), bytes, changed.origin));
                Ok::<_, ()>(())
            })
            .unwrap();
        Self { rows: Rc::new(rows), at: 0 }
    }

    fn names(&self) -> BTreeSet<Name> {
        self.rows.iter().map(|(name, ..)| name.clone()).collect()
    }
}

impl Rows for Generation {
    fn next(&mut self, show: super::merger::Show<'_>) -> Result<bool> {
        let Some(((table, fields, tail), row, origin)) = self.rows.get(self.at) else { return Ok(false) };
        self.at += 1;
        let row = row.as_ref().map(|bytes| Row::checked(*table, bytes).unwrap());
        show(RowKey::checked(*table, *fields, tail).unwrap(), row, *origin)?;
        Ok(true)
    }
}

/// Ends the group: what it has changed is a generation now, and the tables have nothing of it but what was written ahead.
fn freeze(keyspace: &mut Keyspace) -> Generation {
    let generation = Generation::of(&keyspace.batch);
    keyspace.batch.clear();
    keyspace.commit().unwrap();
    generation
}

/// Whether the generation has something of the key, or of its value.
fn is_named(names: &BTreeSet<Name>, key: RowKey<'_>, head: &Head) -> bool {
    let is_of_value = |name: &Name| name.0 == Table::Chunk && head.id == Some((name.1 >> 64) as i64);
    names.contains(&(key.table(), key.fields(), key.tail().to_vec())) || names.iter().any(is_of_value)
}

fn group(fixture: &mut Fixture, change: impl FnOnce(&mut Keyspace)) -> Generation {
    fixture.writer.begin_write(NOW_MS).unwrap();
    change(&mut fixture.writer);
    freeze(&mut fixture.writer)
}

fn slice(merger: &mut Merger<Generation>, base: &mut Base, number: u64, rows: &Generation) -> Result<Slice> {
    let mut finish = |base: &mut Base| {
        let merged = base.merged()?;
        base.store_merged(&crate::storage::sqlite::Merged { generation: number, ..merged })
    };
    merger.slice(base, number, || rows.clone(), Duration::ZERO, &mut finish)
}

fn merge(merger: &mut Merger<Generation>, base: &mut Base, number: u64, rows: &Generation) {
    while !slice(merger, base, number, rows).unwrap().is_last {}
}

fn merged(base: &mut Base) -> u64 {
    base.begin_read().unwrap();
    let merged = base.merged().unwrap().generation;
    base.end_read().unwrap();
    merged
}

#[test]
fn a_generation_comes_in_slices_and_is_in_the_tables_with_the_last() {
    let mut fixture = Fixture::crowded();
    let rows = group(&mut fixture, |keyspace| {
        (0..20u8).for_each(|n| keyspace.put_string(&[n], &vec![n; usize::from(n)], Expiry::Clear).unwrap());
        keyspace.select(1);
        keyspace.put_string(b"ends", b"v", Expiry::At(NOW_MS + 5)).unwrap();
        keyspace.swap_databases(1, 2).unwrap();
        keyspace.select(0);
    });
    let mut merger = Merger::new(0);
    let mut slices = 0;
    loop {
        assert_eq!(merged(&mut fixture.writer), 0);
        slices += 1;
        if slice(&mut merger, &mut fixture.writer, 1, &rows).unwrap().is_last {
            break;
        }
    }
    assert!(slices > 10, "{slices}");
    assert_eq!((merged(&mut fixture.writer), merger.rows_done()), (1, 0));
    fixture.write(|keyspace| {
        assert_eq!(keyspace.key_count().unwrap(), 20);
        assert_eq!(keyspace.string(&[19]).unwrap(), Lookup::Found(vec![19; 19]));
        keyspace.select(2);
        assert_eq!((keyspace.key_count().unwrap(), keyspace.expires_count().unwrap()), (1, 1));
        assert_eq!(keyspace.next_expiry().unwrap(), Some(NOW_MS + 5));
        keyspace.select(0);
        assert_eq!(keyspace.verify().unwrap().problems, [""; 0]);
    });
}

#[test]
fn what_a_merge_gives_up_is_not_swept_before_it_ends() {
    let mut fixture = Fixture::crowded();
    let big = |n: u8| vec![n; 30];
    let rows = group(&mut fixture, |keyspace| {
        (0..9u8).for_each(|n| keyspace.put_string(&[n], &big(n), Expiry::Clear).unwrap());
    });
    let mut merger = Merger::new(0);
    merge(&mut merger, &mut fixture.writer, 1, &rows);
    let rows = group(&mut fixture, |keyspace| {
        (0..9u8).for_each(|n| assert!(keyspace.delete(&[n]).unwrap()));
    });
    let sweep = |fixture: &mut Fixture| {
        let mut swept = 0;
        while let rows @ 1.. = fixture.write(|keyspace| keyspace.store.sweep_orphans(1000)).unwrap() {
            swept += rows;
        }
        swept
    };
    // A successor does not know what was given up before.
    for again in [false, true] {
        let mut merger = Merger::new(if again { 1 } else { 0 });
        for _ in 0..6 {
            assert!(!slice(&mut merger, &mut fixture.writer, 2, &rows).unwrap().is_last);
            assert_eq!(sweep(&mut fixture), 0, "{again}");
        }
        if again {
            while !slice(&mut merger, &mut fixture.writer, 2, &rows).unwrap().is_last {
                assert_eq!(sweep(&mut fixture), 0);
            }
        }
    }
    assert!(sweep(&mut fixture) >= 9 * 4);
    fixture.write(|keyspace| {
        assert_eq!(keyspace.orphans_left().unwrap(), 0);
        assert_eq!(keyspace.verify().unwrap().problems, [""; 0]);
    });
}

#[test]
fn what_hangs_on_the_groups_of_a_stream_that_is_given_up_is_given_up_too() {
    let mut fixture = Fixture::crowded();
    // The first that a merger meets may have been begun by another one: while it is at that, nothing is swept.
    let rows = group(&mut fixture, |keyspace| keyspace.put_string(b"k", b"v", Expiry::Clear).unwrap());
    let mut merger = Merger::new(0);
    merge(&mut merger, &mut fixture.writer, 1, &rows);
    let id = |ms| StreamId { ms, seq: 0 };
    let rows = group(&mut fixture, |keyspace| {
        for ms in 1..9 {
            let added = keyspace.stream_add(b"s", NewId::Exactly(id(ms)), &[b"f", b"v"], None, false).unwrap();
            assert!(matches!(added, Lookup::Found(Ok(_))));
        }
        let made = keyspace.group_create(b"s", b"g", (Start::At(StreamId::MIN), None), false).unwrap();
        assert!(matches!(made, Lookup::Found(_)));
        let read = GroupRead { asked: Asked::New, count: 8, is_acknowledged: true, changes_only_served: false };
        let mut shown = 0;
        let got = keyspace.group_read::<StorageError>(b"s", (b"g", b"c"), &read, &mut |_, _| {
            shown += 1;
            Ok(())
        });
        assert!(matches!(got.unwrap(), Lookup::Found(Ok(_))));
        assert_eq!((shown, keyspace.delete(b"s").unwrap()), (8, true));
    });
    // The group's row comes before those of its consumers, and of what is pending.
    let sweep = |fixture: &mut Fixture| {
        while fixture.write(|keyspace| keyspace.store.sweep_orphans(1000)).unwrap() > 0 {}
    };
    while !slice(&mut merger, &mut fixture.writer, 2, &rows).unwrap().is_last {
        sweep(&mut fixture);
    }
    sweep(&mut fixture);
    fixture.write(|keyspace| {
        assert_eq!(keyspace.orphans_left().unwrap(), 0);
        assert_eq!(keyspace.verify().unwrap().problems, [""; 0]);
        let left = |table: &str| {
            let sql = format!("SELECT count(*) FROM {table}");
            keyspace.connection().query_row(&sql, [], |row| row.get::<_, u64>(0)).unwrap()
        };
        assert_eq!(["stream_group", "stream_consumer", "stream_pending", "stream_owned"].map(left), [0; 4]);
    });
}

#[test]
fn an_expired_key_waits_for_its_newer_row() {
    let mut fixture = Fixture::new();
    fixture.write(|keyspace| {
        for key in [b"a", b"b", b"c"] {
            keyspace.put_string(key, b"v", Expiry::At(NOW_MS + 1)).unwrap();
        }
    });
    let rows = group(&mut fixture, |keyspace| {
        keyspace.put_string(b"b", b"w", Expiry::At(NOW_MS + 1)).unwrap();
    });
    let names = rows.names();
    let mut is_unmerged = |key: RowKey<'_>, head: &Head| Ok(is_named(&names, key, head));
    for _ in 0..3 {
        fixture.writer.begin_write(NOW_MS + 2).unwrap();
        fixture.writer.store.sweep_expired(NOW_MS + 2, 100, &mut is_unmerged, &mut |_, _| {}).unwrap();
        fixture.writer.commit().unwrap();
    }
    let left = |fixture: &mut Fixture| fixture.write(|keyspace| keyspace.key_count()).unwrap();
    assert_eq!(left(&mut fixture), 1);
    merge(&mut Merger::new(0), &mut fixture.writer, 1, &rows);
    assert_eq!(left(&mut fixture), 1, "it merges as it is");
    assert_eq!(fixture.write_at(NOW_MS + 2, |keyspace| keyspace.sweep_expired(100)).unwrap(), 1);
    assert_eq!(left(&mut fixture), 0);
}

#[test]
fn a_row_that_cannot_be_written_is_put_aside_and_the_others_come() {
    let mut fixture = Fixture::new();
    fixture.write(|keyspace| {
        (0..30u8).for_each(|n| keyspace.put_string(&[n], &[n; 3000], Expiry::Clear).unwrap());
        keyspace.damage_row(&[7]).unwrap();
        keyspace.damage_row(&[8]).unwrap();
    });
    let rows = group(&mut fixture, |keyspace| {
        let ids = (100..130).collect::<Vec<i64>>();
        for (n, id) in (0..30u8).zip(ids) {
            let key = [n];
            let name = keyspace_name(keyspace, &key);
            let head = crate::storage::Entry {
                kind: crate::storage::Kind::String,
                id: Some(id),
                expires_at_ms: None,
                length: 9,
            };
            let row = Row::Key(crate::storage::rows::KeyRow { head, value: None });
            keyspace.batch.put(name, row, Origin::Blind).unwrap();
        }
    });
    let mut merger = Merger::new(0);
    let mut failures = 0;
    loop {
        match slice(&mut merger, &mut fixture.writer, 1, &rows) {
            Ok(slice) if slice.is_last => break,
            Ok(_) => {}
            Err(error) => {
                assert!(error.is_of_the_call(), "{error}");
                failures += 1;
            }
        }
    }
    assert!((2..=4).contains(&failures), "{failures}");
    assert_eq!(merger.left_out(), 2);
    let number = |sql: &str| fixture.writer.connection().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(number("SELECT count(*) FROM left_out WHERE generation = 1 AND row IS NOT NULL"), 2);
    assert_eq!(number("SELECT count(*) FROM keyspace WHERE id >= 100"), 28);
}

fn keyspace_name<'k>(keyspace: &Keyspace, key: &'k [u8]) -> RowKey<'k> {
    RowKey::key(1, keyspace.store.homes().position(key), key)
}

#[test]
fn a_full_disk_stops_a_merge_and_room_lets_it_go_on() {
    let mut fixture = Fixture::new();
    let rows = group(&mut fixture, |keyspace| {
        (0..2000u32).for_each(|n| keyspace.put_string(&n.to_le_bytes(), &[1; 900], Expiry::Clear).unwrap());
    });
    let set_page_limit = |fixture: &Fixture, pages: u32| {
        let sql = format!("PRAGMA max_page_count = {pages}");
        fixture.writer.connection().query_row(&sql, [], |_| Ok(())).unwrap();
    };
    set_page_limit(&fixture, 300);
    let mut merger = Merger::new(0);
    let error = loop {
        match slice(&mut merger, &mut fixture.writer, 1, &rows) {
            Ok(slice) => assert!(!slice.is_last),
            Err(error) => break error,
        }
    };
    assert_eq!(error, StorageError::Full);
    let done = merger.rows_done();
    assert!(done > 100);
    assert_eq!(slice(&mut merger, &mut fixture.writer, 1, &rows), Err(StorageError::Full));
    assert_eq!(merger.rows_done(), done);
    set_page_limit(&fixture, 100_000);
    merge(&mut merger, &mut fixture.writer, 1, &rows);
    fixture.write(|keyspace| {
        assert_eq!(keyspace.key_count().unwrap(), 2000);
        assert_eq!(keyspace.verify().unwrap().problems, [""; 0]);
    });
    assert_eq!(merger.left_out(), 0);
}

#[test]
fn the_rest_of_a_generation_and_all_of_the_next_come_with_a_group_or_not_at_all() {
    let mut fixture = Fixture::crowded();
    let first = group(&mut fixture, |keyspace| {
        (0..20u8).for_each(|n| keyspace.put_string(&[n], &[n; 20], Expiry::Clear).unwrap());
    });
    let mut merger = Merger::new(0);
    slice(&mut merger, &mut fixture.writer, 1, &first).unwrap();
    // Of keys that it has not seen.
    let second = group(&mut fixture, |keyspace| {
        (30..40u8).for_each(|n| keyspace.put_string(&[n], &[n; 20], Expiry::Clear).unwrap());
    });
    for is_committed in [false, true] {
        fixture.writer.begin_write(NOW_MS).unwrap();
        merger.all(&mut fixture.writer, 1, || unreachable!("it is at work")).unwrap();
        merger.all(&mut fixture.writer, 2, || second.clone()).unwrap();
        fixture.writer.put_string(b"direct", b"v", Expiry::Clear).unwrap();
        if is_committed {
            fixture.writer.commit().unwrap();
            merger.committed(&mut fixture.writer);
        } else {
            fixture.writer.rollback().unwrap();
            merger.rolled_back(&mut fixture.writer);
            slice(&mut merger, &mut fixture.writer, 1, &first).unwrap();
        }
    }
    fixture.write(|keyspace| {
        assert_eq!(keyspace.key_count().unwrap(), 31);
        assert_eq!(keyspace.verify().unwrap().problems, [""; 0]);
    });
}

/// The number of points that are passed before the writer dies; 0: it lives on.
fn die_after(points: u32) {
    let left = Rc::new(Cell::new(points));
    listen((points > 0).then(|| -> Rc<dyn Fn(Point)> {
        Rc::new(move |point| {
            if point == Point::WalSynced {
                return;
            }
            left.set(left.get() - 1);
            if left.get() == 0 {
                listen(None);
                std::panic::resume_unwind(Box::new("dies"));
            }
        })
    }));
}

/// Slices of a generation, and sweeping between them; the writer dies as often as `deaths` says, and its successor begins anew.
fn merge_with_deaths(fixture: &mut Fixture, number: u64, rows: &Generation, now_ms: i64, deaths: &mut Vec<u32>) {
    let names = rows.names();
    loop {
        let merger = &mut Merger::new(merged(&mut fixture.writer));
        let is_done = merger_is_done(number, merger);
        if is_done || run_slices(fixture, merger, number, rows, (now_ms, &names), deaths) {
            return;
        }
        fixture.reopen_writer();
        Fixture::crowd_keyspace(&mut fixture.writer);
    }
}

fn merger_is_done(number: u64, merger: &Merger<Generation>) -> bool {
    merger.next() > number
}

/// False when the writer has died.
fn run_slices(
    fixture: &mut Fixture,
    merger: &mut Merger<Generation>,
    number: u64,
    rows: &Generation,
    (now_ms, names): (i64, &BTreeSet<Name>),
    deaths: &mut Vec<u32>,
) -> bool {
    let mut is_unmerged = |key: RowKey<'_>, head: &Head| Ok(is_named(names, key, head));
    die_after(deaths.pop().unwrap_or(0));
    let lived = catch_unwind(AssertUnwindSafe(|| {
        while !slice(merger, &mut fixture.writer, number, rows).unwrap().is_last {
            fixture.writer.begin_write(now_ms).unwrap();
            fixture.writer.store.sweep_expired(now_ms, 3, &mut is_unmerged, &mut |_, _| {}).unwrap();
            fixture.writer.store.sweep_orphans(3).unwrap();
            pass(Point::BiteSwept);
            fixture.writer.commit().unwrap();
        }
    }));
    listen(None);
    lived.is_ok()
}

fn run(ops: &[Op], deaths: &[u32]) -> std::result::Result<(), TestCaseError> {
    let mut fixture = Fixture::crowded();
    let mut model = Model { now_ms: NOW_MS, ..Model::default() };
    let mut deaths = deaths.to_vec();
    let mut number = 0;
    let end = Op::Commit { later_ms: 3 };
    fixture.writer.begin_write(model.now_ms).unwrap();
    for op in ops.iter().chain([&end]) {
        match op {
            Op::Commit { later_ms } => {
                number += 1;
                let rows = freeze(&mut fixture.writer);
                model.now_ms += later_ms;
                model.forget_expired();
                merge_with_deaths(&mut fixture, number, &rows, model.now_ms, &mut deaths);
                fixture.writer.select(model.selected);
                fixture.writer.begin_write(model.now_ms).unwrap();
                compare(&mut fixture.writer, &model)?;
                verify(&fixture.writer)?;
            }
            Op::Rollback | Op::SetSavepoint | Op::UndoToSavepoint | Op::Recover => {}
            Op::Spill | Op::SweepExpired(_) | Op::SweepOrphans(_) => {}
            op => prop_assert_eq!(apply(&mut fixture.writer, op), model.apply(op), "{:?}", op),
        }
    }
    while fixture.writer.sweep_orphans(5).unwrap() > 0 {}
    while fixture.writer.sweep_expired(5).unwrap() > 0 {}
    while fixture.writer.sweep_orphans(5).unwrap() > 0 {}
    compare(&mut fixture.writer, &model)?;
    verify(&fixture.writer)?;
    prop_assert_eq!(fixture.writer.orphans_left().unwrap(), 0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_merged_and_whoever_dies_the_tables_are_what_the_groups_made_of_them(
        ops in ops(), deaths in prop::collection::vec(0..40u32, 0..6)
    ) {
        run(&ops, &deaths)?;
    }
}
