//! How many items a list has between two positions, where positions alone do not tell: for each block of positions by how many its items
//! are more, or fewer, than its regular positions within the window, and the same for sums of blocks. What says nothing has no row; so a
//! list of which few places are not regular has few rows, and pushes and pops at regular ends write none.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::keyspace::{Keyspace, Store};
use super::list_items::lacks_items;
use super::list_window::{SUMS, Window};
use super::packed::damaged;
use crate::storage::error::Result;
use crate::storage::rows::{ElementRow, Name, Origin, Part, Range, Row, RowKey, Table};

/// Changes of counts, gathered until they are written.
#[derive(Debug, Default)]
pub(super) struct CountChanges(BTreeMap<u64, i64>);

impl CountChanges {
    fn add(&mut self, block: u64, change: i64) {
        *self.0.entry(block).or_default() += change;
    }
}

impl<S: Store> Keyspace<S> {
    fn block_bits(&self) -> u32 {
        self.layout.list.stride_bits + self.layout.list.block_bits
    }

    /// An item comes to this position (1), or leaves it (-1).
    pub(super) fn count_item(&self, changes: &mut CountChanges, position: u64, change: i64) {
        changes.add(self.layout.list.block_of(position), change);
    }

    /// The positions from `first` on and before `end` leave the window (1), or come to it (-1).
    pub(super) fn count_positions(&self, changes: &mut CountChanges, first: u64, end: u64, change: i64) {
        for (block, regular) in self.layout.list.regular_by_block(first, end) {
            changes.add(block, change * regular.cast_signed());
        }
    }

    pub(super) fn write_counts(&mut self, id: i64, changes: CountChanges) -> Result<()> {
        let mut sums = BTreeMap::new();
        for (block, change) in changes.0 {
            self.change_count(id, block, change)?;
            *sums.entry(self.layout.list.sum_of(block)).or_default() += change;
        }
        sums.into_iter().try_for_each(|(sum, change)| self.change_count(id, sum, change))
    }

    fn change_count(&mut self, id: i64, number: u64, change: i64) -> Result<()> {
        if change == 0 {
            return Ok(());
        }
        let name = RowKey::element(Table::ListCount, id, number, &[]);
        let old = self.view().row(name, Part::Whole, |row| more(row.of_element()))?.transpose()?.unwrap_or(0);
        match old.checked_add(change).ok_or_else(damaged)? {
            0 => self.batch.delete(name, Origin::Blind),
            new => {
                let text = new.to_string();
                let row = ElementRow { value: text.as_bytes(), apart: None };
                self.batch.put(name, Row::Element(row), Origin::Blind)
            }
        }
    }

    /// Items in a block of positions, as the counts have it.
    pub(super) fn block_count(&self, window: &Window, position: u64) -> Result<u64> {
        let block = position >> self.block_bits();
        let name = RowKey::element(Table::ListCount, window.id, block, &[]);
        let more = self.view().row(name, Part::Whole, |row| more(row.of_element()))?.transpose()?.unwrap_or(0);
        let regular = self.regular_within(window, block << self.block_bits(), (block + 1) << self.block_bits());
        regular.checked_add_signed(more).ok_or_else(damaged)
    }

    /// Regular positions of the window from `first` on and before `end`.
    fn regular_within(&self, window: &Window, first: u64, end: u64) -> u64 {
        let (first, end) = (first.max(window.head), end.min(window.tail + 1));
        let shape = self.layout.list;
        if first < end { shape.regular_before(end) - shape.regular_before(first) } else { 0 }
    }

    /// Where the item with this index lies, by the counts: a walk through sums, one through the blocks of a sum, one through a block.
    pub(super) fn counted_position(&self, window: &Window, index: u64) -> Result<u64> {
        let bits = self.block_bits();
        let mut skip = index;
        let sum_bits = bits + self.layout.list.sum_bits;
        let sum = self.find_count(window, SUMS, sum_bits, (0, u64::MAX), &mut skip)?;
        let within = (sum << sum_bits, (sum + 1) << sum_bits);
        let block = self.find_count(window, 0, bits, within, &mut skip)?;
        let (first, last) = (block << bits, ((block + 1) << bits) - 1);
        let mut found = None;
        self.scan_items(window, (first.max(window.head), last.min(window.tail)), &mut |position, _| {
            if skip == 0 {
                found = Some(position);
                return ControlFlow::Break(());
            }
            skip -= 1;
            ControlFlow::Continue(())
        })?;
        found.ok_or_else(lacks_items)
    }

