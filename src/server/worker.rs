//! A worker's event loop: one thread, all sockets of one process.
//!
//! A round: wait; note what each source says; go on with the connections that can; hand each lane its jobs in one hop; write
//! each connection's replies once. The loop never waits for anything but epoll, and never touches a file.

mod ending;
mod keeping;
mod opening;
mod output;
mod time;
mod waiting;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::accept::Acceptor;
use super::arrived::Arrived;
use super::bus::{Bus, BusEvent};
use super::config::{EVENTS_MAX, HELD_BACK_MS, HELD_BACK_NEAR_LIMIT_MS, Limits, READ_BYTES, TICK_MS};
use super::connection::{Connection, State};
use super::control::{Control, Heard, Message};
use super::counters::{self, Counter, Global, Scoreboard, Slot};
use super::lanes::Lane;
use super::listener::{LISTENERS_MAX, Listener, ListenerKind};
use super::log_limit::LogLimit;
use super::outbox::Flushed;
use super::service::{
    Application, ConnectionId, Effect, Effects, Excess, Kept, LaneId, Peer, Service, StartError, Step, Wire,
};
use super::slab::Slab;
use super::timers::Timers;
use super::transport::Transport;
use super::waker::Wakes;
use crate::sys::clock;
use crate::sys::epoll::{Epoll, Event, Watch};
use crate::sys::signals::{Asked, Signals};
use crate::sys::socket::{self, Moved};
use keeping::Keeping;
use opening::{Openings, OwnCertificates};

/// Who tells this loop to end.
pub(super) enum Chief {
    /// The supervisor.
    Supervisor(Control),
    /// Nobody: this is the only process, and gets the signals itself.
    Signals { signals: Signals, drain: Duration, hangups: Box<dyn Fn()> },
}

/// What a loop is made of.
pub(super) struct Parts<A: Application> {
    pub(super) service: A::Service,
    pub(super) lanes: Vec<Lane<A::Job, A::Done>>,
    pub(super) wakes: Wakes,
    pub(super) listeners: Vec<Listener>,
    /// Where one of the listeners needs them.
    pub(super) certificates: OwnCertificates,
    pub(super) chief: Chief,
    pub(super) slot: Slot,
    pub(super) scoreboard: Scoreboard,
    pub(super) limits: Limits,
    pub(super) turned_away: &'static [u8],
}

/// Tokens below those of connections (which are at least 2^32).
const WAKES: u64 = 1;
const CHIEF: u64 = 2;
const LISTENERS: u64 = 0x10;
const LISTENERS_END: u64 = LISTENERS + LISTENERS_MAX as u64;
const LANES: u64 = 0x100;
const BUS: u64 = 0x1_0000;
/// And the low bits of the number of one that is not open yet.
const OPENINGS: u64 = 1 << 31;
const OPENINGS_MASK: u64 = OPENINGS - 1;
const CONNECTIONS: u64 = 1 << 32;

/// What a connection takes from which on it is counted at once, and not only when it has sent: more than one read, less than one turn.
const COUNTED_AT_ONCE_BYTES: usize = 192 << 10;
/// A job that is smaller is not counted while it is on its lane.
const SMALL_BYTES: usize = 2 << 10;
/// Connections that one round accepts: the rule is looked at again after each.
const ACCEPTS_MAX: usize = 16;

type Session<A> = <<A as Application>::Service as Service>::Session;

