//! The prompt's connection: what it has become (database, login, version, transaction) is remembered, so that it comes
//! back as it was after it broke, after Ctrl-C, and after what can only be left by closing.

use std::sync::Arc;

use crate::client::connection::{ClientError, Connection, Patience};
use crate::client::interrupt::Interrupts;
use crate::client::subscription::is_answer;
use crate::client::target::Target;
use crate::resp::Reply;

pub(super) struct Session {
    target: Target,
    connection: Option<Connection>,
    is_in_transaction: bool,
    /// True exactly when keys are watched for a transaction to come.
    is_watching: bool,
    interrupts: Arc<Interrupts>,
}

/// Why a command has no reply.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It was not sent: there is no connection, for this reason.
    Unreachable(ClientError),
    /// It was sent, and the connection broke before its reply: perhaps it was run.
    Lost(ClientError),
    /// It was not sent: the transaction that it would have been a part of, or the watched keys that it relied on, are
    /// gone with the old connection. There is a new one.
    TransactionLost,
    /// Ctrl-C, and a new connection.
    Interrupted { is_transaction_lost: bool },
}

/// A reply, and what went before it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) reply: Reply,
    /// The connection had broken meanwhile and is a new one.
    pub(super) is_reconnected: bool,
}

impl Session {
    pub(super) fn new(target: Target, interrupts: Interrupts) -> Self {
        Self {
            target,
            connection: None,
            is_in_transaction: false,
            is_watching: false,
            interrupts: Arc::new(interrupts),
        }
    }

