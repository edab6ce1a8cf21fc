//! What is made of several sets: SINTER, SUNION, SDIFF, their STORE forms and SINTERCARD. How it is found is in set_join.
//!
//! A STORE form runs in the writer, in portions, so that memory is bounded whatever the sets have; what it has made takes the place of the
//! destination when it is whole.

use std::ops::ControlFlow;

use crate::kv::call::{Class, ReadCall, ReadResult, WriteCall};
use crate::kv::commands::args;
use crate::kv::commands::elements;
use crate::kv::commands::lookup;
use crate::kv::commands::portion::Portion;
use crate::kv::commands::set_join::{self, Operation};
use crate::kv::commands::table::{Command, Flags, Group, Handler, KeyFlags, Keys};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::storage::{Elements, Kind, Place};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "sdiff",
        complexity: "O(N) where N is the total number of elements in all given sets.",
        summary: "Returns the difference of multiple sets.",
        handler: Handler::Read(sdiff),
        ..READ
    },
    Command {
        name: "sdiffstore",
        complexity: "O(N) where N is the total number of elements in all given sets.",
        summary: "Stores the difference of multiple sets in a key.",
        handler: Handler::Write(sdiffstore),
        ..STORE
    },
    Command {
        name: "sinter",
        complexity: INTERSECTION,
        summary: "Returns the intersect of multiple sets.",
        handler: Handler::Read(sinter),
        ..READ
    },
    Command {
        name: "sintercard",
        arity: -3,
        keys: Keys::Specs(&[KeyFlags::RO_ACCESS.counted_at(1)]),
        since: "7.0.0",
        complexity: INTERSECTION,
        summary: "Returns the number of members of the intersect of multiple sets.",
        syntax: "numkeys key [key ...] [LIMIT limit]",
        handler: Handler::Read(sintercard),
        tips: &[],
        ..READ
    },
    Command {
        name: "sinterstore",
        keys: Keys::Specs(&[KeyFlags::RW_UPDATE.at(1), KeyFlags::RO_ACCESS.range(2, -1, 1)]),
        complexity: INTERSECTION,
        summary: "Stores the intersect of multiple sets in a key.",
        handler: Handler::Write(sinterstore),
        ..STORE
    },
    Command {
        name: "sunion",
        complexity: "O(N) where N is the total number of elements in all given sets.",
        summary: "Returns the union of multiple sets.",
        handler: Handler::Read(sunion),
        ..READ
    },
    Command {
        name: "sunionstore",
        complexity: "O(N) where N is the total number of elements in all given sets.",
        summary: "Stores the union of multiple sets in a key.",
        handler: Handler::Write(sunionstore),
        ..STORE
    },
];

const INTERSECTION: &str =
    "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.";

const READ: Command = Command {
    arity: -2,
    flags: Flags::READONLY.or(Flags::BY_SIZE),
    keys: Keys::Specs(&[KeyFlags::RO_ACCESS.range(1, -1, 1)]),
    group: Group::Set,
    since: "1.0.0",
    syntax: "key [key ...]",
    tips: &["nondeterministic_output_order"],
    ..Command::ROW
};

const STORE: Command = Command {
    arity: -3,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    keys: Keys::Specs(&[KeyFlags::OW_UPDATE.at(1), KeyFlags::RO_ACCESS.range(2, -1, 1)]),
    group: Group::Set,
    since: "1.0.0",
    syntax: "destination key [key ...]",
    ..Command::ROW
};

fn sinter(call: &mut ReadCall<'_>) -> ReadResult {
    write_members(call, Operation::Intersection)
}

fn sunion(call: &mut ReadCall<'_>) -> ReadResult {
    write_members(call, Operation::Union)
}

fn sdiff(call: &mut ReadCall<'_>) -> ReadResult {
    write_members(call, Operation::Difference)
}

fn write_members(call: &mut ReadCall<'_>, operation: Operation) -> ReadResult {
    let sets = set_join::open(call.keyspace, &call.args[1..])?;
    let reply = &mut call.reply;
    let (header, mut count) = (reply.gap(), 0);
    set_join::each(operation, &sets, None, &mut |_, member| {
        reply.bulk(member)?;
        count += 1;
        elements::check_time(call.keyspace, count)?;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(reply.fill(header, |reply| reply.set(usize::try_from(count).unwrap_or(usize::MAX)))?)
}

fn sintercard(call: &mut ReadCall<'_>) -> ReadResult {
    let (keys, limit) = cardinality_arguments(call.args)?;
    let sets = set_join::open(call.keyspace, keys)?;
    let mut count = 0;
    set_join::each(Operation::Intersection, &sets, None, &mut |_, _| {
        count += 1;
        elements::check_time(call.keyspace, count)?;
        Ok(if count == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(call.reply.count(count)?)
}

/// The keys, and at how many members to stop; 0: never. The errors come in the order of Redis.
fn cardinality_arguments<'a, 'b>(args: &'a [&'b [u8]]) -> Result<(&'a [&'b [u8]], u64), CommandError> {
    let number = args::positive_or(args[1], errors::NUMKEYS_NOT_POSITIVE)?;
    let number = usize::try_from(number).ok().filter(|number| *number <= args.len() - 2);
    let number = number.ok_or(errors::NUMKEYS_TOO_MANY)?;
    let (keys, mut options) = args[2..].split_at(number);
    let mut limit = 0;
    while let [option, rest @ ..] = options {
        let [value, rest @ ..] = rest else { return Err(errors::SYNTAX.into()) };
        if !args::is_word(option, "limit") {
            return Err(errors::SYNTAX.into());
        }
        limit = args::natural_or(value, errors::LIMIT_NEGATIVE)?;
        options = rest;
    }
    Ok((keys, limit))
}

fn sinterstore(call: &mut WriteCall<'_>) -> CommandResult {
    store(call, Operation::Intersection, "sinterstore")
}

fn sunionstore(call: &mut WriteCall<'_>) -> CommandResult {
    store(call, Operation::Union, "sunionstore")
}

fn sdiffstore(call: &mut WriteCall<'_>) -> CommandResult {
    store(call, Operation::Difference, "sdiffstore")
}

fn store(call: &mut WriteCall<'_>, operation: Operation, event: &'static str) -> CommandResult {
    let (key, keys) = (call.args[1], &call.args[2..]);
    let sets = set_join::open(call.keyspace, keys)?;
    call.keyspace.begin_long(set_join::elements_of(operation, &sets))?;
    let mut portion = next_portion(operation, &sets, None)?;
    let mut building = call.keyspace.build(Kind::Set);
    loop {
        for (member, ()) in &portion.members {
            call.keyspace.add_new_to(&mut building, member, &[])?;
        }
        let Some((position, name)) = portion.last else { break };
        portion = next_portion(operation, &set_join::open(call.keyspace, keys)?, Some((position, &name)))?;
    }
    lookup::put_built(call, Class::Set, key, building, event)
}

fn next_portion(
    operation: Operation,
    sets: &[Option<Elements<'_>>],
    behind: Option<Place<'_>>,
) -> Result<Portion<()>, CommandError> {
    let mut portion = Portion::of(sets.len());
    set_join::each(operation, sets, behind, &mut |place, member| Ok(portion.add(place, member, ())))?;
    Ok(portion)
}
