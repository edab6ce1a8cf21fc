//! Upkeep on a temporary file, at the times that a test chooses.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Event, FileWatch, GroupTickets, Hooks, Report, Rescue, Size, Tickets, Upkeep, Wishes, prepare_to_write};
use crate::storage::fixture::{Fixture, NOW_MS};
use crate::storage::{Durability, Expiry, Keyspace, Lookup, Options, failed_sync};
use crate::sys::clock;

struct Stage {
    fixture: Fixture,
    upkeep: Upkeep,
    now: Instant,
    wishes: Wishes,
}

const BOOT: u64 = 5;
const MILLISECOND: Duration = Duration::from_millis(1);
/// Longer than anything in the schedule but the pauses after failures.
const LONG: Duration = Duration::from_millis(100);

fn deaf() -> Hooks {
    Hooks { failed: Arc::new(|error| panic!("{error}")), synced: Arc::new(|_| {}) }
}

impl Stage {
    fn new(wal_bytes_max: u64) -> Stage {
        let mut fixture = Fixture::new();
        fixture.options.wal_bytes_max = wal_bytes_max;
        fixture.writer = Keyspace::open_writer(&fixture.options, Box::new(|_| {})).unwrap();
        let now = clock::monotonic();
        let tickets = Tickets::take_over(&mut fixture.writer, NOW_MS, BOOT).unwrap().0;
        let upkeep = Upkeep::start(&fixture.options, tickets, now, deaf()).unwrap();
        let wishes =
            Wishes { now_ms: NOW_MS, is_idle: false, removes_expired: true, checkpoint: None, merges_all: false };
        let mut stage = Stage { fixture, upkeep, now, wishes };
        // What is left of opening the file.
        while !stage.fixture.writer.restart_wal().unwrap() {}
        stage.step_after(LONG);
        stage
    }

    fn step_after(&mut self, time: Duration) -> (Duration, Report) {
        self.now += time;
        let next = self.upkeep.step(&mut self.fixture.writer, self.now, &self.wishes).unwrap();
        (next, self.upkeep.report())
    }

    /// What happened but sweeping.
    fn events_after(&mut self, time: Duration) -> Vec<Event> {
        let is_other = |event: &Event| !matches!(event, Event::Swept { .. });
        self.step_after(time).1.events.into_iter().filter(is_other).collect()
    }

    /// Commits that add about so many bytes to the `-wal`.
    fn fill(&mut self, bytes: u64) {
        fill(&mut self.fixture, bytes);
    }

    /// A commit that changes the first database.
    fn write<T>(&mut self, change: impl FnOnce(&mut Keyspace) -> T) -> T {
        write(&mut self.fixture, change)
    }

    fn wal_bytes(&self) -> u64 {
        self.fixture.writer.wal_progress().unwrap().log_bytes()
    }
}

fn write<T>(fixture: &mut Fixture, change: impl FnOnce(&mut Keyspace) -> T) -> T {
    fixture.write(|keyspace| {
        keyspace.select(0);
        change(keyspace)
    })
}

fn fill(fixture: &mut Fixture, bytes: u64) {
    let wal_bytes = |fixture: &Fixture| fixture.writer.wal_progress().unwrap().log_bytes();
    let (mut number, mut last, mut added) = (0u64, wal_bytes(fixture), 0);
    while added < bytes {
        number += 1;
        // Never what is there already: that would leave no frame.
        let value = [(last / 7 + number) as u8; 200];
        let key = |n: u64| (number % 40 * 20 + n).to_le_bytes();
        write(fixture, |keyspace| {
            (0..20).for_each(|n| keyspace.put_string(&key(n), &value, Expiry::Clear).unwrap());
        });
        let now = wal_bytes(fixture);
        // It may have been restarted.
        added += now.checked_sub(last).unwrap_or(now);
        last = now;
    }
}

fn is_passed(events: &[Event]) -> bool {
    matches!(
        events,
        [
            Event::PassBegun,
            Event::PassEnded { is_failed: false, is_complete: true, .. },
            Event::WalRestart { is_done: true, .. }
        ]
    )
}

