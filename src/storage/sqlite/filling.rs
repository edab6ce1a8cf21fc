//! A new file is filled: written without a journal, since nobody else has it and half of it is worth nothing. Keys come sorted, so each
//! row goes behind the last one.

use std::fs::File;
use std::path::Path;
use std::rc::Rc;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ToSql, params_from_iter};

use super::base::Base;
use super::element_runs::{Conflict, Runs};
use super::open::sync_directory;
use super::schema::DATA_FILE;
use super::slots::space_of;
use crate::storage::error::{Result, StorageError};
use crate::storage::keyspace::DATABASES;
use crate::storage::rows::{Batch, KeyRow, Name, Row, RowKey};

/// Rows in one statement: it finds the end of the table once.
const ROWS: usize = 64;
const COLUMNS: usize = 7;

impl Base {
    /// Before the first transaction: from now on a crash leaves a file of no use.
    pub(in crate::storage) fn begin_filling(&mut self) -> Result<()> {
        self.connection.query_row("PRAGMA journal_mode = OFF", [], |_| Ok(()))?;
        self.connection.pragma_update(None, "synchronous", 0)?;
        self.is_filling = true;
        Ok(())
    }

    /// After the last one. The file is as a service wants it, but not on the disk yet; how long it is.
    pub(in crate::storage) fn end_filling(&mut self) -> Result<u64> {
        self.commit()?;
        // Not WAL: closing would leave a -wal beside it. A start turns it on.
        self.connection.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
        self.data_bytes()
    }

    /// Names and numbers of the databases' spaces, in a write transaction.
    pub(in crate::storage) fn numbered_spaces(&self) -> Result<[(u64, u16); DATABASES]> {
        Ok(self.writing()?.rows().map(|row| (row.id, row.space)))
    }

    /// All keys that end do so earlier, in a write transaction.
    pub(in crate::storage) fn bring_expiries_forward(&self, by_ms: i64) -> Result<()> {
        for sql in [
            "UPDATE keyspace SET expires_at_ms = expires_at_ms - ?1 WHERE expires_at_ms IS NOT NULL",
            "UPDATE expiry SET expires_at_ms = expires_at_ms - ?1",
        ] {
            self.connection.execute(sql, [by_ms])?;
        }
        Ok(())
    }

    /// Writes all of a batch but keys, which are shown. A row of an element may be there already: what belongs to a group of a stream is
    /// written in parts.
    pub(in crate::storage) fn apply_values(
        &mut self,
        batch: &Batch,
        mut show_key: impl FnMut(RowKey<'_>, &KeyRow<'_>) -> Result<()>,
    ) -> Result<()> {
        let connection = Rc::clone(&self.connection);
        let mut runs = Runs::new(&connection, Conflict::Replaced);
        self.apply_all(|applying| {
            batch.in_order(|changed| match (changed.key.name(), changed.row) {
                (Name::Key { .. }, Some(Row::Key(row))) => show_key(changed.key, &row),
                (Name::Key { .. }, _) => Ok(()),
                (Name::Element(name), Some(Row::Element(row))) if !applying.is_given_up(name.id) => {
                    runs.push(name, row)
                }
                _ => applying.row(changed.key, changed.row, changed.origin),
            })?;
            runs.end()
        })
    }

    /// Writes rows of elements that nothing is known of yet.
    ///
    /// # Errors
    /// Also `Corrupt`: one of them is there already.
    pub(super) fn insert_elements(&self, rows: &Batch) -> Result<()> {
        let mut runs = Runs::new(&self.connection, Conflict::Refused);
        rows.in_order(|changed| match (changed.key.name(), changed.row) {
            (Name::Element(name), Some(Row::Element(row))) => runs.push(name, row),
            _ => Ok(()),
        })?;
        runs.end()
    }
}

/// Keys on their way into an empty table, in the order of their homes.
pub(in crate::storage) struct Inserting<'b> {
    base: &'b mut Base,
    /// Where the last key lies.
    last: i64,
    /// Keys of the last one's home and of those that it displaced: a key that is there already is one of them.
    run: Vec<Vec<u8>>,
    waiting: Vec<Waiting>,
    /// Of each space: keys, and those of them that end.
    counts: Vec<(u16, i64, i64)>,
}

