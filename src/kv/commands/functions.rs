//! Functions: FCALL, which the lanes run, and FUNCTION, which keeps their libraries.

use std::borrow::Cow;

use crate::kv::commands::args::is_word;
use crate::kv::commands::help;
use crate::kv::commands::scripting::{
    READ, READING, WORST_IS_READ, WORST_IS_WRITTEN, WRITING, WRITTEN, declared, kill,
};
use crate::kv::commands::table::{Command, Flags, Group, Handler, Keys, Named, Script};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::formats::glob::Pattern;
use crate::kv::formats::rdb::{BadFunctions, dump_functions, restore_functions};
use crate::kv::metrics::statistics::Counted;
use crate::kv::scripts::Function;
use crate::kv::sessions::session::{Outcome, SessionCall};
use crate::kv::sources::{ENGINE, KnownLibrary, Policy, Sources};
use crate::resp::reply::Reply;
use crate::storage::Keyspace;
use crate::sys::clock;

const DEPENDS: &str = "Depends on the function that is executed.";

const CHANGING: Flags = Flags::NOSCRIPT.or(Flags::WRITE);

pub const COMMANDS: &[Command] = &[
    Command {
        name: "fcall",
        arity: -3,
        flags: WRITING,
        keys: Keys::Specs(&[declared(WRITTEN, WORST_IS_WRITTEN)]),
        group: Group::Scripting,
        since: "7.0.0",
        complexity: DEPENDS,
        summary: "Invokes a function.",
        syntax: "function numkeys [key [key ...]] [arg [arg ...]]",
        handler: Handler::Script(Script { named: Named::Function, is_read_only: false }),
        ..Command::ROW
    },
    Command {
        name: "fcall_ro",
        arity: -3,
        flags: READING,
        keys: Keys::Specs(&[declared(READ, WORST_IS_READ)]),
        group: Group::Scripting,
        since: "7.0.0",
        complexity: DEPENDS,
        summary: "Invokes a read-only function.",
        syntax: "function numkeys [key [key ...]] [arg [arg ...]]",
        handler: Handler::Script(Script { named: Named::Function, is_read_only: true }),
        ..Command::ROW
    },
    Command {
        name: "function",
        arity: -2,
        group: Group::Scripting,
        since: "7.0.0",
        complexity: "Depends on subcommand.",
        summary: "A container for function commands.",
        handler: Handler::Container,
        subcommands: &[
            Command {
                name: "function|delete",
                arity: 3,
                flags: CHANGING,
                summary: "Deletes a library and its functions.",
                syntax: "library-name",
                handler: Handler::Sources(delete),
                tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
                ..SUBCOMMAND
            },
            Command {
                name: "function|dump",
                flags: Flags::NOSCRIPT,
                complexity: "O(N) where N is the number of functions",
                summary: "Dumps all libraries into a serialized binary payload.",
                handler: Handler::Sources(dump),
                ..SUBCOMMAND
            },
            Command {
                name: "function|flush",
                arity: -2,
                flags: CHANGING,
                complexity: "O(N) where N is the number of functions deleted",
                summary: "Deletes all libraries and functions.",
                syntax: "[ASYNC | SYNC]",
                handler: Handler::Sources(flush),
                tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
                ..SUBCOMMAND
            },
            Command {
                name: "function|help",
                flags: Flags::LOADING.or(Flags::STALE),
                summary: "Returns helpful text about the different subcommands.",
                handler: Handler::Pure(|_| Ok(help::reply("FUNCTION", HELP))),
                ..SUBCOMMAND
            },
            Command {
                name: "function|kill",
                flags: Flags::NOSCRIPT.or(Flags::ALLOW_BUSY),
                summary: "Terminates a function during execution.",
                handler: Handler::Session(|call, _| kill(call, true)),
                tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
                ..SUBCOMMAND
            },
            Command {
                name: "function|list",
                arity: -2,
                flags: Flags::NOSCRIPT,
                complexity: "O(N) where N is the number of functions",
                summary: "Returns information about all libraries.",
                syntax: "[LIBRARYNAME library-name-pattern] [WITHCODE]",
                handler: Handler::Sources(list),
                tips: &["nondeterministic_output_order"],
                ..SUBCOMMAND
            },
            Command {
                name: "function|load",
                arity: -3,
                flags: CHANGING.or(Flags::DENYOOM),
                complexity: "O(1) (considering compilation time is redundant)",
                summary: "Creates a library.",
                syntax: "[REPLACE] function-code",
                handler: Handler::Sources(load),
                tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
                ..SUBCOMMAND
            },
            Command {
                name: "function|restore",
                arity: -3,
                flags: CHANGING.or(Flags::DENYOOM),
                complexity: "O(N) where N is the number of functions on the payload",
                summary: "Restores all libraries from a payload.",
                syntax: "serialized-value [FLUSH | APPEND | REPLACE]",
                handler: Handler::Sources(restore),
                tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
                ..SUBCOMMAND
            },
            Command {
                name: "function|stats",
                flags: Flags::NOSCRIPT.or(Flags::ALLOW_BUSY),
                summary: "Returns information about a function during execution.",
                handler: Handler::Session(stats),
                tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
                ..SUBCOMMAND
            },
        ],
        ..Command::ROW
    },
];

