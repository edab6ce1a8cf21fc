//! Everything that changes a key. Each change is announced to the hook before the first row of it is written, here and
//! never by a command. A key whose time has passed is met as an absent one.

use super::keyspace::{Keyspace, Kind};
use super::rows::{Place, Row};
use crate::storage::error::{Result, StorageError};

/// What is about to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    Key {
        database: u8,
        key: &'a [u8],
    },
    /// These databases lose all their keys; bit N stands for database N.
    Flush {
        databases: u16,
    },
    /// These two databases exchange their keys.
    Swap {
        a: u8,
        b: u8,
    },
}

/// Called before every change that can be seen, more than once for a key that is changed more than once. A change that is announced need
/// not come: the transaction may fail.
pub type ChangeHook = Box<dyn FnMut(Change<'_>) + Send>;

/// What a write does to the time when its key ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    Clear,
    Keep,
    /// Milliseconds since 1970. A time that is not in the future removes the key.
    At(i64),
}

impl Keyspace {
    /// Sets the key to a string, whatever it was.
    pub fn put_string(&mut self, key: &[u8], value: &[u8], expiry: Expiry) -> Result<()> {
        if value.len() as u64 > self.value_bytes_max() {
            return Err(StorageError::TooLarge);
        }
        if matches!(expiry, Expiry::At(at) if at <= self.now_ms) {
            return self.delete(key).map(drop);
        }
        let database = self.selected;
        self.mark(Change::Key { database, key })?;
        let space = self.space(database)?;
        let is_plain = expiry == Expiry::Clear && value.len() <= self.layout.inline_bytes_max;
        if is_plain && self.overwrites && self.overwrite_row(space, key, value)? {
            return Ok(());
        }
        let (slot, old) = match self.locate(space, key)? {
            Place::Free(slot) => (slot, None),
            Place::Taken(row) => (row.slot, Some(row)),
        };
        // Who filled the keyspace just now goes on filling it, who overwrites goes on overwriting.
        self.overwrites = old.is_some();
        let expires_at_ms = match expiry {
            Expiry::Clear => None,
            Expiry::Keep => old.filter(|row| self.is_live(row)).and_then(|row| row.expires_at_ms),
            Expiry::At(at) => Some(at),
        };
        self.replace_string(database, slot, old, key, value, expires_at_ms)
    }

    /// Writes `bytes` at `offset` of a string, filling a gap before it with zero bytes; an absent key begins empty.
    /// Returns the new length. The caller has checked that the key holds nothing else.
    pub fn write_string_range(&mut self, key: &[u8], offset: u64, bytes: &[u8]) -> Result<u64> {
        let database = self.selected;
        let (slot, old) = match self.locate(self.space(database)?, key)? {
            Place::Free(slot) => (slot, None),
            Place::Taken(row) => (row.slot, Some(row)),
        };
        let live = old.filter(|row| self.is_live(row));
        if live.is_some_and(|row| row.kind != Kind::String) {
            return Err(StorageError::Internal("a range of something that is not a string".into()));
        }
        let length = live.map_or(0, |row| row.length);
        if bytes.is_empty() {
            return Ok(length);
        }
        let end = offset.saturating_add(bytes.len() as u64);
        if end > self.value_bytes_max() {
            return Err(StorageError::TooLarge);
        }
        self.mark(Change::Key { database, key })?;
        let new_length = length.max(end);
        if let Some(row @ Row { id: Some(id), .. }) = live {
            self.write_chunks(id, offset, bytes)?;
            if new_length != row.length {
                self.update_row(&Row { length: new_length, ..row }, None)?;
            }
            return Ok(new_length);
        }
        let mut value = match live {
            Some(_) => self
                .with_row(self.space(database)?, key, |_, value| value.unwrap_or_default().to_vec())?
                .unwrap_or_default(),
            None => Vec::new(),
        };
        let expires_at_ms = live.and_then(|row| row.expires_at_ms);
        if new_length <= self.layout.inline_bytes_max as u64 {
            value.resize(new_length as usize, 0);
            value[offset as usize..end as usize].copy_from_slice(bytes);
            self.replace_string(database, slot, old, key, &value, expires_at_ms)?;
            return Ok(new_length);
        }
        // Grown past what lies in a row. The gap is not written: chunks that are missing are zero bytes.
        let id = self.fresh_id()?;
        self.write_chunks(id, 0, &value)?;
        self.write_chunks(id, offset, bytes)?;
        self.abandon_value(old.and_then(|row| row.id))?;
        let row = Row { slot, kind: Kind::String, id: Some(id), expires_at_ms, length: new_length };
        self.settle(database, old, &row, key, None)?;
        Ok(new_length)
    }

