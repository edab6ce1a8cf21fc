//! Who waits for which key, and which of these keys have changed. Knows no calls: a job is its number.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use crate::kv::lanes::waiting_variants::{self, Variant};
use crate::storage::{Change, DATABASES, Kind};

/// The keys that somebody waits for.
#[derive(Default)]
pub struct Queues {
    of_database: [HashMap<Box<[u8]>, Queue>; DATABASES],
    /// Keys that have changed since they were looked at, in the order in which they did.
    ready: VecDeque<(u8, Box<[u8]>)>,
}

/// What a call waits for in its keys.
#[derive(Clone, Copy)]
pub(super) struct Wish {
    pub(super) database: u8,
    pub(super) kind: Kind,
    /// Or for that a key does not hold it any more.
    pub(super) ends_without_key: bool,
}

/// Those who wait for a key.
#[derive(Default)]
struct Queue {
    /// The kind that each waits for, and the number of its job.
    waiting: BTreeSet<(u8, u64)>,
    /// Those of them that do not wait on where the key holds something else, or nothing.
    ending: BTreeSet<(u8, u64)>,
    /// The key is in `ready`, and is not put there again. Where all who waited for it were gone meanwhile, and others came, it may be there
    /// though this is false: then it is looked at once more, in vain.
    is_ready: bool,
}

impl Queues {
    /// What a change may mean to those who wait. A key that goes is looked at in vain, but for those who do not wait on without it; a flush
    /// wakes these alone.
    #[inline]
    pub fn mark(&mut self, change: Change<'_>) {
        match change {
            Change::Key { database, key } => self.mark_key(database, key),
            Change::Quiet { .. } => {}
            Change::Flush { databases } => {
                for number in (0..DATABASES as u8).filter(|number| databases & 1 << number != 0) {
                    self.mark_all_of(number, |queue| !queue.ending.is_empty());
                }
            }
            Change::Swap { a, b } => {
                self.mark_all(a);
                self.mark_all(b);
            }
        }
    }

    #[inline]
    pub(super) fn mark_key(&mut self, database: u8, key: &[u8]) {
        let queues = &mut self.of_database[usize::from(database)];
        if queues.is_empty() {
            return;
        }
        if let Some(queue) = queues.get_mut(key)
            && !queue.is_ready
        {
            queue.is_ready = true;
            self.ready.push_back((database, key.into()));
        }
    }

    /// The keys in the order of those who wait longest.
    fn mark_all(&mut self, database: u8) {
        self.mark_all_of(database, |_| true);
    }

    fn mark_all_of(&mut self, database: u8, is_meant: impl Fn(&Queue) -> bool) {
        let queues = &self.of_database[usize::from(database)];
        let oldest = |queue: &Queue| queue.waiting.iter().map(|(_, number)| *number).min();
        let mut keys: Vec<(Option<u64>, Box<[u8]>)> = queues
            .iter()
            .filter(|(_, queue)| is_meant(queue))
            .map(|(key, queue)| (oldest(queue), key.clone()))
            .collect();
        keys.sort_unstable();
        keys.iter().for_each(|(_, key)| self.mark_key(database, key));
    }

    pub(super) fn add(&mut self, number: u64, wish: Wish, keys: &[&[u8]]) {
        let queues = &mut self.of_database[usize::from(wish.database)];
        let place = (wish.kind as u8, number);
        for key in keys {
            let queue = match queues.get_mut(*key) {
                Some(queue) => queue,
                None => queues.entry((*key).into()).or_default(),
            };
            queue.waiting.insert(place);
            if wish.ends_without_key {
                queue.ending.insert(place);
            }
        }
    }

    pub(super) fn remove(&mut self, number: u64, wish: Wish, keys: &[&[u8]]) {
        let queues = &mut self.of_database[usize::from(wish.database)];
        let place = (wish.kind as u8, number);
        for key in keys {
            // A key may be named twice.
            let Some(queue) = queues.get_mut(*key) else { continue };
            queue.waiting.remove(&place);
            queue.ending.remove(&place);
            if queue.waiting.is_empty() {
                queues.remove(*key);
            }
        }
        if queues.is_empty() {
            // What many have waited for takes no memory any more.
            queues.shrink_to(KEYS_KEPT);
        }
    }

    /// How many keys somebody waits for.
    pub(super) fn keys_count(&self) -> usize {
        self.of_database.iter().map(HashMap::len).sum()
    }

    /// The next key that has changed since it was last looked at.
    pub(super) fn next_ready(&mut self) -> Option<(u8, Box<[u8]>)> {
        let (database, key) = self.ready.pop_front()?;
        if let Some(queue) = self.of_database[usize::from(database)].get_mut(&key) {
            queue.is_ready = false;
        }
        Some((database, key))
    }

    /// Looks at those of `before` that have changed next, in this order, and then at `key` again. False where none has: then nothing is done.
    pub(super) fn bring_forward(&mut self, database: u8, before: &[&[u8]], key: &[u8]) -> bool {
        let queues = &mut self.of_database[usize::from(database)];
        let has_changed = |key: &&&[u8]| queues.get(**key).is_some_and(|queue| queue.is_ready);
        let first: Vec<&[u8]> = before.iter().filter(has_changed).copied().collect();
        if first.is_empty() {
            return false;
        }
        let named: HashSet<&[u8]> = first.iter().copied().chain([key]).collect();
        self.ready.retain(|(of, ready)| *of != database || !named.contains(&ready[..]));
        if let Some(queue) = queues.get_mut(key) {
            queue.is_ready = true;
        }
        let next = first.into_iter().chain([key]).rev();
        next.for_each(|key| self.ready.push_front((database, key.into())));
        true
    }

    /// Of the jobs that wait for this kind of value of the key, or do not wait on without another, the first behind `last`. `None`: the key
    /// holds nothing.
    pub(super) fn next_of(&self, database: u8, key: &[u8], kind: Option<Kind>, last: u64) -> Option<u64> {
        let Queue { waiting, ending, .. } = self.of_database[usize::from(database)].get(key)?;
        let next = |places: &BTreeSet<(u8, u64)>, kind: Kind| {
            places.range((kind as u8, last + 1)..=(kind as u8, u64::MAX)).next().map(|(_, number)| *number)
        };
        let others = ENDING.iter().filter(|wished| kind != Some(**wished));
        let ended = others.filter_map(|wished| next(ending, *wished)).min();
        let Some(kind) = kind else { return ended };
        if waiting_variants::is(Variant::YoungerFirst) {
            let before = if last == 0 { u64::MAX } else { last };
            return waiting.range((kind as u8, 0)..(kind as u8, before)).next_back().map(|(_, number)| *number);
        }
        next(waiting, kind).into_iter().chain(ended).min()
    }

    pub(super) fn forget_ready(&mut self) {
        for (database, key) in self.ready.drain(..) {
            if let Some(queue) = self.of_database[usize::from(database)].get_mut(&key) {
                queue.is_ready = false;
            }
        }
    }
}

/// Kinds without which some do not wait on.
const ENDING: [Kind; 1] = [Kind::Stream];

/// An empty map keeps room for so many keys.
const KEYS_KEPT: usize = 1024;
