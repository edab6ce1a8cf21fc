//! One generation after the other into the tables. Knows rows and the base; where a generation lies, and who is told that it is merged, is
//! the caller's affair.

use std::time::{Duration, Instant};

use crate::storage::broken::{self, Variant};
use crate::storage::error::{Result, StorageError};
use crate::storage::points::{Point, pass};
use crate::storage::rows::{Origin, Row, RowKey, Table};
use crate::storage::sqlite::{Base, Trust};
use crate::sys::clock;

pub type Show<'a> = &'a mut dyn FnMut(RowKey<'_>, Option<Row<'_>>, Origin) -> Result<()>;

/// The rows of a frozen generation, each key once in the order of keys: its newest row, and the origin of its oldest. What is cloned goes
/// on from the same row by itself.
pub trait Rows: Clone {
    /// Shows the next row; None: it is deleted. False at the end.
    ///
    /// # Errors
    /// Those of `show`, and what keeps a row from being read.
    fn next(&mut self, show: Show<'_>) -> Result<bool>;
}

pub struct Merger<R> {
    at_work: Option<AtWork<R>>,
    /// This generation may be in the tables in part: a predecessor was at it.
    again: u64,
    /// What that one has given up may be in the tables, and must not be swept before it is merged.
    is_held: bool,
    /// Rows that were put aside since the start.
    left_out: u64,
}

struct AtWork<R> {
    generation: u64,
    rows: R,
    done: u64,
    /// Up to this row each has a transaction of its own: one of them can't be written.
    one_by_one_until: u64,
    /// The next row is that one, for this reason.
    left_out: Option<String>,
    /// The log has it that rows are left out: of the others the table tells.
    is_told: bool,
}

/// What a slice did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    pub rows: u64,
    /// The generation is merged.
    pub is_last: bool,
    pub duration: Duration,
}

/// Rows between two looks at the clock.
const ROWS_BETWEEN_LOOKS: u64 = if cfg!(test) { 2 } else { 16 };
/// With more than this put aside the file is beyond it.
const LEFT_OUT_MAX: u64 = 1000;

/// How far a slice got.
#[derive(Clone, Copy, Default)]
struct Progress {
    rows: u64,
    is_at_end: bool,
    /// A row was being written that may be put aside: not where the keys of a database lie.
    is_within_row: bool,
}

impl<R: Rows> Merger<R> {
    /// `merged`: the generation up to which the tables have everything.
    #[must_use]
    pub fn new(merged: u64) -> Self {
        Self { at_work: None, again: merged + 1, is_held: false, left_out: 0 }
    }

    /// There are groups that are not merged: a predecessor may have been at the first generation. From now until that is merged nothing is
    /// swept.
    pub fn hold(&mut self, base: &mut Base) {
        self.is_held = true;
        base.resume_merge(Trust::Tables);
    }

    /// The generation that a new merger begins with.
    #[cfg(test)]
    pub(super) fn next(&self) -> u64 {
        self.again
    }

    /// Rows of the generation at work that are in the tables; 0 where none is.
    #[must_use]
    pub fn rows_done(&self) -> u64 {
        self.at_work.as_ref().map_or(0, |at_work| at_work.done)
    }

    /// Rows that could not be written and were put aside.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// A slice of `generation`, for about so long: `rows` has all of it, and is asked for at the first slice. With the last row `finish`
    /// is called in the same transaction.
    ///
    /// # Errors
    /// Nothing was done. `is_of_the_call`: some row can't be written, or not yet; call again, it will be found and put aside.
    pub fn slice(
        &mut self,
        base: &mut Base,
        generation: u64,
        rows: impl FnOnce() -> R,
        time: Duration,
        finish: &mut dyn FnMut(&mut Base) -> Result<()>,
    ) -> Result<Slice> {
        let begun = clock::monotonic();
        self.begin(base, generation, rows);
        let at_work = self.at_work.as_mut().expect("it has just begun");
        let start = at_work.rows.clone();
        let mut progress = Progress::default();
        if let Err(error) = at_work.transaction(base, begun + time, &mut progress, finish) {
            base.rollback()?;
            at_work.rows = start;
            at_work.failed(&error, &progress, self.left_out);
            return Err(error);
        }
        self.left_out += u64::from(at_work.left_out.take().is_some());
        at_work.done += progress.rows;
        if progress.is_at_end {
            (self.at_work, self.is_held) = (None, false);
            base.end_merge();
        }
        let duration = clock::monotonic().duration_since(begun);
        Ok(Slice { rows: progress.rows, is_last: progress.is_at_end, duration })
    }