/// A key's row, for a statement of many.
struct Waiting {
    numbers: [Option<i64>; COLUMNS - 2],
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

impl<'b> Inserting<'b> {
    pub(in crate::storage) fn new(base: &'b mut Base) -> Self {
        Self { base, last: 0, run: Vec::new(), waiting: Vec::new(), counts: Vec::new() }
    }

    /// Where the key lies. Its home is not before that of the last one.
    pub(in crate::storage) fn insert(&mut self, home: i64, key: &[u8], row: &KeyRow<'_>) -> Result<i64> {
        if home > self.last {
            self.run.clear();
        } else if self.run.iter().any(|other| other == key) {
            return Err(StorageError::Corrupt(format!("a key is there twice: {}", key.escape_ascii())));
        }
        self.run.push(key.to_vec());
        self.last = home.max(self.last + 1);
        let (space, head) = (space_of(self.last), &row.head);
        let ends = i64::from(head.expires_at_ms.is_some());
        match self.counts.last_mut().filter(|(of, ..)| *of == space) {
            Some((_, keys, ending)) => (*keys, *ending) = (*keys + 1, *ending + ends),
            None => self.counts.push((space, 1, ends)),
        }
        let numbers =
            [Some(self.last), Some(head.kind as i64), head.id, head.expires_at_ms, Some(head.length.cast_signed())];
        self.waiting.push(Waiting { numbers, key: key.to_vec(), value: row.value.map(<[u8]>::to_vec) });
        if self.waiting.len() == ROWS {
            self.write(ROWS)?;
        }
        Ok(self.last)
    }

    pub(in crate::storage) fn insert_expiry(&mut self, expires_at_ms: i64, slot: i64) -> Result<()> {
        self.base.list_expiry(expires_at_ms, slot)
    }

    /// No more keys come. `numbers`: those of the databases' spaces.
    pub(in crate::storage) fn end(mut self, numbers: &[u16; DATABASES]) -> Result<()> {
        for _ in 0..self.waiting.len() {
            self.write(1)?;
        }
        for (space, keys, ending) in &self.counts {
            let database = numbers.iter().position(|number| number == space);
            let database = database.ok_or_else(|| StorageError::Internal("a key of no database".into()))?;
            self.base.writing_mut()?.count(database as u8, *keys, *ending)?;
        }
        Ok(())
    }

    fn write(&mut self, rows: usize) -> Result<()> {
        insert_statement(&self.base.connection, rows)?
            .execute(params_from_iter(self.waiting.drain(..rows).flat_map(columns)))?;
        Ok(())
    }
}

enum Column {
    Number(Option<i64>),
    Bytes(Option<Vec<u8>>),
}

impl ToSql for Column {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Number(Some(number)) => ValueRef::Integer(*number),
            Self::Bytes(Some(bytes)) => ValueRef::Blob(bytes),
            Self::Number(None) | Self::Bytes(None) => ValueRef::Null,
        }))
    }
}

fn columns(row: Waiting) -> impl Iterator<Item = Column> {
    let bytes = [Some(row.key), row.value].map(Column::Bytes);
    row.numbers.map(Column::Number).into_iter().chain(bytes)
}

fn insert_statement(connection: &Connection, rows: usize) -> Result<CachedStatement<'_>> {
    let values = vec!["(?, ?, ?, ?, ?, ?, ?)"; rows].join(", ");
    let sql = format!("INSERT INTO keyspace (slot, kind, id, expires_at_ms, length, key, value) VALUES {values}");
    Ok(connection.prepare_cached(&sql)?)
}

/// The data file of a directory, and its name, are on the disk.
pub(in crate::storage) fn sync(directory: &Path) -> Result<()> {
    let path = directory.join(DATA_FILE);
    File::open(&path)
        .and_then(|file| file.sync_all())
        .map_err(|error| StorageError::SyncFailed(format!("{}: {error}", path.display())))?;
    sync_directory(directory)
}
