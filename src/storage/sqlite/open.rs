//! Makes or checks the data file before anybody serves from it. What is wrong with the place or the file is found here,
//! in words for the operator. The lock that keeps a second service out is taken elsewhere, before this.

use std::fs;
use std::io;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::connection::{BUSY_TIMEOUT, Options, Role, connect};
use super::schema::{APPLICATION_ID, PAGE_BYTES, SCHEMA_VERSION, migrate};
use super::vfs;
use crate::storage::error::{Result, StorageError};
use crate::storage::file_system::{FileSystem, file_system};

/// What `prepare` found, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The file was made now.
    pub created: bool,
    /// The schema version that was found, when it was an older one.
    pub migrated_from: Option<u32>,
    /// Anything but `Local` deserves a warning: recommend a named volume.
    pub file_system: FileSystem,
}

/// Leaves a file of the present schema in the directory, or says why there cannot be one.
pub fn prepare(options: &Options) -> Result<Opened> {
    let directory = &options.directory;
    make_directory(directory)?;
    let file_system = file_system(directory)?;
    if let FileSystem::Network(name) = file_system {
        return Err(StorageError::NetworkFileSystem { directory: directory.clone(), name });
    }
    check_writable(directory)?;

    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags_and_vfs(options.data_path(), flags, vfs::name()?)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let is_new = recognise(&connection, &options.data_path())?;
    // After a crash the -wal may be at its budget: closing must not copy it into the file while everybody waits.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !is_new)?;
    if is_new {
        lay_out(&connection)?;
    }
    log_ahead(&connection)?;
    let found = migrate(&mut connection)?;
    check_tables(&connection)?;
    connection.close().map_err(|(_, error)| error)?;
    if is_new {
        sync_directory(directory)?;
    }
    let migrated_from = Some(found).filter(|found| (1..SCHEMA_VERSION).contains(found));
    Ok(Opened { created: is_new, migrated_from, file_system })
}

/// Looks at the file without making or changing anything; false when there is none. For the subcommand `check`.
pub fn inspect(options: &Options) -> Result<bool> {
    if !options.data_path().exists() {
        return Ok(false);
    }
    let connection = connect(options, Role::Reader)?;
    if recognise(&connection, &options.data_path())? {
        return Ok(false);
    }
    check_tables(&connection).map(|()| true)
}

/// True for a file that is new or empty; an error for one that is not ours to open.
pub(super) fn recognise(connection: &Connection, path: &Path) -> Result<bool> {
    recognise_up_to(connection, path, SCHEMA_VERSION)
}

fn recognise_up_to(connection: &Connection, path: &Path, known: u32) -> Result<bool> {
    let number = |name: &str| -> Result<i64> { Ok(connection.pragma_query_value(None, name, |row| row.get(0))?) };
    let application_id = number("application_id")? as i32;
    let version = number("user_version")? as u32;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let path = path.to_owned();
    match (application_id, version) {
        // Also what is left when the first start died in the middle: the schema comes in one transaction.
        (0, 0) if tables == 0 => Ok(true),
        (APPLICATION_ID, found) if found > known => Err(StorageError::Newer { path, found, known }),
        (APPLICATION_ID, _) => Ok(false),
        _ => Err(StorageError::Foreign { path, application_id }),
    }
}

/// What can only be chosen before the first table is made.
fn lay_out(connection: &Connection) -> Result<()> {
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    // INCREMENTAL, so that a file that was once large can shrink in small steps; a full VACUUM stops everything.
    connection.pragma_update(None, "auto_vacuum", 2)?;
    Ok(())
}

/// Also for a backup that somebody has put in the place of the data file: it says that it needs no `-wal`.
fn log_ahead(connection: &Connection) -> Result<()> {
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(StorageError::Io(format!("the file system does not allow SQLite's -wal (journal_mode {mode})")));
    }
    Ok(())
}

/// What each version of the schema added.
const TABLES: [&[&str]; SCHEMA_VERSION as usize] = [
    &["keyspace", "chunk", "expiry", "database", "orphan", "ticket", "meta"],
    &["journal", "merged", "left_out"],
    &["hash_field", "set_member"],
    &["parked_ticket"],
    &["list_item", "list_count"],
    &["sorted_member", "sorted_order", "count_block", "count_sum"],
    &["script", "library"],
    &["user"],
    &["stream_entry", "stream_group", "stream_consumer", "stream_consumer_name", "stream_pending", "stream_owned"],
];

