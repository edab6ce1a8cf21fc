//! The checkpoint thread, and how the writer and it share the disk.
//!
//! A pass copies what the `-wal` had when it began, and has the file written back part by part, each while the writer is not
//! committing. What the writer adds meanwhile is bounded by what has been written back, so the next pass is shorter.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, Thread, park_timeout};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::kv::lanes::housekeeping::{now_seconds, spawn};
use crate::kv::lanes::writer::end_if_sync_failed;
use crate::kv::metrics::statistics::{Counted, Measured, Statistics};
use crate::kv::shared::Shared;
use crate::kv::shared::latency::Event;
use crate::kv::shared::runtime::Knob;
use crate::storage::checkpoint::{Checkpointer, Pace, Part, Progress};
use crate::storage::{Keyspace, Options, StorageError};
use crate::sys::{clock, disk};

pub struct Checkpoints {
    shared: Arc<Shared>,
    /// An order is the thread to wake when the pass is far enough.
    orders: Option<Sender<Thread>>,
    reports: Receiver<Pass>,
    running: Option<Running>,
    /// The last pass failed, or readers let it copy nothing: not before then.
    not_before: Option<Instant>,
    turns: Arc<Turns>,
    thread: Option<JoinHandle<()>>,
}

/// What the writer and a running pass see of one another.
struct Turns {
    is_committing: AtomicBool,
    /// Pages of the pass that are written back.
    written: AtomicU64,
    /// With so many written back the writer is woken.
    awaited: AtomicU64,
}

impl Turns {
    fn new() -> Turns {
        Turns { is_committing: AtomicBool::new(false), written: AtomicU64::new(0), awaited: AtomicU64::new(u64::MAX) }
    }

    fn written(&self) -> u64 {
        self.written.load(Ordering::SeqCst)
    }

    /// The pass's side. Each of the two stores its own number before it reads the other's, so no wake-up is lost.
    fn add_written(&self, pages: u64, writer: &Thread) {
        let written = self.written.fetch_add(pages, Ordering::SeqCst) + pages;
        if written >= self.awaited.load(Ordering::SeqCst) {
            writer.unpark();
        }
    }

    /// The writer's: until `awaited` pages are written back, or it is woken for something else.
    fn park(&self, awaited: u64, longest: Duration) {
        self.awaited.store(awaited, Ordering::SeqCst);
        if self.written() < awaited {
            park_timeout(longest);
        }
        self.awaited.store(u64::MAX, Ordering::SeqCst);
    }
}

/// What was there when the pass began.
struct Running {
    /// The last checkpoint that a client had asked for.
    asked: u64,
    changes: u64,
    log_frames: u64,
    /// What the pass has to copy.
    frames: u64,
}

struct Pass {
    duration: Duration,
    is_failed: bool,
    /// Of the frames in the `-wal`, those that are in the file.
    checkpointed: u64,
}

/// After a pass that failed.
const FAILED_PASS_AGAIN: Duration = Duration::from_millis(200);
/// After a pass that readers let copy nothing.
const BLOCKED_PASS_AGAIN: Duration = Duration::from_millis(20);
/// The longest that a part waits for the writer's commit; one that takes longer waits for the disk itself.
const COMMIT_WAIT: Duration = Duration::from_millis(2);
/// See `group_bytes_max`.
const GROUP_BYTES_PER_FRAME: usize = 8;
/// The longest that the writer gives way after a group: a pass that gets on so slowly has a disk that is in trouble, and
/// clients see more of a service that is slow than of one that stands.
const GIVE_WAY_MAX: Duration = Duration::from_secs(1);

