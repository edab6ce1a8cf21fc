//! Values of Lua as JSON, as lua-cjson writes them.

use std::rc::Rc;

use mlua::{Lua, LuaString, Table, Value};

use super::arguments::{Arguments, type_name};
use super::json::{DEPTH_MAX, InvalidNumbers, JsonSettings};
use super::raise;
use super::session::Session;
use super::tables::for_each;
use crate::kv::formats::number::to_text_of_digits;

pub(super) fn encode(session: &Rc<Session>, args: &Arguments<'_>, settings: &JsonSettings) -> mlua::Result<LuaString> {
    if args.count() != 1 {
        return Err(args.error(1, "expected 1 argument"));
    }
    let mut encoder = Encoder { lua: args.lua, session, settings, out: Vec::new() };
    encoder.value(args.value(1), 0)?;
    args.lua.create_string(encoder.out)
}

struct Encoder<'a> {
    lua: &'a Lua,
    session: &'a Rc<Session>,
    settings: &'a JsonSettings,
    out: Vec<u8>,
}

impl Encoder<'_> {
    fn failed<T>(&self, value: &Value, reason: &str) -> mlua::Result<T> {
        Err(raise::error(self.lua, format!("Cannot serialise {}: {reason}", type_name(value))))
    }

    fn value(&mut self, value: &Value, depth: i32) -> mlua::Result<()> {
        self.session.charge(self.lua, 1)?;
        self.session.check_bytes(self.lua, self.out.len())?;
        match value {
            Value::String(text) => self.string(&text.as_bytes())?,
            Value::Integer(number) => self.number(*number as f64)?,
            Value::Number(number) => self.number(*number)?,
            Value::Boolean(boolean) => self.out.extend_from_slice(if *boolean { b"true" } else { b"false" }),
            Value::Table(table) => self.table(table, depth + 1)?,
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::LightUserData(address) if address.0.is_null() => self.out.extend_from_slice(b"null"),
            value => return self.failed(value, "type not supported"),
        }
        Ok(())
    }

    fn string(&mut self, text: &[u8]) -> mlua::Result<()> {
        // Each byte has six of them at most.
        self.session.check_bytes(self.lua, self.out.len().saturating_add(text.len().saturating_mul(6)))?;
        self.session.charge(self.lua, text.len() / 8)?;
        self.out.push(b'"');
        for byte in text {
            match byte {
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                b'/' => self.out.extend_from_slice(b"\\/"),
                8 => self.out.extend_from_slice(b"\\b"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                12 => self.out.extend_from_slice(b"\\f"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                0..=31 | 127 => self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                byte => self.out.push(*byte),
            }
        }
        self.out.push(b'"');
        Ok(())
    }

    fn number(&mut self, number: f64) -> mlua::Result<()> {
        if !number.is_finite() {
            match self.settings.encode_invalid {
                InvalidNumbers::Refused => return self.failed(&Value::Number(number), "must not be NaN or Inf"),
                InvalidNumbers::Null => {
                    self.out.extend_from_slice(b"null");
                    return Ok(());
                }
                InvalidNumbers::Written => {}
            }
        }
        self.out.extend_from_slice(to_text_of_digits(number, self.settings.precision).as_bytes());
        Ok(())
    }

    fn table(&mut self, table: &Table, depth: i32) -> mlua::Result<()> {
        if depth > self.settings.encode_depth_max.min(DEPTH_MAX) {
            return Err(raise::error(self.lua, format!("Cannot serialise, excessive nesting ({depth})")));
        }
        match self.array_length(table)? {
            Some(length) => self.array(table, length, depth),
            None => self.object(table, depth),
        }
    }

    /// None: it is an object.
    fn array_length(&self, table: &Table) -> mlua::Result<Option<i32>> {
        let (mut most, mut items, mut is_array) = (0_i32, 0_i32, true);
        for_each::<mlua::Error>(table, |key, _| {
            self.session.charge(self.lua, 1)?;
            let number = match key {
                Value::Integer(number) => *number as f64,
                Value::Number(number) => *number,
                _ => 0.0,
            };
            is_array = number >= 1.0 && number.floor() == number;
            if number > f64::from(most) {
                // As C does it: what no int can be is the smallest.
                most = if number > f64::from(i32::MAX) { i32::MIN } else { number as i32 };
            }
            items = items.saturating_add(1);
            Ok(is_array)
        })?;
        if !is_array {
            return Ok(None);
        }
        let JsonSettings { is_sparse_converted, sparse_ratio: ratio, sparse_safe: safe, .. } = *self.settings;
        if ratio > 0 && i64::from(most) > i64::from(items) * i64::from(ratio) && most > safe {
            if !is_sparse_converted {
                return self.failed(&Value::Table(table.clone()), "excessively sparse array");
            }
            return Ok(None);
        }
        Ok((most > 0).then_some(most))
    }

    fn array(&mut self, table: &Table, length: i32, depth: i32) -> mlua::Result<()> {
        self.out.push(b'[');
        for number in 1..=length {
            if number > 1 {
                self.out.push(b',');
            }
            self.value(&table.raw_get(number)?, depth)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn object(&mut self, table: &Table, depth: i32) -> mlua::Result<()> {
        self.out.push(b'{');
        let begin = self.out.len();
        for_each(table, |key, value| {
            if self.out.len() > begin {
                self.out.push(b',');
            }
            match key {
                Value::String(text) => self.string(&text.as_bytes())?,
                Value::Integer(_) | Value::Number(_) => {
                    self.out.push(b'"');
                    self.value(key, depth)?;
                    self.out.push(b'"');
                }
                key => return self.failed(key, "table key must be a number or string"),
            }
            self.out.push(b':');
            self.value(value, depth).map(|()| true)
        })?;
        self.out.push(b'}');
        Ok(())
    }
}
