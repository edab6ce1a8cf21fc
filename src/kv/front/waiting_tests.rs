//! Clients that wait, on one worker that is stepped by hand: what crosses what, and who gets it.

use crate::kv::application::KeyValue;
use crate::kv::front::stage::Stage;
use crate::kv::jobs::{READ, WRITE};
use crate::kv::shared::turns;

fn stage() -> Stage {
    Stage::with(|_| {})
}

impl Stage {
    fn connected<const N: usize>(&mut self) -> [usize; N] {
        std::array::from_fn(|_| self.pump.connect())
    }

    /// Each sends its call, and waits.
    fn wait(&mut self, calls: &[(usize, &str)]) {
        for (client, call) in calls {
            assert_eq!(self.call(*client, call), "", "{call}");
        }
    }
}

#[test]
fn who_waits_gets_what_comes_in_the_order_of_arrival() {
    let mut stage = stage();
    let [one, two, three, other] = stage.connected();
    stage.wait(&[(one, "TESTWAIT a 0"), (two, "TESTWAIT a 0"), (three, "TESTWAIT a 0")]);
    assert_eq!(stage.pump.parked(WRITE), 3);
    assert_eq!(stage.call(other, "SET b x / SET a 1"), "+OK +OK");
    assert_eq!([one, two, three].map(|client| stage.replies(client)), ["$1 1", "", ""]);
    assert_eq!(stage.call(other, "GET a / SET a 2 / SET a 3 / SET a 4 / GET a"), "$-1 +OK +OK +OK $1 4");
    assert_eq!([one, two, three].map(|client| stage.replies(client)), ["", "$1 2", "$1 3"]);
    assert_eq!(stage.pump.parked(WRITE), 0);
}

#[test]
fn who_waits_for_several_keys_overtakes_nobody_who_waits_longer_for_one_of_them() {
    let mut stage = stage();
    let [one, two, other] = stage.connected();
    stage.wait(&[(one, "BLPOP a 0"), (two, "BLPOP a b c 0")]);
    // The keys are looked at in the order in which they changed: `c` first.
    assert_eq!(stage.call(other, "MULTI / RPUSH c 1 / RPUSH a 2 / EXEC"), "+OK +QUEUED +QUEUED *2 :1 :1");
    assert_eq!([one, two].map(|client| stage.replies(client)), ["*2 $1 a $1 2", "*2 $1 c $1 1"]);
    stage.wait(&[(one, "BLPOP a 0"), (two, "BLPOP a b c 0")]);
    assert_eq!(
        stage.call(other, "MULTI / RPUSH c 1 / RPUSH b 2 / RPUSH a 3 4 / EXEC"),
        "+OK +QUEUED +QUEUED +QUEUED *3 :1 :1 :2"
    );
    assert_eq!(
        [one, two].map(|client| stage.replies(client)),
        ["*2 $1 a $1 3", "*2 $1 a $1 4"],
        "as far as there is enough"
    );
    assert_eq!(stage.call(other, "LRANGE b 0 -1 / LRANGE c 0 -1"), "*1 $1 2 *1 $1 1");
}

#[test]
fn each_may_name_first_what_the_other_is_looked_at_for() {
    const WRONGTYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    let mut stage = stage();
    let [one, two, three, other] = stage.connected();
    stage.wait(&[(one, "BLPOP b a 0"), (two, "BZPOPMIN a b 0")]);
    assert_eq!(stage.call(other, "MULTI / RPUSH a 1 / ZADD b 1 x / EXEC"), "+OK +QUEUED +QUEUED *2 :1 :1");
    assert_eq!([one, two].map(|client| stage.replies(client)), [WRONGTYPE, WRONGTYPE]);
    // None of these gets anything: their groups are ahead.
    for key in ["p", "q", "r"] {
        assert_eq!(stage.call(other, &format!("XGROUP CREATE {key} g 9999999999999-0 MKSTREAM")), "+OK");
    }
    stage.wait(&[
        (one, "XREADGROUP GROUP g c BLOCK 0 STREAMS q p > >"),
        (two, "XREADGROUP GROUP g c BLOCK 0 STREAMS r q > >"),
        (three, "XREADGROUP GROUP g c BLOCK 0 STREAMS p r > >"),
    ]);
    let replies = stage.call(other, "MULTI / XADD p 1-1 f v / XADD q 1-1 f v / XADD r 1-1 f v / EXEC");
    assert_eq!(replies, "+OK +QUEUED +QUEUED +QUEUED *3 $3 1-1 $3 1-1 $3 1-1");
    assert_eq!([one, two, three].map(|client| stage.replies(client)), ["", "", ""]);
    assert_eq!(stage.pump.parked(WRITE), 3);
}

