//! What changes a key, whatever it holds. Each change is announced to the hook before the first row of it is written, here
//! and never by a command. A key whose time has passed is met as an absent one.

use super::element_rows::Rows;
use super::keyspace::{Keyspace, Store};
use crate::storage::error::Result;
use crate::storage::rows::{Head, KeyRow, Kind, Mark, Origin, Part, Row, RowKey};

/// What is about to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    Key {
        database: u8,
        key: &'a [u8],
    },
    /// A key, and those who wait for something in it are not concerned.
    Quiet {
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

impl Expiry {
    /// Whether a key that is written so is gone at once.
    pub(super) fn is_over(self, now_ms: i64) -> bool {
        matches!(self, Self::At(at) if at <= now_ms)
    }
}

/// A place in a group of changes to go back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    batch: Mark,
    ahead: usize,
}

/// A key that is about to get a value that was built.
pub(super) struct Replaced<'k> {
    pub(super) name: RowKey<'k>,
    /// The row that it has, alive or not.
    pub(super) old: Option<Head>,
    pub(super) expires_at_ms: Option<i64>,
}

/// A key's row with a copy of its value.
struct Whole {
    head: Head,
    value: Option<Vec<u8>>,
}

impl<S: Store> Keyspace<S> {
    /// Removes the key, at once whatever its size. False when there was none.
    pub fn delete(&mut self, key: &[u8]) -> Result<bool> {
        self.store.check_writing()?;
        let name = self.name(self.selected, key)?;
        let Some(head) = self.view().head(name)? else { return Ok(false) };
        // A key whose time has passed was gone for everybody before.
        if self.is_live(&head) {
            self.mark(Change::Key { database: self.selected, key })?;
        } else {
            self.ended.note(self.selected, key);
        }
        self.give_up_value(head.id)?;
        self.batch.delete(name, Origin::of(Some(&head)))?;
        Ok(self.is_live(&head))
    }

    /// Sets or (`None`) takes away the time when the key ends; one that is not in the future removes it. False when there is no key.
    pub fn set_expiry(&mut self, key: &[u8], expires_at_ms: Option<i64>) -> Result<bool> {
        if expires_at_ms.is_some_and(|at| at <= self.now_ms) {
            return self.delete(key);
        }
        self.store.check_writing()?;
        let name = self.name(self.selected, key)?;
        let Some(Whole { head, value }) = self.live_whole(name)? else { return Ok(false) };
        if head.expires_at_ms == expires_at_ms {
            return Ok(true);
        }
        self.mark(Change::Key { database: self.selected, key })?;
        let row = KeyRow { head: Head { expires_at_ms, ..head }, value: value.as_deref() };
        self.batch.put(name, Row::Key(row), Origin::of(Some(&head)))?;
        Ok(true)
    }

