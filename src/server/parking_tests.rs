//! Notices and parked jobs over real socketpairs: who hears what, in which order, and what a death leaves.

use super::*;

/// A process that knows this worker, and has greeted it.
fn met(here: &Fixture, workers: &mut [&mut Worker]) -> Process {
    let process = here.process();
    workers.iter_mut().for_each(|worker| worker.meet(&process));
    let mut process = process.knows_all();
    for _ in 0..2 {
        process.turn();
        workers.iter_mut().for_each(|worker| assert!(worker.turn()));
    }
    process.turn();
    assert!(process.keeper.is_complete);
    workers.iter_mut().for_each(|worker| worker.heard.clear());
    process
}

impl Fixture {
    fn gifts(&self) -> Vec<String> {
        let text = |gift: &Bytes| String::from_utf8_lossy(gift).into_owned();
        self.world.borrow().gifts.iter().map(|(gift, number)| format!("{} to {number}", text(gift))).collect()
    }
}

#[test]
fn notices_come_in_their_place_among_the_answers_to_one_worker_or_to_all() {
    let here = Fixture::new();
    let (mut one, mut other) = (Worker::new(here.scoreboard), Worker::new(here.scoreboard));
    let mut process = met(&here, &mut [&mut one, &mut other]);
    for job in ["before", "tell x", "whisper y", "after"] {
        one.submit(1, job);
    }
    process.turn();
    assert_eq!(one.news(), ["1: before", "notice x", "1: tell x", "notice y", "1: whisper y", "1: after"]);
    assert_eq!(other.news(), ["notice x"]);
    // Nothing is heard before the executor's call is over, and what died with it is a gap.
    one.submit(1, "tell z");
    process.take();
    process.run();
    assert_eq!(other.news(), [""; 0]);
    drop(process);
    assert!(!one.turn() && !other.turn());
    let mut next = here.process();
    other.meet(&next);
    next.turn();
    assert_eq!(other.news(), ["missed"]);
}

#[test]
fn notices_reach_every_worker_before_an_answer_of_their_turn_leaves() {
    let here = Fixture::new();
    let (mut one, mut other) = (Worker::new(here.scoreboard), Worker::new(here.scoreboard));
    let mut process = met(&here, &mut [&mut one, &mut other]);
    one.submit(1, "tell x");
    process.take();
    process.run();
    process.source.send_notices().unwrap();
    assert_eq!((one.news(), other.news()), (vec![], vec!["notice x".to_owned()]));
    process.settle();
    assert_eq!(one.news(), ["notice x", "1: tell x"]);
    // Both are to be answered.
    one.submit(1, "tell y");
    other.submit(2, "after");
    process.take();
    process.run();
    process.source.send_notices().unwrap();
    assert_eq!((one.news(), other.news()), (vec!["notice y".to_owned()], vec!["notice y".to_owned()]));
    process.settle();
    assert_eq!((one.news(), other.news()), (vec!["1: tell y".to_owned()], vec!["2: after".to_owned()]));
}

#[test]
fn a_worker_that_does_not_read_misses_notices_knows_where_and_stops_nobody() {
    let mut here = Fixture::new();
    here.limits.lane_output_bytes_pause = 1 << 20;
    here.limits.lane_notice_bytes_max = 4 << 20;
    let (mut deaf, mut other) = (Worker::new(here.scoreboard), Worker::new(here.scoreboard));
    let mut process = met(&here, &mut [&mut deaf, &mut other]);
    let long = "x".repeat(100 << 10);
    for number in 0..200 {
        other.submit(1, &format!("tell {number} {long}"));
        process.turn();
        other.turn();
    }
    process.turn();
    let of_notices = |heard: &[String]| -> Vec<i32> {
        heard
            .iter()
            .filter_map(|one| match one.strip_prefix("notice ") {
                Some(text) => text.split(' ').next()?.parse().ok(),
                None => (one == "missed").then_some(-1),
            })
            .collect()
    };
    assert_eq!(of_notices(&other.news()), (0..200).collect::<Vec<_>>());
    let unsent = process.source.links[0].link.unsent();
    assert!(unsent <= here.limits.lane_notice_bytes_max + 100, "{unsent} bytes wait for who does not read");
    // It reads again: a gap in its place, and then what is said from now on.
    for _ in 0..20 {
        deaf.turn();
        process.turn();
    }
    other.submit(1, "tell 200 y");
    process.turn();
    let heard = of_notices(&deaf.news());
    let gap = heard.iter().position(|&number| number == -1).expect("it is told");
    assert!(gap > 30, "{gap}");
    assert_eq!(heard[..gap], (0..gap as i32).collect::<Vec<_>>());
    assert_eq!(heard[gap + 1..], [200], "one gap");
}

