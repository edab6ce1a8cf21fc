//! What a storage lookup means to a command on strings, and a big value read in pieces.

use std::ops::{ControlFlow, Range};

use crate::kv::errors::{self, CommandError};
use crate::resp::reply::Reply;
use crate::storage::{Keyspace, Lookup};

/// How much of a big value is in memory at once.
pub const PIECE_BYTES: u64 = 1 << 20;

/// What was found; None: there is no such key. A key of another kind is the error WRONGTYPE.
pub fn optional<T>(lookup: Lookup<T>) -> Result<Option<T>, CommandError> {
    match lookup {
        Lookup::Absent => Ok(None),
        Lookup::Found(found) => Ok(Some(found)),
        Lookup::OtherKind(_) => Err(errors::WRONG_TYPE.into()),
    }
}

/// The whole string, for the reply: the error where that may not be so large, before anything is changed.
pub fn whole(keyspace: &Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, CommandError> {
    let value = optional(keyspace.string(key)?)?;
    check_answer(keyspace, value.as_ref().map_or(0, Vec::len))?;
    Ok(value)
}

/// The error where a reply of so many bytes is too large.
pub fn check_answer(keyspace: &Keyspace, bytes: usize) -> Result<(), CommandError> {
    if bytes <= keyspace.answer_bytes_max() { Ok(()) } else { Err(errors::REPLY_TOO_LARGE.into()) }
}

/// The string as a reply, nil where there is none.
#[must_use]
pub fn bulk_or_null(value: Option<Vec<u8>>) -> Reply {
    value.map_or(Reply::Null, Reply::Bulk)
}

/// The string's length; None: there is no such key.
pub fn length(keyspace: &Keyspace, key: &[u8]) -> Result<Option<u64>, CommandError> {
    optional(keyspace.string_length(key)?)
}

/// The bytes of a range of the string, cut to its length; an absent key has none.
pub fn bytes(keyspace: &Keyspace, key: &[u8], range: Range<u64>) -> Result<Vec<u8>, CommandError> {
    Ok(optional(keyspace.string_range(key, range.start, range.end)?)?.unwrap_or_default())
}

/// Shows the bytes of a range of the string, which lies within its length, in pieces: each with its position. Returns what
/// `visit` broke off with.
pub fn pieces<B>(
    keyspace: &Keyspace,
    key: &[u8],
    range: Range<u64>,
    mut visit: impl FnMut(u64, &mut [u8]) -> ControlFlow<B>,
) -> Result<Option<B>, CommandError> {
    let mut at = range.start;
    while at < range.end {
        keyspace.check_read_limit()?;
        let end = range.end.min(at + PIECE_BYTES);
        if let ControlFlow::Break(result) = visit(at, &mut bytes(keyspace, key, at..end)?) {
            return Ok(Some(result));
        }
        at = end;
    }
    Ok(None)
}

/// The error where a value of `length` bytes would grow by `added` beyond what is allowed.
pub fn check_length(keyspace: &Keyspace, length: u64, added: usize) -> Result<(), CommandError> {
    let fits = length.checked_add(added as u64).is_some_and(|total| total <= keyspace.value_bytes_max());
    if fits { Ok(()) } else { Err(errors::STRING_TOO_LONG.into()) }
}
