//! `emptyserver cli`: one command from the arguments, or one a line from standard input; plain replies; an exit code
//! that scripts can use. What the environment says comes from the caller.

use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::ffi::OsStringExt;

use clap::Args;

use super::connection::{ClientError, Connection, Patience};
use super::print::{Style, print};
use super::target::Target;
use crate::resp::{Reply, inline};

/// Flags as redis-cli has them.
#[derive(Args, Debug)]
#[command(disable_help_flag = true)]
pub struct CliArguments {
    /// Name or address of the service
    #[arg(short = 'h', long)]
    host: Option<String>,
    #[arg(short, long)]
    port: Option<u16>,
    /// Number of the database
    #[arg(short = 'n', long = "db")]
    database: Option<u32>,
    #[arg(long)]
    user: Option<String>,
    /// Other programs can see it here: the variable REDISCLI_AUTH hides it
    #[arg(short = 'a', long = "password", visible_alias = "pass")]
    password: Option<String>,
    /// redis://[[user]:password@]host[:port][/database], instead of EMPTYSERVER_URL
    #[arg(short = 'u', long)]
    url: Option<String>,
    /// Speak RESP3
    #[arg(short = '3', long)]
    resp3: bool,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// The command and its arguments; without them, one command a line from standard input
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// What the environment says about where to connect to.
#[derive(Clone, Debug)]
pub struct Surroundings {
    pub url: Option<String>,
    pub password: Option<String>,
    /// The service that this environment configures, with its password: where to go if nothing else is said.
    pub local: Target,
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
    let outcome = match arguments.target(surroundings) {
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

impl CliArguments {
    /// Flags win over the URL, `--url` over the variable; the service of this environment is asked only if none of them
    /// says where to go, because it is the only one that its password belongs to.
    fn target(&self, surroundings: &Surroundings) -> Result<Target, String> {
        let url = self.url.as_ref().or(surroundings.url.as_ref());
        let mut target = match url {
            Some(url) => Target::from_url(url).map_err(|error| error.to_string())?,
            None if self.host.is_some() || self.port.is_some() => Target::default(),
            None => surroundings.local.clone(),
        };
        if let Some(host) = &self.host {
            target.host.clone_from(host);
        }
        target.port = self.port.unwrap_or(target.port);
        target.database = self.database.unwrap_or(target.database);
        target.user = self.user.clone().or(target.user);
        target.password = self.password.clone().or_else(|| surroundings.password.clone()).or(target.password);
        target.is_resp3 = self.resp3;
        Ok(target)
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
        Surroundings { url: None, password: None, local }
    }

    #[test]
    fn flags_end_where_the_command_begins() {
        let arguments = arguments(&["-p", "1", "-3", "set", "a", "-1", "-h", "--", "x"]);
        assert_eq!((arguments.port, arguments.resp3), (Some(1), true));
        assert_eq!(arguments.command, ["set", "a", "-1", "-h", "--", "x"]);
    }

    #[test]
    fn without_flags_the_service_of_this_environment_is_asked() {
        let target = arguments(&["ping"]).target(&surroundings()).unwrap();
        assert_eq!((target.port, target.password.as_deref()), (7000, Some("local")));
    }

    #[test]
    fn another_host_or_port_never_gets_the_local_password() {
        for words in [["-h", "other"], ["-p", "7001"]] {
            assert_eq!(arguments(&words).target(&surroundings()).unwrap().password, None);
        }
    }

    #[test]
    fn flags_win_over_the_url_and_the_url_flag_over_the_variable() {
        let mut surroundings = surroundings();
        surroundings.url = Some("redis://:pw@one:1/1".into());
        let target = arguments(&["-n", "5", "-p", "9"]).target(&surroundings).unwrap();
        assert_eq!((target.host.as_str(), target.port, target.database), ("one", 9, 5));
        assert_eq!(target.password.as_deref(), Some("pw"));
        let target = arguments(&["-u", "redis://two", "-a", "x"]).target(&surroundings).unwrap();
        assert_eq!((target.host.as_str(), target.password.as_deref()), ("two", Some("x")));
        surroundings.password = Some("auth".into());
        assert_eq!(arguments(&[]).target(&surroundings).unwrap().password.as_deref(), Some("auth"));
        assert!(arguments(&["-u", "http://two"]).target(&surroundings).is_err());
    }

    #[test]
    fn a_line_is_split_with_quotes() {
        assert_eq!(split_line(b"set 'a b' \"\\x00\"\r"), Some(vec![b"set".to_vec(), b"a b".to_vec(), vec![0]]));
        assert_eq!(split_line(b"  "), Some(vec![]));
        assert_eq!(split_line(b"set \"a"), None);
    }
}