#[test]
fn a_notice_of_any_size_is_said_where_nothing_else_waits_and_after_a_gap_there_must_be_room() {
    let mut is_missing = false;
    let mut of = |unread, bytes| Admission::of(unread, bytes, 100, &mut is_missing);
    assert_eq!(of(0, 1000), Admission::Say);
    assert_eq!((of(90, 10), of(91, 10), of(95, 1)), (Admission::Say, Admission::BeginGap, Admission::Drop));
    assert_eq!((of(45, 10), of(40, 10), of(90, 10)), (Admission::Drop, Admission::Say, Admission::Say));
}

#[test]
fn a_parked_job_is_not_in_flight_and_is_answered_in_the_order_of_waiting() {
    let here = Fixture::new();
    let (mut one, mut other) = (Worker::new(here.scoreboard), Worker::new(here.scoreboard));
    let mut process = met(&here, &mut [&mut one, &mut other]);
    one.submit(1, "wait");
    other.submit(2, "wait");
    one.submit(3, "wait");
    one.submit(4, "later");
    process.turn();
    assert_eq!(one.news(), ["1: parked", "3: parked", "4: later"]);
    assert_eq!(other.news(), ["2: parked"]);
    assert!(!one.lane.has_in_flight() && !other.lane.has_in_flight());
    other.submit(5, "give x");
    other.submit(6, "give y");
    other.submit(7, "give z");
    process.turn();
    assert_eq!(one.news(), ["1: at last x", "3: at last z"]);
    assert_eq!(other.news(), ["5: give x", "2: at last y", "6: give y", "7: give z"]);
    assert_eq!(here.world.borrow().served.len(), 3, "until they are acknowledged");
    process.turn();
    assert_eq!(here.world.borrow().served.len(), 3, "nobody is woken for that");
    // The next job of a worker says so of its own.
    other.submit(8, "later");
    process.turn();
    assert_eq!(here.world.borrow().served.len(), 2);
    one.lane.acknowledge();
    one.turn();
    process.turn();
    assert!(here.world.borrow().served.is_empty());
}

#[test]
fn a_cancel_and_an_answer_that_cross_have_one_outcome() {
    let here = Fixture::new();
    let mut worker = Worker::new(here.scoreboard);
    let mut process = met(&here, &mut [&mut worker]);
    (1..=2).for_each(|connection| worker.submit(connection, "wait"));
    process.turn();
    assert_eq!(worker.news(), ["1: parked", "2: parked"]);
    // The answer is on its way when the cancel leaves.
    worker.submit(3, "give x");
    process.turn();
    worker.cancel(1);
    process.turn();
    assert_eq!(worker.news(), ["1: at last x", "3: give x"]);
    // The cancel is on its way when the gift comes: nobody gets it.
    worker.cancel(2);
    worker.cancel(2);
    worker.submit(4, "give y");
    process.turn();
    process.turn();
    assert_eq!(worker.news(), ["2: cancelled", "4: give y"]);
    assert_eq!((here.gifts(), here.world.borrow().stock.len()), (vec!["x to 1".to_owned()], 1));
    process.turn();
    assert!(here.world.borrow().served.is_empty() && here.world.borrow().parked.is_empty());
}

#[test]
fn after_the_writers_death_nobody_is_served_before_all_have_registered_and_the_order_is_kept() {
    let here = Fixture::new();
    let (mut one, mut other, mut slow) =
        (Worker::new(here.scoreboard), Worker::new(here.scoreboard), Worker::new(here.scoreboard));
    let mut process = met(&here, &mut [&mut one, &mut other, &mut slow]);
    slow.submit(1, "wait");
    one.submit(2, "wait");
    other.submit(3, "wait");
    one.submit(4, "wait");
    process.turn();
    for worker in [&mut one, &mut other, &mut slow] {
        worker.news();
    }
    drop(process);
    let next = here.process();
    for worker in [&mut one, &mut other, &mut slow] {
        assert!(!worker.turn());
        worker.meet(&next);
    }
    // Sent while nobody is there: it comes after what is registered.
    one.submit(5, "give x");
    let mut next = next.knows_all();
    next.turn();
    assert_eq!((one.news(), other.news()), (vec!["missed".to_owned()], vec!["missed".to_owned()]));
    for _ in 0..3 {
        next.turn();
    }
    assert_eq!(one.news(), ["5: give x"]);
    assert!(here.gifts().is_empty(), "one worker has not registered");
    assert_eq!(slow.news(), ["missed"]);
    next.turn();
    next.turn();
    assert_eq!(here.gifts(), ["x to 1"], "the oldest of all");
    assert_eq!(slow.news(), ["1: at last x"]);
    ["give a", "give b", "give c"].iter().for_each(|job| one.submit(6, job));
    next.turn();
    assert_eq!(here.gifts()[1..], ["a to 2", "b to 3", "c to 4"]);
}