#[test]
fn at_half_of_its_budget_the_wal_is_copied_and_restarted() {
    let mut stage = Stage::new(1 << 20);
    stage.fill(400 << 10);
    assert_eq!(stage.events_after(LONG), [], "it is far from its budget");
    stage.fill(200 << 10);
    assert_eq!(stage.events_after(MILLISECOND), [], "it was looked at a moment ago");
    let events = stage.events_after(2 * MILLISECOND);
    assert!(is_passed(&events), "{events:?}");
    let before = stage.wal_bytes();
    stage.fill(1);
    assert!(stage.wal_bytes() < before / 2, "the next commit has overwritten it from its start");
}

#[test]
fn after_a_quiet_second_the_wal_is_copied_early() {
    let mut stage = Stage::new(1 << 20);
    stage.fill(200 << 10);
    assert_eq!(stage.events_after(LONG), []);
    stage.wishes.is_idle = true;
    assert_eq!(stage.events_after(9 * LONG), []);
    let events = stage.events_after(LONG);
    assert!(
        matches!(events[..], [Event::PassBegun, Event::PassEnded { is_complete: true, done: None, .. }]),
        "{events:?}"
    );
    assert_eq!(stage.events_after(10 * LONG), [], "nothing is left to copy");
}

#[test]
fn a_checkpoint_that_is_asked_for_is_made_and_told_to_be_done() {
    let mut stage = Stage::new(1 << 20);
    stage.wishes.checkpoint = Some(7);
    stage.fill(1);
    let events = stage.events_after(LONG);
    assert!(
        matches!(events[..], [Event::PassBegun, Event::PassEnded { is_complete: true, done: Some(7), .. }]),
        "{events:?}"
    );
    assert_eq!(stage.events_after(LONG), [], "once");

    let mut reader = stage.fixture.reader();
    reader.begin_read(NOW_MS).unwrap();
    reader.key_count().unwrap();
    stage.fill(1);
    stage.wishes.checkpoint = Some(8);
    stage.wishes.is_idle = true;
    while stage.step_after(LONG).0 == Duration::ZERO {}
    let (next, report) = stage.step_after(LONG);
    assert_eq!(next, 2 * MILLISECOND, "somebody waits");
    let is_undone = |event: &Event| matches!(event, Event::PassEnded { is_complete: false, done: None, .. });
    assert!(report.events.iter().any(is_undone), "the reader is in the way: {report:?}");
    reader.end_read().unwrap();
    let (next, report) = stage.step_after(LONG);
    assert!(report.events.iter().any(|event| matches!(event, Event::PassEnded { done: Some(8), .. })), "{report:?}");
    assert_eq!(next, 50 * MILLISECOND);
}

#[test]
fn a_reader_holds_the_restart_back_which_is_told_and_tried_again() {
    let mut stage = Stage::new(256 << 10);
    let mut reader = stage.fixture.reader();
    reader.begin_read(NOW_MS).unwrap();
    reader.key_count().unwrap();
    stage.fill(300 << 10);
    let (_, report) = stage.step_after(LONG);
    assert_eq!(report.is_wal_held, Some(false), "within one and a half of its budget");
    stage.fill(200 << 10);
    let (_, report) = stage.step_after(LONG);
    assert_eq!(report.is_wal_held, Some(true));
    assert_eq!(report.wal_bytes, Some(stage.wal_bytes()));
    reader.end_read().unwrap();
    let (_, report) = stage.step_after(LONG);
    assert!(is_restarted(&report) && report.is_wal_held == Some(false), "{report:?}");

    // A reader of the present state lets all be copied, and only the restart is in its way.
    stage.fill(200 << 10);
    reader.begin_read(NOW_MS).unwrap();
    reader.key_count().unwrap();
    let tried =
        |report: &Report| report.events.iter().any(|event| matches!(event, Event::WalRestart { is_done: false, .. }));
    assert!(tried(&stage.step_after(LONG).1));
    assert!(!tried(&stage.step_after(48 * MILLISECOND).1), "not at once again");
    assert!(tried(&stage.step_after(2 * MILLISECOND).1));
    reader.end_read().unwrap();
    assert!(is_restarted(&stage.step_after(LONG).1));
}

