//! Ziplists: how Redis kept small hashes before version 7. Only read.
//!
//! ```text
//! bytes 4, place of the last element 4, elements 2 (ffff: not known), little endian; elements; ff
//! element: the length of the one before it: 1 byte, or fe and 4 bytes little endian
//!          00LLLLLL bytes | 01LLLLLL L bytes | 80 LLLL bytes, big endian
//!          c0 i16 | d0 i32 | e0 i64 | f0 i24 | fe i8, little endian | 1111NNNN: N-1, 0..12
//! ```

use super::payload::RestoreError;
use super::strings::Text;

const HEADER_BYTES: usize = 10;
const END: u8 = 0xff;
const LONG_LENGTH: u8 = 0xfe;
const COUNT_UNKNOWN: u16 = u16::MAX;

/// The elements of a ziplist, each looked at before it is shown.
#[derive(Debug)]
pub(super) struct Entries<'a> {
    blob_bytes: usize,
    rest: &'a [u8],
    /// The length of the element before, and its place.
    before: (usize, usize),
    tail: usize,
    /// Elements that are still to come, where the header tells.
    left: Option<u16>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(blob: &'a [u8]) -> Result<Self, RestoreError> {
        let (header, rest) = blob.split_at_checked(HEADER_BYTES).ok_or(RestoreError::Format)?;
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| header[at + i])) as usize;
        if word(0) != blob.len() {
            return Err(RestoreError::Format);
        }
        let count = u16::from_le_bytes([header[8], header[9]]);
        let left = (count != COUNT_UNKNOWN).then_some(count);
        Ok(Entries { blob_bytes: blob.len(), rest, before: (0, HEADER_BYTES), tail: word(4), left })
    }

    /// None at the end, which is where the blob ends too.
    pub(super) fn next(&mut self) -> Result<Option<Text<'a>>, RestoreError> {
        if self.rest == [END] {
            let is_right = self.left.unwrap_or(0) == 0 && self.tail == self.before.1;
            return if is_right { Ok(None) } else { Err(RestoreError::Format) };
        }
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1).ok_or(RestoreError::Format)?;
        }
        self.take().map(Some).ok_or(RestoreError::Format)
    }

    fn take(&mut self) -> Option<Text<'a>> {
        let begin = self.rest;
        let (short, rest) = begin.split_first()?;
        let (before, rest) = match *short {
            END => return None,
            LONG_LENGTH => {
                let (length, rest) = rest.split_first_chunk()?;
                (usize::try_from(u32::from_le_bytes(*length)).ok()?, rest)
            }
            short => (usize::from(short), rest),
        };
        let (control, rest) = rest.split_first()?;
        let (element, rest) = match *control {
            0..=0x3f => Text::take(usize::from(*control), rest)?,
            0x40..=0x7f => {
                let (low, rest) = rest.split_first()?;
                Text::take(usize::from(control & 0x3f) << 8 | usize::from(*low), rest)?
            }
            0x80 => {
                let (length, rest) = rest.split_first_chunk()?;
                Text::take(usize::try_from(u32::from_be_bytes(*length)).ok()?, rest)?
            }
            0xc0 => Text::take_integer(2, rest)?,
            0xd0 => Text::take_integer(4, rest)?,
            0xe0 => Text::take_integer(8, rest)?,
            0xf0 => Text::take_integer(3, rest)?,
            0xfe => Text::take_integer(1, rest)?,
            0xf1..=0xfd => (Text::integer(i64::from(control & 0xf) - 1), rest),
            _ => return None,
        };
        if before != self.before.0 {
            return None;
        }
        self.before = (begin.len() - rest.len(), self.blob_bytes - begin.len());
        self.rest = rest;
        Some(element)
    }
}
