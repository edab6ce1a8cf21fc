//! The value format of DUMP and RESTORE: Redis' RDB encoding of one value, with a footer.
//!
//! ```text
//! type                   1 byte
//! value                  as its type says
//! version                2 bytes, little endian
//! checksum               8 bytes, little endian: CRC-64 (Jones, reflected) of everything before it
//!
//! 0  string              a string (strings.rs)
//! 2  set                 count, strings
//! 4  hash                count, pairs of strings
//! 9  hash                a string that is a zipmap
//! 11 set                 a string that is an intset
//! 13 hash                a string that is a ziplist
//! 16 hash                a string that is a listpack
//! 20 set                 a string that is a listpack; RDB 11
//! ```
//! Written is what Redis 7.0 writes. Fields that end by themselves (Redis 7.4, Valkey 9) have types of their own, which are refused.

mod dump;
mod intset;
mod listpack;
mod payload;
mod strings;
#[cfg(test)]
mod tests;
mod ziplist;
mod zipmap;

pub use dump::{TableDump, dump_intset, dump_listpack_hash};
pub use payload::{Holds, Payload, RestoreError, sealed};
pub use strings::{dump_string, restore_string};
