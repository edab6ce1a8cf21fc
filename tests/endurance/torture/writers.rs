//! Writers: each object is changed by one thread, which alone knows what comes next; and clients that count one key up together.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::arena::{Arena, Dice, Finding, NONE};
use super::objects::{Family, Object, Request};
use crate::support::{Connection, Value, encoded};

/// Readers look at an object for so long before the writer process dies at its next step, and after.
const HOT_BEFORE: Duration = Duration::from_millis(12);
const HOT_AFTER: Duration = Duration::from_millis(60);
/// Until what the readers have asked is answered.
const QUIET_BEFORE: Duration = Duration::from_millis(6);
/// Steps of an object that empties all caches are so far apart: one of so many.
const SELDOM: usize = 60;

/// Changes the objects whose number leaves `part` when divided by `parts`.
pub(crate) fn write(arena: &Arena, part: usize, parts: usize, seed: u64) {
    let mut dice = Dice::new(seed);
    let own: Vec<usize> = (0..arena.objects.len()).filter(|number| number % parts == part).collect();
    let Some(mut connection) = arena.connect() else { return };
    while !arena.is_over() {
        if let Some((number, point)) = take_order(arena, &own) {
            die_at(arena, &mut connection, &mut dice, number, point);
            continue;
        }
        let object = &arena.objects[own[dice.roll(own.len())]];
        if object.family == Family::Flush && !dice.is_one_of(SELDOM) {
            continue;
        }
        let gate = arena.gate.read().unwrap();
        step(arena, &mut connection, object);
        drop(gate);
        // A value that changes all the time is never answered from a cache.
        thread::park_timeout(Duration::from_micros(dice.roll(5000) as u64));
    }
}

fn take_order(arena: &Arena, own: &[usize]) -> Option<(usize, &'static str)> {
    arena.order.lock().unwrap().take_if(|(number, _)| own.contains(number))
}

/// One step of this object alone, at which the writer process dies.
fn die_at(arena: &Arena, connection: &mut Connection, dice: &mut Dice, number: usize, point: &str) {
    let gate = arena.gate.write().unwrap();
    let object = &arena.objects[number];
    if object.family == Family::Flush && !object.next_changes_everything() {
        step(arena, connection, object);
    }
    arena.hot.store(number, Ordering::SeqCst);
    thread::park_timeout(HOT_BEFORE);
    let is_quiet = dice.is_one_of(2);
    if is_quiet {
        arena.is_quiet.store(true, Ordering::SeqCst);
        thread::park_timeout(QUIET_BEFORE);
    }
    let armed = connection.try_call(&["DEBUG", "KILL-WRITER", point]);
    let is_armed = armed.is_ok_and(|reply| reply.to_string() == "+OK");
    step(arena, connection, object);
    arena.is_quiet.store(false, Ordering::SeqCst);
    drop(gate);
    arena.kills_at_points.fetch_add(u64::from(is_armed), Ordering::Relaxed);
    thread::park_timeout(HOT_AFTER);
    arena.hot.store(NONE, Ordering::SeqCst);
}

/// Brings an object to its next version, whatever dies meanwhile.
fn step(arena: &Arena, connection: &mut Connection, object: &Object) {
    let version = object.sent.load(Ordering::SeqCst);
    let (requests, next) = if version == 0 { (object.establish(1), 1) } else { object.step(version) };
    object.sent.store(next, Ordering::SeqCst);
    let sent = exchange(connection, &requests);
    if let Ok(replies) = sent {
        let last = replies.last().expect("a step has requests");
        assert!(version == 0 || object.is_expected(next, last), "{:?} at {next}: {last}", object.family);
        assert!(!replies.iter().any(Value::is_error), "{:?} at {next}: {replies:?}", object.family);
        return acknowledge(arena, object, next);
    }
    // It happened or not.
    arena.unknown_writes.fetch_add(1, Ordering::Relaxed);
    if arena.is_quiet.load(Ordering::SeqCst) {
        look_again(arena, connection);
    }
    // This settles it.
    let mut version = next;
    while let Some(fresh) = arena.connect() {
        *connection = fresh;
        version += 1;
        object.sent.store(version, Ordering::SeqCst);
        if let Ok(replies) = exchange(connection, &object.establish(version)) {
            assert!(!replies.iter().any(Value::is_error), "{:?} at {version}: {replies:?}", object.family);
            return acknowledge(arena, object, version);
        }
    }
}

