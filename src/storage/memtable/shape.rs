//! How much memory there is, and where what lies in it.

use crate::storage::rows::POSITION_BITS;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub generations: u64,
    pub generation_bytes: usize,
    /// Reader threads that can pin at a time; one beyond these reads unpinned.
    pub pins: usize,
}

const GENERATIONS: u64 = 4;
const GENERATION_BYTES_MIN: usize = 1 << 20;
const GENERATION_BYTES_MAX: usize = 64 << 20;

impl Shape {
    /// For memtables of `bytes` together, as far as that is sensible.
    #[must_use]
    pub fn of(bytes: usize, pins: usize) -> Self {
        let each = bytes / GENERATIONS as usize / PAGE_BYTES * PAGE_BYTES;
        let generation_bytes = each.clamp(GENERATION_BYTES_MIN, GENERATION_BYTES_MAX);
        Self { generations: GENERATIONS, generation_bytes, pins }
    }
}

const PAGE_BYTES: usize = 4096;
/// Places begin at pages, and pins at cache lines. A model test has few words.
const PAGE_WORDS: usize = if cfg!(feature = "models") { 1 } else { PAGE_BYTES / 8 };
const LINE_WORDS: usize = if cfg!(feature = "models") { 1 } else { 8 };

/// Levels of the ordered list: each has a quarter of the nodes of the one below.
pub(super) const LEVELS: usize = if cfg!(feature = "models") { 2 } else { 12 };
pub(super) const DATABASES: usize = if cfg!(feature = "models") { 1 } else { 16 };

/// Words that all processes share.
pub(super) const PUBLISHED: usize = 0;
pub(super) const MERGED: usize = 1;
pub(super) const AHEAD: usize = 2;
pub(super) const NEWEST: usize = 3;
pub(super) const SEED: usize = 4;
pub(super) const SPACES: usize = 6;
const NONCES: usize = SPACES + DATABASES;

/// Words of a pin.
pub(super) const PIN_OWNER: usize = 0;
pub(super) const PIN_GENERATION: usize = 1;
pub(super) const PIN_SINCE_MS: usize = 2;
const PIN_WORDS: usize = 3;

/// Words of a place.
pub(super) const USED: usize = 0;
/// The link that the writer is about to store, and how many words lie behind it: what is left of a writer that died meanwhile.
pub(super) const INTENT: usize = 1;
pub(super) const ROWS: usize = 2;
pub(super) const KEYS: usize = 3;
pub(super) const BYTES: usize = 4;
pub(super) const TOWER: usize = 5;
const CHAINS: usize = TOWER + LEVELS;

/// Where what lies, in words: from the begin of all, and within a place.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Layout {
    pub(super) generations: usize,
    pub(super) pins: usize,
    pins_at: usize,
    pin_words: usize,
    places_at: usize,
    pub(super) place_words: usize,
    /// Of the directory: it has two to this many buckets.
    pub(super) bits: u32,
    /// Chains of keys by their space: the heads, and behind them how many keys each has.
    pub(super) chains: usize,
    pub(super) chain_count: usize,
    /// A bit for each word of `bitmap`.
    pub(super) summary: usize,
    /// A bit for each bucket.
    pub(super) bitmap: usize,
    pub(super) directory: usize,
    pub(super) arena: usize,
}

/// A bucket for so many words of a place: a row of a short key and value takes about twenty.
const WORDS_PER_BUCKET: usize = 16;
/// A chain for so many, up to as many as there are databases and flushed ones at most times.
const WORDS_PER_CHAIN: usize = 64;
const CHAINS_MAX: usize = 256;
/// Links have no more bits for a place's words.
const PLACE_WORDS_MAX: usize = 1 << super::slot::OFFSET_BITS;

impl Layout {
    pub(super) fn of(shape: Shape) -> Self {
        let place_words = (shape.generation_bytes / 8).min(PLACE_WORDS_MAX).next_multiple_of(PAGE_WORDS);
        let bits = (place_words / WORDS_PER_BUCKET).max(1).ilog2();
        let bitmap_words = (1_usize << bits).div_ceil(64);
        let generations = shape.generations.max(2) as usize;
        let pins_at = (NONCES + generations).next_multiple_of(LINE_WORDS);
        let pin_words = PIN_WORDS.next_multiple_of(LINE_WORDS);
        let chain_count = (place_words / WORDS_PER_CHAIN).clamp(1, CHAINS_MAX);
        let summary = CHAINS + 2 * chain_count;
        let bitmap = summary + bitmap_words.div_ceil(64);
        let directory = bitmap + bitmap_words;
        Self {
            generations,
            pins: shape.pins,
            pins_at,
            pin_words,
            places_at: (pins_at + shape.pins * pin_words).next_multiple_of(PAGE_WORDS),
            place_words,
            bits,
            chains: CHAINS,
            chain_count,
            summary,
            bitmap,
            directory,
            arena: directory + (1 << bits),
        }
    }

    pub(super) fn words(&self) -> usize {
        self.places_at + self.generations * self.place_words
    }

    pub(super) fn arena_words(&self) -> usize {
        self.place_words.saturating_sub(self.arena)
    }

    /// The place of a generation, as a number.
    pub(super) fn place(&self, generation: u64) -> usize {
        (generation % self.generations as u64) as usize
    }

    pub(super) fn nonce(&self, place: usize) -> usize {
        NONCES + place
    }

    pub(super) fn place_at(&self, place: usize) -> std::ops::Range<usize> {
        let at = self.places_at + place * self.place_words;
        at..at + self.place_words
    }

    pub(super) fn pin_at(&self, number: usize) -> usize {
        self.pins_at + number * self.pin_words
    }

    /// The chain of a key's space. Spaces are numbered one after the other.
    pub(super) fn chain(&self, fields: u128) -> usize {
        (fields >> POSITION_BITS) as usize % self.chain_count
    }

    /// A key's bucket. Those of one space lie in the order of their positions, from a bucket of the space's own on and around: so the
    /// same key in thousands of spaces, which were flushed one after another, is not thousands of keys in one bucket.
    pub(super) fn bucket(&self, fields: u128) -> usize {
        self.bucket_of_top(fields, self.top(fields))
    }

    /// The top bits of the position, which choose the bucket within a space.
    pub(super) fn top(&self, fields: u128) -> usize {
        (position(fields) >> (POSITION_BITS - self.bits)) as usize
    }

    pub(super) fn bucket_of_top(&self, fields: u128, top: usize) -> usize {
        const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
        let turn = ((fields >> POSITION_BITS) as u64).wrapping_mul(MIX) >> 32;
        (top + turn as usize) & ((1 << self.bits) - 1)
    }
}

fn position(fields: u128) -> u64 {
    fields as u64 & ((1 << POSITION_BITS) - 1)
}

/// Some bits of a key's position that did not choose its bucket.
pub(super) fn tag(fields: u128) -> u64 {
    fields as u64 & super::slot::TAG_MASK
}
