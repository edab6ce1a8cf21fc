//! Both ends of a process lane over real socketpairs, in one thread: a test decides who moves when, and who dies.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::*;
use crate::server::arrived::Arrived;
use crate::server::process_lane::ProcessLane;
use crate::server::service::{Refusal, Responder, Tickets};
use crate::sys::socket;

type Bytes = Vec<u8>;

impl Wire for Bytes {
    fn bytes_kept(&self) -> usize {
        self.len()
    }
    fn is_cancellable(&self) -> bool {
        self != b"work"
    }
    fn encode(&mut self, out: &mut Vec<u8>) -> Option<bytes::Bytes> {
        out.extend_from_slice(self);
        None
    }
    fn decode(bytes: &bytes::Bytes) -> Option<Bytes> {
        Some(bytes.to_vec())
    }
}

/// What outlives the lane's process, as a database would.
#[derive(Default)]
struct World {
    applied: Vec<(u64, Bytes)>,
    last: HashMap<u64, u64>,
    forgotten: Vec<u64>,
    /// By incarnation and number: parked jobs, and served ones whose worker has not acknowledged that.
    parked: Vec<(u64, u64)>,
    served: Vec<(u64, u64)>,
    /// What was given while nobody could be served.
    stock: Vec<Bytes>,
    /// Every gift that reached a job, with its number.
    gifts: Vec<(Bytes, u64)>,
}

/// `wait` and `work` park until somebody says `give …`, of which the latter can't be cancelled; `tell …` is a notice to all, `whisper …` to the own worker. Others come back.
struct Keeper {
    world: Rc<RefCell<World>>,
    waiting: BTreeMap<u64, TaskId>,
    is_complete: bool,
}

impl Keeper {
    /// Gives the oldest ones that wait what there is; all of it is committed before anything is said.
    fn serve(&mut self) -> Vec<(TaskId, Bytes)> {
        let mut world = self.world.borrow_mut();
        let count = if self.is_complete { world.stock.len().min(self.waiting.len()) } else { 0 };
        let gifts: Vec<Bytes> = world.stock.drain(..count).collect();
        gifts
            .into_iter()
            .map(|gift| {
                let (number, id) = self.waiting.pop_first().expect("counted");
                world.parked.retain(|parked| *parked != (id.incarnation, number));
                assert!(!world.served.contains(&(id.incarnation, number)), "nobody is served twice");
                world.served.push((id.incarnation, number));
                world.gifts.push((gift.clone(), number));
                (id, gift)
            })
            .collect()
    }
}

impl Executor for Keeper {
    type Job = Bytes;
    type Done = Bytes;

    fn run(&mut self, tasks: &[Task<Bytes>], responder: &mut dyn Responder<Bytes>) {
        for task in tasks {
            let id = task.id;
            {
                let mut world = self.world.borrow_mut();
                world.applied.push((id.number, task.job.clone()));
                let last = world.last.entry(id.incarnation).or_default();
                assert!(id.number > *last, "the jobs of one worker are run in order, each once");
                *last = id.number;
            }
            let text = String::from_utf8_lossy(&task.job).into_owned();
            match text.split_once(' ').unwrap_or((&text, "")) {
                ("wait" | "work", _) => {
                    self.world.borrow_mut().parked.push((id.incarnation, id.number));
                    self.waiting.insert(id.number, id);
                    responder.park(id);
                    continue;
                }
                ("give", gift) => self.world.borrow_mut().stock.push(gift.into()),
                ("tell", notice) => responder.notify(Audience::All, notice.as_bytes()),
                ("whisper", notice) => responder.notify(Audience::Worker(id.incarnation), notice.as_bytes()),
                _ => {}
            }
            self.serve().into_iter().for_each(|(id, gift)| responder.answer(id, gift));
            responder.answer(id, task.job.clone());
        }
    }
    fn idle(&mut self, responder: &mut dyn Responder<Bytes>) -> Option<Duration> {
        self.serve().into_iter().for_each(|(id, gift)| responder.answer(id, gift));
        None
    }
    fn tickets(&self, incarnation: u64) -> Tickets {
        let world = self.world.borrow();
        let of = |all: &[(u64, u64)]| all.iter().filter(|one| one.0 == incarnation).map(|one| one.1).collect();
        Tickets { applied: self.last_applied(incarnation), parked: of(&world.parked), served: of(&world.served) }
    }
    fn register(&mut self, task: &Task<Bytes>) {
        assert!(!self.is_complete, "before anybody is served");
        self.waiting.insert(task.id.number, task.id);
    }
    fn all_registered(&mut self) {
        self.is_complete = true;
    }
    fn cancel(&mut self, id: TaskId) {
        self.waiting.remove(&id.number);
        self.world.borrow_mut().parked.retain(|parked| *parked != (id.incarnation, id.number));
    }
    fn acknowledged(&mut self, incarnation: u64, number: u64) {
        self.world.borrow_mut().served.retain(|served| *served != (incarnation, number));
    }
    fn refuse(&self, job: &Bytes, why: Refusal) -> Bytes {
        format!("{why:?} {}", String::from_utf8_lossy(job)).into_bytes()
    }
    fn last_applied(&self, incarnation: u64) -> u64 {
        self.world.borrow().last.get(&incarnation).copied().unwrap_or(0)
    }
    fn forget(&mut self, incarnation: u64) {
        self.waiting.retain(|_, id| id.incarnation != incarnation);
        let mut world = self.world.borrow_mut();
        world.forgotten.push(incarnation);
        world.parked.retain(|one| one.0 != incarnation);
        world.served.retain(|one| one.0 != incarnation);
    }
}

