//! How far it is, on a terminal: rate, percentiles and the shape of the latencies, of the last moments. Nothing elsewhere.

use std::cell::RefCell;
use std::io::{self, IsTerminal};

use hdrhistogram::Histogram;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::arguments::{Extent, Plan};
use super::tally::Tally;
use crate::client::clock::Clock;

pub(super) struct Display {
    shown: Option<RefCell<Shown>>,
}

struct Shown {
    bar: ProgressBar,
    clock: Clock,
    /// What each thread said last.
    tallies: Vec<Option<Tally>>,
    /// All latencies at the last drawing, and when that was.
    before: Histogram<u64>,
    before_ns: u64,
    is_timed: bool,
}

const DRAWING_NS: u64 = 250_000_000;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The columns of the shape: up to 50 µs, 100 µs, 200 µs … and what is longer.
const COLUMN_ENDS_NS: [u64; 12] = [
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    1_000_000_000,
];

impl Display {
    pub(super) fn new(plan: &Plan, label: &str) -> Self {
        Self { shown: io::stderr().is_terminal().then(|| RefCell::new(Shown::new(plan, label))) }
    }

    pub(super) fn is_shown(&self) -> bool {
        self.shown.is_some()
    }

    pub(super) fn update(&self, thread: usize, tally: Tally) {
        if let Some(shown) = &self.shown {
            shown.borrow_mut().update(thread, tally);
        }
    }

    pub(super) fn clear(&self) {
        if let Some(shown) = &self.shown {
            shown.borrow().bar.finish_and_clear();
        }
    }
}

impl Shown {
    fn new(plan: &Plan, label: &str) -> Self {
        let (length, is_timed) = match plan.extent {
            Extent::Requests(count) => (count, false),
            Extent::Time(time) => ((time + plan.warm_up).as_millis() as u64, true),
        };
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix} [{bar:20}] {percent:>3}%  {wide_msg}");
        bar.set_style(style.expect("the template is right"));
        bar.set_prefix(label.to_owned());
        let before = Tally::new(1).sum().latency;
        Self { bar, clock: Clock::new(), tallies: vec![None; plan.threads], before, before_ns: 0, is_timed }
    }

    fn update(&mut self, thread: usize, tally: Tally) {
        self.tallies[thread] = Some(tally);
        let now_ns = self.clock.now_ns();
        if now_ns - self.before_ns < DRAWING_NS {
            return;
        }
        let mut all = Tally::new(1).sum();
        for tally in self.tallies.iter().flatten() {
            let sum = tally.sum();
            all.latency.add(&sum.latency).expect("all histograms have the same bounds");
            all.errors += sum.errors;
        }
        let mut recent = all.latency.clone();
        recent.subtract(&self.before).expect("a thread's histogram only grows");
        let seconds = (now_ns - self.before_ns) as f64 / 1e9;
        self.bar.set_position(if self.is_timed { now_ns / 1_000_000 } else { all.latency.len() });
        self.bar.set_message(message(&recent, seconds, all.errors));
        (self.before, self.before_ns) = (all.latency, now_ns);
    }
}

fn message(recent: &Histogram<u64>, seconds: f64, errors: u64) -> String {
    let ms = |percentile| recent.value_at_percentile(percentile) as f64 / 1e6;
    let rate = HumanCount((recent.len() as f64 / seconds) as u64);
    let errors = if errors > 0 { format!("  {} errors", HumanCount(errors)) } else { String::new() };
    format!("{rate}/s  p50 {:.3} p99 {:.3} p99.9 {:.3} ms  {}{errors}", ms(50.0), ms(99.0), ms(99.9), shape(recent))
}

/// One column for each class of latencies; the height is its share, the lowest bar for any at all.
fn shape(latency: &Histogram<u64>) -> String {
    let mut counts = [0; COLUMN_ENDS_NS.len() + 1];
    for bucket in latency.iter_recorded() {
        let value_ns = bucket.value_iterated_to();
        counts[COLUMN_ENDS_NS.partition_point(|end| *end < value_ns)] += bucket.count_since_last_iteration();
    }
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let column = |count: &u64| match *count {
        0 => ' ',
        count => BARS[(count * (BARS.len() as u64 - 1)).div_ceil(most) as usize],
    };
    counts.iter().map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_has_a_column_for_each_class() {
        let mut latency = Tally::new(1).sum().latency;
        latency.record_n(30_000, 1_000).unwrap();
        latency.record_n(700_000, 500).unwrap();
        latency.record(5_000_000_000).unwrap();
        assert_eq!(shape(&latency), "█   ▅       ▂");
        assert!(message(&latency, 0.5, 3).starts_with("3,002/s  p50 0.03"));
        assert!(message(&latency, 0.5, 3).ends_with("  3 errors"));
    }
}
