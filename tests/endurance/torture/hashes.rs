//! Hashes whose whole state follows from a version. A small one grows out of its key's row and goes with its last field, again and again.

use super::objects::Request;
use crate::support::{Null, Value};

/// What a reader asks of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HashQuestion {
    Field(&'static str),
    Length(&'static str),
    Has(&'static str),
    /// Two fields at one instant.
    Two,
    All,
    Names,
    Values,
    Count,
}

pub(crate) const QUESTIONS: [HashQuestion; 11] = [
    HashQuestion::Field("text"),
    HashQuestion::Field("number"),
    HashQuestion::Field("long"),
    HashQuestion::Length("text"),
    HashQuestion::Has("long"),
    HashQuestion::Two,
    HashQuestion::Two,
    HashQuestion::All,
    HashQuestion::Names,
    HashQuestion::Values,
    HashQuestion::Count,
];

/// Versions from one end of a hash to the next.
const PERIOD: u64 = 8;
/// More than lies in a key's row.
const LONG_BYTES: usize = 1500;

/// Fields and values, by name; none: there is no such key.
pub(crate) fn fields(version: u64) -> Vec<(&'static str, String)> {
    let text = |version: u64| format!("{version:012}{}", "t".repeat((version % 37) as usize));
    let number = ("number", version.to_string());
    match version % PERIOD {
        _ if version == 0 => Vec::new(),
        7 => Vec::new(),
        // The number alone was counted up.
        3 => vec![number, ("text", text(version - 1))],
        4.. => vec![("long", format!("{version:012}{}", "l".repeat(LONG_BYTES))), number, ("text", text(version))],
        _ => vec![number, ("text", text(version))],
    }
}

/// What brings it from the version before to this one.
pub(crate) fn step(key: &str, version: u64) -> Request {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    match version % PERIOD {
        7 if version % (2 * PERIOD) == 7 => words(&["DEL", key]),
        7 => words(&["HDEL", key, "number", "text", "long"]),
        3 => words(&["HINCRBY", key, "number", "1"]),
        _ => set(key, version),
    }
}

/// HSET of all its fields.
pub(crate) fn set(key: &str, version: u64) -> Request {
    let pairs = fields(version).into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
    ["HSET", key].map(str::to_owned).into_iter().chain(pairs).collect()
}

pub(crate) fn ask(key: &str, question: HashQuestion) -> Request {
    let words: &[&str] = match question {
        HashQuestion::Field(name) => &["HGET", key, name],
        HashQuestion::Length(name) => &["HSTRLEN", key, name],
        HashQuestion::Has(name) => &["HEXISTS", key, name],
        HashQuestion::Two => &["HMGET", key, "number", "text"],
        HashQuestion::All => &["HGETALL", key],
        HashQuestion::Names => &["HKEYS", key],
        HashQuestion::Values => &["HVALS", key],
        HashQuestion::Count => &["HLEN", key],
    };
    words.iter().map(|word| (*word).to_owned()).collect()
}

pub(crate) fn fits(version: u64, question: HashQuestion, reply: &Value) -> bool {
    let fields = fields(version);
    let bulk = |text: &str| Value::Bulk(text.as_bytes().to_vec());
    let value = |wanted: &str| fields.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str());
    let bulk_of = |name: &str| value(name).map_or(Value::Null(Null::Bulk), bulk);
    let integer = |number: usize| Value::Integer(number as i64);
    // Fields come in any order.
    let is_all = |expected: Vec<Value>| reply.sorted() == Value::Array(expected).sorted();
    match question {
        HashQuestion::Field(name) => *reply == bulk_of(name),
        HashQuestion::Length(name) => *reply == integer(value(name).map_or(0, str::len)),
        HashQuestion::Has(name) => *reply == integer(usize::from(value(name).is_some())),
        HashQuestion::Two => *reply == Value::Array(vec![bulk_of("number"), bulk_of("text")]),
        HashQuestion::All => {
            let in_pairs = |items: &[Value]| {
                let mut pairs: Vec<(String, String)> =
                    items.chunks_exact(2).map(|pair| (pair[0].text(), pair[1].text())).collect();
                pairs.sort_unstable();
                pairs
            };
            let expected: Vec<Value> = fields.iter().flat_map(|(name, value)| [bulk(name), bulk(value)]).collect();
            let Value::Array(items) = reply else { return false };
            items.len() == expected.len() && in_pairs(items) == in_pairs(&expected)
        }
        HashQuestion::Names => is_all(fields.iter().map(|(name, _)| bulk(name)).collect()),
        HashQuestion::Values => is_all(fields.iter().map(|(_, value)| bulk(value)).collect()),
        HashQuestion::Count => *reply == integer(fields.len()),
    }
}
