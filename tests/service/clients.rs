//! Clients on four workers: what CLIENT, MONITOR, HELLO and AUTH say and do holds for the whole service, whichever worker
//! a client is on, and also while a worker is stopped or dies.

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use crate::support::{Connection, Service, encoded, signal, wait_until};
use emptyserver::sys::clock;
use nix::sys::signal::Signal;

const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than a gathering waits for a worker, shorter than anybody's patience.
const SOON: Duration = Duration::from_secs(5);

struct Crowd {
    service: Service,
    clients: Vec<Connection>,
}

impl Crowd {
    /// Four workers with some of these clients on each.
    fn gather(settings: &[(&str, &str)]) -> Crowd {
        let settings: Vec<(&str, &str)> = [("WORKERS", "4")].into_iter().chain(settings.iter().copied()).collect();
        let service = Service::start(&settings);
        let mut crowd = Crowd { service, clients: Vec::new() };
        wait_until("clients on each worker", PATIENCE, || {
            let client = crowd.service.connect();
            crowd.clients.push(client);
            let counts = connections_of_workers(&mut crowd.clients[0]);
            (counts.len() == 4 && counts.iter().all(|count| *count >= 2)).then_some(())
        });
        for (number, client) in crowd.clients.iter_mut().enumerate() {
            assert_eq!(client.ask(&format!("CLIENT SETNAME c{number}")), "+OK");
        }
        crowd
    }

    fn list(&mut self) -> String {
        self.clients[0].call(&["CLIENT", "LIST"]).text()
    }

    fn names(&mut self) -> Vec<String> {
        let list = self.list();
        let mut names: Vec<String> = list.lines().map(|line| field(line, "name").to_owned()).collect();
        names.sort_by_key(|name| name[1..].parse::<usize>().unwrap());
        names
    }

    fn all_names(&self) -> Vec<String> {
        (0..self.clients.len()).map(|number| format!("c{number}")).collect()
    }
}

fn connections_of_workers(client: &mut Connection) -> Vec<u64> {
    let info = client.call(&["INFO", "workers"]).text();
    let lines = info.lines().filter(|line| line.contains("state=serving"));
    lines.filter_map(|line| field(&line.replace([',', ':'], " "), "connections").parse().ok()).collect()
}

/// `name=value` of a line of such pairs.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let start = line.find(&format!(" {name}=")).unwrap_or_else(|| panic!("no {name}: {line}")) + name.len() + 2;
    line[start..].split(' ').next().unwrap()
}

fn id(client: &mut Connection) -> String {
    client.call(&["CLIENT", "ID"]).integer().to_string()
}

#[test]
fn a_list_shows_the_clients_of_all_workers_by_their_number() {
    let mut crowd = Crowd::gather(&[]);
    assert_eq!(crowd.names(), crowd.all_names());
    let list = crowd.list();
    let mut numbers: Vec<u64> =
        list.lines().map(|line| line[3..].split(' ').next().unwrap().parse().unwrap()).collect();
    assert!(numbers.is_sorted());
    numbers.dedup();
    assert_eq!(numbers.len(), crowd.clients.len());
    for line in list.lines() {
        assert_eq!(field(line, "laddr"), crowd.service.address().to_string());
    }
    let two = [id(&mut crowd.clients[1]), id(&mut crowd.clients[2])];
    let named = crowd.clients[3].call(&["CLIENT", "LIST", "ID", &two[1], &two[0], "999999"]).text();
    let names: Vec<&str> = named.lines().map(|line| field(line, "name")).collect();
    assert_eq!(names, ["c2", "c1"]);
    // In a transaction too, in its place.
    for line in ["MULTI", "SET a 1", "CLIENT LIST", "GET a"] {
        crowd.clients[1].ask(line);
    }
    let replies = crowd.clients[1].call(&["EXEC"]);
    assert_eq!(replies.items().len(), 3);
    assert_eq!(replies.items()[1].text().lines().count(), crowd.clients.len());
    assert_eq!(replies.items()[2].text(), "1");
}

