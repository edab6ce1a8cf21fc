//! Sorted sets: ZADD, ZSCORE, ZRANK and their relatives, which are about single members. A small one lies packed in its key's row, and the
//! loop answers for it; a large one has a row for each member. Ranges are in sorted_set_ranges.

use crate::kv::call::{Class, ReadCall, ReadResult, WriteCall};
use crate::kv::commands::args;
use crate::kv::commands::elements::{self, Wish};
use crate::kv::commands::lookup;
use crate::kv::commands::ranked::{self, Ranked};
use crate::kv::commands::table::{Command, Flags, Handler, KeyFlags, Keys};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::formats::number::parse_double;
use crate::kv::table::look::{self, Look, LookResult, Shape, Told};
use crate::resp::{Reply, ReplyWriter};
use crate::storage::{Entry, Kind, Packed, score_of};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "zadd",
        arity: -4,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW_UPDATE.at(1)]),
        complexity: "O(log(N)) for each item added, where N is the number of elements in the sorted set.",
        summary: "Adds one or more members to a sorted set, or updates their scores. Creates the key if it doesn't \
            exist.",
        syntax: "key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
        handler: Handler::Write(zadd),
        history: &[
            ("2.4.0", "Accepts multiple elements."),
            ("3.0.2", "Added the `XX`, `NX`, `CH` and `INCR` options."),
            ("6.2.0", "Added the `GT` and `LT` options."),
        ],
        ..ranked::ROW
    },
    Command {
        name: "zcard",
        arity: 2,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RO.at(1)]),
        summary: "Returns the number of members in a sorted set.",
        syntax: "key",
        handler: Handler::Look(Look::at_head(Shape::One, zcard)),
        ..ranked::ROW
    },
    Command {
        name: "zincrby",
        arity: 4,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW_ACCESS_UPDATE.at(1)]),
        complexity: "O(log(N)) where N is the number of elements in the sorted set.",
        summary: "Increments the score of a member in a sorted set.",
        syntax: "key increment member",
        handler: Handler::Write(zincrby),
        ..ranked::ROW
    },
    Command {
        name: "zmscore",
        arity: -3,
        flags: Flags::READONLY.or(Flags::FAST),
        since: "6.2.0",
        complexity: "O(N) where N is the number of members being requested.",
        summary: "Returns the score of one or more members in a sorted set.",
        syntax: "key member [member ...]",
        handler: ranked::look(zmscore, zmscore_apart),
        ..ranked::ROW
    },
    Command {
        name: "zrandmember",
        arity: -2,
        flags: Flags::READONLY,
        since: "6.2.0",
        complexity: "O(N) where N is the number of members returned",
        summary: "Returns one or more random members from a sorted set.",
        syntax: "key [count [WITHSCORES]]",
        handler: Handler::Read(zrandmember),
        heavy_when: Some(elements::asks_for_many),
        tips: &["nondeterministic_output"],
        ..ranked::ROW
    },
    Command {
        name: "zrank",
        arity: -3,
        flags: Flags::READONLY.or(Flags::FAST),
        since: "2.0.0",
        complexity: "O(log(N))",
        summary: "Returns the index of a member in a sorted set ordered by ascending scores.",
        syntax: "key member [WITHSCORE]",
        handler: ranked::look(zrank, zrank_apart),
        history: &[("7.2.0", "Added the optional `WITHSCORE` argument.")],
        ..ranked::ROW
    },
    Command {
        name: "zrem",
        arity: -3,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: Keys::Specs(&[KeyFlags::RW.or(KeyFlags::DELETE).at(1)]),
        complexity: "O(M*log(N)) with N being the number of elements in the sorted set and M the number of elements \
            to be removed.",
        summary: "Removes one or more members from a sorted set. Deletes the sorted set if all members were removed.",
        syntax: "key member [member ...]",
        handler: Handler::Write(zrem),
        history: &[("2.4.0", "Accepts multiple elements.")],
        ..ranked::ROW
    },
    Command {
        name: "zrevrank",
        arity: -3,
        flags: Flags::READONLY.or(Flags::FAST),
        since: "2.0.0",
        complexity: "O(log(N))",
        summary: "Returns the index of a member in a sorted set ordered by descending scores.",
        syntax: "key member [WITHSCORE]",
        handler: ranked::look(zrevrank, zrevrank_apart),
        history: &[("7.2.0", "Added the optional `WITHSCORE` argument.")],
        ..ranked::ROW
    },
    Command {
        name: "zscan",
        arity: -3,
        flags: Flags::READONLY,
        since: "2.8.0",
        complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the \
            cursor to return back to 0. N is the number of elements inside the collection.",
        summary: "Iterates over members and scores of a sorted set.",
        syntax: "key cursor [MATCH pattern] [COUNT count] [NOSCORES]",
        handler: Handler::Read(zscan),
        heavy_when: Some(elements::scans_many),
        tips: &["nondeterministic_output"],
        ..ranked::ROW
    },
    Command {
        name: "zscore",
        arity: 3,
        flags: Flags::READONLY.or(Flags::FAST),
        summary: "Returns the score of a member in a sorted set.",
        syntax: "key member",
        handler: ranked::look(zscore, zscore_apart),
        ..ranked::ROW
    },
];

