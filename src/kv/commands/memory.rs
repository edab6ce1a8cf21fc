//! MEMORY: what a key and its value take, and what the processes do.

use crate::kv::call::{ReadCall, ReadResult};
use crate::kv::commands::args;
use crate::kv::commands::help;
use crate::kv::commands::table::{Command, Flags, Group, Handler, KeyFlags, Keys};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::metrics::statistics::Counted;
use crate::kv::sessions::session::{Outcome, SessionCall};
use crate::resp::reply::Reply;
use crate::server::Counter;
use crate::storage::{DATABASES, Entry, Keyspace, Kind, Lookup, StorageError};

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
            name: "memory|doctor",
            arity: 2,
            group: Group::Server,
            since: "4.0.0",
            complexity: "O(1)",
            summary: "Outputs a memory problems report.",
            handler: Handler::Session(memory_doctor),
            tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
            ..Command::ROW
        },
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
            name: "memory|malloc-stats",
            arity: 2,
            flags: Flags::FIXED,
            group: Group::Server,
            since: "4.0.0",
            complexity: "Depends on how much memory is allocated, could be slow",
            summary: "Returns the allocator statistics.",
            handler: Handler::Pure(memory_malloc_stats),
            tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
            ..Command::ROW
        },
        Command {
            name: "memory|purge",
            arity: 2,
            flags: Flags::FIXED,
            group: Group::Server,
            since: "4.0.0",
            complexity: "Depends on how much memory is allocated, could be slow",
            summary: "Asks the allocator to release memory.",
            handler: Handler::Pure(memory_purge),
            tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
            ..Command::ROW
        },
        Command {
            name: "memory|stats",
            arity: 2,
            group: Group::Server,
            since: "4.0.0",
            complexity: "O(1)",
            summary: "Returns details about memory usage.",
            handler: Handler::Session(memory_stats),
            tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
            ..Command::ROW
        },
        Command {
            name: "memory|usage",
            arity: -3,
            flags: Flags::READONLY.or(Flags::QUIET),
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
/// Elements of a large collection that are looked at where the call does not say how many: the others are taken for as large.
pub const SAMPLES: u64 = 5;

/// The bytes of the key, of its value and of the row that holds them. They are on disk, and in memory only while
/// cached.
fn memory_usage(call: &mut ReadCall<'_>) -> ReadResult {
    let (key, options) = (call.args[2], &call.args[3..]);
    let mut samples = SAMPLES;
    for pair in options.chunks(2) {
        samples = match *pair {
            [option, count] if args::is_word(option, "samples") => {
                u64::try_from(args::integer(count)?).map_err(|_| CommandError::from(errors::SYNTAX))?
            }
            _ => return Err(errors::SYNTAX.into()),
        }
    }
    let Some(entry) = call.keyspace.entry(key)? else { return Ok(call.reply.null()?) };
    let value_bytes = value_bytes(call.keyspace, key, &entry, samples)?;
    Ok(call.reply.count(value_bytes.saturating_add(key.len() as u64).saturating_add(ROW_BYTES))?)
}

/// About how many bytes the value takes, by so many of its elements; 0 looks at all.
pub fn value_bytes(keyspace: &Keyspace, key: &[u8], entry: &Entry, samples: u64) -> Result<u64, StorageError> {
    if entry.kind == Kind::Stream
        && let Lookup::Found(stream) = keyspace.stream(key)?
    {
        return stream.memory_bytes(samples);
    }
    if entry.kind == Kind::List
        && let Lookup::Found(list) = keyspace.list(key)?
    {
        return list.memory_bytes(samples);
    }
    keyspace.collection(key)?.map_or(Ok(entry.length), |elements| elements.memory_bytes(samples))
}

fn memory_doctor(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    let used = call.worker.context.scoreboard.sum(Counter::AnonymousBytes);
    let limit = call.worker.shared.settings.memory_bytes;
    let text = if used > limit / 10 * 8 {
        format!(
            "Sam, I detected an issue in this instance memory implants:\n\n * High memory use: the processes use {used} of \
             {limit} bytes. The data is on disk, so this is buffers of clients and values under way: look at CLIENT LIST, \
             and at EMPTYSERVER_CLIENTS_BYTES_MAX, which bounds what all clients together take.\n"
        )
    } else {
        "Hi Sam, I can't find any memory issue in your instance. I can only account for what occurs on this base.\n"
            .to_owned()
    };
    Outcome::Reply(Reply::Verbatim { format: *b"txt", text: text.into_bytes() })
}

/// The fields of Redis that mean something where the data is on disk.
fn memory_stats(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    let (scoreboard, totals) = (call.worker.context.scoreboard, &call.worker.totals);
    let (used, resident) = (scoreboard.sum(Counter::AnonymousBytes), scoreboard.sum(Counter::ResidentBytes));
    let peak = totals.max(Counted::MemoryBytesMax).max(used);
    let keys: u64 = (0..DATABASES as u8).map(|database| totals.keys(database).0).sum();
    let ratio = |part: u64, whole: u64| Reply::Double(if whole == 0 { 0.0 } else { part as f64 / whole as f64 });
    let number = |value: u64| Reply::Integer(value.cast_signed());
    let fields = [
        ("peak.allocated", number(peak)),
        ("total.allocated", number(used)),
        ("startup.allocated", number(0)),
        ("replication.backlog", number(0)),
        ("clients.slaves", number(0)),
        ("clients.normal", number(scoreboard.sum(Counter::ConnectionsBytes))),
        ("cluster.links", number(0)),
        ("aof.buffer", number(0)),
        ("lua.caches", number(0)),
        ("functions.caches", number(0)),
        ("overhead.total", number(used)),
        ("keys.count", number(keys)),
        ("keys.bytes-per-key", number(0)),
        ("dataset.bytes", number(0)),
        ("dataset.percentage", Reply::Double(0.0)),
        ("peak.percentage", Reply::Double(if peak == 0 { 0.0 } else { 100.0 * used as f64 / peak as f64 })),
        ("fragmentation", ratio(resident, used)),
        ("fragmentation.bytes", number(resident.saturating_sub(used))),
    ];
    let pairs = fields.into_iter().map(|(name, value)| (Reply::Bulk(name.into()), value));
    Outcome::Reply(Reply::Map(pairs.collect()))
}

/// The allocator returns what it does not need by itself.
fn memory_purge(_args: &[&[u8]]) -> CommandResult {
    Ok(Reply::Ok)
}

fn memory_malloc_stats(_args: &[&[u8]]) -> CommandResult {
    Ok(Reply::Bulk(b"Stats not supported for the current allocator".to_vec()))
}

fn memory_help(_args: &[&[u8]]) -> CommandResult {
    Ok(help::reply("MEMORY", HELP))
}

const HELP: &[&str] = &[
    "DOCTOR",
    "    Return memory problems reports.",
    "MALLOC-STATS",
    "    Return internal statistics report from the memory allocator.",
    "PURGE",
    "    Attempt to purge dirty pages for reclamation by the allocator.",
    "STATS",
    "    Return information about the memory usage of the server.",
    "USAGE <key> [SAMPLES <count>]",
    "    Return memory in bytes used by <key> and its value. Nested values are",
    "    sampled up to <count> times (default: 5, 0 means sample all).",
];
