//! What changes a sorted set. It keeps the time when it ends, and goes with its last member.

use super::changes::Expiry;
use super::contents::{Contents, Form, Opened, Removed};
use super::counted::START;
use super::elements::Elements;
use super::keyspace::{Keyspace, Lookup, Store};
use super::packed::{Span, damaged};
use super::scores::score_in;
use super::sorted_reads::SortedSet;
use super::sorted_rows::{OwnedOrdered, ScoredRow, members_of, order_of};
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{Direction, Kind};

/// What a call did that gave members scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scored {
    /// Members that were not there.
    pub added: u64,
    /// Members that were there and have another score now.
    pub changed: u64,
    /// The key was not there.
    pub is_new: bool,
}

/// What is known of a member under change.
enum Held {
    Nothing,
    Packed(Span, f64),
    Row(ScoredRow),
}

/// More members than this are not removed one by one: those that stay are written anew, of which none need be in memory.
const REMOVED_MAX: u64 = 1 << 20;
/// The same where others do not wait for those that stay, but for the removal.
const REMOVED_BESIDE_MAX: u64 = 1 << 15;
/// For each member that is removed one by one, counts included.
const ROWS_TOUCHED: u64 = 4;
/// So many members are taken out one by one, from where the set begins or ends.
const POPPED_MAX: u64 = 64;
/// Members that are written anew at once.
const KEPT_AT_ONCE: u64 = 1024;

impl<S: Store> Keyspace<S> {
    /// Gives members scores: `decide` is asked of each, by its number, with the score that it has, and says which it gets; `None`: it is
    /// left alone. A score that is equal to the old one changes nothing, and is not to be one that is no number.
    ///
    /// # Errors
    /// Those of `decide`; the caller undoes what was done before.
    pub fn sorted_set_add<E: From<StorageError>>(
        &mut self,
        key: &[u8],
        members: &[&[u8]],
        mut decide: impl FnMut(usize, Option<f64>) -> std::result::Result<Option<f64>, E>,
    ) -> std::result::Result<Lookup<Scored>, E> {
        let mut opened = match self.open(Kind::SortedSet, key)? {
            Lookup::Found(opened) => opened,
            Lookup::Absent => return Ok(Lookup::Absent),
            Lookup::OtherKind(kind) => return Ok(Lookup::OtherKind(kind)),
        };
        let mut scored = Scored { added: 0, changed: 0, is_new: opened.is_new };
        opened.contents.expect(members.len() as u64, &self.thresholds);
        for (number, member) in members.iter().enumerate() {
            let held = self.held(&opened.contents, member)?;
            let old = held.score();
            let Some(score) = decide(number, old)? else { continue };
            debug_assert!(!score.is_nan(), "a score is a number");
            if old == Some(score) {
                continue;
            }
            match old {
                Some(_) => scored.changed += 1,
                None => scored.added += 1,
            }
            self.set_score(&mut opened.contents, member, score, &held)?;
        }
        self.close(opened)?;
        Ok(Lookup::Found(scored))
    }

    pub fn sorted_set_remove(&mut self, key: &[u8], members: &[&[u8]]) -> Result<Lookup<Removed>> {
        let mut opened = match self.open_there(Kind::SortedSet, key)? {
            Lookup::Found(opened) => opened,
            Lookup::Absent => return Ok(Lookup::Absent),
            Lookup::OtherKind(kind) => return Ok(Lookup::OtherKind(kind)),
        };
        let mut count = 0;
        for member in members {
            let held = self.held(&opened.contents, member)?;
            count += u64::from(self.remove_held(&mut opened.contents, member, held)?);
            // With the last one the key is gone; what else is named is not there.
            if opened.contents.count() == 0 {
                break;
            }
        }
        let is_gone = self.close(opened)?;
        Ok(Lookup::Found(Removed { count, is_gone }))
    }

    /// Removes so many members, or all that there are, from a rank on. What is written are those that go or those that stay, whichever
    /// are fewer.
    pub fn sorted_set_remove_ranks(&mut self, key: &[u8], rank: u64, count: u64) -> Result<Lookup<Removed>> {
        match self.open_there(Kind::SortedSet, key)? {
            Lookup::Found(opened) => self.remove_opened_ranks(key, opened, rank, count).map(Lookup::Found),
            Lookup::Absent => Ok(Lookup::Absent),
            Lookup::OtherKind(kind) => Ok(Lookup::OtherKind(kind)),
        }
    }

