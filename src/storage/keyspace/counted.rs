//! Ranks in an ordered collection. Its rows are counted in blocks of about 128, and these in sums of about 128 blocks: a rank is three
//! short walks, whatever the collection's size. Blocks and sums are rows like others, so every view has those that belong to it.
//!
//! ```text
//! sum      |----------------------------|------------- ...     members and blocks of the blocks that begin in it
//! block    |----|------|---|----|-------|-----|------- ...     rows from its place up to the place of the next
//! rows      ....  ...... .  ....  ......  ... .   ...
//! ```
//! The first block and the first sum begin before every row. A block is divided when it has twice as many rows as one should have, and
//! goes with its last row: what lies there then belongs to the block before it.

use std::ops::ControlFlow;

use super::element_rows::Rows;
use super::keyspace::{Keyspace, Store};
use super::walks::{OwnedPlace, Place};
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{Between, Direction, ElementRow, Name, Origin, Part, Passing, Row, RowKey, Stretch, Table};

/// Before every row.
pub(super) const START: Place<'static> = (0, &[]);

/// A count's row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Count {
    number: u64,
    tail: Vec<u8>,
    members: u64,
    /// Of a sum.
    blocks: u64,
}

/// The block and the sum in which a row is counted.
#[derive(Clone, Debug)]
pub(super) struct CountPlaces {
    block: OwnedPlace,
    sum: OwnedPlace,
}

/// Where the row of a rank is found: so many rows behind the beginning of its block, which has so many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ranked {
    pub(super) number: u64,
    pub(super) tail: Vec<u8>,
    pub(super) skip: u64,
    pub(super) members: u64,
}

impl Ranked {
    pub(super) fn place(&self) -> Place<'_> {
        (self.number, &self.tail)
    }
}

impl Count {
    fn place(&self) -> Place<'_> {
        (self.number, &self.tail)
    }

    fn owned_place(&self) -> OwnedPlace {
        (self.number, self.tail.clone())
    }

    fn is_first(&self) -> bool {
        self.place() == START
    }

    fn read(key: RowKey<'_>, row: Row<'_>) -> Result<Self> {
        Self::checked(key, row).ok_or_else(uncounted)
    }

    fn checked(key: RowKey<'_>, row: Row<'_>) -> Option<Self> {
        let (Name::Element(name), value) = (key.name(), row.of_element().value) else { return None };
        let word =
            |at: usize| value.get(at..).and_then(|rest| rest.first_chunk()).map(|word| u64::from_le_bytes(*word));
        let (number, tail) = (name.position, name.name.to_vec());
        Some(Self { number, tail, members: word(0)?, blocks: word(8).unwrap_or(0) })
    }
}

/// A stretch of rows from a place on.
pub(super) fn along<'a>(rows: Rows, begin: Place<'a>, direction: Direction) -> Stretch<'a> {
    let end = if direction == Direction::Forward { u64::MAX } else { 0 };
    Stretch { table: rows.table, id: rows.id, begin, end, direction }
}

fn blocks_of(id: i64) -> Rows {
    Rows { table: Table::CountBlock, id }
}

fn sums_of(id: i64) -> Rows {
    Rows { table: Table::CountSum, id }
}

fn uncounted() -> StorageError {
    StorageError::Corrupt("the counts of a collection are not those of its rows".into())
}

impl<S: Store> Keyspace<S> {
    /// How many of the rows lie before a place.
    pub(super) fn rows_before(&self, rows: Rows, place: Place<'_>) -> Result<u64> {
        let (blocks, sums) = (blocks_of(rows.id), sums_of(rows.id));
        let block = self.count_at(blocks, place)?.ok_or_else(uncounted)?;
        let sum = self.count_at(sums, block.place())?.ok_or_else(uncounted)?;
        let mut before = self.total(sums, START, sum.place())? + self.total(blocks, sum.place(), block.place())?;
        if block.members > 0 {
            before += self.total(rows, block.place(), place)?;
        }
        Ok(before)
    }