/// What ZADD was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct AddOptions {
    /// NX, XX
    pub only_new: bool,
    pub only_present: bool,
    /// GT, LT: a member that is there gets a higher score only, or a lower one.
    only_higher: bool,
    only_lower: bool,
    /// CH: members whose score changes are counted too.
    pub counts_changes: bool,
    /// INCR: scores are added to those that are there.
    is_increment: bool,
}

/// What has come of it.
#[derive(Clone, Copy, Debug)]
pub struct Added {
    /// Members that the options count.
    pub count: i64,
    /// The last member's score, if the options let it have one.
    score: Option<f64>,
}

fn zadd(call: &mut WriteCall<'_>) -> CommandResult {
    let (options, pairs) = AddOptions::parse(&call.args[2..])?;
    add(call, options, pairs)
}

fn zincrby(call: &mut WriteCall<'_>) -> CommandResult {
    add(call, AddOptions { is_increment: true, ..AddOptions::default() }, &call.args[2..])
}

/// `pairs` has score, member, score, member …
fn add(call: &mut WriteCall<'_>, options: AddOptions, pairs: &[&[u8]]) -> CommandResult {
    let scores = pairs.iter().step_by(2).map(|text| parse_double(text).ok_or(CommandError::from(errors::NOT_A_FLOAT)));
    let scores = scores.collect::<Result<Vec<f64>, CommandError>>()?;
    let members: Vec<&[u8]> = pairs.iter().skip(1).step_by(2).copied().collect();
    let added = options.add_scores(call, &members, &scores)?;
    Ok(match added.score {
        Some(score) if options.is_increment => Reply::Double(score),
        None if options.is_increment => Reply::Null,
        _ => Reply::Integer(added.count),
    })
}

impl AddOptions {
    /// What stands behind the key. The errors come in the order of Redis.
    fn parse<'a, 'b>(args: &'a [&'b [u8]]) -> Result<(AddOptions, &'a [&'b [u8]]), CommandError> {
        let (mut options, mut rest) = (AddOptions::default(), args);
        while let [option, behind @ ..] = rest {
            let flag = match option {
                word if args::is_word(word, "nx") => &mut options.only_new,
                word if args::is_word(word, "xx") => &mut options.only_present,
                word if args::is_word(word, "gt") => &mut options.only_higher,
                word if args::is_word(word, "lt") => &mut options.only_lower,
                word if args::is_word(word, "ch") => &mut options.counts_changes,
                word if args::is_word(word, "incr") => &mut options.is_increment,
                _ => break,
            };
            (*flag, rest) = (true, behind);
        }
        let compares = u8::from(options.only_new) + u8::from(options.only_higher) + u8::from(options.only_lower);
        match rest.len() {
            length if length == 0 || length % 2 == 1 => Err(errors::SYNTAX.into()),
            _ if options.only_new && options.only_present => Err(errors::ZADD_XX_AND_NX.into()),
            _ if compares > 1 => Err(errors::ZADD_GT_LT_AND_NX.into()),
            length if options.is_increment && length > 2 => Err(errors::ZADD_INCR_OF_SEVERAL.into()),
            _ => Ok((options, rest)),
        }
    }

    /// Gives members of the first key these scores, and tells of it.
    pub fn add_scores(
        self,
        call: &mut WriteCall<'_>,
        members: &[&[u8]],
        scores: &[f64],
    ) -> Result<Added, CommandError> {
        let (key, mut last) = (call.args[1], None);
        let scored = call.keyspace.sorted_set_add::<CommandError>(key, members, |number, old| {
            last = self.decide(scores[number], old)?;
            Ok(last)
        })?;
        let scored = lookup::optional(scored)?.ok_or(CommandError::from(errors::INTERNAL))?;
        if scored.added + scored.changed > 0 {
            call.tell_of(Class::SortedSet, scored.is_new, if self.is_increment { "zincr" } else { "zadd" }, key);
        }
        let count = scored.added + if self.counts_changes { scored.changed } else { 0 };
        Ok(Added { count: count.cast_signed(), score: last })
    }

    /// The score that a member gets which had `old`. `None`: it is left as it is.
    fn decide(self, score: f64, old: Option<f64>) -> Result<Option<f64>, CommandError> {
        let Some(old) = old else { return Ok((!self.only_present).then_some(score)) };
        if self.only_new {
            return Ok(None);
        }
        let score = if self.is_increment { old + score } else { score };
        if score.is_nan() {
            return Err(errors::SCORE_NAN.into());
        }
        let is_left_alone = self.only_lower && score >= old || self.only_higher && score <= old;
        Ok((!is_left_alone).then_some(score))
    }
}

