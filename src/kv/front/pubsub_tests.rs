//! Channels and pushes of one worker, stepped by hand; a test speaks for the other one.

use crate::kv::front::stage::Stage;
use crate::kv::jobs::{READ, WRITE};
use crate::kv::sessions::scatter_gather::{MessageKind, message};
use crate::kv::shared::channel_counts::ChannelKind;
use crate::server::Slot;
use crate::server::counters::{Counter, SERVING};

const OTHER: Slot = Slot(1);

/// Another worker is there.
fn stage() -> Stage {
    let stage = Stage::with(|settings| settings.workers = 2);
    stage.shared.scoreboard.set(OTHER, Counter::State, SERVING);
    stage.shared.channels.begin(OTHER, 1);
    stage.shared.message_numbers.begin(OTHER);
    stage
}

/// What was published on the other worker, with the number that follows the last one by `step`.
fn published(stage: &Stage, step: u64, channel: &str, text: &str) -> Vec<u8> {
    let number = (0..step).map(|_| stage.shared.message_numbers.next(OTHER, Slot(0))).last().unwrap();
    let mut body = vec![0];
    body.extend_from_slice(&(channel.len() as u32).to_le_bytes());
    body.extend_from_slice(channel.as_bytes());
    body.extend_from_slice(text.as_bytes());
    message(MessageKind::Published, number, &body)
}

#[test]
fn a_push_waits_behind_a_job_in_flight_and_behind_the_whole_of_an_exec() {
    let mut stage = stage();
    let (one, two) = (stage.pump.connect(), stage.pump.connect());
    assert!(stage.call(one, "HELLO 3 / SET a 1 / SUBSCRIBE c").ends_with("+OK >3 $9 subscribe $1 c :1"));
    assert_eq!(stage.send(one, "BITCOUNT a / PING"), "");
    assert_eq!(stage.send(two, "PUBLISH c x"), ":1");
    assert_eq!(stage.replies(one), "", "its reply comes first");
    stage.pump.run_lane(READ, 1);
    assert_eq!(stage.replies(one), ":3 +PONG >3 $7 message $1 c $1 x");
    assert_eq!(stage.send(two, "PUBLISH c y"), ":1");
    assert_eq!(stage.replies(one), ">3 $7 message $1 c $1 y", "and nothing holds it when it has come");
    // Its own messages come behind the whole of its EXEC, those of others as well.
    assert_eq!(stage.send(one, "MULTI / PUBLISH c 1 / SET a 2 / PUBLISH c 2 / EXEC"), "+OK +QUEUED +QUEUED +QUEUED");
    assert_eq!(stage.send(two, "PUBLISH c 0"), ":1");
    assert_eq!(stage.replies(one), "");
    stage.pump.run_lane(WRITE, 1);
    let expected = "*3 :1 +OK :1 >3 $7 message $1 c $1 0 >3 $7 message $1 c $1 1 >3 $7 message $1 c $1 2";
    assert_eq!(stage.replies(one), expected);
}

#[test]
fn what_waits_behind_a_reply_has_a_limit() {
    let mut stage = stage();
    let (one, two) = (stage.pump.connect(), stage.pump.connect());
    stage.call(one, "HELLO 3 / SUBSCRIBE c / SET a 1");
    assert_eq!(stage.send(one, "BITCOUNT a"), "");
    let text = "x".repeat(60_000);
    for _ in 0..8 {
        assert_eq!(stage.send(two, &format!("PUBLISH c {text}")), ":1");
        assert!(stage.pump.is_open(one));
    }
    // A subscriber of these settings may have 512 KiB.
    stage.send(two, &format!("PUBLISH c {text}"));
    assert!(!stage.pump.is_open(one));
    assert_eq!(stage.send(two, "PUBLISH c x / PUBSUB NUMSUB c"), ":0 *2 $1 c :0");
}

#[test]
fn only_what_another_worker_wants_goes_there() {
    let mut stage = stage();
    let one = stage.pump.connect();
    assert_eq!(stage.send(one, "PUBLISH c x / SPUBLISH c x"), ":0 :0");
    assert!(stage.pump.sent.is_empty());
    let hash = |kind| stage.shared.channels.hash_of(kind, b"c");
    stage.shared.channels.set(OTHER, ChannelKind::Plain, hash(ChannelKind::Plain), 2).unwrap();
    let mut patterns = stage.shared.patterns.begin(OTHER);
    patterns.set(b"d*", 3).unwrap();
    assert_eq!(stage.send(one, "PUBLISH c x / SPUBLISH c x / PUBLISH dd y / PUBLISH e z"), ":2 :0 :3 :0");
    let kinds: Vec<u8> = stage.pump.sent.iter().map(|(_, message)| message[0]).collect();
    assert_eq!(kinds, [MessageKind::Published as u8; 2]);
    assert_eq!(stage.send(one, "PUBSUB NUMSUB c d / PUBSUB NUMPAT"), "*4 $1 c :2 $1 d :0 :1");
    // Its clients are gone with it.
    stage.shared.scoreboard.set(OTHER, Counter::State, 0);
    assert_eq!(stage.send(one, "PUBLISH c x / PUBLISH dd y / PUBSUB NUMSUB c"), ":0 :0 *2 $1 c :0");
    assert_eq!(stage.pump.sent.len(), 2);
}

