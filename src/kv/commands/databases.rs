//! Whole databases: DBSIZE, FLUSHDB, FLUSHALL, SWAPDB. All of them are O(1), whatever the number of keys; but DBSIZE looks for each key
//! that is not in the tables yet.

use crate::kv::call::{ReadCall, ReadResult, WriteCall};
use crate::kv::commands::args;
use crate::kv::commands::table::{Command, Flags, Group, Handler};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::resp::reply::Reply;

pub const COMMANDS: &[Command] = &[
    Command {
        name: "dbsize",
        arity: 1,
        flags: Flags::READONLY.or(Flags::FAST).or(Flags::BY_SIZE).or(Flags::ACL_KEYSPACE),
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the number of keys in the database.",
        handler: Handler::Read(dbsize),
        tips: &["request_policy:all_shards", "response_policy:agg_sum"],
        ..Command::ROW
    },
    Command {
        name: "flushall",
        arity: -1,
        flags: Flags::WRITE.or(Flags::ACL_DANGEROUS).or(Flags::ACL_KEYSPACE),
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(N) where N is the total number of keys in all databases",
        summary: "Removes all keys from all databases.",
        syntax: "[ASYNC | SYNC]",
        handler: Handler::Write(flushall),
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        history: &[
            ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
            ("6.2.0", "Added the `SYNC` flushing mode modifier."),
        ],
        ..Command::ROW
    },
    Command {
        name: "flushdb",
        arity: -1,
        flags: Flags::WRITE.or(Flags::ACL_DANGEROUS).or(Flags::ACL_KEYSPACE),
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(N) where N is the number of keys in the selected database",
        summary: "Removes all keys from the current database.",
        syntax: "[ASYNC | SYNC]",
        handler: Handler::Write(flushdb),
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        history: &[
            ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
            ("6.2.0", "Added the `SYNC` flushing mode modifier."),
        ],
        ..Command::ROW
    },
    Command {
        name: "swapdb",
        arity: 3,
        flags: Flags::WRITE.or(Flags::FAST).or(Flags::ACL_DANGEROUS).or(Flags::ACL_KEYSPACE),
        group: Group::Server,
        since: "4.0.0",
        complexity: "O(N) where N is the count of clients watching or blocking on keys from both databases.",
        summary: "Swaps two databases.",
        syntax: "index1 index2",
        handler: Handler::Write(swapdb),
        ..Command::ROW
    },
];

fn dbsize(call: &mut ReadCall<'_>) -> ReadResult {
    Ok(call.reply.count(call.keyspace.key_count()?)?)
}

fn flushdb(call: &mut WriteCall<'_>) -> CommandResult {
    check_flush_mode(&call.args[1..])?;
    call.keyspace.flush_database()?;
    Ok(Reply::Ok)
}

fn flushall(call: &mut WriteCall<'_>) -> CommandResult {
    check_flush_mode(&call.args[1..])?;
    call.keyspace.flush_all()?;
    Ok(Reply::Ok)
}

/// ASYNC and SYNC mean the same here: the keys are gone at once, their rows are swept later.
fn check_flush_mode(args: &[&[u8]]) -> Result<(), CommandError> {
    match args {
        [] => Ok(()),
        [mode] if args::is_word(mode, "async") || args::is_word(mode, "sync") => Ok(()),
        _ => Err(errors::SYNTAX.into()),
    }
}

fn swapdb(call: &mut WriteCall<'_>) -> CommandResult {
    let args = call.args;
    // Both must be integers before either is looked up.
    args::integer_32_or(args[1], errors::INVALID_FIRST_DB_INDEX)?;
    args::integer_32_or(args[2], errors::INVALID_SECOND_DB_INDEX)?;
    let (first, second) = (args::database(args[1])?, args::database(args[2])?);
    if first != second {
        call.keyspace.swap_databases(first, second)?;
    }
    Ok(Reply::Ok)
}
