//! The client's clock: the home of its reads.

use std::time::Instant;

/// Counts nanoseconds from the moment it was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock's home")]
    pub(super) fn new() -> Self {
        Self { start: Instant::now() }
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}
