//! Rows of a range: those that memory has, portion by portion, between those of the tables.

use std::ops::ControlFlow;

use crate::storage::error::Result;
use crate::storage::memtable::{Collected, Memory, Portion, Window};
use crate::storage::rows::{Direction, Range, Row, RowKey, Snapshot, Stretch};
use crate::storage::sqlite::Base;

/// Rows of the first portion, and of all later ones: many walks end soon.
const FIRST_ROWS: usize = 16;
const ROWS: usize = 128;
/// Backwards most walks look for one row, and each costs a search.
const FIRST_ROWS_BACKWARD: usize = 2;

type Show<'a> = &'a mut dyn FnMut(RowKey<'_>, Row<'_>) -> ControlFlow<()>;

/// What is walked.
#[derive(Clone, Copy)]
pub(super) enum Rows<'a> {
    Within(Range),
    Along(Stretch<'a>),
}

impl Rows<'_> {
    fn direction(&self) -> Direction {
        match self {
            Self::Within(_) => Direction::Forward,
            Self::Along(stretch) => stretch.direction,
        }
    }

    fn in_base(&self, base: &Base, show: Show<'_>) -> Result<()> {
        match self {
            Self::Within(range) => base.scan(*range, show),
            Self::Along(stretch) => base.walk(*stretch, show),
        }
    }

    fn collect(
        &self,
        memory: Memory,
        after: Option<RowKey<'_>>,
        window: &Window,
        rows_max: usize,
        out: &mut Portion,
    ) -> Result<()> {
        match self {
            Self::Within(range) => memory.collect(*range, after, window, rows_max, out)?,
            Self::Along(stretch) => memory.collect_along(stretch, after, window, rows_max, out)?,
        }
        Ok(())
    }
}

/// Rows that memory has, in order.
struct Walk<'a> {
    memory: Memory,
    rows: Rows<'a>,
    window: &'a Window,
    portion: &'a mut Portion,
    other: &'a mut Portion,
    at: usize,
}

impl<'a> Walk<'a> {
    fn begin(
        memory: Memory,
        rows: Rows<'a>,
        window: &'a Window,
        (portion, other): (&'a mut Portion, &'a mut Portion),
    ) -> Result<Self> {
        let is_backward = rows.direction() == Direction::Backward;
        rows.collect(memory, None, window, if is_backward { FIRST_ROWS_BACKWARD } else { FIRST_ROWS }, portion)?;
        Ok(Self { memory, rows, window, portion, other, at: 0 })
    }

    fn peek(&mut self) -> Result<Option<Collected<'_>>> {
        if self.at == self.portion.len() && !self.portion.is_last() && self.at > 0 {
            let after = self.portion.row(self.at - 1).key;
            self.rows.collect(self.memory, Some(after), self.window, ROWS, self.other)?;
            std::mem::swap(self.portion, self.other);
            self.at = 0;
        }
        Ok((self.at < self.portion.len()).then(|| self.portion.row(self.at)))
    }
}

/// Shows all that memory has of a range.
pub(super) fn unmerged(
    memory: Memory,
    range: Range,
    window: &Window,
    portions: (&mut Portion, &mut Portion),
    show: &mut dyn FnMut(&Collected<'_>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let mut walk = Walk::begin(memory, Rows::Within(range), window, portions)?;
    while let Some(row) = walk.peek()? {
        if show(&row)?.is_break() {
            break;
        }
        walk.at += 1;
    }
    Ok(())
}

/// Shows the rows in the order in which they are walked until `show` breaks off: what memory has of one hides what the tables have.
pub(super) fn merged(
    base: &Base,
    memory: Memory,
    rows: Rows<'_>,
    window: &Window,
    portions: (&mut Portion, &mut Portion),
    show: Show<'_>,
) -> Result<()> {
    let mut walk = Walk::begin(memory, rows, window, portions)?;
    if walk.portion.is_empty() {
        return rows.in_base(base, show);
    }
    let (mut is_over, mut failed) = (false, None);
    rows.in_base(base, &mut |key, row| match walk.until(key, show) {
        Ok(Shown::Hidden) => ControlFlow::Continue(()),
        Ok(Shown::Not) => {
            let shown = show(key, row);
            is_over = shown.is_break();
            shown
        }
        Ok(Shown::Over) => {
            is_over = true;
            ControlFlow::Break(())
        }
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok(()), Err)?;
    while !is_over && let Some(row) = walk.peek()? {
        is_over = row.row.is_some_and(|above| show(row.key, above).is_break());
        walk.at += 1;
    }
    Ok(())
}

/// What became of a row of the tables.
enum Shown {
    /// Memory has nothing of it.
    Not,
    Hidden,
    /// Whoever is shown has had enough before it.
    Over,
}

impl Walk<'_> {
    /// Shows what memory has before this row, and of it.
    fn until(&mut self, key: RowKey<'_>, show: Show<'_>) -> Result<Shown> {
        let direction = self.rows.direction();
        while let Some(row) = self.peek()? {
            if direction.is_before(key, row.key) {
                return Ok(Shown::Not);
            }
            let is_same = row.key == key;
            let is_over = row.row.is_some_and(|above| show(row.key, above).is_break());
            self.at += 1;
            if is_over {
                return Ok(Shown::Over);
            }
            if is_same {
                return Ok(Shown::Hidden);
            }
        }
        Ok(Shown::Not)
    }
}
