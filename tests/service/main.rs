//! The real program over real sockets, as its operator and its clients see it; and the core alone, through its examples.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and says what it saw")]

mod admin;
mod backup;
mod bench_command;
mod channels;
mod client;
mod client_memory;
mod clients;
mod core;
mod hashes;
mod life;
mod listening;
mod logging;
mod long_calls;
mod pipelines;
mod scripts;
mod server_family;
mod sorted_sets;
#[path = "../support/mod.rs"]
mod support;
mod threads;
mod tls;
mod tracking;
mod users;
mod waiting;
