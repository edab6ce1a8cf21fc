//! What SORT does beside what transcripts say: bounds, lanes, large collections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::kv::commands::table;
use crate::kv::errors;
use crate::kv::fixture::{Fixture, show};
use crate::kv::jobs::{HEAVY, READ, WRITE};
use crate::resp::Reply;

#[test]
fn only_what_stores_goes_to_the_writer() {
    let lane = |line: &str| {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        table::resolve(&args).unwrap().lane(&args)
    };
    assert_eq!(lane("SORT a"), Some(READ));
    assert_eq!(lane("SORT a BY store GET store"), Some(READ));
    assert_eq!(lane("SORT a BY w_* STORE b"), Some(WRITE));
    assert_eq!(lane("SORT a STORE"), Some(READ));
    assert_eq!(lane("SORT_RO a STORE b"), Some(READ));
    assert_eq!(lane(&format!("SORT a{}", " GET x*".repeat(20))), Some(HEAVY));
}

#[test]
fn large_sets_and_lists_are_sorted_as_small_ones() {
    let mut fixture = Fixture::new();
    let count = 3000_u64;
    for at in 0..count {
        let number = (at * 7919 % count).to_string();
        fixture.call(&[b"SADD", b"s", number.as_bytes()]);
        fixture.call(&[b"RPUSH", b"l", number.as_bytes()]);
        fixture.call(&[b"SADD", b"w", format!("w{number}").as_bytes()]);
    }
    let numbers = |from: u64, to: u64| -> String {
        format!("[{}]", (from..to).map(|number| number.to_string()).collect::<Vec<_>>().join(" "))
    };
    for key in ["s", "l"] {
        assert_eq!(show(&fixture.run(&format!("SORT {key}"))), numbers(0, count));
        assert_eq!(show(&fixture.run(&format!("SORT {key} LIMIT 1000 3"))), numbers(1000, 1003));
        assert_eq!(show(&fixture.run(&format!("SORT {key} DESC LIMIT 0 2"))), "[2999 2998]");
        assert_eq!(fixture.run(&format!("SORT {key} STORE d")), Reply::Integer(3000));
        assert_eq!(show(&fixture.run("LRANGE d 10 19")), numbers(10, 20));
    }
    assert_eq!(
        show(&fixture.run("SORT l BY nosort DESC LIMIT 1 2")),
        format!("[{} {}]", 2998 * 7919 % count, 2997 * 7919 % count)
    );
    assert_eq!(show(&fixture.run("SORT w ALPHA LIMIT 0 3")), "[w0 w1 w10]");
    assert_eq!(fixture.run("SORT w"), Reply::Error(errors::SORT_NO_DOUBLE.into()));
    assert_eq!(fixture.run("SORT w BY nosort STORE d"), Reply::Integer(3000));
    assert_eq!(show(&fixture.run("LRANGE d 0 2")), "[w0 w1 w10]");
}

#[test]
fn long_weights_and_values_are_read_as_far_as_they_are_needed() {
    let mut fixture = Fixture::new();
    fixture.run("RPUSH l a b");
    fixture.put("w_a", &"1".repeat(100_000));
    fixture.put("w_b", &"2".repeat(100_000));
    fixture.call(&[b"HSET", b"h_a", b"f", "3".repeat(100_000).as_bytes()]);
    assert_eq!(fixture.run("SORT l BY w_*"), Reply::Error(errors::SORT_NO_DOUBLE.into()));
    assert_eq!(fixture.run("SORT l BY h_*->f"), Reply::Error(errors::SORT_NO_DOUBLE.into()));
    assert_eq!(show(&fixture.run("SORT l BY w_* ALPHA DESC")), "[b a]");
    assert_eq!(show(&fixture.run("SORT l BY h_*->f ALPHA DESC")), "[a b]");
    let Reply::Array(values) = fixture.run("SORT l BY nosort GET w_* GET h_*->f") else { panic!("no array") };
    let lengths: Vec<usize> =
        values.iter().map(|value| if let Reply::Bulk(bytes) = value { bytes.len() } else { 0 }).collect();
    assert_eq!(lengths, [100_000, 100_000, 100_000, 0]);
}

#[test]
fn what_limit_asks_for_of_an_unsorted_set_is_all_that_is_looked_at() {
    let mut fixture = Fixture::new();
    fixture.write(|keyspace| {
        for at in 0..30_000 {
            keyspace.set_add(b"s", &[format!("member {at}").as_bytes()]).unwrap();
        }
    });
    // The reader asks it after so many instructions.
    let looks = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&looks);
    fixture.reader.limit_reads(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        false
    });
    let Reply::Array(all) = fixture.run("SORT s BY nosort") else { panic!("no array") };
    assert!(all.len() == 30_000 && looks.swap(0, Ordering::Relaxed) > 100);
    assert_eq!(fixture.run("SORT s BY nosort LIMIT 2 3"), Reply::Array(all[2..5].to_vec()));
    assert!(looks.swap(0, Ordering::Relaxed) < 5);
    assert_eq!(fixture.run("SORT s BY nosort LIMIT 29999 10"), Reply::Array(all[29_999..].to_vec()));
}

#[test]
fn failing_sorts_store_nothing() {
    let mut fixture = Fixture::new();
    fixture.run("RPUSH l 1 x");
    fixture.run("SET d old");
    let changes = fixture.changes();
    assert_eq!(fixture.run("SORT l STORE d"), Reply::Error(errors::SORT_NO_DOUBLE.into()));
    assert_eq!((show(&fixture.run("GET d")), fixture.changes()), ("old".to_owned(), changes));
}
