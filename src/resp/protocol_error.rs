//! What a client did wrong below the level of commands, in Redis' words. The connection is answered and closed.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    TooBigInlineRequest,
    UnbalancedQuotes,
    TooBigCountString,
    InvalidMultibulkLength,
    UnauthenticatedMultibulkLength,
    TooBigLengthString,
    /// The first byte of the line where an argument should begin.
    ExpectedDollar(u8),
    InvalidBulkLength,
    UnauthenticatedBulkLength,
}

impl ProtocolError {
    /// Writes the error reply. Only here the byte of [`ProtocolError::ExpectedDollar`] arrives as it was sent.
    pub fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"-ERR Protocol error: ");
        out.extend_from_slice(self.text().as_bytes());
        if let Self::ExpectedDollar(byte) = self {
            out.extend_from_slice(&[b'\'', printed(byte), b'\'']);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// What follows "Protocol error: ", up to the byte that was sent.
    fn text(self) -> &'static str {
        match self {
            Self::TooBigInlineRequest => "too big inline request",
            Self::UnbalancedQuotes => "unbalanced quotes in request",
            Self::TooBigCountString => "too big mbulk count string",
            Self::InvalidMultibulkLength => "invalid multibulk length",
            Self::UnauthenticatedMultibulkLength => "unauthenticated multibulk length",
            Self::TooBigLengthString => "too big bulk count string",
            Self::ExpectedDollar(_) => "expected '$', got ",
            Self::InvalidBulkLength => "invalid bulk length",
            Self::UnauthenticatedBulkLength => "unauthenticated bulk length",
        }
    }
}

/// The text after `-ERR `; a byte outside ASCII is shown as U+FFFD.
impl fmt::Display for ProtocolError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Protocol error: {}", self.text())?;
        match *self {
            Self::ExpectedDollar(byte) if byte.is_ascii() => write!(out, "'{}'", char::from(printed(byte))),
            Self::ExpectedDollar(_) => write!(out, "'{}'", char::REPLACEMENT_CHARACTER),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for ProtocolError {}

/// An error is one line, so Redis shows a line end as a blank.
fn printed(byte: u8) -> u8 {
    if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrong_byte_is_quoted_as_it_was_sent() {
        for (byte, quoted) in [(b'x', b'x'), (b'\r', b' '), (0xff, 0xff)] {
            let mut out = Vec::new();
            ProtocolError::ExpectedDollar(byte).encode(&mut out);
            assert_eq!(out, [b"-ERR Protocol error: expected '$', got '".as_slice(), &[quoted], b"'\r\n"].concat());
        }
        assert_eq!(ProtocolError::ExpectedDollar(b'x').to_string(), "Protocol error: expected '$', got 'x'");
        assert_eq!(ProtocolError::ExpectedDollar(0xff).to_string(), "Protocol error: expected '$', got '\u{fffd}'");
        assert_eq!(ProtocolError::UnbalancedQuotes.to_string(), "Protocol error: unbalanced quotes in request");
    }
}
