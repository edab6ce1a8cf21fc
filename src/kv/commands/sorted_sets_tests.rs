//! Sorted sets, small ones and large ones, against models of them.

use std::collections::BTreeMap;

use crate::kv::fixture::Fixture;
use crate::resp::Reply;
use crate::storage::range_of;

/// Members with their scores, as a reply shows them in RESP3.
fn scored(reply: Reply) -> Vec<(String, f64)> {
    let Reply::Array(pairs) = reply else { panic!("{reply:?}") };
    pairs
        .into_iter()
        .map(|pair| match pair {
            Reply::Array(pair) => match &pair[..] {
                [Reply::Bulk(member), Reply::Double(score)] => (String::from_utf8(member.clone()).unwrap(), *score),
                _ => panic!("{pair:?}"),
            },
            other => panic!("{other:?}"),
        })
        .collect()
}

fn members(reply: Reply) -> Vec<String> {
    let Reply::Array(members) = reply else { panic!("{reply:?}") };
    let text = |member| match member {
        Reply::Bulk(member) => String::from_utf8(member).unwrap(),
        other => panic!("{other:?}"),
    };
    members.into_iter().map(text).collect()
}

/// A set as it is expected: its members by score and then name.
fn ordered(set: &BTreeMap<String, f64>) -> Vec<(String, f64)> {
    let mut members: Vec<(String, f64)> = set.iter().map(|(member, score)| (member.clone(), *score)).collect();
    members.sort_by(|(a, a_score), (b, b_score)| a_score.total_cmp(b_score).then(a.cmp(b)));
    members
}

fn add_many(fixture: &mut Fixture, key: &str, members: impl IntoIterator<Item = (String, f64)>) {
    let mut words = vec!["ZADD".to_owned(), key.to_owned()];
    members.into_iter().for_each(|(member, score)| words.extend([score.to_string(), member]));
    let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
    assert!(matches!(fixture.call(&words), Reply::Integer(_)));
}

#[test]
fn small_and_large_sets_answer_alike() {
    let mut fixture = Fixture::new();
    for count in [40, 400] {
        let key = format!("z{count}");
        let set: BTreeMap<String, f64> = (0..count).map(|n| (format!("m{n}"), f64::from(n * 7 % 100) / 2.0)).collect();
        add_many(&mut fixture, &key, set.clone());
        let expected = ordered(&set);
        let names = |range: &[(String, f64)]| range.iter().map(|(member, _)| member.clone()).collect::<Vec<_>>();
        assert_eq!(scored(fixture.run(&format!("ZRANGE {key} 0 -1 WITHSCORES"))), expected);
        let mut reverse = expected.clone();
        reverse.reverse();
        assert_eq!(scored(fixture.run(&format!("ZREVRANGE {key} 0 -1 WITHSCORES"))), reverse);
        for (rank, (member, score)) in expected.iter().enumerate() {
            let rank_reply = Reply::Integer(rank as i64);
            assert_eq!(fixture.run(&format!("ZRANK {key} {member}")), rank_reply);
            let pair = Reply::Array(vec![Reply::Integer(i64::from(count) - 1 - rank as i64), Reply::Double(*score)]);
            assert_eq!(fixture.run(&format!("ZREVRANK {key} {member} WITHSCORE")), pair);
            assert_eq!(fixture.run(&format!("ZSCORE {key} {member}")), Reply::Double(*score));
        }
        for (first, last) in [(0, 9), (35, 39), (-5, -1), (10, 3), (-100, 2)] {
            let Some((begin, count)) = range_of(first, last, expected.len() as u64) else {
                assert_eq!(fixture.run(&format!("ZRANGE {key} {first} {last}")), Reply::Array(Vec::new()));
                continue;
            };
            let range = begin as usize..(begin + count) as usize;
            assert_eq!(members(fixture.run(&format!("ZRANGE {key} {first} {last}"))), names(&expected[range.clone()]));
            assert_eq!(members(fixture.run(&format!("ZRANGE {key} {first} {last} REV"))), names(&reverse[range]));
        }
        for (min, max) in [(0.0, 10.0), (3.5, 3.5), (20.0, 19.0), (-5.0, 0.0), (49.0, 100.0)] {
            for exclusive in [false, true] {
                let within =
                    |score: f64| if exclusive { score > min && score < max } else { score >= min && score <= max };
                let wanted: Vec<_> = expected.iter().filter(|(_, score)| within(*score)).cloned().collect();
                let sign = if exclusive { "(" } else { "" };
                let bounds = format!("{key} {sign}{min} {sign}{max}");
                assert_eq!(members(fixture.run(&format!("ZRANGEBYSCORE {bounds}"))), names(&wanted));
                assert_eq!(fixture.run(&format!("ZCOUNT {bounds}")), Reply::Integer(wanted.len() as i64));
                let mut down = wanted.clone();
                down.reverse();
                let down: Vec<_> = down.into_iter().skip(1).take(3).collect();
                let bounds = format!("{key} {sign}{max} {sign}{min}");
                assert_eq!(members(fixture.run(&format!("ZREVRANGEBYSCORE {bounds} LIMIT 1 3"))), names(&down));
            }
        }
    }
}

