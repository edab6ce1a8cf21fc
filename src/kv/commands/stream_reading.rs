//! XREAD and XREADGROUP: what is new in several streams, or what a consumer has been given already; and waiting for it.

use std::ops::{ControlFlow, Range};

use crate::kv::call::{Class, ELEMENT_WEIGHT, ReadCall, ReadResult, Waited, WriteCall};
use crate::kv::commands::stream_replies::{Entries, write_entry};
use crate::kv::commands::streams::stream_at;
use crate::kv::commands::table::{
    Begin, Command, Find, Flags, Group, Handler, KeyFlags, KeyPosition, KeySpec, Keys, Nil, Wait,
};
use crate::kv::commands::{args, lookup, stream_ids};
use crate::kv::errors::{self, CommandError};
use crate::kv::table::wait;
use crate::resp::{Reply, Version};
use crate::storage::{Asked, Direction, GroupRead, Kind, Lookup, Stream, StreamId};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "xread",
        arity: -4,
        flags: Flags::READONLY.or(Flags::BLOCKING),
        keys: Keys::Custom(READ_FROM, |args| keys_of(READ_FROM, args)),
        complexity: "O(N) with N being the number of entries returned.",
        summary: "Returns messages from multiple streams with IDs greater than the ones requested. Blocks until a message \
            is available otherwise.",
        syntax: "[COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]",
        handler: Handler::Wait(Wait { run: xread_again, read: Some(xread), ..WAIT }),
        ..ROW
    },
    Command {
        name: "xreadgroup",
        arity: -7,
        flags: Flags::WRITE.or(Flags::BLOCKING),
        keys: Keys::Custom(GROUP_READ_FROM, |args| keys_of(GROUP_READ_FROM, args)),
        complexity: "For each stream mentioned: O(M) with M being the number of elements returned. If M is constant (e.g. \
            always asking for the first 10 elements with COUNT), you can consider it O(1). On the other side when \
            XREADGROUP blocks, XADD will pay the O(N) time in order to serve the N clients blocked on the stream getting \
            new data.",
        summary: "Returns new or historical messages from a stream for a consumer in a group. Blocks until a message is \
            available otherwise.",
        syntax: "GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id [id ...]",
        handler: Handler::Wait(Wait { run: xreadgroup, ends_without_key: true, ..WAIT }),
        ..ROW
    },
];

const ROW: Command = Command { group: Group::Stream, since: "5.0.0", ..Command::ROW };

const READ_FROM: &[KeySpec] = &[streams_from(1)];
const GROUP_READ_FROM: &[KeySpec] = &[streams_from(4)];

const fn streams_from(start: i16) -> KeySpec {
    KeySpec {
        flags: KeyFlags::RO_ACCESS,
        begin: Begin::Keyword { keyword: "STREAMS", start },
        find: Find::Range { last: -1, step: 1, limit: 2 },
        notes: "",
    }
}

/// The keys that are read: a consumer may be called STREAMS, which misleads who goes by the specs alone, and with them a user's rights.
fn keys_of(specs: &'static [KeySpec], args: &[&[u8]]) -> Vec<KeyPosition> {
    let keys = key_range(args);
    if keys.is_empty() {
        return Keys::Specs(specs).positions(args);
    }
    keys.map(|index| KeyPosition { index, flags: KeyFlags::RO_ACCESS }).collect()
}

/// Which arguments are keys, as far as the options before them can be told apart.
fn key_range(args: &[&[u8]]) -> Range<usize> {
    streams_of(args).map_or(0..0, |first| first..first + (args.len() - first) / 2)
}

const WAIT: Wait = Wait {
    run: xreadgroup,
    kind: Kind::Stream,
    keys: key_range,
    timeout: |args, now_ms| block_of(args).map_or(Ok(None), |timeout| wait::milliseconds(timeout, now_ms)),
    may: |args| block_of(args).is_some(),
    in_scripts: |args| match block_of(args) {
        Some(_) => Err(errors::block_from_script(args[0])),
        None => Ok(()),
    },
    read: None,
    ends_without_key: false,
    nil: Nil::NullArray,
};

/// From which id on entries are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// Behind this one.
    Id(StreamId),
    /// What comes from now on.
    Now,
    /// The last one, as in Redis 7.4; where there is none, what comes.
    Last,
    /// What the group has not been given.
    New,
}

impl From {
    /// Of a stream as it is now: behind which id.
    fn after(self, stream: Option<&Stream<'_>>) -> Result<StreamId, CommandError> {
        match (self, stream) {
            (From::Id(id), _) => Ok(id),
            (_, None) => Ok(StreamId::MIN),
            (From::Last, Some(stream)) => {
                let last = stream.last_entry()?.and_then(StreamId::previous);
                Ok(last.unwrap_or(stream.head().last))
            }
            (From::Now | From::New, Some(stream)) => Ok(stream.head().last),
        }
    }
}

