//! What each process counts for INFO and the metrics, as numbered counters of its own in shared memory.

use std::sync::atomic::Ordering;

use crate::kv::metrics::figures::{FIGURES, Figure};
use crate::server::{Counter, Global, Scoreboard, Slot};

/// Counters that are not about one command.
#[derive(Clone, Copy, Debug)]
pub enum Counted {
    CommandsTotal,
    ErrorRepliesTotal,
    KeyHitsTotal,
    KeyMissesTotal,
    /// Calls that a worker's cache answered, and those that it might have answered but did not know.
    CacheHitsTotal,
    CacheMissesTotal,
    /// Calls that were answered on a loop with a row of the memtable.
    MemtableHitsTotal,
    /// Of a worker's cache: keys, and bytes in use.
    CacheKeys,
    CacheBytes,
    ExpiredKeysTotal,
    AuthFailuresTotal,
    /// Calls that their user may not run, or whose key or channel it may not use.
    DeniedCommandsTotal,
    DeniedKeysTotal,
    DeniedChannelsTotal,
    DeniedTotal,
    /// Clients that were closed because of too long requests, or too many unread replies.
    QueryLimitTotal,
    OutputLimitTotal,
    /// Clients that were closed because all together had too much.
    EvictedClientsTotal,
    /// Clients in the subscribe, monitor or blocked states, and with a WATCH.
    Monitors,
    BlockedClients,
    WatchingClients,
    WatchedKeys,
    /// Clients that track keys; of the table of a worker: keys, clients of keys, and prefixes.
    TrackingClients,
    TrackedKeys,
    TrackedItems,
    TrackedPrefixes,
    /// Clients that are subscribed to something, and the channels of which no worker before this one has subscribers.
    Subscribers,
    Channels,
    ShardChannels,
    /// Calls of PUBLISH and SPUBLISH, messages that clients got, and messages between workers.
    PublishedTotal,
    DeliveredTotal,
    BusMessagesTotal,
    /// Clients that were closed because messages of another worker did not get to theirs.
    SubscribersClosedTotal,
    // The writer's:
    BlockingKeys,
    GroupsTotal,
    GroupJobsTotal,
    GroupCommandsTotal,
    GroupCommandsMax,
    CommitMicrosecondsTotal,
    CommitMicrosecondsMax,
    GroupFailuresTotal,
    CheckpointsTotal,
    CheckpointMicrosecondsTotal,
    CheckpointMicrosecondsMax,
    LastCheckpointSeconds,
    LastCheckpointFailed,
    WalBytes,
    DataBytes,
    DiskFreeBytes,
    SyncsTotal,
    ChangesSinceCheckpoint,
    PanicsTotal,
    /// What is committed and not in the tables: it lies in the journal and in memory.
    UnmergedBytes,
    UnmergedRows,
    UnmergedGenerations,
    MergeLagMs,
    MergesTotal,
    MergedRowsTotal,
    MergeSlicesTotal,
    MergeMicrosecondsTotal,
    MergePausesTotal,
    RowsLeftOutTotal,
    /// Of scripts: those that EVALSHA finds, libraries of functions and what is in them; bytes of all sources that are known, and of the
    /// interpreters; those that had to go for others, and scripts that were ended before they did.
    CachedScripts,
    Libraries,
    Functions,
    SourceBytes,
    InterpreterBytes,
    EvictedScriptsTotal,
    ScriptsEndedTotal,
    /// The most memory of all processes together that this worker has seen.
    MemoryBytesMax,
}
const COUNTED: usize = Counted::MemoryBytesMax as usize + 1;

/// Per database: keys, and those of them that expire, written by the writer after each commit; and how long these have left.
const DATABASES: usize = 16;

/// Error codes that are counted by name; others count as the last.
pub const ERROR_CODES: [&str; 21] = [
    "ERR",
    "WRONGTYPE",
    "NOAUTH",
    "WRONGPASS",
    "NOPERM",
    "EXECABORT",
    "MISCONF",
    "OOM",
    "BUSYKEY",
    "NOPROTO",
    "DENIED",
    "LOADING",
    "NOSCRIPT",
    "UNKILLABLE",
    "BUSY",
    "NOTBUSY",
    "READONLY",
    "UNBLOCKED",
    "NOGROUP",
    "BUSYGROUP",
    "OTHER",
];

