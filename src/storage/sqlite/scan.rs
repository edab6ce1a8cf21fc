//! Walks: SCAN's steps and a random key. The order is that of the hash.

use rusqlite::OptionalExtension;

use super::keyspace::{Entry, Keyspace};
use super::rows::Row;
use super::slots::{first_slot, last_slot, position_of, slot_at};
use crate::storage::error::Result;

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::Expiry;
    use super::super::fixture::{Fixture, NOW_MS};

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Keys below 40 stay; the others come and go between the steps, in the same runs.
        #[test]
        fn a_scan_shows_every_key_that_stays_however_others_come_and_go(
            count in 1..8usize,
            homes in 1..400u64,
            changes in prop::collection::vec((40..120u8, any::<bool>()), 0..400),
        ) {
            let mut fixture = Fixture::new();
            fixture.writer.hash = super::super::slots::SlotHash::crowded(homes);
            fixture.write(|keyspace| {
                for key in 0..80u8 {
                    keyspace.put_string(&[key], b"", Expiry::Clear).unwrap();
                }
            });
            let mut seen = BTreeSet::new();
            let mut changes = changes.into_iter();
            let mut cursor = 0;
            loop {
                cursor = fixture.write(|keyspace| {
                    let next = keyspace.scan(cursor, count, &mut |key, _| { seen.insert(key[0]); }).unwrap();
                    for (key, is_put) in changes.by_ref().take(11) {
                        if is_put {
                            keyspace.put_string(&[key], b"", Expiry::At(NOW_MS + 1)).unwrap();
                        } else {
                            keyspace.delete(&[key]).unwrap();
                        }
                    }
                    next
                });
                if cursor == 0 {
                    break;
                }
            }
            prop_assert!((0..40).all(|key| seen.contains(&key)), "{:?}", seen);
        }
    }

    #[test]
    fn any_cursor_is_answered_and_a_walk_by_ones_ends() {
        let mut fixture = Fixture::new();
        fixture.write(|keyspace| {
            for key in 0..100u8 {
                keyspace.put_string(&[key], b"", Expiry::Clear).unwrap();
            }
            for cursor in [1, 77, u64::MAX, 1 << 48, (1 << 48) - 1, i64::MAX.cast_unsigned()] {
                keyspace.scan(cursor, 10, &mut |_, _| {}).unwrap();
            }
            let (mut cursor, mut steps, mut shown) = (0, 0, 0);
            loop {
                cursor = keyspace.scan(cursor, 0, &mut |_, _| shown += 1).unwrap();
                steps += 1;
                if cursor == 0 {
                    break;
                }
            }
            assert_eq!((steps, shown), (100, 100));
            let chosen: BTreeSet<_> =
                (0..200u64).map(|n| keyspace.random_key(n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).unwrap()).collect();
            assert!(chosen.len() > 50);
        });
    }
}
