//! Compiling: scripts, libraries, and what a script hands to `load` and `loadstring`. Text only, and with the collector at rest.

use std::rc::Rc;

use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, MultiValue, Table, Value};

use super::arguments::Arguments;
use super::raise;
use super::sandbox::function;
use super::session::Session;

pub(super) fn add_globals(lua: &Lua, session: &Rc<Session>, globals: &Table) -> mlua::Result<()> {
    globals.raw_set("load", function(lua, session, load)?)?;
    globals.raw_set("loadstring", function(lua, session, load_string)?)
}

/// The error is the text that the parser gives.
pub(super) fn compile(
    lua: &Lua,
    source: &[u8],
    name: &str,
    globals: &Table,
) -> mlua::Result<Result<Function, Vec<u8>>> {
    // The parser of Lua 5.1 holds strings that the collector does not see (CVE-2025-49844): it must not run meanwhile, and the chunk's name
    // is held here.
    let held = lua.create_string(name)?;
    lua.gc_stop();
    let compiled =
        lua.load(source).set_name(name).set_mode(ChunkMode::Text).set_environment(globals.clone()).into_function();
    lua.gc_restart();
    drop(held);
    match compiled {
        Ok(function) => Ok(Ok(function)),
        Err(mlua::Error::SyntaxError { message, .. }) => Ok(Err(message.into_bytes())),
        Err(mlua::Error::RuntimeError(message)) => Ok(Err(message.into_bytes())),
        Err(error) => Err(error),
    }
}

fn load_string(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<MultiValue> {
    let source = args.string(1)?;
    let name = if args.is_nil(2) { first_line(&source.as_bytes()) } else { c_string(&args.string(2)?.as_bytes()) };
    compile_chunk(session, args.lua, &source.as_bytes(), &name)
}

/// A function that returns the parts of a chunk, one after the other.
fn load(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<MultiValue> {
    let Value::Function(reader) = args.value(1) else { return Err(args.type_error(1, "function")) };
    let name = if args.is_nil(2) { "=(load)".to_owned() } else { c_string(&args.string(2)?.as_bytes()) };
    let mut source = Vec::new();
    while source.len() <= session.limits.source_bytes_max {
        let part = match session.call(reader, Vec::new()) {
            Ok(part) => part,
            // What the reader raises is what `load` returns.
            Err(error) => {
                let raised = raise::translate(session, args.lua, Value::Error(Box::new(error)))?;
                return Ok(MultiValue::from_vec(vec![Value::Nil, raised]));
            }
        };
        match super::arguments::string_of(args.lua, &part)? {
            _ if part.is_nil() => break,
            Some(part) if part.as_bytes().is_empty() => break,
            Some(part) => source.extend_from_slice(&part.as_bytes()),
            None => {
                let text = args.lua.create_string("reader function must return a string")?;
                return Ok(MultiValue::from_vec(vec![Value::Nil, Value::String(text)]));
            }
        }
    }
    compile_chunk(session, args.lua, &source, &name)
}

fn compile_chunk(session: &Rc<Session>, lua: &Lua, source: &[u8], name: &str) -> mlua::Result<MultiValue> {
    session.charge(lua, source.len())?;
    let refused = |text: &[u8]| Ok(MultiValue::from_vec(vec![Value::Nil, Value::String(lua.create_string(text)?)]));
    if source.len() > session.limits.source_bytes_max {
        return refused(b"chunk is too long");
    }
    let globals: Table = lua.named_registry_value(if session.is_function.get() { "functions" } else { "scripts" })?;
    match compile(lua, source, name, &globals)? {
        Ok(function) => Ok(MultiValue::from_vec(vec![Value::Function(function)])),
        Err(text) => refused(&text),
    }
}

/// The part of a source that its name is made of: Lua shows no more of it.
fn first_line(source: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 120;
    let end = memchr::memchr(b'\n', source).map_or(source.len(), |at| at + 1);
    c_string(&source[..end.min(SHOWN_BYTES_MAX)])
}

fn c_string(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}
