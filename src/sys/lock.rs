//! A lock file: held by the process that took it and by every child that inherits the descriptor, free when the last is gone.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub struct FileLock {
    file: File,
}

impl FileLock {
    /// Takes the lock, or `None` while somebody else has it. Creates the file; never removes it.
    pub fn try_take(path: &Path) -> io::Result<Option<FileLock>> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o660).open(path)?;
        // Not fcntl(2), whose locks belong to one process; and not nix's Flock, which unlocks on drop, also in a child.
        // SAFETY: flock(2) takes plain integers; the lock belongs to the open file description, so children inherit it.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(error) };
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Some(FileLock { file }))
    }

    /// The process that holds the lock at `path`, as it wrote its id.
    #[must_use]
    pub fn holder(path: &Path) -> Option<u32> {
        let mut text = String::new();
        File::open(path).ok()?.read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }
}

impl AsFd for FileLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
