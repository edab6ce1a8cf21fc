//! The tickets of a writer: of each worker's incarnation the last job that was applied. They are committed with the group that applied
//! it, so that after a crash a job is known as applied exactly when it is.

use std::collections::HashMap;

use super::report::Size;
use super::schedule::sizes_between;
use crate::storage::error::{Result, StorageError};
use crate::storage::{DATABASES, Keyspace};

pub struct Tickets {
    boot: u64,
    /// The tickets in the file are of an earlier boot: there was no room to say so yet.
    are_old: bool,
    applied: HashMap<u64, u64>,
}

/// The incarnation that no process has.
const NOBODY: u64 = 0;

impl Tickets {
    /// The writer's first transaction: what its predecessor of the same boot has applied, and how many keys each database has. On a full
    /// disk reads go on, and the first group that finds room says whose tickets they are.
    ///
    /// # Errors
    /// Those of a commit, but for `Full`.
    pub fn take_over(base: &mut Keyspace, now_ms: i64, boot: u64) -> Result<(Tickets, [Size; DATABASES])> {
        base.begin_write(now_ms)?;
        let mut tickets = Tickets { boot, are_old: base.ticket_boot()? != boot, applied: HashMap::new() };
        tickets.reset_if_old(base)?;
        tickets.applied = base.applied_tickets()?.into_iter().collect();
        match base.commit() {
            Err(StorageError::Full) if tickets.are_old => {
                tracing::warn!("the disk is full: reads are served, and nothing can be written until there is room");
                base.rollback()?;
            }
            committed => {
                committed?;
                tickets.are_old = false;
            }
        }
        Ok((tickets, sizes_between(base).unwrap_or_default()))
    }

    /// The last job of this incarnation that was applied; 0: none.
    #[must_use]
    pub fn last_applied(&self, incarnation: u64) -> u64 {
        self.applied.get(&incarnation).copied().unwrap_or(0)
    }

    /// That incarnation has ended.
    pub fn forget(&mut self, incarnation: u64) {
        self.applied.remove(&incarnation);
    }

    /// Within the group's transaction: (incarnation, number) of each job that it applies.
    pub(super) fn record(&self, base: &mut Keyspace, last: &HashMap<u64, u64>) -> Result<()> {
        if last.is_empty() {
            return Ok(());
        }
        self.reset_if_old(base)?;
        last.iter().try_for_each(|(&incarnation, &number)| base.record_ticket(incarnation, number))
    }

    pub(super) fn committed(&mut self, last: HashMap<u64, u64>) {
        self.are_old &= last.is_empty();
        self.applied.extend(last);
    }

    /// A transaction of a change that nobody can see.
    pub(super) fn write_nothing(&mut self, base: &mut Keyspace, now_ms: i64) -> Result<()> {
        base.begin_write(now_ms)?;
        self.reset_if_old(base)?;
        base.record_ticket(NOBODY, 0)?;
        base.commit()?;
        self.are_old = false;
        Ok(())
    }

    fn reset_if_old(&self, base: &mut Keyspace) -> Result<()> {
        if self.are_old { base.reset_tickets(self.boot) } else { Ok(()) }
    }
}
