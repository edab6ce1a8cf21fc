//! Taking members out of sorted sets: the lowest or the highest, of one set or of the first that has some, at once or when there are some.

use crate::kv::call::{Class, Waited, WriteCall};
use crate::kv::commands::args::{self, PopFromFirst};
use crate::kv::commands::lookup;
use crate::kv::commands::ranked::{self, MEMBER_BYTES_MIN};
use crate::kv::commands::table::{Command, Flags, Handler, KeyFlags, Keys, Nil, Wait};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::table::wait;
use crate::resp::{Reply, Version};
use crate::storage::{Direction, Kind};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "bzmpop",
        arity: -5,
        flags: Flags::WRITE.or(Flags::BLOCKING),
        keys: Keys::Specs(&[KeyFlags::RW_ACCESS_DELETE.counted_at(2)]),
        since: "7.0.0",
        complexity: "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in \
            the sorted set, and M being the number of elements popped.",
        summary: "Removes and returns a member by score from one or more sorted sets. Blocks until a member is \
            available otherwise. Deletes the sorted set if the last element was popped.",
        syntax: "timeout numkeys key [key ...] <MIN | MAX> [COUNT count]",
        handler: Handler::Wait(Wait {
            run: bzmpop,
            keys: |args| 3..3 + PopFromFirst::parse(&args[2..], end_named).map_or(0, |asked| asked.keys.len()),
            timeout: |args, now_ms| wait::seconds(args[1], now_ms),
            ..POP_OR_WAIT
        }),
        ..ranked::ROW
    },
    Command {
        name: "bzpopmax",
        arity: -3,
        flags: Flags::WRITE.or(Flags::FAST).or(Flags::BLOCKING),
        keys: Keys::Specs(&[KeyFlags::RW_ACCESS_DELETE.range(1, -2, 1)]),
        since: "5.0.0",
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        summary: "Removes and returns the member with the highest score from one or more sorted sets. Blocks until a \
            member available otherwise. Deletes the sorted set if the last element was popped.",
        syntax: "key [key ...] timeout",
        handler: Handler::Wait(Wait { run: bzpopmax, ..POP_OR_WAIT }),
        history: &[("6.0.0", "`timeout` is interpreted as a double instead of an integer.")],
        ..ranked::ROW
    },
    Command {
        name: "bzpopmin",
        arity: -3,
        flags: Flags::WRITE.or(Flags::FAST).or(Flags::BLOCKING),
        keys: Keys::Specs(&[KeyFlags::RW_ACCESS_DELETE.range(1, -2, 1)]),
        since: "5.0.0",
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        summary: "Removes and returns the member with the lowest score from one or more sorted sets. Blocks until a \
            member is available otherwise. Deletes the sorted set if the last element was popped.",
        syntax: "key [key ...] timeout",
        handler: Handler::Wait(Wait { run: bzpopmin, ..POP_OR_WAIT }),
        history: &[("6.0.0", "`timeout` is interpreted as a double instead of an integer.")],
        ..ranked::ROW
    },
    Command {
        name: "zmpop",
        arity: -4,
        flags: Flags::WRITE,
        keys: Keys::Specs(&[KeyFlags::RW_ACCESS_DELETE.counted_at(1)]),
        since: "7.0.0",
        complexity: "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in \
            the sorted set, and M being the number of elements popped.",
        summary: "Returns the highest- or lowest-scoring members from one or more sorted sets after removing them. \
            Deletes the sorted set if the last member was popped.",
        syntax: "numkeys key [key ...] <MIN | MAX> [COUNT count]",
        handler: Handler::Write(zmpop),
        ..ranked::ROW
    },
    Command {
        name: "zpopmax",
        arity: -2,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW_ACCESS_DELETE.at(1)]),
        since: "5.0.0",
        complexity: "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of \
            elements popped.",
        summary: "Returns the highest-scoring members from a sorted set after removing them. Deletes the sorted set \
            if the last member was popped.",
        syntax: "key [count]",
        handler: Handler::Write(zpopmax),
        ..ranked::ROW
    },
    Command {
        name: "zpopmin",
        arity: -2,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW_ACCESS_DELETE.at(1)]),
        since: "5.0.0",
        complexity: "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of \
            elements popped.",
        summary: "Returns the lowest-scoring members from a sorted set after removing them. Deletes the sorted set \
            if the last member was popped.",
        syntax: "key [count]",
        handler: Handler::Write(zpopmin),
        ..ranked::ROW
    },
];

const POP_OR_WAIT: Wait = Wait {
    run: bzpopmin,
    kind: Kind::SortedSet,
    keys: |args| 1..args.len() - 1,
    timeout: |args, now_ms| wait::seconds(args[args.len() - 1], now_ms),
    may: |_| true,
    in_scripts: |_| Ok(()),
    read: None,
    ends_without_key: false,
    nil: Nil::NullArray,
};

/// How a reply shows what was taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Members and scores in turn.
    Flat,
    /// An array of pairs.
    Pairs,
    /// The key, then members and scores in turn.
    KeyAndFlat,
    /// The key and an array of pairs.
    KeyAndPairs,
}