    /// How many rows lie between two places, or, where they are counts, how many they count.
    fn total(&self, rows: Rows, begin: Place<'_>, end: Place<'_>) -> Result<u64> {
        let between = Between { table: rows.table, id: rows.id, begin, end };
        if let Some(total) = self.view().total(between)? {
            return Ok(total);
        }
        let (mut total, mut outcome) = (0, Ok(()));
        self.view().walk(between.stretch(), &mut |key, row| {
            if key >= between.end_key() {
                return ControlFlow::Break(());
            }
            match row.counted(rows.table) {
                Some(count) => total += count,
                None => outcome = Err(uncounted()),
            }
            ControlFlow::Continue(())
        })?;
        outcome.map(|()| total)
    }

    /// Where the row of a rank lies. `None`: there are not so many.
    pub(super) fn row_at(&self, id: i64, rank: u64) -> Result<Option<Ranked>> {
        let Some(sum) = self.counted_at(sums_of(id), START, rank)? else { return Ok(None) };
        Ok(Some(self.counted_at(blocks_of(id), sum.place(), sum.skip)?.ok_or_else(uncounted)?))
    }

    /// The count, from a place on, that has the row of a rank behind this place.
    fn counted_at(&self, counts: Rows, from: Place<'_>, rank: u64) -> Result<Option<Ranked>> {
        let (mut passing, mut found) = (Passing::rank(rank), None);
        self.view().walk_passing(along(counts, from, Direction::Forward), &mut passing, &mut |key, row| {
            found = Some(Count::read(key, row));
            ControlFlow::Break(())
        })?;
        let Some(count) = found.transpose()? else { return Ok(None) };
        let Count { number, tail, members, .. } = count;
        Ok(Some(Ranked { number, tail, skip: passing.left(), members }))
    }

    /// So many rows more, or fewer, at a place: they have come, or gone, just before.
    pub(super) fn count_rows(&mut self, rows: Rows, place: Place<'_>, by: i64) -> Result<()> {
        let block = self.count_at(blocks_of(rows.id), place)?.ok_or_else(uncounted)?;
        self.count_in(rows, block, by)
    }

    /// A row that was at one place is at another.
    pub(super) fn count_moved(&mut self, rows: Rows, from: Place<'_>, to: Place<'_>) -> Result<()> {
        let old = self.count_at(blocks_of(rows.id), from)?.ok_or_else(uncounted)?;
        let new = self.count_at(blocks_of(rows.id), to)?.ok_or_else(uncounted)?;
        if old.place() == new.place() {
            return Ok(());
        }
        // Where the old block goes, the one before it takes what lies there: the new one has the same rows as before.
        self.count_in(rows, old, -1)?;
        self.count_in(rows, new, 1)
    }

    /// A row fewer at a place, beyond which in one direction there is none. `known`: where such a row was counted last, and from now on.
    pub(super) fn count_popped(&mut self, rows: Rows, place: Place<'_>, known: &mut Option<CountPlaces>) -> Result<()> {
        let found = match known.take() {
            Some(places) => self.counts_at(rows.id, &places)?,
            None => None,
        };
        let (block, sum) = match found {
            Some(found) => found,
            None => {
                let block = self.count_at(blocks_of(rows.id), place)?.ok_or_else(uncounted)?;
                let sum = self.count_at(sums_of(rows.id), block.place())?.ok_or_else(uncounted)?;
                (block, sum)
            }
        };
        // As long as it has others, and is not about to be divided, the next one is among them.
        let is_kept = block.members > 1 && block.members.max(sum.blocks) < 2 * self.layout.count_rows;
        *known = is_kept.then(|| CountPlaces { block: block.owned_place(), sum: sum.owned_place() });
        self.count_with(rows, block, sum, -1)
    }

