//! Walks: SCAN's steps and a random key. The order is that of the hash.

use rusqlite::OptionalExtension;

use super::error::Result;
use super::keyspace::{Entry, Keyspace};
use super::rows::Row;
use super::slots::{first_slot, last_slot, position_of, slot_at};

impl Keyspace {
    /// Shows live keys from `cursor` (0 at the start) on, looking at about `rows_max` rows, and returns the cursor to
    /// go on with, 0 when all were seen. A key that is there from the first call to the last is shown at least once.
    ///
    /// Why that holds while keys change: a row moves only when a hole before it in its own run of adjacent slots is
    /// closed, and never below its home. A walk stops only where a run ends, so the home of every row behind the cursor
    /// is behind it too.
    pub fn scan(&self, cursor: u64, rows_max: usize, visit: &mut dyn FnMut(&[u8], &Entry)) -> Result<u64> {
        let space = self.space(self.selected)?;
        let mut statement = self.connection.prepare_cached(
            "SELECT kind, id, expires_at_ms, length, key, slot FROM keyspace WHERE slot BETWEEN ?1 AND ?2 ORDER BY slot",
        )?;
        let mut rows = statement.query([slot_at(space, cursor), last_slot(space)])?;
        let mut seen = 0;
        let mut previous = None;
        while let Some(columns) = rows.next()? {
            let slot: i64 = columns.get(5)?;
            if let Some(previous) = previous
                && seen >= rows_max.max(1)
                && slot > previous + 1
            {
                return Ok(position_of(previous + 1));
            }
            let row = Row::from_columns(slot, columns)?;
            if self.is_live(&row) {
                visit(columns.get_ref(4)?.as_blob().map_err(rusqlite::Error::from)?, &row.entry());
            }
            seen += 1;
            previous = Some(slot);
        }
        Ok(0)
    }

    /// A live key, chosen by `random`: the first one at or after that place in the order of the hash.
    pub fn random_key(&self, random: u64) -> Result<Option<Vec<u8>>> {
        let space = self.space(self.selected)?;
        let start = slot_at(space, random);
        let mut statement = self.connection.prepare_cached(
            "SELECT key FROM keyspace
             WHERE slot BETWEEN ?1 AND ?2 AND (expires_at_ms IS NULL OR expires_at_ms > ?3) ORDER BY slot LIMIT 1",
        )?;
        for (first, last) in [(start, last_slot(space)), (first_slot(space), start)] {
            let found = statement.query_row([first, last, self.now_ms], |columns| columns.get(0)).optional()?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}
