//! Commands on their way to a service: many at once, their answers looked at in their order.

use super::fault::Result;
use super::report::{Report, causes};
use crate::client::Connection;
use crate::kv::formats::rdb::ValueKind;
use crate::resp::Reply;

/// Commands that wait to be sent, and their bytes.
const COMMANDS_MAX: usize = 1000;
const BYTES_MAX: usize = 1 << 20;

pub(super) type Command = Vec<Vec<u8>>;

pub(super) struct Sender {
    connection: Connection,
    commands: Vec<Command>,
    wanted: Vec<Wanted>,
    bytes: usize,
    database: Option<u64>,
    /// Why a portion of the present key was refused.
    refused: Option<String>,
    /// Pending entries of the present key that could not be had.
    unclaimed: usize,
}

/// What a command is for.
pub(super) enum Wanted {
    /// Nothing is said of it unless it fails.
    Done,
    /// A part of a key, which is of no use without it.
    Portion,
    /// The same, about so many pending entries of a stream.
    Claimed(usize),
    Library,
    /// A key that is there with it, once it is: of which kind, and how many elements.
    Key(Vec<u8>, ValueKind, u64),
}

impl Sender {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection,
            commands: Vec::new(),
            wanted: Vec::new(),
            bytes: 0,
            database: None,
            refused: None,
            unclaimed: 0,
        }
    }

    pub(super) fn select(&mut self, database: u64, report: &mut Report) -> Result<()> {
        if self.database == Some(database) {
            return Ok(());
        }
        self.database = Some(database);
        self.send(vec![b"SELECT".to_vec(), database.to_string().into_bytes()], Wanted::Done, report)
    }

    /// A command that may be sent later, with others.
    pub(super) fn send(&mut self, command: Command, wanted: Wanted, report: &mut Report) -> Result<()> {
        self.bytes += command.iter().map(|argument| argument.len() + 16).sum::<usize>();
        self.commands.push(command);
        self.wanted.push(wanted);
        if self.commands.len() < COMMANDS_MAX && self.bytes < BYTES_MAX { Ok(()) } else { self.flush(report) }
    }

    /// Sends what waits, and waits for all answers.
    pub(super) fn flush(&mut self, report: &mut Report) -> Result<()> {
        if self.commands.is_empty() {
            return Ok(());
        }
        let replies = self.connection.pipeline(&self.commands)?;
        self.bytes = 0;
        for ((reply, wanted), command) in replies.iter().zip(self.wanted.drain(..)).zip(self.commands.drain(..)) {
            match (wanted, problem(reply)) {
                (Wanted::Portion | Wanted::Claimed(_), Some(text)) => {
                    self.refused.get_or_insert_with(|| text.to_owned());
                }
                (Wanted::Claimed(asked), None) => self.unclaimed += asked.saturating_sub(length(reply)),
                (Wanted::Library, Some(text)) => {
                    let code = command.last().map_or(&[][..], Vec::as_slice);
                    report.unmoved(&format!("libraries of functions that were refused ({text})"), first_line(code));
                }
                (Wanted::Library, None) => report.library(),
                // Its time has passed while it came.
                (Wanted::Key(name, ..), Some(text)) if text.starts_with("ERR no such key") => {
                    report.left_out(causes::ENDED, &name);
                }
                (Wanted::Key(name, ..), Some(text)) if text.starts_with("BUSYKEY") => {
                    report.unmoved(causes::BUSY, &name);
                }
                (Wanted::Key(name, ..), Some(text)) => {
                    report.unmoved(&format!("keys that were refused ({text})"), &name);
                }
                (Wanted::Key(name, kind, elements), None) => match is_there_already(reply) {
                    true => report.unmoved(causes::BUSY, &name),
                    false => report.moved(kind, elements),
                },
                (Wanted::Done, Some(text)) => {
                    let words: Vec<&[u8]> = command.iter().take(2).map(Vec::as_slice).collect();
                    report.unmoved(&format!("commands that were refused ({text})"), &words.join(&b' '));
                }
                (Wanted::Done | Wanted::Portion, None) => {}
            }
        }
        Ok(())
    }

    /// Whether all that was sent of a key has come, once nothing waits: else why, and how many pending entries are missing.
    pub(super) fn portions(&mut self) -> (Option<String>, usize) {
        (self.refused.take(), std::mem::take(&mut self.unclaimed))
    }
}

/// An error, or one within a transaction's answers.
fn problem(reply: &Reply) -> Option<&str> {
    match reply {
        Reply::Error(text) => Some(text),
        Reply::Array(replies) => replies.iter().find_map(problem),
        _ => None,
    }
}

fn length(reply: &Reply) -> usize {
    if let Reply::Array(parts) = reply { parts.len() } else { 0 }
}

/// A library's name is in it.
pub(super) fn first_line(code: &[u8]) -> &[u8] {
    code.split(|byte| *byte == b'\n').next().unwrap_or_default()
}

/// A transaction whose RENAMENX has not renamed.
fn is_there_already(reply: &Reply) -> bool {
    matches!(reply, Reply::Array(replies) if replies.last() == Some(&Reply::Integer(0)))
}
