//! Lists: LPUSH, LRANGE and their relatives. A small one lies packed in its key's row, and the loop answers for it; a large one has a row for
//! each item. What moves items from list to list is in list_moves, LPOS in list_positions.

use crate::kv::call::{Class, ReadCall, ReadResult, WriteCall};
use crate::kv::commands::args;
use crate::kv::commands::lookup;
use crate::kv::commands::table::{Command, Flags, Group, Handler, KeyFlags, Keys};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::table::look::{self, ElementsAnswer, Look, LookResult, Reads, Shape, Told};
use crate::resp::{Reply, ReplyWriter};
use crate::storage::{End, Entry, Kind, List, Packed, index_of, range_of};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "lindex",
        arity: 3,
        flags: Flags::READONLY,
        complexity: "O(N) where N is the number of elements to traverse to get to the element at index. This makes \
            asking for the first or the last element of the list O(1).",
        summary: "Returns an element from a list by its index.",
        syntax: "key index",
        handler: look(lindex, lindex_apart, Reads::Few),
        ..ROW
    },
    Command {
        name: "linsert",
        arity: 5,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: Keys::Specs(&[KeyFlags::RW_INSERT.at(1)]),
        since: "2.2.0",
        complexity: "O(N) where N is the number of elements to traverse before seeing the value pivot. This means that \
            inserting somewhere on the left end on the list (head) can be considered O(1) and inserting somewhere on \
            the right end (tail) is O(N).",
        summary: "Inserts an element before or after another element in a list.",
        syntax: "key <BEFORE | AFTER> pivot element",
        handler: Handler::Write(linsert),
        ..ROW
    },
    Command {
        name: "llen",
        arity: 2,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RO.at(1)]),
        summary: "Returns the length of a list.",
        syntax: "key",
        handler: Handler::Look(Look::at_head(Shape::One, llen)),
        ..ROW
    },
    Command {
        name: "lpop",
        summary: "Returns the first elements in a list after removing it. Deletes the list if the last element was popped.",
        handler: Handler::Write(|call| pop(call, End::Front)),
        ..POP
    },
    Command {
        name: "lpush",
        summary: "Prepends one or more elements to a list. Creates the key if it doesn't exist.",
        handler: Handler::Write(|call| push(call, End::Front, false)),
        ..PUSH
    },
    Command {
        name: "lpushx",
        since: "2.2.0",
        summary: "Prepends one or more elements to a list only when the list exists.",
        handler: Handler::Write(|call| push(call, End::Front, true)),
        history: &[("4.0.0", "Accepts multiple `element` arguments.")],
        ..PUSH
    },
    Command {
        name: "lrange",
        arity: 4,
        flags: Flags::READONLY,
        complexity: "O(S+N) where S is the distance of start offset from HEAD for small lists, from nearest end (HEAD \
            or TAIL) for large lists; and N is the number of elements in the specified range.",
        summary: "Returns a range of elements from a list.",
        syntax: "key start stop",
        handler: look(lrange, lrange_apart, Reads::Range(lookup::count_of_ranks)),
        ..ROW
    },
    Command {
        name: "lrem",
        arity: 4,
        flags: Flags::WRITE,
        keys: Keys::Specs(&[KeyFlags::RW.or(KeyFlags::DELETE).at(1)]),
        complexity: "O(N+M) where N is the length of the list and M is the number of elements removed.",
        summary: "Removes elements from a list. Deletes the list if the last element was removed.",
        syntax: "key count element",
        handler: Handler::Write(lrem),
        ..ROW
    },
    Command {
        name: "lset",
        arity: 4,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: Keys::Specs(&[KeyFlags::RW_UPDATE.at(1)]),
        complexity: "O(N) where N is the length of the list. Setting either the first or the last element of the list \
            is O(1).",
        summary: "Sets the value of an element in a list by its index.",
        syntax: "key index element",
        handler: Handler::Write(lset),
        ..ROW
    },
    Command {
        name: "ltrim",
        arity: 4,
        flags: Flags::WRITE,
        keys: Keys::Specs(&[KeyFlags::RW.or(KeyFlags::DELETE).at(1)]),
        complexity: "O(N) where N is the number of elements to be removed by the operation.",
        summary: "Removes elements from both ends a list. Deletes the list if all elements were trimmed.",
        syntax: "key start stop",
        handler: Handler::Write(ltrim),
        ..ROW
    },
    Command {
        name: "rpop",
        summary: "Returns and removes the last elements of a list. Deletes the list if the last element was popped.",
        handler: Handler::Write(|call| pop(call, End::Back)),
        ..POP
    },
    Command {
        name: "rpush",
        summary: "Appends one or more elements to a list. Creates the key if it doesn't exist.",
        handler: Handler::Write(|call| push(call, End::Back, false)),
        ..PUSH
    },
    Command {
        name: "rpushx",
        since: "2.2.0",
        summary: "Appends an element to a list only when the list exists.",
        handler: Handler::Write(|call| push(call, End::Back, true)),
        history: &[("4.0.0", "Accepts multiple `element` arguments.")],
        ..PUSH
    },
];

