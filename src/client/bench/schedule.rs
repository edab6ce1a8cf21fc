//! When requests are due: the arithmetic of a rate that does not wait for replies. No clock, no I/O.

/// One thread's share of a rate: its requests lie at equal distances, between those of the other threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    start_ns: u64,
    first_ns: f64,
    interval_ns: f64,
}

impl Schedule {
    /// `rate_per_second` is that of all `threads` together; this is number `thread` of them.
    pub(super) fn new(start_ns: u64, rate_per_second: f64, thread: usize, threads: usize) -> Self {
        let overall_ns = 1e9 / rate_per_second;
        Self { start_ns, first_ns: overall_ns * thread as f64, interval_ns: overall_ns * threads as f64 }
    }

    /// When request number `index` should be sent. Its latency counts from here, whenever it really is.
    pub(super) fn intended_ns(&self, index: u64) -> u64 {
        self.start_ns + (self.first_ns + self.interval_ns * index as f64) as u64
    }

    /// How many requests should have been sent at `now_ns`.
    pub(super) fn due(&self, now_ns: u64) -> u64 {
        let passed_ns = now_ns.saturating_sub(self.start_ns) as f64 - self.first_ns;
        if now_ns < self.start_ns || passed_ns < 0.0 {
            return 0;
        }
        let mut due = (passed_ns / self.interval_ns) as u64 + 1;
        // Division and multiplication round differently: nothing is due before it is intended, and nothing is left out.
        while due > 0 && self.intended_ns(due - 1) > now_ns {
            due -= 1;
        }
        while self.intended_ns(due) <= now_ns {
            due += 1;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_equal_distances() {
        let schedule = Schedule::new(1_000, 1e6, 0, 1);
        let due: Vec<u64> = [0, 999, 1_000, 1_999, 2_000, 11_000].iter().map(|now| schedule.due(*now)).collect();
        assert_eq!(due, [0, 0, 1, 1, 2, 11]);
    }

    #[test]
    fn the_threads_share_the_rate_and_take_turns() {
        let schedules: Vec<Schedule> = (0..3).map(|thread| Schedule::new(0, 1e6, thread, 3)).collect();
        let mut times: Vec<u64> =
            schedules.iter().flat_map(|schedule| (0..4).map(|index| schedule.intended_ns(index))).collect();
        times.sort_unstable();
        assert_eq!(times, (0..12).map(|index| index * 1_000).collect::<Vec<_>>());
        assert_eq!(schedules.iter().map(|schedule| schedule.due(1_000_000_000)).sum::<u64>(), 1_000_001);
    }

    proptest::proptest! {
        #[test]
        fn a_request_is_due_exactly_from_its_intended_time_on(
            rate in 0.5f64..5e6, start_ns in 0u64..1 << 40, index in 0u64..1 << 24, threads in 1usize..8,
        ) {
            let schedule = Schedule::new(start_ns, rate, threads - 1, threads);
            let intended_ns = schedule.intended_ns(index);
            assert!(schedule.due(intended_ns) > index);
            assert!(intended_ns == 0 || schedule.due(intended_ns - 1) <= index);
        }
    }
}
