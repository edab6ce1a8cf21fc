//! The keyspace of a service: its transactions, and how a group reaches journal and tables.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use super::committed::Committed;
use super::groups::Groups;
use super::preparing::Preparing;
use super::take_over::take_over;
use super::tickets::ParkedJob;
use crate::storage::error::{Result, StorageError};
use crate::storage::keyspace::{ChangeHook, ExpirySample, Store};
use crate::storage::memtable::{Memory, Portion, Window};
use crate::storage::merge::Slice;
use crate::storage::rows::{Head, Kind, Range, RowKey, Table};
use crate::storage::sqlite::{Base, Fate, Kept, Options};

/// The keyspace on one connection to the data file. Between transactions and beside them it is also what it stands on: the upkeep
/// works on the tables themselves, in transactions of its own.
pub type Keyspace = crate::storage::keyspace::Keyspace<Committed>;
/// A collection of it, and a walk through one.
pub type List<'a> = crate::storage::keyspace::List<'a, Committed>;
pub type Elements<'a> = crate::storage::keyspace::Elements<'a, Committed>;
pub type SortedSet<'a> = crate::storage::keyspace::SortedSet<'a, Committed>;
pub type Stream<'a> = crate::storage::keyspace::Stream<'a, Committed>;
pub type Walk<'a> = crate::storage::keyspace::Walk<'a, Committed>;

impl Deref for Keyspace {
    type Target = Base;

    fn deref(&self) -> &Base {
        &self.store
    }
}

impl DerefMut for Keyspace {
    fn deref_mut(&mut self) -> &mut Base {
        &mut self.store
    }
}

/// A batch beyond this is written out between two calls where there is no memory for it: the group is one transaction still.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// So many rows that are not merged are counted after each group.
const FEW_ROWS: usize = 50;

impl Keyspace {
    /// A connection for snapshots of the tables; a change through it is an error. The file must have been prepared.
    pub fn open_reader(options: &Options) -> Result<Self> {
        Self::open_reader_on(options, Memory::off())
    }

    /// The same, for views of all that is committed: `memory` is that of the writer.
    pub fn open_reader_on(options: &Options, memory: Memory) -> Result<Self> {
        Ok(Self::on(Base::open_reader(options)?, memory, options, None))
    }

    /// The service's only writer, without memory. `hook` is called before every change.
    pub fn open_writer(options: &Options, hook: ChangeHook) -> Result<Self> {
        Self::open_writer_on(options, Memory::off(), hook)
    }

    /// The service's only writer. What a predecessor has left in the journal is taken over.
    pub fn open_writer_on(options: &Options, memory: Memory, hook: ChangeHook) -> Result<Self> {
        let mut keyspace = Self::on(Base::open_writer(options)?, memory, options, Some(hook));
        let seed = keyspace.seed()?;
        take_over(&mut keyspace.store, seed, options)?;
        Ok(keyspace)
    }

    /// For changes that are prepared beside the writer.
    pub(super) fn open_preparer(
        options: &Options,
        memory: Memory,
        preparing: Preparing,
        hook: ChangeHook,
    ) -> Result<Self> {
        let mut keyspace = Self::on(Base::open_reader(options)?, memory, options, Some(hook));
        keyspace.store.preparing = Some(preparing);
        Ok(keyspace)
    }

    fn on(base: Base, memory: Memory, options: &Options, hook: Option<ChangeHook>) -> Self {
        let homes = base.homes();
        Self::new(Committed::new(base, memory), homes, options.value_bytes_max, hook)
    }

    /// Begins a snapshot: call this when the batch of jobs is complete.
    pub fn begin_read(&mut self, now_ms: i64) -> Result<()> {
        self.store.begin_read(now_ms)?;
        self.begin_at(now_ms);
        Ok(())
    }

    pub fn end_read(&mut self) -> Result<()> {
        self.snapshot_is_held = false;
        self.store.end_read()
    }

