//! The format of a group, and its way back to changes.
//!
//! ```text
//! group    magic "emJ1" | tickets u32 | length u64 | generation u64 | seq u64 | boot u64 | changes u64      big-endian, for SQL
//!          a ticket each    incarnation u64 | number u64      from here on little-endian
//!          a change each    table u8 | flags u8 | size of fields u8 | fields | origin's id i64? | origin's expires_at_ms i64?
//!                           | length of tail | tail | length of row? | row?
//! end      four bytes 0, or nothing
//! ```
//! A ticket's number is of the last job applied; with 2^62 added, of a job that is parked; with 2^63, of one that was parked and is served.
//! Each group has one way to be written: whatever else is there is an error. SQLite sees to it that a group is there as a whole
//! or not at all, so it has no checksum.

use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{Origin, Row, RowKey, Table};

pub(super) const MAGIC: [u8; 4] = *b"emJ1";
/// What stands before the tickets.
pub const HEAD_BYTES: usize = 48;
const TICKET_BYTES: usize = 16;

pub(super) const PUT: u8 = 1;
const ORIGIN: u8 = 2 | 4;
pub(super) const ORIGIN_BLIND: u8 = 0;
pub(super) const ORIGIN_ABSENT: u8 = 2;
pub(super) const ORIGIN_PRESENT: u8 = 4;
pub(super) const HAS_ID: u8 = 8;
pub(super) const HAS_EXPIRES_AT: u8 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// To which the group belongs for ever.
    pub generation: u64,
    /// The group's number, one more than the group's before.
    pub seq: u64,
    /// The start of the service that the tickets belong to.
    pub boot: u64,
}

/// A group in its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    pub head: Head,
    tickets: &'a [u8],
    changes_count: u64,
    changes: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    pub key: RowKey<'a>,
    /// None: it is deleted.
    pub row: Option<Row<'a>>,
    pub origin: Origin,
}

/// Head and length of the group that begins here, of which at least the first `HEAD_BYTES` are given, unless fewer are there; None: there
/// is no further group.
///
/// # Errors
/// `Corrupt`: no group begins here.
pub fn head_of(beginning: &[u8]) -> Result<Option<(Head, u64)>> {
    if beginning.iter().take(MAGIC.len()).all(|byte| *byte == 0) {
        return Ok(None);
    }
    if beginning.len() < HEAD_BYTES || beginning[..4] != MAGIC {
        return Err(damaged("no group begins where one should"));
    }
    let [length, generation, seq, boot] = [8, 16, 24, 32].map(|at| word(beginning, at));
    if length < HEAD_BYTES as u64 {
        return Err(damaged("a group is shorter than its head"));
    }
    Ok(Some((Head { generation, seq, boot }, length)))
}

impl<'a> Group<'a> {
    /// From the bytes of one group, no more and no fewer. Its changes are looked at one by one, when they are asked for.
    ///
    /// # Errors
    /// `Corrupt`
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let Some((head, _)) = head_of(bytes)?.filter(|(_, length)| *length == bytes.len() as u64) else {
            return Err(damaged("a group is cut off"));
        };
        let tickets_count = u32::from_be_bytes(std::array::from_fn(|at| bytes[4 + at])) as usize;
        let mut rest = Rest(&bytes[HEAD_BYTES..]);
        let tickets = rest.take(tickets_count.saturating_mul(TICKET_BYTES))?;
        Ok(Self { head, tickets, changes_count: word(bytes, 40), changes: rest.0 })
    }

    /// (incarnation, number)
    pub fn tickets(&self) -> impl Iterator<Item = (u64, u64)> {
        let number = |ticket: &[u8], at| u64::from_le_bytes(std::array::from_fn(|i| ticket[at + i]));
        self.tickets.chunks_exact(TICKET_BYTES).map(move |ticket| (number(ticket, 0), number(ticket, 8)))
    }

    /// Says how many changes there are: for whoever makes room. It is not yet known to be true.
    #[must_use]
    pub fn changes_count(&self) -> u64 {
        self.changes_count
    }

    /// Until the first error, which is `Corrupt`.
    pub fn changes(&self) -> impl Iterator<Item = Result<Change<'a>>> + use<'a> {
        let (mut rest, mut left) = (Rest(self.changes), self.changes_count);
        std::iter::from_fn(move || {
            if left == 0 {
                let is_over = rest.0.is_empty();
                rest = Rest(&[]);
                return (!is_over).then(|| Err(damaged("a group has more bytes than changes")));
            }
            left -= 1;
            let change = rest.change();
            if change.is_err() {
                (rest, left) = (Rest(&[]), 0);
            }
            Some(change)
        })
    }
}

/// Bytes that are not yet read.
#[derive(Clone, Copy)]
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn change(&mut self) -> Result<Change<'a>> {
        let [table, flags, fields_bytes] = self.array()?;
        let table = table_of(table)?;
        let is_put = flags & PUT != 0;
        let fields = self.fields(usize::from(fields_bytes))?;
        let id = if flags & HAS_ID == 0 { None } else { Some(i64::from_le_bytes(self.array()?)) };
        let expires_at_ms = if flags & HAS_EXPIRES_AT == 0 { None } else { Some(i64::from_le_bytes(self.array()?)) };
        let origin = match flags & ORIGIN {
            ORIGIN_PRESENT => Origin::Present { id, expires_at_ms },
            _ if id.is_some() || expires_at_ms.is_some() => return Err(damaged("an origin has what it can't have")),
            ORIGIN_BLIND => Origin::Blind,
            ORIGIN_ABSENT => Origin::Absent,
            _ => return Err(damaged("a change of unknown origin")),
        };
        if flags & !(PUT | ORIGIN | HAS_ID | HAS_EXPIRES_AT) != 0 {
            return Err(damaged("a change has unknown flags"));
        }
        let tail = self.lengthy()?;
        let key = RowKey::checked(table, fields, tail).ok_or_else(|| damaged("a row has no such key"))?;
        let row = match is_put {
            true => {
                let bytes = self.lengthy()?;
                Some(Row::checked(table, bytes).ok_or_else(|| damaged("a row is not of its table"))?)
            }
            false => None,
        };
        Ok(Change { key, row, origin })
    }

    fn fields(&mut self, size: usize) -> Result<u128> {
        let mut bytes = [0; 16];
        let written = self.take(size)?;
        let Some(place) = bytes.get_mut(..size).filter(|_| written.last() != Some(&0)) else {
            return Err(damaged("a key's fields have a wrong size"));
        };
        place.copy_from_slice(written);
        Ok(u128::from_le_bytes(bytes))
    }

    /// What has its length before it.
    fn lengthy(&mut self) -> Result<&'a [u8]> {
        let mut length = 0u64;
        for shift in (0..63).step_by(7) {
            let [byte] = self.array()?;
            length |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    break;
                }
                return self.take(usize::try_from(length).unwrap_or(usize::MAX));
            }
        }
        Err(damaged("a length is written wrongly"))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(|| damaged("a group ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let taken = self.take(N)?;
        Ok(std::array::from_fn(|at| taken[at]))
    }
}

/// Part of the format.
pub(super) fn table_number(table: Table) -> u8 {
    table as u8
}

fn table_of(number: u8) -> Result<Table> {
    let found = Table::ALL.into_iter().find(|table| table_number(*table) == number);
    found.ok_or_else(|| damaged("a change of an unknown table"))
}

/// Of a head.
fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn damaged(what: &str) -> StorageError {
    StorageError::Corrupt(format!("the journal: {what}"))
}
