//! What is counted, and the texts made of it.

pub mod sampler;
pub mod statistics;
pub mod tally;
