//! CLIENT: what a client says of itself and asks about all clients, on whichever worker they are; and MONITOR.

use crate::kv::call::WaitingCalls;
use crate::kv::commands::args::{self, is_word};
use crate::kv::commands::client_selection::{KillOptions, ListOptions};
use crate::kv::commands::client_tracking;
use crate::kv::commands::help;
use crate::kv::commands::table::{Command, Flags, Group, Handler};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::sessions::clients::{self, Selection};
use crate::kv::sessions::monitors;
use crate::kv::sessions::questions::{self, Notice, Question};
use crate::kv::sessions::session::{CLIENT_NAME_BYTES_MAX, Outcome, ReplyMode, SessionCall};
use crate::kv::shared::runtime::Pausing;
use crate::resp::reply::Reply;

pub const COMMANDS: &[Command] = &[
    Command {
        name: "client",
        arity: -2,
        group: Group::Connection,
        since: "2.4.0",
        complexity: "Depends on subcommand.",
        summary: "A container for client connection commands.",
        handler: Handler::Container,
        subcommands: &[
            client_tracking::CACHING,
            Command {
                name: "client|getname",
                arity: 2,
                flags: Flags::NOSCRIPT.or(Flags::LOADING).or(Flags::STALE).or(Flags::INERT),
                group: Group::Connection,
                since: "2.6.9",
                complexity: "O(1)",
                summary: "Returns the name of the connection.",
                handler: Handler::Session(getname),
                ..Command::ROW
            },
            client_tracking::GETREDIR,
            Command {
                name: "client|help",
                arity: 2,
                flags: Flags::LOADING.or(Flags::STALE),
                group: Group::Connection,
                since: "5.0.0",
                complexity: "O(1)",
                summary: "Returns helpful text about the different subcommands.",
                handler: Handler::Pure(client_help),
                ..Command::ROW
            },
            Command {
                name: "client|id",
                arity: 2,
                flags: Flags::NOSCRIPT.or(Flags::LOADING).or(Flags::STALE).or(Flags::INERT),
                group: Group::Connection,
                since: "5.0.0",
                complexity: "O(1)",
                summary: "Returns the unique client ID of the connection.",
                handler: Handler::Session(id),
                ..Command::ROW
            },
            Command {
                name: "client|info",
                arity: 2,
                flags: Flags::NOSCRIPT.or(Flags::LOADING).or(Flags::STALE),
                group: Group::Connection,
                since: "6.2.0",
                complexity: "O(1)",
                summary: "Returns information about the connection.",
                handler: Handler::Session(info),
                tips: &["nondeterministic_output"],
                ..Command::ROW
            },
            Command {
                name: "client|kill",
                arity: -3,
                flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE),
                group: Group::Connection,
                since: "2.4.0",
                complexity: "O(N) where N is the number of client connections",
                summary: "Terminates open connections.",
                syntax: "<old-format | <[ID client-id [client-id ...]] | [TYPE <NORMAL | MASTER | SLAVE | REPLICA | \
                    PUBSUB>] | [USER username] | [ADDR addr] | [LADDR laddr] | [SKIPME <YES | NO>]> [<[ID client-id \
                    [client-id ...]] | [TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB>] | [USER username] | \
                    [ADDR addr] | [LADDR laddr] | [SKIPME <YES | NO>]> ...]>",
                handler: Handler::Session(kill),
                history: &[
                    ("2.8.12", "Added new filter format."),
                    ("2.8.12", "`ID` option."),
                    ("3.2.0", "Added `master` type in for `TYPE` option."),
                    (
                        "5.0.0",
                        "Replaced `slave` `TYPE` with `replica`. `slave` still supported for backward compatibility.",
                    ),
                    ("6.2.0", "`LADDR` option."),
                ],
                ..Command::ROW
            },
            Command {
                name: "client|list",
                arity: -2,
                flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE),
                group: Group::Connection,
                since: "2.4.0",
                complexity: "O(N) where N is the number of client connections",
                summary: "Lists open connections.",
                syntax: "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
                handler: Handler::Session(list),
                tips: &["nondeterministic_output"],
                history: &[
                    ("2.8.12", "Added unique client `id` field."),
                    ("5.0.0", "Added optional `TYPE` filter."),
                    ("6.0.0", "Added `user` field."),
                    ("6.2.0", "Added `argv-mem`, `tot-mem`, `laddr` and `redir` fields and the optional `ID` filter."),
                    ("7.0.0", "Added `resp`, `multi-mem`, `rbs` and `rbp` fields."),
                    ("7.0.3", "Added `ssub` field."),
                ],
                ..Command::ROW
            },
            Command {
                name: "client|no-evict",
                arity: 3,
                flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE),
                group: Group::Connection,
                since: "7.0.0",
                complexity: "O(1)",
                summary: "Sets the client eviction mode of the connection.",
                syntax: "<ON | OFF>",
                handler: Handler::Session(no_evict),
                ..Command::ROW
            },
            Command {
                name: "client|no-touch",
                arity: 3,
                flags: Flags::NOSCRIPT.or(Flags::LOADING).or(Flags::STALE).or(Flags::ALLOW_BUSY),
                group: Group::Connection,
                since: "7.2.0",
                complexity: "O(1)",
                summary: "Controls whether commands sent by the client affect the LRU/LFU of accessed keys.",
                syntax: "<ON | OFF>",
                handler: Handler::Session(no_touch),
                ..Command::ROW
            },
            Command {
                name: "client|pause",
                arity: -3,
                flags: Flags::DURING_PAUSE.or(Flags::ADMIN).or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE),
                group: Group::Connection,
                since: "3.0.0",
                complexity: "O(1)",
                summary: "Suspends commands processing.",
                syntax: "timeout [WRITE | ALL]",
                handler: Handler::Session(pause),
                history: &[("6.2.0", "`CLIENT PAUSE WRITE` mode added along with the `mode` option.")],
                ..Command::ROW
            },
            Command {
                name: "client|reply",
                arity: 3,
                flags: Flags::NOSCRIPT.or(Flags::LOADING).or(Flags::STALE).or(Flags::MUTES).or(Flags::INERT),
                group: Group::Connection,
                since: "3.2.0",
                complexity: "O(1)",
                summary: "Instructs the server whether to reply to commands.",
                syntax: "<ON | OFF | SKIP>",
                handler: Handler::Session(reply),
                ..Command::ROW
            },
            Command {
                name: "client|setinfo",
                arity: 4,
                flags: Flags::NOSCRIPT.or(Flags::LOADING).or(Flags::STALE).or(Flags::ALLOW_BUSY),
                group: Group::Connection,
                since: "7.2.0",
                complexity: "O(1)",
                summary: "Sets information specific to the client or connection.",
                syntax: "<LIB-NAME libname | LIB-VER libver>",
                handler: Handler::Session(setinfo),
                tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
                ..Command::ROW
            },
            Command {
                name: "client|setname",
                arity: 3,
                flags: Flags::NOSCRIPT.or(Flags::LOADING).or(Flags::STALE),
                group: Group::Connection,
                since: "2.6.9",
                complexity: "O(1)",
                summary: "Sets the connection name.",
                syntax: "connection-name",
                handler: Handler::Session(setname),
                tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
                ..Command::ROW
            },
            client_tracking::TRACKING,
            client_tracking::TRACKINGINFO,
            Command {
                name: "client|unblock",
                arity: -3,
                flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE),
                group: Group::Connection,
                since: "5.0.0",
                complexity: "O(log N) where N is the number of client connections",
                summary: "Unblocks a client blocked by a blocking command from a different connection.",
                syntax: "client-id [TIMEOUT | ERROR]",
                handler: Handler::Waiting(unblock),
                ..Command::ROW
            },
            Command {
                name: "client|unpause",
                arity: 2,
                flags: Flags::DURING_PAUSE.or(Flags::ADMIN).or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE),
                group: Group::Connection,
                since: "6.2.0",
                complexity: "O(N) Where N is the number of paused clients",
                summary: "Resumes processing commands from paused clients.",
                handler: Handler::Session(unpause),
                ..Command::ROW
            },
        ],
        ..Command::ROW
    },
    Command {
        name: "monitor",
        arity: 1,
        flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE),
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Listens for all requests received by the server in real-time.",
        handler: Handler::Session(monitor),
        ..Command::ROW
    },
];

