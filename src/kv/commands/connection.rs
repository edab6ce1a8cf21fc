//! How a client introduces itself and leaves: AUTH, HELLO, RESET, QUIT; and the small talk: PING, ECHO, SELECT.

use crate::kv::commands::args;
use crate::kv::commands::client::client_name;
use crate::kv::commands::table::{Command, Deprecated, Flags, Group, Handler};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::sessions::acting;
use crate::kv::sessions::login::log_in;
use crate::kv::sessions::monitors;
use crate::kv::sessions::publishing;
use crate::kv::sessions::session::{Outcome, SessionCall};
use crate::kv::sessions::tracking;
use crate::kv::shared::program::REDIS_VERSION;
use crate::kv::users::DEFAULT_NAME;
use crate::resp::reply::{Reply, Version};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "auth",
        arity: -2,
        flags: Flags::NOSCRIPT
            .or(Flags::LOADING)
            .or(Flags::STALE)
            .or(Flags::FAST)
            .or(Flags::NO_AUTH)
            .or(Flags::ALLOW_BUSY),
        group: Group::Connection,
        since: "1.0.0",
        complexity: "O(N) where N is the number of passwords defined for the user",
        summary: "Authenticates the connection.",
        syntax: "[username] password",
        handler: Handler::Session(auth),
        history: &[("6.0.0", "Added ACL style (username and password).")],
        ..Command::ROW
    },
    Command {
        name: "echo",
        arity: 2,
        flags: Flags::LOADING.or(Flags::STALE).or(Flags::FAST).or(Flags::INERT),
        group: Group::Connection,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the given string.",
        syntax: "message",
        handler: Handler::Pure(echo),
        ..Command::ROW
    },
    Command {
        name: "hello",
        arity: -1,
        flags: Flags::SETS_VERSION
            .or(Flags::NOSCRIPT)
            .or(Flags::LOADING)
            .or(Flags::STALE)
            .or(Flags::FAST)
            .or(Flags::NO_AUTH)
            .or(Flags::ALLOW_BUSY),
        group: Group::Connection,
        since: "6.0.0",
        complexity: "O(1)",
        summary: "Handshakes with the server.",
        syntax: "[protover [AUTH username password] [SETNAME clientname]]",
        handler: Handler::Session(hello),
        history: &[(
            "6.2.0",
            "`protover` made optional; when called without arguments the command reports the current connection's context.",
        )],
        ..Command::ROW
    },
    Command {
        name: "ping",
        arity: -1,
        flags: Flags::FAST.or(Flags::INERT).or(Flags::WHILE_SUBSCRIBED),
        group: Group::Connection,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the server's liveliness response.",
        syntax: "[message]",
        handler: Handler::Session(ping),
        scripted: Some(|_, args| Ok(pong(args)?.unwrap_or(Reply::Simple("PONG".into())))),
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        ..Command::ROW
    },
    Command {
        name: "quit",
        arity: -1,
        flags: Flags::NOT_QUEUED
            .or(Flags::WHILE_SUBSCRIBED)
            .or(Flags::NOSCRIPT)
            .or(Flags::LOADING)
            .or(Flags::STALE)
            .or(Flags::FAST)
            .or(Flags::NO_AUTH)
            .or(Flags::ALLOW_BUSY),
        group: Group::Connection,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Closes the connection.",
        handler: Handler::Session(quit),
        deprecated: Some(Deprecated { since: "7.2.0", replaced_by: "just closing the connection" }),
        ..Command::ROW
    },
    Command {
        name: "reset",
        arity: 1,
        flags: Flags::NOT_QUEUED
            .or(Flags::WHILE_SUBSCRIBED)
            .or(Flags::NOSCRIPT)
            .or(Flags::LOADING)
            .or(Flags::STALE)
            .or(Flags::FAST)
            .or(Flags::NO_AUTH)
            .or(Flags::ALLOW_BUSY),
        group: Group::Connection,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Resets the connection.",
        handler: Handler::Session(reset),
        ..Command::ROW
    },
    Command {
        name: "select",
        arity: 2,
        flags: Flags::SELECTS.or(Flags::LOADING).or(Flags::STALE).or(Flags::FAST).or(Flags::INERT),
        group: Group::Connection,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Changes the selected database.",
        syntax: "index",
        handler: Handler::Session(select),
        scripted: Some(|session, args| {
            session.select(args::database(args[1])?);
            Ok(Reply::Ok)
        }),
        ..Command::ROW
    },
];

