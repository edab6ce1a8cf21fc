//! The rows of the tables of elements: fields, members, their order, counts.

use std::ops::{ControlFlow, RangeInclusive};

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{CachedStatement, Row as SqlRow, Statement, ToSql, params};

use super::base::Base;
use super::element_statements::{Statements, statements, totals_of};
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{
    Apart, Between, Direction, ElementName, ElementRow, End, Passing, Row, RowKey, Stretch, Table, order_score,
    score_order,
};

type Show<'a> = &'a mut dyn FnMut(RowKey<'_>, Row<'_>) -> ControlFlow<()>;

/// What belongs to a group of a stream.
const GROUP: &[(Table, bool)] = &[
    (Table::StreamConsumer, true),
    (Table::StreamConsumerName, true),
    (Table::StreamPending, false),
    (Table::StreamOwned, false),
];

/// The tables of each kind of values; a value is of one kind. With each it is said whether its rows may name what lies apart, and are the
/// ones to give it up.
const KINDS: [&[(Table, bool)]; 6] = [
    &[(Table::HashField, true)],
    &[(Table::SetMember, true)],
    &[(Table::ListItem, true), (Table::ListCount, false)],
    &[(Table::SortedMember, true), (Table::SortedOrder, false), (Table::CountBlock, false), (Table::CountSum, false)],
    &[(Table::StreamEntry, true), (Table::StreamGroup, true)],
    GROUP,
];

/// No row has a name of so many bytes.
const BEHIND_ALL_NAMES: [u8; 512] = [0xff; 512];

/// The number of a row's key as its column has it.
fn column_of(table: Table, number: u64) -> Value {
    match table {
        Table::SortedOrder => Value::Real(order_score(number)),
        Table::CountBlock | Table::CountSum | Table::StreamEntry | Table::StreamPending => {
            Value::Integer(signed(number))
        }
        _ => Value::Integer(number.cast_signed()),
    }
}

/// The first and the last number that a row of the table can have.
fn numbers_of(table: Table) -> (u64, u64) {
    match table {
        Table::SortedOrder => (score_order(f64::NEG_INFINITY), score_order(f64::INFINITY)),
        Table::CountBlock | Table::CountSum | Table::StreamEntry | Table::StreamPending => (0, u64::MAX),
        _ => (0, i64::MAX.cast_unsigned()),
    }
}

/// The number nearest to this one that a row can have, as its column has it.
fn nearest(table: Table, number: u64) -> Value {
    let (first, last) = numbers_of(table);
    column_of(table, number.clamp(first, last))
}

fn number_of(table: Table, column: ValueRef<'_>) -> Result<u64> {
    let integer = || column.as_i64().map_err(rusqlite::Error::from);
    Ok(match table {
        Table::SortedOrder => score_order(column.as_f64().map_err(rusqlite::Error::from)?),
        Table::CountBlock | Table::CountSum | Table::StreamEntry | Table::StreamPending => unsigned(integer()?),
        _ => integer()?.cast_unsigned(),
    })
}

/// A number without a sign as an integer of SQLite: their order is the same.
pub(super) fn signed(number: u64) -> i64 {
    (number ^ 1 << 63).cast_signed()
}

pub(super) fn unsigned(column: i64) -> u64 {
    column.cast_unsigned() ^ 1 << 63
}

/// The name of a row's key as its column has it: the number of a stream's id is an integer. One that is none is that of no row.
fn name_column(table: Table, name: &[u8]) -> ToSqlOutput<'_> {
    match table {
        Table::StreamEntry | Table::StreamPending => {
            let number = name.try_into().map_or(if name.is_empty() { 0 } else { u64::MAX }, u64::from_be_bytes);
            ToSqlOutput::Owned(Value::Integer(signed(number)))
        }
        _ => ToSqlOutput::Borrowed(ValueRef::Blob(name)),
    }
}

