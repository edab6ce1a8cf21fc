//! Groups through journal and memory over a file that is damaged: what can't be written is nobody's loss but its own, and is not forgotten.

use std::time::Duration;

use crate::storage::fixture::{Fixture, NOW_MS, memory};
use crate::storage::{Expiry, Keyspace, Lookup, StorageError};

/// A page that can be read and not written: its rows stay as they are.
const DAMAGE: &str = "
    CREATE TEMP TRIGGER no_update BEFORE UPDATE ON keyspace WHEN OLD.key = x'61'
        BEGIN SELECT RAISE(ABORT, 'for a test'); END;
    CREATE TEMP TRIGGER no_delete BEFORE DELETE ON keyspace WHEN OLD.key = x'61'
        BEGIN SELECT RAISE(ABORT, 'for a test'); END;";
const REPAIR: &str = "DROP TRIGGER no_update; DROP TRIGGER no_delete";

fn put(keyspace: &mut Keyspace, key: &[u8], value: &[u8]) {
    keyspace.put_string(key, value, Expiry::Clear).unwrap();
}

/// Two keys in the tables, `a` in a damaged page.
fn damaged() -> Fixture {
    let mut fixture = Fixture::on(memory());
    fixture.write(|keyspace| {
        put(keyspace, b"a", b"old");
        put(keyspace, b"b", b"old");
    });
    fixture.writer.merge_all(NOW_MS).unwrap();
    sql(&fixture, DAMAGE);
    fixture
}

fn sql(fixture: &Fixture, text: &str) {
    fixture.writer.connection().execute_batch(text).unwrap();
}

/// As upkeep does.
fn merge_all(fixture: &mut Fixture) {
    fixture.writer.freeze(NOW_MS);
    let mut failures = 0;
    loop {
        match fixture.writer.merge(Duration::from_millis(20)) {
            Ok(Some(_)) => failures = 0,
            Ok(None) => break,
            Err(error) => {
                failures += 1;
                assert!(error.is_of_the_call() && failures < 4, "{error}");
            }
        }
    }
}

fn left_out(fixture: &Fixture) -> i64 {
    fixture.writer.connection().query_row("SELECT count(*) FROM left_out", [], |row| row.get(0)).unwrap()
}

fn read(fixture: &Fixture, key: &[u8]) -> Result<Lookup<Vec<u8>>, StorageError> {
    let mut reader = fixture.reader();
    reader.begin_read(NOW_MS).unwrap();
    let found = reader.string(key);
    reader.end_read().unwrap();
    found
}

fn is_refused(fixture: &Fixture, key: &[u8]) -> bool {
    matches!(read(fixture, key), Err(StorageError::Corrupt(_)))
}

fn found(value: &[u8]) -> Result<Lookup<Vec<u8>>, StorageError> {
    Ok(Lookup::Found(value.to_vec()))
}

#[test]
fn what_could_not_be_merged_is_an_error_and_not_the_old_value_until_it_is_written_again() {
    let mut fixture = damaged();
    fixture.write(|keyspace| {
        put(keyspace, b"a", b"new");
        put(keyspace, b"b", b"new");
        put(keyspace, b"c", b"new");
    });
    assert_eq!(read(&fixture, b"a"), found(b"new"), "it is in memory");
    merge_all(&mut fixture);
    assert_eq!((fixture.writer.left_out(), left_out(&fixture)), (1, 1));
    let is_so = |fixture: &Fixture| {
        assert!(is_refused(fixture, b"a"), "{:?}", read(fixture, b"a"));
        assert_eq!((read(fixture, b"b"), read(fixture, b"c")), (found(b"new"), found(b"new")));
        let mut reader = fixture.reader();
        reader.begin_read(NOW_MS).unwrap();
        assert_eq!(reader.key_count().unwrap(), 3);
        let problems = reader.verify().unwrap().problems;
        assert_eq!(problems, ["1 changes of rows could not be written: see the table left_out"]);
    };
    is_so(&fixture);
    // The writer that changes it reads it, too.
    fixture.writer.begin_write(NOW_MS).unwrap();
    assert!(matches!(fixture.writer.string(b"a"), Err(StorageError::Corrupt(_))));
    fixture.writer.rollback().unwrap();

    // Again: the newest one is kept.
    fixture.write(|keyspace| put(keyspace, b"a", b"newer"));
    assert_eq!(read(&fixture, b"a"), found(b"newer"));
    merge_all(&mut fixture);
    assert_eq!((fixture.writer.left_out(), left_out(&fixture)), (2, 1));
    is_so(&fixture);

    // After a start of the service as well, and without memory.
    for memory in [memory(), crate::storage::memtable::Memory::off(), memory()] {
        fixture.memory = memory;
        fixture.reopen_writer();
        is_so(&fixture);
    }
    fixture.write(|keyspace| put(keyspace, b"a", b"healed"));
    merge_all(&mut fixture);
    assert_eq!((read(&fixture, b"a"), left_out(&fixture)), (found(b"healed"), 0));
    fixture.writer.begin_read(NOW_MS).unwrap();
    assert_eq!(fixture.writer.verify().unwrap().problems, [""; 0]);
    assert_eq!(fixture.writer.key_count().unwrap(), 3);
    fixture.writer.end_read().unwrap();
}