    /// Between two steps of a long read: lets go of the snapshot, so that the -wal can restart, and takes a new one.
    /// Does nothing in a write transaction, or while the snapshot is held: there all steps belong together.
    pub fn renew_snapshot(&self) -> Result<()> {
        if self.snapshot_is_held || !self.store.is_in_transaction() || self.store.check_writing().is_ok() {
            return Ok(());
        }
        self.store.renew()?;
        self.forget_reads();
        Ok(())
    }

    /// Until the end of this read transaction (or `false`): one snapshot for several commands, such as an EXEC of reads.
    pub fn hold_snapshot(&mut self, hold: bool) {
        self.snapshot_is_held = hold;
    }

    /// Begins a group of changes. After an error in it see `StorageError`.
    pub fn begin_write(&mut self, now_ms: i64) -> Result<()> {
        self.begin_group(now_ms, Base::begin_write)
    }

    /// Begins a change of which nobody is told: its commit does not sync the `-wal`, the next group's does.
    pub fn begin_upkeep(&mut self, now_ms: i64) -> Result<()> {
        self.begin_group(now_ms, Base::begin_unsynced)
    }

    fn begin_group(&mut self, now_ms: i64, begin: fn(&mut Base) -> Result<()>) -> Result<()> {
        let (base, groups) = self.store.parts();
        let window = match groups {
            Some(groups) => {
                groups.make_headroom(base, now_ms)?;
                groups.window()
            }
            None => Window::default(),
        };
        begin(base)?;
        self.store.set_window(window);
        self.begin_at(now_ms);
        Ok(())
    }

    /// Writes the batch to the tables, within the group's transaction, and before it all that is not merged: what follows reads it there.
    pub fn spill(&mut self) -> Result<()> {
        self.store.check_writing()?;
        if self.batch.is_empty() {
            return Ok(());
        }
        let (base, groups) = self.store.parts();
        if let Some(groups) = groups
            && !groups.is_direct
        {
            self.is_partly_written = true;
            groups.merge_within(base)?;
            self.store.set_window(Window::default());
        }
        self.store.apply(&self.batch)?;
        self.forget_written();
        Ok(())
    }

    /// Before the commit of a group that goes into the tables: `spill`. So what can't be written shows here.
    pub fn spill_if_direct(&mut self) -> Result<()> {
        let is_direct = |groups: &Groups| groups.is_direct || groups.is_next_direct;
        if self.store.groups.as_ref().is_none_or(is_direct) { self.spill() } else { Ok(()) }
    }

    /// Between groups: the next one goes into the tables. On a full disk a deletion needs no more room there than it gives back, while the
    /// journal may need a cell that it has not.
    pub fn bypass_journal(&mut self) {
        if let Some(groups) = &mut self.store.groups {
            groups.is_next_direct = true;
        }
    }

    /// How many bytes of calls a group should have, so that it finds its room.
    pub fn group_bytes_max(&self) -> usize {
        self.store.groups.as_ref().map_or(usize::MAX, Groups::group_bytes_max)
    }

