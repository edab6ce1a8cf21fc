//! Rows on their way into the tables, in the order of their keys: a group's batch at once, or a generation of the memtable in slices.
//! Here it is settled where a key lies, whom it displaces, when it ends and how many there are, always relative to the row that the
//! table has: whatever led there.
//!
//! A slice that is applied again changes nothing, and a generation that was applied in part may be applied again whole: what is
//! written is what the newest row says, and counts, the expiry index and orphans follow from the row that is found.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension};

use super::base::Base;
use super::databases::{Database, too_low};
use super::elements::owns_apart;
use super::key_statements::{KeyStatements, PutPlain};
use super::slot_rows::Place;
use super::slots::{SPACE_MAX, slot_at};
use super::sweep::Orphan;
use crate::storage::broken::{self, Variant};
use crate::storage::error::{Result, StorageError};
use crate::storage::keyspace::DATABASES;
use crate::storage::rows::{Batch, Head, KeyRow, Kind, Name, Origin, Row, RowKey, Table};

/// What of a row's origin is true of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) enum Trust {
    /// The tables are as they were when the origins were told.
    Origins,
    /// Some of these rows may be in the tables already: only what is found there counts. That a row is blind stays true.
    Tables,
}

/// The generation that is being merged, as far as sweeping must know of it.
#[derive(Debug, Default)]
pub(super) struct Merging {
    /// None: nothing is being merged.
    trust: Option<Trust>,
    given_up: GivenUp,
    /// What it has given up is not known.
    holds_all: bool,
}

/// What nobody can reach any more. Its rows need not be written, and must not be swept before the last row that may hang on it.
#[derive(Debug, Default)]
struct GivenUp {
    values: HashSet<i64>,
    /// Numbers in slots.
    spaces: HashSet<u16>,
    /// Lists and streams of which it has said where an end is: an item that it has beyond that may come yet.
    lists: HashSet<i64>,
}

impl Merging {
    fn of(trust: Trust) -> Self {
        Self { trust: Some(trust), given_up: GivenUp::default(), holds_all: trust == Trust::Tables }
    }

    /// Whether the sweeper must leave this orphan alone until the generation is merged: rows of it may come yet.
    pub(super) fn holds(&self, what: Orphan, number: i64) -> bool {
        if broken::is(Variant::OrphanSweptEarly) {
            return false;
        }
        let GivenUp { values, spaces, lists } = &self.given_up;
        match what {
            _ if self.holds_all => true,
            Orphan::Space => spaces.iter().any(|space| i64::from(*space) == number),
            Orphan::Value => values.contains(&number),
            Orphan::Before | Orphan::Behind | Orphan::Entries => lists.contains(&number) || values.contains(&number),
        }
    }
}

/// How many rows are swept at once when a space finds no free number.
const MAKE_ROOM_ROWS: usize = 1000;

/// By how many a row changes the keys, and those of them that end.
type Change = (i64, i64);

impl Base {
    /// Writes all changes, within the present transaction. After an error that is to be rolled back.
    pub(in crate::storage) fn apply(&mut self, batch: &Batch) -> Result<()> {
        self.apply_all(|applying| batch.in_order(|changed| applying.row(changed.key, changed.row, changed.origin)))
    }

    /// The same of the rows that `fill` gives, in the order of their keys.
    pub(super) fn apply_all(&mut self, fill: impl FnOnce(&mut Applying<'_, '_>) -> Result<()>) -> Result<()> {
        self.apply_rows(Trust::Origins, &mut GivenUp::default(), fill)
    }

    /// The rows of a generation begin to come, in slices. `Trust::Tables`: some of them may have come before.
    pub(in crate::storage) fn begin_merge(&mut self, trust: Trust) {
        self.merging = Merging::of(trust);
    }

    /// They go on to come. What they gave up before is not known any more, so nothing is swept until all have come.
    pub(in crate::storage) fn resume_merge(&mut self, trust: Trust) {
        self.merging = Merging { holds_all: true, ..Merging::of(trust) };
    }

    /// The generation is merged, or given back whole.
    pub(in crate::storage) fn end_merge(&mut self) {
        self.merging = Merging::default();
        self.sweep_from_start();
    }

    /// One slice of the generation that `begin_merge` began, within the present transaction. After an error that is to be rolled back.
    pub(in crate::storage) fn apply_slice(
        &mut self,
        fill: impl FnOnce(&mut Applying<'_, '_>) -> Result<()>,
    ) -> Result<()> {
        let trust = self.merging.trust.ok_or_else(|| StorageError::Internal("a slice of no merge".into()))?;
        let mut given_up = std::mem::take(&mut self.merging.given_up);
        let applied = self.apply_rows(trust, &mut given_up, fill);
        // After a rollback it is too much: until the slice comes again.
        self.merging.given_up = given_up;
        applied
    }

