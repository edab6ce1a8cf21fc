//! Counters on a keyspace. The replies are those of redis-server 7.0.15 to the same calls.

use crate::kv::errors;
use crate::kv::fixture::{Fixture, NOW_MS, show};

#[test]
fn counters_begin_at_zero_and_stay_within_64_bits() {
    Fixture::new().transcript(
        "> incr k
         :1
         > incrby k 41
         :42
         > decr k
         :41
         > decrby k 100
         :-59
         > get k
         -59
         > set k 9223372036854775807
         OK
         > incr k
         -ERR increment or decrement would overflow
         > get k
         9223372036854775807
         > decrby k -9223372036854775808
         -ERR decrement would overflow
         > incrby k -9223372036854775808
         :-1
         > incrby k 1.0
         -ERR value is not an integer or out of range
         > decrby k +1
         -ERR value is not an integer or out of range",
    );
}

#[test]
fn a_value_that_is_no_integer_is_left_as_it_was() {
    let mut fixture = Fixture::new();
    for value in ["abc", "01", "+1", "1.5", "9223372036854775808", "", "12345678901234567890123"] {
        fixture.put("k", value);
        assert_eq!(show(&fixture.run("incr k")), format!("-{}", errors::NOT_AN_INTEGER), "{value}");
        assert_eq!(fixture.write(|keyspace| keyspace.string_length(b"k").unwrap()), found(value));
    }
    fixture.put("k", &"1".repeat(100_000));
    assert_eq!(show(&fixture.run("incr k")), format!("-{}", errors::NOT_AN_INTEGER));
}

fn found(value: &str) -> crate::storage::Lookup<u64> {
    crate::storage::Lookup::Found(value.len() as u64)
}

#[test]
fn counting_keeps_the_time_to_live() {
    let mut fixture = Fixture::new();
    for call in ["incr k", "decrby k 3", "incrbyfloat k 1.5"] {
        fixture.run("set k 1 ex 10");
        fixture.run(call);
        let entry = fixture.write(|keyspace| keyspace.entry(b"k").unwrap().unwrap());
        assert_eq!(entry.expires_at_ms, Some(NOW_MS + 10_000), "{call}");
    }
}

#[test]
fn floats_are_added_as_redis_adds_them() {
    Fixture::new().transcript(
        "> incrbyfloat k 10.50
         10.5
         > incrbyfloat k 0.1
         10.6
         > incrbyfloat k -5
         5.6
         > set k 5.0e3
         OK
         > incrbyfloat k 2.0e2
         5200
         > set k 0x10
         OK
         > incrbyfloat k 0
         16
         > incrbyfloat k x
         -ERR value is not a valid float
         > incrbyfloat k nan
         -ERR value is not a valid float
         > incrbyfloat k inf
         -ERR increment would produce NaN or Infinity
         > get k
         16
         > set k abc
         OK
         > incrbyfloat k 1
         -ERR value is not a valid float
         > set k ''
         OK
         > incrbyfloat k 1
         -ERR value is not a valid float",
    );
}
