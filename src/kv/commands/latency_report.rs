//! What LATENCY says to people: the report of DOCTOR, and the graph of an event's samples.

use std::fmt::Write;

use crate::kv::shared::Shared;
use crate::kv::shared::latency::{Event, Sample};
use crate::kv::shared::runtime::Knob;

/// The report on all events.
pub(super) fn doctor(shared: &Shared) -> String {
    let observed: Vec<_> = Event::ALL
        .iter()
        .map(|&(name, event)| (name, event, shared.latency.samples(event)))
        .filter(|(_, _, samples)| !samples.is_empty())
        .collect();
    if observed.is_empty() {
        return match shared.runtime.read(Knob::LatencyThresholdMs) {
            0 => DISABLED.to_owned(),
            _ => HEALTHY.to_owned(),
        };
    }
    let mut report = OBSERVED.to_owned();
    for (number, (name, event, samples)) in observed.iter().enumerate() {
        let Summary { average_ms, deviation_ms, period_seconds } = summary(samples);
        // Writing to a string can't fail.
        writeln!(
            report,
            "{}. {name}: {} latency spikes (average {average_ms}ms, mean deviation {deviation_ms}ms, period \
             {period_seconds:.2} sec). Worst all time event {}ms.",
            number + 1,
            samples.len(),
            shared.latency.max_ms(*event)
        )
        .expect("a string takes all text");
    }
    report.push_str("\nI have a few advices for you:\n\n");
    for (_, event, _) in &observed {
        report.push_str(advice(*event));
    }
    report
}

const DISABLED: &str = "I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this instance. You may use \
                        \"CONFIG SET latency-monitor-threshold <milliseconds>.\" in order to enable it.\n";
const HEALTHY: &str = "Dave, no latency spike was observed during the lifetime of this instance, not in the slightest \
                       bit. I honestly think you ought to sit down calmly, take a stress pill, and think things over.\n";
const OBSERVED: &str =
    "Dave, I have observed latency spikes in this instance. You don't mind talking about it, do you Dave?\n\n";

/// What helps against spikes of this event.
fn advice(event: Event) -> &'static str {
    match event {
        Event::Command | Event::FastCommand => {
            "- Look at the commands that took long (SLOWLOG GET, LATENCY HISTOGRAM): smaller ranges and fewer keys in one \
             call help, and so does a data file whose often used part fits into memory.\n"
        }
        Event::Commit => {
            "- Commits wait for the disk (INFO writer). A faster disk helps, or EMPTYSERVER_DURABILITY=everysec if the last \
             second of writes may be lost with the power.\n"
        }
        Event::Checkpoint => {
            "- Checkpoints copy much at once. They run beside the writer, but share its disk: a smaller \
             EMPTYSERVER_WAL_BYTES_MAX makes each shorter.\n"
        }
        Event::ExpireCycle => {
            "- Many keys expire at the same time. Times that are spread a little make each step smaller.\n"
        }
    }
}

struct Summary {
    average_ms: u64,
    /// The mean of the distances from the average.
    deviation_ms: u64,
    /// The mean time between two samples.
    period_seconds: f64,
}

fn summary(samples: &[Sample]) -> Summary {
    let count = samples.len() as u64;
    let average_ms = samples.iter().map(|sample| u64::from(sample.latency_ms)).sum::<u64>() / count;
    let distances = samples.iter().map(|sample| average_ms.abs_diff(u64::from(sample.latency_ms)));
    let deviation_ms = distances.sum::<u64>() / count;
    let first = samples.first().map_or(0, |sample| sample.time_seconds);
    let last = samples.last().map_or(0, |sample| sample.time_seconds);
    Summary { average_ms, deviation_ms, period_seconds: f64::from(last.saturating_sub(first)) / count as f64 }
}

const COLUMNS: usize = 80;
const ROWS: usize = 4;
/// What fills the lower, the middle and the upper part of a cell.
const CELL: [u8; 3] = *b"_o#";

/// The samples (at least one) as Redis draws them (`latencyCommandGenSparkeline`, `sparkline.c`): the age of each is
/// written downwards below it.
pub(super) fn graph(name: &[u8], samples: &[Sample], max_ms: u64, now_seconds: i64) -> String {
    let values = samples.iter().map(|sample| sample.latency_ms);
    let (low, high) = (values.clone().min().unwrap_or(0), values.max().unwrap_or(0));
    let name = String::from_utf8_lossy(name);
    let mut graph = format!("{name} - high {high} ms, low {low} ms (all time high {max_ms} ms)\n");
    graph.push_str(&"-".repeat(COLUMNS));
    graph.push('\n');
    for (index, samples) in samples.chunks(COLUMNS).enumerate() {
        if index > 0 {
            graph.push('\n');
        }
        draw(samples, low, high, now_seconds, &mut graph);
    }
    graph
}

fn draw(samples: &[Sample], low: u32, high: u32, now_seconds: i64, graph: &mut String) {
    let range = f64::from((high - low).max(1));
    let steps = CELL.len() * ROWS;
    let heights: Vec<usize> = samples
        .iter()
        .map(|sample| ((f64::from(sample.latency_ms - low) * steps as f64 / range) as usize).min(steps - 1))
        .collect();
    for row in (0..ROWS).rev() {
        let cells = heights.iter().map(|&height| match height.checked_sub(row * CELL.len()) {
            None => ' ',
            Some(part) => CELL.get(part).map_or('|', |&cell| char::from(cell)),
        });
        graph.extend(cells);
        graph.push('\n');
    }
    let ages: Vec<String> = samples.iter().map(|sample| age(now_seconds - i64::from(sample.time_seconds))).collect();
    let longest = ages.iter().map(String::len).max().unwrap_or(0);
    // A row of space above the ages.
    graph.push_str(&" ".repeat(samples.len()));
    graph.push('\n');
    for place in 0..longest {
        graph.extend(ages.iter().map(|age| age.as_bytes().get(place).map_or(' ', |&byte| char::from(byte))));
        graph.push('\n');
    }
}

/// In the largest unit that is reached.
fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..86_400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_is_drawn_as_redis_draws_it() {
        let sample = |time_seconds, latency_ms| Sample { time_seconds, latency_ms };
        let samples = [sample(1000, 100), sample(4000, 1000), sample(5000, 500), sample(5005, 250)];
        let drawn = graph(b"command", &samples, 2000, 5010);
        let expected = "command - high 1000 ms, low 100 ms (all time high 2000 ms)\n\
            --------------------------------------------------------------------------------\n\
            \x20#  \n\
            \x20|  \n\
            \x20|# \n\
            _||#\n\
            \x20   \n\
            1115\n\
            h60s\n\
            \x20ms \n";
        assert_eq!(drawn, expected);
    }

    #[test]
    fn a_summary_has_the_mean_and_the_mean_distance_from_it() {
        let sample = |time_seconds, latency_ms| Sample { time_seconds, latency_ms };
        let summary = summary(&[sample(10, 100), sample(20, 300)]);
        assert_eq!((summary.average_ms, summary.deviation_ms, summary.period_seconds), (200, 100, 5.0));
    }
}
