//! Where a key lives. The table `keyspace` is an open-addressing hash table whose buckets are rowids, so that a point
//! read and a random insert touch one b-tree with integer keys, and a walk in rowid order is a walk in hash order.
//!
//! ```text
//! slot (rowid) = space << 48 | position        space 1..2^15-1, position 1..2^48-1
//! position     = the key's home (rows/home.rs), then the next free one (linear probing)
//! ```
//! The invariant: every slot from a key's home to the slot where it lies is taken. So a lookup stops at the first gap,
//! and a removal shifts later members of the run back into the hole (`slot_rows.rs`). The layout is part of the file format.

use crate::storage::rows::POSITION_BITS;

/// Spaces are numbered 1..=SPACE_MAX in the slots.
pub(super) const SPACE_MAX: u16 = (1 << 15) - 1;

const POSITION_MASK: i64 = (1 << POSITION_BITS) - 1;

pub(super) fn first_slot(space: u16) -> i64 {
    i64::from(space) << POSITION_BITS
}

pub(super) fn last_slot(space: u16) -> i64 {
    first_slot(space) | POSITION_MASK
}

pub(super) fn space_of(slot: i64) -> u16 {
    (slot >> POSITION_BITS) as u16
}

/// The slot at `position`.
pub(super) fn slot_at(space: u16, position: u64) -> i64 {
    first_slot(space) | (position.cast_signed() & POSITION_MASK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::rows::Homes;

    #[test]
    fn a_home_lies_in_its_space_and_leaves_room_for_its_run() {
        let homes = Homes::new([7; 16]);
        for n in 0..10_000u32 {
            for space in [1, 2, SPACE_MAX] {
                let position = homes.position(&n.to_le_bytes());
                let home = slot_at(space, position);
                assert_eq!(space_of(home), space);
                assert!(home > first_slot(space) && home + (1 << 15) < last_slot(space));
                assert_eq!(home - first_slot(space), position.cast_signed());
            }
        }
    }
}
