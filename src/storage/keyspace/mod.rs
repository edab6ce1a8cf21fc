//! The keyspace: keys and what they hold, expiry, databases, walks, big values, over a view to read and a batch to write. No SQL.

mod changes;
mod contents;
mod databases;
mod element_rows;
mod elements;
mod hashes;
#[expect(clippy::module_inception, reason = "the folder's main type")]
mod keyspace;
mod packed;
mod reads;
mod scan;
mod sets;
mod strings;
mod values;
mod walks;

pub use changes::{Change, ChangeHook, Expiry, SavePoint};
pub use contents::{Added, Building, Removed, Thresholds};
pub use databases::DATABASES;
pub use elements::Elements;
pub use keyspace::{ExpirySample, Keyspace, Lookup, Store};
pub use packed::{Encoding, Packed};
pub use sets::Popped;
pub use values::{CHUNK_BYTES, INLINE_BYTES_MAX, Layout};
pub use walks::{Place, Walk};
