//! Much work for little input, on a loop, in a reader or in the shared group (issue 13, points 2 to 4).

use std::io::ErrorKind;
use std::time::Duration;

use emptyserver::sys::clock;

use super::arena::{Arena, MEBI, PEACE, Scenario};
use crate::support::{Connection, Service, encoded, wait_until};

/// Sends it, again until it was enough, and wants an answer each time, whatever it is: an error is one.
fn answered(arena: &Arena, args: &[&[u8]]) -> Result<String, String> {
    let mut client = arena.connect();
    let mut count = 0;
    loop {
        let answer = client.try_call(args).map_err(|error| format!("no answer: {error}"))?;
        count += 1;
        if arena.is_over() {
            let text: String = answer.to_string().chars().take(80).collect();
            return Ok(format!("answered {count} times: {text}"));
        }
    }
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn a_watch_of_80_000_keys_holds_no_loop() {
    let keys: Vec<String> = (0..80_000).map(|number| format!("watched:{number}")).collect();
    let watch: Vec<&[u8]> = [b"WATCH".as_slice()].into_iter().chain(keys.iter().map(String::as_bytes)).collect();
    Scenario {
        attack: &|arena| {
            let mut client = arena.connect();
            loop {
                for call in [watch.as_slice(), &[b"UNWATCH"]] {
                    let answer = client.try_call(call).map_err(|error| format!("no answer: {error}"))?.to_string();
                    if answer != "+OK" {
                        return Err(format!("WATCH was answered {answer:?}"));
                    }
                }
                if arena.is_over() {
                    return Ok("WATCH of 80,000 keys was answered".to_owned());
                }
            }
        },
        ..PEACE
    }
    .judge();
}

/// A class of 4 MiB, which matches nothing that there is.
fn class() -> Vec<u8> {
    let mut pattern = vec![b'#'; 4 << 20];
    pattern[0] = b'[';
    *pattern.last_mut().unwrap() = b']';
    pattern.push(b'*');
    pattern
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn a_pattern_of_4_mib_for_settings_holds_no_loop() {
    let pattern = class();
    Scenario { attack: &|arena| answered(arena, &[b"CONFIG", b"GET", &pattern]), ..PEACE }.judge();
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn a_pattern_of_4_mib_for_commands_holds_no_loop() {
    let pattern = class();
    Scenario { attack: &|arena| answered(arena, &[b"COMMAND", b"LIST", b"FILTERBY", b"PATTERN", &pattern]), ..PEACE }
        .judge();
}

/// Keys that a pattern has to be held against.
fn fill(service: &Service) {
    let mut client = service.connect();
    for first in (0..20_000).step_by(1000) {
        let mut words = vec!["MSET".to_owned()];
        words.extend(
            (first..first + 1000).flat_map(|number| [format!("a key of some length {number}"), "v".to_owned()]),
        );
        assert_eq!(client.call(&words).to_string(), "+OK");
    }
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn a_pattern_of_4_mib_for_keys_holds_no_reader() {
    let pattern = class();
    Scenario {
        prepare: &fill,
        attack: &|arena| {
            // As many as there are readers, and more.
            let mut clients: Vec<Connection> = (0..6).map(|_| arena.connect()).collect();
            let scan: [&[u8]; 6] = [b"SCAN", b"0", b"MATCH", &pattern, b"COUNT", b"20000"];
            clients.iter_mut().for_each(|client| client.send(&scan));
            for client in &mut clients {
                match client.try_read() {
                    // All of them together may be more than clients may take.
                    Err(error) if !matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                        return Err(format!("SCAN: {error}"));
                    }
                    _ => {}
                }
            }
            answered(arena, &[b"KEYS", &pattern])
        },
        ..PEACE
    }
    .judge();
}

/// A transaction whose calls run on the loop, with what it may answer in bytes; an error of the whole is an answer too.
fn transaction(arena: &Arena, call: &[&str], count: usize) -> Result<String, String> {
    let mut client = arena.connect();
    let mut bytes = encoded(&["MULTI"]);
    bytes.extend(encoded(call).repeat(count));
    bytes.extend(encoded(&["EXEC"]));
    bytes.extend(encoded(&["ECHO", "the end of it all"]));
    client.try_send_bytes(&bytes).map_err(|error| format!("can't send: {error}"))?;
    let length = super::replies::drain_until(&mut client, b"the end of it all\r\n")?;
    Ok(format!("EXEC of {count} x {} was answered in {length} bytes", call.join(" ")))
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn an_exec_of_3_000_calls_with_large_answers_that_the_loop_makes_itself_yields() {
    // All of it may wait to be sent: so it is answered whole.
    Scenario {
        settings: &[("OUTPUT_BYTES_MAX", "536870912")],
        attack: &|arena| transaction(arena, &["COMMAND", "DOCS"], 3000),
        ..PEACE
    }
    .judge();
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn an_exec_whose_answers_pass_the_limit_on_the_loop_keeps_within_it() {
    Scenario { attack: &|arena| transaction(arena, &["COMMAND", "DOCS"], 3000), ..PEACE }.judge();
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn an_exec_of_many_small_calls_that_the_loop_runs_itself_yields() {
    Scenario { attack: &|arena| transaction(arena, &["CONFIG", "GET", "*max*"], 100_000), ..PEACE }.judge();
}

const BIG: u64 = 64 * MEBI;
/// A reply has room for it.
pub(crate) const BIG_FITS: [(&str, &str); 3] =
    [("VALUE_BYTES_MAX", "67108864"), ("QUERY_BYTES_MAX", "134217728"), ("OUTPUT_BYTES_MAX", "134217728")];

/// A value of which every chunk is there.
pub(crate) fn big_value(service: &Service) {
    let value = vec![b'v'; BIG as usize];
    assert_eq!(service.connect().call(&[b"SET".as_slice(), b"big", &value]).to_string(), "+OK");
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn costly_reads_behind_a_write_of_the_same_pipeline_hold_no_commits() {
    Scenario {
        settings: &BIG_FITS,
        prepare: &big_value,
        attack: &|arena| {
            let mut client = arena.connect();
            let mut bytes = encoded(&["SET", "x", "1"]);
            bytes.extend(encoded(&["BITCOUNT", "big"]).repeat(150));
            client.send_bytes(&bytes);
            // How long all of it takes is its own affair.
            client.patience = Duration::from_secs(40);
            let first = client.try_read().map_err(|error| format!("SET: {error}"))?.to_string();
            let mut counts = 0;
            while counts < 150 && !(arena.is_over() && counts > 10) {
                let answer = client.try_read().map_err(|error| format!("BITCOUNT {counts}: {error}"))?.to_string();
                if !answer.starts_with(':') {
                    return Err(format!("BITCOUNT was answered {answer:?}"));
                }
                counts += 1;
            }
            Ok(format!("SET {first} and {counts} BITCOUNTs of 64 MiB, the others were left"))
        },
        ..PEACE
    }
    .judge();
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn a_pipeline_of_long_reads_does_not_let_the_wal_grow() {
    const BUDGET: u64 = MEBI;
    Scenario {
        settings: &[BIG_FITS[0], BIG_FITS[1], BIG_FITS[2], ("WAL_BYTES_MAX", "1048576")],
        prepare: &|service| {
            big_value(service);
            // What the value left in the -wal is written back before.
            let wal = service.data().join("data.db-wal");
            let mut client = service.connect();
            wait_until("a short -wal", Duration::from_secs(20), || {
                client.ask("SAVE");
                client.ask("SET small 1");
                (std::fs::metadata(&wal).unwrap().len() <= 2 * BUDGET).then_some(())
            });
        },
        attack: &|arena| {
            let mut reader = arena.connect();
            reader.send_bytes(&encoded(&["BITCOUNT", "big"]).repeat(2000));
            let mut writer = arena.connect();
            let end = clock::monotonic() + Duration::from_secs(4);
            let mut writes = 0;
            while clock::monotonic() < end {
                writer.try_call(&["SET", "grows", &"w".repeat(2000)]).map_err(|error| format!("SET: {error}"))?;
                writes += 1;
                clock::pause(Duration::from_millis(2));
            }
            let answer = reader.try_read().map_err(|error| format!("BITCOUNT: {error}"))?;
            Ok(format!("{writes} more writes beside a pipeline of BITCOUNTs of 64 MiB, the first answered {answer}"))
        },
        wal_bytes_max: 4 * BUDGET,
        ..PEACE
    }
    .judge();
}
