//! The flags of `emptyserver cli`, as redis-cli has them where it has them, and what follows from them together with the
//! environment: where to go, what to do, how to print. A flag that is not here does not exist; none is ignored.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgAction, Args};

use super::connection_arguments::ConnectionArguments;
use super::modes::SurveyKind;
use super::print::Style;
use super::surroundings::Surroundings;
use super::target::Target;

/// For `--help` and the man page.
const AFTER_HELP: &str = "Exit codes: 0 all is well, 1 the service answered with an error, 2 the command line, an input or a \
                          file cannot be understood, 3 no connection. At the prompt `help` says more.";

/// The short flags of the socket and of the database are redis-cli's; `bench` has them for something else.
#[derive(Args, Debug)]
#[command(disable_help_flag = true, after_help = AFTER_HELP)]
#[command(mut_arg("socket", |flag| flag.short('s')), mut_arg("database", |flag| flag.short('n')))]
pub struct CliArguments {
    #[command(flatten, next_help_heading = "Connection")]
    pub(crate) connection: ConnectionArguments,
    #[command(flatten, next_help_heading = "Connection")]
    own_connection: CliConnectionArguments,
    #[command(flatten, next_help_heading = "Output")]
    pub(crate) output: OutputArguments,
    #[command(flatten, next_help_heading = "Commands")]
    pub(crate) script: ScriptArguments,
    #[command(flatten, next_help_heading = "Modes, instead of a command")]
    pub(crate) mode: ModeArguments,
    #[command(flatten, next_help_heading = "Of some modes")]
    pub(crate) keys: KeyArguments,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// The command and its arguments; without them a prompt at a terminal, and one command a line from standard input
    /// elsewhere
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// What of a connection only the cli offers.
#[derive(Args, Debug)]
pub(crate) struct CliConnectionArguments {
    /// Do not warn of a password on the command line
    #[arg(long)]
    no_auth_warning: bool,
    /// Speak RESP2 (what happens without --json)
    #[arg(short = '2', long, conflicts_with = "resp3")]
    resp2: bool,
}

#[derive(Args, Debug)]
pub(crate) struct OutputArguments {
    /// Values as they are (what happens where the output is no terminal)
    #[arg(long, group = "format")]
    raw: bool,
    /// Values quoted, with their types (what happens at a terminal)
    #[arg(long, group = "format")]
    no_raw: bool,
    /// One line of JSON for each reply; speaks RESP3, so that maps are objects
    #[arg(long, group = "format")]
    json: bool,
    /// Comma-separated values
    #[arg(long, group = "format")]
    csv: bool,
    /// Show on standard error how long each command took
    #[arg(long)]
    pub(crate) timing: bool,
    /// At the prompt: never hand a long reply to $PAGER
    #[arg(long)]
    pub(crate) no_pager: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ScriptArguments {
    /// Run the Lua script in this file (- for standard input): keys follow, then a comma by itself, then its arguments
    #[arg(long, value_name = "FILE", conflicts_with = "last_from_input")]
    pub(crate) eval: Option<PathBuf>,
    /// The last argument comes from standard input, byte by byte
    #[arg(short = 'x')]
    pub(crate) last_from_input: bool,
    /// Run the command so often; -1: for ever
    #[arg(short = 'r', long, allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..))]
    pub(crate) repeat: Option<i64>,
    /// Seconds between repetitions (0.1 is allowed), between samples of --latency and --stat, and between the looks of
    /// --watch
    #[arg(short = 'i', long, value_parser = seconds)]
    pub(crate) interval: Option<Duration>,
}

#[derive(Args, Debug)]
#[group(multiple = false, conflicts_with_all = ["command", "repeat", "last_from_input", "eval"])]
pub(crate) struct ModeArguments {
    /// Send the commands of standard input, one a line or as RESP, as fast as they are taken
    #[arg(long)]
    pipe: bool,
    /// Print the names of all keys, see --pattern
    #[arg(long)]
    scan: bool,
    /// The key with the most elements or bytes of each type
    #[arg(long)]
    bigkeys: bool,
    /// The key with the most memory of each type
    #[arg(long)]
    memkeys: bool,
    /// How memory and lengths are distributed over the keys, and the largest of them
    #[arg(long)]
    keystats: bool,
    /// A line about the service each second
    #[arg(long)]
    stat: bool,
    /// How long a PING takes, with a histogram, until Ctrl-C
    #[arg(long)]
    latency: bool,
    /// The same, a line for each 15 seconds (-i)
    #[arg(long)]
    latency_history: bool,
    /// Write all keys of all databases to this file, which redis-server 7.0 and later load
    #[arg(long, value_name = "FILE")]
    rdb: Option<PathBuf>,
    /// Every command that the service runs
    #[arg(long)]
    monitor: bool,
    /// Show this key whenever it changes
    #[arg(long, value_name = "KEY")]
    watch: Option<OsString>,
}

#[derive(Args, Debug)]
pub(crate) struct KeyArguments {
    /// Keys whose names match: --scan, --bigkeys, --memkeys, --keystats
    #[arg(long)]
    pub(crate) pattern: Option<String>,
    /// How many keys the service looks at in one step
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) count: u32,
    /// Keys of this type: string, list, set, zset, hash, stream
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// How many of the largest keys --keystats shows
    #[arg(long, default_value_t = 10)]
    pub(crate) top: usize,
    /// End --latency, --latency-history, --stat or --watch after so many samples, intervals, lines or changes
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) samples: Option<u64>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Without words: a prompt, or lines of the input.
    Commands(Vec<Vec<u8>>),
    Pipe,
    Scan,
    Survey(SurveyKind),
    Stat,
    Latency,
    LatencyHistory,
    Monitor,
    Watch(Vec<u8>),
}

