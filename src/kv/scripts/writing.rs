//! What a script returned, as a reply: by the rules of Redis, which go by the fields of a table. Calls no metamethod.

use std::rc::Rc;

use mlua::{Lua, LuaString, Table, Value};

use super::arguments::truncated;
use super::seam::ScriptError;
use super::session::Session;
use super::tables::for_each;
use crate::kv::errors;
use crate::resp::{ReplyWriter, TooLarge, Version};

/// How deep tables may be nested: what is deeper is an error in its place. Redis goes on for as long as Lua's stack does, some thousands.
const DEPTH_MAX: usize = 200;

pub(super) enum Stop {
    /// The value is an error: its text, and whether it has been counted.
    Error {
        text: Vec<u8>,
        is_counted: bool,
    },
    TooLarge,
    Lua(mlua::Error),
}

impl From<TooLarge> for Stop {
    fn from(_: TooLarge) -> Stop {
        Stop::TooLarge
    }
}

impl From<mlua::Error> for Stop {
    fn from(error: mlua::Error) -> Stop {
        Stop::Lua(error)
    }
}

pub(super) fn value(lua: &Lua, session: &Rc<Session>, value: &Value, reply: &mut ReplyWriter<'_>) -> Result<(), Stop> {
    Writer { lua, session, reply }.value(value, 0)
}

/// The text of an error's table, as `redis.error_reply` makes one, and whether it has been counted. None: it has none.
pub(super) fn error_of(table: &Table) -> mlua::Result<Option<(Vec<u8>, bool)>> {
    let Value::String(text) = table.raw_get("err")? else { return Ok(None) };
    let is_counted = matches!(table.raw_get("ignore_error_stats_update")?, Value::Boolean(true));
    Ok(Some((c_string(&text), is_counted)))
}

/// Up to its first zero byte, as C reads it.
pub(super) fn c_string(text: &LuaString) -> Vec<u8> {
    text.as_bytes().split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}

impl ScriptError {
    pub(super) fn of_text(text: &[u8], is_counted: bool) -> ScriptError {
        ScriptError::Reply { text: String::from_utf8_lossy(text).into_owned(), is_counted }
    }
}

struct Writer<'a, 'b> {
    lua: &'a Lua,
    session: &'a Rc<Session>,
    reply: &'a mut ReplyWriter<'b>,
}

impl Writer<'_, '_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Stop> {
        self.session.charge(self.lua, 1)?;
        match value {
            Value::String(text) => self.reply.bulk(&text.as_bytes())?,
            Value::Boolean(boolean) if self.session.version.get() == Version::Resp3 => self.reply.boolean(*boolean)?,
            Value::Boolean(true) => self.reply.integer(1)?,
            Value::Integer(number) => self.reply.integer(*number)?,
            Value::Number(number) => self.reply.integer(truncated(*number))?,
            Value::Table(_) if depth == DEPTH_MAX => self.reply.error(errors::SCRIPT_REPLY_TOO_DEEP)?,
            Value::Table(table) => self.table(table, depth)?,
            _ => self.reply.null()?,
        }
        Ok(())
    }

    fn table(&mut self, table: &Table, depth: usize) -> Result<(), Stop> {
        if let Some((text, is_counted)) = error_of(table)? {
            if depth == 0 {
                return Err(Stop::Error { text, is_counted });
            }
            return Ok(self.reply.error(&String::from_utf8_lossy(&text))?);
        }
        if let Value::String(text) = table.raw_get("ok")? {
            return Ok(self.reply.simple(&one_line(&c_string(&text)))?);
        }
        match table.raw_get("double")? {
            Value::Integer(number) => return Ok(self.reply.double(number as f64)?),
            Value::Number(number) => return Ok(self.reply.double(number)?),
            _ => {}
        }
        if let Value::String(digits) = table.raw_get("big_number")? {
            return Ok(self.reply.big_number(&one_line(&digits.as_bytes()))?);
        }
        if let Value::Table(parts) = table.raw_get("verbatim_string")?
            && let (Value::String(format), Value::String(text)) = (parts.raw_get("format")?, parts.raw_get("string")?)
        {
            return Ok(self.reply.verbatim(format_of(&c_string(&format)), &text.as_bytes())?);
        }
        if let Value::Table(map) = table.raw_get("map")? {
            return self.pairs(&map, depth, true);
        }
        if let Value::Table(set) = table.raw_get("set")? {
            return self.pairs(&set, depth, false);
        }
        self.array(table, depth)
    }

    /// A map, or the keys of one as a set.
    fn pairs(&mut self, table: &Table, depth: usize, is_map: bool) -> Result<(), Stop> {
        let mut length = 0;
        for_each::<Stop>(table, |_, _| {
            length += 1;
            Ok(true)
        })?;
        if is_map {
            self.reply.map(length)?;
        } else {
            self.reply.set(length)?;
        }
        for_each(table, |key, value| {
            self.value(key, depth + 1)?;
            if is_map {
                self.value(value, depth + 1)?;
            }
            Ok(true)
        })
    }

    /// Up to the first nil.
    fn array(&mut self, table: &Table, depth: usize) -> Result<(), Stop> {
        let mut length = 0;
        while !matches!(table.raw_get(length + 1)?, Value::Nil) {
            length += 1;
            self.session.charge(self.lua, 1)?;
        }
        self.reply.array(length)?;
        for number in 1..=length {
            self.value(&table.raw_get(number)?, depth + 1)?;
        }
        Ok(())
    }
}

fn one_line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).replace(['\r', '\n'], " ")
}

/// Three bytes, with blanks for what is missing.
fn format_of(format: &[u8]) -> [u8; 3] {
    std::array::from_fn(|at| format.get(at).copied().unwrap_or(b' '))
}
