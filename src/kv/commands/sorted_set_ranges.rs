//! Ranges of sorted sets, by rank, score or member: what shows, counts, removes or stores one. The options are read in sorted_set_bounds.

use crate::kv::call::{Class, ReadCall, ReadResult, WriteCall};
use crate::kv::commands::elements::{Ended, wrong_count};
use crate::kv::commands::lookup;
use crate::kv::commands::portion::Portion;
use crate::kv::commands::ranked::{self, Part, Ranked};
use crate::kv::commands::sorted_set_bounds::{By, Form, Range, Span};
use crate::kv::commands::table::{Command, Deprecated, Flags, Handler, KeyFlags, Keys};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::resp::{Reply, ReplyWriter};
use crate::storage::{Keyspace, Kind, Packed};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "zcount",
        arity: 4,
        flags: Flags::READONLY.or(Flags::FAST),
        since: "2.0.0",
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        summary: "Returns the count of members in a sorted set that have scores within a range.",
        syntax: "key min max",
        handler: ranked::look(
            |args, set, reply| count(By::Score, args, set, reply),
            |call| count_apart(By::Score, call),
        ),
        ..ranked::ROW
    },
    Command {
        name: "zlexcount",
        arity: 4,
        flags: Flags::READONLY.or(Flags::FAST),
        since: "2.8.9",
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        summary: "Returns the number of members in a sorted set within a lexicographical range.",
        syntax: "key min max",
        handler: ranked::look(
            |args, set, reply| count(By::Member, args, set, reply),
            |call| count_apart(By::Member, call),
        ),
        ..ranked::ROW
    },
    Command {
        name: "zrange",
        arity: -4,
        flags: Flags::READONLY,
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements \
            returned.",
        summary: "Returns members in a sorted set within a range of indexes.",
        syntax: "key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
        handler: ranked::look_at_ranks(|args, set, reply| range(ANY, args, set, reply), |call| range_apart(ANY, call)),
        history: &[("6.2.0", "Added the `REV`, `BYSCORE`, `BYLEX` and `LIMIT` options.")],
        ..ranked::ROW
    },
    Command {
        name: "zrangebylex",
        arity: -4,
        flags: Flags::READONLY,
        since: "2.8.9",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements \
            being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can \
            consider it O(log(N)).",
        summary: "Returns members in a sorted set within a lexicographical range.",
        syntax: "key min max [LIMIT offset count]",
        handler: ranked::look(
            |args, set, reply| range(BY_MEMBER, args, set, reply),
            |call| range_apart(BY_MEMBER, call),
        ),
        deprecated: Some(Deprecated { since: "6.2.0", replaced_by: "`ZRANGE` with the `BYLEX` argument" }),
        ..ranked::ROW
    },
    Command {
        name: "zrangebyscore",
        arity: -4,
        flags: Flags::READONLY,
        since: "1.0.5",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements \
            being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can \
            consider it O(log(N)).",
        summary: "Returns members in a sorted set within a range of scores.",
        syntax: "key min max [WITHSCORES] [LIMIT offset count]",
        handler: ranked::look(|args, set, reply| range(BY_SCORE, args, set, reply), |call| range_apart(BY_SCORE, call)),
        history: &[("2.0.0", "Added the `WITHSCORES` modifier.")],
        deprecated: Some(Deprecated { since: "6.2.0", replaced_by: "`ZRANGE` with the `BYSCORE` argument" }),
        ..ranked::ROW
    },
    Command {
        name: "zrangestore",
        arity: -5,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: Keys::Specs(&[KeyFlags::OW_UPDATE.at(1), KeyFlags::RO_ACCESS.at(2)]),
        since: "6.2.0",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements \
            stored into the destination key.",
        summary: "Stores a range of members from sorted set in a key.",
        syntax: "dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
        handler: Handler::Write(zrangestore),
        ..ranked::ROW
    },
    Command {
        name: "zremrangebylex",
        arity: 4,
        flags: Flags::WRITE,
        keys: Keys::Specs(&[KeyFlags::RW.or(KeyFlags::DELETE).at(1)]),
        since: "2.8.9",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements \
            removed by the operation.",
        summary: "Removes members in a sorted set within a lexicographical range. Deletes the sorted set if all \
            members were removed.",
        syntax: "key min max",
        handler: Handler::Write(|call| remove(call, By::Member, "zremrangebylex")),
        ..ranked::ROW
    },
    Command {
        name: "zremrangebyrank",
        arity: 4,
        flags: Flags::WRITE,
        keys: Keys::Specs(&[KeyFlags::RW.or(KeyFlags::DELETE).at(1)]),
        since: "2.0.0",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements \
            removed by the operation.",
        summary: "Removes members in a sorted set within a range of indexes. Deletes the sorted set if all members \
            were removed.",
        syntax: "key start stop",
        handler: Handler::Write(|call| remove(call, By::Rank, "zremrangebyrank")),
        ..ranked::ROW
    },
    Command {
        name: "zremrangebyscore",
        arity: 4,
        flags: Flags::WRITE,
        keys: Keys::Specs(&[KeyFlags::RW.or(KeyFlags::DELETE).at(1)]),
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements \
            removed by the operation.",
        summary: "Removes members in a sorted set within a range of scores. Deletes the sorted set if all members \
            were removed.",
        syntax: "key min max",
        handler: Handler::Write(|call| remove(call, By::Score, "zremrangebyscore")),
        ..ranked::ROW
    },
    Command {
        name: "zrevrange",
        arity: -4,
        flags: Flags::READONLY,
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements \
            returned.",
        summary: "Returns members in a sorted set within a range of indexes in reverse order.",
        syntax: "key start stop [WITHSCORES]",
        handler: ranked::look_at_ranks(
            |args, set, reply| range(REVERSE_BY_RANK, args, set, reply),
            |call| range_apart(REVERSE_BY_RANK, call),
        ),
        deprecated: Some(Deprecated { since: "6.2.0", replaced_by: "`ZRANGE` with the `REV` argument" }),
        ..ranked::ROW
    },
    Command {
        name: "zrevrangebylex",
        arity: -4,
        flags: Flags::READONLY,
        since: "2.8.9",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements \
            being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can \
            consider it O(log(N)).",
        summary: "Returns members in a sorted set within a lexicographical range in reverse order.",
        syntax: "key max min [LIMIT offset count]",
        handler: ranked::look(
            |args, set, reply| range(REVERSE_BY_MEMBER, args, set, reply),
            |call| range_apart(REVERSE_BY_MEMBER, call),
        ),
        deprecated: Some(Deprecated { since: "6.2.0", replaced_by: "`ZRANGE` with the `REV` and `BYLEX` arguments" }),
        ..ranked::ROW
    },
    Command {
        name: "zrevrangebyscore",
        arity: -4,
        flags: Flags::READONLY,
        since: "2.2.0",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements \
            being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can \
            consider it O(log(N)).",
        summary: "Returns members in a sorted set within a range of scores in reverse order.",
        syntax: "key max min [WITHSCORES] [LIMIT offset count]",
        handler: ranked::look(
            |args, set, reply| range(REVERSE_BY_SCORE, args, set, reply),
            |call| range_apart(REVERSE_BY_SCORE, call),
        ),
        history: &[("2.1.6", "`min` and `max` can be exclusive.")],
        deprecated: Some(Deprecated { since: "6.2.0", replaced_by: "`ZRANGE` with the `REV` and `BYSCORE` arguments" }),
        ..ranked::ROW
    },
];

