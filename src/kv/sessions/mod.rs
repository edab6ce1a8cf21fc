//! What a worker keeps of its clients, and what it asks other workers: the state that commands on the loop see. Drives nothing.

pub mod acl_log;
pub mod acting;
pub mod clients;
pub mod login;
pub mod monitors;
pub mod on_their_way;
pub mod pattern_index;
pub mod publishing;
pub mod pushes;
pub mod questions;
pub mod riders;
pub mod scatter_gather;
pub mod session;
pub mod slow_log;
pub mod subscriptions;
pub mod tracked_keys;
pub mod tracking;
pub mod transaction;
pub mod wire;
pub mod worker_state;
