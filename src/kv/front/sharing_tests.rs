//! One client's calls beside others' on the shared lanes: what fails, takes long or reads much is its own affair.

use crate::kv::application::share;
use crate::kv::fixture::{self, Fixture, show};
use crate::kv::front::stage::Stage;
use crate::kv::jobs::job::Done;
use crate::kv::jobs::{HEAVY, READ, WRITE};
use crate::kv::lanes::writer::Writer;
use crate::kv::metrics::statistics::{Counted, Statistics};
use crate::kv::shared::hand_offs::HandOff;
use crate::kv::shared::settings::{JOB_BYTES_MAX, Settings};
use crate::kv::shared::turns;
use crate::server::{Audience, Counter, ExecutorContext, Responder, TaskId};
use crate::storage::{Keyspace, Lookup};

fn stage() -> Stage {
    Stage::with(|settings| {
        settings.workers = 1;
        settings.output_bytes_max = 64 << 20;
    })
}

impl Stage {
    /// Changes rows behind the service's back.
    fn with_keyspace(&self, change: impl FnOnce(&mut Keyspace)) {
        let mut keyspace = Keyspace::open_writer(&self.shared.settings.storage, Box::new(|_| {})).unwrap();
        keyspace.begin_write(fixture::NOW_MS).unwrap();
        change(&mut keyspace);
        keyspace.commit().unwrap();
    }

    /// What the writer says of the disk.
    fn writer(&self, counted: Counted) -> u64 {
        Statistics::new(self.shared.scoreboard, self.shared.scoreboard.lane_slot()).read(counted)
    }

    fn writes_fail(&self) -> bool {
        self.shared.hand_offs.is_set(HandOff::WritesFailing)
    }

    fn queued(&self) -> [usize; 3] {
        [READ, HEAVY, WRITE].map(|lane| self.pump.queued(lane))
    }
}

const DAMAGED: &str =
    "-ERR The data file is damaged: the command was not applied. The log of the service says what to do.";

#[test]
fn a_value_that_is_too_large_is_its_own_calls_error_and_the_group_goes_on() {
    let mut stage = stage();
    let [one, other] = [stage.pump.connect(), stage.pump.connect()];
    let end = stage.shared.settings.storage.value_bytes_max * 8 - 8;
    stage.send(one, &format!("SET a 1 / BITFIELD b SET u63 {end} 1 / MSET c 1 d 1 / SET a 2"));
    stage.send(other, "SET e 1 / INCR e");
    // One group, unless the machine is so busy that its time is over before.
    stage.pump.settle();
    let too_large = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    assert_eq!(stage.replies(one), format!("+OK {too_large} +OK +OK"));
    assert_eq!(stage.replies(other), "+OK :2");
    assert_eq!((stage.writes_fail(), stage.writer(Counted::GroupFailuresTotal)), (false, 0));
    let in_exec = format!("MULTI / SET a 3 / BITFIELD b SET u63 {end} 1 / INCR a / EXEC");
    let replies = stage.call(one, &in_exec);
    assert!(replies.ends_with(&format!("*3 +OK {too_large} :4")), "{replies}");
    assert_eq!(stage.call(one, "EXISTS b"), ":0");
}

