//! The one table of the service's figures: INFO, /metrics and status.json take from it what each shows, under its own names and in its own
//! order. A figure is one number for the whole service; what is counted for each command or process has tables of its own.

use crate::kv::metrics::statistics::{Counted, Totals};
use crate::kv::shared::hand_offs::{HandOff, HandOffs};

pub struct Figure {
    pub source: Source,
    pub kind: Kind,
    pub unit: Unit,
    pub help: &'static str,
    /// Its fields in INFO; "": none.
    pub info: [&'static str; 2],
    /// Its family in /metrics, without the prefix and without the suffix of a counter; "": none.
    pub metric: &'static str,
    /// Its place in status.json, "object.member"; "": none.
    pub status: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub enum Source {
    Counted(Counted),
    HandOff(HandOff),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Grows; CONFIG RESETSTAT begins it anew. Over all processes the sum.
    Counter,
    /// A state. Over all processes the sum.
    Gauge,
    /// The largest of all processes. CONFIG RESETSTAT begins it anew.
    Max,
    /// The same, and RESETSTAT leaves it.
    LastingMax,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Count,
    Bytes,
    Microseconds,
    Milliseconds,
    /// Since 1970.
    Seconds,
    /// 1 for yes: a truth value in status.json.
    Flag,
}

use Counted as C;
use Kind::{Counter, Gauge, LastingMax, Max};
use Unit::{Bytes, Count, Flag, Microseconds, Milliseconds, Seconds};

pub const FIGURES: &[Figure] = &[
    of(C::CommandsTotal, Counter, Count, "Calls that ran.").info("total_commands_processed").status("commands.total"),
    of(C::ErrorRepliesTotal, Counter, Count, "Error replies.")
        .info("total_error_replies")
        .status("commands.errors_total"),
    of(C::PanicsTotal, Counter, Count, "Commands that failed by a fault of the program.")
        .info("unexpected_error_replies")
        .and_info("panics")
        .metric("panics"),
    of(C::KeyHitsTotal, Counter, Count, "Reads that found their key.")
        .info("keyspace_hits")
        .metric("keyspace_hits")
        .status("keyspace.hits_total"),
    of(C::KeyMissesTotal, Counter, Count, "Reads that found no key.")
        .info("keyspace_misses")
        .metric("keyspace_misses")
        .status("keyspace.misses_total"),
    of(C::ExpiredKeysTotal, Counter, Count, "Keys removed because their time was over.")
        .info("expired_keys")
        .metric("expired_keys")
        .status("keyspace.expired_total"),
    of(C::CacheHitsTotal, Counter, Count, "Reads answered from the cache.")
        .info("cache_hits")
        .metric("cache_hits")
        .status("cache.hits_total"),
    of(C::CacheMissesTotal, Counter, Count, "Reads that the cache could not answer.")
        .info("cache_misses")
        .metric("cache_misses")
        .status("cache.misses_total"),
    of(C::MemtableHitsTotal, Counter, Count, "Reads answered from the memtable.")
        .info("memtable_hits")
        .metric("memtable_hits")
        .status("memtable.hits_total"),
    of(C::CacheKeys, Gauge, Count, "Keys in the cache.").info("cache_keys").metric("cache_keys").status("cache.keys"),
    of(C::CacheBytes, Gauge, Bytes, "Memory of the cache in use.")
        .info("cache_bytes")
        .metric("cache_bytes")
        .status("cache.bytes"),
    of(C::AuthFailuresTotal, Counter, Count, "Wrong passwords.").info("acl_access_denied_auth").metric("auth_failures"),
    of(C::DeniedCommandsTotal, Counter, Count, "Calls of commands that their user may not run.")
        .info("acl_access_denied_cmd")
        .metric("denied_commands"),
    of(C::DeniedKeysTotal, Counter, Count, "Calls with a key that their user may not use.")
        .info("acl_access_denied_key")
        .metric("denied_keys"),
    of(C::DeniedChannelsTotal, Counter, Count, "Calls with a channel that their user may not use.")
        .info("acl_access_denied_channel")
        .metric("denied_channels"),
    of(C::DeniedTotal, Counter, Count, "Connections turned away because they are not allowed here."),
    of(C::QueryLimitTotal, Counter, Count, "Clients closed for a too long request.")
        .info("client_query_buffer_limit_disconnections"),
    of(C::OutputLimitTotal, Counter, Count, "Clients closed for too many unread replies.")
        .info("client_output_buffer_limit_disconnections"),
    of(C::EvictedClientsTotal, Counter, Count, "Clients closed because all together took too much memory.")
        .info("evicted_clients")
        .metric("clients_evicted"),
    of(C::CachedScripts, Gauge, Count, "Scripts that EVALSHA finds.")
        .info("number_of_cached_scripts")
        .metric("scripts"),
    of(C::Libraries, Gauge, Count, "Libraries of functions.").info("number_of_libraries").metric("libraries"),
    of(C::Functions, Gauge, Count, "Functions of libraries.").info("number_of_functions").metric("functions"),
    of(C::SourceBytes, Gauge, Bytes, "Sources of scripts and libraries that processes have in memory.")
        .metric("script_source_bytes"),
    of(C::InterpreterBytes, Gauge, Bytes, "Memory of the interpreters of scripts.").metric("script_interpreter_bytes"),
    of(C::EvictedScriptsTotal, Counter, Count, "Scripts that EVAL brought and that had to go for others.")
        .info("evicted_scripts")
        .metric("scripts_evicted"),
    of(C::ScriptsEndedTotal, Counter, Count, "Scripts that were ended for want of time or memory, or by SCRIPT KILL.")
        .info("ended_scripts")
        .metric("scripts_ended"),
    of(C::Monitors, Gauge, Count, "Clients that watch by MONITOR."),
    of(C::BlockedClients, Gauge, Count, "Clients whose command waits for something to happen.").info("blocked_clients"),
    of(C::BlockingKeys, Gauge, Count, "Keys that clients wait for.").info("total_blocking_keys"),
    of(C::WatchingClients, Gauge, Count, "Clients with a WATCH.").info("watching_clients"),
    of(C::WatchedKeys, Gauge, Count, "Keys that clients watch.").info("total_watched_keys"),
    of(C::TrackingClients, Gauge, Count, "Clients that are told of changed keys: CLIENT TRACKING.")
        .info("tracking_clients")
        .metric("tracking_clients")
        .status("tracking.clients"),
    of(C::TrackedKeys, Gauge, Count, "Keys that they have read and may keep, each worker's clients for themselves.")
        .info("tracking_total_keys")
        .metric("tracked_keys")
        .status("tracking.keys"),
    of(C::TrackedItems, Gauge, Count, "Clients of these keys.").info("tracking_total_items"),
    of(C::TrackedPrefixes, Gauge, Count, "Prefixes of which they are told of every key.")
        .info("tracking_total_prefixes"),
    of(C::Subscribers, Gauge, Count, "Clients that are subscribed to channels or patterns.")
        .metric("subscribers")
        .status("channels.subscribers"),
    of(C::Channels, Gauge, Count, "Channels with subscribers.")
        .info("pubsub_channels")
        .metric("channels")
        .status("channels.open"),
    of(C::ShardChannels, Gauge, Count, "Shard channels with subscribers.").info("pubsubshard_channels"),
    of(C::PublishedTotal, Counter, Count, "Messages that were published.")
        .metric("messages_published")
        .status("channels.published_total"),
    of(C::DeliveredTotal, Counter, Count, "Messages that subscribers were sent.")
        .metric("messages_delivered")
        .status("channels.delivered_total"),
    of(C::BusMessagesTotal, Counter, Count, "Published messages that went to another worker.")
        .metric("messages_between_workers"),
    of(C::SubscribersClosedTotal, Counter, Count, "Subscribers closed because messages did not get to their worker.")
        .metric("subscribers_closed"),
    of(C::GroupsTotal, Counter, Count, "Groups of commands that were committed.")
        .info("groups")
        .metric("groups")
        .status("writer.groups_total"),
    of(C::GroupJobsTotal, Counter, Count, "Jobs in them: a pipeline is one.")
        .info("group_jobs")
        .metric("group_jobs")
        .status("writer.jobs_total"),
    of(C::GroupCommandsTotal, Counter, Count, "Commands in them.")
        .info("group_commands")
        .status("writer.commands_total"),
    of(C::GroupCommandsMax, Max, Count, "Commands of the largest group.").info("group_commands_max"),
    of(C::GroupFailuresTotal, Counter, Count, "Groups that failed and were undone.")
        .info("group_failures")
        .metric("group_failures")
        .status("writer.failures_total"),
    of(C::CommitMicrosecondsTotal, Counter, Microseconds, "From groups' first commands to the ends of their commits.")
        .info("commit_usec"),
    of(C::CommitMicrosecondsMax, Max, Microseconds, "The longest of them.").info("commit_usec_max"),
    of(C::CheckpointsTotal, Counter, Count, "Checkpoint passes.")
        .info("rdb_saves")
        .and_info("checkpoints")
        .status("checkpoints.total"),
    of(C::CheckpointMicrosecondsTotal, Counter, Microseconds, "Time of checkpoint passes.")
        .info("checkpoint_usec")
        .status("checkpoints.us_total"),
    of(
        C::CheckpointMicrosecondsMax,
        Max,
        Microseconds,
        "The longest WAL restart: the writer does nothing else meanwhile.",
    )
    .info("checkpoint_stall_usec_max"),
    of(C::LastCheckpointSeconds, LastingMax, Seconds, "When all was last in the data file; 0: not since the start.")
        .metric("last_checkpoint_timestamp_seconds"),
    of(C::LastCheckpointFailed, Gauge, Flag, "1 after a checkpoint that failed.")
        .metric("last_checkpoint_failed")
        .status("checkpoints.last_failed"),
    of(C::ChangesSinceCheckpoint, Gauge, Count, "Changes that are not in the data file yet.")
        .info("rdb_changes_since_last_save")
        .and_info("changes_since_checkpoint"),
    of(C::SyncsTotal, Counter, Count, "Syncs beside the commits, with durability everysec.").info("syncs"),
    of(C::WalBytes, Gauge, Bytes, "What the write-ahead file holds.")
        .info("aof_current_size")
        .and_info("wal_bytes")
        .metric("wal_bytes")
        .status("wal.bytes"),
    of(C::DataBytes, Gauge, Bytes, "The data file.")
        .info("aof_base_size")
        .and_info("data_bytes")
        .metric("data_bytes")
        .status("disk.data_bytes"),
    of(C::DiskFreeBytes, Gauge, Bytes, "What the disk has left.")
        .info("disk_free_bytes")
        .metric("disk_free_bytes")
        .status("disk.free_bytes"),
    handed(HandOff::DiskNearlyFull, "1 while nothing may grow because the disk is nearly full.")
        .info("disk_nearly_full")
        .metric("disk_nearly_full")
        .status("disk.is_nearly_full"),
    handed(HandOff::WritesFailing, "1 while the disk takes no writes.")
        .info("writes_failing")
        .metric("writes_failing")
        .status("writer.writes_failing"),
    of(
        C::UnmergedBytes,
        Gauge,
        Bytes,
        "Changes that are committed and wait for their merge: in the journal and in memory.",
    )
    .info("unmerged_bytes")
    .metric("unmerged_bytes")
    .status("merge.unmerged_bytes"),
    of(C::UnmergedRows, Gauge, Count, "Rows that they have.")
        .info("unmerged_rows")
        .metric("unmerged_rows")
        .status("merge.unmerged_rows"),
    of(C::UnmergedGenerations, Gauge, Count, "Generations that they lie in, of 4.")
        .info("unmerged_generations")
        .metric("unmerged_generations")
        .status("merge.unmerged_generations"),
    of(C::MergeLagMs, Gauge, Milliseconds, "How old the oldest of them is: so old is what sqlite3 shows.")
        .info("merge_lag_ms")
        .status("merge.lag_ms"),
    of(C::MergesTotal, Counter, Count, "Generations that were merged into the tables.")
        .info("merges")
        .metric("merges")
        .status("merge.total"),
    of(C::MergedRowsTotal, Counter, Count, "Rows that merges wrote.")
        .info("merged_rows")
        .metric("merged_rows")
        .status("merge.rows_total"),
    of(C::MergeSlicesTotal, Counter, Count, "Transactions of merges, each about a millisecond between two groups.")
        .info("merge_slices")
        .metric("merge_slices")
        .status("merge.slices_total"),
    of(C::MergeMicrosecondsTotal, Counter, Microseconds, "Time of the writer that merges took.")
        .info("merge_usec")
        .status("merge.us_total"),
    of(C::MergePausesTotal, Counter, Count, "Groups that had to wait until a generation was merged.")
        .info("merge_pauses")
        .metric("merge_pauses")
        .status("merge.pauses_total"),
    of(C::RowsLeftOutTotal, Counter, Count, "Rows that could not be merged and were put aside, in the table left_out.")
        .info("rows_left_out")
        .metric("rows_left_out")
        .status("merge.rows_left_out_total"),
    of(C::MemoryBytesMax, LastingMax, Bytes, "The most memory of all processes together that a worker has seen."),
];

const fn of(counted: Counted, kind: Kind, unit: Unit, help: &'static str) -> Figure {
    Figure { source: Source::Counted(counted), kind, unit, help, info: ["", ""], metric: "", status: "" }
}

const fn handed(word: HandOff, help: &'static str) -> Figure {
    Figure { source: Source::HandOff(word), kind: Gauge, unit: Flag, help, info: ["", ""], metric: "", status: "" }
}

impl Figure {
    const fn info(mut self, field: &'static str) -> Figure {
        self.info[0] = field;
        self
    }

    /// Redis has the same figure under a name of its own.
    const fn and_info(mut self, field: &'static str) -> Figure {
        self.info[1] = field;
        self
    }

    const fn metric(mut self, family: &'static str) -> Figure {
        self.metric = family;
        self
    }

    const fn status(mut self, place: &'static str) -> Figure {
        self.status = place;
        self
    }

    /// Of the whole service.
    #[must_use]
    pub fn value(&self, totals: &Totals, hand_offs: &HandOffs) -> u64 {
        match (self.source, self.kind) {
            (Source::Counted(counted), Counter | Gauge) => totals.sum(counted),
            (Source::Counted(counted), Max | LastingMax) => totals.max(counted),
            (Source::HandOff(word), _) => hand_offs.read(word),
        }
    }

    /// The counter that CONFIG RESETSTAT leaves as it is, if this is one.
    #[must_use]
    pub fn kept(&self) -> Option<usize> {
        match self.source {
            Source::Counted(counted) if matches!(self.kind, Gauge | LastingMax) => Some(counted as usize),
            _ => None,
        }
    }

    /// The one with this field of INFO.
    #[must_use]
    pub fn of_info(field: &str) -> &'static Figure {
        FIGURES.iter().find(|figure| figure.info.contains(&field)).expect("INFO asks for fields of the table")
    }

    /// The one with this family of /metrics.
    #[must_use]
    pub fn of_metric(family: &str) -> &'static Figure {
        FIGURES.iter().find(|figure| figure.metric == family).expect("/metrics asks for families of the table")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_in_the_table_once() {
        let mut counters: Vec<usize> = FIGURES
            .iter()
            .filter_map(|figure| match figure.source {
                Source::Counted(counted) => Some(counted as usize),
                Source::HandOff(_) => None,
            })
            .collect();
        counters.sort_unstable();
        assert_eq!(counters, (0..=Counted::MemoryBytesMax as usize).collect::<Vec<_>>());
    }

    /// What is in the table is shown, and once: the golden files say how.
    #[test]
    fn every_name_of_the_table_is_shown_once() {
        let count = |text: &str, line: &str| text.lines().filter(|shown| shown.starts_with(line)).count();
        let (info, metrics) = (include_str!("testdata/info.txt"), include_str!("testdata/metrics.txt"));
        for figure in FIGURES {
            // INFO shows those of an append-only file only where CONFIG calls it one.
            for field in figure.info.into_iter().filter(|field| !field.is_empty() && !field.starts_with("aof_")) {
                assert_eq!(count(info, &format!("{field}:")), 1, "{field}");
            }
            if !figure.metric.is_empty() {
                let total = if figure.kind == Counter { "_total" } else { "" };
                assert_eq!(count(metrics, &format!("emptyserver_{}{total} ", figure.metric)), 1, "{}", figure.metric);
            }
        }
        let names = |name: fn(&Figure) -> [&'static str; 2]| {
            let mut names: Vec<_> = FIGURES.iter().flat_map(name).filter(|name| !name.is_empty()).collect();
            names.sort_unstable();
            let all = names.len();
            names.dedup();
            assert_eq!(names.len(), all);
        };
        names(|figure| figure.info);
        names(|figure| [figure.metric, ""]);
        names(|figure| [figure.status, ""]);
    }
}
