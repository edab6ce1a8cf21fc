//! Bytes for another process in memory that nobody can change any more: a file without a name, sealed (memfd_create(2)).

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// More than anything that is handed on so; a length that somebody else says is not believed.
const BYTES_MAX: u64 = 16 << 20;

/// `name` is what /proc shows.
pub fn memory(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let name = CString::new(name)?;
    let fd = memfd_create(name.as_c_str(), MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let mut file = File::from(fd);
    file.write_all(bytes)?;
    let seals = SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(OwnedFd::from(file))
}

/// All of it. Several processes may read at the same time: none moves the position, which they share.
pub fn read(fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let file = File::from(fd.as_fd().try_clone_to_owned()?);
    let length = file.metadata()?.len();
    if length > BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_handed_on_is_read_by_all_and_changed_by_nobody() {
        let fd = memory("test", b"some bytes").unwrap();
        for _ in 0..2 {
            assert_eq!(read(fd.as_fd()).unwrap(), b"some bytes");
        }
        let file = File::from(fd);
        assert!(file.write_at(b"other", 0).is_err());
        assert!(file.set_len(0).is_err());
    }
}
