//! The table of keyspace events (src/kv/commands/testdata/events.txt), played to a redis-server where one is installed: it must tell the
//! same, class by class.

use crate::support::{Connection, Redis};

const TABLE: &str = include_str!("../../src/kv/commands/testdata/events.txt");
/// `x` comes when Redis next looks at the key, so it is not compared.
const CLASSES: [&str; 6] = ["g", "$", "n", "h", "s", "z"];

/// What was told since the last time: `name key`, `@1` behind a key of database 1.
fn told(listener: &mut Connection, talker: &mut Connection) -> Vec<String> {
    talker.call(&["PUBLISH", "__keyevent@0__:the-end", "-"]);
    let mut told = Vec::new();
    loop {
        let message = listener.read();
        let [_, _, channel, key] = message.items() else { panic!("{message}") };
        let (channel, key) = (channel.text(), key.text());
        let (database, name) = channel.strip_prefix("__keyevent@").unwrap().split_once("__:").unwrap();
        match (name, database) {
            ("the-end", _) => return told,
            (_, "0") => told.push(format!("{name} {key}")),
            _ => told.push(format!("{name} {key}@{database}")),
        }
    }
}

#[test]
fn a_real_redis_server_tells_the_same_events() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (mut talker, mut listener) = (redis.connect(), redis.connect());
    listener.call(&["PSUBSCRIBE", "__keyevent@*__:*"]);
    for class in CLASSES {
        talker.call(&["CONFIG", "SET", "notify-keyspace-events", &format!("E{class}")]);
        talker.call(&["FLUSHALL"]);
        let mut lines = TABLE.lines().filter(|line| !line.starts_with('#'));
        while let Some(line) = lines.next() {
            let Some(line) = line.strip_prefix("> ") else {
                talker.call(&["FLUSHALL"]);
                continue;
            };
            let dump = talker.call(&["DUMP", "a"]).bytes().map(<[u8]>::to_vec).unwrap_or_default();
            told(&mut listener, &mut talker);
            let word = |word| match word {
                "<dump>" => dump.clone(),
                "''" => Vec::new(),
                word => word.as_bytes().to_vec(),
            };
            talker.call(&line.split(' ').map(word).collect::<Vec<_>>());
            let expected: Vec<&str> = lines
                .next()
                .unwrap()
                .split(", ")
                .filter_map(|event| event.strip_prefix(class)?.strip_prefix(' '))
                .collect();
            assert_eq!(told(&mut listener, &mut talker), expected, "{class}: {line}");
        }
    }
}
