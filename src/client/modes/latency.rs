//! `--latency` and `--latency-history`: how long a PING takes, as percentiles and a histogram.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::live::Live;
use crate::client::clock;
use crate::client::connection::Connection;
use crate::client::failure::{Failure, Outcome};
use crate::client::interrupt::{Interrupts, Woken};
use crate::resp::Reply;

const SAMPLE_EVERY: Duration = Duration::from_millis(10);
const REDRAW_EVERY: Duration = Duration::from_millis(200);
/// Where nobody watches and nothing says how many samples.
const UNWATCHED: Duration = Duration::from_secs(1);
const HISTORY_EVERY: Duration = Duration::from_secs(15);
const BAR_COLUMNS: u64 = 40;

/// What the flags say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampling {
    pub(crate) interval: Option<Duration>,
    /// Of PINGs, or of the history's lines.
    pub(crate) samples: Option<u64>,
    pub(crate) is_json: bool,
}

/// Until Ctrl-C at a terminal, for a second elsewhere, or for so many samples.
pub(crate) fn latency(mut connection: Connection, sampling: Sampling) -> Result<Outcome, Failure> {
    let interrupts = Interrupts::heeded_by(&mut connection)?;
    let mut live = Live::new();
    let mut measured = Measured::default();
    let began = clock::monotonic();
    let mut drawn = began;
    loop {
        measured.ping(&mut connection)?;
        let now = clock::monotonic();
        if live.is_terminal() && !sampling.is_json && now - drawn >= REDRAW_EVERY {
            drawn = now;
            live.draw(&measured.block())?;
        }
        let is_enough = match sampling.samples {
            Some(samples) => measured.count() >= samples,
            None => !live.is_terminal() && now - began >= UNWATCHED,
        };
        if is_enough || pause(&interrupts, sampling.interval.unwrap_or(SAMPLE_EVERY))? {
            break;
        }
    }
    live.draw(&if sampling.is_json { measured.json() } else { measured.block() })?;
    Ok(Outcome::Ok)
}

/// A line for each interval, until Ctrl-C or for so many lines.
pub(crate) fn latency_history(mut connection: Connection, sampling: Sampling) -> Result<Outcome, Failure> {
    let interrupts = Interrupts::heeded_by(&mut connection)?;
    let every = sampling.interval.unwrap_or(HISTORY_EVERY);
    let mut live = Live::new();
    let mut lines = 0;
    while sampling.samples.is_none_or(|samples| lines < samples) {
        let is_interrupted =
            measure_until(clock::monotonic() + every, &mut connection, &interrupts, &mut live, sampling)?;
        live.keep();
        lines += 1;
        if is_interrupted {
            break;
        }
    }
    Ok(Outcome::Ok)
}

/// One line of the history. True: Ctrl-C came.
fn measure_until(
    end: Instant,
    connection: &mut Connection,
    interrupts: &Interrupts,
    live: &mut Live,
    sampling: Sampling,
) -> Result<bool, Failure> {
    let mut measured = Measured::default();
    let mut drawn = clock::monotonic();
    let is_interrupted = loop {
        measured.ping(connection)?;
        let now = clock::monotonic();
        if live.is_terminal() && !sampling.is_json && now - drawn >= REDRAW_EVERY {
            drawn = now;
            live.draw(&format!("{}\n", measured.line()))?;
        }
        if now >= end {
            break false;
        }
        if pause(interrupts, SAMPLE_EVERY.min(end - now))? {
            break true;
        }
    };
    live.draw(&if sampling.is_json { measured.json() } else { format!("{}\n", measured.line()) })?;
    Ok(is_interrupted)
}

fn pause(interrupts: &Interrupts, how_long: Duration) -> Result<bool, Failure> {
    let woken = interrupts.pause(how_long).map_err(|error| Failure::Usage(error.to_string()))?;
    Ok(woken == Woken::Interrupted)
}

/// Durations in microseconds.
struct Measured {
    histogram: Histogram<u64>,
}

impl Default for Measured {
    fn default() -> Self {
        Self { histogram: Histogram::new(3).expect("three digits are allowed") }
    }
}

impl Measured {
    fn ping(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        let began = clock::monotonic();
        if let Reply::Error(text) = connection.call(&["PING"])? {
            return Err(Failure::Server(text.into_owned()));
        }
        self.add((clock::monotonic() - began).as_micros() as u64);
        Ok(())
    }

    fn add(&mut self, microseconds: u64) {
        self.histogram.record(microseconds).expect("it grows by itself");
    }

    fn count(&self) -> u64 {
        self.histogram.len()
    }

    fn at(&self, percentile: f64) -> String {
        milliseconds(self.histogram.value_at_percentile(percentile))
    }

    fn line(&self) -> String {
        format!(
            "samples {}  min {}  mean {:.3}  p50 {}  p99 {}  p99.9 {}  max {}  (ms)",
            self.count(),
            milliseconds(self.histogram.min()),
            self.histogram.mean() / 1e3,
            self.at(50.0),
            self.at(99.0),
            self.at(99.9),
            milliseconds(self.histogram.max()),
        )
    }

    /// The line, and a bar for each doubling of the time.
    fn block(&self) -> String {
        let mut steps: Vec<(u64, u64)> = Vec::new();
        for step in self.histogram.iter_log(1, 2.0) {
            steps.push((step.value_iterated_to() + 1, step.count_since_last_iteration()));
        }
        let first = steps.iter().position(|(_, count)| *count > 0).unwrap_or(0);
        let most = steps.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
        let mut block = self.line() + "\n";
        for (below, count) in &steps[first.min(steps.len())..] {
            let columns = (count * BAR_COLUMNS).div_ceil(most) as usize;
            let line = format!("< {:>9} ms │{:<40} {count}", milliseconds(*below), "█".repeat(columns));
            block.push_str(&line);
            block.push('\n');
        }
        block
    }

    fn json(&self) -> String {
        let at = |percentile| self.histogram.value_at_percentile(percentile);
        let value = serde_json::json!({
            "samples": self.count(), "min_us": self.histogram.min(), "mean_us": self.histogram.mean(),
            "p50_us": at(50.0), "p90_us": at(90.0), "p99_us": at(99.0), "p999_us": at(99.9), "max_us": self.histogram.max(),
        });
        format!("{value}\n")
    }
}

fn milliseconds(microseconds: u64) -> String {
    format!("{:.3}", microseconds as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_histogram_has_a_bar_for_each_doubling_and_the_line_all_percentiles() {
        let mut measured = Measured::default();
        for microseconds in [100, 110, 120, 200, 900] {
            measured.add(microseconds);
        }
        let block = measured.block();
        let lines: Vec<&str> = block.lines().collect();
        assert_eq!(lines[0], "samples 5  min 0.100  mean 0.286  p50 0.120  p99 0.900  p99.9 0.900  max 0.900  (ms)");
        assert!(lines[1].starts_with("<     0.128 ms │████████████████████████████████████████ 3"), "{block}");
        assert!(lines[2].starts_with("<     0.256 ms │██████████████ "), "{block}");
        assert!(lines.last().unwrap().starts_with("<     1.024 ms") && block.trim_end().ends_with(" 1"), "{block}");
    }
}
