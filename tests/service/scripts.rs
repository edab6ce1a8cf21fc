//! Scripts that never end by themselves, beside clients that work: reads go on, writes are told, resume within the limit, and nothing that was
//! acknowledged is lost. And what is durable of scripts.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use emptyserver::sys::clock;

use crate::support::{Connection, PATIENCE, Service, encoded, wait_until};

/// One hostile script of each kind: what no instruction hook, no pcall and no pattern may outlive.
const HOSTILE: &[(&str, &str)] = &[
    ("a loop", "while true do end"),
    ("a loop that has written", "redis.call('SET', 'half', 'done') while true do end"),
    ("a loop of pcalls", "while true do pcall(function() while true do end end) end"),
    ("a loop of calls", "while true do redis.call('SET', 'half', 'done') end"),
    ("a catastrophic pattern", "return string.find(('a'):rep(3e4), '.-.-.-b$')"),
    ("memory", "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1e4) .. i end"),
    ("one long string", "local s = 'x' while true do s = s .. s end"),
    (
        "a sort that never ends",
        "local t = {} for i = 1, 1e5 do t[i] = i end while true do table.sort(t, function(a, b) return a > b end) end",
    ),
];

fn service(settings: &[(&str, &str)]) -> Service {
    let all: Vec<(&str, &str)> = [("WORKERS", "2"), ("SCRIPT_SECONDS_MAX", "2"), ("SCRIPT_MEMORY_MAX", "8Mi")]
        .iter()
        .chain(settings)
        .copied()
        .collect();
    Service::start(&all)
}

#[test]
fn a_hostile_script_of_each_kind_stops_no_reader_and_loses_nothing() {
    let service = service(&[]);
    let mut control = service.connect();
    control.call(&["CONFIG", "SET", "busy-reply-threshold", "200"]);
    control.call(&["SET", "read", "me"]);
    let (is_over, acknowledged, longest_us) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut reader = service.connect();
                while !is_over.load(Ordering::SeqCst) {
                    let begun = clock::monotonic();
                    assert_eq!(reader.call(&["GET", "read"]).text(), "me");
                    longest_us.fetch_max(begun.elapsed().as_micros() as u64, Ordering::SeqCst);
                }
            });
        }
        scope.spawn(|| {
            let mut writer = service.connect();
            let mut number = 0_u64;
            while !is_over.load(Ordering::SeqCst) {
                let reply = writer.call(&["SET", "count", &(number + 1).to_string()]).to_string();
                match reply.as_str() {
                    "+OK" => {
                        number += 1;
                        acknowledged.store(number, Ordering::SeqCst);
                    }
                    text => assert!(text.starts_with("-BUSY "), "{text}"),
                }
            }
        });
        for (what, source) in HOSTILE {
            let begun = clock::monotonic();
            let reply = service.connect().call(&["EVAL", source, "0"]).to_string();
            assert!(reply.starts_with("-ERR the script ") || reply.starts_with("-ERR not enough"), "{what}: {reply}");
            assert!(begun.elapsed() < PATIENCE, "{what}: {:?}", begun.elapsed());
            assert_eq!(control.call(&["EXISTS", "half"]).to_string(), ":0", "{what}: it is undone whole");
            let before = acknowledged.load(Ordering::SeqCst);
            wait_until(&format!("writes after {what}"), PATIENCE, || {
                (acknowledged.load(Ordering::SeqCst) > before + 1).then_some(())
            });
        }
        is_over.store(true, Ordering::SeqCst);
    });
    assert_eq!(control.call(&["GET", "count"]).text(), acknowledged.load(Ordering::SeqCst).to_string());
    // A machine that is shared with the tests' own load is generous; beside a stopped reader this would be seconds.
    let longest = Duration::from_micros(longest_us.load(Ordering::SeqCst));
    assert!(longest < Duration::from_millis(1500), "a reader waited for {longest:?}");
}

/// From then on others are told of a script that runs.
const THRESHOLD: Duration = Duration::from_millis(50);

/// Until a script runs for long enough that others are told: a write that is sent earlier waits for its end.
fn busy(control: &mut Connection) {
    wait_until("a script that runs", PATIENCE, || {
        control.call(&["FUNCTION", "STATS"]).to_string().starts_with("-BUSY ").then_some(())
    });
    let begun = clock::monotonic();
    while begun.elapsed() < 2 * THRESHOLD {
        control.call(&["PING"]);
    }
    assert!(control.call(&["SET", "a", "1"]).to_string().starts_with("-BUSY "));
}