    fn remove_opened_ranks(&mut self, key: &[u8], mut opened: Opened<'_>, rank: u64, count: u64) -> Result<Removed> {
        let length = opened.contents.count();
        let count = count.min(length.saturating_sub(rank));
        if count == 0 {
            return Ok(Removed { count, is_gone: false });
        }
        if count == length {
            self.close_without_any(opened)?;
            return Ok(Removed { count, is_gone: true });
        }
        if let Form::Rows { rows, .. } = &opened.contents.form {
            self.begin_long(count * ROWS_TOUCHED)?;
            let removed_max = if self.store.is_preparing() { REMOVED_BESIDE_MAX } else { REMOVED_MAX };
            if length - count <= count || count > removed_max {
                self.keep_others(key, rows.id, (rank, count), &opened.contents)?;
                return Ok(Removed { count, is_gone: false });
            }
        }
        self.begin_change(&mut opened.contents)?;
        match &mut opened.contents.form {
            Form::Packed(pack) => pack.remove_ranks(rank, count)?,
            Form::Rows { rows, length, .. } => {
                *length -= count;
                self.remove_ordered(rows.id, rank, count)?;
            }
        }
        let is_gone = self.close(opened)?;
        Ok(Removed { count, is_gone })
    }

    /// Takes out the lowest members, or backwards the highest, so many or all, and shows them in this order.
    ///
    /// # Errors
    /// Those of `show`, before anything has changed.
    pub fn sorted_set_pop<E: From<StorageError>>(
        &mut self,
        key: &[u8],
        count: u64,
        direction: Direction,
        show: impl FnMut(&[u8], f64) -> std::result::Result<(), E>,
    ) -> std::result::Result<Lookup<Removed>, E> {
        let opened = match self.open_there(Kind::SortedSet, key)? {
            Lookup::Found(opened) => opened,
            Lookup::Absent => return Ok(Lookup::Absent),
            Lookup::OtherKind(kind) => return Ok(Lookup::OtherKind(kind)),
        };
        let length = opened.contents.count();
        if matches!(opened.contents.form, Form::Rows { .. }) && count <= POPPED_MAX.min(length - 1) {
            return self.pop_members(opened, count, direction, show).map(Lookup::Found);
        }
        if let Some(set) = SortedSet::of(Elements::of(self, &opened.contents)) {
            set.each_from(0, count, direction, show)?;
        }
        let rank = if direction == Direction::Forward { 0 } else { length.saturating_sub(count) };
        Ok(Lookup::Found(self.remove_opened_ranks(key, opened, rank, count)?))
    }

    /// Takes out fewer than all members, which have a row each.
    fn pop_members<E: From<StorageError>>(
        &mut self,
        mut opened: Opened<'_>,
        count: u64,
        direction: Direction,
        mut show: impl FnMut(&[u8], f64) -> std::result::Result<(), E>,
    ) -> std::result::Result<Removed, E> {
        let Form::Rows { rows, length, .. } = &mut opened.contents.form else { return Err(damaged().into()) };
        let (id, count) = (rows.id, count as usize);
        if count == 0 {
            return Ok(Removed { count: 0, is_gone: false });
        }
        let mut edge = self.take_edge(id, *length, count as u64, direction)?;
        if edge.ahead.len() < count {
            return Err(damaged().into());
        }
        for row in edge.ahead.iter().take(count) {
            let long_name = self.long_member(row.borrowed())?;
            show(long_name.as_deref().unwrap_or(&row.tail), row.borrowed().score())?;
        }
        *length = length.checked_sub(count as u64).ok_or_else(damaged)?;
        self.begin_change(&mut opened.contents)?;
        let popped: Vec<OwnedOrdered> = edge.ahead.drain(..count).collect();
        for row in popped {
            self.delete_ordered(id, &row)?;
            self.count_popped(order_of(id), row.place(), &mut edge.counts)?;
        }
        self.edges.keep(edge);
        let is_gone = self.close(opened)?;
        Ok(Removed { count: count as u64, is_gone })
    }

