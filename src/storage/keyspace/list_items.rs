//! Rows of a list's items: found by their index, read from either end, copied. A long value lies apart, as that of a hash's field does.

use std::borrow::Cow;
use std::ops::ControlFlow;

use super::element_rows::{Home, Rows};
use super::keyspace::{Keyspace, Store};
use super::list_encoding::{listpack_bytes, listpack_bytes_of_text};
use super::list_window::Window;
use super::packed::{Encoding, damaged};
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{Apart, Batch, ElementRow, End, Head, Name, Origin, Part, Row, RowKey, Table};

/// Items that are in memory at once.
pub(super) const PORTION_ITEMS: u64 = 256;
/// Items that are looked at before it is asked whether to go on: at first, by how many times more then, and at most.
const FIRST_LOOKED: u64 = 16;
const LOOKED_GROWTH: u64 = 4;
const LOOKED_MAX: u64 = 4096;

/// An item's row.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) position: u64,
    /// Empty where it lies apart.
    pub(super) value: Vec<u8>,
    pub(super) apart: Option<Apart>,
}

/// An item that has the value that was looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Match {
    pub(super) index: u64,
    pub(super) position: u64,
    pub(super) apart: Option<Apart>,
}

/// Is shown an item that has the value that was looked for; says whether to go on.
pub(super) type ShowMatch<'a, E> = &'a mut dyn FnMut(Match) -> std::result::Result<ControlFlow<()>, E>;

impl Item {
    /// What it takes in a listpack. What lies apart is longer than any number.
    pub(super) fn listpack_bytes(&self) -> u64 {
        match self.apart {
            Some(apart) => listpack_bytes_of_text(apart.value_bytes),
            None => listpack_bytes(&self.value),
        }
    }
}

/// The place of an item among the rows.
pub(super) fn home(position: u64) -> Home<'static> {
    Home { position, name: Cow::Borrowed(&[]) }
}

pub(super) fn rows(id: i64) -> Rows {
    Rows { table: Table::ListItem, id }
}

pub(super) fn row_key(id: i64, position: u64) -> RowKey<'static> {
    RowKey::element(Table::ListItem, id, position, &[])
}

impl<S: Store> Keyspace<S> {
    /// Where the item with this index lies. The index is below the length.
    pub(super) fn position_of(&self, window: &Window, index: u64) -> Result<u64> {
        match index {
            0 => Ok(window.head),
            _ if index + 1 == window.length => Ok(window.tail),
            _ if window.is_counted => self.counted_position(window, index),
            _ => Ok(window.regular_position(index, self.layout.list)),
        }
    }

