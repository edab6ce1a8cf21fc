//! The file system below the data: its kind, and the room that is left on it.

use std::path::Path;

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
    (0x0102_1997, FileSystem::Shared("9p")),
    (0x6573_5546, FileSystem::Shared("FUSE or virtiofs")),
    (0x786F_4256, FileSystem::Shared("vboxsf")),
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

fn kind_of(magic: u64) -> FileSystem {
    // The field is signed on some systems and 32 bits wide in meaning on all.
    let magic = magic & 0xFFFF_FFFF;
    KINDS.iter().find(|(known, _)| *known == magic).map_or(FileSystem::Local, |(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

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
