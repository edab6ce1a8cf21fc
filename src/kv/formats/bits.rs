//! Bits in byte strings, the first bit being the highest one of the first byte: counts, searches, bit operations, and the
//! integers of BITFIELD. Pure; values arrive in pieces, so that a large one need never be whole in memory.

use std::ops::Range;

/// The number of one bits.
pub fn count_ones(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let in_words: u64 = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
    in_words + rest.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

/// The position of the first bit that is `bit`.
pub fn first_bit(bytes: &[u8], bit: bool) -> Option<u64> {
    let flip = if bit { 0 } else { 0xff };
    let at = bytes.iter().position(|byte| byte ^ flip != 0)?;
    Some(at as u64 * 8 + u64::from((bytes[at] ^ flip).leading_zeros()))
}

/// Sets every bit outside of `range` (bit positions relative to the first byte of `bytes`) to `fill`, as far as the bytes
/// reach; only the first and the last byte of the range are looked at, so `bytes` must begin and end with them.
pub fn mask_edges(bytes: &mut [u8], range: &Range<u64>, fill: bool) {
    let after_start = 0xff_u8 >> (range.start % 8);
    let before_end = match range.end % 8 {
        0 => 0xff,
        bits => !(0xff_u8 >> bits),
    };
    let mut keep = |at: usize, mask: u8| {
        if let Some(byte) = bytes.get_mut(at) {
            *byte = if fill { *byte | !mask } else { *byte & mask };
        }
    };
    keep(0, after_start);
    if let Some(last) = range.end.checked_sub(1).and_then(|last| usize::try_from(last / 8).ok()) {
        keep(last, before_end);
    }
}

/// The half-open range that Redis' inclusive `start` and `end` mean in something of `length`; negative ones count from
/// the end. Empty when nothing is left.
pub fn clamp_range(start: i64, end: i64, length: u64) -> Range<u64> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let from_end = |index: i64| if index < 0 { (length + index).max(0) } else { index };
    let (start, end) = (from_end(start), from_end(end).min(length - 1));
    if start > end { 0..0 } else { start.cast_unsigned()..end.cast_unsigned() + 1 }
}

/// What BITOP does with its sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    And,
    Or,
    Xor,
    Not,
}

/// Combines a piece of the next source into the result so far; both begin at the same position. A source that ends early
/// continues with zero bytes.
pub fn combine(operation: Operation, result: &mut [u8], source: &[u8]) {
    let (shared, beyond) = result.split_at_mut(source.len().min(result.len()));
    match operation {
        Operation::And => {
            shared.iter_mut().zip(source).for_each(|(left, right)| *left &= right);
            beyond.fill(0);
        }
        Operation::Or => shared.iter_mut().zip(source).for_each(|(left, right)| *left |= right),
        Operation::Xor => shared.iter_mut().zip(source).for_each(|(left, right)| *left ^= right),
        Operation::Not => {
            shared.iter_mut().zip(source).for_each(|(left, right)| *left = !right);
            beyond.fill(0xff);
        }
    }
}

/// An integer type of BITFIELD: `i1` to `i64`, `u1` to `u63`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntegerType {
    pub signed: bool,
    pub bits: u32,
}

/// What BITFIELD does with a result that its type cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

impl IntegerType {
    /// The field at a bit offset. Bits beyond the end of `bytes` are zero.
    pub fn read(self, bytes: &[u8], offset: u64) -> i64 {
        let raw = (0..u64::from(self.bits)).fold(0u64, |value, index| {
            let position = offset + index;
            let byte = usize::try_from(position / 8).ok().and_then(|at| bytes.get(at)).copied().unwrap_or(0);
            value << 1 | u64::from(byte >> (7 - position % 8) & 1)
        });
        self.extend_sign(raw)
    }

    /// Writes the lowest bits of `value` at a bit offset. All of the field must lie within `bytes`.
    pub fn write(self, bytes: &mut [u8], offset: u64, value: i64) {
        for index in 0..u64::from(self.bits) {
            let position = offset + index;
            let mask = 0x80_u8 >> (position % 8);
            let byte = &mut bytes[position as usize / 8];
            if value.cast_unsigned() >> (u64::from(self.bits) - 1 - index) & 1 == 1 {
                *byte |= mask;
            } else {
                *byte &= !mask;
            }
        }
    }

    /// `value` as the type holds it after SET; None when it does not fit and the overflow is to fail. SET with an unsigned
    /// type takes a negative value for a huge one, as Redis does.
    pub fn store(self, value: i64, overflow: Overflow) -> Option<i64> {
        let exact = if self.signed { i128::from(value) } else { i128::from(value.cast_unsigned()) };
        self.fit(exact, overflow)
    }

    /// `old + increment`; None when it does not fit and the overflow is to fail.
    pub fn add(self, old: i64, increment: i64, overflow: Overflow) -> Option<i64> {
        self.fit(i128::from(old) + i128::from(increment), overflow)
    }

