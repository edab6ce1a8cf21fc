//! The library `struct`: numbers and strings as bytes, by a format. Its texts are those of the library in C.

use std::rc::Rc;

use mlua::{Lua, LuaString, MultiValue, Table, Value};

use super::arguments::Arguments;
use super::raise;
use super::sandbox::function;
use super::session::Session;

pub(super) fn table(lua: &Lua, session: &Rc<Session>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("pack", function(lua, session, pack)?)?;
    table.raw_set("unpack", function(lua, session, unpack)?)?;
    table.raw_set("size", function(lua, session, size)?)?;
    Ok(table)
}

const INTEGER_BYTES_MAX: i32 = 32;
const ALIGNMENT_MAX: i32 = 8;

/// How many values `unpack` returns at most: as many as Lua lets a function in C return.
const VALUES_MAX: usize = 7_000;

/// A format that is read letter by letter, up to its first zero byte.
struct Format<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
    is_little: bool,
    alignment: usize,
}

/// A letter, and how many bytes it stands for.
struct Item {
    letter: u8,
    size: usize,
}

impl<'a> Format<'a> {
    fn new(lua: &'a Lua, text: &'a [u8]) -> Format<'a> {
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        Format { lua, rest: text, is_little: cfg!(target_endian = "little"), alignment: 1 }
    }

    fn next(&mut self) -> mlua::Result<Option<Item>> {
        let Some((letter, rest)) = self.rest.split_first() else { return Ok(None) };
        self.rest = rest;
        let size = match letter {
            b'B' | b'b' | b'x' => 1,
            b'H' | b'h' => 2,
            b'L' | b'l' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.number(1)? as usize,
            b'i' | b'I' => match self.number(4)? {
                size if size > INTEGER_BYTES_MAX => {
                    let text = format!("integral size {size} is larger than limit of {INTEGER_BYTES_MAX}");
                    return Err(raise::error(self.lua, text));
                }
                size => size as usize,
            },
            _ => 0,
        };
        Ok(Some(Item { letter: *letter, size }))
    }

    fn number(&mut self, default: i32) -> mlua::Result<i32> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(digits);
        self.rest = rest;
        if digits.is_empty() {
            return Ok(default);
        }
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        number.ok_or_else(|| raise::error(self.lua, "integral size overflow"))
    }

    /// How many bytes stand before an item at `position`.
    fn padding(&self, position: usize, item: &Item) -> usize {
        if item.size == 0 || item.letter == b'c' {
            return 0;
        }
        let size = item.size.min(self.alignment);
        size.wrapping_sub(position & size.wrapping_sub(1)) & size.wrapping_sub(1)
    }

    /// A letter that stands for no bytes.
    fn control(&mut self, args: &Arguments<'_>, letter: u8) -> mlua::Result<()> {
        match letter {
            b' ' => {}
            b'>' => self.is_little = false,
            b'<' => self.is_little = true,
            b'!' => {
                let alignment = self.number(ALIGNMENT_MAX)?;
                if alignment <= 0 || alignment.count_ones() != 1 {
                    let text = format!("alignment {alignment} is not a power of 2");
                    return Err(raise::error(self.lua, text));
                }
                self.alignment = alignment as usize;
            }
            letter => {
                let text = format!("invalid format option '{}'", char::from(letter));
                return Err(args.error(1, &text));
            }
        }
        Ok(())
    }

    /// `bytes` begin with the lowest.
    fn ordered(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        if !self.is_little {
            bytes.reverse();
        }
        bytes
    }
}

fn pack(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<LuaString> {
    let text = args.string(1)?;
    // In C a nil marks where the arguments end, and is taken for the next of them.
    let args = &args.with_nil();
    let text = text.as_bytes();
    let mut format = Format::new(args.lua, &text);
    let (mut out, mut place) = (Vec::new(), 1);
    while let Some(item) = format.next()? {
        session.charge(args.lua, 1)?;
        let padding = format.padding(out.len(), &item);
        session.check_bytes(args.lua, out.len() + padding + item.size)?;
        out.resize(out.len() + padding, 0);
        if b"bBhHlLTiIfdcs".contains(&item.letter) {
            place += 1;
        }
        match item.letter {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                out.extend(format.ordered(integer_bytes(args.number(place)?, item.size)));
            }
            b'x' => out.push(0),
            b'f' => out.extend(format.ordered((args.number(place)? as f32).to_le_bytes().to_vec())),
            b'd' => out.extend(format.ordered(args.number(place)?.to_le_bytes().to_vec())),
            b'c' | b's' => {
                let value = args.string(place)?;
                let value = value.as_bytes();
                let size = if item.size == 0 { value.len() } else { item.size };
                let part = value.get(..size).ok_or_else(|| args.error(place + 1, "string too short"))?;
                session.check_bytes(args.lua, out.len() + part.len())?;
                out.extend_from_slice(part);
                if item.letter == b's' {
                    out.push(0);
                }
            }
            letter => format.control(args, letter)?,
        }
    }
    args.lua.create_string(out)
}

