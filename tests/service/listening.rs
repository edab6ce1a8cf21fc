//! Where the service listens, and whom it takes its peers for.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use crate::support::{Connection, PATIENCE, Service, encoded, wait_until, words};

/// Where it listens beside the first address.
fn other_addresses(service: &Service) -> Vec<String> {
    let lines = service.log().lines();
    let others = lines.iter().filter(|line| line.contains("\"listens here, too\""));
    let address = |line: &String| {
        let fields: serde_json::Value = serde_json::from_str(line).unwrap();
        fields["address"].as_str().unwrap().to_owned()
    };
    others.map(address).collect()
}

/// What a peer of a Unix socket gets for one command, in bytes.
fn ask(path: &Path, line: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&encoded(&words(line))).unwrap();
    stream.write_all(&encoded(&["QUIT"])).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn has_v6() -> bool {
    std::net::TcpListener::bind("[::1]:0").is_ok()
}

#[test]
fn several_addresses_and_names_are_one_service() {
    let listen = if has_v6() { "127.0.0.1:0,[::1]:0,localhost:0" } else { "127.0.0.1:0,127.0.0.1:0,localhost:0" };
    for workers in ["0", "2"] {
        let service = Service::start(&[("LISTEN", listen), ("WORKERS", workers)]);
        let mut first = service.connect();
        assert_eq!(first.ask("SET key value"), "+OK");
        let others = other_addresses(&service);
        assert!(others.len() >= 2, "{others:?}");
        for other in &others {
            let mut client = Connection::open(other.parse::<SocketAddr>().unwrap());
            assert_eq!(client.ask("GET key"), "\"value\"", "{other}");
            let info = client.call(&["CLIENT", "INFO"]).text();
            assert!(info.contains(&format!(" laddr={other} ")), "{info}");
        }
        let info = first.call(&["INFO", "server"]).text();
        assert!(info.contains("listener0:name=tcp,bind=127.0.0.1,bind="), "{info}");
    }
}

#[test]
fn an_address_that_can_not_be_had_stops_the_start_and_says_which() {
    let mut service = Service::start(&[("WORKERS", "1")]);
    service.stop();
    service.set("UNIX_SOCKET", "/nonexistent/kv.sock");
    let told = service.refused_start();
    assert!(told.contains("/nonexistent/kv.sock"), "{told}");
    service.set("UNIX_SOCKET", "");
    service.set("TLS_LISTEN", "no-such-name.invalid:1");
    service.set("TLS_CERT_FILE", "/c");
    service.set("TLS_KEY_FILE", "/k");
    let told = service.refused_start();
    assert!(told.contains("/c can't be read"), "{told}");
}

#[test]
fn a_unix_socket_is_for_whom_its_mode_lets_in_and_goes_with_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kv.sock");
    let text = path.display().to_string();
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    // Left behind by somebody who was killed.
    drop(UnixListener::bind(&path).unwrap());
    for (workers, set, expected) in [("0", "600", 0o600), ("2", "0660", 0o660)] {
        let settings = [("UNIX_SOCKET", text.as_str()), ("UNIX_SOCKET_MODE", set), ("WORKERS", workers)];
        let mut service = Service::start(&settings);
        assert_eq!(mode(), expected);
        assert_eq!(ask(&path, "SET key value"), "+OK\r\n+OK\r\n");
        let list = ask(&path, "CLIENT LIST");
        assert!(list.contains(&format!(" addr={text}:0 laddr={text}:0 ")) && list.contains(" flags=U "), "{list}");
        let mut plain = service.connect();
        assert_eq!(plain.ask("GET key"), "\"value\"");
        assert!(plain.ask("CONFIG GET unixsocket*").contains(&text));
        let info = plain.call(&["INFO", "server"]).text();
        assert!(info.contains(&format!("listener1:name=unix,bind={text}\r\n")), "{info}");
        let mut monitor = service.connect();
        assert_eq!(monitor.ask("MONITOR"), "+OK");
        ask(&path, "GET key");
        let line = monitor.read().to_string();
        assert!(line.contains(&format!("[0 unix:{text}] ")), "{line}");
        let mut held = UnixStream::connect(&path).unwrap();
        held.write_all(b"PING\r\n").unwrap();
        held.read_exact(&mut [0; 7]).unwrap();
        // The workers tell of their figures twenty times a second.
        wait_until("it is counted", PATIENCE, || (plain.of_info("unix_clients") == 1).then_some(()));
        // Kept open, so that this kill must find it.
        assert_eq!(plain.ask(&format!("CLIENT KILL ADDR {text}:0")), ":1");
        assert_eq!(held.read(&mut [0]).unwrap(), 0);
        assert!(service.stop().success());
        assert!(!path.exists(), "it is left behind");
    }
    // Somebody else listens there: it is not taken away, and waited for in vain.
    let _other = UnixListener::bind(&path).unwrap();
    let mut service = Service::start(&[("WORKERS", "1")]);
    service.stop();
    service.set("UNIX_SOCKET", &text);
    let told = service.refused_start();
    assert!(told.contains("kv.sock") && told.contains("in use"), "{told}");
    assert!(path.exists());
    // And a file that is no socket is nobody's to remove.
    let file = folder.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    service.set("UNIX_SOCKET", &file.display().to_string());
    service.refused_start();
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
}

