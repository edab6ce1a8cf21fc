//! The value format of DUMP and RESTORE: Redis' RDB encoding of one value, with a footer.
//!
//! ```text
//! type                   1 byte
//! value                  as its type says
//! version                2 bytes, little endian
//! checksum               8 bytes, little endian: CRC-64 (Jones, reflected) of everything before it
//!
//! 0  string              a string (strings.rs)
//! 1  list                count, strings
//! 2  set                 count, strings
//! 3  sorted set          count, pairs of a string and a score as text: a byte for its length and its digits, or ff -inf, fe inf
//! 4  hash                count, pairs of strings
//! 5  sorted set          count, pairs of a string and a score: 8 bytes, little endian
//! 9  hash                a string that is a zipmap
//! 10 list                a string that is a ziplist
//! 11 set                 a string that is an intset
//! 12 sorted set          a string that is a ziplist: members and scores in their order
//! 13 hash                a string that is a ziplist
//! 14 list                count, strings that are ziplists
//! 15 stream              nodes, counters, groups (streams.rs)
//! 16 hash                a string that is a listpack
//! 17 sorted set          a string that is a listpack, as 12
//! 18 list                count, and for each node 2 and a string that is a listpack, or 1 and a string that is an item
//! 19 stream              as 15, with more counters
//! 20 set                 a string that is a listpack; RDB 11
//! 21 stream              as 19, with one more time of a consumer; RDB 11
//! ```
//! Written is what Redis 7.0 writes. Fields that end by themselves (Redis 7.4, Valkey 9) have types of their own (ending_fields.rs), and
//! modules as well: both are read in files, and refused in payloads.

mod checksum;
mod dump;
mod ending_fields;
mod functions;
mod intset;
mod listpack;
mod lists;
mod modules;
mod payload;
mod scores;
mod streams;
mod strings;
#[cfg(test)]
mod tests;
mod values;
mod ziplist;
mod zipmap;

pub use checksum::crc64;
pub use dump::{TableDump, dump_intset, dump_listpack_hash, dump_listpack_sorted_set};
pub use functions::{BadFunctions, dump_functions, restore_functions};
pub use lists::ListDump;
pub use modules::read_over_module_data;
pub use payload::{Holds, Payload, RestoreError, TYPE_BYTES, plain_type, sealed, sealed_value, without_footer};
pub use streams::{StreamDump, StreamPart};
pub use strings::{dump_string, put_length, put_string, read_length, read_string, restore_string};
pub use values::{Element, Source, ValueKind, ValueType};
