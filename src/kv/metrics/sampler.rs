//! How fast the service works at present: its totals, looked at ten times a second over the last one and a half.
//!
//! Every worker samples for itself, so that INFO needs nobody else's answer.

use std::collections::VecDeque;

use crate::kv::metrics::statistics::{Counted, Totals};
use crate::server::Counter;

const EVERY_MS: u64 = 100;
const SAMPLES: usize = 17;

#[derive(Default)]
pub struct Sampler {
    /// Oldest first.
    samples: VecDeque<Sample>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    at_ms: u64,
    commands: u64,
    input_bytes: u64,
    output_bytes: u64,
}

/// Per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    pub commands: f64,
    pub input_bytes: f64,
    pub output_bytes: f64,
}

impl Sampler {
    /// At every tick; `now_ms` is the machine's uptime.
    pub fn tick(&mut self, totals: &Totals, now_ms: u64) {
        let last_ms = self.samples.back().map_or(0, |sample| sample.at_ms);
        if now_ms.saturating_sub(last_ms) < EVERY_MS {
            return;
        }
        self.add(Sample {
            at_ms: now_ms,
            commands: totals.sum(Counted::CommandsTotal),
            input_bytes: totals.0.sum(Counter::InputBytesTotal),
            output_bytes: totals.0.sum(Counter::OutputBytesTotal),
        });
    }

    fn add(&mut self, sample: Sample) {
        if self.samples.back().is_some_and(|last| last.commands > sample.commands) {
            // CONFIG RESETSTAT: what came before has nothing to do with what comes now.
            self.samples.clear();
        }
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    #[must_use]
    pub fn rates(&self) -> Rates {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else { return Rates::default() };
        let seconds = (last.at_ms - first.at_ms) as f64 / 1000.0;
        if seconds == 0.0 {
            return Rates::default();
        }
        let rate = |of: fn(&Sample) -> u64| of(last).saturating_sub(of(first)) as f64 / seconds;
        Rates {
            commands: rate(|sample| sample.commands),
            input_bytes: rate(|sample| sample.input_bytes),
            output_bytes: rate(|sample| sample.output_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_last_samples_and_begin_anew_after_a_reset() {
        let mut sampler = Sampler::default();
        assert_eq!(sampler.rates(), Rates::default());
        for step in 0..100 {
            let sample = Sample { at_ms: 1000 + step * 100, commands: step * 10, input_bytes: step, output_bytes: 0 };
            sampler.add(sample);
        }
        assert_eq!(sampler.rates(), Rates { commands: 100.0, input_bytes: 10.0, output_bytes: 0.0 });
        sampler.add(Sample { at_ms: 20_000, commands: 3, ..Sample::default() });
        assert_eq!(sampler.rates(), Rates::default());
    }
}
