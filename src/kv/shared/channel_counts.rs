//! How many subscribers each channel has on each worker, in shared memory: whoever publishes adds them up, and asks nobody.
//!
//! ```text
//! worker    tag, channels, shard channels, changes     then its buckets
//! bucket    8 x first half of the hash, 8 x second half, 8 x (tag, count)
//! ```
//! Each worker writes to its own table alone. A channel's entry lies in one of two buckets, and is never moved: nobody who looks for it
//! can miss it. An entry counts while its tag is the table's and its count is not 0; so a worker that starts again has an empty table with
//! one store. Names are known by 128 bits of a hash with secret seeds: no two have the same.

use std::hash::{BuildHasher, RandomState};
use std::io;

use crate::server::Slot;
use crate::sys::atomic::{AtomicU64, Ordering};
use crate::sys::shared;

/// Which of the two spaces of names a channel is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChannelKind {
    Plain,
    Shard,
}

impl ChannelKind {
    pub const ALL: [ChannelKind; 2] = [ChannelKind::Plain, ChannelKind::Shard];
}

/// A channel's name, as all processes of this start know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelHash(u64, u64);

/// Both buckets of the channel are full: the table has three quarters or more of what it can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// Of each worker; with eight entries each, the table is a dozen megabytes of which only what is used takes memory.
const BUCKETS: usize = if cfg!(feature = "models") { 2 } else { 1 << 16 };
const ENTRIES: usize = 8;
const BUCKET_WORDS: usize = 3 * ENTRIES;
/// The table's head has a cache line of its own.
const HEAD_WORDS: usize = 8;
const TABLE_WORDS: usize = HEAD_WORDS + BUCKETS * BUCKET_WORDS;

const TAG: usize = 0;
const CHANNELS: usize = 1;
const CHANGES: usize = 3;

#[derive(Clone)]
pub struct ChannelCounts {
    words: &'static [AtomicU64],
    seeds: [RandomState; 2],
}

impl ChannelCounts {
    /// Before the first fork.
    pub fn new(workers: usize) -> io::Result<ChannelCounts> {
        Ok(ChannelCounts {
            words: shared::words(workers * TABLE_WORDS)?,
            seeds: [RandomState::new(), RandomState::new()],
        })
    }

    #[must_use]
    pub fn hash_of(&self, kind: ChannelKind, name: &[u8]) -> ChannelHash {
        let [first, second] = &self.seeds;
        ChannelHash(first.hash_one((kind, name)), second.hash_one((kind, name)))
    }

    /// A worker starts: nobody listens to it yet.
    pub fn begin(&self, slot: Slot, incarnation: u64) {
        let head = self.table(slot);
        head[TAG].store(u64::from(incarnation as u32), Ordering::SeqCst);
        ChannelKind::ALL.into_iter().for_each(|kind| head[CHANNELS + kind as usize].store(0, Ordering::SeqCst));
        head[CHANGES].fetch_add(1, Ordering::SeqCst);
    }

    /// How many channels of this kind have subscribers on this worker.
    #[must_use]
    pub fn channels(&self, slot: Slot, kind: ChannelKind) -> u64 {
        self.table(slot)[CHANNELS + kind as usize].load(Ordering::SeqCst)
    }

    /// Grows whenever a channel of this worker gets its first subscriber or loses its last one.
    #[must_use]
    pub fn changes(&self, slot: Slot) -> u64 {
        self.table(slot)[CHANGES].load(Ordering::SeqCst)
    }

    /// How many subscribers the channel has on this worker.
    #[must_use]
    pub fn subscribers(&self, slot: Slot, kind: ChannelKind, hash: ChannelHash) -> u64 {
        let table = self.table(slot);
        if table[CHANNELS + kind as usize].load(Ordering::SeqCst) == 0 {
            return 0;
        }
        let tag = table[TAG].load(Ordering::SeqCst);
        let found = buckets_of(hash).into_iter().find_map(|bucket| find(&table[bucket..][..BUCKET_WORDS], tag, hash));
        found.map_or(0, |(_, count)| count)
    }

