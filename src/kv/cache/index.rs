//! Where a hash's record lies: buckets of one cache line each, so that a search touches one line, or two adjacent ones, and that
//! can be fetched before it is needed.
//!
//! Several tables, each of which grows by itself, so that growing is never a pause. One that may not grow forgets the record
//! of the full bucket that was written first.

use crate::sys::memory::prefetch;

/// Words of a bucket.
const WORDS: usize = 8;
const BUCKET_BYTES: usize = WORDS * size_of::<u64>();
/// A table is begun with these buckets, which is one pair.
const BUCKETS_MIN: usize = 2;
/// Tables, when all is full, hold so many bytes each; but there are not more of them than fit a processor's first cache.
const TABLE_BYTES: usize = 32 << 10;
const TABLES_MAX: usize = 1024;

/// A tag in the upper half and a position in the lower; 0 is free, since positions begin at 1 here.
type Word = u64;

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Bucket([Word; WORDS]);

pub(super) struct Index {
    tables: Box<[Table]>,
    /// Counts the times that everything was forgotten.
    generation: u64,
    records: usize,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Clone, Default)]
struct Table {
    /// A power of two of them, or none.
    buckets: Vec<Bucket>,
    /// What is in it counts only if this is the index's: so that forgetting everything takes no time.
    generation: u64,
}

impl Index {
    pub(super) fn new(bytes_max: usize) -> Index {
        let tables = (bytes_max / TABLE_BYTES).next_power_of_two().min(TABLES_MAX);
        let tables = vec![Table::default(); tables].into_boxed_slice();
        Index { tables, generation: 0, records: 0, bytes: 0, bytes_max }
    }

