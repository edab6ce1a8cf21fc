//! OBJECT: what Redis shows of a value's inner life, answered as far as a value on disk has one.

use crate::kv::call::{ReadCall, ReadResult};
use crate::kv::commands::help;
use crate::kv::commands::table::{Command, Flags, Group, Handler, KeyFlags, Keys};
use crate::kv::errors::{self, CommandResult};
use crate::resp::number::parse_integer;
use crate::storage::{Keyspace, Kind, Lookup};

/// The longest string that Redis keeps in one allocation with its header.
const EMBEDDED_BYTES_MAX: u64 = 44;
/// The longest text of a 64-bit integer.
const INTEGER_BYTES_MAX: u64 = 20;

pub const COMMANDS: &[Command] = &[Command {
    name: "object",
    arity: -2,
    group: Group::Generic,
    since: "2.2.3",
    complexity: "Depends on subcommand.",
    summary: "A container for object introspection commands.",
    handler: Handler::Container,
    subcommands: &[
        Command {
            name: "object|encoding",
            arity: 3,
            flags: Flags::READONLY.or(Flags::QUIET),
            keys: Keys::Specs(&[KeyFlags::RO.at(2)]),
            group: Group::Generic,
            since: "2.2.3",
            complexity: "O(1)",
            summary: "Returns the internal encoding of an object.",
            syntax: "key",
            handler: Handler::Read(object_encoding),
            tips: &["nondeterministic_output"],
            ..Command::ROW
        },
        Command {
            name: "object|freq",
            arity: 3,
            flags: Flags::READONLY.or(Flags::QUIET),
            keys: Keys::Specs(&[KeyFlags::RO.at(2)]),
            group: Group::Generic,
            since: "4.0.0",
            complexity: "O(1)",
            summary: "Returns the logarithmic access frequency counter of an object.",
            syntax: "key",
            handler: Handler::Read(object_freq),
            tips: &["nondeterministic_output"],
            ..Command::ROW
        },
        Command {
            name: "object|help",
            arity: 2,
            flags: Flags::LOADING.or(Flags::STALE),
            group: Group::Generic,
            since: "6.2.0",
            complexity: "O(1)",
            summary: "Returns helpful text about the different subcommands.",
            handler: Handler::Pure(object_help),
            ..Command::ROW
        },
        Command {
            name: "object|idletime",
            arity: 3,
            flags: Flags::READONLY.or(Flags::QUIET),
            keys: Keys::Specs(&[KeyFlags::RO.at(2)]),
            group: Group::Generic,
            since: "2.2.3",
            complexity: "O(1)",
            summary: "Returns the time since the last access to an object.",
            syntax: "key",
            handler: Handler::Read(object_idletime),
            tips: &["nondeterministic_output"],
            ..Command::ROW
        },
        Command {
            name: "object|refcount",
            arity: 3,
            flags: Flags::READONLY.or(Flags::QUIET),
            keys: Keys::Specs(&[KeyFlags::RO.at(2)]),
            group: Group::Generic,
            since: "2.2.3",
            complexity: "O(1)",
            summary: "Returns the reference count of a value of a key.",
            syntax: "key",
            handler: Handler::Read(object_refcount),
            tips: &["nondeterministic_output"],
            ..Command::ROW
        },
    ],
    ..Command::ROW
}];

/// Of a string the encoding that Redis would give it if it were set anew; of a collection the one that it has come to by its changes.
fn object_encoding(call: &mut ReadCall<'_>) -> ReadResult {
    let (keyspace, key) = (call.keyspace, call.args[2]);
    let Some(entry) = keyspace.entry(key)? else { return Ok(call.reply.null()?) };
    let name: &[u8] = match entry.kind {
        Kind::String if entry.length <= INTEGER_BYTES_MAX && is_integer(keyspace, key)? => b"int",
        Kind::String if entry.length <= EMBEDDED_BYTES_MAX => b"embstr",
        Kind::String => b"raw",
        Kind::List => match keyspace.list(key)? {
            Lookup::Found(list) => list.encoding().name().as_bytes(),
            Lookup::Absent | Lookup::OtherKind(_) => return Ok(call.reply.null()?),
        },
        Kind::Stream => b"stream",
        Kind::Set | Kind::Hash | Kind::SortedSet => return collection_encoding(call),
    };
    Ok(call.reply.bulk(name)?)
}

fn collection_encoding(call: &mut ReadCall<'_>) -> ReadResult {
    match call.keyspace.collection(call.args[2])? {
        Some(elements) => Ok(call.reply.bulk(elements.encoding().name().as_bytes())?),
        None => Ok(call.reply.null()?),
    }
}

fn is_integer(keyspace: &Keyspace, key: &[u8]) -> Result<bool, errors::CommandError> {
    let is_integer = keyspace.with_string(key, |value| parse_integer(value).is_some())?;
    Ok(matches!(is_integer, Lookup::Found(true)))
}

/// The access frequency is not tracked: what Redis answers when its policy does not need it.
fn object_freq(call: &mut ReadCall<'_>) -> ReadResult {
    if is_there(call)? { Err(errors::NO_LFU.into()) } else { Ok(call.reply.null()?) }
}

/// The time of the last access is not tracked: a read must not write. The answer is always "just now".
fn object_idletime(call: &mut ReadCall<'_>) -> ReadResult {
    Ok(if is_there(call)? { call.reply.integer(0) } else { call.reply.null() }?)
}

/// Values are not shared.
fn object_refcount(call: &mut ReadCall<'_>) -> ReadResult {
    Ok(if is_there(call)? { call.reply.integer(1) } else { call.reply.null() }?)
}

fn is_there(call: &ReadCall<'_>) -> Result<bool, errors::CommandError> {
    Ok(call.keyspace.entry(call.args[2])?.is_some())
}

fn object_help(_args: &[&[u8]]) -> CommandResult {
    Ok(help::reply("OBJECT", HELP))
}

const HELP: &[&str] = &[
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
];
