//! Strings as bits: SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP, BITFIELD, BITFIELD_RO. The arithmetic is in kv::formats::bits.

use std::ops::{ControlFlow, Range};

use crate::kv::call::{Class, ReadCall, ReadResult, WriteCall};
use crate::kv::commands::args;
use crate::kv::commands::lookup::{self, PIECE_BYTES, optional, pieces};
use crate::kv::commands::table::{Command, Flags, Group, Handler, KeyFlags, KeyPosition, Keys};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::formats::bits::{
    IntegerType, Operation, Overflow, clamp_range, combine, count_ones, first_bit, mask_edges,
};
use crate::resp::number::parse_integer;
use crate::resp::reply::Reply;
use crate::storage::{Expiry, Keyspace};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "bitcount",
        arity: -2,
        flags: Flags::READONLY.or(Flags::BY_SIZE),
        keys: Keys::Specs(&[KeyFlags::RO_ACCESS.at(1)]),
        group: Group::Bitmap,
        since: "2.6.0",
        complexity: "O(N)",
        summary: "Counts the number of set bits (population counting) in a string.",
        syntax: "key [start end [BYTE | BIT]]",
        handler: Handler::Read(bitcount),
        history: &[("7.0.0", "Added the `BYTE|BIT` option.")],
        ..Command::ROW
    },
    Command {
        name: "bitfield",
        arity: -2,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: Keys::Custom(
            &[KeyFlags::RW_ACCESS_UPDATE
                .or(KeyFlags::VARIABLE)
                .at(1)
                .noted("This command allows both access and modification of the key")],
            bitfield_keys,
        ),
        group: Group::Bitmap,
        since: "3.2.0",
        complexity: "O(1) for each subcommand specified",
        summary: "Performs arbitrary bitfield integer operations on strings.",
        syntax: "key [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value | \
            INCRBY encoding offset increment> [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] \
            <SET encoding offset value | INCRBY encoding offset increment> ...]]",
        handler: Handler::Write(bitfield),
        ..Command::ROW
    },
    Command {
        name: "bitfield_ro",
        arity: -2,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RO_ACCESS.at(1)]),
        group: Group::Bitmap,
        since: "6.0.0",
        complexity: "O(1) for each subcommand specified",
        summary: "Performs arbitrary read-only bitfield integer operations on strings.",
        syntax: "key [GET encoding offset [GET encoding offset ...]]",
        handler: Handler::Read(bitfield_ro),
        ..Command::ROW
    },
    Command {
        name: "bitop",
        arity: -4,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: Keys::Specs(&[KeyFlags::OW_UPDATE.at(2), KeyFlags::RO_ACCESS.range(3, -1, 1)]),
        group: Group::Bitmap,
        since: "2.6.0",
        complexity: "O(N)",
        summary: "Performs bitwise operations on multiple strings, and stores the result.",
        syntax: "<AND | OR | XOR | NOT> destkey key [key ...]",
        handler: Handler::Write(bitop),
        ..Command::ROW
    },
    Command {
        name: "bitpos",
        arity: -3,
        flags: Flags::READONLY.or(Flags::BY_SIZE),
        keys: Keys::Specs(&[KeyFlags::RO_ACCESS.at(1)]),
        group: Group::Bitmap,
        since: "2.8.7",
        complexity: "O(N)",
        summary: "Finds the first set (1) or clear (0) bit in a string.",
        syntax: "key bit [start [end [BYTE | BIT]]]",
        handler: Handler::Read(bitpos),
        history: &[("7.0.0", "Added the `BYTE|BIT` option.")],
        ..Command::ROW
    },
    Command {
        name: "getbit",
        arity: 3,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RO_ACCESS.at(1)]),
        group: Group::Bitmap,
        since: "2.2.0",
        summary: "Returns a bit value by offset.",
        syntax: "key offset",
        handler: Handler::Read(getbit),
        ..Command::ROW
    },
    Command {
        name: "setbit",
        arity: 4,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: Keys::Specs(&[KeyFlags::RW_ACCESS_UPDATE.at(1)]),
        group: Group::Bitmap,
        since: "2.2.0",
        summary: "Sets or clears the bit at offset of the string value. Creates the key if it doesn't exist.",
        syntax: "key offset value",
        handler: Handler::Write(setbit),
        ..Command::ROW
    },
];

