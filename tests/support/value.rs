//! Replies as values, read strictly: what a server would not write in exactly these bytes is refused. Written down
//! again in the notation of the transcripts, one line each. It shares no code with the service, on purpose.

use std::fmt::{self, Display, Formatter, Write};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Null {
    /// `$-1`
    Bulk,
    /// `*-1`
    Array,
    /// `_`, of RESP3
    Plain,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    Null(Null),
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    Push(Vec<Value>),
    /// As it is written.
    Double(String),
    Bool(bool),
    Big(String),
    /// The format, a colon, the text.
    Verbatim(Vec<u8>),
}

pub enum Parsed {
    NeedMore,
    /// With the number of bytes it took.
    Complete(Value, usize),
}

impl Value {
    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }

    /// The number of an integer reply.
    pub fn integer(&self) -> i64 {
        match self {
            Value::Integer(number) => *number,
            other => panic!("an integer was expected, not {other}"),
        }
    }

    /// The bytes of a bulk, simple or verbatim string; `None` for a null.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Bulk(bytes) | Value::Simple(bytes) | Value::Verbatim(bytes) => Some(bytes),
            Value::Null(_) => None,
            other => panic!("a string was expected, not {other}"),
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes().unwrap_or_default()).into_owned()
    }

    pub fn items(&self) -> &[Value] {
        match self {
            Value::Array(items) | Value::Set(items) | Value::Push(items) => items,
            other => panic!("an array was expected, not {other}"),
        }
    }

    /// The same with the elements of every aggregate in one order, for replies that have none.
    pub fn sorted(&self) -> Value {
        let sort = |items: &[Value]| {
            let mut items: Vec<Value> = items.iter().map(Value::sorted).collect();
            items.sort_by_key(ToString::to_string);
            items
        };
        match self {
            Value::Array(items) => Value::Array(sort(items)),
            Value::Set(items) => Value::Set(sort(items)),
            Value::Push(items) => Value::Push(sort(items)),
            Value::Map(pairs) => {
                let mut pairs: Vec<_> = pairs.iter().map(|(key, value)| (key.sorted(), value.sorted())).collect();
                pairs.sort_by_key(|(key, _)| key.to_string());
                Value::Map(pairs)
            }
            other => other.clone(),
        }
    }

    /// As RESP2 has it, where maps and sets are arrays.
    pub fn flat(&self) -> Value {
        self.without_maps(|key, value| vec![key, value])
    }

    /// The same of a reply that has its map as pairs.
    pub fn paired(&self) -> Value {
        self.without_maps(|key, value| vec![Value::Array(vec![key, value])])
    }

    fn without_maps(&self, shown: fn(Value, Value) -> Vec<Value>) -> Value {
        let inner = |value: &Value| value.without_maps(shown);
        match self {
            Value::Array(items) | Value::Set(items) => Value::Array(items.iter().map(inner).collect()),
            Value::Map(pairs) => {
                Value::Array(pairs.iter().flat_map(|(key, value)| shown(inner(key), inner(value))).collect())
            }
            other => other.clone(),
        }
    }

    fn write(&self, is_nested: bool, out: &mut impl Write) -> fmt::Result {
        match self {
            Value::Simple(text) => line('+', text, is_nested, out),
            Value::Error(text) => line('-', text, is_nested, out),
            Value::Integer(number) => write!(out, ":{number}"),
            Value::Bulk(bytes) => quoted(bytes, out),
            Value::Null(Null::Bulk) => out.write_str("$-1"),
            Value::Null(Null::Array) => out.write_str("*-1"),
            Value::Null(Null::Plain) => out.write_str("_"),
            Value::Array(items) => list("[", items, out),
            Value::Set(items) => list("~[", items, out),
            Value::Push(items) => list(">[", items, out),
            Value::Map(pairs) => {
                out.write_char('{')?;
                for (at, (key, value)) in pairs.iter().enumerate() {
                    out.write_str(if at == 0 { "" } else { ", " })?;
                    key.write(true, out)?;
                    out.write_str(": ")?;
                    value.write(true, out)?;
                }
                out.write_char('}')
            }
            Value::Double(text) => write!(out, ",{text}"),
            Value::Bool(is_true) => out.write_str(if *is_true { "#t" } else { "#f" }),
            Value::Big(text) => write!(out, "({text}"),
            Value::Verbatim(text) => {
                out.write_char('=')?;
                quoted(text, out)
            }
        }
    }
}

impl Display for Value {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        self.write(false, formatter)
    }
}

fn list(open: &str, items: &[Value], out: &mut impl Write) -> fmt::Result {
    out.write_str(open)?;
    for (at, item) in items.iter().enumerate() {
        out.write_str(if at == 0 { "" } else { " " })?;
        item.write(true, out)?;
    }
    out.write_char(']')
}