    fn apply_rows(
        &mut self,
        trust: Trust,
        given_up: &mut GivenUp,
        fill: impl FnOnce(&mut Applying<'_, '_>) -> Result<()>,
    ) -> Result<()> {
        self.check_writing()?;
        let connection = std::rc::Rc::clone(&self.connection);
        // What should be in the tables by now is not.
        let trust = if self.has_left_out()? { Trust::Tables } else { trust };
        let mut applying = Applying::new(self, &connection, trust, given_up);
        fill(&mut applying)?;
        applying.end()
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

    /// The number of a space that no database has any more, as long as rows of it are left. None: the tables have nothing of it.
    fn number_of_orphan(&self, id: u64) -> Result<Option<u16>> {
        let mut statement =
            self.connection.prepare_cached("SELECT number FROM orphan WHERE what = 'space' AND space_id = ?1")?;
        Ok(statement.query_row([id.cast_signed()], |row| row.get(0)).optional()?)
    }
}

/// Rows that are being written within one transaction.
pub(in crate::storage) struct Applying<'b, 'c> {
    base: &'b mut Base,
    statements: KeyStatements<'c>,
    trust: Trust,
    given_up: &'b mut GivenUp,
    /// Which databases get which spaces; all of them at once, since two may exchange theirs.
    moves: Vec<(u8, u64)>,
    /// Keys by number of their space, and those of them that end. Of spaces that no database has, too: then nobody asks.
    counts: Vec<(u16, i64, i64)>,
    /// The numbers of spaces that no database has any more; None: the tables have nothing of them.
    left_spaces: HashMap<u64, Option<u16>>,
}

impl<'b, 'c> Applying<'b, 'c> {
    fn new(base: &'b mut Base, connection: &'c Connection, trust: Trust, given_up: &'b mut GivenUp) -> Self {
        let statements = KeyStatements::new(connection);
        Self { base, statements, trust, given_up, moves: Vec::new(), counts: Vec::new(), left_spaces: HashMap::new() }
    }

    /// The next row in the order of keys; None: it is deleted. All rows of `Table::Database` belong into one transaction.
    pub(in crate::storage) fn row(&mut self, key: RowKey<'_>, row: Option<Row<'_>>, origin: Origin) -> Result<()> {
        if key.table() != Table::Database && !self.moves.is_empty() {
            self.move_databases()?;
        }
        self.write(key, row, origin)?;
        self.base.forget_left_out(key)
    }

    /// Whether rows of this id are to be found no more.
    pub(super) fn is_given_up(&self, id: i64) -> bool {
        self.given_up.values.contains(&id)
    }

    fn write(&mut self, key: RowKey<'_>, row: Option<Row<'_>>, origin: Origin) -> Result<()> {
        match (key.name(), row) {
            (Name::Key { space, position, key }, row) => {
                let Some(space) = self.number_for(space)? else {
                    // It came and went unseen by the tables: of its values alone there may be something in them.
                    let id = row.and_then(|row| row.of_key().head.id);
                    return id.map_or(Ok(()), |id| self.give_up_value(id));
                };
                let key = Key { space, position, key };
                let change = match row {
                    Some(row) => self.put_key(&key, &row.of_key(), origin),
                    None => self.delete_key(&key, origin),
                }?;
                self.count(space, change);
                Ok(())
            }
            (Name::OrphanValue(id), Some(_)) => self.give_up_value(id),
            (Name::OrphanItems { id, end }, row) => {
                self.given_up.lists.insert(id);
                let position = match row {
                    Some(Row::OrphanItems(position)) => Some(position),
                    _ => None,
                };
                self.base.give_up_items(id, end, position)
            }
            (Name::OrphanEntries(id), Some(Row::OrphanEntries(last))) => {
                self.given_up.lists.insert(id);
                self.base.give_up_entries(id, Some(last))
            }
            (Name::Chunk { id, number }, Some(Row::Chunk(bytes))) => {
                if self.given_up.values.contains(&id) {
                    Ok(())
                } else {
                    self.base.put_chunk(id, number, bytes)
                }
            }
            (Name::Element(element), row) => {
                let row = row.map(Row::of_element);
                match row.filter(|_| self.given_up.values.contains(&element.id)) {
                    // It need not be written, and what hangs on it, which may come yet, is to be found no more.
                    Some(row) => match row.apart.filter(|_| owns_apart(element.table)) {
                        Some(apart) => self.give_up_value(apart.id),
                        None => Ok(()),
                    },
                    None => self.base.apply_element(&element, row),
                }
            }
            (Name::Database(number), Some(Row::Database(space))) => {
                self.moves.push((number, space));
                Ok(())
            }
            (name, row) => Err(StorageError::Internal(format!("somebody says {row:?} of {name:?}"))),
        }
    }

    fn end(mut self) -> Result<()> {
        self.move_databases()?;
        let databases = self.base.writing_mut()?;
        let rows = *databases.rows();
        for (number, row) in rows.iter().enumerate() {
            let Some((_, keys, ends)) = self.counts.iter().find(|(of, ..)| *of == row.space) else { continue };
            databases.set(number, row.plus(*keys, *ends).ok_or_else(|| too_low(number))?);
        }
        Ok(())
    }

