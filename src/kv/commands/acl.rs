//! ACL: users and what they may do. What changes them runs in the writer, which makes it durable and seen by every process before it is answered;
//! what tells of them runs on the loop.

use crate::kv::call::UserRows;
use crate::kv::commands::acl_show;
use crate::kv::commands::args;
use crate::kv::commands::permissions::vocabulary;
use crate::kv::commands::table::{Command, Flags, Group, Handler};
use crate::kv::errors::{self, CommandResult};
use crate::kv::sessions::session::{Outcome, SessionCall};
use crate::kv::users::{DEFAULT_ID, DEFAULT_NAME, User, merged_rules, random_hex, random_number};
use crate::resp::reply::Reply;

const ANYBODY: Flags = Flags::NOSCRIPT.or(Flags::LOADING).or(Flags::STALE);
const ADMIN: Flags = ANYBODY.or(Flags::ADMIN);
const TO_ALL: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];
const OF_USERS: &str = "O(N). Where N is the number of configured users.";

const ROW: Command = Command { arity: 2, group: Group::Server, since: "6.0.0", ..Command::ROW };

pub const COMMANDS: &[Command] = &[Command {
    name: "acl",
    arity: -2,
    complexity: "Depends on subcommand.",
    summary: "A container for Access List Control commands.",
    handler: Handler::Container,
    subcommands: &[
        Command {
            name: "acl|cat",
            arity: -2,
            flags: ANYBODY,
            complexity: "O(1) since the categories and commands are a fixed set.",
            summary: "Lists the ACL categories, or the commands inside a category.",
            syntax: "[category]",
            handler: Handler::Pure(acl_show::cat),
            ..ROW
        },
        Command {
            name: "acl|deluser",
            arity: -3,
            flags: ADMIN,
            complexity: "O(1) amortized time considering the typical user.",
            summary: "Deletes ACL users, and terminates their connections.",
            syntax: "username [username ...]",
            handler: Handler::Users(deluser),
            tips: TO_ALL,
            ..ROW
        },
        Command {
            name: "acl|dryrun",
            arity: -4,
            flags: ADMIN,
            since: "7.0.0",
            complexity: "O(1).",
            summary: "Simulates the execution of a command by a user, without executing the command.",
            syntax: "username command [arg [arg ...]]",
            handler: Handler::Session(acl_show::dryrun),
            ..ROW
        },
        Command {
            name: "acl|genpass",
            arity: -2,
            flags: ANYBODY,
            complexity: "O(1)",
            summary: "Generates a pseudorandom, secure password that can be used to identify ACL users.",
            syntax: "[bits]",
            handler: Handler::Session(genpass),
            ..ROW
        },
        Command {
            name: "acl|getuser",
            arity: 3,
            flags: ADMIN,
            complexity: "O(N). Where N is the number of password, command and pattern rules that the user has.",
            summary: "Lists the ACL rules of a user.",
            syntax: "username",
            handler: Handler::Session(acl_show::getuser),
            history: &[
                ("6.2.0", "Added Pub/Sub channel patterns."),
                (
                    "7.0.0",
                    "Added selectors and changed the format of key and channel patterns from a list to their rule representation.",
                ),
            ],
            ..ROW
        },
        Command {
            name: "acl|help",
            flags: Flags::LOADING.or(Flags::STALE),
            complexity: "O(1)",
            summary: "Returns helpful text about the different subcommands.",
            handler: Handler::Pure(acl_show::help),
            ..ROW
        },
        Command {
            name: "acl|list",
            flags: ADMIN,
            complexity: OF_USERS,
            summary: "Dumps the effective rules in ACL file format.",
            handler: Handler::Session(acl_show::list),
            ..ROW
        },
        Command {
            name: "acl|load",
            flags: ADMIN,
            complexity: OF_USERS,
            summary: "Reloads the rules from the configured ACL file.",
            handler: Handler::Users(load),
            ..ROW
        },
        Command {
            name: "acl|log",
            arity: -2,
            flags: ADMIN,
            complexity: "O(N) with N being the number of entries shown.",
            summary: "Lists recent security events generated due to ACL rules.",
            syntax: "[count | RESET]",
            handler: Handler::Session(acl_show::log),
            history: &[("7.2.0", "Added entry ID, timestamp created, and timestamp last updated.")],
            ..ROW
        },
        Command {
            name: "acl|save",
            flags: ADMIN,
            complexity: OF_USERS,
            summary: "Saves the effective ACL rules in the configured ACL file.",
            handler: Handler::Session(save),
            tips: TO_ALL,
            ..ROW
        },
        Command {
            name: "acl|setuser",
            arity: -3,
            flags: ADMIN,
            complexity: "O(N). Where N is the number of rules provided.",
            summary: "Creates and modifies an ACL user and its rules.",
            syntax: "username [rule [rule ...]]",
            handler: Handler::Users(setuser),
            tips: TO_ALL,
            history: &[
                ("6.2.0", "Added Pub/Sub channel patterns."),
                ("7.0.0", "Added selectors and key based permissions."),
            ],
            ..ROW
        },
        Command {
            name: "acl|users",
            flags: ADMIN,
            complexity: OF_USERS,
            summary: "Lists all ACL users.",
            handler: Handler::Session(acl_show::users),
            ..ROW
        },
        Command {
            name: "acl|whoami",
            flags: ANYBODY,
            complexity: "O(1)",
            summary: "Returns the authenticated username of the current connection.",
            handler: Handler::Session(acl_show::whoami),
            ..ROW
        },
    ],
    ..ROW
}];

