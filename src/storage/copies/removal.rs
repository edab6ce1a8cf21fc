//! Removes large files in small steps: the file system frees a large file's blocks in one go, and every fsync waits for that.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::storage::backup;
use crate::sys::{clock, disk};

/// What is removed at once, then a pause.
const REMOVE_BYTES: u64 = 1 << 20;
const REMOVE_PAUSE: Duration = Duration::from_millis(5);

/// Removes a finished copy; `tick` hears of each step. It is called `part` meanwhile: what is left of it must not look like a backup.
/// Whoever copies it at this moment, or has linked to it, keeps the whole of it.
///
/// # Errors
/// It can't be renamed, or removed.
pub fn remove_gradually(file: &Path, part: &Path, tick: &dyn Fn()) -> io::Result<()> {
    fs::rename(file, part)?;
    if part.symlink_metadata()?.is_file() {
        let going = File::options().write(true).open(part)?;
        shrink(&going, true, tick)?;
    }
    fs::remove_file(part)
}

/// The same for one that was not finished, also while a thread that hangs has it open.
pub fn discard_gradually(part: &Path, tick: &dyn Fn()) {
    if let Ok(going) = File::options().write(true).open(part)
        && let Err(error) = shrink(&going, false, tick)
    {
        tracing::debug!(%error, file = %part.display(), "it is removed in one go");
    }
    backup::discard(part);
}

fn shrink(going: &File, minds_others: bool, tick: &dyn Fn()) -> io::Result<()> {
    let mut length = going.metadata()?.len();
    while length > 0 && (!minds_others || disk::is_known_to_nobody_else(going)?) {
        length = length.saturating_sub(REMOVE_BYTES);
        going.set_len(length)?;
        tick();
        clock::pause(REMOVE_PAUSE);
    }
    Ok(())
}
