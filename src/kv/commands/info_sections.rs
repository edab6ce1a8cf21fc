//! The sections of INFO: the service's figures as text, from shared memory alone.
//!
//! Names and formats are those of Redis 7.2, as far as clients and exporters read them; what has no meaning here is left out,
//! or has the value that says so. `workers` and `writer` are ours.

use std::fmt::{self, Display, Write};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use crate::kv::commands::table;
use crate::kv::metrics::figures::Figure;
use crate::kv::metrics::statistics::{Counted, ERROR_CODES, OfCommand, percentile};
use crate::kv::sessions::publishing;
use crate::kv::sessions::worker_state::WorkerState;
use crate::kv::shared::hand_offs::HandOff;
use crate::kv::shared::parameters::is_log_synced;
use crate::kv::shared::program::{COMMIT, EMPTYSERVER_VERSION, REDIS_VERSION};
use crate::kv::shared::settings::Listening;
use crate::server::{Counter, Global, Slot, counters};
use crate::storage::{DATABASES, Durability};
use crate::sys::{clock, stderr};

pub struct Section {
    /// What INFO is asked for, lower case.
    pub name: &'static str,
    title: &'static str,
    /// Part of an INFO without arguments.
    pub is_default: bool,
    write: fn(&WorkerState, &mut Report),
}

const fn section(name: &'static str, title: &'static str, write: fn(&WorkerState, &mut Report)) -> Section {
    Section { name, title, is_default: true, write }
}

const fn on_request(name: &'static str, title: &'static str, write: fn(&WorkerState, &mut Report)) -> Section {
    Section { name, title, is_default: false, write }
}

/// In the order in which they are shown.
pub const SECTIONS: &[Section] = &[
    section("server", "Server", server),
    section("clients", "Clients", clients),
    section("memory", "Memory", memory),
    section("persistence", "Persistence", persistence),
    section("stats", "Stats", stats),
    section("replication", "Replication", replication),
    section("cpu", "CPU", cpu),
    section("modules", "Modules", |_, _| {}),
    on_request("commandstats", "Commandstats", commandstats),
    section("errorstats", "Errorstats", errorstats),
    on_request("latencystats", "Latencystats", latencystats),
    section("cluster", "Cluster", |_, report| report.line("cluster_enabled", 0)),
    section("keyspace", "Keyspace", keyspace),
    section("workers", "Workers", workers),
    section("writer", "Writer", writer),
];

/// The text of these sections.
#[must_use]
pub fn report<'a>(worker: &WorkerState, sections: impl Iterator<Item = &'a Section>) -> String {
    let mut report = Report(String::with_capacity(8 << 10));
    for section in sections {
        if !report.0.is_empty() {
            report.0.push_str("\r\n");
        }
        report.text(format_args!("# {}", section.title));
        (section.write)(worker, &mut report);
    }
    report.0
}

struct Report(String);

impl Report {
    fn line(&mut self, name: impl Display, value: impl Display) {
        self.text(format_args!("{name}:{value}"));
    }

    fn figure(&mut self, worker: &WorkerState, field: &str) {
        self.line(field, Figure::of_info(field).value(&worker.totals, &worker.shared.hand_offs));
    }

    fn figures(&mut self, worker: &WorkerState, fields: &[&str]) {
        fields.iter().for_each(|field| self.figure(worker, field));
    }

    /// A number of bytes, and once more for people.
    fn bytes(&mut self, name: &str, bytes: u64) {
        self.line(name, bytes);
        self.line(format_args!("{name}_human"), Human(bytes));
    }

    fn text(&mut self, text: fmt::Arguments<'_>) {
        write!(self.0, "{text}\r\n").expect("a string takes all text");
    }
}

/// As `bytesToHuman` of Redis.
struct Human(u64);

