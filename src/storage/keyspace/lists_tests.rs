//! Lists in the file: what a call at an end costs whatever the length, what a person sees, what `check` finds.

use crate::storage::fixture::{Fixture, NOW_MS};
use crate::storage::{Encoding, End, Expiry, Keyspace, Lookup, StorageError};

fn push(keyspace: &mut Keyspace, key: &[u8], items: impl IntoIterator<Item = String>) {
    let items: Vec<String> = items.into_iter().collect();
    let items: Vec<&[u8]> = items.iter().map(String::as_bytes).collect();
    keyspace.list_push(key, End::Back, &items, false).unwrap();
}

fn item(keyspace: &Keyspace, key: &[u8], index: u64) -> Option<String> {
    let Lookup::Found(list) = keyspace.list(key).unwrap() else { return None };
    list.get(index, |item| String::from_utf8(item.to_vec()).unwrap()).unwrap()
}

fn length(keyspace: &Keyspace, key: &[u8]) -> u64 {
    keyspace.entry(key).unwrap().map_or(0, |entry| entry.length)
}

fn pop(keyspace: &mut Keyspace, key: &[u8], end: End, count: u64) {
    keyspace.list_pop::<StorageError>(key, end, count, |_| Ok(())).unwrap();
}

fn rows(keyspace: &Keyspace) -> (u64, u64, u64, u64) {
    let sql =
        "SELECT (SELECT count(*) FROM list_item), (SELECT count(*) FROM list_count), (SELECT count(*) FROM chunk),
               (SELECT count(*) FROM orphan)";
    keyspace.connection().query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap()
}

#[test]
fn a_call_at_an_end_changes_a_few_rows_whatever_the_length() {
    let mut fixture = Fixture::new();
    fixture.write(|keyspace| push(keyspace, b"l", (0..5000).map(|number| number.to_string())));
    let mut changed = |work: &mut dyn FnMut(&mut Keyspace)| {
        fixture.write(|keyspace| {
            work(keyspace);
            keyspace.batch.len()
        })
    };
    assert_eq!(changed(&mut |keyspace| push(keyspace, b"l", ["x".into()])), 2);
    assert_eq!(changed(&mut |keyspace| pop(keyspace, b"l", End::Back, 1)), 2);
    assert_eq!(changed(&mut |keyspace| pop(keyspace, b"l", End::Front, 1)), 2);
    assert_eq!(changed(&mut |keyspace| _ = keyspace.list_set(b"l", 2000, b"set").unwrap()), 1 + 1);
    // The bound, for the sweeper, and the key's row.
    assert_eq!(changed(&mut |keyspace| _ = keyspace.list_trim(b"l", 1000, -1000).unwrap()), 3);
    assert_eq!(changed(&mut |keyspace| _ = keyspace.list_remove(b"l", 1, b"1500").unwrap()), 2 + 2);
    assert_eq!(changed(&mut |keyspace| _ = keyspace.list_insert(b"l", End::Front, b"1600", b"x").unwrap()), 2 + 2);
    assert_eq!(changed(&mut |keyspace| pop(keyspace, b"l", End::Front, 1)), 2);
    assert_eq!(changed(&mut |keyspace| push(keyspace, b"l", ["y".into()])), 3, "dead rows lie beyond this end");
    assert_eq!(changed(&mut |keyspace| assert!(keyspace.rename(b"l", b"m").unwrap())), 2);
    assert_eq!(changed(&mut |keyspace| assert!(keyspace.delete(b"m").unwrap())), 2);
}