#[test]
fn a_damaged_row_is_the_error_of_those_who_meet_it_and_nobody_elses() {
    let mut stage = stage();
    let [one, other] = [stage.pump.connect(), stage.pump.connect()];
    assert_eq!(stage.call(one, "MSET bad 1 good 1"), "+OK");
    stage.with_keyspace(|keyspace| keyspace.damage_row(b"bad").unwrap());
    // In the first attempt the first of these is answered on the word of the second.
    stage.send(one, "SET bad 2 / SET bad 3");
    stage.send(other, "SET other 1 / INCR other / APPEND bad x / GET bad / INCR other");
    // One group, unless the machine is so busy that its time is over before.
    stage.pump.settle();
    assert_eq!(stage.replies(one), format!("{DAMAGED} {DAMAGED}"));
    assert_eq!(stage.replies(other), format!("+OK :2 {DAMAGED} {DAMAGED} :3"));
    let replies = stage.call(one, "MULTI / INCR good / MSET fresh 1 bad 1 / INCR good / EXEC");
    assert!(replies.ends_with(&format!("*3 :2 {DAMAGED} :3")), "{replies}");
    assert_eq!(
        stage.call(one, "GET fresh / GET good / GET other"),
        "$-1 $1 3 $1 3",
        "what the call had done is undone"
    );
    // What the first attempt changed is not what others have changed.
    let replies = stage.call(one, "WATCH good / MULTI / SET good 3 / APPEND bad x / EXEC");
    assert!(replies.ends_with(&format!("*2 +OK {DAMAGED}")), "{replies}");
    assert_eq!(stage.call(one, "GET good / GET bad / GET good"), format!("$1 3 {DAMAGED} $1 3"));
    assert_eq!((stage.writes_fail(), stage.writer(Counted::GroupFailuresTotal)), (false, 0));
}

#[test]
fn a_damaged_row_that_has_expired_does_not_stop_writes_or_the_sweeper() {
    let mut stage = stage();
    let client = stage.pump.connect();
    assert_eq!(stage.call(client, "SET bad 1 PX 1 / SET gone 1 PX 1 / SET kept 1"), "+OK +OK +OK");
    stage.with_keyspace(|keyspace| keyspace.damage_row(b"bad").unwrap());
    let deadline = crate::sys::clock::monotonic() + std::time::Duration::from_secs(20);
    while stage.call(client, "DBSIZE") != ":2" {
        assert!(crate::sys::clock::monotonic() < deadline, "the other expired key is not swept");
        stage.pump.idle(WRITE);
        assert!(!stage.writes_fail());
    }
    assert_eq!(stage.call(client, "SET kept 2"), "+OK");
}

#[test]
fn a_long_read_does_not_ride_with_the_write_before_it() {
    let mut stage = stage();
    let client = stage.pump.connect();
    assert_eq!(stage.call(client, "SETRANGE large 3000000 x / SETRANGE medium 100000 x"), ":3000001 :100001");
    stage.send(client, "SET x 1 / GET x / STRLEN large / BITCOUNT large / BITCOUNT medium / SET x 2 / GET x");
    assert_eq!(stage.queued(), [0, 0, 1]);
    stage.pump.run_lane(WRITE, 1);
    assert_eq!(stage.replies(client), "+OK $1 1 :3000001");
    assert_eq!(stage.queued(), [1, 0, 0], "the counting waits for a reader");
    stage.pump.run_lane(READ, 1);
    assert_eq!(stage.queued(), [0, 1, 0], "where the string turns out to be long");
    stage.pump.settle();
    assert_eq!(stage.replies(client), ":4 :4 +OK $1 2");
    // What looks cheap and is not, once the key is known: the run is cut there.
    stage.send(client, "SET x 3 / GETRANGE large 0 9 / GETRANGE large 0 99999 / STRLEN medium / SET x 4 / GET x");
    stage.pump.run_lane(WRITE, 1);
    assert_eq!(stage.queued(), [1, 0, 0]);
    stage.pump.run_lane(READ, 1);
    assert_eq!(stage.queued(), [0, 0, 1], "the change behind the reads is the writer's");
    stage.pump.settle();
    let replies = stage.replies(client);
    assert!(replies.starts_with("+OK $10 ") && replies.ends_with(":100001 +OK $1 4"), "{}", replies.len());
    // A transaction is one job, whatever it reads.
    let replies = stage.call(client, "MULTI / SET x 5 / BITCOUNT large / GET x / EXEC");
    assert!(replies.ends_with("*3 +OK :4 $1 5"), "{replies}");
}