impl Display for Human {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let power = (0..5).rev().find(|power| self.0 >= 1024_u64.pow(power + 1));
        match power {
            None => write!(out, "{}B", self.0),
            Some(power) => {
                let unit = ['K', 'M', 'G', 'T', 'P'][power as usize];
                write!(out, "{:.2}{unit}", self.0 as f64 / 1024_f64.powi(power as i32 + 1))
            }
        }
    }
}

/// 40 hexadecimal digits that are drawn with each start of the service.
fn run_id(worker: &WorkerState) -> String {
    let boot = worker.context.scoreboard.global(Global::Boot).load(Ordering::Relaxed);
    let spread = |step: u64| (boot ^ step).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(step as u32 + 17);
    format!("{:016x}{:016x}{:08x}", spread(1), spread(2), spread(3) as u32)
}

/// Since the service's start.
fn uptime_ms(worker: &WorkerState) -> u64 {
    clock::uptime_ms().saturating_sub(worker.context.scoreboard.global(Global::StartedMs).load(Ordering::Relaxed))
}

/// When everything was last in the data file, in seconds since 1970: the start of the service before the first checkpoint.
#[must_use]
pub fn last_checkpoint_seconds(worker: &WorkerState) -> u64 {
    match worker.totals.max(Counted::LastCheckpointSeconds) {
        0 => (clock::wall_ms().unsigned_abs().saturating_sub(uptime_ms(worker))) / 1000,
        seconds => seconds,
    }
}

fn server(worker: &WorkerState, report: &mut Report) {
    let (shared, uptime_seconds) = (&worker.shared, uptime_ms(worker) / 1000);
    let is_alone = shared.settings.workers == 0;
    let listening = &shared.settings.listening;
    report.line("redis_version", REDIS_VERSION);
    report.line("redis_git_sha1", COMMIT);
    report.line("redis_git_dirty", 0);
    report.line("redis_build_id", COMMIT);
    report.line("redis_mode", "standalone");
    report.line("emptyserver_version", EMPTYSERVER_VERSION);
    report.line(
        "emptyserver_durability",
        match shared.settings.storage.durability {
            Durability::Always => "always",
            Durability::EverySec => "everysec",
            Durability::Os => "os",
        },
    );
    report.line("os", &shared.host.operating_system);
    report.line("arch_bits", usize::BITS);
    report.line("monotonic_clock", "POSIX clock_gettime");
    report.line("multiplexing_api", "epoll");
    report.line("process_id", if is_alone { std::process::id() } else { std::os::unix::process::parent_id() });
    report.line("process_supervised", "no");
    report.line("run_id", run_id(worker));
    report.line("tcp_port", if listening.port() == 0 { listening.tls_port() } else { listening.port() });
    report.line("server_time_usec", clock::wall_us());
    report.line("uptime_in_seconds", uptime_seconds);
    report.line("uptime_in_days", uptime_seconds / 86_400);
    report.line("hz", 20);
    report.line("configured_hz", 20);
    report.line("lru_clock", (clock::wall_ms() / 1000) & 0xff_ffff);
    report.line("executable", &shared.host.executable);
    report.line("config_file", "");
    report.line("io_threads_active", 0);
    for (number, listener) in listeners(listening).iter().enumerate() {
        report.line(format!("listener{number}"), listener);
    }
}

/// One line for each kind of address.
fn listeners(listening: &Listening) -> Vec<String> {
    let of = |name: &str, addresses: &[SocketAddr]| {
        let binds: String = addresses.iter().map(|address| format!("bind={},", address.ip())).collect();
        addresses.first().map(|first| format!("name={name},{binds}port={}", first.port()))
    };
    let unix = listening.unix.as_ref().map(|path| format!("name=unix,bind={path}"));
    [of("tcp", &listening.tcp), unix, of("tls", &listening.tls)].into_iter().flatten().collect()
}

