//! Removing the first entries of a stream: by how many are to stay, or by the id of the first that is to stay; exactly, or by whole nodes as
//! Redis does with `~`. What is removed is read; only of few entries the rows are deleted, else the sweeper takes them.

use std::ops::ControlFlow;

use super::keyspace::{Keyspace, Lookup, Store};
use super::stream_entries::Mark;
use super::stream_head::StreamHead;
use super::stream_nodes::FrontNode;
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{Apart, Direction, StreamId};

/// What is to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim {
    pub to: TrimTo,
    /// By whole nodes only, none of which holds what is to stay.
    pub is_approximate: bool,
    /// Of what is removed by whole nodes; 0: as many as there are.
    pub entries_max: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrimTo {
    Length(u64),
    /// Entries with lower ids go.
    Id(StreamId),
}

/// What a walk over entries to be removed has found.
#[derive(Default)]
struct Cut {
    count: u64,
    /// Nodes that begin among them, behind the first entry.
    nodes: u64,
    /// Of so many that their rows are to be deleted.
    rows: Vec<(StreamId, Option<Apart>)>,
    /// The last of them.
    last: Option<StreamId>,
    /// The first entry that stays.
    first_kept: Option<(StreamId, Mark)>,
}

impl<S: Store> Keyspace<S> {
    /// Removes first entries. Returns how many.
    pub fn stream_trim(&mut self, key: &[u8], trim: &Trim) -> Result<Lookup<u64>> {
        let mut opened = match self.open_stream_there(key)? {
            Lookup::Found(opened) => opened,
            other => return Ok(other.map(|_| 0)),
        };
        let goes = self.may_trim(&opened.head, trim)
            && (!trim.is_approximate || self.next_node_to_go(&mut opened.head, trim, 0)?.is_some());
        if !goes {
            return Ok(Lookup::Found(0));
        }
        self.begin_quiet_change(&mut opened)?;
        let removed = self.trim_entries(&mut opened.head, trim)?;
        self.close_stream(&opened)?;
        Ok(Lookup::Found(removed))
    }

    /// Whether there may be something to be removed: by the head alone.
    fn may_trim(&self, head: &StreamHead, trim: &Trim) -> bool {
        match trim.to {
            TrimTo::Length(length) => head.length > length,
            TrimTo::Id(id) => head.length > 0 && head.first < id,
        }
    }

    pub(super) fn trim_entries(&mut self, head: &mut StreamHead, trim: &Trim) -> Result<u64> {
        if !self.may_trim(head, trim) {
            return Ok(0);
        }
        if trim.is_approximate {
            return self.trim_nodes(head, trim);
        }
        match trim.to {
            TrimTo::Id(first) => self.cut_front(head, 0, &mut |id, _| id < first),
            TrimTo::Length(0) if head.length > self.layout.list_deletes_max => self.cut_all(head),
            TrimTo::Length(length) => {
                let count = head.length - length;
                if length < count && count > self.layout.list_deletes_max {
                    return self.keep_back(head, length);
                }
                self.cut_front(head, 0, &mut |_, index| index < count)
            }
        }
    }

    /// Node by node, as long as no entry of it is to stay.
    fn trim_nodes(&mut self, head: &mut StreamHead, trim: &Trim) -> Result<u64> {
        let mut removed = 0;
        while let Some(front) = self.next_node_to_go(head, trim, removed)? {
            removed += self.cut_front(head, removed, &mut |id, _| id <= front.last)?;
        }
        Ok(removed)
    }

    /// The first node, if it is to go where so many entries have gone before.
    fn next_node_to_go(&self, head: &mut StreamHead, trim: &Trim, removed: u64) -> Result<Option<FrontNode>> {
        if !self.may_trim(head, trim) {
            return Ok(None);
        }
        let front = self.front_node(head)?;
        let is_within = trim.entries_max == 0 || removed + front.entries <= trim.entries_max;
        let goes = match trim.to {
            TrimTo::Length(length) => head.length - front.entries >= length,
            TrimTo::Id(first) => front.last < first,
        };
        Ok(Some(front).filter(|_| is_within && goes))
    }

