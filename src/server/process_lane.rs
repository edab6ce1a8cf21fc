//! A lane that runs in another process, as a worker's loop sees it: jobs go out over a socketpair, each kept until its answer
//! came, so that the death of that process loses nothing and repeats nothing.
//!
//! A new process first says which of this worker's jobs its predecessor had applied. Those have lost their answer: their
//! connections close. The others are sent again, in order and before anything new.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::counters::{Global, Scoreboard};
use super::link::Link;
use super::service::{ConnectionId, Wire};

/// Worker to lane: number (u64), connection (u64), then the job. `RESENT`: it may have been running when a process died.
pub(super) const JOB: u8 = 1;
pub(super) const RESENT: u8 = 2;
/// Lane to worker: the number of the last applied job of this worker (u64). The first frame of a link.
pub(super) const HELLO: u8 = 3;
/// Lane to worker: number (u64), connection (u64), then the answer.
pub(super) const DONE: u8 = 4;

pub(super) const IDS_BYTES: usize = 16;

/// The worker's end of the lane.
pub(super) struct ProcessLane<J> {
    scoreboard: Scoreboard,
    /// `None` while the other process is dead and no new one is there.
    link: Option<Link>,
    /// True once the process at the other end has said what was applied.
    is_greeted: bool,
    /// Jobs without an answer, oldest first.
    in_flight: VecDeque<InFlight<J>>,
}

struct InFlight<J> {
    connection: ConnectionId,
    /// 0 until the job is sent for the first time.
    number: u64,
    job: J,
}

/// What came over the link.
pub(super) enum Arrived<D> {
    Answer(ConnectionId, D),
    /// The job was applied, but the process died before it answered.
    AnswerLost(ConnectionId),
}

impl<J: Wire> ProcessLane<J> {
    pub(super) fn new(scoreboard: Scoreboard) -> ProcessLane<J> {
        ProcessLane { scoreboard, link: None, is_greeted: false, in_flight: VecDeque::new() }
    }

    /// A new process is at the other end of `fd`. Whatever the old one wrote must have been read before.
    pub(super) fn connect(&mut self, fd: OwnedFd) {
        self.link = Some(Link::new(fd));
        self.is_greeted = false;
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.link.as_ref().map(AsFd::as_fd)
    }

    /// True when epoll must say when more can be sent.
    pub(super) fn wants_to_send(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.unsent() > 0)
    }

    /// Queues a job; `flush` sends it.
    pub(super) fn submit(&mut self, connection: ConnectionId, job: J) {
        self.in_flight.push_back(InFlight { connection, number: 0, job });
        if self.is_greeted {
            self.send_new(self.in_flight.len() - 1);
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.link.as_mut().map_or(Ok(()), Link::flush)
    }

    /// Reads what has come; `arrived` gets it. False when the other process is gone: then the link is closed and dropped.
    pub(super) fn receive<D: Wire>(&mut self, arrived: &mut dyn FnMut(Arrived<D>)) -> io::Result<bool> {
        let Some(mut link) = self.link.take() else { return Ok(true) };
        link.fill(READ_AHEAD_BYTES)?;
        while let Some((kind, payload)) = link.next() {
            match kind {
                DONE => arrived(self.answer(&payload)),
                HELLO => {
                    let last_applied = u64_at(&payload, 0);
                    self.greet(last_applied, &mut link, arrived);
                }
                other => unreachable!("frame kind {other} from the process lane"),
            }
        }
        link.tidy();
        if link.is_closed() {
            self.is_greeted = false;
            return Ok(false);
        }
        self.link = Some(link);
        Ok(true)
    }

    fn answer<D: Wire>(&mut self, payload: &Bytes) -> Arrived<D> {
        let (number, connection) = (u64_at(payload, 0), ConnectionId(u64_at(payload, 8)));
        // Answers come in the order of the jobs; only a refused job may be answered out of turn.
        let place = self.in_flight.iter().position(|sent| sent.number == number);
        let place = place.expect("the process lane answers each job once, and jobs are kept until then");
        self.in_flight.remove(place);
        let done = D::decode(&payload.slice(IDS_BYTES..)).expect("both ends are the same program");
        Arrived::Answer(connection, done)
    }

    fn greet<D>(&mut self, last_applied: u64, link: &mut Link, arrived: &mut dyn FnMut(Arrived<D>)) {
        self.in_flight.retain(|sent| {
            let is_applied = sent.number != 0 && sent.number <= last_applied;
            if is_applied {
                arrived(Arrived::AnswerLost(sent.connection));
            }
            !is_applied
        });
        self.is_greeted = true;
        for sent in self.in_flight.iter_mut().filter(|sent| sent.number != 0) {
            put(link, RESENT, sent);
        }
        let first_new = self.in_flight.iter().position(|sent| sent.number == 0).unwrap_or(self.in_flight.len());
        for sent in self.in_flight.range_mut(first_new..) {
            sent.number = next_number(self.scoreboard);
            put(link, JOB, sent);
        }
    }

    fn send_new(&mut self, place: usize) {
        let sent = &mut self.in_flight[place];
        sent.number = next_number(self.scoreboard);
        put(self.link.as_mut().expect("a greeted lane has a link"), JOB, sent);
    }
}

/// What one `receive` reads before it handles what it has.
const READ_AHEAD_BYTES: usize = 1 << 20;

/// The order of all jobs of all workers. Taken just before the job is sent.
fn next_number(scoreboard: Scoreboard) -> u64 {
    scoreboard.global(Global::Jobs).fetch_add(1, Ordering::SeqCst) + 1
}

fn put<J: Wire>(link: &mut Link, kind: u8, sent: &mut InFlight<J>) {
    link.put_with(kind, |out| {
        out.extend_from_slice(&sent.number.to_le_bytes());
        out.extend_from_slice(&sent.connection.0.to_le_bytes());
        sent.job.encode(out)
    });
}

pub(super) fn u64_at(payload: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*payload[at..].first_chunk().expect("frames carry their ids"))
}
