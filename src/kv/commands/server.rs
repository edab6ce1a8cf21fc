//! What a server says of itself and has no family: TIME, LOLWUT, MODULE, ROLE.

use crate::kv::commands::args;
use crate::kv::commands::table::{Command, Flags, Group, Handler};
use crate::kv::commands::{help, lolwut};
use crate::kv::errors::{CommandError, CommandResult};
use crate::kv::sessions::session::{Outcome, SessionCall};
use crate::resp::reply::Reply;
use crate::sys::clock;

pub const COMMANDS: &[Command] = &[
    Command {
        name: "time",
        arity: 1,
        flags: Flags::LOADING.or(Flags::STALE).or(Flags::FAST),
        group: Group::Server,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Returns the server time.",
        handler: Handler::Session(time),
        scripted: Some(|session, _| Ok(time_of(session.now_us()))),
        tips: &["nondeterministic_output"],
        ..Command::ROW
    },
    Command {
        name: "lolwut",
        arity: -1,
        flags: Flags::READONLY.or(Flags::FAST),
        group: Group::Server,
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Displays computer art and the server version.",
        syntax: "[VERSION version]",
        handler: Handler::Session(lolwut),
        ..Command::ROW
    },
    Command {
        name: "module",
        arity: -2,
        group: Group::Server,
        since: "4.0.0",
        complexity: "Depends on subcommand.",
        summary: "A container for module commands.",
        handler: Handler::Container,
        subcommands: &[
            Command {
                name: "module|help",
                arity: 2,
                flags: Flags::LOADING.or(Flags::STALE),
                group: Group::Server,
                since: "5.0.0",
                complexity: "O(1)",
                summary: "Returns helpful text about the different subcommands.",
                handler: Handler::Pure(module_help),
                ..Command::ROW
            },
            Command {
                name: "module|list",
                arity: 2,
                flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::FIXED),
                group: Group::Server,
                since: "4.0.0",
                complexity: "O(N) where N is the number of loaded modules.",
                summary: "Returns all loaded modules.",
                handler: Handler::Pure(module_list),
                tips: &["nondeterministic_output_order"],
                ..Command::ROW
            },
        ],
        ..Command::ROW
    },
    Command {
        name: "role",
        arity: 1,
        flags: Flags::FIXED
            .or(Flags::NOSCRIPT)
            .or(Flags::LOADING)
            .or(Flags::STALE)
            .or(Flags::FAST)
            .or(Flags::ACL_ADMIN)
            .or(Flags::ACL_DANGEROUS),
        group: Group::Server,
        since: "2.8.12",
        complexity: "O(1)",
        summary: "Returns the replication role.",
        handler: Handler::Pure(role),
        ..Command::ROW
    },
];

fn time(_call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    Outcome::Reply(time_of(clock::wall_us()))
}

fn time_of(now_us: i64) -> Reply {
    let part = |number: i64| Reply::Bulk(number.to_string().into_bytes());
    Reply::Array(vec![part(now_us / 1_000_000), part(now_us % 1_000_000)])
}

/// Of the versions of Redis, 5 and 6 have pieces of their own; here these show ours, all others the version alone, as there.
fn lolwut(_call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    match lolwut_text(args) {
        Ok(text) => Outcome::Reply(Reply::Verbatim { format: *b"txt", text: text.into_bytes() }),
        Err(error) => Outcome::error(error),
    }
}

fn lolwut_text(args: &[&[u8]]) -> Result<String, CommandError> {
    let (version, rest) = match args {
        [_, option, version, rest @ ..] if args::is_word(option, "version") => (Some(args::integer(version)?), rest),
        _ => (None, &args[1..]),
    };
    Ok(match version {
        Some(5 | 6) => lolwut::piece(number(rest, 0)?, number(rest, 1)?, clock::wall_us().unsigned_abs()),
        Some(_) | None => lolwut::version_line(),
    })
}

fn number(args: &[&[u8]], index: usize) -> Result<Option<i64>, CommandError> {
    args.get(index).map(|arg| args::integer(arg)).transpose()
}

/// There are no modules.
fn module_list(_args: &[&[u8]]) -> CommandResult {
    Ok(Reply::Array(Vec::new()))
}

fn module_help(_args: &[&[u8]]) -> CommandResult {
    Ok(help::reply("MODULE", &["LIST", "    Return a list of loaded modules."]))
}

/// There is no replication: always a master without replicas.
fn role(_args: &[&[u8]]) -> CommandResult {
    Ok(Reply::Array(vec![Reply::Bulk(b"master".to_vec()), Reply::Integer(0), Reply::Array(Vec::new())]))
}
