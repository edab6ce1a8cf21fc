//! Bad times for the real program: kills, power cuts, disks that fail, hostile input, and hours of load where a variable asks for them.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and says what it saw")]

mod bad_input;
mod faults;
mod freshness;
mod hostile;
mod power_loss;
#[path = "../support/mod.rs"]
mod support;
mod torture;
mod watch;
mod writer_kills;
