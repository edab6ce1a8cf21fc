//! Subscribers of the real program: one that does not read, and one that goes.

use std::time::Duration;

use crate::support::{Connection, PATIENCE, Service, Value, wait_until};

fn subscriber(service: &Service) -> Connection {
    let mut connection = service.connect();
    assert_eq!(connection.ask("SUBSCRIBE news"), "[\"subscribe\" \"news\" :1]");
    connection
}

#[test]
fn a_subscriber_that_does_not_read_is_closed_and_holds_up_nobody() {
    let service = Service::start(&[("WORKERS", "2"), ("SUBSCRIBER_OUTPUT_BYTES_MAX", "1Mi")]);
    let mut slow: Vec<Connection> = (0..4).map(|_| subscriber(&service)).collect();
    let mut reading: Vec<Connection> = (0..4).map(|_| subscriber(&service)).collect();
    let mut publisher = service.connect();
    let text = vec![b'x'; 256 << 10];
    // What the sockets hold comes on top of the limit.
    for number in 0..100 {
        let count = publisher.call(&[&b"PUBLISH"[..], b"news", &text]).integer();
        assert!((4..=8).contains(&count), "{count}");
        for connection in &mut reading {
            let Value::Array(items) = connection.read() else { panic!("no message") };
            assert_eq!((items.len(), items[2].text().len()), (3, text.len()), "message {number}");
        }
    }
    wait_until("the end of the slow ones", PATIENCE, || {
        (publisher.ask("PUBSUB NUMSUB news") == "[\"news\" :4]").then_some(())
    });
    for connection in &mut slow {
        connection.patience = Duration::from_secs(5);
        while connection.try_read().is_ok() {}
    }
    assert_eq!(publisher.of_info("client_output_buffer_limit_disconnections"), 4);
    let names_it = |line: &&String| line.contains("EMPTYSERVER_SUBSCRIBER_OUTPUT_BYTES_MAX");
    let lines = service.log().lines().iter().filter(names_it).count();
    assert!((1..=2).contains(&lines), "once for each worker: {lines}");
}

#[test]
fn a_subscriber_that_lags_behind_for_long_is_closed_too() {
    let service = Service::start(&[("WORKERS", "1")]);
    let mut control = service.connect();
    assert_eq!(control.ask("CONFIG SET client-output-buffer-limit \"pubsub 0 1mb 1\""), "+OK");
    let _slow = subscriber(&service);
    let text = vec![b'x'; 256 << 10];
    for _ in 0..60 {
        control.call(&[&b"PUBLISH"[..], b"news", &text]);
    }
    wait_until("its end", PATIENCE, || (control.ask("PUBSUB NUMSUB news") == "[\"news\" :0]").then_some(()));
    assert_eq!(control.of_info("client_output_buffer_limit_disconnections"), 1);
}

#[test]
fn idle_time_closes_no_subscriber() {
    let service = Service::start(&[("WORKERS", "1"), ("IDLE_TIMEOUT_SECONDS", "1")]);
    let (mut listening, mut idle) = (subscriber(&service), service.connect());
    assert_eq!(idle.ask("PING"), "+PONG");
    assert!(idle.is_closed());
    let mut publisher = service.connect();
    assert_eq!(publisher.ask("PUBLISH news x"), ":1");
    assert_eq!(listening.read().to_string(), "[\"message\" \"news\" \"x\"]");
}
