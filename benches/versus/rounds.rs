//! The order of things: data by data, load by load, round by round, peer after peer.

use std::io;
use std::path::PathBuf;

use crate::alone::Alone;
use crate::generator;
use crate::loads::{Data, Kind, Load};
use crate::options::{Durability, GeneratorChoice, Options};
use crate::peers::{Peer, Running, Start};
use crate::results::{LoadResult, PeerResult, Sample};
use crate::subscribers;
use crate::traffic;

/// Who hears of each load that is done.
type Hear<'a> = &'a mut dyn FnMut(LoadResult) -> io::Result<()>;

/// Runs all loads with this durability.
pub(crate) fn run(
    options: &Options,
    peers: &[Peer],
    loads: &[Load],
    durability: Durability,
    hear: Hear<'_>,
) -> io::Result<()> {
    let rounds = Rounds { options, peers, durability, directory: data_directory(options)? };
    for stage in loads.chunk_by(|one, next| one.data == next.data && is_standing(&one.kind) && is_standing(&next.kind))
    {
        if is_standing(&stage[0].kind) {
            rounds.run_standing(stage, hear)?;
        } else {
            hear(rounds.run_alone(&stage[0]))?;
        }
    }
    Ok(())
}

const OUR_GENERATOR: &str = "emptyserver bench";

struct Rounds<'a> {
    options: &'a Options,
    peers: &'a [Peer],
    durability: Durability,
    directory: PathBuf,
}

/// True for loads that run at servers which are there already.
fn is_standing(kind: &Kind) -> bool {
    matches!(kind, Kind::Traffic(_) | Kind::Warm(_) | Kind::BesideKeys(_) | Kind::Published { .. })
}

fn data_directory(options: &Options) -> io::Result<PathBuf> {
    let directory = options.directory.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")));
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

impl Rounds<'_> {
    /// Loads that share their servers.
    fn run_standing(&self, loads: &[Load], hear: Hear<'_>) -> io::Result<()> {
        let data = loads[0].data;
        let mut servers = Vec::new();
        for peer in self.peers {
            eprintln!("versus: {}: {} keys of {} x {} B", peer.name, data.keys, data.of.values(), data.value_bytes);
            let started = peer.start(&self.start(&data), &self.directory);
            let server = started.and_then(|server| generator::prefill(&server.endpoint, &data).map(|_| server));
            // Not each is built with TLS: then the others are measured.
            servers.push(match server {
                Err(error) if data.tls => Err(error.to_string()),
                server => Ok(server?),
            });
        }
        let generator = match self.options.generator {
            GeneratorChoice::Ours => OUR_GENERATOR,
            GeneratorChoice::RedisBenchmark => "redis-benchmark",
        };
        for load in loads {
            if let Kind::Warm(traffic) = &load.kind {
                for server in servers.iter().flatten() {
                    traffic::warm_up(self.options, server, &data, traffic)?;
                }
            }
            hear(self.collect(load, generator, |peer| match &servers[peer] {
                Ok(server) => self.standing(load, server),
                Err(error) => Sample::failed(error.clone()),
            }))?;
        }
        Ok(())
    }

    /// Every peer in every round.
    fn collect(&self, load: &Load, generator: &'static str, mut run: impl FnMut(usize) -> Sample) -> LoadResult {
        let peers = self.peers.iter().map(|peer| PeerResult { name: peer.name.clone(), samples: Vec::new() });
        let mut peers: Vec<PeerResult> = peers.collect();
        for round in 1..=self.options.rounds {
            for (index, peer) in peers.iter_mut().enumerate() {
                eprintln!("versus: {}, round {round}, {}", load.name, peer.name);
                peer.samples.push(run(index));
            }
        }
        LoadResult { load: load.clone(), durability: self.durability, generator, peers }
    }

    fn standing(&self, load: &Load, server: &Running) -> Sample {
        let options = self.options;
        traffic::undisturbed(options, || match &load.kind {
            Kind::BesideKeys(load_beside) => traffic::beside_keys(options, server, &load.data, load_beside),
            Kind::Published { subscribers, traffic } => {
                subscribers::published(options, server, &load.data, *subscribers, traffic)
            }
            Kind::Traffic(traffic) | Kind::Warm(traffic) => traffic::once(options, server, &load.data, traffic),
            _ => Err(io::Error::other("this load has no standing server")),
        })
    }

    /// A load whose servers are its own.
    fn run_alone(&self, load: &Load) -> LoadResult {
        let alone = |peer| Alone {
            options: self.options,
            peer,
            load,
            start: self.start(&load.data),
            directory: &self.directory,
            server: None,
            limit: None,
        };
        let mut peers: Vec<Alone<'_>> = self.peers.iter().map(alone).collect();
        self.collect(load, OUR_GENERATOR, |peer| traffic::undisturbed(self.options, || peers[peer].run()))
    }

    fn start(&self, data: &Data) -> Start {
        Start { cache_bytes: data.cache.bytes(data), tls: data.tls, ..Start::new(self.durability) }
    }
}
