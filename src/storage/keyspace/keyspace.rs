//! What a keyspace consists of: what it stands on, the changes of the group at hand, and what the caller named: the
//! database and the time.

use super::changes::ChangeHook;
use super::contents::Thresholds;
use super::databases::SpaceCache;
use super::edges::Edges;
use super::ended::Ended;
use super::values::Layout;
use crate::storage::error::Result;
use crate::storage::rows::{Batch, ElementRow, Head, Homes, Kind, RowKey, Snapshot, View};

/// Everything happens inside a transaction. Reads take `&self`, so a read command that changes something does not compile.
pub struct Keyspace<S> {
    pub(in crate::storage) store: S,
    /// Empty in a read transaction.
    pub(in crate::storage) batch: Batch,
    pub(super) homes: Homes,
    pub(super) layout: Layout,
    pub(super) thresholds: Thresholds,
    /// Where the databases lie in the present view; each is looked for once.
    pub(super) spaces: SpaceCache,
    /// Values whose chunks were written ahead of the batch.
    pub(super) ahead: Vec<i64>,
    pub(super) edges: Edges,
    /// A part of the group is no longer in the batch: with the store's transaction it is lost.
    pub(in crate::storage) is_partly_written: bool,
    pub(super) hook: Option<ChangeHook>,
    pub(in crate::storage) ended: Ended,
    /// True while `renew_snapshot` does nothing, see there.
    pub(in crate::storage) snapshot_is_held: bool,
    /// What takes long is refused, see there.
    pub(super) defers_long: bool,
    pub(super) selected: u8,
    pub(super) now_ms: i64,
    value_bytes_max: u64,
}

/// What a keyspace stands on, besides the rows of a snapshot.
pub trait Store: Snapshot {
    fn is_in_transaction(&self) -> bool;

    /// # Errors
    /// This is no write transaction, or none any more.
    fn check_writing(&self) -> Result<()>;

    /// Keys of a space that lie below the batch, and those of them that end.
    fn counts(&self, space: u64) -> Result<(u64, u64)>;

    /// False only where there is no key of a space below the batch.
    fn may_have_keys(&self, space: u64) -> Result<bool>;

    /// What is known of a key's row below the batch without a look into the tables; `Some(None)`: it was deleted.
    fn unmerged(&self, key: RowKey<'_>) -> Result<Option<Option<Head>>>;

    /// An id that nothing has had, of a value or a space. Nothing takes it back: an id is never given twice.
    fn fresh_id(&mut self) -> Result<i64>;

    /// Writes a chunk of a new value ahead of the batch: so that a huge one need not be in memory twice. Nobody can reach it yet.
    fn write_ahead(&mut self, id: i64, number: u64, bytes: &[u8]) -> Result<()>;

    /// Writes an element of a new collection ahead of the batch.
    fn write_element_ahead(&mut self, name: RowKey<'_>, row: ElementRow<'_>) -> Result<()>;

    /// The same of many, each of them once. Nothing of them is left there.
    fn write_elements_ahead(&mut self, rows: &mut Batch) -> Result<()>;

    /// A value that an earlier transaction has left as an orphan gets its owner.
    fn take_from_orphans(&mut self, id: i64) -> Result<()>;

    /// Whether all that is changed is prepared for a group of the writer's.
    fn is_preparing(&self) -> bool;

    /// `write_elements_ahead` of a row that is there is an error: so nobody has to look before.
    fn refuses_twice(&self) -> bool;
}

/// The answer to a question about a key as something of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup<T> {
    Absent,
    OtherKind(Kind),
    Found(T),
}

impl<T> Lookup<T> {
    /// What is there and of the kind that was asked for.
    pub fn found(self) -> Option<T> {
        match self {
            Self::Found(found) => Some(found),
            Self::Absent | Self::OtherKind(_) => None,
        }
    }

    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Lookup<U> {
        match self {
            Self::Absent => Lookup::Absent,
            Self::OtherKind(kind) => Lookup::OtherKind(kind),
            Self::Found(found) => Lookup::Found(f(found)),
        }
    }
}

/// When some keys of a database end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpirySample {
    pub expires_at_ms: Vec<i64>,
    /// These are all that there are.
    pub is_all: bool,
}

impl<S: Store> Keyspace<S> {
    pub(in crate::storage) fn new(store: S, homes: Homes, value_bytes_max: u64, hook: Option<ChangeHook>) -> Self {
        Self {
            store,
            batch: Batch::default(),
            homes,
            layout: Layout::STANDARD,
            thresholds: Thresholds::default(),
            spaces: SpaceCache::default(),
            ahead: Vec::new(),
            edges: Edges::default(),
            is_partly_written: false,
            hook,
            ended: Ended::default(),
            snapshot_is_held: false,
            defers_long: false,
            selected: 0,
            now_ms: 0,
            value_bytes_max: value_bytes_max.min(Layout::STANDARD.value_bytes_max()),
        }
    }

    /// A transaction begins at this time.
    pub(in crate::storage) fn begin_at(&mut self, now_ms: i64) {
        self.forget_group();
        self.now_ms = now_ms;
    }

    /// What was in the batch is committed, or lost.
    pub(in crate::storage) fn forget_group(&mut self) {
        self.batch.clear();
        self.ahead.clear();
        self.is_partly_written = false;
        self.spaces.clear();
    }

    /// What was done is undone.
    pub(in crate::storage) fn forget_undone(&mut self) {
        self.forget_group();
        self.edges.clear();
    }

    /// After the store's transaction was replaced by another over the same rows.
    pub(in crate::storage) fn forget_reads(&self) {
        self.spaces.clear();
    }

    /// What the batch had is in the store's transaction now.
    pub(in crate::storage) fn forget_written(&mut self) {
        self.batch.clear();
        self.ahead.clear();
        self.is_partly_written = true;
    }

    #[cfg(test)]
    pub(in crate::storage) fn crowd(&mut self, homes: Homes, layout: Layout) {
        (self.homes, self.layout) = (homes, layout);
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

    /// From when on OBJECT ENCODING names a larger encoding; what has changed by then stays so.
    pub fn set_thresholds(&mut self, thresholds: Thresholds) {
        self.thresholds = thresholds;
    }

    #[must_use]
    pub fn thresholds(&self) -> &Thresholds {
        &self.thresholds
    }

    pub fn value_bytes_max(&self) -> u64 {
        self.value_bytes_max
    }

    pub(super) fn view(&self) -> View<'_, S> {
        View { batch: &self.batch, snapshot: &self.store }
    }

    /// The row of a key in a database.
    pub(super) fn name<'k>(&self, database: u8, key: &'k [u8]) -> Result<RowKey<'k>> {
        Ok(RowKey::key(self.space(database)?, self.homes.position(key), key))
    }

    pub(super) fn live_head(&self, name: RowKey<'_>) -> Result<Option<Head>> {
        Ok(self.view().head(name)?.filter(|head| self.is_live(head)))
    }

    pub(super) fn is_live(&self, head: &Head) -> bool {
        head.expires_at_ms.is_none_or(|at| at > self.now_ms)
    }

    /// A number for a new space or the rows of a new value, unique in the file for ever.
    pub(super) fn fresh_id(&mut self) -> Result<i64> {
        self.store.check_writing()?;
        self.store.fresh_id()
    }
}
