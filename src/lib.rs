//! emptyServer: a durable key-value service on a server core of its own.

pub mod client;
pub mod config;
pub mod kv;
pub mod logging;
pub mod resp;
pub mod server;
pub mod storage;
