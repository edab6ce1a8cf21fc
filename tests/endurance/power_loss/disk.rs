//! A disk that keeps what was synced, and of the rest whatever it likes: each sector or none of it, in any order.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::support::strace::Line;

/// The unit that a disk writes as a whole.
const SECTOR_BYTES: usize = 512;

/// splitmix64
pub(crate) struct Random {
    seed: u64,
    state: u64,
}

impl fmt::Display for Random {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "POWER_LOSS_SEED={}", self.seed)
    }
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, state: seed }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// The files below the data directory, by their names.
#[derive(Default)]
pub(crate) struct Disk {
    files: BTreeMap<String, File>,
    /// Of each thread: the call that has begun and not ended.
    begun: BTreeMap<i32, Begun>,
}

#[derive(Default)]
struct File {
    /// What is certain, as far as the first change that is not.
    base: Vec<u8>,
    changes: Vec<Change>,
    next_number: u64,
}

struct Change {
    number: u64,
    what: What,
    state: State,
}

enum What {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The call has not returned.
    Begun,
    /// Only the kernel has it.
    Written,
    Synced,
    /// A sync failed: the kernel takes it for written out, and no later sync will do anything about it.
    Forgotten,
}

enum Begun {
    Change(String, u64),
    /// Syncs these changes.
    Sync(String, Vec<u64>),
}

impl Disk {
    pub(crate) fn apply(&mut self, line: &Line) {
        if !line.is_end_only {
            self.begin(line);
        }
        if let Some(result) = &line.result {
            self.end(line.thread_id, !result.starts_with('-'));
        }
    }

    fn begin(&mut self, line: &Line) {
        let path = line.descriptor(0).unwrap_or_default();
        let Some(name) = path.rsplit('/').next().filter(|name| name.starts_with("data.db") && !name.ends_with("-shm"))
        else {
            return;
        };
        let what = match line.name.as_str() {
            "pwrite64" => {
                let bytes = line.bytes(1).unwrap();
                assert_eq!(bytes.len() as u64, line.number(2).unwrap(), "the recording has all of it");
                Some(What::Bytes(line.number(3).unwrap() as usize, bytes))
            }
            "ftruncate" => Some(What::Length(line.number(1).unwrap() as usize)),
            "fsync" | "fdatasync" => None,
            other => panic!("{other} on {name} is not understood here"),
        };
        let file = self.files.entry(name.to_owned()).or_default();
        let begun = match what {
            Some(what) => {
                file.next_number += 1;
                file.changes.push(Change { number: file.next_number, what, state: State::Begun });
                Begun::Change(name.to_owned(), file.next_number)
            }
            None => {
                let written = file.changes.iter().filter(|change| change.state == State::Written);
                Begun::Sync(name.to_owned(), written.map(|change| change.number).collect())
            }
        };
        self.begun.insert(line.thread_id, begun);
    }

    fn end(&mut self, thread_id: i32, is_success: bool) {
        match self.begun.remove(&thread_id) {
            None => {}
            Some(Begun::Change(name, number)) => {
                let file = self.files.get_mut(&name).unwrap();
                let change = file.changes.iter_mut().rfind(|change| change.number == number).unwrap();
                change.state = State::Written;
            }
            Some(Begun::Sync(name, numbers)) => {
                let file = self.files.get_mut(&name).unwrap();
                let state = if is_success { State::Synced } else { State::Forgotten };
                for change in file.changes.iter_mut().filter(|change| numbers.binary_search(&change.number).is_ok()) {
                    change.state = state;
                }
                file.settle();
            }
        }
    }

    /// The files after a power cut now. Of what was not synced `kept_percent` of the sectors are there.
    pub(crate) fn write_to(&self, directory: &Path, random: &mut Random, kept_percent: u64) {
        for (name, file) in &self.files {
            // SQLite's rollback journal lives only while the file is made, before anybody is served.
            if !name.ends_with("-journal") {
                std::fs::write(directory.join(name), file.after_a_cut(random, kept_percent)).unwrap();
            }
        }
    }
}

impl File {
    /// Takes certain changes into the base, up to the first that is not.
    fn settle(&mut self) {
        let certain = self.changes.iter().take_while(|change| change.state == State::Synced).count();
        for change in self.changes.drain(..certain) {
            change.what.apply(&mut self.base);
        }
    }

    fn after_a_cut(&self, random: &mut Random, kept_percent: u64) -> Vec<u8> {
        let mut bytes = self.base.clone();
        for change in &self.changes {
            let mut is_kept = || change.state == State::Synced || random.below(100) < kept_percent;
            match &change.what {
                What::Length(_) if is_kept() => change.what.apply(&mut bytes),
                What::Length(_) => {}
                What::Bytes(offset, written) => {
                    for (at, sector) in sectors(*offset, written) {
                        if is_kept() {
                            put(&mut bytes, at, sector);
                        }
                    }
                }
            }
        }
        bytes
    }
}

impl What {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            What::Bytes(offset, bytes) => put(file, *offset, bytes),
            What::Length(length) => file.resize(*length, 0),
        }
    }
}

fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if file.len() < offset + bytes.len() {
        file.resize(offset + bytes.len(), 0);
    }
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// The parts of a write that lie in different sectors of the disk.
fn sectors(offset: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = offset;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let length = (SECTOR_BYTES - at % SECTOR_BYTES).min(rest.len());
        let (sector, more) = rest.split_at(length);
        let begin = at;
        (at, rest) = (at + length, more);
        Some((begin, sector))
    })
}
