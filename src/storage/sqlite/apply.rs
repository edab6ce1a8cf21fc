//! Applies a batch to the tables in the order of its keys. Here it is settled where a key lies, whom it displaces, when it
//! ends and how many there are, always relative to the row that the table has: whatever led there in the batch.

use std::collections::HashSet;

use rusqlite::OptionalExtension;

use super::base::Base;
use super::databases::{Database, too_low};
use super::slot_rows::{Place, PutPlain};
use super::slots::{SPACE_MAX, slot_at};
use crate::storage::error::{Result, StorageError};
use crate::storage::keyspace::DATABASES;
use crate::storage::rows::{Batch, Changed, Head, KeyRow, Kind, Name, Origin, Row, RowKey};

/// What is gathered while the rows are written.
#[derive(Default)]
struct Applying {
    /// Keys by space, and those of them that end. Of spaces that no database has, too: then nobody asks.
    counts: Vec<(u16, i64, i64)>,
    /// Values that nobody can reach any more: their chunks need not be written.
    given_up: HashSet<i64>,
    /// The numbers of spaces that no database has any more, as far as somebody has asked; None: it never had one.
    left: Vec<(u64, Option<u16>)>,
}

/// How many rows are swept at once when a space finds no free number.
const MAKE_ROOM_ROWS: usize = 1000;

/// By how many a row changes the keys, and those of them that end.
type Change = (i64, i64);

impl Base {
    /// Writes all changes, within the present transaction. After an error that is to be rolled back.
    pub(in crate::storage) fn apply(&mut self, batch: &Batch) -> Result<()> {
        self.check_writing()?;
        let mut applying = Applying::default();
        self.move_databases(batch)?;
        batch.in_order(|changed| self.apply_row(&changed, &mut applying))?;
        self.count_keys(&applying)
    }

    /// Gives databases the spaces that the batch says: a new one a number, and one that no database has any more to the sweeper.
    fn move_databases(&mut self, batch: &Batch) -> Result<()> {
        let before = *self.writing()?.rows();
        for number in 0..DATABASES {
            let Some(Some(Row::Database(id))) = batch.find(RowKey::database(number as u8)) else { continue };
            let row = match before.iter().find(|row| row.id == id) {
                Some(known) => *known,
                None => Database { id, space: self.free_number(&before)?, ..Database::default() },
            };
            self.writing_mut()?.set(number, row);
        }
        let after = self.writing()?;
        for old in before.iter().filter(|old| after.number_of(old.id).is_none()) {
            self.give_up_space(old.id, old.space)?;
        }
        Ok(())
    }

    /// A number that no database's space has, and none that waits for the sweeper.
    fn free_number(&mut self, before: &[Database; DATABASES]) -> Result<u16> {
        loop {
            let used = before.iter().chain(self.writing()?.rows()).map(|row| row.space);
            let used: Vec<u16> = used.collect();
            let after = used.iter().copied().max().unwrap_or(0);
            for step in 1..=SPACE_MAX {
                // The numbers are a ring, from 1 on.
                let number = ((u32::from(after) + u32::from(step) - 1) % u32::from(SPACE_MAX) + 1) as u16;
                if !used.contains(&number) && !self.is_orphan("space", i64::from(number))? {
                    return Ok(number);
                }
            }
            // 32,751 flushes ahead of the sweeper. Waiting for it is the only way to go on.
            if self.sweep_orphans(MAKE_ROOM_ROWS)? == 0 {
                return Err(StorageError::Corrupt("no space is free, and none can be swept".into()));
            }
        }
    }

    /// Where the rows of a space go; of one that was given up too, since values may have moved between it and others. None: the tables
    /// have nothing of it.
    fn number_for(&self, id: u64, applying: &mut Applying) -> Result<Option<u16>> {
        if let Some(number) = self.writing()?.number_of(id) {
            return Ok(Some(number));
        }
        if let Some((_, number)) = applying.left.iter().find(|(left, _)| *left == id) {
            return Ok(*number);
        }
        let mut statement =
            self.connection.prepare_cached("SELECT number FROM orphan WHERE what = 'space' AND space_id = ?1")?;
        let number = statement.query_row([id.cast_signed()], |row| row.get(0)).optional()?;
        applying.left.push((id, number));
        Ok(number)
    }