fn clients(worker: &WorkerState, report: &mut Report) {
    let scoreboard = worker.context.scoreboard;
    let largest = |which| scoreboard.workers().map(|slot| scoreboard.read(slot, which)).max().unwrap_or(0);
    report.line("connected_clients", scoreboard.sum(Counter::Connections));
    report.line("cluster_connections", 0);
    report.line("maxclients", scoreboard.global(Global::ConnectionsMax).load(Ordering::Relaxed));
    report.line("client_recent_max_input_buffer", largest(Counter::InputBytesMax));
    report.line("client_recent_max_output_buffer", largest(Counter::OutputBytesMax));
    report.line("tls_clients", scoreboard.sum(Counter::TlsConnections));
    report.line("unix_clients", scoreboard.sum(Counter::UnixConnections));
    report.figure(worker, "blocked_clients");
    report.figures(worker, &["tracking_clients", "watching_clients"]);
    report.line("clients_in_timeout_table", 0);
    report.figure(worker, "total_watched_keys");
    report.figure(worker, "total_blocking_keys");
    report.line("total_blocking_keys_on_nokey", 0);
}

fn memory(worker: &WorkerState, report: &mut Report) {
    let scoreboard = worker.context.scoreboard;
    let (used, resident) = (scoreboard.sum(Counter::AnonymousBytes), scoreboard.sum(Counter::ResidentBytes));
    let peak = worker.totals.max(Counted::MemoryBytesMax).max(used);
    let ratio = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    report.bytes("used_memory", used);
    report.bytes("used_memory_rss", resident);
    report.bytes("used_memory_peak", peak);
    report.line("used_memory_peak_perc", format_args!("{:.2}%", 100.0 * ratio(used, peak)));
    // The data is on disk: what is in memory is the service's own.
    report.line("used_memory_overhead", used);
    report.line("used_memory_startup", 0);
    report.line("used_memory_dataset", 0);
    report.line("used_memory_dataset_perc", "0.00%");
    report.bytes("total_system_memory", worker.shared.settings.memory_bytes);
    let of_scripts = |which| worker.totals.sum(which);
    let (interpreters, sources) = (of_scripts(Counted::InterpreterBytes), of_scripts(Counted::SourceBytes));
    // One interpreter has scripts and functions.
    report.line("used_memory_vm_eval", interpreters);
    report.bytes("used_memory_lua", interpreters);
    report.line("used_memory_scripts_eval", sources);
    report.figures(worker, &["number_of_cached_scripts", "number_of_functions", "number_of_libraries"]);
    report.line("used_memory_vm_functions", 0);
    report.bytes("used_memory_vm_total", interpreters);
    report.line("used_memory_functions", 0);
    report.bytes("used_memory_scripts", sources);
    report.bytes("maxmemory", 0);
    report.line("maxmemory_policy", "noeviction");
    report.line("mem_fragmentation_ratio", format_args!("{:.2}", ratio(resident, used)));
    report.line("mem_fragmentation_bytes", resident.saturating_sub(used));
    report.line("mem_not_counted_for_evict", 0);
    report.line("mem_replication_backlog", 0);
    report.line("mem_clients_slaves", 0);
    report.line("mem_clients_normal", scoreboard.sum(Counter::ConnectionsBytes));
    report.line("mem_cluster_links", 0);
    report.line("mem_aof_buffer", 0);
    report.figures(worker, &["cache_keys", "cache_bytes"]);
    report.line("cache_bytes_max", worker.shared.settings.cache_bytes);
    // In memory that all processes share, which no process's figures count.
    report.line("memtable_bytes_max", worker.shared.settings.storage.journal_bytes_max);
    report.line("mem_allocator", "libc");
    report.line("active_defrag_running", 0);
    report.line("lazyfree_pending_objects", 0);
    report.line("lazyfreed_objects", 0);
}

