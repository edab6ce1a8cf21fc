//! The rows of a range, in order, as the generations of a window have them together.

use std::cmp::Ordering as Order;

use smallvec::SmallVec;

use super::cursor::Cursor;
use super::find::seq_max;
use super::memory::{Memory, Window};
use super::node::Node;
use super::slot::{Lost, Slot};
use crate::storage::points::{Point, pass};
use crate::storage::rows::{Direction, Origin, Part, Range, Row, RowKey, Stretch, Table};

/// Rows of a range that were found, one after another; kept from portion to portion, for its memory.
#[derive(Debug, Default)]
pub struct Portion {
    table: Option<Table>,
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    is_last: bool,
}

#[derive(Debug)]
struct Entry {
    fields: u128,
    /// Where the tail begins in `bytes`, and where the row does, which ends where the next entry begins.
    tail: usize,
    row: usize,
    is_deleted: bool,
    generation: u64,
    seq: u64,
    origin: Origin,
}

/// A row that the memory has something of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collected<'a> {
    pub key: RowKey<'a>,
    /// The newest version, as `Snapshot::scan` shows rows; `None`: it is deleted.
    pub row: Option<Row<'a>>,
    pub seq: u64,
    /// The oldest generation that has a version of it, and what was known below that one's first.
    pub generation: u64,
    pub origin: Origin,
}

impl Portion {
    /// In the order of their keys.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Collected<'_>> {
        (0..self.entries.len()).map(|number| self.row(number))
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether there are no more behind these.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.is_last
    }

    /// # Panics
    /// There are fewer.
    #[must_use]
    pub fn row(&self, number: usize) -> Collected<'_> {
        let entry = &self.entries[number];
        let table = self.table.expect("a portion with entries is of a table");
        let end = self.entries.get(number + 1).map_or(self.bytes.len(), |next| next.tail);
        let key = RowKey::new(table, entry.fields, &self.bytes[entry.tail..entry.row]);
        let row = || Row::checked_part(table, &self.bytes[entry.row..end], Part::Head);
        let row = (!entry.is_deleted).then(|| row().expect("its generation stood when it was copied"));
        Collected { key, row, seq: entry.seq, generation: entry.generation, origin: entry.origin }
    }

    fn clear(&mut self, table: Table) {
        self.table = Some(table);
        self.entries.clear();
        self.bytes.clear();
        self.is_last = true;
    }
}

/// A generation's next row.
struct Head<'m> {
    slot: Slot<'m>,
    cursor: Cursor,
    node: Option<Node>,
}

impl Head<'_> {
    fn advance(&mut self) -> Result<(), Lost> {
        self.node = self.cursor.next(&self.slot)?;
        Ok(())
    }
}

impl Memory {
    /// The first rows of a range, `rows_max` at most, or those behind the row `after`.
    ///
    /// # Errors
    /// `Lost`: the window's oldest generation is no more. The portion is of no use.
    pub fn collect(
        &self,
        range: Range,
        after: Option<RowKey<'_>>,
        window: &Window,
        rows_max: usize,
        out: &mut Portion,
    ) -> Result<(), Lost> {
        let (table, first, last) = range.bounds();
        out.clear(table);
        if window.is_empty() || !self.is_on() || first > last {
            return Ok(());
        }
        let begin = after.unwrap_or(RowKey::new(table, first, &[]));
        let open = |slot: &Slot<'_>| Cursor::within(slot, begin, last);
        let collected = self.merge(&open, (begin, after.is_some(), Direction::Forward), window, rows_max, out);
        pass(Point::RowCopied);
        self.check(window)?;
        collected
    }

    /// The same of a stretch, in its direction.
    ///
    /// # Errors
    /// `Lost`: the window's oldest generation is no more. The portion is of no use.
    pub fn collect_along(
        &self,
        stretch: &Stretch<'_>,
        after: Option<RowKey<'_>>,
        window: &Window,
        rows_max: usize,
        out: &mut Portion,
    ) -> Result<(), Lost> {
        out.clear(stretch.table);
        if window.is_empty() || !self.is_on() {
            return Ok(());
        }
        let begin = after.unwrap_or(stretch.first());
        let open = |slot: &Slot<'_>| Cursor::along(slot, stretch, begin);
        let collected = self.merge(&open, (begin, after.is_some(), stretch.direction), window, rows_max, out);
        pass(Point::RowCopied);
        self.check(window)?;
        collected
    }

    fn merge(
        &self,
        open: &dyn Fn(&Slot<'_>) -> Result<Cursor, Lost>,
        (begin, is_after, direction): (RowKey<'_>, bool, Direction),
        window: &Window,
        rows_max: usize,
        out: &mut Portion,
    ) -> Result<(), Lost> {
        let mut heads: SmallVec<[Head<'_>; 4]> = SmallVec::new();
        for slot in (window.oldest..=window.newest).rev().filter_map(|generation| self.slot(generation)) {
            let cursor = open(&slot)?;
            let mut head = Head { slot, cursor, node: None };
            head.advance()?;
            while let Some(node) = head.node {
                let order = node.compare(&head.slot, begin)?;
                if order == later(direction) || order == Order::Equal && !is_after {
                    break;
                }
                head.advance()?;
            }
            heads.push(head);
        }
        while let Some(first) = first_of(&heads, direction)? {
            if out.entries.len() == rows_max {
                out.is_last = false;
                break;
            }
            take(&mut heads, first, window, out)?;
            self.check(window)?;
        }
        Ok(())
    }
}

/// The number of the newest generation that has the first row.
fn first_of(heads: &[Head<'_>], direction: Direction) -> Result<Option<usize>, Lost> {
    let mut first: Option<(usize, Node)> = None;
    for (number, head) in heads.iter().enumerate() {
        let Some(node) = head.node else { continue };
        let is_before = match &first {
            None => true,
            Some((than, other)) => {
                node.compare_with(&head.slot, other, &heads[*than].slot)? == later(direction).reverse()
            }
        };
        if is_before {
            first = Some((number, node));
        }
    }
    Ok(first.map(|(number, _)| number))
}

/// How what a walk comes to later compares with what it comes to before.
fn later(direction: Direction) -> Order {
    match direction {
        Direction::Forward => Order::Greater,
        Direction::Backward => Order::Less,
    }
}

/// Appends the row that comes first, as all generations have it together, and goes past it in each.
fn take(heads: &mut [Head<'_>], first: usize, window: &Window, out: &mut Portion) -> Result<(), Lost> {
    let (slot, Some(node)) = (heads[first].slot, heads[first].node) else { return Err(Lost) };
    let mut is_new = true;
    for head in &mut heads[first..] {
        let Some(here) = head.node else { continue };
        if here.compare_with(&head.slot, &node, &slot)? != Order::Equal {
            continue;
        }
        if let Some(version) = here.version(&head.slot, seq_max(window))? {
            if is_new {
                is_new = false;
                let table = out.table.ok_or(Lost)?;
                let tail = out.bytes.len();
                here.tail(&head.slot, &mut out.bytes)?;
                let row = out.bytes.len();
                version.copy(&head.slot, Row::part_bytes_max(table, Part::Head), &mut out.bytes)?;
                let (fields, is_deleted, seq) = (here.fields, version.is_deleted, version.seq);
                let (generation, origin) = (head.slot.generation, Origin::Blind);
                out.entries.push(Entry { fields, tail, row, is_deleted, generation, seq, origin });
            }
            let entry = out.entries.last_mut().ok_or(Lost)?;
            (entry.generation, entry.origin) = (head.slot.generation, here.origin(&head.slot)?);
        }
        head.advance()?;
    }
    Ok(())
}
