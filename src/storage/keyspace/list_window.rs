//! Where the items of a list with rows lie: positions from head to tail, a stride apart as long as nothing was removed or inserted between
//! them. The key's row has this as text: a letter for the encoding, head, tail, and what else there is, each behind a letter of its own.

use super::packed::{Encoding, damaged};
use crate::storage::error::Result;
use crate::storage::rows::{End, Range, Table};

/// How positions are dealt out. Part of the file format; tests use smaller ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListShape {
    /// Regular positions are the multiples of 2 to this.
    pub stride_bits: u32,
    /// A block has two to this many of them,
    pub block_bits: u32,
    /// and a sum two to this many blocks.
    pub sum_bits: u32,
}

impl ListShape {
    pub const STANDARD: Self = Self { stride_bits: 16, block_bits: 7, sum_bits: 8 };
    #[cfg(test)]
    pub const SMALL: Self = Self { stride_bits: 2, block_bits: 1, sum_bits: 1 };

    /// That of all files; of a test's files where homes are few.
    #[must_use]
    pub fn of_files() -> Self {
        #[cfg(test)]
        if crate::storage::rows::files_are_crowded() {
            return Self::SMALL;
        }
        Self::STANDARD
    }

    pub fn block_of(self, position: u64) -> u64 {
        position >> (self.stride_bits + self.block_bits)
    }

    /// What the sum of a block is called among the blocks.
    pub fn sum_of(self, block: u64) -> u64 {
        SUMS | block >> self.sum_bits
    }

    pub(super) fn stride(self) -> u64 {
        1 << self.stride_bits
    }

    /// Regular positions before this one.
    pub(super) fn regular_before(self, position: u64) -> u64 {
        position.div_ceil(self.stride())
    }

    /// The blocks of the positions from `first` on and before `end`, each with how many of these are regular.
    pub fn regular_by_block(self, first: u64, end: u64) -> impl Iterator<Item = (u64, u64)> {
        let mut at = first;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let block = self.block_of(at);
            let next = ((block + 1) << (self.stride_bits + self.block_bits)).min(end);
            let regular = self.regular_before(next) - self.regular_before(at);
            at = next;
            Some((block, regular))
        })
    }
}

/// The numbers of sums begin here.
pub(super) const SUMS: u64 = 1 << 62;
/// A new list begins here: as far from one end of all positions as from the other.
const CENTER: u64 = 1 << 62;
/// What SQLite's integers can count.
pub(super) const POSITION_MAX: u64 = i64::MAX as u64;

/// The rows of a list. Its length is in the head of the key's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub id: i64,
    pub length: u64,
    /// Of the first and the last item.
    pub head: u64,
    pub tail: u64,
    /// What the items would take in a listpack, as far as that is known.
    pub bytes: Option<u64>,
    /// Rows of removed items may be left from here up to the head,
    pub floor: Option<u64>,
    /// and from the tail up to here.
    pub ceiling: Option<u64>,
    /// Some positions between head and tail are not regular, or have no item. The table `list_count` says how many of which block.
    pub is_counted: bool,
}

impl Window {
    /// Of no items.
    pub(super) fn empty(id: i64, shape: ListShape) -> Self {
        let (head, tail) = (CENTER + shape.stride(), CENTER);
        Self { id, length: 0, head, tail, bytes: Some(0), floor: None, ceiling: None, is_counted: false }
    }

    /// What `write` has written.
    ///
    /// # Errors
    /// `Corrupt`
    pub fn read(id: i64, length: u64, value: &[u8]) -> Result<Self> {
        let text = value.get(1..).and_then(|text| std::str::from_utf8(text).ok()).ok_or_else(damaged)?;
        let mut words = text.split(' ');
        let mut position = || words.next().and_then(number).ok_or_else(damaged);
        let (head, tail) = (position()?, position()?);
        let mut window = Self { id, length, head, tail, bytes: None, floor: None, ceiling: None, is_counted: false };
        for word in words {
            let (letter, rest) = word.split_at_checked(1).ok_or_else(damaged)?;
            let value = number(rest);
            match letter {
                "b" => window.bytes = Some(value.ok_or_else(damaged)?),
                "f" => window.floor = Some(value.ok_or_else(damaged)?),
                "t" => window.ceiling = Some(value.ok_or_else(damaged)?),
                "c" if rest.is_empty() => window.is_counted = true,
                _ => return Err(damaged()),
            }
        }
        let is_right = head <= tail && length > 0;
        if is_right { Ok(window) } else { Err(damaged()) }
    }

