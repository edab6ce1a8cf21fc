//! HyperLogLog as Redis keeps it in a string, byte for byte: pure, and nothing in it that a string holds makes it panic.
//!
//! ```text
//! magic                  4 bytes: HYLL
//! encoding               1 byte: 0 dense, 1 sparse
//! unused                 3 bytes
//! cardinality            8 bytes, little endian; the highest bit says that it is out of date
//! registers              dense: 16,384 of 6 bits each, the lowest bits of a byte first (dense.rs)
//!                        sparse: runs of equal registers (sparse.rs)
//! ```

mod dense;
mod estimate;
mod hash;
mod registers;
mod sketch;
mod sparse;
#[cfg(test)]
mod tests;

pub use estimate::Histogram;
pub use hash::place_of;
pub use registers::{REGISTERS, Registers};
pub use sketch::{Corrupted, Encoding, SKETCH_BYTES_MAX, Sketch};