/// The name that a column says; `room` is for one that is no column.
fn name_in<'a>(table: Table, column: ValueRef<'a>, room: &'a mut [u8; 8]) -> Result<&'a [u8]> {
    match table {
        Table::StreamEntry | Table::StreamPending => {
            *room = unsigned(column.as_i64().map_err(rusqlite::Error::from)?).to_be_bytes();
            Ok(room)
        }
        _ => Ok(column.as_blob().map_err(rusqlite::Error::from)?),
    }
}

/// A score as it is given to a column without a type: a whole number takes less room. -0 is none.
fn score_column(score: f64) -> Value {
    let whole = score as i64;
    let is_whole = whole as f64 == score && whole.unsigned_abs() < 1 << 53 && !(whole == 0 && score.is_sign_negative());
    if is_whole { Value::Integer(whole) } else { Value::Real(score) }
}

fn score_in(column: ValueRef<'_>) -> Result<f64> {
    Ok(match column {
        ValueRef::Integer(whole) => whole as f64,
        other => other.as_f64().map_err(rusqlite::Error::from)?,
    })
}

/// The row that columns say; `room` is for a value that is no column.
fn row_of<'a>(table: Table, columns: &'a SqlRow<'_>, room: &'a mut [u8; 16]) -> Result<ElementRow<'a>> {
    let apart_id = if table.counts_others() { None } else { columns.get(1)? };
    let apart = match apart_id {
        Some(id) => {
            let has_values = matches!(
                table,
                Table::HashField
                    | Table::ListItem
                    | Table::StreamEntry
                    | Table::StreamConsumer
                    | Table::StreamConsumerName
            );
            let has_names = !matches!(table, Table::StreamEntry);
            let value_bytes = if has_values { columns.get(3)? } else { 0 };
            let name_bytes = if has_names { columns.get(2)? } else { 0 };
            Some(Apart { id, name_bytes, value_bytes })
        }
        None => None,
    };
    let value = match table {
        Table::SortedMember => {
            room[..8].copy_from_slice(&score_in(columns.get_ref(0)?)?.to_le_bytes());
            let label: Option<i64> = columns.get(3)?;
            room[8..].copy_from_slice(&label.unwrap_or(0).to_le_bytes());
            &room[..if label.is_some() { 16 } else { 8 }]
        }
        Table::SortedOrder => {
            let is_minus_zero: Option<bool> = columns.get(0)?;
            if is_minus_zero == Some(true) { &[1][..] } else { &[] }
        }
        Table::CountBlock | Table::CountSum => {
            room[..8].copy_from_slice(&columns.get::<_, u64>(0)?.to_le_bytes());
            if table == Table::CountBlock {
                return Ok(ElementRow { value: &room[..8], apart });
            }
            room[8..].copy_from_slice(&columns.get::<_, u64>(3)?.to_le_bytes());
            &room[..]
        }
        _ => columns.get_ref(0)?.as_blob_or_null().map_err(rusqlite::Error::from)?.unwrap_or_default(),
    };
    Ok(ElementRow { value, apart })
}

/// Value and other number of a row, as `put` takes them.
fn columns_of<'a>(table: Table, row: &ElementRow<'a>) -> (ToSqlOutput<'a>, Option<i64>) {
    let word = |at: usize| row.value.get(at..).and_then(|rest| rest.first_chunk()).copied();
    let integer = |at| word(at).map(i64::from_le_bytes);
    match table {
        Table::SortedMember => {
            let score = score_column(word(0).map_or(0.0, f64::from_le_bytes));
            (ToSqlOutput::Owned(score), integer(8))
        }
        Table::SortedOrder => {
            let minus_zero = if row.value.is_empty() { Value::Null } else { Value::Integer(1) };
            (ToSqlOutput::Owned(minus_zero), None)
        }
        Table::CountBlock | Table::CountSum => {
            (ToSqlOutput::Owned(Value::Integer(integer(0).unwrap_or(0))), integer(8))
        }
        // What they have in their rows, they have whatever lies apart.
        Table::StreamEntry | Table::StreamGroup => {
            let apart = row.apart.map(|apart| apart.value_bytes.cast_signed());
            (ToSqlOutput::Borrowed(ValueRef::Blob(row.value)), apart)
        }
        _ => match row.apart {
            Some(apart) => (ToSqlOutput::Owned(Value::Null), Some(apart.value_bytes.cast_signed())),
            None => (ToSqlOutput::Borrowed(ValueRef::Blob(row.value)), None),
        },
    }
}

