//! Rows as they are committed: what memory has of them, over a snapshot of the tables.

use std::cell::{Cell, RefCell};
use std::ops::{ControlFlow, Deref, DerefMut};
use std::time::{Duration, Instant};

use super::counts::Remembered;
use super::groups::Groups;
use super::preparing::{Before, Looking, Preparing, value_of};
use super::scan;
use crate::storage::broken::{self, Variant};
use crate::storage::error::{Result, StorageError};
use crate::storage::keyspace::Store;
use crate::storage::memtable::{Lost, Memory, Pin, Portion, Scratch, Window};
use crate::storage::points::{Point, pass, rest};
use crate::storage::rows::{
    Batch, Between, ElementRow, Head, Part, Passing, Range, Row, RowKey, Snapshot, Stretch, walk_passing,
};
use crate::storage::sqlite::Base;
use crate::sys::clock;

pub struct Committed {
    pub(super) base: Base,
    pub(super) memory: Memory,
    pin: Pin,
    /// What the present transaction sees of the memory.
    pub(super) window: Cell<Window>,
    /// Of all generations before this one it sees everything, and nothing is added to them.
    pub(super) whole_before: Cell<u64>,
    pub(super) remembered: RefCell<Remembered>,
    /// When it began, by the caller's clock and by this process's: a pin says since when it holds.
    begun: Cell<(i64, Instant)>,
    /// For reads, which may be nested.
    scratches: RefCell<Vec<Scratch>>,
    portions: RefCell<Vec<Portion>>,
    /// Of the writer, if there is memory.
    pub(super) groups: Option<Groups>,
    /// Of one that prepares changes for the writer.
    pub(super) preparing: Option<Preparing>,
}

/// How long a view is waited for: of all that can be in its way, a writer that died and whose successor is not there yet takes longest.
const VIEW_WAIT: Duration = Duration::from_secs(5);
const VIEW_LOOK: Duration = Duration::from_millis(1);
/// Views in a row that are tried without a pause.
const VIEWS_AT_ONCE: u32 = 3;

impl Deref for Committed {
    type Target = Base;

    fn deref(&self) -> &Base {
        &self.base
    }
}

impl DerefMut for Committed {
    fn deref_mut(&mut self) -> &mut Base {
        &mut self.base
    }
}

impl Committed {
    pub(super) fn new(base: Base, memory: Memory) -> Self {
        Self {
            base,
            memory,
            pin: memory.take_pin(u64::from(std::process::id())),
            window: Cell::default(),
            whole_before: Cell::default(),
            remembered: RefCell::default(),
            begun: Cell::new((0, clock::monotonic())),
            scratches: RefCell::default(),
            portions: RefCell::default(),
            groups: None,
            preparing: None,
        }
    }

    pub(super) fn memory(&self) -> Memory {
        self.memory
    }

    /// The writer's parts, which work together.
    pub(super) fn parts(&mut self) -> (&mut Base, Option<&mut Groups>) {
        (&mut self.base, self.groups.as_mut())
    }

    pub(super) fn begin_read(&mut self, now_ms: i64) -> Result<()> {
        self.begun.set((now_ms, clock::monotonic()));
        let early = broken::is(Variant::SequenceBeforeSnapshot).then(|| self.memory.published());
        let early_newest = broken::is(Variant::NewestBeforeSnapshot).then(|| self.memory.newest());
        if early.is_some() || early_newest.is_some() {
            pass(Point::SequenceRead);
        }
        self.base.begin_read()?;
        self.open_view()?;
        let window = self.window.get();
        let (seq, newest) = (early.unwrap_or(window.seq), early_newest.unwrap_or(window.newest));
        self.window.set(Window { seq, newest, ..window });
        Ok(())
    }

    pub(super) fn end_read(&mut self) -> Result<()> {
        self.close_view();
        self.base.end_read()
    }

    /// Lets go of the view and takes a new one.
    pub(super) fn renew(&self) -> Result<()> {
        self.begun.set((self.pin_ms(), clock::monotonic()));
        self.close_view();
        self.base.renew_snapshot()?;
        self.open_view()
    }

    /// In the writer's transaction all that is committed is seen, and nobody else recycles.
    pub(super) fn set_window(&self, window: Window) {
        self.window.set(window);
        self.whole_before.set(window.newest);
    }

    pub(super) fn close_view(&self) {
        if self.memory.is_on() {
            self.memory.unpin(&self.pin);
            self.window.set(Window::default());
        }
    }

    /// The snapshot first, then what memory has above it.
    fn open_view(&self) -> Result<()> {
        if !self.memory.is_on() {
            return Ok(());
        }
        let opened = self.try_to_open_view();
        if opened.is_err() {
            self.close_view();
            self.base.end_read()?;
        }
        opened
    }