    pub(super) fn len(&self) -> usize {
        self.records
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The positions of records whose hash looks like this one.
    pub(super) fn find(&self, hash: u64) -> impl Iterator<Item = u32> {
        let table = self.buckets(self.table_of(hash));
        let (tag, pair) = (tag_of(hash), pair_of(hash, table));
        let words = pair.into_iter().flatten().flat_map(|bucket| &table[bucket].0);
        words.filter(move |word| (*word >> 32) as u32 == tag && **word as u32 != 0).map(|word| *word as u32 - 1)
    }

    /// Fetches what `find` will look at.
    pub(super) fn prefetch(&self, hash: u64) {
        let table = self.buckets(self.table_of(hash));
        if let Some([bucket, _]) = pair_of(hash, table) {
            prefetch(&table[bucket]);
        }
    }

    /// Adds a record. `age` tells how long ago a record was written: one may have to go.
    pub(super) fn insert(&mut self, hash: u64, at: u32, age: impl Fn(u32) -> u64) {
        let number = self.table_of(hash);
        let word = u64::from(tag_of(hash)) << 32 | u64::from(at + 1);
        self.records += 1;
        let table = &mut self.tables[number];
        if table.generation != self.generation {
            table.buckets.fill(Bucket([0; WORDS]));
            table.generation = self.generation;
        }
        while !put(&mut self.tables[number].buckets, word) {
            if !self.grow(number) {
                let table = &mut self.tables[number].buckets;
                let buckets = pair_of(hash, table).expect("a table that is full has buckets");
                let places = buckets.into_iter().flat_map(|bucket| (0..WORDS).map(move |word| (bucket, word)));
                let oldest = places.max_by_key(|(bucket, word)| age(table[*bucket].0[*word] as u32 - 1));
                let (bucket, place) = oldest.expect("a bucket has words");
                table[bucket].0[place] = word;
                self.records -= 1;
                return;
            }
        }
    }

    /// False when it is not there.
    pub(super) fn remove(&mut self, hash: u64, at: u32) -> bool {
        let number = self.table_of(hash);
        if self.tables[number].generation != self.generation {
            return false;
        }
        let table = &mut self.tables[number].buckets;
        let word = u64::from(tag_of(hash)) << 32 | u64::from(at + 1);
        let place = pair_of(hash, table).into_iter().flatten().find_map(|bucket| {
            let place = table[bucket].0.iter().position(|known| *known == word)?;
            Some((bucket, place))
        });
        if let Some((bucket, place)) = place {
            table[bucket].0[place] = 0;
            self.records -= 1;
        }
        place.is_some()
    }

    pub(super) fn clear(&mut self) {
        self.generation += 1;
        self.records = 0;
    }

    fn buckets(&self, table: usize) -> &[Bucket] {
        let table = &self.tables[table];
        if table.generation == self.generation { &table.buckets } else { &[] }
    }

    fn table_of(&self, hash: u64) -> usize {
        (hash >> 54) as usize & (self.tables.len() - 1)
    }

    /// Doubles a table. False when that would be more than all tables may have.
    fn grow(&mut self, table: usize) -> bool {
        let old = &self.tables[table].buckets;
        let mut buckets = (2 * old.len()).max(BUCKETS_MIN);
        loop {
            let bytes = self.bytes + (buckets - old.len()) * BUCKET_BYTES;
            if bytes > self.bytes_max && !old.is_empty() {
                return false;
            }
            let mut new = vec![Bucket([0; WORDS]); buckets];
            let words = old.iter().flat_map(|bucket| bucket.0).filter(|word| *word != 0);
            // Words that shared two buckets may all belong into the same two again.
            if words.into_iter().all(|word| put(&mut new, word)) {
                self.tables[table].buckets = new;
                self.bytes = bytes;
                return true;
            }
            buckets *= 2;
        }
    }
}

/// False when both of the word's buckets are full.
fn put(table: &mut [Bucket], word: Word) -> bool {
    let Some(pair) = pair_of_tag((word >> 32) as u32, table) else { return false };
    for bucket in pair {
        if let Some(free) = table[bucket].0.iter_mut().find(|word| **word == 0) {
            *free = word;
            return true;
        }
    }
    false
}

/// The bucket of a hash, and its neighbour, where it goes when that is full.
fn pair_of(hash: u64, table: &[Bucket]) -> Option<[usize; 2]> {
    pair_of_tag(tag_of(hash), table)
}

fn pair_of_tag(tag: u32, table: &[Bucket]) -> Option<[usize; 2]> {
    let bucket = tag as usize & table.len().wrapping_sub(1);
    (!table.is_empty()).then_some([bucket, bucket ^ 1])
}

/// Bits that neither the table nor the version slot is made of.
fn tag_of(hash: u64) -> u32 {
    (hash >> 21) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(key: u32) -> u64 {
        (u64::from(key) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
    }

    fn has(index: &Index, key: u32) -> bool {
        index.find(hash_of(key)).any(|at| at == key)
    }

    #[test]
    fn what_is_inserted_is_found_until_it_is_removed() {
        let mut index = Index::new(1 << 20);
        (0..20_000).for_each(|key| index.insert(hash_of(key), key, |_| panic!("there is room")));
        assert!((0..20_000).all(|key| has(&index, key)) && !has(&index, 20_000));
        (0..20_000).step_by(2).for_each(|key| assert!(index.remove(hash_of(key), key)));
        assert!(!index.remove(hash_of(0), 0));
        assert!((0..20_000).all(|key| has(&index, key) == (key % 2 == 1)));
        assert_eq!(index.len(), 10_000);
        index.clear();
        assert!((0..20_000).all(|key| !has(&index, key)) && index.len() == 0);
        assert!(!index.remove(hash_of(1), 1));
        (0..20_000).step_by(3).for_each(|key| index.insert(hash_of(key), key, |_| panic!("there is room")));
        assert!((0..20_000).all(|key| has(&index, key) == (key % 3 == 0)));
    }

    #[test]
    fn it_keeps_to_its_bytes_and_forgets_the_oldest_then() {
        let bytes_max = 256 << 10;
        let mut index = Index::new(bytes_max);
        (0..100_000).for_each(|key| index.insert(hash_of(key), key, |other| u64::from(key - other)));
        assert!(index.bytes() <= bytes_max && index.bytes() > bytes_max / 2, "{}", index.bytes());
        let found = |range: std::ops::Range<u32>| range.filter(|key| has(&index, *key)).count();
        assert_eq!(found(0..100_000), index.len());
        assert!(index.len() > bytes_max / BUCKET_BYTES * WORDS / 2, "{}", index.len());
        assert_eq!(found(99_000..100_000), 1000, "the newest are there");
    }

    #[test]
    fn hashes_that_are_all_alike_do_not_make_it_grow_without_end() {
        let mut index = Index::new(64 << 10);
        (0..1000).for_each(|at| index.insert(42 << 21, at, |other| u64::from(1000 - other)));
        assert!(index.bytes() <= 64 << 10 && index.len() <= 2 * WORDS);
        assert!(index.find(42 << 21).any(|at| at == 999));
    }
}
