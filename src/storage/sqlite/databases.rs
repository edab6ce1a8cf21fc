//! The sixteen numbered databases: which space holds their keys, and how many there are. Flush and swap only rewrite
//! this table, whatever the number of keys.

use std::cell::Cell;

use rusqlite::{OptionalExtension, params};

use super::changes::Change;
use super::keyspace::Keyspace;
use super::slots::SPACE_MAX;
use crate::storage::error::{Result, StorageError};

pub const DATABASES: usize = 16;

/// How many rows are swept at once when a flush finds no free space left.
const MAKE_ROOM_ROWS: usize = 1000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Database {
    pub(super) space: u16,
    pub(super) key_count: u64,
    pub(super) expires_count: u64,
}

/// All databases as a write transaction has made them; written to the table once, at its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Databases {
    rows: [Database; DATABASES],
    /// Bit N is set exactly when row N differs from the table.
    touched: u16,
}

/// The spaces that a read transaction has asked for; 0 is not yet asked.
#[derive(Debug, Default)]
pub(super) struct SpaceCache([Cell<u16>; DATABASES]);

impl SpaceCache {
    pub(super) fn clear(&self) {
        self.0.iter().for_each(|space| space.set(0));
    }
}

impl Databases {
    pub(super) fn owner_of(&self, space: u16) -> Option<u8> {
        self.rows.iter().position(|row| row.space == space).map(|number| number as u8)
    }

    fn at(&mut self, number: u8) -> &mut Database {
        self.touched |= 1 << number;
        &mut self.rows[usize::from(number)]
    }
}

impl Keyspace {
    /// Where the keys of a database lie, in the present transaction.
    pub(super) fn space(&self, database: u8) -> Result<u16> {
        let known = &self.spaces.0[usize::from(database)];
        if known.get() == 0 || !self.is_in_transaction() {
            known.set(self.database_row(database)?.space);
        }
        Ok(known.get())
    }

    pub(super) fn database_row(&self, database: u8) -> Result<Database> {
        if !self.is_in_transaction() {
            return Err(StorageError::Internal("a read outside a transaction".into()));
        }
        if let Some(writing) = self.transaction.writing() {
            return Ok(writing.databases.rows[usize::from(database)]);
        }
        let mut statement =
            self.connection.prepare_cached("SELECT space, key_count, expires_count FROM database WHERE number = ?1")?;
        let row = statement.query_row([database], |row| {
            Ok(Database { space: row.get(0)?, key_count: row.get(1)?, expires_count: row.get(2)? })
        })?;
        Ok(row)
    }

    pub(super) fn load_databases(&self) -> Result<Databases> {
        let mut databases = Databases { rows: Default::default(), touched: 0 };
        let mut statement =
            self.connection.prepare_cached("SELECT number, space, key_count, expires_count FROM database")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let number: usize = row.get(0)?;
            let Some(place) = databases.rows.get_mut(number) else {
                return Err(StorageError::Corrupt(format!("a database numbered {number}")));
            };
            *place = Database { space: row.get(1)?, key_count: row.get(2)?, expires_count: row.get(3)? };
        }
        Ok(databases)
    }

    /// Writes the touched rows; part of every commit.
    pub(super) fn store_databases(&mut self) -> Result<()> {
        let Some(writing) = self.transaction.writing_mut() else { return Ok(()) };
        let Databases { rows, touched } = writing.databases;
        writing.databases.touched = 0;
        for (number, row) in rows.iter().enumerate().filter(|(number, _)| touched & (1 << number) != 0) {
            self.connection
                .prepare_cached(
                    "REPLACE INTO database (number, space, key_count, expires_count) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![number, row.space, row.key_count, row.expires_count])?;
        }
        Ok(())
    }

    pub(super) fn count(&mut self, database: u8, keys: i64, expires: i64) -> Result<()> {
        let row = self.writing()?.databases.at(database);
        let (key_count, expires_count) =
            (row.key_count.checked_add_signed(keys), row.expires_count.checked_add_signed(expires));
        let (Some(key_count), Some(expires_count)) = (key_count, expires_count) else {
            return Err(StorageError::Corrupt(format!("the key count of database {database} is too low")));
        };
        (row.key_count, row.expires_count) = (key_count, expires_count);
        Ok(())
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
        let databases = &mut self.writing()?.databases;
        let (old_a, old_b) = (*databases.at(a), *databases.at(b));
        (*databases.at(a), *databases.at(b)) = (old_b, old_a);
        self.spaces.clear();
        Ok(())
    }

    fn give_fresh_space(&mut self, database: u8) -> Result<()> {
        let old = self.database_row(database)?;
        if old.key_count == 0 {
            return Ok(());
        }
        let fresh = self.free_space()?;
        self.connection
            .prepare_cached("INSERT INTO orphan (what, number) VALUES ('space', ?1)")?
            .execute([old.space])?;
        *self.writing()?.databases.at(database) = Database { space: fresh, key_count: 0, expires_count: 0 };
        self.spaces.clear();
        Ok(())
    }

    /// A space that no database uses and that holds no rows to be swept.
    fn free_space(&mut self) -> Result<u16> {
        loop {
            let databases = self.writing()?.databases;
            let after = databases.rows.iter().map(|row| row.space).max().unwrap_or(0);
            for step in 1..=SPACE_MAX {
                let space = (after - 1 + step) % SPACE_MAX + 1;
                if databases.owner_of(space).is_none() && !self.is_orphan_space(space)? {
                    return Ok(space);
                }
            }
            // 32,751 flushes ahead of the sweeper. Waiting for it is the only way to go on.
            if self.sweep_orphans(MAKE_ROOM_ROWS)? == 0 {
                return Err(StorageError::Corrupt("no space is free, and none can be swept".into()));
            }
        }
    }

    fn is_orphan_space(&self, space: u16) -> Result<bool> {
        let mut statement =
            self.connection.prepare_cached("SELECT 1 FROM orphan WHERE what = 'space' AND number = ?1")?;
        Ok(statement.query_row([space], |_| Ok(())).optional()?.is_some())
    }
}
