//! Strings as a whole and by ranges: GET, SET and their relatives, MGET, MSET, APPEND, GETRANGE, SETRANGE, LCS.
//! The options of SET and GETEX are read in kv::commands::set_options.

use crate::kv::call::{Class, ReadCall, ReadResult, WriteCall};
use crate::kv::commands::args;
use crate::kv::commands::lookup::{self, bulk_or_null, check_length, optional};
use crate::kv::commands::set_options::{Condition, SetOptions, Time, TimeOption, parse_getex, parse_set};
use crate::kv::commands::table::{Command, Deprecated, Flags, Group, Handler, KeyFlags, KeyPosition, Keys};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::formats::bits::clamp_range;
use crate::kv::formats::lcs::{self, LcsError, Match};
use crate::kv::table::look::{self, Look, LookResult, Shape, Told};
use crate::resp::{Reply, ReplyWriter, Written};
use crate::storage::{Entry, Expiry, Kind};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "append",
        arity: 3,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW_INSERT.at(1)]),
        group: Group::String,
        since: "2.0.0",
        complexity: "O(1). The amortized time complexity is O(1) assuming the appended value is small and the already \
            present value is of any size, since the dynamic string library used by Redis will double the free space \
            available on every reallocation.",
        summary: "Appends a string to the value of a key. Creates the key if it doesn't exist.",
        syntax: "key value",
        handler: Handler::Write(append),
        ..Command::ROW
    },
    Command {
        name: "get",
        arity: 2,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RO_ACCESS.at(1)]),
        group: Group::String,
        summary: "Returns the string value of a key.",
        syntax: "key",
        handler: Handler::Look(Look::at_head(Shape::One, get)),
        ..Command::ROW
    },
    Command {
        name: "getdel",
        arity: 2,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW_ACCESS_DELETE.at(1)]),
        group: Group::String,
        since: "6.2.0",
        summary: "Returns the string value of a key after deleting the key.",
        syntax: "key",
        handler: Handler::Write(getdel),
        ..Command::ROW
    },
    Command {
        name: "getex",
        arity: -2,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW_ACCESS_UPDATE.at(1).noted("RW and UPDATE because it changes the TTL")]),
        group: Group::String,
        since: "6.2.0",
        summary: "Returns the string value of a key after setting its expiration time.",
        syntax: "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
        handler: Handler::Write(getex),
        ..Command::ROW
    },
    Command {
        name: "getrange",
        arity: 4,
        flags: Flags::READONLY,
        keys: Keys::Specs(&[KeyFlags::RO_ACCESS.at(1)]),
        group: Group::String,
        since: "2.4.0",
        complexity: GETRANGE_COMPLEXITY,
        summary: "Returns a substring of the string stored at a key.",
        syntax: "key start end",
        handler: Handler::Look(Look::at_head(Shape::One, getrange)),
        ..Command::ROW
    },
    Command {
        name: "getset",
        arity: 3,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW_ACCESS_UPDATE.at(1)]),
        group: Group::String,
        summary: "Returns the previous string value of a key after setting it to a new value.",
        syntax: "key value",
        handler: Handler::Write(getset),
        deprecated: Some(Deprecated { since: "6.2.0", replaced_by: "`SET` with the `!GET` argument" }),
        ..Command::ROW
    },
    Command {
        name: "lcs",
        arity: -3,
        flags: Flags::READONLY.or(Flags::HEAVY),
        keys: Keys::Specs(&[KeyFlags::RO_ACCESS.range(1, 1, 1)]),
        group: Group::String,
        since: "7.0.0",
        complexity: "O(N*M) where N and M are the lengths of s1 and s2, respectively",
        summary: "Finds the longest common substring.",
        syntax: "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
        handler: Handler::Read(longest_common_subsequence),
        ..Command::ROW
    },
    Command {
        name: "mget",
        arity: -2,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RO_ACCESS.range(1, -1, 1)]),
        group: Group::String,
        complexity: "O(N) where N is the number of keys to retrieve.",
        summary: "Atomically returns the string values of one or more keys.",
        syntax: "key [key ...]",
        handler: Handler::Look(Look::at_head(Shape::Array, mget)),
        tips: &["request_policy:multi_shard"],
        ..Command::ROW
    },
    Command {
        name: "mset",
        arity: -3,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: Keys::Specs(&[KeyFlags::OW_UPDATE.range(1, -1, 2)]),
        group: Group::String,
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys to set.",
        summary: "Atomically creates or modifies the string values of one or more keys.",
        syntax: "key value [key value ...]",
        handler: Handler::Write(mset),
        tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
        ..Command::ROW
    },
    Command {
        name: "msetnx",
        arity: -3,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: Keys::Specs(&[KeyFlags::OW_INSERT.range(1, -1, 2)]),
        group: Group::String,
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys to set.",
        summary: "Atomically modifies the string values of one or more keys only when all keys don't exist.",
        syntax: "key value [key value ...]",
        handler: Handler::Write(msetnx),
        tips: &["request_policy:multi_shard", "response_policy:agg_min"],
        ..Command::ROW
    },
    Command {
        name: "psetex",
        arity: 4,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: Keys::Specs(&[KeyFlags::OW_UPDATE.at(1)]),
        group: Group::String,
        since: "2.6.0",
        summary: "Sets both string value and expiration time in milliseconds of a key. The key is created if it \
            doesn't exist.",
        syntax: "key milliseconds value",
        handler: Handler::Write(psetex),
        deprecated: Some(Deprecated { since: "2.6.12", replaced_by: "`SET` with the `PX` argument" }),
        ..Command::ROW
    },
    Command {
        name: "set",
        arity: -3,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: Keys::Custom(
            &[KeyFlags::RW_ACCESS_UPDATE
                .or(KeyFlags::VARIABLE)
                .at(1)
                .noted("RW and ACCESS due to the optional `GET` argument")],
            set_keys,
        ),
        group: Group::String,
        summary: "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
        syntax: "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
            PXAT unix-time-milliseconds | KEEPTTL]",
        handler: Handler::Write(set),
        history: &[
            ("2.6.12", "Added the `EX`, `PX`, `NX` and `XX` options."),
            ("6.0.0", "Added the `KEEPTTL` option."),
            ("6.2.0", "Added the `GET`, `EXAT` and `PXAT` option."),
            ("7.0.0", "Allowed the `NX` and `GET` options to be used together."),
        ],
        ..Command::ROW
    },
    Command {
        name: "setex",
        arity: 4,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: Keys::Specs(&[KeyFlags::OW_UPDATE.at(1)]),
        group: Group::String,
        since: "2.0.0",
        summary: "Sets the string value and expiration time of a key. Creates the key if it doesn't exist.",
        syntax: "key seconds value",
        handler: Handler::Write(setex),
        deprecated: Some(Deprecated { since: "2.6.12", replaced_by: "`SET` with the `EX` argument" }),
        ..Command::ROW
    },
    Command {
        name: "setnx",
        arity: 3,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::OW_INSERT.at(1)]),
        group: Group::String,
        summary: "Set the string value of a key only when the key doesn't exist.",
        syntax: "key value",
        handler: Handler::Write(setnx),
        deprecated: Some(Deprecated { since: "2.6.12", replaced_by: "`SET` with the `NX` argument" }),
        ..Command::ROW
    },
    Command {
        name: "setrange",
        arity: 4,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: Keys::Specs(&[KeyFlags::RW_UPDATE.at(1)]),
        group: Group::String,
        since: "2.2.0",
        complexity: "O(1), not counting the time taken to copy the new string in place. Usually, this string is very \
            small so the amortized complexity is O(1). Otherwise, complexity is O(M) with M being the length of the \
            value argument.",
        summary: "Overwrites a part of a string value with another by an offset. Creates the key if it doesn't exist.",
        syntax: "key offset value",
        handler: Handler::Write(setrange),
        ..Command::ROW
    },
    Command {
        name: "strlen",
        arity: 2,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RO.at(1)]),
        group: Group::String,
        since: "2.2.0",
        summary: "Returns the length of a string value.",
        syntax: "key",
        handler: Handler::Look(Look::at_head(Shape::One, strlen)),
        ..Command::ROW
    },
    Command {
        name: "substr",
        arity: 4,
        flags: Flags::READONLY,
        keys: Keys::Specs(&[KeyFlags::RO_ACCESS.at(1)]),
        group: Group::String,
        complexity: GETRANGE_COMPLEXITY,
        summary: "Returns a substring from a string value.",
        syntax: "key start end",
        handler: Handler::Look(Look::at_head(Shape::One, getrange)),
        deprecated: Some(Deprecated { since: "2.0.0", replaced_by: "`GETRANGE`" }),
        ..Command::ROW
    },
];

