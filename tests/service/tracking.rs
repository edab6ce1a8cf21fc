//! Client-side caching over the workers of the real program: who is told in another's place, and what is heard when it, or its worker, is gone.

use super::server_family::one_on_each;
use crate::support::{Connection, Service};

/// On two workers: one that has what it reads told to another, and that one, whose number is the third value.
fn redirected(service: &Service) -> (Connection, Connection, String) {
    let mut connections = one_on_each(service, 2).into_iter();
    let (mut reader, mut target) = (connections.next().unwrap(), connections.next().unwrap());
    for connection in [&mut reader, &mut target] {
        assert!(connection.ask("HELLO 3").contains("\"proto\": :3"));
    }
    let number = target.ask("CLIENT ID")[1..].to_owned();
    assert_eq!(reader.ask(&format!("CLIENT TRACKING ON REDIRECT {number}")), "+OK");
    (reader, target, number)
}

#[test]
fn a_client_of_another_worker_is_told_in_place_of_who_reads() {
    let service = Service::start(&[("WORKERS", "2")]);
    let (mut reader, mut target, number) = redirected(&service);
    for (connection, value) in one_on_each(&service, 2).iter_mut().zip(1..) {
        assert!(reader.ask("MGET a b").starts_with('['));
        assert_eq!(connection.ask(&format!("MSET a {value} b {value}")), "+OK");
        assert_eq!(target.read().to_string(), ">[\"invalidate\" [\"a\"]]");
        assert_eq!(target.read().to_string(), ">[\"invalidate\" [\"b\"]]");
    }
    assert_eq!(reader.ask("FLUSHALL"), "+OK");
    assert_eq!(target.read().to_string(), ">[\"invalidate\" _]");
    assert_eq!(reader.ask("GET a"), "_", "and is told nothing itself");
    drop(target);
    assert_eq!(service.connect().ask("SET a 1"), "+OK");
    assert_eq!(reader.read().to_string(), format!(">[\"tracking-redir-broken\" :{number}]"));
    assert!(reader.ask("CLIENT TRACKINGINFO").contains("broken_redirect"));
}

#[test]
fn the_end_of_a_worker_whose_client_was_to_be_told_is_heard_at_once() {
    let service = Service::start(&[("WORKERS", "2")]);
    let (mut reader, _target, number) = redirected(&service);
    assert_eq!(reader.ask("GET a"), "_");
    service.replace("worker-1");
    assert_eq!(reader.read().to_string(), format!(">[\"tracking-redir-broken\" :{number}]"));
    assert_eq!(reader.ask("CLIENT TRACKING OFF"), "+OK");
    assert_eq!(reader.ask("CLIENT TRACKING ON"), "+OK");
    assert_eq!(reader.ask("GET a"), "_");
    assert_eq!(service.connect().ask("SET a 1"), "+OK");
    assert_eq!(reader.read().to_string(), ">[\"invalidate\" [\"a\"]]");
}
