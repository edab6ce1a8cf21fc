//! The admin process: what it answers, and that nobody depends on it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use emptyserver::sys::clock;
use nix::sys::signal::Signal;
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::Value as Json;

use crate::support::{PATIENCE, Service, signal, wait_until};

struct Answer {
    status: u16,
    head: String,
    body: String,
}

/// The service with its admin process on a free port.
fn start(settings: &[(&str, &str)]) -> (Service, SocketAddr) {
    let settings: Vec<_> = [("ADMIN_LISTEN", "127.0.0.1:0")].into_iter().chain(settings.iter().copied()).collect();
    let service = Service::start(&settings);
    let address = admin_address(&service, 0);
    (service, address)
}

fn admin_address(service: &Service, from: usize) -> SocketAddr {
    let line = service.log().wait_for(from, PATIENCE, |line| line.contains("health, metrics and the status page\""));
    let fields: Json = serde_json::from_str(&line.unwrap()).unwrap();
    fields["address"].as_str().unwrap().parse().unwrap()
}

fn request(address: SocketAddr, head: &str) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{head}\r\nHost: here\r\nConnection: close\r\n\r\n").as_bytes())?;
    read_answer(&mut stream)
}

fn read_answer(stream: &mut TcpStream) -> std::io::Result<Answer> {
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or(std::io::ErrorKind::InvalidData)?;
    Ok(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

fn get(address: SocketAddr, path: &str) -> Answer {
    request(address, &format!("GET {path} HTTP/1.1")).unwrap()
}

fn json(address: SocketAddr) -> Json {
    serde_json::from_str(&get(address, "/status.json").body).unwrap()
}

/// The value of the sample whose name and labels are these.
fn sample(metrics: &str, name: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn figures_are_those_of_the_whole_service() {
    let (service, admin) = start(&[("WORKERS", "2")]);
    let mut clients: Vec<_> = (0..8).map(|_| service.connect()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.ask(&format!("SET key{index} value")), "+OK");
        client.ask("GET key0");
        client.ask("INCR key0");
    }
    // What a loop says of its connections and its cache is as old as its last tick.
    wait_until("all of it to be counted", PATIENCE, || {
        let metrics = get(admin, "/metrics").body;
        let connections: f64 = (0..2)
            .filter_map(|worker| sample(&metrics, &format!("emptyserver_connections{{process=\"worker-{worker}\"}}")))
            .sum();
        let is_counted = connections == 8.0
            && sample(&metrics, "emptyserver_command_duration_seconds_count{command=\"set\"}") == Some(8.0)
            && sample(&metrics, "emptyserver_keys{database=\"0\"}") == Some(8.0)
            && sample(&metrics, "emptyserver_commands_failed_total{command=\"incr\"}") == Some(8.0)
            && sample(&metrics, "emptyserver_error_replies_total{code=\"ERR\"}") == Some(8.0)
            && sample(&metrics, "emptyserver_ready") == Some(1.0);
        is_counted.then_some(())
    });
    let status = json(admin);
    assert_eq!((status["ready"].as_bool(), status["connections"]["open"].as_u64()), (Some(true), Some(8)));
    assert_eq!(status["keyspace"]["databases"][0]["keys"], 8);
    let names: Vec<_> = status["processes"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["worker-0", "worker-1", "writer", "admin", "supervisor"]);
    assert!(status["processes"].as_array().unwrap().iter().all(|one| one["state"] == "serving"), "{status}");
}

#[test]
fn addresses_answer_as_documented_and_nothing_else_does() {
    let (_service, admin) = start(&[]);
    let live = get(admin, "/livez");
    assert_eq!((live.status, live.body.as_str()), (200, "ok\n"));
    wait_until("the service to be ready", PATIENCE, || (get(admin, "/readyz").status == 200).then_some(()));
    let page = get(admin, "/");
    assert!(page.head.contains("content-security-policy: default-src 'none'") && page.body.contains("<title>"));
    assert!(get(admin, "/metrics").head.contains("content-type: text/plain; version=0.0.4"));
    let open = request(admin, "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0").unwrap();
    assert!(open.head.contains("content-type: application/openmetrics-text") && open.body.ends_with("# EOF\n"));
    for answer in [&live, &page, &open] {
        assert!(answer.head.contains("cache-control: no-store") && answer.head.contains("nosniff"), "{}", answer.head);
    }
    assert_eq!(get(admin, "/nothing").status, 404);
    assert_eq!(request(admin, "POST /readyz HTTP/1.1\r\nContent-Length: 0").unwrap().status, 405);
    assert_eq!(request(admin, "HEAD /livez HTTP/1.1").unwrap().status, 200);
    // What is no HTTP, and what is too much of it, ends that conversation and nothing else.
    assert!(request(admin, "SET key value").map_or(true, |answer| answer.status == 400));
    let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(100_000));
    assert!(request(admin, &long).map_or(true, |answer| answer.status >= 400));
    assert_eq!(get(admin, "/livez").status, 200);
}

#[test]
fn the_admin_process_is_replaced_and_nobody_notices() {
    let (service, admin) = start(&[("WORKERS", "2")]);
    let mut client = service.connect();
    client.ask("SET key value");
    let others = || service.processes().into_iter().filter(|one| one.name != "admin").collect::<Vec<_>>();
    let before: Vec<i32> = others().iter().map(|one| one.pid).collect();
    service.replace("admin");
    assert_eq!(client.ask("GET key"), "\"value\"");
    // The listener outlives the process: who comes in between waits and is served.
    assert_eq!(get(admin, "/livez").status, 200);
    assert_eq!(others().iter().map(|one| one.pid).collect::<Vec<_>>(), before);
    let restarts = |metrics: &str| sample(metrics, "emptyserver_process_restarts_total{process=\"admin\"}");
    assert_eq!(restarts(&get(admin, "/metrics").body), Some(1.0));
}

#[test]
fn readiness_ends_with_a_process_that_stands_still_and_comes_back_with_it() {
    let (service, admin) = start(&[("WORKERS", "2")]);
    let is = |status: u16, text: &'static str| {
        move || Some(get(admin, "/readyz")).filter(|answer| answer.status == status && answer.body == text).map(drop)
    };
    wait_until("the service to be ready", PATIENCE, is(200, "ok\n"));
    for (name, reason) in [("worker-1", "worker 1 does not serve\n"), ("write", "the writer does not serve\n")] {
        let pid = service.process(name).unwrap();
        signal(pid, Signal::SIGSTOP);
        wait_until("it to be missed", PATIENCE, is(503, reason));
        assert_eq!(get(admin, "/livez").status, 200);
        signal(pid, Signal::SIGCONT);
        wait_until("it to be back", PATIENCE, is(200, "ok\n"));
    }
}