impl Checkpoints {
    pub fn start(shared: &Arc<Shared>, options: &Options) -> Result<Checkpoints, StorageError> {
        let (orders, orders_end) = bounded(1);
        let (reports_end, reports) = bounded(1);
        let checkpointer = Checkpointer::open(options)?;
        let turns = Arc::new(Turns::new());
        let (thread_shared, thread_turns) = (Arc::clone(shared), Arc::clone(&turns));
        let thread = spawn("checkpoint", move || {
            while let Ok(writer) = orders_end.recv() {
                let pass = run(&checkpointer, &thread_turns, &writer, &thread_shared);
                if reports_end.send(pass).is_err() {
                    break;
                }
                writer.unpark();
            }
        })?;
        Ok(Checkpoints {
            shared: Arc::clone(shared),
            orders: Some(orders),
            reports,
            running: None,
            not_before: None,
            turns,
            thread: Some(thread),
        })
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub fn can_begin(&self, now: Instant) -> bool {
        !self.is_running() && self.not_before.is_none_or(|at| at <= now)
    }

    /// A pass over what `progress` says is there.
    pub fn begin(&mut self, asked: u64, progress: &Progress, statistics: &Statistics) {
        let orders = self.orders.as_ref().expect("orders are given only before the end");
        self.turns.written.store(0, Ordering::SeqCst);
        let changes = statistics.read(Counted::ChangesSinceCheckpoint);
        let log_frames = progress.log_frames;
        let frames = log_frames.saturating_sub(progress.checkpointed);
        let is_begun = orders.try_send(thread::current()).is_ok();
        self.running = is_begun.then_some(Running { asked, changes, log_frames, frames });
    }

    /// Returns when the writer may add another group; `progress` is what was there at the last look.
    pub fn give_way(
        &mut self,
        pace: &Pace,
        mut progress: Progress,
        keyspace: &Keyspace,
        statistics: &Statistics,
    ) -> Result<Progress, StorageError> {
        let Some(running) = &self.running else { return Ok(progress) };
        let awaited = pace.written_before_more(running.log_frames, running.frames, progress.log_frames);
        let until = clock::monotonic() + GIVE_WAY_MAX;
        while self.is_running() && self.turns.written() < awaited {
            let now = clock::monotonic();
            if now >= until {
                break;
            }
            self.turns.park(awaited, until - now);
            self.collect(statistics);
            progress = keyspace.wal_progress()?;
        }
        Ok(progress)
    }

    /// Beside a pass the writer gives way between groups, so none may be large beside the pass itself. A new small value takes
    /// two frames and some 150 bytes of its job, which makes a group of a tenth of the pass.
    pub fn group_bytes_max(&self) -> usize {
        self.running.as_ref().map_or(usize::MAX, |running| running.frames as usize * GROUP_BYTES_PER_FRAME)
    }

    /// Runs a COMMIT; the pass begins no part meanwhile.
    pub fn during_commit<T>(&self, commit: impl FnOnce() -> T) -> T {
        if !self.is_running() {
            return commit();
        }
        self.turns.is_committing.store(true, Ordering::Release);
        let outcome = commit();
        self.turns.is_committing.store(false, Ordering::Release);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
        outcome
    }

    /// Looks whether the pass has ended.
    pub fn collect(&mut self, statistics: &Statistics) {
        if let Ok(pass) = self.reports.try_recv() {
            self.ended(&pass, statistics);
        }
    }

    /// Until the pass has ended, but not longer.
    pub fn wait(&mut self, time: Duration, statistics: &Statistics) {
        if let Ok(pass) = self.reports.recv_timeout(time) {
            self.ended(&pass, statistics);
        }
    }

    fn ended(&mut self, pass: &Pass, statistics: &Statistics) {
        let running = self.running.take();
        let pages = self.turns.written();
        let frames = running.as_ref().map(|running| running.frames);
        tracing::debug!(pages, frames, upto = pass.checkpointed, ?pass.duration, "a pass of a checkpoint ended");
        let again = match (pass.is_failed, pages) {
            (true, _) => Some(FAILED_PASS_AGAIN),
            (false, 0) => Some(BLOCKED_PASS_AGAIN),
            (false, _) => None,
        };
        self.not_before = again.map(|wait| clock::monotonic() + wait);
        if let Some(running) = running.filter(|running| !pass.is_failed && pass.checkpointed >= running.log_frames) {
            let changes = statistics.read(Counted::ChangesSinceCheckpoint).saturating_sub(running.changes);
            statistics.set(Counted::ChangesSinceCheckpoint, changes);
            statistics.set(Counted::LastCheckpointSeconds, now_seconds());
            self.shared.runtime.set(Knob::CheckpointsDone, running.asked);
        }
        self.shared.latency.consider_duration(Event::Checkpoint, pass.duration);
        let duration_us = pass.duration.as_micros() as u64;
        statistics.add(Counted::CheckpointsTotal, 1);
        statistics.add(Counted::CheckpointMicrosecondsTotal, duration_us);
        statistics.measured(Measured::Checkpoint, duration_us);
        statistics.set(Counted::LastCheckpointFailed, u64::from(pass.is_failed));
    }

    pub fn end(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the checkpoint thread panicked");
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.end();
    }
}

/// One pass, on the checkpoint thread.
fn run(checkpointer: &Checkpointer, turns: &Turns, writer: &Thread, shared: &Shared) -> Pass {
    let begun = clock::monotonic();
    // The disk works on one part while the next is copied, and has never more than one.
    let mut at_disk = Part::default();
    let outcome = checkpointer.passive(&mut |file, part| {
        if at_disk.pages > 0 {
            disk::write_back(file, at_disk.offset, at_disk.length)?;
            turns.add_written(at_disk.pages, writer);
        }
        let until = clock::monotonic() + COMMIT_WAIT;
        while turns.is_committing.load(Ordering::Acquire) && clock::monotonic() < until {
            park_timeout(COMMIT_WAIT);
        }
        at_disk = part;
        disk::begin_write_back(file, part.offset, part.length)
    });
    turns.add_written(at_disk.pages, writer);
    if let Err(error) = &outcome {
        end_if_sync_failed(shared, error);
        tracing::error!(%error, "a checkpoint failed");
    }
    Pass {
        duration: clock::monotonic().duration_since(begun),
        is_failed: outcome.is_err(),
        checkpointed: outcome.map_or(0, |progress| progress.checkpointed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_is_woken_when_enough_is_written_back() {
        const ROUNDS: u64 = 20_000;
        const LONGEST: Duration = Duration::from_secs(20);
        let turns = Turns::new();
        let writer = thread::current();
        let asked = AtomicU64::new(0);
        let mut slept_through = None;
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    while asked.load(Ordering::Acquire) < round {
                        thread::yield_now();
                    }
                    turns.add_written(1, &writer);
                }
            });
            for round in 1..=ROUNDS {
                asked.store(round, Ordering::Release);
                let until = clock::monotonic() + LONGEST;
                while turns.written() < round {
                    turns.park(round, LONGEST);
                }
                if clock::monotonic() >= until {
                    slept_through = Some(round);
                    // The other thread goes on to its end.
                    asked.store(ROUNDS, Ordering::Release);
                    break;
                }
            }
        });
        assert_eq!(slept_through, None, "the round in which nobody woke the writer");
        assert_eq!(turns.awaited.load(Ordering::SeqCst), u64::MAX, "nobody waits");
    }
}
