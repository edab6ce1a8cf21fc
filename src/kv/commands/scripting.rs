//! Scripts: EVAL and its kin, which the lanes run, and SCRIPT, which keeps their sources.

use crate::kv::commands::args::is_word;
use crate::kv::commands::help;
use crate::kv::commands::table::{Begin, Command, Find, Flags, Group, Handler, KeyFlags, KeySpec, Keys, Named, Script};
use crate::kv::errors::{self, CommandResult};
use crate::kv::sessions::session::{Outcome, SessionCall};
use crate::kv::shared::running_scripts::Unkillable;
use crate::kv::sources::Sources;
use crate::resp::reply::Reply;
use crate::storage::Keyspace;

/// What a script looks at is known when it looks.
const RUNNING: Flags =
    Flags::QUIET.or(Flags::NOSCRIPT).or(Flags::SKIP_MONITOR).or(Flags::NO_MANDATORY_KEYS).or(Flags::STALE);
/// Of those that may write.
pub(super) const WRITING: Flags = RUNNING.or(Flags::MAY_REPLICATE);
pub(super) const READING: Flags = RUNNING.or(Flags::READONLY).or(Flags::HEAVY);

const DEPENDS: &str = "Depends on the script that is executed.";

/// The keys that a call declares, of which nobody knows what becomes of them.
pub(super) const fn declared(flags: KeyFlags, notes: &'static str) -> KeySpec {
    KeySpec { flags, begin: Begin::Index(2), find: Find::KeyNumber { index: 0, first: 1, step: 1 }, notes }
}

pub(super) const WRITTEN: KeyFlags = KeyFlags::RW_ACCESS_UPDATE;
pub(super) const READ: KeyFlags = KeyFlags::RO_ACCESS;
pub(super) const WORST_IS_WRITTEN: &str =
    "We cannot tell how the keys will be used so we assume the worst, RW and UPDATE";
pub(super) const WORST_IS_READ: &str = "We cannot tell how the keys will be used so we assume the worst, RO and ACCESS";

pub const COMMANDS: &[Command] = &[
    Command {
        name: "eval",
        arity: -3,
        flags: WRITING,
        keys: Keys::Specs(&[declared(WRITTEN, WORST_IS_WRITTEN)]),
        group: Group::Scripting,
        since: "2.6.0",
        complexity: DEPENDS,
        summary: "Executes a server-side Lua script.",
        syntax: "script numkeys [key [key ...]] [arg [arg ...]]",
        handler: Handler::Script(Script { named: Named::Source, is_read_only: false }),
        ..Command::ROW
    },
    Command {
        name: "evalsha",
        arity: -3,
        flags: WRITING,
        keys: Keys::Specs(&[declared(WRITTEN, "")]),
        group: Group::Scripting,
        since: "2.6.0",
        complexity: DEPENDS,
        summary: "Executes a server-side Lua script by SHA1 digest.",
        syntax: "sha1 numkeys [key [key ...]] [arg [arg ...]]",
        handler: Handler::Script(Script { named: Named::Sha, is_read_only: false }),
        ..Command::ROW
    },
    Command {
        name: "eval_ro",
        arity: -3,
        flags: READING,
        keys: Keys::Specs(&[declared(READ, WORST_IS_READ)]),
        group: Group::Scripting,
        since: "7.0.0",
        complexity: DEPENDS,
        summary: "Executes a read-only server-side Lua script.",
        syntax: "script numkeys [key [key ...]] [arg [arg ...]]",
        handler: Handler::Script(Script { named: Named::Source, is_read_only: true }),
        ..Command::ROW
    },
    Command {
        name: "evalsha_ro",
        arity: -3,
        flags: READING,
        keys: Keys::Specs(&[declared(READ, "")]),
        group: Group::Scripting,
        since: "7.0.0",
        complexity: DEPENDS,
        summary: "Executes a read-only server-side Lua script by SHA1 digest.",
        syntax: "sha1 numkeys [key [key ...]] [arg [arg ...]]",
        handler: Handler::Script(Script { named: Named::Sha, is_read_only: true }),
        ..Command::ROW
    },
    Command {
        name: "script",
        arity: -2,
        group: Group::Scripting,
        since: "2.6.0",
        complexity: "Depends on subcommand.",
        summary: "A container for Lua scripts management commands.",
        handler: Handler::Container,
        subcommands: &[
            Command {
                name: "script|debug",
                arity: 3,
                flags: Flags::NOSCRIPT,
                group: Group::Scripting,
                since: "3.2.0",
                complexity: "O(1)",
                summary: "Sets the debug mode of server-side Lua scripts.",
                syntax: "<YES | SYNC | NO>",
                handler: Handler::Pure(script_debug),
                ..Command::ROW
            },
            Command {
                name: "script|exists",
                arity: -3,
                flags: Flags::NOSCRIPT,
                group: Group::Scripting,
                since: "2.6.0",
                complexity: "O(N) with N being the number of scripts to check (so checking a single script is an O(1) \
                    operation).",
                summary: "Determines whether server-side Lua scripts exist in the script cache.",
                syntax: "sha1 [sha1 ...]",
                handler: Handler::Sources(script_exists),
                tips: &["request_policy:all_shards", "response_policy:agg_logical_and"],
                ..Command::ROW
            },
            Command {
                name: "script|flush",
                arity: -2,
                flags: Flags::NOSCRIPT,
                group: Group::Scripting,
                since: "2.6.0",
                complexity: "O(N) with N being the number of scripts in cache",
                summary: "Removes all server-side Lua scripts from the script cache.",
                syntax: "[ASYNC | SYNC]",
                handler: Handler::Sources(script_flush),
                tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
                history: &[("6.2.0", "Added the `ASYNC` and `SYNC` flushing mode modifiers.")],
                ..Command::ROW
            },
            Command {
                name: "script|help",
                arity: 2,
                flags: Flags::LOADING.or(Flags::STALE),
                group: Group::Scripting,
                since: "5.0.0",
                complexity: "O(1)",
                summary: "Returns helpful text about the different subcommands.",
                handler: Handler::Pure(script_help),
                ..Command::ROW
            },
            Command {
                name: "script|kill",
                arity: 2,
                flags: Flags::NOSCRIPT.or(Flags::ALLOW_BUSY),
                group: Group::Scripting,
                since: "2.6.0",
                complexity: "O(1)",
                summary: "Terminates a server-side Lua script during execution.",
                handler: Handler::Session(|call, _| kill(call, false)),
                tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
                ..Command::ROW
            },
            Command {
                name: "script|load",
                arity: 3,
                flags: Flags::NOSCRIPT.or(Flags::STALE),
                group: Group::Scripting,
                since: "2.6.0",
                complexity: "O(N) with N being the length in bytes of the script body.",
                summary: "Loads a server-side Lua script to the script cache.",
                syntax: "script",
                handler: Handler::Sources(script_load),
                tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
                ..Command::ROW
            },
        ],
        ..Command::ROW
    },
];

