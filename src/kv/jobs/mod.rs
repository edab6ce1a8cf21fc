//! What crosses to a lane and back: calls as bytes, the replies of a lane, what the writer tells unasked. Knows no handler and no session.

pub mod job;
mod lane_ids;
pub mod news;

pub use lane_ids::{HEAVY, LANES, READ, WRITE};
