//! What OBJECT ENCODING says of a list, by the limits of Redis 7.2: a listpack until it is too large for a node of a quicklist, and again
//! when it fits into half of one. Where its items lie has nothing to do with it.

use super::packed::integer;

/// What a listpack has beside its elements.
pub(super) const LISTPACK_BYTES: u64 = 7;
/// A listpack with a limit of its elements has this one too.
const SAFE_BYTES: u64 = 8192;
/// By `list-max-listpack-size` -1 to -5.
const NODE_BYTES: [u64; 5] = [4096, 8192, 16_384, 32_768, 65_536];
/// No element takes fewer bytes.
const ELEMENT_BYTES_MIN: u64 = 2;

/// What fits into a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeLimit {
    pub(super) bytes: u64,
    pub(super) elements: u64,
    /// The bytes are the limit, not only a bound of safety.
    is_by_bytes: bool,
}

impl NodeLimit {
    /// `size`: what `list-max-listpack-size` says.
    pub(super) fn of(size: i64) -> Self {
        match usize::try_from(-1 - size) {
            Ok(number) => {
                let bytes = NODE_BYTES[number.min(NODE_BYTES.len() - 1)];
                Self { bytes, elements: u64::MAX, is_by_bytes: true }
            }
            Err(_) => Self { bytes: SAFE_BYTES, elements: size.max(1).cast_unsigned(), is_by_bytes: false },
        }
    }

    pub(super) fn exceeds(&self, bytes: u64, elements: u64) -> bool {
        bytes > self.bytes || elements > self.elements
    }

    /// The limit for who gets smaller: far enough below that it is not passed to and fro.
    pub(super) fn half(&self) -> Self {
        let bytes = if self.is_by_bytes { self.bytes / 2 } else { self.bytes };
        Self { bytes, elements: self.elements / 2, ..*self }
    }

    /// More elements are never within the limit.
    pub(super) fn elements_max(&self) -> u64 {
        (self.bytes / ELEMENT_BYTES_MIN).min(self.elements)
    }
}

/// What an element takes in a listpack.
pub(super) fn listpack_bytes(element: &[u8]) -> u64 {
    let own = match integer(element) {
        Some(0..=127) => 1,
        Some(-4096..=4095) => 2,
        Some(-0x8000..=0x7fff) => 3,
        Some(-0x80_0000..=0x7f_ffff) => 4,
        Some(-0x8000_0000..=0x7fff_ffff) => 5,
        Some(_) => 9,
        None => return listpack_bytes_of_text(element.len() as u64),
    };
    own + 1
}

/// The same of a text of so many bytes that is no integer.
pub(super) fn listpack_bytes_of_text(length: u64) -> u64 {
    let own = length
        + match length {
            0..=0x3f => 1,
            0x40..=0xfff => 2,
            _ => 5,
        };
    own + match own {
        0..=127 => 1,
        128..=16_382 => 2,
        16_383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_redis() {
        let limit = |size| (NodeLimit::of(size).bytes, NodeLimit::of(size).elements);
        assert_eq!([-1, -2, -5, -9, i64::MIN].map(|size| limit(size).0), [4096, 8192, 65_536, 65_536, 65_536]);
        assert_eq!([0, 1, 128].map(limit), [(8192, 1), (8192, 1), (8192, 128)]);
        assert!(NodeLimit::of(-1).exceeds(4097, 1) && !NodeLimit::of(-1).exceeds(4096, 9999));
        assert!(
            NodeLimit::of(3).exceeds(10, 4) && NodeLimit::of(3).exceeds(8193, 1) && !NodeLimit::of(3).exceeds(9, 3)
        );
        assert_eq!((NodeLimit::of(-2).half().bytes, NodeLimit::of(5).half().elements), (4096, 2));
    }

    #[test]
    fn elements_take_what_they_take_in_a_listpack() {
        for (element, bytes) in [
            ("", 2),
            ("a", 3),
            ("0", 2),
            ("127", 2),
            ("128", 3),
            ("-1", 3),
            ("4096", 4),
            ("40000", 5),
            ("9000000", 6),
            ("3000000000", 10),
            ("01", 4),
        ] {
            assert_eq!(listpack_bytes(element.as_bytes()), bytes, "{element}");
        }
        assert_eq!([63, 64, 125, 126, 4095, 4096].map(listpack_bytes_of_text), [65, 67, 128, 130, 4099, 4103]);
    }
}
