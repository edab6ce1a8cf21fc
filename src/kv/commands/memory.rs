//! MEMORY USAGE: what a key and its value take.

use crate::kv::args;
use crate::kv::commands::help;
use crate::kv::errors::{self, CommandResult};
use crate::kv::table::{Command, Flags, Group, Handler, KeyFlags, Keys};
use crate::resp::reply::Reply;
use crate::storage::Keyspace;

pub const COMMANDS: &[Command] = &[Command {
    name: "memory",
    arity: -2,
    group: Group::Server,
    since: "4.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for memory diagnostics commands.",
    handler: Handler::Container,
    subcommands: &[
        Command {
            name: "memory|help",
            arity: 2,
            flags: Flags::LOADING.or(Flags::STALE),
            group: Group::Server,
            since: "4.0.0",
            complexity: "O(1)",
            summary: "Returns helpful text about the different subcommands.",
            handler: Handler::Pure(memory_help),
            ..Command::ROW
        },
        Command {
            name: "memory|usage",
            arity: -3,
            flags: Flags::READONLY,
            keys: Keys::Specs(&[KeyFlags::RO.at(2)]),
            group: Group::Server,
            since: "4.0.0",
            complexity: "O(N) where N is the number of samples.",
            summary: "Estimates the memory usage of a key.",
            syntax: "key [SAMPLES count]",
            handler: Handler::Read(memory_usage),
            ..Command::ROW
        },
    ],
    ..Command::ROW
}];

/// Bytes of a key's row beside key and value: the columns' header, the numbers, the entry in the expiry table.
const ROW_BYTES: u64 = 32;

/// The bytes of the key, of its value and of the row that holds them. They are on disk, and in memory only while
/// cached.
fn memory_usage(keyspace: &Keyspace, args: &[&[u8]]) -> CommandResult {
    for pair in args[3..].chunks(2) {
        match *pair {
            // A value is one piece: there are no nested ones to sample.
            [option, count] if args::is_word(option, "samples") && args::integer(count)? >= 0 => {}
            _ => return Err(errors::SYNTAX.into()),
        }
    }
    let Some(entry) = keyspace.entry(args[2])? else { return Ok(Reply::Null) };
    let bytes = entry.length.saturating_add(args[2].len() as u64).saturating_add(ROW_BYTES);
    Ok(Reply::Integer(i64::try_from(bytes).unwrap_or(i64::MAX)))
}

fn memory_help(_args: &[&[u8]]) -> CommandResult {
    Ok(help::reply("MEMORY", HELP))
}

const HELP: &[&str] = &[
    "USAGE <key> [SAMPLES <count>]",
    "    Return memory in bytes used by <key> and its value. Nested values are",
    "    sampled up to <count> times (default: 5, 0 means sample all).",
];
