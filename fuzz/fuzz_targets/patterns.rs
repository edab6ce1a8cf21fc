//! `cargo +nightly fuzz run patterns`. The body stands beside what it feeds, in `src/kv/scripts/fuzz.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| emptyserver::kv::scripts::fuzz::fuzz_patterns(data));
