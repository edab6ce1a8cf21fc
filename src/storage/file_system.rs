//! The file system below the data: its kind, the room that is left on it, and who may use the files that we make there.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::sys::statfs::statfs;
use nix::sys::statvfs::statvfs;

use super::error::{Result, StorageError};

/// What kind of file system a directory is on, as far as it matters to SQLite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    Local,
    /// Locks or shared memory do not work between processes or hosts: refused.
    Network(&'static str),
    /// Usually a directory of the host, shared into a container or virtual machine: works as well as its other side
    /// does, so the operator is warned.
    Shared(&'static str),
}

/// Magic numbers of statfs(2), and of linux/magic.h where the manual page lacks them.
const KINDS: &[(u64, FileSystem)] = &[
    (0x6969, FileSystem::Network("NFS")),
    (0x517B, FileSystem::Network("SMB")),
    (0xFF53_4D42, FileSystem::Network("CIFS")),
    (0xFE53_4D42, FileSystem::Network("SMB2")),
    (0x5346_414F, FileSystem::Network("AFS")),
    (0x6B41_4653, FileSystem::Network("AFS")),
    (0x7375_7245, FileSystem::Network("Coda")),
    (0x00C3_6400, FileSystem::Network("Ceph")),
    (0x0BD0_0BD0, FileSystem::Network("Lustre")),
    (0x0116_1970, FileSystem::Network("GFS2")),
    (0x7461_636F, FileSystem::Network("OCFS2")),
    (0x4750_4653, FileSystem::Network("GPFS")),
    (0x1983_0326, FileSystem::Network("BeeGFS")),
    (0x2003_0528, FileSystem::Network("OrangeFS")),
    (0x0102_1997, FileSystem::Shared("9p")),
    (0x6573_5546, FileSystem::Shared("FUSE or virtiofs")),
    (0x786F_4256, FileSystem::Shared("vboxsf")),
    (0xBACB_ACBC, FileSystem::Shared("vmhgfs")),
];

pub fn file_system(directory: &Path) -> Result<FileSystem> {
    let facts =
        statfs(directory).map_err(|error| StorageError::Io(format!("statfs {}: {error}", directory.display())))?;
    Ok(kind_of(facts.filesystem_type().0 as u64))
}

/// Bytes that an ordinary user can still write.
pub fn available_bytes(directory: &Path) -> Result<u64> {
    let facts =
        statvfs(directory).map_err(|error| StorageError::Io(format!("statvfs {}: {error}", directory.display())))?;
    Ok(facts.blocks_available() * facts.fragment_size())
}

/// True where files are for the group as well: the group may write to the directory, so that the next service there may be another
/// user of that group. Not where everybody keeps files of their own (/tmp). Of a directory that does not exist yet: what the one
/// tells in which it will be made.
#[must_use]
pub fn is_for_group(directory: &Path) -> bool {
    const GROUP_WRITES: u32 = 0o0020;
    const STICKY: u32 = 0o1000;
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    let found = absolute.ancestors().find_map(|place| fs::metadata(place).ok());
    found.is_some_and(|found| found.mode() & (GROUP_WRITES | STICKY) == GROUP_WRITES)
}

/// What others than the user (and, where it is for the group, the group) may do with a file that was just made is taken from them,
/// whatever the process's mask. A file that root makes in somebody else's directory becomes that one's, who could not use it otherwise.
pub fn keep_private(file: &File, directory: &Path) -> io::Result<()> {
    let mode = if is_for_group(directory) { 0o660 } else { 0o600 };
    if nix::unistd::geteuid().is_root()
        && let Ok(owner) = fs::metadata(directory)
        && owner.uid() != 0
    {
        // A container's root may not be allowed to.
        drop(fchown(file, Some(owner.uid()), Some(owner.gid())));
    }
    file.set_permissions(Permissions::from_mode(mode))
}

/// What an earlier program left open to others: takes that away from those of our own files in the directory that are ours (`is_ours`, by
/// name) and of this user. Returns what could not be changed.
pub fn tighten(directory: &Path, is_ours: &dyn Fn(&str) -> bool) -> Vec<(PathBuf, io::Error)> {
    let names = fs::read_dir(directory).into_iter().flatten().filter_map(io::Result::ok).map(|entry| entry.file_name());
    let ours = names.filter(|name| name.to_str().is_some_and(is_ours)).map(|name| directory.join(name));
    let allowed = if is_for_group(directory) { 0o660 } else { 0o600 };
    ours.filter_map(|path| tighten_one(&path, allowed, fs::Metadata::is_file).err().map(|error| (path, error)))
        .collect()
}

/// The same for a directory of our own, in another one of ours.
pub fn tighten_directory(directory: &Path) -> io::Result<()> {
    let allowed = if directory.parent().is_some_and(is_for_group) { 0o770 } else { 0o700 };
    tighten_one(directory, allowed, fs::Metadata::is_dir)
}

fn tighten_one(path: &Path, allowed: u32, is_kind: fn(&fs::Metadata) -> bool) -> io::Result<()> {
    let Ok(found) = path.symlink_metadata() else { return Ok(()) };
    let mode = found.mode() & 0o7777;
    if !is_kind(&found) || found.uid() != nix::unistd::geteuid().as_raw() || mode & 0o777 & !allowed == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(mode & (0o7000 | allowed)))
}

