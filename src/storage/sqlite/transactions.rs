//! Transactions: a snapshot for a batch of reads, a group of changes that is committed as one. Never a read or a change
//! outside one.

use super::databases::Databases;
use super::keyspace::Keyspace;
use crate::storage::error::{Result, StorageError};

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one per connection, and it never moves")]
pub(super) enum Transaction {
    None,
    Read,
    Write(Writing),
}

/// What a write transaction knows and has not yet written to its tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writing {
    pub(super) databases: Databases,
    pub(super) ids: Ids,
    /// The two above as they were when the savepoint was set.
    savepoint: Option<(Databases, Ids)>,
}

/// The next unused id of a value, once one was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ids {
    pub(super) next: Option<i64>,
}

impl Transaction {
    pub(super) fn writing(&self) -> Option<&Writing> {
        if let Self::Write(writing) = self { Some(writing) } else { None }
    }

    pub(super) fn writing_mut(&mut self) -> Option<&mut Writing> {
        if let Self::Write(writing) = self { Some(writing) } else { None }
    }
}

impl Keyspace {
    /// Begins a snapshot. It is taken by the first read, so call this when the batch is complete.
    pub fn begin_read(&mut self, now_ms: i64) -> Result<()> {
        self.execute("BEGIN")?;
        self.spaces.clear();
        self.transaction = Transaction::Read;
        self.now_ms = now_ms;
        Ok(())
    }

    pub fn end_read(&mut self) -> Result<()> {
        self.transaction = Transaction::None;
        self.snapshot_is_held = false;
        if !self.is_in_transaction() {
            return Ok(());
        }
        match self.execute("COMMIT") {
            // A transaction that has met damage is not committed but rolled back, which is the same where nothing was written.
            Err(StorageError::Corrupt(_)) if !self.is_in_transaction() => Ok(()),
            ended => ended,
        }
    }

    /// Between two steps of a long read: lets go of the snapshot, so that the -wal can restart, and takes a new one.
    /// Does nothing in a write transaction, or while the snapshot is held: there all steps belong together.
    pub fn renew_snapshot(&self) -> Result<()> {
        if !matches!(self.transaction, Transaction::Read) || self.snapshot_is_held {
            return Ok(());
        }
        self.execute("COMMIT")?;
        self.spaces.clear();
        self.execute("BEGIN")
    }

    /// Until the end of this read transaction (or `false`): one snapshot for several commands, such as an EXEC of reads.
    pub fn hold_snapshot(&mut self, hold: bool) {
        self.snapshot_is_held = hold;
    }

    /// Begins a group of changes. After an error in it see `StorageError`.
    pub fn begin_write(&mut self, now_ms: i64) -> Result<()> {
        self.execute("BEGIN IMMEDIATE")?;
        self.spaces.clear();
        self.now_ms = now_ms;
        // Read anew each time, a few microseconds: nothing in memory has to be right after a rollback.
        let databases = self.load_databases()?;
        self.transaction = Transaction::Write(Writing { databases, ids: Ids::default(), savepoint: None });
        Ok(())
    }

    /// Makes the group durable as `Options::durability` says. After an error: `rollback`, and see `StorageError`.
    pub fn commit(&mut self) -> Result<()> {
        self.writing()?;
        self.store_databases()?;
        self.store_ids()?;
        self.execute("COMMIT")?;
        self.transaction = Transaction::None;
        Ok(())
    }

    /// Undoes the whole group. Always right to call, also when SQLite has already rolled back by itself.
    pub fn rollback(&mut self) -> Result<()> {
        self.transaction = Transaction::None;
        if self.is_in_transaction() { self.execute("ROLLBACK") } else { Ok(()) }
    }

    /// From here `undo_to_savepoint` can take back, so that a command that fails leaves nothing. There is one at a time.
    pub fn set_savepoint(&mut self) -> Result<()> {
        let writing = self.writing()?;
        writing.savepoint = Some((writing.databases, writing.ids));
        self.execute("SAVEPOINT command")
    }

    /// Keeps what was done since `set_savepoint`.
    pub fn release_savepoint(&mut self) -> Result<()> {
        self.writing()?.savepoint = None;
        self.execute("RELEASE command")
    }

    /// Takes back what was done since `set_savepoint`, and the savepoint with it.
    pub fn undo_to_savepoint(&mut self) -> Result<()> {
        let writing = self.writing()?;
        let Some((databases, ids)) = writing.savepoint.take() else {
            return Err(StorageError::Internal("no savepoint to go back to".into()));
        };
        (writing.databases, writing.ids) = (databases, ids);
        self.spaces.clear();
        self.execute("ROLLBACK TO command")?;
        self.execute("RELEASE command")
    }

