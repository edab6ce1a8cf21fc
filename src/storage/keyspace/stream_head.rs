//! What the key's row of a stream says: as text, a letter and then words with spaces between. And what follows from it alone, as Redis 7.2
//! has it: how far a group has read.

use std::fmt::Write as _;

use super::packed::damaged;
use super::stream_nodes::{FrontNode, TailNode};
use crate::storage::error::Result;
use crate::storage::rows::{Head, KeyRow, Kind, StreamId};

/// A stream without its entries. It is there also when it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamHead {
    /// Of its rows.
    pub id: i64,
    /// Entries that there are.
    pub length: u64,
    /// The last id given: later entries have greater ones.
    pub last: StreamId,
    /// Of the first entry; 0-0 where there is none.
    pub first: StreamId,
    /// The greatest id of an entry that XDEL has deleted.
    pub max_deleted: StreamId,
    /// Entries that were ever added.
    pub added: u64,
    pub groups: u64,
    /// Nodes in which Redis would keep the entries.
    pub nodes: u64,
    /// The last of these, if a further entry may go into it.
    pub(super) tail: Option<TailNode>,
    /// What is known of the first one, where it is not the last.
    pub(super) front: Option<FrontNode>,
    /// Rows of removed entries may lie before the first one.
    pub(super) has_dead_rows: bool,
}

const LETTER: u8 = b'x';

impl StreamHead {
    /// A new one, which has no id yet.
    pub(super) const EMPTY: Self = Self {
        id: 0,
        length: 0,
        last: StreamId::MIN,
        first: StreamId::MIN,
        max_deleted: StreamId::MIN,
        added: 0,
        groups: 0,
        nodes: 0,
        tail: None,
        front: None,
        has_dead_rows: false,
    };

    /// # Errors
    /// `Corrupt`
    pub fn read(row: &KeyRow<'_>) -> Result<Self> {
        let Head { id: Some(id), length, .. } = row.head else { return Err(damaged()) };
        let (letter, text) = row.value.and_then(<[u8]>::split_first).ok_or_else(damaged)?;
        let text = std::str::from_utf8(text).map_err(|_| damaged())?;
        let mut words = text.split(' ');
        let mut stream_id = || words.next().and_then(StreamId::parse).ok_or_else(damaged);
        let (last, first, max_deleted) = (stream_id()?, stream_id()?, stream_id()?);
        let mut count = || words.next().and_then(number).ok_or_else(damaged);
        let (added, groups, nodes) = (count()?, count()?, count()?);
        let mut head = Self { id, length, last, first, max_deleted, added, groups, nodes, ..Self::EMPTY };
        for word in words {
            match word.split_at_checked(1).ok_or_else(damaged)? {
                ("t", rest) => head.tail = Some(TailNode::read(rest).ok_or_else(damaged)?),
                ("f", rest) => head.front = Some(FrontNode::read(rest).ok_or_else(damaged)?),
                ("d", "") => head.has_dead_rows = true,
                _ => return Err(damaged()),
            }
        }
        let is_right = *letter == LETTER && head.first <= head.last && (length > 0) == (head.nodes > 0);
        if is_right && head.nodes <= length { Ok(head) } else { Err(damaged()) }
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let Self { last, first, max_deleted, added, groups, nodes, .. } = self;
        let mut text = String::with_capacity(128);
        text.push(char::from(LETTER));
        write!(text, "{last} {first} {max_deleted} {added} {groups} {nodes}").expect("a string takes it");
        if let Some(tail) = &self.tail {
            text.push_str(" t");
            tail.write(&mut text);
        }
        if let Some(front) = &self.front {
            text.push_str(" f");
            front.write(&mut text);
        }
        if self.has_dead_rows {
            text.push_str(" d");
        }
        text.into_bytes()
    }

    pub(super) fn row_head(&self, expires_at_ms: Option<i64>) -> Head {
        Head { kind: Kind::Stream, id: Some(self.id), expires_at_ms, length: self.length }
    }

    /// Nothing is left.
    pub(super) fn set_empty(&mut self) {
        (self.length, self.first, self.nodes, self.tail, self.front) = (0, StreamId::MIN, 0, None, None);
    }

    /// The next id, by the clock. None: there is none behind the last.
    #[must_use]
    pub fn next_id(&self, now_ms: u64) -> Option<StreamId> {
        if now_ms > self.last.ms { Some(StreamId { ms: now_ms, seq: 0 }) } else { self.last.next() }
    }

