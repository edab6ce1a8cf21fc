//! A copy takes the place of the data of a service that does not run. A kill or a power cut at any point leaves a state from
//! which the next start serves all of the old data or all of the new.
//!
//! ```text
//! data.db.part                    the copy, not finished: thrown away
//! data.db.restored-TIME           copied, synced, checked; from this rename on the new data counts, and `complete` goes on
//! data.db, -wal, … .replaced-TIME the old data, moved aside file by file
//! data.db                         the new data, by one rename
//! ```
//! The directory is synced between these steps. Several files can't be exchanged by one rename, and a `-wal` must never lie beside another
//! file than its own; so nobody may open the data before `complete` has run. The old `-wal` is not copied into its file first:
//! that can fail where the old data is damaged, which is when people restore.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::backup::{self, Copied, discard, part_of};
use super::open::sync_directory;
use crate::storage::error::{Result, StorageError};

const READY: &str = ".restored-";
const ASIDE: &str = ".replaced-";
/// What can lie beside a data file and belongs to it; the file itself last. The `-shm` is rebuilt by whoever opens the file.
const MOVED: [&str; 4] = ["-wal", "-journal", "-sync-failed", ""];

/// Puts a copy of `from` in the place of `data`. `time` tells this restore from others in the names of files. Returns where the
/// data that was there is now. The next backup's number will be larger than `number_min`.
///
/// # Errors
/// What is wrong with `from`, or with the disk: then the old data is where it was.
pub fn replace(
    from: &Path,
    data: &Path,
    time: &str,
    number_min: u64,
    progress: &mut dyn FnMut(Copied),
) -> Result<Option<PathBuf>> {
    let ready = named(data, READY, time);
    for taken in [&ready, &named(data, ASIDE, time)] {
        if taken.symlink_metadata().is_ok() {
            return Err(StorageError::Io(format!("{} exists", taken.display())));
        }
    }
    discard(&part_of(data));
    backup::copy_as(from, &part_of(data), &ready, number_min, progress)?;
    swap(&ready, data).inspect_err(|_| undo(&ready, data))
}

/// Completes a restore that was interrupted when its copy was finished, and removes what an earlier interruption left. To be called
/// while no service has the directory, and before anybody opens the data. Returns where the old data is now, if there was one.
///
/// # Errors
/// The data must not be opened.
pub fn complete(data: &Path) -> Result<Option<Option<PathBuf>>> {
    discard(&part_of(data));
    let mut last = None;
    for ready in waiting(data)? {
        last = Some(swap(&ready, data)?);
    }
    Ok(last)
}

/// True when a restore was interrupted that `complete` has to complete first.
///
/// # Errors
/// The directory can't be read.
pub fn is_interrupted(data: &Path) -> Result<bool> {
    Ok(!waiting(data)?.is_empty())
}

/// The finished copies, the oldest first.
fn waiting(data: &Path) -> Result<Vec<PathBuf>> {
    let directory = backup::parent(data);
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| backup::failed("read", directory, &error))?,
    };
    let beginning = named(data, READY, "");
    let mut found = Vec::new();
    for entry in entries {
        let path = directory.join(entry.map_err(|error| backup::failed("read", directory, &error))?.file_name());
        if path.as_os_str().to_string_lossy().starts_with(&*beginning.as_os_str().to_string_lossy()) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// From a finished copy on. Each step may have been done already, or in part.
fn swap(ready: &Path, data: &Path) -> Result<Option<PathBuf>> {
    let directory = backup::parent(data);
    let is_same = |a: &fs::Metadata, b: &fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    if let (Ok(new), Ok(old)) = (fs::metadata(ready), fs::metadata(data))
        && is_same(&new, &old)
    {
        // A file system whose rename is not atomic had both names when the power was cut.
        fs::remove_file(ready).map_err(|error| backup::failed("remove", ready, &error))?;
        return sync_directory(directory).map(|()| None);
    }
    // The copy's name is on the disk before anything that it replaces moves.
    sync_directory(directory)?;
    let aside = aside_of(ready, data);
    remove_if_there(&with(data, "-shm"))?;
    for suffix in MOVED {
        move_if_there(&with(data, suffix), &with(&aside, suffix))?;
    }
    sync_directory(directory)?;
    fs::rename(ready, data).map_err(|error| backup::failed("rename", ready, &error))?;
    sync_directory(directory)?;
    Ok(aside.exists().then_some(aside))
}

/// The old data comes back, and only then the copy goes: interrupted, this is a swap that is completed.
fn undo(ready: &Path, data: &Path) {
    if !ready.exists() {
        // All of it was done but for the last sync.
        return;
    }
    let aside = aside_of(ready, data);
    let moved = MOVED.iter().try_for_each(|suffix| move_if_there(&with(&aside, suffix), &with(data, suffix)));
    if moved.and_then(|()| sync_directory(backup::parent(data))).is_ok() {
        discard(ready);
    }
}

fn move_if_there(from: &Path, to: &Path) -> Result<()> {
    match (from.symlink_metadata(), to.symlink_metadata()) {
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        (Ok(_), Ok(_)) => Err(StorageError::Io(format!("{} exists; move it away", to.display()))),
        _ => fs::rename(from, to).map_err(|error| backup::failed("rename", from, &error)),
    }
}

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(backup::failed("remove", path, &error)),
        _ => Ok(()),
    }
}

