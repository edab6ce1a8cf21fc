//! The command table: what a row says of its command. The rows lie beside their handlers in `commands`.

pub mod args;
pub mod flags;
pub mod key_specs;
pub mod look;
pub mod redaction;
pub mod rows;
pub mod syntax;
#[cfg(test)]
mod syntax_tests;
#[cfg(test)]
mod table_tests;

pub use rows::*;