fn is_restarted(report: &Report) -> bool {
    report.events.iter().any(|event| matches!(event, Event::WalRestart { is_done: true, .. }))
}

#[test]
fn on_a_full_disk_the_wal_stays_small_and_unused_pages_are_given_back() {
    // No disk has the reserve of such a budget.
    let mut stage = Stage::new(1 << 60);
    assert!(stage.step_after(LONG).1.disk.unwrap().is_short);
    stage.fill(300 << 10);
    assert!(is_restarted(&stage.step_after(LONG).1));
    // Less than a quarter of the file, which would be kept for later where there is room.
    let key = |n: u64| [b"big", &n.to_le_bytes()[..]].concat();
    stage.write(|keyspace| (0..120).for_each(|n| keyspace.put_string(&key(n), &[1; 900], Expiry::Clear).unwrap()));
    stage.write(|keyspace| (0..120).for_each(|n| assert!(keyspace.delete(&key(n)).unwrap())));
    let full = stage.write(|keyspace| keyspace.data_bytes()).unwrap();
    stage.wishes.is_idle = true;
    while stage.step_after(LONG).0 == Duration::ZERO {}
    let (_, report) = stage.step_after(LONG);
    assert!(report.data_bytes.unwrap() < full, "{report:?}, {full}");
    let mut roomy = Stage::new(1 << 20);
    assert!(!roomy.step_after(LONG).1.disk.unwrap().is_short);
}

#[test]
fn a_row_that_cannot_be_swept_is_left_alone_and_the_others_go() {
    let mut stage = Stage::new(1 << 20);
    stage.write(|keyspace| {
        for key in [b"a", b"b", b"c"] {
            keyspace.put_string(key, b"v", Expiry::At(NOW_MS + 1)).unwrap();
        }
        keyspace.select(3);
        keyspace.put_string(b"stays", b"v", Expiry::At(NOW_MS + 5000)).unwrap();
        keyspace.damage_row(b"b").unwrap();
    });
    stage.step_after(LONG);
    stage.wishes.now_ms = NOW_MS + 2;
    stage.wishes.removes_expired = false;
    assert_eq!(stage.step_after(LONG).1.expired_keys, 0, "nobody wishes it");
    stage.wishes.removes_expired = true;
    let (next, report) = stage.step_after(LONG);
    assert_eq!((report.expired_keys, report.sizes), (0, None), "undone with the row that failed");
    assert_eq!(next, Duration::ZERO, "the others wait");
    let (next, report) = stage.step_after(LONG);
    assert_eq!((next, report.expired_keys), (50 * MILLISECOND, 2));
    let sizes = report.sizes.unwrap();
    assert_eq!((sizes[0], sizes[3]), (Size { keys: 1, expires: 1 }, Size { keys: 1, expires: 1 }));
    assert_eq!(stage.step_after(LONG).1.expired_keys, 0);
}

#[test]
fn a_report_tells_what_was_found_once() {
    let mut stage = Stage::new(1 << 20);
    stage.write(|keyspace| keyspace.put_string(b"k", b"v", Expiry::At(NOW_MS + 4000)).unwrap());
    let (_, report) = stage.step_after(10 * LONG);
    assert!(report.disk.is_some_and(|disk| disk.free_bytes > 0));
    assert_eq!(report.wal_bytes, Some(stage.wal_bytes()));
    assert!(report.data_bytes.is_some_and(|bytes| bytes > 0));
    assert_eq!(report.average_ttls_ms.map(|ttls_ms| ttls_ms[0]), Some(4000));
    assert!(matches!(report.events[..], [Event::Swept { .. }]), "{report:?}");
    assert_eq!(stage.step_after(MILLISECOND).1, Report::default(), "nothing was due");
}

