//! What is told of a stream, its groups and consumers, and of what they have not acknowledged: XINFO, XPENDING.

use std::ops::ControlFlow;

use crate::kv::call::{ELEMENT_WEIGHT, ReadCall, ReadResult};
use crate::kv::commands::stream_replies::{write_entry, write_id, write_range};
use crate::kv::commands::streams::{NONDETERMINISTIC, stream_at};
use crate::kv::commands::table::{Command, Flags, Group, Handler, KeyFlags, Keys};
use crate::kv::commands::{args, help, stream_ids};
use crate::kv::errors::{self, CommandError};
use crate::storage::{Consumer, Direction, Pending, Stream, StreamGroup, StreamId};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "xinfo",
        arity: -2,
        complexity: "Depends on subcommand.",
        summary: "A container for stream introspection commands.",
        handler: Handler::Container,
        subcommands: &[
            Command {
                name: "xinfo|consumers",
                arity: 4,
                summary: "Returns a list of the consumers in a consumer group.",
                syntax: "key group",
                handler: Handler::Read(consumers),
                tips: NONDETERMINISTIC,
                history: &[("7.2.0", "Added the `inactive` field.")],
                ..READ
            },
            Command {
                name: "xinfo|groups",
                arity: 3,
                summary: "Returns a list of the consumer groups of a stream.",
                syntax: "key",
                handler: Handler::Read(groups),
                history: &[("7.0.0", "Added the `entries-read` and `lag` fields")],
                ..READ
            },
            Command {
                name: "xinfo|help",
                arity: 2,
                flags: Flags::LOADING.or(Flags::STALE),
                summary: "Returns helpful text about the different subcommands.",
                handler: Handler::Pure(|_| Ok(help::reply("XINFO", HELP))),
                ..ROW
            },
            Command {
                name: "xinfo|stream",
                arity: -3,
                summary: "Returns information about a stream.",
                syntax: "key [FULL [COUNT count]]",
                handler: Handler::Read(stream),
                history: &[
                    ("6.0.0", "Added the `FULL` modifier."),
                    (
                        "7.0.0",
                        "Added the `max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`, `entries-read` and `lag` \
                 fields",
                    ),
                    ("7.2.0", "Added the `active-time` field, and changed the meaning of `seen-time`."),
                ],
                ..READ
            },
        ],
        ..ROW
    },
    Command {
        name: "xpending",
        arity: -3,
        flags: Flags::READONLY,
        keys: Keys::Specs(&[KeyFlags::RO_ACCESS.at(1)]),
        complexity: "O(N) with N being the number of elements returned, so asking for a small fixed number of entries per \
            call is O(1). O(M), where M is the total number of entries scanned when used with the IDLE filter. When the \
            command returns just the summary and the list of consumers is small, it runs in O(1) time; otherwise, an \
            additional O(N) time for iterating every consumer.",
        summary: "Returns the information and entries from a stream consumer group's pending entries list.",
        syntax: "key group [[IDLE min-idle-time] start end count [consumer]]",
        handler: Handler::Read(xpending),
        tips: NONDETERMINISTIC,
        history: &[("6.2.0", "Added the `IDLE` option and exclusive range intervals.")],
        ..ROW
    },
];

const ROW: Command = Command { group: Group::Stream, since: "5.0.0", complexity: "O(1)", ..Command::ROW };

const READ: Command = Command { flags: Flags::READONLY, keys: Keys::Specs(&[KeyFlags::RO_ACCESS.at(2)]), ..ROW };

const HELP: &[&str] = &[
    "CONSUMERS <key> <groupname>",
    "    Show consumers of <groupname>.",
    "GROUPS <key>",
    "    Show the stream consumer groups.",
    "STREAM <key> [FULL [COUNT <count>]",
    "    Show information about the stream.",
];

/// XINFO STREAM FULL shows so many where nobody says.
const SHOWN: u64 = 10;