fn zpopmin(call: &mut WriteCall<'_>) -> CommandResult {
    pop_from_one(call, Direction::Forward)
}

fn zpopmax(call: &mut WriteCall<'_>) -> CommandResult {
    pop_from_one(call, Direction::Backward)
}

fn pop_from_one(call: &mut WriteCall<'_>, end: Direction) -> CommandResult {
    let count = match &call.args[2..] {
        [] => None,
        [count] => Some(args::natural_or(count, errors::NOT_POSITIVE)?),
        _ => return Err(errors::SYNTAX.into()),
    };
    let is_nested = count.is_some() && call.version == Version::Resp3;
    let shape = if is_nested { Shape::Pairs } else { Shape::Flat };
    let key = call.args[1];
    let popped = match count {
        Some(0) => {
            ranked::of(call.keyspace, key)?;
            None
        }
        count => pop(call, key, end, count.unwrap_or(1), shape)?,
    };
    Ok(popped.unwrap_or(Reply::Array(Vec::new())))
}

fn zmpop(call: &mut WriteCall<'_>) -> CommandResult {
    let asked = PopFromFirst::parse(&call.args[1..], end_named)?;
    Ok(pop_from_first(call, &asked, Shape::KeyAndPairs)?.unwrap_or(Reply::NullArray))
}

fn bzmpop(call: &mut WriteCall<'_>) -> Result<Waited, CommandError> {
    let asked = PopFromFirst::parse(&call.args[2..], end_named)?;
    wait::seconds(call.args[1], call.now_ms)?;
    pop_from_first(call, &asked, Shape::KeyAndPairs).map(Waited::from)
}

fn bzpopmin(call: &mut WriteCall<'_>) -> Result<Waited, CommandError> {
    pop_or_wait(call, Direction::Forward)
}

fn bzpopmax(call: &mut WriteCall<'_>) -> Result<Waited, CommandError> {
    pop_or_wait(call, Direction::Backward)
}

fn pop_or_wait(call: &mut WriteCall<'_>, end: Direction) -> Result<Waited, CommandError> {
    let last = call.args.len() - 1;
    wait::seconds(call.args[last], call.now_ms)?;
    let asked = PopFromFirst { keys: &call.args[1..last], end, count: 1 };
    pop_from_first(call, &asked, Shape::KeyAndFlat).map(Waited::from)
}

/// MIN or MAX.
fn end_named(word: &[u8]) -> Result<Direction, CommandError> {
    match word {
        word if args::is_word(word, "min") => Ok(Direction::Forward),
        word if args::is_word(word, "max") => Ok(Direction::Backward),
        _ => Err(errors::SYNTAX.into()),
    }
}

/// Takes members out of the first key that has some. `None`: none has.
fn pop_from_first(
    call: &mut WriteCall<'_>,
    asked: &PopFromFirst<'_, '_, Direction>,
    shape: Shape,
) -> Result<Option<Reply>, CommandError> {
    for key in asked.keys {
        if let Some(popped) = pop(call, key, asked.end, asked.count, shape)? {
            return Ok(Some(popped));
        }
    }
    Ok(None)
}

/// Takes so many members, at least one, out of a set, and tells of it; all where there are no more. `None`: there is no such key.
fn pop(
    call: &mut WriteCall<'_>,
    key: &[u8],
    end: Direction,
    count: u64,
    shape: Shape,
) -> Result<Option<Reply>, CommandError> {
    let (mut taken, mut left) = (Vec::new(), call.reply_bytes_max.saturating_sub(key.len()));
    let removed = call.keyspace.sorted_set_pop::<CommandError>(key, count, end, |member, score| {
        left = left.checked_sub(member.len() + MEMBER_BYTES_MIN as usize).ok_or(errors::REPLY_TOO_LARGE)?;
        taken.push((Reply::Bulk(member.to_vec()), Reply::Double(score)));
        Ok(())
    })?;
    let Some(removed) = lookup::optional(removed)? else { return Ok(None) };
    let event = if end == Direction::Forward { "zpopmin" } else { "zpopmax" };
    lookup::tell_removal(call, Class::SortedSet, event, key, removed.is_gone);
    Ok(Some(shown(key, taken, shape)))
}

fn shown(key: &[u8], taken: Vec<(Reply, Reply)>, shape: Shape) -> Reply {
    let key = || Reply::Bulk(key.to_vec());
    let pairs = |taken: Vec<(Reply, Reply)>| {
        Reply::Array(taken.into_iter().map(|(member, score)| Reply::Array(vec![member, score])).collect())
    };
    let flat = |taken: Vec<(Reply, Reply)>| taken.into_iter().flat_map(|(member, score)| [member, score]);
    match shape {
        Shape::Flat => Reply::Array(flat(taken).collect()),
        Shape::Pairs => pairs(taken),
        Shape::KeyAndFlat => Reply::Array(std::iter::once(key()).chain(flat(taken)).collect()),
        Shape::KeyAndPairs => Reply::Array(vec![key(), pairs(taken)]),
    }
}
