//! Intersection, union and difference of sorted sets and sets, member by member, with the score that each gets. Large ones are walked side
//! by side in the order of their members' places (set_join), so that memory does not grow with them.

use std::collections::HashMap;
use std::ops::ControlFlow;

use crate::kv::commands::lookup;
use crate::kv::commands::set_join::{self, Front, Operation, Probe, walk_behind};
use crate::kv::errors::CommandError;
use crate::storage::{Elements, Keyspace, Kind, Place, score_of};

/// How the scores of one member become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aggregate {
    #[default]
    Sum,
    Min,
    Max,
}

/// A set whose scores are multiplied. `None` is an empty one.
pub struct Input<'a> {
    pub set: Option<Elements<'a>>,
    pub weight: f64,
}

/// What is made of sets.
#[derive(Clone, Copy, Debug)]
pub struct Join {
    pub operation: Operation,
    pub aggregate: Aggregate,
}

/// Takes a member of the result and its score, with its place where the result comes in that order.
pub type Show<'a> = &'a mut dyn FnMut(Option<Place<'_>>, &[u8], f64) -> Result<ControlFlow<()>, CommandError>;

/// So many packed sets are united in memory.
const PACKED_MAX: usize = 64;

/// The sets at these keys. A key that holds neither a set nor a sorted set is the error WRONGTYPE, whatever the others hold.
pub fn open<'a>(keyspace: &'a Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Elements<'a>>>, CommandError> {
    set_join::open_all(keys, |key| lookup::optional(keyspace.any_set(key)?))
}

/// A set with its weight.
#[derive(Clone, Copy)]
struct Weighed<'a> {
    set: &'a Elements<'a>,
    weight: f64,
}

impl Weighed<'_> {
    /// What a score counts as the first of its member. What is no number counts as 0.
    fn first(self, score: f64) -> f64 {
        let score = self.weight * score;
        if score.is_nan() { 0.0 } else { score }
    }
}

impl Aggregate {
    fn add(self, sum: f64, score: f64) -> f64 {
        match self {
            Aggregate::Sum if (sum + score).is_nan() => 0.0,
            Aggregate::Sum => sum + score,
            Aggregate::Min => {
                if score < sum {
                    score
                } else {
                    sum
                }
            }
            Aggregate::Max => {
                if score > sum {
                    score
                } else {
                    sum
                }
            }
        }
    }
}

