//! The library `cjson`: its settings, and the functions that read and change them. Encoding and decoding are next door.

use std::cell::Cell;
use std::rc::Rc;

use mlua::{Function, Lua, Table, Value};

use super::arguments::Arguments;
use super::json_decode::decode;
use super::json_encode::encode;
use super::reading::null;
use super::sandbox::function;
use super::session::Session;

/// How deep anything may be nested, whatever a script sets: each level takes some of the thread's stack.
pub(super) const DEPTH_MAX: i32 = 200;

/// What a script sees as set: as in Redis, whose stack bears that.
const USUAL_DEPTH_MAX: i32 = 1000;

/// What is to become of a number that JSON has no text for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InvalidNumbers {
    Refused,
    Written,
    Null,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JsonSettings {
    pub(super) is_sparse_converted: bool,
    pub(super) sparse_ratio: i32,
    pub(super) sparse_safe: i32,
    pub(super) encode_depth_max: i32,
    pub(super) decode_depth_max: i32,
    pub(super) encode_invalid: InvalidNumbers,
    pub(super) is_invalid_decoded: bool,
    pub(super) precision: i32,
    /// Has no effect: no buffer is kept.
    is_buffer_kept: bool,
}

impl Default for JsonSettings {
    fn default() -> JsonSettings {
        JsonSettings {
            is_sparse_converted: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth_max: USUAL_DEPTH_MAX,
            decode_depth_max: USUAL_DEPTH_MAX,
            encode_invalid: InvalidNumbers::Refused,
            is_invalid_decoded: true,
            precision: 14,
            is_buffer_kept: true,
        }
    }
}

type Settings = Rc<Cell<JsonSettings>>;

/// The table that all scripts share. Its settings are the usual ones again when the next call begins.
pub(super) fn table(lua: &Lua, session: &Rc<Session>) -> mlua::Result<Table> {
    module(lua, session, &session.json)
}

fn module(lua: &Lua, session: &Rc<Session>, settings: &Settings) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let add = |name: &str, body: Body| table.raw_set(name, with_settings(lua, session, settings, body)?);
    add("encode", |session, args, settings| encode(session, args, &settings.get()).map(Value::String))?;
    add("decode", |session, args, settings| decode(session, args, &settings.get()))?;
    add("encode_max_depth", |_, args, settings| {
        integer(args, settings, (1, i32::MAX), |settings| &mut settings.encode_depth_max)
    })?;
    add("decode_max_depth", |_, args, settings| {
        integer(args, settings, (1, i32::MAX), |settings| &mut settings.decode_depth_max)
    })?;
    add("encode_number_precision", |_, args, settings| {
        integer(args, settings, (1, 14), |settings| &mut settings.precision)
    })?;
    add("encode_keep_buffer", |_, args, settings| switch(args, settings, |settings| &mut settings.is_buffer_kept))?;
    add("decode_invalid_numbers", |_, args, settings| {
        switch(args, settings, |settings| &mut settings.is_invalid_decoded)
    })?;
    add("encode_invalid_numbers", |_, args, settings| invalid_numbers(args, settings))?;
    table.raw_set("encode_sparse_array", sparse_arrays(lua, settings)?)?;
    let fresh = function(lua, session, |session, args| module(args.lua, session, &Settings::default()))?;
    table.raw_set("new", fresh)?;
    table.raw_set("null", null())?;
    table.raw_set("_NAME", "cjson")?;
    table.raw_set("_VERSION", "2.1.0")?;
    Ok(table)
}

type Body = fn(&Rc<Session>, &Arguments<'_>, &Settings) -> mlua::Result<Value>;

fn with_settings(lua: &Lua, session: &Rc<Session>, settings: &Settings, body: Body) -> mlua::Result<Function> {
    let (session, settings) = (Rc::clone(session), Rc::clone(settings));
    lua.create_function(move |lua, values: mlua::MultiValue| body(&session, &Arguments::new(lua, values), &settings))
}

fn check_count(args: &Arguments<'_>, most: usize) -> mlua::Result<()> {
    if args.count() > most { Err(args.error(most + 1, "found too many arguments")) } else { Ok(()) }
}

/// Sets an integer where one is given, and returns it.
fn integer(
    args: &Arguments<'_>,
    settings: &Settings,
    range: (i32, i32),
    field: fn(&mut JsonSettings) -> &mut i32,
) -> mlua::Result<Value> {
    check_count(args, 1)?;
    let mut changed = settings.get();
    set_integer(args, 1, range, field(&mut changed))?;
    settings.set(changed);
    Ok(Value::Integer(i64::from(*field(&mut changed))))
}

fn set_integer(args: &Arguments<'_>, place: usize, (least, most): (i32, i32), field: &mut i32) -> mlua::Result<()> {
    if !args.is_nil(place) {
        let value = args.int(place)?;
        if !(least..=most).contains(&value) {
            return Err(args.error(1, &format!("expected integer between {least} and {most}")));
        }
        *field = value;
    }
    Ok(())
}

fn switch(args: &Arguments<'_>, settings: &Settings, field: fn(&mut JsonSettings) -> &mut bool) -> mlua::Result<Value> {
    check_count(args, 1)?;
    let mut changed = settings.get();
    set_switch(args, 1, field(&mut changed))?;
    settings.set(changed);
    Ok(Value::Boolean(*field(&mut changed)))
}

fn set_switch(args: &Arguments<'_>, place: usize, field: &mut bool) -> mlua::Result<()> {
    match args.value(place) {
        Value::Nil => {}
        Value::Boolean(value) => *field = *value,
        _ => *field = option(args, place, &["off", "on"])? == 1,
    }
    Ok(())
}

/// Which of the names an argument is.
fn option(args: &Arguments<'_>, place: usize, names: &[&str]) -> mlua::Result<usize> {
    let text = args.string(place)?;
    let text = text.as_bytes();
    names
        .iter()
        .position(|name| name.as_bytes() == &text[..])
        .ok_or_else(|| args.error(place, &format!("invalid option '{}'", String::from_utf8_lossy(&text))))
}

fn invalid_numbers(args: &Arguments<'_>, settings: &Settings) -> mlua::Result<Value> {
    const KINDS: [InvalidNumbers; 3] = [InvalidNumbers::Refused, InvalidNumbers::Written, InvalidNumbers::Null];
    check_count(args, 1)?;
    let mut changed = settings.get();
    match args.value(1) {
        Value::Nil => {}
        Value::Boolean(is_written) => changed.encode_invalid = KINDS[usize::from(*is_written)],
        _ => changed.encode_invalid = KINDS[option(args, 1, &["off", "on", "null"])?],
    }
    settings.set(changed);
    match changed.encode_invalid {
        InvalidNumbers::Null => args.lua.create_string("null").map(Value::String),
        kind => Ok(Value::Boolean(kind == InvalidNumbers::Written)),
    }
}

fn sparse_arrays(lua: &Lua, settings: &Settings) -> mlua::Result<Function> {
    let settings = Rc::clone(settings);
    lua.create_function(move |lua, values: mlua::MultiValue| {
        let args = Arguments::new(lua, values);
        check_count(&args, 3)?;
        let mut changed = settings.get();
        set_switch(&args, 1, &mut changed.is_sparse_converted)?;
        set_integer(&args, 2, (0, i32::MAX), &mut changed.sparse_ratio)?;
        set_integer(&args, 3, (0, i32::MAX), &mut changed.sparse_safe)?;
        settings.set(changed);
        Ok((changed.is_sparse_converted, changed.sparse_ratio, changed.sparse_safe))
    })
}
