//! What is written and read: keys whose whole state follows from a version that only rises. So any reply, be it a length or a time,
//! tells which versions it can be of.

use std::sync::atomic::{AtomicU64, Ordering};

use super::hashes::{self, HashQuestion};
use crate::support::{Null, Value};

/// Seconds since 1970, far ahead: when a key expires shows its version, and none expires while it is looked at.
const EXPIRES_FROM_S: i64 = 4_000_000_000;
const EXPIRES_STEP_S: i64 = 1000;
/// Pieces of an appended string before it begins anew.
const PIECES: u64 = 16;
/// Databases of the objects that flush and swap.
const FLUSHED: u8 = 5;
const SWAPPED: u8 = 6;
/// Changes each of its keys twice.
const SCRIPT: &str = "redis.call('DEL', KEYS[1]) redis.call('SET', KEYS[1], ARGV[1]) redis.call('INCRBY', KEYS[2], 2) return redis.call('DECR', KEYS[2])";
/// Versions up to which a reply is looked for when it fits none that it may be of.
const OLDER_MAX: u64 = 60;

pub(crate) type Request = Vec<String>;

/// How an object changes from version to version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Set,
    Incr,
    Append,
    /// DEL, and SET again.
    Delete,
    /// EXPIREAT and PERSIST.
    Expire,
    /// One value that goes to and fro between two names.
    Rename,
    /// Three keys of one MSET.
    Mset,
    /// Two keys of one EXEC, which changes each of them twice.
    Exec,
    /// The same by one script.
    Script,
    /// Fields of a hash.
    Hash,
    /// FLUSHDB and SWAPDB.
    Flush,
}

const FAMILIES: [Family; 11] = [
    Family::Set,
    Family::Incr,
    Family::Append,
    Family::Delete,
    Family::Expire,
    Family::Rename,
    Family::Mset,
    Family::Exec,
    Family::Script,
    Family::Hash,
    Family::Flush,
];

pub(crate) struct Object {
    pub(crate) family: Family,
    pub(crate) keys: Vec<(u8, String)>,
    /// The version that was sent last; may have happened.
    pub(crate) sent: AtomicU64,
    pub(crate) acknowledged: AtomicU64,
    /// The highest that any client has seen.
    pub(crate) seen: AtomicU64,
}

/// A key as it is at some version.
#[derive(Clone, Debug)]
struct Held {
    value: String,
    expires_at_s: Option<i64>,
}

/// What a reader asks; the number is that of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Get(usize),
    Strlen(usize),
    Head(usize),
    Tail(usize),
    Exists(usize),
    Type(usize),
    Ttl(usize),
    ExpireTime(usize),
    /// All keys at one instant.
    Mget,
    CountAll,
    OfHash(HashQuestion),
    /// GET (of a hash HGETALL) within an EXEC, which no cache answers: what is there in truth.
    Peek(usize),
}

/// What a reply says of an object.
pub(crate) enum Verdict {
    /// It is at least of this version.
    Fresh(u64),
    /// So many writes went on meanwhile that nothing follows.
    Unknown,
    Wrong(Fault),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Older than an acknowledged write.
    Stale,
    /// Older than what a client had seen.
    NewThenOld,
    /// What was there at no version: a part of it is old.
    Torn,
}

/// What a reader knew before it asked, and after it was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) acknowledged: u64,
    pub(crate) seen: u64,
    pub(crate) sent: u64,
    pub(crate) asked_at_s: i64,
    pub(crate) answered_at_s: i64,
}

/// So many of each family; those that empty the caches of all are few.
pub(crate) fn objects(of_each: usize) -> Vec<Object> {
    let count = |family| if family == Family::Flush { 1 } else { of_each };
    FAMILIES.iter().flat_map(|family| (0..count(*family)).map(|number| Object::new(*family, number))).collect()
}

