//! What a request takes at random: the number of its key, and its value.

use std::ops::RangeInclusive;

use super::keys::Keys;
use super::random::Random;

#[derive(Clone, Debug)]
pub(super) struct Draws {
    pub(super) random: Random,
    keys: Keys,
    /// The number that was drawn last.
    number: [u8; NUMBER_DIGITS],
    values: Values,
}

/// Values are cut out of random bytes at a random place, and begin with eight bytes of their own: a SET of what is there
/// already may cost a service nothing.
#[derive(Clone, Debug)]
struct Values {
    bytes: RangeInclusive<usize>,
    pool: Vec<u8>,
}

const POOL_PLACES: usize = 64 * 1024;
const NUMBER_DIGITS: usize = 12;

impl Draws {
    pub(super) fn new(seed: u64, keys: Keys, value_bytes: RangeInclusive<usize>) -> Self {
        let mut random = Random::new(seed);
        let pool_bytes = POOL_PLACES + *value_bytes.end();
        let pool: Vec<u8> = (0..pool_bytes.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).collect();
        Self { random, keys, number: [b'0'; NUMBER_DIGITS], values: Values { bytes: value_bytes, pool } }
    }

    /// Twelve digits, as redis-benchmark writes `__rand_int__`.
    pub(super) fn append_number(&mut self, out: &mut Vec<u8>) {
        let mut number = self.keys.next(&mut self.random);
        let mut digits = [b'0'; NUMBER_DIGITS];
        for pair in digits.rchunks_exact_mut(2) {
            let low = (number % 100) as u8;
            number /= 100;
            pair.copy_from_slice(&[b'0' + low / 10, b'0' + low % 10]);
        }
        self.number = digits;
        self.append_same(out);
    }

    /// The number that was drawn last, again.
    pub(super) fn append_same(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.number);
    }

    pub(super) fn value_bytes(&mut self) -> usize {
        let (least, most) = (*self.values.bytes.start(), *self.values.bytes.end());
        if least == most { least } else { least + self.random.below((most - least + 1) as u64) as usize }
    }

    pub(super) fn append_value(&mut self, length: usize, out: &mut Vec<u8>) {
        let random = self.random.next();
        let place = (random >> 48) as usize;
        let start = out.len();
        out.extend_from_slice(&self.values.pool[place..place + length]);
        let own = length.min(8);
        out[start..start + own].copy_from_slice(&random.to_le_bytes()[..own]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_twelve_digits() {
        let mut draws = Draws::new(1, Keys::Sequential { next: 999_999_999_998, count: u64::MAX }, 1..=1);
        let mut out = Vec::new();
        draws.append_number(&mut out);
        draws.append_number(&mut out);
        assert_eq!(out, b"999999999998999999999999");
        let mut draws = Draws::new(1, Keys::Sequential { next: 12_345, count: u64::MAX }, 1..=1);
        out.clear();
        draws.append_number(&mut out);
        draws.append_same(&mut out);
        assert_eq!(out, b"000000012345000000012345");
    }

    #[test]
    fn values_have_a_length_in_their_range_and_are_never_the_same_twice() {
        let mut draws = Draws::new(1, Keys::One, 8..=20);
        let mut values: Vec<Vec<u8>> = Vec::new();
        for _ in 0..2_000 {
            let length = draws.value_bytes();
            let mut value = Vec::new();
            draws.append_value(length, &mut value);
            assert!((8..=20).contains(&length) && value.len() == length);
            values.push(value);
        }
        assert!((8..=20).all(|length| values.iter().any(|value| value.len() == length)));
        values.sort();
        values.dedup();
        assert_eq!(values.len(), 2_000);
        let mut none = Vec::new();
        draws.append_value(0, &mut none);
        assert!(none.is_empty());
    }
}