/// Columns that `put` takes at most.
pub(super) const COLUMNS: usize = 7;

/// Gives a statement that puts rows what one of them says: the first one has number 0.
pub(super) fn bind_row(
    statement: &mut Statement<'_>,
    number: usize,
    name: &ElementName<'_>,
    row: &ElementRow<'_>,
) -> Result<()> {
    let mut bind = |columns: &[&dyn ToSql]| {
        let first = number * COLUMNS + 1;
        let mut numbered = (first..).zip(columns);
        numbered.try_for_each(|(parameter, column)| statement.raw_bind_parameter(parameter, column))
    };
    let ElementName { table, id, position, name } = *name;
    let (value, other) = columns_of(table, row);
    let (name_bytes, apart) = (row.apart.map(|apart| apart.name_bytes), row.apart.map(|apart| apart.id));
    let (number, name) = (column_of(table, position), name_column(table, name));
    match table {
        Table::StreamEntry => bind(params![id, number, name, value, apart, other])?,
        Table::SetMember | Table::SortedOrder | Table::StreamGroup => {
            bind(params![id, number, name, value, apart, name_bytes])?;
        }
        Table::ListItem | Table::StreamConsumer => bind(params![id, number, value, apart, other])?,
        Table::ListCount => bind(params![id, number, value])?,
        Table::StreamOwned => bind(params![id, number, name])?,
        Table::CountBlock | Table::StreamPending => bind(params![id, number, name, value])?,
        _ => bind(params![id, number, name, value, apart, name_bytes, other])?,
    }
    Ok(())
}

/// The statement that `bind_row` is for, of one row.
pub(super) fn put_of(table: Table) -> Result<&'static str> {
    Ok(statements(table)?.put)
}

impl Base {
    pub(super) fn element_row<R>(
        &self,
        name: &ElementName<'_>,
        show: impl FnOnce(ElementRow<'_>) -> R,
    ) -> Result<Option<R>> {
        let mut statement = self.connection.prepare_cached(statements(name.table)?.find)?;
        let number = column_of(name.table, name.position);
        let mut rows = match name.table.has_names() {
            true => statement.query(params![name.id, number, name_column(name.table, name.name)])?,
            false => statement.query(params![name.id, number])?,
        };
        match rows.next()? {
            Some(columns) => Ok(Some(show(row_of(name.table, columns, &mut [0; 16])?))),
            None => Ok(None),
        }
    }

    pub(super) fn scan_elements(
        &self,
        table: Table,
        id: i64,
        numbers: RangeInclusive<u64>,
        show: Show<'_>,
    ) -> Result<()> {
        let statement = self.connection.prepare_cached(statements(table)?.scan)?;
        let parameters = params![id, nearest(table, *numbers.start()), nearest(table, *numbers.end())];
        show_all(table, id, statement, parameters, &mut Passing::rows(0), show).map(drop)
    }

    /// `passing` says what is passed first.
    pub(super) fn walk_elements(&self, stretch: &Stretch<'_>, passing: &mut Passing, show: Show<'_>) -> Result<()> {
        let Stretch { table, id, begin: (number, name), end, direction } = *stretch;
        let Statements { scan, walk: Some(walks), .. } = statements(table)? else {
            return Err(StorageError::Internal(format!("{table:?} is not walked from a place")));
        };
        let (first, last) = numbers_of(table);
        let all = |statement, parameters: &[&dyn ToSql], passing: &mut Passing, show: Show<'_>| {
            show_all(table, id, self.connection.prepare_cached(statement)?, parameters, passing, show)
        };
        let (at, behind) = (nearest(table, number), nearest(table, end));
        if direction == Direction::Backward {
            if number < first {
                return Ok(());
            }
            let name = name_column(table, if number > last { &BEHIND_ALL_NAMES } else { name });
            return all(walks.backward, &[&id, &at, &name, &behind], passing, show).map(drop);
        }
        if number > last || end < number {
            return Ok(());
        }
        if number < first || name.is_empty() {
            return all(scan, &[&id, &at, &behind], passing, show).map(drop);
        }
        let [same, higher] = walks.forward;
        if all(same, &[&id, &at, &name_column(table, name)], passing, show)?.is_break() {
            return Ok(());
        }
        // SQLite passes a row in less time than it takes to say one.
        let passed = passing.take_rows().unwrap_or(0).cast_signed();
        all(higher, &[&id, &at, &behind, &passed], passing, show).map(drop)
    }

