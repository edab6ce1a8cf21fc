//! Strings on a keyspace. The replies are those of redis-server 7.0.15 to the same calls.

use crate::kv::errors;
use crate::kv::fixture::{Fixture, NOW_MS, show};
use crate::resp::reply::Reply;
use crate::storage::{Entry, StorageError};

/// Longer than what lies in a key's own row.
const BIG_BYTES: usize = 100_000;

fn entry(fixture: &mut Fixture, key: &str) -> Option<Entry> {
    fixture.write(|keyspace| keyspace.entry(key.as_bytes()).unwrap())
}

fn expires_at_ms(fixture: &mut Fixture, key: &str) -> Option<i64> {
    entry(fixture, key).and_then(|entry| entry.expires_at_ms)
}

#[test]
fn set_takes_its_options_together() {
    Fixture::new().transcript(
        "> set k v xx
         (nil)
         > set k v nx get
         (nil)
         > set k w nx
         (nil)
         > set k w nx get
         v
         > set k w xx get
         v
         > get k
         w
         > set k v nx xx
         -ERR syntax error
         > set k v ex 10 px 10
         -ERR syntax error
         > set k v keepttl ex 10
         -ERR syntax error
         > set k v ex
         -ERR syntax error
         > set k v ex ten get
         -ERR value is not an integer or out of range
         > set k v ex 0
         -ERR invalid expire time in 'set' command
         > set k v px 9223372036854775807
         -ERR invalid expire time in 'set' command
         > get k
         w",
    );
}

#[test]
fn set_gives_keeps_and_clears_the_time_to_live() {
    let mut fixture = Fixture::new();
    for (options, expected) in [
        ("ex 10", Some(NOW_MS + 10_000)),
        ("keepttl", Some(NOW_MS + 10_000)),
        ("px 10", Some(NOW_MS + 10)),
        ("", None),
        ("keepttl", None),
        ("exat 1700000005", Some(NOW_MS + 5_000)),
        ("pxat 1700000000007", Some(NOW_MS + 7)),
        ("ex 1 ex 2", Some(NOW_MS + 2_000)),
    ] {
        assert_eq!(show(&fixture.run(&format!("set k v {options}"))), "OK");
        assert_eq!(expires_at_ms(&mut fixture, "k"), expected, "{options}");
    }
}

#[test]
fn a_time_in_the_past_removes_the_key() {
    let mut fixture = Fixture::new();
    fixture.transcript(
        "> set k v
         OK
         > set k w exat 1
         OK
         > get k
         (nil)
         > set k v
         OK
         > getex k pxat 1
         v
         > get k
         (nil)",
    );
    assert_eq!(entry(&mut fixture, "k"), None);
}

#[test]
fn getex_changes_the_time_only_when_asked_and_looks_at_it_after_the_key() {
    let mut fixture = Fixture::new();
    fixture.transcript(
        "> getex k ex 0
         (nil)
         > getex k ex
         -ERR syntax error
         > set k v ex 10
         OK
         > getex k
         v
         > getex k ex 0
         -ERR invalid expire time in 'getex' command
         > getex k persist ex 1
         -ERR syntax error
         > getex k keepttl
         -ERR syntax error",
    );
    assert_eq!(expires_at_ms(&mut fixture, "k"), Some(NOW_MS + 10_000));
    fixture.run("getex k px 5");
    assert_eq!(expires_at_ms(&mut fixture, "k"), Some(NOW_MS + 5));
    fixture.run("getex k persist");
    assert_eq!(expires_at_ms(&mut fixture, "k"), None);
}