/// A PROXY header of version 2 for IPv4.
fn header(command: u8, source: [u8; 4], port: u16) -> Vec<u8> {
    let addresses = [&source[..], &[10, 0, 0, 1], &port.to_be_bytes(), &6379_u16.to_be_bytes()].concat();
    [b"\r\n\r\n\0\r\nQUIT\n", &[0x20 | command, 0x11, 0, addresses.len() as u8][..], &addresses].concat()
}

/// A connection that begins with these bytes.
fn begun(address: SocketAddr, bytes: &[u8]) -> Connection {
    let mut client = Connection::open(address);
    client.send_bytes(bytes);
    client
}

#[test]
fn a_proxys_connections_are_those_of_its_clients() {
    for workers in ["0", "2"] {
        let service =
            Service::start(&[("PROXY_PEERS", "10.0.0.0/8,127.0.0.1"), ("WORKERS", workers), ("PASSWORD", "secret")]);
        let mut client = begun(service.address(), &header(1, [203, 0, 113, 9], 4711));
        assert_eq!(client.ask("AUTH secret"), "+OK");
        let info = client.call(&["CLIENT", "INFO"]).text();
        assert!(info.contains(" addr=203.0.113.9:4711 laddr=10.0.0.1:6379 "), "{info}");
        // Byte by byte, and the first command with the last of it.
        let bytes = [header(1, [203, 0, 113, 10], 1), encoded(&["AUTH", "secret"])].concat();
        let mut slow = Connection::open(service.address());
        bytes.iter().for_each(|byte| slow.send_bytes(&[*byte]));
        assert_eq!(slow.read().to_string(), "+OK");
        // The proxy's own probe.
        let mut local = begun(service.address(), &header(0, [0; 4], 0));
        assert_eq!(local.ask("AUTH secret"), "+OK");
        let own = format!(" addr={} ", local.address());
        assert!(local.call(&["CLIENT", "INFO"]).text().contains(&own));
        // Without a header nobody is served.
        for bytes in [&encoded(&["PING"])[..], b"PING\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"] {
            let mut refused = begun(service.address(), bytes);
            assert!(refused.is_closed() && refused.unread().is_empty(), "{bytes:?}");
        }
        let is_it = |line: &str| line.contains("EMPTYSERVER_PROXY_PEERS");
        assert!(service.log().wait_for(0, PATIENCE, is_it).is_some());
    }
}

#[test]
fn a_header_of_somebody_who_is_no_proxy_is_refused() {
    let service = Service::start(&[("PROXY_PEERS", "192.0.2.0/24"), ("WORKERS", "1")]);
    let mut client = service.connect();
    client.send_bytes(&[header(1, [203, 0, 113, 9], 4711), encoded(&["SET", "key", "value"])].concat());
    let mut rest = Vec::new();
    client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The header has a QUIT in it.
    drop(client.stream.read_to_end(&mut rest));
    let mut plain = service.connect();
    assert_eq!(plain.ask("EXISTS key"), ":0");
    assert!(!plain.call(&["CLIENT", "LIST"]).text().contains("203.0.113.9"));
}

#[test]
fn whom_a_proxy_stands_for_is_never_on_this_machine() {
    let service = Service::start(&[("PROXY_PEERS", "127.0.0.0/8"), ("WORKERS", "1")]);
    // There is no password: who is elsewhere is refused, and a proxy may stand for anybody.
    for bytes in [header(1, [127, 0, 0, 1], 4711), header(0, [0; 4], 0)] {
        let mut client = begun(service.address(), &bytes);
        assert!(client.read().to_string().contains("-DENIED"));
        assert!(client.is_closed());
    }
}

#[test]
fn a_header_that_does_not_come_is_not_waited_for_for_ever() {
    let service = Service::start(&[("PROXY_PEERS", "127.0.0.1"), ("WORKERS", "1"), ("HANDSHAKE_SECONDS_MAX", "1")]);
    let mut silent = TcpStream::connect(service.address()).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    silent.write_all(b"\r\n\r\n").unwrap();
    assert_eq!(silent.read(&mut [0]).unwrap_or(0), 0);
}
