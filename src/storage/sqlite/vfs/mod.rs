//! SQLite's file system as this service wants it: the usual one of Unix, in which two things are done otherwise; and its page cache, in which
//! one is (`page_cache`).
//!
//! - The `-wal` is written and recovered in large pieces: `frames`.
//! - Whoever copies the `-wal` into the data file hears of each page (`observing`), and so can have the disk follow at its pace.
//!
//! The home of `unsafe` in this layer, since C calls it.

mod frames;
mod observer;
mod page_cache;
mod shim;

pub(super) use observer::observing;
pub(super) use shim::{keep_side_files, name};
