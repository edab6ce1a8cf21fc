//! The arguments of a library's function, read as `luaL_check…` reads them, with its error texts. Knows no function.

use mlua::{Lua, LuaString, MultiValue, Table, Value};

use super::raise;

/// Numbered from 1, as Lua does.
pub(super) struct Arguments<'a> {
    pub(super) lua: &'a Lua,
    values: MultiValue,
}

impl<'a> Arguments<'a> {
    pub(super) fn new(lua: &'a Lua, values: MultiValue) -> Arguments<'a> {
        Arguments { lua, values }
    }

    /// With a nil behind them.
    pub(super) fn with_nil(&self) -> Arguments<'a> {
        let mut values = self.values.clone();
        values.push_back(Value::Nil);
        Arguments { lua: self.lua, values }
    }

    pub(super) fn count(&self) -> usize {
        self.values.len()
    }

    /// Nil where there is none.
    pub(super) fn value(&self, number: usize) -> &Value {
        self.values.get(number - 1).unwrap_or(&Value::Nil)
    }

    pub(super) fn is_nil(&self, number: usize) -> bool {
        matches!(self.value(number), Value::Nil)
    }

    pub(super) fn string(&self, number: usize) -> mlua::Result<LuaString> {
        string_of(self.lua, self.value(number))?.ok_or_else(|| self.type_error(number, "string"))
    }

    pub(super) fn number(&self, number: usize) -> mlua::Result<f64> {
        number_of(self.lua, self.value(number))?.ok_or_else(|| self.type_error(number, "number"))
    }

    /// Without what is behind its point.
    pub(super) fn integer(&self, number: usize) -> mlua::Result<i64> {
        self.number(number).map(truncated)
    }

    pub(super) fn integer_or(&self, number: usize, default: i64) -> mlua::Result<i64> {
        if self.is_nil(number) { Ok(default) } else { self.integer(number) }
    }

    /// As C makes an `int` of it.
    pub(super) fn int(&self, number: usize) -> mlua::Result<i32> {
        self.integer(number).map(|integer| integer as i32)
    }

    pub(super) fn int_or(&self, number: usize, default: i32) -> mlua::Result<i32> {
        if self.is_nil(number) { Ok(default) } else { self.int(number) }
    }

    pub(super) fn table(&self, number: usize) -> mlua::Result<&Table> {
        self.value(number).as_table().ok_or_else(|| self.type_error(number, "table"))
    }

    pub(super) fn type_error(&self, number: usize, expected: &str) -> mlua::Error {
        let found = if number > self.count() { "no value" } else { type_name(self.value(number)) };
        self.error(number, &format!("{expected} expected, got {found}"))
    }

    /// `bad argument #1 to 'find' (…)`
    pub(super) fn error(&self, number: usize, what: &str) -> mlua::Error {
        let (name, is_method) = self
            .lua
            .inspect_stack(0, |debug| {
                let names = debug.names();
                (names.name.map(|name| name.into_owned()), names.name_what == Some("method"))
            })
            .unwrap_or((None, false));
        let name = name.as_deref().unwrap_or("?");
        let number = number - usize::from(is_method);
        raise::error(
            self.lua,
            match number {
                0 if is_method => format!("calling '{name}' on bad self ({what})"),
                number => format!("bad argument #{number} to '{name}' ({what})"),
            },
        )
    }
}

pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nil",
        Value::Boolean(_) => "boolean",
        Value::Integer(_) | Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Table(_) => "table",
        Value::Function(_) => "function",
        Value::Thread(_) => "thread",
        _ => "userdata",
    }
}

/// A string, or a number as text. None: something else.
pub(super) fn string_of(lua: &Lua, value: &Value) -> mlua::Result<Option<LuaString>> {
    match value {
        Value::String(text) => Ok(Some(text.clone())),
        Value::Integer(_) | Value::Number(_) => lua.coerce_string(value.clone()),
        _ => Ok(None),
    }
}

/// A number, or a string that spells one. None: something else.
pub(super) fn number_of(lua: &Lua, value: &Value) -> mlua::Result<Option<f64>> {
    match value {
        Value::Integer(number) => Ok(Some(*number as f64)),
        Value::Number(number) => Ok(Some(*number)),
        Value::String(_) => lua.coerce_number(value.clone()),
        _ => Ok(None),
    }
}

/// As a processor converts it: what no integer can be is the smallest.
pub(super) fn truncated(number: f64) -> i64 {
    if number.is_nan() || number >= 9_223_372_036_854_775_808.0 { i64::MIN } else { number as i64 }
}