    /// The counts at these places, if they are there and count something.
    fn counts_at(&self, id: i64, places: &CountPlaces) -> Result<Option<(Count, Count)>> {
        let count = |rows: Rows, place: &OwnedPlace| {
            let key = rows.row_at((place.0, &place.1));
            self.view().row(key, Part::Whole, |row| Count::read(key, row))?.transpose()
        };
        let block = count(blocks_of(id), &places.block)?.filter(|block| block.members > 0);
        Ok(match block {
            Some(block) => count(sums_of(id), &places.sum)?.map(|sum| (block, sum)),
            None => None,
        })
    }

    fn count_in(&mut self, rows: Rows, block: Count, by: i64) -> Result<()> {
        let sum = self.count_at(sums_of(rows.id), block.place())?.ok_or_else(uncounted)?;
        self.count_with(rows, block, sum, by)
    }

    /// Counts in a block, and in its sum.
    fn count_with(&mut self, rows: Rows, mut block: Count, mut sum: Count, by: i64) -> Result<()> {
        let (blocks, sums) = (blocks_of(rows.id), sums_of(rows.id));
        block.members = block.members.checked_add_signed(by).ok_or_else(uncounted)?;
        sum.members = sum.members.checked_add_signed(by).ok_or_else(uncounted)?;
        if block.members == 0 && !block.is_first() {
            self.batch.delete(blocks.row_at(block.place()), Origin::Blind)?;
            sum.blocks = sum.blocks.checked_sub(1).ok_or_else(uncounted)?;
            if sum.blocks == 0 {
                return self.batch.delete(sums.row_at(sum.place()), Origin::Blind);
            }
            return self.put_count(sums, &sum);
        }
        if block.members >= 2 * self.layout.count_rows {
            self.edges.forget_counts(rows.id);
            let second = self.second_half(rows, &block)?;
            block.members -= second.members;
            self.put_count(blocks, &second)?;
            // The first block of the next sum may be no more, and what lay there have come to this one.
            let mut other = self.count_at(sums, second.place())?.ok_or_else(uncounted)?;
            if other.place() == sum.place() {
                sum.blocks += 1;
            } else {
                sum.members = sum.members.checked_sub(second.members).ok_or_else(uncounted)?;
                (other.members, other.blocks) = (other.members + second.members, other.blocks + 1);
                self.put_sum(rows.id, other)?;
            }
        }
        self.put_count(blocks, &block)?;
        self.put_sum(rows.id, sum)
    }

    /// Its blocks are written. It is divided when it has too many.
    fn put_sum(&mut self, id: i64, mut sum: Count) -> Result<()> {
        if sum.blocks >= 2 * self.layout.count_rows {
            self.edges.forget_counts(id);
            let second = self.second_sum(id, &sum)?;
            (sum.members, sum.blocks) = (sum.members - second.members, sum.blocks - second.blocks);
            self.put_count(sums_of(id), &second)?;
        }
        self.put_count(sums_of(id), &sum)
    }

    /// What a block has beyond the rows that it should have.
    fn second_half(&self, rows: Rows, block: &Count) -> Result<Count> {
        let (mut passed, mut found) = (0, None);
        self.each_key(rows, block.place(), u64::MAX, &mut |key| {
            if passed == self.layout.count_rows {
                found = Some((key.fields() as u64, key.tail().to_vec()));
            }
            passed += 1;
            found.is_none()
        })?;
        let (number, tail) = found.ok_or_else(uncounted)?;
        Ok(Count { number, tail, members: block.members - self.layout.count_rows, blocks: 0 })
    }

