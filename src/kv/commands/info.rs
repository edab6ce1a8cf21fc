//! INFO: which sections are asked for. What is in them is `info_sections`'s.

use crate::kv::commands::args::{self, is_word};
use crate::kv::commands::info_sections::{self, SECTIONS, Section};
use crate::kv::commands::table::{Command, Flags, Group, Handler};
use crate::kv::sessions::session::{Outcome, SessionCall};
use crate::resp::reply::Reply;

pub const COMMANDS: &[Command] = &[Command {
    name: "info",
    arity: -1,
    flags: Flags::LOADING.or(Flags::STALE).or(Flags::ACL_DANGEROUS),
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Returns information and statistics about the server.",
    syntax: "[section [section ...]]",
    handler: Handler::Session(info),
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    history: &[("7.0.0", "Added support for taking multiple section arguments.")],
    ..Command::ROW
}];

fn info(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    let asked = &args[1..];
    if let Err(error) = args::check_names(asked) {
        return Outcome::Reply(error.into_reply());
    }
    let is_asked = |section: &&Section| {
        let by = |arg: &&[u8]| {
            is_word(arg, section.name)
                || is_word(arg, "all")
                || is_word(arg, "everything")
                || section.is_default && is_word(arg, "default")
        };
        if asked.is_empty() { section.is_default } else { asked.iter().any(by) }
    };
    let text = info_sections::report(call.worker, SECTIONS.iter().filter(is_asked));
    Outcome::Reply(Reply::Verbatim { format: *b"txt", text: text.into_bytes() })
}