/// The readers look at the object again once there is another writer process, and before anything is changed.
fn look_again(arena: &Arena, connection: &mut Connection) {
    while let Some(fresh) = arena.connect() {
        *connection = fresh;
        if connection.try_call(&["SET", "settled", "1"]).is_ok() {
            arena.is_quiet.store(false, Ordering::SeqCst);
            thread::park_timeout(HOT_AFTER);
            return;
        }
    }
}

fn acknowledge(arena: &Arena, object: &Object, version: u64) {
    object.acknowledged.store(version, Ordering::SeqCst);
    arena.writes.fetch_add(1, Ordering::Relaxed);
}

fn exchange(connection: &mut Connection, requests: &[Request]) -> std::io::Result<Vec<Value>> {
    let bytes: Vec<u8> = requests.iter().flat_map(|request| encoded(request)).collect();
    connection.try_send_bytes(&bytes)?;
    requests.iter().map(|_| connection.try_read()).collect()
}

/// Clients that count one key up together, by WATCH and EXEC: all of them watch, all of them read, all of them try, and one may
/// succeed. Says how high the key must be.
pub(crate) fn contend(arena: &Arena, clients: u64) -> u64 {
    let Some(mut connections) = (0..clients).map(|_| arena.connect()).collect::<Option<Vec<Connection>>>() else {
        return 0;
    };
    let mut claims: HashMap<u64, usize> = HashMap::new();
    while !arena.is_over() && clients > 0 {
        let gate = arena.gate.read().unwrap();
        let look = [request(&["WATCH", "count"]), request(&["GET", "count"])];
        let looked = all(&mut connections, |_| look.to_vec());
        let tries: Vec<Option<u64>> = looked
            .iter()
            .map(|replies| replies.as_ref().ok().map(|replies| replies[1].text().parse().unwrap_or(0) + 1))
            .collect();
        let outcomes = all(&mut connections, |client| {
            let Some(number) = tries[client] else { return Vec::new() };
            let number = number.to_string();
            let set = ["SET", "count", &number];
            let mark = ["SET", &format!("mark:{client}"), &number];
            [&["MULTI"][..], &set, &mark, &["EXEC"]].iter().map(|words| request(words)).collect()
        });
        drop(gate);
        for (client, (number, outcome)) in tries.into_iter().zip(outcomes).enumerate() {
            let was_executed = match (&outcome, number) {
                (Ok(replies), Some(_)) => matches!(replies.last(), Some(Value::Array(_))),
                (Err(_), Some(number)) => settle(arena, &mut connections[client], client) == number,
                (_, None) => {
                    connections[client] = arena.connect_to_settle();
                    continue;
                }
            };
            let counter = if was_executed { &arena.execs } else { &arena.refused_execs };
            counter.fetch_add(1, Ordering::Relaxed);
            if let (true, Some(number)) = (was_executed, number)
                && let Some(other) = claims.insert(number, client)
            {
                arena.report(Finding::LostExclusion, &format!("clients {other} and {client} made it {number}"));
            }
        }
    }
    claims.len() as u64
}

/// Sends to all of them, then reads what each is told.
fn all(connections: &mut [Connection], requests: impl Fn(usize) -> Vec<Request>) -> Vec<std::io::Result<Vec<Value>>> {
    let sent: Vec<std::io::Result<usize>> = connections
        .iter_mut()
        .enumerate()
        .map(|(client, connection)| {
            let requests = requests(client);
            let bytes: Vec<u8> = requests.iter().flat_map(|request| encoded(request)).collect();
            connection.try_send_bytes(&bytes).map(|()| requests.len())
        })
        .collect();
    connections
        .iter_mut()
        .zip(sent)
        .map(|(connection, count)| (0..count?).map(|_| connection.try_read()).collect())
        .collect()
}

/// After a reply that got lost: the number of the client's last transaction that was executed, as the writer has it after all
/// that was sent before.
fn settle(arena: &Arena, connection: &mut Connection, client: usize) -> u64 {
    loop {
        *connection = arena.connect_to_settle();
        let mark = format!("mark:{client}");
        let requests = [&["MULTI"][..], &["SET", "settled", "1"], &["GET", &mark], &["EXEC"]].map(request);
        if let Ok(replies) = exchange(connection, &requests) {
            let executed = replies.last().expect("EXEC was answered").items().to_vec();
            return executed[1].text().parse().unwrap_or(0);
        }
    }
}

fn request(words: &[&str]) -> Request {
    words.iter().map(|word| (*word).to_owned()).collect()
}
