//! Many clients wait for one list over four workers, while the writer and the workers are killed: each element reaches at most one of them, none is
//! lost unless its receiver's connection died, and who waits longer is served first.
//!
//! `WAITERS=1000 WAITERS_SECONDS=60 cargo test --test endurance waiters -- --nocapture` has so many of them, for so long.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::kills::kill_for;
use crate::support::{Connection, Service, number_from_environment, turn, wait_until};
use emptyserver::sys::clock;

const PATIENCE: Duration = Duration::from_secs(60);
/// Between two pushes; the waiters wait for about so long times their number.
const PUSH_EVERY: Duration = Duration::from_millis(6);
/// A call that was sent so long before two pushes that were acknowledged is known to wait then.
const KNOWN_AFTER: Duration = Duration::from_millis(500);
const POINTS: [&str; 6] =
    ["before-commit", "after-commit", "group-committed", "rows-inserted", "before-unmark", "amid-replies"];
const LAST: &str = "the last";

/// A call that was answered.
struct Received {
    element: u64,
    sent: Instant,
}

/// What one client has come to.
#[derive(Default)]
struct Waited {
    received: Vec<Received>,
    /// Calls whose connection died.
    lost: u64,
    /// Calls that were refused, since the writer had died twice when it ran them alone: they got nothing.
    refused: u64,
}

struct Pushed {
    acknowledged: BTreeSet<u64>,
    unknown: BTreeSet<u64>,
    /// When each that was acknowledged was sent, and was answered.
    times: Vec<(Instant, Instant)>,
}

fn wait_for_elements(address: SocketAddr, is_over: &AtomicBool) -> Waited {
    let mut waited = Waited::default();
    let mut connection = None;
    while !is_over.load(Ordering::SeqCst) {
        let Some(open) = connection.as_mut() else {
            connection = Connection::try_open(address).ok();
            continue;
        };
        let sent = clock::monotonic();
        match open.try_call(&["BLPOP", "list", "0"]) {
            Ok(reply) if reply.is_error() => waited.refused += 1,
            Ok(reply) => match reply.items() {
                [_, last] if last.text() == LAST => break,
                [_, element] => {
                    waited.received.push(Received { element: element.text().parse().unwrap(), sent });
                }
                _ => panic!("{reply}"),
            },
            Err(_) => {
                waited.lost += 1;
                connection = None;
            }
        }
    }
    waited
}

fn push(address: SocketAddr, is_over: &AtomicBool) -> Pushed {
    let mut pushed = Pushed { acknowledged: BTreeSet::new(), unknown: BTreeSet::new(), times: Vec::new() };
    let mut connection = None;
    let mut element = 0_u64;
    while !is_over.load(Ordering::SeqCst) {
        let Some(open) = connection.as_mut() else {
            connection = Connection::try_open(address).ok();
            continue;
        };
        element += 1;
        let sent = clock::monotonic();
        match open.try_call(&["RPUSH", "list", &element.to_string()]) {
            // The writer had died twice when it ran it alone: it is not applied.
            Ok(reply) if reply.is_error() => {
                pushed.unknown.insert(element);
            }
            Ok(_) => {
                pushed.acknowledged.insert(element);
                pushed.times.push((sent, clock::monotonic()));
            }
            Err(_) => {
                pushed.unknown.insert(element);
                connection = None;
            }
        }
        clock::pause(PUSH_EVERY);
    }
    pushed
}

