//! One thread's load: its connections, and the loop that keeps them busy until the run is over.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::Sender;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::draws::Draws;
use super::mix::Mix;
use super::pipe::{Listener, Pipe};
use super::schedule::Schedule;
use super::tally::Tally;
use crate::client::ClientError;
use crate::client::clock::Clock;
use crate::client::stream::Stream;

/// When a thread's part of the run is over. Requests before `Load::measured_from_ns` do not count.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// So many requests that count.
    Requests(u64),
    At {
        ns: u64,
    },
}

/// Who says when the next request is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// The last replies: a connection that has all of its replies sends again.
    Replies,
    /// A rate, whatever the replies do.
    Rate(Schedule),
}

/// What one thread has to do.
pub(super) struct Load<'a> {
    /// Its number.
    pub(super) thread: usize,
    pub(super) clock: Clock,
    pub(super) pace: Pace,
    pub(super) end: End,
    /// The warm-up's end.
    pub(super) measured_from_ns: u64,
    /// Requests on the way per connection.
    pub(super) pipeline: usize,
    pub(super) mix: &'a Mix,
    pub(super) draws: Draws,
    /// Hears now and then how far it is.
    pub(super) watcher: Option<Sender<(usize, Tally)>>,
}

/// The running loop.
struct Driver<'a> {
    load: Load<'a>,
    epoll: Epoll,
    timer: TimerFd,
    pipes: Vec<Pipe>,
    /// Connections that a fixed rate may use, in turn.
    queue: VecDeque<usize>,
    /// Requests of the rate that were sent.
    issued: u64,
    /// Requests that count and were sent.
    counted: u64,
    expected: usize,
    score: Score,
    output: Vec<u8>,
    told_ns: u64,
}

/// Where replies are counted.
struct Score {
    tally: Tally,
    measured_from_ns: u64,
    now_ns: u64,
    heard: usize,
}

const EVENTS: usize = 512;
const INPUT_BYTES: usize = 256 * 1024;
const TIMER: u64 = u64::MAX;
/// A service that says nothing for so long while it owes replies is given up.
const PATIENCE_NS: u64 = 60_000_000_000;
/// How often the watcher hears, and how long the loop sleeps at most.
const TELLING: Duration = Duration::from_millis(200);

impl Load<'_> {
    /// Runs to the end and gives what was counted.
    pub(super) fn run(self, streams: Vec<Stream>) -> Result<Tally, ClientError> {
        Driver::new(self, streams).map_err(ClientError::Io)?.run()
    }
}

impl<'a> Driver<'a> {
    fn new(load: Load<'a>, streams: Vec<Stream>) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, TIMER))?;
        let pipes = streams.into_iter().map(Pipe::new).collect::<io::Result<Vec<_>>>()?;
        // Edge-triggered and never modified: no call but the wait itself, and the wait asks no socket a second time.
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        for (index, pipe) in pipes.iter().enumerate() {
            epoll.add(pipe, EpollEvent::new(flags, index as u64))?;
        }
        let measured_from_ns = load.measured_from_ns;
        let score = Score { tally: Tally::new(load.mix.names().len()), measured_from_ns, now_ns: 0, heard: 0 };
        Ok(Self {
            epoll,
            timer,
            queue: VecDeque::with_capacity(pipes.len()),
            pipes,
            issued: 0,
            counted: 0,
            expected: 0,
            score,
            output: Vec::new(),
            told_ns: load.clock.now_ns(),
            load,
        })
    }

    fn run(mut self) -> Result<Tally, ClientError> {
        let mut input = vec![0; INPUT_BYTES];
        let mut events = vec![EpollEvent::empty(); EVENTS];
        let mut heard_ns = self.load.clock.now_ns();
        for index in 0..self.pipes.len() {
            self.feed(index)?;
        }
        loop {
            let is_over = self.pump()?;
            if self.expected == 0 && is_over {
                break;
            }
            let count = self.wait(&mut events)?;
            for event in &events[..count] {
                self.serve(event, &mut input)?;
            }
            let now_ns = self.load.clock.now_ns();
            if self.score.heard > 0 || self.expected == 0 {
                (self.score.heard, heard_ns) = (0, now_ns);
            } else if now_ns - heard_ns > PATIENCE_NS {
                return Err(ClientError::Io(io::ErrorKind::TimedOut.into()));
            }
            self.tell(now_ns);
        }
        Ok(self.score.tally)
    }

    fn serve(&mut self, event: &EpollEvent, input: &mut [u8]) -> Result<(), ClientError> {
        if event.data() == TIMER {
            return Ok(());
        }
        let index = event.data() as usize;
        let pipe = &mut self.pipes[index];
        if event.events().contains(EpollFlags::EPOLLOUT) {
            pipe.send_rest().map_err(ClientError::Io)?;
        }
        self.score.now_ns = self.load.clock.now_ns();
        let before = pipe.expected_count();
        let outcome = pipe.receive(input, &mut self.score);
        self.expected -= before - pipe.expected_count();
        outcome?;
        self.feed(index)
    }

