//! A worker's ends of its lanes: admission within each lane's bound, and the queue of connections that wait for it.

use std::collections::{HashMap, VecDeque};
use std::io;

use super::arrived::Arrived;
use super::config::Limits;
use super::counters::LANES_MAX;
use super::pool::{Pool, local_task};
use super::process_lane::ProcessLane;
use super::service::{ConnectionId, LaneSpec, Runs, Task, Wire};
use crate::sys::epoll::{Epoll, Watch};

pub(super) struct Lane<J, D> {
    pub(super) end: End<J, D>,
    jobs_max: usize,
    /// Admitted jobs without an answer, but for those that are parked.
    admitted: usize,
    /// Of a lane of threads: the number of its last job.
    last_number: u64,
    /// The larger ones, until they are answered: what each takes, and all together.
    large: HashMap<ConnectionId, usize>,
    large_bytes: usize,
    /// Jobs that the full lane refused, oldest first: at most one of each connection. Large ones wait by themselves, so that what waits for
    /// others of them to end holds up no small one.
    waiting: VecDeque<(ConnectionId, J)>,
    waiting_large: VecDeque<(ConnectionId, J)>,
    /// At least as many jobs that wait as this may be of connections that are gone.
    abandoned: usize,
    /// Jobs admitted in this round; handed over in one hop at its end.
    round: Vec<Task<J>>,
}

pub(super) enum End<J, D> {
    Threads(Pool<J, D>),
    Process { lane: ProcessLane<J>, watch: Watch },
}

impl<J: Send + Wire + 'static, D: Send + Wire + 'static> Lane<J, D> {
    pub(super) fn new(end: End<J, D>, spec: &LaneSpec) -> Lane<J, D> {
        Lane {
            end,
            jobs_max: spec.jobs_max,
            admitted: 0,
            last_number: 0,
            large: HashMap::new(),
            large_bytes: 0,
            waiting: VecDeque::new(),
            waiting_large: VecDeque::new(),
            abandoned: 0,
            round: Vec::new(),
        }
    }

    pub(super) fn submit(&mut self, connection: ConnectionId, job: J) {
        let is_large = job.bytes_kept() >= LARGE_BYTES;
        let waiting = if is_large { &self.waiting_large } else { &self.waiting };
        if waiting.is_empty() && self.has_room_for(&job) {
            self.admit(connection, job);
        } else if is_large {
            self.waiting_large.push_back((connection, job));
        } else {
            self.waiting.push_back((connection, job));
        }
    }

    /// A job that is admitted is run even when its connection is gone, so large ones are admitted a few at a time: whoever sends
    /// one after the other, and leaves each time, can't fill the memory. One alone may be of any size.
    fn has_room_for(&self, job: &J) -> bool {
        let bytes = job.bytes_kept();
        let has_room = bytes < LARGE_BYTES || self.large.is_empty() || self.large_bytes + bytes <= LARGE_BYTES_MAX;
        self.admitted < self.jobs_max && has_room
    }

    /// A connection is gone that may have had a job here. One that was not admitted yet is not run for nobody, and the queue
    /// stays in proportion to the connections, however quickly they come and go.
    pub(super) fn abandon(&mut self, is_there: impl Fn(ConnectionId) -> bool) {
        self.abandoned += 1;
        self.waiting_large.retain(|(connection, _)| is_there(*connection));
        if self.abandoned > ABANDONED_MIN && self.abandoned > self.waiting.len() / 2 {
            self.waiting.retain(|(connection, _)| is_there(*connection));
            self.abandoned = 0;
        }
    }

    /// True while a process is at the other end, or what it wrote before its death is not all read.
    pub(super) fn is_linked(&self) -> bool {
        matches!(&self.end, End::Process { lane, .. } if lane.fd().is_some())
    }

    /// Jobs that are admitted or wait.
    pub(super) fn len(&self) -> usize {
        self.admitted + self.waiting.len() + self.waiting_large.len()
    }

    fn admit(&mut self, connection: ConnectionId, job: J) {
        self.admitted += 1;
        let bytes = job.bytes_kept();
        if bytes >= LARGE_BYTES {
            self.large_bytes += bytes;
            self.large.insert(connection, bytes);
        }
        match &mut self.end {
            End::Threads(_) => {
                self.last_number += 1;
                self.round.push(local_task(connection, self.last_number, job));
            }
            End::Process { lane, .. } => lane.submit(connection, job),
        }
    }

    /// The parked job is not wanted any more: `Arrived::Cancelled` follows, or its answer has crossed this.
    pub(super) fn cancel(&mut self, connection: ConnectionId, number: u64) {
        match &mut self.end {
            End::Threads(pool) => pool.cancel(connection, number),
            End::Process { lane, .. } => lane.cancel(number),
        }
    }

