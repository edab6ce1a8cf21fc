//! Groups of a stream's consumers: XGROUP, and what consumers do with what they were given, XACK, XCLAIM, XAUTOCLAIM.

use crate::kv::call::{Class, WriteCall};
use crate::kv::commands::stream_replies::{Entries, id_reply};
use crate::kv::commands::streams::{NONDETERMINISTIC, ids};
use crate::kv::commands::table::{Command, Flags, Group, Handler, KeyFlags, Keys};
use crate::kv::commands::{args, help, lookup, stream_ids};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::resp::Reply;
use crate::storage::{Claim, Claimed, Lookup, NoGroup, Start, StreamId};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "xack",
        arity: -4,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW_UPDATE.at(1)]),
        complexity: "O(1) for each message ID processed.",
        summary: "Returns the number of messages that were successfully acknowledged by the consumer group member of a \
            stream.",
        syntax: "key group id [id ...]",
        handler: Handler::Write(xack),
        ..ROW
    },
    Command {
        name: "xautoclaim",
        arity: -6,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW_DELETE.at(1)]),
        since: "6.2.0",
        complexity: "O(1) if COUNT is small.",
        summary: "Changes, or acquires, ownership of messages in a consumer group, as if the messages were delivered to as \
            consumer group member.",
        syntax: "key group consumer min-idle-time start [COUNT count] [JUSTID]",
        handler: Handler::Write(xautoclaim),
        tips: NONDETERMINISTIC,
        history: &[(
            "7.0.0",
            "Added an element to the reply array, containing deleted entries the command cleared from the PEL",
        )],
        ..ROW
    },
    Command {
        name: "xclaim",
        arity: -6,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW_UPDATE.at(1)]),
        complexity: "O(log N) with N being the number of messages in the PEL of the consumer group.",
        summary: "Changes, or acquires, ownership of a message in a consumer group, as if the message was delivered a \
            consumer group member.",
        syntax: "key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds] \
            [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID lastid]",
        handler: Handler::Write(xclaim),
        tips: NONDETERMINISTIC,
        ..ROW
    },
    Command {
        name: "xgroup",
        arity: -2,
        complexity: "Depends on subcommand.",
        summary: "A container for consumer groups commands.",
        handler: Handler::Container,
        subcommands: &[
            Command {
                name: "xgroup|create",
                arity: -5,
                flags: Flags::WRITE.or(Flags::DENYOOM),
                keys: Keys::Specs(&[KeyFlags::RW_INSERT.at(2)]),
                summary: "Creates a consumer group.",
                syntax: "key group <id | $> [MKSTREAM] [ENTRIESREAD entriesread]",
                handler: Handler::Write(create),
                history: &[("7.0.0", "Added the `entries_read` named argument.")],
                ..ROW
            },
            Command {
                name: "xgroup|createconsumer",
                arity: 5,
                flags: Flags::WRITE.or(Flags::DENYOOM),
                keys: Keys::Specs(&[KeyFlags::RW_INSERT.at(2)]),
                since: "6.2.0",
                summary: "Creates a consumer in a consumer group.",
                syntax: "key group consumer",
                handler: Handler::Write(create_consumer),
                ..ROW
            },
            Command {
                name: "xgroup|delconsumer",
                arity: 5,
                flags: Flags::WRITE,
                keys: Keys::Specs(&[KeyFlags::RW_DELETE.at(2)]),
                summary: "Deletes a consumer from a consumer group.",
                syntax: "key group consumer",
                handler: Handler::Write(delete_consumer),
                ..ROW
            },
            Command {
                name: "xgroup|destroy",
                arity: 4,
                flags: Flags::WRITE,
                keys: Keys::Specs(&[KeyFlags::RW_DELETE.at(2)]),
                complexity: "O(N) where N is the number of entries in the group's pending entries list (PEL).",
                summary: "Destroys a consumer group.",
                syntax: "key group",
                handler: Handler::Write(destroy),
                ..ROW
            },
            Command {
                name: "xgroup|help",
                arity: 2,
                flags: Flags::LOADING.or(Flags::STALE),
                summary: "Returns helpful text about the different subcommands.",
                handler: Handler::Pure(|_| Ok(help::reply("XGROUP", HELP))),
                ..ROW
            },
            Command {
                name: "xgroup|setid",
                arity: -5,
                flags: Flags::WRITE,
                keys: Keys::Specs(&[KeyFlags::RW_UPDATE.at(2)]),
                summary: "Sets the last-delivered ID of a consumer group.",
                syntax: "key group <id | $> [ENTRIESREAD entriesread]",
                handler: Handler::Write(set_id),
                history: &[("7.0.0", "Added the optional `entries_read` argument.")],
                ..ROW
            },
        ],
        ..ROW
    },
];