/// Buckets of everything that is measured: up to 1, 2, 4, … (microseconds where it is a time); the last takes the rest.
pub const BUCKETS: usize = 28;

/// What is measured beside the commands, each with its sum and its buckets.
#[derive(Clone, Copy, Debug)]
pub enum Measured {
    /// Microseconds from the first command of a group to the end of its COMMIT.
    Commit,
    /// Microseconds of a sync by the sync thread (durability `everysec`).
    Sync,
    /// Microseconds of a checkpoint pass.
    Checkpoint,
    /// Commands of a group.
    Group,
}
const MEASURED: usize = Measured::Group as usize + 1;
const PER_MEASURED: usize = 1 + BUCKETS;

/// Of each command.
#[derive(Clone, Copy, Debug)]
pub enum OfCommand {
    Calls,
    Microseconds,
    /// Refused before they ran.
    Rejected,
    /// Ran and answered with an error.
    Failed,
}
const PER_COMMAND: usize = 4 + BUCKETS;

const DATABASE_START: usize = COUNTED;
const TTL_START: usize = DATABASE_START + 2 * DATABASES;
const ERROR_START: usize = TTL_START + DATABASES;
const MEASURED_START: usize = ERROR_START + ERROR_CODES.len();
const COMMAND_START: usize = MEASURED_START + PER_MEASURED * MEASURED;

/// How many counters each process needs; `rows`: of the command table.
#[must_use]
pub fn counters(rows: usize) -> usize {
    COMMAND_START + PER_COMMAND * rows
}

/// One process's counters.
#[derive(Clone, Copy)]
pub struct Statistics {
    scoreboard: Scoreboard,
    slot: Slot,
}

impl Statistics {
    #[must_use]
    pub fn new(scoreboard: Scoreboard, slot: Slot) -> Statistics {
        Statistics { scoreboard, slot }
    }

    pub fn add(&self, which: Counted, count: u64) {
        self.scoreboard.application(self.slot, which as usize).fetch_add(count, Ordering::Relaxed);
    }

    pub fn set(&self, which: Counted, value: u64) {
        self.scoreboard.application(self.slot, which as usize).store(value, Ordering::Relaxed);
    }

    #[must_use]
    pub fn read(&self, which: Counted) -> u64 {
        self.scoreboard.application(self.slot, which as usize).load(Ordering::Relaxed)
    }

    pub fn raise(&self, which: Counted, value: u64) {
        self.scoreboard.application(self.slot, which as usize).fetch_max(value, Ordering::Relaxed);
    }

    /// One more of these.
    pub fn measured(&self, which: Measured, value: u64) {
        let first = MEASURED_START + PER_MEASURED * which as usize;
        for (index, count) in [(first, value), (first + 1 + bucket(value), 1)] {
            self.scoreboard.application(self.slot, index).fetch_add(count, Ordering::Relaxed);
        }
    }

    pub fn set_keys(&self, database: u8, keys: u64, expires: u64) {
        let first = DATABASE_START + 2 * usize::from(database);
        self.scoreboard.application(self.slot, first).store(keys, Ordering::Relaxed);
        self.scoreboard.application(self.slot, first + 1).store(expires, Ordering::Relaxed);
    }

    /// How many milliseconds the keys that expire have left, on average.
    pub fn set_average_ttl(&self, database: u8, ttl_ms: u64) {
        self.scoreboard.application(self.slot, TTL_START + usize::from(database)).store(ttl_ms, Ordering::Relaxed);
    }

