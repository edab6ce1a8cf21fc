//! Commands that may wait: for what, for how long, and what is answered instead where nothing waits. `lanes::waiters` has those that do.

use std::ops::Range;
use std::time::Duration;

use crate::kv::call::{ReadCall, ReadResult, Waited, WriteCall};
use crate::kv::errors::{self, CommandError};
use crate::kv::formats::long_double::LongDouble;
use crate::resp::Reply;
use crate::resp::number::parse_integer;
use crate::storage::Kind;

/// How a command may wait.
#[derive(Clone, Copy)]
pub struct Wait {
    /// Answers, or says that it has to wait; then it has changed nothing. It is run again, from its first key, when one of its keys has
    /// something for it. It says what is wrong with its arguments, the timeout too, before it looks at a key.
    pub run: fn(&mut WriteCall<'_>) -> Result<Waited, CommandError>,
    /// What a key holds that may have something for it. One of another kind lets it wait on.
    pub kind: Kind,
    /// Which arguments are the keys that it waits for, of a call that has to wait.
    pub keys: fn(args: &[&[u8]]) -> Range<usize>,
    /// For how long it waits at most, `None`: for ever; or what is wrong with that argument. `now_ms`: milliseconds since 1970.
    pub timeout: fn(args: &[&[u8]], now_ms: i64) -> Timeout,
    /// Whether such a call may wait at all. Else it is one like others, and what waits nevertheless is answered with `nil`.
    pub may: fn(args: &[&[u8]]) -> bool,
    /// Whether a script may make such a call, which does not wait there; or what is wrong with that.
    pub in_scripts: fn(args: &[&[u8]]) -> Result<(), CommandError>,
    /// Of a command that only reads: it is run on a reader first, and comes to the writer when it has found nothing.
    pub read: Option<fn(&mut ReadCall<'_>) -> ReadResult>,
    /// Whether it is run also when one of its keys goes, or holds another kind: it says what is wrong then.
    pub ends_without_key: bool,
    /// The reply in a transaction, where nothing waits. After its time a call is answered with `AFTER_TIMEOUT`, whatever it is.
    pub nil: Nil,
}

pub type Timeout = Result<Option<Duration>, CommandError>;

/// "There is nothing": RESP2 knows two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nil {
    Null,
    NullArray,
}

/// The reply to a call whose time is over, or that CLIENT UNBLOCK has ended.
pub const AFTER_TIMEOUT: Reply = Reply::NullArray;

impl Nil {
    #[must_use]
    pub fn reply(self) -> Reply {
        match self {
            Nil::Null => Reply::Null,
            Nil::NullArray => Reply::NullArray,
        }
    }
}

/// A timeout in seconds, with a fraction or without: rounded up to milliseconds. 0: for ever.
pub fn seconds(arg: &[u8], now_ms: i64) -> Timeout {
    let seconds = LongDouble::parse(arg).ok_or(CommandError::from(errors::TIMEOUT_NOT_A_FLOAT))?;
    milliseconds_of(seconds.thousandfold_up().ok_or(CommandError::from(errors::TIMEOUT_OUT_OF_RANGE))?, now_ms)
}

/// A timeout in milliseconds.
pub fn milliseconds(arg: &[u8], now_ms: i64) -> Timeout {
    milliseconds_of(parse_integer(arg).ok_or(CommandError::from(errors::TIMEOUT_NOT_AN_INTEGER))?, now_ms)
}

fn milliseconds_of(timeout_ms: i64, now_ms: i64) -> Timeout {
    match u64::try_from(timeout_ms) {
        Err(_) => Err(errors::TIMEOUT_NEGATIVE.into()),
        Ok(0) => Ok(None),
        // When it would end must be a time.
        Ok(_) if timeout_ms.checked_add(now_ms).is_none() => Err(errors::TIMEOUT_OUT_OF_RANGE.into()),
        Ok(timeout_ms) => Ok(Some(Duration::from_millis(timeout_ms))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_redis_reads_them() {
        let now_ms = 1_700_000_000_000;
        let ms = |text: &str| seconds(text.as_bytes(), now_ms).unwrap().map(|time| time.as_millis());
        assert_eq!(["0", "0.0", "-0", "-0.001", "0x0"].map(ms), [None; 5]);
        let times = ["1", "0.1", "0.0001", "1.0001", "0.29", "1e1", "0x10", "4.35", "1000000000", "+.5"].map(ms);
        assert_eq!(times.map(Option::unwrap), [1000, 100, 1, 1001, 290, 10_000, 16_000, 4350, 1_000_000_000_000, 500]);
        let error = |text: &str| seconds(text.as_bytes(), now_ms).unwrap_err().text();
        for text in ["", "x", "nan", "1 ", " 1", "1s", "1e", "1e5000"] {
            assert_eq!(error(text), errors::TIMEOUT_NOT_A_FLOAT, "{text}");
        }
        for text in ["-1", "-0.01", "-inf", "-1e300"] {
            assert_eq!(error(text), errors::TIMEOUT_NEGATIVE, "{text}");
        }
        for text in ["inf", "1e300", "9223372036854775807", "9223372036854775", "9223370336854776"] {
            assert_eq!(error(text), errors::TIMEOUT_OUT_OF_RANGE, "{text}");
        }
        assert_eq!(milliseconds(b"1500", now_ms).unwrap(), Some(Duration::from_millis(1500)));
        assert_eq!(milliseconds(b"1.5", now_ms).unwrap_err().text(), errors::TIMEOUT_NOT_AN_INTEGER);
    }
}
