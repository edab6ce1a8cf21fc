//! Sets on a keyspace: chance, large ones, and what is made of several, against sets in memory.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::kv::fixture::{Fixture, show};
use crate::resp::Reply;

type Model = BTreeSet<Vec<u8>>;

fn members(reply: Reply) -> Vec<Vec<u8>> {
    let (Reply::Set(items) | Reply::Array(items)) = reply else { panic!("{reply:?}") };
    let bytes = |item| match item {
        Reply::Bulk(bytes) => bytes,
        other => panic!("{other:?}"),
    };
    items.into_iter().map(bytes).collect()
}

/// The members, none of them twice.
fn set(reply: Reply) -> Model {
    let members = members(reply);
    let (count, set) = (members.len(), members.into_iter().collect::<Model>());
    assert_eq!(count, set.len(), "one came twice");
    set
}

fn add(fixture: &mut Fixture, key: &str, members: impl IntoIterator<Item = String>) {
    let members: Vec<String> = members.into_iter().collect();
    for part in members.chunks(1000) {
        let args: Vec<&[u8]> =
            [&b"SADD"[..], key.as_bytes()].into_iter().chain(part.iter().map(String::as_bytes)).collect();
        fixture.call(&args);
    }
}

/// How far counts are from equal: Redis' suite takes 73 as the bound for 19 degrees of freedom at a level of one in ten million.
fn chi_square(counts: &BTreeMap<Vec<u8>, u32>, members: usize) -> f64 {
    let all: u32 = counts.values().sum();
    let expected = f64::from(all) / members as f64;
    let seen: f64 = counts.values().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
    seen + expected * (members - counts.len()) as f64
}

#[test]
fn random_members_are_equally_likely_in_small_and_large_sets() {
    for (size, rounds) in [(20, 4000), (200, 8000)] {
        let mut fixture = Fixture::new();
        add(&mut fixture, "s", (0..size).map(|number| format!("member {number}")));
        // One at a time, some of them different, some of them again.
        for (call, each) in
            [("SRANDMEMBER s", 1), ("SRANDMEMBER s 1", 1), ("SRANDMEMBER s 2", 2), ("SRANDMEMBER s -10", 10)]
        {
            let mut counts = BTreeMap::new();
            for _ in 0..rounds / each {
                let members = match fixture.run(call) {
                    Reply::Bulk(member) => vec![member],
                    reply => members(reply),
                };
                assert_eq!(members.len(), each as usize);
                members.into_iter().for_each(|member| *counts.entry(member).or_default() += 1);
            }
            // Mean of the degrees of freedom, and seven standard deviations.
            let freedom = f64::from(size - 1);
            let bound = freedom + 7.0 * (2.0 * freedom).sqrt() + 20.0;
            let found = chi_square(&counts, size as usize);
            assert!(found < bound, "{call} of {size}: {found} > {bound}");
        }
    }
}

#[test]
fn what_is_popped_is_equally_likely_and_gone() {
    let (mut fixture, mut counts) = (Fixture::new(), BTreeMap::new());
    let all = || (0..150).map(|number| format!("{number}"));
    add(&mut fixture, "s", all());
    for _ in 0..600 {
        let popped = set(fixture.run("SPOP s 5"));
        assert_eq!(popped.len(), 5);
        for member in popped {
            let text = std::str::from_utf8(&member).unwrap();
            assert_eq!(show(&fixture.run(&format!("SISMEMBER s {text}"))), ":0");
            assert_eq!(show(&fixture.run(&format!("SADD s {text}"))), ":1");
            *counts.entry(member).or_default() += 1;
        }
    }
    let found = chi_square(&counts, 150);
    assert!(found < 149.0 + 7.0 * 298.0_f64.sqrt(), "{found}");
    let popped = set(fixture.run("SPOP s 149"));
    let left = set(fixture.run("SMEMBERS s"));
    assert_eq!((popped.len(), left.len()), (149, 1));
    assert!(popped.is_disjoint(&left));
    assert_eq!(set(fixture.run("SPOP s 1")), left);
    fixture.transcript("> EXISTS s\n:0");
}

#[test]
fn a_large_set_is_popped_empty_in_parts() {
    let mut fixture = Fixture::new();
    add(&mut fixture, "s", (0..3000).map(|number| format!("member {number}")));
    let mut seen = Model::new();
    for count in [1, 7, 300, 1000, 691, 500, 600] {
        let popped = set(fixture.run(&format!("SPOP s {count}")));
        assert!(popped.is_disjoint(&seen));
        seen.extend(popped);
        assert_eq!(show(&fixture.run("SCARD s")), format!(":{}", 3000 - seen.len()));
    }
    assert_eq!(seen.len(), 3000);
    fixture.transcript("> EXISTS s\n:0");
}

#[test]
fn where_few_stay_they_keep_the_time_of_the_key_and_are_equally_likely() {
    let mut counts = BTreeMap::new();
    for round in 0..30 {
        let mut fixture = Fixture::new();
        add(&mut fixture, "s", (0..200).map(|number| format!("member {number}")));
        fixture.run("EXPIRE s 100");
        let popped = set(fixture.run("SPOP s 170"));
        let left = set(fixture.run("SMEMBERS s"));
        assert_eq!((popped.len(), left.len()), (170, 30), "{round}");
        assert!(popped.is_disjoint(&left));
        fixture.transcript("> TTL s\n:100\n> SCARD s\n:30");
        left.into_iter().for_each(|member| *counts.entry(member).or_default() += 1);
    }
    let found = chi_square(&counts, 200);
    assert!(found < 199.0 + 7.0 * 398.0_f64.sqrt(), "{found}");
}

