//! Rows as one connection's present transaction sees them: keys by probing, all else by their place.

use std::ops::{ControlFlow, RangeInclusive};

use rusqlite::{OptionalExtension, params};

use super::base::Base;
use super::chunks::{number_of, place};
use super::elements::unsigned;
use super::slot_rows::{FIND, FIND_WITH_VALUE, head_of};
use super::slots::{last_slot, slot_at};
use super::sweep::Orphan;
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{
    Between, Head, KeyRow, Name, Part, Passing, Range, Row, RowKey, Snapshot, StreamId, Stretch,
};

type Show<'a> = &'a mut dyn FnMut(RowKey<'_>, Row<'_>) -> ControlFlow<()>;

impl Snapshot for Base {
    fn row<R>(&self, key: RowKey<'_>, part: Part, show: impl FnOnce(Row<'_>) -> R) -> Result<Option<R>> {
        self.check_transaction()?;
        self.check_not_left_out(key)?;
        self.row_in_table(key, part, show)
    }

    fn scan(&self, range: Range, show: Show<'_>) -> Result<()> {
        self.check_transaction()?;
        self.check_none_left_out(&range)?;
        match range {
            Range::Keys { space, first, last } => self.scan_keys(space, first..=last, show),
            Range::Chunks { id, first, last } => self.scan_chunks(id, first..=last, show),
            Range::Elements { table, id, first, last } => self.scan_elements(table, id, first..=last, show),
        }
    }

    fn walk(&self, stretch: Stretch<'_>, show: Show<'_>) -> Result<()> {
        self.check_transaction()?;
        self.check_none_left_out(&stretch.range())?;
        self.walk_elements(&stretch, &mut Passing::rows(0), show)
    }

    fn walk_passing(&self, stretch: Stretch<'_>, passing: &mut Passing, show: Show<'_>) -> Result<()> {
        self.check_transaction()?;
        self.check_none_left_out(&stretch.range())?;
        self.walk_elements(&stretch, passing, show)
    }

    fn total(&self, between: Between<'_>) -> Result<Option<u64>> {
        self.check_transaction()?;
        self.check_none_left_out(&between.stretch().range())?;
        self.total_of_elements(&between).map(Some)
    }
}

impl Base {
    /// As its table has it, whether or not that is what was acknowledged.
    pub(in crate::storage) fn row_in_table<R>(
        &self,
        key: RowKey<'_>,
        part: Part,
        show: impl FnOnce(Row<'_>) -> R,
    ) -> Result<Option<R>> {
        match key.name() {
            Name::Key { space, position, key } => {
                let find = if part == Part::Head { FIND } else { FIND_WITH_VALUE };
                let found = |_, head: Head, columns: &rusqlite::Row<'_>| -> Result<R> {
                    let value = match part {
                        Part::Head => None,
                        Part::Whole => columns.get_ref(5)?.as_blob_or_null().map_err(rusqlite::Error::from)?,
                    };
                    if part == Part::Whole && head.id.is_none() && value.is_none() {
                        return Err(StorageError::Corrupt("a key's row has neither a value nor the id of one".into()));
                    }
                    Ok(show(Row::Key(KeyRow { head, value })))
                };
                let Some(number) = self.number_of_space(space)? else { return Ok(None) };
                self.probe(find, number, position, key, found, &mut 0)?.transpose()
            }
            Name::Chunk { id, number } => {
                let mut statement = self.connection.prepare_cached("SELECT value FROM chunk WHERE place = ?1")?;
                let mut rows = statement.query([place(id, number)])?;
                let Some(columns) = rows.next()? else { return Ok(None) };
                Ok(Some(show(Row::Chunk(columns.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?))))
            }
            Name::Element(element) => self.element_row(&element, |row| show(Row::Element(row))),
            Name::Database(number) => Ok(Some(show(Row::Database(self.database_row(number)?.id)))),
            Name::OrphanEntries(id) => {
                let find = "SELECT position, seq FROM orphan WHERE what = 'entries' AND number = ?1";
                let mut statement = self.connection.prepare_cached(find)?;
                let last = statement
                    .query_row([id], |row| Ok(StreamId { ms: unsigned(row.get(0)?), seq: unsigned(row.get(1)?) }));
                Ok(last.optional()?.map(|last| show(Row::OrphanEntries(last))))
            }
            Name::OrphanValue(id) => Ok(self.is_orphan("value", id)?.then(|| show(Row::Orphan))),
            Name::OrphanItems { id, end } => {
                let find = "SELECT position FROM orphan WHERE what = ?1 AND number = ?2";
                let mut statement = self.connection.prepare_cached(find)?;
                let position = statement.query_row(params![Orphan::items(end).name(), id], |row| row.get(0));
                Ok(position.optional()?.map(|position| show(Row::OrphanItems(position))))
            }
        }
    }
}

