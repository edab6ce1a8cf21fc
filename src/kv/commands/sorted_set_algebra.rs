//! What is made of several sorted sets and sets: ZUNION, ZINTER, ZDIFF, their STORE forms and ZINTERCARD. How it is found is in
//! sorted_set_join.
//!
//! A STORE form runs in the writer, in portions, so that memory is bounded whatever the sets have; what it has made takes the place of the
//! destination when it is whole.

use std::ops::{ControlFlow, Range};

use crate::kv::call::{Class, ReadCall, ReadResult, WriteCall};
use crate::kv::commands::args;
use crate::kv::commands::elements;
use crate::kv::commands::lookup;
use crate::kv::commands::portion::Portion;
use crate::kv::commands::ranked::{self, MEMBER_BYTES_MIN};
use crate::kv::commands::set_join::{self, Operation};
use crate::kv::commands::sorted_set_join::{self, Aggregate, Input, Join};
use crate::kv::commands::table::{Command, Flags, Handler, KeyFlags, Keys};
use crate::kv::errors::{self, CommandError, CommandResult};
use crate::kv::formats::number::parse_double;
use crate::storage::{Elements, Keyspace, Kind, Place};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "zdiff",
        arity: -3,
        flags: Flags::READONLY.or(Flags::BY_SIZE),
        keys: Keys::Specs(&[KeyFlags::RO_ACCESS.counted_at(1)]),
        since: "6.2.0",
        complexity: "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the \
            size of the first set, and K is the size of the result set.",
        summary: "Returns the difference between multiple sorted sets.",
        syntax: "numkeys key [key ...] [WITHSCORES]",
        handler: Handler::Read(zdiff),
        ..ranked::ROW
    },
    Command {
        name: "zdiffstore",
        arity: -4,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: Keys::Specs(&[KeyFlags::OW_UPDATE.at(1), KeyFlags::RO_ACCESS.counted_at(2)]),
        since: "6.2.0",
        complexity: "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the \
            size of the first set, and K is the size of the result set.",
        summary: "Stores the difference of multiple sorted sets in a key.",
        syntax: "destination numkeys key [key ...]",
        handler: Handler::Write(zdiffstore),
        ..ranked::ROW
    },
    Command {
        name: "zinter",
        arity: -3,
        flags: Flags::READONLY.or(Flags::BY_SIZE),
        keys: Keys::Specs(&[KeyFlags::RO_ACCESS.counted_at(1)]),
        since: "6.2.0",
        complexity: "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of \
            input sorted sets and M being the number of elements in the resulting sorted set.",
        summary: "Returns the intersect of multiple sorted sets.",
        syntax: "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
        handler: Handler::Read(zinter),
        ..ranked::ROW
    },
    Command {
        name: "zintercard",
        arity: -3,
        flags: Flags::READONLY.or(Flags::BY_SIZE),
        keys: Keys::Specs(&[KeyFlags::RO_ACCESS.counted_at(1)]),
        since: "7.0.0",
        complexity: "O(N*K) worst case with N being the smallest input sorted set, K being the number of input \
            sorted sets.",
        summary: "Returns the number of members of the intersect of multiple sorted sets.",
        syntax: "numkeys key [key ...] [LIMIT limit]",
        handler: Handler::Read(zintercard),
        ..ranked::ROW
    },
    Command {
        name: "zinterstore",
        arity: -4,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: Keys::Specs(&[KeyFlags::OW_UPDATE.at(1), KeyFlags::RO_ACCESS.counted_at(2)]),
        since: "2.0.0",
        complexity: "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of \
            input sorted sets and M being the number of elements in the resulting sorted set.",
        summary: "Stores the intersect of multiple sorted sets in a key.",
        syntax: "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]",
        handler: Handler::Write(zinterstore),
        ..ranked::ROW
    },
    Command {
        name: "zunion",
        arity: -3,
        flags: Flags::READONLY.or(Flags::BY_SIZE),
        keys: Keys::Specs(&[KeyFlags::RO_ACCESS.counted_at(1)]),
        since: "6.2.0",
        complexity: "O(N)+O(M*log(M)) with N being the sum of the sizes of the input sorted sets, and M being the \
            number of elements in the resulting sorted set.",
        summary: "Returns the union of multiple sorted sets.",
        syntax: "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
        handler: Handler::Read(zunion),
        ..ranked::ROW
    },
    Command {
        name: "zunionstore",
        arity: -4,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: Keys::Specs(&[KeyFlags::OW_UPDATE.at(1), KeyFlags::RO_ACCESS.counted_at(2)]),
        since: "2.0.0",
        complexity: "O(N)+O(M log(M)) with N being the sum of the sizes of the input sorted sets, and M being the \
            number of elements in the resulting sorted set.",
        summary: "Stores the union of multiple sorted sets in a key.",
        syntax: "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]",
        handler: Handler::Write(zunionstore),
        ..ranked::ROW
    },
];

