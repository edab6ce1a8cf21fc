//! The line-protocol client: one connection, a command line on top of it, the health probe, and the load generator. It
//! speaks the protocol and knows nothing of how the service is made.

pub mod bench;
pub mod cli;
mod clock;
pub mod connection;
pub mod health;
pub mod print;
pub mod target;
mod target_arguments;

pub use connection::{ClientError, Connection};
pub use target::{Target, UrlError};
pub use target_arguments::{Surroundings, TargetArguments};
