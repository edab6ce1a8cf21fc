//! Carries a finished copy to another file system, which may be on a network and slow.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use super::copier::WRITE_BACK_BYTES;
use crate::storage::backup;
use crate::storage::error::{Result, StorageError};

/// What is carried between two syncs: they are what a slow network is seen by.
const CARRIED_PER_SYNC: u64 = 1 << 20;

/// Copies the file to `part`, which it makes, and syncs it. `tick` hears of each piece; its error ends the work. What was begun stays
/// there.
///
/// # Errors
/// Those of the files; `Full` where there is no room; the `tick`'s.
pub fn carry(from: &Path, part: &Path, tick: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageError::Full,
        _ => StorageError::Io(format!("{}: {error}", part.display())),
    };
    let mut source = File::open(from).map_err(failed)?;
    let total = source.metadata().map_err(failed)?.len();
    let mut target = backup::create(part)?;
    let mut piece = vec![0; WRITE_BACK_BYTES as usize];
    let (mut carried, mut synced) = (0, 0);
    loop {
        tick()?;
        let length = source.read(&mut piece).map_err(failed)?;
        target.write_all(&piece[..length]).map_err(failed)?;
        carried += length as u64;
        if length == 0 || carried - synced >= CARRIED_PER_SYNC {
            target.sync_all().map_err(failed)?;
            synced = carried;
        }
        if length == 0 {
            break;
        }
    }
    tick()?;
    let arrived = target.metadata().map_err(failed)?.len();
    if carried != total || arrived != total {
        return Err(failed(io::Error::other(format!("{arrived} of {total} bytes have arrived"))));
    }
    Ok(())
}
