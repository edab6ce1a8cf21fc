//! The loop's half: bytes become requests, requests pass the gates, and what needs the keyspace becomes jobs.

pub mod admission;
pub mod clients;
pub mod login;
pub mod monitor;
pub mod questions;
pub mod scatter_gather;
pub mod service;
pub mod session;
#[cfg(test)]
mod session_tests;
#[cfg(test)]
mod sharing_tests;
pub mod slowlog;
#[cfg(test)]
pub(crate) mod stage;
pub mod transaction;
pub mod worker_state;
