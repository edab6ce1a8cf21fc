//! The first process: binds the listeners, maps the counters, starts the others, and starts them again.
//!
//! It has one thread, opens no database and reads no client. Its whole life is `Supervisor::live`.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::accept::connections_within;
use super::config::ServerConfig;
use super::control::{Control, Heard, Message};
use super::counters::{self, Counter, Global, Scoreboard, Slot};
use super::handing_on::HandingOn;
use super::lanes;
use super::listener::{self, Address, Listener, ListenerKind};
use super::log_limit::LogLimit;
use super::process::{self as bodies, Frame};
use super::service::{Application, Runs, StartError};
use super::tls::Watched;
use super::watchdog::Watchdog;
use crate::sys::epoll::{Epoll, Watch};
use crate::sys::lock::FileLock;
use crate::sys::process::{self, Ended};
use crate::sys::signals::{Asked, Signals};
use crate::sys::{clock, descriptors, memory, socket, stderr, thread};

/// What the caller prepared before the first process is started.
pub struct Start<A> {
    pub application: Arc<A>,
    pub config: ServerConfig,
    /// Made with `Scoreboard::new(config.workers.max(1), …)`.
    pub scoreboard: Scoreboard,
    /// Held by every process of the service, so that it is free only when the last is gone.
    pub lock: Option<FileLock>,
    /// At least one. `Peer::listener` is a place here.
    pub listeners: Vec<Listener>,
    /// What runs beside the service, if anything does.
    pub sidecar: Option<Sidecar>,
    /// The files of TLS, where one of the listeners or the sidecar speaks it.
    pub tls: Option<Watched>,
}

/// A process beside the service that shows the world what the shared counters say. The supervisor starts it first, starts it
/// again, and ends it last; nobody waits for it, and it has no part in the service.
pub struct Sidecar {
    pub name: &'static str,
    pub listener: OwnedFd,
    /// Its whole life; the result is its exit code.
    pub body: Box<dyn Fn(OwnedFd) -> i32 + Send + Sync>,
}

/// Runs the service until it is told to end. The result is the exit code.
pub fn run<A: Application>(start: Start<A>) -> Result<i32, StartError> {
    memory::give_back_large_buffers();
    let lanes = start.application.lanes();
    lanes::check(&lanes, &start.config.limits)?;
    listener::check(&start.listeners, start.tls.is_some())?;
    let failed = |what: &'static str| move |error: io::Error| StartError::new(format!("can't {what}: {error}"));
    let cpus = match start.config.cpu_affinity {
        true => thread::allowed_cpus().map_err(failed("read the allowed CPUs"))?,
        false => Vec::new(),
    };
    let limits = &start.config.limits;
    for (global, value) in [
        (Global::StartedMs, clock::uptime_ms()),
        (Global::ConnectionsMax, limits.connections_max as u64),
        (Global::ConnectionsPossible, limits.connections_possible as u64),
        (Global::IdleTimeoutSeconds, limits.idle_timeout_seconds),
        (Global::ConnectionsBytesMax, limits.connections_bytes_max as u64),
    ] {
        start.scoreboard.global(global).store(value, Ordering::Relaxed);
    }
    let signals = Signals::open().map_err(failed("block signals"))?;
    let place = |listener: &Listener| Ok((listener.address()?, listener.kind));
    let places: io::Result<Vec<Place>> = start.listeners.iter().map(place).collect();
    let places = places.map_err(failed("read a listener's address"))?;
    if let Some(tls) = &start.tls {
        tls.publish(start.scoreboard);
    }
    let certificates = start.tls.as_ref().map(|tls| Arc::clone(tls.certificates()));
    let is_alone = start.config.workers == 0;
    let (application, config, scoreboard) = (start.application, start.config, start.scoreboard);
    let frame = Frame { application, config, scoreboard, lanes, cpus, certificates };
    if is_alone {
        if let Some(sidecar) = start.sidecar {
            bodies::sidecar_thread(sidecar, frame.scoreboard).map_err(failed("start a thread"))?;
        }
        let look = bodies::watch_beside(start.tls, scoreboard).map_err(failed("start a thread"))?;
        let application = Arc::clone(&frame.application);
        let hangups = Box::new(move || {
            let has_files = application.hangup();
            match &look {
                Some(look) => look(),
                None if !has_files => tracing::info!("SIGHUP: there is nothing to reload"),
                None => {}
            }
        });
        return Ok(bodies::alone(&frame, start.listeners, signals, hangups, || announce(&places, &frame.config)));
    }
    let (listeners, lock, sidecar) = (start.listeners, start.lock, start.sidecar);
    let mut supervisor = Supervisor::new(frame, listeners, lock, sidecar, start.tls, signals)?;
    supervisor.live(&places).map_err(failed("supervise"))
}

