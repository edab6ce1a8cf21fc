//! `/metrics`: the shared counters under the names that dashboards and alerts know. `tests/service/admin.rs` lists them all.

use super::exposition::{Exposition, Format, Kind::Counter as Count, Kind::Gauge, Kind::Histogram};
use super::readiness;
use super::view::{Kind, View};
use crate::kv::commands::table;
use crate::kv::metrics::figures::{self, Figure};
use crate::kv::metrics::statistics::{Counted, ERROR_CODES, Measured, OfCommand};
use crate::kv::shared::program::{COMMIT, EMPTYSERVER_VERSION};
use crate::server::counters::{self, Counter, Global};
use crate::sys::{clock, stderr};

/// Commands measure in microseconds, Prometheus in seconds.
const MICROSECOND: f64 = 1e-6;
const DATABASES: u8 = 16;

pub(super) fn text(view: &View, format: Format) -> String {
    let mut out = Exposition::new(format);
    service(view, &mut out);
    connections(view, &mut out);
    messages(view, &mut out);
    transports(view, &mut out);
    commands(view, &mut out);
    cache(view, &mut out);
    scripts(view, &mut out);
    keyspace(view, &mut out);
    writer(view, &mut out);
    merge(view, &mut out);
    disk(view, &mut out);
    backup(view, &mut out);
    processes(view, &mut out);
    out.finish()
}

/// A family of one sample, as the table of figures has it.
fn figure(view: &View, out: &mut Exposition, family: &'static str) {
    let figure = Figure::of_metric(family);
    let kind = if figure.kind == figures::Kind::Counter { Count } else { Gauge };
    out.single(kind, family, figure.help, figure.value(&view.totals, &view.hand_offs));
}

fn service(view: &View, out: &mut Exposition) {
    out.family(Gauge, "build_info", "The program: its version and the commit it was built from.");
    out.sample(&[("version", EMPTYSERVER_VERSION), ("commit", COMMIT)], 1);
    let started_ms = clock::wall_ms().unsigned_abs().saturating_sub(view.uptime_ms());
    out.single(Gauge, "start_time_seconds", "When the service started, since 1970.", started_ms as f64 / 1000.0);
    let is_ready = readiness::reasons(view).is_empty();
    out.single(Gauge, "ready", "1 while workers and writer serve and the disk takes writes.", u8::from(is_ready));
    out.single(Gauge, "draining", "1 once the service ends.", u8::from(view.is_draining()));
    out.single(
        Count,
        "log_lines_dropped",
        "Log lines that there was no room for: who reads the log is too slow, or does not.",
        stderr::lines_dropped(),
    );
    out.single(Gauge, "memory_limit_bytes", "What the container allows.", view.facts.memory_bytes);
}

fn connections(view: &View, out: &mut Exposition) {
    let workers = [
        (Gauge, "connections", "Open connections.", Counter::Connections),
        (Count, "connections_accepted", "Connections accepted.", Counter::AcceptedTotal),
        (Count, "received_bytes", "Bytes of requests.", Counter::InputBytesTotal),
        (Count, "sent_bytes", "Bytes of replies.", Counter::OutputBytesTotal),
        (Gauge, "output_buffer_bytes", "Bytes of replies that clients have not taken yet.", Counter::OutputBytes),
        (
            Gauge,
            "clients_bytes",
            "Memory that clients take: requests, queued commands, replies.",
            Counter::ConnectionsBytes,
        ),
    ];
    for (kind, name, help, counter) in workers {
        out.family(kind, name, help);
        for process in view.processes().into_iter().filter(|process| process.kind == Kind::Worker) {
            out.sample(&[("process", &process.name())], view.read(process, counter));
        }
    }
    let rejected = view.scoreboard.sum(Counter::TurnedAwayTotal) + view.totals.sum(Counted::DeniedTotal);
    out.single(
        Gauge,
        "connections_max",
        "Connections that are allowed at a time.",
        view.global(Global::ConnectionsMax),
    );
    out.single(Count, "connections_rejected", "Connections turned away: too many, or not allowed here.", rejected);
    out.single(
        Gauge,
        "clients_limit_bytes",
        "Memory that clients may take together; 0 = no limit.",
        view.global(Global::ConnectionsBytesMax),
    );
    figure(view, out, "clients_evicted");
    let over = view.totals.sum(Counted::OutputLimitTotal) + view.totals.sum(Counted::QueryLimitTotal);
    out.single(Count, "clients_over_limit", "Clients closed for a too long request, or too many unread replies.", over);
    for family in
        ["auth_failures", "denied_commands", "denied_keys", "denied_channels", "tracking_clients", "tracked_keys"]
    {
        figure(view, out, family);
    }
}

