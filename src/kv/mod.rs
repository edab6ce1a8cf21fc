//! Redis semantics on the durable keyspace: the one layer that knows server, resp and storage.

pub mod args;
pub mod bits;
pub mod commands;
pub mod errors;
#[cfg(test)]
pub(crate) mod fixture;
pub mod flags;
pub mod float_text;
pub mod glob;
pub mod key_specs;
pub mod lcs;
pub mod long_double;
pub mod lookup;
pub mod lzf;
pub mod number;
pub mod rdb;
pub mod session;
pub mod set_options;
pub mod syntax;
#[cfg(test)]
mod syntax_tests;
pub mod table;
#[cfg(test)]
mod table_tests;