/// Fields `from..to` of a hash, in one call.
fn fields(key: &str, numbers: std::ops::Range<usize>) -> String {
    let pairs: Vec<String> = numbers.map(|number| format!("f:{number} v:{number}")).collect();
    format!("HSET {key} {}", pairs.join(" "))
}

#[test]
fn all_of_a_large_hash_is_read_by_the_heavy_lane_and_one_of_its_fields_by_any() {
    let mut stage = stage();
    let client = stage.pump.connect();
    assert_eq!(stage.call(client, &fields("small", 0..9)), ":9");
    assert_eq!(stage.call(client, &fields("medium", 0..200)), ":200");
    for thousand in 0..3 {
        stage.call(client, &fields("large", 1000 * thousand..1000 * (thousand + 1)));
    }
    for (call, beginning) in [("HGETALL large", "*6000 "), ("HKEYS large", "*3000 "), ("HVALS large", "*3000 ")] {
        stage.send(client, call);
        assert_eq!(stage.queued(), [1, 0, 0]);
        stage.pump.run_lane(READ, 1);
        assert_eq!(stage.queued(), [0, 1, 0], "{call}: where the hash turns out to be large");
        stage.pump.settle();
        assert!(stage.replies(client).starts_with(beginning), "{call}");
    }
    stage.send(client, "HGET large f:2999 / HMGET large f:1 x / HLEN large / HGETALL medium / HRANDFIELD large 2");
    stage.pump.run_lane(READ, 1);
    // On a busy machine the run may be cut, and the rest of it comes again.
    assert_eq!(stage.queued()[1], 0, "none of it is heavy");
    stage.pump.settle();
    let replies = stage.replies(client);
    assert!(replies.starts_with("$6 v:2999 *2 $3 v:1 $-1 :3000 *400 "), "{replies:.100}");
    assert!(replies.contains("*2 $"), "the last of them, too");
    for call in ["HSCAN large 0 COUNT 2000", "HRANDFIELD large 2000"] {
        stage.send(client, call);
        assert_eq!(stage.queued(), [0, 1, 0], "{call}");
        stage.pump.settle();
        stage.replies(client);
    }
    // Behind a change what is packed rides, and what has many rows does not.
    stage.send(client, "SET x 1 / HGETALL small / HGET large f:1 / HGETALL medium / SET x 2");
    assert_eq!(stage.queued(), [0, 0, 1]);
    stage.pump.run_lane(WRITE, 1);
    let mut replies = stage.replies(client);
    // On a busy machine less of it rides than might.
    assert!(replies.starts_with("+OK") && !replies.contains("*400 "), "{replies:.200}");
    assert_eq!(stage.queued(), [1, 0, 0]);
    stage.pump.settle();
    replies.push(' ');
    replies.push_str(&stage.replies(client));
    assert!(replies.starts_with("+OK *18 ") && replies.contains(" $3 v:1 *400 ") && replies.ends_with(" +OK"));
}

