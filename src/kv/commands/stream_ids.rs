//! Ids of a stream's entries as clients write them: whole, as a time alone, as an end of a range.

use crate::kv::errors::{self, CommandError};
use crate::storage::{NewId, StreamId};

/// What stands for the number of an id that is a time alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    First,
    Last,
}

/// No id is longer.
const ID_BYTES_MAX: usize = 127;

/// An id, or a time, which means its first number.
pub fn exact(arg: &[u8]) -> Result<StreamId, CommandError> {
    if matches!(arg, b"-" | b"+") {
        return Err(errors::STREAM_ID.into());
    }
    lenient(arg, Missing::First)
}

/// The same where `-` and `+` stand for the lowest and the highest id.
pub fn lenient(arg: &[u8], missing: Missing) -> Result<StreamId, CommandError> {
    match arg {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => split(arg)
            .and_then(|(ms, seq)| {
                let seq = match (seq, missing) {
                    (Some(seq), _) => number(seq)?,
                    (None, Missing::First) => 0,
                    (None, Missing::Last) => u64::MAX,
                };
                Some(StreamId { ms: number(ms)?, seq })
            })
            .ok_or(errors::STREAM_ID.into()),
    }
}

/// The id of a new entry: `*`, a time with `*`, or an id.
pub fn new(arg: &[u8]) -> Result<NewId, CommandError> {
    if arg == b"*" {
        return Ok(NewId::Next);
    }
    match split(arg) {
        Some((ms, Some(b"*"))) => number(ms).map(NewId::NextAt).ok_or(errors::STREAM_ID.into()),
        _ => exact(arg).map(NewId::Exactly),
    }
}

/// The first id of a range. `(` leaves out the one that follows.
pub fn range_start(arg: &[u8]) -> Result<StreamId, CommandError> {
    match open(arg) {
        Some(arg) => exact(arg)?.next().ok_or(errors::INTERVAL_START.into()),
        None => lenient(arg, Missing::First),
    }
}

/// The last id of a range.
pub fn range_end(arg: &[u8]) -> Result<StreamId, CommandError> {
    match open(arg) {
        Some(b"-" | b"+") => Err(errors::STREAM_ID.into()),
        Some(arg) => lenient(arg, Missing::Last)?.previous().ok_or(errors::INTERVAL_END.into()),
        None => lenient(arg, Missing::Last),
    }
}

/// What stands behind a `(`.
fn open(arg: &[u8]) -> Option<&[u8]> {
    arg.strip_prefix(b"(").filter(|rest| !rest.is_empty())
}

/// The time, and the number if there is one.
fn split(arg: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    if arg.len() > ID_BYTES_MAX {
        return None;
    }
    Some(match arg.iter().position(|byte| *byte == b'-') {
        Some(at) => (&arg[..at], Some(&arg[at + 1..])),
        None => (arg, None),
    })
}

/// A number without a sign, as C reads it: with spaces before it, a plus, and zeros.
fn number(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let text = text.strip_prefix('+').unwrap_or(text);
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    #[test]
    fn ids_are_read_as_redis_reads_them() {
        for (arg, expected) in [
            ("5-3", Some(id(5, 3))),
            ("5", Some(id(5, 0))),
            ("0-0", Some(id(0, 0))),
            ("18446744073709551615-18446744073709551615", Some(StreamId::MAX)),
            ("18446744073709551616-0", None),
            ("05- +07", Some(id(5, 7))),
            ("-", None),
            ("+", None),
            ("", None),
            ("5-", None),
            ("-5", None),
            ("5--3", None),
            ("5-*", None),
            ("abc", None),
            ("1-2-3", None),
        ] {
            assert_eq!(exact(arg.as_bytes()).ok(), expected, "{arg}");
        }
        assert!(exact("0".repeat(128).as_bytes()).is_err());
        assert_eq!(new(b"5-*").unwrap(), NewId::NextAt(5));
        assert_eq!((new(b"*").unwrap(), new(b"5").unwrap()), (NewId::Next, NewId::Exactly(id(5, 0))));
        assert!(new(b"x-*").is_err() && new(b"+").is_err());
    }

    #[test]
    fn ends_of_ranges_are_within_or_left_out() {
        let both = |arg: &str| (range_start(arg.as_bytes()).ok(), range_end(arg.as_bytes()).ok());
        assert_eq!(both("-"), (Some(StreamId::MIN), Some(StreamId::MIN)));
        assert_eq!(both("+"), (Some(StreamId::MAX), Some(StreamId::MAX)));
        assert_eq!(both("5"), (Some(id(5, 0)), Some(id(5, u64::MAX))));
        assert_eq!(both("(5"), (Some(id(5, 1)), Some(id(5, u64::MAX - 1))));
        assert_eq!(both("(5-0"), (Some(id(5, 1)), Some(id(4, u64::MAX))));
        assert_eq!((both("(-"), both("(+"), both("(")), ((None, None), (None, None), (None, None)));
        assert_eq!(both("(18446744073709551615-18446744073709551615").0, None);
        assert_eq!(range_end(b"(0-0").unwrap_err().text(), errors::INTERVAL_END);
    }
}