/// What such a command is asked for.
struct Wish<'a, 'b> {
    join: Join,
    keys: &'a [&'b [u8]],
    weights: Vec<f64>,
    has_scores: bool,
    /// Members of an intersection after which to stop counting; 0: never.
    limit: u64,
}

/// Which options a command has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// WITHSCORES, and all but of a difference WEIGHTS and AGGREGATE.
    Shown,
    /// WEIGHTS and AGGREGATE but of a difference.
    Stored,
    /// LIMIT
    Counted,
}

/// The sets at the keys of a call; `None`: there is no such key.
type Sets<'k> = Vec<Option<Elements<'k>>>;

impl<'a, 'b> Wish<'a, 'b> {
    /// With the sets of which it is. The errors come in the order of Redis, that of a key of another kind among them.
    fn parse<'k>(
        keyspace: &'k Keyspace,
        operation: Operation,
        form: Form,
        name: &str,
        args: &'a [&'b [u8]],
    ) -> Result<(Self, Sets<'k>), CommandError> {
        let at = if form == Form::Stored { 2 } else { 1 };
        let number = args::integer(args[at])?;
        if number < 1 {
            return Err(errors::no_input_key(name));
        }
        let behind = &args[at + 1..];
        let number = usize::try_from(number).ok().filter(|number| *number <= behind.len()).ok_or(errors::SYNTAX)?;
        let (keys, options) = behind.split_at(number);
        let sets = sorted_set_join::open(keyspace, keys)?;
        let join = Join { operation, aggregate: Aggregate::default() };
        let mut wish = Wish { join, keys, weights: vec![1.0; number], has_scores: false, limit: 0 };
        wish.read_options(form, options)?;
        Ok((wish, sets))
    }

    fn read_options(&mut self, form: Form, mut options: &[&[u8]]) -> Result<(), CommandError> {
        let has_weights = form != Form::Counted && self.join.operation != Operation::Difference;
        while let [option, behind @ ..] = options {
            options = if has_weights && args::is_word(option, "weights") && behind.len() >= self.keys.len() {
                let (weights, behind) = behind.split_at(self.keys.len());
                let weight = |text: &&[u8]| parse_double(text).ok_or(CommandError::from(errors::WEIGHT_NOT_A_FLOAT));
                self.weights = weights.iter().map(weight).collect::<Result<_, _>>()?;
                behind
            } else if has_weights
                && args::is_word(option, "aggregate")
                && let [how, behind @ ..] = behind
            {
                self.join.aggregate = aggregate(how)?;
                behind
            } else if form == Form::Shown && args::is_word(option, "withscores") {
                self.has_scores = true;
                behind
            } else if form == Form::Counted
                && args::is_word(option, "limit")
                && let [limit, behind @ ..] = behind
            {
                self.limit = args::natural_or(limit, errors::LIMIT_NEGATIVE)?;
                behind
            } else {
                return Err(errors::SYNTAX.into());
            };
        }
        Ok(())
    }

    fn inputs<'k>(&self, sets: Sets<'k>) -> Vec<Input<'k>> {
        sets.into_iter().zip(&self.weights).map(|(set, weight)| Input { set, weight: *weight }).collect()
    }

    /// Members of the result behind a place.
    fn portion(&self, sets: Sets<'_>, behind: Option<Place<'_>>) -> Result<Portion<f64>, CommandError> {
        let mut portion = Portion::of(self.keys.len());
        self.join.each(
            &self.inputs(sets),
            behind,
            &mut |place, member, score| Ok(portion.add(place, member, score)),
        )?;
        Ok(portion)
    }
}