fn script_load(sources: &mut Sources, keyspace: &mut Keyspace, args: &[&[u8]]) -> CommandResult {
    Ok(Reply::Bulk(sources.load(keyspace, args[2])?.into_bytes()))
}

fn script_exists(sources: &mut Sources, keyspace: &mut Keyspace, args: &[&[u8]]) -> CommandResult {
    let exist = args[2..].iter().map(|sha| Ok(Reply::Integer(i64::from(sources.has(keyspace, sha)?))));
    Ok(Reply::Array(exist.collect::<Result<_, errors::CommandError>>()?))
}

fn script_flush(sources: &mut Sources, keyspace: &mut Keyspace, args: &[&[u8]]) -> CommandResult {
    // Both ways are as fast.
    match args {
        [_, _] => {}
        [_, _, how] if is_word(how, "sync") || is_word(how, "async") => {}
        _ => return Err(errors::SCRIPT_FLUSH_OPTION.into()),
    }
    sources.flush(keyspace)?;
    Ok(Reply::Ok)
}

/// Ends what runs now, if it has written nothing.
pub(super) fn kill(call: &mut SessionCall<'_>, functions: bool) -> Outcome {
    match call.worker.shared.running_scripts.kill(functions) {
        Ok(()) => Outcome::Reply(Reply::Ok),
        Err(Unkillable::NotBusy) => Outcome::error(errors::NO_SCRIPT_RUNS),
        Err(Unkillable::HasWritten) => Outcome::error(errors::SCRIPT_UNKILLABLE),
        Err(Unkillable::OtherKind) if functions => Outcome::error(errors::BUSY_SCRIPT),
        Err(Unkillable::OtherKind) => Outcome::error(errors::BUSY_FUNCTION),
    }
}

/// Nobody steps through a script here: it would stop all other changes.
fn script_debug(args: &[&[u8]]) -> CommandResult {
    match args[2] {
        mode if is_word(mode, "no") => Ok(Reply::Ok),
        mode if is_word(mode, "yes") || is_word(mode, "sync") => Err(errors::NO_SCRIPT_DEBUGGER.into()),
        _ => Err(errors::SCRIPT_DEBUG_MODE.into()),
    }
}

fn script_help(_args: &[&[u8]]) -> CommandResult {
    Ok(help::reply("SCRIPT", HELP))
}

const HELP: &[&str] = &[
    "DEBUG (YES|SYNC|NO)",
    "    Set the debug mode for subsequent scripts executed.",
    "EXISTS <sha1> [<sha1> ...]",
    "    Return information about the existence of the scripts in the script cache.",
    "FLUSH [ASYNC|SYNC]",
    "    Flush the Lua scripts cache. Very dangerous on replicas.",
    "    When called without the optional mode argument, the behavior is determined by the",
    "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
    "    * ASYNC: Asynchronously flush the scripts cache.",
    "    * SYNC: Synchronously flush the scripts cache.",
    "KILL",
    "    Kill the currently executing Lua script.",
    "LOAD <script>",
    "    Load a script into the scripts cache without executing it.",
];