    /// Gives a connection new requests, or notes that it is free.
    fn feed(&mut self, index: usize) -> Result<(), ClientError> {
        let pipe = &mut self.pipes[index];
        match self.load.pace {
            Pace::Replies if pipe.expected_count() == 0 => {
                let now_ns = self.load.clock.now_ns();
                let count = self.allowed(now_ns);
                self.send(index, count, |_| now_ns)
            }
            Pace::Rate(_) if !pipe.is_queued && pipe.expected_count() < self.load.pipeline => {
                pipe.is_queued = true;
                self.queue.push_back(index);
                Ok(())
            }
            Pace::Replies | Pace::Rate(_) => Ok(()),
        }
    }

    /// How many requests a connection may send now, and counts them.
    fn allowed(&mut self, now_ns: u64) -> usize {
        let is_warm_up = now_ns < self.load.measured_from_ns;
        match self.load.end {
            End::At { ns } if now_ns >= ns => 0,
            End::Requests(count) if !is_warm_up => {
                let allowed = (count - self.counted).min(self.load.pipeline as u64);
                self.counted += allowed;
                allowed as usize
            }
            End::At { .. } | End::Requests(_) => self.load.pipeline,
        }
    }

    /// Sends what the rate says is due. True when no request is left to be sent.
    fn pump(&mut self) -> Result<bool, ClientError> {
        let now_ns = self.load.clock.now_ns();
        let Pace::Rate(schedule) = self.load.pace else { return Ok(self.is_over(now_ns)) };
        let last = self.last_of(&schedule);
        let due = schedule.due(now_ns).min(last);
        while self.issued < due {
            let Some(index) = self.queue.pop_front() else { break };
            let pipe = &mut self.pipes[index];
            pipe.is_queued = false;
            // Evenly over those that are free.
            let share = (due - self.issued).div_ceil(self.queue.len() as u64 + 1) as usize;
            let count = share.min(self.load.pipeline - pipe.expected_count());
            let first = self.issued;
            self.issued += count as u64;
            self.send(index, count, |offset| schedule.intended_ns(first + offset as u64))?;
            self.feed(index)?;
        }
        if let End::At { ns } = self.load.end
            && now_ns >= ns
        {
            self.score.tally.unsent = last - self.issued;
            return Ok(true);
        }
        self.arm(&schedule, now_ns).map_err(ClientError::Io)?;
        Ok(self.issued >= last)
    }

    fn is_over(&self, now_ns: u64) -> bool {
        match self.load.end {
            End::At { ns } => now_ns >= ns,
            End::Requests(count) => self.counted >= count,
        }
    }

    /// The number of requests that the rate sends until the end.
    fn last_of(&self, schedule: &Schedule) -> u64 {
        match self.load.end {
            End::At { ns } => schedule.due(ns - 1),
            End::Requests(count) => schedule.due(self.load.measured_from_ns.saturating_sub(1)) + count,
        }
    }

    /// The wait ends when the next request is due. With no connection free a reply has to end it.
    fn arm(&self, schedule: &Schedule, now_ns: u64) -> io::Result<()> {
        if !self.queue.is_empty() {
            let left_ns = schedule.intended_ns(self.issued).saturating_sub(now_ns).max(1);
            let once = Expiration::OneShot(TimeSpec::nanoseconds(left_ns as i64));
            self.timer.set(once, TimerSetTimeFlags::empty())?;
        }
        Ok(())
    }

    fn send(&mut self, index: usize, count: usize, since_ns: impl Fn(usize) -> u64) -> Result<(), ClientError> {
        if count == 0 {
            return Ok(());
        }
        let pipe = &mut self.pipes[index];
        self.output.clear();
        for offset in 0..count {
            let command = self.load.mix.choose(&mut self.load.draws.random);
            self.load.mix.template(command).append(&mut self.load.draws, &mut self.output);
            pipe.expect(command, since_ns(offset));
        }
        self.expected += count;
        pipe.send(&self.output).map_err(ClientError::Io)
    }

    fn wait(&self, events: &mut [EpollEvent]) -> Result<usize, ClientError> {
        let timeout = EpollTimeout::try_from(TELLING).expect("it fits into milliseconds");
        match self.epoll.wait(events, timeout) {
            Err(Errno::EINTR) => Ok(0),
            other => other.map_err(|error| ClientError::Io(error.into())),
        }
    }

    fn tell(&mut self, now_ns: u64) {
        let Some(watcher) = &self.load.watcher else { return };
        if now_ns - self.told_ns < TELLING.as_nanos() as u64 {
            return;
        }
        self.told_ns = now_ns;
        if watcher.send((self.load.thread, self.score.tally.clone())).is_err() {
            self.load.watcher = None;
        }
    }
}

impl Listener for Score {
    fn hear_replies(&mut self, command: usize, since_ns: u64, count: u64) {
        self.heard += 1;
        if since_ns >= self.measured_from_ns {
            self.tally.count_replies(command, self.now_ns.saturating_sub(since_ns), count, self.now_ns);
        }
    }

    fn hear_null(&mut self, command: usize, since_ns: u64) {
        if since_ns >= self.measured_from_ns {
            self.tally.commands[command].nulls += 1;
        }
    }

    fn hear_error(&mut self, command: usize, text: &[u8]) {
        self.tally.count_error(command, text);
    }
}
