//! `/status.json`: what the status page draws. Everything that ends in `_total` and every bucket grows from the start on; the
//! page shows differences.

use serde_json::{Value as Json, json};

use super::readiness;
use super::view::{Process, View, state_name};
use crate::kv::commands::table;
use crate::kv::metrics::figures::{FIGURES, Unit};
use crate::kv::metrics::statistics::{BUCKETS, Counted, Measured, OfCommand, percentile};
use crate::kv::shared::program::{COMMIT, EMPTYSERVER_VERSION};
use crate::server::counters::{Counter, Global};
use crate::sys::clock;

const DATABASES: u8 = 16;
/// Groups are small: sizes of up to 1, 2, 4, … 16,384 commands, and larger ones.
const GROUP_BUCKETS: usize = 16;

pub(super) fn json(view: &View) -> Json {
    let sum = |which| view.totals.sum(which);
    let reasons = readiness::reasons(view);
    let mut status = json!({
        "version": EMPTYSERVER_VERSION,
        "commit": COMMIT,
        "now_ms": clock::wall_ms(),
        "uptime_seconds": view.uptime_ms() / 1000,
        "ready": reasons.is_empty(),
        "draining": view.is_draining(),
        "reasons": reasons,
        "durability": view.facts.durability,
        "listen": view.facts.listen,
        "connections": {
            "open": view.scoreboard.sum(Counter::Connections),
            "max": view.global(Global::ConnectionsMax),
            "accepted_total": view.scoreboard.sum(Counter::AcceptedTotal),
            "rejected_total": view.scoreboard.sum(Counter::TurnedAwayTotal) + sum(Counted::DeniedTotal),
        },
        "commands": commands(view),
        "bytes": {
            "received_total": view.scoreboard.sum(Counter::InputBytesTotal),
            "sent_total": view.scoreboard.sum(Counter::OutputBytesTotal),
        },
        "cache": {
            "limit_bytes": view.facts.cache_bytes_max,
        },
        "keyspace": keyspace(view),
        "processes": view.processes().into_iter().map(|one| process(view, one)).collect::<Vec<_>>(),
        "writer": writer(view),
        "lanes": lanes(view),
        "wal": { "limit_bytes": view.facts.wal_bytes_max },
        "merge": {
            "limit_bytes": view.facts.journal_bytes_max,
            "lag_limit_seconds": view.facts.merge_seconds_max,
        },
        "checkpoints": {
            "last_ms": view.totals.max(Counted::LastCheckpointSeconds) * 1000,
        },
        "backup": backup(view),
        "disk": {},
        "memory": {
            "limit_bytes": view.facts.memory_bytes,
            "resident_bytes": view.scoreboard.sum(Counter::ResidentBytes),
            "anonymous_bytes": view.scoreboard.sum(Counter::AnonymousBytes),
        },
    });
    put_figures(view, &mut status);
    status
}

/// What the table of figures has for this page.
fn put_figures(view: &View, status: &mut Json) {
    for figure in FIGURES {
        if let Some((object, member)) = figure.status.split_once('.') {
            let value = figure.value(&view.totals, &view.hand_offs);
            status[object][member] = if figure.unit == Unit::Flag { json!(value > 0) } else { json!(value) };
        }
    }
}

fn commands(view: &View) -> Json {
    let mut all = [0; BUCKETS];
    let mut by_name = Vec::new();
    for (number, row) in (0_u16..).zip(table::named_rows()) {
        let of = |which| view.totals.command(number, which);
        let (calls, rejected) = (of(OfCommand::Calls), of(OfCommand::Rejected));
        if calls + rejected == 0 {
            continue;
        }
        let buckets = view.totals.buckets(number);
        all.iter_mut().zip(buckets).for_each(|(sum, count)| *sum += count);
        let microseconds = of(OfCommand::Microseconds);
        by_name.push((
            microseconds,
            json!({
                "name": row.name,
                "calls": calls,
                "us_total": microseconds,
                "failed": of(OfCommand::Failed),
                "rejected": rejected,
                "p50_us": percentile(&buckets, 0.5),
                "p99_us": percentile(&buckets, 0.99),
            }),
        ));
    }
    by_name.sort_by_key(|(microseconds, _)| std::cmp::Reverse(*microseconds));
    json!({
        "buckets": all,
        "by_name": by_name.into_iter().map(|(_, object)| object).collect::<Vec<_>>(),
    })
}