    fn try_to_open_view(&self) -> Result<()> {
        let mut tries = 0;
        loop {
            let merged = self.base.merged()?;
            pass(Point::SnapshotOpened);
            // Before the last group that is seen is read: what had been frozen by now is seen whole.
            self.whole_before.set(self.memory.newest());
            // Who has said nothing of the file yet has not looked into its journal.
            if self.memory.seed().is_some()
                && let Some(window) = self.memory.open(&self.pin, merged.generation, merged.ahead, self.pin_ms())
            {
                self.window.set(window);
                return Ok(());
            }
            tries += 1;
            if clock::monotonic().duration_since(self.begun.get().1) > VIEW_WAIT {
                return Err(StorageError::ViewLost);
            }
            if tries > VIEWS_AT_ONCE {
                rest(VIEW_LOOK);
            }
            self.base.renew_snapshot()?;
        }
    }

    fn pin_ms(&self) -> i64 {
        let (begun_ms, begun) = self.begun.get();
        begun_ms + i64::try_from(clock::monotonic().duration_since(begun).as_millis()).unwrap_or(0)
    }

    /// Before a look, of a value's rows: of one that prepares, a new view where it has to be. It goes on until what is returned is dropped.
    fn begin_look(&self, id: impl FnOnce() -> Option<i64>) -> Result<Option<Looking<'_>>> {
        let Some(preparing) = &self.preparing else { return Ok(None) };
        match preparing.before_look(id()) {
            Before::Nothing => {}
            Before::Order(rows) => self.order_rows(rows)?,
            Before::NewView => self.renew()?,
            Before::Impossible => return Err(StorageError::Internal("a look at new rows within another look".into())),
        }
        Ok(Some(preparing.look()))
    }

    fn order_row(&self, name: RowKey<'_>, row: Row<'_>) -> Result<()> {
        let many = self.preparing.as_ref().map_or(Ok(None), |preparing| preparing.keep(name, row))?;
        many.map_or(Ok(()), |rows| self.order_rows(rows))
    }

    /// Rows that are ordered from the writer. Whoever waits holds no view, and the next one has the rows.
    pub(super) fn order_rows(&self, rows: Batch) -> Result<()> {
        let Some(preparing) = self.preparing.as_ref().filter(|_| !rows.is_empty()) else { return Ok(()) };
        if preparing.is_looking() {
            return Err(StorageError::Internal("rows are ordered within a look".into()));
        }
        self.close_view();
        self.base.end_read()?;
        let ordered = preparing.order_rows(rows);
        self.begun.set((self.pin_ms(), clock::monotonic()));
        self.base.begin_read()?;
        self.open_view()?;
        preparing.has_new_view();
        ordered
    }

    fn is_in_memory(&self) -> bool {
        !self.window.get().is_empty() && self.base.is_in_transaction()
    }

    /// Asks with something to copy into, which is another one for whoever asks within `f`.
    fn with_scratch<R>(&self, f: impl FnOnce(&mut Scratch) -> R) -> R {
        let mut scratch = self.scratches.borrow_mut().pop().unwrap_or_default();
        let done = f(&mut scratch);
        self.scratches.borrow_mut().push(scratch);
        done
    }

    /// The same for portions of a range.
    pub(super) fn with_portions<R>(&self, f: impl FnOnce(&mut Portion, &mut Portion) -> R) -> R {
        let take = || self.portions.borrow_mut().pop().unwrap_or_default();
        let (mut one, mut other) = (take(), take());
        let done = f(&mut one, &mut other);
        self.portions.borrow_mut().extend([one, other]);
        done
    }

    /// Whether memory has anything of the rows.
    fn has_rows_along(&self, stretch: &Stretch<'_>) -> Result<bool> {
        let window = self.window.get();
        self.with_portions(|portion, _| {
            self.memory.collect_along(stretch, None, &window, 1, portion)?;
            Ok(!portion.is_empty())
        })
    }

    fn scan_merged(
        &self,
        rows: scan::Rows<'_>,
        show: &mut dyn FnMut(RowKey<'_>, Row<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let window = self.window.get();
        self.with_portions(|portion, other| {
            scan::merged(&self.base, self.memory, rows, &window, (portion, other), show)
        })
    }
}

impl From<Lost> for StorageError {
    fn from(_: Lost) -> Self {
        Self::ViewLost
    }
}

impl Drop for Committed {
    fn drop(&mut self) {
        self.memory.give_back(&mut self.pin);
    }
}

