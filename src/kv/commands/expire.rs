//! A key's time to live: EXPIRE and its family, TTL and its family, PERSIST.

use crate::kv::call::{Class, WriteCall};
use crate::kv::commands::args;
use crate::kv::commands::lookup;
use crate::kv::commands::table::{Command, Flags, Group, Handler, KeyFlags, Keys};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::table::look::{Look, LookResult, Shape, Told};
use crate::resp::reply::Reply;
use crate::storage::Entry;

pub const COMMANDS: &[Command] = &[
    Command {
        name: "expire",
        arity: -3,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW_UPDATE.at(1)]),
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Sets the expiration time of a key in seconds.",
        syntax: "key seconds [NX | XX | GT | LT]",
        handler: Handler::Write(expire),
        history: &[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")],
        ..Command::ROW
    },
    Command {
        name: "expireat",
        arity: -3,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW_UPDATE.at(1)]),
        group: Group::Generic,
        since: "1.2.0",
        complexity: "O(1)",
        summary: "Sets the expiration time of a key to a Unix timestamp.",
        syntax: "key unix-time-seconds [NX | XX | GT | LT]",
        handler: Handler::Write(expireat),
        history: &[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")],
        ..Command::ROW
    },
    Command {
        name: "expiretime",
        arity: 2,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RO_ACCESS.at(1)]),
        group: Group::Generic,
        since: "7.0.0",
        complexity: "O(1)",
        summary: "Returns the expiration time of a key as a Unix timestamp.",
        syntax: "key",
        handler: Handler::Look(Look::at_head(Shape::One, expiretime)),
        ..Command::ROW
    },
    Command {
        name: "persist",
        arity: 2,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW_UPDATE.at(1)]),
        group: Group::Generic,
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Removes the expiration time of a key.",
        syntax: "key",
        handler: Handler::Write(persist),
        ..Command::ROW
    },
    Command {
        name: "pexpire",
        arity: -3,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW_UPDATE.at(1)]),
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Sets the expiration time of a key in milliseconds.",
        syntax: "key milliseconds [NX | XX | GT | LT]",
        handler: Handler::Write(pexpire),
        history: &[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")],
        ..Command::ROW
    },
    Command {
        name: "pexpireat",
        arity: -3,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW_UPDATE.at(1)]),
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Sets the expiration time of a key to a Unix milliseconds timestamp.",
        syntax: "key unix-time-milliseconds [NX | XX | GT | LT]",
        handler: Handler::Write(pexpireat),
        history: &[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")],
        ..Command::ROW
    },
    Command {
        name: "pexpiretime",
        arity: 2,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RO_ACCESS.at(1)]),
        group: Group::Generic,
        since: "7.0.0",
        complexity: "O(1)",
        summary: "Returns the expiration time of a key as a Unix milliseconds timestamp.",
        syntax: "key",
        handler: Handler::Look(Look::at_head(Shape::One, pexpiretime)),
        ..Command::ROW
    },
    Command {
        name: "pttl",
        arity: 2,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RO_ACCESS.at(1)]),
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Returns the expiration time in milliseconds of a key.",
        syntax: "key",
        handler: Handler::Look(Look::at_head(Shape::One, pttl)),
        tips: &["nondeterministic_output"],
        history: &[("2.8.0", "Added the -2 reply.")],
        ..Command::ROW
    },
    Command {
        name: "ttl",
        arity: 2,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RO_ACCESS.at(1)]),
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the expiration time in seconds of a key.",
        syntax: "key",
        handler: Handler::Look(Look::at_head(Shape::One, ttl)),
        tips: &["nondeterministic_output"],
        history: &[("2.8.0", "Added the -2 reply.")],
        ..Command::ROW
    },
];

fn expire(call: &mut WriteCall<'_>) -> CommandResult {
    expire_at("expire", call.now_ms, Unit::Seconds, call)
}

fn pexpire(call: &mut WriteCall<'_>) -> CommandResult {
    expire_at("pexpire", call.now_ms, Unit::Milliseconds, call)
}

fn expireat(call: &mut WriteCall<'_>) -> CommandResult {
    expire_at("expireat", 0, Unit::Seconds, call)
}

fn pexpireat(call: &mut WriteCall<'_>) -> CommandResult {
    expire_at("pexpireat", 0, Unit::Milliseconds, call)
}

fn ttl(_: &[&[u8]], key: Option<&Entry>, now_ms: i64) -> LookResult {
    expiry_of(key, |time_ms| seconds(time_left_ms(time_ms, now_ms)))
}

