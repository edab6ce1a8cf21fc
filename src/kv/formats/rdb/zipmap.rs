//! Zipmaps: how Redis kept small hashes before version 2.6. Only read.
//!
//! ```text
//! pairs 1 (fe and more: not known); for each: length field length unused value, unused bytes; ff
//! length: 1 byte, or fe and 4 bytes little endian
//! ```

use super::payload::RestoreError;

const END: u8 = 0xff;
const LONG_LENGTH: u8 = 0xfe;

/// Fields and values in turn, each looked at before it is shown.
#[derive(Debug)]
pub(super) struct Entries<'a> {
    rest: &'a [u8],
    /// Pairs that are still to come, where the header tells.
    left: Option<u8>,
    is_value: bool,
}

impl<'a> Entries<'a> {
    pub(super) fn new(blob: &'a [u8]) -> Result<Self, RestoreError> {
        let (count, rest) = blob.split_first().ok_or(RestoreError::Format)?;
        Ok(Entries { rest, left: (*count < LONG_LENGTH).then_some(*count), is_value: false })
    }

    /// None at the end, which is where the blob ends too.
    pub(super) fn next(&mut self) -> Result<Option<&'a [u8]>, RestoreError> {
        if self.rest == [END] && !self.is_value {
            return if self.left.unwrap_or(0) == 0 { Ok(None) } else { Err(RestoreError::Format) };
        }
        if let Some(left) = self.left.as_mut().filter(|_| !self.is_value) {
            *left = left.checked_sub(1).ok_or(RestoreError::Format)?;
        }
        self.take().map(Some).ok_or(RestoreError::Format)
    }

    fn take(&mut self) -> Option<&'a [u8]> {
        let (short, rest) = self.rest.split_first()?;
        let (length, rest) = match *short {
            END => return None,
            LONG_LENGTH => {
                let (length, rest) = rest.split_first_chunk()?;
                (usize::try_from(u32::from_le_bytes(*length)).ok()?, rest)
            }
            short => (usize::from(short), rest),
        };
        let (unused, rest) = match self.is_value {
            true => {
                let (unused, rest) = rest.split_first()?;
                (usize::from(*unused), rest)
            }
            false => (0, rest),
        };
        let (text, rest) = rest.split_at_checked(length)?;
        self.rest = rest.get(unused..)?;
        self.is_value = !self.is_value;
        Some(text)
    }
}
