//! The functions of `string` that can take long for what they are given: searching, replacing, repeating.

use std::cell::Cell;
use std::rc::Rc;

use mlua::{Function, Lua, LuaString, MultiValue, Table, Value};

use super::arguments::{Arguments, string_of, type_name};
use super::patterns::{Capture, Failure, Matched, Matcher, is_plain};
use super::raise;
use super::sandbox::function;
use super::seam::Over;
use super::session::Session;

pub(super) fn add(lua: &Lua, session: &Rc<Session>, string: &Table) -> mlua::Result<()> {
    string.raw_set("find", function(lua, session, |session, args| find(session, args, true))?)?;
    string.raw_set("match", function(lua, session, |session, args| find(session, args, false))?)?;
    string.raw_set("gmatch", function(lua, session, every_match)?)?;
    string.raw_set("gsub", function(lua, session, replace)?)?;
    string.raw_set("rep", function(lua, session, repeat)?)?;
    string.raw_set(
        "lower",
        function(lua, session, |session, args| changed(session, args, <[u8]>::make_ascii_lowercase))?,
    )?;
    string.raw_set(
        "upper",
        function(lua, session, |session, args| changed(session, args, <[u8]>::make_ascii_uppercase))?,
    )?;
    string.raw_set("reverse", function(lua, session, |session, args| changed(session, args, <[u8]>::reverse))?)
}

/// A copy that something is done to.
fn changed(session: &Rc<Session>, args: &Arguments<'_>, change: fn(&mut [u8])) -> mlua::Result<LuaString> {
    let mut text = args.string(1)?.as_bytes().to_vec();
    session.charge(args.lua, text.len() / BYTES_A_STEP)?;
    change(&mut text);
    args.lua.create_string(text)
}

