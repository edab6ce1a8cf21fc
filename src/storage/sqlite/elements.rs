//! The rows of the tables `hash_field` and `set_member`. A table of elements more is one `Statements` more.

use std::ops::{ControlFlow, RangeInclusive};

use rusqlite::{Row as SqlRow, params};

use super::base::Base;
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{Apart, ElementName, ElementRow, Row, RowKey, Table};

type Show<'a> = &'a mut dyn FnMut(RowKey<'_>, Row<'_>) -> ControlFlow<()>;

/// What is said to a table. All take id, position and name first; what they show is value, apart, bytes of the name and of the value.
struct Statements {
    find: &'static str,
    /// By id and first and last position; position and name stand behind the rest.
    scan: &'static str,
    put: &'static str,
    delete: &'static str,
    /// By id and how many.
    apart_of_first: &'static str,
    delete_first: &'static str,
}

const HASH_FIELD: Statements = Statements {
    find: "SELECT value, apart, field_bytes, value_bytes FROM hash_field WHERE id = ?1 AND position = ?2 AND field = ?3",
    scan: "SELECT value, apart, field_bytes, value_bytes, position, field FROM hash_field
           WHERE id = ?1 AND position BETWEEN ?2 AND ?3 ORDER BY position, field",
    put: "INSERT INTO hash_field (id, position, field, value, apart, field_bytes, value_bytes)
          VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
          ON CONFLICT DO UPDATE SET value = excluded.value, apart = excluded.apart,
              field_bytes = excluded.field_bytes, value_bytes = excluded.value_bytes",
    delete: "DELETE FROM hash_field WHERE id = ?1 AND position = ?2 AND field = ?3",
    apart_of_first: "SELECT apart FROM hash_field WHERE id = ?1 ORDER BY position, field LIMIT ?2",
    delete_first: "DELETE FROM hash_field WHERE (id, position, field) IN
                   (SELECT id, position, field FROM hash_field WHERE id = ?1 ORDER BY position, field LIMIT ?2)",
};

const SET_MEMBER: Statements = Statements {
    find: "SELECT NULL, apart, member_bytes, 0 FROM set_member WHERE id = ?1 AND position = ?2 AND member = ?3",
    scan: "SELECT NULL, apart, member_bytes, 0, position, member FROM set_member
           WHERE id = ?1 AND position BETWEEN ?2 AND ?3 ORDER BY position, member",
    put: "INSERT INTO set_member (id, position, member, apart, member_bytes) VALUES (?1, ?2, ?3, ?5, ?6)
          ON CONFLICT DO UPDATE SET apart = excluded.apart, member_bytes = excluded.member_bytes
          WHERE apart IS NOT excluded.apart",
    delete: "DELETE FROM set_member WHERE id = ?1 AND position = ?2 AND member = ?3",
    apart_of_first: "SELECT apart FROM set_member WHERE id = ?1 ORDER BY position, member LIMIT ?2",
    delete_first: "DELETE FROM set_member WHERE (id, position, member) IN
                   (SELECT id, position, member FROM set_member WHERE id = ?1 ORDER BY position, member LIMIT ?2)",
};

const ALL: [&Statements; 2] = [&HASH_FIELD, &SET_MEMBER];

fn statements(table: Table) -> Result<&'static Statements> {
    match table {
        Table::HashField => Ok(&HASH_FIELD),
        Table::SetMember => Ok(&SET_MEMBER),
        other => Err(StorageError::Internal(format!("{other:?} is no table of elements"))),
    }
}

fn row_of<'a>(columns: &'a SqlRow<'_>) -> Result<ElementRow<'a>> {
    let value = columns.get_ref(0)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
    let apart = match columns.get(1)? {
        Some(id) => Some(Apart { id, name_bytes: columns.get(2)?, value_bytes: columns.get(3)? }),
        None => None,
    };
    Ok(ElementRow { value: value.unwrap_or_default(), apart })
}

impl Base {
    pub(super) fn element_row<R>(
        &self,
        name: &ElementName<'_>,
        show: impl FnOnce(ElementRow<'_>) -> R,
    ) -> Result<Option<R>> {
        let mut statement = self.connection.prepare_cached(statements(name.table)?.find)?;
        let mut rows = statement.query(params![name.id, name.position, name.name])?;
        match rows.next()? {
            Some(columns) => Ok(Some(show(row_of(columns)?))),
            None => Ok(None),
        }
    }

    pub(super) fn scan_elements(
        &self,
        table: Table,
        id: i64,
        positions: RangeInclusive<u64>,
        show: Show<'_>,
    ) -> Result<()> {
        let mut statement = self.connection.prepare_cached(statements(table)?.scan)?;
        let mut rows = statement.query(params![id, positions.start(), positions.end()])?;
        while let Some(columns) = rows.next()? {
            let name = columns.get_ref(5)?.as_blob().map_err(rusqlite::Error::from)?;
            let key = RowKey::element(table, id, columns.get(4)?, name);
            if show(key, Row::Element(row_of(columns)?)).is_break() {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn put_element(&self, name: &ElementName<'_>, row: &ElementRow<'_>) -> Result<()> {
        let ElementName { table, id, position, name } = name;
        let (value, apart) = (row.apart.is_none().then_some(row.value), row.apart);
        let (name_bytes, value_bytes) = (apart.map(|apart| apart.name_bytes), apart.map(|apart| apart.value_bytes));
        let apart = apart.map(|apart| apart.id);
        let mut statement = self.connection.prepare_cached(statements(*table)?.put)?;
        match table {
            Table::SetMember => statement.execute(params![id, position, name, None::<&[u8]>, apart, name_bytes])?,
            _ => statement.execute(params![id, position, name, value, apart, name_bytes, value_bytes])?,
        };
        Ok(())
    }

    /// A row of a batch. That of a collection which is given up need not be written, only what lies apart of it is to be found no more.
    pub(super) fn apply_element(
        &self,
        name: &ElementName<'_>,
        row: Option<ElementRow<'_>>,
        is_given_up: bool,
    ) -> Result<()> {
        match row {
            Some(row) if is_given_up => row.apart.map_or(Ok(()), |apart| self.give_up_value(apart.id)),
            Some(row) => self.put_element(name, &row),
            None => {
                let delete = statements(name.table)?.delete;
                self.connection.prepare_cached(delete)?.execute(params![name.id, name.position, name.name])?;
                Ok(())
            }
        }
    }

    /// Elements of a deleted collection, and what lies apart of them. Returns how many.
    pub(super) fn sweep_elements(&self, id: i64, rows_max: usize) -> Result<usize> {
        let mut removed = 0;
        for statements in ALL {
            let left = rows_max - removed;
            if left == 0 {
                break;
            }
            let apart: Vec<Option<i64>> = {
                let mut statement = self.connection.prepare_cached(statements.apart_of_first)?;
                let rows = statement.query_map(params![id, left], |columns| columns.get(0))?;
                rows.collect::<rusqlite::Result<_>>()?
            };
            if apart.is_empty() {
                continue;
            }
            apart.iter().flatten().try_for_each(|id| self.give_up_value(*id))?;
            removed += self.connection.prepare_cached(statements.delete_first)?.execute(params![id, left])?;
        }
        Ok(removed)
    }
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
