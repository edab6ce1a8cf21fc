//! The memory that all processes share, and the words in it that say what is to be read there.

use std::io;

use super::pins::Pin;
use super::shape::{AHEAD, DATABASES, Layout, MERGED, NEWEST, PUBLISHED, SEED, SPACES, Shape};
use super::slot::Slot;
use crate::storage::broken::{self, Variant};
use crate::storage::points::{Point, pass};
use crate::sys::atomic::{AtomicU64, Ordering, fence};
use crate::sys::shared;

/// What readers see. A copy is as good as the original, in every process forked after it was made.
#[derive(Clone, Copy)]
pub struct Memory {
    pub(super) words: &'static [AtomicU64],
    pub(super) layout: Layout,
}

/// What a view has of the memory: rows of these generations, as of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub oldest: u64,
    /// Before `oldest`: there is nothing.
    pub newest: u64,
    /// The last group that is seen.
    pub seq: u64,
}

impl Default for Window {
    /// Of nothing.
    fn default() -> Self {
        Self { oldest: 1, newest: 0, seq: 0 }
    }
}

impl Window {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.newest < self.oldest.max(1)
    }
}

impl Memory {
    /// Before the first fork. What is not yet used takes no memory.
    pub fn new(shape: Shape) -> io::Result<Self> {
        let layout = Layout::of(shape);
        Ok(Self { words: shared::words(layout.words())?, layout })
    }

    /// None: nothing is ever found in it.
    #[must_use]
    pub fn off() -> Self {
        Self { words: &[], layout: Layout::default() }
    }

    /// As if it had just been made.
    #[cfg(test)]
    pub(in crate::storage) fn wipe(&self) {
        self.words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.words.is_empty()
    }

    /// What it takes when all of it is in use.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.words.len() * size_of::<u64>()
    }

    /// What rows of one generation can take.
    #[must_use]
    pub fn generation_bytes(&self) -> usize {
        self.layout.arena_words() * size_of::<u64>()
    }

    pub(super) fn word(&self, at: usize) -> u64 {
        self.words.get(at).map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// The last group that everybody may see.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.word(PUBLISHED)
    }

    /// The last generation whose rows are all in the tables.
    #[must_use]
    pub fn merged(&self) -> u64 {
        self.word(MERGED)
    }

    /// How often rows went into the tables that only published groups lead to.
    #[must_use]
    pub fn ahead(&self) -> u64 {
        self.word(AHEAD)
    }

    /// The generation that is being filled; 0 when there was none yet.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.word(NEWEST)
    }

    /// Where the keys of a database lie; 0 while nobody has said it. For whoever does not have a view: of no use but while the epoch of
    /// the keys' versions is even and unchanged.
    #[must_use]
    pub fn space(&self, database: u8) -> u64 {
        self.word(SPACES + usize::from(database) % DATABASES)
    }

    /// The seed of the file's positions; `None` while nobody has said it.
    #[must_use]
    pub fn seed(&self) -> Option<[u8; 16]> {
        let (low, high) = (self.word(SEED), self.word(SEED + 1));
        let mut seed = [0; 16];
        seed[..8].copy_from_slice(&low.to_le_bytes());
        seed[8..].copy_from_slice(&high.to_le_bytes());
        (low != 0 || high != 0).then_some(seed)
    }

    pub(super) fn slot(&self, generation: u64) -> Option<Slot<'_>> {
        Slot::of(self, generation)
    }

    /// Whether this generation can be read.
    #[must_use]
    pub fn is_whole(&self, generation: u64) -> bool {
        self.slot(generation).is_some_and(|slot| slot.check().is_ok())
    }

    /// What there is, for whoever has no snapshot of the tables: a row that is found is the last published one, if nothing says
    /// otherwise of its key before and after; of one that is not found nothing is known.
    #[must_use]
    pub fn unmerged(&self) -> Window {
        let merged = self.merged();
        let (newest, seq) = self.newest_and_published();
        let first_place = (newest + 1).saturating_sub(self.layout.generations as u64).max(1);
        let oldest = if broken::is(Variant::LoopTakesMerged) { first_place } else { merged + 1 };
        Window { oldest, newest, seq }
    }

    /// The memory's part of a view whose snapshot of the tables has just been taken, and says that all generations up to `merged` are in
    /// it, and that `ahead` counts so many. `None`: the snapshot is too old for what is published, take another. The memory is pinned
    /// from here until `unpin`.
    #[must_use]
    pub fn open(&self, pin: &Pin, merged: u64, ahead: u64, now_ms: i64) -> Option<Window> {
        let oldest = merged + 1;
        let is_guarded = !broken::is(Variant::NeitherPinNorNonce);
        if is_guarded {
            self.pin(pin, oldest, now_ms);
        }
        pass(Point::Pinned);
        fence(Ordering::SeqCst);
        let early = broken::is(Variant::MergedReadBeforeSequence).then(|| self.merged());
        pass(Point::PinHolds);
        let (newest, seq) = self.newest_and_published();
        // Either the recycler sees the pin, or what it has merged is seen here. And behind S: a group that went into the tables alone has
        // moved this word before, and is nowhere in the memory.
        let is_late = early.unwrap_or_else(|| self.merged()) > merged && !broken::is(Variant::PinUnseen);
        let is_whole = newest < oldest || self.is_whole(oldest);
        let is_ahead = self.ahead() != ahead && !broken::is(Variant::AheadUnchecked);
        if is_guarded && (is_late || !is_whole) || is_ahead {
            self.unpin(pin);
            return None;
        }
        pass(Point::ViewOpened);
        Some(Window { oldest, newest, seq })
    }

    /// The group first: all its rows lie in generations that had begun.
    fn newest_and_published(&self) -> (u64, u64) {
        let early = broken::is(Variant::NewestBeforeSequence).then(|| self.newest());
        if early.is_some() {
            pass(Point::NewestRead);
        }
        let seq = self.published();
        pass(Point::SequenceRead);
        let newest = early.unwrap_or_else(|| self.newest());
        pass(Point::NewestRead);
        (newest, seq)
    }
}
