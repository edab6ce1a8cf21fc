//! What is made of several sets: SINTER, SUNION, SDIFF, their STORE forms and SINTERCARD. How it is found is in set_join.
//!
//! A STORE form runs in the writer, in portions, so that memory is bounded whatever the sets have; what it has made takes the place of the
//! destination when it is whole.

use std::ops::ControlFlow;

use crate::kv::call::{Class, ReadCall, ReadResult, WriteCall};
use crate::kv::commands::args;
use crate::kv::commands::lookup;
use crate::kv::commands::set_join::{self, Operation};
use crate::kv::commands::table::{Command, Flags, Group, Handler, KeyFlags, Keys};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::resp::Reply;
use crate::storage::{Expiry, Keyspace, Kind, Place};

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

/// Members that a STORE form has in memory before it writes them.
const PORTION_MEMBERS: usize = 1024;
const PORTION_BYTES: usize = 1 << 20;

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
        check_time(call.keyspace, count)?;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(reply.fill(header, |reply| reply.set(count))?)
}

fn sintercard(call: &mut ReadCall<'_>) -> ReadResult {
    let (keys, limit) = cardinality_arguments(call.args)?;
    let sets = set_join::open(call.keyspace, keys)?;
    let mut count = 0;
    set_join::each(Operation::Intersection, &sets, None, &mut |_, _| {
        count += 1;
        check_time(call.keyspace, count)?;
        Ok(if count as u64 == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(call.reply.count(count as u64)?)
}

/// The keys, and at how many members to stop; 0: never. The errors come in the order of Redis.
fn cardinality_arguments<'a, 'b>(args: &'a [&'b [u8]]) -> Result<(&'a [&'b [u8]], u64), CommandError> {
    let number = args::integer_or(args[1], errors::NUMKEYS_NOT_POSITIVE)?;
    let number = usize::try_from(number).ok().filter(|number| *number > 0).ok_or(errors::NUMKEYS_NOT_POSITIVE)?;
    if number > args.len() - 2 {
        return Err(errors::NUMKEYS_TOO_MANY.into());
    }
    let (keys, mut options) = args[2..].split_at(number);
    let mut limit = 0;
    while let [option, rest @ ..] = options {
        let [value, rest @ ..] = rest else { return Err(errors::SYNTAX.into()) };
        if !args::is_word(option, "limit") {
            return Err(errors::SYNTAX.into());
        }
        let value = args::integer_or(value, errors::LIMIT_NEGATIVE)?;
        limit = u64::try_from(value).map_err(|_| CommandError::from(errors::LIMIT_NEGATIVE))?;
        options = rest;
    }
    Ok((keys, limit))
}

/// Ends a read that has taken too long, every now and then.
fn check_time(keyspace: &Keyspace, count: usize) -> Result<(), CommandError> {
    if count.is_multiple_of(PORTION_MEMBERS) { Ok(keyspace.check_read_limit()?) } else { Ok(()) }
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
    let mut building = call.keyspace.build(Kind::Set);
    let mut portion = Portion::of(call.keyspace, operation, keys, None)?;
    let mut count = 0;
    loop {
        for member in &portion.members {
            call.keyspace.add_new_to(&mut building, member, &[])?;
        }
        count += portion.members.len();
        match portion.last {
            None => break,
            Some((position, name)) => {
                portion = Portion::of(call.keyspace, operation, keys, Some((position, &name)))?;
            }
        }
    }
    if count == 0 {
        lookup::delete(call, key)?;
    } else {
        let is_news = call.is_news(key)?;
        call.keyspace.put_built(key, building, Expiry::Clear)?;
        call.tell_of(Class::Set, is_news, event, key);
    }
    Ok(Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX)))
}

/// Members that are in memory, so that what they were read from can be let go of while they are written.
struct Portion {
    members: Vec<Vec<u8>>,
    /// Where to go on behind; `None`: these were the last.
    last: Option<(u64, Vec<u8>)>,
}

impl Portion {
    fn of(
        keyspace: &Keyspace,
        operation: Operation,
        keys: &[&[u8]],
        behind: Option<Place<'_>>,
    ) -> Result<Portion, CommandError> {
        let sets = set_join::open(keyspace, keys)?;
        let (mut portion, mut bytes) = (Portion { members: Vec::new(), last: None }, 0);
        set_join::each(operation, &sets, behind, &mut |place, member| {
            portion.members.push(member.to_vec());
            bytes += member.len();
            match place {
                Some((position, name)) if portion.members.len() >= PORTION_MEMBERS || bytes >= PORTION_BYTES => {
                    portion.last = Some((position, name.to_vec()));
                    Ok(ControlFlow::Break(()))
                }
                _ => Ok(ControlFlow::Continue(())),
            }
        })?;
        Ok(portion)
    }
}
