//! Connections whose job is parked on a lane: until when they wait, and how that ends.
//!
//! Only the lane knows whether it has served a job. So a connection whose job is cancelled goes on waiting until the lane has said
//! so, or its answer has crossed the cancel.

use super::*;

impl<A: Application> Worker<A> {
    /// The lane has parked the connection's job.
    pub(super) fn wait_for_parked(&mut self, id: ConnectionId, lane: usize, number: u64) {
        let Some(connection) = self.connections.find(id) else {
            return self.lanes[lane].cancel(id, number);
        };
        let until = self.service.parked(&mut connection.session, &mut self.effects);
        connection.state = State::Waiting { lane, number, until };
        if connection.has_ended {
            self.flush_and_remove(id);
        } else if let Some(until) = until {
            self.look_again(id, until);
        }
        self.account(id);
        self.apply_effects();
    }

    /// The connection's parked job, if it has one, is not wanted any more.
    pub(super) fn cancel(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.find(id)
            && let State::Waiting { lane, number, until } = &mut connection.state
        {
            *until = None;
            self.lanes[*lane].cancel(id, *number);
        }
    }

    /// The connection's parked job will not be served.
    pub(super) fn cancelled(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.find(id) else { return };
        debug_assert!(matches!(connection.state, State::Waiting { .. }));
        connection.state = State::Open;
        connection.job_bytes = 0;
        connection.active_at = self.now;
        connection.out.borrow(&mut self.spare);
        let step = self.service.cancelled(&mut connection.session, &mut connection.out, &mut self.effects);
        self.reopened(id, step);
    }
}
