//! The memtable against maps: several generations, versions, windows, deaths of the writer.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::storage::broken::{self, Variant};
use crate::storage::points::{self, Point};
use crate::storage::rows::model::Owned;
use crate::storage::rows::{Apart, Direction, Head, Kind, Origin, Part, Range, RowKey, Stretch, Table};

const GENERATIONS: u64 = 3;
const SHAPE: Shape = Shape { generations: GENERATIONS, generation_bytes: 64 << 10, pins: 4 };
const NAMES: u8 = 90;

type Name = (Table, u128, Vec<u8>);

/// What a generation has of a row: versions, and the origin of the first.
#[derive(Clone, Debug)]
struct Told {
    origin: Origin,
    versions: Vec<(u64, Option<Owned>)>,
}

#[derive(Clone, Debug, Default)]
struct Model {
    generations: BTreeMap<u64, BTreeMap<Name, Told>>,
    newest: u64,
    merged: u64,
    seq: u64,
}

fn owned(key: RowKey<'_>) -> Name {
    (key.table(), key.fields(), key.tail().to_vec())
}

/// Few rows of all tables, many of them at the same position, and some with tails of several words.
fn name(number: u8) -> Name {
    let tail = vec![number / 10; usize::from(number / 10) * 3];
    let position = u64::from(number / 20) << 44 | 5;
    owned(match number % 8 {
        0 => RowKey::key(1, position, &tail),
        1 => RowKey::key(2, position, &tail),
        2 => RowKey::chunk(i64::from(number / 20), u64::from(number / 5)),
        3 if number.is_multiple_of(2) => RowKey::orphan_value(i64::from(number)),
        3 => RowKey::element(Table::ListItem, i64::from(number / 30), position << 15, b""),
        4 => RowKey::element(Table::HashField, i64::from(number / 30), position, &tail),
        5 => RowKey::element(Table::SetMember, i64::from(number / 30), position, &tail),
        6 => RowKey::element(Table::SortedOrder, i64::from(number / 40), position, &tail),
        _ => RowKey::database(number % 16),
    })
}

fn row(table: Table, value: u8) -> Owned {
    let expires_at_ms = value.is_multiple_of(3).then_some(i64::from(value));
    let id = value.is_multiple_of(4).then_some(7);
    let head = Head { kind: Kind::String, id, expires_at_ms, length: u64::from(value) };
    match table {
        Table::Orphan => Owned::Orphan,
        Table::Chunk => Owned::Chunk(vec![value; usize::from(value)]),
        Table::Database => Owned::Database(value.into()),
        Table::HashField | Table::SetMember | Table::ListItem | Table::ListCount => {
            Owned::Element(vec![value; usize::from(value % 50)], None)
        }
        Table::SortedOrder => Owned::Element(if value.is_multiple_of(3) { vec![1] } else { Vec::new() }, None),
        Table::SortedMember | Table::CountBlock => Owned::Element(vec![value; 8], None),
        Table::CountSum => Owned::Element(vec![value; 16], None),
        Table::StreamEntry | Table::StreamConsumer | Table::StreamConsumerName | Table::StreamPending => {
            Owned::Element(vec![value; 1], None)
        }
        Table::StreamGroup => Owned::Element(vec![value; 1], Some(Apart { id: 1, name_bytes: 0, value_bytes: 0 })),
        Table::StreamOwned => Owned::Element(Vec::new(), None),
        Table::Key => Owned::Key(head, value.is_multiple_of(2).then(|| vec![value; usize::from(value) / 9])),
    }
}

fn head_only(row: Owned) -> Owned {
    match row {
        Owned::Key(head, _) => Owned::Key(head, None),
        row => row,
    }
}

fn origin(number: u8) -> Origin {
    match number % 4 {
        0 => Origin::Blind,
        1 => Origin::Absent,
        2 => Origin::Present { id: None, expires_at_ms: Some(-3) },
        _ => Origin::Present { id: Some(i64::from(number)), expires_at_ms: None },
    }
}

#[derive(Clone, Debug)]
struct Change {
    name: u8,
    /// `None`: it is deleted.
    value: Option<u8>,
    origin: u8,
}

