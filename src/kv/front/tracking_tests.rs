//! Client-side caching, one worker: what is told, when, and to whom.

use crate::kv::application::KeyValue;
use crate::kv::front::stage::Stage;
use crate::kv::jobs::{READ, WRITE};
use crate::kv::metrics::statistics::{Counted, Totals};
use crate::kv::sessions::questions::{Notice, Question};
use crate::kv::sessions::scatter_gather::{self, MessageKind};
use crate::kv::sessions::wire;
use crate::kv::shared::runtime::Knob;
use crate::server::Slot;
use crate::server::counters::{Counter, SERVING};

/// Two clients; the first speaks RESP3 and tracks as it is said.
fn stage(tracking: &str) -> Stage {
    let mut stage = Stage::with(|settings| {
        settings.workers = 1;
        settings.cache_bytes = 1 << 20;
    });
    stage.pump.connect();
    stage.pump.connect();
    stage.call(0, &format!("HELLO 3 / CLIENT TRACKING ON {tracking}"));
    stage
}

/// A push of these keys, as `Stage` shows it.
fn invalidate(keys: &[&str]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("${} {key}", key.len())).collect();
    format!(">2 $10 invalidate *{} {}", keys.len(), keys.join(" "))
}

const ALL: &str = ">2 $10 invalidate _";

#[test]
fn who_has_read_a_key_is_told_once_that_it_has_changed() {
    let mut stage = stage("");
    stage.call(1, "MSET a 1 b 2 c 3");
    assert_eq!(stage.call(0, "MGET a b"), "*2 $1 1 $1 2");
    stage.call(1, "INCR c");
    assert_eq!(stage.replies(0), "", "it was not read");
    stage.call(1, "MSET a 2 b 3");
    assert_eq!(stage.replies(0), format!("{} {}", invalidate(&["a"]), invalidate(&["b"])));
    stage.call(1, "SET a 3");
    assert_eq!(stage.replies(0), "", "it has not read it since");
    stage.call(0, "GET a / EXISTS nothing");
    stage.call(1, "DEL a / SET nothing 1");
    assert_eq!(stage.replies(0), format!("{} {}", invalidate(&["a"]), invalidate(&["nothing"])));
    stage.call(0, "GET a / CLIENT TRACKING OFF");
    stage.call(1, "SET a 4");
    assert_eq!(stage.replies(0), "");
}

#[test]
fn a_change_amid_a_read_is_told_behind_its_reply() {
    let mut stage = stage("");
    stage.call(1, "SET a 1");
    for _ in 0..2 {
        // The reader may find either value: it is told in any case.
        stage.send(0, "GET a");
        stage.send(1, "SET a 1");
        stage.pump.run_lane(WRITE, usize::MAX);
        stage.pump.run_lane(READ, usize::MAX);
        assert_eq!(stage.replies(0).trim_start_matches("$1 1 "), invalidate(&["a"]));
    }
    assert_eq!(stage.call(0, "GET a / SET a 2"), format!("$1 1 +OK {}", invalidate(&["a"])), "its own change");
    stage.call(0, "GET a");
    assert_eq!(
        stage.call(0, "MULTI / INCR a / GET a / EXEC"),
        format!("+OK +QUEUED +QUEUED *2 :3 $1 3 {}", invalidate(&["a"])),
        "never within the reply to EXEC"
    );
}

#[test]
fn what_the_loop_answers_from_memory_is_noted_as_well() {
    let mut stage = stage("");
    stage.call(1, "SET a 1 / GET a");
    stage.call(1, "GET a");
    assert_eq!(stage.send(0, "GET a"), "$1 1", "without a lane");
    stage.call(1, "SET a 2");
    assert_eq!(stage.replies(0), invalidate(&["a"]));
}