const SUBCOMMAND: Command =
    Command { arity: 2, group: Group::Scripting, since: "7.0.0", complexity: "O(1)", ..Command::ROW };

fn load(sources: &mut Sources, keyspace: &mut Keyspace, args: &[&[u8]]) -> CommandResult {
    let [options @ .., code] = &args[2..] else { return Err(errors::NO_FUNCTION_CODE.into()) };
    if let Some(unknown) = options.iter().find(|option| !is_word(option, "replace")) {
        return Err(errors::unknown_function_option(unknown));
    }
    Ok(Reply::Bulk(sources.load_library(keyspace, code, !options.is_empty())?.into_bytes()))
}

fn delete(sources: &mut Sources, keyspace: &mut Keyspace, args: &[&[u8]]) -> CommandResult {
    sources.delete_library(keyspace, args[2])?;
    Ok(Reply::Ok)
}

fn flush(sources: &mut Sources, keyspace: &mut Keyspace, args: &[&[u8]]) -> CommandResult {
    match args {
        [_, _] => {}
        [_, _, how] if is_word(how, "sync") || is_word(how, "async") => {}
        [_, _, _] => return Err(errors::FUNCTION_FLUSH_OPTION.into()),
        _ => return Err(errors::wrong_subcommand_arguments("FUNCTION", args[1])),
    }
    sources.flush_libraries(keyspace)?;
    Ok(Reply::Ok)
}

fn dump(sources: &mut Sources, keyspace: &mut Keyspace, _args: &[&[u8]]) -> CommandResult {
    Ok(Reply::Bulk(dump_functions(sources.libraries(keyspace)?.values().map(|library| &library.code[..]))))
}

fn restore(sources: &mut Sources, keyspace: &mut Keyspace, args: &[&[u8]]) -> CommandResult {
    let policy = match &args[2..] {
        [_] => Policy::Append,
        [_, policy] if is_word(policy, "append") => Policy::Append,
        [_, policy] if is_word(policy, "replace") => Policy::Replace,
        [_, policy] if is_word(policy, "flush") => Policy::Flush,
        [_, _] => return Err(errors::RESTORE_POLICY.into()),
        _ => return Err(errors::wrong_subcommand_arguments("FUNCTION", args[1])),
    };
    let codes = restore_functions(args[2], keyspace.value_bytes_max()).map_err(|bad| match bad {
        BadFunctions::VersionOrChecksum => errors::BAD_DUMP,
        BadFunctions::Old => errors::OLD_FUNCTIONS,
        BadFunctions::NoFunction => errors::NOT_A_FUNCTION,
        BadFunctions::Format => errors::BAD_FUNCTIONS,
    })?;
    sources.restore_libraries(keyspace, &codes, policy)?;
    Ok(Reply::Ok)
}

/// What FUNCTION LIST is asked for.
#[derive(Default)]
struct Listing<'a> {
    with_code: bool,
    pattern: Option<&'a [u8]>,
}

