//! Big strings: rows of equal size under the value's id, so that a change inside costs one of them, and a removal only
//! the key's row. What is missing of a chunk, at its end or the whole row, is zero bytes.

use std::ops::ControlFlow;

use super::keyspace::{Keyspace, Store};
use super::list_window::ListShape;
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{Head, Kind, Name, Origin, Part, Range, Row, RowKey};

/// Strings up to this length lie in their key's row; longer ones in chunks.
pub const INLINE_BYTES_MAX: usize = 16 * 1024;

/// A change inside a big string rewrites whole chunks, so this is what SETBIT costs at most.
pub const CHUNK_BYTES: usize = 8 * 1024;

/// So many chunks can a value have: what their numbers can count in the file.
const CHUNKS_MAX: u64 = 1 << 20;

/// Where a string's bytes lie. Part of the file format; tests use a smaller one.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub inline_bytes_max: usize,
    pub chunk_bytes: usize,
    /// From so many bytes on a new value is written ahead of the batch. No part of the format.
    pub ahead_bytes_min: usize,
    /// The same of a collection's elements.
    pub ahead_elements_min: u64,
    /// A change of more elements takes long.
    pub long_elements_min: u64,
    /// A collection of up to so many elements and bytes lies in its key's row. No part of the format.
    pub packed_elements_max: u64,
    pub packed_bytes_max: usize,
    /// A longer name of an element is shortened in its row's key.
    pub name_bytes_max: usize,
    /// A longer element lies apart. No part of the format.
    pub element_bytes_max: usize,
    pub list: ListShape,
    /// So many items that are removed at an end of a list are deleted; of more only the place of the end is written.
    pub list_deletes_max: u64,
    /// An item so near to an end of a list comes or goes by moving those between it and the end.
    pub list_moves_max: u64,
    /// Rows of a count, and counts of a sum; twice as many are divided. No part of the format.
    pub count_rows: u64,
    /// The greatest label of a long member of a sorted set, and how far from the next one a label at the end is. No part of the format.
    pub label_max: u64,
    pub label_step: u64,
}

impl Layout {
    pub const STANDARD: Self = Self {
        inline_bytes_max: INLINE_BYTES_MAX,
        chunk_bytes: CHUNK_BYTES,
        ahead_bytes_min: 1 << 20,
        ahead_elements_min: 8192,
        long_elements_min: 4096,
        packed_elements_max: 128,
        // Two such rows share a page. Up to a whole page a change costs the same in the table, but the journal takes the row whole.
        packed_bytes_max: 960,
        name_bytes_max: 256,
        // A row of a WITHOUT ROWID table leaves its page from 489 bytes on, and slows down all its neighbours.
        element_bytes_max: 400,
        list: ListShape::STANDARD,
        list_deletes_max: 256,
        list_moves_max: 32,
        count_rows: 128,
        label_max: u64::MAX,
        label_step: 1 << 32,
    };

    /// Few homes make sense with few bytes.
    #[cfg(test)]
    pub const SMALL: Self = Self {
        inline_bytes_max: 12,
        chunk_bytes: 8,
        ahead_bytes_min: 40,
        ahead_elements_min: 12,
        long_elements_min: 8,
        packed_elements_max: 4,
        packed_bytes_max: 48,
        name_bytes_max: 18,
        element_bytes_max: 24,
        list: ListShape::SMALL,
        list_deletes_max: 2,
        list_moves_max: 1,
        count_rows: 3,
        label_max: 150,
        label_step: 3,
    };

    /// What the numbers of a value's chunks can count.
    #[must_use]
    pub fn value_bytes_max(&self) -> u64 {
        self.chunk_bytes as u64 * CHUNKS_MAX
    }

    pub(super) fn chunk_count(&self, length: u64) -> u64 {
        length.div_ceil(self.chunk_bytes as u64)
    }
}

/// A larger piece of memory is asked for in a way that can be refused.
const CERTAIN_BYTES: usize = 1 << 20;
/// Chunks that a copy has in memory at once.
const CHUNKS_COPIED: usize = 64;

/// So many zero bytes.
///
/// # Errors
/// There is not the memory, which would end the process else.
pub(super) fn zeros(length: u64) -> Result<Vec<u8>> {
    let length = usize::try_from(length).map_err(|_| StorageError::OutOfMemory)?;
    if length > CERTAIN_BYTES {
        // Asked for and given back: what is then got in zeros need not be filled with them.
        Vec::<u8>::new().try_reserve_exact(length).map_err(|_| StorageError::OutOfMemory)?;
    }
    Ok(vec![0; length])
}

impl<S: Store> Keyspace<S> {
    /// So many zero bytes.
    ///
    /// # Errors
    /// There is not the memory, which would end the process else.
    pub fn zeros(length: u64) -> Result<Vec<u8>> {
        zeros(length)
    }

