//! Streams: XADD, XRANGE and their relatives. Reading on with XREAD, and groups of consumers, are in files of their own.

use crate::kv::call::{Class, ReadCall, ReadResult, WriteCall};
use crate::kv::commands::stream_replies::{id_reply, write_range};
use crate::kv::commands::stream_trims::TrimOptions;
use crate::kv::commands::table::{Command, Flags, Group, Handler, KeyFlags, KeySpec, Keys};
use crate::kv::commands::{args, lookup, stream_ids};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::table::look::{self, Look, LookResult, Shape, Told};
use crate::resp::Reply;
use crate::storage::{Direction, Entry, Kind, NewId, NotAdded, NotSet, Stream, StreamCounters, StreamId};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "xadd",
        arity: -5,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
        keys: Keys::Specs(&[KeySpec {
            notes: "UPDATE instead of INSERT because of the optional trimming feature",
            ..KeyFlags::RW_UPDATE.at(1)
        }]),
        complexity: "O(1) when adding a new entry, O(N) when trimming where N being the number of entries evicted.",
        summary: "Appends a new message to a stream. Creates the key if it doesn't exist.",
        syntax: "key [NOMKSTREAM] [<MAXLEN | MINID> [= | ~] threshold [LIMIT count]] <* | id> field value \
            [field value ...]",
        handler: Handler::Write(xadd),
        tips: NONDETERMINISTIC,
        history: &[
            ("6.2.0", "Added the `NOMKSTREAM` option, `MINID` trimming strategy and the `LIMIT` option."),
            ("7.0.0", "Added support for the `<ms>-*` explicit ID form."),
        ],
        ..ROW
    },
    Command {
        name: "xdel",
        arity: -3,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW_DELETE.at(1)]),
        complexity: "O(1) for each single item to delete in the stream, regardless of the stream size.",
        summary: "Returns the number of messages after removing them from a stream.",
        syntax: "key id [id ...]",
        handler: Handler::Write(xdel),
        ..ROW
    },
    Command {
        name: "xlen",
        arity: 2,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RO.at(1)]),
        summary: "Return the number of messages in a stream.",
        syntax: "key",
        handler: Handler::Look(Look::at_head(Shape::One, xlen)),
        ..ROW
    },
    Command {
        name: "xrange",
        summary: "Returns the messages from a stream within a range of IDs.",
        syntax: "key start end [COUNT count]",
        handler: Handler::Read(|call| range(call, Direction::Forward)),
        ..RANGE
    },
    Command {
        name: "xrevrange",
        summary: "Returns the messages from a stream within a range of IDs in reverse order.",
        syntax: "key end start [COUNT count]",
        handler: Handler::Read(|call| range(call, Direction::Backward)),
        ..RANGE
    },
    Command {
        name: "xsetid",
        arity: -3,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW_UPDATE.at(1)]),
        summary: "An internal command for replicating stream values.",
        syntax: "key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]",
        handler: Handler::Write(xsetid),
        history: &[("7.0.0", "Added the `entries_added` and `max_deleted_entry_id` arguments.")],
        ..ROW
    },
    Command {
        name: "xtrim",
        arity: -4,
        flags: Flags::WRITE,
        keys: Keys::Specs(&[KeyFlags::RW_DELETE.at(1)]),
        complexity: "O(N), with N being the number of evicted entries. Constant times are very small however, since \
            entries are organized in macro nodes containing multiple entries that can be released with a single \
            deallocation.",
        summary: "Deletes messages from the beginning of a stream.",
        syntax: "key <MAXLEN | MINID> [= | ~] threshold [LIMIT count]",
        handler: Handler::Write(xtrim),
        tips: NONDETERMINISTIC,
        history: &[("6.2.0", "Added the `MINID` trimming strategy and the `LIMIT` option.")],
        ..ROW
    },
];

pub const NONDETERMINISTIC: &[&str] = &["nondeterministic_output"];

const ROW: Command = Command { group: Group::Stream, since: "5.0.0", complexity: "O(1)", ..Command::ROW };

const RANGE: Command = Command {
    arity: -4,
    flags: Flags::READONLY,
    keys: Keys::Specs(&[KeyFlags::RO_ACCESS.at(1)]),
    complexity: "O(N) with N being the number of elements being returned. If N is constant (e.g. always asking for the \
        first 10 elements with COUNT), you can consider it O(1).",
    history: &[("6.2.0", "Added exclusive ranges.")],
    ..ROW
};

/// No entry has more bytes in Redis.
const ENTRY_BYTES_MAX: usize = 1 << 30;

/// The stream at a key. `None`: there is no such key; one of another kind is the error WRONGTYPE.
pub fn stream_at<'a>(call: &ReadCall<'a>, key: &[u8]) -> Result<Option<Stream<'a>>, CommandError> {
    let stream = lookup::optional(call.keyspace.stream(key)?)?;
    Ok(stream.map(|stream| stream.with_values_up_to(call.reply.room() as u64)))
}

/// Ids of entries, of which none is anything else.
pub fn ids(arguments: &[&[u8]]) -> Result<Vec<StreamId>, CommandError> {
    arguments.iter().map(|id| stream_ids::exact(id)).collect()
}

