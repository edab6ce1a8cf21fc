//! What clients make the real program keep: counted, shown, bounded for each and for all together, and given back.

use std::io::Write;
use std::time::Duration;

use crate::support::{Connection, PATIENCE, Service, Value, anonymous_bytes, encoded, wait_until};
use nix::sys::socket::{setsockopt, sockopt};

const MEBI: usize = 1 << 20;
const MEBI_64: u64 = 1 << 20;

/// Small enough to be reached soon.
const LIMITS: [(&str, &str); 3] =
    [("VALUE_BYTES_MAX", "1Mi"), ("OUTPUT_BYTES_MAX", "16Mi"), ("CLIENTS_BYTES_MAX", "32Mi")];

fn start(settings: &[(&str, &str)]) -> Service {
    Service::start(&[&LIMITS, settings].concat())
}

/// The memory of its own that all processes of the service have.
fn all_bytes(service: &Service) -> u64 {
    service.processes().iter().map(|process| anonymous_bytes(process.pid)).sum()
}

fn info(connection: &mut Connection, name: &str) -> u64 {
    let text = connection.call(&["INFO"]).text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::to_owned);
    value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// A field of the line of the client at that address; `None` when there is no such client.
fn shown(asker: &mut Connection, of: &Connection, field: &str) -> Option<u64> {
    shown_together(asker, of, [field]).map(|[value]| value)
}

/// Several fields of that line, of one moment.
fn shown_together<const N: usize>(asker: &mut Connection, of: &Connection, fields: [&str; N]) -> Option<[u64; N]> {
    let list = asker.call(&["CLIENT", "LIST"]).text();
    let line = list.lines().find(|line| line.contains(&format!(" addr={} ", of.address())))?;
    Some(fields.map(|field| {
        let value = line.split(' ').find_map(|pair| pair.strip_prefix(field)?.strip_prefix('='));
        value.unwrap_or_else(|| panic!("no {field}: {line}")).parse().unwrap()
    }))
}

/// Asks for a lot and reads none of it: as much as the sockets take.
fn ask_deafly(connection: &mut Connection, count: usize) {
    connection.stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let _sent = connection.stream.write(&encoded(&["GET", "big"]).repeat(count));
}

fn set_big(connection: &mut Connection) {
    assert_eq!(connection.call(&["SET", "big", &"v".repeat(100_000)]).to_string(), "+OK");
}

#[test]
fn clients_that_never_read_cost_bounded_memory_together_and_the_innocent_are_left_alone() {
    let service = start(&[("WORKERS", "2"), ("CACHE_BYTES", "0")]);
    let mut other = service.connect();
    let mut innocent: Vec<Connection> = (0..20).map(|_| service.connect()).collect();
    for connection in &mut innocent {
        connection.send_bytes(b"*2\r\n$4\r\nECHO\r\n$5\r\nin");
    }
    set_big(&mut other);
    let before = all_bytes(&service);
    // Each asks for a gigabyte.
    let mut deaf: Vec<Connection> = (0..20).map(|_| service.connect()).collect();
    deaf.iter_mut().for_each(|connection| ask_deafly(connection, 10_000));
    let mut most = 0;
    wait_until("the end of those that do not read", PATIENCE, || {
        assert_eq!(other.ask("SET key 1"), "+OK");
        most = most.max(all_bytes(&service));
        let list = other.call(&["CLIENT", "LIST"]).text();
        (list.lines().count() <= 21 + 3).then_some(())
    });
    println!("20 deaf clients: {} KiB before, {} KiB at most", before >> 10, most >> 10);
    assert!(most < before + 96 * MEBI_64, "{before} then {most}");
    assert!(info(&mut other, "evicted_clients") > 0);
    let lines = service.log().lines();
    let lines = lines.iter().filter(|line| line.contains("EMPTYSERVER_CLIENTS_BYTES_MAX")).count();
    assert!((1..=2).contains(&lines), "one of each worker at most: {lines}");
    for connection in &mut innocent {
        connection.send_bytes(b"noc\r\n");
        assert_eq!(connection.read().to_string(), "\"innoc\"");
    }
}

