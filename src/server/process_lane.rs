//! A lane that runs in another process, as a worker's loop sees it: jobs go out over a socketpair, each kept until its answer
//! came, so that the death of that process loses nothing and repeats nothing.
//!
//! A new process first says which of this worker's jobs its predecessor had applied. Those have lost their answer: their
//! connections close. The others are sent again, in order and before anything new; those that are parked only register again.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::arrived::Arrived;
use super::counters::{Global, Scoreboard};
use super::link::Link;
use super::service::{ConnectionId, Fate, Tickets, Wire};

/// Worker to lane: number (u64), connection (u64), then the job. `RESENT`: it may have been running when a process died.
pub(super) const JOB: u8 = 1;
pub(super) const RESENT: u8 = 2;
/// Worker to lane, as a job: it is parked already. After the last one of a start: `REGISTERED`.
pub(super) const REGISTER: u8 = 3;
pub(super) const REGISTERED: u8 = 4;
/// Worker to lane: number, connection. The parked job is not wanted any more: `CANCELLED` follows, or its answer has crossed this.
pub(super) const CANCEL: u8 = 5;
/// Worker to lane: number, connection. The answer to this parked job has come, or nobody waits for it.
pub(super) const ACKNOWLEDGED: u8 = 6;
/// Lane to worker: what has become of this worker's jobs (`put_tickets`). The first frame of a link.
pub(super) const HELLO: u8 = 7;
/// Lane to worker: number, connection, then the answer.
pub(super) const DONE: u8 = 8;
/// Lane to worker: number, connection. The job has no answer yet.
pub(super) const PARKED: u8 = 9;
pub(super) const CANCELLED: u8 = 10;
/// Lane to worker: the executor is a new one, and parked jobs have to be registered again.
pub(super) const AGAIN: u8 = 11;
/// Lane to worker: what was not asked for; and that some of it was dropped here.
pub(super) const NOTICE: u8 = 12;
pub(super) const MISSED: u8 = 13;

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
    /// Jobs that the other process has parked, by number: in their order.
    parked: BTreeMap<u64, Parked<J>>,
    /// Parked jobs whose answers have come. The other process hears so with the next job, or at a tick: it has no hurry, and would only be
    /// woken.
    served: Vec<(u64, ConnectionId)>,
}

struct InFlight<J> {
    connection: ConnectionId,
    /// 0 until the job is sent for the first time.
    number: u64,
    job: J,
}

struct Parked<J> {
    connection: ConnectionId,
    /// `None` once it is cancelled: then it is not registered again.
    job: Option<J>,
}

impl<J: Wire> ProcessLane<J> {
    pub(super) fn new(scoreboard: Scoreboard) -> ProcessLane<J> {
        ProcessLane {
            scoreboard,
            link: None,
            is_greeted: false,
            in_flight: VecDeque::new(),
            parked: BTreeMap::new(),
            served: Vec::new(),
        }
    }

