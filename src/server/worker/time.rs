//! What a loop does because time has passed: ticks, parked connections whose deadline has come, connections that are idle for long.

use super::*;

/// Fewer entries are not worth a look at them.
const TIMERS_MIN: usize = 1024;

impl<A: Application> Worker<A> {
    pub(super) fn tick(&mut self) -> io::Result<()> {
        self.ticked_at = self.now;
        self.scoreboard.set(self.slot, Counter::HeartbeatMs, clock::uptime_ms());
        self.scoreboard.set(self.slot, Counter::OutputBytes, self.unsent_bytes as u64);
        for (number, lane) in self.lanes.iter().enumerate() {
            self.scoreboard.lane_jobs(self.slot, number).store(lane.len() as u64, Ordering::Relaxed);
        }
        self.acceptor.refresh_limit()?;
        self.look_at_counts()?;
        self.look_at_idle_timeout();
        if self.acceptor.must_look(clock::uptime_ms()) {
            self.accept_waiting()?;
        }
        // Where there is a supervisor, it tells.
        if let Chief::Signals { .. } = self.chief {
            super::super::supervisor::tell_of_dropped_lines();
        }
        self.lanes.iter_mut().for_each(Lane::tick);
        self.look_at_kept();
        self.service.tick(&mut self.effects);
        self.apply_effects();
        Ok(())
    }

    /// The limit of idle time may have changed: every connection that it is about gets a timer.
    fn look_at_idle_timeout(&mut self) {
        let idle_timeout =
            Duration::from_secs(self.scoreboard.global(Global::IdleTimeoutSeconds).load(Ordering::Relaxed));
        if idle_timeout == self.idle_timeout {
            return;
        }
        self.idle_timeout = idle_timeout;
        if let Some(time) = self.idle_timeout() {
            for id in self.connections.ids() {
                let active_at = self.connections.find(id).map(|connection| connection.active_at);
                active_at.into_iter().for_each(|at| self.look_again(id, at + time));
            }
        }
    }

    pub(super) fn look_at_counts(&mut self) -> io::Result<()> {
        if let Some(ring) = self.acceptor.evaluate(&self.epoll, clock::uptime_ms())? {
            self.bus.ring(ring.slot, ring.leaves_some);
        }
        Ok(())
    }

    pub(super) fn idle_timeout(&self) -> Option<Duration> {
        (!self.idle_timeout.is_zero()).then_some(self.idle_timeout)
    }

    /// Makes sure that the connection is looked at by then.
    pub(super) fn look_again(&mut self, id: ConnectionId, at: Instant) {
        if let Some(connection) = self.connections.find(id)
            && connection.timer_at.is_none_or(|set| at < set)
        {
            connection.timer_at = Some(at);
            self.timers.add(at, id);
            self.tidy_timers();
        }
    }

    /// Entries of connections that are gone stay until their time comes, which may be hours: not more of them than of those that
    /// are there, however quickly connections come and go.
    fn tidy_timers(&mut self) {
        if self.timers.len() > 2 * self.connections.len() + TIMERS_MIN {
            let connections = &self.connections;
            self.timers.tidy(|at, id| connections.get(id).is_some_and(|connection| connection.timer_at == Some(at)));
        }
    }

    pub(super) fn expire_timers(&mut self) {
        // All that is due first: a connection that parks until a time that has passed waits for the next round.
        let due: Vec<_> = std::iter::from_fn(|| self.timers.pop_due(self.now)).collect();
        for (at, id) in due {
            let Some(connection) = self.connections.find(id) else { continue };
            if connection.timer_at == Some(at) {
                connection.timer_at = None;
                self.look_at_time(id);
            }
        }
    }

    /// Resumes or closes a connection whose time is over, and looks at it again when the next of its times is.
    fn look_at_time(&mut self, id: ConnectionId) {
        let idle_timeout = self.idle_timeout();
        let Some(connection) = self.connections.find(id) else { return };
        let idle_at = idle_timeout.map(|time| match connection.state {
            State::Open | State::Closing if connection.has_idle_timeout => connection.active_at + time,
            State::Open | State::Closing => self.now + time,
            State::InFlight | State::Parked { .. } | State::Waiting { .. } => self.now + time,
        });
        if idle_at.is_some_and(|at| at <= self.now) {
            return self.remove(id);
        }
        let until = match connection.state {
            State::Parked { until } | State::Waiting { until, .. } => until,
            State::Open | State::InFlight | State::Closing => None,
        };
        let held_back_until = self.look_at_held_back(id);
        let later = until.filter(|&at| at > self.now).into_iter().chain(idle_at).chain(held_back_until);
        if let Some(at) = later.min() {
            self.look_again(id, at);
        }
        if until.is_some_and(|at| at <= self.now) {
            match self.connections.find(id).map(|connection| connection.state) {
                Some(State::Waiting { .. }) => self.cancel(id),
                _ => self.wake(id),
            }
        }
    }
}
