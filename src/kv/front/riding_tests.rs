//! Calls that ride in a pipeline's run, stepped by hand: how many jobs there are, and the order of the replies.

use crate::kv::commands::table;
use crate::kv::front::stage::Stage;
use crate::kv::jobs::{HEAVY, READ, WRITE};
use crate::kv::metrics::statistics::{OfCommand, Totals};

fn stage() -> Stage {
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
                 CLIENT ID / CLIENT GETNAME / UNWATCH / DISCARD / EXEC / OBJECT BOGUS / MULTI / DISCARD";
    let replies = "+OK +PONG $1 2 +OK +OK -ERR unknown command 'BOGUS', with args beginning with:  -ERR \
                   wrong number of arguments for 'get' command -ERR DB index is out of range $1 x $1 2 +OK $1 1 :1 $-1 +OK \
                   -ERR DISCARD without MULTI -ERR EXEC without MULTI \
                   -ERR unknown subcommand 'BOGUS'. Try OBJECT HELP. +OK +OK";
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