#[test]
fn what_a_trim_leaves_is_swept_and_positions_are_used_again() {
    let mut fixture = Fixture::new();
    fixture.write(|keyspace| {
        push(keyspace, b"l", (0..2000).map(|number| format!("{number} {}", "x".repeat(number % 3 * 300))));
        keyspace.list_trim(b"l", 600, -601).unwrap();
        assert_eq!((length(keyspace, b"l"), item(keyspace, b"l", 0).unwrap()), (800, "600 ".into()));
        for number in 0..20 {
            keyspace.list_push(b"l", End::Front, &[format!("front {number}").as_bytes()], false).unwrap();
            keyspace.list_push(b"l", End::Back, &[format!("back {number}").as_bytes()], false).unwrap();
        }
    });
    let mut steps = 0;
    while fixture.write(|keyspace| keyspace.sweep_orphans(50)).unwrap() > 0 {
        steps += 1;
        fixture.write(|keyspace| {
            // More than was trimmed comes and goes while it is swept.
            let end = if steps % 2 == 0 { End::Front } else { End::Back };
            (0..30).for_each(|_| _ = keyspace.list_push(b"l", end, &[b"new"], false).unwrap());
            assert_eq!(keyspace.verify().unwrap().problems, [""; 0]);
            pop(keyspace, b"l", end, 29);
        });
    }
    fixture.write(|keyspace| {
        let count = 800 + 40 + steps;
        assert_eq!(length(keyspace, b"l"), count);
        let middle = count - 800 - 20 - steps / 2 - steps % 2;
        assert_eq!(item(keyspace, b"l", middle).unwrap(), "600 ");
        let (items, counts, _, orphans) = rows(keyspace);
        assert_eq!((items, counts, orphans), (count, 0, 0));
        assert!(keyspace.delete(b"l").unwrap());
    });
    while fixture.write(|keyspace| keyspace.sweep_orphans(1000)).unwrap() > 0 {}
    fixture.write(|keyspace| assert_eq!(rows(keyspace), (0, 0, 0, 0)));
}

#[test]
fn what_is_built_ahead_is_there_whole_or_goes_whole() {
    let mut fixture = Fixture::new();
    let build = |keyspace: &mut Keyspace, count: u32| {
        let mut building = keyspace.build_list();
        for number in 0..count {
            let value = if number % 100 == 0 { vec![b'v'; 700] } else { number.to_string().into_bytes() };
            keyspace.add_to_list(&mut building, &value).unwrap();
        }
        building
    };
    fixture.write(|keyspace| {
        let building = build(keyspace, 20_000);
        assert_eq!(keyspace.put_built_list(b"l", building, Expiry::Clear).unwrap(), 20_000);
        assert!(keyspace.batch.bytes() < 4 << 20);
        let savepoint = keyspace.savepoint();
        let building = build(keyspace, 15_000);
        keyspace.put_built_list(b"undone", building, Expiry::Clear).unwrap();
        keyspace.undo_to(savepoint).unwrap();
        assert!(keyspace.copy(b"l", 0, b"copy", false).unwrap());
        let building = build(keyspace, 300);
        assert_eq!(keyspace.put_built_list(b"gone", building, Expiry::At(NOW_MS)).unwrap(), 300);
        keyspace.list_remove(b"copy", 1, b"77").unwrap();
    });
    fixture.write(|keyspace| {
        assert_eq!(keyspace.verify().unwrap().problems, [""; 0]);
        while keyspace.sweep_orphans(1000).unwrap() > 0 {}
        assert_eq!((length(keyspace, b"l"), length(keyspace, b"copy")), (20_000, 19_999));
        assert_eq!(item(keyspace, b"l", 77).unwrap(), "77");
        assert_eq!(item(keyspace, b"copy", 77).unwrap(), "78");
        assert_eq!(item(keyspace, b"copy", 10_099).unwrap().len(), 700);
        assert_eq!((length(keyspace, b"undone"), length(keyspace, b"gone")), (0, 0));
        assert!(keyspace.delete(b"l").unwrap() && keyspace.delete(b"copy").unwrap());
        while keyspace.sweep_orphans(1000).unwrap() > 0 {}
        assert_eq!(rows(keyspace), (0, 0, 0, 0));
    });
}

