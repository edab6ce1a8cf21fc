//! The index of keys by the time when they end. A key's own row says whether it has expired; this only lets the sweeper
//! find those that have.

use rusqlite::params;

use super::base::Base;
use super::slots::{first_slot, last_slot};
use crate::storage::error::Result;
use crate::storage::keyspace::ExpirySample;

/// With so few entries the index is looked through whole.
const INDEX_ENTRIES_MAX: u64 = 256;
/// Rows that a sample looks at, at either end: few, since each may have to be read from the disk.
const SAMPLED_ROWS: u64 = 20;

impl Base {
    pub(super) fn list_expiry(&self, expires_at_ms: i64, slot: i64) -> Result<()> {
        let mut statement =
            self.connection.prepare_cached("INSERT INTO expiry (expires_at_ms, slot) VALUES (?1, ?2)")?;
        statement.execute([expires_at_ms, slot])?;
        Ok(())
    }

    pub(super) fn unlist_expiry(&self, expires_at_ms: i64, slot: i64) -> Result<()> {
        let mut statement =
            self.connection.prepare_cached("DELETE FROM expiry WHERE expires_at_ms = ?1 AND slot = ?2")?;
        statement.execute([expires_at_ms, slot])?;
        Ok(())
    }

    /// Brings the index to a row whose time goes from `old` to `new`; by how many that changes the count of those that end.
    pub(super) fn relist_expiry(&self, slot: i64, old: Option<i64>, new: Option<i64>) -> Result<i64> {
        if old == new {
            return Ok(0);
        }
        if let Some(at) = old {
            self.unlist_expiry(at, slot)?;
        }
        if let Some(at) = new {
            self.list_expiry(at, slot)?;
        }
        Ok(i64::from(new.is_some()) - i64::from(old.is_some()))
    }

    /// The earliest time at which any key of any database ends; it may have passed already.
    pub fn next_expiry(&self) -> Result<Option<i64>> {
        let mut statement = self.connection.prepare_cached("SELECT min(expires_at_ms) FROM expiry")?;
        Ok(statement.query_row([], |row| row.get(0))?)
    }

    /// When keys of a database end after `now_ms`: all of them where they are few, else some that `random` picks. No more than some
    /// entries of the index, or some ten rows, are looked at.
    pub(in crate::storage) fn sample_expiries(&self, database: u8, now_ms: i64, random: u64) -> Result<ExpirySample> {
        let row = self.database_row(database)?;
        let (first, last) = (first_slot(row.space), last_slot(row.space));
        if row.expires_count <= INDEX_ENTRIES_MAX {
            // What is left of other databases, or of flushed ones, may stand before these.
            let mut statement = self.connection.prepare_cached(
                "SELECT slot, expires_at_ms FROM expiry WHERE expires_at_ms > ?1 ORDER BY expires_at_ms, slot LIMIT ?2",
            )?;
            let mut rows = statement.query(params![now_ms, INDEX_ENTRIES_MAX + 1])?;
            let (mut expires_at_ms, mut entries) = (Vec::new(), 0);
            while let Some(row) = rows.next()? {
                entries += 1;
                if (first..=last).contains(&row.get::<_, i64>(0)?) {
                    expires_at_ms.push(row.get(1)?);
                }
            }
            if entries <= INDEX_ENTRIES_MAX {
                return Ok(ExpirySample { expires_at_ms, is_all: true });
            }
        }
        // Rows lie in the order of a hash, so neighbours are as good as any: from a random place on, and then from the first.
        let start = first + (random % (last - first + 1).unsigned_abs()).cast_signed();
        let mut expires_at_ms = self.expiries_between(start, last, now_ms)?;
        if (expires_at_ms.len() as u64) < SAMPLED_ROWS / 2 {
            expires_at_ms.extend(self.expiries_between(first, start - 1, now_ms)?);
        }
        Ok(ExpirySample { expires_at_ms, is_all: false })
    }

    fn expiries_between(&self, first: i64, last: i64, now_ms: i64) -> Result<Vec<i64>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT expires_at_ms FROM
                 (SELECT expires_at_ms FROM keyspace WHERE slot BETWEEN ?1 AND ?2 ORDER BY slot LIMIT ?4)
             WHERE expires_at_ms > ?3",
        )?;
        let rows = statement.query_map(params![first, last, now_ms, SAMPLED_ROWS], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

#[cfg(test)]
mod tests {
    use crate::storage::fixture::{Fixture, NOW_MS};
    use crate::storage::{Expiry, ExpirySample, Keyspace};

    fn put(keyspace: &mut Keyspace, database: u8, range: std::ops::Range<i64>, expiry: impl Fn(i64) -> Expiry) {
        keyspace.select(database);
        range.for_each(|number| keyspace.put_string(number.to_string().as_bytes(), b"x", expiry(number)).unwrap());
        keyspace.select(0);
    }

    #[test]
    fn of_few_keys_that_end_all_are_the_sample_and_of_one_database_alone() {
        let mut fixture = Fixture::new();
        fixture.write(|keyspace| {
            put(keyspace, 0, 0..200, |_| Expiry::Clear);
            put(keyspace, 0, 50..80, |number| Expiry::At(NOW_MS + number));
            put(keyspace, 3, 0..9, |number| Expiry::At(NOW_MS + 100 + number));
        });
        fixture.write_at(NOW_MS + 59, |keyspace| {
            let ends: Vec<i64> = (60..80).map(|number| NOW_MS + number).collect();
            assert_eq!(keyspace.sample_expiries(7).unwrap(), ExpirySample { expires_at_ms: ends, is_all: true });
            keyspace.select(3);
            assert_eq!(keyspace.sample_expiries(7).unwrap().expires_at_ms.len(), 9);
            keyspace.select(5);
            let nothing = ExpirySample { expires_at_ms: Vec::new(), is_all: true };
            assert_eq!(keyspace.sample_expiries(7).unwrap(), nothing);
        });
    }

    #[test]
    fn of_many_keys_that_end_a_few_are_the_sample_wherever_it_begins() {
        let mut fixture = Fixture::new();
        fixture.write(|keyspace| {
            put(keyspace, 0, 0..2000, |number| Expiry::At(NOW_MS + 1 + number));
            put(keyspace, 1, 0..500, |_| Expiry::At(i64::MAX));
        });
        fixture.write(|keyspace| {
            let (mut sum, mut count) = (0, 0);
            for random in (0..200).map(|round: u64| round.wrapping_mul(0x9E37_79B9_7F4A_7C15)).chain([u64::MAX, 0]) {
                let sample = keyspace.sample_expiries(random).unwrap();
                assert!(!sample.is_all && !sample.expires_at_ms.is_empty() && sample.expires_at_ms.len() <= 40);
                assert!(sample.expires_at_ms.iter().all(|at| (NOW_MS..=NOW_MS + 2000).contains(at)));
                sum += sample.expires_at_ms.iter().map(|at| at - NOW_MS).sum::<i64>();
                count += sample.expires_at_ms.len() as i64;
            }
            // Uniform: the mean of some thousand draws is nowhere near a quarter off.
            assert!((750..1250).contains(&(sum / count)), "{}", sum / count);
        });
    }
}
