//! What sorted sets are for, as Redis' documentation describes it: a limit of calls in a sliding window, a leaderboard, a queue by priority.

use std::collections::BTreeMap;
use std::thread;

use crate::support::{Connection, Service, Value};

const LIMIT: i64 = 10;
const WINDOW_MS: u64 = 60_000;

/// A call at this time: it is let through if there were fewer than `LIMIT` in the window before.
fn is_let_through(connection: &mut Connection, now_ms: u64, name: &str) -> bool {
    connection.ask("MULTI");
    connection.ask(&format!("ZREMRANGEBYSCORE calls -inf ({}", now_ms - WINDOW_MS));
    connection.ask("ZCARD calls");
    connection.ask(&format!("ZADD calls {now_ms} {name}"));
    connection.ask("EXPIRE calls 60");
    let replies = connection.call(&["EXEC"]);
    replies.items()[1].integer() < LIMIT
}

#[test]
fn a_sliding_window_lets_so_many_calls_through_whoever_makes_them() {
    let service = Service::start(&[("WORKERS", "2")]);
    // Each round begins when the calls of the one before have left the window.
    for round in 1..=3 {
        let now_ms = 2 * WINDOW_MS * round;
        let let_through: usize = thread::scope(|scope| {
            let clients: Vec<_> = (0..4)
                .map(|client| {
                    let mut connection = service.connect();
                    scope.spawn(move || {
                        let calls = (0..25).map(|call| format!("{round}:{client}:{call}"));
                        calls.filter(|name| is_let_through(&mut connection, now_ms, name)).count()
                    })
                })
                .collect();
            clients.into_iter().map(|client| client.join().unwrap()).sum()
        });
        assert_eq!(let_through, LIMIT as usize, "round {round}");
    }
    let mut connection = service.connect();
    assert_eq!(connection.ask("ZCARD calls"), ":100");
    assert!(connection.call(&["TTL", "calls"]).integer() > 0);
}

/// Members and scores in turn.
fn scored(reply: &Value) -> Vec<(String, f64)> {
    reply.items().chunks(2).map(|pair| (pair[0].text(), pair[1].text().parse().unwrap())).collect()
}

#[test]
fn a_leaderboard_knows_its_top_and_who_is_around_somebody() {
    let service = Service::start(&[("WORKERS", "2")]);
    let mut connection = service.connect();
    let mut points: BTreeMap<String, f64> = BTreeMap::new();
    // More players than lie in one row, and points that they win one after the other.
    for game in 0..6_000_u64 {
        let mixed = game.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let (player, won) = (format!("player:{}", mixed % 700), mixed / 700 % 100);
        connection.send(&["ZINCRBY", "board", &won.to_string(), &player]);
        *points.entry(player).or_default() += won as f64;
    }
    (0..6_000).for_each(|_| assert!(!connection.read().is_error()));
    let mut expected: Vec<(String, f64)> = points.into_iter().collect();
    expected.sort_by(|(a, a_points), (b, b_points)| b_points.total_cmp(a_points).then(b.cmp(a)));
    let top = connection.call(&["ZRANGE", "board", "0", "9", "REV", "WITHSCORES"]);
    assert_eq!(scored(&top), expected[..10]);
    for place in [0, 5, 350, expected.len() - 1] {
        let (player, points) = &expected[place];
        let found = connection.call(&["ZREVRANK", "board", player, "WITHSCORE"]);
        assert_eq!(found.items()[0].integer(), place as i64);
        assert_eq!(found.items()[1].text(), points.to_string());
        let (first, last) = (place.saturating_sub(3), (place + 3).min(expected.len() - 1));
        let around = connection.call(&["ZREVRANGE", "board", &first.to_string(), &last.to_string(), "WITHSCORES"]);
        assert_eq!(scored(&around), expected[first..=last]);
    }
    let middle = expected[350].1;
    let better = expected.iter().filter(|(_, points)| *points > middle).count();
    assert_eq!(connection.call(&["ZCOUNT", "board", &format!("({middle}"), "+inf"]).integer(), better as i64);
    // A new season.
    assert_eq!(connection.ask("RENAME board last"), "+OK");
    assert_eq!(connection.ask("ZCARD board"), ":0");
    assert_eq!(connection.call(&["ZCARD", "last"]).integer(), expected.len() as i64);
}

#[test]
fn a_queue_by_priority_gives_each_job_to_one_worker_the_most_urgent_first() {
    const JOBS: usize = 200;
    let service = Service::start(&[("WORKERS", "2")]);
    let mut connection = service.connect();
    let mut taken: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let mut connection = service.connect();
                scope.spawn(move || {
                    let mut taken: Vec<(f64, String)> = Vec::new();
                    loop {
                        let job = connection.call(&["BZPOPMIN", "jobs", "0"]);
                        let (name, priority) = (job.items()[1].text(), job.items()[2].text().parse::<f64>().unwrap());
                        if name.starts_with("end") {
                            return taken;
                        }
                        taken.push((priority, name));
                    }
                })
            })
            .collect();
        for job in 0..JOBS {
            assert_eq!(connection.call(&["ZADD", "jobs", &(job % 7).to_string(), &format!("job:{job}")]).integer(), 1);
        }
        // Less urgent than any other.
        for end in 0..4 {
            connection.call(&["ZADD", "jobs", "1000", &format!("end:{end}")]);
        }
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).map(|(_, name)| name).collect()
    });
    taken.sort();
    let mut expected: Vec<String> = (0..JOBS).map(|job| format!("job:{job}")).collect();
    expected.sort();
    assert_eq!(taken, expected);
    assert_eq!(connection.ask("EXISTS jobs"), ":0");
}
