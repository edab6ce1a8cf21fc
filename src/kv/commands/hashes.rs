//! Hashes: HSET, HGET and their relatives. A small one lies packed in its key's row, and the loop answers for it; a large one has a row for
//! each field. What hashes have in common with sets is in kv::commands::elements.

use crate::kv::call::{Class, ReadCall, ReadResult, WriteCall};
use crate::kv::commands::args;
use crate::kv::commands::elements::{self, Parts, Wish};
use crate::kv::commands::lookup;
use crate::kv::commands::table::{Command, Deprecated, Flags, Group, Handler, KeyFlags, Keys};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::formats::long_double::LongDouble;
use crate::kv::table::look::{self, ElementsAnswer, Look, LookResult, Reads, Shape, Told};
use crate::resp::{Reply, ReplyWriter, Version, Written};
use crate::storage::{Elements, Entry, Kind, Lookup, Packed};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "hdel",
        arity: -3,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW.or(KeyFlags::DELETE).at(1)]),
        complexity: "O(N) where N is the number of fields to be removed.",
        summary: "Deletes one or more fields and their values from a hash. Deletes the hash if no fields remain.",
        syntax: "key field [field ...]",
        handler: Handler::Write(hdel),
        history: &[("2.4.0", "Accepts multiple `field` arguments.")],
        ..ROW
    },
    Command {
        name: "hexists",
        arity: 3,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RO.at(1)]),
        summary: "Determines whether a field exists in a hash.",
        syntax: "key field",
        handler: look(hexists, hexists_apart),
        ..ROW
    },
    Command {
        name: "hget",
        arity: 3,
        flags: Flags::READONLY.or(Flags::FAST),
        summary: "Returns the value of a field in a hash.",
        syntax: "key field",
        handler: look(hget, hget_apart),
        ..ROW
    },
    Command {
        name: "hgetall",
        arity: 2,
        flags: Flags::READONLY,
        complexity: "O(N) where N is the size of the hash.",
        summary: "Returns all fields and values in a hash.",
        syntax: "key",
        handler: look_at_all(hgetall, hgetall_apart),
        tips: &["nondeterministic_output_order"],
        ..ROW
    },
    Command {
        name: "hincrby",
        arity: 4,
        flags: GROWS,
        keys: Keys::Specs(&[KeyFlags::RW_ACCESS_UPDATE.at(1)]),
        summary: "Increments the integer value of a field in a hash by a number. Uses 0 as initial value if the field \
            doesn't exist.",
        syntax: "key field increment",
        handler: Handler::Write(hincrby),
        ..ROW
    },
    Command {
        name: "hincrbyfloat",
        arity: 4,
        flags: GROWS,
        keys: Keys::Specs(&[KeyFlags::RW_ACCESS_UPDATE.at(1)]),
        since: "2.6.0",
        summary: "Increments the floating point value of a field by a number. Uses 0 as initial value if the field \
            doesn't exist.",
        syntax: "key field increment",
        handler: Handler::Write(hincrbyfloat),
        ..ROW
    },
    Command {
        name: "hkeys",
        arity: 2,
        flags: Flags::READONLY,
        complexity: "O(N) where N is the size of the hash.",
        summary: "Returns all fields in a hash.",
        syntax: "key",
        handler: look_at_all(hkeys, hkeys_apart),
        tips: &["nondeterministic_output_order"],
        ..ROW
    },
    Command {
        name: "hlen",
        arity: 2,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RO.at(1)]),
        summary: "Returns the number of fields in a hash.",
        syntax: "key",
        handler: Handler::Look(Look::at_head(Shape::One, hlen)),
        ..ROW
    },
    Command {
        name: "hmget",
        arity: -3,
        flags: Flags::READONLY.or(Flags::FAST),
        complexity: "O(N) where N is the number of fields being requested.",
        summary: "Returns the values of all fields in a hash.",
        syntax: "key field [field ...]",
        handler: look(hmget, hmget_apart),
        ..ROW
    },
    Command {
        name: "hmset",
        arity: -4,
        flags: GROWS,
        keys: Keys::Specs(&[KeyFlags::RW_UPDATE.at(1)]),
        complexity: "O(N) where N is the number of fields being set.",
        summary: "Sets the values of multiple fields.",
        syntax: "key field value [field value ...]",
        handler: Handler::Write(hmset),
        deprecated: Some(Deprecated { since: "4.0.0", replaced_by: "`HSET` with multiple field-value pairs" }),
        ..ROW
    },
    Command {
        name: "hrandfield",
        arity: -2,
        flags: Flags::READONLY,
        since: "6.2.0",
        complexity: "O(N) where N is the number of fields returned",
        summary: "Returns one or more random fields from a hash.",
        syntax: "key [count [WITHVALUES]]",
        handler: Handler::Read(hrandfield),
        heavy_when: Some(elements::asks_for_many),
        tips: &["nondeterministic_output"],
        ..ROW
    },
    Command {
        name: "hscan",
        arity: -3,
        flags: Flags::READONLY,
        since: "2.8.0",
        complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the \
            cursor to return back to 0. N is the number of elements inside the collection.",
        summary: "Iterates over fields and values of a hash.",
        syntax: "key cursor [MATCH pattern] [COUNT count] [NOVALUES]",
        handler: Handler::Read(hscan),
        heavy_when: Some(elements::scans_many),
        tips: &["nondeterministic_output"],
        ..ROW
    },
    Command {
        name: "hset",
        arity: -4,
        flags: GROWS,
        keys: Keys::Specs(&[KeyFlags::RW_UPDATE.at(1)]),
        complexity: "O(1) for each field/value pair added, so O(N) to add N field/value pairs when the command is \
            called with multiple field/value pairs.",
        summary: "Creates or modifies the value of a field in a hash.",
        syntax: "key field value [field value ...]",
        handler: Handler::Write(hset),
        history: &[("4.0.0", "Accepts multiple `field` and `value` arguments.")],
        ..ROW
    },
    Command {
        name: "hsetnx",
        arity: 4,
        flags: GROWS,
        keys: Keys::Specs(&[KeyFlags::RW_INSERT.at(1)]),
        summary: "Sets the value of a field in a hash only when the field doesn't exist.",
        syntax: "key field value",
        handler: Handler::Write(hsetnx),
        ..ROW
    },
    Command {
        name: "hstrlen",
        arity: 3,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RO.at(1)]),
        since: "3.2.0",
        summary: "Returns the length of the value of a field.",
        syntax: "key field",
        handler: look(hstrlen, hstrlen_apart),
        ..ROW
    },
    Command {
        name: "hvals",
        arity: 2,
        flags: Flags::READONLY,
        complexity: "O(N) where N is the size of the hash.",
        summary: "Returns all values in a hash.",
        syntax: "key",
        handler: look_at_all(hvals, hvals_apart),
        tips: &["nondeterministic_output_order"],
        ..ROW
    },
];

