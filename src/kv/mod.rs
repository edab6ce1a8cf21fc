//! Redis semantics on the durable keyspace: the one layer that knows server, resp and storage.

pub mod admission;
pub mod application;
pub mod args;
pub mod average_ttl;
mod backup_carrier;
pub mod backup_files;
pub mod backup_taker;
pub mod backups;
pub mod bits;
pub mod broken;
pub mod cache;
pub mod calls;
pub mod checkpoints;
pub mod clients;
pub mod commands;
pub mod desk;
pub mod errors;
pub mod faults;
pub mod file_watch;
#[cfg(test)]
pub(crate) mod fixture;
pub mod flags;
pub mod float_text;
pub mod gather;
pub mod glob;
pub mod housekeeping;
pub mod info;
pub mod job;
pub mod key_specs;
pub mod lane_executor;
pub mod latency;
pub mod lcs;
pub mod left_out;
pub mod login;
pub mod long_double;
pub mod look;
pub mod lookup;
pub mod lzf;
pub mod monitor;
pub mod number;
pub mod parameters;
pub mod questions;
pub mod rdb;
pub mod reader;
pub mod redaction;
pub mod runtime;
pub mod sampler;
pub mod service;
pub mod session;
#[cfg(test)]
mod session_tests;
pub mod set_options;
pub mod settings;
#[cfg(test)]
mod sharing_tests;
pub mod slowlog;
#[cfg(test)]
pub(crate) mod stage;
pub mod statistics;
pub mod syntax;
#[cfg(test)]
mod syntax_tests;
pub mod table;
#[cfg(test)]
mod table_tests;
pub mod tally;
pub mod time;
pub mod transaction;
pub mod unseen;
pub mod version;
pub mod versions;
pub mod writer;
