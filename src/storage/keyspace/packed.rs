//! A small collection in its key's own row: a letter for the encoding, then its elements in their order, each item as its length in
//! decimal digits, a colon and its bytes. Of a hash fields and values take turns, of a sorted set members and scores, by score. Decimal so
//! that SQL can take it apart (`v_hash`, `v_list`, `v_set`, `v_zset`).

use std::ops::Range;

use super::scores::{compare, score_in, score_text};
use crate::storage::error::{Result, StorageError};
use crate::storage::rows::Kind;

/// What OBJECT ENCODING says. It changes as in Redis, one way, and has nothing to do with where the elements lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Intset = b'i' as isize,
    Listpack = b'l' as isize,
    Hashtable = b'h' as isize,
    Quicklist = b'q' as isize,
    Skiplist = b's' as isize,
}

/// A packed collection to be read.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    bytes: &'a [u8],
    has_values: bool,
}

/// A packed collection to be changed.
#[derive(Clone, Debug)]
pub(super) struct Pack {
    bytes: Vec<u8>,
    has_values: bool,
    count: u64,
}

/// Where an element lies within the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Where the length of its name begins.
    at: usize,
    name: Range<usize>,
    /// Empty, at the name's end, where it has none.
    value: Range<usize>,
}

/// Digits of a length, more than any has.
const DIGITS_MAX: usize = 10;

impl Encoding {
    pub(super) fn letter(self) -> u8 {
        self as isize as u8
    }

    /// Of a collection's value, packed or not.
    ///
    /// # Errors
    /// `Corrupt`: there is no such encoding.
    pub(super) fn of(value: &[u8]) -> Result<Self> {
        match value.first() {
            Some(b'i') => Ok(Self::Intset),
            Some(b'l') => Ok(Self::Listpack),
            Some(b'h') => Ok(Self::Hashtable),
            Some(b'q') => Ok(Self::Quicklist),
            Some(b's') => Ok(Self::Skiplist),
            _ => Err(damaged()),
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Intset => "intset",
            Self::Listpack => "listpack",
            Self::Hashtable => "hashtable",
            Self::Quicklist => "quicklist",
            Self::Skiplist => "skiplist",
        }
    }
}

impl<'a> Packed<'a> {
    /// The value of a key's row without an id.
    #[must_use]
    pub fn new(kind: Kind, bytes: &'a [u8]) -> Self {
        Self { bytes, has_values: has_values(kind) }
    }

    /// # Errors
    /// `Corrupt`
    pub fn encoding(&self) -> Result<Encoding> {
        Encoding::of(self.bytes)
    }

    /// Names with their values, which are empty where there are none. `Corrupt` is the last.
    pub fn elements(&self) -> impl Iterator<Item = Result<(&'a [u8], &'a [u8])>> + use<'a> {
        let bytes = self.bytes;
        spans(bytes, self.has_values)
            .map(move |span| span.map(|span| (&bytes[span.name.clone()], &bytes[span.value.clone()])))
    }

    /// Members of a sorted set with their scores, in their order. `Corrupt` is the last.
    pub fn scores(&self) -> impl Iterator<Item = Result<(&'a [u8], f64)>> + use<'a> {
        self.elements().map(|element| element.and_then(|(name, score)| Ok((name, score_in(score)?))))
    }

    /// The score of a member of a sorted set.
    ///
    /// # Errors
    /// `Corrupt`
    pub fn score(&self, member: &[u8]) -> Result<Option<f64>> {
        self.find(member)?.map(score_in).transpose()
    }

    /// How many members of a sorted set are lower, and the score; `None`: there is no such member.
    ///
    /// # Errors
    /// `Corrupt`
    pub fn rank(&self, member: &[u8]) -> Result<Option<(u64, f64)>> {
        for (rank, element) in (0..).zip(self.elements()) {
            let (name, score) = element?;
            if name == member {
                return Ok(Some((rank, score_in(score)?)));
            }
        }
        Ok(None)
    }

    /// The element's value.
    ///
    /// # Errors
    /// `Corrupt`
    pub fn find(&self, name: &[u8]) -> Result<Option<&'a [u8]>> {
        Ok(find(self.bytes, self.has_values, name)?.map(|span| &self.bytes[span.value]))
    }
}

impl Pack {
    pub(super) fn empty(kind: Kind, encoding: Encoding) -> Self {
        Self { bytes: vec![encoding.letter()], has_values: has_values(kind), count: 0 }
    }