/// What most rows have in common.
const ROW: Command =
    Command { keys: Keys::Specs(&[KeyFlags::RO_ACCESS.at(1)]), group: Group::Hash, since: "2.0.0", ..Command::ROW };

const GROWS: Flags = Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST);

/// A read of single fields.
const fn look(packed: look::PackedHandler, apart: fn(&mut ReadCall<'_>) -> ReadResult) -> Handler {
    Handler::Look(Look::at_elements(ElementsAnswer { kind: Kind::Hash, packed, apart, reads: Reads::Few }))
}

/// A read of the whole hash.
const fn look_at_all(packed: look::PackedHandler, apart: fn(&mut ReadCall<'_>) -> ReadResult) -> Handler {
    Handler::Look(Look::at_elements(ElementsAnswer { kind: Kind::Hash, packed, apart, reads: Reads::All }))
}

fn hlen(_: &[&[u8]], key: Option<&Entry>, _: i64) -> LookResult {
    let fields = look::of_kind(key, Kind::Hash)?.map_or(0, |key| key.length);
    Ok(Told::Integer(i64::try_from(fields).unwrap_or(i64::MAX)))
}

fn hget(args: &[&[u8]], fields: &Packed<'_>, reply: &mut ReplyWriter<'_>) -> ReadResult {
    Ok(bulk_or_null(fields.find(args[2])?, reply)?)
}

fn hget_apart(call: &mut ReadCall<'_>) -> ReadResult {
    let fields = found(call)?;
    value_apart(&fields, call.args[2], &mut call.reply)
}

fn hmget(args: &[&[u8]], fields: &Packed<'_>, reply: &mut ReplyWriter<'_>) -> ReadResult {
    reply.array(args.len() - 2)?;
    for field in &args[2..] {
        bulk_or_null(fields.find(field)?, reply)?;
    }
    Ok(())
}

fn hmget_apart(call: &mut ReadCall<'_>) -> ReadResult {
    let fields = found(call)?;
    call.reply.array(call.args.len() - 2)?;
    call.args[2..].iter().try_for_each(|field| value_apart(&fields, field, &mut call.reply))
}

fn hexists(args: &[&[u8]], fields: &Packed<'_>, reply: &mut ReplyWriter<'_>) -> ReadResult {
    Ok(reply.integer(i64::from(fields.find(args[2])?.is_some()))?)
}

fn hexists_apart(call: &mut ReadCall<'_>) -> ReadResult {
    let is_there = found(call)?.contains(call.args[2])?;
    Ok(call.reply.integer(i64::from(is_there))?)
}

fn hstrlen(args: &[&[u8]], fields: &Packed<'_>, reply: &mut ReplyWriter<'_>) -> ReadResult {
    Ok(reply.count(fields.find(args[2])?.map_or(0, |value| value.len() as u64))?)
}

fn hstrlen_apart(call: &mut ReadCall<'_>) -> ReadResult {
    let length = found(call)?.value_length(call.args[2])?;
    Ok(call.reply.count(length.unwrap_or(0))?)
}

fn hgetall(_: &[&[u8]], fields: &Packed<'_>, reply: &mut ReplyWriter<'_>) -> ReadResult {
    reply.map(fields.elements().count())?;
    for element in fields.elements() {
        let (field, value) = element?;
        reply.bulk(field)?;
        reply.bulk(value)?;
    }
    Ok(())
}

fn hgetall_apart(call: &mut ReadCall<'_>) -> ReadResult {
    let fields = found(call)?;
    call.reply.map(elements::count(&fields))?;
    elements::write_all(&fields, Parts::Both, &mut call.reply)
}

fn hkeys(_: &[&[u8]], fields: &Packed<'_>, reply: &mut ReplyWriter<'_>) -> ReadResult {
    reply.array(fields.elements().count())?;
    for element in fields.elements() {
        reply.bulk(element?.0)?;
    }
    Ok(())
}

fn hkeys_apart(call: &mut ReadCall<'_>) -> ReadResult {
    let fields = found(call)?;
    call.reply.array(elements::count(&fields))?;
    elements::write_all(&fields, Parts::Names, &mut call.reply)
}

fn hvals(_: &[&[u8]], fields: &Packed<'_>, reply: &mut ReplyWriter<'_>) -> ReadResult {
    reply.array(fields.elements().count())?;
    for element in fields.elements() {
        reply.bulk(element?.1)?;
    }
    Ok(())
}

fn hvals_apart(call: &mut ReadCall<'_>) -> ReadResult {
    let fields = found(call)?;
    call.reply.array(elements::count(&fields))?;
    elements::write_all(&fields, Parts::Values, &mut call.reply)
}

/// The hash that the call's look has found, and not in the key's row.
fn found<'a>(call: &ReadCall<'a>) -> Result<Elements<'a>, CommandError> {
    elements::found(call, Kind::Hash)
}

