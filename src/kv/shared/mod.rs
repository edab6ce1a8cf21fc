//! What all processes of the service have in common: settings, the words in shared memory, time.

pub mod backups;
pub mod broken;
pub mod faults;
pub mod hand_offs;
mod host;
pub mod latency;
pub mod parameters;
pub mod program;
pub mod runtime;
pub mod settings;
mod state;
pub mod time;
pub mod versions;

pub use host::Host;
pub use state::Shared;
