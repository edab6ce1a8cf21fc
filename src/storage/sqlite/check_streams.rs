//! Verifies streams: from the first entry on there are as many rows as the key's row counts, before it only what the sweeper knows of; groups
//! have the consumers and pending entries that their rows count, once by entry and once by consumer.

use std::collections::HashSet;

use rusqlite::{OptionalExtension, params};

use super::base::Base;
use super::check::{Report, Walk};
use super::elements::signed;
use crate::storage::error::Result;
use crate::storage::keyspace::StreamHead;
use crate::storage::rows::{Head, KeyRow, Kind};

/// What lies under the ids of groups.
const TABLES: [&str; 4] = ["stream_consumer", "stream_consumer_name", "stream_pending", "stream_owned"];

/// Whether the value of a stream's row can be read.
pub(super) fn stream_fits(value: &[u8], id: Option<i64>, length: u64) -> bool {
    head_of(value, id, length).is_some()
}

fn head_of(value: &[u8], id: Option<i64>, length: u64) -> Option<StreamHead> {
    let head = Head { kind: Kind::Stream, id, expires_at_ms: None, length };
    StreamHead::read(&KeyRow { head, value: Some(value) }).ok()
}

impl Base {
    /// `slot`: of its key's row.
    pub(super) fn verify_stream(
        &self,
        (id, length, slot): (i64, u64, i64),
        report: &mut Report,
        walk: &Walk,
    ) -> Result<()> {
        let mut statement = self.connection.prepare_cached("SELECT value FROM keyspace WHERE slot = ?1")?;
        let value: Option<Vec<u8>> = statement.query_row([slot], |row| row.get(0)).optional()?.flatten();
        // One that does not fit is told of where it lies.
        let Some(head) = value.and_then(|value| head_of(&value, Some(id), length)) else { return Ok(()) };
        let (ms, seq) = (signed(head.first.ms), signed(head.first.seq));
        let count = |sql: &str| -> Result<u64> {
            let mut statement = self.connection.prepare_cached(sql)?;
            Ok(statement.query_row(params![id, ms, seq], |row| row.get(0))?)
        };
        let swept = "(SELECT 1 FROM orphan WHERE what = 'entries' AND number = ?1 AND (ms, stream_entry.seq) <= (position, orphan.seq))";
        let alive = if length == 0 { format!("NOT EXISTS {swept}") } else { "(ms, seq) >= (?2, ?3)".to_owned() };
        let found =
            count(&format!("SELECT count(*) FROM stream_entry WHERE id = ?1 AND ?2 = ?2 AND ?3 = ?3 AND {alive}"))?;
        if found != length {
            report.complain(format!("value {id}: a stream of {length} entries has {found} rows"));
        }
        let left = count(&format!(
            "SELECT count(*) FROM stream_entry WHERE id = ?1 AND (ms, seq) < (?2, ?3) AND NOT EXISTS {swept}"
        ))?;
        if left > 0 {
            report.complain(format!("value {id}: a stream has {left} rows before its first entry that nobody sweeps"));
        }
        self.verify_groups(id, head.groups, report, walk)
    }

    fn verify_groups(&self, id: i64, count: u64, report: &mut Report, walk: &Walk) -> Result<()> {
        let mut statement = self.connection.prepare_cached("SELECT apart, value FROM stream_group WHERE id = ?1")?;
        let groups = statement.query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let groups: Vec<(i64, Vec<u8>)> = groups.collect::<rusqlite::Result<_>>()?;
        if groups.len() as u64 != count {
            report.complain(format!("value {id}: a stream of {count} groups has {} rows of them", groups.len()));
        }
        for (group, value) in groups.into_iter().filter(|(group, _)| !walk.unmerged.ids.contains(group)) {
            let text = String::from_utf8_lossy(&value).into_owned();
            let said: Vec<u64> = text.split(' ').skip(2).take(2).filter_map(|word| word.parse().ok()).collect();
            let rows = |sql: &str| -> Result<u64> {
                Ok(self.connection.prepare_cached(sql)?.query_row([group], |row| row.get(0))?)
            };
            let found = [
                rows("SELECT count(*) FROM stream_pending WHERE id = ?1")?,
                rows("SELECT count(*) FROM stream_consumer WHERE id = ?1")?,
            ];
            let again = [
                rows("SELECT count(*) FROM stream_owned WHERE id = ?1")?,
                rows("SELECT count(*) FROM stream_consumer_name WHERE id = ?1")?,
            ];
            if said != found || found != again {
                report.complain(format!(
                    "value {group}: a group counts {said:?} pending entries and consumers, and has {found:?}, {again:?}"
                ));
            }
        }
        Ok(())
    }

    /// What belongs to no group.
    pub(super) fn verify_owners(&self, report: &mut Report, walk: &Walk) -> Result<()> {
        let mut statement = self.connection.prepare_cached("SELECT apart FROM stream_group")?;
        let groups = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<HashSet<i64>>>()?;
        for table in TABLES {
            let mut statement = self.connection.prepare(&format!("SELECT DISTINCT id FROM {table}"))?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let id = row.get(0)?;
                if !groups.contains(&id) && !walk.orphan_values.contains(&id) && !walk.unmerged.ids.contains(&id) {
                    report.complain(format!("value {id}: its rows in {table} belong to no group"));
                }
            }
        }
        Ok(())
    }
}
