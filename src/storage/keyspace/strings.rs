//! What changes a string.

use super::changes::{Change, Expiry};
use super::keyspace::{Keyspace, Lookup, Store};
use crate::storage::broken::{self, Variant};
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{Head, KeyRow, Kind, Origin, Part, Row, RowKey};

impl<S: Store> Keyspace<S> {
    /// Sets the key to a string, whatever it was. Where nothing of that is needed it is not read.
    pub fn put_string(&mut self, key: &[u8], value: &[u8], expiry: Expiry) -> Result<()> {
        self.check_length(value.len() as u64)?;
        if expiry.is_over(self.now_ms) {
            return self.delete(key).map(drop);
        }
        let name = self.name(self.selected, key)?;
        self.mark(Change::Key { database: self.selected, key })?;
        let is_blind = expiry != Expiry::Keep && value.len() <= self.layout.inline_bytes_max;
        let (old, origin) = match self.batch.find(name) {
            // What lies below this row, the batch knows.
            Some(row) => (row.map(|row| row.of_key().head), Origin::Blind),
            // Blind only where the tables have what lies below: what a generation gives up, its rows say.
            None if is_blind && broken::is(Variant::RenamedIdOrphaned) => (None, Origin::Blind),
            None if is_blind => match self.store.unmerged(name)? {
                Some(old) => (old, Origin::of(old.as_ref())),
                None => (None, Origin::Blind),
            },
            None => {
                let old = self.store.row(name, Part::Head, |row| row.of_key().head)?;
                (old, Origin::of(old.as_ref()))
            }
        };
        self.replace_string(name, old, origin, value, expiry)
    }

    /// Writes `bytes` at `offset` of a string, filling a gap before it with zero bytes; an absent key begins empty.
    /// Returns the new length. The caller has checked that the key holds nothing else.
    pub fn write_string_range(&mut self, key: &[u8], offset: u64, bytes: &[u8]) -> Result<u64> {
        self.write_string_at(key, bytes, |length| match length {
            Lookup::OtherKind(_) => Err(StorageError::Internal("a range of something that is not a string".into())),
            _ => Ok(offset),
        })
    }

    /// The same at an offset that `place` finds by the string's length. The row is read once.
    ///
    /// # Errors
    /// Those of `place`, before anything is written; it refuses a key of another kind.
    pub fn write_string_at<E: From<StorageError>>(
        &mut self,
        key: &[u8],
        bytes: &[u8],
        place: impl FnOnce(Lookup<u64>) -> std::result::Result<u64, E>,
    ) -> std::result::Result<u64, E> {
        self.store.check_writing()?;
        let name = self.name(self.selected, key)?;
        let found = self.view().row(name, Part::Whole, |row| {
            let row = row.of_key();
            let value = row.value.filter(|_| self.is_live(&row.head)).map(|value| {
                let mut copy = Vec::with_capacity(value.len() + bytes.len());
                copy.extend_from_slice(value);
                copy
            });
            (row.head, value)
        })?;
        let (old, value) = found.map_or((None, None), |(head, value)| (Some(head), value));
        let live = old.filter(|head| self.is_live(head));
        let offset = place(live.map_or(Lookup::Absent, |head| match head.kind {
            Kind::String => Lookup::Found(head.length),
            kind => Lookup::OtherKind(kind),
        }))?;
        let length = live.map_or(0, |head| head.length);
        if bytes.is_empty() {
            return Ok(length);
        }
        let end = offset.saturating_add(bytes.len() as u64);
        self.check_length(end)?;
        self.mark(Change::Key { database: self.selected, key })?;
        let origin = Origin::of(old.as_ref());
        match live {
            None if offset == 0 => self.replace_string(name, old, origin, bytes, Expiry::Clear)?,
            Some(head @ Head { id: Some(id), .. }) => {
                self.write_chunks(id, offset, bytes)?;
                if end > length {
                    let head = Head { length: end, ..head };
                    self.batch.put(name, Row::Key(KeyRow { head, value: None }), origin)?;
                }
            }
            _ => self.write_inline(name, old, value.unwrap_or_default(), offset, bytes)?,
        }
        Ok(length.max(end))
    }

