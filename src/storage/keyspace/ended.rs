//! Keys whose time had passed, and whose rows were removed for that: kept until somebody takes them, who tells others of it after the
//! commit. For everybody they were gone before.

use super::keyspace::{Keyspace, Store};
use crate::storage::error::Result;

/// A key that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedKey {
    pub database: u8,
    pub key: Vec<u8>,
}

#[derive(Debug, Default)]
pub(in crate::storage) struct Ended {
    are_wanted: bool,
    keys: Vec<EndedKey>,
    /// So many of them were ended by groups that are committed.
    committed: usize,
    /// Some have ended that nobody wanted to know of.
    is_unnoted: bool,
}

impl Ended {
    pub(in crate::storage) fn note(&mut self, database: u8, key: &[u8]) {
        if self.are_wanted {
            self.keys.push(EndedKey { database, key: key.to_vec() });
        } else {
            self.is_unnoted = true;
        }
    }

    /// The group is committed.
    pub(in crate::storage) fn committed(&mut self) {
        self.committed = self.keys.len();
    }

    /// The group is undone.
    pub(in crate::storage) fn rolled_back(&mut self) {
        self.keys.truncate(self.committed);
    }
}

impl<S: Store> Keyspace<S> {
    /// Whether keys that end are kept for `take_ended` from now on.
    pub fn want_ended(&mut self, are_wanted: bool) {
        self.ended.are_wanted = are_wanted;
    }

    /// Those that have ended since the last time, oldest first. Within a group also those of the group: it may be undone yet.
    pub fn take_ended(&mut self) -> Vec<EndedKey> {
        self.ended.committed = 0;
        std::mem::take(&mut self.ended.keys)
    }

    /// Whether keys have ended, since the last time, that nobody wanted to know of.
    pub fn take_unnoted(&mut self) -> bool {
        std::mem::take(&mut self.ended.is_unnoted)
    }

    /// Removes a key of that database if its time has passed.
    pub fn end_if_expired(&mut self, database: u8, key: &[u8]) -> Result<()> {
        let head = self.view().head(self.name(database, key)?)?;
        if head.is_none_or(|head| self.is_live(&head)) {
            return Ok(());
        }
        let selected = std::mem::replace(&mut self.selected, database);
        let deleted = self.delete(key);
        self.selected = selected;
        deleted.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::EndedKey;
    use crate::storage::Expiry;
    use crate::storage::fixture::{Fixture, NOW_MS};

    fn ended(database: u8, key: &[u8]) -> EndedKey {
        EndedKey { database, key: key.to_vec() }
    }

    #[test]
    fn a_key_that_ends_is_kept_once_and_only_if_its_group_is_committed() {
        let mut fixture = Fixture::new();
        fixture.write(|keyspace| {
            for key in [b"a", b"b", b"c", b"d"] {
                keyspace.put_string(key, b"1", Expiry::At(NOW_MS + 1)).unwrap();
            }
            keyspace.select(3);
            keyspace.put_string(b"a", b"1", Expiry::At(NOW_MS + 1)).unwrap();
            keyspace.put_string(b"z", b"1", Expiry::Clear).unwrap();
            keyspace.select(0);
        });
        fixture.writer.want_ended(true);
        fixture.writer.begin_write(NOW_MS + 1).unwrap();
        fixture.writer.end_if_expired(0, b"a").unwrap();
        fixture.writer.rollback().unwrap();
        assert_eq!(fixture.writer.take_ended(), [], "it was undone");
        fixture.write_at(NOW_MS + 1, |keyspace| {
            keyspace.end_if_expired(3, b"a").unwrap();
            keyspace.end_if_expired(3, b"a").unwrap();
            keyspace.end_if_expired(3, b"z").unwrap();
            keyspace.end_if_expired(0, b"nothing").unwrap();
            assert!(!keyspace.delete(b"a").unwrap());
        });
        fixture.write_at(NOW_MS + 1, |keyspace| {
            assert_eq!(keyspace.sweep_expired(2).unwrap(), 2);
        });
        fixture.writer.begin_write(NOW_MS + 1).unwrap();
        assert_eq!(fixture.writer.sweep_expired(2).unwrap(), 1);
        fixture.writer.rollback().unwrap();
        let told = fixture.writer.take_ended();
        assert_eq!((&told[..2], told.len()), (&[ended(3, b"a"), ended(0, b"a")][..], 4), "{told:?}");
        fixture.writer.want_ended(false);
        fixture.write_at(NOW_MS + 1, |keyspace| keyspace.sweep_expired(9).unwrap());
        assert_eq!(fixture.writer.take_ended(), []);
        fixture.write_at(NOW_MS + 1, |keyspace| assert_eq!(keyspace.key_count().unwrap(), 0));
    }
}
