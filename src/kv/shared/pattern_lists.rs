//! The patterns that clients of each worker are subscribed to, with how many are, in shared memory: whoever publishes matches them all, and
//! asks nobody.
//!
//! ```text
//! worker    epoch, words used of area 0 and 1, patterns     then two areas
//! area      entries: (length, count), the text in whole words
//! ```
//! Each worker writes to its own list alone. New entries are appended to the area that the epoch's last bit names; when it is full, those
//! that count are copied to the other one, and the epoch moves on. Whoever has read the list at an epoch has read it right if the epoch is
//! still the same; nobody waits for anybody.

use std::collections::HashMap;
use std::io;

use crate::server::Slot;
use crate::sys::atomic::{AtomicU64, Ordering};
use crate::sys::shared;

pub use crate::kv::shared::channel_counts::NoRoom;

/// Different patterns of one worker's clients: each PUBLISH is matched with all of them.
pub const PATTERNS_MAX: usize = 4096;
/// Of one area: all texts of one worker, in words.
const AREA_WORDS: usize = 32 << 10;
const HEAD_WORDS: usize = 8;
const LIST_WORDS: usize = HEAD_WORDS + 2 * AREA_WORDS;
/// Fewer words that count no more are not worth a copy.
const DEAD_WORDS_MIN: usize = 1024;
/// Copies during one reading: each takes a client's command, so that more are no accident.
const READ_ATTEMPTS_MAX: usize = 100;

const EPOCH: usize = 0;
const USED: usize = 1;
const PATTERNS: usize = 3;

#[derive(Clone)]
pub struct PatternLists(&'static [AtomicU64]);

/// A worker's own list, which it alone changes.
pub struct OwnPatterns {
    lists: PatternLists,
    slot: Slot,
    /// Where in the area each text that counts begins.
    places: HashMap<Vec<u8>, usize>,
    dead_words: usize,
}

/// What was there when a list was read. As long as `is_current`, nothing is added to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadAt {
    epoch: u64,
    used: u64,
}

impl PatternLists {
    /// Before the first fork.
    pub fn new(workers: usize) -> io::Result<PatternLists> {
        Ok(PatternLists(shared::words(workers * LIST_WORDS)?))
    }

    /// A worker starts: its list is empty.
    #[must_use]
    pub fn begin(&self, slot: Slot) -> OwnPatterns {
        let mut own = OwnPatterns { lists: self.clone(), slot, places: HashMap::new(), dead_words: 0 };
        own.copy();
        self.list(slot)[PATTERNS].store(0, Ordering::SeqCst);
        own
    }

    /// How many different patterns clients of this worker are subscribed to.
    #[must_use]
    pub fn patterns(&self, slot: Slot) -> u64 {
        self.list(slot)[PATTERNS].load(Ordering::SeqCst)
    }

    /// True while the list has no other texts than when it was read.
    #[must_use]
    pub fn is_current(&self, slot: Slot, at: ReadAt) -> bool {
        self.now(slot) == at
    }

    /// The patterns of this worker that count, each with its place for `subscribers`.
    #[must_use]
    pub fn read(&self, slot: Slot) -> (ReadAt, Vec<(Vec<u8>, usize)>) {
        for _ in 0..READ_ATTEMPTS_MAX {
            let at = self.now(slot);
            let entries = self.entries(slot, at);
            if self.list(slot)[EPOCH].load(Ordering::SeqCst) == at.epoch {
                return (at, entries);
            }
        }
        (ReadAt::default(), Vec::new())
    }

    /// How many clients of this worker are subscribed to the pattern at this place. `None`: the list was copied since it was read.
    #[must_use]
    pub fn subscribers(&self, slot: Slot, at: ReadAt, place: usize) -> Option<u64> {
        let count = self.area(slot, at.epoch)[place].load(Ordering::SeqCst) & u64::from(u32::MAX);
        (self.list(slot)[EPOCH].load(Ordering::SeqCst) == at.epoch).then_some(count)
    }

