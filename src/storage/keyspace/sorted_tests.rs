//! Sorted sets as they lie in the file, what is said of them, and what they cost.

use std::collections::BTreeSet;

use super::{Bound, Thresholds};
use crate::storage::fixture::{Fixture, NOW_MS, memory};
use crate::storage::{Direction, Encoding, Expiry, Keyspace, Kind, Lookup, SortedSet, StorageError};

/// After all that is not expired at `NOW_MS`: the views ask SQLite's clock.
const IN_3000: i64 = 32_503_680_000_000;

fn add(keyspace: &mut Keyspace, key: &[u8], member: &[u8], score: f64) {
    keyspace.sorted_set_add::<StorageError>(key, &[member], |_, _| Ok(Some(score))).unwrap();
}

fn found<'a>(keyspace: &'a Keyspace, key: &[u8]) -> SortedSet<'a> {
    let Lookup::Found(set) = keyspace.sorted_set(key).unwrap() else { panic!("no sorted set") };
    set
}

fn members(set: &SortedSet<'_>, rank: u64, count: u64, direction: Direction) -> Vec<String> {
    let mut members = Vec::new();
    set.each_from::<StorageError>(rank, count, direction, |member, score| {
        members.push(format!("{} {score}", String::from_utf8_lossy(member)));
        Ok(())
    })
    .unwrap();
    members
}

#[test]
fn a_set_whose_first_members_all_went_is_copied_with_what_its_ranks_are_found_by() {
    let mut fixture = Fixture::new();
    fixture.write(|keyspace| {
        for n in 0..1000 {
            add(keyspace, b"z", format!("{n:04}").as_bytes(), 0.0);
        }
        for n in 0..400 {
            keyspace.sorted_set_remove(b"z", &[format!("{n:04}").as_bytes()]).unwrap();
        }
        assert!(keyspace.copy(b"z", 0, b"copy", false).unwrap());
        for key in [b"z".as_slice(), b"copy"] {
            let set = found(keyspace, key);
            assert_eq!(members(&set, 0, 1, Direction::Forward), ["0400 0"]);
            assert_eq!(members(&set, 299, 2, Direction::Forward), ["0699 0", "0700 0"]);
            assert_eq!(set.rank(b"0400").unwrap(), Some((0, 0.0)));
            add(keyspace, key, b"0000", 0.0);
            assert_eq!(found(keyspace, key).rank(b"0400").unwrap(), Some((1, 0.0)));
        }
    });
}

#[test]
fn the_encoding_grows_as_in_redis_and_stays() {
    let mut fixture = Fixture::new();
    fixture.write(|keyspace| {
        let encoding = |keyspace: &Keyspace, key: &[u8]| {
            let set = found(keyspace, key);
            (set.elements().encoding(), set.is_packed())
        };
        for n in 0..128 {
            add(keyspace, b"many", format!("m{n}").as_bytes(), 1.0);
        }
        assert_eq!(encoding(keyspace, b"many"), (Encoding::Listpack, false));
        add(keyspace, b"many", b"m0", 2.0);
        assert_eq!(encoding(keyspace, b"many").0, Encoding::Listpack);
        add(keyspace, b"many", b"one more", 2.0);
        assert_eq!(encoding(keyspace, b"many").0, Encoding::Skiplist);
        add(keyspace, b"long", &[b'x'; 64], 2.0);
        assert_eq!(encoding(keyspace, b"long"), (Encoding::Listpack, true));
        add(keyspace, b"long", &[b'x'; 65], 2.0);
        keyspace.sorted_set_remove(b"long", &[&[b'x'; 65]]).unwrap();
        assert_eq!(encoding(keyspace, b"long"), (Encoding::Skiplist, true));
        assert!(keyspace.copy(b"long", 0, b"copy", false).unwrap());
        assert_eq!(encoding(keyspace, b"copy"), (Encoding::Skiplist, true));
        keyspace.set_thresholds(Thresholds { zset_max_listpack_entries: 2, ..Thresholds::default() });
        let three: [&[u8]; 3] = [b"a", b"b", b"c"];
        keyspace.sorted_set_add::<StorageError>(b"three", &three, |_, _| Ok(Some(0.0))).unwrap();
        assert_eq!(encoding(keyspace, b"three"), (Encoding::Skiplist, true));
        keyspace.set_thresholds(Thresholds::default());
        // Most go, and those that stay are written anew.
        keyspace.sorted_set_remove_ranks(b"many", 1, 127).unwrap();
        assert_eq!(encoding(keyspace, b"many").0, Encoding::Skiplist);
        assert_eq!(members(&found(keyspace, b"many"), 0, 9, Direction::Forward), ["m1 1", "one more 2"]);
    });
}

