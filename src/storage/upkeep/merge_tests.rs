//! Upkeep over a memtable: when its generations are frozen and merged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Event, GroupTickets, Hooks, Report, Size, Tickets, Upkeep, Wishes};
use crate::storage::fixture::{Fixture, NOW_MS, memory};
use crate::storage::{Expiry, Keyspace, Lookup, Options};
use crate::sys::clock;

struct Stage {
    fixture: Fixture,
    upkeep: Upkeep,
    now: Instant,
    wishes: Wishes,
}

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

impl Stage {
    fn new() -> Stage {
        Self::with(|_| {})
    }

    fn with(set: impl FnOnce(&mut Options)) -> Stage {
        let mut fixture = Fixture::on(memory());
        set(&mut fixture.options);
        let now = clock::monotonic();
        let tickets = Tickets::take_over(&mut fixture.writer, NOW_MS, 5).unwrap().0;
        let hooks = Hooks { failed: Arc::new(|error| panic!("{error}")), synced: Arc::new(|_| {}) };
        let upkeep = Upkeep::start(&fixture.options, tickets, now, hooks).unwrap();
        let wishes =
            Wishes { now_ms: NOW_MS, is_idle: false, removes_expired: true, checkpoint: None, merges_all: false };
        Stage { fixture, upkeep, now, wishes }
    }

    /// A step so long after the one before; a group ran, or none.
    fn step(&mut self, time: Duration, is_idle: bool) -> (Duration, Report) {
        self.now += time;
        self.wishes.is_idle = is_idle;
        let next = self.upkeep.step(&mut self.fixture.writer, self.now, &self.wishes).unwrap();
        (next, self.upkeep.report())
    }

    fn write<T>(&mut self, change: impl FnOnce(&mut Keyspace) -> T) -> T {
        self.fixture.writer.begin_write(self.wishes.now_ms).unwrap();
        self.fixture.writer.select(0);
        let changed = change(&mut self.fixture.writer);
        let tickets = GroupTickets { last: [(1, 1)].into(), ..GroupTickets::default() };
        self.upkeep.commit(&mut self.fixture.writer, tickets).unwrap();
        changed
    }

    fn put(&mut self, keys: std::ops::Range<u32>) {
        self.write(|keyspace| {
            keys.for_each(|n| keyspace.put_string(&n.to_le_bytes(), &[1; 100], Expiry::Clear).unwrap());
        });
    }

