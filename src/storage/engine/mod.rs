//! How the parts are put together: rows as they are committed, in memory and in the tables; a keyspace on them; its groups.
//!
//! ```text
//! group    handlers fill the batch | journal, COMMIT, memory, published          (groups)
//!          or, where it is larger than its room: all is merged, then the batch goes into the tables, in one transaction
//! view     batch > generations of the memory that are not merged > snapshot of the tables                  (committed, scan)
//! merge    the oldest generation into the tables, in slices between groups                                 (generations)
//! start    what the journal has and memory or tables have not                                              (take_over)
//! ```
//! Without memory (`Memory::off`) each group goes into the tables at once.

mod backlog;
mod committed;
mod counts;
#[cfg(test)]
mod damage_tests;
mod deadlines;
mod generations;
mod groups;
mod keyspace;
#[cfg(test)]
mod measured;
mod preparing;
mod scan;
mod take_over;
#[cfg(test)]
pub(in crate::storage) mod tests;
mod tickets;

pub use backlog::Backlog;
pub use keyspace::{Elements, Keyspace, List, SortedSet, Stream, Walk};
pub use preparing::{Order, Orders, Preparer};
pub use tickets::ParkedJob;