fn aside_of(ready: &Path, data: &Path) -> PathBuf {
    let ready = ready.as_os_str().to_string_lossy();
    named(data, ASIDE, ready.rsplit_once(READY).map_or("", |(_, time)| time))
}

fn named(data: &Path, kind: &str, time: &str) -> PathBuf {
    with(data, &format!("{kind}{time}"))
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut path: OsString = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::fixture::Fixture;
    use crate::storage::{Expiry, Keyspace, Lookup, Options, prepare};

    /// The value of the key `which` in the data of the directory.
    fn which(directory: &Path) -> Vec<u8> {
        let options = Options::new(directory);
        assert!(!prepare(&options).unwrap().created);
        let mut keyspace = Keyspace::open_reader(&options).unwrap();
        keyspace.begin_read(0).unwrap();
        match keyspace.string(b"which").unwrap() {
            Lookup::Found(value) => value,
            other => panic!("{other:?}"),
        }
    }

    /// A data directory whose newest value is in the `-wal` alone, and a backup of something else.
    fn old_and_new() -> (tempfile::TempDir, tempfile::TempDir) {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (directory, value) in [(&old, "old"), (&new, "new")] {
            let mut fixture = Fixture::new();
            fixture.write(|keyspace| keyspace.put_string(b"which", value.as_bytes(), Expiry::Clear).unwrap());
            for suffix in ["", "-wal"] {
                let from = with(&fixture.options.data_path(), suffix);
                fs::copy(from, with(&directory.path().join("data.db"), suffix)).unwrap();
            }
            assert!(fs::metadata(directory.path().join("data.db-wal")).unwrap().len() > 0);
        }
        (old, new)
    }

    #[test]
    fn what_was_there_is_whole_under_its_new_name() {
        let (old, new) = old_and_new();
        let data = old.path().join("data.db");
        let aside = replace(&new.path().join("data.db"), &data, "1", 0, &mut |_| {}).unwrap().unwrap();
        assert_eq!(which(old.path()), b"new");
        assert_eq!(complete(&data).unwrap(), None);
        let back = replace(&aside, &data, "2", 0, &mut |_| {}).unwrap().unwrap();
        assert_eq!(which(old.path()), b"old");
        // Also from the place that it goes to.
        replace(&data, &data, "3", 0, &mut |_| {}).unwrap().unwrap();
        assert_eq!(which(old.path()), b"old");
        assert!(back.exists() && aside.exists());
    }

    #[test]
    fn what_fails_leaves_the_old_data_where_it_was() {
        let (old, new) = old_and_new();
        let data = old.path().join("data.db");
        let names = || {
            let mut names: Vec<_> = fs::read_dir(old.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        let before = names();
        fs::write(new.path().join("garbage.db"), b"hello").unwrap();
        for wrong in ["garbage.db", "nothing.db"] {
            replace(&new.path().join(wrong), &data, "1", 0, &mut |_| {}).unwrap_err();
            assert_eq!(names(), before);
        }
        // In the middle of the swap: a name is taken.
        let ready = named(&data, READY, "1");
        backup::copy_as(&new.path().join("data.db"), &part_of(&data), &ready, 0, &mut |_| {}).unwrap();
        fs::create_dir(old.path().join("data.db.replaced-1")).unwrap();
        swap(&ready, &data).unwrap_err();
        assert!(is_interrupted(&data).unwrap());
        fs::remove_dir(old.path().join("data.db.replaced-1")).unwrap();
        undo(&ready, &data);
        assert!(!is_interrupted(&data).unwrap());
        assert_eq!(which(old.path()), b"old");
    }

    #[test]
    fn a_rename_that_was_done_by_half_is_completed() {
        let (old, new) = old_and_new();
        let data = old.path().join("data.db");
        replace(&new.path().join("data.db"), &data, "1", 0, &mut |_| {}).unwrap();
        fs::hard_link(&data, named(&data, READY, "1")).unwrap();
        assert_eq!(complete(&data).unwrap(), Some(None));
        assert_eq!(which(old.path()), b"new");
    }
}
