//! What SORT sorts: the elements of a set, a list or a sorted set, in the order that they have.

use std::ops::Range;

use crate::kv::call::ReadResult;
use crate::kv::commands::elements::{self, Ended};
use crate::kv::commands::lookup;
use crate::kv::errors::{self, CommandError};
use crate::storage::{Direction, Elements, Keyspace, Kind, List, Lookup, SortedSet};

pub enum Source<'a> {
    Nothing,
    Set(Elements<'a>),
    List(List<'a>),
    SortedSet(SortedSet<'a>),
}

impl<'a> Source<'a> {
    /// A key of another kind is the error WRONGTYPE.
    pub fn open(keyspace: &'a Keyspace, key: &[u8]) -> Result<Source<'a>, CommandError> {
        Ok(match keyspace.any_set(key)? {
            Lookup::Absent => Source::Nothing,
            Lookup::Found(set) if set.kind() == Kind::Set => Source::Set(set),
            Lookup::Found(set) => Source::SortedSet(SortedSet::of(set).ok_or(errors::INTERNAL)?),
            Lookup::OtherKind(_) => lookup::optional(keyspace.list(key)?)?.map_or(Source::Nothing, Source::List),
        })
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        match self {
            Source::Nothing => 0,
            Source::Set(set) => set.len(),
            Source::List(list) => list.len(),
            Source::SortedSet(set) => set.len(),
        }
    }

    #[must_use]
    pub fn is_set(&self) -> bool {
        matches!(self, Source::Set(_))
    }

    /// Shows these of the elements, the first being 0, or, backwards, the last. A set has no direction. No more of them are looked at
    /// than there are up to the last.
    pub fn each(
        &self,
        keyspace: &Keyspace,
        range: Range<u64>,
        is_backwards: bool,
        mut show: impl FnMut(&[u8]) -> ReadResult,
    ) -> ReadResult {
        let count = range.end.saturating_sub(range.start);
        if count == 0 {
            return Ok(());
        }
        let mut looked = 0;
        let mut show = |element: &[u8]| {
            looked += 1;
            elements::check_time(keyspace, looked)?;
            show(element)
        };
        match self {
            Source::Nothing => Ok(()),
            Source::Set(set) => each_member(keyspace, set, range, show),
            Source::List(list) if is_backwards => {
                let last = list.len().saturating_sub(1);
                range.filter_map(|number| last.checked_sub(number)).try_for_each(|index| {
                    list.get(index, |item| show(item))?.unwrap_or_else(|| Err(errors::INTERNAL.into()))
                })
            }
            Source::List(list) => list.each(range.start, count, show),
            Source::SortedSet(set) => {
                let direction = if is_backwards { Direction::Backward } else { Direction::Forward };
                set.each_from(range.start, count, direction, |member, _| show(member))
            }
        }
    }
}

fn each_member(
    keyspace: &Keyspace,
    set: &Elements<'_>,
    range: Range<u64>,
    mut show: impl FnMut(&[u8]) -> ReadResult,
) -> ReadResult {
    let mut number = 0;
    Ended::outcome(set.each_name(|member| {
        if number >= range.start {
            show(member).map_err(Ended::Failed)?;
        } else {
            elements::check_time(keyspace, number)?;
        }
        number += 1;
        if number < range.end { Ok(()) } else { Err(Ended::Enough) }
    }))
}
