//! The outcome for programs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::arguments::{Extent, Plan};
use super::mix::Mix;
use super::rounds::Measurement;
use super::run::Outcomes;
use super::tally::CommandTally;

#[derive(Serialize)]
struct Report<'a> {
    connections: usize,
    pipeline: usize,
    threads: usize,
    keys: u64,
    distribution: String,
    value_bytes: [usize; 2],
    seed: u64,
    rate_per_second: Option<f64>,
    warm_up_seconds: f64,
    requests_planned: Option<u64>,
    seconds_planned: Option<f64>,
    /// One for each service.
    prefill: Vec<Measured<'a>>,
    /// All measurements, in the order in which they ran.
    measurements: Vec<Measured<'a>>,
    /// With two services: first by second, one for each round.
    rate_ratios: Vec<f64>,
}

#[derive(Serialize)]
struct Measured<'a> {
    round: usize,
    target: String,
    seconds: f64,
    requests: u64,
    per_second: f64,
    latency_ms: Latency,
    nulls: u64,
    errors: &'a BTreeMap<String, u64>,
    unsent: u64,
    /// 1: the generator had no time left.
    generator_share: f64,
    commands: BTreeMap<&'a str, Command>,
}

#[derive(Serialize)]
struct Command {
    requests: u64,
    latency_ms: Latency,
    nulls: u64,
    errors: u64,
}

#[derive(Serialize)]
struct Latency {
    p50: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p99_9: f64,
    max: f64,
}

/// Pretty, with a line end.
pub(super) fn json(plan: &Plan, outcomes: &Outcomes) -> String {
    let rounds = outcomes.rounds.iter().enumerate();
    let report = Report {
        connections: plan.connections,
        pipeline: plan.pipeline,
        threads: plan.threads,
        keys: plan.keys,
        distribution: plan.distribution.to_string(),
        value_bytes: [*plan.value_bytes.start(), *plan.value_bytes.end()],
        seed: plan.seed,
        rate_per_second: plan.rate_per_second,
        warm_up_seconds: plan.warm_up.as_secs_f64(),
        requests_planned: if let Extent::Requests(count) = plan.extent { Some(count) } else { None },
        seconds_planned: if let Extent::Time(time) = plan.extent { Some(time.as_secs_f64()) } else { None },
        prefill: measured(plan, 0, &outcomes.prefill, &plan.prefill.iter().flat_map(Mix::names).collect::<Vec<_>>()),
        measurements: rounds
            .flat_map(|(index, round)| measured(plan, index + 1, round, &plan.mix.names().collect::<Vec<_>>()))
            .collect(),
        rate_ratios: outcomes.rate_ratios(),
    };
    serde_json::to_string_pretty(&report).expect("numbers and texts have a JSON form") + "\n"
}

fn measured<'a>(plan: &Plan, round: usize, measurements: &'a [Measurement], names: &[&'a str]) -> Vec<Measured<'a>> {
    let each = plan.targets.iter().zip(measurements).map(|(target, measurement)| {
        let tally = &measurement.tally;
        let sum = tally.sum();
        Measured {
            round,
            target: target.to_string(),
            seconds: measurement.seconds,
            requests: sum.replies(),
            per_second: measurement.per_second(),
            latency_ms: latency(&sum),
            nulls: sum.nulls,
            errors: &tally.errors,
            unsent: tally.unsent,
            generator_share: measurement.generator_share,
            commands: names.iter().copied().zip(tally.commands.iter().map(command)).collect(),
        }
    });
    each.collect()
}

fn command(tally: &CommandTally) -> Command {
    Command { requests: tally.replies(), latency_ms: latency(tally), nulls: tally.nulls, errors: tally.errors }
}

fn latency(tally: &CommandTally) -> Latency {
    Latency {
        p50: tally.percentile_ms(50.0),
        p99: tally.percentile_ms(99.0),
        p99_9: tally.percentile_ms(99.9),
        max: tally.max_ms(),
    }
}