/// Raises the limit of descriptors, and lowers the number of connections to what it allows.
pub fn make_room(config: &mut ServerConfig) -> Result<(), StartError> {
    let limit =
        descriptors::raise_limit().map_err(|error| StartError::new(format!("can't read RLIMIT_NOFILE: {error}")))?;
    let per_process = usize::try_from(connections_within(limit)).unwrap_or(usize::MAX);
    let allowed = per_process.saturating_mul(config.workers.max(1));
    config.limits.connections_possible = allowed.max(1);
    if allowed < config.limits.connections_max {
        tracing::warn!(allowed, limit, "fewer connections than configured: the limit of open descriptors is low");
        config.limits.connections_max = allowed.max(1);
    }
    Ok(())
}

/// Listens on an address; on `[::]` also for IPv4, unless it `is_v6_only`.
pub fn listen(address: SocketAddr, is_v6_only: bool) -> Result<OwnedFd, StartError> {
    let bound = if is_v6_only { socket::listen_on_v6_only } else { socket::listen_on };
    bound(address, BACKLOG).map_err(|error| StartError::new(format!("can't listen on {address}: {error}")))
}

/// Listens on a Unix-domain socket. One that an earlier service left there is replaced; one on which somebody listens is not.
pub fn listen_on_path(path: &Path, mode: u32) -> Result<OwnedFd, StartError> {
    socket::listen_on_path(path, mode, BACKLOG)
        .map_err(|error| StartError::new(format!("can't listen on {}: {error}", path.display())))
}

const BACKLOG: i32 = 1024;
/// A process that lived at least so long starts again at once.
const STABLE: Duration = Duration::from_secs(2);
/// Deaths in a row before the first delay, the first delay, and the longest.
const FREE_RESTARTS: u32 = 3;
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// Workers that were killed and are not dead are killed again after so long.
const KILL_AGAIN: Duration = Duration::from_millis(200);
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Of the drain time, what the last lane's work may take at least.
const LANE_SHARE: u32 = 4;

struct Supervisor<A> {
    frame: Frame<A>,
    listeners: Vec<Listener>,
    lock: Option<FileLock>,
    sidecar: Option<Sidecar>,
    tls: Option<Watched>,
    handing_on: HandingOn,
    signals: Signals,
    epoll: Epoll,
    /// By slot: the workers, the process of the lanes, the sidecar.
    children: Vec<Child>,
    phase: Phase,
    sampled_at: Instant,
    watchdog: Watchdog,
}

enum Phase {
    /// Until every process was ready once: one that can't start ends the service.
    Starting,
    Serving,
    /// Workers end; the lane's process after them.
    DrainingWorkers {
        until: Instant,
    },
    DrainingLane {
        until: Instant,
    },
}

struct Child {
    state: ChildState,
    /// Deaths in a row, each soon after the start.
    deaths: u32,
}

enum ChildState {
    Absent {
        start_at: Instant,
    },
    Running {
        pid: u32,
        control: Control,
        incarnation: u64,
        started_at: Instant,
        is_ready: bool,
    },
    /// Ended in good order while draining, or never there.
    Ended,
}

const SIGNALS: u64 = u64::MAX;