#[test]
fn who_has_waited_hears_of_what_its_own_call_did_behind_its_reply_and_of_others_at_once() {
    let mut stage = stage("");
    stage.call(1, "CONFIG SET notify-keyspace-events Kl / RPUSH b x");
    stage.call(0, "LRANGE b 0 -1 / SUBSCRIBE __keyspace@0__:b __keyspace@0__:c");
    let event = |key: &str, name: &str| format!(">3 $7 message $16 __keyspace@0__:{key} $5 {name}");
    assert_eq!(stage.call(0, "BLMOVE a b LEFT LEFT 0"), "");
    stage.call(1, "RPUSH c y");
    assert_eq!(stage.replies(0), event("c", "rpush"));
    stage.call(1, "RPUSH a z");
    assert_eq!(stage.replies(0), format!("$1 z {} {}", event("b", "lpush"), invalidate(&["b"])));
    // The next one is on its own again.
    assert_eq!(stage.call(0, "BLPOP a 0"), "");
    stage.call(1, "RPUSH c y");
    assert_eq!(stage.replies(0), event("c", "rpush"));
}

#[test]
fn a_call_that_fails_or_changes_nothing_tells_nothing() {
    let mut stage = stage("");
    stage.call(1, "SET a x / SADD s 1");
    stage.call(0, "GET a / SMEMBERS s / GET nothing");
    stage.call(1, "INCR a / SADD s 1 / SETNX a 1 / DEL nothing / EXPIRE nothing 1 / MSETNX a 1 nothing 2");
    assert_eq!(stage.replies(0), "");
}

#[test]
fn of_its_own_changes_a_client_hears_only_if_it_likes() {
    let mut stage = stage("NOLOOP");
    stage.call(1, "SET a 1");
    assert_eq!(stage.call(0, "GET a / SET a 2"), "$1 1 +OK");
    stage.call(1, "SET a 3");
    assert_eq!(stage.replies(0), invalidate(&["a"]), "another's change of what it knows by itself");
    stage.call(0, "CLIENT TRACKING OFF / CLIENT TRACKING ON BCAST NOLOOP PREFIX a: PREFIX b:");
    assert_eq!(stage.call(0, "MSET a:1 1 b:1 1"), "+OK");
    stage.call(1, "MULTI / SET b:2 1 / SET a:2 1 / SET c 1 / SET a:1 1 / EXEC");
    assert_eq!(stage.replies(0), format!("{} {}", invalidate(&["a:1", "a:2"]), invalidate(&["b:2"])));
}

#[test]
fn a_client_may_say_of_each_command_whether_it_is_noted() {
    let mut stage = stage("OPTIN");
    stage.call(1, "MSET a 1 b 1 c 1 d 1");
    stage.call(0, "GET a / CLIENT CACHING YES / CLIENT ID / GET b / GET c");
    stage.call(0, "CLIENT CACHING YES / MULTI / GET d / GET a / EXEC");
    stage.call(1, "MSET b 2 c 2 d 2 a 2");
    assert_eq!(stage.replies(0), ["b", "d", "a"].map(|key| invalidate(&[key])).join(" "));
    stage.call(0, "CLIENT TRACKING OFF / CLIENT TRACKING ON OPTOUT");
    stage.call(0, "GET a / CLIENT CACHING NO / GET b / MULTI / GET c / CLIENT CACHING NO / GET d / EXEC");
    stage.call(1, "MSET a 3 b 3 c 3 d 3");
    assert_eq!(stage.replies(0), ["a", "c"].map(|key| invalidate(&[key])).join(" "));
}

