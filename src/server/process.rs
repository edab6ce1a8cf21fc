//! The bodies of the processes: how a worker, the process of the lanes, and the single process of a debugger are put together.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;

use super::config::ServerConfig;
use super::control::{Control, Heard, Message};
use super::counters::{self, Counter, Scoreboard, Slot};
use super::lane_server::{Doorway, LinkSource};
use super::lanes::{End, Lane};
use super::listener::Listener;
use super::pool::{self, Place, Pool};
use super::process_lane::ProcessLane;
use super::service::{Application, ExecutorContext, LaneId, LaneSpec, Runs, StartError, WorkerContext};
use super::supervisor::Sidecar;
use super::tls::{Certificates, Watched};
use super::waker::waker;
use super::worker::{Chief, Ended, Parts, Worker};
use crate::sys::epoll::{Epoll, Watch};
use crate::sys::signals::Signals;
use crate::sys::{clock, process, stderr, thread};

/// What every process is given.
pub(super) struct Frame<A> {
    pub(super) application: Arc<A>,
    pub(super) config: ServerConfig,
    pub(super) scoreboard: Scoreboard,
    pub(super) lanes: Vec<LaneSpec>,
    /// The allowed CPUs if threads are to have one each, else empty.
    pub(super) cpus: Vec<usize>,
    /// What TLS is spoken with; the same everywhere until something new is handed on.
    pub(super) certificates: Option<Arc<Certificates>>,
}

/// How a process's main thread ended; also its exit code.
pub(super) const DONE: i32 = 0;
pub(super) const FAILED: i32 = 1;
/// It could not start, and would not the next time either.
pub(super) const CANNOT_START: i32 = 3;

/// A worker process.
pub(super) fn worker<A: Application>(
    frame: &Frame<A>,
    slot: Slot,
    incarnation: u64,
    listeners: Vec<Listener>,
    control: Control,
) -> i32 {
    name_thread(&format!("worker-{}", slot.0));
    let place = Place {
        slot,
        scoreboard: frame.scoreboard,
        cpus: frame.cpus.clone(),
        first: frame.scoreboard.workers().count() + slot.0 * threads_per_worker(&frame.lanes),
    };
    if !frame.cpus.is_empty() {
        pool::set_place(Some(frame.cpus[slot.0 % frame.cpus.len()]), 0);
    }
    serve(build_worker(frame, &place, incarnation, listeners, Chief::Supervisor(control)), || {})
}

/// The only process: all lanes are threads, signals come here. `on_ready` is called when it serves.
pub(super) fn alone<A: Application>(
    frame: &Frame<A>,
    listeners: Vec<Listener>,
    signals: Signals,
    hangups: Box<dyn Fn()>,
    on_ready: impl FnOnce(),
) -> i32 {
    let place = Place { slot: Slot(0), scoreboard: frame.scoreboard, cpus: frame.cpus.clone(), first: 1 };
    if !frame.cpus.is_empty() {
        pool::set_place(Some(frame.cpus[0]), 0);
    }
    let drain = Duration::from_secs(frame.config.drain_seconds);
    let incarnation = frame.scoreboard.next_incarnation();
    serve(build_worker(frame, &place, incarnation, listeners, Chief::Signals { signals, drain, hangups }), on_ready)
}

fn serve<A: Application>(started: Result<Worker<A>, StartError>, on_ready: impl FnOnce()) -> i32 {
    let mut worker = match started {
        Ok(worker) => worker,
        Err(error) => {
            stderr::wait_with_last_lines();
            tracing::error!("{error}");
            return CANNOT_START;
        }
    };
    // In good order the worker is dropped, which lets its threads finish. Otherwise nothing waits for them: a thread that is
    // busy for long would keep connections open that nobody serves.
    match worker.run(on_ready) {
        Ok(Ended::Drained) => DONE,
        Ok(Ended::TimeIsOver) => {
            stderr::wait_with_last_lines();
            tracing::warn!("the time to end in good order is over");
            process::exit_at_once(DONE)
        }
        Err(error) => {
            stderr::wait_with_last_lines();
            tracing::error!(%error, "an event loop ended");
            process::exit_at_once(FAILED)
        }
    }
}