fn found<'a>(call: &ReadCall<'a>) -> Result<Stream<'a>, CommandError> {
    stream_at(call, call.args[2])?.ok_or(CommandError::from(errors::NO_SUCH_KEY))
}

fn field(call: &mut ReadCall<'_>, name: &str) -> ReadResult {
    Ok(call.reply.bulk(name.as_bytes())?)
}

fn number_field(call: &mut ReadCall<'_>, name: &str, number: u64) -> ReadResult {
    field(call, name)?;
    Ok(call.reply.count(number)?)
}

fn id_field(call: &mut ReadCall<'_>, name: &str, id: StreamId) -> ReadResult {
    field(call, name)?;
    write_id(&mut call.reply, id)
}

/// How far the group has read, and what it lacks.
fn reading_fields(call: &mut ReadCall<'_>, stream: &Stream<'_>, group: &StreamGroup) -> ReadResult {
    field(call, "entries-read")?;
    match group.read {
        Some(read) => call.reply.count(read),
        None => call.reply.null(),
    }?;
    field(call, "lag")?;
    Ok(match stream.head().lag(group.delivered, group.read) {
        Some(lag) => call.reply.integer(lag),
        None => call.reply.null(),
    }?)
}

fn groups(call: &mut ReadCall<'_>) -> ReadResult {
    let stream = found(call)?;
    call.check_elements(stream.head().groups)?;
    let groups = stream.groups()?;
    call.reply.array(groups.len())?;
    for (name, group) in &groups {
        call.reply.map(6)?;
        field(call, "name")?;
        call.reply.bulk(name)?;
        number_field(call, "consumers", group.consumers)?;
        number_field(call, "pending", group.pending)?;
        id_field(call, "last-delivered-id", group.delivered)?;
        reading_fields(call, &stream, group)?;
    }
    Ok(())
}

fn consumers(call: &mut ReadCall<'_>) -> ReadResult {
    let (stream, name) = (found(call)?, call.args[3]);
    let group = stream.group(name)?.ok_or_else(|| errors::no_group_of_key(call.args[2], name))?;
    call.check_elements(group.consumers)?;
    let consumers = stream.consumers(&group)?;
    call.reply.array(consumers.len())?;
    for consumer in &consumers {
        call.reply.map(4)?;
        field(call, "name")?;
        call.reply.bulk(&consumer.name)?;
        number_field(call, "pending", consumer.pending)?;
        field(call, "idle")?;
        call.reply.integer(call.now_ms.saturating_sub(consumer.seen_ms).max(0))?;
        field(call, "inactive")?;
        call.reply.integer(consumer.active_ms.map_or(-1, |active| call.now_ms.saturating_sub(active)))?;
    }
    Ok(())
}

fn stream(call: &mut ReadCall<'_>) -> ReadResult {
    let stream = found(call)?;
    let shown = match &call.args[3..] {
        [] => None,
        [full] if args::is_word(full, "full") => Some(SHOWN),
        [full, count, number] if args::is_word(full, "full") && args::is_word(count, "count") => {
            Some(match args::integer(number)? {
                ..0 => SHOWN,
                0 => u64::MAX,
                count => count.cast_unsigned(),
            })
        }
        _ => return Err(errors::wrong_subcommand_arguments("xinfo", call.args[1])),
    };
    let head = *stream.head();
    call.reply.map(if shown.is_some() { 9 } else { 10 })?;
    number_field(call, "length", head.length)?;
    number_field(call, "radix-tree-keys", head.nodes)?;
    number_field(call, "radix-tree-nodes", head.nodes + 1)?;
    id_field(call, "last-generated-id", head.last)?;
    id_field(call, "max-deleted-entry-id", head.max_deleted)?;
    number_field(call, "entries-added", head.added)?;
    id_field(call, "recorded-first-entry-id", head.first)?;
    if let Some(count) = shown {
        field(call, "entries")?;
        write_range(call, &stream, StreamId::ALL, Direction::Forward, count)?;
        field(call, "groups")?;
        return all_groups(call, &stream, count);
    }
    number_field(call, "groups", head.groups)?;
    field(call, "first-entry")?;
    edge(call, &stream, Direction::Forward)?;
    field(call, "last-entry")?;
    edge(call, &stream, Direction::Backward)
}

