//! The library below the program `emptyserver`; `src/ARCHITECTURE.md` follows.
#![doc = include_str!("ARCHITECTURE.md")]

pub mod admin;
pub mod client;
pub mod config;
pub mod kv;
pub mod logging;
pub mod resp;
pub mod server;
pub mod storage;
#[allow(unsafe_code, reason = "the operating system's interface is C")]
pub mod sys;
pub mod transfer;
