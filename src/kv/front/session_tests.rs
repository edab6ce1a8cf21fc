//! Sessions on one worker of two, stepped by hand: what happens when two of them, or another worker, come in between.

use crate::kv::front::stage::Stage;
use crate::kv::jobs::{READ, WRITE};
use crate::kv::sessions::questions::Notice;
use crate::kv::sessions::scatter_gather::{self, MessageKind};
use crate::kv::sessions::wire;
use crate::server::counters::SERVING;
use crate::server::{Counter, Slot};
use crate::sys::clock;

const OTHER: Slot = Slot(1);

fn stage() -> Stage {
    stage_with_password(None)
}

fn stage_with_password(password: Option<&[u8]>) -> Stage {
    let stage = Stage::with(|settings| settings.password = password.map(<[u8]>::to_vec));
    stage.shared.scoreboard.set(OTHER, Counter::State, SERVING);
    stage
}

impl Stage {
    /// The question that was sent to the other worker, and its number.
    fn question(&mut self) -> (u64, Vec<u8>) {
        let (to, message) = self.pump.sent.pop().expect("the other worker was asked");
        let (kind, number, question) = scatter_gather::parse(&message).unwrap();
        assert_eq!((to, kind), (OTHER, MessageKind::Question));
        (number, question.to_vec())
    }

    fn answer(&mut self, number: u64, answer: &[u8]) {
        self.pump.hear(OTHER, &scatter_gather::message(MessageKind::Answer, number, answer));
    }

    /// What this worker answers when the other asks.
    fn answer_to_other(&mut self, question: &[u8]) -> Vec<u8> {
        self.pump.hear(OTHER, &scatter_gather::message(MessageKind::Question, 77, question));
        let (_, message) = self.pump.sent.pop().unwrap();
        let (kind, number, answer) = scatter_gather::parse(&message).unwrap();
        assert_eq!((kind, number), (MessageKind::Answer, 77));
        answer.to_vec()
    }
}

#[test]
fn a_change_after_watch_was_sent_counts_even_before_it_is_answered() {
    let mut stage = stage();
    let (one, two) = (stage.pump.connect(), stage.pump.connect());
    assert_eq!(stage.send(one, "WATCH a"), "");
    assert_eq!(stage.send(two, "SET a 2"), "");
    stage.pump.run_lane(WRITE, 1);
    assert_eq!((stage.replies(one), stage.replies(two)), (String::new(), "+OK".to_owned()));
    stage.pump.run_lane(READ, 1);
    assert_eq!(stage.replies(one), "+OK");
    assert_eq!(stage.call(one, "MULTI / SET a 1 / EXEC"), "+OK +QUEUED *-1");
    assert_eq!(stage.call(one, "GET a"), "$1 2");
}

#[test]
fn of_two_transactions_in_one_group_that_watch_a_key_one_runs() {
    let mut stage = stage();
    let clients = [stage.pump.connect(), stage.pump.connect()];
    for client in clients {
        assert_eq!(stage.call(client, "WATCH a / GET a"), "+OK $-1");
    }
    for client in clients {
        assert_eq!(stage.send(client, "MULTI / INCR a / EXEC"), "+OK +QUEUED");
    }
    assert_eq!(stage.pump.run_lane(WRITE, 2), 2);
    assert_eq!(clients.map(|client| stage.replies(client)), ["*1 :1", "*-1"]);
}

#[test]
fn what_is_watched_twice_keeps_what_was_seen_first() {
    let mut stage = stage();
    let (one, two) = (stage.pump.connect(), stage.pump.connect());
    assert_eq!(stage.call(one, "WATCH a"), "+OK");
    assert_eq!(stage.call(two, "SET a 2"), "+OK");
    assert_eq!(stage.call(one, "WATCH a b / MULTI / PING / EXEC"), "+OK +OK +QUEUED *-1");
    assert_eq!(stage.call(one, "WATCH a / UNWATCH / WATCH b"), "+OK +OK +OK");
    assert_eq!(stage.call(two, "SET a 3"), "+OK");
    assert_eq!(stage.call(one, "MULTI / UNWATCH / EXEC"), "+OK +QUEUED *1 +OK");
}

