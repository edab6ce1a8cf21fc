//! Transactions of the connection: a snapshot for a batch of reads, a group of changes that is committed as one.

use super::base::Base;
use super::connection::set_syncing;
use super::databases::Databases;
use crate::storage::error::{Result, StorageError};

impl Base {
    /// Begins a snapshot. It is taken by the first read, so call this when the batch of jobs is complete.
    pub(in crate::storage) fn begin_read(&self) -> Result<()> {
        self.known_spaces.borrow_mut().clear();
        self.has_left_out.set(None);
        self.execute("BEGIN")
    }

    pub(in crate::storage) fn end_read(&self) -> Result<()> {
        if !self.is_in_transaction() {
            return Ok(());
        }
        match self.execute("COMMIT") {
            // A transaction that has met damage is not committed but rolled back, which is the same where nothing was written.
            Err(StorageError::Corrupt(_)) if !self.is_in_transaction() => Ok(()),
            ended => ended,
        }
    }

    /// Lets go of the snapshot and takes a new one.
    pub(in crate::storage) fn renew_snapshot(&self) -> Result<()> {
        self.known_spaces.borrow_mut().clear();
        self.has_left_out.set(None);
        self.execute("COMMIT")?;
        self.execute("BEGIN")
    }

    /// Begins a group of changes. After an error in it see `StorageError`.
    pub(in crate::storage) fn begin_write(&mut self) -> Result<()> {
        self.begin_syncing(self.syncing.is_wanted)
    }

    /// Begins changes of which nobody is told, such as a slice of a merge: their commit does not sync the `-wal`. The next group's does,
    /// whose frames come behind; so what a power cut takes is the end of both.
    pub fn begin_unsynced(&mut self) -> Result<()> {
        self.begin_syncing(false)
    }

    fn begin_syncing(&mut self, is_syncing: bool) -> Result<()> {
        if self.syncing.is_set != is_syncing {
            set_syncing(&self.connection, is_syncing)?;
            self.syncing.is_set = is_syncing;
        }
        self.execute("BEGIN IMMEDIATE")?;
        self.has_left_out.set(None);
        // Read anew each time, a few microseconds: nothing in memory has to be right after a rollback.
        self.writing = Some(self.load_databases()?);
        Ok(())
    }

    /// Makes the group durable as `Options::durability` says. After an error: `rollback`, and see `StorageError`.
    pub(in crate::storage) fn commit(&mut self) -> Result<()> {
        self.store_databases()?;
        self.store_sources()?;
        self.store_users()?;
        self.execute("COMMIT")?;
        self.writing = None;
        self.forget_changes_beside();
        self.ids.keep();
        Ok(())
    }

    /// Undoes the whole group. Always right to call, also when SQLite has already rolled back by itself.
    pub(in crate::storage) fn rollback(&mut self) -> Result<()> {
        self.writing = None;
        self.forget_changes_beside();
        self.ids.roll_back();
        if self.is_in_transaction() { self.execute("ROLLBACK") } else { Ok(()) }
    }

    /// Undoes the group and begins another one, which has the ids of the first, since what it was told of them stays true, its sources and
    /// its users.
    pub(in crate::storage) fn begin_again(&mut self) -> Result<()> {
        let ids = self.ids;
        let (sources, users) = (std::mem::take(&mut self.sources), std::mem::take(&mut self.users));
        self.rollback()?;
        self.begin_write()?;
        (self.sources, self.users) = (sources, users);
        self.take_ids_again(ids)
    }

    /// What waits beside the rows of the batch.
    fn forget_changes_beside(&mut self) {
        self.sources.clear();
        self.users.clear();
    }

    /// False between transactions, and after SQLite has rolled one back by itself.
    pub fn is_in_transaction(&self) -> bool {
        !self.connection.is_autocommit()
    }

    /// The state of the present write transaction: the guard of every change.
    pub(super) fn writing(&self) -> Result<&Databases> {
        // Without this, what follows an automatic rollback would be committed statement by statement.
        if !self.is_in_transaction() {
            return Err(StorageError::Internal("a change outside a transaction".into()));
        }
        self.writing.as_ref().ok_or_else(|| StorageError::Internal("a change in a read transaction".into()))
    }

    pub(super) fn writing_mut(&mut self) -> Result<&mut Databases> {
        self.check_writing()?;
        Ok(self.writing.as_mut().expect("just checked"))
    }

    /// # Errors
    /// This is no write transaction.
    pub(in crate::storage) fn check_writing(&self) -> Result<()> {
        self.writing().map(drop)
    }

    fn execute(&self, sql: &str) -> Result<()> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::storage::fixture::{Fixture, NOW_MS};
    use crate::storage::sqlite::{Base, Durability};
    use crate::storage::{Expiry, Keyspace, Lookup, Options};

    #[test]
    fn only_a_group_of_changes_waits_for_the_disk_and_always_does() {
        let fixture = Fixture::new();
        for durability in [Durability::Always, Durability::EverySec, Durability::Os] {
            let options = Options { durability, ..fixture.options.clone() };
            let mut writer = Keyspace::open_writer(&options, Box::new(|_| {})).unwrap();
            let is_syncing = |writer: &Keyspace| {
                writer.connection().pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0)).unwrap() == 2
            };
            for is_ended_well in [true, false, true] {
                Base::begin_unsynced(&mut writer).unwrap();
                assert!(!is_syncing(&writer));
                writer.record_ticket(1, 7).unwrap();
                if is_ended_well {
                    Base::commit(&mut writer).unwrap();
                } else {
                    writer.rollback().unwrap();
                }
                writer.begin_write(NOW_MS).unwrap();
                assert_eq!(is_syncing(&writer), durability == Durability::Always);
                writer.put_string(b"key", b"value", Expiry::Clear).unwrap();
                writer.commit().unwrap();
            }
            writer.begin_read(NOW_MS).unwrap();
            assert_eq!(writer.applied_tickets().unwrap(), [(1, 7)]);
            assert_eq!(writer.string(b"key").unwrap(), Lookup::Found(b"value".to_vec()));
            writer.end_read().unwrap();
        }
    }
}