#[derive(Clone, Debug)]
enum Op {
    Group(Vec<Change>),
    /// The writer dies after so many points of a group; another inserts it again.
    Death(Vec<Change>, u8),
    Begin,
    /// The oldest generation's rows are in the tables now.
    Merge,
}

fn change() -> impl Strategy<Value = Change> {
    (0..NAMES, proptest::option::weighted(0.7, any::<u8>()), any::<u8>()).prop_map(|(name, value, origin)| Change {
        name,
        value,
        origin,
    })
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let group = || prop::collection::vec(change(), 1..12);
    let op = prop_oneof![
        8 => group().prop_map(Op::Group),
        3 => (group(), 1..40_u8).prop_map(|(group, points)| Op::Death(group, points)),
        2 => Just(Op::Begin),
        1 => Just(Op::Merge),
    ];
    prop::collection::vec(op, 1..60)
}

struct Pair {
    filler: Filler,
    model: Model,
}

impl Pair {
    fn new() -> Self {
        let memory = Memory::new(SHAPE).unwrap();
        let mut pair = Self { filler: Filler::take_over(memory), model: Model::default() };
        pair.begin();
        pair
    }

    fn begin(&mut self) {
        let begun = self.filler.begin_generation(0);
        let place_of = (self.model.newest + 1).saturating_sub(GENERATIONS);
        if place_of > self.model.merged {
            assert_eq!(begun, Err(Busy::Unmerged { generation: place_of }));
            return;
        }
        self.model.newest += 1;
        assert_eq!(begun, Ok(self.model.newest));
        self.model.generations.insert(self.model.newest, BTreeMap::new());
    }

    fn merge(&mut self) {
        if self.model.merged + 1 < self.model.newest {
            self.model.merged += 1;
            self.filler.set_merged(self.model.merged);
        }
    }

    /// A group has one change of a row.
    fn group(&mut self, changes: &[Change]) {
        let seq = self.model.seq + 1;
        let bytes: usize = changes.iter().map(|_| 400).sum();
        while !self.filler.fits(changes.len(), bytes) {
            self.merge();
            self.begin();
        }
        insert(&mut self.filler, changes, seq);
        self.filler.publish(seq, 0);
        self.note(changes, seq);
    }

    fn note(&mut self, changes: &[Change], seq: u64) {
        self.model.seq = seq;
        let generation = self.model.generations.get_mut(&self.model.newest).unwrap();
        for change in distinct(changes) {
            let name = name(change.name);
            let value = change.value.map(|value| row(name.0, value));
            let told = Told { origin: origin(change.origin), versions: Vec::new() };
            generation.entry(name).or_insert(told).versions.push((seq, value));
        }
    }

    fn die(&mut self, changes: &[Change], after: u8) {
        while !self.filler.fits(changes.len(), changes.len() * 400) {
            self.merge();
            self.begin();
        }
        let seq = self.model.seq + 1;
        let left = std::rc::Rc::new(std::cell::Cell::new(after));
        points::listen(Some(std::rc::Rc::new(move |_: Point| {
            left.set(left.get() - 1);
            if left.get() == 0 {
                std::panic::resume_unwind(Box::new("dies"));
            }
        })));
        let inserted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            insert(&mut self.filler, changes, seq);
        }));
        points::listen(None);
        let memory = self.filler.memory();
        self.filler = Filler::take_over(memory);
        compare(&memory, &self.model, self.model.merged + 1, self.model.seq);
        // Short groups are over before.
        drop(inserted);
        insert(&mut self.filler, changes, seq);
        self.filler.publish(seq, 0);
        self.note(changes, seq);
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Group(changes) => self.group(changes),
            Op::Death(changes, after) => self.die(changes, *after),
            Op::Begin => self.begin(),
            Op::Merge => self.merge(),
        }
    }
}

fn distinct(changes: &[Change]) -> impl Iterator<Item = &Change> {
    let mut seen = BTreeSet::new();
    changes.iter().filter(move |change| seen.insert(name(change.name)))
}

fn insert(filler: &mut Filler, changes: &[Change], seq: u64) {
    for change in distinct(changes) {
        let name = name(change.name);
        let key = RowKey::new(name.0, name.1, &name.2);
        let value = change.value.map(|value| row(name.0, value));
        filler.insert(key, value.as_ref().map(Owned::row), origin(change.origin), seq).unwrap();
    }
}

