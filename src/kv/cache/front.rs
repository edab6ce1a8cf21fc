//! Whether what a loop remembers may be used: the one place that compares versions, the epoch and the time.
//!
//! A record is current exactly while its version slot has the value that it had when the record's key was asked for: a change
//! makes the slot odd before it touches a row, and gives it a new even value after its COMMIT and before any reply. So a hit is a
//! read of the database at the instant at which the slot was read. Records carry no epoch: a new one empties the store.

use smallvec::SmallVec;

use super::record::{Asked, Learned, Record, Seen};
use super::store::{self, Place, Store};
use crate::kv::shared::broken::{self, Variant};
use crate::kv::shared::versions::Versions;

/// One loop's cache.
pub struct Cache {
    /// `None`: the cache is off.
    store: Option<Store>,
    versions: Versions,
    /// All records were seen at this epoch, which was settled then.
    epoch: u64,
}

/// What a look at the keys of a call came to. Kept from call to call, for its memory.
#[derive(Default)]
pub struct Found {
    places: SmallVec<[Place; 8]>,
    slots: SmallVec<[u32; 8]>,
    /// What each key's version slot said.
    versions: SmallVec<[u64; 8]>,
    /// The time, if a key made it necessary to know.
    now_ms: Option<i64>,
    /// The hash of the first key, where it is known before the look.
    pub hash: Option<u64>,
}

impl Found {
    /// The time of the look; of no meaning when none of the keys ends.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now_ms.unwrap_or(0)
    }
}

impl Cache {
    /// At most `bytes` of memory; a few kilobytes and less turn it off.
    #[must_use]
    pub fn new(bytes: usize, versions: Versions) -> Cache {
        let store = (bytes >= store::BYTES_MIN).then(|| Store::new(bytes));
        Cache { store, epoch: versions.epoch(), versions }
    }

    #[must_use]
    pub fn is_on(&self) -> bool {
        self.store.is_some()
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

    /// True when all keys are known, as of one instant; then `records` shows them. Otherwise `found` has what to ask with.
    pub fn look(&mut self, database: u8, keys: &[&[u8]], now_ms: impl Fn() -> i64, found: &mut Found) -> bool {
        found.places.clear();
        found.slots.clear();
        found.versions.clear();
        found.now_ms = None;
        let Some(store) = &mut self.store else { return false };
        let epoch = self.versions.epoch();
        if epoch != self.epoch {
            // Everything has changed, or is about to.
            store.clear();
            self.epoch = epoch;
        }
        for key in keys {
            let hash = found.hash.take().unwrap_or_else(|| self.versions.hash_of(database, key));
            debug_assert_eq!(hash, self.versions.hash_of(database, key));
            let slot = Versions::slot_of(hash);
            let version = self.versions.read(slot);
            found.slots.push(slot);
            found.versions.push(version);
            let place = store.find(hash, database, key).filter(|place| {
                let record = store.record(*place);
                let is_alive = |at| at > *found.now_ms.get_or_insert_with(&now_ms);
                record.version() == version && record.expires_at_ms().is_none_or(is_alive)
            });
            match place {
                Some(place) if found.places.len() + 1 == found.versions.len() => found.places.push(place),
                _ => {}
            }
        }
        let is_known = found.places.len() == keys.len() && (keys.len() == 1 || self.is_unchanged(found));
        if is_known {
            let store = self.store.as_mut().expect("it is on");
            found.places.iter().for_each(|place| store.set_used(*place));
        }
        is_known
    }

    /// Of several keys: each was current when it was looked at, and all are, so all were at the instant in between.
    fn is_unchanged(&self, found: &Found) -> bool {
        let mut seen = found.slots.iter().zip(&found.versions);
        seen.all(|(slot, version)| self.versions.read(*slot) == *version) && self.versions.epoch() == self.epoch
    }

    /// What `look` has found, in the order of the keys.
    pub fn records<'a>(&'a self, found: &'a Found) -> impl Iterator<Item = Record<'a>> {
        self.store.iter().flat_map(|store| found.places.iter().map(|place| store.record(*place)))
    }

    /// Adds what `look` has seen to what a job asks with.
    pub fn note(&self, found: &Found, seen: &mut Seen) {
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
                store.put(record);
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