#[test]
fn a_script_is_killed_unless_it_has_written() {
    let service = self::service(&[("SCRIPT_SECONDS_MAX", "20")]);
    let (mut control, mut victim) = (service.connect(), service.connect());
    assert!(control.call(&["SCRIPT", "KILL"]).to_string().starts_with("-NOTBUSY "));
    control.call(&["CONFIG", "SET", "busy-reply-threshold", &THRESHOLD.as_millis().to_string()]);
    victim.send(&["EVAL", "redis.call('GET', 'a') while true do end", "0"]);
    busy(&mut control);
    assert!(control.call(&["EVAL", "return 1", "0"]).to_string().starts_with("-BUSY "));
    assert_eq!(control.call(&["EVAL_RO", "return 1", "0"]).to_string(), ":1", "beside the writer");
    assert!(control.call(&["FUNCTION", "KILL"]).to_string().starts_with("-BUSY "));
    assert_eq!(control.call(&["SCRIPT", "KILL"]).to_string(), "+OK");
    assert!(victim.read().to_string().starts_with("-ERR "));
    assert_eq!(control.call(&["SET", "a", "1"]).to_string(), "+OK");

    victim.send(&["EVAL", "redis.call('SET', 'b', '1') while true do end", "0"]);
    busy(&mut control);
    assert!(control.call(&["SCRIPT", "KILL"]).to_string().starts_with("-UNKILLABLE "));
    let reply = victim.read().to_string();
    assert!(reply.contains("EMPTYSERVER_SCRIPT_SECONDS_MAX"), "{reply}");
    assert_eq!(control.call(&["EXISTS", "b"]).to_string(), ":0");

    // One that only reads stops nobody, and is killed all the same.
    victim.send(&["EVAL_RO", "while true do end", "0"]);
    wait_until("the end of one that only reads", PATIENCE, || {
        (control.call(&["SCRIPT", "KILL"]).to_string() == "+OK").then_some(())
    });
    assert_eq!(control.call(&["SET", "a", "2"]).to_string(), "+OK");
    assert!(victim.read().to_string().starts_with("-ERR "));
}

#[test]
fn what_was_loaded_is_there_after_a_restart_and_after_the_writers_death() {
    let mut service = self::service(&[("DEBUG_COMMANDS", "yes")]);
    let mut control = service.connect();
    let sha = control.call(&["SCRIPT", "LOAD", "return redis.call('INCR', KEYS[1])"]).text().to_owned();
    let library = "#!lua name=shop\nredis.register_function('add', function(keys, args) return redis.call('INCRBY', keys[1], args[1]) end)";
    assert_eq!(control.call(&["FUNCTION", "LOAD", library]).text(), "shop");
    control.call(&["EVAL", "return 7", "0"]);
    assert_eq!(control.call(&["EVALSHA", &sha, "1", "n"]).to_string(), ":1");
    control.call(&["DEBUG", "KILL-WRITER", "before-commit"]);
    assert_eq!(control.call(&["EVALSHA", &sha, "1", "n"]).to_string(), ":2", "it is run once by the next writer");
    assert_eq!(control.call(&["FCALL", "ADD", "1", "n", "5"]).to_string(), ":7");
    drop(control);
    service.stop();
    service.restart();
    let mut control = service.connect();
    assert_eq!(control.call(&["EVALSHA", &sha, "1", "n"]).to_string(), ":8");
    assert_eq!(control.call(&["FCALL", "add", "1", "n", "5"]).to_string(), ":13");
    assert_eq!(
        control.call(&["FCALL_RO", "add", "1", "n", "5"]).to_string(),
        "-ERR Can not execute a script with write flag using *_ro command."
    );
    control.call(&["FLUSHALL"]);
    assert_eq!(control.call(&["EVALSHA", &sha, "1", "n"]).to_string(), ":1");
    control.call(&["SCRIPT", "FLUSH"]);
    control.call(&["FUNCTION", "FLUSH"]);
    service.stop();
    service.restart();
    let mut control = service.connect();
    assert!(control.call(&["EVALSHA", &sha, "1", "n"]).to_string().starts_with("-NOSCRIPT "));
    assert_eq!(control.call(&["FUNCTION", "LIST"]).to_string(), "[]");
}

#[test]
fn a_script_that_outgrew_its_groups_batch_is_undone_whole_and_the_rest_of_the_group_stays() {
    let mut service = self::service(&[("SCRIPT_SECONDS_MAX", "1"), ("JOURNAL_BYTES_MAX", "8Mi")]);
    let mut client = service.connect();
    client.call(&["SET", "big:1", "before"]);
    // Far more than a batch holds, or the journal: it is in the tables by the time that the script is ended.
    let source = "local v = ('x'):rep(1e6) for i = 1, 30 do redis.call('SET', 'big:' .. i, v) end while true do end";
    let calls: [&[&str]; 3] = [&["SET", "a", "1"], &["EVAL", source, "0"], &["SET", "b", "2"]];
    client.send_bytes(&calls.iter().flat_map(|call| encoded(call)).collect::<Vec<u8>>());
    assert_eq!(client.read().to_string(), "+OK");
    let reply = client.read().to_string();
    assert!(reply.contains("EMPTYSERVER_SCRIPT_SECONDS_MAX"), "{reply}");
    assert_eq!(client.read().to_string(), "+OK");
    for is_restarted in [false, true] {
        if is_restarted {
            service.stop();
            service.restart();
            client = service.connect();
        }
        assert_eq!(client.ask("DBSIZE"), ":3");
        assert_eq!(client.ask("MGET big:1 a b"), "[\"before\" \"1\" \"2\"]");
    }
}

#[test]
fn a_script_whose_calls_take_long_is_ended_with_one_of_them_and_its_writer_lives() {
    let service = self::service(&[("SCRIPT_SECONDS_MAX", "1")]);
    let mut control = service.connect();
    let writer = service.process("write");
    let fill = "for i = 1, 1000 do redis.call('SET', ARGV[1] .. i, i) end";
    (0..40).for_each(|part| assert!(!control.call(&["EVAL", fill, "0", &format!("key:{part}:")]).is_error()));
    // So few instructions that none of them asks whether it is over.
    let reply = control.call(&["EVAL", "for i = 1, 1e9 do redis.call('KEYS', '*a*b*c*') end", "0"]).to_string();
    assert!(reply.contains("EMPTYSERVER_SCRIPT_SECONDS_MAX"), "{reply}");
    assert_eq!(control.call(&["SET", "a", "1"]).to_string(), "+OK");
    assert_eq!(service.process("write"), writer);
}
