//! The loop's half: bytes become requests, requests pass the gates, and what needs the keyspace becomes jobs.

pub mod admission;
#[cfg(test)]
mod events_tests;
#[cfg(test)]
mod figures_tests;
pub mod monitor;
#[cfg(test)]
mod pubsub_tests;
#[cfg(test)]
mod riding_tests;
pub mod service;
#[cfg(test)]
mod session_tests;
#[cfg(test)]
mod sharing_tests;
pub mod slowlog;
#[cfg(test)]
pub(crate) mod stage;
#[cfg(test)]
mod tracking_tests;
#[cfg(test)]
mod waiting_model;
#[cfg(test)]
mod waiting_tests;