#[test]
fn beside_busy_readers_the_wal_stays_near_its_budget() {
    let mut stage = Stage::new(2 << 20);
    let options = stage.fixture.options.clone();
    let (is_over, is_held) = (AtomicBool::new(false), AtomicBool::new(false));
    let (mut largest, mut written, mut most_between) = (0, 0, 0);
    let mut lately = VecDeque::new();
    std::thread::scope(|scope| {
        scope.spawn(|| read_until(&options, &is_over, &is_held));
        for round in 0..3000u64 {
            let bytes = 4096 * (1 + round % 13);
            fill(&mut stage.fixture, bytes);
            written += bytes;
            largest = largest.max(stage.wal_bytes());
            stage.now = clock::monotonic();
            lately.push_back((stage.now, written));
            while lately.front().is_some_and(|(at, _)| stage.now.duration_since(*at) > LONG) {
                lately.pop_front();
            }
            most_between = most_between.max(written - lately.front().map_or(0, |(_, before)| *before));
            let (_, report) = stage.step_after(Duration::ZERO);
            is_held.store(report.is_wal_held.unwrap_or(is_held.load(Ordering::SeqCst)), Ordering::SeqCst);
        }
        is_over.store(true, Ordering::SeqCst);
    });
    // Three budgets; twice that where the threads wait for a core, and what a fast disk takes between two attempts at the restart. Where
    // no pass begins it is all that was written.
    assert!(largest >= 1 << 20, "{largest}");
    assert!(largest < (12 << 20) + most_between, "{largest} of {written}, {most_between} between two restarts");
    assert!(2 * ((12 << 20) + most_between) < 3 * written, "{written} is too little to tell");
    stage.write(|keyspace| assert_eq!(keyspace.verify().unwrap().problems, [""; 0]));
}

/// Reads without a pause, but gives way while the `-wal` is held.
fn read_until(options: &Options, is_over: &AtomicBool, is_held: &AtomicBool) {
    let mut reader = Keyspace::open_reader(options).unwrap();
    while !is_over.load(Ordering::SeqCst) {
        while is_held.load(Ordering::SeqCst) && !is_over.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        reader.begin_read(NOW_MS).unwrap();
        reader.scan(0, 50, &mut |_, _| {}).unwrap();
        reader.end_read().unwrap();
    }
}

#[test]
fn a_full_wal_is_restarted_or_it_is_said_that_a_reader_is_in_the_way() {
    let mut stage = Stage::new(1 << 20);
    stage.fill(100 << 10);
    let mut reader = stage.fixture.reader();
    reader.begin_read(NOW_MS).unwrap();
    reader.key_count().unwrap();
    assert!(!stage.upkeep.restart_full_wal(&mut stage.fixture.writer, stage.now));
    reader.end_read().unwrap();
    assert!(stage.upkeep.restart_full_wal(&mut stage.fixture.writer, stage.now));
}

#[test]
fn with_durability_everysec_each_sync_is_told_at_once() {
    let mut fixture = Fixture::new();
    fixture.options.durability = Durability::EverySec;
    let (told, heard) = crossbeam_channel::unbounded();
    let synced = Arc::new(move |synced| told.try_send(synced).unwrap());
    let begun_ms = clock::uptime_ms();
    let tickets = Tickets::take_over(&mut fixture.writer, NOW_MS, BOOT).unwrap().0;
    let _upkeep = Upkeep::start(&fixture.options, tickets, clock::monotonic(), Hooks { synced, ..deaf() }).unwrap();
    let synced: super::Synced = heard.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(synced.begun_ms >= begun_ms + 1000, "{synced:?}, {begun_ms}");
}

#[test]
fn after_a_failed_sync_the_next_start_copies_all_of_the_wal() {
    let mut stage = Stage::new(1 << 20);
    stage.fill(100 << 10);
    let options = stage.fixture.options.clone();
    failed_sync::note(&options).unwrap();
    let left = |stage: &Stage| stage.fixture.writer.wal_progress().unwrap().remaining_bytes();
    assert!(left(&stage) > 0);
    assert!(!prepare_to_write(&options, false).unwrap().created);
    assert_eq!(left(&stage), 0);
    assert!(!failed_sync::is_noted(&options));
    stage.fill(1);
    prepare_to_write(&options, false).unwrap();
    assert!(left(&stage) > 0, "nothing has failed");
    prepare_to_write(&options, true).unwrap();
    assert_eq!(left(&stage), 0, "the caller knows of it");
}