#[test]
fn of_two_the_larger_client_is_closed_and_one_that_may_not_be_evicted_stays() {
    let service = start(&[("WORKERS", "2"), ("CACHE_BYTES", "0"), ("CLIENTS_BYTES_MAX", "64Mi")]);
    let mut other = service.connect();
    set_big(&mut other);
    assert_eq!(other.ask("CONFIG GET maxmemory-clients"), format!("[\"maxmemory-clients\" \"{}\"]", 64 * MEBI));
    let (mut small, mut large, mut kept) = (service.connect(), service.connect(), service.connect());
    assert_eq!(kept.ask("CLIENT NO-EVICT ON"), "+OK");
    // What the sockets hold does not count: up to 4 MB of each, where the client's own takes little.
    for (connection, count) in [(&mut small, 60), (&mut large, 140), (&mut kept, 120)] {
        setsockopt(&connection.stream, sockopt::RcvBuf, &4096).unwrap();
        connection.send_bytes(&encoded(&["GET", "big"]).repeat(count));
    }
    let all = wait_until("replies that wait", PATIENCE, || {
        let waiting = [&small, &large, &kept].map(|connection| shown(&mut other, connection, "tot-mem").unwrap());
        let all: u64 = waiting.iter().sum();
        let is_told = info(&mut other, "mem_clients_normal").abs_diff(all) < 100 << 10;
        (is_told && waiting[0] > MEBI_64 && waiting[1] > 9 * MEBI_64 && waiting[2] > 7 * MEBI_64).then_some(all)
    });
    assert_eq!(info(&mut other, "evicted_clients"), 0);
    assert_eq!(other.ask(&format!("CONFIG SET maxmemory-clients {}", all - 2 * MEBI_64)), "+OK");
    wait_until("the end of the larger one", PATIENCE, || shown(&mut other, &large, "tot-mem").is_none().then_some(()));
    assert!(shown(&mut other, &small, "tot-mem").is_some() && shown(&mut other, &kept, "tot-mem").is_some());
    assert_eq!(info(&mut other, "evicted_clients"), 1);
    assert_eq!(other.ask("CONFIG SET maxmemory-clients 1000000"), "+OK");
    wait_until("the end of the smaller one", PATIENCE, || shown(&mut other, &small, "tot-mem").is_none().then_some(()));
    assert!(shown(&mut other, &kept, "tot-mem").is_some());
    // It is served on, in order.
    assert!(matches!(kept.read(), Value::Bulk(bytes) if bytes.len() == 100_000));
}

#[test]
fn idle_connections_keep_little_of_what_they_once_asked() {
    let service = start(&[("WORKERS", "1")]);
    let mut other = service.connect();
    let before = all_bytes(&service);
    let line = format!("PING{}\r\n", " k".repeat(32_000)).into_bytes();
    let mut idle: Vec<Connection> = (0..500).map(|_| service.connect()).collect();
    for connection in &mut idle {
        connection.send_bytes(&line);
        assert!(connection.read().to_string().starts_with("-ERR wrong number of arguments"));
    }
    for connection in idle.iter().step_by(50) {
        let takes = shown(&mut other, connection, "tot-mem").unwrap();
        assert!(takes < 8 << 10, "{takes}");
    }
    let after = all_bytes(&service);
    println!("500 idle connections after a long line each: {} KiB, {} KiB before", after >> 10, before >> 10);
    assert!(after < before + 48 * MEBI_64, "{before} then {after}");
}

