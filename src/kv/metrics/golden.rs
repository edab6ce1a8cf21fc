//! Counters with fixed values, for the tests that compare INFO, /metrics and status.json byte for byte with the files in `testdata`. Values
//! that time or the machine decides are left out. `EMPTYSERVER_GOLDEN=write cargo test figures_are` writes the files anew.

use crate::kv::metrics::statistics::{Counted, Measured, Statistics};
use crate::server::counters::{Counter, Global, SERVING, Scoreboard};

const COUNTED: &[Counted] = &[
    Counted::CommandsTotal,
    Counted::ErrorRepliesTotal,
    Counted::KeyHitsTotal,
    Counted::KeyMissesTotal,
    Counted::CacheHitsTotal,
    Counted::CacheMissesTotal,
    Counted::CacheKeys,
    Counted::CacheBytes,
    Counted::ExpiredKeysTotal,
    Counted::AuthFailuresTotal,
    Counted::DeniedTotal,
    Counted::QueryLimitTotal,
    Counted::OutputLimitTotal,
    Counted::EvictedClientsTotal,
    Counted::BlockedClients,
    Counted::WatchingClients,
    Counted::WatchedKeys,
    Counted::GroupsTotal,
    Counted::GroupJobsTotal,
    Counted::GroupCommandsTotal,
    Counted::GroupCommandsMax,
    Counted::CommitMicrosecondsTotal,
    Counted::CommitMicrosecondsMax,
    Counted::GroupFailuresTotal,
    Counted::CheckpointsTotal,
    Counted::CheckpointMicrosecondsTotal,
    Counted::CheckpointMicrosecondsMax,
    Counted::LastCheckpointSeconds,
    Counted::LastCheckpointFailed,
    Counted::WalBytes,
    Counted::DataBytes,
    Counted::DiskFreeBytes,
    Counted::SyncsTotal,
    Counted::ChangesSinceCheckpoint,
    Counted::PanicsTotal,
    Counted::MemoryBytesMax,
    Counted::MemtableHitsTotal,
    Counted::UnmergedBytes,
    Counted::UnmergedRows,
    Counted::UnmergedGenerations,
    Counted::MergeLagMs,
    Counted::MergesTotal,
    Counted::MergedRowsTotal,
    Counted::MergeSlicesTotal,
    Counted::MergeMicrosecondsTotal,
    Counted::MergePausesTotal,
    Counted::RowsLeftOutTotal,
    Counted::TrackingClients,
    Counted::TrackedKeys,
    Counted::TrackedItems,
    Counted::TrackedPrefixes,
    Counted::Subscribers,
    Counted::Channels,
    Counted::ShardChannels,
    Counted::PublishedTotal,
    Counted::DeliveredTotal,
    Counted::BusMessagesTotal,
    Counted::SubscribersClosedTotal,
    Counted::BlockingKeys,
    Counted::DeniedCommandsTotal,
    Counted::DeniedKeysTotal,
    Counted::DeniedChannelsTotal,
];

/// What is not the same at all times, or on all machines: names in INFO, families of /metrics, keys of status.json.
const VARYING: &[&str] = &[
    "os",
    "arch_bits",
    "process_id",
    "run_id",
    "server_time_usec",
    "uptime_in_seconds",
    "uptime_in_days",
    "lru_clock",
    "executable",
    "instantaneous_ops_per_sec",
    "redis_git_sha1",
    "redis_build_id",
    "master_replid",
    "log_lines_dropped",
    "worker0",
    "worker1",
    "total_net_input_bytes",
    "emptyserver_build_info",
    "emptyserver_start_time_seconds",
    "emptyserver_log_lines_dropped",
    "commit",
    "now_ms",
    "uptime_seconds",
    "heartbeat_age_ms",
    "redis_version",
    "emptyserver_version",
    "version",
    "rdb_last_save_time",
];

/// Each figure is another number, and another one in each process.
pub(crate) fn fill(scoreboard: Scoreboard) {
    for (place, slot) in (1..).zip(scoreboard.slots()) {
        let statistics = Statistics::new(scoreboard, slot);
        for (number, counted) in (1..).zip(COUNTED) {
            statistics.set(*counted, 1000 * number + place);
        }
        [Measured::Commit, Measured::Sync, Measured::Checkpoint, Measured::Group]
            .into_iter()
            .zip(1..)
            .for_each(|(measured, number)| statistics.measured(measured, 100 * number + place));
        statistics.set_keys(3, 40 + place, 20);
        scoreboard.set(slot, Counter::State, SERVING);
        let core = [
            Counter::AcceptedTotal,
            Counter::TurnedAwayTotal,
            Counter::InputBytesTotal,
            Counter::OutputBytesTotal,
            Counter::ConnectionsBytes,
            Counter::ResidentBytes,
            Counter::AnonymousBytes,
            Counter::UserMs,
            Counter::SystemMs,
        ];
        for (number, counter) in (1..).zip(core) {
            scoreboard.set(slot, counter, 100_000 * number + place);
        }
    }
    scoreboard.global(Global::ConnectionsMax).store(4321, std::sync::atomic::Ordering::Relaxed);
}

/// The lines, those of varying figures with their names only.
fn settled(text: &str) -> String {
    let line = |line: &str| {
        // The length of a reply.
        let line = if line.starts_with('$') { "$" } else { line };
        let name = line.trim_start().trim_start_matches('"');
        let name: String = name.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
        if VARYING.contains(&name.as_str()) { format!("{name} varies\n") } else { format!("{}\n", line.trim_end()) }
    };
    text.lines().map(line).collect()
}

pub(crate) fn compare(file: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kv/metrics/testdata").join(file);
    let text = settled(text);
    if option_env!("EMPTYSERVER_GOLDEN") == Some("write") {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (number, (line, expected)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(line, expected, "{file}, line {}", number + 1);
    }
    assert_eq!(text.lines().count(), golden.lines().count(), "{file}");
}
