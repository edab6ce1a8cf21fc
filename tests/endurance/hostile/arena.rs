//! One hostile thing beside the innocent clients: what has to hold, and how it is judged.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use emptyserver::sys::clock;

use super::innocents::{Innocents, Seen};
use super::witness::{Testimony, Witness, memory_bytes};
use crate::support::{Connection, PATIENCE, Process, Service, number_from_environment, turn, wait_until};

pub(crate) const MEBI: u64 = 1 << 20;
/// Of the innocents' calls, 999 of 1,000 are answered by then. Beside much else on the same cores nobody can promise it:
/// `HOSTILE_LATENCY_MS` says otherwise.
fn latency_max() -> Duration {
    Duration::from_millis(number_from_environment("HOSTILE_LATENCY_MS", 50))
}

/// What all processes may have beyond what they have when idle, the cache and what the clients' limit counts.
pub(crate) const MEMORY_SLACK: u64 = 64 * MEBI;
const BASELINE: Duration = Duration::from_millis(500);
/// How often a thing is done when the machine and not the service may have been slow.
const ATTEMPTS: u32 = 3;
/// Small, so that what is not counted shows; a scenario may say otherwise.
const SETTINGS: &[(&str, &str)] = &[
    ("WORKERS", "2"),
    ("ADMIN_LISTEN", "127.0.0.1:0"),
    ("CACHE_BYTES", "16777216"),
    ("VALUE_BYTES_MAX", "8388608"),
    ("QUERY_BYTES_MAX", "33554432"),
    ("OUTPUT_BYTES_MAX", "16777216"),
    ("SLOWLOG_MICROSECONDS", "-1"),
    // How long this disk takes for a sync is not what is asked here, and not the service's doing.
    ("DURABILITY", "os"),
];

pub(crate) struct Scenario<'a> {
    /// What the service is started by: words before the program.
    pub(crate) wrapper: &'a [&'a str],
    /// Where its data is; the directory for temporary files may lie in memory.
    pub(crate) data_in: Option<&'a Path>,
    /// What holds for all scenarios, unless one has its own.
    pub(crate) usual: &'a [(&'a str, &'a str)],
    pub(crate) settings: &'a [(&'a str, &'a str)],
    /// What becomes of the service before anybody connects.
    pub(crate) begin: &'a dyn Fn(&mut Service),
    /// What is there before, and is not measured.
    pub(crate) prepare: &'a dyn Fn(&Service),
    /// Does it, for a second or until it is done, and says what came of it. An error: it did not happen, or had no answer.
    pub(crate) attack: &'a dyn Fn(&Arena) -> Result<String, String>,
    /// How long the `-wal` may get.
    pub(crate) wal_bytes_max: u64,
    /// How slow the innocents' calls may get, where that is not asked as usual.
    pub(crate) latency_max: Option<Duration>,
    /// How much memory all processes may have, where it does not follow from the settings.
    pub(crate) memory_bytes_max: Option<u64>,
}

/// Nothing happens: what a scenario does not say.
pub(crate) const PEACE: Scenario<'static> = Scenario {
    wrapper: &[],
    data_in: None,
    usual: SETTINGS,
    settings: &[],
    begin: &|_| {},
    prepare: &|_| {},
    attack: &|_| Ok("nothing happened".to_owned()),
    wal_bytes_max: u64::MAX,
    latency_max: None,
    memory_bytes_max: None,
};

/// What an attack has to do with.
pub(crate) struct Arena<'a> {
    pub(crate) service: &'a Service,
    pub(crate) admin: SocketAddr,
    end: Instant,
    measured: Mutex<Vec<Measured>>,
}

/// What clients of the attack's own saw: how slow one call of 1,000 was.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) of: String,
    pub(crate) alone: Duration,
    pub(crate) beside: Duration,
    pub(crate) bound: Duration,
}

impl Arena<'_> {
    /// To be judged as the innocents' calls are.
    pub(crate) fn measured(&self, one: Measured) {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner).push(one);
    }

    /// The attack has lasted for long enough.
    pub(crate) fn is_over(&self) -> bool {
        clock::monotonic() >= self.end
    }

    pub(crate) fn connect(&self) -> Connection {
        self.service.connect()
    }
}

