//! Sets: SADD, SREM, SMEMBERS and their relatives. A small one lies packed in its key's row, and the loop answers for it; a large one has a
//! row for each member. What sets have in common with hashes is in kv::commands::elements, what is made of several in set_algebra.

use crate::kv::call::{Class, ReadCall, ReadResult, WriteCall};
use crate::kv::commands::args;
use crate::kv::commands::elements::{self, Parts, Wish};
use crate::kv::commands::lookup;
use crate::kv::commands::random::Random;
use crate::kv::commands::table::{Command, Flags, Group, Handler, KeyFlags, Keys};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::table::look::{self, ElementsAnswer, Look, LookResult, Reads, Shape, Told};
use crate::resp::{Reply, ReplyWriter};
use crate::storage::{Elements, Entry, Kind, Packed, SetMoved};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "sadd",
        arity: -3,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW_INSERT.at(1)]),
        complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple \
            arguments.",
        summary: "Adds one or more members to a set. Creates the key if it doesn't exist.",
        syntax: "key member [member ...]",
        handler: Handler::Write(sadd),
        history: &[("2.4.0", "Accepts multiple `member` arguments.")],
        ..ROW
    },
    Command {
        name: "scard",
        arity: 2,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RO.at(1)]),
        summary: "Returns the number of members in a set.",
        syntax: "key",
        handler: Handler::Look(Look::at_head(Shape::One, scard)),
        ..ROW
    },
    Command {
        name: "sismember",
        arity: 3,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RO.at(1)]),
        summary: "Determines whether a member belongs to a set.",
        syntax: "key member",
        handler: look(sismember, sismember_apart, Reads::Few),
        ..ROW
    },
    Command {
        name: "smembers",
        arity: 2,
        flags: Flags::READONLY,
        complexity: "O(N) where N is the set cardinality.",
        summary: "Returns all members of a set.",
        syntax: "key",
        handler: look(smembers, smembers_apart, Reads::All),
        tips: &["nondeterministic_output_order"],
        ..ROW
    },
    Command {
        name: "smismember",
        arity: -3,
        flags: Flags::READONLY.or(Flags::FAST),
        since: "6.2.0",
        complexity: "O(N) where N is the number of elements being checked for membership",
        summary: "Determines whether multiple members belong to a set.",
        syntax: "key member [member ...]",
        handler: look(smismember, smismember_apart, Reads::Few),
        ..ROW
    },
    Command {
        name: "smove",
        arity: 4,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW_ACCESS_DELETE.at(1), KeyFlags::RW_INSERT.at(2)]),
        summary: "Moves a member from one set to another.",
        syntax: "source destination member",
        handler: Handler::Write(smove),
        ..ROW
    },
    Command {
        name: "spop",
        arity: -2,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW_ACCESS_DELETE.at(1)]),
        complexity: "Without the count argument O(1), otherwise O(N) where N is the value of the passed count.",
        summary: "Returns one or more random members from a set after removing them. Deletes the set if the last \
            member was popped.",
        syntax: "key [count]",
        handler: Handler::Write(spop),
        tips: &["nondeterministic_output"],
        history: &[("3.2.0", "Added the `count` argument.")],
        ..ROW
    },
    Command {
        name: "srandmember",
        arity: -2,
        flags: Flags::READONLY,
        complexity: "Without the count argument O(1), otherwise O(N) where N is the absolute value of the passed count.",
        summary: "Get one or multiple random members from a set.",
        syntax: "key [count]",
        handler: Handler::Read(srandmember),
        heavy_when: Some(elements::asks_for_many),
        tips: &["nondeterministic_output"],
        history: &[("2.6.0", "Added the optional `count` argument.")],
        ..ROW
    },
    Command {
        name: "srem",
        arity: -3,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW.or(KeyFlags::DELETE).at(1)]),
        complexity: "O(N) where N is the number of members to be removed.",
        summary: "Removes one or more members from a set. Deletes the set if the last member was removed.",
        syntax: "key member [member ...]",
        handler: Handler::Write(srem),
        history: &[("2.4.0", "Accepts multiple `member` arguments.")],
        ..ROW
    },
    Command {
        name: "sscan",
        arity: -3,
        flags: Flags::READONLY,
        since: "2.8.0",
        complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the \
            cursor to return back to 0. N is the number of elements inside the collection.",
        summary: "Iterates over members of a set.",
        syntax: "key cursor [MATCH pattern] [COUNT count]",
        handler: Handler::Read(sscan),
        heavy_when: Some(elements::scans_many),
        tips: &["nondeterministic_output"],
        ..ROW
    },
];

/// What most rows have in common.
const ROW: Command =
    Command { keys: Keys::Specs(&[KeyFlags::RO_ACCESS.at(1)]), group: Group::Set, since: "1.0.0", ..Command::ROW };

/// The bytes of the shortest member in a reply.
const MEMBER_BYTES_MIN: usize = 6;