#[test]
fn kill_reaches_the_clients_of_all_workers() {
    let mut crowd = Crowd::gather(&[]);
    let count = crowd.clients.len();
    // Each kills the next but one, by its number: whichever workers these two are on.
    for killer in (0..count / 2).map(|half| 2 * half) {
        let victim = id(&mut crowd.clients[killer + 1]);
        assert_eq!(crowd.clients[killer].ask(&format!("CLIENT KILL ID {victim}")), ":1");
        assert!(crowd.clients[killer + 1].is_closed());
        assert_eq!(crowd.clients[killer].ask(&format!("CLIENT KILL ID {victim}")), ":0");
    }
    let mut clients: Vec<Connection> = std::mem::take(&mut crowd.clients);
    let mut clients: Vec<Connection> = clients.drain(..).step_by(2).collect();
    let mut last = clients.pop().unwrap();
    let address = last.address();
    assert_eq!(clients[0].ask(&format!("CLIENT KILL {address}")), "+OK");
    assert!(last.is_closed());
    assert_eq!(clients[0].ask(&format!("CLIENT KILL {address}")), "-ERR No such client");
    let others = clients.len() - 1;
    assert_eq!(clients[0].ask("CLIENT KILL TYPE normal"), format!(":{others}"));
    assert!(clients[1..].iter_mut().all(Connection::is_closed));
    assert_eq!(clients[0].ask("CLIENT KILL TYPE normal SKIPME no"), ":1");
    assert!(clients[0].is_closed());
    assert_eq!(crowd.service.connect().ask("PING"), "+PONG");
}

/// Sends INCR on each, waits until all are held back, ends the pause, and reads: each counted once, at once.
fn count_after_unpause(service: &Service, clients: &mut [Connection]) {
    for client in clients.iter_mut() {
        assert_eq!(client.ask("EXISTS other"), ":0");
        client.send(&["INCR", "n"]);
    }
    let mut other = service.connect();
    wait_until("all of them held back", PATIENCE, || {
        let list = other.call(&["CLIENT", "LIST"]).text();
        let blocked = list.lines().filter(|line| field(line, "flags") == "b" && field(line, "cmd") == "exists").count();
        (blocked == clients.len()).then_some(())
    });
    assert_eq!(other.ask("GET n"), "$-1");
    let begun = clock::monotonic();
    assert_eq!(other.ask("CLIENT UNPAUSE"), "+OK");
    let mut counts: Vec<i64> = clients.iter_mut().map(|client| client.read().integer()).collect();
    assert!(clock::monotonic().duration_since(begun) < SOON);
    counts.sort_unstable();
    assert_eq!(counts, (1..=clients.len() as i64).collect::<Vec<_>>());
}

#[test]
fn a_pause_holds_on_all_workers_and_unpause_wakes_them_at_once() {
    let mut crowd = Crowd::gather(&[]);
    assert_eq!(crowd.clients[0].ask("CLIENT PAUSE 100000 WRITE"), "+OK");
    count_after_unpause(&crowd.service, &mut crowd.clients[1..]);
}

#[test]
fn a_worker_that_is_started_again_obeys_a_pause() {
    let service = Service::start(&[("WORKERS", "2")]);
    assert_eq!(service.connect().ask("CLIENT PAUSE 100000 WRITE"), "+OK");
    service.replace("worker-0");
    service.replace("worker-1");
    let mut clients: Vec<Connection> = (0..6).map(|_| service.connect()).collect();
    count_after_unpause(&service, &mut clients);
}

#[test]
fn a_pause_of_all_ends_by_itself_on_all_workers() {
    let mut crowd = Crowd::gather(&[]);
    let begun = clock::monotonic();
    assert_eq!(crowd.clients[0].ask("CLIENT PAUSE 300"), "+OK");
    for client in &mut crowd.clients {
        client.send(&["PING"]);
    }
    for client in &mut crowd.clients {
        assert_eq!(client.read().to_string(), "+PONG");
    }
    let passed = clock::monotonic().duration_since(begun);
    assert!(passed >= Duration::from_millis(250) && passed < SOON, "{passed:?}");
}