/// The mask of a bit position in its byte.
fn mask_of(offset: u64) -> u8 {
    0x80 >> (offset % 8)
}

fn getbit(call: &mut ReadCall<'_>) -> ReadResult {
    let offset = parse_offset(call.args[2], None, call.keyspace.value_bytes_max())?;
    let byte = lookup::bytes(call.keyspace, call.args[1], offset / 8..offset / 8 + 1)?;
    Ok(call.reply.integer(i64::from(byte.first().is_some_and(|byte| byte & mask_of(offset) != 0)))?)
}

/// Writes when the bit changes or the string grows: a clear bit beyond its end lengthens it.
fn setbit(call: &mut WriteCall<'_>) -> CommandResult {
    let (args, key, mask) = (call.args, call.args[1], mask_of);
    let offset = parse_offset(args[2], None, call.keyspace.value_bytes_max())?;
    let is_set = match args::integer_or(args[3], errors::BIT_VALUE)? {
        0 => false,
        1 => true,
        _ => return Err(errors::BIT_VALUE.into()),
    };
    let old = lookup::bytes(call.keyspace, key, offset / 8..offset / 8 + 1)?.first().copied();
    let was_set = old.is_some_and(|byte| byte & mask(offset) != 0);
    if old.is_none() || was_set != is_set {
        let rest = old.unwrap_or(0) & !mask(offset);
        let byte = if is_set { rest | mask(offset) } else { rest };
        lookup::write_range(call, key, offset / 8, &[byte], "setbit")?;
    }
    Ok(Reply::Integer(i64::from(was_set)))
}

/// A bit offset; `#n` counts fields of `field_bits`. As in Redis the product wraps around, and then is out of range or not.
fn parse_offset(arg: &[u8], field_bits: Option<u32>, value_bytes_max: u64) -> Result<u64, CommandError> {
    let offset = match (arg, field_bits) {
        ([b'#', number @ ..], Some(bits)) => parse_integer(number).map(|number| number.wrapping_mul(i64::from(bits))),
        _ => parse_integer(arg),
    };
    offset
        .and_then(|offset| u64::try_from(offset).ok())
        .filter(|offset| offset / 8 < value_bytes_max)
        .ok_or_else(|| errors::BIT_OFFSET.into())
}

/// What the positions of BITCOUNT and BITPOS count; true: bits.
fn parse_unit(arg: &[u8]) -> Result<bool, CommandError> {
    if args::is_word(arg, "bit") {
        Ok(true)
    } else if args::is_word(arg, "byte") {
        Ok(false)
    } else {
        Err(errors::SYNTAX.into())
    }
}

/// The bits that `start` and `end` mean in a string of `length` bytes.
fn bit_range(start: i64, end: i64, length: u64, in_bits: bool) -> Range<u64> {
    if in_bits {
        return clamp_range(start, end, length * 8);
    }
    let bytes = clamp_range(start, end, length);
    bytes.start * 8..bytes.end * 8
}

/// Shows the bytes of a range of bits in pieces, their bits outside of it replaced by `fill`.
fn bit_pieces<B>(
    keyspace: &Keyspace,
    key: &[u8],
    bits: &Range<u64>,
    fill: bool,
    mut visit: impl FnMut(u64, &[u8]) -> ControlFlow<B>,
) -> Result<Option<B>, CommandError> {
    pieces(keyspace, key, bits.start / 8..bits.end.div_ceil(8), |at, bytes| {
        let inside = |bit: u64| bit.saturating_sub(at * 8).min(bytes.len() as u64 * 8);
        let range = inside(bits.start)..inside(bits.end);
        mask_edges(bytes, &range, fill);
        visit(at, bytes)
    })
}

