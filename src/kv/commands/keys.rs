//! Commands on keys whatever their kind: DEL, UNLINK, EXISTS, TOUCH, TYPE, RENAME, RENAMENX, COPY, MOVE, RANDOMKEY.

use crate::kv::call::{Class, ReadCall, ReadResult, WriteCall};
use crate::kv::commands::args;
use crate::kv::commands::lookup;
use crate::kv::commands::random::Random;
use crate::kv::commands::table::{Command, Flags, Group, Handler, KeyFlags, Keys};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::table::look::{Look, LookResult, Shape, Told};
use crate::resp::reply::Reply;
use crate::storage::{Entry, Kind};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "copy",
        arity: -3,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: Keys::Specs(&[KeyFlags::RO_ACCESS.at(1), KeyFlags::OW_UPDATE.at(2)]),
        group: Group::Generic,
        since: "6.2.0",
        complexity: "O(N) worst case for collections, where N is the number of nested items. O(1) for string values.",
        summary: "Copies the value of a key to a new key.",
        syntax: "source destination [DB destination-db] [REPLACE]",
        handler: Handler::Write(copy),
        ..Command::ROW
    },
    Command {
        name: "del",
        arity: -2,
        flags: Flags::WRITE,
        keys: Keys::Specs(&[KeyFlags::RM_DELETE.range(1, -1, 1)]),
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N) where N is the number of keys that will be removed. When a key to remove holds a value \
            other than a string, the individual complexity for this key is O(M) where M is the number of elements \
            in the list, set, sorted set or hash. Removing a single key that holds a string value is O(1).",
        summary: "Deletes one or more keys.",
        syntax: "key [key ...]",
        handler: Handler::Write(del),
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        ..Command::ROW
    },
    Command {
        name: "exists",
        arity: -2,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RO.range(1, -1, 1)]),
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N) where N is the number of keys to check.",
        summary: "Determines whether one or more keys exist.",
        syntax: "key [key ...]",
        handler: Handler::Look(Look::at_head(Shape::Sum, exists)),
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        history: &[("3.0.3", "Accepts multiple `key` arguments.")],
        ..Command::ROW
    },
    Command {
        name: "move",
        arity: 3,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW_ACCESS_UPDATE.at(1)]),
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Moves a key to another database.",
        syntax: "key db",
        handler: Handler::Write(move_),
        ..Command::ROW
    },
    Command {
        name: "randomkey",
        arity: 1,
        flags: Flags::READONLY,
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns a random key name from the database.",
        handler: Handler::Read(randomkey),
        tips: &["request_policy:all_shards", "response_policy:special", "nondeterministic_output"],
        ..Command::ROW
    },
    Command {
        name: "rename",
        arity: 3,
        flags: Flags::WRITE,
        keys: Keys::Specs(&[KeyFlags::RW_ACCESS_DELETE.at(1), KeyFlags::OW_UPDATE.at(2)]),
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Renames a key and overwrites the destination.",
        syntax: "key newkey",
        handler: Handler::Write(rename),
        ..Command::ROW
    },
    Command {
        name: "renamenx",
        arity: 3,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW_ACCESS_DELETE.at(1), KeyFlags::OW_INSERT.at(2)]),
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Renames a key only when the target key name doesn't exist.",
        syntax: "key newkey",
        handler: Handler::Write(renamenx),
        history: &[("3.2.0", "The command no longer returns an error when source and destination names are the same.")],
        ..Command::ROW
    },
    Command {
        name: "touch",
        arity: -2,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RO.range(1, -1, 1)]),
        group: Group::Generic,
        since: "3.2.1",
        complexity: "O(N) where N is the number of keys that will be touched.",
        summary: "Returns the number of existing keys out of those specified after updating the time they were last \
            accessed.",
        syntax: "key [key ...]",
        handler: Handler::Look(Look::at_head(Shape::Sum, exists)),
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        ..Command::ROW
    },
    Command {
        name: "type",
        arity: 2,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RO.at(1)]),
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Determines the type of value stored at a key.",
        syntax: "key",
        handler: Handler::Look(Look::at_head(Shape::One, type_)),
        ..Command::ROW
    },
    Command {
        name: "unlink",
        arity: -2,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RM_DELETE.range(1, -1, 1)]),
        group: Group::Generic,
        since: "4.0.0",
        complexity: "O(1) for each key removed regardless of its size. Then the command does O(N) work in a \
            different thread in order to reclaim memory, where N is the number of allocations the deleted objects \
            where composed of.",
        summary: "Asynchronously deletes one or more keys.",
        syntax: "key [key ...]",
        handler: Handler::Write(del),
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        ..Command::ROW
    },
];

