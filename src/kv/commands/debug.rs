//! DEBUG: for tests, there only when the operator allows it.

use std::time::Duration;

use crate::kv::call::{ReadCall, ReadResult};
use crate::kv::commands::args::is_word;
use crate::kv::commands::help;
use crate::kv::commands::memory;
use crate::kv::commands::table::{self, Command, Flags, Group, Handler, KeyFlags, Keys};
use crate::kv::errors;
use crate::kv::jobs::job::{Calls, Job, Kind, Unit};
use crate::kv::jobs::{READ, WRITE};
use crate::kv::sessions::session::{Awaits, Outcome, Polled, Running, SessionCall, Wait};
use crate::kv::shared::faults::point_named;
use crate::kv::shared::hand_offs::HandOff;
use crate::kv::shared::runtime::Knob;
use crate::kv::users::Rights;
use crate::resp::reply::Reply;
use crate::server::LaneId;
use crate::storage::{Kind as ValueKind, Lookup};
use crate::sys::clock;

/// The parts of DEBUG that run on a lane. Nobody can call them by name.
pub const PARTS: &[Command] = &[
    Command {
        name: "debug object",
        arity: 3,
        flags: Flags::READONLY,
        keys: Keys::Specs(&[KeyFlags::RO.at(2)]),
        group: Group::Server,
        handler: Handler::Read(object),
        ..Command::ROW
    },
    Command {
        name: "debug panic read",
        arity: 3,
        flags: Flags::READONLY,
        group: Group::Server,
        handler: Handler::Read(|_| panic!("{PANIC_TEXT}")),
        ..Command::ROW
    },
    Command {
        name: "debug panic write",
        arity: 3,
        flags: Flags::WRITE,
        group: Group::Server,
        handler: Handler::Write(|_| panic!("{PANIC_TEXT}")),
        ..Command::ROW
    },
];
const PANIC_TEXT: &str = "a client asked for this panic";

pub const COMMANDS: &[Command] = &[Command {
    name: "debug",
    arity: -2,
    // Its subcommands are no rows: in Redis they are not either.
    flags: Flags::DEBUGS.or(Flags::ADMIN).or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE),
    group: Group::Server,
    since: "1.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for debugging commands.",
    handler: Handler::Session(debug),
    ..Command::ROW
}];

/// Longer sleeps would outlive every test.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

fn debug(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    let is = |word: &str, count: usize| args.len() == count && is_word(args[1], word);
    if is("help", 2) {
        return Outcome::Reply(help::reply("DEBUG", HELP));
    }
    if is("sleep", 3) {
        return sleep(args[2]);
    }
    if is("sleep-loop", 3) {
        clock::pause(duration(args[2]));
        return Outcome::Reply(Reply::Ok);
    }
    if is("set-active-expire", 3) {
        call.worker.shared.runtime.set(Knob::ActiveExpire, u64::from(atoi(args[2]) != 0));
        return Outcome::Reply(Reply::Ok);
    }
    if is("kill-writer", 3)
        && let Some(point) = point_named(|name| is_word(args[2], name))
    {
        call.worker.shared.hand_offs.set(HandOff::KillAt, point);
        return Outcome::Reply(Reply::Ok);
    }
    if is("object", 3) {
        return on_lane(call, READ, "debug object", args);
    }
    if is("panic", 3) && is_word(args[2], "read") {
        return on_lane(call, READ, "debug panic read", args);
    }
    if is("panic", 3) && is_word(args[2], "write") {
        return on_lane(call, WRITE, "debug panic write", args);
    }
    Outcome::error(errors::wrong_subcommand_arguments("DEBUG", args[1]))
}

/// In Redis the whole server sleeps; here the connection that asked for it does.
fn sleep(seconds: &[u8]) -> Outcome {
    let until = clock::monotonic() + duration(seconds);
    let poll = move |_: &mut SessionCall<'_>| match clock::monotonic() >= until {
        true => Polled::Ready(Outcome::Reply(Reply::Ok)),
        false => Polled::Pending(Some(until)),
    };
    Outcome::Wait(Wait { until: Some(until), is_blocking: true, poll: Box::new(poll) })
}

/// What is no number is 0, as for `strtod`.
fn duration(seconds: &[u8]) -> Duration {
    let seconds = std::str::from_utf8(seconds).ok().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(SLEEP_MAX).min(SLEEP_MAX)
}

fn atoi(arg: &[u8]) -> i64 {
    std::str::from_utf8(arg).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn on_lane(call: &SessionCall<'_>, lane: LaneId, part: &str, args: &[&[u8]]) -> Outcome {
    if call.is_executing {
        // An EXEC has sent its lane's calls already.
        return Outcome::error(errors::NOT_IN_MULTI);
    }
    let mut calls = Calls::default();
    let row = table::number(table::part(part));
    calls.push(row, call.session.admits(Unit::Alone), args);
    Outcome::Submit(
        lane,
        Job::new(Kind::Run, call.session.version, calls),
        Awaits::Run(Running::on(lane, Rights::default())),
    )
}

fn object(call: &mut ReadCall<'_>) -> ReadResult {
    let Some(entry) = call.keyspace.entry(call.args[2])? else { return Err(errors::NO_SUCH_KEY.into()) };
    let (keyspace, key) = (call.keyspace, call.args[2]);
    let elements = keyspace.collection(key)?;
    let encoding = match entry.kind {
        ValueKind::String => "raw",
        ValueKind::List => match keyspace.list(key)? {
            Lookup::Found(list) => list.encoding().name(),
            Lookup::Absent | Lookup::OtherKind(_) => "quicklist",
        },
        ValueKind::Stream => "stream",
        ValueKind::Set | ValueKind::Hash | ValueKind::SortedSet => {
            elements.as_ref().map_or("hashtable", |elements| elements.encoding().name())
        }
    };
    let length = memory::value_bytes(keyspace, key, &entry, memory::SAMPLES)?;
    let text =
        format!("Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{length} lru:0 lru_seconds_idle:0");
    Ok(call.reply.simple(&text)?)
}

const HELP: &[&str] = &[
    "KILL-WRITER <before-commit|after-commit|before-unmark|amid-replies|...>",
    "    Kill the writer process the next time that it is there. The other points: storage/points.rs.",
    "OBJECT <key>",
    "    Show low level info about `key` and associated value.",
    "PANIC <READ|WRITE>",
    "    Let a handler panic on a reader thread, or in the writer.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Setting it to 0 disables expiring keys in background when they are not",
    "    accessed (otherwise the Redis behavior). Setting it to 1 reenables back the",
    "    default.",
    "SLEEP <seconds>",
    "    Let this connection wait for <seconds>. Decimals allowed.",
    "SLEEP-LOOP <seconds>",
    "    Stop the event loop of this connection's worker for <seconds>.",
];
