//! The rules by which what is remembered may be used, one by one, with a test's hand on the writer's marks.

use std::cell::RefCell;

use super::{Cache, Found, asked};
use crate::kv::cache::{Learned, Learning, Seen};
use crate::kv::shared::versions::{Marks, Versions};
use crate::storage::memtable::{Filler, Memory, Shape};
use crate::storage::rows::{Homes, KeyRow, Origin, Row, RowKey};
use crate::storage::{Entry, Kind};

const NOW_MS: i64 = 1_700_000_000_000;
const CACHE_BYTES: usize = 1 << 20;

struct Stage {
    versions: Versions,
    marks: Marks,
    cache: Cache,
    found: Found,
}

impl Stage {
    fn new() -> Stage {
        let versions = Versions::new().unwrap();
        let marks = Marks::take_over(versions.clone());
        let cache = Cache::new(CACHE_BYTES, versions.clone(), Memory::off());
        Stage { versions, marks, cache, found: Found::default() }
    }

    fn knows(&mut self, keys: &[&[u8]]) -> bool {
        self.cache.look(0, keys, || NOW_MS, &mut self.found)
    }

    /// The values that a look shows, or what there is instead.
    fn look(&mut self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, Seen> {
        if self.knows(keys) {
            return Ok(self.cache.records(&self.found).map(|record| record.value().map(<[u8]>::to_vec)).collect());
        }
        let mut seen = Seen::default();
        self.cache.note(&self.found, &mut seen);
        Err(seen)
    }

    /// What a job asks with, after a look that shows nothing.
    fn miss(&mut self, keys: &[&[u8]]) -> Seen {
        self.look(keys).expect_err("nothing is known")
    }

    fn bring(&self, seen: &Seen, keys: &[&[u8]], value: &[u8], expires_at_ms: Option<i64>) -> Learned {
        let mut learning = Learning::of(seen);
        learning.begin(keys.len());
        self.find(&mut learning, keys, value, expires_at_ms);
        learning.learned()
    }

    fn find(&self, learning: &mut Learning<'_>, keys: &[&[u8]], value: &[u8], expires_at_ms: Option<i64>) {
        let entry = Entry { kind: Kind::String, expires_at_ms, length: value.len() as u64, id: None };
        for (number, key) in keys.iter().enumerate() {
            learning.keep(number, || asked(&self.versions, 0, key), Some(&entry), Some(value));
        }
    }

    /// Asks for keys, and keeps the answer.
    fn learn(&mut self, keys: &[&[u8]], value: &[u8], expires_at_ms: Option<i64>) {
        let seen = self.miss(keys);
        let learned = self.bring(&seen, keys, value, expires_at_ms);
        self.cache.learn(&learned);
    }

    fn change(&mut self, key: &[u8]) {
        self.marks.mark(0, key);
        self.marks.unmark();
    }

    fn change_everything(&mut self) {
        self.marks.mark_flush(u16::MAX);
        self.marks.unmark();
    }
}

fn values(of: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, Seen> {
    Ok(of.iter().map(|value| Some(value.to_vec())).collect())
}

#[test]
fn a_record_is_used_exactly_while_slot_and_epoch_are_what_they_were() {
    let mut stage = Stage::new();
    stage.learn(&[b"a"], b"1", None);
    assert_eq!(stage.look(&[b"a"]), values(&[b"1"]));
    assert!(!stage.cache.look(1, &[b"a"], || NOW_MS, &mut stage.found), "of another database");
    stage.change(b"a");
    assert!(!stage.knows(&[b"a"]));
    stage.learn(&[b"a"], b"2", None);
    assert_eq!(stage.look(&[b"a"]), values(&[b"2"]));
    stage.change(b"b");
    assert_eq!(stage.look(&[b"a"]), values(&[b"2"]), "another key's change is none of its");
    stage.change_everything();
    assert!(!stage.knows(&[b"a"]));
}

#[test]
fn while_a_change_is_in_flight_nothing_of_its_key_is_used_or_kept() {
    let mut stage = Stage::new();
    stage.learn(&[b"a"], b"1", None);
    stage.marks.mark(0, b"a");
    let seen = stage.miss(&[b"a"]);
    // The value from before the change, for all that anybody knows.
    let learned = stage.bring(&seen, &[b"a"], b"1", None);
    assert!(learned.is_empty());
    stage.cache.learn(&learned);
    assert!(!stage.knows(&[b"a"]));
    stage.marks.unmark();
    assert!(!stage.knows(&[b"a"]));
}

#[test]
fn what_changed_between_question_and_answer_is_not_kept() {
    let changes: [fn(&mut Stage); 5] = [
        |stage| stage.marks.mark(0, b"a"),
        |stage| stage.change(b"a"),
        |stage| (0..3).for_each(|_| stage.change(b"a")),
        |stage| stage.marks.mark_flush(u16::MAX),
        Stage::change_everything,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut stage = Stage::new();
        let seen = stage.miss(&[b"a"]);
        let learned = stage.bring(&seen, &[b"a"], b"old", None);
        change(&mut stage);
        stage.cache.learn(&learned);
        assert_eq!(stage.cache.size().0, 0, "change {number}: kept while it was in flight or over");
        stage.marks.unmark();
        assert!(!stage.knows(&[b"a"]), "change {number}");
    }
}

#[test]
fn of_several_keys_those_that_did_not_change_are_kept() {
    let mut stage = Stage::new();
    let seen = stage.miss(&[b"a", b"b"]);
    let learned = stage.bring(&seen, &[b"a", b"b"], b"1", None);
    stage.change(b"a");
    stage.cache.learn(&learned);
    assert!(!stage.knows(&[b"a", b"b"]) && !stage.knows(&[b"a"]) && stage.knows(&[b"b"]));
}

#[test]
fn a_writer_that_died_in_flight_leaves_nothing_that_can_be_used() {
    let mut stage = Stage::new();
    stage.learn(&[b"a"], b"1", None);
    stage.marks.mark(0, b"a");
    // Whether that change was committed, nobody knows.
    stage.marks = Marks::take_over(stage.versions.clone());
    assert!(!stage.knows(&[b"a"]));
    stage.learn(&[b"a"], b"2", None);
    assert_eq!(stage.look(&[b"a"]), values(&[b"2"]));
    stage.marks.mark_flush(u16::MAX);
    stage.marks = Marks::take_over(stage.versions.clone());
    assert!(!stage.knows(&[b"a"]));
    let seen = stage.miss(&[b"a"]);
    let learned = stage.bring(&seen, &[b"a"], b"2", None);
    drop(Marks::take_over(stage.versions.clone()));
    stage.cache.learn(&learned);
    assert!(!stage.knows(&[b"a"]), "what was asked for before a restart is void");
}

#[test]
fn an_expired_record_is_a_miss_from_the_millisecond_on_at_which_it_ends() {
    let mut stage = Stage::new();
    stage.learn(&[b"a"], b"1", Some(NOW_MS + 1));
    let mut found = Found::default();
    assert!(stage.cache.look(0, &[b"a"], || NOW_MS, &mut found));
    assert_eq!(found.now_ms(), NOW_MS, "the answer may tell how long it has");
    assert!(!stage.cache.look(0, &[b"a"], || NOW_MS + 1, &mut found));
    assert!(!stage.cache.look(0, &[b"a"], || NOW_MS + 2, &mut found));
    stage.learn(&[b"b"], b"1", None);
    assert!(stage.cache.look(0, &[b"b"], || panic!("nobody needs the time"), &mut found));
}

#[test]
fn of_several_keys_all_must_be_unchanged_when_the_last_was_looked_at() {
    let mut stage = Stage::new();
    stage.learn(&[b"a"], b"1", None);
    stage.learn(&[b"b"], b"1", Some(i64::MAX - 1));
    assert_eq!(stage.look(&[b"a", b"b"]), values(&[b"1", b"1"]));
    let Stage { marks, cache, found, .. } = &mut stage;
    let marks = RefCell::new(marks);
    // The time is asked for at the second key, when the first was looked at.
    let mark = || {
        marks.borrow_mut().mark(0, b"a");
        NOW_MS
    };
    assert!(!cache.look(0, &[b"a", b"b"], mark, found), "one of them is in flight");
    marks.borrow_mut().unmark();
    stage.learn(&[b"a"], b"2", None);
    assert!(stage.knows(&[b"a", b"b"]));
    let Stage { marks, cache, found, .. } = &mut stage;
    let marks = RefCell::new(marks);
    let swap = || {
        marks.borrow_mut().mark_flush(u16::MAX);
        marks.borrow_mut().unmark();
        NOW_MS
    };
    assert!(!cache.look(0, &[b"a", b"b"], swap, found), "everything has changed in between");
}

#[test]
fn a_new_epoch_empties_and_an_unsettled_one_keeps_nothing() {
    let mut stage = Stage::new();
    stage.learn(&[b"a"], b"1", None);
    assert_eq!(stage.cache.size().0, 1);
    stage.marks.mark_flush(u16::MAX);
    let seen = stage.miss(&[b"a"]);
    assert_eq!(stage.cache.size(), (0, 0));
    let learned = stage.bring(&seen, &[b"a"], b"1", None);
    stage.cache.learn(&learned);
    assert_eq!(stage.cache.size(), (0, 0));
    stage.marks.unmark();
    stage.cache.learn(&learned);
    assert_eq!(stage.cache.size(), (0, 0), "asked for before, answered after");
    stage.learn(&[b"a"], b"2", None);
    assert_eq!(stage.look(&[b"a"]), values(&[b"2"]));
    stage.versions.void_all();
    assert!(!stage.knows(&[b"a"]), "the clock was set back");
}

#[test]
fn each_key_keeps_its_own_version_however_the_calls_before_ended() {
    let mut stage = Stage::new();
    let keys: [&[u8]; 5] = [b"a", b"b", b"c", b"d", b"e"];
    // Different versions, so that one in the place of another is current for nobody.
    for (number, key) in keys.iter().enumerate() {
        (0..number).for_each(|_| stage.change(key));
    }
    let mut seen = Seen::default();
    for call in [&keys[..3], &keys[3..4], &keys[4..]] {
        assert!(!stage.knows(call));
        stage.cache.note(&stage.found, &mut seen);
    }
    let mut learning = Learning::of(&seen);
    learning.begin(3);
    // An error at the second key ends this call, and one at the first key the next.
    stage.find(&mut learning, &keys[..1], b"1", None);
    learning.begin(1);
    learning.begin(1);
    stage.find(&mut learning, &keys[4..], b"1", None);
    let learned = learning.learned();
    stage.cache.learn(&learned);
    assert_eq!(keys.map(|key| stage.knows(&[key])), [true, false, false, false, true]);
}

#[test]
fn a_cache_that_is_off_knows_nothing_and_asks_for_nothing() {
    let versions = Versions::new().unwrap();
    let mut stage = Stage::new();
    stage.cache = Cache::new(1000, versions, Memory::off());
    assert!(!stage.cache.is_on());
    let seen = stage.miss(&[b"a"]);
    assert!(seen.versions.is_empty());
    stage.cache.learn(&stage.bring(&seen, &[b"a"], b"1", None));
    assert_eq!((stage.knows(&[b"a"]), stage.cache.size()), (false, (0, 0)));
}

/// A writer's hand on the memtable: a group that is committed is inserted, published, and its keys' versions made even.
struct Writer {
    filler: Filler,
    seq: u64,
}

const SPACE: u64 = 9;

impl Writer {
    fn row(&mut self, key: &[u8], value: Option<&[u8]>, expires_at_ms: Option<i64>) {
        let head = |value: &[u8]| Entry { kind: Kind::String, expires_at_ms, length: value.len() as u64, id: None };
        self.insert(key, value.map(|value| KeyRow { head: head(value), value: Some(value) }));
    }

    fn insert(&mut self, key: &[u8], row: Option<KeyRow<'_>>) {
        let homes = Homes::new(*b"0123456789abcdef");
        let row = row.map(Row::Key);
        let key = RowKey::key(SPACE, homes.position(key), key);
        self.filler.insert(key, row, Origin::Blind, self.seq + 1).unwrap();
    }

    fn publish(&mut self) {
        self.seq += 1;
        self.filler.publish(self.seq, 0);
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.row(key, value, None);
        self.publish();
    }
}

impl Stage {
    /// With a cache of so many bytes over a memtable.
    fn over_memory(cache_bytes: usize) -> (Stage, Writer) {
        let memory = Memory::new(Shape { generations: 3, generation_bytes: 1 << 20, pins: 1 }).unwrap();
        let mut filler = Filler::take_over(memory);
        filler.begin_generation(0).unwrap();
        filler.set_space(0, SPACE);
        filler.set_seed(*b"0123456789abcdef");
        let mut stage = Stage::new();
        stage.cache = Cache::new(cache_bytes, stage.versions.clone(), memory);
        (stage, Writer { filler, seq: 0 })
    }
}

#[test]
fn what_was_just_written_is_read_from_memory_and_then_from_the_cache() {
    let (mut stage, mut writer) = Stage::over_memory(CACHE_BYTES);
    writer.put(b"a", Some(b"1"));
    writer.put(b"gone", None);
    assert_eq!(stage.look(&[b"a"]), values(&[b"1"]));
    assert!(stage.found.has_fresh());
    stage.cache.keep_fresh(&stage.found);
    assert_eq!(stage.look(&[b"a"]), values(&[b"1"]));
    assert!(!stage.found.has_fresh(), "it was kept");
    assert_eq!(stage.look(&[b"gone", b"a", b"gone"]), Ok(vec![None, Some(b"1".to_vec()), None]));
    assert!(stage.found.has_fresh() && stage.cache.records(&stage.found).next().unwrap().entry().is_none());
    assert!(!stage.knows(&[b"a", b"unknown"]), "the tables may have it");
    assert!(!stage.cache.look(1, &[b"a"], || NOW_MS, &mut stage.found), "of another database");
    writer.put(b"a", Some(b"2"));
    stage.change(b"a");
    assert_eq!(stage.look(&[b"a"]), values(&[b"2"]));
}

#[test]
fn of_a_collection_memory_has_the_elements_where_they_lie_in_the_keys_row() {
    let (mut stage, mut writer) = Stage::over_memory(CACHE_BYTES);
    let head = |id| Entry { kind: Kind::Hash, expires_at_ms: None, length: 1, id };
    writer.insert(b"small", Some(KeyRow { head: head(None), value: Some(b"l1:f1:v") }));
    writer.insert(b"large", Some(KeyRow { head: head(Some(7)), value: Some(b"h") }));
    writer.publish();
    for _ in 0..2 {
        assert!(stage.cache.look(0, &[b"small", b"large"], || NOW_MS, &mut stage.found));
        let records = stage.cache.records(&stage.found).map(|record| (record.entry(), record.value()));
        assert_eq!(
            records.collect::<Vec<_>>(),
            [(Some(head(None)), Some(&b"l1:f1:v"[..])), (Some(head(None)), None)],
            "what is remembered of a key has no id"
        );
        stage.cache.keep_fresh(&stage.found);
    }
    assert!(!stage.found.has_fresh());
}

#[test]
fn without_a_cache_memory_answers_all_the_same_and_nothing_is_kept() {
    let (mut stage, mut writer) = Stage::over_memory(0);
    writer.put(b"a", Some(b"1"));
    for _ in 0..2 {
        assert_eq!(stage.look(&[b"a"]), values(&[b"1"]));
        assert!(stage.found.has_fresh());
        stage.cache.keep_fresh(&stage.found);
    }
    let seen = stage.miss(&[b"unknown"]);
    assert!(seen.versions.is_empty());
}

#[test]
fn of_memory_nothing_is_used_that_is_not_published_or_whose_key_is_changing_or_that_is_merged() {
    let (mut stage, mut writer) = Stage::over_memory(CACHE_BYTES);
    writer.put(b"a", Some(b"1"));
    writer.row(b"a", Some(b"2"), None);
    assert_eq!(stage.look(&[b"a"]), values(&[b"1"]), "its group is not published, nor marked in this test");
    stage.marks.mark(0, b"a");
    assert!(!stage.knows(&[b"a"]));
    writer.publish();
    assert!(!stage.knows(&[b"a"]));
    stage.marks.unmark();
    assert_eq!(stage.look(&[b"a"]), values(&[b"2"]));
    stage.marks.mark_flush(u16::MAX);
    assert!(!stage.knows(&[b"a"]), "its database may be another's");
    stage.marks.unmark();
    writer.filler.begin_generation(0).unwrap();
    assert_eq!(stage.look(&[b"a"]), values(&[b"2"]));
    writer.filler.set_merged(1);
    assert!(!stage.knows(&[b"a"]), "who writes to the tables directly does not write here");
    writer.put(b"a", Some(b"3"));
    assert_eq!(stage.look(&[b"a"]), values(&[b"3"]));
}

#[test]
fn what_changes_while_memory_is_looked_at_is_not_used() {
    let (mut stage, mut writer) = Stage::over_memory(CACHE_BYTES);
    writer.row(b"a", Some(b"1"), None);
    writer.row(b"b", Some(b"1"), Some(i64::MAX));
    writer.publish();
    let Stage { marks, cache, found, .. } = &mut stage;
    let marks = RefCell::new(marks);
    // The time is asked for at the second key, when the first was looked at.
    let mark = || {
        marks.borrow_mut().mark(0, b"a");
        NOW_MS
    };
    assert!(!cache.look(0, &[b"a", b"b"], mark, found));
    assert!(found.has_fresh());
    cache.keep_fresh(found);
    assert_eq!(cache.size().0, 1, "of the one that does not change");
}

#[test]
fn a_row_of_memory_whose_time_is_over_is_left_to_the_lane() {
    let (mut stage, mut writer) = Stage::over_memory(CACHE_BYTES);
    writer.row(b"a", Some(b"1"), Some(NOW_MS + 1));
    writer.publish();
    let mut found = Found::default();
    assert!(stage.cache.look(0, &[b"a"], || NOW_MS, &mut found));
    assert!(!stage.cache.look(0, &[b"a"], || NOW_MS + 1, &mut found));
}

#[test]
fn reading_ahead_in_memory_changes_nothing() {
    let (mut stage, mut writer) = Stage::over_memory(CACHE_BYTES);
    let keys: [&[u8]; 3] = [b"a", b"b", b"c"];
    writer.put(b"b", Some(b"1"));
    for _ in 0..2 {
        let hashed: Vec<_> = keys.iter().map(|key| (stage.cache.hash_of(0, key), *key)).collect();
        stage.cache.prefetch_unmerged(0, hashed.into_iter());
        assert_eq!(keys.map(|key| stage.knows(&[key])), [false, true, false]);
        stage.cache.keep_fresh(&stage.found);
    }
}

#[test]
fn a_key_that_changes_between_two_keys_of_a_call_is_read_as_it_is_then() {
    let (mut stage, mut writer) = Stage::over_memory(CACHE_BYTES);
    writer.row(b"a", Some(b"1"), Some(i64::MAX));
    writer.row(b"b", Some(b"1"), None);
    writer.publish();
    let Stage { marks, cache, found, .. } = &mut stage;
    let hand = RefCell::new((marks, writer));
    // The time is asked for at the first key, before the second is looked at.
    let change = || {
        let (marks, writer) = &mut *hand.borrow_mut();
        marks.mark(0, b"b");
        writer.put(b"b", Some(b"2"));
        marks.unmark();
        NOW_MS
    };
    assert!(cache.look(0, &[b"a", b"b"], change, found));
    let second = cache.records(found).nth(1).unwrap().value().map(<[u8]>::to_vec);
    assert_eq!(second, Some(b"2".to_vec()));
}
