//! Which register an element belongs to, and what it says to it: MurmurHash64A (Austin Appleby), seeded as Redis does.

use super::registers::REGISTERS;

const SEED: u64 = 0xadc8_3b19;
const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
const SHIFT: u32 = 47;
/// Bits of the hash that name the register.
const INDEX_BITS: u32 = REGISTERS.trailing_zeros();
/// The others, in which zeros are counted.
const PATTERN_BITS: u32 = u64::BITS - INDEX_BITS;

/// The register of an element, and the length of the pattern 0…01 in the rest of its hash: 1 to 51.
#[must_use]
pub fn place_of(element: &[u8]) -> (usize, u8) {
    let hash = murmur_hash_64a(element, SEED);
    let index = hash as usize % REGISTERS;
    // The bit behind the last ends every pattern.
    let pattern = hash >> INDEX_BITS | 1 << PATTERN_BITS;
    (index, pattern.trailing_zeros() as u8 + 1)
}

fn murmur_hash_64a(bytes: &[u8], seed: u64) -> u64 {
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(MULTIPLIER);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mut word = u64::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        word ^= word >> SHIFT;
        hash = (hash ^ word.wrapping_mul(MULTIPLIER)).wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> SHIFT;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ hash >> SHIFT
}