#[test]
fn what_is_said_of_the_next_command_ends_with_it_wherever_it_is_answered() {
    let mut stage = stage("OPTOUT");
    let told = |stage: &mut Stage| {
        stage.call(1, "MSET a 1 b 1");
        stage.replies(0)
    };
    for calls in ["MSET a 0 b 0", "GET a / GET b", "GET a / GET b"] {
        stage.call(1, calls);
    }
    // From memory, and then from a lane.
    assert_eq!(stage.send(0, "CLIENT CACHING NO / GET a / GET b"), "+OK $1 0 $1 0", "without a lane");
    assert_eq!(told(&mut stage), invalidate(&["b"]));
    stage.call(0, "CLIENT CACHING NO / SORT_RO a / GET b");
    assert_eq!(told(&mut stage), invalidate(&["b"]));
    // Refused, a command of the loop, one that waits, one that is queued, an EXEC that is refused, a DISCARD.
    for first in ["BOGUS", "GET", "PING", "BLPOP nothing 0.001", "WATCH b", "EXEC"] {
        stage.call(0, &format!("CLIENT CACHING NO / {first}"));
        if first.starts_with("BLPOP") {
            assert!(stage.pump.expire(0));
            stage.pump.settle();
        }
        stage.call(0, "GET b / UNWATCH");
        assert!(told(&mut stage).ends_with(&invalidate(&["b"])), "{first}");
    }
    for transaction in ["MULTI / GET a / EXEC", "MULTI / GET / EXEC", "MULTI / GET a / DISCARD", "MULTI / PING / EXEC"]
    {
        stage.call(0, &format!("CLIENT CACHING NO / {transaction} / GET b"));
        assert_eq!(told(&mut stage), invalidate(&["b"]), "{transaction}");
    }
    // Other commands of its family do not end it, be they refused.
    for first in ["CLIENT ID", "CLIENT ID x", "CLIENT LIST ID x", "CLIENT GETNAME / CLIENT GETREDIR"] {
        stage.call(0, &format!("CLIENT CACHING NO / {first} / GET a / GET b"));
        assert_eq!(told(&mut stage), invalidate(&["b"]), "{first}");
    }
    stage.call(0, "CLIENT CACHING NO / CLIENT BOGUS / GET b");
    assert_eq!(told(&mut stage), invalidate(&["b"]), "that is no command");
}

#[test]
fn who_begins_to_track_within_a_transaction_has_read_its_keys_before() {
    for tracking in ["ON", "ON BCAST", "ON OPTIN"] {
        let mut stage = stage("");
        assert_eq!(
            stage.call(0, &format!("CLIENT TRACKING OFF / MULTI / CLIENT TRACKING {tracking} / GET a / EXEC")),
            format!("+OK +OK +QUEUED +QUEUED *2 +OK _ {ALL}"),
            "{tracking}"
        );
    }
    let mut stage = stage("");
    let calls = "MULTI / GET a / CLIENT TRACKING OFF / CLIENT TRACKING ON / EXEC";
    assert_eq!(stage.call(0, calls), format!("+OK +QUEUED +QUEUED +QUEUED *3 _ +OK +OK {ALL}"));
    assert_eq!(stage.call(0, "MULTI / CLIENT TRACKING ON NOLOOP / GET a / EXEC"), "+OK +QUEUED +QUEUED *2 +OK _");
    stage.call(1, "SET a 1");
    assert_eq!(stage.replies(0), invalidate(&["a"]));
}

#[test]
fn a_flush_and_news_that_were_lost_are_a_change_of_all_keys() {
    let mut stage = stage("");
    stage.call(0, "GET a");
    stage.call(1, "FLUSHDB");
    assert_eq!(stage.replies(0), ALL);
    assert_eq!(Totals(stage.shared.scoreboard).sum(Counted::TrackedKeys), 0);
    stage.call(0, "GET a");
    let application = KeyValue { shared: std::sync::Arc::clone(&stage.shared) };
    stage.pump.replace_executor(&application, WRITE).unwrap();
    stage.pump.deliver(WRITE, usize::MAX);
    assert_eq!(stage.replies(0), ALL);
    stage.call(1, "SET a 1");
    assert_eq!(stage.replies(0), "", "it has been told");
    stage.call(0, "CLIENT TRACKING OFF / CLIENT TRACKING ON BCAST");
    assert_eq!(stage.call(0, "FLUSHALL"), format!("+OK {ALL}"));
}