    fn held(&self, contents: &Contents<'_>, member: &[u8]) -> Result<Held> {
        Ok(match &contents.form {
            Form::Packed(pack) => match pack.find(member)? {
                Some(span) => {
                    let score = score_in(pack.value(&span))?;
                    Held::Packed(span, score)
                }
                None => Held::Nothing,
            },
            Form::Rows { rows, .. } => {
                let row = self.scored_row(members_of(rows.id).row(&self.home(member)))?;
                row.map_or(Held::Nothing, Held::Row)
            }
        })
    }

    fn set_score(&mut self, contents: &mut Contents<'_>, member: &[u8], score: f64, held: &Held) -> Result<()> {
        if member.len() as u64 > self.value_bytes_max() {
            return Err(StorageError::TooLarge);
        }
        let is_new = matches!(held, Held::Nothing);
        self.begin_change(contents)?;
        contents.encode(member, &[], is_new, &self.thresholds)?;
        let score = contents.kept_score(score);
        if let (Form::Packed(pack), Held::Packed(span, _)) = (&mut contents.form, held) {
            pack.remove(span);
        }
        if self.add_packed(contents, member, score)? {
            return Ok(());
        }
        let Form::Rows { rows, length, .. } = &mut contents.form else { return Err(damaged()) };
        match held {
            Held::Row(old) => self.move_scored(rows.id, member, old, score),
            Held::Nothing | Held::Packed(..) => {
                *length += 1;
                self.add_scored(rows.id, member, score)
            }
        }
    }

    fn remove_held(&mut self, contents: &mut Contents<'_>, member: &[u8], held: Held) -> Result<bool> {
        if matches!(held, Held::Nothing) {
            return Ok(false);
        }
        self.begin_change(contents)?;
        match (&mut contents.form, held) {
            (Form::Packed(pack), Held::Packed(span, _)) => pack.remove(&span),
            (Form::Rows { rows, length, .. }, Held::Row(old)) => {
                *length = length.checked_sub(1).ok_or_else(damaged)?;
                self.remove_scored(rows.id, member, &old)?;
            }
            _ => return Err(damaged()),
        }
        Ok(true)
    }

    /// Block by block, each of which is counted once.
    fn remove_ordered(&mut self, id: i64, rank: u64, count: u64) -> Result<()> {
        let mut left = count;
        while left > 0 {
            let at = self.row_at(id, rank)?.ok_or_else(damaged)?;
            let rows = self.ordered(id, at.place(), at.skip, left.min(at.members - at.skip))?;
            for row in &rows {
                self.delete_ordered(id, row)?;
            }
            if rows.is_empty() {
                return Err(damaged());
            }
            left = left.saturating_sub(rows.len() as u64);
            self.count_rows(order_of(id), at.place(), -(rows.len() as i64))?;
        }
        Ok(())
    }

    /// Writes all members but so many from a rank on under a new id, and leaves the rows of before to the sweeper.
    fn keep_others(&mut self, key: &[u8], id: i64, (rank, count): (u64, u64), contents: &Contents<'_>) -> Result<()> {
        let mut building = self.build(Kind::SortedSet);
        building.set_encoding(contents.encoding());
        for (first, end) in [(0, rank), (rank + count, contents.count())] {
            let mut left = end - first;
            let mut from = match self.row_at(id, first)? {
                Some(at) if left > 0 => {
                    let row = self.ordered(id, at.place(), at.skip, 1)?.pop().ok_or_else(damaged)?;
                    (row.order, row.tail)
                }
                _ => (START.0, Vec::new()),
            };
            while left > 0 {
                let rows = self.ordered(id, (from.0, &from.1), 0, left.min(KEPT_AT_ONCE))?;
                for row in &rows {
                    let long_name = self.long_member(row.borrowed())?;
                    let member = long_name.as_deref().unwrap_or(&row.tail);
                    self.add_new_score_to(&mut building, member, row.borrowed().score())?;
                }
                let last = rows.last().ok_or_else(damaged)?;
                from = (last.order, [&last.tail[..], &[0]].concat());
                left -= rows.len() as u64;
            }
        }
        self.put_built(key, building, Expiry::Keep).map(drop)
    }
}

impl Held {
    fn score(&self) -> Option<f64> {
        match self {
            Self::Nothing => None,
            Self::Packed(_, score) => Some(*score),
            Self::Row(row) => Some(row.score),
        }
    }
}
