//! The version slots (`kv/shared/versions.rs`) in small: the same rules, sixteen slots.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const SLOTS: usize = 16;

#[derive(Default)]
pub(super) struct Versions {
    slots: [AtomicU64; SLOTS],
    epoch: AtomicU64,
    /// The present writer's: the slots that its group has made odd; `SLOTS` stands for the epoch.
    marked: Mutex<Vec<usize>>,
}

/// What a loop reads of a key before it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    slot: usize,
    version: u64,
    epoch: u64,
}

impl Version {
    pub(super) fn is_settled(&self) -> bool {
        self.version.is_multiple_of(2) && self.epoch.is_multiple_of(2)
    }
}

fn slot_of(database: u8, key: &[u8]) -> usize {
    key.iter().fold(usize::from(database), |sum, byte| sum * 31 + usize::from(*byte)) % SLOTS
}

impl Versions {
    pub(super) fn read(&self, database: u8, key: &[u8]) -> Version {
        let slot = slot_of(database, key);
        let (version, epoch) = (self.slots[slot].load(Ordering::SeqCst), self.epoch.load(Ordering::SeqCst));
        Version { slot, version, epoch }
    }

    pub(super) fn is_current(&self, version: &Version) -> bool {
        version.is_settled()
            && self.slots[version.slot].load(Ordering::SeqCst) == version.version
            && self.epoch.load(Ordering::SeqCst) == version.epoch
    }

    fn word(&self, number: usize) -> &AtomicU64 {
        self.slots.get(number).unwrap_or(&self.epoch)
    }

    fn mark_word(&self, number: usize) {
        if self.word(number).fetch_or(1, Ordering::SeqCst).is_multiple_of(2) {
            self.marked.lock().unwrap().push(number);
        }
    }

    pub(super) fn mark(&self, database: u8, key: &[u8]) {
        self.mark_word(slot_of(database, key));
    }

    pub(super) fn mark_all(&self) {
        self.mark_word(SLOTS);
    }

    pub(super) fn unmark(&self) {
        for number in self.marked.lock().unwrap().drain(..) {
            self.word(number).fetch_add(1, Ordering::SeqCst);
        }
    }

    /// For a new writer: what its predecessor left in flight is settled, and everything older void.
    pub(super) fn take_over(&self) {
        self.marked.lock().unwrap().clear();
        for slot in &self.slots {
            let version = slot.load(Ordering::SeqCst);
            slot.store(version + version % 2, Ordering::SeqCst);
        }
        let epoch = self.epoch.load(Ordering::SeqCst);
        self.epoch.store((epoch + 2) / 2 * 2, Ordering::SeqCst);
    }
}
