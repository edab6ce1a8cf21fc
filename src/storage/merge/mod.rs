//! The merge: rows of a frozen generation into their tables, in the order of their keys, in slices of about a millisecond. Each slice is a
//! transaction of its own; the last one says that the generation is in the tables.
//!
//! ```text
//! slice      BEGIN · rows · COMMIT without a sync: the next group's sync covers it, and until then the journal has the rows
//! last slice BEGIN · rows · M and the tickets · COMMIT; then M is published and the generation's memory used again
//! all        what is left of a generation within somebody else's transaction: a group that goes into the tables directly
//! ```
//! A slice that fails has done nothing and comes again. A writer that dies leaves a generation that is merged in part: its successor merges
//! it again, whole, and does not believe what its rows say of the tables (`Trust`).
//!
//! A row that can't be written, since the table's page is damaged, must not keep all others from their tables: its slice is repeated row
//! by row, and the row is put aside into the table `left_out` with what it was and why, for whoever repairs the file. `check` tells of it, and
//! reading it is an error (sqlite/left_out.rs). With more than some of these the file is beyond that: the merge stands still, the journal
//! keeps what it has, and writes fail once it is full.

mod merger;
mod pace;
#[cfg(test)]
mod tests;

pub use merger::{Merger, Rows, Show, Slice};
pub use pace::{Pace, Room, SLICE};
