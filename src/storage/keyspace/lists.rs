//! What changes a list at its ends: it keeps the time when it ends, and goes with its last item. Small ones are packed; larger ones have a
//! row for each item and are never packed again.

use super::changes::Change;
use super::contents::Removed;
use super::keyspace::{Keyspace, Lookup, Store};
use super::list_counts::CountChanges;
use super::list_encoding::{LISTPACK_BYTES, NodeLimit, listpack_bytes};
use super::list_items::{Item, PORTION_ITEMS, lacks_items, row_key};
use super::list_pack::ListPack;
use super::list_window::{ListShape, Window};
use super::packed::{Encoding, damaged};
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{Batch, End, Head, KeyRow, Kind, Origin, Part, Row, RowKey};

/// A key's list, opened for changes. Rows of items are changed in the batch; the key's row is written at the end.
pub(super) struct OpenedList<'k> {
    name: RowKey<'k>,
    /// The row that the key has, alive or not.
    old: Option<Head>,
    pub(super) is_new: bool,
    pub(super) list: ListForm,
}

/// Items under change.
#[derive(Clone, Debug)]
pub(super) struct ListForm {
    pub(super) encoding: Encoding,
    pub(super) place: ListPlace,
}

/// Where they lie.
#[derive(Clone, Debug)]
pub(super) enum ListPlace {
    Packed(ListPack),
    Rows(Window),
}

/// What a pushing call did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Items that there are now.
    pub length: u64,
    /// The key was not there.
    pub is_new: bool,
}

/// An item that went from one list to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    pub item: Vec<u8>,
    /// It was the last of the first list, and that key is gone.
    pub is_gone: bool,
    /// The other key was not there.
    pub is_new: bool,
}

impl ListForm {
    pub(super) fn empty() -> Self {
        Self { encoding: Encoding::Listpack, place: ListPlace::Packed(ListPack::empty()) }
    }

    /// # Errors
    /// `Corrupt`
    pub(super) fn of(head: &Head, value: &[u8], shape: ListShape) -> Result<Self> {
        let place = match head.id {
            None => ListPlace::Packed(ListPack::of(value.to_vec(), head.length)),
            Some(id) => {
                let window = Window::read(id, head.length, value)?;
                if !window.is_consistent(shape) {
                    return Err(damaged());
                }
                ListPlace::Rows(window)
            }
        };
        Ok(Self { encoding: Encoding::of(value)?, place })
    }

    pub(super) fn length(&self) -> u64 {
        match &self.place {
            ListPlace::Packed(pack) => pack.count(),
            ListPlace::Rows(window) => window.length,
        }
    }

    /// The key's row.
    pub(super) fn row(&self) -> (Option<i64>, Vec<u8>) {
        match &self.place {
            ListPlace::Packed(pack) => (None, pack.bytes().to_vec()),
            ListPlace::Rows(window) => (Some(window.id), window.write(self.encoding)),
        }
    }

    pub(super) fn set_encoding(&mut self, encoding: Encoding) {
        self.encoding = encoding;
        if let ListPlace::Packed(pack) = &mut self.place {
            pack.set_encoding(encoding);
        }
    }

    /// So many values, of so many bytes together, are about to come.
    pub(super) fn encode_growth(&mut self, bytes: u64, count: u64, size: i64) -> Result<()> {
        let limit = NodeLimit::of(size);
        if self.encoding != Encoding::Listpack {
            return Ok(());
        }
        let elements = self.length() + count;
        let own = match &self.place {
            // No item takes more bytes as a listpack's element.
            ListPlace::Packed(pack) => {
                let most = LISTPACK_BYTES + pack.bytes().len() as u64;
                if limit.exceeds(most + bytes, elements) { pack.listpack_bytes()? } else { most }
            }
            ListPlace::Rows(window) => window.bytes.map_or(u64::MAX / 2, |bytes| bytes + LISTPACK_BYTES),
        };
        if limit.exceeds(own + bytes, elements) {
            self.set_encoding(Encoding::Quicklist);
        }
        Ok(())
    }
}

