//! Runs of a generator at a standing server, with what they cost it; repeated where others were busy meanwhile.

use std::io;
use std::time::Duration;

use emptyserver::resp::Reply;
use emptyserver::sys::clock;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::disturbance::{FOREIGN_SHARE_MAX, Machine, foreign_share};
use crate::generator::{self, Endpoint, Generated};
use crate::loads::{Data, Traffic};
use crate::options::{GeneratorChoice, Options};
use crate::peers::Running;
use crate::processes::{self, Resident};
use crate::results::{self, Sample};

pub(crate) const MEGA: f64 = 1e6;
/// A rate that rises by less than this share from one run to the next has arrived.
const WARM_RISE: f64 = 0.03;
const WARM_RUNS_MAX: usize = 12;

/// What a stretch of time cost whom.
pub(crate) struct Costs {
    pub(crate) server_seconds: f64,
    pub(crate) foreign_share: f64,
}

/// Runs until nobody else was busy, at most `options.repeats` times more.
pub(crate) fn undisturbed(options: &Options, mut run: impl FnMut() -> io::Result<(Sample, f64)>) -> Sample {
    let mut best: Option<(Sample, f64)> = None;
    for _ in 0..=options.repeats {
        let (sample, foreign) = match run() {
            Ok(both) => both,
            Err(error) => return Sample::failed(error.to_string()),
        };
        if best.as_ref().is_none_or(|(_, least)| foreign < *least) {
            best = Some((sample, foreign));
        }
        if foreign <= FOREIGN_SHARE_MAX {
            break;
        }
    }
    let (mut sample, foreign) = best.expect("it ran at least once");
    sample.disturbed_share = (foreign > FOREIGN_SHARE_MAX).then_some(foreign);
    sample
}

/// One run, measured.
pub(crate) fn once(options: &Options, running: &Running, data: &Data, traffic: &Traffic) -> io::Result<(Sample, f64)> {
    settle();
    let (generated, costs) = costing(running.pid(), || generate(options, &running.endpoint, data, traffic))?;
    let mut sample = Sample::default();
    sample.figures.extend(figures(&generated, &costs));
    sample.figures.extend(sizes(running));
    Ok((sample, costs.foreign_share))
}

pub(crate) fn figures(generated: &Generated, costs: &Costs) -> Vec<(results::Figure, f64)> {
    vec![
        (results::RATE, generated.per_second),
        (results::P50, generated.p50_ms),
        (results::P99, generated.p99_ms),
        (results::P99_9, generated.p99_9_ms),
        (results::LONGEST, generated.max_ms),
        (results::CPU, costs.server_seconds / generated.requests * MEGA),
    ]
}

/// What the server takes now.
pub(crate) fn sizes(running: &Running) -> Vec<(results::Figure, f64)> {
    let resident = Resident::of(running.pid());
    vec![
        (results::ANONYMOUS, resident.anonymous_bytes as f64 / MEGA),
        (results::FILE_AND_SHARED, resident.file_and_shared_bytes as f64 / MEGA),
        (results::DISK, processes::disk_bytes(&running.directory) as f64 / MEGA),
    ]
}

/// Runs the load again and again until its rate no longer rises.
pub(crate) fn warm_up(options: &Options, running: &Running, data: &Data, traffic: &Traffic) -> io::Result<()> {
    let traffic = Traffic { pipeline: 16, ..traffic.clone() };
    let mut before = 0.0;
    for _ in 0..WARM_RUNS_MAX {
        let rate = run_ours(&running.endpoint, data, &traffic, options.seconds.min(3.0))?.per_second;
        if rate < before * (1.0 + WARM_RISE) {
            break;
        }
        before = rate;
    }
    Ok(())
}

/// GETs while another connection asks for keys that nobody has.
pub(crate) fn beside_keys(
    options: &Options,
    running: &Running,
    data: &Data,
    traffic: &Traffic,
) -> io::Result<(Sample, f64)> {
    settle();
    let mut asker = running.connect()?;
    let mut calls = 0;
    let (generated, costs) = costing(running.pid(), || {
        let mut load = generator::begin(&running.endpoint, data, traffic, options.seconds)?;
        while load.try_wait()?.is_none() {
            let reply = asker.call(&["KEYS", "*nomatch*"]).map_err(|error| io::Error::other(error.to_string()))?;
            if reply != Reply::Array(Vec::new()) {
                return Err(io::Error::other(format!("KEYS gives {reply:?}")));
            }
            calls += 1;
            clock::pause(Duration::from_millis(200));
        }
        generator::end(load)
    })?;
    let mut figures = figures(&generated, &costs);
    // What this load is about comes first.
    figures.sort_by_key(|(figure, _)| ![results::P99_9, results::LONGEST].contains(figure));
    figures.push((results::KEYS_CALLS, f64::from(calls)));
    Ok((Sample { figures, ..Sample::default() }, costs.foreign_share))
}

fn generate(options: &Options, endpoint: &Endpoint, data: &Data, traffic: &Traffic) -> io::Result<Generated> {
    if options.generator == GeneratorChoice::Ours {
        return run_ours(endpoint, data, traffic, options.seconds);
    }
    // It knows no seconds: a short run says how many requests they take.
    let probe = run_ours(endpoint, data, traffic, 0.2)?;
    let requests = (probe.per_second * options.seconds).max(1.0) as u64;
    generator::redis_benchmark(endpoint, data, traffic, requests)
}

pub(crate) fn run_ours(endpoint: &Endpoint, data: &Data, traffic: &Traffic, seconds: f64) -> io::Result<Generated> {
    generator::end(generator::begin(endpoint, data, traffic, seconds)?)
}

/// Runs something and says what it cost the server, and how much of the machine others had.
pub(crate) fn costing<T>(server: i32, run: impl FnOnce() -> io::Result<T>) -> io::Result<(T, Costs)> {
    let unreadable = || io::Error::other("/proc/stat cannot be read");
    let machine = Machine::read().ok_or_else(unreadable)?;
    let (server_before, own_before) = (processes::cpu_seconds(server), own_seconds());
    let outcome = run()?;
    let server_seconds = processes::cpu_seconds(server) - server_before;
    let own = server_seconds + own_seconds() - own_before;
    let after = Machine::read().ok_or_else(unreadable)?;
    Ok((outcome, Costs { server_seconds, foreign_share: foreign_share(machine, after, own) }))
}

/// Of this process, of the generators that it waited for, and of the kernel's threads.
fn own_seconds() -> f64 {
    let of = |who| {
        getrusage(who).map_or(0.0, |usage| (usage.user_time() + usage.system_time()).num_microseconds() as f64 / MEGA)
    };
    of(UsageWho::RUSAGE_SELF) + of(UsageWho::RUSAGE_CHILDREN) + processes::kernel_seconds()
}

/// What the last load left behind (checkpoints, write-back) is let go by, for a moment.
fn settle() {
    const QUIET_SHARE: f64 = 0.1;
    for _ in 0..10 {
        let before = Machine::read();
        clock::pause(Duration::from_millis(200));
        let share = before.zip(Machine::read()).map_or(0.0, |(before, after)| foreign_share(before, after, 0.0));
        if share < QUIET_SHARE {
            break;
        }
    }
}
