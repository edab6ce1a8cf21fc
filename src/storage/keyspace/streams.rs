//! What changes a stream: entries are added at its end, removed anywhere, and its counters set. A stream has a row for each entry, however
//! few there are, and stays when it has none (docs/decisions/streams.md).

use super::changes::Change;
use super::keyspace::{Keyspace, Lookup, Store};
use super::stream_entries::Mark;
use super::stream_head::StreamHead;
use super::stream_nodes::{NodeLimits, TailNode};
use super::stream_trims::Trim;
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{Batch, Direction, Head, KeyRow, Kind, Origin, Part, Row, RowKey, StreamId};

/// A key's stream, opened for changes. Rows of entries are changed in the batch; the key's row is written at the end.
pub(super) struct OpenedStream<'k> {
    name: RowKey<'k>,
    key: &'k [u8],
    /// The row that the key has, alive or not.
    old: Option<Head>,
    pub(super) is_new: bool,
    pub(super) head: StreamHead,
}

/// Which id a new entry gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewId {
    /// The next one, by the clock.
    Next,
    /// The next one of this time.
    NextAt(u64),
    Exactly(StreamId),
}

/// Why an entry was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdded {
    /// There is no id behind the last one.
    Exhausted,
    /// Its id is not greater than the last one.
    NotGreater,
}

/// What adding an entry did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamAdded {
    pub id: StreamId,
    /// The key was not there.
    pub is_new: bool,
    /// Entries that went for it.
    pub trimmed: u64,
}

/// What XSETID sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamCounters {
    pub last: StreamId,
    pub added: Option<u64>,
    pub max_deleted: Option<StreamId>,
}

/// Why the counters can't be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSet {
    BelowDeleted,
    BelowEntry,
    /// There are more entries than were ever added.
    BelowLength,
}

