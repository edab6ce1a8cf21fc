//! Which files the names of the data mean. A file that is deleted, replaced or moved away while it is open goes on working for whoever
//! has it open, and what is written to it is nobody's after that: so whoever writes has to look.

use std::fs::metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::sqlite::connection::Options;

/// The data file and the two that SQLite keeps beside it.
pub const SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];

/// A number for each file: not the same for two that are there at the same time. 0: there is no such file.
pub type Identities = [u64; SUFFIXES.len()];

/// Stands for a file of which only the name counts.
pub const ANY: u64 = 1;

/// The files that the names mean now.
///
/// # Errors
/// Some name can't be looked up, which says nothing about its file.
pub fn identities(options: &Options) -> io::Result<Identities> {
    let mut identities = Identities::default();
    for (identity, suffix) in identities.iter_mut().zip(SUFFIXES) {
        *identity = match metadata(path(options, suffix)) {
            // Inode numbers are small, and file systems of one path are few.
            Ok(facts) => (facts.ino() ^ facts.dev().rotate_left(40)).max(1),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
    }
    Ok(identities)
}

/// The suffixes of the names that mean other files than `opened`, or none. What was not there then (0) is not looked at.
pub fn changed(options: &Options, opened: &Identities) -> Vec<&'static str> {
    let now = match identities(options) {
        Ok(now) => now,
        Err(error) => {
            tracing::warn!(%error, "the data files can't be looked up");
            return Vec::new();
        }
    };
    let is_changed = |index: usize| match opened[index] {
        0 => false,
        ANY => now[index] == 0,
        opened => now[index] != opened,
    };
    SUFFIXES.iter().enumerate().filter(|(index, _)| is_changed(*index)).map(|(_, suffix)| *suffix).collect()
}

/// Moves a `-wal` that is not ours out of the way, for SQLite would take it for the data file's at the next start. Returns its new name,
/// if there was one. Only after a checkpoint that was complete.
///
/// # Errors
/// Those of rename(2).
pub fn set_aside_wal(options: &Options, number: i64) -> io::Result<Option<PathBuf>> {
    let aside = path(options, &format!("-wal.not-ours-{number}"));
    match std::fs::rename(path(options, "-wal"), &aside) {
        Ok(()) => Ok(Some(aside)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn path(options: &Options, suffix: &str) -> PathBuf {
    let mut path = options.data_path().into_os_string();
    path.push(suffix);
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_deleted_replaced_or_moved_is_another_or_none() {
        let directory = tempfile::tempdir().unwrap();
        let options = Options::new(directory.path().join("data"));
        let file = |suffix: &str| path(&options, suffix);
        assert_eq!(identities(&options).unwrap(), [0; 3]);
        std::fs::create_dir(&options.directory).unwrap();
        SUFFIXES.iter().for_each(|suffix| std::fs::write(file(suffix), "x").unwrap());
        let first = identities(&options).unwrap();
        assert!(first.iter().all(|identity| *identity != 0));
        assert_eq!(changed(&options, &first), [""; 0]);
        std::fs::write(file("-wal"), "more").unwrap();
        assert_eq!(identities(&options).unwrap(), first, "what is in it does not matter");
        std::fs::copy(file("-wal"), file("-copy")).unwrap();
        std::fs::rename(file("-copy"), file("-wal")).unwrap();
        let replaced = identities(&options).unwrap();
        assert!(replaced[0] == first[0] && replaced[1] != first[1] && replaced[1] != 0 && replaced[2] == first[2]);
        assert_eq!(changed(&options, &first), ["-wal"]);
        assert_eq!(changed(&options, &[first[0], ANY, 0]), [""; 0], "the name counts");
        let aside = set_aside_wal(&options, 7).unwrap().unwrap();
        assert_eq!(std::fs::read(&aside).unwrap(), b"more");
        assert_eq!(set_aside_wal(&options, 8).unwrap(), None);
        assert_eq!(identities(&options).unwrap(), [first[0], 0, first[2]]);
        assert_eq!(changed(&options, &[first[0], ANY, 0]), ["-wal"]);
        std::fs::rename(&options.directory, directory.path().join("elsewhere")).unwrap();
        assert_eq!(identities(&options).unwrap(), [0; 3]);
    }
}