/// What most rows have in common.
const ROW: Command =
    Command { keys: Keys::Specs(&[KeyFlags::RO_ACCESS.at(1)]), group: Group::List, since: "1.0.0", ..Command::ROW };

const PUSH: Command = Command {
    arity: -3,
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
    keys: Keys::Specs(&[KeyFlags::RW_INSERT.at(1)]),
    complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple \
        arguments.",
    syntax: "key element [element ...]",
    history: &[("2.4.0", "Accepts multiple `element` arguments.")],
    ..ROW
};

const POP: Command = Command {
    arity: -2,
    flags: Flags::WRITE.or(Flags::FAST),
    keys: Keys::Specs(&[KeyFlags::RW_ACCESS_DELETE.at(1)]),
    complexity: "O(N) where N is the number of elements returned",
    syntax: "key [count]",
    history: &[("6.2.0", "Added the `count` argument.")],
    ..ROW
};

/// What an item takes in a reply beside its bytes, at least.
const ITEM_BYTES_MIN: usize = 6;

/// A read of a list, packed in its key's row or not.
const fn look(packed: look::PackedHandler, apart: fn(&mut ReadCall<'_>) -> ReadResult, reads: Reads) -> Handler {
    Handler::Look(Look::at_elements(ElementsAnswer { kind: Kind::List, packed, apart, reads }))
}

/// The list at a key. `None`: there is no such key; one of another kind is the error WRONGTYPE.
pub fn list_at<'a>(call: &ReadCall<'a>, key: &[u8]) -> Result<Option<List<'a>>, CommandError> {
    let list = lookup::optional(call.keyspace.list(key)?)?;
    Ok(list.map(|list| list.with_values_up_to(call.reply.room() as u64)))
}

/// The list that the call's look has found, and not in the key's row.
fn found<'a>(call: &ReadCall<'a>) -> Result<List<'a>, CommandError> {
    list_at(call, call.args[1])?.ok_or(CommandError::from(errors::INTERNAL))
}

fn llen(_: &[&[u8]], key: Option<&Entry>, _: i64) -> LookResult {
    let items = look::of_kind(key, Kind::List)?.map_or(0, |key| key.length);
    Ok(Told::Integer(i64::try_from(items).unwrap_or(i64::MAX)))
}

fn lindex(args: &[&[u8]], items: &Packed<'_>, reply: &mut ReplyWriter<'_>) -> ReadResult {
    let length = items.elements().count() as u64;
    // What is wrong with the index is of no interest where there is no list.
    if length == 0 {
        return Ok(reply.null()?);
    }
    let item = index_of(args::integer(args[2])?, length).and_then(|index| items.elements().nth(index as usize));
    Ok(match item.transpose()? {
        Some((item, _)) => reply.bulk(item),
        None => reply.null(),
    }?)
}

fn lindex_apart(call: &mut ReadCall<'_>) -> ReadResult {
    let number = args::integer(call.args[2])?;
    let list = found(call)?;
    let reply = &mut call.reply;
    let Some(index) = index_of(number, list.len()) else { return Ok(reply.null()?) };
    Ok(match list.get(index, |item| reply.bulk(item))? {
        Some(written) => written,
        None => reply.null(),
    }?)
}

/// The first index of a range, and how many items it has of so many.
fn range(args: &[&[u8]], length: impl FnOnce() -> u64) -> Result<(u64, u64), CommandError> {
    let (start, stop) = (args::integer(args[2])?, args::integer(args[3])?);
    Ok(range_of(start, stop, length()).unwrap_or((0, 0)))
}

fn lrange(args: &[&[u8]], items: &Packed<'_>, reply: &mut ReplyWriter<'_>) -> ReadResult {
    let (first, count) = range(args, || items.elements().count() as u64)?;
    reply.array(count as usize)?;
    for item in items.elements().skip(first as usize).take(count as usize) {
        reply.bulk(item?.0)?;
    }
    Ok(())
}

fn lrange_apart(call: &mut ReadCall<'_>) -> ReadResult {
    let list = found(call)?;
    let (first, count) = range(call.args, || list.len())?;
    call.check_elements(count)?;
    let reply = &mut call.reply;
    reply.check(count.saturating_mul(ITEM_BYTES_MIN as u64))?;
    reply.array(usize::try_from(count).unwrap_or(usize::MAX))?;
    list.each(first, count, |item| Ok(reply.bulk(item)?))
}