/// True for what leaves standing what CLIENT CACHING has said of the next command.
#[must_use]
pub fn is_client_command(command: &Command) -> bool {
    command.name.starts_with("client|")
}

fn id(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    Outcome::Reply(Reply::Integer(call.session.client.number.cast_signed()))
}

fn getname(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    let name = call.session.client.name.borrow();
    Outcome::Reply(if name.is_empty() { Reply::Null } else { Reply::Bulk(name.clone()) })
}

/// An empty name takes the old one away.
fn setname(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    match client_name(args[2]) {
        Ok(name) => {
            call.session.client.name.replace(name.to_vec());
            Outcome::Reply(Reply::Ok)
        }
        Err(error) => Outcome::Reply(error.into_reply()),
    }
}

/// The name, if clients may be called so.
pub(super) fn client_name(name: &[u8]) -> Result<&[u8], CommandError> {
    match name {
        name if !is_plain(name) => Err(errors::CLIENT_NAME.into()),
        name if name.len() > CLIENT_NAME_BYTES_MAX => Err(errors::CLIENT_NAME_TOO_LONG.into()),
        name => Ok(name),
    }
}

/// True when CLIENT LIST can show it as one word.
fn is_plain(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}

fn setinfo(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    let client = &call.session.client;
    let place = match args[2] {
        name if is_word(name, "lib-name") => &client.library_name,
        name if is_word(name, "lib-ver") => &client.library_version,
        name => return Outcome::Reply(errors::unrecognized_option(name).into_reply()),
    };
    if !is_plain(args[3]) {
        return Outcome::Reply(errors::client_attribute(args[2]).into_reply());
    }
    if args[3].len() > CLIENT_NAME_BYTES_MAX {
        return Outcome::error(errors::CLIENT_LIBRARY_TOO_LONG);
    }
    place.replace(args[3].to_vec());
    Outcome::Reply(Reply::Ok)
}