#[test]
fn a_transaction_answers_lane_and_loop_in_the_order_of_its_calls() {
    let mut stage = stage();
    let one = stage.pump.connect();
    let calls = "MULTI / PING 1 / SET a 1 / SELECT 2 / SET a 2 / GET a / CLIENT GETNAME / SELECT 0 / GET a / PING 2";
    assert_eq!(stage.send(one, calls), format!("+OK{}", " +QUEUED".repeat(9)));
    assert_eq!(stage.send(one, "EXEC / GET a"), "", "one job for all of it");
    assert_eq!((stage.pump.queued(WRITE), stage.pump.queued(READ)), (1, 0));
    stage.pump.run_lane(WRITE, 1);
    assert_eq!(stage.replies(one), "*9 $1 1 +OK +OK +OK $1 2 $-1 +OK $1 1 $1 2");
    stage.pump.settle();
    assert_eq!(stage.replies(one), "$1 1");
}

#[test]
fn a_transaction_of_the_loop_alone_needs_no_lane_and_one_of_reads_needs_no_writer() {
    let mut stage = stage();
    let one = stage.pump.connect();
    assert_eq!(stage.send(one, "MULTI / PING / EXEC / MULTI / EXEC"), "+OK +QUEUED *1 +PONG +OK *0");
    assert_eq!(stage.send(one, "MULTI / GET a / STRLEN a / EXEC"), "+OK +QUEUED +QUEUED");
    assert_eq!((stage.pump.queued(WRITE), stage.pump.queued(READ)), (0, 1));
    stage.pump.settle();
    assert_eq!(stage.replies(one), "*2 $-1 :0");
}

#[test]
fn a_call_that_asks_all_workers_waits_within_a_transaction_and_keeps_its_place() {
    let mut stage = stage();
    let one = stage.pump.connect();
    assert_eq!(
        stage.send(one, "MULTI / SET a 1 / CLIENT LIST ID 7 / GET a / EXEC / PING"),
        "+OK +QUEUED +QUEUED +QUEUED"
    );
    stage.pump.settle();
    assert_eq!(stage.replies(one), "*3 +OK");
    let (number, _) = stage.question();
    // A wake-up alone answers nothing.
    assert!(stage.pump.expire(one));
    assert_eq!(stage.replies(one), "");
    stage.answer(number, b"");
    assert_eq!(stage.replies(one), "$0  $1 1 +PONG");
}

#[test]
fn a_list_has_the_clients_of_all_workers_in_their_order() {
    let mut stage = stage();
    let (one, _two) = (stage.pump.connect(), stage.pump.connect());
    assert_eq!(stage.send(one, "CLIENT LIST"), "");
    let (number, question) = stage.question();
    let mut told: Vec<(u64, Vec<u8>)> = wire::decode(&stage.answer_to_other(&question)).unwrap();
    // Number 1 of this worker becomes number 9 of the other.
    told.iter_mut().filter(|(number, _)| *number == 1).for_each(|(number, _)| *number = 9);
    let answer = wire::encode(&told);
    stage.answer(number, &answer);
    let list = stage.replies(one);
    let ids: Vec<&str> = list.split("id=").skip(1).map(|line| &line[..line.find(' ').unwrap()]).collect();
    assert_eq!(ids, ["1", "2", "2", "1"], "sorted by the numbers that come with the lines: 1, 2, 2, 9");
    assert_eq!(list.matches("cmd=client|list").count(), 2);
    stage.answer(number, &answer);
    assert_eq!(stage.replies(one), "", "a second answer comes too late");
}

#[test]
fn nobody_waits_for_a_worker_that_is_gone() {
    let mut stage = stage();
    let (one, two) = (stage.pump.connect(), stage.pump.connect());
    assert_eq!(stage.send(one, "CLIENT KILL TYPE normal / PING"), "");
    assert!(!stage.pump.is_open(two));
    assert_eq!(stage.replies(one), "");
    stage.pump.lose(OTHER);
    assert_eq!(stage.replies(one), ":1 +PONG");
    let three = stage.pump.connect();
    assert_eq!(stage.send(three, "CLIENT LIST"), "");
    stage.pump.disconnect(three);
    stage.pump.lose(OTHER);
}

