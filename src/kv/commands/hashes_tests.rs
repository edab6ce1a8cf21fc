//! Hashes whose fields have rows of their own answer as packed ones do.

use std::collections::BTreeMap;

use crate::kv::fixture::{Fixture, show};
use crate::resp::Reply;

/// A hash of so many fields, `field:N` with `value:N`.
fn filled(fields: usize) -> Fixture {
    let mut fixture = Fixture::new();
    for number in 0..fields {
        fixture.run(&format!("HSET h field:{number} value:{number}"));
    }
    fixture
}

fn pairs(reply: &Reply) -> BTreeMap<String, String> {
    let Reply::Map(pairs) = reply else { panic!("{}", show(reply)) };
    let found: BTreeMap<_, _> = pairs.iter().map(|(field, value)| (show(field), show(value))).collect();
    assert_eq!(found.len(), pairs.len(), "no field comes twice");
    found
}

fn items(reply: Reply) -> Vec<String> {
    let Reply::Array(items) = reply else { panic!("{}", show(&reply)) };
    items.iter().map(show).collect()
}

#[test]
fn a_large_hash_answers_as_a_small_one() {
    for fields in [3, 500] {
        let mut fixture = filled(fields);
        assert_eq!(show(&fixture.run("HLEN h")), format!(":{fields}"));
        let expected: BTreeMap<_, _> =
            (0..fields).map(|number| (format!("field:{number}"), format!("value:{number}"))).collect();
        assert_eq!(pairs(&fixture.run("HGETALL h")), expected);
        let mut names = items(fixture.run("HKEYS h"));
        names.sort_unstable();
        assert_eq!(names, expected.keys().cloned().collect::<Vec<_>>());
        let mut values = items(fixture.run("HVALS h"));
        values.sort_unstable();
        let mut expected_values: Vec<_> = expected.values().cloned().collect();
        expected_values.sort_unstable();
        assert_eq!(values, expected_values);
        fixture.transcript(
            "
            > HGET h field:1
            value:1
            > HGET h nothing
            (nil)
            > HMGET h field:2 nothing field:2
            [value:2 (nil) value:2]
            > HEXISTS h field:2
            :1
            > HEXISTS h nothing
            :0
            > HSTRLEN h field:0
            :7
            > HSTRLEN h nothing
            :0
            > HSETNX h field:1 other
            :0
            > HINCRBY h field:1 1
            -ERR hash value is not an integer
            > HINCRBYFLOAT h field:1 1
            -ERR hash value is not a float
            > HINCRBY h number 5
            :5
            > HINCRBYFLOAT h number 0.5
            5.5
            > HDEL h number field:0 nothing
            :2
            > HGET h field:0
            (nil)
            ",
        );
        assert_eq!(show(&fixture.run("HLEN h")), format!(":{}", fields - 1));
        fixture.run("COPY h copied");
        fixture.run("RENAME h renamed");
        fixture.run("HSET copied field:1 changed");
        assert_eq!(pairs(&fixture.run("HGETALL renamed")).len(), fields - 1);
        fixture.transcript(
            "
            > HGET renamed field:1
            value:1
            > HGET copied field:1
            changed
            > EXISTS h
            :0
            > HGETALL h
            {}
            ",
        );
        let fields: Vec<String> = pairs(&fixture.run("HGETALL renamed")).into_keys().collect();
        fixture.run(&format!("HDEL renamed {}", fields.join(" ")));
        assert_eq!(show(&fixture.run("TYPE renamed")), "none");
    }
}

#[test]
fn a_walk_shows_every_field_that_stays_while_the_hash_grows_out_of_its_row() {
    let mut fixture = filled(100);
    let (mut cursor, mut seen, mut calls) = ("0".to_owned(), BTreeMap::new(), 0);
    loop {
        let Reply::Array(parts) = fixture.run(&format!("HSCAN h {cursor} COUNT 7")) else { panic!() };
        let [next, found] = <[Reply; 2]>::try_from(parts).unwrap();
        let found = items(found);
        seen.extend(found.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())));
        calls += 1;
        for number in 0..20 {
            fixture.run(&format!("HSET h new:{calls}:{number} x"));
        }
        cursor = show(&next);
        if cursor == "0" {
            break;
        }
    }
    assert!((0..100).all(|number| seen.contains_key(&format!("field:{number}"))));

    let (mut cursor, mut seen, mut calls) = ("0".to_owned(), BTreeMap::new(), 0);
    loop {
        let Reply::Array(parts) = fixture.run(&format!("HSCAN h {cursor} MATCH field:* COUNT 5")) else { panic!() };
        let [next, found] = <[Reply; 2]>::try_from(parts).unwrap();
        seen.extend(items(found).chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())));
        calls += 1;
        fixture.run(&format!("HDEL h new:1:{}", calls % 20));
        fixture.run(&format!("HSET h more:{calls} x"));
        cursor = show(&next);
        if cursor == "0" {
            break;
        }
    }
    let expected: BTreeMap<_, _> =
        (0..100).map(|number| (format!("field:{number}"), format!("value:{number}"))).collect();
    assert_eq!(seen, expected);
    assert!(calls > 10, "{calls} calls");
}

#[test]
fn fields_at_random_are_different_ones_unless_any_may_come_again() {
    for fields in [40, 1000] {
        let mut fixture = filled(fields);
        for count in [1, 7, fields / 2, fields - 1, fields, 2 * fields] {
            let mut found = items(fixture.run(&format!("HRANDFIELD h {count}")));
            assert_eq!(found.len(), count.min(fields));
            found.sort_unstable();
            found.dedup();
            assert_eq!(found.len(), count.min(fields), "none comes twice");
            assert_eq!(items(fixture.run(&format!("HRANDFIELD h -{count}"))).len(), count);
        }
        let Reply::Array(pairs) = fixture.run("HRANDFIELD h 5 WITHVALUES") else { panic!() };
        for pair in pairs {
            let pair = items(pair);
            assert_eq!(pair[0].replace("field", "value"), pair[1]);
        }
        let one = show(&fixture.run("HRANDFIELD h"));
        assert!(one.starts_with("field:"), "{one}");
    }
}
