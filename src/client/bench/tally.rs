//! What a run has counted: latencies by command, nulls, errors by their text.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

/// Of one thread, or of all of them after `merge`.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    pub(super) commands: Vec<CommandTally>,
    pub(super) errors: BTreeMap<String, u64>,
    /// When the last reply came that counts, on the run's clock.
    pub(super) last_ns: u64,
    /// Requests of a fixed rate whose time had come and that no connection was free to send.
    pub(super) unsent: u64,
}

#[derive(Clone, Debug)]
pub(super) struct CommandTally {
    /// In nanoseconds. Its length is the number of replies.
    pub(super) latency: Histogram<u64>,
    pub(super) nulls: u64,
    pub(super) errors: u64,
}

/// Latencies are kept to three digits between these; longer ones count as the longest.
const SHORTEST_NS: u64 = 100;
const LONGEST_NS: u64 = 3_600_000_000_000;
/// Texts may hold keys. So many are told apart, the rest is counted together.
const ERROR_TEXTS_MAX: usize = 20;
const OTHER_ERRORS: &str = "(other errors)";

impl Tally {
    pub(super) fn new(commands: usize) -> Self {
        Self { commands: vec![CommandTally::new(); commands], errors: BTreeMap::new(), last_ns: 0, unsent: 0 }
    }

    pub(super) fn count_replies(&mut self, command: usize, latency_ns: u64, count: u64, now_ns: u64) {
        self.commands[command].latency.saturating_record_n(latency_ns, count);
        self.last_ns = now_ns;
    }

    pub(super) fn count_error(&mut self, command: usize, text: &[u8]) {
        self.commands[command].errors += 1;
        self.add_errors(&String::from_utf8_lossy(text), 1);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.commands.iter_mut().zip(&other.commands) {
            mine.merge(theirs);
        }
        for (text, count) in &other.errors {
            self.add_errors(text, *count);
        }
        self.last_ns = self.last_ns.max(other.last_ns);
        self.unsent += other.unsent;
    }

    /// All commands together.
    pub(super) fn sum(&self) -> CommandTally {
        let mut sum = CommandTally::new();
        for command in &self.commands {
            sum.merge(command);
        }
        sum
    }

    fn add_errors(&mut self, text: &str, count: u64) {
        let is_known = self.errors.contains_key(text) || self.errors.len() < ERROR_TEXTS_MAX;
        *self.errors.entry(if is_known { text } else { OTHER_ERRORS }.to_owned()).or_default() += count;
    }
}

impl CommandTally {
    fn new() -> Self {
        let latency = Histogram::new_with_bounds(SHORTEST_NS, LONGEST_NS, 3);
        Self { latency: latency.expect("the bounds are in order"), nulls: 0, errors: 0 }
    }

    pub(super) fn replies(&self) -> u64 {
        self.latency.len()
    }

    /// In milliseconds; 0 where nothing was counted.
    pub(super) fn percentile_ms(&self, percentile: f64) -> f64 {
        self.latency.value_at_percentile(percentile) as f64 / 1e6
    }

    pub(super) fn max_ms(&self) -> f64 {
        self.latency.max() as f64 / 1e6
    }

    fn merge(&mut self, other: &Self) {
        self.latency.add(&other.latency).expect("all histograms have the same bounds");
        self.nulls += other.nulls;
        self.errors += other.errors;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_counted_adds_up() {
        let (mut one, mut other) = (Tally::new(2), Tally::new(2));
        one.count_replies(0, 1_000_000, 99, 5);
        other.count_replies(1, 9_000_000, 1, 7);
        other.count_error(1, b"ERR no");
        one.merge(&other);
        let sum = one.sum();
        assert_eq!((sum.replies(), sum.errors, one.last_ns), (100, 1, 7));
        assert!((sum.percentile_ms(50.0) - 1.0).abs() < 0.01 && (sum.max_ms() - 9.0).abs() < 0.01);
        assert_eq!(one.errors, BTreeMap::from([("ERR no".to_owned(), 1)]));
    }

    #[test]
    fn errors_whose_texts_all_differ_do_not_fill_the_memory() {
        let mut tally = Tally::new(1);
        (0..1000).for_each(|index| tally.count_error(0, format!("MOVED {index}").as_bytes()));
        assert_eq!(tally.errors.len(), ERROR_TEXTS_MAX + 1);
        assert_eq!(tally.errors.values().sum::<u64>(), 1000);
    }
}