    pub(super) fn total_of_elements(&self, between: &Between<'_>) -> Result<u64> {
        let Between { table, id, begin, end } = *between;
        let (first, last) = numbers_of(table);
        if begin.0 > last || end.0 < first || begin >= end {
            return Ok(0);
        }
        let begin_name = if begin.0 < first { &[] } else { begin.1 };
        let end_name = if end.0 > last { &BEHIND_ALL_NAMES } else { end.1 };
        let (begin, end) = (begin.0.max(first), end.0.min(last));
        let [within, across] = totals_of(table)?;
        let mut statement = self.connection.prepare_cached(if begin == end { within } else { across })?;
        let numbers = [column_of(table, begin), column_of(table, end)];
        let names = [name_column(table, begin_name), name_column(table, end_name)];
        let total = statement.query_row(params![id, numbers[0], numbers[1], names[0], names[1]], |row| row.get(0))?;
        Ok(total)
    }

    pub(super) fn put_element(&self, name: &ElementName<'_>, row: &ElementRow<'_>) -> Result<()> {
        let mut statement = self.connection.prepare_cached(put_of(name.table)?)?;
        bind_row(&mut statement, 0, name, row)?;
        statement.raw_execute()?;
        Ok(())
    }

    /// A row of a batch.
    pub(super) fn apply_element(&self, name: &ElementName<'_>, row: Option<ElementRow<'_>>) -> Result<()> {
        match row {
            Some(row) => self.put_element(name, &row),
            None => {
                let mut delete = self.connection.prepare_cached(statements(name.table)?.delete)?;
                let number = column_of(name.table, name.position);
                match name.table.has_names() {
                    true => delete.execute(params![name.id, number, name_column(name.table, name.name)])?,
                    false => delete.execute(params![name.id, number])?,
                };
                Ok(())
            }
        }
    }

