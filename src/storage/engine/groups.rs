//! The writer's groups: what a commit does to journal and memory, what room there is, and what is merged.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::storage::broken::{self, Variant};
use crate::storage::error::{Result, StorageError};
use crate::storage::journal::{self, Head};
use crate::storage::memtable::{Busy, Filler, Memory, Window};
use crate::storage::merge::{Merger, Slice};
use crate::storage::points::{Point, pass, rest};
use crate::storage::rows::{Batch, Name, Row};
use crate::storage::sqlite::{Base, GENERATIONS, Merged, Options};

use super::deadlines::Deadlines;
use super::generations::Generation;
use super::tickets::Tickets;
use crate::sys::{clock, process};

pub(super) struct Groups {
    pub(super) filler: Filler,
    pub(super) merger: Merger<Generation>,
    /// Where the next group goes in the region of the newest generation.
    pub(super) at: u64,
    /// The last group of each generation that is not merged.
    pub(super) ends: BTreeMap<u64, u64>,
    /// The start of the service that tickets belong to.
    pub(super) boot: u64,
    pub(super) tickets: Tickets,
    /// All is merged within the present group's transaction: it goes into the tables.
    pub(super) is_direct: bool,
    /// The next group is to be so: the journal has found no room for it.
    pub(super) is_next_direct: bool,
    /// That could not be done for a row's sake: before the next group the merge puts it aside.
    must_merge: bool,
    /// The log has it that a place of the journal can't be written.
    is_damage_told: bool,
    pub(super) deadlines: Deadlines,
    /// How often one had to wait for a free generation.
    pub(super) pauses: u64,
    region_bytes: u64,
    bytes: Vec<u8>,
}

/// How long a pause is while a reader holds a generation.
const PINNED_LOOK: Duration = Duration::from_millis(1);
/// Exit code of a writer whose memory has not the room that was made sure of.
const NO_ROOM: i32 = 5;
/// A forced merge looks at nothing else for so long.
const FORCED_SLICE: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_millis(5) };
/// The longest that a group waits for one while there is still room for the group.
const FORCED_STEP: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_millis(15) };
/// So much of the usual headroom is room for a group, which is smaller then.
const HEADROOM_LEAST: usize = 4;
/// Slices of it that may fail in a row: with more it is not a row's affair.
const FAILURES_MAX: u32 = 4;

impl Groups {
    pub(super) fn new(filler: Filler, merged: u64, options: &Options) -> Self {
        Self {
            filler,
            merger: Merger::new(merged),
            at: 0,
            ends: BTreeMap::new(),
            boot: 0,
            tickets: Tickets::default(),
            is_direct: false,
            is_next_direct: false,
            must_merge: false,
            is_damage_told: false,
            deadlines: Deadlines::new(options.merge_age_max),
            pauses: 0,
            region_bytes: region_bytes(options.journal_bytes_max),
            bytes: Vec::new(),
        }
    }

    pub(super) fn memory(&self) -> Memory {
        self.filler.memory()
    }

    pub(super) fn window(&self) -> Window {
        self.filler.window()
    }

    /// How much of the newest generation's region in the journal is used.
    pub(super) fn region_used(&self) -> f64 {
        self.at as f64 / self.region_bytes as f64
    }

    /// The largest batch that is not written to the tables at once. It may need a generation of its own.
    pub(super) fn batch_bytes_max(&self) -> usize {
        self.room_of_generation() / 2
    }

    /// What a group of usual size has in journal and memory at most: for so much there is room in advance.
    fn headroom(&self) -> usize {
        self.room_of_generation() / 4
    }

    fn room_of_generation(&self) -> usize {
        (self.region_bytes as usize).min(self.memory().generation_bytes())
    }

    /// Bytes of calls that come to that: around a small value there is more in memory than in its call. Less where less is left, and no
    /// place is free.
    pub(super) fn group_bytes_max(&self) -> usize {
        let usual = self.headroom();
        let left = (self.region_bytes.saturating_sub(self.at) as usize).min(self.filler.room_left());
        let is_tight = (usual / HEADROOM_LEAST..usual).contains(&left) && self.filler.is_every_place_taken();
        if is_tight { left / 8 } else { usual / 4 }
    }

    /// Whether the newest generation has room for a group of so many bytes.
    fn has_room(&self, bytes: usize) -> bool {
        self.at as usize + bytes <= self.region_bytes as usize && self.filler.fits(1, bytes)
    }

    /// Whether there is room for the batch, if need be in a new generation.
    pub(super) fn make_room(&mut self, batch: &Batch, now_ms: i64) -> bool {
        let (rows, bytes) = (batch.len(), batch.arena_bytes());
        if self.is_next_direct {
            return false;
        }
        let most = journal::bytes_max(self.tickets.count_max(), rows, bytes);
        if !self.filler.fits_empty(rows, bytes) || most > self.region_bytes {
            return false;
        }
        if self.filler.fits(rows, bytes) && self.at + most <= self.region_bytes {
            return true;
        }
        self.begin_generation(now_ms).is_ok()
    }

