//! Rows of single elements: found, written, deleted, copied. A long element lies apart, in chunks of an id of its own.

use std::borrow::Cow;
use std::ops::ControlFlow;

use super::keyspace::{Keyspace, Store};
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{
    Apart, Batch, ElementName, ElementRow, Kind, Name, Origin, POSITION_BITS, Part, Range, Row, RowKey, Table,
};

pub(super) const LAST_POSITION: u64 = (1 << POSITION_BITS) - 1;

/// Rows that a copy has in memory at once.
const ROWS_COPIED: usize = 256;

/// The rows of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) table: Table,
    pub(super) id: i64,
}

/// Where an element lies among others of any collection.
#[derive(Clone, Debug)]
pub(super) struct Home<'n> {
    pub(super) position: u64,
    pub(super) name: Cow<'n, [u8]>,
}

/// Is shown an element's home, name and value; says whether to go on.
pub(super) type ShowAt<'a, E> = &'a mut dyn FnMut(u64, &[u8], &[u8]) -> std::result::Result<ControlFlow<()>, E>;

/// What of an element's row is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Names,
    /// A value that lies apart and has more bytes than this is the error `TooLarge`, before it is read.
    NamesAndValues {
        bytes_max: u64,
    },
}

impl Rows {
    /// None: a value of this kind has no rows of elements.
    pub(super) fn of(kind: Kind, id: i64) -> Option<Self> {
        let table = match kind {
            Kind::Hash => Table::HashField,
            Kind::Set => Table::SetMember,
            Kind::SortedSet => Table::SortedMember,
            Kind::String | Kind::List | Kind::Stream => return None,
        };
        Some(Self { table, id })
    }

    pub(super) fn range(self, first: u64, last: u64) -> Range {
        Range::Elements { table: self.table, id: self.id, first, last }
    }

    pub(super) fn all(self) -> Range {
        self.range(0, LAST_POSITION)
    }