/// The key comes before the other arguments: an absent one is 0 whatever they are (until Redis 7.4).
fn bitcount(call: &mut ReadCall<'_>) -> ReadResult {
    let (keyspace, args, key) = (call.keyspace, call.args, call.args[1]);
    let Some(length) = lookup::length(keyspace, key)? else { return Ok(call.reply.integer(0)?) };
    let bits = match args[2..] {
        [] => 0..length * 8,
        [start, end, ref unit @ ..] if unit.len() <= 1 => {
            let (start, end) = (args::integer(start)?, args::integer(end)?);
            if start < 0 && end < 0 && start > end {
                return Ok(call.reply.integer(0)?);
            }
            let in_bits = unit.first().map_or(Ok(false), |unit| parse_unit(unit))?;
            bit_range(start, end, length, in_bits)
        }
        _ => return Err(errors::SYNTAX.into()),
    };
    let mut count = 0;
    bit_pieces(keyspace, key, &bits, false, |_, bytes| {
        count += count_ones(bytes);
        ControlFlow::<()>::Continue(())
    })?;
    Ok(call.reply.count(count)?)
}

/// An absent key is endless zeros. So is what follows the string, unless an end was given.
fn bitpos(call: &mut ReadCall<'_>) -> ReadResult {
    let (keyspace, args, key) = (call.keyspace, call.args, call.args[1]);
    let bit = match args::integer(args[2])? {
        0 => false,
        1 => true,
        _ => return Err(errors::BIT_ARGUMENT.into()),
    };
    let Some(length) = lookup::length(keyspace, key)? else {
        return Ok(call.reply.integer(if bit { -1 } else { 0 })?);
    };
    let bits = match args[3..] {
        [] => 0..length * 8,
        [start] => bit_range(args::integer(start)?, -1, length, false),
        [start, end, ref unit @ ..] if unit.len() <= 1 => {
            let start = args::integer(start)?;
            let in_bits = unit.first().map_or(Ok(false), |unit| parse_unit(unit))?;
            bit_range(start, args::integer(end)?, length, in_bits)
        }
        _ => return Err(errors::SYNTAX.into()),
    };
    let found = bit_pieces(keyspace, key, &bits, !bit, |at, bytes| match first_bit(bytes, bit) {
        Some(position) => ControlFlow::Break(at * 8 + position),
        None => ControlFlow::Continue(()),
    })?;
    let is_open_ended = args.len() < 5;
    Ok(match found {
        Some(position) => call.reply.count(position),
        None if !bit && is_open_ended && !bits.is_empty() => call.reply.count(length * 8),
        None => call.reply.integer(-1),
    }?)
}

/// The result is as long as the longest source. It replaces whatever the destination holds; an empty one removes it.
fn bitop(call: &mut WriteCall<'_>) -> CommandResult {
    let args = call.args;
    let operation = parse_operation(args[1])?;
    let (destination, sources) = (args[2], &args[3..]);
    if operation == Operation::Not && sources.len() != 1 {
        return Err(errors::BITOP_NOT_ONE_SOURCE.into());
    }
    let mut lengths = Vec::with_capacity(sources.len());
    for source in sources {
        lengths.push(lookup::length(call.keyspace, source)?.unwrap_or(0));
    }
    let length = lengths.iter().copied().max().unwrap_or(0);
    if length == 0 {
        lookup::delete(call, destination)?;
        return Ok(Reply::Integer(0));
    }
    let mut result = Keyspace::zeros(length)?;
    for (index, (source, source_length)) in sources.iter().zip(&lengths).enumerate() {
        // The first source is copied: into zeros, OR does that.
        let operation = if index == 0 && operation != Operation::Not { Operation::Or } else { operation };
        combine_source(call.keyspace, operation, &mut result, source, *source_length)?;
    }
    lookup::put(call, destination, &result, Expiry::Clear, "set")?;
    Ok(integer(length))
}