    /// Of so many elements, as they lie in a key's row.
    pub(super) fn of(kind: Kind, bytes: Vec<u8>, count: u64) -> Self {
        Self { bytes, has_values: has_values(kind), count }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn packed(&self) -> Packed<'_> {
        Packed { bytes: &self.bytes, has_values: self.has_values }
    }

    pub(super) fn set_encoding(&mut self, encoding: Encoding) {
        self.bytes[0] = encoding.letter();
    }

    pub(super) fn find(&self, name: &[u8]) -> Result<Option<Span>> {
        find(&self.bytes, self.has_values, name)
    }

    pub(super) fn value(&self, span: &Span) -> &[u8] {
        &self.bytes[span.value.clone()]
    }

    /// By how many bytes it would grow.
    pub(super) fn growth(&self, name: &[u8], value: &[u8]) -> usize {
        item_bytes(name) + if self.has_values { item_bytes(value) } else { 0 }
    }

    /// Adds an element that is not there, at the end; an integer of a set of integers at its place.
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) -> Result<()> {
        let at =
            if self.packed().encoding()? == Encoding::Intset { self.integer_place(name)? } else { self.bytes.len() };
        self.add_at(at, name, value);
        Ok(())
    }

    /// Adds a member of a sorted set that is not there, at its place.
    pub(super) fn add_scored(&mut self, member: &[u8], score: f64) -> Result<()> {
        let mut at = self.bytes.len();
        for span in spans(&self.bytes, true) {
            let span = span?;
            let (name, of) = (&self.bytes[span.name.clone()], score_in(&self.bytes[span.value.clone()])?);
            if compare((of, name), (score, member)).is_gt() {
                at = span.at;
                break;
            }
        }
        self.add_at(at, member, score_text(score).as_bytes());
        Ok(())
    }

    fn add_at(&mut self, at: usize, name: &[u8], value: &[u8]) {
        let mut element = Vec::with_capacity(self.growth(name, value));
        push_item(&mut element, name);
        if self.has_values {
            push_item(&mut element, value);
        }
        self.bytes.splice(at..at, element);
        self.count += 1;
    }

    /// Puts a value in the place of the element's own.
    pub(super) fn replace(&mut self, span: &Span, value: &[u8]) {
        if span.value.len() == value.len() {
            self.bytes[span.value.clone()].copy_from_slice(value);
            return;
        }
        let mut item = Vec::with_capacity(item_bytes(value));
        push_item(&mut item, value);
        self.bytes.splice(span.name.end..span.value.end, item);
    }

    pub(super) fn remove(&mut self, span: &Span) {
        self.bytes.drain(span.at..span.value.end);
        self.count -= 1;
    }

    /// Removes so many elements from a rank on.
    pub(super) fn remove_ranks(&mut self, rank: u64, count: u64) -> Result<()> {
        let spans: Vec<Span> = spans(&self.bytes, self.has_values).collect::<Result<_>>()?;
        let first = spans.get(rank as usize).ok_or_else(damaged)?.at;
        let last = spans.get((rank + count).saturating_sub(1) as usize).ok_or_else(damaged)?;
        self.bytes.drain(first..last.value.end);
        self.count = self.count.saturating_sub(count);
        Ok(())
    }

    /// Where the first larger integer begins.
    fn integer_place(&self, name: &[u8]) -> Result<usize> {
        let new = integer(name);
        for span in spans(&self.bytes, self.has_values) {
            let span = span?;
            if integer(&self.bytes[span.name]) > new {
                return Ok(span.at);
            }
        }
        Ok(self.bytes.len())
    }
}

fn has_values(kind: Kind) -> bool {
    matches!(kind, Kind::Hash | Kind::SortedSet)
}

/// The number that is written so, if it is one of 64 bits in its shortest form: what a set of integers can hold.
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    // "+1", "-0", "01".
    let is_longer = matches!(text, [b'+', ..] | [b'-', b'0', ..] | [b'0', _, ..]);
    (!is_longer).then_some(number)
}

fn find(bytes: &[u8], has_values: bool, name: &[u8]) -> Result<Option<Span>> {
    for span in spans(bytes, has_values) {
        let span = span?;
        if &bytes[span.name.clone()] == name {
            return Ok(Some(span));
        }
    }
    Ok(None)
}

