//! Copies of a data file as ordinary SQLite files: beside the service by the connection that writes, or of a file that
//! nobody serves. Knows pages and files; when to copy how much is its caller's affair.
//!
//! ```text
//! writer thread    Backup::begin, advance …   a few pages between two groups; a page that a later group changes is copied
//!                                              once more by SQLite itself, at that group's commit
//! backup thread    finish                      one file without a -wal, synced, checked, and only then under its name
//! ```
//! Why by the connection that writes: any other has to begin again at each commit, or to hold a snapshot, and with it the
//! `-wal`, until it ends (<https://www.sqlite.org/backup.html>). So the copy shows the moment of its end, not of its begin.

use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rusqlite::backup::{Backup as Copying, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use self_cell::{MutBorrow, self_cell};

use super::base::Base;
use super::open::{check_tables, recognise, sync_directory};
use super::vfs;
use crate::storage::error::{Result, StorageError};
use crate::storage::file_system::{self, FileSystem};

/// A copy in the making, in a file that nobody else opens. Dropping it leaves an unusable file behind.
pub struct Backup(Cell);

struct Ends {
    source: Rc<Connection>,
    destination: MutBorrow<Connection>,
}

type Between<'a> = Copying<'a, 'a>;

self_cell! {
    struct Cell {
        owner: Ends,
        #[covariant]
        dependent: Between,
    }
}

/// How far a copy is. The total follows the data: it grows while the service writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    pub pages: u64,
    pub pages_total: u64,
}

/// What a backup says of itself. Clocks and names of files can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Tells of which data it is: equal in all copies of it.
    pub lineage: u64,
    /// Grows with each backup of this data. 0: an earlier version made it.
    pub number: u64,
}

/// Pages of one step where nobody waits: 2 MiB.
const OFFLINE_PAGES: u32 = 1024;

impl Backup {
    /// Of what this keyspace's connection writes, to a file that this makes.
    ///
    /// # Errors
    /// The file cannot be made, or there is one.
    pub fn begin(keyspace: &Base, to: &Path) -> Result<Self> {
        let destination = MutBorrow::new(make(to)?);
        let ends = Ends { source: Rc::clone(&keyspace.connection), destination };
        Ok(Self(Cell::try_new(ends, |ends| Copying::new(&ends.source, ends.destination.borrow_mut()))?))
    }

    /// Copies so many pages more, between two transactions. True when all is copied: drop it, then `finish`.
    ///
    /// # Errors
    /// Reading or writing failed, now or when a commit passed its pages on: the copy is of no use any more.
    pub fn advance(&mut self, pages: u32) -> Result<bool> {
        advance(self.0.borrow_dependent(), pages)
    }

    pub fn copied(&self) -> Copied {
        copied(self.0.borrow_dependent())
    }
}

/// Of a finished backup. It takes no lock, and leaves nothing beside the file.
///
/// # Errors
/// It is none.
pub fn origin(file: &Path) -> Result<Origin> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = open_usual(format!("file:{}?immutable=1", uri_escaped(file)), flags)?;
    if recognise(&connection, file)? {
        return Err(StorageError::Corrupt(format!("{} is empty", file.display())));
    }
    read_origin(&connection)
}

/// Of data that no service has open, with what its `-wal` says.
///
/// # Errors
/// It is no data of ours.
pub fn origin_of_data(data: &Path) -> Result<Origin> {
    read_origin(&open_source(data)?)
}

/// Of the data that a backup would be made of.
///
/// # Errors
/// Reading failed.
pub fn origin_of(keyspace: &Base) -> Result<Origin> {
    read_origin(&keyspace.connection)
}

fn read_origin(connection: &Connection) -> Result<Origin> {
    let seed: Vec<u8> =
        connection.query_row("SELECT value FROM meta WHERE name = 'hash_seed'", [], |row| row.get(0))?;
    let number = connection.query_row("SELECT value FROM meta WHERE name = 'backup_number'", [], |row| row.get(0));
    // Not the seed itself: it must not become known.
    let mut hasher = DefaultHasher::new();
    seed.hash(&mut hasher);
    let number: i64 = number.optional()?.unwrap_or(0);
    Ok(Origin { lineage: hasher.finish(), number: number.max(0).unsigned_abs() })
}

