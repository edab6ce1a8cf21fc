//! What Redis does to files: SAVE, BGSAVE, LASTSAVE, WAIT, WAITAOF, SHUTDOWN. Every acknowledged write is in the `-wal` already;
//! a save is a checkpoint, which moves all of it into the data file.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::kv::commands::args::{self, is_word};
use crate::kv::commands::info_sections;
use crate::kv::commands::table::{Command, Flags, Group, Handler};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::sessions::session::{Outcome, Polled, SessionCall, Wait};
use crate::kv::shared::hand_offs::HandOff;
use crate::resp::reply::Reply;
use crate::server::Global;
use crate::storage::Durability;
use crate::sys::clock;

pub const COMMANDS: &[Command] = &[
    Command {
        name: "save",
        arity: 1,
        flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::NO_ASYNC_LOADING).or(Flags::NO_MULTI),
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(N) where N is the total number of keys in all databases",
        summary: "Synchronously saves the database(s) to disk.",
        handler: Handler::Session(save),
        ..Command::ROW
    },
    Command {
        name: "bgsave",
        arity: -1,
        flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::NO_ASYNC_LOADING),
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Asynchronously saves the database(s) to disk.",
        syntax: "[SCHEDULE]",
        handler: Handler::Session(bgsave),
        history: &[("3.2.2", "Added the `SCHEDULE` option.")],
        ..Command::ROW
    },
    Command {
        name: "lastsave",
        arity: 1,
        flags: Flags::LOADING.or(Flags::STALE).or(Flags::FAST).or(Flags::ACL_ADMIN).or(Flags::ACL_DANGEROUS),
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the Unix timestamp of the last successful save to disk.",
        handler: Handler::Session(lastsave),
        tips: &["nondeterministic_output"],
        ..Command::ROW
    },
    Command {
        name: "wait",
        arity: 3,
        flags: Flags::ACL_CONNECTION.or(Flags::ACL_NOT_GROUP),
        group: Group::Generic,
        since: "3.0.0",
        complexity: "O(1)",
        summary: "Blocks until the asynchronous replication of all preceding write commands sent by the connection \
            is completed.",
        syntax: "numreplicas timeout",
        handler: Handler::Session(wait),
        scripted: Some(|_, args| replicas(args)),
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        ..Command::ROW
    },
    Command {
        name: "waitaof",
        arity: 4,
        flags: Flags::NOSCRIPT.or(Flags::BLOCKING).or(Flags::ACL_CONNECTION).or(Flags::ACL_NOT_GROUP),
        group: Group::Generic,
        since: "7.2.0",
        complexity: "O(1)",
        summary: "Blocks until all of the preceding write commands sent by the connection are written to the \
            append-only file of the primary and/or replicas.",
        syntax: "numlocal numreplicas timeout",
        handler: Handler::Session(waitaof),
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        ..Command::ROW
    },
    Command {
        name: "shutdown",
        arity: -1,
        flags: Flags::ADMIN
            .or(Flags::NOSCRIPT)
            .or(Flags::LOADING)
            .or(Flags::STALE)
            .or(Flags::NO_MULTI)
            .or(Flags::ALLOW_BUSY),
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(N) when saving, where N is the total number of keys in all databases when saving data, \
            otherwise O(1)",
        summary: "Synchronously saves the database(s) to disk and shuts down the server.",
        syntax: "[[NOSAVE | SAVE] [NOW] [FORCE] | ABORT]",
        handler: Handler::Session(shutdown),
        history: &[("7.0.0", "Added the `NOW`, `FORCE` and `ABORT` modifiers.")],
        ..Command::ROW
    },
];

/// How often a wait looks whether another process has done its part.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A checkpoint that takes longer has something in its way.
const SAVE_WITHIN: Duration = Duration::from_secs(60);
/// The supervisor takes part in a shutdown within milliseconds.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(5);

/// Answers once the writer has moved everything that was written before into the data file.
fn save(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    let number = ask_for_checkpoint(call);
    let deadline = clock::monotonic() + SAVE_WITHIN;
    wait_for(Some(deadline), move |call, is_over| {
        if call.worker.shared.hand_offs.read(HandOff::CheckpointsDone) >= number {
            return Some(Outcome::Reply(Reply::Ok));
        }
        is_over.then(|| Outcome::error(errors::SAVE_FAILED))
    })
}

fn bgsave(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    let is_scheduled = match args {
        [_] => false,
        [_, option] if is_word(option, "schedule") => true,
        _ => return Outcome::error(errors::SYNTAX),
    };
    let hand_offs = &call.worker.shared.hand_offs;
    let is_running = hand_offs.read(HandOff::CheckpointsAsked) > hand_offs.read(HandOff::CheckpointsDone);
    if is_running && !is_scheduled {
        return Outcome::error(errors::SAVE_IN_PROGRESS);
    }
    ask_for_checkpoint(call);
    let text =
        if is_running || call.is_executing { "Background saving scheduled" } else { "Background saving started" };
    Outcome::Reply(Reply::Simple(text.into()))
}

