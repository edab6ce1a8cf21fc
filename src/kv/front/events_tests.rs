//! Keyspace events, one worker: what subscribers hear, and when.

use crate::kv::application::KeyValue;
use crate::kv::front::stage::Stage;
use crate::kv::jobs::{READ, WRITE};

/// The first client hears of these classes; by event.
fn stage(classes: &str) -> Stage {
    let mut stage = Stage::with(|settings| {
        settings.workers = 1;
        settings.cache_bytes = 1 << 20;
    });
    stage.pump.connect();
    stage.pump.connect();
    stage.call(0, "PSUBSCRIBE __keyevent@*");
    stage.call(1, &format!("CONFIG SET notify-keyspace-events E{classes}"));
    stage
}

/// What the first client has heard: `set a`, with `@1` behind a key of database 1.
fn heard(stage: &mut Stage) -> String {
    let replies = stage.replies(0);
    let words: Vec<&str> = replies.split(' ').collect();
    let messages = words.chunks(9).filter(|words| words.len() == 9);
    let events = messages.map(|words| {
        let (database, name) = words[6].strip_prefix("__keyevent@").unwrap().split_once("__:").unwrap();
        if database == "0" { format!("{name} {}", words[8]) } else { format!("{name} {}@{database}", words[8]) }
    });
    events.collect::<Vec<_>>().join(", ")
}

#[test]
fn events_come_after_the_commit_in_the_order_of_the_calls() {
    let mut stage = stage("An");
    stage.send(1, "SET a 1 EX 100 / MULTI / DEL a / SELECT 1 / SADD s 1 / EXEC / INCR s / SET b 1");
    assert_eq!(heard(&mut stage), "");
    stage.pump.work(WRITE, usize::MAX);
    assert_eq!(heard(&mut stage), "");
    stage.pump.settle();
    assert_eq!(heard(&mut stage), "new a, set a, expire a, del a, new s@1, sadd s@1, new b@1, set b@1");
    stage.call(1, "CONFIG SET notify-keyspace-events '' / SET b 2");
    assert_eq!(heard(&mut stage), "");
    stage.call(1, "CONFIG SET notify-keyspace-events K$ / SELECT 0 / SET b 2");
    assert_eq!(stage.replies(0), "", "by key, and nobody listens to that");
    stage.call(0, "SUBSCRIBE __keyspace@0__:b");
    stage.call(1, "SET b 3");
    assert_eq!(stage.replies(0), "*3 $7 message $16 __keyspace@0__:b $3 set");
}

#[test]
fn a_key_that_has_ended_is_told_of_once_however_it_goes() {
    let mut stage = stage("A");
    stage.call(1, "SET a 1 PX 1 / SET b 1 PX 1 / SET c 1 PX 1 / SELECT 1 / SET d 1 PX 1 / SELECT 0 / SET d 1");
    assert!(heard(&mut stage).starts_with("set a, expire a, set b, "));
    while stage.call(1, "EXISTS a b c") != ":0" {}
    while stage.call(1, "SELECT 1 / EXISTS d / SELECT 0") != "+OK :0 +OK" {}
    stage.call(1, "SET a 2");
    assert_eq!(heard(&mut stage), "expired a, set a", "what it is replaced by comes behind it");
    stage.call(1, "DEL b");
    assert_eq!(heard(&mut stage), "expired b");
    stage.call(1, "INCR d / MOVE d 1");
    assert_eq!(heard(&mut stage), "incrby d, expired d@1, move_from d, move_to d@1");
    let mut told = String::new();
    while told.is_empty() {
        stage.pump.idle(WRITE);
        told = heard(&mut stage);
    }
    assert_eq!(told, "expired c", "by itself");
    for _ in 0..20 {
        stage.pump.idle(WRITE);
    }
    assert_eq!(heard(&mut stage), "");
}

#[test]
fn a_key_that_is_not_there_is_missed_wherever_it_is_read() {
    let mut stage = stage("m");
    stage.call(1, "SET here 1");
    stage.call(1, "GET gone / GET here / MGET gone here away / EXISTS away");
    assert_eq!(heard(&mut stage), "keymiss gone, keymiss gone, keymiss away, keymiss away");
    assert_eq!(stage.send(1, "GET gone"), "$-1", "from the cache");
    assert_eq!(heard(&mut stage), "keymiss gone");
    stage.call(1, "STRLEN gone / LLEN gone / DUMP gone / OBJECT ENCODING gone / TTL gone / MEMORY USAGE gone");
    assert_eq!(heard(&mut stage), "keymiss gone, keymiss gone, keymiss gone, keymiss gone", "some only look");
    stage.call(1, "SET here 2 / GET gone / GETEX gone / SET away 1 GET / BITOP NOT new none / COPY none other");
    assert_eq!(heard(&mut stage), "keymiss gone, keymiss gone, keymiss away, keymiss none, keymiss none");
    stage.call(1, "MULTI / GET gone / GET here / EXEC");
    assert_eq!(heard(&mut stage), "keymiss gone");
    stage.send(1, "GET another");
    stage.pump.run_lane(READ, usize::MAX);
    assert_eq!(heard(&mut stage), "keymiss another");
}

#[test]
fn who_may_have_missed_events_is_closed_and_others_are_not() {
    let mut stage = stage("A");
    stage.pump.connect();
    stage.call(2, "SUBSCRIBE jobs");
    let application = KeyValue { shared: std::sync::Arc::clone(&stage.shared) };
    stage.pump.replace_executor(&application, WRITE).unwrap();
    stage.pump.deliver(WRITE, usize::MAX);
    assert!(!stage.pump.is_open(0) && stage.pump.is_open(1) && stage.pump.is_open(2));
    stage.call(1, "CONFIG SET notify-keyspace-events ''");
    stage.call(2, "PSUBSCRIBE *");
    stage.pump.replace_executor(&application, WRITE).unwrap();
    stage.pump.deliver(WRITE, usize::MAX);
    assert!(stage.pump.is_open(2), "there were none");
}
