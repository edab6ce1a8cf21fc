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
// Not REPLACE: an UPDATE overwrites a row of the same size in place and leaves pages that do not differ alone.
const UPDATE: &str =
    "UPDATE keyspace SET kind = ?2, id = ?3, expires_at_ms = ?4, length = ?5, value = ?6 WHERE slot = ?1";
const REMOVE: &str = "DELETE FROM keyspace WHERE slot = ?1";

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

    /// Writes a row over the one of the same key.
    pub(super) fn update_row(&self, slot: i64, row: &KeyRow<'_>) -> Result<()> {
        let KeyRow { head, value } = row;
        let mut statement = self.connection.prepare_cached(UPDATE)?;
        statement.execute(params![slot, head.kind as i64, head.id, head.expires_at_ms, head.length, value])?;
        Ok(())
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