fn messages(view: &View, out: &mut Exposition) {
    for family in [
        "subscribers",
        "channels",
        "messages_published",
        "messages_delivered",
        "messages_between_workers",
        "subscribers_closed",
    ] {
        figure(view, out, family);
    }
}

/// How connections come, and what TLS is spoken with.
fn transports(view: &View, out: &mut Exposition) {
    let sum = |which| view.scoreboard.sum(which);
    let (tls, unix) = (sum(Counter::TlsConnections), sum(Counter::UnixConnections));
    let tcp = sum(Counter::Connections).saturating_sub(tls + unix + sum(Counter::Openings));
    out.family(Gauge, "transport_connections", "Open connections by what carries them.");
    for (transport, count) in [("tcp", tcp), ("tls", tls), ("unix", unix)] {
        out.sample(&[("transport", transport)], count);
    }
    for (kind, name, help, counter) in [
        (
            Gauge,
            "connections_opening",
            "Connections whose TLS handshake or PROXY header is not complete.",
            Counter::Openings,
        ),
        (Count, "tls_handshakes", "TLS handshakes that were completed.", Counter::HandshakesTotal),
        (
            Count,
            "tls_handshakes_failed",
            "TLS handshakes that failed or took too long.",
            Counter::HandshakesFailedTotal,
        ),
        (
            Count,
            "proxy_connections_refused",
            "Connections of EMPTYSERVER_PROXY_PEERS without a good PROXY header.",
            Counter::ProxyRefusedTotal,
        ),
    ] {
        out.single(kind, name, help, sum(counter));
    }
    for (kind, name, help, global) in [
        (
            Gauge,
            "tls_certificate_expiry_timestamp_seconds",
            "When the validity of the certificate ends, since 1970; 0: no TLS is spoken.",
            Global::TlsNotAfterSeconds,
        ),
        (Count, "tls_certificate_reloads", "How often the certificate was read again.", Global::TlsReloads),
        (
            Count,
            "tls_certificate_reloads_failed",
            "How often what was there could not be used: the certificate before it stays.",
            Global::TlsReloadFailures,
        ),
    ] {
        out.single(kind, name, help, view.global(global));
    }
}

/// Commands that were never called have no series.
fn commands(view: &View, out: &mut Exposition) {
    let rows = || (0_u16..).zip(table::named_rows());
    out.family(Histogram, "command_duration_seconds", "How long calls took, without the time in the client's socket.");
    for (number, row) in rows() {
        let buckets = view.totals.buckets(number);
        if buckets.iter().any(|&count| count > 0) {
            let microseconds = view.totals.command(number, OfCommand::Microseconds);
            out.series(&[("command", row.name)], &buckets, microseconds, MICROSECOND);
        }
    }
    let counts = [
        ("commands_rejected", "Calls refused before they ran.", OfCommand::Rejected),
        ("commands_failed", "Calls that ran and answered with an error.", OfCommand::Failed),
    ];
    for (name, help, which) in counts {
        out.family(Count, name, help);
        for (number, row) in rows() {
            let count = view.totals.command(number, which);
            if count > 0 {
                out.sample(&[("command", row.name)], count);
            }
        }
    }
    out.family(Count, "error_replies", "Error replies by the word that they begin with.");
    for (index, code) in ERROR_CODES.iter().enumerate() {
        let count = view.totals.errors(index);
        if count > 0 {
            out.sample(&[("code", code)], count);
        }
    }
    figure(view, out, "panics");
}