    /// True while the group has changes that are in the batch alone.
    #[must_use]
    pub fn has_unwritten_changes(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Between two calls: `spill`, once the batch is large.
    pub fn spill_if_large(&mut self) -> Result<()> {
        let bytes_max = self.store.groups.as_ref().map_or(BATCH_BYTES_MAX, Groups::batch_bytes_max);
        if self.batch.bytes() > bytes_max { self.spill() } else { Ok(()) }
    }

    /// After a call that has failed and was undone: goes on with the batch over a new transaction, since SQLite lets none be
    /// committed that has met damage, and ends some by itself. Nobody else writes, so all that was read stays true. False when a part
    /// of the group was no longer in the batch and so is lost: then `rollback`.
    pub fn recover(&mut self) -> Result<bool> {
        if self.is_partly_written {
            return Ok(false);
        }
        self.store.begin_again()?;
        self.forget_reads();
        Ok(true)
    }

    /// Of a worker's incarnation the last job that the group applies.
    pub fn record_ticket(&mut self, incarnation: u64, number: u64) -> Result<()> {
        self.store.check_writing()?;
        match &mut self.store.groups {
            Some(groups) => groups.tickets.new_applied.push((incarnation, number)),
            None => Base::record_ticket(&mut self.store, incarnation, number)?,
        }
        Ok(())
    }

    /// What the group does with a parked job: number, incarnation and fate.
    pub fn record_parked(&mut self, number: u64, incarnation: u64, fate: Fate) -> Result<()> {
        self.store.check_writing()?;
        match &mut self.store.groups {
            Some(groups) => groups.tickets.new_parked.push((number, incarnation, fate)),
            None => Base::record_parked(&mut self.store, number, incarnation, fate)?,
        }
        Ok(())
    }

    /// Every parked job of which something is recorded since `reset_tickets`, by number. Perhaps more than is so any more: what a job's
    /// worker has heard is recorded with a later group, or never.
    pub fn parked_jobs(&self) -> Result<Vec<ParkedJob>> {
        match &self.store.groups {
            Some(groups) => Ok(groups.tickets.parked_jobs()),
            None => Base::parked_jobs(&self.store),
        }
    }

    /// (incarnation, number) of every worker that has had a job applied since `reset_tickets`.
    pub fn applied_tickets(&self) -> Result<Vec<(u64, u64)>> {
        let mut tickets: BTreeMap<u64, u64> = Base::applied_tickets(&self.store)?.into_iter().collect();
        if let Some(groups) = &self.store.groups {
            // The number of a job that changed nothing went into the table.
            let applied = groups.tickets.applied.iter().map(|(incarnation, number)| (*incarnation, *number));
            for (incarnation, number) in applied.chain(groups.tickets.new_applied.iter().copied()) {
                let known = tickets.entry(incarnation).or_default();
                *known = number.max(*known);
            }
        }
        Ok(tickets.into_iter().collect())
    }

    /// Forgets the tickets of an earlier boot.
    pub fn reset_tickets(&mut self, boot: u64) -> Result<()> {
        if let Some(groups) = &mut self.store.groups {
            groups.boot = boot;
            groups.tickets.reset();
        }
        Base::reset_tickets(&mut self.store, boot)
    }

    /// Makes the group durable as `Options::durability` says. After an error: `rollback`, and see `StorageError`.
    pub fn commit(&mut self) -> Result<()> {
        self.store.check_writing()?;
        let now_ms = self.now_ms();
        let is_ahead = self.is_partly_written;
        let (base, groups) = self.store.parts();
        match groups {
            Some(groups) if !groups.is_direct && self.batch.is_empty() => groups.commit_nothing(base)?,
            Some(groups) => {
                if !groups.is_direct && groups.make_room(&self.batch, now_ms) {
                    let committed = groups.commit(base, &self.batch, is_ahead, now_ms);
                    match committed {
                        Err(error) if groups.may_be_direct(&error) && self.recover()? => self.commit_direct(now_ms)?,
                        committed => committed?,
                    }
                } else {
                    self.commit_direct(now_ms)?;
                }
            }
            None => {
                self.spill()?;
                self.store.commit()?;
            }
        }
        self.store.close_view();
        self.forget_group();
        self.ended.committed();
        Ok(())
    }

    fn commit_direct(&mut self, now_ms: i64) -> Result<()> {
        self.spill()?;
        let (base, groups) = self.store.parts();
        groups.map_or(Ok(()), |groups| groups.commit_direct(base, now_ms))
    }

    /// Undoes the whole group. Always right to call, also when SQLite has already rolled back by itself.
    pub fn rollback(&mut self) -> Result<()> {
        self.forget_undone();
        self.ended.rolled_back();
        self.store.close_view();
        let (base, groups) = self.store.parts();
        let undone = base.rollback();
        if let Some(groups) = groups {
            groups.rolled_back(base);
        }
        undone
    }

    /// A slice of what is not merged into the tables, for about so long, between groups. `None`: nothing waits.
    pub fn merge(&mut self, time: Duration) -> Result<Option<Slice>> {
        let (base, groups) = self.store.parts();
        groups.map_or(Ok(None), |groups| groups.merge(base, time))
    }

    /// What was committed up to now is merged next, however little it is. False when the place of a new generation is not free: merge
    /// first.
    pub fn freeze(&mut self, now_ms: i64) -> bool {
        let (_, groups) = self.store.parts();
        groups.is_none_or(|groups| groups.freeze(now_ms).is_ok())
    }

    /// All that is committed is in the tables then, between groups.
    pub fn merge_all(&mut self, now_ms: i64) -> Result<()> {
        const SLICE: Duration = Duration::from_millis(20);
        loop {
            let is_frozen = self.freeze(now_ms);
            while self.merge(SLICE)?.is_some() {}
            if is_frozen {
                return Ok(());
            }
        }
    }

    /// Removes keys whose time has passed, of all databases, the oldest first. Returns how many entries of the index it
    /// worked off: 0 when nothing is due. Those that have a newer row which is not merged wait.
    pub fn sweep_expired(&mut self, rows_max: usize) -> Result<usize> {
        self.spill()?;
        let (now_ms, memory) = (self.now_ms(), self.store.memory());
        let (store, ended) = (&mut self.store, &mut self.ended);
        let (base, groups) = store.parts();
        let window = groups.filter(|groups| !groups.is_direct).map_or(Window::default(), |groups| groups.window());
        let mut is_unmerged =
            |key: RowKey<'_>, head: &Head| Ok(memory.knows(key, &window)? || value_is_unmerged(memory, &window, head)?);
        base.sweep_expired(now_ms, rows_max, &mut is_unmerged, &mut |database, key| ended.note(database, key))
    }

    /// Removes rows of flushed databases and of deleted big values. Returns how many rows it worked off: 0 when there is
    /// nothing left.
    pub fn sweep_orphans(&mut self, rows_max: usize) -> Result<usize> {
        self.spill()?;
        self.store.sweep_orphans(rows_max)
    }

    /// Gives unused pages back to the file system, but for those that are kept. Returns how many.
    pub fn vacuum(&mut self, pages_max: u32, kept: Kept) -> Result<u32> {
        self.spill()?;
        self.store.vacuum(pages_max, kept)
    }

    /// Keys of the selected database, and those of them that end, as cheaply as it goes: those in the tables, where more than a few rows
    /// are not merged.
    pub fn rough_counts(&self) -> Result<(u64, u64)> {
        match self.unmerged_and_new() {
            Some(rows) if rows > FEW_ROWS => self.store.counts_in_table(self.database()),
            _ => Ok((self.key_count()?, self.expires_count()?)),
        }
    }

    /// Whether `rough_counts` looks for rows in the tables.
    #[must_use]
    pub fn counts_need_rows(&self) -> bool {
        let rows = self.unmerged_and_new().unwrap_or(self.batch.len());
        0 < rows && rows <= FEW_ROWS
    }

    fn unmerged_and_new(&self) -> Option<usize> {
        self.store.groups.as_ref().map(|groups| groups.memory().figures().rows as usize + self.batch.len())
    }

    /// When keys of the selected database end that have not yet, as committed: all of them where they are few, else some that `random`
    /// picks.
    pub fn sample_expiries(&self, random: u64) -> Result<ExpirySample> {
        self.store.sample_expiries(self.database(), self.now_ms(), random)
    }
}

/// Whether rows of the value wait to be merged. They would come after it was swept, and be nobody's for ever.
fn value_is_unmerged(memory: Memory, window: &Window, head: &Head) -> Result<bool> {
    let elements = |table, id| Range::Elements { table, id, first: 0, last: u64::MAX };
    let range = match (head.id, head.kind) {
        (Some(id), Kind::String) => Range::Chunks { id, first: 0, last: u64::MAX },
        (Some(id), Kind::Hash) => elements(Table::HashField, id),
        (Some(id), Kind::Set) => elements(Table::SetMember, id),
        (Some(id), Kind::List) => elements(Table::ListItem, id),
        // No change of its other tables comes without one of a member.
        (Some(id), Kind::SortedSet) => elements(Table::SortedMember, id),
        // No change of what belongs to a group comes without one of the group's row.
        (Some(id), Kind::Stream) => {
            let mut portion = Portion::default();
            memory.collect(elements(Table::StreamGroup, id), None, window, 1, &mut portion)?;
            if !portion.is_empty() {
                return Ok(true);
            }
            elements(Table::StreamEntry, id)
        }
        _ => return Ok(false),
    };
    let mut portion = Portion::default();
    memory.collect(range, None, window, 1, &mut portion)?;
    Ok(!portion.is_empty())
}

impl StorageError {
    /// True when this may have ended the transaction that met it, or lets it not be committed: see `Keyspace::recover`.
    #[must_use]
    pub fn spoils_transaction(&self) -> bool {
        !matches!(self, Self::TooLarge | Self::TakesLong)
    }
}

#[cfg(test)]
mod tests {
    use crate::storage::fixture::{Fixture, NOW_MS};
    use crate::storage::{Expiry, Lookup, StorageError};

