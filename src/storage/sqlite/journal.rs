//! The journal as a table: where the bytes of groups lie, and up to where their rows have reached the other tables.
//!
//! ```text
//! region    of generation n: cells (n % 4) << 32, + 1, + 2 …; made when they are first needed, then overwritten in place
//! groups    one after the other from the region's first byte on, across cells; behind the last one four bytes 0, or no cell
//! ```
//! Groups of a region belong to one generation: the first group of a newer one takes the place of the first group of an older one,
//! and the zeros behind it hide the rest. So what a client once wrote is never taken for a group. Why cells that are
//! overwritten: docs/decisions/journal-table.md. Those that only a larger budget needs are given back by the sweeper.

use rusqlite::blob::{Blob, ZeroBlob};
use rusqlite::{OptionalExtension, Rows, params};

use super::base::Base;
use crate::storage::error::{Result, StorageError};
use crate::storage::journal::{Group, HEAD_BYTES, Head, head_of};

/// How many generations there can be that are not merged, one of which is being filled. Part of the file format.
pub const GENERATIONS: u64 = 4;

/// Part of the file format.
const CELL_BYTES: usize = 32 << 10;
const REGION_BITS: u32 = 32;
/// Says that no group follows, whatever was there before.
const END: [u8; 4] = [0; 4];

/// How far the journal's groups have reached the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// It and all before it are in the tables as a whole.
    pub generation: u64,
    /// The number of the last group in it.
    pub seq: u64,
    /// How many groups wrote rows into the tables that only the journal makes known.
    pub ahead: u64,
}

/// A place in the journal: behind the group `seq`, at which the next group of the generation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub generation: u64,
    pub at: u64,
    pub seq: u64,
}

impl Merged {
    /// Behind everything that is in the tables.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { generation: self.generation, at: u64::MAX, seq: self.seq }
    }
}

impl Base {
    /// As the present transaction sees it.
    pub fn merged(&self) -> Result<Merged> {
        self.check_transaction()?;
        let number = |row: &rusqlite::Row<'_>, column| row.get::<_, i64>(column).map(i64::cast_unsigned);
        let mut statement = self.connection.prepare_cached("SELECT generation, seq, ahead FROM merged")?;
        let found = statement.query_row([], |row| {
            Ok(Merged { generation: number(row, 0)?, seq: number(row, 1)?, ahead: number(row, 2)? })
        });
        found.optional()?.ok_or_else(|| damaged("the table merged is empty"))
    }

    pub fn store_merged(&self, merged: &Merged) -> Result<()> {
        self.check_writing()?;
        let [generation, seq, ahead] = [merged.generation, merged.seq, merged.ahead].map(u64::cast_signed);
        self.connection
            .prepare_cached("UPDATE merged SET generation = ?1, seq = ?2, ahead = ?3")?
            .execute([generation, seq, ahead])?;
        Ok(())
    }

    /// Puts a group (`journal::encode`) at a place of its generation's region, within the present transaction. After a rollback the
    /// place is free as before.
    pub fn append(&mut self, generation: u64, at: u64, group: &[u8]) -> Result<()> {
        self.check_writing()?;
        let mut writing = Writing { base: self, region: first_cell(generation), at, blob: None };
        writing.make_cells(group.len() as u64)?;
        writing.write(group)?;
        // Where there is no cell, none was ever written.
        if writing.is_within_cell() || writing.has_cell()? {
            writing.write(&END)?;
        }
        writing.blob.map_or(Ok(()), |(_, blob)| blob.close())?;
        Ok(())
    }

