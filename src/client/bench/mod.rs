//! `emptyserver bench`: a load generator for any service that speaks the protocol.
//!
//! One thread drives all its connections over epoll; requests are built into one buffer, replies are skipped and not
//! built, latencies go into histograms of fixed size: nothing is allocated for a request.

mod arguments;
mod display;
mod draws;
mod json;
mod keys;
mod load;
mod mix;
mod pipe;
mod random;
mod rounds;
mod run;
mod schedule;
mod table;
mod tally;
mod template;

pub use arguments::BenchArguments;
pub use run::run;