    fn in_table(&self, sql: &str) -> i64 {
        self.fixture.writer.connection().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn rows_in_table(&self) -> i64 {
        self.in_table("SELECT count(*) FROM keyspace")
    }
}

#[test]
fn after_a_quiet_second_everything_is_in_the_tables() {
    let mut stage = Stage::new();
    stage.put(0..100);
    let (_, report) = stage.step(MILLISECOND, false);
    let unmerged = report.unmerged.unwrap();
    assert_eq!((unmerged.rows, unmerged.generations), (100, 1));
    assert_eq!(stage.rows_in_table(), 0);
    stage.step(900 * MILLISECOND, true);
    assert_eq!(stage.rows_in_table(), 0, "it is not quiet for a second");
    let (mut next, mut report) = stage.step(100 * MILLISECOND, true);
    while next == Duration::ZERO && report.merged.generations == 0 {
        (next, report) = stage.step(Duration::ZERO, true);
    }
    assert_eq!((stage.rows_in_table(), report.merged.generations, report.merged.pauses), (100, 1, 0));
    let unmerged = report.unmerged.unwrap();
    assert_eq!((unmerged.rows, unmerged.generations, unmerged.age), (0, 0, Duration::ZERO));
    assert_eq!(report.sizes.unwrap()[0], Size { keys: 100, expires: 0 });
    let (_, report) = stage.step(10 * SECOND, true);
    assert_eq!(report.merged.slices, 0, "there is nothing left");
    assert_eq!(stage.in_table("SELECT number FROM ticket WHERE incarnation = 1"), 1);
}

#[test]
fn between_the_requests_of_a_lone_client_nothing_is_merged_that_need_not_be() {
    let mut stage = Stage::with(|options| options.merge_age_max = 3600 * SECOND);
    stage.put(0..600);
    stage.put(600..1000);
    assert!(stage.fixture.writer.freeze(NOW_MS));
    for _ in 0..50 {
        let (next, report) = stage.step(MILLISECOND, true);
        assert!(next > Duration::ZERO && report.merged.slices <= 1, "{next:?}, {report:?}");
        stage.put(0..1);
        stage.step(Duration::ZERO, false);
    }
    assert!(stage.rows_in_table() < 1000);
    while stage.step(10 * MILLISECOND, true).0 == Duration::ZERO {}
    assert_eq!(stage.rows_in_table(), 1000, "a moment without groups");
}

#[test]
fn what_is_old_is_merged_though_groups_go_on() {
    let mut stage = Stage::with(|options| options.merge_age_max = 4 * SECOND);
    stage.put(0..10);
    let mut merged_after = 0;
    while stage.rows_in_table() < 10 {
        merged_after += 1;
        stage.put(10..11);
        let (_, report) = stage.step(100 * MILLISECOND, false);
        assert!(report.unmerged.unwrap().age <= 4 * SECOND, "{report:?}");
    }
    assert!((20..=40).contains(&merged_after), "{merged_after}");
}

#[test]
fn a_checkpoint_that_is_asked_for_has_everything() {
    let mut stage = Stage::new();
    stage.put(0..300);
    stage.wishes.checkpoint = Some(3);
    let mut is_done = false;
    while !is_done {
        let (_, report) = stage.step(50 * MILLISECOND, false);
        is_done = report.events.iter().any(|event| matches!(event, Event::PassEnded { done: Some(3), .. }));
        assert!(!is_done || stage.rows_in_table() == 300);
    }
    stage.wishes.checkpoint = None;
    stage.put(300..400);
    stage.wishes.merges_all = true;
    while stage.rows_in_table() < 400 {
        stage.step(MILLISECOND, false);
    }
    stage.put(400..401);
    for _ in 0..20 {
        stage.step(MILLISECOND, false);
    }
    assert_eq!(stage.rows_in_table(), 400, "it is wished for once");
}

#[test]
fn an_orderly_end_merges_everything_and_one_without_time_leaves_it_to_the_journal() {
    for has_time in [true, false] {
        let mut stage = Stage::new();
        stage.put(0..300);
        let until = clock::monotonic() + if has_time { 60 * SECOND } else { Duration::ZERO };
        let options = stage.fixture.options.clone();
        stage.upkeep.finish(&mut stage.fixture.writer, &options, NOW_MS, until).unwrap();
        assert_eq!(stage.rows_in_table(), if has_time { 300 } else { 0 });
        stage.fixture.reopen_writer();
        stage.fixture.writer.begin_write(NOW_MS).unwrap();
        stage.fixture.writer.select(0);
        assert_eq!(stage.fixture.writer.key_count().unwrap(), 300);
        assert_eq!(stage.fixture.writer.string(&7u32.to_le_bytes()).unwrap(), Lookup::Found(vec![1; 100]));
    }
}

#[test]
fn at_full_rate_no_group_waits_for_a_generation() {
    let mut stage = Stage::new();
    let (mut pauses, mut slices, mut long_steps) = (0, 0, 0);
    for group in 0..1500u32 {
        stage.put(group * 7 % 3000..group * 7 % 3000 + 20);
        let begun = clock::monotonic();
        stage.now = begun;
        let (_, report) = stage.step(Duration::ZERO, false);
        long_steps += u32::from(report.merged.duration >= 150 * MILLISECOND);
        pauses += report.merged.pauses;
        slices += report.merged.slices;
    }
    assert!(slices > 10, "{slices}");
    // A busy machine may hold a slice up now and then. Without the pace each generation would have its pause, and its long step.
    let generations = stage.fixture.writer.backlog().unwrap().newest;
    assert!(generations > 20, "{generations}");
    assert!(pauses <= 3 && long_steps <= 3, "{pauses} pauses, {long_steps} long steps");
    stage.fixture.writer.merge_all(NOW_MS).unwrap();
    stage.fixture.writer.begin_write(NOW_MS).unwrap();
    assert_eq!(stage.fixture.writer.verify().unwrap().problems, [""; 0]);
}

#[test]
fn keys_that_end_before_they_are_merged_cost_the_tables_nothing() {
    let mut stage = Stage::new();
    stage.write(|keyspace| {
        for n in 0..100u32 {
            keyspace.put_string(&n.to_le_bytes(), &[1; 200], Expiry::At(NOW_MS + 10)).unwrap();
        }
        assert!(keyspace.set_expiry(&7u32.to_le_bytes(), Some(NOW_MS + 500)).unwrap());
        assert!(keyspace.set_expiry(&8u32.to_le_bytes(), None).unwrap());
    });
    stage.wishes.now_ms = NOW_MS + 20;
    let mut expired = 0;
    for _ in 0..5 {
        expired += stage.step(100 * MILLISECOND, true).1.expired_keys;
    }
    assert_eq!(expired, 98);
    stage.fixture.writer.begin_write(NOW_MS + 20).unwrap();
    stage.fixture.writer.select(0);
    assert_eq!(stage.fixture.writer.key_count().unwrap(), 2);
    stage.fixture.writer.rollback().unwrap();
    stage.fixture.writer.merge_all(NOW_MS + 20).unwrap();
    assert_eq!(stage.rows_in_table(), 2);
    // What was merged is the tables' affair.
    stage.wishes.now_ms = NOW_MS + 600;
    for _ in 0..5 {
        expired += stage.step(100 * MILLISECOND, true).1.expired_keys;
    }
    assert_eq!((expired, stage.rows_in_table()), (99, 1));
    stage.fixture.writer.begin_write(NOW_MS + 600).unwrap();
    assert_eq!(stage.fixture.writer.verify().unwrap().problems, [""; 0]);
}

#[test]
fn a_row_that_cannot_be_written_is_put_aside_and_told() {
    let mut stage = Stage::new();
    stage.put(0..30);
    stage.fixture.writer.merge_all(NOW_MS).unwrap();
    let damage = "UPDATE keyspace SET kind = 77 WHERE key = x'07000000'";
    assert_eq!(stage.fixture.writer.connection().execute(damage, []).unwrap(), 1);
    stage.write(|keyspace| {
        (0..30u32).for_each(|n| keyspace.put_string(&n.to_le_bytes(), &[2; 90], Expiry::Clear).unwrap());
    });
    let mut left_out = 0;
    for _ in 0..200 {
        left_out += stage.step(SECOND, true).1.merged.left_out;
    }
    assert_eq!((left_out, stage.in_table("SELECT count(*) FROM left_out")), (1, 1));
    assert_eq!(stage.in_table("SELECT count(*) FROM keyspace WHERE length = 90"), 29);
    assert_eq!(stage.step(SECOND, true).1.unmerged.unwrap().rows, 0);
}

#[test]
fn on_a_full_disk_the_journal_keeps_what_cannot_be_merged() {
    let mut stage = Stage::new();
    // The journal's cells are there.
    for _ in 0..4 {
        stage.put(0..400);
        stage.fixture.writer.merge_all(NOW_MS).unwrap();
    }
    let set_page_limit = |stage: &Stage, pages: u32| {
        let sql = format!("PRAGMA max_page_count = {pages}");
        stage.fixture.writer.connection().query_row(&sql, [], |_| Ok(())).unwrap();
    };
    set_page_limit(&stage, 1);
    stage.write(|keyspace| {
        (0..40u32).for_each(|n| keyspace.put_string(&n.to_be_bytes(), &[3; 900], Expiry::Clear).unwrap());
    });
    for _ in 0..50 {
        stage.step(SECOND, true);
    }
    assert!(stage.step(SECOND, true).1.unmerged.unwrap().rows >= 39);
    set_page_limit(&stage, 100_000);
    for _ in 0..50 {
        stage.step(SECOND, true);
    }
    assert_eq!(stage.step(SECOND, true).1.unmerged.unwrap().rows, 0);
    assert_eq!(stage.in_table("SELECT count(*) FROM keyspace WHERE length = 900"), 40);
}

#[test]
fn the_wal_stays_near_its_budget_beside_merges() {
    let mut stage = Stage::with(|options| options.wal_bytes_max = 2 << 20);
    let mut largest = 0;
    for group in 0..1500u32 {
        stage.put(group * 7 % 3000..group * 7 % 3000 + 20);
        stage.now = clock::monotonic();
        stage.step(Duration::ZERO, false);
        largest = largest.max(stage.fixture.writer.wal_progress().unwrap().log_bytes());
    }
    assert!((1 << 20..8 << 20).contains(&largest), "{largest}");
}
