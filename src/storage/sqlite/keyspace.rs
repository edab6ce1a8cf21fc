//! The keyspace of one connection, and what can be read of it. Reads take `&self`, so a read command that changes
//! something does not compile; changes are in `changes.rs`.

use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use rusqlite::config::DbConfig;

use super::changes::ChangeHook;
use super::chunks::Layout;
use super::connection::{Options, Role, connect, set_mapped};
use super::databases::SpaceCache;
use super::rows::{Place, Row};
use super::slots::SlotHash;
use super::sweep::Sweeping;
use super::transactions::Transaction;
use super::vfs;
use crate::storage::error::{Result, StorageError};

/// One connection to the data file: a reader, or the service's only writer. Everything happens inside a transaction,
/// at the time and in the database that the caller named.
pub struct Keyspace {
    /// A backup in the making has it too.
    pub(super) connection: Rc<rusqlite::Connection>,
    pub(super) hash: SlotHash,
    pub(super) layout: Layout,
    pub(super) transaction: Transaction,
    /// Where the databases lie in the present snapshot; a reader asks once each.
    pub(super) spaces: SpaceCache,
    /// True while `renew_snapshot` does nothing, see there.
    pub(super) snapshot_is_held: bool,
    pub(super) hook: Option<ChangeHook>,
    pub(super) sweeping: Sweeping,
    /// Whether the last string that was put had one to overwrite: a guess for the next, which only time depends on.
    pub(super) overwrites: bool,
    pub(super) selected: u8,
    pub(super) now_ms: i64,
    is_mapped: bool,
    value_bytes_max: u64,
    answer_bytes_max: usize,
    read_limit: ReadLimit,
}

/// Says whether the present read has lasted long enough; not set: none ever has.
type ReadLimit = Arc<OnceLock<Box<dyn Fn() -> bool + Send + Sync>>>;

/// How many instructions of SQLite's a read may do before it is asked again whether it goes on: well under a millisecond.
const INSTRUCTIONS_BETWEEN_LOOKS: i32 = 1000;

/// What a key holds. The numbers are part of the file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    String = 1,
    List = 2,
    Set = 3,
    SortedSet = 4,
    Hash = 5,
}

impl Kind {
    pub(super) fn from_number(number: i64) -> Result<Self> {
        Ok(match number {
            1 => Self::String,
            2 => Self::List,
            3 => Self::Set,
            4 => Self::SortedSet,
            5 => Self::Hash,
            other => return Err(StorageError::Corrupt(format!("a key of unknown kind {other}"))),
        })
    }
}

/// A live key without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    pub expires_at_ms: Option<i64>,
    /// Bytes of a string, members of anything else.
    pub length: u64,
    /// Names the rows of the value, when it does not lie in the key's own row.
    pub id: Option<i64>,
}

/// The answer to a question about a key as a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup<T> {
    Absent,
    OtherKind(Kind),
    Found(T),
}

impl Keyspace {
    /// A connection for snapshots; a change through it is an error. The file must have been prepared.
    pub fn open_reader(options: &Options) -> Result<Self> {
        Self::open(options, Role::Reader, None)
    }

    /// The service's only writer. `hook` is called before every change.
    pub fn open_writer(options: &Options, hook: ChangeHook) -> Result<Self> {
        Self::open(options, Role::Writer, Some(hook))
    }

    fn open(options: &Options, role: Role, hook: Option<ChangeHook>) -> Result<Self> {
        let mut connection = connect(options, role)?;
        let read_limit = ReadLimit::default();
        if role == Role::Reader {
            let limit = Arc::clone(&read_limit);
            let is_over = move || limit.get().is_some_and(|is_over| is_over());
            connection.progress_handler(INSTRUCTIONS_BETWEEN_LOOKS, Some(is_over))?;
        }
        let seed = connection.query_row("SELECT value FROM meta WHERE name = 'hash_seed'", [], |row| row.get(0))?;
        Ok(Self {
            connection: Rc::new(connection),
            hash: SlotHash::new(seed),
            layout: Layout::STANDARD,
            transaction: Transaction::None,
            spaces: SpaceCache::default(),
            snapshot_is_held: false,
            hook,
            sweeping: Sweeping::default(),
            overwrites: false,
            selected: 0,
            now_ms: 0,
            is_mapped: options.mmap,
            value_bytes_max: options.value_bytes_max.min(Layout::STANDARD.value_bytes_max()),
            answer_bytes_max: usize::MAX,
            read_limit,
        })
    }

    /// From now on a read during which `is_over` is true fails with `TimeLimit`: a reader's statements while they run, and whoever reads
    /// much where it asks `check_read_limit`. A connection keeps the first such function.
    pub fn limit_reads(&self, is_over: impl Fn() -> bool + Send + Sync + 'static) {
        self.read_limit.get_or_init(|| Box::new(is_over));
    }

    /// For work that takes long between two looks into the file.
    ///
    /// # Errors
    /// `TimeLimit`
    pub fn check_read_limit(&self) -> Result<()> {
        let is_over = self.read_limit.get().is_some_and(|is_over| is_over());
        if is_over { Err(StorageError::TimeLimit) } else { Ok(()) }
    }

    /// Whether the file is read through a map, which is faster as long as memory holds the file: beyond that each fault reads the
    /// pages around the one that is needed as well, and pushes out others that are. Between transactions.
    pub fn set_mapped(&mut self, is_mapped: bool) -> Result<()> {
        if is_mapped != self.is_mapped {
            set_mapped(&self.connection, is_mapped)?;
            self.is_mapped = is_mapped;
        }
        Ok(())
    }