    /// Whether an entry was deleted behind `after`, or that one, as far as is known.
    #[must_use]
    pub fn has_deleted_from(&self, after: StreamId) -> bool {
        self.length > 0 && !self.max_deleted.is_zero() && self.first <= self.max_deleted && after <= self.max_deleted
    }

    /// Which of all entries ever added this one is, counted from 1: where that can be told.
    #[must_use]
    pub fn ordinal(&self, id: StreamId) -> Option<u64> {
        if self.added == 0 {
            return Some(0);
        }
        if (self.length == 0 && id <= self.last) || id == self.last {
            return Some(self.added);
        }
        let has_gaps = !self.max_deleted.is_zero() && self.max_deleted >= self.first;
        if id > self.last || has_gaps {
            return None;
        }
        let before = self.added.saturating_sub(self.length);
        match id.cmp(&self.first) {
            std::cmp::Ordering::Less => Some(before),
            std::cmp::Ordering::Equal => Some(before + 1),
            std::cmp::Ordering::Greater => None,
        }
    }

    /// How many entries a group has not been given that has read so many, up to `delivered`: where that can be told.
    #[must_use]
    pub fn lag(&self, delivered: StreamId, read: Option<u64>) -> Option<i64> {
        if self.added == 0 {
            return Some(0);
        }
        let read = read.filter(|_| !self.has_deleted_from(delivered)).or_else(|| self.ordinal(delivered))?;
        Some(self.added.wrapping_sub(read).cast_signed())
    }
}

pub(super) fn number(digits: &str) -> Option<u64> {
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    fn read(length: u64, text: &[u8]) -> Result<StreamHead> {
        let head = Head { kind: Kind::Stream, id: Some(7), expires_at_ms: None, length };
        StreamHead::read(&KeyRow { head, value: Some(text) })
    }

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let empty = StreamHead { id: 7, ..StreamHead::EMPTY };
        let tail = TailNode { master: id(5, 0), entries: 3, bytes: 40, digest: u64::MAX };
        let full = StreamHead {
            length: 4,
            last: id(u64::MAX, 1),
            first: id(1, 2),
            max_deleted: id(3, 4),
            added: 9,
            groups: 2,
            nodes: 2,
            tail: Some(tail),
            front: Some(FrontNode { entries: 1, last: id(1, 2) }),
            has_dead_rows: true,
            ..empty
        };
        for head in [empty, full, StreamHead { front: None, has_dead_rows: false, ..full }] {
            assert_eq!(read(head.length, &head.write()).unwrap(), head);
        }
        assert_eq!(empty.write(), b"x0-0 0-0 0-0 0 0 0");
        for text in ["", "x", "y0-0 0-0 0-0 0 0 0", "x0-0 0-0 0-0 0 0", "x0-0 0-1 0-0 0 0 0", "x0-0 0-0 0-0 0 0 0 z"] {
            assert!(read(0, text.as_bytes()).is_err(), "{text}");
        }
        assert!(read(1, b"x1-1 1-1 0-0 1 0 0").is_err());
        assert!(read(1, b"x1-1 1-1 0-0 1 0 2").is_err());
    }

    #[test]
    fn what_a_group_lacks_is_told_where_no_deletion_hides_it() {
        let head = StreamHead { length: 3, first: id(3, 0), last: id(5, 0), added: 5, ..StreamHead::EMPTY };
        assert_eq!([2, 3, 4, 5, 6].map(|ms| head.ordinal(id(ms, 0))), [Some(2), Some(3), None, Some(5), None]);
        assert_eq!(head.lag(id(4, 0), Some(4)), Some(1));
        assert_eq!((head.lag(id(4, 0), None), head.lag(id(5, 0), None)), (None, Some(0)));
        let gaps = StreamHead { max_deleted: id(4, 0), length: 2, ..head };
        assert_eq!((gaps.lag(id(3, 0), Some(3)), gaps.lag(id(4, 1), Some(4))), (None, Some(1)));
        let before = StreamHead { max_deleted: id(2, 0), ..head };
        assert_eq!(before.lag(id(0, 0), Some(1)), Some(4));
        assert_eq!(StreamHead { length: 0, ..gaps }.lag(id(1, 0), None), Some(0));
        assert_eq!(StreamHead::EMPTY.lag(id(9, 9), None), Some(0));
        assert_eq!(StreamHead { last: id(5, 5), ..head }.next_id(5), Some(id(5, 6)));
        assert_eq!(StreamHead { last: StreamId::MAX, ..head }.next_id(5), None);
    }
}
