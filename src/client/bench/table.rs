//! The outcome for people.

use std::fmt::Write;

use super::arguments::{Extent, Plan};
use super::rounds::Measurement;
use super::run::Outcomes;
use super::tally::CommandTally;

/// From this share of its time on the generator may have been what was measured.
const BUSY_SHARE: f64 = 0.9;

pub(super) fn text(plan: &Plan, outcomes: &Outcomes) -> String {
    let mut out = String::new();
    for (target, measurement) in plan.targets.iter().zip(&outcomes.prefill) {
        let requests = measurement.tally.sum().replies();
        let rate = measurement.per_second();
        line(&mut out, format_args!("prefill {target}: {requests} keys in {:.1} s, {rate:.0}/s", measurement.seconds));
        notes(&mut out, measurement);
    }
    if outcomes.rounds.is_empty() {
        return out;
    }
    line(&mut out, format_args!("{}", describe(plan)));
    for (index, round) in outcomes.rounds.iter().enumerate() {
        for (target, measurement) in plan.targets.iter().zip(round) {
            let title =
                if outcomes.rounds.len() > 1 { format!("{target}, round {}", index + 1) } else { target.to_string() };
            rows(&mut out, plan, &title, measurement);
        }
    }
    if outcomes.rounds.len() > 1 || plan.targets.len() > 1 {
        summary(&mut out, plan, outcomes);
    }
    out
}

fn describe(plan: &Plan) -> String {
    let extent = match plan.extent {
        Extent::Requests(count) => format!("{count} requests"),
        Extent::Time(time) => format!("{} s", time.as_secs_f64()),
    };
    let (least, most) = (plan.value_bytes.start(), plan.value_bytes.end());
    let values = if least == most { least.to_string() } else { format!("{least}-{most}") };
    let mut text = format!(
        "{} connections, pipeline {}, {} thread(s), {} keys {}, values of {values} B, {extent}",
        plan.connections, plan.pipeline, plan.threads, plan.keys, plan.distribution,
    );
    if let Some(rate) = plan.rate_per_second {
        put(&mut text, format_args!(", at {rate}/s"));
    }
    if !plan.warm_up.is_zero() {
        put(&mut text, format_args!(" after {} s of warm-up", plan.warm_up.as_secs_f64()));
    }
    text
}

fn rows(out: &mut String, plan: &Plan, title: &str, measurement: &Measurement) {
    let widest = plan.mix.names().map(str::len).chain([7]).max().unwrap_or_default();
    line(out, format_args!("\n{title}"));
    line(
        out,
        format_args!(
            "  {:widest$} {:>11} {:>11} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7}",
            "command", "requests", "per second", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "null", "errors"
        ),
    );
    let mut row = |name: &str, tally: &CommandTally| {
        let rate = if tally.replies() == 0 { 0.0 } else { tally.replies() as f64 / measurement.seconds };
        let ms = |percentile| tally.percentile_ms(percentile);
        line(
            out,
            format_args!(
                "  {name:widest$} {:>11} {rate:>11.0} {:>9.3} {:>9.3} {:>9.3} {:>9.3} {:>9} {:>7}",
                tally.replies(),
                ms(50.0),
                ms(99.0),
                ms(99.9),
                tally.max_ms(),
                tally.nulls,
                tally.errors
            ),
        );
    };
    for (name, tally) in plan.mix.names().zip(&measurement.tally.commands) {
        row(name, tally);
    }
    if measurement.tally.commands.len() > 1 {
        row("all", &measurement.tally.sum());
    }
    notes(out, measurement);
}

/// What somebody who reads the figures has to know.
fn notes(out: &mut String, measurement: &Measurement) {
    for (text, count) in &measurement.tally.errors {
        line(out, format_args!("  error, {count} times: {text}"));
    }
    if measurement.tally.unsent > 0 {
        let unsent = measurement.tally.unsent;
        line(out, format_args!("  {unsent} requests were due and never sent: no connection was free"));
    }
    if measurement.generator_share > BUSY_SHARE {
        let percent = measurement.generator_share * 100.0;
        line(
            out,
            format_args!("  the generator was busy for {percent:.0} % of the time: more --threads may show more"),
        );
    }
}

fn summary(out: &mut String, plan: &Plan, outcomes: &Outcomes) {
    line(out, format_args!("\nmedian (min-max) of {} rounds", outcomes.rounds.len()));
    for (index, target) in plan.targets.iter().enumerate() {
        let each =
            |figure: fn(&Measurement) -> f64| Spread::of(outcomes.rounds.iter().map(|round| figure(&round[index])));
        let rate = each(Measurement::per_second);
        let p99 = each(|measurement| measurement.tally.sum().percentile_ms(99.0));
        line(
            out,
            format_args!(
                "  {target}: {:.0} ({:.0}-{:.0}) per second, p99 {:.3} ({:.3}-{:.3}) ms",
                rate.median, rate.min, rate.max, p99.median, p99.min, p99.max
            ),
        );
    }
    if plan.targets.len() > 1 {
        let ratio = Spread::of(outcomes.rate_ratios().into_iter());
        line(out, format_args!("  first by second: {:.3} ({:.3}-{:.3})", ratio.median, ratio.min, ratio.max));
    }
}

/// The middle and the ends of some figures.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    /// Of at least one figure.
    fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.collect();
        sorted.sort_by(f64::total_cmp);
        let (middle, last) = (sorted.len() / 2, sorted.len() - 1);
        let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Self { median, min: sorted[0], max: sorted[last] }
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    put(out, text);
    out.push('\n');
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_in_the_middle() {
        assert_eq!(Spread::of([3.0, 1.0, 9.0].into_iter()), Spread { median: 3.0, min: 1.0, max: 9.0 });
        assert_eq!(Spread::of([4.0, 1.0].into_iter()), Spread { median: 2.5, min: 1.0, max: 4.0 });
    }
}
