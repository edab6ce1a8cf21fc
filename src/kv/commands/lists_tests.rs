//! Lists on a keyspace: positions and ranges of small and large ones against vectors, and which encoding they have.

use proptest::prelude::*;

use crate::kv::fixture::{Fixture, show};

fn push(fixture: &mut Fixture, key: &str, items: impl IntoIterator<Item = String>) {
    let items: Vec<String> = items.into_iter().collect();
    for part in items.chunks(1000) {
        let args: Vec<&[u8]> =
            [&b"RPUSH"[..], key.as_bytes()].into_iter().chain(part.iter().map(String::as_bytes)).collect();
        fixture.call(&args);
    }
}

/// The matches of LPOS, by its rules.
fn positions(items: &[u8], wanted: u8, rank: i64, count: Option<usize>, items_max: usize) -> Vec<usize> {
    let looked = if items_max == 0 { items.len() } else { items_max.min(items.len()) };
    let mut indexes: Vec<usize> = (0..items.len()).collect();
    if rank < 0 {
        indexes.reverse();
    }
    let matches = indexes.into_iter().take(looked).filter(|index| items[*index] == wanted);
    let most = match count {
        None => 1,
        Some(0) => usize::MAX,
        Some(count) => count,
    };
    matches.skip(rank.unsigned_abs() as usize - 1).take(most).collect()
}

fn shown(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn positions_and_ranges_are_those_of_a_vector(
        items in prop_oneof![prop::collection::vec(0..4u8, 1..20), prop::collection::vec(0..20u8, 130..300)],
        holes in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        asked in prop::collection::vec((0..4u8, prop_oneof![-3..0i64, 1..4i64], 0..4usize, 0..12usize), 1..8),
        ranges in prop::collection::vec((-310..310i64, -310..310i64), 1..12),
    ) {
        let mut fixture = Fixture::new();
        push(&mut fixture, "l", items.iter().map(u8::to_string));
        let mut items = items;
        for hole in holes {
            let place = hole.index(items.len());
            prop_assert_eq!(show(&fixture.run(&format!("LSET l {place} gone"))), "OK");
            prop_assert_eq!(show(&fixture.run("LREM l 1 gone")), ":1");
            items.remove(place);
            if items.is_empty() {
                return Ok(());
            }
        }
        for (wanted, rank, count, items_max) in asked {
            let found = positions(&items, wanted, rank, Some(count), items_max);
            let call = format!("LPOS l {wanted} RANK {rank} COUNT {count} MAXLEN {items_max}");
            prop_assert_eq!(show(&fixture.run(&call)), shown(found.iter().map(|index| format!(":{index}"))));
            let first = positions(&items, wanted, rank, None, items_max);
            let call = format!("LPOS l {wanted} RANK {rank} MAXLEN {items_max}");
            let expected = first.first().map_or("(nil)".to_owned(), |index| format!(":{index}"));
            prop_assert_eq!(show(&fixture.run(&call)), expected);
        }
        let length = items.len() as i64;
        for (start, stop) in ranges {
            let from_end = |number: i64| if number < 0 { length + number } else { number };
            let (first, last) = (from_end(start).max(0), from_end(stop).min(length - 1));
            let within = (first..=last).map(|index| items[index as usize].to_string());
            prop_assert_eq!(show(&fixture.run(&format!("LRANGE l {start} {stop}"))), shown(within));
            let index = from_end(start);
            let item = usize::try_from(index).ok().and_then(|index| items.get(index));
            let expected = item.map_or("(nil)".to_owned(), |item| item.to_string());
            prop_assert_eq!(show(&fixture.run(&format!("LINDEX l {start}"))), expected);
        }
    }
}

#[test]
fn the_encoding_is_the_one_of_redis_7_2() {
    let mut fixture = Fixture::new();
    let encoding = |fixture: &mut Fixture| show(&fixture.run("OBJECT ENCODING l"));
    // 7 bytes, and 12 for each item: 682 of them are 8191 bytes.
    push(&mut fixture, "l", (0..682).map(|number| format!("item {number:05}")));
    assert_eq!(encoding(&mut fixture), "listpack");
    push(&mut fixture, "l", ["one more".to_owned()]);
    assert_eq!(encoding(&mut fixture), "quicklist");
    // Half of 8192 bytes: 340 items.
    fixture.run("LTRIM l 0 340");
    assert_eq!(encoding(&mut fixture), "quicklist");
    fixture.run("LPOP l");
    assert_eq!(encoding(&mut fixture), "listpack");
    fixture.run("DEL l");
    push(&mut fixture, "l", ["a".to_owned()]);
    let long = "x".repeat(8200);
    fixture.call(&[b"LSET", b"l", b"0", long.as_bytes()]);
    assert_eq!(encoding(&mut fixture), "quicklist");
    fixture.run("LSET l 0 a");
    assert_eq!(encoding(&mut fixture), "listpack");
}