const GETRANGE_COMPLEXITY: &str = "O(N) where N is the length of the returned string. The complexity is ultimately \
    determined by the returned length, but because creating a substring from an existing string is very cheap, it can \
    be considered O(1) for small strings.";

fn get(_: &[&[u8]], key: Option<&Entry>, _: i64) -> LookResult {
    Ok(look::string(key)?.map_or(Told::Null, |key| Told::Part(0..key.length)))
}

/// A key of another kind is answered as one that is not there.
fn mget(args: &[&[u8]], key: Option<&Entry>, now_ms: i64) -> LookResult {
    get(args, key.filter(|key| key.kind == Kind::String), now_ms)
}

/// What SET does with its key depends on the GET option.
fn set_keys(args: &[&[u8]]) -> Vec<KeyPosition> {
    let reads = args.iter().skip(3).any(|option| args::is_word(option, "get"));
    vec![KeyPosition { index: 1, flags: if reads { KeyFlags::RW_ACCESS_UPDATE } else { KeyFlags::OW_UPDATE } }]
}

fn set(call: &mut WriteCall<'_>) -> CommandResult {
    let args = call.args;
    let options = parse_set(&args[3..])?;
    let SetOptions { condition, returns_old, time } = options;
    let expiry = match time {
        TimeOption::None | TimeOption::Persist => Expiry::Clear,
        TimeOption::Keep => Expiry::Keep,
        TimeOption::Time(time) => Expiry::At(time.resolve("set", call.now_ms)?),
    };
    let (key, value) = (args[1], args[2]);
    let mut old = None;
    let is_present = if returns_old {
        old = lookup::whole(call, key)?;
        old.is_some()
    } else {
        condition.is_some() && call.keyspace.entry(key)?.is_some()
    };
    let is_met = match condition {
        None => true,
        Some(Condition::Absent) => !is_present,
        Some(Condition::Present) => is_present,
    };
    if is_met {
        lookup::put(call, key, value, expiry, "set")?;
        if let Expiry::At(at_ms) = expiry {
            lookup::tell_expiry(call, key, at_ms);
        }
    }
    Ok(match (returns_old, is_met) {
        (true, _) => bulk_or_null(old),
        (false, true) => Reply::Ok,
        (false, false) => Reply::Null,
    })
}