const ROW: Command = Command { group: Group::Stream, since: "5.0.0", complexity: "O(1)", ..Command::ROW };

const HELP: &[&str] = &[
    "CREATE <key> <groupname> <id|$> [option]",
    "    Create a new consumer group. Options are:",
    "    * MKSTREAM",
    "      Create the empty stream if it does not exist.",
    "    * ENTRIESREAD entries_read",
    "      Set the group's entries_read counter (internal use).",
    "CREATECONSUMER <key> <groupname> <consumer>",
    "    Create a new consumer in the specified group.",
    "DELCONSUMER <key> <groupname> <consumer>",
    "    Remove the specified consumer.",
    "DESTROY <key> <groupname>",
    "    Remove the specified group.",
    "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
    "    Set the current group ID and entries_read counter.",
];

/// No option need be said twice.
const CREATE_ARGS_MAX: usize = 8;
const SET_ID_ARGS_MAX: usize = 7;

/// XAUTOCLAIM claims so many where nobody says.
const CLAIMS: i64 = 100;
/// And no more, as Redis has it.
const CLAIMS_MAX: i64 = i64::MAX / 16;

/// The options of CREATE and SETID: whether a stream is to be made, and how many entries the group has read.
fn options(call: &[&[u8]], is_creating: bool) -> Result<(bool, Option<u64>), CommandError> {
    let (mut makes_stream, mut read, mut at) = (false, None, 5);
    let args_max = if is_creating { CREATE_ARGS_MAX } else { SET_ID_ARGS_MAX };
    if call.len() > args_max {
        return Err(errors::wrong_subcommand_arguments("xgroup", call[1]));
    }
    while at < call.len() {
        if is_creating && args::is_word(call[at], "mkstream") {
            makes_stream = true;
            at += 1;
        } else if args::is_word(call[at], "entriesread") && at + 1 < call.len() {
            read = match args::integer(call[at + 1])? {
                -1 => None,
                read => Some(u64::try_from(read).map_err(|_| CommandError::from(errors::ENTRIES_READ_NEGATIVE))?),
            };
            at += 2;
        } else {
            return Err(errors::wrong_subcommand_arguments("xgroup", call[1]));
        }
    }
    Ok((makes_stream, read))
}

fn start(arg: &[u8], is_creating: bool) -> Result<Start, CommandError> {
    Ok(match arg {
        b"$" => Start::Last,
        // Redis takes - and + here.
        _ if !is_creating => Start::At(stream_ids::lenient(arg, stream_ids::Missing::First)?),
        _ => Start::At(stream_ids::exact(arg)?),
    })
}

fn create(call: &mut WriteCall<'_>) -> CommandResult {
    let args = call.args;
    let (makes_stream, read) = options(args, true)?;
    let (key, group) = (args[2], args[3]);
    let is_there = lookup::optional(call.keyspace.stream(key)?)?.is_some();
    if !is_there && !makes_stream {
        return Err(errors::XGROUP_WITHOUT_KEY.into());
    }
    let created = call.keyspace.group_create(key, group, (start(args[4], true)?, read), makes_stream)?;
    let created = lookup::optional(created)?.ok_or(CommandError::from(errors::XGROUP_WITHOUT_KEY))?;
    if !created.is_done {
        return Err(errors::BUSY_GROUP.into());
    }
    call.tell_of(Class::Stream, created.is_new_stream, "xgroup-create", key);
    Ok(Reply::Ok)
}