impl Join {
    /// Shows each member of the result once, those behind a place where the result comes by places, until `show` breaks off.
    pub fn each(self, inputs: &[Input<'_>], behind: Option<Place<'_>>, show: Show<'_>) -> Result<(), CommandError> {
        let mut there: Vec<Weighed<'_>> = inputs
            .iter()
            .filter_map(|Input { set, weight }| Some(Weighed { set: set.as_ref()?, weight: *weight }))
            .collect();
        match self.operation {
            Operation::Difference => match inputs.first() {
                Some(Input { set: Some(set), .. }) => {
                    self.filter(Weighed { set, weight: 1.0 }, &there[1..], behind, show)
                }
                _ => Ok(()),
            },
            Operation::Intersection if there.len() < inputs.len() => Ok(()),
            Operation::Intersection => {
                // Scores are added in this order, which decides how sums are rounded.
                there.sort_by_key(|input| input.set.len());
                there.split_first().map_or(Ok(()), |(first, others)| self.filter(*first, others, behind, show))
            }
            Operation::Union => {
                there.sort_by_key(|input| input.set.len());
                let are_small = there.len() <= PACKED_MAX && there.iter().all(|input| input.set.is_packed());
                if are_small { self.unite_packed(&there, show) } else { self.unite(&there, behind, show) }
            }
        }
    }

    /// Shows the members of `first` that each of the others has, or of a difference none of them.
    fn filter(
        self,
        first: Weighed<'_>,
        others: &[Weighed<'_>],
        behind: Option<Place<'_>>,
        show: Show<'_>,
    ) -> Result<(), CommandError> {
        if first.set.is_packed() {
            let mut is_over = false;
            return first.set.each(|member, value| {
                let score = first.first(score_in(first.set, value)?);
                let found = self.score(score, others.iter().map(|other| (other.weight, other.set.score(member))));
                if let (Some(score), false) = (found?, is_over) {
                    is_over = show(None, member, score)?.is_break();
                }
                Ok(())
            });
        }
        let sets: Vec<_> = others.iter().map(|other| other.set).collect();
        let probes = match self.operation {
            Operation::Difference => Probe::of_any(&sets, first.set.len(), behind)?,
            _ => Probe::of_each(&sets, first.set.len())?,
        };
        // Where there are fewer of them, nobody asks for weights.
        let mut probes: Vec<_> = others.iter().map(|other| other.weight).zip(probes).collect();
        let (mut walk, mut looks) = (walk_behind(first.set, behind, others.len())?, 0);
        while let (Some(place), Some(score)) = (walk.place(), walk.score()) {
            set_join::check_time(first.set, probes.len(), &mut looks)?;
            let shown = walk.show_name(|member| {
                let others = probes.iter_mut().map(|(weight, probe)| (*weight, probe.score(place, member)));
                match self.score(first.first(score), others)? {
                    Some(score) => show(Some(place), member, score),
                    None => Ok(ControlFlow::Continue(())),
                }
            })?;
            if shown.unwrap_or(Ok(ControlFlow::Break(())))?.is_break() {
                return Ok(());
            }
            walk.advance()?;
        }
        Ok(())
    }

    /// The score of a member by the one that it has in the first set, and those in the others. `None`: it does not belong to the result.
    fn score<E>(
        self,
        first: f64,
        others: impl Iterator<Item = (f64, Result<Option<f64>, E>)>,
    ) -> Result<Option<f64>, CommandError>
    where
        CommandError: From<E>,
    {
        let mut sum = first;
        for (weight, other) in others {
            match (other?, self.operation) {
                (Some(_), Operation::Difference) => return Ok(None),
                (None, Operation::Difference) => {}
                (Some(score), _) => sum = self.aggregate.add(sum, weight * score),
                (None, _) => return Ok(None),
            }
        }
        Ok(Some(sum))
    }

    fn unite_packed(self, inputs: &[Weighed<'_>], show: Show<'_>) -> Result<(), CommandError> {
        let mut sums: HashMap<Vec<u8>, f64> = HashMap::new();
        for input in inputs {
            input.set.each(|member, value| {
                let score = input.first(score_in(input.set, value)?);
                match sums.get_mut(member) {
                    Some(sum) => *sum = self.aggregate.add(*sum, score),
                    None => drop(sums.insert(member.to_vec(), score)),
                }
                Ok::<_, CommandError>(())
            })?;
        }
        for (member, score) in sums {
            if show(None, &member, score)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn unite(self, inputs: &[Weighed<'_>], behind: Option<Place<'_>>, show: Show<'_>) -> Result<(), CommandError> {
        let mut front = Front::behind(inputs.iter().map(|input| input.set), behind)?;
        let (mut name, mut member, mut scores) = (Vec::new(), Vec::new(), Vec::new());
        while let Some((_, walk)) = front.first() {
            let Some((position, short_name)) = walk.place() else { break };
            name.clear();
            name.extend_from_slice(short_name);
            walk.show_name(|whole| {
                member.clear();
                member.extend_from_slice(whole);
            })?;
            scores.clear();
            while let Some((number, walk)) = front.first().filter(|(_, walk)| walk.place() == Some((position, &name))) {
                scores.push((*number, inputs[*number].first(walk.score().unwrap_or(1.0))));
                front.advance()?;
            }
            // In the order of the inputs.
            scores.sort_by_key(|(number, _)| *number);
            let score = scores.iter().map(|(_, score)| *score).reduce(|sum, score| self.aggregate.add(sum, score));
            if show(Some((position, &name)), &member, score.unwrap_or_default())?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// The score that an element of a set has by its value.
fn score_in(set: &Elements<'_>, value: &[u8]) -> Result<f64, CommandError> {
    Ok(if set.kind() == Kind::SortedSet { score_of(value)? } else { 1.0 })
}
