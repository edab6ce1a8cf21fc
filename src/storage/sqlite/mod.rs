//! The base: the only home of rusqlite. The tables are drawn in `schema.sql`; where a key lives in them is said in `slots.rs`.

pub mod backup;
mod changes;
pub mod check;
pub mod checkpoint;
mod chunks;
pub mod connection;
mod databases;
mod expiry;
pub mod failed_sync;
#[cfg(test)]
pub(super) mod fixture;
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
pub use expiry::ExpirySample;
pub use keyspace::{Entry, Keyspace, Kind, Lookup};
pub use open::{Opened, inspect, prepare};
pub use schema::{CHUNK_BYTES, DATA_FILE, INLINE_BYTES_MAX, PAGE_BYTES, SCHEMA_VERSION};