    /// Shows all groups behind a place, in the order of their numbers, each with the place behind it. Returns the last such place.
    ///
    /// # Errors
    /// `Corrupt`: what is there is no sequence of groups; those before it were shown.
    pub fn replay(&self, behind: Place, show: &mut dyn FnMut(&Group<'_>, Place) -> Result<()>) -> Result<Place> {
        let mut place = behind;
        let oldest = behind.generation + u64::from(behind.at == u64::MAX);
        for generation in self.generations_from(oldest)? {
            if generation != place.generation {
                place = Place { generation, at: 0, seq: place.seq };
            }
            place = self.replay_generation(place, show)?;
        }
        Ok(place)
    }

    /// The same of one generation, of whose groups the first has this number.
    ///
    /// # Errors
    /// `Corrupt`: what is there is no sequence of groups; those before it were shown.
    pub(in crate::storage) fn replay_one(
        &self,
        (generation, first): (u64, u64),
        show: &mut dyn FnMut(&Group<'_>, Place) -> Result<()>,
    ) -> Result<Place> {
        self.check_transaction()?;
        self.replay_generation(Place { generation, at: 0, seq: first.wrapping_sub(1) }, show)
    }

    /// Generations that have groups, from `oldest` on, in order.
    fn generations_from(&self, oldest: u64) -> Result<Vec<u64>> {
        let found: Vec<u64> = self.heads_from(oldest)?.iter().map(|head| head.generation).collect();
        if found.last().is_some_and(|newest| newest - oldest >= GENERATIONS) {
            return Err(damaged(&format!("generations {found:?} are not merged, nor is {oldest}")));
        }
        Ok(found)
    }

    /// Generations behind `merged` that have groups, in order, each with the number of its first group.
    pub(in crate::storage) fn unmerged_generations(&self, merged: u64) -> Result<Vec<(u64, u64)>> {
        Ok(self.heads_from(merged + 1)?.iter().map(|head| (head.generation, head.seq)).collect())
    }

    /// The first groups of generations from `oldest` on, in order. A region that can't be read is of no account as long as nothing can lie
    /// there that is asked for: generations follow each other without a gap.
    fn heads_from(&self, oldest: u64) -> Result<Vec<Head>> {
        self.check_transaction()?;
        let (mut found, mut unreadable) = (Vec::new(), Vec::new());
        for region in 0..GENERATIONS {
            match self.first_in(region) {
                Ok(Some(head)) if head.generation >= oldest && head.generation % GENERATIONS != region => {
                    return Err(damaged(&format!("generation {} lies in region {region}", head.generation)));
                }
                Ok(head) => found.extend(head.filter(|head| head.generation >= oldest)),
                Err(error) if error.is_damage() => unreadable.push((region, error)),
                Err(error) => return Err(error),
            }
        }
        found.sort_unstable_by_key(|head| head.generation);
        let next = found.last().map_or(oldest, |newest| newest.generation + 1);
        match unreadable.into_iter().find(|(region, _)| (oldest..=next).any(|one| one % GENERATIONS == *region)) {
            Some((_, error)) => Err(error),
            None => Ok(found),
        }
    }

    /// Whose groups lie in a region.
    fn generation_in(&self, region: u64) -> Result<Option<u64>> {
        Ok(self.first_in(region)?.map(|head| head.generation))
    }

    fn has_cell(&self, cell: i64) -> Result<bool> {
        let mut statement = self.connection.prepare_cached("SELECT 1 FROM journal WHERE cell = ?1")?;
        Ok(statement.query_row([cell], |_| Ok(())).optional()?.is_some())
    }

    /// The first group of a region.
    fn first_in(&self, region: u64) -> Result<Option<Head>> {
        let cell = first_cell(region);
        if !self.has_cell(cell)? {
            return Ok(None);
        }
        // Of the cell only the page that has it.
        let blob = self.connection.blob_open("main", "journal", "bytes", cell, true);
        let blob = blob.map_err(|error| damaged(&format!("cell {cell}: {error}")))?;
        let mut bytes = [0; HEAD_BYTES];
        let count = blob.read_at(&mut bytes, 0)?;
        let Some((head, _)) = head_of(&bytes[..count])? else { return Ok(None) };
        Ok(Some(head))
    }

    fn replay_generation(&self, from: Place, show: &mut dyn FnMut(&Group<'_>, Place) -> Result<()>) -> Result<Place> {
        let first = first_cell(from.generation);
        let mut statement = self
            .connection
            .prepare_cached("SELECT cell, bytes FROM journal WHERE cell BETWEEN ?1 AND ?2 ORDER BY cell")?;
        let next_cell = cell_at(first, from.at);
        let rows = statement.query([next_cell, first | ((1 << REGION_BITS) - 1)])?;
        let mut reading = Reading { rows, next_cell, bytes: Vec::new(), read: 0 };
        reading.fill(1)?;
        reading.read = (from.at as usize % CELL_BYTES).min(reading.bytes.len());
        let mut place = from;
        loop {
            reading.fill(HEAD_BYTES)?;
            let Some((_, length)) = head_of(reading.rest())? else { return Ok(place) };
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            reading.fill(length)?;
            let bytes = reading.rest().get(..length).ok_or_else(|| damaged("its last group is cut off"))?;
            let group = Group::parse(bytes)?;
            let head = group.head;
            if (head.generation, head.seq) != (place.generation, place.seq.wrapping_add(1)) {
                return Err(damaged(&format!(
                    "group {} of generation {} follows {} of {}",
                    head.seq, head.generation, place.seq, place.generation
                )));
            }
            place = Place { at: place.at + length as u64, seq: head.seq, ..place };
            show(&group, place)?;
            reading.read += length;
        }
    }
}

/// How many cells a generation may need.
pub(super) fn region_cells(journal_bytes_max: u64) -> u64 {
    match journal_bytes_max / GENERATIONS {
        0 => 0,
        // The last group may end in the middle of a cell.
        bytes => bytes.div_ceil(CELL_BYTES as u64) + 1,
    }
}

/// What a cell counts for in a sweep: so many rows have about its pages.
const CELL_ROWS: usize = 8;

/// Cells of each region that are there on a disk that is soon short of room: deletions go into them.
const CELLS_WHEN_FILLING: u64 = 2;

impl Base {
    /// While the disk is soon short of room, generations are small, and the sweeper gives back what they do not need of the journal.
    pub fn keep_few_cells(&mut self, is_disk_filling: bool) {
        self.kept_cells = is_disk_filling.then_some(CELLS_WHEN_FILLING);
    }

    /// Makes the first cells of all regions, as long as there is room for them: within the present transaction.
    pub fn make_first_cells(&self) -> Result<()> {
        self.check_writing()?;
        for region in 0..GENERATIONS {
            let writing = Writing { base: self, region: first_cell(region), at: 0, blob: None };
            writing.make_cells(CELLS_WHEN_FILLING.min(self.journal_cells) * CELL_BYTES as u64)?;
        }
        Ok(())
    }

    /// Removes cells that no generation needs any more, the last ones first. Returns how many rows of a sweep that comes to: 0 when there are
    /// none.
    pub(super) fn sweep_journal(&self, rows_max: usize) -> Result<usize> {
        let mut swept = 0;
        for region in 0..GENERATIONS {
            let (first, last) = (first_cell(region), first_cell(region) | ((1 << REGION_BITS) - 1));
            let kept = self.kept_cells.unwrap_or(u64::MAX).min(self.journal_cells);
            let unneeded = first + kept.cast_signed();
            let mut statement =
                self.connection.prepare_cached("SELECT 1 FROM journal WHERE cell BETWEEN ?1 AND ?2 LIMIT 1")?;
            if swept == rows_max || statement.query_row([unneeded, last], |_| Ok(())).optional()?.is_none() {
                continue;
            }
            let merged = self.merged()?.generation;
            if self.generation_in(region)?.is_none_or(|generation| generation <= merged) {
                let cells_max = (rows_max - swept).div_ceil(CELL_ROWS);
                let sql = "DELETE FROM journal WHERE cell IN
                           (SELECT cell FROM journal WHERE cell BETWEEN ?1 AND ?2 ORDER BY cell DESC LIMIT ?3)";
                let removed = self.connection.prepare_cached(sql)?.execute(params![unneeded, last, cells_max])?;
                swept = (swept + removed * CELL_ROWS).min(rows_max);
            }
        }
        Ok(swept)
    }
}

/// Bytes on their way into the cells of a region.
struct Writing<'a> {
    base: &'a Base,
    region: i64,
    at: u64,
    /// With its cell.
    blob: Option<(i64, Blob<'a>)>,
}

impl Writing<'_> {
    /// Makes the cells that so many bytes need and that are not there yet. Only at its beginning a cell can be missing.
    fn make_cells(&self, count: u64) -> Result<()> {
        let first_begin = self.at.next_multiple_of(CELL_BYTES as u64);
        for begin in (first_begin..self.at + count).step_by(CELL_BYTES) {
            self.base
                .connection
                .prepare_cached("INSERT OR IGNORE INTO journal (cell, bytes) VALUES (?1, ?2)")?
                .execute(params![cell_at(self.region, begin), ZeroBlob(CELL_BYTES as u64)])?;
        }
        Ok(())
    }

    fn is_within_cell(&self) -> bool {
        let used = self.at as usize % CELL_BYTES;
        used > 0 && used + END.len() <= CELL_BYTES
    }

    /// Whether the cell is there in which the last byte of the end would lie.
    fn has_cell(&self) -> Result<bool> {
        let cell = cell_at(self.region, self.at + END.len() as u64 - 1);
        self.base.has_cell(cell)
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let used = self.at as usize % CELL_BYTES;
            let (piece, rest) = bytes.split_at(bytes.len().min(CELL_BYTES - used));
            let cell = cell_at(self.region, self.at);
            match &mut self.blob {
                Some((open, blob)) if *open != cell => {
                    blob.reopen(cell)?;
                    *open = cell;
                }
                Some(_) => {}
                None => {
                    let blob = self.base.connection.blob_open("main", "journal", "bytes", cell, false)?;
                    self.blob = Some((cell, blob));
                }
            }
            let (_, blob) = self.blob.as_mut().expect("just opened");
            blob.write_all_at(piece, used)?;
            self.at += piece.len() as u64;
            bytes = rest;
        }
        Ok(())
    }
}

/// The bytes of a region, as many cells at a time as a group has.
struct Reading<'a> {
    rows: Rows<'a>,
    next_cell: i64,
    bytes: Vec<u8>,
    /// So many of `bytes` were read.
    read: usize,
}

