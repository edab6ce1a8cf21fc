//! The durable keyspace on SQLite: keys, values, expiry, databases, the `-wal` and its checkpoints.
//! No sockets, no protocol, no command names, no clock: time is an argument.
//!
//! ```text
//! one process, the writer:   Keyspace::open_writer   changes, in groups: begin_write ... commit
//!                            Checkpointer            a second connection that moves the -wal into the file
//!                            Backup                  a copy by the writer's own connection, in small steps
//! every other thread:        Keyspace::open_reader   snapshots: begin_read ... end_read
//! ```
//! The tables are drawn in `schema.sql`; where a key lives in them is said in `slots.rs`.

pub mod copies;
mod error;
pub mod file_system;
pub mod files;
pub mod sqlite;
pub mod upkeep;

pub use error::{Result, StorageError};
pub use sqlite::{
    CHUNK_BYTES, Change, ChangeHook, DATA_FILE, DATABASES, Durability, Entry, Expiry, ExpirySample, INLINE_BYTES_MAX,
    Keyspace, Kind, Lookup, Opened, Options, PAGE_BYTES, SCHEMA_VERSION, inspect, prepare,
};
pub use sqlite::{backup, check, checkpoint, failed_sync, restore};