fn value_apart(fields: &Elements<'_>, field: &[u8], reply: &mut ReplyWriter<'_>) -> ReadResult {
    Ok(match fields.get(field, |value| reply.bulk(value))? {
        Some(written) => written,
        None => reply.null(),
    }?)
}

fn bulk_or_null(value: Option<&[u8]>, reply: &mut ReplyWriter<'_>) -> Written {
    match value {
        Some(value) => reply.bulk(value),
        None => reply.null(),
    }
}

fn hscan(call: &mut ReadCall<'_>) -> ReadResult {
    elements::scan(call, Kind::Hash)
}

fn hrandfield(call: &mut ReadCall<'_>) -> ReadResult {
    let (keyspace, args, reply) = (call.keyspace, call.args, &mut call.reply);
    let options = args.get(2).map(|count| elements::random_options(count, &args[3..], "withvalues")).transpose()?;
    let has_values = options.is_some_and(|(_, has_values)| has_values);
    let fields = elements::at_random(keyspace, Kind::Hash, args[1], has_values, reply)?;
    let Some((wish, _)) = options else {
        return match fields {
            Some(fields) => {
                elements::each_random(keyspace, &fields, Wish::Any(1), &mut |field, _| Ok(reply.bulk(field)?))
            }
            None => Ok(reply.null()?),
        };
    };
    let Some(fields) = fields else { return Ok(reply.array(0)?) };
    let count = elements::granted(&fields, wish, reply)?;
    let is_nested = has_values && reply.version() == Version::Resp3;
    reply.array(if has_values && !is_nested { 2 * count } else { count })?;
    elements::each_random(keyspace, &fields, wish, &mut |field, value| {
        if is_nested {
            reply.array(2)?;
        }
        reply.bulk(field)?;
        Ok(if has_values { reply.bulk(value) } else { Ok(()) }?)
    })
}

