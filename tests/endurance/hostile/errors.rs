//! What is wrong with one call is that call's answer, and nobody else's (issue 13, point 1).

use std::time::Duration;

use super::arena::{Arena, PEACE, Scenario};
use super::witness;
use crate::support::{Connection, Service};

/// Asks again and again over several connections, each call behind a write of its own, and wants this kind of answer.
fn insist(arena: &Arena, line: &str, is_right: impl Fn(&str) -> bool) -> Result<String, String> {
    let mut clients: Vec<Connection> = (0..4).map(|_| arena.connect()).collect();
    let mut count = 0;
    let mut last = String::new();
    while !arena.is_over() {
        for client in &mut clients {
            client.send(&["INCR", "beside"]);
            client.send_bytes(format!("{line}\r\n").as_bytes());
        }
        for client in &mut clients {
            let beside = client.try_read().map_err(|error| format!("INCR: {error}"))?.to_string();
            if !beside.starts_with(':') {
                return Err(format!("the INCR of the same pipeline was answered {beside:?}"));
            }
            last = client.try_read().map_err(|error| format!("{line}: {error}"))?.to_string();
            if !is_right(&last) {
                return Err(format!("{line} was answered {last:?}"));
            }
            count += 1;
        }
        witness::get(arena.admin, "/readyz", Duration::from_secs(2))?;
    }
    Ok(format!("{count} times {line}: {last}"))
}

/// An error that does not say that the disk takes no writes.
fn is_own_error(answer: &str) -> bool {
    answer.starts_with("-ERR") && !answer.contains("disk")
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn a_bitfield_past_the_largest_value_is_refused_and_no_write_beside_it_fails() {
    const LARGEST: u64 = 1 << 20;
    let offset = 8 * LARGEST - 8;
    Scenario {
        settings: &[("VALUE_BYTES_MAX", "1048576")],
        attack: &|arena| insist(arena, &format!("BITFIELD k SET u63 {offset} 1"), is_own_error),
        ..PEACE
    }
    .judge();
}

/// A key of a kind that there is not: its row can't be read, all others can.
fn damage(service: &mut Service) {
    assert_eq!(service.connect().ask("SET damaged value"), "+OK");
    service.stop();
    let database = rusqlite::Connection::open(service.data().join("data.db")).unwrap();
    let changed = database.execute("UPDATE keyspace SET kind = 99 WHERE key = CAST('damaged' AS BLOB)", []).unwrap();
    assert_eq!(changed, 1);
    drop(database);
    service.restart();
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn a_damaged_row_is_an_error_for_who_asks_for_it_and_no_write_beside_it_fails() {
    for line in ["GET damaged", "APPEND damaged x"] {
        Scenario { begin: &damage, attack: &|arena| insist(arena, line, |answer| answer.starts_with('-')), ..PEACE }
            .judge();
    }
}
