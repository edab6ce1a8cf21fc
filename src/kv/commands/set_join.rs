//! Intersection, union and difference of sets, member by member. Large sets are walked side by side in the order of their members' places,
//! which is the same in all of them: memory does not grow with them. Small ones keep the order in which their members were added.

use std::collections::HashSet;
use std::ops::ControlFlow;

use crate::kv::commands::elements;
use crate::kv::errors::{self, CommandError};
use crate::resp::number::parse_integer;
use crate::storage::{Elements, Keyspace, Kind, Place, Walk};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Intersection,
    Union,
    /// The first set without the members of the others.
    Difference,
}

/// Takes a member of the result, with its place where the result comes in that order.
pub type Show<'a> = &'a mut dyn FnMut(Option<Place<'_>>, &[u8]) -> Result<ControlFlow<()>, CommandError>;

/// So many rows of a set are walked over in the time that one member is looked up in.
const ROWS_A_LOOK: u64 = 8;
/// So many packed sets are united in memory.
const PACKED_MAX: usize = 64;

/// Bytes that the sets of one call have in memory.
const BYTES_MAX: usize = 256 << 20;
/// From so many on, the others of a difference are walked over where that takes less than a look into each for each member.
const WALKED_TOGETHER_MIN: usize = 32;
/// Looks between two looks at the clock.
const LOOKS_A_CHECK: usize = 4096;

/// The sets at these keys; `None` is an empty one. A key of another kind is the error WRONGTYPE, whatever the others hold.
pub fn open<'a>(keyspace: &'a Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Elements<'a>>>, CommandError> {
    open_all(keys, |key| elements::of(keyspace, Kind::Set, key))
}

/// How many elements are looked at to join these, at most.
pub(super) fn elements_of(operation: Operation, sets: &[Option<Elements<'_>>]) -> u64 {
    let counts = sets.iter().map(|set| set.as_ref().map_or(0, Elements::len));
    match operation {
        Operation::Intersection => counts.min().unwrap_or(0).saturating_mul(sets.len() as u64),
        Operation::Union | Operation::Difference => counts.sum(),
    }
}

/// What `open` finds at each of these keys, as far as memory bears it.
pub(super) fn open_all<'a>(
    keys: &[&[u8]],
    open: impl Fn(&[u8]) -> Result<Option<Elements<'a>>, CommandError>,
) -> Result<Vec<Option<Elements<'a>>>, CommandError> {
    let mut bytes = 0;
    let opened = keys.iter().map(|key| {
        let set = open(key)?;
        bytes += set.as_ref().map_or(0, |set| set.walk_bytes(keys.len()));
        if bytes > BYTES_MAX { Err(errors::SETS_TOO_LARGE.into()) } else { Ok(set) }
    });
    opened.collect()
}

