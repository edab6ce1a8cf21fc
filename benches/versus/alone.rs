//! Loads that need a server of their own: filled, killed, started again, held small, or made to hold connections.

use std::io;
use std::path::Path;
use std::time::Duration;

use emptyserver::client::Connection;
use emptyserver::resp::Reply;
use emptyserver::sys::clock;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::fan_out;
use crate::generator;
use crate::hand_over;
use crate::loads::{Kind, Load, Traffic};
use crate::memory_limit::{MemoryLimit, drop_from_page_cache};
use crate::options::Options;
use crate::peers::{Peer, Running, Start};
use crate::processes::Resident;
use crate::results::{self, Sample};
use crate::traffic::{self, MEGA};

/// One peer's part of such a load. What can serve again stays from round to round.
pub(crate) struct Alone<'a> {
    pub(crate) options: &'a Options,
    pub(crate) peer: &'a Peer,
    pub(crate) load: &'a Load,
    pub(crate) start: Start,
    pub(crate) directory: &'a Path,
    /// Declared before the limit: the server has to be gone when the group is removed.
    pub(crate) server: Option<Running>,
    pub(crate) limit: Option<MemoryLimit>,
}

const WAL_LOOKS: Duration = Duration::from_millis(50);
const RESTART_PATIENCE: Duration = Duration::from_secs(300);
/// Connections beyond those that are counted: the one that asks.
const SPARE_CONNECTIONS: u32 = 100;
/// Of ours: whoever waits is told by another process than the one that took the entry.
const FAN_OUT_WORKERS: u32 = 4;
const IDLE_LATER: Duration = Duration::from_secs(10);

