//! What a keyspace asks of the base besides rows.

use super::base::Base;
use super::chunks::place;
use crate::storage::error::Result;
use crate::storage::keyspace::Store;

/// How many rows are swept at once when a flush finds no free space left.
const MAKE_ROOM_ROWS: usize = 1000;

impl Store for Base {
    fn is_in_transaction(&self) -> bool {
        Base::is_in_transaction(self)
    }

    fn check_writing(&self) -> Result<()> {
        Base::check_writing(self)
    }

    fn counts(&self, space: u16) -> Result<(u64, u64)> {
        self.space_counts(space)
    }

    fn next_id(&self) -> Result<i64> {
        self.read_next_id()
    }

    fn write_ahead(&mut self, id: i64, number: u64, bytes: &[u8]) -> Result<()> {
        self.check_writing()?;
        self.insert_chunk(place(id, number), bytes)
    }

    fn make_room(&mut self) -> Result<bool> {
        Ok(self.sweep_orphans(MAKE_ROOM_ROWS)? > 0)
    }
}