fn build_worker<A: Application>(
    frame: &Frame<A>,
    place: &Place,
    incarnation: u64,
    listeners: Vec<Listener>,
    chief: Chief,
) -> Result<Worker<A>, StartError> {
    let (slot, scoreboard) = (place.slot, frame.scoreboard);
    scoreboard.set(slot, Counter::Pid, u64::from(std::process::id()));
    scoreboard.set(slot, Counter::State, counters::STARTING);
    let is_alone = matches!(chief, Chief::Signals { .. });
    let (waker, wakes) = waker().map_err(|error| StartError::new(format!("can't make a socketpair: {error}")))?;
    // The process lane first: its executor makes the files that the others read.
    let mut order: Vec<usize> = (0..frame.lanes.len()).collect();
    order.sort_by_key(|&lane| frame.lanes[lane].runs != Runs::Process);
    let mut ends: Vec<Option<Lane<A::Job, A::Done>>> = frame.lanes.iter().map(|_| None).collect();
    let mut first = place.first;
    for lane in order {
        let spec = &frame.lanes[lane];
        let end = if spec.runs == Runs::Process && !is_alone {
            End::Process { lane: ProcessLane::new(scoreboard), watch: Watch::Readable }
        } else {
            let place = Place { slot, scoreboard, cpus: place.cpus.clone(), first };
            first += threads_of(spec);
            let limits = &frame.config.limits;
            End::Threads(Pool::start(&frame.application, LaneId(lane), spec, &place, &waker, limits)?)
        };
        ends[lane] = Some(Lane::new(end, spec));
    }
    let service = frame.application.service(&WorkerContext { slot, incarnation, scoreboard })?;
    Worker::new(Parts {
        service,
        lanes: ends.into_iter().flatten().collect(),
        wakes,
        listeners,
        certificates: frame.certificates.clone(),
        chief,
        slot,
        scoreboard,
        limits: frame.config.limits.clone(),
        turned_away: frame.application.turned_away(),
    })
}

/// The sidecar's process.
pub(super) fn sidecar<A>(sidecar: &Sidecar, frame: &Frame<A>, listener: OwnedFd, control: Control) -> i32 {
    name_thread(sidecar.name);
    let (scoreboard, slot) = (frame.scoreboard, frame.scoreboard.sidecar_slot());
    if let Some(certificates) = frame.certificates.clone()
        && let Err(error) = thread::spawn("certificates", move || take_certificates(&control, &certificates))
    {
        tracing::error!(%error, "a thread can't be started");
        return FAILED;
    }
    scoreboard.set(slot, Counter::Pid, u64::from(std::process::id()));
    scoreboard.set(slot, Counter::State, counters::SERVING);
    (sidecar.body)(listener)
}

/// The sidecar's ear: what TLS is spoken with. It ends with its process.
fn take_certificates(control: &Control, certificates: &Certificates) {
    let hear = || -> std::io::Result<()> {
        let mut epoll = Epoll::new(1)?;
        epoll.add(control.as_fd(), 0, Watch::Readable)?;
        loop {
            // The event says nothing but that there is something to read.
            epoll.wait(None)?.for_each(drop);
            match control.receive()? {
                Heard::Message(Message::Certificates, Some(handed)) => {
                    if let Err(error) = certificates.take(handed.as_fd()) {
                        tracing::error!(%error, "a new certificate can't be taken over");
                    }
                }
                Heard::Message(..) | Heard::Nothing => {}
                Heard::Gone => return Ok(()),
            }
        }
    };
    if let Err(error) = hear() {
        tracing::error!(%error, "new certificates are not heard of any more");
    }
}

/// Where there is only one process a thread looks at the files of TLS, for its loop reads none. The result is called when somebody asks
/// for a look.
pub(super) fn watch_beside(tls: Option<Watched>, scoreboard: Scoreboard) -> std::io::Result<Option<Box<dyn Fn()>>> {
    let Some(mut tls) = tls else { return Ok(None) };
    let (ask, asked) = crossbeam_channel::bounded::<()>(1);
    drop(thread::spawn("certificates", move || {
        loop {
            let is_asked = match asked.recv_timeout(LOOK_EVERY) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // Nobody else is to be told: the loop shares what this has taken.
            drop(tls.look(is_asked, scoreboard));
        }
    })?);
    Ok(Some(Box::new(move || {
        if ask.try_send(()).is_err() {
            tracing::debug!("a look at the certificate was asked for already");
        }
    })))
}

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The sidecar where there is only one process: a thread that ends with it.
pub(super) fn sidecar_thread(sidecar: Sidecar, scoreboard: Scoreboard) -> std::io::Result<()> {
    scoreboard.set(scoreboard.sidecar_slot(), Counter::State, counters::SERVING);
    let Sidecar { name, listener, body } = sidecar;
    thread::spawn(name, move || {
        let code = body(listener);
        if code != DONE {
            tracing::error!(code, "what runs beside the service has ended");
        }
    })
    .map(drop)
}

