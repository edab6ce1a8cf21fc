//! The end of a round, when replies leave, and the end of the loop, when all are answered.

use super::*;

impl<A: Application> Worker<A> {
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.flush_lanes_and_bus()?;
        let mut dirty = std::mem::take(&mut self.dirty);
        let sent: usize = dirty.drain(..).map(|id| self.send(id)).sum();
        if sent > 0 {
            self.scoreboard.add(self.slot, Counter::OutputBytesTotal, sent as u64);
        }
        // A removal may have let the service do something: what it writes is sent in the next round, which follows at once.
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
        if !self.effects.list.is_empty() {
            self.apply_effects();
            self.flush_lanes_and_bus()?;
        }
        Ok(())
    }

    fn flush_lanes_and_bus(&mut self) -> io::Result<()> {
        for lane in 0..self.lanes.len() {
            self.lanes[lane].flush(&self.epoll, LANES + lane as u64)?;
        }
        self.bus.flush(&self.epoll, |slot| BUS + slot.0 as u64)
    }

    pub(super) fn drain(&mut self, within: Duration) {
        if self.drain_until.is_some() {
            return;
        }
        tracing::info!(connections = self.connections.len(), "draining");
        self.scoreboard.set(self.slot, Counter::State, counters::DRAINING);
        self.drain_until = Some(self.now + within);
        self.acceptor.drain();
        self.drop_openings();
        if let Err(error) = self.look_at_counts() {
            tracing::warn!(%error, "the listener can't be left");
        }
    }

    /// While draining: closes the connections that wait for nothing, and says whether that was all.
    pub(super) fn finished(&mut self) -> Option<Ended> {
        let until = self.drain_until?;
        for id in self.connections.ids() {
            let Some(connection) = self.connections.find(id) else { continue };
            let is_sent = connection.out.is_empty() && !connection.transport.has_unsent();
            let is_idle = match connection.state {
                State::InFlight => false,
                State::Open => is_sent && !connection.is_readable && !connection.is_queued,
                State::Parked { .. } | State::Waiting { .. } => true,
                State::Closing => is_sent,
            };
            if is_idle {
                self.flush_and_remove(id);
            }
        }
        self.apply_effects();
        if self.connections.len() == 0 && self.lanes.iter().all(|lane| lane.len() == 0) {
            return Some(Ended::Drained);
        }
        (self.now >= until).then_some(Ended::TimeIsOver)
    }
}
