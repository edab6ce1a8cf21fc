//! Version slots: how any process sees, without asking, whether a key may have changed. In shared memory, written by the
//! writer alone.
//!
//! ```text
//! mark     at the first touch in a group, before the row changes: slot |= 1 (odd = in flight)
//! unmark   after COMMIT or rollback, before any reply: each distinct marked slot of the group += 1, exactly once
//! reader   v = slot, read by the loop when it submits; a value read after that is current while v is even and slot == v
//! epoch    one more slot under the same rules, for changes of everything at once
//! flushes  a slot per database under the same rules: it lost all its keys. Nothing that WATCH did not find is changed by that
//! swaps    a slot per database under the same rules: its keys are another database's now
//! restart  a new writer evens every odd slot and bumps the epoch before it serves: nothing older can match
//! ```
//! Several keys share a slot: that costs a needless "changed", never a missed one.

use std::hash::{BuildHasher, RandomState};
use std::io;

use crate::kv::shared::broken::{self, Variant};
use crate::storage::DATABASES;
use crate::sys::atomic::{AtomicU64, Ordering};
use crate::sys::{memory, shared};

/// A model test has one key.
pub const SLOTS: usize = if cfg!(feature = "models") { 1 } else { 1 << 20 };

/// What readers see. A copy is as good as the original, in every process forked after it was made.
#[derive(Clone)]
pub struct Versions {
    slots: &'static [AtomicU64],
    epoch: &'static AtomicU64,
    /// By database.
    flushes: &'static [AtomicU64],
    swaps: &'static [AtomicU64],
    /// Seeded, so that nobody can choose keys that share a slot.
    hasher: RandomState,
}

impl Versions {
    /// Before the first fork.
    pub fn new() -> io::Result<Versions> {
        let words = shared::words(SLOTS + 1 + 2 * DATABASES)?;
        let (slots, rest) = words.split_at(SLOTS);
        let (flushes, swaps) = rest[1..].split_at(DATABASES);
        Ok(Versions { slots, epoch: &rest[0], flushes, swaps, hasher: RandomState::new() })
    }

    #[must_use]
    pub fn hash_of(&self, database: u8, key: &[u8]) -> u64 {
        self.hasher.hash_one((database, key))
    }

    /// The slot of a key with this hash.
    #[must_use]
    pub fn slot_of(hash: u64) -> u32 {
        let slots = if broken::is(Variant::CountedPerWrite) { 16 } else { SLOTS };
        (hash as usize & (slots - 1)) as u32
    }

    #[must_use]
    pub fn slot_of_key(&self, database: u8, key: &[u8]) -> u32 {
        Self::slot_of(self.hash_of(database, key))
    }

    #[must_use]
    pub fn read(&self, slot: u32) -> u64 {
        self.slots[slot as usize].load(Ordering::SeqCst)
    }

    /// Fetches a slot that will be read soon.
    pub fn prefetch(&self, slot: u32) {
        memory::prefetch(&self.slots[slot as usize]);
    }

    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// How often the database has been flushed, and how often exchanged.
    #[must_use]
    pub fn of_database(&self, database: u8) -> (u64, u64) {
        let read = |words: &[AtomicU64]| words[usize::from(database)].load(Ordering::SeqCst);
        (read(self.flushes), read(self.swaps))
    }

    /// True when nothing that was read at `version` and `epoch` can have changed since.
    #[must_use]
    pub fn is_current(&self, slot: u32, version: u64, epoch: u64) -> bool {
        let is_settled = version.is_multiple_of(2) && epoch.is_multiple_of(2);
        is_settled && self.read(slot) == version && self.epoch() == epoch
    }

    /// Everything older is void: after a step of the clock.
    pub fn void_all(&self) {
        self.epoch.fetch_add(2, Ordering::SeqCst);
        // What had expired may be there again, and what was swept is not.
        self.swaps.iter().for_each(|swaps| _ = swaps.fetch_add(2, Ordering::SeqCst));
    }
}

/// The writer's side: which slots its present group has marked.
pub struct Marks {
    versions: Versions,
    marked: Vec<u32>,
    /// The epoch, and the databases' flushes and swaps: those that are odd because of this group.
    marked_words: Vec<&'static AtomicU64>,
}