/// ZRANGE, whose options say what its bounds are.
const ANY: Form = Form { by: None, is_reverse: None, may_have_scores: true };
const STORED: Form = Form { may_have_scores: false, ..ANY };
const REVERSE_BY_RANK: Form = Form { by: Some(By::Rank), is_reverse: Some(true), may_have_scores: true };
const BY_SCORE: Form = Form { by: Some(By::Score), is_reverse: Some(false), may_have_scores: true };
const REVERSE_BY_SCORE: Form = Form { is_reverse: Some(true), ..BY_SCORE };
const BY_MEMBER: Form = Form { by: Some(By::Member), ..BY_SCORE };
const REVERSE_BY_MEMBER: Form = Form { is_reverse: Some(true), ..BY_MEMBER };

fn range(form: Form, args: &[&[u8]], set: &Packed<'_>, reply: &mut ReplyWriter<'_>) -> ReadResult {
    let range = Range::parse(form, args[2], args[3], &args[4..])?;
    ranked::write_part(set, ranked::part(&range, set)?, range.has_scores, reply, || Ok(()))
}

fn range_apart(form: Form, call: &mut ReadCall<'_>) -> ReadResult {
    let args = call.args;
    let range = Range::parse(form, args[2], args[3], &args[4..])?;
    let set = ranked::found(call)?;
    let part = ranked::part(&range, &set)?;
    call.check_elements(part.count)?;
    let keyspace = call.keyspace;
    ranked::write_part(&set, part, range.has_scores, &mut call.reply, || keyspace.check_read_limit())
}

