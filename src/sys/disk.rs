//! Large files that others must not be made to wait for: written back bit by bit before a sync, and given up bit by bit.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

/// Gives the dirty pages of this part of the file to the disk, and does not wait for it.
pub fn begin_write_back(file: &File, offset: u64, length: u64) -> io::Result<()> {
    sync_range(file, offset, length, libc::SYNC_FILE_RANGE_WRITE)
}

/// Returns when the dirty pages of this part of the file were given to the disk and taken by it. No durability follows: the
/// disk's own cache and the file's size are a sync's affair.
pub fn write_back(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let wait = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    sync_range(file, offset, length, wait | libc::SYNC_FILE_RANGE_WRITE)
}

fn sync_range(file: &File, offset: u64, length: u64, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: sync_file_range(2) takes a descriptor, which `file` keeps open, and plain integers.
    match unsafe { libc::sync_file_range(file.as_raw_fd(), offset.cast_signed(), length.cast_signed(), flags) } {
        0 => Ok(()),
        // A kernel or a sandbox that does not have the call: all of it waits for the sync.
        _ => Some(io::Error::last_os_error())
            .filter(|error| !matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied))
            .map_or(Ok(()), Err),
    }
}

/// True when nobody else has the file open and it has no other name: then nobody misses what is cut off.
pub fn is_known_to_nobody_else(file: &File) -> io::Result<bool> {
    // fcntl(2), "Leases": one for writing is given only while there is no other open descriptor.
    let lease = |kind: libc::c_int| {
        // SAFETY: fcntl(2) with F_SETLEASE takes a descriptor, which `file` keeps open, and a plain integer.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) == 0 }
    };
    Ok(file.metadata()?.nlink() == 1 && lease(libc::F_WRLCK) && lease(libc::F_UNLCK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_part_of_a_file_can_be_written_back() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &[1; 10_000]).unwrap();
        for (offset, length) in [(0, 10_000), (4_096, 1), (1 << 40, 4_096)] {
            begin_write_back(&file, offset, length).unwrap();
            write_back(&file, offset, length).unwrap();
        }
        assert!(begin_write_back(&File::open("/dev/null").unwrap(), 0, 1).is_err(), "no file");
        assert!(write_back(&File::open("/dev/null").unwrap(), 0, 1).is_err(), "no file");
    }

    #[test]
    fn a_file_with_another_name_or_another_reader_is_known_to_somebody() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("a"), directory.path().join("b"));
        let file = File::create(&path).unwrap();
        assert!(is_known_to_nobody_else(&file).unwrap());
        std::fs::hard_link(&path, &other).unwrap();
        assert!(!is_known_to_nobody_else(&file).unwrap());
        std::fs::remove_file(&other).unwrap();
        let reader = File::open(&path).unwrap();
        assert!(!is_known_to_nobody_else(&file).unwrap());
        drop(reader);
        assert!(is_known_to_nobody_else(&file).unwrap());
    }
}
