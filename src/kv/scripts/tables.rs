//! The functions that reach into tables without their metatables: they see through those that are read-only, and write to none of them.

use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};

use super::arguments::Arguments;
use super::raise;
use super::sandbox::{check_writable, function};
use super::session::Session;

pub(super) fn add_globals(lua: &Lua, session: &Rc<Session>, globals: &Table) -> mlua::Result<()> {
    globals.raw_set("collectgarbage", function(lua, session, collect_garbage)?)?;
    globals.raw_set("getmetatable", function(lua, session, metatable)?)?;
    globals.raw_set("next", function(lua, session, next)?)?;
    globals.raw_set("pairs", function(lua, session, pairs)?)?;
    globals.raw_set("rawget", function(lua, session, raw_read)?)?;
    globals.raw_set("rawset", function(lua, session, raw_write)?)?;
    globals.raw_set("setmetatable", function(lua, session, set_metatable)?)
}

pub(super) fn add(lua: &Lua, session: &Rc<Session>, table: &Table) -> mlua::Result<()> {
    table.raw_set("insert", function(lua, session, insert)?)?;
    table.raw_set("remove", function(lua, session, remove)?)
}

/// Goes through a table until `each` says false.
pub(super) fn for_each<E: From<mlua::Error>>(
    table: &Table,
    mut each: impl FnMut(&Value, &Value) -> Result<bool, E>,
) -> Result<(), E> {
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        if !each(&key, &value)? {
            break;
        }
    }
    Ok(())
}

const OPTIONS: &[&[u8]] = &[b"collect", b"count", b"step", b"stop", b"restart", b"setpause", b"setstepmul"];

/// What a collection costs, in steps of a library: it goes through all of the memory.
const BYTES_A_STEP: usize = 64;

/// No script changes how much is collected, since the next one would have to live with it.
fn collect_garbage(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<f64> {
    let lua = args.lua;
    let option = if args.is_nil(1) { lua.create_string("collect")? } else { args.string(1)? };
    let option = option.as_bytes();
    if !OPTIONS.contains(&&option[..]) {
        return Err(args.error(1, &format!("invalid option '{}'", String::from_utf8_lossy(&option))));
    }
    Ok(match &option[..] {
        b"collect" | b"step" => {
            session.charge(lua, lua.used_memory() / BYTES_A_STEP)?;
            lua.gc_collect()?;
            0.0
        }
        b"count" => lua.used_memory() as f64 / 1024.0,
        b"setpause" | b"setstepmul" => 200.0,
        _ => 0.0,
    })
}

fn metatable(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<Value> {
    if args.count() == 0 {
        return Err(args.error(1, "value expected"));
    }
    let metatable = match args.value(1) {
        Value::Table(table) => match session.protected(table) {
            Some(protected) => return Ok(protected.metatable.map_or(Value::Nil, Value::Table)),
            None => table.metatable(),
        },
        Value::String(_) => args.lua.type_metatable::<mlua::LuaString>(),
        _ => None,
    };
    let Some(metatable) = metatable else { return Ok(Value::Nil) };
    Ok(match metatable.raw_get("__metatable")? {
        Value::Nil => Value::Table(metatable),
        told => told,
    })
}

fn set_metatable(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<Value> {
    let table = args.table(1)?;
    let metatable = match args.value(2) {
        Value::Table(metatable) => Some(metatable.clone()),
        Value::Nil if args.count() >= 2 => None,
        _ => return Err(args.error(2, "nil or table expected")),
    };
    check_writable(session, table)?;
    let is_closed = match table.metatable() {
        Some(old) => !matches!(old.raw_get("__metatable")?, Value::Nil),
        None => false,
    };
    if is_closed {
        return Err(raise::error(args.lua, "cannot change a protected metatable"));
    }
    table.set_metatable(metatable)?;
    Ok(args.value(1).clone())
}

fn next(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<MultiValue> {
    let table = args.table(1)?;
    let next = session.natives.borrow().as_ref().map(|natives| natives.next.clone());
    let next = next.ok_or_else(|| mlua::Error::runtime("no sandbox"))?;
    match session.protected(table) {
        Some(protected) => next.call((protected.contents, args.value(2))),
        None => next.call((table, args.value(2))),
    }
}

/// For a table of the script, Lua's own `next` goes through it.
fn pairs(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<(Value, Value)> {
    let table = args.table(1)?;
    let next = if session.is_protected(table) {
        function(args.lua, session, next)?
    } else {
        let natives = session.natives.borrow();
        natives.as_ref().map(|natives| natives.next.clone()).ok_or_else(|| mlua::Error::runtime("no sandbox"))?
    };
    Ok((Value::Function(next), args.value(1).clone()))
}

fn raw_read(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<Value> {
    let table = args.table(1)?;
    if args.count() < 2 {
        return Err(args.error(2, "value expected"));
    }
    match session.protected(table) {
        Some(protected) => protected.contents.raw_get(args.value(2)),
        None => table.raw_get(args.value(2)),
    }
}

fn raw_write(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<Value> {
    let table = args.table(1)?;
    if let Some(missing) = (2..=3).find(|number| args.count() < *number) {
        return Err(args.error(missing, "value expected"));
    }
    check_writable(session, table)?;
    table.raw_set(args.value(2), args.value(3))?;
    Ok(args.value(1).clone())
}

/// Moves elements up, as many as there are behind the position, whatever number that is: so it counts.
fn insert(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<()> {
    let table = args.table(1)?;
    check_writable(session, table)?;
    match args.count() {
        2 => table.raw_push(args.value(2)),
        3 => {
            let position = i64::from(args.int(2)?);
            let end = (table.raw_len() as i64 + 1).max(position);
            for place in (position + 1..=end).rev() {
                session.charge(args.lua, 1)?;
                table.raw_set(place, table.raw_get::<Value>(place - 1)?)?;
            }
            table.raw_set(position, args.value(3))
        }
        _ => Err(raise::error(args.lua, "wrong number of arguments to 'insert'")),
    }
}

fn remove(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<MultiValue> {
    let table = args.table(1)?;
    check_writable(session, table)?;
    let end = table.raw_len() as i64;
    let position = args.int_or(2, end as i32).map(i64::from)?;
    if !(1..=end).contains(&position) {
        return Ok(MultiValue::new());
    }
    let removed: Value = table.raw_get(position)?;
    for place in position..end {
        session.charge(args.lua, 1)?;
        table.raw_set(place, table.raw_get::<Value>(place + 1)?)?;
    }
    table.raw_set(end, Value::Nil)?;
    Ok(MultiValue::from_vec(vec![removed]))
}
