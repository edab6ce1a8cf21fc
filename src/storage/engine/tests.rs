//! Groups through journal and memory: whatever is merged when, and whoever takes over, the keyspace agrees with its model.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::storage::fixture::{Fixture, NOW_MS, memory};
use crate::storage::memtable::{Memory, Shape};
use crate::storage::model::{Model, Op, apply, compare, ops, verify};
use crate::storage::rows::{Range, Row, RowKey, Snapshot};
use crate::storage::sqlite::GENERATIONS;
use crate::storage::{CHUNK_BYTES, Expiry, Keyspace, Lookup, StorageError};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What happens between two groups.
#[derive(Clone, Copy, Debug)]
pub(in crate::storage) enum Between {
    Nothing,
    Slices(u8),
    Freeze,
    MergeAll,
    Sweep,
    /// Keys whose time has passed are removed that no table has yet.
    EndUnmerged,
    /// The writer died; memory lives.
    NewWriter,
    /// All processes died.
    Boot,
    /// The same, and the new service has no memory; then one that has.
    BootWithout,
}

pub(in crate::storage) fn between() -> impl Strategy<Value = Vec<Between>> {
    let one = prop_oneof![
        4 => Just(Between::Nothing),
        6 => (1..5u8).prop_map(Between::Slices),
        4 => Just(Between::Freeze),
        1 => Just(Between::MergeAll),
        2 => Just(Between::Sweep),
        2 => Just(Between::EndUnmerged),
        2 => Just(Between::NewWriter),
        2 => Just(Between::Boot),
        1 => Just(Between::BootWithout),
    ];
    prop::collection::vec(one, 40)
}

fn reopen(fixture: &mut Fixture, memory: Memory) {
    fixture.memory = memory;
    fixture.reopen_writer();
    Fixture::crowd_keyspace(&mut fixture.writer);
}

pub(in crate::storage) fn happen(fixture: &mut Fixture, between: Between, now_ms: i64) {
    let selected = fixture.writer.database();
    match between {
        Between::Nothing => {}
        Between::Slices(count) => (0..count).for_each(|_| _ = fixture.writer.merge(Duration::ZERO).unwrap()),
        Between::Freeze => _ = fixture.writer.freeze(now_ms),
        Between::MergeAll => {
            fixture.writer.merge_all(now_ms).unwrap();
            fixture.writer.begin_read(now_ms).unwrap();
            verify(&fixture.writer).unwrap();
            fixture.writer.end_read().unwrap();
        }
        Between::Sweep => {
            fixture.writer.begin_write(now_ms).unwrap();
            fixture.writer.sweep_expired(3).unwrap();
            fixture.writer.sweep_orphans(3).unwrap();
            fixture.writer.commit().unwrap();
        }
        Between::EndUnmerged => {
            fixture.writer.read_unmerged_deadlines(5, now_ms);
            fixture.writer.begin_upkeep(now_ms).unwrap();
            fixture.writer.end_unmerged(3).unwrap();
            fixture.writer.commit().unwrap();
        }
        Between::NewWriter => reopen(fixture, fixture.memory),
        Between::Boot => reopen(fixture, memory()),
        Between::BootWithout => {
            reopen(fixture, Memory::off());
            reopen(fixture, memory());
        }
    }
    fixture.writer.select(selected);
}