/// A file of ours whose tables are not there is damaged: better now than at the first request.
pub(super) fn check_tables(connection: &Connection) -> Result<()> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for table in TABLES.iter().take(version as usize).copied().flatten() {
        // In a table that may be large one damaged page is no reason to serve nothing. Of the journal whoever takes over reads what he needs.
        let limit = i32::from(["database", "merged", "ticket", "parked_ticket", "meta", "user"].contains(table));
        connection
            .prepare(&format!("SELECT * FROM {table} LIMIT {limit}"))
            .and_then(|mut statement| statement.query([])?.next().map(drop))
            .map_err(|error| match StorageError::from(error) {
                StorageError::Internal(text) => StorageError::Corrupt(text),
                other => other,
            })?;
    }
    Ok(())
}

fn make_directory(directory: &Path) -> Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(directory).map_err(|error| unwritable(directory, &error))?;
    // So that the directory itself survives a power cut.
    directory.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_directory)
}

/// By trying: permission bits do not tell of read-only mounts, quotas or user namespaces.
fn check_writable(directory: &Path) -> Result<()> {
    let probe = directory.join(format!(".write-check-{}", std::process::id()));
    fs::File::create(&probe).and_then(|_| fs::remove_file(&probe)).map_err(|error| unwritable(directory, &error))
}

pub(super) fn sync_directory(directory: &Path) -> Result<()> {
    fs::File::open(directory)
        .and_then(|file| file.sync_all())
        .map_err(|error| StorageError::SyncFailed(format!("{}: {error}", directory.display())))
}

