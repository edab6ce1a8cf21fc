//! The rows of the table `keyspace`: find by key, write at a slot, remove without breaking a run. Knows slots; does not
//! know counts, nor who else lists a key.

use rusqlite::{OptionalExtension, Row as SqlRow, params};

use super::base::Base;
use super::slots::{last_slot, slot_at, space_of};
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{Head, KeyRow, Kind};

/// Where the search for a key ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Taken(i64, Head),
    /// The key is not there; this slot would be its place.
    Free(i64),
}

/// From the columns `kind, id, expires_at_ms, length`, in that order from the first.
pub(super) fn head_of(columns: &SqlRow<'_>) -> Result<Head> {
    Ok(Head {
        kind: Kind::from_number(columns.get(0)?)?,
        id: columns.get(1)?,
        expires_at_ms: columns.get(2)?,
        length: columns.get(3)?,
    })
}

pub(super) const FIND: &str = "SELECT kind, id, expires_at_ms, length, key FROM keyspace WHERE slot = ?1";
pub(super) const FIND_WITH_VALUE: &str =
    "SELECT kind, id, expires_at_ms, length, key, value FROM keyspace WHERE slot = ?1";
const INSERT: &str =
    "INSERT INTO keyspace (slot, kind, id, expires_at_ms, length, key, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
/// At a home that is taken nothing is done.
const INSERT_AT_HOME: &str = "INSERT OR IGNORE INTO keyspace (slot, kind, id, expires_at_ms, length, key, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
// Not REPLACE: an UPDATE overwrites a row of the same size in place and leaves pages that do not differ alone.
const UPDATE: &str =
    "UPDATE keyspace SET kind = ?2, id = ?3, expires_at_ms = ?4, length = ?5, value = ?6 WHERE slot = ?1";
const UPDATE_AT_HOME: &str =
    "UPDATE keyspace SET kind = ?2, id = ?3, expires_at_ms = ?4, length = ?5, value = ?6 WHERE slot = ?1 AND key = ?7";
/// What is most often written: a string over a string, neither of which ends.
const OVERWRITE: &str = "UPDATE keyspace SET length = ?3, value = ?4
    WHERE slot = ?1 AND key = ?2 AND kind = 1 AND id IS NULL AND expires_at_ms IS NULL";
/// The same where there may be no row yet: one descent for either.
const PUT_PLAIN: &str = "INSERT INTO keyspace (slot, kind, id, expires_at_ms, length, key, value)
    VALUES (?1, 1, NULL, NULL, ?3, ?2, ?4)
    ON CONFLICT (slot) DO UPDATE SET length = excluded.length, value = excluded.value
    WHERE key = excluded.key AND kind = 1 AND id IS NULL AND expires_at_ms IS NULL";
const REMOVE: &str = "DELETE FROM keyspace WHERE slot = ?1";

/// What became of a plain string that was put at its home without a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PutPlain {
    Inserted,
    Overwritten,
    /// Nothing was done: the home is another key's, or what lies there is no plain string.
    Refused,
}

impl Base {
    pub(super) fn locate(&self, space: u16, position: u64, key: &[u8]) -> Result<Place> {
        let mut free = 0;
        let found = self.probe(FIND, space, position, key, |slot, head, _| (slot, head), &mut free)?;
        Ok(found.map_or(Place::Free(free), |(slot, head)| Place::Taken(slot, head)))
    }

