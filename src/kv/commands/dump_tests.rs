//! DUMP and RESTORE against a keyspace. The format itself is tested in kv::formats::rdb.

use crate::kv::fixture::{Fixture, show};
use crate::resp::reply::Reply;

fn dumped(fixture: &mut Fixture, key: &str) -> Vec<u8> {
    match fixture.call(&[b"DUMP", key.as_bytes()]) {
        Reply::Bulk(payload) => payload,
        other => panic!("{other:?}"),
    }
}

fn restore(fixture: &mut Fixture, key: &str, ttl: &str, payload: &[u8], options: &str) -> String {
    let mut args: Vec<&[u8]> = vec![b"RESTORE", key.as_bytes(), ttl.as_bytes(), payload];
    args.extend(options.split_whitespace().map(str::as_bytes));
    show(&fixture.call(&args))
}

#[test]
fn what_was_dumped_is_restored() {
    let mut fixture = Fixture::new();
    for value in ["", "12", "-70000", "9999999999", "text", &"abc".repeat(1000), &"0123456789".repeat(20_000)] {
        fixture.put("a", value);
        let payload = dumped(&mut fixture, "a");
        assert_eq!(restore(&mut fixture, "b", "0", &payload, "replace"), "OK");
        assert_eq!(dumped(&mut fixture, "b"), payload);
    }
    fixture.transcript("> DUMP nope\n(nil)\n> TTL b\n:-1");
}

#[test]
fn the_time_to_live_is_relative_unless_absttl() {
    let mut fixture = Fixture::new();
    fixture.put("a", "1");
    let payload = dumped(&mut fixture, "a");
    assert_eq!(restore(&mut fixture, "b", "1500", &payload, ""), "OK");
    assert_eq!(restore(&mut fixture, "c", "1700000000700", &payload, "ABSTTL"), "OK");
    assert_eq!(restore(&mut fixture, "d", "9223372036854775807", &payload, "ABSTTL"), "OK");
    let overflows = "-ERR invalid expire time in 'restore' command";
    assert_eq!(restore(&mut fixture, "e", "9223372036854775807", &payload, ""), overflows);
    fixture.transcript("> PTTL b\n:1500\n> PTTL c\n:700\n> PEXPIRETIME d\n:9223372036854775807\n> EXISTS e\n:0");
    // A time that has passed: the old value goes and no new one comes.
    assert_eq!(restore(&mut fixture, "c", "1", &payload, "ABSTTL REPLACE"), "OK");
    fixture.transcript("> EXISTS c\n:0");
}

#[test]
fn errors_come_in_the_order_of_redis() {
    let mut fixture = Fixture::new();
    fixture.put("a", "1");
    let mut payload = dumped(&mut fixture, "a");
    let mut refused = |key, ttl, payload: &[u8], options| restore(&mut fixture, key, ttl, payload, options);
    assert_eq!(refused("a", "x", b"bad", "NOPE"), "-ERR syntax error");
    assert_eq!(refused("a", "x", b"bad", "IDLETIME"), "-ERR syntax error");
    assert_eq!(refused("a", "x", b"bad", "IDLETIME -1"), "-ERR Invalid IDLETIME value, must be >= 0");
    assert_eq!(refused("a", "x", b"bad", "FREQ 256"), "-ERR Invalid FREQ value, must be >= 0 and <= 255");
    assert_eq!(refused("a", "x", b"bad", "FREQ x"), "-ERR value is not an integer or out of range");
    assert_eq!(refused("a", "x", b"bad", "FREQ 1 IDLETIME 1"), "-ERR syntax error");
    assert_eq!(refused("a", "x", b"bad", ""), "-BUSYKEY Target key name already exists.");
    assert_eq!(refused("b", "x", b"bad", ""), "-ERR value is not an integer or out of range");
    assert_eq!(refused("b", "-1", b"bad", ""), "-ERR Invalid TTL value, must be >= 0");
    assert_eq!(refused("b", "0", b"bad", ""), "-ERR DUMP payload version or checksum are wrong");
    payload[0] ^= 1;
    assert_eq!(refused("b", "0", &payload, ""), "-ERR DUMP payload version or checksum are wrong");
}

#[test]
fn a_value_over_the_limit_is_refused() {
    let mut fixture = Fixture::new();
    fixture.put("a", &"0123456789".repeat(20));
    let payload = dumped(&mut fixture, "a");
    let mut small = Fixture::with(|options| options.value_bytes_max = 199);
    let error = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    assert_eq!(restore(&mut small, "a", "0", &payload, ""), error);
}
