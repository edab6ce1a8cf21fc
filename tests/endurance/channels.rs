//! Messages of channels while workers die: a subscriber sees each publisher's numbers without a gap, or is closed.
//!
//! `CHANNELS_CLIENTS=200 CHANNELS_SECONDS=60 cargo test --release --test endurance channels -- --nocapture` does more of it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{Connection, PATIENCE, Service, Value, number_from_environment, signal, turn, wait_until};
use emptyserver::sys::clock;

const CHANNELS: usize = 8;

#[derive(Default)]
struct Stage {
    is_over: AtomicBool,
    /// No publisher is left.
    is_silent: AtomicBool,
    /// By publisher's name: the last number that was acknowledged, and its channel. A publisher whose connection closes takes another name.
    acknowledged: Mutex<HashMap<String, (u64, usize)>>,
    published: AtomicU64,
    received: AtomicU64,
    closed: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

fn publish(stage: &Stage, address: SocketAddr, number: usize) {
    let channel = number % CHANNELS;
    let mut life = 0;
    while !stage.is_over.load(Ordering::SeqCst) {
        let Ok(mut connection) = Connection::try_open(address) else { continue };
        life += 1;
        let name = format!("{number}.{life}");
        let mut count = 0;
        while !stage.is_over.load(Ordering::SeqCst) {
            let message = format!("{name} {}", count + 1);
            match connection.try_call(&["PUBLISH", &format!("channel:{channel}"), &message]) {
                Ok(Value::Integer(_)) => count += 1,
                _ => break,
            }
        }
        stage.published.fetch_add(count, Ordering::SeqCst);
        stage.acknowledged.lock().unwrap().insert(name, (count, channel));
    }
}

/// What one connection of a subscriber has seen: by publisher's name the last number.
#[derive(Default)]
struct Seen(HashMap<String, u64>);

impl Seen {
    fn take(&mut self, message: &str) -> Result<(), String> {
        let (name, number) = message.split_once(' ').unwrap();
        let number: u64 = number.parse().unwrap();
        let last = self.0.insert(name.to_owned(), number);
        // The first one that it sees may be any: it came in the middle.
        match last {
            Some(last) if number != last + 1 => Err(format!("{name}: {number} after {last}")),
            _ => Ok(()),
        }
    }