#[test]
fn a_deleted_key_that_cannot_be_removed_does_not_come_back() {
    let mut fixture = damaged();
    fixture.write(|keyspace| assert!(keyspace.delete(b"a").unwrap()));
    assert_eq!(read(&fixture, b"a"), Ok(Lookup::Absent));
    merge_all(&mut fixture);
    assert!(is_refused(&fixture, b"a"), "{:?}", read(&fixture, b"a"));
    assert_eq!((read(&fixture, b"b"), left_out(&fixture)), (found(b"old"), 1));
    sql(&fixture, REPAIR);
    fixture.write(|keyspace| put(keyspace, b"a", b"again"));
    merge_all(&mut fixture);
    assert_eq!((read(&fixture, b"a"), left_out(&fixture)), (found(b"again"), 0));
}

#[test]
fn a_group_that_goes_into_the_tables_is_kept_up_once_at_most_by_a_row_that_cannot_be_written() {
    let mut fixture = damaged();
    fixture.write(|keyspace| put(keyspace, b"a", b"new"));
    let large = vec![7; 1 << 20];
    let try_to_put = |fixture: &mut Fixture| {
        fixture.writer.begin_write(NOW_MS)?;
        let put = fixture.writer.put_string(b"large", &large, Expiry::Clear).and_then(|()| fixture.writer.spill());
        put.and_then(|()| fixture.writer.commit()).inspect_err(|_| fixture.writer.rollback().unwrap())
    };
    assert!(try_to_put(&mut fixture).is_err_and(|error| error.is_of_the_call()));
    assert_eq!(read(&fixture, b"a"), found(b"new"));
    // The writer tries again at once.
    assert_eq!(try_to_put(&mut fixture), Ok(()));
    assert_eq!((read(&fixture, b"large"), left_out(&fixture)), (found(&large), 1));
    assert!(is_refused(&fixture, b"a"));
}

#[test]
fn a_group_whose_place_in_the_journal_is_damaged_goes_into_the_tables() {
    let mut fixture = Fixture::on(memory());
    // The cells of all regions are there.
    for n in 0..8u8 {
        fixture.write(|keyspace| put(keyspace, &[n], b"1"));
        fixture.writer.merge_all(NOW_MS).unwrap();
    }
    fixture.write(|keyspace| put(keyspace, b"waits", b"1"));
    sql(&fixture, "UPDATE journal SET bytes = x'0102' WHERE cell >> 32 IN (1, 2)");
    for n in 0..20u8 {
        fixture.write(|keyspace| {
            put(keyspace, &[n], b"2");
            keyspace.record_ticket(1, u64::from(n)).unwrap();
        });
        assert_eq!(read(&fixture, &[n]), found(b"2"));
    }
    assert_eq!(read(&fixture, b"waits"), found(b"1"));
    fixture.reopen_writer();
    fixture.writer.begin_read(NOW_MS).unwrap();
    assert_eq!(fixture.writer.applied_tickets().unwrap(), [(1, 19)]);
    assert_eq!(fixture.writer.key_count().unwrap(), 21);
    fixture.writer.end_read().unwrap();
}

#[test]
fn keys_are_counted_though_one_of_them_lies_in_a_damaged_row() {
    let mut fixture = Fixture::on(memory());
    fixture.write(|keyspace| {
        put(keyspace, b"a", b"old");
        put(keyspace, b"b", b"old");
        keyspace.damage_row(b"a").unwrap();
    });
    fixture.write(|keyspace| put(keyspace, b"a", b"new"));
    let mut reader = fixture.reader();
    reader.begin_read(NOW_MS).unwrap();
    assert_eq!((reader.key_count().unwrap(), reader.expires_count().unwrap()), (2, 0));
}
