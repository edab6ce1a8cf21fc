//! What changes a hash. It keeps the time when it ends, and goes with its last field.

use super::contents::{Added, Opened, Removed};
use super::keyspace::{Keyspace, Lookup, Store};
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::Kind;

impl<S: Store> Keyspace<S> {
    /// Sets fields: `pairs` has field, value, field, value …
    pub fn hash_set(&mut self, key: &[u8], pairs: &[&[u8]]) -> Result<Lookup<Added>> {
        let mut opened = match self.open(Kind::Hash, key)? {
            Lookup::Found(opened) => opened,
            Lookup::Absent => return Ok(Lookup::Absent),
            Lookup::OtherKind(kind) => return Ok(Lookup::OtherKind(kind)),
        };
        opened.contents.expect(pairs.len() as u64 / 2, &self.thresholds);
        let mut added = Added { count: 0, is_new: opened.is_new };
        for pair in pairs.chunks_exact(2) {
            added.count += u64::from(self.set_element(&mut opened.contents, pair[0], pair[1], true)?);
        }
        self.close(opened)?;
        Ok(Lookup::Found(added))
    }

    /// Sets a field that is not there. `count` is 0 when it is, and nothing has changed.
    pub fn hash_set_new(&mut self, key: &[u8], field: &[u8], value: &[u8]) -> Result<Lookup<Added>> {
        let mut opened = match self.open(Kind::Hash, key)? {
            Lookup::Found(opened) => opened,
            Lookup::Absent => return Ok(Lookup::Absent),
            Lookup::OtherKind(kind) => return Ok(Lookup::OtherKind(kind)),
        };
        let count = u64::from(self.set_element(&mut opened.contents, field, value, false)?);
        let added = Added { count, is_new: opened.is_new };
        self.close(opened)?;
        Ok(Lookup::Found(added))
    }

    /// Replaces a field's value by what `change` makes of it; `None` where there is no such field. `is_new` is the key's.
    ///
    /// # Errors
    /// Those of `change`, before anything is written.
    pub fn hash_update<T, E: From<StorageError>>(
        &mut self,
        key: &[u8],
        field: &[u8],
        change: impl FnOnce(Option<&[u8]>) -> std::result::Result<(T, Vec<u8>), E>,
    ) -> std::result::Result<Lookup<(T, Added)>, E> {
        let mut opened = match self.open(Kind::Hash, key)? {
            Lookup::Found(opened) => opened,
            Lookup::Absent => return Ok(Lookup::Absent),
            Lookup::OtherKind(kind) => return Ok(Lookup::OtherKind(kind)),
        };
        let mut change = Some(change);
        let mut ask = |value: Option<&[u8]>| change.take().expect("asked once")(value);
        let (told, value) = match self.show_value(&opened.contents, field, |value| ask(Some(value)))? {
            Some(changed) => changed?,
            None => ask(None)?,
        };
        let count = u64::from(self.set_element(&mut opened.contents, field, &value, true)?);
        let added = Added { count, is_new: opened.is_new };
        self.close(opened)?;
        Ok(Lookup::Found((told, added)))
    }

    pub fn hash_delete(&mut self, key: &[u8], fields: &[&[u8]]) -> Result<Lookup<Removed>> {
        self.remove_elements(Kind::Hash, key, fields)
    }

    /// Removes elements; `Absent` where there is no such key.
    pub(super) fn remove_elements(&mut self, kind: Kind, key: &[u8], names: &[&[u8]]) -> Result<Lookup<Removed>> {
        match self.open_there(kind, key)? {
            Lookup::Found(opened) => self.remove_opened(opened, names).map(Lookup::Found),
            Lookup::Absent => Ok(Lookup::Absent),
            Lookup::OtherKind(kind) => Ok(Lookup::OtherKind(kind)),
        }
    }

    pub(super) fn remove_opened(&mut self, mut opened: Opened<'_>, names: &[impl AsRef<[u8]>]) -> Result<Removed> {
        let mut count = 0;
        for name in names {
            count += u64::from(self.remove_element(&mut opened.contents, name.as_ref())?);
            // With the last one the key is gone; what else is named is not there.
            if opened.contents.count() == 0 {
                break;
            }
        }
        let is_gone = self.close(opened)?;
        Ok(Removed { count, is_gone })
    }
}
