//! The first so many of what is shown to it, in an order: what SORT and searches of places sort in memory, which is bounded.

use std::cmp::Ordering;
use std::ops::Range;

/// What is kept takes more memory than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overfull;

/// What a text is sorted by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weight<'a> {
    Number(f64),
    Text(&'a [u8]),
    /// Lower than every text.
    Nothing,
    /// The text itself.
    Same,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    pub is_descending: bool,
    /// Equal numbers are in the order of their texts; all else that is equal comes in the order in which it was shown.
    pub are_ties_by_text: bool,
}

impl Order {
    /// As the texts are shown, where none has a weight.
    pub const SHOWN: Order = Order { is_descending: false, are_ties_by_text: false };
}

/// So many texts are beside those that are wanted before the others are dropped.
const SPARE: usize = 1024;

pub struct Ranking {
    order: Order,
    wanted: usize,
    bytes_max: usize,
    entries: Vec<Entry>,
    /// The texts of the entries, and those that they are sorted by.
    texts: Vec<u8>,
    shown: u64,
}

struct Entry {
    weight: Kept,
    text: Range<usize>,
    /// When it was shown.
    number: u64,
}

enum Kept {
    Number(f64),
    Text(Range<usize>),
    Nothing,
    Same,
}

impl Ranking {
    /// Of at most so many texts, and so many bytes while it gathers them.
    #[must_use]
    pub fn of(wanted: u64, order: Order, bytes_max: usize) -> Ranking {
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        Ranking { order, wanted, bytes_max, entries: Vec::new(), texts: Vec::new(), shown: 0 }
    }

    /// # Errors
    /// `Overfull`
    pub fn add(&mut self, text: &[u8], weight: Weight<'_>) -> Result<(), Overfull> {
        self.shown += 1;
        if self.wanted == 0 {
            return Ok(());
        }
        if self.entries.len() >= self.wanted.saturating_add(self.wanted.max(SPARE)) {
            self.drop_the_last();
        }
        let beside = if let Weight::Text(weight) = weight { weight.len() } else { 0 };
        let bytes = (self.entries.len() + 1) * size_of::<Entry>() + self.texts.len() + text.len() + beside;
        if bytes > self.bytes_max {
            return Err(Overfull);
        }
        let weight = match weight {
            Weight::Number(number) => Kept::Number(number),
            Weight::Text(weight) => Kept::Text(append(&mut self.texts, weight)),
            Weight::Nothing => Kept::Nothing,
            Weight::Same => Kept::Same,
        };
        let text = append(&mut self.texts, text);
        self.entries.push(Entry { weight, text, number: self.shown });
        Ok(())
    }

    /// How many bytes a text and its weight may have, about.
    #[must_use]
    pub fn room(&self) -> usize {
        self.bytes_max.saturating_sub(self.entries.len() * size_of::<Entry>() + self.texts.len())
    }

    fn drop_the_last(&mut self) {
        let (order, texts, wanted) = (self.order, &self.texts, self.wanted);
        self.entries.select_nth_unstable_by(wanted - 1, |a, b| order.of(texts, a, b));
        self.entries.truncate(wanted);
        let mut kept = Vec::with_capacity(self.entries.iter().map(Entry::bytes).sum());
        for entry in &mut self.entries {
            entry.text = append(&mut kept, &texts[entry.text.clone()]);
            if let Kept::Text(weight) = &mut entry.weight {
                *weight = append(&mut kept, &texts[weight.clone()]);
            }
        }
        self.texts = kept;
    }

    #[must_use]
    pub fn sorted(mut self) -> Sorted {
        let (order, texts) = (self.order, &self.texts);
        self.entries.sort_unstable_by(|a, b| order.of(texts, a, b));
        self.entries.truncate(self.wanted);
        Sorted { entries: self.entries, texts: self.texts }
    }
}

fn append(texts: &mut Vec<u8>, text: &[u8]) -> Range<usize> {
    let begin = texts.len();
    texts.extend_from_slice(text);
    begin..texts.len()
}

impl Entry {
    fn bytes(&self) -> usize {
        self.text.len() + if let Kept::Text(weight) = &self.weight { weight.len() } else { 0 }
    }
}

