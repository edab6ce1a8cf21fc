//! What moves items out of one list of several, or from one to another: LMPOP, LMOVE, RPOPLPUSH.

use crate::kv::call::WriteCall;
use crate::kv::commands::args::{self, PopFromFirst};
use crate::kv::commands::lists::{take, tell_pop, tell_push};
use crate::kv::commands::lookup;
use crate::kv::commands::table::{Command, Deprecated, Flags, Group, Handler, KeyFlags, Keys};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::resp::Reply;
use crate::storage::{End, Moved};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "lmove",
        arity: 5,
        since: "6.2.0",
        summary: "Returns an element after popping it from one list and pushing it to another. Deletes the list if the \
            last element was moved.",
        syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT>",
        handler: Handler::Write(lmove),
        ..MOVE
    },
    Command {
        name: "lmpop",
        arity: -4,
        flags: Flags::WRITE,
        keys: Keys::Specs(&[KeyFlags::RW_ACCESS_DELETE.counted_at(1)]),
        group: Group::List,
        since: "7.0.0",
        complexity: "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
        summary: "Returns multiple elements from a list after removing them. Deletes the list if the last element was \
            popped.",
        syntax: "numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        handler: Handler::Write(lmpop),
        ..Command::ROW
    },
    Command {
        name: "rpoplpush",
        arity: 3,
        since: "1.2.0",
        summary: "Returns the last element of a list after removing and pushing it to another list. Deletes the list \
            if the last element was popped.",
        syntax: "source destination",
        handler: Handler::Write(rpoplpush),
        deprecated: Some(Deprecated { since: "6.2.0", replaced_by: "`LMOVE` with the `RIGHT` and `LEFT` arguments" }),
        ..MOVE
    },
];

const MOVE: Command = Command {
    flags: Flags::WRITE.or(Flags::DENYOOM),
    keys: Keys::Specs(&[KeyFlags::RW_ACCESS_DELETE.at(1), KeyFlags::RW_INSERT.at(2)]),
    group: Group::List,
    complexity: "O(1)",
    ..Command::ROW
};

/// LEFT or RIGHT.
pub fn end_named(word: &[u8]) -> Result<End, CommandError> {
    if args::is_word(word, "left") {
        Ok(End::Front)
    } else if args::is_word(word, "right") {
        Ok(End::Back)
    } else {
        Err(errors::SYNTAX.into())
    }
}

fn lmove(call: &mut WriteCall<'_>) -> CommandResult {
    let args = call.args;
    let (from, to) = (end_named(args[3])?, end_named(args[4])?);
    Ok(move_item(call, (args[1], from), (args[2], to))?.unwrap_or(Reply::Null))
}

fn rpoplpush(call: &mut WriteCall<'_>) -> CommandResult {
    let args = call.args;
    Ok(move_item(call, (args[1], End::Back), (args[2], End::Front))?.unwrap_or(Reply::Null))
}

/// Takes an item from an end of a list to an end of another, or of the same, and tells of it as Redis does: the push first. `None`: there
/// is no such key, and nothing has changed.
pub fn move_item(
    call: &mut WriteCall<'_>,
    (source, from): (&[u8], End),
    (destination, to): (&[u8], End),
) -> Result<Option<Reply>, CommandError> {
    if source == destination {
        let Some(item) = lookup::optional(call.keyspace.list_rotate(source, from, to)?)? else { return Ok(None) };
        call.check_reply(item.len())?;
        tell_push(call, source, to, false);
        tell_pop(call, source, from, false);
        return Ok(Some(Reply::Bulk(item)));
    }
    let moved = call.keyspace.list_move((source, from), (destination, to))?;
    let Some(Moved { item, is_gone, is_new }) = lookup::optional(moved)? else { return Ok(None) };
    call.check_reply(item.len())?;
    tell_push(call, destination, to, is_new);
    tell_pop(call, source, from, is_gone);
    Ok(Some(Reply::Bulk(item)))
}

fn lmpop(call: &mut WriteCall<'_>) -> CommandResult {
    let asked = PopFromFirst::parse(&call.args[1..], end_named)?;
    Ok(take_from_first(call, &asked)?.unwrap_or(Reply::NullArray))
}

/// `None`: none of the lists is there.
pub fn take_from_first(
    call: &mut WriteCall<'_>,
    asked: &PopFromFirst<'_, '_, End>,
) -> Result<Option<Reply>, CommandError> {
    for key in asked.keys {
        if let Some(items) = take(call, key, asked.end, asked.count)? {
            return Ok(Some(Reply::Array(vec![Reply::Bulk(key.to_vec()), Reply::Array(items)])));
        }
    }
    Ok(None)
}