    fn fit(self, exact: i128, overflow: Overflow) -> Option<i64> {
        let (min, max) = if self.signed {
            (-(1i128 << (self.bits - 1)), (1i128 << (self.bits - 1)) - 1)
        } else {
            (0, (1i128 << self.bits) - 1)
        };
        if (min..=max).contains(&exact) {
            return i64::try_from(exact).ok();
        }
        match overflow {
            Overflow::Fail => None,
            Overflow::Saturate => i64::try_from(exact.clamp(min, max)).ok(),
            Overflow::Wrap => {
                let mask = u64::MAX >> (64 - self.bits);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "wrapping is the operation"
                )]
                let low = exact as u64 & mask;
                Some(self.extend_sign(low))
            }
        }
    }

    /// The lowest bits as a number: the highest of them is the sign of a signed type.
    fn extend_sign(self, raw: u64) -> i64 {
        let spare = 64 - self.bits;
        if self.signed { (raw << spare).cast_signed() >> spare } else { raw.cast_signed() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones_are_counted_in_words_and_in_what_is_left() {
        assert_eq!(count_ones(b"foobar"), 26);
        assert_eq!(count_ones(&[0xff; 23]), 184);
        assert_eq!(count_ones(b""), 0);
    }

    #[test]
    fn the_first_bit_is_the_highest_of_the_first_byte_that_has_it() {
        assert_eq!(first_bit(b"\xff\xf0\x00", false), Some(12));
        assert_eq!(first_bit(b"\x00\x00\x01", true), Some(23));
        assert_eq!(first_bit(b"\x00\x00", true), None);
        assert_eq!(first_bit(b"\xff", false), None);
    }

    #[test]
    fn edges_are_masked_also_within_one_byte() {
        let mut bytes = [0xff, 0xff, 0xff];
        mask_edges(&mut bytes, &(3..20), false);
        assert_eq!(bytes, [0x1f, 0xff, 0xf0]);
        let mut one = [0x00];
        mask_edges(&mut one, &(2..5), true);
        assert_eq!(one, [0b1100_0111]);
        let mut whole = [0xaa, 0xaa];
        mask_edges(&mut whole, &(0..16), false);
        assert_eq!(whole, [0xaa, 0xaa]);
    }

    #[test]
    fn ranges_are_inclusive_and_count_from_the_end() {
        assert_eq!(clamp_range(0, -1, 6), 0..6);
        assert_eq!(clamp_range(-2, -1, 6), 4..6);
        assert_eq!(clamp_range(i64::MIN, i64::MAX, 6), 0..6);
        assert_eq!(clamp_range(-100, -50, 6), 0..1, "both ends before the start: the first one, as in Redis");
        assert_eq!(clamp_range(5, 2, 6), 0..0);
        assert_eq!(clamp_range(6, 9, 6), 0..0);
        assert_eq!(clamp_range(0, 0, 0), 0..0);
        assert_eq!(clamp_range(0, -1, 0), 0..0);
    }

    #[test]
    fn sources_that_end_early_go_on_with_zeros() {
        let combined = |operation, start: &[u8], source: &[u8]| {
            let mut result = start.to_vec();
            combine(operation, &mut result, source);
            result
        };
        assert_eq!(combined(Operation::And, b"\xff\xff", b"\x0f"), b"\x0f\x00");
        assert_eq!(combined(Operation::Or, b"\xf0\x01", b"\x0f"), b"\xff\x01");
        assert_eq!(combined(Operation::Xor, b"\xff\x01", b"\x0f"), b"\xf0\x01");
        assert_eq!(combined(Operation::Not, b"\x00\x00", b"\x0f\xff"), b"\xf0\x00");
    }

    #[test]
    fn fields_wrap_saturate_or_fail() {
        let (i8, u8, u2) = (signed(8), unsigned(8), unsigned(2));
        assert_eq!(i8.add(127, 1, Overflow::Wrap), Some(-128));
        assert_eq!(i8.add(127, 1, Overflow::Saturate), Some(127));
        assert_eq!(i8.add(-128, -1, Overflow::Saturate), Some(-128));
        assert_eq!(i8.add(127, 1, Overflow::Fail), None);
        assert_eq!(i8.store(200, Overflow::Wrap), Some(-56));
        assert_eq!(u8.add(0, -1, Overflow::Wrap), Some(255));
        assert_eq!(u8.add(0, -1, Overflow::Saturate), Some(0));
        assert_eq!(u2.add(3, 1, Overflow::Wrap), Some(0));
        assert_eq!(u8.store(-1, Overflow::Wrap), Some(255));
        assert_eq!(u8.store(-1, Overflow::Saturate), Some(255));
        assert_eq!(signed(64).add(i64::MAX, 1, Overflow::Wrap), Some(i64::MIN));
        assert_eq!(signed(64).add(i64::MIN, -1, Overflow::Saturate), Some(i64::MIN));
        assert_eq!(unsigned(63).add(i64::MAX, i64::MAX, Overflow::Saturate), Some(i64::MAX));
    }

    fn signed(bits: u32) -> IntegerType {
        IntegerType { signed: true, bits }
    }

    fn unsigned(bits: u32) -> IntegerType {
        IntegerType { signed: false, bits }
    }

    proptest::proptest! {
        #[test]
        fn a_written_field_is_read_back_and_its_neighbours_stay(
            bits in 1u32..=64,
            is_signed in proptest::bool::ANY,
            offset in 0u64..64,
            value in proptest::num::i64::ANY,
            fill in proptest::num::u8::ANY,
        ) {
            let integer = IntegerType { signed: is_signed, bits: if is_signed { bits } else { bits.min(63) } };
            let held = integer.store(value, Overflow::Wrap).unwrap();
            let mut bytes = [fill; 16];
            integer.write(&mut bytes, offset, held);
            proptest::prop_assert_eq!(integer.read(&bytes, offset), held);
            let bit = |bytes: &[u8], at: u64| bytes[at as usize / 8] >> (7 - at % 8) & 1;
            for at in (0..offset).chain(offset + u64::from(integer.bits)..128) {
                proptest::prop_assert_eq!(bit(&bytes, at), bit(&[fill; 16], at));
            }
        }
    }
}
