//! Housekeeping in small steps, each inside a transaction of the caller: keys whose time has passed, rows that nobody
//! can reach any more, pages that nobody uses.

use rusqlite::params;

use super::base::Base;
use super::chunks::places;
use super::slot_rows::head_of;
use super::slots::{first_slot, last_slot, space_of};
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{End, Head, RowKey};

/// What the sweeper is at, and what it leaves alone because it failed there before: one bad row must not keep all others.
#[derive(Debug, Default)]
pub(super) struct Sweeping {
    at: Option<Item>,
    left_alone: Vec<Item>,
    /// What must wait for a merge was passed by up to here; the next step goes on behind it.
    passed_expired: Option<(i64, i64)>,
    passed_orphan: Option<(Orphan, i64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Expired { at_ms: i64, slot: i64 },
    Orphan { what: Orphan, number: i64 },
}

/// What is given up, by the column `what`, in the order of these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Orphan {
    /// Items of a list before its first.
    Before,
    Behind,
    /// Entries of a stream before its first.
    Entries,
    Space,
    /// Chunks or elements.
    Value,
}

impl Orphan {
    pub(super) const ALL: [Self; 5] = [Self::Before, Self::Behind, Self::Entries, Self::Space, Self::Value];

    pub(super) fn items(end: End) -> Self {
        if end == End::Front { Self::Before } else { Self::Behind }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Behind => "behind",
            Self::Entries => "entries",
            Self::Space => "space",
            Self::Value => "value",
        }
    }

    fn of(name: &str) -> Result<Self> {
        let unknown = || StorageError::Corrupt(format!("an orphan of the kind {name}"));
        Self::ALL.into_iter().find(|orphan| orphan.name() == name).ok_or_else(unknown)
    }
}

impl Sweeping {
    fn begin(&mut self, item: Item) -> bool {
        let is_wanted = !self.left_alone.contains(&item);
        if is_wanted {
            self.at = Some(item);
        }
        is_wanted
    }
}

/// With more than this the file is beyond sweeping.
const LEFT_ALONE_MAX: usize = 1000;
/// How much that must wait for a merge is passed by in one step.
const PASSED_MAX: usize = 1000;

impl Base {
    /// After a sweep that failed, and its rollback: what it was at is left alone from now on. False when it was at nothing in
    /// particular, so that the next one would fail like this one.
    pub fn sweep_past_failure(&mut self) -> bool {
        match self.sweeping.at.take() {
            Some(item) if self.sweeping.left_alone.len() < LEFT_ALONE_MAX => {
                self.sweeping.left_alone.push(item);
                true
            }
            _ => false,
        }
    }

    /// Of a new value: its rows come in transactions before the one that gives it an owner.
    pub(in crate::storage) fn make_orphan(&mut self, id: i64) -> Result<()> {
        self.check_writing()?;
        self.give_up_value(id)
    }

    /// Until `end_building` nobody sweeps these orphans.
    pub(in crate::storage) fn begin_building(&mut self, ids: &[i64]) {
        self.building.extend(ids);
    }

    /// They have an owner, or nobody will give them one.
    pub fn end_building(&mut self, ids: &[i64]) {
        ids.iter().for_each(|id| _ = self.building.remove(id));
        self.sweep_from_start();
    }

    /// What waited for a merge need not any more.
    pub(super) fn sweep_from_start(&mut self) {
        (self.sweeping.passed_expired, self.sweeping.passed_orphan) = (None, None);
    }