fn persistence(worker: &WorkerState, report: &mut Report) {
    let (totals, hand_offs) = (&worker.totals, &worker.shared.hand_offs);
    let ok = |has_failed: bool| if has_failed { "err" } else { "ok" };
    let is_saving = hand_offs.read(HandOff::CheckpointsAsked) > hand_offs.read(HandOff::CheckpointsDone);
    let has_log = is_log_synced(&worker.shared);
    report.line("loading", 0);
    report.line("async_loading", 0);
    report.figure(worker, "rdb_changes_since_last_save");
    report.line("rdb_bgsave_in_progress", u8::from(is_saving));
    report.line("rdb_last_save_time", last_checkpoint_seconds(worker));
    report.line("rdb_last_bgsave_status", ok(totals.sum(Counted::LastCheckpointFailed) > 0));
    report.line("rdb_last_bgsave_time_sec", if totals.sum(Counted::CheckpointsTotal) == 0 { -1 } else { 0 });
    report.line("rdb_current_bgsave_time_sec", -1);
    report.figure(worker, "rdb_saves");
    report.line("rdb_last_cow_size", 0);
    report.line("aof_enabled", u8::from(has_log));
    report.line("aof_rewrite_in_progress", 0);
    report.line("aof_rewrite_scheduled", 0);
    report.line("aof_last_rewrite_time_sec", -1);
    report.line("aof_current_rewrite_time_sec", -1);
    report.line("aof_last_bgrewrite_status", "ok");
    report.line("aof_last_write_status", ok(hand_offs.is_set(HandOff::WritesFailing)));
    report.line("aof_last_cow_size", 0);
    let backups = &worker.shared.backups;
    report.line("backup_in_progress", u8::from(backups.running().is_some()));
    report.line("backup_last_time", backups.last_finished().map_or(0, |last| last.at_ms / 1000));
    report.line("backup_last_status", ok(backups.is_last_failed()));
    report.line("module_fork_in_progress", 0);
    report.line("module_fork_last_cow_size", 0);
    if has_log {
        report.figures(worker, &["aof_current_size", "aof_base_size"]);
        report.line("aof_pending_rewrite", 0);
        report.line("aof_buffer_length", 0);
        report.line("aof_pending_bio_fsync", 0);
        report.line("aof_delayed_fsync", 0);
    }
}

fn stats(worker: &WorkerState, report: &mut Report) {
    let (scoreboard, totals, rates) = (worker.context.scoreboard, &worker.totals, worker.sampler.rates());
    report.line("total_connections_received", scoreboard.sum(Counter::AcceptedTotal));
    report.figure(worker, "total_commands_processed");
    report.line("instantaneous_ops_per_sec", rates.commands.round());
    report.line("total_net_input_bytes", scoreboard.sum(Counter::InputBytesTotal));
    report.line("total_net_output_bytes", scoreboard.sum(Counter::OutputBytesTotal));
    report.line("total_net_repl_input_bytes", 0);
    report.line("total_net_repl_output_bytes", 0);
    report.line("instantaneous_input_kbps", format_args!("{:.2}", rates.input_bytes / 1024.0));
    report.line("instantaneous_output_kbps", format_args!("{:.2}", rates.output_bytes / 1024.0));
    report.line("instantaneous_input_repl_kbps", "0.00");
    report.line("instantaneous_output_repl_kbps", "0.00");
    report.line("rejected_connections", scoreboard.sum(Counter::TurnedAwayTotal) + totals.sum(Counted::DeniedTotal));
    for none in ["sync_full", "sync_partial_ok", "sync_partial_err"] {
        report.line(none, 0);
    }
    report.figure(worker, "expired_keys");
    report.line("expired_stale_perc", "0.00");
    report.line("expired_time_cap_reached_count", 0);
    report.line("evicted_keys", 0);
    report.figures(worker, &["evicted_clients", "evicted_scripts", "ended_scripts"]);
    report.figures(worker, &["keyspace_hits", "keyspace_misses"]);
    report.figures(worker, &["cache_hits", "cache_misses", "memtable_hits"]);
    report.figure(worker, "pubsub_channels");
    report.line("pubsub_patterns", publishing::patterns(worker));
    report.figure(worker, "pubsubshard_channels");
    for none in ["latest_fork_usec", "total_forks"] {
        report.line(none, 0);
    }
    for none in ["migrate_cached_sockets", "slave_expires_tracked_keys", "active_defrag_hits", "active_defrag_misses"] {
        report.line(none, 0);
    }
    for none in ["active_defrag_key_hits", "active_defrag_key_misses"] {
        report.line(none, 0);
    }
    report.figures(worker, &["tracking_total_keys", "tracking_total_items", "tracking_total_prefixes"]);
    report.figures(worker, &["unexpected_error_replies", "total_error_replies"]);
    report.line("log_lines_dropped", stderr::lines_dropped());
    report.figures(worker, &["client_query_buffer_limit_disconnections", "client_output_buffer_limit_disconnections"]);
    report.line("dump_payload_sanitizations", 0);
    for denied in ["auth", "cmd", "key", "channel"] {
        report.figure(worker, &format!("acl_access_denied_{denied}"));
    }
}

