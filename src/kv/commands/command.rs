//! COMMAND and its subcommands: what the table says of itself. Pure functions of the table and the arguments.

use crate::kv::commands::args;
use crate::kv::commands::command_docs::docs_of;
use crate::kv::commands::help;
use crate::kv::commands::table::{Begin, Category, Command, Find, Flags, Group, Handler, KeyFlags, KeySpec};
use crate::kv::commands::table::{commands, lookup_full_name, lookup_row};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::formats::glob::Pattern;
use crate::resp::reply::Reply;

pub const COMMANDS: &[Command] = &[Command {
    name: "command",
    arity: -1,
    flags: Flags::LOADING.or(Flags::STALE).or(Flags::ACL_CONNECTION),
    group: Group::Server,
    since: "2.8.13",
    complexity: "O(N) where N is the total number of commands",
    summary: "Returns detailed information about all commands.",
    handler: Handler::Pure(command),
    subcommands: &[
        Command {
            name: "command|count",
            arity: 2,
            flags: Flags::LOADING.or(Flags::STALE).or(Flags::ACL_CONNECTION),
            group: Group::Server,
            since: "2.8.13",
            complexity: "O(1)",
            summary: "Returns a count of commands.",
            handler: Handler::Pure(command_count),
            ..Command::ROW
        },
        Command {
            name: "command|docs",
            arity: -2,
            flags: Flags::LOADING.or(Flags::STALE).or(Flags::ACL_CONNECTION),
            group: Group::Server,
            since: "7.0.0",
            complexity: "O(N) where N is the number of commands to look up",
            summary: "Returns documentary information about one, multiple or all commands.",
            syntax: "[command-name [command-name ...]]",
            handler: Handler::Pure(command_docs),
            tips: &["nondeterministic_output_order"],
            ..Command::ROW
        },
        Command {
            name: "command|getkeys",
            arity: -4,
            flags: Flags::LOADING.or(Flags::STALE).or(Flags::ACL_CONNECTION),
            group: Group::Server,
            since: "2.8.13",
            complexity: "O(N) where N is the number of arguments to the command",
            summary: "Extracts the key names from an arbitrary command.",
            syntax: "command [arg [arg ...]]",
            handler: Handler::Pure(command_getkeys),
            ..Command::ROW
        },
        Command {
            name: "command|getkeysandflags",
            arity: -4,
            flags: Flags::LOADING.or(Flags::STALE).or(Flags::ACL_CONNECTION),
            group: Group::Server,
            since: "7.0.0",
            complexity: "O(N) where N is the number of arguments to the command",
            summary: "Extracts the key names and access flags for an arbitrary command.",
            syntax: "command [arg [arg ...]]",
            handler: Handler::Pure(command_getkeysandflags),
            ..Command::ROW
        },
        Command {
            name: "command|help",
            arity: 2,
            flags: Flags::LOADING.or(Flags::STALE).or(Flags::ACL_CONNECTION),
            group: Group::Server,
            since: "5.0.0",
            complexity: "O(1)",
            summary: "Returns helpful text about the different subcommands.",
            handler: Handler::Pure(command_help),
            ..Command::ROW
        },
        Command {
            name: "command|info",
            arity: -2,
            flags: Flags::LOADING.or(Flags::STALE).or(Flags::ACL_CONNECTION),
            group: Group::Server,
            since: "2.8.13",
            complexity: "O(N) where N is the number of commands to look up",
            summary: "Returns information about one, multiple or all commands.",
            syntax: "[command-name [command-name ...]]",
            handler: Handler::Pure(command_info),
            tips: &["nondeterministic_output_order"],
            history: &[("7.0.0", "Allowed to be called with no argument to get info on all commands.")],
            ..Command::ROW
        },
        Command {
            name: "command|list",
            arity: -2,
            flags: Flags::LOADING.or(Flags::STALE).or(Flags::ACL_CONNECTION),
            group: Group::Server,
            since: "7.0.0",
            complexity: "O(N) where N is the total number of commands",
            summary: "Returns a list of command names.",
            syntax: "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
            handler: Handler::Pure(command_list),
            tips: &["nondeterministic_output_order"],
            ..Command::ROW
        },
    ],
    tips: &["nondeterministic_output_order"],
    ..Command::ROW
}];

