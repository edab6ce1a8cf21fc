//! The atomic words that threads and processes share: the standard library's. With the feature `models` loom's, whose tests try every
//! order in which other threads may see them (`cargo test --lib --features models models::`).

#[cfg(feature = "models")]
pub use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
#[cfg(not(feature = "models"))]
pub use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
