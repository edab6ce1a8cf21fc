//! The whole run: prefill, rounds over one or two services, the report, and the exit code.

use std::io::{self, Write};

use super::arguments::{BenchArguments, Extent, Plan};
use super::display::Display;
use super::mix::Mix;
use super::rounds::{Measurement, measure, prefill};
use super::{json, table};
use crate::client::connection::Patience;
use crate::client::failure::{Failure, Outcome};
use crate::client::{ClientError, Connection, Surroundings, Target};

/// What was measured, by service: in `rounds` by round first.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcomes {
    pub(super) prefill: Vec<Measurement>,
    pub(super) rounds: Vec<Vec<Measurement>>,
}

/// Does what the arguments say, with the standard streams. Errors among the replies are reported and make the outcome
/// [`Outcome::ServerError`].
#[must_use]
pub fn run(arguments: &BenchArguments, surroundings: &Surroundings) -> Outcome {
    perform(arguments, surroundings).unwrap_or_else(|failure| failure.report("bench"))
}

fn perform(arguments: &BenchArguments, surroundings: &Surroundings) -> Result<Outcome, Failure> {
    let mut plan = arguments.plan(surroundings).map_err(Failure::Usage)?;
    if let Some(password) = arguments.connection.ask_password().map_err(Failure::Usage)? {
        plan.targets[0].password = Some(password);
    }
    let outcomes = run_plan(&plan)?;
    let report = if plan.json { json::json(&plan, &outcomes) } else { table::text(&plan, &outcomes) };
    match io::stdout().write_all(report.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::of_output(&error)),
        _ if outcomes.has_errors() => Ok(Outcome::ServerError),
        _ => Ok(Outcome::Ok),
    }
}

fn run_plan(plan: &Plan) -> Result<Outcomes, ClientError> {
    let mut outcomes = Outcomes::default();
    if let Some(plan) = plan.prefill.as_ref().map(|mix| plan.of_prefill(mix)) {
        for target in &plan.targets {
            let display = Display::new(&plan, &format!("prefill {target}"));
            outcomes.prefill.push(prefill(&plan, target, &display)?);
        }
    }
    if plan.extent == Extent::Requests(0) {
        return Ok(outcomes);
    }
    for target in &plan.targets {
        load_scripts(&plan.mix, target)?;
    }
    for round in 1..=plan.rounds {
        let mut measurements = Vec::new();
        for target in &plan.targets {
            let display = Display::new(plan, &target.to_string());
            measurements.push(measure(plan, target, round, &display)?);
        }
        outcomes.rounds.push(measurements);
    }
    Ok(outcomes)
}

/// A service that refuses one says so again to each EVALSHA of it, and there it is counted.
fn load_scripts(mix: &Mix, target: &Target) -> Result<(), ClientError> {
    if mix.scripts().is_empty() {
        return Ok(());
    }
    let mut connection = Connection::connect(target, Patience::default())?;
    for script in mix.scripts() {
        connection.call(&["SCRIPT", "LOAD", script])?;
    }
    Ok(())
}

impl Outcomes {
    /// The first service's rate by the second's, one for each round; nothing where there is one service.
    pub(super) fn rate_ratios(&self) -> Vec<f64> {
        let both = self.rounds.iter().filter(|round| round.len() == 2);
        both.map(|round| round[0].per_second() / round[1].per_second()).collect()
    }

    fn has_errors(&self) -> bool {
        self.prefill.iter().chain(self.rounds.iter().flatten()).any(|measured| !measured.tally.errors.is_empty())
    }
}
