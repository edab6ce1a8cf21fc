//! The file format: names, numbers, and the migrations from one schema version to the next.

use rusqlite::{Connection, TransactionBehavior};

use crate::storage::error::Result;

/// The data file in `Options::directory`; SQLite keeps `-wal` and `-shm` beside it.
pub const DATA_FILE: &str = "data.db";

/// "emSv": says in the file's header whose it is.
pub(super) const APPLICATION_ID: i32 = i32::from_be_bytes(*b"emSv");

/// Fixed when a file is made. The measurements behind it: docs/decisions/storage-layout.md.
pub const PAGE_BYTES: u32 = 2048;

/// Step N takes a file of `user_version` N to N + 1; an empty file has 0.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("journal.sql"),
    include_str!("elements.sql"),
    include_str!("waiting.sql"),
    include_str!("lists.sql"),
    include_str!("sorted_sets.sql"),
    include_str!("scripts.sql"),
    include_str!("users.sql"),
    include_str!("streams.sql"),
];

pub const SCHEMA_VERSION: u32 = MIGRATIONS.len() as u32;

/// Runs what is missing, in one transaction: a file is never seen between two versions. Returns the version found.
pub(super) fn migrate(connection: &mut Connection) -> Result<u32> {
    run(connection, MIGRATIONS)
}

fn run(connection: &mut Connection, steps: &[&str]) -> Result<u32> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Read under the lock: another process may just have done it.
    let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if (found as usize) < steps.len() {
        run_behind(&transaction, steps, found)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", steps.len())?;
    }
    transaction.commit()?;
    Ok(found)
}

/// What `migrate` would do with a file of this version, within the present transaction; the version stays.
pub(super) fn run_missing(connection: &Connection, found: u32) -> Result<()> {
    run_behind(connection, MIGRATIONS, found)
}

fn run_behind(connection: &Connection, steps: &[&str], found: u32) -> Result<()> {
    steps[found as usize..].iter().try_for_each(|step| Ok(connection.execute_batch(step)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_run_once_each_in_order_and_a_failed_one_leaves_nothing() {
        // SQLite is set up as everywhere.
        crate::storage::sqlite::vfs::name().unwrap();
        let mut connection = Connection::open_in_memory().unwrap();
        assert_eq!(run(&mut connection, &["CREATE TABLE a (x)"]).unwrap(), 0);
        let steps = ["CREATE TABLE a (x)", "ALTER TABLE a ADD COLUMN y", "INSERT INTO a VALUES (1, 2)"];
        assert!(run(&mut connection, &[steps[0], steps[1], "INSERT INTO nothing VALUES (1)"]).is_err());
        assert_eq!(run(&mut connection, &steps).unwrap(), 1);
        assert_eq!(run(&mut connection, &steps).unwrap(), 3);
        let rows: i64 = connection.query_row("SELECT count(y) FROM a", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1);
    }
}
