//! Records in a ring of fixed size, and an index over them. A new record goes behind the newest; the oldest make room, but those
//! that were used since they were written get a second round. Knows nothing of versions.
//!
//! ```text
//!          tail                         head
//!   ────────┬─────┬───────┬───┬──────────┬──────────
//!    free   │ old │ …     │ … │ newest   │ free
//!   ────────┴─────┴───────┴───┴──────────┴──────────
//! ```
//! A record never lies across the end of the ring: a gap word says that the rest up to there is empty. One that was removed or
//! written anew elsewhere stays where it is until the tail comes by; only the index says what is alive.
//!
//! Why not a map with an allocation for each value: the bound on bytes is exact, nothing fragments, key and value lie on
//! adjacent cache lines, and giving room is a walk over adjacent memory.

use super::index::Index;
use super::record::{Record, UNIT_BYTES, set_used};
use crate::sys::memory::{self, prefetch};

/// The index's share of the budget.
const INDEX_SHARE: usize = 8;
/// Room is made in strides of this many bytes at most: some hundred records, so that no request waits long for it.
const STRIDE_BYTES_MAX: usize = 128 << 10;
/// A smaller budget holds nothing worth the trouble.
pub(super) const BYTES_MIN: usize = 64 << 10;
/// Positions are numbers of units with 31 bits.
const RING_BYTES_MAX: usize = UNIT_BYTES << 31;
/// What a prefetch fetches at a time, and how many of them of a record: its head, its key, and a small value.
const LINE_BYTES: usize = 64;
const PREFETCHED_LINES: usize = 3;
/// In place of a version: nothing up to the end of the ring. It is odd, and no record of a version that is odd is kept.
const GAP: u64 = u64::MAX;

pub(super) struct Store {
    ring: Box<[u8]>,
    /// Bytes ever written and ever freed; the place is the remainder by the ring's size.
    head: u64,
    tail: u64,
    index: Index,
    stride_bytes: usize,
    /// Records that get a second round, while room is made.
    survivors: Vec<u8>,
}

/// The place of a record: good until the store changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u32);

impl Store {
    /// `bytes` for all, at least `BYTES_MIN`. Memory is taken as it fills.
    pub(super) fn new(bytes: usize) -> Store {
        let index_bytes = bytes / INDEX_SHARE;
        let ring_bytes = (bytes - index_bytes).min(RING_BYTES_MAX) / UNIT_BYTES * UNIT_BYTES;
        Store {
            ring: memory::large_zeroed(ring_bytes),
            head: 0,
            tail: 0,
            index: Index::new(index_bytes),
            stride_bytes: (ring_bytes / 4).min(STRIDE_BYTES_MAX) / UNIT_BYTES * UNIT_BYTES,
            survivors: Vec::new(),
        }
    }

    /// Records that can be found.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Bytes of the ring that are taken, also by what can't be found any more.
    pub(super) fn bytes(&self) -> usize {
        (self.head - self.tail) as usize
    }

    pub(super) fn find(&self, hash: u64, database: u8, key: &[u8]) -> Option<Place> {
        let mut places = self.index.find(hash);
        places.find(|at| Record::at(&self.ring[offset(*at)..]).is_of(database, key)).map(Place)
    }

    /// Fetches what `find` will look at first.
    pub(super) fn prefetch(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Fetches the records that `find` will look at then.
    pub(super) fn prefetch_records(&self, hash: u64) {
        for at in self.index.find(hash) {
            let begin = offset(at);
            let lines = self.ring[begin..].iter().step_by(LINE_BYTES).take(PREFETCHED_LINES);
            lines.for_each(prefetch);
        }
    }

    pub(super) fn record(&self, place: Place) -> Record<'_> {
        Record::at(&self.ring[offset(place.0)..])
    }

    /// It gets a second round when its room is needed.
    pub(super) fn set_used(&mut self, place: Place) {
        set_used(&mut self.ring[offset(place.0)..], true);
    }

