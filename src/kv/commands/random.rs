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

    /// Each number is as likely as any other.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
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
    fn numbers_are_equally_likely() {
        let mut random = Random(7);
        let (mut high, mut low) = ([0_u32; 8], [0_u32; 8]);
        for _ in 0..80_000 {
            let number = random.draw();
            high[(number >> 61) as usize] += 1;
            low[(number & 7) as usize] += 1;
        }
        assert!(high.iter().chain(&low).all(|count| (9_500..10_500).contains(count)), "{high:?} {low:?}");
    }
}
