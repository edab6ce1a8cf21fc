//! One SQLite connection, set up for its role. Each pragma says what breaks without it.

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::schema::DATA_FILE;
use super::vfs;
use crate::storage::error::Result;

/// When a commit counts as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// `commit` returns after the disk has it.
    #[default]
    Always,
    /// `commit` returns after the kernel has it; `checkpoint::WalFile::sync` is called each second.
    EverySec,
    /// `commit` returns after the kernel has it; the disk gets it when the kernel likes.
    Os,
}

/// What a keyspace is opened with; the same for every connection of a service.
#[derive(Clone, Debug)]
pub struct Options {
    pub directory: PathBuf,
    pub durability: Durability,
    /// Budget of the `-wal`; see `checkpoint::Pace`.
    pub wal_bytes_max: u64,
    pub value_bytes_max: u64,
    /// How much the journal holds of what is not merged, and the memtable with it. 0: each group is written to the tables at once.
    pub journal_bytes_max: u64,
    /// How long a group may wait for its merge.
    pub merge_age_max: Duration,
    /// Map the file into memory. Off after a SIGBUS, so that a bad sector gives an error and not a crash loop.
    pub mmap: bool,
}

impl Options {
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            durability: Durability::Always,
            wal_bytes_max: 128 << 20,
            value_bytes_max: 512 << 20,
            journal_bytes_max: 0,
            merge_age_max: Duration::from_secs(10),
            mmap: true,
        }
    }

    pub fn data_path(&self) -> PathBuf {
        self.directory.join(DATA_FILE)
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Reader,
    Writer,
    Checkpoint,
}

/// Larger than any file: the whole of it is mapped. SQLite is built with this as its ceiling.
const MMAP_BYTES: i64 = 1 << 40;

/// How long a lock of another connection is waited for. Readers and the writer do not block one another in WAL mode;
/// what is left is recovery after a crash, and a checkpoint that takes the writer's lock for a moment.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// More than the statements in this directory: none is ever prepared twice.
const STATEMENTS_MAX: usize = 128;

pub(super) fn connect(options: &Options, role: Role) -> Result<Connection> {
    // NO_MUTEX: a connection stays with one thread at a time, `&mut` or `!Sync` sees to that; its mutex is pure cost.
    // No CREATE: only `prepare` makes a file, so a lost directory is an error and not an empty keyspace.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags_and_vfs(options.data_path(), flags, vfs::name()?)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    set_up(&connection, options, role)?;
    Ok(connection)
}

/// Whether a commit syncs the -wal. Between transactions.
pub(super) fn set_syncing(connection: &Connection, is_syncing: bool) -> Result<()> {
    Ok(connection.pragma_update(None, "synchronous", if is_syncing { 2 } else { 1 })?)
}

pub(super) fn set_mapped(connection: &Connection, is_mapped: bool) -> Result<()> {
    Ok(connection.pragma_update(None, "mmap_size", if is_mapped { MMAP_BYTES } else { 0 })?)
}

