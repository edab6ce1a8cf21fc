//! The table `redis`, and the two functions of `math` that Redis has its own of.

use std::rc::Rc;

use mlua::{Lua, Table, Value};

use super::arguments::{Arguments, number_of, string_of, truncated};
use super::raise::{self, Raised, reply_table};
use super::reading;
use super::sandbox::function;
use super::seam::{LogLevel, Sha1};
use super::session::{Question, Session};
use crate::kv::errors;
use crate::kv::shared::program::REDIS_VERSION;
use crate::resp::Version;
use crate::resp::number::DoubleText;

/// What functions have.
pub(super) fn function_table(lua: &Lua, session: &Rc<Session>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("call", function(lua, session, call)?)?;
    table.raw_set("pcall", function(lua, session, protected_call)?)?;
    table.raw_set("setresp", function(lua, session, set_version)?)?;
    table.raw_set("sha1hex", function(lua, session, sha1)?)?;
    table.raw_set("error_reply", function(lua, session, error_reply)?)?;
    table.raw_set("status_reply", function(lua, session, status_reply)?)?;
    table.raw_set("set_repl", function(lua, session, set_replication)?)?;
    table.raw_set("acl_check_cmd", function(lua, session, may_call)?)?;
    let replication = [("NONE", 0), ("AOF", 1), ("SLAVE", 2), ("REPLICA", 2), ("ALL", 3)];
    replication.iter().try_for_each(|(name, number)| table.raw_set(format!("REPL_{name}"), *number))?;
    add_log_and_version(lua, session, &table)?;
    Ok(table)
}

/// What EVAL's scripts have.
pub(super) fn script_table(lua: &Lua, session: &Rc<Session>) -> mlua::Result<Table> {
    let table = function_table(lua, session)?;
    // There is no debugger to stop in, and nothing to replicate to.
    table.raw_set("breakpoint", function(lua, session, |_, _| Ok(false))?)?;
    table.raw_set("debug", function(lua, session, |_, _| Ok(()))?)?;
    table.raw_set("replicate_commands", function(lua, session, |_, _| Ok(true))?)?;
    Ok(table)
}

/// What a library has too while it loads.
pub(super) fn add_log_and_version(lua: &Lua, session: &Rc<Session>, table: &Table) -> mlua::Result<()> {
    table.raw_set("log", function(lua, session, log)?)?;
    let levels = [("DEBUG", 0), ("VERBOSE", 1), ("NOTICE", 2), ("WARNING", 3)];
    levels.iter().try_for_each(|(name, number)| table.raw_set(format!("LOG_{name}"), *number))?;
    table.raw_set("REDIS_VERSION", REDIS_VERSION)?;
    table.raw_set("REDIS_VERSION_NUM", version_number())
}

/// `7.2.5` as 0x00070205.
fn version_number() -> u32 {
    REDIS_VERSION.split('.').fold(0, |number, part| (number << 8) | part.parse::<u32>().unwrap_or(0))
}

pub(super) fn add_math(lua: &Lua, session: &Rc<Session>, math: &Table) -> mlua::Result<()> {
    math.raw_set("random", function(lua, session, random)?)?;
    math.raw_set("randomseed", function(lua, session, seed)?)
}