fn auth(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    let is_open = || acting::default_user(call.worker).is_open;
    let (user, password) = match args {
        [_, _] if is_open() => return Outcome::error(errors::NO_PASSWORD_SET),
        [_, password] => (DEFAULT_NAME, *password),
        [_, user, password] => (*user, *password),
        _ => return Outcome::error(errors::SYNTAX),
    };
    match log_in(call.session, call.worker, args, user, password) {
        Ok(()) => Outcome::Reply(Reply::Ok),
        Err(refusal) => *refusal,
    }
}

fn echo(args: &[&[u8]]) -> CommandResult {
    Ok(Reply::Bulk(args[1].to_vec()))
}

fn ping(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    let message = match pong(args) {
        Ok(message) => message,
        Err(error) => return Outcome::Reply(error.into_reply()),
    };
    // A subscriber's answer looks like a message.
    if call.session.client.only_listens() {
        let message = message.unwrap_or_else(|| Reply::Bulk(Vec::new()));
        return Outcome::Reply(Reply::Array(vec![Reply::Bulk(b"pong".to_vec()), message]));
    }
    Outcome::Reply(message.unwrap_or(Reply::Simple("PONG".into())))
}

/// What it is to be answered with, if it says so.
fn pong(args: &[&[u8]]) -> Result<Option<Reply>, CommandError> {
    match args {
        [_] => Ok(None),
        [_, message] => Ok(Some(Reply::Bulk(message.to_vec()))),
        _ => Err(errors::wrong_arity("ping")),
    }
}

fn quit(_call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    Outcome::Close(Reply::Ok)
}

fn reset(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    monitors::end(call.worker, &call.session.client);
    publishing::unsubscribe_from_all(call.worker, &call.session.client);
    tracking::end(call.worker, &std::rc::Rc::clone(&call.session.client));
    call.session.reset(!call.worker.users.needs_login());
    call.session.client.act_as(&acting::default_user(call.worker), call.worker.users.version());
    Outcome::Reply(Reply::Simple("RESET".into()))
}

fn select(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    match args::database(args[1]) {
        Ok(database) => {
            call.session.client.database.set(database);
            Outcome::Reply(Reply::Ok)
        }
        Err(error) => Outcome::Reply(error.into_reply()),
    }
}

/// What HELLO asks for.
#[derive(Default)]
struct Hello<'a> {
    version: Option<Version>,
    /// User and password.
    login: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

impl<'a> Hello<'a> {
    fn parse(args: &[&'a [u8]]) -> Result<Hello<'a>, CommandError> {
        let mut hello = Hello::default();
        let [_, version, options @ ..] = args else { return Ok(hello) };
        hello.version = match args::integer_or(version, errors::PROTOCOL_VERSION)? {
            2 => Some(Version::Resp2),
            3 => Some(Version::Resp3),
            _ => return Err(errors::NO_PROTOCOL.into()),
        };
        let mut rest = options;
        while let [option, values @ ..] = rest {
            rest = match values {
                [user, password, rest @ ..] if args::is_word(option, "auth") => {
                    hello.login = Some((user, password));
                    rest
                }
                [name, rest @ ..] if args::is_word(option, "setname") => {
                    hello.name = Some(client_name(name)?);
                    rest
                }
                _ => return Err(errors::hello_option(option)),
            };
        }
        Ok(hello)
    }
}

fn hello(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    match greet(call, args) {
        Ok(()) => Outcome::Reply(greeting(call)),
        Err(refusal) => *refusal,
    }
}

/// The error is what comes of the command.
fn greet(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Result<(), Box<Outcome>> {
    let hello = Hello::parse(args).map_err(|error| Box::new(Outcome::Reply(error.into_reply())))?;
    if let Some((user, password)) = hello.login {
        log_in(call.session, call.worker, args, user, password)?;
    }
    if !call.session.is_authenticated && call.worker.users.needs_login() {
        return Err(Box::new(Outcome::error(errors::HELLO_WITHOUT_LOGIN)));
    }
    if let Some(name) = hello.name {
        call.session.client.name.replace(name.to_vec());
    }
    if let Some(version) = hello.version {
        call.session.set_version(version);
    }
    Ok(())
}

fn greeting(call: &SessionCall<'_>) -> Reply {
    let bulk = |text: &str| Reply::Bulk(text.as_bytes().to_vec());
    let version = if call.session.version == Version::Resp3 { 3 } else { 2 };
    Reply::Map(vec![
        (bulk("server"), bulk("redis")),
        (bulk("version"), bulk(REDIS_VERSION)),
        (bulk("proto"), Reply::Integer(version)),
        (bulk("id"), Reply::Integer(call.session.client.number.cast_signed())),
        (bulk("mode"), bulk("standalone")),
        (bulk("role"), bulk("master")),
        (bulk("modules"), Reply::Array(Vec::new())),
    ])
}