#[test]
fn the_older_forms_of_set_answer_as_they_always_did() {
    let mut fixture = Fixture::new();
    fixture.transcript(
        "> setnx k v
         :1
         > setnx k w
         :0
         > getset k w
         v
         > getset other w
         (nil)
         > setex k 0 v
         -ERR invalid expire time in 'setex' command
         > psetex k -1 v
         -ERR invalid expire time in 'psetex' command
         > setex k ten v
         -ERR value is not an integer or out of range
         > getdel k
         w
         > getdel k
         (nil)
         > setex k 10 v
         OK",
    );
    assert_eq!(expires_at_ms(&mut fixture, "k"), Some(NOW_MS + 10_000));
    fixture.run("getset k w");
    assert_eq!(expires_at_ms(&mut fixture, "k"), None);
    fixture.run("psetex k 10 v");
    assert_eq!(expires_at_ms(&mut fixture, "k"), Some(NOW_MS + 10));
}

#[test]
fn msetnx_sets_all_or_nothing() {
    Fixture::new().transcript(
        "> mset a 1 b
         -ERR wrong number of arguments for 'mset' command
         > mset a 1 b 2 a 3
         OK
         > mget a b c
         [3 2 (nil)]
         > msetnx c 1 a 9
         :0
         > exists c
         :0
         > msetnx c 1 d 2 c 3
         :1
         > mget a c d
         [3 3 2]
         > msetnx e
         -ERR wrong number of arguments for 'msetnx' command",
    );
}

#[test]
fn ranges_count_from_either_end() {
    let mut fixture = Fixture::new();
    fixture.put("k", "This is a string");
    fixture.transcript(
        "> getrange k 0 3
         This
         > getrange k -3 -1
         ing
         > getrange k 10 100
         string
         > getrange k 5 2
         ''
         > getrange k -1 -5
         ''
         > getrange k -100 -50
         T
         > getrange k 9223372036854775807 9223372036854775807
         ''
         > substr k 0 -1
         This is a string
         > getrange missing 0 -1
         ''
         > getrange k x 1
         -ERR value is not an integer or out of range",
    );
}

#[test]
fn setrange_and_append_grow_a_string() {
    Fixture::new().transcript(
        "> setrange k 3 abc
         :6
         > get k
         \\x00\\x00\\x00abc
         > append k def
         :9
         > append k ''
         :9
         > strlen k
         :9
         > setrange k 0 ''
         :9
         > setrange missing 5 ''
         :0
         > exists missing
         :0
         > setrange k -1 x
         -ERR offset is out of range
         > setrange k 536870912 x
         -ERR string exceeds maximum allowed size (proto-max-bulk-len)
         > setrange k 9223372036854775807 x
         -ERR string exceeds maximum allowed size (proto-max-bulk-len)
         > append empty ''
         :0
         > exists empty
         :1
         > append empty ''
         :0
         > strlen missing
         :0",
    );
}

#[test]
fn appending_nothing_keeps_the_value_and_its_time_but_counts_as_a_change() {
    for value in ["", "abc"] {
        let mut fixture = Fixture::new();
        fixture.put("k", value);
        fixture.run("expire k 10");
        let before = fixture.changes();
        assert_eq!(show(&fixture.run("append k ''")), format!(":{}", value.len()));
        assert!(fixture.changes() > before, "WATCH must see it");
        assert_eq!(fixture.run("get k"), Reply::Bulk(value.into()));
        assert_eq!(expires_at_ms(&mut fixture, "k"), Some(NOW_MS + 10_000));
    }
}

#[test]
fn a_value_over_the_limit_is_refused_and_nothing_is_changed() {
    let mut fixture = Fixture::with(|options| options.value_bytes_max = 10);
    fixture.put("k", "12345678");
    fixture.transcript(
        "> append k abc
         -ERR string exceeds maximum allowed size (proto-max-bulk-len)
         > setrange k 10 a
         -ERR string exceeds maximum allowed size (proto-max-bulk-len)
         > setrange missing 8 abc
         -ERR string exceeds maximum allowed size (proto-max-bulk-len)
         > exists missing
         :0
         > get k
         12345678
         > append k ab
         :10",
    );
    let too_large = fixture.write(|keyspace| keyspace.write_string_range(b"k", 10, b"x"));
    assert!(matches!(too_large, Err(StorageError::TooLarge)));
}

