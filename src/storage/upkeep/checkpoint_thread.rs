//! The checkpoint thread, and how the writer and it share the disk.
//!
//! A pass copies what the `-wal` had when it began. The file is written back extent by extent, each while the writer is not
//! committing. The writer may append only in proportion to what has been written back (`Pace`), so the next pass is shorter.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, Thread, park_timeout};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::pace::Pace;
use super::report::{Event, Hooks};
use crate::storage::error::{Result, StorageError};
use crate::storage::sqlite::checkpoint::{Checkpointer, Extent, Progress};
use crate::storage::{Keyspace, Options};
use crate::sys::{clock, disk};

pub(super) struct CheckpointThread {
    /// An order is the thread to wake when the pass is far enough.
    orders: Option<Sender<Thread>>,
    ends: Receiver<PassEnd>,
    running: Option<Running>,
    /// The last pass failed, or readers let it copy nothing: not before then.
    not_before: Option<Instant>,
    /// The last checkpoint that was asked for and is done. 0: none yet.
    done: u64,
    turns: Arc<Turns>,
    thread: Option<JoinHandle<()>>,
}

/// What the writer and a running pass know of each other.
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
    /// The last checkpoint that had been asked for.
    asked: Option<u64>,
    log_frames: u64,
    /// What the pass has to copy.
    frames: u64,
}

struct PassEnd {
    duration: Duration,
    is_failed: bool,
    /// Of the frames in the `-wal`, those that are in the file.
    checkpointed: u64,
}

/// After a pass that failed.
const FAILED_PASS_AGAIN: Duration = Duration::from_millis(200);
/// After a pass that readers let copy nothing.
const BLOCKED_PASS_AGAIN: Duration = Duration::from_millis(20);
/// The longest that an extent waits for the writer's commit; one that takes longer waits for the disk itself.
const COMMIT_WAIT: Duration = Duration::from_millis(2);
/// See `group_bytes_max`.
const GROUP_BYTES_PER_FRAME: usize = 8;
/// The longest that the writer is throttled after a group. A pass that gets on so slowly has a disk in trouble, and clients see
/// more of a service that is slow than of one that stands.
const THROTTLE_MAX: Duration = Duration::from_secs(1);