    /// The row at a place, in a table that is ordered by more than homes.
    pub(super) fn row_at(self, place: super::walks::Place<'_>) -> RowKey<'_> {
        RowKey::element(self.table, self.id, place.0, place.1)
    }

    pub(super) fn row<'h>(self, home: &'h Home<'_>) -> RowKey<'h> {
        RowKey::element(self.table, self.id, home.position, &home.name)
    }
}

impl<S: Store> Keyspace<S> {
    pub(super) fn home<'n>(&self, name: &'n [u8]) -> Home<'n> {
        let short = self.homes.short_name(name, self.layout.name_bytes_max);
        Home { position: self.homes.position(name), name: short }
    }

    /// What lies apart of an element that is there.
    pub(super) fn element_row(&self, row: RowKey<'_>) -> Result<Option<Option<Apart>>> {
        self.view().row(row, Part::Whole, |row| row.of_element().apart)
    }

    /// Shows the element's value. One that lies apart and has more bytes is the error `TooLarge`, before it is read.
    pub(super) fn element_value<R>(
        &self,
        row: RowKey<'_>,
        bytes_max: u64,
        show: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>> {
        let mut show = Some(show);
        let mut show = |value: &[u8]| show.take().expect("shown once")(value);
        let found = self.view().row(row, Part::Whole, |row| {
            let row = row.of_element();
            row.apart.filter(|_| row.value.is_empty()).map_or_else(|| Ok(show(row.value)), Err)
        })?;
        match found {
            None => Ok(None),
            Some(Ok(shown)) => Ok(Some(shown)),
            Some(Err(apart)) => Ok(Some(show(&self.apart_value(apart, bytes_max)?))),
        }
    }

    pub(super) fn element_value_length(&self, row: RowKey<'_>) -> Result<Option<u64>> {
        self.view().row(row, Part::Whole, |row| {
            let row = row.of_element();
            row.apart.map_or(row.value.len() as u64, |apart| apart.value_bytes)
        })
    }

    /// Shows the bytes of names and values, until `show` says that this is enough.
    pub(super) fn each_element_size(&self, rows: Rows, show: &mut dyn FnMut(u64) -> bool) -> Result<()> {
        self.view().scan(rows.all(), &mut |name, row| {
            let Name::Element(element) = name.name() else { return ControlFlow::Continue(()) };
            let row = row.of_element();
            let apart = row.apart.map_or(0, |apart| apart.name_bytes + apart.value_bytes);
            let is_enough = show(element.name.len() as u64 + row.value.len() as u64 + apart);
            if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    }

    /// Shows elements in the order of their homes, with their homes, until `show` fails or breaks off.
    pub(super) fn scan_elements<E: From<StorageError>>(
        &self,
        range: Range,
        wanted: Wanted,
        show: ShowAt<'_, E>,
    ) -> std::result::Result<(), E> {
        let mut outcome = Ok(());
        self.view().scan(range, &mut |name, row| {
            let Name::Element(element) = name.name() else { return ControlFlow::Continue(()) };
            match self.show_element(element, row.of_element(), wanted, show) {
                Ok(flow) => flow,
                Err(error) => {
                    outcome = Err(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        outcome
    }

    fn show_element<E: From<StorageError>>(
        &self,
        element: ElementName<'_>,
        row: ElementRow<'_>,
        wanted: Wanted,
        show: ShowAt<'_, E>,
    ) -> std::result::Result<ControlFlow<()>, E> {
        let Some(apart) = row.apart else { return show(element.position, element.name, row.value) };
        let long_name = self.apart_name(apart)?;
        let name = long_name.as_deref().unwrap_or(element.name);
        match wanted {
            Wanted::Names => show(element.position, name, &[]),
            // A score is in its row.
            Wanted::NamesAndValues { .. } if !row.value.is_empty() => show(element.position, name, row.value),
            Wanted::NamesAndValues { bytes_max } => show(element.position, name, &self.apart_value(apart, bytes_max)?),
        }
    }

    /// None: the name is in the row's key.
    pub(super) fn apart_name(&self, apart: Apart) -> Result<Option<Vec<u8>>> {
        if apart.name_bytes == 0 {
            return Ok(None);
        }
        self.read_chunks(Some(apart.id), 0, apart.name_bytes).map(Some)
    }

    pub(super) fn apart_value(&self, apart: Apart, bytes_max: u64) -> Result<Vec<u8>> {
        if apart.value_bytes > bytes_max {
            return Err(StorageError::TooLarge);
        }
        self.read_chunks(Some(apart.id), apart.name_bytes, apart.name_bytes + apart.value_bytes)
    }

    /// Writes an element's row, to the batch or to `ahead`. `old`: what lies apart of the one that is there.
    pub(super) fn put_element(
        &mut self,
        rows: Rows,
        home: &Home<'_>,
        (name, value): (&[u8], &[u8]),
        old: Option<Apart>,
        ahead: Option<&mut Batch>,
    ) -> Result<()> {
        let long_name = if name.len() > self.layout.name_bytes_max { name } else { &[] };
        if long_name.is_empty() && name.len() + value.len() <= self.layout.element_bytes_max {
            self.give_up_value(old.map(|old| old.id))?;
            return self.put_element_row(rows, home, ElementRow { value, apart: None }, ahead);
        }
        let joined;
        let bytes = if long_name.is_empty() {
            value
        } else {
            joined = [long_name, value].concat();
            &joined
        };
        let id =
            self.store_chunks(old.map(|old| (old.id, old.name_bytes + old.value_bytes)), bytes, ahead.is_some())?;
        let apart = Apart { id, name_bytes: long_name.len() as u64, value_bytes: value.len() as u64 };
        self.put_element_row(rows, home, ElementRow { value: &[], apart: Some(apart) }, ahead)
    }

    pub(super) fn put_element_row(
        &mut self,
        rows: Rows,
        home: &Home<'_>,
        row: ElementRow<'_>,
        ahead: Option<&mut Batch>,
    ) -> Result<()> {
        ahead.unwrap_or(&mut self.batch).put(rows.row(home), Row::Element(row), Origin::Blind)
    }

    /// `apart`: what lies apart of it.
    pub(super) fn delete_element(&mut self, row: RowKey<'_>, apart: Option<Apart>) -> Result<()> {
        self.give_up_value(apart.map(|apart| apart.id))?;
        self.batch.delete(row, Origin::Blind)
    }

    /// Gives the elements, so many, to a new id as well. Only some of them are in memory at once, and of many none stay there.
    pub(super) fn copy_elements(&mut self, from: Rows, length: u64) -> Result<i64> {
        let is_ahead = self.is_copied_ahead(length);
        let to = Rows { id: self.begin_copy(is_ahead)?, ..from };
        let mut first = 0;
        loop {
            let (portion, next) = self.portion(from, first, ROWS_COPIED)?;
            for (home, value, apart) in portion {
                let row = ElementRow { value: &value, apart: self.copy_apart(apart, is_ahead)? };
                self.put_copied(to.row(&home), row, is_ahead)?;
            }
            match next {
                Some(next) => first = next,
                None => return Ok(to.id),
            }
        }
    }

    /// Whether the copies of so many elements go ahead of the batch.
    pub(super) fn is_copied_ahead(&self, length: u64) -> bool {
        self.store.is_preparing() || length >= self.layout.ahead_elements_min
    }

    pub(super) fn begin_copy(&mut self, is_ahead: bool) -> Result<i64> {
        if is_ahead { self.begin_ahead() } else { self.fresh_id() }
    }

    /// Copies what lies apart of an element.
    pub(super) fn copy_apart(&mut self, apart: Option<Apart>, is_ahead: bool) -> Result<Option<Apart>> {
        let Some(apart) = apart else { return Ok(None) };
        let id = self.copy_chunks(apart.id, apart.name_bytes + apart.value_bytes, is_ahead)?;
        Ok(Some(Apart { id, ..apart }))
    }

    /// Rows come in the order of their table: of those that go ahead each page is touched once.
    pub(super) fn put_copied(&mut self, name: RowKey<'_>, row: ElementRow<'_>, is_ahead: bool) -> Result<()> {
        match is_ahead {
            true => self.store.write_element_ahead(name, row),
            false => self.batch.put(name, Row::Element(row), Origin::Blind),
        }
    }

    /// About `rows_max` rows from a home on, and the home to go on from. It ends between two homes.
    #[expect(clippy::type_complexity, reason = "rows, taken apart at once")]
    fn portion(
        &self,
        rows: Rows,
        first: u64,
        rows_max: usize,
    ) -> Result<(Vec<(Home<'static>, Vec<u8>, Option<Apart>)>, Option<u64>)> {
        let (mut found, mut next) = (Vec::<(Home<'static>, Vec<u8>, Option<Apart>)>::new(), None);
        self.view().scan(rows.range(first, LAST_POSITION), &mut |name, row| {
            let Name::Element(element) = name.name() else { return ControlFlow::Continue(()) };
            if let Some((last, ..)) = found.last()
                && found.len() >= rows_max
                && last.position < element.position
            {
                next = Some(element.position);
                return ControlFlow::Break(());
            }
            let row = row.of_element();
            let home = Home { position: element.position, name: Cow::Owned(element.name.to_vec()) };
            found.push((home, row.value.to_vec(), row.apart));
            ControlFlow::Continue(())
        })?;
        Ok((found, next))
    }
}
