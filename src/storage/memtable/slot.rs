//! A generation's place in memory: words and links, with their bounds. Whatever a reader meets in a place that was recycled under it is
//! `Lost`, and nothing worse.

use super::memory::Memory;
use super::shape::{Layout, USED};
use crate::storage::broken::{self, Variant};
use crate::sys::atomic::{AtomicU64, Ordering, fence};
use crate::sys::memory;

/// The generation that a reader was in has been recycled: what it has read since it last looked is nothing. It begins again with a new
/// window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

/// Of a short key and value.
const NODE_LINES: usize = 3;
const LINE_WORDS: usize = 8;

/// The place of one generation.
#[derive(Clone, Copy)]
pub(super) struct Slot<'m> {
    words: &'static [AtomicU64],
    nonce: &'static AtomicU64,
    pub(super) layout: &'m Layout,
    pub(super) generation: u64,
}

/// ```text
/// bit   0        24     25    32             64
///       | offset | last | tag | generation   |
/// ```
/// The tag, and that there is no link behind it, spare most searches for a key that is not there from looking at a node.
#[derive(Clone, Copy)]
pub(super) struct Link {
    pub(super) at: usize,
    pub(super) is_last: bool,
    pub(super) tag: u64,
}

pub(super) const OFFSET_BITS: u32 = 24;
pub(super) const OFFSET_MASK: u64 = (1 << OFFSET_BITS) - 1;
const LAST: u64 = 1 << OFFSET_BITS;
const TAG_AT: u32 = OFFSET_BITS + 1;
pub(super) const TAG_MASK: u64 = (1 << (32 - TAG_AT)) - 1;

impl Link {
    /// One whose place says all.
    pub(super) fn to(at: usize) -> Self {
        Self { at, is_last: false, tag: 0 }
    }
}

impl<'m> Slot<'m> {
    /// `None`: there is no memory.
    pub(super) fn of(memory: &'m Memory, generation: u64) -> Option<Self> {
        let layout = &memory.layout;
        if layout.generations == 0 {
            return None;
        }
        let place = layout.place(generation);
        let words = &memory.words[layout.place_at(place)];
        Some(Self { words, nonce: &memory.words[layout.nonce(place)], layout, generation })
    }

    /// Whether all that was read of it before was its own.
    pub(super) fn check(&self) -> Result<(), Lost> {
        fence(Ordering::Acquire);
        if self.nonce.load(Ordering::Relaxed) == self.generation { Ok(()) } else { Err(Lost) }
    }

    pub(super) fn nonce(&self) -> &'static AtomicU64 {
        self.nonce
    }

    pub(super) fn load(&self, at: usize) -> Result<u64, Lost> {
        self.words.get(at).map(|word| word.load(Ordering::Relaxed)).ok_or(Lost)
    }

    /// A word that lies within the place for certain: figures, bitmaps.
    pub(super) fn word(&self, at: usize) -> u64 {
        self.words[at].load(Ordering::Relaxed)
    }

    pub(super) fn store(&self, at: usize, value: u64) {
        self.words[at].store(value, Ordering::Relaxed);
    }

    pub(super) fn add(&self, at: usize, value: u64) {
        self.store(at, self.word(at) + value);
    }

    pub(super) fn prefetch(&self, at: usize) {
        if let Some(word) = self.words.get(at) {
            memory::prefetch(word);
        }
    }

    /// Fetches the begin of a node, and of what lies behind it: its first version.
    pub(super) fn prefetch_node(&self, at: usize) {
        (0..NODE_LINES).for_each(|line| self.prefetch(at + line * LINE_WORDS));
    }

    /// A link from the directory or the tower, which are not cleared: one of an older generation is none.
    pub(super) fn root(&self, at: usize) -> Result<Option<Link>, Lost> {
        let word = self.words.get(at).ok_or(Lost)?.load(Ordering::Acquire);
        if word >> 32 != self.generation & u64::from(u32::MAX) {
            return Ok(None);
        }
        let at = (word & OFFSET_MASK) as usize;
        let link = Link { at, is_last: word & LAST != 0, tag: word >> TAG_AT & TAG_MASK };
        if at < self.layout.arena { Err(Lost) } else { Ok(Some(link)) }
    }

    /// A link from a node: 0 is none, and one of another generation is not of this node.
    pub(super) fn link(&self, at: usize) -> Result<Option<Link>, Lost> {
        match self.root(at)? {
            Some(link) => Ok(Some(link)),
            None if self.load(at)? == 0 => Ok(None),
            None => Err(Lost),
        }
    }

    pub(super) fn link_word(&self, link: Link) -> u64 {
        debug_assert!(link.at as u64 <= OFFSET_MASK && link.tag <= TAG_MASK);
        let last = if link.is_last { LAST } else { 0 };
        self.generation << 32 | link.tag << TAG_AT | last | link.at as u64
    }

    /// Makes visible what lies at the link's other end, whose bytes are complete.
    pub(super) fn publish(&self, at: usize, link_word: u64) {
        let order = if broken::is(Variant::LinkRelaxed) { Ordering::Relaxed } else { Ordering::Release };
        self.words[at].store(link_word, order);
    }

    /// Moves the end of what is in use, after what lies before it was linked.
    pub(super) fn store_used(&self, used: usize) {
        self.words[USED].store(used as u64, Ordering::Release);
    }

    /// Appends `length` bytes that begin at a word.
    pub(super) fn copy(&self, at: usize, length: usize, out: &mut Vec<u8>) -> Result<(), Lost> {
        let words = self.range(at, length)?;
        let begin = out.len();
        out.resize(begin + length, 0);
        let mut chunks = out[begin..].chunks_exact_mut(8);
        for (chunk, word) in (&mut chunks).zip(words) {
            chunk.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        let rest = chunks.into_remainder();
        if let (false, Some(word)) = (rest.is_empty(), words.last()) {
            rest.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes()[..rest.len()]);
        }
        Ok(())
    }

    pub(super) fn store_bytes(&self, at: usize, bytes: &[u8]) {
        let words = &self.words[at..at + bytes.len().div_ceil(8)];
        for (number, word) in words.iter().enumerate() {
            word.store(word_of(bytes, number), Ordering::Relaxed);
        }
    }

    /// The words of `length` bytes that begin at a word.
    pub(super) fn range(&self, at: usize, length: usize) -> Result<&'static [AtomicU64], Lost> {
        let end = at.checked_add(length.div_ceil(8)).ok_or(Lost)?;
        self.words.get(at..end).ok_or(Lost)
    }
}

/// The eight bytes of a word, with zeros behind the end.
pub(super) fn word_of(bytes: &[u8], number: usize) -> u64 {
    let rest = &bytes[8 * number..];
    match rest.first_chunk::<8>() {
        Some(whole) => u64::from_le_bytes(*whole),
        None => {
            let mut padded = [0; 8];
            padded[..rest.len()].copy_from_slice(rest);
            u64::from_le_bytes(padded)
        }
    }
}
