//! Calls that ride in a pipeline's run, stepped by hand: how many jobs there are, and the order of the replies.

use crate::kv::commands::table;
use crate::kv::front::stage::Stage;
use crate::kv::jobs::{HEAVY, READ, WRITE};
use crate::kv::metrics::statistics::{OfCommand, Totals};
use crate::kv::shared::turns;

fn stage() -> Stage {
    turns::without_time();
    Stage::with(|settings| settings.debug_commands = true)
}

impl Stage {
    /// Sends a pipeline whose changes are one job for the writer, and gives what it is answered when that is done.
    fn one_job(&mut self, client: usize, requests: &str) -> String {
        assert_eq!(self.send(client, requests), "", "{requests}: all replies wait for the writer");
        assert_eq!(self.pump.queued(WRITE), 1, "{requests}");
        assert_eq!(self.pump.run_lane(WRITE, 1), 1);
        assert_eq!([READ, WRITE, HEAVY].map(|lane| self.pump.queued(lane)), [0; 3], "{requests}: nothing else follows");
        self.replies(client)
    }
}

#[test]
fn what_nobody_else_can_see_rides_in_a_run() {
    let mut stage = stage();
    let one = stage.pump.connect();
    let calls = "SET a 1 / PING / PING 2 / SELECT 2 / SET a 2 / BOGUS / GET / SELECT 99 / ECHO x / GET a / SELECT 0 / GET a / \
                 CLIENT ID / CLIENT GETNAME / UNWATCH / DISCARD / EXEC / OBJECT BOGUS / MULTI / DISCARD / SET z 1";
    let replies = "+OK +PONG $1 2 +OK +OK -ERR unknown command 'BOGUS', with args beginning with:  -ERR \
                   wrong number of arguments for 'get' command -ERR DB index is out of range $1 x $1 2 +OK $1 1 :1 $-1 +OK \
                   -ERR DISCARD without MULTI -ERR EXEC without MULTI \
                   -ERR unknown subcommand 'BOGUS'. Try OBJECT HELP. +OK +OK +OK";
    assert_eq!(stage.one_job(one, calls), replies);
    // What comes first is answered at once, and what comes alone does not wait for anybody.
    assert_eq!(stage.send(one, "PING / SET a 3 / PING"), "+PONG");
    stage.pump.settle();
    assert_eq!(stage.replies(one), "+OK +PONG");
    assert_eq!(stage.send(one, "PING"), "+PONG");
}

#[test]
fn what_others_can_see_cuts_a_run() {
    let calls = [
        "INFO server",
        "CONFIG SET maxclients 100",
        "CLIENT SETNAME x",
        "CLIENT INFO",
        "CLIENT NO-TOUCH ON",
        "CLIENT UNPAUSE",
        "HELLO 2",
        "RESET",
        "MONITOR",
        "AUTH x",
        "TIME",
        "LASTSAVE",
        "DEBUG SET-ACTIVE-EXPIRE 1",
        "WATCH a",
        "PUBLISH c x",
        "SUBSCRIBE c",
    ];
    for call in calls {
        let mut stage = stage();
        let one = stage.pump.connect();
        assert_eq!(stage.send(one, &format!("SET a 1 / {call} / SET a 2")), "");
        stage.pump.run_lane(WRITE, 1);
        assert!(stage.replies(one).starts_with("+OK"), "{call}");
        let set = table::number(table::lookup(b"set").unwrap());
        assert_eq!(Totals(stage.shared.scoreboard).command(set, OfCommand::Calls), 1, "{call}");
    }
}

#[test]
fn muting_is_settled_call_by_call() {
    let mut stage = stage();
    let one = stage.pump.connect();
    let calls = "SET a 1 / CLIENT REPLY SKIP / INCR a / INCR a / CLIENT REPLY OFF / INCR a / PING / BOGUS / GET a / CLIENT REPLY ON / \
                 GET a / CLIENT REPLY SKIP / PING / PING / CLIENT REPLY BOGUS / CLIENT REPLY SKIP / BOGUS / INCR a";
    assert_eq!(stage.one_job(one, calls), "+OK :3 +OK $1 4 +PONG -ERR syntax error :5");
    let calls = "CLIENT REPLY OFF / INCR a / CLIENT REPLY SKIP / INCR a / CLIENT REPLY ON / DEBUG OBJECT b / GET a";
    assert_eq!(stage.call(one, calls), "+OK -ERR no such key $1 7");
    assert_eq!(stage.call(one, "CLIENT REPLY SKIP / DEBUG OBJECT b / GET b"), "$-1");
    // On the readers' lanes as well.
    let calls = "CLIENT REPLY SKIP / GET a / PING / GET a / CLIENT REPLY OFF / DUMP a / GETRANGE a 0 1 / CLIENT REPLY ON / GET a";
    assert_eq!(stage.call(one, calls), "+PONG $1 7 +OK $1 7");
}