    fn apply_row(&self, changed: &Changed<'_>, applying: &mut Applying) -> Result<()> {
        match (changed.key.name(), changed.row) {
            (Name::Key { space, position, key }, row) => {
                let Some(space) = self.number_for(space, applying)? else {
                    // It came and went unseen by the tables: of its values alone there may be something in them.
                    let id = row.and_then(|row| row.of_key().head.id);
                    return id.map_or(Ok(()), |id| self.give_up_value(id));
                };
                let key = Key { space, position, key };
                let change = match row {
                    Some(row) => self.put_key(&key, &row.of_key(), changed.origin),
                    None => self.delete_key(&key, changed.origin),
                }?;
                applying.count(space, change);
            }
            (Name::OrphanValue(id), Some(_)) => {
                applying.given_up.insert(id);
                self.give_up_value(id)?;
            }
            (Name::Chunk { id, number }, Some(Row::Chunk(bytes))) => {
                if !applying.given_up.contains(&id) {
                    self.put_chunk(id, number, bytes)?;
                }
            }
            (Name::Database(_), Some(Row::Database(_))) => {}
            (name, row) => return Err(StorageError::Internal(format!("a batch says {row:?} of {name:?}"))),
        }
        Ok(())
    }

    fn put_key(&self, key: &Key<'_>, row: &KeyRow<'_>, origin: Origin) -> Result<Change> {
        let home = key.home();
        match origin {
            Origin::Blind => {
                if let Some(value) = plain(row) {
                    match self.put_plain_at_home(home, key.key, value)? {
                        PutPlain::Inserted => return Ok((1, 0)),
                        PutPlain::Overwritten => return Ok((0, 0)),
                        PutPlain::Refused => {}
                    }
                }
            }
            Origin::Absent => {
                if self.insert_at_home(home, key.key, row)? {
                    return Ok((1, self.relist_expiry(home, None, row.head.expires_at_ms)?));
                }
            }
            Origin::Present { id, expires_at_ms } => {
                let is_done = match plain(row).filter(|_| id.is_none() && expires_at_ms.is_none()) {
                    Some(value) => self.overwrite_at_home(home, key.key, value)?,
                    None => self.update_at_home(home, key.key, row)?,
                };
                if is_done {
                    return Ok((0, self.relist_expiry(home, expires_at_ms, row.head.expires_at_ms)?));
                }
            }
        }
        match self.locate(key.space, key.position, key.key)? {
            Place::Taken(slot, old) => {
                self.give_up_blind(origin, &old, row.head.id)?;
                self.update_row(slot, row)?;
                Ok((0, self.relist_expiry(slot, old.expires_at_ms, row.head.expires_at_ms)?))
            }
            Place::Free(slot) => {
                self.insert_row(slot, key.key, row)?;
                Ok((1, self.relist_expiry(slot, None, row.head.expires_at_ms)?))
            }
        }
    }

    fn delete_key(&self, key: &Key<'_>, origin: Origin) -> Result<Change> {
        if origin == Origin::Absent {
            return Ok((0, 0));
        }
        let Place::Taken(slot, old) = self.locate(key.space, key.position, key.key)? else { return Ok((0, 0)) };
        self.give_up_blind(origin, &old, None)?;
        let ends = self.relist_expiry(slot, old.expires_at_ms, None)?;
        self.remove_row(slot)?;
        Ok((-1, ends))
    }

    /// Nobody who wrote the row knew what lies here: so what it holds is not in the batch, neither moved nor given up.
    fn give_up_blind(&self, origin: Origin, old: &Head, id: Option<i64>) -> Result<()> {
        match old.id {
            Some(old) if origin == Origin::Blind && id != Some(old) => self.give_up_value(old),
            _ => Ok(()),
        }
    }

    fn count_keys(&mut self, applying: &Applying) -> Result<()> {
        let databases = self.writing_mut()?;
        let rows = *databases.rows();
        for (number, row) in rows.iter().enumerate() {
            let (keys, ends) = applying.counted(row.space);
            databases.set(number, row.plus(keys, ends).ok_or_else(|| too_low(number))?);
        }
        Ok(())
    }
}

/// A key's name.
struct Key<'a> {
    space: u16,
    position: u64,
    key: &'a [u8],
}

impl Key<'_> {
    fn home(&self) -> i64 {
        slot_at(self.space, self.position)
    }
}

impl Applying {
    fn count(&mut self, space: u16, (keys, ends): Change) {
        if (keys, ends) == (0, 0) {
            return;
        }
        match self.counts.iter_mut().find(|(of, ..)| *of == space) {
            Some((_, all_keys, all_ends)) => (*all_keys, *all_ends) = (*all_keys + keys, *all_ends + ends),
            None => self.counts.push((space, keys, ends)),
        }
    }

    fn counted(&self, space: u16) -> Change {
        self.counts.iter().find(|(of, ..)| *of == space).map_or((0, 0), |(_, keys, ends)| (*keys, *ends))
    }
}

/// The value of a string that lies in its row and never ends.
fn plain<'a>(row: &KeyRow<'a>) -> Option<&'a [u8]> {
    let head = &row.head;
    row.value.filter(|_| head.kind == Kind::String && head.id.is_none() && head.expires_at_ms.is_none())
}