    /// All that is left of `generation`, within the caller's transaction. Then `committed` or `rolled_back`.
    ///
    /// # Errors
    /// The transaction is to be rolled back.
    pub fn all(&self, base: &mut Base, generation: u64, rows: impl FnOnce() -> R) -> Result<()> {
        let mut left = match &self.at_work {
            Some(at_work) if at_work.generation == generation => at_work.rows.clone(),
            _ => {
                base.begin_merge(self.trust(generation));
                rows()
            }
        };
        fill(base, &mut left, &mut Progress::default(), &mut |_, _| true)
    }

    /// The transaction in which `all` was called is committed.
    pub fn committed(&mut self, base: &mut Base) {
        (self.at_work, self.is_held) = (None, false);
        base.end_merge();
    }

    /// That transaction is undone: what was at work is so again.
    pub fn rolled_back(&mut self, base: &mut Base) {
        match &self.at_work {
            Some(at_work) => base.resume_merge(self.trust(at_work.generation)),
            None if self.is_held => base.resume_merge(Trust::Tables),
            None => base.end_merge(),
        }
    }

    fn begin(&mut self, base: &mut Base, generation: u64, rows: impl FnOnce() -> R) {
        if self.at_work.as_ref().is_some_and(|at_work| at_work.generation == generation) {
            return;
        }
        base.begin_merge(self.trust(generation));
        self.at_work =
            Some(AtWork { generation, rows: rows(), done: 0, one_by_one_until: 0, left_out: None, is_told: false });
    }

    fn trust(&self, generation: u64) -> Trust {
        let is_again = generation == self.again && !broken::is(Variant::HintsTrustedAgain);
        if is_again { Trust::Tables } else { Trust::Origins }
    }
}

impl<R: Rows> AtWork<R> {
    fn transaction(
        &mut self,
        base: &mut Base,
        until: Instant,
        progress: &mut Progress,
        finish: &mut dyn FnMut(&mut Base) -> Result<()>,
    ) -> Result<()> {
        base.begin_unsynced()?;
        if let Some(reason) = &self.left_out {
            let generation = self.generation;
            self.rows.next(&mut |key, row, _| base.leave_out(generation, key, row, reason))?;
            progress.rows = 1;
        } else {
            let is_one_by_one = self.done < self.one_by_one_until;
            fill(base, &mut self.rows, progress, &mut |rows, is_last_database| {
                let is_over = || rows % ROWS_BETWEEN_LOOKS == 0 && clock::monotonic() >= until;
                !is_last_database || !(is_one_by_one || is_over())
            })?;
        }
        if progress.is_at_end {
            finish(base)?;
        }
        pass(Point::SliceApplied);
        base.commit()?;
        pass(if progress.is_at_end { Point::MergeCommitted } else { Point::SliceCommitted });
        Ok(())
    }

    /// What the next attempt does otherwise. Before this the rows are where the slice began.
    fn failed(&mut self, error: &StorageError, progress: &Progress, left_out: u64) {
        let is_of_a_row = error.is_of_the_call() && *error != StorageError::OutOfMemory && progress.is_within_row;
        if self.left_out.take().is_some() || !is_of_a_row || left_out >= LEFT_OUT_MAX {
            return;
        }
        if progress.rows == 0 {
            if !std::mem::replace(&mut self.is_told, true) {
                tracing::error!(
                    %error,
                    generation = self.generation,
                    "a row can't be written into its table, and is put aside into the table left_out; reading it is an error from now on"
                );
            }
            self.left_out = Some(error.to_string());
        } else {
            self.one_by_one_until = self.done + progress.rows + 1;
        }
    }
}

/// Writes rows within the present transaction until there is none, or `goes_on` says no: it is told how many there are by now, and
/// whether all databases have their spaces, which they exchange at once.
fn fill(
    base: &mut Base,
    rows: &mut impl Rows,
    progress: &mut Progress,
    goes_on: &mut dyn FnMut(u64, bool) -> bool,
) -> Result<()> {
    base.apply_slice(|applying| {
        loop {
            let mut is_database = false;
            let is_there = rows.next(&mut |key, row, origin| {
                is_database = key.table() == Table::Database;
                progress.is_within_row = !is_database;
                applying.row(key, row, origin)
            })?;
            progress.is_within_row = false;
            if !is_there {
                progress.is_at_end = true;
                return Ok(());
            }
            progress.rows += 1;
            let is_last_database = !is_database || !is_database_next(rows)?;
            if !goes_on(progress.rows, is_last_database) {
                return Ok(());
            }
        }
    })
}

fn is_database_next(rows: &impl Rows) -> Result<bool> {
    let mut is_database = false;
    rows.clone().next(&mut |key, _, _| {
        is_database = key.table() == Table::Database;
        Ok(())
    })?;
    Ok(is_database)
}
