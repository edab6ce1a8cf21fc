//! Reads that follow from one look at each of their keys. A loop answers them from its cache, a lane from the keys' rows: the same
//! function either way, so that the two can't disagree.

use std::ops::Range;

use crate::kv::call::{ReadCall, ReadResult};
use crate::kv::errors::{self, CommandError};
use crate::resp::{ReplyWriter, Version, Written};
use crate::storage::{Entry, Kind, Packed};

/// How a command follows from its arguments and its keys.
#[derive(Clone, Copy)]
pub struct Look {
    pub shape: Shape,
    pub answer: Answer,
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

/// What the answer for a key follows from.
#[derive(Clone, Copy)]
pub enum Answer {
    /// The head of its row, and the bytes of its string.
    Head(HeadHandler),
    /// The elements of a collection. Of one key, which is the first argument.
    Elements(ElementsAnswer),
}

/// The answer for one key: `None` where there is none. `now_ms` is the time of the look.
pub type HeadHandler = fn(args: &[&[u8]], key: Option<&Entry>, now_ms: i64) -> LookResult;
pub type LookResult = Result<Told, CommandError>;

/// A read of the elements of a collection. A key that is not there has none.
#[derive(Clone, Copy)]
pub struct ElementsAnswer {
    /// A key of another kind is the error WRONGTYPE.
    pub kind: Kind,
    /// They lie in the key's row.
    pub packed: PackedHandler,
    /// They have rows of their own, which only a reader reads.
    pub apart: fn(&mut ReadCall<'_>) -> ReadResult,
    pub reads: Reads,
}

/// How many elements a read is about.
#[derive(Clone, Copy)]
pub enum Reads {
    /// Those that its arguments name, or no more than are looked for.
    Few,
    /// What it costs grows with their number.
    All,
    /// So many of a collection of this length.
    Range(fn(args: &[&[u8]], length: u64) -> u64),
}

pub type PackedHandler = fn(args: &[&[u8]], elements: &Packed<'_>, reply: &mut ReplyWriter<'_>) -> ReadResult;

impl Reads {
    /// Whether it is about most elements of a collection of this length.
    #[must_use]
    pub fn most(self, args: &[&[u8]], length: u64) -> bool {
        match self {
            Reads::Few => false,
            Reads::All => true,
            Reads::Range(count) => count(args, length) > length / 2,
        }
    }
}

impl ElementsAnswer {
    /// The key, which is of the kind if it is there. What is wrong with the arguments is said first, as Redis does.
    fn key_of<'k>(&self, args: &[&[u8]], key: Option<&'k Entry>) -> Result<Option<&'k Entry>, CommandError> {
        of_kind(key, self.kind).or_else(|of_other_kind| {
            let mut nothing = Vec::new();
            let reply = &mut ReplyWriter::new(&mut nothing, Version::Resp2, usize::MAX);
            (self.packed)(args, &Packed::new(self.kind, &[]), reply)?;
            Err(of_other_kind)
        })
    }
}

/// What a key's row was enough for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The answer is written, or added to the sum.
    All,
    /// These bytes of the string are not in the row.
    LacksBytes(Range<u64>),
    /// The elements are not in the row.
    LacksElements,
}

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
/// A collection that lies in rows is kept in mind whole up to this size, packed: a loop passes all of it to find one element, in a few
/// microseconds.
pub const GATHERED_BYTES_MAX: usize = 4096;
/// A longer key is not kept in mind.
pub const KEY_BYTES_MAX: usize = 1024;

impl Look {
    #[must_use]
    pub const fn at_head(shape: Shape, answer: HeadHandler) -> Look {
        Look { shape, answer: Answer::Head(answer) }
    }

    #[must_use]
    pub const fn at_elements(elements: ElementsAnswer) -> Look {
        Look { shape: Shape::One, answer: Answer::Elements(elements) }
    }

    /// The answer for one key from its row: from its head (`None`: it is not there), and from the value where that lies in the row and is
    /// at hand. It knows not where the two come from.
    pub fn say(
        &self,
        args: &[&[u8]],
        key: Option<&Entry>,
        value: Option<&[u8]>,
        now_ms: i64,
        sum: &mut i64,
        reply: &mut ReplyWriter<'_>,
    ) -> Result<Said, CommandError> {
        match self.answer {
            Answer::Head(answer) => {
                let told = answer(args, key, now_ms)?;
                let bytes = match (&told, value) {
                    (Told::Part(range), Some(value)) => part(value, range),
                    (Told::Part(range), None) if !range.is_empty() => return Ok(Said::LacksBytes(range.clone())),
                    _ => &[],
                };
                match (self.shape, &told) {
                    (Shape::Sum, Told::Integer(value)) => *sum += value,
                    _ => told.write(bytes, reply)?,
                }
            }
            Answer::Elements(elements) => match (elements.key_of(args, key)?, value) {
                (None, _) => (elements.packed)(args, &Packed::new(elements.kind, &[]), reply)?,
                (Some(_), Some(value)) => (elements.packed)(args, &Packed::new(elements.kind, value), reply)?,
                (Some(_), None) => return Ok(Said::LacksElements),
            },
        }
        Ok(Said::All)
    }

    #[must_use]
    pub const fn is_of_elements(&self) -> bool {
        matches!(self.answer, Answer::Elements(_))
    }

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

/// The key, which is of this kind if it is there.
pub fn of_kind(key: Option<&Entry>, kind: Kind) -> Result<Option<&Entry>, CommandError> {
    match key {
        Some(key) if key.kind != kind => Err(errors::WRONG_TYPE.into()),
        key => Ok(key),
    }
}

/// The key, which holds a string if it is there.
pub fn string(key: Option<&Entry>) -> Result<Option<&Entry>, CommandError> {
    of_kind(key, Kind::String)
}

/// True for the answer that says that there is no such key, as INFO counts misses.
#[must_use]
pub fn is_miss(reply: &[u8]) -> bool {
    matches!(reply, b"$-1\r\n" | b"_\r\n" | b":-2\r\n")
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
}

/// The bytes of a range that lies within `value`.
#[must_use]
fn part<'a>(value: &'a [u8], range: &Range<u64>) -> &'a [u8] {
    &value[range.start as usize..range.end as usize]
}