fn replication(worker: &WorkerState, report: &mut Report) {
    report.line("role", "master");
    report.line("connected_slaves", 0);
    report.line("master_failover_state", "no-failover");
    report.line("master_replid", run_id(worker));
    report.line("master_replid2", "0".repeat(40));
    report.line("master_repl_offset", 0);
    report.line("second_repl_offset", -1);
    report.line("repl_backlog_active", 0);
    report.line("repl_backlog_size", 0);
    report.line("repl_backlog_first_byte_offset", 0);
    report.line("repl_backlog_histlen", 0);
}

/// Of all processes that the supervisor has started and that still live.
fn cpu(worker: &WorkerState, report: &mut Report) {
    let seconds = |which| worker.context.scoreboard.sum(which) as f64 / 1000.0;
    report.line("used_cpu_sys", format_args!("{:.6}", seconds(Counter::SystemMs)));
    report.line("used_cpu_user", format_args!("{:.6}", seconds(Counter::UserMs)));
    report.line("used_cpu_sys_children", "0.000000");
    report.line("used_cpu_user_children", "0.000000");
}

fn commandstats(worker: &WorkerState, report: &mut Report) {
    for (number, row) in table::named_rows().iter().enumerate() {
        let of = |which| worker.totals.command(number as u16, which);
        let (calls, usec) = (of(OfCommand::Calls), of(OfCommand::Microseconds));
        let (rejected, failed) = (of(OfCommand::Rejected), of(OfCommand::Failed));
        if calls + rejected + failed > 0 {
            let per_call = if calls == 0 { 0.0 } else { usec as f64 / calls as f64 };
            report.line(
                format_args!("cmdstat_{}", row.name),
                format_args!(
                    "calls={calls},usec={usec},usec_per_call={per_call:.2},rejected_calls={rejected},failed_calls={failed}"
                ),
            );
        }
    }
}

fn errorstats(worker: &WorkerState, report: &mut Report) {
    for (index, code) in ERROR_CODES.iter().enumerate() {
        let count = worker.totals.errors(index);
        if count > 0 {
            report.line(format_args!("errorstat_{code}"), format_args!("count={count}"));
        }
    }
}

fn latencystats(worker: &WorkerState, report: &mut Report) {
    for (number, row) in table::named_rows().iter().enumerate() {
        let number = number as u16;
        if worker.totals.command(number, OfCommand::Calls) == 0 {
            continue;
        }
        let buckets = worker.totals.buckets(number);
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| percentile(&buckets, share));
        report.line(
            format_args!("latency_percentiles_usec_{}", row.name),
            format_args!("p50={p50:.3},p99={p99:.3},p99.9={p999:.3}"),
        );
    }
}

fn keyspace(worker: &WorkerState, report: &mut Report) {
    for database in 0..DATABASES as u8 {
        let (keys, expires) = worker.totals.keys(database);
        if keys > 0 {
            // The estimate is a second old at most, and the keys may be gone.
            let average_ttl_ms = if expires == 0 { 0 } else { worker.totals.average_ttl_ms(database) };
            report.line(
                format_args!("db{database}"),
                format_args!("keys={keys},expires={expires},avg_ttl={average_ttl_ms}"),
            );
        }
    }
}

