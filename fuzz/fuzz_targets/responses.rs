//! `cargo +nightly fuzz run responses`. The body stands beside the parser, in `src/resp/fuzz.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| emptyserver::resp::fuzz::fuzz_responses(data));
