//! Deadlines of connections: a heap, at most one entry of each connection in force. An earlier deadline replaces a later one,
//! whose entry is skipped when its time comes; a later one is looked at when the earlier comes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::service::ConnectionId;

#[derive(Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, ConnectionId)>>,
}

impl Timers {
    pub(super) fn add(&mut self, at: Instant, id: ConnectionId) {
        self.heap.push(Reverse((at, id)));
    }

    /// Entries, in force or not.
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Drops the entries that are not in force any more.
    pub(super) fn tidy(&mut self, is_in_force: impl Fn(Instant, ConnectionId) -> bool) {
        self.heap.retain(|Reverse((at, id))| is_in_force(*at, *id));
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The next entry whose time has come. Whether it is still in force is the caller's to see.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Instant, ConnectionId)> {
        let &Reverse(due) = self.heap.peek()?;
        (due.0 <= now).then(|| {
            self.heap.pop();
            due
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;
    use std::time::Duration;

    #[test]
    fn entries_that_are_not_in_force_can_be_dropped_before_their_time() {
        let (mut timers, now) = (Timers::default(), clock::monotonic());
        (0..10).for_each(|id| timers.add(now + Duration::from_secs(id), ConnectionId(id)));
        timers.tidy(|_, id| id.0.is_multiple_of(2));
        assert_eq!((timers.len(), timers.next_at()), (5, Some(now)));
        assert_eq!(timers.pop_due(now + Duration::from_secs(1)), Some((now, ConnectionId(0))));
        assert_eq!(timers.pop_due(now + Duration::from_secs(1)), None);
    }
}
