//! `cargo +nightly fuzz run rdb`. The body stands beside the reader, in `src/transfer/fuzz.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| emptyserver::transfer::fuzz::fuzz_rdb_file(data));
