//! Which key comes next: a number below the key range.

use super::random::Random;

#[derive(Clone, Debug)]
pub(super) enum Keys {
    /// Each as likely as the others.
    Uniform { count: u64 },
    /// A few are asked for often, most of them seldom.
    Zipf(Zipf),
    /// One hot key.
    One,
    /// One after the other, from 0 to the end and again.
    Sequential { next: u64, count: u64 },
}

/// Rank k is drawn with a probability proportional to k^-exponent.
#[derive(Clone, Debug)]
pub(super) struct Zipf {
    count: u64,
    exponent: f64,
    /// Area below the curve that bounds the distribution.
    area: f64,
}

impl Keys {
    pub(super) fn next(&mut self, random: &mut Random) -> u64 {
        match self {
            Self::Uniform { count } => random.below(*count),
            Self::Zipf(zipf) => zipf.key(random),
            Self::One => 0,
            Self::Sequential { next, count } => {
                let key = *next;
                *next = (key + 1) % *count;
                key
            }
        }
    }
}

/// A prime: ranks times it, modulo the count, is a permutation of the keys, so that popular keys do not lie side by side.
const SCATTER: u64 = 2_654_435_761;

impl Zipf {
    /// `exponent` is positive.
    pub(super) fn new(count: u64, exponent: f64) -> Self {
        let n = count as f64;
        let area = if is_one(exponent) { 1.0 + n.ln() } else { (n.powf(1.0 - exponent) - exponent) / (1.0 - exponent) };
        Self { count, exponent, area }
    }

    fn key(&self, random: &mut Random) -> u64 {
        let rank = self.rank(random);
        ((u128::from(rank) * u128::from(SCATTER)) % u128::from(self.count)) as u64
    }

    /// From 0. By rejection from the curve min(1, x^-exponent): no table, whatever the number of keys.
    fn rank(&self, random: &mut Random) -> u64 {
        loop {
            let x = self.inverse(random.unit() * self.area);
            let rank = (x + 1.0).floor();
            let mut ratio = rank.powf(-self.exponent);
            if rank > 1.0 {
                ratio *= x.powf(self.exponent);
            }
            if random.unit() < ratio {
                return (rank as u64 - 1).min(self.count - 1);
            }
        }
    }

    /// Where the area below the curve reaches `area`.
    fn inverse(&self, area: f64) -> f64 {
        let s = self.exponent;
        if area <= 1.0 {
            area
        } else if is_one(s) {
            (area - 1.0).exp()
        } else {
            (area * (1.0 - s) + s).powf(1.0 / (1.0 - s))
        }
    }
}

fn is_one(exponent: f64) -> bool {
    (exponent - 1.0).abs() < 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn counted(mut keys: Keys, draws: u64) -> HashMap<u64, u64> {
        let (mut random, mut counts) = (Random::new(7), HashMap::new());
        for _ in 0..draws {
            *counts.entry(keys.next(&mut random)).or_default() += 1;
        }
        counts
    }

    #[test]
    fn uniform_keys_are_all_as_likely() {
        let counts = counted(Keys::Uniform { count: 100 }, 100_000);
        assert_eq!(counts.len(), 100);
        assert!(counts.values().all(|count| (800..1_200).contains(count)));
    }

    #[test]
    fn zipf_keys_follow_their_law() {
        for exponent in [0.5, 0.99, 1.0, 1.5] {
            let count = 1000;
            let sum: f64 = (1..=count).map(|rank| f64::from(rank).powf(-exponent)).sum();
            let counts = counted(Keys::Zipf(Zipf::new(u64::from(count as u32), exponent)), 400_000);
            for rank in [1, 2, 3, 10, 50] {
                let key = (rank - 1) * SCATTER % 1000;
                let expected = (rank as f64).powf(-exponent) / sum * 400_000.0;
                let found = counts.get(&key).copied().unwrap_or_default() as f64;
                assert!((found - expected).abs() < 5.0 * expected.sqrt(), "{exponent} {rank}: {found}, not {expected}");
            }
            assert!(counts.keys().all(|key| *key < 1000));
        }
    }

    #[test]
    fn every_rank_has_its_own_key() {
        let keys: std::collections::HashSet<u64> = (0..10_000u64).map(|rank| rank * SCATTER % 10_000).collect();
        assert_eq!(keys.len(), 10_000);
    }

    #[test]
    fn sequential_keys_visit_each_once_and_begin_again() {
        let counts = counted(Keys::Sequential { next: 0, count: 10 }, 20);
        assert!(counts.len() == 10 && counts.values().all(|count| *count == 2));
        assert_eq!(counted(Keys::One, 5).len(), 1);
    }
}
