//! Keys of a generation: a directory by the top bits of a key's position, so that it is in order, with a chain of nodes per bucket, the
//! newest first. Two bitmaps say which buckets have any: a walk of few keys reads few words. The keys of a space are chained as well, so that
//! a walk of a small database does not pass the keys of all others.

use smallvec::SmallVec;

use super::node::{self, Node};
use super::shape::{KEYS, tag};
use super::slot::{Link, Lost, Slot};
use crate::storage::rows::RowKey;

/// How far ahead of a walk nodes are fetched.
const PREFETCHED_BUCKETS: usize = 12;
/// After so many keys most walks have a portion.
const PORTION_KEYS: u64 = 128;
const STEPS_BETWEEN_CHECKS: u32 = 64;

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

/// Before a generation begins. Heads of chains are links, and those of an older one are none.
pub(super) fn clear(slot: &Slot<'_>) {
    let counts = slot.layout.chains + slot.layout.chain_count;
    (counts..slot.layout.directory).for_each(|at| slot.store(at, 0));
}

/// The head of the chain of a key's space, and where it is said how many keys that has.
fn chain_at(slot: &Slot<'_>, fields: u128) -> (usize, usize) {
    let head = slot.layout.chains + slot.layout.chain(fields);
    (head, head + slot.layout.chain_count)
}

/// What a new node of the key has as its link in the chain.
pub(super) fn chain_word(slot: &Slot<'_>, key: RowKey<'_>) -> Result<u64, Lost> {
    let (head, _) = chain_at(slot, key.fields());
    Ok(slot.root(head)?.map_or(0, |first| slot.link_word(first)))
}

/// Puts a node at the beginning of its chain, unless it is there.
pub(super) fn chain(slot: &Slot<'_>, fields: u128, at: usize) -> Result<(), Lost> {
    let (head, count) = chain_at(slot, fields);
    if slot.root(head)?.is_none_or(|first| first.at != at) {
        slot.publish(head, slot.link_word(Link::to(at)));
        slot.add(count, 1);
    }
    Ok(())
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
    pub(super) fn within(slot: &Slot<'_>, first: u128, last: u128) -> Result<Self, Lost> {
        let layout = slot.layout;
        let mut walk = Self { rest: SmallVec::new(), wanted: (first, last), found: SmallVec::new() };
        if first > last {
            return Ok(walk);
        }
        let (begin, buckets) = (layout.bucket(first), 1 << layout.bits);
        let end = begin + layout.top(last) - layout.top(first) + 1;
        let chained = slot.word(chain_at(slot, first).1);
        // Whoever walks through buckets passes keys of other spaces, and has enough after a portion of its own.
        let in_buckets = slot.word(KEYS).saturating_mul((end - begin) as u64) / buckets as u64;
        let in_portion = slot.word(KEYS).saturating_mul(PORTION_KEYS) / chained.max(1);
        if chained <= in_buckets.min(in_portion) {
            walk.gather_chain(slot)?;
            return Ok(walk);
        }
        if end > buckets {
            walk.rest.push((0, end - buckets));
        }
        walk.rest.push((begin, end.min(buckets)));
        Ok(walk)
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
            self.take(Node::read(slot, link.at)?);
            next = behind(slot, link)?;
        }
        self.sort(slot)
    }

    /// All that are wanted, out of the chain of their space.
    fn gather_chain(&mut self, slot: &Slot<'_>) -> Result<(), Lost> {
        let mut next = slot.root(chain_at(slot, self.wanted.0).0)?;
        let mut steps = 0_u32;
        while let Some(link) = next {
            self.take(Node::read(slot, link.at)?);
            next = slot.link(node::chained_at(link.at))?;
            // As in a bucket what was made before lies before.
            if next.is_some_and(|next| next.at >= link.at) {
                return Err(Lost);
            }
            steps += 1;
            if steps.is_multiple_of(STEPS_BETWEEN_CHECKS) {
                slot.check()?;
            }
        }
        self.sort(slot)
    }

    fn take(&mut self, node: Node) {
        if self.wanted.0 <= node.fields && node.fields <= self.wanted.1 {
            self.found.push(node);
        }
    }

    /// The last one first.
    fn sort(&mut self, slot: &Slot<'_>) -> Result<(), Lost> {
        let mut is_lost = false;
        self.found.sort_unstable_by(|a, b| {
            let order = b.compare_with(slot, a, slot);
            is_lost |= order.is_err();
            order.unwrap_or(std::cmp::Ordering::Equal)
        });
        if is_lost { Err(Lost) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memtable::{Filler, Memory, Shape};
    use crate::storage::rows::{Head, KeyRow, Kind, Origin, POSITION_BITS, Range, Row};

    #[test]
    fn a_walk_of_a_small_space_passes_no_keys_of_large_ones() {
        let memory = Memory::new(Shape { generations: 2, generation_bytes: 8 << 20, pins: 0 }).unwrap();
        let mut filler = Filler::take_over(memory);
        filler.start(0, 0, 0);
        filler.begin_generation(0).unwrap();
        let position = |number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - POSITION_BITS);
        // The last one shares the chain of the second.
        let spaces = [(1, 20_000), (2, 40), (2 + 256, 7)];
        for (space, keys) in spaces {
            for number in 0..keys {
                let head = Head { kind: Kind::String, id: None, expires_at_ms: None, length: 1 };
                let row = Row::Key(KeyRow { head, value: Some(b"v") });
                filler.insert(RowKey::key(space, position(number), b"key"), Some(row), Origin::Blind, 1).unwrap();
            }
        }
        filler.publish(1, 0);
        let slot = memory.slot(1).unwrap();
        for (space, keys) in spaces {
            let (_, first, last) = Range::Keys { space, first: 0, last: u64::MAX }.bounds();
            let mut walk = KeyWalk::within(&slot, first, last).unwrap();
            assert_eq!(walk.rest.is_empty(), keys < 100, "{space}");
            let mut found = Vec::new();
            while let Some(node) = walk.next(&slot).unwrap() {
                found.push(node.fields as u64 & ((1 << POSITION_BITS) - 1));
            }
            let mut expected: Vec<u64> = (0..keys).map(position).collect();
            expected.sort_unstable();
            assert_eq!(found, expected, "{space}");
        }
    }
}