/// Of two calls, one of which is known to have waited before the other was sent, that one got the earlier element.
fn check_order(waited: &[Waited], times: &[(Instant, Instant)]) -> u64 {
    let mut calls: Vec<&Received> = waited.iter().flat_map(|waited| &waited.received).collect();
    calls.sort_by_key(|call| call.element);
    // Whoever was sent before this one waits by then, and was known to.
    let known_before = |sent: Instant| {
        let acknowledged = times.partition_point(|(_, answered)| *answered <= sent);
        acknowledged.checked_sub(2).map(|second| times[second].0).and_then(|pushed| pushed.checked_sub(KNOWN_AFTER))
    };
    let mut compared = 0;
    let mut latest: Option<&Received> = None;
    // An element that is larger must not have gone to somebody who was known to wait when the receiver of a smaller one asked.
    for call in &calls {
        if let Some(other) = latest
            && let Some(known) = known_before(other.sent)
        {
            assert!(
                call.sent >= known,
                "{} went by the receiver of {}, who waited longer",
                other.element,
                call.element
            );
            compared += 1;
        }
        if latest.is_none_or(|latest| latest.sent < call.sent) {
            latest = Some(call);
        }
    }
    compared
}

#[test]
fn each_element_reaches_one_waiter_whoever_is_killed() {
    let _turn = turn();
    let count = number_from_environment("WAITERS", 150);
    let seconds = number_from_environment("WAITERS_SECONDS", 12);
    let service = Service::start(&[("WORKERS", "4"), ("DEBUG_COMMANDS", "yes")]);
    let address = service.address();
    let (are_pushed, are_over, lefts) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let waiters: Vec<JoinHandle<Waited>> = (0..count)
        .map(|_| {
            let (are_over, lefts) = (Arc::clone(&are_over), Arc::clone(&lefts));
            let body = move || {
                let waited = wait_for_elements(address, &are_over);
                lefts.fetch_add(1, Ordering::SeqCst);
                waited
            };
            thread::Builder::new().stack_size(256 << 10).spawn(body).unwrap()
        })
        .collect();
    let pusher = {
        let are_pushed = Arc::clone(&are_pushed);
        thread::spawn(move || push(address, &are_pushed))
    };
    let kills = kill_for(&service, seconds, &POINTS);
    are_pushed.store(true, Ordering::SeqCst);
    let pushed = pusher.join().unwrap();

    // Everybody is told to go, by an element that is no other's.
    let mut control = service.connect();
    wait_until("the end of all waiters", PATIENCE, || {
        let left = count - lefts.load(Ordering::SeqCst);
        // One that comes too late for this round comes in the next.
        if control.call(&["LLEN", "list"]).integer() == 0 && left > 0 {
            control.call(&vec!["RPUSH", "list", LAST][..]);
        }
        (left == 0).then_some(())
    });
    let waited: Vec<Waited> = waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect();
    assert!(control.call(&["LRANGE", "list", "0", "-1"]).items().iter().all(|left| left.text() == LAST));

    let mut receivers: BTreeMap<u64, u64> = BTreeMap::new();
    waited.iter().flat_map(|waited| &waited.received).for_each(|call| *receivers.entry(call.element).or_default() += 1);
    let twice: Vec<u64> = receivers.iter().filter(|(_, times)| **times > 1).map(|(element, _)| *element).collect();
    assert!(twice.is_empty(), "{twice:?} reached more than one");
    let is_known = |element: &u64| pushed.acknowledged.contains(element) || pushed.unknown.contains(element);
    assert!(receivers.keys().all(is_known), "somebody got what nobody has pushed");
    let lost = pushed.acknowledged.iter().filter(|element| !receivers.contains_key(*element)).count() as u64;
    let connections_lost: u64 = waited.iter().map(|waited| waited.lost).sum();
    let refused: u64 = waited.iter().map(|waited| waited.refused).sum();
    let compared = check_order(&waited, &pushed.times);
    println!(
        "{count} waiters, {kills} kills in {seconds} s: {} pushes acknowledged, {} unknown, {} received, {lost} lost with {connections_lost} \
         connections, {refused} calls refused, {compared} pairs in order",
        pushed.acknowledged.len(),
        pushed.unknown.len(),
        receivers.len(),
    );
    assert!(lost <= connections_lost, "{lost} are lost, and only {connections_lost} connections died");
    assert!(compared > 0, "nobody waited for long enough to say who came first");
}
