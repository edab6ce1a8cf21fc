//! The home of every clock read. Loops read the monotonic clock once per round and pass it on.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The monotonic clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock's home")]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// The wall clock in milliseconds since 1970; a clock set before 1970 counts as 0.
#[must_use]
pub fn wall_ms() -> i64 {
    i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX)
}

/// The wall clock in microseconds since 1970; a clock set before 1970 counts as 0.
#[must_use]
pub fn wall_us() -> i64 {
    i64::try_from(since_epoch().as_micros()).unwrap_or(i64::MAX)
}

/// Lets time pass, where there is nothing to wait for but time itself.
#[expect(clippy::disallowed_methods, reason = "this is the clock's home")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Milliseconds of the monotonic clock since the machine started: the same in every process, unlike an `Instant`.
#[must_use]
pub fn uptime_ms() -> u64 {
    use nix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC exists on every Linux");
    u64::try_from(time.tv_sec()).unwrap_or(0) * 1000 + u64::try_from(time.tv_nsec()).unwrap_or(0) / 1_000_000
}

#[expect(clippy::disallowed_methods, reason = "this is the clock's home")]
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}