#[test]
fn a_worker_that_died_before_it_registered_is_not_waited_for() {
    let here = Fixture::new();
    let (mut one, mut dead) = (Worker::new(here.scoreboard), Worker::new(here.scoreboard));
    let mut process = met(&here, &mut [&mut one, &mut dead]);
    dead.submit(1, "wait");
    process.turn();
    one.submit(2, "wait");
    process.turn();
    drop(process);
    let next = here.process();
    for worker in [&mut one, &mut dead] {
        worker.turn();
        worker.meet(&next);
    }
    drop(dead);
    let mut next = next.knows_all();
    one.submit(3, "give x");
    for _ in 0..4 {
        next.turn();
        one.turn();
    }
    assert_eq!(here.gifts(), ["x to 2"], "what the dead one waited for is nobody's");
    assert_eq!(here.world.borrow().forgotten.len(), 1);
}

#[test]
fn what_a_worker_that_dies_had_parked_is_forgotten() {
    let here = Fixture::new();
    let (mut dead, mut other) = (Worker::new(here.scoreboard), Worker::new(here.scoreboard));
    let mut process = met(&here, &mut [&mut dead, &mut other]);
    dead.submit(1, "wait");
    other.submit(2, "wait");
    process.turn();
    drop(dead);
    process.turn();
    other.submit(3, "give x");
    process.turn();
    assert_eq!((here.gifts(), process.keeper.waiting.len()), (vec!["x to 2".to_owned()], 0));
}

#[test]
fn a_job_that_was_served_in_a_commit_is_never_served_again_whatever_was_said_of_it() {
    let here = Fixture::new();
    let mut worker = Worker::new(here.scoreboard);
    let mut process = met(&here, &mut [&mut worker]);
    (1..=3).for_each(|connection| worker.submit(connection, "wait"));
    process.turn();
    worker.news();
    // One is cancelled meanwhile, and one more parks and is served without its worker having heard anything.
    worker.submit(4, "give x");
    worker.submit(5, "give y");
    process.take();
    worker.cancel(2);
    process.run();
    drop(process);
    assert!(!worker.turn());
    let next = here.process();
    worker.meet(&next);
    let mut next = next.knows_all();
    for _ in 0..3 {
        next.turn();
        worker.turn();
    }
    assert_eq!(worker.heard, ["missed", "1: lost", "2: lost"]);
    assert_eq!(worker.lost, [4, 5]);
    next.turn();
    assert!(here.world.borrow().served.is_empty(), "the records are acknowledged");
    worker.submit(6, "give z");
    next.turn();
    assert_eq!(here.gifts(), ["x to 1", "y to 2", "z to 3"]);
}

#[test]
fn an_acknowledgement_that_is_lost_is_given_again() {
    let here = Fixture::new();
    let mut worker = Worker::new(here.scoreboard);
    let mut process = met(&here, &mut [&mut worker]);
    worker.submit(1, "wait");
    worker.submit(2, "give x");
    process.turn();
    assert_eq!(worker.news(), ["1: parked", "1: at last x", "2: give x"]);
    drop(process);
    assert!(!worker.turn());
    assert_eq!(here.world.borrow().served.len(), 1);
    let mut next = met(&here, &mut [&mut worker]);
    next.turn();
    assert!(here.world.borrow().served.is_empty());
}

#[test]
fn a_job_that_was_parked_by_a_commit_unheard_by_its_worker_goes_on_waiting() {
    let here = Fixture::new();
    let mut worker = Worker::new(here.scoreboard);
    let mut process = met(&here, &mut [&mut worker]);
    worker.submit(1, "wait");
    worker.submit(2, "applied");
    process.take();
    process.run();
    drop(process);
    assert!(!worker.turn());
    let next = here.process();
    worker.meet(&next);
    let mut next = next.knows_all();
    for _ in 0..3 {
        next.turn();
        worker.turn();
    }
    assert_eq!((worker.heard.clone(), worker.lost.clone()), (vec!["missed".into(), "1: parked".into()], vec![2]));
    worker.submit(3, "give x");
    next.turn();
    assert_eq!(here.gifts(), ["x to 1"]);
}

