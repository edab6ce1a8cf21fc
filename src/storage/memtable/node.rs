//! What lies in the arena: nodes, one for each row that the generation has anything of, and the versions of such a row.
//!
//! ```text
//! node      | tail length 32, levels 8, table 8, origin 8 | fields, 2 words | newest version | next, `levels` words |
//!           | of a key: next of its bucket, next of its space's chain |
//!           | id and expiry of the origin, if it has them | tail |
//! version   | older version 24, deleted 1 (bit 31), length 32 | seq | bytes of the row |
//! ```

use std::cmp::Ordering as Order;

use super::slot::{Link, Lost, OFFSET_MASK, Slot, word_of};
use crate::storage::broken::{self, Variant};
use crate::storage::rows::{Origin, RowKey, Table};
use crate::sys::atomic::Ordering;

const HIGH: usize = 1;
const LOW: usize = 2;
const NEWEST: usize = 3;
const NEXT: usize = 4;
const VERSION_WORDS: usize = 2;
const DELETED: u64 = 1 << 31;

/// What a row of no length takes at most, without levels above the first: origin, a tail's last word and a row's last word included, and of
/// a key the link of its chain.
pub(super) const ROW_WORDS_MAX: usize = NEXT + KEY_LEVELS + 2 + 1 + VERSION_WORDS + 1;

/// A key's node has a link of its bucket, and one of its space's chain.
pub(super) const KEY_LEVELS: usize = 2;
const CHAIN_LEVEL: usize = 1;

const ABSENT: u64 = 1;
const PRESENT: u64 = 2;
const HAS_ID: u64 = 4;
const HAS_EXPIRY: u64 = 8;
/// A bit of the header that only a broken variant sets.
const FORGOTTEN: u64 = 1 << 63;

/// A node, as its first words say.
#[derive(Clone, Copy)]
pub(super) struct Node {
    pub(super) at: usize,
    pub(super) fields: u128,
    header: u64,
}

/// A version of a row.
#[derive(Clone, Copy)]
pub(super) struct Version {
    bytes_at: usize,
    pub(super) length: usize,
    pub(super) is_deleted: bool,
    pub(super) seq: u64,
    older: usize,
}

/// What is put in front of a row that the generation has none of.
pub(super) struct Birth<'a> {
    pub(super) key: RowKey<'a>,
    pub(super) origin: Origin,
    pub(super) levels: usize,
}

impl Node {
    pub(super) fn read(slot: &Slot<'_>, at: usize) -> Result<Self, Lost> {
        let header = slot.load(at)?;
        let fields = u128::from(slot.load(at + HIGH)?) << 64 | u128::from(slot.load(at + LOW)?);
        Ok(Self { at, fields, header })
    }

    fn table_number(&self) -> u64 {
        self.header >> 40 & 0xff
    }

    pub(super) fn is_of(&self, table: Table) -> bool {
        self.table_number() == table as u64
    }

    pub(super) fn tail_length(&self) -> usize {
        self.header as u32 as usize
    }

    fn levels(&self) -> usize {
        (self.header >> 32 & 0xff) as usize
    }

    fn origin_flags(&self) -> u64 {
        self.header >> 48 & 0xff
    }

    fn tail_at(&self) -> usize {
        self.at + NEXT + self.levels() + origin_words(self.origin_flags())
    }

    pub(super) fn tail(&self, slot: &Slot<'_>, out: &mut Vec<u8>) -> Result<(), Lost> {
        slot.copy(self.tail_at(), self.tail_length(), out)
    }