/// Gives the data a number for its next backup, which will have it: larger than that of the last, and than `number_max`, the
/// largest that is known. A transaction of its own.
///
/// # Errors
/// As of a commit.
pub fn count(keyspace: &Base, number_max: u64) -> Result<()> {
    raise_number(&keyspace.connection, origin_of(keyspace)?.number.max(number_max) + 1)
}

/// The same for data that no service has open.
///
/// # Errors
/// It is no data of ours, or can't be written.
pub fn count_alone(data: &Path, number_max: u64) -> Result<Origin> {
    let connection = open_usual(data, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    recognise(&connection, data)?;
    // Whether the -wal can be copied into the file as it is, the next start knows.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let number = read_origin(&connection)?.number.max(number_max) + 1;
    raise_number(&connection, number)?;
    read_origin(&connection)
}

fn raise_number(connection: &Connection, number: u64) -> Result<()> {
    connection.execute(
        "INSERT INTO meta VALUES ('backup_number', ?1) ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
        [number.cast_signed()],
    )?;
    Ok(())
}

/// What a copy becomes once all pages are there: one file that needs no other, on the disk, found sound, under its name.
///
/// # Errors
/// The copy is damaged or the disk failed; there is no file of that name then. Or there is one already.
pub fn finish(copy: &Path, name: &Path) -> Result<()> {
    settle(copy)?;
    give_name(copy, name)
}

/// All of `finish` but the name.
///
/// # Errors
/// The copy is damaged or the disk failed.
pub fn settle(copy: &Path) -> Result<()> {
    open_alone(copy)?.close().map_err(|(_, error)| error)?;
    sync(copy)?;
    check(copy)
}

/// Never takes another file's place.
///
/// # Errors
/// There is a file of that name, or it can't be given.
pub fn give_name(copy: &Path, name: &Path) -> Result<()> {
    if name.symlink_metadata().is_ok() {
        return Err(StorageError::Io(format!("{} exists", name.display())));
    }
    fs::rename(copy, name).map_err(|error| failed("name", name, &error))?;
    match sync_directory(parent(name)) {
        // Some network file systems have no such call.
        Err(_) if file_system::file_system(parent(name)).is_ok_and(|kind| kind != FileSystem::Local) => Ok(()),
        other => other,
    }
}

/// Whether it is a data file of ours, whole and sound. Reads all of it.
///
/// # Errors
/// What is wrong with it.
pub fn check(file: &Path) -> Result<()> {
    let connection = open_source(file)?;
    if recognise(&connection, file)? {
        return Err(StorageError::Corrupt(format!("{} is empty", file.display())));
    }
    check_tables(&connection)?;
    let verdict: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    match verdict.as_str() {
        "ok" => Ok(()),
        problem => Err(StorageError::Corrupt(format!("{}: {problem}", file.display()))),
    }
}

/// Copies a data file that no service writes, with what its `-wal` holds, to a new file. `progress` is told of each step.
///
/// # Errors
/// The file is not ours, damaged, or in use; or the new one can't be made. What was begun is removed.
pub fn copy(from: &Path, to: &Path, progress: &mut dyn FnMut(Copied)) -> Result<()> {
    copy_as(from, &part_of(to), to, 0, progress)
}

/// The same, by that name until it is finished. The copy's number is at least that.
pub(super) fn copy_as(
    from: &Path,
    part: &Path,
    to: &Path,
    number_min: u64,
    progress: &mut dyn FnMut(Copied),
) -> Result<()> {
    let source = open_source(from)?;
    if recognise(&source, from)? {
        return Err(StorageError::Corrupt(format!("{} is empty", from.display())));
    }
    let done = copy_pages(&source, part, progress)
        .and_then(|()| if number_min > 0 { renumber(part, number_min) } else { Ok(()) })
        .and_then(|()| finish(part, to));
    if done.is_err() {
        discard(part);
    }
    done
}

fn renumber(part: &Path, number: u64) -> Result<()> {
    let connection = open_alone(part)?;
    raise_number(&connection, number)?;
    connection.close().map_err(|(_, error)| error.into())
}

/// The name that a copy has until it is finished.
pub fn part_of(name: &Path) -> PathBuf {
    let mut part = name.as_os_str().to_owned();
    part.push(PART);
    part.into()
}

/// What the name of an unfinished copy ends in.
pub const PART: &str = ".part";

/// Removes a copy that was not finished, and what SQLite keeps beside it.
pub fn discard(part: &Path) {
    for suffix in ["", "-journal", "-wal", "-shm"] {
        let mut path = part.as_os_str().to_owned();
        path.push(suffix);
        // Most of these do not exist, and what can't be removed harms nobody: the next copy of that name says so.
        drop(fs::remove_file(path));
    }
}

/// A copy that nobody else opens.
fn open_alone(copy: &Path) -> Result<Connection> {
    let connection = open_usual(copy, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // Else it would make a -shm, for which a full disk has no room.
    connection.query_row("PRAGMA locking_mode = EXCLUSIVE", [], |_| Ok(()))?;
    // The pages say that there is a -wal. A file that says otherwise can be opened where nothing may be written.
    connection.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
    Ok(connection)
}

fn copy_pages(source: &Connection, part: &Path, progress: &mut dyn FnMut(Copied)) -> Result<()> {
    let mut destination = make(part)?;
    let copying = Copying::new(source, &mut destination)?;
    while !advance(&copying, OFFLINE_PAGES)? {
        progress(copied(&copying));
    }
    progress(copied(&copying));
    Ok(())
}

fn advance(copying: &Between<'_>, pages: u32) -> Result<bool> {
    match copying.step(pages.cast_signed())? {
        StepResult::Done => Ok(true),
        StepResult::More => Ok(false),
        // Nobody else has the destination, and who writes the source is the caller.
        _ => Err(StorageError::Busy),
    }
}

fn copied(copying: &Between<'_>) -> Copied {
    let progress = copying.progress();
    let count = |pages: i32| u64::from(pages.max(0).unsigned_abs());
    let pages_total = count(progress.pagecount);
    Copied { pages: pages_total.saturating_sub(count(progress.remaining)), pages_total }
}

/// A new file for a copy. Until it is finished it needs neither journal nor syncs: after a crash it is thrown away.
fn make(path: &Path) -> Result<Connection> {
    drop(create(path)?);
    let connection = open_usual(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.query_row("PRAGMA journal_mode = OFF", [], |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.query_row("PRAGMA locking_mode = EXCLUSIVE", [], |_| Ok(()))?;
    Ok(connection)
}

/// A new file that nobody else may read.
///
/// # Errors
/// It can't be made, or there is one.
pub fn create(path: &Path) -> Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = file.map_err(|error| failed("make", path, &error))?;
    match file_system::keep_private(&file, parent(path)) {
        // One that has no modes, or has them from its mount.
        Err(_) if file_system::file_system(parent(path)).is_ok_and(|kind| kind != FileSystem::Local) => Ok(file),
        Err(error) => Err(failed("keep others from", path, &error)),
        Ok(()) => Ok(file),
    }
}

/// To read: with its `-wal` if there is one, and where nothing may be written (a mounted backup) as a file that nobody changes.
fn open_source(path: &Path) -> Result<Connection> {
    if !path.is_file() {
        return Err(StorageError::Io(format!("there is no file {}", path.display())));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let uri = |options: &str| format!("file:{}?{options}", uri_escaped(path));
    let connection = open_usual(uri("mode=ro"), flags)?;
    if connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).is_ok() {
        return Ok(connection);
    }
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    if Path::new(&wal).exists() { Ok(connection) } else { Ok(open_usual(uri("immutable=1"), flags)?) }
}

/// What would end the path in a URI (<https://www.sqlite.org/uri.html>).
fn uri_escaped(path: &Path) -> String {
    path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23")
}

fn sync(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|error| StorageError::SyncFailed(format!("{}: {error}", path.display())))
}

/// The directory of a file.
#[must_use]
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(super) fn failed(what: &str, path: &Path, error: &std::io::Error) -> StorageError {
    StorageError::Io(format!("can't {what} {}: {error}", path.display()))
}

/// With SQLite's usual file system. SQLite itself is set up as everywhere.
fn open_usual(path: impl AsRef<Path>, flags: OpenFlags) -> Result<Connection> {
    vfs::name()?;
    Ok(Connection::open_with_flags(path, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Keyspace;
    use crate::storage::fixture::{Fixture, NOW_MS};
    use crate::storage::{Expiry, Options, prepare};

    fn put(fixture: &mut Fixture, keys: std::ops::Range<u32>, value: &[u8]) {
        fixture.write(|keyspace| {
            for key in keys {
                keyspace.put_string(&key.to_le_bytes(), value, Expiry::Clear).unwrap();
            }
        });
    }

    /// The keyspace in a copy, as a service would open it.
    fn opened(copy: &Path, directory: &Path) -> Keyspace {
        fs::copy(copy, directory.join("data.db")).unwrap();
        let options = Options::new(directory);
        assert!(!prepare(&options).unwrap().created);
        let mut keyspace = Keyspace::open_writer(&options, Box::new(|_| {})).unwrap();
        keyspace.begin_write(NOW_MS).unwrap();
        assert_eq!(keyspace.verify().unwrap().problems, [""; 0]);
        keyspace
    }

    #[test]
    fn a_copy_beside_the_writer_has_everything_up_to_its_end() {
        let mut fixture = Fixture::new();
        let place = tempfile::tempdir().unwrap();
        put(&mut fixture, 0..2000, &[1; 200]);
        let (part, name) = (place.path().join("a.db.part"), place.path().join("a.db"));
        let mut backup = Backup::begin(&fixture.writer, &part).unwrap();
        let (mut steps, mut round) = (0, 0);
        while !backup.advance(16).unwrap() {
            // Pages that are copied already change, and the file grows.
            round += 1;
            put(&mut fixture, 0..5, &round.to_string().into_bytes());
            put(&mut fixture, 3000 + round..3002 + round, &[2; 300]);
            if round % 5 == 0 {
                assert!(fixture.writer.restart_wal().unwrap(), "the copy holds no snapshot");
            }
            steps += 1;
        }
        assert!(steps > 10, "{steps}");
        let copied = backup.copied();
        assert_eq!(copied.pages, copied.pages_total);
        drop(backup);
        put(&mut fixture, 9000..9001, b"too late");
        finish(&part, &name).unwrap();
        assert!(!part.exists());
        let files: Vec<_> = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(files, ["a.db"], "one ordinary file");

        let directory = tempfile::tempdir().unwrap();
        let copy = opened(&name, directory.path());
        let value = |key: u32| copy.string(&key.to_le_bytes()).unwrap();
        assert_eq!(value(3), crate::storage::Lookup::Found(round.to_string().into_bytes()));
        assert_eq!(value(3001 + round), crate::storage::Lookup::Found(vec![2; 300]));
        assert_eq!(value(9000), crate::storage::Lookup::Absent);
    }

    #[test]
    fn a_file_that_shrinks_meanwhile_is_copied_as_it_becomes() {
        let mut fixture = Fixture::new();
        let place = tempfile::tempdir().unwrap();
        put(&mut fixture, 0..5000, &[1; 200]);
        let part = place.path().join("c.part");
        let mut backup = Backup::begin(&fixture.writer, &part).unwrap();
        backup.advance(100).unwrap();
        let before = backup.copied().pages_total;
        fixture.write(|keyspace| keyspace.flush_database()).unwrap();
        put(&mut fixture, 0..10, b"new");
        while !backup.advance(16).unwrap() {
            fixture.write(|keyspace| keyspace.sweep_orphans(1000)).unwrap();
            fixture.write(|keyspace| keyspace.vacuum(64, crate::storage::sqlite::Kept::Pages(0))).unwrap();
        }
        assert!(backup.copied().pages_total < before / 2);
        drop(backup);
        finish(&part, &place.path().join("c.db")).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let copy = opened(&place.path().join("c.db"), directory.path());
        assert_eq!(copy.key_count().unwrap(), 10);
    }

    #[test]
    fn a_copy_goes_on_when_a_group_is_undone() {
        let mut fixture = Fixture::new();
        let place = tempfile::tempdir().unwrap();
        put(&mut fixture, 0..3000, &[1; 200]);
        let part = place.path().join("b.part");
        let mut backup = Backup::begin(&fixture.writer, &part).unwrap();
        backup.advance(64).unwrap();
        // So much that it leaves the cache before it is undone.
        fixture.writer.begin_write(NOW_MS).unwrap();
        for key in 0..30_000_u32 {
            fixture.writer.put_string(&key.to_le_bytes(), &[7; 400], Expiry::Clear).unwrap();
        }
        fixture.writer.rollback().unwrap();
        while !backup.advance(64).unwrap() {}
        drop(backup);
        finish(&part, &place.path().join("b.db")).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let copy = opened(&place.path().join("b.db"), directory.path());
        assert_eq!(copy.key_count().unwrap(), 3000);
        assert_eq!(copy.string(&0_u32.to_le_bytes()).unwrap(), crate::storage::Lookup::Found(vec![1; 200]));
    }

    #[test]
    fn copies_tell_their_order_and_of_which_data_they_are() {
        let mut fixture = Fixture::new();
        let place = tempfile::tempdir().unwrap();
        put(&mut fixture, 0..10, b"1");
        let mut origins = Vec::new();
        for (number, name) in (0..).zip(["not counted", "first", "second"]) {
            if number > 0 {
                count(&fixture.writer, 0).unwrap();
            }
            let file = place.path().join(name);
            copy(&fixture.options.data_path(), &file, &mut |_| {}).unwrap();
            origins.push(origin(&file).unwrap());
            assert_eq!(origins.last().copied().unwrap(), Origin { lineage: origins[0].lineage, number });
        }
        count(&fixture.writer, 70).unwrap();
        assert_eq!(origin_of(&fixture.writer).unwrap().number, 71);
        let other = Fixture::new();
        assert_ne!(origin_of(&other.writer).unwrap().lineage, origins[0].lineage);
        // A copy of a copy that has to be newer than some other.
        let (first, newer) = (place.path().join("first"), place.path().join("newer"));
        copy_as(&first, &part_of(&newer), &newer, 90, &mut |_| {}).unwrap();
        assert_eq!(origin(&newer).unwrap(), Origin { number: 90, ..origins[0] });
        assert_eq!(count_alone(&newer, 12).unwrap().number, 91);
        copy_as(&first, &part_of(&newer), &newer, 0, &mut |_| {}).unwrap_err();
        assert_eq!(origin(&newer).unwrap().number, 91, "no copy takes the place of another");
        fs::write(place.path().join("text"), b"hello").unwrap();
        assert!(origin(&place.path().join("text")).is_err() && origin(&place.path().join("none")).is_err());
    }

    #[test]
    fn a_file_is_copied_with_what_only_its_wal_holds() {
        let mut fixture = Fixture::new();
        let place = tempfile::tempdir().unwrap();
        put(&mut fixture, 0..500, &[1; 100]);
        let mut told = Vec::new();
        let to = place.path().join("copy ?#%.db");
        copy(&fixture.options.data_path(), &to, &mut |copied| told.push(copied)).unwrap();
        assert_eq!(told.last().unwrap().pages, told.last().unwrap().pages_total);
        check(&to).unwrap();
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(opened(&to, directory.path()).key_count().unwrap(), 500);
        assert!(matches!(
            copy(&fixture.options.data_path(), &place.path().join("no/such.db"), &mut |_| {}),
            Err(StorageError::Io(_))
        ));
    }

    #[test]
    fn what_is_no_sound_data_file_is_refused_and_leaves_nothing() {
        let mut fixture = Fixture::new();
        put(&mut fixture, 0..500, &[1; 100]);
        let place = tempfile::tempdir().unwrap();
        let (good, bad) = (place.path().join("good.db"), place.path().join("bad.db"));
        copy(&fixture.options.data_path(), &good, &mut |_| {}).unwrap();
        let bytes = fs::read(&good).unwrap();
        let mut torn = bytes.clone();
        torn[20 * 2048..21 * 2048].fill(0x55);
        let empty: &[u8] = &[];
        for (what, bytes) in
            [("torn", &torn[..]), ("short", &bytes[..bytes.len() / 2]), ("text", b"hello"), ("empty", empty)]
        {
            fs::write(&bad, bytes).unwrap();
            assert!(check(&bad).is_err(), "{what}");
            assert!(copy(&bad, &place.path().join("new.db"), &mut |_| {}).is_err(), "{what}");
        }
        assert!(matches!(check(Path::new("/no/such/file")), Err(StorageError::Io(_))));
        let mut names: Vec<_> = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["bad.db", "good.db"]);
    }

    #[test]
    fn a_backup_opens_where_nothing_may_be_written() {
        let mut fixture = Fixture::new();
        put(&mut fixture, 0..10, &[1; 100]);
        let place = tempfile::tempdir().unwrap();
        let good = place.path().join("good.db");
        copy(&fixture.options.data_path(), &good, &mut |_| {}).unwrap();
        let before = fs::read(&good).unwrap();
        check(&good).unwrap();
        assert_eq!(fs::read(&good).unwrap(), before);
    }
}