    /// Between groups: sees to it that the next one of usual size finds room. Where no place is free, each group merges a part of what is in
    /// the way, as long as there is room for smaller ones; then all of it. A full disk may not let it: what is left of the region still takes
    /// small groups, such as deletions.
    pub(super) fn make_headroom(&mut self, base: &mut Base, now_ms: i64) -> Result<()> {
        if std::mem::take(&mut self.must_merge) {
            // Where no generation is free, the newest one is frozen behind the others.
            while self.freeze(now_ms).is_err() && self.merge_up_to(base, self.memory().newest() - 1, None)? {}
            self.merge_up_to(base, self.memory().newest() - 1, None)?;
        }
        let quarter = self.headroom();
        if self.is_next_direct {
            return Ok(());
        }
        if self.has_room(quarter) {
            return Ok(());
        }
        let is_enough = self.has_room(quarter / HEADROOM_LEAST);
        let until = is_enough.then(|| clock::monotonic() + FORCED_STEP);
        while let Err(Busy::Unmerged { generation }) = self.begin_generation(now_ms) {
            self.pauses += 1;
            if !self.merge_up_to(base, generation, until)? {
                break;
            }
        }
        Ok(())
    }

    /// False: the disk is full, or it was not done by then.
    fn merge_up_to(&mut self, base: &mut Base, generation: u64, until: Option<Instant>) -> Result<bool> {
        let mut failures = 0;
        while self.memory().merged() < generation {
            match self.merge(base, FORCED_SLICE) {
                // A row that can't be written is found and put aside.
                Err(error) if error.is_of_the_call() && failures < FAILURES_MAX => failures += 1,
                Err(StorageError::Full) => return Ok(false),
                Err(error) => return Err(error),
                Ok(_) => failures = 0,
            }
            if until.is_some_and(|until| clock::monotonic() >= until) {
                return Ok(self.memory().merged() >= generation);
            }
        }
        Ok(true)
    }

    /// Waits for readers a little; after that the oldest generation is recycled under them.
    pub(super) fn begin_generation(&mut self, now_ms: i64) -> std::result::Result<(), Busy> {
        let mut waited = Duration::ZERO;
        loop {
            let now_ms = now_ms + i64::try_from(waited.as_millis()).unwrap_or(0);
            match self.filler.begin_generation(now_ms) {
                Ok(_) => {
                    self.at = 0;
                    return Ok(());
                }
                Err(Busy::Pinned) => {
                    rest(PINNED_LOOK);
                    waited += PINNED_LOOK;
                }
                Err(busy) => return Err(busy),
            }
        }
    }

    /// COMMIT of a batch for which there is room. `is_ahead`: rows of it are in the tables already.
    pub(super) fn commit(&mut self, base: &mut Base, batch: &Batch, is_ahead: bool, now_ms: i64) -> Result<()> {
        let (generation, seq) = (self.memory().newest(), self.memory().published() + 1);
        // As the row `merged` has it: it is told with every start and every group.
        let ahead = self.memory().ahead() + u64::from(is_ahead);
        if is_ahead {
            let merged = base.merged()?;
            base.store_merged(&Merged { ahead, ..merged })?;
        }
        self.bytes.clear();
        let head = Head { generation, seq, boot: self.boot };
        // A generation tells all that the table does not have: so a new writer need not look into older ones.
        journal::encode(&mut self.bytes, &head, &self.tickets.tell(self.at == 0), batch);
        base.append(generation, self.at, &self.bytes)?;
        pass(Point::JournalAppended);
        base.commit()?;
        pass(Point::GroupCommitted);
        if broken::is(Variant::SequenceBeforeRows) {
            self.filler.publish(seq, ahead);
            pass(Point::GroupPublished);
        }
        // What the inserts wait for is memory: it comes for all of them at once.
        let fetched: Result<()> = batch.each(|changed| {
            self.filler.prefetch(changed.key);
            Ok(())
        });
        fetched?;
        let half = batch.len() / 2;
        let mut number = 0;
        batch
            .each(|changed| {
                self.tell_space(changed.key.name(), changed.row);
                self.deadlines.note(changed.key, changed.row, now_ms);
                let inserted = self.filler.insert(changed.key, changed.row, changed.origin, seq);
                number += 1;
                if number == half {
                    pass(Point::HalfInserted);
                }
                inserted
            })
            // It is committed, so it can't be refused: the next writer finds it in the journal, and room for it in the tables.
            .unwrap_or_else(|full| {
                tracing::error!(?full, "a committed group finds no room in memory: the writer ends");
                process::exit_at_once(NO_ROOM)
            });
        pass(Point::RowsInserted);
        self.filler.publish(seq, ahead);
        pass(Point::GroupPublished);
        self.at += self.bytes.len() as u64;
        self.ends.insert(generation, seq);
        self.tickets.committed();
        Ok(())
    }