    /// Items of a list beyond one of its ends, and what lies apart of them. Returns how many.
    pub(super) fn sweep_items(&self, id: i64, end: End, position: i64, rows_max: usize) -> Result<usize> {
        let (find, delete) = match end {
            End::Front => (
                "SELECT position, apart FROM list_item WHERE id = ?1 AND position < ?2 ORDER BY position LIMIT ?3",
                "DELETE FROM list_item WHERE id = ?1 AND position <= ?2",
            ),
            End::Back => (
                "SELECT position, apart FROM list_item WHERE id = ?1 AND position > ?2 ORDER BY position DESC LIMIT ?3",
                "DELETE FROM list_item WHERE id = ?1 AND position >= ?2",
            ),
        };
        let found: Vec<(i64, Option<i64>)> = {
            let mut statement = self.connection.prepare_cached(find)?;
            let rows = statement
                .query_map(params![id, position, rows_max], |columns| Ok((columns.get(0)?, columns.get(1)?)))?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        found.iter().filter_map(|(_, apart)| *apart).try_for_each(|apart| self.give_up_value(apart))?;
        match found.last() {
            Some((last, _)) => Ok(self.connection.prepare_cached(delete)?.execute(params![id, last])?),
            None => Ok(0),
        }
    }

    /// Entries of a stream up to one, and what lies apart of them. Returns how many.
    pub(super) fn sweep_entries(&self, id: i64, (ms, seq): (i64, i64), rows_max: usize) -> Result<usize> {
        let find = "SELECT ms, seq, apart FROM stream_entry WHERE id = ?1 AND (ms, seq) <= (?2, ?3)
                    ORDER BY ms, seq LIMIT ?4";
        let found: Vec<(i64, i64, Option<i64>)> = {
            let mut statement = self.connection.prepare_cached(find)?;
            let rows = statement.query_map(params![id, ms, seq, rows_max], |columns| {
                Ok((columns.get(0)?, columns.get(1)?, columns.get(2)?))
            })?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        found.iter().filter_map(|(.., apart)| *apart).try_for_each(|apart| self.give_up_value(apart))?;
        let delete = "DELETE FROM stream_entry WHERE id = ?1 AND (ms, seq) <= (?2, ?3)";
        match found.last() {
            Some((ms, seq, _)) => Ok(self.connection.prepare_cached(delete)?.execute(params![id, ms, seq])?),
            None => Ok(0),
        }
    }

    /// Elements of a deleted collection, and what lies apart of them. Returns how many rows. What is found first says the kind, and the tables
    /// of others are not asked.
    pub(super) fn sweep_elements(&self, id: i64, rows_max: usize) -> Result<usize> {
        for tables in KINDS {
            match self.sweep_tables(id, tables, rows_max)? {
                0 => {}
                removed => return Ok(removed),
            }
        }
        Ok(0)
    }

    /// What belongs to a deleted group. Returns how many rows.
    pub(super) fn sweep_group(&self, id: i64, rows_max: usize) -> Result<usize> {
        self.sweep_tables(id, GROUP, rows_max)
    }

    fn sweep_tables(&self, id: i64, tables: &[(Table, bool)], rows_max: usize) -> Result<usize> {
        let mut removed = 0;
        for &(table, owns_apart) in tables {
            let (statements, left) = (statements(table)?, rows_max - removed);
            if left == 0 {
                break;
            }
            let apart: Vec<Option<i64>> = {
                let mut statement = self.connection.prepare_cached(statements.apart_of_first)?;
                let rows = statement.query_map(params![id, left], |columns| columns.get(1))?;
                rows.collect::<rusqlite::Result<_>>()?
            };
            if apart.is_empty() {
                continue;
            }
            if owns_apart {
                apart.iter().flatten().try_for_each(|id| self.give_up_value(*id))?;
            }
            removed += self.connection.prepare_cached(statements.delete_first)?.execute(params![id, left])?;
        }
        Ok(removed)
    }
}

/// Whether what lies apart of its rows goes with them.
pub(super) fn owns_apart(table: Table) -> bool {
    KINDS.iter().flat_map(|tables| tables.iter()).any(|(of, owns_apart)| *of == table && *owns_apart)
}

/// The rows that `scan` or one of `Walks` finds, until `show` breaks off.
fn show_all(
    table: Table,
    id: i64,
    mut statement: CachedStatement<'_>,
    parameters: impl rusqlite::Params,
    passing: &mut Passing,
    show: Show<'_>,
) -> Result<ControlFlow<()>> {
    let mut rows = statement.query(parameters)?;
    while let Some(columns) = rows.next()? {
        if passing.passes(|| columns.get(0))? {
            continue;
        }
        let mut room = [0; 8];
        let name = name_in(table, columns.get_ref(5)?, &mut room)?;
        let key = RowKey::element(table, id, number_of(table, columns.get_ref(4)?)?, name);
        if show(key, Row::Element(row_of(table, columns, &mut [0; 16])?)).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::storage::fixture::{Fixture, NOW_MS};
    use crate::storage::{Expiry, Keyspace};

    /// After all that is not expired at `NOW_MS`: the views ask SQLite's clock.
    const IN_3000: i64 = 32_503_680_000_000;

    fn shown(keyspace: &Keyspace, sql: &str) -> Vec<(u8, String, String)> {
        let mut statement = keyspace.connection().prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    #[test]
    fn the_views_show_fields_and_members_packed_or_not_to_a_person() {
        let mut fixture = Fixture::new();
        let long = "long ".repeat(100);
        let huge = "x".repeat(20_000);
        let mut fields: BTreeMap<String, String> = (0..200).map(|n| (format!("f{n}"), format!("v{n}"))).collect();
        fields.insert(long.clone(), "of a long field".into());
        fields.insert("long value".into(), long.clone());
        fixture.write(|keyspace| {
            keyspace
                .hash_set(b"small", &[b"name", b"Ada", b"", b"12:3", b"empty", b"", b"long", long.as_bytes()])
                .unwrap();
            for (field, value) in &fields {
                keyspace.hash_set(b"large", &[field.as_bytes(), value.as_bytes()]).unwrap();
            }
            keyspace.set_expiry(b"large", Some(IN_3000)).unwrap();
            keyspace.set_add(b"numbers", &[b"10", b"9", b"-1"]).unwrap();
            for n in 0..300 {
                keyspace.set_add(b"members", &[n.to_string().as_bytes()]).unwrap();
            }
            keyspace.set_add(b"members", &[long.as_bytes()]).unwrap();
            keyspace.select(3);
            keyspace.set_add(b"words", &[b"one", b"two"]).unwrap();
            keyspace.hash_set(b"expired", &[b"f", b"v"]).unwrap();
            keyspace.set_expiry(b"expired", Some(NOW_MS + 1)).unwrap();
            keyspace.hash_set(b"huge", &[b"f", huge.as_bytes()]).unwrap();
            keyspace.put_string(b"string", b"s", Expiry::Clear).unwrap();
        });
        fixture.writer.begin_write(NOW_MS).unwrap();
        let keyspace = &fixture.writer;
        let rows = |rows: &[(u8, &str, &str)]| -> Vec<(u8, String, String)> {
            rows.iter().map(|(database, a, b)| (*database, (*a).to_owned(), (*b).to_owned())).collect()
        };
        let small = "SELECT database, field, value FROM v_hash WHERE key = 'small'";
        assert_eq!(
            shown(keyspace, small),
            rows(&[(0, "name", "Ada"), (0, "", "12:3"), (0, "empty", ""), (0, "long", &long)])
        );
        let large = shown(keyspace, "SELECT database, field, value FROM v_hash WHERE key = 'large' ORDER BY field");
        assert!(large.iter().map(|(_, field, value)| (field, value)).eq(&fields));
        let large = shown(keyspace, "SELECT database, key, field FROM v_hash WHERE database = 3");
        assert_eq!(large, rows(&[(3, "huge", "f")]));
        let huge = shown(keyspace, "SELECT database, key, value FROM v_hash WHERE database = 3");
        assert!(huge[0].2.ends_with("xxx...") && huge[0].2.len() == 8192 + 3);
        let sets =
            "SELECT database, key, group_concat(member, ' ') FROM v_set WHERE key <> 'members' GROUP BY database, key";
        assert_eq!(shown(keyspace, sets), rows(&[(0, "numbers", "-1 9 10"), (3, "words", "one two")]));
        let members = shown(keyspace, "SELECT database, key, member FROM v_set WHERE key = 'members'");
        assert!(members.len() == 301 && members.iter().any(|(.., member)| *member == long));
        let keys =
            "SELECT database, key || ' ' || type || ' ' || length, value FROM live_key WHERE database = 0 ORDER BY key";
        let expected = [
            (0, "large hash 202", "see v_hash"),
            (0, "members set 301", "see v_set"),
            (0, "numbers set 3", "see v_set"),
            (0, "small hash 4", "see v_hash"),
        ];
        assert_eq!(shown(keyspace, keys), rows(&expected));
    }
}
