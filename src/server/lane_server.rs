//! The process lane's own side: one thread reads the jobs of all workers, and runs what it finds as one batch.
//!
//! Order: the thread reads the shared job counter, then drains all links, then runs the jobs up to that number in order; later
//! ones wait for the next batch. So what a dead worker left behind runs before anything that was sent later elsewhere, and
//! no worker is starved. While a batch runs, the next one gathers in the sockets.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use smallvec::SmallVec;

use super::config::Limits;
use super::counters::{Counter, Global, Scoreboard, Slot};
use super::link::Link;
use super::pool::{Admission, Source, Taken};
use super::process_lane::{
    ACKNOWLEDGED, AGAIN, CANCEL, CANCELLED, DONE, HELLO, IDS_BYTES, JOB, MISSED, NOTICE, PARKED, REGISTER, REGISTERED,
    RESENT, encode_ids, put_ids, put_tickets, u64_at,
};
use super::service::{Audience, ConnectionId, Executor, Task, TaskId, Wire};
use super::waker::{Waker, Wakes, waker};
use crate::sys::clock;
use crate::sys::epoll::{Epoll, Watch};

/// The control thread's end: how new workers and the end are told to the lane's thread.
pub(super) struct Doorway {
    news: Sender<News>,
    waker: Waker,
}

enum News {
    Worker {
        incarnation: u64,
        fd: OwnedFd,
    },
    /// Whoever was there when this process started has been told of.
    AllWorkers,
    /// No more workers will come: end when all that are left are gone.
    Drain,
}

/// More starts of workers than this at once wait in the control thread.
const NEWS_MAX: usize = 1024;

impl Doorway {
    pub(super) fn worker(&self, incarnation: u64, fd: OwnedFd) {
        self.tell(News::Worker { incarnation, fd });
    }

    pub(super) fn all_workers(&self) {
        self.tell(News::AllWorkers);
    }

    pub(super) fn drain(&self) {
        self.tell(News::Drain);
    }

    fn tell(&self, news: News) {
        // A lane thread that is gone ends the process; nobody is left to be told.
        if self.news.send(news).is_ok() {
            self.waker.wake();
        }
    }
}

/// Jobs of all workers over their links. `J` is the job's type.
pub(super) struct LinkSource<J> {
    scoreboard: Scoreboard,
    slot: Slot,
    limits: Limits,
    batch_max: usize,
    epoll: Epoll,
    news: Receiver<News>,
    wakes: Wakes,
    links: Vec<WorkerLink>,
    /// Jobs that were read but belong to a later batch: those of a link are in order.
    pending: VecDeque<Pending<J>>,
    pending_bytes: usize,
    /// Of the tasks of the last batch, in their order.
    taken_bytes: Vec<usize>,
    /// True once all workers are known that were there at the start.
    knows_all: bool,
    /// True once the executor was told that all of them have registered.
    is_registered: bool,
    is_draining: bool,
}

struct WorkerLink {
    incarnation: u64,
    link: Link,
    /// What epoll watches for: with unsent answers also for room to send them.
    watch: Watch,
    is_readable: bool,
    /// True until it has registered its parked jobs with the executor.
    is_awaited: bool,
    /// Its parked jobs, by number: neither answered nor cancelled.
    parked: BTreeMap<u64, ConnectionId>,
    /// True from the first notice that was dropped until one is given again.
    is_missing: bool,
    /// Its unsent bytes up to the last notice of this turn that precedes its answers.
    notice_bytes: usize,
    /// True once this turn has an answer for it.
    has_answers: bool,
}

struct Pending<J> {
    task: Task<J>,
    bytes: usize,
    is_resent: bool,
}

const WAKES: u64 = 0;

impl<J: Wire> LinkSource<J> {
    pub(super) fn new(
        scoreboard: Scoreboard,
        slot: Slot,
        limits: Limits,
        batch_max: usize,
    ) -> io::Result<(Doorway, LinkSource<J>)> {
        let (waker, wakes) = waker()?;
        let (news_end, news) = bounded(NEWS_MAX);
        let epoll = Epoll::new(128)?;
        epoll.add(&wakes, WAKES, Watch::Readable)?;
        let source = LinkSource {
            scoreboard,
            slot,
            limits,
            batch_max,
            epoll,
            news,
            wakes,
            links: Vec::new(),
            pending: VecDeque::new(),
            pending_bytes: 0,
            taken_bytes: Vec::new(),
            knows_all: false,
            is_registered: false,
            is_draining: false,
        };
        Ok((Doorway { news: news_end, waker }, source))
    }

