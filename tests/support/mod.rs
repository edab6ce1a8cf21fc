//! What the tests of the real program share: starting it on scratch data, its processes, its log, raw connections, and a
//! scratch redis-server beside it. Nothing here sleeps: it waits for lines, descriptors and ends, each up to a deadline.
#![allow(dead_code, unused_imports, unreachable_pub, reason = "every test program uses a part of it")]

mod connection;
mod example;
mod log;
mod notation;
mod peer;
mod processes;
mod redis;
mod secure;
mod service;
pub mod strace;
mod transcript;
mod turn;
mod value;

pub use connection::{Connection, PATIENCE, encoded};
pub use example::{Server, numbers, sockets_of, status, threads_of, until};
pub use log::Log;
pub use notation::{bytes_of, unescape, words};
pub use peer::Client;
pub use processes::{Process, anonymous_bytes, descendants, is_alive, signal, thread_named, wait_until};
pub use redis::{Redis, is_installed};
pub use secure::{Authority, Files, Pair, Secure};
pub use service::{Service, number_from_environment, program};
pub use transcript::{Section, Transcript, read_all};
pub use turn::turn;
pub use value::{Null, Parsed, Value, parse};