#[test]
fn removed_ranges_and_popped_members_are_gone_and_nothing_else() {
    let mut fixture = Fixture::new();
    for count in [40, 400] {
        let set: BTreeMap<String, f64> = (0..count).map(|n| (format!("m{n:03}"), f64::from(n))).collect();
        add_many(&mut fixture, "z", set.clone());
        let mut expected = ordered(&set);
        assert_eq!(fixture.run("ZREMRANGEBYRANK z 3 -30"), Reply::Integer(i64::from(count) - 32));
        expected.drain(3..count as usize - 29);
        assert_eq!(scored(fixture.run("ZRANGE z 0 -1 WITHSCORES")), expected);
        let from = expected[8].1;
        assert_eq!(fixture.run(&format!("ZREMRANGEBYSCORE z ({from} {}", from + 5.0)), Reply::Integer(5));
        expected.drain(9..14);
        assert_eq!(scored(fixture.run("ZRANGE z 0 -1 WITHSCORES")), expected);
        assert_eq!(scored(fixture.run("ZPOPMIN z 4")), expected.drain(..4).collect::<Vec<_>>());
        let mut last: Vec<_> = expected.drain(expected.len() - 3..).collect();
        last.reverse();
        assert_eq!(scored(fixture.run("ZPOPMAX z 3")), last);
        assert_eq!(scored(fixture.run("ZRANGE z 0 -1 WITHSCORES")), expected);
        assert_eq!(fixture.run("ZREMRANGEBYRANK z 0 -1"), Reply::Integer(expected.len() as i64));
        assert_eq!(fixture.run("EXISTS z"), Reply::Integer(0));
    }
}

