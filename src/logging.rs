//! Log lines on standard error: text for a person at a terminal, JSON lines for everything else. Each line says which
//! process it comes from and is one write, because all processes of the service share standard error. None waits for who reads it:
//! a line that there is no room for is dropped and counted.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal};
use std::panic::PanicHookInfo;

use serde::Deserialize;
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Json, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::sys::stderr::{self, LINE_BYTES_MAX};

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
    NoMemory(io::Error),
}

/// Logs from now on, panics too, in this process and in those that it forks.
///
/// # Errors
/// The filter is not understood, a log is there already, or there is no memory for the count of lines.
pub fn start(settings: &LogSettings) -> Result<(), LogError> {
    let filter = parse_filter(&settings.log)?;
    let is_terminal = std::io::stderr().is_terminal();
    let is_text = match settings.log_format {
        LogFormat::Auto => is_terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    stderr::prepare().map_err(LogError::NoMemory)?;
    let lines = move || Lines { is_text };
    tracing::subscriber::set_global_default(subscriber(filter, is_text, is_terminal, lines))
        .map_err(|_| LogError::AlreadyStarted)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// What a line is written to: whole, or not at all.
struct Lines {
    is_text: bool,
}

impl io::Write for Lines {
    /// Nothing fails: who logs can do nothing about it, and the line is counted.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        stderr::write_line(&fitting(line, self.is_text));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The line in the length that goes out in one piece: a longer one would mix with other processes' lines. A text is cut, of an object the
/// longest field is.
fn fitting(line: &[u8], is_text: bool) -> Cow<'_, [u8]> {
    if line.len() <= LINE_BYTES_MAX {
        return Cow::Borrowed(line);
    }
    let cut = |bytes: &[u8], length: usize| format!("{}\u{2026}", String::from_utf8_lossy(&bytes[..length]));
    let mut object = match serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(line) {
        Ok(object) if !is_text => object,
        // Three bytes for each that is no text, and an ellipsis.
        _ => return Cow::Owned((cut(line, LINE_BYTES_MAX / 4) + "\n").into_bytes()),
    };
    loop {
        let longest =
            object.values_mut().filter(|value| value.is_string()).max_by_key(|value| value.as_str().map(str::len));
        if let Some(value) = longest
            && let Some(text) = value.as_str()
        {
            // What is escaped takes up to six bytes for one.
            *value = cut(text.as_bytes(), text.len() / 8).into();
        }
        let mut fitting = serde_json::to_vec(&object).unwrap_or_default();
        fitting.push(b'\n');
        if fitting.len() <= LINE_BYTES_MAX
            || object.values().all(|value| value.as_str().is_none_or(|text| text.len() < 64))
        {
            return Cow::Owned(fitting);
        }
    }
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
            Self::NoMemory(error) => write!(f, "there is no memory for the count of dropped log lines: {error}"),
        }
    }
}

impl std::error::Error for LogError {}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn a_long_line_is_cut_to_one_piece_and_stays_what_it_is() {
        let short = b"{\"message\":\"as it is\"}\n";
        assert_eq!(&*fitting(short, false), short);
        for text in ["x".repeat(5000), "\u{1}".repeat(3000), "\u{20ac}".repeat(100_000)] {
            let line = |is_text| log("info", is_text, || tracing::info!(text, peer = "127.0.0.1:1", "long")).remove(0);
            let cut = fitting(line(false).as_bytes(), false).into_owned();
            assert!(cut.len() <= LINE_BYTES_MAX && cut.ends_with(b"\n"), "{}", cut.len());
            let object: serde_json::Value = serde_json::from_slice(&cut).unwrap();
            assert_eq!((&object["message"], &object["peer"]), (&"long".into(), &"127.0.0.1:1".into()));
            assert!(object["text"].as_str().unwrap().ends_with('\u{2026}'));
            let cut = fitting(line(true).as_bytes(), true).into_owned();
            assert!(cut.len() <= LINE_BYTES_MAX && cut.ends_with("\u{2026}\n".as_bytes()), "{}", cut.len());
        }
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
