//! Rows of elements that come in the order of their keys, many of one table in one statement: it finds the place of the first, and the
//! others lie behind it. It knows nothing of what the rows mean.

use rusqlite::{CachedStatement, Connection};

use super::elements::{COLUMNS, bind_row, put_of};
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{ElementName, ElementRow, Table};

/// Rows in one statement.
const ROWS: usize = 32;

/// What becomes of a row that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conflict {
    /// It is replaced.
    Replaced,
    /// It is an error.
    Refused,
}

/// Rows that wait for their statement. Whoever has pushed rows calls `end`.
pub(super) struct Runs<'c, 'r> {
    connection: &'c Connection,
    conflict: Conflict,
    /// All of one table.
    waiting: Vec<(ElementName<'r>, ElementRow<'r>)>,
    /// For `ROWS` rows of a table.
    statement: Option<(Table, CachedStatement<'c>)>,
}

impl<'c, 'r> Runs<'c, 'r> {
    pub(super) fn new(connection: &'c Connection, conflict: Conflict) -> Self {
        Self { connection, conflict, waiting: Vec::with_capacity(ROWS), statement: None }
    }

    pub(super) fn push(&mut self, name: ElementName<'r>, row: ElementRow<'r>) -> Result<()> {
        if self.waiting.first().is_some_and(|(first, _)| first.table != name.table) {
            self.end()?;
        }
        self.waiting.push((name, row));
        if self.waiting.len() == ROWS { self.write() } else { Ok(()) }
    }

    /// Writes the rows that wait, which are too few for the statement.
    pub(super) fn end(&mut self) -> Result<()> {
        let Some((first, _)) = self.waiting.first() else { return Ok(()) };
        let mut statement = self.prepare(first.table, 1)?;
        for (name, row) in self.waiting.drain(..) {
            bind_row(&mut statement, 0, &name, &row)?;
            statement.raw_execute().map_err(refused)?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        let Some(table) = self.waiting.first().map(|(first, _)| first.table) else { return Ok(()) };
        if self.statement.as_ref().is_none_or(|(of, _)| *of != table) {
            self.statement = Some((table, self.prepare(table, ROWS)?));
        }
        let Some((_, statement)) = &mut self.statement else { return Ok(()) };
        for (number, (name, row)) in self.waiting.drain(..).enumerate() {
            bind_row(statement, number, &name, &row)?;
        }
        statement.raw_execute().map_err(refused)?;
        Ok(())
    }

    fn prepare(&self, table: Table, rows: usize) -> Result<CachedStatement<'c>> {
        Ok(self.connection.prepare_cached(&text(put_of(table)?, rows, self.conflict))?)
    }
}

fn refused(error: rusqlite::Error) -> StorageError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ConstraintViolation) => {
            StorageError::Corrupt(format!("a row is there twice: {error}"))
        }
        _ => error.into(),
    }
}

/// `put`, which puts one row, for so many rows. The parameters of each are numbered on from those of the one before.
fn text(put: &str, rows: usize, conflict: Conflict) -> String {
    let (begin, rest) = put.split_once("VALUES").unwrap_or((put, ""));
    let (values, otherwise) = rest.split_at(rest.find("ON CONFLICT").unwrap_or(rest.len()));
    let (begin, otherwise) = match conflict {
        Conflict::Replaced => (begin.to_owned(), otherwise),
        Conflict::Refused => (begin.replace("OR IGNORE ", ""), ""),
    };
    let values: Vec<String> = (0..rows).map(|row| numbered(values.trim(), row * COLUMNS)).collect();
    format!("{begin}VALUES {} {otherwise}", values.join(", "))
}

/// The text with each parameter's number so much higher.
fn numbered(text: &str, by: usize) -> String {
    let mut parts = text.split('?');
    let mut numbered = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(part.len());
        let (number, behind) = part.split_at(digits);
        let number: usize = number.parse().unwrap_or(0);
        numbered += &format!("?{}{behind}", number + by);
    }
    numbered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_of_many_rows_numbers_their_parameters_on() {
        let put = "INSERT OR IGNORE INTO t (id, a) VALUES (?1, CAST(?12 AS INTEGER))";
        assert_eq!(
            text(put, 2, Conflict::Replaced),
            "INSERT OR IGNORE INTO t (id, a) VALUES (?1, CAST(?12 AS INTEGER)), (?8, CAST(?19 AS INTEGER)) "
        );
        let put = "INSERT INTO t (id) VALUES (?1)\n ON CONFLICT DO UPDATE SET a = excluded.a";
        assert_eq!(
            text(put, 2, Conflict::Replaced),
            "INSERT INTO t (id) VALUES (?1), (?8) ON CONFLICT DO UPDATE SET a = excluded.a"
        );
        assert_eq!(text(put, 1, Conflict::Refused), "INSERT INTO t (id) VALUES (?1) ");
    }
}
