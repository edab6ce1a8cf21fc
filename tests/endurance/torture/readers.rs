//! Readers: batches of questions on connections of several workers, each reply held against what was known before it was asked.

use std::sync::atomic::Ordering;
use std::time::Duration;

use emptyserver::sys::clock;

use super::arena::{Arena, Dice, Finding, NONE};
use super::hashes::QUESTIONS;
use super::objects::{Family, Object, Question, Verdict, Window};
use crate::support::{Connection, Null, Value, encoded};

/// Of a reader, so that it speaks to several workers.
const CONNECTIONS: usize = 4;
/// Sizes of batches, at most.
const BATCHES: [usize; 4] = [1, 4, 8, 40];
/// Keys that never change, many more than a cache has room for.
pub(crate) const BALLAST_KEYS: usize = 4000;

pub(crate) fn ballast(number: usize) -> (String, String) {
    (format!("ballast:{number}"), format!("{number}{}", "b".repeat(number % 300)))
}

/// What a batch has asked, in the order of the replies.
enum Asked {
    /// A reply that says nothing.
    Nothing,
    Object(usize, Question, Window),
    /// One of the keys that never change.
    Ballast(usize),
    Missing,
}

pub(crate) fn read(arena: &Arena, seed: u64) {
    let mut dice = Dice::new(seed);
    let Some(mut connections) = (0..CONNECTIONS).map(|_| arena.connect()).collect::<Option<Vec<Connection>>>() else {
        return;
    };
    while !arena.is_over() {
        if arena.is_quiet.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_micros(200));
            continue;
        }
        let (bytes, asked) = batch(arena, &mut dice);
        let connection = &mut connections[dice.roll(CONNECTIONS)];
        if exchange(arena, connection, &bytes, asked).is_err() {
            // Its worker has died.
            match arena.connect() {
                Some(fresh) => *connection = fresh,
                None => return,
            }
        }
    }
}

fn batch(arena: &Arena, dice: &mut Dice) -> (Vec<u8>, Vec<Asked>) {
    // What follows a miss in a pipeline goes the same way: the shorter, the more is answered from the cache.
    let size_max = BATCHES[dice.roll(BATCHES.len())];
    let size = 1 + dice.roll(size_max);
    let now_s = clock::wall_ms() / 1000;
    let hot = arena.hot.load(Ordering::SeqCst);
    let (mut bytes, mut asked) = (Vec::new(), Vec::new());
    for _ in 0..size {
        if hot == NONE && dice.is_one_of(4) {
            // A few are asked for often, most seldom.
            let number = if dice.is_one_of(2) { dice.roll(BALLAST_KEYS) } else { dice.roll(64) };
            let is_missing = dice.is_one_of(8);
            let key = if is_missing { format!("missing:{}", number % 256) } else { ballast(number).0 };
            bytes.extend(encoded(&["GET", &key]));
            asked.push(if is_missing { Asked::Missing } else { Asked::Ballast(number) });
            continue;
        }
        let is_hot = hot != NONE && dice.roll(8) < 7;
        let number = if is_hot { hot } else { dice.roll(arena.objects.len()) };
        let object = &arena.objects[number];
        let question = question(dice, object, is_hot);
        let (requests, counts) = object.ask(question);
        for (at, request) in requests.iter().enumerate() {
            bytes.extend(encoded(request));
            let is_it = at == counts;
            asked.push(if is_it { Asked::Object(number, question, object.open_window(now_s)) } else { Asked::Nothing });
        }
    }
    (bytes, asked)
}

fn question(dice: &mut Dice, object: &Object, is_hot: bool) -> Question {
    let (key, has_one_database) = (dice.roll(object.keys.len()), object.has_one_database());
    if dice.is_one_of(if is_hot { 4 } else { 24 }) {
        return Question::Peek(key);
    }
    if object.family == Family::Hash && !dice.is_one_of(6) {
        return Question::OfHash(QUESTIONS[dice.roll(QUESTIONS.len())]);
    }
    let is_string = object.family != Family::Hash;
    match dice.roll(12) {
        0 if is_string => Question::Strlen(key),
        1 if is_string => Question::Head(key),
        2 if is_string => Question::Tail(key),
        3 => Question::Exists(key),
        4 => Question::Type(key),
        5 => Question::Ttl(key),
        6 => Question::ExpireTime(key),
        7 | 8 if has_one_database && is_string => Question::Mget,
        9 if has_one_database => Question::CountAll,
        _ if is_string => Question::Get(key),
        _ => Question::Exists(key),
    }
}

fn exchange(arena: &Arena, connection: &mut Connection, bytes: &[u8], asked: Vec<Asked>) -> std::io::Result<()> {
    connection.try_send_bytes(bytes)?;
    // What this connection was told earlier in the batch is known before the rest of it is answered.
    let mut told: Vec<(usize, u64)> = Vec::new();
    for asked in asked {
        let reply = connection.try_read()?;
        match asked {
            Asked::Nothing => continue,
            Asked::Missing => assert_eq!(reply, Value::Null(Null::Bulk), "nobody has written that"),
            Asked::Ballast(number) => {
                assert_eq!(reply, Value::Bulk(ballast(number).1.into_bytes()), "this never changes");
            }
            Asked::Object(number, question, window) => {
                hold_against(arena, number, question, &reply, window, &mut told);
            }
        }
        arena.reads.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn hold_against(
    arena: &Arena,
    number: usize,
    question: Question,
    reply: &Value,
    mut window: Window,
    told: &mut Vec<(usize, u64)>,
) {
    let object = &arena.objects[number];
    window.sent = object.sent.load(Ordering::SeqCst);
    window.answered_at_s = clock::wall_ms() / 1000;
    let before = told.iter().filter(|(known, _)| *known == number).map(|(_, version)| *version).max();
    window.seen = window.seen.max(before.unwrap_or(0));
    if matches!(question, Question::Peek(_)) {
        arena.peeks.fetch_add(1, Ordering::Relaxed);
    }
    match object.judge(question, reply, &window) {
        Verdict::Fresh(version) => {
            object.seen.fetch_max(version, Ordering::SeqCst);
            told.push((number, version));
        }
        Verdict::Unknown => {
            arena.unjudged.fetch_add(1, Ordering::Relaxed);
        }
        Verdict::Wrong(fault) => {
            let what = format!("{:?} {:?} {question:?} {reply} {window:?}", object.family, object.keys);
            arena.report(Finding::Read(fault), &what);
        }
    }
}