/// The number of the checkpoint that includes everything up to now.
fn ask_for_checkpoint(call: &SessionCall<'_>) -> u64 {
    call.worker.shared.hand_offs.next(HandOff::CheckpointsAsked) + 1
}

fn lastsave(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    Outcome::Reply(Reply::Integer(info_sections::last_checkpoint_seconds(call.worker).cast_signed()))
}

/// There are no replicas, and there will be none while it waits: the answer is 0 at once.
fn wait(_call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    replicas(args).map_or_else(Outcome::error, Outcome::Reply)
}

fn replicas(args: &[&[u8]]) -> CommandResult {
    args::integer(args[1]).and_then(|_| timeout_ms(args[2])).map(|_| Reply::Integer(0))
}

/// Whether what was acknowledged so far is on the disk: at once with `always`, after the next sync with `everysec`.
fn waitaof(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    let (wants_local, timeout_ms) = match waitaof_arguments(args) {
        Ok(arguments) => arguments,
        Err(error) => return Outcome::error(error),
    };
    let synced =
        |is_synced: bool| Outcome::Reply(Reply::Array(vec![Reply::Integer(i64::from(is_synced)), Reply::Integer(0)]));
    match call.worker.shared.settings.storage.durability {
        Durability::Always => synced(true),
        Durability::Os if wants_local => Outcome::error(errors::WAITAOF_WITHOUT_SYNCS),
        Durability::Os => synced(false),
        Durability::EverySec if !wants_local || call.is_executing => synced(false),
        Durability::EverySec => {
            // What is acknowledged was committed before this moment. Begun in the same millisecond may be too early.
            let now_ms = clock::uptime_ms();
            let deadline = (timeout_ms > 0).then(|| clock::monotonic() + Duration::from_millis(timeout_ms));
            wait_for(deadline, move |call, is_over| {
                let is_synced = call.worker.shared.hand_offs.read(HandOff::SyncedUntilMs) > now_ms;
                (is_synced || is_over).then(|| synced(is_synced))
            })
        }
    }
}

/// (the local disk counts, how long to wait)
fn waitaof_arguments(args: &[&[u8]]) -> Result<(bool, u64), CommandError> {
    let local = args::integer(args[1])?;
    if !(0..=1).contains(&local) {
        return Err(errors::NOT_0_OR_1.into());
    }
    args::natural_or(args[2], errors::NOT_POSITIVE)?;
    Ok((local == 1, timeout_ms(args[3])?))
}

fn timeout_ms(arg: &[u8]) -> Result<u64, CommandError> {
    let timeout_ms = args::integer_or(arg, errors::TIMEOUT_NOT_AN_INTEGER)?;
    u64::try_from(timeout_ms).map_err(|_| errors::TIMEOUT_NEGATIVE.into())
}

/// An orderly end of all processes. Nothing is lost without SAVE, and NOW and FORCE have nothing to skip.
fn shutdown(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    let has = |word| args[1..].iter().any(|arg| is_word(arg, word));
    let is_known = |arg: &&[u8]| ["save", "nosave", "now", "force", "abort"].iter().any(|word| is_word(arg, word));
    let is_abort = has("abort");
    let is_contradiction =
        has("save") && has("nosave") || is_abort && args[1..].iter().any(|arg| !is_word(arg, "abort"));
    if !args[1..].iter().all(is_known) || is_contradiction {
        return Outcome::error(errors::SYNTAX);
    }
    if is_abort {
        return Outcome::error(if is_draining(call) { errors::SHUTDOWN_GOES_ON } else { errors::NO_SHUTDOWN });
    }
    tracing::info!(client = call.session.client.number, "a client ends the service");
    call.effects.drain();
    // The end of the service closes the connection; whatever else was sent on it does not run any more.
    wait_for(Some(clock::monotonic() + SHUTDOWN_WITHIN), |call, is_over| {
        (is_over && !is_draining(call)).then(|| Outcome::error(errors::SHUTDOWN_FAILED))
    })
}

fn is_draining(call: &SessionCall<'_>) -> bool {
    call.worker.context.scoreboard.global(Global::Draining).load(Ordering::Relaxed) != 0
}

/// Looks again and again, the last time at the deadline (`None`: never the last time), until there is an outcome.
fn wait_for(
    deadline: Option<Instant>,
    mut look: impl FnMut(&mut SessionCall<'_>, bool) -> Option<Outcome> + 'static,
) -> Outcome {
    let poll = move |call: &mut SessionCall<'_>| {
        let now = clock::monotonic();
        match look(call, deadline.is_some_and(|deadline| now >= deadline)) {
            Some(outcome) => Polled::Ready(outcome),
            None => Polled::Pending(Some(now + LOOK_EVERY)),
        }
    };
    Outcome::Wait(Wait { until: Some(clock::monotonic()), is_blocking: true, poll: Box::new(poll) })
}
