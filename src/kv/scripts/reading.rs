//! A reply's bytes as a value of Lua. What comes is of our own making: it is whole, and of bounded depth.

use mlua::{LightUserData, Lua, Table, Value};

use super::raise::reply_table;

/// How deep replies may be nested.
const DEPTH_MAX: usize = 64;

/// # Errors
/// There is no memory, or the reply is not whole.
pub(super) fn value(lua: &Lua, reply: &[u8]) -> mlua::Result<Value> {
    Reader { lua, rest: reply }.value(DEPTH_MAX)
}

/// What an error reply says. None: it is no error.
pub(super) fn error_text(reply: &[u8]) -> Option<Vec<u8>> {
    let text = reply.strip_prefix(b"-")?;
    Some(with_code(text.strip_suffix(b"\r\n").unwrap_or(text)))
}

/// An error's text as scripts see it: a code and a message. What has no blank is a message.
pub(super) fn with_code(text: &[u8]) -> Vec<u8> {
    let (code, message) = match memchr::memchr(b' ', text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (&b"ERR"[..], text),
    };
    let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let begin = message.iter().take_while(|byte| is_line_end(byte)).count();
    let end = message.iter().rev().take_while(|byte| is_line_end(byte)).count();
    let message = message.get(begin..message.len() - end).unwrap_or_default();
    [code, b" ", message].concat()
}

struct Reader<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
}

fn broken() -> mlua::Error {
    mlua::Error::runtime("a reply is not whole")
}

impl<'a> Reader<'a> {
    fn line(&mut self) -> mlua::Result<&'a [u8]> {
        let end = memchr::memmem::find(self.rest, b"\r\n").ok_or_else(broken)?;
        let line = &self.rest[..end];
        self.rest = &self.rest[end + 2..];
        Ok(line)
    }

    fn body(&mut self, length: i64) -> mlua::Result<&'a [u8]> {
        let length = usize::try_from(length).map_err(|_| broken())?;
        let body = self.rest.get(..length).ok_or_else(broken)?;
        self.rest = self.rest.get(length + 2..).ok_or_else(broken)?;
        Ok(body)
    }

    fn value(&mut self, depth: usize) -> mlua::Result<Value> {
        let depth = depth.checked_sub(1).ok_or_else(broken)?;
        let line = self.line()?;
        let (kind, text) = line.split_first().ok_or_else(broken)?;
        let number = || crate::resp::number::parse_integer(text).ok_or_else(broken);
        match kind {
            b'+' => self.named("ok", text),
            b'-' => reply_table(self.lua, &with_code(text), true).map(Value::Table),
            b':' => number().map(|number| Value::Number(number as f64)),
            b'$' | b'*' if text == b"-1" => Ok(Value::Boolean(false)),
            b'$' => {
                let body = self.body(number()?)?;
                self.lua.create_string(body).map(Value::String)
            }
            b'*' => self.array(number()?, depth),
            b'%' => self.map(number()?, depth),
            b'~' => self.set(number()?, depth),
            b'_' => Ok(Value::Nil),
            b'#' => Ok(Value::Boolean(text == b"t")),
            b',' => self.double(text),
            b'(' => self.named("big_number", text),
            b'=' => self.verbatim(number()?),
            b'|' => {
                for _ in 0..number()?.saturating_mul(2) {
                    self.value(depth)?;
                }
                self.value(depth)
            }
            _ => Err(broken()),
        }
    }

    fn named(&self, name: &str, text: &[u8]) -> mlua::Result<Value> {
        self.wrapped(name, Value::String(self.lua.create_string(text)?))
    }

    fn wrapped(&self, name: &str, value: Value) -> mlua::Result<Value> {
        let table = self.lua.create_table()?;
        table.raw_set(name, value)?;
        Ok(Value::Table(table))
    }

    fn array(&mut self, length: i64, depth: usize) -> mlua::Result<Value> {
        let table = self.lua.create_table_with_capacity(self.capacity(length), 0)?;
        for number in 1..=length {
            let element = self.value(depth)?;
            table.raw_set(number, element)?;
        }
        Ok(Value::Table(table))
    }

    /// An element has three bytes at least.
    fn capacity(&self, length: i64) -> usize {
        usize::try_from(length).unwrap_or(0).min(self.rest.len() / 3)
    }

    fn map(&mut self, length: i64, depth: usize) -> mlua::Result<Value> {
        let table = self.lua.create_table_with_capacity(0, self.capacity(length))?;
        for _ in 0..length {
            let key = self.value(depth)?;
            let value = self.value(depth)?;
            put(&table, key, value)?;
        }
        self.wrapped("map", Value::Table(table))
    }

    fn set(&mut self, length: i64, depth: usize) -> mlua::Result<Value> {
        let table = self.lua.create_table_with_capacity(0, self.capacity(length))?;
        for _ in 0..length {
            let element = self.value(depth)?;
            put(&table, element, Value::Boolean(true))?;
        }
        self.wrapped("set", Value::Table(table))
    }

    fn double(&self, text: &[u8]) -> mlua::Result<Value> {
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok()).ok_or_else(broken)?;
        self.wrapped("double", Value::Number(number))
    }

    fn verbatim(&mut self, length: i64) -> mlua::Result<Value> {
        let body = self.body(length)?;
        let (format, text) = body.split_at_checked(4).ok_or_else(broken)?;
        let table = self.lua.create_table()?;
        table.raw_set("string", self.lua.create_string(text)?)?;
        table.raw_set("format", self.lua.create_string(&format[..3])?)?;
        self.wrapped("verbatim_string", Value::Table(table))
    }
}

/// No table has a place for nil.
fn put(table: &Table, key: Value, value: Value) -> mlua::Result<()> {
    match key {
        Value::Nil => Ok(()),
        key => table.raw_set(key, value),
    }
}

/// What stands for `null` where a table must hold it.
pub(super) fn null() -> Value {
    Value::LightUserData(LightUserData(std::ptr::null_mut()))
}
