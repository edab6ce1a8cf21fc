//! Rows that only the tests of this layer have: kinds of handlers that no command has yet.

use crate::kv::call::Waited;
use crate::kv::commands::table::{Command, Flags, Group, Handler, KeyFlags, Keys, Nil, Wait};
use crate::kv::table::wait;
use crate::resp::Reply;
use crate::storage::Kind;

pub const ROWS: &[Command] = &[Command {
    name: "testwait",
    arity: 3,
    flags: Flags::WRITE.or(Flags::NOSCRIPT).or(Flags::BLOCKING),
    keys: Keys::Specs(&[KeyFlags::RW_ACCESS_DELETE.at(1)]),
    group: Group::List,
    since: "99.0.0",
    summary: "Takes a key's string, or waits for one.",
    syntax: "key timeout",
    handler: Handler::Wait(Wait {
        run: |call| {
            wait::seconds(call.args[2], call.now_ms)?;
            let Some(value) = super::lookup::whole(call, call.args[1])? else { return Ok(Waited::Parked) };
            super::lookup::delete(call, call.args[1])?;
            Ok(Waited::Answered(Reply::Bulk(value)))
        },
        kind: Kind::String,
        keys: |_| 1..2,
        timeout: |args, now_ms| wait::seconds(args[2], now_ms),
        may: |_| true,
        in_scripts: |_| Ok(()),
        read: None,
        ends_without_key: false,
        nil: Nil::Null,
    }),
    ..Command::ROW
}];
