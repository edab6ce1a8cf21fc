//! LATENCY: events that took long, and how long each command takes. All of it is in shared memory.

use crate::kv::commands::args;
use crate::kv::commands::help;
use crate::kv::commands::latency_report::{doctor, graph};
use crate::kv::commands::table::{self, Command, Flags, Group, Handler};
use crate::kv::errors::{self, CommandResult};
use crate::kv::metrics::statistics::{OfCommand, Totals};
use crate::kv::sessions::session::{Outcome, SessionCall};
use crate::kv::shared::latency::{Event, Sample};
use crate::resp::reply::Reply;

pub const COMMANDS: &[Command] = &[Command {
    name: "latency",
    arity: -2,
    group: Group::Server,
    since: "2.8.13",
    complexity: "Depends on subcommand.",
    summary: "A container for latency diagnostics commands.",
    handler: Handler::Container,
    subcommands: &[
        Command {
            name: "latency|doctor",
            arity: 2,
            flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE),
            group: Group::Server,
            since: "2.8.13",
            complexity: "O(1)",
            summary: "Returns a human-readable latency analysis report.",
            handler: Handler::Session(latency_doctor),
            tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
            ..Command::ROW
        },
        Command {
            name: "latency|graph",
            arity: 3,
            flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE),
            group: Group::Server,
            since: "2.8.13",
            complexity: "O(1)",
            summary: "Returns a latency graph for an event.",
            syntax: "event",
            handler: Handler::Session(latency_graph),
            tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
            ..Command::ROW
        },
        Command {
            name: "latency|help",
            arity: 2,
            flags: Flags::LOADING.or(Flags::STALE),
            group: Group::Server,
            since: "2.8.13",
            complexity: "O(1)",
            summary: "Returns helpful text about the different subcommands.",
            handler: Handler::Pure(latency_help),
            ..Command::ROW
        },
        Command {
            name: "latency|histogram",
            arity: -2,
            flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE),
            group: Group::Server,
            since: "7.0.0",
            complexity: "O(N) where N is the number of commands with latency information being retrieved.",
            summary: "Returns the cumulative distribution of latencies of a subset or all commands.",
            syntax: "[command [command ...]]",
            handler: Handler::Session(latency_histogram),
            tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
            ..Command::ROW
        },
        Command {
            name: "latency|history",
            arity: 3,
            flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE),
            group: Group::Server,
            since: "2.8.13",
            complexity: "O(1)",
            summary: "Returns timestamp-latency samples for an event.",
            syntax: "event",
            handler: Handler::Session(latency_history),
            tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
            ..Command::ROW
        },
        Command {
            name: "latency|latest",
            arity: 2,
            flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE),
            group: Group::Server,
            since: "2.8.13",
            complexity: "O(1)",
            summary: "Returns the latest latency samples for all events.",
            handler: Handler::Session(latency_latest),
            tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
            ..Command::ROW
        },
        Command {
            name: "latency|reset",
            arity: -2,
            flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE),
            group: Group::Server,
            since: "2.8.13",
            complexity: "O(1)",
            summary: "Resets the latency data for one or more events.",
            syntax: "[event [event ...]]",
            handler: Handler::Session(latency_reset),
            tips: &["request_policy:all_nodes", "response_policy:agg_sum"],
            ..Command::ROW
        },
    ],
    ..Command::ROW
}];

fn latency_doctor(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    Outcome::Reply(text(doctor(&call.worker.shared)))
}

fn latency_graph(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    let latency = &call.worker.shared.latency;
    let samples = Event::named(args[2]).map(|event| (event, latency.samples(event)));
    match samples {
        Some((event, samples)) if !samples.is_empty() => {
            let now_seconds = call.worker.clock.now_ms() / 1000;
            Outcome::Reply(text(graph(args[2], &samples, latency.max_ms(event), now_seconds)))
        }
        _ => Outcome::error(errors::no_samples(args[2])),
    }
}

fn text(text: String) -> Reply {
    Reply::Verbatim { format: *b"txt", text: text.into_bytes() }
}

