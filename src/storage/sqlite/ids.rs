//! Ids of values and spaces: each is given once in the life of a file. A block of them is reserved at a time, in the transaction of
//! the group that needs the first of it; what is left of a block when the service ends is never used.

use super::base::Base;
use crate::storage::broken::{self, Variant};
use crate::storage::error::{Result, StorageError};

const BLOCK: i64 = 1024;

/// What is left of the block.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ids {
    next: i64,
    end: i64,
    /// The block was reserved by the present transaction.
    is_uncommitted: bool,
}

impl Ids {
    pub(super) fn keep(&mut self) {
        self.is_uncommitted = false;
    }

    pub(super) fn roll_back(&mut self) {
        if self.is_uncommitted {
            *self = Self::default();
        }
    }
}

impl Base {
    pub(super) fn take_id(&mut self) -> Result<i64> {
        self.check_writing()?;
        if self.ids.next == self.ids.end {
            let next: i64 = self
                .connection
                .prepare_cached("SELECT value FROM meta WHERE name = 'next_id'")?
                .query_row([], |row| row.get(0))?;
            let end = next.checked_add(BLOCK).ok_or_else(|| StorageError::Corrupt("no id is left".into()))?;
            if !broken::is(Variant::IdsGivenTwice) {
                self.store_next_id(end)?;
            }
            self.ids = Ids { next, end, is_uncommitted: true };
        }
        let id = self.ids.next;
        self.ids.next += 1;
        Ok(id)
    }

    /// In a transaction that goes on where another was rolled back.
    pub(super) fn take_ids_again(&mut self, ids: Ids) -> Result<()> {
        if ids.is_uncommitted {
            self.store_next_id(ids.end)?;
        }
        self.ids = ids;
        Ok(())
    }

    fn store_next_id(&self, id: i64) -> Result<()> {
        self.connection.prepare_cached("UPDATE meta SET value = ?1 WHERE name = 'next_id'")?.execute([id])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::storage::fixture::{Fixture, NOW_MS};
    use crate::storage::keyspace::Store;

    #[test]
    fn no_id_is_given_twice_whatever_is_rolled_back_and_whoever_writes_next() {
        let mut fixture = Fixture::new();
        let mut given = std::collections::HashSet::new();
        for round in 0..4 {
            fixture.writer.begin_write(NOW_MS).unwrap();
            let ids: Vec<i64> = (0..700).map(|_| fixture.writer.store.fresh_id().unwrap()).collect();
            if round == 1 {
                // What rolled back had is nobody's: it may come again.
                fixture.writer.rollback().unwrap();
                continue;
            }
            assert!(fixture.writer.recover().unwrap());
            let more = (0..700).map(|_| fixture.writer.store.fresh_id().unwrap());
            assert!(ids.into_iter().chain(more).all(|id| given.insert(id)));
            fixture.writer.commit().unwrap();
        }
        fixture.reopen_writer();
        fixture.writer.begin_write(NOW_MS).unwrap();
        assert!(given.insert(fixture.writer.store.fresh_id().unwrap()));
    }
}