fn info(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    let client = &call.session.client;
    client.args_bytes.set(args.iter().map(|arg| arg.len()).sum());
    let text = clients::line(client, call.worker.clock.now_ms());
    client.args_bytes.set(0);
    Outcome::Reply(Reply::Verbatim { format: *b"txt", text })
}

fn list(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    let options = match ListOptions::parse(args) {
        Ok(options) => options,
        Err(error) => return Outcome::Reply(error.into_reply()),
    };
    // This client's own line is made while its call runs.
    call.session.client.args_bytes.set(args.iter().map(|arg| arg.len()).sum());
    let question = Question::ListClients(options.selection());
    let outcome = questions::ask(call, &question, move |_, answers| {
        let lines = clients::merge_lists(&answers);
        Outcome::Reply(Reply::Verbatim { format: *b"txt", text: options.pick(lines) })
    });
    call.session.client.args_bytes.set(0);
    outcome
}

fn kill(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    let KillOptions { selection, skips_me, is_old_form } = match KillOptions::parse(args, call.worker.users.users()) {
        Ok(options) => options,
        Err(error) => return Outcome::Reply(error.into_reply()),
    };
    let client = &call.session.client;
    let is_meant = !skips_me && selection.holds(client);
    let others = Selection { except: Some(client.number), ..selection };
    questions::ask(call, &Question::KillClients(others), move |_, answers| {
        let killed = questions::sum(&answers) + u64::from(is_meant);
        let reply = match (is_old_form, killed) {
            (true, 0) => Reply::Error(errors::NO_SUCH_CLIENT.into()),
            (true, _) => Reply::Ok,
            (false, _) => Reply::Integer(killed.cast_signed()),
        };
        if is_meant { Outcome::Close(reply) } else { Outcome::Reply(reply) }
    })
}

/// Such a client is not closed where all clients together have too much.
fn no_evict(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    switch(&call.session.client.no_evict, args[2])
}

/// Shown by CLIENT LIST; no key remembers when it was last read.
fn no_touch(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    switch(&call.session.client.no_touch, args[2])
}

fn switch(flag: &std::cell::Cell<bool>, word: &[u8]) -> Outcome {
    match word {
        word if is_word(word, "on") => flag.set(true),
        word if is_word(word, "off") => flag.set(false),
        _ => return Outcome::error(errors::SYNTAX),
    }
    Outcome::Reply(Reply::Ok)
}

fn reply(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    let mode = &mut call.session.reply_mode;
    match args[2] {
        word if is_word(word, "on") => {
            *mode = ReplyMode::On;
            Outcome::Reply(Reply::Ok)
        }
        word if is_word(word, "off") => {
            *mode = ReplyMode::Off;
            Outcome::Silent
        }
        word if is_word(word, "skip") => {
            if *mode != ReplyMode::Off {
                *mode = ReplyMode::SkipNext;
            }
            Outcome::Silent
        }
        _ => Outcome::error(errors::SYNTAX),
    }
}