fn unwritable(directory: &Path, error: &io::Error) -> StorageError {
    StorageError::Unwritable { directory: directory.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn options(directory: &tempfile::TempDir) -> Options {
        Options::new(directory.path())
    }

    fn damage(options: &Options, sql: &str) {
        Connection::open(options.data_path()).unwrap().execute_batch(sql).unwrap();
    }

    #[test]
    fn a_missing_directory_and_file_are_made_once() {
        let directory = tempfile::tempdir().unwrap();
        let options = Options::new(directory.path().join("a/b"));
        let first = prepare(&options).unwrap();
        assert!(first.created);
        assert_eq!(first.migrated_from, None);
        assert!(!prepare(&options).unwrap().created);
    }

    #[test]
    fn a_file_that_an_interrupted_first_start_left_is_completed() {
        let directory = tempfile::tempdir().unwrap();
        let options = options(&directory);
        fs::File::create(options.data_path()).unwrap();
        assert!(prepare(&options).unwrap().created);
        fs::remove_file(options.data_path()).unwrap();
        damage(&options, "PRAGMA page_size = 2048; PRAGMA auto_vacuum = 2; PRAGMA journal_mode = WAL;");
        assert!(prepare(&options).unwrap().created);
        let connection = Connection::open(options.data_path()).unwrap();
        let pages: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0)).unwrap();
        assert_eq!(pages, PAGE_BYTES);
        let vacuum: u32 = connection.pragma_query_value(None, "auto_vacuum", |row| row.get(0)).unwrap();
        assert_eq!(vacuum, 2);
    }

    #[test]
    fn a_file_of_another_program_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let options = options(&directory);
        damage(&options, "CREATE TABLE theirs (x); PRAGMA application_id = 77;");
        let before = fs::read(options.data_path()).unwrap();
        assert!(matches!(prepare(&options), Err(StorageError::Foreign { application_id: 77, .. })));
        damage(&options, "PRAGMA application_id = 0;");
        assert!(matches!(prepare(&options), Err(StorageError::Foreign { application_id: 0, .. })));
        assert_eq!(before.len(), fs::read(options.data_path()).unwrap().len());
    }

    #[test]
    fn an_inspection_makes_nothing_and_finds_what_prepare_would() {
        let directory = tempfile::tempdir().unwrap();
        let options = options(&directory);
        assert!(!inspect(&options).unwrap());
        assert!(!options.data_path().exists());
        prepare(&options).unwrap();
        assert!(inspect(&options).unwrap());
        damage(&options, "PRAGMA user_version = 99");
        assert!(matches!(inspect(&options), Err(StorageError::Newer { found: 99, .. })));
    }

    #[test]
    fn a_newer_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let options = options(&directory);
        prepare(&options).unwrap();
        damage(&options, &format!("PRAGMA user_version = {}", SCHEMA_VERSION + 1));
        let refused = prepare(&options);
        assert!(
            matches!(refused, Err(StorageError::Newer { found, known: SCHEMA_VERSION, .. }) if found == SCHEMA_VERSION + 1)
        );
    }

    #[test]
    fn a_program_of_0_1_0_refuses_a_file_with_a_journal() {
        let directory = tempfile::tempdir().unwrap();
        let options = options(&directory);
        prepare(&options).unwrap();
        let connection = Connection::open(options.data_path()).unwrap();
        let refused = recognise_up_to(&connection, &options.data_path(), 1);
        assert!(matches!(refused, Err(StorageError::Newer { found: SCHEMA_VERSION, known: 1, .. })), "{refused:?}");
        assert_eq!(recognise(&connection, &options.data_path()), Ok(false));
    }

    #[test]
    fn a_damaged_file_is_refused_and_never_repaired() {
        let directory = tempfile::tempdir().unwrap();
        let options = options(&directory);
        fs::write(options.data_path(), vec![0x55; 8192]).unwrap();
        assert!(matches!(prepare(&options), Err(StorageError::Corrupt(_))));
        assert_eq!(fs::read(options.data_path()).unwrap(), vec![0x55; 8192]);

        fs::remove_file(options.data_path()).unwrap();
        prepare(&options).unwrap();
        for table in ["expiry", "journal"] {
            damage(&options, &format!("ALTER TABLE {table} RENAME TO lost"));
            assert!(matches!(prepare(&options), Err(StorageError::Corrupt(text)) if text.contains(table)));
            damage(&options, &format!("ALTER TABLE lost RENAME TO {table}"));
            prepare(&options).unwrap();
        }

        fs::remove_file(options.data_path()).unwrap();
        prepare(&options).unwrap();
        let whole = fs::metadata(options.data_path()).unwrap().len();
        fs::OpenOptions::new().write(true).open(options.data_path()).unwrap().set_len(whole / 2).unwrap();
        assert!(matches!(prepare(&options), Err(StorageError::Corrupt(_))));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_refused_with_its_name() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), b"").unwrap();
        for place in ["file", "file/below", "dangling"] {
            if place == "dangling" {
                symlink("/nowhere/at/all", directory.path().join(place)).unwrap();
            }
            let refused = prepare(&Options::new(directory.path().join(place)));
            assert!(matches!(refused, Err(StorageError::Unwritable { .. })), "{place}: {refused:?}");
        }
        // /proc can be written by nobody, root included.
        assert!(matches!(prepare(&Options::new("/proc/self")), Err(StorageError::Unwritable { .. })));
    }

    #[test]
    fn a_connection_never_makes_a_file() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(crate::storage::Keyspace::open_reader(&options(&directory)), Err(StorageError::Io(_))));
        assert!(!options(&directory).data_path().exists());
    }

    #[test]
    fn the_views_show_live_keys_to_a_person() {
        let mut fixture = crate::storage::fixture::Fixture::new();
        fixture.write(|keyspace| {
            keyspace.select(3);
            keyspace.put_string(b"hello", b"world", crate::storage::Expiry::Clear).unwrap();
            // Long over by the wall clock, which the view asks.
            keyspace.put_string(b"gone", b"x", crate::storage::Expiry::At(keyspace.now_ms() + 1)).unwrap();
            keyspace.put_string(b"big", &vec![b'y'; 100_000], crate::storage::Expiry::Clear).unwrap();
        });
        let connection = Connection::open(fixture.options.data_path()).unwrap();
        let shown: String = connection
            .query_row("SELECT group_concat(database || key || type || length || substr(value, 1, 5), ' ') FROM (SELECT * FROM live_key ORDER BY key)", [], |row| row.get(0))
            .unwrap();
        assert_eq!(shown, "3bigstring100000yyyyy 3hellostring5world");
        let waiting: i64 = connection
            .query_row("SELECT number FROM waiting_for_sweep WHERE what = 'expired key'", [], |row| row.get(0))
            .unwrap();
        assert_eq!(waiting, 1);
    }
}