    /// Takes all that has come, and admits those that wait. False when the process at the other end is gone.
    pub(super) fn collect(
        &mut self,
        arrived: &mut Vec<Arrived<D>>,
        is_there: impl Fn(ConnectionId) -> bool,
    ) -> io::Result<bool> {
        let before = arrived.len();
        let mut is_alive = true;
        match &mut self.end {
            End::Threads(pool) => {
                while let Some(one) = pool.next_arrived() {
                    arrived.push(one);
                }
            }
            End::Process { lane, .. } => is_alive = lane.receive(&mut |one| arrived.push(one))?,
        }
        self.admitted -= arrived[before..].iter().filter_map(Arrived::frees).count();
        // Mostly there is none.
        if !self.large.is_empty() {
            for connection in arrived[before..].iter().filter_map(Arrived::ends) {
                self.large_bytes -= self.large.remove(&connection).unwrap_or(0);
            }
        }
        self.admit_waiting(|lane| &mut lane.waiting, &is_there);
        self.admit_waiting(|lane| &mut lane.waiting_large, &is_there);
        Ok(is_alive)
    }

    fn admit_waiting(
        &mut self,
        waiting: impl Fn(&mut Self) -> &mut VecDeque<(ConnectionId, J)>,
        is_there: &impl Fn(ConnectionId) -> bool,
    ) {
        while let Some((connection, job)) = waiting(self).pop_front() {
            if !is_there(connection) {
                continue;
            }
            if !self.has_room_for(&job) {
                waiting(self).push_front((connection, job));
                break;
            }
            self.admit(connection, job);
        }
    }

    /// Says what may wait for long. It goes with the next `flush`.
    pub(super) fn tick(&mut self) {
        if let End::Process { lane, .. } = &mut self.end {
            lane.acknowledge();
        }
    }

    /// Hands over what was admitted in this round.
    pub(super) fn flush(&mut self, epoll: &Epoll, token: u64) -> io::Result<()> {
        match &mut self.end {
            End::Threads(pool) => {
                if !self.round.is_empty() {
                    pool.submit(&mut self.round);
                }
                Ok(())
            }
            End::Process { lane, watch } => {
                lane.flush()?;
                let wanted = if lane.wants_to_send() { Watch::ReadableOrWritable } else { Watch::Readable };
                if let Some(fd) = lane.fd()
                    && wanted != *watch
                {
                    epoll.modify(fd, token, wanted)?;
                    *watch = wanted;
                }
                Ok(())
            }
        }
    }

    /// A new process is at the other end.
    pub(super) fn connect(&mut self, fd: std::os::fd::OwnedFd, epoll: &Epoll, token: u64) -> io::Result<()> {
        let End::Process { lane, watch } = &mut self.end else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a link for a lane of threads"));
        };
        lane.connect(fd);
        *watch = Watch::Readable;
        epoll.add(lane.fd().expect("just connected"), token, Watch::Readable)
    }
}

/// A job of so many bytes is a large one, and what all that are admitted may have together.
const LARGE_BYTES: usize = 16 << 10;
const LARGE_BYTES_MAX: usize = 32 << 20;
/// Fewer abandoned jobs are not worth a look at the queue.
const ABANDONED_MIN: usize = 64;

