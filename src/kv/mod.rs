//! Redis semantics on the durable keyspace: the one layer that knows server, resp and storage.

pub mod application;
pub mod cache;
pub mod call;
pub mod commands;
pub mod errors;
#[cfg(test)]
pub(crate) mod fixture;
pub mod formats;
pub mod front;
pub mod jobs;
pub mod lanes;
pub mod metrics;
pub mod scripts;
pub mod sessions;
pub mod shared;
pub mod sources;
pub mod stream_parts;
pub mod table;
pub mod users;
