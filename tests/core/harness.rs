//! The harness of the tests with real processes and real sockets: start an example, talk to it, look at its processes.

#[path = "client.rs"]
mod client;
#[path = "server.rs"]
mod server;

pub(crate) use client::Client;
pub(crate) use server::{Server, is_alive, numbers, signal, sockets_of, status, threads_of, until};
