//! Log lines on standard error: text for a person at a terminal, JSON lines for everything else. Each line says which
//! process it comes from and is one write, because all processes of the service share standard error.

use std::fmt;
use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use serde::Deserialize;
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Json, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

/// What is logged and in which form. Fields are named as the settings are.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct LogSettings {
    /// A level, or levels by module: the syntax of tracing's `EnvFilter`.
    pub log: String,
    pub log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Auto,
    Text,
    Json,
}

/// Why logging could not start.
#[derive(Debug)]
pub enum LogError {
    Filter(String),
    AlreadyStarted,
}

/// Logs from now on, panics too, in this process and in those that it forks.
///
/// # Errors
/// The filter is not understood, or a log is there already.
pub fn start(settings: &LogSettings) -> Result<(), LogError> {
    let filter = parse_filter(&settings.log)?;
    let is_terminal = std::io::stderr().is_terminal();
    let is_text = match settings.log_format {
        LogFormat::Auto => is_terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    tracing::subscriber::set_global_default(subscriber(filter, is_text, is_terminal, std::io::stderr))
        .map_err(|_| LogError::AlreadyStarted)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// A panic is a line of the log like any other, so that JSON stays JSON.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let reason = panic.payload_as_str().unwrap_or("not a text");
    let thread = std::thread::current();
    tracing::error!(reason, location, thread = thread.name().unwrap_or_default(), "panicked");
}

/// The filter that a text means.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_filter(text: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder().parse(text).map_err(|error| LogError::Filter(error.to_string()))
}

fn subscriber<W>(filter: EnvFilter, is_text: bool, is_terminal: bool, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    if is_text {
        Box::new(builder.with_ansi(is_terminal).event_format(Format::default().with_timer(TimeAndPid)).finish())
    } else {
        // Fields stand beside the message, where log collectors look for them.
        let lines =
            JsonWithPid(Format::default().json().flatten_event(true).with_current_span(false).with_span_list(false));
        Box::new(builder.json().event_format(lines).finish())
    }
}

/// `2026-11-23T15:21:10.123456Z 4711`
struct TimeAndPid;

impl FormatTime for TimeAndPid {
    fn format_time(&self, out: &mut Writer<'_>) -> fmt::Result {
        SystemTime.format_time(out)?;
        write!(out, " {}", std::process::id())
    }
}

/// tracing's JSON lines with a field `pid` at their beginning.
struct JsonWithPid(Format<Json>);

impl<S, N> FormatEvent<S, N> for JsonWithPid
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut object = String::new();
        self.0.format_event(context, Writer::new(&mut object), event)?;
        let rest = object.strip_prefix('{').ok_or(fmt::Error)?;
        write!(out, "{{\"pid\":{},{rest}", std::process::id())
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter(why) => {
                write!(f, "EMPTYSERVER_LOG is not a filter such as `info` or `warn,emptyserver::server=debug`: {why}")
            }
            Self::AlreadyStarted => f.write_str("a log is there already"),
        }
    }
}

impl std::error::Error for LogError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    /// Keeps each write apart from the others.
    #[derive(Clone, Default)]
    struct Writes(Arc<Mutex<Vec<String>>>);

    impl io::Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log(filter: &str, is_text: bool, body: impl FnOnce()) -> Vec<String> {
        let writes = Writes::default();
        let writer = writes.clone();
        let subscriber = subscriber(parse_filter(filter).unwrap(), is_text, false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, body);
        writes.0.lock().unwrap().clone()
    }

    #[test]
    fn a_json_line_is_one_write_with_pid_and_fields_at_the_top() {
        let lines = log("info", false, || tracing::warn!(worker = 3, lane = "read", "worker \"died\"\n"));
        assert_eq!(lines.len(), 1);
        assert!(lines[0].ends_with('\n'));
        let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(line["pid"], std::process::id());
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["message"], "worker \"died\"\n");
        assert_eq!((&line["worker"], &line["lane"]), (&3.into(), &"read".into()));
        assert!(line["timestamp"].is_string());
    }

    #[test]
    fn a_text_line_is_one_write_with_the_pid_after_the_time() {
        let lines = log("info", true, || tracing::info!(worker = 3, "ready"));
        assert_eq!(lines.len(), 1);
        let words: Vec<&str> = lines[0].split_whitespace().collect();
        assert!(words[0].ends_with('Z'));
        assert_eq!(words[1], std::process::id().to_string());
        assert_eq!(words[2], "INFO");
        assert_eq!(words[4..], ["ready", "worker=3"]);
    }

    #[test]
    fn a_panic_is_a_line_of_the_log() {
        let lines = log("info", false, || {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(log_panic));
            let outcome = std::panic::catch_unwind(|| panic!("at {}", "the disco"));
            std::panic::set_hook(usual);
            assert!(outcome.is_err());
        });
        let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!((&line["message"], &line["reason"]), (&"panicked".into(), &"at the disco".into()));
        assert!(line["location"].as_str().unwrap().starts_with("src/logging.rs:"));
    }

    #[test]
    fn the_filter_takes_levels_by_module() {
        let lines = log("warn,emptyserver::logging=debug", true, || {
            tracing::debug!("shown");
            tracing::debug!(target: "other", "hidden");
        });
        assert_eq!(lines.len(), 1);
    }

    #[test]
    fn a_filter_that_is_none_names_its_setting() {
        let error = parse_filter("emptyserver=loud").unwrap_err().to_string();
        assert!(error.starts_with("EMPTYSERVER_LOG "), "{error}");
    }
}
