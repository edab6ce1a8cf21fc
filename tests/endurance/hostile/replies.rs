//! Clients that write before they read, or never read (issue 13, points 5, 11 and 12).

use std::io::{ErrorKind, Read};
use std::time::Duration;

use super::arena::{Arena, MEBI, PEACE, Scenario};
use crate::support::{Connection, PATIENCE, Service, encoded};

/// Reads and forgets, up to these bytes; how many there were. Also a connection that is closed with an answer before is at its end: the limit
/// of output may say so.
pub(crate) fn drain_until(client: &mut Connection, marker: &[u8]) -> Result<usize, String> {
    let mut tail: Vec<u8> = client.unread().to_vec();
    let mut total = 0;
    let mut bytes = vec![0; 1 << 18];
    client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    loop {
        match client.stream.read(&mut bytes) {
            Ok(0) => return Ok(total),
            Ok(count) => {
                total += count;
                tail.extend_from_slice(&bytes[..count]);
                tail.drain(..tail.len().saturating_sub(marker.len()));
                if tail == marker {
                    return Ok(total);
                }
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(total),
            Err(error) => return Err(format!("no answer after {total} bytes: {error}")),
        }
    }
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn a_client_that_sends_300_000_gets_before_it_reads_is_served() {
    const COUNT: usize = 300_000;
    let value = "v".repeat(200);
    Scenario {
        settings: &[("OUTPUT_BYTES_MAX", "134217728")],
        prepare: &|service| assert_eq!(service.connect().call(&["SET", "w", &value]).to_string(), "+OK"),
        attack: &|arena| {
            let mut client = arena.connect();
            client.patience = Duration::from_secs(10);
            let requests = encoded(&["GET", "w"]).repeat(COUNT);
            client
                .try_send_bytes(&requests)
                .map_err(|error| format!("not all was taken before something was read: {error}"))?;
            let block = format!("$200\r\n{value}\r\n").repeat(1000);
            for number in 0..COUNT / 1000 {
                let got = client.read_bytes(block.len()).map_err(|error| format!("block {number}: {error}"))?;
                if got != block.as_bytes() {
                    return Err(format!("block {number} is another"));
                }
            }
            Ok(format!("{COUNT} GETs were sent at once and answered"))
        },
        ..PEACE
    }
    .judge();
}

/// Asks without reading until the service closes. An error: it does neither serve nor close.
pub(crate) fn never_read(client: &mut Connection, requests: &[u8]) -> Result<usize, String> {
    client.patience = Duration::from_secs(10);
    let mut sent = 0;
    loop {
        match client.try_send_bytes(requests) {
            Ok(()) => sent += requests.len(),
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                return Ok(sent);
            }
            Err(error) => return Err(format!("neither served nor closed after {sent} bytes of requests: {error}")),
        }
    }
}

/// Writes it at `w`.
fn set_100_kb(service: &Service) {
    let answer = service.connect().call(&["SET", "w", &"v".repeat(100_000)]);
    assert_eq!(answer.to_string(), "+OK");
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn a_client_that_never_reads_is_closed_with_a_line_that_names_the_setting() {
    Scenario {
        prepare: &set_100_kb,
        attack: &|arena| {
            let sent = never_read(&mut arena.connect(), &encoded(&["GET", "w"]).repeat(1000))?;
            let names_it = |line: &str| line.contains("EMPTYSERVER_OUTPUT_BYTES_MAX");
            match arena.service.log().wait_for(0, Duration::from_secs(2), names_it) {
                Some(_) => Ok(format!("closed after {sent} bytes of requests")),
                None => Err("no line of the log names EMPTYSERVER_OUTPUT_BYTES_MAX".to_owned()),
            }
        },
        ..PEACE
    }
    .judge();
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn many_clients_that_never_read_stay_within_one_bound_over_all() {
    const CLIENTS: usize = 12;
    Scenario {
        prepare: &set_100_kb,
        attack: &|arena| {
            // Each of them is below its own limit: 12 MB of 16 MiB.
            let mut clients: Vec<Connection> = (0..CLIENTS).map(|_| arena.connect()).collect();
            for client in &mut clients {
                client.patience = Duration::from_secs(10);
                // One that is closed already can't be sent to.
                match client.try_send_bytes(&encoded(&["GET", "w"]).repeat(120)) {
                    Ok(()) => {}
                    Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
                    Err(error) => return Err(format!("can't send: {error}")),
                }
            }
            emptyserver::sys::clock::pause(Duration::from_secs(1));
            let closed = clients.iter_mut().filter_map(|client| drain_all(client, 120 * (100_000 + 11)).err()).count();
            Ok(format!("{CLIENTS} clients asked for 12 MB each and did not read: {closed} of them were closed"))
        },
        ..PEACE
    }
    .judge();
}

fn drain_all(client: &mut Connection, length: usize) -> std::io::Result<()> {
    let mut bytes = vec![0; 1 << 18];
    let mut left = length;
    client.stream.set_read_timeout(Some(PATIENCE))?;
    while left > 0 {
        match client.stream.read(&mut bytes)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => left = left.saturating_sub(count),
        }
    }
    Ok(())
}

/// What is asked for is far beyond the limit, and the answer an error or a closed connection.
fn refused(arena: &Arena, requests: &[u8]) -> Result<String, String> {
    let mut client = arena.connect();
    let mut bytes = requests.to_vec();
    bytes.extend(encoded(&["ECHO", "the end of it all"]));
    client.try_send_bytes(&bytes).map_err(|error| format!("can't send: {error}"))?;
    let length = drain_until(&mut client, b"the end of it all\r\n")?;
    if length as u64 > 64 * MEBI {
        return Err(format!("an answer of {} MiB was built", length as u64 / MEBI));
    }
    Ok(format!("answered with {length} bytes"))
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn an_exec_that_reads_800_mib_stops_at_the_limit() {
    let value = vec![b'v'; 4 << 20];
    // A transaction that writes is one change: no other is made while it reads, up to the limit.
    let in_writer = Some(Duration::from_millis(200));
    let cases =
        [("in a reader", encoded(&["PING"]), None), ("in the writer", encoded(&["SET", "other", "1"]), in_writer)];
    for (place, first, latency_max) in cases {
        let mut requests = encoded(&["MULTI"]);
        requests.extend(first);
        requests.extend(encoded(&["GET", "big"]).repeat(200));
        requests.extend(encoded(&["EXEC"]));
        println!("{place}:");
        Scenario {
            prepare: &|service| _ = service.connect().call(&[b"SET", b"big".as_slice(), &value]),
            attack: &|arena| refused(arena, &requests),
            latency_max,
            ..PEACE
        }
        .judge();
    }
}

#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn an_mget_of_a_small_request_that_would_be_1_6_gb_stops_at_the_limit() {
    let value = vec![b'v'; 64 << 10];
    let mget: Vec<&str> = ["MGET"].into_iter().chain(std::iter::repeat_n("w", 25_000)).collect();
    Scenario {
        prepare: &|service| _ = service.connect().call(&[b"SET", b"w".as_slice(), &value]),
        attack: &|arena| refused(arena, &encoded(&mget)),
        ..PEACE
    }
    .judge();
}

/// More than 4 GiB: offsets of 32 bits would wrap.
#[test]
#[ignore = "beside a release build: tests/hostile.sh"]
fn an_exec_of_eight_gets_of_the_largest_value_ends_no_process() {
    const LARGEST: u64 = 512 * MEBI;
    let mut requests = encoded(&["MULTI"]);
    requests.extend(encoded(&["GET", "largest"]).repeat(8));
    requests.extend(encoded(&["EXEC"]));
    requests.extend(encoded(&["ECHO", "the end of it all"]));
    Scenario {
        settings: &[
            ("VALUE_BYTES_MAX", "536870912"),
            ("QUERY_BYTES_MAX", "1073741824"),
            ("OUTPUT_BYTES_MAX", "1073741824"),
        ],
        prepare: &|service| {
            let answer = service.connect().ask(&format!("SETRANGE largest {} x", LARGEST - 1));
            assert_eq!(answer, format!(":{LARGEST}"));
        },
        attack: &|arena| {
            let mut client = arena.connect();
            client.send_bytes(&requests);
            let length = drain_until(&mut client, b"the end of it all\r\n")?;
            Ok(format!("EXEC of 8 x 512 MiB was answered with {length} bytes"))
        },
        // The loop still moves 512 MiB once, and the kernel has to find that much memory: tenths of a second for its other clients.
        latency_max: Some(Duration::from_secs(3)),
        ..PEACE
    }
    .judge();
}
