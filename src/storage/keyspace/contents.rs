//! The elements of a collection while it is changed: packed as long as they are few, then a row for each and never packed again. Here it
//! is also settled what OBJECT ENCODING says, by the thresholds of Redis 7.2.

use super::changes::{Change, Expiry};
use super::element_rows::Rows;
use super::keyspace::{Keyspace, Lookup, Store};
use super::packed::{Encoding, Pack, damaged, integer};
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{Apart, Batch, Head, KeyRow, Kind, Origin, Part, Row, RowKey};

/// Redis' settings of these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    pub hash_max_listpack_entries: u64,
    pub hash_max_listpack_value: u64,
    pub set_max_intset_entries: u64,
    pub set_max_listpack_entries: u64,
    pub set_max_listpack_value: u64,
    /// Elements of a list, or, below 0, one of five numbers of bytes.
    pub list_max_listpack_size: i64,
    pub zset_max_listpack_entries: u64,
    pub zset_max_listpack_value: u64,
    /// Of a node of a stream; 0: without a limit.
    pub stream_node_max_bytes: u64,
    pub stream_node_max_entries: u64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            hash_max_listpack_entries: 512,
            hash_max_listpack_value: 64,
            set_max_intset_entries: 512,
            set_max_listpack_entries: 128,
            set_max_listpack_value: 64,
            list_max_listpack_size: -2,
            zset_max_listpack_entries: 128,
            zset_max_listpack_value: 64,
            stream_node_max_bytes: 4096,
            stream_node_max_entries: 100,
        }
    }
}

/// A key's collection, opened for changes. What is packed is changed here, rows in the batch; the key's row is written at the end.
pub(super) struct Opened<'k> {
    name: RowKey<'k>,
    /// The row that the key has, alive or not.
    old: Option<Head>,
    pub(super) is_new: bool,
    /// What the key's row says of elements that have rows.
    before: Option<(i64, u64, Encoding)>,
    pub(super) contents: Contents<'k>,
}

/// Elements under change.
#[derive(Debug)]
pub(super) struct Contents<'k> {
    pub(super) kind: Kind,
    encoding: Encoding,
    pub(super) form: Form,
    /// The key whose change is still to be announced.
    unmarked: Option<&'k [u8]>,
    is_changed: bool,
    /// So many elements may come: a set's first encoding follows from it.
    expected: u64,
    /// It is on its way to a key. Rows of a sorted set are counted when all are there.
    pub(super) is_built: bool,
}