/// The newest version of a row as of `seq`, the oldest generation that has one, and that one's origin.
fn expected(model: &Model, name: &Name, oldest: u64, seq: u64) -> Option<(u64, Option<Owned>, u64, u64, Origin)> {
    let of = |generation: &u64| {
        let told = model.generations.get(generation)?.get(name)?;
        let version = told.versions.iter().rev().find(|(at, _)| *at <= seq)?;
        Some((*generation, version.clone(), told.origin))
    };
    let (generation, (at, row), _) = (oldest..=model.newest).rev().find_map(|generation| of(&generation))?;
    let (first, _, origin) = (oldest..=model.newest).find_map(|generation| of(&generation))?;
    Some((at, row, generation, first, origin))
}

fn compare(memory: &Memory, model: &Model, oldest: u64, seq: u64) {
    let window = Window { oldest, newest: model.newest, seq };
    let mut scratch = Scratch::default();
    for number in 0..NAMES {
        let name = name(number);
        let key = RowKey::new(name.0, name.1, &name.2);
        let expected = expected(model, &name, oldest, seq);
        for part in [Part::Whole, Part::Head] {
            let found = memory.find(key, part, &window, &mut scratch).unwrap();
            let found = found.map(|seen| (seen.seq, seen.row.map(Owned::of), seen.generation));
            let expected = expected.clone().map(|(seq, row, generation, ..)| {
                (seq, if part == Part::Head { row.map(head_only) } else { row }, generation)
            });
            assert_eq!(found, expected, "{name:?}");
        }
    }
    let top = (1 << 48) - 1;
    for range in [
        Range::Keys { space: 1, first: 0, last: top },
        Range::Keys { space: 2, first: 1 << 44, last: 3 << 44 },
        Range::Chunks { id: 1, first: 0, last: u64::MAX },
        Range::Elements { table: Table::HashField, id: 1, first: 0, last: u64::MAX },
        Range::Elements { table: Table::SetMember, id: 2, first: 6, last: 2 << 44 },
        Range::Elements { table: Table::ListItem, id: 1, first: 0, last: u64::MAX },
        Range::Chunks { id: 3, first: 13, last: 14 },
    ] {
        let (table, first, last) = range.bounds();
        let names = model.generations.values().flat_map(BTreeMap::keys).collect::<BTreeSet<_>>();
        let wanted = names.into_iter().filter(|name| name.0 == table && (first..=last).contains(&name.1));
        let wanted: Vec<_> = wanted
            .filter_map(|name| {
                let (at, row, _, first, origin) = expected(model, name, oldest, seq)?;
                Some((name.clone(), at, row.map(head_only), first, origin))
            })
            .collect();
        for rows_max in [1, 3, usize::MAX] {
            assert_eq!(collected(memory, range, &window, rows_max), wanted, "{range:?} by {rows_max}");
        }
    }
    for (table, id, number, tail, end) in [
        (Table::SortedOrder, 0, 0, &b""[..], u64::MAX),
        (Table::SortedOrder, 1, 2 << 44 | 5, &[5], 9 << 44),
        (Table::SortedOrder, 1, 3 << 44 | 5, &[7; 21], 0),
        (Table::SetMember, 2, u64::MAX, &[7; 22], 0),
    ] {
        for direction in [Direction::Forward, Direction::Backward] {
            let stretch = Stretch { table, id, begin: (number, tail), end, direction };
            let (_, first, last) = stretch.range().bounds();
            let names = model.generations.values().flat_map(BTreeMap::keys).collect::<BTreeSet<_>>();
            let is_within = |name: &&Name| {
                let key = RowKey::new(name.0, name.1, &name.2);
                name.0 == table && (first..=last).contains(&name.1) && !direction.is_before(key, stretch.first())
            };
            let mut wanted: Vec<_> = names.into_iter().filter(is_within).collect();
            if direction == Direction::Backward {
                wanted.reverse();
            }
            let wanted: Vec<_> = wanted
                .into_iter()
                .filter_map(|name| {
                    let (at, row, _, first, origin) = expected(model, name, oldest, seq)?;
                    Some((name.clone(), at, row.map(head_only), first, origin))
                })
                .collect();
            for rows_max in [1, 3, usize::MAX] {
                let portion = |after: Option<RowKey<'_>>, portion: &mut Portion| {
                    memory.collect_along(&stretch, after, &window, rows_max, portion)
                };
                assert_eq!(in_portions(&portion, rows_max), wanted, "{stretch:?} by {rows_max}");
            }
        }
    }
}

