//! The elements of a collection while it is changed: packed as long as they are few, then a row for each and never packed again. Here it
//! is also settled what OBJECT ENCODING says, by the thresholds of Redis 7.2.

use super::changes::{Change, Expiry};
use super::element_rows::Rows;
use super::keyspace::{Keyspace, Lookup, Store};
use super::packed::{Encoding, Pack, damaged, integer};
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{Apart, Head, KeyRow, Kind, Origin, Part, Row, RowKey};

/// Redis' settings of these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    pub hash_max_listpack_entries: u64,
    pub hash_max_listpack_value: u64,
    pub set_max_intset_entries: u64,
    pub set_max_listpack_entries: u64,
    pub set_max_listpack_value: u64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            hash_max_listpack_entries: 128,
            hash_max_listpack_value: 64,
            set_max_intset_entries: 512,
            set_max_listpack_entries: 128,
            set_max_listpack_value: 64,
        }
    }
}

/// A key's collection, opened for changes. What is packed is changed here, rows in the batch; the key's row is written at the end.
pub(super) struct Opened<'k> {
    name: RowKey<'k>,
    /// The row that the key has, alive or not.
    old: Option<Head>,
    pub(super) is_new: bool,
    pub(super) contents: Contents<'k>,
}

/// Elements under change.
#[derive(Debug)]
pub(super) struct Contents<'k> {
    pub(super) kind: Kind,
    encoding: Encoding,
    form: Form,
    /// The key whose change is still to be announced.
    unmarked: Option<&'k [u8]>,
    is_changed: bool,
    /// So many elements may come: a set's first encoding follows from it.
    expected: u64,
}

#[derive(Debug)]
enum Form {
    Packed(Pack),
    Rows { rows: Rows, length: u64, is_ahead: bool },
}

/// What lies where an element is looked for.
enum Found {
    Nothing,
    Packed(super::packed::Span),
    Row(Option<Apart>),
}

/// A new collection on its way to a key: elements are added, then the whole takes the place of what the key holds.
#[derive(Debug)]
pub struct Building {
    contents: Contents<'static>,
    bytes: usize,
}

/// What an adding call did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// Elements that were not there.
    pub count: u64,
    /// The key was not there.
    pub is_new: bool,
}

/// What a removing call did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    pub count: u64,
    /// The last element went, and the key with it.
    pub is_gone: bool,
}

impl<'k> Contents<'k> {
    fn empty(kind: Kind, unmarked: Option<&'k [u8]>) -> Self {
        let encoding = Encoding::Listpack;
        let form = Form::Packed(Pack::empty(kind, encoding));
        Self { kind, encoding, form, unmarked, is_changed: false, expected: 1 }
    }

    pub(super) fn count(&self) -> u64 {
        match &self.form {
            Form::Packed(pack) => pack.count(),
            Form::Rows { length, .. } => *length,
        }
    }

    /// A call is about to add so many elements, repeated ones included.
    pub(super) fn expect(&mut self, count: u64, thresholds: &Thresholds) {
        self.expected = count;
        if self.count() > 0 || self.kind == Kind::Hash {
            let entries_max = match (self.kind, self.encoding) {
                (Kind::Hash, _) => thresholds.hash_max_listpack_entries,
                (_, Encoding::Intset) => thresholds.set_max_intset_entries,
                _ => thresholds.set_max_listpack_entries,
            };
            if count > entries_max {
                self.set_encoding(Encoding::Hashtable);
            }
        }
    }