    /// The first node: it is looked at once, unless it is the only one and changes with each entry.
    fn front_node(&self, head: &mut StreamHead) -> Result<FrontNode> {
        if let Some(front) = head.front {
            return Ok(front);
        }
        let mut front = FrontNode { entries: 0, last: head.first };
        if head.tail.is_some_and(|tail| tail.master <= head.first) {
            let last = self.next_entry(head, StreamId::MAX, Direction::Backward)?;
            return Ok(FrontNode { entries: head.length, last: last.map_or(head.last, |last| last.id) });
        }
        self.walk_entries::<StorageError>(head, (head.first, head.last), Direction::Forward, &mut |id, row| {
            if front.entries > 0 && Mark::of(&row)? == Mark::Begins {
                return Ok(ControlFlow::Break(()));
            }
            front = FrontNode { entries: front.entries + 1, last: id };
            Ok(ControlFlow::Continue(()))
        })?;
        head.front = Some(front);
        Ok(front)
    }

    /// Removes the first entries as long as `goes` says so of their ids and indexes. `before`: so many the same call has removed already.
    fn cut_front(
        &mut self,
        head: &mut StreamHead,
        before: u64,
        goes: &mut dyn FnMut(StreamId, u64) -> bool,
    ) -> Result<u64> {
        let deletes_max = self.layout.list_deletes_max.saturating_sub(before);
        let mut cut = Cut::default();
        self.walk_entries::<StorageError>(head, (head.first, head.last), Direction::Forward, &mut |id, row| {
            let mark = Mark::of(&row)?;
            if !goes(id, cut.count) {
                cut.first_kept = Some((id, mark));
                return Ok(ControlFlow::Break(()));
            }
            cut.nodes += u64::from(cut.count > 0 && mark == Mark::Begins);
            cut.count += 1;
            cut.last = Some(id);
            if cut.count <= deletes_max {
                cut.rows.push((id, row.apart));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let Some(last) = cut.last else { return Ok(0) };
        if cut.count <= deletes_max {
            for (id, apart) in cut.rows {
                self.delete_entry(head.id, id, apart)?;
            }
        } else {
            self.give_up_entries(head, last)?;
        }
        let Some((first, mark)) = cut.first_kept else {
            head.set_empty();
            return Ok(cut.count);
        };
        head.length -= cut.count;
        head.first = first;
        match mark {
            Mark::Begins => (head.nodes, head.front) = (head.nodes - cut.nodes - 1, None),
            Mark::GoesOn => {
                head.nodes -= cut.nodes;
                let is_within = cut.nodes == 0;
                head.front = head
                    .front
                    .filter(|_| is_within)
                    .map(|front| FrontNode { entries: front.entries - cut.count, ..front });
            }
        }
        Ok(cut.count)
    }

    /// All entries: none of them need be read.
    fn cut_all(&mut self, head: &mut StreamHead) -> Result<u64> {
        let count = head.length;
        self.give_up_entries(head, head.last)?;
        head.set_empty();
        Ok(count)
    }

    /// Removes all but the last entries, so many: at least one, and fewer than those that go. They are read from the end.
    fn keep_back(&mut self, head: &mut StreamHead, length: u64) -> Result<u64> {
        let (mut seen, mut nodes, mut kept) = (0, 0, None);
        let mut gone = None;
        self.walk_entries::<StorageError>(head, (head.first, head.last), Direction::Backward, &mut |id, row| {
            if seen == length {
                gone = Some(id);
                return Ok(ControlFlow::Break(()));
            }
            let mark = Mark::of(&row)?;
            seen += 1;
            nodes += u64::from(mark == Mark::Begins);
            kept = Some((id, mark));
            Ok(ControlFlow::Continue(()))
        })?;
        let (Some((first, mark)), Some(last)) = (kept, gone) else { return Err(lacks_entries()) };
        let removed = head.length - length;
        self.give_up_entries(head, last)?;
        (head.length, head.first, head.front) = (length, first, None);
        head.nodes = nodes + u64::from(mark == Mark::GoesOn);
        Ok(removed)
    }
}

pub(super) fn lacks_entries() -> StorageError {
    StorageError::Corrupt("a stream has fewer entries than its key's row says".into())
}