fn command(_args: &[&[u8]]) -> CommandResult {
    Ok(Reply::Array(commands().map(info_of).collect()))
}

fn command_count(_args: &[&[u8]]) -> CommandResult {
    Ok(Reply::Integer(i64::try_from(commands().count()).unwrap_or(i64::MAX)))
}

/// Without names: all. A name that is unknown gets a null.
fn command_info(args: &[&[u8]]) -> CommandResult {
    let names = &args[2..];
    if names.is_empty() {
        return command(args);
    }
    args::check_names(names)?;
    Ok(Reply::Array(names.iter().map(|name| lookup_full_name(name).map_or(Reply::Null, info_of)).collect()))
}

/// Without names: all. A name that is unknown is left out.
fn command_docs(args: &[&[u8]]) -> CommandResult {
    let names = &args[2..];
    args::check_names(names)?;
    let pair = |command: &Command| (bulk(command.name), docs_of(command));
    Ok(Reply::Map(if names.is_empty() {
        commands().map(pair).collect()
    } else {
        names.iter().filter_map(|name| lookup_full_name(name)).map(pair).collect()
    }))
}

/// Commands and, after each, its subcommands.
fn command_list(args: &[&[u8]]) -> CommandResult {
    let filter = Filter::parse(&args[2..])?;
    let rows = commands().flat_map(|command| std::iter::once(command).chain(command.subcommands));
    Ok(Reply::Array(rows.filter(|command| filter.lets_through(command)).map(|command| bulk(command.name)).collect()))
}

/// What COMMAND LIST is restricted to.
enum Filter {
    None,
    /// There are no modules.
    Module,
    /// None: a category that does not exist.
    Category(Option<Category>),
    Pattern(Pattern),
}

impl Filter {
    fn parse(args: &[&[u8]]) -> Result<Filter, CommandError> {
        match *args {
            [] => Ok(Filter::None),
            [word, kind, value] if args::is_word(word, "filterby") => {
                if args::is_word(kind, "module") {
                    Ok(Filter::Module)
                } else if args::is_word(kind, "aclcat") {
                    Ok(Filter::Category(Category::named(value)))
                } else if args::is_word(kind, "pattern") {
                    Ok(Filter::Pattern(Pattern::new(value, true)?))
                } else {
                    Err(errors::SYNTAX.into())
                }
            }
            _ => Err(errors::SYNTAX.into()),
        }
    }

    fn lets_through(&self, command: &Command) -> bool {
        match self {
            Filter::None => true,
            Filter::Module => false,
            Filter::Category(wanted) => wanted.is_some_and(|wanted| command.categories().any(|one| one == wanted)),
            Filter::Pattern(pattern) => pattern.matches(command.name.as_bytes()),
        }
    }
}

fn command_getkeys(args: &[&[u8]]) -> CommandResult {
    keys_of(&args[2..], |key, _| Reply::Bulk(key.to_vec()))
}

fn command_getkeysandflags(args: &[&[u8]]) -> CommandResult {
    keys_of(&args[2..], |key, flags| Reply::Array(vec![Reply::Bulk(key.to_vec()), key_flag_names(flags)]))
}

/// A call with more arguments is not taken apart: its reply is made on the loop, a value for each key.
const CALL_ARGS_MAX: usize = 1 << 16;

/// Redis: getKeysSubcommandImpl. `call` is a whole call of another command.
fn keys_of(call: &[&[u8]], item: impl Fn(&[u8], KeyFlags) -> Reply) -> CommandResult {
    if call.len() > CALL_ARGS_MAX {
        return Err(errors::too_many_names(CALL_ARGS_MAX));
    }
    let command = lookup_row(call).ok_or(CommandError::from(errors::COMMAND_INVALID))?;
    if command.keys.specs().iter().all(|spec| spec.flags.has(KeyFlags::NOT_KEY)) {
        return Err(errors::COMMAND_WITHOUT_KEYS.into());
    }
    if !command.fits_arity(call.len()) {
        return Err(errors::COMMAND_ARGUMENT_COUNT.into());
    }
    let positions = command.keys.positions(call);
    if positions.is_empty() && !command.flags.has(Flags::NO_MANDATORY_KEYS) {
        return Err(errors::COMMAND_ARGUMENTS.into());
    }
    Ok(Reply::Array(positions.iter().map(|position| item(call[position.index], position.flags)).collect()))
}

