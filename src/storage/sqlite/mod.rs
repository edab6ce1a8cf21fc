//! The base: the only home of rusqlite. The tables are drawn in `schema.sql`; where a key lives in them is said in `slots.rs`.

mod apply;
pub mod backup;
mod base;
pub mod check;
mod check_elements;
mod check_lists;
mod check_sorted;
mod check_streams;
pub mod checkpoint;
mod chunks;
pub mod connection;
mod databases;
mod element_runs;
mod elements;
mod expiry;
pub mod failed_sync;
mod filling;
mod ids;
mod journal;
mod key_statements;
mod left_out;
mod open;
#[allow(unsafe_code, reason = "SQLite's interface for page caches is C")]
mod page_cache;
pub mod restore;
mod result_codes;
mod schema;
mod slot_rows;
mod slots;
mod snapshot;
mod sources;
mod store;
mod sweep;
mod tickets;
mod transactions;
mod unmerged;
mod users;
#[allow(unsafe_code, reason = "SQLite's interface for file systems is C")]
mod vfs;

pub(super) use apply::Trust;
pub use base::Base;
pub use connection::{Durability, Options};
pub(super) use filling::{Inserting, sync};
pub use journal::{GENERATIONS, Merged, Place};
pub use open::{Opened, inspect, prepare};
pub use schema::{DATA_FILE, PAGE_BYTES, SCHEMA_VERSION};
pub use sources::LibraryRow;
pub use sweep::Kept;
pub use tickets::Fate;
pub use users::{UserChange, UserRow};