impl Snapshot for Committed {
    fn row<R>(&self, key: RowKey<'_>, part: Part, show: impl FnOnce(Row<'_>) -> R) -> Result<Option<R>> {
        let _look = self.begin_look(|| value_of(key.name()))?;
        if !self.is_in_memory() {
            return self.base.row(key, part, show);
        }
        let window = self.window.get();
        let shown = self.with_scratch(|scratch| match self.memory.find(key, part, &window, scratch) {
            Ok(Some(seen)) => Ok(Ok(seen.row.map(show))),
            Ok(None) => Ok(Err(show)),
            Err(lost) => Err(lost),
        })?;
        match shown {
            Ok(shown) => Ok(shown),
            Err(show) => {
                pass(Point::MemoryAsked);
                self.base.row(key, part, show)
            }
        }
    }

    fn scan(&self, range: Range, show: &mut dyn FnMut(RowKey<'_>, Row<'_>) -> ControlFlow<()>) -> Result<()> {
        let _look = self.begin_look(|| range.value())?;
        if !self.is_in_memory() {
            return self.base.scan(range, show);
        }
        self.scan_merged(scan::Rows::Within(range), show)
    }

    fn walk(&self, stretch: Stretch<'_>, show: &mut dyn FnMut(RowKey<'_>, Row<'_>) -> ControlFlow<()>) -> Result<()> {
        let _look = self.begin_look(|| Some(stretch.id))?;
        if !self.is_in_memory() {
            return self.base.walk(stretch, show);
        }
        self.scan_merged(scan::Rows::Along(stretch), show)
    }

    fn walk_passing(
        &self,
        stretch: Stretch<'_>,
        passing: &mut Passing,
        show: &mut dyn FnMut(RowKey<'_>, Row<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let look = self.begin_look(|| Some(stretch.id))?;
        if self.is_in_memory() && self.has_rows_along(&stretch)? {
            drop(look);
            return walk_passing(&|show| self.walk(stretch, show), stretch.table, passing, show);
        }
        self.base.walk_passing(stretch, passing, show)
    }

    fn total(&self, between: Between<'_>) -> Result<Option<u64>> {
        let _look = self.begin_look(|| Some(between.id))?;
        if self.is_in_memory() && self.has_rows_along(&between.stretch())? {
            return Ok(None);
        }
        self.base.total(between)
    }
}

impl Store for Committed {
    fn is_in_transaction(&self) -> bool {
        self.base.is_in_transaction()
    }

    fn check_writing(&self) -> Result<()> {
        if self.is_preparing() && self.base.is_in_transaction() { Ok(()) } else { self.base.check_writing() }
    }

    fn counts(&self, space: u64) -> Result<(u64, u64)> {
        let (keys, ends) = Store::counts(&self.base, space)?;
        if !self.is_in_memory() {
            return Ok((keys, ends));
        }
        let (more_keys, more_ends) = self.count_unmerged(space)?;
        Ok((keys.saturating_add_signed(more_keys), ends.saturating_add_signed(more_ends)))
    }

    fn may_have_keys(&self, space: u64) -> Result<bool> {
        if Store::may_have_keys(&self.base, space)? {
            return Ok(true);
        }
        // Whose keys memory has, only a walk of all of it would tell.
        let window = self.window.get();
        Ok(self.is_in_memory()
            && (window.oldest..=window.newest).any(|generation| self.memory.figures_of(generation).versions > 0))
    }

    fn unmerged(&self, key: RowKey<'_>) -> Result<Option<Option<Head>>> {
        if !self.is_in_memory() {
            return Ok(None);
        }
        let window = self.window.get();
        self.with_scratch(|scratch| {
            let seen = self.memory.find(key, Part::Head, &window, scratch)?;
            Ok(seen.map(|seen| seen.row.map(|row| row.of_key().head)))
        })
    }

    fn fresh_id(&mut self) -> Result<i64> {
        match &mut self.preparing {
            Some(preparing) => preparing.fresh_id(),
            None => self.base.fresh_id(),
        }
    }

    fn write_ahead(&mut self, id: i64, number: u64, bytes: &[u8]) -> Result<()> {
        match &self.preparing {
            Some(_) => self.order_row(RowKey::chunk(id, number), Row::Chunk(bytes)),
            None => self.base.write_ahead(id, number, bytes),
        }
    }

    fn write_element_ahead(&mut self, name: RowKey<'_>, row: ElementRow<'_>) -> Result<()> {
        match &self.preparing {
            Some(_) => self.order_row(name, Row::Element(row)),
            None => self.base.write_element_ahead(name, row),
        }
    }

    fn write_elements_ahead(&mut self, rows: &mut Batch) -> Result<()> {
        match &self.preparing {
            Some(_) => self.order_rows(std::mem::take(rows)),
            None => self.base.write_elements_ahead(rows),
        }
    }

    fn take_from_orphans(&mut self, id: i64) -> Result<()> {
        self.base.take_from_orphans(id)
    }

    fn is_preparing(&self) -> bool {
        self.preparing.is_some()
    }

    fn refuses_twice(&self) -> bool {
        self.base.refuses_twice()
    }
}