/// What was found in the group of XGROUP's arguments.
fn of_group<T>(call: &WriteCall<'_>, found: Lookup<Result<T, NoGroup>>) -> Result<T, CommandError> {
    match lookup::optional(found)? {
        Some(Ok(found)) => Ok(found),
        None | Some(Err(NoGroup::NoKey)) => Err(errors::XGROUP_WITHOUT_KEY.into()),
        Some(Err(NoGroup::NoGroup)) => Err(errors::no_group_of_key(call.args[2], call.args[3])),
    }
}

fn set_id(call: &mut WriteCall<'_>) -> CommandResult {
    let args = call.args;
    let (_, read) = options(args, false)?;
    // What is missing is told of before the id.
    let stream = lookup::optional(call.keyspace.stream(args[2])?)?;
    let stream = stream.ok_or(CommandError::from(errors::XGROUP_WITHOUT_KEY))?;
    if stream.group(args[3])?.is_none() {
        return Err(errors::no_group_of_key(args[2], args[3]));
    }
    let from = (start(args[4], false)?, read);
    let set = call.keyspace.group_set_id(args[2], args[3], from)?;
    of_group(call, set)?;
    call.tell(Class::Stream, "xgroup-setid", args[2]);
    Ok(Reply::Ok)
}

fn destroy(call: &mut WriteCall<'_>) -> CommandResult {
    let args = call.args;
    let gone = lookup::optional(call.keyspace.group_destroy(args[2], args[3])?)?;
    let gone = gone.ok_or(CommandError::from(errors::XGROUP_WITHOUT_KEY))?;
    if gone {
        call.tell(Class::Stream, "xgroup-destroy", args[2]);
    }
    Ok(Reply::Integer(i64::from(gone)))
}

fn create_consumer(call: &mut WriteCall<'_>) -> CommandResult {
    let args = call.args;
    let created = call.keyspace.consumer_create(args[2], args[3], args[4])?;
    let is_new = of_group(call, created)?;
    if is_new {
        call.tell(Class::Stream, "xgroup-createconsumer", args[2]);
    }
    Ok(Reply::Integer(i64::from(is_new)))
}

fn delete_consumer(call: &mut WriteCall<'_>) -> CommandResult {
    let args = call.args;
    let deleted = call.keyspace.consumer_delete(args[2], args[3], args[4])?;
    let pending = of_group(call, deleted)?;
    if pending.is_some() {
        call.tell(Class::Stream, "xgroup-delconsumer", args[2]);
    }
    Ok(Reply::Integer(pending.unwrap_or(0).cast_signed()))
}

/// Whether the key holds a stream that has the group.
fn has_group(call: &WriteCall<'_>, key: &[u8], group: &[u8]) -> Result<bool, CommandError> {
    Ok(match lookup::optional(call.keyspace.stream(key)?)? {
        Some(stream) => stream.group(group)?.is_some(),
        None => false,
    })
}

fn xack(call: &mut WriteCall<'_>) -> CommandResult {
    let (key, group) = (call.args[1], call.args[2]);
    // What is wrong with the ids is of no interest where there is no group.
    if !has_group(call, key, group)? {
        return Ok(Reply::Integer(0));
    }
    let ids = ids(&call.args[3..])?;
    let count = match lookup::optional(call.keyspace.group_acknowledge(key, group, &ids)?)? {
        Some(Ok(count)) => count,
        Some(Err(_)) | None => 0,
    };
    Ok(Reply::Integer(count.cast_signed()))
}

/// A minimal time in milliseconds; below 0 it is 0.
fn idle_ms_min(arg: &[u8], error: &'static str) -> Result<i64, CommandError> {
    Ok(args::integer_or(arg, error)?.max(0))
}

/// Of what was claimed: tells of a new consumer.
fn claimed(call: &mut WriteCall<'_>, found: Lookup<Result<Claimed, NoGroup>>) -> Result<Claimed, CommandError> {
    let (key, group) = (call.args[1], call.args[2]);
    let Some(Ok(claimed)) = lookup::optional(found)? else { return Err(errors::no_group(key, group)) };
    if claimed.is_new_consumer {
        call.tell(Class::Stream, "xgroup-createconsumer", key);
    }
    Ok(claimed)
}