fn command_help(_args: &[&[u8]]) -> CommandResult {
    Ok(help::reply("COMMAND", HELP))
}

/// The ten elements of COMMAND INFO.
fn info_of(command: &Command) -> Reply {
    let range = command.keys.legacy_range();
    let movable = range.is_movable.then_some("movablekeys");
    let flags = command.flags.names().chain(movable).map(|name| Reply::Simple(name.into()));
    let categories = command.categories().map(|category| Reply::Simple(format!("@{}", category.name()).into()));
    Reply::Array(vec![
        bulk(command.name),
        Reply::Integer(command.arity.into()),
        Reply::Set(flags.collect()),
        Reply::Integer(range.first.into()),
        Reply::Integer(range.last.into()),
        Reply::Integer(range.step.into()),
        Reply::Set(categories.collect()),
        Reply::Set(command.tips.iter().map(|tip| bulk(tip)).collect()),
        Reply::Set(command.keys.specs().iter().map(spec_of).collect()),
        subcommands_of(command),
    ])
}

/// Redis sends an empty set where there are none, and an array of the others.
fn subcommands_of(command: &Command) -> Reply {
    match command.subcommands {
        [] => Reply::Set(Vec::new()),
        subcommands => Reply::Array(subcommands.iter().map(info_of).collect()),
    }
}

fn spec_of(spec: &KeySpec) -> Reply {
    let mut pairs = Vec::with_capacity(4);
    if !spec.notes.is_empty() {
        pairs.push((bulk("notes"), bulk(spec.notes)));
    }
    let (begin, begin_spec) = match spec.begin {
        Begin::Index(index) => ("index", vec![pair("index", index)]),
        Begin::Keyword { keyword, start } => {
            ("keyword", vec![(bulk("keyword"), bulk(keyword)), pair("startfrom", start)])
        }
        Begin::Unknown => ("unknown", Vec::new()),
    };
    let (find, find_spec) = match spec.find {
        Find::Range { last, step, limit } => {
            ("range", vec![pair("lastkey", last), pair("keystep", step), pair("limit", limit)])
        }
        Find::KeyNumber { index, first, step } => {
            ("keynum", vec![pair("keynumidx", index), pair("firstkey", first), pair("keystep", step)])
        }
        Find::Unknown => ("unknown", Vec::new()),
    };
    pairs.push((bulk("flags"), key_flag_names(spec.flags)));
    pairs.push((bulk("begin_search"), typed_spec(begin, begin_spec)));
    pairs.push((bulk("find_keys"), typed_spec(find, find_spec)));
    Reply::Map(pairs)
}

fn typed_spec(kind: &str, spec: Vec<(Reply, Reply)>) -> Reply {
    Reply::Map(vec![(bulk("type"), bulk(kind)), (bulk("spec"), Reply::Map(spec))])
}

fn pair(name: &str, value: i16) -> (Reply, Reply) {
    (bulk(name), Reply::Integer(value.into()))
}

fn key_flag_names(flags: KeyFlags) -> Reply {
    Reply::Set(flags.names().map(|name| Reply::Simple(name.into())).collect())
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

const HELP: &[&str] = &[
    "(no subcommand)",
    "    Return details about all Redis commands.",
    "COUNT",
    "    Return the total number of commands in this Redis server.",
    "LIST",
    "    Return a list of all commands in this Redis server.",
    "INFO [<command-name> ...]",
    "    Return details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "GETKEYS <full-command>",
    "    Return the keys from a full Redis command.",
    "GETKEYSANDFLAGS <full-command>",
    "    Return the keys and the access flags from a full Redis command.",
];
