//! A sorted set as the reads of it see it, packed in its key's row or with a row for each member: its members by rank, the part of it
//! that a range asks for, and how a reply shows them.

use crate::kv::call::{ReadCall, ReadResult};
use crate::kv::commands::elements::wrong_count;
use crate::kv::commands::lookup;
use crate::kv::commands::sorted_set_bounds::{MemberBound, Members, Range, Span};
use crate::kv::commands::table::{Command, Group, Handler, KeyFlags, Keys};
use crate::kv::errors::{self, CommandError};
use crate::kv::table::look::{ElementsAnswer, GATHERED_BYTES_MAX, Look, PackedHandler, Reads};
use crate::resp::{ReplyWriter, Version};
use crate::storage::{Bound, Direction, Keyspace, Kind, Packed, SortedSet, StorageError, range_of};

/// The bytes of the shortest member in a reply.
pub const MEMBER_BYTES_MIN: u64 = 6;
/// Members between two looks at how long it takes.
const MEMBERS_A_LOOK: u64 = 1024;

/// What most rows of sorted sets have in common.
pub const ROW: Command = Command {
    keys: Keys::Specs(&[KeyFlags::RO_ACCESS.at(1)]),
    group: Group::SortedSet,
    since: "1.2.0",
    ..Command::ROW
};

/// Is shown a member and its score.
pub type Show<'a> = &'a mut dyn FnMut(&[u8], f64) -> ReadResult;

/// Members of a set next to one another: the rank of the first of them in some direction, and how many they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub first: u64,
    pub count: u64,
    /// Ranks count from the highest member down.
    pub is_reverse: bool,
}

impl Part {
    pub fn direction(self) -> Direction {
        if self.is_reverse { Direction::Backward } else { Direction::Forward }
    }
}

/// Members in the order of their scores, those of one score in the order of their bytes. Ranks count from 0.
pub trait Ranked {
    /// How many there are.
    fn members(&self) -> u64;

    /// Members of a lower score, and if `is_inclusive` those of this one.
    fn below(&self, score: f64, is_inclusive: bool) -> Result<u64, CommandError>;