    /// A publisher of whom something was seen, and whose last acknowledged message was not.
    fn lacks(&self, stage: &Stage) -> Option<String> {
        let acknowledged = stage.acknowledged.lock().unwrap();
        let lacks = self.0.iter().find(|(name, last)| acknowledged.get(*name).is_some_and(|(count, _)| count > last));
        lacks.map(|(name, last)| format!("{name} up to {last} of {:?}", acknowledged[name]))
    }
}

fn listen(stage: &Stage, address: SocketAddr, number: usize) {
    let channel = number % CHANNELS;
    let is_by_pattern = number.is_multiple_of(3);
    loop {
        let Ok(mut connection) = Connection::try_open(address) else { continue };
        connection.patience = Duration::from_millis(200);
        let subscribe = match is_by_pattern {
            true => ["PSUBSCRIBE".to_owned(), format!("ch*:{channel}")],
            false => ["SUBSCRIBE".to_owned(), format!("channel:{channel}")],
        };
        if connection.try_send_bytes(&crate::support::encoded(&subscribe)).is_err() {
            continue;
        }
        let mut seen = Seen::default();
        let mut silent_until = None;
        loop {
            match connection.try_read() {
                Ok(Value::Array(items)) if matches!(items.len(), 3 | 4) && items[0].text().ends_with("message") => {
                    stage.received.fetch_add(1, Ordering::SeqCst);
                    if let Err(what) = seen.take(&items.last().unwrap().text()) {
                        stage.wrong.lock().unwrap().push(format!("subscriber {number}: {what}"));
                        return;
                    }
                }
                Ok(_) => {}
                Err(error) if matches!(error.kind(), std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock) => {
                }
                Err(_) => {
                    stage.closed.fetch_add(1, Ordering::SeqCst);
                    break;
                }
            }
            if stage.is_silent.load(Ordering::SeqCst) {
                let deadline = *silent_until.get_or_insert(clock::monotonic() + PATIENCE);
                match seen.lacks(stage) {
                    None => return,
                    Some(what) if clock::monotonic() > deadline => {
                        stage.wrong.lock().unwrap().push(format!("subscriber {number} never saw {what}"));
                        return;
                    }
                    Some(_) => {}
                }
            }
        }
        if stage.is_silent.load(Ordering::SeqCst) {
            return;
        }
    }
}

#[test]
fn a_subscriber_sees_every_publishers_numbers_without_a_gap_or_is_closed() {
    let _turn = turn();
    let clients = usize::try_from(number_from_environment("CHANNELS_CLIENTS", 24)).unwrap();
    let seconds = number_from_environment("CHANNELS_SECONDS", 6);
    let service = Service::start(&[("WORKERS", "4")]);
    let (address, stage) = (service.address(), Stage::default());
    let mut kills = 0;
    thread::scope(|scope| {
        let stage = &stage;
        (0..clients).for_each(|number| _ = scope.spawn(move || listen(stage, address, number)));
        let publishers: Vec<_> =
            (0..clients).map(|number| scope.spawn(move || publish(stage, address, number))).collect();
        let end = clock::monotonic() + Duration::from_secs(seconds);
        while clock::monotonic() < end {
            let before = stage.received.load(Ordering::SeqCst);
            wait_until("messages", PATIENCE, || (stage.received.load(Ordering::SeqCst) > before + 2000).then_some(()));
            service.replace(&format!("worker-{}", kills * 7 % 4));
            kills += 1;
        }
        stage.is_over.store(true, Ordering::SeqCst);
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
        stage.is_silent.store(true, Ordering::SeqCst);
    });
    let of = |count: &AtomicU64| count.load(Ordering::SeqCst);
    println!(
        "{clients} publishers and as many subscribers, {kills} kills: {} messages, received {} times, {} subscribers closed",
        of(&stage.published),
        of(&stage.received),
        of(&stage.closed),
    );
    assert!(kills > 0 && of(&stage.published) > 0 && of(&stage.received) > 0);
    let wrong = stage.wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_stopped_worker_delays_no_message_of_others_and_closes_its_subscribers_when_it_missed_some() {
    let _turn = turn();
    // Its subscribers are closed for what they missed, and not for what they have not read.
    let service = Service::start(&[("WORKERS", "3"), ("SUBSCRIBER_OUTPUT_BYTES_MAX", "0")]);
    let stopped = service.process("worker-1").unwrap();
    let mut clients: Vec<Connection> = (0..30).map(|_| service.connect()).collect();
    clients.iter_mut().for_each(|client| assert!(!client.call(&["SUBSCRIBE", "news"]).is_error()));
    let mut publishers: Vec<Connection> = (0..30).map(|_| service.connect()).collect();
    publishers.iter_mut().for_each(|publisher| assert_eq!(publisher.ask("PING"), "+PONG"));
    signal(stopped, Signal::SIGSTOP);
    let is_served = |publisher: &mut Connection| {
        publisher.patience = Duration::from_millis(300);
        let is_served = publisher.try_call(&["PING"]).is_ok();
        publisher.patience = PATIENCE;
        is_served
    };
    let publisher = publishers.iter_mut().find_map(|publisher| is_served(publisher).then_some(publisher)).unwrap();
    // More than a link between workers holds.
    let (message, count) = (vec![b'x'; 256 << 10], 400);
    let mut took = Vec::new();
    for number in 0..count {
        let begun = clock::monotonic();
        let reply = publisher.call(&[&b"PUBLISH"[..], b"news", &message]);
        took.push(clock::monotonic().duration_since(begun));
        assert!(number > 0 || reply.integer() == 30, "all are counted: {reply}");
        // Others read.
        for client in &mut clients {
            client.patience = Duration::from_millis(1);
            while client.try_read().is_ok() {}
        }
    }
    took.sort_unstable();
    let (middle, slowest) = (took[count / 2], took[count - 1]);
    println!("{count} messages beside a stopped worker: {middle:?} in the middle, {slowest:?} at most");
    // On an idle machine no message takes 50 ms; whoever waited for the stopped worker would wait for ever.
    assert!(middle < Duration::from_millis(50) && slowest < Duration::from_secs(1), "{middle:?}, {slowest:?}");
    signal(stopped, Signal::SIGCONT);
    // It may answer what it finds first: then it sees that it has missed something.
    wait_until("a line of the log", PATIENCE, || {
        service.log().lines().iter().any(|line| line.contains("subscribers are closed")).then_some(())
    });
    let mut closed = 0;
    for client in &mut clients {
        client.patience = PATIENCE;
        client.send(&["PING", "last"]);
        loop {
            match client.try_read() {
                Ok(value) if value.items()[0].text() == "pong" => break,
                Ok(_) => {}
                Err(_) => {
                    closed += 1;
                    break;
                }
            }
        }
    }
    assert!((1..30).contains(&closed), "{closed} of 30 are closed: those of the stopped worker");
    let mut control = service.connect();
    assert_eq!(control.ask("PUBSUB NUMSUB news"), format!("[\"news\" :{}]", 30 - closed));
}