#[test]
fn while_the_service_ends_it_lives_and_is_not_ready() {
    let (service, admin) = start(&[("WORKERS", "1"), ("DRAIN_SECONDS", "60")]);
    // A worker that stands still has not ended: so the end lasts until we have looked.
    let worker = service.process("worker-0").unwrap();
    signal(worker, Signal::SIGSTOP);
    signal(service.pid(), Signal::SIGTERM);
    wait_until("the end to be told", PATIENCE, || {
        let answer = get(admin, "/readyz");
        (answer.status == 503 && answer.body.starts_with("draining\n")).then_some(())
    });
    assert_eq!(get(admin, "/livez").status, 200);
    signal(worker, Signal::SIGCONT);
    let mut service = service;
    assert!(service.wait_for_end(PATIENCE).success());
    assert!(request(admin, "GET /livez HTTP/1.1").is_err());
}

#[test]
fn it_can_be_left_out_and_a_port_that_is_taken_stops_the_start() {
    let service = Service::start(&[]);
    assert_eq!(service.process("admin"), None);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut other = Service::start(&[]);
    other.stop();
    other.set("ADMIN_LISTEN", &taken.local_addr().unwrap().to_string());
    let said = other.refused_start();
    assert!(said.contains("EMPTYSERVER_ADMIN_LISTEN chooses another address, `off` does without"), "{said}");
}

#[test]
fn one_process_alone_has_it_too() {
    let (service, admin) = start(&[("WORKERS", "0")]);
    wait_until("the service to be ready", PATIENCE, || (get(admin, "/readyz").status == 200).then_some(()));
    assert_eq!(service.connect().ask("PING"), "+PONG");
    assert_eq!(json(admin)["processes"].as_array().unwrap().len(), 1);
}

#[test]
fn after_a_start_the_figures_know_the_keys_that_there_are() {
    let (mut service, _) = start(&[]);
    let mut client = service.connect();
    assert_eq!(client.ask("SET key value"), "+OK");
    assert_eq!(client.ask("SET other value EX 1000"), "+OK");
    service.kill_all();
    let from = service.log().len();
    service.restart();
    let admin = admin_address(&service, from);
    assert!(service.connect().ask("INFO keyspace").contains("db0:keys=2,expires=1"));
    let metrics = get(admin, "/metrics").body;
    assert_eq!(sample(&metrics, "emptyserver_keys{database=\"0\"}"), Some(2.0));
    assert_eq!(sample(&metrics, "emptyserver_expiring_keys{database=\"0\"}"), Some(1.0));
}

/// A half of what silence or an unread answer took of a probe before.
const PROBE: Duration = Duration::from_secs(5);
/// Who takes no longer than this to connect and to ask has not lost its place to others: some milliseconds' worth of them take all places.
const ASKED_AT_ONCE: Duration = Duration::from_millis(2);

fn assert_probes_pass(admin: SocketAddr) {
    let begun = clock::monotonic();
    for path in ["/livez", "/readyz"] {
        assert!(matches!(probed(admin, path), 200 | 503));
    }
    let passed = clock::monotonic().duration_since(begun);
    assert!(passed < PROBE, "{passed:?}");
}