/// What the keeper says goes to the links.
struct Mouth<'a>(&'a mut LinkSource<Bytes>);

impl Responder<Bytes> for Mouth<'_> {
    fn answer(&mut self, id: TaskId, done: Bytes) {
        Source::<Keeper>::answer(self.0, id, done);
    }
    fn park(&mut self, id: TaskId) {
        Source::<Keeper>::park(self.0, id, &[]);
    }
    fn notify(&mut self, to: Audience, notice: &[u8]) {
        Source::<Keeper>::notify(self.0, to, notice);
    }
}

/// The lane's process, moved by hand. Dropping it is its death.
struct Process {
    doorway: Doorway,
    source: LinkSource<Bytes>,
    keeper: Keeper,
    tasks: Vec<Task<Bytes>>,
}

impl Process {
    fn new(scoreboard: Scoreboard, limits: &Limits, batch_max: usize, world: &Rc<RefCell<World>>) -> Process {
        let (doorway, source) = LinkSource::new(scoreboard, scoreboard.lane_slot(), limits.clone(), batch_max).unwrap();
        let mut process = Process { doorway, source, keeper: keeper(world), tasks: Vec::new() };
        Source::<Keeper>::introduce(&mut process.source, &mut process.keeper);
        process
    }

    /// As the supervisor says once it has told of each worker.
    fn knows_all(self) -> Process {
        self.doorway.all_workers();
        self
    }

    /// The executor panics and is made again.
    fn panic(&mut self) {
        self.keeper = keeper(&Rc::clone(&self.keeper.world));
        Source::<Keeper>::introduce(&mut self.source, &mut self.keeper);
        self.settle();
    }

    fn take(&mut self) -> Taken {
        self.tasks.clear();
        Source::<Keeper>::take(&mut self.source, &mut self.tasks, Some(Duration::ZERO), &mut self.keeper)
    }

    /// Runs what was taken. The answers stay in the process until `settle`.
    fn run(&mut self) {
        let Process { source, keeper, tasks, .. } = self;
        if !tasks.is_empty() {
            keeper.run(tasks, &mut Mouth(source));
        }
        keeper.idle(&mut Mouth(source));
    }

    fn settle(&mut self) {
        Source::<Keeper>::settle(&mut self.source);
    }

    /// One turn of its thread. Returns how many jobs it ran, and how.
    fn turn(&mut self) -> (Taken, usize) {
        let taken = self.take();
        self.run();
        self.settle();
        (taken, self.tasks.len())
    }
}

fn keeper(world: &Rc<RefCell<World>>) -> Keeper {
    Keeper { world: Rc::clone(world), waiting: BTreeMap::new(), is_complete: false }
}

struct Worker {
    incarnation: u64,
    lane: ProcessLane<Bytes>,
    answers: Vec<String>,
    lost: Vec<u64>,
    /// All that arrived, in its order.
    heard: Vec<String>,
    /// The numbers of its parked jobs by connection, as its loop would keep them.
    parked: HashMap<u64, u64>,
}

impl Worker {
    fn new(scoreboard: Scoreboard) -> Worker {
        let incarnation = scoreboard.next_incarnation();
        let (answers, lost, heard, parked) = Default::default();
        Worker { incarnation, lane: ProcessLane::new(scoreboard), answers, lost, heard, parked }
    }

    /// A fresh pair of sockets, as the supervisor hands them out.
    fn meet(&mut self, process: &Process) {
        let (own, others) = socket::stream_pair().unwrap();
        self.lane.connect(own);
        process.doorway.worker(self.incarnation, others);
    }

