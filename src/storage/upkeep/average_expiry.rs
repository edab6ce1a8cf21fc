//! How long the keys of each database that end have left, on average. An estimate, from a sample that is taken once a second
//! beside the sweeping.

use std::time::{Duration, Instant};

use crate::storage::error::Result;
use crate::storage::{DATABASES, ExpirySample, Keyspace};
use crate::sys::clock;

pub(super) struct AverageExpiry {
    look_at: Instant,
    /// The database whose turn it is.
    turn: usize,
    random: u64,
    /// When the keys of each database end (milliseconds since 1970). A time and not how long it is until then, which would lag
    /// behind as it passes.
    ends_at_ms: [Option<f64>; DATABASES],
}

/// Between two samples; and so many times as long as one takes, for on a slow disk its rows may not be in memory.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const REST: u32 = 200;
/// After an error, which is that of a damaged row.
const LOOK_AGAIN: Duration = Duration::from_secs(600);
/// What a sample counts for beside the mean of those before it: the estimate follows a change within some ten samples.
const SAMPLE_SHARE: f64 = 1.0 / 8.0;

impl AverageExpiry {
    pub(super) fn start(now: Instant) -> AverageExpiry {
        let random = clock::wall_us().unsigned_abs();
        AverageExpiry { look_at: now, turn: 0, random, ends_at_ms: [None; DATABASES] }
    }

    /// Within a transaction. For how long the keys of each database that end will still be there, in milliseconds; `None` until it
    /// is time. An error is nobody's but this figure's.
    pub(super) fn look(&mut self, base: &mut Keyspace, now: Instant) -> Option<[u64; DATABASES]> {
        if now < self.look_at {
            return None;
        }
        let begun = clock::monotonic();
        self.look_at = match self.sample(base) {
            Ok(()) => now + LOOK_EVERY.max(clock::monotonic().duration_since(begun) * REST),
            Err(error) => {
                tracing::warn!(%error, "how long keys have left can't be estimated");
                now + LOOK_AGAIN
            }
        };
        let left_ms = |at: Option<f64>| at.map_or(0.0, |at| at - base.now_ms() as f64) as u64;
        Some(self.ends_at_ms.map(left_ms))
    }

    /// Of one database that has such keys, the next in turn.
    fn sample(&mut self, base: &mut Keyspace) -> Result<()> {
        for _ in 0..DATABASES {
            let number = self.turn;
            self.turn = (number + 1) % DATABASES;
            base.select(number as u8);
            if base.rough_counts()?.1 == 0 {
                self.ends_at_ms[number] = None;
                continue;
            }
            // One step of SplitMix64: neighbours in time begin far from each other.
            self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let random = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let sample = base.sample_expiries(random)?;
            self.ends_at_ms[number] = with_sample(self.ends_at_ms[number], &sample);
            break;
        }
        Ok(())
    }
}

/// The mean after one more sample.
fn with_sample(mean: Option<f64>, sample: &ExpirySample) -> Option<f64> {
    if sample.expires_at_ms.is_empty() {
        return if sample.is_all { None } else { mean };
    }
    let sum: f64 = sample.expires_at_ms.iter().map(|at| *at as f64).sum();
    let new = sum / sample.expires_at_ms.len() as f64;
    Some(match mean {
        Some(mean) if !sample.is_all => mean + (new - mean) * SAMPLE_SHARE,
        _ => new,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(is_all: bool, expires_at_ms: &[i64]) -> ExpirySample {
        ExpirySample { expires_at_ms: expires_at_ms.to_vec(), is_all }
    }

    #[test]
    fn all_keys_are_the_mean_and_some_of_them_move_it() {
        assert_eq!(with_sample(None, &sample(true, &[10, 20])), Some(15.0));
        assert_eq!(with_sample(Some(1000.0), &sample(true, &[10, 20])), Some(15.0));
        assert_eq!(with_sample(None, &sample(false, &[10, 20])), Some(15.0));
        assert_eq!(with_sample(Some(23.0), &sample(false, &[10, 20])), Some(22.0));
        assert_eq!(with_sample(Some(23.0), &sample(false, &[])), Some(23.0), "found none");
        assert_eq!(with_sample(Some(23.0), &sample(true, &[])), None, "there is none");
        assert!(with_sample(None, &sample(true, &[i64::MAX, i64::MAX])).is_some_and(f64::is_finite));
    }

    #[test]
    fn many_samples_come_near_the_truth_from_anywhere() {
        for start in [None, Some(0.0), Some(1e6)] {
            let mean = (0..200).fold(start, |mean, round| with_sample(mean, &sample(false, &[40 + round % 3, 60])));
            assert!(mean.is_some_and(|mean| (49.0..52.0).contains(&mean)), "{mean:?}");
        }
    }
}
