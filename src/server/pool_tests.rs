//! What a panic, a poisonous job and a full queue cost: the thread's body on a scripted source, and a real pool.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::*;
use crate::server::waker::waker;

fn task(number: u64, job: &'static str) -> Task<&'static str> {
    Task { id: TaskId { incarnation: 1, connection: ConnectionId(number), number }, job }
}

/// These jobs never leave the process.
macro_rules! stays_here {
    ($($job:ty)*) => {$(
        impl Wire for $job {
            fn encode(&mut self, _: &mut Vec<u8>) -> Option<Bytes> {
                unreachable!("no other process is there")
            }
            fn decode(_: &Bytes) -> Option<Self> {
                unreachable!("no other process is there")
            }
        }
    )*};
}
stays_here!(&'static str u64);

/// Gives the batches one after the other, and writes down all that is asked of it.
#[derive(Default)]
struct Script {
    batches: VecDeque<(Taken, Vec<Task<&'static str>>)>,
    poisonous: Vec<u64>,
    answers: Vec<(u64, String)>,
    checked: RefCell<Vec<Vec<u64>>>,
    alone: Vec<u64>,
}

impl Source<Actor> for Script {
    fn take(&mut self, tasks: &mut Vec<Task<&'static str>>, _wait: Option<Duration>, _executor: &mut Actor) -> Taken {
        let (taken, batch) = self.batches.pop_front().unwrap_or((Taken::End, Vec::new()));
        *tasks = batch;
        taken
    }
    fn answer(&mut self, id: TaskId, done: String) -> bool {
        self.answers.push((id.number, done));
        true
    }
    fn park(&mut self, _id: TaskId, _batch: &[Task<&'static str>]) {}
    fn notify(&mut self, _to: Audience, _notice: &[u8]) {}
    fn put_back(&mut self, tasks: Vec<Task<&'static str>>) {
        self.batches.push_front((Taken::Batch, tasks));
    }
    fn settle(&mut self) {}
    fn begin_alone(&mut self, id: TaskId) -> bool {
        self.alone.push(id.number);
        !self.poisonous.contains(&id.number)
    }
    fn check_not_applied(&self, _executor: &Actor, tasks: &[Task<&'static str>]) {
        self.checked.borrow_mut().push(tasks.iter().map(|task| task.id.number).collect());
    }
}

#[derive(Default)]
struct Stage {
    runs: RefCell<Vec<&'static str>>,
    living: Cell<usize>,
    built: Cell<usize>,
    idle_panics: Cell<usize>,
    finished: Cell<usize>,
}

/// Says what it is told; `panic` panics, `late` is answered after the others, and `later` and what follows is left, if it is not the first.
struct Actor {
    stage: Rc<Stage>,
}

impl Actor {
    fn new(stage: &Rc<Stage>) -> Actor {
        assert_eq!(stage.living.replace(1), 0, "the one before it is gone when the next is built");
        stage.built.set(stage.built.get() + 1);
        Actor { stage: Rc::clone(stage) }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.stage.living.set(0);
    }
}

impl Executor for Actor {
    type Job = &'static str;
    type Done = String;

    fn run(&mut self, tasks: &[Task<&'static str>], responder: &mut dyn Responder<String>) {
        let later = tasks.iter().skip(1).position(|task| task.job == "later").map_or(tasks.len(), |index| index + 1);
        let (late, others): (Vec<_>, Vec<_>) = tasks[..later].iter().partition(|task| task.job == "late");
        for task in others.into_iter().chain(late) {
            self.stage.runs.borrow_mut().push(task.job);
            assert_ne!(task.job, "panic", "as it was told");
            responder.answer(task.id, task.job.to_owned());
        }
    }
    fn refuse(&self, job: &&'static str, why: Refusal) -> String {
        format!("{job}: {why:?}")
    }
    fn idle(&mut self, _responder: &mut dyn Responder<String>) -> Option<Duration> {
        if let Some(left) = self.stage.idle_panics.get().checked_sub(1) {
            self.stage.idle_panics.set(left);
            panic!("while idle");
        }
        None
    }
    fn finish(&mut self) {
        self.stage.finished.set(self.stage.finished.get() + 1);
    }
}

fn play(batches: Vec<(Taken, Vec<Task<&'static str>>)>, poisonous: Vec<u64>, stage: &Rc<Stage>) -> Script {
    let mut script = Script { batches: batches.into(), poisonous, ..Script::default() };
    run(Actor::new(stage), || Ok(Actor::new(stage)), &mut script);
    assert_eq!(stage.finished.get(), 1);
    script
}

fn said(answers: &[(u64, &str)]) -> Vec<(u64, String)> {
    answers.iter().map(|(number, said)| (*number, (*said).to_owned())).collect()
}

#[test]
fn after_a_panic_only_the_culprit_is_refused_and_nothing_answered_runs_again() {
    let stage = Rc::default();
    let batch = vec![task(1, "a"), task(2, "late"), task(3, "panic"), task(4, "b")];
    let script = play(vec![(Taken::Batch, batch), (Taken::Batch, vec![task(5, "c")])], vec![], &stage);
    // The second was not answered when the third panicked, though it came before it.
    assert_eq!(script.answers, said(&[(1, "a"), (2, "late"), (3, "panic: Panicked"), (4, "b"), (5, "c")]));
    assert_eq!(*stage.runs.borrow(), ["a", "panic", "late", "panic", "b", "c"]);
    assert_eq!(stage.built.get(), 3, "anew after each panic");
    assert_eq!(script.alone, [2, 3, 4]);
    assert_eq!(*script.checked.borrow(), [vec![2, 3, 4], vec![3]], "nothing that was applied may run again");
}

#[test]
fn what_an_executor_leaves_comes_first_in_the_next_batch() {
    let stage = Rc::default();
    let batch = vec![task(1, "a"), task(2, "later"), task(3, "b"), task(4, "later"), task(5, "panic")];
    let script = play(vec![(Taken::Batch, batch), (Taken::Batch, vec![task(6, "c")])], vec![], &stage);
    let expected = [(1, "a"), (2, "later"), (3, "b"), (4, "later"), (5, "panic: Panicked"), (6, "c")];
    assert_eq!(script.answers, said(&expected));
    assert_eq!(*stage.runs.borrow(), ["a", "later", "b", "later", "panic", "panic", "c"]);
}

#[test]
fn a_poisonous_job_is_refused_without_being_run() {
    let stage = Rc::default();
    let batch = vec![task(7, "a"), task(8, "deadly"), task(9, "b")];
    let script = play(vec![(Taken::OneByOne, batch)], vec![8], &stage);
    assert_eq!(script.answers, said(&[(7, "a"), (8, "deadly: Poisoned"), (9, "b")]));
    assert_eq!(*stage.runs.borrow(), ["a", "b"]);
}

#[test]
fn a_panic_between_batches_costs_no_job() {
    let stage: Rc<Stage> = Rc::default();
    stage.idle_panics.set(2);
    let script = play(vec![(Taken::Batch, vec![task(1, "a")]), (Taken::Batch, vec![task(2, "b")])], vec![], &stage);
    assert_eq!(script.answers, said(&[(1, "a"), (2, "b")]));
    assert_eq!(stage.built.get(), 3);
}

/// Jobs are numbers that come back.
struct Same;

impl Executor for Same {
    type Job = u64;
    type Done = u64;

    fn run(&mut self, tasks: &[Task<u64>], responder: &mut dyn Responder<u64>) {
        tasks.iter().for_each(|task| responder.answer(task.id, task.job));
    }
    fn refuse(&self, job: &u64, _why: Refusal) -> u64 {
        *job
    }
}

/// Hands over rounds of every size, waits for wakes only, and counts the answers.
fn exchange(batch_max: usize, threads: usize) {
    const JOBS_MAX: usize = 40;
    let (waker, wakes) = waker().unwrap();
    let (jobs, jobs_end) = bounded(JOBS_MAX);
    let (answers_end, answers) = bounded(JOBS_MAX);
    let start = |_| {
        let mut source = QueueSource::new(jobs_end.clone(), answers_end.clone(), waker.clone(), batch_max, None);
        std::thread::spawn(move || run(Same, || Ok(Same), &mut source))
    };
    let threads = (0..threads).map(start).collect();
    let mut pool = Pool { orders: Some(jobs), arrived: answers, notice_bytes: Arc::default(), threads, batch_max };
    let mut epoll = sys::epoll::Epoll::new(1).unwrap();
    epoll.add(&wakes, 1, sys::epoll::Watch::Readable).unwrap();
    for size in (1..=JOBS_MAX as u64).chain([JOBS_MAX as u64; 200]) {
        let mut round: Vec<Task<u64>> = (0..size).map(|number| local_task(ConnectionId(number), 0, number)).collect();
        pool.submit(&mut round);
        let mut missing = size;
        while missing > 0 {
            let rings = epoll.wait(Some(Duration::from_secs(10))).unwrap().count();
            assert_eq!(rings, 1, "an answer was queued without a ring: {missing} of {size} are missing");
            wakes.clear();
            while let Some(one) = pool.next_arrived() {
                let Arrived::Answer(connection, number) = one else { panic!("no job is parked") };
                assert_eq!(connection.0, number);
                missing -= 1;
            }
        }
    }
}

#[test]
fn no_answer_is_left_in_the_queue_without_a_ring_whatever_the_batches() {
    for (batch_max, threads) in [(1, 1), (1, 3), (3, 2), (16, 2), (64, 4)] {
        exchange(batch_max, threads);
    }
}

/// Where the jobs come out, and the answers go in.
type OtherEnds<J, D> = (Receiver<Order<J>>, Sender<Arrived<D>>);

impl<J> Order<J> {
    pub(in crate::server) fn tasks(self) -> Vec<Task<J>> {
        match self {
            Order::Run(tasks) => tasks,
            Order::Cancel(id) => panic!("{id:?} is cancelled"),
        }
    }
}

impl<J, D> Pool<J, D> {
    /// One whose jobs a test takes itself.
    pub(in crate::server) fn without_threads(jobs_max: usize) -> (Pool<J, D>, OtherEnds<J, D>) {
        let (jobs, jobs_end) = bounded(jobs_max);
        let (answers_end, answers) = bounded(jobs_max);
        let thread = std::thread::spawn(|| {});
        let notice_bytes = Arc::default();
        let pool = Pool { orders: Some(jobs), arrived: answers, notice_bytes, threads: vec![thread], batch_max: 64 };
        (pool, (jobs_end, answers_end))
    }
}

/// `wait` parks; `give` answers the oldest that waits, `panic` panics after that; `tell` says a kilobyte to all.
#[derive(Default)]
struct Waiter {
    waiting: BTreeMap<u64, TaskId>,
    log: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Executor for Waiter {
    type Job = &'static str;
    type Done = &'static str;

    fn run(&mut self, tasks: &[Task<&'static str>], responder: &mut dyn Responder<&'static str>) {
        for task in tasks {
            match task.job {
                "wait" => {
                    self.waiting.insert(task.id.number, task.id);
                    responder.park(task.id);
                    continue;
                }
                "give" => {
                    let (_, id) = self.waiting.pop_first().expect("somebody waits");
                    responder.answer(id, "given");
                }
                "panic" => panic!("as it was told"),
                _ => responder.notify(Audience::All, &[b'x'; 1024]),
            }
            responder.answer(task.id, task.job);
        }
    }
    fn refuse(&self, _job: &&'static str, _why: Refusal) -> &'static str {
        "refused"
    }
    fn register(&mut self, task: &Task<&'static str>) {
        self.log.lock().unwrap().push(format!("register {}", task.id.number));
        self.waiting.insert(task.id.number, task.id);
    }
    fn all_registered(&mut self) {
        self.log.lock().unwrap().push("all".to_owned());
    }
    fn cancel(&mut self, id: TaskId) {
        self.waiting.remove(&id.number).expect("it waits");
    }
    fn acknowledged(&mut self, incarnation: u64, number: u64) {
        self.log.lock().unwrap().push(format!("acknowledged {incarnation} {number}"));
    }
}

struct Threaded {
    pool: Pool<&'static str, &'static str>,
    log: Arc<std::sync::Mutex<Vec<String>>>,
    number: u64,
}

impl Threaded {
    fn new(notice_bytes_max: usize) -> Threaded {
        let (waker, _wakes) = waker().unwrap();
        let (orders, orders_end) = unbounded();
        let (arrived_end, arrived) = unbounded();
        let notice_bytes = Arc::new(AtomicUsize::new(0));
        let notices = NoticeBound { unread: Arc::clone(&notice_bytes), bytes_max: notice_bytes_max };
        let mut source = QueueSource::new(orders_end, arrived_end, waker, 64, Some(notices));
        let log = Arc::default();
        let logged = Arc::clone(&log);
        let build = move || Ok(Waiter { log: Arc::clone(&logged), ..Waiter::default() });
        let thread = std::thread::spawn(move || run(build().unwrap(), build, &mut source));
        let pool = Pool { orders: Some(orders), arrived, notice_bytes, threads: vec![thread], batch_max: 64 };
        Threaded { pool, log, number: 0 }
    }

    fn submit(&mut self, jobs: &[&'static str]) {
        for job in jobs {
            self.number += 1;
            self.pool.submit(&mut vec![local_task(ConnectionId(self.number), self.number, *job)]);
        }
    }

    /// All that arrives until the answer to the last job.
    fn settled(&mut self, last: &'static str) -> Vec<String> {
        self.submit(&[last]);
        let mut all = Vec::new();
        loop {
            let Ok(one) = self.pool.arrived.recv_timeout(Duration::from_secs(10)) else { panic!("no answer: {all:?}") };
            all.push(match one {
                Arrived::Answer(id, _) if id.0 == self.number => return all,
                Arrived::Answer(id, done) => format!("{} {done}", id.0),
                Arrived::ParkedAnswer(id, done) => format!("{} at last {done}", id.0),
                Arrived::Lasting(id, number) => format!("{} lasts as {number}", id.0),
                Arrived::Parked(id, number) => format!("{} parked as {number}", id.0),
                Arrived::Cancelled(id) => format!("{} cancelled", id.0),
                Arrived::Notice(notice) => {
                    // As `next_arrived` does.
                    self.pool.notice_bytes.fetch_sub(notice.len(), Ordering::Relaxed);
                    "notice".to_owned()
                }
                Arrived::Missed => "missed".to_owned(),
                Arrived::AnswerLost(id) | Arrived::ParkedLost(id) => format!("{} lost", id.0),
            });
        }
    }

    fn log(self) -> Vec<String> {
        drop(self.pool);
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

#[test]
fn within_a_process_a_job_is_parked_answered_and_cancelled_as_in_another() {
    let mut here = Threaded::new(1 << 20);
    here.submit(&["wait", "wait", "wait"]);
    assert_eq!(here.settled("give"), ["missed", "1 parked as 1", "2 parked as 2", "3 parked as 3", "1 at last given"]);
    here.pool.cancel(ConnectionId(1), 1);
    here.pool.cancel(ConnectionId(2), 2);
    assert_eq!(here.settled("give"), ["2 cancelled", "3 at last given"]);
    assert_eq!(here.log(), ["all", "acknowledged 0 1", "acknowledged 0 3"]);
}

#[test]
fn within_a_process_too_an_executor_that_panicked_is_told_of_all_parked_jobs_again() {
    let mut here = Threaded::new(1 << 20);
    here.submit(&["wait", "wait"]);
    here.settled("tell");
    here.submit(&["wait", "panic", "wait"]);
    let all = here.settled("give");
    assert!(all.contains(&"5 refused".to_owned()) && all.contains(&"1 at last given".to_owned()), "{all:?}");
    assert_eq!(here.settled("give"), ["2 at last given"]);
    assert_eq!(here.settled("give"), ["4 at last given"]);
    assert_eq!(here.settled("give"), ["6 at last given"]);
    let log = here.log();
    let last = log.iter().rposition(|line| line == "all").unwrap();
    assert!(log[..last].ends_with(&["register 1", "register 2", "register 4"].map(str::to_owned)), "{log:?}");
}

#[test]
fn within_a_process_too_notices_have_a_bound_and_a_gap_is_told_in_its_place() {
    let mut here = Threaded::new(10 << 10);
    here.submit(&["tell"; 30]);
    // Nothing is read until all are run.
    while here.pool.arrived.len() < 30 + 10 + 2 {
        std::thread::yield_now();
    }
    let all: Vec<String> = here.settled("tell").into_iter().filter(|one| !one.contains("tell")).collect();
    assert_eq!(all[..12], ["missed"].into_iter().chain(["notice"; 10]).chain(["missed"]).collect::<Vec<_>>());
    assert_eq!(here.settled("tell"), ["notice"]);
}