fn setnx(call: &mut WriteCall<'_>) -> CommandResult {
    let (key, value) = (call.args[1], call.args[2]);
    let is_absent = call.keyspace.entry(key)?.is_none();
    if is_absent {
        lookup::put(call, key, value, Expiry::Clear, "set")?;
    }
    Ok(Reply::Integer(i64::from(is_absent)))
}

fn setex(call: &mut WriteCall<'_>) -> CommandResult {
    set_for(call, "setex", Time::after_seconds(call.args[2]))
}

fn psetex(call: &mut WriteCall<'_>) -> CommandResult {
    set_for(call, "psetex", Time::after_milliseconds(call.args[2]))
}

fn set_for(call: &mut WriteCall<'_>, name: &str, time: Time<'_>) -> CommandResult {
    let (key, value) = (call.args[1], call.args[3]);
    let expires_at_ms = time.resolve(name, call.now_ms)?;
    lookup::put(call, key, value, Expiry::At(expires_at_ms), "set")?;
    lookup::tell_expiry(call, key, expires_at_ms);
    Ok(Reply::Ok)
}

fn getset(call: &mut WriteCall<'_>) -> CommandResult {
    let (key, value) = (call.args[1], call.args[2]);
    let old = lookup::whole(call, key)?;
    lookup::put(call, key, value, Expiry::Clear, "set")?;
    Ok(bulk_or_null(old))
}

