//! Finds workers whose event loop does not come round any more. A loop ticks twenty times a second whatever its clients do, so one that
//! stands still for many seconds serves nobody: its clients wait for ever, and ending it is the only help.
//!
//! Time is counted in looks of the supervisor, a second apart, at a loop that has made no round since the look before. So time that passes
//! for all of them alike (a paused container, a suspended machine, a debugger that stops everything) is one look, and ends nobody.

/// The rounds of each worker, as last seen.
pub(super) struct Watchdog {
    seen: Vec<Seen>,
    looks_max: u64,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    incarnation: u64,
    rounds: u64,
    /// Looks since then at which there was no other round.
    looks: u64,
}

impl Watchdog {
    /// `looks_max`: at so many looks in a row without a round a loop counts as hung; 0: never.
    pub(super) fn new(workers: usize, looks_max: u64) -> Watchdog {
        Watchdog { seen: vec![Seen::default(); workers], looks_max }
    }

    /// A look at a worker that serves. Somebody else has stopped it (SIGSTOP, a debugger) exactly when `is_stopped`: then it stands still
    /// because that is wanted. True when its loop hangs: once, and again after as many looks.
    pub(super) fn look(&mut self, worker: usize, incarnation: u64, rounds: u64, is_stopped: bool) -> bool {
        let seen = &mut self.seen[worker];
        if (seen.incarnation, seen.rounds) != (incarnation, rounds) || is_stopped {
            *seen = Seen { incarnation, rounds, looks: 0 };
            return false;
        }
        seen.looks += 1;
        let hangs = self.looks_max > 0 && seen.looks >= self.looks_max;
        if hangs {
            seen.looks = 0;
        }
        hangs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_hangs_when_it_makes_no_round_for_so_many_looks_in_a_row() {
        let mut watchdog = Watchdog::new(2, 3);
        let looks = |watchdog: &mut Watchdog, rounds: &[u64]| -> Vec<bool> {
            rounds.iter().map(|&rounds| watchdog.look(1, 7, rounds, false)).collect()
        };
        assert_eq!(
            looks(&mut watchdog, &[5, 5, 5, 6, 6, 6, 6, 6]),
            [false, false, false, false, false, false, true, false]
        );
        assert!(!watchdog.look(0, 8, 6, false), "another worker");
        assert!(!watchdog.look(1, 9, 6, false), "another process in its place, as far as the one before");
        assert_eq!(looks(&mut Watchdog::new(2, 0), &[5; 100]), [false; 100], "switched off");
    }

    #[test]
    fn a_worker_that_somebody_has_stopped_does_not_hang_and_has_all_its_time_when_it_goes_on() {
        let mut watchdog = Watchdog::new(1, 3);
        let looks = [false, false, true, true, true, true, false, false, false];
        let hangs = looks.map(|is_stopped| watchdog.look(0, 1, 5, is_stopped));
        assert_eq!(hangs, [false, false, false, false, false, false, false, false, true]);
    }
}