    fn now(&self, slot: Slot) -> ReadAt {
        let list = self.list(slot);
        let epoch = list[EPOCH].load(Ordering::SeqCst);
        ReadAt { epoch, used: list[USED + epoch as usize % 2].load(Ordering::SeqCst) }
    }

    /// What is read here may be nonsense where the area was given to another epoch meanwhile.
    fn entries(&self, slot: Slot, at: ReadAt) -> Vec<(Vec<u8>, usize)> {
        let area = self.area(slot, at.epoch);
        let used = (at.used as usize).min(AREA_WORDS);
        let (mut entries, mut place) = (Vec::new(), 0);
        while place < used {
            let head = area[place].load(Ordering::SeqCst);
            let length = (head >> 32) as usize;
            let end = place + words_of(length);
            if end > used {
                break;
            }
            if head & u64::from(u32::MAX) > 0 {
                let words = area[place + 1..end].iter();
                let mut text: Vec<u8> = words.flat_map(|word| word.load(Ordering::SeqCst).to_le_bytes()).collect();
                text.truncate(length);
                entries.push((text, place));
            }
            place = end;
        }
        entries
    }

    fn list(&self, slot: Slot) -> &'static [AtomicU64] {
        &self.0[slot.0 * LIST_WORDS..][..LIST_WORDS]
    }

    fn area(&self, slot: Slot, epoch: u64) -> &'static [AtomicU64] {
        &self.list(slot)[HEAD_WORDS + epoch as usize % 2 * AREA_WORDS..][..AREA_WORDS]
    }
}

/// Of an entry with a text of so many bytes.
fn words_of(length: usize) -> usize {
    1 + length.div_ceil(8)
}

impl OwnPatterns {
    /// So many clients are subscribed to this pattern now.
    ///
    /// # Errors
    /// There is no room for one more pattern.
    pub fn set(&mut self, text: &[u8], count: usize) -> Result<(), NoRoom> {
        if let Some(&place) = self.places.get(text) {
            self.area()[place].store(head_of(text, count), Ordering::SeqCst);
            if count == 0 {
                self.places.remove(text);
                self.dead_words += words_of(text.len());
            }
        } else if count > 0 {
            self.append(text, count)?;
        }
        self.lists.list(self.slot)[PATTERNS].store(self.places.len() as u64, Ordering::SeqCst);
        Ok(())
    }

    fn append(&mut self, text: &[u8], count: usize) -> Result<(), NoRoom> {
        let words = words_of(text.len());
        let used = self.used();
        // Those who read it look at what counts no more as well.
        if used + words > AREA_WORDS || self.dead_words > DEAD_WORDS_MIN.max(used / 2) {
            self.copy();
        }
        let used = self.used();
        if used + words > AREA_WORDS || self.places.len() >= PATTERNS_MAX {
            return Err(NoRoom);
        }
        let area = self.area();
        write(area, used, text, count);
        self.lists.list(self.slot)[USED + self.epoch() as usize % 2].store((used + words) as u64, Ordering::SeqCst);
        self.places.insert(text.to_vec(), used);
        Ok(())
    }

    /// What counts goes to the other area, which is the list from then on.
    fn copy(&mut self) {
        let (list, old, next) = (self.lists.list(self.slot), self.area(), self.epoch() + 1);
        let area = self.lists.area(self.slot, next);
        let mut used = 0;
        for (text, place) in &mut self.places {
            let count = old[*place].load(Ordering::SeqCst) & u64::from(u32::MAX);
            write(area, used, text, count as usize);
            *place = used;
            used += words_of(text.len());
        }
        list[USED + next as usize % 2].store(used as u64, Ordering::SeqCst);
        list[EPOCH].store(next, Ordering::SeqCst);
        self.dead_words = 0;
    }

    fn epoch(&self) -> u64 {
        self.lists.list(self.slot)[EPOCH].load(Ordering::SeqCst)
    }

    fn used(&self) -> usize {
        self.lists.now(self.slot).used as usize
    }

