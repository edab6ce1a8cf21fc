//! `emptyserver cli`: one command from the arguments, or one a line from standard input; plain replies; an exit code
//! that scripts can use. What the environment says comes from the caller.

use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::ffi::OsStringExt;

use clap::Args;

use super::connection::{ClientError, Connection, Patience};
use super::print::{Style, print};
use super::target_arguments::{Surroundings, TargetArguments};
use crate::resp::{Reply, inline};

/// Flags as redis-cli has them.
#[derive(Args, Debug)]
#[command(disable_help_flag = true)]
pub struct CliArguments {
    #[command(flatten)]
    target: TargetArguments,
    /// Number of the database
    #[arg(short = 'n', long = "db")]
    database: Option<u32>,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// The command and its arguments; without them, one command a line from standard input
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// How it ended, worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Ok = 0,
    /// At least one reply was an error.
    ServerError = 1,
    /// The command line, the URL or a line of the input cannot be understood.
    Usage = 2,
    /// No connection, or it was lost.
    Connection = 3,
}

/// Runs what the arguments say, with the standard streams.
#[must_use]
pub fn run(arguments: CliArguments, surroundings: &Surroundings) -> Outcome {
    let style = if io::stdout().is_terminal() { Style::Quoted } else { Style::Raw };
    let outcome = match arguments.target.target(arguments.database, surroundings) {
        Ok(target) => Connection::connect(&target, Patience::default())
            .map_err(Failure::Client)
            .and_then(|connection| converse(connection, arguments.command, style)),
        Err(text) => Err(Failure::Usage(text)),
    };
    outcome.unwrap_or_else(|failure| failure.report())
}

fn converse(connection: Connection, command: Vec<OsString>, style: Style) -> Result<Outcome, Failure> {
    let mut session = Session { connection, style, out: io::stdout().lock() };
    if command.is_empty() {
        session.run_lines(io::stdin().lock())
    } else {
        let command: Vec<Vec<u8>> = command.into_iter().map(OsStringExt::into_vec).collect();
        session.run_command(&command)
    }
}

/// Commands on one connection, their replies on `out`.
struct Session<W: Write> {
    connection: Connection,
    style: Style,
    out: W,
}

impl<W: Write> Session<W> {
    /// One command a line, quoted as in redis-cli. Goes on after an error reply; ends at a line that it cannot read.
    fn run_lines(&mut self, lines: impl BufRead) -> Result<Outcome, Failure> {
        let mut worst = Outcome::Ok;
        for (index, line) in lines.split(b'\n').enumerate() {
            let line = line.map_err(|error| Failure::Usage(format!("standard input cannot be read: {error}")))?;
            let command =
                split_line(&line).ok_or_else(|| Failure::Usage(format!("line {}: unbalanced quotes", index + 1)))?;
            let Some(name) = command.first() else { continue };
            let is_farewell = name.eq_ignore_ascii_case(b"quit");
            worst = worst.max(self.run_command(&command)?);
            if is_farewell {
                break;
            }
        }
        Ok(worst)
    }

    fn run_command(&mut self, command: &[Vec<u8>]) -> Result<Outcome, Failure> {
        let reply = self.connection.call(command)?;
        let style = if answers_with_a_page(command) { Style::Raw } else { self.style };
        self.show(&reply, style)?;
        if matches!(reply, Reply::Error(_)) {
            return Ok(Outcome::ServerError);
        }
        if command[0].eq_ignore_ascii_case(b"monitor") {
            self.follow()?;
        }
        Ok(Outcome::Ok)
    }