impl Scenario<'_> {
    /// Panics unless all of it holds. What the machine may have spoilt is done again.
    pub(crate) fn judge(&self) {
        let _turn = turn();
        let name = thread::current().name().unwrap_or_default().to_owned();
        for attempt in 1..=ATTEMPTS {
            let report = self.attempt();
            println!("{name}\n{report}", report = report.text());
            let complaints = report.complaints();
            if complaints.is_empty() {
                return;
            }
            let text = complaints.join("\n  ");
            assert!(attempt < ATTEMPTS && report.is_the_machines(), "{name}:\n  {text}");
            println!("  once more, since it may have been this machine:\n  {text}");
        }
    }

    fn setting(&self, name: &str) -> Option<&str> {
        let all = self.usual.iter().chain(self.settings);
        all.rev().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn bytes(&self, name: &str) -> u64 {
        self.setting(name).unwrap().parse().unwrap()
    }

    /// What the settings let the service keep: the cache, and what all clients may take together.
    fn kept_bytes_max(&self) -> u64 {
        self.bytes("CACHE_BYTES") + self.clients_bytes_max()
    }

    /// One client with all that it may have is within it.
    fn clients_bytes_max(&self) -> u64 {
        self.bytes("OUTPUT_BYTES_MAX").max(self.bytes("QUERY_BYTES_MAX"))
    }

    /// By CONFIG SET, which a build that does not know it only refuses.
    fn limit_clients(&self, service: &Service) {
        let mut client = service.connect();
        if let Some(password) = self.setting("PASSWORD") {
            client.call(&["AUTH", password]);
        }
        let answer = client.call(&["CONFIG", "SET", "maxmemory-clients", &self.clients_bytes_max().to_string()]);
        if answer.is_error() {
            println!("  nothing limits all clients together: {answer}");
        }
    }

    fn attempt(&self) -> Report {
        let settings: Vec<(&str, &str)> = self.usual.iter().chain(self.settings).copied().collect();
        let directory = self.data_in.map_or_else(std::env::temp_dir, Path::to_owned);
        let data = tempfile::Builder::new().prefix("emptyserver-").tempdir_in(directory).unwrap();
        let mut service = Service::start_on(data, self.wrapper, &settings);
        (self.begin)(&mut service);
        if self.memory_bytes_max.is_none() {
            self.limit_clients(&service);
        }
        let mut innocents = Innocents::connect(&service, self.setting("PASSWORD"));
        let idle_bytes = memory_bytes(&pids_of(&service));
        (self.prepare)(&service);
        let processes = service.processes();
        let witness = Witness {
            pids: pids_of(&service),
            wal: service.data().join("data.db-wal"),
            admin: admin_address(&service),
        };
        let lasts = Duration::from_secs(number_from_environment("HOSTILE_SECONDS", 1));
        let (before, ()) = innocents.during(|| clock::pause(BASELINE));
        let (during, (testimony, (outcome, took, measured))) = innocents.during(|| {
            witness.during(|| {
                let begun = clock::monotonic();
                let arena =
                    Arena { service: &service, admin: witness.admin, end: begun + lasts, measured: Mutex::default() };
                let outcome = (self.attack)(&arena);
                let took = clock::monotonic() - begun;
                clock::pause(lasts.saturating_sub(took));
                (outcome, took, arena.measured.into_inner().unwrap_or_else(PoisonError::into_inner))
            })
        });
        let (after, ()) = innocents.during(|| clock::pause(BASELINE));
        Report {
            before,
            during,
            after,
            testimony,
            outcome,
            took,
            measured,
            memory_bound: self.memory_bytes_max.unwrap_or_else(|| idle_bytes + self.kept_bytes_max() + MEMORY_SLACK),
            wal_bound: self.wal_bytes_max,
            latency_bound: self.latency_max.unwrap_or_else(latency_max),
            restarts: innocents.restarts(),
            processes: (processes, service.processes()),
        }
    }
}

pub(crate) fn pids_of(service: &Service) -> Vec<i32> {
    service.processes().iter().map(|process| process.pid).chain([service.pid()]).collect()
}

pub(crate) fn admin_address(service: &Service) -> SocketAddr {
    let is_it = |line: &&String| line.contains("health, metrics and the status page\"");
    // Of the last start.
    let line = wait_until("the admin process", PATIENCE, || service.log().lines().iter().rfind(is_it).cloned());
    let fields: serde_json::Value = serde_json::from_str(&line).unwrap();
    fields["address"].as_str().unwrap().parse().unwrap()
}

struct Report {
    before: Seen,
    during: Seen,
    after: Seen,
    testimony: Testimony,
    outcome: Result<String, String>,
    took: Duration,
    measured: Vec<Measured>,
    memory_bound: u64,
    wal_bound: u64,
    latency_bound: Duration,
    restarts: Result<u64, String>,
    processes: (Vec<Process>, Vec<Process>),
}

