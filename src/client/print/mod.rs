//! Replies as text, in the styles that the flags name, and as tables for a person. No I/O.

mod csv;
mod json;
mod reply;
mod shape;
mod table;

pub use reply::{Style, print};
pub(crate) use shape::{shape_of, tabulate};
pub(crate) use table::{Align, cell, table};
