//! What threads may see of the memtable, in every order that there is: `cargo test --lib --features models models::`. Each rule that
//! they rest on is broken once, to see that it is found.

use loom::thread;

use super::{Busy, Filler, Lost, Memory, Portion, Scratch, Shape, Window};
use crate::storage::broken::{self, Variant};
use crate::storage::rows::{Origin, Part, Range, RowKey};

const SHAPE: Shape = Shape { generations: 2, generation_bytes: 40 * 8, pins: 1 };
const POSITION: u64 = 1 << 47;

fn key() -> RowKey<'static> {
    RowKey::key(1, POSITION, b"")
}

/// In the bucket of `key`.
fn neighbour() -> RowKey<'static> {
    RowKey::key(1, POSITION + 1, b"")
}

/// `model` is told which of its two threads begins: loom tries too few orders where a thread reads a word before it stores it.
fn explore(broken: Option<Variant>, model: fn(bool)) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    broken::choose(broken);
    builder.check(move || model(true));
    builder.check(move || model(false));
}

fn race(writer_begins: bool, writer: impl FnOnce() + 'static, reader: impl FnOnce() + 'static) {
    let (first, second): (Box<dyn FnOnce()>, Box<dyn FnOnce()>) =
        if writer_begins { (Box::new(writer), Box::new(reader)) } else { (Box::new(reader), Box::new(writer)) };
    let other = thread::spawn(second);
    first();
    other.join().unwrap();
}

fn delete(filler: &mut Filler, key: RowKey<'_>, seq: u64) {
    filler.insert(key, None, Origin::Blind, seq).unwrap();
}

fn filled() -> (Filler, Memory) {
    let memory = Memory::new(SHAPE).unwrap();
    let mut filler = Filler::take_over(memory);
    filler.begin_generation(0).unwrap();
    (filler, memory)
}

/// The group of the version that is seen of `key`.
fn look(memory: &Memory, window: &Window) -> Result<Option<u64>, Lost> {
    let mut scratch = Scratch::default();
    Ok(memory.find(key(), Part::Head, window, &mut scratch)?.map(|seen| seen.seq))
}

/// What is published by then, is seen.
fn sees_what_is_published(memory: Memory) -> impl FnOnce() {
    move || {
        let window = memory.unmerged();
        let expected = (window.seq == 1).then_some(1);
        assert_eq!(look(&memory, &window), Ok(expected));
    }
}

fn a_published_group_is_found(writer_begins: bool) {
    let (mut filler, memory) = filled();
    let writer = move || {
        delete(&mut filler, key(), 1);
        filler.publish(1, 0);
    };
    race(writer_begins, writer, sees_what_is_published(memory));
}

#[test]
fn publish_and_find() {
    explore(None, a_published_group_is_found);
}

#[test]
#[should_panic(expected = "assertion")]
fn publish_without_release() {
    explore(Some(Variant::SequenceRelaxed), a_published_group_is_found);
}

fn a_group_that_is_being_inserted_hides_nothing(writer_begins: bool) {
    let (mut filler, memory) = filled();
    delete(&mut filler, key(), 1);
    filler.publish(1, 0);
    let writer = move || {
        delete(&mut filler, neighbour(), 2);
        delete(&mut filler, key(), 2);
    };
    let reader = move || assert_eq!(look(&memory, &Window { oldest: 1, newest: 1, seq: 1 }), Ok(Some(1)));
    race(writer_begins, writer, reader);
}

#[test]
fn insert_and_find() {
    explore(None, a_group_that_is_being_inserted_hides_nothing);
}

#[test]
#[should_panic(expected = "assertion")]
fn a_link_without_release() {
    explore(Some(Variant::LinkRelaxed), a_group_that_is_being_inserted_hides_nothing);
}

/// Rows of elements, which lie in a list: the later one comes before and behind it.
fn a_list_that_grows_hides_nothing(writer_begins: bool) {
    let (mut filler, memory) = filled();
    let range = Range::Chunks { id: 1, first: 0, last: 9 };
    delete(&mut filler, RowKey::chunk(1, 5), 1);
    filler.publish(1, 0);
    let writer = move || {
        delete(&mut filler, RowKey::chunk(1, 4), 2);
        filler.publish(2, 0);
    };
    let reader = move || {
        let (window, mut portion) = (memory.unmerged(), Portion::default());
        assert_eq!(memory.collect(range, None, &window, 9, &mut portion), Ok(()));
        let found: Vec<_> = portion.rows().map(|row| row.seq).collect();
        assert_eq!(found, if window.seq == 1 { vec![1] } else { vec![2, 1] });
    };
    race(writer_begins, writer, reader);
}

#[test]
fn grow_and_collect() {
    explore(None, a_list_that_grows_hides_nothing);
}

#[test]
#[should_panic(expected = "assertion")]
fn a_list_that_is_linked_without_release() {
    explore(Some(Variant::LinkRelaxed), a_list_that_grows_hides_nothing);
}