    fn submit(&mut self, connection: u64, job: &str) {
        self.lane.submit(ConnectionId(connection), job.as_bytes().to_vec());
        self.lane.flush().unwrap();
    }

    fn cancel(&mut self, connection: u64) {
        self.lane.cancel(self.parked[&connection]);
        self.lane.flush().unwrap();
    }

    /// Reads and sends. False when the process is gone.
    fn turn(&mut self) -> bool {
        let Worker { answers, lost, heard, parked, .. } = self;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let is_there = self.lane.receive(&mut |arrived: Arrived<Bytes>| match arrived {
            Arrived::Answer(id, done) => {
                answers.push(text(done));
                heard.push(format!("{}: {}", id.0, answers[answers.len() - 1]));
            }
            Arrived::AnswerLost(id) => lost.push(id.0),
            Arrived::Parked(id, number) => {
                parked.insert(id.0, number);
                heard.push(format!("{}: parked", id.0));
            }
            Arrived::Lasting(id, _) => heard.push(format!("{}: lasting", id.0)),
            Arrived::ParkedAnswer(id, done) => heard.push(format!("{}: at last {}", id.0, text(done))),
            Arrived::ParkedLost(id) => heard.push(format!("{}: lost", id.0)),
            Arrived::Cancelled(id) => heard.push(format!("{}: cancelled", id.0)),
            Arrived::Notice(notice) => heard.push(format!("notice {}", text(notice.to_vec()))),
            Arrived::Missed => heard.push("missed".to_owned()),
        });
        self.lane.flush().unwrap();
        is_there.unwrap()
    }

    /// What it has heard since the last call.
    fn news(&mut self) -> Vec<String> {
        while self.turn() && socket::is_readable(self.lane.fd().unwrap()) {}
        std::mem::take(&mut self.heard)
    }
}

struct Fixture {
    scoreboard: Scoreboard,
    limits: Limits,
    world: Rc<RefCell<World>>,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture { scoreboard: Scoreboard::new(2, 0).unwrap(), limits: Limits::default(), world: Rc::default() }
    }

    fn process(&self) -> Process {
        Process::new(self.scoreboard, &self.limits, 16, &self.world)
    }

    fn applied(&self) -> Vec<String> {
        self.world.borrow().applied.iter().map(|(_, job)| String::from_utf8_lossy(job).into_owned()).collect()
    }
}

#[test]
fn after_a_death_what_was_applied_closes_its_connections_and_the_rest_is_sent_again_before_anything_new() {
    let here = Fixture::new();
    let (mut worker, mut process) = (Worker::new(here.scoreboard), here.process());
    worker.meet(&process);
    process.turn();
    worker.turn();
    for (connection, job) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        worker.submit(connection, job);
    }
    process.source.batch_max = 2;
    assert_eq!(process.take(), Taken::Batch);
    process.run();
    drop(process);
    assert!(!worker.turn(), "its death is noticed");
    worker.submit(5, "e");
    let mut next = here.process();
    worker.meet(&next);
    assert_eq!(next.turn(), (Taken::Batch, 0));
    worker.submit(6, "f");
    assert!(worker.turn());
    assert_eq!(worker.lost, [1, 2], "applied, and the answers went down with the process");
    assert_eq!(next.turn(), (Taken::OneByOne, 2), "one of these may have killed it");
    assert_eq!(next.turn(), (Taken::Batch, 2));
    worker.turn();
    assert_eq!(worker.answers, ["c", "d", "e", "f"]);
    assert_eq!(here.applied(), ["a", "b", "c", "d", "e", "f"], "each once, in order");
}

#[test]
fn answers_that_were_written_before_the_death_are_read_and_nothing_of_them_is_lost() {
    let here = Fixture::new();
    let (mut worker, mut process) = (Worker::new(here.scoreboard), here.process());
    worker.meet(&process);
    process.turn();
    worker.turn();
    worker.submit(1, "a");
    worker.submit(2, "b");
    assert_eq!(process.turn().1, 2);
    drop(process);
    while worker.turn() {}
    assert_eq!((worker.answers.len(), worker.lost.len()), (2, 0));
}