/// A simple string or an error: bare where it is the whole reply, quoted inside of another.
fn line(sigil: char, text: &[u8], is_nested: bool, out: &mut impl Write) -> fmt::Result {
    out.write_char(sigil)?;
    if is_nested { quoted(text, out) } else { escaped(text, out) }
}

/// Longer runs of one byte are written `"x"*300`.
const RUN_MIN: usize = 33;

fn quoted(bytes: &[u8], out: &mut impl Write) -> fmt::Result {
    let is_run = bytes.len() >= RUN_MIN && bytes.iter().all(|byte| *byte == bytes[0]);
    out.write_char('"')?;
    escaped(if is_run { &bytes[..1] } else { bytes }, out)?;
    out.write_char('"')?;
    if is_run { write!(out, "*{}", bytes.len()) } else { Ok(()) }
}

fn escaped(bytes: &[u8], out: &mut impl Write) -> fmt::Result {
    for byte in bytes {
        match byte {
            b'"' => out.write_str("\\\"")?,
            b'\\' => out.write_str("\\\\")?,
            b'\n' => out.write_str("\\n")?,
            b'\r' => out.write_str("\\r")?,
            b'\t' => out.write_str("\\t")?,
            b' '..=b'~' => out.write_char(char::from(*byte))?,
            other => write!(out, "\\x{other:02x}")?,
        }
    }
    Ok(())
}

/// The first reply of `bytes`; an error says what no server should write.
pub fn parse(bytes: &[u8]) -> Result<Parsed, String> {
    let mut reader = Reader { bytes, at: 0 };
    match reader.value() {
        Ok(value) => Ok(Parsed::Complete(value, reader.at)),
        Err(Stop::NeedMore) => Ok(Parsed::NeedMore),
        Err(Stop::Wrong(what)) => Err(what),
    }
}

enum Stop {
    NeedMore,
    Wrong(String),
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self) -> Result<Value, Stop> {
        let line = self.line()?;
        let (Some(kind), rest) = (line.first().copied(), line.get(1..).unwrap_or_default()) else {
            return Err(Stop::Wrong("an empty line".to_owned()));
        };
        Ok(match kind {
            b'+' => Value::Simple(rest.to_vec()),
            b'-' => Value::Error(rest.to_vec()),
            b':' => Value::Integer(number(rest)?),
            b'$' if rest == b"-1" => Value::Null(Null::Bulk),
            b'$' => Value::Bulk(self.exactly(length(rest)?)?),
            b'=' => Value::Verbatim(self.exactly(length(rest)?)?),
            b'*' if rest == b"-1" => Value::Null(Null::Array),
            b'*' => Value::Array(self.values(length(rest)?)?),
            b'~' => Value::Set(self.values(length(rest)?)?),
            b'>' => Value::Push(self.values(length(rest)?)?),
            b'%' => {
                Value::Map((0..length(rest)?).map(|_| Ok((self.value()?, self.value()?))).collect::<Result<_, Stop>>()?)
            }
            b'_' if rest.is_empty() => Value::Null(Null::Plain),
            b',' => Value::Double(text(rest)),
            b'(' => Value::Big(text(rest)),
            b'#' if rest == b"t" || rest == b"f" => Value::Bool(rest == b"t"),
            _ => return Err(Stop::Wrong(format!("not the beginning of a reply: {:?}", text(&line)))),
        })
    }

    fn values(&mut self, count: usize) -> Result<Vec<Value>, Stop> {
        (0..count).map(|_| self.value()).collect()
    }

    fn line(&mut self) -> Result<Vec<u8>, Stop> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or(Stop::NeedMore)?;
        if end == 0 || rest[end - 1] != b'\r' {
            return Err(Stop::Wrong(format!("a line without its return: {:?}", text(&rest[..end]))));
        }
        self.at += end + 1;
        Ok(rest[..end - 1].to_vec())
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>, Stop> {
        let rest = &self.bytes[self.at..];
        if rest.len() < length + 2 {
            return Err(Stop::NeedMore);
        }
        if &rest[length..length + 2] != b"\r\n" {
            return Err(Stop::Wrong("a string that does not end where it says".to_owned()));
        }
        self.at += length + 2;
        Ok(rest[..length].to_vec())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn number(digits: &[u8]) -> Result<i64, Stop> {
    let wrong = || Stop::Wrong(format!("not a number: {:?}", text(digits)));
    let number: i64 = text(digits).parse().map_err(|_| wrong())?;
    if number.to_string().as_bytes() == digits { Ok(number) } else { Err(wrong()) }
}

fn length(digits: &[u8]) -> Result<usize, Stop> {
    usize::try_from(number(digits)?).map_err(|_| Stop::Wrong(format!("not a length: {:?}", text(digits))))
}
