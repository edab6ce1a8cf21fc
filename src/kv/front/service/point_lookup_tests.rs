//! Whatever the cache answers is what a lane answers, byte for byte: for every command that a loop may answer.

use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;

use crate::kv::application::{KeyValue, share};
use crate::kv::commands::table::{self, Command, Handler};
use crate::kv::fixture;
use crate::kv::jobs::READ;
use crate::kv::metrics::statistics::{Counted, Statistics};
use crate::kv::shared::Shared;
use crate::kv::shared::settings::Settings;
use crate::kv::table::look::{Look, Shape};
use crate::server::Slot;
use crate::server::pump::Pump;
use crate::storage::{Keyspace, Kind};

struct Stage {
    pump: Pump<KeyValue>,
    shared: Arc<Shared>,
    /// One that reads through the cache, and one that always asks a lane; of each protocol.
    clients: [[usize; 2]; 2],
    _data: TempDir,
}

impl Stage {
    fn new() -> Stage {
        let data = tempfile::tempdir().unwrap();
        let settings = Settings { cache_bytes: 1 << 20, workers: 1, ..fixture::settings(data.path()) };
        let storage = settings.storage.clone();
        let shared = share(settings).unwrap();
        let mut pump = Pump::new(&KeyValue { shared: Arc::clone(&shared) }, shared.scoreboard).unwrap();
        let mut clients = [[0; 2]; 2];
        for (version, clients) in clients.iter_mut().enumerate() {
            *clients = [pump.connect(), pump.connect()];
            if version == 1 {
                clients.iter().for_each(|client| drop(pump.call(*client, b"HELLO 3\r\n")));
            }
        }
        pump.call(clients[0][0], b"SET list x\r\n");
        let mut keyspace = Keyspace::open_writer(&storage, Box::new(|_| {})).unwrap();
        keyspace.begin_write(fixture::NOW_MS).unwrap();
        keyspace.pretend_kind(b"list", Kind::List).unwrap();
        keyspace.commit().unwrap();
        Stage { pump, shared, clients, _data: data }
    }

    fn hits(&self) -> u64 {
        Statistics::new(self.shared.scoreboard, Slot(0)).read(Counted::CacheHitsTotal)
    }

    /// The replies of a read: of a lane and no cache, as it comes, and from the cache.
    fn read(&mut self, version: usize, request: &[u8]) -> [Vec<u8>; 3] {
        let [cached, plain] = self.clients[version];
        self.pump.call(plain, b"MULTI\r\n");
        self.pump.call(plain, request);
        let truth = self.pump.call(plain, b"EXEC\r\n");
        let truth = truth.strip_prefix(b"*1\r\n").expect("one call was executed").to_vec();
        let first = self.pump.call(cached, request);
        let hits = self.hits();
        self.pump.receive(cached, request);
        if truth.starts_with(b"-") {
            // An error teaches nothing of its key.
            self.pump.settle();
        } else {
            let is_hit = self.pump.queued(READ) == 0 && self.hits() == hits + 1;
            assert!(is_hit, "{} has to ask a lane", request.escape_ascii());
        }
        let second = self.pump.sent_to(cached);
        [truth, first, second]
    }
}

fn looks() -> Vec<(&'static Command, Look)> {
    let look = |row: &&'static Command| match row.handler {
        Handler::Look(look) => Some((*row, look)),
        _ => None,
    };
    table::named_rows().iter().filter_map(look).collect()
}

fn encoded(words: &[String]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| bytes.push_str(&format!("${}\r\n{word}\r\n", word.len())));
    bytes.into_bytes()
}

/// A read of any of the commands, or a write.
#[derive(Clone, Debug)]
enum Step {
    Read { row: prop::sample::Index, keys: Vec<String>, args: [String; 2], version: usize },
    Write(Vec<String>),
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "list", ""]).prop_map(str::to_owned)
}

fn argument() -> impl Strategy<Value = String> {
    prop_oneof![4 => (-6_i64..9).prop_map(|number| number.to_string()), 1 => Just("x".to_owned())]
}

