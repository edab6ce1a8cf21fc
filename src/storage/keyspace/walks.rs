//! Random elements of a collection, each as likely as any other, and its elements in the order of their homes, for who merges several.

use std::collections::HashSet;
use std::ops::ControlFlow;

use super::element_rows::{LAST_POSITION, Rows, Wanted};
use super::elements::{Elements, Form, Show};
use super::keyspace::Store;
use super::packed::{Packed, damaged};
use super::scores::{score_in, score_of_row};
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::{Apart, ElementRow, HOMES, Kind, Name, Table};

/// Elements that a bucket has on average, and more than any has: a bucket is taken with the probability of its share of the latter.
/// Nine of ten million million collections have none that is larger.
const BUCKET_MEAN: u64 = 4;
const BUCKET_MAX: u64 = 24;
/// Six are needed on average.
const TRIES_MAX: usize = 1000;
/// Rows of a walk are read at about this fraction of what a random element costs.
const PICK_ROWS: u64 = 60;
/// Elements that a walk has in memory, about: one by itself, one of many, and all of those together.
const PORTION_ROWS: usize = 256;
const PORTION_ROWS_MIN: usize = 4;
const ROWS_OF_ALL: usize = 65_536;

impl<S: Store> Elements<'_, S> {
    /// Shows so many different elements, or all where there are no more. `random` gives uniform numbers of 64 bits.
    pub fn random<E: From<StorageError>>(
        &self,
        count: u64,
        random: &mut dyn FnMut() -> u64,
        show: Show<'_, E>,
    ) -> std::result::Result<(), E> {
        if count >= self.len() {
            return self.each(show);
        }
        match &self.form {
            Form::Rows(rows) if count.saturating_mul(PICK_ROWS) < self.len() => {
                let mut seen = HashSet::new();
                while (seen.len() as u64) < count {
                    let Some(name) = self.pick(*rows, random)? else { return self.sample(count, random, show) };
                    if seen.contains(&name) {
                        continue;
                    }
                    self.show_named(&name, show)?;
                    seen.insert(name);
                }
                Ok(())
            }
            _ => self.sample(count, random, show),
        }
    }

    /// Shows so many elements, any of them perhaps more than once.
    pub fn random_repeating<E: From<StorageError>>(
        &self,
        count: u64,
        random: &mut dyn FnMut() -> u64,
        show: Show<'_, E>,
    ) -> std::result::Result<(), E> {
        if let Form::Rows(rows) = &self.form
            && count.saturating_mul(PICK_ROWS) < self.len()
        {
            for _ in 0..count {
                let Some(name) = self.pick(*rows, random)? else {
                    return self.sample_repeating(count, random, show);
                };
                self.show_named(&name, show)?;
            }
            return Ok(());
        }
        self.sample_repeating(count, random, show)
    }

    /// The name of an element; `None`: homes are so crowded that only a walk is fair.
    fn pick(&self, rows: Rows, random: &mut dyn FnMut() -> u64) -> Result<Option<Vec<u8>>> {
        let buckets = (self.len() / BUCKET_MEAN).max(1);
        for _ in 0..TRIES_MAX {
            let bucket = below(random(), buckets);
            let edge = |bucket: u64| (u128::from(HOMES) * u128::from(bucket) / u128::from(buckets)) as u64;
            // Homes begin with 1.
            let range = rows.range(edge(bucket) + 1, edge(bucket + 1));
            let wanted = below(random(), BUCKET_MAX);
            let (mut seen, mut found) = (0, None);
            self.keyspace.scan_elements::<StorageError>(range, Wanted::Names, &mut |_, name, _| {
                if seen == wanted {
                    found = Some(name.to_vec());
                }
                seen += 1;
                Ok(if seen > BUCKET_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
            if seen > BUCKET_MAX {
                return Ok(None);
            }
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn show_named<E: From<StorageError>>(&self, name: &[u8], show: Show<'_, E>) -> std::result::Result<(), E> {
        if self.wanted() == Wanted::Names {
            return show(name, &[]);
        }
        match self.get(name, <[u8]>::to_vec)? {
            Some(value) => show(name, &value),
            None => Err(damaged().into()),
        }
    }

    /// One walk over all: each is taken with the probability that makes all choices equally likely.
    fn sample<E: From<StorageError>>(
        &self,
        count: u64,
        random: &mut dyn FnMut() -> u64,
        show: Show<'_, E>,
    ) -> std::result::Result<(), E> {
        let (mut wanted, mut left) = (count, self.len());
        self.each(|name, value| {
            if below(random(), left.max(1)) < wanted {
                wanted -= 1;
                show(name, value)?;
            }
            left = left.saturating_sub(1);
            Ok(())
        })
    }

    /// One walk over all, for choices that are made before; they are shown in the order in which they were made.
    fn sample_repeating<E: From<StorageError>>(
        &self,
        count: u64,
        random: &mut dyn FnMut() -> u64,
        show: Show<'_, E>,
    ) -> std::result::Result<(), E> {
        let choices: Vec<u64> = (0..count).map(|_| below(random(), self.len())).collect();
        let mut wanted = choices.clone();
        wanted.sort_unstable();
        wanted.dedup();
        let mut chosen: Vec<(Vec<u8>, Vec<u8>)> = Vec::with_capacity(wanted.len());
        let (mut number, mut room, has_values) = (0, self.value_bytes_max, self.wanted() != Wanted::Names);
        self.each::<E>(|name, value| {
            if wanted.get(chosen.len()) == Some(&number) {
                // One that lies in its row is shown to whoever walks.
                let value = if has_values { value } else { &[] };
                room = room.checked_sub((name.len() + value.len()) as u64).ok_or(StorageError::TooLarge)?;
                chosen.push((name.to_vec(), value.to_vec()));
            }
            number += 1;
            Ok(())
        })?;
        for choice in choices {
            let element = wanted.binary_search(&choice).ok().and_then(|place| chosen.get(place));
            let (name, value) = element.ok_or_else(damaged)?;
            show(name, value)?;
        }
        Ok(())
    }

    /// Its elements in the order of `Walk`.
    pub fn walk(&self) -> Result<Walk<'_, S>> {
        self.walk_among(1)
    }

    /// The same of one of so many walks at a time, which have less in memory each.
    pub fn walk_among(&self, walks: usize) -> Result<Walk<'_, S>> {
        let rows_max = portion_rows(walks);
        let mut walk = Walk { elements: self, bytes: Vec::new(), portion: Vec::new(), rows_max, at: 0, next: Some(0) };
        walk.fill(0)?;
        Ok(walk)
    }

    /// The memory that it takes with such a walk, about.
    pub fn walk_bytes(&self, walks: usize) -> usize {
        let (rows, packed_bytes) = match &self.form {
            Form::Packed(bytes) => (usize::try_from(self.len()).unwrap_or(usize::MAX), 2 * bytes.len()),
            Form::Rows(_) => (portion_rows(walks), 0),
        };
        size_of::<Self>() + packed_bytes + rows.saturating_mul(size_of::<Step>() + NAME_BYTES)
    }
}

/// Of a name, on average: a guess.
const NAME_BYTES: usize = 16;

fn portion_rows(walks: usize) -> usize {
    (ROWS_OF_ALL / walks.max(1)).clamp(PORTION_ROWS_MIN, PORTION_ROWS)
}

/// A place among the elements of any collection of the file: the same name has the same place in all of them.
pub type Place<'a> = (u64, &'a [u8]);

/// The same with its bytes.
pub(super) type OwnedPlace = (u64, Vec<u8>);

/// A collection's names in the order of their places. Some are in memory at once.
pub struct Walk<'a, S> {
    elements: &'a Elements<'a, S>,
    bytes: Vec<u8>,
    portion: Vec<Step>,
    rows_max: usize,
    at: usize,
    /// The home from which on nothing is in memory. None: all that is left is.
    next: Option<u64>,
}