fn combine_source(
    keyspace: &Keyspace,
    operation: Operation,
    result: &mut [u8],
    source: &[u8],
    length: u64,
) -> Result<(), CommandError> {
    for (part, at) in result.chunks_mut(PIECE_BYTES as usize).zip((0..).step_by(PIECE_BYTES as usize)) {
        keyspace.check_read_limit()?;
        // Behind the source's end there is nothing to read.
        let piece = if at < length { lookup::bytes(keyspace, source, at..at + PIECE_BYTES)? } else { Vec::new() };
        combine(operation, part, &piece);
    }
    Ok(())
}

fn parse_operation(arg: &[u8]) -> Result<Operation, CommandError> {
    const OPERATIONS: [(&str, Operation); 4] =
        [("and", Operation::And), ("or", Operation::Or), ("xor", Operation::Xor), ("not", Operation::Not)];
    OPERATIONS
        .iter()
        .find(|(word, _)| args::is_word(arg, word))
        .map(|(_, operation)| *operation)
        .ok_or_else(|| errors::SYNTAX.into())
}

fn integer(value: u64) -> Reply {
    Reply::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

/// One operation of BITFIELD.
#[derive(Clone, Copy)]
struct FieldCall {
    integer: IntegerType,
    offset: u64,
    action: FieldAction,
}

#[derive(Clone, Copy)]
enum FieldAction {
    Get,
    Set(i64, Overflow),
    Increment(i64, Overflow),
}

impl FieldCall {
    /// The bytes that the field touches, 9 at most.
    fn bytes(&self) -> Range<u64> {
        self.offset / 8..(self.offset + u64::from(self.integer.bits)).div_ceil(8)
    }

    fn reads_only(&self) -> bool {
        matches!(self.action, FieldAction::Get)
    }
}

/// BITFIELD only reads when all that it does is GET.
fn bitfield_keys(args: &[&[u8]]) -> Vec<KeyPosition> {
    let mut rest = &args[2..];
    let reads_only = loop {
        rest = match rest {
            [] => break true,
            [word, _, _, after @ ..] if args::is_word(word, "get") => after,
            [word, _, after @ ..] if args::is_word(word, "overflow") => after,
            _ => break false,
        };
    };
    vec![KeyPosition { index: 1, flags: if reads_only { KeyFlags::RO_ACCESS } else { KeyFlags::RW_ACCESS_UPDATE } }]
}

fn bitfield(call: &mut WriteCall<'_>) -> CommandResult {
    let fields = parse_field_calls(&call.args[2..], call.keyspace.value_bytes_max())?;
    let key = call.args[1];
    let length = lookup::length(call.keyspace, key)?.unwrap_or(0);
    let needed = fields.iter().filter(|field| !field.reads_only()).map(|field| field.bytes().end).max().unwrap_or(0);
    let is_news = call.is_news(key)?;
    let grows = needed > length;
    if grows {
        // Also when no operation will write, because all overflow: as in Redis.
        call.keyspace.write_string_range(key, needed - 1, &[0])?;
    }
    let (mut replies, mut has_written) = (Vec::with_capacity(fields.len()), false);
    for field in &fields {
        let (reply, is_changed) = run_field_call(call.keyspace, key, field)?;
        // In a string that has grown for it every value that is stored counts as one that has changed.
        has_written |= is_changed || grows && !field.reads_only() && reply != Reply::Null;
        replies.push(reply);
    }
    if grows && is_news {
        call.tell(Class::New, "new", key);
    }
    if has_written {
        call.tell(Class::String, "setbit", key);
    }
    Ok(Reply::Array(replies))
}

/// The reply, and whether the field has another value now.
fn run_field_call(keyspace: &mut Keyspace, key: &[u8], field: &FieldCall) -> Result<(Reply, bool), CommandError> {
    let range = field.bytes();
    let mut bytes = lookup::bytes(keyspace, key, range.clone())?;
    let within = field.offset % 8;
    let old = field.integer.read(&bytes, within);
    let (new, reply) = match field.action {
        FieldAction::Get => return Ok((Reply::Integer(old), false)),
        FieldAction::Set(value, overflow) => (field.integer.store(value, overflow), old),
        FieldAction::Increment(increment, overflow) => {
            let new = field.integer.add(old, increment, overflow);
            (new, new.unwrap_or(0))
        }
    };
    let Some(new) = new else { return Ok((Reply::Null, false)) };
    if new != old {
        field.integer.write(&mut bytes, within, new);
        keyspace.write_string_range(key, range.start, &bytes)?;
    }
    Ok((Reply::Integer(reply), new != old))
}

fn bitfield_ro(call: &mut ReadCall<'_>) -> ReadResult {
    let (keyspace, key) = (call.keyspace, call.args[1]);
    let fields = parse_field_calls(&call.args[2..], keyspace.value_bytes_max())?;
    if !fields.iter().all(FieldCall::reads_only) {
        return Err(errors::BITFIELD_RO_GET_ONLY.into());
    }
    // The kind of the key matters also when nothing is read.
    optional(keyspace.string_length(key)?)?;
    call.reply.array(fields.len())?;
    for field in &fields {
        let bytes = lookup::bytes(keyspace, key, field.bytes())?;
        call.reply.integer(field.integer.read(&bytes, field.offset % 8))?;
    }
    Ok(())
}

fn parse_field_calls(args: &[&[u8]], value_bytes_max: u64) -> Result<Vec<FieldCall>, CommandError> {
    let mut calls = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut rest = args;
    while !rest.is_empty() {
        let (encoding, offset, value, is_set, after) = match rest {
            [word, encoding, offset, after @ ..] if args::is_word(word, "get") => {
                (encoding, offset, None, false, after)
            }
            [word, encoding, offset, value, after @ ..] if args::is_word(word, "set") => {
                (encoding, offset, Some(value), true, after)
            }
            [word, encoding, offset, value, after @ ..] if args::is_word(word, "incrby") => {
                (encoding, offset, Some(value), false, after)
            }
            [word, behaviour, after @ ..] if args::is_word(word, "overflow") => {
                overflow = parse_overflow(behaviour)?;
                rest = after;
                continue;
            }
            _ => return Err(errors::SYNTAX.into()),
        };
        rest = after;
        let integer = parse_encoding(encoding)?;
        let offset = parse_offset(offset, Some(integer.bits), value_bytes_max)?;
        let action = match value.map(|value| args::integer(value)).transpose()? {
            None => FieldAction::Get,
            Some(value) if is_set => FieldAction::Set(value, overflow),
            Some(increment) => FieldAction::Increment(increment, overflow),
        };
        calls.push(FieldCall { integer, offset, action });
    }
    Ok(calls)
}

fn parse_overflow(arg: &[u8]) -> Result<Overflow, CommandError> {
    if args::is_word(arg, "wrap") {
        Ok(Overflow::Wrap)
    } else if args::is_word(arg, "sat") {
        Ok(Overflow::Saturate)
    } else if args::is_word(arg, "fail") {
        Ok(Overflow::Fail)
    } else {
        Err(errors::BITFIELD_OVERFLOW.into())
    }
}

/// `i` or `u`, which are lower case, and the number of bits.
fn parse_encoding(arg: &[u8]) -> Result<IntegerType, CommandError> {
    let (signed, bits_max, number) = match arg {
        [b'i', number @ ..] => (true, 64, number),
        [b'u', number @ ..] => (false, 63, number),
        _ => return Err(errors::BITFIELD_TYPE.into()),
    };
    parse_integer(number)
        .and_then(|bits| u32::try_from(bits).ok())
        .filter(|bits| (1..=bits_max).contains(bits))
        .map(|bits| IntegerType { signed, bits })
        .ok_or_else(|| errors::BITFIELD_TYPE.into())
}

#[cfg(test)]
#[path = "bits_tests.rs"]
mod tests;