    /// An element comes that is new, or gets this value.
    fn encode(&mut self, name: &[u8], value: &[u8], is_new: bool, thresholds: &Thresholds) -> Result<()> {
        if self.encoding == Encoding::Hashtable {
            return Ok(());
        }
        let (count, bytes) = (self.count(), name.len().max(value.len()) as u64);
        let encoding = match (self.kind, self.encoding) {
            (Kind::Hash, _) => {
                let is_small = bytes <= thresholds.hash_max_listpack_value
                    && count + u64::from(is_new) <= thresholds.hash_max_listpack_entries;
                if is_small { Encoding::Listpack } else { Encoding::Hashtable }
            }
            _ if count == 0 => self.first_encoding(name, thresholds),
            (_, encoding) => encoding,
        };
        let encoding = match (self.kind, encoding) {
            (Kind::Hash, _) | (_, Encoding::Hashtable) => encoding,
            (_, Encoding::Intset) if integer(name).is_some() && count < thresholds.set_max_intset_entries => encoding,
            (_, Encoding::Intset) if integer(name).is_some() => Encoding::Hashtable,
            (_, encoding) => {
                let longest = if encoding == Encoding::Intset { bytes.max(self.longest_integer()?) } else { bytes };
                let is_small =
                    longest <= thresholds.set_max_listpack_value && count < thresholds.set_max_listpack_entries;
                if is_small { Encoding::Listpack } else { Encoding::Hashtable }
            }
        };
        self.set_encoding(encoding);
        Ok(())
    }

    fn first_encoding(&self, name: &[u8], thresholds: &Thresholds) -> Encoding {
        if integer(name).is_some() && self.expected <= thresholds.set_max_intset_entries {
            Encoding::Intset
        } else if self.expected <= thresholds.set_max_listpack_entries {
            Encoding::Listpack
        } else {
            Encoding::Hashtable
        }
    }

    /// Bytes of the longest integer of a set of them.
    fn longest_integer(&self) -> Result<u64> {
        let Form::Packed(pack) = &self.form else { return Ok(0) };
        pack.packed().elements().try_fold(0, |longest, element| Ok(longest.max(element?.0.len() as u64)))
    }

    fn set_encoding(&mut self, encoding: Encoding) {
        self.encoding = encoding;
        if let Form::Packed(pack) = &mut self.form {
            pack.set_encoding(encoding);
        }
    }
}

