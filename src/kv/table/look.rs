//! Reads that follow from one look at each of their keys. A loop answers them from its cache, a lane from the keys' rows: the same
//! function either way, so that the two can't disagree.

use std::ops::Range;

use crate::kv::errors::{self, CommandError};
use crate::resp::{ReplyWriter, Written};
use crate::storage::{Entry, Kind};

/// How a command follows from its arguments and its keys.
#[derive(Clone, Copy)]
pub struct Look {
    pub shape: Shape,
    pub answer: LookHandler,
}

/// Which arguments are keys, and what the answers for them become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The first argument is the key, its answer the reply.
    One,
    /// All arguments are keys; the reply is an array of their answers.
    Array,
    /// All arguments are keys; the reply is the sum of their answers, which are integers.
    Sum,
}

/// The answer for one key: `None` where there is none. `now_ms` is the time of the look.
pub type LookHandler = fn(args: &[&[u8]], key: Option<&Entry>, now_ms: i64) -> LookResult;
pub type LookResult = Result<Told, CommandError>;

/// What the reply says of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Integer(i64),
    Simple(&'static str),
    Null,
    /// These bytes of its string, which are there.
    Part(Range<u64>),
}

/// Keys of one call that are kept in mind; the answer to a call with more is not.
const KEYS_MAX: usize = 64;
/// A longer key is not kept in mind.
pub const KEY_BYTES_MAX: usize = 1024;

impl Look {
    #[must_use]
    pub fn keys<'a, 'b>(&self, args: &'a [&'b [u8]]) -> &'a [&'b [u8]] {
        if self.shape == Shape::One { &args[1..2] } else { &args[1..] }
    }

    /// The keys of a call whose answer may be kept in mind.
    #[must_use]
    pub fn keys_to_keep<'a, 'b>(&self, args: &'a [&'b [u8]]) -> Option<&'a [&'b [u8]]> {
        let keys = self.keys(args);
        (keys.len() <= KEYS_MAX && keys.iter().all(|key| key.len() <= KEY_BYTES_MAX)).then_some(keys)
    }
}

/// The key, which holds a string if it is there.
pub fn string(key: Option<&Entry>) -> Result<Option<&Entry>, CommandError> {
    match key {
        Some(key) if key.kind != Kind::String => Err(errors::WRONG_TYPE.into()),
        key => Ok(key),
    }
}

impl Told {
    /// `bytes` are those of a `Part`.
    pub fn write(&self, bytes: &[u8], reply: &mut ReplyWriter<'_>) -> Written {
        match self {
            Told::Integer(value) => reply.integer(*value),
            Told::Simple(text) => reply.simple(text),
            Told::Null => reply.null(),
            Told::Part(_) => reply.bulk(bytes),
        }
    }

    /// True when it says that there is no such key, as INFO counts misses.
    #[must_use]
    pub fn is_miss(&self) -> bool {
        matches!(self, Told::Null | Told::Integer(-2))
    }
}

/// The bytes of a range that lies within `value`.
#[must_use]
pub fn part<'a>(value: &'a [u8], range: &Range<u64>) -> &'a [u8] {
    &value[range.start as usize..range.end as usize]
}
