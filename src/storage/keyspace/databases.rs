//! The sixteen numbered databases. Flush and swap only change which space holds a database's keys, whatever their number. Spaces are
//! named by fresh ids; a space that no database has any more is given up by whoever applies the batch.

use std::cell::Cell;

use super::changes::Change;
use super::keyspace::{Keyspace, Store};
use crate::storage::broken::{self, Variant};
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{Name, Origin, Part, Row, RowKey};

pub const DATABASES: usize = 16;

/// Rows of a batch that are searched for one of a database. In a larger one it is taken to be there, which costs a fresh space and no more.
const ROWS_SEARCHED: usize = 64;

/// The spaces that were asked for; 0 is not yet asked.
#[derive(Debug, Default)]
pub(super) struct SpaceCache([Cell<u64>; DATABASES]);

impl SpaceCache {
    pub(super) fn clear(&self) {
        self.0.iter().for_each(|space| space.set(0));
    }
}

impl<S: Store> Keyspace<S> {
    /// Where the keys of a database lie, in the present view.
    pub(super) fn space(&self, database: u8) -> Result<u64> {
        let known = &self.spaces.0[usize::from(database)];
        if known.get() != 0 && self.store.is_in_transaction() {
            return Ok(known.get());
        }
        let found = self.view().row(RowKey::database(database), Part::Whole, |row| match row {
            Row::Database(space) => Some(space),
            _ => None,
        })?;
        let space = found.flatten().ok_or_else(|| StorageError::Corrupt(format!("there is no database {database}")))?;
        known.set(space);
        Ok(space)
    }

    /// The same for what stands on it.
    pub(in crate::storage) fn space_of(&self, database: u8) -> Result<u64> {
        self.space(database)
    }

    /// Keys of the selected database. One whose time has passed counts until it is swept.
    pub fn key_count(&self) -> Result<u64> {
        Ok(self.counts()?.0)
    }

    /// Those of `key_count` that will expire.
    pub fn expires_count(&self) -> Result<u64> {
        Ok(self.counts()?.1)
    }

    fn counts(&self) -> Result<(u64, u64)> {
        let space = self.space(self.selected)?;
        let (keys, ends) = self.store.counts(space)?;
        let (more_keys, more_ends) = self.view().count_changes(space)?;
        Ok((keys.saturating_add_signed(more_keys), ends.saturating_add_signed(more_ends)))
    }

    /// Empties the selected database, at once.
    pub fn flush_database(&mut self) -> Result<()> {
        self.mark(Change::Flush { databases: 1 << self.selected })?;
        self.give_fresh_space(self.selected)
    }

    /// Empties all databases, at once.
    pub fn flush_all(&mut self) -> Result<()> {
        self.mark(Change::Flush { databases: u16::MAX })?;
        (0..DATABASES as u8).try_for_each(|database| self.give_fresh_space(database))
    }

    /// Exchanges the keys of two databases, at once.
    pub fn swap_databases(&mut self, a: u8, b: u8) -> Result<()> {
        self.mark(Change::Swap { a, b })?;
        let (space_a, space_b) = (self.space(a)?, self.space(b)?);
        self.put_database(a, space_b)?;
        self.put_database(b, space_a)
    }

    fn give_fresh_space(&mut self, database: u8) -> Result<()> {
        let old = self.space(database)?;
        if !self.may_have_keys(old)? {
            return Ok(());
        }
        let fresh = if broken::is(Variant::SpacesGivenTwice) { old % 4 + 1 } else { self.fresh_id()?.cast_unsigned() };
        self.put_database(database, fresh)
    }

    fn put_database(&mut self, database: u8, space: u64) -> Result<()> {
        self.batch.put(RowKey::database(database), Row::Database(space), Origin::Blind)?;
        self.spaces.clear();
        Ok(())
    }

    /// False only where a space has no rows at all, above and below.
    fn may_have_keys(&self, space: u64) -> Result<bool> {
        if self.store.may_have_keys(space)? || self.batch.len() > ROWS_SEARCHED {
            return Ok(true);
        }
        let searched = self.batch.each(|changed| match changed.key.name() {
            Name::Key { space: of, .. } if of == space => Err(()),
            _ => Ok(()),
        });
        Ok(searched.is_err())
    }
}
