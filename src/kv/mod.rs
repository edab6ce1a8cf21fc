//! Redis semantics on the durable keyspace: the one layer that knows server, resp and storage.

pub mod args;
pub mod commands;
pub mod errors;
pub mod flags;
pub mod key_specs;
pub mod session;
pub mod table;