impl<S: Store> Keyspace<S> {
    /// A key for changes of its stream. One that is absent, or whose time has passed, begins empty.
    pub(super) fn open_stream<'k>(&self, key: &'k [u8]) -> Result<Lookup<OpenedStream<'k>>> {
        self.store.check_writing()?;
        let name = self.name(self.selected, key)?;
        let found = self.view().row(name, Part::Whole, |row| {
            let row = row.of_key();
            let is_wanted = row.head.kind == Kind::Stream && self.is_live(&row.head);
            (row.head, is_wanted.then(|| StreamHead::read(&row)))
        })?;
        let (old, head) = found.map_or((None, None), |(old, head)| (Some(old), head));
        let live = old.filter(|old| self.is_live(old));
        let head = match (live, head) {
            (None, _) => StreamHead::EMPTY,
            (Some(_), Some(head)) => head?,
            (Some(live), None) => return Ok(Lookup::OtherKind(live.kind)),
        };
        Ok(Lookup::Found(OpenedStream { name, key, old, is_new: live.is_none(), head }))
    }

    /// The same for who changes only what is there.
    pub(super) fn open_stream_there<'k>(&self, key: &'k [u8]) -> Result<Lookup<OpenedStream<'k>>> {
        Ok(match self.open_stream(key)? {
            Lookup::Found(opened) if opened.is_new => Lookup::Absent,
            other => other,
        })
    }

    /// Before anything of it is changed.
    pub(super) fn begin_stream_change(&mut self, opened: &mut OpenedStream<'_>) -> Result<()> {
        self.mark(Change::Key { database: self.selected, key: opened.key })?;
        if opened.is_new && opened.head.id == 0 {
            opened.head.id = self.fresh_id()?;
        }
        Ok(())
    }

    /// Before anything of it is changed that brings nothing to those who wait for entries.
    pub(super) fn begin_quiet_change(&mut self, opened: &mut OpenedStream<'_>) -> Result<()> {
        self.mark(Change::Quiet { database: self.selected, key: opened.key })?;
        Ok(())
    }

    /// Writes the key's row after changes, keeping the time when it ends.
    pub(super) fn close_stream(&mut self, opened: &OpenedStream<'_>) -> Result<()> {
        let OpenedStream { name, old, is_new, head, .. } = opened;
        let expires_at_ms = old.filter(|_| !is_new).and_then(|old| old.expires_at_ms);
        self.put_stream_row(*name, *old, head, expires_at_ms)
    }

    /// `old` is the row that the key has; what it holds is given up, unless it is this.
    pub(super) fn put_stream_row(
        &mut self,
        name: RowKey<'_>,
        old: Option<Head>,
        head: &StreamHead,
        expires_at_ms: Option<i64>,
    ) -> Result<()> {
        self.give_up_value(old.and_then(|old| old.id).filter(|old| *old != head.id))?;
        let row = KeyRow { head: head.row_head(expires_at_ms), value: Some(&head.write()) };
        self.batch.put(name, Row::Key(row), Origin::of(old.as_ref()))
    }

    pub(super) fn node_limits(&self) -> NodeLimits {
        NodeLimits { bytes: self.thresholds.stream_node_max_bytes, entries: self.thresholds.stream_node_max_entries }
    }

    /// Adds an entry with these names and values in turns, then removes what `trim` says. `must_be_there`: an absent key stays absent.
    pub fn stream_add(
        &mut self,
        key: &[u8],
        new: NewId,
        fields: &[&[u8]],
        trim: Option<&Trim>,
        must_be_there: bool,
    ) -> Result<Lookup<std::result::Result<StreamAdded, NotAdded>>> {
        let mut opened = match self.open_stream(key)? {
            Lookup::Found(opened) if opened.is_new && must_be_there => return Ok(Lookup::Absent),
            Lookup::Found(opened) => opened,
            other => return Ok(other.map(|_| unreachable!("it is not found"))),
        };
        let id = match new_id(&opened.head, new, self.now_ms) {
            Ok(id) => id,
            Err(refused) => return Ok(Lookup::Found(Err(refused))),
        };
        let bytes: u64 = fields.iter().map(|part| part.len() as u64).sum();
        if bytes > self.value_bytes_max() {
            return Err(StorageError::TooLarge);
        }
        self.begin_stream_change(&mut opened)?;
        self.append_entry(&mut opened.head, id, fields, (None, None))?;
        let trimmed = trim.map_or(Ok(0), |trim| self.trim_entries(&mut opened.head, trim))?;
        self.close_stream(&opened)?;
        Ok(Lookup::Found(Ok(StreamAdded { id, is_new: opened.is_new, trimmed })))
    }

    /// `begins`: whether a node begins with it is known.
    pub(super) fn append_entry(
        &mut self,
        head: &mut StreamHead,
        id: StreamId,
        fields: &[&[u8]],
        (begins, ahead): (Option<bool>, Option<&mut Batch>),
    ) -> Result<()> {
        let limits = self.node_limits();
        let mark = match &mut head.tail {
            Some(tail) if !begins.unwrap_or_else(|| !tail.takes(fields, limits)) => {
                tail.add(id, fields);
                Mark::GoesOn
            }
            tail => {
                *tail = Some(TailNode::begin(id, fields));
                head.nodes += 1;
                Mark::Begins
            }
        };
        self.put_entry(head.id, id, (mark, fields), ahead)?;
        (head.length, head.added, head.last) = (head.length + 1, head.added.saturating_add(1), id);
        if head.length == 1 {
            head.first = id;
        }
        Ok(())
    }

    /// Removes the entries with these ids. Returns how many there were.
    pub fn stream_delete(&mut self, key: &[u8], ids: &[StreamId]) -> Result<Lookup<u64>> {
        let mut opened = match self.open_stream_there(key)? {
            Lookup::Found(opened) => opened,
            other => return Ok(other.map(|_| 0)),
        };
        let mut removed = 0;
        for id in ids {
            let Some(entry) = self.entry_row(&opened.head, *id)? else { continue };
            if removed == 0 {
                self.begin_quiet_change(&mut opened)?;
            }
            let head = &mut opened.head;
            self.delete_entry(head.id, *id, entry.apart)?;
            self.entry_has_gone(head, *id, entry.mark)?;
            head.max_deleted = head.max_deleted.max(*id);
            removed += 1;
        }
        if removed > 0 {
            self.close_stream(&opened)?;
        }
        Ok(Lookup::Found(removed))
    }

    /// Counts an entry out whose row is deleted: the first entry and the nodes may be others now.
    fn entry_has_gone(&mut self, head: &mut StreamHead, id: StreamId, mark: Mark) -> Result<()> {
        head.length -= 1;
        if head.length == 0 {
            head.set_empty();
            return Ok(());
        }
        head.front = head.front.filter(|front| id != front.last).and_then(|mut front| {
            front.entries -= u64::from(id < front.last);
            (front.entries > 0).then_some(front)
        });
        // The first entry begins a node whatever its letter is.
        let is_first = id == head.first;
        if !is_first && mark == Mark::GoesOn {
            return Ok(());
        }
        let next = match id.next() {
            Some(next) => self.next_entry(head, next, Direction::Forward)?,
            None => None,
        };
        match next {
            Some(next) => {
                if is_first {
                    head.first = next.id;
                }
                match next.mark {
                    Mark::Begins => head.nodes -= 1,
                    Mark::GoesOn if is_first => {}
                    Mark::GoesOn => self.mark_entry(head.id, next, Mark::Begins)?,
                }
            }
            // The last node has no entry any more.
            None => (head.nodes, head.tail) = (head.nodes - 1, None),
        }
        Ok(())
    }

    /// Sets the last id, and what else is said.
    pub fn stream_set_id(
        &mut self,
        key: &[u8],
        counters: &StreamCounters,
    ) -> Result<Lookup<std::result::Result<(), NotSet>>> {
        let mut opened = match self.open_stream_there(key)? {
            Lookup::Found(opened) => opened,
            other => return Ok(other.map(|_| Ok(()))),
        };
        let head = &opened.head;
        if counters.last < head.max_deleted {
            return Ok(Lookup::Found(Err(NotSet::BelowDeleted)));
        }
        if head.length > 0 {
            let last = self.next_entry(head, StreamId::MAX, Direction::Backward)?;
            if last.is_some_and(|last| counters.last < last.id) {
                return Ok(Lookup::Found(Err(NotSet::BelowEntry)));
            }
            if counters.added.is_some_and(|added| added < head.length) {
                return Ok(Lookup::Found(Err(NotSet::BelowLength)));
            }
        }
        self.begin_quiet_change(&mut opened)?;
        let head = &mut opened.head;
        if head.has_dead_rows && head.length == 0 && counters.last < head.last {
            // New entries could come where dead rows wait for the sweeper.
            self.leave_dead_rows(head)?;
        }
        head.last = counters.last;
        head.added = counters.added.unwrap_or(head.added);
        head.max_deleted = counters.max_deleted.unwrap_or(head.max_deleted);
        self.close_stream(&opened)?;
        Ok(Lookup::Found(Ok(())))
    }

    /// Gives a stream without entries a new id for its rows. The dead ones stay behind with the old one.
    fn leave_dead_rows(&mut self, head: &mut StreamHead) -> Result<()> {
        let old = head.id;
        head.id = self.fresh_id()?;
        self.move_groups(old, head.id)?;
        head.has_dead_rows = false;
        Ok(())
    }

    /// The same for a key that is to have it too: its head.
    pub(super) fn copy_stream(&mut self, row: &KeyRow<'_>) -> Result<StreamHead> {
        let from = StreamHead::read(row)?;
        let is_ahead = self.is_copied_ahead(from.length);
        let id = if is_ahead { self.begin_ahead()? } else { self.fresh_id()? };
        self.copy_entries(&from, id, is_ahead)?;
        self.copy_groups(from.id, id)?;
        Ok(StreamHead { id, has_dead_rows: false, ..from })
    }
}

fn new_id(head: &StreamHead, new: NewId, now_ms: i64) -> std::result::Result<StreamId, NotAdded> {
    if head.last == StreamId::MAX {
        return Err(NotAdded::Exhausted);
    }
    let id = match new {
        NewId::Next => return head.next_id(now_ms.max(0).cast_unsigned()).ok_or(NotAdded::Exhausted),
        NewId::NextAt(ms) if ms == head.last.ms => {
            StreamId { ms, seq: head.last.seq.checked_add(1).ok_or(NotAdded::NotGreater)? }
        }
        NewId::NextAt(ms) => StreamId { ms, seq: 0 },
        NewId::Exactly(id) => id,
    };
    if id > head.last { Ok(id) } else { Err(NotAdded::NotGreater) }
}