impl Object {
    fn new(family: Family, number: usize) -> Object {
        let name = |part: &str| format!("{family:?}:{number}{part}");
        let keys = match family {
            Family::Rename | Family::Exec | Family::Script => vec![(0, name(":a")), (0, name(":b"))],
            Family::Mset => vec![(0, name(":a")), (0, name(":b")), (0, name(":c"))],
            Family::Flush => vec![(FLUSHED, name("")), (SWAPPED, name(""))],
            _ => vec![(0, name(""))],
        };
        Object { family, keys, sent: AtomicU64::new(0), acknowledged: AtomicU64::new(0), seen: AtomicU64::new(0) }
    }

    fn state(&self, version: u64, key: usize) -> Option<Held> {
        let plain = |version| Some(Held { value: value(version), expires_at_s: None });
        match (self.family, key) {
            _ if version == 0 => None,
            (Family::Incr, _) | (Family::Exec | Family::Script, 1) => {
                Some(Held { value: version.to_string(), expires_at_s: None })
            }
            (Family::Append, _) => {
                let value = (version - version % PIECES..=version).map(piece).collect();
                Some(Held { value, expires_at_s: None })
            }
            (Family::Delete, _) if version % 4 == 3 => None,
            (Family::Hash, _) => {
                let is_there = !hashes::fields(version).is_empty();
                is_there.then(|| Held { value: String::new(), expires_at_s: None })
            }
            (Family::Expire, _) => {
                let at = EXPIRES_FROM_S + EXPIRES_STEP_S * version as i64;
                Some(Held { value: "constant".to_owned(), expires_at_s: (version % 8 != 7).then_some(at) })
            }
            (Family::Rename, key) => match (version % 4, key) {
                (0, 0) | (2, 1) => plain(version),
                (1, 1) | (3, 0) => plain(version - 1),
                _ => None,
            },
            (Family::Flush, key) => match (version % 5, key) {
                (0 | 2, 0) => plain(version),
                (1..=3, 1) => plain(version - version % 5),
                _ => None,
            },
            _ => plain(version),
        }
    }

    /// What brings it from `version` to a higher one, and that.
    pub(crate) fn step(&self, version: u64) -> (Vec<Request>, u64) {
        let next = version + 1;
        let key = self.keys[0].1.as_str();
        let set = |key: &str| vec!["SET".to_owned(), key.to_owned(), value(next)];
        let one = |request: &[&str]| vec![request.iter().map(|word| (*word).to_owned()).collect::<Request>()];
        let requests = match (self.family, next % 4) {
            (Family::Set, _) | (Family::Delete, 1 | 2) => vec![set(key)],
            (Family::Incr, _) => one(&["INCR", key]),
            (Family::Hash, _) => vec![hashes::step(key, next)],
            (Family::Append, _) if next.is_multiple_of(PIECES) => one(&["SET", key, &piece(next)]),
            (Family::Append, _) => one(&["APPEND", key, &piece(next)]),
            (Family::Delete, 3) if next % 8 == 7 => one(&["DEL", key]),
            (Family::Delete, 3) => {
                return (vec![one(&["DEL", key]).remove(0), one(&["SET", key, &value(next + 1)]).remove(0)], next + 1);
            }
            (Family::Delete, _) => vec![set(key)],
            (Family::Expire, _) if next % 8 == 7 => one(&["PERSIST", key]),
            (Family::Expire, _) => {
                one(&["EXPIREAT", key, &(EXPIRES_FROM_S + EXPIRES_STEP_S * next as i64).to_string()])
            }
            (Family::Rename, 0) => vec![set(key)],
            (Family::Rename, 1) => one(&["RENAME", key, &self.keys[1].1]),
            (Family::Rename, 2) => vec![set(&self.keys[1].1)],
            (Family::Rename, _) => one(&["RENAME", &self.keys[1].1, key]),
            (Family::Mset, _) => {
                let pairs = self.keys.iter().flat_map(|(_, key)| [key.clone(), value(next)]);
                vec![std::iter::once("MSET".to_owned()).chain(pairs).collect()]
            }
            (Family::Exec, _) => {
                let count = self.keys[1].1.as_str();
                let rest = [one(&["INCRBY", count, "2"]), one(&["DECR", count]), one(&["EXEC"])].concat();
                [one(&["MULTI"]), one(&["DEL", key]), vec![set(key)], rest].concat()
            }
            (Family::Script, _) => one(&["EVAL", SCRIPT, "2", key, &self.keys[1].1, &value(next)]),
            (Family::Flush, _) => {
                let change = match next % 5 {
                    0 | 2 => [one(&["SELECT", "5"]), vec![set(key)]].concat(),
                    1 => one(&["SWAPDB", "5", "6"]),
                    3 => [one(&["SELECT", "5"]), one(&["FLUSHDB"])].concat(),
                    _ => [one(&["SELECT", "6"]), one(&["FLUSHDB"])].concat(),
                };
                [change, one(&["SELECT", "0"])].concat()
            }
        };
        (requests, next)
    }