    /// How the node's name compares with `key`.
    pub(super) fn compare(&self, slot: &Slot<'_>, key: RowKey<'_>) -> Result<Order, Lost> {
        let numbers = (self.table_number(), self.fields).cmp(&(key.table() as u64, key.fields()));
        if numbers != Order::Equal {
            return Ok(numbers);
        }
        let tail = key.tail();
        let shorter = self.tail_length().min(tail.len());
        let words = slot.range(self.tail_at(), shorter)?;
        for (number, word) in words.iter().enumerate() {
            // A word behind the end of the shorter one decides as its bytes do: they are zeros there.
            let order = word.load(Ordering::Relaxed).swap_bytes().cmp(&word_of(tail, number).swap_bytes());
            if order != Order::Equal {
                return Ok(order);
            }
        }
        Ok(self.tail_length().cmp(&tail.len()))
    }

    /// Whether it is the node of `key`.
    pub(super) fn is(&self, slot: &Slot<'_>, key: RowKey<'_>) -> Result<bool, Lost> {
        let is_alike = self.fields == key.fields() && self.tail_length() == key.tail().len();
        Ok(is_alike && self.compare(slot, key)? == Order::Equal)
    }

    /// How its name compares with that of a node of the same table, there or elsewhere.
    pub(super) fn compare_with(&self, slot: &Slot<'_>, other: &Node, elsewhere: &Slot<'_>) -> Result<Order, Lost> {
        if self.fields != other.fields {
            return Ok(self.fields.cmp(&other.fields));
        }
        let shorter = self.tail_length().min(other.tail_length());
        let here = slot.range(self.tail_at(), shorter)?;
        let there = elsewhere.range(other.tail_at(), shorter)?;
        let swapped = |word: &crate::sys::atomic::AtomicU64| word.load(Ordering::Relaxed).swap_bytes();
        let order = here.iter().map(swapped).cmp(there.iter().map(swapped));
        Ok(order.then(self.tail_length().cmp(&other.tail_length())))
    }

    /// Breaks a rule: its origin is what was known below its last version.
    pub(super) fn forget_origin(&self, slot: &Slot<'_>) {
        slot.store(self.at, self.header | FORGOTTEN);
    }

    pub(super) fn origin(&self, slot: &Slot<'_>) -> Result<Origin, Lost> {
        if broken::is(Variant::RenamedIdOrphaned) && self.header & FORGOTTEN != 0 {
            return Ok(Origin::Blind);
        }
        if broken::is(Variant::BlindnessOfLast)
            && let Some(older) = self.version(slot, u64::MAX)?.map(|newest| newest.older(slot)).transpose()?.flatten()
        {
            let below = Origin::Present { id: None, expires_at_ms: None };
            return Ok(if older.is_deleted { Origin::Absent } else { below });
        }
        let flags = self.origin_flags();
        let mut at = self.at + NEXT + self.levels();
        let mut number = |flag| -> Result<Option<i64>, Lost> {
            if flags & flag == 0 {
                return Ok(None);
            }
            at += 1;
            Ok(Some(slot.load(at - 1)?.cast_signed()))
        };
        Ok(match flags & (ABSENT | PRESENT) {
            ABSENT => Origin::Absent,
            PRESENT => Origin::Present { id: number(HAS_ID)?, expires_at_ms: number(HAS_EXPIRY)? },
            _ => Origin::Blind,
        })
    }

    /// The newest version of a group not later than `seq`.
    pub(super) fn version(&self, slot: &Slot<'_>, seq: u64) -> Result<Option<Version>, Lost> {
        let Some(newest) = slot.link(newest_at(self.at))? else { return Err(Lost) };
        let mut version = Version::read(slot, newest.at)?;
        while version.seq > seq {
            match version.older(slot)? {
                Some(older) => version = older,
                None => return Ok(None),
            }
        }
        Ok(Some(version))
    }
}

impl Version {
    fn read(slot: &Slot<'_>, at: usize) -> Result<Self, Lost> {
        let word = slot.load(at)?;
        Ok(Self {
            bytes_at: at + VERSION_WORDS,
            length: (word >> 32) as usize,
            is_deleted: word & DELETED != 0,
            seq: slot.load(at + 1)?,
            older: (word & OFFSET_MASK) as usize,
        })
    }