fn edge(call: &mut ReadCall<'_>, stream: &Stream<'_>, direction: Direction) -> ReadResult {
    let mut is_there = false;
    stream.range::<CommandError>(StreamId::ALL, direction, &mut |id, fields| {
        is_there = true;
        write_entry(&mut call.reply, id, fields)?;
        Ok(ControlFlow::Break(()))
    })?;
    if is_there { Ok(()) } else { Ok(call.reply.null()?) }
}

/// All groups with their consumers, and so many of the pending entries of each.
fn all_groups(call: &mut ReadCall<'_>, stream: &Stream<'_>, count: u64) -> ReadResult {
    call.check_elements(stream.head().groups)?;
    let groups = stream.groups()?;
    call.reply.array(groups.len())?;
    for (name, group) in &groups {
        call.check_elements(group.consumers.saturating_mul(count.min(group.pending).saturating_add(1)))?;
        call.reply.map(7)?;
        field(call, "name")?;
        call.reply.bulk(name)?;
        id_field(call, "last-delivered-id", group.delivered)?;
        reading_fields(call, stream, group)?;
        number_field(call, "pel-count", group.pending)?;
        field(call, "pending")?;
        let (gap, mut shown, mut owners) = (call.reply.gap(), 0, stream.owners(group));
        stream.pending::<CommandError>(group, StreamId::ALL, &mut |id, pending| {
            call.reply.array(4)?;
            write_id(&mut call.reply, id)?;
            call.reply.bulk(owners.name(&pending)?)?;
            call.reply.integer(pending.delivered_ms)?;
            call.reply.count(pending.deliveries)?;
            shown += 1;
            Ok(if shown < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        call.reply.fill(gap, |reply| reply.array(shown as usize))?;
        field(call, "consumers")?;
        let consumers = stream.consumers(group)?;
        call.reply.array(consumers.len())?;
        for consumer in &consumers {
            whole_consumer(call, stream, (group, consumer), count)?;
        }
    }
    Ok(())
}

fn whole_consumer(
    call: &mut ReadCall<'_>,
    stream: &Stream<'_>,
    (group, consumer): (&StreamGroup, &Consumer),
    count: u64,
) -> ReadResult {
    call.reply.map(5)?;
    field(call, "name")?;
    call.reply.bulk(&consumer.name)?;
    field(call, "seen-time")?;
    call.reply.integer(consumer.seen_ms)?;
    field(call, "active-time")?;
    call.reply.integer(consumer.active_ms.unwrap_or(-1))?;
    number_field(call, "pel-count", consumer.pending)?;
    field(call, "pending")?;
    let (gap, mut shown) = (call.reply.gap(), 0);
    stream.pending_of::<CommandError>(group, consumer, StreamId::ALL, &mut |id, pending| {
        call.reply.array(3)?;
        write_id(&mut call.reply, id)?;
        call.reply.integer(pending.delivered_ms)?;
        call.reply.count(pending.deliveries)?;
        shown += 1;
        Ok(if shown < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(call.reply.fill(gap, |reply| reply.array(shown as usize))?)
}

/// What XPENDING asks for behind the group.
struct Wanted<'a> {
    idle_ms_min: i64,
    range: (StreamId, StreamId),
    count: u64,
    consumer: Option<&'a [u8]>,
}

impl<'a> Wanted<'a> {
    /// `None`: of all of it what it is.
    fn parse(args: &[&'a [u8]]) -> Result<Option<Wanted<'a>>, CommandError> {
        if args.is_empty() {
            return Ok(None);
        }
        if !(3..=6).contains(&args.len()) {
            return Err(errors::SYNTAX.into());
        }
        let has_idle = args::is_word(args[0], "idle");
        let idle_ms_min = if has_idle { args::integer(args[1])? } else { 0 };
        if has_idle && args.len() < 5 {
            return Err(errors::SYNTAX.into());
        }
        let rest = if has_idle { &args[2..] } else { args };
        let count = args::integer(rest[2])?.max(0).cast_unsigned();
        let range = (stream_ids::range_start(rest[0])?, stream_ids::range_end(rest[1])?);
        Ok(Some(Wanted { idle_ms_min, range, count, consumer: rest.get(3).copied() }))
    }
}

fn xpending(call: &mut ReadCall<'_>) -> ReadResult {
    let (args, key, name) = (call.args, call.args[1], call.args[2]);
    let wanted = Wanted::parse(&args[3..])?;
    let no_group = || errors::no_group(key, name);
    let stream = stream_at(call, key)?.ok_or_else(no_group)?;
    let group = stream.group(name)?.ok_or_else(no_group)?;
    match wanted {
        None => summary(call, &stream, &group),
        Some(wanted) => pending(call, &stream, &group, &wanted),
    }
}

fn summary(call: &mut ReadCall<'_>, stream: &Stream<'_>, group: &StreamGroup) -> ReadResult {
    call.reply.array(4)?;
    call.reply.count(group.pending)?;
    let Some((first, last)) = stream.pending_bounds(group)? else {
        call.reply.null()?;
        call.reply.null()?;
        return Ok(call.reply.null_array()?);
    };
    write_id(&mut call.reply, first)?;
    write_id(&mut call.reply, last)?;
    call.check_elements(group.consumers)?;
    let consumers = stream.consumers(group)?;
    let consumers = || consumers.iter().filter(|consumer| consumer.pending > 0);
    call.reply.array(consumers().count())?;
    consumers().try_for_each(|consumer| {
        call.reply.array(2)?;
        call.reply.bulk(&consumer.name)?;
        Ok(call.reply.bulk(consumer.pending.to_string().as_bytes())?)
    })
}

fn pending(call: &mut ReadCall<'_>, stream: &Stream<'_>, group: &StreamGroup, wanted: &Wanted<'_>) -> ReadResult {
    let consumer = match wanted.consumer {
        None => None,
        Some(name) => match stream.consumer(group, name)? {
            Some(consumer) => Some(consumer),
            None => return Ok(call.reply.array(0)?),
        },
    };
    let rows_max = call.weight.map_or(u64::MAX, |weight| weight / ELEMENT_WEIGHT);
    let (gap, now_ms) = (call.reply.gap(), call.now_ms);
    let (mut written, mut looked, mut owners) = (0, 0, stream.owners(group));
    let mut show = |id: StreamId, pending: Pending| {
        looked += 1;
        if looked > rows_max {
            return Err(CommandError::TooHeavy);
        }
        let idle_ms = pending.idle_ms(now_ms);
        if wanted.idle_ms_min != 0 && idle_ms < wanted.idle_ms_min {
            return Ok(ControlFlow::Continue(()));
        }
        call.reply.array(4)?;
        write_id(&mut call.reply, id)?;
        match &consumer {
            Some(consumer) => call.reply.bulk(&consumer.name)?,
            None => call.reply.bulk(owners.name(&pending)?)?,
        }
        call.reply.integer(idle_ms.max(0))?;
        call.reply.count(pending.deliveries)?;
        written += 1;
        Ok(if written < wanted.count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    };
    if wanted.count > 0 {
        match &consumer {
            Some(consumer) => stream.pending_of(group, consumer, wanted.range, &mut show)?,
            None => stream.pending(group, wanted.range, &mut show)?,
        }
    }
    Ok(call.reply.fill(gap, |reply| reply.array(written as usize))?)
}