    /// Calls that ran, all of one command, and how many of them lie in each bucket. `command` is the row's number.
    pub fn called(
        &self,
        command: u16,
        calls: u64,
        failed: u64,
        duration_us: u64,
        buckets: impl Iterator<Item = (usize, u64)>,
    ) {
        let first = COMMAND_START + PER_COMMAND * usize::from(command);
        let add = |index: usize, count| {
            self.scoreboard.application(self.slot, first + index).fetch_add(count, Ordering::Relaxed)
        };
        add(OfCommand::Calls as usize, calls);
        if duration_us > 0 {
            add(OfCommand::Microseconds as usize, duration_us);
        }
        buckets.for_each(|(bucket, count)| {
            add(4 + bucket, count);
        });
        if failed > 0 {
            add(OfCommand::Failed as usize, failed);
        }
        self.add(Counted::CommandsTotal, calls);
    }

    /// A call that was refused before it ran.
    pub fn rejected(&self, command: u16) {
        let index = COMMAND_START + PER_COMMAND * usize::from(command) + OfCommand::Rejected as usize;
        self.scoreboard.application(self.slot, index).fetch_add(1, Ordering::Relaxed);
    }

    /// An error reply, by the code that its text begins with.
    pub fn error_replied(&self, text: &str) {
        let code = text.split(' ').next().unwrap_or("");
        let index = ERROR_CODES.iter().position(|known| *known == code).unwrap_or(ERROR_CODES.len() - 1);
        self.scoreboard.application(self.slot, ERROR_START + index).fetch_add(1, Ordering::Relaxed);
        self.add(Counted::ErrorRepliesTotal, 1);
    }
}

/// The bucket of a value.
#[must_use]
pub fn bucket(value: u64) -> usize {
    let power = u64::BITS - value.saturating_sub(1).leading_zeros();
    (power as usize).min(BUCKETS - 1)
}

/// What this share of the values stayed within: within a bucket they count as evenly spread.
#[must_use]
pub fn percentile(buckets: &[u64; BUCKETS], share: f64) -> f64 {
    let wanted = buckets.iter().sum::<u64>() as f64 * share;
    let mut below = 0.0;
    for (power, &count) in buckets.iter().enumerate().filter(|&(_, &count)| count > 0) {
        let upper = 2_f64.powi(power as i32);
        let lower = if power == 0 { 0.0 } else { upper / 2.0 };
        if below + count as f64 >= wanted {
            return lower + (upper - lower) * (wanted - below) / count as f64;
        }
        below += count as f64;
    }
    0.0
}

/// The whole service's sums.
#[derive(Clone, Copy)]
pub struct Totals(pub Scoreboard);

impl Totals {
    #[must_use]
    pub fn sum(&self, which: Counted) -> u64 {
        self.0.application_sum(which as usize)
    }

