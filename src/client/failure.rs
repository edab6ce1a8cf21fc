//! How `cli` and `bench` end, as a code that scripts can use, and why it ends early, as a line for people.

use std::io;

use super::connection::ClientError;

/// How it ended, worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Ok = 0,
    /// At least one reply was an error.
    ServerError = 1,
    /// The command line, the URL, a line of the input or a file cannot be understood.
    Usage = 2,
    /// No connection, or it was lost.
    Connection = 3,
}

/// Why it ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    Usage(String),
    /// The service answered something that leaves nothing to do.
    Server(String),
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
    /// Standard output did not take what was written to it.
    pub(crate) fn of_output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Usage(format!("standard output cannot be written: {error}")),
        }
    }

    pub(crate) fn of_input(error: &io::Error) -> Self {
        Self::Usage(format!("standard input cannot be read: {error}"))
    }

    /// `command`: that of the program which ended so.
    pub(crate) fn report(self, command: &str) -> Outcome {
        let (text, outcome) = match self {
            Self::Usage(text) => (text, Outcome::Usage),
            Self::Server(text) | Self::Client(ClientError::Refused(text)) => (text, Outcome::ServerError),
            Self::Client(error) if error.is_usage() => (error.to_string(), Outcome::Usage),
            Self::Client(error) => (error.to_string(), Outcome::Connection),
            Self::OutputClosed => return Outcome::Ok,
        };
        eprintln!("emptyserver {command}: {text}");
        outcome
    }
}
