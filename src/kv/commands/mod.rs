//! The command families: rows and code of a family in one file.

pub mod backup;
pub mod bits;
pub mod client;
mod client_selection;
pub mod cluster;
pub mod command;
mod command_docs;
#[cfg(test)]
mod command_tests;
pub mod config;
pub mod connection;
pub mod counters;
pub mod databases;
pub mod debug;
pub mod dump;
#[cfg(test)]
mod dump_tests;
pub mod elements;
#[cfg(test)]
mod events_tests;
pub mod expire;
#[cfg(test)]
mod expire_tests;
mod families;
pub mod hashes;
pub mod help;
pub mod info;
pub mod info_sections;
pub mod keys;
#[cfg(test)]
mod keys_tests;
pub mod latency;
mod latency_report;
mod lolwut;
pub mod lookup;
pub mod memory;
pub mod object;
pub mod persistence;
pub mod random;
pub mod scan;
#[cfg(test)]
mod scan_tests;
pub mod server;
pub mod set_algebra;
pub mod set_join;
pub mod set_options;
pub mod sets;
#[cfg(test)]
mod sets_tests;
pub mod slowlog;
pub mod strings;
pub mod table;
#[cfg(test)]
mod table_tests;
#[cfg(test)]
pub mod test_rows;
pub mod transactions;

pub use crate::kv::table::args;
pub use families::{FAMILIES, PARTS};
