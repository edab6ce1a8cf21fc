//! The patterns of all other workers, ready to be matched: each text once, and whose it is. It follows the lists in shared memory.

use std::collections::HashMap;

use crate::kv::formats::glob::Pattern;
use crate::kv::shared::pattern_lists::{PatternLists, ReadAt};
use crate::server::Slot;

/// Copies of a list while one message is matched: each takes a client's command, so that more are no accident.
const ATTEMPTS_MAX: usize = 8;

#[derive(Default)]
pub struct PatternIndex {
    lists: Vec<(Slot, ReadAt)>,
    entries: Vec<Entry>,
}

struct Entry {
    text: Vec<u8>,
    pattern: Pattern,
    /// Which lists have it, by their place in `lists`, and where.
    places: Vec<(usize, usize)>,
}

impl PatternIndex {
    /// For the lists of these workers.
    #[must_use]
    pub fn of(slots: impl Iterator<Item = Slot>) -> PatternIndex {
        PatternIndex { lists: slots.map(|slot| (slot, ReadAt::default())).collect(), entries: Vec::new() }
    }

    /// For each worker with clients whose patterns match the channel: how many there are, as often as they match.
    pub fn matching(&mut self, lists: &PatternLists, channel: &[u8], mut each: impl FnMut(Slot, u64)) {
        if self.lists.iter().all(|(slot, _)| lists.patterns(*slot) == 0) {
            return;
        }
        for _ in 0..ATTEMPTS_MAX {
            self.follow(lists);
            if let Some(counts) = self.counts(lists, channel) {
                let found = self.lists.iter().zip(counts).filter(|(_, count)| *count > 0);
                return found.for_each(|((slot, _), count)| each(*slot, count));
            }
        }
        // Its number is not known then, but nobody misses the message.
        self.lists.iter().for_each(|(slot, _)| each(*slot, 0));
    }

    /// How many different patterns there are with those of `own`.
    pub fn count_with<'a>(&'a mut self, lists: &PatternLists, own: impl Iterator<Item = &'a [u8]>) -> u64 {
        self.follow(lists);
        let is_live = |entry: &&Entry| {
            let mut counts = entry.places.iter().map(|(list, place)| {
                let (slot, at) = self.lists[*list];
                lists.subscribers(slot, at, *place)
            });
            counts.any(|count| count != Some(0))
        };
        let mut texts: Vec<&[u8]> = self.entries.iter().filter(is_live).map(|entry| &entry.text[..]).collect();
        texts.extend(own);
        texts.sort_unstable();
        texts.dedup();
        texts.len() as u64
    }

    /// Reads the lists that have changed. Patterns that were there before are not made anew.
    fn follow(&mut self, lists: &PatternLists) {
        if self.lists.iter().all(|(slot, at)| lists.is_current(*slot, *at)) {
            return;
        }
        let known = std::mem::take(&mut self.entries).into_iter().map(|entry| (entry.text, entry.pattern));
        let mut known: HashMap<Vec<u8>, Pattern> = known.collect();
        let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
        for (list, (slot, at)) in self.lists.iter_mut().enumerate() {
            let texts;
            (*at, texts) = lists.read(*slot);
            for (text, place) in texts {
                if let Some(&entry) = places.get(&text) {
                    self.entries[entry].places.push((list, place));
                    continue;
                }
                // What is too long was refused to its client.
                let pattern = known.remove(&text).or_else(|| Pattern::new(&text, false).ok());
                if let Some(pattern) = pattern {
                    places.insert(text.clone(), self.entries.len());
                    self.entries.push(Entry { text, pattern, places: vec![(list, place)] });
                }
            }
        }
    }

    /// By list. `None`: one was copied meanwhile.
    fn counts(&self, lists: &PatternLists, channel: &[u8]) -> Option<Vec<u64>> {
        let mut counts = vec![0; self.lists.len()];
        for entry in self.entries.iter().filter(|entry| entry.pattern.matches(channel)) {
            for (list, place) in &entry.places {
                let (slot, at) = self.lists[*list];
                counts[*list] += lists.subscribers(slot, at, *place)?;
            }
        }
        Some(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matching(index: &mut PatternIndex, lists: &PatternLists, channel: &str) -> Vec<(usize, u64)> {
        let mut found = Vec::new();
        index.matching(lists, channel.as_bytes(), |slot, count| found.push((slot.0, count)));
        found
    }

    #[test]
    fn every_change_of_a_list_is_seen_by_the_next_message() {
        let lists = PatternLists::new(3).unwrap();
        let (mut one, mut two) = (lists.begin(Slot(1)), lists.begin(Slot(2)));
        let mut index = PatternIndex::of([Slot(1), Slot(2)].into_iter());
        assert_eq!(matching(&mut index, &lists, "news"), []);
        one.set(b"n*", 2).unwrap();
        two.set(b"n*", 1).unwrap();
        two.set(b"*s", 4).unwrap();
        assert_eq!(matching(&mut index, &lists, "news"), [(1, 2), (2, 5)]);
        assert_eq!(matching(&mut index, &lists, "no"), [(1, 2), (2, 1)]);
        assert_eq!(index.count_with(&lists, [&b"n*"[..], b"own"].into_iter()), 3);
        two.set(b"*s", 0).unwrap();
        one.set(b"n*", 3).unwrap();
        assert_eq!(matching(&mut index, &lists, "news"), [(1, 3), (2, 1)]);
        assert_eq!(index.count_with(&lists, std::iter::empty()), 1);
        // A worker that starts again, and the copies of a list that changes a lot.
        drop(lists.begin(Slot(1)));
        for number in 0..5000 {
            two.set(format!("{number}*").as_bytes(), 1).unwrap();
            assert_eq!(matching(&mut index, &lists, "news"), [(2, 1)]);
            two.set(format!("{number}*").as_bytes(), 0).unwrap();
        }
        assert_eq!(matching(&mut index, &lists, "4999"), []);
    }
}