#[test]
fn who_kills_itself_is_answered_first() {
    let mut stage = stage();
    let one = stage.pump.connect();
    assert_eq!(stage.send(one, "CLIENT KILL TYPE normal SKIPME no / PING"), "");
    let (number, _) = stage.question();
    stage.answer(number, &2_u64.to_le_bytes());
    assert_eq!(stage.replies(one), ":3");
    assert!(!stage.pump.is_open(one));
}

#[test]
fn a_client_that_is_killed_while_its_job_runs_gets_nothing_and_the_job_is_done() {
    let mut stage = stage();
    let (one, two) = (stage.pump.connect(), stage.pump.connect());
    assert_eq!(stage.send(two, "SET a 1"), "");
    assert_eq!(stage.send(one, "CLIENT KILL ID 2"), "");
    stage.pump.settle();
    stage.pump.lose(OTHER);
    assert_eq!((stage.replies(one), stage.replies(two)), (":1".to_owned(), String::new()));
    assert_eq!(stage.call(one, "GET a"), "$1 1");
}

#[test]
fn a_pause_of_writes_holds_a_pipeline_at_its_first_write() {
    let mut stage = stage();
    let (one, two) = (stage.pump.connect(), stage.pump.connect());
    assert_eq!(stage.call(two, "CLIENT PAUSE 100000 WRITE"), "+OK");
    assert_eq!(stage.call(one, "GET a / PING / SET a 1 / GET a / PING"), "$-1 +PONG");
    assert_eq!(stage.call(two, "CLIENT INFO").matches(" flags=N ").count(), 1);
    assert!(stage.pump.expire(one), "it looks again from time to time");
    assert_eq!(stage.replies(one), "");
    assert_eq!(stage.send(two, "CLIENT LIST ID 1"), "");
    stage.pump.lose(OTHER);
    assert!(stage.replies(two).contains(" flags=b "));
    // The pause is over, as another worker tells.
    stage.shared.runtime.unpause();
    stage.pump.hear(OTHER, &scatter_gather::message(MessageKind::Notice, 0, &wire::encode(&Notice::Unpaused)));
    stage.pump.settle();
    assert_eq!(stage.replies(one), "+OK $1 1 +PONG");
}

#[test]
fn a_pause_of_writes_holds_the_exec_that_has_some() {
    let mut stage = stage();
    let (one, two, three) = (stage.pump.connect(), stage.pump.connect(), stage.pump.connect());
    assert_eq!(stage.call(one, "MULTI / GET a / SET a 1"), "+OK +QUEUED +QUEUED");
    assert_eq!(stage.call(two, "MULTI / GET a"), "+OK +QUEUED");
    assert_eq!(stage.call(three, "CLIENT PAUSE 100000 WRITE"), "+OK");
    assert_eq!(stage.call(one, "EXEC"), "");
    assert_eq!(stage.call(two, "EXEC"), "*1 $-1");
    assert_eq!(stage.call(two, "MULTI / DISCARD"), "+OK +OK");
    assert_eq!(stage.call(three, "CLIENT UNPAUSE"), "+OK");
    assert_eq!(stage.replies(one), "*2 $-1 +OK");
    assert_eq!(stage.pump.sent.pop().map(|(to, _)| to), Some(OTHER), "the other worker is told");
}

#[test]
fn a_pause_of_all_holds_all_but_its_end() {
    let mut stage = stage();
    let (one, two) = (stage.pump.connect(), stage.pump.connect());
    let now_ms = clock::wall_ms();
    stage.shared.runtime.pause(crate::kv::shared::runtime::Pausing::All, now_ms + 100_000, now_ms);
    assert_eq!(stage.call(one, "PING"), "");
    assert_eq!(stage.call(two, "CLIENT UNPAUSE"), "+OK");
    assert_eq!(stage.replies(one), "+PONG");
}

