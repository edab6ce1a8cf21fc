//! What a worker's loop remembers of keys, so that most reads need no hop and no database; never stale, and bounded in bytes.
//!
//! ```text
//! record   one key's facts as bytes, with the version that they were seen at
//! index    where a hash's record lies
//! store    records in a ring, under the index; knows nothing of versions
//! unmerged what the memtable has of a key
//! front    the one place that decides whether a record may be used: versions, epoch, time
//! ```

mod front;
mod index;
mod record;
mod store;
mod unmerged;

pub use front::{Cache, Found, asked};
pub use record::{Asked, Learned, Learning, Record, Seen};