    /// Shows what comes until the service closes the connection.
    fn follow(&mut self) -> Result<(), Failure> {
        loop {
            match self.connection.receive() {
                Ok(reply) => self.show(&reply, self.style)?,
                Err(ClientError::Closed) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Flushes: whoever reads the other end of a pipe waits for this reply.
    fn show(&mut self, reply: &Reply, style: Style) -> Result<(), Failure> {
        let text = print(reply, style);
        self.out.write_all(&text).and_then(|()| self.out.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Usage(format!("standard output cannot be written: {error}")),
        })
    }
}

/// Why it ended early.
enum Failure {
    Usage(String),
    Client(ClientError),
    /// `emptyserver cli … | head` has seen enough.
    OutputClosed,
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl Failure {
    fn report(self) -> Outcome {
        let (text, outcome) = match self {
            Self::Usage(text) => (text, Outcome::Usage),
            Self::Client(ClientError::Refused(text)) => (text, Outcome::ServerError),
            Self::Client(error) => (error.to_string(), Outcome::Connection),
            Self::OutputClosed => return Outcome::Ok,
        };
        eprintln!("emptyserver cli: {text}");
        outcome
    }
}

/// True for commands whose reply is many lines for people: quotes would hide its lines.
fn answers_with_a_page(command: &[Vec<u8>]) -> bool {
    let word = |index: usize| command.get(index).map(|word| word.to_ascii_lowercase()).unwrap_or_default();
    match word(0).as_slice() {
        b"info" => true,
        b"client" => matches!(word(1).as_slice(), b"list" | b"info"),
        b"memory" | b"latency" => matches!(word(1).as_slice(), b"doctor" | b"malloc-stats" | b"graph"),
        _ => false,
    }
}

/// The words of a line; none in a blank one. `None`: a quote is not closed.
fn split_line(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut text, mut spans) = (Vec::new(), Vec::new());
    inline::split(line, &mut text, &mut spans).ok()?;
    Some(spans.into_iter().map(|span| text[span].to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Target;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        arguments: CliArguments,
    }

    fn arguments(words: &[&str]) -> CliArguments {
        Program::try_parse_from([&["cli"], words].concat()).unwrap().arguments
    }

    fn target_of(arguments: &CliArguments, surroundings: &Surroundings) -> Result<Target, String> {
        arguments.target.target(arguments.database, surroundings)
    }

    fn surroundings() -> Surroundings {
        let local = Target { port: 7000, password: Some("local".into()), ..Target::default() };
        Surroundings { url: None, password: None, local }
    }

    #[test]
    fn flags_end_where_the_command_begins() {
        let arguments = arguments(&["-p", "1", "-3", "set", "a", "-1", "-h", "--", "x"]);
        assert_eq!((arguments.target.port, arguments.target.resp3), (Some(1), true));
        assert_eq!(arguments.command, ["set", "a", "-1", "-h", "--", "x"]);
    }

    #[test]
    fn without_flags_the_service_of_this_environment_is_asked() {
        let target = target_of(&arguments(&["ping"]), &surroundings()).unwrap();
        assert_eq!((target.port, target.password.as_deref()), (7000, Some("local")));
    }

    #[test]
    fn another_host_or_port_never_gets_the_local_password() {
        for words in [["-h", "other"], ["-p", "7001"]] {
            assert_eq!(target_of(&arguments(&words), &surroundings()).unwrap().password, None);
        }
    }

    #[test]
    fn flags_win_over_the_url_and_the_url_flag_over_the_variable() {
        let mut surroundings = surroundings();
        surroundings.url = Some("redis://:pw@one:1/1".into());
        let target = target_of(&arguments(&["-n", "5", "-p", "9"]), &surroundings).unwrap();
        assert_eq!((target.host.as_str(), target.port, target.database), ("one", 9, 5));
        assert_eq!(target.password.as_deref(), Some("pw"));
        let target = target_of(&arguments(&["-u", "redis://two", "-a", "x"]), &surroundings).unwrap();
        assert_eq!((target.host.as_str(), target.password.as_deref()), ("two", Some("x")));
        surroundings.password = Some("auth".into());
        assert_eq!(target_of(&arguments(&[]), &surroundings).unwrap().password.as_deref(), Some("auth"));
        assert!(target_of(&arguments(&["-u", "http://two"]), &surroundings).is_err());
    }

    #[test]
    fn a_line_is_split_with_quotes() {
        assert_eq!(split_line(b"set 'a b' \"\\x00\"\r"), Some(vec![b"set".to_vec(), b"a b".to_vec(), vec![0]]));
        assert_eq!(split_line(b"  "), Some(vec![]));
        assert_eq!(split_line(b"set \"a"), None);
    }
}