impl<S: Store> Keyspace<S> {
    /// A key for changes of its list. One that is absent, or whose time has passed, begins empty.
    pub(super) fn open_list<'k>(&self, key: &'k [u8]) -> Result<Lookup<OpenedList<'k>>> {
        self.store.check_writing()?;
        let name = self.name(self.selected, key)?;
        let found = self.view().row(name, Part::Whole, |row| {
            let row = row.of_key();
            let is_wanted = row.head.kind == Kind::List && self.is_live(&row.head);
            (row.head, is_wanted.then(|| ListForm::of(&row.head, row.value.unwrap_or_default(), self.layout.list)))
        })?;
        let (old, list) = found.map_or((None, None), |(head, list)| (Some(head), list));
        let live = old.filter(|head| self.is_live(head));
        let list = match (live, list) {
            (None, _) => ListForm::empty(),
            (Some(_), Some(list)) => list?,
            (Some(head), None) => return Ok(Lookup::OtherKind(head.kind)),
        };
        Ok(Lookup::Found(OpenedList { name, old, is_new: live.is_none(), list }))
    }

    /// The same for who changes only what is there.
    pub(super) fn open_list_there<'k>(&self, key: &'k [u8]) -> Result<Lookup<OpenedList<'k>>> {
        Ok(match self.open_list(key)? {
            Lookup::Found(opened) if opened.is_new => Lookup::Absent,
            other => other,
        })
    }

    /// Before anything of it is changed.
    pub(super) fn begin_list_change(&mut self, key: &[u8]) -> Result<()> {
        self.mark(Change::Key { database: self.selected, key })
    }

    /// Writes the key's row after changes, keeping the time when it ends. True when nothing is left, and the key is gone.
    pub(super) fn close_list(&mut self, opened: OpenedList<'_>) -> Result<bool> {
        let OpenedList { name, old, is_new, list, .. } = opened;
        let expires_at_ms = old.filter(|_| !is_new).and_then(|old| old.expires_at_ms);
        self.put_list_row(name, old, &list, expires_at_ms)?;
        Ok(list.length() == 0)
    }

    /// `old` is the row that the key has; what it holds is given up, unless it is this.
    pub(super) fn put_list_row(
        &mut self,
        name: RowKey<'_>,
        old: Option<Head>,
        list: &ListForm,
        expires_at_ms: Option<i64>,
    ) -> Result<()> {
        let (length, origin) = (list.length(), Origin::of(old.as_ref()));
        let (id, value) = list.row();
        let id = id.filter(|_| length > 0);
        self.give_up_value(old.and_then(|old| old.id).filter(|old| Some(*old) != id))?;
        if length == 0 {
            return self.batch.delete(name, origin);
        }
        let head = Head { kind: Kind::List, id, expires_at_ms, length };
        self.batch.put(name, Row::Key(KeyRow { head, value: Some(&value) }), origin)
    }

    /// Pushes items to an end, one after the other. `must_be_there`: an absent key stays absent.
    pub fn list_push(&mut self, key: &[u8], end: End, values: &[&[u8]], must_be_there: bool) -> Result<Lookup<Pushed>> {
        let mut opened = match self.open_list(key)? {
            Lookup::Found(opened) if opened.is_new && must_be_there => return Ok(Lookup::Absent),
            Lookup::Found(opened) => opened,
            other => return Ok(other.map(|_| unreachable!("it is not found"))),
        };
        self.check_item_lengths(values)?;
        self.begin_list_change(key)?;
        let bytes = values.iter().map(|value| value.len() as u64).sum();
        opened.list.encode_growth(bytes, values.len() as u64, self.thresholds.list_max_listpack_size)?;
        for value in values {
            self.push_item(&mut opened.list.place, end, value, None)?;
        }
        let pushed = Pushed { length: opened.list.length(), is_new: opened.is_new };
        self.close_list(opened)?;
        Ok(Lookup::Found(pushed))
    }

    pub(super) fn check_item_lengths(&self, values: &[&[u8]]) -> Result<()> {
        let fits = values.iter().all(|value| value.len() as u64 <= self.value_bytes_max());
        if fits { Ok(()) } else { Err(StorageError::TooLarge) }
    }

    pub(super) fn push_item(
        &mut self,
        place: &mut ListPlace,
        end: End,
        value: &[u8],
        ahead: Option<&mut Batch>,
    ) -> Result<()> {
        if let ListPlace::Packed(pack) = place {
            if self.has_packed_room(pack, value) {
                pack.push(end, value);
                return Ok(());
            }
            *place = ListPlace::Rows(self.unpack_list(pack)?);
        }
        let ListPlace::Rows(window) = place else { return Err(damaged()) };
        let position = self.enter(window, end)?;
        window.length += 1;
        window.bytes = window.bytes.map(|bytes| bytes + listpack_bytes(value));
        self.put_item((window.id, position), value, None, ahead)
    }

    pub(super) fn has_packed_room(&self, pack: &ListPack, value: &[u8]) -> bool {
        pack.count() < self.layout.packed_elements_max
            && pack.bytes().len() + ListPack::growth(value) <= self.layout.packed_bytes_max
    }

    /// From here on there is a row for each item.
    pub(super) fn unpack_list(&mut self, pack: &ListPack) -> Result<Window> {
        let shape = self.layout.list;
        let mut window = Window::empty(self.fresh_id()?, shape);
        let mut bytes = 0;
        for value in pack.items() {
            let value = value?;
            window.tail = window.beyond(End::Back, shape).ok_or_else(damaged)?;
            bytes += listpack_bytes(value);
            self.put_item((window.id, window.tail), value, None, None)?;
        }
        window.length = pack.count();
        window.bytes = Some(bytes);
        Ok(window)
    }

    /// Gives all items regular positions, under a new id.
    pub(super) fn renumber(&mut self, window: &mut Window) -> Result<()> {
        let new = self.copy_items(window, &[])?;
        self.give_up_value(Some(window.id))?;
        *window = new;
        Ok(())
    }

    /// Takes so many items out at an end, or all where there are no more, and shows them from that end inward until `show` fails.
    pub fn list_pop<E: From<StorageError>>(
        &mut self,
        key: &[u8],
        end: End,
        count: u64,
        mut show: impl FnMut(&[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<Lookup<Removed>, E> {
        let mut opened = match self.open_list_there(key)? {
            Lookup::Found(opened) => opened,
            other => return Ok(other.map(|_| unreachable!("it is not found"))),
        };
        let length = opened.list.length();
        let count = count.min(length);
        if count == 0 {
            return Ok(Lookup::Found(Removed { count, is_gone: false }));
        }
        self.begin_list_change(key)?;
        match &mut opened.list.place {
            ListPlace::Packed(pack) => {
                let items = pack.items().collect::<Result<Vec<_>>>()?;
                let first = if end == End::Front { 0 } else { items.len().saturating_sub(count as usize) };
                let taken = items.iter().skip(first).take(count as usize);
                match end {
                    End::Front => taken.copied().try_for_each(&mut show)?,
                    End::Back => taken.rev().copied().try_for_each(&mut show)?,
                }
                let kept = if end == End::Front { count } else { 0 };
                pack.keep(kept, length - count)?;
            }
            ListPlace::Rows(window) => self.pop_rows(window, end, count, &mut show)?,
        }
        self.encode_loss(&mut opened.list)?;
        let is_gone = self.close_list(opened)?;
        Ok(Lookup::Found(Removed { count, is_gone }))
    }

    /// Takes the item at an end to an end, and shows it.
    pub fn list_rotate(&mut self, key: &[u8], from: End, to: End) -> Result<Lookup<Vec<u8>>> {
        let mut opened = match self.open_list_there(key)? {
            Lookup::Found(opened) => opened,
            other => return Ok(other.map(|_| Vec::new())),
        };
        self.begin_list_change(key)?;
        if from == to || opened.list.length() == 1 {
            return Ok(Lookup::Found(self.item_at_end(&opened.list.place, from)?));
        }
        let value = self.take_item(&mut opened.list.place, from)?;
        opened.list.encode_growth(value.len() as u64, 1, self.thresholds.list_max_listpack_size)?;
        self.push_item(&mut opened.list.place, to, &value, None)?;
        self.encode_loss(&mut opened.list)?;
        self.close_list(opened)?;
        Ok(Lookup::Found(value))
    }

    /// Takes the item at an end of a list to an end of another. The kind of the other matters only where the first is there.
    pub fn list_move(&mut self, (source, from): (&[u8], End), (target, to): (&[u8], End)) -> Result<Lookup<Moved>> {
        let nothing = |_| Moved { item: Vec::new(), is_gone: false, is_new: false };
        let (mut opened, mut other) = match self.open_list_there(source)? {
            Lookup::Found(opened) => match self.open_list(target)? {
                Lookup::Found(other) => (opened, other),
                none => return Ok(none.map(nothing)),
            },
            none => return Ok(none.map(nothing)),
        };
        self.begin_list_change(source)?;
        self.begin_list_change(target)?;
        let item = self.take_item(&mut opened.list.place, from)?;
        self.encode_loss(&mut opened.list)?;
        let is_gone = self.close_list(opened)?;
        other.list.encode_growth(item.len() as u64, 1, self.thresholds.list_max_listpack_size)?;
        self.push_item(&mut other.list.place, to, &item, None)?;
        let is_new = other.is_new;
        self.close_list(other)?;
        Ok(Lookup::Found(Moved { item, is_gone, is_new }))
    }

    /// The item at an end, which stays.
    fn item_at_end(&self, place: &ListPlace, end: End) -> Result<Vec<u8>> {
        match place {
            ListPlace::Packed(pack) => packed_item(pack, end),
            ListPlace::Rows(window) => self.first_value(&self.items_at(window, end, 1)?),
        }
    }

    /// Takes out the item at an end.
    fn take_item(&mut self, place: &mut ListPlace, from: End) -> Result<Vec<u8>> {
        match place {
            ListPlace::Packed(pack) => {
                let item = packed_item(pack, from)?;
                pack.keep(u64::from(from == End::Front), pack.count() - 1)?;
                Ok(item)
            }
            ListPlace::Rows(window) => {
                let items = self.items_at(window, from, 1)?;
                let item = self.first_value(&items)?;
                match window.length {
                    // Its id is given up.
                    1 => window.length = 0,
                    _ => self.drop_items(window, from, &items)?,
                }
                Ok(item)
            }
        }
    }

    fn first_value(&self, items: &[Item]) -> Result<Vec<u8>> {
        Ok(self.item_value(items.first().ok_or_else(lacks_items)?, u64::MAX)?.into_owned())
    }

    fn pop_rows<E: From<StorageError>>(
        &mut self,
        window: &mut Window,
        end: End,
        count: u64,
        show: &mut dyn FnMut(&[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        // Of all the id is given up, and nothing else need be written.
        let is_all = count == window.length;
        let mut done = 0;
        while done < count {
            let portion = (count - done).min(PORTION_ITEMS);
            let mut items = match (is_all, end) {
                (true, End::Front) => self.items_from(window, done, portion)?,
                (true, End::Back) => self.items_from(window, count - done - portion, portion)?,
                (false, _) => self.items_at(window, end, portion)?,
            };
            if is_all && end == End::Back {
                items.reverse();
            }
            for item in &items {
                show(&self.item_value(item, u64::MAX)?)?;
            }
            if !is_all {
                self.drop_items(window, end, &items)?;
            }
            done += portion;
        }
        if is_all {
            window.length = 0;
        }
        Ok(())
    }

    /// Removes items at an end, from that end inward, which are not all.
    pub(super) fn drop_items(&mut self, window: &mut Window, end: End, items: &[Item]) -> Result<()> {
        let Some(last) = items.last() else { return Ok(()) };
        let count = items.len() as u64;
        let next = match (window.is_counted, end) {
            (true, End::Front) => self.position_behind(window, last.position)?,
            (true, End::Back) => Some(self.position_of(window, window.length - count - 1)?),
            (false, End::Front) => Some(last.position + self.layout.list.stride()),
            (false, End::Back) => Some(last.position - self.layout.list.stride()),
        };
        let next = next.ok_or_else(lacks_items)?;
        for item in items {
            self.delete_element(row_key(window.id, item.position), item.apart)?;
            window.bytes = window.bytes.map(|bytes| bytes.saturating_sub(item.listpack_bytes()));
        }
        if window.is_counted {
            let mut changes = CountChanges::default();
            items.iter().for_each(|item| self.count_item(&mut changes, item.position, -1));
            match end {
                End::Front => self.count_positions(&mut changes, window.head, next, 1),
                End::Back => self.count_positions(&mut changes, next + 1, window.tail + 1, 1),
            }
            self.write_counts(window.id, changes)?;
        }
        window.length -= count;
        window.set_edge(end, next);
        Ok(())
    }

    /// Items have gone: what is left may be small enough for a listpack again.
    pub(super) fn encode_loss(&mut self, list: &mut ListForm) -> Result<()> {
        self.encode_within(list, NodeLimit::of(self.thresholds.list_max_listpack_size).half())
    }

    /// A quicklist becomes a listpack if it is within the limit.
    pub(super) fn encode_within(&mut self, list: &mut ListForm, limit: NodeLimit) -> Result<()> {
        if list.encoding != Encoding::Quicklist || list.length() == 0 {
            return Ok(());
        }
        let (bytes, length) = match &mut list.place {
            ListPlace::Packed(pack) => (Some(pack.listpack_bytes()?), pack.count()),
            ListPlace::Rows(window) => {
                let bytes = self.count_bytes(window, limit.elements_max())?;
                (bytes.map(|bytes| bytes + LISTPACK_BYTES), window.length)
            }
        };
        if bytes.is_some_and(|bytes| !limit.exceeds(bytes, length)) {
            list.set_encoding(Encoding::Listpack);
        }
        Ok(())
    }
}

fn packed_item(pack: &ListPack, end: End) -> Result<Vec<u8>> {
    let last = pack.count().checked_sub(1).ok_or_else(lacks_items)?;
    let index = if end == End::Front { 0 } else { last };
    Ok(pack.items().nth(index as usize).ok_or_else(lacks_items)??.to_vec())
}
