//! What the admin process can see: the shared counters, the state of backups, and the few facts that do not change while the service runs.

use std::sync::atomic::Ordering;

use super::hosts::Hosts;
use super::recent::Recent;
use crate::kv::metrics::statistics::Totals;
use crate::kv::shared::backups::Backups;
use crate::kv::shared::hand_offs::HandOffs;
use crate::server::counters::{self, Counter, Global, Scoreboard, Slot};
use crate::sys::clock;

/// Known when the service starts.
pub struct Facts {
    /// In words.
    pub listen: String,
    /// `always`, `everysec` or `os`.
    pub durability: &'static str,
    /// 0: one process is everything.
    pub workers: usize,
    pub wal_bytes_max: u64,
    /// 0: there is no journal.
    pub journal_bytes_max: u64,
    pub merge_seconds_max: u64,
    pub cache_bytes_max: u64,
    pub memory_bytes: u64,
    /// The names of the lanes, in their order.
    pub lanes: &'static [&'static str],
    /// Seconds; 0: backups are made only when they are asked for.
    pub backup_interval_seconds: u64,
    /// By which names people may reach what is for them.
    pub hosts: Hosts,
    /// Who has it may change something; without one nobody may.
    pub token: Option<String>,
}

pub struct View {
    pub facts: Facts,
    pub scoreboard: Scoreboard,
    pub totals: Totals,
    pub backups: Backups,
    pub hand_offs: HandOffs,
    /// The texts of `/metrics`, in both formats, and of `/status.json`.
    pub(super) metrics: [Recent; 2],
    pub(super) status: Recent,
}

/// One of the service's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) kind: Kind,
    pub(super) slot: Slot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Worker,
    Writer,
    Admin,
    Supervisor,
}

impl View {
    #[must_use]
    pub fn new(facts: Facts, scoreboard: Scoreboard, backups: Backups, hand_offs: HandOffs) -> View {
        View {
            facts,
            scoreboard,
            totals: Totals(scoreboard),
            backups,
            hand_offs,
            metrics: Default::default(),
            status: Recent::default(),
        }
    }

    /// Those that there are: with `workers = 0` the only one is called a worker.
    pub(super) fn processes(&self) -> Vec<Process> {
        let mut processes: Vec<Process> =
            self.scoreboard.workers().map(|slot| Process { kind: Kind::Worker, slot }).collect();
        if self.facts.workers > 0 {
            let others = [
                (Kind::Writer, self.scoreboard.lane_slot()),
                (Kind::Admin, self.scoreboard.sidecar_slot()),
                (Kind::Supervisor, self.scoreboard.supervisor_slot()),
            ];
            processes.extend(others.map(|(kind, slot)| Process { kind, slot }));
        }
        processes
    }

    pub(super) fn read(&self, process: Process, which: Counter) -> u64 {
        self.scoreboard.read(process.slot, which)
    }

    pub(super) fn global(&self, which: Global) -> u64 {
        self.scoreboard.global(which).load(Ordering::Relaxed)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.global(Global::Draining) != 0
    }

    /// Jobs of all workers in the lane of that number.
    pub(super) fn lane_jobs(&self, lane: usize) -> u64 {
        self.scoreboard.workers().map(|slot| self.scoreboard.lane_jobs(slot, lane).load(Ordering::Relaxed)).sum()
    }

    pub(super) fn uptime_ms(&self) -> u64 {
        clock::uptime_ms().saturating_sub(self.global(Global::StartedMs))
    }

    /// Milliseconds since the process was last seen at work; `None` for one that says nothing of that.
    pub(super) fn heartbeat_age_ms(&self, process: Process) -> Option<u64> {
        let at = self.read(process, Counter::HeartbeatMs);
        (at > 0).then(|| clock::uptime_ms().saturating_sub(at))
    }
}

impl Process {
    pub(super) fn name(self) -> String {
        match self.kind {
            Kind::Worker => format!("worker-{}", self.slot.0),
            kind => kind.name().to_owned(),
        }
    }
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Kind::Worker => "worker",
            Kind::Writer => "writer",
            Kind::Admin => "admin",
            Kind::Supervisor => "supervisor",
        }
    }
}

/// The word for a process's state.
pub(super) const fn state_name(state: u64) -> &'static str {
    match state {
        counters::STARTING => "starting",
        counters::SERVING => "serving",
        counters::DRAINING => "draining",
        _ => "absent",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::kv::commands::table;
    use crate::kv::metrics::statistics;

    fn facts() -> Facts {
        Facts {
            listen: "127.0.0.1:6379".to_owned(),
            durability: "always",
            workers: 2,
            wal_bytes_max: 64 << 20,
            journal_bytes_max: 128 << 20,
            merge_seconds_max: 10,
            cache_bytes_max: 1 << 30,
            memory_bytes: 4 << 30,
            lanes: &["read", "heavy", "write"],
            backup_interval_seconds: 3600,
            hosts: Hosts::default(),
            token: None,
        }
    }

    /// A service with two workers, all of it at work.
    pub(in crate::admin) fn serving() -> View {
        let scoreboard = Scoreboard::new(2, statistics::counters(table::rows().len())).unwrap();
        let view = View::new(facts(), scoreboard, Backups::new().unwrap(), HandOffs::new().unwrap());
        for process in view.processes() {
            view.scoreboard.set(process.slot, Counter::State, counters::SERVING);
            view.scoreboard.set(process.slot, Counter::HeartbeatMs, clock::uptime_ms());
        }
        view
    }

    #[test]
    fn a_service_in_one_process_has_one() {
        let mut view = serving();
        let names = |view: &View| view.processes().into_iter().map(Process::name).collect::<Vec<_>>();
        assert_eq!(names(&view), ["worker-0", "worker-1", "writer", "admin", "supervisor"]);
        view.facts.workers = 0;
        view.scoreboard = Scoreboard::new(1, statistics::counters(table::rows().len())).unwrap();
        assert_eq!(names(&view), ["worker-0"]);
    }
}
