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