#[test]
fn a_key_of_another_kind_is_refused_by_all_but_set_and_mget() {
    let mut fixture = Fixture::new();
    fixture.make_list("list");
    for call in [
        "get list",
        "getset list v",
        "getdel list",
        "getex list",
        "append list v",
        "append list ''",
        "strlen list",
        "getrange list 0 1",
        "getrange list -1 -1",
        "substr list 0 1",
        "setrange list 0 v",
        "setrange list 0 ''",
        "set list v get",
        "set list v nx get",
        "incr list",
        "incrbyfloat list 1",
    ] {
        assert_eq!(show(&fixture.run(call)), format!("-{}", errors::WRONG_TYPE), "{call}");
    }
    assert_eq!(show(&fixture.run("lcs list k foo")), format!("-{}", errors::LCS_NOT_STRINGS));
    assert_eq!(show(&fixture.run("getrange list 0 x")), format!("-{}", errors::NOT_AN_INTEGER));
    assert_eq!(show(&fixture.run("mget list")), "[(nil)]");
    assert_eq!(show(&fixture.run("setnx list v")), ":0");
    assert_eq!(show(&fixture.run("set list v xx")), "OK");
    assert_eq!(show(&fixture.run("get list")), "v");
}

#[test]
fn lcs_answers_with_the_string_its_length_or_its_matches() {
    Fixture::new().transcript(
        "> mset a ohmytext b mynewtext
         OK
         > lcs a b
         mytext
         > lcs a b len
         :6
         > lcs a b idx
         {matches: [[[:4 :7] [:5 :8]] [[:2 :3] [:0 :1]]] len: :6}
         > lcs a b idx minmatchlen 4 withmatchlen
         {matches: [[[:4 :7] [:5 :8] :4]] len: :6}
         > lcs a missing
         ''
         > lcs a b len idx
         -ERR If you want both the length and indexes, please just use IDX.
         > lcs a b minmatchlen
         -ERR syntax error
         > lcs a b minmatchlen x
         -ERR value is not an integer or out of range
         > lcs a b idx minmatchlen -5
         {matches: [[[:4 :7] [:5 :8]] [[:2 :3] [:0 :1]]] len: :6}",
    );
}

#[test]
fn lcs_refuses_what_would_take_too_much_memory() {
    let mut fixture = Fixture::with(|options| options.value_bytes_max = 400);
    fixture.put("a", &"a".repeat(10));
    fixture.put("b", &"a".repeat(9));
    let too_much = format!("-{}", errors::LCS_TOO_MUCH_MEMORY);
    assert_eq!(show(&fixture.run("lcs a b len")), too_much);
    fixture.put("a", &"a".repeat(9));
    assert_eq!(show(&fixture.run("lcs a b len")), ":9");
}

#[test]
fn a_big_value_is_changed_and_read_by_ranges() {
    let mut fixture = Fixture::new();
    let mut model = "0123456789".repeat(BIG_BYTES / 10).into_bytes();
    fixture.put("k", std::str::from_utf8(&model).unwrap());
    for (offset, text) in [(0, "start"), (8_190, "across"), (50_000, "middle"), (BIG_BYTES + 20_000, "beyond")] {
        model.resize(model.len().max(offset + text.len()), 0);
        model[offset..offset + text.len()].copy_from_slice(text.as_bytes());
        assert_eq!(show(&fixture.run(&format!("setrange k {offset} {text}"))), format!(":{}", model.len()));
    }
    assert_eq!(show(&fixture.run("append k tail")), format!(":{}", model.len() + 4));
    model.extend_from_slice(b"tail");
    for (start, end) in [(0, 4), (8_180, 8_210), (49_990, 50_010), (BIG_BYTES, BIG_BYTES + 20_010)] {
        let expected = model[start..=end.min(model.len() - 1)].escape_ascii().to_string();
        assert_eq!(show(&fixture.run(&format!("getrange k {start} {end}"))), expected);
    }
    assert_eq!(show(&fixture.run("getrange k -4 -1")), "tail");
    assert_eq!(show(&fixture.run("get k")), model.escape_ascii().to_string());
}