#[test]
fn a_key_that_ends_has_changed() {
    let mut stage = stage("");
    stage.call(1, "SET a 1 PX 1 / SET b 1 PX 1 / SET c 1 EX 100");
    stage.call(0, "GET a / GET b / GET c");
    while stage.call(1, "EXISTS a b") != ":0" {}
    assert_eq!(stage.call(1, "DEL a"), ":0");
    assert_eq!(stage.replies(0), invalidate(&["a"]), "whose row goes by another's call");
    let mut told = String::new();
    while told.is_empty() {
        stage.pump.idle(WRITE);
        told = stage.replies(0);
    }
    assert_eq!(told, invalidate(&["b"]));
}

#[test]
fn of_too_many_keys_chance_gives_some_up_and_their_readers_are_told() {
    let mut stage = stage("");
    stage.shared.runtime.set(Knob::TrackingKeysMax, 2);
    let replies = stage.call(0, "MGET a b c d e");
    assert_eq!(replies.matches("invalidate").count(), 3, "{replies}");
    let tracked = || Totals(stage.shared.scoreboard).sum(Counted::TrackedKeys);
    assert_eq!((tracked(), Totals(stage.shared.scoreboard).sum(Counted::TrackedItems)), (2, 2));
    stage.shared.runtime.set(Knob::TrackingKeysMax, 1);
    stage.pump.tick();
    assert_eq!(stage.replies(0).matches("invalidate").count(), 1);
    // More than is noted one by one: then it is told of any change.
    stage.shared.runtime.set(Knob::TrackingKeysMax, 0);
    let many: Vec<String> = (0..10_001).map(|number| format!("k{number}")).collect();
    stage.call(0, &format!("EXISTS {}", many.join(" ")));
    stage.call(1, "SET other 1");
    assert_eq!(stage.replies(0), ALL);
    stage.call(1, "SET k7 1");
    assert_eq!(stage.replies(0), "");
}

#[test]
fn another_client_may_be_told_and_its_end_is_told() {
    let mut stage = stage("");
    stage.pump.connect();
    stage.call(2, "HELLO 3");
    stage.call(0, "CLIENT TRACKING ON REDIRECT 3 / GET a");
    stage.call(1, "SET a 1");
    assert_eq!((stage.replies(0), stage.replies(2)), (String::new(), invalidate(&["a"])));
    stage.call(0, "GET a");
    stage.pump.disconnect(2);
    stage.call(1, "SET a 2");
    assert_eq!(stage.replies(0), ">2 $21 tracking-redir-broken :3");
    let line = stage.call(0, "CLIENT INFO");
    assert!(line.contains(" flags=tR ") && line.contains(" redir=3 "), "{line}");
    assert_eq!(
        stage.call(0, "CLIENT TRACKINGINFO"),
        "%3 $5 flags ~2 $2 on $15 broken_redirect $8 redirect :3 $8 prefixes *0"
    );
}

const OTHER: Slot = Slot(1);
const BROKEN: &str = ">2 $21 tracking-redir-broken :77";

/// The first client has what it reads told to client 77, which is on another worker.
fn redirected() -> Stage {
    let mut stage = Stage::with(|settings| settings.workers = 2);
    stage.shared.scoreboard.set(OTHER, Counter::State, SERVING);
    stage.pump.connect();
    stage.pump.connect();
    assert_eq!(stage.send(0, "HELLO 3 / CLIENT TRACKING ON REDIRECT 77").matches("+OK").count(), 0);
    let (to, message) = stage.pump.sent.pop().unwrap();
    let (kind, number, question) = scatter_gather::parse(&message).unwrap();
    assert_eq!((to, kind, wire::decode(question)), (OTHER, MessageKind::Question, Some(Question::RedirectTarget(77))));
    let answer = (OTHER.0 as u64).to_le_bytes();
    stage.pump.hear(OTHER, &scatter_gather::message(MessageKind::Answer, number, &answer));
    assert_eq!(stage.replies(0), "+OK");
    stage
}

impl Stage {
    /// What the other worker was told since the last call.
    fn notices(&mut self) -> Vec<Notice> {
        let sent = std::mem::take(&mut self.pump.sent);
        let notice = |(to, message): (Slot, Vec<u8>)| {
            assert_eq!(to, OTHER);
            let (kind, _, notice) = scatter_gather::parse(&message).unwrap();
            (kind == MessageKind::Notice).then(|| wire::decode(notice).unwrap())
        };
        sent.into_iter().filter_map(notice).collect()
    }