fn push(call: &mut WriteCall<'_>, end: End, must_be_there: bool) -> CommandResult {
    let (key, values) = (call.args[1], &call.args[2..]);
    let Some(pushed) = lookup::optional(call.keyspace.list_push(key, end, values, must_be_there)?)? else {
        return Ok(Reply::Integer(0));
    };
    tell_push(call, key, end, pushed.is_new);
    Ok(Reply::Integer(pushed.length.cast_signed()))
}

/// Tells of items that came to an end of a list; `is_new`: its key was not there before.
pub fn tell_push(call: &mut WriteCall<'_>, key: &[u8], end: End, is_new: bool) {
    let event = if end == End::Front { "lpush" } else { "rpush" };
    call.tell_of(Class::List, is_new, event, key);
}

/// Tells of items that an end of a list has lost.
pub fn tell_pop(call: &mut WriteCall<'_>, key: &[u8], end: End, is_gone: bool) {
    let event = if end == End::Front { "lpop" } else { "rpop" };
    lookup::tell_removal(call, Class::List, event, key, is_gone);
}

/// Takes so many items, at least one, off an end of a list, and tells of it. `None`: there is no such key.
pub fn take(call: &mut WriteCall<'_>, key: &[u8], end: End, count: u64) -> Result<Option<Vec<Reply>>, CommandError> {
    let (mut items, mut left) = (Vec::new(), call.reply_bytes_max);
    let popped = call.keyspace.list_pop(key, end, count, |item| {
        left = left.checked_sub(item.len() + ITEM_BYTES_MIN).ok_or(errors::REPLY_TOO_LARGE)?;
        items.push(Reply::Bulk(item.to_vec()));
        Ok::<_, CommandError>(())
    })?;
    let Some(removed) = lookup::optional(popped)? else { return Ok(None) };
    tell_pop(call, key, end, removed.is_gone);
    Ok(Some(items))
}

fn pop(call: &mut WriteCall<'_>, end: End) -> CommandResult {
    let key = call.args[1];
    let count = match &call.args[2..] {
        [] => {
            let item = take(call, key, end, 1)?.and_then(|mut items| items.pop());
            return Ok(item.unwrap_or(Reply::Null));
        }
        [count] => args::natural_or(count, errors::NOT_POSITIVE)?,
        _ => return Err(errors::wrong_arity(if end == End::Front { "lpop" } else { "rpop" })),
    };
    if count == 0 {
        let is_there = lookup::optional(call.keyspace.list(key)?)?.is_some();
        return Ok(if is_there { Reply::Array(Vec::new()) } else { Reply::NullArray });
    }
    Ok(take(call, key, end, count)?.map_or(Reply::NullArray, Reply::Array))
}

fn lset(call: &mut WriteCall<'_>) -> CommandResult {
    let args = call.args;
    // What is wrong with the index is of no interest where there is no list.
    let set = match args::integer(args[2]) {
        Ok(index) => call.keyspace.list_set(args[1], index, args[3])?.map(Ok),
        Err(error) => call.keyspace.list(args[1])?.map(|_| Err(error)),
    };
    if !lookup::optional(set)?.ok_or(errors::NO_SUCH_KEY)?? {
        return Err(errors::INDEX_OUT_OF_RANGE.into());
    }
    call.tell(Class::List, "lset", args[1]);
    Ok(Reply::Ok)
}

fn linsert(call: &mut WriteCall<'_>) -> CommandResult {
    let args = call.args;
    let side = if args::is_word(args[2], "after") {
        End::Back
    } else if args::is_word(args[2], "before") {
        End::Front
    } else {
        return Err(errors::SYNTAX.into());
    };
    Ok(Reply::Integer(match lookup::optional(call.keyspace.list_insert(args[1], side, args[3], args[4])?)? {
        None => 0,
        Some(None) => -1,
        Some(Some(length)) => {
            call.tell(Class::List, "linsert", args[1]);
            length.cast_signed()
        }
    }))
}

fn lrem(call: &mut WriteCall<'_>) -> CommandResult {
    let args = call.args;
    let count = args::integer(args[2])?;
    let Some(removed) = lookup::optional(call.keyspace.list_remove(args[1], count, args[3])?)? else {
        return Ok(Reply::Integer(0));
    };
    if removed.count > 0 {
        lookup::tell_removal(call, Class::List, "lrem", args[1], removed.is_gone);
    }
    Ok(Reply::Integer(removed.count.cast_signed()))
}

fn ltrim(call: &mut WriteCall<'_>) -> CommandResult {
    let args = call.args;
    let (start, stop) = (args::integer(args[2])?, args::integer(args[3])?);
    if let Some(removed) = lookup::optional(call.keyspace.list_trim(args[1], start, stop)?)? {
        lookup::tell_removal(call, Class::List, "ltrim", args[1], removed.is_gone);
    }
    Ok(Reply::Ok)
}

#[cfg(test)]
#[path = "lists_tests.rs"]
mod tests;