#[test]
fn a_dead_workers_whole_messages_are_run_first_and_its_half_one_is_dropped() {
    let here = Fixture::new();
    let mut process = here.process();
    let (mut dead, mut living) = (Worker::new(here.scoreboard), Worker::new(here.scoreboard));
    living.meet(&process);
    process.turn();
    let (own, others) = socket::stream_pair().unwrap();
    process.doorway.worker(dead.incarnation, others);
    // It is greeted before it sends anything.
    process.turn();
    let mut link = Link::new(own);
    let mut put = |number: u64, job: &[u8]| {
        link.put(JOB, |out| {
            out.extend_from_slice(&number.to_le_bytes());
            out.extend_from_slice(&[0; 8]);
            out.extend_from_slice(job);
        });
    };
    here.scoreboard.global(Global::Jobs).store(2, Ordering::SeqCst);
    put(1, b"whole");
    put(2, b"half");
    link.cut(3);
    link.flush().unwrap();
    drop(link);
    living.turn();
    living.submit(9, "later, elsewhere");
    for _ in 0..3 {
        process.turn();
    }
    assert_eq!(here.applied(), ["whole", "later, elsewhere"]);
    assert_eq!(here.world.borrow().forgotten, [dead.incarnation]);
    assert!(dead.turn());
}

#[test]
fn jobs_of_all_workers_run_in_the_order_of_their_numbers() {
    let here = Fixture::new();
    let mut process = here.process();
    let mut workers = [Worker::new(here.scoreboard), Worker::new(here.scoreboard)];
    workers.iter_mut().for_each(|worker| worker.meet(&process));
    process.turn();
    workers.iter_mut().for_each(|worker| assert!(worker.turn()));
    for (worker, job) in [(1, "1"), (0, "2"), (1, "3"), (0, "4"), (0, "5"), (1, "6")] {
        workers[worker].submit(0, job);
    }
    process.turn();
    assert_eq!(here.applied(), ["1", "2", "3", "4", "5", "6"]);
}