    /// Older ones were made before, so they lie before.
    fn older(&self, slot: &Slot<'_>) -> Result<Option<Self>, Lost> {
        match self.older {
            0 => Ok(None),
            older if older + VERSION_WORDS < self.bytes_at && older >= slot.layout.arena => {
                Self::read(slot, older).map(Some)
            }
            _ => Err(Lost),
        }
    }

    /// Appends the first `length` bytes of the row, or all.
    pub(super) fn copy(&self, slot: &Slot<'_>, length: usize, out: &mut Vec<u8>) -> Result<(), Lost> {
        slot.copy(self.bytes_at, self.length.min(length), out)
    }
}

/// Where a node has the link to its newest version.
pub(super) fn newest_at(node: usize) -> usize {
    node + NEWEST
}

/// Where a node has its link to the next one of a level; of level 0 to the next one of its bucket, if it is a key's.
pub(super) fn next_at(node: usize, level: usize) -> usize {
    node + NEXT + level
}

/// Where a key's node has its link to the next one of its space's chain.
pub(super) fn chained_at(node: usize) -> usize {
    next_at(node, CHAIN_LEVEL)
}

fn origin_words(flags: u64) -> usize {
    usize::from(flags & HAS_ID != 0) + usize::from(flags & HAS_EXPIRY != 0)
}

impl Birth<'_> {
    fn origin(&self) -> (u64, Option<i64>, Option<i64>) {
        match self.origin {
            Origin::Blind => (0, None, None),
            Origin::Absent => (ABSENT, None, None),
            Origin::Present { id, expires_at_ms } => {
                let flags = PRESENT
                    + if id.is_some() { HAS_ID } else { 0 }
                    + if expires_at_ms.is_some() { HAS_EXPIRY } else { 0 };
                (flags, id, expires_at_ms)
            }
        }
    }

    pub(super) fn words(&self) -> usize {
        NEXT + self.levels + origin_words(self.origin().0) + self.key.tail().len().div_ceil(8)
    }

    /// Writes the node, which nobody sees yet, with its first version right behind it.
    pub(super) fn write(&self, slot: &Slot<'_>, at: usize, next: impl Fn(usize) -> u64) {
        let (flags, id, expires_at_ms) = self.origin();
        let tail = self.key.tail();
        let header = flags << 48 | (self.key.table() as u64) << 40 | (self.levels as u64) << 32 | tail.len() as u64;
        slot.store(at, header);
        slot.store(at + HIGH, (self.key.fields() >> 64) as u64);
        slot.store(at + LOW, self.key.fields() as u64);
        slot.store(newest_at(at), slot.link_word(Link::to(at + self.words())));
        (0..self.levels).for_each(|level| slot.store(next_at(at, level), next(level)));
        let mut place = next_at(at, self.levels);
        for number in [id, expires_at_ms].into_iter().flatten() {
            slot.store(place, number.cast_unsigned());
            place += 1;
        }
        slot.store_bytes(place, tail);
    }
}

pub(super) fn version_words(row: Option<&[u8]>) -> usize {
    VERSION_WORDS + row.map_or(0, |bytes| bytes.len().div_ceil(8))
}

/// Writes a version that nobody sees yet. `older` is 0 where there is none.
pub(super) fn write_version(slot: &Slot<'_>, at: usize, older: usize, seq: u64, row: Option<&[u8]>) {
    let length = row.map_or(DELETED, |bytes| (bytes.len() as u64) << 32);
    slot.store(at, length | older as u64);
    slot.store(at + 1, seq);
    slot.store_bytes(at + VERSION_WORDS, row.unwrap_or_default());
}

/// Behind the words of a new version come those of the version it follows.
pub(super) fn newest(slot: &Slot<'_>, node: usize) -> Result<(usize, u64), Lost> {
    let link = slot.link(newest_at(node))?.ok_or(Lost)?;
    Ok((link.at, slot.load(link.at + 1)?))
}
