//! Counts replies without building them: where one ends, whether it is an error or null. For a client that sends a
//! million requests a second and wants to know only that each was answered.
//!
//! It accepts every stream that [`super::ResponseParser`] accepts and finds the same replies in it; of a broken stream
//! it notices what it needs to find the ends.

use memchr::memchr;

use super::response::{ResponseError, parse_length};

/// What a reply was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Skipped {
    #[default]
    Value,
    Null,
    /// The reply is an error or has one inside: [`ReplySkipper::error`] is its text, the first one's.
    Error,
    /// Answers nothing.
    Push,
}

/// Takes every byte once, like the parser. It allocates only where a line is cut, and for errors.
#[derive(Debug)]
pub struct ReplySkipper {
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// Bytes of a body that have not come, CR LF included.
    body_left: usize,
    is_error_body: bool,
    /// Values that have to come before the reply is whole. An aggregate needs no more than this sum: nobody asks which
    /// value is whose.
    missing: u64,
    /// The same for the attributes that stand before the next value.
    attribute_missing: u64,
    /// The reply so far; `None` before its first line.
    reply: Option<Skipped>,
    error: Vec<u8>,
}

const LINE_BYTES_MAX: usize = 64 * 1024;
const ERROR_BYTES_MAX: usize = 1024;
const LINE_END: &[u8] = b"\r\n";

impl Default for ReplySkipper {
    fn default() -> Self {
        Self {
            line: Vec::new(),
            body_left: 0,
            is_error_body: false,
            missing: 1,
            attribute_missing: 0,
            reply: None,
            error: Vec::new(),
        }
    }
}

impl ReplySkipper {
    /// Takes bytes from the front of `bytes` up to the end of one reply, or all of them if its end is not there
    /// (`None`).
    pub fn skip(&mut self, bytes: &mut &[u8]) -> Result<Option<Skipped>, ResponseError> {
        while !bytes.is_empty() {
            let is_taken = if self.body_left > 0 { self.skip_body(bytes)? } else { self.take_line(bytes)? };
            if is_taken && self.missing == 0 {
                self.missing = 1;
                return Ok(Some(self.reply.take().unwrap_or_default()));
            }
        }
        Ok(None)
    }

    /// The text of the last reply that was an error, up to its first 1,024 bytes.
    pub fn error(&self) -> &[u8] {
        &self.error
    }

    /// True when the line has ended.
    fn take_line(&mut self, bytes: &mut &[u8]) -> Result<bool, ResponseError> {
        let Some(end) = memchr(b'\n', bytes) else {
            self.line.extend_from_slice(bytes);
            *bytes = &[];
            return if self.line.len() < LINE_BYTES_MAX { Ok(false) } else { Err(ResponseError::TooBig("line")) };
        };
        let (piece, after) = bytes.split_at(end + 1);
        *bytes = after;
        if self.line.is_empty() {
            self.read_line(piece)?;
        } else {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(piece);
            self.read_line(&line)?;
            line.clear();
            self.line = line;
        }
        Ok(true)
    }

    /// `line` is whole and ends with LF.
    fn read_line(&mut self, line: &[u8]) -> Result<(), ResponseError> {
        let [kind, text @ .., b'\r', b'\n'] = line else { return Err(ResponseError::MissingLineEnd) };
        match *kind {
            b'$' | b'*' if text == b"-1" => self.whole_value(Skipped::Null, b""),
            b'_' => self.whole_value(Skipped::Null, b""),
            b'+' | b':' | b'#' | b',' | b'(' => self.whole_value(Skipped::Value, b""),
            b'-' => self.whole_value(Skipped::Error, text),
            kind @ (b'$' | b'=' | b'!') => {
                self.body_left = parse_length(kind, text)?.saturating_add(LINE_END.len());
                self.is_error_body = self.note(if kind == b'!' { Skipped::Error } else { Skipped::Value }, b"");
            }
            kind @ (b'*' | b'~') => self.open(Skipped::Value, parse_length(kind, text)? as u64),
            b'>' => self.open(Skipped::Push, parse_length(b'>', text)? as u64),
            b'%' => self.open(Skipped::Value, (parse_length(b'%', text)? as u64).saturating_mul(2)),
            b'|' => {
                let values = (parse_length(b'|', text)? as u64).saturating_mul(2);
                self.attribute_missing = self.attribute_missing.saturating_add(values);
            }
            kind => return Err(ResponseError::UnknownType(kind)),
        }
        Ok(())
    }