#[test]
fn what_large_sets_make_is_read_by_the_heavy_lane_and_one_of_their_members_by_any() {
    let mut stage = stage();
    let client = stage.pump.connect();
    let members = |from: usize| (from..from + 600).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
    assert_eq!(
        stage.call(client, &format!("SADD small {}", (0..9).map(|n| format!("{n} ")).collect::<String>())),
        ":9"
    );
    for key in ["a", "b"] {
        assert_eq!(stage.call(client, &format!("SADD {key} {}", members(0))), ":600");
        assert_eq!(stage.call(client, &format!("SADD {key} {}", members(600))), ":600");
    }
    let light = "SISMEMBER a 7 / SCARD a / SINTER small small / SRANDMEMBER a";
    stage.send(client, light);
    stage.pump.run_lane(READ, 1);
    assert_eq!(stage.queued()[1], 0, "none of it is heavy");
    stage.pump.settle();
    assert!(stage.replies(client).starts_with(":1 :1200 *9 "));
    for call in ["SMEMBERS a", "SINTER a b", "SUNION small a", "SDIFF a small", "SINTERCARD 2 a b"] {
        stage.send(client, call);
        stage.pump.run_lane(READ, 1);
        assert_eq!(stage.queued(), [0, 1, 0], "{call}: where its keys turn out to hold much");
        stage.pump.settle();
        assert!(!stage.replies(client).starts_with('-'), "{call}");
    }
    // Each of them alone is light, and the two are not.
    assert_eq!(stage.call(client, &format!("SADD c {} / SADD d {}", members(0), members(300))), ":600 :600");
    stage.send(client, "SINTERCARD 1 c");
    stage.pump.run_lane(READ, 1);
    assert_eq!((stage.replies(client), stage.queued()), (":600".to_owned(), [0, 0, 0]));
    stage.send(client, "SINTERCARD 2 c d");
    stage.pump.run_lane(READ, 1);
    assert_eq!(stage.queued(), [0, 1, 0]);
    stage.pump.settle();
    assert_eq!(stage.replies(client), ":300");
}

#[test]
fn much_of_a_large_list_is_read_by_the_heavy_lane_and_little_of_it_by_any() {
    let mut stage = stage();
    let client = stage.pump.connect();
    for thousand in 0..3 {
        let items: Vec<String> = (1000 * thousand..1000 * (thousand + 1)).map(|number| number.to_string()).collect();
        let length = 1000 * (thousand + 1);
        assert_eq!(stage.call(client, &format!("RPUSH large {}", items.join(" "))), format!(":{length}"));
    }
    assert_eq!(stage.call(client, "RPUSH small a b / SET s x"), ":2 +OK");
    for (call, beginning) in [("LRANGE large 0 -1", "*3000 "), ("LPOS large 2999", ":2999"), ("LPOS large x", "$-1")] {
        stage.send(client, call);
        assert_eq!(stage.queued(), [1, 0, 0]);
        stage.pump.run_lane(READ, 1);
        assert_eq!(stage.queued(), [0, 1, 0], "{call}: where the list turns out to be large");
        stage.pump.settle();
        assert!(stage.replies(client).starts_with(beginning), "{call}");
    }
    stage.send(
        client,
        "LRANGE large 1500 1502 / LRANGE large -2 -1 / LINDEX large 2000 / LLEN large / LPOS large 7 MAXLEN 9",
    );
    stage.pump.run_lane(READ, 1);
    assert_eq!(stage.queued()[1], 0, "none of it is heavy");
    stage.pump.settle();
    let expected = "*3 $4 1500 $4 1501 $4 1502 *2 $4 2998 $4 2999 $4 2000 :3000 :7";
    assert_eq!(stage.replies(client), expected);
    stage.send(client, "LRANGE large 0 -1 / LRANGE s x -1 / LRANGE s 0 -1");
    stage.pump.settle();
    let replies = stage.replies(client);
    assert!(replies.starts_with("*3000 "));
    assert!(
        replies.contains("-ERR value is not an integer or out of range") && replies.contains("-WRONGTYPE"),
        "{replies:.50}"
    );
}

#[test]
fn few_fields_with_much_in_them_are_read_by_the_heavy_lane() {
    let mut stage = stage();
    let client = stage.pump.connect();
    for number in 0..30 {
        assert_eq!(stage.call(client, &format!("HSET h f:{number} {}", "v".repeat(50_000))), ":1");
    }
    let names: Vec<String> = (0..30).map(|number| format!("f:{number}")).collect();
    for call in ["HGETALL h", &format!("HMGET h {}", names.join(" ")), "HSCAN h 0 COUNT 100"] {
        stage.send(client, call);
        stage.pump.run_lane(READ, 1);
        assert_eq!(stage.queued(), [0, 1, 0], "{call}");
        stage.pump.settle();
        assert!(stage.replies(client).len() > 1_500_000, "{call}");
    }
    stage.send(client, "HGET h f:1 / HSTRLEN h f:1 / HKEYS h");
    stage.pump.run_lane(READ, 1);
    assert!(stage.replies(client).len() < 60_000);
    assert_eq!(stage.queued(), [0, 0, 0]);
}

