//! Pipelines in which other calls ride beside the changes: how many commits they take, and that nobody sees them half done.

use std::io::Write;

use crate::support::{Connection, Service, encoded};

/// Pairs of a change and what rides beside it.
const PAIRS: usize = 5000;

fn commits(connection: &mut Connection) -> u64 {
    let info = connection.call(&["INFO", "everything"]).text();
    let line = info.lines().find_map(|line| line.strip_prefix("groups:"));
    line.expect("INFO counts the commits").trim().parse().unwrap()
}

fn lines(text: &str) -> Vec<u8> {
    text.split(" / ").flat_map(|line| encoded(&line.split(' ').collect::<Vec<_>>())).collect()
}

/// Commits that a pipeline takes whose every call is repeated so often; it ends with a call that is answered "end".
fn commits_of(service: &Service, first: &str, calls: &str) -> u64 {
    let (mut connection, mut other) = (service.connect(), service.connect());
    let before = commits(&mut other);
    let bytes = [lines(first), lines(calls).repeat(PAIRS), lines("CLIENT REPLY ON / ECHO end")].concat();
    let mut writing = connection.stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || writing.write_all(&bytes).unwrap());
        while connection.read().to_string() != "\"end\"" {}
    });
    commits(&mut other) - before
}

#[test]
fn what_rides_in_a_pipeline_takes_no_commits_of_its_own() {
    let service = Service::start(&[("WORKERS", "2")]);
    let plain = commits_of(&service, "PING", "SET a 1 / SET b 2");
    for (first, calls) in [
        ("PING", "PING / SET a 1"),
        ("CLIENT REPLY OFF", "SET a 1 / SET b 2"),
        ("PING", "MULTI / SET a 1 / EXEC"),
        ("PING", "SELECT 1 / SET a 1 / SELECT 0 / SET a 2"),
        ("PING", "BOGUS / SET a 1"),
        ("PING", "CLIENT REPLY SKIP / SET a 1 / GET a"),
    ] {
        let commits = commits_of(&service, first, calls);
        println!("{calls}: {commits} commits, {plain} without");
        // What comes in one read is a run; a machine with much to do reads in smaller parts.
        assert!(commits <= 5 * plain + 50, "{first} / {calls}: {commits} commits, and {plain} of plain changes");
    }
}

#[test]
fn nobody_sees_half_of_a_transaction_that_rides() {
    let service = Service::start(&[("WORKERS", "2")]);
    let mut writing = service.connect();
    let mut reading = [service.connect(), service.connect()];
    assert_eq!(writing.ask("MSET a 0 b 0"), "+OK");
    let rounds = 3000;
    let calls: Vec<u8> = (1..=rounds)
        .flat_map(|i| lines(&format!("PING / MULTI / SET a {i} / ECHO x / SET b {i} / EXEC / SET c {i}")))
        .collect();
    let mut sending = writing.stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || sending.write_all(&calls).unwrap());
        let answers = scope.spawn(move || {
            for _ in 0..rounds {
                let replies: Vec<String> = (0..7).map(|_| writing.read().to_string()).collect();
                assert_eq!(replies[..5], ["+PONG", "+OK", "+QUEUED", "+QUEUED", "+QUEUED"]);
                assert_eq!(replies[5..], ["[+\"OK\" \"x\" +\"OK\"]", "+OK"]);
            }
        });
        while !answers.is_finished() {
            for connection in &mut reading {
                let seen = connection.ask("MGET a b").to_string();
                let (a, b) = seen.trim_matches(['[', ']']).split_once(' ').unwrap();
                assert_eq!(a, b);
            }
        }
    });
    assert_eq!(reading[0].ask("MGET a b c"), format!("[\"{rounds}\" \"{rounds}\" \"{rounds}\"]"));
}

#[test]
fn a_writer_that_is_killed_amid_a_run_leaves_its_riders_in_their_places() {
    let service = Service::start(&[("WORKERS", "2")]);
    let (mut counted, mut echoed) = (0, 0);
    for _ in 0..5 {
        let mut connection = service.connect();
        let calls: Vec<u8> =
            (0..2000).flat_map(|i| lines(&format!("INCR n / ECHO {i} / MULTI / INCR n / PING / EXEC"))).collect();
        let mut sending = connection.stream.try_clone().unwrap();
        std::thread::scope(|scope| {
            // A connection that closes takes no more.
            scope.spawn(move || sending.write_all(&calls));
            scope.spawn(|| service.replace("write"));
            let mut previous = None;
            for i in 0..2000 {
                let Ok(replies) = (0..6).map(|_| connection.try_read()).collect::<Result<Vec<_>, _>>() else { break };
                let replies: Vec<String> = replies.iter().map(ToString::to_string).collect();
                let number: i64 = replies[0].trim_start_matches(':').parse().unwrap();
                assert!(previous.is_none_or(|previous| number == previous + 1), "{replies:?} after {previous:?}");
                assert_eq!(replies[1..5], [format!("\"{i}\""), "+OK".into(), "+QUEUED".into(), "+QUEUED".into()]);
                assert_eq!(replies[5], format!("[:{} +\"PONG\"]", number + 1));
                previous = Some(number + 1);
                counted = number + 1;
                echoed += 1;
            }
        });
        let now: i64 = service.connect().ask("GET n").trim_matches('"').parse().unwrap();
        assert!(now >= counted, "{now} of {counted}");
        counted = now;
    }
    assert!(echoed > 0);
}
