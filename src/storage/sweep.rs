//! Housekeeping in small bites, each inside a transaction of the caller: keys whose time has passed, rows that nobody
//! can reach any more, pages that nobody uses.

use rusqlite::{OptionalExtension, params};

use super::changes::Change;
use super::chunks::places;
use super::error::Result;
use super::keyspace::Keyspace;
use super::rows::Row;
use super::slots::{first_slot, last_slot, space_of};

/// Unused pages up to this share of the file are kept for what will be written next.
const UNUSED_SHARE: u64 = 4;

impl Keyspace {
    /// Removes keys whose time has passed, of all databases, the oldest first. Returns how many entries of the index it
    /// worked off: 0 when nothing is due.
    pub fn sweep_expired(&mut self, rows_max: usize) -> Result<usize> {
        self.writing()?;
        let due: Vec<(i64, i64)> = {
            let mut statement = self
                .connection
                .prepare_cached("SELECT expires_at_ms, slot FROM expiry WHERE expires_at_ms <= ?1 ORDER BY expires_at_ms, slot LIMIT ?2")?;
            let rows = statement.query_map(params![self.now_ms, rows_max], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        for &(at, slot) in &due {
            self.sweep_expired_slot(at, slot)?;
        }
        Ok(due.len())
    }

    fn sweep_expired_slot(&mut self, at: i64, slot: i64) -> Result<()> {
        let Some(database) = self.writing()?.databases.owner_of(space_of(slot)) else {
            // Its space was flushed; the row itself is the orphan sweep's.
            return self.unlist_expiry(at, slot);
        };
        let found = {
            let mut statement = self
                .connection
                .prepare_cached("SELECT kind, id, expires_at_ms, length, key FROM keyspace WHERE slot = ?1")?;
            let mut rows = statement.query([slot])?;
            match rows.next()? {
                Some(columns) => Some((Row::from_columns(slot, columns)?, columns.get::<_, Vec<u8>>(4)?)),
                None => None,
            }
        };
        // An earlier removal of this bite may have moved the row; then the index has it elsewhere now, for the next bite.
        let Some((row, key)) = found.filter(|(row, _)| row.expires_at_ms == Some(at)) else { return Ok(()) };
        self.mark(Change::Key { database, key: &key })?;
        self.discard(database, &row)
    }

    /// Removes rows of flushed databases and of deleted big values. Returns how many rows it worked off: 0 when there is
    /// nothing left.
    pub fn sweep_orphans(&mut self, rows_max: usize) -> Result<usize> {
        self.writing()?;
        let mut swept = 0;
        while swept < rows_max {
            let orphan = self
                .connection
                .prepare_cached("SELECT what = 'space', number FROM orphan LIMIT 1")?
                .query_row([], |row| Ok((row.get::<_, bool>(0)?, row.get::<_, i64>(1)?)))
                .optional()?;
            let Some((is_space, number)) = orphan else { break };
            let left = rows_max - swept;
            let removed =
                if is_space { self.sweep_space(number as u16, left)? } else { self.sweep_value(number, left)? };
            // The orphan's own row counts as one, so a bite of many empty ones ends too.
            swept += removed.max(1);
        }
        Ok(swept)
    }

    /// Chunks of a deleted value; when none is left its orphan row goes.
    fn sweep_value(&mut self, id: i64, rows_max: usize) -> Result<usize> {
        let (first, last) = places(id);
        let removed = self
            .connection
            .prepare_cached(
                "DELETE FROM chunk WHERE place IN (SELECT place FROM chunk WHERE place BETWEEN ?1 AND ?2 LIMIT ?3)",
            )?
            .execute(params![first, last, rows_max])?;
        if removed < rows_max {
            self.connection.prepare_cached("DELETE FROM orphan WHERE what = 'value' AND number = ?1")?.execute([id])?;
        }
        Ok(removed)
    }

    /// Rows of a flushed space, from its end, with their values and expiry entries; when none is left the space is free.
    fn sweep_space(&mut self, space: u16, rows_max: usize) -> Result<usize> {
        let rows: Vec<(i64, Option<i64>, Option<i64>)> = {
            let mut statement = self.connection.prepare_cached(
                "SELECT slot, id, expires_at_ms FROM keyspace WHERE slot BETWEEN ?1 AND ?2 ORDER BY slot LIMIT ?3",
            )?;
            let rows = statement.query_map(params![first_slot(space), last_slot(space), rows_max], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        for &(slot, id, expires_at_ms) in &rows {
            self.abandon_value(id)?;
            if let Some(at) = expires_at_ms {
                self.unlist_expiry(at, slot)?;
            }
        }
        if let (Some((first, ..)), Some((last, ..))) = (rows.first(), rows.last()) {
            self.connection
                .prepare_cached("DELETE FROM keyspace WHERE slot BETWEEN ?1 AND ?2")?
                .execute([first, last])?;
        }
        if rows.len() < rows_max {
            self.connection
                .prepare_cached("DELETE FROM orphan WHERE what = 'space' AND number = ?1")?
                .execute([space])?;
        }
        Ok(rows.len())
    }

    /// Gives unused pages back to the file system when they are more than a quarter of the file. Returns how many.
    pub fn vacuum(&mut self, pages_max: u32) -> Result<u32> {
        self.writing()?;
        let number = |name: &str| -> rusqlite::Result<u64> {
            self.connection.prepare_cached(&format!("PRAGMA {name}"))?.query_row([], |row| row.get(0))
        };
        let (unused, all) = (number("freelist_count")?, number("page_count")?);
        let excess = unused.saturating_sub(all / UNUSED_SHARE).min(u64::from(pages_max)) as u32;
        if excess > 0 {
            let mut statement = self.connection.prepare(&format!("PRAGMA incremental_vacuum({excess})"))?;
            let mut rows = statement.query([])?;
            // Each step frees one page.
            while rows.next()?.is_some() {}
        }
        Ok(excess)
    }
}
