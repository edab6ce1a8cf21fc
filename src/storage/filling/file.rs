//! The file under construction. Values that have rows go into the tables as they come, each behind the one before; keys wait in a sorter
//! until all are there.

use std::path::{Path, PathBuf};

use super::sorter::Sorter;
use crate::storage::engine::Keyspace;
use crate::storage::error::{Result, StorageError};
use crate::storage::keyspace::{DATABASES, Expiry, INLINE_BYTES_MAX};
use crate::storage::rows::{Head, KeyRow, Kind, Name, Row, Table};
use crate::storage::sqlite::{Durability, Inserting, Options, prepare};

/// Keys that wait in memory. What is beyond goes to the disk once more.
const KEYS_BYTES_MAX: usize = 256 << 20;
const EXPIRIES_BYTES_MAX: usize = 32 << 20;
/// Rows of values that wait for the tables.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// A data file that nobody else knows.
pub struct Filling {
    keyspace: Keyspace,
    keys: Sorter,
    expiries: Sorter,
    directory: PathBuf,
    database: u8,
    /// Of the databases: the names of their spaces, and their numbers.
    spaces: [(u64, u16); DATABASES],
    now_ms: i64,
}

/// What the file has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    pub keys: u64,
    pub bytes: u64,
}

impl Filling {
    /// Begins a file in a directory that is new.
    ///
    /// # Errors
    /// The directory has data already, or can't be used.
    pub fn begin(directory: &Path, value_bytes_max: u64, now_ms: i64) -> Result<Self> {
        let options = Options { durability: Durability::Os, value_bytes_max, ..Options::new(directory) };
        if !prepare(&options)?.created {
            return Err(StorageError::Io(format!("{} exists", options.data_path().display())));
        }
        let mut keyspace = Keyspace::open_writer(&options, Box::new(|_| {}))?;
        keyspace.begin_filling()?;
        keyspace.begin_write(now_ms)?;
        let spaces = keyspace.numbered_spaces()?;
        Ok(Self {
            keyspace,
            keys: Sorter::new(directory, KEYS_BYTES_MAX),
            expiries: Sorter::new(directory, EXPIRIES_BYTES_MAX),
            directory: directory.to_owned(),
            database: 0,
            spaces,
            now_ms,
        })
    }

    #[cfg(test)]
    fn keep_in_memory(&mut self, bytes_max: usize) {
        self.keys = Sorter::new(&self.directory, bytes_max);
        self.expiries = Sorter::new(&self.directory, bytes_max);
    }

    /// The database that all that follows is about.
    pub fn select(&mut self, database: u8) {
        self.database = database;
        self.keyspace.select(database);
    }

    /// For what has more than one part: built there, put there, then `settle`.
    pub fn keyspace(&mut self) -> &mut Keyspace {
        &mut self.keyspace
    }

    /// A string under a key that is not there yet.
    pub fn put_string(&mut self, key: &[u8], value: &[u8], expires_at_ms: Option<i64>) -> Result<()> {
        if value.len() > INLINE_BYTES_MAX || expires_at_ms.is_some_and(|at_ms| at_ms <= self.now_ms) {
            self.keyspace.put_string(key, value, expires_at_ms.map_or(Expiry::Clear, Expiry::At))?;
            return self.settle();
        }
        let head = Head { kind: Kind::String, id: None, expires_at_ms, length: value.len() as u64 };
        let (_, number) = self.spaces[usize::from(self.database)];
        let position = self.keyspace.homes().position(key);
        push_key(&mut self.keys, number, position, key, &KeyRow { head, value: Some(value) })
    }

    /// Between two keys: what was put may leave memory.
    pub fn settle(&mut self) -> Result<()> {
        if self.keyspace.batch.bytes() < BATCH_BYTES_MAX { Ok(()) } else { self.write_out() }
    }

    /// Keys to the sorter, all else into the tables.
    fn write_out(&mut self) -> Result<()> {
        let Self { keyspace, keys, spaces, .. } = self;
        keyspace.store.apply_values(&keyspace.batch, |name, row| {
            let Name::Key { space, position, key } = name.name() else { return Ok(()) };
            let number = spaces.iter().find(|(id, _)| *id == space).map(|(_, number)| *number);
            let number = number.ok_or_else(|| StorageError::Internal("a key of no database".into()))?;
            push_key(keys, number, position, key, row)
        })?;
        keyspace.forget_written();
        Ok(())
    }