    #[test]
    fn a_full_disk_undoes_the_group_and_leaves_the_keyspace_as_it_was() {
        let mut fixture = Fixture::new();
        fixture.write(|keyspace| keyspace.put_string(b"kept", b"1", Expiry::Clear).unwrap());
        let set_page_limit = |fixture: &Fixture, pages: u32| {
            let sql = format!("PRAGMA max_page_count = {pages}");
            fixture.writer.connection().query_row(&sql, [], |_| Ok(())).unwrap();
        };
        set_page_limit(&fixture, 1);
        fixture.writer.begin_write(NOW_MS).unwrap();
        (0..1000u32)
            .try_for_each(|n| fixture.writer.put_string(&n.to_le_bytes(), &[1; 1000], Expiry::At(NOW_MS + 1)))
            .unwrap();
        assert_eq!(fixture.writer.commit(), Err(StorageError::Full));
        if !fixture.writer.is_in_transaction() {
            assert!(matches!(fixture.writer.delete(b"kept"), Err(StorageError::Internal(_))));
        }
        fixture.writer.rollback().unwrap();
        fixture.write(|keyspace| {
            assert_eq!(keyspace.key_count().unwrap(), 1);
            assert!(keyspace.delete(b"kept").unwrap(), "deleting goes on");
        });
        set_page_limit(&fixture, 1_000_000);
        fixture.write(|keyspace| {
            keyspace.put_string(b"healed", &[1; 100_000], Expiry::Clear).unwrap();
            assert_eq!(keyspace.string_length(b"healed").unwrap(), Lookup::Found(100_000));
            assert_eq!(keyspace.expires_count().unwrap(), 0);
        });
    }

