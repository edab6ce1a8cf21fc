//! The service's time: the wall clock, but never behind what any process has already used, so that no two of them disagree
//! whether a key has expired.

use std::io;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::kv::versions::Versions;
use crate::server::sys::{clock, shared};

/// The clock may go back by this much without anybody noticing; after a larger step the service follows it.
const STEP_MS: i64 = 1000;

/// Shared by every process forked after it was made.
#[derive(Clone)]
pub struct ServiceClock {
    high_water_ms: &'static AtomicU64,
    versions: Versions,
}

impl ServiceClock {
    pub fn new(versions: Versions) -> io::Result<ServiceClock> {
        Ok(ServiceClock { high_water_ms: &shared::words(1)?[0], versions })
    }

    /// Milliseconds since 1970. Read once per batch or group, after its last job was taken.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.advance(clock::wall_ms())
    }

    /// `now_ms` for a wall clock that shows `wall_ms`.
    fn advance(&self, wall_ms: i64) -> i64 {
        let wall = wall_ms.max(0) as u64;
        let high = self.high_water_ms.fetch_max(wall, Ordering::SeqCst);
        if high <= wall {
            return wall as i64;
        }
        if high - wall <= STEP_MS as u64 {
            return high as i64;
        }
        // Whoever is first to see the step follows it; what was cached with the old time is void.
        if self.high_water_ms.compare_exchange(high, wall, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            self.versions.void_all();
            tracing::warn!(back_ms = high - wall, "the wall clock was set back");
        }
        wall as i64
    }
}

/// A time that only one loop uses, refreshed at its ticks: for idle times and ages, which nobody needs to the millisecond.
#[derive(Default)]
pub struct CoarseClock(AtomicI64);

impl CoarseClock {
    pub fn refresh(&self) {
        self.0.store(clock::wall_ms(), Ordering::Relaxed);
    }

    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_goes_back_by_a_little_and_follows_a_large_step() {
        let versions = Versions::new().unwrap();
        let clock = ServiceClock::new(versions.clone()).unwrap();
        let epoch = versions.epoch();
        assert_eq!(clock.advance(50_000), 50_000);
        assert_eq!(clock.advance(49_500), 50_000, "within a second the high-water mark holds");
        assert_eq!(versions.epoch(), epoch);
        assert_eq!(clock.advance(10_000), 10_000);
        assert_ne!(versions.epoch(), epoch, "what was cached is void");
        assert_eq!(clock.advance(10_001), 10_001);
    }
}
