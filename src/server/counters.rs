//! Numbered counters in shared memory: what each process says of itself, readable by all.
//!
//! Words are atomics and each is written by one process at a time, so a process that dies leaves nothing locked.

use std::io;

use crate::sys;
use crate::sys::atomic::{AtomicU64, Ordering};

/// A process's place: workers first, then the process lane, the sidecar and the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub usize);

/// What the whole service counts.
#[derive(Clone, Copy, Debug)]
pub enum Global {
    /// Drawn when the service starts: tickets of an earlier run never match.
    Boot,
    /// Starts of processes so far.
    Incarnations,
    /// Jobs of process lanes so far: their order.
    Jobs,
    /// Connections so far.
    Connections,
    /// The one job that the process lane is running alone, or 0.
    RunningAlone,
    /// When the service started, in milliseconds of the machine's uptime.
    StartedMs,
    /// Not 0 once the service drains.
    Draining,
    // Limits that may change while the service runs: set at the start, read by every worker whenever they count.
    /// Connections over all workers.
    ConnectionsMax,
    /// What the limit of open descriptors allows: `ConnectionsMax` above it would be a promise that can't be kept.
    ConnectionsPossible,
    /// A connection without a request for so long closes; 0 = never.
    IdleTimeoutSeconds,
    /// What all connections may make the service keep together; 0 = no limit.
    ConnectionsBytesMax,
    /// When the validity of the TLS certificate ends, in seconds since 1970; 0: there is none.
    TlsNotAfterSeconds,
    /// How often the certificate was read again, and how often what was there could not be used.
    TlsReloads,
    TlsReloadFailures,
}
const GLOBALS: usize = 14;

/// What each process says of itself.
#[derive(Clone, Copy, Debug)]
pub enum Counter {
    /// `ABSENT`, `STARTING`, `SERVING` or `DRAINING`.
    State,
    Pid,
    Incarnation,
    /// Uptime of the machine in milliseconds when the process was last seen at work.
    HeartbeatMs,
    /// Open connections.
    Connections,
    /// 1 while the worker listens.
    Listening,
    /// 1 while the worker has descriptors for more connections: who has none is not waited for.
    HasRoom,
    AcceptedTotal,
    /// Accepts that found nothing: another worker was faster.
    AcceptEmptyTotal,
    TurnedAwayTotal,
    /// Of the open connections those over TLS, and those of a Unix socket.
    TlsConnections,
    UnixConnections,
    /// Connections that are not open yet: a handshake, or the proxy's header, is not complete.
    Openings,
    HandshakesTotal,
    /// Handshakes that failed, or took too long, or whose place another one got.
    HandshakesFailedTotal,
    /// Connections of proxies that did not begin with a header, or not in time, or whose place another one got.
    ProxyRefusedTotal,
    InputBytesTotal,
    OutputBytesTotal,
    /// Unsent reply bytes of all connections that did not take them at once.
    OutputBytes,
    /// What all connections make the worker keep, and the largest part of one that may be closed for it.
    ConnectionsBytes,
    LargestConnectionBytes,
    /// Largest unsent reply and unconsumed input of one connection since the start.
    OutputBytesMax,
    InputBytesMax,
    RoundsTotal,
    BusDroppedTotal,
    /// Starts after the first.
    RestartsTotal,
    /// Ends by the supervisor's watchdog: the worker's loop did not come round any more.
    HangsTotal,
    /// Deaths by SIGBUS: a page of a mapped file could not be read.
    BusErrorsTotal,
    // The supervisor's samples, once a second.
    ResidentBytes,
    AnonymousBytes,
    UserMs,
    SystemMs,
    /// The first of `LANES_MAX` words, by lane: the worker's jobs that are queued there or running, at its last tick.
    LaneJobs,
}
const COUNTERS: usize = Counter::LaneJobs as usize + LANES_MAX;
/// Lanes of an application.
pub const LANES_MAX: usize = 4;