fn cache(view: &View, out: &mut Exposition) {
    for family in ["cache_hits", "cache_misses", "memtable_hits", "cache_keys", "cache_bytes"] {
        figure(view, out, family);
    }
    out.single(Gauge, "cache_limit_bytes", "Memory that the cache may use.", view.facts.cache_bytes_max);
}

fn scripts(view: &View, out: &mut Exposition) {
    for family in ["scripts", "libraries", "functions", "script_source_bytes", "script_interpreter_bytes"] {
        figure(view, out, family);
    }
    figure(view, out, "scripts_evicted");
    figure(view, out, "scripts_ended");
}

fn keyspace(view: &View, out: &mut Exposition) {
    for family in ["keyspace_hits", "keyspace_misses", "expired_keys"] {
        figure(view, out, family);
    }
    let sizes = || (0..DATABASES).map(|database| (database.to_string(), view.totals.keys(database)));
    out.family(Gauge, "keys", "Keys.");
    for (database, (keys, _)) in sizes() {
        out.sample(&[("database", &database)], keys);
    }
    out.family(Gauge, "expiring_keys", "Keys that expire.");
    for (database, (_, expires)) in sizes() {
        out.sample(&[("database", &database)], expires);
    }
}

fn writer(view: &View, out: &mut Exposition) {
    for family in ["groups", "group_jobs", "group_failures"] {
        figure(view, out, family);
    }
    let histograms = [
        ("group_commands", "Commands of a group.", Measured::Group, 1.0),
        (
            "commit_duration_seconds",
            "From a group's first command to the end of its commit; its sync included with durability always.",
            Measured::Commit,
            MICROSECOND,
        ),
        ("sync_duration_seconds", "Syncs beside the commits, with durability everysec.", Measured::Sync, MICROSECOND),
        ("checkpoint_duration_seconds", "Checkpoint passes.", Measured::Checkpoint, MICROSECOND),
    ];
    for (name, help, which, step) in histograms {
        let (total, buckets) = view.totals.measured(which);
        out.family(Histogram, name, help);
        out.series(&[], &buckets, total, step);
    }
    out.family(Gauge, "lane_jobs", "Jobs that wait or run, by lane.");
    for (number, name) in view.facts.lanes.iter().enumerate() {
        out.sample(&[("lane", name)], view.lane_jobs(number));
    }
    for family in ["last_checkpoint_timestamp_seconds", "last_checkpoint_failed", "writes_failing"] {
        figure(view, out, family);
    }
}

fn merge(view: &View, out: &mut Exposition) {
    figure(view, out, "unmerged_bytes");
    out.single(
        Gauge,
        "unmerged_limit_bytes",
        "How much may wait; 0: there is no journal.",
        view.facts.journal_bytes_max,
    );
    for family in ["unmerged_rows", "unmerged_generations"] {
        figure(view, out, family);
    }
    let lag = Figure::of_info("merge_lag_ms");
    let lag_seconds = lag.value(&view.totals, &view.hand_offs) as f64 / 1000.0;
    out.single(Gauge, "merge_lag_seconds", lag.help, lag_seconds);
    let limit = view.facts.merge_seconds_max;
    out.single(Gauge, "merge_lag_limit_seconds", "How old they may become before a merge begins.", limit);
    for family in ["merges", "merged_rows", "merge_slices"] {
        figure(view, out, family);
    }
    let time = Figure::of_info("merge_usec");
    let seconds = time.value(&view.totals, &view.hand_offs) as f64 * MICROSECOND;
    out.single(Count, "merge_seconds", time.help, seconds);
    for family in ["merge_pauses", "rows_left_out"] {
        figure(view, out, family);
    }
}

fn disk(view: &View, out: &mut Exposition) {
    figure(view, out, "wal_bytes");
    out.single(Gauge, "wal_limit_bytes", "Its budget.", view.facts.wal_bytes_max);
    for family in ["data_bytes", "disk_free_bytes"] {
        figure(view, out, family);
    }
    figure(view, out, "disk_nearly_full");
}

