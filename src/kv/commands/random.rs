//! Chance for commands that choose among keys and elements. Not for secrets.

use std::hash::{BuildHasher, Hasher, RandomState};

/// SplitMix64 from a seed that nobody knows.
pub struct Random(u64);

impl Random {
    #[must_use]
    pub fn new() -> Random {
        // The standard library's hasher is keyed from the system's randomness, anew for each.
        Random(RandomState::new().build_hasher().finish())
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// One of the numbers below `end`, each as likely as any other. `end` is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // Lemire: the high half of the product, but for the few products that would come more often.
        loop {
            let product = u128::from(self.draw()) * u128::from(end);
            let low = product as u64;
            if low >= end || low >= end.wrapping_neg() % end {
                return (product >> 64) as u64;
            }
        }
    }
}

impl Default for Random {
    fn default() -> Random {
        Random::new()
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn numbers_below_an_end_are_equally_likely() {
        let mut random = Random(7);
        let mut counts = [0_u32; 6];
        for _ in 0..60_000 {
            counts[random.below(6) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
        assert!((0..100).all(|_| random.below(1) == 0));
        assert!((0..100).any(|_| random.below(u64::MAX) > u64::MAX / 2));
    }
}