#[test]
fn the_views_show_items_to_a_person() {
    let mut fixture = Fixture::new();
    let long = "long ".repeat(100);
    fixture.write(|keyspace| {
        for value in [b"a".as_slice(), b"", b"12:3", long.as_bytes()] {
            keyspace.list_push(b"small", End::Back, &[value], false).unwrap();
        }
        push(keyspace, b"large", (0..1000).map(|number| format!("item {number}")));
        keyspace.list_trim(b"large", 300, -1).unwrap();
        keyspace.list_remove(b"large", 1, b"item 500").unwrap();
        keyspace.list_set(b"large", -1, long.as_bytes()).unwrap();
        keyspace.select(3);
        keyspace.list_push(b"expired", End::Back, &[b"a"], false).unwrap();
        keyspace.set_expiry(b"expired", Some(NOW_MS + 1)).unwrap();
        keyspace.list_push(b"huge", End::Back, &[&[b'x'; 20_000]], false).unwrap();
    });
    fixture.writer.begin_write(NOW_MS).unwrap();
    let shown = |sql: &str| -> Vec<(u8, String, u64, String)> {
        let mut statement = fixture.writer.connection().prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
        rows.unwrap().map(Result::unwrap).collect()
    };
    let of = |key: &str| shown(&format!("SELECT * FROM v_list WHERE key = '{key}' ORDER BY \"index\""));
    let small = of("small");
    let expected = ["a", "", "12:3", long.as_str()];
    assert!(
        small
            .iter()
            .map(|(database, _, index, value)| (*database, *index, value.as_str()))
            .eq((0..4).zip(expected).map(|(index, value)| (0, index, value)))
    );
    let large = of("large");
    assert_eq!((large.len(), large[0].2, large[0].3.as_str()), (699, 0, "item 300"));
    assert_eq!((large[200].2, large[200].3.as_str(), large[698].3.as_str()), (200, "item 501", long.as_str()));
    let huge = shown("SELECT * FROM v_list WHERE database = 3");
    assert!(huge.len() == 1 && huge[0].3.ends_with("xxx...") && huge[0].3.len() == 8192 + 3);
    let keys = shown("SELECT database, key || ' ' || type || ' ' || value, length, '' FROM live_key ORDER BY key");
    let keys: Vec<(&str, u64)> = keys.iter().map(|(_, text, length, _)| (text.as_str(), *length)).collect();
    assert_eq!(keys, [("huge list see v_list", 1), ("large list see v_list", 699), ("small list see v_list", 4)]);
    let waiting = "SELECT 0, what, number, '' FROM waiting_for_sweep WHERE what = 'trimmed list'";
    assert_eq!(shown(waiting), [(0, "trimmed list".into(), 1, String::new())]);
}

#[test]
fn damage_of_lists_is_found() {
    for (damage, problem) in [
        ("DELETE FROM list_item WHERE value = CAST('350' AS BLOB)", "a list of 669 items has 668 rows"),
        ("UPDATE list_item SET id = 99", "belong to no key"),
        ("UPDATE list_count SET id = 99", "belong to no key"),
        ("UPDATE list_count SET more = 7 WHERE block = (SELECT min(block) FROM list_count)", "counts of a list"),
        ("DELETE FROM list_count WHERE block = (SELECT max(block) FROM list_count)", "counts of a list"),
        ("UPDATE keyspace SET value = CAST('l1:a' AS BLOB) WHERE id IS NULL", "do not agree"),
        ("UPDATE keyspace SET value = CAST('h1:a1:b1:c' AS BLOB) WHERE id IS NULL", "do not agree"),
        ("UPDATE keyspace SET value = CAST('q12' AS BLOB) WHERE id IS NOT NULL", "do not agree"),
        ("UPDATE keyspace SET value = CAST(replace(value, ' c', '') AS BLOB) WHERE id IS NOT NULL", "do not agree"),
        ("DELETE FROM orphan WHERE what = 'before'", "beyond its ends that nobody sweeps"),
        ("UPDATE orphan SET position = position + 65536 * 9 WHERE what = 'before'", "wait for the sweeper"),
        ("UPDATE list_item SET apart = id WHERE apart IS NOT NULL", "and to something else"),
        ("DELETE FROM list_item WHERE apart IS NOT NULL", "belongs to no key"),
    ] {
        let mut fixture = Fixture::new();
        fixture.write(|keyspace| {
            push(keyspace, b"l", (0..1000).map(|number| number.to_string()));
            keyspace.list_trim(b"l", 330, -1).unwrap();
            keyspace.list_remove(b"l", 1, b"600").unwrap();
            keyspace.list_set(b"l", 5, &[b'v'; 700]).unwrap();
            push(keyspace, b"packed", ["1".into(), "2".into(), "3".into()]);
        });
        assert_eq!(fixture.write(|keyspace| keyspace.verify().unwrap().problems), [""; 0]);
        fixture.writer.connection().execute_batch(damage).unwrap();
        let found = fixture.write(|keyspace| keyspace.verify().unwrap().problems);
        assert!(found.iter().any(|text| text.contains(problem)), "{damage}: {found:?}");
    }
}