#[test]
fn a_run_that_is_cut_goes_on_with_the_riders_in_their_places() {
    let mut stage = stage();
    let one = stage.pump.connect();
    assert_eq!(stage.call(one, "SETRANGE big 299999 x"), ":300000");
    let big = format!("${} {}x", 300_000, "\0".repeat(299_999));
    // A read of too much for the writer goes to a reader, and a change behind it to the writer again.
    let calls =
        "PING 0 / SET a 1 / PING 1 / GET big / PING 2 / GET a / SELECT 1 / PING 3 / SET a 2 / PING 4 / GET a / PING 5";
    let expected = format!("$1 0 +OK $1 1 {big} $1 2 $1 1 +OK $1 3 +OK $1 4 $1 2 $1 5");
    assert!(stage.call(one, calls) == expected);
    // Replies that are large are not one answer.
    let calls = format!("SELECT 0 / GETDEL a{}", " / PING x / GET big / GET".repeat(6));
    let refused = "-ERR wrong number of arguments for 'get' command";
    let expected = format!("+OK $1 1{}", format!(" $1 x {big} {refused}").repeat(6));
    assert!(stage.call(one, &calls) == expected);
    // A heavy read and what is around it.
    let calls = "APPEND b 1 / PING 1 / BITCOUNT big / PING 2 / DEL b / PING 3";
    assert_eq!(stage.call(one, calls), ":1 $1 1 :4 $1 2 :1 $1 3");
}

#[test]
fn a_pipeline_of_small_talk_and_changes_is_a_handful_of_jobs() {
    let mut stage = stage();
    let one = stage.pump.connect();
    let unknown = "-ERR unknown command";
    for (between, reply) in [("PING", "+PONG"), ("SELECT 0", "+OK"), ("BOGUS", unknown), ("CLIENT REPLY ON", "+OK")] {
        stage.send(one, &format!("INCR a / {between} / ").repeat(1000));
        let mut jobs = 0;
        while stage.pump.queued(WRITE) > 0 {
            jobs += stage.pump.run_lane(WRITE, 9);
        }
        assert!((1..20).contains(&jobs), "{between}: {jobs} jobs");
        let replies = stage.replies(one);
        assert_eq!(replies.matches(reply).count(), 1000, "{between}");
        assert_eq!(replies.matches(':').count() - replies.matches("with:").count(), 1000);
    }
    assert_eq!(stage.call(one, "GET a"), "$4 4000");
}

#[test]
fn riding_replies_count_as_what_the_client_makes_the_worker_keep() {
    let mut stage = stage();
    let one = stage.pump.connect();
    stage.pump.turns = 0;
    let echo = "x".repeat(10_000);
    stage.send(one, &format!("SET a 1{}", format!(" / ECHO {echo}").repeat(100)));
    // A turn ends when they are many, before the whole pipeline is answered, and they wait for the writer.
    assert_eq!((stage.pump.queued(WRITE), stage.replies(one)), (1, String::new()));
    assert_eq!(stage.call(one, "CLIENT ID").matches(&echo).count(), 100);
}

#[test]
fn a_small_transaction_is_a_part_of_the_run() {
    let mut stage = stage();
    let one = stage.pump.connect();
    let calls = "SET a 1 / MULTI / INCR a / PING / SELECT 2 / GET a / SET a 5 / ECHO x / EXEC / GET a / SELECT 0 / PING / MULTI / \
                 EXEC / MULTI / PING / EXEC / MULTI / GET / GET a / EXEC / MULTI / SET a 7 / DISCARD / MULTI / GET a / EXEC";
    let replies = "+OK +OK +QUEUED +QUEUED +QUEUED +QUEUED +QUEUED +QUEUED *6 :2 +PONG +OK $-1 +OK $1 x $1 5 +OK +PONG +OK *0 +OK \
                   +QUEUED *1 +PONG +OK -ERR wrong number of arguments for 'get' command +QUEUED -EXECABORT Transaction discarded \
                   because of previous errors. +OK +QUEUED +OK +OK +QUEUED *1 $1 2";
    assert_eq!(stage.one_job(one, calls), replies);
    // Muted as a whole, and one by one.
    let calls = "INCR a / CLIENT REPLY SKIP / MULTI / INCR a / CLIENT REPLY OFF / EXEC";
    assert_eq!(stage.one_job(one, calls).matches('-').count(), 2, "CLIENT REPLY is refused in a transaction");
    let calls = "CLIENT REPLY OFF / INCR a / MULTI / INCR a / PING / EXEC / CLIENT REPLY ON / MULTI / GET a / EXEC";
    assert_eq!(stage.one_job(one, calls), "+OK +OK +QUEUED *1 $1 5");
}