impl CheckpointThread {
    pub(super) fn start(options: &Options, hooks: &Hooks) -> Result<CheckpointThread> {
        let (orders, orders_end) = bounded(1);
        let (ends_end, ends) = bounded(1);
        let checkpointer = Checkpointer::open(options)?;
        let turns = Arc::new(Turns::new());
        let (hooks, thread_turns) = (hooks.clone(), Arc::clone(&turns));
        let thread = spawn("checkpoint", move || {
            while let Ok(writer) = orders_end.recv() {
                let end = run(&checkpointer, &thread_turns, &writer, &hooks);
                if ends_end.send(end).is_err() {
                    break;
                }
                writer.unpark();
            }
        })?;
        Ok(CheckpointThread {
            orders: Some(orders),
            ends,
            running: None,
            not_before: None,
            done: 0,
            turns,
            thread: Some(thread),
        })
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub(super) fn done(&self) -> u64 {
        self.done
    }

    pub(super) fn can_begin(&self, now: Instant) -> bool {
        !self.is_running() && self.not_before.is_none_or(|at| at <= now)
    }

    /// A pass over what `progress` says is there. True when it has begun.
    pub(super) fn begin(&mut self, asked: Option<u64>, progress: &Progress) -> bool {
        let orders = self.orders.as_ref().expect("orders are given only before the end");
        self.turns.written.store(0, Ordering::SeqCst);
        let log_frames = progress.log_frames;
        let frames = log_frames.saturating_sub(progress.checkpointed);
        let is_begun = orders.try_send(thread::current()).is_ok();
        self.running = is_begun.then_some(Running { asked, log_frames, frames });
        is_begun
    }

    /// Write throttle: returns when the writer may append another group, with what is in the `-wal` then. `progress` is what was there
    /// at the last look.
    pub(super) fn throttle(
        &mut self,
        pace: &Pace,
        mut progress: Progress,
        base: &Keyspace,
        now: Instant,
        events: &mut Vec<Event>,
    ) -> Result<Progress> {
        let Some(running) = &self.running else { return Ok(progress) };
        let awaited = pace.written_before_more(running.log_frames, running.frames, progress.log_frames);
        let until = clock::monotonic() + THROTTLE_MAX;
        while self.is_running() && self.turns.written() < awaited {
            let at = clock::monotonic();
            if at >= until {
                break;
            }
            self.turns.park(awaited, until - at);
            self.collect(now, events);
            progress = base.wal_progress()?;
        }
        Ok(progress)
    }

    /// Whether the writer may append more of its own accord, without being throttled for it at the next look. Waits for that, but not
    /// longer than this.
    pub(super) fn may_append(&self, pace: &Pace, base: &Keyspace, longest: Duration) -> Result<bool> {
        let Some(running) = &self.running else { return Ok(true) };
        let log_frames = base.wal_progress()?.log_frames;
        let awaited = pace.written_before_more(running.log_frames, running.frames, log_frames);
        if self.turns.written() < awaited && !longest.is_zero() {
            self.turns.park(awaited, longest);
        }
        Ok(self.turns.written() >= awaited)
    }

    /// Beside a pass the writer is throttled between groups, so none may be large beside the pass itself. A new small value takes
    /// two frames and some 150 bytes of its job, which makes a group of a tenth of the pass.
    pub(super) fn group_bytes_max(&self) -> usize {
        self.running.as_ref().map_or(usize::MAX, |running| running.frames as usize * GROUP_BYTES_PER_FRAME)
    }

    /// Runs a COMMIT; the pass begins no extent meanwhile.
    pub(super) fn during_commit<T>(&self, commit: impl FnOnce() -> T) -> T {
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
    pub(super) fn collect(&mut self, now: Instant, events: &mut Vec<Event>) {
        if let Ok(end) = self.ends.try_recv() {
            events.push(self.ended(&end, now));
        }
    }

    /// Until the pass has ended, but not longer.
    pub(super) fn wait(&mut self, time: Duration, now: Instant, events: &mut Vec<Event>) {
        if self.is_running()
            && let Ok(end) = self.ends.recv_timeout(time)
        {
            events.push(self.ended(&end, now));
        }
    }

    fn ended(&mut self, end: &PassEnd, now: Instant) -> Event {
        let running = self.running.take();
        let pages = self.turns.written();
        let frames = running.as_ref().map(|running| running.frames);
        tracing::debug!(pages, frames, upto = end.checkpointed, ?end.duration, "a pass of a checkpoint ended");
        let again = match (end.is_failed, pages) {
            (true, _) => Some(FAILED_PASS_AGAIN),
            (false, 0) => Some(BLOCKED_PASS_AGAIN),
            (false, _) => None,
        };
        self.not_before = again.map(|wait| now + wait);
        let is_complete =
            !end.is_failed && running.as_ref().is_some_and(|running| end.checkpointed >= running.log_frames);
        let done = running.and_then(|running| running.asked).filter(|_| is_complete);
        self.done = done.unwrap_or(self.done);
        Event::PassEnded { duration: end.duration, is_failed: end.is_failed, is_complete, done }
    }

    pub(super) fn end(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the checkpoint thread panicked");
        }
    }
}

impl Drop for CheckpointThread {
    fn drop(&mut self) {
        self.end();
    }
}

/// One pass, on the checkpoint thread.
fn run(checkpointer: &Checkpointer, turns: &Turns, writer: &Thread, hooks: &Hooks) -> PassEnd {
    let begun = clock::monotonic();
    // The disk works on one extent while the next is copied, and never has more than one.
    let mut at_disk = Extent::default();
    let outcome = checkpointer.passive(&mut |file, extent| {
        if at_disk.pages > 0 {
            disk::write_back(file, at_disk.offset, at_disk.length)?;
            turns.add_written(at_disk.pages, writer);
        }
        let until = clock::monotonic() + COMMIT_WAIT;
        while turns.is_committing.load(Ordering::Acquire) && clock::monotonic() < until {
            park_timeout(COMMIT_WAIT);
        }
        at_disk = extent;
        disk::begin_write_back(file, extent.offset, extent.length)
    });
    turns.add_written(at_disk.pages, writer);
    if let Err(error) = &outcome {
        (hooks.failed)(error);
        tracing::error!(%error, "a checkpoint failed");
    }
    PassEnd {
        duration: clock::monotonic().duration_since(begun),
        is_failed: outcome.is_err(),
        checkpointed: outcome.map_or(0, |progress| progress.checkpointed),
    }
}

pub(super) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    crate::sys::thread::spawn(name, body).map_err(|error| StorageError::Io(format!("can't start a thread: {error}")))
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