fn call(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<Value> {
    run_command(session, args, true)
}

fn protected_call(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<Value> {
    run_command(session, args, false)
}

fn run_command(session: &Rc<Session>, args: &Arguments<'_>, is_raised: bool) -> mlua::Result<Value> {
    if let Err(text) = put_arguments(session, args)? {
        return if is_raised { Err(raise::reply_error(text)) } else { own_error(args.lua, text) };
    }
    session.call_host(args.lua)?;
    let exchange = session.exchange.borrow();
    let reply = &exchange.reply;
    if is_raised && let Some(text) = reading::error_text(reply) {
        return Err(Raised::Reply { text, is_counted: true }.into());
    }
    reading::value(args.lua, reply)
}

/// An error of this API, as a value.
fn own_error(lua: &Lua, text: &str) -> mlua::Result<Value> {
    reply_table(lua, format!("ERR {text}").as_bytes(), false).map(Value::Table)
}

/// Puts the arguments of a command where the host finds them. The inner error: what is wrong with them.
fn put_arguments(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<Result<(), &'static str>> {
    let mut exchange = session.exchange.borrow_mut();
    exchange.clear();
    // One text may be given many times: they are copied, and the interpreter does not count them.
    let lengths = (1..=args.count()).map(|number| match args.value(number) {
        Value::String(text) => text.as_bytes().len(),
        _ => 0,
    });
    session.check_bytes(args.lua, lengths.fold(0, usize::saturating_add))?;
    if args.count() == 0 {
        return Ok(Err(errors::SCRIPT_CALL_WITHOUT_ARGUMENTS));
    }
    for number in 1..=args.count() {
        match args.value(number) {
            Value::String(text) => exchange.push(&text.as_bytes()),
            Value::Integer(integer) => exchange.push(number_text(*integer as f64).as_bytes()),
            Value::Number(value) => exchange.push(number_text(*value).as_bytes()),
            _ => return Ok(Err(errors::SCRIPT_CALL_BAD_ARGUMENT)),
        }
    }
    Ok(Ok(()))
}

/// As an integer where it is one below 2^62, else with as few digits as tell it from all others.
fn number_text(number: f64) -> String {
    const SAFE_MAX: f64 = (1_u64 << 62) as f64;
    if number.abs() <= SAFE_MAX && number.trunc() == number {
        return (number as i64).to_string();
    }
    String::from_utf8_lossy(DoubleText::new(number).as_bytes()).into_owned()
}

fn may_call(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<bool> {
    if let Err(text) = put_arguments(session, args)? {
        return Err(raise::reply_error(text));
    }
    session.ask(Question::MayCall)?;
    let answer = session.exchange.borrow().may_call;
    answer.ok_or_else(|| raise::reply_error(errors::SCRIPT_CHECK_OF_NO_COMMAND))
}

fn log(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<()> {
    if args.count() < 2 {
        return Err(raise::reply_error("redis.log() requires two arguments or more."));
    }
    let level = match number_of(args.lua, args.value(1))?.map(truncated) {
        Some(0) => LogLevel::Debug,
        Some(1) => LogLevel::Verbose,
        Some(2) => LogLevel::Notice,
        Some(3) => LogLevel::Warning,
        Some(_) => return Err(raise::reply_error("Invalid debug level.")),
        None => return Err(raise::reply_error("First argument must be a number (log level).")),
    };
    let mut message = Vec::new();
    for number in 2..=args.count() {
        if let Some(text) = string_of(args.lua, args.value(number))? {
            if number > 2 {
                message.push(b' ');
            }
            session.check_bytes(args.lua, message.len() + text.as_bytes().len())?;
            message.extend_from_slice(&text.as_bytes());
        }
    }
    let mut exchange = session.exchange.borrow_mut();
    exchange.clear();
    exchange.push(&message);
    drop(exchange);
    session.ask(Question::Log(level)).map(drop)
}

fn sha1(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<String> {
    if args.count() != 1 {
        return Err(raise::reply_error("wrong number of arguments"));
    }
    let text = string_of(args.lua, args.value(1))?;
    let text = text.as_ref().map(|text| text.as_bytes());
    let bytes = text.as_deref().unwrap_or_default();
    session.charge(args.lua, bytes.len())?;
    Ok(Sha1::of(bytes).to_string())
}

/// The only argument, a string, up to its first zero byte.
fn only_text(args: &Arguments<'_>) -> Option<Vec<u8>> {
    let Value::String(text) = args.value(1) else { return None };
    (args.count() == 1).then(|| text.as_bytes().split(|byte| *byte == 0).next().unwrap_or_default().to_vec())
}

const WRONG_ARGUMENT: &str = "wrong number or type of arguments";

fn error_reply(_: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<Value> {
    match only_text(args) {
        Some(text) => {
            let text = text.strip_prefix(b"-").unwrap_or(&text);
            reply_table(args.lua, &reading::with_code(text), false).map(Value::Table)
        }
        None => own_error(args.lua, WRONG_ARGUMENT),
    }
}

fn status_reply(_: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<Value> {
    if args.count() != 1 || !args.value(1).is_string() {
        return own_error(args.lua, WRONG_ARGUMENT);
    }
    let table = args.lua.create_table()?;
    table.raw_set("ok", args.value(1))?;
    Ok(Value::Table(table))
}

fn set_version(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<()> {
    if args.count() != 1 {
        return Err(raise::reply_error("redis.setresp() requires one argument."));
    }
    let version = match number_of(args.lua, args.value(1))?.map(truncated) {
        Some(2) => Version::Resp2,
        Some(3) => Version::Resp3,
        _ => return Err(raise::reply_error("RESP version must be 2 or 3.")),
    };
    session.version.set(version);
    Ok(())
}

/// Nothing is replicated: the flags are checked, and have no effect.
fn set_replication(_: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<()> {
    if args.count() != 1 {
        return Err(raise::reply_error("redis.set_repl() requires one argument."));
    }
    let flags = number_of(args.lua, args.value(1))?.map_or(0, truncated) as i32;
    if flags & !3 == 0 { Ok(()) } else { Err(raise::reply_error(errors::SCRIPT_REPLICATION_FLAGS)) }
}

fn random(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<f64> {
    let number = session.random.borrow_mut().next();
    match args.count() {
        0 => Ok(number),
        1 => {
            let upper = args.int(1)?;
            if upper < 1 {
                return Err(args.error(1, "interval is empty"));
            }
            Ok((number * f64::from(upper)).floor() + 1.0)
        }
        2 => {
            let (lower, upper) = (args.int(1)?, args.int(2)?);
            if lower > upper {
                return Err(args.error(2, "interval is empty"));
            }
            // In 32 bits, as C has it.
            let size = upper.wrapping_sub(lower).wrapping_add(1);
            Ok((number * f64::from(size)).floor() + f64::from(lower))
        }
        _ => Err(raise::error(args.lua, "wrong number of arguments")),
    }
}

fn seed(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<()> {
    session.random.borrow_mut().seed(args.int(1)?);
    Ok(())
}
