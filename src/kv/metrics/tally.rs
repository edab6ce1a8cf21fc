//! Counts calls beside the shared counters: what was counted reaches these as sums, since an atomic addition to a word that other
//! threads write as well costs as much as a small read. Whoever holds a tally settles it before the replies leave, so that
//! nobody who has been answered finds himself not counted.

use crate::kv::metrics::statistics::{BUCKETS, Counted, Statistics, bucket};

pub struct Tally {
    statistics: Statistics,
    /// The row of the calls below; they are of one command.
    command: u16,
    calls: u64,
    failed: u64,
    duration_us: u64,
    buckets: [u32; BUCKETS],
    key_hits: u64,
    key_misses: u64,
    cache_hits: u64,
    cache_misses: u64,
    memtable_hits: u64,
}

impl Tally {
    #[must_use]
    pub fn new(statistics: Statistics) -> Tally {
        Tally {
            statistics,
            command: 0,
            calls: 0,
            failed: 0,
            duration_us: 0,
            buckets: [0; BUCKETS],
            key_hits: 0,
            key_misses: 0,
            cache_hits: 0,
            cache_misses: 0,
            memtable_hits: 0,
        }
    }

    /// `calls` calls of one command that took `duration_us` together.
    pub fn called(&mut self, command: u16, calls: u32, duration_us: u64, is_error: bool) {
        if self.command != command && self.calls > 0 {
            self.settle_calls();
        }
        self.command = command;
        self.calls += u64::from(calls);
        self.failed += u64::from(is_error) * u64::from(calls);
        self.duration_us += duration_us;
        self.buckets[bucket(duration_us / u64::from(calls))] += calls;
    }

    /// Whether a read found its key.
    pub fn read(&mut self, is_miss: bool) {
        *(if is_miss { &mut self.key_misses } else { &mut self.key_hits }) += 1;
    }

    /// Whether a call that the cache may answer was answered by it, or with a row of the memtable.
    pub fn looked(&mut self, is_known: bool, has_fresh: bool) {
        *(match (is_known, has_fresh) {
            (true, false) => &mut self.cache_hits,
            (true, true) => &mut self.memtable_hits,
            (false, _) => &mut self.cache_misses,
        }) += 1;
    }

    /// Everything counted so far becomes visible.
    pub fn settle(&mut self) {
        if self.calls > 0 {
            self.settle_calls();
        }
        for (which, count) in [
            (Counted::KeyHitsTotal, &mut self.key_hits),
            (Counted::KeyMissesTotal, &mut self.key_misses),
            (Counted::CacheHitsTotal, &mut self.cache_hits),
            (Counted::CacheMissesTotal, &mut self.cache_misses),
            (Counted::MemtableHitsTotal, &mut self.memtable_hits),
        ] {
            if *count > 0 {
                self.statistics.add(which, std::mem::take(count));
            }
        }
    }

    fn settle_calls(&mut self) {
        let filled = self.buckets.iter_mut().enumerate().filter(|(_, count)| **count > 0);
        let buckets = filled.map(|(bucket, count)| (bucket, u64::from(std::mem::take(count))));
        self.statistics.called(self.command, self.calls, self.failed, self.duration_us, buckets);
        (self.calls, self.failed, self.duration_us) = (0, 0, 0);
    }
}