    /// The rank of the first member between two, and how many they are: where all have one score. In a small set with several scores it is
    /// what Redis finds there, which goes from the first that is within the bounds to the next that is not.
    fn between(&self, members: &Members<'_>, is_reverse: bool) -> Result<(u64, u64), CommandError>;

    /// The rank of a member from the lowest on, and its score. `None`: there is no such member.
    fn rank(&self, member: &[u8]) -> Result<Option<(u64, f64)>, CommandError>;

    /// Shows the members of a part.
    fn each(&self, part: Part, show: Show<'_>) -> ReadResult;
}

/// The part that a range asks for.
pub fn part(range: &Range<'_>, set: &impl Ranked) -> Result<Part, CommandError> {
    let is_reverse = range.is_reverse;
    let (first, count) = span_part(&range.span, set, is_reverse)?;
    if matches!(range.span, Span::Ranks(..)) {
        return Ok(Part { first, count, is_reverse });
    }
    let first = if is_reverse { set.members().saturating_sub(first + count) } else { first };
    let (passed, count) = range.limited(count);
    Ok(Part { first: first.saturating_add(passed), count, is_reverse })
}

/// The rank of the first member of a span, and how many they are. Ranks count as those of the span do, others from the lowest member on.
pub fn span_part(span: &Span<'_>, set: &impl Ranked, is_reverse: bool) -> Result<(u64, u64), CommandError> {
    match span {
        Span::Ranks(first, last) => Ok(range_of(*first, *last, set.members()).unwrap_or((0, 0))),
        Span::Scores(scores) => {
            let first = set.below(scores.min.score, scores.min.is_exclusive)?;
            let end = set.below(scores.max.score, !scores.max.is_exclusive)?;
            Ok((first, end.saturating_sub(first)))
        }
        Span::Members(members) if members.is_empty() => Ok((0, 0)),
        Span::Members(members) => set.between(members, is_reverse),
    }
}

/// Writes the members of a part, with their scores or without. `check_time` is asked now and then whether to go on.
pub fn write_part(
    set: &impl Ranked,
    part: Part,
    has_scores: bool,
    reply: &mut ReplyWriter<'_>,
    check_time: impl Fn() -> Result<(), StorageError>,
) -> ReadResult {
    announce(part.count, has_scores, reply)?;
    let mut left = part.count;
    set.each(part, &mut |member, score| {
        // More than were announced would end up in the next reply.
        left = left.checked_sub(1).ok_or_else(wrong_count)?;
        if left.is_multiple_of(MEMBERS_A_LOOK) {
            check_time()?;
        }
        write_member(member, has_scores.then_some(score), reply)
    })?;
    if left == 0 { Ok(()) } else { Err(wrong_count().into()) }
}

/// The header of so many members, which `write_member` writes.
pub fn announce(count: u64, has_scores: bool, reply: &mut ReplyWriter<'_>) -> ReadResult {
    reply.check(count.saturating_mul(MEMBER_BYTES_MIN))?;
    let is_flat = has_scores && reply.version() == Version::Resp2;
    let length = if is_flat { count.saturating_mul(2) } else { count };
    Ok(reply.array(usize::try_from(length).unwrap_or(usize::MAX))?)
}

/// A member; with its score a pair, which RESP2 does not nest.
pub fn write_member(member: &[u8], score: Option<f64>, reply: &mut ReplyWriter<'_>) -> ReadResult {
    if score.is_some() && reply.version() == Version::Resp3 {
        reply.array(2)?;
    }
    reply.bulk(member)?;
    Ok(score.map_or(Ok(()), |score| reply.double(score))?)
}

/// The rank of the first member within the bounds, and how many follow one another that keep to them.
fn between<N: AsRef<[u8]>>(members: &[N], bounds: &Members<'_>, is_reverse: bool) -> (u64, u64) {
    let (Some(lowest), Some(highest)) = (members.first(), members.last()) else { return (0, 0) };
    if !bounds.max.is_above(lowest.as_ref()) || !bounds.min.is_below(highest.as_ref()) {
        return (0, 0);
    }
    if is_reverse {
        let last = members.iter().rposition(|member| bounds.max.is_above(member.as_ref()));
        let end = last.map_or(0, |last| last + 1);
        let within = members[..end].iter().rev().take_while(|member| bounds.min.is_below(member.as_ref()));
        let count = within.count();
        return ((end - count) as u64, count as u64);
    }
    let first = members.iter().position(|member| bounds.min.is_below(member.as_ref())).unwrap_or(members.len());
    let count = members[first..].iter().take_while(|member| bounds.max.is_above(member.as_ref())).count();
    (first as u64, count as u64)
}

impl Ranked for Packed<'_> {
    fn members(&self) -> u64 {
        self.elements().count() as u64
    }

    fn below(&self, bound: f64, is_inclusive: bool) -> Result<u64, CommandError> {
        let mut count = 0;
        for element in self.scores() {
            let (_, score) = element?;
            if score > bound || score == bound && !is_inclusive {
                break;
            }
            count += 1;
        }
        Ok(count)
    }

    fn between(&self, bounds: &Members<'_>, is_reverse: bool) -> Result<(u64, u64), CommandError> {
        let members = self.elements().map(|element| Ok(element?.0)).collect::<Result<Vec<&[u8]>, StorageError>>()?;
        Ok(between(&members, bounds, is_reverse))
    }

    fn rank(&self, member: &[u8]) -> Result<Option<(u64, f64)>, CommandError> {
        Ok(Packed::rank(self, member)?)
    }

    fn each(&self, part: Part, show: Show<'_>) -> ReadResult {
        let first = usize::try_from(part.first).unwrap_or(usize::MAX);
        let count = usize::try_from(part.count).unwrap_or(usize::MAX);
        if !part.is_reverse {
            return self.scores().skip(first).take(count).try_for_each(|element| {
                let (member, score) = element?;
                show(member, score)
            });
        }
        let scores = self.scores().collect::<Result<Vec<_>, _>>()?;
        scores.into_iter().rev().skip(first).take(count).try_for_each(|(member, score)| show(member, score))
    }
}

/// A gathered member takes so many bytes at least: `0:1:0`.
const GATHERED_MEMBER_BYTES: u64 = 5;

impl SortedSet<'_> {
    /// Whether the loop may answer for it too, and what lies between two members is not told by their order alone, since their scores differ:
    /// then each looks at one member after the other. (Redis leaves open what it answers then.)
    fn may_be_gathered_with_scores(&self) -> Result<bool, CommandError> {
        if self.len() > GATHERED_BYTES_MAX as u64 / GATHERED_MEMBER_BYTES {
            return Ok(false);
        }
        let mut scores = [0.0; 2];
        for (direction, score) in [Direction::Forward, Direction::Backward].into_iter().zip(&mut scores) {
            self.each_from::<CommandError>(0, 1, direction, |_, of| {
                *score = of;
                Ok(())
            })?;
        }
        Ok(scores[0] != scores[1])
    }
}

