//! A list as it is read: by index, from either end. Packed or a row for each item, the same answers.

use std::ops::ControlFlow;

use super::element_rows::Wanted;
use super::keyspace::{Keyspace, Lookup, Store};
use super::list_items::lacks_items;
use super::lists::{ListForm, ListPlace};
use super::packed::Encoding;
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{End, Kind, Part};

/// A list that is there, so it has items.
pub struct List<'a, S> {
    keyspace: &'a Keyspace<S>,
    list: ListForm,
    value_bytes_max: u64,
}

/// Is shown an item's index; says whether to go on.
type ShowIndex<'a, E> = &'a mut dyn FnMut(u64) -> std::result::Result<ControlFlow<()>, E>;

/// A row of an item takes so many bytes beside its value, for `memory_bytes`.
const ROW_BYTES: u64 = 16;

/// The index that this number means in a list of so many items: below 0 it counts from the end. None: there is no such item.
#[must_use]
pub fn index_of(number: i64, length: u64) -> Option<u64> {
    let index = if number < 0 { length.checked_sub(number.unsigned_abs())? } else { number.cast_unsigned() };
    (index < length).then_some(index)
}

/// The first index, and how many items, of the range from one number to another, both included, as `index_of` takes them. None: there
/// are no items in it.
#[must_use]
pub fn range_of(start: i64, stop: i64, length: u64) -> Option<(u64, u64)> {
    let from_end = |number: i64| match number < 0 {
        true => length.checked_sub(number.unsigned_abs()),
        false => Some(number.cast_unsigned()),
    };
    let (first, last) = (from_end(start).unwrap_or(0), from_end(stop)?);
    (first <= last && first < length).then(|| (first, last.min(length - 1) - first + 1))
}

impl<S: Store> Keyspace<S> {
    pub fn list(&self, key: &[u8]) -> Result<Lookup<List<'_, S>>> {
        let found = self.view().row(self.name(self.selected, key)?, Part::Whole, |row| {
            let row = row.of_key();
            if !self.is_live(&row.head) {
                return Ok(Lookup::Absent);
            }
            if row.head.kind != Kind::List {
                return Ok(Lookup::OtherKind(row.head.kind));
            }
            let list = ListForm::of(&row.head, row.value.unwrap_or_default(), self.layout.list)?;
            Ok(Lookup::Found(List { keyspace: self, list, value_bytes_max: u64::MAX }))
        })?;
        found.unwrap_or(Ok(Lookup::Absent))
    }
}

impl<S: Store> List<'_, S> {
    /// How many items there are. Never 0.
    #[expect(clippy::len_without_is_empty, reason = "an empty list is an absent key")]
    pub fn len(&self) -> u64 {
        self.list.length()
    }

    pub fn encoding(&self) -> Encoding {
        self.list.encoding
    }

    /// True when reading it whole is a matter of one row.
    pub fn is_packed(&self) -> bool {
        matches!(self.list.place, ListPlace::Packed(_))
    }

    /// The same for who has no room for a longer value: it is the error `TooLarge`, and a long one is not even read.
    #[must_use]
    pub fn with_values_up_to(self, bytes: u64) -> Self {
        Self { value_bytes_max: bytes, ..self }
    }

    /// Shows the item with this index, if there is one.
    pub fn get<R>(&self, index: u64, show: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        if index >= self.len() {
            return Ok(None);
        }
        match &self.list.place {
            ListPlace::Packed(pack) => pack.items().nth(index as usize).transpose().map(|item| item.map(show)),
            ListPlace::Rows(window) => {
                let items = self.keyspace.items_from(window, index, 1)?;
                let item = items.first().ok_or_else(lacks_items)?;
                Ok(Some(show(&self.keyspace.item_value(item, self.value_bytes_max)?)))
            }
        }
    }

    /// Shows so many items from this index on, which are there, until `show` fails.
    pub fn each<E: From<StorageError>>(
        &self,
        index: u64,
        count: u64,
        mut show: impl FnMut(&[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        if count == 0 {
            return Ok(());
        }
        let window = match &self.list.place {
            ListPlace::Packed(pack) => {
                return pack.items().skip(index as usize).take(count as usize).try_for_each(|item| show(item?));
            }
            ListPlace::Rows(window) => window,
        };
        let mut left = count;
        let first = self.keyspace.position_of(window, index)?;
        let range = window.items(first, self.keyspace.last_of(window, first, count));
        let wanted = Wanted::NamesAndValues { bytes_max: self.value_bytes_max };
        self.keyspace.scan_elements::<E>(range, wanted, &mut |_, _, value| {
            show(value)?;
            left -= 1;
            Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        if left == 0 { Ok(()) } else { Err(lacks_items().into()) }
    }

    /// Shows the indexes of the items with this value, from one end on, until `show` breaks off. At most so many items are looked at.
    pub fn find<E: From<StorageError>>(
        &self,
        value: &[u8],
        from: End,
        items_max: u64,
        show: ShowIndex<'_, E>,
    ) -> std::result::Result<(), E> {
        let window = match &self.list.place {
            ListPlace::Packed(pack) => {
                let count = usize::try_from(items_max).unwrap_or(usize::MAX);
                let items = pack.items().collect::<Result<Vec<_>>>()?;
                let mut show_all = |items: &mut dyn Iterator<Item = (usize, &&[u8])>| -> std::result::Result<(), E> {
                    for (index, item) in items.take(count) {
                        if *item == value && show(index as u64)?.is_break() {
                            break;
                        }
                    }
                    Ok(())
                };
                let mut indexed = items.iter().enumerate();
                return match from {
                    End::Front => show_all(&mut indexed),
                    End::Back => show_all(&mut indexed.rev()),
                };
            }
            ListPlace::Rows(window) => window,
        };
        self.keyspace.each_match(window, from, items_max, value, &mut |found| show(found.index))
    }

    /// About how many bytes its rows take, by the first `samples` items; 0 looks at all.
    pub fn memory_bytes(&self, samples: u64) -> Result<u64> {
        let window = match &self.list.place {
            ListPlace::Packed(pack) => return Ok(pack.bytes().len() as u64),
            ListPlace::Rows(window) => window,
        };
        let (mut looked, mut bytes) = (0, 0);
        self.keyspace.scan_items(window, (window.head, window.tail), &mut |_, row| {
            let value = row.apart.map_or(row.value.len() as u64, |apart| apart.value_bytes);
            (looked, bytes) = (looked + 1, bytes + value + ROW_BYTES);
            if looked == samples { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok((u128::from(bytes) * u128::from(self.len()) / u128::from(looked.max(1))) as u64)
    }
}