#[test]
fn rights_that_are_taken_between_a_calls_lanes_are_taken() {
    let mut stage = stage();
    let [reads, other] = stage.connected();
    assert_eq!(stage.call(other, "ACL SETUSER ann on nopass ~* +@all"), "+OK");
    assert_eq!(stage.call(reads, "AUTH ann x"), "+OK");
    // A reader looks first, and finds nothing; while it says so the users change, and the loop knows that when it sends the call to the writer.
    assert_eq!(stage.send(reads, "XREAD BLOCK 0 STREAMS s $"), "");
    assert_eq!(stage.pump.work(READ, 1), 1);
    assert_eq!(stage.send(other, "ACL SETUSER ann resetkeys"), "");
    assert_eq!((stage.pump.run_lane(WRITE, 1), stage.replies(other)), (1, "+OK".to_owned()));
    assert_eq!((stage.pump.deliver(READ, 1), stage.pump.queued(WRITE)), (1, 1));
    stage.pump.settle();
    assert_eq!(stage.call(other, "XADD s 1-1 f v"), "$3 1-1");
    assert_eq!(stage.replies(reads), "-NOPERM No permissions to access a key");
}

#[test]
fn what_comes_in_the_same_group_before_or_behind_it_is_enough() {
    let mut stage = stage();
    let [one, two, other] = stage.connected();
    assert_eq!(stage.send(other, "SET a 1"), "");
    assert_eq!(stage.send(one, "TESTWAIT a 0"), "");
    assert_eq!(stage.send(two, "TESTWAIT a 0"), "");
    let late = stage.pump.connect();
    assert_eq!(stage.send(late, "SET a 2"), "");
    assert_eq!(stage.pump.run_lane(WRITE, 4), 4);
    assert_eq!([one, two].map(|client| stage.replies(client)), ["$1 1", "$1 2"]);
    assert_eq!((stage.call(other, "GET a"), stage.pump.parked(WRITE)), ("+OK $-1".to_owned(), 0));
}

#[test]
fn what_those_who_wait_are_answered_counts_as_replies_of_the_group() {
    turns::without_time();
    let mut stage = stage();
    let waiting: Vec<usize> = (0..60).map(|_| stage.pump.connect()).collect();
    let sending: Vec<usize> = (0..60).map(|_| stage.pump.connect()).collect();
    waiting.iter().for_each(|client| assert_eq!(stage.call(*client, "TESTWAIT a 0"), ""));
    for client in &sending {
        assert_eq!(stage.send(*client, "SETRANGE a 299999 x"), "");
    }
    let first = stage.pump.run_lane(WRITE, 60);
    assert!((20..40).contains(&first), "{first} replies of 300 kB in one group");
    stage.pump.settle();
    assert!(waiting.iter().all(|client| stage.replies(*client).ends_with('x')));
}

#[test]
fn a_transaction_serves_when_it_is_over_and_waits_for_nothing_itself() {
    let mut stage = stage();
    let [one, other] = stage.connected();
    stage.wait(&[(one, "TESTWAIT a 0")]);
    assert_eq!(
        stage.call(other, "MULTI / SET a 1 / SET a 2 / TESTWAIT b 0 / GET a / EXEC"),
        "+OK +QUEUED +QUEUED +QUEUED +QUEUED *4 +OK +OK $-1 $1 2"
    );
    assert_eq!(stage.replies(one), "$1 2");
    stage.wait(&[(one, "TESTWAIT a 0")]);
    // Too large to ride in a run.
    let sets = "SET a 1 / ".repeat(200);
    assert!(stage.call(other, &format!("MULTI / {sets}DEL a / EXEC")).ends_with(":1"));
    assert_eq!(stage.replies(one), "", "nothing is left of it");
    assert_eq!(
        stage.call(other, "MULTI / SET a 7 / CLIENT UNBLOCK 1 / GET a / EXEC"),
        "+OK +QUEUED +QUEUED +QUEUED *3 +OK :1 $1 7"
    );
    assert_eq!((stage.replies(one), stage.call(other, "GET a")), ("*-1".to_owned(), "$1 7".to_owned()));
}