/// A walk through keys goes by the bitmaps, which have to be there with the keys.
fn a_walk_shows_what_is_published(writer_begins: bool) {
    let (mut filler, memory) = filled();
    let writer = move || {
        delete(&mut filler, key(), 1);
        filler.publish(1, 0);
    };
    let reader = move || {
        let (window, mut portion) = (memory.unmerged(), Portion::default());
        let range = Range::Keys { space: 1, first: POSITION, last: POSITION };
        assert_eq!(memory.collect(range, None, &window, 9, &mut portion), Ok(()));
        assert_eq!(portion.len() as u64, window.seq);
    };
    race(writer_begins, writer, reader);
}

#[test]
fn publish_and_walk() {
    explore(None, a_walk_shows_what_is_published);
}

#[test]
#[should_panic(expected = "assertion")]
fn a_walk_after_publishing_without_release() {
    explore(Some(Variant::SequenceRelaxed), a_walk_shows_what_is_published);
}

fn a_generation_that_begins_is_seen_with_its_groups(writer_begins: bool) {
    let (mut filler, memory) = filled();
    let writer = move || {
        filler.begin_generation(0).unwrap();
        delete(&mut filler, key(), 1);
        filler.publish(1, 0);
    };
    race(writer_begins, writer, sees_what_is_published(memory));
}

#[test]
fn begin_and_find() {
    explore(None, a_generation_that_begins_is_seen_with_its_groups);
}

#[test]
#[should_panic(expected = "assertion")]
fn the_newest_generation_read_before_the_group() {
    explore(Some(Variant::NewestBeforeSequence), a_generation_that_begins_is_seen_with_its_groups);
}

/// Two generations, of which the first has `key`.
fn two() -> (Filler, Memory) {
    let (mut filler, memory) = filled();
    delete(&mut filler, key(), 1);
    filler.begin_generation(0).unwrap();
    filler.publish(1, 0);
    (filler, memory)
}

fn what_is_recycled_is_lost_and_not_missing(writer_begins: bool) {
    let (mut filler, memory) = two();
    let writer = move || {
        filler.set_merged(1);
        filler.begin_generation(0).unwrap();
        delete(&mut filler, neighbour(), 2);
    };
    let reader = move || {
        let found = look(&memory, &Window { oldest: 1, newest: 2, seq: 1 });
        assert!(found == Ok(Some(1)) || found == Err(Lost), "{found:?}");
    };
    race(writer_begins, writer, reader);
}

#[test]
fn recycle_and_find() {
    explore(None, what_is_recycled_is_lost_and_not_missing);
}

#[test]
#[should_panic(expected = "Ok(")]
fn recycled_without_a_fence() {
    explore(Some(Variant::RecycledUnfenced), what_is_recycled_is_lost_and_not_missing);
}

#[test]
#[should_panic(expected = "Ok(")]
fn the_nonce_not_checked_again() {
    explore(Some(Variant::NonceNotCheckedAgain), what_is_recycled_is_lost_and_not_missing);
}

#[test]
#[should_panic(expected = "Ok(")]
fn the_newest_nonce_checked() {
    explore(Some(Variant::NewestNonceChecked), what_is_recycled_is_lost_and_not_missing);
}

fn what_is_pinned_is_not_recycled(writer_begins: bool) {
    let (mut filler, memory) = two();
    let pin = memory.take_pin(1);
    let writer = move || {
        filler.set_merged(1);
        let begun = filler.begin_generation(0);
        assert!(begun == Ok(3) || begun == Err(Busy::Pinned));
    };
    let reader = move || {
        if let Some(window) = memory.open(&pin, 0, 0, 0) {
            assert_eq!(look(&memory, &window), Ok(Some(1)));
        }
    };
    race(writer_begins, writer, reader);
}

#[test]
fn recycle_and_pin() {
    explore(None, what_is_pinned_is_not_recycled);
}

#[test]
#[should_panic(expected = "assertion")]
fn a_pin_that_is_ignored() {
    explore(Some(Variant::PinIgnored), what_is_pinned_is_not_recycled);
}

#[test]
#[should_panic(expected = "assertion")]
fn a_pin_without_the_second_look() {
    explore(Some(Variant::PinUnseen), what_is_pinned_is_not_recycled);
}

fn a_view_sees_what_was_written_ahead_of_its_groups(writer_begins: bool) {
    let (mut filler, memory) = filled();
    let pin = memory.take_pin(1);
    let writer = move || {
        delete(&mut filler, key(), 1);
        filler.publish(1, 1);
    };
    // A snapshot from before.
    let reader = move || {
        if let Some(window) = memory.open(&pin, 0, 0, 0) {
            assert_eq!(window.seq, 0);
        }
    };
    race(writer_begins, writer, reader);
}

#[test]
fn publish_and_open() {
    explore(None, a_view_sees_what_was_written_ahead_of_its_groups);
}

#[test]
#[should_panic(expected = "assertion")]
fn a_view_that_does_not_look_for_what_was_written_ahead() {
    explore(Some(Variant::AheadUnchecked), a_view_sees_what_was_written_ahead_of_its_groups);
}