impl Ranked for SortedSet<'_> {
    fn members(&self) -> u64 {
        self.len()
    }

    fn below(&self, score: f64, is_inclusive: bool) -> Result<u64, CommandError> {
        Ok(self.count_before(Bound::Score { score, is_behind: is_inclusive })?)
    }

    fn between(&self, members: &Members<'_>, is_reverse: bool) -> Result<(u64, u64), CommandError> {
        if self.is_packed() || self.may_be_gathered_with_scores()? {
            let mut names = Vec::new();
            self.each_from::<CommandError>(0, self.len(), Direction::Forward, |name, _| {
                names.push(name.to_vec());
                Ok(())
            })?;
            return Ok(between(&names, members, is_reverse));
        }
        let mut score = 0.0;
        self.each_from::<CommandError>(0, 1, Direction::Forward, |_, lowest| {
            score = lowest;
            Ok(())
        })?;
        let before = |bound: &MemberBound<'_>, is_behind: bool| match *bound {
            MemberBound::Lowest => Ok(0),
            MemberBound::Highest => Ok(self.len()),
            MemberBound::At { member, is_exclusive } => {
                self.count_before(Bound::Member { score, member, is_behind: is_exclusive != is_behind })
            }
        };
        let (first, end) = (before(&members.min, false)?, before(&members.max, true)?);
        Ok((first, end.saturating_sub(first)))
    }

    fn rank(&self, member: &[u8]) -> Result<Option<(u64, f64)>, CommandError> {
        Ok(SortedSet::rank(self, member)?)
    }

    fn each(&self, part: Part, show: Show<'_>) -> ReadResult {
        self.each_from(part.first, part.count, part.direction(), show)
    }
}

/// A read of a sorted set, packed in its key's row or not.
pub const fn look(packed: PackedHandler, apart: fn(&mut ReadCall<'_>) -> ReadResult) -> Handler {
    Handler::Look(Look::at_elements(ElementsAnswer { kind: Kind::SortedSet, packed, apart, reads: Reads::Few }))
}

/// The same of a range of ranks, which are the first arguments, unless it says otherwise.
pub const fn look_at_ranks(packed: PackedHandler, apart: fn(&mut ReadCall<'_>) -> ReadResult) -> Handler {
    let reads = Reads::Range(ranks);
    Handler::Look(Look::at_elements(ElementsAnswer { kind: Kind::SortedSet, packed, apart, reads }))
}

fn ranks(args: &[&[u8]], length: u64) -> u64 {
    let is_of_ranks =
        args[4..].iter().all(|arg| arg.eq_ignore_ascii_case(b"withscores") || arg.eq_ignore_ascii_case(b"rev"));
    if is_of_ranks { lookup::count_of_ranks(args, length) } else { 0 }
}

/// The sorted set at a key. `None`: there is no such key; one of another kind is the error WRONGTYPE.
pub fn of<'a>(keyspace: &'a Keyspace, key: &[u8]) -> Result<Option<SortedSet<'a>>, CommandError> {
    lookup::optional(keyspace.sorted_set(key)?)
}

/// The sorted set at the first key of a call that has looked at the key before: it is there.
pub fn found<'a>(call: &ReadCall<'a>) -> Result<SortedSet<'a>, CommandError> {
    of(call.keyspace, call.args[1])?.ok_or(CommandError::from(errors::INTERNAL))
}