impl<S: Store> Keyspace<S> {
    /// A key for changes of its elements. One that is absent, or whose time has passed, begins empty.
    pub(super) fn open<'k>(&self, kind: Kind, key: &'k [u8]) -> Result<Lookup<Opened<'k>>> {
        self.store.check_writing()?;
        let name = self.name(self.selected, key)?;
        let found = self.view().row(name, Part::Whole, |row| {
            let row = row.of_key();
            let is_wanted = row.head.kind == kind && self.is_live(&row.head);
            (row.head, row.value.filter(|_| is_wanted).map(<[u8]>::to_vec))
        })?;
        let (old, value) = found.map_or((None, None), |(head, value)| (Some(head), value));
        let live = old.filter(|head| self.is_live(head));
        let contents = match live {
            None => Contents::empty(kind, Some(key)),
            Some(head) if head.kind != kind => return Ok(Lookup::OtherKind(head.kind)),
            Some(head) => {
                let value = value.ok_or_else(damaged)?;
                let encoding = Encoding::of(&value)?;
                let form = match head.id {
                    None => Form::Packed(Pack::of(kind, value, head.length)),
                    Some(id) => {
                        let rows = Rows::of(kind, id).ok_or_else(damaged)?;
                        Form::Rows { rows, length: head.length, is_ahead: false }
                    }
                };
                Contents { kind, encoding, form, unmarked: Some(key), is_changed: false, expected: 1 }
            }
        };
        Ok(Lookup::Found(Opened { name, old, is_new: live.is_none(), contents }))
    }

    /// Writes the key's row after changes, keeping the time when it ends. True when nothing is left, and the key is gone.
    pub(super) fn close(&mut self, opened: Opened<'_>) -> Result<bool> {
        let Opened { name, old, is_new, contents } = opened;
        if !contents.is_changed {
            return Ok(false);
        }
        let is_gone = contents.count() == 0;
        let expires_at_ms = old.filter(|_| !is_new).and_then(|old| old.expires_at_ms);
        self.put_contents(name, old, contents, expires_at_ms)?;
        Ok(is_gone)
    }

    /// `old` is the row that the key has; what it holds is given up, unless it is this.
    fn put_contents(
        &mut self,
        name: RowKey<'_>,
        old: Option<Head>,
        contents: Contents<'_>,
        expires_at_ms: Option<i64>,
    ) -> Result<()> {
        let (count, kind, origin) = (contents.count(), contents.kind, Origin::of(old.as_ref()));
        let id = match &contents.form {
            Form::Rows { rows, .. } if count > 0 => Some(rows.id),
            _ => None,
        };
        self.give_up_value(old.and_then(|old| old.id).filter(|old| Some(*old) != id))?;
        if count == 0 {
            return self.batch.delete(name, origin);
        }
        let head = Head { kind, id, expires_at_ms, length: count };
        let letter = [contents.encoding.letter()];
        let value = match &contents.form {
            Form::Packed(pack) => pack.bytes(),
            Form::Rows { .. } => &letter,
        };
        self.batch.put(name, Row::Key(KeyRow { head, value: Some(value) }), origin)
    }

    /// The value of an element.
    pub(super) fn show_value<R>(
        &self,
        contents: &Contents<'_>,
        name: &[u8],
        show: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>> {
        match &contents.form {
            Form::Packed(pack) => Ok(pack.find(name)?.map(|span| show(pack.value(&span)))),
            Form::Rows { rows, .. } => self.element_value(rows.row(&self.home(name)), show),
        }
    }

    /// Gives an element this value. False when it was there; where `may_replace` is false it is left as it was.
    pub(super) fn set_element(
        &mut self,
        contents: &mut Contents<'_>,
        name: &[u8],
        value: &[u8],
        may_replace: bool,
    ) -> Result<bool> {
        if name.len() as u64 + value.len() as u64 > self.value_bytes_max() {
            return Err(StorageError::TooLarge);
        }
        let found = self.find_in(contents, name)?;
        let is_new = matches!(found, Found::Nothing);
        if !is_new && !may_replace {
            return Ok(false);
        }
        self.begin_change(contents)?;
        contents.encode(name, value, is_new, &self.thresholds)?;
        if let Form::Packed(pack) = &mut contents.form {
            let bytes = match &found {
                Found::Packed(span) => pack.bytes().len() - pack.value(span).len() + value.len() + 1,
                _ => pack.bytes().len() + pack.growth(name, value),
            };
            let fits = bytes <= self.layout.packed_bytes_max;
            match &found {
                Found::Packed(span) if fits => {
                    pack.replace(span, value);
                    return Ok(false);
                }
                Found::Nothing if fits && pack.count() < self.layout.packed_elements_max => {
                    pack.add(name, value)?;
                    return Ok(true);
                }
                _ => self.unpack(contents)?,
            }
        }
        self.set_row(contents, name, value, found)
    }

    /// Removes an element. False when it was not there.
    pub(super) fn remove_element(&mut self, contents: &mut Contents<'_>, name: &[u8]) -> Result<bool> {
        let found = self.find_in(contents, name)?;
        if matches!(found, Found::Nothing) {
            return Ok(false);
        }
        self.begin_change(contents)?;
        match (&mut contents.form, found) {
            (Form::Packed(pack), Found::Packed(span)) => pack.remove(&span),
            (Form::Rows { rows, length, .. }, Found::Row(apart)) => {
                let home = self.home(name);
                *length = length.checked_sub(1).ok_or_else(damaged)?;
                self.delete_element(rows.row(&home), apart)?;
            }
            _ => {}
        }
        Ok(true)
    }

    fn find_in(&self, contents: &Contents<'_>, name: &[u8]) -> Result<Found> {
        Ok(match &contents.form {
            Form::Packed(pack) => pack.find(name)?.map_or(Found::Nothing, Found::Packed),
            Form::Rows { rows, .. } => self.element_row(rows.row(&self.home(name)))?.map_or(Found::Nothing, Found::Row),
        })
    }

    fn begin_change(&mut self, contents: &mut Contents<'_>) -> Result<()> {
        contents.is_changed = true;
        match contents.unmarked.take() {
            Some(key) => self.mark(Change::Key { database: self.selected, key }),
            None => Ok(()),
        }
    }

    fn set_row(&mut self, contents: &mut Contents<'_>, name: &[u8], value: &[u8], found: Found) -> Result<bool> {
        let Form::Rows { rows, length, is_ahead } = &mut contents.form else { return Err(damaged()) };
        let (home, is_new) = (self.home(name), matches!(found, Found::Nothing));
        let apart = match found {
            Found::Row(apart) => apart,
            // Just unpacked: its row may have been written with something apart.
            Found::Packed(_) => self.element_row(rows.row(&home))?.flatten(),
            Found::Nothing => None,
        };
        *length += u64::from(is_new);
        self.put_element(*rows, &home, (name, value), apart, *is_ahead)?;
        Ok(is_new)
    }

    /// From here on there is a row for each element.
    fn unpack(&mut self, contents: &mut Contents<'_>) -> Result<()> {
        let rows = Rows::of(contents.kind, self.fresh_id()?).ok_or_else(damaged)?;
        let Form::Packed(pack) = &contents.form else { return Ok(()) };
        for element in pack.packed().elements() {
            let (name, value) = element?;
            self.put_element(rows, &self.home(name), (name, value), None, false)?;
        }
        contents.form = Form::Rows { rows, length: pack.count(), is_ahead: false };
        Ok(())
    }

    /// A new collection, for `add_to` and `put_built`. An undone call takes with it what was built.
    pub fn build(&self, kind: Kind) -> Building {
        Building { contents: Contents::empty(kind, None), bytes: 0 }
    }

    /// The same of a set, where it is known that so many members may come.
    pub fn build_set(&self, members_max: u64) -> Building {
        let mut building = self.build(Kind::Set);
        building.contents.expected = members_max;
        building
    }

    /// Adds an element, which has no value in a set. False when it was there, and stays as it is. However many come, memory is bounded.
    pub fn add_to(&mut self, building: &mut Building, name: &[u8], value: &[u8]) -> Result<bool> {
        building.bytes += name.len() + value.len() + ROW_BYTES;
        if building.bytes >= self.layout.ahead_bytes_min
            && let Form::Rows { rows, is_ahead: is_ahead @ false, .. } = &mut building.contents.form
        {
            *is_ahead = true;
            self.write_ahead_under(rows.id);
        }
        self.set_element(&mut building.contents, name, value, false)
    }

    /// Gives the key what was built, whatever it held; if that is empty, the key goes. Returns how many elements it has.
    pub fn put_built(&mut self, key: &[u8], building: Building, expiry: Expiry) -> Result<u64> {
        let (count, name) = (building.contents.count(), self.name(self.selected, key)?);
        if count == 0 || matches!(expiry, Expiry::At(at) if at <= self.now_ms) {
            if let Form::Rows { rows, .. } = building.contents.form {
                self.give_up_value(Some(rows.id))?;
            }
            self.delete(key)?;
            return Ok(count);
        }
        let old = self.view().head(name)?;
        self.mark(Change::Key { database: self.selected, key })?;
        let expires_at_ms = match expiry {
            Expiry::Clear => None,
            Expiry::Keep => old.filter(|old| self.is_live(old)).and_then(|old| old.expires_at_ms),
            Expiry::At(at) => Some(at),
        };
        self.put_contents(name, old, building.contents, expires_at_ms)?;
        Ok(count)
    }
}

/// What an element's row takes in the batch, about.
const ROW_BYTES: usize = 100;
