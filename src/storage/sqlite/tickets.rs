//! The last job applied of every worker, and what has become of parked jobs, kept in the transaction that did it: what a new writer
//! tells the workers after its predecessor died.

use rusqlite::params;

use super::base::Base;
use crate::storage::error::Result;

/// What has become of a parked job, as far as its worker may not have heard it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is parked.
    Waits,
    /// It was served: its answer may be lost, and it must never be served again.
    Served,
    /// Its worker has heard the end of it, or is gone.
    Over,
}

impl Base {
    pub fn record_parked(&mut self, number: u64, incarnation: u64, fate: Fate) -> Result<()> {
        self.check_writing()?;
        let number = number.cast_signed();
        if fate == Fate::Over {
            self.connection.prepare_cached("DELETE FROM parked_ticket WHERE number = ?1")?.execute([number])?;
            return Ok(());
        }
        self.connection
            .prepare_cached("REPLACE INTO parked_ticket (number, incarnation, is_served) VALUES (?1, ?2, ?3)")?
            .execute(params![number, incarnation.cast_signed(), fate == Fate::Served])?;
        Ok(())
    }

    /// (number, incarnation, what has become of it) of every parked job that is recorded since `reset_tickets`.
    pub fn parked_jobs(&self) -> Result<Vec<(u64, u64, Fate)>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT number, incarnation, is_served FROM parked_ticket ORDER BY number")?;
        let rows = statement.query_map([], |row| {
            let fate = if row.get(2)? { Fate::Served } else { Fate::Waits };
            Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?.cast_unsigned(), fate))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    pub fn record_ticket(&mut self, incarnation: u64, number: u64) -> Result<()> {
        self.check_writing()?;
        self.connection
            .prepare_cached("REPLACE INTO ticket (incarnation, number) VALUES (?1, ?2)")?
            .execute([incarnation.cast_signed(), number.cast_signed()])?;
        Ok(())
    }

    /// (incarnation, number) of every worker that has had a job applied since `reset_tickets`.
    pub fn applied_tickets(&self) -> Result<Vec<(u64, u64)>> {
        let mut statement =
            self.connection.prepare_cached("SELECT incarnation, number FROM ticket ORDER BY incarnation")?;
        let rows = statement
            .query_map([], |row| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?.cast_unsigned())))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The boot that the tickets belong to.
    pub fn ticket_boot(&self) -> Result<u64> {
        let boot: i64 =
            self.connection.query_row("SELECT value FROM meta WHERE name = 'ticket_boot'", [], |row| row.get(0))?;
        Ok(boot.cast_unsigned())
    }

    /// Forgets the tickets of an earlier boot.
    pub fn reset_tickets(&mut self, boot: u64) -> Result<()> {
        self.check_writing()?;
        self.connection.execute("DELETE FROM ticket", [])?;
        self.connection.execute("DELETE FROM parked_ticket", [])?;
        self.connection
            .execute("UPDATE meta SET value = ?1 WHERE name = 'ticket_boot'", params![boot.cast_signed()])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Fate;
    use crate::storage::fixture::{Fixture, NOW_MS};

    #[test]
    fn tickets_are_kept_with_their_transaction_and_forgotten_at_a_new_boot() {
        let mut fixture = Fixture::new();
        fixture.write(|keyspace| {
            keyspace.reset_tickets(u64::MAX).unwrap();
            keyspace.record_ticket(7, 1).unwrap();
            keyspace.record_ticket(2, 5).unwrap();
            keyspace.record_ticket(7, u64::MAX).unwrap();
            keyspace.record_parked(4, 7, Fate::Waits).unwrap();
            keyspace.record_parked(3, 7, Fate::Waits).unwrap();
            keyspace.record_parked(4, 7, Fate::Served).unwrap();
            keyspace.record_parked(5, 2, Fate::Waits).unwrap();
            keyspace.record_parked(5, 2, Fate::Over).unwrap();
        });
        fixture.writer.begin_write(NOW_MS).unwrap();
        fixture.writer.record_ticket(2, 6).unwrap();
        fixture.writer.rollback().unwrap();
        fixture.write(|keyspace| {
            assert_eq!(keyspace.applied_tickets().unwrap(), [(2, 5), (7, u64::MAX)]);
            assert_eq!(keyspace.parked_jobs().unwrap(), [(3, 7, Fate::Waits), (4, 7, Fate::Served)]);
            assert_eq!(keyspace.ticket_boot().unwrap(), u64::MAX);
            keyspace.reset_tickets(8).unwrap();
            assert_eq!(
                (keyspace.applied_tickets().unwrap(), keyspace.parked_jobs().unwrap()),
                (Vec::new(), Vec::new())
            );
            assert_eq!(keyspace.ticket_boot().unwrap(), 8);
        });
    }
}