fn getdel(call: &mut WriteCall<'_>) -> CommandResult {
    let key = call.args[1];
    let old = lookup::whole(call, key)?;
    if old.is_some() {
        lookup::delete(call, key)?;
    }
    Ok(bulk_or_null(old))
}

/// The time is looked at only when there is a key. One that has passed removes it.
fn getex(call: &mut WriteCall<'_>) -> CommandResult {
    let key = call.args[1];
    let time = parse_getex(&call.args[2..])?;
    let Some(value) = lookup::whole(call, key)? else { return Ok(Reply::Null) };
    match time {
        TimeOption::None | TimeOption::Keep => {}
        TimeOption::Persist => {
            if call.events.are_wanted(Class::Generic)
                && call.keyspace.entry(key)?.is_some_and(|entry| entry.expires_at_ms.is_some())
            {
                call.tell(Class::Generic, "persist", key);
            }
            call.keyspace.set_expiry(key, None)?;
        }
        TimeOption::Time(time) => {
            let expires_at_ms = time.resolve("getex", call.now_ms)?;
            if expires_at_ms <= call.now_ms {
                lookup::delete(call, key)?;
            } else {
                call.keyspace.set_expiry(key, Some(expires_at_ms))?;
                call.tell(Class::Generic, "expire", key);
            }
        }
    }
    Ok(Reply::Bulk(value))
}

fn mset(call: &mut WriteCall<'_>) -> CommandResult {
    for (key, value) in pairs(call.args, "mset")? {
        lookup::put(call, key, value, Expiry::Clear, "set")?;
    }
    Ok(Reply::Ok)
}

fn msetnx(call: &mut WriteCall<'_>) -> CommandResult {
    for (key, _) in pairs(call.args, "msetnx")? {
        if call.keyspace.entry(key)?.is_some() {
            return Ok(Reply::Integer(0));
        }
    }
    for (key, value) in pairs(call.args, "msetnx")? {
        lookup::put(call, key, value, Expiry::Clear, "set")?;
    }
    Ok(Reply::Integer(1))
}

fn pairs<'a>(args: &'a [&'a [u8]], name: &str) -> Result<impl Iterator<Item = (&'a [u8], &'a [u8])>, CommandError> {
    let (pairs, rest) = args[1..].as_chunks::<2>();
    if rest.is_empty() { Ok(pairs.iter().map(|[key, value]| (*key, *value))) } else { Err(errors::wrong_arity(name)) }
}

fn append(call: &mut WriteCall<'_>) -> CommandResult {
    let (key, value) = (call.args[1], call.args[2]);
    if value.is_empty() {
        // Nothing changes, but WATCH sees it, as in Redis: the first bytes are written over themselves.
        let first = lookup::bytes(call.keyspace, key, 0..1)?;
        if first.is_empty() {
            lookup::put(call, key, b"", Expiry::Keep, "append")?;
        } else {
            lookup::write_range(call, key, 0, &first, "append")?;
        }
        return Ok(integer(lookup::length(call.keyspace, key)?.unwrap_or(0)));
    }
    let bytes_max = call.keyspace.value_bytes_max();
    let length = lookup::write_at(call, key, value, "append", |length| {
        let length = length.unwrap_or(0);
        check_length(bytes_max, length, value.len())?;
        Ok(length)
    })?;
    Ok(integer(length))
}

fn strlen(_: &[&[u8]], key: Option<&Entry>, _: i64) -> LookResult {
    let length = look::string(key)?.map_or(0, |key| key.length);
    Ok(Told::Integer(i64::try_from(length).unwrap_or(i64::MAX)))
}

/// GETRANGE and SUBSTR.
fn getrange(args: &[&[u8]], key: Option<&Entry>, _: i64) -> LookResult {
    let (start, end) = (args::integer(args[2])?, args::integer(args[3])?);
    let length = look::string(key)?.map_or(0, |key| key.length);
    // Otherwise two negative positions in the wrong order, both before the start, would both mean the first byte.
    let is_backwards = start < 0 && end < 0 && start > end;
    Ok(Told::Part(if is_backwards { 0..0 } else { clamp_range(start, end, length) }))
}