    /// Removes keys whose time has passed, of all databases, the oldest first, but for those that `is_unmerged` says: of these a newer
    /// row will come, which was written when this one was here. `ended` hears of each, with its database. Returns how many entries of the
    /// index it worked off: 0 when nothing is due.
    pub(in crate::storage) fn sweep_expired(
        &mut self,
        now_ms: i64,
        rows_max: usize,
        is_unmerged: &mut dyn FnMut(RowKey<'_>, &Head) -> Result<bool>,
        ended: &mut dyn FnMut(u8, &[u8]),
    ) -> Result<usize> {
        self.check_writing()?;
        let due: Vec<(i64, i64)> = {
            let after = self.sweeping.passed_expired.unwrap_or((i64::MIN, i64::MIN));
            let mut statement = self.connection.prepare_cached(
                "SELECT expires_at_ms, slot FROM expiry WHERE expires_at_ms <= ?1 AND (expires_at_ms, slot) > (?2, ?3)
                 ORDER BY expires_at_ms, slot LIMIT ?4",
            )?;
            let limit = rows_max + self.sweeping.left_alone.len();
            let rows =
                statement.query_map(params![now_ms, after.0, after.1, limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        if due.is_empty() {
            self.sweeping.passed_expired = None;
        }
        let mut swept = 0;
        for &(at, slot) in &due {
            if swept < rows_max && self.sweeping.begin(Item::Expired { at_ms: at, slot }) {
                match self.sweep_expired_slot(at, slot, is_unmerged, ended)? {
                    true => swept += 1,
                    false => self.sweeping.passed_expired = Some((at, slot)),
                }
            }
        }
        self.sweeping.at = None;
        Ok(swept)
    }

    /// False when the key must wait.
    fn sweep_expired_slot(
        &mut self,
        at: i64,
        slot: i64,
        is_unmerged: &mut dyn FnMut(RowKey<'_>, &Head) -> Result<bool>,
        ended: &mut dyn FnMut(u8, &[u8]),
    ) -> Result<bool> {
        let Some(database) = self.writing()?.owner_of(space_of(slot)) else {
            // Its space was flushed; the row itself is the orphan sweep's.
            return self.unlist_expiry(at, slot).map(|()| true);
        };
        let space = self.writing()?.rows()[usize::from(database)].id;
        let found = {
            let mut statement = self
                .connection
                .prepare_cached("SELECT kind, id, expires_at_ms, length, key FROM keyspace WHERE slot = ?1")?;
            let mut rows = statement.query([slot])?;
            match rows.next()? {
                Some(columns) => {
                    let key = columns.get_ref(4)?.as_blob().map_err(rusqlite::Error::from)?;
                    let name = RowKey::key(space, self.homes.position(key), key);
                    let head = head_of(columns)?;
                    Some((head, is_unmerged(name, &head)?, key.to_vec()))
                }
                None => None,
            }
        };
        // An earlier removal of this step may have moved the row; then the index has it elsewhere now, for the next step.
        let Some((head, is_unmerged, key)) = found.filter(|(head, ..)| head.expires_at_ms == Some(at)) else {
            return Ok(true);
        };
        if is_unmerged {
            return Ok(false);
        }
        // Not announced: the key was gone for everybody before, and a transaction that watches it must not fail for this.
        self.unlist_expiry(at, slot)?;
        head.id.map_or(Ok(()), |id| self.give_up_value(id))?;
        self.remove_row(slot)?;
        self.writing_mut()?.count(database, -1, -1)?;
        ended(database, &key);
        Ok(true)
    }

    /// Removes rows of flushed databases, of deleted values, of trimmed lists and streams, then cells of the journal that nobody needs. Returns how many rows
    /// it worked off: 0 when there is nothing left.
    pub(in crate::storage) fn sweep_orphans(&mut self, rows_max: usize) -> Result<usize> {
        self.check_writing()?;
        let mut swept = 0;
        while swept < rows_max {
            let Some((what, number)) = self.next_orphan()? else { break };
            let left = rows_max - swept;
            let removed = match what {
                Orphan::Space => self.sweep_space(number as u16, left)?,
                Orphan::Value => self.sweep_value(number, left)?,
                Orphan::Before => self.sweep_beyond(number, End::Front, left)?,
                Orphan::Behind => self.sweep_beyond(number, End::Back, left)?,
                Orphan::Entries => self.sweep_trimmed(number, left)?,
            };
            // The orphan's own row counts as one, so a step of many empty ones ends too.
            swept += removed.max(1);
        }
        self.sweeping.at = None;
        Ok(swept + self.sweep_journal(rows_max.saturating_sub(swept))?)
    }

    fn next_orphan(&mut self) -> Result<Option<(Orphan, i64)>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT what, number FROM orphan WHERE (what, number) > (?1, ?2) ORDER BY what, number")?;
        let after = self.sweeping.passed_orphan;
        let (what, number) = after.map_or(("", i64::MIN), |(what, number)| (what.name(), number));
        let mut rows = statement.query(params![what, number])?;
        let mut passed = 0;
        while let Some(row) = rows.next()? {
            let (what, number) = (row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?, row.get(1)?);
            let what = Orphan::of(what)?;
            if self.merging.holds(what, number) || (what == Orphan::Value && self.building.contains(&number)) {
                self.sweeping.passed_orphan = Some((what, number));
                passed += 1;
                if passed == PASSED_MAX {
                    return Ok(None);
                }
            } else if self.sweeping.begin(Item::Orphan { what, number }) {
                return Ok(Some((what, number)));
            }
        }
        // From the start again the next time.
        self.sweeping.passed_orphan = None;
        Ok(None)
    }

    /// Chunks or elements of a deleted value; when none is left its orphan row goes.
    fn sweep_value(&mut self, id: i64, rows_max: usize) -> Result<usize> {
        let (first, last) = places(id);
        let mut removed = self
            .connection
            .prepare_cached(
                "DELETE FROM chunk WHERE place IN (SELECT place FROM chunk WHERE place BETWEEN ?1 AND ?2 LIMIT ?3)",
            )?
            .execute(params![first, last, rows_max])?;
        // What has chunks has no elements, unless it is a group of a stream with a long name.
        removed += match removed {
            0 => self.sweep_elements(id, rows_max)?,
            _ => self.sweep_group(id, rows_max - removed)?,
        };
        if removed < rows_max {
            self.delete_orphan(id)?;
        }
        Ok(removed)
    }

    /// Items of a list beyond one of its ends; when none is left the orphan row goes.
    fn sweep_beyond(&mut self, id: i64, end: End, rows_max: usize) -> Result<usize> {
        let what = Orphan::items(end).name();
        let position = self
            .connection
            .prepare_cached("SELECT position FROM orphan WHERE what = ?1 AND number = ?2")?
            .query_row(params![what, id], |row| row.get(0))?;
        let removed = self.sweep_items(id, end, position, rows_max)?;
        if removed < rows_max {
            self.give_up_items(id, end, None)?;
        }
        Ok(removed)
    }

    /// Entries of a stream before its first; when none is left the orphan row goes.
    fn sweep_trimmed(&mut self, id: i64, rows_max: usize) -> Result<usize> {
        let last = self
            .connection
            .prepare_cached("SELECT position, seq FROM orphan WHERE what = 'entries' AND number = ?1")?
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let removed = self.sweep_entries(id, last, rows_max)?;
        if removed < rows_max {
            self.give_up_entries(id, None)?;
        }
        Ok(removed)
    }

    /// Rows of a flushed space, from its end, with their values and expiry entries; when none is left the space is free.
    fn sweep_space(&mut self, space: u16, rows_max: usize) -> Result<usize> {
        let rows: Vec<(i64, Option<i64>, Option<i64>)> = {
            let mut statement = self.connection.prepare_cached(
                "SELECT slot, id, expires_at_ms FROM keyspace WHERE slot BETWEEN ?1 AND ?2 ORDER BY slot LIMIT ?3",
            )?;
            let rows = statement.query_map(params![first_slot(space), last_slot(space), rows_max], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        for &(slot, id, expires_at_ms) in &rows {
            id.map_or(Ok(()), |id| self.give_up_value(id))?;
            if let Some(at) = expires_at_ms {
                self.unlist_expiry(at, slot)?;
            }
        }
        if let (Some((first, ..)), Some((last, ..))) = (rows.first(), rows.last()) {
            self.connection
                .prepare_cached("DELETE FROM keyspace WHERE slot BETWEEN ?1 AND ?2")?
                .execute([first, last])?;
        }
        if rows.len() < rows_max {
            self.connection
                .prepare_cached("DELETE FROM orphan WHERE what = 'space' AND number = ?1")?
                .execute([space])?;
        }
        Ok(rows.len())
    }

    /// Gives unused pages back to the file system, but for those that are kept. Returns how many.
    pub(in crate::storage) fn vacuum(&mut self, pages_max: u32, kept: Kept) -> Result<u32> {
        self.check_writing()?;
        let number = |name: &str| -> rusqlite::Result<u64> {
            self.connection.prepare_cached(&format!("PRAGMA {name}"))?.query_row([], |row| row.get(0))
        };
        let (unused, all) = (number("freelist_count")?, number("page_count")?);
        let excess = unused.saturating_sub(kept.of(all)).min(u64::from(pages_max)) as u32;
        if excess > 0 {
            let mut statement = self.connection.prepare(&format!("PRAGMA incremental_vacuum({excess})"))?;
            let mut rows = statement.query([])?;
            // Each step frees one page.
            while rows.next()?.is_some() {}
        }
        Ok(excess)
    }
}

/// Unused pages of the file that stay there.
#[derive(Clone, Copy, Debug)]
pub enum Kept {
    Percent(u64),
    Pages(u64),
}

impl Kept {
    fn of(self, all: u64) -> u64 {
        match self {
            Self::Percent(percent) => all * percent / 100,
            Self::Pages(pages) => pages,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Kept;
    use crate::storage::fixture::{Fixture, NOW_MS};
    use crate::storage::{CHUNK_BYTES, Expiry, Keyspace, Lookup, Result};

    #[test]
    fn expired_keys_go_in_bites_and_the_counts_follow() {
        let mut fixture = Fixture::crowded();
        fixture.write(|keyspace| {
            for n in 0..50u8 {
                keyspace.select(n % 3);
                keyspace.put_string(&[n], b"v", Expiry::At(NOW_MS + 1 + i64::from(n % 2) * 100)).unwrap();
            }
        });
        let announced = fixture.announced.clone();
        announced.take();
        assert_eq!(fixture.write(|keyspace| keyspace.sweep_expired(10)).unwrap(), 0, "none is due");
        let mut steps = 0;
        while fixture.write_at(NOW_MS + 1, |keyspace| keyspace.sweep_expired(4)).unwrap() > 0 {
            steps += 1;
            assert_eq!(announced.take(), [], "nobody can see it");
        }
        assert!(steps >= 7, "{steps}");
        fixture.write_at(NOW_MS + 1, |keyspace| {
            assert_eq!(keyspace.next_expiry().unwrap(), Some(NOW_MS + 101));
            let mut left = 0;
            for database in 0..3 {
                keyspace.select(database);
                assert_eq!(keyspace.key_count().unwrap(), keyspace.expires_count().unwrap());
                left += keyspace.key_count().unwrap();
            }
            assert_eq!(left, 25);
        });
    }

    #[test]
    fn flushed_keys_and_deleted_values_go_in_bites_and_the_file_shrinks() {
        let mut fixture = Fixture::new();
        fixture.write(|keyspace| {
            for n in 0..3000u32 {
                keyspace.put_string(&n.to_le_bytes(), &[1; 1000], Expiry::Clear).unwrap();
            }
            keyspace.put_string(b"big", &vec![1; 40 * CHUNK_BYTES], Expiry::At(NOW_MS + 5)).unwrap();
            keyspace.select(1);
            keyspace.put_string(b"big", &vec![1; 40 * CHUNK_BYTES], Expiry::Clear).unwrap();
            assert!(keyspace.delete(b"big").unwrap());
            keyspace.select(0);
            keyspace.flush_database().unwrap();
            assert_eq!((keyspace.key_count().unwrap(), keyspace.string(b"big").unwrap()), (0, Lookup::Absent));
            keyspace.put_string(b"new", b"1", Expiry::Clear).unwrap();
        });
        let full = fixture.write(|keyspace| keyspace.data_bytes()).unwrap();
        loop {
            let swept = fixture.write(|keyspace| keyspace.sweep_orphans(100)).unwrap();
            assert!(swept <= 100);
            if swept == 0 {
                break;
            }
        }
        while fixture.write(|keyspace| keyspace.vacuum(200, Kept::Percent(25))).unwrap() > 0 {}
        fixture.write(|keyspace| {
            assert!(keyspace.data_bytes().unwrap() < full / 10, "{} of {full}", keyspace.data_bytes().unwrap());
            assert_eq!(keyspace.string(b"new").unwrap(), Lookup::Found(b"1".to_vec()));
            assert_eq!(keyspace.next_expiry().unwrap(), None);
            assert_eq!(keyspace.verify().unwrap().problems, [""; 0]);
        });
    }

    #[test]
    fn one_bad_row_does_not_keep_the_sweeper_from_the_others() {
        let mut fixture = Fixture::new();
        fixture.write(|keyspace| {
            for key in [b"a", b"b", b"c", b"d"] {
                keyspace.put_string(key, b"v", Expiry::At(NOW_MS + 1)).unwrap();
            }
            keyspace.select(1);
            keyspace.put_string(b"flushed", b"v", Expiry::Clear).unwrap();
            keyspace.flush_database().unwrap();
            keyspace.spill().unwrap();
            let damage = "UPDATE keyspace SET kind = 77 WHERE key IN (CAST('b' AS BLOB), CAST('c' AS BLOB))";
            assert_eq!(keyspace.connection().execute(damage, []).unwrap(), 2);
            let damage = "UPDATE keyspace SET id = 'x' WHERE key = CAST('flushed' AS BLOB)";
            assert_eq!(keyspace.connection().execute(damage, []).unwrap(), 1);
            keyspace.put_string(b"big", &vec![1; 40 * CHUNK_BYTES], Expiry::Clear).unwrap();
            assert!(keyspace.delete(b"big").unwrap());
        });
        let mut failures = 0;
        let mut sweep = |sweep: &dyn Fn(&mut Keyspace) -> Result<usize>| {
            loop {
                fixture.writer.begin_write(NOW_MS + 1).unwrap();
                match sweep(&mut fixture.writer) {
                    Ok(0) => break fixture.writer.rollback().unwrap(),
                    Ok(_) => fixture.writer.commit().unwrap(),
                    Err(error) => {
                        assert!(error.is_of_the_call(), "{error}");
                        fixture.writer.rollback().unwrap();
                        assert!(fixture.writer.sweep_past_failure());
                        failures += 1;
                    }
                }
            }
        };
        sweep(&|keyspace| keyspace.sweep_expired(3));
        sweep(&|keyspace| keyspace.sweep_orphans(3));
        assert_eq!(failures, 3);
        assert!(!fixture.writer.sweep_past_failure(), "what failed is left alone once");
        let left = |sql: &str| fixture.writer.connection().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(left("SELECT count(*) FROM expiry"), 2);
        assert_eq!(left("SELECT count(*) FROM chunk"), 0);
    }

    #[test]
    fn a_flush_that_finds_no_free_space_sweeps_one_free() {
        let mut fixture = Fixture::new();
        fixture.write(|keyspace| {
            // As after so many flushes that all spaces wait for the sweeper.
            let all = "INSERT INTO orphan (what, number) SELECT 'space', value FROM generate_series";
            let all = all.replace("generate_series", "(WITH RECURSIVE n(value) AS (SELECT 17 UNION ALL SELECT value + 1 FROM n WHERE value < 32767) SELECT value FROM n)");
            keyspace.connection().execute(&all, []).unwrap();
            keyspace.put_string(b"k", b"v", Expiry::Clear).unwrap();
            keyspace.flush_database().unwrap();
            assert_eq!(keyspace.string(b"k").unwrap(), Lookup::Absent);
            keyspace.put_string(b"k", b"w", Expiry::Clear).unwrap();
            assert_eq!(keyspace.string(b"k").unwrap(), Lookup::Found(b"w".to_vec()));
        });
    }

    #[test]
    fn spaces_that_come_and_go_within_a_group_need_no_number_and_leave_no_rows() {
        let mut fixture = Fixture::crowded();
        fixture.write(|keyspace| {
            keyspace.put_string(b"moves", &[1; 30], Expiry::Clear).unwrap();
            keyspace.put_string(b"goes", &[1; 30], Expiry::Clear).unwrap();
        });
        fixture.write(|keyspace| {
            assert!(keyspace.move_key(b"moves", 1).unwrap());
            for _ in 0..1000 {
                keyspace.put_string(b"k", &[2; 20], Expiry::At(NOW_MS + 1)).unwrap();
                keyspace.flush_database().unwrap();
            }
            keyspace.put_string(b"k", b"last", Expiry::Clear).unwrap();
        });
        while fixture.write(|keyspace| keyspace.sweep_orphans(1000)).unwrap() > 0 {}
        fixture.write(|keyspace| {
            assert_eq!(keyspace.string(b"k").unwrap(), Lookup::Found(b"last".to_vec()));
            assert_eq!(keyspace.key_count().unwrap(), 1);
            keyspace.select(1);
            assert_eq!(keyspace.string(b"moves").unwrap(), Lookup::Found(vec![1; 30]));
            keyspace.select(0);
            assert_eq!(keyspace.verify().unwrap().problems, [""; 0]);
            assert_eq!(keyspace.orphans_left().unwrap(), 0);
        });
    }
}
