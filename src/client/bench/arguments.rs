//! What the command line asks for, and the plan that follows from it.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::RangeInclusive;
use std::time::Duration;

use clap::Args;

use super::keys::{Keys, Zipf};
use super::mix::{self, Mix};
use crate::client::connection_arguments::ConnectionArguments;
use crate::client::{Surroundings, Target};

/// Flags as redis-benchmark has them, where it has them.
#[derive(Args, Clone, Debug)]
#[command(disable_help_flag = true)]
pub struct BenchArguments {
    #[command(flatten)]
    pub(super) connection: ConnectionArguments,
    /// Connections, over all threads
    #[arg(short, long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Requests that each connection sends at once, before it waits for their replies
    #[arg(short = 'P', long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pipeline: u32,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: u32,
    /// How many requests; 0 with --prefill: nothing but that
    #[arg(short = 'n', long)]
    requests: Option<u64>,
    /// How long [default: 10, unless there is a number of requests]
    #[arg(short, long, conflicts_with = "requests")]
    seconds: Option<f64>,
    /// Load before the measurement, which does not count
    #[arg(long, default_value_t = 0.0, value_name = "SECONDS")]
    warm_up: f64,
    /// Key range: key:000000000000 to this number of keys
    #[arg(short = 'r', long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    keys: u64,
    /// How often which key: `uniform`, `zipf`, `zipf:EXPONENT` or `one`
    #[arg(long, default_value = "uniform", value_parser = distribution)]
    distribution: Distribution,
    /// Bytes of a value: a number, or a range as in 16-4096
    #[arg(short = 'd', long, default_value = "128", value_name = "BYTES", value_parser = value_range)]
    value_bytes: RangeInclusive<usize>,
    #[arg(short = 't', long, value_delimiter = ',', help = mix_help())]
    mix: Vec<String>,
    /// A command line with __key__, __number__, __same__ (the number before it), __value__ in it, after a weight or none: `10 HSET __key__ a __value__`
    #[arg(long, value_name = "COMMAND")]
    command: Vec<String>,
    /// Requests per second, over all threads, whether or not replies come; latency counts from when a request is due
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// Set every key of the range first
    #[arg(long)]
    prefill: bool,
    /// The same with this command line instead of SET: `HSET hash:__number__ field:0 __value__`
    #[arg(long, value_name = "COMMAND")]
    prefill_with: Option<String>,
    /// A second service, as in --url: both are measured in turn
    #[arg(long, value_name = "URL")]
    versus: Option<String>,
    /// Measurements of each service [default: 1, or 3 with --versus]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Of the random numbers, to have the same again; another each time otherwise, since a SET of what is there already
    /// may cost a service nothing
    #[arg(long)]
    seed: Option<u64>,
    /// For programs
    #[arg(long)]
    json: bool,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

/// Which of the keys are asked for how often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Distribution {
    Uniform,
    Zipf { exponent: f64 },
    One,
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Extent {
    Requests(u64),
    Time(Duration),
}

/// What is to be done, checked.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) targets: Vec<Target>,
    pub(super) connections: usize,
    pub(super) pipeline: usize,
    pub(super) threads: usize,
    pub(super) extent: Extent,
    pub(super) warm_up: Duration,
    pub(super) keys: u64,
    pub(super) distribution: Distribution,
    pub(super) value_bytes: RangeInclusive<usize>,
    pub(super) mix: Mix,
    pub(super) rate_per_second: Option<f64>,
    /// What fills the key range first, if anything does.
    pub(super) prefill: Option<Mix>,
    pub(super) rounds: u32,
    pub(super) seed: u64,
    pub(super) json: bool,
}

const SECONDS_DEFAULT: f64 = 10.0;
const SECONDS_MAX: f64 = 1e6;
const RATE_MAX: f64 = 1e8;
const VALUE_BYTES_MAX: usize = 512 * 1024 * 1024;

