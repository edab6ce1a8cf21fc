//! Whether the service can do its work, and if not, why: every reason at once.

use super::view::{Kind, Process, View};
use crate::kv::shared::hand_offs::HandOff;
use crate::server::counters::{self, Counter};

/// A process that was not seen at work for longer does not serve. A loop is seen twenty times a second, the writer after each
/// group; a disk that takes longer for one commit takes no writes, for all that a client can tell.
const HEARTBEAT_FRESH_MS: u64 = 3_000;

/// Why the service is not ready; empty when it is. A disk that is nearly full is no reason: reads and deletions go on, and
/// without deletions it would never heal.
pub(super) fn reasons(view: &View) -> Vec<String> {
    let mut reasons = Vec::new();
    if view.is_draining() {
        reasons.push("draining".to_owned());
    }
    for process in view.processes() {
        let what = match process.kind {
            Kind::Worker => format!("worker {}", process.slot.0),
            Kind::Writer => "the writer".to_owned(),
            Kind::Admin | Kind::Supervisor => continue,
        };
        if !is_at_work(view, process) {
            reasons.push(format!("{what} does not serve"));
        }
    }
    if view.hand_offs.is_set(HandOff::WritesFailing) {
        reasons.push("writes fail".to_owned());
    }
    reasons
}

fn is_at_work(view: &View, process: Process) -> bool {
    let is_fresh = view.heartbeat_age_ms(process).is_some_and(|age_ms| age_ms <= HEARTBEAT_FRESH_MS);
    match view.read(process, Counter::State) {
        counters::SERVING => is_fresh,
        // It ends in good order: the service says so for all of them.
        counters::DRAINING => view.is_draining(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::serving;
    use super::*;
    use crate::server::counters::{Global, Slot};
    use std::sync::atomic::Ordering;

    #[test]
    fn a_service_is_ready_when_all_its_workers_and_the_writer_are_at_work() {
        let view = serving();
        assert_eq!(reasons(&view), [""; 0]);
        view.scoreboard.set(Slot(1), Counter::State, counters::ABSENT);
        view.scoreboard.set(view.scoreboard.lane_slot(), Counter::HeartbeatMs, 1);
        assert_eq!(reasons(&view), ["worker 1 does not serve", "the writer does not serve"]);
    }

    #[test]
    fn the_end_and_a_disk_that_takes_no_writes_are_reasons_and_a_full_disk_is_none() {
        let view = serving();
        view.hand_offs.set(HandOff::DiskNearlyFull, 1);
        assert_eq!(reasons(&view), [""; 0]);
        view.hand_offs.set(HandOff::WritesFailing, 1);
        view.scoreboard.global(Global::Draining).store(1, Ordering::Relaxed);
        view.scoreboard.set(Slot(0), Counter::State, counters::DRAINING);
        assert_eq!(reasons(&view), ["draining", "writes fail"]);
    }

    #[test]
    fn what_shows_the_figures_is_no_part_of_the_service() {
        let view = serving();
        view.scoreboard.set(view.scoreboard.sidecar_slot(), Counter::State, counters::ABSENT);
        assert_eq!(reasons(&view), [""; 0]);
    }
}
