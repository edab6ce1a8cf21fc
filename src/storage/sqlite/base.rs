//! The base: one connection to the data file, a reader's or the service's only writer. What it reads are rows of a
//! snapshot; what it writes are a batch's, and what the upkeep sweeps.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use rusqlite::config::DbConfig;

use super::apply::Merging;
use super::connection::{Durability, Options, Role, connect, set_mapped};
use super::databases::Databases;
use super::ids::Ids;
use super::journal::region_cells;
use super::schema::PAGE_BYTES;
use super::sources::SourceChange;
use super::sweep::Sweeping;
use super::users::UserChange;
use super::vfs;
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::Homes;

pub struct Base {
    /// A backup in the making has it too.
    pub(super) connection: Rc<rusqlite::Connection>,
    pub(super) homes: Homes,
    /// The databases as the present write transaction has made them.
    pub(super) writing: Option<Databases>,
    /// Which number the spaces have in the present snapshot, as far as somebody has asked; None: it has none.
    pub(super) known_spaces: RefCell<Vec<(u64, Option<u16>)>>,
    /// Whether the present transaction sees rows that could not be written, if somebody has asked.
    pub(super) has_left_out: Cell<Option<bool>>,
    pub(super) ids: Ids,
    /// Of the present write transaction, in their order: they are stored by its commit.
    pub(super) sources: Vec<SourceChange>,
    pub(super) users: Vec<UserChange>,
    pub(super) sweeping: Sweeping,
    pub(super) syncing: Syncing,
    /// The journal's cells of each generation; beyond them are those of a larger budget.
    pub(super) journal_cells: u64,
    /// Of them those that stay while the disk is soon short of room.
    pub(super) kept_cells: Option<u64>,
    pub(super) merging: Merging,
    /// Values that are among the orphans and are being built: see `begin_building`.
    pub(super) building: HashSet<i64>,
    /// The file is new, and nobody else has it: see filling.rs.
    pub(super) is_filling: bool,
    is_mapped: bool,
    read_limit: ReadLimit,
}

/// Whether a commit of this connection syncs the `-wal`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Syncing {
    /// A group's does.
    pub(super) is_wanted: bool,
    /// The next one does.
    pub(super) is_set: bool,
}

/// Says whether the present read has lasted long enough; not set: none ever has.
type ReadLimit = Arc<OnceLock<Box<dyn Fn() -> bool + Send + Sync>>>;

/// How many instructions of SQLite's a read may do before it is asked again whether it goes on: well under a millisecond.
const INSTRUCTIONS_BETWEEN_LOOKS: i32 = 1000;

impl Base {
    /// A connection for snapshots; a change through it is an error. The file must have been prepared.
    pub(in crate::storage) fn open_reader(options: &Options) -> Result<Self> {
        Self::open(options, Role::Reader)
    }

    /// The service's only writer.
    pub(in crate::storage) fn open_writer(options: &Options) -> Result<Self> {
        Self::open(options, Role::Writer)
    }

    fn open(options: &Options, role: Role) -> Result<Self> {
        let mut connection = connect(options, role)?;
        let is_syncing = options.durability == Durability::Always && role == Role::Writer;
        let read_limit = ReadLimit::default();
        if role == Role::Reader {
            let limit = Arc::clone(&read_limit);
            let is_over = move || limit.get().is_some_and(|is_over| is_over());
            connection.progress_handler(INSTRUCTIONS_BETWEEN_LOOKS, Some(is_over))?;
        }
        let seed = connection.query_row("SELECT value FROM meta WHERE name = 'hash_seed'", [], |row| row.get(0))?;
        Ok(Self {
            connection: Rc::new(connection),
            homes: Homes::new(seed),
            writing: None,
            known_spaces: RefCell::default(),
            has_left_out: Cell::default(),
            ids: Ids::default(),
            sources: Vec::new(),
            users: Vec::new(),
            sweeping: Sweeping::default(),
            syncing: Syncing { is_wanted: is_syncing, is_set: is_syncing },
            journal_cells: region_cells(options.journal_bytes_max),
            kept_cells: None,
            merging: Merging::default(),
            building: HashSet::new(),
            is_filling: false,
            is_mapped: options.mmap,
            read_limit,
        })
    }

    /// The seed of the hash that gives a key its home: each file has its own.
    pub(in crate::storage) fn seed(&self) -> Result<[u8; 16]> {
        let seed = "SELECT value FROM meta WHERE name = 'hash_seed'";
        Ok(self.connection.query_row(seed, [], |row| row.get(0))?)
    }

    /// The hash that gives a key its home.
    pub(in crate::storage) fn homes(&self) -> Homes {
        self.homes
    }

    #[cfg(test)]
    pub(in crate::storage) fn set_homes(&mut self, homes: Homes) {
        self.homes = homes;
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

    /// Size of the data: the file without its `-wal`.
    pub fn data_bytes(&self) -> Result<u64> {
        let mut statement =
            self.connection.prepare_cached("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")?;
        Ok(statement.query_row([], |row| row.get(0))?)
    }

    /// Of them those in pages that nothing is in.
    pub fn unused_bytes(&self) -> Result<u64> {
        let mut statement = self.connection.prepare_cached("PRAGMA freelist_count")?;
        Ok(statement.query_row([], |row| row.get::<_, u64>(0))? * PAGE_BYTES as u64)
    }

    /// From now on the file gets no longer than this; `None`: as long as it will. What makes it longer is `Full` at once: a commit into
    /// the `-wal` of which the file has no room could not be copied, and the `-wal` never begin anew. Between transactions.
    pub fn limit_data_bytes(&self, bytes: Option<u64>) -> Result<()> {
        const PAGES_MAX: u64 = 0xffff_fffe;
        let pages = bytes.map_or(PAGES_MAX, |bytes| (bytes / PAGE_BYTES as u64).clamp(1, PAGES_MAX));
        Ok(self.connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?)
    }

    #[cfg(test)]
    pub(crate) fn connection(&self) -> &rusqlite::Connection {
        &self.connection
    }
}
