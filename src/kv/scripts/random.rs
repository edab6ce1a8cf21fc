//! The numbers of `math.random`: the generator `lrand48`, as Redis carries it, so that a seed gives the same numbers everywhere. Knows no Lua.

/// 48 bits of state.
#[derive(Debug)]
pub(super) struct Random(u64);

const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const INCREMENT: u64 = 0xB;
const MASK: u64 = (1 << 48) - 1;

impl Default for Random {
    fn default() -> Random {
        Random(0x1234_ABCD_330E)
    }
}

impl Random {
    pub(super) fn seed(&mut self, seed: i32) {
        self.0 = (u64::from(seed.cast_unsigned()) << 16) | 0x330E;
    }

    /// In [0, 1).
    pub(super) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT) & MASK;
        let number = (self.0 >> 17) as u32;
        f64::from(number % i32::MAX as u32) / f64::from(i32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn a_seed_gives_the_same_numbers_again() {
        let numbers = |seed| {
            let mut random = Random::default();
            random.seed(seed);
            [(); 5].map(|()| random.next())
        };
        assert_eq!(numbers(10), numbers(10));
        assert_ne!(numbers(10), numbers(11));
        assert!(numbers(-1).iter().all(|number| (0.0..1.0).contains(number)));
    }
}
