//! Log lines about what strangers cause: one a minute of each kind from each process, and the next one tells how many were left out.
//!
//! Such lines can be caused as fast as connections can be made, and a log that is full of them tells nothing else.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys::clock;

/// From one line of a kind to the next.
const EVERY_MS: u64 = 60_000;

/// One kind of thing, as a `static` beside the line that tells of it:
///
/// ```
/// # use emptyserver::server::LogLimit;
/// static STRANGE: LogLimit = LogLimit::new();
/// if let Some(left_out) = STRANGE.admit() {
///     tracing::warn!(left_out, "something strange was sent");
/// }
/// ```
#[derive(Debug)]
pub struct LogLimit {
    /// When the last line was admitted, in milliseconds of the machine's uptime; 0: never.
    admitted_at_ms: AtomicU64,
    left_out: AtomicU64,
}

impl LogLimit {
    #[must_use]
    pub const fn new() -> LogLimit {
        LogLimit { admitted_at_ms: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// It has happened once more. `Some`: a line is due, and so many things had none since the last line.
    #[must_use]
    pub fn admit(&self) -> Option<u64> {
        self.admit_at(clock::uptime_ms())
    }

    fn admit_at(&self, now_ms: u64) -> Option<u64> {
        let admitted_at_ms = self.admitted_at_ms.load(Ordering::Relaxed);
        let is_due = admitted_at_ms == 0 || now_ms >= admitted_at_ms.saturating_add(EVERY_MS);
        // Of two threads one tells.
        let is_first = || {
            let (order, new) = (Ordering::Relaxed, now_ms.max(1));
            self.admitted_at_ms.compare_exchange(admitted_at_ms, new, order, order).is_ok()
        };
        if is_due && is_first() {
            return Some(self.left_out.swap(0, Ordering::Relaxed));
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }
}

impl Default for LogLimit {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_line_a_minute_and_it_tells_what_was_left_out() {
        let limit = LogLimit::new();
        assert_eq!(limit.admit_at(0), Some(0));
        for at_ms in 0..EVERY_MS {
            assert_eq!(limit.admit_at(at_ms), None);
        }
        assert_eq!(limit.admit_at(EVERY_MS + 1), Some(EVERY_MS));
        assert_eq!(limit.admit_at(EVERY_MS + 1), None);
        assert_eq!(limit.admit_at(2 * EVERY_MS + 1), Some(1));
    }

    #[test]
    fn of_many_threads_one_tells_and_nothing_is_lost() {
        let limit = LogLimit::new();
        let admitted = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..1000).filter_map(|_| limit.admit_at(7)).count())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        assert_eq!(admitted, 1);
        assert_eq!(limit.admit_at(7 + EVERY_MS), Some(3999));
    }
}