#[test]
fn a_scan_sees_what_stays_while_others_come_and_the_form_changes() {
    let mut fixture = Fixture::new();
    add(&mut fixture, "s", (0..2000).map(|number| format!("stays {number}")));
    let (mut seen, mut cursor, mut round) = (Model::new(), "0".to_owned(), 0);
    loop {
        let Reply::Array(reply) = fixture.run(&format!("SSCAN s {cursor} COUNT 50")) else { panic!() };
        let [Reply::Bulk(next), items] = &reply[..] else { panic!("{reply:?}") };
        seen.extend(members(items.clone()));
        cursor = String::from_utf8(next.clone()).unwrap();
        if cursor == "0" {
            break;
        }
        round += 1;
        add(&mut fixture, "s", (0..20).map(|number| format!("comes {round} {number}")));
        fixture.run(&format!("SREM s comes {} 3", round - 1));
    }
    assert!((0..2000).all(|number| seen.contains(format!("stays {number}").as_bytes())));
}

/// As `operation` of the sets with these numbers makes it.
fn made(operation: &str, sets: &[Model], keys: &[usize]) -> Model {
    let mut made = sets[keys[0]].clone();
    for key in &keys[1..] {
        made = match operation {
            "SINTER" => &made & &sets[*key],
            "SUNION" => &made | &sets[*key],
            _ => &made - &sets[*key],
        };
    }
    made
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Sets that are empty, packed, or have rows; more than one portion in the largest.
    #[test]
    fn what_several_sets_make_is_right_in_every_form(
        sizes in proptest::collection::vec(prop_oneof![Just(0_u32), 1..20_u32, 100..200_u32, 1500..3000_u32], 3),
        steps in proptest::collection::vec(1..4_u32, 3),
        keys in proptest::collection::vec(0..3_usize, 1..5),
        is_long in any::<bool>(),
    ) {
        let mut fixture = Fixture::new();
        let mut sets = Vec::new();
        for (number, (size, step)) in sizes.iter().zip(&steps).enumerate() {
            let member = |at: u32| match is_long && at.is_multiple_of(50) {
                true => format!("{}{}", "long".repeat(100), at * step),
                false => (at * step).to_string(),
            };
            add(&mut fixture, &format!("s{number}"), (0..*size).map(member));
            sets.push((0..*size).map(|at| member(at).into_bytes()).collect::<Model>());
        }
        let names: Vec<String> = keys.iter().map(|key| format!("s{key}")).collect();
        let names = names.join(" ");
        for operation in ["SINTER", "SUNION", "SDIFF"] {
            let expected = made(operation, &sets, &keys);
            prop_assert_eq!(set(fixture.run(&format!("{operation} {names}"))), expected.clone(), "{}", operation);
            let stored = show(&fixture.run(&format!("{operation}STORE d {names}")));
            prop_assert_eq!(stored, format!(":{}", expected.len()), "{}", operation);
            prop_assert_eq!(set(fixture.run("SMEMBERS d")), expected.clone(), "{}", operation);
        }
        let count = made("SINTER", &sets, &keys).len();
        let counted = show(&fixture.run(&format!("SINTERCARD {} {names}", keys.len())));
        prop_assert_eq!(counted, format!(":{count}"));
        // Into one of the sources.
        fixture.run(&format!("SUNIONSTORE s{} {names}", keys[0]));
        let expected = made("SUNION", &sets, &keys);
        prop_assert_eq!(set(fixture.run(&format!("SMEMBERS s{}", keys[0]))), expected);
    }
}

#[test]
fn large_ones_are_dumped_restored_and_copied() {
    let mut fixture = Fixture::new();
    add(&mut fixture, "s", (0..20_000).map(|number| format!("member {number}")));
    let Reply::Bulk(payload) = fixture.call(&[b"DUMP", b"s"]) else { panic!() };
    assert_eq!(show(&fixture.call(&[b"RESTORE", b"t", b"0", &payload])), "OK");
    fixture.transcript("> COPY s u\n:1\n> SDIFF s t u\n[]\n> SDIFF t s\n[]\n> SDIFF u t\n[]\n> SCARD u\n:20000\n> DEL s u\n:2\n> SCARD t\n:20000");
    // A time that has passed leaves nothing.
    assert_eq!(show(&fixture.call(&[b"RESTORE", b"t", b"1", &payload, b"REPLACE", b"ABSTTL"])), "OK");
    fixture.transcript("> EXISTS t\n:0\n> DBSIZE\n:0");
}

#[test]
fn a_difference_to_many_sets_is_the_same_as_one_to_each_after_the_other() {
    let mut fixture = Fixture::new();
    let name = |number: usize| format!("member {number}");
    add(&mut fixture, "all", (0..3000).map(name));
    add(&mut fixture, "hundreds", (0..400).map(|number| name(number * 5)));
    let small: Vec<String> = (0..50).map(|number| format!("take{number}")).collect();
    for (number, key) in small.iter().enumerate() {
        add(&mut fixture, key, [name(number * 7), format!("other {number}")]);
    }
    let keys = format!("hundreds nowhere {} {}", small.join(" "), small[..9].join(" "));
    let is_taken =
        |number: &usize| number.is_multiple_of(5) && *number < 2000 || number.is_multiple_of(7) && *number < 350;
    let left: Model = (0..3000).filter(|number| !is_taken(number)).map(|number| name(number).into_bytes()).collect();
    assert_eq!(set(fixture.run(&format!("SDIFF all {keys}"))), left);
    assert_eq!(show(&fixture.run(&format!("SDIFFSTORE left all {keys}"))), format!(":{}", left.len()));
    assert_eq!(set(fixture.run("SMEMBERS left")), left);
    for key in keys.split(' ') {
        fixture.run(&format!("SDIFFSTORE all all {key}"));
    }
    assert_eq!(set(fixture.run("SMEMBERS all")), left);
}