    /// Gives the value and expiry of `from` to `to`, replacing what is there. False when there is no `from`.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<bool> {
        self.transfer(from, self.selected, to)
    }

    /// Gives the key to another database, if it has no such key. False when nothing was done.
    pub fn move_key(&mut self, key: &[u8], to_database: u8) -> Result<bool> {
        self.store.check_writing()?;
        if to_database == self.selected || self.live_head(self.name(to_database, key)?)?.is_some() {
            return Ok(false);
        }
        self.transfer(key, to_database, key)
    }

    /// Copies value and expiry of `from`. False when nothing was done: no `from`, the two are the same key, or `to` is
    /// there and may not be replaced.
    pub fn copy(&mut self, from: &[u8], to_database: u8, to: &[u8], replace: bool) -> Result<bool> {
        self.store.check_writing()?;
        let (from, name) = (self.name(self.selected, from)?, self.name(to_database, to)?);
        if from == name || (!replace && self.live_head(name)?.is_some()) {
            return Ok(false);
        }
        let Some(Whole { head, value }) = self.live_whole(from)? else { return Ok(false) };
        // Whoever prepares it watches the keys of one database.
        if to_database == self.selected {
            self.begin_long(self.rows_of(&head))?;
        }
        let origin = self.make_way(to_database, name, to)?;
        let mut value = value;
        let id = match (head.id, head.id.and_then(|id| Rows::of(head.kind, id))) {
            (Some(id), _) if head.kind == Kind::SortedSet => Some(self.copy_sorted(id, head.length)?),
            (_, Some(rows)) => Some(self.copy_elements(rows, head.length)?),
            (Some(_), None) if head.kind == Kind::List => {
                let (id, text) = self.copy_list(&head, value.as_deref().unwrap_or_default())?;
                value = Some(text);
                Some(id)
            }
            (Some(_), None) if head.kind == Kind::Stream => {
                let copied = self.copy_stream(&KeyRow { head, value: value.as_deref() })?;
                value = Some(copied.write());
                Some(copied.id)
            }
            (Some(id), None) => Some(self.copy_chunks(id, head.length, false)?),
            (None, None) => None,
        };
        let row = KeyRow { head: Head { id, ..head }, value: value.as_deref() };
        self.batch.put(name, Row::Key(row), origin)?;
        Ok(true)
    }

    /// How many rows the value of a key has beside the key's own.
    fn rows_of(&self, head: &Head) -> u64 {
        match (head.id, head.kind) {
            (None, _) => 0,
            (Some(_), Kind::String) => self.layout.chunk_count(head.length),
            (Some(_), _) => head.length,
        }
    }

    /// When a key ends that is written so. `old` is the row that it has, alive or not.
    pub(super) fn ends_at(&self, expiry: Expiry, old: Option<&Head>) -> Option<i64> {
        match expiry {
            Expiry::Clear => None,
            Expiry::Keep => old.filter(|old| self.is_live(old)).and_then(|old| old.expires_at_ms),
            Expiry::At(at) => Some(at),
        }
    }

    /// Announces that a key gets a value of so many elements, whatever it holds. `None`: nothing is to be there, so the key goes, and `id`, where
    /// the elements lie, is given up.
    pub(super) fn begin_replacing<'k>(
        &mut self,
        key: &'k [u8],
        count: u64,
        id: Option<i64>,
        expiry: Expiry,
    ) -> Result<Option<Replaced<'k>>> {
        if count == 0 || expiry.is_over(self.now_ms) {
            self.give_up_value(id)?;
            self.delete(key)?;
            return Ok(None);
        }
        let name = self.name(self.selected, key)?;
        let old = self.view().head(name)?;
        self.mark(Change::Key { database: self.selected, key })?;
        Ok(Some(Replaced { name, old, expires_at_ms: self.ends_at(expiry, old.as_ref()) }))
    }

    /// From here `undo_to` can go back to.
    #[must_use]
    pub fn savepoint(&self) -> SavePoint {
        SavePoint { batch: self.batch.savepoint(), ahead: self.ahead.len() }
    }

    /// Takes back what was done since; an earlier save point stays good. Not beyond a `spill`.
    ///
    /// # Errors
    /// `OutOfMemory`
    pub fn undo_to(&mut self, savepoint: SavePoint) -> Result<()> {
        self.batch.undo_to(savepoint.batch);
        self.spaces.clear();
        self.edges.clear();
        // Their chunks are written, and nobody has them.
        while self.ahead.len() > savepoint.ahead {
            let id = self.ahead.pop();
            self.give_up_value(id)?;
        }
        Ok(())
    }

    /// What was done since is not taken back any more.
    pub fn keep_since(&mut self, savepoint: SavePoint) {
        self.batch.keep_since(savepoint.batch);
        self.ahead.truncate(savepoint.ahead);
    }

    /// Announces a change. Every change comes through here first.
    pub(super) fn mark(&mut self, change: Change<'_>) -> Result<()> {
        self.store.check_writing()?;
        if let Some(hook) = &mut self.hook {
            hook(change);
        }
        Ok(())
    }

    fn live_whole(&self, name: RowKey<'_>) -> Result<Option<Whole>> {
        let whole = self.view().row(name, Part::Whole, |row| {
            let row = row.of_key();
            self.is_live(&row.head).then(|| Whole { head: row.head, value: row.value.map(<[u8]>::to_vec) })
        })?;
        Ok(whole.flatten())
    }

    /// Moves the row of `from` to the key `to`. False when it is not alive.
    fn transfer(&mut self, from: &[u8], to_database: u8, to: &[u8]) -> Result<bool> {
        self.store.check_writing()?;
        let database = self.selected;
        let (from_name, to_name) = (self.name(database, from)?, self.name(to_database, to)?);
        let Some(Whole { head, value }) = self.live_whole(from_name)? else { return Ok(false) };
        if from_name == to_name {
            return Ok(true);
        }
        self.mark(Change::Key { database, key: from })?;
        let origin = self.make_way(to_database, to_name, to)?;
        self.batch.put(to_name, Row::Key(KeyRow { head, value: value.as_deref() }), origin)?;
        self.batch.delete(from_name, Origin::of(Some(&head)))?;
        Ok(true)
    }

    /// Announces the change of `to`, and gives up what it holds.
    fn make_way(&mut self, database: u8, name: RowKey<'_>, to: &[u8]) -> Result<Origin> {
        self.mark(Change::Key { database, key: to })?;
        let old = self.view().head(name)?;
        self.give_up_value(old.and_then(|old| old.id))?;
        Ok(Origin::of(old.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use crate::storage::fixture::{Fixture, NOW_MS};
    use crate::storage::{Entry, Expiry, Kind, Lookup, StorageError};

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
            let savepoint = keyspace.savepoint();
            keyspace.put_string(b"gone", &[7; 100], Expiry::At(NOW_MS + 9)).unwrap();
            keyspace.swap_databases(0, 1).unwrap();
            keyspace.undo_to(savepoint).unwrap();
            assert_eq!(keyspace.string(b"gone").unwrap(), Lookup::Absent);
            let savepoint = keyspace.savepoint();
            keyspace.put_string(b"second", b"2", Expiry::Clear).unwrap();
            keyspace.keep_since(savepoint);
            keyspace.undo_to(savepoint).unwrap();
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
