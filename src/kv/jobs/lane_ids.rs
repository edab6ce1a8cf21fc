//! The lanes by their numbers.

use crate::server::LaneId;

/// Point reads.
pub const READ: LaneId = LaneId(0);
/// Reads that take long: a point read never waits behind them.
pub const HEAVY: LaneId = LaneId(1);
/// All changes, in the one process that writes.
pub const WRITE: LaneId = LaneId(2);

/// The names of the lanes, in the order of their numbers.
pub const LANES: [&str; 3] = ["read", "heavy", "write"];
