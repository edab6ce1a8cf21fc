//! Named points in the life of those who share the data: where the simulator lets others take a turn or lets one die, and where the
//! process tests kill the writer. Elsewhere they cost nothing, or where they come once a group one load.
//!
//! ```text
//! pass(Point::X)      what stands before it has been done, what stands behind it has not
//! ```
//! In the tests of this crate a thread hears of every point that it passes (`listen`); an ordinary build tells only of those that come
//! at most a few times a group (`Point::ALL`), and only to whoever has asked (`tell`).

#[cfg(not(test))]
use std::sync::OnceLock;
use std::time::Duration;

use crate::sys::clock;

/// Where somebody is. Named by what has just been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Point {
    // The writer's group.
    /// The group's bytes stand in the journal, in a transaction that is not committed.
    JournalAppended,
    /// COMMIT of a group has returned; memory does not have it yet.
    GroupCommitted,
    /// Half of a group's rows are in memory.
    HalfInserted,
    /// All of a group's rows are in memory, and nobody may take one.
    RowsInserted,
    /// What was written ahead is told; S is not.
    AheadPublished,
    /// S has moved; versions are odd.
    GroupPublished,
    /// All was merged within the group's own transaction, which is not committed.
    DirectApplied,
    /// That transaction is committed; no word has moved.
    DirectCommitted,

    // The merge.
    /// A slice's rows are in the tables, in a transaction that is not committed.
    SliceApplied,
    SliceCommitted,
    /// The last slice, with M: no word has moved.
    MergeCommitted,
    /// The word M has moved.
    MergedPublished,
    /// A bite was swept, in a transaction that is not committed.
    BiteSwept,
    /// Rows of a value that is being built are in the tables, in a transaction that is committed.
    OrderServed,

    // A generation's change.
    /// Pins were looked at.
    PinsSeen,
    /// The old generation's nonce is gone, its rows are not.
    NonceCleared,
    /// Its rows are gone.
    GenerationCleared,
    /// It has its new nonce; it is not the newest yet.
    NonceSet,
    /// It is the newest.
    GenerationBegun,

    // A new writer.
    /// A group of the journal above S is in memory.
    GroupReplayed,
    /// S stands at the journal's end; versions are as the predecessor left them.
    TakenOver,

    // Within one row, told in tests alone.
    /// The arena has given room; the bytes are not written.
    RowAllocated,
    /// The bytes are complete; nothing leads to them.
    RowWritten,
    /// Somebody who walks finds the row.
    RowLinked,
    /// So does who walks along the chain of a key's space.
    RowChained,
    /// A database's space in memory has moved.
    SpaceMoved,

    // Whoever reads, told in tests alone.
    /// The base's snapshot is open, M and `ahead` are read in it.
    SnapshotOpened,
    /// The pin is set, the nonce not yet looked at.
    Pinned,
    /// The nonce has been looked at.
    PinHolds,
    /// S has been read.
    SequenceRead,
    /// The newest generation has been read.
    NewestRead,
    /// D has been read: the view stands.
    ViewOpened,
    /// The place of a row is known; its bytes are not copied.
    RowSeen,
    /// Its bytes are copied; the nonce has not been looked at again.
    RowCopied,
    /// Memory has answered; the base is asked next.
    MemoryAsked,
    /// A loop has read a key's version.
    VersionRead,
    /// Somebody waits for others.
    Rested,
    /// The -wal was synced: told from within SQLite, where nobody dies.
    WalSynced,
}

impl Point {
    /// Those where a process can be told to die, with the words for it.
    pub const ALL: [(&'static str, Point); 21] = [
        ("journal-appended", Point::JournalAppended),
        ("group-committed", Point::GroupCommitted),
        ("half-inserted", Point::HalfInserted),
        ("rows-inserted", Point::RowsInserted),
        ("ahead-published", Point::AheadPublished),
        ("group-published", Point::GroupPublished),
        ("direct-applied", Point::DirectApplied),
        ("direct-committed", Point::DirectCommitted),
        ("slice-applied", Point::SliceApplied),
        ("slice-committed", Point::SliceCommitted),
        ("merge-committed", Point::MergeCommitted),
        ("merged-published", Point::MergedPublished),
        ("bite-swept", Point::BiteSwept),
        ("order-served", Point::OrderServed),
        ("pins-seen", Point::PinsSeen),
        ("nonce-cleared", Point::NonceCleared),
        ("generation-cleared", Point::GenerationCleared),
        ("nonce-set", Point::NonceSet),
        ("generation-begun", Point::GenerationBegun),
        ("group-replayed", Point::GroupReplayed),
        ("taken-over", Point::TakenOver),
    ];
}

#[cfg(not(test))]
type Told = Box<dyn Fn(Point) + Send + Sync>;

#[cfg(not(test))]
static TOLD: OnceLock<Told> = OnceLock::new();

/// From now on this process tells of the points in `Point::ALL` that it passes. The first who asks is told.
#[cfg(not(test))]
pub fn tell(told: impl Fn(Point) + Send + Sync + 'static) {
    TOLD.get_or_init(|| Box::new(told));
}

/// Nobody dies within a test's process.
#[cfg(test)]
pub fn tell(_: impl Fn(Point) + Send + Sync + 'static) {}

/// Waits so long for others. In the simulator they run meanwhile, and no time passes: whoever counts it counts these waits.
#[cfg(not(test))]
pub(crate) fn rest(time: Duration) {
    clock::pause(time);
}

/// Waits so long for others, or lets them run.
#[cfg(test)]
pub(crate) fn rest(time: Duration) {
    match HEARS.with(|here| here.borrow().is_some()) {
        true => pass(Point::Rested),
        false => clock::pause(time),
    }
}

/// Somebody is here.
#[cfg(not(test))]
#[inline]
pub(crate) fn pass(point: Point) {
    if point <= Point::TakenOver
        && let Some(told) = TOLD.get()
    {
        told(point);
    }
}

#[cfg(test)]
type Hears = std::rc::Rc<dyn Fn(Point)>;

#[cfg(test)]
thread_local! {
    static HEARS: std::cell::RefCell<Option<Hears>> = const { std::cell::RefCell::new(None) };
}

/// From now on `hears` is called at every point that this thread passes; it may let others run, or unwind.
#[cfg(test)]
pub(crate) fn listen(hears: Option<Hears>) {
    HEARS.with(|here| *here.borrow_mut() = hears);
}

/// Somebody is here.
#[cfg(test)]
pub(crate) fn pass(point: Point) {
    let hears = HEARS.with(|here| here.borrow().clone());
    if let Some(hears) = hears {
        hears(point);
    }
}