/// The status of the answer to a probe. One that this machine has held up before it could ask tries again, as probes do.
fn probed(admin: SocketAddr, path: &str) -> u16 {
    let until = clock::monotonic() + PROBE;
    loop {
        let begun = clock::monotonic();
        let mut stream = TcpStream::connect_timeout(&admin, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let asked = stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n").as_bytes());
        let took = clock::monotonic().duration_since(begun);
        match asked.and_then(|()| read_answer(&mut stream)) {
            Ok(answer) => return answer.status,
            Err(error) => {
                assert!(took > ASKED_AT_ONCE, "a probe that asks at once is not answered: {error}");
                assert!(clock::monotonic() < until, "no probe gets through");
            }
        }
    }
}

#[test]
fn probes_are_answered_while_strangers_have_all_places() {
    let (_service, admin) = start(&[("WORKERS", "1")]);
    let open = || TcpStream::connect_timeout(&admin, PATIENCE).unwrap();
    let silent: Vec<_> = (0..300).map(|_| open()).collect();
    assert_probes_pass(admin);
    let unread: Vec<_> = (0..150)
        .map(|_| {
            let mut stream = open();
            setsockopt(&stream, sockopt::RcvBuf, &4096).unwrap();
            stream.set_nonblocking(true).unwrap();
            // What does not fit is as good as sent.
            drop(stream.write(&b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000)));
            stream
        })
        .collect();
    assert_probes_pass(admin);
    let half: Vec<_> = (0..300)
        .map(|_| {
            let mut stream = open();
            stream.write_all(b"GET /livez HTTP/1.1\r\n").unwrap();
            stream
        })
        .collect();
    assert_probes_pass(admin);
    drop((silent, unread, half));
}

#[test]
fn probes_are_answered_while_strangers_ask_as_fast_as_they_can() {
    let (_service, admin) = start(&[("WORKERS", "1")]);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut held = std::collections::VecDeque::new();
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    let Ok(mut stream) = TcpStream::connect_timeout(&admin, PATIENCE) else { continue };
                    drop(stream.write(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n"));
                    held.push_back(stream);
                    if held.len() > 200 {
                        held.pop_front();
                    }
                }
            });
        }
        let probed = std::panic::catch_unwind(|| (0..10).for_each(|_| assert_probes_pass(admin)));
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(probed.is_ok());
    });
}

#[test]
fn what_is_for_people_is_not_answered_under_a_name_that_a_stranger_can_have() {
    let (mut service, admin) = start(&[("WORKERS", "1"), ("ADMIN_TOKEN", "let me")]);
    let ask = |admin: SocketAddr, request: &str, host: &str| {
        let mut stream = TcpStream::connect_timeout(&admin, PATIENCE).unwrap();
        let head =
            format!("{request} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer let me\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let for_people = ["GET /", "GET /status.json", "POST /backup"];
    for request in for_people {
        for host in ["attacker.example", "attacker.example:9180", "127.0.0.1.attacker.example"] {
            let answer = ask(admin, request, host);
            assert!(answer.starts_with("HTTP/1.1 421 ") && answer.contains("EMPTYSERVER_ADMIN_HOSTS"), "{answer}");
            assert!(!answer.contains("keyspace"), "{answer}");
        }
        for host in ["127.0.0.1:9180", "localhost", "[::1]:9180", "emptyserver", "cache.default.svc.cluster.local"] {
            let answer = ask(admin, request, host);
            assert!(answer.starts_with("HTTP/1.1 2") || answer.starts_with("HTTP/1.1 409 "), "{answer}");
        }
    }
    // Programs ask under any name.
    for request in ["GET /livez", "GET /metrics"] {
        assert!(ask(admin, request, "metrics.example.com").starts_with("HTTP/1.1 200 "));
    }
    service.stop();
    let from = service.log().len();
    service.restart_with(&[("ADMIN_HOSTS", "status.example.com,other.example.com")]);
    let admin = admin_address(&service, from);
    assert!(ask(admin, "GET /status.json", "status.example.com").starts_with("HTTP/1.1 200 "));
    assert!(ask(admin, "GET /status.json", "attacker.example").starts_with("HTTP/1.1 421 "));
}

/// Dashboards and alerts rely on these names: none may vanish, and a new one belongs on the page.
#[test]
fn metrics_are_those_of_the_documentation() {
    let (_service, admin) = start(&[]);
    let text = get(admin, "/metrics").body;
    let mut table = String::from("| metric | kind | what it says |\n|---|---|---|\n");
    let mut lines = text.lines();
    while let Some(line) = lines.find(|line| line.starts_with("# HELP ")) {
        let (name, help) = line["# HELP ".len()..].split_once(' ').unwrap();
        let kind = lines.next().unwrap().rsplit(' ').next().unwrap();
        table += &format!("| `{name}` | {kind} | {help} |\n");
    }
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md")).unwrap();
    assert!(page.ends_with(&table), "docs/metrics.md has to end with this:\n{table}");
}