#[derive(Debug)]
pub(super) enum Form {
    Packed(Pack),
    /// `ahead`: rows that go ahead of the group's batch, a lot at a time and sorted: one by one they would touch a page each.
    Rows {
        rows: Rows,
        length: u64,
        ahead: Option<Box<Batch>>,
    },
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
    pub(super) contents: Contents<'static>,
    bytes: usize,
    /// Some members of a sorted set are so long that those which begin alike are put in their order when all are there.
    pub(super) has_long_members: bool,
    /// Some members of a sorted set have the score -0, which a listpack does not keep.
    pub(super) has_minus_zero: bool,
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
        Self { kind, encoding, form, unmarked, is_changed: false, expected: 1, is_built: false }
    }

    pub(super) fn count(&self) -> u64 {
        match &self.form {
            Form::Packed(pack) => pack.count(),
            Form::Rows { length, .. } => *length,
        }
    }

    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// A score as it is kept: a listpack of Redis has no -0.
    pub(super) fn kept_score(&self, score: f64) -> f64 {
        if self.encoding == Encoding::Listpack { score + 0.0 } else { score }
    }

    /// What a key's row says of rows of elements.
    fn rows_said(&self) -> Option<(i64, u64, Encoding)> {
        match &self.form {
            Form::Packed(_) => None,
            Form::Rows { rows, length, .. } => Some((rows.id, *length, self.encoding)),
        }
    }

    /// A call is about to add so many elements, repeated ones included.
    pub(super) fn expect(&mut self, count: u64, thresholds: &Thresholds) {
        self.expected = count;
        if self.count() > 0 || self.kind != Kind::Set {
            let entries_max = match (self.kind, self.encoding) {
                (Kind::Hash, _) => thresholds.hash_max_listpack_entries,
                (Kind::SortedSet, _) => thresholds.zset_max_listpack_entries,
                (_, Encoding::Intset) => thresholds.set_max_intset_entries,
                _ => thresholds.set_max_listpack_entries,
            };
            if count > entries_max {
                self.set_encoding(if self.kind == Kind::SortedSet { Encoding::Skiplist } else { Encoding::Hashtable });
            }
        }
    }

    /// An element comes that is new, or gets this value.
    pub(super) fn encode(&mut self, name: &[u8], value: &[u8], is_new: bool, thresholds: &Thresholds) -> Result<()> {
        if matches!(self.encoding, Encoding::Hashtable | Encoding::Skiplist) {
            return Ok(());
        }
        let (count, bytes) = (self.count(), name.len().max(value.len()) as u64);
        if self.kind == Kind::SortedSet {
            let is_small = bytes <= thresholds.zset_max_listpack_value
                && count + u64::from(is_new) <= thresholds.zset_max_listpack_entries;
            self.set_encoding(if is_small { Encoding::Listpack } else { Encoding::Skiplist });
            return Ok(());
        }
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
                        Form::Rows { rows, length: head.length, ahead: None }
                    }
                };
                Contents { kind, encoding, form, unmarked: Some(key), is_changed: false, expected: 1, is_built: false }
            }
        };
        Ok(Lookup::Found(Opened { name, old, is_new: live.is_none(), before: contents.rows_said(), contents }))
    }

    /// The same for who changes only what is there.
    pub(super) fn open_there<'k>(&self, kind: Kind, key: &'k [u8]) -> Result<Lookup<Opened<'k>>> {
        Ok(match self.open(kind, key)? {
            Lookup::Found(opened) if opened.is_new => Lookup::Absent,
            other => other,
        })
    }

    /// Takes out all elements: the key is gone.
    pub(super) fn close_without_any(&mut self, mut opened: Opened<'_>) -> Result<()> {
        self.begin_change(&mut opened.contents)?;
        opened.contents.form = Form::Packed(Pack::empty(opened.contents.kind, opened.contents.encoding));
        self.close(opened).map(drop)
    }

    /// Writes the key's row after changes, keeping the time when it ends. True when nothing is left, and the key is gone.
    pub(super) fn close(&mut self, opened: Opened<'_>) -> Result<bool> {
        let Opened { name, old, is_new, before, contents } = opened;
        // A value alone is the affair of its element's row.
        if !contents.is_changed || (before.is_some() && contents.rows_said() == before) {
            return Ok(false);
        }
        let is_gone = contents.count() == 0;
        let expires_at_ms = old.filter(|_| !is_new).and_then(|old| old.expires_at_ms);
        self.put_contents(name, old, &contents, expires_at_ms)?;
        Ok(is_gone)
    }

    /// `old` is the row that the key has; what it holds is given up, unless it is this.
    fn put_contents(
        &mut self,
        name: RowKey<'_>,
        old: Option<Head>,
        contents: &Contents<'_>,
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
            Form::Rows { rows, .. } => self.element_value(rows.row(&self.home(name)), u64::MAX, show),
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
        if !matches!(found, Found::Nothing) && !may_replace {
            return Ok(false);
        }
        self.set_found(contents, name, value, &found)
    }

    /// The same once it was looked for.
    fn set_found(&mut self, contents: &mut Contents<'_>, name: &[u8], value: &[u8], found: &Found) -> Result<bool> {
        let is_new = matches!(found, Found::Nothing);
        self.begin_change(contents)?;
        contents.encode(name, value, is_new, &self.thresholds)?;
        if let Form::Packed(pack) = &mut contents.form {
            let bytes = match found {
                Found::Packed(span) => pack.bytes().len() - pack.value(span).len() + value.len() + 1,
                _ => pack.bytes().len() + pack.growth(name, value),
            };
            let fits = bytes <= self.layout.packed_bytes_max;
            match found {
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
        let (rows, ahead) = match &contents.form {
            Form::Packed(pack) => return Ok(pack.find(name)?.map_or(Found::Nothing, Found::Packed)),
            Form::Rows { rows, ahead, .. } => (rows, ahead),
        };
        let home = self.home(name);
        let apart = match ahead.as_ref().and_then(|ahead| ahead.find(rows.row(&home))).flatten() {
            Some(row) => Some(row.of_element().apart),
            // What is not in memory went ahead, where it can't be twice.
            None if contents.is_built && self.store.refuses_twice() => {
                self.batch.find(rows.row(&home)).flatten().map(|row| row.of_element().apart)
            }
            None => self.element_row(rows.row(&home))?,
        };
        Ok(apart.map_or(Found::Nothing, Found::Row))
    }

    pub(super) fn begin_change(&mut self, contents: &mut Contents<'_>) -> Result<()> {
        contents.is_changed = true;
        match contents.unmarked.take() {
            Some(key) => self.mark(Change::Key { database: self.selected, key }),
            None => Ok(()),
        }
    }

    /// Whether an element is there.
    pub(super) fn is_in(&self, contents: &Contents<'_>, name: &[u8]) -> Result<bool> {
        Ok(!matches!(self.find_in(contents, name)?, Found::Nothing))
    }

    fn set_row(&mut self, contents: &mut Contents<'_>, name: &[u8], value: &[u8], found: &Found) -> Result<bool> {
        let Form::Rows { rows, length, ahead } = &mut contents.form else { return Err(damaged()) };
        let (home, is_new) = (self.home(name), matches!(found, Found::Nothing));
        let apart = match found {
            Found::Row(apart) => *apart,
            // Just unpacked: its row may have been written with something apart.
            Found::Packed(_) => self.element_row(rows.row(&home))?.flatten(),
            Found::Nothing => None,
        };
        *length += u64::from(is_new);
        self.put_element(*rows, &home, (name, value), apart, ahead.as_deref_mut())?;
        Ok(is_new)
    }

    /// From here on there is a row for each element.
    fn unpack(&mut self, contents: &mut Contents<'_>) -> Result<()> {
        let rows = Rows::of(contents.kind, self.fresh_id()?).ok_or_else(damaged)?;
        let Form::Packed(pack) = &contents.form else { return Ok(()) };
        for element in pack.packed().elements() {
            let (name, value) = element?;
            self.put_element(rows, &self.home(name), (name, value), None, None)?;
        }
        contents.form = Form::Rows { rows, length: pack.count(), ahead: None };
        Ok(())
    }

    /// A new collection, for `add_to` and `put_built`. An undone call takes with it what was built.
    pub fn build(&self, kind: Kind) -> Building {
        let contents = Contents { is_built: true, ..Contents::empty(kind, None) };
        Building { contents, bytes: 0, has_long_members: false, has_minus_zero: false }
    }

    /// The same of a set, where it is known that so many members may come.
    pub fn build_set(&self, members_max: u64) -> Building {
        let mut building = self.build(Kind::Set);
        building.contents.expected = members_max;
        building
    }

    /// Adds an element, which has no value in a set. False when it was there, and stays as it is. However many come, memory is bounded.
    ///
    /// # Errors
    /// `Corrupt`, of this element or a later one, where the store refuses one that it has.
    pub fn add_to(&mut self, building: &mut Building, name: &[u8], value: &[u8]) -> Result<bool> {
        self.begin_adding(building, name.len() + value.len())?;
        self.set_element(&mut building.contents, name, value, false)
    }

    /// Adds an element that is not there, as the caller knows: nobody looks.
    pub fn add_new_to(&mut self, building: &mut Building, name: &[u8], value: &[u8]) -> Result<()> {
        self.begin_adding(building, name.len() + value.len())?;
        self.set_found(&mut building.contents, name, value, &Found::Nothing).map(drop)
    }

    /// An element of so many bytes comes: from many on, rows do not wait in the batch.
    pub(super) fn begin_adding(&mut self, building: &mut Building, bytes: usize) -> Result<()> {
        building.bytes += bytes + ROW_BYTES;
        let Form::Rows { rows, ahead, .. } = &mut building.contents.form else { return Ok(()) };
        match ahead {
            Some(ahead) if ahead.bytes() >= self.layout.ahead_bytes_min * SORTED_SHARE => self.write_out(ahead),
            None if self.goes_ahead(building.bytes) => {
                *ahead = Some(Box::default());
                self.write_ahead_under(rows.id);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether the rows of a value of so many bytes do not wait in the batch. What is prepared beside the writer is to be small there.
    pub(super) fn goes_ahead(&self, bytes: usize) -> bool {
        self.store.is_preparing() || bytes >= self.layout.ahead_bytes_min
    }

    pub(super) fn write_out(&mut self, ahead: &mut Batch) -> Result<()> {
        self.store.write_elements_ahead(ahead)
    }

    /// Gives the key what was built, whatever it held; if that is empty, the key goes. Returns how many elements it has.
    pub fn put_built(&mut self, key: &[u8], mut building: Building, expiry: Expiry) -> Result<u64> {
        let contents = &mut building.contents;
        let (count, id) = (contents.count(), contents.rows_said().map(|(id, ..)| id));
        let mut is_ahead = false;
        if let Form::Rows { ahead: Some(ahead), .. } = &mut contents.form {
            // Before it may be given up: who sweeps it finds what lies apart of its rows by these.
            self.write_out(ahead)?;
            is_ahead = true;
        }
        let Some(replaced) = self.begin_replacing(key, count, id, expiry)? else { return Ok(count) };
        if contents.kind == Kind::SortedSet {
            self.finish_sorted(&mut building, is_ahead)?;
        }
        self.put_contents(replaced.name, replaced.old, &building.contents, replaced.expires_at_ms)?;
        Ok(count)
    }
}

impl Building {
    /// Nothing was added so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.contents.count() == 0
    }

    /// It says at least this with OBJECT ENCODING.
    pub(super) fn set_encoding(&mut self, encoding: Encoding) {
        self.contents.set_encoding(encoding);
    }
}

/// What an element's row takes in the batch, about.
pub(super) const ROW_BYTES: usize = 100;
/// Rows that go ahead are sorted, this many times as many bytes at once as make a value go ahead.
const SORTED_SHARE: usize = 16;

#[cfg(test)]
mod tests {
    use super::Thresholds;
    use crate::storage::fixture::{Fixture, NOW_MS};
    use crate::storage::{Encoding, Expiry, Keyspace, Kind, Lookup};

    fn encoding(keyspace: &Keyspace, key: &[u8]) -> (Encoding, bool) {
        let elements = keyspace.collection(key).unwrap().unwrap();
        (elements.encoding(), elements.is_packed())
    }

    fn add(keyspace: &mut Keyspace, key: &[u8], members: impl IntoIterator<Item = String>) {
        for member in members {
            keyspace.set_add(key, &[member.as_bytes()]).unwrap();
        }
    }

    #[test]
    fn the_encoding_of_a_hash_grows_as_in_redis_and_stays() {
        let mut fixture = Fixture::new();
        fixture.write(|keyspace| {
            let (short, long) = ([b'x'; 64], [b'x'; 65]);
            keyspace.hash_set(b"value", &[b"f", &short]).unwrap();
            assert_eq!(encoding(keyspace, b"value"), (Encoding::Listpack, true));
            keyspace.hash_set(b"value", &[b"f", &long]).unwrap();
            assert_eq!(encoding(keyspace, b"value"), (Encoding::Hashtable, true));
            keyspace.hash_set(b"value", &[b"f", b"short"]).unwrap();
            assert_eq!(encoding(keyspace, b"value"), (Encoding::Hashtable, true));
            keyspace.hash_set(b"field", &[&long, b"v"]).unwrap();
            assert_eq!(encoding(keyspace, b"field"), (Encoding::Hashtable, true));
            keyspace.set_thresholds(Thresholds { hash_max_listpack_entries: 128, ..Thresholds::default() });
            for n in 0..128u8 {
                keyspace.hash_set(b"many", &[&[n], b"v"]).unwrap();
            }
            assert_eq!(encoding(keyspace, b"many"), (Encoding::Listpack, true));
            keyspace.hash_set(b"many", &[b"one more", b"v"]).unwrap();
            assert_eq!(encoding(keyspace, b"many"), (Encoding::Hashtable, false));
            keyspace.set_thresholds(Thresholds { hash_max_listpack_entries: 2, ..Thresholds::default() });
            keyspace.hash_set(b"three", &[b"a", b"1", b"b", b"2", b"c", b"3"]).unwrap();
            assert_eq!(encoding(keyspace, b"three"), (Encoding::Hashtable, true));
            keyspace.set_thresholds(Thresholds::default());
            // Bytes alone: packed no more, and a listpack still.
            for n in 0..30u8 {
                keyspace.hash_set(b"bytes", &[&[n], &short]).unwrap();
            }
            assert_eq!(encoding(keyspace, b"bytes"), (Encoding::Listpack, false));
        });
    }

    #[test]
    fn the_encoding_of_a_set_grows_as_in_redis_and_stays() {
        let mut fixture = Fixture::new();
        fixture.write(|keyspace| {
            add(keyspace, b"numbers", (0..512).map(|n| n.to_string()));
            assert_eq!(encoding(keyspace, b"numbers"), (Encoding::Intset, false));
            let Lookup::Found(numbers) = keyspace.set(b"numbers").unwrap() else { panic!("no set") };
            let mut shown = Vec::new();
            numbers
                .each_name::<crate::storage::StorageError>(|name| {
                    shown.push(std::str::from_utf8(name).unwrap().parse::<i64>().unwrap());
                    Ok(())
                })
                .unwrap();
            assert!(shown.iter().copied().eq(0..512));
            add(keyspace, b"numbers", ["512".into()]);
            assert_eq!(encoding(keyspace, b"numbers"), (Encoding::Hashtable, false));
            add(keyspace, b"mixed", ["1".into(), "2".into()]);
            assert_eq!(encoding(keyspace, b"mixed"), (Encoding::Intset, true));
            add(keyspace, b"mixed", ["a".into()]);
            assert_eq!(encoding(keyspace, b"mixed"), (Encoding::Listpack, true));
            add(keyspace, b"mixed", ["x".repeat(65)]);
            assert_eq!(encoding(keyspace, b"mixed"), (Encoding::Hashtable, true));
            add(keyspace, b"many", (0..200).map(|n| n.to_string()));
            add(keyspace, b"many", ["a".into()]);
            assert_eq!(encoding(keyspace, b"many"), (Encoding::Hashtable, false));
            add(keyspace, b"words", (0..128).map(|n| format!("w{n}")));
            assert_eq!(encoding(keyspace, b"words").0, Encoding::Listpack);
            add(keyspace, b"words", ["w0".into()]);
            assert_eq!(encoding(keyspace, b"words").0, Encoding::Listpack);
            add(keyspace, b"words", ["one more".into()]);
            assert_eq!(encoding(keyspace, b"words").0, Encoding::Hashtable);
            keyspace.set_remove(b"mixed", &[b"1", b"2", b"a", &[b'x'; 65]]).unwrap();
            assert_eq!(keyspace.entry(b"mixed").unwrap(), None);
        });
    }

    #[test]
    fn what_is_built_ahead_is_there_whole_or_goes_whole() {
        let mut fixture = Fixture::new();
        let build = |keyspace: &mut Keyspace, count: u32| {
            let mut building = keyspace.build(Kind::Hash);
            for n in 0..count {
                let value = if n % 100 == 0 { vec![b'v'; 700] } else { n.to_string().into_bytes() };
                assert!(keyspace.add_to(&mut building, format!("field {n}").as_bytes(), &value).unwrap());
            }
            assert!(!keyspace.add_to(&mut building, b"field 7", b"again").unwrap());
            building
        };
        fixture.write(|keyspace| {
            let building = build(keyspace, 20_000);
            assert_eq!(keyspace.put_built(b"h", building, Expiry::Clear).unwrap(), 20_000);
            assert!(keyspace.batch.bytes() < 4 << 20);
            let savepoint = keyspace.savepoint();
            let building = build(keyspace, 15_000);
            assert_eq!(keyspace.put_built(b"undone", building, Expiry::Clear).unwrap(), 15_000);
            keyspace.undo_to(savepoint).unwrap();
            assert!(keyspace.copy(b"h", 0, b"copy", false).unwrap());
            let savepoint = keyspace.savepoint();
            assert!(keyspace.copy(b"h", 0, b"undone", false).unwrap());
            keyspace.undo_to(savepoint).unwrap();
            let building = build(keyspace, 300);
            assert_eq!(keyspace.put_built(b"gone", building, Expiry::At(NOW_MS)).unwrap(), 300);
        });
        fixture.write(|keyspace| {
            assert_eq!(keyspace.verify().unwrap().problems, [""; 0]);
            while keyspace.sweep_orphans(1000).unwrap() > 0 {}
            for key in [&b"h"[..], b"copy"] {
                let Lookup::Found(hash) = keyspace.hash(key).unwrap() else { panic!("no hash") };
                assert_eq!(hash.len(), 20_000);
                assert_eq!(hash.get(b"field 77", <[u8]>::to_vec).unwrap(), Some(b"77".to_vec()));
                assert_eq!(hash.get(b"field 300", <[u8]>::len).unwrap(), Some(700));
                assert!(hash.memory_bytes(5).unwrap() > 100_000);
            }
            assert_eq!(keyspace.entry(b"undone").unwrap(), None);
            assert!(keyspace.delete(b"h").unwrap() && keyspace.delete(b"copy").unwrap());
            while keyspace.sweep_orphans(1000).unwrap() > 0 {}
            let rows = "SELECT (SELECT count(*) FROM hash_field) + (SELECT count(*) FROM chunk)";
            assert_eq!(keyspace.connection().query_row(rows, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
            assert_eq!(keyspace.verify().unwrap().problems, [""; 0]);
        });
    }

    #[test]
    fn damage_of_hashes_and_sets_is_found() {
        for (damage, problem) in [
            ("DELETE FROM hash_field WHERE field = CAST('3' AS BLOB)", "a Hash of 200 elements has 199 rows"),
            ("UPDATE set_member SET id = 99", "belong to no key"),
            ("UPDATE keyspace SET value = CAST('l1:a' AS BLOB) WHERE id IS NULL", "do not agree"),
            ("UPDATE keyspace SET value = CAST('i1:11:1' AS BLOB) WHERE id IS NULL", "do not agree"),
            ("UPDATE keyspace SET value = x'' WHERE id IS NOT NULL", "do not agree"),
            ("UPDATE hash_field SET apart = id WHERE apart IS NOT NULL", "and to something else"),
            ("DELETE FROM hash_field WHERE apart IS NOT NULL", "belongs to no key"),
        ] {
            let mut fixture = Fixture::new();
            fixture.write(|keyspace| {
                for n in 0..200 {
                    keyspace.hash_set(b"h", &[n.to_string().as_bytes(), b"v"]).unwrap();
                }
                keyspace.hash_set(b"h", &[b"0", &[b'v'; 700]]).unwrap();
                add(keyspace, b"s", (0..200).map(|n| n.to_string()));
                add(keyspace, b"packed", ["1".into(), "2".into()]);
            });
            assert_eq!(fixture.write(|keyspace| keyspace.verify().unwrap().problems), [""; 0]);
            fixture.writer.connection().execute_batch(damage).unwrap();
            let found = fixture.write(|keyspace| keyspace.verify().unwrap().problems);
            assert!(found.iter().any(|text| text.contains(problem)), "{damage}: {found:?}");
        }
    }

    /// Figures for whoever changes something here: `cargo test --lib -- --ignored speed_of --nocapture`.
    #[test]
    #[ignore = "it measures"]
    fn speed_of_hashes_and_sets() {
        let mut fixture = Fixture::new();
        let mut measure = |what: &str, count: u64, work: &mut dyn FnMut(&mut Keyspace, u64)| {
            let begin = crate::sys::clock::monotonic();
            for group in 0..count / 100 {
                fixture.write(|keyspace| (0..100).for_each(|n| work(keyspace, group * 100 + n)));
            }
            println!("{what:40} {:6.2} us", begin.elapsed().as_secs_f64() * 1e6 / count as f64);
        };
        let key = |n: u64| n.wrapping_mul(0x9E37_79B9) % 20_000;
        let name = |n: u64| (n.wrapping_mul(0x9E37_79B9) % 200_000).to_string();
        measure("HSET of small ones, new", 20_000, &mut |keyspace, n| {
            keyspace.hash_set(&key(n).to_le_bytes(), &[b"field", b"a value of some bytes"]).unwrap();
        });
        measure("HSET of small ones, one of 10 fields", 200_000, &mut |keyspace, n| {
            keyspace.hash_set(&key(n).to_le_bytes(), &[&[b'a' + (n % 10) as u8], b"a value of some bytes"]).unwrap();
        });
        measure("HGET of small ones", 100_000, &mut |keyspace, n| {
            let Lookup::Found(hash) = keyspace.hash(&key(n).to_le_bytes()).unwrap() else { return };
            hash.get(b"field", <[u8]>::len).unwrap();
        });
        measure("HSET of a large one, new or not", 400_000, &mut |keyspace, n| {
            keyspace.hash_set(b"large", &[name(n).as_bytes(), b"a value of some bytes"]).unwrap();
        });
        measure("HGET of a large one", 100_000, &mut |keyspace, n| {
            let Lookup::Found(hash) = keyspace.hash(b"large").unwrap() else { return };
            hash.get(name(n).as_bytes(), <[u8]>::len).unwrap();
        });
        measure("SADD of a large one, new or not", 400_000, &mut |keyspace, n| {
            keyspace.set_add(b"set", &[name(n).as_bytes()]).unwrap();
        });
        measure("SISMEMBER of a large one", 100_000, &mut |keyspace, n| {
            let Lookup::Found(set) = keyspace.set(b"set").unwrap() else { return };
            set.contains(name(n).as_bytes()).unwrap();
        });
        let mut state = 7u64;
        let mut random = move || {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            state ^ (state >> 33)
        };
        measure("SRANDMEMBER of a large one", 10_000, &mut |keyspace, _| {
            let Lookup::Found(set) = keyspace.set(b"set").unwrap() else { return };
            set.random::<crate::storage::StorageError>(1, &mut random, &mut |_, _| Ok(())).unwrap();
        });
        measure("SPOP of a large one", 10_000, &mut |keyspace, _| {
            keyspace.set_pop::<crate::storage::StorageError>(b"set", 1, &mut random, &mut |_| Ok(())).unwrap();
        });
        let mut once = |what: &str, work: &mut dyn FnMut(&mut Keyspace)| {
            let begin = crate::sys::clock::monotonic();
            fixture.write(|keyspace| work(keyspace));
            println!("{what:40} {:6.0} ms", begin.elapsed().as_secs_f64() * 1e3);
        };
        once("HGETALL of 200,000 fields", &mut |keyspace| {
            let Lookup::Found(hash) = keyspace.hash(b"large").unwrap() else { return };
            let mut bytes = 0;
            hash.each::<crate::storage::StorageError>(|name, value| {
                bytes += name.len() + value.len();
                Ok(())
            })
            .unwrap();
        });
        once("building a set of 1,000,000", &mut |keyspace| {
            let mut building = keyspace.build(Kind::Set);
            for n in 0..1_000_000 {
                keyspace.add_to(&mut building, format!("member {n}").as_bytes(), &[]).unwrap();
            }
            keyspace.put_built(b"million", building, Expiry::Clear).unwrap();
        });
        once("COPY of it", &mut |keyspace| assert!(keyspace.copy(b"million", 0, b"copy", true).unwrap()));
        once("DEL of it", &mut |keyspace| assert!(keyspace.delete(b"million").unwrap()));
        once("a step of the sweeper, 1000 rows", &mut |keyspace| assert!(keyspace.sweep_orphans(1000).unwrap() > 0));
    }
}
