//! A sorted set as it is read: by member, by rank, by score. Packed or a row for each member, the same answers.

use std::ops::ControlFlow;

use super::elements::{Elements, Form};
use super::keyspace::{Keyspace, Lookup, Store};
use super::packed::Packed;
use super::scores::{Bound, score_of_row};
use super::sorted_rows::{members_of, order_of};
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{Direction, Kind};

/// Is shown a member and its score.
type Show<'a, E> = &'a mut dyn FnMut(&[u8], f64) -> std::result::Result<(), E>;

/// A sorted set that is there, so it has members. As `Elements` its values are scores: eight bytes, which `score_of` reads.
pub struct SortedSet<'a, S> {
    elements: Elements<'a, S>,
}

impl<S: Store> Keyspace<S> {
    pub fn sorted_set(&self, key: &[u8]) -> Result<Lookup<SortedSet<'_, S>>> {
        Ok(match self.elements(Kind::SortedSet, key)? {
            Lookup::Found(elements) => Lookup::Found(SortedSet { elements }),
            Lookup::Absent => Lookup::Absent,
            Lookup::OtherKind(kind) => Lookup::OtherKind(kind),
        })
    }
}

impl<'a, S: Store> SortedSet<'a, S> {
    /// Of elements that are members of a sorted set; `None`: they are of another kind.
    pub fn of(elements: Elements<'a, S>) -> Option<Self> {
        (elements.kind == Kind::SortedSet).then_some(Self { elements })
    }

    /// As what is common to all kinds: encoding, random members, walks, size.
    pub fn elements(&self) -> &Elements<'a, S> {
        &self.elements
    }

    #[must_use]
    pub fn into_elements(self) -> Elements<'a, S> {
        self.elements
    }

    /// How many members there are. Never 0.
    #[expect(clippy::len_without_is_empty, reason = "an empty collection is an absent key")]
    pub fn len(&self) -> u64 {
        self.elements.len()
    }

    /// True when reading it whole is a matter of one row.
    pub fn is_packed(&self) -> bool {
        self.elements.is_packed()
    }

    pub fn score(&self, member: &[u8]) -> Result<Option<f64>> {
        self.elements.score(member)
    }

    /// How many members are lower, and the score; `None`: there is no such member.
    pub fn rank(&self, member: &[u8]) -> Result<Option<(u64, f64)>> {
        let (keyspace, id) = match &self.elements.form {
            Form::Rows(rows) => (self.elements.keyspace, rows.id),
            Form::Packed(bytes) => return Packed::new(Kind::SortedSet, bytes).rank(member),
        };
        let Some(row) = keyspace.scored_row(members_of(id).row(&keyspace.home(member)))? else { return Ok(None) };
        let (order, tail) = keyspace.member_place(member, &row);
        Ok(Some((keyspace.rows_before(order_of(id), (order, &tail))?, row.score)))
    }

    /// How many members lie before a bound.
    pub fn count_before(&self, bound: Bound<'_>) -> Result<u64> {
        match &self.elements.form {
            Form::Rows(rows) => self.elements.keyspace.members_before(rows.id, bound),
            Form::Packed(bytes) => {
                let mut count = 0;
                for element in Packed::new(Kind::SortedSet, bytes).scores() {
                    let (name, score) = element?;
                    count += u64::from(bound.is_behind_of(name, score));
                }
                Ok(count)
            }
        }
    }

    /// Shows so many members and their scores, or all that there are, from a rank on, until `show` fails. Backwards the highest member has
    /// rank 0, and lower ones follow.
    pub fn each_from<E: From<StorageError>>(
        &self,
        rank: u64,
        count: u64,
        direction: Direction,
        mut show: impl FnMut(&[u8], f64) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let count = count.min(self.len().saturating_sub(rank));
        if count == 0 {
            return Ok(());
        }
        let id = match &self.elements.form {
            Form::Rows(rows) => rows.id,
            Form::Packed(bytes) => return self.each_packed(bytes, (rank, count), direction, &mut show),
        };
        let keyspace = self.elements.keyspace;
        let first = if direction == Direction::Forward { rank } else { self.len() - 1 - rank };
        let Some(at) = keyspace.row_at(id, first)? else { return Ok(()) };
        let row = match direction {
            Direction::Forward => None,
            Direction::Backward => keyspace.ordered(id, at.place(), at.skip, 1)?.pop(),
        };
        let begin = row.as_ref().map_or((at.place(), at.skip), |row| (row.place(), 0));
        let mut left = count;
        keyspace.each_along(order_of(id), begin, direction, &mut |row| {
            let long_name = keyspace.long_member(row)?;
            show(long_name.as_deref().unwrap_or(row.place().1), row.score())?;
            left -= 1;
            Ok(if left > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })
    }

    fn each_packed<E: From<StorageError>>(
        &self,
        bytes: &[u8],
        (rank, count): (u64, u64),
        direction: Direction,
        show: Show<'_, E>,
    ) -> std::result::Result<(), E> {
        let members: Vec<(&[u8], f64)> = Packed::new(Kind::SortedSet, bytes).scores().collect::<Result<_>>()?;
        let mut show_all = |members: &mut dyn Iterator<Item = &(&[u8], f64)>| {
            let wanted = members.skip(rank as usize).take(count as usize);
            wanted.into_iter().try_for_each(|(member, score)| show(member, *score))
        };
        match direction {
            Direction::Forward => show_all(&mut members.iter()),
            Direction::Backward => show_all(&mut members.iter().rev()),
        }
    }

    /// As `Elements::scan`, with scores.
    pub fn scan<E: From<StorageError>>(
        &self,
        cursor: u64,
        rows_max: usize,
        mut show: impl FnMut(&[u8], f64) -> std::result::Result<(), E>,
    ) -> std::result::Result<u64, E> {
        self.elements.scan(cursor, rows_max, |member, value| show(member, score_of(value)?))
    }

    /// As `Elements::random`, with scores.
    pub fn random<E: From<StorageError>>(
        &self,
        count: u64,
        random: &mut dyn FnMut() -> u64,
        mut show: impl FnMut(&[u8], f64) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.elements.random(count, random, &mut |member, value| show(member, score_of(value)?))
    }

    /// As `Elements::random_repeating`, with scores.
    pub fn random_repeating<E: From<StorageError>>(
        &self,
        count: u64,
        random: &mut dyn FnMut() -> u64,
        mut show: impl FnMut(&[u8], f64) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.elements.random_repeating(count, random, &mut |member, value| show(member, score_of(value)?))
    }
}

/// The score that is an element's value.
pub fn score_of(value: &[u8]) -> Result<f64> {
    score_of_row(value)
}
