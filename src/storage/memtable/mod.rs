//! The memtable: rows of committed groups that the tables do not have yet, in memory that all processes share. One writer fills it, and
//! everybody reads it without locks. Knows rows and shared words; not what a journal is, and not where rows rest.
//!
//! ```text
//! words     published, merged, ahead, newest · a nonce per place · spaces and seed · pins
//! place     figures · tower (roots of the ordered list) · two bitmaps · directory of keys · arena
//! arena     node (a row's name, the origin of its first version) -> version (seq, bytes) -> older version ...
//! ```
//! A **generation** is what lies in one place; generation n in place n % G. Places are recycled in order. The rules:
//! - What is shared is words: atomic, relaxed, and offsets in place of addresses. One releasing store of a link makes a row visible,
//!   whose bytes were complete before. Until its generation is recycled nothing of it is used again.
//! - Every link carries the number of its generation, so what a place held before is no link: recycling clears figures, roots, bitmaps and the lengths of chains, and no rows.
//! - A reader looks at the nonce of the oldest generation of its window after each lookup, hit or miss, and before it takes the bytes for
//!   a row: while that stands, all that are younger do. So a pin only spares it from beginning again.

mod collect;
mod cursor;
mod directory;
mod figures;
mod filler;
mod find;
mod frozen;
mod list;
mod memory;
#[cfg(all(test, feature = "models"))]
mod models;
mod node;
mod pins;
mod shape;
mod slot;
#[cfg(test)]
mod tests;

pub use collect::{Collected, Portion};
pub use figures::Figures;
pub use filler::{Busy, Filler, Full};
pub use find::{Scratch, Seen};
pub use frozen::{Change, Frozen, Walk};
pub use memory::{Memory, Window};
pub use pins::Pin;
pub use shape::Shape;
pub use slot::Lost;