struct Options<'a> {
    /// Whether it waits where there is nothing.
    may_wait: bool,
    count: u64,
    group: Option<(&'a [u8], &'a [u8])>,
    is_acknowledged: bool,
    keys: &'a [&'a [u8]],
    ids: &'a [&'a [u8]],
}

/// Where the keys begin.
fn streams_of(args: &[&[u8]]) -> Option<usize> {
    options_of(args).0
}

/// What BLOCK says.
fn block_of<'a>(args: &[&'a [u8]]) -> Option<&'a [u8]> {
    options_of(args).1
}

/// As far as they go before what is wrong with them.
fn options_of<'a>(args: &[&'a [u8]]) -> (Option<usize>, Option<&'a [u8]>) {
    let (mut at, mut block) = (1, None);
    while at < args.len() {
        let (word, more) = (args[at], args.len() - at - 1);
        if args::is_word(word, "streams") && more > 0 {
            return (Some(at + 1), block);
        }
        if args::is_word(word, "block") && more > 0 {
            block = Some(args[at + 1]);
            at += 2;
        } else if args::is_word(word, "count") {
            at += 2;
        } else if args::is_word(word, "group") {
            at += 3;
        } else if args::is_word(word, "noack") {
            at += 1;
        } else {
            break;
        }
    }
    (None, block)
}

impl<'a> Options<'a> {
    fn parse(args: &'a [&'a [u8]], is_of_group: bool, now_ms: i64) -> Result<Options<'a>, CommandError> {
        let mut options =
            Options { may_wait: false, count: u64::MAX, group: None, is_acknowledged: true, keys: &[], ids: &[] };
        let mut at = 1;
        while at < args.len() {
            let (word, rest) = (args[at], &args[at + 1..]);
            if args::is_word(word, "block") && !rest.is_empty() {
                wait::milliseconds(rest[0], now_ms)?;
                options.may_wait = true;
                at += 2;
            } else if args::is_word(word, "count") && !rest.is_empty() {
                let count = args::integer(rest[0])?;
                options.count = if count > 0 { count.cast_unsigned() } else { u64::MAX };
                at += 2;
            } else if args::is_word(word, "streams") && !rest.is_empty() {
                if !rest.len().is_multiple_of(2) {
                    return Err(errors::unbalanced_streams(is_of_group));
                }
                (options.keys, options.ids) = rest.split_at(rest.len() / 2);
                break;
            } else if args::is_word(word, "group") && rest.len() >= 2 {
                if !is_of_group {
                    return Err(errors::XREAD_GROUP.into());
                }
                options.group = Some((rest[0], rest[1]));
                at += 3;
            } else if args::is_word(word, "noack") {
                if !is_of_group {
                    return Err(errors::XREAD_NOACK.into());
                }
                options.is_acknowledged = false;
                at += 1;
            } else {
                return Err(errors::SYNTAX.into());
            }
        }
        if options.keys.is_empty() {
            return Err(errors::SYNTAX.into());
        }
        if is_of_group && options.group.is_none() {
            return Err(errors::XREADGROUP_WITHOUT_GROUP.into());
        }
        Ok(options)
    }

    fn from(&self, number: usize) -> Result<From, CommandError> {
        match (self.ids[number], self.group) {
            (b"$", None) => Ok(From::Now),
            (b"+", None) => Ok(From::Last),
            (b"$", Some(_)) => Err(errors::XREADGROUP_END.into()),
            (b">", None) => Err(errors::XREAD_NEW.into()),
            (b">", Some(_)) => Ok(From::New),
            (id, _) => stream_ids::exact(id).map(From::Id),
        }
    }
}

/// On a reader: what is there. Where that is nothing it may be that the call has to wait: from here on by the ids that `$` means now.
fn xread(call: &mut ReadCall<'_>) -> ReadResult {
    let (args, now_ms) = (call.args, call.now_ms);
    let options = Options::parse(args, false, now_ms)?;
    let (mut streams, mut after) = (Vec::with_capacity(options.keys.len()), Vec::with_capacity(options.keys.len()));
    for (number, key) in options.keys.iter().enumerate() {
        let stream = stream_at(call, key)?;
        after.push(options.from(number)?.after(stream.as_ref())?);
        streams.push(stream);
    }
    let gap = call.reply.gap();
    let (mut served, mut entries_left) = (0, call.weight.map_or(u64::MAX, |weight| weight / ELEMENT_WEIGHT));
    for ((key, stream), after) in options.keys.iter().zip(&streams).zip(&after) {
        let Some(stream) = stream else { continue };
        let written = write_stream(call, (key, stream), *after, options.count, entries_left)?;
        served += usize::from(written > 0);
        entries_left = entries_left.saturating_sub(written);
    }
    if served == 0 {
        if options.may_wait && call.may_wait {
            return Err(CommandError::Waits(resolved(args, &after)));
        }
        return Ok(call.reply.fill(gap, |reply| reply.null_array())?);
    }
    Ok(call.reply.fill(gap, |reply| match reply.version() {
        Version::Resp2 => reply.array(served),
        Version::Resp3 => reply.map(served),
    })?)
}

