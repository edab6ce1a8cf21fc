//! `cargo bench --bench versus`: emptyServer beside Redis and Valkey, the same loads at one after the other, as a report
//! with ratios. `-- --list` prints the loads, `-- --help` the flags.

mod alone;
mod chart;
mod disturbance;
mod fan_out;
mod generator;
mod hand_over;
mod loads;
mod memory_limit;
mod options;
mod peers;
mod processes;
mod report;
mod results;
mod rounds;
mod statistics;
mod subscribers;
mod traffic;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use loads::{Kind, Load};
use options::{Durability, GeneratorChoice, Options};
use report::Report;

fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        loads::all(options.scale).iter().for_each(|load| say(&format!("{:20} {}", load.name, load.full_title())));
        return ExitCode::SUCCESS;
    }
    if !options.bench || options.test {
        say("versus: nothing is measured without `cargo bench`");
        return ExitCode::SUCCESS;
    }
    match measure(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("versus: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> io::Result<()> {
    peers::adopt_orphans()?;
    let peers = peers::find(options);
    let mut loads = loads::all(options.scale);
    loads.retain(|load| options.wants_load(&load.name) && can_be_made(options, load));
    if peers.is_empty() || loads.is_empty() {
        return Err(io::Error::other("no such peer or no such load: see --list"));
    }
    let output = options.output.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("versus"));
    std::fs::create_dir_all(&output)?;
    let mut results = Vec::new();
    for durability in options.durabilities() {
        rounds::run(options, &peers, &loads, *durability, &mut |result| {
            say(&report::table(&result));
            results.push(result);
            write(options, &results, &output)
        })?;
    }
    say(&format!("written to {}", output.display()));
    Ok(())
}

/// redis-benchmark has few of the loads.
fn can_be_made(options: &Options, load: &Load) -> bool {
    match &load.kind {
        _ if options.generator == GeneratorChoice::Ours => true,
        Kind::Traffic(traffic) | Kind::Warm(traffic) => generator::has_redis_benchmark(traffic),
        _ => false,
    }
}

/// After each load, so that an end before the end loses little.
fn write(options: &Options, results: &[results::LoadResult], output: &std::path::Path) -> io::Result<()> {
    let flags: Vec<String> = std::env::args().skip(1).filter(|flag| flag != "--bench").collect();
    let command_line = format!("cargo bench --bench versus -- {}", flags.join(" ")).trim_end_matches(" -- ").to_owned();
    let report = Report { results, command_line, rounds: options.rounds, seconds: options.seconds };
    std::fs::write(output.join("README.md"), report.markdown())?;
    for durability in [Durability::Always, Durability::Everysec] {
        let those: Vec<_> = results.iter().filter(|result| result.durability == durability).cloned().collect();
        if !those.is_empty() {
            std::fs::write(output.join(report::chart_name(durability)), chart::svg(&those))?;
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the report is what the program is for")]
fn say(text: &str) {
    println!("{text}");
}