fn aggregate(how: &[u8]) -> Result<Aggregate, CommandError> {
    match how {
        word if args::is_word(word, "sum") => Ok(Aggregate::Sum),
        word if args::is_word(word, "min") => Ok(Aggregate::Min),
        word if args::is_word(word, "max") => Ok(Aggregate::Max),
        _ => Err(errors::SYNTAX.into()),
    }
}

fn zunion(call: &mut ReadCall<'_>) -> ReadResult {
    write_members(call, Operation::Union, "zunion")
}

fn zinter(call: &mut ReadCall<'_>) -> ReadResult {
    write_members(call, Operation::Intersection, "zinter")
}

fn zdiff(call: &mut ReadCall<'_>) -> ReadResult {
    write_members(call, Operation::Difference, "zdiff")
}

/// The members are shown by their scores, which are known when all are. So they are all in memory, and have to fit into the reply.
fn write_members(call: &mut ReadCall<'_>, operation: Operation, name: &str) -> ReadResult {
    let (keyspace, reply) = (call.keyspace, &mut call.reply);
    let (wish, sets) = Wish::parse(keyspace, operation, Form::Shown, name, call.args)?;
    let (mut bytes, mut members) = (Vec::new(), Vec::<(f64, Range<usize>)>::new());
    wish.join.each(&wish.inputs(sets), None, &mut |_, member, score| {
        let begin = bytes.len();
        bytes.extend_from_slice(member);
        members.push((score, begin..bytes.len()));
        reply.check(bytes.len() as u64 + members.len() as u64 * MEMBER_BYTES_MIN)?;
        elements::check_time(keyspace, members.len() as u64)?;
        Ok(ControlFlow::Continue(()))
    })?;
    let name = |range: &Range<usize>| &bytes[range.clone()];
    // -0 and 0 are one score.
    members.sort_unstable_by(|(a_score, a), (b_score, b)| {
        (a_score + 0.0).total_cmp(&(b_score + 0.0)).then_with(|| name(a).cmp(name(b)))
    });
    ranked::announce(members.len() as u64, wish.has_scores, reply)?;
    members
        .iter()
        .try_for_each(|(score, range)| ranked::write_member(name(range), wish.has_scores.then_some(*score), reply))
}

fn zintercard(call: &mut ReadCall<'_>) -> ReadResult {
    let keyspace = call.keyspace;
    let (wish, sets) = Wish::parse(keyspace, Operation::Intersection, Form::Counted, "zintercard", call.args)?;
    let mut count = 0;
    wish.join.each(&wish.inputs(sets), None, &mut |_, _, _| {
        count += 1;
        elements::check_time(keyspace, count)?;
        Ok(if count == wish.limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(call.reply.count(count)?)
}

fn zunionstore(call: &mut WriteCall<'_>) -> CommandResult {
    store(call, Operation::Union, "zunionstore")
}

fn zinterstore(call: &mut WriteCall<'_>) -> CommandResult {
    store(call, Operation::Intersection, "zinterstore")
}

fn zdiffstore(call: &mut WriteCall<'_>) -> CommandResult {
    store(call, Operation::Difference, "zdiffstore")
}

/// `name` is also that of the event.
fn store(call: &mut WriteCall<'_>, operation: Operation, name: &'static str) -> CommandResult {
    let (wish, sets) = Wish::parse(call.keyspace, operation, Form::Stored, name, call.args)?;
    call.keyspace.begin_long(set_join::elements_of(operation, &sets))?;
    let mut portion = wish.portion(sets, None)?;
    let mut building = call.keyspace.build(Kind::SortedSet);
    loop {
        for (member, score) in &portion.members {
            call.keyspace.add_new_score_to(&mut building, member, *score)?;
        }
        let Some((position, name)) = portion.last else { break };
        portion = wish.portion(sorted_set_join::open(call.keyspace, wish.keys)?, Some((position, &name)))?;
    }
    lookup::put_built(call, Class::SortedSet, call.args[1], building, name)
}
