//! The index of keys by the time when they end. A key's own row says whether it has expired; this only lets the sweeper
//! find those that have.

use super::error::Result;
use super::keyspace::Keyspace;

impl Keyspace {
    pub(super) fn list_expiry(&mut self, expires_at_ms: i64, slot: i64) -> Result<()> {
        let mut statement =
            self.connection.prepare_cached("INSERT INTO expiry (expires_at_ms, slot) VALUES (?1, ?2)")?;
        statement.execute([expires_at_ms, slot])?;
        Ok(())
    }

    pub(super) fn unlist_expiry(&mut self, expires_at_ms: i64, slot: i64) -> Result<()> {
        let mut statement =
            self.connection.prepare_cached("DELETE FROM expiry WHERE expires_at_ms = ?1 AND slot = ?2")?;
        statement.execute([expires_at_ms, slot])?;
        Ok(())
    }

    /// Brings index and count to a row whose time goes from `old` to `new`.
    pub(super) fn relist_expiry(&mut self, database: u8, slot: i64, old: Option<i64>, new: Option<i64>) -> Result<()> {
        if old == new {
            return Ok(());
        }
        if let Some(at) = old {
            self.unlist_expiry(at, slot)?;
        }
        if let Some(at) = new {
            self.list_expiry(at, slot)?;
        }
        let change = i64::from(new.is_some()) - i64::from(old.is_some());
        self.count(database, 0, change)
    }

    /// The earliest time at which any key of any database ends; it may have passed already.
    pub fn next_expiry(&self) -> Result<Option<i64>> {
        let mut statement = self.connection.prepare_cached("SELECT min(expires_at_ms) FROM expiry")?;
        Ok(statement.query_row([], |row| row.get(0))?)
    }
}
