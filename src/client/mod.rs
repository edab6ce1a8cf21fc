//! The line-protocol client: a small synchronous library ([`Connection`], [`Target`], [`Subscription`]), the command line on
//! top of it, the load generator, and the health probe. It speaks the protocol and knows nothing of how the service is made.
//!
//! ```text
//! target, connection, subscription     the library           stream, tls        the bytes below it
//! connection_arguments, surroundings   where to go: the flags of cli and bench alike, and the environment
//! arguments, cli, failure              flags, what they ask for, how it ends
//! script                               commands from arguments or lines, without a prompt
//! modes/                               what it does instead of commands: --pipe, --scan, --latency …
//! bench/                               the load generator
//! repl/                                the prompt at a terminal
//! print/                               replies as text       progress           how far a long work is
//! words              a typed line as words
//! terminal, interrupt, clock           the person's side
//! ```

mod arguments;
pub mod bench;
pub mod cli;
mod clock;
pub mod connection;
mod connection_arguments;
mod failure;
pub mod health;
pub mod interrupt;
mod modes;
pub mod print;
pub mod progress;
mod repl;
mod script;
mod stream;
mod subscription;
mod surroundings;
pub mod target;
mod terminal;
mod tls;
mod words;

pub use connection::{ClientError, Connection, Patience};
pub(crate) use stream::Stream;
pub use subscription::{Message, Subscription};
pub use surroundings::Surroundings;
pub use target::{Target, UrlError};
pub use tls::{Tls, TlsError};