pub(super) struct Worker<A: Application> {
    service: A::Service,
    lanes: Vec<Lane<A::Job, A::Done>>,
    wakes: Wakes,
    chief: Chief,
    slot: Slot,
    scoreboard: Scoreboard,
    limits: Limits,
    turned_away: &'static [u8],
    epoll: Epoll,
    acceptor: Acceptor,
    bus: Bus,
    connections: Slab<Connection<Session<A>>>,
    /// Of these: over TLS, and over a Unix socket.
    tls_connections: usize,
    unix_connections: usize,
    certificates: OwnCertificates,
    openings: Openings,
    /// Connections to go on with in this round.
    runnable: VecDeque<ConnectionId>,
    /// Connections with replies to send in this round.
    dirty: Vec<ConnectionId>,
    timers: Timers,
    effects: Effects,
    /// Buffers of connections that have nothing to say.
    spare: Vec<Vec<u8>>,
    arrived: Vec<Arrived<A::Done>>,
    /// True while effects are being applied: what they bring is applied by the same loop, not one inside the other.
    is_applying: bool,
    /// Of all connections, as it was last counted for each.
    unsent_bytes: usize,
    keeping: Keeping,
    now: Instant,
    ticked_at: Instant,
    /// As of the last tick; zero: none.
    idle_timeout: Duration,
    /// Set once the service drains: until then connections may finish what is in flight.
    drain_until: Option<Instant>,
}

impl<A: Application> Worker<A> {
    pub(super) fn new(parts: Parts<A>) -> Result<Worker<A>, StartError> {
        let Parts { service, lanes, wakes, listeners, certificates, chief, slot, scoreboard, limits, turned_away } =
            parts;
        let now = clock::monotonic();
        let epoll = Epoll::new(EVENTS_MAX).map_err(cannot("make an epoll"))?;
        epoll.add(&wakes, WAKES, Watch::Readable).map_err(cannot("watch its wakes"))?;
        match &chief {
            Chief::Supervisor(control) => epoll.add(control, CHIEF, Watch::Readable),
            Chief::Signals { signals, .. } => epoll.add(signals, CHIEF, Watch::Readable),
        }
        .map_err(cannot("watch the supervisor"))?;
        Ok(Worker {
            service,
            lanes,
            wakes,
            chief,
            slot,
            scoreboard,
            turned_away,
            epoll,
            acceptor: Acceptor::new(listeners, slot, scoreboard, LISTENERS),
            bus: Bus::new(slot, scoreboard, limits.bus_bytes_max),
            limits,
            connections: Slab::new(),
            tls_connections: 0,
            unix_connections: 0,
            certificates,
            openings: Openings::default(),
            runnable: VecDeque::new(),
            dirty: Vec::new(),
            timers: Timers::default(),
            effects: Effects::default(),
            spare: Vec::new(),
            arrived: Vec::new(),
            is_applying: false,
            unsent_bytes: 0,
            keeping: Keeping::default(),
            now,
            ticked_at: now,
            idle_timeout: Duration::ZERO,
            drain_until: None,
        })
    }