impl Reading<'_> {
    /// Until there are so many bytes to be read, or no further cell. What a head says is believed as far as cells are there.
    fn fill(&mut self, count: usize) -> Result<()> {
        while self.bytes.len() - self.read < count {
            let Some(row) = self.rows.next()? else { return Ok(()) };
            if row.get::<_, i64>(0)? != self.next_cell {
                return Err(damaged(&format!("cell {} is missing", self.next_cell)));
            }
            self.bytes.drain(..self.read);
            self.read = 0;
            self.bytes.extend_from_slice(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?);
            self.next_cell += 1;
        }
        Ok(())
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.read..]
    }
}

fn first_cell(generation: u64) -> i64 {
    ((generation % GENERATIONS) << REGION_BITS).cast_signed()
}

fn cell_at(first: i64, at: u64) -> i64 {
    first + (at / CELL_BYTES as u64).cast_signed()
}

fn damaged(what: &str) -> StorageError {
    StorageError::Corrupt(format!("the journal: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::fixture::{Fixture, NOW_MS};
    use crate::storage::journal::encode;
    use crate::storage::rows::{Batch, Origin, Row, RowKey};

    /// A group of one chunk of so many bytes, all of them `seq`.
    fn group(generation: u64, seq: u64, bytes: usize) -> Vec<u8> {
        let mut batch = Batch::default();
        batch.put(RowKey::chunk(1, seq), Row::Chunk(&vec![seq as u8; bytes]), Origin::Absent).unwrap();
        let mut out = Vec::new();
        encode(&mut out, &Head { generation, seq, boot: 5 }, &[(seq, 1)], &batch);
        out
    }

    /// What a test has committed.
    struct Journal {
        fixture: Fixture,
        end: Place,
    }

    impl Journal {
        fn new() -> Self {
            Self { fixture: Fixture::new(), end: Place { generation: 1, at: 0, seq: 0 } }
        }

        fn append(&mut self, bytes: usize) {
            let group = group(self.end.generation, self.end.seq + 1, bytes);
            self.fixture.write(|keyspace| keyspace.append(self.end.generation, self.end.at, &group).unwrap());
            self.end.at += group.len() as u64;
            self.end.seq += 1;
        }

        fn begin_generation(&mut self) {
            self.end = Place { generation: self.end.generation + 1, at: 0, ..self.end };
        }

        fn merge(&mut self, generation: u64, seq: u64) {
            self.fixture.write(|keyspace| {
                keyspace.store_merged(&Merged { generation, seq, ahead: 0 }).unwrap();
            });
        }

        fn replay_behind(&self, place: Option<Place>) -> Result<(Vec<u64>, Place)> {
            let mut reader = self.fixture.reader();
            reader.begin_read(NOW_MS).unwrap();
            let place = place.map_or_else(|| reader.merged().map(|merged| merged.place()), Ok)?;
            let mut shown = Vec::new();
            let end = reader.replay(place, &mut |group, place| {
                assert_eq!(group.tickets().collect::<Vec<_>>(), [(group.head.seq, 1)]);
                let change = group.changes().next().unwrap()?;
                let Some(Row::Chunk(bytes)) = change.row else { panic!("{change:?}") };
                assert!(bytes.iter().all(|byte| *byte == group.head.seq as u8));
                assert_eq!((group.head.generation, group.head.seq), (place.generation, place.seq));
                shown.push(group.head.seq);
                Ok(())
            })?;
            Ok((shown, end))
        }

        fn replay(&self) -> Vec<u64> {
            let (shown, end) = self.replay_behind(None).unwrap();
            if !shown.is_empty() {
                assert_eq!(end, self.end);
            }
            shown
        }
    }

    #[test]
    fn groups_come_back_in_order_from_all_generations_that_are_not_merged() {
        let mut journal = Journal::new();
        assert!(journal.replay().is_empty());
        for generation in 1..=11u64 {
            let first = journal.end.seq + 1;
            // Smaller and smaller regions leave old groups behind the new ones.
            for n in 0..20 - generation {
                journal.append([10, 3000, 40_000, 0, 100_000][n as usize % 5]);
            }
            let merged = generation.saturating_sub(3);
            assert!(journal.replay().is_sorted());
            let (after_first, _) = journal
                .replay_behind(Some(Place { generation: generation - 1, at: u64::MAX, seq: first - 1 }))
                .unwrap();
            assert_eq!(after_first, (first..=journal.end.seq).collect::<Vec<_>>());
            let first_unmerged = (1..=merged).map(|generation| 20 - generation).sum::<u64>() + 1;
            journal.merge(merged, first_unmerged - 1);
            assert_eq!(journal.replay(), (first_unmerged..=journal.end.seq).collect::<Vec<_>>());
            journal.begin_generation();
        }
        journal.merge(11, journal.end.seq);
        assert!(journal.replay().is_empty());
    }

    #[test]
    fn a_group_may_end_anywhere_in_a_cell() {
        let empty = group(1, 1, 0).len();
        for left in (0..60).chain([CELL_BYTES - 1, CELL_BYTES]) {
            let mut journal = Journal::new();
            // Old groups behind, in the next cell too; or no next cell.
            for is_first in [true, false] {
                if !is_first {
                    (0..3).for_each(|_| journal.append(CELL_BYTES - 500));
                    journal.merge(4, journal.end.seq);
                    journal.end = Place { generation: 5, at: 0, ..journal.end };
                }
                let before = journal.end.seq;
                // Two more bytes say how long such a value is.
                journal.append(2 * CELL_BYTES - empty - 2 - left);
                assert_eq!(journal.end.at % CELL_BYTES as u64, ((2 * CELL_BYTES - left) % CELL_BYTES) as u64);
                assert_eq!(journal.replay(), [before + 1], "{left}");
                journal.append(40);
                assert_eq!(journal.replay(), [before + 1, before + 2], "{left}");
            }
        }
    }

    #[test]
    fn what_is_rolled_back_leaves_its_place_free_and_the_rest_can_be_read_from_any_place() {
        let mut journal = Journal::new();
        let mut places = vec![journal.end];
        for _ in 0..5 {
            let lost = group(1, 77, 90_000);
            journal.fixture.writer.begin_write(NOW_MS).unwrap();
            journal.fixture.writer.append(1, journal.end.at, &lost).unwrap();
            journal.fixture.writer.rollback().unwrap();
            journal.append(30_000);
            places.push(journal.end);
        }
        for (number, place) in places.into_iter().enumerate() {
            let (shown, end) = journal.replay_behind(Some(place)).unwrap();
            assert_eq!(shown, (number as u64 + 1..=5).collect::<Vec<_>>());
            assert_eq!(end, journal.end);
        }
    }

    #[test]
    fn what_is_no_sequence_of_groups_is_damage() {
        let damaged = |sql: &str| {
            let mut journal = Journal::new();
            (0..4).for_each(|_| journal.append(20_000));
            journal.begin_generation();
            journal.append(10);
            journal.fixture.writer.connection().execute_batch(sql).unwrap();
            journal.replay_behind(None)
        };
        let first = 1i64 << REGION_BITS;
        assert!(damaged("").is_ok());
        for sql in [
            format!("DELETE FROM journal WHERE cell = {}", first + 1),
            format!("DELETE FROM journal WHERE cell >= {}", first + 1),
            format!("UPDATE journal SET bytes = x'0102030405' WHERE cell = {first}"),
            format!("UPDATE journal SET bytes = 'text' WHERE cell = {first}"),
            format!("UPDATE journal SET cell = {} WHERE cell = {}", 3i64 << REGION_BITS, 2i64 << REGION_BITS),
            "UPDATE merged SET seq = 3".into(),
            "UPDATE merged SET generation = 1".into(),
            "DELETE FROM merged".into(),
        ] {
            let found = damaged(&sql);
            assert!(matches!(found, Err(StorageError::Corrupt(_))), "{sql}: {found:?}");
        }
    }

    #[test]
    fn a_damaged_region_is_of_no_account_where_nothing_waits_in_it() {
        for region in 0..GENERATIONS {
            let mut journal = Journal::new();
            for generation in 1..=5 {
                journal.append(10);
                if generation < 5 {
                    journal.begin_generation();
                }
            }
            let damage = format!("UPDATE journal SET bytes = 'text' WHERE cell = {}", region << REGION_BITS);
            journal.fixture.writer.connection().execute_batch(&damage).unwrap();
            // Generations 4 and 5 wait; whether a 6 does, only its region says.
            journal.merge(3, 3);
            assert_eq!(journal.replay_behind(None).is_ok(), region == 3, "{region}");
            journal.merge(4, 4);
            assert_eq!(journal.replay_behind(None).is_ok(), [0, 3].contains(&region), "{region}");
            journal.merge(5, 5);
            assert_eq!(journal.replay_behind(None).is_ok(), region != 2, "{region}");
        }
    }

    #[test]
    fn cells_of_a_larger_budget_are_given_back_once_their_generation_is_merged() {
        let mut journal = Journal::new();
        for _ in 0..5 {
            (0..9).for_each(|_| journal.append(CELL_BYTES));
            journal.begin_generation();
        }
        journal.merge(3, 27);
        let cells = |journal: &Journal| {
            let sql = "SELECT group_concat(cells) FROM (SELECT count(*) AS cells FROM journal GROUP BY cell >> 32)";
            journal.fixture.writer.connection().query_row(sql, [], |row| row.get::<_, Option<String>>(0)).unwrap()
        };
        let sweep = |journal: &mut Journal| {
            while journal.fixture.write(|keyspace| keyspace.sweep_orphans(20)).unwrap() > 0 {}
        };
        journal.fixture.writer.journal_cells = 3;
        sweep(&mut journal);
        // Generations 4 and 5 wait, 2 and 3 do not.
        assert_eq!(cells(&journal).unwrap(), "10,10,3,3");
        assert_eq!(journal.replay_behind(None).unwrap().0, (28..=45).collect::<Vec<_>>());
        // Room that is needed again is made again.
        journal.append(5 * CELL_BYTES);
        journal.append(10);
        assert_eq!(journal.replay(), (28..=47).collect::<Vec<_>>());
        journal.fixture.writer.journal_cells = region_cells(0);
        journal.merge(6, 47);
        sweep(&mut journal);
        assert_eq!(cells(&journal), None);
        assert!(journal.replay().is_empty());
        assert_eq!(region_cells(4 << 20), (1 << 20) / CELL_BYTES as u64 + 1);
    }

    #[test]
    fn a_person_sees_what_waits() {
        let mut journal = Journal::new();
        let waiting = |journal: &Journal| -> i64 {
            let sql = "SELECT generations FROM waiting_for_merge";
            journal.fixture.writer.connection().query_row(sql, [], |row| row.get(0)).unwrap()
        };
        assert_eq!(waiting(&journal), 0);
        for generation in 1..=9 {
            (0..3).for_each(|_| journal.append(20_000));
            assert_eq!(waiting(&journal), 1);
            journal.begin_generation();
            journal.append(1);
            assert_eq!(waiting(&journal), 2);
            journal.merge(generation, journal.end.seq - 1);
            assert_eq!(waiting(&journal), 1);
        }
        journal.merge(300, journal.end.seq);
        assert_eq!(waiting(&journal), 0);
    }

    #[test]
    fn how_far_the_tables_are_is_seen_as_of_the_snapshot() {
        let mut fixture = Fixture::new();
        let mut reader = fixture.reader();
        reader.begin_read(NOW_MS).unwrap();
        assert_eq!(reader.merged().unwrap(), Merged::default());
        let merged = Merged { generation: 2, seq: u64::MAX, ahead: 3 };
        fixture.write(|keyspace| {
            keyspace.store_merged(&merged).unwrap();
            assert_eq!(keyspace.merged().unwrap(), merged);
        });
        assert_eq!(reader.merged().unwrap(), Merged::default());
        reader.renew_snapshot().unwrap();
        assert_eq!(reader.merged().unwrap(), merged);
        reader.end_read().unwrap();
        assert!(reader.merged().is_err() && reader.replay(merged.place(), &mut |_, _| Ok(())).is_err());
    }
}