    /// Removes the key, at once whatever its size. False when there was none.
    pub fn delete(&mut self, key: &[u8]) -> Result<bool> {
        let database = self.selected;
        self.writing()?;
        let Place::Taken(row) = self.locate(self.space(database)?, key)? else { return Ok(false) };
        // A key whose time has passed was gone for everybody before.
        if self.is_live(&row) {
            self.mark(Change::Key { database, key })?;
        }
        self.discard(database, &row)?;
        Ok(self.is_live(&row))
    }

    /// Sets or (`None`) takes away the time when the key ends; one that is not in the future removes it. False when there is no key.
    pub fn set_expiry(&mut self, key: &[u8], expires_at_ms: Option<i64>) -> Result<bool> {
        if expires_at_ms.is_some_and(|at| at <= self.now_ms) {
            return self.delete(key);
        }
        self.writing()?;
        let Some(row) = self.live_row(key)? else { return Ok(false) };
        if row.expires_at_ms == expires_at_ms {
            return Ok(true);
        }
        let database = self.selected;
        self.mark(Change::Key { database, key })?;
        self.relist_expiry(database, row.slot, row.expires_at_ms, expires_at_ms)?;
        self.connection
            .prepare_cached("UPDATE keyspace SET expires_at_ms = ?1 WHERE slot = ?2")?
            .execute(rusqlite::params![expires_at_ms, row.slot])?;
        Ok(true)
    }