    /// Serves until it is told to drain and has done so, or the time for that is over. `on_ready` is called when it serves.
    /// An error is this process's end; the supervisor starts another.
    pub(super) fn run(&mut self, on_ready: impl FnOnce()) -> io::Result<Ended> {
        self.scoreboard.set(self.slot, Counter::HeartbeatMs, clock::uptime_ms());
        self.scoreboard.set(self.slot, Counter::State, counters::SERVING);
        if let Chief::Supervisor(control) = &self.chief {
            control.send(Message::Ready, None)?;
        }
        self.tick()?;
        on_ready();
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            if let Some(ended) = self.finished() {
                return Ok(ended);
            }
            let timeout = self.timeout();
            events.clear();
            events.extend(self.epoll.wait(Some(timeout))?);
            self.now = clock::monotonic();
            for &event in &events {
                self.dispatch(event)?;
            }
            self.expire_timers();
            if self.now.duration_since(self.ticked_at) >= Duration::from_millis(TICK_MS) {
                self.tick()?;
            }
            self.go_on();
            self.go_on_opening()?;
            self.flush()?;
            if self.acceptor.has_fallen() {
                self.look_at_counts()?;
            }
            self.publish_kept();
            self.scoreboard.add(self.slot, Counter::RoundsTotal, 1);
        }
    }

    fn timeout(&self) -> Duration {
        if !self.runnable.is_empty() || !self.dirty.is_empty() || self.openings.are_due() {
            return Duration::ZERO;
        }
        // The end of an opening's time is seen at the next tick.
        let tick_at = self.ticked_at + Duration::from_millis(TICK_MS);
        let at = self.timers.next_at().map_or(tick_at, |at| at.min(tick_at));
        at.saturating_duration_since(clock::monotonic())
    }

    fn dispatch(&mut self, event: Event) -> io::Result<()> {
        match event.token {
            CONNECTIONS.. => self.note(ConnectionId(event.token), event),
            LISTENERS..LISTENERS_END => self.accept((event.token - LISTENERS) as usize)?,
            WAKES => {
                self.wakes.clear();
                for lane in 0..self.lanes.len() {
                    if matches!(self.lanes[lane].end, super::lanes::End::Threads(_)) {
                        self.collect(lane)?;
                    }
                }
            }
            CHIEF => self.hear_chief()?,
            OPENINGS.. => self.note_opening(event),
            BUS.. => self.hear_bus(Slot((event.token - BUS) as usize))?,
            lane => self.collect((lane - LANES) as usize)?,
        }
        Ok(())
    }

    // ---- connections

    /// Epoll's word on a connection.
    fn note(&mut self, id: ConnectionId, event: Event) {
        let Some(connection) = self.connections.find(id) else { return };
        if event.is_dead {
            // Whatever it waits for, nobody can be answered any more. A late answer finds nobody under this id.
            self.remove(id);
            return;
        }
        connection.is_readable |= event.is_readable;
        connection.has_ended |= event.is_ended;
        if connection.has_ended && matches!(connection.state, State::Parked { until: None } | State::Waiting { .. }) {
            self.flush_and_remove(id);
            return;
        }
        if event.is_writable && !connection.is_writable {
            connection.is_writable = true;
            mark_dirty(connection, id, &mut self.dirty);
        }
        if event.is_readable {
            self.queue(id);
        }
    }

    /// Puts a connection on the list of those to go on with.
    fn queue(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.find(id)
            && !connection.is_queued
        {
            connection.is_queued = true;
            self.runnable.push_back(id);
        }
    }

    /// Goes on with each connection that is on the list now; those that come onto it meanwhile wait for the next round.
    fn go_on(&mut self) {
        for _ in 0..self.runnable.len() {
            let id = self.runnable.pop_front().expect("counted");
            let Some(connection) = self.connections.find(id) else { continue };
            connection.is_queued = false;
            if connection.state != State::Open {
                continue;
            }
            if connection.out.len() < connection.unsent_allowed {
                self.advance(id);
                self.relieve_if_grown();
            } else {
                self.hold_back(id);
            }
        }
    }

    /// One read if the service needs more, and one call of the service with what is there.
    fn advance(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.find(id) else { return };
        if connection.is_readable && (connection.needs_input || connection.input.is_empty()) && !self.read(id) {
            return self.remove(id);
        }
        let Some(connection) = self.connections.find(id) else { return };
        if connection.needs_input && connection.input.is_empty() && !connection.is_at_end {
            connection.input.release(&mut self.spare);
            if connection.is_readable {
                // Bytes came, and none of them for the service.
                self.queue(id);
            }
            return self.account(id);
        }
        connection.out.borrow(&mut self.spare);
        let step = self.service.receive(
            &mut connection.session,
            &mut connection.input,
            &mut connection.out,
            &mut self.effects,
        );
        connection.needs_input = matches!(step, Step::NeedInput);
        if connection.needs_input {
            if connection.is_readable {
                self.queue(id);
            } else if connection.is_at_end {
                connection.state = State::Closing;
            }
        }
        self.apply(id, step);
    }

    /// One read. False when the connection is to be removed.
    fn read(&mut self, id: ConnectionId) -> bool {
        let Some(connection) = self.connections.find(id) else { return false };
        match connection.input.fill(&mut connection.transport, READ_BYTES, &mut self.spare) {
            Ok(Moved::Bytes(count)) => {
                connection.active_at = self.now;
                // A short read has emptied the socket, and the next bytes make epoll speak again; but an end of file that
                // epoll has announced already is still to be read.
                connection.is_readable =
                    count == READ_BYTES || connection.has_ended || connection.transport.may_have_more();
                self.scoreboard.add(self.slot, Counter::InputBytesTotal, count as u64);
                self.scoreboard.raise(self.slot, Counter::InputBytesMax, connection.input.len() as u64);
            }
            Ok(Moved::WouldBlock) => connection.is_readable = false,
            Ok(Moved::Closed) => {
                connection.is_readable = false;
                connection.is_at_end = true;
            }
            Err(error) => {
                tracing::debug!(%error, connection = id.0, "a connection failed");
                return false;
            }
        }
        if connection.transport.has_unsent() {
            // To receive made it say something itself.
            mark_dirty(connection, id, &mut self.dirty);
        }
        let bytes = connection.input.len();
        let is_too_much = bytes > self.limits.input_bytes_max;
        if is_too_much {
            self.service.overrun(&mut connection.session, Excess::Input { bytes });
        }
        !is_too_much
    }

    /// What the service said, after any of its calls.
    fn apply(&mut self, id: ConnectionId, step: Step<A::Job>) {
        let Some(connection) = self.connections.find(id) else { return };
        match step {
            Step::NeedInput => {
                // What it was woken for was there when the service was called, and it waits for nothing.
                connection.was_woken = false;
                connection.input.release(&mut self.spare);
            }
            Step::Continue => self.queue(id),
            Step::Submit(LaneId(lane), job) => {
                connection.state = State::InFlight;
                connection.job_bytes = job.bytes_kept();
                connection.input.release(&mut self.spare);
                self.lanes[lane].submit(id, job);
            }
            Step::Park(None) if connection.has_ended => connection.state = State::Closing,
            Step::Park(until) => {
                connection.state = State::Parked { until };
                if std::mem::take(&mut connection.was_woken) {
                    self.effects.wake(id);
                } else if let Some(until) = until {
                    self.look_again(id, until);
                }
            }
            Step::Close => connection.state = State::Closing,
        }
        let Some(connection) = self.connections.find(id) else { return };
        if connection.out.is_empty() && connection.state != State::Closing {
            connection.out.release(&mut self.spare);
            // A small job is counted when it is answered, which is soon: then there is none.
            if connection.state != State::InFlight || connection.job_bytes + connection.input.capacity() >= SMALL_BYTES
            {
                self.account(id);
            }
        } else {
            mark_dirty(connection, id, &mut self.dirty);
            // Small ones are counted when they have sent: most have nothing then.
            if connection.out.capacity() + connection.input.capacity() + connection.job_bytes >= COUNTED_AT_ONCE_BYTES {
                self.account(id);
            }
        }
        self.apply_effects();
    }

    /// After `complete` or `resume`: the connection is open again, and may have more input to go on with.
    fn reopened(&mut self, id: ConnectionId, step: Step<A::Job>) {
        if matches!(step, Step::NeedInput) {
            if let Some(connection) = self.connections.find(id) {
                connection.needs_input = connection.input.is_empty();
            }
            self.queue(id);
        }
        self.apply(id, step);
    }

    fn remove(&mut self, id: ConnectionId) {
        let Some(mut connection) = self.connections.remove(id) else { return };
        self.count_kind(connection.kind, -1);
        self.count_connections();
        self.unsent_bytes -= connection.unsent_counted;
        self.keeping.bytes -= connection.bytes_counted;
        connection.input.consume(connection.input.len());
        connection.input.release(&mut self.spare);
        match connection.state {
            State::InFlight => {
                let connections = &self.connections;
                self.lanes.iter_mut().for_each(|lane| lane.abandon(|waiting| connections.contains(waiting)));
            }
            State::Waiting { lane, number, .. } => self.lanes[lane].cancel(id, number),
            State::Open | State::Parked { .. } | State::Closing => {}
        }
        self.service.close(connection.session, &mut self.effects);
        connection.transport.close();
        // Closing the descriptor takes it out of epoll: it was never shared.
        drop(connection.transport);
    }

    // ---- lanes

    /// Takes the answers of a lane, and goes on with their connections.
    fn collect(&mut self, lane: usize) -> io::Result<()> {
        let mut arrived = std::mem::take(&mut self.arrived);
        let connections = &self.connections;
        if !self.lanes[lane].collect(&mut arrived, |waiting| connections.contains(waiting))? {
            tracing::info!(lane, "the process of a lane is gone");
        }
        for one in arrived.drain(..) {
            match one {
                Arrived::Answer(id, done) | Arrived::ParkedAnswer(id, done) => {
                    self.complete(id, done);
                    self.relieve_if_grown();
                }
                Arrived::AnswerLost(id) | Arrived::ParkedLost(id) => self.remove(id),
                Arrived::Parked(id, number) => self.wait_for_parked(id, lane, number),
                Arrived::Lasting(..) => {}
                Arrived::Cancelled(id) => self.cancelled(id),
                Arrived::Notice(notice) => {
                    self.service.notice(LaneId(lane), &notice, &mut self.effects);
                    self.apply_effects();
                }
                Arrived::Missed => {
                    self.service.missed_notices(LaneId(lane), &mut self.effects);
                    self.apply_effects();
                }
            }
        }
        self.arrived = arrived;
        Ok(())
    }

    fn complete(&mut self, id: ConnectionId, done: A::Done) {
        let Some(connection) = self.connections.find(id) else { return };
        debug_assert!(matches!(connection.state, State::InFlight | State::Waiting { .. }));
        connection.state = State::Open;
        connection.job_bytes = 0;
        connection.out.borrow(&mut self.spare);
        let step = self.service.complete(&mut connection.session, done, &mut connection.out, &mut self.effects);
        self.reopened(id, step);
    }

    // ---- others

    fn hear_chief(&mut self) -> io::Result<()> {
        loop {
            match &self.chief {
                Chief::Signals { signals, drain, hangups } => match signals.next()? {
                    None => return Ok(()),
                    Some(Asked::End) => self.drain(*drain),
                    Some(Asked::Hangup) => hangups(),
                    Some(Asked::Reap) => {}
                },
                Chief::Supervisor(control) => match control.receive()? {
                    Heard::Nothing => return Ok(()),
                    Heard::Gone => return Err(io::Error::other("the supervisor is gone")),
                    Heard::Message(message, passed) => self.obey(message, passed)?,
                },
            }
        }
    }

    fn obey(&mut self, message: Message, passed: Option<OwnedFd>) -> io::Result<()> {
        match (message, passed) {
            (Message::Lane { lane }, Some(fd)) => {
                let lane = lane as usize;
                // All that the old process wrote comes before the new one's first word; its end of file is there already.
                while self.lanes[lane].is_linked() {
                    self.collect(lane)?;
                }
                self.lanes[lane].connect(fd, &self.epoll, LANES + lane as u64)
            }
            (Message::Bus { slot }, Some(fd)) => {
                let slot = Slot(slot as usize);
                while self.bus.is_linked(slot) {
                    self.hear_bus(slot)?;
                }
                self.bus.connect(slot, fd, &self.epoll, BUS + slot.0 as u64)
            }
            (Message::Certificates, Some(handed)) => {
                if let Some(certificates) = &self.certificates
                    && let Err(error) = certificates.take(handed.as_fd())
                {
                    tracing::error!(%error, worker = self.slot.0, "a new certificate can't be taken over");
                }
                Ok(())
            }
            (Message::Drain { within_ms }, _) => {
                self.drain(Duration::from_millis(within_ms));
                Ok(())
            }
            (other, _) => Err(io::Error::other(format!("{other:?} is not for a worker"))),
        }
    }

    fn hear_bus(&mut self, slot: Slot) -> io::Result<()> {
        for event in self.bus.receive(slot, &self.epoll)? {
            match event {
                BusEvent::Message(message) => self.service.hear(slot, &message, &mut self.effects),
                BusEvent::Gone => self.service.lost(slot, &mut self.effects),
                BusEvent::Look { accept } => {
                    self.relieve();
                    self.look_at_counts()?;
                    // This one may have listened before, and then nobody is woken again for what waits.
                    if accept {
                        self.accept_waiting()?;
                    }
                }
            }
            self.apply_effects();
        }
        Ok(())
    }

    fn apply_effects(&mut self) {
        // Applying one may bring others (closing a connection calls the service): until there are none, and not one inside the
        // other, however long the chain.
        if std::mem::replace(&mut self.is_applying, true) {
            return;
        }
        while !self.effects.list.is_empty() {
            for effect in std::mem::take(&mut self.effects.list) {
                match effect {
                    Effect::Wake(id) => self.wake(id),
                    Effect::Cancel(id) => self.cancel(id),
                    Effect::Close(id) => self.flush_and_remove(id),
                    Effect::Write(id, bytes) => self.write(id, &bytes),
                    Effect::Send(slot, message) => {
                        if !self.bus.send(slot, &message) {
                            self.service.unsent(slot, &mut self.effects);
                        }
                    }
                    Effect::Drain => self.ask_for_drain(),
                }
            }
        }
        self.is_applying = false;
    }

    fn wake(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.find(id) else { return };
        match connection.state {
            State::Parked { .. } => {
                connection.state = State::Open;
                connection.active_at = self.now;
                connection.out.borrow(&mut self.spare);
                let step = self.service.resume(&mut connection.session, &mut connection.out, &mut self.effects);
                self.reopened(id, step);
            }
            State::InFlight | State::Waiting { .. } => connection.was_woken = true,
            State::Open | State::Closing => {}
        }
    }

    fn write(&mut self, id: ConnectionId, bytes: &Bytes) {
        let Some(connection) = self.connections.find(id) else { return };
        connection.out.borrow(&mut self.spare);
        connection.out.append_shared(bytes);
        mark_dirty(connection, id, &mut self.dirty);
        // It asks for nothing, so nothing holds it back: others may write a lot to it in one round.
        if connection.out.len() > connection.output_bytes_max.min(self.limits.output_bytes_max) {
            self.send(id);
        } else if connection.out.capacity() >= COUNTED_AT_ONCE_BYTES {
            self.account(id);
        }
    }

    fn flush_and_remove(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.find(id)
            && (!connection.out.is_empty() || connection.transport.has_unsent())
            && let Err(error) = connection.out.flush(&mut connection.transport)
        {
            tracing::debug!(%error, "a closed connection's last replies are lost");
        }
        self.remove(id);
    }

    fn ask_for_drain(&mut self) {
        match &self.chief {
            Chief::Signals { drain, .. } => {
                let within = *drain;
                self.drain(within);
            }
            Chief::Supervisor(control) => {
                if let Err(error) = control.send(Message::DrainAll, None) {
                    tracing::error!(%error, "the supervisor can't be asked to drain");
                }
            }
        }
    }
}

/// How a loop ended that was told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Drained,
    /// Some connections were still waiting, or did not read their replies.
    TimeIsOver,
}

fn mark_dirty<S>(connection: &mut Connection<S>, id: ConnectionId, dirty: &mut Vec<ConnectionId>) {
    if !connection.is_dirty {
        connection.is_dirty = true;
        dirty.push(id);
    }
}

fn cannot(what: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |error| StartError::new(format!("can't {what}: {error}"))
}