type Row = (Name, u64, Option<Owned>, u64, Origin);

fn collected(memory: &Memory, range: Range, window: &Window, rows_max: usize) -> Vec<Row> {
    let portion =
        |after: Option<RowKey<'_>>, portion: &mut Portion| memory.collect(range, after, window, rows_max, portion);
    in_portions(&portion, rows_max)
}

#[expect(clippy::type_complexity, reason = "said once")]
fn in_portions(
    collect: &dyn Fn(Option<RowKey<'_>>, &mut Portion) -> std::result::Result<(), Lost>,
    rows_max: usize,
) -> Vec<Row> {
    let (mut all, mut portion) = (Vec::<Row>::new(), Portion::default());
    loop {
        let after = all.last().map(|(name, ..)| name.clone());
        let after = after.as_ref().map(|name| RowKey::new(name.0, name.1, &name.2));
        collect(after, &mut portion).unwrap();
        all.extend(
            portion.rows().map(|row| (owned(row.key), row.seq, row.row.map(Owned::of), row.generation, row.origin)),
        );
        if portion.is_last() {
            return all;
        }
        assert_eq!(portion.len(), rows_max);
    }
}

fn compare_frozen(filler: &Filler, model: &Model) {
    for (generation, rows) in model.generations.iter().filter(|(generation, _)| **generation > model.merged) {
        let frozen = filler.frozen(*generation);
        let mut scratch = Vec::new();
        for table in Table::ALL {
            let (mut found, mut walk) = (Vec::new(), frozen.walk(table).unwrap());
            loop {
                // A slice that failed goes back to where it began.
                let before = walk.clone();
                assert!(frozen.next(&mut walk, &mut scratch).is_ok());
                walk = before;
                let Some(change) = frozen.next(&mut walk, &mut scratch).unwrap() else { break };
                found.push((owned(change.key), change.row.map(Owned::of), change.origin, change.seq));
            }
            if table == Table::Key {
                found.sort_by(|a, b| a.0.cmp(&b.0));
            }
            let expected: Vec<_> = rows
                .iter()
                .filter(|(name, _)| name.0 == table)
                .map(|(name, told)| {
                    let (seq, row) = told.versions.last().unwrap().clone();
                    (name.clone(), row, told.origin, seq)
                })
                .collect();
            assert_eq!(found, expected, "generation {generation}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_window_shows_the_newest_version_of_each_row_whatever_the_writer_does(ops in ops()) {
        let mut pair = Pair::new();
        let memory = pair.filler.memory();
        for op in &ops {
            pair.apply(op);
            prop_assert_eq!(memory.unmerged(), Window {
                oldest: pair.model.merged + 1,
                newest: pair.model.newest,
                seq: pair.model.seq,
            });
        }
        let (oldest, seq) = (pair.model.merged + 1, pair.model.seq);
        for seq in [seq, seq / 2, 1] {
            compare(&memory, &pair.model, oldest, seq);
        }
        compare(&memory, &pair.model, pair.model.newest, seq);
        compare_frozen(&pair.filler, &pair.model);
    }
}

/// A writer with one generation, and a key of it.
fn filled(shape: Shape) -> (Filler, Memory) {
    let memory = Memory::new(shape).unwrap();
    let mut filler = Filler::take_over(memory);
    filler.begin_generation(0).unwrap();
    (filler, memory)
}

fn put(filler: &mut Filler, key: RowKey<'_>, value: u8, seq: u64) {
    filler.insert(key, Some(row(key.table(), value).row()), Origin::Blind, seq).unwrap();
}

#[test]
fn what_lay_in_a_recycled_place_is_lost_to_whoever_looks_there_and_new_to_nobody() {
    let (mut filler, memory) = filled(SHAPE);
    let (key, chunk) = (RowKey::key(1, 1 << 40, b"key"), RowKey::chunk(4, 4));
    put(&mut filler, key, 1, 1);
    put(&mut filler, chunk, 1, 1);
    filler.publish(1, 0);
    let (old, mut scratch) = (memory.unmerged(), Scratch::default());
    assert!(memory.find(key, Part::Whole, &old, &mut scratch).unwrap().is_some());
    for generation in 1..=GENERATIONS {
        filler.begin_generation(0).unwrap_or_else(|_| {
            filler.set_merged(1);
            filler.begin_generation(0).unwrap()
        });
        assert_eq!(memory.newest(), generation + 1);
    }
    for key in [key, chunk, RowKey::key(1, 1 << 30, b"other")] {
        assert_eq!(memory.find(key, Part::Whole, &old, &mut scratch), Err(Lost));
        assert_eq!(memory.find(key, Part::Whole, &memory.unmerged(), &mut scratch), Ok(None));
    }
    let range = Range::Keys { space: 1, first: 0, last: 1 << 47 };
    let mut portion = Portion::default();
    assert_eq!(memory.collect(range, None, &old, 9, &mut portion), Err(Lost));
    assert_eq!(memory.collect(range, None, &memory.unmerged(), 9, &mut portion), Ok(()));
    assert!(portion.is_empty() && portion.is_last());
}

#[test]
fn nothing_is_found_where_there_is_no_memory() {
    let (memory, mut scratch, mut portion) = (Memory::off(), Scratch::default(), Portion::default());
    let window = Window { oldest: 1, newest: 9, seq: 9 };
    assert_eq!(memory.find(RowKey::database(1), Part::Whole, &window, &mut scratch), Ok(None));
    assert_eq!(memory.collect(Range::Chunks { id: 1, first: 0, last: 9 }, None, &window, 9, &mut portion), Ok(()));
    assert!(portion.is_last() && portion.is_empty());
    assert_eq!((memory.published(), memory.space(3), memory.seed(), memory.bytes()), (0, 0, None, 0));
    let mut filler = Filler::take_over(memory);
    assert!(!filler.fits(1, 1) && !filler.fits_empty(1, 1));
    filler.publish(7, 1);
    filler.set_space(1, 1);
}

#[test]
fn the_room_that_was_found_for_a_group_is_enough_for_it_whatever_its_rows_are() {
    let shape = Shape { generations: 2, generation_bytes: 16 << 10, pins: 0 };
    let (mut filler, memory) = filled(shape);
    let arena = memory.figures().arena_bytes;
    for (length, elements) in [(1, true), (9, false), (200, true), (0, true)] {
        filler.set_merged(memory.newest());
        filler.begin_generation(0).unwrap();
        let mut number = 0;
        let tail = vec![7; length];
        while filler.fits(3, 3 * (tail.len() + 9)) {
            for _ in 0..3 {
                number += 1;
                let key = match elements {
                    true => RowKey::new(Table::Chunk, number, &tail),
                    false => RowKey::key(1, number as u64, &tail),
                };
                let row = match elements {
                    true => Owned::Chunk(vec![1; 9]),
                    false => Owned::Key(Head { kind: Kind::Hash, id: Some(1), expires_at_ms: None, length: 1 }, None),
                };
                let origin = Origin::Present { id: Some(1), expires_at_ms: Some(1) };
                // A key's row is 26 bytes, of which 9 were counted.
                if elements || filler.fits(1, tail.len() + 26) {
                    filler.insert(key, Some(row.row()), origin, 1).unwrap();
                }
            }
        }
        let figures = memory.figures();
        assert_eq!(figures.generations, 1);
        assert!(figures.used_bytes <= arena && figures.used_bytes > arena / 3, "{figures:?}");
        assert!(figures.rows > 9 && figures.rows == figures.versions);
        let too_large = Owned::Chunk(vec![1; arena as usize]);
        let refused = filler.insert(RowKey::chunk(1, 1), Some(too_large.row()), Origin::Blind, 1);
        assert_eq!(refused, Err(Full));
    }
}

#[test]
fn a_successor_takes_no_place_that_is_taken() {
    let die_between_link_and_place = |filler: &mut Filler, key: RowKey<'_>, at: Point| {
        points::listen(Some(std::rc::Rc::new(move |point| {
            if point == at {
                std::panic::resume_unwind(Box::new("dies"));
            }
        })));
        let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| put(filler, key, 1, 1)));
        points::listen(None);
        assert!(died.is_err());
    };
    let deaths = [
        (RowKey::key(1, 5, b"a"), Point::RowLinked),
        (RowKey::key(1, 5, b"a"), Point::RowChained),
        (RowKey::chunk(1, 1), Point::RowLinked),
    ];
    let is_right = || {
        deaths.iter().all(|(key, at)| {
            let (mut filler, memory) = filled(SHAPE);
            die_between_link_and_place(&mut filler, *key, *at);
            let mut filler = Filler::take_over(memory);
            put(&mut filler, RowKey::key(1, 9 << 40, b"b"), 2, 1);
            filler.publish(1, 0);
            let (mut portion, keys) = (Portion::default(), Range::Keys { space: 1, first: 0, last: 1 << 47 });
            memory.collect(keys, None, &memory.unmerged(), 9, &mut portion).unwrap();
            let is_walked = portion.len() == 1 + usize::from(key.table() == Table::Key);
            let mut scratch = Scratch::default();
            let found = memory.find(*key, Part::Whole, &memory.unmerged(), &mut scratch).unwrap();
            is_walked && found.and_then(|seen| seen.row.map(Owned::of)) == Some(row(key.table(), 1))
        })
    };
    assert!(is_right());
    broken::choose(Some(Variant::PlaceTakenTwice));
    let is_found = !std::panic::catch_unwind(is_right).unwrap_or(false);
    broken::choose(None);
    assert!(is_found);
}

