//! What a worker keeps of its clients, and what it asks other workers: the state that commands on the loop see. Drives nothing.

pub mod clients;
pub mod login;
pub mod monitors;
pub mod questions;
pub mod riders;
pub mod scatter_gather;
pub mod session;
pub mod slow_log;
pub mod transaction;
pub mod wire;
pub mod worker_state;
