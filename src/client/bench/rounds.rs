//! One measurement: connections, threads, and what they counted together.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeValLike;

use super::arguments::{Extent, Plan};
use super::display::Display;
use super::draws::Draws;
use super::keys::Keys;
use super::load::{End, Load, Pace};
use super::schedule::Schedule;
use super::tally::Tally;
use crate::client::clock::Clock;
use crate::client::connection::Patience;
use crate::client::stream::Stream;
use crate::client::{ClientError, Connection, Target};

/// What was measured at one service.
#[derive(Clone, Debug)]
pub(super) struct Measurement {
    pub(super) tally: Tally,
    /// From the end of the warm-up to the last reply.
    pub(super) seconds: f64,
    /// CPU time of this process meanwhile, warm-up included, as a share of all its threads' time.
    pub(super) generator_share: f64,
}

impl Measurement {
    pub(super) fn per_second(&self) -> f64 {
        let replies = self.tally.sum().replies();
        if replies == 0 { 0.0 } else { replies as f64 / self.seconds }
    }
}

/// Every key of the range once. `plan` is that of a prefill.
pub(super) fn prefill(plan: &Plan, target: &Target, display: &Display) -> Result<Measurement, ClientError> {
    measure_keys(plan, target, &Keys::Sequential { next: 0, count: plan.keys }, display)
}

/// `round` makes the random numbers others.
pub(super) fn measure(plan: &Plan, target: &Target, round: u32, display: &Display) -> Result<Measurement, ClientError> {
    let plan = Plan { seed: plan.seed.wrapping_add(u64::from(round) << 32), ..plan.clone() };
    measure_keys(&plan, target, &plan.key_source(), display)
}

fn measure_keys(plan: &Plan, target: &Target, keys: &Keys, display: &Display) -> Result<Measurement, ClientError> {
    let mut streams = connect(plan, target)?;
    let clock = Clock::new();
    let measured_from_ns = clock.now_ns() + plan.warm_up.as_nanos() as u64;
    let cpu_before = cpu_seconds();
    let (watcher, news) = mpsc::channel();
    let tally = thread::scope(|scope| {
        let mut threads = Vec::new();
        for thread in 0..plan.threads {
            let share = streams.len() / (plan.threads - thread);
            let streams = streams.split_off(streams.len() - share);
            let load = load(plan, thread, clock, measured_from_ns, keys, display.is_shown().then(|| watcher.clone()));
            threads.push(scope.spawn(move || load.run(streams)));
        }
        // What the threads hold of it is all that is left: when they end, the news end.
        drop(watcher);
        show(display, &news);
        let mut tally = Tally::new(plan.mix.names().len());
        for thread in threads {
            tally.merge(&thread.join().expect("a load does not panic")?);
        }
        Ok(tally)
    })?;
    let passed_s = clock.now_ns() as f64 / 1e9;
    let seconds = tally.last_ns.saturating_sub(measured_from_ns) as f64 / 1e9;
    let generator_share = (cpu_seconds() - cpu_before) / (passed_s * plan.threads as f64);
    Ok(Measurement { tally, seconds, generator_share })
}

fn load<'a>(
    plan: &'a Plan,
    thread: usize,
    clock: Clock,
    measured_from_ns: u64,
    keys: &Keys,
    watcher: Option<Sender<(usize, Tally)>>,
) -> Load<'a> {
    let start_ns = measured_from_ns - plan.warm_up.as_nanos() as u64;
    let pace = match plan.rate_per_second {
        Some(rate) => Pace::Rate(Schedule::new(start_ns, rate, thread, plan.threads)),
        None => Pace::Replies,
    };
    let end = match plan.extent {
        Extent::Time(time) => End::At { ns: measured_from_ns + time.as_nanos() as u64 },
        Extent::Requests(count) => End::Requests(share(count, thread, plan.threads)),
    };
    Load {
        thread,
        clock,
        pace,
        end,
        measured_from_ns,
        pipeline: plan.pipeline,
        mix: &plan.mix,
        draws: Draws::new(plan.seed.wrapping_add(thread as u64), keys.clone(), plan.value_bytes.clone()),
        watcher,
    }
}

/// The part of `count` that falls to one of `threads`.
fn share(count: u64, thread: usize, threads: usize) -> u64 {
    let (thread, threads) = (thread as u64, threads as u64);
    count / threads + u64::from(thread < count % threads)
}

fn show(display: &Display, news: &Receiver<(usize, Tally)>) {
    for (thread, tally) in news {
        display.update(thread, tally);
    }
    display.clear();
}

fn connect(plan: &Plan, target: &Target) -> Result<Vec<Stream>, ClientError> {
    allow_descriptors().map_err(|error| ClientError::Io(error.into()))?;
    (0..plan.connections).map(|_| Ok(Connection::connect(target, Patience::default())?.into_stream())).collect()
}

/// As many as the hard limit lets us have: the soft one is often 1,024.
fn allow_descriptors() -> nix::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) }
}

/// Of this process so far. 0 where the system does not say.
fn cpu_seconds() -> f64 {
    getrusage(UsageWho::RUSAGE_SELF)
        .map_or(0.0, |usage| (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threads_share_all_requests() {
        for (count, threads) in [(10, 3), (2, 4), (0, 1), (1_000_001, 7)] {
            assert_eq!((0..threads).map(|thread| share(count, thread, threads)).sum::<u64>(), count);
        }
    }
}
