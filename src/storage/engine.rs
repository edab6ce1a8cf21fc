//! How the parts are put together: a keyspace on the base, its transactions, and a group's batch that reaches the tables.

use std::ops::{Deref, DerefMut};

use super::error::{Result, StorageError};
use super::keyspace::{ChangeHook, ExpirySample};
use super::sqlite::{Base, Options};

/// The keyspace on one connection to the data file. Between transactions and beside them it is also what it stands on: the upkeep
/// works on the tables themselves, in transactions of its own.
pub type Keyspace = super::keyspace::Keyspace<Base>;
/// A collection of it, and a walk through one.
pub type Elements<'a> = super::keyspace::Elements<'a, Base>;
pub type Walk<'a> = super::keyspace::Walk<'a, Base>;

impl Deref for Keyspace {
    type Target = Base;

    fn deref(&self) -> &Base {
        &self.store
    }
}

impl DerefMut for Keyspace {
    fn deref_mut(&mut self) -> &mut Base {
        &mut self.store
    }
}

/// A batch beyond this is written out between two calls: memory stays bounded, and the group is one transaction still.
const BATCH_BYTES_MAX: usize = 4 << 20;

impl Keyspace {
    /// A connection for snapshots; a change through it is an error. The file must have been prepared.
    pub fn open_reader(options: &Options) -> Result<Self> {
        Ok(Self::on(Base::open_reader(options)?, options, None))
    }

    /// The service's only writer. `hook` is called before every change.
    pub fn open_writer(options: &Options, hook: ChangeHook) -> Result<Self> {
        Ok(Self::on(Base::open_writer(options)?, options, Some(hook)))
    }

    fn on(base: Base, options: &Options, hook: Option<ChangeHook>) -> Self {
        let homes = base.homes();
        Self::new(base, homes, options.value_bytes_max, hook)
    }

    /// Begins a snapshot. It is taken by the first read, so call this when the batch of jobs is complete.
    pub fn begin_read(&mut self, now_ms: i64) -> Result<()> {
        self.store.begin_read()?;
        self.begin_at(now_ms);
        Ok(())
    }

    pub fn end_read(&mut self) -> Result<()> {
        self.snapshot_is_held = false;
        self.store.end_read()
    }

    /// Between two steps of a long read: lets go of the snapshot, so that the -wal can restart, and takes a new one.
    /// Does nothing in a write transaction, or while the snapshot is held: there all steps belong together.
    pub fn renew_snapshot(&self) -> Result<()> {
        if self.snapshot_is_held || !self.store.is_in_transaction() || self.store.check_writing().is_ok() {
            return Ok(());
        }
        self.store.renew_snapshot()?;
        self.forget_reads();
        Ok(())
    }

    /// Until the end of this read transaction (or `false`): one snapshot for several commands, such as an EXEC of reads.
    pub fn hold_snapshot(&mut self, hold: bool) {
        self.snapshot_is_held = hold;
    }

    /// Begins a group of changes. After an error in it see `StorageError`.
    pub fn begin_write(&mut self, now_ms: i64) -> Result<()> {
        self.store.begin_write()?;
        self.begin_at(now_ms);
        Ok(())
    }

    /// Writes the batch to the tables, within the group's transaction: what follows reads it there.
    pub fn spill(&mut self) -> Result<()> {
        self.store.check_writing()?;
        if !self.batch.is_empty() {
            self.store.apply(&self.batch)?;
            self.forget_written();
        }
        Ok(())
    }

    /// Between two calls: `spill`, once the batch is large.
    pub fn spill_if_large(&mut self) -> Result<()> {
        if self.batch.bytes() > BATCH_BYTES_MAX { self.spill() } else { Ok(()) }
    }

    /// After a call that has failed and was undone: goes on with the batch over a new transaction, since SQLite lets none be
    /// committed that has met damage, and ends some by itself. Nobody else writes, so all that was read stays true. False when a part
    /// of the group was no longer in the batch and so is lost: then `rollback`.
    pub fn recover(&mut self) -> Result<bool> {
        if self.is_partly_written {
            return Ok(false);
        }
        self.store.begin_again()?;
        self.forget_reads();
        Ok(true)
    }

    /// Makes the group durable as `Options::durability` says. After an error: `rollback`, and see `StorageError`.
    pub fn commit(&mut self) -> Result<()> {
        self.spill()?;
        self.store.commit()?;
        self.forget_group();
        Ok(())
    }

    /// Undoes the whole group. Always right to call, also when SQLite has already rolled back by itself.
    pub fn rollback(&mut self) -> Result<()> {
        self.forget_group();
        self.store.rollback()
    }

    /// Removes keys whose time has passed, of all databases, the oldest first. Returns how many entries of the index it
    /// worked off: 0 when nothing is due.
    pub fn sweep_expired(&mut self, rows_max: usize) -> Result<usize> {
        self.spill()?;
        let now_ms = self.now_ms();
        self.store.sweep_expired(now_ms, rows_max, &mut |_| Ok(false))
    }

    /// Removes rows of flushed databases and of deleted big values. Returns how many rows it worked off: 0 when there is
    /// nothing left.
    pub fn sweep_orphans(&mut self, rows_max: usize) -> Result<usize> {
        self.spill()?;
        self.store.sweep_orphans(rows_max)
    }

    /// Gives unused pages back to the file system when they are more than `kept_percent` of the file. Returns how many.
    pub fn vacuum(&mut self, pages_max: u32, kept_percent: u64) -> Result<u32> {
        self.spill()?;
        self.store.vacuum(pages_max, kept_percent)
    }

    /// When keys of the selected database end that have not yet, as committed: all of them where they are few, else some that `random`
    /// picks.
    pub fn sample_expiries(&self, random: u64) -> Result<ExpirySample> {
        self.store.sample_expiries(self.database(), self.now_ms(), random)
    }
}

impl StorageError {
    /// True when this may have ended the transaction that met it, or lets it not be committed: see `Keyspace::recover`.
    #[must_use]
    pub fn spoils_transaction(&self) -> bool {
        !matches!(self, Self::TooLarge)
    }
}

#[cfg(test)]
mod tests {
    use crate::storage::fixture::{Fixture, NOW_MS};
    use crate::storage::{Expiry, Lookup, StorageError};

    #[test]
    fn a_full_disk_undoes_the_group_and_leaves_the_keyspace_as_it_was() {
        let mut fixture = Fixture::new();
        fixture.write(|keyspace| keyspace.put_string(b"kept", b"1", Expiry::Clear).unwrap());
        let set_page_limit = |fixture: &Fixture, pages: u32| {
            let sql = format!("PRAGMA max_page_count = {pages}");
            fixture.writer.connection().query_row(&sql, [], |_| Ok(())).unwrap();
        };
        set_page_limit(&fixture, 1);
        fixture.writer.begin_write(NOW_MS).unwrap();
        (0..1000u32)
            .try_for_each(|n| fixture.writer.put_string(&n.to_le_bytes(), &[1; 1000], Expiry::At(NOW_MS + 1)))
            .unwrap();
        assert_eq!(fixture.writer.commit(), Err(StorageError::Full));
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
        fixture.writer.connection().execute_batch("ROLLBACK").unwrap();
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
