//! A generation of the memory as the merge takes it: all its tables, one after the other.

use crate::storage::broken::{self, Variant};
use crate::storage::error::Result;
use crate::storage::memtable::{Frozen, Walk};
use crate::storage::merge::Rows;
use crate::storage::rows::{Origin, Row, RowKey, Table};

/// In the order in which they are applied.
const TABLES: [Table; Table::ALL.len()] = Table::ALL;

pub(super) struct Generation {
    frozen: Frozen,
    table: usize,
    walk: Option<Walk>,
    /// Of no meaning between two rows.
    scratch: Vec<u8>,
}

impl Generation {
    pub(super) fn new(frozen: Frozen) -> Self {
        Self { frozen, table: 0, walk: None, scratch: Vec::new() }
    }
}

impl Clone for Generation {
    fn clone(&self) -> Self {
        Self { frozen: self.frozen, table: self.table, walk: self.walk.clone(), scratch: Vec::new() }
    }
}

impl Rows for Generation {
    fn next(&mut self, show: &mut dyn FnMut(RowKey<'_>, Option<Row<'_>>, Origin) -> Result<()>) -> Result<bool> {
        while let Some(table) = TABLES.get(self.table) {
            let mut walk = match self.walk.take() {
                Some(walk) => walk,
                None => self.frozen.walk(*table)?,
            };
            let found = self.frozen.next(&mut walk, &mut self.scratch)?;
            if let Some(change) = found {
                self.walk = Some(walk);
                if broken::is(Variant::ExpiredMergedAsNothing) && has_ended(change.row) {
                    return Ok(true);
                }
                show(change.key, change.row, change.origin)?;
                return Ok(true);
            }
            self.table += 1;
        }
        Ok(false)
    }
}

fn has_ended(row: Option<Row<'_>>) -> bool {
    matches!(row, Some(Row::Key(row)) if row.head.expires_at_ms.is_some_and(|at| at <= broken::now_ms()))
}