impl Marks {
    /// For a new writer, before it serves: what its predecessor left in flight is settled, and everything older void.
    #[must_use]
    pub fn take_over(versions: Versions) -> Marks {
        let marks = Self::of(versions);
        marks.settle();
        marks
    }

    /// For a new writer that settles later.
    #[must_use]
    pub fn of(versions: Versions) -> Marks {
        Marks { versions, marked: Vec::new(), marked_words: Vec::new() }
    }

    /// What a predecessor left in flight is settled, once all that it has committed is published; and everything older is void.
    pub fn settle(&self) {
        let versions = &self.versions;
        for slot in versions.slots {
            let version = slot.load(Ordering::SeqCst);
            if !version.is_multiple_of(2) {
                let settled = if broken::is(Variant::RestartTakesBack) { version - 1 } else { version + 1 };
                slot.store(settled, Ordering::SeqCst);
            }
        }
        for word in std::iter::once(versions.epoch).chain(versions.flushes).chain(versions.swaps) {
            let value = word.load(Ordering::SeqCst);
            let takes_back = broken::is(Variant::RestartTakesBack) || broken::is(Variant::RestartTakesBackTheEpoch);
            word.store(if takes_back { value - value % 2 } else { (value + 2) / 2 * 2 }, Ordering::SeqCst);
        }
    }

    /// Before a row of this key changes.
    pub fn mark(&mut self, database: u8, key: &[u8]) {
        let slot = self.versions.slot_of_key(database, key);
        let word = &self.versions.slots[slot as usize];
        let is_first = if broken::is(Variant::NeverMarked) {
            false
        } else if broken::is(Variant::MarkedAfterCommit) {
            !self.marked.contains(&slot)
        } else if broken::is(Variant::CountedPerWrite) {
            word.fetch_add(1, Ordering::SeqCst);
            true
        } else {
            word.fetch_or(1, Ordering::SeqCst).is_multiple_of(2)
        };
        if is_first {
            self.marked.push(slot);
        }
    }

    /// Before these databases lose all their keys; bit N stands for database N.
    pub fn mark_flush(&mut self, databases: u16) {
        self.mark_word(self.versions.epoch);
        let flushes = self.versions.flushes;
        (0..DATABASES)
            .filter(|number| databases & (1 << number) != 0)
            .for_each(|number| self.mark_word(&flushes[number]));
    }

    /// Before these two databases exchange their keys.
    pub fn mark_swap(&mut self, a: u8, b: u8) {
        self.mark_word(self.versions.epoch);
        let swaps = self.versions.swaps;
        [a, b].into_iter().for_each(|number| self.mark_word(&swaps[usize::from(number)]));
    }

    fn mark_word(&mut self, word: &'static AtomicU64) {
        let is_first = match broken::is(Variant::EpochAfterCommit) {
            true => !self.marked_words.iter().any(|marked| std::ptr::eq(*marked, word)),
            false => word.fetch_or(1, Ordering::SeqCst).is_multiple_of(2),
        };
        if is_first {
            self.marked_words.push(word);
        }
    }

    /// True when something was touched since `unmark`.
    #[must_use]
    pub fn has_marks(&self) -> bool {
        !self.marked_words.is_empty() || !self.marked.is_empty()
    }