    fn hear_notice(&mut self, notice: &Notice) {
        self.pump.hear(OTHER, &scatter_gather::message(MessageKind::Notice, 0, &wire::encode(notice)));
    }
}

#[test]
fn a_client_of_another_worker_may_be_told_and_its_end_is_told() {
    let mut stage = redirected();
    stage.call(0, "GET a");
    stage.call(1, "SET a 1");
    assert_eq!(stage.notices(), [Notice::Invalidated { target: 77, keys: Some(vec![b"a".to_vec()]) }]);
    stage.call(1, "FLUSHALL");
    assert_eq!(stage.notices(), [Notice::Invalidated { target: 77, keys: None }]);
    stage.call(0, "GET a");
    stage.hear_notice(&Notice::RedirectGone(77));
    assert_eq!(stage.replies(0), "", "nothing has changed");
    stage.call(1, "SET a 2");
    assert_eq!((stage.replies(0), stage.notices()), (BROKEN.to_owned(), vec![]));
    let line = stage.call(0, "CLIENT TRACKINGINFO");
    assert!(line.contains("broken_redirect"), "{line}");
}

#[test]
fn a_change_that_was_on_its_way_to_who_is_gone_is_told_as_a_broken_redirection() {
    let mut stage = redirected();
    stage.call(0, "GET a");
    stage.call(1, "SET a 1");
    stage.hear_notice(&Notice::Undelivered(78));
    assert_eq!(stage.replies(0), "", "another's");
    stage.hear_notice(&Notice::Undelivered(77));
    assert_eq!(stage.replies(0), BROKEN);
    // The same where its whole worker has died.
    let mut stage = redirected();
    stage.call(0, "GET a");
    stage.call(1, "SET a 1");
    stage.pump.lose(OTHER);
    assert_eq!(stage.replies(0), BROKEN);
    stage.call(0, "GET a");
    stage.call(1, "SET a 2");
    assert_eq!(stage.replies(0), BROKEN);
}

#[test]
fn what_could_not_be_sent_to_another_worker_is_made_good_at_the_next_tick() {
    let mut stage = redirected();
    stage.call(0, "GET a");
    stage.call(1, "SET a 1");
    stage.notices();
    stage.pump.tick();
    assert_eq!(stage.notices(), []);
    stage.pump.cannot_send(OTHER);
    stage.pump.tick();
    assert_eq!(stage.notices(), [Notice::Invalidated { target: 77, keys: None }]);
    stage.pump.tick();
    assert_eq!(stage.notices(), []);
}

#[test]
fn a_client_of_this_worker_may_be_told_in_place_of_one_of_another() {
    let mut stage = redirected();
    stage.call(0, "CLIENT TRACKING OFF");
    let invalidated = Notice::Invalidated { target: 1, keys: Some(vec![b"x".to_vec(), b"y".to_vec()]) };
    stage.hear_notice(&invalidated);
    assert_eq!(stage.replies(0), invalidate(&["x", "y"]));
    // RESP2 has only messages for it.
    let heard = Notice::Invalidated { target: 2, keys: None };
    stage.hear_notice(&heard);
    assert_eq!(stage.replies(1), "");
    stage.call(1, "SUBSCRIBE __redis__:invalidate");
    stage.hear_notice(&heard);
    assert_eq!(stage.replies(1), "*3 $7 message $20 __redis__:invalidate $-1");
    assert_eq!(stage.notices(), []);
    let question = wire::encode(&Question::RedirectTarget(1));
    stage.pump.hear(OTHER, &scatter_gather::message(MessageKind::Question, 5, &question));
    stage.pump.sent.clear();
    stage.pump.disconnect(0);
    assert_eq!(stage.notices(), [Notice::RedirectGone(1)]);
    stage.hear_notice(&invalidated);
    assert_eq!(stage.notices(), [Notice::Undelivered(1)]);
}
