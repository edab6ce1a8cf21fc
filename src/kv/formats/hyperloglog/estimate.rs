//! How many different elements the registers have seen, after Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches"
//! (arXiv:1702.01284), in the order of operations of Redis, so that every estimate is the same.

use super::registers::{REGISTER_MAX, REGISTERS};

/// The longest pattern that a hash can have.
const VALUE_MAX: usize = 51;
/// 1 / (2 ln 2)
const ALPHA: f64 = 0.721_347_520_444_481_7;

/// How many registers have each value.
pub struct Histogram([u32; REGISTER_MAX as usize + 1]);

impl Histogram {
    #[must_use]
    pub fn empty() -> Histogram {
        Histogram([0; REGISTER_MAX as usize + 1])
    }

    /// So many registers have this value.
    pub fn count(&mut self, value: u8, registers: u32) {
        if let Some(count) = self.0.get_mut(usize::from(value)) {
            *count += registers;
        }
    }

    #[must_use]
    pub fn of(values: impl Iterator<Item = u8>) -> Histogram {
        let mut histogram = Histogram::empty();
        values.for_each(|value| histogram.count(value, 1));
        histogram
    }

    #[must_use]
    pub fn cardinality(&self) -> u64 {
        let registers = REGISTERS as f64;
        let count = |value: usize| f64::from(self.0[value]);
        let mut sum = registers * tau((registers - count(VALUE_MAX)) / registers);
        for value in (1..VALUE_MAX).rev() {
            sum = (sum + count(value)) * 0.5;
        }
        sum += registers * sigma(count(0) / registers);
        // Nothing was seen where the sum is infinite.
        (ALPHA * registers * registers / sum).round() as u64
    }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}
