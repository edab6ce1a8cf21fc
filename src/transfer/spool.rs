//! What comes from a server faster than it is taken, on the disk: files of a bounded length that one thread fills and another empties. A
//! file that was read is removed.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::storage::backup;

const PIECE_BYTES: u64 = 64 << 20;

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The files that are not read to their end, each with its length so far.
    pieces: VecDeque<(PathBuf, u64)>,
    received: u64,
    /// Nothing more comes: why, where it is a fault.
    ended: Option<Option<String>>,
}

/// The end that is filled.
pub(super) struct SpoolWriter {
    shared: Arc<Shared>,
    directory: PathBuf,
    file: Option<File>,
    number: u64,
}

/// The end that is emptied. A read waits for bytes.
pub(super) struct SpoolReader {
    shared: Arc<Shared>,
    file: Option<(PathBuf, File)>,
    taken: u64,
    /// Bytes of the present file that were read.
    taken_of_file: u64,
}

/// Pieces go to the directory.
pub(super) fn spool(directory: &Path) -> (SpoolWriter, SpoolReader) {
    let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
    let writer = SpoolWriter { shared: Arc::clone(&shared), directory: directory.to_owned(), file: None, number: 0 };
    (writer, SpoolReader { shared, file: None, taken: 0, taken_of_file: 0 })
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SpoolWriter {
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let is_full = self.shared.state().pieces.back().is_none_or(|(_, length)| *length >= PIECE_BYTES);
        if is_full || self.file.is_none() {
            self.number += 1;
            let path = self.directory.join(format!("changes-{}", self.number));
            self.file = Some(backup::create(&path).map_err(|error| io::Error::other(error.to_string()))?);
            self.shared.state().pieces.push_back((path, 0));
        }
        if let Some(file) = &mut self.file {
            file.write_all(bytes)?;
        }
        let mut state = self.shared.state();
        state.received += bytes.len() as u64;
        if let Some((_, length)) = state.pieces.back_mut() {
            *length += bytes.len() as u64;
        }
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Bytes that were written.
    pub(super) fn received(&self) -> u64 {
        self.shared.state().received
    }

    /// Nothing more comes; with a cause where more was to come.
    pub(super) fn end(&self, cause: Option<String>) {
        self.shared.state().ended = Some(cause);
        self.shared.changed.notify_all();
    }
}

impl SpoolReader {
    /// True exactly when a read would wait.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.shared.state();
        state.received == self.taken && state.ended.is_none()
    }

    /// Waits so long for bytes or the end.
    pub(super) fn wait(&self, time: Duration) {
        let state = self.shared.state();
        drop(
            self.shared
                .changed
                .wait_timeout_while(state, time, |state| state.received == self.taken && state.ended.is_none()),
        );
    }

    /// Why nothing more comes; `None`: more may come.
    pub(super) fn ended(&self) -> Option<Option<String>> {
        self.shared.state().ended.clone()
    }
}

impl Read for SpoolReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut state = self.shared.state();
        while state.received == self.taken && state.ended.is_none() {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.received == self.taken {
            return Ok(0);
        }
        if state.pieces.len() > 1 && state.pieces.front().is_some_and(|(_, length)| *length == self.taken_of_file) {
            state.pieces.pop_front();
            self.taken_of_file = 0;
            if let Some((path, _)) = self.file.take() {
                fs::remove_file(path)?;
            }
        }
        let Some((path, length)) = state.pieces.front().cloned() else { return Ok(0) };
        drop(state);
        if self.file.is_none() {
            self.file = Some((path.clone(), File::open(&path)?));
        }
        let Some((_, file)) = &mut self.file else { return Ok(0) };
        let most = usize::try_from(length - self.taken_of_file).unwrap_or(usize::MAX).min(out.len());
        let read = file.read(&mut out[..most])?;
        self.taken += read as u64;
        self.taken_of_file += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_in_its_order_by_who_waits_for_it_and_leaves_no_file_behind_but_the_last() {
        let directory = tempfile::tempdir().unwrap();
        let (mut writer, mut reader) = spool(directory.path());
        let piece = vec![7; 1 << 20];
        let filling = std::thread::spawn(move || {
            for number in 0..200_u32 {
                writer.write(&number.to_le_bytes()).unwrap();
                writer.write(&piece).unwrap();
            }
            assert_eq!(writer.received(), 200 * ((1 << 20) + 4));
            writer.end(Some("over".to_owned()));
        });
        for number in 0..200_u32 {
            let mut head = [0; 4];
            reader.read_exact(&mut head).unwrap();
            assert_eq!(u32::from_le_bytes(head), number);
            let mut body = vec![0; 1 << 20];
            reader.read_exact(&mut body).unwrap();
            assert!(body.iter().all(|byte| *byte == 7));
        }
        assert_eq!(reader.read(&mut [0; 10]).unwrap(), 0);
        assert_eq!(reader.ended(), Some(Some("over".to_owned())));
        filling.join().unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
