//! How the `-wal` is kept near its budget: when a checkpoint begins, when the `-wal` is restarted, how much the writer is throttled.

use std::time::Duration;

use crate::storage::sqlite::checkpoint::{FRAME_BYTES, Progress};

/// What the WAL restart may always copy.
const RESTART_FRAMES: u64 = 16;
/// A pass of so many frames takes some 20 ms: the writer can wait for it.
const SHORT_PASS_FRAMES: u64 = 512;

/// When to checkpoint, and how much the writer is throttled. Pure arithmetic over the budget of the `-wal`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    budget_bytes: u64,
}

impl Pace {
    pub(super) fn new(wal_bytes_max: u64) -> Self {
        Self { budget_bytes: wal_bytes_max.max(FRAME_BYTES) }
    }

    /// Time for a passive checkpoint: half of the budget is used, and much of it is not copied. Not earlier: a page that changes
    /// ten times is then written to the file once, and its neighbours with it. Measured over a million keys: a frame takes 45 us
    /// of the disk where 1 MB is copied at once, 22 us where it is 16 MB, 13 us where it is 64 MB.
    pub(super) fn wants_pass(&self, progress: &Progress) -> bool {
        self.is_due(progress) && self.has_much_left(progress)
    }

    /// More frames are left than the WAL restart should copy, since the writer waits for it.
    pub(super) fn has_much_left(&self, progress: &Progress) -> bool {
        progress.remaining_bytes() > (self.budget_bytes / 128).max(RESTART_FRAMES * FRAME_BYTES)
    }

    /// Half of the budget is used. The writer may fill the other half until the WAL restart.
    fn is_due(&self, progress: &Progress) -> bool {
        progress.log_bytes() >= self.budget_bytes / 2
    }

    /// Not beyond what a pass is begun for, and a little more.
    pub(super) fn has_room_for_much(&self, progress: &Progress) -> bool {
        progress.log_bytes() < self.budget_bytes / 8 * 5
    }

    /// One and a half of the budget is used: readers keep the -wal from being restarted, and have to give way.
    pub(super) fn is_held(&self, progress: &Progress) -> bool {
        progress.remaining_bytes() > 0 && progress.log_bytes() > self.budget_bytes / 2 * 3
    }

    /// Time for the WAL restart: it copies what is left within milliseconds.
    pub(super) fn wants_restart(&self, progress: &Progress) -> bool {
        self.is_due(progress) && !self.wants_pass(progress)
    }

    /// Write throttle: pages that the running pass must have written back before the writer may append. The pass copies
    /// `pass_frames` and began when the -wal had `begun_at`; the -wal has `log_frames` now.
    ///
    /// The writer may append half as many frames as are written back, so that each pass is shorter than the one before. It may be a
    /// sixteenth of the pass ahead, so that groups and extents need not take turns. It may not append at all beside a short pass,
    /// because the WAL restart follows it, nor above one and a half of the budget: these give `u64::MAX`.
    pub(super) fn written_before_more(&self, begun_at: u64, pass_frames: u64, log_frames: u64) -> u64 {
        if pass_frames <= SHORT_PASS_FRAMES || log_frames * FRAME_BYTES > self.budget_bytes / 2 * 3 {
            return u64::MAX;
        }
        let added = log_frames.saturating_sub(begun_at);
        2 * added.saturating_sub(pass_frames / 16)
    }

    /// How long the writer pauses after a group of `group`, while readers keep the -wal from being restarted. Zero within the
    /// budget, as long as the group at twice the budget, and in proportion beyond.
    pub(super) fn pause(&self, log_bytes: u64, group: Duration) -> Duration {
        let excess = log_bytes.saturating_sub(self.budget_bytes);
        group.mul_f64((excess as f64 / self.budget_bytes as f64).min(16.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_begins_at_half_of_the_budget_and_the_writer_gives_way_to_it() {
        let pace = Pace::new(2560 * FRAME_BYTES);
        let at = |log_frames, checkpointed| Progress { log_frames, checkpointed };
        assert!(!pace.wants_pass(&at(1279, 0)) && pace.wants_pass(&at(1280, 0)));
        assert!(!pace.wants_restart(&at(1279, 1279)) && pace.wants_restart(&at(1280, 1279)));
        assert!(pace.wants_pass(&at(1300, 1279)) && !pace.wants_restart(&at(1300, 1279)), "a WAL restart of a moment");
        assert!(!pace.wants_pass(&at(1300, 1280)) && pace.wants_restart(&at(1300, 1280)));
        assert!(!pace.is_held(&at(3840, 0)) && pace.is_held(&at(3841, 3840)) && !pace.is_held(&at(3841, 3841)));
        let small = Pace::new(100 * FRAME_BYTES);
        assert!(small.wants_pass(&at(60, 43)) && small.wants_restart(&at(60, 44)));
        assert!(!small.wants_pass(&at(40, 0)) && small.has_much_left(&at(40, 0)) && !small.has_much_left(&at(40, 24)));
        assert_eq!([1600, 1700, 1701, 2100].map(|now| pace.written_before_more(1600, 1600, now)), [0, 0, 2, 800]);
        assert_eq!([512, 513].map(|pass| pace.written_before_more(1600, pass, 1600)), [u64::MAX, 0], "a last pass");
        assert_eq!([3840, 3841].map(|now| pace.written_before_more(3740, 1600, now)), [0, u64::MAX], "too much");
        let pace = Pace::new(1000 * FRAME_BYTES);
        let group = Duration::from_millis(4);
        assert_eq!(pace.pause(1000 * FRAME_BYTES, group), Duration::ZERO);
        assert_eq!(pace.pause(1500 * FRAME_BYTES, group), Duration::from_millis(2));
        assert_eq!(pace.pause(u64::MAX, group), Duration::from_millis(64));
        assert_eq!(Pace::new(0).pause(0, group), Duration::ZERO);
    }
}