#[test]
fn the_encoding_follows_the_bytes_also_where_a_trim_has_not_looked_at_them() {
    let mut fixture = Fixture::new();
    fixture.write(|keyspace| {
        push(keyspace, b"l", (0..3000).map(|number| format!("item {number:06}")));
        let encoding = |keyspace: &Keyspace| match keyspace.list(b"l").unwrap() {
            Lookup::Found(list) => list.encoding(),
            _ => panic!("no list"),
        };
        assert_eq!(encoding(keyspace), Encoding::Quicklist);
        // 13 bytes each, and 7: 315 of them are half of 8 KiB.
        keyspace.list_trim(b"l", 2000, -1).unwrap();
        assert_eq!(encoding(keyspace), Encoding::Quicklist);
        pop(keyspace, b"l", End::Front, 1000 - 315);
        assert_eq!(encoding(keyspace), Encoding::Quicklist);
        pop(keyspace, b"l", End::Back, 1);
        assert_eq!(encoding(keyspace), Encoding::Listpack);
        push(keyspace, b"l", (0..320).map(|_| "x".repeat(10)));
        assert_eq!(encoding(keyspace), Encoding::Listpack);
        keyspace.list_trim(b"l", 300, -1).unwrap();
        push(keyspace, b"l", ["y".into()]);
        assert_eq!(encoding(keyspace), Encoding::Listpack, "the bytes of what is left are known");
    });
}

/// Figures for whoever changes something here: `cargo test --release --lib -- --ignored speed_of_lists --nocapture`.
#[test]
#[ignore = "it measures"]
fn speed_of_lists() {
    let mut fixture = Fixture::new();
    let mut once = |what: &str, times: u32, work: &mut dyn FnMut(&mut Keyspace, u32)| {
        fixture.write(|keyspace| {
            let begin = crate::sys::clock::monotonic();
            (0..times).for_each(|time| work(keyspace, time));
            println!("{what:50} {:10.2} us", begin.elapsed().as_secs_f64() * 1e6 / f64::from(times));
        });
    };
    once("RPUSH onto one list", 1_000_000, &mut |keyspace, number| {
        keyspace.list_push(b"l", End::Back, &[format!("item {number}").as_bytes()], false).unwrap();
    });
    let index = |time: u32| u64::from(time.wrapping_mul(0x9E37_79B9)) % 900_000 + 50_000;
    once("LINDEX in the middle, regular", 1000, &mut |keyspace, time| drop(item(keyspace, b"l", index(time))));
    once("LREM in the middle", 1, &mut |keyspace, _| _ = keyspace.list_remove(b"l", 1, b"item 500000").unwrap());
    once("LINDEX in the middle, one gap", 1000, &mut |keyspace, time| drop(item(keyspace, b"l", index(time))));
    once("LREM of 100,000 of a million", 1, &mut |keyspace, _| {
        let mut set = 0;
        (0..100_000_i64).for_each(|number| {
            set += u64::from(keyspace.list_set(b"l", number * 9, b"gone").unwrap() == Lookup::Found(true));
        });
        assert_eq!(set, 100_000);
        keyspace.list_remove(b"l", 0, b"gone").unwrap();
    });
    once("LINDEX in the middle, gaps everywhere", 1000, &mut |keyspace, time| {
        drop(item(keyspace, b"l", index(time) * 8 / 9));
    });
    once("LPOP of it", 1000, &mut |keyspace, _| pop(keyspace, b"l", End::Front, 1));
    once("LTRIM of 400,000 of it", 1, &mut |keyspace, _| _ = keyspace.list_trim(b"l", 400_000, -1).unwrap());
}
