//! What all processes of the service have in common: settings, the words in shared memory, time.

pub mod backups;
pub mod broken;
pub mod faults;
pub mod parameters;
pub mod runtime;
pub mod settings;
pub mod time;
pub mod version;
pub mod versions;