#[test]
fn a_monitor_sees_each_call_once_and_a_transaction_behind_its_calls() {
    let mut stage = stage();
    let (one, monitor) = (stage.pump.connect(), stage.pump.connect());
    assert_eq!(stage.call(monitor, "MONITOR"), "+OK");
    let seen = |stage: &mut Stage| {
        let lines = stage.replies(monitor);
        let names = lines.split('"').skip(1).step_by(2);
        names.map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(stage.call(one, "SET a 1 / GET a"), "+OK $1 1");
    assert_eq!(seen(&mut stage), "SET a 1 GET a");
    assert_eq!(stage.call(one, "MULTI / INCR a / SELECT 3 / exec"), "+OK +QUEUED +QUEUED *2 :2 +OK");
    assert_eq!(seen(&mut stage), "MULTI INCR a SELECT 3 exec");
    assert_eq!(stage.call(one, "WATCH b / SET b 1 / MULTI / GET b / EXEC"), "+OK +OK +OK +QUEUED *-1");
    assert_eq!(seen(&mut stage), "WATCH b SET b 1 MULTI EXEC");
    stage.pump.hear(
        OTHER,
        &scatter_gather::message(MessageKind::Notice, 0, &wire::encode(&Notice::Monitored(b"+x\r\n".to_vec()))),
    );
    assert_eq!(stage.replies(monitor), "+x");
    assert_eq!(stage.call(monitor, "RESET"), "+RESET");
    assert_eq!(stage.call(one, "PING"), "+PONG");
    assert_eq!(stage.replies(monitor), "");
}

#[test]
fn skipped_replies_of_lanes_are_skipped_one_by_one() {
    let mut stage = stage();
    let one = stage.pump.connect();
    let calls =
        "SET a 1 / CLIENT REPLY SKIP / INCR a / GET a / CLIENT REPLY OFF / INCR a / BOGUS / CLIENT REPLY ON / GET a";
    assert_eq!(stage.call(one, calls), "+OK $1 2 +OK $1 3");
    let calls = "CLIENT REPLY OFF / MULTI / INCR a / CLIENT LIST / EXEC / WATCH a / CLIENT REPLY ON / GET a";
    assert_eq!(stage.call(one, calls), "");
    stage.pump.lose(OTHER);
    stage.pump.settle();
    assert_eq!(stage.replies(one), "+OK $1 4");
}

#[test]
fn a_password_that_comes_later_is_asked_of_those_who_come_later() {
    let mut stage = stage();
    let early = stage.pump.connect();
    assert!(stage.shared.runtime.set_password(Slot(0), b"secret"));
    let late = stage.pump.connect();
    assert_eq!(stage.call(early, "PING"), "+PONG");
    assert_eq!(stage.call(late, "PING / AUTH secret / PING"), "-NOAUTH Authentication required. +OK +PONG");
    assert_eq!(stage.call(early, "RESET / PING"), "+RESET -NOAUTH Authentication required.");
    assert!(stage.shared.runtime.set_password(Slot(0), b""));
    assert_eq!(stage.call(early, "PING"), "+PONG");
}

#[test]
fn before_the_password_only_small_requests_are_read() {
    let mut stage = stage_with_password(Some(b"secret"));
    let one = stage.pump.connect();
    stage.pump.receive(one, b"*11\r\n");
    assert_eq!(stage.replies(one), "-ERR Protocol error: unauthenticated multibulk length");
    assert!(!stage.pump.is_open(one));
    let two = stage.pump.connect();
    assert_eq!(stage.call(two, "AUTH secret"), "+OK");
    stage.pump.receive(two, b"*11\r\n");
    assert!(stage.pump.is_open(two));
}

#[test]
fn long_work_on_the_loop_gives_way_and_ends_in_order() {
    let mut stage = stage();
    let one = stage.pump.connect();
    let docs = " / COMMAND DOCS".repeat(100);
    assert_eq!(stage.send(one, &format!("MULTI{docs}")).matches("QUEUED").count(), 100);
    stage.pump.turns = 0;
    let replies = stage.send(one, "EXEC / PING");
    assert!(replies.starts_with("*100 ") && replies.ends_with(" +PONG"), "the input behind it waits for its end");
    assert!(stage.pump.turns > 20, "{} turns for ten megabytes", stage.pump.turns);
    // Without replies that fill anything it is the time that ends a turn.
    assert_eq!(stage.send(one, "CLIENT REPLY OFF"), "");
    stage.pump.turns = 0;
    assert_eq!(stage.send(one, &docs[3..]), "");
    assert!(stage.pump.turns > 2, "{} turns for a hundred times half a millisecond", stage.pump.turns);
    // Many short transactions are as long as one.
    stage.pump.turns = 0;
    assert_eq!(stage.send(one, &"MULTI / PING / EXEC / ".repeat(400)), "");
    assert!(stage.pump.turns > 2, "{} turns for 400 transactions", stage.pump.turns);
    assert_eq!(stage.send(one, "CLIENT REPLY ON / PING"), "+OK +PONG");
}

#[test]
fn an_exec_whose_replies_pass_the_output_limit_runs_to_its_end_and_leaves_out_what_has_no_room() {
    let mut stage = stage();
    let one = stage.pump.connect();
    let too_large = "-ERR the reply is larger than EMPTYSERVER_OUTPUT_BYTES_MAX allows";
    // Of the limit of 1 MiB three have room.
    assert_eq!(stage.call(one, "SETRANGE big 299999 x"), ":300000");
    let big = format!("$300000 {}x", "\0".repeat(299_999));
    for (name, last, replies) in [("READ", "STRLEN big", ":300000"), ("WRITE", "SET a 1", "+OK")] {
        let calls =
            format!("MULTI{} / MGET big big / DUMP big / STRLEN big / {last} / GET big", " / GET big".repeat(4));
        assert_eq!(stage.call(one, &calls).matches("QUEUED").count(), 9);
        let three = [&big[..]; 3].join(" ");
        let expected = format!("*9 {three} {too_large} {too_large} {too_large} :300000 {replies} {too_large}");
        assert!(stage.call(one, "EXEC") == expected, "{name}");
    }
    // What has no room is not done either: nothing is lost that nobody was shown.
    let calls =
        "MULTI / GET big / GET big / GET big / GETDEL big / SET big 1 GET / GETSET big 1 / GETEX big EX 5 / SET b 1";
    assert_eq!(stage.call(one, calls).matches("QUEUED").count(), 8);
    let replies = stage.call(one, "EXEC");
    assert!(replies.ends_with(&format!("x{} +OK", format!(" {too_large}").repeat(4))));
    assert_eq!(stage.call(one, "STRLEN big / TTL big / GET b"), ":300000 :-1 $1 1");
}

#[test]
fn a_reply_over_the_output_limit_is_an_error_on_every_lane() {
    let mut stage = stage();
    let one = stage.pump.connect();
    let too_large = "-ERR the reply is larger than EMPTYSERVER_OUTPUT_BYTES_MAX allows";
    assert_eq!(stage.call(one, "SETRANGE big 299999 x"), ":300000");
    assert_eq!(stage.call(one, "MGET big big big big / STRLEN big"), format!("{too_large} :300000"));
    assert_eq!(stage.call(one, "SET a 1 / MGET big big big big / GET a"), format!("+OK {too_large} $1 1"));
    for number in 0..20 {
        assert_eq!(stage.call(one, &format!("SET {number}{} 1", "k".repeat(60_000))), "+OK");
    }
    for request in ["KEYS *", "SCAN 0 COUNT 100", "SCAN 0 COUNT 10000"] {
        assert_eq!(stage.call(one, request), too_large);
    }
    assert!(stage.call(one, "KEYS b*") == "*1 $3 big");
    let names = " get".repeat(1025);
    assert_eq!(
        stage.call(one, &format!("COMMAND INFO{names}")),
        "-ERR too many arguments: this command takes 1024 at a time; ask for the others in further calls"
    );
    assert_eq!(stage.call(one, &format!("COMMAND DOCS{}", " client".repeat(1000))), too_large);
}

#[test]
fn a_long_transaction_of_slow_calls_tells_of_its_newest_only() {
    let mut stage = stage();
    let one = stage.pump.connect();
    assert_eq!(stage.call(one, "CONFIG SET slowlog-max-len 60000 slowlog-log-slower-than 0"), "+OK");
    assert_eq!(stage.call(one, &format!("MULTI{}", " / INCR a".repeat(5000))).matches("QUEUED").count(), 5000);
    assert!(stage.call(one, "EXEC").ends_with(" :5000"));
    assert_eq!(stage.call(one, "SLOWLOG LEN"), "");
    stage.pump.lose(OTHER);
    let length: usize = stage.replies(one).trim_start_matches(':').parse().unwrap();
    assert!((256..600).contains(&length), "{length}");
}

#[test]
fn few_questions_to_all_workers_are_open_at_a_time_and_the_others_wait_for_their_turn() {
    let mut stage = stage();
    let clients: Vec<usize> = (0..50).map(|_| stage.pump.connect()).collect();
    for client in &clients {
        assert_eq!(stage.send(*client, "CLIENT LIST ID 2"), "");
    }
    let asked = |stage: &mut Stage| std::mem::take(&mut stage.pump.sent).len();
    assert_eq!(asked(&mut stage), 16);
    // Who goes away makes room, whether it was asking or waiting.
    stage.pump.disconnect(clients[0]);
    assert_eq!(asked(&mut stage), 1);
    stage.pump.disconnect(clients[49]);
    assert_eq!(asked(&mut stage), 0);
    // The answers that are missing will not come: all are answered, one after the other's end.
    for _ in 0..4 {
        stage.pump.lose(OTHER);
    }
    assert_eq!(asked(&mut stage), 48 - 16);
    for client in &clients[1..49] {
        assert!(stage.replies(*client).contains("id=2 "), "{client}");
    }
    assert_eq!(stage.send(clients[1], "CLIENT LIST ID 2 / PING"), "");
    stage.pump.lose(OTHER);
    assert!(stage.replies(clients[1]).ends_with("+PONG"));
}

#[test]
fn a_group_whose_replies_are_large_ends_early_and_the_next_one_goes_on_in_order() {
    let mut stage = stage();
    let clients: Vec<usize> = (0..60).map(|_| stage.pump.connect()).collect();
    assert_eq!(stage.call(clients[0], "SETRANGE big 299999 x"), ":300000");
    for client in &clients {
        assert_eq!(stage.send(*client, "GETEX big PERSIST"), "");
    }
    assert_eq!(stage.pump.queued(WRITE), 60);
    let first = stage.pump.run_lane(WRITE, 60);
    // Time may end it as well.
    assert!((1..40).contains(&first), "{first} replies of 300 kB were values at a time");
    assert!(stage.replies(clients[first - 1]).ends_with('x') && stage.replies(clients[first]).is_empty());
    stage.pump.settle();
    assert!(clients[first..].iter().all(|client| stage.replies(*client).ends_with('x')));
}

#[test]
fn a_large_value_is_taken_with_the_memory_that_it_came_in_and_stored_whole_whatever_comes_with_it() {
    let mut stage = Stage::with(|settings| settings.output_bytes_max = 64 << 20);
    let client = stage.pump.connect();
    let value: Vec<u8> = (0..2_000_000_u32).map(|at| (at % 251) as u8).collect();
    let set = [b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2000000\r\n", &value[..], b"\r\n"].concat();
    // Nothing, a little, as much again, and half a request that is whole later.
    let behind = [Vec::new(), b"PING\r\n".to_vec(), [&set[..], b"PING\r\n"].concat(), set[..1_500_000].to_vec()];
    let replies = ["+OK ", "+OK +PONG ", "+OK +OK +PONG ", "+OK "];
    for (behind, expected) in behind.iter().zip(replies) {
        stage.pump.receive(client, &[b"DEL k\r\n", &set[..], behind].concat());
        stage.pump.settle();
        assert_eq!(stage.replies(client)[3..].trim(), expected.trim());
    }
    stage.pump.receive(client, &[&set[1_500_000..], b"STRLEN k\r\n"].concat());
    stage.pump.settle();
    assert_eq!(stage.replies(client), "+OK :2000000");
    stage.pump.receive(client, b"GET k\r\n");
    stage.pump.settle();
    let sent = stage.pump.sent_to(client);
    assert_eq!((sent.len(), &sent[..10]), (2_000_012, &b"$2000000\r\n"[..]));
    assert!(sent[10..2_000_010] == value);
}
