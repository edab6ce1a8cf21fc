//! The rows of the table `chunk`.

use rusqlite::params;

use super::base::Base;
use super::elements::signed;
use super::sweep::Orphan;
use crate::storage::error::Result;
use crate::storage::rows::{End, StreamId};

const CHUNK_NUMBER_BITS: u32 = 20;
const CHUNKS_MAX: u64 = 1 << CHUNK_NUMBER_BITS;

pub(super) fn place(id: i64, number: u64) -> i64 {
    id << CHUNK_NUMBER_BITS | number.min(CHUNKS_MAX - 1).cast_signed()
}

pub(super) fn number_of(place: i64) -> u64 {
    (place & (CHUNKS_MAX - 1).cast_signed()).cast_unsigned()
}

/// First and last place that chunks of this id can have.
pub(super) fn places(id: i64) -> (i64, i64) {
    (place(id, 0), place(id, CHUNKS_MAX - 1))
}

impl Base {
    pub(super) fn put_chunk(&self, id: i64, number: u64, bytes: &[u8]) -> Result<()> {
        // Not REPLACE: an UPDATE to the same size writes only the pages that differ, measured at five times as many
        // SETBITs a second in chunks of 64 KiB.
        let place = place(id, number);
        let update = "UPDATE chunk SET value = ?2 WHERE place = ?1";
        if self.connection.prepare_cached(update)?.execute(params![place, bytes])? == 0 {
            self.insert_chunk(place, bytes)?;
        }
        Ok(())
    }

    pub(super) fn insert_chunk(&self, place: i64, bytes: &[u8]) -> Result<()> {
        let insert = "INSERT INTO chunk (place, value) VALUES (?1, ?2)";
        self.connection.prepare_cached(insert)?.execute(params![place, bytes])?;
        Ok(())
    }

    /// Leaves a value's rows to the sweeper; more than once is the same.
    pub(super) fn give_up_value(&self, id: i64) -> Result<()> {
        let insert = "INSERT OR IGNORE INTO orphan (what, number) VALUES ('value', ?1)";
        self.connection.prepare_cached(insert)?.execute([id])?;
        Ok(())
    }

    /// The value has an owner again.
    pub(super) fn delete_orphan(&self, id: i64) -> Result<()> {
        self.connection.prepare_cached("DELETE FROM orphan WHERE what = 'value' AND number = ?1")?.execute([id])?;
        Ok(())
    }

    /// Leaves items of a list beyond one of its ends to the sweeper: those before, or behind, this position. None: there are none.
    pub(super) fn give_up_items(&self, id: i64, end: End, position: Option<u64>) -> Result<()> {
        let what = Orphan::items(end);
        match position {
            Some(position) => {
                let insert = "INSERT INTO orphan (what, number, position) VALUES (?1, ?2, ?3)
                              ON CONFLICT DO UPDATE SET position = excluded.position";
                self.connection.prepare_cached(insert)?.execute(params![what.name(), id, position])?
            }
            None => self
                .connection
                .prepare_cached("DELETE FROM orphan WHERE what = ?1 AND number = ?2")?
                .execute(params![what.name(), id])?,
        };
        Ok(())
    }

    /// Leaves entries of a stream up to this one to the sweeper. None: there are none.
    pub(super) fn give_up_entries(&self, id: i64, last: Option<StreamId>) -> Result<()> {
        match last {
            Some(last) => {
                let insert = "INSERT INTO orphan (what, number, position, seq) VALUES ('entries', ?1, ?2, ?3)
                              ON CONFLICT DO UPDATE SET position = excluded.position, seq = excluded.seq";
                self.connection.prepare_cached(insert)?.execute(params![id, signed(last.ms), signed(last.seq)])?
            }
            None => self
                .connection
                .prepare_cached("DELETE FROM orphan WHERE what = 'entries' AND number = ?1")?
                .execute([id])?,
        };
        Ok(())
    }

    /// Leaves a space's rows to the sweeper; more than once is the same.
    pub(super) fn give_up_space(&self, id: u64, number: u16) -> Result<()> {
        let insert = "INSERT OR IGNORE INTO orphan (what, number, space_id) VALUES ('space', ?1, ?2)";
        self.connection.prepare_cached(insert)?.execute((number, id.cast_signed()))?;
        Ok(())
    }
}