    pub(super) fn write(&self, encoding: Encoding) -> Vec<u8> {
        let mut text = Vec::with_capacity(64);
        let mut number = |letter: &[u8], number: u64| {
            text.extend_from_slice(letter);
            text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        };
        number(&[encoding.letter()], self.head);
        number(b" ", self.tail);
        for (letter, value) in [(b" b", self.bytes), (b" f", self.floor), (b" t", self.ceiling)] {
            if let Some(value) = value {
                number(letter, value);
            }
        }
        if self.is_counted {
            text.extend_from_slice(b" c");
        }
        text
    }

    /// Whether head and length say the same as the tail, where that follows.
    pub fn is_consistent(&self, shape: ListShape) -> bool {
        let stride = shape.stride();
        self.is_counted
            || (self.head.is_multiple_of(stride)
                && self.tail.checked_sub(self.head) == (self.length - 1).checked_mul(stride))
    }

    pub(super) fn edge(&self, end: End) -> u64 {
        if end == End::Front { self.head } else { self.tail }
    }

    pub(super) fn set_edge(&mut self, end: End, position: u64) {
        *(if end == End::Front { &mut self.head } else { &mut self.tail }) = position;
    }

    /// Where rows of removed items may be left beyond an end.
    pub(super) fn left_up_to(&mut self, end: End) -> &mut Option<u64> {
        if end == End::Front { &mut self.floor } else { &mut self.ceiling }
    }

    /// The next regular position beyond an end. None: there is no more room.
    pub(super) fn beyond(&self, end: End, shape: ListShape) -> Option<u64> {
        let stride = shape.stride();
        match end {
            End::Front => (self.head.checked_sub(1)? / stride).checked_mul(stride).filter(|position| *position > 0),
            End::Back => {
                (self.tail / stride + 1).checked_mul(stride).filter(|position| *position < POSITION_MAX - stride)
            }
        }
    }

    /// Of an item, by its index, where all is regular.
    pub(super) fn regular_position(&self, index: u64, shape: ListShape) -> u64 {
        self.head + (index << shape.stride_bits)
    }

    pub(super) fn items(&self, first: u64, last: u64) -> Range {
        Range::Elements { table: Table::ListItem, id: self.id, first, last }
    }
}

fn number(digits: &str) -> Option<u64> {
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| is_plain && *number <= POSITION_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_read_as_it_was_written() {
        let shape = ListShape::STANDARD;
        let plain = Window { length: 1, head: CENTER, ..Window::empty(7, shape) };
        let full = Window { floor: Some(1), ceiling: Some(POSITION_MAX), is_counted: true, ..plain };
        let unknown = Window { bytes: None, floor: Some(0), ..plain };
        for window in [plain, full, unknown] {
            let text = window.write(Encoding::Quicklist);
            assert_eq!(Encoding::of(&text).unwrap(), Encoding::Quicklist);
            assert_eq!(Window::read(7, 1, &text).unwrap(), window);
        }
        assert_eq!(plain.write(Encoding::Listpack), b"l4611686018427387904 4611686018427387904 b0");
        for text in
            ["q", "q1", "q1 ", "q2 1", "q1 2 x", "q1 2 b", "q1 2 c1", "q+1 2", "q1 9223372036854775808", "q1 2 "]
        {
            assert!(Window::read(7, 1, text.as_bytes()).is_err(), "{text}");
        }
        assert!(Window::read(7, 0, b"q1 2").is_err());
    }

    #[test]
    fn regular_positions_are_counted_by_their_blocks() {
        // Blocks of eight positions, of which two are regular.
        let counted = |first, end| ListShape::SMALL.regular_by_block(first, end).collect::<Vec<_>>();
        assert_eq!(counted(8, 8), []);
        assert_eq!(counted(5, 8), [(0, 0)]);
        assert_eq!(counted(4, 21), [(0, 1), (1, 2), (2, 2)]);
        assert_eq!(counted(5, 17), [(0, 0), (1, 2), (2, 1)]);
    }

    #[test]
    fn positions_go_outward_by_strides_and_end() {
        let shape = ListShape::SMALL;
        let window = Window { head: 5, tail: 10, ..Window::empty(1, shape) };
        assert_eq!((window.beyond(End::Front, shape), window.beyond(End::Back, shape)), (Some(4), Some(12)));
        let window = Window { head: 4, tail: POSITION_MAX - 4, ..window };
        assert_eq!((window.beyond(End::Front, shape), window.beyond(End::Back, shape)), (None, None));
        let empty = Window::empty(1, shape);
        assert_eq!(empty.beyond(End::Front, shape), Some(empty.tail));
        assert_eq!(empty.beyond(End::Back, shape), Some(empty.head));
    }
}