/// Writes what a stream has behind an id, with its key; nothing where that is nothing. Returns how many entries.
fn write_stream(
    call: &mut ReadCall<'_>,
    (key, stream): (&[u8], &Stream<'_>),
    after: StreamId,
    count: u64,
    entries_left: u64,
) -> Result<u64, CommandError> {
    let Some(first) = after.next().filter(|first| *first <= stream.head().last) else { return Ok(0) };
    let (mut written, mut gap) = (0, None);
    stream.range::<CommandError>((first, StreamId::MAX), Direction::Forward, &mut |id, fields| {
        if written >= entries_left {
            return Err(CommandError::TooHeavy);
        }
        if gap.is_none() {
            if call.version == Version::Resp2 {
                call.reply.array(2)?;
            }
            call.reply.bulk(key)?;
            gap = Some(call.reply.gap());
        }
        write_entry(&mut call.reply, id, fields)?;
        written += 1;
        Ok(if written < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    if let Some(gap) = gap {
        call.reply.fill(gap, |reply| reply.array(written as usize))?;
    }
    Ok(written)
}

/// The arguments with these ids, which are the last of them.
fn resolved(args: &[&[u8]], ids: &[StreamId]) -> Vec<Vec<u8>> {
    let mut args: Vec<Vec<u8>> = args.iter().map(|arg| arg.to_vec()).collect();
    let first = args.len() - ids.len();
    for (arg, id) in args[first..].iter_mut().zip(ids) {
        if arg == b"$" {
            *arg = id.to_string().into_bytes();
        }
    }
    args
}

/// In the writer: a reader has found nothing.
fn xread_again(call: &mut WriteCall<'_>) -> Result<Waited, CommandError> {
    let args = call.args;
    let options = Options::parse(args, false, call.now_ms)?;
    let (mut streams, mut entries) = (Vec::new(), Entries::of(call));
    for (number, key) in options.keys.iter().enumerate() {
        let from = options.from(number)?;
        let Some(stream) = lookup::optional(call.keyspace.stream(key)?)? else { continue };
        let after = from.after(Some(&stream))?;
        let Some(first) = after.next().filter(|first| *first <= stream.head().last) else { continue };
        let mut written = 0;
        stream.range::<CommandError>((first, StreamId::MAX), Direction::Forward, &mut |id, fields| {
            entries.push(id, Some(fields))?;
            written += 1;
            Ok(if written < options.count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        if written > 0 {
            streams.push((key.to_vec(), entries.take_all()));
        }
    }
    Ok(if streams.is_empty() { Waited::Parked } else { Waited::Answered(streams_reply(call.version, streams)) })
}

fn streams_reply(version: Version, streams: Vec<(Vec<u8>, Reply)>) -> Reply {
    let pairs = streams.into_iter().map(|(key, entries)| (Reply::Bulk(key), entries));
    match version {
        Version::Resp2 => Reply::Array(pairs.map(|(key, entries)| Reply::Array(vec![key, entries])).collect()),
        Version::Resp3 => Reply::Map(pairs.collect()),
    }
}

fn xreadgroup(call: &mut WriteCall<'_>) -> Result<Waited, CommandError> {
    let args = call.args;
    let options = Options::parse(args, true, call.now_ms)?;
    let (group, consumer) = options.group.ok_or(CommandError::from(errors::XREADGROUP_WITHOUT_GROUP))?;
    let mut asked = Vec::with_capacity(options.keys.len());
    for (number, key) in options.keys.iter().enumerate() {
        let stream = lookup::optional(call.keyspace.stream(key)?)?;
        let has_group = match &stream {
            Some(stream) => stream.group(group)?.is_some(),
            None => false,
        };
        if !has_group {
            return Err(errors::no_group_to_read(key, group));
        }
        asked.push(match options.from(number)? {
            From::Id(after) if after != StreamId::MAX => Asked::Behind(after),
            From::Id(_) | From::New | From::Now | From::Last => Asked::New,
        });
    }
    let (mut streams, mut entries, mut is_changed) = (Vec::new(), Entries::of(call), false);
    for (key, asked) in options.keys.iter().zip(asked) {
        let read = GroupRead {
            asked,
            count: options.count,
            is_acknowledged: options.is_acknowledged,
            changes_only_served: call.is_again,
        };
        let got = call
            .keyspace
            .group_read::<CommandError>(key, (group, consumer), &read, &mut |id, fields| entries.push(id, fields))?;
        let Lookup::Found(Ok(got)) = got else { return Err(errors::no_group_to_read(key, group)) };
        if got.is_new_consumer {
            call.tell(Class::Stream, "xgroup-createconsumer", key);
        }
        is_changed |= got.is_served || !call.is_again;
        if got.is_served {
            streams.push((key.to_vec(), entries.take_all()));
        }
    }
    if !streams.is_empty() {
        return Ok(Waited::Answered(streams_reply(call.version, streams)));
    }
    Ok(if is_changed { Waited::ParkedWithChanges } else { Waited::Parked })
}
