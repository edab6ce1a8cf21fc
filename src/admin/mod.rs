//! HTTP beside the service: health, metrics and the status page, in a process of its own.
//!
//! It reads what all processes share and nothing else: no client, no database, no other process. When it dies, nobody notices. The
//! one thing that it can change is a word that asks the writer for a backup.

mod exposition;
#[cfg(test)]
mod figures_tests;
mod hosts;
mod metrics;
mod places;
mod readiness;
mod recent;
mod routes;
mod server;
mod status;
mod view;

pub use hosts::Hosts;
pub use server::serve;
pub use view::{Facts, View};