    /// After the group's end, whichever it was, and before any reply of it.
    pub fn unmark(&mut self) {
        let step = |variant| if broken::is(variant) { 2 } else { 1 };
        for slot in self.marked.drain(..) {
            self.versions.slots[slot as usize].fetch_add(step(Variant::MarkedAfterCommit), Ordering::SeqCst);
        }
        for word in self.marked_words.drain(..) {
            word.fetch_add(step(Variant::EpochAfterCommit), Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_changes_each_slot_by_two_however_often_it_touches_it() {
        let versions = Versions::new().unwrap();
        let mut marks = Marks::take_over(versions.clone());
        let (slot, epoch) = (versions.slot_of_key(0, b"key"), versions.epoch());
        let before = versions.read(slot);
        assert!(versions.is_current(slot, before, epoch));
        marks.mark(0, b"key");
        marks.mark(0, b"key");
        assert_eq!(versions.read(slot), before + 1);
        assert!(!versions.is_current(slot, before, epoch) && !versions.is_current(slot, before + 1, epoch));
        marks.unmark();
        marks.unmark();
        assert_eq!(versions.read(slot), before + 2);
        marks.mark_flush(1);
        marks.mark_flush(1);
        assert!(!versions.is_current(slot, before + 2, epoch));
        marks.unmark();
        assert!(versions.is_current(slot, before + 2, epoch + 2));
    }

    #[test]
    fn a_flush_and_a_swap_are_told_of_their_own_databases_only() {
        let versions = Versions::new().unwrap();
        let mut marks = Marks::take_over(versions.clone());
        let all = || (0..DATABASES as u8).map(|number| versions.of_database(number)).collect::<Vec<_>>();
        let before = all();
        marks.mark_flush(1 << 2);
        marks.mark_swap(3, 5);
        let during = all();
        marks.unmark();
        for (number, (flushes, swaps)) in all().into_iter().enumerate() {
            let (is_flushed, is_swapped) = (u64::from(number == 2), u64::from(number == 3 || number == 5));
            let expected = (before[number].0 + 2 * is_flushed, before[number].1 + 2 * is_swapped);
            assert_eq!((flushes, swaps), expected, "database {number}");
            let odd = (before[number].0 + is_flushed, before[number].1 + is_swapped);
            assert_eq!(during[number], odd, "database {number} while it is under way");
        }
    }

    #[test]
    fn a_new_writer_settles_what_its_predecessor_left_and_voids_what_is_older() {
        let versions = Versions::new().unwrap();
        let slot = versions.slot_of_key(3, b"key");
        let epoch = versions.epoch();
        let before = versions.read(slot);
        let mut dead = Marks::take_over(versions.clone());
        dead.mark(3, b"key");
        dead.mark_swap(3, 4);
        drop(Marks::take_over(versions.clone()));
        assert_eq!(versions.read(slot), before + 2);
        assert!(versions.epoch() > epoch && versions.epoch().is_multiple_of(2));
    }
}

#[cfg(all(test, feature = "models"))]
mod models {
    use super::*;
    use std::sync::Arc;

    use loom::thread;

    /// A reader remembers what it has read of a row while `change` changes it; whoever finds that current has seen nothing newer.
    fn nothing_older_is_current(change: fn(Versions, &AtomicU64)) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(move || {
            let versions = Versions::new().unwrap();
            let row = Arc::new(AtomicU64::new(0));
            let writer = {
                let (versions, row) = (versions.clone(), Arc::clone(&row));
                thread::spawn(move || change(versions, &row))
            };
            let (version, epoch) = (versions.read(0), versions.epoch());
            let remembered = row.load(Ordering::Acquire);
            let seen = row.load(Ordering::Acquire);
            if versions.is_current(0, version, epoch) {
                assert_eq!(remembered, seen, "new then old");
            }
            writer.join().unwrap();
            if versions.is_current(0, version, epoch) {
                assert_eq!(remembered, row.load(Ordering::Acquire), "older than what was acknowledged");
            }
        });
    }

    #[test]
    fn a_change_of_a_key() {
        nothing_older_is_current(|versions, row| {
            let mut marks = Marks { versions, marked: Vec::new(), marked_words: Vec::new() };
            for value in 1..=2 {
                marks.mark(0, b"key");
                row.store(value, Ordering::Release);
                marks.unmark();
            }
        });
    }

    #[test]
    fn a_change_of_everything() {
        nothing_older_is_current(|versions, row| {
            let mut marks = Marks { versions, marked: Vec::new(), marked_words: Vec::new() };
            marks.mark_flush(1);
            row.store(1, Ordering::Release);
            marks.unmark();
        });
    }

    #[test]
    fn a_writer_that_dies_behind_its_commit_and_the_one_after_it() {
        nothing_older_is_current(|versions, row| {
            let mut dying = Marks { versions: versions.clone(), marked: Vec::new(), marked_words: Vec::new() };
            dying.mark(0, b"key");
            row.store(1, Ordering::Release);
            drop(Marks::take_over(versions));
        });
    }
}