#[test]
fn a_transaction_of_reads_rides_with_reads_and_with_changes() {
    let mut stage = stage();
    let one = stage.pump.connect();
    assert_eq!(stage.call(one, "MSET a 1 b 2"), "+OK");
    assert_eq!(
        stage.send(one, &"MULTI / GET a / PING / MGET a b / EXEC / GET a / ".repeat(5)),
        "+OK +QUEUED +QUEUED +QUEUED"
    );
    assert_eq!((stage.pump.queued(READ), stage.pump.run_lane(READ, 1)), (1, 1));
    let replies = "*3 $1 1 +PONG *2 $1 1 $1 2 $1 1";
    assert_eq!(stage.replies(one), format!("{replies}{}", format!(" +OK +QUEUED +QUEUED +QUEUED {replies}").repeat(4)));
    assert_eq!(stage.one_job(one, "SET a 2 / MULTI / GET a / EXEC / INCR a"), "+OK +OK +QUEUED *1 $1 2 :3");
    // What may take long stays where it belongs.
    assert_eq!(stage.send(one, "SET a 2 / MULTI / BITCOUNT a / EXEC / INCR a"), "");
    assert_eq!(stage.pump.run_lane(WRITE, 1), 1);
    assert_eq!((stage.pump.queued(HEAVY), stage.pump.queued(WRITE)), (1, 0));
    stage.pump.settle();
    assert_eq!(stage.replies(one), "+OK +OK +QUEUED *1 :3 :3");
}

#[test]
fn a_transaction_that_needs_more_than_the_lane_cuts_the_run() {
    for call in ["INFO server", "CLIENT SETNAME x", "TIME", "CLIENT LIST ID 99"] {
        let mut stage = stage();
        let one = stage.pump.connect();
        assert_eq!(stage.send(one, &format!("SET a 1 / MULTI / SET a 2 / {call} / EXEC / SET a 3")), "");
        stage.pump.run_lane(WRITE, 1);
        assert_eq!(stage.replies(one), "+OK +OK +QUEUED +QUEUED", "{call}");
        assert_eq!(stage.pump.queued(WRITE), 1, "{call}");
    }
    let mut stage = stage();
    let one = stage.pump.connect();
    assert_eq!(stage.call(one, "WATCH a"), "+OK");
    assert_eq!(stage.send(one, "SET b 1 / MULTI / SET a 2 / EXEC / SET a 3"), "");
    stage.pump.run_lane(WRITE, 1);
    assert_eq!(stage.replies(one), "+OK +OK +QUEUED");
    stage.pump.settle();
    assert_eq!(stage.replies(one), "*1 +OK +OK");
}

#[test]
fn a_run_is_never_cut_within_a_transaction() {
    let mut stage = stage();
    let one = stage.pump.connect();
    assert_eq!(stage.call(one, "SETRANGE big 299999 x"), ":300000");
    let big = format!("$300000 {}x", "\0".repeat(299_999));
    // Each has more replies than one answer of a run.
    let calls = "MULTI / GET big / GET big / INCR a / PING / EXEC / PING / ".repeat(3);
    let replies = format!("+OK +QUEUED +QUEUED +QUEUED +QUEUED *4 {big} {big} :0 +PONG +PONG ");
    let expected: String = (1..4).map(|number| replies.replace(":0", &format!(":{number}"))).collect();
    assert!(stage.call(one, &calls) == expected.trim_end());
    let calls = "MULTI / GET big / GET big / PING / STRLEN big / EXEC / GET a / ".repeat(3);
    let replies = format!("+OK +QUEUED +QUEUED +QUEUED +QUEUED *4 {big} {big} +PONG :300000 $1 3 ");
    assert!(stage.call(one, &calls) == replies.repeat(3).trim_end());
    // The writer has a transaction in one piece, whatever it answers.
    let replies = format!("+OK +OK +QUEUED +QUEUED +QUEUED *3 {big} {big} :4");
    assert!(stage.one_job(one, "SET z 1 / MULTI / GET big / GET big / INCR a / EXEC") == replies);
    // The limit of a reply is that of the transaction, not of the run.
    let too_large = "-ERR the reply is larger than EMPTYSERVER_OUTPUT_BYTES_MAX allows";
    let calls = format!("SET a 1 / MULTI{} / EXEC / GET big", " / GET big".repeat(4));
    let replies = stage.call(one, &calls);
    assert!(replies.ends_with(&format!("*4 {big} {big} {big} {too_large} {big}")));
}

#[test]
fn a_pipeline_of_small_transactions_is_a_handful_of_jobs() {
    let mut stage = stage();
    let one = stage.pump.connect();
    stage.send(one, &"MULTI / INCR a / EXEC / ".repeat(1000));
    let mut jobs = 0;
    while stage.pump.queued(WRITE) > 0 {
        jobs += stage.pump.run_lane(WRITE, 9);
    }
    assert!((1..30).contains(&jobs), "{jobs} jobs");
    assert_eq!(stage.replies(one).matches("*1 :").count(), 1000);
    assert_eq!(stage.call(one, "GET a"), "$4 1000");
}

#[test]
fn a_call_that_fails_leaves_the_rest_of_its_transaction_and_of_the_run() {
    let mut stage = stage();
    let one = stage.pump.connect();
    let calls = "SET a x / MULTI / INCR a / SET b 1 / EXEC / PING / DEBUG PANIC write / MULTI / GET b / EXEC";
    let replies = "+OK +OK +QUEUED +QUEUED *2 -ERR value is not an integer or out of range +OK +PONG";
    assert!(stage.call(one, calls).starts_with(replies));
}
