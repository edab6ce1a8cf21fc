//! The client's side of the wire: bytes to [`Reply`] values, incremental, from a server that is not trusted with the
//! client's memory.

use std::fmt;

use memchr::memchr;

use super::number::parse_integer;
use super::reply::Reply;

/// What one reply may take. A length is checked when it is announced; memory follows the bytes that really come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseLimits {
    /// How deep arrays, maps, sets and pushes (and attributes) may be nested.
    pub depth_max: usize,
    /// One line, its line end included: simple strings, errors, numbers, lengths.
    pub line_bytes_max: usize,
    pub bulk_bytes_max: usize,
    /// Values in one reply, those inside others included.
    pub items_max: usize,
    /// One whole reply on the wire, attributes included.
    pub reply_bytes_max: usize,
}

impl Default for ResponseLimits {
    fn default() -> Self {
        Self {
            depth_max: 64,
            line_bytes_max: 64 * 1024,
            bulk_bytes_max: 512 * 1024 * 1024,
            items_max: 16 * 1024 * 1024,
            reply_bytes_max: 1024 * 1024 * 1024,
        }
    }
}

/// Why a server cannot be understood. The connection is of no more use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseError {
    UnknownType(u8),
    /// `$?`, `*?` and the like: a value whose length is not announced.
    Streamed(u8),
    InvalidLength(u8),
    /// The line or body of this type does not hold what the type says.
    InvalidValue(u8),
    /// CR and LF are not where the line or body ends.
    MissingLineEnd,
    /// The named field of [`ResponseLimits`] is exceeded.
    TooBig(&'static str),
}

impl fmt::Display for ResponseError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownType(kind) => write!(out, "unknown reply type '{}'", kind.escape_ascii()),
            Self::Streamed(kind) => write!(out, "streamed replies ('{}?') are not supported", kind.escape_ascii()),
            Self::InvalidLength(kind) => write!(out, "invalid length of a '{}' reply", kind.escape_ascii()),
            Self::InvalidValue(kind) => write!(out, "invalid value of a '{}' reply", kind.escape_ascii()),
            Self::MissingLineEnd => write!(out, "a reply does not end with CR LF"),
            Self::TooBig(limit) => write!(out, "a reply is over the limit {limit}"),
        }
    }
}

impl std::error::Error for ResponseError {}

/// Takes every byte once. What is unfinished it keeps itself, so the caller's buffer never has to hold a whole reply.
#[derive(Debug)]
pub struct ResponseParser {
    limits: ResponseLimits,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// The body that is being read.
    body: Option<Body>,
    /// The unfinished aggregates, outermost first.
    frames: Vec<Frame>,
    /// Bytes and values of this reply so far.
    reply_bytes: usize,
    items: usize,
}

#[derive(Debug)]
struct Body {
    /// `$`, `!` or `=`.
    kind: u8,
    length: usize,
    /// What has come of the body and the CR LF behind it.
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Frame {
    kind: Aggregate,
    missing: usize,
    /// A map's keys and values alternate; an attribute's are dropped at once.
    items: Vec<Reply>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    Array,
    Map,
    Set,
    Push,
    /// Says something about the value that follows it, and is skipped.
    Attribute,
}

/// What a line was.
enum Step {
    Value(Reply),
    /// A body follows, or the items of an aggregate, or (after an empty attribute) just the next value.
    Opened,
}

/// Reserved for an announced aggregate or body before any of it has come.
const ITEMS_RESERVED_MAX: usize = 64;
const BODY_BYTES_RESERVED_MAX: usize = 64 * 1024;

impl ResponseParser {
    pub fn new(limits: ResponseLimits) -> Self {
        Self { limits, line: Vec::new(), body: None, frames: Vec::new(), reply_bytes: 0, items: 0 }
    }