/// The bounds of each lane, and that there is at most one process for lanes.
pub(super) fn check(specs: &[LaneSpec], limits: &Limits) -> Result<(), super::service::StartError> {
    let is_sound = |spec: &LaneSpec| spec.jobs_max > 0 && spec.batch_max > 0;
    if specs.iter().filter(|spec| spec.runs == Runs::Process).count() > 1 {
        return Err(super::service::StartError::new("lanes: at most one may run in a process of its own"));
    }
    if specs.len() > LANES_MAX {
        return Err(super::service::StartError::new(format!("lanes: there may be {LANES_MAX}")));
    }
    match specs.iter().find(|spec| !is_sound(spec)) {
        Some(spec) => Err(super::service::StartError::new(format!("lane {}: its limits must not be 0", spec.name))),
        None => limits.check(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::counters::Scoreboard;
    use crate::sys::socket;

    type Bytes = Vec<u8>;

    fn spec(jobs_max: usize) -> LaneSpec {
        LaneSpec { name: "test", runs: Runs::Process, jobs_max, batch_max: 64, niceness: 0 }
    }

    fn everybody(_: ConnectionId) -> bool {
        true
    }

    #[test]
    fn a_round_is_one_hop_however_many_jobs_it_has() {
        let epoll = Epoll::new(4).unwrap();
        let (pool, (jobs, _answers)) = Pool::without_threads(64);
        let mut lane: Lane<Bytes, Bytes> = Lane::new(End::Threads(pool), &spec(64));
        (0..10).for_each(|id| lane.submit(ConnectionId(id), Bytes::new()));
        assert_eq!(jobs.len(), 0, "nothing leaves before the end of the round");
        lane.flush(&epoll, 1).unwrap();
        assert_eq!((jobs.len(), jobs.recv().unwrap().tasks().len()), (1, 10));

        let (own, other) = socket::stream_pair().unwrap();
        let lane_end = ProcessLane::new(Scoreboard::new(1, 0).unwrap());
        let mut lane: Lane<Bytes, Bytes> =
            Lane::new(End::Process { lane: lane_end, watch: Watch::Readable }, &spec(64));
        lane.connect(own, &epoll, 2).unwrap();
        let mut greeting = crate::server::link::Link::new(other);
        greeting.put(crate::server::process_lane::HELLO, |out| {
            crate::server::process_lane::put_tickets(out, &crate::server::Tickets::default());
        });
        greeting.flush().unwrap();
        lane.collect(&mut Vec::new(), everybody).unwrap();
        (0..10).for_each(|id| lane.submit(ConnectionId(id), Bytes::new()));
        greeting.fill(1).unwrap();
        assert!(greeting.next().is_none(), "nothing leaves before the end of the round");
        lane.flush(&epoll, 2).unwrap();
        greeting.fill(usize::MAX).unwrap();
        assert_eq!(
            std::iter::from_fn(|| greeting.next().map(|_| ())).count(),
            1 + 10,
            "that all is registered, and the jobs"
        );
    }

    #[test]
    fn a_full_lane_makes_connections_wait_in_order_and_forgets_those_that_are_gone() {
        let epoll = Epoll::new(4).unwrap();
        let (pool, (jobs, answers)) = Pool::without_threads(2);
        let mut lane: Lane<Bytes, Bytes> = Lane::new(End::Threads(pool), &spec(2));
        (0..1000).for_each(|id| lane.submit(ConnectionId(id), Bytes::new()));
        lane.flush(&epoll, 1).unwrap();
        assert_eq!((jobs.recv().unwrap().tasks().len(), lane.len()), (2, 1000));
        // All but a few leave while they wait; others come and leave as well, again and again.
        let stays = |id: ConnectionId| id.0.is_multiple_of(100);
        (2..1000).filter(|&id| !stays(ConnectionId(id))).for_each(|_| lane.abandon(stays));
        for id in 1001..20_000 {
            lane.submit(ConnectionId(id), Bytes::new());
            lane.abandon(stays);
        }
        assert!(lane.len() < 500, "{} jobs of connections that are gone are kept", lane.len());
        (0..2).for_each(|id| answers.send(Arrived::Answer(ConnectionId(id), Bytes::new())).unwrap());
        let mut arrived = Vec::new();
        lane.collect(&mut arrived, stays).unwrap();
        lane.flush(&epoll, 1).unwrap();
        let admitted: Vec<u64> = jobs.recv().unwrap().tasks().iter().map(|task| task.id.connection.0).collect();
        assert_eq!((arrived.len(), admitted), (2, vec![100, 200]), "the oldest first");
    }

    #[test]
    fn large_jobs_are_admitted_a_few_at_a_time_and_dropped_with_their_connections_before() {
        let epoll = Epoll::new(4).unwrap();
        let (pool, (jobs, answers)) = Pool::without_threads(100);
        let mut lane: Lane<Bytes, Bytes> = Lane::new(End::Threads(pool), &spec(100));
        let large = || vec![0; 10 << 20];
        (0..10).for_each(|id| lane.submit(ConnectionId(id), large()));
        lane.flush(&epoll, 1).unwrap();
        assert_eq!((jobs.recv().unwrap().tasks().len(), lane.len()), (3, 10));
        // All are gone: what waits is dropped at once, what is admitted runs.
        lane.abandon(|_| false);
        assert_eq!(lane.len(), 3);
        lane.submit(ConnectionId(20), large());
        lane.submit(ConnectionId(21), Bytes::new());
        answers.send(Arrived::Answer(ConnectionId(0), Bytes::new())).unwrap();
        lane.collect(&mut Vec::new(), everybody).unwrap();
        lane.flush(&epoll, 1).unwrap();
        let admitted: Vec<u64> = jobs.recv().unwrap().tasks().iter().map(|task| task.id.connection.0).collect();
        assert_eq!(admitted, [21, 20], "a small one does not wait for what a large one waits for");
        // One of any size is admitted where it is alone.
        [1, 2, 20, 21].iter().for_each(|id| answers.send(Arrived::Answer(ConnectionId(*id), Bytes::new())).unwrap());
        lane.collect(&mut Vec::new(), everybody).unwrap();
        lane.submit(ConnectionId(30), vec![0; LARGE_BYTES_MAX + 1]);
        assert_eq!((lane.admitted, lane.waiting.len()), (1, 0));
    }

    #[test]
    fn lanes_without_bounds_and_a_second_process_are_refused() {
        let limits = Limits::default();
        assert!(check(&[spec(1)], &limits).is_ok());
        assert!(check(&[spec(0)], &limits).is_err());
        assert!(check(&[spec(1), spec(1)], &limits).is_err());
    }
}