    /// When this connection is the last to close, `-wal` (empty) and `-shm` stay. Their room is what a start on a full disk needs.
    pub fn keep_side_files(&self) -> Result<()> {
        vfs::keep_side_files(&self.connection)
    }

    /// Nothing is copied or deleted when this connection closes: what has the names of its files may be somebody else's.
    pub fn leave_files(&self) -> Result<()> {
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn is_mapped(&self) -> bool {
        self.connection.pragma_query_value(None, "mmap_size", |row| row.get::<_, i64>(0)).is_ok_and(|bytes| bytes > 0)
    }

    /// The database that all calls with a key are about, until the next `select`; it survives transactions.
    pub fn select(&mut self, database: u8) {
        assert!(usize::from(database) < super::DATABASES, "the caller checks the number of a database");
        self.selected = database;
    }

    pub fn database(&self) -> u8 {
        self.selected
    }

    /// The time that the present transaction was begun with.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Counts the rows that this connection has changed: the same number twice, and nothing has changed in between.
    pub fn changed_rows(&self) -> u64 {
        self.connection.total_changes()
    }

    pub fn value_bytes_max(&self) -> u64 {
        self.value_bytes_max
    }

    /// What the answer to the call at hand may have: for those who make large ones. The keyspace only carries it, as it does the time.
    pub fn answer_bytes_max(&self) -> usize {
        self.answer_bytes_max
    }

    /// Until the next such call; without one there is no limit.
    pub fn set_answer_bytes_max(&mut self, bytes_max: usize) {
        self.answer_bytes_max = bytes_max;
    }

    pub fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        Ok(self.live_row(key)?.map(|row| row.entry()))
    }

    /// Shows the key, with its string where that lies in the key's own row.
    pub fn with_entry<R>(&self, key: &[u8], f: impl FnOnce(Option<&Entry>, Option<&[u8]>) -> R) -> Result<R> {
        let mut f = Some(f);
        let mut show = |entry: Option<&Entry>, value: Option<&[u8]>| {
            let f = f.take().expect("shown once");
            f(entry, value)
        };
        let shown = self.with_row(self.space(self.selected)?, key, |row, value| match self.is_live(&row) {
            true => show(Some(&row.entry()), value.filter(|_| row.id.is_none() && row.kind == Kind::String)),
            false => show(None, None),
        })?;
        Ok(shown.unwrap_or_else(|| show(None, None)))
    }

    /// The whole string.
    pub fn string(&self, key: &[u8]) -> Result<Lookup<Vec<u8>>> {
        self.with_string(key, <[u8]>::to_vec)
    }

    /// Shows the whole string to `f`: in place, when it is not a big one.
    pub fn with_string<R>(&self, key: &[u8], f: impl FnOnce(&[u8]) -> R) -> Result<Lookup<R>> {
        let space = self.space(self.selected)?;
        let mut f = Some(f);
        let found = self.with_row(space, key, |row, value| match (self.is_live(&row), row.kind, value) {
            (true, Kind::String, Some(value)) => (row, f.take().map(|f| f(value))),
            _ => (row, None),
        })?;
        let Some((row, shown)) = found else { return Ok(Lookup::Absent) };
        match (self.is_live(&row), row.kind, shown, f) {
            (false, ..) => Ok(Lookup::Absent),
            (true, Kind::String, Some(shown), _) => Ok(Lookup::Found(shown)),
            (true, Kind::String, None, Some(f)) => Ok(Lookup::Found(f(&self.read_chunks(&row, 0, row.length)?))),
            (true, kind, ..) => Ok(Lookup::OtherKind(kind)),
        }
    }

    /// The string's length, without reading it.
    pub fn string_length(&self, key: &[u8]) -> Result<Lookup<u64>> {
        Ok(match self.live_row(key)? {
            None => Lookup::Absent,
            Some(row) if row.kind == Kind::String => Lookup::Found(row.length),
            Some(row) => Lookup::OtherKind(row.kind),
        })
    }

    /// The bytes `start..end` of the string, cut to its length; of a big one only the chunks that hold them are read.
    pub fn string_range(&self, key: &[u8], start: u64, end: u64) -> Result<Lookup<Vec<u8>>> {
        let cut = |length: u64| (start.min(end).min(length), end.min(length));
        let row = match self.live_row(key)? {
            None => return Ok(Lookup::Absent),
            Some(row) if row.kind != Kind::String => return Ok(Lookup::OtherKind(row.kind)),
            Some(row) => row,
        };
        if row.id.is_some() {
            let (start, end) = cut(row.length);
            return Ok(Lookup::Found(self.read_chunks(&row, start, end)?));
        }
        self.with_string(key, |value| {
            let (start, end) = cut(value.len() as u64);
            value[start as usize..end as usize].to_vec()
        })
    }

    /// Keys of the selected database. One whose time has passed counts until it is swept.
    pub fn key_count(&self) -> Result<u64> {
        Ok(self.database_row(self.selected)?.key_count)
    }

    /// Those of `key_count` that will expire.
    pub fn expires_count(&self) -> Result<u64> {
        Ok(self.database_row(self.selected)?.expires_count)
    }

    /// Size of the data: the file without its `-wal`.
    pub fn data_bytes(&self) -> Result<u64> {
        let mut statement =
            self.connection.prepare_cached("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")?;
        Ok(statement.query_row([], |row| row.get(0))?)
    }

    pub(super) fn live_row(&self, key: &[u8]) -> Result<Option<Row>> {
        match self.locate(self.space(self.selected)?, key)? {
            Place::Taken(row) if self.is_live(&row) => Ok(Some(row)),
            _ => Ok(None),
        }
    }

    pub(super) fn is_live(&self, row: &Row) -> bool {
        row.expires_at_ms.is_none_or(|at| at > self.now_ms)
    }
}
