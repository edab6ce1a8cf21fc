//! What crosses to a lane and back: calls as bytes, the replies of a lane. Knows no handler and no session.

pub mod job;
mod lane_ids;

pub use lane_ids::{HEAVY, LANES, READ, WRITE};
