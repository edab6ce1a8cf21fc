//! The library `bit`: Lua BitOp 1.0.2 on 32 bits.

use std::rc::Rc;

use mlua::{Lua, Table};

use super::arguments::Arguments;
use super::sandbox::function;
use super::session::Session;

pub(super) fn table(lua: &Lua, session: &Rc<Session>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("tobit", function(lua, session, |_, args| bits(args, 1).map(number))?)?;
    table.raw_set("bnot", function(lua, session, |_, args| bits(args, 1).map(|bits| number(!bits)))?)?;
    table.raw_set("bswap", function(lua, session, |_, args| bits(args, 1).map(|bits| number(bits.swap_bytes())))?)?;
    table.raw_set("band", function(lua, session, |_, args| joined(args, |a, b| a & b))?)?;
    table.raw_set("bor", function(lua, session, |_, args| joined(args, |a, b| a | b))?)?;
    table.raw_set("bxor", function(lua, session, |_, args| joined(args, |a, b| a ^ b))?)?;
    table.raw_set("lshift", function(lua, session, |_, args| shifted(args, |bits, by| bits << by))?)?;
    table.raw_set("rshift", function(lua, session, |_, args| shifted(args, |bits, by| bits >> by))?)?;
    table.raw_set(
        "arshift",
        function(lua, session, |_, args| shifted(args, |bits, by| (bits.cast_signed() >> by).cast_unsigned()))?,
    )?;
    table.raw_set("rol", function(lua, session, |_, args| shifted(args, u32::rotate_left))?)?;
    table.raw_set("ror", function(lua, session, |_, args| shifted(args, u32::rotate_right))?)?;
    table.raw_set("tohex", function(lua, session, |_, args| hexadecimal(args))?)?;
    Ok(table)
}

/// The low 32 bits of the integer that is nearest.
fn bits(args: &Arguments<'_>, place: usize) -> mlua::Result<u32> {
    // Adding it moves a number's integer part to the low bits of its fraction, rounded.
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    Ok((args.number(place)? + SHIFT).to_bits() as u32)
}

fn number(bits: u32) -> f64 {
    f64::from(bits.cast_signed())
}

fn joined(args: &Arguments<'_>, join: fn(u32, u32) -> u32) -> mlua::Result<f64> {
    let mut all = bits(args, 1)?;
    for place in 2..=args.count() {
        all = join(all, bits(args, place)?);
    }
    Ok(number(all))
}

fn shifted(args: &Arguments<'_>, shift: fn(u32, u32) -> u32) -> mlua::Result<f64> {
    Ok(number(shift(bits(args, 1)?, bits(args, 2)? & 31)))
}

fn hexadecimal(args: &Arguments<'_>) -> mlua::Result<String> {
    let value = bits(args, 1)?;
    let digits = if args.count() < 2 { 8 } else { bits(args, 2)?.cast_signed() };
    let count = digits.unsigned_abs().min(8) as usize;
    let text = format!("{value:08x}");
    let text = &text[8 - count..];
    Ok(if digits < 0 { text.to_ascii_uppercase() } else { text.to_owned() })
}