#[test]
fn what_is_cancelled_while_no_process_is_there_is_not_registered() {
    let here = Fixture::new();
    let mut worker = Worker::new(here.scoreboard);
    let mut process = met(&here, &mut [&mut worker]);
    (1..=3).for_each(|connection| worker.submit(connection, "wait"));
    process.turn();
    worker.news();
    worker.cancel(1);
    drop(process);
    assert!(!worker.turn());
    worker.cancel(2);
    let next = here.process();
    worker.meet(&next);
    let mut next = next.knows_all();
    next.turn();
    assert_eq!(worker.news(), ["missed", "1: cancelled", "2: cancelled"]);
    worker.submit(4, "give x");
    next.turn();
    next.turn();
    assert_eq!(here.gifts(), ["x to 3"]);
}

#[test]
fn an_executor_that_panicked_is_told_of_all_parked_jobs_again() {
    let here = Fixture::new();
    let (mut one, mut other) = (Worker::new(here.scoreboard), Worker::new(here.scoreboard));
    let mut process = met(&here, &mut [&mut one, &mut other]);
    one.submit(1, "wait");
    other.submit(2, "wait");
    other.submit(3, "wait");
    process.turn();
    one.news();
    other.news();
    // On its way when the executor is made again: the new one does not know the job.
    other.cancel(2);
    process.panic();
    process.turn();
    one.submit(4, "give x");
    process.turn();
    assert!(here.gifts().is_empty(), "not all have registered");
    assert_eq!(other.news(), ["missed", "2: cancelled"]);
    assert_eq!(one.news(), ["missed", "4: give x"]);
    process.turn();
    process.turn();
    assert_eq!(here.gifts(), ["x to 1"]);
    one.submit(5, "give y");
    process.turn();
    assert_eq!(here.gifts()[1..], ["y to 3"]);
}

#[test]
fn a_parked_job_that_cant_be_cancelled_is_in_flight_for_its_connection_until_the_answer() {
    let here = Fixture::new();
    let mut worker = Worker::new(here.scoreboard);
    let mut process = met(&here, &mut [&mut worker]);
    worker.submit(1, "work");
    worker.submit(2, "later");
    process.turn();
    assert_eq!(worker.news(), ["1: lasting", "2: later"]);
    worker.submit(3, "give x");
    process.turn();
    assert_eq!(worker.news(), ["1: at last x", "3: give x"]);
    worker.lane.acknowledge();
    worker.turn();
    process.turn();
    assert!(here.world.borrow().served.is_empty());
}

/// A worker of which a job that can't be cancelled is parked, as it knows.
fn at_work(here: &Fixture) -> (Worker, Process) {
    let mut worker = Worker::new(here.scoreboard);
    let mut process = met(here, &mut [&mut worker]);
    worker.submit(1, "work");
    process.turn();
    assert_eq!(worker.news(), ["1: lasting"]);
    (worker, process)
}

#[test]
fn a_parked_job_that_cant_be_cancelled_is_registered_after_a_death_whether_its_worker_has_heard_of_it_or_not() {
    let here = Fixture::new();
    let (mut worker, mut process) = at_work(&here);
    worker.submit(2, "work");
    process.take();
    process.run();
    // Parked by a commit, of which its worker never hears.
    drop(process);
    assert!(!worker.turn());
    let mut next = here.process();
    worker.meet(&next);
    let mut next = {
        next.turn();
        next.knows_all()
    };
    assert_eq!(worker.news(), ["missed", "2: lasting"]);
    next.turn();
    worker.submit(3, "give x");
    next.turn();
    worker.submit(4, "give y");
    next.turn();
    assert_eq!(worker.news(), ["1: at last x", "3: give x", "2: at last y", "4: give y"]);
}

#[test]
fn the_answer_to_a_job_that_cant_be_cancelled_may_be_lost_with_the_process() {
    let here = Fixture::new();
    let (mut worker, mut process) = at_work(&here);
    worker.submit(2, "give x");
    process.take();
    process.run();
    drop(process);
    assert!(!worker.turn());
    let mut next = here.process();
    worker.meet(&next);
    next.turn();
    worker.turn();
    assert_eq!((worker.lost, worker.heard), (vec![2], vec!["missed".to_owned(), "1: lost".to_owned()]));
}
