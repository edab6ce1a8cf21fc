//! The tickets of a writer: of each worker's incarnation the last job that was applied, and what has become of its parked jobs. They are
//! committed with the group that did it, so that after a crash a job is known as applied, or as served, exactly when it is.

use std::collections::{BTreeMap, HashMap};

use super::report::Size;
use super::schedule::sizes_between;
use crate::storage::error::{Result, StorageError};
use crate::storage::{DATABASES, Fate, Keyspace, ParkedJob};

pub struct Tickets {
    boot: u64,
    /// The tickets in the file are of an earlier boot: there was no room to say so yet.
    are_old: bool,
    applied: HashMap<u64, u64>,
    /// Parked jobs: incarnation, and what has become of it. All that wait, those that are served and not acknowledged, and perhaps some
    /// that a predecessor knew.
    parked: BTreeMap<u64, (u64, Fate)>,
    /// What of that no group has recorded yet, by number. It waits for one that changes something: until then those jobs are not applied.
    unrecorded: BTreeMap<u64, (u64, Fate)>,
}

/// What a group does with jobs.
#[derive(Debug, Default)]
pub struct GroupTickets {
    /// Of each incarnation the last of its jobs in the group. Empty: the group has changed nothing.
    pub last: HashMap<u64, u64>,
    /// Jobs that it has parked, and jobs parked before that it has served: (number, incarnation).
    pub parked: Vec<(u64, u64)>,
    pub served: Vec<(u64, u64)>,
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
        let are_old = base.ticket_boot()? != boot;
        let (applied, parked) = (HashMap::new(), BTreeMap::new());
        let mut tickets = Tickets { boot, are_old, applied, parked, unrecorded: BTreeMap::new() };
        tickets.reset_if_old(base)?;
        tickets.applied = base.applied_tickets()?.into_iter().collect();
        let parked = base.parked_jobs()?.into_iter();
        tickets.parked = parked.map(|(number, incarnation, fate)| (number, (incarnation, fate))).collect();
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

    /// The numbers of this incarnation's jobs that are parked, and of those that were served and not acknowledged.
    #[must_use]
    pub fn parked(&self, incarnation: u64) -> (Vec<u64>, Vec<u64>) {
        let (mut waiting, mut served) = (Vec::new(), Vec::new());
        for (number, (_, fate)) in self.parked.iter().filter(|(_, (of, _))| *of == incarnation) {
            if *fate == Fate::Served { served.push(*number) } else { waiting.push(*number) }
        }
        (waiting, served)
    }

    /// That incarnation has ended.
    pub fn forget(&mut self, incarnation: u64) {
        self.applied.remove(&incarnation);
        self.keep_parked(|_, of, _| of != incarnation);
    }

    /// The job's worker has heard the end of it.
    pub fn is_over(&mut self, number: u64) {
        let Some((incarnation, _)) = self.parked.remove(&number) else { return };
        // Of one that was not recorded as waiting nothing is there to be taken away.
        if self.unrecorded.remove(&number).is_none() {
            self.unrecorded.insert(number, (incarnation, Fate::Over));
        }
    }

    /// Of all parked jobs only these (number, incarnation, whether it was served) are still somebody's.
    pub fn keep_parked(&mut self, is_kept: impl Fn(u64, u64, bool) -> bool) {
        let parked = self.parked.iter();
        let over =
            parked.filter(|(number, (incarnation, fate))| !is_kept(**number, *incarnation, *fate == Fate::Served));
        let over: Vec<u64> = over.map(|(number, _)| *number).collect();
        over.into_iter().for_each(|number| self.is_over(number));
    }

    /// Within the group's transaction.
    pub(super) fn record(&self, base: &mut Keyspace, group: &GroupTickets) -> Result<()> {
        if group.last.is_empty() {
            return Ok(());
        }
        self.reset_if_old(base)?;
        group.last.iter().try_for_each(|(&incarnation, &number)| base.record_ticket(incarnation, number))?;
        let unrecorded = self.unrecorded.iter().map(|(&number, &(incarnation, fate))| (number, incarnation, fate));
        let mut parked = unrecorded.chain(of_group(group));
        parked.try_for_each(|(number, incarnation, fate)| base.record_parked(number, incarnation, fate))
    }

    pub(super) fn committed(&mut self, group: GroupTickets) {
        let parked = || of_group(&group).map(|(number, incarnation, fate)| (number, (incarnation, fate)));
        self.parked.extend(parked());
        match group.last.is_empty() {
            true => self.unrecorded.extend(parked()),
            false => {
                self.unrecorded.clear();
                self.are_old = false;
            }
        }
        self.applied.extend(group.last);
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

fn of_group(group: &GroupTickets) -> impl Iterator<Item = ParkedJob> {
    let of = |fate| move |&(number, incarnation): &(u64, u64)| (number, incarnation, fate);
    group.parked.iter().map(of(Fate::Waits)).chain(group.served.iter().map(of(Fate::Served)))
}