#[test]
fn a_monitor_sees_the_calls_of_all_workers_without_their_passwords() {
    let mut crowd = Crowd::gather(&[]);
    let mut monitors: Vec<Connection> = (0..4).map(|_| crowd.service.connect()).collect();
    for monitor in &mut monitors {
        assert_eq!(monitor.ask("MONITOR"), "+OK");
    }
    let mut expected: Vec<String> = Vec::new();
    for (number, client) in crowd.clients.iter_mut().enumerate() {
        // At once after MONITOR was answered, on every worker.
        assert_eq!(client.ask(&format!("SET k{number} 1")), "+OK");
        expected.push(format!("[0 {}] \"SET\" \"k{number}\" \"1\"", client.address()));
        assert!(client.ask("AUTH default hunter2").starts_with("+OK"));
        expected.push(format!("[0 {}] \"AUTH\" \"(redacted)\" \"(redacted)\"", client.address()));
        client.call(&["HELLO", "2", "AUTH", "default", "hunter2"]);
        let hello = "\"HELLO\" \"2\" \"AUTH\" \"(redacted)\" \"(redacted)\"";
        expected.push(format!("[0 {}] {hello}", client.address()));
        assert_eq!(client.ask("CONFIG SET requirepass hunter2"), "+OK");
        assert_eq!(client.ask("CONFIG SET requirepass \"\""), "+OK");
    }
    expected.sort();
    for monitor in &mut monitors {
        let lines = (0..expected.len()).map(|_| monitor.read().text());
        let mut seen: Vec<String> = lines.map(|line| line.split_once(' ').unwrap().1.to_owned()).collect();
        seen.sort();
        assert_eq!(seen, expected);
    }
    // Who leaves sees no more.
    let mut left = monitors.pop().unwrap();
    assert_eq!(left.ask("RESET"), "+RESET");
    assert!(monitors.iter_mut().all(|monitor| monitor.read().text().ends_with("\"RESET\"")));
    assert_eq!(crowd.clients[0].ask("ECHO x"), "\"x\"");
    assert!(monitors.iter_mut().all(|monitor| monitor.read().text().ends_with("\"ECHO\" \"x\"")));
    assert_eq!(left.ask("GET k0"), "\"1\"");
}

#[test]
fn a_monitor_that_does_not_read_is_closed_and_disturbs_nobody() {
    let settings = [("VALUE_BYTES_MAX", "1Mi"), ("QUERY_BYTES_MAX", "2Mi"), ("OUTPUT_BYTES_MAX", "3Mi")];
    let mut crowd = Crowd::gather(&settings);
    let mut monitor = crowd.service.connect();
    assert_eq!(monitor.ask("MONITOR"), "+OK");
    let number = id(&mut monitor);
    let text = "x".repeat(500_000);
    let count = crowd.clients.len();
    let mut turn = 0;
    wait_until("the end of the monitor", PATIENCE, || {
        turn += 1;
        assert_eq!(crowd.clients[turn % count].call(&["ECHO", &text]).bytes().unwrap().len(), text.len());
        crowd.clients[0].call(&["CLIENT", "LIST", "ID", &number]).text().is_empty().then_some(())
    });
    assert!(turn > 5, "what the limit allows was kept for it: {turn}");
}

#[test]
fn a_stopped_worker_is_not_waited_for_and_a_dead_one_not_at_all() {
    let mut crowd = Crowd::gather(&[]);
    let all = crowd.names();
    let stopped = crowd.service.process("worker-2").unwrap();
    // A client of another worker asks.
    signal(stopped, Signal::SIGSTOP);
    let asker = (0..crowd.clients.len()).find(|&number| {
        let client = &mut crowd.clients[number];
        client.patience = Duration::from_millis(500);
        let is_served = client.try_call(&["PING"]).is_ok();
        client.patience = PATIENCE;
        is_served
    });
    let asker = asker.expect("three workers serve");
    let begun = clock::monotonic();
    let list = crowd.clients[asker].call(&["CLIENT", "LIST"]).text();
    assert!(clock::monotonic().duration_since(begun) < SOON);
    let seen = list.lines().count();
    assert!(seen >= 6 && seen + 2 <= all.len(), "{seen} of {}", all.len());
    // Stopped when it is asked, killed before it can answer: who asks has its answer before the deadline.
    crowd.clients[asker].send(&["CLIENT", "LIST"]);
    let begun = clock::monotonic();
    signal(stopped, Signal::SIGKILL);
    let list = crowd.clients[asker].read().text();
    assert_eq!(list.lines().count(), seen);
    assert!(clock::monotonic().duration_since(begun) < Duration::from_millis(900), "the deadline was waited for");
    // And the next worker in its place takes part.
    let mut late = Vec::new();
    wait_until("clients on the new worker", PATIENCE, || {
        late.push(crowd.service.connect());
        let counts = connections_of_workers(&mut crowd.clients[asker]);
        (counts.len() == 4 && counts.iter().all(|count| *count >= 1)).then_some(())
    });
    let list = crowd.clients[asker].call(&["CLIENT", "LIST"]).text();
    assert_eq!(list.lines().count(), seen + late.len());
}