impl BenchArguments {
    /// # Errors
    /// What makes no sense.
    pub(super) fn plan(&self, surroundings: &Surroundings) -> Result<Plan, String> {
        let mut targets = vec![self.connection.target(surroundings)?];
        if let Some(url) = &self.versus {
            let other = Target::from_url(url).map_err(|error| error.to_string())?;
            targets.push(Target { is_resp3: targets[0].is_resp3, ..other });
        }
        if self.threads > self.connections {
            return Err(format!("{} threads share {} connections", self.threads, self.connections));
        }
        if self.rate.is_some_and(|rate| !(rate > 0.0 && rate <= RATE_MAX)) {
            return Err(format!("a rate is above 0 and at most {RATE_MAX}"));
        }
        let extent = match (self.requests, self.seconds) {
            (Some(count), _) => Extent::Requests(count),
            (None, seconds) => Extent::Time(duration(seconds.unwrap_or(SECONDS_DEFAULT))?),
        };
        let prefill = match (&self.prefill_with, self.prefill) {
            (Some(command), _) => Some(Mix::new(&[], std::slice::from_ref(command))?),
            (None, true) => Some(Mix::new(&["set".to_owned()], &[])?),
            (None, false) => None,
        };
        Ok(Plan {
            rounds: self.rounds.unwrap_or(if targets.len() > 1 { 3 } else { 1 }),
            targets,
            connections: self.connections as usize,
            pipeline: self.pipeline as usize,
            threads: self.threads as usize,
            extent,
            warm_up: duration(self.warm_up)?,
            keys: self.keys,
            distribution: self.distribution,
            value_bytes: self.value_bytes.clone(),
            mix: Mix::new(&self.mix, &self.command)?,
            rate_per_second: self.rate,
            prefill,
            seed: self.seed.unwrap_or_else(another_seed),
            json: self.json,
        })
    }
}

fn mix_help() -> String {
    let names = mix::NAMED.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    format!("Commands with their weights: {names}, as in `get:90,set:10` [default: get]")
}

fn another_seed() -> u64 {
    // What the standard library draws for each hash map.
    RandomState::new().build_hasher().finish()
}

/// As the command line writes it.
impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf { exponent } => write!(f, "zipf:{exponent}"),
            Self::One => f.write_str("one"),
        }
    }
}

impl Plan {
    pub(super) fn key_source(&self) -> Keys {
        match self.distribution {
            Distribution::Uniform => Keys::Uniform { count: self.keys },
            Distribution::Zipf { exponent } => Keys::Zipf(Zipf::new(self.keys, exponent)),
            Distribution::One => Keys::One,
        }
    }

    /// The plan of a prefill: every key once, in deep pipelines, by one thread.
    pub(super) fn of_prefill(&self, mix: &Mix) -> Self {
        Self {
            connections: self.connections.min(8),
            pipeline: 128,
            threads: 1,
            extent: Extent::Requests(self.keys),
            warm_up: Duration::ZERO,
            mix: mix.clone(),
            rate_per_second: None,
            ..self.clone()
        }
    }
}

fn duration(seconds: f64) -> Result<Duration, String> {
    if (0.0..=SECONDS_MAX).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(format!("{seconds} is no number of seconds from 0 to {SECONDS_MAX}"))
    }
}

fn distribution(text: &str) -> Result<Distribution, String> {
    match text.split_once(':').unwrap_or((text, "0.99")) {
        ("uniform", _) => Ok(Distribution::Uniform),
        ("one", _) => Ok(Distribution::One),
        ("zipf", exponent) => match exponent.parse() {
            Ok(exponent) if (0.01..=20.0).contains(&exponent) => Ok(Distribution::Zipf { exponent }),
            _ => Err("the exponent is a number from 0.01 to 20".to_owned()),
        },
        _ => Err("it is `uniform`, `zipf`, `zipf:EXPONENT` or `one`".to_owned()),
    }
}

