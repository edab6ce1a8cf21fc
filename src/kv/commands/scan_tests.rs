//! KEYS and SCAN against a keyspace.

use std::collections::BTreeSet;

use crate::kv::commands::table;
use crate::kv::fixture::{Fixture, show};
use crate::resp::reply::Reply;

fn filled(keys: usize) -> Fixture {
    let mut fixture = Fixture::new();
    fixture.write(|keyspace| {
        for number in 0..keys {
            let key = format!("key:{number}");
            keyspace.put_string(key.as_bytes(), b"v", crate::storage::Expiry::Clear).unwrap();
        }
    });
    fixture
}

/// One SCAN: the next cursor and the keys.
fn scan(fixture: &mut Fixture, line: &str) -> (String, Vec<String>) {
    let Reply::Array(parts) = fixture.run(line) else { panic!("{line}") };
    let [cursor, Reply::Array(keys)] = parts.as_slice() else { panic!("{line}") };
    (show(cursor), keys.iter().map(show).collect())
}

#[test]
fn an_iteration_sees_every_key_that_stays() {
    let mut fixture = filled(500);
    let (mut cursor, mut seen, mut calls) = ("0".to_owned(), BTreeSet::new(), 0);
    loop {
        let (next, keys) = scan(&mut fixture, &format!("SCAN {cursor} COUNT 7"));
        seen.extend(keys);
        calls += 1;
        // Others come and go meanwhile.
        fixture.put(&format!("new:{calls}"), "v");
        fixture.run(&format!("DEL key:{}", calls % 100));
        if next == "0" {
            break;
        }
        cursor = next;
    }
    assert!(calls >= 400 / 7, "{calls} calls");
    for number in 100..500 {
        assert!(seen.contains(&format!("key:{number}")), "key:{number}");
    }
}

#[test]
fn a_large_count_goes_through_all_in_bites() {
    let mut fixture = filled(3500);
    let (cursor, keys) = scan(&mut fixture, "SCAN 0 COUNT 1000000000");
    assert_eq!((cursor.as_str(), keys.len()), ("0", 3500));
    let (cursor, keys) = scan(&mut fixture, "SCAN 0 COUNT 2500");
    assert_ne!(cursor, "0");
    assert!((2500..2600).contains(&keys.len()), "{}", keys.len());
    let (cursor, rest) = scan(&mut fixture, &format!("SCAN {cursor} COUNT 2500"));
    assert_eq!((cursor.as_str(), keys.len() + rest.len()), ("0", 3500));
}

#[test]
fn match_and_type_filter() {
    let mut fixture = filled(30);
    let mut keys = scan(&mut fixture, "SCAN 0 COUNT 1000 MATCH key:1? TYPE STRING").1;
    keys.sort();
    assert_eq!(keys.first().map(String::as_str), Some("key:10"));
    assert_eq!(keys.len(), 10);
    assert_eq!(scan(&mut fixture, "SCAN 0 COUNT 1000 TYPE hash").1.len(), 0);
    assert_eq!(scan(&mut fixture, "SCAN 0 COUNT 1000 TYPE nope").1.len(), 0);
    assert_eq!(scan(&mut fixture, "SCAN 0 COUNT 1000 MATCH nope MATCH *").1.len(), 30);
    assert_eq!(scan(&mut fixture, "SCAN 0 COUNT 1000 MATCH ''").1.len(), 0);
}

#[test]
fn errors_are_those_of_redis() {
    Fixture::new().transcript(
        "
        > SCAN x COUNT 0
        -ERR invalid cursor
        > SCAN 0 COUNT 0
        -ERR syntax error
        > SCAN 0 COUNT -5
        -ERR syntax error
        > SCAN 0 COUNT x
        -ERR value is not an integer or out of range
        > SCAN 0 COUNT
        -ERR syntax error
        > SCAN 0 NOPE x
        -ERR syntax error
        > SCAN 0 COUNT 5 MATCH
        -ERR syntax error
        > SCAN
        -ERR wrong number of arguments for 'scan' command
        ",
    );
}

#[test]
fn cursors_are_read_as_strtoul_reads_them() {
    let mut fixture = filled(3);
    for cursor in ["+0", "00", "''", "-0"] {
        assert_eq!(scan(&mut fixture, &format!("SCAN {cursor}")).1.len(), 3, "{cursor}");
    }
    for cursor in ["18446744073709551615", "-1", "281474976710656"] {
        assert_eq!(scan(&mut fixture, &format!("SCAN {cursor}")), ("0".to_owned(), Vec::new()), "{cursor}");
    }
    for cursor in ["18446744073709551616", "-", "+", "1x", "0x10", "--1"] {
        assert_eq!(show(&fixture.run(&format!("SCAN {cursor}"))), "-ERR invalid cursor", "{cursor}");
    }
    assert_eq!(show(&fixture.call(&[b"SCAN", b" 0"])), "-ERR invalid cursor");
    assert_eq!(show(&fixture.call(&[b"SCAN", b"0\0x"])), show(&fixture.run("SCAN 0")));
}

#[test]
fn keys_finds_all_that_match() {
    let mut fixture = filled(2500);
    let mut keys = |pattern: &str| match fixture.run(&format!("KEYS {pattern}")) {
        Reply::Array(keys) => keys.iter().map(show).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let all = |keys: Vec<String>, prefix: &str| keys.iter().filter(|key| key.starts_with(prefix)).count() == keys.len();
    assert_eq!(keys("*").len(), 2500);
    let found = keys("key:?");
    assert!(found.len() == 10 && all(found, "key:"));
    let found = keys("key:1[0-4]??");
    assert!(found.len() == 500 && all(found, "key:1"));
    assert_eq!(keys("key:77"), ["key:77"]);
    assert_eq!(keys("KEY:77"), [""; 0]);
}

#[test]
fn long_walks_are_heavy_and_short_ones_are_not() {
    let is_heavy = |line: &str| {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        table::resolve(&args).unwrap().is_heavy(&args)
    };
    assert!(is_heavy("KEYS nope"));
    assert!(is_heavy("SCAN 0 MATCH x COUNT 1001"));
    assert!(!is_heavy("SCAN 0 COUNT 1000"));
    assert!(!is_heavy("SCAN 0"));
    assert!(!is_heavy("SCAN 0 COUNT x"));
    assert!(!is_heavy("DEL a"));
}