/// Keys of one run of neighbouring slots, which is where keys of neighbouring homes lie in any order.
#[derive(Default)]
struct Run {
    /// Homes, the keys' places in `bytes`, heads.
    keys: Vec<(u64, std::ops::Range<usize>, Head)>,
    bytes: Vec<u8>,
}

impl Run {
    fn push(&mut self, position: u64, key: &[u8], head: Head) {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.keys.push((position, at..self.bytes.len(), head));
    }

    fn show(&mut self, space: u64, show: Show<'_>) -> ControlFlow<()> {
        let Self { keys, bytes } = self;
        if keys.len() > 1 {
            keys.sort_by(|(a, a_key, _), (b, b_key, _)| (a, &bytes[a_key.clone()]).cmp(&(b, &bytes[b_key.clone()])));
        }
        let shown = keys.iter().try_for_each(|(position, key, head)| {
            let row = Row::Key(KeyRow { head: *head, value: None });
            show(RowKey::key(space, *position, &bytes[key.clone()]), row)
        });
        keys.clear();
        bytes.clear();
        shown
    }
}

impl Base {
    /// In the order of homes, which is that of slots from run to run. Of the run that the range begins in, what belongs before is left out.
    fn scan_keys(&self, space: u64, positions: RangeInclusive<u64>, show: Show<'_>) -> Result<()> {
        let Some(number) = self.number_of_space(space)? else { return Ok(()) };
        let last = slot_at(number, *positions.end());
        let mut statement = self.connection.prepare_cached(
            "SELECT kind, id, expires_at_ms, length, key, slot FROM keyspace WHERE slot BETWEEN ?1 AND ?2 ORDER BY slot",
        )?;
        let mut rows = statement.query([slot_at(number, *positions.start()), last_slot(number)])?;
        let (mut run, mut previous) = (Run::default(), 0);
        while let Some(columns) = rows.next()? {
            let slot: i64 = columns.get(5)?;
            if slot != previous + 1 && (run.show(space, show).is_break() || slot > last) {
                return Ok(());
            }
            previous = slot;
            let key = columns.get_ref(4)?.as_blob().map_err(rusqlite::Error::from)?;
            let position = self.homes.position(key);
            if positions.contains(&position) {
                run.push(position, key, head_of(columns)?);
            }
        }
        // Nothing is behind it, so nobody is to be kept from it.
        let (ControlFlow::Break(()) | ControlFlow::Continue(())) = run.show(space, show);
        Ok(())
    }

    fn scan_chunks(&self, id: i64, numbers: RangeInclusive<u64>, show: Show<'_>) -> Result<()> {
        let mut statement =
            self.connection.prepare_cached("SELECT place, value FROM chunk WHERE place BETWEEN ?1 AND ?2")?;
        let mut rows = statement.query([place(id, *numbers.start()), place(id, *numbers.end())])?;
        while let Some(columns) = rows.next()? {
            let number = number_of(columns.get(0)?);
            let value = columns.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            if show(RowKey::chunk(id, number), Row::Chunk(value)).is_break() {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn check_transaction(&self) -> Result<()> {
        if self.is_in_transaction() {
            Ok(())
        } else {
            Err(StorageError::Internal("a read outside a transaction".into()))
        }
    }

    pub(super) fn is_orphan(&self, what: &str, number: i64) -> Result<bool> {
        let mut statement = self.connection.prepare_cached("SELECT 1 FROM orphan WHERE what = ?1 AND number = ?2")?;
        Ok(statement.query_row(params![what, number], |_| Ok(())).optional()?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use crate::storage::fixture::Fixture;
    use crate::storage::{Expiry, Lookup};

    #[test]
    fn a_value_that_is_none_is_damage_and_not_a_value_of_zeros() {
        let mut fixture = Fixture::new();
        fixture.write(|keyspace| keyspace.put_string(b"k", b"value", Expiry::Clear).unwrap());
        fixture.write(|keyspace| {
            keyspace.put_string(b"other", b"value", Expiry::Clear).unwrap();
            keyspace.spill().unwrap();
            for value in ["NULL", "'text'"] {
                let damage = format!("UPDATE keyspace SET value = {value} WHERE key = CAST('k' AS BLOB)");
                keyspace.connection().execute_batch(&damage).unwrap();
                assert!(keyspace.string(b"k").unwrap_err().is_damage(), "{value}");
                assert!(keyspace.rename(b"k", b"l").unwrap_err().is_damage(), "{value}");
                assert_eq!(keyspace.string_length(b"k").unwrap(), Lookup::Found(5));
            }
        });
    }
}
