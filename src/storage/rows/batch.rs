//! The changes of a group before anybody else can see them: the newest of each row, with an undo log for save points.
//! Keys and values lie in one arena that is used again from group to group.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;

use super::{Direction, Head, Range, Row, RowKey, Stretch, Table};
use crate::storage::error::{Result, StorageError};

/// What is known of the row that lies below a batch's row. It is told at the row's first change, and stays: below nothing
/// changes while the batch is being filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody has looked. Whoever applies the batch gives up the value of what he finds.
    Blind,
    Absent,
    /// What becomes of its value stands in the batch.
    Present {
        id: Option<i64>,
        expires_at_ms: Option<i64>,
    },
}

/// A place to go back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(usize);

#[derive(Debug, Default)]
pub struct Batch {
    entries: Vec<Entry>,
    /// Open addressing: 0 is free, else an entry's number + 1. Twice as many places as entries at least.
    index: Vec<u32>,
    /// Tails of keys, and values. A value that was replaced stays until the batch is cleared.
    arena: Vec<u8>,
    undo: Vec<Undo>,
    /// Entries in the order of their keys, as many as there were when somebody last asked.
    sorted: RefCell<Vec<u32>>,
    /// For names of rows whose numbers do not tell them apart.
    names: RandomState,
}

#[derive(Debug)]
struct Entry {
    table: Table,
    fields: u128,
    tail: Span,
    state: State,
    origin: Origin,
    /// Of a blind entry: what lies below, once somebody had to know.
    below: Cell<Option<Below>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    at: usize,
    length: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// All changes of it were undone: as if it were not there.
    Void,
    Put(Span),
    Deleted,
}

#[derive(Clone, Copy, Debug)]
struct Undo {
    entry: u32,
    before: State,
}

/// How many rows lie below, and how many of them end: 0 or 1 each.
pub(super) type Below = (bool, bool);

/// A row's change.
#[derive(Clone, Copy, Debug)]
pub struct Changed<'a> {
    pub key: RowKey<'a>,
    /// None: it is deleted.
    pub row: Option<Row<'a>>,
    pub origin: Origin,
    below: &'a Cell<Option<Below>>,
}

/// An arena of more than this gives its memory back with its changes.
const ARENA_BYTES_KEPT: usize = 8 << 20;
const ENTRIES_KEPT: usize = 1 << 16;
/// A larger piece of memory is asked for in a way that can be refused.
const CERTAIN_BYTES: usize = 1 << 20;
const INDEX_MIN: usize = 256;
/// So many new entries, or one for so many that are in order, are put to their places one by one: a walk between two changes does not look
/// at all of a group.
const PLACED_MAX: usize = 4;
const PLACED_SHARE: usize = 256;
/// One for so many that are in order, at most, are put between them.
const MERGED_SHARE: usize = 8;

impl Origin {
    /// Of a row that was looked for where the batch had none.
    #[must_use]
    pub fn of(found: Option<&Head>) -> Self {
        found.map_or(Self::Absent, |head| Self::Present { id: head.id, expires_at_ms: head.expires_at_ms })
    }
}

impl Changed<'_> {
    pub(super) fn below(&self, look: impl FnOnce() -> Result<Below>) -> Result<Below> {
        match self.origin {
            Origin::Absent => Ok((false, false)),
            Origin::Present { expires_at_ms, .. } => Ok((true, expires_at_ms.is_some())),
            Origin::Blind => match self.below.get() {
                Some(known) => Ok(known),
                None => look().inspect(|found| self.below.set(Some(*found))),
            },
        }
    }
}

impl Batch {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many rows it has changes of, those that were undone included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// What names and rows have together, at least.
    #[must_use]
    pub fn arena_bytes(&self) -> usize {
        self.arena.len()
    }

