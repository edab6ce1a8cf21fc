//! The rows of the table `keyspace`: find by key, write at a slot, remove without breaking a run. Knows slots; does not
//! know counts, expiry times or who is told of a change.

use rusqlite::{OptionalExtension, Row as SqlRow, params};

use super::keyspace::{Entry, Keyspace, Kind};
use super::slots::{last_slot, space_of};
use crate::storage::error::{Result, StorageError};

/// A row without its key and value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) slot: i64,
    pub(super) kind: Kind,
    pub(super) id: Option<i64>,
    pub(super) expires_at_ms: Option<i64>,
    pub(super) length: u64,
}

/// Where the search for a key ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Taken(Row),
    /// The key is not there; this slot would be its place.
    Free(i64),
}

impl Row {
    /// From the columns `kind, id, expires_at_ms, length`, in that order from the first.
    pub(super) fn from_columns(slot: i64, columns: &SqlRow<'_>) -> Result<Self> {
        Ok(Self {
            slot,
            kind: Kind::from_number(columns.get(0)?)?,
            id: columns.get(1)?,
            expires_at_ms: columns.get(2)?,
            length: columns.get(3)?,
        })
    }

    pub(super) fn entry(&self) -> Entry {
        Entry { kind: self.kind, expires_at_ms: self.expires_at_ms, length: self.length, id: self.id }
    }
}

const FIND: &str = "SELECT kind, id, expires_at_ms, length, key FROM keyspace WHERE slot = ?1";
const FIND_WITH_VALUE: &str = "SELECT kind, id, expires_at_ms, length, key, value FROM keyspace WHERE slot = ?1";
const INSERT: &str =
    "INSERT INTO keyspace (slot, kind, id, expires_at_ms, length, key, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
// Not REPLACE: an UPDATE overwrites a row of the same size in place and leaves pages that do not differ alone.
const UPDATE: &str =
    "UPDATE keyspace SET kind = ?2, id = ?3, expires_at_ms = ?4, length = ?5, value = ?6 WHERE slot = ?1";
/// One descent instead of two, for what is most often written: a string over a string, neither of which ends.
const OVERWRITE: &str = "UPDATE keyspace SET length = ?3, value = ?4
    WHERE slot = ?1 AND key = ?2 AND kind = 1 AND id IS NULL AND expires_at_ms IS NULL";
const REMOVE: &str = "DELETE FROM keyspace WHERE slot = ?1";

impl Keyspace {
    pub(super) fn locate(&self, space: u16, key: &[u8]) -> Result<Place> {
        let mut free = 0;
        let found = self.probe(FIND, space, key, |row, _| row, &mut free)?;
        Ok(found.map_or(Place::Free(free), Place::Taken))
    }

    /// Shows the key's row and its inline value, expired or not.
    pub(super) fn with_row<R>(
        &self,
        space: u16,
        key: &[u8],
        f: impl FnOnce(Row, Option<&[u8]>) -> R,
    ) -> Result<Option<R>> {
        self.probe(
            FIND_WITH_VALUE,
            space,
            key,
            |row, columns| {
                let value = columns.get_ref(5).ok().and_then(|value| value.as_blob().ok());
                f(row, value)
            },
            &mut 0,
        )
    }

    /// Linear probing from the key's home to its row, or to the first gap, which is left in `free`.
    fn probe<R>(
        &self,
        find: &str,
        space: u16,
        key: &[u8],
        f: impl FnOnce(Row, &SqlRow<'_>) -> R,
        free: &mut i64,
    ) -> Result<Option<R>> {
        let mut statement = self.connection.prepare_cached(find)?;
        for slot in self.hash.home(space, key)..=last_slot(space) {
            let mut rows = statement.query([slot])?;
            let Some(columns) = rows.next()? else {
                *free = slot;
                return Ok(None);
            };
            if columns.get_ref(4)?.as_blob().is_ok_and(|found| found == key) {
                return Ok(Some(f(Row::from_columns(slot, columns)?, columns)));
            }
        }
        // 65,536 neighbours in a row: not chance, the file is not what the hash made of it.
        Err(StorageError::Corrupt(format!("no free slot in space {space}")))
    }

    /// Writes a row at the free slot that `locate` named.
    pub(super) fn insert_row(&mut self, row: &Row, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        let mut statement = self.connection.prepare_cached(INSERT)?;
        statement.execute(params![row.slot, row.kind as i64, row.id, row.expires_at_ms, row.length, key, value])?;
        Ok(())
    }

    /// Writes a row over the one of the same key.
    pub(super) fn update_row(&mut self, row: &Row, value: Option<&[u8]>) -> Result<()> {
        let mut statement = self.connection.prepare_cached(UPDATE)?;
        statement.execute(params![row.slot, row.kind as i64, row.id, row.expires_at_ms, row.length, value])?;
        Ok(())
    }

    /// Writes a string over the one that lies in the key's row at its home, if there is such a one and it never ends. False when
    /// there is none: then nothing is said about the key.
    pub(super) fn overwrite_row(&mut self, space: u16, key: &[u8], value: &[u8]) -> Result<bool> {
        let home = self.hash.home(space, key);
        let mut statement = self.connection.prepare_cached(OVERWRITE)?;
        Ok(statement.execute(params![home, key, value.len() as u64, value])? == 1)
    }

    /// Removes the row and closes the hole: each later member of the run whose home is not past the hole moves into it.
    /// Their values do not change, so nobody is told.
    pub(super) fn remove_row(&mut self, slot: i64) -> Result<()> {
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
            let home = self.hash.home(space_of(slot), columns.get_ref(0)?.as_blob()?);
            Ok((home, columns.get(1)?))
        });
        Ok(found.optional()?)
    }
}
