//! Verifies a whole data file: SQLite's own structure, then everything that this layer promises of its rows, in tables and journal.
//! Changes nothing; for the subcommand `check` and the tests.

use std::collections::{HashMap, HashSet};

use super::base::Base;
use super::schema::{SCHEMA_VERSION, run_missing};
use super::slot_rows::head_of;
use super::slots::{slot_at, space_of};
use super::unmerged::Unmerged;
use crate::storage::error::{Result, StorageError};
use crate::storage::keyspace::DATABASES;
use crate::storage::rows::Kind;

/// What was found in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Keys and expiring keys of each database, as counted: in its table, and in what is not merged yet.
    pub databases: [(u64, u64); DATABASES],
    pub data_bytes: u64,
    /// One sentence each; empty when all is well.
    pub problems: Vec<String>,
}

/// More sentences than anybody reads.
const PROBLEMS_MAX: usize = 100;

/// What the walk over all rows gathers.
#[derive(Default)]
pub(super) struct Walk {
    /// Keys and expiring keys by space.
    counts: HashMap<u16, (u64, u64)>,
    pub(super) ids: HashSet<i64>,
    /// What has rows of elements, by their id.
    pub(super) collections: HashMap<i64, Collection>,
    /// Values and spaces that wait for the sweeper.
    pub(super) orphan_values: HashSet<i64>,
    orphan_spaces: HashSet<i64>,
    pub(super) unmerged: Unmerged,
    /// The slot seen last, and where its run of adjacent slots began.
    run: Option<(i64, i64)>,
}

/// What a key's row says of rows of elements.
pub(super) struct Collection {
    pub(super) kind: Kind,
    pub(super) length: u64,
    /// Of the key's row.
    pub(super) slot: i64,
}

impl Walk {
    /// Whether rows of elements under this id are those of a value of such a kind, or wait for the sweeper; what is being merged may be both.
    pub(super) fn are_accounted_for(&self, id: i64, is_of: impl Fn(Kind) -> bool) -> bool {
        let is_owned = self.collections.get(&id).is_some_and(|collection| is_of(collection.kind));
        is_owned != self.orphan_values.contains(&id) || self.unmerged.ids.contains(&id)
    }

    /// Collections whose rows must be all there: no sweeper and no merge is at them.
    pub(super) fn whole_collections(&self) -> impl Iterator<Item = (i64, &Collection)> {
        self.collections.iter().map(|(id, collection)| (*id, collection)).filter(|(id, collection)| {
            let is_being_swept =
                self.orphan_spaces.contains(&i64::from(space_of(collection.slot))) || self.orphan_values.contains(id);
            !is_being_swept && !self.unmerged.ids.contains(id)
        })
    }
}

impl Report {
    pub(super) fn complain(&mut self, problem: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }
}

impl Base {
    /// Reads everything, in the present read transaction: minutes for a large file.
    pub fn verify(&self) -> Result<Report> {
        let mut report = Report { data_bytes: self.data_bytes()?, ..Report::default() };
        self.verify_structure(&mut report)?;
        self.pretend_migrated()?;
        let (orphan_values, orphan_spaces) = (self.orphans("value")?, self.orphans("space")?);
        let mut walk = Walk { orphan_values, orphan_spaces, ..Walk::default() };
        match self.unmerged() {
            Ok(unmerged) => walk.unmerged = unmerged,
            Err(StorageError::Corrupt(problem)) => report.complain(problem),
            Err(error) => return Err(error),
        }
        for left_out in self.numbers("SELECT count(*) FROM left_out HAVING count(*) > 0")? {
            report.complain(format!("{left_out} changes of rows could not be written: see the table left_out"));
        }
        self.verify_rows(&mut report, &mut walk)?;
        self.verify_databases(&mut report, &walk)?;
        self.verify_expiry(&mut report)?;
        self.verify_elements(&mut report, &mut walk)?;
        self.verify_sorted(&mut report, &walk)?;
        self.verify_chunks(&mut report, &walk)?;
        Ok(report)
    }

    /// A file of an earlier version is looked at as the next start would make it. Whoever reads commits nothing, so nothing of it stays.
    fn pretend_migrated(&self) -> Result<()> {
        let found: u32 = self.connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if found < SCHEMA_VERSION {
            self.connection.pragma_update(None, "query_only", 0)?;
            run_missing(&self.connection, found)?;
        }
        Ok(())
    }