    /// One look at epoll: notes who is readable, sends what could not be sent before. True when somebody woke it.
    fn look(&mut self, wait: Option<Duration>) -> io::Result<bool> {
        let mut is_rung = false;
        let links = &mut self.links;
        for event in self.epoll.wait(wait)? {
            if event.token == WAKES {
                is_rung = true;
            } else if let Some(worker) = links.iter_mut().find(|worker| worker.incarnation == event.token) {
                worker.is_readable |= event.is_readable || event.is_dead;
                if event.is_writable || event.is_dead {
                    worker.link.flush()?;
                }
            }
        }
        Ok(is_rung)
    }

    fn hear_news<E: Executor>(&mut self, executor: &mut E) -> io::Result<()> {
        self.wakes.clear();
        while let Ok(news) = self.news.try_recv() {
            match news {
                News::Drain => self.is_draining = true,
                News::AllWorkers => self.knows_all = true,
                News::Worker { incarnation, fd } => {
                    let mut link = Link::new(fd);
                    link.put(HELLO, |out| put_tickets(out, &executor.tickets(incarnation)));
                    link.flush()?;
                    executor.meet(incarnation);
                    self.epoll.add(&link, incarnation, Watch::Readable)?;
                    self.links.push(WorkerLink {
                        incarnation,
                        link,
                        watch: Watch::Readable,
                        is_readable: false,
                        // One that comes later is new, and has nothing parked.
                        is_awaited: !self.knows_all,
                        parked: BTreeMap::new(),
                        is_missing: false,
                        notice_bytes: 0,
                        has_answers: false,
                    });
                }
            }
        }
        Ok(())
    }

    /// Reads every readable link until it would block, or enough is held.
    fn drain_links<E: Executor<Job = J>>(&mut self, executor: &mut E) -> io::Result<()> {
        for worker in &mut self.links {
            // Back-pressure: answers pile up, so no more questions; and a batch's worth at hand is enough.
            if !worker.is_readable
                || worker.link.unsent() > self.limits.lane_output_bytes_pause
                || self.pending_bytes > self.limits.lane_input_bytes_max
            {
                continue;
            }
            worker.link.fill(self.limits.lane_input_bytes_max)?;
            worker.is_readable = false;
            while let Some((kind, payload)) = worker.link.next() {
                let id = TaskId {
                    incarnation: worker.incarnation,
                    connection: ConnectionId(u64_at(&payload, 8)),
                    number: u64_at(&payload, 0),
                };
                let task = || Task {
                    id,
                    job: J::decode(&payload.slice(IDS_BYTES..)).expect("both ends are the same program"),
                };
                match kind {
                    JOB | RESENT => {
                        self.pending_bytes += payload.len();
                        let (bytes, is_resent) = (payload.len(), kind == RESENT);
                        self.pending.push_back(Pending { task: task(), bytes, is_resent });
                    }
                    REGISTER => {
                        executor.register(&task());
                        worker.parked.insert(id.number, id.connection);
                    }
                    REGISTERED => worker.is_awaited = false,
                    CANCEL => {
                        // Else it was answered before, and the answer is on its way.
                        if worker.parked.remove(&id.number).is_some() {
                            executor.cancel(id);
                            put_ids(&mut worker.link, CANCELLED, id.number, id.connection);
                        }
                    }
                    ACKNOWLEDGED => executor.acknowledged(id.incarnation, id.number),
                    other => unreachable!("frame kind {other} from a worker"),
                }
            }
            worker.link.tidy();
        }
        self.leave_dead_links(executor)?;
        let is_awaited = |worker: &WorkerLink| worker.is_awaited && !worker.link.is_closed();
        if !self.is_registered && self.knows_all && !self.links.iter().any(is_awaited) {
            self.is_registered = true;
            executor.all_registered();
        }
        Ok(())
    }

    fn leave_dead_links<E: Executor>(&mut self, executor: &mut E) -> io::Result<()> {
        let pending = &self.pending;
        let epoll = &self.epoll;
        let mut result = Ok(());
        self.links.retain(|worker| {
            let is_done = worker.link.is_closed()
                && !pending.iter().any(|pending| pending.task.id.incarnation == worker.incarnation);
            if is_done {
                result = epoll.remove(&worker.link);
                executor.forget(worker.incarnation);
            }
            !is_done
        });
        result
    }

