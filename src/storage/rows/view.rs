//! What a reader of rows sees: a batch over what is committed.

use std::ops::ControlFlow;

use super::{Batch, Between, Changed, Direction, Head, Name, Range, Row, RowKey, Stretch, Table};
use crate::storage::error::{Result, StorageError};

/// How much of a row is wanted. A key's value may be long, and lie on pages of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Of a key's row no value; of all others the whole.
    Head,
    Whole,
}

/// Rows as they were committed at some moment.
pub trait Snapshot {
    /// Shows the row, if there is such a one.
    fn row<R>(&self, key: RowKey<'_>, part: Part, show: impl FnOnce(Row<'_>) -> R) -> Result<Option<R>>;

    /// Shows rows in the order of their keys until `show` breaks off: of keys the head, of all else the whole.
    fn scan(&self, range: Range, show: Show<'_>) -> Result<()>;

    /// Shows elements from a place on, forwards or backwards, until `show` breaks off.
    fn walk(&self, stretch: Stretch<'_>, show: Show<'_>) -> Result<()>;

    /// As `walk`, but rows are passed first.
    fn walk_passing(&self, stretch: Stretch<'_>, passing: &mut Passing, show: Show<'_>) -> Result<()> {
        walk_passing(&|show| self.walk(stretch, show), stretch.table, passing, show)
    }

    /// How many rows lie between two places, or, where they are counts, how many they count. `None`: only a walk tells.
    fn total(&self, between: Between<'_>) -> Result<Option<u64>>;
}

/// Is shown rows, and says whether to go on.
type Show<'a> = &'a mut dyn FnMut(RowKey<'_>, Row<'_>) -> ControlFlow<()>;

/// The rows that a walk passes before it shows the first one.
#[derive(Debug)]
pub struct Passing {
    left: u64,
    /// Each passed row is taken off as what it counts.
    by_counts: bool,
    is_over: bool,
}

impl Passing {
    /// So many rows, whatever they count.
    #[must_use]
    pub fn rows(rows: u64) -> Self {
        Self { left: rows, by_counts: false, is_over: rows == 0 }
    }

    /// Rows that count others, as long as they count no more than so many together: the first that is shown has the row of this rank.
    #[must_use]
    pub fn rank(rank: u64) -> Self {
        Self { left: rank, by_counts: true, is_over: false }
    }

    /// What was not passed, since the row that was shown first counts more.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Whether the next row is passed, of which `count` tells what it counts.
    pub fn passes<E>(&mut self, count: impl FnOnce() -> std::result::Result<u64, E>) -> std::result::Result<bool, E> {
        if self.is_over {
            return Ok(false);
        }
        let count = if self.by_counts { count()? } else { 1 };
        match self.left.checked_sub(count) {
            Some(left) => self.left = left,
            None => self.is_over = true,
        }
        Ok(!self.is_over)
    }

    /// All rows that are left are passed: how many those are. None where it depends on what they count.
    pub fn take_rows(&mut self) -> Option<u64> {
        if self.by_counts {
            return None;
        }
        self.is_over = true;
        Some(std::mem::take(&mut self.left))
    }
}

/// As `Snapshot::walk_passing`, by looking at each row of a walk. One that ought to count others and says nothing is shown.
pub fn walk_passing(
    walk: &dyn Fn(Show<'_>) -> Result<()>,
    table: Table,
    passing: &mut Passing,
    show: Show<'_>,
) -> Result<()> {
    walk(&mut |key, row| match passing.passes(|| row.counted(table).ok_or(())) {
        Ok(true) => ControlFlow::Continue(()),
        Ok(false) | Err(()) => show(key, row),
    })
}

/// A batch over a snapshot.
#[derive(Debug)]
pub struct View<'a, S> {
    pub batch: &'a Batch,
    pub snapshot: &'a S,
}

impl<S: Snapshot> View<'_, S> {
    pub fn row<R>(&self, key: RowKey<'_>, part: Part, show: impl FnOnce(Row<'_>) -> R) -> Result<Option<R>> {
        match self.batch.find(key) {
            None => self.snapshot.row(key, part, show),
            Some(found) => Ok(found.map(show)),
        }
    }

    pub fn head(&self, key: RowKey<'_>) -> Result<Option<Head>> {
        self.row(key, Part::Head, |row| row.of_key().head)
    }

    /// Shows rows in the order of their keys until `show` breaks off, as `Snapshot::scan` does.
    pub fn scan(&self, range: Range, show: Show<'_>) -> Result<()> {
        if self.batch.is_empty() {
            return self.snapshot.scan(range, show);
        }
        let places = self.batch.places(range);
        self.merge(places, Direction::Forward, &|show| self.snapshot.scan(range, show), show)
    }

    /// Shows elements from a place on, forwards or backwards, until `show` breaks off.
    pub fn walk(&self, stretch: Stretch<'_>, show: Show<'_>) -> Result<()> {
        if self.batch.is_empty() {
            return self.snapshot.walk(stretch, show);
        }
        let places = self.batch.places_of(&stretch);
        self.merge(places, stretch.direction, &|show| self.snapshot.walk(stretch, show), show)
    }

    /// As `Snapshot::walk_passing`.
    pub fn walk_passing(&self, stretch: Stretch<'_>, passing: &mut Passing, show: Show<'_>) -> Result<()> {
        if self.has_none_of(&stretch) {
            return self.snapshot.walk_passing(stretch, passing, show);
        }
        walk_passing(&|show| self.walk(stretch, show), stretch.table, passing, show)
    }

    /// As `Snapshot::total`.
    pub fn total(&self, between: Between<'_>) -> Result<Option<u64>> {
        if self.has_none_of(&between.stretch()) { self.snapshot.total(between) } else { Ok(None) }
    }

    /// The batch changes nothing there.
    fn has_none_of(&self, stretch: &Stretch<'_>) -> bool {
        self.batch.is_empty() || self.batch.places_of(stretch).is_empty()
    }

    /// Shows what the batch has at these places between what `below` shows.
    fn merge(
        &self,
        places: std::ops::Range<usize>,
        direction: Direction,
        below: &dyn Fn(Show<'_>) -> Result<()>,
        show: Show<'_>,
    ) -> Result<()> {
        let mut places = places;
        let mut places = std::iter::from_fn(|| match direction {
            Direction::Forward => places.next(),
            Direction::Backward => places.next_back(),
        })
        .peekable();
        let mut is_over = false;
        below(&mut |key, row| {
            while let Some(place) = places.peek().copied() {
                let Some(changed) = self.batch.at_place(place) else {
                    places.next();
                    continue;
                };
                if direction.is_before(key, changed.key) {
                    break;
                }
                places.next();
                let is_same = changed.key == key;
                if show_changed(&changed, show).is_break() {
                    is_over = true;
                    return ControlFlow::Break(());
                }
                if is_same {
                    return ControlFlow::Continue(());
                }
            }
            let shown = show(key, row);
            is_over = shown.is_break();
            shown
        })?;
        for place in places {
            if is_over {
                break;
            }
            if let Some(changed) = self.batch.at_place(place) {
                is_over = show_changed(&changed, show).is_break();
            }
        }
        Ok(())
    }

    /// By how many the batch changes the keys of a space, and those of them that end.
    pub fn count_changes(&self, space: u64) -> Result<(i64, i64)> {
        let (mut keys, mut expires) = (0, 0);
        self.batch.each(|changed| {
            if !matches!(changed.key.name(), Name::Key { space: of, .. } if of == space) {
                return Ok::<_, StorageError>(());
            }
            let below = changed.below(|| {
                let found = self.snapshot.row(changed.key, Part::Head, |row| row.of_key().head.expires_at_ms)?;
                Ok((found.is_some(), found.flatten().is_some()))
            })?;
            let above = changed.row.map(|row| row.of_key().head.expires_at_ms);
            keys += i64::from(above.is_some()) - i64::from(below.0);
            expires += i64::from(above.flatten().is_some()) - i64::from(below.1);
            Ok(())
        })?;
        Ok((keys, expires))
    }
}

fn show_changed(changed: &Changed<'_>, show: Show<'_>) -> ControlFlow<()> {
    changed.row.map_or(ControlFlow::Continue(()), |row| show(changed.key, row))
}
