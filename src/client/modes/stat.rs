//! `--stat`: a line about the service at each interval, from INFO.

use std::collections::HashMap;
use std::io::Write;
use std::time::{Duration, Instant};

use crate::client::clock;
use crate::client::connection::Connection;
use crate::client::failure::{Failure, Outcome};
use crate::client::interrupt::{Interrupts, Woken};
use crate::resp::Reply;

const HEADING: &str = "      keys       memory   clients   commands   per second   connections";
const HEADING_EVERY: u64 = 20;

/// Until Ctrl-C, or for so many lines.
pub(crate) fn stat(
    mut connection: Connection,
    interval: Option<Duration>,
    samples: Option<u64>,
    is_json: bool,
) -> Result<Outcome, Failure> {
    let interrupts = Interrupts::heeded_by(&mut connection)?;
    let interval = interval.unwrap_or(Duration::from_secs(1));
    let mut before: Option<(u64, Instant)> = None;
    let mut lines = 0;
    loop {
        let sample = Sample::from_info(&info(&mut connection)?);
        let now = clock::monotonic();
        let rate = before.map(|(commands, then)| {
            sample.commands.saturating_sub(commands) as f64 / (now - then).as_secs_f64().max(1e-6)
        });
        before = Some((sample.commands, now));
        let mut text = if is_json { sample.json(rate) } else { sample.line(rate) };
        if !is_json && lines % HEADING_EVERY == 0 {
            text = format!("{HEADING}\n{text}");
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| Failure::of_output(&error))?;
        lines += 1;
        if samples.is_some_and(|samples| lines >= samples) {
            return Ok(Outcome::Ok);
        }
        match interrupts.pause(interval) {
            Ok(Woken::Interrupted) => return Ok(Outcome::Ok),
            Ok(_) => {}
            Err(error) => return Err(Failure::Usage(error.to_string())),
        }
    }
}

fn info(connection: &mut Connection) -> Result<String, Failure> {
    match connection.call(&["INFO"])? {
        Reply::Bulk(text) | Reply::Verbatim { text, .. } => Ok(String::from_utf8_lossy(&text).into_owned()),
        Reply::Error(text) => Err(Failure::Server(text.into_owned())),
        _ => Err(Failure::Server("INFO answers something else than text".to_owned())),
    }
}

/// 0 for what the service does not say.
#[derive(Debug, PartialEq, Eq)]
struct Sample {
    keys: u64,
    memory: String,
    clients: u64,
    commands: u64,
    connections: u64,
}

impl Sample {
    fn from_info(info: &str) -> Self {
        let fields: HashMap<&str, &str> = info.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
        let text = |name: &str| fields.get(name).copied().unwrap_or("0");
        let number = |name: &str| text(name).parse().unwrap_or(0);
        let is_database = |name: &str| name.strip_prefix("db").is_some_and(|rest| rest.parse::<u32>().is_ok());
        let keys_of = |line: &str| line.strip_prefix("keys=")?.split(',').next()?.parse::<u64>().ok();
        Self {
            keys: fields.iter().filter(|(name, _)| is_database(name)).filter_map(|(_, line)| keys_of(line)).sum(),
            memory: text("used_memory_human").to_owned(),
            clients: number("connected_clients"),
            commands: number("total_commands_processed"),
            connections: number("total_connections_received"),
        }
    }

    fn line(&self, rate: Option<f64>) -> String {
        let rate = rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}"));
        let Self { keys, memory, clients, commands, connections } = self;
        format!("{keys:>10} {memory:>12} {clients:>9} {commands:>10} {rate:>12} {connections:>13}")
    }

    fn json(&self, rate: Option<f64>) -> String {
        let Self { keys, memory, clients, commands, connections } = self;
        serde_json::json!({
            "keys": keys, "memory": memory, "clients": clients, "commands": commands, "per_second": rate,
            "connections": connections,
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_sums_the_keys_of_all_databases() {
        let info = "# Clients\r\nconnected_clients:3\r\nused_memory_human:1.05M\r\ntotal_commands_processed:9\r\n\
                    # Keyspace\r\ndb0:keys=7,expires=0\r\ndb12:keys=5,expires=1\r\n";
        let sample = Sample::from_info(info);
        assert_eq!((sample.keys, sample.clients, sample.commands, sample.memory.as_str()), (12, 3, 9, "1.05M"));
        assert_eq!(sample.line(Some(2.4)).split_whitespace().collect::<Vec<_>>(), ["12", "1.05M", "3", "9", "2", "0"]);
    }
}
