//! Relatives of what issue 13 names: other ways to much work on a loop or in the shared group, and to much memory.

use std::fmt::Write;

use emptyserver::sys::clock;

use super::arena::{PEACE, Scenario};
use super::replies::drain_until;
use crate::support::{Connection, encoded};

/// Calls that run on the loop and take as many words as one likes.
const LONG_CALLS: &[&[&str]] = &[
    &["CONFIG", "GET", "*max*"],
    &["CONFIG", "SET", "nothing", "1"],
    &["COMMAND", "INFO", "get"],
    &["COMMAND", "DOCS", "get"],
    &["COMMAND", "GETKEYS", "MSET", "k", "v"],
    &["INFO", "server"],
    &["LATENCY", "HISTOGRAM", "get"],
    &["CLIENT", "LIST", "ID", "1"],
    &["CLIENT", "KILL", "ID", "999999"],
    &["MEMORY", "USAGE", "k"],
    &["HELLO", "3", "SETNAME", "x"],
    &["EXISTS", "k"],
    &["MGET", "k"],
    &["TOUCH", "k"],
];

/// The words behind the command, over and over.
fn lengthened(call: &[&str]) -> Vec<u8> {
    let fixed = if matches!(call[0], "CONFIG" | "COMMAND" | "CLIENT" | "LATENCY" | "MEMORY") { 2 } else { 1 };
    let fixed = if matches!(call, ["CLIENT", ..] | ["COMMAND", "GETKEYS", ..]) { 3 } else { fixed };
    let repeated = call[fixed..].iter().cycle().take(100_000);
    encoded(&call[..fixed].iter().chain(repeated).collect::<Vec<_>>())
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn calls_of_100_000_words_hold_no_loop() {
    Scenario {
        attack: &|arena| {
            let _others: Vec<Connection> = (0..200).map(|_| arena.connect()).collect();
            let mut text = String::new();
            for call in LONG_CALLS {
                let mut client = arena.connect();
                let begun = clock::monotonic();
                client.send_bytes(&lengthened(call));
                client.send(&["ECHO", "the end of it all"]);
                drain_until(&mut client, b"the end of it all\r\n")
                    .map_err(|error| format!("{}: {error}", call.join(" ")))?;
                let took = clock::monotonic() - begun;
                writeln!(text, "  {:7.1} ms {}", took.as_secs_f64() * 1000.0, call.join(" ")).unwrap();
            }
            Ok(format!("each with 100,000 words:\n{text} "))
        },
        ..PEACE
    }
    .judge();
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn pipelines_of_costly_calls_that_the_loop_runs_give_way() {
    for call in [&["INFO", "everything"][..], &["CONFIG", "GET", "*"], &["CLIENT", "LIST"], &["COMMAND", "DOCS", "get"]]
    {
        let requests = encoded(call).repeat(2000);
        println!("{}:", call.join(" "));
        Scenario {
            settings: &[("OUTPUT_BYTES_MAX", "536870912")],
            attack: &|arena| {
                let mut clients: Vec<Connection> = (0..4).map(|_| arena.connect()).collect();
                for client in &mut clients {
                    client.try_send_bytes(&requests).map_err(|error| format!("can't send: {error}"))?;
                    client.send(&["ECHO", "the end of it all"]);
                }
                let length: Result<Vec<usize>, String> =
                    clients.iter_mut().map(|client| drain_until(client, b"the end of it all\r\n")).collect();
                Ok(format!("4 clients sent it 2,000 times, {} MiB of answers", length?.iter().sum::<usize>() >> 20))
            },
            ..PEACE
        }
        .judge();
    }
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn monitors_that_never_read_stay_within_one_bound_over_all() {
    Scenario {
        attack: &|arena| {
            let mut monitors: Vec<Connection> = (0..20).map(|_| arena.connect()).collect();
            for monitor in &mut monitors {
                if monitor.try_call(&["MONITOR"]).map_err(|error| error.to_string())?.to_string() != "+OK" {
                    return Err("MONITOR was refused".to_owned());
                }
            }
            // What they are told is large: 20 x 400 x 40 kB.
            let mut client = arena.connect();
            let value = "v".repeat(40_000);
            for _ in 0..400 {
                client.try_call(&["SET", "told", &value]).map_err(|error| format!("SET: {error}"))?;
            }
            Ok("20 clients had MONITOR and did not read 16 MB each".to_owned())
        },
        ..PEACE
    }
    .judge();
}
