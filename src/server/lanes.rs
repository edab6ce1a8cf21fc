//! A worker's ends of its lanes: admission within each lane's bound, and the queue of connections that wait for it.

use std::collections::VecDeque;
use std::io;

use super::config::Limits;
use super::pool::{Pool, local_task};
use super::process_lane::{Arrived, ProcessLane};
use super::service::{ConnectionId, LaneSpec, Runs, Task, Wire};
use super::sys::epoll::{Epoll, Watch};

pub(super) struct Lane<J, D> {
    pub(super) end: End<J, D>,
    jobs_max: usize,
    /// Admitted jobs without an answer.
    admitted: usize,
    /// Jobs that the full lane refused, oldest first: at most one of each connection.
    waiting: VecDeque<(ConnectionId, J)>,
    /// At least as many jobs in `waiting` as this may be of connections that are gone.
    abandoned: usize,
    /// Jobs admitted in this round; handed over in one hop at its end.
    round: Vec<Task<J>>,
}

pub(super) enum End<J, D> {
    Threads(Pool<J, D>),
    Process { lane: ProcessLane, watch: Watch },
}

impl<J: Send + Wire + 'static, D: Send + Wire + 'static> Lane<J, D> {
    pub(super) fn new(end: End<J, D>, spec: &LaneSpec) -> Lane<J, D> {
        Lane { end, jobs_max: spec.jobs_max, admitted: 0, waiting: VecDeque::new(), abandoned: 0, round: Vec::new() }
    }

    pub(super) fn submit(&mut self, connection: ConnectionId, job: J) {
        if self.admitted < self.jobs_max && self.waiting.is_empty() {
            self.admit(connection, job);
        } else {
            self.waiting.push_back((connection, job));
        }
    }

    /// A connection is gone that may have had a job here. One that was not admitted yet is not run for nobody, and the queue
    /// stays in proportion to the connections, however quickly they come and go.
    pub(super) fn abandon(&mut self, is_there: impl Fn(ConnectionId) -> bool) {
        self.abandoned += 1;
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
        self.admitted + self.waiting.len()
    }

    fn admit(&mut self, connection: ConnectionId, job: J) {
        self.admitted += 1;
        match &mut self.end {
            End::Threads(_) => self.round.push(local_task(connection, job)),
            End::Process { lane, .. } => lane.submit(connection, &job),
        }
    }

    /// Takes all answers that have come, and admits those that wait. False when the process at the other end is gone.
    pub(super) fn collect(
        &mut self,
        arrived: &mut Vec<Arrived<D>>,
        is_there: impl Fn(ConnectionId) -> bool,
    ) -> io::Result<bool> {
        let before = arrived.len();
        let mut is_alive = true;
        match &mut self.end {
            End::Threads(pool) => {
                while let Some((connection, done)) = pool.next_answer() {
                    arrived.push(Arrived::Answer(connection, done));
                }
            }
            End::Process { lane, .. } => is_alive = lane.receive(&mut |one| arrived.push(one))?,
        }
        self.admitted -= arrived.len() - before;
        while self.admitted < self.jobs_max
            && let Some((connection, job)) = self.waiting.pop_front()
        {
            if is_there(connection) {
                self.admit(connection, job);
            }
        }
        Ok(is_alive)
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

/// Fewer abandoned jobs are not worth a look at the queue.
const ABANDONED_MIN: usize = 64;

/// The bounds of each lane, and that there is at most one process for lanes.
pub(super) fn check(specs: &[LaneSpec], limits: &Limits) -> Result<(), super::service::StartError> {
    let is_sound = |spec: &LaneSpec| spec.jobs_max > 0 && spec.batch_max > 0;
    if specs.iter().filter(|spec| spec.runs == Runs::Process).count() > 1 {
        return Err(super::service::StartError::new("lanes: at most one may run in a process of its own"));
    }
    match specs.iter().find(|spec| !is_sound(spec)) {
        Some(spec) => Err(super::service::StartError::new(format!("lane {}: its limits must not be 0", spec.name))),
        None => limits.check(),
    }
}