    /// The channel has so many subscribers on this worker, whose loop this is.
    ///
    /// # Errors
    /// There is no room for one more channel.
    pub fn set(&self, slot: Slot, kind: ChannelKind, hash: ChannelHash, count: usize) -> Result<(), NoRoom> {
        let table = self.table(slot);
        let tag = table[TAG].load(Ordering::SeqCst);
        let word = |count: usize| if count == 0 { 0 } else { tag << 32 | (count as u64).min(u64::from(u32::MAX)) };
        let buckets = buckets_of(hash);
        for bucket in buckets {
            if let Some((entry, _)) = find(&table[bucket..][..BUCKET_WORDS], tag, hash) {
                table[bucket + 2 * ENTRIES + entry].store(word(count), Ordering::SeqCst);
                if count == 0 {
                    table[CHANNELS + kind as usize].fetch_sub(1, Ordering::SeqCst);
                    table[CHANGES].fetch_add(1, Ordering::SeqCst);
                }
                return Ok(());
            }
        }
        if count == 0 {
            return Ok(());
        }
        let free = |bucket: usize| {
            let is_free = move |entry: &usize| {
                count_of(table[bucket + 2 * ENTRIES + entry].load(Ordering::SeqCst), tag).is_none()
            };
            (0..ENTRIES).filter(is_free)
        };
        // Into the emptier one, so that both fill late.
        let bucket = buckets.into_iter().max_by_key(|bucket| free(*bucket).count()).unwrap_or_default();
        let entry = free(bucket).next().ok_or(NoRoom)?;
        // The count comes last: until then the entry is nobody's.
        table[bucket + entry].store(hash.0, Ordering::SeqCst);
        table[bucket + ENTRIES + entry].store(hash.1, Ordering::SeqCst);
        table[bucket + 2 * ENTRIES + entry].store(word(count), Ordering::SeqCst);
        table[CHANNELS + kind as usize].fetch_add(1, Ordering::SeqCst);
        table[CHANGES].fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn table(&self, slot: Slot) -> &'static [AtomicU64] {
        &self.words[slot.0 * TABLE_WORDS..][..TABLE_WORDS]
    }
}

/// Where its two buckets begin.
fn buckets_of(hash: ChannelHash) -> [usize; 2] {
    let first = hash.0 as usize % BUCKETS;
    // Never the same one.
    let second = (first + 1 + hash.1 as usize % (BUCKETS - 1)) % BUCKETS;
    [first, second].map(|bucket| HEAD_WORDS + bucket * BUCKET_WORDS)
}

/// The entry of this channel that counts, and its count.
fn find(bucket: &[AtomicU64], tag: u64, hash: ChannelHash) -> Option<(usize, u64)> {
    let is_there = |entry: usize| {
        bucket[entry].load(Ordering::SeqCst) == hash.0 && bucket[ENTRIES + entry].load(Ordering::SeqCst) == hash.1
    };
    for entry in (0..ENTRIES).filter(|entry| is_there(*entry)) {
        let count = count_of(bucket[2 * ENTRIES + entry].load(Ordering::SeqCst), tag);
        // Another channel may have got the entry meanwhile, whose count this is then; the one that is looked for has none any more.
        if let (Some(count), true) = (count, is_there(entry)) {
            return Some((entry, count));
        }
    }
    None
}

fn count_of(word: u64, tag: u64) -> Option<u64> {
    let count = word & u64::from(u32::MAX);
    (word >> 32 == tag && count > 0).then_some(count)
}

