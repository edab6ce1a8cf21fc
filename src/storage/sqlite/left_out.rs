//! Rows that could not be written into their tables, since a page of those is damaged. What the tables have in their places is older than
//! what was acknowledged, so it is nobody's answer: whoever asks for such a row gets an error, as for a page that can't be read.
//! A later row of the same name that can be written heals it.
//!
//! Whether there are any is asked once in a transaction: nearly always there are none.

use rusqlite::{OptionalExtension, params};

use super::base::Base;
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{Range, Row, RowKey, Table};

impl Base {
    /// Keeps a row that can't be written, for whoever repairs the file.
    pub(in crate::storage) fn leave_out(
        &mut self,
        generation: u64,
        key: RowKey<'_>,
        row: Option<Row<'_>>,
        reason: &str,
    ) -> Result<()> {
        self.check_writing()?;
        let mut bytes = Vec::new();
        if let Some(row) = row {
            row.write(&mut bytes);
        }
        let insert = "REPLACE INTO left_out (generation, name, row, reason) VALUES (?1, ?2, ?3, ?4)";
        let parameters = params![generation.cast_signed(), name_of(key), row.map(|_| bytes), reason];
        self.connection.prepare_cached(insert)?.execute(parameters)?;
        self.has_left_out.set(Some(true));
        Ok(())
    }

    /// A newer row of this name is in its table.
    pub(super) fn forget_left_out(&self, key: RowKey<'_>) -> Result<()> {
        if self.has_left_out()? {
            self.connection.prepare_cached("DELETE FROM left_out WHERE name = ?1")?.execute([name_of(key)])?;
        }
        Ok(())
    }

    /// Whether the present transaction sees any.
    pub(in crate::storage) fn has_left_out(&self) -> Result<bool> {
        if let Some(known) = self.has_left_out.get() {
            return Ok(known);
        }
        let mut statement = self.connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM left_out)")?;
        let found = statement.query_row([], |row| row.get(0))?;
        self.has_left_out.set(Some(found));
        Ok(found)
    }

    /// # Errors
    /// `Corrupt`: the row is older than what was acknowledged.
    pub(super) fn check_not_left_out(&self, key: RowKey<'_>) -> Result<()> {
        if !self.has_left_out()? {
            return Ok(());
        }
        let name = name_of(key);
        self.refuse_between(&name, &name)
    }

    /// The same for all rows of a range.
    pub(super) fn check_none_left_out(&self, range: &Range) -> Result<()> {
        if !self.has_left_out()? {
            return Ok(());
        }
        let (table, first, last) = range.bounds();
        // Whatever bytes follow the last number.
        let end = match last.checked_add(1) {
            Some(after) => begin_of(table, after),
            None => vec![table as u8 + 1],
        };
        self.refuse_between(&begin_of(table, first), &end)
    }

    /// `last` itself is no name of the range, or the only one.
    fn refuse_between(&self, first: &[u8], last: &[u8]) -> Result<()> {
        let sql = "SELECT 1 FROM left_out WHERE name BETWEEN ?1 AND ?2 AND (name < ?2 OR ?1 = ?2) LIMIT 1";
        let mut statement = self.connection.prepare_cached(sql)?;
        match statement.query_row(params![first, last], |_| Ok(())).optional()? {
            Some(()) => {
                Err(StorageError::Corrupt("a later change of this could not be written: table left_out".into()))
            }
            None => Ok(()),
        }
    }
}

/// In the order of row keys.
fn name_of(key: RowKey<'_>) -> Vec<u8> {
    let mut name = begin_of(key.table(), key.fields());
    name.extend_from_slice(key.tail());
    name
}

fn begin_of(table: Table, fields: u128) -> Vec<u8> {
    let mut name = vec![table as u8];
    name.extend_from_slice(&fields.to_be_bytes());
    name
}
