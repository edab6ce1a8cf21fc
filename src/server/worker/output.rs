//! Replies on their way out: what each connection sends in a round, and what becomes of one whose peer does not read.
//!
//! A client may write all of its requests before it reads the first reply, and then waits until they are read. So a connection is
//! read and served on while its replies pile up, within its limit. But one whose peer does read is not served faster than it
//! reads: else every pipeline with large replies would lie in memory, and a reader that is slow would be closed.

use super::*;

impl<A: Application> Worker<A> {
    /// Sends what a connection has to say. Returns how many bytes left.
    pub(super) fn send(&mut self, id: ConnectionId) -> usize {
        let Some(connection) = self.connections.find(id) else { return 0 };
        connection.is_dirty = false;
        let flushed = if connection.out.is_empty() && !connection.transport.has_unsent() {
            Flushed::Wholly(0)
        } else if connection.is_writable {
            connection.out.flush(&mut connection.transport).unwrap_or_else(|error| {
                tracing::debug!(%error, connection = id.0, "a connection failed");
                Flushed::Closed
            })
        } else {
            Flushed::Partly(0)
        };
        self.scoreboard.raise(self.slot, Counter::OutputBytesMax, connection.out.len() as u64);
        let count = match flushed {
            Flushed::Closed => {
                self.remove(id);
                return 0;
            }
            Flushed::Wholly(count) if connection.state == State::Closing => {
                self.remove(id);
                return count;
            }
            Flushed::Wholly(count) => {
                connection.out.release(&mut self.spare);
                count
            }
            Flushed::More(count) => {
                mark_dirty(connection, id, &mut self.dirty);
                count
            }
            Flushed::Partly(count) => {
                connection.is_writable = false;
                count
            }
        };
        if count > 0 {
            connection.active_at = self.now;
            connection.held_back_at = None;
            connection.unsent_allowed = self.limits.output_bytes_pause;
        }
        let (has_more, is_waiting) = (connection.is_readable || !connection.needs_input, !connection.out.is_empty());
        if connection.state == State::Open && has_more {
            // It may have been held back until now, and is again where its peer has taken too little.
            if connection.out.len() < connection.unsent_allowed {
                self.queue(id);
            } else {
                self.hold_back(id);
            }
        }
        self.account(id);
        if is_waiting {
            self.close_if_flooded(id);
        }
        count
    }

    /// A connection that does not read what is written to it must not fill the memory.
    fn close_if_flooded(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.find(id) else { return };
        let bytes = connection.out.len();
        if bytes > connection.output_bytes_max.min(self.limits.output_bytes_max) {
            self.service.overrun(&mut connection.session, Excess::Output { bytes });
            self.remove(id);
        }
    }

    /// It has as many unsent replies as it may have now, and goes on when some have left. A peer that takes none at all for a
    /// while is perhaps one that reads only once it has written everything: it may have twice as many then.
    pub(super) fn hold_back(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.find(id) else { return };
        connection.held_back_at.get_or_insert(self.now);
        if let Some(until) = held_back_until(connection, &self.limits) {
            self.look_again(id, until);
        }
    }

    /// Lets a connection go on that was held back for long enough. When to look again, if it is not yet time.
    pub(super) fn look_at_held_back(&mut self, id: ConnectionId) -> Option<Instant> {
        let connection = self.connections.find(id)?;
        let until = held_back_until(connection, &self.limits)?;
        if until > self.now {
            return Some(until);
        }
        connection.held_back_at = None;
        connection.unsent_allowed = connection.out.len().saturating_mul(2);
        self.queue(id);
        None
    }
}

fn held_back_until<S>(connection: &Connection<S>, limits: &Limits) -> Option<Instant> {
    let is_near_limit = connection.out.len() > limits.output_bytes_max / 4;
    let wait_ms = if is_near_limit { HELD_BACK_NEAR_LIMIT_MS } else { HELD_BACK_MS };
    connection.held_back_at.map(|since| since + Duration::from_millis(wait_ms))
}
