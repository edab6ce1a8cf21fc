//! Bad input for the real program: whatever a client sends or does not read, it is answered as Redis words it, costs
//! bounded memory, and disturbs nobody else.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::{Connection, Service, Value, anonymous_bytes, encoded, number_from_environment, turn, wait_until};
use emptyserver::sys::clock;

const MEBI: usize = 1 << 20;

/// The most memory that any process of the service has of its own.
fn largest_bytes(service: &Service) -> u64 {
    service.processes().iter().map(|process| anonymous_bytes(process.pid)).max().unwrap()
}

#[test]
fn what_breaks_the_protocol_is_told_so_in_the_words_of_redis_and_disconnected() {
    let service = Service::start(&[("WORKERS", "2"), ("VALUE_BYTES_MAX", "1Mi")]);
    let long_inline = [b"SET a ".to_vec(), vec![b'x'; 70_000]].concat();
    let long_count = [b"*".to_vec(), vec![b'1'; 70_000]].concat();
    let long_length = [b"*1\r\n$".to_vec(), vec![b'1'; 70_000]].concat();
    let cases: [(&[u8], &str); 18] = [
        (b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$-5\r\n", "invalid bulk length"),
        (b"*1\r\n$abc\r\n", "invalid bulk length"),
        (b"*1\r\n$\r\n", "invalid bulk length"),
        (b"*1\r\n$99999999999999999999\r\n", "invalid bulk length"),
        // Over the largest value, refused before any of it is taken.
        (b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1048577\r\n", "invalid bulk length"),
        (b"*2\r\n$3\r\nGET\r\n:1\r\n", "expected '$', got ':'"),
        (b"*2\r\n\r\n", "expected '$', got '\r'"),
        (b"*abc\r\n", "invalid multibulk length"),
        (b"*1048577\r\n", "invalid multibulk length"),
        (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*1.5\r\n", "invalid multibulk length"),
        (b"SET a \"unbalanced\r\n", "unbalanced quotes in request"),
        (b"SET a 'b'c\r\n", "unbalanced quotes in request"),
        (&long_inline, "too big inline request"),
        (&long_count, "too big mbulk count string"),
        (&long_length, "too big bulk count string"),
        (b"PING\r\nSET a 1\r\n*1\r\n$x\r\nPING\r\n", "invalid bulk length"),
    ];
    for (bytes, words) in cases {
        let mut connection = service.connect();
        connection.send_bytes(bytes);
        let what = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        if what.starts_with("PING") {
            assert_eq!(connection.read().to_string(), "+PONG");
            assert_eq!(connection.read().to_string(), "+OK", "what came before is answered");
        }
        let reply = connection.read().to_string();
        let expected = format!("-ERR Protocol error: {}", words.replace('\r', " "));
        assert_eq!(reply.replace("\\r", " "), expected, "{what}");
        assert!(connection.is_closed(), "{what}");
    }
    assert_eq!(service.connect().ask("GET a"), "\"1\"");
}

#[test]
fn frames_without_arguments_and_blank_lines_are_passed_over() {
    let service = Service::start(&[("WORKERS", "1")]);
    let mut connection = service.connect();
    connection.send_bytes(b"\r\n\r\n*0\r\n*-1\r\n*-10\r\n\n  \r\nPING\r\n");
    assert_eq!(connection.read().to_string(), "+PONG");
    connection.send_bytes(b"*1\r\n$0\r\n\r\n");
    assert!(connection.read().to_string().starts_with("-ERR unknown command ''"));
    assert_eq!(connection.ask("PING"), "+PONG");
}

#[test]
fn half_a_frame_is_waited_for_and_dropped_with_its_connection() {
    let service = Service::start(&[("WORKERS", "2")]);
    let whole = encoded(&["SET", "half", "value"]);
    for length in 1..whole.len() {
        let mut connection = service.connect();
        connection.send_bytes(&whole[..length]);
        drop(connection);
    }
    let mut connection = service.connect();
    for (n, byte) in whole.iter().enumerate() {
        assert_eq!(service.connect().ask("EXISTS half"), ":0", "after {n} bytes");
        connection.send_bytes(std::slice::from_ref(byte));
    }
    assert_eq!(connection.read().to_string(), "+OK");
    assert_eq!(connection.ask("GET half"), "\"value\"");
}

#[test]
fn bytes_one_at_a_time_from_many_senders_are_as_good_as_frames() {
    let service = Service::start(&[("WORKERS", "2")]);
    thread::scope(|scope| {
        for sender in 0..8 {
            let service = &service;
            scope.spawn(move || {
                let mut connection = service.connect();
                let key = format!("key:{sender}");
                let bytes =
                    [encoded(&["SET", &key, "1"]), format!("INCR {key}\r\nGET {key}\r\n").into_bytes()].concat();
                for byte in &bytes {
                    connection.send_bytes(std::slice::from_ref(byte));
                }
                let replies: Vec<String> = (0..3).map(|_| connection.read().to_string()).collect();
                assert_eq!(replies, ["+OK", ":2", "\"2\""]);
            });
        }
    });
}

#[test]
fn random_bytes_end_their_own_connection_at_most() {
    let service = Service::start(&[("WORKERS", "2")]);
    let mut watcher = service.connect();
    assert_eq!(watcher.ask("SET a 1"), "+OK");
    let mut state = 0x1234_5678_9abc_def1_u64;
    for round in 0..200 {
        let mut connection = service.connect();
        let mut bytes = Vec::new();
        for _ in 0..300 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // Mostly what a protocol is made of; never a whole command that changes anything.
            bytes.push(b"*$\r\n0123456789-+:PINGpingGET\"' \x00\xff"[state as usize % 33]);
        }
        bytes.extend_from_slice(b"\r\n\r\n");
        // The service may have closed already.
        if connection.try_send_bytes(&bytes).is_ok() {
            connection.patience = Duration::from_millis(1);
            while connection.try_read().is_ok() {}
        }
        if round % 20 == 0 {
            assert_eq!(watcher.ask("GET a"), "\"1\"");
        }
    }
    assert_eq!(service.workers().len(), 2);
    assert!(!service.log().lines().iter().any(|line| line.contains("panicked") || line.contains("died")));
}

#[test]
fn clients_that_send_nothing_or_half_a_request_are_disconnected_after_the_idle_time_and_others_are_not() {
    let service = Service::start(&[("WORKERS", "2"), ("IDLE_TIMEOUT_SECONDS", "2")]);
    let begun = clock::monotonic();
    let mut silent: Vec<Connection> = (0..20).map(|_| service.connect()).collect();
    for connection in silent.iter_mut().step_by(2) {
        connection.send_bytes(b"*3\r\n$3\r\nSET\r\n$1\r\na");
    }
    let mut busy = service.connect();
    wait_until("the end of the silent ones", Duration::from_secs(20), || {
        assert_eq!(busy.ask("PING"), "+PONG");
        let count = busy.ask("CLIENT LIST").matches("id=").count();
        (count == 1).then_some(())
    });
    let took = clock::monotonic().duration_since(begun);
    assert!(silent.iter_mut().all(Connection::is_closed));
    assert!(took >= Duration::from_millis(1900) && took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn a_client_that_drips_bytes_holds_up_nobody() {
    let service = Service::start(&[("WORKERS", "2")]);
    let mut slow: Vec<Connection> = (0..200).map(|_| service.connect()).collect();
    let frame = encoded(&["SET", "slow", "value"]);
    let mut other = service.connect();
    let mut slowest = Duration::ZERO;
    for byte in &frame {
        slow.iter_mut().for_each(|connection| connection.send_bytes(std::slice::from_ref(byte)));
        let begun = clock::monotonic();
        assert_eq!(other.ask("INCR count").chars().next(), Some(':'));
        slowest = slowest.max(clock::monotonic().duration_since(begun));
    }
    for connection in &mut slow {
        assert_eq!(connection.read().to_string(), "+OK");
    }
    println!("the slowest INCR beside 200 slow senders took {slowest:?}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}

#[test]
fn a_pipeline_of_a_million_commands_is_answered_in_order_and_in_bounded_memory() {
    let _turn = turn();
    let service = Service::start(&[("WORKERS", "2")]);
    let count = number_from_environment("PIPELINE_COMMANDS", 1_000_000);
    let mut connection = service.connect();
    assert_eq!(connection.ask("SET counter 0"), "+OK");
    let before = largest_bytes(&service);
    let stream = connection.stream.try_clone().unwrap();
    let sender = thread::spawn(move || {
        let mut stream = stream;
        let piece = "PING\r\n".repeat(999) + "INCR counter\r\n";
        for _ in 0..count / 1000 {
            stream.write_all(piece.as_bytes()).unwrap();
        }
    });
    let mut most = before;
    let mut number = 0;
    let pongs = "+PONG\r\n".repeat(999);
    for piece in 1..=count / 1000 {
        assert!(connection.read_bytes(pongs.len()).unwrap() == pongs.as_bytes(), "piece {piece}");
        assert_eq!(connection.read().to_string(), format!(":{piece}"));
        number += 1000;
        if piece % 50 == 0 {
            most = most.max(largest_bytes(&service));
        }
    }
    sender.join().unwrap();
    println!(
        "{number} commands; memory of the largest process {} KiB before, {} KiB at most",
        before >> 10,
        most >> 10
    );
    assert!(most < before + 24 * MEBI as u64, "{before} then {most}");
}

#[test]
fn a_pipeline_that_is_written_whole_before_any_reply_is_read_is_answered_whole() {
    let _turn = turn();
    let count = number_from_environment("PIPELINE_GETS", 300_000) as usize;
    // From the cache, and by way of the readers.
    for (cache_bytes, count) in [("64Mi", count), ("0", count / 2)] {
        let service = Service::start(&[("WORKERS", "2"), ("CACHE_BYTES", cache_bytes)]);
        let mut connection = service.connect();
        assert_eq!(connection.call(&["SET", "w", &"v".repeat(200)]).to_string(), "+OK");
        // A client library does so with one blocking call.
        connection.send_bytes(&encoded(&["GET", "w"]).repeat(count));
        let piece = format!("$200\r\n{}\r\n", "v".repeat(200)).repeat(1000);
        for n in 0..count / 1000 {
            assert!(connection.read_bytes(piece.len()).unwrap() == piece.as_bytes(), "piece {n}");
        }
        assert_eq!(connection.ask("PING"), "+PONG");
        assert_eq!(service.connect().ask("STRLEN w"), ":200");
    }
}

#[test]
fn a_client_that_never_reads_is_closed_at_its_limit_with_one_line_that_names_the_setting() {
    let limits = [("VALUE_BYTES_MAX", "1Mi"), ("OUTPUT_BYTES_MAX", "4Mi"), ("WORKERS", "1")];
    let service = Service::start(&limits);
    let mut other = service.connect();
    assert_eq!(other.call(&["SET", "big", &"v".repeat(50_000)]).to_string(), "+OK");
    let from = service.log().len();
    let mut deaf = service.connect();
    deaf.send_bytes(&encoded(&["GET", "big"]).repeat(1000));
    let is_the_line = |line: &str| line.contains("EMPTYSERVER_OUTPUT_BYTES_MAX");
    let line = service.log().wait_for(from, Duration::from_secs(30), is_the_line).unwrap();
    assert!(line.contains(&deaf.address().to_string()), "{line}");
    let info = other.call(&["INFO", "stats"]).text();
    assert!(info.contains("client_output_buffer_limit_disconnections:1\r\n"), "{info}");
    // One that reads has the same pipeline answered, slowly as it may be.
    let mut reader = service.connect();
    reader.send_bytes(&encoded(&["GET", "big"]).repeat(1000));
    for _ in 0..1000 {
        assert!(matches!(reader.read(), Value::Bulk(bytes) if bytes.len() == 50_000));
    }
    assert_eq!(service.log().lines()[from..].iter().filter(|line| is_the_line(line)).count(), 1);
}

#[test]
fn a_pipeline_with_large_replies_is_answered_whole_and_in_order_on_every_lane() {
    let service = Service::start(&[("WORKERS", "1")]);
    let mut connection = service.connect();
    let value = "v".repeat(60_000);
    assert_eq!(connection.call(&["SET", "big", &value]).to_string(), "+OK");
    let mut pipeline = Vec::new();
    for _ in 0..100 {
        // Reads behind a write ride with it; then a run of reads alone.
        pipeline.extend_from_slice(b"INCR count\r\nGET big\r\nGET big\r\nPING\r\n");
        pipeline.extend_from_slice(&b"GET big\r\nGET count\r\n".repeat(3));
    }
    let stream = connection.stream.try_clone().unwrap();
    let sender = thread::spawn(move || {
        let mut stream = stream;
        stream.write_all(&pipeline).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let is_big = |reply: &Value| matches!(reply, Value::Bulk(bytes) if bytes.len() == 60_000);
    for n in 1..=100 {
        assert_eq!(connection.read().to_string(), format!(":{n}"));
        assert!(is_big(&connection.read()) && is_big(&connection.read()));
        assert_eq!(connection.read().to_string(), "+PONG");
        for _ in 0..3 {
            assert!(is_big(&connection.read()));
            assert_eq!(connection.read().to_string(), format!("\"{n}\""));
        }
    }
    sender.join().unwrap();
    assert!(connection.is_closed());
}

/// Writes so many times 40 KB in groups of their own. Gives the longest that one took, and the most that the `-wal` had.
fn write_meanwhile(service: &Service, writes: u32) -> (Duration, u64) {
    let mut innocent = service.connect();
    let wal = service.data().join("data.db-wal");
    let (mut longest, mut largest) = (Duration::ZERO, 0);
    for n in 0..writes {
        // What is there already would not be written.
        let value = format!("{n}").repeat(15_000);
        let begun = clock::monotonic();
        assert_eq!(innocent.call(&["SET", &format!("key:{}", n % 20), &value]).to_string(), "+OK");
        longest = longest.max(clock::monotonic().duration_since(begun));
        largest = largest.max(std::fs::metadata(&wal).unwrap().len());
    }
    println!("the longest SET took {longest:?}, the -wal had {largest} bytes");
    (longest, largest)
}

#[test]
fn a_pipeline_of_long_reads_leaves_the_wal_near_its_budget() {
    let _turn = turn();
    let service = Service::start(&[("WORKERS", "1"), ("WAL_BYTES_MAX", "1Mi")]);
    let mut hostile = service.connect();
    assert_eq!(hostile.call(&[&b"SET"[..], b"large", &vec![0xAA; 32 * MEBI]]).to_string(), "+OK");
    assert_eq!(hostile.ask("SAVE"), "+OK");
    // A snapshot that needs nothing of the -wal would not hold it.
    assert_eq!(hostile.ask("SET other 1"), "+OK");
    hostile.send_bytes(&b"BITCOUNT large\r\n".repeat(250));
    // 24 MB, all of which one snapshot would keep there. Each read keeps what is written while it lasts, which is more on a busy machine.
    let (_, largest) = write_meanwhile(&service, 600);
    assert!(largest < 8 * MEBI as u64, "{largest} bytes at a budget of {MEBI}");
}

#[test]
fn long_reads_behind_a_write_hold_up_nobody_elses() {
    let _turn = turn();
    let service = Service::start(&[("WORKERS", "1")]);
    let mut hostile = service.connect();
    assert_eq!(hostile.call(&[&b"SET"[..], b"large", &vec![0xAA; 16 * MEBI]]).to_string(), "+OK");
    let requests = [b"SET x 1\r\n".to_vec(), b"BITCOUNT large\r\n".repeat(400)].concat();
    hostile.send_bytes(&requests);
    assert_eq!(hostile.read().to_string(), "+OK", "its write does not wait for its reads");
    let counted = format!(":{}", 4 * 16 * MEBI);
    assert_eq!(hostile.read().to_string(), counted);
    let (longest, _) = write_meanwhile(&service, 300);
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    assert_eq!(hostile.ask("PING"), counted, "it is still at it, and the answers keep their order");
}

#[test]
fn a_value_at_the_limit_is_taken_and_one_over_it_is_refused_by_every_command() {
    let service = Service::start(&[("WORKERS", "2"), ("VALUE_BYTES_MAX", "1Mi")]);
    let mut connection = service.connect();
    let (most, over) = (vec![b'v'; MEBI], vec![b'v'; MEBI + 1]);
    assert_eq!(connection.call(&[b"SET", b"a".as_slice(), &most]).to_string(), "+OK");
    assert_eq!(connection.ask("STRLEN a"), format!(":{MEBI}"));
    let too_long = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    assert_eq!(connection.ask("APPEND a x"), too_long);
    assert_eq!(connection.ask(&format!("SETRANGE a {MEBI} x")), too_long);
    assert_eq!(connection.ask(&format!("SETRANGE new {MEBI} x")), too_long);
    assert_eq!(connection.ask(&format!("SETRANGE a {} x", MEBI - 1)), format!(":{MEBI}"));
    assert_eq!(connection.ask("SETRANGE a 9223372036854775807 x"), too_long);
    assert_eq!(connection.ask(&format!("SETBIT a {} 1", MEBI * 8 - 1)), ":0");
    assert!(connection.ask(&format!("SETBIT a {} 1", MEBI * 8)).starts_with("-ERR"));
    assert_eq!(connection.ask("EXISTS new"), ":0");
    assert_eq!(connection.ask(&format!("BITFIELD a SET u8 {} 1", MEBI * 8)).chars().next(), Some('-'));
    // Nobody else's write suffers in the same group.
    let mut others: Vec<Connection> = (0..8).map(|_| service.connect()).collect();
    for (n, other) in others.iter_mut().enumerate() {
        other.send(&["SET", &format!("other:{n}"), "1"]);
        connection.send(&["APPEND", "a", "x"]);
    }
    for other in &mut others {
        assert_eq!(other.read().to_string(), "+OK");
        assert_eq!(connection.read().to_string(), too_long);
    }
    // As a frame it is refused before any of it is taken.
    let mut sender = service.connect();
    let frame = encoded(&[b"SET", b"b".as_slice(), &over]);
    sender.send_bytes(&frame[..100]);
    assert_eq!(sender.read().to_string(), "-ERR Protocol error: invalid bulk length");
    assert!(sender.is_closed());
    assert_eq!(connection.ask("EXISTS b"), ":0");
    assert_eq!(connection.ask("STRLEN a"), format!(":{MEBI}"));
}

/// Ends the others' loops also when the test panics.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn big_values_come_and_go_while_others_are_answered() {
    let _turn = turn();
    let service = Service::start(&[("WORKERS", "2"), ("VALUE_BYTES_MAX", "128Mi")]);
    let mebibytes = number_from_environment("BIG_VALUE_MEBIBYTES", 64) as usize;
    let value = vec![b'v'; mebibytes * MEBI];
    let is_over = AtomicBool::new(false);
    let mut reading: Vec<Connection> = (0..4).map(|_| service.connect()).collect();
    for (n, connection) in reading.iter_mut().enumerate() {
        assert_eq!(connection.ask(&format!("SET small:{n} {n}")), "+OK");
    }
    let slowest = thread::scope(|scope| {
        let readers: Vec<_> = reading
            .iter_mut()
            .enumerate()
            .map(|(n, connection)| {
                let is_over = &is_over;
                scope.spawn(move || {
                    let mut slowest = Duration::ZERO;
                    while !is_over.load(Ordering::SeqCst) {
                        let begun = clock::monotonic();
                        assert_eq!(connection.ask(&format!("GET small:{n}")), format!("\"{n}\""));
                        slowest = slowest.max(clock::monotonic().duration_since(begun));
                    }
                    slowest
                })
            })
            .collect();
        let end = SetAtEnd(&is_over);
        let mut connection = service.connect();
        let step = |name: &str, connection: &mut Connection, args: &[&[u8]]| {
            let begun = clock::monotonic();
            let reply = connection.call(args);
            println!("{name} {mebibytes} MiB: {:?}", clock::monotonic().duration_since(begun));
            reply
        };
        assert_eq!(step("SET", &mut connection, &[b"SET", b"big", &value]).to_string(), "+OK");
        let begun = clock::monotonic();
        connection.send(&["GET", "big"]);
        let header = format!("${}\r\n", value.len());
        assert_eq!(connection.read_bytes(header.len()).unwrap(), header.as_bytes());
        assert!(connection.read_bytes(value.len()).unwrap() == value);
        assert_eq!(connection.read_bytes(2).unwrap(), b"\r\n");
        println!("GET {mebibytes} MiB: {:?}", clock::monotonic().duration_since(begun));
        let length = value.len() + 3;
        assert_eq!(
            step("APPEND 3 to", &mut connection, &[b"APPEND", b"big", b"end"]).to_string(),
            format!(":{length}")
        );
        let reply = step("SETRANGE 3 in", &mut connection, &[b"SETRANGE", b"big", b"1000000", b"mid"]);
        assert_eq!(reply.to_string(), format!(":{length}"));
        assert_eq!(connection.ask("GETRANGE big 999999 1000003"), "\"vmidv\"");
        assert_eq!(connection.ask("GETRANGE big -4 -1"), "\"vend\"");
        assert_eq!(step("DEL", &mut connection, &[b"DEL", b"big"]).to_string(), ":1");
        assert_eq!(connection.ask("EXISTS big"), ":0");
        drop(end);
        readers.into_iter().map(|reader| reader.join().unwrap()).max().unwrap()
    });
    println!("the slowest small GET meanwhile: {slowest:?}");
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
}

#[test]
fn a_client_that_goes_away_amid_a_big_request_or_reply_leaves_nothing_behind() {
    let service = Service::start(&[("WORKERS", "2"), ("VALUE_BYTES_MAX", "64Mi")]);
    let mut connection = service.connect();
    let value = vec![b'v'; 16 * MEBI];
    assert_eq!(connection.call(&[b"SET", b"big".as_slice(), &value]).to_string(), "+OK");
    let frame = encoded(&[b"SET", b"never".as_slice(), &value]);
    for _ in 0..8 {
        let mut sender = service.connect();
        sender.send_bytes(&frame[..frame.len() - 1]);
        let mut reader = service.connect();
        reader.send(&["GET", "big"]);
        let mut some = [0; 1000];
        reader.stream.read_exact(&mut some).unwrap();
    }
    assert_eq!(connection.ask("EXISTS never"), ":0");
    // Buffers are given back.
    wait_until("memory as before", Duration::from_secs(5), || {
        assert_eq!(connection.ask("PING"), "+PONG");
        (largest_bytes(&service) < 48 * MEBI as u64).then_some(())
    });
}

/// A queue of that many PINGs, sent in pieces.
fn queue_pings(connection: &mut Connection, count: usize) {
    const PIECE: usize = 10_000;
    for _ in 0..count / PIECE {
        connection.send_bytes(&b"PING\r\n".repeat(PIECE));
        let queued = b"+QUEUED\r\n".repeat(PIECE);
        assert!(connection.read_bytes(queued.len()).unwrap() == queued);
    }
}

/// The figure of that name of the client's line in CLIENT LIST, as another one sees it.
fn figure(other: &mut Connection, id: &str, name: &str) -> usize {
    let line = other.ask(&format!("CLIENT LIST ID {id}"));
    let (_, after) = line.split_once(&format!(" {name}=")).unwrap();
    after.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_queue_of_small_commands_takes_little_and_client_list_tells_how_much() {
    let service = Service::start(&[("WORKERS", "1")]);
    let mut other = service.connect();
    let before = largest_bytes(&service);
    let mut connection = service.connect();
    let id = connection.ask("CLIENT ID").trim_start_matches(':').to_owned();
    assert_eq!(connection.ask("MULTI"), "+OK");
    queue_pings(&mut connection, 500_000);
    let (counted, kept) = (figure(&mut other, &id, "multi-mem"), largest_bytes(&service).saturating_sub(before));
    println!("half a million PINGs: {counted} bytes counted, {kept} kept");
    assert!(counted < 16 * MEBI && kept < 24 * MEBI as u64, "{counted} counted, {kept} kept");
    assert!(counted as u64 + 8 * MEBI as u64 > kept, "{counted} counted, {kept} kept");
    assert!(figure(&mut other, &id, "tot-mem") >= counted);
    assert_eq!(connection.ask("DISCARD"), "+OK");
    assert!(figure(&mut other, &id, "multi-mem") == 0);

    let many = vec![""; 500_000];
    let exists: Vec<&str> = std::iter::once("EXISTS").chain(many.iter().copied()).collect();
    assert_eq!(connection.ask("MULTI"), "+OK");
    for _ in 0..4 {
        assert_eq!(connection.call(&exists).to_string(), "+QUEUED");
    }
    let (counted, kept) = (figure(&mut other, &id, "multi-mem"), largest_bytes(&service).saturating_sub(before));
    println!("four EXISTS of 500,000 empty keys: {counted} bytes counted, {kept} kept");
    assert!(counted < 16 * MEBI && kept < 64 * MEBI as u64, "{counted} counted, {kept} kept");
    assert_eq!(connection.ask("DISCARD"), "+OK");
}

#[test]
fn a_queue_over_the_limit_is_refused_with_the_setting_s_name_and_given_back() {
    let service = Service::start(&[("WORKERS", "1"), ("VALUE_BYTES_MAX", "1Mi"), ("QUERY_BYTES_MAX", "8Mi")]);
    let (mut connection, mut other) = (service.connect(), service.connect());
    let id = connection.ask("CLIENT ID").trim_start_matches(':').to_owned();
    let value = "v".repeat(1_000_000);
    assert_eq!(connection.ask("MULTI"), "+OK");
    for _ in 0..4 {
        assert_eq!(connection.call(&["SET", "a", &value]).to_string(), "+QUEUED");
    }
    let refused = connection.call(&["SET", "a", &value]).to_string();
    assert!(
        refused.starts_with("-ERR the queued commands") && refused.contains("EMPTYSERVER_QUERY_BYTES_MAX"),
        "{refused}"
    );
    assert_eq!(figure(&mut other, &id, "multi-mem"), 0);
    assert_eq!(connection.ask("EXEC"), "-EXECABORT Transaction discarded because of previous errors.");
    assert_eq!(connection.ask("EXISTS a"), ":0");
}

#[test]
fn an_exec_of_long_commands_on_the_loop_lets_others_in_between_and_takes_bounded_memory() {
    let service = Service::start(&[("WORKERS", "1")]);
    let (mut connection, mut other) = (service.connect(), service.connect());
    assert_eq!(connection.ask("MULTI"), "+OK");
    for _ in 0..600 {
        assert_eq!(connection.ask("COMMAND DOCS"), "+QUEUED");
    }
    let worker = service.process("worker-0").unwrap();
    let before = peak_bytes(worker);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (connection, is_over) = (&mut connection, &is_over);
        scope.spawn(move || {
            let _end = SetAtEnd(is_over);
            // What comes behind it waits for its end. Read as fast as it comes: what is not read waits within the output limit.
            connection.send_bytes(b"EXEC\r\nECHO the-end\r\n");
            let (mut bytes, mut tail, mut length) = (vec![0; MEBI], Vec::new(), 0);
            while !tail.ends_with(b"the-end\r\n") {
                let count = connection.stream.read(&mut bytes).unwrap();
                assert!(count > 0, "closed after {length} bytes");
                length += count;
                tail.extend_from_slice(&bytes[count.saturating_sub(16)..count]);
                tail.drain(..tail.len().saturating_sub(16));
            }
            assert!(length > 30 * MEBI, "{length}");
        });
        let (mut slowest, mut pings) = (Duration::ZERO, 0);
        while !is_over.load(Ordering::SeqCst) {
            let begun = clock::monotonic();
            assert_eq!(other.ask("PING"), "+PONG");
            slowest = slowest.max(clock::monotonic().duration_since(begun));
            pings += 1;
        }
        let most = peak_bytes(worker);
        println!(
            "{pings} PINGs beside it, the slowest {slowest:?}; {} MiB before, {} MiB at most",
            before >> 20,
            most >> 20
        );
        assert!(most < before + 24 * MEBI as u64, "{before} then {most}");
    });
}

/// The most memory that a process has ever had, of files too.
fn peak_bytes(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn replies_over_the_output_limit_are_not_built_in_any_process() {
    let settings = [("WORKERS", "1"), ("VALUE_BYTES_MAX", "8Mi"), ("OUTPUT_BYTES_MAX", "16Mi"), ("CACHE_BYTES", "1Mi")];
    let service = Service::start(&settings);
    let mut connection = service.connect();
    let value = vec![b'v'; 4 * MEBI];
    assert_eq!(connection.call(&[b"SET", b"big".as_slice(), &value]).to_string(), "+OK");
    let too_large = "-ERR the reply is larger than EMPTYSERVER_OUTPUT_BYTES_MAX allows";
    let many = vec!["big"; 200];
    let mget: Vec<&str> = std::iter::once("MGET").chain(many.iter().copied()).collect();
    assert_eq!(connection.call(&mget).to_string(), too_large);
    // The same behind a write, and within EXEC, for a reader and for the writer.
    for last in ["STRLEN big", "INCR count"] {
        assert_eq!(connection.ask("INCR count").chars().next(), Some(':'));
        connection.send_bytes(&[encoded(&["INCR", "count"]), encoded(&mget)].concat());
        assert_eq!(connection.read().to_string().chars().next(), Some(':'));
        assert_eq!(connection.read().to_string(), too_large);
        assert_eq!(connection.ask("MULTI"), "+OK");
        connection.send_bytes(&encoded(&["GET", "big"]).repeat(200));
        (0..200).for_each(|_| assert_eq!(connection.read().to_string(), "+QUEUED"));
        assert_eq!(connection.ask(last), "+QUEUED");
        let Value::Array(replies) = connection.call(&["EXEC"]) else { panic!("EXEC runs") };
        let whole =
            replies.iter().take_while(|reply| matches!(reply, Value::Bulk(bytes) if bytes.len() == value.len()));
        assert_eq!((whole.count(), replies.len()), (3, 201));
        assert!(replies[3..200].iter().all(|reply| reply.to_string() == too_large));
        assert_eq!(replies[200].to_string().chars().next(), Some(':'));
    }
    for process in service.processes() {
        let peak = peak_bytes(process.pid);
        println!("{}: {} MiB at most", process.name, peak >> 20);
        assert!(peak < 128 * MEBI as u64, "{}: {peak}", process.name);
    }
}

/// What took seconds of a loop, or of a reader, in some version; with the beginning of its answer.
fn long_calls() -> Vec<(&'static str, Vec<String>, &'static str)> {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let many = |line: &str, more: &dyn Fn(usize) -> String, count: usize| {
        words(line).into_iter().chain((0..count).map(more)).collect::<Vec<_>>()
    };
    let class = format!("*[{}]", "xyz".repeat(4 * MEBI / 3));
    let worst = format!("*{}b", "[^b]".repeat(1_000));
    vec![
        ("many keys to watch", many("WATCH", &|n| format!("key:{n}"), 100_000), "+OK"),
        ("many keys to read", many("EXISTS", &|n| format!("key:{n}"), 100_000), ":0"),
        ("more keys to watch than there may be", many("WATCH", &|n| format!("key:{n}"), 200_000), "-ERR too many"),
        ("a class of 4 MiB for CONFIG", words(&format!("CONFIG GET {class}")), "-ERR pattern too long"),
        (
            "a class of 4 MiB for COMMAND",
            words(&format!("COMMAND LIST FILTERBY PATTERN {class}")),
            "-ERR pattern too long",
        ),
        ("a class of 4 MiB for SCAN", words(&format!("SCAN 0 COUNT 1000 MATCH {class}")), "-ERR pattern too long"),
        ("a class of 4 MiB for KEYS", words(&format!("KEYS {class}")), "-ERR pattern too long"),
        ("the worst pattern for SCAN", words(&format!("SCAN 0 COUNT 1000 MATCH {worst}")), "["),
        ("many patterns", many("CONFIG GET", &|n| format!("*{n}*{n}*"), 200_000), "-ERR too many arguments"),
        (
            "many patterns that are long together",
            many("CONFIG GET", &|n| format!("*{n}*").repeat(4), 1_000),
            "-ERR pattern too long",
        ),
        ("many names for DOCS", many("COMMAND DOCS", &|_| "config".to_owned(), 200_000), "-ERR too many arguments"),
        ("many names for INFO", many("COMMAND INFO", &|_| "config".to_owned(), 200_000), "-ERR too many arguments"),
        (
            "many names for HISTOGRAM",
            many("LATENCY HISTOGRAM", &|_| "ping".to_owned(), 200_000),
            "-ERR too many arguments",
        ),
        (
            "many keys for GETKEYS",
            many("COMMAND GETKEYSANDFLAGS DEL", &|n| n.to_string(), 200_000),
            "-ERR too many arguments",
        ),
        ("many clients", many("CLIENT LIST ID", &|_| "1".to_owned(), 200_000), "-ERR too many arguments"),
        ("many passwords, with a monitor", many("HELLO 3", &|_| "AUTH".to_owned(), 99_999), "-WRONGPASS"),
        ("a large value, with a monitor", words(&format!("SET large {}", "\x01".repeat(16 * MEBI))), "+OK"),
    ]
}

#[test]
fn no_call_holds_up_the_other_clients_of_its_worker_for_long() {
    let _turn = turn();
    let service = Service::start(&[("WORKERS", "1"), ("READERS", "1")]);
    let (mut other, mut monitor) = (service.connect(), service.connect());
    (0..1000).for_each(|n| other.send(&["SET", &format!("{}{n}", "a".repeat(200)), "1"]));
    (0..1000).for_each(|_| drop(other.read()));
    let mut reads = 0;
    for (what, call, expected) in long_calls() {
        if what.ends_with("with a monitor") {
            monitor.send(&["MONITOR"]);
            monitor.read();
        }
        let mut caller = service.connect();
        caller.send(&call);
        let mut slowest = Duration::ZERO;
        let begun = clock::monotonic();
        let reply = loop {
            let begun = clock::monotonic();
            assert_eq!(other.ask("PING"), "+PONG");
            reads += 1;
            // Not in the cache: the reader's affair.
            assert_eq!(other.call(&["EXISTS", &format!("absent:{reads}")]).integer(), 0);
            slowest = slowest.max(clock::monotonic().duration_since(begun));
            caller.patience = Duration::from_millis(1);
            if let Ok(reply) = caller.try_read() {
                break reply.to_string();
            }
        };
        println!("{what}: answered after {:?}, others waited {slowest:?}", clock::monotonic().duration_since(begun));
        assert!(reply.starts_with(expected), "{what}: {}", &reply[..reply.len().min(200)]);
        assert!(slowest < Duration::from_secs(4), "{what}: others waited {slowest:?}");
    }
}

#[test]
fn what_is_watched_counts_as_memory_of_its_client_and_is_given_back() {
    let service = Service::start(&[("WORKERS", "1")]);
    let (mut client, mut other) = (service.connect(), service.connect());
    let number = client.ask("CLIENT ID")[1..].to_owned();
    let mut held = |client: &mut Connection| {
        assert_eq!(client.ask("PING"), "+PONG");
        let line = other.call(&["CLIENT", "LIST", "ID", &number]).text();
        let field = line.split(' ').find_map(|field| field.strip_prefix("tot-mem=")).unwrap().to_owned();
        field.parse::<u64>().unwrap()
    };
    let before = held(&mut client);
    for turn in 0..13 {
        let keys = (0..10_000).map(|n| format!("key:{turn}:{n}"));
        let call: Vec<String> = std::iter::once("WATCH".to_owned()).chain(keys).collect();
        assert_eq!(client.call(&call).to_string(), "+OK");
    }
    let watching = held(&mut client);
    assert!(watching > before + 130_000 * 50, "{before} became {watching}");
    let more: Vec<String> = std::iter::once("WATCH".to_owned()).chain((0..2_000).map(|n| n.to_string())).collect();
    let refused = client.call(&more).to_string();
    assert!(refused.starts_with("-ERR too many watched keys: one client may watch 131072"), "{refused}");
    assert_eq!(client.ask("MULTI"), "+OK");
    assert_eq!(client.ask("SET a 1"), "+QUEUED");
    assert_eq!(client.ask("EXEC"), "[+\"OK\"]", "what is watched already holds, and nothing of it has changed");
    assert_eq!(held(&mut client), before);
}