/// The lowest first. What has more than eight is filled with zeros, as in C.
fn integer_bytes(number: f64, size: usize) -> Vec<u8> {
    let value = if number < 0.0 { super::arguments::truncated(number).cast_unsigned() } else { unsigned(number) };
    (0..size).map(|at| value.checked_shr(8 * at as u32).unwrap_or(0) as u8).collect()
}

/// As a processor converts it to 64 bits without a sign.
fn unsigned(number: f64) -> u64 {
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    if number < HALF {
        return super::arguments::truncated(number).cast_unsigned();
    }
    super::arguments::truncated(number - HALF).cast_unsigned() ^ (1 << 63)
}

fn unpack(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<MultiValue> {
    let (text, data) = (args.string(1)?, args.string(2)?);
    let (text, data) = (text.as_bytes(), data.as_bytes());
    let mut format = Format::new(args.lua, &text);
    let begin = args.integer_or(3, 1)?;
    if begin == 0 {
        return Err(args.error(3, "offset must be 1 or greater"));
    }
    // A negative one is far behind the end, as in C.
    let (mut at, mut values) = ((begin as usize).wrapping_sub(1), Vec::new());
    let part = |at: usize, size: usize| {
        let part = at.checked_add(size).and_then(|end| data.get(at..end));
        part.ok_or_else(|| args.error(2, "data string too short"))
    };
    while let Some(item) = format.next()? {
        session.charge(args.lua, 1)?;
        at = at.saturating_add(format.padding(at, &item));
        let bytes = part(at, item.size)?;
        if values.len() == VALUES_MAX {
            return Err(raise::error(args.lua, "stack overflow (too many results)"));
        }
        at += item.size;
        match item.letter {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let bytes = format.ordered(bytes.to_vec());
                values.push(Value::Number(integer_of(&bytes, item.letter.is_ascii_lowercase())));
            }
            b'x' => {}
            b'f' => {
                let bytes = format.ordered(bytes.to_vec()).try_into().unwrap_or_default();
                values.push(Value::Number(f64::from(f32::from_le_bytes(bytes))));
            }
            b'd' => {
                let bytes = format.ordered(bytes.to_vec()).try_into().unwrap_or_default();
                values.push(Value::Number(f64::from_le_bytes(bytes)));
            }
            b'c' => {
                let mut bytes = bytes;
                if item.size == 0 {
                    let size = match values.pop() {
                        Some(Value::Number(size)) => size,
                        _ => return Err(raise::error(args.lua, "format 'c0' needs a previous size")),
                    };
                    let size = usize::try_from(unsigned(size)).unwrap_or(usize::MAX);
                    bytes = part(at, size)?;
                    at += size;
                }
                values.push(Value::String(args.lua.create_string(bytes)?));
            }
            b's' => {
                let rest = &data[at..];
                let end = memchr::memchr(0, rest).ok_or_else(|| raise::error(args.lua, "unfinished string in data"))?;
                values.push(Value::String(args.lua.create_string(&rest[..end])?));
                at += end + 1;
            }
            letter => format.control(args, letter)?,
        }
    }
    values.push(Value::Number(at as f64 + 1.0));
    Ok(MultiValue::from_vec(values))
}

/// Of the lowest eight bytes, `bytes` being the lowest first.
fn integer_of(bytes: &[u8], is_signed: bool) -> f64 {
    let value = bytes.iter().take(8).rev().fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
    if !is_signed {
        return value as f64;
    }
    let unused = 64 - 8 * bytes.len().min(8) as u32;
    match unused {
        64 => 0.0,
        unused => (value.cast_signed() << unused >> unused) as f64,
    }
}

fn size(session: &Rc<Session>, args: &Arguments<'_>) -> mlua::Result<f64> {
    let text = args.string(1)?;
    let text = text.as_bytes();
    let mut format = Format::new(args.lua, &text);
    let mut bytes = 0_usize;
    while let Some(item) = format.next()? {
        session.charge(args.lua, 1)?;
        bytes = bytes.saturating_add(format.padding(bytes, &item));
        match item.letter {
            b's' => return Err(args.error(1, "option 's' has no fixed size")),
            b'c' if item.size == 0 => return Err(args.error(1, "option 'c0' has no fixed size")),
            letter if !letter.is_ascii_alphanumeric() => format.control(args, letter)?,
            _ => {}
        }
        bytes = bytes.saturating_add(item.size);
    }
    Ok(bytes as f64)
}