    /// Moves the jobs up to `number` into `tasks`, in order, within the bounds of a batch. Those of a worker whose answers pile up stay:
    /// nobody can know yet that they come before others'. A dead one's answers are dropped, so its jobs run.
    fn form_batch(&mut self, tasks: &mut Vec<Task<J>>, number: u64, bytes_max: usize) -> Taken {
        self.pending.make_contiguous().sort_by_key(|pending| pending.task.id.number);
        let slow = self.slow_readers();
        let mut held = Vec::new();
        let mut is_alone = None;
        let mut bytes = 0;
        self.taken_bytes.clear();
        while let Some(pending) = self.pending.pop_front() {
            let is_over = tasks.len() >= self.batch_max || bytes > bytes_max || pending.task.id.number > number;
            let is_held = slow.contains(&pending.task.id.incarnation);
            if is_over || !is_held && *is_alone.get_or_insert(pending.is_resent) != pending.is_resent {
                self.pending.push_front(pending);
                break;
            }
            if is_held {
                held.push(pending);
                continue;
            }
            bytes += pending.bytes;
            self.taken_bytes.push(pending.bytes);
            tasks.push(pending.task);
        }
        held.into_iter().rev().for_each(|pending| self.pending.push_front(pending));
        self.pending_bytes -= bytes;
        if is_alone == Some(true) { Taken::OneByOne } else { Taken::Batch }
    }

    fn link_of(&mut self, incarnation: u64) -> Option<&mut WorkerLink> {
        self.links.iter_mut().find(|worker| worker.incarnation == incarnation)
    }

    /// The workers that leave more answers unread than may wait for them.
    fn slow_readers(&self) -> SmallVec<[u64; 4]> {
        let is_slow = |worker: &&WorkerLink| worker.link.unsent() > self.limits.lane_output_bytes_pause;
        self.links.iter().filter(is_slow).map(|worker| worker.incarnation).collect()
    }

    /// True when some job may be run.
    fn has_work(&self) -> bool {
        let slow = self.slow_readers();
        self.pending.iter().any(|pending| !slow.contains(&pending.task.id.incarnation))
    }

    fn try_take<E: Executor<Job = J>>(
        &mut self,
        tasks: &mut Vec<Task<J>>,
        wait: Option<Duration>,
        executor: &mut E,
    ) -> io::Result<Taken> {
        let mut is_rung = self.look(if self.has_work() { Some(Duration::ZERO) } else { wait })?;
        self.scoreboard.set(self.slot, Counter::HeartbeatMs, clock::uptime_ms());
        let number = self.scoreboard.global(Global::Jobs).load(Ordering::SeqCst);
        // Whoever took a number up to this one, and sent, is readable by now.
        is_rung |= self.look(Some(Duration::ZERO))?;
        if is_rung {
            self.hear_news(executor)?;
        }
        self.drain_links(executor)?;
        if self.is_draining && self.links.is_empty() && self.pending.is_empty() {
            return Ok(Taken::End);
        }
        Ok(self.form_batch(tasks, number, self.limits.lane_input_bytes_max.min(executor.batch_bytes_max())))
    }

    /// The notices that precede the answers of this turn, to all workers before the first answer leaves: what a client does after its
    /// answer comes behind them on every worker. A single link with answers keeps that order by itself, as it is sent last.
    fn send_notices(&mut self) -> io::Result<()> {
        let is_one_answered = self.links.iter().filter(|worker| worker.has_answers).count() == 1;
        for worker in &mut self.links {
            let notice_bytes = std::mem::take(&mut worker.notice_bytes);
            let has_answers = std::mem::take(&mut worker.has_answers);
            if !(has_answers && is_one_answered) {
                worker.link.flush_first(notice_bytes)?;
            }
        }
        Ok(())
    }

    fn settle_links(&mut self) -> io::Result<()> {
        self.send_notices()?;
        for worker in &mut self.links {
            worker.link.flush()?;
            let watch = match worker.link.unsent() {
                0 => Watch::Readable,
                bytes if bytes <= self.limits.lane_output_bytes_pause => Watch::ReadableOrWritable,
                // Not read until it reads: `drain_links` passes it over.
                _ => Watch::Writable,
            };
            if watch != worker.watch {
                self.epoll.modify(&worker.link, worker.incarnation, watch)?;
                worker.watch = watch;
            }
        }
        Ok(())
    }
}

