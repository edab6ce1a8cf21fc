//! The fields of a stream's entry as they lie in its row: names and values in turns, each with its length before it, in decimal digits and
//! with a colon, so that SQL can take them apart (`v_stream`).

use super::packed::{item, item_bytes, push_item};
use crate::storage::error::Result;

/// What an entry has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Names and values in turns. `Corrupt` is the last.
    pub fn parts(&self) -> impl Iterator<Item = Result<&'a [u8]>> + use<'a> {
        let bytes = self.0;
        let mut at = 0;
        std::iter::from_fn(move || {
            if at >= bytes.len() {
                return None;
            }
            let found = item(bytes, at);
            at = found.as_ref().map_or(bytes.len(), |range| range.end);
            Some(found.map(|range| &bytes[range]))
        })
    }

    /// All of them.
    ///
    /// # Errors
    /// `Corrupt`
    pub fn all(&self) -> Result<Vec<&'a [u8]>> {
        self.parts().collect()
    }

    /// At least what they take in memory.
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.0.len()
    }
}

/// `begin` and then the fields.
pub(super) fn encode(begin: &[u8], fields: &[&[u8]]) -> Vec<u8> {
    let bytes = begin.len() + fields.iter().map(|part| item_bytes(part)).sum::<usize>();
    let mut out = Vec::with_capacity(bytes);
    out.extend_from_slice(begin);
    fields.iter().for_each(|part| push_item(&mut out, part));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_the_order_in_which_they_were_written() {
        let fields: [&[u8]; 6] = [b"name", b"Ada", b"", b"12:3", b"empty", b""];
        let bytes = encode(b"n", &fields);
        assert_eq!(bytes, b"n4:name3:Ada0:4:12:35:empty0:");
        assert_eq!(Fields::of(&bytes[1..]).all().unwrap(), fields);
        assert!(Fields::of(b"4:nam").all().is_err() && Fields::of(b"x").all().is_err());
        assert!(Fields::of(b"").all().unwrap().is_empty());
    }
}
