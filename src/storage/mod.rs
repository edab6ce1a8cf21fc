//! The durable keyspace: keys, values, expiry, databases over rows; rows over SQLite, with its `-wal` and checkpoints.
//! No sockets, no protocol, no command names, no clock: time is an argument.
//!
//! ```text
//! one process, the writer:   Keyspace::open_writer   changes, in groups: begin_write ... commit
//!                            Checkpointer            a second connection that moves the -wal into the file
//!                            Backup                  a copy by the writer's own connection, in small steps
//! every other thread:        Keyspace::open_reader   snapshots: begin_read ... end_read
//! ```
//! `rows` knows nothing else, `keyspace` and `memtable` know rows, `sqlite` is where rows rest, `engine` puts them together.

#[allow(dead_code, reason = "the parts of the write path ask for their variants as they come")]
mod broken;
pub mod copies;
#[cfg(test)]
mod elements_model;
mod engine;
mod error;
pub mod file_system;
pub mod files;
pub mod filling;
#[cfg(test)]
mod fixture;
pub mod journal;
pub mod keyspace;
#[cfg(test)]
mod kind_model;
#[cfg(test)]
mod lists_model;
pub mod memtable;
pub mod merge;
#[cfg(test)]
mod model;
#[cfg(test)]
mod old_files;
#[allow(dead_code, reason = "the parts of the write path pass their points as they come")]
pub mod points;
pub mod rows;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod sorted_model;
pub mod sqlite;
#[cfg(test)]
mod streams_model;
pub mod upkeep;

pub use engine::{Backlog, Elements, Keyspace, List, Order, Orders, ParkedJob, Preparer, SortedSet, Stream, Walk};
pub use error::{Result, StorageError};
pub use keyspace::{
    Added, Asked, Bound, Building, CHUNK_BYTES, Change, ChangeHook, Claim, Claimed, Consumer, DATABASES, Encoding,
    EndedKey, Expiry, ExpirySample, Fields, GroupCreated, GroupGot, GroupRead, INLINE_BYTES_MAX, ListBuilding, Lookup,
    Moved, NewId, NoGroup, NotAdded, NotSet, Packed, Pending, Place, Popped, Prepared, Pushed, Removed, SavePoint,
    Scored, SetMoved, Start, StreamAdded, StreamBuilding, StreamCounters, StreamGroup, StreamHead, Thresholds, Trim,
    TrimTo, index_of, range_of, score_of,
};
pub use rows::{Direction, End, Head as Entry, Kind, StreamId};
pub use sqlite::{
    DATA_FILE, Durability, Fate, LibraryRow, Opened, Options, PAGE_BYTES, SCHEMA_VERSION, UserChange, UserRow, backup,
    check, checkpoint, failed_sync, inspect, prepare, restore,
};
