//! The rules by which what is remembered may be used, one by one, with a test's hand on the writer's marks.

use std::cell::RefCell;

use super::{Cache, Found, asked};
use crate::kv::cache::{Learned, Learning, Seen};
use crate::kv::shared::versions::{Marks, Versions};
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
        let cache = Cache::new(CACHE_BYTES, versions.clone());
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
    stage.cache = Cache::new(1000, versions);
    assert!(!stage.cache.is_on());
    let seen = stage.miss(&[b"a"]);
    assert!(seen.versions.is_empty());
    stage.cache.learn(&stage.bring(&seen, &[b"a"], b"1", None));
    assert_eq!((stage.knows(&[b"a"]), stage.cache.size()), (false, (0, 0)));
}