/// The process that runs the process lane: one pool thread, and this main thread for control.
pub(super) fn lane<A: Application>(frame: &Frame<A>, control: &Control) -> i32 {
    let spec_index = frame.lanes.iter().position(|spec| spec.runs == Runs::Process);
    let lane = spec_index.expect("this process is started for a process lane");
    name_thread(frame.lanes[lane].name);
    match serve_lane(frame, LaneId(lane), control) {
        Ok(()) => DONE,
        Err(error) => {
            stderr::wait_with_last_lines();
            tracing::error!("{error}");
            CANNOT_START
        }
    }
}

fn serve_lane<A: Application>(frame: &Frame<A>, lane: LaneId, control: &Control) -> Result<(), StartError> {
    let (scoreboard, slot) = (frame.scoreboard, frame.scoreboard.lane_slot());
    let spec = frame.lanes[lane.0].clone();
    scoreboard.set(slot, Counter::Pid, u64::from(std::process::id()));
    scoreboard.set(slot, Counter::State, counters::STARTING);
    scoreboard.accuse_running_job();
    let limits = frame.config.limits.clone();
    let (doorway, mut source) = LinkSource::new(scoreboard, slot, limits, spec.batch_max)
        .map_err(|error| StartError::new(format!("can't make sockets: {error}")))?;
    let (ready, readies) = crossbeam_channel::bounded(1);
    let application = Arc::clone(&frame.application);
    let cpu = (!frame.cpus.is_empty()).then(|| frame.cpus[frame.cpus.len() - 1]);
    let thread = pool::spawn_named(format!("{}-0", spec.name), move || {
        pool::set_place(cpu, spec.niceness);
        let context = ExecutorContext { slot, scoreboard, thread: 0 };
        let build = || application.executor(lane, &context);
        match build() {
            Err(error) => ready.send(Err(error)).unwrap_or(()),
            Ok(executor) => {
                ready.send(Ok(())).unwrap_or(());
                pool::run(executor, build, &mut source);
            }
        }
    })
    .map_err(|error| StartError::new(format!("can't start a thread: {error}")))?;
    readies.recv().unwrap_or_else(|_| Err(StartError::new("the lane's thread died while it started")))?;
    scoreboard.set(slot, Counter::HeartbeatMs, clock::uptime_ms());
    scoreboard.set(slot, Counter::State, counters::SERVING);
    obey(control, &doorway).map_err(|error| StartError::new(format!("the supervisor can't be heard: {error}")))?;
    scoreboard.set(slot, Counter::State, counters::DRAINING);
    if thread.join().is_err() {
        process::exit_at_once(FAILED);
    }
    Ok(())
}

/// The control thread: passes news to the lane's thread until told to drain.
fn obey(control: &Control, doorway: &Doorway) -> std::io::Result<()> {
    let mut epoll = Epoll::new(4)?;
    epoll.add(control.as_fd(), 0, Watch::Readable)?;
    control.send(Message::Ready, None)?;
    loop {
        // The events say nothing but that there is something to read.
        epoll.wait(None)?.for_each(drop);
        loop {
            match control.receive()? {
                Heard::Nothing => break,
                Heard::Message(Message::Worker { incarnation }, Some(fd)) => doorway.worker(incarnation, fd),
                Heard::Message(Message::AllWorkers, _) => doorway.all_workers(),
                Heard::Message(Message::Drain { .. }, _) => {
                    doorway.drain();
                    return Ok(());
                }
                Heard::Message(other, _) => return Err(std::io::Error::other(format!("{other:?} is not for a lane"))),
                Heard::Gone => process::exit_at_once(FAILED),
            }
        }
    }
}

fn threads_of(spec: &LaneSpec) -> usize {
    match spec.runs {
        Runs::Threads(count) => count.max(1),
        Runs::Process => 1,
    }
}

fn threads_per_worker(lanes: &[LaneSpec]) -> usize {
    lanes.iter().filter(|spec| spec.runs != Runs::Process).map(threads_of).sum()
}

fn name_thread(name: &str) {
    if let Err(error) = thread::set_name(name) {
        tracing::debug!(%error, "a process keeps its name");
    }
}