    /// A new process is at the other end of `fd`. Whatever the old one wrote must have been read before.
    pub(super) fn connect(&mut self, fd: OwnedFd) {
        self.link = Some(Link::new(fd));
        self.is_greeted = false;
        // The new one says itself what was served.
        self.served.clear();
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
            self.acknowledge();
            self.send_new(self.in_flight.len() - 1);
        }
    }

    /// The parked job is not wanted any more. Either its answer comes, or the word that it is cancelled; where no process is there,
    /// once the next one has said which were served.
    pub(super) fn cancel(&mut self, number: u64) {
        let Some(parked) = self.parked.get_mut(&number) else { return };
        if parked.job.take().is_some() && self.is_greeted {
            let link = self.link.as_mut().expect("a greeted lane has a link");
            put_ids(link, CANCEL, number, parked.connection);
        }
    }

    /// Queues what is still to be said of answers that have come.
    pub(super) fn acknowledge(&mut self) {
        let Some(link) = &mut self.link else { return };
        self.served.drain(..).for_each(|(number, connection)| put_ids(link, ACKNOWLEDGED, number, connection));
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
                PARKED => {
                    let sent = self.take_in_flight(u64_at(&payload, 0));
                    arrived(self.park(sent));
                }
                CANCELLED => {
                    let parked =
                        self.parked.remove(&u64_at(&payload, 0)).expect("it is kept until its outcome is known");
                    arrived(Arrived::Cancelled(parked.connection));
                }
                NOTICE => arrived(Arrived::Notice(payload)),
                MISSED => arrived(Arrived::Missed),
                HELLO => {
                    let tickets = tickets_of(&payload).in_order();
                    arrived(Arrived::Missed);
                    self.greet(&tickets, &mut link, arrived);
                }
                AGAIN => {
                    arrived(Arrived::Missed);
                    self.register(&mut link);
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
        let done = D::decode(&payload.slice(IDS_BYTES..)).expect("both ends are the same program");
        if self.parked.remove(&number).is_some() {
            self.served.push((number, connection));
            return Arrived::ParkedAnswer(connection, done);
        }
        self.take_in_flight(number);
        Arrived::Answer(connection, done)
    }

    fn park<D>(&mut self, InFlight { connection, number, job }: InFlight<J>) -> Arrived<D> {
        let parked = if job.is_cancellable() { Arrived::Parked } else { Arrived::Lasting };
        self.parked.insert(number, Parked { connection, job: Some(job) });
        parked(connection, number)
    }

    fn take_in_flight(&mut self, number: u64) -> InFlight<J> {
        // Answers come in the order of the jobs; only a refused job may be answered out of turn.
        let place = self.in_flight.iter().position(|sent| sent.number == number);
        let place = place.expect("the process lane answers each job once, and jobs are kept until then");
        self.in_flight.remove(place).expect("just found")
    }

    fn greet<D>(&mut self, tickets: &Tickets, link: &mut Link, arrived: &mut dyn FnMut(Arrived<D>)) {
        // Its record can go, whether or not somebody here still waits for the answer that is lost.
        for &number in &tickets.served {
            put_ids(link, ACKNOWLEDGED, number, ConnectionId(0));
            if let Some(parked) = self.parked.remove(&number) {
                arrived(Arrived::ParkedLost(parked.connection));
            }
        }
        for sent in std::mem::take(&mut self.in_flight) {
            match tickets.fate(sent.number) {
                Fate::NotApplied => self.in_flight.push_back(sent),
                Fate::Parked => arrived(self.park(sent)),
                Fate::AnswerLost => arrived(Arrived::AnswerLost(sent.connection)),
            }
        }
        // Nobody is left who could serve these.
        self.parked.retain(|_, parked| {
            if parked.job.is_none() {
                arrived(Arrived::Cancelled(parked.connection));
            }
            parked.job.is_some()
        });
        self.is_greeted = true;
        self.register(link);
        for sent in self.in_flight.iter_mut().filter(|sent| sent.number != 0) {
            put(link, RESENT, sent.number, sent.connection, &mut sent.job);
        }
        let first_new = self.in_flight.iter().position(|sent| sent.number == 0).unwrap_or(self.in_flight.len());
        for sent in self.in_flight.range_mut(first_new..) {
            sent.number = next_number(self.scoreboard);
            put(link, JOB, sent.number, sent.connection, &mut sent.job);
        }
    }

    /// Those that are cancelled are not registered: with a process that goes on, the word on them is still to come.
    fn register(&mut self, link: &mut Link) {
        for (&number, parked) in &mut self.parked {
            if let Some(job) = &mut parked.job {
                put(link, REGISTER, number, parked.connection, job);
            }
        }
        put_ids(link, REGISTERED, 0, ConnectionId(0));
    }

    fn send_new(&mut self, place: usize) {
        let sent = &mut self.in_flight[place];
        sent.number = next_number(self.scoreboard);
        let link = self.link.as_mut().expect("a greeted lane has a link");
        put(link, JOB, sent.number, sent.connection, &mut sent.job);
    }
}

/// What one `receive` reads before it handles what it has.
const READ_AHEAD_BYTES: usize = 1 << 20;

/// The order of all jobs of all workers. Taken just before the job is sent.
fn next_number(scoreboard: Scoreboard) -> u64 {
    scoreboard.global(Global::Jobs).fetch_add(1, Ordering::SeqCst) + 1
}

fn put<J: Wire>(link: &mut Link, kind: u8, number: u64, connection: ConnectionId, job: &mut J) {
    link.put_with(kind, |out| {
        encode_ids(out, number, connection);
        job.encode(out)
    });
}

/// A frame that says nothing but which job.
pub(super) fn put_ids(link: &mut Link, kind: u8, number: u64, connection: ConnectionId) {
    link.put(kind, |out| encode_ids(out, number, connection));
}

/// What every frame about a job begins with: `IDS_BYTES`.
pub(super) fn encode_ids(out: &mut Vec<u8>, number: u64, connection: ConnectionId) {
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&connection.0.to_le_bytes());
}

/// The last applied number, the count of parked ones, those, then the served ones: each a u64.
pub(super) fn put_tickets(out: &mut Vec<u8>, tickets: &Tickets) {
    let head = [tickets.applied, tickets.parked.len() as u64];
    for number in head.iter().chain(&tickets.parked).chain(&tickets.served) {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn tickets_of(payload: &[u8]) -> Tickets {
    let numbers: Vec<u64> = (0..payload.len()).step_by(size_of::<u64>()).map(|at| u64_at(payload, at)).collect();
    let (parked, served) = numbers[2..].split_at(numbers[1] as usize);
    Tickets { applied: numbers[0], parked: parked.to_vec(), served: served.to_vec() }
}

#[cfg(test)]
impl<J> ProcessLane<J> {
    pub(super) fn has_in_flight(&self) -> bool {
        !self.in_flight.is_empty()
    }
}

pub(super) fn u64_at(payload: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*payload[at..].first_chunk().expect("frames carry their ids"))
}
