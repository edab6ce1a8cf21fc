//! A collection as it is read: its elements are names with values, which are empty in a set, and in a sorted set scores. Packed or a row for
//! each, the same answers.

use std::ops::ControlFlow;

use super::contents::{self, Contents};
use super::element_rows::{Rows, Wanted};
use super::keyspace::{Keyspace, Lookup, Store};
use super::packed::{Encoding, Packed, damaged, integer};
use super::scores::score_of_row;
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{Kind, Part};

/// A collection that is there, so it has elements.
pub struct Elements<'a, S> {
    pub(super) keyspace: &'a Keyspace<S>,
    pub(super) kind: Kind,
    pub(super) form: Form,
    length: u64,
    encoding: Encoding,
    pub(super) value_bytes_max: u64,
    wants_values: bool,
}

/// Where the elements lie.
pub(super) enum Form {
    Packed(Vec<u8>),
    Rows(Rows),
}

/// Is shown an element's name and value.
pub(super) type Show<'a, E> = &'a mut dyn FnMut(&[u8], &[u8]) -> std::result::Result<(), E>;

/// A row of an element takes so many bytes beside name and value, for `memory_bytes`.
const ROW_BYTES: u64 = 16;

impl<S: Store> Keyspace<S> {
    pub fn hash(&self, key: &[u8]) -> Result<Lookup<Elements<'_, S>>> {
        self.elements(Kind::Hash, key)
    }

    pub fn set(&self, key: &[u8]) -> Result<Lookup<Elements<'_, S>>> {
        self.elements(Kind::Set, key)
    }

    /// A set or a sorted set.
    pub fn any_set(&self, key: &[u8]) -> Result<Lookup<Elements<'_, S>>> {
        self.elements_where(key, |kind| matches!(kind, Kind::Set | Kind::SortedSet))
    }

    /// The collection, of whatever kind. None: there is no such key, or it holds something without elements.
    pub fn collection(&self, key: &[u8]) -> Result<Option<Elements<'_, S>>> {
        Ok(self.elements_where(key, |kind| Rows::of(kind, 0).is_some())?.found())
    }

    pub(super) fn elements(&self, kind: Kind, key: &[u8]) -> Result<Lookup<Elements<'_, S>>> {
        self.elements_where(key, |of| of == kind)
    }

    fn elements_where(&self, key: &[u8], is_wanted: impl Fn(Kind) -> bool) -> Result<Lookup<Elements<'_, S>>> {
        let found = self.view().row(self.name(self.selected, key)?, Part::Whole, |row| {
            let row = row.of_key();
            let kind = row.head.kind;
            if !self.is_live(&row.head) {
                return Ok(Lookup::Absent);
            }
            if !is_wanted(kind) {
                return Ok(Lookup::OtherKind(kind));
            }
            let value = row.value.ok_or_else(damaged)?;
            let form = match row.head.id {
                None => Form::Packed(value.to_vec()),
                Some(id) => Form::Rows(Rows::of(kind, id).ok_or_else(damaged)?),
            };
            let encoding = Encoding::of(value)?;
            Ok(Lookup::Found(Elements {
                keyspace: self,
                kind,
                form,
                length: row.head.length,
                encoding,
                value_bytes_max: u64::MAX,
                wants_values: true,
            }))
        })?;
        found.unwrap_or(Ok(Lookup::Absent))
    }
}

impl<'a, S: Store> Elements<'a, S> {
    /// Those of a key that is open for changes, of which none was made so far.
    pub(super) fn of(keyspace: &'a Keyspace<S>, contents: &Contents<'_>) -> Self {
        let form = match &contents.form {
            contents::Form::Packed(pack) => Form::Packed(pack.bytes().to_vec()),
            contents::Form::Rows { rows, .. } => Form::Rows(*rows),
        };
        let (kind, length, encoding) = (contents.kind, contents.count(), contents.encoding());
        Self { keyspace, kind, form, length, encoding, value_bytes_max: u64::MAX, wants_values: true }
    }
}

