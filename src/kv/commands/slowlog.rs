//! SLOWLOG: the slow calls of all workers' clients, as one log.

use crate::kv::commands::args;
use crate::kv::commands::help;
use crate::kv::commands::table::{Command, Flags, Group, Handler};
use crate::kv::errors::{self, CommandResult};
use crate::kv::sessions::questions::{self, Question};
use crate::kv::sessions::session::{Outcome, SessionCall};
use crate::kv::sessions::slow_log::{self, Entry};
use crate::kv::shared::runtime::Knob;
use crate::resp::reply::Reply;

pub const COMMANDS: &[Command] = &[Command {
    name: "slowlog",
    arity: -2,
    group: Group::Server,
    since: "2.2.12",
    complexity: "Depends on subcommand.",
    summary: "A container for slow log commands.",
    handler: Handler::Container,
    subcommands: &[
        Command {
            name: "slowlog|get",
            arity: -2,
            flags: Flags::ADMIN.or(Flags::LOADING).or(Flags::STALE),
            group: Group::Server,
            since: "2.2.12",
            complexity: "O(N) where N is the number of entries returned",
            summary: "Returns the slow log's entries.",
            syntax: "[count]",
            handler: Handler::Session(slowlog_get),
            tips: &["request_policy:all_nodes", "nondeterministic_output"],
            history: &[("4.0.0", "Added client IP address, port and name to the reply.")],
            ..Command::ROW
        },
        Command {
            name: "slowlog|help",
            arity: 2,
            flags: Flags::LOADING.or(Flags::STALE),
            group: Group::Server,
            since: "6.2.0",
            complexity: "O(1)",
            summary: "Shows helpful text about the different subcommands.",
            handler: Handler::Pure(slowlog_help),
            ..Command::ROW
        },
        Command {
            name: "slowlog|len",
            arity: 2,
            flags: Flags::ADMIN.or(Flags::LOADING).or(Flags::STALE),
            group: Group::Server,
            since: "2.2.12",
            complexity: "O(1)",
            summary: "Returns the number of entries in the slow log.",
            handler: Handler::Session(slowlog_len),
            tips: &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
            ..Command::ROW
        },
        Command {
            name: "slowlog|reset",
            arity: 2,
            flags: Flags::ADMIN.or(Flags::LOADING).or(Flags::STALE),
            group: Group::Server,
            since: "2.2.12",
            complexity: "O(N) where N is the number of entries in the slowlog",
            summary: "Clears all entries from the slow log.",
            handler: Handler::Session(slowlog_reset),
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            ..Command::ROW
        },
    ],
    ..Command::ROW
}];

/// Entries that are shown when no count is given.
const SHOWN: u32 = 10;

fn slowlog_get(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    let kept = entries_max(call);
    let count = match args {
        [_, _] => SHOWN,
        [_, _, count] => match args::integer_32_or(count, errors::SLOWLOG_COUNT) {
            Ok(-1) => u32::MAX,
            Ok(count @ 0..) => count.unsigned_abs(),
            Ok(_) => return Outcome::error(errors::SLOWLOG_COUNT),
            Err(error) => return Outcome::error(error),
        },
        _ => return Outcome::error(errors::wrong_subcommand_arguments("SLOWLOG", args[1])),
    };
    let count = count.min(kept);
    questions::ask(call, &Question::SlowLog { count }, move |_, answers| {
        let mut entries: Vec<Entry> = answers.iter().flat_map(|answer| slow_log::decode(answer)).collect();
        entries.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.number));
        entries.truncate(count as usize);
        Outcome::Reply(Reply::Array(entries.into_iter().map(shown).collect()))
    })
}

fn shown(entry: Entry) -> Reply {
    Reply::Array(vec![
        Reply::Integer(entry.number.cast_signed()),
        Reply::Integer(entry.started_us.div_euclid(1_000_000)),
        Reply::Integer(entry.duration_us.cast_signed()),
        Reply::Array(entry.args.into_iter().map(Reply::Bulk).collect()),
        Reply::Bulk(entry.address.into_bytes()),
        Reply::Bulk(entry.name),
    ])
}

fn slowlog_len(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    let kept = u64::from(entries_max(call));
    questions::ask(call, &Question::SlowLogLength, move |_, answers| {
        Outcome::Reply(Reply::Integer(questions::sum(&answers).min(kept).cast_signed()))
    })
}

fn slowlog_reset(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    questions::ask(call, &Question::SlowLogReset, |_, _| Outcome::Reply(Reply::Ok))
}

/// Each worker keeps so many of its own; together they show no more.
fn entries_max(call: &SessionCall<'_>) -> u32 {
    u32::try_from(call.worker.shared.runtime.read(Knob::SlowlogEntriesMax)).unwrap_or(u32::MAX)
}

fn slowlog_help(_args: &[&[u8]]) -> CommandResult {
    Ok(help::reply("SLOWLOG", HELP))
}

const HELP: &[&str] = &[
    "GET [<count>]",
    "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
    "    Entries are made of:",
    "    id, timestamp, time in microseconds, arguments array, client IP and port,",
    "    client name",
    "LEN",
    "    Return the length of the slowlog.",
    "RESET",
    "    Reset the slowlog.",
];