fn keyspace(view: &View) -> Json {
    let databases: Vec<Json> = (0..DATABASES)
        .map(|database| (database, view.totals.keys(database)))
        .filter(|(_, (keys, _))| *keys > 0)
        .map(|(database, (keys, expires))| json!({ "database": database, "keys": keys, "expires": expires }))
        .collect();
    json!({
        "databases": databases,
    })
}

fn process(view: &View, process: Process) -> Json {
    let of = |which| view.read(process, which);
    json!({
        "name": process.name(),
        "kind": process.kind.name(),
        "state": state_name(of(Counter::State)),
        "pid": of(Counter::Pid),
        "connections": of(Counter::Connections),
        "restarts_total": of(Counter::RestartsTotal),
        "cpu_ms": of(Counter::UserMs) + of(Counter::SystemMs),
        "resident_bytes": of(Counter::ResidentBytes),
        "anonymous_bytes": of(Counter::AnonymousBytes),
        "heartbeat_age_ms": view.heartbeat_age_ms(process),
    })
}

fn writer(view: &View) -> Json {
    let buckets = |which| view.totals.measured(which).1;
    let groups = buckets(Measured::Group);
    let (small, large) = groups.split_at(GROUP_BUCKETS - 1);
    let groups: Vec<u64> = small.iter().copied().chain([large.iter().sum()]).collect();
    json!({
        "commit_buckets": buckets(Measured::Commit),
        "sync_buckets": buckets(Measured::Sync),
        "group_buckets": groups,
    })
}

fn backup(view: &View) -> Json {
    let (running, last, failed) = (view.backups.running(), view.backups.last_finished(), view.backups.last_failed());
    json!({
        "is_running": running.is_some(),
        "state": running.map_or("idle", |running| running.phase.name()),
        "pages_done": running.map_or(0, |running| running.pages),
        "pages_total": running.map_or(0, |running| running.pages_total),
        "stalled_seconds": view.backups.stalled_for().as_secs(),
        "last_success_ms": last.map_or(0, |last| last.at_ms),
        "last_name": last.map(|last| last.name.to_string()),
        "last_bytes": last.map_or(0, |last| last.bytes),
        "last_duration_ms": last.map_or(0, |last| last.duration_ms),
        "last_failed": view.backups.is_last_failed(),
        "last_failure": failed.map(|failed| failed.failure.text()),
        "interval_seconds": view.facts.backup_interval_seconds,
    })
}

fn lanes(view: &View) -> Vec<Json> {
    let names = view.facts.lanes.iter().enumerate();
    names.map(|(number, name)| json!({ "name": name, "jobs": view.lane_jobs(number) })).collect()
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::serving;
    use super::*;
    use crate::kv::metrics::statistics::{Statistics, bucket};
    use crate::server::counters::Slot;

    #[test]
    fn commands_come_by_the_time_they_took_and_their_buckets_add_up() {
        let view = serving();
        let statistics = Statistics::new(view.scoreboard, Slot(0));
        let call = |name: &[u8], duration_us| {
            let number = table::number(table::lookup(name).unwrap());
            statistics.called(number, 1, 0, duration_us, [(bucket(duration_us), 1)].into_iter());
        };
        call(b"get", 3);
        call(b"set", 900);
        let json = json(&view);
        let names: Vec<_> =
            json["commands"]["by_name"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
        assert_eq!(names, ["set", "get"]);
        let count: u64 = json["commands"]["buckets"].as_array().unwrap().iter().filter_map(Json::as_u64).sum();
        assert_eq!((count, json["commands"]["total"].as_u64()), (2, Some(2)));
    }

    #[test]
    fn large_groups_count_in_the_last_bucket() {
        let view = serving();
        let statistics = Statistics::new(view.scoreboard, view.scoreboard.lane_slot());
        [1, 1 << 15, 1 << 20].into_iter().for_each(|commands| statistics.measured(Measured::Group, commands));
        let buckets = json(&view)["writer"]["group_buckets"].clone();
        let buckets: Vec<u64> = buckets.as_array().unwrap().iter().filter_map(Json::as_u64).collect();
        assert_eq!((buckets.len(), buckets[0], buckets[15]), (GROUP_BUCKETS, 1, 2));
    }
}
