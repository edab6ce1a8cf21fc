//! Moving in and out: data of a Redis or Valkey from files and from servers, and files that they load. Knows the formats, the keyspace
//! and the client; not the service.
//!
//! ```text
//! sources        rdb_file over bytes         an RDB file, key by key, element by element
//!                aof                         the files of an append-only directory: an RDB file, then commands
//!                walk                        a running server, by SCAN and DUMP
//!                replica                     a running server that takes this for a replica: an RDB file, then commands as they come
//! destinations   survey                      nothing: what is there is counted
//!                tables                      a data file that is filled from nothing
//!                service                     a running service, by RESTORE and other commands
//! back           export                      an RDB file from a data file
//! report         what came over, and what did not
//! ```

pub mod aof;
mod bytes;
mod command_log;
mod export;
mod fault;
pub mod fuzz;
mod postponing;
mod rdb_file;
mod replica;
mod report;
mod sender;
mod service;
mod spool;
mod stream_commands;
mod survey;
mod tables;
#[cfg(test)]
mod tests;
mod walk;

pub use bytes::Bytes;
pub use export::{Copying, export};
pub use fault::{Fault, Result};
pub use postponing::{POSTPONED_MS, Recalling};
pub use rdb_file::{FileKey, RdbFile, Visitor};
pub use replica::{Change, Changes, Replica, offset_of};
pub use report::{Report, Unmoved};
pub use service::{Ended, Service, Watcher};
pub use survey::{Survey, Watch};
pub use tables::Tables;
pub use walk::{keys_of, walk};