    /// Gives databases their spaces: a new one a number, and one that no database has any more to the sweeper.
    fn move_databases(&mut self) -> Result<()> {
        if self.moves.is_empty() {
            return Ok(());
        }
        let before = *self.base.writing()?.rows();
        for (number, id) in std::mem::take(&mut self.moves) {
            let row = match before.iter().find(|row| row.id == id) {
                Some(known) => *known,
                None => Database { id, space: self.base.free_number(&before)?, ..Database::default() },
            };
            self.base.writing_mut()?.set(usize::from(number), row);
        }
        let after = *self.base.writing()?;
        for old in before.iter().filter(|old| after.number_of(old.id).is_none()) {
            self.given_up.spaces.insert(old.space);
            self.base.give_up_space(old.id, old.space)?;
        }
        Ok(())
    }

    /// Where the rows of a space go; of one that was given up too, since values may have moved between it and others. None: the tables
    /// have nothing of it.
    fn number_for(&mut self, id: u64) -> Result<Option<u16>> {
        if let Some(number) = self.base.writing()?.number_of(id) {
            return Ok(Some(number));
        }
        if let Some(number) = self.left_spaces.get(&id) {
            return Ok(*number);
        }
        let number = self.base.number_of_orphan(id)?;
        self.left_spaces.insert(id, number);
        Ok(number)
    }

    fn count(&mut self, space: u16, (keys, ends): Change) {
        if (keys, ends) == (0, 0) {
            return;
        }
        match self.counts.iter_mut().find(|(of, ..)| *of == space) {
            Some((_, all_keys, all_ends)) => (*all_keys, *all_ends) = (*all_keys + keys, *all_ends + ends),
            None => self.counts.push((space, keys, ends)),
        }
    }

    fn put_key(&mut self, key: &Key<'_>, row: &KeyRow<'_>, origin: Origin) -> Result<Change> {
        let home = key.home();
        let ends_at_ms = row.head.expires_at_ms;
        match (origin, self.trust) {
            (Origin::Absent, _) => {
                if self.statements.insert_at_home(home, key.key, row)? {
                    return Ok((1, self.base.relist_expiry(home, None, ends_at_ms)?));
                }
            }
            (Origin::Present { id, expires_at_ms }, Trust::Origins) => {
                let is_done = match plain(row).filter(|_| id.is_none() && expires_at_ms.is_none()) {
                    Some(value) => self.statements.overwrite_at_home(home, key.key, value)?,
                    None => self.statements.update_at_home(home, key.key, row)?,
                };
                if is_done {
                    return Ok((0, self.base.relist_expiry(home, expires_at_ms, ends_at_ms)?));
                }
            }
            (Origin::Blind, _) | (Origin::Present { .. }, Trust::Tables) => {
                if let Some(value) = plain(row) {
                    match self.statements.put_plain_at_home(home, key.key, value)? {
                        PutPlain::Inserted => return Ok((1, 0)),
                        PutPlain::Overwritten => return Ok((0, 0)),
                        PutPlain::Refused => {}
                    }
                }
            }
        }
        match self.base.locate(key.space, key.position, key.key)? {
            Place::Taken(slot, old) => {
                self.give_up_blind(origin, &old, row.head.id)?;
                self.base.update_row(slot, row)?;
                Ok((0, self.base.relist_expiry(slot, old.expires_at_ms, ends_at_ms)?))
            }
            Place::Free(slot) => {
                self.base.insert_row(slot, key.key, row)?;
                Ok((1, self.base.relist_expiry(slot, None, ends_at_ms)?))
            }
        }
    }

    fn delete_key(&mut self, key: &Key<'_>, origin: Origin) -> Result<Change> {
        if origin == Origin::Absent && self.trust == Trust::Origins {
            return Ok((0, 0));
        }
        let Place::Taken(slot, old) = self.base.locate(key.space, key.position, key.key)? else { return Ok((0, 0)) };
        self.give_up_blind(origin, &old, None)?;
        let ends = self.base.relist_expiry(slot, old.expires_at_ms, None)?;
        self.base.remove_row(slot)?;
        Ok((-1, ends))
    }

    /// Nobody who wrote the row knew what lies here: so what it holds is not among the rows, neither moved nor given up.
    fn give_up_blind(&mut self, origin: Origin, old: &Head, id: Option<i64>) -> Result<()> {
        match old.id {
            Some(old) if origin == Origin::Blind && id != Some(old) => self.give_up_value(old),
            _ => Ok(()),
        }
    }

    fn give_up_value(&mut self, id: i64) -> Result<()> {
        self.given_up.values.insert(id);
        self.base.give_up_value(id)
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

/// The value of a string that lies in its row and never ends.
fn plain<'a>(row: &KeyRow<'a>) -> Option<&'a [u8]> {
    let head = &row.head;
    row.value.filter(|_| head.kind == Kind::String && head.id.is_none() && head.expires_at_ms.is_none())
}