#[test]
fn who_starts_again_finds_nothing_of_whoever_died_at_the_same_generation() {
    let (mut filler, memory) = filled(SHAPE);
    let (key, chunk) = (RowKey::key(1, 1 << 40, b"key"), RowKey::chunk(4, 4));
    put(&mut filler, key, 1, 1);
    put(&mut filler, chunk, 1, 1);
    let mut filler = Filler::take_over(memory);
    filler.start(0, 0, 0);
    filler.begin_generation(0).unwrap();
    let nothing = |key| {
        memory.find(key, Part::Whole, &Window { oldest: 1, newest: 1, seq: 9 }, &mut Scratch::default()) == Ok(None)
    };
    assert!(nothing(key) && nothing(chunk));
    put(&mut filler, RowKey::chunk(1, 1), 1, 1);
    put(&mut filler, key, 1, 1);
    put(&mut filler, chunk, 1, 1);
    filler.publish(1, 0);
    let mut portion = Portion::default();
    let range = Range::Keys { space: 1, first: 0, last: 1 << 47 };
    memory.collect(range, None, &memory.unmerged(), 9, &mut portion).unwrap();
    assert_eq!(portion.len(), 1);
    assert!(!nothing(chunk));
}

#[test]
fn no_window_is_seen_through_that_nobody_has_opened() {
    let (mut filler, memory) = filled(SHAPE);
    put(&mut filler, RowKey::chunk(4, 4), 1, 1);
    assert!(Window::default().is_empty());
    assert_eq!(memory.find(RowKey::chunk(4, 4), Part::Whole, &Window::default(), &mut Scratch::default()), Ok(None));
}

