//! The core with real processes over real sockets, seen through its two examples.

mod accepting;
mod computing;
mod deaths;
mod draining;
mod flow;
mod peers;
mod waiting;
