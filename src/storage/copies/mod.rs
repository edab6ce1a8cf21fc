//! Copies of the data for backups: made beside a busy writer, carried to another file system, removed in small steps. What they are
//! called, how many are kept and when one is due is not known here.

mod carry;
mod copier;
mod removal;
#[cfg(test)]
mod tests;

pub use carry::carry;
pub use copier::{Copier, Step, WriteBackOrders, WriteBacks, write_backs};
pub use removal::{discard_gradually, remove_gradually};
