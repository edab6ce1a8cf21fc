//! A keyspace on a temporary directory, for the tests of this layer.

use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::keyspace::Layout;
use super::memtable::{Memory, Shape};
use super::rows::{Homes, crowd_files};
use super::sqlite::GENERATIONS;
use super::{Change, Keyspace, Options, prepare};

/// A key with its database; `None` stands for everything.
type Told = Option<(u8, Vec<u8>)>;

/// What the change hook was told since the last `take`.
#[derive(Clone, Default)]
pub(in crate::storage) struct Announced(Arc<Mutex<Vec<Told>>>);

impl Announced {
    pub(in crate::storage) fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

pub(in crate::storage) struct Fixture {
    pub(in crate::storage) writer: Keyspace,
    pub(in crate::storage) options: Options,
    pub(in crate::storage) announced: Announced,
    pub(in crate::storage) memory: Memory,
    /// Last, so that the connection closes before the directory goes.
    _directory: TempDir,
}

/// The time of a test that needs no other.
pub(in crate::storage) const NOW_MS: i64 = 1_000_000;

/// Small enough to be full now and then.
pub(in crate::storage) fn memory() -> Memory {
    Memory::new(Shape { generations: GENERATIONS, generation_bytes: 128 << 10, pins: 4 }).unwrap()
}

impl Fixture {
    /// Without memory, unless the environment says so: then what a test looks for in the tables may not be there yet.
    pub(in crate::storage) fn new() -> Self {
        let is_on = std::env::var_os("STORAGE_TEST_MEMORY").is_some();
        Self::on(if is_on { memory() } else { Memory::off() })
    }

    pub(in crate::storage) fn on(memory: Memory) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut options = Options::new(directory.path());
        options.durability = super::Durability::Os;
        // The least that makes each region as large as the writer takes it for.
        options.journal_bytes_max = if memory.is_on() { GENERATIONS << 20 } else { 0 };
        prepare(&options).unwrap();
        let announced = Announced::default();
        let told = announced.clone();
        let hook = move |change: Change<'_>| {
            told.0.lock().unwrap().push(match change {
                Change::Key { database, key } | Change::Quiet { database, key } => Some((database, key.to_vec())),
                Change::Flush { .. } | Change::Swap { .. } => None,
            });
        };
        let writer = Keyspace::open_writer_on(&options, memory, Box::new(hook)).unwrap();
        Self { writer, options, announced, memory, _directory: directory }
    }

    /// Keys collide all the time and values are big from a few bytes on.
    pub(in crate::storage) fn crowded() -> Self {
        let mut fixture = Self::new();
        Self::crowd_keyspace(&mut fixture.writer);
        fixture
    }

    /// Also files that this thread opens from now on: a start may write rows into tables.
    pub(in crate::storage) fn crowd_keyspace(keyspace: &mut Keyspace) {
        crowd_files(6);
        keyspace.set_homes(Homes::crowded(6));
        keyspace.crowd(Homes::crowded(6), Layout::SMALL);
    }

    /// Few homes, and values as they are.
    pub(in crate::storage) fn crowd_homes(&mut self, homes: u64) {
        self.writer.set_homes(Homes::crowded(homes));
        self.writer.crowd(Homes::crowded(homes), Layout::STANDARD);
    }

    /// Another writer, as after a start.
    pub(in crate::storage) fn reopen_writer(&mut self) {
        self.writer = Keyspace::open_writer_on(&self.options, self.memory, Box::new(|_| {})).unwrap();
    }

    pub(in crate::storage) fn reader(&self) -> Keyspace {
        Keyspace::open_reader_on(&self.options, self.memory).unwrap()
    }

    /// One committed group at `NOW_MS`.
    pub(in crate::storage) fn write<T>(&mut self, change: impl FnOnce(&mut Keyspace) -> T) -> T {
        self.write_at(NOW_MS, change)
    }

    pub(in crate::storage) fn write_at<T>(&mut self, now_ms: i64, change: impl FnOnce(&mut Keyspace) -> T) -> T {
        self.writer.begin_write(now_ms).unwrap();
        let result = change(&mut self.writer);
        self.writer.commit().unwrap();
        result
    }
}

impl Keyspace {
    /// Rows that wait for the sweeper.
    pub(in crate::storage) fn orphans_left(&self) -> super::Result<u64> {
        Ok(self.connection().query_row("SELECT count(*) FROM orphan", [], |row| row.get(0))?)
    }

    /// Writes another kind into a key's row and leaves its value: what a command on strings meets where the key is none.
    pub(crate) fn pretend_kind(&mut self, key: &[u8], kind: super::Kind) -> crate::storage::Result<()> {
        assert!(self.entry(key)?.is_some(), "the key is there");
        self.spill()?;
        self.connection().execute("UPDATE keyspace SET kind = ?1 WHERE key = ?2", (kind as i64, key))?;
        Ok(())
    }

    /// Makes the key's row one that can't be understood.
    pub(crate) fn damage_row(&mut self, key: &[u8]) -> crate::storage::Result<()> {
        self.spill()?;
        self.connection().execute("UPDATE keyspace SET kind = 77 WHERE key = ?1", [key])?;
        Ok(())
    }
}