#[test]
fn whether_a_set_that_is_built_keeps_minus_zero_is_decided_when_its_members_are_all_there() {
    let mut fixture = Fixture::new();
    let (long, tied) = ("x".repeat(65), "y".repeat(300));
    let many: Vec<String> = (0..2000).map(|number| format!("m{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).chain([tied.as_str()]).collect();
    let large = Thresholds { zset_max_listpack_entries: 4000, zset_max_listpack_value: 1000, ..Thresholds::default() };
    for (names, thresholds, expected) in [
        (&["e", "f"][..], Thresholds::default(), (Encoding::Listpack, true, false)),
        (&["e", &long], Thresholds::default(), (Encoding::Skiplist, true, true)),
        (&[&long, "e"], Thresholds::default(), (Encoding::Skiplist, true, true)),
        (&many, Thresholds::default(), (Encoding::Skiplist, false, true)),
        (&many, large, (Encoding::Listpack, false, false)),
    ] {
        fixture.write(|keyspace| {
            keyspace.set_thresholds(thresholds);
            let mut building = keyspace.build(Kind::SortedSet);
            for name in names {
                keyspace.add_score_to(&mut building, name.as_bytes(), -0.0).unwrap();
            }
            keyspace.add_score_to(&mut building, b"one", 1.0).unwrap();
            keyspace.put_built(b"built", building, Expiry::Clear).unwrap();
            let set = found(keyspace, b"built");
            let is_minus = |name: &&&str| set.score(name.as_bytes()).unwrap().unwrap().is_sign_negative();
            // By their own rows and by those of their order.
            let of_members = names.iter().filter(is_minus).count();
            let in_order = members(&set, 0, 5000, Direction::Forward);
            assert_eq!(in_order.iter().filter(|shown| shown.ends_with(" -0")).count(), of_members);
            assert_eq!(of_members, if expected.2 { names.len() } else { 0 });
            let encoding = (set.elements().encoding(), set.is_packed());
            assert_eq!((encoding, in_order.len()), ((expected.0, expected.1), names.len() + 1));
        });
    }
}

#[test]
fn the_views_show_members_packed_or_not_to_a_person() {
    let mut fixture = Fixture::new();
    let long = "long ".repeat(100);
    fixture.write(|keyspace| {
        for (member, score) in
            [("a", 1.5), ("12:3", f64::NEG_INFINITY), ("", 0.0), ("minus", -0.0), ("b", f64::INFINITY), ("c", 1e300)]
        {
            add(keyspace, b"small", member.as_bytes(), score);
        }
        for n in 0..300 {
            add(keyspace, b"large", format!("member {n}").as_bytes(), f64::from(n % 7));
        }
        add(keyspace, b"large", long.as_bytes(), -0.0);
        keyspace.set_expiry(b"large", Some(IN_3000)).unwrap();
    });
    fixture.writer.begin_write(NOW_MS).unwrap();
    let shown = |sql: &str| -> Vec<String> {
        let mut statement = fixture.writer.connection().prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let small = "SELECT database || ' ' || member || ' ' || score FROM v_zset WHERE key = 'small'";
    let expected = ["0 12:3 -Inf", "0  0.0", "0 minus 0.0", "0 a 1.5", "0 c 1.0e+300", "0 b Inf"];
    assert_eq!(shown(small).iter().map(|text| text.replace("-0.0", "0.0")).collect::<Vec<_>>(), expected);
    let large = shown("SELECT member FROM v_zset WHERE key = 'large' AND score = 0 ORDER BY score, member");
    assert_eq!((large.len(), large[0].as_str()), (44, long.as_str()));
    let keys = shown("SELECT key || ' ' || type || ' ' || length || ' ' || value FROM live_key ORDER BY key");
    assert_eq!(keys, ["large zset 301 see v_zset", "small zset 6 see v_zset"]);
}

#[test]
fn damage_of_sorted_sets_is_found() {
    for (damage, problem) in [
        ("DELETE FROM sorted_member WHERE member = CAST('3' AS BLOB)", "has 199 rows"),
        ("DELETE FROM sorted_order WHERE member = CAST('3' AS BLOB)", "has 199 in their order"),
        ("UPDATE sorted_order SET score = 77 WHERE member = CAST('3' AS BLOB)", "otherwise than by themselves"),
        ("UPDATE sorted_order SET is_minus_zero = 1 WHERE member = CAST('0' AS BLOB)", "otherwise than by themselves"),
        ("UPDATE sorted_member SET label = label - 1 WHERE label > 0", "otherwise than by themselves"),
        ("UPDATE sorted_order SET id = 99", "in sorted_order belong to no key"),
        ("UPDATE count_block SET members = members + 1 WHERE tail = x''", "its counts are not"),
        ("UPDATE count_sum SET blocks = 7", "its counts are not"),
        ("DELETE FROM count_block", "its counts are not"),
        ("UPDATE keyspace SET value = CAST('l1:a1:21:b1:1' AS BLOB) WHERE id IS NULL", "do not agree"),
        ("UPDATE keyspace SET value = CAST('l1:a1:11:b1:x' AS BLOB) WHERE id IS NULL", "do not agree"),
    ] {
        let mut fixture = Fixture::new();
        fixture.write(|keyspace| {
            for n in 0..198 {
                add(keyspace, b"z", n.to_string().as_bytes(), f64::from(n));
            }
            add(keyspace, b"z", &[b'l'; 300], 5.0);
            add(keyspace, b"z", &[b'l'; 301], 5.0);
            add(keyspace, b"packed", b"a", 1.0);
            add(keyspace, b"packed", b"b", 2.0);
        });
        assert_eq!(fixture.write(|keyspace| keyspace.verify().unwrap().problems), [""; 0]);
        fixture.writer.connection().execute_batch(damage).unwrap();
        let found = fixture.write(|keyspace| keyspace.verify().unwrap().problems);
        assert!(found.iter().any(|text| text.contains(problem)), "{damage}: {found:?}");
    }
}

#[test]
fn what_was_popped_and_is_undone_is_popped_again() {
    for memory in [crate::storage::memtable::Memory::off(), memory()] {
        let mut fixture = Fixture::on(memory);
        let pop = |keyspace: &mut Keyspace, direction| {
            let mut popped = String::new();
            let shown = keyspace.sorted_set_pop::<StorageError>(b"z", 2, direction, |member, _| {
                popped.push_str(std::str::from_utf8(member).unwrap());
                popped.push(' ');
                Ok(())
            });
            assert!(matches!(shown, Ok(Lookup::Found(_))));
            popped
        };
        fixture.write(|keyspace| {
            for n in 0..1000 {
                add(keyspace, b"z", format!("m{n}").as_bytes(), f64::from(n));
            }
        });
        fixture.write(|keyspace| {
            assert_eq!(pop(keyspace, Direction::Forward), "m0 m1 ");
            let savepoint = keyspace.savepoint();
            assert_eq!(pop(keyspace, Direction::Forward), "m2 m3 ");
            assert_eq!(pop(keyspace, Direction::Backward), "m999 m998 ");
            keyspace.undo_to(savepoint).unwrap();
            assert_eq!(pop(keyspace, Direction::Forward), "m2 m3 ");
            assert_eq!(pop(keyspace, Direction::Backward), "m999 m998 ");
        });
        fixture.writer.begin_write(NOW_MS).unwrap();
        assert_eq!(pop(&mut fixture.writer, Direction::Forward), "m4 m5 ");
        fixture.writer.rollback().unwrap();
        fixture.write(|keyspace| {
            assert_eq!(pop(keyspace, Direction::Forward), "m4 m5 ");
            add(keyspace, b"z", b"low", 3.5);
            add(keyspace, b"z", b"high", 5000.0);
            assert_eq!(pop(keyspace, Direction::Forward), "low m6 ");
            assert_eq!(pop(keyspace, Direction::Backward), "high m997 ");
        });
    }
}

/// Where a set begins, ends and is counted there is remembered between pops: whatever comes between them.
#[test]
fn a_set_that_is_popped_from_at_both_ends_is_right_whatever_comes_between() {
    let mut fixture = Fixture::on(memory());
    Fixture::crowd_keyspace(&mut fixture.writer);
    let mut expected: BTreeSet<(i64, Vec<u8>)> = BTreeSet::new();
    let mut seed = 1_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    let mut new = 0;
    for round in 0..600 {
        // For a while more come at the ends than are kept in mind of them.
        let grows = round / 30 % 4 == 3;
        fixture.write(|keyspace| {
            for _ in 0..random(12) {
                let low = expected.first().map_or(0, |first| first.0);
                let high = expected.last().map_or(0, |last| last.0);
                match random(10) {
                    // More pops than members come while there are many, fewer while there are few.
                    0..=5 if !grows && expected.len() > 8 + random(60) => {
                        let (count, is_max) = (1 + random(3), random(3) == 0);
                        let direction = if is_max { Direction::Backward } else { Direction::Forward };
                        let mut popped = Vec::new();
                        let shown =
                            keyspace.sorted_set_pop::<StorageError>(b"z", count as u64, direction, |member, score| {
                                popped.push((score as i64, member.to_vec()));
                                Ok(())
                            });
                        assert!(matches!(shown, Ok(Lookup::Found(_))));
                        let take = |_| if is_max { expected.pop_last() } else { expected.pop_first() };
                        assert_eq!(popped, (0..count).filter_map(take).collect::<Vec<_>>());
                    }
                    6 if !expected.is_empty() => {
                        let place = random(expected.len());
                        let Some(gone) = expected.iter().nth(place).cloned() else { return };
                        expected.remove(&gone);
                        keyspace.sorted_set_remove(b"z", &[&gone.1]).unwrap();
                    }
                    // Another score, beyond an end or between.
                    7 if !expected.is_empty() => {
                        let Some(moved) = expected.iter().nth(random(expected.len())).cloned() else { return };
                        let score = [low - 1, low, low + 1, high - 1, high, high + 1][random(6)];
                        expected.remove(&moved);
                        add(keyspace, b"z", &moved.1, score as f64);
                        expected.insert((score, moved.1));
                    }
                    kind => {
                        let score = [low - 1, low, low + random(9) as i64, high, high + 1][kind % 5];
                        new += 1;
                        let member = format!("member {new}").into_bytes();
                        add(keyspace, b"z", &member, score as f64);
                        expected.insert((score, member));
                    }
                }
            }
            if expected.is_empty() {
                return;
            }
            let set = found(keyspace, b"z");
            let all: Vec<String> =
                expected.iter().map(|(score, member)| format!("{} {score}", String::from_utf8_lossy(member))).collect();
            assert_eq!(members(&set, 0, u64::MAX, Direction::Forward), all);
            for (rank, (score, member)) in expected.iter().enumerate() {
                assert_eq!(set.rank(member).unwrap(), Some((rank as u64, *score as f64)));
            }
        });
        if random(4) == 0 {
            while fixture.writer.merge(std::time::Duration::from_millis(20)).unwrap().is_some() {}
        }
    }
}

/// Figures for whoever changes something here: `cargo test --release --lib -- --ignored speed_of_sorted --nocapture`.
#[test]
#[ignore = "it measures"]
fn speed_of_sorted_sets() {
    const MEMBERS: u64 = 1_000_000;
    let shape = crate::storage::memtable::Shape {
        generations: crate::storage::sqlite::GENERATIONS,
        generation_bytes: 64 << 20,
        pins: 4,
    };
    let mut fixture = Fixture::on(crate::storage::memtable::Memory::new(shape).unwrap());
    let name = |n: u64| format!("member:{:010}", n.wrapping_mul(0x9E37_79B9) % MEMBERS);
    let score = |n: u64| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64;
    let mut once = |what: &str, work: &mut dyn FnMut(&mut Keyspace)| {
        let begin = crate::sys::clock::monotonic();
        fixture.write(|keyspace| work(keyspace));
        let written = begin.elapsed();
        while fixture.writer.merge(std::time::Duration::from_millis(20)).unwrap().is_some() {}
        let all = begin.elapsed().as_secs_f64();
        println!("{what:40} {:8.0} ms, with its merge {:8.0} ms", written.as_secs_f64() * 1e3, all * 1e3);
    };
    once("building a set of 1,000,000", &mut |keyspace| {
        let mut building = keyspace.build(Kind::SortedSet);
        for n in 0..MEMBERS {
            keyspace.add_new_score_to(&mut building, name(n).as_bytes(), score(n)).unwrap();
        }
        keyspace.put_built(b"z", building, Expiry::Clear).unwrap();
    });
    once("COPY of it", &mut |keyspace| assert!(keyspace.copy(b"z", 0, b"copy", true).unwrap()));
    once("removing the lower half of it", &mut |keyspace| {
        keyspace.sorted_set_remove_ranks(b"copy", 0, MEMBERS / 2).unwrap();
    });
    once("removing 10,000 in its middle", &mut |keyspace| {
        keyspace.sorted_set_remove_ranks(b"copy", 200_000, 10_000).unwrap();
    });
    once("DEL of it", &mut |keyspace| assert!(keyspace.delete(b"copy").unwrap()));
    let mut measure = |what: &str, count: u64, work: &mut dyn FnMut(&mut Keyspace, u64)| {
        let begin = crate::sys::clock::monotonic();
        for group in 0..count / 50 {
            fixture.write(|keyspace| (0..50).for_each(|n| work(keyspace, group * 50 + n)));
        }
        println!("{what:40} {:8.2} us", begin.elapsed().as_secs_f64() * 1e6 / count as f64);
    };
    for round in ["merged", "beside 100,000 rows that are not"] {
        println!("{round}:");
        measure("ZSCORE", 20_000, &mut |keyspace, n| _ = found(keyspace, b"z").score(name(n * 7).as_bytes()).unwrap());
        measure("ZRANK", 2_000, &mut |keyspace, n| _ = found(keyspace, b"z").rank(name(n * 7).as_bytes()).unwrap());
        measure("ZRANGE of 100 in the middle", 2_000, &mut |keyspace, n| {
            let shown = members(&found(keyspace, b"z"), 500_000 + n, 100, Direction::Forward);
            assert_eq!(shown.len(), 100);
        });
        measure("ZREVRANGE of 100 in the middle", 2_000, &mut |keyspace, n| {
            let shown = members(&found(keyspace, b"z"), 500_000 + n, 100, Direction::Backward);
            assert_eq!(shown.len(), 100);
        });
        measure("ZCOUNT", 2_000, &mut |keyspace, n| {
            let bound = Bound::Score { score: score(n), is_behind: true };
            found(keyspace, b"z").count_before(bound).unwrap();
        });
        measure("ZADD, another score", 20_000, &mut |keyspace, n| {
            add(keyspace, b"z", name(n * 3).as_bytes(), score(n + 77));
        });
        measure("ZADD, a new member", 20_000, &mut |keyspace, n| {
            add(keyspace, b"z", format!("new {round} {n}").as_bytes(), score(n));
        });
        measure("ZREM", 5_000, &mut |keyspace, n| {
            keyspace.sorted_set_remove(b"z", &[format!("new {round} {n}").as_bytes()]).unwrap();
        });
        for direction in [Direction::Forward, Direction::Backward] {
            measure("ZPOPMIN, ZPOPMAX", 5_000, &mut |keyspace, _| {
                keyspace.sorted_set_pop::<StorageError>(b"z", 1, direction, |_, _| Ok(())).unwrap();
            });
        }
    }
    measure("HSET of a large one, to compare", 20_000, &mut |keyspace, n| {
        keyspace.hash_set(b"large", &[name(n).as_bytes(), b"a value"]).unwrap();
    });
    measure("ZADD of a small one", 20_000, &mut |keyspace, n| {
        add(keyspace, &(n % 2000).to_le_bytes(), format!("m{}", n / 2000).as_bytes(), score(n));
    });
}