struct Step {
    position: u64,
    name: std::ops::Range<usize>,
    /// Of a long name that lies packed.
    whole: Option<std::ops::Range<usize>>,
    apart: Option<Apart>,
    /// Of a member of a sorted set.
    score: Option<f64>,
}

impl<S: Store> Walk<'_, S> {
    /// Where it stands; `None` at its end.
    pub fn place(&self) -> Option<Place<'_>> {
        self.portion.get(self.at).map(|step| (step.position, &self.bytes[step.name.clone()]))
    }

    pub fn advance(&mut self) -> Result<()> {
        self.at += 1;
        match self.next {
            Some(next) if self.at >= self.portion.len() => self.fill(next),
            _ => Ok(()),
        }
    }

    /// Goes on to the first place that is not before this one.
    pub fn seek(&mut self, place: Place<'_>) -> Result<()> {
        loop {
            while self.place().is_some_and(|here| here < place) {
                self.at += 1;
            }
            match self.next {
                Some(next) if self.at >= self.portion.len() => self.fill(next.max(place.0))?,
                _ => return Ok(()),
            }
        }
    }

    /// The score where it stands, and 1 of what is no sorted set, as set algebra has it.
    pub fn score(&self) -> Option<f64> {
        self.portion.get(self.at).map(|step| step.score.unwrap_or(1.0))
    }

    /// Shows the whole name where it stands.
    pub fn show_name<R>(&self, show: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        let Some(step) = self.portion.get(self.at) else { return Ok(None) };
        let long_name = match step.apart {
            Some(apart) => self.elements.keyspace.apart_name(apart)?,
            None => None,
        };
        let name = step.whole.as_ref().unwrap_or(&step.name);
        Ok(Some(show(long_name.as_deref().unwrap_or(&self.bytes[name.clone()]))))
    }

    /// The next portion, from a home on. It ends between two homes.
    fn fill(&mut self, first: u64) -> Result<()> {
        self.bytes.clear();
        self.portion.clear();
        (self.at, self.next) = (0, None);
        let elements = self.elements;
        let rows = match &elements.form {
            Form::Rows(rows) => *rows,
            Form::Packed(bytes) => return self.fill_packed(bytes),
        };
        let Self { bytes, portion, next, rows_max, .. } = self;
        let mut outcome = Ok(());
        elements.keyspace.view().scan(rows.range(first, LAST_POSITION), &mut |name, row| {
            let Name::Element(element) = name.name() else { return ControlFlow::Continue(()) };
            let position = element.position;
            if portion.len() >= *rows_max && portion.last().is_some_and(|last| last.position < position) {
                *next = Some(position);
                return ControlFlow::Break(());
            }
            let begin = bytes.len();
            bytes.extend_from_slice(element.name);
            let ElementRow { value, apart } = row.of_element();
            let score = match rows.table {
                Table::SortedMember => score_of_row(value).map(Some),
                _ => Ok(None),
            };
            match score {
                Ok(score) => portion.push(Step { position, name: begin..bytes.len(), whole: None, apart, score }),
                Err(error) => {
                    outcome = Err(error);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        outcome
    }

    fn fill_packed(&mut self, packed: &[u8]) -> Result<()> {
        for element in Packed::new(self.elements.kind, packed).elements() {
            let (name, value) = element?;
            let score = if self.elements.kind == Kind::SortedSet { Some(score_in(value)?) } else { None };
            let home = self.elements.keyspace.home(name);
            let begin = self.bytes.len();
            self.bytes.extend_from_slice(&home.name);
            let end = self.bytes.len();
            let whole = (home.name[..] != *name).then(|| {
                self.bytes.extend_from_slice(name);
                end..self.bytes.len()
            });
            self.portion.push(Step { position: home.position, name: begin..end, whole, apart: None, score });
        }
        let Self { bytes, portion, .. } = self;
        portion.sort_by(|a, b| (a.position, &bytes[a.name.clone()]).cmp(&(b.position, &bytes[b.name.clone()])));
        Ok(())
    }
}

/// A number below `limit` by a uniform one of 64 bits.
pub(super) fn below(random: u64, limit: u64) -> u64 {
    ((u128::from(random) * u128::from(limit)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use crate::storage::fixture::Fixture;
    use crate::storage::{Elements, Keyspace, Lookup, StorageError};

    fn random_from(seed: u64) -> impl FnMut() -> u64 {
        let mut state = seed;
        move || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        }
    }

    fn fill(keyspace: &mut Keyspace, count: u32) {
        for n in 0..count {
            keyspace.set_add(b"s", &[format!("member {n}").as_bytes()]).unwrap();
        }
    }

    /// Of uniform draws the sum of squares lies this near to its mean but once in a million times.
    fn assert_uniform(drawn: &BTreeMap<Vec<u8>, u32>, members: u32) {
        let draws: u32 = drawn.values().sum();
        let expected = f64::from(draws) / f64::from(members);
        assert_eq!(drawn.len(), members as usize, "all are drawn at times");
        let square: f64 = drawn.values().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
        let freedom = f64::from(members - 1);
        assert!((square - freedom).abs() < 5.0 * (2.0 * freedom).sqrt(), "{square} of {freedom}");
    }

    #[test]
    fn each_element_is_drawn_as_often_as_any_other() {
        for (members, count, draws) in [(1000, 1, 30_000), (1000, 3, 10_000), (1000, 100, 300), (100, 1, 3000)] {
            let mut fixture = Fixture::new();
            fixture.write(|keyspace| {
                fill(keyspace, members);
                let Lookup::Found(set) = keyspace.set(b"s").unwrap() else { panic!("no set") };
                let (mut random, mut different, mut repeating) =
                    (random_from(u64::from(members + count)), BTreeMap::new(), BTreeMap::new());
                for _ in 0..draws {
                    let mut seen = BTreeSet::new();
                    set.random::<StorageError>(u64::from(count), &mut random, &mut |name, _| {
                        assert!(seen.insert(name.to_vec()), "twice in one draw");
                        *different.entry(name.to_vec()).or_insert(0) += 1;
                        Ok(())
                    })
                    .unwrap();
                    set.random_repeating::<StorageError>(u64::from(count), &mut random, &mut |name, _| {
                        *repeating.entry(name.to_vec()).or_insert(0) += 1;
                        Ok(())
                    })
                    .unwrap();
                }
                // Without repetition draws are a little more even than independent ones.
                assert_uniform(&different, members);
                assert_uniform(&repeating, members);
            });
        }
    }

    #[test]
    fn no_more_is_chosen_at_once_than_there_is_room_for() {
        let mut fixture = Fixture::new();
        fixture.write(|keyspace| {
            for n in 0..200_u8 {
                keyspace.hash_set(b"h", &[&[n], &[b'v'; 300]]).unwrap();
            }
            let draw = |hash: Elements<'_>| {
                let mut shown = 0;
                let drawn = hash.random_repeating::<StorageError>(200, &mut random_from(3), &mut |_, value| {
                    shown += value.len();
                    Ok(())
                });
                drawn.map(|()| shown)
            };
            let hash = || keyspace.hash(b"h").unwrap().found().unwrap();
            assert_eq!(draw(hash().with_values_up_to(1 << 20)).unwrap(), 200 * 300);
            assert_eq!(draw(hash().with_values_up_to(10_000)), Err(StorageError::TooLarge));
            assert_eq!(draw(hash().with_values_up_to(10_000).without_values()), Ok(0));
            assert_eq!(draw(hash().with_values_up_to(10).without_values()), Err(StorageError::TooLarge));
        });
    }

    #[test]
    fn what_is_popped_is_random_and_ends_with_the_key() {
        let mut fixture = Fixture::new();
        fixture.write(|keyspace| {
            fill(keyspace, 2000);
            let (mut random, mut popped) = (random_from(1), BTreeSet::new());
            let mut is_gone = false;
            while !is_gone {
                // What is refused stays.
                let mut chosen = 0;
                let refused = keyspace.set_pop(b"s", 7, &mut random, &mut |_| {
                    chosen += 1;
                    if chosen < 5 { Ok(()) } else { Err(StorageError::TooLarge) }
                });
                assert!(matches!(refused, Err(StorageError::TooLarge)) || popped.len() > 1995);
                let found = keyspace.set_pop::<StorageError>(b"s", 7, &mut random, &mut |_| Ok(())).unwrap();
                let Lookup::Found(found) = found else { panic!("no set") };
                assert!(found.members.into_iter().all(|member| popped.insert(member)));
                is_gone = found.is_gone;
            }
            assert_eq!((popped.len(), keyspace.entry(b"s").unwrap()), (2000, None));
            let absent = keyspace.set_pop::<StorageError>(b"s", 7, &mut random, &mut |_| Ok(())).unwrap();
            assert_eq!(absent, Lookup::Absent);
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        /// Members below 40 stay; the others come and go between the steps, and with them the set is unpacked, removed and made anew.
        #[test]
        fn a_scan_shows_every_element_that_stays_however_others_come_and_go(
            count in 1..8usize,
            homes in 1..400u64,
            before in 0..120u8,
            changes in prop::collection::vec((40..200u8, any::<bool>()), 0..400),
        ) {
            let mut fixture = Fixture::new();
            fixture.crowd_homes(homes);
            fixture.write(|keyspace| {
                for n in 0..40 + before {
                    keyspace.set_add(b"s", &[&[n]]).unwrap();
                }
            });
            let (mut seen, mut changes, mut cursor) = (BTreeSet::new(), changes.into_iter(), 0);
            loop {
                cursor = fixture.write(|keyspace| {
                    let Lookup::Found(set) = keyspace.set(b"s").unwrap() else { panic!("no set") };
                    let next = set
                        .scan::<StorageError>(cursor, count, |name, _| {
                            seen.insert(name[0]);
                            Ok(())
                        })
                        .unwrap();
                    for (member, is_put) in changes.by_ref().take(31) {
                        if is_put {
                            keyspace.set_add(b"s", &[&[member]]).unwrap();
                        } else {
                            keyspace.set_remove(b"s", &[&[member]]).unwrap();
                        }
                    }
                    next
                });
                if cursor == 0 {
                    break;
                }
            }
            prop_assert!((0..40).all(|member| seen.contains(&member)), "{:?}", seen);
        }
    }
}