fn setrange(call: &mut WriteCall<'_>) -> CommandResult {
    let (key, value) = (call.args[1], call.args[3]);
    let offset = u64::try_from(args::integer(call.args[2])?).map_err(|_| errors::OFFSET_OUT_OF_RANGE)?;
    if value.is_empty() {
        return Ok(integer(lookup::length(call.keyspace, key)?.unwrap_or(0)));
    }
    let bytes_max = call.keyspace.value_bytes_max();
    let length = lookup::write_at(call, key, value, "setrange", |_| {
        check_length(bytes_max, offset, value.len())?;
        Ok(offset)
    })?;
    Ok(integer(length))
}

fn integer(value: u64) -> Reply {
    Reply::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

/// What LCS is to answer.
#[derive(Default)]
struct LcsOptions {
    length_only: bool,
    matches: bool,
    match_bytes_min: i64,
    with_match_lengths: bool,
}

/// The keys' kinds are looked at before the options, the values only after both.
fn longest_common_subsequence(call: &mut ReadCall<'_>) -> ReadResult {
    let (keyspace, args, reply) = (call.keyspace, call.args, &mut call.reply);
    let (first, second) = (args[1], args[2]);
    for key in [first, second] {
        if keyspace.entry(key)?.is_some_and(|entry| entry.kind != Kind::String) {
            return Err(errors::LCS_NOT_STRINGS.into());
        }
    }
    let options = LcsOptions::parse(&args[3..])?;
    let length = |key| Ok::<_, CommandError>(lookup::length(keyspace, key)?.unwrap_or(0));
    lcs::check_lengths(length(first)?, length(second)?, keyspace.value_bytes_max()).map_err(|error| match error {
        LcsError::TooLong => errors::LCS_TOO_LONG,
        LcsError::TooMuchMemory => errors::LCS_TOO_MUCH_MEMORY,
    })?;
    let value = |key| Ok::<_, CommandError>(optional(keyspace.string(key)?)?.unwrap_or_default());
    let (first, second) = (value(first)?, value(second)?);
    let go_on = || keyspace.check_read_limit();
    if options.length_only {
        return Ok(reply.integer(i64::from(lcs::length(&first, &second, go_on)?))?);
    }
    let found = lcs::subsequence(&first, &second, go_on)?;
    if !options.matches {
        return Ok(reply.bulk(&found.bytes)?);
    }
    let shown = found.matches.iter().filter(|run| i64::from(run.length()) >= options.match_bytes_min);
    reply.map(2)?;
    reply.bulk(b"matches")?;
    reply.array(shown.clone().count())?;
    for run in shown {
        write_match(reply, run, options.with_match_lengths)?;
    }
    reply.bulk(b"len")?;
    Ok(reply.count(found.bytes.len() as u64)?)
}

fn write_match(reply: &mut ReplyWriter<'_>, run: &Match, with_length: bool) -> Written {
    reply.array(if with_length { 3 } else { 2 })?;
    for (start, end) in [run.first, run.second] {
        reply.array(2)?;
        reply.integer(i64::from(start))?;
        reply.integer(i64::from(end))?;
    }
    if with_length { reply.integer(i64::from(run.length())) } else { Ok(()) }
}

impl LcsOptions {
    fn parse(options: &[&[u8]]) -> Result<LcsOptions, CommandError> {
        let mut parsed = LcsOptions::default();
        let mut options = options.iter();
        while let Some(option) = options.next() {
            if args::is_word(option, "idx") {
                parsed.matches = true;
            } else if args::is_word(option, "len") {
                parsed.length_only = true;
            } else if args::is_word(option, "withmatchlen") {
                parsed.with_match_lengths = true;
            } else if args::is_word(option, "minmatchlen")
                && let Some(least) = options.next()
            {
                parsed.match_bytes_min = args::integer(least)?;
            } else {
                return Err(errors::SYNTAX.into());
            }
        }
        if parsed.length_only && parsed.matches {
            return Err(errors::LCS_LEN_AND_IDX.into());
        }
        Ok(parsed)
    }
}

#[cfg(test)]
#[path = "strings_tests.rs"]
mod tests;