    /// Gives the value and expiry of `from` to `to`, replacing what is there. False when there is no `from`.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<bool> {
        self.writing()?;
        if self.live_row(from)?.is_none() {
            return Ok(false);
        }
        if from == to {
            return Ok(true);
        }
        let database = self.selected;
        self.transfer(from, database, to)?;
        Ok(true)
    }

    /// Gives the key to another database, if it has no such key. False when nothing was done.
    pub fn move_key(&mut self, key: &[u8], to_database: u8) -> Result<bool> {
        self.writing()?;
        if to_database == self.selected || self.live_row(key)?.is_none() || self.is_live_in(to_database, key)? {
            return Ok(false);
        }
        self.transfer(key, to_database, key)?;
        Ok(true)
    }

    /// Copies value and expiry of `from`. False when nothing was done: no `from`, the two are the same key, or `to` is
    /// there and may not be replaced.
    pub fn copy(&mut self, from: &[u8], to_database: u8, to: &[u8], replace: bool) -> Result<bool> {
        self.writing()?;
        let same = to_database == self.selected && from == to;
        if same || self.live_row(from)?.is_none() || (!replace && self.is_live_in(to_database, to)?) {
            return Ok(false);
        }
        let slot = self.make_way(to_database, to)?;
        // Looked up after `make_way`: closing its hole may have moved `from`.
        let Some(row) = self.live_row(from)? else { return Ok(false) };
        let id = row.id.map(|id| self.copy_chunks(id)).transpose()?;
        self.duplicate_row(&row, to_database, slot, to, id)?;
        Ok(true)
    }

    /// Announces a change. Every change comes through here first.
    pub(super) fn mark(&mut self, change: Change<'_>) -> Result<()> {
        self.writing()?;
        if let Some(hook) = &mut self.hook {
            hook(change);
        }
        Ok(())
    }

    /// Removes a row with everything that hangs on it. The key's change has been announced.
    pub(super) fn discard(&mut self, database: u8, row: &Row) -> Result<()> {
        self.relist_expiry(database, row.slot, row.expires_at_ms, None)?;
        self.abandon_value(row.id)?;
        self.remove_row(row.slot)?;
        self.count(database, -1, 0)
    }

    fn replace_string(
        &mut self,
        database: u8,
        slot: i64,
        old: Option<Row>,
        key: &[u8],
        value: &[u8],
        expires_at_ms: Option<i64>,
    ) -> Result<()> {
        let row = Row { slot, kind: Kind::String, id: None, expires_at_ms, length: value.len() as u64 };
        if value.len() <= self.layout.inline_bytes_max {
            self.abandon_value(old.and_then(|old| old.id))?;
            return self.settle(database, old, &row, key, Some(value));
        }
        let id = self.store_big(old.as_ref(), value)?;
        self.settle(database, old, &Row { id: Some(id), ..row }, key, None)
    }

    /// Writes a row that takes the place of `old`, and brings index and counts to it.
    fn settle(&mut self, database: u8, old: Option<Row>, row: &Row, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        match old {
            Some(_) => self.update_row(row, value)?,
            None => {
                self.insert_row(row, key, value)?;
                self.count(database, 1, 0)?;
            }
        }
        self.relist_expiry(database, row.slot, old.and_then(|row| row.expires_at_ms), row.expires_at_ms)
    }

    fn is_live_in(&self, database: u8, key: &[u8]) -> Result<bool> {
        Ok(matches!(self.locate(self.space(database)?, key)?, Place::Taken(row) if self.is_live(&row)))
    }

    /// Moves the row of `from`, which is alive, to the key `to`.
    fn transfer(&mut self, from: &[u8], to_database: u8, to: &[u8]) -> Result<()> {
        let database = self.selected;
        self.mark(Change::Key { database, key: from })?;
        let slot = self.make_way(to_database, to)?;
        let Some(row) = self.live_row(from)? else { return Ok(()) };
        self.duplicate_row(&row, to_database, slot, to, row.id)?;
        self.discard(database, &Row { id: None, ..row })
    }

    /// Announces the change of `to`, removes what is there, and returns its free slot.
    fn make_way(&mut self, database: u8, to: &[u8]) -> Result<i64> {
        self.mark(Change::Key { database, key: to })?;
        let space = self.space(database)?;
        match self.locate(space, to)? {
            Place::Free(slot) => Ok(slot),
            Place::Taken(row) => {
                self.discard(database, &row)?;
                match self.locate(space, to)? {
                    Place::Free(slot) => Ok(slot),
                    Place::Taken(_) => Err(StorageError::Corrupt("a key that is there twice".into())),
                }
            }
        }
    }

    fn duplicate_row(&mut self, row: &Row, database: u8, slot: i64, key: &[u8], id: Option<i64>) -> Result<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO keyspace (slot, kind, id, expires_at_ms, length, key, value)
                 SELECT ?1, kind, ?2, expires_at_ms, length, ?3, value FROM keyspace WHERE slot = ?4",
            )?
            .execute(rusqlite::params![slot, id, key, row.slot])?;
        self.count(database, 1, 0)?;
        self.relist_expiry(database, slot, None, row.expires_at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, NOW_MS};
    use super::super::{Entry, Expiry, Kind, Lookup};
    use crate::storage::StorageError;

    fn found(value: &[u8]) -> Lookup<Vec<u8>> {
        Lookup::Found(value.to_vec())
    }

    #[test]
    fn a_string_is_read_back_by_the_writer_and_after_the_commit_by_readers() {
        let mut fixture = Fixture::new();
        let mut reader = fixture.reader();
        fixture.writer.begin_write(NOW_MS).unwrap();
        fixture.writer.put_string(b"k", b"one", Expiry::Clear).unwrap();
        assert_eq!(fixture.writer.string(b"k").unwrap(), found(b"one"));
        reader.begin_read(NOW_MS).unwrap();
        assert_eq!(reader.string(b"k").unwrap(), Lookup::Absent);
        fixture.writer.commit().unwrap();
        assert_eq!(reader.string(b"k").unwrap(), Lookup::Absent, "the snapshot stands");
        reader.renew_snapshot().unwrap();
        assert_eq!(reader.string(b"k").unwrap(), found(b"one"));
        assert_eq!(
            reader.entry(b"k").unwrap(),
            Some(Entry { kind: Kind::String, expires_at_ms: None, length: 3, id: None })
        );
        assert_eq!(reader.key_count().unwrap(), 1);
        assert!(reader.is_in_transaction());
        reader.end_read().unwrap();
        assert!(!reader.is_in_transaction());
    }

    #[test]
    fn an_expiry_is_kept_cleared_or_set_as_the_write_says() {
        let mut fixture = Fixture::new();
        fixture.write(|keyspace| {
            keyspace.put_string(b"k", b"1", Expiry::At(NOW_MS + 10)).unwrap();
            keyspace.put_string(b"k", b"2", Expiry::Keep).unwrap();
            assert_eq!(keyspace.entry(b"k").unwrap().unwrap().expires_at_ms, Some(NOW_MS + 10));
            assert_eq!(keyspace.expires_count().unwrap(), 1);
            keyspace.put_string(b"k", b"3", Expiry::Clear).unwrap();
            assert_eq!(keyspace.entry(b"k").unwrap().unwrap().expires_at_ms, None);
            assert_eq!(keyspace.expires_count().unwrap(), 0);
            assert!(keyspace.set_expiry(b"k", Some(NOW_MS + 5)).unwrap());
            assert!(keyspace.set_expiry(b"k", None).unwrap());
            assert!(!keyspace.set_expiry(b"other", None).unwrap());
            assert_eq!(keyspace.next_expiry().unwrap(), None);
            keyspace.put_string(b"k", b"4", Expiry::At(NOW_MS)).unwrap();
            assert_eq!(keyspace.entry(b"k").unwrap(), None);
            assert_eq!(keyspace.key_count().unwrap(), 0);
        });
    }

    #[test]
    fn a_key_past_its_time_is_absent_to_reads_and_changes_swept_or_not() {
        let mut fixture = Fixture::new();
        fixture.write(|keyspace| {
            for key in [b"a", b"b", b"c", b"d", b"e"] {
                keyspace.put_string(key, b"old", Expiry::At(NOW_MS + 1)).unwrap();
            }
        });
        fixture.write_at(NOW_MS + 1, |keyspace| {
            assert_eq!(keyspace.string(b"a").unwrap(), Lookup::Absent);
            assert_eq!(keyspace.string_length(b"a").unwrap(), Lookup::Absent);
            assert_eq!(keyspace.string_range(b"a", 0, 3).unwrap(), Lookup::Absent);
            assert_eq!(keyspace.random_key(7).unwrap(), None);
            assert_eq!(keyspace.scan(0, 100, &mut |_, _| panic!("shown")).unwrap(), 0);
            assert!(!keyspace.rename(b"a", b"z").unwrap());
            assert!(!keyspace.copy(b"a", 0, b"z", true).unwrap());
            assert!(!keyspace.move_key(b"a", 1).unwrap());
            assert!(!keyspace.set_expiry(b"a", None).unwrap());
            assert!(!keyspace.delete(b"a").unwrap());
            keyspace.put_string(b"b", b"new", Expiry::Keep).unwrap();
            assert_eq!(keyspace.entry(b"b").unwrap().unwrap().expires_at_ms, None);
            assert_eq!(keyspace.write_string_range(b"c", 1, b"x").unwrap(), 2);
            assert_eq!(keyspace.string(b"c").unwrap(), found(b"\0x"));
            assert!(keyspace.copy(b"b", 0, b"d", false).unwrap());
            assert_eq!(keyspace.key_count().unwrap(), 4, "b, c, d, and e unswept");
            assert_eq!(keyspace.expires_count().unwrap(), 1);
        });
    }

    #[test]
    fn every_change_that_can_be_seen_is_announced_before_a_row_changes() {
        let mut fixture = Fixture::new();
        let announced = fixture.announced.clone();
        let key = |database: u8, key: &[u8]| Some((database, key.to_vec()));
        fixture.write(|keyspace| {
            keyspace.put_string(b"a", b"1", Expiry::At(NOW_MS + 1)).unwrap();
            assert_eq!(announced.take(), [key(0, b"a")]);
            keyspace.write_string_range(b"a", 0, b"2").unwrap();
            assert_eq!(announced.take(), [key(0, b"a")]);
            keyspace.set_expiry(b"a", Some(NOW_MS + 2)).unwrap();
            assert_eq!(announced.take(), [key(0, b"a")]);
            keyspace.rename(b"a", b"b").unwrap();
            assert_eq!(announced.take(), [key(0, b"a"), key(0, b"b")]);
            keyspace.copy(b"b", 3, b"c", false).unwrap();
            assert_eq!(announced.take(), [key(3, b"c")]);
            keyspace.move_key(b"b", 2).unwrap();
            assert_eq!(announced.take(), [key(0, b"b"), key(2, b"b")]);
            keyspace.swap_databases(0, 2).unwrap();
            keyspace.flush_database().unwrap();
            keyspace.flush_all().unwrap();
            assert_eq!(announced.take(), [None, None, None]);
            keyspace.put_string(b"d", b"1", Expiry::At(NOW_MS + 1)).unwrap();
            announced.take();
            assert!(!keyspace.delete(b"absent").unwrap());
            assert_eq!(announced.take(), []);
        });
        fixture.write_at(NOW_MS + 1, |keyspace| {
            assert!(!keyspace.delete(b"d").unwrap());
            assert_eq!(announced.take(), [], "it was there in the file, but for nobody to see");
        });
    }

    #[test]
    fn a_change_outside_a_write_transaction_is_refused_and_does_nothing() {
        let mut fixture = Fixture::new();
        assert!(matches!(fixture.writer.put_string(b"k", b"v", Expiry::Clear), Err(StorageError::Internal(_))));
        assert!(matches!(fixture.writer.delete(b"k"), Err(StorageError::Internal(_))));
        assert!(matches!(fixture.writer.flush_all(), Err(StorageError::Internal(_))));
        assert!(matches!(fixture.writer.entry(b"k"), Err(StorageError::Internal(_))));
        let mut reader = fixture.reader();
        reader.begin_read(NOW_MS).unwrap();
        assert!(matches!(reader.put_string(b"k", b"v", Expiry::Clear), Err(StorageError::Internal(_))));
        assert!(matches!(reader.commit(), Err(StorageError::Internal(_))));
        assert_eq!(fixture.announced.take(), []);
    }

    #[test]
    fn a_rollback_and_an_undone_savepoint_leave_nothing_behind() {
        let mut fixture = Fixture::crowded();
        fixture.write(|keyspace| keyspace.put_string(b"kept", b"1", Expiry::Clear).unwrap());
        fixture.writer.begin_write(NOW_MS).unwrap();
        fixture.writer.put_string(b"gone", &[7; 100], Expiry::At(NOW_MS + 9)).unwrap();
        fixture.writer.flush_all().unwrap();
        fixture.writer.rollback().unwrap();
        fixture.writer.rollback().unwrap();
        fixture.write(|keyspace| {
            assert_eq!(keyspace.key_count().unwrap(), 1);
            keyspace.set_savepoint().unwrap();
            keyspace.put_string(b"gone", &[7; 100], Expiry::At(NOW_MS + 9)).unwrap();
            keyspace.swap_databases(0, 1).unwrap();
            keyspace.undo_to_savepoint().unwrap();
            assert_eq!(keyspace.string(b"gone").unwrap(), Lookup::Absent);
            keyspace.set_savepoint().unwrap();
            keyspace.put_string(b"second", b"2", Expiry::Clear).unwrap();
            keyspace.release_savepoint().unwrap();
            assert!(matches!(keyspace.undo_to_savepoint(), Err(StorageError::Internal(_))));
        });
        let mut reader = fixture.reader();
        Fixture::crowd_keyspace(&mut reader);
        reader.begin_read(NOW_MS).unwrap();
        assert_eq!(reader.key_count().unwrap(), 2);
        assert_eq!(reader.expires_count().unwrap(), 0);
        assert_eq!(reader.string(b"second").unwrap(), found(b"2"));
        assert_eq!(reader.next_expiry().unwrap(), None);
    }

    #[test]
    fn a_value_over_the_limit_is_refused_before_anything_is_written() {
        let mut fixture = Fixture::new();
        let limit = fixture.writer.value_bytes_max();
        fixture.write(|keyspace| {
            assert_eq!(keyspace.write_string_range(b"k", limit, b"x"), Err(StorageError::TooLarge));
            assert_eq!(keyspace.write_string_range(b"k", u64::MAX, b"x"), Err(StorageError::TooLarge));
            assert_eq!(keyspace.write_string_range(b"k", limit - 1, b"x").unwrap(), limit, "its gap costs nothing");
            assert_eq!(keyspace.string_range(b"k", limit - 3, limit + 9).unwrap(), found(b"\0\0x"));
        });
    }
}