fn pause(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    let shared = &call.worker.shared;
    match pause_of(args, shared.clock.now_ms()) {
        Ok((what, until_ms)) => {
            shared.runtime.pause(what, until_ms, shared.clock.now_ms());
            Outcome::Reply(Reply::Ok)
        }
        Err(error) => Outcome::Reply(error.into_reply()),
    }
}

/// What is to be paused, and until when.
fn pause_of(args: &[&[u8]], now_ms: i64) -> Result<(Pausing, i64), CommandError> {
    let what = match args {
        [_, _, _] => Pausing::All,
        [_, _, _, mode] if is_word(mode, "all") => Pausing::All,
        [_, _, _, mode] if is_word(mode, "write") => Pausing::Writes,
        [_, _, _, _] => return Err(errors::PAUSE_MODE.into()),
        _ => return Err(errors::wrong_subcommand_arguments("client", args[1])),
    };
    let timeout_ms = args::integer_or(args[2], errors::TIMEOUT_NOT_AN_INTEGER)?;
    if timeout_ms < 0 {
        return Err(errors::TIMEOUT_NEGATIVE.into());
    }
    let until_ms = now_ms.checked_add(timeout_ms).ok_or(CommandError::from(errors::TIMEOUT_OUT_OF_RANGE))?;
    Ok((what, if timeout_ms == 0 { 0 } else { until_ms }))
}

/// The writer decides: either the client gets this end, or what it has waited for was faster.
fn unblock(waiting: &mut dyn WaitingCalls, args: &[&[u8]]) -> CommandResult {
    let with_error = match args {
        [_, _, _] => false,
        [_, _, _, reason] if is_word(reason, "timeout") => false,
        [_, _, _, reason] if is_word(reason, "error") => true,
        [_, _, _, _] => return Err(errors::UNBLOCK_REASON.into()),
        _ => return Err(errors::wrong_subcommand_arguments("client", args[1])),
    };
    let number = args::integer(args[2])?;
    let is_ended = u64::try_from(number).is_ok_and(|number| waiting.end(number, with_error));
    Ok(Reply::Integer(i64::from(is_ended)))
}

fn unpause(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    call.worker.shared.runtime.unpause();
    questions::tell(call.worker, &Notice::Unpaused, call.effects);
    Outcome::Reply(Reply::Ok)
}

fn monitor(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    if call.is_executing {
        return Outcome::error(errors::MONITOR_IN_EXEC);
    }
    if call.session.client.is_monitor.get() {
        return Outcome::Silent;
    }
    monitors::begin(call.worker, &call.session.client);
    Outcome::Reply(Reply::Ok)
}

fn client_help(_args: &[&[u8]]) -> CommandResult {
    Ok(help::reply("CLIENT", HELP))
}

/// Without the subcommands that do not exist here.
const HELP: &[&str] = &[
    "CACHING (YES|NO)",
    "    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
    "GETREDIR",
    "    Return the client ID we are redirecting to when tracking is enabled.",
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <ip:port>",
    "    Kill connection made from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Kill connections. Options are:",
    "    * ADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made from the specified address",
    "    * LADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made to specified local address",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Kill connections by type.",
    "    * USER <username>",
    "      Kill connections authenticated by <username>.",
    "    * SKIPME (YES|NO)",
    "      Skip killing current connection (default: yes).",
    "LIST [options ...]",
    "    Return information about client connections. Options:",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Return clients of specified type.",
    "UNPAUSE",
    "    Stop the current client pause, resuming traffic.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Suspend all, or just write, clients for <timeout> milliseconds.",
    "REPLY (ON|OFF|SKIP)",
    "    Control the replies sent to the current connection.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "SETINFO <option> <value>",
    "    Set client meta attr. Options are:",
    "    * LIB-NAME: the client lib name.",
    "    * LIB-VER: the client lib version.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    Unblock the specified blocked client.",
    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
    "         [OPTIN] [OPTOUT] [NOLOOP]",
    "    Control server assisted client side caching.",
    "TRACKINGINFO",
    "    Report tracking status for the current connection.",
    "NO-EVICT (ON|OFF)",
    "    Protect current client connection from eviction.",
    "NO-TOUCH (ON|OFF)",
    "    Will not touch LRU/LFU stats when this mode is on.",
];
