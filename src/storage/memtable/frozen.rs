//! A generation as the merge takes it: table by table, each row once, with its newest version and its oldest origin.

use super::cursor::Cursor;
use super::memory::Memory;
use super::node::Node;
use super::slot::{Lost, Slot};
use crate::storage::broken::{self, Variant};
use crate::storage::rows::{Origin, Row, RowKey, Table};

/// A generation that is walked by the writer, who alone could recycle it.
#[derive(Clone, Copy)]
pub struct Frozen {
    memory: Memory,
    generation: u64,
    /// Nothing later is shown: groups that are not published.
    seq: u64,
}

/// How far a walk of a table is. A copy of it is a place to go back to.
#[derive(Clone)]
pub struct Walk {
    table: Table,
    cursor: Cursor,
}

/// A row's last change in the generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    pub key: RowKey<'a>,
    /// `None`: it is deleted.
    pub row: Option<Row<'a>>,
    /// What was known below the generation's first version of it.
    pub origin: Origin,
    pub seq: u64,
}

impl Frozen {
    pub(super) fn new(memory: Memory, generation: u64, seq: u64) -> Self {
        Self { memory, generation, seq }
    }

    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// From the table's first row on. Keys come in the order of their positions, those of one space after one another as they lie, but
    /// from some position of the space on and around.
    ///
    /// # Errors
    /// `Lost`: it is no more.
    pub fn walk(&self, table: Table) -> Result<Walk, Lost> {
        let slot = self.slot()?;
        Ok(Walk { table, cursor: Cursor::all(&slot, table)? })
    }

    /// The next row; its bytes go to `scratch`.
    ///
    /// # Errors
    /// `Lost`: it is no more.
    pub fn next<'a>(&self, walk: &mut Walk, scratch: &'a mut Vec<u8>) -> Result<Option<Change<'a>>, Lost> {
        let slot = self.slot()?;
        loop {
            let Some(node) = walk.cursor.next(&slot)? else { return Ok(None) };
            if let Some(found) = self.show(&slot, node, scratch)? {
                let (tail_bytes, is_deleted, seq, origin) = found;
                slot.check()?;
                let (tail, row) = scratch.split_at(tail_bytes);
                let key = RowKey::new(walk.table, node.fields, tail);
                let row = match is_deleted {
                    true => None,
                    false => Some(Row::checked(walk.table, row).ok_or(Lost)?),
                };
                return Ok(Some(Change { key, row, origin, seq }));
            }
        }
    }

    fn show(
        &self,
        slot: &Slot<'_>,
        node: Node,
        scratch: &mut Vec<u8>,
    ) -> Result<Option<(usize, bool, u64, Origin)>, Lost> {
        let seq = if broken::is(Variant::RowAboveSequenceMerged) { u64::MAX } else { self.seq };
        let Some(version) = node.version(slot, seq)? else { return Ok(None) };
        scratch.clear();
        node.tail(slot, scratch)?;
        let tail_bytes = scratch.len();
        version.copy(slot, usize::MAX, scratch)?;
        Ok(Some((tail_bytes, version.is_deleted, version.seq, node.origin(slot)?)))
    }

    fn slot(&self) -> Result<Slot<'_>, Lost> {
        let slot = self.memory.slot(self.generation).ok_or(Lost)?;
        slot.check().map(|()| slot)
    }
}