#[test]
fn what_is_made_of_several_sets_has_the_scores_of_all() {
    let mut fixture = Fixture::new();
    // Packed, large, and a set: in all orders.
    let make = |from: u32, count: u32, factor: f64| -> BTreeMap<String, f64> {
        (from..from + count).map(|n| (format!("m{n}"), f64::from(n) * factor)).collect()
    };
    let sets = [("small", make(0, 40, 0.5)), ("large", make(20, 300, 2.0)), ("larger", make(10, 600, -1.0))];
    for (key, set) in &sets {
        add_many(&mut fixture, key, set.clone());
    }
    let plain: BTreeMap<String, f64> = (0..200).map(|n| (format!("m{}", n * 3), 1.0)).collect();
    for member in plain.keys() {
        fixture.run(&format!("SADD plain {member}"));
    }
    let all: BTreeMap<&str, &BTreeMap<String, f64>> =
        sets.iter().map(|(key, set)| (*key, set)).chain([("plain", &plain)]).collect();
    for keys in
        ["small large", "large larger", "larger plain small", "plain larger large small", "small small", "plain"]
    {
        let names: Vec<&str> = keys.split(' ').collect();
        let weights: Vec<f64> = (1..=names.len()).map(|n| n as f64 * 0.25).collect();
        let weight_words: Vec<String> = weights.iter().map(f64::to_string).collect();
        let sums = |member: &str| -> Vec<f64> {
            names.iter().zip(&weights).filter_map(|(key, weight)| Some(all[key].get(member)? * weight)).collect()
        };
        let mut members: Vec<&String> = names.iter().flat_map(|key| all[key].keys()).collect();
        members.sort();
        members.dedup();
        for (word, fold) in [("SUM", (|a, b| a + b) as fn(f64, f64) -> f64), ("MIN", f64::min), ("MAX", f64::max)] {
            let options = format!("{} {keys} WEIGHTS {} AGGREGATE {word}", names.len(), weight_words.join(" "));
            let folded = |needs: usize| -> BTreeMap<String, f64> {
                let scores = members.iter().map(|member| (member, sums(member)));
                let wanted = scores.filter(|(_, scores)| scores.len() >= needs);
                wanted.map(|(member, scores)| ((*member).clone(), scores.into_iter().reduce(fold).unwrap())).collect()
            };
            for (command, expected) in [("UNION", folded(1)), ("INTER", folded(names.len()))] {
                let shown = scored(fixture.run(&format!("Z{command} {options} WITHSCORES")));
                assert_eq!(shown, ordered(&expected), "{command} {options}");
                let stored = fixture.run(&format!("Z{command}STORE stored {options}"));
                assert_eq!(stored, Reply::Integer(expected.len() as i64));
                assert_eq!(scored(fixture.run("ZRANGE stored 0 -1 WITHSCORES")), ordered(&expected));
            }
        }
        let first = names[0];
        let difference: BTreeMap<String, f64> = all[first]
            .iter()
            .filter(|(member, _)| !names[1..].iter().any(|key| all[key].contains_key(*member)))
            .map(|(member, score)| (member.clone(), *score))
            .collect();
        let shown = scored(fixture.run(&format!("ZDIFF {} {keys} WITHSCORES", names.len())));
        assert_eq!(shown, ordered(&difference), "{keys}");
        let counted = fixture.run(&format!("ZINTERCARD {} {keys}", names.len()));
        let in_all = members.iter().filter(|member| names.iter().all(|key| all[key].contains_key(**member))).count();
        assert_eq!(counted, Reply::Integer(in_all as i64));
    }
}

#[test]
fn a_set_survives_dump_and_restore_in_every_encoding() {
    let mut fixture = Fixture::new();
    for count in [3, 100, 400, 5000] {
        let set: BTreeMap<String, f64> =
            (0..count).map(|n| (format!("member {n}"), f64::from(n * 31 % 97) * 0.1)).collect();
        fixture.run("DEL z y");
        add_many(&mut fixture, "z", set.clone());
        let Reply::Bulk(dump) = fixture.run("DUMP z") else { panic!("no dump") };
        assert_eq!(fixture.call(&[b"RESTORE", b"y", b"0", &dump]), Reply::Ok);
        assert_eq!(scored(fixture.run("ZRANGE y 0 -1 WITHSCORES")), ordered(&set));
        assert_eq!(fixture.run("OBJECT ENCODING y"), fixture.run("OBJECT ENCODING z"));
        assert_eq!(fixture.run("DUMP y"), Reply::Bulk(dump));
    }
}

#[test]
fn random_members_come_with_their_scores() {
    let mut fixture = Fixture::new();
    for count in [20, 500] {
        let set: BTreeMap<String, f64> = (0..count).map(|n| (format!("m{n}"), f64::from(n) + 0.5)).collect();
        add_many(&mut fixture, "z", set.clone());
        for wish in [1, 7, -9, 1000] {
            let shown = scored(fixture.run(&format!("ZRANDMEMBER z {wish} WITHSCORES")));
            let expected = if wish < 0 { 9 } else { count.min(wish) as usize };
            assert_eq!(shown.len(), expected);
            assert!(shown.iter().all(|(member, score)| set[member] == *score));
        }
    }
}