fn kind_of(magic: u64) -> FileSystem {
    // The field is signed on some systems and 32 bits wide in meaning on all.
    let magic = magic & 0xFFFF_FFFF;
    KINDS.iter().find(|(known, _)| *known == magic).map_or(FileSystem::Local, |(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.symlink_metadata().unwrap().mode() & 0o7777
    }

    #[test]
    fn files_are_for_the_user_or_for_the_group_that_may_write_to_the_directory() {
        let place = tempfile::tempdir().unwrap();
        for (directory_mode, file_mode) in
            [(0o700, 0o600), (0o755, 0o600), (0o770, 0o660), (0o2775, 0o660), (0o777, 0o660), (0o1777, 0o600)]
        {
            let directory = place.path().join(format!("{directory_mode:o}"));
            fs::create_dir(&directory).unwrap();
            fs::set_permissions(&directory, Permissions::from_mode(directory_mode)).unwrap();
            let path = directory.join("data.db");
            keep_private(&File::create(&path).unwrap(), &directory).unwrap();
            assert_eq!(mode(&path), file_mode, "{directory_mode:o}");
            assert_eq!(is_for_group(&directory.join("not/there/yet")), file_mode == 0o660);
        }
    }

    #[test]
    fn only_our_own_files_are_tightened_and_never_opened() {
        let place = tempfile::tempdir().unwrap();
        let make = |name: &str, mode| {
            let path = place.path().join(name);
            fs::write(&path, b"").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            path
        };
        let (ours, closed, theirs) = (make("data.db", 0o644), make("data.db-wal", 0o400), make("other", 0o644));
        std::os::unix::fs::symlink(&theirs, place.path().join("data.db-shm")).unwrap();
        assert!(tighten(place.path(), &|name| name.starts_with("data.db")).is_empty());
        assert_eq!([mode(&ours), mode(&closed), mode(&theirs)], [0o600, 0o400, 0o644]);
        fs::set_permissions(&ours, Permissions::from_mode(0o664)).unwrap();
        fs::set_permissions(place.path(), Permissions::from_mode(0o775)).unwrap();
        assert!(tighten(place.path(), &|name| name.starts_with("data.db")).is_empty());
        assert_eq!([mode(&ours), mode(&closed), mode(&theirs)], [0o660, 0o400, 0o644]);
    }

    #[test]
    fn network_file_systems_are_known_by_their_magic_number() {
        assert_eq!(kind_of(0x6969), FileSystem::Network("NFS"));
        assert_eq!(kind_of(0xFFFF_FFFF_FF53_4D42), FileSystem::Network("CIFS"));
        assert_eq!(kind_of(0x0102_1997), FileSystem::Shared("9p"));
        assert_eq!(kind_of(0xEF53), FileSystem::Local);
        let here = tempfile::tempdir().unwrap();
        assert!(!matches!(file_system(here.path()).unwrap(), FileSystem::Network(_)));
        assert!(available_bytes(here.path()).unwrap() > 0);
    }
}
