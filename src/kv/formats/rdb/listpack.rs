//! Listpacks: how Redis 7 keeps small hashes, and 7.2 small sets, in one string.
//!
//! ```text
//! bytes 4, elements 2 (ffff: not known), little endian; elements; ff
//! element: 0NNNNNNN                        0..127
//!          10LLLLLL bytes                  up to 63 bytes
//!          110NNNNN NNNNNNNN               13 bits with a sign
//!          1110LLLL LLLLLLLL bytes         up to 4095 bytes
//!          f0 L4 bytes | f1 i16 | f2 i24 | f3 i32 | f4 i64, little endian
//!          and behind each its length, to be read backwards: groups of 7 bits, the first byte without the top bit
//! ```

use super::payload::RestoreError;
use super::strings::Text;
use crate::resp::number::parse_integer;

const HEADER_BYTES: usize = 6;
const END: u8 = 0xff;
const COUNT_UNKNOWN: u16 = u16::MAX;

/// A listpack that is being written.
#[derive(Debug)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    count: usize,
}

impl Writer {
    pub(super) fn new() -> Self {
        Writer { bytes: vec![0; HEADER_BYTES], count: 0 }
    }

    pub(super) fn push(&mut self, element: &[u8]) {
        let begin = self.bytes.len();
        match parse_integer(element) {
            Some(value) => self.put_integer(value),
            None => self.put_text(element),
        }
        put_length_backwards(self.bytes.len() - begin, &mut self.bytes);
        self.count += 1;
    }

    /// What it would have, ended here.
    pub(super) fn bytes_len(&self) -> usize {
        self.bytes.len() + 1
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.push(END);
        let bytes = u32::try_from(self.bytes.len()).expect("only what is small is written so");
        self.bytes[..4].copy_from_slice(&bytes.to_le_bytes());
        self.bytes[4..6].copy_from_slice(&u16::try_from(self.count).unwrap_or(COUNT_UNKNOWN).to_le_bytes());
        self.bytes
    }

    fn put_integer(&mut self, value: i64) {
        let out = &mut self.bytes;
        let bytes = value.to_le_bytes();
        match value {
            0..=127 => out.push(bytes[0]),
            -4096..=4095 => out.extend_from_slice(&[0xc0 | bytes[1] & 0x1f, bytes[0]]),
            -0x8000..=0x7fff => out.extend_from_slice(&[0xf1, bytes[0], bytes[1]]),
            -0x80_0000..=0x7f_ffff => out.extend_from_slice(&[0xf2, bytes[0], bytes[1], bytes[2]]),
            -0x8000_0000..=0x7fff_ffff => {
                out.push(0xf3);
                out.extend_from_slice(&bytes[..4]);
            }
            _ => {
                out.push(0xf4);
                out.extend_from_slice(&bytes);
            }
        }
    }

    fn put_text(&mut self, text: &[u8]) {
        let length = text.len();
        match length {
            0..=0x3f => self.bytes.push(0x80 | length as u8),
            0x40..=0xfff => self.bytes.extend_from_slice(&(0xe000 | length as u16).to_be_bytes()),
            _ => {
                self.bytes.push(0xf0);
                self.bytes.extend_from_slice(&(length as u32).to_le_bytes());
            }
        }
        self.bytes.extend_from_slice(text);
    }
}

/// How many bytes say backwards that an element has so many. The bounds are those of Redis, of which the last three are one too low.
fn backwards_bytes(length: usize) -> usize {
    match length {
        0..=127 => 1,
        128..=16_382 => 2,
        16_383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    }
}

fn put_length_backwards(length: usize, out: &mut Vec<u8>) {
    let groups = backwards_bytes(length);
    for group in (0..groups).rev() {
        let is_first = group == groups - 1;
        out.push((length >> (7 * group) & 0x7f) as u8 | if is_first { 0 } else { 0x80 });
    }
}

/// The elements of a listpack, each looked at before it is shown.
#[derive(Debug)]
pub(super) struct Entries<'a> {
    rest: &'a [u8],
    /// Elements that are still to come, where the header tells.
    left: Option<u16>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(blob: &'a [u8]) -> Result<Self, RestoreError> {
        let (bytes, rest) = blob.split_first_chunk().ok_or(RestoreError::Format)?;
        let (count, rest) = rest.split_first_chunk().ok_or(RestoreError::Format)?;
        if usize::try_from(u32::from_le_bytes(*bytes)) != Ok(blob.len()) {
            return Err(RestoreError::Format);
        }
        let count = u16::from_le_bytes(*count);
        Ok(Entries { rest, left: (count != COUNT_UNKNOWN).then_some(count) })
    }

    /// None at the end, which is where the blob ends too.
    pub(super) fn next(&mut self) -> Result<Option<Text<'a>>, RestoreError> {
        if self.rest == [END] {
            return if self.left.unwrap_or(0) == 0 { Ok(None) } else { Err(RestoreError::Format) };
        }
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1).ok_or(RestoreError::Format)?;
        }
        self.take().map(Some).ok_or(RestoreError::Format)
    }

    fn take(&mut self) -> Option<Text<'a>> {
        let (control, rest) = self.rest.split_first()?;
        let (element, rest) = match control {
            0..=0x7f => (Text::integer(i64::from(*control)), rest),
            0x80..=0xbf => Text::take(usize::from(control & 0x3f), rest)?,
            0xc0..=0xdf => {
                let (low, rest) = rest.split_first()?;
                let value = i16::from_be_bytes([control << 3 | low >> 5, low << 3]) >> 3;
                (Text::integer(i64::from(value)), rest)
            }
            0xe0..=0xef => {
                let (low, rest) = rest.split_first()?;
                Text::take(usize::from(control & 0xf) << 8 | usize::from(*low), rest)?
            }
            0xf0 => {
                let (length, rest) = rest.split_first_chunk()?;
                Text::take(usize::try_from(u32::from_le_bytes(*length)).ok()?, rest)?
            }
            0xf1 => Text::take_integer(2, rest)?,
            0xf2 => Text::take_integer(3, rest)?,
            0xf3 => Text::take_integer(4, rest)?,
            0xf4 => Text::take_integer(8, rest)?,
            _ => return None,
        };
        let length = self.rest.len() - rest.len();
        let (backwards, rest) = rest.split_at_checked(backwards_bytes(length))?;
        let is_right = backwards.iter().enumerate().all(|(at, byte)| {
            let shift = 7 * (backwards.len() - 1 - at);
            *byte == (length >> shift & 0x7f) as u8 | if at == 0 { 0 } else { 0x80 }
        });
        self.rest = rest;
        is_right.then_some(element)
    }
}