impl CliArguments {
    /// The file of `--rdb`. What a file has, the client does not know: whoever runs it writes the file.
    pub fn rdb(&self) -> Option<&Path> {
        self.mode.rdb.as_deref()
    }

    /// Where to go.
    ///
    /// # Errors
    /// What can't be understood, in words.
    pub fn target(&self, surroundings: &Surroundings) -> Result<Target, String> {
        let target = self.connection.target(surroundings)?;
        let is_resp3 = target.is_resp3 || (self.output.json && !self.own_connection.resp2);
        Ok(Target { is_resp3, ..target })
    }

    /// What to say about a password that other programs can see.
    pub(crate) fn warning(&self) -> Option<&'static str> {
        (self.connection.shows_password() && !self.own_connection.no_auth_warning).then_some(
            "a password on the command line is visible to other programs; --askpass or REDISCLI_AUTH hides it",
        )
    }

    pub(crate) fn task(&self) -> Task {
        let mode = &self.mode;
        match (&mode.watch, mode) {
            (Some(key), _) => Task::Watch(key.clone().into_vec()),
            (_, ModeArguments { pipe: true, .. }) => Task::Pipe,
            (_, ModeArguments { scan: true, .. }) => Task::Scan,
            (_, ModeArguments { bigkeys: true, .. }) => Task::Survey(SurveyKind::Lengths),
            (_, ModeArguments { memkeys: true, .. }) => Task::Survey(SurveyKind::Memory),
            (_, ModeArguments { keystats: true, .. }) => Task::Survey(SurveyKind::Statistics),
            (_, ModeArguments { stat: true, .. }) => Task::Stat,
            (_, ModeArguments { latency: true, .. }) => Task::Latency,
            (_, ModeArguments { latency_history: true, .. }) => Task::LatencyHistory,
            (_, ModeArguments { monitor: true, .. }) => Task::Monitor,
            _ => Task::Commands(self.command.iter().map(|word| word.clone().into_vec()).collect()),
        }
    }

    /// How to print where nothing else is said: quoted for a person, raw for a program.
    pub(crate) fn style(&self, is_terminal: bool) -> Style {
        self.chosen_style().unwrap_or(if is_terminal { Style::Quoted } else { Style::Raw })
    }

    /// What a flag says of it.
    pub(crate) fn chosen_style(&self) -> Option<Style> {
        match self.output {
            OutputArguments { raw: true, .. } => Some(Style::Raw),
            OutputArguments { no_raw: true, .. } => Some(Style::Quoted),
            OutputArguments { json: true, .. } => Some(Style::Json),
            OutputArguments { csv: true, .. } => Some(Style::Csv),
            _ => None,
        }
    }

    /// Which flag makes no sense beside the task, in words.
    pub(crate) fn contradiction(&self) -> Option<String> {
        // clap takes what it does not know for the command, and no command begins so.
        if let Some(flag) = self.command.first().filter(|word| word.as_encoded_bytes().starts_with(b"-")) {
            return Some(format!("{} is not a flag; --help lists them", flag.display()));
        }
        let task = self.task();
        let (script, keys, output) = (&self.script, &self.keys, &self.output);
        let has_words = matches!(&task, Task::Commands(words) if !words.is_empty());
        let walks_keys = matches!(task, Task::Scan | Task::Survey(_));
        let samples = matches!(task, Task::Latency | Task::LatencyHistory | Task::Stat | Task::Watch(_));
        let prints_replies = matches!(task, Task::Commands(_) | Task::Monitor | Task::Scan | Task::Watch(_));
        let contradictions = [
            (script.last_from_input && !has_words, "-x adds the last argument to a command, and there is none"),
            (script.repeat.is_some() && !has_words, "-r repeats a command, and there is none"),
            (
                (keys.pattern.is_some() || keys.kind.is_some()) && !walks_keys,
                "--pattern and --type are for --scan, --bigkeys, --memkeys and --keystats",
            ),
            (keys.samples.is_some() && !samples, "--samples is for --latency, --latency-history, --stat and --watch"),
            (
                script.interval.is_some() && !samples && script.repeat.is_none(),
                "-i is for -r, --latency, --latency-history, --stat and --watch",
            ),
            (
                (output.raw || output.no_raw || output.csv) && !prints_replies,
                "--raw, --no-raw and --csv are for replies, and this mode prints none",
            ),
            (output.json && task == Task::Pipe, "--json is for replies, and --pipe prints none"),
            (output.timing && !matches!(task, Task::Commands(_)), "--timing is for commands"),
            (output.no_pager && task != Task::Commands(Vec::new()), "--no-pager is for the prompt"),
        ];
        contradictions.into_iter().find(|(is_there, _)| *is_there).map(|(_, text)| text.to_owned())
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "seconds are a number from 0 to 86400".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        arguments: CliArguments,
    }

    fn arguments(words: &[&str]) -> CliArguments {
        Program::try_parse_from([&["cli"], words].concat()).unwrap().arguments
    }

    fn surroundings() -> Surroundings {
        let local = Target { port: 7000, password: Some("local".into()), ..Target::default() };
        Surroundings { local, ..Surroundings::default() }
    }

    #[test]
    fn flags_end_where_the_command_begins() {
        let arguments = arguments(&["-p", "1", "-3", "set", "a", "-1", "-h", "--", "x"]);
        let target = arguments.target(&surroundings()).unwrap();
        assert_eq!((target.port, target.is_resp3), (1, true));
        assert_eq!(arguments.command, ["set", "a", "-1", "-h", "--", "x"]);
    }

    #[test]
    fn socket_and_database_have_the_short_flags_of_redis_cli() {
        let target = arguments(&["-s", "/run/kv.sock", "-n", "5", "ping"]).target(&surroundings()).unwrap();
        assert_eq!((target.to_string().as_str(), target.database), ("/run/kv.sock", 5));
    }

    #[test]
    fn json_speaks_resp3_unless_it_is_told_not_to() {
        let is_resp3 = |words: &[&str]| arguments(words).target(&surroundings()).unwrap().is_resp3;
        assert!(is_resp3(&["--json"]) && is_resp3(&["-3"]));
        assert!(!is_resp3(&["--json", "-2"]) && !is_resp3(&[]));
    }

    #[test]
    fn a_password_that_others_can_see_is_warned_of() {
        for words in [&["-a", "x"][..], &["-u", "redis://:x@kv"]] {
            assert!(arguments(words).warning().is_some());
            assert!(arguments(&[words, &["--no-auth-warning"]].concat()).warning().is_none());
        }
        assert!(arguments(&["-u", "redis://kv"]).warning().is_none());
    }

    #[test]
    fn flags_that_mean_nothing_together_are_refused() {
        for words in
            [&["-x"][..], &["-r", "2"], &["--pattern", "a*", "get", "a"], &["--samples", "1"], &["-i", "1", "get"]]
        {
            assert!(arguments(words).contradiction().is_some(), "{words:?}");
        }
        for words in [&["-r", "-1", "-i", "0.1", "ping"][..], &["--scan", "--pattern", "a*"], &["--stat", "-i", "1"]] {
            assert_eq!(arguments(words).contradiction(), None, "{words:?}");
        }
        for words in
            [&["--json", "--csv"][..], &["--scan", "--pipe"], &["--scan", "get"], &["-2", "-3"], &["-r", "-2", "x"]]
        {
            assert!(Program::try_parse_from([&["cli"], words].concat()).is_err(), "{words:?}");
        }
    }
}