impl<E: Executor> Source<E> for LinkSource<E::Job>
where
    E::Job: Wire,
    E::Done: Wire,
{
    fn take(&mut self, tasks: &mut Vec<Task<E::Job>>, wait: Option<Duration>, executor: &mut E) -> Taken {
        self.try_take(tasks, wait, executor).unwrap_or_else(|error| end_process(&error))
    }

    fn answer(&mut self, id: TaskId, mut done: E::Done) -> bool {
        // The answer to a dead worker's job is nobody's.
        let Some(worker) = self.link_of(id.incarnation) else { return true };
        worker.has_answers = true;
        worker.link.put_with(DONE, |out| {
            encode_ids(out, id.number, id.connection);
            done.encode(out)
        });
        worker.parked.is_empty() || worker.parked.remove(&id.number).is_none()
    }

    fn park(&mut self, id: TaskId, _: &[Task<E::Job>]) {
        if let Some(worker) = self.link_of(id.incarnation) {
            worker.parked.insert(id.number, id.connection);
            put_ids(&mut worker.link, PARKED, id.number, id.connection);
        }
    }

    fn notify(&mut self, to: Audience, notice: &[u8]) {
        let bytes_max = self.limits.lane_notice_bytes_max;
        let is_meant = |worker: &&mut WorkerLink| match to {
            Audience::All => true,
            Audience::Worker(incarnation) => worker.incarnation == incarnation,
        };
        for worker in self.links.iter_mut().filter(is_meant) {
            match Admission::of(worker.link.unsent(), notice.len(), bytes_max, &mut worker.is_missing) {
                Admission::Say => worker.link.put(NOTICE, |out| out.extend_from_slice(notice)),
                Admission::BeginGap => worker.link.put(MISSED, |_| {}),
                Admission::Drop => {}
            }
            if !worker.has_answers {
                worker.notice_bytes = worker.link.unsent();
            }
        }
    }

    /// At the start there are no workers yet. After a panic they are all there, and register their parked jobs again.
    fn introduce(&mut self, executor: &mut E) {
        for worker in &mut self.links {
            executor.meet(worker.incarnation);
            let served = executor.tickets(worker.incarnation).served;
            if served.iter().any(|number| worker.parked.contains_key(number)) {
                end_process(&io::Error::other("parked jobs were served, but not answered"));
            }
            worker.is_awaited = true;
            worker.link.put(AGAIN, |_| {});
        }
        self.is_registered = false;
    }

    fn put_back(&mut self, tasks: Vec<Task<E::Job>>) {
        // Those that run alone are never left, so none of these was sent again.
        let first = self.taken_bytes.len() - tasks.len();
        for (task, &bytes) in tasks.into_iter().zip(&self.taken_bytes[first..]).rev() {
            self.pending_bytes += bytes;
            self.pending.push_front(Pending { task, bytes, is_resent: false });
        }
    }

    fn settle(&mut self) {
        self.settle_links().unwrap_or_else(|error| end_process(&error));
    }

    fn begin_alone(&mut self, id: TaskId) -> bool {
        let is_poison = self.scoreboard.deaths_of_job(id.number) >= 2;
        if !is_poison {
            self.scoreboard.global(Global::RunningAlone).store(id.number, Ordering::SeqCst);
        }
        !is_poison
    }

    fn check_not_applied(&self, executor: &E, tasks: &[Task<E::Job>]) {
        // Only a worker's closing the connection is right then, and the next process's greeting makes it do so.
        if tasks.iter().any(|task| task.id.number <= executor.last_applied(task.id.incarnation)) {
            end_process(&io::Error::other("jobs were applied, but not answered"));
        }
    }

    fn end_alone(&mut self) {
        self.scoreboard.global(Global::RunningAlone).store(0, Ordering::SeqCst);
    }
}

/// A link fails in a way that is not its other end's death, or answers are lost: this process starts anew, and the workers
/// hear what was applied.
fn end_process(error: &io::Error) -> ! {
    tracing::error!(%error, "the process lane can't go on");
    crate::sys::process::exit_at_once(1)
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
