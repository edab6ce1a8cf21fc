//! Ids of a stream's entries: a time and a number, in their order. Part of the file format.

use std::fmt;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId {
    /// Milliseconds since 1970, if nobody said otherwise.
    pub ms: u64,
    pub seq: u64,
}

impl StreamId {
    pub const MIN: Self = Self { ms: 0, seq: 0 };
    pub const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };
    /// A range that leaves out none.
    pub const ALL: (StreamId, StreamId) = (StreamId::MIN, StreamId::MAX);

    /// None: this is the last one.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => Some(Self { ms: self.ms.checked_add(1)?, seq: 0 }),
        }
    }

    /// None: this is the first one.
    #[must_use]
    pub fn previous(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => Some(Self { ms: self.ms.checked_sub(1)?, seq: u64::MAX }),
        }
    }

    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::MIN
    }

    /// The name of an entry's row behind its time, in the order of the numbers.
    #[must_use]
    pub fn tail(self) -> [u8; 8] {
        self.seq.to_be_bytes()
    }

    /// Of a row that has such a name.
    #[must_use]
    pub fn of_row(ms: u64, tail: &[u8]) -> Option<Self> {
        Some(Self { ms, seq: u64::from_be_bytes(tail.try_into().ok()?) })
    }

    /// Both numbers, in the order of the ids.
    #[must_use]
    pub fn bytes(self) -> [u8; 16] {
        (u128::from(self.ms) << 64 | u128::from(self.seq)).to_be_bytes()
    }

    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let both = u128::from_be_bytes(bytes.try_into().ok()?);
        Some(Self { ms: (both >> 64) as u64, seq: both as u64 })
    }

    /// What `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (ms, seq) = text.split_once('-')?;
        let number = |digits: &str| {
            let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| is_plain)
        };
        Some(Self { ms: number(ms)?, seq: number(seq)? })
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.ms, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_their_bytes_and_texts_have_one_order_and_neighbours() {
        let ids = [(0, 0), (0, 1), (0, u64::MAX), (1, 0), (7, 9), (1 << 63, 1), (u64::MAX, 0), (u64::MAX, u64::MAX)]
            .map(|(ms, seq)| StreamId { ms, seq });
        assert!(ids.is_sorted() && ids.map(StreamId::bytes).is_sorted());
        for id in ids {
            assert_eq!(StreamId::of_bytes(&id.bytes()), Some(id));
            assert_eq!(StreamId::of_row(id.ms, &id.tail()), Some(id));
            assert_eq!(StreamId::parse(&id.to_string()), Some(id));
            assert!(id.next().is_none_or(|next| next > id && next.previous() == Some(id)));
        }
        assert_eq!(ids[2].next(), Some(ids[3]));
        assert_eq!((StreamId::MAX.next(), StreamId::MIN.previous()), (None, None));
        for text in ["", "1", "1-", "-1", "+1-1", "1-1-1", "1-x", "18446744073709551616-0"] {
            assert_eq!(StreamId::parse(text), None, "{text}");
        }
    }
}
