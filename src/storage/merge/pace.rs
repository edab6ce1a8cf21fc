//! How much is merged between which groups: so much that the merge ends when the room for new groups does, never all at once. Pure
//! arithmetic; who merges waits for nobody, so what a group is slowed by is the merge itself.
//!
//! A group owes `its bytes / free bytes of all generations x time that the merge still needs`. What is left of the merge so shrinks in
//! proportion to the room, and both end together, whatever the groups are like. In a prototype a fill of 10M keys had its longest stall at
//! 31 ms with this rule; merges that begin when they must have theirs at the length of a merge.

use std::time::Duration;

use super::merger::Slice;

/// What there is to merge, and room for what groups will add.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Room {
    /// What groups may add until no generation is free, in generations.
    pub free: f64,
    /// Rows of frozen generations that are not in the tables, and what they take.
    pub rows_left: u64,
    pub bytes_left: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Of a row, its share of the slice's COMMIT included.
    row_ns: f64,
    owed: Duration,
}

/// How long a slice writes rows; its COMMIT takes about as long again.
pub const SLICE: Duration = Duration::from_micros(600);
/// The longest that is merged between two groups while there is room for the next.
const STEP_MAX: Duration = Duration::from_millis(15);
/// A group of which the merge takes longer than this is too large beside one: what it owes would be more than a step may do.
const GROUP_MAX: Duration = Duration::from_millis(10);
/// Less is not worth a transaction.
const STEP_MIN: Duration = Duration::from_millis(1);
/// The merge should end while so much of a generation is free: what it needs is an estimate.
const SPARE: f64 = 0.125;
/// Before the first slice.
const ROW_NS: f64 = 5000.0;
/// What the last slice counts for beside those before it.
const SLICE_SHARE: f64 = 0.1;

impl Default for Pace {
    fn default() -> Self {
        Self { row_ns: ROW_NS, owed: Duration::ZERO }
    }
}

impl Pace {
    /// How long the merge still needs.
    #[must_use]
    pub fn time_left(&self, room: &Room) -> Duration {
        Duration::from_nanos((room.rows_left as f64 * self.row_ns) as u64)
    }

    /// Groups have added so much of a generation, and `passed` is the time that they took, of `time` in which the merge should end
    /// whatever is added.
    pub fn added(&mut self, share: f64, room: &Room, passed: Duration, time: Duration) {
        let left = self.time_left(room);
        let free = (room.free - SPARE).max(0.0);
        let for_share = if share >= free { f64::from(share > 0.0) } else { share / free };
        let for_time = if passed >= time { 1.0 } else { passed.as_secs_f64() / time.as_secs_f64() };
        let more = left.mul_f64(for_share.max(for_time));
        self.owed = (self.owed + more).min(left).min(STEP_MAX);
    }

    /// How many bytes the next group should have at most.
    #[must_use]
    pub fn group_bytes_max(&self, room: &Room) -> usize {
        if room.rows_left == 0 {
            return usize::MAX;
        }
        let bytes_ns = self.row_ns * room.rows_left as f64 / room.bytes_left.max(1) as f64;
        (GROUP_MAX.as_nanos() as f64 / bytes_ns) as usize
    }

    /// How long to merge now.
    #[must_use]
    pub fn due(&self, room: &Room) -> Duration {
        if self.owed < STEP_MIN.min(self.time_left(room)) { Duration::ZERO } else { self.owed }
    }