    /// Writes the keys. `show` is told how many are written, and says whether to go on; the file is complete on the disk then, under its
    /// name in its directory.
    ///
    /// # Errors
    /// Also a key that was put twice. The file is of no use.
    pub fn finish(mut self, mut show: impl FnMut(u64) -> Result<()>) -> Result<Filled> {
        self.write_out()?;
        let Self { mut keyspace, keys, mut expiries, directory, spaces, .. } = self;
        let mut filled = Filled::default();
        let mut inserting = Inserting::new(&mut keyspace.store);
        keys.drain(|home, record| {
            let (key, row) = read_key(record)?;
            let slot = inserting.insert(home.cast_signed(), key, &row)?;
            if let Some(at_ms) = row.head.expires_at_ms {
                let write = |out: &mut Vec<u8>| out.extend_from_slice(&slot.to_le_bytes());
                expiries.push(at_ms.cast_unsigned(), size_of::<i64>(), write)?;
            }
            filled.keys += 1;
            if filled.keys.is_multiple_of(KEYS_A_LOOK) { show(filled.keys) } else { Ok(()) }
        })?;
        expiries.drain(|at_ms, slot| {
            let slot = slot.try_into().map_err(|_| StorageError::Internal("an expiry without a slot".into()))?;
            inserting.insert_expiry(at_ms.cast_signed(), i64::from_le_bytes(slot))
        })?;
        inserting.end(&spaces.map(|(_, number)| number))?;
        keyspace.forget_written();
        filled.bytes = keyspace.store.end_filling()?;
        drop(keyspace);
        crate::storage::sqlite::sync(&directory)?;
        Ok(filled)
    }
}

/// Brings the ends of all keys forward in a data file that nobody else has open. The file is complete on the disk then.
///
/// # Errors
/// The file is of no use.
pub fn bring_expiries_forward(directory: &Path, by_ms: i64) -> Result<()> {
    let options = Options { durability: Durability::Os, ..Options::new(directory) };
    prepare(&options)?;
    // What its service had not brought to the tables when it ended is brought there now.
    let mut keyspace = Keyspace::open_writer(&options, Box::new(|_| {}))?;
    keyspace.begin_filling()?;
    keyspace.begin_write(0)?;
    keyspace.bring_expiries_forward(by_ms)?;
    keyspace.end_filling()?;
    drop(keyspace);
    crate::storage::sqlite::sync(directory)
}

/// Keys between two looks at whether to go on.
const KEYS_A_LOOK: u64 = 8192;

fn push_key(keys: &mut Sorter, number: u16, position: u64, key: &[u8], row: &KeyRow<'_>) -> Result<()> {
    let (home, row) = (u64::from(number) << crate::storage::rows::POSITION_BITS | position, Row::Key(*row));
    keys.push(home, size_of::<u32>() + key.len() + row.bytes_len(), |out| {
        out.extend_from_slice(&(key.len() as u32).to_le_bytes());
        out.extend_from_slice(key);
        row.write(out);
    })
}

