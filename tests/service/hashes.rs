//! Large hashes beside other clients: a reply is of one moment, and nobody waits for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::{Service, Value};

const FIELDS: usize = 20_000;
const ROUNDS: usize = 6;

/// HSET of all fields to the same value.
fn fill(round: usize) -> Vec<String> {
    let pairs = (0..FIELDS).flat_map(|number| [format!("field:{number}"), format!("value:{round}")]);
    ["HSET", "h"].map(str::to_owned).into_iter().chain(pairs).collect()
}

#[test]
fn a_large_hash_is_read_as_of_one_moment_while_others_go_on() {
    let service = Service::start(&[("WORKERS", "2")]);
    let mut writing = service.connect();
    assert_eq!(writing.call(&fill(0)).integer(), FIELDS as i64);
    let is_over = AtomicBool::new(false);
    let (whole, others) = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut connection = service.connect();
            let mut replies = 0;
            while !is_over.load(Ordering::SeqCst) {
                let reply = connection.call(&["HGETALL", "h"]);
                let items = reply.items();
                assert_eq!(items.len(), 2 * FIELDS);
                let first = &items[1];
                assert!(items.chunks_exact(2).all(|pair| pair[1] == *first), "half of a change was seen");
                replies += 1;
            }
            replies
        });
        let other = scope.spawn(|| {
            let mut connection = service.connect();
            let mut replies = 0;
            while !is_over.load(Ordering::SeqCst) {
                // Never in the cache, so a reader answers.
                assert!(matches!(connection.call(&["GET", &format!("key:{replies}")]), Value::Null(_)));
                replies += 1;
            }
            replies
        });
        for round in 1..=ROUNDS {
            assert_eq!(writing.call(&fill(round)).integer(), 0);
        }
        is_over.store(true, Ordering::SeqCst);
        (reader.join().unwrap(), other.join().unwrap())
    });
    println!("{whole} whole hashes and {others} other reads");
    assert!(whole > 0 && others > 10 * whole, "{whole} whole hashes, and only {others} other reads");
    assert_eq!(writing.ask("DEL h"), ":1");
    assert_eq!(writing.ask("HLEN h"), ":0");
}
