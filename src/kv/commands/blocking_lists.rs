//! The list commands that may wait: BLPOP, BRPOP, BLMOVE, BRPOPLPUSH, BLMPOP. Each does what its relative does that does not wait, where a list
//! is there.

use crate::kv::call::{Waited, WriteCall};
use crate::kv::commands::args::PopFromFirst;
use crate::kv::commands::list_moves::{end_named, move_item, take_from_first};
use crate::kv::commands::lists::take;
use crate::kv::commands::table::{Command, Deprecated, Flags, Group, Handler, KeyFlags, Keys, Nil, Wait};
use crate::kv::errors::CommandError;
use crate::kv::table::wait;
use crate::resp::Reply;
use crate::storage::{End, Kind};

type WaitResult = Result<Waited, CommandError>;

pub const COMMANDS: &[Command] = &[
    Command {
        name: "blmove",
        arity: 6,
        flags: MOVES,
        keys: MOVED,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Pops an element from a list, pushes it to another list and returns it. Blocks until an element is \
            available otherwise. Deletes the list if the last element was moved.",
        syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout",
        handler: Handler::Wait(Wait {
            run: blmove,
            keys: |_| 1..2,
            timeout: |args, now_ms| wait::seconds(args[5], now_ms),
            nil: Nil::Null,
            ..WAIT
        }),
        ..ROW
    },
    Command {
        name: "blmpop",
        arity: -5,
        keys: Keys::Specs(&[KeyFlags::RW_ACCESS_DELETE.counted_at(2)]),
        since: "7.0.0",
        complexity: "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
        summary: "Pops the first element from one of multiple lists. Blocks until an element is available otherwise. \
            Deletes the list if the last element was popped.",
        syntax: "timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        handler: Handler::Wait(Wait {
            run: blmpop,
            keys: |args| 3..3 + PopFromFirst::parse(&args[2..], end_named).map_or(0, |asked| asked.keys.len()),
            timeout: |args, now_ms| wait::seconds(args[1], now_ms),
            ..WAIT
        }),
        ..ROW
    },
    Command {
        name: "blpop",
        summary: "Removes and returns the first element in a list. Blocks until an element is available otherwise. \
            Deletes the list if the last element was popped.",
        handler: Handler::Wait(Wait { run: |call| pop(call, End::Front), ..WAIT }),
        ..POP
    },
    Command {
        name: "brpop",
        summary: "Removes and returns the last element in a list. Blocks until an element is available otherwise. \
            Deletes the list if the last element was popped.",
        handler: Handler::Wait(Wait { run: |call| pop(call, End::Back), ..WAIT }),
        ..POP
    },
    Command {
        name: "brpoplpush",
        arity: 4,
        flags: MOVES,
        keys: MOVED,
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Pops an element from a list, pushes it to another list and returns it. Block until an element is \
            available otherwise. Deletes the list if the last element was popped.",
        syntax: "source destination timeout",
        handler: Handler::Wait(Wait { run: brpoplpush, keys: |_| 1..2, nil: Nil::Null, ..WAIT }),
        history: FLOAT_TIMEOUT,
        deprecated: Some(Deprecated { since: "6.2.0", replaced_by: "`BLMOVE` with the `RIGHT` and `LEFT` arguments" }),
        ..ROW
    },
];

const ROW: Command = Command { flags: Flags::WRITE.or(Flags::BLOCKING), group: Group::List, ..Command::ROW };
const MOVES: Flags = Flags::WRITE.or(Flags::DENYOOM).or(Flags::BLOCKING);
const MOVED: Keys = Keys::Specs(&[KeyFlags::RW_ACCESS_DELETE.at(1), KeyFlags::RW_INSERT.at(2)]);
const FLOAT_TIMEOUT: &[(&str, &str)] = &[("6.0.0", "`timeout` is interpreted as a double instead of an integer.")];

const POP: Command = Command {
    arity: -3,
    keys: Keys::Specs(&[KeyFlags::RW_ACCESS_DELETE.range(1, -2, 1)]),
    since: "2.0.0",
    complexity: "O(N) where N is the number of provided keys.",
    syntax: "key [key ...] timeout",
    history: FLOAT_TIMEOUT,
    ..ROW
};

/// Of a call whose last argument is the timeout, the others keys.
const WAIT: Wait = Wait {
    run: |call| pop(call, End::Front),
    kind: Kind::List,
    keys: |args| 1..args.len() - 1,
    timeout: |args, now_ms| wait::seconds(args[args.len() - 1], now_ms),
    may: |_| true,
    in_scripts: |_| Ok(()),
    read: None,
    ends_without_key: false,
    nil: Nil::NullArray,
};

fn pop(call: &mut WriteCall<'_>, end: End) -> WaitResult {
    let (timeout, keys) = call.args[1..].split_last().expect("the arity says so");
    wait::seconds(timeout, call.now_ms)?;
    for key in keys {
        if let Some(mut items) = take(call, key, end, 1)? {
            items.insert(0, Reply::Bulk(key.to_vec()));
            return Ok(Waited::Answered(Reply::Array(items)));
        }
    }
    Ok(Waited::Parked)
}

fn blmove(call: &mut WriteCall<'_>) -> WaitResult {
    let args = call.args;
    let (from, to) = (end_named(args[3])?, end_named(args[4])?);
    wait::seconds(args[5], call.now_ms)?;
    move_item(call, (args[1], from), (args[2], to)).map(Waited::from)
}

fn brpoplpush(call: &mut WriteCall<'_>) -> WaitResult {
    let args = call.args;
    wait::seconds(args[3], call.now_ms)?;
    move_item(call, (args[1], End::Back), (args[2], End::Front)).map(Waited::from)
}

fn blmpop(call: &mut WriteCall<'_>) -> WaitResult {
    let asked = PopFromFirst::parse(&call.args[2..], end_named)?;
    wait::seconds(call.args[1], call.now_ms)?;
    take_from_first(call, &asked).map(Waited::from)
}
