//! Bad times, made for the real program: syncs and writes that fail, a disk that is full, processes that stand still,
//! files that are not ours, a second service.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and says what it saw")]

#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/files.rs"]
mod files;
#[path = "faults/kernels.rs"]
mod kernels;
#[path = "faults/network.rs"]
mod network;
#[path = "faults/restores.rs"]
mod restores;
#[path = "faults/stopped.rs"]
mod stopped;
mod support;
#[path = "faults/syncs.rs"]
mod syncs;