impl<A: Application> Supervisor<A> {
    fn new(
        frame: Frame<A>,
        listeners: Vec<Listener>,
        lock: Option<FileLock>,
        sidecar: Option<Sidecar>,
        tls: Option<Watched>,
        signals: Signals,
    ) -> Result<Supervisor<A>, StartError> {
        let cannot = |error: io::Error| StartError::new(format!("can't make an epoll: {error}"));
        let epoll = Epoll::new(64).map_err(cannot)?;
        epoll.add(&signals, SIGNALS, Watch::Readable).map_err(cannot)?;
        let now = clock::monotonic();
        let scoreboard = frame.scoreboard;
        let has_lane = frame.lanes.iter().any(|spec| spec.runs == Runs::Process);
        let is_there = |slot| match slot {
            _ if slot == scoreboard.lane_slot() => has_lane,
            _ if slot == scoreboard.sidecar_slot() => sidecar.is_some(),
            _ => slot != scoreboard.supervisor_slot(),
        };
        let state = |slot| if is_there(slot) { ChildState::Absent { start_at: now } } else { ChildState::Ended };
        let children = scoreboard.slots().map(|slot| Child { state: state(slot), deaths: 0 }).collect();
        scoreboard.set(scoreboard.supervisor_slot(), Counter::Pid, u64::from(std::process::id()));
        scoreboard.set(scoreboard.supervisor_slot(), Counter::State, counters::SERVING);
        let (phase, sampled_at) = (Phase::Starting, now);
        // A look is a second: SAMPLE_EVERY.
        let watchdog = Watchdog::new(scoreboard.workers().count(), frame.config.limits.loop_stall_seconds_max);
        Ok(Supervisor {
            frame,
            listeners,
            lock,
            sidecar,
            tls,
            handing_on: HandingOn::default(),
            signals,
            epoll,
            children,
            phase,
            sampled_at,
            watchdog,
        })
    }

    /// The whole life of the service.
    fn live(&mut self, places: &[Place]) -> io::Result<i32> {
        loop {
            let now = clock::monotonic();
            self.start_absent(now);
            if let Some(code) = self.go_on_with_drain(now) {
                return Ok(code);
            }
            if now.duration_since(self.sampled_at) >= SAMPLE_EVERY {
                self.sampled_at = now;
                self.sample();
                self.look_at_certificate(false);
                tell_of_dropped_lines();
            }
            let events: Vec<u64> = self.epoll.wait(Some(self.timeout(now)))?.map(|event| event.token).collect();
            for token in events {
                if token != SIGNALS {
                    self.hear(Slot(token as usize), places)?;
                }
            }
            while let Some(asked) = self.signals.next()? {
                match asked {
                    Asked::End => self.drain(),
                    Asked::Hangup => self.hangup(),
                    Asked::Reap => {}
                }
            }
            while let Some((pid, ended)) = process::reap()? {
                if let Some(code) = self.bury(pid, ended) {
                    return Ok(code);
                }
            }
        }
    }

    fn hangup(&mut self) {
        let has_files = self.frame.application.hangup();
        if self.tls.is_some() {
            self.look_at_certificate(true);
        } else if !has_files {
            tracing::info!("SIGHUP: there is nothing to reload");
        }
    }

    fn timeout(&self, now: Instant) -> Duration {
        let next_start = self.children.iter().filter_map(|child| match child.state {
            ChildState::Absent { start_at } if start_at > now => Some(start_at),
            _ => None,
        });
        let until = match self.phase {
            Phase::DrainingWorkers { until } | Phase::DrainingLane { until } => Some(until),
            Phase::Starting | Phase::Serving => None,
        };
        let at = next_start.chain(until).min().unwrap_or(self.sampled_at + SAMPLE_EVERY);
        at.min(self.sampled_at + SAMPLE_EVERY).saturating_duration_since(now)
    }