fn backup(view: &View, out: &mut Exposition) {
    let backups = &view.backups;
    let (finished, failed) = backups.totals();
    let last = backups.last_finished();
    out.single(Gauge, "backup_running", "1 while a backup is made.", u8::from(backups.running().is_some()));
    let stalled = backups.stalled_for().as_secs();
    out.single(
        Gauge,
        "backup_stalled_seconds",
        "For how long the directory of the present backup has not answered.",
        stalled,
    );
    out.single(
        Gauge,
        "backup_last_success_timestamp_seconds",
        "When the last backup had everything; 0: there is none.",
        last.map_or(0.0, |last| last.at_ms as f64 / 1000.0),
    );
    out.single(Gauge, "backup_last_failed", "1 after a backup that failed.", u8::from(backups.is_last_failed()));
    out.single(Gauge, "backup_last_bytes", "Size of the last backup.", last.map_or(0, |last| last.bytes));
    let duration = last.map_or(0.0, |last| last.duration_ms as f64 / 1000.0);
    out.single(Gauge, "backup_last_duration_seconds", "How long the last backup took.", duration);
    out.single(Count, "backups", "Backups that were finished.", finished);
    out.single(Count, "backup_failures", "Backups that failed.", failed);
    let interval = view.facts.backup_interval_seconds;
    out.single(Gauge, "backup_interval_seconds", "How often one is made; 0: only when it is asked for.", interval);
}

fn processes(view: &View, out: &mut Exposition) {
    let processes = view.processes();
    out.family(Gauge, "process_up", "1 while the process serves.");
    for process in &processes {
        let is_up = view.read(*process, Counter::State) == counters::SERVING;
        out.sample(&[("process", &process.name())], u8::from(is_up));
    }
    let counts = [
        (Count, "process_restarts", "Starts after the first.", Counter::RestartsTotal),
        (
            Count,
            "process_hangs",
            "Ends by the watchdog: the event loop did not come round any more.",
            Counter::HangsTotal,
        ),
        (Gauge, "process_resident_bytes", "Resident memory.", Counter::ResidentBytes),
        (Gauge, "process_anonymous_bytes", "Resident memory that no file backs.", Counter::AnonymousBytes),
    ];
    for (kind, name, help, counter) in counts {
        out.family(kind, name, help);
        for process in &processes {
            out.sample(&[("process", &process.name())], view.read(*process, counter));
        }
    }
    out.family(Count, "process_cpu_seconds", "Processor time of the process that runs now.");
    for process in &processes {
        for (mode, counter) in [("user", Counter::UserMs), ("system", Counter::SystemMs)] {
            let seconds = view.read(*process, counter) as f64 / 1000.0;
            out.sample(&[("process", &process.name()), ("mode", mode)], seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::serving;
    use super::*;
    use crate::kv::metrics::statistics::{Statistics, bucket};
    use crate::server::counters::Slot;

    #[test]
    fn a_command_has_series_once_it_was_called() {
        let view = serving();
        let get = table::number(table::lookup(b"get").unwrap());
        assert!(!text(&view, Format::Text).contains("command=\"get\""));
        Statistics::new(view.scoreboard, Slot(1)).called(get, 3, 1, 12, [(bucket(4), 3)].into_iter());
        let text = text(&view, Format::Text);
        assert!(text.contains("emptyserver_command_duration_seconds_bucket{command=\"get\",le=\"2e-6\"} 0\n"));
        assert!(text.contains("emptyserver_command_duration_seconds_bucket{command=\"get\",le=\"4e-6\"} 3\n"));
        assert!(text.contains("emptyserver_command_duration_seconds_count{command=\"get\"} 3\n"));
        assert!(text.contains("emptyserver_commands_failed_total{command=\"get\"} 1\n"));
        assert!(text.contains("emptyserver_ready 1\n"));
    }

    #[test]
    fn no_family_is_written_twice() {
        for format in [Format::Text, Format::OpenMetrics] {
            let text = text(&serving(), format);
            let mut families: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
            families.sort_unstable();
            let count = families.len();
            families.dedup();
            assert_eq!(families.len(), count);
        }
    }
}