#[test]
fn nothing_behind_a_call_that_waits_is_handled_before_its_end() {
    let mut stage = stage();
    let [one, other] = stage.connected();
    assert_eq!(stage.call(one, "SET c 1 / PING / TESTWAIT a 0 / PING / SELECT 3 / SET b 1 / GET b"), "+OK +PONG");
    assert!(stage.call(other, "CLIENT LIST ID 1").contains("flags=b db=0 "));
    assert_eq!(stage.call(other, "SET a 1 / GET b"), "+OK $-1");
    stage.pump.settle();
    assert_eq!(stage.replies(one), "$1 1 +PONG +OK +OK $1 1");
    assert!(stage.call(other, "CLIENT LIST ID 1").contains("flags=N db=3 "));
    // And again while the first one's end is on its way.
    assert_eq!(stage.call(one, "SELECT 0 / TESTWAIT a 0 / TESTWAIT a 0 / PING"), "+OK");
    assert_eq!(stage.call(other, "SET a 1 / SET a 2"), "+OK +OK");
    stage.pump.settle();
    assert_eq!(stage.replies(one), "$1 1 $1 2 +PONG");
}

#[test]
fn who_reads_on_in_a_stream_gets_what_came_since_it_asked_also_from_a_new_writer() {
    let mut stage = stage();
    let [one, two, other] = stage.connected();
    assert_eq!(stage.call(other, "XADD s 1-1 a 1"), "$3 1-1");
    stage.wait(&[(one, "XREAD BLOCK 0 STREAMS s t $ $"), (two, "XREAD BLOCK 0 STREAMS s 5")]);
    assert_eq!(stage.pump.parked(WRITE), 2);
    // Neither brings anything that they wait for.
    assert_eq!(
        stage.call(other, "XDEL s 1-1 / XGROUP CREATE s g 0 / XADD s 1-1 a 1"),
        ":1 +OK -ERR The ID specified in XADD is equal or smaller than the target stream top item"
    );
    let application = KeyValue { shared: std::sync::Arc::clone(&stage.shared) };
    stage.pump.replace_executor(&application, WRITE).unwrap();
    stage.pump.settle();
    assert_eq!(stage.pump.parked(WRITE), 2);
    assert_eq!(stage.call(other, "XADD s 2-2 a 2"), "$3 2-2");
    assert_eq!(stage.replies(one), "*1 *2 $1 s *1 *2 $3 2-2 *2 $1 a $1 2");
    assert_eq!((stage.replies(two), stage.pump.parked(WRITE)), (String::new(), 1));
    assert_eq!(stage.call(other, "XADD s 6-0 a 6"), "$3 6-0");
    assert_eq!(stage.replies(two), "*1 *2 $1 s *1 *2 $3 6-0 *2 $1 a $1 6");
}

#[test]
fn a_consumer_that_waits_is_there_and_a_group_that_goes_ends_its_waiting() {
    let mut stage = stage();
    let [one, two, other] = stage.connected();
    assert_eq!(stage.call(other, "XGROUP CREATE s g $ MKSTREAM"), "+OK");
    stage.wait(&[(one, "XREADGROUP GROUP g A BLOCK 0 STREAMS s >"), (two, "XREADGROUP GROUP g B BLOCK 0 STREAMS s >")]);
    assert_eq!(stage.call(other, "XGROUP CREATECONSUMER s g A / XADD s 1-1 a 1"), ":0 $3 1-1");
    assert_eq!(stage.replies(one), "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1");
    assert_eq!((stage.replies(two), stage.pump.parked(WRITE)), (String::new(), 1));
    assert_eq!(stage.call(other, "XGROUP DESTROY s g"), ":1");
    assert!(stage.replies(two).starts_with("-NOGROUP "));
    assert_eq!(stage.call(other, "XGROUP CREATE s g $"), "+OK");
    stage.wait(&[(one, "XREADGROUP GROUP g A BLOCK 0 STREAMS s >"), (two, "XREAD BLOCK 0 STREAMS s $")]);
    assert_eq!(stage.call(other, "FLUSHALL"), "+OK");
    assert!(stage.replies(one).starts_with("-NOGROUP "));
    assert_eq!((stage.replies(two), stage.pump.parked(WRITE)), (String::new(), 1));
}