#[test]
fn a_message_that_did_not_come_closes_the_subscribers_and_nobody_else() {
    let mut stage = stage();
    let clients: Vec<usize> = (0..3).map(|_| stage.pump.connect()).collect();
    stage.send(clients[0], "SUBSCRIBE c");
    stage.send(clients[1], "PSUBSCRIBE *");
    let next = published(&stage, 1, "c", "1");
    stage.pump.hear(OTHER, &next);
    assert_eq!(stage.replies(clients[0]), "*3 $7 message $1 c $1 1");
    assert_eq!(stage.replies(clients[1]), "*4 $8 pmessage $1 * $1 c $1 1");
    let later = published(&stage, 2, "c", "3");
    stage.pump.hear(OTHER, &later);
    assert_eq!(clients.iter().map(|client| stage.pump.is_open(*client)).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(stage.send(clients[2], "PUBSUB NUMPAT / PUBSUB NUMSUB c"), ":0 *2 $1 c :0");
    // And it goes on from there.
    let one = stage.pump.connect();
    stage.send(one, "SUBSCRIBE c");
    let next = published(&stage, 1, "c", "4");
    stage.pump.hear(OTHER, &next);
    assert!(stage.replies(one).ends_with("$1 4"));
}

#[test]
fn who_subscribes_gets_nothing_that_was_sent_before() {
    let mut stage = stage();
    let (one, two, three) = (stage.pump.connect(), stage.pump.connect(), stage.pump.connect());
    stage.send(one, "SUBSCRIBE c");
    let on_its_way = published(&stage, 1, "c", "1");
    // Had nobody been subscribed for a moment here, the next message would not have been sent.
    stage.send(two, "SUBSCRIBE c");
    stage.send(three, "PSUBSCRIBE c*");
    stage.pump.hear(OTHER, &on_its_way);
    assert_eq!(stage.replies(one), "*3 $7 message $1 c $1 1");
    assert_eq!((stage.replies(two), stage.replies(three)), (String::new(), String::new()));
    let next = published(&stage, 1, "c", "2");
    stage.pump.hear(OTHER, &next);
    for client in [one, two, three] {
        assert!(stage.replies(client).ends_with("$1 2"));
    }
    // Nothing is on its way from a worker that has just started.
    stage.shared.message_numbers.begin(OTHER);
    let four = stage.pump.connect();
    stage.send(four, "SUBSCRIBE c");
    let first = published(&stage, 1, "c", "3");
    stage.pump.hear(OTHER, &first);
    assert!(stage.replies(four).ends_with("$1 3") && stage.replies(two).ends_with("$1 3"));
}

#[test]
fn a_worker_that_died_with_messages_closes_the_subscribers_and_one_that_died_without_does_not() {
    let mut stage = stage();
    let one = stage.pump.connect();
    stage.send(one, "SUBSCRIBE c");
    let next = published(&stage, 1, "c", "1");
    stage.pump.hear(OTHER, &next);
    stage.pump.lose(OTHER);
    stage.shared.message_numbers.begin(OTHER);
    let next = published(&stage, 1, "c", "2");
    stage.pump.hear(OTHER, &next);
    assert!(stage.replies(one).ends_with("$1 2"), "its successor counts anew");
    published(&stage, 1, "c", "3");
    stage.shared.message_numbers.begin(OTHER);
    assert!(stage.pump.is_open(one));
    stage.pump.lose(OTHER);
    assert!(!stage.pump.is_open(one));
}

#[test]
fn who_was_left_out_hears_that_from_the_sender() {
    let mut stage = stage();
    let one = stage.pump.connect();
    stage.send(one, "SUBSCRIBE c");
    let numbered =
        |stage: &Stage| message(MessageKind::Numbered, stage.shared.message_numbers.last(OTHER, Slot(0)), &[]);
    let word = numbered(&stage);
    stage.pump.hear(OTHER, &word);
    assert!(stage.pump.is_open(one), "nothing is missing");
    published(&stage, 1, "c", "1");
    let word = numbered(&stage);
    stage.pump.hear(OTHER, &word);
    assert!(!stage.pump.is_open(one));
}
