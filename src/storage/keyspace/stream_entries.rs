//! Rows of a stream's entries: found by their ids, walked from an id on either way, written, removed, copied. A long entry's fields lie apart.

use std::borrow::Cow;
use std::ops::ControlFlow;

use super::element_rows::{Home, Rows};
use super::keyspace::{Keyspace, Store};
use super::packed::damaged;
use super::stream_fields::{Fields, encode};
use super::stream_head::StreamHead;
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{
    Apart, Batch, Direction, ElementRow, Name, Origin, Part, Row, RowKey, StreamId, Stretch, Table,
};

/// Entries that a copy has in memory at once.
const PORTION_ENTRIES: usize = 256;

/// The letter before an entry's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// A node of Redis begins here.
    Begins = b'n' as isize,
    GoesOn = b'e' as isize,
}

/// An entry's row.
#[derive(Clone, Debug)]
pub(super) struct EntryRow {
    pub(super) id: StreamId,
    pub(super) mark: Mark,
    /// Its letter, and the fields where they do not lie apart.
    value: Vec<u8>,
    pub(super) apart: Option<Apart>,
}

/// Is shown a row that is named by an entry's id, and says whether to go on.
type ShowRow<'a, E> = &'a mut dyn FnMut(StreamId, ElementRow<'_>) -> std::result::Result<ControlFlow<()>, E>;

impl Mark {
    fn letter(self) -> u8 {
        self as isize as u8
    }

    pub(super) fn begins(self) -> bool {
        self == Self::Begins
    }

    pub(super) fn of(row: &ElementRow<'_>) -> Result<Self> {
        match row.value.first() {
            Some(b'n') => Ok(Self::Begins),
            Some(b'e') => Ok(Self::GoesOn),
            _ => Err(damaged()),
        }
    }
}

impl EntryRow {
    fn of(id: StreamId, row: ElementRow<'_>) -> Result<Self> {
        Ok(Self { id, mark: Mark::of(&row)?, value: row.value.to_vec(), apart: row.apart })
    }
}

/// Calls `with` with the name of an entry's row.
pub(super) fn with_entry_key<R>(stream: i64, id: StreamId, with: impl FnOnce(RowKey<'_>) -> R) -> R {
    with(RowKey::element(Table::StreamEntry, stream, id.ms, &id.tail()))
}

/// Where an entry's row lies among those of its stream; `tail` is that of the id.
fn home(id: StreamId, tail: &[u8]) -> Home<'_> {
    Home { position: id.ms, name: Cow::Borrowed(tail) }
}

fn rows(stream: i64) -> Rows {
    Rows { table: Table::StreamEntry, id: stream }
}

impl<S: Store> Keyspace<S> {
    pub(super) fn entry_row(&self, head: &StreamHead, id: StreamId) -> Result<Option<EntryRow>> {
        if head.length == 0 || id < head.first || id > head.last {
            return Ok(None);
        }
        with_entry_key(head.id, id, |key| self.view().row(key, Part::Whole, |row| EntryRow::of(id, row.of_element())))?
            .transpose()
    }

    pub(super) fn has_entry(&self, head: &StreamHead, id: StreamId) -> Result<bool> {
        if head.length == 0 || id < head.first || id > head.last {
            return Ok(false);
        }
        Ok(with_entry_key(head.id, id, |key| self.view().row(key, Part::Whole, |_| ()))?.is_some())
    }

    /// Shows the rows of entries from `first` to `last`, or backwards from `last` to `first`, until `show` fails or breaks off.
    pub(super) fn walk_entries<E: From<StorageError>>(
        &self,
        head: &StreamHead,
        (first, last): (StreamId, StreamId),
        direction: Direction,
        show: ShowRow<'_, E>,
    ) -> std::result::Result<(), E> {
        if head.length == 0 {
            return Ok(());
        }
        self.walk_ids(rows(head.id), (first.max(head.first), last.min(head.last)), direction, show)
    }

    /// The same of any rows that are named by ids of entries.
    pub(super) fn walk_ids<E: From<StorageError>>(
        &self,
        Rows { table, id }: Rows,
        (first, last): (StreamId, StreamId),
        direction: Direction,
        show: ShowRow<'_, E>,
    ) -> std::result::Result<(), E> {
        if first > last {
            return Ok(());
        }
        let (begin, end) = if direction == Direction::Forward { (first, last) } else { (last, first) };
        let tail = begin.tail();
        let stretch = Stretch { table, id, begin: (begin.ms, &tail), end: end.ms, direction };
        let mut outcome = Ok(());
        self.view().walk(stretch, &mut |name, row| {
            let shown = match id_of(name) {
                Ok(id) if id < first || id > last => return ControlFlow::Break(()),
                Ok(id) => show(id, row.of_element()),
                Err(error) => Err(error.into()),
            };
            shown.unwrap_or_else(|error| {
                outcome = Err(error);
                ControlFlow::Break(())
            })
        })?;
        outcome
    }

    /// The first entry from an id on, or backwards the last up to it.
    pub(super) fn next_entry(
        &self,
        head: &StreamHead,
        from: StreamId,
        direction: Direction,
    ) -> Result<Option<EntryRow>> {
        let range = if direction == Direction::Forward { (from, StreamId::MAX) } else { (StreamId::MIN, from) };
        let mut found = None;
        self.walk_entries::<StorageError>(head, range, direction, &mut |id, row| {
            found = Some(EntryRow::of(id, row)?);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }

    /// Shows the fields of an entry's row. Those that lie apart and have more bytes are the error `TooLarge`, before they are read.
    pub(super) fn with_fields<R>(
        &self,
        row: ElementRow<'_>,
        bytes_max: u64,
        show: impl FnOnce(Fields<'_>) -> R,
    ) -> Result<R> {
        match row.apart {
            None => Ok(show(Fields::of(row.value.get(1..).ok_or_else(damaged)?))),
            Some(apart) => Ok(show(Fields::of(&self.apart_value(apart, bytes_max)?))),
        }
    }

    /// Writes the row of a new entry, to the batch or to `ahead`.
    pub(super) fn put_entry(
        &mut self,
        stream: i64,
        id: StreamId,
        (mark, fields): (Mark, &[&[u8]]),
        ahead: Option<&mut Batch>,
    ) -> Result<()> {
        let (letter, tail) = ([mark.letter()], id.tail());
        let (home, value) = (home(id, &tail), encode(&letter, fields));
        if value.len() <= self.layout.element_bytes_max {
            return self.put_element_row(rows(stream), &home, ElementRow { value: &value, apart: None }, ahead);
        }
        let fields = &value[1..];
        let chunks = self.store_chunks(None, fields, ahead.is_some())?;
        let apart = Apart { id: chunks, name_bytes: 0, value_bytes: fields.len() as u64 };
        self.put_element_row(rows(stream), &home, ElementRow { value: &letter, apart: Some(apart) }, ahead)
    }

    pub(super) fn mark_entry(&mut self, stream: i64, mut entry: EntryRow, mark: Mark) -> Result<()> {
        entry.value[0] = mark.letter();
        let row = ElementRow { value: &entry.value, apart: entry.apart };
        self.put_element_row(rows(stream), &home(entry.id, &entry.id.tail()), row, None)
    }

    pub(super) fn delete_entry(&mut self, stream: i64, id: StreamId, apart: Option<Apart>) -> Result<()> {
        with_entry_key(stream, id, |key| self.delete_element(key, apart))
    }

    /// Rows up to this one are dead: they are swept later.
    pub(super) fn give_up_entries(&mut self, head: &mut StreamHead, last: StreamId) -> Result<()> {
        head.has_dead_rows = true;
        self.batch.put(RowKey::orphan_entries(head.id), Row::OrphanEntries(last), Origin::Blind)
    }

    /// Gives the entries to the stream `to` as well. Only some of them are in memory at once, and of many none stay there.
    pub(super) fn copy_entries(&mut self, from: &StreamHead, to: i64, is_ahead: bool) -> Result<()> {
        let mut next = Some(from.first).filter(|_| from.length > 0);
        while let Some(first) = next {
            let mut portion = Vec::new();
            self.walk_entries::<StorageError>(from, (first, from.last), Direction::Forward, &mut |id, row| {
                portion.push(EntryRow::of(id, row)?);
                let is_full = portion.len() == PORTION_ENTRIES;
                Ok(if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
            next = portion.last().filter(|_| portion.len() == PORTION_ENTRIES).and_then(|last| last.id.next());
            for entry in portion {
                let apart = match entry.apart {
                    Some(apart) => {
                        Some(Apart { id: self.copy_chunks(apart.id, apart.value_bytes, is_ahead)?, ..apart })
                    }
                    None => None,
                };
                let (row, tail) = (ElementRow { value: &entry.value, apart }, entry.id.tail());
                let home = home(entry.id, &tail);
                match is_ahead {
                    true => self.store.write_element_ahead(rows(to).row(&home), row)?,
                    false => self.put_element_row(rows(to), &home, row, None)?,
                }
            }
        }
        Ok(())
    }
}

/// The id in the name of an entry's row, or of a row that is named alike.
fn id_of(name: RowKey<'_>) -> Result<StreamId> {
    match name.name() {
        Name::Element(element) => StreamId::of_row(element.position, element.name).ok_or_else(damaged),
        _ => Err(damaged()),
    }
}
