//! What a library does while it loads: it registers functions. Knows not where they are kept.

use std::rc::Rc;

use mlua::{Lua, Table, Value};

use super::api;
use super::arguments::{Arguments, string_of};
use super::raise;
use super::sandbox::function;
use super::seam::{Function, ScriptFlags};
use super::session::Session;
use super::shebang::is_name;
use super::writing::c_string;
use crate::kv::errors;

/// Descriptions are kept outside of the interpreter, which does not count them.
const DESCRIPTION_BYTES_MAX: usize = 4096;

/// A library on its way.
pub(super) struct Loading {
    pub(super) functions: Vec<Function>,
    /// Name -> what FCALL calls.
    pub(super) callbacks: Table,
}

/// `redis` as a library sees it while it loads.
pub(super) fn load_table(lua: &Lua, session: &Rc<Session>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("register_function", function(lua, session, register)?)?;
    api::add_log_and_version(lua, session, &table)?;
    Ok(table)
}

fn register(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<()> {
    if session.loading.borrow().is_none() {
        return Err(raise::reply_error("redis.register_function can only be called on FUNCTION LOAD command"));
    }
    let (registered, callback) = match args.count() {
        1 => named(args)?,
        2 => positional(args)?,
        _ => return Err(raise::reply_error("wrong number of arguments to redis.register_function")),
    };
    if !is_name(&registered.name) {
        return Err(raise::reply_error(errors::BAD_FUNCTION_NAME));
    }
    let mut loading = session.loading.borrow_mut();
    let Some(loading) = loading.as_mut() else { return Ok(()) };
    if loading.functions.iter().any(|function| function.name == registered.name) {
        return Err(raise::reply_error("Function already exists in the library"));
    }
    loading.callbacks.raw_set(args.lua.create_string(&registered.name)?, callback)?;
    loading.functions.push(registered);
    Ok(())
}

fn text_of(lua: &Lua, value: &Value) -> mlua::Result<Option<Vec<u8>>> {
    Ok(string_of(lua, value)?.map(|text| text.as_bytes().to_vec()))
}

fn positional(args: &Arguments<'_>) -> mlua::Result<(Function, Value)> {
    let name = text_of(args.lua, args.value(1))?
        .ok_or_else(|| raise::reply_error("first argument to redis.register_function must be a string"))?;
    if !args.value(2).is_function() {
        return Err(raise::reply_error("second argument to redis.register_function must be a function"));
    }
    Ok((Function { name, description: None, flags: ScriptFlags::default() }, args.value(2).clone()))
}

fn named(args: &Arguments<'_>) -> mlua::Result<(Function, Value)> {
    let Value::Table(table) = args.value(1) else {
        return Err(raise::reply_error(
            "calling redis.register_function with a single argument is only applicable to Lua table (representing named arguments).",
        ));
    };
    let lua = args.lua;
    let (mut name, mut description, mut callback, mut flags) = (None, None, None, ScriptFlags::default());
    table.for_each(|key: Value, value: Value| {
        let key = text_of(lua, &key)?
            .ok_or_else(|| raise::reply_error("named argument key given to redis.register_function is not a string"))?;
        let wrong = |what: &str| raise::reply_error(what);
        match &key.to_ascii_lowercase()[..] {
            b"function_name" => {
                let text = text_of(lua, &value)?;
                let text = text
                    .ok_or_else(|| wrong("function_name argument given to redis.register_function must be a string"));
                name = Some(text?);
            }
            b"description" => {
                let text = text_of(lua, &value)?;
                let text =
                    text.ok_or_else(|| wrong("description argument given to redis.register_function must be a string"));
                let text = text?;
                if text.len() > DESCRIPTION_BYTES_MAX {
                    return Err(wrong(
                        "description argument given to redis.register_function is longer than 4096 bytes",
                    ));
                }
                description = Some(text);
            }
            b"callback" if value.is_function() => callback = Some(value),
            b"callback" => return Err(wrong("callback argument given to redis.register_function must be a function")),
            b"flags" => match &value {
                Value::Table(names) => flags = read_flags(names)?,
                _ => {
                    return Err(wrong(
                        "flags argument to redis.register_function must be a table representing function flags",
                    ));
                }
            },
            _ => return Err(wrong("unknown argument given to redis.register_function")),
        }
        Ok(())
    })?;
    let name = name.ok_or_else(|| raise::reply_error("redis.register_function must get a function name argument"))?;
    let callback =
        callback.ok_or_else(|| raise::reply_error("redis.register_function must get a callback argument"))?;
    Ok((Function { name, description, flags }, callback))
}

fn read_flags(names: &Table) -> mlua::Result<ScriptFlags> {
    let mut flags = ScriptFlags::default();
    for number in 1.. {
        let known = match names.raw_get(number)? {
            Value::Nil => break,
            Value::String(name) => flags.set(&c_string(&name).to_ascii_lowercase()),
            _ => None,
        };
        known.ok_or_else(|| raise::reply_error("unknown flag given"))?;
    }
    Ok(flags)
}