    #[test]
    fn what_sqlite_rolled_back_by_itself_is_not_half_applied_by_what_follows() {
        let mut fixture = Fixture::new();
        fixture.writer.begin_write(NOW_MS).unwrap();
        fixture.writer.put_string(b"a", b"1", Expiry::Clear).unwrap();
        fixture.writer.connection().execute_batch("ROLLBACK").unwrap();
        assert!(!fixture.writer.is_in_transaction());
        assert!(matches!(fixture.writer.put_string(b"b", b"1", Expiry::Clear), Err(StorageError::Internal(_))));
        assert!(matches!(fixture.writer.commit(), Err(StorageError::Internal(_))));
        fixture.writer.rollback().unwrap();
        fixture.write(|keyspace| assert_eq!(keyspace.key_count().unwrap(), 0));
    }

    #[test]
    fn a_held_snapshot_is_not_renewed_and_a_write_is_not_cut_in_two() {
        let mut fixture = Fixture::new();
        let mut reader = fixture.reader();
        reader.begin_read(NOW_MS).unwrap();
        reader.hold_snapshot(true);
        assert_eq!(reader.key_count().unwrap(), 0);
        fixture.writer.begin_write(NOW_MS).unwrap();
        fixture.writer.put_string(b"a", b"1", Expiry::Clear).unwrap();
        fixture.writer.renew_snapshot().unwrap();
        fixture.writer.commit().unwrap();
        reader.renew_snapshot().unwrap();
        assert_eq!(reader.key_count().unwrap(), 0);
        reader.end_read().unwrap();
        reader.begin_read(NOW_MS).unwrap();
        reader.renew_snapshot().unwrap();
        assert_eq!(reader.key_count().unwrap(), 1);
    }
}
