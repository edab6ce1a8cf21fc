//! The core with real processes over real sockets, seen through its two examples.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic, and prints what it measured or skipped"
)]

mod support;

#[path = "core/accepting.rs"]
mod accepting;
#[path = "core/computing.rs"]
mod computing;
#[path = "core/deaths.rs"]
mod deaths;
#[path = "core/draining.rs"]
mod draining;
#[path = "core/flow.rs"]
mod flow;
#[path = "core/peers.rs"]
mod peers;
