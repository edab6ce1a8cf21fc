//! Strings as numbers: INCR, INCRBY, DECR, DECRBY, INCRBYFLOAT.

use crate::kv::call::WriteCall;
use crate::kv::commands::args;
use crate::kv::commands::lookup;
use crate::kv::commands::table::{Command, Flags, Group, Handler, KeyFlags, Keys};
use crate::kv::errors::{self, CommandResult};
use crate::kv::formats::float_text::TEXT_BYTES_MAX;
use crate::kv::formats::long_double::LongDouble;
use crate::resp::reply::Reply;

pub const COMMANDS: &[Command] = &[
    Command {
        name: "decr",
        arity: 2,
        summary: "Decrements the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
        syntax: "key",
        handler: Handler::Write(decr),
        ..ROW
    },
    Command {
        name: "decrby",
        arity: 3,
        summary: "Decrements a number from the integer value of a key. Uses 0 as initial value if the key doesn't exist.",
        syntax: "key decrement",
        handler: Handler::Write(decrby),
        ..ROW
    },
    Command {
        name: "incr",
        arity: 2,
        summary: "Increments the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
        syntax: "key",
        handler: Handler::Write(incr),
        ..ROW
    },
    Command {
        name: "incrby",
        arity: 3,
        summary: "Increments the integer value of a key by a number. Uses 0 as initial value if the key doesn't exist.",
        syntax: "key increment",
        handler: Handler::Write(incrby),
        ..ROW
    },
    Command {
        name: "incrbyfloat",
        arity: 3,
        since: "2.6.0",
        summary: "Increment the floating point value of a key by a number. Uses 0 as initial value if the key doesn't \
            exist.",
        syntax: "key increment",
        handler: Handler::Write(incrbyfloat),
        ..ROW
    },
];

/// The longest spelling of an `i64`.
const INTEGER_BYTES_MAX: usize = 20;

/// What the rows have in common.
const ROW: Command = Command {
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
    keys: Keys::Specs(&[KeyFlags::RW_ACCESS_UPDATE.at(1)]),
    group: Group::String,
    ..Command::ROW
};

fn incr(call: &mut WriteCall<'_>) -> CommandResult {
    add(call, 1)
}

fn decr(call: &mut WriteCall<'_>) -> CommandResult {
    add(call, -1)
}

fn incrby(call: &mut WriteCall<'_>) -> CommandResult {
    add(call, args::integer(call.args[2])?)
}

fn decrby(call: &mut WriteCall<'_>) -> CommandResult {
    let increment = args::integer(call.args[2])?.checked_neg().ok_or(errors::DECREMENT_OVERFLOW)?;
    add(call, increment)
}

fn add(call: &mut WriteCall<'_>, increment: i64) -> CommandResult {
    let sum = lookup::update(call, INTEGER_BYTES_MAX, "incrby", |old| {
        let sum = old.map_or(Ok(0), args::integer)?.checked_add(increment).ok_or(errors::INCREMENT_OVERFLOW)?;
        Ok((sum, itoa::Buffer::new().format(sum).as_bytes().to_vec()))
    })?;
    Ok(Reply::Integer(sum))
}

fn incrbyfloat(call: &mut WriteCall<'_>) -> CommandResult {
    let args = call.args;
    let number = |text: &[u8]| LongDouble::parse(text).ok_or(errors::NOT_A_FLOAT);
    let text = lookup::update(call, TEXT_BYTES_MAX, "incrbyfloat", |old| {
        let old = old.map_or(Ok(LongDouble::ZERO), number)?;
        let sum = old.checked_add(number(args[2])?).ok_or(errors::INCREMENT_NAN_OR_INFINITY)?;
        let text = sum.to_text().into_bytes();
        Ok((text.clone(), text))
    })?;
    Ok(Reply::Bulk(text))
}

#[cfg(test)]
#[path = "counters_tests.rs"]
mod tests;
