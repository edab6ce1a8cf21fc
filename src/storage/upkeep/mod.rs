//! What the base needs between groups: the `-wal` and its checkpoints, the room on the disk, expired keys, rows of deleted
//! values, unused pages. It says in a report what it did; who counts that, and who asked for it, it does not know.

mod average_expiry;
mod checkpoint_thread;
mod file_watch;
#[cfg(test)]
mod merge_tests;
mod merges;
mod pace;
mod report;
mod rescue;
mod schedule;
mod start;
mod sync_thread;
#[cfg(test)]
mod tests;
mod tickets;

pub use file_watch::FileWatch;
pub use report::{Disk, Event, Hooks, Merged, Report, Size, Synced, Unmerged, Wishes};
pub use rescue::Rescue;
pub use schedule::Upkeep;
pub use start::prepare_to_write;
pub use tickets::{GroupTickets, Tickets};
