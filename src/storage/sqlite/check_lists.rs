//! Verifies lists: between the ends that the key's row says there are as many rows as it counts, where positions alone tell which is which,
//! or the counts do; beyond them only what the sweeper knows of.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, params};

use super::base::Base;
use super::check::Report;
use crate::storage::error::Result;
use crate::storage::keyspace::{Encoding, ListShape, Packed, Window};
use crate::storage::rows::Kind;

/// Whether the value of a list's row is what the rest of the row says.
pub(super) fn list_fits(value: &[u8], id: Option<i64>, length: u64) -> bool {
    if !matches!(Packed::new(Kind::List, value).encoding(), Ok(Encoding::Listpack | Encoding::Quicklist)) {
        return false;
    }
    match id {
        Some(id) => Window::read(id, length, value).is_ok_and(|window| window.is_consistent(ListShape::of_files())),
        None => {
            let items: Result<Vec<_>> = Packed::new(Kind::List, value).elements().collect();
            items.is_ok_and(|items| items.len() as u64 == length && length > 0)
        }
    }
}

impl Base {
    /// `slot`: of its key's row.
    pub(super) fn verify_list(&self, id: i64, length: u64, slot: i64, report: &mut Report) -> Result<()> {
        let mut statement = self.connection.prepare_cached("SELECT value FROM keyspace WHERE slot = ?1")?;
        let value: Option<Vec<u8>> = statement.query_row([slot], |row| row.get(0)).optional()?.flatten();
        let Some(window) = value.and_then(|value| Window::read(id, length, &value).ok()) else {
            // Its row does not fit, which is said there.
            return Ok(());
        };
        let count = |sql: &str| -> Result<u64> {
            let mut statement = self.connection.prepare_cached(sql)?;
            Ok(statement.query_row(params![id, window.head, window.tail], |row| row.get(0))?)
        };
        let found = count("SELECT count(*) FROM list_item WHERE id = ?1 AND position BETWEEN ?2 AND ?3")?;
        if found != length {
            report.complain(format!("value {id}: a list of {length} items has {found} rows"));
        }
        let beyond = count(
            "SELECT count(*) FROM list_item WHERE id = ?1 AND (
                 (position < ?2 AND position >= coalesce(
                     (SELECT position FROM orphan WHERE what = 'before' AND number = ?1), -1))
              OR (position > ?3 AND position <= coalesce(
                     (SELECT position FROM orphan WHERE what = 'behind' AND number = ?1), 9223372036854775807)))",
        )?;
        if beyond > 0 {
            report.complain(format!("value {id}: a list has {beyond} rows beyond its ends that nobody sweeps"));
        }
        let over = count(
            "SELECT (SELECT count(*) FROM orphan WHERE what = 'before' AND number = ?1 AND position > ?2)
                  + (SELECT count(*) FROM orphan WHERE what = 'behind' AND number = ?1 AND position < ?3)",
        )?;
        if over > 0 {
            report.complain(format!("value {id}: items of a list wait for the sweeper"));
        }
        if self.counts_of(&window)? != self.counts_said(id)? {
            report.complain(format!("value {id}: the counts of a list are not those of its items"));
        }
        Ok(())
    }

    /// By how many items each block, and each sum, has more than regular positions.
    fn counts_of(&self, window: &Window) -> Result<BTreeMap<u64, i64>> {
        let shape = ListShape::of_files();
        let mut counts = BTreeMap::new();
        let mut add = |block: u64, more: i64| {
            *counts.entry(block).or_default() += more;
            *counts.entry(shape.sum_of(block)).or_default() += more;
        };
        let sql = "SELECT position FROM list_item WHERE id = ?1 AND position BETWEEN ?2 AND ?3 ORDER BY position";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![window.id, window.head, window.tail])?;
        let mut next = window.head;
        while let Some(row) = rows.next()? {
            let position: u64 = row.get(0)?;
            add(shape.block_of(position), 1);
            shape.regular_by_block(next, position + 1).for_each(|(block, regular)| add(block, -regular.cast_signed()));
            next = position + 1;
        }
        counts.retain(|_, more| *more != 0);
        Ok(counts)
    }

    fn counts_said(&self, id: i64) -> Result<BTreeMap<u64, i64>> {
        let mut statement = self.connection.prepare_cached("SELECT block, more FROM list_count WHERE id = ?1")?;
        let rows = statement.query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use crate::storage::End;
    use crate::storage::fixture::{Fixture, NOW_MS};
    use crate::storage::keyspace::Layout;
    use crate::storage::rows::Homes;

    #[test]
    fn twenty_thousand_lists_are_verified_in_as_many_steps_and_not_in_their_square() {
        const LISTS: u32 = 20_000;
        // A thousand of SQLite's instructions each; three hundred or so are needed for a list.
        const LOOKS_MAX: u64 = LISTS as u64;
        static LOOKS: AtomicU64 = AtomicU64::new(0);
        let mut fixture = Fixture::new();
        let homes = Homes::new(fixture.writer.seed().unwrap());
        fixture.writer.crowd(homes, Layout { packed_elements_max: 1, ..Layout::STANDARD });
        for group in 0..LISTS / 100 {
            fixture.write(|keyspace| {
                for number in 0..100 {
                    let key = (group * 100 + number).to_le_bytes();
                    keyspace.list_push(&key, End::Back, &[b"one", b"two"], false).unwrap();
                }
            });
        }
        let mut reader = fixture.reader();
        reader.limit_reads(|| LOOKS.fetch_add(1, Ordering::Relaxed) > LOOKS_MAX);
        reader.begin_read(NOW_MS).unwrap();
        assert_eq!(reader.verify().unwrap().problems, [""; 0]);
    }
}
