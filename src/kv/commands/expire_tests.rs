//! The EXPIRE and TTL families against a keyspace. `fixture::NOW_MS` is 1,700,000,000,000.

use crate::kv::fixture::{Fixture, NOW_MS, show};

#[test]
fn ttl_and_expiretime_answer_in_both_units() {
    let mut fixture = Fixture::new();
    fixture.put("a", "1");
    fixture.transcript(
        "
        > TTL nope
        :-2
        > PTTL nope
        :-2
        > EXPIRETIME nope
        :-2
        > PEXPIRETIME nope
        :-2
        > TTL a
        :-1
        > PTTL a
        :-1
        > EXPIRETIME a
        :-1
        > PEXPIRETIME a
        :-1
        > PEXPIRE a 1499
        :1
        > TTL a
        :1
        > PTTL a
        :1499
        > EXPIRETIME a
        :1700000001
        > PEXPIRETIME a
        :1700000001499
        > PEXPIRE a 1500
        :1
        > TTL a
        :2
        > EXPIRETIME a
        :1700000002
        ",
    );
}

#[test]
fn the_four_forms_set_the_same_time() {
    let mut fixture = Fixture::new();
    fixture.put("a", "1");
    for call in ["EXPIRE a 10", "PEXPIRE a 10000", "EXPIREAT a 1700000010", "PEXPIREAT a 1700000010000"] {
        assert_eq!(show(&fixture.run(call)), ":1");
        assert_eq!(show(&fixture.run("PEXPIRETIME a")), ":1700000010000", "{call}");
        assert_eq!(show(&fixture.run("PERSIST a")), ":1");
        assert_eq!(show(&fixture.run("PERSIST a")), ":0");
    }
    assert_eq!(show(&fixture.run("PERSIST nope")), ":0");
}

#[test]
fn a_time_that_has_passed_deletes_the_key() {
    let mut fixture = Fixture::new();
    for call in ["EXPIRE a 0", "EXPIRE a -1", "PEXPIREAT a 1700000000000", "EXPIREAT a 1", "EXPIRE a -9223372036854775"]
    {
        fixture.put("a", "1");
        assert_eq!(show(&fixture.run(call)), ":1", "{call}");
        assert_eq!(show(&fixture.run("EXISTS a")), ":0", "{call}");
        assert_eq!(show(&fixture.run("DBSIZE")), ":0", "{call}");
    }
}

#[test]
fn a_key_past_its_time_is_gone_for_every_command() {
    let mut fixture = Fixture::new();
    fixture.put("a", "1");
    fixture.run("PEXPIRE a 10");
    fixture.now_ms = NOW_MS + 10;
    fixture.transcript(
        "
        > EXISTS a
        :0
        > TTL a
        :-2
        > TYPE a
        none
        > KEYS *
        []
        > SCAN 0
        [0 []]
        > RANDOMKEY
        (nil)
        > DUMP a
        (nil)
        > RENAME a b
        -ERR no such key
        > COPY a b
        :0
        > PERSIST a
        :0
        > EXPIRE a 10
        :0
        > DEL a
        :0
        ",
    );
}

#[test]
fn conditions_compare_with_the_present_time() {
    let mut fixture = Fixture::new();
    fixture.put("a", "1");
    fixture.transcript(
        "
        > EXPIRE a 100 XX
        :0
        > EXPIRE a 100 GT
        :0
        > EXPIRE a 100 LT
        :1
        > EXPIRE a 200 NX
        :0
        > EXPIRE a 100 GT
        :0
        > EXPIRE a 100 LT
        :0
        > EXPIRE a 101 gt
        :1
        > EXPIRE a 99 lt
        :1
        > EXPIRE a 300 XX GT
        :1
        > EXPIRE a 400 XX LT
        :0
        > EXPIRE a 50 xx lt
        :1
        > TTL a
        :50
        > PERSIST a
        :1
        > EXPIRE a 70 NX NX
        :1
        > EXPIRE a 0 GT
        :0
        > EXPIRE a 0 LT
        :1
        > EXISTS a
        :0
        > EXPIRE a 10 NX
        :0
        ",
    );
}

#[test]
fn errors_come_in_the_order_of_redis() {
    let mut fixture = Fixture::new();
    fixture.transcript(
        "
        > EXPIRE a
        -ERR wrong number of arguments for 'expire' command
        > EXPIRE a x foo nx xx
        -ERR Unsupported option foo
        > EXPIRE a x NX XX
        -ERR NX and XX, GT or LT options at the same time are not compatible
        > EXPIRE a x GT NX LT
        -ERR NX and XX, GT or LT options at the same time are not compatible
        > EXPIRE a x GT LT XX
        -ERR GT and LT options at the same time are not compatible
        > EXPIRE a x
        -ERR value is not an integer or out of range
        > EXPIRE a 1.5
        -ERR value is not an integer or out of range
        > EXPIRE a 9223372036854775
        -ERR invalid expire time in 'expire' command
        > EXPIRE a 9223372036854776
        -ERR invalid expire time in 'expire' command
        > EXPIRE a -9223372036854776
        -ERR invalid expire time in 'expire' command
        > EXPIRE a -9223372036854775
        :0
        > PEXPIRE a 9223372036854775807
        -ERR invalid expire time in 'pexpire' command
        > PEXPIRE a 9223370336854775807
        :0
        > PEXPIRE a -9223372036854775808
        :0
        > EXPIREAT a 9223372036854776
        -ERR invalid expire time in 'expireat' command
        > PEXPIREAT a 9223372036854775807
        :0
        > pexpireat a 9223372036854775808
        -ERR value is not an integer or out of range
        ",
    );
}

#[test]
fn the_latest_time_of_all_is_kept_exactly() {
    let mut fixture = Fixture::new();
    fixture.put("a", "1");
    fixture.transcript(
        "
        > PEXPIREAT a 9223372036854775807
        :1
        > PEXPIRETIME a
        :9223372036854775807
        > EXPIRETIME a
        :9223372036854776
        > EXPIREAT a 9223372036854775
        :1
        > EXPIRETIME a
        :9223372036854775
        ",
    );
}
