//! What was measured, by load, peer and round.

use crate::loads::Load;
use crate::options::Durability;
use crate::statistics::Spread;

/// A kind of figure, and which direction is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) is_more_better: bool,
}

/// One run at one peer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) figures: Vec<(Figure, f64)>,
    /// The share of the machine that others had, where it was too much to the last.
    pub(crate) disturbed_share: Option<f64>,
    /// What went wrong, or has to be known.
    pub(crate) note: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct LoadResult {
    pub(crate) load: Load,
    pub(crate) durability: Durability,
    pub(crate) generator: &'static str,
    /// In the order of the peers, ours first.
    pub(crate) peers: Vec<PeerResult>,
}

#[derive(Clone, Debug)]
pub(crate) struct PeerResult {
    pub(crate) name: String,
    /// One for each round.
    pub(crate) samples: Vec<Sample>,
}

macro_rules! figures {
    ($($id:ident $name:literal $is_more_better:literal)*) => {
        $(pub(crate) const $id: Figure = Figure { name: $name, is_more_better: $is_more_better };)*
    };
}

figures! {
    RATE "per second" true
    P50 "p50 ms" false
    P99 "p99 ms" false
    P99_9 "p99.9 ms" false
    LONGEST "longest ms" false
    CPU "server CPU s per million" false
    ANONYMOUS "RssAnon MB" false
    FILE_AND_SHARED "RssFile+RssShmem MB" false
    DISK "disk MB" false
    WAL "largest -wal MB" false
    READS "reads per second beside" true
    KEYS_CALLS "KEYS calls" true
    RECEIVED "received per second" true
    READY "ms to the first GET" false
    WAL_AT_KILL "-wal at the kill MB" false
    BYTES_PER_CONNECTION "RssAnon bytes per connection" false
    GETS "GET per second" true
    SETS "SET per second" true
    SETS_P99 "SET p99 ms" false
    LONGEST_READ "longest GET ms" false
    BYTES_LATER "the same 10 s later" false
    PEAK "memory at most MB" false
    KILLED "processes killed for memory" false
}

impl Sample {
    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self { note: Some(what.into()), ..Self::default() }
    }

    pub(crate) fn figure(&self, figure: Figure) -> Option<f64> {
        self.figures.iter().find(|(known, _)| *known == figure).map(|(_, value)| *value)
    }
}

impl PeerResult {
    /// Round by round; `None` where it was not measured.
    pub(crate) fn figures(&self, figure: Figure) -> Vec<Option<f64>> {
        self.samples.iter().map(|sample| sample.figure(figure)).collect()
    }

    pub(crate) fn spread(&self, figure: Figure) -> Option<Spread> {
        Spread::of(self.figures(figure).into_iter().flatten())
    }

    pub(crate) fn is_disturbed(&self) -> bool {
        self.samples.iter().any(|sample| sample.disturbed_share.is_some())
    }
}

impl LoadResult {
    /// All kinds of figures that somebody has, in the order in which they were measured; the first is what the load is
    /// about.
    pub(crate) fn columns(&self) -> Vec<Figure> {
        let mut columns = Vec::new();
        let samples = self.peers.iter().flat_map(|peer| &peer.samples);
        for (figure, _) in samples.flat_map(|sample| &sample.figures) {
            if !columns.contains(figure) {
                columns.push(*figure);
            }
        }
        columns
    }

    /// Ours by the peer's.
    pub(crate) fn ratio(&self, peer: usize, figure: Figure) -> Option<Spread> {
        Spread::of_ratios(&self.peers[0].figures(figure), &self.peers[peer].figures(figure))
    }
}
