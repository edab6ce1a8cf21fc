//! Keys of a generation: a directory by the top bits of a key's position, so that it is in order, with a chain of nodes per bucket, the
//! newest first. Two bitmaps say which buckets have any: a walk of few keys reads few words.

use smallvec::SmallVec;

use super::node::{self, Node};
use super::shape::tag;
use super::slot::{Link, Lost, Slot};
use crate::storage::rows::RowKey;

/// How far ahead of a walk nodes are fetched.
const PREFETCHED_BUCKETS: usize = 12;

/// The word of a key's bucket.
fn bucket_at(slot: &Slot<'_>, bucket: usize) -> usize {
    slot.layout.directory + bucket
}

pub(super) fn prefetch(slot: &Slot<'_>, key: RowKey<'_>) {
    slot.prefetch(bucket_at(slot, slot.layout.bucket(key.fields())));
}

/// Fetches the first node of the key's bucket, which `prefetch` has fetched.
pub(super) fn prefetch_node(slot: &Slot<'_>, key: RowKey<'_>) {
    if let Ok(Some(link)) = slot.root(bucket_at(slot, slot.layout.bucket(key.fields())))
        && (!link.is_last || link.tag == tag(key.fields()))
    {
        slot.prefetch_node(link.at);
    }
}

pub(super) fn find(slot: &Slot<'_>, key: RowKey<'_>) -> Result<Option<Node>, Lost> {
    let wanted = tag(key.fields());
    let mut next = slot.root(bucket_at(slot, slot.layout.bucket(key.fields())))?;
    while let Some(link) = next {
        if link.tag == wanted {
            let node = Node::read(slot, link.at)?;
            if node.is(slot, key)? {
                return Ok(Some(node));
            }
        }
        next = behind(slot, link)?;
    }
    Ok(None)
}

/// The next node of a chain. It was made before, so it lies before: no walk goes on for ever.
fn behind(slot: &Slot<'_>, link: Link) -> Result<Option<Link>, Lost> {
    if link.is_last {
        return Ok(None);
    }
    match slot.link(node::next_at(link.at, 0))? {
        Some(next) if next.at >= link.at => Err(Lost),
        next => Ok(next),
    }
}

/// Where the link to a new node at `at` goes, that link, and the word of the one that it takes the place of.
pub(super) fn place(slot: &Slot<'_>, key: RowKey<'_>, at: usize) -> Result<(usize, Link, u64), Lost> {
    let from = bucket_at(slot, slot.layout.bucket(key.fields()));
    let first = slot.root(from)?;
    let link = Link { at, is_last: first.is_none(), tag: tag(key.fields()) };
    Ok((from, link, first.map_or(0, |first| slot.link_word(first))))
}

/// Before a key is linked: a bit without a key does no harm.
pub(super) fn set_bits(slot: &Slot<'_>, key: RowKey<'_>) {
    let word = slot.layout.bucket(key.fields()) / 64;
    let bit = |at: usize, number: usize| {
        let (before, bit) = (slot.word(at), 1 << (number % 64));
        if before & bit == 0 {
            slot.store(at, before | bit);
        }
    };
    bit(slot.layout.bitmap + word, slot.layout.bucket(key.fields()));
    bit(slot.layout.summary + word / 64, word);
}

pub(super) fn clear_bits(slot: &Slot<'_>) {
    (slot.layout.summary..slot.layout.directory).for_each(|at| slot.store(at, 0));
}

/// The first bucket from `from` on, and before `end`, that has keys.
fn next_bucket(slot: &Slot<'_>, from: usize, end: usize) -> Option<usize> {
    let mut bucket = from;
    while bucket < end {
        let bits = slot.word(slot.layout.bitmap + bucket / 64) >> (bucket % 64);
        if bits != 0 {
            return Some(bucket + bits.trailing_zeros() as usize).filter(|found| *found < end);
        }
        // No bucket of this word: the next word that has one.
        let mut word = bucket / 64 + 1;
        while word * 64 < end {
            let words = slot.word(slot.layout.summary + word / 64) >> (word % 64);
            if words != 0 {
                word += words.trailing_zeros() as usize;
                break;
            }
            word = (word / 64 + 1) * 64;
        }
        bucket = word * 64;
    }
    None
}

/// Keys of a generation in order: those of one space by their names; or all, as their buckets follow.
#[derive(Clone)]
pub(super) struct KeyWalk {
    /// Ranges of buckets that are still to be walked: the space's first bucket may lie in the middle.
    rest: SmallVec<[(usize, usize); 2]>,
    /// Fields of the first and the last key that are wanted.
    wanted: (u128, u128),
    /// Of the present bucket, the last one first.
    found: SmallVec<[Node; 4]>,
}

impl KeyWalk {
    pub(super) fn all(slot: &Slot<'_>) -> Self {
        let buckets = 1 << slot.layout.bits;
        Self { rest: SmallVec::from_slice(&[(0, buckets)]), wanted: (0, u128::MAX), found: SmallVec::new() }
    }

    /// From `first` to `last`, which are of one space.
    pub(super) fn within(slot: &Slot<'_>, first: u128, last: u128) -> Self {
        let layout = slot.layout;
        let mut rest = SmallVec::new();
        if first <= last {
            let (begin, buckets) = (layout.bucket(first), 1 << layout.bits);
            let end = begin + layout.top(last) - layout.top(first) + 1;
            if end > buckets {
                rest.push((0, end - buckets));
            }
            rest.push((begin, end.min(buckets)));
        }
        Self { rest, wanted: (first, last), found: SmallVec::new() }
    }

    pub(super) fn next(&mut self, slot: &Slot<'_>) -> Result<Option<Node>, Lost> {
        loop {
            if let Some(node) = self.found.pop() {
                return Ok(Some(node));
            }
            let Some((begin, end)) = self.rest.last_mut() else { return Ok(None) };
            match next_bucket(slot, *begin, *end) {
                None => _ = self.rest.pop(),
                Some(bucket) => {
                    *begin = bucket + 1;
                    self.gather(slot, bucket)?;
                }
            }
        }
    }

    fn gather(&mut self, slot: &Slot<'_>, bucket: usize) -> Result<(), Lost> {
        // Those that come soon lie anywhere in the arena.
        if let Ok(Some(soon)) = slot.root(bucket_at(slot, (bucket + PREFETCHED_BUCKETS) % (1 << slot.layout.bits))) {
            slot.prefetch_node(soon.at);
        }
        let mut next = slot.root(bucket_at(slot, bucket))?;
        while let Some(link) = next {
            let node = Node::read(slot, link.at)?;
            if self.wanted.0 <= node.fields && node.fields <= self.wanted.1 {
                self.found.push(node);
            }
            next = behind(slot, link)?;
        }
        let mut is_lost = false;
        self.found.sort_unstable_by(|a, b| {
            let order = b.compare_with(slot, a, slot);
            is_lost |= order.is_err();
            order.unwrap_or(std::cmp::Ordering::Equal)
        });
        if is_lost { Err(Lost) } else { Ok(()) }
    }
}
