//! What all processes of the service have in common: settings, the words in shared memory, time.

pub mod backups;
pub mod broken;
pub mod channel_counts;
pub mod faults;
pub mod hand_offs;
mod host;
pub mod latency;
pub mod message_numbers;
pub mod parameters;
pub mod pattern_lists;
pub mod program;
pub mod running_scripts;
pub mod runtime;
pub mod settings;
mod state;
pub mod time;
pub mod turns;
pub mod user_list;
pub mod users_view;
pub mod versions;

pub use host::Host;
pub use state::Shared;