    /// A slice was made.
    pub fn sliced(&mut self, slice: &Slice) {
        self.owed = self.owed.saturating_sub(slice.duration);
        if slice.rows > 0 {
            let row_ns = slice.duration.as_nanos() as f64 / slice.rows as f64;
            self.row_ns += (row_ns - self.row_ns) * SLICE_SHARE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENERATION: u64 = 8 << 20;
    const GENERATIONS: u64 = 4;
    const ROW_BYTES: u64 = 200;
    const LONG: Duration = Duration::from_secs(3600);

    /// A writer at full speed that adds groups of `group` bytes, a group of which takes `group_time`; a row costs `row` to merge. Returns the
    /// longest that was merged between two groups, and whether a group ever found no room.
    fn run(group: u64, group_time: Duration, row: Duration, groups: u64) -> (Duration, bool) {
        let mut pace = Pace::default();
        let (mut newest, mut frozen, mut longest, mut had_no_room) = (0, Vec::<u64>::new(), Duration::ZERO, false);
        let mut group_max = u64::MAX;
        for _ in 0..groups {
            let (mut merged, group) = (Duration::ZERO, group.min(group_max));
            if newest + group > GENERATION {
                while frozen.len() as u64 == GENERATIONS - 1 {
                    had_no_room = true;
                    merged += row * frozen.remove(0) as u32;
                }
                frozen.push(newest / ROW_BYTES);
                newest = 0;
            }
            newest += group;
            let room = |frozen: &Vec<u64>| Room {
                free: 1.0 - newest as f64 / GENERATION as f64 + (GENERATIONS - 1 - frozen.len() as u64) as f64,
                rows_left: frozen.iter().sum(),
                bytes_left: frozen.iter().sum::<u64>() * ROW_BYTES,
            };
            pace.added(group as f64 / GENERATION as f64, &room(&frozen), group_time, LONG);
            while pace.due(&room(&frozen)) > Duration::ZERO && !frozen.is_empty() {
                let rows = frozen[0].min((SLICE.as_nanos() / row.as_nanos()) as u64 * 2);
                let slice = Slice { rows, is_last: rows == frozen[0], duration: row * rows as u32 };
                pace.sliced(&slice);
                merged += slice.duration;
                match slice.is_last {
                    true => drop(frozen.remove(0)),
                    false => frozen[0] -= rows,
                }
            }
            group_max = pace.group_bytes_max(&room(&frozen)) as u64;
            longest = longest.max(merged);
        }
        (longest, had_no_room)
    }

    #[test]
    fn a_merge_ends_when_the_room_does_and_no_group_waits_long() {
        for (group, row_us) in [(10 << 10, 2), (10 << 10, 5), (160 << 10, 3), (160 << 10, 10), (1 << 20, 10)] {
            let (longest, had_no_room) = run(group, Duration::from_micros(200), Duration::from_micros(row_us), 4000);
            assert!(!had_no_room, "groups of {group}, {row_us} us a row");
            // The last slice of a step may begin just before its end.
            assert!(longest <= STEP_MAX + 3 * SLICE, "{longest:?}: groups of {group}, {row_us} us a row");
        }
    }

    #[test]
    fn few_groups_are_merged_in_time_too() {
        let room = Room { free: 3.0, rows_left: 10_000, bytes_left: 2_000_000 };
        let mut pace = Pace::default();
        assert_eq!(pace.due(&room), Duration::ZERO);
        pace.added(1e-5, &room, Duration::from_millis(1), Duration::from_secs(1));
        assert_eq!(pace.due(&room), Duration::ZERO, "a twentieth of a slice is not worth a transaction");
        pace.added(1e-5, &room, Duration::from_millis(100), Duration::from_secs(1));
        assert!(pace.due(&room) >= Duration::from_millis(5), "a tenth of 50 ms: {:?}", pace.due(&room));
        pace.added(1e-5, &room, Duration::from_secs(1), Duration::ZERO);
        assert_eq!(pace.due(&room), STEP_MAX);
        let little = Room { rows_left: 10, ..room };
        let mut pace = Pace::default();
        for _ in 0..9 {
            pace.added(1e-5, &little, Duration::from_millis(100), Duration::from_secs(1));
            assert_eq!(pace.due(&little), Duration::ZERO);
        }
        pace.added(1e-5, &little, Duration::from_millis(200), Duration::from_secs(1));
        assert!(pace.due(&little) > Duration::ZERO, "however little is left");
        pace.sliced(&Slice { rows: 10, is_last: true, duration: STEP_MAX });
        assert_eq!(pace.due(&room), Duration::ZERO);
    }
}
