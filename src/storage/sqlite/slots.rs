//! Where a key lives. The table `keyspace` is an open-addressing hash table whose buckets are rowids, so that a point
//! read and a random insert touch one b-tree with integer keys, and a walk in rowid order is a walk in hash order.
//!
//! ```text
//! slot (rowid) = space << 48 | position        space 1..2^15-1, position 1..2^48-1
//! position     = 1 + SipHash-1-3(seed, key) mod (2^48 - 2^16), then the next free one (linear probing)
//! ```
//! The invariant: every slot from a key's home to the slot where it lies is taken. So a lookup stops at the first gap,
//! and a removal shifts later members of the run back into the hole (`rows.rs`). Hash, seed and layout are part of the
//! file format.

use siphasher::sip::SipHasher13;

const POSITION_BITS: u32 = 48;
const POSITION_MASK: i64 = (1 << POSITION_BITS) - 1;
/// The last 2^16 positions are nobody's home: a run that begins before them has room to end in its own space.
const HOMES: u64 = (1 << POSITION_BITS) - (1 << 16);

/// Spaces are numbered 1..=SPACE_MAX, so that slots are positive and no real slot is 0.
pub(super) const SPACE_MAX: u16 = (1 << 15) - 1;

/// The keyed hash of one file.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotHash {
    keys: (u64, u64),
    homes: u64,
}

impl SlotHash {
    /// `seed` is the file's own, random, stored in `meta`: nobody outside can make keys collide.
    pub(super) fn new(seed: [u8; 16]) -> Self {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| seed[at + i]));
        Self { keys: (word(0), word(8)), homes: HOMES }
    }

    /// Few homes, so that a test gets long runs of colliding keys, the same ones each time.
    #[cfg(test)]
    pub(super) fn crowded(homes: u64) -> Self {
        Self { keys: (1, 2), homes }
    }

    /// The slot where the search for `key` begins.
    pub(super) fn home(&self, space: u16, key: &[u8]) -> i64 {
        let hash = SipHasher13::new_with_keys(self.keys.0, self.keys.1).hash(key);
        first_slot(space) | (1 + hash % self.homes).cast_signed()
    }
}

pub(super) fn first_slot(space: u16) -> i64 {
    i64::from(space) << POSITION_BITS
}

pub(super) fn last_slot(space: u16) -> i64 {
    first_slot(space) | POSITION_MASK
}

pub(super) fn space_of(slot: i64) -> u16 {
    (slot >> POSITION_BITS) as u16
}

pub(super) fn position_of(slot: i64) -> u64 {
    (slot & POSITION_MASK).cast_unsigned()
}

/// The slot at `position`, which may come from outside: only its low 48 bits count.
pub(super) fn slot_at(space: u16, position: u64) -> i64 {
    first_slot(space) | (position.cast_signed() & POSITION_MASK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_lies_in_its_space_and_leaves_room_for_its_run() {
        let hash = SlotHash::new([7; 16]);
        for n in 0..10_000u32 {
            for space in [1, 2, SPACE_MAX] {
                let home = hash.home(space, &n.to_le_bytes());
                assert_eq!(space_of(home), space);
                assert!(home > first_slot(space) && home + (1 << 15) < last_slot(space));
                assert_eq!(slot_at(space, position_of(home)), home);
            }
        }
    }

    #[test]
    fn the_hash_never_changes_because_it_is_part_of_the_file_format() {
        let hash = SlotHash::new(*b"0123456789abcdef");
        assert_eq!(position_of(hash.home(1, b"")), EMPTY);
        assert_eq!(position_of(hash.home(1, b"hello")), HELLO);
    }

    const EMPTY: u64 = 29_253_878_454_925;
    const HELLO: u64 = 189458079937369;
}
