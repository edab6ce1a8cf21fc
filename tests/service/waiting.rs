//! Clients that wait for lists, on real workers: who is served, in which order, how it ends otherwise, and who dies meanwhile.

use std::time::Duration;

use crate::support::{Connection, Service, signal, wait_until};
use emptyserver::sys::clock;
use nix::sys::signal::Signal;

const PATIENCE: Duration = Duration::from_secs(20);

/// So many clients wait, as the service knows.
fn await_blocked(service: &Service, count: usize) {
    let mut control = service.connect();
    wait_until("clients that wait", PATIENCE, || {
        let list = control.call(&["CLIENT", "LIST"]).text();
        (list.lines().filter(|line| line.contains(" flags=b ")).count() == count).then_some(())
    });
}

/// Clients that wait with this call, in this order.
fn waiting(service: &Service, call: &[&str], count: usize) -> Vec<Connection> {
    let before = service.connect().call(&["CLIENT", "LIST"]).text().matches(" flags=b ").count();
    (1..=count)
        .map(|number| {
            let mut client = service.connect();
            client.send(call);
            await_blocked(service, before + number);
            client
        })
        .collect()
}

fn id(client: &mut Connection) -> String {
    client.call(&["CLIENT", "ID"]).integer().to_string()
}

#[test]
fn who_waits_is_served_in_order_on_all_workers_and_in_a_single_process() {
    for workers in ["0", "4"] {
        let service = Service::start(&[("WORKERS", workers)]);
        let mut clients = waiting(&service, &["BLPOP", "a", "b", "0"], 9);
        let mut pusher = service.connect();
        // Workers publish such figures some twenty times a second.
        for (figure, value) in [("blocked_clients", 9), ("total_blocking_keys", 2)] {
            wait_until(figure, PATIENCE, || (pusher.of_info(figure) == value).then_some(()));
        }
        for number in 0..9 {
            assert_eq!(pusher.ask(&format!("RPUSH b {number}")), ":1");
        }
        let elements: Vec<String> = clients.iter_mut().map(|client| client.read().items()[1].text()).collect();
        assert_eq!(elements, ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
        assert_eq!(pusher.ask("EXISTS a b"), ":0");
        wait_until("nobody waits", PATIENCE, || (pusher.of_info("total_blocking_keys") == 0).then_some(()));
    }
}

#[test]
fn unblock_ends_what_waits_and_what_comes_behind_it_is_nobodys() {
    let service = Service::start(&[("WORKERS", "4")]);
    let mut control = service.connect();
    assert_eq!(control.ask("CONFIG RESETSTAT"), "+OK");
    for (reason, reply) in
        [("", "*-1"), ("TIMEOUT", "*-1"), ("error", "-UNBLOCKED client unblocked via CLIENT UNBLOCK")]
    {
        let mut client = service.connect();
        let id = id(&mut client);
        client.send(&["BLMOVE", "a", "b", "LEFT", "LEFT", "0"]);
        await_blocked(&service, 1);
        // In one pipeline: nothing may come between.
        control.send_bytes(format!("CLIENT UNBLOCK {id} {reason}\r\nRPUSH a x\r\nLPOP a\r\n").as_bytes());
        assert_eq!((control.read().integer(), control.read().integer(), control.read().text()), (1, 1, "x".to_owned()));
        assert_eq!(client.read().to_string(), reply);
        assert_eq!(control.ask(&format!("CLIENT UNBLOCK {id}")), ":0");
        assert_eq!(client.ask("PING"), "+PONG");
    }
    // A client that is held back by a pause does not wait for a key.
    let mut client = service.connect();
    let id = id(&mut client);
    assert_eq!(control.ask("CLIENT PAUSE 100000 WRITE"), "+OK");
    client.send(&["SET", "k", "v"]);
    await_blocked(&service, 1);
    assert_eq!(control.ask(&format!("CLIENT UNBLOCK {id}")), ":0");
    assert_eq!(control.ask("CLIENT UNPAUSE"), "+OK");
    assert_eq!(client.read().to_string(), "+OK");
    let stats = control.call(&["INFO", "commandstats"]).text();
    let of = stats.lines().find(|line| line.starts_with("cmdstat_blmove:")).unwrap();
    assert!(of.contains("calls=3,") && of.ends_with("failed_calls=1"), "{of}");
    assert!(control.call(&["INFO", "errorstats"]).text().contains("errorstat_UNBLOCKED:count=1"));
}

#[test]
fn who_is_gone_gets_nothing() {
    let service = Service::start(&[("WORKERS", "2")]);
    let mut control = service.connect();
    let call = ["BRPOP", "a", "0"];
    let mut killed = service.connect();
    let killed_id = id(&mut killed);
    killed.send(&call);
    await_blocked(&service, 1);
    let gone = waiting(&service, &call, 2);
    let mut ended = service.connect();
    // Its peer stops sending, which may mean that it is gone.
    ended.send(&call);
    await_blocked(&service, 4);
    ended.shut_down_sending();
    drop(gone);
    assert_eq!(control.ask(&format!("CLIENT KILL ID {killed_id}")), ":1");
    assert!(killed.is_closed() && ended.is_closed());
    await_blocked(&service, 0);
    wait_until("no key is waited for", PATIENCE, || (control.of_info("total_blocking_keys") == 0).then_some(()));
    assert_eq!(control.ask("RPUSH a 1 2"), ":2");
    assert_eq!(control.ask("LLEN a"), ":2");
}

#[test]
fn a_timeout_ends_it_also_during_a_pause_and_a_pause_lets_nobody_begin_to_wait() {
    let service = Service::start(&[("WORKERS", "2")]);
    let mut control = service.connect();
    let mut early = waiting(&service, &["BLPOP", "a", "0.3"], 1).remove(0);
    assert_eq!(control.ask("CLIENT PAUSE 100000 WRITE"), "+OK");
    let mut late = service.connect();
    late.send(&["BLPOP", "a", "0.01"]);
    assert_eq!(early.read().to_string(), "*-1");
    assert_eq!(control.ask("CLIENT UNPAUSE"), "+OK");
    assert_eq!(late.read().to_string(), "*-1");
    let begun = clock::monotonic();
    assert_eq!(early.ask("BLMPOP 0.05 2 a b LEFT"), "*-1");
    assert!(clock::monotonic().duration_since(begun) >= Duration::from_millis(50));
}

#[test]
fn replies_that_nobody_wants_are_not_sent() {
    let service = Service::start(&[("WORKERS", "2")]);
    let mut control = service.connect();
    let mut client = service.connect();
    client.send_bytes(b"CLIENT REPLY SKIP\r\nBLPOP a 0\r\nPING 1\r\nCLIENT REPLY SKIP\r\nBLPOP a 0.01\r\nPING 2\r\n");
    await_blocked(&service, 1);
    assert_eq!(control.ask("RPUSH a 1"), ":1");
    assert_eq!((client.read().text(), client.read().text()), ("1".to_owned(), "2".to_owned()));
    assert_eq!(control.ask("LLEN a"), ":0");
    client.send_bytes(b"CLIENT REPLY OFF\r\nBLPOP a 0\r\nCLIENT REPLY ON\r\n");
    await_blocked(&service, 1);
    assert_eq!(control.ask("RPUSH a 1"), ":1");
    assert_eq!(client.read().to_string(), "+OK");
}

#[test]
fn it_is_shown_and_counted_once() {
    let service = Service::start(&[("WORKERS", "2")]);
    let mut control = service.connect();
    let mut monitor = service.connect();
    assert_eq!(monitor.ask("MONITOR"), "+OK");
    assert_eq!(control.ask("CONFIG SET slowlog-log-slower-than 0"), "+OK");
    assert_eq!(control.ask("CONFIG RESETSTAT"), "+OK");
    assert_eq!(control.ask("SLOWLOG RESET"), "+OK");
    let mut client = waiting(&service, &["BLPOP", "a", "b", "0"], 1).remove(0);
    // Looked at in vain, then served.
    assert_eq!(control.ask("SET a 1"), "+OK");
    assert_eq!(control.ask("RPUSH b 1"), ":1");
    // The string comes first, and is an error, as in Redis.
    assert!(client.read().to_string().starts_with("-WRONGTYPE"));
    assert_eq!(client.ask("BLPOP c 0.01"), "*-1");
    let log = control.call(&["SLOWLOG", "GET", "-1"]).to_string();
    assert_eq!(log.matches("\"BLPOP\"").count(), 2, "{log}");
    let stats = control.call(&["INFO", "commandstats"]).text();
    assert!(stats.contains("cmdstat_blpop:calls=2,"), "{stats}");
    let mut shown = 0;
    loop {
        let line = monitor.read().to_string();
        shown += usize::from(line.contains("BLPOP"));
        if line.contains("commandstats") {
            break;
        }
    }
    assert_eq!(shown, 2);
}

#[test]
fn deaths_of_the_writer_and_of_workers_leave_the_others_waiting_in_order() {
    let service = Service::start(&[("WORKERS", "4")]);
    let mut clients = waiting(&service, &["BLPOP", "a", "0"], 16);
    service.replace("write");
    // One that comes now is behind them.
    let mut late = service.connect();
    late.send(&["BLPOP", "a", "0"]);
    await_blocked(&service, 17);
    signal(service.process("worker-1").unwrap(), Signal::SIGKILL);
    wait_until("the end of its clients", PATIENCE, || {
        let list = service.connect().call(&["CLIENT", "LIST"]).text();
        (list.matches(" flags=b ").count() < 17).then_some(())
    });
    service.replace("write");
    let mut pusher = service.connect();
    let elements: Vec<String> = (0..17).map(|number| number.to_string()).collect();
    let push: Vec<&str> = ["RPUSH", "a"].into_iter().chain(elements.iter().map(String::as_str)).collect();
    assert_eq!(pusher.call(&push).integer(), 17);
    clients.push(late);
    let got: Vec<i64> = clients
        .iter_mut()
        .filter_map(|client| client.try_read().ok())
        .map(|reply| reply.items()[1].text().parse().unwrap())
        .collect();
    assert_eq!(got, (0..got.len() as i64).collect::<Vec<_>>());
    assert!(got.len() < 17 && pusher.call(&["LLEN", "a"]).integer() as usize == 17 - got.len());
}

#[test]
fn a_stop_closes_those_who_wait() {
    let mut service = Service::start(&[("WORKERS", "2")]);
    let mut clients = waiting(&service, &["BLPOP", "a", "0"], 3);
    assert!(service.stop().success());
    assert!(clients.iter_mut().all(Connection::is_closed));
}

#[test]
fn what_a_call_that_waits_makes_the_service_keep_is_counted() {
    let service = Service::start(&[("WORKERS", "1")]);
    let mut control = service.connect();
    let keys: Vec<String> = (0..10_000).map(|number| format!("key:{number}")).collect();
    let call: Vec<&str> =
        std::iter::once("BLPOP").chain(keys.iter().map(String::as_str)).chain(std::iter::once("0")).collect();
    let _client = waiting(&service, &call, 1);
    assert_eq!(control.of_info("total_blocking_keys"), 10_000);
    let list = control.call(&["CLIENT", "LIST"]).text();
    let line = list.lines().find(|line| line.contains("cmd=blpop")).unwrap();
    let bytes: usize = line.split("tot-mem=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(bytes > 2_000_000, "{line}");
}