    /// True when the next step is FLUSHDB or SWAPDB.
    pub(crate) fn next_changes_everything(&self) -> bool {
        let next = self.sent.load(Ordering::SeqCst) + 1;
        self.family == Family::Flush && next > 1 && !matches!(next % 5, 0 | 2)
    }

    /// What makes it be of this version, whatever it was before.
    pub(crate) fn establish(&self, version: u64) -> Vec<Request> {
        let mut requests = vec![vec!["MULTI".to_owned()]];
        for (number, (database, key)) in self.keys.iter().enumerate() {
            requests.push(vec!["SELECT".to_owned(), database.to_string()]);
            if self.family == Family::Hash {
                requests.push(vec!["DEL".to_owned(), key.clone()]);
            }
            requests.push(match self.state(version, number) {
                None => vec!["DEL".to_owned(), key.clone()],
                Some(_) if self.family == Family::Hash => hashes::set(key, version),
                Some(Held { value, expires_at_s: None }) => vec!["SET".to_owned(), key.clone(), value],
                Some(Held { value, expires_at_s: Some(at) }) => {
                    vec!["SET".to_owned(), key.clone(), value, "EXAT".to_owned(), at.to_string()]
                }
            });
        }
        requests.push(vec!["SELECT".to_owned(), "0".to_owned()]);
        requests.push(vec!["EXEC".to_owned()]);
        requests
    }

    /// The reply to the last request of a step, where it tells whether all steps before happened exactly once.
    pub(crate) fn is_expected(&self, version: u64, reply: &Value) -> bool {
        match self.family {
            Family::Incr | Family::Script => *reply == Value::Integer(version as i64),
            Family::Append if !version.is_multiple_of(PIECES) => {
                *reply == Value::Integer(self.state(version, 0).map_or(0, |held| held.value.len() as i64))
            }
            _ => !reply.is_error(),
        }
    }

    /// The requests of a question; the reply that counts is that of the one with this number.
    pub(crate) fn ask(&self, question: Question) -> (Vec<Request>, usize) {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Request>();
        let key = |number: usize| self.keys[number].1.as_str();
        let all = |command: &str| {
            std::iter::once(command.to_owned()).chain(self.keys.iter().map(|(_, key)| key.clone())).collect()
        };
        let (request, number) = match question {
            Question::OfHash(question) => (hashes::ask(key(0), question), 0),
            Question::Peek(_) if self.family == Family::Hash => (hashes::ask(key(0), HashQuestion::All), 0),
            Question::Get(number) | Question::Peek(number) => (words(&["GET", key(number)]), number),
            Question::Strlen(number) => (words(&["STRLEN", key(number)]), number),
            Question::Head(number) => (words(&["GETRANGE", key(number), "0", "11"]), number),
            Question::Tail(number) => (words(&["GETRANGE", key(number), "-13", "-1"]), number),
            Question::Exists(number) => (words(&["EXISTS", key(number)]), number),
            Question::Type(number) => (words(&["TYPE", key(number)]), number),
            Question::Ttl(number) => (words(&["TTL", key(number)]), number),
            Question::ExpireTime(number) => (words(&["EXPIRETIME", key(number)]), number),
            Question::Mget => (all("MGET"), 0),
            Question::CountAll => (all("EXISTS"), 0),
        };
        let mut requests = vec![request];
        let mut counts = 0;
        if matches!(question, Question::Peek(_)) {
            requests = vec![words(&["MULTI"]), requests.remove(0), words(&["EXEC"])];
            counts = 2;
        }
        let database = self.keys[number].0;
        if database != 0 {
            requests.insert(0, words(&["SELECT", &database.to_string()]));
            requests.push(words(&["SELECT", "0"]));
            counts += 1;
        }
        (requests, counts)
    }