    #[must_use]
    pub fn of(&self, slot: Slot, which: Counted) -> u64 {
        self.0.application(slot, which as usize).load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn max(&self, which: Counted) -> u64 {
        self.0.slots().map(|slot| self.of(slot, which)).max().unwrap_or(0)
    }

    /// (keys, keys that expire)
    #[must_use]
    pub fn keys(&self, database: u8) -> (u64, u64) {
        let first = DATABASE_START + 2 * usize::from(database);
        (self.0.application_sum(first), self.0.application_sum(first + 1))
    }

    #[must_use]
    pub fn average_ttl_ms(&self, database: u8) -> u64 {
        self.0.application_sum(TTL_START + usize::from(database))
    }

    #[must_use]
    pub fn errors(&self, code: usize) -> u64 {
        self.0.application_sum(ERROR_START + code)
    }

    #[must_use]
    pub fn command(&self, command: u16, which: OfCommand) -> u64 {
        self.0.application_sum(COMMAND_START + PER_COMMAND * usize::from(command) + which as usize)
    }

    #[must_use]
    pub fn buckets(&self, command: u16) -> [u64; BUCKETS] {
        let first = COMMAND_START + PER_COMMAND * usize::from(command) + 4;
        std::array::from_fn(|bucket| self.0.application_sum(first + bucket))
    }

    /// The sum of all values, and how many of them lie in each bucket.
    #[must_use]
    pub fn measured(&self, which: Measured) -> (u64, [u64; BUCKETS]) {
        let first = MEASURED_START + PER_MEASURED * which as usize;
        (self.0.application_sum(first), std::array::from_fn(|bucket| self.0.application_sum(first + 1 + bucket)))
    }

    /// CONFIG RESETSTAT: everything that grows begins anew (`figures` says what that is). `rows`: of the command table.
    pub fn reset(&self, rows: usize) {
        let kept: Vec<usize> = FIGURES.iter().filter_map(Figure::kept).collect();
        let core = [
            Counter::AcceptedTotal,
            Counter::AcceptEmptyTotal,
            Counter::TurnedAwayTotal,
            Counter::InputBytesTotal,
            Counter::OutputBytesTotal,
            Counter::InputBytesMax,
            Counter::OutputBytesMax,
            Counter::BusDroppedTotal,
            Counter::HandshakesTotal,
            Counter::HandshakesFailedTotal,
            Counter::ProxyRefusedTotal,
        ];
        for slot in self.0.slots() {
            core.into_iter().for_each(|which| self.0.set(slot, which, 0));
        }
        for which in [Global::TlsReloads, Global::TlsReloadFailures] {
            self.0.global(which).store(0, Ordering::Relaxed);
        }
        for slot in self.0.slots() {
            for index in (0..counters(rows)).filter(|index| !kept.contains(index)) {
                if !(DATABASE_START..ERROR_START).contains(&index) {
                    self.0.application(slot, index).store(0, Ordering::Relaxed);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_the_bucket_of_the_next_power_of_two() {
        assert_eq!([0, 1, 2, 3, 4, 5, 1024, 1025].map(bucket), [0, 0, 1, 2, 2, 3, 10, 11]);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_lie_within_the_bucket_that_reaches_them() {
        let mut buckets = [0; BUCKETS];
        assert_eq!(percentile(&buckets, 0.5), 0.0);
        buckets[3] = 90;
        buckets[10] = 10;
        assert_eq!((percentile(&buckets, 0.45), percentile(&buckets, 0.9)), (6.0, 8.0));
        assert!((percentile(&buckets, 0.95) - 768.0).abs() < 1e-6);
    }

    #[test]
    fn counts_add_up_over_processes_and_a_reset_keeps_what_is_a_state() {
        let (rows, get) = (3, 2);
        let scoreboard = Scoreboard::new(2, counters(rows)).unwrap();
        for slot in scoreboard.workers() {
            let statistics = Statistics::new(scoreboard, slot);
            statistics.called(get, 1, 1, 3, [(bucket(3), 1)].into_iter());
            statistics.error_replied("WRONGTYPE Operation");
            statistics.error_replied("STRANGE thing");
            statistics.set(Counted::Monitors, 1);
            statistics.measured(Measured::Group, 5);
        }
        for which in [
            Counter::HandshakesTotal,
            Counter::HandshakesFailedTotal,
            Counter::ProxyRefusedTotal,
            Counter::TlsConnections,
        ] {
            scoreboard.add(Slot(0), which, 7);
        }
        for which in [Global::TlsReloads, Global::TlsReloadFailures, Global::TlsNotAfterSeconds] {
            scoreboard.global(which).store(7, Ordering::Relaxed);
        }
        let totals = Totals(scoreboard);
        let (sum, buckets) = totals.measured(Measured::Group);
        assert_eq!((sum, buckets[3], buckets.iter().sum::<u64>()), (10, 2, 2));
        assert_eq!((totals.command(get, OfCommand::Calls), totals.command(get, OfCommand::Failed)), (2, 2));
        assert_eq!((totals.buckets(get)[2], totals.errors(1), totals.errors(ERROR_CODES.len() - 1)), (2, 2, 2));
        totals.reset(rows);
        assert_eq!((totals.sum(Counted::CommandsTotal), totals.sum(Counted::Monitors)), (0, 2));
        let core = [
            Counter::HandshakesTotal,
            Counter::HandshakesFailedTotal,
            Counter::ProxyRefusedTotal,
            Counter::TlsConnections,
        ];
        assert_eq!(core.map(|which| scoreboard.sum(which)), [0, 0, 0, 7]);
        let globals = [Global::TlsReloads, Global::TlsReloadFailures, Global::TlsNotAfterSeconds];
        assert_eq!(globals.map(|which| scoreboard.global(which).load(Ordering::Relaxed)), [0, 0, 7]);
    }
}