impl<'a> Listing<'a> {
    fn parse(args: &[&'a [u8]]) -> Result<Listing<'a>, CommandError> {
        let mut listing = Listing::default();
        let mut rest = args;
        while let [word, behind @ ..] = rest {
            rest = behind;
            if !listing.with_code && is_word(word, "withcode") {
                listing.with_code = true;
            } else if listing.pattern.is_none() && is_word(word, "libraryname") {
                let [pattern, behind @ ..] = rest else { return Err(errors::NO_LIBRARY_NAME.into()) };
                listing.pattern = Some(pattern);
                rest = behind;
            } else {
                return Err(errors::unknown_function_argument(word));
            }
        }
        Ok(listing)
    }
}

fn list(sources: &mut Sources, keyspace: &mut Keyspace, args: &[&[u8]]) -> CommandResult {
    let listing = Listing::parse(&args[2..])?;
    let pattern = listing.pattern.map(|pattern| Pattern::new(pattern, true)).transpose()?;
    let is_meant = |name: &str| pattern.as_ref().is_none_or(|pattern| pattern.matches(name.as_bytes()));
    let libraries = sources.libraries(keyspace)?.iter().filter(|(name, _)| is_meant(name));
    Ok(Reply::Array(libraries.map(|(name, library)| shown(name, library, listing.with_code)).collect()))
}

fn text(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

fn shown(name: &str, library: &KnownLibrary, with_code: bool) -> Reply {
    let functions = library.functions.iter().map(shown_function).collect();
    let mut shown = vec![
        (text("library_name"), text(name)),
        (text("engine"), text(ENGINE)),
        (text("functions"), Reply::Array(functions)),
    ];
    if with_code {
        shown.push((text("library_code"), Reply::Bulk(library.code.clone())));
    }
    Reply::Map(shown)
}

fn shown_function(function: &Function) -> Reply {
    let set = function.flags.names().into_iter().filter(|(_, is_set)| *is_set);
    Reply::Map(vec![
        (text("name"), Reply::Bulk(function.name.clone())),
        (text("description"), function.description.clone().map_or(Reply::Null, Reply::Bulk)),
        (text("flags"), Reply::Set(set.map(|(name, _)| Reply::Simple(Cow::Borrowed(name))).collect())),
    ])
}

fn stats(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    let running = call.worker.shared.running_scripts.longest(clock::uptime_ms());
    if running.as_ref().is_some_and(|running| !running.is_function) {
        return Outcome::error(errors::BUSY_SCRIPT);
    }
    let running = running.map_or(Reply::Null, |running| {
        Reply::Map(vec![
            (text("name"), Reply::Bulk(running.name)),
            (text("command"), Reply::Array(running.command.into_iter().map(Reply::Bulk).collect())),
            (text("duration_ms"), Reply::Integer(running.duration_ms.cast_signed())),
        ])
    });
    let count = |which| Reply::Integer(call.worker.totals.max(which).cast_signed());
    let lua = Reply::Map(vec![
        (text("libraries_count"), count(Counted::Libraries)),
        (text("functions_count"), count(Counted::Functions)),
    ]);
    let engines = Reply::Map(vec![(text(ENGINE), lua)]);
    Outcome::Reply(Reply::Map(vec![(text("running_script"), running), (text("engines"), engines)]))
}

const HELP: &[&str] = &[
    "LOAD [REPLACE] <FUNCTION CODE>",
    "    Create a new library with the given library name and code.",
    "DELETE <LIBRARY NAME>",
    "    Delete the given library.",
    "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
    "    Return general information on all the libraries:",
    "    * Library name",
    "    * The engine used to run the Library",
    "    * Library description",
    "    * Functions list",
    "    * Library code (if WITHCODE is given)",
    "    It also possible to get only function that matches a pattern using LIBRARYNAME argument.",
    "STATS",
    "    Return information about the current function running:",
    "    * Function name",
    "    * Command used to run the function",
    "    * Duration in MS that the function is running",
    "    If no function is running, return nil",
    "    In addition, returns a list of available engines.",
    "KILL",
    "    Kill the current running function.",
    "FLUSH [ASYNC|SYNC]",
    "    Delete all the libraries.",
    "    When called without the optional mode argument, the behavior is determined by the",
    "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
    "    * ASYNC: Asynchronously flush the libraries.",
    "    * SYNC: Synchronously flush the libraries.",
    "DUMP",
    "    Return a serialized payload representing the current libraries, can be restored using FUNCTION RESTORE command",
    "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
    "    Restore the libraries represented by the given payload, it is possible to give a restore policy to",
    "    control how to handle existing libraries (default APPEND):",
    "    * FLUSH: delete all existing libraries.",
    "    * APPEND: appends the restored libraries to the existing libraries. On collision, abort.",
    "    * REPLACE: appends the restored libraries to the existing libraries, On collision, replace the old",
    "      libraries with the new libraries (notice that even on this option there is a chance of failure",
    "      in case of functions name collision with another library).",
];
