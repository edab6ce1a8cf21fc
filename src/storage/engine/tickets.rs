//! Tickets of committed groups that the table does not have yet: of each worker's incarnation the last job that was applied, and what has
//! become of parked jobs. Knows where they are told, and not what for.

use std::collections::{BTreeMap, BTreeSet};

use crate::storage::error::Result;
use crate::storage::sqlite::{Base, Fate};

#[derive(Default)]
pub(super) struct Tickets {
    /// Those that the table does not have.
    pub(super) applied: BTreeMap<u64, u64>,
    /// All parked jobs of which something is remembered, by number: incarnation, and what has become of it.
    parked: BTreeMap<u64, (u64, Fate)>,
    /// Jobs of which the table has something else, or does not know that they are over.
    untold: BTreeSet<u64>,
    /// Of the present group.
    pub(super) new_applied: Vec<(u64, u64)>,
    pub(super) new_parked: Vec<ParkedJob>,
}

/// A parked job: its number, its worker's incarnation, what has become of it.
pub type ParkedJob = (u64, u64, Fate);

/// In the journal a number says by its highest bits what it is the number of: nobody counts as far.
const WAITS: u64 = 1 << 62;
const SERVED: u64 = 1 << 63;
const NUMBER: u64 = WAITS - 1;

impl Tickets {
    /// As the table has them.
    pub(super) fn read(base: &Base) -> Result<Self> {
        let parked = base.parked_jobs()?.into_iter().map(|(number, incarnation, fate)| (number, (incarnation, fate)));
        Ok(Self { parked: parked.collect(), ..Self::default() })
    }

    /// Those of a group of the journal.
    pub(super) fn hear(&mut self, told: impl Iterator<Item = (u64, u64)>) {
        for (incarnation, number) in told {
            let fate = match number & !NUMBER {
                0 => {
                    self.applied.insert(incarnation, number);
                    continue;
                }
                WAITS => Fate::Waits,
                _ => Fate::Served,
            };
            self.note(number & NUMBER, incarnation, fate);
        }
    }

    /// What is told with the group at hand: all that the table does not have, or only what is new.
    pub(super) fn tell(&self, all: bool) -> Vec<(u64, u64)> {
        let mut told = Vec::with_capacity(if all { self.count_max() } else { self.new_count() });
        if all {
            told.extend(self.applied.iter().map(|(incarnation, number)| (*incarnation, *number)));
            let parked = self.untold.iter().filter_map(|number| Some((*number, *self.parked.get(number)?)));
            told.extend(parked.filter_map(|(number, (incarnation, fate))| encode(number, incarnation, fate)));
        }
        // Whoever hears these hears them behind those.
        told.extend_from_slice(&self.new_applied);
        told.extend(
            self.new_parked.iter().filter_map(|(number, incarnation, fate)| encode(*number, *incarnation, *fate)),
        );
        told
    }

    /// How many `tell` tells at most.
    pub(super) fn count_max(&self) -> usize {
        self.applied.len() + self.untold.len() + self.new_count()
    }

    fn new_count(&self) -> usize {
        self.new_applied.len() + self.new_parked.len()
    }

    /// The group at hand is committed, and in the journal.
    pub(super) fn committed(&mut self) {
        self.applied.extend(self.new_applied.drain(..));
        for (number, incarnation, fate) in std::mem::take(&mut self.new_parked) {
            self.note(number, incarnation, fate);
        }
    }

    /// The group at hand is undone.
    pub(super) fn rolled_back(&mut self) {
        self.new_applied.clear();
        self.new_parked.clear();
    }

    /// Within a transaction: the table gets what is new. `stored_new`, once that is committed.
    pub(super) fn store_new(&self, base: &mut Base) -> Result<()> {
        self.new_applied.iter().try_for_each(|(incarnation, number)| base.record_ticket(*incarnation, *number))?;
        let mut parked = self.new_parked.iter();
        parked.try_for_each(|(number, incarnation, fate)| base.record_parked(*number, *incarnation, *fate))
    }

    pub(super) fn stored_new(&mut self) {
        self.new_applied.drain(..).for_each(|(incarnation, _)| {
            self.applied.remove(&incarnation);
        });
        for (number, incarnation, fate) in std::mem::take(&mut self.new_parked) {
            self.note(number, incarnation, fate);
            self.untold.remove(&number);
        }
    }

    /// Within a transaction: the table gets all that it does not have, but for what is new. `stored`, once that is committed.
    pub(super) fn store(&self, base: &mut Base) -> Result<()> {
        self.applied.iter().try_for_each(|(incarnation, number)| base.record_ticket(*incarnation, *number))?;
        self.untold.iter().try_for_each(|number| {
            let (incarnation, fate) = self.parked.get(number).copied().unwrap_or((0, Fate::Over));
            base.record_parked(*number, incarnation, fate)
        })
    }

    pub(super) fn stored(&mut self) {
        self.applied.clear();
        self.untold.clear();
    }

    /// Those that the table has are not told again.
    pub(super) fn forget_applied(&mut self, in_table: &BTreeMap<u64, u64>) {
        self.applied.retain(|incarnation, number| in_table.get(incarnation).is_none_or(|known| *known < *number));
    }

    /// Those of an earlier start of the service are nobody's.
    pub(super) fn reset(&mut self) {
        self.applied.clear();
        self.parked.clear();
        self.untold.clear();
    }

    /// What has become of parked jobs; of the group at hand, too.
    pub(super) fn parked_jobs(&self) -> Vec<ParkedJob> {
        let mut parked = self.parked.clone();
        self.new_parked.iter().for_each(|(number, incarnation, fate)| {
            parked.insert(*number, (*incarnation, *fate));
        });
        parked.retain(|_, (_, fate)| *fate != Fate::Over);
        parked.into_iter().map(|(number, (incarnation, fate))| (number, incarnation, fate)).collect()
    }

    fn note(&mut self, number: u64, incarnation: u64, fate: Fate) {
        self.untold.insert(number);
        match (fate, self.parked.get(&number)) {
            (Fate::Over, _) => {
                self.parked.remove(&number);
            }
            // Told again by the journal: it did not wait any more.
            (Fate::Waits, Some((_, Fate::Served))) => {}
            _ => {
                self.parked.insert(number, (incarnation, fate));
            }
        }
    }
}

/// That a job is over is told by nobody: who hears that it waited, or was served, does what is right either way.
fn encode(number: u64, incarnation: u64, fate: Fate) -> Option<(u64, u64)> {
    match fate {
        Fate::Waits => Some((incarnation, number | WAITS)),
        Fate::Served => Some((incarnation, number | SERVED)),
        Fate::Over => None,
    }
}
