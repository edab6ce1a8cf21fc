//! What has to be done after a sync failed, before anything is served again.
//!
//! The kernel forgets: what it could not write out counts as clean from then on, and the next sync succeeds without it. So
//! the files in the page cache and those on the disk differ, and no sync will ever make them equal. Two things follow:
//!
//! - The `-shm` may note frames as copied that the disk does not have in the file. It outlives the writer as long as any
//!   reader has it open. Its first 96 bytes are a header in two copies; where they are not valid the next transaction
//!   rebuilds it from the -wal, as after a crash (<https://www.sqlite.org/walformat.html#recovery>), and all is copied again.
//! - The -wal on the disk may end before the one in the page cache. Were that one copied into the file and the power then
//!   cut, the shorter one would put its older pages over the file's newer ones: a damaged file. So all of it is written
//!   once more, which makes it dirty again and the next sync honest.
//!
//! The note that this is due is a file, since the service may be ended before it is done. It needs no sync: a power cut
//! that loses it loses the page cache too, and with it the difference.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::connection::Options;
use crate::storage::error::{Result, StorageError};

/// How much of the -wal is written again at a time.
const PIECE_BYTES: usize = 1 << 20;

/// Remembers that a sync failed, also for the service's next start.
pub fn note(options: &Options) -> io::Result<()> {
    File::create(beside(options, "-sync-failed")).map(drop)
}

#[must_use]
pub fn is_noted(options: &Options) -> bool {
    beside(options, "-sync-failed").exists()
}

/// To be called when `Checkpointer::complete` has succeeded.
pub fn forget(options: &Options) -> Result<()> {
    match fs::remove_file(beside(options, "-sync-failed")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove -sync-failed", &error)),
        _ => Ok(()),
    }
}

/// Before this process opens its first connection, and then runs `Checkpointer::complete`. There must be no writer.
pub fn distrust(options: &Options) -> Result<()> {
    // SQLite takes no locks on these two, so they may be opened and closed freely.
    if let Some(wal) = open(options, "-wal")? {
        write_again(&wal).map_err(|error| failed("write the -wal again", &error))?;
        wal.sync_data().map_err(|error| StorageError::SyncFailed(format!("-wal: {error}")))?;
    }
    if let Some(index) = open(options, "-shm")? {
        index.write_all_at(&[0; 96], 0).map_err(|error| failed("write -shm", &error))?;
    }
    Ok(())
}

fn write_again(file: &File) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut offset = 0;
    loop {
        let length = file.read_at(&mut piece, offset)?;
        if length == 0 {
            return Ok(());
        }
        file.write_all_at(&piece[..length], offset)?;
        offset += length as u64;
    }
}

/// `None` where there is no such file.
fn open(options: &Options, suffix: &str) -> Result<Option<File>> {
    match OpenOptions::new().read(true).write(true).open(beside(options, suffix)) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(&format!("open {suffix}"), &error)),
    }
}

fn beside(options: &Options, suffix: &str) -> PathBuf {
    let mut path = options.data_path().into_os_string();
    path.push(suffix);
    path.into()
}

fn failed(what: &str, error: &io::Error) -> StorageError {
    StorageError::Io(format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::{Checkpointer, Progress};
    use super::*;
    use crate::storage::Expiry;
    use crate::storage::fixture::{Fixture, NOW_MS};

    #[test]
    fn all_of_the_wal_is_written_and_copied_again() {
        let mut fixture = Fixture::new();
        for group in 0..5u8 {
            fixture.write(|keyspace| {
                for n in 0..20 {
                    keyspace.put_string(&[group, n], &[8; 200], Expiry::Clear).unwrap();
                }
            });
        }
        let checkpointer = Checkpointer::open(&fixture.options).unwrap();
        let passed = checkpointer.passive(&mut |_, _| Ok(())).unwrap();
        assert_eq!(passed.remaining_bytes(), 0);
        let wal = fs::read(beside(&fixture.options, "-wal")).unwrap();
        let mut reader = fixture.reader();
        distrust(&fixture.options).unwrap();
        assert_eq!(fs::read(beside(&fixture.options, "-wal")).unwrap(), wal);
        reader.begin_read(NOW_MS).unwrap();
        assert_eq!(reader.key_count().unwrap(), 100);
        reader.end_read().unwrap();
        assert_eq!(checkpointer.progress().unwrap(), Progress { checkpointed: 0, ..passed });
        assert_eq!(checkpointer.complete().unwrap(), passed);
        fixture.write(|keyspace| keyspace.put_string(b"more", b"1", Expiry::Clear)).unwrap();
        fixture.writer.begin_write(NOW_MS).unwrap();
        assert_eq!(fixture.writer.verify().unwrap().problems, [""; 0]);
    }

    #[test]
    fn a_note_stays_until_it_is_forgotten_and_new_data_needs_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let options = Options::new(directory.path());
        assert!(!is_noted(&options));
        distrust(&options).unwrap();
        note(&options).unwrap();
        note(&options).unwrap();
        assert!(is_noted(&options));
        forget(&options).unwrap();
        forget(&options).unwrap();
        assert!(!is_noted(&options));
    }
}