    /// Takes bytes from the front of `bytes` up to the end of one reply, or all of them if its end is not there
    /// (`None`). A push is a reply like any other: the caller tells them apart.
    pub fn parse(&mut self, bytes: &mut &[u8]) -> Result<Option<Reply>, ResponseError> {
        while !bytes.is_empty() {
            let value = match self.body.take() {
                Some(body) => self.continue_body(body, bytes)?,
                None => match self.take_line(bytes)? {
                    Some(Step::Value(value)) => Some(value),
                    Some(Step::Opened) | None => None,
                },
            };
            if let Some(value) = value
                && let Some(reply) = self.deliver(value)
            {
                self.reply_bytes = 0;
                self.items = 0;
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    /// Takes the rest of a line, or what there is of it.
    fn take_line(&mut self, bytes: &mut &[u8]) -> Result<Option<Step>, ResponseError> {
        // Never looks past the limit, so the outcome does not depend on how much has come.
        let window = (self.limits.line_bytes_max - self.line.len()).min(bytes.len());
        let Some(end) = memchr(b'\n', &bytes[..window]) else {
            if self.line.len() + window == self.limits.line_bytes_max {
                return Err(ResponseError::TooBig("line_bytes_max"));
            }
            self.line.extend_from_slice(bytes);
            *bytes = &[];
            return Ok(None);
        };
        let (piece, after) = bytes.split_at(end + 1);
        *bytes = after;
        if self.line.is_empty() {
            return self.read_line(piece).map(Some);
        }
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(piece);
        let step = self.read_line(&line);
        line.clear();
        self.line = line;
        step.map(Some)
    }

    /// `line` is whole and ends with LF.
    fn read_line(&mut self, line: &[u8]) -> Result<Step, ResponseError> {
        self.spend_bytes(line.len())?;
        let [kind, text @ .., b'\r', b'\n'] = line else { return Err(ResponseError::MissingLineEnd) };
        let kind = *kind;
        if matches!(text, [b'?', ..]) && matches!(kind, b'$' | b'!' | b'=' | b'*' | b'%' | b'~' | b'>' | b'|') {
            return Err(ResponseError::Streamed(kind));
        }
        match kind {
            b'$' | b'*' if text == b"-1" => {
                self.spend_items(1)?;
                Ok(Step::Value(if kind == b'$' { Reply::Null } else { Reply::NullArray }))
            }
            b'$' | b'!' | b'=' => self.open_body(kind, text),
            b'*' => self.open_frame(Aggregate::Array, kind, text),
            b'%' => self.open_frame(Aggregate::Map, kind, text),
            b'~' => self.open_frame(Aggregate::Set, kind, text),
            b'>' => self.open_frame(Aggregate::Push, kind, text),
            b'|' => self.open_frame(Aggregate::Attribute, kind, text),
            _ => {
                self.spend_items(1)?;
                scalar(kind, text).map(Step::Value)
            }
        }
    }

    fn open_body(&mut self, kind: u8, text: &[u8]) -> Result<Step, ResponseError> {
        let length = parse_length(kind, text)?;
        if length > self.limits.bulk_bytes_max {
            return Err(ResponseError::TooBig("bulk_bytes_max"));
        }
        self.spend_items(1)?;
        self.spend_bytes(length.saturating_add(2))?;
        self.body = Some(Body { kind, length, bytes: Vec::new() });
        Ok(Step::Opened)
    }

    fn open_frame(&mut self, kind: Aggregate, type_byte: u8, text: &[u8]) -> Result<Step, ResponseError> {
        let length = parse_length(type_byte, text)?;
        let values = match kind {
            Aggregate::Map | Aggregate::Attribute => length.saturating_mul(2),
            Aggregate::Array | Aggregate::Set | Aggregate::Push => length,
        };
        self.spend_items(1)?;
        if values > self.limits.items_max - self.items {
            return Err(ResponseError::TooBig("items_max"));
        }
        if values == 0 {
            let empty = Frame { kind, missing: 0, items: Vec::new() };
            return Ok(empty.into_reply().map_or(Step::Opened, Step::Value));
        }
        if self.frames.len() == self.limits.depth_max {
            return Err(ResponseError::TooBig("depth_max"));
        }
        self.frames.push(Frame { kind, missing: values, items: Vec::with_capacity(values.min(ITEMS_RESERVED_MAX)) });
        Ok(Step::Opened)
    }

    /// Takes the rest of a body and its CR LF, or what there is of them.
    fn continue_body(&mut self, mut body: Body, bytes: &mut &[u8]) -> Result<Option<Reply>, ResponseError> {
        let total = body.length + 2;
        if body.bytes.is_empty() {
            body.bytes.reserve_exact(total.min(bytes.len().max(BODY_BYTES_RESERVED_MAX)));
        }
        let (piece, after) = bytes.split_at((total - body.bytes.len()).min(bytes.len()));
        body.bytes.extend_from_slice(piece);
        *bytes = after;
        if body.bytes.len() < total {
            self.body = Some(body);
            return Ok(None);
        }
        body.into_reply().map(Some)
    }

    /// Puts a value where it belongs. Gives the whole reply if this value completed it.
    fn deliver(&mut self, mut value: Reply) -> Option<Reply> {
        while let Some(frame) = self.frames.last_mut() {
            if frame.kind != Aggregate::Attribute {
                frame.items.push(value);
            }
            frame.missing -= 1;
            if frame.missing > 0 {
                return None;
            }
            value = self.frames.pop()?.into_reply()?;
        }
        Some(value)
    }

    fn spend_bytes(&mut self, count: usize) -> Result<(), ResponseError> {
        spend(&mut self.reply_bytes, count, self.limits.reply_bytes_max, "reply_bytes_max")
    }

    fn spend_items(&mut self, count: usize) -> Result<(), ResponseError> {
        spend(&mut self.items, count, self.limits.items_max, "items_max")
    }
}

impl Default for ResponseParser {
    fn default() -> Self {
        Self::new(ResponseLimits::default())
    }
}

impl Body {
    /// All bytes have come.
    fn into_reply(mut self) -> Result<Reply, ResponseError> {
        if !self.bytes.ends_with(b"\r\n") {
            return Err(ResponseError::MissingLineEnd);
        }
        self.bytes.truncate(self.length);
        match (self.kind, self.bytes.as_slice()) {
            (b'$', _) => Ok(Reply::Bulk(self.bytes)),
            (b'!', text) => Ok(Reply::Error(String::from_utf8_lossy(text).into_owned().into())),
            (_, [a, b, c, b':', text @ ..]) => Ok(Reply::Verbatim { format: [*a, *b, *c], text: text.to_vec() }),
            (kind, _) => Err(ResponseError::InvalidValue(kind)),
        }
    }
}

impl Frame {
    /// The value of a complete aggregate; an attribute is none.
    fn into_reply(self) -> Option<Reply> {
        match self.kind {
            Aggregate::Array => Some(Reply::Array(self.items)),
            Aggregate::Set => Some(Reply::Set(self.items)),
            Aggregate::Push => Some(Reply::Push(self.items)),
            Aggregate::Map => {
                let mut pairs = Vec::with_capacity(self.items.len() / 2);
                let mut items = self.items.into_iter();
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    pairs.push((key, value));
                }
                Some(Reply::Map(pairs))
            }
            Aggregate::Attribute => None,
        }
    }
}

/// A value that is one line.
fn scalar(kind: u8, text: &[u8]) -> Result<Reply, ResponseError> {
    let reply = match kind {
        b'+' if text == b"OK" => Some(Reply::Ok),
        b'+' => Some(Reply::Simple(String::from_utf8_lossy(text).into_owned().into())),
        b'-' => Some(Reply::Error(String::from_utf8_lossy(text).into_owned().into())),
        b':' => parse_integer(text.strip_prefix(b"+").unwrap_or(text)).map(Reply::Integer),
        b'_' => text.is_empty().then_some(Reply::Null),
        b'#' => match text {
            b"t" => Some(Reply::Bool(true)),
            b"f" => Some(Reply::Bool(false)),
            _ => None,
        },
        b',' => parse_double(text).map(Reply::Double),
        b'(' => parse_big_number(text).map(Reply::BigNumber),
        _ => return Err(ResponseError::UnknownType(kind)),
    };
    reply.ok_or(ResponseError::InvalidValue(kind))
}

/// As RESP3 writes doubles. (`-nan` is what the C library of some servers prints.)
fn parse_double(text: &[u8]) -> Option<f64> {
    match text {
        b"inf" => Some(f64::INFINITY),
        b"-inf" => Some(f64::NEG_INFINITY),
        b"nan" | b"-nan" => Some(f64::NAN),
        _ => {
            let is_number = text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
            if is_number { str::from_utf8(text).ok()?.parse().ok() } else { None }
        }
    }
}

fn parse_big_number(text: &[u8]) -> Option<String> {
    let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if is_number { String::from_utf8(text.to_vec()).ok() } else { None }
}

pub(super) fn parse_length(kind: u8, text: &[u8]) -> Result<usize, ResponseError> {
    parse_integer(text).and_then(|length| usize::try_from(length).ok()).ok_or(ResponseError::InvalidLength(kind))
}

fn spend(spent: &mut usize, count: usize, limit: usize, name: &'static str) -> Result<(), ResponseError> {
    if count > limit - *spent {
        return Err(ResponseError::TooBig(name));
    }
    *spent += count;
    Ok(())
}

#[cfg(test)]
mod tests;
