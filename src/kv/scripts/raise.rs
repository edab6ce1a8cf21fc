//! Errors on their way from a library to the script: what is raised, where it happened, and what a `pcall` makes of it.
//!
//! mlua raises an error of Rust as a userdata. Wherever a script catches one, `translate` puts what it stands for in its place.

use std::fmt;
use std::rc::Rc;

use mlua::{Lua, Value};

use super::seam::Over;
use super::session::Session;

/// What a script finds in place of the error.
#[derive(Debug)]
pub(super) enum Raised {
    /// A string.
    Text(Vec<u8>),
    /// A table with `err`.
    Reply { text: Vec<u8>, is_counted: bool },
    /// What the script raised itself, below a library.
    Value(Value),
    /// Nothing: the script is over.
    Ended,
}

impl fmt::Display for Raised {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raised::Text(text) | Raised::Reply { text, .. } => out.write_str(&String::from_utf8_lossy(text)),
            Raised::Value(_) => out.write_str("a value of the script"),
            Raised::Ended => out.write_str("the script was ended"),
        }
    }
}

impl std::error::Error for Raised {}

impl From<Raised> for mlua::Error {
    fn from(raised: Raised) -> mlua::Error {
        mlua::Error::external(raised)
    }
}

pub(super) fn ended() -> mlua::Error {
    Raised::Ended.into()
}

/// An error text as `luaL_error` raises it: with the place of the call before it.
pub(super) fn error(lua: &Lua, text: impl AsRef<[u8]>) -> mlua::Error {
    let mut whole = place_before(lua).into_bytes();
    whole.extend_from_slice(text.as_ref());
    Raised::Text(whole).into()
}

/// An error of the API of Redis: a table whose `err` begins with a code.
pub(super) fn reply_error(text: &str) -> mlua::Error {
    Raised::Reply { text: format!("ERR {text}").into_bytes(), is_counted: false }.into()
}

/// What the functions of Lua that come with the interpreter call themselves, as functions in C do.
pub(super) const NATIVE: &str = "=[C]";

/// Levels of the stack that are looked through for a place.
const LEVELS_MAX: usize = 250;

/// Where the function that runs was called from, as `luaL_where` says it: `user_script:1: `, or nothing.
fn place_before(lua: &Lua) -> String {
    for level in 1..LEVELS_MAX {
        let place = lua.inspect_stack(level, |debug| {
            let source = debug.source();
            if source.source.as_deref() == Some(NATIVE) && source.what != "C" {
                return None;
            }
            let name = source.short_src.as_deref().unwrap_or("?").to_owned();
            Some(debug.current_line().map_or_else(String::new, |line| format!("{name}:{line}: ")))
        });
        match place {
            Some(Some(place)) => return place,
            Some(None) => {}
            None => break,
        }
    }
    String::new()
}

/// The innermost line of the script that runs: its source, with the sign before it, and the number.
pub(super) fn place(lua: &Lua) -> Option<(String, usize)> {
    for level in 1..LEVELS_MAX {
        let place = lua.inspect_stack(level, |debug| {
            let source = debug.source();
            let is_script = source.what != "C" && source.source.as_deref() != Some(NATIVE);
            let line = debug.current_line().filter(|_| is_script)?;
            Some((source.source.as_deref().unwrap_or("?").to_owned(), line))
        })?;
        if place.is_some() {
            return place;
        }
    }
    None
}

/// What the script finds in place of an error of Rust.
///
/// # Errors
/// The script is over, and finds nothing.
pub(super) fn translate(session: &Rc<Session>, lua: &Lua, value: Value) -> mlua::Result<Value> {
    if session.over().is_some() {
        return Err(ended());
    }
    match value {
        Value::Error(error) => translate_error(session, lua, &error),
        Value::String(text) if text.as_bytes() == OUT_OF_MEMORY => Err(session.end(lua, Over::OutOfMemory)),
        value => Ok(value),
    }
}

/// What Lua says when it gets no memory.
pub(super) const OUT_OF_MEMORY: &[u8] = b"not enough memory";

fn translate_error(session: &Rc<Session>, lua: &Lua, error: &mlua::Error) -> mlua::Result<Value> {
    match cause(error) {
        mlua::Error::MemoryError(_) => Err(session.end(lua, Over::OutOfMemory)),
        mlua::Error::ExternalError(external) => match external.downcast_ref::<Raised>() {
            Some(Raised::Text(text)) => lua.create_string(text).map(Value::String),
            Some(Raised::Reply { text, is_counted }) => reply_table(lua, text, *is_counted).map(Value::Table),
            Some(Raised::Value(value)) => Ok(value.clone()),
            Some(Raised::Ended) => Err(ended()),
            None => lua.create_string(external.to_string()).map(Value::String),
        },
        other => {
            let text = match other {
                mlua::Error::RuntimeError(text) => text.clone(),
                mlua::Error::StackError => "stack overflow".to_owned(),
                other => other.to_string(),
            };
            // mlua adds one where a call that it makes fails.
            let text = text.split("\nstack traceback:").next().unwrap_or_default();
            if text.as_bytes() == OUT_OF_MEMORY {
                return Err(session.end(lua, Over::OutOfMemory));
            }
            lua.create_string(text).map(Value::String)
        }
    }
}

/// Below the calls that it came through.
pub(super) fn cause(error: &mlua::Error) -> &mlua::Error {
    match error {
        mlua::Error::CallbackError { cause: below, .. } => cause(below),
        error => error,
    }
}

/// `{err = …}`, as `redis.pcall` returns it.
pub(super) fn reply_table(lua: &Lua, text: &[u8], is_counted: bool) -> mlua::Result<mlua::Table> {
    let table = lua.create_table()?;
    table.raw_set("err", lua.create_string(text)?)?;
    if is_counted {
        table.raw_set("ignore_error_stats_update", true)?;
    }
    Ok(table)
}