fn state(worker: &WorkerState, slot: Slot) -> &'static str {
    match worker.context.scoreboard.read(slot, Counter::State) {
        counters::STARTING => "starting",
        counters::SERVING => "serving",
        counters::DRAINING => "draining",
        _ => "absent",
    }
}

fn workers(worker: &WorkerState, report: &mut Report) {
    let scoreboard = worker.context.scoreboard;
    let now_ms = clock::uptime_ms();
    report.line("workers", scoreboard.workers().count());
    report.line("accept_empty_total", scoreboard.sum(Counter::AcceptEmptyTotal));
    report.line("worker_hangs_total", scoreboard.sum(Counter::HangsTotal));
    for slot in scoreboard.workers() {
        let of = |which| scoreboard.read(slot, which);
        report.line(
            format_args!("worker{}", slot.0),
            format_args!(
                "pid={},state={},connections={},listening={},restarts={},heartbeat_age_ms={},accepted={},\
                 accept_empty_total={},turned_away={},commands={},input_bytes={},output_bytes={},bus_dropped={},\
                 rss_bytes={},memory_bytes={}",
                of(Counter::Pid),
                state(worker, slot),
                of(Counter::Connections),
                of(Counter::Listening),
                of(Counter::RestartsTotal),
                now_ms.saturating_sub(of(Counter::HeartbeatMs)),
                of(Counter::AcceptedTotal),
                of(Counter::AcceptEmptyTotal),
                of(Counter::TurnedAwayTotal),
                worker.totals.of(slot, Counted::CommandsTotal),
                of(Counter::InputBytesTotal),
                of(Counter::OutputBytesTotal),
                of(Counter::BusDroppedTotal),
                of(Counter::ResidentBytes),
                of(Counter::AnonymousBytes),
            ),
        );
    }
}

/// With `workers = 0` the only process is worker and writer at once: its figures are sums like all others.
fn writer(worker: &WorkerState, report: &mut Report) {
    let (scoreboard, totals) = (worker.context.scoreboard, &worker.totals);
    let slot = scoreboard.lane_slot();
    let mean = |total: Counted, count: Counted| totals.sum(total).checked_div(totals.sum(count)).unwrap_or(0);
    report.line("writer_pid", scoreboard.read(slot, Counter::Pid));
    report.line("writer_state", state(worker, slot));
    report.line("writer_restarts", scoreboard.read(slot, Counter::RestartsTotal));
    report.line("writer_rss_bytes", scoreboard.read(slot, Counter::ResidentBytes));
    report.figures(worker, &["groups", "group_jobs", "group_commands"]);
    report.line("group_commands_mean", mean(Counted::GroupCommandsTotal, Counted::GroupsTotal));
    report.figures(worker, &["group_commands_max", "group_failures", "commit_usec"]);
    report.line("commit_usec_mean", mean(Counted::CommitMicrosecondsTotal, Counted::GroupsTotal));
    report.figures(
        worker,
        &[
            "commit_usec_max",
            "checkpoints",
            "checkpoint_usec",
            "checkpoint_stall_usec_max",
            "changes_since_checkpoint",
            "syncs",
            "unmerged_bytes",
            "unmerged_rows",
            "unmerged_generations",
            "merge_lag_ms",
            "merges",
            "merged_rows",
            "merge_slices",
            "merge_usec",
            "merge_pauses",
            "rows_left_out",
            "wal_bytes",
            "data_bytes",
            "disk_free_bytes",
            "disk_nearly_full",
            "writes_failing",
            "panics",
        ],
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_for_people_as_redis_shows_them() {
        let shown = [0, 1023, 1024, 1_664_752, 25_276_502_016, u64::MAX].map(|bytes| Human(bytes).to_string());
        assert_eq!(shown, ["0B", "1023B", "1.00K", "1.59M", "23.54G", "16384.00P"]);
    }
}