    /// Takes a record in, in place of the one of the same key. One that is too large is not kept; nor is the older one then.
    pub(super) fn put(&mut self, record: Record<'_>) {
        let hash = record.hash();
        if let Some(place) = self.find(hash, record.database(), record.key()) {
            let old = self.record(place);
            if old.size() == record.size() {
                let is_used = old.is_used();
                record.write(&mut self.ring[offset(place.0)..]);
                return set_used(&mut self.ring[offset(place.0)..], is_used);
            }
            self.index.remove(hash, place.0);
        }
        if record.size() <= self.record_bytes_max() {
            self.make_room(record.size());
            self.append(record);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.index.clear();
        self.tail = self.head;
    }

    /// So that a stride has room for its survivors, a gap and the new record.
    fn record_bytes_max(&self) -> usize {
        self.stride_bytes / 8
    }

    /// Room for one record of so many bytes, and for the gap that may have to stand before it.
    fn make_room(&mut self, bytes: usize) {
        let needed = bytes + self.record_bytes_max();
        if self.ring.len() - self.bytes() >= needed {
            return;
        }
        let mut survivors = std::mem::take(&mut self.survivors);
        let free_from = self.tail + self.stride_bytes as u64;
        while self.tail < free_from && self.tail < self.head {
            self.free_oldest(&mut survivors);
        }
        let mut rest = &survivors[..];
        while !rest.is_empty() {
            let record = Record::at(rest);
            self.append(record);
            rest = &rest[record.size()..];
        }
        survivors.clear();
        self.survivors = survivors;
    }

    /// Frees the record or the gap at the tail. A record that was used goes to the survivors, up to half of a stride.
    fn free_oldest(&mut self, survivors: &mut Vec<u8>) {
        let begin = (self.tail % self.ring.len() as u64) as usize;
        let is_gap = self.ring[begin..].first_chunk().is_some_and(|word| u64::from_le_bytes(*word) == GAP);
        if is_gap {
            self.tail += (self.ring.len() - begin) as u64;
            return;
        }
        let record = Record::at(&self.ring[begin..]);
        let (size, at) = (record.size(), (begin / UNIT_BYTES) as u32);
        let hash = record.hash();
        let is_alive = self.index.remove(hash, at);
        let record = Record::at(&self.ring[begin..]);
        if is_alive && record.is_used() && survivors.len() + size <= self.stride_bytes / 2 {
            let kept = survivors.len();
            survivors.extend_from_slice(&self.ring[begin..begin + size]);
            set_used(&mut survivors[kept..], false);
        }
        self.tail += size as u64;
    }

    fn append(&mut self, record: Record<'_>) {
        let ring_bytes = self.ring.len();
        let mut begin = (self.head % ring_bytes as u64) as usize;
        if begin + record.size() > ring_bytes {
            self.ring[begin..begin + UNIT_BYTES].copy_from_slice(&GAP.to_le_bytes());
            self.head += (ring_bytes - begin) as u64;
            begin = 0;
        }
        record.write(&mut self.ring[begin..]);
        self.head += record.size() as u64;
        debug_assert!(self.bytes() <= ring_bytes, "room was made");
        let (ring, newest) = (ring_bytes as u64, begin as u64);
        let age = |at| (newest + ring - offset(at) as u64) % ring;
        self.index.insert(record.hash(), (begin / UNIT_BYTES) as u32, age);
    }
}

fn offset(at: u32) -> usize {
    at as usize * UNIT_BYTES
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::super::record::{Asked, Learned};
    use super::*;
    use crate::storage::{Entry, Kind};

    fn hash_of(key: u32) -> u64 {
        (u64::from(key) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
    }

    fn put(store: &mut Store, key: u32, version: u64, value: &[u8]) {
        let mut learned = Learned::default();
        let entry = Entry { kind: Kind::String, expires_at_ms: None, length: value.len() as u64, id: None };
        let asked = Asked { hash: hash_of(key), database: 0, key: &key.to_le_bytes() };
        learned.push(asked, version, Some(&entry), Some(value));
        store.put(learned.records().next().unwrap());
    }

    fn get(store: &Store, key: u32) -> Option<(u64, Vec<u8>)> {
        let place = store.find(hash_of(key), 0, &key.to_le_bytes())?;
        let record = store.record(place);
        Some((record.version(), record.value().unwrap().to_vec()))
    }

    fn touch(store: &mut Store, key: u32) {
        let place = store.find(hash_of(key), 0, &key.to_le_bytes()).unwrap();
        store.set_used(place);
    }

    #[test]
    fn the_oldest_make_room_but_for_those_that_were_used() {
        let mut store = Store::new(1 << 20);
        (0..20_000).for_each(|key| {
            put(&mut store, key, 2, &[7; 100]);
            // Asked for again and again.
            (0..100).filter(|hot| *hot <= key).for_each(|hot| touch(&mut store, hot));
        });
        assert!((0..100).all(|key| get(&store, key).is_some()), "what is in use stays");
        assert!(get(&store, 100).is_none() && get(&store, 5_000).is_none(), "what was never used went");
        assert!(get(&store, 19_999).is_some());
        assert!(store.bytes() <= (1 << 20) * 7 / 8, "{}", store.bytes());
        let before = store.len();
        store.clear();
        assert_eq!((store.len(), store.bytes(), get(&store, 19_999)), (0, 0, None));
        (0..20_000).for_each(|key| put(&mut store, key, 4, &[7; 100]));
        assert!(store.len() > before / 2);
    }

    #[test]
    fn however_small_the_values_are_the_index_keeps_to_its_share() {
        let bytes = 8 << 20;
        let mut store = Store::new(bytes);
        (0..300_000).for_each(|key| put(&mut store, key, 2, b""));
        assert!(store.index.bytes() <= bytes / INDEX_SHARE, "{}", store.index.bytes());
        assert!(store.len() > bytes / INDEX_SHARE / 16, "{}", store.len());
    }

    #[test]
    fn a_value_that_would_push_out_everything_is_not_kept() {
        let mut store = Store::new(BYTES_MIN);
        put(&mut store, 1, 2, b"small");
        put(&mut store, 1, 4, &[1; 16_384]);
        assert_eq!((get(&store, 1), store.len()), (None, 0));
    }

    proptest! {
        /// Whatever is found is what was put last; nothing is lost while there is room.
        #[test]
        fn it_never_shows_anything_but_the_last(
            steps in prop::collection::vec((0_u32..60, 0_usize..1500, any::<bool>()), 1..800),
            bytes in prop::sample::select(vec![BYTES_MIN, 100_000, 1 << 20]),
        ) {
            let mut store = Store::new(bytes);
            let mut model: HashMap<u32, (u64, Vec<u8>)> = HashMap::new();
            for (number, (key, length, is_used)) in steps.into_iter().enumerate() {
                let (version, value) = (2 * number as u64, vec![number as u8; length]);
                put(&mut store, key, version, &value);
                model.insert(key, (version, value));
                if is_used && get(&store, key).is_some() {
                    touch(&mut store, key);
                }
                for (known, expected) in &model {
                    let found = get(&store, *known);
                    prop_assert!(found.is_none() || found.as_ref() == Some(expected));
                    if bytes == 1 << 20 && expected.1.len() < 1000 && number < 400 {
                        prop_assert!(found.is_some());
                    }
                }
                prop_assert!(store.bytes() <= store.ring.len());
                let found = (0..60).filter(|key| get(&store, *key).is_some()).count();
                prop_assert_eq!(found, store.len());
            }
        }
    }
}