    /// Where it goes, and as whom, at present.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    pub(super) fn is_in_transaction(&self) -> bool {
        self.is_in_transaction
    }

    /// Connects as the target says; what was there before is gone.
    pub(super) fn connect(&mut self) -> Result<(), ClientError> {
        self.connection = None;
        self.is_in_transaction = false;
        self.is_watching = false;
        let mut connection = Connection::connect(&self.target, Patience::default())?;
        connection.heed(&self.interrupts);
        self.connection = Some(connection);
        Ok(())
    }

    /// Sends a command and waits for its reply, or for Ctrl-C. `pushed` gets what comes out of band meanwhile.
    pub(super) fn call(&mut self, command: &[Vec<u8>], mut pushed: impl FnMut(&Reply)) -> Result<Answer, Trouble> {
        let had_connection = self.connection.is_some();
        let was_in_transaction = self.is_in_transaction || self.is_watching;
        let is_broken = self.connection.as_mut().is_none_or(Connection::is_closed);
        if is_broken {
            self.connect_for(command).map_err(Trouble::Unreachable)?;
            if was_in_transaction {
                return Err(Trouble::TransactionLost);
            }
        }
        self.interrupts.take();
        let reply = self.exchange(command, &mut pushed)?;
        self.note(command, &reply);
        Ok(Answer { reply, is_reconnected: is_broken && had_connection })
    }

    /// The next message of a subscription or of MONITOR. `None`: Ctrl-C; the connection is a new one.
    pub(super) fn next_message(&mut self) -> Result<Option<Reply>, ClientError> {
        let Some(connection) = self.connection.as_mut() else { return Ok(None) };
        match connection.receive() {
            Ok(reply) => Ok(Some(reply)),
            Err(ClientError::Interrupted) => self.connect().map(|()| None),
            Err(error) => {
                self.connection = None;
                Err(error)
            }
        }
    }

    /// A login that was refused must not be in the way of a better one.
    fn connect_for(&mut self, command: &[Vec<u8>]) -> Result<(), ClientError> {
        let name = command[0].to_ascii_lowercase();
        match self.connect() {
            Err(ClientError::Refused(_)) if name == b"auth" || name == b"hello" => {
                self.target.user = None;
                self.target.password = None;
                self.connect()
            }
            outcome => outcome,
        }
    }

    fn exchange(&mut self, command: &[Vec<u8>], pushed: &mut impl FnMut(&Reply)) -> Result<Reply, Trouble> {
        let connection = self.connection.as_mut().expect("it is connected");
        let outcome = connection.send(command).and_then(|()| {
            loop {
                match connection.receive()? {
                    reply @ Reply::Push(_) if !is_answer(&reply, command) => pushed(&reply),
                    reply => return Ok(reply),
                }
            }
        });
        match outcome {
            Ok(reply) => Ok(reply),
            // The service cancels what a client that leaves was waiting for.
            Err(ClientError::Interrupted) => {
                let is_transaction_lost = self.is_in_transaction || self.is_watching;
                self.connect().map_err(Trouble::Unreachable)?;
                Err(Trouble::Interrupted { is_transaction_lost })
            }
            Err(error) => {
                self.connection = None;
                self.is_in_transaction = false;
                self.is_watching = false;
                Err(Trouble::Lost(error))
            }
        }
    }

    /// Remembers what the command has changed on this connection.
    fn note(&mut self, command: &[Vec<u8>], reply: &Reply) {
        let name = command[0].to_ascii_lowercase();
        let is_error = matches!(reply, Reply::Error(_));
        let text = |index: usize| command.get(index).map(|word| String::from_utf8_lossy(word).into_owned());
        match (name.as_slice(), command.len()) {
            (b"multi", _) if !is_error => self.is_in_transaction = true,
            // An EXEC that fails ends the transaction too.
            (b"exec" | b"discard" | b"reset", _) => (self.is_in_transaction, self.is_watching) = (false, false),
            // In a transaction it is only queued.
            _ if self.is_in_transaction || is_error => {}
            (b"watch", _) => self.is_watching = true,
            (b"unwatch", _) => self.is_watching = false,
            (b"select", 2) => {
                self.target.database = text(1).and_then(|number| number.parse().ok()).unwrap_or(self.target.database);
            }
            (b"auth", 2) => (self.target.user, self.target.password) = (None, text(1)),
            (b"auth", 3) => (self.target.user, self.target.password) = (text(1), text(2)),
            (b"hello", count) if count > 1 => {
                self.target.is_resp3 = command[1] == b"3";
                if count > 4 && command[2].eq_ignore_ascii_case(b"auth") {
                    (self.target.user, self.target.password) = (text(3), text(4));
                }
            }
            _ => {}
        }
        if name == b"reset" && !is_error {
            self.target.database = 0;
            self.target.is_resp3 = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session::new(Target::default(), Interrupts::new().unwrap())
    }

    fn noted(session: &mut Session, line: &str, reply: &Reply) {
        let command: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        session.note(&command, reply);
    }

    #[test]
    fn what_a_connection_has_become_is_remembered() {
        let mut session = session();
        noted(&mut session, "SELECT 3", &Reply::Ok);
        noted(&mut session, "AUTH ann pw", &Reply::Ok);
        noted(&mut session, "HELLO 3", &Reply::Map(vec![]));
        let target = session.target();
        assert_eq!((target.database, target.user.as_deref(), target.password.as_deref()), (3, Some("ann"), Some("pw")));
        assert!(target.is_resp3);
        noted(&mut session, "select 99", &Reply::Error("ERR DB index is out of range".into()));
        assert_eq!(session.target().database, 3);
        noted(&mut session, "reset", &Reply::Simple("RESET".into()));
        assert_eq!((session.target().database, session.target().is_resp3), (0, false));
    }

    #[test]
    fn a_transaction_begins_and_ends_with_its_commands() {
        let mut session = session();
        noted(&mut session, "MULTI", &Reply::Ok);
        assert!(session.is_in_transaction());
        noted(&mut session, "SELECT 3", &Reply::Simple("QUEUED".into()));
        assert_eq!(session.target().database, 0);
        noted(&mut session, "EXEC", &Reply::Error("EXECABORT".into()));
        assert!(!session.is_in_transaction());
        noted(&mut session, "WATCH k", &Reply::Ok);
        assert!(session.is_watching);
        noted(&mut session, "UNWATCH", &Reply::Ok);
        assert!(!session.is_watching);
    }
}