/// Shows each member of the result once, those behind a place where the result comes by places, until `show` breaks off.
pub fn each(
    operation: Operation,
    sets: &[Option<Elements<'_>>],
    behind: Option<Place<'_>>,
    show: Show<'_>,
) -> Result<(), CommandError> {
    match operation {
        Operation::Union => {
            let sets: Vec<&Elements<'_>> = sets.iter().flatten().collect();
            let are_small = sets.len() <= PACKED_MAX && sets.iter().all(|set| set.is_packed());
            if are_small { unite_packed(&sets, show) } else { unite(&sets, behind, show) }
        }
        Operation::Intersection => {
            let all = sets.iter().map(Option::as_ref).collect::<Option<Vec<_>>>();
            let Some(mut all) = all else { return Ok(()) };
            all.sort_by_key(|set| set.len());
            all.split_first().map_or(Ok(()), |(first, others)| filter(first, others, true, behind, show))
        }
        Operation::Difference => {
            let Some((Some(first), others)) = sets.split_first() else { return Ok(()) };
            let mut others: Vec<&Elements<'_>> = others.iter().flatten().collect();
            // A large one is more likely to have a member.
            others.sort_by_key(|set| std::cmp::Reverse(set.len()));
            filter(first, &others, false, behind, show)
        }
    }
}

/// Shows the members of `first` that each of the others has (`are_wanted`), or none of them.
fn filter(
    first: &Elements<'_>,
    others: &[&Elements<'_>],
    are_wanted: bool,
    behind: Option<Place<'_>>,
    show: Show<'_>,
) -> Result<(), CommandError> {
    if first.is_packed() {
        let mut is_over = false;
        return first.each_name(|member| {
            if is_over {
                return Ok(());
            }
            for other in others {
                if other.contains(member)? != are_wanted {
                    return Ok(());
                }
            }
            is_over = show(None, member)?.is_break();
            Ok(())
        });
    }
    let mut probes =
        if are_wanted { Probe::of_each(others, first.len())? } else { Probe::of_any(others, first.len(), behind)? };
    let (mut walk, mut looks) = (walk_behind(first, behind, others.len())?, 0);
    while let Some(place) = walk.place() {
        check_time(first, probes.len(), &mut looks)?;
        let shown = walk.show_name(|member| {
            for probe in &mut probes {
                if probe.has(place, member)? != are_wanted {
                    return Ok(ControlFlow::Continue(()));
                }
            }
            show(Some(place), member)
        })?;
        if shown.unwrap_or(Ok(ControlFlow::Break(())))?.is_break() {
            return Ok(());
        }
        walk.advance()?;
    }
    Ok(())
}

/// Ends a read that has taken too long, also one that shows nothing: `others` sets are looked into now.
pub(super) fn check_time(set: &Elements<'_>, others: usize, looks: &mut usize) -> Result<(), CommandError> {
    *looks += 1 + others;
    if *looks >= LOOKS_A_CHECK {
        *looks = 0;
        set.keyspace().check_read_limit()?;
    }
    Ok(())
}

/// The members of many sets, asked for in the order of their places.
pub(super) struct Together<'a> {
    front: Front<'a>,
    /// One of the sets.
    set: &'a Elements<'a>,
    steps: usize,
}

impl Together<'_> {
    fn has(&mut self, place: Place<'_>) -> Result<bool, CommandError> {
        while let Some(here) = self.front.first().and_then(|(_, walk)| walk.place()) {
            if here >= place {
                return Ok(here == place);
            }
            check_time(self.set, 0, &mut self.steps)?;
            self.front.advance()?;
        }
        Ok(false)
    }
}

/// A walk, one of so many, that stands behind a place.
pub(super) fn walk_behind<'a>(
    set: &'a Elements<'a>,
    behind: Option<Place<'_>>,
    walks: usize,
) -> Result<Walk<'a>, CommandError> {
    let mut walk = set.walk_among(walks)?;
    if let Some(place) = behind {
        walk.seek(place)?;
        if walk.place() == Some(place) {
            walk.advance()?;
        }
    }
    Ok(walk)
}

/// Finds out whether a set, or any of several, has members that are named in the order of their places.
pub(super) enum Probe<'a> {
    Look(&'a Elements<'a>),
    Walk(Walk<'a>),
    Together(Together<'a>),
}

impl<'a> Probe<'a> {
    /// One of each set, which is asked for so many members.
    pub(super) fn of_each(sets: &[&'a Elements<'a>], questions: u64) -> Result<Vec<Probe<'a>>, CommandError> {
        let probe = |set: &&'a Elements<'a>| {
            let is_walked = !set.is_packed() && set.len() <= questions.saturating_mul(ROWS_A_LOOK);
            Ok(if is_walked { Probe::Walk(set.walk_among(sets.len())?) } else { Probe::Look(set) })
        };
        sets.iter().map(probe).collect()
    }

    /// The same where it does not matter which of them has a member, behind a place: many that are so small that a look into each takes longer
    /// than to walk over all of them are one.
    pub(super) fn of_any(
        sets: &[&'a Elements<'a>],
        questions: u64,
        behind: Option<Place<'_>>,
    ) -> Result<Vec<Probe<'a>>, CommandError> {
        let looks = questions.saturating_mul(sets.len() as u64);
        match sets {
            [set, ..]
                if sets.len() >= WALKED_TOGETHER_MIN && sets.iter().map(|other| other.len()).sum::<u64>() < looks =>
            {
                let front = Front::behind(sets.iter().copied(), behind)?;
                Ok(vec![Probe::Together(Together { front, set, steps: 0 })])
            }
            _ => Probe::of_each(sets, questions),
        }
    }

    pub(super) fn has(&mut self, place: Place<'_>, member: &[u8]) -> Result<bool, CommandError> {
        Ok(self.score(place, member)?.is_some())
    }

    /// The member's score; it is 1 in what is no sorted set.
    pub(super) fn score(&mut self, place: Place<'_>, member: &[u8]) -> Result<Option<f64>, CommandError> {
        match self {
            Probe::Look(set) => Ok(set.score(member)?),
            Probe::Walk(walk) => {
                walk.seek(place)?;
                Ok(if walk.place() == Some(place) { walk.score() } else { None })
            }
            // Whose it is, nobody asks.
            Probe::Together(sets) => Ok(sets.has(place)?.then_some(1.0)),
        }
    }
}

