//! The library `cmsgpack`: lua-cmsgpack 0.4.0, MessagePack with its texts and its limits.

use std::rc::Rc;

use mlua::{Lua, LuaString, MultiValue, Table, Value};

use super::arguments::Arguments;
use super::raise::{self, Raised};
use super::sandbox::function;
use super::session::Session;
use super::tables::for_each;

pub(super) fn table(lua: &Lua, session: &Rc<Session>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("pack", function(lua, session, pack)?)?;
    table.raw_set("unpack", function(lua, session, |session, args| unpack(session, args, 0, 0))?)?;
    table.raw_set(
        "unpack_one",
        function(lua, session, |session, args| {
            let offset = args.integer_or(2, 0)?;
            unpack(session, args, 1, offset)
        })?,
    )?;
    table.raw_set(
        "unpack_limit",
        function(lua, session, |session, args| {
            let limit = args.integer(2)?;
            let offset = args.integer_or(3, 0)?;
            unpack(session, args, limit, offset)
        })?,
    )?;
    table.raw_set("_NAME", "cmsgpack")?;
    table.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    table.raw_set("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo")?;
    table.raw_set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    Ok(table)
}

/// A table that is deeper is packed as nil, so that one which holds itself has an end.
const PACK_DEPTH_MAX: usize = 16;

/// How deep what is unpacked may be nested, and how many values there may be side by side: Lua's stack bounds both in C.
const UNPACK_DEPTH_MAX: usize = 200;
const VALUES_MAX: usize = 7_000;

const TOO_MANY: &str = "stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)";

fn pack(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<LuaString> {
    if args.count() == 0 {
        return Err(args.error(0, "MessagePack pack needs input."));
    }
    let mut packer = Packer { lua: args.lua, session, out: Vec::new() };
    for number in 1..=args.count() {
        packer.value(args.value(number), 0)?;
    }
    args.lua.create_string(packer.out)
}

struct Packer<'a> {
    lua: &'a Lua,
    session: &'a Rc<Session>,
    out: Vec<u8>,
}

impl Packer<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> mlua::Result<()> {
        self.session.charge(self.lua, 1)?;
        self.session.check_bytes(self.lua, self.out.len())?;
        match value {
            Value::String(text) => self.string(&text.as_bytes())?,
            Value::Boolean(boolean) => self.out.push(if *boolean { 0xc3 } else { 0xc2 }),
            Value::Integer(number) => self.integer(*number),
            Value::Number(number) => self.number(*number),
            Value::Table(table) if depth < PACK_DEPTH_MAX => self.table(table, depth)?,
            _ => self.out.push(0xc0),
        }
        Ok(())
    }

    fn string(&mut self, text: &[u8]) -> mlua::Result<()> {
        self.session.check_bytes(self.lua, self.out.len().saturating_add(text.len()))?;
        self.session.charge(self.lua, text.len() / 16)?;
        match text.len() {
            length @ 0..32 => self.out.push(0xa0 | length as u8),
            length @ 32..=0xff => self.out.extend_from_slice(&[0xd9, length as u8]),
            length => self.length(0xda, length),
        }
        self.out.extend_from_slice(text);
        Ok(())
    }

    /// In two bytes behind this sign, or in four behind the next.
    fn length(&mut self, sign: u8, length: usize) {
        match u16::try_from(length) {
            Ok(length) => {
                self.out.push(sign);
                self.out.extend_from_slice(&length.to_be_bytes());
            }
            Err(_) => {
                self.out.push(sign + 1);
                self.out.extend_from_slice(&(length as u32).to_be_bytes());
            }
        }
    }

    fn number(&mut self, number: f64) {
        let integer = super::arguments::truncated(number);
        if integer as f64 == number && number.abs() <= 9_223_372_036_854_775_808.0 {
            return self.integer(integer);
        }
        let single = number as f32;
        if f64::from(single) == number {
            self.out.push(0xca);
            self.out.extend_from_slice(&single.to_be_bytes());
        } else {
            self.out.push(0xcb);
            self.out.extend_from_slice(&number.to_be_bytes());
        }
    }

    fn integer(&mut self, number: i64) {
        let bytes = number.to_be_bytes();
        let (sign, length) = match number {
            -32..=127 => {
                self.out.push(bytes[7]);
                return;
            }
            128..=0xff => (0xcc, 1),
            0x100..=0xffff => (0xcd, 2),
            0x1_0000..=0xffff_ffff => (0xce, 4),
            0x1_0000_0000.. => (0xcf, 8),
            -128..=-33 => (0xd0, 1),
            -32_768..=-129 => (0xd1, 2),
            -2_147_483_648..=-32_769 => (0xd2, 4),
            _ => (0xd3, 8),
        };
        self.out.push(sign);
        self.out.extend_from_slice(&bytes[8 - length..]);
    }

    fn table(&mut self, table: &Table, depth: usize) -> mlua::Result<()> {
        let (mut count, mut most, mut is_array) = (0_usize, 0_i64, true);
        for_each::<mlua::Error>(table, |key, _| {
            self.session.charge(self.lua, 1)?;
            count += 1;
            match key {
                Value::Integer(number) if (1..=i64::from(i32::MAX)).contains(number) => most = most.max(*number),
                _ => is_array = false,
            }
            Ok(true)
        })?;
        if is_array && most as usize == count {
            match count {
                0..=15 => self.out.push(0x90 | count as u8),
                count => self.length(0xdc, count),
            }
            return (1..=most).try_for_each(|number| self.value(&table.raw_get(number)?, depth + 1));
        }
        match count {
            0..=15 => self.out.push(0x80 | count as u8),
            count => self.length(0xde, count),
        }
        for_each(table, |key, value| {
            self.value(key, depth + 1)?;
            self.value(value, depth + 1).map(|()| true)
        })
    }
}

