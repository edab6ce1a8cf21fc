//! What a row holds, and its bytes: within a batch, and in the journal, of whose format they are a part.

use super::{StreamId, Table};
use crate::storage::error::{Result, StorageError};

/// What a key holds. The numbers are part of the file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    String = 1,
    List = 2,
    Set = 3,
    SortedSet = 4,
    Hash = 5,
    Stream = 6,
}

impl Kind {
    /// # Errors
    /// `Corrupt`: there is no such kind.
    pub fn from_number(number: i64) -> Result<Self> {
        Ok(match number {
            1 => Self::String,
            2 => Self::List,
            3 => Self::Set,
            4 => Self::SortedSet,
            5 => Self::Hash,
            6 => Self::Stream,
            other => return Err(StorageError::Corrupt(format!("a key of unknown kind {other}"))),
        })
    }
}

/// A key's row without key and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub kind: Kind,
    /// Names the rows of the value, when it does not lie in the key's own row.
    pub id: Option<i64>,
    pub expires_at_ms: Option<i64>,
    /// Bytes of a string, members of anything else.
    pub length: u64,
}

/// A key's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRow<'a> {
    pub head: Head,
    /// None also where only the head was asked for.
    pub value: Option<&'a [u8]>,
}

/// An element's row, without its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElementRow<'a> {
    /// Of a hash's field; empty where there is none, or where it lies apart. Of a member of a sorted set its score as 8 bytes, and if it
    /// is a long one the label in its place in the order; there it is empty, or a byte where the score is -0. Of counts one number or two.
    /// Of a stream's entry a letter and then its fields, or, where they lie apart, the letter; of what belongs to groups a text.
    pub value: &'a [u8],
    pub apart: Option<Apart>,
}

/// Where the bytes of a long element lie: the name, if that is long, and then the value, in chunks. A row of their length would slow
/// down its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Apart {
    /// Of the chunks.
    pub id: i64,
    /// 0: the name is in the row's key.
    pub name_bytes: u64,
    pub value_bytes: u64,
}