#[test]
fn a_reply_past_the_limit_is_refused_and_not_built() {
    let mut stage = Stage::with(|settings| settings.output_bytes_max = 200_000);
    let client = stage.pump.connect();
    for number in 0..4 {
        stage.call(client, &format!("HSET h f:{number} {}", "v".repeat(60_000)));
    }
    // Longer than all replies: HGET has never read it.
    stage.with_keyspace(|keyspace| {
        assert!(matches!(keyspace.hash_set(b"h", &[b"long", &[0; 300_000]]), Ok(Lookup::Found(_))));
    });
    let refused = "-ERR the reply is larger than EMPTYSERVER_OUTPUT_BYTES_MAX allows";
    let calls = ["HGETALL h", "HVALS h", "HRANDFIELD h -1000000000000", "HSCAN h 0", "HGET h long", "HMGET h f:1 long"];
    for call in calls {
        assert_eq!(stage.call(client, call), refused, "{call}");
    }
    assert_eq!(stage.call(client, "HLEN h / HSTRLEN h f:1 / HSTRLEN h long"), ":5 :60000 :300000");
}

#[test]
fn a_run_and_a_group_that_take_long_are_cut_and_lose_nothing() {
    let mut stage = stage();
    let clients: Vec<usize> = (0..6).map(|_| stage.pump.connect()).collect();
    assert_eq!(stage.call(clients[0], "SET large x / SETRANGE large 8000000 x"), "+OK :8000001");
    let calls: Vec<String> = (0..6).map(|n| format!("BITOP NOT copy:{n} large")).collect();
    stage.send(clients[0], &format!("{} / GET x / SET x 1", calls.join(" / ")));
    stage.pump.run_lane(WRITE, 1);
    let answered = stage.replies(clients[0]).matches(":8000001").count();
    assert!((1..6).contains(&answered), "{answered} of one run in one group");
    assert_eq!(stage.queued(), [0, 0, 1], "the rest is a job of its own");
    stage.pump.settle();
    assert_eq!(stage.replies(clients[0]).matches(":8000001").count(), 6 - answered);
    for (n, client) in clients.iter().enumerate() {
        stage.send(*client, &format!("BITOP NOT copy:{n} large"));
    }
    let count = stage.pump.run_lane(WRITE, 6);
    assert!((1..6).contains(&count), "{count} of 6 jobs in one group");
    assert_eq!(stage.pump.queued(WRITE), 6 - count);
    stage.pump.settle();
    for client in clients {
        assert!(stage.replies(client).ends_with(":8000001"));
    }
}

#[test]
fn a_large_call_is_the_only_one_of_its_job() {
    turns::without_time();
    let mut stage = stage();
    let client = stage.pump.connect();
    let large = "v".repeat(JOB_BYTES_MAX);
    let set = format!("*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n${}\r\n{large}\r\n", large.len());
    stage.pump.receive(client, format!("SET a 1\r\nSET b 1\r\n{set}SET c 1\r\n").as_bytes());
    for replies in ["+OK +OK", "+OK", "+OK"] {
        assert_eq!(stage.pump.run_lane(WRITE, 1), 1);
        assert_eq!(stage.replies(client), replies);
    }
}

#[test]
fn a_long_run_of_reads_takes_turns_with_others() {
    let mut stage = stage();
    let client = stage.pump.connect();
    assert_eq!(stage.call(client, "SETRANGE large 16000000 x"), ":16000001");
    stage.send(client, &["BITCOUNT large"; 8].join(" / "));
    assert_eq!(stage.queued(), [1, 0, 0]);
    stage.pump.run_lane(READ, 1);
    let mut jobs = 0;
    while stage.pump.run_lane(HEAVY, 1) == 1 {
        jobs += 1;
    }
    assert!(jobs > 1, "all in {jobs} job");
    assert_eq!(stage.replies(client), [":4"; 8].join(" "));
}