#[test]
fn whether_the_disk_takes_writes_is_tried_each_second() {
    let mut stage = Stage::new(1 << 20);
    let writer = &mut stage.fixture.writer;
    assert_eq!(stage.upkeep.try_to_write(writer, stage.now, NOW_MS), None);
    stage.now += Duration::from_secs(1);
    assert_eq!(stage.upkeep.try_to_write(writer, stage.now, NOW_MS), Some(Ok(())));
    assert_eq!(writer.applied_tickets().unwrap(), [(0, 0)], "a change that nobody can see");
    assert_eq!(stage.upkeep.try_to_write(writer, stage.now + LONG, NOW_MS), None);
}

#[test]
fn tickets_and_sizes_are_committed_with_the_group_and_those_of_another_boot_are_forgotten() {
    let mut stage = Stage::new(1 << 20);
    let writer = &mut stage.fixture.writer;
    writer.begin_write(NOW_MS).unwrap();
    writer.select(2);
    writer.put_string(b"k", b"v", Expiry::Clear).unwrap();
    stage.upkeep.commit(writer, GroupTickets { last: [(7, 1), (8, 40)].into(), ..GroupTickets::default() }).unwrap();
    assert_eq!(stage.upkeep.report().sizes.unwrap()[2], Size { keys: 1, expires: 0 });
    writer.begin_write(NOW_MS).unwrap();
    stage.upkeep.commit(writer, GroupTickets { last: [(7, 2)].into(), ..GroupTickets::default() }).unwrap();
    let applied = [7, 8, 9].map(|incarnation| stage.upkeep.tickets().last_applied(incarnation));
    assert_eq!(applied, [2, 40, 0]);
    stage.upkeep.tickets_mut().forget(8);
    assert_eq!(stage.upkeep.tickets().last_applied(8), 0);

    let (successor, sizes) = Tickets::take_over(writer, NOW_MS, BOOT).unwrap();
    assert_eq!((successor.last_applied(7), successor.last_applied(8), sizes[2].keys), (2, 40, 1));
    let (next_boot, _) = Tickets::take_over(writer, NOW_MS, BOOT + 1).unwrap();
    assert_eq!((next_boot.last_applied(7), writer.ticket_boot().unwrap()), (0, BOOT + 1));
}

#[test]
fn lost_files_are_noticed_at_the_second_look_and_rescued_into_the_data_file() {
    let mut stage = Stage::new(1 << 20);
    stage.write(|keyspace| keyspace.put_string(b"k", b"acknowledged", Expiry::Clear).unwrap());
    let options = stage.fixture.options.clone();
    let mut watch = FileWatch::start(&options, true, stage.now);
    let wal = options.directory.join("data.db-wal");
    std::fs::rename(&wal, options.directory.join("elsewhere")).unwrap();
    std::fs::write(&wal, b"of somebody else").unwrap();
    assert_eq!(watch.look(stage.now + LONG), None, "not yet");
    assert_eq!(watch.look(stage.now + 2 * LONG), None, "once is not enough");
    let changed = watch.look(stage.now + 4 * LONG).unwrap();
    assert_eq!(changed, ["-wal"]);

    let writer = &mut stage.fixture.writer;
    let mut rescue = Rescue::begin(writer, &changed, &options.directory);
    rescue.go_on(writer, &options, 9).unwrap();
    assert_eq!(std::fs::read(options.directory.join("data.db-wal.not-ours-9")).unwrap(), b"of somebody else");
    let place = tempfile::tempdir().unwrap();
    let alone = Options::new(place.path());
    std::fs::copy(options.data_path(), alone.data_path()).unwrap();
    prepare_to_write(&alone, false).unwrap();
    let mut reader = Keyspace::open_reader(&alone).unwrap();
    reader.begin_read(NOW_MS).unwrap();
    assert_eq!(reader.string(b"k").unwrap(), Lookup::Found(b"acknowledged".to_vec()));
}
