//! The base: the only home of rusqlite. The tables are drawn in `schema.sql`; where a key lives in them is said in `slots.rs`.

mod apply;
pub mod backup;
mod base;
pub mod check;
mod check_elements;
pub mod checkpoint;
mod chunks;
pub mod connection;
mod databases;
mod elements;
mod expiry;
pub mod failed_sync;
mod ids;
mod journal;
mod key_statements;
mod left_out;
mod open;
pub mod restore;
mod result_codes;
mod schema;
mod slot_rows;
mod slots;
mod snapshot;
mod store;
mod sweep;
mod tickets;
mod transactions;
mod unmerged;
#[allow(unsafe_code, reason = "SQLite's interface for file systems is C")]
mod vfs;

pub(super) use apply::Trust;
pub use base::Base;
pub use connection::{Durability, Options};
pub use journal::{GENERATIONS, Merged, Place};
pub use open::{Opened, inspect, prepare};
pub use schema::{DATA_FILE, PAGE_BYTES, SCHEMA_VERSION};
pub use sweep::Kept;