impl Order {
    fn of(self, texts: &[u8], a: &Entry, b: &Entry) -> Ordering {
        let text = |range: &Range<usize>| &texts[range.clone()];
        let by_weight = match (&a.weight, &b.weight) {
            (Kept::Number(one), Kept::Number(other)) => {
                let by_number = one.partial_cmp(other).unwrap_or(Ordering::Equal);
                by_number.then_with(|| match self.are_ties_by_text {
                    true => text(&a.text).cmp(text(&b.text)),
                    false => Ordering::Equal,
                })
            }
            (Kept::Text(one), Kept::Text(other)) => text(one).cmp(text(other)),
            (Kept::Same, Kept::Same) => text(&a.text).cmp(text(&b.text)),
            (Kept::Nothing, Kept::Text(_)) => Ordering::Less,
            (Kept::Text(_), Kept::Nothing) => Ordering::Greater,
            _ => Ordering::Equal,
        };
        let by_weight = if self.is_descending { by_weight.reverse() } else { by_weight };
        by_weight.then(a.number.cmp(&b.number))
    }
}

/// Texts in their order.
pub struct Sorted {
    entries: Vec<Entry>,
    texts: Vec<u8>,
}

impl Sorted {
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Each with the number that it was sorted by; 0 where it was something else.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], f64)> {
        self.entries.iter().map(|entry| {
            let number = if let Kept::Number(number) = entry.weight { number } else { 0.0 };
            (&self.texts[entry.text.clone()], number)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UP: Order = Order { is_descending: false, are_ties_by_text: true };

    fn texts(ranking: Ranking) -> Vec<String> {
        ranking.sorted().iter().map(|(text, _)| String::from_utf8(text.to_vec()).unwrap()).collect()
    }

    #[test]
    fn what_is_equal_keeps_its_order_whichever_way_it_goes() {
        for is_descending in [false, true] {
            let mut ranking = Ranking::of(10, Order { is_descending, are_ties_by_text: false }, 1 << 20);
            for (text, weight) in [("b", Weight::Number(1.0)), ("a", Weight::Number(1.0)), ("c", Weight::Number(0.0))] {
                ranking.add(text.as_bytes(), weight).unwrap();
            }
            assert_eq!(texts(ranking), if is_descending { ["b", "a", "c"] } else { ["c", "b", "a"] });
            let mut ranking = Ranking::of(10, Order { is_descending, are_ties_by_text: true }, 1 << 20);
            for (text, weight) in [("x", Weight::Text(b"2")), ("z", Weight::Nothing), ("y", Weight::Nothing)] {
                ranking.add(text.as_bytes(), weight).unwrap();
            }
            assert_eq!(texts(ranking), if is_descending { ["x", "z", "y"] } else { ["z", "y", "x"] });
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut ranking = Ranking::of(u64::MAX, UP, 1000);
        let added = (0..).find(|n: &u32| ranking.add(&n.to_le_bytes(), Weight::Same) == Err(Overfull)).unwrap();
        assert_eq!(added as usize, 1000 / (size_of::<Entry>() + 4));
        assert!(ranking.add(&[0; 1000], Weight::Same).is_err() && ranking.add(b"x", Weight::Text(&[0; 990])).is_err());
        let mut few = Ranking::of(3, UP, 200_000);
        (0..1_000_000u32).for_each(|n| few.add(&n.to_be_bytes(), Weight::Same).unwrap());
        assert_eq!(
            few.sorted().iter().map(|(text, _)| text.to_vec()).collect::<Vec<_>>(),
            [0u32, 1, 2].map(|n| n.to_be_bytes().to_vec())
        );
        let mut none = Ranking::of(0, UP, 0);
        none.add(b"x", Weight::Same).unwrap();
        assert!(none.sorted().is_empty());
    }

    proptest! {
        #[test]
        fn the_first_of_many_are_those_of_a_sort(
            numbers in proptest::collection::vec(0..50u32, 0..6000), wanted in 0..2000u64, is_descending: bool, by_text: bool
        ) {
            let mut ranking = Ranking::of(wanted, Order { is_descending, are_ties_by_text: by_text }, usize::MAX);
            let mut sorted: Vec<(u32, String)> = Vec::new();
            for (at, number) in numbers.iter().enumerate() {
                let text = (at * 7919 % 6007).to_string();
                ranking.add(text.as_bytes(), Weight::Number(f64::from(*number))).unwrap();
                sorted.push((*number, text));
            }
            match (is_descending, by_text) {
                (false, true) => sorted.sort(),
                (true, true) => sorted.sort_by(|a, b| b.cmp(a)),
                (false, false) => sorted.sort_by_key(|(number, _)| *number),
                (true, false) => sorted.sort_by_key(|(number, _)| std::cmp::Reverse(*number)),
            }
            sorted.truncate(wanted as usize);
            prop_assert_eq!(texts(ranking), sorted.into_iter().map(|(_, text)| text).collect::<Vec<_>>());
        }
    }
}