/// All rules or none.
fn setuser(users: &mut dyn UserRows, args: &[&[u8]]) -> CommandResult {
    let (name, rules) = (args[2], &args[3..]);
    if !User::is_name(name) {
        return Err(errors::USER_NAME.into());
    }
    let defaults = users.defaults();
    let mut user = match users.named(name) {
        Some(user) => User::clone(&user),
        None => {
            let id = if name == DEFAULT_NAME { DEFAULT_ID } else { random_number().ok_or(errors::NO_RANDOM_BYTES)? };
            User::new(id, name, defaults)
        }
    };
    let rules = merged_rules(rules).map_err(|open| errors::open_parenthesis(rules[open]))?;
    for rule in &rules {
        user.apply(rule, defaults, vocabulary()).map_err(|error| errors::bad_rule(rule, error.text()))?;
    }
    users.put(user)?;
    Ok(Reply::Ok)
}

fn deluser(users: &mut dyn UserRows, args: &[&[u8]]) -> CommandResult {
    if args[2..].contains(&DEFAULT_NAME) {
        return Err(errors::DEFAULT_USER_STAYS.into());
    }
    let mut deleted = 0;
    for name in &args[2..] {
        deleted += i64::from(users.remove(name)?);
    }
    Ok(Reply::Integer(deleted))
}

fn load(users: &mut dyn UserRows, _args: &[&[u8]]) -> CommandResult {
    users.load()?;
    Ok(Reply::Ok)
}

/// There is nothing that it could do: a file is written by who keeps it, and rows are durable already.
fn save(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    let has_file = call.worker.shared.settings.acl_file.is_some();
    Outcome::error(if has_file { errors::USERS_ARE_A_FILE } else { errors::USERS_ARE_ROWS })
}

const GENPASS_BITS: i64 = 256;
const GENPASS_BITS_MAX: i64 = 4096;

fn genpass(_call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    let bits = match args {
        [_, _] => GENPASS_BITS,
        [_, _, bits] => match args::integer(bits) {
            Ok(bits) => bits,
            Err(error) => return Outcome::error(error),
        },
        _ => return Outcome::error(errors::wrong_subcommand_arguments("acl", args[1])),
    };
    if !(1..=GENPASS_BITS_MAX).contains(&bits) {
        return Outcome::error(errors::GENPASS_BITS);
    }
    let letters = usize::try_from(bits).unwrap_or_default().div_ceil(4);
    match random_hex(letters) {
        Some(password) => Outcome::Reply(Reply::Bulk(password.into_bytes())),
        None => Outcome::error(errors::NO_RANDOM_BYTES),
    }
}
