//! The files in a directory of backups: which of them are of which data, which is the newest, and which have to go.
//!
//! What tells the order is a number in each file, which grows with the data that it is of (`storage::backup::Origin`): clocks are
//! put back, and names are given by anybody. Only files of the same data are compared, or ever removed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::kv::shared::backups::{BackupName, Kind};
use crate::kv::shared::settings::BackupSettings;
use crate::storage::backup::{self, Origin};
use crate::storage::copies::{discard_gradually, remove_gradually};
use crate::storage::{StorageError, file_system};
use crate::sys::disk;

/// A file that is named as a backup.
#[derive(Clone, Debug)]
pub struct Found {
    pub name: BackupName,
    pub path: PathBuf,
    pub bytes: u64,
    /// Or why it is none.
    pub origin: Result<Origin, StorageError>,
}

/// Of backups that are made for one who takes them away, so many of the same data stay.
const ONCE_KEEP: usize = 2;

/// What is named as a backup, the oldest first. A directory that is not there has none.
pub fn found_in(directory: &Path) -> io::Result<Vec<Found>> {
    let of_file = |path: PathBuf| {
        let name = BackupName::of_file(&path)?;
        let bytes = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?.len();
        Some(Found { name, bytes, origin: backup::origin(&path), path })
    };
    let mut found: Vec<Found> = paths_in(directory)?.into_iter().filter_map(of_file).collect();
    found.sort_by_key(Found::rank);
    Ok(found)
}

/// The newest backup in a directory.
///
/// # Errors
/// There is none, or nobody can tell which.
pub fn newest_in(directory: &Path) -> Result<PathBuf, String> {
    let found = found_in(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let lineages: BTreeSet<u64> = found.iter().filter_map(Found::lineage).collect();
    let newest_of = |lineage| found.iter().rfind(|one| one.lineage() == Some(lineage));
    let mut newest = lineages.iter().filter_map(|&lineage| newest_of(lineage));
    let (Some(first), second) = (newest.next(), newest.next()) else {
        let unusable = found.first().and_then(|one| one.origin.as_ref().err());
        let why = unusable.map_or_else(String::new, |error| format!(" ({error})"));
        return Err(format!("the directory {} holds no backup{why}", directory.display()));
    };
    if let Some(second) = second {
        let (first, second) = (first.path.display(), second.path.display());
        return Err(format!(
            "the directory {} holds backups of different data; name the file: {first} or {second}, say",
            directory.display()
        ));
    }
    // Perhaps it would be the newest if it were sound.
    if let Some((other, error)) = found
        .iter()
        .find_map(|one| Some((one, one.origin.as_ref().err().filter(|_| one.name.at_ms > first.name.at_ms)?)))
    {
        let (other, first) = (other.path.display(), first.path.display());
        return Err(format!("{other} can't be used ({error}); remove it, or name the file: {first}, say"));
    }
    Ok(first.path.clone())
}

impl Found {
    pub fn lineage(&self) -> Option<u64> {
        self.origin.as_ref().ok().map(|origin| origin.lineage)
    }

    fn number(&self) -> u64 {
        self.origin.as_ref().map_or(0, |origin| origin.number)
    }

    /// Those of earlier versions have no number: among them the name tells.
    fn rank(&self) -> (u64, u64) {
        (self.number(), self.name.at_ms)
    }
}

/// The largest number of a backup of this data.
#[must_use]
pub fn number_max(found: &[Found], lineage: u64) -> u64 {
    found.iter().filter(|one| one.lineage() == Some(lineage)).map(Found::number).max().unwrap_or(0)
}

/// The same for the directory that this backup is in. 0 where nothing is known.
#[must_use]
pub fn number_beside(file: &Path) -> u64 {
    let lineage = backup::origin(file).map(|origin| origin.lineage);
    let found = found_in(backup::parent(file));
    found.ok().zip(lineage.ok()).map_or(0, |(found, lineage)| number_max(&found, lineage))
}

/// What a copy of this data is named until it is finished. Others may use the same directory, and are not to take it for theirs.
pub fn part_of(file: &Path, lineage: u64) -> PathBuf {
    let mut part = file.as_os_str().to_owned();
    part.push(tag(lineage));
    backup::part_of(Path::new(&part))
}

fn tag(lineage: u64) -> String {
    format!(".{:08x}", lineage as u32)
}

impl BackupSettings {
    /// Removes what an interrupted backup has left, here and beside the data, and takes from others what they may do with our files.
    pub fn clean_up(&self, data: &Path, lineage: u64, tick: &dyn Fn()) -> io::Result<()> {
        // Nobody else has the data's directory, so what is there is ours.
        for path in parts_in(data, "")? {
            discard(&path, tick);
        }
        for path in parts_in(&self.directory, &tag(lineage))? {
            discard(&path, tick);
        }
        // An earlier version's have no tag: in a directory that others use, only what nobody has open.
        for path in parts_in(&self.directory, "")? {
            let is_left =
                || File::options().write(true).open(&path).and_then(|file| disk::is_known_to_nobody_else(&file));
            if self.is_own_directory || is_left().unwrap_or(false) {
                discard(&path, tick);
            }
        }
        // An earlier version left its files readable for everybody.
        let is_backup = |name: &str| BackupName::of_file(Path::new(name)).is_some();
        for (file, error) in file_system::tighten(&self.directory, &is_backup) {
            tracing::warn!(file = %file.display(), %error, "others may read this file, and that can't be changed");
        }
        if self.is_own_directory
            && let Err(error) = file_system::tighten_directory(&self.directory)
        {
            tracing::warn!(directory = %self.directory.display(), %error, "others may look into this directory, and that can't be changed");
        }
        Ok(())
    }

    /// Removes those of this data that newer ones have taken the place of; never `made`, which was just made. `tick` hears that it
    /// goes on.
    ///
    /// # Errors
    /// The directory can't be read, or one of them not be removed.
    pub fn remove_oldest(&self, made: BackupName, lineage: u64, tick: &dyn Fn()) -> io::Result<()> {
        let found = found_in(&self.directory)?;
        let ours = |kind| {
            let is_ours = move |one: &&Found| one.lineage() == Some(lineage) && one.name.kind == kind;
            found.iter().rev().filter(is_ours)
        };
        let keep = if self.keep == 0 { usize::MAX } else { self.keep };
        let going = ours(Kind::Kept).skip(keep).chain(ours(Kind::Once).skip(ONCE_KEEP));
        for one in going.filter(|one| one.name != made) {
            remove_gradually(&one.path, &part_of(&one.path, lineage), tick)?;
            tracing::info!(name = %one.name, "an old backup was removed");
        }
        Ok(())
    }
}

/// Parts of backups, finished or not: `backup-….db` with the tag and the ending.
fn parts_in(directory: &Path, tag: &str) -> io::Result<Vec<PathBuf>> {
    let ending = format!("{tag}{}", backup::PART);
    let is_part = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(&ending));
        name.is_some_and(|name| BackupName::of_file(Path::new(name)).is_some())
    };
    Ok(paths_in(directory)?.into_iter().filter(is_part).collect())
}

fn paths_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn discard(part: &Path, tick: &dyn Fn()) {
    tracing::info!(file = %part.display(), "what an interrupted backup left is removed");
    discard_gradually(part, tick);
}
