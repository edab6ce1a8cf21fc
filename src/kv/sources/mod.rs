//! What is kept of scripts: their sources by SHA-1, libraries of functions, and the interpreter that has them loaded. One of these to a
//! lane's thread. It knows the rows that they lie in, and nothing of keys, lanes and commands.

mod known;
mod libraries;
mod store;

pub use libraries::{ENGINE, KnownFunction, KnownLibrary, Policy};
pub use store::{Runnable, SourceFigures, Sources};