fn xadd(call: &mut WriteCall<'_>) -> CommandResult {
    let (args, key) = (call.args, call.args[1]);
    let options = TrimOptions::parse(args, true, call.keyspace.thresholds())?;
    let (id, behind) = options.id.unwrap_or((NewId::Next, args.len()));
    let fields = &args[behind..];
    if fields.is_empty() || !fields.len().is_multiple_of(2) {
        return Err(errors::wrong_arity("xadd"));
    }
    if id == NewId::Exactly(StreamId::MIN) {
        return Err(errors::STREAM_ID_ZERO.into());
    }
    if fields.iter().map(|part| part.len()).sum::<usize>() > ENTRY_BYTES_MAX {
        return Err(errors::STREAM_ENTRY_TOO_LARGE.into());
    }
    let added = call.keyspace.stream_add(key, id, fields, options.trim.as_ref(), options.must_be_there)?;
    let Some(added) = lookup::optional(added)? else { return Ok(Reply::Null) };
    let added = added.map_err(|refused| match refused {
        NotAdded::Exhausted => CommandError::from(errors::STREAM_EXHAUSTED),
        NotAdded::NotGreater => errors::STREAM_ID_NOT_GREATER.into(),
    })?;
    call.tell_of(Class::Stream, added.is_new, "xadd", key);
    if added.trimmed > 0 {
        call.tell(Class::Stream, "xtrim", key);
    }
    Ok(id_reply(added.id))
}

fn xtrim(call: &mut WriteCall<'_>) -> CommandResult {
    let options = TrimOptions::parse(call.args, false, call.keyspace.thresholds())?;
    let trim = options.trim.ok_or(CommandError::from(errors::TRIM_MISSING))?;
    let removed = lookup::optional(call.keyspace.stream_trim(call.args[1], &trim)?)?.unwrap_or(0);
    if removed > 0 {
        call.tell(Class::Stream, "xtrim", call.args[1]);
    }
    Ok(Reply::Integer(removed.cast_signed()))
}

fn xdel(call: &mut WriteCall<'_>) -> CommandResult {
    let key = call.args[1];
    // What is wrong with the ids is of no interest where there is no stream.
    if lookup::optional(call.keyspace.stream(key)?)?.is_none() {
        return Ok(Reply::Integer(0));
    }
    let ids = ids(&call.args[2..])?;
    let removed = lookup::optional(call.keyspace.stream_delete(key, &ids)?)?.unwrap_or(0);
    if removed > 0 {
        call.tell(Class::Stream, "xdel", key);
    }
    Ok(Reply::Integer(removed.cast_signed()))
}

fn xlen(_: &[&[u8]], key: Option<&Entry>, _: i64) -> LookResult {
    let entries = look::of_kind(key, Kind::Stream)?.map_or(0, |key| key.length);
    Ok(Told::Integer(i64::try_from(entries).unwrap_or(i64::MAX)))
}

fn range(call: &mut ReadCall<'_>, direction: Direction) -> ReadResult {
    let args = call.args;
    let (start, end) = if direction == Direction::Forward { (args[2], args[3]) } else { (args[3], args[2]) };
    let range = (stream_ids::range_start(start)?, stream_ids::range_end(end)?);
    let mut count = u64::MAX;
    for option in args[4..].chunks(2) {
        match *option {
            [word, number] if args::is_word(word, "count") => count = args::integer(number)?.max(0).cast_unsigned(),
            _ => return Err(errors::SYNTAX.into()),
        }
    }
    let Some(stream) = stream_at(call, args[1])? else { return Ok(call.reply.array(0)?) };
    if count == 0 {
        return Ok(call.reply.null_array()?);
    }
    write_range(call, &stream, range, direction, count)
}

fn xsetid(call: &mut WriteCall<'_>) -> CommandResult {
    let args = call.args;
    let mut counters = StreamCounters { last: stream_ids::exact(args[2])?, added: None, max_deleted: None };
    for option in args[3..].chunks(2) {
        match *option {
            [word, number] if args::is_word(word, "entriesadded") => {
                let added = u64::try_from(args::integer(number)?);
                counters.added = Some(added.map_err(|_| CommandError::from(errors::XSETID_ADDED_NEGATIVE))?);
            }
            [word, id] if args::is_word(word, "maxdeletedid") => {
                let max_deleted = stream_ids::exact(id)?;
                if counters.last < max_deleted {
                    return Err(errors::XSETID_BELOW_GIVEN_DELETED.into());
                }
                counters.max_deleted = Some(max_deleted).filter(|id| !id.is_zero());
            }
            _ => return Err(errors::SYNTAX.into()),
        }
    }
    let set = lookup::optional(call.keyspace.stream_set_id(args[1], &counters)?)?;
    set.ok_or(CommandError::from(errors::NO_SUCH_KEY))?.map_err(|refused| {
        CommandError::from(match refused {
            NotSet::BelowDeleted => errors::XSETID_BELOW_DELETED,
            NotSet::BelowEntry => errors::XSETID_BELOW_ENTRY,
            NotSet::BelowLength => errors::XSETID_BELOW_LENGTH,
        })
    })?;
    call.tell(Class::Stream, "xsetid", args[1]);
    Ok(Reply::Ok)
}
