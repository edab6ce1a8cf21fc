//! Bad times for the real program: kills, power cuts, disks that fail, hostile input, and hours of load where a variable asks for them.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and says what it saw")]

mod bad_input;
mod channels;
mod faults;
mod freshness;
mod hostile;
mod kills;
mod long_calls;
mod power_loss;
mod stream_readers;
#[path = "../support/mod.rs"]
mod support;
mod torture;
mod waiters;
mod watch;
mod writer_kills;