    fn verify_structure(&self, report: &mut Report) -> Result<()> {
        let mut statement = self.connection.prepare(&format!("PRAGMA integrity_check({PROBLEMS_MAX})"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let text: String = row.get(0)?;
            if text != "ok" {
                report.complain(format!("sqlite: {text}"));
            }
        }
        Ok(())
    }

    fn verify_rows(&self, report: &mut Report, walk: &mut Walk) -> Result<()> {
        let mut statement = self
            .connection
            .prepare("SELECT kind, id, expires_at_ms, length, key, length(value), slot FROM keyspace ORDER BY slot")?;
        let mut rows = statement.query([])?;
        while let Some(columns) = rows.next()? {
            let slot: i64 = columns.get(6)?;
            let row = match head_of(columns) {
                Ok(row) => row,
                // One such row says nothing of the others.
                Err(error) if error.is_of_the_call() => {
                    report.complain(format!("slot {slot}: {error}"));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let key = columns.get_ref(4)?.as_blob().map_err(rusqlite::Error::from)?;
            let run_start = match walk.run {
                Some((previous, start)) if previous + 1 == slot => start,
                _ => slot,
            };
            walk.run = Some((slot, run_start));
            let home = slot_at(space_of(slot), self.homes.position(key));
            // A flushed space is swept from its front: nobody looks there any more.
            if (home > slot || home < run_start) && !walk.orphan_spaces.contains(&i64::from(space_of(slot))) {
                report.complain(format!("slot {slot}: a lookup does not find its key"));
            }
            let inline_bytes: Option<u64> = columns.get(5)?;
            let fits = match (row.kind, row.id, inline_bytes) {
                (Kind::String, None, Some(bytes)) => bytes == row.length,
                (Kind::String, id, bytes) => id.is_some() && bytes.is_none(),
                (kind, id, _) => self.collection_fits(kind, id, row.length, slot)?,
            };
            if !fits {
                report.complain(format!("slot {slot}: length and value do not agree"));
            }
            if let Some(id) = row.id
                && row.kind != Kind::String
            {
                walk.collections.insert(id, Collection { kind: row.kind, length: row.length, slot });
            }
            if row.id.is_some_and(|id| !walk.ids.insert(id) && !walk.unmerged.ids.contains(&id)) {
                report.complain(format!("slot {slot}: its value belongs to another key too"));
            }
            let (keys, expires) = walk.counts.entry(space_of(slot)).or_default();
            *keys += 1;
            *expires += u64::from(row.expires_at_ms.is_some());
        }
        Ok(())
    }

    fn verify_databases(&self, report: &mut Report, walk: &Walk) -> Result<()> {
        let mut spaces = HashSet::new();
        for number in 0..DATABASES as u8 {
            let row = self.database_row(number)?;
            let counted = walk.counts.get(&row.space).copied().unwrap_or_default();
            report.databases[usize::from(number)] = self.counted_with_unmerged(number, row.id, walk)?;
            if counted != (row.key_count, row.expires_count) {
                report.complain(format!(
                    "database {number}: {} keys, {} expiring are noted, {} and {} counted",
                    row.key_count, row.expires_count, counted.0, counted.1
                ));
            }
            if !spaces.insert(row.space) {
                report.complain(format!("database {number}: shares its space with another"));
            }
        }
        for &space in walk.counts.keys() {
            if spaces.contains(&space) == walk.orphan_spaces.contains(&i64::from(space)) {
                report.complain(format!("space {space}: its keys belong to no database"));
            }
        }
        Ok(())
    }

    fn counted_with_unmerged(&self, database: u8, space: u64, walk: &Walk) -> Result<(u64, u64)> {
        let space = walk.unmerged.spaces[usize::from(database)].unwrap_or(space);
        let number = self.number_of_space(space)?;
        let (keys, expires) = number.and_then(|number| walk.counts.get(&number).copied()).unwrap_or_default();
        let (more_keys, more_expires) = walk.unmerged.count_changes(self, space)?;
        Ok((keys.saturating_add_signed(more_keys), expires.saturating_add_signed(more_expires)))
    }

    fn verify_expiry(&self, report: &mut Report) -> Result<()> {
        let without_row = "SELECT e.slot FROM expiry e LEFT JOIN keyspace k ON k.slot = e.slot
                           WHERE k.expires_at_ms IS NOT e.expires_at_ms";
        for slot in self.numbers(without_row)? {
            report.complain(format!("slot {slot}: listed to expire without a key of that time"));
        }
        let unlisted = "SELECT k.slot FROM database d
                        JOIN keyspace k ON k.slot BETWEEN d.space << 48 AND (d.space << 48) + 281474976710655
                        WHERE k.expires_at_ms IS NOT NULL
                        AND NOT EXISTS (SELECT 1 FROM expiry e WHERE e.expires_at_ms = k.expires_at_ms AND e.slot = k.slot)";
        for slot in self.numbers(unlisted)? {
            report.complain(format!("slot {slot}: not listed to expire"));
        }
        Ok(())
    }

    fn verify_chunks(&self, report: &mut Report, walk: &Walk) -> Result<()> {
        for id in self.numbers("SELECT DISTINCT place >> 20 FROM chunk")? {
            if walk.ids.contains(&id) == walk.orphan_values.contains(&id) && !walk.unmerged.ids.contains(&id) {
                report.complain(format!("value {id}: belongs to no key"));
            }
        }
        let next_id = self.numbers("SELECT value FROM meta WHERE name = 'next_id'")?;
        let Some(&next_id) = next_id.first() else {
            return Err(StorageError::Corrupt("meta has no next_id".into()));
        };
        let all = walk.ids.iter().chain(&walk.orphan_values).chain(&walk.unmerged.ids);
        if let Some(id) = all.copied().find(|id| *id >= next_id) {
            report.complain(format!("value {id}: its number will be used again"));
        }
        Ok(())
    }

    fn orphans(&self, what: &str) -> Result<HashSet<i64>> {
        Ok(self.numbers(&format!("SELECT number FROM orphan WHERE what = '{what}'"))?.into_iter().collect())
    }

    pub(super) fn numbers(&self, sql: &str) -> Result<Vec<i64>> {
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::fixture::{Fixture, NOW_MS};
    use crate::storage::journal::{Head, encode};
    use crate::storage::rows::Homes;
    use crate::storage::{Expiry, Keyspace, Options, backup, prepare};

    fn problems_after(sql: &str) -> Vec<String> {
        let mut fixture = Fixture::crowded();
        fixture.write(|keyspace| {
            for n in 0..20u8 {
                keyspace.put_string(&[n], &vec![n; usize::from(n)], Expiry::Clear).unwrap();
            }
            keyspace.set_expiry(&[3], Some(NOW_MS + 1)).unwrap();
        });
        fixture.write(|keyspace| assert!(keyspace.delete(&[19]).unwrap()));
        fixture.writer.connection().execute_batch(sql).unwrap();
        fixture.writer.begin_write(NOW_MS).unwrap();
        fixture.writer.verify().unwrap().problems
    }

    #[test]
    fn a_sound_file_has_no_problems_and_each_kind_of_damage_is_found() {
        assert_eq!(problems_after(""), [""; 0]);
        for (damage, problem) in [
            (
                "UPDATE keyspace SET slot = slot + 1000 WHERE slot = (SELECT max(slot) FROM keyspace)",
                "a lookup does not find",
            ),
            ("UPDATE keyspace SET value = x'00', length = 1 WHERE id IS NOT NULL", "do not agree"),
            ("UPDATE keyspace SET id = 1 WHERE id IS NOT NULL", "another key too"),
            ("UPDATE database SET key_count = 7 WHERE number = 0", "counted"),
            ("UPDATE database SET space = 2 WHERE number = 0", "shares its space"),
            ("UPDATE database SET space = 99 WHERE number = 0", "belong to no database"),
            ("DELETE FROM expiry", "not listed to expire"),
            ("UPDATE expiry SET expires_at_ms = 5", "listed to expire without"),
            ("DELETE FROM orphan", "belongs to no key"),
            ("UPDATE keyspace SET kind = 77 WHERE slot = (SELECT min(slot) FROM keyspace)", "unknown kind"),
            ("UPDATE meta SET value = 2 WHERE name = 'next_id'", "used again"),
        ] {
            let found = problems_after(damage);
            assert!(found.iter().any(|text| text.contains(problem)), "{damage}: {found:?}");
        }
    }

    /// A fixture of which a group is committed in the journal alone: what `change` did is not in the tables, but for what it wrote there itself.
    fn unmerged_after(fixture: &mut Fixture, seq: u64, change: impl FnOnce(&mut Keyspace)) {
        let writer = &mut fixture.writer;
        writer.begin_write(NOW_MS).unwrap();
        change(writer);
        let mut group = Vec::new();
        encode(&mut group, &Head { generation: seq, seq, boot: 1 }, &[], &writer.batch);
        writer.append(seq, 0, &group).unwrap();
        Base::commit(writer).unwrap();
        writer.forget_group();
    }

    fn verified(fixture: &Fixture) -> Report {
        let mut reader = fixture.reader();
        reader.set_homes(Homes::crowded(6));
        reader.begin_read(NOW_MS).unwrap();
        reader.verify().unwrap()
    }

    #[test]
    fn what_waits_for_the_merge_counts_and_is_no_problem() {
        let mut fixture = Fixture::crowded();
        let big = [7; 100];
        fixture.write(|keyspace| {
            for n in 0..9u8 {
                keyspace.put_string(&[n], &big[..usize::from(n) * 10], Expiry::Clear).unwrap();
            }
            keyspace.select(1);
            keyspace.put_string(b"flushed", b"x", Expiry::Clear).unwrap();
            keyspace.select(0);
        });
        unmerged_after(&mut fixture, 1, |keyspace| {
            keyspace.put_string(b"new", b"x", Expiry::At(NOW_MS + 9)).unwrap();
            keyspace.put_string(b"large", &big, Expiry::Clear).unwrap();
            assert!(keyspace.delete(&[8]).unwrap() && keyspace.rename(&[7], b"moved").unwrap());
            keyspace.put_string(&[6], b"small", Expiry::Clear).unwrap();
        });
        unmerged_after(&mut fixture, 2, |keyspace| {
            keyspace.select(1);
            keyspace.flush_database().unwrap();
            keyspace.put_string(b"after", b"x", Expiry::Clear).unwrap();
            keyspace.select(0);
            keyspace.set_expiry(&[1], Some(NOW_MS + 5)).unwrap();
        });
        let report = verified(&fixture);
        assert_eq!(report.problems, [""; 0]);
        assert_eq!(report.databases[..3], [(10, 2), (1, 0), (0, 0)]);

        // As in the middle of the first one's merge: what is given up is written, and one of a key's two rows.
        let id: i64 = fixture
            .writer
            .connection()
            .query_row("SELECT id FROM keyspace WHERE key = x'08'", [], |row| row.get(0))
            .unwrap();
        fixture.write(|keyspace| keyspace.give_up_value(id).unwrap());
        let half_merged = verified(&fixture);
        assert_eq!(half_merged, Report { data_bytes: half_merged.data_bytes, ..report });

        // A copy has what waits, and it waits there too.
        let directory = tempfile::tempdir().unwrap();
        let copied = Options::new(directory.path());
        backup::copy(&fixture.options.data_path(), &copied.data_path(), &mut |_| ()).unwrap();
        assert!(prepare(&copied).is_ok_and(|opened| !opened.created));
        let mut copy = Keyspace::open_reader(&copied).unwrap();
        copy.set_homes(Homes::crowded(6));
        copy.begin_read(NOW_MS).unwrap();
        let report = copy.verify().unwrap();
        assert_eq!((report.problems, report.databases), (half_merged.problems, half_merged.databases));
        assert_eq!(copy.replay(copy.merged().unwrap().place(), &mut |_, _| Ok(())).unwrap().seq, 2);

        let damage = |sql: &str| fixture.writer.connection().execute_batch(sql).unwrap();
        damage("INSERT INTO left_out VALUES (1, x'00', NULL, 'for a test')");
        assert!(verified(&fixture).problems.iter().any(|problem| problem.contains("left_out")));
        damage("UPDATE journal SET bytes = x'77777777'");
        assert!(verified(&fixture).problems.iter().any(|problem| problem.contains("the journal")));
    }
}