#[test]
fn a_job_that_was_numbered_after_the_look_at_the_counter_waits_for_the_next_batch() {
    let here = Fixture::new();
    let (mut worker, mut process) = (Worker::new(here.scoreboard), here.process());
    worker.meet(&process);
    process.turn();
    worker.turn();
    (0..3).for_each(|job| worker.submit(job, &job.to_string()));
    process.source.look(Some(Duration::ZERO)).unwrap();
    process.source.drain_links(&mut process.keeper).unwrap();
    assert_eq!(process.source.form_batch(&mut process.tasks, 2, usize::MAX), Taken::Batch);
    assert_eq!(process.tasks.iter().map(|task| task.id.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(process.turn().1, 1, "the third is still there");
}

#[test]
fn a_batch_has_as_many_bytes_as_the_executor_wants_and_at_least_one_job() {
    let here = Fixture::new();
    let (mut worker, mut process) = (Worker::new(here.scoreboard), here.process());
    worker.meet(&process);
    process.turn();
    worker.turn();
    (0..6).for_each(|job| worker.submit(job, "abcd"));
    process.source.look(Some(Duration::ZERO)).unwrap();
    process.source.drain_links(&mut process.keeper).unwrap();
    for (bytes_max, count) in [(0, 1), (IDS_BYTES + 4, 2), (usize::MAX, 3)] {
        process.tasks.clear();
        process.source.form_batch(&mut process.tasks, 6, bytes_max);
        assert_eq!(process.tasks.len(), count, "{bytes_max}");
    }
}

#[test]
fn what_an_executor_leaves_runs_before_what_came_later_and_outlives_its_worker() {
    let here = Fixture::new();
    let (mut worker, mut process) = (Worker::new(here.scoreboard), here.process());
    worker.meet(&process);
    process.turn();
    worker.turn();
    (1..=3).for_each(|job| worker.submit(job, &job.to_string()));
    assert_eq!(process.take(), Taken::Batch);
    let (held, left) = (process.source.pending_bytes, process.tasks.split_off(1));
    process.run();
    Source::<Keeper>::put_back(&mut process.source, left);
    process.settle();
    assert_eq!(process.source.pending_bytes, held + 2 * (IDS_BYTES + 1));
    worker.submit(4, "4");
    drop(worker);
    for _ in 0..3 {
        process.turn();
    }
    assert_eq!(here.applied(), ["1", "2", "3", "4"]);
    assert_eq!(process.source.pending_bytes, 0);
    assert_eq!(here.world.borrow().forgotten.len(), 1, "only when all of its jobs were run");
}

#[test]
fn neither_end_waits_to_send_however_slow_the_other_is() {
    let mut here = Fixture::new();
    here.limits.lane_output_bytes_pause = 1 << 20;
    here.limits.lane_input_bytes_max = 1 << 20;
    let (mut worker, mut process) = (Worker::new(here.scoreboard), here.process());
    worker.meet(&process);
    process.turn();
    worker.turn();
    let job = "x".repeat(100_000);
    // 20 MB, while the process does not move: the worker keeps what the socket does not take.
    (0..200).for_each(|connection| worker.submit(connection, &job));
    assert!(worker.lane.wants_to_send());
    // The worker sends and does not read: the process stops taking its jobs when the answers pile up, and waits for nothing.
    for _ in 0..200 {
        process.turn();
        worker.lane.flush().unwrap();
    }
    let run = here.world.borrow().applied.len();
    assert!((10..60).contains(&run), "{run} jobs were run for a worker that reads no answers");
    assert!(process.source.links[0].link.unsent() < 4 << 20);
    assert_eq!(
        process.source.epoll.wait(Some(Duration::ZERO)).unwrap().count(),
        0,
        "it would spin until the worker reads"
    );
    // Another worker is served meanwhile.
    let mut other = Worker::new(here.scoreboard);
    other.meet(&process);
    process.turn();
    other.turn();
    other.submit(0, "other");
    process.turn();
    other.turn();
    assert_eq!(other.answers, ["other"]);
    // It reads again, and all is answered, with no more turns than bytes.
    for _ in 0..2000 {
        worker.turn();
        process.turn();
    }
    assert_eq!(worker.answers.len(), 200);
    assert!(!worker.lane.wants_to_send());
}

#[test]
fn jobs_that_are_held_back_for_a_worker_that_does_not_read_let_others_pass_and_come_in_their_order() {
    let mut here = Fixture::new();
    here.limits.lane_output_bytes_pause = 1 << 20;
    let (mut worker, mut other, mut process) =
        (Worker::new(here.scoreboard), Worker::new(here.scoreboard), here.process());
    for worker in [&mut worker, &mut other] {
        worker.meet(&process);
        process.turn();
        worker.turn();
    }
    let job = |number: usize| format!("{number}{}", "x".repeat(1 << 20));
    (0..10).for_each(|number| worker.submit(1, &job(number)));
    // All of its jobs are at hand before the first is run.
    process.source.batch_max = 0;
    for _ in 0..100 {
        process.take();
        worker.lane.flush().unwrap();
    }
    assert_eq!(process.source.pending.len(), 10);
    process.source.batch_max = 4;
    for _ in 0..10 {
        process.turn();
    }
    let run = here.world.borrow().applied.len();
    assert!(run < 10, "{run} jobs were run for a worker that reads no answers");
    assert!(!process.source.pending.is_empty() && !process.source.has_work());
    other.submit(0, "other");
    process.turn();
    other.turn();
    assert_eq!(other.answers, ["other"]);
    // What it left behind at its death runs in its order, and before what is sent later.
    drop(worker);
    process.turn();
    other.submit(0, "later");
    for _ in 0..20 {
        process.turn();
    }
    let applied = here.applied();
    let places: Vec<usize> =
        applied.iter().filter_map(|job| job.strip_suffix(&"x".repeat(1 << 20))?.parse().ok()).collect();
    assert!(places.is_sorted() && places.len() >= run, "{places:?}");
    assert_eq!(applied.last().map(String::as_str), Some("later"));
    assert!(process.source.pending.is_empty());
}

#[test]
fn a_job_that_was_running_alone_at_two_deaths_is_not_run_again() {
    let here = Fixture::new();
    let id = TaskId { incarnation: 1, connection: ConnectionId(1), number: 7 };
    for death in 0..2 {
        let mut process = here.process();
        assert!(Source::<Keeper>::begin_alone(&mut process.source, id), "death {death}");
        drop(process);
        here.scoreboard.accuse_running_job();
    }
    let mut process = here.process();
    assert!(!Source::<Keeper>::begin_alone(&mut process.source, id));
    assert!(Source::<Keeper>::begin_alone(&mut process.source, TaskId { number: 8, ..id }));
    Source::<Keeper>::end_alone(&mut process.source);
    here.scoreboard.accuse_running_job();
    assert_eq!(here.scoreboard.deaths_of_job(8), 0, "it ended before the death");
}

#[test]
fn a_drained_lane_ends_when_its_last_worker_is_gone() {
    let here = Fixture::new();
    let (mut worker, mut process) = (Worker::new(here.scoreboard), here.process());
    worker.meet(&process);
    process.turn();
    worker.turn();
    process.doorway.drain();
    worker.submit(1, "last");
    assert_eq!(process.turn(), (Taken::Batch, 1));
    assert_eq!(process.turn().0, Taken::Batch);
    drop(worker);
    let ends: Vec<Taken> = (0..3).map(|_| process.take()).collect();
    assert!(ends.contains(&Taken::End), "{ends:?}");
}

#[path = "parking_tests.rs"]
mod parking;