fn repeat(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<LuaString> {
    let text = args.string(1)?;
    let count = usize::try_from(args.int(2)?).unwrap_or(0);
    let text = text.as_bytes();
    let bytes = text.len().checked_mul(count).ok_or_else(|| session.end(args.lua, Over::OutOfMemory))?;
    session.check_bytes(args.lua, bytes)?;
    session.charge(args.lua, bytes / BYTES_A_STEP)?;
    args.lua.create_string(if bytes == 0 { Vec::new() } else { text.repeat(count) })
}

/// Of those that are copied or compared many at a time.
const BYTES_A_STEP: usize = 16;

/// Where a search begins, from the third argument: a place from 1, or one from the end.
fn begin(args: &Arguments<'_>, length: usize) -> mlua::Result<usize> {
    let place = args.integer_or(3, 1)?;
    let place = if place < 0 { place.saturating_add(length as i64 + 1) } else { place };
    Ok(usize::try_from(place - 1).unwrap_or(0).min(length))
}

fn asking<'a>(session: &'a Rc<Session>, lua: &'a Lua) -> impl FnMut(u32) -> mlua::Result<()> + 'a {
    move |steps| session.charge(lua, steps as usize)
}

/// The error of a match as the script gets it.
fn raised<T>(lua: &Lua, matched: Matched<T, mlua::Error>) -> mlua::Result<T> {
    matched.map_err(|failure| match failure {
        Failure::Pattern(text) => raise::error(lua, text),
        Failure::Stopped(error) => error,
    })
}

fn value_of(lua: &Lua, text: &[u8], capture: Capture) -> mlua::Result<Value> {
    match capture {
        Capture::Part { begin, end } => lua.create_string(&text[begin..end]).map(Value::String),
        Capture::Position(position) => Ok(Value::Number(position as f64)),
    }
}

fn values_of(lua: &Lua, text: &[u8], captures: &[Capture]) -> mlua::Result<Vec<Value>> {
    captures.iter().map(|capture| value_of(lua, text, *capture)).collect()
}

fn find(session: &Rc<Session>, args: &Arguments<'_>, is_find: bool) -> mlua::Result<MultiValue> {
    let (lua, text, pattern) = (args.lua, args.string(1)?, args.string(2)?);
    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    let begin = begin(args, text.len())?;
    let place = |begin: usize, end: usize| vec![Value::Number(begin as f64 + 1.0), Value::Number(end as f64)];
    let is_asked_plain = !matches!(args.value(4), Value::Nil | Value::Boolean(false));
    if is_find && (is_asked_plain || is_plain(&pattern)) {
        session.charge(lua, (text.len() - begin + pattern.len()) / BYTES_A_STEP)?;
        return Ok(MultiValue::from_vec(match memchr::memmem::find(&text[begin..], &pattern) {
            Some(at) => place(begin + at, begin + at + pattern.len()),
            None => vec![Value::Nil],
        }));
    }
    let anchor = usize::from(pattern.first() == Some(&b'^'));
    let mut matcher = Matcher::new(&text, &pattern, asking(session, lua));
    for at in begin..=text.len() {
        if let Some(end) = raised(lua, matcher.match_at(at, anchor))? {
            let captures = raised(lua, matcher.captures((!is_find).then_some((at, end))))?;
            let mut values = if is_find { place(at, end) } else { Vec::new() };
            values.extend(values_of(lua, &text, &captures)?);
            return Ok(MultiValue::from_vec(values));
        }
        if anchor == 1 {
            break;
        }
    }
    Ok(MultiValue::from_vec(vec![Value::Nil]))
}

fn every_match(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<Function> {
    let (text, pattern) = (args.string(1)?, args.string(2)?);
    let (session, next) = (Rc::clone(session), Cell::new(0));
    args.lua.create_function(move |lua, ()| {
        let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
        let mut matcher = Matcher::new(&text, &pattern, asking(&session, lua));
        for at in next.get()..=text.len() {
            if let Some(end) = raised(lua, matcher.match_at(at, 0))? {
                next.set(if end == at { end + 1 } else { end });
                let captures = raised(lua, matcher.captures(Some((at, end))))?;
                return values_of(lua, &text, &captures).map(MultiValue::from_vec);
            }
        }
        next.set(text.len() + 1);
        Ok(MultiValue::new())
    })
}

fn replace(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<(LuaString, f64)> {
    let (lua, text, pattern) = (args.lua, args.string(1)?, args.string(2)?);
    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    let replacement = args.value(3);
    if !matches!(
        replacement,
        Value::String(_) | Value::Integer(_) | Value::Number(_) | Value::Table(_) | Value::Function(_)
    ) {
        return Err(args.error(3, "string/function/table expected"));
    }
    let replacement = match string_of(lua, replacement)? {
        Some(text) => Value::String(text),
        None => replacement.clone(),
    };
    let most = args.int_or(4, i32::try_from(text.len() + 1).unwrap_or(i32::MAX))?;
    let anchor = usize::from(pattern.first() == Some(&b'^'));
    let mut matcher = Matcher::new(&text, &pattern, asking(session, lua));
    let (mut out, mut at, mut count) = (Vec::new(), 0, 0);
    while count < most {
        let end = raised(lua, matcher.match_at(at, anchor))?;
        if let Some(end) = end {
            count += 1;
            append_replacement(session, lua, &matcher, &text, (at, end), &replacement, &mut out)?;
            session.check_bytes(lua, out.len())?;
        }
        match end {
            Some(end) if end > at => at = end,
            _ if at < text.len() => {
                out.push(text[at]);
                at += 1;
            }
            _ => break,
        }
        if anchor == 1 {
            break;
        }
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default());
    Ok((lua.create_string(out)?, f64::from(count)))
}

/// Appends what stands in the place of a match.
fn append_replacement<A: FnMut(u32) -> mlua::Result<()>>(
    session: &Rc<Session>,
    lua: &Lua,
    matcher: &Matcher<'_, A>,
    text: &[u8],
    whole: (usize, usize),
    replacement: &Value,
    out: &mut Vec<u8>,
) -> mlua::Result<()> {
    let value = match replacement {
        Value::String(form) => return append_form(session, lua, matcher, text, whole, &form.as_bytes(), out),
        Value::Table(table) => {
            let key = value_of(lua, text, raised(lua, matcher.capture(0, whole))?)?;
            table.get::<Value>(key)?
        }
        Value::Function(function) => {
            let captures = raised(lua, matcher.captures(Some(whole)))?;
            session.call(function, values_of(lua, text, &captures)?)?
        }
        _ => Value::Nil,
    };
    match string_of(lua, &value)? {
        Some(new) => out.extend_from_slice(&new.as_bytes()),
        None if matches!(value, Value::Nil | Value::Boolean(false)) => out.extend_from_slice(&text[whole.0..whole.1]),
        None => return Err(raise::error(lua, format!("invalid replacement value (a {})", type_name(&value)))),
    }
    Ok(())
}

/// Appends a text in which `%1` and the like stand for captures.
fn append_form<A: FnMut(u32) -> mlua::Result<()>>(
    session: &Rc<Session>,
    lua: &Lua,
    matcher: &Matcher<'_, A>,
    text: &[u8],
    whole: (usize, usize),
    form: &[u8],
    out: &mut Vec<u8>,
) -> mlua::Result<()> {
    session.charge(lua, 1 + form.len() / BYTES_A_STEP)?;
    let mut bytes = form.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        match bytes.next().copied().unwrap_or(0) {
            b'0' => out.extend_from_slice(&text[whole.0..whole.1]),
            digit @ b'1'..=b'9' => match raised(lua, matcher.capture(usize::from(digit - b'1'), whole))? {
                Capture::Part { begin, end } => out.extend_from_slice(&text[begin..end]),
                Capture::Position(position) => out.extend_from_slice(position.to_string().as_bytes()),
            },
            byte => out.push(byte),
        }
        session.check_bytes(lua, out.len())?;
    }
    Ok(())
}