#[test]
fn a_view_is_late_where_a_group_goes_into_the_tables_alone_while_it_is_opened() {
    let open = || {
        let (filler, memory) = filled(SHAPE);
        let filler = std::cell::RefCell::new(filler);
        points::listen(Some(std::rc::Rc::new(move |point| {
            if point == Point::PinHolds {
                filler.borrow_mut().set_merged(1);
                filler.borrow_mut().publish(1, 0);
            }
        })));
        let opened = memory.open(&memory.take_pin(1), 0, 0, 5000);
        points::listen(None);
        opened
    };
    assert_eq!(open(), None);
    broken::choose(Some(Variant::MergedReadBeforeSequence));
    let is_found = open().is_some();
    broken::choose(None);
    assert!(is_found);
}

#[test]
fn a_pin_keeps_a_generation_for_a_moment_and_no_longer_than_its_lease() {
    let (mut filler, memory) = filled(SHAPE);
    filler.begin_generation(0).unwrap();
    filler.begin_generation(0).unwrap();
    let me = u64::from(std::process::id());
    let dead = i32::MAX as u64;
    let (pin, other) = (memory.take_pin(me), memory.take_pin(dead));
    assert_eq!(memory.open(&pin, 0, 1, 5000), None, "rows were written ahead of what it sees");
    let window = memory.open(&pin, 0, 0, 5000).unwrap();
    assert_eq!(window, Window { oldest: 1, newest: 3, seq: 0 });
    assert_eq!(filler.begin_generation(5001), Err(Busy::Unmerged { generation: 1 }));
    filler.set_merged(1);
    assert_eq!(memory.open(&other, 0, 0, 5001), None, "its snapshot is too old");
    assert_eq!(filler.begin_generation(5001), Err(Busy::Pinned));
    assert_eq!(filler.begin_generation(5020), Err(Busy::Pinned));
    assert!(memory.open(&other, 1, 0, 5020).is_some(), "which holds nobody up");
    assert_eq!(filler.begin_generation(5021), Ok(4));
    assert!(!memory.is_whole(1) && memory.is_whole(2));

    // A lease that is over, a pin that was taken back, and one of a process that died.
    filler.set_merged(2);
    assert_eq!(filler.begin_generation(5030), Err(Busy::Pinned));
    assert_eq!(filler.begin_generation(6020), Ok(5));
    assert!(memory.open(&other, 2, 0, 9000).is_some());
    filler.set_merged(3);
    assert_eq!(filler.begin_generation(9000), Err(Busy::Pinned));
    let more: Vec<_> = (0..4).map(|_| memory.take_pin(me)).collect();
    assert!(memory.open(&more[2], 3, 0, 9000).is_some(), "in the place of the dead");
    assert_eq!(filler.begin_generation(9000), Ok(6));
    filler.set_merged(4);
    assert!(more.iter().all(|pin| memory.open(pin, 4, 0, 9000).is_some()), "one has no place, and reads all the same");
}