fn zrem(call: &mut WriteCall<'_>) -> CommandResult {
    let (key, members) = (call.args[1], &call.args[2..]);
    let Some(removed) = lookup::optional(call.keyspace.sorted_set_remove(key, members)?)? else {
        return Ok(Reply::Integer(0));
    };
    if removed.count > 0 {
        lookup::tell_removal(call, Class::SortedSet, "zrem", key, removed.is_gone);
    }
    Ok(Reply::Integer(removed.count.cast_signed()))
}

fn zcard(_: &[&[u8]], key: Option<&Entry>, _: i64) -> LookResult {
    let members = look::of_kind(key, Kind::SortedSet)?.map_or(0, |key| key.length);
    Ok(Told::Integer(i64::try_from(members).unwrap_or(i64::MAX)))
}

fn zscore(args: &[&[u8]], set: &Packed<'_>, reply: &mut ReplyWriter<'_>) -> ReadResult {
    score_or_null(set.score(args[2])?, reply)
}

fn zscore_apart(call: &mut ReadCall<'_>) -> ReadResult {
    let score = ranked::found(call)?.score(call.args[2])?;
    score_or_null(score, &mut call.reply)
}

fn zmscore(args: &[&[u8]], set: &Packed<'_>, reply: &mut ReplyWriter<'_>) -> ReadResult {
    reply.array(args.len() - 2)?;
    args[2..].iter().try_for_each(|member| score_or_null(set.score(member)?, reply))
}

fn zmscore_apart(call: &mut ReadCall<'_>) -> ReadResult {
    let set = ranked::found(call)?;
    call.reply.array(call.args.len() - 2)?;
    call.args[2..].iter().try_for_each(|member| score_or_null(set.score(member)?, &mut call.reply))
}

fn score_or_null(score: Option<f64>, reply: &mut ReplyWriter<'_>) -> ReadResult {
    Ok(match score {
        Some(score) => reply.double(score),
        None => reply.null(),
    }?)
}

fn zrank(args: &[&[u8]], set: &Packed<'_>, reply: &mut ReplyWriter<'_>) -> ReadResult {
    rank(args, set, false, reply)
}

fn zrank_apart(call: &mut ReadCall<'_>) -> ReadResult {
    rank(call.args, &ranked::found(call)?, false, &mut call.reply)
}

fn zrevrank(args: &[&[u8]], set: &Packed<'_>, reply: &mut ReplyWriter<'_>) -> ReadResult {
    rank(args, set, true, reply)
}

fn zrevrank_apart(call: &mut ReadCall<'_>) -> ReadResult {
    rank(call.args, &ranked::found(call)?, true, &mut call.reply)
}

/// `is_reverse`: ranks count from the highest member down.
fn rank(args: &[&[u8]], set: &impl Ranked, is_reverse: bool, reply: &mut ReplyWriter<'_>) -> ReadResult {
    let has_score = wants_score(args, is_reverse)?;
    let Some((rank, score)) = set.rank(args[2])? else {
        return Ok(if has_score { reply.null_array() } else { reply.null() }?);
    };
    let rank = if is_reverse { set.members().saturating_sub(rank + 1) } else { rank };
    if !has_score {
        return Ok(reply.count(rank)?);
    }
    reply.array(2)?;
    reply.count(rank)?;
    Ok(reply.double(score)?)
}

fn wants_score(args: &[&[u8]], is_reverse: bool) -> Result<bool, CommandError> {
    match &args[3..] {
        [] => Ok(false),
        [option] if args::is_word(option, "withscore") => Ok(true),
        [_] => Err(errors::SYNTAX.into()),
        _ => Err(errors::wrong_arity(if is_reverse { "zrevrank" } else { "zrank" })),
    }
}

fn zscan(call: &mut ReadCall<'_>) -> ReadResult {
    elements::scan(call, Kind::SortedSet)
}

fn zrandmember(call: &mut ReadCall<'_>) -> ReadResult {
    let (keyspace, args, reply) = (call.keyspace, call.args, &mut call.reply);
    let options = args.get(2).map(|count| elements::random_options(count, &args[3..], "withscores")).transpose()?;
    let has_scores = options.is_some_and(|(_, has_scores)| has_scores);
    let set = elements::at_random(keyspace, Kind::SortedSet, args[1], has_scores, reply)?;
    let Some((wish, _)) = options else {
        return match set {
            Some(set) => elements::each_random(keyspace, &set, Wish::Any(1), &mut |member, _| Ok(reply.bulk(member)?)),
            None => Ok(reply.null()?),
        };
    };
    let Some(set) = set else { return Ok(reply.array(0)?) };
    ranked::announce(elements::granted(&set, wish, reply)? as u64, has_scores, reply)?;
    elements::each_random(keyspace, &set, wish, &mut |member, value| {
        let score = if has_scores { Some(score_of(value)?) } else { None };
        ranked::write_member(member, score, reply)
    })
}

#[cfg(test)]
#[path = "sorted_sets_tests.rs"]
mod tests;
