//! Sorted sets that are written as a whole: unpacked, built, copied. Their rows are counted when they are all there.

use std::ops::ControlFlow;

use super::contents::{Building, Contents, Form};
use super::counted::START;
use super::element_rows::Rows;
use super::keyspace::{Keyspace, Store};
use super::packed::{Encoding, damaged};
use super::sorted_rows::{OwnedOrdered, is_minus_zero, members_of};
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{Apart, Direction, ElementRow, Table, score_order};

/// Rows that are in memory at once.
const ROWS_AT_ONCE: u64 = 1024;

impl<S: Store> Keyspace<S> {
    /// Adds a member to a sorted set that is being built. False when it was there, and keeps its score.
    ///
    /// # Errors
    /// `Corrupt`, of this member or a later one, where the store refuses one that it has.
    pub fn add_score_to(&mut self, building: &mut Building, member: &[u8], score: f64) -> Result<bool> {
        self.begin_adding(building, 2 * member.len())?;
        if self.is_in(&building.contents, member)? {
            return Ok(false);
        }
        self.add_built(building, member, score).map(|()| true)
    }

    /// Adds a member that is not there, as the caller knows: nobody looks.
    pub fn add_new_score_to(&mut self, building: &mut Building, member: &[u8], score: f64) -> Result<()> {
        self.begin_adding(building, 2 * member.len())?;
        self.add_built(building, member, score)
    }

    fn add_built(&mut self, building: &mut Building, member: &[u8], score: f64) -> Result<()> {
        if member.len() as u64 > self.value_bytes_max() {
            return Err(StorageError::TooLarge);
        }
        let Building { contents, has_long_members, has_minus_zero, .. } = building;
        *has_long_members |= self.is_long(member);
        *has_minus_zero |= is_minus_zero(score);
        self.begin_change(contents)?;
        contents.encode(member, &[], true, &self.thresholds)?;
        if self.add_packed(contents, member, score)? {
            return Ok(());
        }
        let Form::Rows { rows, length, ahead } = &mut contents.form else { return Err(damaged()) };
        *length += 1;
        // Those that begin alike are put in their order at the end.
        let label = *length * self.layout.label_step;
        self.put_scored(rows.id, (member, score), label, None, ahead.as_deref_mut())
    }

    /// Adds a member that is not there to what is packed. False when there is no room: then there is a row for each.
    pub(super) fn add_packed(&mut self, contents: &mut Contents<'_>, member: &[u8], score: f64) -> Result<bool> {
        let Form::Packed(pack) = &mut contents.form else { return Ok(false) };
        let bytes = pack.bytes().len() + pack.growth(member, super::scores::score_text(score).as_bytes());
        if bytes <= self.layout.packed_bytes_max && pack.count() < self.layout.packed_elements_max {
            pack.add_scored(member, score)?;
            return Ok(true);
        }
        self.unpack_sorted(contents)?;
        Ok(false)
    }

    fn unpack_sorted(&mut self, contents: &mut Contents<'_>) -> Result<()> {
        let id = self.fresh_id()?;
        let Form::Packed(pack) = &contents.form else { return Ok(()) };
        for (number, element) in (1..).zip(pack.packed().scores()) {
            self.put_scored(id, element?, number * self.layout.label_step, None, None)?;
        }
        let length = pack.count();
        if !contents.is_built {
            self.build_counts(id, &mut std::iter::once((START.0, START.1.to_vec(), length)), false)?;
        }
        contents.form = Form::Rows { rows: members_of(id), length, ahead: None };
        Ok(())
    }

    /// All members of a sorted set that was built are there.
    pub(super) fn finish_sorted(&mut self, building: &mut Building, is_ahead: bool) -> Result<()> {
        // Which encoding it has was not known before, whatever the order in which they came.
        if building.has_minus_zero && building.contents.encoding() == Encoding::Listpack {
            self.settle_zeros(&mut building.contents)?;
        }
        let Form::Rows { rows, .. } = &building.contents.form else { return Ok(()) };
        if building.has_long_members {
            self.settle_all_ties(rows.id)?;
        }
        self.count_all(rows.id, is_ahead)
    }

    /// Makes 0 of each -0.
    fn settle_zeros(&mut self, contents: &mut Contents<'_>) -> Result<()> {
        match &mut contents.form {
            Form::Packed(pack) => {
                let scores = pack.packed().scores().collect::<Result<Vec<_>>>()?;
                let zeros = scores.iter().filter(|(_, score)| is_minus_zero(*score));
                let zeros: Vec<Vec<u8>> = zeros.map(|(member, _)| member.to_vec()).collect();
                for member in zeros {
                    let span = pack.find(&member)?.ok_or_else(damaged)?;
                    pack.replace(&span, super::scores::score_text(0.0).as_bytes());
                }
                Ok(())
            }
            Form::Rows { rows, .. } => self.settle_zero_rows(rows.id),
        }
    }