/// A kind's name as TYPE answers it and SCAN's TYPE option reads it.
#[must_use]
pub const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "string",
        Kind::List => "list",
        Kind::Set => "set",
        Kind::SortedSet => "zset",
        Kind::Hash => "hash",
        Kind::Stream => "stream",
    }
}

/// DEL and UNLINK: a deletion is O(1) at once, whatever the size; the sweeper does the rest.
fn del(call: &mut WriteCall<'_>) -> CommandResult {
    let mut deleted = 0;
    for key in &call.args[1..] {
        deleted += i64::from(lookup::delete(call, key)?);
    }
    Ok(Reply::Integer(deleted))
}

/// EXISTS and TOUCH: a key that is named twice counts twice.
fn exists(_: &[&[u8]], key: Option<&Entry>, _: i64) -> LookResult {
    Ok(Told::Integer(i64::from(key.is_some())))
}

fn type_(_: &[&[u8]], key: Option<&Entry>, _: i64) -> LookResult {
    Ok(Told::Simple(key.map_or("none", |key| kind_name(key.kind))))
}

fn rename(call: &mut WriteCall<'_>) -> CommandResult {
    let (from, to) = (call.args[1], call.args[2]);
    let is_there = if from == to { call.keyspace.entry(from)?.is_some() } else { give_name(call, from, to)? };
    if is_there { Ok(Reply::Ok) } else { Err(errors::NO_SUCH_KEY.into()) }
}

fn renamenx(call: &mut WriteCall<'_>) -> CommandResult {
    let (from, to) = (call.args[1], call.args[2]);
    if call.keyspace.entry(from)?.is_none() {
        return Err(errors::NO_SUCH_KEY.into());
    }
    if from == to || call.keyspace.entry(to)?.is_some() {
        return Ok(Reply::Integer(0));
    }
    Ok(Reply::Integer(i64::from(give_name(call, from, to)?)))
}

/// False when there is no `from`. As in Redis `to` is a new key, also where it replaces one.
fn give_name(call: &mut WriteCall<'_>, from: &[u8], to: &[u8]) -> Result<bool, CommandError> {
    let is_renamed = call.keyspace.rename(from, to)?;
    if is_renamed {
        call.tell(Class::New, "new", to);
        call.tell(Class::Generic, "rename_from", from);
        call.tell(Class::Generic, "rename_to", to);
    }
    Ok(is_renamed)
}

fn copy(call: &mut WriteCall<'_>) -> CommandResult {
    let (args, from, to) = (call.args, call.args[1], call.args[2]);
    let (mut database, mut replace) = (call.database, false);
    let mut options = args[3..].iter();
    while let Some(option) = options.next() {
        if args::is_word(option, "replace") {
            replace = true;
        } else if args::is_word(option, "db")
            && let Some(number) = options.next()
        {
            database = args::database(number)?;
        } else {
            return Err(errors::SYNTAX.into());
        }
    }
    if database == call.database && from == to {
        return Err(errors::SAME_OBJECT.into());
    }
    call.end_if_expired_in(database, to)?;
    let is_copied = call.keyspace.copy(from, database, to, replace)?;
    if is_copied {
        call.tell_in(database, Class::New, "new", to);
        call.tell_in(database, Class::Generic, "copy_to", to);
    }
    Ok(Reply::Integer(i64::from(is_copied)))
}

fn move_(call: &mut WriteCall<'_>) -> CommandResult {
    let (key, database) = (call.args[1], args::database(call.args[2])?);
    if database == call.database {
        return Err(errors::SAME_OBJECT.into());
    }
    call.end_if_expired_in(database, key)?;
    let is_moved = call.keyspace.move_key(key, database)?;
    if is_moved {
        call.tell_in(database, Class::New, "new", key);
        call.tell(Class::Generic, "move_from", key);
        call.tell_in(database, Class::Generic, "move_to", key);
    }
    Ok(Reply::Integer(i64::from(is_moved)))
}

fn randomkey(call: &mut ReadCall<'_>) -> ReadResult {
    match call.keyspace.random_key(Random::new().draw())? {
        Some(key) => Ok(call.reply.bulk(&key)?),
        None => Ok(call.reply.null()?),
    }
}