fn count_apart(by: By, call: &mut ReadCall<'_>) -> ReadResult {
    let set = ranked::found(call)?;
    count(by, call.args, &set, &mut call.reply)
}

fn count(by: By, args: &[&[u8]], set: &impl Ranked, reply: &mut ReplyWriter<'_>) -> ReadResult {
    let span = Span::parse(by, args[2], args[3])?;
    Ok(reply.count(ranked::span_part(&span, set, false)?.1)?)
}

fn remove(call: &mut WriteCall<'_>, by: By, event: &'static str) -> CommandResult {
    let key = call.args[1];
    let span = Span::parse(by, call.args[2], call.args[3])?;
    let Some(set) = ranked::of(call.keyspace, key)? else { return Ok(Reply::Integer(0)) };
    let (first, count) = ranked::span_part(&span, &set, false)?;
    if count == 0 {
        return Ok(Reply::Integer(0));
    }
    let removed = call.keyspace.sorted_set_remove_ranks(key, first, count)?;
    let removed = lookup::optional(removed)?.ok_or(CommandError::from(errors::INTERNAL))?;
    lookup::tell_removal(call, Class::SortedSet, event, key, removed.is_gone);
    Ok(Reply::Integer(removed.count.cast_signed()))
}

fn zrangestore(call: &mut WriteCall<'_>) -> CommandResult {
    let (to, from, options) = (call.args[1], call.args[2], &call.args[5..]);
    let range = Range::parse(STORED, call.args[3], call.args[4], options)?;
    let part = match ranked::of(call.keyspace, from)? {
        Some(set) => ranked::part(&range, &set)?,
        None => Part { first: 0, count: 0, is_reverse: false },
    };
    call.keyspace.begin_long(part.count)?;
    let mut building = call.keyspace.build(Kind::SortedSet);
    let mut stored = 0;
    while stored < part.count {
        let left = Part { first: part.first + stored, count: part.count - stored, ..part };
        let portion = next_portion(call.keyspace, from, left)?;
        for (member, score) in &portion.members {
            call.keyspace.add_new_score_to(&mut building, member, *score)?;
        }
        stored += portion.members.len() as u64;
    }
    lookup::put_built(call, Class::SortedSet, to, building, "zrangestore")
}

/// The first members of a part, which are there.
fn next_portion(keyspace: &Keyspace, key: &[u8], part: Part) -> Result<Portion<f64>, CommandError> {
    let set = ranked::of(keyspace, key)?.ok_or(errors::INTERNAL)?;
    let mut portion = Portion::empty();
    let walk = set.each_from(part.first, part.count, part.direction(), |member, score| {
        portion.push(member, score);
        if portion.is_full() { Err(Ended::Enough) } else { Ok(()) }
    });
    Ended::outcome(walk)?;
    if portion.members.is_empty() { Err(wrong_count().into()) } else { Ok(portion) }
}