impl Alone<'_> {
    /// One round, and the share of the machine that others had.
    pub(crate) fn run(&mut self) -> io::Result<(Sample, f64)> {
        match self.load.kind {
            Kind::Fill => self.fill(),
            Kind::LongestSet { seconds } => self.longest_set(seconds),
            Kind::Restart => self.restart(),
            Kind::Idle { connections } => self.idle(connections),
            Kind::Limited { memory_bytes } => self.limited(memory_bytes),
            Kind::HandOver { waiters } => self.hand_over(waiters),
            Kind::FanOut { readers, ref traffic } => self.fan_out(readers, traffic),
            Kind::Traffic(_) | Kind::Warm(_) | Kind::BesideKeys(_) | Kind::Published { .. } => {
                Err(io::Error::other("not a load of this kind"))
            }
        }
    }

    fn fill(&self) -> io::Result<(Sample, f64)> {
        let server = self.peer.start(&self.start, self.directory)?;
        let (generated, costs) =
            traffic::costing(server.pid(), || generator::prefill(&server.endpoint, &self.load.data))?;
        let mut figures = traffic::figures(&generated, &costs);
        figures.extend(traffic::sizes(&server));
        Ok((Sample { figures, ..Sample::default() }, costs.foreign_share))
    }

    fn longest_set(&self, seconds: f64) -> io::Result<(Sample, f64)> {
        let data = &self.load.data;
        let server = self.filled()?;
        let mut wal_bytes = 0;
        let (both, costs) = traffic::costing(server.pid(), || {
            let readers = generator::begin(&server.endpoint, data, &plain("get", 4, 1), seconds)?;
            let mut writers = generator::begin(&server.endpoint, data, &plain("set", 50, 16), seconds)?;
            while writers.try_wait()?.is_none() {
                wal_bytes = server.wal_bytes().unwrap_or(0).max(wal_bytes);
                clock::pause(WAL_LOOKS);
            }
            Ok((generator::end(writers)?, generator::end(readers)?))
        })?;
        let (writes, reads) = both;
        let mut figures = vec![
            (results::LONGEST, writes.max_ms),
            (results::P99_9, writes.p99_9_ms),
            (results::P99, writes.p99_ms),
            (results::RATE, writes.per_second),
            (results::READS, reads.per_second),
            (results::LONGEST_READ, reads.max_ms),
        ];
        figures.extend(server.wal_bytes().map(|_| (results::WAL, wal_bytes as f64 / MEGA)));
        Ok((Sample { figures, ..Sample::default() }, costs.foreign_share))
    }

    /// Killed in the middle of a load of SETs, so that what is in the `-wal` is still to be copied.
    fn restart(&mut self) -> io::Result<(Sample, f64)> {
        if self.server.is_none() {
            self.server = Some(self.filled()?);
        }
        let server = self.server.as_mut().ok_or_else(|| io::Error::other("it was started"))?;
        let seconds = self.options.seconds.max(3.0);
        let traffic = plain("set", 50, 16);
        let load = generator::begin(&server.endpoint, &self.load.data, &traffic, seconds * 2.0)?;
        clock::pause(Duration::from_secs_f64(seconds));
        let wal_bytes = server.wal_bytes();
        server.kill()?;
        // Its connections are gone with the server, and it says so.
        drop(generator::end(load));
        let begun = clock::monotonic();
        server.start_again()?;
        wait_for_get(server)?;
        let ready_ms = (clock::monotonic() - begun).as_secs_f64() * 1e3;
        let mut figures = vec![(results::READY, ready_ms)];
        figures.extend(wal_bytes.map(|bytes| (results::WAL_AT_KILL, bytes as f64 / MEGA)));
        figures.extend(traffic::sizes(server));
        Ok((Sample { figures, ..Sample::default() }, 0.0))
    }

    /// Counted: the processes' own memory. Not counted: the kernel's, for the sockets.
    fn idle(&self, connections: u64) -> io::Result<(Sample, f64)> {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        let connections_max = Some(connections as u32 + SPARE_CONNECTIONS);
        let server = self.peer.start(&Start { connections_max, ..self.start.clone() }, self.directory)?;
        server.ask(&["PING"])?;
        let before = Resident::of(server.pid()).anonymous_bytes;
        let mut opened: Vec<Connection> = Vec::new();
        for _ in 0..connections {
            let mut connection = server.connect()?;
            connection.call(&["PING"]).map_err(|error| io::Error::other(error.to_string()))?;
            opened.push(connection);
        }
        let each = || Resident::of(server.pid()).anonymous_bytes.saturating_sub(before) as f64 / connections as f64;
        let mut figures = vec![(results::BYTES_PER_CONNECTION, each())];
        clock::pause(IDLE_LATER);
        figures.push((results::BYTES_LATER, each()));
        Ok((Sample { figures, ..Sample::default() }, 0.0))
    }

    /// The server stays from round to round; one that was killed is filled again.
    fn limited(&mut self, memory_bytes: u64) -> io::Result<(Sample, f64)> {
        if self.server.as_mut().is_none_or(|server| !server.is_alive()) {
            self.server = None;
            self.limit = None;
            self.limit = Some(MemoryLimit::new(&self.peer.name, memory_bytes)?);
        }
        let limit = self.limit.as_ref().ok_or_else(|| io::Error::other("it was made"))?;
        if self.server.is_none() {
            // Filled without the limit, then started again within it: what is measured is to hold the data, not to take it in.
            let mut server = self.filled()?;
            server.kill()?;
            drop_from_page_cache(&server.directory)?;
            server.start_again_under(limit.wrapper())?;
            if let Err(error) = wait_for_get(&mut server) {
                let figures = vec![(results::KILLED, limit.killed() as f64)];
                let note = Some(format!("with the keys on its disk: {error}"));
                return Ok((Sample { figures, note, ..Sample::default() }, 0.0));
            }
            self.server = Some(server);
        }
        let server = self.server.as_ref().ok_or_else(|| io::Error::other("it was started"))?;
        let seconds = self.options.seconds;
        let (both, costs) = traffic::costing(server.pid(), || {
            let gets = traffic::run_ours(&server.endpoint, &self.load.data, &plain("get", 50, 1), seconds)?;
            let sets = traffic::run_ours(&server.endpoint, &self.load.data, &plain("set", 50, 1), seconds)?;
            Ok((gets, sets))
        })?;
        let (gets, sets) = both;
        let mut figures = vec![
            (results::GETS, gets.per_second),
            (results::P99, gets.p99_ms),
            (results::SETS, sets.per_second),
            (results::SETS_P99, sets.p99_ms),
            (results::KILLED, limit.killed() as f64),
            (results::PEAK, limit.peak_bytes() as f64 / MEGA),
        ];
        figures.extend(traffic::sizes(server));
        Ok((Sample { figures, ..Sample::default() }, costs.foreign_share))
    }

    fn hand_over(&self, waiters: u64) -> io::Result<(Sample, f64)> {
        let server = self.peer.start(&self.start, self.directory)?;
        let (figures, costs) =
            traffic::costing(server.pid(), || hand_over::run(&server, waiters, self.options.seconds))?;
        Ok((Sample { figures, ..Sample::default() }, costs.foreign_share))
    }

    fn fan_out(&self, readers: usize, traffic: &Traffic) -> io::Result<(Sample, f64)> {
        let server =
            self.peer.start(&Start { workers: Some(FAN_OUT_WORKERS), ..self.start.clone() }, self.directory)?;
        fan_out::run(self.options, &server, &self.load.data, readers, traffic)
    }

    fn filled(&self) -> io::Result<Running> {
        let server = self.peer.start(&self.start, self.directory)?;
        generator::prefill(&server.endpoint, &self.load.data)?;
        Ok(server)
    }
}

/// Uniform keys.
fn plain(mix: &'static str, connections: u64, pipeline: u64) -> Traffic {
    Traffic { connections, pipeline, mix, distribution: "uniform" }
}

/// A server that still loads answers with an error.
fn wait_for_get(server: &mut Running) -> io::Result<()> {
    let deadline = clock::monotonic() + RESTART_PATIENCE;
    while !matches!(server.ask(&["GET", "key:000000000000"]), Ok(Reply::Bulk(_))) {
        if !server.is_alive() || clock::monotonic() > deadline {
            return Err(io::Error::other("it does not serve again"));
        }
        clock::pause(Duration::from_millis(1));
    }
    Ok(())
}
