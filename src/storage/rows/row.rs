//! What a row holds, and its bytes within a batch.

use crate::storage::error::{Result, StorageError};

/// What a key holds. The numbers are part of the file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    String = 1,
    List = 2,
    Set = 3,
    SortedSet = 4,
    Hash = 5,
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

/// What lies under a row key; which of them, its table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row<'a> {
    Orphan,
    Chunk(&'a [u8]),
    Key(KeyRow<'a>),
    /// The space where the database's keys lie.
    Database(u16),
}

const HAS_ID: u8 = 1;
const HAS_EXPIRY: u8 = 2;
const HAS_VALUE: u8 = 4;
const HEAD_BYTES: usize = 26;

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

    pub(super) fn bytes_len(&self) -> usize {
        match self {
            Row::Orphan => 0,
            Row::Chunk(bytes) => bytes.len(),
            Row::Key(row) => HEAD_BYTES + row.value.map_or(0, <[u8]>::len),
            Row::Database(_) => 2,
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Row::Orphan => {}
            Row::Chunk(bytes) => out.extend_from_slice(bytes),
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

    /// From what `write` has written for a row of this table.
    pub(super) fn read(table: super::Table, bytes: &'a [u8]) -> Self {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        match table {
            super::Table::Orphan => Row::Orphan,
            super::Table::Chunk => Row::Chunk(bytes),
            super::Table::Database => Row::Database(u16::from_le_bytes([bytes[0], bytes[1]])),
            super::Table::Key => {
                let flags = bytes[1];
                let kind = Kind::from_number(i64::from(bytes[0])).expect("a batch has kinds that there are");
                let head = Head {
                    kind,
                    id: (flags & HAS_ID != 0).then(|| word(2).cast_signed()),
                    expires_at_ms: (flags & HAS_EXPIRY != 0).then(|| word(10).cast_signed()),
                    length: word(18),
                };
                Row::Key(KeyRow { head, value: (flags & HAS_VALUE != 0).then(|| &bytes[HEAD_BYTES..]) })
            }
        }
    }
}
