//! Deadlines of connections: a heap, with entries that are out of date skipped when their time comes.

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

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The next connection whose time has come. Whether the entry still means anything is the caller's to see.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<ConnectionId> {
        let &Reverse((at, id)) = self.heap.peek()?;
        (at <= now).then(|| {
            self.heap.pop();
            id
        })
    }
}
