//! Verifies what has elements: what is packed can be read and is counted right, rows of elements belong to a key that counts them, what
//! lies apart belongs to one element.

use std::collections::HashMap;

use rusqlite::OptionalExtension;

use super::base::Base;
use super::check::{Collection, Report, Walk};
use super::check_lists::list_fits;
use super::check_streams::stream_fits;
use crate::storage::error::Result;
use crate::storage::keyspace::{Encoding, Packed};
use crate::storage::rows::Kind;

/// The tables of elements, and whose they are.
const TABLES: [(&str, Kind); 7] = [
    ("hash_field", Kind::Hash),
    ("set_member", Kind::Set),
    ("list_item", Kind::List),
    ("list_count", Kind::List),
    ("sorted_member", Kind::SortedSet),
    ("stream_entry", Kind::Stream),
    ("stream_group", Kind::Stream),
];

impl Base {
    /// Whether the value of a collection's row is what the rest of the row says.
    pub(super) fn collection_fits(&self, kind: Kind, id: Option<i64>, length: u64, slot: i64) -> Result<bool> {
        let mut statement = self.connection.prepare_cached("SELECT value FROM keyspace WHERE slot = ?1")?;
        let value: Option<Vec<u8>> = statement.query_row([slot], |columns| columns.get(0)).optional()?.flatten();
        let Some(value) = value else { return Ok(false) };
        if kind == Kind::List {
            return Ok(list_fits(&value, id, length));
        }
        if kind == Kind::Stream {
            return Ok(stream_fits(&value, id, length));
        }
        let has_encoding = Packed::new(kind, &value).encoding().is_ok();
        if id.is_some() {
            return Ok(has_encoding && value.len() == 1);
        }
        if kind == Kind::SortedSet && !are_sorted(Packed::new(kind, &value)) {
            return Ok(false);
        }
        let mut names = Vec::new();
        for element in Packed::new(kind, &value).elements() {
            let Ok((name, _)) = element else { return Ok(false) };
            names.push(name);
        }
        let count = names.len();
        let is_sorted =
            matches!(Packed::new(kind, &value).encoding(), Ok(Encoding::Intset)).then(|| numbers_rise(&names));
        names.sort_unstable();
        names.dedup();
        Ok(has_encoding && count as u64 == length && count > 0 && names.len() == count && is_sorted != Some(false))
    }

    pub(super) fn verify_elements(&self, report: &mut Report, walk: &mut Walk) -> Result<()> {
        let mut counted: HashMap<i64, u64> = HashMap::new();
        for (table, kind) in TABLES {
            let mut statement = self.connection.prepare(&format!("SELECT id, count(*) FROM {table} GROUP BY id"))?;
            let mut rows = statement.query([])?;
            while let Some(columns) = rows.next()? {
                let (id, count) = (columns.get(0)?, columns.get(1)?);
                if !walk.are_accounted_for(id, |of| of == kind) {
                    report.complain(format!("value {id}: its rows in {table} belong to no key"));
                }
                counted.insert(id, count);
            }
            if table != "list_count" {
                self.verify_apart(table, report, walk)?;
            }
        }
        for table in ["stream_consumer", "stream_consumer_name"] {
            self.verify_apart(table, report, walk)?;
        }
        self.verify_owners(report, walk)?;
        for (id, &Collection { kind, length, slot }) in walk.whole_collections() {
            if kind == Kind::List {
                self.verify_list(id, length, slot, report)?;
                continue;
            }
            if kind == Kind::Stream {
                self.verify_stream((id, length, slot), report, walk)?;
                continue;
            }
            let found = counted.get(&id).copied().unwrap_or(0);
            if found != length {
                report.complain(format!("value {id}: a {kind:?} of {length} elements has {found} rows"));
            }
        }
        Ok(())
    }
}

impl Base {
    fn verify_apart(&self, table: &str, report: &mut Report, walk: &mut Walk) -> Result<()> {
        let sql = format!("SELECT id, apart FROM {table} WHERE apart IS NOT NULL");
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(columns) = rows.next()? {
            let (collection, id) = (columns.get(0)?, columns.get(1)?);
            // Changes of what is deleted in the same group are not written: its rows may still name what they no longer had.
            if walk.orphan_values.contains(&collection) && walk.orphan_values.contains(&id) {
                continue;
            }
            if !walk.ids.insert(id) && !walk.unmerged.ids.contains(&id) {
                report.complain(format!("value {id}: belongs to an element of {table} and to something else"));
            }
        }
        Ok(())
    }
}

fn are_sorted(packed: Packed<'_>) -> bool {
    let mut last: Option<(f64, &[u8])> = None;
    packed.scores().all(|member| {
        let Ok((name, score)) = member else { return false };
        last.replace((score, name)).is_none_or(|(before, other)| before < score || before == score && other < name)
    })
}

fn numbers_rise(names: &[&[u8]]) -> bool {
    let number = |name: &[u8]| std::str::from_utf8(name).ok().and_then(|text| text.parse::<i64>().ok());
    names.iter().all(|name| number(name).is_some()) && names.windows(2).all(|two| number(two[0]) < number(two[1]))
}