fn unpack(session: &Rc<Session>, args: &Arguments<'_>, limit: i64, offset: i64) -> mlua::Result<MultiValue> {
    let lua = args.lua;
    let text = args.string(1)?;
    let text = text.as_bytes();
    let is_all = limit == 0 && offset == 0;
    if offset < 0 || limit < 0 {
        let (offset, length) = (offset as i32, text.len() as i32);
        // The length stands where the limit should, as in the library in C.
        let text = format!("Invalid request to unpack with offset of {offset} and limit of {length}.");
        return Err(raise::error(lua, text));
    }
    let Some(rest) = usize::try_from(offset).ok().and_then(|offset| text.get(offset..)) else {
        let (offset, length) = (offset as i32, text.len() as i32);
        let text = format!("Start offset {offset} greater than input length {length}.");
        return Err(raise::error(lua, text));
    };
    let limit = if is_all { i64::from(i32::MAX) } else { limit };
    let mut unpacker = Unpacker { lua, session, rest };
    let mut values = Vec::new();
    while !unpacker.rest.is_empty() && (values.len() as i64) < limit {
        if values.len() == VALUES_MAX {
            return Err(raise::error(lua, TOO_MANY));
        }
        values.push(unpacker.value(UNPACK_DEPTH_MAX).map_err(|failure| match failure {
            Failure::Short => raise::error(lua, "Missing bytes in input."),
            Failure::Format => raise::error(lua, "Bad data format in input."),
            Failure::Lua(error) => error,
        })?);
    }
    if !is_all {
        let left = unpacker.rest.len();
        let next = if left == 0 { -1.0 } else { (text.len() - left) as f64 };
        values.insert(0, Value::Number(next));
    }
    Ok(MultiValue::from_vec(values))
}

struct Unpacker<'a> {
    lua: &'a Lua,
    session: &'a Rc<Session>,
    rest: &'a [u8],
}

enum Failure {
    Short,
    Format,
    Lua(mlua::Error),
}

impl From<mlua::Error> for Failure {
    fn from(error: mlua::Error) -> Failure {
        Failure::Lua(error)
    }
}

