//! `emptyserver cli`: from the flags to what they ask for, with the standard streams, and an exit code that scripts can use.
//! What the environment says comes from the caller.

use std::fs::File;
use std::io::{self, IsTerminal, Read, StdoutLock};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

pub use super::arguments::CliArguments;
use super::arguments::Task;
use super::connection::{Connection, Patience};
use super::failure::Failure;
pub use super::failure::Outcome;
use super::modes::{self, Sampling, Selection};
use super::print::Style;
use super::repl::{self, Preferences};
use super::script::{Repetition, Script};
use super::surroundings::Surroundings;
use super::target::Target;

/// Runs what the arguments say, with the standard streams.
#[must_use]
pub fn run(arguments: &CliArguments, surroundings: &Surroundings) -> Outcome {
    perform(arguments, surroundings).unwrap_or_else(|failure| failure.report("cli"))
}

fn perform(arguments: &CliArguments, surroundings: &Surroundings) -> Result<Outcome, Failure> {
    if let Some(text) = arguments.contradiction() {
        return Err(Failure::Usage(text));
    }
    let mut target = arguments.target(surroundings).map_err(Failure::Usage)?;
    if let Some(text) = arguments.warning() {
        eprintln!("emptyserver cli: {text}");
    }
    if let Some(password) = arguments.connection.ask_password().map_err(Failure::Usage)? {
        target.password = Some(password);
    }
    match arguments.task() {
        Task::Commands(words) if arguments.script.eval.is_some() => run_commands(arguments, words, &target),
        Task::Commands(words) if words.is_empty() && io::stdin().is_terminal() && io::stdout().is_terminal() => {
            repl::run(target, preferences(arguments, surroundings))
        }
        Task::Commands(words) => run_commands(arguments, words, &target),
        mode => run_mode(arguments, mode, Connection::connect(&target, Patience::default())?),
    }
}

fn preferences(arguments: &CliArguments, surroundings: &Surroundings) -> Preferences {
    Preferences {
        history: surroundings.history.clone(),
        pager: surroundings.pager.clone(),
        is_paged: !arguments.output.no_pager,
        is_coloured: !surroundings.is_colourless,
        is_timed: arguments.output.timing,
        style: arguments.chosen_style(),
    }
}

fn run_mode(arguments: &CliArguments, mode: Task, connection: Connection) -> Result<Outcome, Failure> {
    let style = arguments.style(io::stdout().is_terminal());
    let is_json = style == Style::Json;
    let (keys, interval) = (&arguments.keys, arguments.script.interval);
    let selection = Selection { pattern: keys.pattern.clone(), kind: keys.kind.clone(), count: keys.count };
    let sampling = Sampling { interval, samples: keys.samples, is_json };
    match mode {
        Task::Commands(words) => script(arguments, connection).repeat(&words, Repetition::ONCE),
        Task::Monitor => script(arguments, connection).repeat(&[b"MONITOR".to_vec()], Repetition::ONCE),
        Task::Pipe => {
            let input = io::stdin().as_fd().try_clone_to_owned().map_err(|error| Failure::of_input(&error))?;
            modes::pipe(connection, File::from(input))
        }
        Task::Scan => modes::scan(connection, selection, style),
        Task::Survey(kind) => modes::survey(connection, selection, kind, keys.top, is_json),
        Task::Stat => modes::stat(connection, interval, keys.samples, is_json),
        Task::Latency => modes::latency(connection, sampling),
        Task::LatencyHistory => modes::latency_history(connection, sampling),
        Task::Watch(key) => modes::watch(connection, &key, style, interval, keys.samples),
    }
}

/// The call of a script with these words, of which those before a comma are keys.
fn eval(source: Vec<u8>, words: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let keys = words.iter().position(|word| word == b",").unwrap_or(words.len());
    let count = keys.to_string().into_bytes();
    let arguments = words.into_iter().enumerate().filter(|(number, _)| *number != keys).map(|(_, word)| word);
    [b"EVAL".to_vec(), source, count].into_iter().chain(arguments).collect()
}

fn source(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut source = Vec::new();
    let read = match file {
        file if file == Path::new("-") => io::stdin().lock().read_to_end(&mut source),
        file => File::open(file).and_then(|mut file| file.read_to_end(&mut source)),
    };
    match read {
        Ok(_) => Ok(source),
        Err(error) => Err(Failure::Usage(format!("{} can't be read: {error}", file.display()))),
    }
}

fn script(arguments: &CliArguments, connection: Connection) -> Script<StdoutLock<'static>> {
    let style = arguments.style(io::stdout().is_terminal());
    Script { connection, style, is_timed: arguments.output.timing, out: io::stdout().lock() }
}

fn run_commands(arguments: &CliArguments, mut words: Vec<Vec<u8>>, target: &Target) -> Result<Outcome, Failure> {
    let script = &arguments.script;
    if let Some(file) = &script.eval {
        words = eval(source(file)?, words);
    }
    if script.last_from_input {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map_err(|error| Failure::of_input(&error))?;
        words.push(bytes);
    }
    let mut session = self::script(arguments, Connection::connect(target, Patience::default())?);
    if words.is_empty() {
        return session.run_lines(io::stdin().lock());
    }
    let times = script.repeat.map_or(Some(1), |times| u64::try_from(times).ok());
    session.repeat(&words, Repetition { times, interval: script.interval.unwrap_or(Duration::ZERO) })
}

#[cfg(test)]
mod tests {
    use super::eval;

    #[test]
    fn what_stands_before_the_comma_are_keys() {
        let words = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
        let call = |given: &[&str]| eval(b"return 1".to_vec(), words(given));
        assert_eq!(call(&[]), words(&["EVAL", "return 1", "0"]));
        assert_eq!(call(&["a", "b"]), words(&["EVAL", "return 1", "2", "a", "b"]));
        assert_eq!(call(&["a", ",", "b", ",", ""]), words(&["EVAL", "return 1", "1", "a", "b", ",", ""]));
        assert_eq!(call(&[",", "b"]), words(&["EVAL", "return 1", "0", "b"]));
    }
}