#[test]
fn a_password_set_at_run_time_is_asked_on_all_workers() {
    let mut crowd = Crowd::gather(&[]);
    assert_eq!(crowd.clients[0].ask("CONFIG SET requirepass secret"), "+OK");
    for client in &mut crowd.clients {
        assert_eq!(client.ask("PING"), "+PONG", "who was there stays");
    }
    let mut late: Vec<Connection> = (0..8).map(|_| crowd.service.connect()).collect();
    for client in &mut late {
        assert_eq!(client.ask("PING"), "-NOAUTH Authentication required.");
        assert!(client.ask("AUTH wrong").starts_with("-WRONGPASS "));
        assert_eq!(client.ask("AUTH secret"), "+OK");
        assert_eq!(client.ask("PING"), "+PONG");
    }
    crowd.service.replace("worker-3");
    assert_eq!(crowd.service.connect().ask("PING"), "-NOAUTH Authentication required.");
}

#[test]
fn who_tries_passwords_waits_longer_each_time_is_counted_and_told_of_and_slows_nobody_else() {
    let service = Service::start(&[("WORKERS", "1"), ("PASSWORD", "secret")]);
    let mut other = service.connect();
    assert_eq!(other.ask("AUTH secret"), "+OK");
    let mut one = service.connect();
    let begun = clock::monotonic();
    for _ in 0..4 {
        assert!(one.ask("AUTH guess").starts_with("-WRONGPASS"));
        assert!(one.ask("HELLO 3 AUTH default guess").starts_with("-WRONGPASS"));
    }
    // 1 + 2 + 4 + ... + 128 ms.
    let passed = clock::monotonic().duration_since(begun);
    assert!(passed >= Duration::from_millis(255), "{passed:?}");
    // A pipeline of them is answered one by one, and others meanwhile.
    let wrong = encoded(&["AUTH", "guess"]);
    one.send_bytes(&[wrong.repeat(3), encoded(&["AUTH", "secret"])].concat());
    let begun = clock::monotonic();
    for _ in 0..100 {
        assert_eq!(other.ask("SET key value"), "+OK");
    }
    assert!(one.unread().is_empty());
    for _ in 0..3 {
        assert!(one.read().to_string().starts_with("-WRONGPASS"));
    }
    assert_eq!(one.read().to_string(), "+OK");
    let passed = clock::monotonic().duration_since(begun);
    assert!(passed >= Duration::from_millis(256 + 512 + 1000), "{passed:?}");
    // The right one begins anew.
    let failures = other.call(&["INFO", "stats"]).text();
    assert!(failures.contains("acl_access_denied_auth:11\r\n"), "{failures}");
    let begun = clock::monotonic();
    for _ in 0..3 {
        assert!(one.ask("AUTH guess").starts_with("-WRONGPASS"));
    }
    // 1 + 2 + 4 ms, and not three seconds.
    assert!(clock::monotonic().duration_since(begun) < Duration::from_millis(2900));
    // In a transaction too, in its place.
    for line in ["MULTI", "AUTH guess", "SET a 1"] {
        one.ask(line);
    }
    let replies = one.call(&["EXEC"]);
    assert!(replies.items()[0].to_string().starts_with("-WRONGPASS"), "{replies}");
    assert_eq!(replies.items()[1].to_string(), "+OK");
    let lines: Vec<String> =
        service.log().lines().into_iter().filter(|line| line.contains("wrong user or password")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains(&one.address().to_string()) && !lines[0].contains("guess"), "{lines:?}");
}

#[test]
fn the_redis_crate_speaks_both_protocols_with_the_service() {
    let service = Service::start(&[("WORKERS", "2"), ("PASSWORD", "s3cret")]);
    for protocol in ["", "?protocol=resp3"] {
        let client = redis::Client::open(format!("redis://default:s3cret@{}/3{protocol}", service.address())).unwrap();
        let mut connection = client.get_connection().unwrap();
        redis::cmd("CLIENT").arg("SETNAME").arg("crate").exec(&mut connection).unwrap();
        let list: String = redis::cmd("CLIENT").arg("LIST").query(&mut connection).unwrap();
        let line = list.lines().find(|line| field(line, "name") == "crate").unwrap();
        assert_eq!(field(line, "resp"), if protocol.is_empty() { "2" } else { "3" });
        assert_eq!((field(line, "db"), field(line, "user")), ("3", "default"));
        let (set, value): (String, i64) =
            redis::pipe().atomic().cmd("SET").arg("n").arg(1).cmd("INCR").arg("n").query(&mut connection).unwrap();
        assert_eq!((set.as_str(), value), ("OK", 2));
        let hello: std::collections::HashMap<String, redis::Value> =
            redis::cmd("HELLO").query(&mut connection).unwrap();
        assert_eq!(hello["server"], redis::Value::BulkString(b"redis".to_vec()));
        redis::cmd("RESET").exec(&mut connection).unwrap();
        let error = redis::cmd("PING").query::<String>(&mut connection).unwrap_err();
        assert_eq!(error.code(), Some("NOAUTH"));
    }
    let wrong = redis::Client::open(format!("redis://default:wrong@{}", service.address())).unwrap();
    assert!(wrong.get_connection().is_err());
}