fn value_range(text: &str) -> Result<RangeInclusive<usize>, String> {
    let (least, most) = text.split_once('-').unwrap_or((text, text));
    match (least.trim().parse::<usize>(), most.trim().parse::<usize>()) {
        (Ok(least), Ok(most)) if least <= most && most <= VALUE_BYTES_MAX => Ok(least..=most),
        _ => Err(format!("it is a number or a range as in 16-4096, up to {VALUE_BYTES_MAX}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        arguments: BenchArguments,
    }

    fn plan(words: &[&str]) -> Result<Plan, String> {
        let surroundings = Surroundings::default();
        let program = Program::try_parse_from([&["bench"], words].concat()).map_err(|error| error.to_string())?;
        program.arguments.plan(&surroundings)
    }

    #[test]
    fn without_flags_it_gets_random_keys_for_ten_seconds() {
        let plan = plan(&[]).unwrap();
        assert_eq!((plan.connections, plan.pipeline, plan.threads, plan.rounds), (50, 1, 1, 1));
        assert_eq!(plan.extent, Extent::Time(Duration::from_secs(10)));
        assert_eq!((plan.keys, plan.distribution, plan.value_bytes), (1_000_000, Distribution::Uniform, 128..=128));
        assert_eq!(plan.mix.names().collect::<Vec<_>>(), ["get"]);
    }

    #[test]
    fn flags_are_those_of_redis_benchmark() {
        let words = "-h other -p 7 -a pw -c 9 -n 100 -r 50 -d 16-64 -t set,get -P 16 --threads 2 --db 3";
        let plan = plan(&words.split(' ').collect::<Vec<_>>()).unwrap();
        assert_eq!((plan.targets[0].to_string().as_str(), plan.targets[0].database), ("other:7", 3));
        assert_eq!((plan.connections, plan.pipeline, plan.threads, plan.keys), (9, 16, 2, 50));
        assert_eq!((plan.extent, plan.value_bytes), (Extent::Requests(100), 16..=64));
        assert_eq!(plan.mix.names().collect::<Vec<_>>(), ["set", "get"]);
        assert!(plan.prefill.is_none());
    }

    #[test]
    fn a_prefill_sets_strings_unless_it_is_told_what() {
        let prefill = |words: &[&str]| plan(words).map(|plan| plan.of_prefill(plan.prefill.as_ref().unwrap()));
        let names = |plan: Plan| plan.mix.names().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(names(prefill(&["--prefill", "-t", "get"]).unwrap()), ["set"]);
        assert_eq!(names(prefill(&["--prefill-with", "HSET h:__number__ f 1"]).unwrap()), ["HSET h:__number__ f 1"]);
        assert!(prefill(&["--prefill-with", "'"]).is_err());
    }

    #[test]
    fn a_socket_has_no_short_flag_because_that_one_is_for_seconds() {
        let plan = plan(&["--socket", "/run/kv.sock", "-s", "3"]).unwrap();
        assert_eq!(
            (plan.targets[0].to_string().as_str(), plan.extent),
            ("/run/kv.sock", Extent::Time(Duration::from_secs(3)))
        );
    }

    #[test]
    fn numbers_are_others_each_time_unless_a_seed_is_given() {
        let [one, other] = [plan(&[]).unwrap(), plan(&[]).unwrap()];
        assert_ne!(one.seed, other.seed);
        assert_eq!(plan(&["--seed", "7"]).unwrap().seed, 7);
    }

    #[test]
    fn a_second_service_is_measured_in_three_rounds() {
        let plan = plan(&["--versus", "redis://other:7"]).unwrap();
        assert_eq!((plan.targets.len(), plan.rounds), (2, 3));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for words in [
            &["-c", "0"][..],
            &["-c", "1", "--threads", "2"],
            &["-r", "0"],
            &["-d", "9-1"],
            &["--rate", "0"],
            &["--seconds", "-1"],
            &["--seconds", "1", "-n", "1"],
            &["--distribution", "zipf:0"],
            &["--distribution", "some"],
            &["-t", "fly"],
            &["--versus", "http://x"],
            &["--insecure"],
        ] {
            assert!(plan(words).is_err(), "{words:?}");
        }
    }
}
