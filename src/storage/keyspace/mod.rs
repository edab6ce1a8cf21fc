//! The keyspace: keys and what they hold, expiry, databases, walks, big values, over a view to read and a batch to write. No SQL.

mod changes;
mod databases;
#[expect(clippy::module_inception, reason = "the folder's main type")]
mod keyspace;
mod reads;
mod scan;
mod strings;
mod values;

pub use changes::{Change, ChangeHook, Expiry, SavePoint};
pub use databases::DATABASES;
pub use keyspace::{ExpirySample, Keyspace, Lookup, Store};
pub use values::{CHUNK_BYTES, INLINE_BYTES_MAX, Layout};
