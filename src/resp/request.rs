//! The server's side of the wire: bytes to requests, incremental and without copying. Follows `processMultibulkBuffer`
//! and `processInlineBuffer` of Redis 7.2. The outcome never depends on how the bytes were cut on their way.

use std::ops::{Index, Range};

use memchr::memchr;

use super::inline;
use super::number::parse_integer;
use super::protocol_error::ProtocolError;

/// What one request may take. Each is checked before the bytes that it bounds have arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Arguments of one request, the command's name included.
    pub args_max: usize,
    /// One argument.
    pub bulk_bytes_max: usize,
    /// An inline request, or the line of a count or length, without its line end: at least 32, so that any number fits.
    pub inline_bytes_max: usize,
    /// True while the peer has yet to log in: 10 arguments of 16 KiB, or one line of that length, are then enough.
    pub unauthenticated: bool,
}

const UNAUTHENTICATED_ARGS_MAX: usize = 10;
const UNAUTHENTICATED_BULK_BYTES_MAX: usize = 16 * 1024;
/// Redis refuses a larger count before it looks at anything else.
const COUNT_MAX: i64 = i32::MAX as i64;

impl Default for Limits {
    fn default() -> Self {
        Self {
            args_max: 1024 * 1024,
            bulk_bytes_max: 512 * 1024 * 1024,
            inline_bytes_max: 64 * 1024,
            unauthenticated: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The request is not whole yet. Nothing is consumed: call again with the same bytes and more of them.
    NeedMore,
    /// A blank line, `*0` or a negative count: so many bytes are consumed, and there is nothing to answer.
    Empty(usize),
    /// One request: so many bytes are consumed, its arguments are in [`RequestParser::args`].
    Complete(usize),
}

/// Remembers how far it has looked into an unfinished request, so that a large one costs its size once, in however many
/// pieces it comes.
///
/// Its memory is reused from request to request. A caller that is done with the arguments for now calls
/// [`RequestParser::tidy`], which leaves it small.
#[derive(Debug, Default)]
pub struct RequestParser {
    state: State,
    /// Where the line or argument that is being read begins.
    position: usize,
    /// That line does not end before here. At least `position` while a line is read.
    scanned: usize,
    /// Where the arguments stand: in the caller's bytes, or in `inline_text` exactly when `is_inline`.
    spans: Vec<Range<usize>>,
    inline_text: Vec<u8>,
    is_inline: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Between two requests.
    #[default]
    Start,
    /// In a line of text.
    Inline,
    /// In the line `*count`.
    Count,
    /// In a line `$length`; `missing` arguments are not complete, this one included.
    Length { missing: usize },
    /// In the bytes of an argument.
    Bulk { missing: usize, length: usize },
}

/// Memory of an unusually large request is given back: a connection that is idle keeps no more than this.
const SPANS_KEPT: usize = 64;
const INLINE_BYTES_KEPT: usize = 1024;

enum Line {
    Unfinished,
    TooLong,
    /// The index of the byte that ends it.
    EndsAt(usize),
}

impl RequestParser {
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks for one request at the start of `bytes`, which are those that were not consumed yet: they begin where the
    /// last consumed ones ended, and a later call may only add to them. After an error the connection is of no more
    /// use: answer it and close.
    pub fn parse(&mut self, bytes: &[u8], limits: &Limits) -> Result<Parsed, ProtocolError> {
        if let State::Start = self.state {
            self.reset();
            match bytes.first() {
                None => return Ok(Parsed::NeedMore),
                Some(b'*') => self.state = State::Count,
                Some(_) => self.state = State::Inline,
            }
        }
        match self.state {
            State::Start | State::Inline => self.parse_inline(bytes, limits),
            State::Count => match self.parse_count(bytes, limits)? {
                None => Ok(Parsed::NeedMore),
                Some(0) => {
                    self.state = State::Start;
                    Ok(Parsed::Empty(self.position))
                }
                Some(count) => self.parse_arguments(bytes, limits, count, None),
            },
            State::Length { missing } => self.parse_arguments(bytes, limits, missing, None),
            State::Bulk { missing, length } => self.parse_arguments(bytes, limits, missing, Some(length)),
        }
    }

    /// Forgets what there is of a request: the next bytes begin a new one.
    pub fn restart(&mut self) {
        self.state = State::Start;
    }

    /// The arguments of the request that was just completed, the command's name first; valid until the next call of
    /// [`RequestParser::parse`]. `bytes` are those that `parse` saw.
    pub fn args<'a>(&'a self, bytes: &'a [u8]) -> Args<'a> {
        Args { bytes: if self.is_inline { &self.inline_text } else { bytes }, spans: &self.spans }
    }

    /// Gives back the memory of a large request whose arguments are not needed any more. Of an unfinished one it is needed.
    pub fn tidy(&mut self) {
        if let State::Start = self.state {
            self.shrink();
        }
    }

    /// The memory that it takes.
    #[must_use]
    pub fn bytes_kept(&self) -> usize {
        self.spans.capacity() * size_of::<Range<usize>>() + self.inline_text.capacity()
    }

    fn reset(&mut self) {
        self.position = 0;
        self.scanned = 0;
        self.is_inline = false;
        self.spans.clear();
        self.inline_text.clear();
        self.shrink();
    }

    fn shrink(&mut self) {
        if self.spans.capacity() > SPANS_KEPT {
            self.spans = Vec::new();
        }
        if self.inline_text.capacity() > INLINE_BYTES_KEPT {
            self.inline_text = Vec::new();
        }
    }

    fn parse_inline(&mut self, bytes: &[u8], limits: &Limits) -> Result<Parsed, ProtocolError> {
        let end = match self.find_line_end(b'\n', bytes, limits) {
            Line::Unfinished => return Ok(Parsed::NeedMore),
            Line::TooLong => return Err(ProtocolError::TooBigInlineRequest),
            Line::EndsAt(end) => end,
        };
        let line = &bytes[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        inline::split(line, &mut self.inline_text, &mut self.spans).map_err(|_| ProtocolError::UnbalancedQuotes)?;
        self.is_inline = true;
        self.state = State::Start;
        if limits.unauthenticated && self.spans.len() > UNAUTHENTICATED_ARGS_MAX {
            return Err(ProtocolError::UnauthenticatedMultibulkLength);
        }
        let consumed = end + 1;
        Ok(if self.spans.is_empty() { Parsed::Empty(consumed) } else { Parsed::Complete(consumed) })
    }

    /// The number of arguments that follow, if its line is whole; then `position` is behind it.
    fn parse_count(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        let count = match short_number_line(bytes) {
            Some((count, line_bytes)) => {
                self.position = line_bytes;
                i64::from(count)
            }
            None => match self.take_line(bytes, limits, ProtocolError::TooBigCountString)? {
                None => return Ok(None),
                Some(line) => parse_integer(&line[1..])
                    .filter(|count| *count <= COUNT_MAX)
                    .ok_or(ProtocolError::InvalidMultibulkLength)?,
            },
        };
        let count = usize::try_from(count).unwrap_or(0);
        if limits.unauthenticated && count > UNAUTHENTICATED_ARGS_MAX {
            return Err(ProtocolError::UnauthenticatedMultibulkLength);
        }
        if count > limits.args_max {
            return Err(ProtocolError::InvalidMultibulkLength);
        }
        Ok(Some(count))
    }

    /// Reads `missing` arguments (at least one) from `position` on, the first of them with its length already known if
    /// `length` says so.
    fn parse_arguments(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        mut missing: usize,
        mut length: Option<usize>,
    ) -> Result<Parsed, ProtocolError> {
        loop {
            let bulk_bytes = match length.take() {
                Some(length) => length,
                None => match self.parse_length(bytes, limits)? {
                    Some(length) => length,
                    None => {
                        self.state = State::Length { missing };
                        return Ok(Parsed::NeedMore);
                    }
                },
            };
            let start = self.position;
            // Redis takes the two bytes behind an argument without looking at them.
            let arrived = bytes.len().saturating_sub(start);
            if arrived < 2 || arrived - 2 < bulk_bytes {
                self.state = State::Bulk { missing, length: bulk_bytes };
                return Ok(Parsed::NeedMore);
            }
            self.spans.push(start..start + bulk_bytes);
            self.position = start + bulk_bytes + 2;
            missing -= 1;
            if missing == 0 {
                self.state = State::Start;
                return Ok(Parsed::Complete(self.position));
            }
        }
    }

    /// The length of the argument whose `$` line begins at `position`, if the line is whole; then `position` is behind
    /// it.
    #[inline]
    fn parse_length(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        let rest = bytes.get(self.position..).unwrap_or_default();
        let length = match short_number_line(rest) {
            Some((length, line_bytes)) if rest[0] == b'$' => {
                self.position += line_bytes;
                length as usize
            }
            _ => match self.take_line(bytes, limits, ProtocolError::TooBigLengthString)? {
                None => return Ok(None),
                Some([b'$', number @ ..]) => parse_integer(number)
                    .and_then(|length| usize::try_from(length).ok())
                    .ok_or(ProtocolError::InvalidBulkLength)?,
                // An empty line: what stands there is the CR that ends it.
                Some(line) => return Err(ProtocolError::ExpectedDollar(line.first().copied().unwrap_or(b'\r'))),
            },
        };
        if length > limits.bulk_bytes_max {
            return Err(ProtocolError::InvalidBulkLength);
        }
        if limits.unauthenticated && length > UNAUTHENTICATED_BULK_BYTES_MAX {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        Ok(Some(length))
    }

    /// The line at `position` up to its CR, if that and the byte after it (which Redis does not look at) are there;
    /// then `position` is behind both.
    #[cold]
    fn take_line<'a>(
        &mut self,
        bytes: &'a [u8],
        limits: &Limits,
        too_long: ProtocolError,
    ) -> Result<Option<&'a [u8]>, ProtocolError> {
        match self.find_line_end(b'\r', bytes, limits) {
            Line::Unfinished => Ok(None),
            Line::TooLong => Err(too_long),
            Line::EndsAt(end) if end + 1 < bytes.len() => {
                let line = &bytes[self.position..end];
                self.position = end + 2;
                Ok(Some(line))
            }
            Line::EndsAt(_) => Ok(None),
        }
    }

    /// Finds the `terminator` of the line at `position`, beginning where the last search stopped.
    fn find_line_end(&mut self, terminator: u8, bytes: &[u8], limits: &Limits) -> Line {
        let from = self.scanned.max(self.position);
        let line_bytes_max = match limits.unauthenticated {
            true => limits.inline_bytes_max.min(UNAUTHENTICATED_BULK_BYTES_MAX),
            false => limits.inline_bytes_max,
        };
        // One byte more than the longest line: its terminator.
        let window_end = self.position.saturating_add(line_bytes_max).saturating_add(1);
        let to = window_end.min(bytes.len());
        match memchr(terminator, bytes.get(from..to).unwrap_or_default()) {
            Some(offset) => {
                self.scanned = from + offset;
                Line::EndsAt(from + offset)
            }
            None if to == window_end => Line::TooLong,
            None => {
                self.scanned = to;
                Line::Unfinished
            }
        }
    }
}

/// The arguments of one request: slices of the caller's bytes, or of the parser's own where quotes had to be resolved.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    bytes: &'a [u8],
    spans: &'a [Range<usize>],
}

impl<'a> Args<'a> {
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// True only before a request is complete.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.spans.get(index).map(|span| &self.bytes[span.clone()])
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + DoubleEndedIterator + use<'a> {
        let bytes = self.bytes;
        self.spans.iter().map(move |span| &bytes[span.clone()])
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    fn index(&self, index: usize) -> &[u8] {
        &self.bytes[self.spans[index].clone()]
    }
}

/// The fast way through nearly all `*` and `$` lines: one type byte, a number below ten million without a sign, a CR
/// and one byte more. Gives the number and the length of the line, or `None` where the long way must decide.
#[inline]
fn short_number_line(line: &[u8]) -> Option<(u32, usize)> {
    let first = line.get(1)?.wrapping_sub(b'0');
    if first > 9 {
        return None;
    }
    let mut number = u32::from(first);
    for end in 2..9 {
        let byte = *line.get(end)?;
        if byte == b'\r' {
            // The byte after the CR must have arrived, and `01` is no number.
            return (line.len() > end + 1 && (first != 0 || end == 2)).then_some((number, end + 2));
        }
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + u32::from(digit);
    }
    None
}

#[cfg(test)]
mod tests;
