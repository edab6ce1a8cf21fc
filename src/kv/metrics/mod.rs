//! What is counted, and the texts made of it.

pub mod figures;
#[cfg(test)]
pub(crate) mod golden;
pub mod sampler;
pub mod statistics;
pub mod tally;