#[cfg(all(test, not(feature = "models")))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    const HERE: Slot = Slot(0);

    fn counts() -> ChannelCounts {
        let counts = ChannelCounts::new(2).expect("there is the memory");
        counts.begin(HERE, 7);
        counts.begin(Slot(1), 8);
        counts
    }

    #[test]
    fn a_worker_that_starts_again_has_no_subscribers() {
        let counts = counts();
        let hash = counts.hash_of(ChannelKind::Plain, b"news");
        assert_ne!(hash, counts.hash_of(ChannelKind::Shard, b"news"), "two spaces of names");
        counts.set(HERE, ChannelKind::Plain, hash, 3).unwrap();
        assert_eq!(counts.subscribers(HERE, ChannelKind::Plain, hash), 3);
        assert_eq!(counts.subscribers(Slot(1), ChannelKind::Plain, hash), 0);
        let changes = counts.changes(HERE);
        counts.begin(HERE, 9);
        assert_eq!(
            (counts.subscribers(HERE, ChannelKind::Plain, hash), counts.channels(HERE, ChannelKind::Plain)),
            (0, 0)
        );
        assert!(counts.changes(HERE) > changes);
        counts.set(HERE, ChannelKind::Plain, hash, 1).unwrap();
        assert_eq!(counts.subscribers(HERE, ChannelKind::Plain, hash), 1);
    }

    #[test]
    fn a_table_that_is_full_refuses_one_more_and_goes_on_with_those_that_it_has() {
        let counts = counts();
        let hash = |number: u64| counts.hash_of(ChannelKind::Plain, &number.to_le_bytes());
        let is_refused = |number: &u64| counts.set(HERE, ChannelKind::Plain, hash(*number), 1) == Err(NoRoom);
        let refused = (0..).find(is_refused).unwrap();
        let share = refused as f64 / (BUCKETS * ENTRIES) as f64;
        // Where two hashes of one channel lie is chance: three quarters mostly, and the unluckiest of some hundred tables had 0.69.
        assert!(share > 0.6, "{share}");
        assert_eq!(counts.channels(HERE, ChannelKind::Plain), refused);
        assert!((0..refused).all(|number| counts.subscribers(HERE, ChannelKind::Plain, hash(number)) == 1));
        assert_eq!(counts.subscribers(HERE, ChannelKind::Plain, hash(refused)), 0);
        // One that is there counts on, and one that leaves makes room.
        (0..refused).for_each(|number| counts.set(HERE, ChannelKind::Plain, hash(number), 0).unwrap());
        assert_eq!(counts.channels(HERE, ChannelKind::Plain), 0);
        counts.set(HERE, ChannelKind::Plain, hash(refused), 2).unwrap();
        assert_eq!(counts.subscribers(HERE, ChannelKind::Plain, hash(refused)), 2);
    }

    #[test]
    fn who_looks_while_channels_come_and_go_never_misses_one_that_stays_and_sees_no_strangers_count() {
        let counts = counts();
        let hash = |name: &str| counts.hash_of(ChannelKind::Plain, name.as_bytes());
        let (stays, never) = (hash("stays"), hash("never"));
        counts.set(HERE, ChannelKind::Plain, stays, 5).unwrap();
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..60_000 {
                    let hash = hash(&(number % 3000).to_string());
                    counts.set(HERE, ChannelKind::Plain, hash, number / 3000 % 2).unwrap();
                }
                is_over.store(true, std::sync::atomic::Ordering::SeqCst);
            });
            while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
                assert_eq!(counts.subscribers(HERE, ChannelKind::Plain, stays), 5);
                assert_eq!(counts.subscribers(HERE, ChannelKind::Plain, never), 0);
            }
        });
    }

    proptest! {
        #[test]
        fn counts_are_as_a_map_has_them(steps in prop::collection::vec((0..40_u8, any::<bool>(), 0..4_usize), 0..400)) {
            let counts = counts();
            let mut model: HashMap<(u8, ChannelKind), usize> = HashMap::new();
            for (name, is_shard, count) in steps {
                let kind = if is_shard { ChannelKind::Shard } else { ChannelKind::Plain };
                counts.set(HERE, kind, counts.hash_of(kind, &[name]), count).unwrap();
                model.insert((name, kind), count);
            }
            for ((name, kind), count) in &model {
                prop_assert_eq!(counts.subscribers(HERE, *kind, counts.hash_of(*kind, &[*name])), *count as u64);
            }
            for kind in ChannelKind::ALL {
                let live = model.iter().filter(|((_, of), count)| *of == kind && **count > 0).count();
                prop_assert_eq!(counts.channels(HERE, kind), live as u64);
            }
        }
    }
}
