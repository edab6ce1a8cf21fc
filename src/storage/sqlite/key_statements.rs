//! The statements that write most rows of the table `keyspace`, at their homes and without a look first. Whoever writes many rows holds
//! them from row to row: to find a statement again costs as much as a small one takes.

use rusqlite::{CachedStatement, Connection, params};

use crate::storage::error::Result;
use crate::storage::rows::KeyRow;

/// At a home that is taken nothing is done.
const INSERT: &str = "INSERT OR IGNORE INTO keyspace (slot, kind, id, expires_at_ms, length, key, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
// Not REPLACE: an UPDATE overwrites a row of the same size in place and leaves pages that do not differ alone.
const UPDATE: &str =
    "UPDATE keyspace SET kind = ?2, id = ?3, expires_at_ms = ?4, length = ?5, value = ?6 WHERE slot = ?1 AND key = ?7";
/// What is most often written: a string over a string, neither of which ends.
const OVERWRITE: &str = "UPDATE keyspace SET length = ?3, value = ?4
    WHERE slot = ?1 AND key = ?2 AND kind = 1 AND id IS NULL AND expires_at_ms IS NULL";
/// The same where nothing is.
const INSERT_PLAIN: &str = "INSERT OR IGNORE INTO keyspace (slot, kind, id, expires_at_ms, length, key, value)
    VALUES (?1, 1, NULL, NULL, ?3, ?2, ?4)";

/// What became of a plain string that was put at its home without a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PutPlain {
    Inserted,
    Overwritten,
    /// Nothing was done: the home is another key's, or what lies there is no plain string.
    Refused,
}

pub(super) struct KeyStatements<'c> {
    connection: &'c Connection,
    insert: Held<'c>,
    update: Held<'c>,
    overwrite: Held<'c>,
    insert_plain: Held<'c>,
    /// The last plain string overwrote one: the next is tried so first. One descent for most, of an upsert it would be two thirds more.
    finds_rows: bool,
}

type Held<'c> = Option<CachedStatement<'c>>;

impl<'c> KeyStatements<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self { connection, insert: None, update: None, overwrite: None, insert_plain: None, finds_rows: true }
    }

    /// Writes a row at its home, if that is free.
    pub(super) fn insert_at_home(&mut self, home: i64, key: &[u8], row: &KeyRow<'_>) -> Result<bool> {
        let KeyRow { head, value } = row;
        let parameters = params![home, head.kind as i64, head.id, head.expires_at_ms, head.length, key, value];
        Ok(held(&mut self.insert, self.connection, INSERT)?.execute(parameters)? == 1)
    }

    /// Writes a row over the one of the same key, if that lies at its home.
    pub(super) fn update_at_home(&mut self, home: i64, key: &[u8], row: &KeyRow<'_>) -> Result<bool> {
        let KeyRow { head, value } = row;
        let parameters = params![home, head.kind as i64, head.id, head.expires_at_ms, head.length, value, key];
        Ok(held(&mut self.update, self.connection, UPDATE)?.execute(parameters)? == 1)
    }

    /// Writes a plain string over the one that lies at its home. False when there is none such: then nothing is said about the key.
    pub(super) fn overwrite_at_home(&mut self, home: i64, key: &[u8], value: &[u8]) -> Result<bool> {
        let parameters = params![home, key, value.len() as u64, value];
        Ok(held(&mut self.overwrite, self.connection, OVERWRITE)?.execute(parameters)? == 1)
    }

    /// Writes a plain string at its home, over one or where nothing is.
    pub(super) fn put_plain_at_home(&mut self, home: i64, key: &[u8], value: &[u8]) -> Result<PutPlain> {
        if self.finds_rows && self.overwrite_at_home(home, key, value)? {
            return Ok(PutPlain::Overwritten);
        }
        let parameters = params![home, key, value.len() as u64, value];
        if held(&mut self.insert_plain, self.connection, INSERT_PLAIN)?.execute(parameters)? == 1 {
            self.finds_rows = false;
            return Ok(PutPlain::Inserted);
        }
        if !self.finds_rows && self.overwrite_at_home(home, key, value)? {
            self.finds_rows = true;
            return Ok(PutPlain::Overwritten);
        }
        Ok(PutPlain::Refused)
    }
}

fn held<'s, 'c>(held: &'s mut Held<'c>, connection: &'c Connection, sql: &str) -> Result<&'s mut CachedStatement<'c>> {
    Ok(match held {
        Some(statement) => statement,
        None => held.insert(connection.prepare_cached(sql)?),
    })
}
