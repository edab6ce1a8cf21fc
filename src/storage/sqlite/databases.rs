//! The table `database`: which space holds a database's keys, and how many there are.

use rusqlite::{OptionalExtension, params};

use super::base::Base;
use crate::storage::error::{Result, StorageError};
use crate::storage::keyspace::DATABASES;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Database {
    /// The space's name, in rows.
    pub(super) id: u64,
    /// Its number, in slots.
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

impl Databases {
    pub(super) fn owner_of(&self, space: u16) -> Option<u8> {
        self.rows.iter().position(|row| row.space == space).map(|number| number as u8)
    }

    pub(super) fn number_of(&self, id: u64) -> Option<u16> {
        self.rows.iter().find(|row| row.id == id).map(|row| row.space)
    }

    pub(super) fn rows(&self) -> &[Database; DATABASES] {
        &self.rows
    }

    pub(super) fn set(&mut self, number: usize, row: Database) {
        if self.rows[number] != row {
            self.rows[number] = row;
            self.touched |= 1 << number;
        }
    }

    pub(super) fn count(&mut self, database: u8, keys: i64, expires: i64) -> Result<()> {
        let number = usize::from(database);
        let row = self.rows[number].plus(keys, expires).ok_or_else(|| too_low(number))?;
        self.set(number, row);
        Ok(())
    }
}

impl Database {
    pub(super) fn plus(&self, keys: i64, expires: i64) -> Option<Self> {
        let key_count = self.key_count.checked_add_signed(keys)?;
        Some(Self { key_count, expires_count: self.expires_count.checked_add_signed(expires)?, ..*self })
    }
}

/// From the columns `space, key_count, expires_count, space_id`.
fn database_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Database> {
    Ok(Database {
        id: row.get::<_, i64>(3)?.cast_unsigned(),
        space: row.get(0)?,
        key_count: row.get(1)?,
        expires_count: row.get(2)?,
    })
}

pub(super) fn too_low(database: usize) -> StorageError {
    StorageError::Corrupt(format!("the key count of database {database} is too low"))
}

impl Base {
    pub(super) fn database_row(&self, database: u8) -> Result<Database> {
        self.check_transaction()?;
        if let Some(databases) = &self.writing {
            return Ok(databases.rows[usize::from(database)]);
        }
        let mut statement = self
            .connection
            .prepare_cached("SELECT space, key_count, expires_count, space_id FROM database WHERE number = ?1")?;
        let row = statement.query_row([database], database_of)?;
        self.known_spaces.borrow_mut().push((row.id, Some(row.space)));
        Ok(row)
    }

    /// The number of a database's space in the present transaction. None: no database has it.
    pub(super) fn number_of_space(&self, id: u64) -> Result<Option<u16>> {
        if let Some(databases) = &self.writing {
            return Ok(databases.number_of(id));
        }
        if let Some((_, number)) = self.known_spaces.borrow().iter().find(|(known, _)| *known == id) {
            return Ok(*number);
        }
        let mut statement = self.connection.prepare_cached("SELECT space FROM database WHERE space_id = ?1")?;
        let number = statement.query_row([id.cast_signed()], |row| row.get(0)).optional()?;
        self.known_spaces.borrow_mut().push((id, number));
        Ok(number)
    }

    /// Keys of a space, and those of them that end; none where no database has it.
    pub(super) fn space_counts(&self, id: u64) -> Result<(u64, u64)> {
        self.check_transaction()?;
        if let Some(databases) = &self.writing {
            let row = databases.rows.iter().find(|row| row.id == id);
            return Ok(row.map_or((0, 0), |row| (row.key_count, row.expires_count)));
        }
        let mut statement =
            self.connection.prepare_cached("SELECT key_count, expires_count FROM database WHERE space_id = ?1")?;
        let found = statement.query_row([id.cast_signed()], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        Ok(found.unwrap_or_default())
    }

    /// Where the databases' keys lie, in the present transaction.
    pub(in crate::storage) fn spaces(&self) -> Result<[u64; DATABASES]> {
        self.check_transaction()?;
        let databases = match &self.writing {
            Some(databases) => *databases,
            None => self.load_databases()?,
        };
        Ok(databases.rows.map(|row| row.id))
    }

    /// Keys of a database in its table, and those of them that end.
    pub(in crate::storage) fn counts_in_table(&self, database: u8) -> Result<(u64, u64)> {
        let row = self.database_row(database)?;
        Ok((row.key_count, row.expires_count))
    }

    pub(super) fn load_databases(&self) -> Result<Databases> {
        let mut databases = Databases { rows: Default::default(), touched: 0 };
        let mut statement =
            self.connection.prepare_cached("SELECT space, key_count, expires_count, space_id, number FROM database")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let number: usize = row.get(4)?;
            let Some(place) = databases.rows.get_mut(number) else {
                return Err(StorageError::Corrupt(format!("a database numbered {number}")));
            };
            *place = database_of(row)?;
        }
        Ok(databases)
    }

    /// Writes the touched rows; part of every commit.
    pub(super) fn store_databases(&mut self) -> Result<()> {
        let Databases { rows, touched } = self.writing()?;
        for (number, row) in rows.iter().enumerate().filter(|(number, _)| *touched & (1 << number) != 0) {
            self.connection
                .prepare_cached(
                    "REPLACE INTO database (number, space, key_count, expires_count, space_id) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![number, row.space, row.key_count, row.expires_count, row.id.cast_signed()])?;
        }
        self.writing_mut()?.touched = 0;
        Ok(())
    }
}