pub const ABSENT: u64 = 0;
pub const STARTING: u64 = 1;
pub const SERVING: u64 = 2;
pub const DRAINING: u64 = 3;

/// Jobs that were running alone when the process lane died, with how often: `SUSPECTS` pairs of (number, deaths).
const SUSPECTS: usize = 16;

/// All counters. A copy is as good as the original.
#[derive(Clone, Copy)]
pub struct Scoreboard {
    words: &'static [AtomicU64],
    workers: usize,
    application_counters: usize,
}

impl Scoreboard {
    /// `application_counters`: how many counters each process has for the application, numbered from 0.
    pub fn new(workers: usize, application_counters: usize) -> io::Result<Scoreboard> {
        // A process's counters begin on a cache line of their own: two processes never write to the same line.
        let process = (COUNTERS + application_counters).next_multiple_of(8);
        let count = (GLOBALS + 2 * SUSPECTS).next_multiple_of(8) + process * (workers + 3);
        Ok(Scoreboard { words: sys::shared::words(count)?, workers, application_counters })
    }

    pub fn workers(&self) -> impl Iterator<Item = Slot> + use<> {
        (0..self.workers).map(Slot)
    }

    /// The place of the process that runs the process lanes.
    #[must_use]
    pub fn lane_slot(&self) -> Slot {
        Slot(self.workers)
    }

    /// The place of the process beside the service.
    #[must_use]
    pub fn sidecar_slot(&self) -> Slot {
        Slot(self.workers + 1)
    }

    #[must_use]
    pub fn supervisor_slot(&self) -> Slot {
        Slot(self.workers + 2)
    }