fn latency_history(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    let samples = Event::named(args[2]).map(|event| call.worker.shared.latency.samples(event)).unwrap_or_default();
    let pair = |sample: Sample| {
        Reply::Array(vec![Reply::Integer(sample.time_seconds.into()), Reply::Integer(sample.latency_ms.into())])
    };
    Outcome::Reply(Reply::Array(samples.into_iter().map(pair).collect()))
}

fn latency_latest(call: &mut SessionCall<'_>, _args: &[&[u8]]) -> Outcome {
    let latency = &call.worker.shared.latency;
    let latest = Event::ALL.iter().filter_map(|&(name, event)| {
        let last = *latency.samples(event).last()?;
        Some(Reply::Array(vec![
            Reply::Bulk(name.into()),
            Reply::Integer(last.time_seconds.into()),
            Reply::Integer(last.latency_ms.into()),
            Reply::Integer(latency.max_ms(event).cast_signed()),
        ]))
    });
    Outcome::Reply(Reply::Array(latest.collect()))
}

fn latency_reset(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    if let Err(error) = args::check_names(&args[2..]) {
        return Outcome::Reply(error.into_reply());
    }
    let is_meant = |event| args.len() == 2 || args[2..].iter().any(|name| Event::named(name) == Some(event));
    let latency = &call.worker.shared.latency;
    let reset = Event::ALL.iter().filter(|&&(_, event)| is_meant(event) && latency.reset(event));
    Outcome::Reply(Reply::Integer(reset.count() as i64))
}

fn latency_histogram(call: &mut SessionCall<'_>, args: &[&[u8]]) -> Outcome {
    if let Err(error) = args::check_names(&args[2..]) {
        return Outcome::Reply(error.into_reply());
    }
    let rows: Vec<&'static Command> = match &args[2..] {
        [] => table::named_rows().to_vec(),
        names => names.iter().filter_map(|name| table::lookup_full_name(name)).flat_map(with_subcommands).collect(),
    };
    let histograms = rows.into_iter().filter_map(|row| {
        let cumulative = cumulative(&call.worker.totals, row)?;
        Some((Reply::Bulk(row.name.into()), cumulative))
    });
    Outcome::Reply(Reply::Map(histograms.collect()))
}

fn with_subcommands(row: &'static Command) -> impl Iterator<Item = &'static Command> {
    std::iter::once(row).chain(row.subcommands)
}

/// How many calls took at most 1, 2, 4, … microseconds; only where the count grows. `None` for a command without calls.
fn cumulative(totals: &Totals, row: &'static Command) -> Option<Reply> {
    let number = table::number(row);
    let calls = totals.command(number, OfCommand::Calls);
    if calls == 0 {
        return None;
    }
    let mut sum = 0;
    let buckets = totals.buckets(number).into_iter().enumerate().filter(|&(_, count)| count > 0);
    let buckets = buckets.map(|(power, count)| {
        sum += count;
        (Reply::Integer(1 << power), Reply::Integer(sum.cast_signed()))
    });
    let buckets = buckets.collect();
    let bulk = |name: &str| Reply::Bulk(name.into());
    Some(Reply::Map(vec![
        (bulk("calls"), Reply::Integer(calls.cast_signed())),
        (bulk("histogram_usec"), Reply::Map(buckets)),
    ]))
}

fn latency_help(_args: &[&[u8]]) -> CommandResult {
    Ok(help::reply("LATENCY", HELP))
}

const HELP: &[&str] = &[
    "DOCTOR",
    "    Return a human readable latency analysis report.",
    "GRAPH <event>",
    "    Return an ASCII latency graph for the <event> class.",
    "HISTORY <event>",
    "    Return time-latency samples for the <event> class.",
    "LATEST",
    "    Return the latest latency samples for all events.",
    "RESET [<event> ...]",
    "    Reset latency data of one or more <event> classes.",
    "    (default: reset all data for all event classes)",
    "HISTOGRAM [COMMAND ...]",
    "    Return a cumulative distribution of latencies in the format of a histogram for the specified command names.",
    "    If no commands are specified then all histograms are replied.",
];
