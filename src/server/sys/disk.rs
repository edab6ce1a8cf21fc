//! Writing back what the kernel holds of a file, bit by bit, so that a later sync finds little to wait for.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Returns when the dirty pages of this part of the file were given to the disk and taken by it. No durability follows: the
/// disk's own cache and the file's size are a sync's affair.
pub fn write_back(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: sync_file_range(2) takes a descriptor, which `file` keeps open, and plain integers.
    match unsafe { libc::sync_file_range(file.as_raw_fd(), offset.cast_signed(), length.cast_signed(), flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_part_of_a_file_can_be_written_back() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &[1; 10_000]).unwrap();
        for (offset, length) in [(0, 10_000), (4_096, 1), (1 << 40, 4_096)] {
            write_back(&file, offset, length).unwrap();
        }
        assert!(write_back(&File::open("/dev/null").unwrap(), 0, 1).is_err(), "no file");
    }
}