#[test]
fn a_read_of_very_many_keys_keeps_no_point_read_waiting() {
    let mut stage = stage();
    let client = stage.pump.connect();
    stage.send(client, &format!("EXISTS{}", " k".repeat(100)));
    assert_eq!(stage.queued(), [1, 0, 0]);
    stage.pump.settle();
    assert_eq!(stage.replies(client), ":0");
    stage.send(client, &format!("EXISTS{}", " k".repeat(20_000)));
    assert_eq!(stage.queued(), [0, 1, 0]);
    stage.pump.settle();
    assert_eq!(stage.replies(client), ":0");
}

#[test]
fn a_read_that_lasts_too_long_ends_with_an_error_that_says_so() {
    let mut fixture = Fixture::new();
    fixture.write(|keyspace| {
        for n in 0..3000_u32 {
            keyspace.put_string(&n.to_le_bytes(), b"v", crate::storage::Expiry::Clear).unwrap();
        }
        for key in [b"a", b"b"] {
            keyspace.put_string(key, &[key[0]; 3000], crate::storage::Expiry::Clear).unwrap();
        }
        keyspace.write_string_range(b"large", 3_000_000, b"x").unwrap();
        for n in 0..200_u64 {
            keyspace.write_string_range(b"huge", n << 16, b"x").unwrap();
        }
    });
    fixture.run(&fields("hash", 0..3000));
    let items: Vec<String> = (0..3000).map(|number| number.to_string()).collect();
    fixture.run(&format!("RPUSH list {}", items.join(" ")));
    let calls = [
        "KEYS x*",
        "SCAN 0 COUNT 5000",
        "BITCOUNT large",
        "BITPOS large 1",
        "LCS a b",
        "LCS a b LEN",
        "GET huge",
        "HGETALL hash",
        "HSCAN hash 0 COUNT 5000",
        "HRANDFIELD hash -5000",
        "LRANGE list 0 -1",
        "LPOS list 2999",
        "DUMP list",
    ];
    for call in calls {
        let reply = show(&fixture.run(call));
        assert!(!reply.starts_with('-'), "{call}: {reply:.100}");
    }
    fixture.reader.limit_reads(|| true);
    for call in calls {
        let reply = show(&fixture.run(call));
        assert!(reply.starts_with("-ERR The command was ended after 30 seconds"), "{call}: {reply:.100}");
    }
    assert_eq!(show(&fixture.run("STRLEN large")), ":3000001", "and the next one is answered");
}

/// Nothing was asked.
struct Nobody;

impl Responder<Done> for Nobody {
    fn answer(&mut self, id: TaskId, _: Done) {
        panic!("{id:?} is answered");
    }

    fn park(&mut self, id: TaskId) {
        panic!("{id:?} is parked");
    }

    fn notify(&mut self, _: Audience, _: &[u8]) {}
}

#[test]
fn a_writer_whose_predecessor_met_a_page_that_cannot_be_read_maps_nothing() {
    let data = tempfile::tempdir().unwrap();
    let settings = Settings { memory_bytes: 1 << 40, ..fixture::settings(data.path()) };
    let shared = share(settings).unwrap();
    let slot = shared.scoreboard.lane_slot();
    let context = ExecutorContext { slot, scoreboard: shared.scoreboard, thread: 0 };
    for deaths in 0..2 {
        let mut writer = Writer::new(&shared, &context).unwrap();
        writer.idle(&mut Nobody);
        assert_eq!(writer.is_mapped(), deaths == 0);
        shared.scoreboard.add(slot, Counter::BusErrorsTotal, 1);
    }
}