#[test]
fn a_scan_shows_every_member() {
    let mut fixture = Fixture::new();
    add_many(&mut fixture, "z", (0..500).map(|n| (format!("m{n}"), f64::from(n))));
    let (mut cursor, mut seen) = (b"0".to_vec(), BTreeMap::new());
    loop {
        let Reply::Array(mut reply) = fixture.call(&[b"ZSCAN", b"z", &cursor, b"COUNT", b"50"]) else {
            panic!("no scan")
        };
        for pair in members(reply.pop().unwrap()).chunks(2) {
            seen.insert(pair[0].clone(), pair[1].parse::<f64>().unwrap());
        }
        let Some(Reply::Bulk(next)) = reply.pop() else { panic!("no cursor") };
        cursor = next;
        if cursor == b"0" {
            break;
        }
    }
    assert_eq!(seen, (0..500).map(|n| (format!("m{n}"), f64::from(n))).collect());
}

/// A large set, and many small ones of which each takes one member from it; some are named twice, one is not there, one is large as well.
fn many_to_take(fixture: &mut Fixture) -> (BTreeMap<String, f64>, Vec<String>) {
    let set: BTreeMap<String, f64> = (0..3000).map(|n| (format!("m{n}"), f64::from(n % 50))).collect();
    add_many(fixture, "all", set.clone());
    add_many(fixture, "hundreds", (0..400).map(|n| (format!("m{}", n * 5), 1.0)));
    let small = (0..50).map(|n| format!("take{n}")).collect::<Vec<_>>();
    for (n, key) in small.iter().enumerate() {
        add_many(fixture, key, [(format!("m{}", n * 7), 2.0), (format!("other{n}"), 2.0)]);
    }
    let keys =
        ["hundreds", "nowhere"].into_iter().map(String::from).chain(small.iter().cloned()).chain(small[..9].to_vec());
    (set, keys.collect())
}

#[test]
fn a_difference_to_many_sets_is_the_same_as_one_to_each_after_the_other() {
    let mut fixture = Fixture::new();
    let (mut left, keys) = many_to_take(&mut fixture);
    let taken = |n: usize| n.is_multiple_of(5) && n < 2000 || n.is_multiple_of(7) && n < 350;
    left.retain(|member, _| !taken(member[1..].parse().unwrap()));
    let shown = scored(fixture.run(&format!("ZDIFF {} all {} WITHSCORES", keys.len() + 1, keys.join(" "))));
    assert_eq!(shown, ordered(&left));
    assert_eq!(
        fixture.run(&format!("ZDIFFSTORE left {} all {}", keys.len() + 1, keys.join(" "))),
        Reply::Integer(left.len() as i64)
    );
    assert_eq!(scored(fixture.run("ZRANGE left 0 -1 WITHSCORES")), ordered(&left));
    for key in &keys {
        fixture.run(&format!("ZDIFFSTORE all 2 all {key}"));
    }
    assert_eq!(scored(fixture.run("ZRANGE all 0 -1 WITHSCORES")), ordered(&left));
}

#[test]
fn sets_that_together_take_too_much_memory_are_an_error() {
    let mut fixture = Fixture::new();
    add_many(&mut fixture, "z", (0..100).map(|n| (format!("m{n}"), 1.0)));
    add_many(&mut fixture, "large", (0..400).map(|n| (format!("m{n}"), 1.0)));
    let mut union =
        |name: &str, key: &str, count: usize| fixture.run(&format!("{name} {count} {}", [key].repeat(count).join(" ")));
    for name in ["ZUNION", "ZUNIONSTORE d", "ZINTERCARD"] {
        assert!(
            matches!(union(name, "z", 100_000), Reply::Error(text) if text.starts_with("ERR So many sets at once")),
            "{name}"
        );
    }
    assert_eq!(members(union("ZUNION", "z", 300)).len(), 100);
    assert_eq!(union("ZUNIONSTORE d", "large", 1000), Reply::Integer(400));
}
