//! What a storage lookup means to a command, what a command tells of its changes, and a big value read in pieces.

use std::ops::{ControlFlow, Range};

use crate::kv::call::{Class, KEY_MISS, WriteCall};
use crate::kv::commands::args;
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::resp::reply::Reply;
use crate::storage::{Building, Expiry, Keyspace, Lookup, range_of};

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

/// The whole string, for the reply: the error where that may not be so large, before anything is changed. Such a look at a key that is
/// not there is a miss.
pub fn whole(call: &mut WriteCall<'_>, key: &[u8]) -> Result<Option<Vec<u8>>, CommandError> {
    let value = optional(call.keyspace.string(key)?)?;
    if value.is_none() {
        call.tell(Class::Miss, KEY_MISS, key);
    }
    call.check_reply(value.as_ref().map_or(0, Vec::len))?;
    Ok(value)
}

/// Sets the key to a string, and tells of it by this name.
pub fn put(
    call: &mut WriteCall<'_>,
    key: &[u8],
    value: &[u8],
    expiry: Expiry,
    event: &'static str,
) -> Result<(), CommandError> {
    let is_news = call.is_news(key)?;
    call.keyspace.put_string(key, value, expiry)?;
    call.tell_of_string(is_news, event, key);
    Ok(())
}

/// Writes bytes at an offset of the string, and tells of it by this name. Returns the new length.
pub fn write_range(
    call: &mut WriteCall<'_>,
    key: &[u8],
    offset: u64,
    bytes: &[u8],
    event: &'static str,
) -> Result<u64, CommandError> {
    let is_news = call.is_news(key)?;
    let length = call.keyspace.write_string_range(key, offset, bytes)?;
    call.tell_of_string(is_news, event, key);
    Ok(length)
}

/// Writes bytes of a string at the offset that `place` finds by its length (`None`: there is none), and tells of it by
/// this name: the row is read once. Returns the new length.
pub fn write_at(
    call: &mut WriteCall<'_>,
    key: &[u8],
    bytes: &[u8],
    event: &'static str,
    place: impl FnOnce(Option<u64>) -> Result<u64, CommandError>,
) -> Result<u64, CommandError> {
    let is_news = call.is_news(key)?;
    let length = call.keyspace.write_string_at(key, bytes, |length| place(optional(length)?))?;
    call.tell_of_string(is_news, event, key);
    Ok(length)
}

/// Replaces the first key's string by what `change` makes of it, and tells of it by this name: the row is read once. One of more than
/// `bytes_max` bytes is shown in part, and is too long.
pub fn update<T>(
    call: &mut WriteCall<'_>,
    bytes_max: usize,
    event: &'static str,
    change: impl FnOnce(Option<&[u8]>) -> Result<(T, Vec<u8>), CommandError>,
) -> Result<T, CommandError> {
    let key = call.args[1];
    let is_news = call.is_news(key)?;
    let told = call.keyspace.update_string(key, bytes_max, |old| change(optional(old)?))?;
    call.tell_of_string(is_news, event, key);
    Ok(told)
}

/// Tells that the key got this time to end. One that has passed already has ended it.
pub fn tell_expiry(call: &mut WriteCall<'_>, key: &[u8], expires_at_ms: i64) {
    call.tell(Class::Generic, "expire", key);
    if expires_at_ms <= call.now_ms {
        call.tell(Class::Expired, "expired", key);
    }
}

/// Deletes the key and tells of it. False when there was none.
pub fn delete(call: &mut WriteCall<'_>, key: &[u8]) -> Result<bool, CommandError> {
    let is_deleted = call.keyspace.delete(key)?;
    if is_deleted {
        call.tell(Class::Generic, "del", key);
    }
    Ok(is_deleted)
}

/// Tells that a collection of this class has lost elements, and with the last of them its key.
pub fn tell_removal(call: &mut WriteCall<'_>, class: Class, event: &'static str, key: &[u8], is_gone: bool) {
    call.tell(class, event, key);
    if is_gone {
        call.tell(Class::Generic, "del", key);
    }
}

/// Puts a collection of this class, which was built, in the place of what the key holds, or deletes that where it is empty. The reply is
/// how many elements it has.
pub fn put_built(
    call: &mut WriteCall<'_>,
    class: Class,
    key: &[u8],
    building: Building,
    event: &'static str,
) -> CommandResult {
    if building.is_empty() {
        delete(call, key)?;
        return Ok(Reply::Integer(0));
    }
    let is_news = call.is_news(key)?;
    let count = call.keyspace.put_built(key, building, Expiry::Clear)?;
    call.tell_of(class, is_news, event, key);
    Ok(Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX)))
}

/// How many elements of so many a call is about whose third and fourth argument are ranks, as in LRANGE and ZRANGE; 0 where they are none.
pub fn count_of_ranks(args: &[&[u8]], length: u64) -> u64 {
    let (Ok(start), Ok(stop)) = (args::integer(args[2]), args::integer(args[3])) else { return 0 };
    range_of(start, stop, length).map_or(0, |(_, count)| count)
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
pub fn check_length(value_bytes_max: u64, length: u64, added: usize) -> Result<(), CommandError> {
    let fits = length.checked_add(added as u64).is_some_and(|total| total <= value_bytes_max);
    if fits { Ok(()) } else { Err(errors::STRING_TOO_LONG.into()) }
}
