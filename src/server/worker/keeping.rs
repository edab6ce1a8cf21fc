//! What connections make the service keep: counted whenever it changes, within one bound over all workers.
//!
//! Each worker publishes its sum. Whoever notices that all sums together are over the bound closes its largest connection, unless
//! another worker has a larger one: that one is asked to look. Where it does not do so in time, this one goes on by itself.

use super::*;

/// The worker's own sums.
#[derive(Default)]
pub(super) struct Keeping {
    /// Of all connections, as it was last counted for each.
    pub(super) bytes: usize,
    published: usize,
    /// What was added since the bound was last looked at.
    grown: usize,
    /// At least what the largest one has that may be closed.
    largest: usize,
}

/// After so much more the bound is looked at, also amid a round.
const GROWN_BYTES: usize = 256 << 10;
/// Buffers without a connection that stay.
const SPARE_BUFFERS_KEPT: usize = 8;
/// The part of the bound (1/8) that may be overdrawn while another worker closes its largest connection.
const OVERDRAFT_DIVISOR: u64 = 8;

impl<A: Application> Worker<A> {
    /// Counts what a connection makes the service keep.
    pub(super) fn account(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.find(id) else { return };
        let kept = Kept {
            unread: connection.input.len(),
            input: connection.input.capacity(),
            unsent: connection.out.len(),
            output: connection.out.capacity(),
            transport: connection.transport.capacity(),
            job: connection.job_bytes,
        };
        let account = self.service.account(&mut connection.session, &kept);
        connection.output_bytes_max = account.output_bytes_max;
        connection.may_be_closed = account.may_be_closed;
        connection.has_idle_timeout = account.has_idle_timeout;
        let unsent_before = std::mem::replace(&mut connection.unsent_counted, kept.unsent);
        self.unsent_bytes = self.unsent_bytes + kept.unsent - unsent_before;
        let bytes = kept.input + kept.output + kept.transport + kept.job + account.bytes;
        let before = std::mem::replace(&mut connection.bytes_counted, bytes);
        let keeping = &mut self.keeping;
        keeping.bytes = keeping.bytes + bytes - before;
        keeping.grown += bytes.saturating_sub(before);
        if account.may_be_closed {
            keeping.largest = keeping.largest.max(bytes);
        }
    }

    /// Tells the others.
    pub(super) fn publish_kept(&mut self) {
        let keeping = &mut self.keeping;
        if keeping.bytes != keeping.published {
            keeping.published = keeping.bytes;
            self.scoreboard.set(self.slot, Counter::ConnectionsBytes, keeping.bytes as u64);
            self.scoreboard.set(self.slot, Counter::LargestConnectionBytes, keeping.largest as u64);
        }
    }

    pub(super) fn relieve_if_grown(&mut self) {
        if self.keeping.grown >= GROWN_BYTES {
            self.relieve();
        }
    }

    /// Closes connections, the largest first, while all together have more than they may.
    pub(super) fn relieve(&mut self) {
        self.keeping.grown = 0;
        self.publish_kept();
        let bytes_max = self.scoreboard.global(Global::ConnectionsBytesMax).load(Ordering::Relaxed);
        loop {
            let all_bytes = self.scoreboard.sum(Counter::ConnectionsBytes);
            if bytes_max == 0 || all_bytes <= bytes_max {
                return;
            }
            // Who has far less than the average is not what the memory went to.
            let average = all_bytes / self.scoreboard.sum(Counter::Connections).max(1);
            let Some((id, bytes)) = self.largest().filter(|(_, bytes)| *bytes as u64 >= average / 2) else { return };
            if let Some(slot) = self.worker_with_larger(bytes)
                && all_bytes - bytes_max < bytes_max / OVERDRAFT_DIVISOR
            {
                return self.bus.ring(slot, false);
            }
            if let Some(connection) = self.connections.find(id) {
                self.service.overrun(&mut connection.session, Excess::All { bytes, all_bytes });
            }
            self.remove(id);
            self.publish_kept();
        }
    }

    /// The connection that has most of those that may be closed.
    fn largest(&mut self) -> Option<(ConnectionId, usize)> {
        let candidates = self.connections.iter().filter(|(_, connection)| connection.may_be_closed);
        let largest = candidates.map(|(id, connection)| (id, connection.bytes_counted)).max_by_key(|(_, bytes)| *bytes);
        let largest = largest.filter(|(_, bytes)| *bytes > 0);
        self.keeping.largest = largest.map_or(0, |(_, bytes)| bytes);
        self.scoreboard.set(self.slot, Counter::LargestConnectionBytes, self.keeping.largest as u64);
        largest
    }

    /// Another worker that says that it has one with more than `bytes`.
    fn worker_with_larger(&self, bytes: usize) -> Option<Slot> {
        let others = self.scoreboard.workers().filter(|slot| *slot != self.slot);
        let largest = others.map(|slot| (self.scoreboard.read(slot, Counter::LargestConnectionBytes), slot)).max();
        largest.filter(|(other_bytes, _)| *other_bytes > bytes as u64).map(|(_, slot)| slot)
    }

    /// At each tick: the bound may have changed, others may have grown, and what was the largest may be gone.
    pub(super) fn look_at_kept(&mut self) {
        if self.keeping.largest >= GROWN_BYTES {
            self.largest();
        }
        self.relieve();
        // What many connections needed at once goes back, little by little.
        if self.spare.len() > SPARE_BUFFERS_KEPT {
            self.spare.swap_remove(0);
        }
    }
}