    /// Every process's place.
    pub fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        (0..self.workers + 3).map(Slot)
    }

    /// The worker's jobs in that lane.
    #[must_use]
    pub fn lane_jobs(&self, slot: Slot, lane: usize) -> &'static AtomicU64 {
        debug_assert!(lane < LANES_MAX);
        &self.words[self.process_start(slot) + Counter::LaneJobs as usize + lane]
    }

    #[must_use]
    pub fn global(&self, which: Global) -> &'static AtomicU64 {
        &self.words[which as usize]
    }

    #[must_use]
    pub fn counter(&self, slot: Slot, which: Counter) -> &'static AtomicU64 {
        &self.words[self.process_start(slot) + which as usize]
    }

    /// The application's counter number `index` of that process.
    #[must_use]
    pub fn application(&self, slot: Slot, index: usize) -> &'static AtomicU64 {
        debug_assert!(index < self.application_counters);
        &self.words[self.process_start(slot) + COUNTERS + index]
    }

    #[must_use]
    pub fn read(&self, slot: Slot, which: Counter) -> u64 {
        self.counter(slot, which).load(Ordering::Relaxed)
    }

    pub fn set(&self, slot: Slot, which: Counter, value: u64) {
        self.counter(slot, which).store(value, Ordering::Relaxed);
    }

    pub fn add(&self, slot: Slot, which: Counter, count: u64) {
        self.counter(slot, which).fetch_add(count, Ordering::Relaxed);
    }

    pub fn raise(&self, slot: Slot, which: Counter, value: u64) {
        self.counter(slot, which).fetch_max(value, Ordering::Relaxed);
    }

    /// The sum over all processes.
    #[must_use]
    pub fn sum(&self, which: Counter) -> u64 {
        self.slots().map(|slot| self.read(slot, which)).sum()
    }

    /// The sum over all processes of the application's counter `index`.
    #[must_use]
    pub fn application_sum(&self, index: usize) -> u64 {
        self.slots().map(|slot| self.application(slot, index).load(Ordering::Relaxed)).sum()
    }

    /// True when the process is there and was at work within `fresh_ms`.
    #[must_use]
    pub fn is_fresh(&self, slot: Slot, now_ms: u64, fresh_ms: u64) -> bool {
        self.read(slot, Counter::State) == SERVING
            && now_ms.saturating_sub(self.read(slot, Counter::HeartbeatMs)) <= fresh_ms
    }

    /// The next incarnation, for a process that is about to start.
    #[must_use]
    pub fn next_incarnation(&self) -> u64 {
        self.global(Global::Incarnations).fetch_add(1, Ordering::SeqCst) + 1
    }

    /// After a death of the process lane: the job that was running alone, if any, is held against it.
    pub fn accuse_running_job(&self) {
        let number = self.global(Global::RunningAlone).swap(0, Ordering::SeqCst);
        if number == 0 {
            return;
        }
        let suspects = self.suspects();
        // The place of the same job, else an empty one, else that of the oldest job: job numbers rise.
        let known = suspects.iter().position(|(job, _)| job.load(Ordering::SeqCst) == number);
        let place = known.unwrap_or_else(|| {
            (0..SUSPECTS).min_by_key(|&place| suspects[place].0.load(Ordering::SeqCst)).expect("there are places")
        });
        let (job, deaths) = suspects[place];
        if job.swap(number, Ordering::SeqCst) != number {
            deaths.store(0, Ordering::SeqCst);
        }
        deaths.fetch_add(1, Ordering::SeqCst);
    }

    /// How often the process lane died while it was running this job alone.
    #[must_use]
    pub fn deaths_of_job(&self, number: u64) -> u64 {
        let found = self.suspects().into_iter().find(|(job, _)| job.load(Ordering::SeqCst) == number);
        found.map_or(0, |(_, deaths)| deaths.load(Ordering::SeqCst))
    }

    fn suspects(&self) -> [(&'static AtomicU64, &'static AtomicU64); SUSPECTS] {
        std::array::from_fn(|place| (&self.words[GLOBALS + 2 * place], &self.words[GLOBALS + 2 * place + 1]))
    }

    fn process_start(&self, slot: Slot) -> usize {
        let process = (COUNTERS + self.application_counters).next_multiple_of(8);
        (GLOBALS + 2 * SUSPECTS).next_multiple_of(8) + process * slot.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_counters_fit_their_space() {
        assert_eq!(GLOBALS, Global::TlsReloadFailures as usize + 1);
    }

    #[test]
    fn processes_do_not_share_words() {
        let scoreboard = Scoreboard::new(2, 3).unwrap();
        for slot in scoreboard.slots() {
            scoreboard.set(slot, Counter::State, 10 + slot.0 as u64);
            scoreboard.lane_jobs(slot, LANES_MAX - 1).store(50 + slot.0 as u64, Ordering::Relaxed);
            scoreboard.application(slot, 2).store(100 + slot.0 as u64, Ordering::Relaxed);
        }
        for slot in scoreboard.slots() {
            assert_eq!(scoreboard.read(slot, Counter::State), 10 + slot.0 as u64);
            assert_eq!(scoreboard.lane_jobs(slot, LANES_MAX - 1).load(Ordering::Relaxed), 50 + slot.0 as u64);
            assert_eq!(scoreboard.application(slot, 2).load(Ordering::Relaxed), 100 + slot.0 as u64);
        }
        let places =
            [Slot(0), Slot(1), scoreboard.lane_slot(), scoreboard.sidecar_slot(), scoreboard.supervisor_slot()];
        assert_eq!(scoreboard.slots().collect::<Vec<_>>(), places);
        assert_eq!(scoreboard.application_sum(2), (100..105).sum::<u64>());
    }

    #[test]
    fn a_job_that_ran_alone_at_two_deaths_is_known() {
        let scoreboard = Scoreboard::new(1, 0).unwrap();
        let die_while_running = |number| {
            scoreboard.global(Global::RunningAlone).store(number, Ordering::SeqCst);
            scoreboard.accuse_running_job();
        };
        [7, 9, 7, 0].into_iter().for_each(die_while_running);
        assert_eq!((scoreboard.deaths_of_job(7), scoreboard.deaths_of_job(9)), (2, 1));
        (100..100 + SUSPECTS as u64).for_each(die_while_running);
        assert_eq!((scoreboard.deaths_of_job(7), scoreboard.deaths_of_job(115)), (0, 1));
    }
}
