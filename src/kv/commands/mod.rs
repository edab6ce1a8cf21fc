//! The command families: rows and code of a family in one file.

pub mod acl;
mod acl_show;
pub mod backup;
pub mod bits;
pub mod blocking_lists;
pub mod client;
mod client_selection;
pub mod client_tracking;
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
pub mod functions;
pub mod geo;
pub mod geo_options;
pub mod geo_search;
pub mod hashes;
pub mod help;
pub mod hyperloglog;
#[cfg(test)]
mod hyperloglog_tests;
pub mod info;
pub mod info_sections;
pub mod keys;
#[cfg(test)]
mod keys_tests;
pub mod latency;
mod latency_report;
pub mod list_moves;
pub mod list_positions;
pub mod lists;
mod lolwut;
pub mod lookup;
pub mod memory;
pub mod object;
pub mod permissions;
pub mod persistence;
pub mod portion;
pub mod pubsub;
mod pubsub_introspection;
pub mod random;
pub mod ranked;
pub mod ranking;
pub mod scan;
#[cfg(test)]
mod scan_tests;
pub mod scripting;
pub mod server;
pub mod set_algebra;
pub mod set_join;
pub mod set_options;
pub mod sets;
#[cfg(test)]
mod sets_tests;
pub mod slowlog;
pub mod sort;
pub mod sort_options;
pub mod sort_patterns;
pub mod sort_source;
#[cfg(test)]
mod sort_tests;
pub mod sorted_set_algebra;
pub mod sorted_set_bounds;
pub mod sorted_set_join;
pub mod sorted_set_pops;
pub mod sorted_set_ranges;
pub mod sorted_sets;
pub mod stream_dump;
pub mod stream_groups;
pub mod stream_ids;
pub mod stream_info;
pub mod stream_reading;
pub mod stream_replies;
pub mod stream_trims;
pub mod streams;
pub mod strings;
pub mod table;
#[cfg(test)]
mod table_tests;
#[cfg(test)]
pub mod test_rows;
pub mod transactions;

pub use crate::kv::table::args;
pub use families::{FAMILIES, PARTS};