/// In the order of the sets and their members; integers by their value where there is nothing else, as Redis keeps such a set.
fn unite_packed(sets: &[&Elements<'_>], show: Show<'_>) -> Result<(), CommandError> {
    let (mut seen, mut members) = (HashSet::new(), Vec::new());
    for set in sets {
        set.each_name(|member| {
            if seen.insert(member.to_vec()) {
                members.push(member.to_vec());
            }
            Ok::<_, CommandError>(())
        })?;
    }
    if let Some(mut numbers) = members.iter().map(|member| parse_integer(member)).collect::<Option<Vec<i64>>>() {
        numbers.sort_unstable();
        members = numbers.into_iter().map(|number| number.to_string().into_bytes()).collect();
    }
    for member in members {
        if show(None, &member)?.is_break() {
            break;
        }
    }
    Ok(())
}

fn unite(sets: &[&Elements<'_>], behind: Option<Place<'_>>, show: Show<'_>) -> Result<(), CommandError> {
    let mut front = Front::behind(sets.iter().copied(), behind)?;
    let mut name = Vec::new();
    while let Some((_, walk)) = front.first() {
        let Some(place) = walk.place() else { break };
        let shown = walk.show_name(|member| show(Some(place), member))?;
        if shown.unwrap_or(Ok(ControlFlow::Break(())))?.is_break() {
            break;
        }
        let position = place.0;
        name.clear();
        name.extend_from_slice(place.1);
        while front.first().is_some_and(|(_, walk)| walk.place() == Some((position, &name))) {
            front.advance()?;
        }
    }
    Ok(())
}

/// Numbered walks by where they stand: a heap, its first the one that is the furthest back.
pub(super) struct Front<'a> {
    walks: Vec<(usize, Walk<'a>)>,
}

impl<'a> Front<'a> {
    /// Of all these sets, each behind a place.
    pub(super) fn behind(
        sets: impl ExactSizeIterator<Item = &'a Elements<'a>>,
        place: Option<Place<'_>>,
    ) -> Result<Front<'a>, CommandError> {
        let count = sets.len();
        let walks = sets.enumerate().map(|(number, set)| Ok((number, walk_behind(set, place, count)?)));
        let mut front = Front { walks: walks.collect::<Result<_, CommandError>>()? };
        (0..front.walks.len() / 2).rev().for_each(|at| front.sink(at));
        Ok(front)
    }

    pub(super) fn first(&self) -> Option<&(usize, Walk<'a>)> {
        self.walks.first()
    }

    pub(super) fn advance(&mut self) -> Result<(), CommandError> {
        if let Some((_, walk)) = self.walks.first_mut() {
            walk.advance()?;
            self.sink(0);
        }
        Ok(())
    }

    fn sink(&mut self, mut at: usize) {
        loop {
            let children = [2 * at + 1, 2 * at + 2];
            let inside = children.into_iter().filter(|child| *child < self.walks.len());
            let Some(least) = inside.reduce(|a, b| if self.is_before(b, a) { b } else { a }) else { return };
            if !self.is_before(least, at) {
                return;
            }
            self.walks.swap(least, at);
            at = least;
        }
    }

    /// One at its end is behind all others.
    fn is_before(&self, a: usize, b: usize) -> bool {
        match (self.walks[a].1.place(), self.walks[b].1.place()) {
            (Some(a), Some(b)) => a < b,
            (a, _) => a.is_some(),
        }
    }
}
