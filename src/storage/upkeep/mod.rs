//! What the base needs between groups: the `-wal` and its checkpoints, the room on the disk, expired keys, rows of deleted
//! values, unused pages. It says in a report what it did; who counts that, and who asked for it, it does not know.

mod average_expiry;
mod checkpoint_thread;
mod pace;
mod report;
mod schedule;
mod sync_thread;
#[cfg(test)]
mod tests;

pub use report::{Disk, Event, Hooks, Report, Size, Synced, Wishes};
pub use schedule::Upkeep;
