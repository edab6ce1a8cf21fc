//! BACKUP: copies of the data while the service runs. A command of our own: Redis has files to copy instead.

use crate::kv::commands::args::is_word;
use crate::kv::commands::help;
use crate::kv::commands::table::{Command, Flags, Group, Handler};
use crate::kv::errors::{self, CommandResult};
use crate::kv::sessions::session::{Outcome, SessionCall};
use crate::kv::shared::backups::{BackupName, Kind};
use crate::resp::reply::Reply;
use crate::sys::clock;

pub const COMMANDS: &[Command] = &[Command {
    name: "backup",
    arity: -2,
    group: Group::Server,
    since: "1.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for backup commands.",
    handler: Handler::Container,
    subcommands: &[
        Command {
            name: "backup|help",
            arity: 2,
            flags: Flags::LOADING.or(Flags::STALE),
            group: Group::Server,
            since: "1.0.0",
            complexity: "O(1)",
            summary: "Shows helpful text about the different subcommands.",
            handler: Handler::Pure(backup_help),
            ..Command::ROW
        },
        Command {
            name: "backup|start",
            arity: -2,
            flags: Flags::ADMIN.or(Flags::NOSCRIPT),
            group: Group::Server,
            since: "1.0.0",
            complexity: "O(1)",
            summary: "Starts a backup beside the service and returns its file name.",
            syntax: "[ONCE]",
            handler: Handler::Session(backup_start),
            tips: &["nondeterministic_output"],
            ..Command::ROW
        },
        Command {
            name: "backup|status",
            arity: 2,
            flags: Flags::ADMIN.or(Flags::NOSCRIPT),
            group: Group::Server,
            since: "1.0.0",
            complexity: "O(1)",
            summary: "Returns how far the present backup is and how the last one ended.",
            handler: Handler::Session(backup_status),
            tips: &["nondeterministic_output"],
            ..Command::ROW
        },
    ],
    ..Command::ROW
}];

fn backup_start(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    let kind = match args {
        [_, _] => Kind::Kept,
        [_, _, option] if is_word(option, "once") => Kind::Once,
        _ => return Outcome::error(errors::SYNTAX),
    };
    match call.worker.shared.backups.ask(kind, clock::wall_ms().unsigned_abs()) {
        Ok(name) => Outcome::Reply(text(name.to_string())),
        Err(refusal) => Outcome::error(format!("ERR {refusal}")),
    }
}

fn backup_status(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    let (backups, settings) = (&call.worker.shared.backups, &call.worker.shared.settings.backups);
    let (running, last, failed) = (backups.running(), backups.last_finished(), backups.last_failed());
    let named = |name: Option<BackupName>| text(name.map_or_else(String::new, |name| name.to_string()));
    let number = |number: u64| Reply::Integer(number.cast_signed());
    let seconds = |at_ms: Option<u64>| number(at_ms.unwrap_or(0) / 1000);
    let pairs = [
        ("state", text(running.map_or("idle", |running| running.phase.name()))),
        ("name", named(running.map(|running| running.name))),
        ("pages", number(running.map_or(0, |running| running.pages))),
        ("pages_total", number(running.map_or(0, |running| running.pages_total))),
        ("stalled_seconds", number(backups.stalled_for().as_secs())),
        ("last_name", named(last.map(|last| last.name))),
        ("last_time", seconds(last.map(|last| last.at_ms))),
        ("last_duration_ms", number(last.map_or(0, |last| last.duration_ms))),
        ("last_bytes", number(last.map_or(0, |last| last.bytes))),
        ("last_failed_name", named(failed.map(|failed| failed.name))),
        ("last_failed_time", seconds(failed.map(|failed| failed.at_ms))),
        ("last_failure", text(failed.map_or("", |failed| failed.failure.text()))),
        ("directory", text(settings.directory.display().to_string())),
        ("interval_seconds", number(settings.interval.as_secs())),
        ("keep", number(settings.keep as u64)),
    ];
    Outcome::Reply(Reply::Map(pairs.into_iter().map(|(name, value)| (text(name), value)).collect()))
}

fn text(text: impl Into<String>) -> Reply {
    Reply::Bulk(text.into().into_bytes())
}

fn backup_help(_args: &[&[u8]]) -> CommandResult {
    Ok(help::reply("BACKUP", HELP))
}

const HELP: &[&str] = &[
    "START [ONCE]",
    "    Start a backup and return its file name. With ONCE it takes the place of no",
    "    scheduled one: whoever asked takes it away. The last two of these stay.",
    "STATUS",
    "    Return how far the present backup is, and how the last one ended.",
];
