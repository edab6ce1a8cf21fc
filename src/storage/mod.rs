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

pub mod backup;
mod changes;
pub mod check;
pub mod checkpoint;
mod chunks;
mod connection;
mod databases;
mod error;
mod expiry;
pub mod failed_sync;
pub mod file_system;
pub mod files;
#[cfg(test)]
mod fixture;
mod keyspace;
#[cfg(test)]
mod model;
mod open;
pub mod restore;
mod rows;
mod scan;
mod schema;
mod slots;
mod sweep;
mod tickets;
mod transactions;
#[allow(unsafe_code, reason = "SQLite's interface for file systems is C")]
mod vfs;

pub use changes::{Change, ChangeHook, Expiry};
pub use connection::{Durability, Options};
pub use databases::DATABASES;
pub use error::{Result, StorageError};
pub use expiry::ExpirySample;
pub use keyspace::{Entry, Keyspace, Kind, Lookup};
pub use open::{Opened, inspect, prepare};
pub use schema::{CHUNK_BYTES, DATA_FILE, INLINE_BYTES_MAX, PAGE_BYTES, SCHEMA_VERSION};
