//! How many messages each worker has sent each other one, in shared memory: whoever is to get them sees what it has missed, also of a worker
//! that died with some.
//!
//! A worker's messages are numbered anew each time that it starts: the number has the start in its upper bits. Two words a pair take
//! turns, so that the last number of a worker that died stands there while its successor counts.

use std::io;

use crate::server::Slot;
use crate::sys::atomic::{AtomicU64, Ordering};
use crate::sys::shared;

/// Bits of a number that count; those above tell which start of the worker it is.
const COUNTING_BITS: u32 = 40;

#[derive(Clone)]
pub struct MessageNumbers {
    /// By worker: how often it has started.
    starts: &'static [AtomicU64],
    /// By sender, receiver, and whether the start is odd: the number of the last message.
    last: &'static [AtomicU64],
    workers: usize,
}

impl MessageNumbers {
    /// Before the first fork.
    pub fn new(workers: usize) -> io::Result<MessageNumbers> {
        let (starts, last) = shared::words(workers + 2 * workers * workers)?.split_at(workers);
        Ok(MessageNumbers { starts, last, workers })
    }

    /// A worker starts: it has sent nothing yet.
    pub fn begin(&self, slot: Slot) {
        let start = self.starts[slot.0].load(Ordering::SeqCst) + 1;
        (0..self.workers).for_each(|to| self.word(slot, Slot(to), start).store(first(start), Ordering::SeqCst));
        self.starts[slot.0].store(start, Ordering::SeqCst);
    }

    /// The number of the next message of this worker, whose loop this is.
    #[must_use]
    pub fn next(&self, from: Slot, to: Slot) -> u64 {
        let start = self.starts[from.0].load(Ordering::SeqCst);
        self.word(from, to, start).fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The number of the last message that was sent, or is to be.
    #[must_use]
    pub fn last(&self, from: Slot, to: Slot) -> u64 {
        self.word(from, to, self.starts[from.0].load(Ordering::SeqCst)).load(Ordering::SeqCst)
    }

    /// Of the same start as this number.
    #[must_use]
    pub fn last_beside(&self, from: Slot, to: Slot, number: u64) -> u64 {
        self.word(from, to, number >> COUNTING_BITS).load(Ordering::SeqCst)
    }

    /// What comes before the first message of the start that follows the one of this number.
    #[must_use]
    pub fn before_next_start(number: u64) -> u64 {
        first((number >> COUNTING_BITS) + 1)
    }

    fn word(&self, from: Slot, to: Slot, start: u64) -> &AtomicU64 {
        &self.last[2 * (from.0 * self.workers + to.0) + start as usize % 2]
    }
}

fn first(start: u64) -> u64 {
    start << COUNTING_BITS
}

#[cfg(all(test, not(feature = "models")))]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_one_another_and_those_of_a_dead_worker_stay_while_its_successor_counts() {
        let numbers = MessageNumbers::new(2).unwrap();
        let (a, b) = (Slot(0), Slot(1));
        numbers.begin(a);
        let begun = numbers.last(a, b);
        assert_eq!([numbers.next(a, b), numbers.next(a, b)], [begun + 1, begun + 2]);
        assert_eq!(numbers.last(a, b), begun + 2);
        numbers.begin(a);
        assert_eq!(numbers.last_beside(a, b, begun), begun + 2, "of the one that died");
        assert_eq!(numbers.last(a, b), MessageNumbers::before_next_start(begun));
        assert_eq!(numbers.next(a, b), MessageNumbers::before_next_start(begun) + 1);
        assert_eq!(numbers.last_beside(a, b, begun), begun + 2);
        // Of a start before the last one nothing is known.
        numbers.begin(a);
        assert_ne!(numbers.last_beside(a, b, begun), begun + 2);
    }
}