/// An address of this machine that is not its loopback: of an interface that leads elsewhere. Nothing is sent.
fn outer_address() -> Option<std::net::IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|address| !address.is_loopback())
}

#[test]
fn without_a_password_only_this_machine_is_served() {
    let Some(outer) = outer_address() else {
        println!("SKIPPED: this machine has no address but its loopback to be denied from");
        return;
    };
    let everywhere = ("LISTEN", "0.0.0.0:0");
    let mut service = Service::start(&[("WORKERS", "2"), everywhere]);
    let at = |service: &Service| SocketAddr::new(outer, service.address().port());
    let inside = SocketAddr::from(([127, 0, 0, 1], service.address().port()));
    let mut denied = Connection::open(at(&service));
    let text = denied.read().to_string();
    assert!(text.starts_with("-DENIED ") && text.contains("EMPTYSERVER_PASSWORD"), "{text}");
    assert!(text.contains("EMPTYSERVER_PROTECTED_MODE"), "{text}");
    assert!(denied.is_closed());
    let mut client = Connection::open(inside);
    assert_eq!(client.ask("PING"), "+PONG");
    // Changed at run time it holds for whoever comes next.
    assert_eq!(client.ask("CONFIG SET requirepass secret"), "+OK");
    assert_eq!(Connection::open(at(&service)).ask("AUTH secret"), "+OK");
    assert_eq!(client.ask("CONFIG SET requirepass \"\" protected-mode no"), "+OK");
    assert_eq!(Connection::open(at(&service)).ask("PING"), "+PONG");
    service.stop();
    service.restart_with(&[("PROTECTED_MODE", "no")]);
    assert_eq!(Connection::open(at(&service)).ask("PING"), "+PONG");
}

#[test]
fn a_client_of_ipv4_has_its_own_address_on_a_listener_for_both_families() {
    if std::net::TcpListener::bind("[::]:0").is_err() {
        println!("SKIPPED: this machine has no IPv6");
        return;
    }
    let service = Service::start(&[("WORKERS", "1"), ("LISTEN", "[::]:0")]);
    let at = SocketAddr::from(([127, 0, 0, 1], service.address().port()));
    let mut client = Connection::open(at);
    let info = client.call(&["CLIENT", "INFO"]).text();
    assert_eq!((field(&info, "addr"), field(&info, "laddr")), (&*client.address().to_string(), &*at.to_string()));
    let mut monitor = Connection::open(at);
    assert_eq!(monitor.ask("MONITOR"), "+OK");
    client.ask("ECHO x");
    let line = monitor.read().text();
    assert!(line.contains(&format!("[0 {}]", client.address())), "{line}");
    for form in ["127.0.0.1", "[::ffff:127.0.0.1]"] {
        let mut victim = Connection::open(at);
        let port = victim.address().port();
        assert_eq!(client.ask(&format!("CLIENT KILL ADDR {form}:{port}")), ":1");
        assert!(victim.is_closed());
    }
    let mut others: Vec<_> = (0..3).map(|_| Connection::open(at)).collect();
    assert!(others.iter_mut().all(|other| other.ask("PING") == "+PONG"));
    assert_eq!(client.ask(&format!("CLIENT KILL LADDR {at}")), ":4", "the monitor too");
    assert!(others.iter_mut().all(Connection::is_closed));
}

#[test]
fn many_ask_about_all_at_the_same_time() {
    let crowd = Crowd::gather(&[]);
    let Crowd { service, clients } = crowd;
    let count = clients.len();
    let askers = clients.into_iter().map(|mut client| {
        thread::spawn(move || {
            for _ in 0..50 {
                assert_eq!(client.call(&["CLIENT", "LIST"]).text().lines().count(), count);
                assert_eq!(client.ask("CLIENT KILL ID 999999"), ":0");
            }
            client
        })
    });
    let askers: Vec<_> = askers.collect();
    let clients: Vec<Connection> = askers.into_iter().map(|asker| asker.join().unwrap()).collect();
    assert_eq!(clients.len(), count);
    assert_eq!(service.connect().ask("PING"), "+PONG");
}