    /// COMMIT of a transaction that has no rows: what was swept, and jobs that changed nothing.
    pub(super) fn commit_nothing(&mut self, base: &mut Base) -> Result<()> {
        self.tickets.store_new(base)?;
        base.commit()?;
        self.tickets.stored_new();
        Ok(())
    }

    pub(super) fn tell_space(&self, name: Name<'_>, row: Option<Row<'_>>) {
        if let (Name::Database(number), Some(Row::Database(space))) = (name, row) {
            self.filler.set_space(number, space);
        }
    }

    /// All that is not merged, within the present group's transaction.
    pub(super) fn merge_within(&mut self, base: &mut Base) -> Result<()> {
        // From here on the merger is ahead of the tables, also where the second generation fails.
        self.is_direct = true;
        for generation in self.memory().merged() + 1..=self.memory().newest() {
            let frozen = self.filler.frozen(generation);
            let written = self.merger.all(base, generation, || Generation::new(frozen));
            self.must_merge = written.as_ref().is_err_and(StorageError::is_of_the_call);
            written?;
        }
        Ok(())
    }

    /// Whether a group that met this error before its COMMIT can go into the tables instead.
    pub(super) fn may_be_direct(&mut self, error: &StorageError) -> bool {
        let is_of_the_place = error.is_of_the_call() && *error != StorageError::OutOfMemory;
        if is_of_the_place && !std::mem::replace(&mut self.is_damage_told, true) {
            tracing::error!(%error, "a place of the journal is damaged: a group that would lie there goes into the tables");
        }
        is_of_the_place
    }

    /// COMMIT of a group whose batch is in the tables with all that was before it.
    pub(super) fn commit_direct(&mut self, base: &mut Base, now_ms: i64) -> Result<()> {
        let (generation, seq) = (self.memory().newest(), self.memory().published() + 1);
        let ahead = base.merged()?.ahead;
        base.store_merged(&Merged { generation, seq, ahead })?;
        self.tickets.store(base)?;
        self.tickets.store_new(base)?;
        let spaces = base.spaces()?;
        pass(Point::DirectApplied);
        base.commit()?;
        pass(Point::DirectCommitted);
        (self.is_direct, self.is_next_direct) = (false, false);
        self.merger.committed(base);
        self.tickets.stored();
        self.tickets.stored_new();
        self.ends.clear();
        self.filler.set_merged(generation);
        pass(Point::MergedPublished);
        spaces.into_iter().enumerate().for_each(|(number, space)| self.filler.set_space(number as u8, space));
        self.filler.publish(seq, ahead);
        pass(Point::GroupPublished);
        // All are merged, so it begins; if not, the next group finds no room, and goes the same way.
        self.begin_generation(now_ms).unwrap_or_else(|busy| tracing::error!(?busy, "no generation begins"));
        Ok(())
    }

    /// The group is undone.
    pub(super) fn rolled_back(&mut self, base: &mut Base) {
        self.tickets.rolled_back();
        self.is_next_direct = false;
        if std::mem::take(&mut self.is_direct) {
            self.merger.rolled_back(base);
        }
    }

    /// A slice of the oldest generation; `None`: none waits.
    pub(super) fn merge(&mut self, base: &mut Base, time: Duration) -> Result<Option<Slice>> {
        let memory = self.memory();
        let generation = memory.merged() + 1;
        if generation >= memory.newest() {
            return Ok(None);
        }
        let frozen = self.filler.frozen(generation);
        let end = self.ends.range(..=generation).next_back().map(|(_, seq)| *seq);
        let (tickets, filler) = (&self.tickets, &mut self.filler);
        let slice = self.merger.slice(base, generation, || Generation::new(frozen), time, &mut |base| {
            let merged = base.merged()?;
            base.store_merged(&Merged { generation, seq: end.unwrap_or(merged.seq), ..merged })?;
            if broken::is(Variant::MergedBeforeCommit) {
                filler.set_merged(generation);
                pass(Point::MergedPublished);
            }
            if broken::is(Variant::TicketsLostInMerge) {
                return Ok(());
            }
            tickets.store(base)
        })?;
        if slice.is_last {
            self.filler.set_merged(generation);
            pass(Point::MergedPublished);
            self.tickets.stored();
            self.ends.retain(|number, _| *number > generation);
        }
        Ok(Some(slice))
    }

    /// The newest generation takes no further groups, if it has any.
    pub(super) fn freeze(&mut self, now_ms: i64) -> std::result::Result<(), Busy> {
        let memory = self.memory();
        if memory.figures_of(memory.newest()).versions == 0 { Ok(()) } else { self.begin_generation(now_ms) }
    }
}

/// What the groups of a generation may have in the journal.
fn region_bytes(journal_bytes_max: u64) -> u64 {
    const MIN: u64 = 1 << 20;
    (journal_bytes_max / GENERATIONS).max(MIN)
}