#[test]
fn whoever_has_not_logged_in_gets_neither_long_lines_nor_much_memory() {
    let service = start(&[("WORKERS", "1"), ("PASSWORD", "secret")]);
    let mut other = service.connect();
    assert_eq!(other.ask("AUTH secret"), "+OK");
    let many_words = ["a"; 1000].join(" ");
    for (line, error) in [
        (many_words, "-ERR Protocol error: unauthenticated multibulk length"),
        ("a".repeat(20_000), "-ERR Protocol error: too big inline request"),
    ] {
        let mut stranger = service.connect();
        stranger.send_bytes(format!("{line}\r\n").as_bytes());
        assert_eq!(stranger.read().to_string(), error);
        assert!(stranger.is_closed());
    }
    // Nor are the replies kept that it does not read.
    let mut deaf = service.connect();
    deaf.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let requests = b"GET k\r\n".repeat(100_000);
    wait_until("it is closed", PATIENCE, || {
        let waiting = shown(&mut other, &deaf, "omem");
        assert!(waiting.unwrap_or(0) < 256 << 10, "{waiting:?}");
        let _sent = deaf.stream.write(&requests);
        waiting.is_none().then_some(())
    });
    assert_eq!(info(&mut other, "client_output_buffer_limit_disconnections"), 1);
}

#[test]
fn tot_mem_tells_of_everything_that_a_connection_holds() {
    let service = start(&[("WORKERS", "2")]);
    let mut other = service.connect();
    let mut client = service.connect();
    let tells = |other: &mut Connection, client: &Connection, what: &str, bytes: u64| {
        wait_until(what, PATIENCE, || (shown(other, client, "tot-mem")? >= bytes).then_some(()));
        let all = info(other, "mem_clients_normal");
        assert!(all >= bytes, "{what}: all together {all}");
    };
    let gives_back = |other: &mut Connection, client: &Connection, bytes: u64| {
        wait_until("memory given back", PATIENCE, || (shown(other, client, "tot-mem")? <= bytes).then_some(()));
    };
    assert!(shown(&mut other, &client, "tot-mem").unwrap() < 4 << 10);
    // Half a request, with where its arguments stand.
    let request = encoded(&vec!["EXISTS"; 100_000]);
    client.send_bytes(&request[..request.len() - 1]);
    tells(&mut other, &client, "a request of many arguments", request.len() as u64 + 16 * 99_999);
    client.send_bytes(&request[request.len() - 1..]);
    assert_eq!(client.read().to_string(), ":0");
    gives_back(&mut other, &client, 8 << 10);
    // Watched keys.
    let keys: Vec<String> = (0..1000).map(|number| format!("key:{number}")).collect();
    let watch: Vec<&str> = ["WATCH"].into_iter().chain(keys.iter().map(String::as_str)).collect();
    assert_eq!(client.call(&watch).to_string(), "+OK");
    tells(&mut other, &client, "watched keys", 32_000);
    assert_eq!(client.ask("UNWATCH"), "+OK");
    gives_back(&mut other, &client, 8 << 10);
    // Replies. A pipe that the kernel makes larger takes some of them again: both figures are of one moment.
    set_big(&mut other);
    wait_until("replies that wait", PATIENCE, || {
        ask_deafly(&mut client, 10);
        let [waiting, takes] = shown_together(&mut other, &client, ["omem", "tot-mem"])?;
        assert!(takes >= waiting, "{takes} of which {waiting} wait");
        (waiting >= MEBI_64).then_some(())
    });
}

#[test]
fn a_monitor_that_does_not_read_is_closed_at_the_limit_like_anybody() {
    let service = start(&[("WORKERS", "2")]);
    let (mut other, mut monitor) = (service.connect(), service.connect());
    assert_eq!(monitor.ask("MONITOR"), "+OK");
    let value = "v".repeat(500_000);
    wait_until("its end", PATIENCE, || {
        assert_eq!(other.call(&["ECHO", &value]).text().len(), value.len());
        shown(&mut other, &monitor, "omem").is_none().then_some(())
    });
    let most = info(&mut other, "client_recent_max_output_buffer");
    assert!(most < 18 * MEBI_64, "{most}");
}