    /// Linear probing from the key's home to its row, or to the first gap, which is left in `free`.
    pub(super) fn probe<R>(
        &self,
        find: &str,
        space: u16,
        position: u64,
        key: &[u8],
        f: impl FnOnce(i64, Head, &SqlRow<'_>) -> R,
        free: &mut i64,
    ) -> Result<Option<R>> {
        let mut statement = self.connection.prepare_cached(find)?;
        for slot in slot_at(space, position)..=last_slot(space) {
            let mut rows = statement.query([slot])?;
            let Some(columns) = rows.next()? else {
                *free = slot;
                return Ok(None);
            };
            if columns.get_ref(4)?.as_blob().is_ok_and(|found| found == key) {
                return Ok(Some(f(slot, head_of(columns)?, columns)));
            }
        }
        // 65,536 neighbours in a row: not chance, the file is not what the hash made of it.
        Err(StorageError::Corrupt(format!("no free slot in space {space}")))
    }

    /// Writes a row at the free slot that `locate` named.
    pub(super) fn insert_row(&self, slot: i64, key: &[u8], row: &KeyRow<'_>) -> Result<()> {
        let KeyRow { head, value } = row;
        let mut statement = self.connection.prepare_cached(INSERT)?;
        statement.execute(params![slot, head.kind as i64, head.id, head.expires_at_ms, head.length, key, value])?;
        Ok(())
    }

    /// Writes a row at its home, if that is free.
    pub(super) fn insert_at_home(&self, home: i64, key: &[u8], row: &KeyRow<'_>) -> Result<bool> {
        let KeyRow { head, value } = row;
        let mut statement = self.connection.prepare_cached(INSERT_AT_HOME)?;
        let done =
            statement.execute(params![home, head.kind as i64, head.id, head.expires_at_ms, head.length, key, value])?;
        Ok(done == 1)
    }

    /// Writes a row over the one of the same key.
    pub(super) fn update_row(&self, slot: i64, row: &KeyRow<'_>) -> Result<()> {
        let KeyRow { head, value } = row;
        let mut statement = self.connection.prepare_cached(UPDATE)?;
        statement.execute(params![slot, head.kind as i64, head.id, head.expires_at_ms, head.length, value])?;
        Ok(())
    }

    /// The same, if the key lies at its home.
    pub(super) fn update_at_home(&self, home: i64, key: &[u8], row: &KeyRow<'_>) -> Result<bool> {
        let KeyRow { head, value } = row;
        let mut statement = self.connection.prepare_cached(UPDATE_AT_HOME)?;
        let done =
            statement.execute(params![home, head.kind as i64, head.id, head.expires_at_ms, head.length, value, key])?;
        Ok(done == 1)
    }

    /// Writes a plain string over the one that lies at its home. False when there is none such: then nothing is said about the key.
    pub(super) fn overwrite_at_home(&self, home: i64, key: &[u8], value: &[u8]) -> Result<bool> {
        let mut statement = self.connection.prepare_cached(OVERWRITE)?;
        Ok(statement.execute(params![home, key, value.len() as u64, value])? == 1)
    }

    /// Writes a plain string at its home, over one or where nothing is.
    pub(super) fn put_plain_at_home(&self, home: i64, key: &[u8], value: &[u8]) -> Result<PutPlain> {
        // SQLite tells an insert from an update by this alone.
        if self.connection.last_insert_rowid() == home {
            return Ok(PutPlain::Refused);
        }
        let mut statement = self.connection.prepare_cached(PUT_PLAIN)?;
        if statement.execute(params![home, key, value.len() as u64, value])? == 0 {
            return Ok(PutPlain::Refused);
        }
        Ok(if self.connection.last_insert_rowid() == home { PutPlain::Inserted } else { PutPlain::Overwritten })
    }

    /// Removes the row and closes the hole: each later member of the run whose home is not past the hole moves into it.
    /// Their values do not change, so nobody is told.
    pub(super) fn remove_row(&self, slot: i64) -> Result<()> {
        self.connection.prepare_cached(REMOVE)?.execute([slot])?;
        let space = space_of(slot);
        let mut hole = slot;
        for next in slot + 1..=last_slot(space) {
            let Some((home, expires_at_ms)) = self.home_and_expiry(next)? else { break };
            if home <= hole {
                self.connection
                    .prepare_cached("UPDATE keyspace SET slot = ?1 WHERE slot = ?2")?
                    .execute([hole, next])?;
                if let Some(at) = expires_at_ms {
                    self.unlist_expiry(at, next)?;
                    self.list_expiry(at, hole)?;
                }
                hole = next;
            }
        }
        Ok(())
    }

    fn home_and_expiry(&self, slot: i64) -> Result<Option<(i64, Option<i64>)>> {
        let mut statement =
            self.connection.prepare_cached("SELECT key, expires_at_ms FROM keyspace WHERE slot = ?1")?;
        let found = statement.query_row([slot], |columns| {
            let position = self.homes.position(columns.get_ref(0)?.as_blob()?);
            Ok((slot_at(space_of(slot), position), columns.get(1)?))
        });
        Ok(found.optional()?)
    }
}
