//! What goes through: large values, long pipelines, farewells, and many who say nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use emptyserver::sys::clock;

use super::started::Tls;
use crate::support::{Connection, PATIENCE, Secure, anonymous_bytes, encoded, wait_until};

#[test]
fn pipelines_and_values_of_any_size_pass_in_both_directions() {
    for workers in ["0", "2"] {
        let here = Tls::start(&[("WORKERS", workers), ("DURABILITY", "os")]);
        let mut client = Secure::open(here.address, &here.authority.client(None));
        assert_eq!(client.ask("PING"), "+PONG");
        let large: Vec<u8> = (0..20_000_000_u32).map(|number| (number % 251) as u8).collect();
        client.send(&[b"SET", &b"large"[..], large.as_slice()]);
        assert_eq!(client.try_read().unwrap().to_string(), "+OK");
        client.send(&[b"GET", &b"large"[..]]);
        assert!(client.try_read().unwrap().bytes() == Some(large.as_slice()));
        // All of it is written before the first reply is read: the replies wait in the service.
        let mut requests = Vec::new();
        for number in 0..60_000 {
            requests.extend(encoded(&["SET", &format!("key:{number}"), &"v".repeat(number % 100)]));
            requests.extend(encoded(&["GET", &format!("key:{number}")]));
        }
        let mut sent = 0;
        while sent < requests.len() {
            sent += client.stream.write(&requests[sent..]).unwrap();
        }
        client.stream.flush().unwrap();
        for number in 0..60_000 {
            assert_eq!(client.try_read().unwrap().to_string(), "+OK");
            assert_eq!(client.try_read().unwrap().bytes().map(<[u8]>::len), Some(number % 100));
        }
    }
}

#[test]
fn who_says_farewell_gets_all_replies_and_a_farewell() {
    let here = Tls::start(&[("WORKERS", "1")]);
    for is_closed in [false, true] {
        let mut client = Secure::open(here.address, &here.authority.client(None));
        for number in 0..2_000 {
            client.send(&["SET", &format!("key:{number}"), "value"]);
        }
        client.stream.conn.send_close_notify();
        client.stream.flush().unwrap();
        if is_closed {
            client.stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let mut replies = Vec::new();
        // Without TLS' farewell this would be an error.
        client.stream.read_to_end(&mut replies).unwrap();
        assert_eq!(replies.len(), 2_000 * "+OK\r\n".len());
    }
    let mut client = Secure::open(here.address, &here.authority.client(None));
    assert_eq!(client.ask("QUIT"), "+OK");
    assert_eq!(client.stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn handshakes_that_do_not_go_on_hold_up_nobody() {
    let here = Tls::start(&[("WORKERS", "2"), ("HANDSHAKES_MAX", "20"), ("HANDSHAKE_SECONDS_MAX", "2")]);
    let config = here.authority.client(None);
    let mut plain = here.service.connect();
    let mut slow = Vec::new();
    let mut longest = Duration::ZERO;
    for number in 0..200 {
        // Half of them say nothing, the others begin a handshake that never ends.
        let mut stream = TcpStream::connect(here.address).unwrap();
        if number % 2 == 0 {
            stream.write_all(&[0x16, 0x03, 0x01, 0x40, 0x00, 0x01]).unwrap();
        }
        slow.push(stream);
        if number % 20 == 19 {
            let begun = clock::monotonic();
            assert_eq!(Secure::open(here.address, &config).ask("PING"), "+PONG");
            assert_eq!(plain.ask("PING"), "+PONG");
            longest = longest.max(clock::monotonic() - begun);
        }
    }
    println!("beside them a handshake and two commands took at most {longest:?}");
    for mut stream in slow {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut rest = Vec::new();
        // The end, or a reset: it is closed.
        assert_eq!(stream.read_to_end(&mut rest).unwrap_or(0), 0);
    }
    wait_until("only those who are served are counted", PATIENCE, || {
        (plain.of_info("connected_clients") == 1).then_some(())
    });
}

#[test]
fn who_speaks_without_tls_is_closed_and_so_is_tls_where_there_is_none() {
    let here = Tls::start(&[("WORKERS", "1")]);
    let mut plain = Connection::open(here.address);
    plain.send(&["PING"]);
    assert!(plain.is_closed());
    let line = |text: &str| here.service.log().wait_for(0, PATIENCE, |line| line.contains(text));
    assert!(line("spoke without TLS to an address of EMPTYSERVER_TLS_LISTEN").is_some());
    let refused = Secure::try_open(here.service.address(), &here.authority.client(None));
    assert!(refused.is_err());
    assert!(line("a client speaks TLS to an address without it").is_some());
    // Whatever bytes the handshake has: a line end among them makes it look like a request.
    for more in [&b"\n"[..], b"\x00\r\nPING\r\n", b" \"\r\n"] {
        let mut client = here.service.connect();
        client.send_bytes(&[b"\x16\x03\x01\x02", more].concat());
        assert!(client.is_closed() && client.unread().is_empty(), "{more:?}");
    }
    assert_eq!(here.service.connect().ask("PING"), "+PONG");
}

#[test]
fn idle_connections_take_little_memory_and_it_is_counted() {
    const COUNT: u64 = 500;
    let here = Tls::start(&[("WORKERS", "1")]);
    let (config, worker) = (here.authority.client(None), here.service.workers()[0]);
    let mut first = Secure::open(here.address, &config);
    let before = anonymous_bytes(worker);
    let counted_before = here.service.connect().of_info("mem_clients_normal");
    let mut clients: Vec<Secure> = (0..COUNT).map(|_| Secure::open(here.address, &config)).collect();
    for client in &mut clients {
        assert_eq!(client.ask("SET key value"), "+OK");
    }
    let each = (anonymous_bytes(worker).saturating_sub(before)) / COUNT;
    let counted = (here.service.connect().of_info("mem_clients_normal") - counted_before) / COUNT;
    println!("an idle connection takes {each} bytes, of which {counted} are counted");
    assert!(each < 40_000, "{each}");
    assert!(counted > each / 4, "{counted} of {each} are counted");
    assert_eq!(first.ask("PING"), "+PONG");
}