#[test]
fn keys_of_one_name_in_thousands_of_spaces_are_found_and_walked_without_trying_all() {
    let (mut filler, memory) = filled(Shape { generations: 2, generation_bytes: 8 << 20, pins: 0 });
    let spaces = 20_000_u64;
    let key = |space: u64| RowKey::new(Table::Key, u128::from(space) << 48 | 12345, b"the same");
    let begun = crate::sys::clock::monotonic();
    (1..=spaces).for_each(|space| put(&mut filler, key(space), 2, space));
    filler.publish(spaces, 0);
    let mut scratch = Scratch::default();
    let window = memory.unmerged();
    assert!((1..=spaces).all(|space| memory.find(key(space), Part::Head, &window, &mut scratch).unwrap().is_some()));
    let frozen = filler.frozen(1);
    let (mut walk, mut count, mut bytes) = (frozen.walk(Table::Key).unwrap(), 0, Vec::new());
    while frozen.next(&mut walk, &mut bytes).unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, spaces);
    // In one bucket they would be 600 million steps.
    assert!(begun.elapsed().as_secs() < 10);
}

#[test]
fn memory_is_cut_to_what_is_sensible() {
    let bytes = |bytes: usize| Shape::of(bytes, 1).generation_bytes;
    assert_eq!((bytes(0), bytes(16 << 20), bytes(1 << 40)), (1 << 20, 4 << 20, 64 << 20));
    let memory = Memory::new(Shape::of(16 << 20, 8)).unwrap();
    assert!(memory.bytes() >= 16 << 20 && memory.bytes() < (16 << 20) + (64 << 10));
    let mut filler = Filler::take_over(memory);
    assert!(filler.is_blank() && filler.fits_empty(19_000, 19_000 * 100) && !filler.fits_empty(1, 4 << 20));
    filler.start(41, 700, 3);
    assert!(!filler.is_blank());
    assert_eq!(filler.begin_generation(0), Ok(42));
    assert_eq!(memory.unmerged(), Window { oldest: 42, newest: 42, seq: 700 });
    filler.set_seed(*b"0123456789abcdef");
    filler.set_space(3, 77);
    assert_eq!((memory.seed(), memory.space(3), memory.space(2)), (Some(*b"0123456789abcdef"), 77, 0));
}
