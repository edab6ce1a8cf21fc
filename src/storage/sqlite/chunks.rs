//! Big strings: rows of equal size under the value's id, so that a change inside costs one of them, and a removal only
//! the key's row. What is missing of a chunk, at its end or the whole row, is zero bytes.

use rusqlite::{OptionalExtension, params};

use super::keyspace::{Keyspace, Kind};
use super::rows::Row;
use super::schema::{CHUNK_BYTES, INLINE_BYTES_MAX};
use crate::storage::error::{Result, StorageError};

const CHUNK_NUMBER_BITS: u32 = 20;

/// Where a string's bytes lie. Part of the file format; tests use a smaller one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) inline_bytes_max: usize,
    pub(super) chunk_bytes: usize,
}

impl Layout {
    pub(super) const STANDARD: Self = Self { inline_bytes_max: INLINE_BYTES_MAX, chunk_bytes: CHUNK_BYTES };

    /// What the numbers of a value's chunks can count.
    pub(super) fn value_bytes_max(&self) -> u64 {
        (self.chunk_bytes as u64) << CHUNK_NUMBER_BITS
    }

    fn chunk_count(&self, length: u64) -> u64 {
        length.div_ceil(self.chunk_bytes as u64)
    }
}

/// A larger piece of memory is asked for in a way that can be refused.
const CERTAIN_BYTES: usize = 1 << 20;

fn place(id: i64, chunk: u64) -> i64 {
    id << CHUNK_NUMBER_BITS | chunk.cast_signed()
}

/// First and last place that chunks of this id can have.
pub(super) fn places(id: i64) -> (i64, i64) {
    (place(id, 0), place(id, (1 << CHUNK_NUMBER_BITS) - 1))
}

impl Keyspace {
    /// So many zero bytes.
    ///
    /// # Errors
    /// There is not the memory, which would end the process else.
    pub fn zeros(length: u64) -> Result<Vec<u8>> {
        let length = usize::try_from(length).map_err(|_| StorageError::OutOfMemory)?;
        if length > CERTAIN_BYTES {
            // Asked for and given back: what is then got in zeros need not be filled with them.
            Vec::<u8>::new().try_reserve_exact(length).map_err(|_| StorageError::OutOfMemory)?;
        }
        Ok(vec![0; length])
    }

    /// The bytes `start..end` of a big string, both within its length.
    pub(super) fn read_chunks(&self, row: &Row, start: u64, end: u64) -> Result<Vec<u8>> {
        let mut bytes = Self::zeros(end - start)?;
        let (Some(id), false) = (row.id, bytes.is_empty()) else { return Ok(bytes) };
        let chunk_bytes = self.layout.chunk_bytes as u64;
        let mut statement =
            self.connection.prepare_cached("SELECT place, value FROM chunk WHERE place BETWEEN ?1 AND ?2")?;
        let mut rows = statement.query([place(id, start / chunk_bytes), place(id, (end - 1) / chunk_bytes)])?;
        while let Some(columns) = rows.next()? {
            let begins = (columns.get::<_, i64>(0)? - place(id, 0)).cast_unsigned() * chunk_bytes;
            let value = columns.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            let from = start.max(begins);
            let to = end.min(begins + value.len() as u64);
            if from < to {
                let part = &value[(from - begins) as usize..(to - begins) as usize];
                bytes[(from - start) as usize..(to - start) as usize].copy_from_slice(part);
            }
        }
        Ok(bytes)
    }

    /// Writes `bytes` at `offset` of the value `id`, touching only the chunks that they fall into.
    pub(super) fn write_chunks(&mut self, id: i64, offset: u64, bytes: &[u8]) -> Result<()> {
        let chunk_bytes = self.layout.chunk_bytes;
        let mut chunk = offset / chunk_bytes as u64;
        let mut at = (offset % chunk_bytes as u64) as usize;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (part, later) = rest.split_at(rest.len().min(chunk_bytes - at));
            if part.len() == chunk_bytes {
                self.write_chunk(id, chunk, part)?;
            } else {
                let mut whole = self.read_chunk(id, chunk)?;
                whole.resize(whole.len().max(at + part.len()), 0);
                whole[at..at + part.len()].copy_from_slice(part);
                self.write_chunk(id, chunk, &whole)?;
            }
            (chunk, at, rest) = (chunk + 1, 0, later);
        }
        Ok(())
    }

    /// Replaces the whole value `id`, whose present chunks are not more than those of `bytes`.
    fn fill_chunks(&mut self, id: i64, bytes: &[u8]) -> Result<()> {
        for (chunk, part) in bytes.chunks(self.layout.chunk_bytes).enumerate() {
            self.write_chunk(id, chunk as u64, part)?;
        }
        Ok(())
    }

    /// Stores a big string under a key that had `old`, and says under which id.
    pub(super) fn store_big(&mut self, old: Option<&Row>, bytes: &[u8]) -> Result<i64> {
        // The rows of a big string are overwritten in place when the new one covers them all.
        let reusable = old.filter(|old| {
            old.kind == Kind::String
                && self.layout.chunk_count(old.length) <= self.layout.chunk_count(bytes.len() as u64)
        });
        let id = match reusable.and_then(|old| old.id) {
            Some(id) => id,
            None => {
                self.abandon_value(old.and_then(|old| old.id))?;
                self.fresh_id()?
            }
        };
        self.fill_chunks(id, bytes)?;
        Ok(id)
    }

    pub(super) fn copy_chunks(&mut self, from: i64) -> Result<i64> {
        let to = self.fresh_id()?;
        let (first, last) = places(from);
        self.connection
            .prepare_cached(
                "INSERT INTO chunk (place, value) SELECT place + ?3, value FROM chunk WHERE place BETWEEN ?1 AND ?2",
            )?
            .execute([first, last, places(to).0 - first])?;
        Ok(to)
    }

    /// Leaves a value's rows to the sweeper.
    pub(super) fn abandon_value(&mut self, id: Option<i64>) -> Result<()> {
        if let Some(id) = id {
            self.connection.prepare_cached("INSERT INTO orphan (what, number) VALUES ('value', ?1)")?.execute([id])?;
        }
        Ok(())
    }

    fn read_chunk(&self, id: i64, chunk: u64) -> Result<Vec<u8>> {
        let mut statement = self.connection.prepare_cached("SELECT value FROM chunk WHERE place = ?1")?;
        let found = statement.query_row([place(id, chunk)], |columns| columns.get(0)).optional()?;
        Ok(found.unwrap_or_default())
    }

    fn write_chunk(&mut self, id: i64, chunk: u64, bytes: &[u8]) -> Result<()> {
        // Not REPLACE: an UPDATE to the same size writes only the pages that differ, measured at five times as many
        // SETBITs a second in chunks of 64 KiB.
        let place = place(id, chunk);
        let update = "UPDATE chunk SET value = ?2 WHERE place = ?1";
        if self.connection.prepare_cached(update)?.execute(params![place, bytes])? == 0 {
            let insert = "INSERT INTO chunk (place, value) VALUES (?1, ?2)";
            self.connection.prepare_cached(insert)?.execute(params![place, bytes])?;
        }
        Ok(())
    }
}