    /// Once a second, and when somebody asks for it. What is new goes to everybody who speaks TLS; who starts later has it from here.
    fn look_at_certificate(&mut self, is_asked: bool) {
        let scoreboard = self.frame.scoreboard;
        if let Some(handed) = self.tls.as_mut().and_then(|tls| tls.look(is_asked, scoreboard)) {
            self.handing_on.begin(handed, scoreboard.workers().chain([scoreboard.sidecar_slot()]));
        }
        let mut handing_on = std::mem::take(&mut self.handing_on);
        let give = |slot: Slot, handed: BorrowedFd<'_>| match self.running(slot) {
            Some((control, _)) => control.send(Message::Certificates, Some(handed)),
            None => Ok(()),
        };
        handing_on.go_on(give, |slot, error| {
            static NOT_GIVEN: LogLimit = LogLimit::new();
            if let Some(left_out) = NOT_GIVEN.admit() {
                tracing::warn!(%error, process = self.name(slot), left_out, "a process can't be given the new certificate yet");
            }
        });
        self.handing_on = handing_on;
    }

    // ---- starting

    fn lane_slot(&self) -> Option<Slot> {
        let has_lane = self.frame.lanes.iter().any(|spec| spec.runs == Runs::Process);
        has_lane.then(|| self.frame.scoreboard.lane_slot())
    }

    /// Starts what is absent and may start now: the sidecar at once, then the lane's process, since it makes the files that
    /// workers read. While workers drain, only the lane's process: they wait for its answers.
    fn start_absent(&mut self, now: Instant) {
        let is_due = |child: &Child| matches!(child.state, ChildState::Absent { start_at } if start_at <= now);
        let sidecar = self.frame.scoreboard.sidecar_slot();
        if is_due(&self.children[sidecar.0]) {
            self.start(sidecar, now);
        }
        if let Some(slot) = self.lane_slot() {
            if is_due(&self.children[slot.0]) {
                self.start(slot, now);
            }
            let is_first_start = matches!(self.phase, Phase::Starting);
            if is_first_start && !matches!(self.children[slot.0].state, ChildState::Running { is_ready: true, .. }) {
                return;
            }
        }
        for slot in self.frame.scoreboard.workers() {
            if is_due(&self.children[slot.0]) {
                self.start(slot, now);
            }
        }
    }

    /// A start that fails (no descriptors, no process ids) is tried again later: what runs goes on.
    fn start(&mut self, slot: Slot, now: Instant) {
        let Err(error) = self.try_start(slot, now) else { return };
        tracing::error!(%error, process = self.name(slot), "a process can't be started");
        let child = &mut self.children[slot.0];
        match child.state {
            // It runs, but can't be reached: it ends, and is started again as after any death.
            ChildState::Running { pid, .. } => kill(pid),
            ChildState::Absent { .. } | ChildState::Ended => {
                child.deaths += 1;
                let delay = restart_delay(child.deaths).max(FIRST_DELAY);
                child.state = ChildState::Absent { start_at: now + delay };
            }
        }
    }

    fn try_start(&mut self, slot: Slot, now: Instant) -> io::Result<()> {
        let (control, childs_control) = Control::pair()?;
        let incarnation = self.frame.scoreboard.next_incarnation();
        self.frame.scoreboard.set(slot, Counter::Incarnation, incarnation);
        let (is_lane, is_sidecar) = (self.lane_slot() == Some(slot), slot == self.frame.scoreboard.sidecar_slot());
        let (frame, sidecar) = (&self.frame, self.sidecar.as_ref().filter(|_| is_sidecar));
        let listeners = if is_lane || is_sidecar { &[][..] } else { &self.listeners };
        // The sidecar touches no data: the next service on it need not wait for that.
        let lock = self.lock.as_ref().filter(|_| !is_sidecar);
        let pid = process::spawn(move || {
            let prepared = crate::sys::signals::ignore_in_child().and_then(|()| {
                let listeners = listeners.iter().map(Listener::try_clone).collect::<io::Result<Vec<_>>>()?;
                let sidecars = sidecar.map(|sidecar| sidecar.listener.try_clone()).transpose()?;
                let own = [Some(childs_control.as_fd()), lock.map(AsFd::as_fd), sidecars.as_ref().map(AsFd::as_fd)];
                let own = own.into_iter().flatten().chain(listeners.iter().map(AsFd::as_fd));
                // Everything else that this process inherited is its parent's.
                descriptors::close_all_but(&own.collect::<Vec<_>>())?;
                Ok((listeners, sidecars))
            });
            match (prepared, sidecar) {
                (Err(error), _) => {
                    tracing::error!(%error, "a child can't be prepared");
                    bodies::FAILED
                }
                (Ok((_, Some(listener))), Some(sidecar)) => bodies::sidecar(sidecar, frame, listener, childs_control),
                (Ok(_), _) if is_lane => bodies::lane(frame, &childs_control),
                (Ok((listeners, _)), _) => bodies::worker(frame, slot, incarnation, listeners, childs_control),
            }
        })?;
        tracing::debug!(process = self.name(slot), pid, incarnation, "started");
        self.handing_on.is_over(slot);
        let watched = self.epoll.add(&control, slot.0 as u64, Watch::Readable);
        self.children[slot.0].state =
            ChildState::Running { pid, control, incarnation, started_at: now, is_ready: false };
        watched?;
        if is_sidecar { Ok(()) } else { self.introduce(slot) }
    }

    /// Gives a new process fresh links: between a worker and the lane's process, and between each two workers.
    fn introduce(&self, new: Slot) -> io::Result<()> {
        let lane_slot = self.lane_slot();
        let is_other = |other: &Slot| *other != new && *other != self.frame.scoreboard.sidecar_slot();
        for other in (0..self.children.len()).map(Slot).filter(is_other) {
            let (Some((new_control, new_incarnation)), Some((other_control, other_incarnation))) =
                (self.running(new), self.running(other))
            else {
                continue;
            };
            let (news_end, others_end) = socket::stream_pair()?;
            let (to_new, to_other) = if lane_slot == Some(new) {
                (Message::Worker { incarnation: other_incarnation }, self.lane_message())
            } else if lane_slot == Some(other) {
                (self.lane_message(), Message::Worker { incarnation: new_incarnation })
            } else {
                (Message::Bus { slot: other.0 as u64 }, Message::Bus { slot: new.0 as u64 })
            };
            new_control.send(to_new, Some(news_end.as_fd()))?;
            if let Err(error) = other_control.send(to_other, Some(others_end.as_fd())) {
                // Stopped for very long. Without this link it could never be of use again.
                tracing::error!(%error, process = self.name(other), "a process does not read its control socket and is killed");
                self.kill_at(other);
            }
        }
        match self.running(new) {
            Some((control, _)) if lane_slot == Some(new) => control.send(Message::AllWorkers, None),
            _ => Ok(()),
        }
    }

    fn lane_message(&self) -> Message {
        let lane = self.frame.lanes.iter().position(|spec| spec.runs == Runs::Process);
        Message::Lane { lane: lane.expect("there is a process lane") as u64 }
    }

    /// For the log: as the process's threads are named.
    fn name(&self, slot: Slot) -> String {
        let scoreboard = self.frame.scoreboard;
        match slot {
            _ if slot == scoreboard.lane_slot() => {
                let lane = self.frame.lanes.iter().find(|spec| spec.runs == Runs::Process);
                lane.map_or("lane", |spec| spec.name).to_owned()
            }
            _ if slot == scoreboard.sidecar_slot() => {
                self.sidecar.as_ref().map_or("sidecar", |sidecar| sidecar.name).to_owned()
            }
            _ => format!("worker-{}", slot.0),
        }
    }

    fn running(&self, slot: Slot) -> Option<(&Control, u64)> {
        match &self.children[slot.0].state {
            ChildState::Running { control, incarnation, .. } => Some((control, *incarnation)),
            ChildState::Absent { .. } | ChildState::Ended => None,
        }
    }

    fn hear(&mut self, slot: Slot, places: &[Place]) -> io::Result<()> {
        loop {
            let ChildState::Running { control, is_ready, .. } = &mut self.children[slot.0].state else { return Ok(()) };
            match control.receive()? {
                Heard::Nothing => return Ok(()),
                // Its death is told by SIGCHLD; until then the socket would be readable for ever.
                Heard::Gone => return self.epoll.remove(&*control),
                Heard::Message(Message::Ready, _) => {
                    *is_ready = true;
                    let sidecar = self.frame.scoreboard.sidecar_slot().0;
                    let is_ready = |child: &Child| {
                        matches!(child.state, ChildState::Running { is_ready: true, .. } | ChildState::Ended)
                    };
                    let all_ready = self.children[..sidecar].iter().all(is_ready);
                    if matches!(self.phase, Phase::Starting) && all_ready {
                        self.phase = Phase::Serving;
                        announce(places, &self.frame.config);
                    }
                }
                Heard::Message(Message::DrainAll, _) => self.drain(),
                Heard::Message(other, _) => tracing::error!(?other, process = slot.0, "not for the supervisor"),
            }
        }
    }

    // ---- deaths

    /// A child has died. Returns the exit code if that ends the service.
    fn bury(&mut self, pid: u32, ended: Ended) -> Option<i32> {
        let index = self
            .children
            .iter()
            .position(|child| matches!(child.state, ChildState::Running { pid: running, .. } if running == pid))?;
        let (slot, scoreboard, now) = (Slot(index), self.frame.scoreboard, clock::monotonic());
        let process = self.name(slot);
        scoreboard.set(slot, Counter::State, counters::ABSENT);
        for gone in [
            Counter::Pid,
            Counter::Connections,
            Counter::TlsConnections,
            Counter::UnixConnections,
            Counter::Openings,
            Counter::Listening,
            Counter::HasRoom,
            Counter::OutputBytes,
            Counter::ConnectionsBytes,
            Counter::LargestConnectionBytes,
        ] {
            scoreboard.set(slot, gone, 0);
        }
        if ended == Ended::Killed(nix::sys::signal::Signal::SIGBUS as i32) {
            scoreboard.add(slot, Counter::BusErrorsTotal, 1);
        }
        let child = &mut self.children[index];
        let ChildState::Running { started_at, .. } = child.state else { unreachable!("found as running") };
        let is_lane = self.frame.scoreboard.lane_slot() == slot;
        let is_sidecar = self.frame.scoreboard.sidecar_slot() == slot;
        match self.phase {
            // Workers wait for its answers: it is started again like at any time.
            Phase::DrainingWorkers { .. } if is_lane => {}
            Phase::DrainingWorkers { .. } | Phase::DrainingLane { .. } => {
                if ended != Ended::Exited(bodies::DONE) {
                    tracing::warn!(process, pid, ?ended, "a process did not end in good order");
                }
                child.state = ChildState::Ended;
                return None;
            }
            Phase::Starting if ended == Ended::Exited(bodies::CANNOT_START) && !is_sidecar => {
                self.kill_all();
                return Some(bodies::FAILED);
            }
            Phase::Starting | Phase::Serving => {}
        }
        child.deaths = if now.duration_since(started_at) >= STABLE { 0 } else { child.deaths + 1 };
        let delay = restart_delay(child.deaths);
        child.state = ChildState::Absent { start_at: now + delay };
        scoreboard.add(slot, Counter::RestartsTotal, 1);
        tracing::error!(
            process,
            pid,
            ?ended,
            delay_ms = delay.as_millis() as u64,
            "a process died and is started again"
        );
        None
    }

    fn kill_all(&self) {
        (0..self.children.len()).map(Slot).for_each(|slot| self.kill_at(slot));
    }

    fn kill_at(&self, slot: Slot) {
        if let ChildState::Running { pid, .. } = self.children[slot.0].state {
            kill(pid);
        }
    }

    // ---- the end

    fn drain(&mut self) {
        if matches!(self.phase, Phase::DrainingWorkers { .. } | Phase::DrainingLane { .. }) {
            return;
        }
        let all = Duration::from_secs(self.frame.config.drain_seconds);
        let workers = all - all / LANE_SHARE;
        tracing::info!(within_ms = all.as_millis() as u64, "ending");
        self.frame.scoreboard.global(Global::Draining).store(1, Ordering::Relaxed);
        self.phase = Phase::DrainingWorkers { until: clock::monotonic() + workers };
        for slot in self.frame.scoreboard.workers() {
            self.tell(slot, Message::Drain { within_ms: workers.as_millis() as u64 });
        }
        for slot in self.frame.scoreboard.workers() {
            self.give_up(slot);
        }
    }

    /// While draining: who is absent is not started any more.
    fn give_up(&mut self, slot: Slot) {
        if let ChildState::Absent { .. } = self.children[slot.0].state {
            self.children[slot.0].state = ChildState::Ended;
        }
    }

    /// Returns the exit code once everything has ended.
    fn go_on_with_drain(&mut self, now: Instant) -> Option<i32> {
        let (workers, sidecar) = (self.frame.scoreboard.workers().count(), self.frame.scoreboard.sidecar_slot());
        let has_ended = |children: &[Child]| children.iter().all(|child| matches!(child.state, ChildState::Ended));
        match self.phase {
            Phase::Starting | Phase::Serving => None,
            Phase::DrainingWorkers { until } => {
                if now >= until {
                    tracing::warn!("workers did not end in time and are killed");
                    self.frame.scoreboard.workers().for_each(|slot| self.kill_at(slot));
                    // Killed is not dead: one that hangs in the kernel is not killed in a busy loop.
                    self.phase = Phase::DrainingWorkers { until: now + KILL_AGAIN };
                }
                if has_ended(&self.children[..workers]) {
                    stderr::wait_with_last_lines();
                    let rest = Duration::from_secs(self.frame.config.drain_seconds) / LANE_SHARE;
                    self.phase = Phase::DrainingLane { until: until.max(now) + rest };
                    if let Some(slot) = self.lane_slot() {
                        self.give_up(slot);
                        self.tell(slot, Message::Drain { within_ms: rest.as_millis() as u64 });
                    }
                    return self.go_on_with_drain(now);
                }
                None
            }
            Phase::DrainingLane { until } => {
                if now >= until {
                    // What was acknowledged is on disk already: only its last tidying up is cut short.
                    tracing::warn!("the last process did not end in time and is killed");
                    self.kill_all();
                    return Some(bodies::DONE);
                }
                // It had a part in nothing, and told to the end how far the others were.
                has_ended(&self.children[..sidecar.0]).then(|| {
                    self.kill_at(sidecar);
                    bodies::DONE
                })
            }
        }
    }

    fn tell(&self, slot: Slot, message: Message) {
        if let Some((control, _)) = self.running(slot)
            && let Err(error) = control.send(message, None)
        {
            tracing::warn!(%error, process = self.name(slot), "a process does not read its control socket");
        }
    }

    /// What each process uses, for those who may not read files; and whether the workers' loops go on.
    fn sample(&mut self) {
        let scoreboard = self.frame.scoreboard;
        scoreboard.set(scoreboard.supervisor_slot(), Counter::HeartbeatMs, clock::uptime_ms());
        let own = (scoreboard.supervisor_slot(), std::process::id());
        let children = self.children.iter().enumerate().filter_map(|(index, child)| match child.state {
            ChildState::Running { pid, .. } => Some((Slot(index), pid)),
            ChildState::Absent { .. } | ChildState::Ended => None,
        });
        let all: Vec<(Slot, u32)> = children.chain([own]).collect();
        for (slot, pid) in all {
            if let Some(usage) = process::usage(pid) {
                scoreboard.set(slot, Counter::ResidentBytes, usage.resident_bytes);
                scoreboard.set(slot, Counter::AnonymousBytes, usage.anonymous_bytes);
                scoreboard.set(slot, Counter::UserMs, usage.user_ms);
                scoreboard.set(slot, Counter::SystemMs, usage.system_ms);
                self.end_if_hung(slot, usage.is_stopped);
            }
        }
    }

    /// Once a second. A worker that starts or drains has its own time limits.
    fn end_if_hung(&mut self, slot: Slot, is_stopped: bool) {
        let ChildState::Running { pid, incarnation, is_ready: true, .. } = self.children[slot.0].state else { return };
        let scoreboard = self.frame.scoreboard;
        let is_watched = slot.0 < scoreboard.workers().count() && matches!(self.phase, Phase::Serving);
        if is_watched
            && self.watchdog.look(slot.0, incarnation, scoreboard.read(slot, Counter::RoundsTotal), is_stopped)
        {
            let seconds = self.frame.config.limits.loop_stall_seconds_max;
            tracing::error!(
                process = self.name(slot),
                pid,
                seconds,
                "an event loop does not come round any more: its worker is killed"
            );
            scoreboard.add(slot, Counter::HangsTotal, 1);
            kill(pid);
        }
    }
}