    /// What it takes, about: for whoever bounds it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.arena.len() + self.entries.len() * size_of::<Entry>()
    }

    /// The row as the batch has it; `None`: nothing of it here, look below. `Some(None)`: it is deleted.
    #[must_use]
    pub fn find(&self, key: RowKey<'_>) -> Option<Option<Row<'_>>> {
        let entry = &self.entries[self.number(key)? as usize];
        match entry.state {
            State::Void => None,
            State::Deleted => Some(None),
            State::Put(span) => Some(Some(Row::read(entry.table, self.slice(span)))),
        }
    }

    /// Whether the batch says anything of the row.
    #[must_use]
    pub fn knows(&self, key: RowKey<'_>) -> bool {
        self.number(key).is_some_and(|number| !matches!(self.entries[number as usize].state, State::Void))
    }

    /// `origin` counts for the row's first change alone.
    ///
    /// # Errors
    /// `OutOfMemory`: nothing has changed.
    pub fn put(&mut self, key: RowKey<'_>, row: Row<'_>, origin: Origin) -> Result<()> {
        let length = row.bytes_len();
        self.reserve(length + key.tail().len())?;
        let number = self.entry(key, origin);
        let at = self.arena.len();
        row.write(&mut self.arena);
        debug_assert_eq!(self.arena.len(), at + length, "a row says how long it is");
        self.change(number, State::Put(Span { at, length }));
        Ok(())
    }

    /// `origin` counts for the row's first change alone.
    ///
    /// # Errors
    /// `OutOfMemory`: nothing has changed.
    pub fn delete(&mut self, key: RowKey<'_>, origin: Origin) -> Result<()> {
        self.reserve(key.tail().len())?;
        let number = self.entry(key, origin);
        self.change(number, State::Deleted);
        Ok(())
    }

    /// From here `undo_to` can go back to.
    #[must_use]
    pub fn savepoint(&self) -> Mark {
        Mark(self.undo.len())
    }

    /// Takes back what was done since; an earlier mark stays good, a later one does not.
    pub fn undo_to(&mut self, mark: Mark) {
        while self.undo.len() > mark.0 {
            let Some(Undo { entry, before }) = self.undo.pop() else { return };
            self.entries[entry as usize].state = before;
        }
    }

    /// What was done since the mark can't be taken back any more: so that what nobody goes back to costs nothing.
    pub fn keep_since(&mut self, mark: Mark) {
        self.undo.truncate(mark.0);
    }

    /// Forgets everything, keeps the memory for the next group.
    pub fn clear(&mut self) {
        if self.entries.capacity() > ENTRIES_KEPT || self.arena.capacity() > ARENA_BYTES_KEPT {
            *self = Self::default();
            return;
        }
        self.entries.clear();
        // It grows again with its entries: a small group must not pay for a large one before it.
        self.index.clear();
        self.arena.clear();
        self.undo.clear();
        self.sorted.get_mut().clear();
    }

    /// Shows all changes, in the order of their keys, until `show` fails.
    pub fn in_order<'a, E>(
        &'a self,
        mut show: impl FnMut(Changed<'a>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.sort();
        let sorted = self.sorted.borrow();
        sorted.iter().filter_map(|number| self.changed(*number)).try_for_each(&mut show)
    }

    /// Shows changes in the order of their keys, behind so many that were shown before, until `show` fails or breaks off. Returns how many
    /// were shown by then; `None`: all.
    pub fn go_on_in_order<'a, E>(
        &'a self,
        shown: usize,
        mut show: impl FnMut(Changed<'a>) -> std::result::Result<ControlFlow<()>, E>,
    ) -> std::result::Result<Option<usize>, E> {
        self.sort();
        let sorted = self.sorted.borrow();
        for (place, number) in sorted.iter().enumerate().skip(shown) {
            let Some(changed) = self.changed(*number) else { continue };
            if show(changed)?.is_break() && place + 1 < sorted.len() {
                return Ok(Some(place + 1));
            }
        }
        Ok(None)
    }

    /// Shows the changes in no order, until `show` fails.
    pub fn each<E>(
        &self,
        mut show: impl FnMut(Changed<'_>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        (0..self.entries.len() as u32).filter_map(|number| self.changed(number)).try_for_each(&mut show)
    }

    /// Where the changes of a range begin and end in the order of keys.
    pub(super) fn places(&self, range: Range) -> std::ops::Range<usize> {
        self.sort();
        let sorted = self.sorted.borrow();
        let fields = |number: &u32| {
            let entry = &self.entries[*number as usize];
            (entry.table, entry.fields)
        };
        let (table, first, last) = range.bounds();
        let first = sorted.partition_point(|number| fields(number) < (table, first));
        let end = sorted.partition_point(|number| fields(number) <= (table, last));
        first..end.max(first)
    }

    /// The same of a stretch; a walk backwards goes through them from behind.
    pub(super) fn places_of(&self, stretch: &Stretch<'_>) -> std::ops::Range<usize> {
        let (all, begin) = (self.places(stretch.range()), stretch.first());
        let sorted = self.sorted.borrow();
        let within = &sorted[all.clone()];
        let place = |is_left_of: &dyn Fn(RowKey<'_>) -> bool| {
            all.start + within.partition_point(|number| is_left_of(self.key_of(&self.entries[*number as usize])))
        };
        match stretch.direction {
            Direction::Forward => place(&|key| key < begin)..all.end,
            Direction::Backward => all.start..place(&|key| key <= begin),
        }
    }

    /// What lies at a place of `places`; `None`: it was undone.
    pub(super) fn at_place(&self, place: usize) -> Option<Changed<'_>> {
        let number = self.sorted.borrow()[place];
        self.changed(number)
    }

    fn changed(&self, number: u32) -> Option<Changed<'_>> {
        let entry = &self.entries[number as usize];
        let row = match entry.state {
            State::Void => return None,
            State::Deleted => None,
            State::Put(span) => Some(Row::read(entry.table, self.slice(span))),
        };
        let key = self.key_of(entry);
        Some(Changed { key, row, origin: entry.origin, below: &entry.below })
    }

    fn key_of<'a>(&'a self, entry: &Entry) -> RowKey<'a> {
        RowKey::new(entry.table, entry.fields, self.slice(entry.tail))
    }

    /// A few new ones go to their places. More are put in order by themselves and then between the others; as many as those, with them.
    fn sort(&self) {
        let mut sorted = self.sorted.borrow_mut();
        let new = sorted.len() as u32..self.entries.len() as u32;
        if new.len() > PLACED_MAX.max(sorted.len() / MERGED_SHARE) {
            sorted.extend(new);
            self.sort_all(&mut sorted);
        } else if new.len() > PLACED_MAX.max(sorted.len() / PLACED_SHARE) {
            let mut new: Vec<u32> = new.collect();
            self.sort_all(&mut new);
            self.merge(&mut sorted, &new);
        } else {
            for number in new {
                let key = |number: u32| self.key_of(&self.entries[number as usize]);
                let place = sorted.partition_point(|before| key(*before) < key(number));
                sorted.insert(place, number);
            }
        }
    }

    /// Puts those that are in order by themselves between the others, from behind. Most have one of their own before them, so few places are
    /// looked for.
    fn merge(&self, sorted: &mut Vec<u32>, new: &[u32]) {
        let key = |number: u32| self.key_of(&self.entries[number as usize]);
        // So many of the others are not behind what was put in yet.
        let mut others = sorted.len();
        sorted.resize(others + new.len(), 0);
        for (before, number) in new.iter().enumerate().rev() {
            if others > 0 && key(sorted[others - 1]) > key(*number) {
                let place = sorted[..others].partition_point(|other| key(*other) < key(*number));
                sorted.copy_within(place..others, place + before + 1);
                others = place;
            }
            sorted[others + before] = *number;
        }
    }

    /// The numbers of keys, which tell most of them apart, are brought side by side first: a sort that looks into the entries waits for memory.
    fn sort_all(&self, sorted: &mut [u32]) {
        let entry = |number: u32| &self.entries[number as usize];
        let numbers = sorted.iter().map(|number| (entry(*number).table, entry(*number).fields, *number));
        let mut numbers: Vec<(Table, u128, u32)> = numbers.collect();
        let tail = |number: u32| self.slice(entry(number).tail);
        numbers.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| tail(a.2).cmp(tail(b.2))));
        for (place, (.., number)) in sorted.iter_mut().zip(numbers) {
            *place = number;
        }
    }

    fn slice(&self, span: Span) -> &[u8] {
        &self.arena[span.at..span.at + span.length]
    }

    fn reserve(&mut self, bytes: usize) -> Result<()> {
        if bytes > CERTAIN_BYTES {
            self.arena.try_reserve(bytes).map_err(|_| StorageError::OutOfMemory)?;
        }
        Ok(())
    }

    fn change(&mut self, number: u32, state: State) {
        let entry = &mut self.entries[number as usize];
        self.undo.push(Undo { entry: number, before: entry.state });
        entry.state = state;
    }

    fn number(&self, key: RowKey<'_>) -> Option<u32> {
        if self.entries.is_empty() {
            return None;
        }
        match self.index[self.place(key)] {
            0 => None,
            number => Some(number - 1),
        }
    }

    /// The place in the index where the key is, or where it would go.
    fn place(&self, key: RowKey<'_>) -> usize {
        let mask = self.index.len() - 1;
        let mut place = self.hash(key) & mask;
        loop {
            match self.index[place] {
                0 => return place,
                number if self.key_of(&self.entries[number as usize - 1]) == key => return place,
                _ => place = (place + 1) & mask,
            }
        }
    }

    /// Nobody can make rows collide: among the numbers is a keyed hash of what a client chose, or else its name is hashed so here.
    fn hash(&self, key: RowKey<'_>) -> usize {
        const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
        let is_told_apart = key.table().has_homes() || key.tail().is_empty();
        let name = if is_told_apart { 0 } else { self.names.hash_one(key.tail()) };
        let (high, low) = ((key.fields() >> 64) as u64, key.fields() as u64);
        let mixed = (high.wrapping_add(key.table() as u64)).wrapping_mul(MIX).rotate_left(29) ^ low ^ name;
        (mixed.wrapping_mul(MIX) >> 20) as usize
    }

    fn entry(&mut self, key: RowKey<'_>, origin: Origin) -> u32 {
        if self.index.len() < 2 * (self.entries.len() + 1) {
            self.grow_index();
        }
        let place = self.place(key);
        if self.index[place] != 0 {
            let number = self.index[place] - 1;
            let entry = &mut self.entries[number as usize];
            if matches!(entry.state, State::Void) {
                entry.origin = origin;
                entry.below.set(None);
            }
            return number;
        }
        let tail = Span { at: self.arena.len(), length: key.tail().len() };
        self.arena.extend_from_slice(key.tail());
        let number = self.entries.len() as u32;
        self.entries.push(Entry {
            table: key.table(),
            fields: key.fields(),
            tail,
            state: State::Void,
            origin,
            below: Cell::new(None),
        });
        self.index[place] = number + 1;
        number
    }

    fn grow_index(&mut self) {
        self.index.clear();
        let room = (4 * (self.entries.len() + 1)).next_power_of_two().max(INDEX_MIN);
        self.index.resize(room, 0);
        for number in 0..self.entries.len() {
            let place = self.place(self.key_of(&self.entries[number]));
            self.index[place] = number as u32 + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::rows::ElementRow;

    #[test]
    fn rows_of_equal_numbers_lie_apart_in_the_index_and_are_sorted_by_their_names() {
        const ROWS: u64 = 5000;
        let mut batch = Batch::default();
        for number in (0..ROWS).rev() {
            let name = number.to_be_bytes();
            let row = Row::Element(ElementRow { value: b"v", apart: None });
            batch.put(RowKey::element(Table::StreamEntry, 1, 1_700_000_000_000, &name), row, Origin::Blind).unwrap();
        }
        let mask = batch.index.len() - 1;
        let steps = |place: usize| match batch.index[place] {
            0 => 0,
            number => place.wrapping_sub(batch.hash(batch.key_of(&batch.entries[number as usize - 1]))) & mask,
        };
        let all: usize = (0..batch.index.len()).map(steps).sum();
        assert!(all < 4 * ROWS as usize, "{all} steps for {ROWS} rows");
        let mut names = Vec::new();
        batch
            .in_order::<()>(|changed| {
                names.push(u64::from_be_bytes(changed.key.tail().try_into().unwrap()));
                Ok(())
            })
            .unwrap();
        assert!(names.into_iter().eq(0..ROWS));
    }

    #[test]
    fn rows_that_come_later_are_put_between_those_in_order() {
        let mut batch = Batch::default();
        let mut expected = std::collections::BTreeSet::new();
        let mut chance = 1_u64;
        for count in [3000, 1, 300, 20, 400, 500, 2, 4000, 13] {
            for number in 0..count {
                chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let table = if chance >> 63 == 0 { Table::HashField } else { Table::SetMember };
                // Half of them lie side by side, the others anywhere.
                let position = if number % 2 == 0 { chance >> 20 } else { (1 << 40) + expected.len() as u64 };
                let row = Row::Element(ElementRow { value: b"", apart: None });
                batch
                    .put(RowKey::element(table, (chance >> 60).cast_signed(), position, b"n"), row, Origin::Blind)
                    .unwrap();
                expected.insert((table, (chance >> 60).cast_signed(), position));
            }
            let mut shown = Vec::new();
            batch
                .in_order::<()>(|changed| {
                    let crate::storage::rows::Name::Element(name) = changed.key.name() else { return Err(()) };
                    shown.push((name.table, name.id, name.position));
                    Ok(())
                })
                .unwrap();
            assert!(shown.into_iter().eq(expected.iter().copied()));
        }
    }
}