    /// False between transactions, and after SQLite has rolled one back by itself.
    pub fn is_in_transaction(&self) -> bool {
        !self.connection.is_autocommit()
    }

    /// The state of the present write transaction: the guard of every change.
    pub(super) fn writing(&mut self) -> Result<&mut Writing> {
        // Without this, what follows an automatic rollback would be committed statement by statement.
        if self.connection.is_autocommit() {
            return Err(StorageError::Internal("a change outside a transaction".into()));
        }
        self.transaction.writing_mut().ok_or_else(|| StorageError::Internal("a change in a read transaction".into()))
    }

    /// A number for the rows of a new value, unique in the file for ever.
    pub(super) fn fresh_id(&mut self) -> Result<i64> {
        let id = match self.writing()?.ids.next {
            Some(id) => id,
            None => self
                .connection
                .prepare_cached("SELECT value FROM meta WHERE name = 'next_id'")?
                .query_row([], |row| row.get(0))?,
        };
        self.writing()?.ids.next = Some(id + 1);
        Ok(id)
    }

    fn store_ids(&mut self) -> Result<()> {
        if let Some(next) = self.writing()?.ids.next {
            self.connection.prepare_cached("UPDATE meta SET value = ?1 WHERE name = 'next_id'")?.execute([next])?;
        }
        Ok(())
    }

    fn execute(&self, sql: &str) -> Result<()> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, NOW_MS};
    use super::super::{Expiry, Lookup};
    use crate::storage::StorageError;

    #[test]
    fn a_full_disk_undoes_the_group_and_leaves_the_keyspace_as_it_was() {
        let mut fixture = Fixture::new();
        fixture.write(|keyspace| keyspace.put_string(b"kept", b"1", Expiry::Clear).unwrap());
        let set_page_limit = |fixture: &Fixture, pages: u32| {
            let sql = format!("PRAGMA max_page_count = {pages}");
            fixture.writer.connection.query_row(&sql, [], |_| Ok(())).unwrap();
        };
        set_page_limit(&fixture, 1);
        fixture.writer.begin_write(NOW_MS).unwrap();
        let refused = (0..1000u32)
            .try_for_each(|n| fixture.writer.put_string(&n.to_le_bytes(), &[1; 1000], Expiry::At(NOW_MS + 1)));
        assert_eq!(refused, Err(StorageError::Full));
        if !fixture.writer.is_in_transaction() {
            assert!(matches!(fixture.writer.delete(b"kept"), Err(StorageError::Internal(_))));
        }
        fixture.writer.rollback().unwrap();
        fixture.write(|keyspace| {
            assert_eq!(keyspace.key_count().unwrap(), 1);
            assert!(keyspace.delete(b"kept").unwrap(), "deleting goes on");
        });
        set_page_limit(&fixture, 1_000_000);
        fixture.write(|keyspace| {
            keyspace.put_string(b"healed", &[1; 100_000], Expiry::Clear).unwrap();
            assert_eq!(keyspace.string_length(b"healed").unwrap(), Lookup::Found(100_000));
            assert_eq!(keyspace.expires_count().unwrap(), 0);
        });
    }

    #[test]
    fn what_sqlite_rolled_back_by_itself_is_not_half_applied_by_what_follows() {
        let mut fixture = Fixture::new();
        fixture.writer.begin_write(NOW_MS).unwrap();
        fixture.writer.put_string(b"a", b"1", Expiry::Clear).unwrap();
        fixture.writer.connection.execute_batch("ROLLBACK").unwrap();
        assert!(!fixture.writer.is_in_transaction());
        assert!(matches!(fixture.writer.put_string(b"b", b"1", Expiry::Clear), Err(StorageError::Internal(_))));
        assert!(matches!(fixture.writer.commit(), Err(StorageError::Internal(_))));
        fixture.writer.rollback().unwrap();
        fixture.write(|keyspace| assert_eq!(keyspace.key_count().unwrap(), 0));
    }

    #[test]
    fn a_held_snapshot_is_not_renewed_and_a_write_is_not_cut_in_two() {
        let mut fixture = Fixture::new();
        let mut reader = fixture.reader();
        reader.begin_read(NOW_MS).unwrap();
        reader.hold_snapshot(true);
        assert_eq!(reader.key_count().unwrap(), 0);
        fixture.writer.begin_write(NOW_MS).unwrap();
        fixture.writer.put_string(b"a", b"1", Expiry::Clear).unwrap();
        fixture.writer.renew_snapshot().unwrap();
        fixture.writer.commit().unwrap();
        reader.renew_snapshot().unwrap();
        assert_eq!(reader.key_count().unwrap(), 0);
        reader.end_read().unwrap();
        reader.begin_read(NOW_MS).unwrap();
        reader.renew_snapshot().unwrap();
        assert_eq!(reader.key_count().unwrap(), 1);
    }
}
