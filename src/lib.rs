//! emptyServer: a durable key-value service on a server core of its own.

pub mod kv;
pub mod resp;
pub mod server;
pub mod storage;