fn hset(call: &mut WriteCall<'_>) -> CommandResult {
    Ok(Reply::Integer(set_fields(call, "hset")?.cast_signed()))
}

fn hmset(call: &mut WriteCall<'_>) -> CommandResult {
    set_fields(call, "hmset")?;
    Ok(Reply::Ok)
}

/// How many fields are new.
fn set_fields(call: &mut WriteCall<'_>, name: &str) -> Result<u64, CommandError> {
    let pairs = &call.args[2..];
    if pairs.len() % 2 == 1 {
        return Err(errors::wrong_arity(name));
    }
    let added = changed(call.keyspace.hash_set(call.args[1], pairs)?)?;
    call.tell_of(Class::Hash, added.is_new, "hset", call.args[1]);
    Ok(added.count)
}

fn hsetnx(call: &mut WriteCall<'_>) -> CommandResult {
    let args = call.args;
    let added = changed(call.keyspace.hash_set_new(args[1], args[2], args[3])?)?;
    if added.count > 0 {
        call.tell_of(Class::Hash, added.is_new, "hset", args[1]);
    }
    Ok(Reply::Integer(added.count.cast_signed()))
}

fn hdel(call: &mut WriteCall<'_>) -> CommandResult {
    let (key, fields) = (call.args[1], &call.args[2..]);
    let Some(removed) = lookup::optional(call.keyspace.hash_delete(key, fields)?)? else {
        return Ok(Reply::Integer(0));
    };
    if removed.count > 0 {
        lookup::tell_removal(call, Class::Hash, "hdel", key, removed.is_gone);
    }
    Ok(Reply::Integer(removed.count.cast_signed()))
}

fn hincrby(call: &mut WriteCall<'_>) -> CommandResult {
    let increment = args::integer(call.args[3])?;
    let sum = update(call, "hincrby", |old| {
        let old = old.map_or(Ok(0), |old| args::integer_or(old, errors::HASH_NOT_AN_INTEGER))?;
        let sum = old.checked_add(increment).ok_or(errors::INCREMENT_OVERFLOW)?;
        Ok((sum, itoa::Buffer::new().format(sum).as_bytes().to_vec()))
    })?;
    Ok(Reply::Integer(sum))
}

fn hincrbyfloat(call: &mut WriteCall<'_>) -> CommandResult {
    let increment = LongDouble::parse(call.args[3]).ok_or(errors::NOT_A_FLOAT)?;
    if matches!(increment, LongDouble::Infinity { .. }) {
        return Err(errors::VALUE_NAN_OR_INFINITY.into());
    }
    let text = update(call, "hincrbyfloat", |old| {
        let number = |text: &[u8]| LongDouble::parse(text).ok_or(errors::HASH_NOT_A_FLOAT);
        let old = old.map_or(Ok(LongDouble::ZERO), number)?;
        let sum = old.checked_add(increment).ok_or(errors::INCREMENT_NAN_OR_INFINITY)?;
        let text = sum.to_text().into_bytes();
        Ok((text.clone(), text))
    })?;
    Ok(Reply::Bulk(text))
}

/// Replaces the field's value by what `change` makes of it, and tells of it by this name.
fn update<T>(
    call: &mut WriteCall<'_>,
    event: &'static str,
    change: impl FnOnce(Option<&[u8]>) -> Result<(T, Vec<u8>), CommandError>,
) -> Result<T, CommandError> {
    let (told, added) = changed(call.keyspace.hash_update(call.args[1], call.args[2], change)?)?;
    call.tell_of(Class::Hash, added.is_new, event, call.args[1]);
    Ok(told)
}

/// What a change of a hash came to, which an absent one begins with.
fn changed<T>(lookup: Lookup<T>) -> Result<T, CommandError> {
    lookup::optional(lookup)?.ok_or(CommandError::from(errors::INTERNAL))
}

#[cfg(test)]
#[path = "hashes_tests.rs"]
mod tests;