fn set_up(connection: &Connection, options: &Options, role: Role) -> Result<()> {
    let set = |name: &str, value: i64| connection.pragma_update(None, name, value);

    // synchronous: FULL (2) syncs the -wal in every commit; without it an acknowledged write is lost with the power.
    // NORMAL (1) syncs at checkpoints only. Never OFF: a checkpoint without syncs can tear the file itself.
    // The checkpoint's connection needs no more than NORMAL: it commits nothing.
    set_syncing(connection, options.durability == Durability::Always && role == Role::Writer)?;

    // wal_autocheckpoint: by default the commit that passes 1,000 pages runs the checkpoint itself: stalls of 50-250 ms
    // in the middle of everybody's writes. `checkpoint.rs` does it beside the writer.
    set("wal_autocheckpoint", 0)?;

    // journal_size_limit: without it a -wal that once grew (a long read held it back) keeps its size for ever. With it,
    // SQLite cuts it to the budget at the next restart; up to there the file is overwritten, which syncs faster.
    set("journal_size_limit", i64::try_from(options.wal_bytes_max).unwrap_or(i64::MAX))?;

    // mmap_size: without it each page read is a system call and a copy, and since every commit of the writer empties a
    // reader's page cache, readers beside a busy writer would pay that for every page.
    set_mapped(connection, options.mmap)?;

    // cache_size (in KiB when negative): pages that a transaction changed stay here until COMMIT; too small, and a
    // group of ordinary size is written to the -wal twice. A value of many megabytes still spills, so memory is bounded.
    set("cache_size", if role == Role::Writer { -16 * 1024 } else { -2 * 1024 })?;

    // temp_store MEMORY: savepoints and sorts would otherwise write files in /tmp, which a container may not have.
    set("temp_store", 2)?;

    // trusted_schema: a view or trigger that somebody else put into the file must not run functions with side effects.
    set("trusted_schema", 0)?;

    // A plan never depends on the values that are bound. Otherwise a statement with a range over two columns is prepared anew each time it is
    // taken from the cache of statements, since its bindings were cleared: a fifth of the writer's time under ZADD.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;

    if role != Role::Writer {
        // The last connection to close runs a checkpoint and deletes the -wal. A reader must never do that work.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    }
    if role == Role::Reader {
        // query_only: a command that is listed as a read and writes would otherwise be a second writer.
        set("query_only", 1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::storage::prepare;

    fn pragma(connection: &Connection, name: &str) -> i64 {
        connection.pragma_query_value(None, name, |row| row.get(0)).unwrap()
    }

    #[test]
    fn sqlite_is_built_without_locks_that_all_threads_share_and_maps_the_whole_file() {
        let directory = tempfile::tempdir().unwrap();
        let options = Options::new(directory.path());
        prepare(&options).unwrap();
        let connection = connect(&options, Role::Reader).unwrap();
        let mut statement = connection.prepare("PRAGMA compile_options").unwrap();
        let built: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(|row| row.unwrap()).collect();
        assert!(!built.iter().any(|option| option == "ENABLE_MEMORY_MANAGEMENT"), "{built:?}");
        assert!(built.iter().any(|option| option == "MAX_MMAP_SIZE=1099511627776"), "{built:?}");
        assert!(built.iter().any(|option| option == "DEFAULT_MEMSTATUS=0"), "{built:?}");
        assert_eq!(pragma(&connection, "mmap_size"), MMAP_BYTES);
        let unmapped = connect(&Options { mmap: false, ..options }, Role::Reader).unwrap();
        assert_eq!(pragma(&unmapped, "mmap_size"), 0);
    }

    #[test]
    fn every_role_reads_its_pragmas_back() {
        let directory = tempfile::tempdir().unwrap();
        let options = Options::new(directory.path());
        prepare(&options).unwrap();
        let writer = connect(&options, Role::Writer).unwrap();
        assert_eq!(pragma(&writer, "synchronous"), 2);
        assert_eq!(pragma(&writer, "wal_autocheckpoint"), 0);
        assert_eq!(pragma(&writer, "journal_size_limit"), 128 << 20);
        assert_eq!(pragma(&writer, "query_only"), 0);
        let mode: String = writer.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        for durability in [Durability::EverySec, Durability::Os] {
            let relaxed = connect(&Options { durability, ..options.clone() }, Role::Writer).unwrap();
            assert_eq!(pragma(&relaxed, "synchronous"), 1);
        }
        let reader = connect(&options, Role::Reader).unwrap();
        assert_eq!(pragma(&reader, "query_only"), 1);
        assert!(reader.execute("DELETE FROM meta", []).is_err());
    }

    #[test]
    fn a_statement_is_not_prepared_again_because_other_values_are_bound() {
        let directory = tempfile::tempdir().unwrap();
        let options = Options::new(directory.path());
        prepare(&options).unwrap();
        for role in [Role::Writer, Role::Reader] {
            let connection = connect(&options, role).unwrap();
            let sql = "SELECT members FROM count_block WHERE id = ?1 AND (first, tail) <= (?2, ?3) AND first >= ?4
                       ORDER BY first DESC, tail DESC";
            for id in 0..5 {
                let mut statement = connection.prepare_cached(sql).unwrap();
                let row = statement.query_row((id, 7 - id, [id as u8], 0), |row| row.get::<_, i64>(0));
                assert_eq!(row, Err(rusqlite::Error::QueryReturnedNoRows));
                assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
            }
        }
    }
}