impl<'a> Unpacker<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Failure> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(Failure::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self, bytes: usize) -> Result<u64, Failure> {
        Ok(self.take(bytes)?.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    /// Of so many bytes, the highest bit being its sign.
    fn signed(&mut self, bytes: usize) -> Result<Value, Failure> {
        let unused = 64 - 8 * bytes as u32;
        let number = self.number(bytes)?.cast_signed() << unused >> unused;
        Ok(Value::Number(number as f64))
    }

    fn value(&mut self, depth: usize) -> Result<Value, Failure> {
        self.session.charge(self.lua, 1)?;
        let Some(depth) = depth.checked_sub(1) else { return Err(raise::error(self.lua, TOO_MANY).into()) };
        let sign = self.take(1)?[0];
        match sign {
            0x00..=0x7f => Ok(Value::Number(f64::from(sign))),
            0x80..=0x8f => self.map(u64::from(sign & 0xf), depth),
            0x90..=0x9f => self.array(u64::from(sign & 0xf), depth),
            0xa0..=0xbf => self.string(u64::from(sign & 0x1f)),
            0xc0 => Ok(Value::Nil),
            0xc2 => Ok(Value::Boolean(false)),
            0xc3 => Ok(Value::Boolean(true)),
            0xca => Ok(Value::Number(f64::from(f32::from_bits(self.number(4)? as u32)))),
            0xcb => Ok(Value::Number(f64::from_bits(self.number(8)?))),
            0xcc => Ok(Value::Number(self.number(1)? as f64)),
            0xcd => Ok(Value::Number(self.number(2)? as f64)),
            0xce => Ok(Value::Number(self.number(4)? as f64)),
            // With its highest bit a sign, as in the library in C.
            0xcf | 0xd3 => self.signed(8),
            0xd0 => self.signed(1),
            0xd1 => self.signed(2),
            0xd2 => self.signed(4),
            0xd9 => self.long(1, Unpacker::string),
            0xda => self.long(2, Unpacker::string),
            0xdb => self.long(4, Unpacker::string),
            0xdc => self.long(2, |unpacker, length| unpacker.array(length, depth)),
            0xdd => self.long(4, |unpacker, length| unpacker.array(length, depth)),
            0xde => self.long(2, |unpacker, length| unpacker.map(length, depth)),
            0xdf => self.long(4, |unpacker, length| unpacker.map(length, depth)),
            0xe0..=0xff => Ok(Value::Number(f64::from(sign.cast_signed()))),
            _ => Err(Failure::Format),
        }
    }

    /// What has its length in so many bytes before it.
    fn long(
        &mut self,
        bytes: usize,
        read: impl FnOnce(&mut Self, u64) -> Result<Value, Failure>,
    ) -> Result<Value, Failure> {
        let length = self.number(bytes)?;
        read(self, length)
    }

    fn string(&mut self, length: u64) -> Result<Value, Failure> {
        let bytes = self.take(length as usize)?;
        self.session.charge(self.lua, bytes.len() / 16)?;
        Ok(Value::String(self.lua.create_string(bytes)?))
    }

    fn array(&mut self, length: u64, depth: usize) -> Result<Value, Failure> {
        let table = self.lua.create_table()?;
        for number in 1..=length {
            let value = self.value(depth)?;
            table.raw_set(number as f64, value)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, length: u64, depth: usize) -> Result<Value, Failure> {
        let table = self.lua.create_table()?;
        for _ in 0..length {
            let key = self.value(depth)?;
            let value = self.value(depth)?;
            let wrong = match &key {
                Value::Nil => Some("table index is nil"),
                Value::Number(number) if number.is_nan() => Some("table index is NaN"),
                _ => None,
            };
            if let Some(wrong) = wrong {
                return Err(Failure::Lua(Raised::Text(wrong.into()).into()));
            }
            table.raw_set(key, value)?;
        }
        Ok(Value::Table(table))
    }
}