fn read_key(record: &[u8]) -> Result<(&[u8], KeyRow<'_>)> {
    let parts = record.split_first_chunk().and_then(|(length, rest)| {
        let (key, row) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        Some((key, Row::checked(Table::Key, row)?.of_key()))
    });
    parts.ok_or_else(|| StorageError::Io("what was put aside for sorting can't be read again".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Keyspace, Lookup};

    const NOW_MS: i64 = 1_000_000;

    fn options(directory: &Path) -> Options {
        Options::new(directory)
    }

    #[test]
    fn a_file_that_was_filled_is_whole_and_has_every_kind() {
        for bytes_max in [1 << 20, 5000] {
            let directory = tempfile::tempdir().unwrap();
            let mut filling = Filling::begin(directory.path(), 1 << 30, NOW_MS).unwrap();
            filling.keep_in_memory(bytes_max);
            for database in [0, 3] {
                filling.select(database);
                for number in 0..3000u32 {
                    let ends = (number % 7 == 0).then_some(NOW_MS + 1 + i64::from(number));
                    filling.put_string(format!("key {number}").as_bytes(), &number.to_le_bytes(), ends).unwrap();
                }
                filling.put_string(b"ended", b"", Some(NOW_MS)).unwrap();
                filling.put_string(b"large", &[7; 3 << 20], None).unwrap();
                for count in [3, 300, 12_000].into_iter().take(if database == 0 { 2 } else { 3 }) {
                    let keyspace = filling.keyspace();
                    let mut list = keyspace.build_list();
                    let mut sorted = keyspace.build(Kind::SortedSet);
                    let mut hash = keyspace.build(Kind::Hash);
                    for n in 0..count {
                        let text = format!("element {n}");
                        keyspace.add_to_list(&mut list, text.as_bytes()).unwrap();
                        keyspace.add_score_to(&mut sorted, text.as_bytes(), f64::from(n)).unwrap();
                        keyspace.add_to(&mut hash, text.as_bytes(), b"v").unwrap();
                    }
                    keyspace.put_built_list(format!("list {count}").as_bytes(), list, Expiry::Clear).unwrap();
                    keyspace.put_built(format!("sorted {count}").as_bytes(), sorted, Expiry::At(i64::MAX)).unwrap();
                    keyspace.put_built(format!("hash {count}").as_bytes(), hash, Expiry::Clear).unwrap();
                    filling.settle().unwrap();
                }
            }
            let filled = filling.finish(|_| Ok(())).unwrap();
            assert_eq!(filled.keys, 3001 + 6 + 3001 + 9);
            let mut keyspace = Keyspace::open_reader(&options(directory.path())).unwrap();
            keyspace.begin_read(NOW_MS).unwrap();
            let report = keyspace.verify().unwrap();
            assert_eq!(report.problems, [""; 0]);
            assert_eq!(report.databases[3], (3010, 429 + 3));
            keyspace.select(3);
            assert_eq!(keyspace.string(b"key 77").unwrap(), Lookup::Found(77_u32.to_le_bytes().to_vec()));
            let Lookup::Found(list) = keyspace.list(b"list 12000").unwrap() else { panic!("no list") };
            assert_eq!(list.len(), 12_000);
            keyspace.end_read().unwrap();
            // And a service goes on with it.
            assert!(!prepare(&options(directory.path())).unwrap().created);
            let mut writer = Keyspace::open_writer(&options(directory.path()), Box::new(|_| {})).unwrap();
            writer.begin_write(NOW_MS).unwrap();
            writer.select(3);
            assert!(writer.delete(b"hash 12000").unwrap());
            writer.list_push(b"list 300", crate::storage::End::Back, &[b"x"], true).unwrap();
            writer.commit().unwrap();
            writer.begin_read(NOW_MS).unwrap();
            assert_eq!(writer.verify().unwrap().problems, [""; 0]);
        }
    }

    #[test]
    fn ends_are_brought_forward_in_rows_and_index() {
        let directory = tempfile::tempdir().unwrap();
        let mut filling = Filling::begin(directory.path(), 1 << 30, NOW_MS).unwrap();
        for number in 0..1000_i64 {
            let ends = (number % 2 == 0).then_some(NOW_MS + (1 << 50) + number);
            filling.put_string(format!("key {number}").as_bytes(), b"", ends).unwrap();
        }
        filling.finish(|_| Ok(())).unwrap();
        let mut writer = Keyspace::open_writer(&options(directory.path()), Box::new(|_| {})).unwrap();
        writer.begin_write(NOW_MS).unwrap();
        writer.put_string(b"late", b"", Expiry::At(NOW_MS + (1 << 50) + 400)).unwrap();
        writer.commit().unwrap();
        drop(writer);
        bring_expiries_forward(directory.path(), 1 << 50).unwrap();
        let mut keyspace = Keyspace::open_reader(&options(directory.path())).unwrap();
        keyspace.begin_read(NOW_MS + 500).unwrap();
        assert_eq!(keyspace.verify().unwrap().problems, [""; 0]);
        assert_eq!(keyspace.string(b"key 500").unwrap(), Lookup::Absent);
        assert_eq!(keyspace.string(b"late").unwrap(), Lookup::Absent);
        assert_eq!(keyspace.string(b"key 502").unwrap(), Lookup::Found(Vec::new()));
        assert_eq!(keyspace.string(b"key 501").unwrap(), Lookup::Found(Vec::new()));
    }

    #[test]
    fn a_key_that_comes_twice_is_an_error_and_a_directory_with_data_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let mut filling = Filling::begin(directory.path(), 1 << 30, NOW_MS).unwrap();
        for value in [b"1", b"2"] {
            filling.put_string(b"key", value, None).unwrap();
        }
        assert_eq!(filling.finish(|_| Ok(())), Err(StorageError::Corrupt("a key is there twice: key".into())));
        assert!(Filling::begin(directory.path(), 1 << 30, NOW_MS).is_err());
    }

    #[test]
    fn an_element_that_comes_twice_is_seen_in_memory_and_refused_by_the_tables() {
        let value = [b'v'; 300];
        let fields = |count: u32| (0..count).map(|number| format!("field {number}").into_bytes());
        // The first of them have left memory when the last one comes.
        for (count, twice, is_seen) in [(10, 3, true), (1000, 3, true), (60_000, 3, true), (60_000, 20_000, false)] {
            let directory = tempfile::tempdir().unwrap();
            let mut filling = Filling::begin(directory.path(), 1 << 30, NOW_MS).unwrap();
            let keyspace = filling.keyspace();
            let mut hash = keyspace.build(Kind::Hash);
            for field in fields(count) {
                assert!(keyspace.add_to(&mut hash, &field, &value).unwrap());
            }
            let again = format!("field {twice}");
            assert_eq!(keyspace.add_to(&mut hash, again.as_bytes(), b"again"), Ok(!is_seen));
            let put = keyspace.put_built(b"hash", hash, Expiry::Clear);
            match is_seen {
                true => assert_eq!(put, Ok(u64::from(count))),
                false => assert!(matches!(put, Err(StorageError::Corrupt(_))), "{put:?}"),
            }
        }
    }
}