    /// Replaces a string by what `change` makes of it, keeping the time when it ends: the row is read once. Of a string longer than
    /// `bytes_max` the first `bytes_max + 1` bytes are shown: too much for whoever asks so.
    ///
    /// # Errors
    /// Those of `change`, before anything is written; it refuses a key of another kind.
    pub fn update_string<T, E: From<StorageError>>(
        &mut self,
        key: &[u8],
        bytes_max: usize,
        change: impl FnOnce(Lookup<&[u8]>) -> std::result::Result<(T, Vec<u8>), E>,
    ) -> std::result::Result<T, E> {
        self.store.check_writing()?;
        let name = self.name(self.selected, key)?;
        let mut change = Some(change);
        let mut ask = |value: Lookup<&[u8]>| change.take().expect("asked once")(value);
        let found = self.view().row(name, Part::Whole, |row| {
            let row = row.of_key();
            let is_string = row.head.kind == Kind::String && self.is_live(&row.head);
            let value = row.value.filter(|_| is_string);
            (row.head, value.map(|value| ask(Lookup::Found(&value[..value.len().min(bytes_max + 1)]))))
        })?;
        let (old, changed) = found.map_or((None, None), |(head, changed)| (Some(head), changed));
        let (told, value) = match (changed, old.filter(|head| self.is_live(head))) {
            (Some(changed), _) => changed,
            (None, None) => ask(Lookup::Absent),
            (None, Some(head)) if head.kind != Kind::String => ask(Lookup::OtherKind(head.kind)),
            (None, Some(head)) => {
                let beginning = self.read_chunks(head.id, 0, head.length.min(bytes_max as u64 + 1))?;
                ask(Lookup::Found(&beginning))
            }
        }?;
        self.check_length(value.len() as u64)?;
        self.mark(Change::Key { database: self.selected, key })?;
        self.replace_string(name, old, Origin::of(old.as_ref()), &value, Expiry::Keep)?;
        Ok(told)
    }

    /// Writes into a string that lies in its row, or where none is. `old` is the row that the key has, alive or not.
    fn write_inline(
        &mut self,
        name: RowKey<'_>,
        old: Option<Head>,
        mut value: Vec<u8>,
        offset: u64,
        bytes: &[u8],
    ) -> Result<()> {
        let origin = Origin::of(old.as_ref());
        let end = offset + bytes.len() as u64;
        let length = end.max(value.len() as u64);
        let expires_at_ms = old.filter(|head| self.is_live(head)).and_then(|head| head.expires_at_ms);
        let head = Head { kind: Kind::String, id: None, expires_at_ms, length };
        self.give_up_value(old.and_then(|old| old.id))?;
        if length <= self.layout.inline_bytes_max as u64 {
            value.resize(length as usize, 0);
            value[offset as usize..end as usize].copy_from_slice(bytes);
            return self.batch.put(name, Row::Key(KeyRow { head, value: Some(&value) }), origin);
        }
        // Grown past what lies in a row. The gap is not written: chunks that are missing are zero bytes.
        let id = self.fresh_id()?;
        self.write_chunks(id, 0, &value)?;
        self.write_chunks(id, offset, bytes)?;
        self.batch.put(name, Row::Key(KeyRow { head: Head { id: Some(id), ..head }, value: None }), origin)
    }

    fn check_length(&self, length: u64) -> Result<()> {
        if length <= self.value_bytes_max() { Ok(()) } else { Err(StorageError::TooLarge) }
    }

    /// `old` is the row that the key has, if anything is to be known of it.
    fn replace_string(
        &mut self,
        name: RowKey<'_>,
        old: Option<Head>,
        origin: Origin,
        value: &[u8],
        expiry: Expiry,
    ) -> Result<()> {
        let expires_at_ms = self.ends_at(expiry, old.as_ref());
        let head = Head { kind: Kind::String, id: None, expires_at_ms, length: value.len() as u64 };
        if value.len() <= self.layout.inline_bytes_max {
            self.give_up_value(old.and_then(|old| old.id))?;
            return self.batch.put(name, Row::Key(KeyRow { head, value: Some(value) }), origin);
        }
        let id = self.store_big(old.as_ref(), value)?;
        self.batch.put(name, Row::Key(KeyRow { head: Head { id: Some(id), ..head }, value: None }), origin)
    }
}