fn spans(bytes: &[u8], has_values: bool) -> impl Iterator<Item = Result<Span>> + use<'_> {
    let mut at = 1;
    std::iter::from_fn(move || {
        if at >= bytes.len() {
            return None;
        }
        let span = element(bytes, at, has_values);
        // Nothing can be told behind damage.
        at = span.as_ref().map_or(bytes.len(), |span| span.value.end);
        Some(span)
    })
}

fn element(bytes: &[u8], at: usize, has_values: bool) -> Result<Span> {
    let name = item(bytes, at)?;
    let value = if has_values { item(bytes, name.end)? } else { name.end..name.end };
    Ok(Span { at, name, value })
}

/// The bytes of the item whose length begins at `at`.
pub(super) fn item(bytes: &[u8], at: usize) -> Result<Range<usize>> {
    let mut length = 0;
    for (number, byte) in bytes[at..].iter().take(DIGITS_MAX + 1).enumerate() {
        match byte {
            b'0'..=b'9' => length = length * 10 + usize::from(byte - b'0'),
            b':' if number > 0 => {
                let start = at + number + 1;
                return if length <= bytes.len() - start { Ok(start..start + length) } else { Err(damaged()) };
            }
            _ => break,
        }
    }
    Err(damaged())
}

pub(super) fn item_bytes(item: &[u8]) -> usize {
    item.len().checked_ilog10().unwrap_or(0) as usize + 2 + item.len()
}

pub(super) fn push_item(out: &mut Vec<u8>, item: &[u8]) {
    let mut digits = [0; DIGITS_MAX];
    let (mut at, mut left) = (DIGITS_MAX, item.len());
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 || at == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
    out.push(b':');
    out.extend_from_slice(item);
}

pub(super) fn damaged() -> StorageError {
    StorageError::Corrupt("a packed collection that can't be read".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_keep_their_order_and_places() {
        let mut pack = Pack::empty(Kind::Hash, Encoding::Listpack);
        for (field, value) in [("a", "1"), ("", "22"), ("long", &"x".repeat(120)), ("b", "")] {
            let (growth, before) = (pack.growth(field.as_bytes(), value.as_bytes()), pack.bytes().len());
            pack.add(field.as_bytes(), value.as_bytes()).unwrap();
            assert_eq!(pack.bytes().len() - before, growth);
        }
        let span = pack.find(b"").unwrap().unwrap();
        assert_eq!(pack.value(&span), b"22");
        pack.replace(&span, b"longer than before");
        pack.replace(&pack.find(b"a").unwrap().unwrap(), b"2");
        pack.remove(&pack.find(b"long").unwrap().unwrap());
        assert_eq!(pack.bytes(), b"l1:a1:20:18:longer than before1:b0:");
        assert_eq!((pack.count(), pack.find(b"long").unwrap()), (3, None));
        let read: Result<Vec<_>> = pack.packed().elements().collect();
        assert_eq!(read.unwrap(), [(&b"a"[..], &b"2"[..]), (b"", b"longer than before"), (b"b", b"")]);
    }

    #[test]
    fn integers_are_sorted_by_their_value() {
        let mut pack = Pack::empty(Kind::Set, Encoding::Intset);
        for number in ["10", "9", "-3", "-20", "0", "9223372036854775807", "-9223372036854775808"] {
            pack.add(number.as_bytes(), b"").unwrap();
        }
        let read: Vec<&[u8]> = pack.packed().elements().map(|element| element.unwrap().0).collect();
        let expected = ["-9223372036854775808", "-20", "-3", "0", "9", "10", "9223372036854775807"];
        assert_eq!(read, expected.map(str::as_bytes));
        for text in ["", "+1", "-0", "01", "-01", " 1", "1 ", "9223372036854775808", "-", "1.0", "a"] {
            assert_eq!(integer(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn damage_is_found_and_nothing_is_read_beyond_it() {
        for bytes in [&b"l1"[..], b"l:", b"l2:a", b"lx", b"l99999999999999999999:a", b"l1:a", b"l1:a1:", b"l-1:a1:b"] {
            let found: Vec<_> = Packed::new(Kind::Hash, bytes).elements().collect();
            assert!(matches!(found.last(), Some(Err(_))), "{bytes:?}");
        }
        assert!(Packed::new(Kind::Set, b"x").encoding().is_err() && Packed::new(Kind::Set, b"").encoding().is_err());
    }
}