    /// Which number, of two to `bits` positions each, has the item that so many are before, of those `within`. What is before that number
    /// is taken off.
    fn find_count(&self, window: &Window, level: u64, bits: u32, within: (u64, u64), skip: &mut u64) -> Result<u64> {
        let first = within.0.max(window.head) >> bits;
        let last = (within.1 - 1).min(window.tail) >> bits;
        // The first number that is not passed.
        let mut next = first;
        let mut found = None;
        let range =
            Range::Elements { table: Table::ListCount, id: window.id, first: level | first, last: level | last };
        self.view().scan(range, &mut |name, row| {
            let Name::Element(element) = name.name() else { return ControlFlow::Continue(()) };
            let number = element.position & !SUMS;
            let between = self.regular_within(window, next << bits, number << bits);
            if *skip < between {
                return ControlFlow::Break(());
            }
            *skip -= between;
            next = number;
            let own = self.regular_within(window, number << bits, (number + 1) << bits);
            let count = more(row.of_element()).and_then(|more| own.checked_add_signed(more).ok_or_else(damaged));
            match count {
                Ok(count) if *skip >= count => {
                    *skip -= count;
                    next = number + 1;
                    ControlFlow::Continue(())
                }
                count => {
                    found = Some(count.map(|_| number));
                    ControlFlow::Break(())
                }
            }
        })?;
        if let Some(found) = found {
            return found;
        }
        // From here on each has as many as it has regular positions.
        let shape = self.layout.list;
        let from = (next << bits).max(window.head);
        let position = (shape.regular_before(from) + *skip).checked_mul(shape.stride()).ok_or_else(damaged)?;
        let number = position >> bits;
        if number > last {
            return Err(lacks_items());
        }
        *skip -= self.regular_within(window, next << bits, number << bits);
        Ok(number)
    }

    /// After a window has lost everything before `head` and behind `tail`, which are items: the counts of what it lost go, those of the
    /// blocks that it lost a part of are counted anew. `old` is the window as it was.
    pub(super) fn cut_counts(&mut self, old: &Window, window: &Window) -> Result<()> {
        let bits = self.block_bits();
        let mut changes = CountChanges::default();
        for (first, last) in [(old.head, window.head), (window.tail, old.tail)] {
            if first == last {
                continue;
            }
            let (first, last) = (first >> bits, last >> bits);
            for (block, more) in self.counts_within(window.id, first, last)? {
                if block != window.head >> bits && block != window.tail >> bits {
                    changes.add(block, -more);
                }
            }
        }
        let mut edges = vec![window.head >> bits, window.tail >> bits];
        edges.dedup();
        for block in edges {
            let (first, end) = (block << bits, (block + 1) << bits);
            let mut count = 0_i64;
            let range = (first.max(window.head), (end - 1).min(window.tail));
            self.scan_items(window, range, &mut |_, _| {
                count += 1;
                ControlFlow::Continue(())
            })?;
            let new = count - self.regular_within(window, first, end).cast_signed();
            let before = self.counts_within(window.id, block, block)?.first().map_or(0, |(_, more)| *more);
            changes.add(block, new - before);
        }
        self.write_counts(window.id, changes)
    }

    fn counts_within(&self, id: i64, first: u64, last: u64) -> Result<Vec<(u64, i64)>> {
        let mut found = Vec::new();
        self.view().scan(Range::Elements { table: Table::ListCount, id, first, last }, &mut |name, row| {
            if let Name::Element(element) = name.name() {
                found.push(more(row.of_element()).map(|more| (element.position, more)));
            }
            ControlFlow::Continue(())
        })?;
        found.into_iter().collect()
    }
}

/// By how many items a block, or a sum, has more than regular positions.
fn more(row: ElementRow<'_>) -> Result<i64> {
    std::str::from_utf8(row.value).ok().and_then(|text| text.parse().ok()).ok_or_else(damaged)
}
