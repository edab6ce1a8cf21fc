//! Records in the order of a number, however many: what does not fit into memory goes to sorted runs in a directory, which are read side
//! by side at the end. Knows nothing of what a record says.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::storage::error::{Result, StorageError};

/// Read of each run at once: many runs are read side by side.
const RUN_READ_BYTES: usize = 256 << 10;

#[derive(Debug)]
pub(super) struct Sorter {
    arena: Vec<u8>,
    entries: Vec<Entry>,
    /// What arena and entries may take together.
    bytes_max: usize,
    directory: PathBuf,
    runs: Vec<File>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    order: u64,
    at: u32,
    length: u32,
}

impl Sorter {
    /// Runs go to the directory, and leave no names there.
    pub(super) fn new(directory: &Path, bytes_max: usize) -> Self {
        let bytes_max = bytes_max.min(u32::MAX as usize);
        Self { arena: Vec::new(), entries: Vec::new(), bytes_max, directory: directory.to_owned(), runs: Vec::new() }
    }

    /// A record of what `write` appends.
    pub(super) fn push(&mut self, order: u64, bytes: usize, write: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let taken = self.arena.len() + bytes + (self.entries.len() + 1) * size_of::<Entry>();
        if taken > self.bytes_max && !self.entries.is_empty() {
            self.write_run()?;
        }
        let at = self.arena.len();
        write(&mut self.arena);
        let length = (self.arena.len() - at) as u32;
        self.entries.push(Entry { order, at: at as u32, length });
        Ok(())
    }

    /// Shows all records, the lowest number first. Those of one number come in any order.
    pub(super) fn drain(mut self, mut show: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        if self.runs.is_empty() {
            self.sort();
            return self.entries.iter().try_for_each(|entry| show(entry.order, self.record(entry)));
        }
        self.write_run()?;
        let mut runs = Vec::new();
        for file in std::mem::take(&mut self.runs) {
            runs.push(Run::begin(file).map_err(|error| StorageError::of_io(&error))?);
        }
        drop(self);
        let mut heads = BinaryHeap::new();
        for (number, run) in runs.iter_mut().enumerate() {
            heads
                .extend(run.next().map_err(|error| StorageError::of_io(&error))?.map(|order| Reverse((order, number))));
        }
        while let Some(Reverse((order, number))) = heads.pop() {
            let run = &mut runs[number];
            show(order, &run.record)?;
            heads
                .extend(run.next().map_err(|error| StorageError::of_io(&error))?.map(|order| Reverse((order, number))));
        }
        Ok(())
    }

    fn record(&self, entry: &Entry) -> &[u8] {
        &self.arena[entry.at as usize..][..entry.length as usize]
    }

    fn sort(&mut self) {
        self.entries.sort_unstable_by_key(|entry| entry.order);
    }

    fn write_run(&mut self) -> Result<()> {
        self.sort();
        let path = self.directory.join(format!("run-{}", self.runs.len()));
        let written = (|| {
            let file = File::options().read(true).write(true).create_new(true).open(&path)?;
            fs::remove_file(&path)?;
            let mut out = BufWriter::with_capacity(RUN_READ_BYTES, file);
            for entry in &self.entries {
                out.write_all(&entry.order.to_le_bytes())?;
                out.write_all(&entry.length.to_le_bytes())?;
                out.write_all(self.record(entry))?;
            }
            out.into_inner().map_err(io::IntoInnerError::into_error)
        })();
        self.runs.push(written.map_err(|error| StorageError::of_io(&error))?);
        self.arena.clear();
        self.entries.clear();
        Ok(())
    }
}

/// A run that is being read.
struct Run {
    input: BufReader<File>,
    record: Vec<u8>,
}

impl Run {
    fn begin(mut file: File) -> io::Result<Self> {
        file.rewind()?;
        Ok(Self { input: BufReader::with_capacity(RUN_READ_BYTES, file), record: Vec::new() })
    }

    /// The number of the next record, which `record` has then.
    fn next(&mut self) -> io::Result<Option<u64>> {
        let mut head = [0; 12];
        match self.input.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let (order, length) = head.split_at(8);
        let order = u64::from_le_bytes(std::array::from_fn(|at| order[at]));
        let length = u32::from_le_bytes(std::array::from_fn(|at| length[at]));
        self.record.resize(length as usize, 0);
        self.input.read_exact(&mut self.record)?;
        Ok(Some(order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_in_their_order_from_memory_and_from_runs() {
        let directory = tempfile::tempdir().unwrap();
        for bytes_max in [1 << 20, 1000, 1] {
            let mut sorter = Sorter::new(directory.path(), bytes_max);
            let mut expected = Vec::new();
            for number in 0..1000u64 {
                let order = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56;
                let text = format!("record {number}");
                sorter.push(order, text.len(), |out| out.extend_from_slice(text.as_bytes())).unwrap();
                expected.push((order, text));
            }
            assert_eq!(sorter.runs.is_empty(), bytes_max == 1 << 20);
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "runs have no names");
            let mut shown = Vec::new();
            sorter
                .drain(|order, record| {
                    shown.push((order, String::from_utf8(record.to_vec()).unwrap()));
                    Ok(())
                })
                .unwrap();
            assert!(shown.is_sorted_by_key(|(order, _)| *order));
            shown.sort();
            expected.sort();
            assert_eq!(shown, expected);
        }
    }
}
