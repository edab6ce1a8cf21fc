//! The service's time: the wall clock, but never behind what any process has already used, so that no two of them disagree
//! whether a key has expired.

use std::io;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::kv::shared::versions::Versions;
use crate::sys::atomic::AtomicU64;
use crate::sys::{clock, shared};

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
        self.advance(clock::wall_ms)
    }

    /// `now_ms` for what a wall clock shows when it is read.
    fn advance(&self, wall_ms: impl Fn() -> i64) -> i64 {
        loop {
            let high = self.high_water_ms.load(Ordering::SeqCst);
            // Read after the mark was: whoever set it had read the clock before. So however long this process stands still
            // between two of these lines, a clock behind the mark is one that went back.
            let wall = wall_ms().max(0) as u64;
            if wall >= high {
                return self.high_water_ms.fetch_max(wall, Ordering::SeqCst).max(wall) as i64;
            }
            if !is_step(high, wall) {
                return high as i64;
            }
            // Whoever is first to see the step follows it; what was cached with the old time is void.
            if self.high_water_ms.compare_exchange(high, wall, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                self.versions.void_all();
                tracing::warn!(back_ms = high - wall, "the wall clock was set back");
                return wall as i64;
            }
        }
    }
}

/// True when the clock went back from `high` by so much that the service has to follow.
fn is_step(high: u64, wall: u64) -> bool {
    high.saturating_sub(wall) > STEP_MS as u64
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
        assert_eq!(clock.advance(|| 50_000), 50_000);
        assert_eq!(clock.advance(|| 49_500), 50_000, "within a second the high-water mark holds");
        assert_eq!(versions.epoch(), epoch);
        assert_eq!(clock.advance(|| 10_000), 10_000);
        assert_ne!(versions.epoch(), epoch, "what was cached is void");
        assert_eq!(clock.advance(|| 10_001), 10_001);
        // A step forward, and the correction of it.
        assert_eq!(clock.advance(|| 9_000_000), 9_000_000);
        assert_eq!(clock.advance(|| 10_500), 10_500);
        assert_eq!(clock.advance(|| -5), 0, "before 1970 it is 1970");
    }

    #[test]
    fn a_process_that_stood_still_after_it_read_the_clock_sees_no_step() {
        let versions = Versions::new().unwrap();
        let clock = ServiceClock::new(versions.clone()).unwrap();
        let epoch = versions.epoch();
        assert_eq!(clock.advance(|| 10_000), 10_000);
        let read_then_stand_still = || {
            assert_eq!(clock.advance(|| 60_000), 60_000, "another process, fifty seconds later");
            10_001
        };
        assert_eq!(clock.advance(read_then_stand_still), 60_000);
        assert_eq!(versions.epoch(), epoch);
    }

    #[test]
    fn nobody_reads_a_time_before_one_that_somebody_has_used_while_the_clock_trembles() {
        let versions = Versions::new().unwrap();
        let (clock, used) = (ServiceClock::new(versions.clone()).unwrap(), AtomicI64::new(0));
        let epoch = versions.epoch();
        std::thread::scope(|scope| {
            for reader in 0..4_i64 {
                let (clock, used) = (&clock, &used);
                scope.spawn(move || {
                    for turn in 0..20_000_i64 {
                        let before = used.load(Ordering::SeqCst);
                        // All go forward, and none is a second behind another, wherever the threads are.
                        let now = clock.advance(|| 1_000_000 + turn / 1000 + (turn * 7 + reader * 131) % 900);
                        assert!(now >= before, "{now} after {before}");
                        used.fetch_max(now, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(versions.epoch(), epoch, "no step was seen");
    }
}