fn xclaim(call: &mut WriteCall<'_>) -> CommandResult {
    let (args, now_ms) = (call.args, call.now_ms);
    let (key, group, consumer) = (args[1], args[2], args[3]);
    if !has_group(call, key, group)? {
        return Err(errors::no_group(key, group));
    }
    let idle_ms_min = idle_ms_min(args[4], errors::XCLAIM_IDLE)?;
    let ids: Vec<StreamId> = args[5..].iter().map_while(|arg| stream_ids::exact(arg).ok()).collect();
    let mut claim =
        Claim { idle_ms_min, delivered_ms: now_ms, deliveries: None, counts_as_delivery: true, is_forced: false };
    let (mut delivered_ms, mut last, mut at) = (None, StreamId::MIN, 5 + ids.len());
    while at < args.len() {
        let (option, value) = (args[at], args.get(at + 1));
        at += 1;
        match value {
            _ if args::is_word(option, "force") => claim.is_forced = true,
            _ if args::is_word(option, "justid") => claim.counts_as_delivery = false,
            Some(value) => {
                at += 1;
                if args::is_word(option, "idle") {
                    delivered_ms = Some(now_ms.wrapping_sub(args::integer_or(value, errors::XCLAIM_OPTION_IDLE)?));
                } else if args::is_word(option, "time") {
                    delivered_ms = Some(args::integer_or(value, errors::XCLAIM_OPTION_TIME)?);
                } else if args::is_word(option, "retrycount") {
                    let count = args::integer_or(value, errors::XCLAIM_OPTION_RETRYCOUNT)?;
                    claim.deliveries = u64::try_from(count).ok();
                } else if args::is_word(option, "lastid") {
                    last = stream_ids::exact(value)?;
                } else {
                    return Err(errors::unknown_claim_option(option));
                }
            }
            None => return Err(errors::unknown_claim_option(option)),
        }
    }
    // A time that makes no sense is now.
    claim.delivered_ms = delivered_ms.filter(|at| (0..=now_ms).contains(at)).unwrap_or(now_ms);
    let (mut entries, just_ids) = (Entries::of(call), !claim.counts_as_delivery);
    let what = (&ids[..], &claim, last);
    let found = call.keyspace.group_claim::<CommandError>(key, (group, consumer), what, &mut |id, fields| {
        if just_ids { entries.push_id(id) } else { entries.push(id, fields) }
    })?;
    claimed(call, found)?;
    Ok(entries.take_all())
}

fn xautoclaim(call: &mut WriteCall<'_>) -> CommandResult {
    let args = call.args;
    let (key, group, consumer) = (args[1], args[2], args[3]);
    let idle_ms_min = idle_ms_min(args[4], errors::XAUTOCLAIM_IDLE)?;
    let first = stream_ids::range_start(args[5])?;
    let (mut count, mut just_ids, mut at) = (CLAIMS, false, 6);
    while at < args.len() {
        if args::is_word(args[at], "count") && at + 1 < args.len() {
            count = args::integer_or(args[at + 1], errors::XAUTOCLAIM_COUNT)?;
            if !(1..=CLAIMS_MAX).contains(&count) {
                return Err(errors::XAUTOCLAIM_COUNT.into());
            }
            at += 2;
        } else if args::is_word(args[at], "justid") {
            just_ids = true;
            at += 1;
        } else {
            return Err(errors::SYNTAX.into());
        }
    }
    let claim = Claim {
        idle_ms_min,
        delivered_ms: call.now_ms,
        deliveries: None,
        counts_as_delivery: !just_ids,
        is_forced: false,
    };
    let mut entries = Entries::of(call);
    let from = (first, count.cast_unsigned());
    let found =
        call.keyspace.group_claim_from::<CommandError>(key, (group, consumer), from, &claim, &mut |id, fields| {
            if just_ids { entries.push_id(id) } else { entries.push(id, fields) }
        })?;
    let claimed = claimed(call, found)?;
    let shown = entries.take_all();
    claimed.deleted.into_iter().try_for_each(|id| entries.push_id(id))?;
    Ok(Reply::Array(vec![id_reply(claimed.next), shown, entries.take_all()]))
}
