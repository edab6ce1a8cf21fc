//! In a container of 256 MiB all limits follow from its memory, and nothing that a client sends makes the kernel kill a process.
//! Known to fail now and then: `tests/hostile.sh container::` tries it, `.ci/run` leaves it out.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

use emptyserver::sys::clock;

use super::arena::{Arena, MEBI, PEACE, Scenario};
use super::memory_limit::MemoryLimit;
use super::replies::never_read;
use crate::support::{Connection, encoded};

const CONTAINER: u64 = 256 * MEBI;

/// What takes memory, one after the other, each by two clients at a time. Whether it is served or refused is the limits' affair.
fn take_memory(arena: &Arena) -> Result<String, String> {
    let large = vec![b'v'; 30 << 20];
    let set = encoded(&[b"SET".as_slice(), b"large", &large]);
    let exists = encoded(&["EXISTS"].into_iter().chain(std::iter::repeat_n("", 1_000_000)).collect::<Vec<_>>());
    let multi = encoded(&["MULTI"]);
    let attacks: [(&str, Vec<u8>, usize); 5] = [
        ("SET of 30 MiB", set, 2),
        ("GET of 30 MiB, unread", encoded(&["GET", "large"]), 20),
        (
            "EXEC of GETs of 30 MiB",
            [multi.clone(), encoded(&["GET", "large"]).repeat(50), encoded(&["EXEC"])].concat(),
            1,
        ),
        ("MULTI of PINGs", [multi.clone(), b"PING\r\n".repeat(3_000_000)].concat(), 1),
        ("MULTI of EXISTS of empty keys", [multi, exists.repeat(12)].concat(), 1),
    ];
    let mut clients = Vec::new();
    for (name, requests, count) in &attacks {
        for _ in 0..2 {
            let mut client = arena.connect();
            client.stream.set_nonblocking(true).unwrap();
            push(&mut client, &requests.repeat(*count)).map_err(|error| format!("{name}: {error}"))?;
            clients.push(client);
        }
    }
    drop(clients);
    never_read(&mut arena.connect(), &encoded(&["GET", "large"]).repeat(100))?;
    Ok(format!("{} ways to take memory were tried", attacks.len() + 1))
}

/// As much of it as is taken within a second or two, without reading; a closed connection takes no more.
fn push(client: &mut Connection, bytes: &[u8]) -> std::io::Result<()> {
    let end = clock::monotonic() + Duration::from_millis(1500);
    let mut sent = 0;
    while sent < bytes.len() && clock::monotonic() < end {
        match client.stream.write(&bytes[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                clock::pause(Duration::from_millis(5));
            }
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn in_a_container_of_256_mib_no_process_is_killed_for_its_memory() {
    let limit = match MemoryLimit::new("hostile", CONTAINER) {
        Ok(limit) => limit,
        Err(error) => {
            println!("NOT TRIED, since this machine gives no container: {error}");
            return;
        }
    };
    let wrapper = limit.wrapper();
    Scenario {
        wrapper: &wrapper.iter().map(String::as_str).collect::<Vec<_>>(),
        // A file in memory would count as the container's.
        data_in: Some(Path::new(env!("CARGO_TARGET_TMPDIR"))),
        usual: &[("WORKERS", "2"), ("ADMIN_LISTEN", "127.0.0.1:0"), ("DURABILITY", "os")],
        attack: &take_memory,
        // The kernel takes pages of files back all the while, and whoever needs memory waits for that.
        latency_max: Some(Duration::from_secs(2)),
        memory_bytes_max: Some(CONTAINER),
        ..PEACE
    }
    .judge();
    assert_eq!(limit.killed(), 0, "the kernel killed processes for the container's memory");
    println!("  at most {} of {} MiB were in use, files included", limit.peak_bytes() / MEBI, CONTAINER / MEBI);
}
