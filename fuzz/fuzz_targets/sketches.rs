//! `cargo +nightly fuzz run sketches`. The body stands beside the parser, in `src/kv/formats/fuzz.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| emptyserver::kv::formats::fuzz::fuzz_sketch(data));
