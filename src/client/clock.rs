//! The client's clock: the only file of the client that reads time.
#![expect(clippy::disallowed_methods, reason = "this is the home of the clock")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// For durations and deadlines.
#[must_use]
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

/// Since 1970, for what people read.
#[must_use]
pub(crate) fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Waits so long, for nothing.
pub(crate) fn pause(how_long: Duration) {
    std::thread::sleep(how_long);
}

/// Counts nanoseconds from the moment it was made: moments of a run as plain numbers, which cost little to keep for each
/// request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: monotonic() }
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}
