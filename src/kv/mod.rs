//! Redis semantics: the one layer that knows server, resp and storage.

pub mod bits;
pub mod float_text;
pub mod glob;
pub mod lcs;
pub mod long_double;
pub mod lzf;
pub mod number;
pub mod rdb;