    /// The bytes `start..end` of a big string, both within its length.
    pub(super) fn read_chunks(&self, id: Option<i64>, start: u64, end: u64) -> Result<Vec<u8>> {
        let mut bytes = zeros(end - start)?;
        let (Some(id), false) = (id, bytes.is_empty()) else { return Ok(bytes) };
        let chunk_bytes = self.layout.chunk_bytes as u64;
        let range = Range::Chunks { id, first: start / chunk_bytes, last: (end - 1) / chunk_bytes };
        self.view().scan(range, &mut |name, row| {
            if let (Name::Chunk { number, .. }, Row::Chunk(value)) = (name.name(), row) {
                let begins = number * chunk_bytes;
                let from = start.max(begins);
                let to = end.min(begins + value.len() as u64);
                if from < to {
                    let part = &value[(from - begins) as usize..(to - begins) as usize];
                    bytes[(from - start) as usize..(to - start) as usize].copy_from_slice(part);
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(bytes)
    }

    /// Writes `bytes` at `offset` of the value `id`, touching only the chunks that they fall into.
    pub(super) fn write_chunks(&mut self, id: i64, offset: u64, bytes: &[u8]) -> Result<()> {
        let chunk_bytes = self.layout.chunk_bytes;
        let mut number = offset / chunk_bytes as u64;
        let mut at = (offset % chunk_bytes as u64) as usize;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (part, later) = rest.split_at(rest.len().min(chunk_bytes - at));
            let name = RowKey::chunk(id, number);
            if part.len() == chunk_bytes {
                self.batch.put(name, Row::Chunk(part), Origin::Blind)?;
            } else {
                let whole = self.view().row(name, Part::Whole, |row| match row {
                    Row::Chunk(bytes) => bytes.to_vec(),
                    _ => Vec::new(),
                })?;
                let mut whole = whole.unwrap_or_default();
                whole.resize(whole.len().max(at + part.len()), 0);
                whole[at..at + part.len()].copy_from_slice(part);
                self.batch.put(name, Row::Chunk(&whole), Origin::Blind)?;
            }
            (number, at, rest) = (number + 1, 0, later);
        }
        Ok(())
    }

    /// Stores a big string under a key that had `old`, and says under which id.
    pub(super) fn store_big(&mut self, old: Option<&Head>, bytes: &[u8]) -> Result<i64> {
        match old {
            Some(Head { kind: Kind::String, id: Some(id), length, .. }) => {
                self.store_chunks(Some((*id, *length)), bytes, false)
            }
            _ => {
                self.give_up_value(old.and_then(|old| old.id))?;
                self.store_chunks(None, bytes, false)
            }
        }
    }

    /// Stores bytes in chunks in the place of those of `old`, an id with its length, and says under which id.
    pub(super) fn store_chunks(&mut self, old: Option<(i64, u64)>, bytes: &[u8], is_ahead: bool) -> Result<i64> {
        let chunk_bytes = self.layout.chunk_bytes;
        if is_ahead || bytes.len() >= self.layout.ahead_bytes_min {
            self.give_up_value(old.map(|(id, _)| id))?;
            let id = self.begin_ahead()?;
            for (number, part) in bytes.chunks(chunk_bytes).enumerate() {
                self.store.write_ahead(id, number as u64, part)?;
            }
            return Ok(id);
        }
        // The rows are overwritten in place when the new ones cover them all.
        let is_covered = |length| self.layout.chunk_count(length) <= self.layout.chunk_count(bytes.len() as u64);
        let id = match old {
            Some((id, length)) if is_covered(length) => id,
            old => {
                self.give_up_value(old.map(|(id, _)| id))?;
                self.fresh_id()?
            }
        };
        for (number, part) in bytes.chunks(chunk_bytes).enumerate() {
            self.batch.put(RowKey::chunk(id, number as u64), Row::Chunk(part), Origin::Blind)?;
        }
        Ok(id)
    }

    /// Gives the value `from`, of so many bytes, to a new id as well. What is no row there is none here.
    pub(super) fn copy_chunks(&mut self, from: i64, length: u64, is_ahead: bool) -> Result<i64> {
        let is_ahead = is_ahead || self.goes_ahead(usize::try_from(length).unwrap_or(usize::MAX));
        let to = self.begin_copy(is_ahead)?;
        let mut first = 0;
        loop {
            let mut copied: Vec<(u64, Vec<u8>)> = Vec::new();
            self.view().scan(Range::Chunks { id: from, first, last: CHUNKS_MAX - 1 }, &mut |name, row| {
                if let (Name::Chunk { number, .. }, Row::Chunk(bytes)) = (name.name(), row) {
                    copied.push((number, bytes.to_vec()));
                }
                if copied.len() < CHUNKS_COPIED { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            for (number, bytes) in &copied {
                match is_ahead {
                    true => self.store.write_ahead(to, *number, bytes)?,
                    false => self.batch.put(RowKey::chunk(to, *number), Row::Chunk(bytes), Origin::Blind)?,
                }
            }
            match copied.last() {
                Some((last, _)) if copied.len() == CHUNKS_COPIED => first = last + 1,
                _ => return Ok(to),
            }
        }
    }

    /// Leaves a value's rows to the sweeper.
    pub(super) fn give_up_value(&mut self, id: Option<i64>) -> Result<()> {
        id.map_or(Ok(()), |id| self.batch.put(RowKey::orphan_value(id), Row::Orphan, Origin::Blind))
    }

    /// A new value whose chunks are about to be written ahead of the batch. Whoever takes the call back gives it up.
    pub(super) fn begin_ahead(&mut self) -> Result<i64> {
        let id = self.fresh_id()?;
        self.write_ahead_under(id);
        Ok(id)
    }

    /// Rows of this new value are about to be written ahead of the batch.
    pub(super) fn write_ahead_under(&mut self, id: i64) {
        self.ahead.push(id);
        self.is_partly_written = true;
    }
}
