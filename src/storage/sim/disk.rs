//! The directory that lies in memory, and what of it a power cut leaves: the data file as it is, and of the `-wal` all that was synced
//! with a few commits behind that, or without.
//!
//! How far the `-wal` goes is read in the head of its index (<https://www.sqlite.org/walformat.html>), which every commit writes.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;

use tempfile::TempDir;

use super::history::Number;
use super::schedule::Random;
use crate::storage::sqlite::Base;
use crate::storage::sqlite::checkpoint::FRAME_BYTES;
use crate::storage::{DATA_FILE, Durability, Options, prepare};

/// A place in the `-wal`: which one, by its salts, and how many frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Position {
    salts: [u8; 8],
    frames: u32,
}

pub(super) struct Disk {
    pub(super) options: Options,
    directory: TempDir,
    /// Open as long as any connection is: to close it would drop SQLite's locks.
    index: File,
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    synced: Position,
    /// A sync has come within what SQLite is at. Its index says only behind it how far that was.
    is_syncing: bool,
    /// Where each group's commit ends, the oldest first.
    groups: Vec<(Number, Position)>,
}

const WAL_HEAD_BYTES: u64 = 32;

fn directory() -> TempDir {
    // Without a memory file system it is slower, and as good.
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn side(directory: &Path, end: &str) -> std::path::PathBuf {
    directory.join(format!("{DATA_FILE}{end}"))
}

impl Disk {
    /// A file, made anew or what another machine has left of its own. The caller keeps a connection to it open, and opens that here.
    pub(super) fn open<T>(
        directory: TempDir,
        durability: Durability,
        connect: impl FnOnce(&Options) -> T,
    ) -> (Self, T) {
        let mut options = Options::new(directory.path());
        options.durability = durability;
        options.mmap = false;
        options.journal_bytes_max = 4 << 20;
        prepare(&options).unwrap();
        // By chance every file has another.
        let seed = "UPDATE meta SET value = x'00112233445566778899aabbccddeeff' WHERE name = 'hash_seed'";
        Base::open_writer(&options).unwrap().connection().execute(seed, []).unwrap();
        let connection = connect(&options);
        let index = File::open(side(directory.path(), "-shm")).unwrap();
        let disk = Self { options, directory, index, written: Mutex::default() };
        disk.synced();
        disk.settle();
        (disk, connection)
    }

    pub(super) fn fresh() -> TempDir {
        directory()
    }

    fn position(&self) -> Position {
        let mut head = [0; 48];
        self.index.read_exact_at(&mut head, 0).unwrap();
        let frames = u32::from_ne_bytes(std::array::from_fn(|i| head[16 + i]));
        Position { salts: std::array::from_fn(|i| head[32 + i]), frames }
    }

    /// The `-wal` was synced, by a call of SQLite's that goes on.
    pub(super) fn synced(&self) {
        self.written.lock().unwrap().is_syncing = true;
    }

    /// Calls of SQLite's have returned.
    pub(super) fn settle(&self) {
        let mut written = self.written.lock().unwrap();
        if std::mem::take(&mut written.is_syncing) {
            written.synced = self.position();
        }
    }

    /// The COMMIT of a group has returned.
    pub(super) fn committed(&self, number: Number) {
        self.settle();
        let position = self.position();
        self.written.lock().unwrap().groups.push((number, position));
    }

    /// What another machine finds: with everything that was written, or what a power cut leaves; and the last group that it has, if
    /// any is lost.
    pub(super) fn image(&self, power_cut: Option<&mut Random>) -> (TempDir, Option<Number>) {
        let (from, to) = (self.directory.path(), directory());
        fs::copy(from.join(DATA_FILE), to.path().join(DATA_FILE)).unwrap();
        let mut wal = fs::read(side(from, "-wal")).unwrap();
        let lost = power_cut.and_then(|random| self.cut(&mut wal, random));
        fs::write(side(to.path(), "-wal"), &wal).unwrap();
        (to, lost)
    }

    /// Cuts the `-wal` behind some commit that a power cut may be behind of.
    fn cut(&self, wal: &mut Vec<u8>, random: &mut Random) -> Option<Number> {
        let written = self.written.lock().unwrap();
        let end = self.position();
        if end.frames == 0 {
            return None;
        }
        let certain = if written.synced.salts == end.salts { written.synced.frames } else { 0 };
        let is_commit = |frames: &u32| {
            let frame = WAL_HEAD_BYTES + (u64::from(*frames) - 1) * FRAME_BYTES;
            wal[frame as usize + 4..frame as usize + 8] != [0; 4]
        };
        let ends: Vec<u32> = (certain..=end.frames).filter(|frames| *frames == certain || is_commit(frames)).collect();
        let kept = random.of(&ends);
        wal.truncate((WAL_HEAD_BYTES + u64::from(kept) * FRAME_BYTES) as usize);
        let is_lost = |(_, position): &&(Number, Position)| position.salts == end.salts && position.frames > kept;
        written.groups.iter().find(is_lost).map(|(number, _)| number - 1)
    }
}
