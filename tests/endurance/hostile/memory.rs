//! What a client makes the service keep is counted, bounded and given back (issue 13, points 8 to 10).

use std::io::{ErrorKind, Read};
use std::time::Duration;

use emptyserver::sys::clock;

use super::arena::{Arena, MEBI, PEACE, Scenario};
use super::replies::drain_until;
use super::witness::memory_bytes;
use crate::support::{Connection, encoded};

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn an_exists_of_a_million_keys_leaves_nothing_behind() {
    let exists = encoded(&["EXISTS"].into_iter().chain(std::iter::repeat_n("k", 1_000_000)).collect::<Vec<_>>());
    Scenario {
        attack: &|arena| {
            let before = memory_bytes(&arena.service.workers());
            // One after the other, and all stay.
            let mut clients: Vec<Connection> = (0..6).map(|_| arena.connect()).collect();
            for client in &mut clients {
                client.send_bytes(&exists);
                let answer = client.try_read().map_err(|error| format!("EXISTS: {error}"))?;
                if answer.to_string() != ":0" {
                    return Err(format!("EXISTS was answered {answer}"));
                }
            }
            clock::pause(Duration::from_millis(300));
            let kept = memory_bytes(&arena.service.workers()).saturating_sub(before);
            let text = format!("6 clients asked for a million keys each and are idle: {} MiB kept", kept / MEBI);
            if kept > 32 * MEBI { Err(text) } else { Ok(text) }
        },
        ..PEACE
    }
    .judge();
}

/// MULTI and these, up to what the service takes; then EXEC. What is kept while it is queued is counted for the client.
fn queue(arena: &Arena, call: &[u8], count: usize) -> Result<String, String> {
    let mut client = arena.connect();
    let before = memory_bytes(&arena.service.workers());
    if client.ask("MULTI") != "+OK" {
        return Err("MULTI was refused".to_owned());
    }
    let mut sent = 0;
    let block = (count / 10).max(1);
    while sent < count {
        // In parts, and each is read: so it is not the output that is limited.
        let mut bytes = call.repeat(block);
        bytes.extend(encoded(&["ECHO", "a part of it"]));
        match client.try_send_bytes(&bytes).and_then(|()| read_queued(&mut client, block + 1)) {
            Ok(()) => sent += block,
            Err(error) if error.kind() == ErrorKind::TimedOut => return Err(format!("no answer after {sent} calls")),
            Err(error) => return Ok(format!("closed after {sent} of {count} calls: {error}")),
        }
    }
    let kept = memory_bytes(&arena.service.workers()).saturating_sub(before);
    let told = total_memory_of(arena, &client)?;
    client.send(&["EXEC"]);
    client.send(&["ECHO", "the end of it all"]);
    let length = drain_until(&mut client, b"the end of it all\r\n")?;
    let text =
        format!("{count} calls queued: {} MiB kept, tot-mem={} MiB; EXEC: {length} bytes", kept / MEBI, told / MEBI);
    // Figures of the allocator are rough: half of it at least is accounted for.
    if kept > 32 * MEBI && told < kept / 2 { Err(text) } else { Ok(text) }
}

/// So many lines, each of which says that a call is queued or why it is not.
fn read_queued(client: &mut Connection, count: usize) -> std::io::Result<()> {
    let mut lines = 0;
    let mut is_start = true;
    let mut bytes = vec![0; 1 << 16];
    client.stream.set_read_timeout(Some(client.patience))?;
    while lines < count {
        let read = client.stream.read(&mut bytes)?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        for byte in &bytes[..read] {
            assert!(!is_start || matches!(byte, b'+' | b'-'), "neither queued nor refused: {byte}");
            is_start = *byte == b'\n';
            lines += usize::from(is_start);
        }
    }
    Ok(())
}

/// As CLIENT LIST of another client tells it.
fn total_memory_of(arena: &Arena, client: &Connection) -> Result<u64, String> {
    let list = arena.connect().try_call(&["CLIENT", "LIST"]).map_err(|error| format!("CLIENT LIST: {error}"))?.text();
    let address = format!(" addr={} ", client.address());
    let line = list.lines().find(|line| line.contains(&address)).ok_or("not in CLIENT LIST")?;
    let field = line.split(' ').find_map(|field| field.strip_prefix("tot-mem="));
    field.and_then(|digits| digits.trim().parse().ok()).ok_or(format!("no tot-mem in {line:?}"))
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn two_million_pings_in_a_transaction_are_counted_and_bounded() {
    Scenario { attack: &|arena| queue(arena, b"PING\r\n", 2_000_000), ..PEACE }.judge();
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn calls_of_a_million_empty_words_in_a_transaction_are_counted_and_bounded() {
    let exists = encoded(&["EXISTS"].into_iter().chain(std::iter::repeat_n("", 1_000_000)).collect::<Vec<_>>());
    Scenario { attack: &|arena| queue(arena, &exists, 10), ..PEACE }.judge();
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn slow_log_entries_of_a_client_with_a_long_name_keep_little() {
    let name = vec![b'n'; 20 << 20];
    Scenario {
        // All is noted, that of the innocents too, and none makes room for another.
        settings: &[
            ("SLOWLOG_MICROSECONDS", "0"),
            ("SLOWLOG_ENTRIES_MAX", "60000"),
            ("VALUE_BYTES_MAX", "25165824"),
            ("OUTPUT_BYTES_MAX", "33554432"),
        ],
        attack: &|arena| {
            let mut client = arena.connect();
            let answer =
                client.try_call(&[b"CLIENT", b"SETNAME".as_slice(), &name]).map_err(|error| error.to_string())?;
            for _ in 0..40 {
                client.try_call(&["SET", "x", "1"]).map_err(|error| format!("SET: {error}"))?;
            }
            drop(client);
            let length = arena.connect().try_call(&["SLOWLOG", "LEN"]).map_err(|error| error.to_string())?.integer();
            let answer: String = answer.to_string().chars().take(60).collect();
            let text = format!("a name of 20 MiB was answered {answer:?}; {length} entries");
            if length < 40 { Err(text) } else { Ok(text) }
        },
        ..PEACE
    }
    .judge();
}