fn run(ops: &[Op], between: &[Between]) -> Result<(), TestCaseError> {
    let mut fixture = Fixture::on(memory());
    Fixture::crowd_keyspace(&mut fixture.writer);
    let mut model = Model { now_ms: NOW_MS, ..Model::default() };
    let (mut committed, mut saved) = (model.clone(), None);
    let mut between = between.iter().cycle();
    fixture.writer.begin_write(model.now_ms).unwrap();
    for op in ops {
        match op {
            Op::Commit { later_ms } => {
                fixture.writer.commit().unwrap();
                happen(&mut fixture, *between.next().unwrap(), model.now_ms);
                let mut reader = fixture.reader();
                Fixture::crowd_keyspace(&mut reader);
                reader.begin_read(model.now_ms).unwrap();
                compare(&mut reader, &model)?;
                for database in 0..3 {
                    reader.select(database);
                    let keys = model.databases[usize::from(database)].len() as u64;
                    prop_assert!(reader.key_count().unwrap() >= keys, "those that have ended count as well");
                    prop_assert_eq!(reader.key_count().unwrap(), rows_of_keys(&reader, database));
                }
                reader.end_read().unwrap();
                model.now_ms += later_ms;
                model.forget_expired();
                (committed, saved) = (model.clone(), None);
                fixture.writer.begin_write(model.now_ms).unwrap();
            }
            Op::Rollback => {
                fixture.writer.rollback().unwrap();
                fixture.writer.begin_write(model.now_ms).unwrap();
                committed.selected = model.selected;
                (model, saved) = (committed.clone(), None);
            }
            Op::SetSavepoint if saved.is_none() => saved = Some((fixture.writer.savepoint(), model.clone())),
            Op::SweepExpired(_) | Op::SweepOrphans(_) | Op::Spill if saved.is_some() => {}
            Op::UndoToSavepoint => {
                if let Some((savepoint, mut saved)) = saved.take() {
                    fixture.writer.undo_to(savepoint).unwrap();
                    saved.selected = model.selected;
                    model = saved;
                }
            }
            op => prop_assert_eq!(apply(&mut fixture.writer, op), model.apply(op), "{:?}", op),
        }
        compare(&mut fixture.writer, &model)?;
    }
    fixture.writer.commit().unwrap();
    fixture.writer.merge_all(model.now_ms).unwrap();
    fixture.writer.begin_write(model.now_ms).unwrap();
    while fixture.writer.sweep_orphans(5).unwrap() > 0 {}
    while fixture.writer.sweep_expired(5).unwrap() > 0 {}
    while fixture.writer.sweep_orphans(5).unwrap() > 0 {}
    compare(&mut fixture.writer, &model)?;
    verify(&fixture.writer)?;
    prop_assert_eq!(fixture.writer.orphans_left().unwrap(), 0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn the_keyspace_agrees_with_its_model_whatever_is_merged_and_whoever_takes_over(ops in ops(), between in between()) {
        run(&ops, &between)?;
    }
}

/// One by one, those that have ended included.
fn rows_of_keys(keyspace: &Keyspace, database: u8) -> u64 {
    let range = Range::Keys { space: keyspace.space_of(database).unwrap(), first: 0, last: u64::MAX };
    let mut rows = 0;
    let mut count = |_: RowKey<'_>, _: Row<'_>| {
        rows += 1;
        ControlFlow::Continue(())
    };
    keyspace.store.scan(range, &mut count).unwrap();
    rows
}

fn on() -> Fixture {
    Fixture::on(memory())
}

fn rows(fixture: &Fixture, sql: &str) -> i64 {
    fixture.writer.connection().query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn a_group_is_seen_before_the_tables_have_it_and_after() {
    let mut fixture = on();
    let mut reader = fixture.reader();
    fixture.write(|keyspace| {
        keyspace.put_string(b"a", b"1", Expiry::Clear).unwrap();
        keyspace.put_string(b"big", &vec![7; 4 * CHUNK_BYTES], Expiry::Clear).unwrap();
    });
    assert_eq!(rows(&fixture, "SELECT count(*) FROM keyspace"), 0);
    for _ in 0..2 {
        reader.begin_read(NOW_MS).unwrap();
        assert_eq!(reader.string(b"a").unwrap(), Lookup::Found(b"1".to_vec()));
        assert_eq!(reader.string(b"big").unwrap(), Lookup::Found(vec![7; 4 * CHUNK_BYTES]));
        assert_eq!(reader.key_count().unwrap(), 2);
        reader.end_read().unwrap();
        fixture.writer.merge_all(NOW_MS).unwrap();
    }
    assert_eq!(rows(&fixture, "SELECT count(*) FROM keyspace"), 2);
    assert_eq!(rows(&fixture, "SELECT seq FROM merged"), 1);
}

#[test]
fn a_group_larger_than_its_room_takes_everything_into_the_tables_with_it() {
    let mut fixture = on();
    fixture.write(|keyspace| keyspace.put_string(b"before", b"1", Expiry::Clear).unwrap());
    let big = vec![b'x'; 5000];
    fixture.write(|keyspace| {
        keyspace.record_ticket(3, 9).unwrap();
        (0..200u8).for_each(|n| keyspace.put_string(&[n], &big, Expiry::Clear).unwrap());
    });
    assert_eq!(rows(&fixture, "SELECT count(*) FROM keyspace"), 201);
    assert_eq!(rows(&fixture, "SELECT number FROM ticket"), 9);
    let mut reader = fixture.reader();
    reader.begin_read(NOW_MS).unwrap();
    assert_eq!(reader.string(&[7]).unwrap(), Lookup::Found(big.clone()));
    reader.end_read().unwrap();
    // A rollback undoes all of it, and what waited waits still.
    fixture.write(|keyspace| keyspace.put_string(b"waits", b"1", Expiry::Clear).unwrap());
    fixture.writer.begin_write(NOW_MS).unwrap();
    fixture.writer.put_string(b"goes", b"1", Expiry::Clear).unwrap();
    fixture.writer.spill().unwrap();
    assert_eq!(fixture.writer.string(b"waits").unwrap(), Lookup::Found(b"1".to_vec()));
    fixture.writer.rollback().unwrap();
    fixture.write(|keyspace| {
        assert_eq!(keyspace.string(b"waits").unwrap(), Lookup::Found(b"1".to_vec()));
        assert_eq!(keyspace.string(b"goes").unwrap(), Lookup::Absent);
        assert_eq!(keyspace.key_count().unwrap(), 202);
    });
    fixture.writer.merge_all(NOW_MS).unwrap();
    assert_eq!(rows(&fixture, "SELECT count(*) FROM keyspace"), 202);
}

#[test]
fn tickets_are_known_from_the_journal_and_from_the_table() {
    let mut fixture = on();
    let tickets = |keyspace: &mut Keyspace| {
        keyspace.begin_read(NOW_MS).unwrap();
        let tickets = keyspace.applied_tickets().unwrap();
        keyspace.end_read().unwrap();
        tickets
    };
    let group = |fixture: &mut Fixture, ticket: (u64, u64), key: Option<&[u8]>| {
        fixture.write(|keyspace| {
            key.map_or(Ok(()), |key| keyspace.put_string(key, b"1", Expiry::Clear)).unwrap();
            keyspace.record_ticket(ticket.0, ticket.1).unwrap();
        });
    };
    group(&mut fixture, (1, 5), Some(b"a"));
    group(&mut fixture, (2, 1), Some(b"b"));
    fixture.reopen_writer();
    assert_eq!(tickets(&mut fixture.writer), [(1, 5), (2, 1)]);
    group(&mut fixture, (1, 6), None);
    fixture.reopen_writer();
    assert_eq!(tickets(&mut fixture.writer), [(1, 6), (2, 1)]);
    fixture.writer.merge_all(NOW_MS).unwrap();
    fixture.memory = memory();
    fixture.reopen_writer();
    assert_eq!(tickets(&mut fixture.writer), [(1, 6), (2, 1)]);
    group(&mut fixture, (2, 2), Some(b"c"));
    fixture.write(|keyspace| keyspace.reset_tickets(7).unwrap());
    group(&mut fixture, (9, 1), Some(b"d"));
    fixture.reopen_writer();
    assert_eq!(tickets(&mut fixture.writer), [(9, 1)], "those of an earlier boot are nobody's");
}

#[test]
fn spaces_may_come_and_go_without_end_while_nothing_is_merged() {
    let mut fixture = on();
    for n in 0..400u32 {
        fixture.write(|keyspace| {
            keyspace.put_string(b"k", &n.to_le_bytes(), Expiry::Clear).unwrap();
            keyspace.flush_database().unwrap();
        });
    }
    fixture.write(|keyspace| assert_eq!(keyspace.key_count().unwrap(), 0));
    fixture.writer.merge_all(NOW_MS).unwrap();
    fixture.write(|keyspace| {
        while keyspace.sweep_orphans(100).unwrap() > 0 {}
        assert_eq!(keyspace.verify().unwrap().problems, [""; 0]);
    });
    assert_eq!(rows(&fixture, "SELECT count(*) FROM keyspace"), 0);
}

#[test]
fn whoever_reads_for_long_is_overtaken_and_told_so() {
    let mut fixture = on();
    let mut reader = fixture.reader();
    fixture.write(|keyspace| keyspace.put_string(b"k", b"old", Expiry::Clear).unwrap());
    reader.begin_read(NOW_MS).unwrap();
    assert_eq!(reader.string(b"k").unwrap(), Lookup::Found(b"old".to_vec()));
    // Far longer than a pin holds.
    for n in 0..5 {
        fixture.write_at(NOW_MS + 10_000 * n, |keyspace| {
            keyspace.put_string(b"k", &n.to_le_bytes(), Expiry::Clear).unwrap();
        });
        fixture.writer.merge_all(NOW_MS + 10_000 * n).unwrap();
    }
    assert_eq!(reader.string(b"k"), Err(StorageError::ViewLost));
    reader.end_read().unwrap();
    reader.begin_read(NOW_MS).unwrap();
    assert_eq!(reader.string(b"k").unwrap(), Lookup::Found(4i64.to_le_bytes().to_vec()));
}

#[test]
fn an_expired_value_of_which_a_part_waits_for_the_merge_is_not_swept_before_it() {
    let mut fixture = Fixture::on(memory());
    fixture.write(|keyspace| keyspace.put_string(b"big", &[1; 4 * CHUNK_BYTES], Expiry::At(NOW_MS + 5)).unwrap());
    fixture.writer.merge_all(NOW_MS).unwrap();
    fixture.write(|keyspace| assert_eq!(keyspace.write_string_range(b"big", 0, b"x").unwrap(), 4 * CHUNK_BYTES as u64));
    for _ in 0..2 {
        for _ in 0..3 {
            fixture.write_at(NOW_MS + 6, |keyspace| {
                keyspace.sweep_expired(9).unwrap();
                keyspace.sweep_orphans(9).unwrap();
            });
        }
        fixture.writer.merge_all(NOW_MS + 6).unwrap();
    }
    fixture.write_at(NOW_MS + 6, |keyspace| {
        assert_eq!(keyspace.key_count().unwrap(), 0);
        assert_eq!(keyspace.orphans_left().unwrap(), 0);
    });
    fixture.writer.begin_read(NOW_MS + 6).unwrap();
    verify(&fixture.writer).unwrap();
    fixture.writer.end_read().unwrap();
}

#[test]
fn what_a_writer_gave_up_before_it_died_amid_a_merge_is_not_swept_before_its_successor_has_merged_it() {
    let mut fixture = Fixture::on(memory());
    let big = vec![7; 4 * CHUNK_BYTES];
    fixture.write(|keyspace| keyspace.put_string(b"moves", &big, Expiry::Clear).unwrap());
    fixture.writer.merge_all(NOW_MS).unwrap();
    fixture.write(|keyspace| {
        assert!(keyspace.move_key(b"moves", 1).unwrap());
        keyspace.flush_database().unwrap();
    });
    assert!(fixture.writer.freeze(NOW_MS));
    assert!(!fixture.writer.merge(Duration::ZERO).unwrap().unwrap().is_last);
    fixture.reopen_writer();
    for _ in 0..2 {
        while fixture.write(|keyspace| keyspace.sweep_orphans(100)).unwrap() > 0 {}
        fixture.writer.merge_all(NOW_MS).unwrap();
    }
    fixture.write(|keyspace| {
        keyspace.select(1);
        assert_eq!(keyspace.string(b"moves").unwrap(), Lookup::Found(big));
        assert_eq!(keyspace.orphans_left().unwrap(), 0);
    });
}

#[test]
fn on_a_full_disk_what_finds_no_cell_goes_into_the_tables_and_first_cells_are_made_in_time() {
    let set_page_limit = |fixture: &Fixture, pages: u32| {
        let sql = format!("PRAGMA max_page_count = {pages}");
        fixture.writer.connection().query_row(&sql, [], |_| Ok(())).unwrap();
    };
    for has_first_cells in [false, true] {
        let mut fixture = Fixture::on(memory());
        for n in 0..100u8 {
            fixture.write(|keyspace| keyspace.put_string(&[n], &[n; 900], Expiry::Clear).unwrap());
        }
        fixture.writer.merge_all(NOW_MS).unwrap();
        if has_first_cells {
            fixture.write(|keyspace| keyspace.make_first_cells().unwrap());
        }
        set_page_limit(&fixture, 1);
        let delete = |fixture: &mut Fixture, n: u8| {
            fixture.writer.begin_write(NOW_MS).unwrap();
            assert!(fixture.writer.delete(&[n]).unwrap());
            fixture.writer.commit()
        };
        let (seq, rows) = (fixture.memory.published(), |fixture: &Fixture| fixture.writer.unmerged_rows());
        if has_first_cells {
            delete(&mut fixture, 0).unwrap();
            assert_eq!(rows(&fixture), 1, "it waits in the journal");
        } else {
            assert_eq!(delete(&mut fixture, 0), Err(StorageError::Full));
            fixture.writer.rollback().unwrap();
            fixture.writer.bypass_journal();
            delete(&mut fixture, 0).unwrap();
            assert_eq!(rows(&fixture), 0);
        }
        assert_eq!(fixture.memory.published(), seq + 1);
        // What the deletions give back is room again.
        for n in 1..80 {
            if delete(&mut fixture, n).is_err() {
                fixture.writer.rollback().unwrap();
                fixture.writer.bypass_journal();
                delete(&mut fixture, n).unwrap();
            }
        }
        fixture.writer.merge_all(NOW_MS).unwrap();
        fixture.write(|keyspace| keyspace.put_string(b"healed", &[1; 9000], Expiry::Clear).unwrap());
        fixture.reopen_writer();
        fixture.writer.begin_read(NOW_MS).unwrap();
        assert_eq!(fixture.writer.key_count().unwrap(), 21);
        assert_eq!(fixture.writer.verify().unwrap().problems, [""; 0]);
    }
}

#[test]
fn a_new_writer_ends_keys_that_were_left_in_any_generation() {
    for is_boot in [false, true] {
        let mut fixture = on();
        for number in 0..3u8 {
            fixture.write(|keyspace| {
                keyspace.select(number);
                keyspace.put_string(b"ends", b"v", Expiry::At(NOW_MS + 5)).unwrap();
                keyspace.put_string(b"later", b"v", Expiry::At(NOW_MS + 6)).unwrap();
                keyspace.put_string(b"stays", b"v", Expiry::Clear).unwrap();
            });
            assert!(fixture.writer.freeze(NOW_MS));
        }
        if is_boot {
            fixture.memory = memory();
        }
        fixture.reopen_writer();
        fixture.writer.want_ended(true);
        while fixture.writer.read_unmerged_deadlines(2, NOW_MS + 5) {}
        assert!(fixture.writer.has_unmerged_to_end(NOW_MS + 5), "{is_boot}");
        assert_eq!(fixture.write_at(NOW_MS + 5, |keyspace| keyspace.end_unmerged(100)).unwrap(), 3, "{is_boot}");
        let ended = fixture.writer.take_ended();
        assert!(ended.len() == 3 && ended.iter().all(|ended| ended.key == b"ends"), "{is_boot}: {ended:?}");
        assert_eq!(rows(&fixture, "SELECT count(*) FROM keyspace"), 0, "nothing is merged");
    }
}

#[test]
fn where_no_place_is_free_each_group_waits_for_a_part_of_the_merge_alone() {
    let mut fixture = on();
    let mut number = 0_u32;
    let mut group = |fixture: &mut Fixture| {
        number += 1;
        fixture.write(|keyspace| keyspace.put_string(&number.to_le_bytes(), &[7; 500], Expiry::Clear).unwrap());
        number
    };
    while fixture.memory.newest() < 4 {
        group(&mut fixture);
    }
    assert_eq!((fixture.memory.merged(), fixture.writer.pauses()), (0, 0));
    let usual = fixture.writer.group_bytes_max();
    let (mut waited, mut pauses) = (0, 0);
    while fixture.memory.merged() == 0 {
        group(&mut fixture);
        if std::mem::replace(&mut pauses, fixture.writer.pauses()) < pauses {
            waited += 1;
            assert!(fixture.memory.merged() > 0 || fixture.writer.group_bytes_max() < usual);
        }
    }
    assert!(waited > 10, "{waited} groups have shared the merge");
    let count = group(&mut fixture);
    fixture.write(|keyspace| {
        assert_eq!(keyspace.key_count().unwrap(), u64::from(count));
        assert!((1..=count).all(|number| keyspace.string(&number.to_le_bytes()).unwrap() != Lookup::Absent));
    });
}

/// Of generations that hold what the journal of a test does.
fn large_memory() -> Memory {
    Memory::new(Shape { generations: GENERATIONS, generation_bytes: 4 << 20, pins: 4 }).unwrap()
}

#[test]
fn what_a_generation_adds_to_the_number_of_keys_is_looked_for_once_and_only_where_nobody_knows() {
    // Of a thousand instructions of SQLite's each.
    static LOOKS: AtomicU64 = AtomicU64::new(0);
    for is_blind in [true, false] {
        let mut fixture = Fixture::on(large_memory());
        fixture.write(|keyspace| {
            (0..2000u32).for_each(|n| keyspace.put_string(&n.to_le_bytes(), b"v", Expiry::Clear).unwrap());
        });
        fixture.writer.merge_all(NOW_MS).unwrap();
        fixture.write(|keyspace| keyspace.put_string(b"in the oldest one", b"v", Expiry::Clear).unwrap());
        assert!(fixture.writer.freeze(NOW_MS));
        fixture.write(|keyspace| {
            for n in 0..4000u32 {
                match is_blind {
                    true => keyspace.put_string(&n.to_le_bytes(), b"w", Expiry::Clear).unwrap(),
                    false => _ = keyspace.write_string_range(&n.to_le_bytes(), 0, b"w").unwrap(),
                }
            }
            assert!(keyspace.delete(&7u32.to_le_bytes()).unwrap());
        });
        assert!(fixture.writer.freeze(NOW_MS));
        fixture.write(|keyspace| keyspace.put_string(b"in the newest one", b"v", Expiry::At(NOW_MS + 5)).unwrap());
        let mut reader = fixture.reader();
        reader.limit_reads(|| LOOKS.fetch_add(1, Ordering::Relaxed) == u64::MAX);
        let mut count = || {
            let before = LOOKS.load(Ordering::Relaxed);
            reader.begin_read(NOW_MS).unwrap();
            assert_eq!((reader.key_count().unwrap(), reader.expires_count().unwrap()), (4001, 1));
            reader.end_read().unwrap();
            LOOKS.load(Ordering::Relaxed) - before
        };
        let (first, second) = (count(), count());
        assert_eq!(first > 10, is_blind, "{first}");
        assert!(second < 5, "{second}");
    }
}

#[test]
fn a_start_rebuilds_large_generations_side_by_side() {
    let mut fixture = Fixture::on(large_memory());
    for generation in 0..3u8 {
        for number in 0..50u8 {
            fixture.write(|keyspace| {
                keyspace.put_string(&[generation, number], &[number; 100], Expiry::Clear).unwrap();
                keyspace.put_string(b"same", &[generation], Expiry::Clear).unwrap();
                keyspace.record_ticket(7, u64::from(generation) * 100 + u64::from(number) + 1).unwrap();
            });
        }
        assert!(fixture.writer.freeze(NOW_MS));
    }
    fixture.memory = large_memory();
    fixture.reopen_writer();
    assert_eq!((fixture.memory.merged(), fixture.memory.published()), (0, 150));
    assert_eq!(fixture.writer.applied_tickets().unwrap(), [(7, 250)]);
    fixture.write(|keyspace| {
        assert_eq!(keyspace.key_count().unwrap(), 151);
        assert_eq!(keyspace.string(b"same").unwrap(), Lookup::Found(vec![2]));
        keyspace.put_string(b"behind all", b"v", Expiry::Clear).unwrap();
    });
    fixture.memory = large_memory();
    fixture.reopen_writer();
    assert_eq!(fixture.memory.published(), 151);
    fixture.writer.merge_all(NOW_MS).unwrap();
    assert_eq!(rows(&fixture, "SELECT count(*) FROM keyspace"), 152);
    // A group is missing: the next one does not follow.
    fixture.write(|keyspace| keyspace.put_string(b"a", b"v", Expiry::Clear).unwrap());
    assert!(fixture.writer.freeze(NOW_MS));
    fixture.write(|keyspace| keyspace.put_string(b"b", b"v", Expiry::Clear).unwrap());
    fixture.writer.connection().execute_batch("UPDATE merged SET seq = seq - 1").unwrap();
    let opened = Keyspace::open_writer_on(&fixture.options, large_memory(), Box::new(|_| {}));
    assert!(matches!(opened, Err(StorageError::Corrupt(_))));
}
