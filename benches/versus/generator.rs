//! Load made by another process: `emptyserver bench`, or redis-benchmark, and what it reports.

use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use super::loads::{Data, Of, Traffic};

/// What a generator measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Generated {
    pub(crate) requests: f64,
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p99_9_ms: f64,
    pub(crate) max_ms: f64,
}

/// Where a load goes.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) port: u16,
    /// `Some`: over TLS, with certificates of these authorities.
    pub(crate) authorities: Option<PathBuf>,
}

/// Sets every key of the data.
pub(crate) fn prefill(endpoint: &Endpoint, data: &Data) -> io::Result<Generated> {
    let mut command = ours(endpoint, data);
    command.args(["-n", "0"]);
    match data.of {
        Of::Strings => command.arg("--prefill"),
        Of::Board => command.args(["--prefill-with", "ZADD board __number__ member:__same__"]),
        Of::Lists(items) => {
            let values = " __value__".repeat(items as usize);
            command.args(["--prefill-with", &format!("RPUSH list:__number__{values}")])
        }
        Of::Hashes(fields) => {
            let pairs = (0..fields).map(|field| format!(" field:{field} __value__"));
            command.args(["--prefill-with", &format!("HSET hash:__number__{}", pairs.collect::<String>())])
        }
    };
    let report = finish(&command.spawn()?.wait_with_output()?)?;
    generated(&report["prefill"][0]).ok_or_else(|| unreadable("emptyserver bench"))
}

/// Begins a load with `emptyserver bench`.
pub(crate) fn begin(endpoint: &Endpoint, data: &Data, traffic: &Traffic, seconds: f64) -> io::Result<Child> {
    let mut command = ours(endpoint, data);
    command.args(["-c", &traffic.connections.to_string(), "-P", &traffic.pipeline.to_string()]);
    command.args(["-t", traffic.mix, "--distribution", traffic.distribution]);
    if matches!(traffic.mix, "get" | "hget" | "hgetall" | "lrange100" | "zscore") {
        // Each run reads the same keys, so that after the first ones "warm" means just that. What writes has other numbers
        // each time: a SET of what is there already costs ours nothing.
        command.args(["--seed", "1"]);
    }
    command.args(["--seconds", &seconds.to_string()]).spawn()
}

/// Waits for a load that was begun.
pub(crate) fn end(child: Child) -> io::Result<Generated> {
    let report = finish(&child.wait_with_output()?)?;
    generated(&report["measurements"][0]).ok_or_else(|| unreadable("emptyserver bench"))
}

/// True for loads that redis-benchmark has.
pub(crate) fn has_redis_benchmark(traffic: &Traffic) -> bool {
    matches!(traffic.mix, "get" | "set" | "incr")
}

/// The same load by redis-benchmark, which counts requests and knows no seconds.
pub(crate) fn redis_benchmark(
    endpoint: &Endpoint,
    data: &Data,
    traffic: &Traffic,
    requests: u64,
) -> io::Result<Generated> {
    let mut command = Command::new("redis-benchmark");
    command.args(["-p", &endpoint.port.to_string(), "-t", traffic.mix, "-n", &requests.to_string()]);
    if let Some(authorities) = &endpoint.authorities {
        command.arg("--tls").arg("--cacert").arg(authorities);
    }
    command.args(["-c", &traffic.connections.to_string(), "-P", &traffic.pipeline.to_string()]);
    command.args(["-d", &data.value_bytes.to_string()]);
    // Without a range it has one key.
    if traffic.distribution == "uniform" {
        command.args(["-r", &data.keys.to_string()]);
    }
    let output = command.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse_redis_benchmark(&text, requests as f64).ok_or_else(|| unreadable("redis-benchmark"))
}

/// Its long report: `99.902% <= 1.535 milliseconds (cumulative count 99909)`, and a line of figures below their names.
pub(crate) fn parse_redis_benchmark(text: &str, requests: f64) -> Option<Generated> {
    let text = text.replace('\r', "\n");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let rate = lines.iter().find_map(|line| line.strip_prefix("throughput summary: "))?;
    let summary =
        lines.iter().position(|line| line.split_whitespace().eq(["avg", "min", "p50", "p95", "p99", "max"]))?;
    let figures: Vec<f64> = lines.get(summary + 1)?.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let [_, _, p50_ms, _, p99_ms, max_ms] = figures[..] else { return None };
    let percentiles = lines.iter().filter_map(|line| {
        let (percent, rest) = line.split_once("% <= ")?;
        Some((percent.parse::<f64>().ok()?, rest.split_whitespace().next()?.parse::<f64>().ok()?))
    });
    let p99_9_ms = percentiles.into_iter().find(|(percent, _)| *percent >= 99.9).map_or(max_ms, |(_, ms)| ms);
    let per_second = rate.split_whitespace().next()?.parse().ok()?;
    Some(Generated { requests, per_second, p50_ms, p99_ms, p99_9_ms, max_ms })
}

fn ours(endpoint: &Endpoint, data: &Data) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_emptyserver"));
    command.env_clear().args(["bench", "--json", "-h", "127.0.0.1", "-p", &endpoint.port.to_string()]);
    if let Some(authorities) = &endpoint.authorities {
        command.arg("--tls").arg("--cacert").arg(authorities);
    }
    command.args(["-r", &data.keys.to_string(), "-d", &data.value_bytes.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn finish(output: &Output) -> io::Result<Value> {
    let report: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    match report {
        Some(report) if output.status.success() => Ok(report),
        Some(report) => Err(io::Error::other(format!("errors among the replies: {}", errors(&report)))),
        None => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

fn errors(report: &Value) -> String {
    let lists = ["prefill", "measurements"].iter().filter_map(|name| report[*name].as_array()).flatten();
    lists.map(|measured| measured["errors"].to_string()).collect::<Vec<_>>().join(" ")
}

pub(crate) fn generated(measured: &Value) -> Option<Generated> {
    let latency = &measured["latency_ms"];
    Some(Generated {
        requests: measured["requests"].as_f64()?,
        per_second: measured["per_second"].as_f64()?,
        p50_ms: latency["p50"].as_f64()?,
        p99_ms: latency["p99"].as_f64()?,
        p99_9_ms: latency["p99.9"].as_f64()?,
        max_ms: latency["max"].as_f64()?,
    })
}

fn unreadable(program: &str) -> io::Error {
    io::Error::other(format!("the report of {program} cannot be read"))
}
