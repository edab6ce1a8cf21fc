//! The journal's groups as bytes: what a commit appends, and what a start replays. Pure; where the bytes lie is told in
//! `sqlite/journal.rs`.

mod encode;
pub mod fuzz;
mod group;

pub use encode::{Encoder, bytes_max, encode};
pub use group::{Change, Group, HEAD_BYTES, Head, head_of};
