//! Whether what a loop remembers may be used: the one place that compares versions, the epoch and the time.
//!
//! A record is current exactly while its version slot has the value that it had when the record's key was asked for: a change
//! makes the slot odd before it touches a row, and gives it a new even value after its COMMIT and before any reply. So a hit is a
//! read of the database at the instant at which the slot was read. Records carry no epoch: a new one empties the store.
//!
//! What the cache does not have may lie in the memtable, if it was written a moment ago. The same rule holds: what is found there is the
//! key's row at the instant at which its slot is read for the second time, unchanged, and the epoch with it.

use smallvec::SmallVec;

use super::record::{Asked, Learned, Record, Seen};
use super::store::{self, Place, Store};
use super::unmerged::Unmerged;
use crate::kv::shared::broken::{self, Variant};
use crate::kv::shared::versions::Versions;
use crate::storage::memtable::Memory;

/// One loop's cache.
pub struct Cache {
    /// `None`: the cache is off.
    store: Option<Store>,
    unmerged: Unmerged,
    /// Goes down with each pipeline that is read ahead, and up when the memtable had a key: whether it is worth reading ahead there.
    fresh_lately: u32,
    versions: Versions,
    /// All records were seen at this epoch, which was settled then.
    epoch: u64,
}

/// Pipelines that are read ahead in the memtable after it had a key.
const FRESH_LATELY: u32 = 64;

/// What a look at the keys of a call came to. Kept from call to call, for its memory.
#[derive(Default)]
pub struct Found {
    places: SmallVec<[Where; 8]>,
    /// What was found in the memtable.
    fresh: Learned,
    slots: SmallVec<[u32; 8]>,
    /// What each key's version slot said.
    versions: SmallVec<[u64; 8]>,
    /// The time, if a key made it necessary to know.
    now_ms: Option<i64>,
    /// The hash of the first key, where it is known before the look.
    pub hash: Option<u64>,
}

#[derive(Clone, Copy)]
enum Where {
    Cached(Place),
    /// In `fresh`.
    Fresh(usize),
}

impl Found {
    /// Whether something of it was found in the memtable.
    #[must_use]
    pub fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// The time of the look; of no meaning when none of the keys ends.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now_ms.unwrap_or(0)
    }
}

impl Cache {
    /// At most `bytes` of memory; a few kilobytes and less turn it off. What it does not have it looks for in `memory`.
    #[must_use]
    pub fn new(bytes: usize, versions: Versions, memory: Memory) -> Cache {
        let store = (bytes >= store::BYTES_MIN).then(|| Store::new(bytes));
        Cache { store, unmerged: Unmerged::new(memory), fresh_lately: 0, epoch: versions.epoch(), versions }
    }