/// A read of a set, packed in its key's row or not.
const fn look(packed: look::PackedHandler, apart: fn(&mut ReadCall<'_>) -> ReadResult, reads: Reads) -> Handler {
    Handler::Look(Look::at_elements(ElementsAnswer { kind: Kind::Set, packed, apart, reads }))
}

fn scard(_: &[&[u8]], key: Option<&Entry>, _: i64) -> LookResult {
    let members = look::of_kind(key, Kind::Set)?.map_or(0, |key| key.length);
    Ok(Told::Integer(i64::try_from(members).unwrap_or(i64::MAX)))
}

fn sismember(args: &[&[u8]], members: &Packed<'_>, reply: &mut ReplyWriter<'_>) -> ReadResult {
    Ok(reply.integer(i64::from(members.find(args[2])?.is_some()))?)
}

fn sismember_apart(call: &mut ReadCall<'_>) -> ReadResult {
    let is_there = found(call)?.contains(call.args[2])?;
    Ok(call.reply.integer(i64::from(is_there))?)
}

fn smismember(args: &[&[u8]], members: &Packed<'_>, reply: &mut ReplyWriter<'_>) -> ReadResult {
    reply.array(args.len() - 2)?;
    for member in &args[2..] {
        reply.integer(i64::from(members.find(member)?.is_some()))?;
    }
    Ok(())
}

fn smismember_apart(call: &mut ReadCall<'_>) -> ReadResult {
    let members = found(call)?;
    call.reply.array(call.args.len() - 2)?;
    for member in &call.args[2..] {
        call.reply.integer(i64::from(members.contains(member)?))?;
    }
    Ok(())
}

fn smembers(_: &[&[u8]], members: &Packed<'_>, reply: &mut ReplyWriter<'_>) -> ReadResult {
    reply.set(members.elements().count())?;
    for element in members.elements() {
        reply.bulk(element?.0)?;
    }
    Ok(())
}

fn smembers_apart(call: &mut ReadCall<'_>) -> ReadResult {
    let members = found(call)?;
    call.reply.set(elements::count(&members))?;
    elements::write_all(&members, Parts::Names, &mut call.reply)
}

/// The set that the call's look has found, and not in the key's row.
fn found<'a>(call: &ReadCall<'a>) -> Result<Elements<'a>, CommandError> {
    elements::found(call, Kind::Set)
}

fn sscan(call: &mut ReadCall<'_>) -> ReadResult {
    elements::scan(call, Kind::Set)
}

fn srandmember(call: &mut ReadCall<'_>) -> ReadResult {
    let (args, reply) = (call.args, &mut call.reply);
    let wish = match &args[2..] {
        [] => None,
        [count] => match args::integer(count)? {
            i64::MIN => return Err(errors::COUNT_OUT_OF_RANGE.into()),
            count => Some(Wish::of(count)),
        },
        _ => return Err(errors::SYNTAX.into()),
    };
    let members = elements::at_random(call.keyspace, Kind::Set, args[1], false, reply)?;
    match (members, wish) {
        (None, None) => Ok(reply.null()?),
        (None, Some(_)) => Ok(reply.array(0)?),
        (Some(members), None) => {
            elements::each_random(call.keyspace, &members, Wish::Any(1), &mut |member, _| Ok(reply.bulk(member)?))
        }
        (Some(members), Some(wish)) => {
            let count = elements::granted(&members, wish, reply)?;
            reply.array(count)?;
            elements::each_random(call.keyspace, &members, wish, &mut |member, _| Ok(reply.bulk(member)?))
        }
    }
}

fn sadd(call: &mut WriteCall<'_>) -> CommandResult {
    let (key, members) = (call.args[1], &call.args[2..]);
    let Some(added) = lookup::optional(call.keyspace.set_add(key, members)?)? else { return Ok(Reply::Integer(0)) };
    if added.count > 0 {
        call.tell_of(Class::Set, added.is_new, "sadd", key);
    }
    Ok(Reply::Integer(added.count.cast_signed()))
}

fn srem(call: &mut WriteCall<'_>) -> CommandResult {
    let (key, members) = (call.args[1], &call.args[2..]);
    let Some(removed) = lookup::optional(call.keyspace.set_remove(key, members)?)? else {
        return Ok(Reply::Integer(0));
    };
    if removed.count > 0 {
        lookup::tell_removal(call, Class::Set, "srem", key, removed.is_gone);
    }
    Ok(Reply::Integer(removed.count.cast_signed()))
}

fn smove(call: &mut WriteCall<'_>) -> CommandResult {
    let (from, to, member) = (call.args[1], call.args[2], call.args[3]);
    if from == to {
        let members = elements::of(call.keyspace, Kind::Set, from)?;
        let is_there = members.map_or(Ok(false), |members| members.contains(member))?;
        return Ok(Reply::Integer(i64::from(is_there)));
    }
    let moved = lookup::optional(call.keyspace.set_move(from, to, member)?)?;
    let Some(SetMoved { is_gone, added }) = moved.flatten() else { return Ok(Reply::Integer(0)) };
    lookup::tell_removal(call, Class::Set, "srem", from, is_gone);
    if added.count > 0 {
        call.tell_of(Class::Set, added.is_new, "sadd", to);
    }
    Ok(Reply::Integer(1))
}

fn spop(call: &mut WriteCall<'_>) -> CommandResult {
    let count = match &call.args[2..] {
        [] => None,
        [count] => Some(args::natural_or(count, errors::NOT_POSITIVE)?),
        _ => return Err(errors::SYNTAX.into()),
    };
    let key = call.args[1];
    if count == Some(0) {
        elements::of(call.keyspace, Kind::Set, key)?;
        return Ok(Reply::Set(Vec::new()));
    }
    let (mut random, mut left) = (Random::new(), call.reply_bytes_max);
    let mut grant = |member: &[u8]| {
        left = left.checked_sub(member.len() + MEMBER_BYTES_MIN).ok_or(CommandError::from(errors::REPLY_TOO_LARGE))?;
        Ok::<_, CommandError>(())
    };
    let popped = call.keyspace.set_pop::<CommandError>(key, count.unwrap_or(1), &mut || random.draw(), &mut grant)?;
    let Some(mut popped) = lookup::optional(popped)? else {
        return Ok(if count.is_some() { Reply::Set(Vec::new()) } else { Reply::Null });
    };
    lookup::tell_removal(call, Class::Set, "spop", key, popped.is_gone);
    Ok(match count {
        None => lookup::bulk_or_null(popped.members.pop()),
        Some(_) => Reply::Set(popped.members.into_iter().map(Reply::Bulk).collect()),
    })
}
