//! CONFIG: the settings by the names that Redis gives them. What changes here ends with the service.

use crate::kv::commands::args;
use crate::kv::commands::help;
use crate::kv::commands::table::{self, Command, Flags, Group, Handler};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::formats::glob::{PATTERN_BYTES_MAX, Pattern, PatternTooLong};
use crate::kv::sessions::session::{Outcome, SessionCall};
use crate::kv::shared::parameters::{self, Checked, PARAMETERS, Parameter};
use crate::resp::reply::Reply;

pub const COMMANDS: &[Command] = &[Command {
    name: "config",
    arity: -2,
    group: Group::Server,
    since: "2.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for server configuration commands.",
    handler: Handler::Container,
    subcommands: &[
        Command {
            name: "config|get",
            arity: -3,
            flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE),
            group: Group::Server,
            since: "2.0.0",
            complexity: "O(N) when N is the number of configuration parameters provided",
            summary: "Returns the effective values of configuration parameters.",
            syntax: "parameter [parameter ...]",
            handler: Handler::Session(config_get),
            history: &[("7.0.0", "Added the ability to pass multiple pattern parameters in one call")],
            ..Command::ROW
        },
        Command {
            name: "config|help",
            arity: 2,
            flags: Flags::LOADING.or(Flags::STALE),
            group: Group::Server,
            since: "5.0.0",
            complexity: "O(1)",
            summary: "Returns helpful text about the different subcommands.",
            handler: Handler::Pure(config_help),
            ..Command::ROW
        },
        Command {
            name: "config|resetstat",
            arity: 2,
            flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE),
            group: Group::Server,
            since: "2.0.0",
            complexity: "O(1)",
            summary: "Resets the server's statistics.",
            handler: Handler::Session(config_resetstat),
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            ..Command::ROW
        },
        Command {
            name: "config|rewrite",
            arity: 2,
            flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE),
            group: Group::Server,
            since: "2.8.0",
            complexity: "O(1)",
            summary: "Persists the effective configuration to file.",
            handler: Handler::Session(config_rewrite),
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            ..Command::ROW
        },
        Command {
            name: "config|set",
            arity: -4,
            flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE),
            group: Group::Server,
            since: "2.0.0",
            complexity: "O(N) when N is the number of configuration parameters provided",
            summary: "Sets configuration parameters in-flight.",
            syntax: "parameter value [parameter value ...]",
            handler: Handler::Session(config_set),
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            history: &[("7.0.0", "Added the ability to set multiple parameters in one call.")],
            ..Command::ROW
        },
    ],
    ..Command::ROW
}];

fn config_get(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    let found = match find_parameters(&args[2..]) {
        Ok(found) => found,
        Err(error) => return Outcome::Reply(error.into_reply()),
    };
    let shared = &call.worker.shared;
    let pair =
        |(name, parameter): (&[u8], &Parameter)| (Reply::Bulk(name.to_vec()), Reply::Bulk(parameter.value(shared)));
    Outcome::Reply(Reply::Map(found.into_iter().map(pair).collect()))
}

/// Each parameter once, however many patterns it fits. A name without wildcards is answered as it was asked for. All patterns together
/// may be as long as one.
fn find_parameters<'a>(wanted: &[&'a [u8]]) -> Result<Vec<(&'a [u8], &'static Parameter)>, CommandError> {
    let is_glob = |name: &[u8]| name.iter().any(|byte| b"[*?".contains(byte));
    let pattern_bytes: usize = wanted.iter().filter(|name| is_glob(name)).map(|name| name.len()).sum();
    args::check_names(wanted)?;
    if pattern_bytes > PATTERN_BYTES_MAX {
        return Err(PatternTooLong.into());
    }
    let mut found: Vec<(&[u8], &Parameter)> = Vec::new();
    let mut add = |name, parameter: &'static Parameter| {
        if !found.iter().any(|(_, known)| known.name == parameter.name) {
            found.push((name, parameter));
        }
    };
    for &name in wanted {
        if is_glob(name) {
            let pattern = Pattern::new(name, true)?;
            let fitting = PARAMETERS.iter().filter(|parameter| pattern.matches(parameter.name.as_bytes()));
            fitting.for_each(|parameter| add(parameter.name.as_bytes(), parameter));
        } else if let Some(parameter) = parameters::lookup(name) {
            add(name, parameter);
        }
    }
    Ok(found)
}

/// All or nothing: every value is checked before the first is set.
fn config_set(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    if args.len() % 2 == 1 {
        return Outcome::error(errors::SYNTAX);
    }
    let shared = &call.worker.shared;
    let mut named: Vec<(&Parameter, &[&[u8]])> = Vec::new();
    for pair in args[2..].chunks_exact(2) {
        let Some(parameter) = parameters::lookup(pair[0]) else {
            return Outcome::error(errors::unknown_parameter(pair[0]));
        };
        if named.iter().any(|(known, _)| known.name == parameter.name) {
            return Outcome::error(errors::config_set_failed(pair[0], "duplicate parameter"));
        }
        named.push((parameter, pair));
    }
    let mut checked: Vec<Checked> = Vec::with_capacity(named.len());
    for (parameter, pair) in named {
        match parameter.check(shared, pair[1]) {
            Ok(value) => checked.push(value),
            Err(reason) => return Outcome::error(errors::config_set_failed(pair[0], &reason)),
        }
    }
    checked.into_iter().for_each(|value| value.apply(shared, call.worker.context.slot));
    Outcome::Reply(Reply::Ok)
}

fn config_resetstat(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    call.worker.totals.reset(table::rows().len());
    Outcome::Reply(Reply::Ok)
}

/// The settings are environment variables: there is nothing that could be written.
fn config_rewrite(_call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    Outcome::error(errors::NO_CONFIG_FILE)
}

fn config_help(_args: &[&[u8]]) -> CommandResult {
    Ok(help::reply("CONFIG", HELP))
}

const HELP: &[&str] = &[
    "GET <pattern>",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "SET <directive> <value>",
    "    Set the configuration <directive> to <value>.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
    "REWRITE",
    "    Rewrite the configuration file.",
];