fn step() -> impl Strategy<Value = Step> {
    let read = (any::<prop::sample::Index>(), prop::collection::vec(key(), 1..5), [argument(), argument()], 0_usize..2)
        .prop_map(|(row, keys, args, version)| Step::Read { row, keys, args, version });
    let changed = prop::sample::select(vec!["a", "b", "c", ""]).prop_map(str::to_owned);
    let write = (changed, 0_usize..16, argument(), "[a-z\r\n]{0,9}").prop_map(|(key, which, field, value)| {
        let words: &[&str] = match which {
            0 => &["SET", &key, &value],
            1 => &["SET", &key, &value, "EXAT", "4000000000"],
            2 => &["APPEND", &key, &value],
            3 => &["DEL", &key],
            4 => &["PERSIST", &key],
            5 => &["RENAME", &key, "a"],
            6 => &["HSET", &key, &field, &value],
            7 => &["HSET", &key, "1", &value, "2", "", &field, &value],
            8 => &["HDEL", &key, &field],
            9 => &["HINCRBY", &key, &field, "7"],
            10 => &["RPUSH", &key, &value, &field, "3"],
            11 => &["LPUSH", &key, &field],
            12 => &["LPOP", &key],
            13 => &["LREM", &key, "1", "3"],
            14 => &["LSET", &key, &field, &value],
            _ => &["SWAPDB", "0", "1"],
        };
        Step::Write(words.iter().map(|word| (*word).to_owned()).collect())
    });
    prop_oneof![4 => read, 1 => write]
}

fn request(command: &Command, look: &Look, keys: &[String], args: &[String; 2]) -> Vec<u8> {
    let keys = if look.shape == Shape::One { &keys[..1] } else { keys };
    let others = usize::from(command.arity.unsigned_abs()).saturating_sub(1 + keys.len());
    let words: Vec<String> =
        std::iter::once(command.name.to_owned()).chain(keys.iter().cloned()).chain(args[..others].to_vec()).collect();
    encoded(&words)
}

/// The number of a reply that tells how long a key has.
fn time_left(reply: &[u8]) -> i64 {
    String::from_utf8_lossy(reply).trim_start_matches(':').trim_end().parse().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_cache_answers_as_the_lane_does(steps in prop::collection::vec(step(), 1..120)) {
        let mut stage = Stage::new();
        let looks = looks();
        for step in steps {
            match step {
                Step::Write(words) => drop(stage.pump.call(stage.clients[0][0], &encoded(&words))),
                Step::Read { row, keys, args, version } => {
                    let (command, look) = row.get(&looks);
                    let request = request(command, look, &keys, &args);
                    let [truth, first, second] = stage.read(version, &request);
                    if ["ttl", "pttl"].contains(&command.name) && time_left(&truth) > 0 {
                        // Time goes on between the replies.
                        let gone = time_left(&truth) - time_left(&second);
                        prop_assert!((0..5000).contains(&gone), "{}", gone);
                        continue;
                    }
                    prop_assert_eq!(&first, &truth, "{}", request.escape_ascii());
                    prop_assert_eq!(&second, &truth, "{}", request.escape_ascii());
                }
            }
        }
    }
}