    /// True when the body and its line end have come.
    fn skip_body(&mut self, bytes: &mut &[u8]) -> Result<bool, ResponseError> {
        let (piece, after) = bytes.split_at(self.body_left.min(bytes.len()));
        *bytes = after;
        // The line end may have been cut itself: `end_seen` bytes of it came before.
        let (text, end) = piece.split_at(self.body_left.saturating_sub(LINE_END.len()).min(piece.len()));
        let end_seen = LINE_END.len().saturating_sub(self.body_left);
        if !LINE_END[end_seen..].starts_with(end) {
            return Err(ResponseError::MissingLineEnd);
        }
        if self.is_error_body {
            let room = ERROR_BYTES_MAX - self.error.len();
            self.error.extend_from_slice(&text[..text.len().min(room)]);
        }
        self.body_left -= piece.len();
        if self.body_left > 0 {
            return Ok(false);
        }
        self.close();
        Ok(true)
    }

    fn open(&mut self, kind: Skipped, values: u64) {
        let missing = if self.attribute_missing > 0 { &mut self.attribute_missing } else { &mut self.missing };
        *missing = missing.saturating_add(values);
        self.whole_value(kind, b"");
    }

    fn whole_value(&mut self, kind: Skipped, error: &[u8]) {
        self.note(kind, error);
        self.close();
    }

    /// What this value says of the reply: the first value decides, and an error anywhere. True when `error` is kept.
    fn note(&mut self, kind: Skipped, error: &[u8]) -> bool {
        if self.attribute_missing > 0 {
            return false;
        }
        let is_kept = kind == Skipped::Error && !matches!(self.reply, Some(Skipped::Error | Skipped::Push));
        if is_kept {
            self.error.clear();
            self.error.extend_from_slice(&error[..error.len().min(ERROR_BYTES_MAX)]);
        }
        if self.reply.is_none() || is_kept {
            self.reply = Some(kind);
        }
        is_kept
    }

    fn close(&mut self) {
        let missing = if self.attribute_missing > 0 { &mut self.attribute_missing } else { &mut self.missing };
        *missing -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reply of the stream, with the text of those that are errors.
    fn skipped(stream: &[u8]) -> Vec<(Skipped, String)> {
        let (mut skipper, mut rest, mut found) = (ReplySkipper::default(), stream, Vec::new());
        while let Some(kind) = skipper.skip(&mut rest).unwrap() {
            let text = if kind == Skipped::Error { skipper.error() } else { b"" };
            found.push((kind, String::from_utf8_lossy(text).into_owned()));
        }
        assert!(rest.is_empty());
        found
    }

    #[test]
    fn a_reply_is_a_value_or_null_or_an_error_or_answers_nothing() {
        let cases: &[(&[u8], Skipped, &str)] = &[
            (b"+OK\r\n", Skipped::Value, ""),
            (b"$4\r\na\r\nb\r\n", Skipped::Value, ""),
            (b"$0\r\n\r\n", Skipped::Value, ""),
            (b"$-1\r\n", Skipped::Null, ""),
            (b"_\r\n", Skipped::Null, ""),
            (b"*-1\r\n", Skipped::Null, ""),
            (b"*1\r\n$-1\r\n", Skipped::Value, ""),
            (b"%1\r\n+a\r\n*0\r\n", Skipped::Value, ""),
            (b"-ERR no\r\n", Skipped::Error, "ERR no"),
            (b"!8\r\nERR a\r\nb\r\n", Skipped::Error, "ERR a\r\nb"),
            (b"*3\r\n:1\r\n*1\r\n-ERR in\r\n-ERR later\r\n", Skipped::Error, "ERR in"),
            (b"|1\r\n+a\r\n-ERR inside\r\n$-1\r\n", Skipped::Null, ""),
            (b">2\r\n+a\r\n-ERR b\r\n", Skipped::Push, ""),
        ];
        for (stream, kind, error) in cases {
            assert_eq!(skipped(stream), [(*kind, (*error).to_owned())], "{}", stream.escape_ascii());
        }
        assert_eq!(skipped(&cases.iter().map(|case| case.0).collect::<Vec<_>>().concat()).len(), cases.len());
    }

    #[test]
    fn what_is_no_protocol_is_refused() {
        let cases: &[(&[u8], ResponseError)] = &[
            (b"HTTP/1.1 400\r\n", ResponseError::UnknownType(b'H')),
            (b"+OK\n", ResponseError::MissingLineEnd),
            (b"$1\r\nabc", ResponseError::MissingLineEnd),
            (b"$x\r\n", ResponseError::InvalidLength(b'$')),
        ];
        for (stream, error) in cases {
            assert_eq!(ReplySkipper::default().skip(&mut &stream[..]), Err(error.clone()));
        }
        assert!(ReplySkipper::default().skip(&mut vec![b'+'; LINE_BYTES_MAX].as_slice()).is_err());
    }
}
