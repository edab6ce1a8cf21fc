//! `cargo +nightly fuzz run journal`. The body stands beside the parser, in `src/storage/journal/fuzz.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| emptyserver::storage::journal::fuzz::fuzz_journal(data));