fn words(text: &str) -> Vec<u8> {
    encoded(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
}

/// Collections of more elements, and more bytes, than lie in a key's row.
fn with_collections_in_rows() -> Stage {
    let mut stage = Stage::new();
    let elements = |count: usize| (0..count).map(|number| format!("element{number} {number} ")).collect::<String>();
    let scores = |count: usize| (0..count).map(|number| format!("{number} member{number} ")).collect::<String>();
    for (kind, write) in [
        ("HSET hash", elements(140)),
        ("RPUSH items", elements(140)),
        ("SADD set", elements(140)),
        ("ZADD sorted", scores(140)),
        ("RPUSH large", elements(1400)),
    ] {
        stage.pump.call(stage.clients[0][0], &words(&format!("{kind} {write}")));
    }
    stage
}

#[test]
fn a_collection_of_rows_that_was_read_whole_is_kept() {
    let mut stage = with_collections_in_rows();
    let [writer, _] = stage.clients[0];
    let reads = [
        // What reads all of it, and then what reads some of it.
        ["HGETALL hash", "HGET hash element7", "HMGET hash element9 none", "HSTRLEN hash element139", "HLEN hash"],
        ["LRANGE items 0 -1", "LINDEX items -2", "LRANGE items 5 7", "LLEN items", "LRANGE items 9 3"],
        ["SMEMBERS set", "SISMEMBER set element4", "SISMEMBER set none", "SCARD set", "SMISMEMBER set 4 x"],
        [
            "ZRANGE sorted 0 -1 WITHSCORES",
            "ZSCORE sorted member7",
            "ZRANK sorted member139",
            "ZCOUNT sorted 3 9",
            "ZRANGE sorted 9 3 BYSCORE REV",
        ],
        [
            "ZREVRANGE sorted 0 99",
            "ZREVRANK sorted member7",
            "ZMSCORE sorted member1 x",
            "ZCARD sorted",
            "ZRANGEBYSCORE sorted (5 +inf LIMIT 2 2",
        ],
    ];
    for version in 0..2 {
        for [whole, parts @ ..] in reads {
            let [truth, first, second] = stage.read(version, &words(whole));
            assert_eq!([&first, &second], [&truth, &truth], "{whole}");
            for part in parts {
                let hits = stage.hits();
                let [truth, first, second] = stage.read(version, &words(part));
                assert_eq!([&first, &second], [&truth, &truth], "{part}");
                assert_eq!(stage.hits() - hits, 2, "{part} is known from what was read before");
            }
        }
        // A change of one element is one of all that is known of the key.
        let value = format!("changed{version}");
        stage.pump.call(writer, &words(&format!("HSET hash element7 {value}")));
        stage.pump.call(writer, &words(&format!("LSET items 3 {value}")));
        for read in ["HGET hash element7", "HGETALL hash", "LRANGE items 0 -1"] {
            let hits = stage.hits();
            let reply = stage.pump.call(stage.clients[version][0], &words(read));
            assert!(String::from_utf8_lossy(&reply).contains(&value) && stage.hits() == hits, "{read}");
        }
    }
}

#[test]
fn what_is_known_of_all_outlives_reads_of_less_and_answers_as_the_rows_do() {
    let mut stage = with_collections_in_rows();
    stage.pump.call(stage.clients[0][0], &words("ZRANGE sorted 0 -1"));
    // A read of the head, or of an element, that goes with others through a lane leaves what is known of all.
    let [reader, plain] = stage.clients[0];
    stage.pump.call(reader, &words("HGETALL hash"));
    let both = [words("GET nothing"), words("HGET hash element7"), words("TTL hash")].concat();
    stage.pump.call(reader, &both);
    let hits = stage.hits();
    stage.pump.call(reader, &words("HGET hash element9"));
    assert_eq!(stage.hits(), hits + 1);
    // Where scores differ, what lies between two members is found by looking at each, in rows as in what is kept of them.
    for read in ["ZRANGEBYLEX sorted [member1 [member2", "ZLEXCOUNT sorted [member1 [member2"] {
        let hits = stage.hits();
        let kept = stage.pump.call(reader, &words(read));
        assert_eq!(stage.hits(), hits + 1, "{read}");
        stage.pump.call(plain, b"MULTI\r\n");
        stage.pump.call(plain, &words(read));
        assert_eq!(stage.pump.call(plain, b"EXEC\r\n").strip_prefix(b"*1\r\n"), Some(&kept[..]), "{read}");
    }
    // Ones that are too large, and reads of little, are left to the lanes.
    for read in ["LRANGE large 0 -1", "LRANGE large 0 3"] {
        let [reader, plain] = stage.clients[0];
        let hits = stage.hits();
        let replies = [reader, reader, plain].map(|client| stage.pump.call(client, &words(read)));
        assert!(replies[0] == replies[1] && replies[1] == replies[2] && stage.hits() == hits, "{read}");
    }
}

#[test]
fn a_loop_may_answer_these_commands_at_least() {
    let names: Vec<&str> = looks().iter().map(|(command, _)| command.name).collect();
    let of_strings = ["exists", "get", "getrange", "mget", "pttl", "strlen", "substr", "touch", "ttl", "type"];
    let of_hashes = ["hexists", "hget", "hgetall", "hkeys", "hlen", "hmget", "hstrlen", "hvals"];
    let of_lists = ["lindex", "llen", "lrange"];
    for name in of_strings.into_iter().chain(of_hashes).chain(of_lists) {
        assert!(names.contains(&name), "{name}");
    }
}
