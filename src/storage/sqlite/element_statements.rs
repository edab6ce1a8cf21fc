//! What is said to the tables of elements, in SQL. A table more is one `Statements` more.

use crate::storage::error::{Result, StorageError};
use crate::storage::rows::Table;

/// What is said to a table. All take id and number first, and the name where there are names. What they show of a row, and take of it behind these, are four columns:
/// value, apart, bytes of the name, and another number; those that the table has not are NULL.
pub(super) struct Statements {
    pub(super) find: &'static str,
    /// By id and first and last number; number and name stand behind the rest.
    pub(super) scan: &'static str,
    /// The same columns from a place on. None: nobody walks there.
    pub(super) walk: Option<Walks>,
    pub(super) put: &'static str,
    pub(super) delete: &'static str,
    /// By id and how many.
    pub(super) apart_of_first: &'static str,
    pub(super) delete_first: &'static str,
}

pub(super) struct Walks {
    /// What has this number too, by id, number and name, and what has a higher one, by id, number, last number and how many are passed first: each
    /// is a range of one column, since of a pair SQLite compares both again at each row.
    pub(super) forward: [&'static str; 2],
    /// By id, number, name and last number: most who walk so look for one row.
    pub(super) backward: &'static str,
}

/// The statements of a table with these columns.
macro_rules! statements {
    ($table:literal, $number:literal, $name:literal, $columns:literal, $put:literal) => {
        Statements {
            find: concat!(
                "SELECT ",
                $columns,
                " FROM ",
                $table,
                " WHERE id = ?1 AND ",
                $number,
                " = ?2 AND ",
                $name,
                " = ?3"
            ),
            scan: concat!(
                "SELECT ",
                $columns,
                ", ",
                $number,
                ", ",
                $name,
                " FROM ",
                $table,
                " WHERE id = ?1 AND ",
                $number,
                " BETWEEN ?2 AND ?3 ORDER BY ",
                $number,
                ", ",
                $name
            ),
            walk: Some(Walks {
                forward: [
                    concat!(
                        "SELECT ",
                        $columns,
                        ", ",
                        $number,
                        ", ",
                        $name,
                        " FROM ",
                        $table,
                        " WHERE id = ?1 AND ",
                        $number,
                        " = ?2 AND ",
                        $name,
                        " >= ?3 ORDER BY ",
                        $name
                    ),
                    concat!(
                        "SELECT ",
                        $columns,
                        ", ",
                        $number,
                        ", ",
                        $name,
                        " FROM ",
                        $table,
                        " WHERE id = ?1 AND ",
                        $number,
                        " > ?2 AND ",
                        $number,
                        " <= ?3 ORDER BY ",
                        $number,
                        ", ",
                        $name,
                        " LIMIT -1 OFFSET ?4"
                    ),
                ],
                backward: concat!(
                    "SELECT ",
                    $columns,
                    ", ",
                    $number,
                    ", ",
                    $name,
                    " FROM ",
                    $table,
                    " WHERE id = ?1 AND (",
                    $number,
                    ", ",
                    $name,
                    ") <= (?2, ?3) AND ",
                    $number,
                    " >= ?4 ORDER BY ",
                    $number,
                    " DESC, ",
                    $name,
                    " DESC"
                ),
            }),
            put: $put,
            delete: concat!("DELETE FROM ", $table, " WHERE id = ?1 AND ", $number, " = ?2 AND ", $name, " = ?3"),
            apart_of_first: concat!("SELECT ", $columns, " FROM ", $table, " WHERE id = ?1 LIMIT ?2"),
            delete_first: concat!(
                "DELETE FROM ",
                $table,
                " WHERE (id, ",
                $number,
                ", ",
                $name,
                ") IN (SELECT id, ",
                $number,
                ", ",
                $name,
                " FROM ",
                $table,
                " WHERE id = ?1 LIMIT ?2)"
            ),
        }
    };
}

/// What lies between two places: within one number, by id, this number, and two names; or from one number to a higher one, by id, both numbers
/// and both names. Each part is a range of one column, since of a pair of them SQLite compares both again at each row.
macro_rules! totals {
    ($table:literal, $number:literal, $name:literal, $total:literal) => {
        [
            concat!(
                "SELECT ",
                $total,
                " FROM ",
                $table,
                " WHERE id = ?1 AND ",
                $number,
                " = ?2 AND ",
                $name,
                " >= ?4 AND ",
                $name,
                " < ?5 AND ?3 = ?2"
            ),
            concat!(
                "SELECT (SELECT ",
                $total,
                " FROM ",
                $table,
                " WHERE id = ?1 AND ",
                $number,
                " = ?2 AND ",
                $name,
                " >= ?4) + (SELECT ",
                $total,
                " FROM ",
                $table,
                " WHERE id = ?1 AND ",
                $number,
                " > ?2 AND ",
                $number,
                " < ?3) + (SELECT ",
                $total,
                " FROM ",
                $table,
                " WHERE id = ?1 AND ",
                $number,
                " = ?3 AND ",
                $name,
                " < ?5)"
            ),
        ]
    };
}

pub(super) fn totals_of(table: Table) -> Result<[&'static str; 2]> {
    match table {
        Table::SortedOrder => Ok(totals!("sorted_order", "score", "member", "count(*)")),
        Table::CountBlock => Ok(totals!("count_block", "first", "tail", "ifnull(sum(members), 0)")),
        Table::CountSum => Ok(totals!("count_sum", "first", "tail", "ifnull(sum(members), 0)")),
        other => Err(StorageError::Internal(format!("nothing of {other:?} is added up"))),
    }
}

const HASH_FIELD: Statements = statements!(
    "hash_field",
    "position",
    "field",
    "value, apart, field_bytes, value_bytes",
    "INSERT INTO hash_field (id, position, field, value, apart, field_bytes, value_bytes)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
     ON CONFLICT DO UPDATE SET value = excluded.value, apart = excluded.apart,
         field_bytes = excluded.field_bytes, value_bytes = excluded.value_bytes"
);

const SET_MEMBER: Statements = statements!(
    "set_member",
    "position",
    "member",
    "NULL, apart, member_bytes, 0",
    "INSERT INTO set_member (id, position, member, apart, member_bytes) VALUES (?1, ?2, ?3, ?5, ?6)
     ON CONFLICT DO UPDATE SET apart = excluded.apart, member_bytes = excluded.member_bytes
     WHERE apart IS NOT excluded.apart"
);

const SORTED_MEMBER: Statements = statements!(
    "sorted_member",
    "position",
    "member",
    "score, apart, member_bytes, label",
    "INSERT INTO sorted_member (id, position, member, score, apart, member_bytes, label)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
     ON CONFLICT DO UPDATE SET score = excluded.score, apart = excluded.apart,
         member_bytes = excluded.member_bytes, label = excluded.label"
);

const SORTED_ORDER: Statements = statements!(
    "sorted_order",
    "score",
    "member",
    "is_minus_zero, apart, member_bytes, 0",
    "INSERT INTO sorted_order (id, score, member, is_minus_zero, apart, member_bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
     ON CONFLICT DO UPDATE SET is_minus_zero = excluded.is_minus_zero, apart = excluded.apart,
         member_bytes = excluded.member_bytes"
);

const COUNT_BLOCK: Statements = statements!(
    "count_block",
    "first",
    "tail",
    "members, NULL, NULL, NULL",
    "INSERT INTO count_block (id, first, tail, members) VALUES (?1, ?2, ?3, ?4)
     ON CONFLICT DO UPDATE SET members = excluded.members"
);

const COUNT_SUM: Statements = statements!(
    "count_sum",
    "first",
    "tail",
    "members, NULL, NULL, blocks",
    "INSERT INTO count_sum (id, first, tail, members, blocks) VALUES (?1, ?2, ?3, ?4, ?7)
     ON CONFLICT DO UPDATE SET members = excluded.members, blocks = excluded.blocks"
);

const LIST_ITEM: Statements = Statements {
    find: "SELECT value, apart, 0, value_bytes FROM list_item WHERE id = ?1 AND position = ?2",
    scan: "SELECT value, apart, 0, value_bytes, position, x'' FROM list_item
           WHERE id = ?1 AND position BETWEEN ?2 AND ?3 ORDER BY position",
    walk: None,
    put: "INSERT INTO list_item (id, position, value, apart, value_bytes) VALUES (?1, ?2, ?3, ?4, ?5)
          ON CONFLICT DO UPDATE SET value = excluded.value, apart = excluded.apart, value_bytes = excluded.value_bytes",
    delete: "DELETE FROM list_item WHERE id = ?1 AND position = ?2",
    apart_of_first: "SELECT NULL, apart FROM list_item WHERE id = ?1 ORDER BY position LIMIT ?2",
    delete_first: "DELETE FROM list_item WHERE (id, position) IN
                   (SELECT id, position FROM list_item WHERE id = ?1 ORDER BY position LIMIT ?2)",
};

/// The value is a number, as text.
const LIST_COUNT: Statements = Statements {
    find: "SELECT CAST(more AS BLOB), NULL FROM list_count WHERE id = ?1 AND block = ?2",
    scan: "SELECT CAST(more AS BLOB), NULL, NULL, NULL, block, x'' FROM list_count
           WHERE id = ?1 AND block BETWEEN ?2 AND ?3 ORDER BY block",
    walk: None,
    put: "INSERT INTO list_count (id, block, more) VALUES (?1, ?2, CAST(?3 AS INTEGER))
          ON CONFLICT DO UPDATE SET more = excluded.more",
    delete: "DELETE FROM list_count WHERE id = ?1 AND block = ?2",
    apart_of_first: "SELECT NULL, NULL FROM list_count WHERE id = ?1 ORDER BY block LIMIT ?2",
    delete_first: "DELETE FROM list_count WHERE (id, block) IN
                   (SELECT id, block FROM list_count WHERE id = ?1 ORDER BY block LIMIT ?2)",
};

const STREAM_ENTRY: Statements = statements!(
    "stream_entry",
    "ms",
    "seq",
    "value, apart, NULL, value_bytes",
    "INSERT INTO stream_entry (id, ms, seq, value, apart, value_bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
     ON CONFLICT DO UPDATE SET value = excluded.value, apart = excluded.apart, value_bytes = excluded.value_bytes"
);

const STREAM_GROUP: Statements = statements!(
    "stream_group",
    "position",
    "name",
    "value, apart, name_bytes, 0",
    "INSERT INTO stream_group (id, position, name, value, apart, name_bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
     ON CONFLICT DO UPDATE SET value = excluded.value, apart = excluded.apart, name_bytes = excluded.name_bytes"
);

const STREAM_CONSUMER: Statements = Statements {
    find: "SELECT value, apart, 0, value_bytes FROM stream_consumer WHERE id = ?1 AND number = ?2",
    scan: "SELECT value, apart, 0, value_bytes, number, x'' FROM stream_consumer
           WHERE id = ?1 AND number BETWEEN ?2 AND ?3 ORDER BY number",
    walk: None,
    put: "INSERT INTO stream_consumer (id, number, value, apart, value_bytes) VALUES (?1, ?2, ?3, ?4, ?5)
          ON CONFLICT DO UPDATE SET value = excluded.value, apart = excluded.apart, value_bytes = excluded.value_bytes",
    delete: "DELETE FROM stream_consumer WHERE id = ?1 AND number = ?2",
    apart_of_first: "SELECT NULL, apart FROM stream_consumer WHERE id = ?1 ORDER BY number LIMIT ?2",
    delete_first: "DELETE FROM stream_consumer WHERE (id, number) IN
                   (SELECT id, number FROM stream_consumer WHERE id = ?1 ORDER BY number LIMIT ?2)",
};

const STREAM_CONSUMER_NAME: Statements = statements!(
    "stream_consumer_name",
    "position",
    "name",
    "value, apart, name_bytes, value_bytes",
    "INSERT INTO stream_consumer_name (id, position, name, value, apart, name_bytes, value_bytes)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
     ON CONFLICT DO UPDATE SET value = excluded.value, apart = excluded.apart,
         name_bytes = excluded.name_bytes, value_bytes = excluded.value_bytes"
);

const STREAM_PENDING: Statements = statements!(
    "stream_pending",
    "ms",
    "seq",
    "value, NULL, NULL, NULL",
    "INSERT INTO stream_pending (id, ms, seq, value) VALUES (?1, ?2, ?3, ?4)
     ON CONFLICT DO UPDATE SET value = excluded.value"
);

const STREAM_OWNED: Statements = statements!(
    "stream_owned",
    "consumer",
    "entry",
    "NULL, NULL, NULL, NULL",
    "INSERT OR IGNORE INTO stream_owned (id, consumer, entry) VALUES (?1, ?2, ?3)"
);

pub(super) fn statements(table: Table) -> Result<&'static Statements> {
    match table {
        Table::HashField => Ok(&HASH_FIELD),
        Table::SetMember => Ok(&SET_MEMBER),
        Table::ListItem => Ok(&LIST_ITEM),
        Table::ListCount => Ok(&LIST_COUNT),
        Table::SortedMember => Ok(&SORTED_MEMBER),
        Table::SortedOrder => Ok(&SORTED_ORDER),
        Table::CountBlock => Ok(&COUNT_BLOCK),
        Table::CountSum => Ok(&COUNT_SUM),
        Table::StreamEntry => Ok(&STREAM_ENTRY),
        Table::StreamGroup => Ok(&STREAM_GROUP),
        Table::StreamConsumer => Ok(&STREAM_CONSUMER),
        Table::StreamConsumerName => Ok(&STREAM_CONSUMER_NAME),
        Table::StreamPending => Ok(&STREAM_PENDING),
        Table::StreamOwned => Ok(&STREAM_OWNED),
        other => Err(StorageError::Internal(format!("{other:?} is no table of elements"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::fixture::Fixture;

    #[test]
    fn what_is_walked_or_added_up_is_searched_for_and_not_sorted() {
        let mut fixture = Fixture::new();
        fixture.write(|keyspace| {
            let plan_of = |sql: &str, searches: usize| -> String {
                let mut statement = keyspace.connection().prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
                for parameter in 1..=statement.parameter_count() {
                    statement.raw_bind_parameter(parameter, 1).unwrap();
                }
                let (mut rows, mut plan) = (statement.raw_query(), String::new());
                while let Some(columns) = rows.next().unwrap() {
                    plan.push_str(&columns.get::<_, String>(3).unwrap());
                    plan.push('\n');
                }
                assert_eq!(plan.matches("SEARCH").count(), searches, "{sql}: {plan}");
                let has_scan = plan.lines().any(|line| line.starts_with("SCAN") && line != "SCAN CONSTANT ROW");
                assert!(!has_scan && !plan.contains("B-TREE"), "{sql}: {plan}");
                plan
            };
            for table in Table::ALL {
                let Ok(Statements { scan, walk: Some(walks), .. }) = statements(table) else { continue };
                let all = [scan, walks.forward[0], walks.forward[1]];
                all.iter().for_each(|sql| drop(plan_of(sql, 1)));
                // By both columns together: it begins in the midst of equal numbers.
                let backward = plan_of(walks.backward, 1);
                assert!(backward.contains(")<(?,?)"), "{backward}");
            }
            for table in [Table::SortedOrder, Table::CountBlock, Table::CountSum] {
                let [within, across] = totals_of(table).unwrap();
                plan_of(within, 1);
                plan_of(across, 3);
            }
        });
    }
}
