//! A directory that one process has for itself, for as long as it takes: where a file or data is made before it is put in place.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use emptyserver::sys::lock::FileLock;

/// In each of them. Only what has it is ours to remove.
const LOCK: &str = "transfer.lock";

pub(crate) struct Scratch {
    directory: PathBuf,
    _lock: FileLock,
}

impl Scratch {
    /// What somebody left there who was killed goes.
    pub(crate) fn new(directory: PathBuf) -> Result<Scratch, Box<dyn Error>> {
        let lock = directory.join(LOCK);
        let taken = || format!("another import or export runs: it has {}", directory.display());
        if lock.exists() {
            FileLock::try_take(&lock)?.ok_or_else(taken)?;
            fs::remove_dir_all(&directory)?;
        }
        // An empty one was not locked yet.
        drop(fs::remove_dir(&directory));
        fs::create_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let lock = FileLock::try_take(&lock)?.ok_or_else(taken)?;
        Ok(Scratch { directory, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is complete has left it; the next one removes it first.
        drop(fs::remove_dir_all(&self.directory));
    }
}
