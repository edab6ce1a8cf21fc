//! What ACL tells: of users, categories, and what was refused.

use crate::kv::commands::permissions::vocabulary;
use crate::kv::commands::table::{self, Category};
use crate::kv::commands::{args, help};
use crate::kv::errors::{self, CommandResult};
use crate::kv::sessions::acl_log::{self, Entry};
use crate::kv::sessions::questions::{self, Question};
use crate::kv::sessions::session::{Outcome, SessionCall};
use crate::kv::shared::runtime::Knob;
use crate::kv::users::Selector;
use crate::resp::reply::Reply;

fn bulk(text: impl AsRef<[u8]>) -> Reply {
    Reply::Bulk(text.as_ref().to_vec())
}

pub(super) fn cat(args: &[&[u8]]) -> CommandResult {
    match args {
        [_, _] => Ok(Reply::Array(Category::ALL.iter().map(|category| bulk(category.name())).collect())),
        [_, _, name] => {
            let category = vocabulary().category(name).ok_or_else(|| errors::unknown_category(name))?;
            let words = vocabulary().of_category(category);
            Ok(Reply::Array(words.map(|word| bulk(vocabulary().word(word).name)).collect()))
        }
        _ => Err(errors::wrong_subcommand_arguments("acl", args[1])),
    }
}

/// Whether the user could run the call: OK, or why not, as a text.
pub(super) fn dryrun(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    let (name, tried) = (args[2], &args[3..]);
    let Some(user) = call.worker.users.users().named(name) else {
        return Outcome::error(errors::user_not_found(name));
    };
    let Some(command) = table::lookup_row(tried) else { return Outcome::error(errors::command_not_found(tried[0])) };
    if !command.fits_arity(tried.len()) {
        return Outcome::error(errors::wrong_arity(command.name));
    }
    match user.check(command, tried) {
        Ok(()) => Outcome::Reply(Reply::Ok),
        Err(denied) => Outcome::Reply(Reply::Bulk(denied.verdict(&user.name, command.name, tried))),
    }
}

pub(super) fn getuser(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    let Some(user) = call.worker.users.users().named(args[2]) else { return Outcome::Reply(Reply::Null) };
    let passwords = user.passwords().iter().map(|password| bulk(password.hex()));
    let mut fields = vec![
        (bulk("flags"), Reply::Set(user.flags().map(bulk).collect())),
        (bulk("passwords"), Reply::Array(passwords.collect())),
    ];
    fields.extend(shown(&user.selectors()[0]));
    let selectors = user.selectors()[1..].iter().map(|selector| Reply::Map(shown(selector).into()));
    fields.push((bulk("selectors"), Reply::Array(selectors.collect())));
    Outcome::Reply(Reply::Map(fields))
}

fn shown(selector: &Selector) -> [(Reply, Reply); 3] {
    [
        (bulk("commands"), Reply::Bulk(selector.describe_commands())),
        (bulk("keys"), Reply::Bulk(selector.describe_keys())),
        (bulk("channels"), Reply::Bulk(selector.describe_channels())),
    ]
}

pub(super) fn list(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    let lines =
        call.worker.users.users().all().map(|known| [b"user ", &known.user.name[..], b" ", &known.rules].concat());
    Outcome::Reply(Reply::Array(lines.map(Reply::Bulk).collect()))
}

pub(super) fn users(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    Outcome::Reply(Reply::Array(call.worker.users.users().all().map(|known| bulk(&known.user.name)).collect()))
}

pub(super) fn whoami(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    Outcome::Reply(bulk(&call.session.client.user.borrow().name))
}

/// Entries that are shown when no count is given.
const SHOWN: i64 = 10;

pub(super) fn log(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    let count = match args {
        [_, _] => SHOWN,
        [_, _, reset] if args::is_word(reset, "reset") => {
            return questions::ask(call, &Question::AclLogReset, |_, _| Outcome::Reply(Reply::Ok));
        }
        [_, _, count] => match args::integer(count) {
            Ok(count) => count,
            Err(error) => return Outcome::error(error),
        },
        _ => return Outcome::error(errors::wrong_subcommand_arguments("acl", args[1])),
    };
    // Each worker keeps so many of its own; together they show no more.
    let kept = usize::try_from(call.worker.shared.runtime.read(Knob::AclLogEntriesMax)).unwrap_or(usize::MAX);
    let count = usize::try_from(count).unwrap_or(0).min(kept);
    questions::ask(call, &Question::AclLog, move |call, answers| {
        let now_ms = call.worker.shared.clock.now_ms();
        let entries = acl_log::gather(&answers).into_iter().take(count);
        Outcome::Reply(Reply::Array(entries.map(|entry| entry_shown(entry, now_ms)).collect()))
    })
}

fn entry_shown(entry: Entry, now_ms: i64) -> Reply {
    let Entry { number, count, denial, created_ms, updated_ms, client } = entry;
    Reply::Map(vec![
        (bulk("count"), Reply::Integer(count.cast_signed())),
        (bulk("reason"), bulk(denial.what.name())),
        (bulk("context"), bulk(denial.context.name())),
        (bulk("object"), Reply::Bulk(denial.object)),
        (bulk("username"), Reply::Bulk(denial.user)),
        (bulk("age-seconds"), Reply::Double((now_ms - updated_ms) as f64 / 1000.0)),
        (bulk("client-info"), Reply::Bulk(client)),
        (bulk("entry-id"), Reply::Integer(number.cast_signed())),
        (bulk("timestamp-created"), Reply::Integer(created_ms)),
        (bulk("timestamp-last-updated"), Reply::Integer(updated_ms)),
    ])
}

pub(super) fn help(_args: &[&[u8]]) -> CommandResult {
    Ok(help::reply("ACL", HELP))
}

const HELP: &[&str] = &[
    "CAT [<category>]",
    "    List all commands that belong to <category>, or all command categories",
    "    when no category is specified.",
    "DELUSER <username> [<username> ...]",
    "    Delete a list of users.",
    "DRYRUN <username> <command> [<arg> ...]",
    "    Returns whether the user can execute the given command without executing the command.",
    "GETUSER <username>",
    "    Get the user's details.",
    "GENPASS [<bits>]",
    "    Generate a secure 256-bit user password. The optional `bits` argument can",
    "    be used to specify a different size.",
    "LIST",
    "    Show users details in config file format.",
    "LOAD",
    "    Reload users from the ACL file.",
    "LOG [<count> | RESET]",
    "    Show the ACL log entries.",
    "SAVE",
    "    Save the current config to the ACL file.",
    "SETUSER <username> <attribute> [<attribute> ...]",
    "    Create or modify a user with the specified attributes.",
    "USERS",
    "    List all the registered usernames.",
    "WHOAMI",
    "    Return the current connection username.",
];