fn kill(pid: u32) {
    if let Err(error) = process::kill_child(pid) {
        tracing::debug!(%error, pid, "already dead");
    }
}

/// How long to wait before the start that follows so many early deaths in a row.
fn restart_delay(deaths: u32) -> Duration {
    match deaths.checked_sub(FREE_RESTARTS + 1) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_DELAY.saturating_mul(1 << doublings.min(10)).min(LONGEST_DELAY),
    }
}

/// Once there is room again: what the log has lost meanwhile.
pub(super) fn tell_of_dropped_lines() {
    if let Some(lines) = stderr::take_untold() {
        tracing::warn!(lines, "log lines were dropped: nobody read them");
    }
}

/// An address, and how one comes over it.
type Place = (Address, ListenerKind);

/// The lines that say where the service is: a person's, and a test's that asked for port 0.
fn announce(places: &[Place], config: &ServerConfig) {
    let ((address, kind), others) = places.split_first().expect("there is a listener");
    for (address, kind) in others {
        tracing::info!(%address, tls = *kind == ListenerKind::Tls, "listens here, too");
    }
    tracing::info!(%address, tls = *kind == ListenerKind::Tls, workers = config.workers, "ready to accept connections");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_dies_again_and_again_waits_longer_each_time_up_to_a_bound() {
        assert_eq!(restart_delay(1), Duration::ZERO);
        assert_eq!(restart_delay(3), Duration::ZERO);
        assert_eq!(restart_delay(4), Duration::from_millis(50));
        assert_eq!(restart_delay(5), Duration::from_millis(100));
        assert_eq!(restart_delay(4_000_000), Duration::from_secs(5));
    }
}
