//! What can be read of a key.

use super::keyspace::{Keyspace, Lookup, Store};
use crate::storage::error::Result;
use crate::storage::rows::{Head, Kind, Part};

impl<S: Store> Keyspace<S> {
    pub fn entry(&self, key: &[u8]) -> Result<Option<Head>> {
        self.live_head(self.name(self.selected, key)?)
    }

    /// Shows the key, with its value where that lies in the key's own row.
    pub fn with_entry<R>(&self, key: &[u8], f: impl FnOnce(Option<&Head>, Option<&[u8]>) -> R) -> Result<R> {
        let mut f = Some(f);
        let mut show = |entry: Option<&Head>, value: Option<&[u8]>| {
            let f = f.take().expect("shown once");
            f(entry, value)
        };
        let shown = self.view().row(self.name(self.selected, key)?, Part::Whole, |row| {
            let row = row.of_key();
            match self.is_live(&row.head) {
                true => show(Some(&row.head), row.value.filter(|_| row.head.id.is_none())),
                false => show(None, None),
            }
        })?;
        Ok(shown.unwrap_or_else(|| show(None, None)))
    }

    /// The whole string.
    pub fn string(&self, key: &[u8]) -> Result<Lookup<Vec<u8>>> {
        self.with_string(key, <[u8]>::to_vec)
    }

    /// Shows the whole string to `f`: in place, when it is not a big one.
    pub fn with_string<R>(&self, key: &[u8], f: impl FnOnce(&[u8]) -> R) -> Result<Lookup<R>> {
        let mut f = Some(f);
        let found = self.view().row(self.name(self.selected, key)?, Part::Whole, |row| {
            let row = row.of_key();
            match (self.is_live(&row.head), row.head.kind, row.value) {
                (true, Kind::String, Some(value)) => (row.head, f.take().map(|f| f(value))),
                _ => (row.head, None),
            }
        })?;
        let Some((head, shown)) = found else { return Ok(Lookup::Absent) };
        match (self.is_live(&head), head.kind, shown, f) {
            (false, ..) => Ok(Lookup::Absent),
            (true, Kind::String, Some(shown), _) => Ok(Lookup::Found(shown)),
            (true, Kind::String, None, Some(f)) => Ok(Lookup::Found(f(&self.read_chunks(head.id, 0, head.length)?))),
            (true, kind, ..) => Ok(Lookup::OtherKind(kind)),
        }
    }

    /// The string's length, without reading it.
    pub fn string_length(&self, key: &[u8]) -> Result<Lookup<u64>> {
        Ok(match self.entry(key)? {
            None => Lookup::Absent,
            Some(head) if head.kind == Kind::String => Lookup::Found(head.length),
            Some(head) => Lookup::OtherKind(head.kind),
        })
    }

    /// The bytes `start..end` of the string, cut to its length; of a big one only the chunks that hold them are read.
    pub fn string_range(&self, key: &[u8], start: u64, end: u64) -> Result<Lookup<Vec<u8>>> {
        let cut = |length: u64| (start.min(end).min(length), end.min(length));
        let found = self.view().row(self.name(self.selected, key)?, Part::Whole, |row| {
            let row = row.of_key();
            let value = row.value.map(|value| {
                let (start, end) = cut(value.len() as u64);
                value[start as usize..end as usize].to_vec()
            });
            (row.head, value)
        })?;
        match found {
            Some((head, _)) if !self.is_live(&head) => Ok(Lookup::Absent),
            Some((head, _)) if head.kind != Kind::String => Ok(Lookup::OtherKind(head.kind)),
            Some((_, Some(bytes))) => Ok(Lookup::Found(bytes)),
            Some((head, None)) => {
                let (start, end) = cut(head.length);
                Ok(Lookup::Found(self.read_chunks(head.id, start, end)?))
            }
            None => Ok(Lookup::Absent),
        }
    }
}