    fn settle_zero_rows(&mut self, id: i64) -> Result<()> {
        let zero = score_order(0.0);
        let mut tail = Vec::new();
        loop {
            let portion = self.ordered(id, (zero, &tail), 0, ROWS_AT_ONCE)?;
            for row in portion.iter().filter(|row| row.order == zero && is_minus_zero(row.borrowed().score())) {
                let long_name = self.long_member(row.borrowed())?;
                let label = if long_name.is_some() { row.label()? } else { 0 };
                let member = long_name.as_deref().unwrap_or(&row.tail);
                self.put_scored(id, (member, 0.0), label, row.apart, None)?;
            }
            match portion.last() {
                Some(last) if last.order == zero && portion.len() as u64 == ROWS_AT_ONCE => {
                    tail = [&last.tail[..], &[0]].concat();
                }
                _ => return Ok(()),
            }
        }
    }

    /// In the order of `settle_ties`, each run of long members that begin alike.
    fn settle_all_ties(&mut self, id: i64) -> Result<()> {
        let mut from = (START.0, START.1.to_vec());
        loop {
            let mut run: Vec<OwnedOrdered> = Vec::new();
            self.each_ordered::<StorageError>(id, (from.0, &from.1), Direction::Forward, &mut |row| {
                if !row.is_long() {
                    return Ok(if run.len() > 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) });
                }
                let row = row.to_owned();
                match run.last() {
                    Some(last) if !self.are_tied(last, &row) && run.len() > 1 => return Ok(ControlFlow::Break(())),
                    Some(last) if !self.are_tied(last, &row) => run.clear(),
                    _ => {}
                }
                run.push(row);
                Ok(ControlFlow::Continue(()))
            })?;
            match run.last() {
                Some(last) if run.len() > 1 => {
                    from = (last.order, [&last.tail[..], &[0]].concat());
                    self.settle_ties(id, &run)?;
                }
                _ => return Ok(()),
            }
        }
    }

    fn count_all(&mut self, id: i64, is_ahead: bool) -> Result<()> {
        let (mut blocks, block_rows) = (Vec::<(u64, Vec<u8>, u64)>::new(), self.layout.count_rows);
        self.each_ordered::<StorageError>(id, START, Direction::Forward, &mut |row| {
            match blocks.last_mut().filter(|(.., rows)| *rows < block_rows) {
                Some((.., rows)) => *rows += 1,
                None => {
                    let (order, tail) = row.place();
                    blocks.push((order, tail.to_vec(), 1));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        self.build_counts(id, &mut blocks.into_iter(), is_ahead)
    }

    /// Gives a sorted set's rows, of so many members, to a new id as well. Only some of them are in memory at once, and of many none
    /// stay there.
    pub(super) fn copy_sorted(&mut self, from: i64, length: u64) -> Result<i64> {
        let to = self.copy_elements(members_of(from), length)?;
        let is_ahead = self.is_copied_ahead(length);
        for table in [Table::SortedOrder, Table::CountBlock, Table::CountSum] {
            self.copy_in_order(Rows { table, id: from }, Rows { table, id: to }, is_ahead)?;
        }
        Ok(to)
    }

    /// Gives the rows of an ordered table to a new id as well; what of members lies apart has been copied with them.
    fn copy_in_order(&mut self, from: Rows, to: Rows, is_ahead: bool) -> Result<()> {
        let mut place = (START.0, START.1.to_vec());
        loop {
            let portion = self.rows_along(from, (place.0, &place.1), 0, ROWS_AT_ONCE)?;
            for row in &portion {
                let copy = ElementRow { value: &row.value, apart: self.copied_apart(to.id, row)? };
                self.put_copied(to.row_at(row.place()), copy, is_ahead)?;
            }
            match portion.last() {
                Some(last) if portion.len() as u64 == ROWS_AT_ONCE => {
                    place = (last.order, [&last.tail[..], &[0]].concat());
                }
                _ => return Ok(()),
            }
        }
    }

    /// Where the name of a long member lies in a copy that has the member's own row.
    fn copied_apart(&self, to: i64, row: &OwnedOrdered) -> Result<Option<Apart>> {
        let Some(name) = self.long_member(row.borrowed())? else { return Ok(None) };
        let home = self.home(&name);
        Ok(self.scored_row(members_of(to).row(&home))?.ok_or_else(damaged)?.apart)
    }
}