    /// The same of a sum and its blocks.
    fn second_sum(&self, id: i64, sum: &Count) -> Result<Count> {
        let (mut passed, mut members, mut found) = (0, 0, None);
        self.each_count(blocks_of(id), sum.place(), &mut |place, of_block| {
            if passed == self.layout.count_rows {
                found = Some((place.0, place.1.to_vec()));
                return false;
            }
            (passed, members) = (passed + 1, members + of_block);
            true
        })?;
        let (number, tail) = found.ok_or_else(uncounted)?;
        let members = sum.members.checked_sub(members).ok_or_else(uncounted)?;
        Ok(Count { number, tail, members, blocks: sum.blocks - passed })
    }

    fn put_count(&mut self, rows: Rows, count: &Count) -> Result<()> {
        self.write_count(rows, count, false)
    }

    /// The last count that begins at a place or before it.
    fn count_at(&self, rows: Rows, place: Place<'_>) -> Result<Option<Count>> {
        let mut found = None;
        self.view().walk(along(rows, place, Direction::Backward), &mut |key, row| {
            found = Some(Count::read(key, row));
            ControlFlow::Break(())
        })?;
        found.transpose()
    }

    /// Shows places of counts and how many members each has, from a place on, until `show` says that this is enough.
    fn each_count(&self, rows: Rows, from: Place<'_>, show: &mut dyn FnMut(Place<'_>, u64) -> bool) -> Result<()> {
        let mut outcome = Ok(());
        self.view().walk(along(rows, from, Direction::Forward), &mut |key, row| {
            match row.counted(rows.table) {
                Some(members) if show((key.fields() as u64, key.tail()), members) => return ControlFlow::Continue(()),
                Some(_) => {}
                None => outcome = Err(uncounted()),
            }
            ControlFlow::Break(())
        })?;
        outcome
    }

    /// Not beyond the number `end`: where many rows were removed, it takes long to find the next one that is there.
    fn each_key(&self, rows: Rows, from: Place<'_>, end: u64, show: &mut dyn FnMut(RowKey<'_>) -> bool) -> Result<()> {
        let stretch = Stretch { end, ..along(rows, from, Direction::Forward) };
        self.view().walk(stretch, &mut |key, _| match show(key) {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    }

    /// Counts a collection anew from what `blocks` has: places with how many rows lie from each up to the next, in their order. Where the
    /// first of them begins does not matter. `is_ahead`: the rows go ahead of the batch, to an id of which nothing is counted yet.
    pub(super) fn build_counts(
        &mut self,
        id: i64,
        blocks: &mut dyn Iterator<Item = (u64, Vec<u8>, u64)>,
        is_ahead: bool,
    ) -> Result<()> {
        let mut sum = Count { number: 0, tail: Vec::new(), members: 0, blocks: 0 };
        let mut is_first = true;
        for (number, tail, members) in blocks {
            let (number, tail) = if std::mem::take(&mut is_first) { (0, Vec::new()) } else { (number, tail) };
            let block = Count { number, tail, members, blocks: 0 };
            if sum.blocks == self.layout.count_rows {
                self.write_count(sums_of(id), &sum, is_ahead)?;
                sum = Count { members: 0, blocks: 0, ..block.clone() };
            }
            (sum.members, sum.blocks) = (sum.members + members, sum.blocks + 1);
            self.write_count(blocks_of(id), &block, is_ahead)?;
        }
        if is_first {
            self.write_count(blocks_of(id), &sum, is_ahead)?;
            sum.blocks = 1;
        }
        self.write_count(sums_of(id), &sum, is_ahead)
    }

    fn write_count(&mut self, rows: Rows, count: &Count, is_ahead: bool) -> Result<()> {
        let bytes = count_bytes(rows, count);
        self.put_copied(rows.row_at(count.place()), ElementRow { value: &bytes, apart: None }, is_ahead)
    }
}

/// A block has one number, a sum has two.
fn count_bytes(rows: Rows, count: &Count) -> Vec<u8> {
    let mut bytes = count.members.to_le_bytes().to_vec();
    if rows.table == Table::CountSum {
        bytes.extend_from_slice(&count.blocks.to_le_bytes());
    }
    bytes
}
