//! `cargo +nightly fuzz run libraries`. The body stands beside what it feeds, in `src/kv/scripts/fuzz.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| emptyserver::kv::scripts::fuzz::fuzz_libraries(data));
