//! The core: bytes, sockets, processes, threads. No protocol, no database.

pub mod sys;