/// What lies under a row key; which of them, its table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row<'a> {
    Orphan,
    /// The items of a list before, or behind, this position.
    OrphanItems(u64),
    /// The entries of a stream up to this one.
    OrphanEntries(StreamId),
    Chunk(&'a [u8]),
    Element(ElementRow<'a>),
    Key(KeyRow<'a>),
    /// The space where the database's keys lie. It never was another's, and never will be.
    Database(u64),
}

const HAS_ID: u8 = 1;
const HAS_EXPIRY: u8 = 2;
const HAS_VALUE: u8 = 4;
const HEAD_BYTES: usize = 26;
/// Before an element's value: nothing lies apart, or what lies there.
const APART_BYTES: usize = 24;

impl<'a> Row<'a> {
    /// The key's row.
    ///
    /// # Panics
    /// The row is of another table, which its key has told.
    #[must_use]
    pub fn of_key(self) -> KeyRow<'a> {
        match self {
            Row::Key(row) => row,
            other => panic!("{other:?} is no key's row"),
        }
    }

    /// The element's row.
    ///
    /// # Panics
    /// The row is of another table, which its key has told.
    #[must_use]
    pub fn of_element(self) -> ElementRow<'a> {
        match self {
            Row::Element(row) => row,
            other => panic!("{other:?} is no element's row"),
        }
    }

    /// How many rows one of this table stands for: a count for as many as it says, any other for itself. `None`: it says nothing.
    #[must_use]
    pub fn counted(self, table: Table) -> Option<u64> {
        if !table.counts_others() {
            return Some(1);
        }
        self.of_element().value.first_chunk().map(|word| u64::from_le_bytes(*word))
    }

    #[must_use]
    pub fn bytes_len(&self) -> usize {
        match self {
            Row::Orphan => 0,
            Row::OrphanItems(_) | Row::Database(_) => 8,
            Row::OrphanEntries(_) => 16,
            Row::Chunk(bytes) => bytes.len(),
            Row::Element(row) => 1 + row.apart.map_or(0, |_| APART_BYTES) + row.value.len(),
            Row::Key(row) => HEAD_BYTES + row.value.map_or(0, <[u8]>::len),
        }
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Row::Orphan => {}
            Row::OrphanItems(position) => out.extend_from_slice(&position.to_le_bytes()),
            Row::OrphanEntries(id) => out.extend_from_slice(&id.bytes()),
            Row::Chunk(bytes) => out.extend_from_slice(bytes),
            Row::Element(ElementRow { value, apart }) => {
                out.push(u8::from(apart.is_some()));
                if let Some(Apart { id, name_bytes, value_bytes }) = apart {
                    out.extend_from_slice(&id.to_le_bytes());
                    out.extend_from_slice(&name_bytes.to_le_bytes());
                    out.extend_from_slice(&value_bytes.to_le_bytes());
                }
                out.extend_from_slice(value);
            }
            Row::Key(KeyRow { head, value }) => {
                let mut bytes = [0; HEAD_BYTES];
                bytes[0] = head.kind as u8;
                bytes[1] = u8::from(head.id.is_some()) * HAS_ID
                    + u8::from(head.expires_at_ms.is_some()) * HAS_EXPIRY
                    + u8::from(value.is_some()) * HAS_VALUE;
                bytes[2..10].copy_from_slice(&head.id.unwrap_or(0).to_le_bytes());
                bytes[10..18].copy_from_slice(&head.expires_at_ms.unwrap_or(0).to_le_bytes());
                bytes[18..26].copy_from_slice(&head.length.to_le_bytes());
                out.extend_from_slice(&bytes);
                out.extend_from_slice(value.unwrap_or_default());
            }
            Row::Database(space) => out.extend_from_slice(&space.to_le_bytes()),
        }
    }

    /// How many of a row's bytes `part` takes at most.
    pub(in crate::storage) fn part_bytes_max(table: super::Table, part: super::Part) -> usize {
        if table == super::Table::Key && part == super::Part::Head { HEAD_BYTES } else { usize::MAX }
    }

    /// From as many of the bytes as `part` takes, as `checked` does.
    pub(in crate::storage) fn checked_part(table: super::Table, bytes: &'a [u8], part: super::Part) -> Option<Self> {
        match Self::checked(table, bytes)? {
            Row::Key(row) if part == super::Part::Head => Some(Row::Key(KeyRow { value: None, ..row })),
            row => Some(row),
        }
    }

    /// From what `write` has written for a row of this table.
    pub(super) fn read(table: super::Table, bytes: &'a [u8]) -> Self {
        Self::checked(table, bytes).expect("a batch has rows that there are")
    }

    /// From bytes that were written down; None where `write` writes no such for a row of this table.
    #[must_use]
    pub fn checked(table: super::Table, bytes: &'a [u8]) -> Option<Self> {
        match table {
            super::Table::Orphan if bytes.is_empty() => Some(Row::Orphan),
            super::Table::Orphan if bytes.len() == 16 => Some(Row::OrphanEntries(StreamId::of_bytes(bytes)?)),
            super::Table::Orphan => Some(Row::OrphanItems(u64::from_le_bytes(bytes.try_into().ok()?))),
            super::Table::Chunk => Some(Row::Chunk(bytes)),
            super::Table::Database => Some(Row::Database(u64::from_le_bytes(bytes.try_into().ok()?))),
            super::Table::HashField
            | super::Table::SetMember
            | super::Table::ListItem
            | super::Table::ListCount
            | super::Table::SortedMember
            | super::Table::SortedOrder
            | super::Table::CountBlock
            | super::Table::CountSum
            | super::Table::StreamEntry
            | super::Table::StreamGroup
            | super::Table::StreamConsumer
            | super::Table::StreamConsumerName
            | super::Table::StreamPending
            | super::Table::StreamOwned => {
                let (flag, rest) = bytes.split_first()?;
                let word = |at: usize| Some(u64::from_le_bytes(*rest.get(at..)?.first_chunk()?));
                let apart = match flag {
                    0 => None,
                    1 => Some(Apart { id: word(0)?.cast_signed(), name_bytes: word(8)?, value_bytes: word(16)? }),
                    _ => return None,
                };
                let value = if apart.is_some() { &rest[APART_BYTES..] } else { rest };
                let is_apart = apart.is_some();
                let is_right = match table {
                    super::Table::SortedMember => value.len() == if is_apart { 16 } else { 8 },
                    super::Table::SortedOrder => matches!(value, [] | [1]),
                    super::Table::CountBlock => !is_apart && value.len() == 8,
                    super::Table::CountSum => !is_apart && value.len() == 16,
                    super::Table::StreamEntry => !value.is_empty() && (!is_apart || value.len() == 1),
                    super::Table::StreamGroup => is_apart && !value.is_empty(),
                    super::Table::StreamPending => !is_apart && !value.is_empty(),
                    super::Table::StreamOwned => !is_apart && value.is_empty(),
                    _ => !is_apart || value.is_empty(),
                };
                is_right.then_some(Row::Element(ElementRow { value, apart }))
            }
            super::Table::Key => {
                let (head, value) = bytes.split_at_checked(HEAD_BYTES)?;
                let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| head[at + i]));
                let flags = head[1];
                let optional = |flag: u8, word: u64| match flags & flag {
                    0 => (word == 0).then_some(None),
                    _ => Some(Some(word.cast_signed())),
                };
                let has_value = flags & HAS_VALUE != 0;
                if flags & !(HAS_ID | HAS_EXPIRY | HAS_VALUE) != 0 || !(has_value || value.is_empty()) {
                    return None;
                }
                let head = Head {
                    kind: Kind::from_number(i64::from(head[0])).ok()?,
                    id: optional(HAS_ID, word(2))?,
                    expires_at_ms: optional(HAS_EXPIRY, word(10))?,
                    length: word(18),
                };
                Some(Row::Key(KeyRow { head, value: has_value.then_some(value) }))
            }
        }
    }
}