impl Report {
    fn text(&self) -> String {
        let mut text = String::new();
        match &self.outcome {
            Ok(what) => writeln!(text, "  {what}, in {:.2} s", self.took.as_secs_f64()).unwrap(),
            Err(what) => writeln!(text, "  IT FAILED after {:.2} s: {what}", self.took.as_secs_f64()).unwrap(),
        }
        for (when, seen) in [("before", &self.before), ("meanwhile", &self.during), ("after", &self.after)] {
            writeln!(
                text,
                "  {when:9} {:6} calls, ms: p50 {:6.2}, p99.9 {:7.2}, most {:7.2}",
                seen.calls(),
                ms(seen.at(0.5)),
                ms(seen.at(0.999)),
                ms(seen.worst())
            )
            .unwrap();
        }
        for Measured { of, alone, beside, .. } in &self.measured {
            writeln!(text, "  {of}: p99.9 {:.2} ms, {:.2} ms alone", ms(*beside), ms(*alone)).unwrap();
        }
        let seen = &self.testimony;
        write!(
            text,
            "  memory {} of {} MiB, -wal {:.1} MiB, /livez {:.0} ms at most ({}), the machine itself stood still for {:.0} ms",
            seen.memory_bytes_max / MEBI,
            self.memory_bound / MEBI,
            seen.wal_bytes_max as f64 / MEBI as f64,
            ms(seen.probe_slowest),
            seen.probes,
            ms(seen.machine_stall)
        )
        .unwrap();
        text
    }

    fn complaints(&self) -> Vec<String> {
        let mut all: Vec<String> = self.others();
        for (when, seen) in self.latencies() {
            let worst = seen.at(0.999);
            if is_optimised() && worst > self.latency_bound {
                all.push(format!("{when} the innocents' p99.9 is {:.1} ms", ms(worst)));
            }
        }
        let slow = self.measured.iter().filter(|one| is_optimised() && one.beside > one.bound);
        all.extend(slow.map(|one| format!("{}: p99.9 is {:.1} ms", one.of, ms(one.beside))));
        all
    }

    /// All that no slow machine explains.
    fn others(&self) -> Vec<String> {
        let mut all: Vec<String> = self.outcome.as_ref().err().cloned().into_iter().collect();
        for (when, seen) in self.latencies() {
            all.extend(seen.refused.iter().map(|what| format!("{when}: {what}")));
        }
        let seen = &self.testimony;
        if let Some(first) = seen.probes_failed.first() {
            all.push(format!("{} of {} probes failed: {first}", seen.probes_failed.len(), seen.probes));
        }
        if seen.memory_bytes_max > self.memory_bound {
            all.push(format!("{} MiB of memory, of {}", seen.memory_bytes_max / MEBI, self.memory_bound / MEBI));
        }
        if seen.wal_bytes_max > self.wal_bound {
            all.push(format!("the -wal has {} MiB, of {}", seen.wal_bytes_max / MEBI, self.wal_bound / MEBI));
        }
        if self.restarts != Ok(0) {
            all.push(format!("restarts: {:?}", self.restarts));
        }
        let (before, after) = &self.processes;
        if before != after {
            all.push(format!("processes were {before:?} and are {after:?}"));
        }
        all
    }

    fn latencies(&self) -> [(&'static str, &Seen); 3] {
        [("before it", &self.before), ("beside it", &self.during), ("after it", &self.after)]
    }

    /// Only latencies are wrong, and the innocents alone were as slow, or the witness saw the machine stand still for about as long, or it is
    /// a near miss: what is the service's own is there again.
    fn is_the_machines(&self) -> bool {
        let alone = self.before.at(0.999).max(self.after.at(0.999));
        let is_explained = alone > self.latency_bound || self.during.at(0.999) < 4 * self.testimony.machine_stall;
        let is_explained = is_explained || self.during.at(0.999) < 2 * self.latency_bound;
        let stall = self.testimony.machine_stall;
        let are_explained =
            self.measured.iter().all(|one| one.alone > one.bound || one.beside < (4 * stall).max(2 * one.bound));
        self.others().is_empty() && is_explained && are_explained
    }
}

/// Times of a program without optimisation say nothing.
fn is_optimised() -> bool {
    !cfg!(debug_assertions) || std::env::var_os("EMPTYSERVER_UNDER_TEST").is_some()
}

pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
