//! PUBSUB: which channels have subscribers, and how many, over all workers. Numbers come from shared memory, names from each worker.

use crate::kv::commands::{args, help};
use crate::kv::errors::{CommandError, CommandResult};
use crate::kv::formats::glob::{PATTERN_BYTES_MAX, PatternTooLong};
use crate::kv::sessions::publishing;
use crate::kv::sessions::questions::{self, Question};
use crate::kv::sessions::session::{Outcome, SessionCall};
use crate::kv::sessions::subscriptions::ChannelKind;
use crate::kv::sessions::wire;
use crate::resp::reply::Reply;

pub(super) fn channels(call: &mut SessionCall<'_>, kind: ChannelKind, args: &[&[u8]]) -> Outcome {
    let pattern = match &args[2..] {
        [] => None,
        [pattern] if pattern.len() > PATTERN_BYTES_MAX => {
            return Outcome::Reply(CommandError::from(PatternTooLong).into_reply());
        }
        [pattern] => Some(pattern.to_vec()),
        _ => return Outcome::Reply(crate::kv::errors::wrong_subcommand_arguments("pubsub", args[1]).into_reply()),
    };
    let question = Question::Channels { is_shard: kind == ChannelKind::Shard, pattern };
    questions::ask(call, &question, |_, answers| {
        let names = answers.iter().filter_map(|answer| wire::decode::<Vec<Vec<u8>>>(answer));
        let mut names: Vec<Vec<u8>> = names.flatten().collect();
        names.sort_unstable();
        names.dedup();
        Outcome::Reply(Reply::Array(names.into_iter().map(Reply::Bulk).collect()))
    })
}

pub(super) fn numsub(call: &mut SessionCall<'_>, kind: ChannelKind, args: &[&[u8]]) -> Outcome {
    let names = &args[2..];
    if let Err(error) = args::check_names(names) {
        return Outcome::Reply(error.into_reply());
    }
    let count = |name: &[u8]| Reply::Integer(publishing::subscribers(call.worker, kind, name).cast_signed());
    Outcome::Reply(Reply::Array(names.iter().flat_map(|name| [Reply::Bulk(name.to_vec()), count(name)]).collect()))
}

pub(super) fn numpat(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    Outcome::Reply(Reply::Integer(publishing::patterns(call.worker).cast_signed()))
}

pub(super) fn help(_args: &[&[u8]]) -> CommandResult {
    Ok(help::reply("PUBSUB", HELP))
}

const HELP: &[&str] = &[
    "CHANNELS [<pattern>]",
    "    Return the currently active channels matching a <pattern> (default: '*').",
    "NUMPAT",
    "    Return number of subscriptions to patterns.",
    "NUMSUB [<channel> ...]",
    "    Return the number of subscribers for the specified channels, excluding",
    "    pattern subscriptions(default: no channels).",
    "SHARDCHANNELS [<pattern>]",
    "    Return the currently active shard level channels matching a <pattern> (default: '*').",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    Return the number of subscribers for the specified shard level channel(s)",
];