fn pttl(_: &[&[u8]], key: Option<&Entry>, now_ms: i64) -> LookResult {
    expiry_of(key, |time_ms| time_left_ms(time_ms, now_ms))
}

fn expiretime(_: &[&[u8]], key: Option<&Entry>, _: i64) -> LookResult {
    expiry_of(key, seconds)
}

fn pexpiretime(_: &[&[u8]], key: Option<&Entry>, _: i64) -> LookResult {
    expiry_of(key, |time_ms| time_ms)
}

fn persist(call: &mut WriteCall<'_>) -> CommandResult {
    let key = call.args[1];
    let has_expiry = call.keyspace.entry(key)?.is_some_and(|entry| entry.expires_at_ms.is_some());
    if has_expiry {
        call.keyspace.set_expiry(key, None)?;
        call.tell(Class::Generic, "persist", key);
    }
    Ok(Reply::Integer(i64::from(has_expiry)))
}

/// The unit in which a command gives its time.
#[derive(Clone, Copy)]
enum Unit {
    Seconds,
    Milliseconds,
}

/// Redis: expireGenericCommand. The options are read before the time, and both before the key.
fn expire_at(command: &str, base_ms: i64, unit: Unit, call: &mut WriteCall<'_>) -> CommandResult {
    let (args, key) = (call.args, call.args[1]);
    let condition = Condition::parse(&args[3..])?;
    let at_ms = deadline_ms(command, base_ms, unit, args::integer(args[2])?)?;
    let Some(entry) = call.keyspace.entry(key)? else { return Ok(Reply::Integer(0)) };
    if !condition.allows(entry.expires_at_ms, at_ms) {
        return Ok(Reply::Integer(0));
    }
    if at_ms <= call.now_ms {
        lookup::delete(call, key)?;
    } else {
        call.keyspace.set_expiry(key, Some(at_ms))?;
        call.tell(Class::Generic, "expire", key);
    }
    Ok(Reply::Integer(1))
}

/// The time in Unix milliseconds; refused when it does not fit 64 bits. Times in the past are allowed.
fn deadline_ms(command: &str, base_ms: i64, unit: Unit, time: i64) -> Result<i64, CommandError> {
    let time_ms = match unit {
        Unit::Seconds => time.checked_mul(1000),
        Unit::Milliseconds => Some(time),
    };
    time_ms.and_then(|time_ms| time_ms.checked_add(base_ms)).ok_or_else(|| errors::invalid_expire_time(command))
}

/// When EXPIRE may change a key's time.
#[derive(Clone, Copy, Default)]
struct Condition {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Condition {
    fn parse(options: &[&[u8]]) -> Result<Condition, CommandError> {
        let mut condition = Condition::default();
        for option in options {
            let flag = match option.to_ascii_lowercase().as_slice() {
                b"nx" => &mut condition.nx,
                b"xx" => &mut condition.xx,
                b"gt" => &mut condition.gt,
                b"lt" => &mut condition.lt,
                _ => return Err(errors::unsupported_option(option)),
            };
            *flag = true;
        }
        let Condition { nx, xx, gt, lt } = condition;
        if nx && (xx || gt || lt) {
            return Err(errors::NX_AND_OTHERS.into());
        }
        if gt && lt {
            return Err(errors::GT_AND_LT.into());
        }
        Ok(condition)
    }

    /// A key without expiry lives forever: GT never changes it, LT always does.
    fn allows(self, current_ms: Option<i64>, at_ms: i64) -> bool {
        let Condition { nx, xx, gt, lt } = self;
        match current_ms {
            None => !xx && !gt,
            Some(current_ms) => !nx && (!gt || at_ms > current_ms) && (!lt || at_ms < current_ms),
        }
    }
}

/// -2: no such key, -1: no expiry, otherwise what `value` makes of the time in Unix milliseconds.
fn expiry_of(key: Option<&Entry>, value: impl FnOnce(i64) -> i64) -> LookResult {
    Ok(Told::Integer(key.map_or(-2, |key| key.expires_at_ms.map_or(-1, value))))
}

fn time_left_ms(expires_at_ms: i64, now_ms: i64) -> i64 {
    expires_at_ms.saturating_sub(now_ms).max(0)
}

/// To the nearest second, as TTL rounds. Times are not negative here.
fn seconds(time_ms: i64) -> i64 {
    time_ms / 1000 + i64::from(time_ms % 1000 >= 500)
}