    fn area(&self) -> &'static [AtomicU64] {
        self.lists.area(self.slot, self.epoch())
    }
}

fn head_of(text: &[u8], count: usize) -> u64 {
    (text.len() as u64) << 32 | (count as u64).min(u64::from(u32::MAX))
}

fn write(area: &[AtomicU64], place: usize, text: &[u8], count: usize) {
    for (word, part) in area[place + 1..].iter().zip(text.chunks(8)) {
        let mut bytes = [0; 8];
        bytes[..part.len()].copy_from_slice(part);
        word.store(u64::from_le_bytes(bytes), Ordering::SeqCst);
    }
    area[place].store(head_of(text, count), Ordering::SeqCst);
}

#[cfg(all(test, not(feature = "models")))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const HERE: Slot = Slot(1);

    fn read(lists: &PatternLists) -> BTreeMap<Vec<u8>, u64> {
        let (at, entries) = lists.read(HERE);
        assert!(lists.is_current(HERE, at));
        entries
            .into_iter()
            .map(|(text, place)| (text, lists.subscribers(HERE, at, place).expect("the list is current")))
            .collect()
    }

    proptest! {
        #[test]
        fn lists_are_as_a_map_has_them(steps in prop::collection::vec((0..30_usize, 0..3_usize), 0..300), long in 1..2000_usize) {
            let lists = PatternLists::new(2).unwrap();
            let mut own = lists.begin(HERE);
            let mut model = BTreeMap::new();
            for (number, count) in steps {
                let text = number.to_string().repeat(1 + number * long / 30).into_bytes();
                own.set(&text, count).unwrap();
                if count > 0 { model.insert(text, count as u64); } else { model.remove(&text); }
                prop_assert_eq!(lists.patterns(HERE), model.len() as u64);
            }
            prop_assert_eq!(read(&lists), model);
        }
    }

    #[test]
    fn a_list_that_is_full_refuses_one_more_and_makes_room_of_what_counts_no_more() {
        let lists = PatternLists::new(2).unwrap();
        let mut own = lists.begin(HERE);
        let text = |number: usize| format!("{number:04}{}", "x".repeat(4092)).into_bytes();
        let room = (0..).find(|number| own.set(&text(*number), 1).is_err()).unwrap();
        assert_eq!(room, AREA_WORDS / words_of(4096));
        for number in 0..3 * room {
            own.set(&text(number), 0).unwrap();
            own.set(&text(room + number), 1).unwrap();
        }
        assert_eq!(read(&lists).len(), room);
        (0..4 * room).for_each(|number| own.set(&text(number), 0).unwrap());
        let short = (0..).find(|number: &usize| own.set(&number.to_le_bytes(), 1).is_err());
        assert_eq!(short, Some(PATTERNS_MAX));
        // Who starts again has none, and what was read before is not taken for what is there.
        let (at, entries) = lists.read(HERE);
        drop(lists.begin(HERE));
        assert!(!lists.is_current(HERE, at) && read(&lists).is_empty() && lists.patterns(HERE) == 0);
        assert_eq!(lists.subscribers(HERE, at, entries[0].1), None);
    }

    #[test]
    fn who_reads_while_patterns_come_and_go_sees_whole_texts_and_all_that_stay() {
        let lists = PatternLists::new(2).unwrap();
        let mut own = lists.begin(HERE);
        own.set(b"stays:*", 2).unwrap();
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..40_000_usize {
                    let text = [number as u8; 64];
                    own.set(&text[..1 + number % 64], number / 64 % 2).unwrap();
                }
                is_over.store(true, std::sync::atomic::Ordering::SeqCst);
            });
            while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
                let (_, entries) = lists.read(HERE);
                let is_whole = |text: &[u8]| text == b"stays:*" || text.iter().all(|byte| *byte == text[0]);
                assert!(entries.iter().all(|(text, _)| is_whole(text)));
                assert!(entries.iter().any(|(text, _)| text == b"stays:*"));
            }
        });
    }
}