    pub(crate) fn has_one_database(&self) -> bool {
        self.family != Family::Flush
    }

    /// Before a read is sent; `close` completes it when the reply has come.
    pub(crate) fn open_window(&self, now_s: i64) -> Window {
        let acknowledged = self.acknowledged.load(Ordering::SeqCst);
        let seen = self.seen.load(Ordering::SeqCst);
        Window { acknowledged, seen, sent: 0, asked_at_s: now_s, answered_at_s: 0 }
    }

    pub(crate) fn judge(&self, question: Question, reply: &Value, window: &Window) -> Verdict {
        let floor = window.acknowledged.max(window.seen);
        if window.sent.saturating_sub(floor) > 200 {
            return Verdict::Unknown;
        }
        let fits = |version: &u64| self.fits(*version, question, reply, window);
        if let Some(version) = (floor..=window.sent).find(fits) {
            return Verdict::Fresh(version);
        }
        let older = (floor.saturating_sub(OLDER_MAX)..floor).rev().find(fits);
        Verdict::Wrong(match older {
            None => Fault::Torn,
            Some(older) if older < window.acknowledged => Fault::Stale,
            Some(_) => Fault::NewThenOld,
        })
    }

    fn fits(&self, version: u64, question: Question, reply: &Value, window: &Window) -> bool {
        let state = |key| self.state(version, key);
        let bulk = |key| state(key).map_or(Value::Null(Null::Bulk), |held| Value::Bulk(held.value.into_bytes()));
        let value = |key| state(key).map_or(String::new(), |held| held.value);
        let text = |text: &str| Value::Bulk(text.as_bytes().to_vec());
        let keys = 0..self.keys.len();
        match question {
            Question::Get(key) => *reply == bulk(key),
            Question::OfHash(question) => hashes::fits(version, question, reply),
            Question::Peek(_) if self.family == Family::Hash => match reply {
                Value::Array(replies) if replies.len() == 1 => hashes::fits(version, HashQuestion::All, &replies[0]),
                _ => false,
            },
            Question::Peek(key) => *reply == Value::Array(vec![bulk(key)]),
            Question::Strlen(key) => *reply == Value::Integer(value(key).len() as i64),
            Question::Head(key) => *reply == text(&value(key)[..value(key).len().min(12)]),
            Question::Tail(key) => *reply == text(&value(key)[value(key).len().saturating_sub(13)..]),
            Question::Exists(key) => *reply == Value::Integer(i64::from(state(key).is_some())),
            Question::Type(key) => {
                let kind = if self.family == Family::Hash { "hash" } else { "string" };
                *reply == Value::Simple(if state(key).is_some() { kind.into() } else { b"none".to_vec() })
            }
            Question::Mget => *reply == Value::Array(keys.map(bulk).collect()),
            Question::CountAll => *reply == Value::Integer(keys.filter(|key| state(*key).is_some()).count() as i64),
            Question::ExpireTime(key) => *reply == Value::Integer(expiry(state(key))),
            Question::Ttl(key) => match (expiry(state(key)), reply) {
                (at, Value::Integer(left)) if at >= 0 => {
                    // The time is rounded, and the service's clock may be ahead of ours by the second that it holds.
                    (at - window.answered_at_s - 3..=at - window.asked_at_s + 3).contains(left)
                }
                (none, left) => *left == Value::Integer(none),
            },
        }
    }
}

fn expiry(state: Option<Held>) -> i64 {
    state.map_or(-2, |held| held.expires_at_s.unwrap_or(-1))
}

/// The version at the front, and a length that is its own for a while.
fn value(version: u64) -> String {
    format!("{version:012}{}", "x".repeat((version % 101) as usize))
}

fn piece(version: u64) -> String {
    format!("{version:012};")
}