impl<S: Store> Elements<'_, S> {
    /// How many there are. Never 0.
    #[expect(clippy::len_without_is_empty, reason = "an empty collection is an absent key")]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// That it is of.
    pub fn keyspace(&self) -> &Keyspace<S> {
        self.keyspace
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The same for who has no room for a longer value: it is the error `TooLarge`, and a long one is not even read. Nor is more than
    /// that in memory at once.
    #[must_use]
    pub fn with_values_up_to(self, bytes: u64) -> Self {
        Self { value_bytes_max: bytes, ..self }
    }

    /// The same for who has no use for values: they may be shown as empty ones.
    #[must_use]
    pub fn without_values(self) -> Self {
        Self { wants_values: false, ..self }
    }

    pub(super) fn wanted(&self) -> Wanted {
        match self.wants_values {
            true => Wanted::NamesAndValues { bytes_max: self.value_bytes_max },
            false => Wanted::Names,
        }
    }

    /// True when reading it whole is a matter of one row.
    pub fn is_packed(&self) -> bool {
        matches!(self.form, Form::Packed(_))
    }

    /// Shows the value of an element, if that is there.
    pub fn get<R>(&self, name: &[u8], show: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        match &self.form {
            Form::Packed(bytes) if self.kind == Kind::SortedSet => {
                Ok(Packed::new(self.kind, bytes).score(name)?.map(|score| show(&score.to_le_bytes())))
            }
            Form::Packed(bytes) => Ok(Packed::new(self.kind, bytes).find(name)?.map(show)),
            Form::Rows(rows) => {
                self.keyspace.element_value(rows.row(&self.keyspace.home(name)), self.value_bytes_max, show)
            }
        }
    }

    /// The score of a member of a sorted set, and 1 of any other element, as set algebra has it.
    pub fn score(&self, name: &[u8]) -> Result<Option<f64>> {
        match self.kind {
            Kind::SortedSet => self.get(name, score_of_row)?.transpose(),
            _ => Ok(self.contains(name)?.then_some(1.0)),
        }
    }

    pub fn contains(&self, name: &[u8]) -> Result<bool> {
        match &self.form {
            Form::Packed(bytes) => Ok(Packed::new(self.kind, bytes).find(name)?.is_some()),
            Form::Rows(rows) => Ok(self.keyspace.element_row(rows.row(&self.keyspace.home(name)))?.is_some()),
        }
    }

    /// Length of an element's value, without reading a long one.
    pub fn value_length(&self, name: &[u8]) -> Result<Option<u64>> {
        match &self.form {
            Form::Packed(_) => self.get(name, |value| value.len() as u64),
            Form::Rows(rows) => self.keyspace.element_value_length(rows.row(&self.keyspace.home(name))),
        }
    }

    /// Shows all elements, until `show` fails: packed ones as they were added, integers of a set by their value, others in no order.
    pub fn each<E: From<StorageError>>(
        &self,
        mut show: impl FnMut(&[u8], &[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.each_wanted(self.wanted(), &mut show)
    }

    /// The same of the names alone: long values are not read.
    pub fn each_name<E: From<StorageError>>(
        &self,
        mut show: impl FnMut(&[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.each_wanted(Wanted::Names, &mut |name, _| show(name))
    }

    fn each_wanted<E: From<StorageError>>(&self, wanted: Wanted, show: Show<'_, E>) -> std::result::Result<(), E> {
        match &self.form {
            Form::Packed(bytes) => self.each_packed(bytes, show),
            Form::Rows(rows) if self.encoding == Encoding::Intset => self.each_integer(*rows, show),
            Form::Rows(rows) => self.keyspace.scan_elements(rows.all(), wanted, &mut |_, name, value| {
                show(name, value)?;
                Ok(ControlFlow::Continue(()))
            }),
        }
    }

    fn each_packed<E: From<StorageError>>(&self, bytes: &[u8], show: Show<'_, E>) -> std::result::Result<(), E> {
        let packed = Packed::new(self.kind, bytes);
        if self.kind == Kind::SortedSet {
            for element in packed.scores() {
                let (name, score) = element?;
                show(name, &score.to_le_bytes())?;
            }
            return Ok(());
        }
        for element in packed.elements() {
            let (name, value) = element?;
            show(name, value)?;
        }
        Ok(())
    }

    fn each_integer<E: From<StorageError>>(&self, rows: Rows, show: Show<'_, E>) -> std::result::Result<(), E> {
        let mut numbers = Vec::new();
        self.keyspace.scan_elements::<StorageError>(rows.all(), Wanted::Names, &mut |_, name, _| {
            numbers.push(integer(name).ok_or_else(damaged)?);
            Ok(ControlFlow::Continue(()))
        })?;
        numbers.sort_unstable();
        numbers.iter().try_for_each(|number| show(number.to_string().as_bytes(), &[]))
    }

    /// Shows elements from `cursor` (0 at the start) on, looking at about `rows_max`, and returns the cursor to go on with, 0 when all were
    /// seen. An element that is there from the first call to the last is shown at least once: a cursor is a home, a step ends between
    /// two homes, an element never changes its own; and what is packed is shown whole, whatever the cursor.
    pub fn scan<E: From<StorageError>>(
        &self,
        cursor: u64,
        rows_max: usize,
        mut show: impl FnMut(&[u8], &[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<u64, E> {
        let rows = match &self.form {
            Form::Packed(bytes) => return self.each_packed(bytes, &mut show).map(|()| 0),
            Form::Rows(rows) => *rows,
        };
        let (mut seen, mut previous, mut next) = (0, None, 0);
        let range = rows.range(cursor & super::element_rows::LAST_POSITION, super::element_rows::LAST_POSITION);
        self.keyspace.scan_elements::<E>(range, self.wanted(), &mut |position, name, value| {
            if let Some(previous) = previous
                && seen >= rows_max.max(1)
                && position > previous
            {
                next = previous + 1;
                return Ok(ControlFlow::Break(()));
            }
            show(name, value)?;
            seen += 1;
            previous = Some(position);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(next)
    }

    /// About how many bytes its rows take, by the first `samples` elements; 0 looks at all.
    pub fn memory_bytes(&self, samples: u64) -> Result<u64> {
        let rows = match &self.form {
            Form::Packed(bytes) => return Ok(bytes.len() as u64),
            Form::Rows(rows) => *rows,
        };
        let (mut looked, mut bytes) = (0, 0);
        self.keyspace.each_element_size(rows, &mut |size| {
            (looked, bytes) = (looked + 1, bytes + size + ROW_BYTES);
            looked == samples
        })?;
        Ok((u128::from(bytes) * u128::from(self.length) / u128::from(looked.max(1))) as u64)
    }
}