    /// Whether a look can find anything.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.store.is_some() || self.unmerged.is_on()
    }

    /// Keys that are remembered, current or not, and the bytes of the ring that are in use.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        self.store.as_ref().map_or((0, 0), |store| (store.len(), store.bytes()))
    }

    #[must_use]
    pub fn hash_of(&self, database: u8, key: &[u8]) -> u64 {
        self.versions.hash_of(database, key)
    }

    /// Fetches what `look` will touch first, for a key with this hash.
    pub fn prefetch(&self, hash: u64) {
        self.versions.prefetch(Versions::slot_of(hash));
        if let Some(store) = &self.store {
            store.prefetch(hash);
        }
    }

    /// Fetches what `look` will touch then.
    pub fn prefetch_records(&self, hash: u64) {
        if let Some(store) = &self.store {
            store.prefetch_records(hash);
        }
    }

    /// Fetches what `look` will touch of the memtable, for keys with these hashes that the cache does not have: if it had some lately.
    pub fn prefetch_unmerged<'k>(&mut self, database: u8, keys: impl Iterator<Item = (u64, &'k [u8])>) {
        if self.fresh_lately == 0 {
            return;
        }
        self.fresh_lately -= 1;
        let Some(window) = self.unmerged.window() else { return };
        let is_cached = |hash, key| {
            let store = self.store.as_ref()?;
            let record = store.record(store.find(hash, database, key)?);
            (record.version() == self.versions.read(Versions::slot_of(hash))).then_some(())
        };
        let missing = keys.filter(|(hash, key)| is_cached(*hash, key).is_none()).map(|(_, key)| key);
        let missing: SmallVec<[&[u8]; 32]> = missing.collect();
        for is_second in [false, true] {
            missing.iter().for_each(|key| self.unmerged.prefetch(&window, database, key, is_second));
        }
    }

    /// True when all keys are known, as of one instant; then `records` shows them. Otherwise `found` has what to ask with.
    pub fn look(&mut self, database: u8, keys: &[&[u8]], now_ms: impl Fn() -> i64, found: &mut Found) -> bool {
        found.places.clear();
        found.slots.clear();
        found.versions.clear();
        found.now_ms = None;
        found.fresh.truncate(0);
        if !self.is_on() {
            return false;
        }
        let epoch = self.versions.epoch();
        if epoch != self.epoch {
            // Everything has changed, or is about to.
            self.store.iter_mut().for_each(Store::clear);
            self.epoch = epoch;
        }
        found.fresh.epoch = epoch;
        for key in keys {
            let hash = found.hash.take().unwrap_or_else(|| self.versions.hash_of(database, key));
            debug_assert_eq!(hash, self.versions.hash_of(database, key));
            let slot = Versions::slot_of(hash);
            let version = self.versions.read(slot);
            found.slots.push(slot);
            found.versions.push(version);
            if found.places.len() + 1 < found.versions.len() {
                // One before it is not known: it only needs its version.
                continue;
            }
            let is_current = |record: &Record<'_>, now_ms_known: &mut Option<i64>| {
                let is_alive = |at| at > *now_ms_known.get_or_insert_with(&now_ms);
                record.version() == version && record.expires_at_ms().is_none_or(is_alive)
            };
            let cached = self.store.as_ref().and_then(|store| {
                let place = store.find(hash, database, key)?;
                is_current(&store.record(place), &mut found.now_ms).then_some(Where::Cached(place))
            });
            let place = cached.or_else(|| {
                let at = self.find_fresh(Asked { hash, database, key }, version, &mut found.fresh)?;
                is_current(&found.fresh.record(at), &mut found.now_ms).then_some(Where::Fresh(at))
            });
            found.places.extend(place);
        }
        let is_known = found.places.len() == keys.len() && (keys.len() == 1 || self.is_unchanged(found));
        if let (true, Some(store)) = (is_known, &mut self.store) {
            for place in &found.places {
                if let Where::Cached(place) = place {
                    store.set_used(*place);
                }
            }
        }
        is_known
    }

    /// Where in `fresh` the key's row is that the memtable has, if it was the newest when its version slot was `version`.
    fn find_fresh(&mut self, asked: Asked<'_>, version: u64, fresh: &mut Learned) -> Option<usize> {
        if !version.is_multiple_of(2) || !self.epoch.is_multiple_of(2) {
            return None;
        }
        // Of this key alone: one from before its version was read may lack the group that gave it that version.
        let window = self.unmerged.window()?;
        let at = fresh.end();
        let is_found = self.unmerged.find(&window, asked, version, fresh);
        let is_current = is_found && self.versions.is_current(Versions::slot_of(asked.hash), version, self.epoch);
        if !is_current {
            fresh.truncate(at);
            return None;
        }
        self.fresh_lately = FRESH_LATELY;
        Some(at)
    }

    /// Keeps what the last look has found in the memtable, as far as it is still current: it will be merged.
    pub fn keep_fresh(&mut self, found: &Found) {
        self.learn(&found.fresh);
    }

    /// Of several keys: each was current when it was looked at, and all are, so all were at the instant in between.
    fn is_unchanged(&self, found: &Found) -> bool {
        let mut seen = found.slots.iter().zip(&found.versions);
        seen.all(|(slot, version)| self.versions.read(*slot) == *version) && self.versions.epoch() == self.epoch
    }

    /// What `look` has found, in the order of the keys.
    pub fn records<'a>(&'a self, found: &'a Found) -> impl Iterator<Item = Record<'a>> {
        found.places.iter().filter_map(|place| match place {
            Where::Cached(place) => self.store.as_ref().map(|store| store.record(*place)),
            Where::Fresh(at) => Some(found.fresh.record(*at)),
        })
    }

    /// Adds what `look` has seen to what a job asks with.
    pub fn note(&self, found: &Found, seen: &mut Seen) {
        if self.store.is_none() {
            return;
        }
        if seen.versions.is_empty() {
            seen.epoch = self.epoch;
        }
        seen.versions.extend_from_slice(&found.versions);
    }

    /// Keeps what a job has brought, as far as nothing has changed since it was asked for.
    pub fn learn(&mut self, learned: &Learned) {
        let Some(store) = &mut self.store else { return };
        let epoch = learned.epoch;
        if epoch != self.epoch || !epoch.is_multiple_of(2) {
            return;
        }
        for record in learned.records() {
            let slot = Versions::slot_of(record.hash());
            if self.versions.is_current(slot, record.version(), epoch) {
                // A read of the head alone knows less than one of all elements that came before it.
                let knows_more = |known: Record<'_>| {
                    known.version() == record.version() && known.value().is_some() && known.entry() == record.entry()
                };
                let known = store.find(record.hash(), record.database(), record.key()).map(|place| store.record(place));
                if record.value().is_some() || !known.is_some_and(knows_more) {
                    store.put(record);
                }
            } else if broken::is(Variant::NoCheckOnFill) {
                let asked = Asked { hash: record.hash(), database: record.database(), key: record.key() };
                let mut stamped = Learned::default();
                stamped.push(asked, self.versions.read(slot), record.entry().as_ref(), record.value());
                stamped.records().for_each(|record| store.put(record));
            }
        }
    }
}

/// The key as the cache and its versions name it.
#[must_use]
pub fn asked<'a>(versions: &Versions, database: u8, key: &'a [u8]) -> Asked<'a> {
    Asked { hash: versions.hash_of(database, key), database, key }
}

#[cfg(test)]
#[path = "front_tests.rs"]
mod tests;
