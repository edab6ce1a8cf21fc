//! Bytes in, bytes out: patterns, numbers as text, compressed and dumped values. Knows no key and no client.

pub mod bits;
pub mod float_text;
pub mod fuzz;
pub mod geohash;
pub mod glob;
pub mod hyperloglog;
pub mod lcs;
pub mod long_double;
pub mod lzf;
pub mod number;
pub mod rdb;
