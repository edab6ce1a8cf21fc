//! The line-protocol client: one connection, a command line on top of it, and the health probe. It speaks the protocol
//! and knows nothing of how the service is made.

pub mod cli;
pub mod connection;
pub mod health;
pub mod print;
pub mod target;

pub use connection::{ClientError, Connection};
pub use target::{Target, UrlError};