    /// Shows the rows from a position on, to another, until `show` breaks off.
    pub(super) fn scan_items(
        &self,
        window: &Window,
        (first, last): (u64, u64),
        show: &mut dyn FnMut(u64, ElementRow<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        self.view().scan(window.items(first, last), &mut |name, row| match name.name() {
            Name::Element(element) => show(element.position, row.of_element()),
            _ => ControlFlow::Continue(()),
        })
    }

    /// So many items from a position on, or all up to the position `last` where there are no more.
    pub(super) fn items_within(&self, window: &Window, first: u64, last: u64, count: u64) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        if count == 0 || first > last {
            return Ok(items);
        }
        self.scan_items(window, (first, last), &mut |position, row| {
            items.push(Item { position, value: row.value.to_vec(), apart: row.apart });
            if items.len() as u64 == count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(items)
    }

    fn item_at(&self, window: &Window, position: u64) -> Result<Option<Item>> {
        self.view().row(row_key(window.id, position), Part::Whole, |row| {
            let row = row.of_element();
            Item { position, value: row.value.to_vec(), apart: row.apart }
        })
    }

    /// Where the last of so many items from a position on lies, or a position behind it.
    pub(super) fn last_of(&self, window: &Window, first: u64, count: u64) -> u64 {
        let last = first.saturating_add((count - 1).saturating_mul(self.layout.list.stride()));
        if window.is_counted { window.tail } else { last.min(window.tail) }
    }

    /// So many items from this index on, which are there.
    pub(super) fn items_from(&self, window: &Window, index: u64, count: u64) -> Result<Vec<Item>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let first = self.position_of(window, index)?;
        let items = match count {
            1 => self.item_at(window, first)?.into_iter().collect(),
            _ => self.items_within(window, first, self.last_of(window, first, count), count)?,
        };
        if items.len() as u64 == count { Ok(items) } else { Err(lacks_items()) }
    }

    /// So many items at an end, from that end inward. There are as many.
    pub(super) fn items_at(&self, window: &Window, end: End, count: u64) -> Result<Vec<Item>> {
        match end {
            End::Front => self.items_from(window, 0, count),
            End::Back => {
                let mut items = self.items_from(window, window.length - count, count)?;
                items.reverse();
                Ok(items)
            }
        }
    }

    /// The first item behind a position. None: there is none up to the tail.
    pub(super) fn position_behind(&self, window: &Window, position: u64) -> Result<Option<u64>> {
        let mut found = None;
        self.scan_items(window, (position + 1, window.tail), &mut |position, _| {
            found = Some(position);
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// The item's value. One that lies apart and has more bytes is the error `TooLarge`, before it is read.
    pub(super) fn item_value<'i>(&self, item: &'i Item, bytes_max: u64) -> Result<Cow<'i, [u8]>> {
        Ok(match item.apart {
            None => Cow::Borrowed(&item.value),
            Some(apart) => Cow::Owned(self.apart_value(apart, bytes_max)?),
        })
    }

    /// Whether the row has this value. Of one that lies apart only what may be equal is read.
    pub(super) fn is_value(&self, row: ElementRow<'_>, value: &[u8]) -> Result<bool> {
        match row.apart {
            None => Ok(row.value == value),
            Some(apart) if apart.value_bytes != value.len() as u64 => Ok(false),
            Some(apart) => Ok(self.apart_value(apart, u64::MAX)? == value),
        }
    }

    /// Shows the items with this value, from one end on, until `show` fails or breaks off. At most so many items are looked at: first a few,
    /// since most are looked for near an end, then more and more at once.
    pub(super) fn each_match<E: From<StorageError>>(
        &self,
        window: &Window,
        from: End,
        items_max: u64,
        value: &[u8],
        show: ShowMatch<'_, E>,
    ) -> std::result::Result<(), E> {
        let (count, mut done, mut portion) = (items_max.min(window.length), 0, FIRST_LOOKED);
        while done < count {
            portion = portion.min(count - done);
            let first = if from == End::Front { done } else { window.length - done - portion };
            let mut found = self.matches(window, first, portion, value)?;
            if from == End::Back {
                found.reverse();
            }
            for found in found {
                if show(found)?.is_break() {
                    return Ok(());
                }
            }
            done += portion;
            portion = (portion * LOOKED_GROWTH).min(LOOKED_MAX);
        }
        Ok(())
    }

    /// The items that have this value, of so many from an index on, which are there.
    fn matches(&self, window: &Window, index: u64, count: u64, value: &[u8]) -> Result<Vec<Match>> {
        let (mut found, mut at, mut outcome) = (Vec::new(), index, Ok(()));
        let first = self.position_of(window, index)?;
        self.scan_items(window, (first, self.last_of(window, first, count)), &mut |position, row| {
            match self.is_value(row, value) {
                Ok(true) => found.push(Match { index: at, position, apart: row.apart }),
                Ok(false) => {}
                Err(error) => {
                    outcome = Err(error);
                    return ControlFlow::Break(());
                }
            }
            at += 1;
            if at == index + count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        outcome?;
        if at == index + count { Ok(found) } else { Err(lacks_items()) }
    }

    /// Writes an item's row, to the batch or to `ahead`. `old`: what lies apart of the one that is there.
    pub(super) fn put_item(
        &mut self,
        (id, position): (i64, u64),
        value: &[u8],
        old: Option<Apart>,
        ahead: Option<&mut Batch>,
    ) -> Result<()> {
        self.put_element(rows(id), &home(position), (&[], value), old, ahead)
    }

    /// Gives an item's row another position. The row that it had is left to the caller.
    pub(super) fn put_moved(&mut self, id: i64, position: u64, item: &Item) -> Result<()> {
        let row = ElementRow { value: &item.value, apart: item.apart };
        self.put_element_row(rows(id), &home(position), row, None)
    }

    /// Gives the items to a new id as well, all at regular positions, but for those at `without`, which rise. Only some of them are in
    /// memory at once, and of many none stay there.
    pub(super) fn copy_items(&mut self, from: &Window, without: &[u64]) -> Result<Window> {
        let shape = self.layout.list;
        let is_ahead = self.is_copied_ahead(from.length);
        let mut to = Window::empty(self.begin_copy(is_ahead)?, shape);
        let mut without = without.iter().peekable();
        let mut first = from.head;
        loop {
            let items = self.items_within(from, first, from.tail, PORTION_ITEMS)?;
            for item in &items {
                if without.next_if(|position| **position == item.position).is_some() {
                    continue;
                }
                let position = to.beyond(End::Back, shape).ok_or_else(damaged)?;
                let row = ElementRow { value: &item.value, apart: self.copy_apart(item.apart, is_ahead)? };
                self.put_copied(row_key(to.id, position), row, is_ahead)?;
                to.tail = position;
                to.length += 1;
                to.bytes = to.bytes.map(|bytes| bytes + item.listpack_bytes());
            }
            match items.last() {
                Some(last) if items.len() as u64 == PORTION_ITEMS && last.position < from.tail => {
                    first = last.position + 1;
                }
                _ => return Ok(to),
            }
        }
    }

    /// The same for a key that is to have them too: its id and the text of its row.
    pub(super) fn copy_list(&mut self, head: &Head, value: &[u8]) -> Result<(i64, Vec<u8>)> {
        let id = head.id.ok_or_else(damaged)?;
        let window = self.copy_items(&Window::read(id, head.length, value)?, &[])?;
        Ok((window.id, window.write(Encoding::of(value)?)))
    }

    /// Rows beyond an end are dead: they are swept later.
    pub(super) fn give_up_items(&mut self, window: &mut Window, end: End, old_edge: u64) -> Result<()> {
        let left = window.left_up_to(end).get_or_insert(old_edge);
        *left = if end == End::Front { (*left).min(old_edge) } else { (*left).max(old_edge) };
        self.say_orphan_items(window, end)
    }

    fn say_orphan_items(&mut self, window: &Window, end: End) -> Result<()> {
        let row = Row::OrphanItems(window.edge(end));
        self.batch.put(RowKey::orphan_items(window.id, end), row, Origin::Blind)
    }

    /// Where there is no position beyond an end, all items get others.
    pub(super) fn make_room(&mut self, window: &mut Window, end: End) -> Result<()> {
        if window.beyond(end, self.layout.list).is_none() { self.renumber(window) } else { Ok(()) }
    }

    /// The edge moves to the next position beyond an end, for a new item. Dead rows that lie on the way go, and the sweeper is told where
    /// the edge is now. Returns the position.
    pub(super) fn enter(&mut self, window: &mut Window, end: End) -> Result<u64> {
        let shape = self.layout.list;
        self.make_room(window, end)?;
        let old_edge = window.edge(end);
        let position = window.beyond(end, shape).ok_or_else(damaged)?;
        window.set_edge(end, position);
        let Some(left) = *window.left_up_to(end) else { return Ok(position) };
        let (dead, is_within) = match end {
            End::Front => ((position, old_edge - 1), position >= left),
            End::Back => ((old_edge + 1, position), position <= left),
        };
        let mut found = Vec::new();
        self.scan_items(window, dead, &mut |position, row| {
            found.push((position, row.apart));
            ControlFlow::Continue(())
        })?;
        for (position, apart) in found {
            self.delete_element(row_key(window.id, position), apart)?;
        }
        if is_within {
            self.say_orphan_items(window, end)?;
        } else {
            *window.left_up_to(end) = None;
            self.batch.delete(RowKey::orphan_items(window.id, end), Origin::Blind)?;
        }
        Ok(position)
    }

    /// What all items would take in a listpack, where that is not known; `None`: they are more than `count_max`.
    pub(super) fn count_bytes(&self, window: &mut Window, count_max: u64) -> Result<Option<u64>> {
        if window.bytes.is_none() && window.length <= count_max {
            let mut bytes = 0;
            self.scan_items(window, (window.head, window.tail), &mut |_, row| {
                bytes += match row.apart {
                    Some(apart) => listpack_bytes_of_text(apart.value_bytes),
                    None => listpack_bytes(row.value),
                };
                ControlFlow::Continue(())
            })?;
            window.bytes = Some(bytes);
        }
        Ok(window.bytes)
    }
}

pub(super) fn lacks_items() -> StorageError {
    StorageError::Corrupt("a list has fewer items than its key's row says".into())
}
