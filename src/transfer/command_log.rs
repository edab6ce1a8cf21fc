//! A log of commands, as append-only files and replicas get it: arrays of strings, and lines that begin with `#` between them.

use std::io::Read;

use super::bytes::Bytes;
use super::fault::{Fault, Result};
use crate::kv::formats::rdb::{RestoreError, Source};
use crate::resp::number::parse_integer;

const LINE_BYTES_MAX: usize = 1 << 16;
const ARGUMENTS_MAX: i64 = 1 << 24;

/// What comes next in a log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Command(Vec<Vec<u8>>),
    End,
    /// It ends in the middle of a command.
    Cut,
}

pub(super) struct CommandLog<R> {
    bytes: Bytes<R>,
    bytes_max: u64,
}

/// What part of a command could not be read.
enum Broken {
    Cut,
    Fault(Fault),
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        match fault {
            // Only the end of the input is told so.
            Fault::Input(_) => Self::Cut,
            other => Self::Fault(other),
        }
    }
}

impl<R: Read> CommandLog<R> {
    pub(super) fn new(bytes: Bytes<R>, bytes_max: u64) -> Self {
        Self { bytes, bytes_max }
    }

    pub(super) fn bytes(&mut self) -> &mut Bytes<R> {
        &mut self.bytes
    }

    /// # Errors
    /// What comes is no command.
    pub(super) fn next(&mut self) -> Result<Next> {
        let begin = self.bytes.position();
        match self.command() {
            Ok(Some(command)) => Ok(Next::Command(command)),
            Ok(None) => Ok(Next::End),
            Err(Broken::Cut) => Ok(Next::Cut),
            Err(Broken::Fault(fault @ Fault::Value(RestoreError::TooLong))) => {
                Err(Fault::Input(format!("has a command at byte {begin} in which {fault}")))
            }
            Err(Broken::Fault(Fault::Value(_))) => {
                Err(Fault::Input(format!("is damaged: there is no command at byte {begin}")))
            }
            Err(Broken::Fault(fault)) => Err(fault),
        }
    }

    fn command(&mut self) -> std::result::Result<Option<Vec<Vec<u8>>>, Broken> {
        loop {
            match self.bytes.peek()? {
                None => return Ok(None),
                // An annotation, or what keeps a connection alive.
                Some(b'#') => drop(self.line()?),
                Some(b'\n') => drop(self.bytes.take(1)?),
                Some(_) => break,
            }
        }
        let count = self.number(b'*', ARGUMENTS_MAX)?;
        let mut command = Vec::new();
        for _ in 0..count {
            let length = self.number(b'$', i64::MAX)?;
            if length.cast_unsigned() > self.bytes_max {
                return Err(Broken::Fault(Fault::Value(RestoreError::TooLong)));
            }
            command.push(self.bytes.take(length as usize)?.to_vec());
            if self.bytes.array()? != *b"\r\n" {
                return Err(unreadable());
            }
        }
        if command.is_empty() { Err(unreadable()) } else { Ok(Some(command)) }
    }

    /// A line of this letter and a number.
    fn number(&mut self, letter: u8, most: i64) -> std::result::Result<i64, Broken> {
        let line = self.line()?;
        let number = line.strip_prefix(&[letter]).and_then(parse_integer);
        number.filter(|number| (0..=most).contains(number)).ok_or_else(unreadable)
    }

    fn line(&mut self) -> std::result::Result<Vec<u8>, Broken> {
        let mut line = Vec::new();
        loop {
            match self.bytes.array()? {
                [b'\n'] => break,
                [byte] => line.push(byte),
            }
            if line.len() > LINE_BYTES_MAX {
                return Err(unreadable());
            }
        }
        match line.pop() {
            Some(b'\r') => Ok(line),
            _ => Err(unreadable()),
        }
    }
}

fn unreadable() -> Broken {
    Broken::Fault(Fault::Value(RestoreError::Format))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &[u8] = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n#TS:1700000000\r\n\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$0\r\n\r\n";

    fn read(log: &[u8]) -> (Vec<Vec<Vec<u8>>>, Result<Next>) {
        let mut log = CommandLog::new(Bytes::new(log), 1000);
        let mut commands = Vec::new();
        loop {
            match log.next() {
                Ok(Next::Command(command)) => commands.push(command),
                ended => return (commands, ended),
            }
        }
    }

    #[test]
    fn commands_come_one_by_one_and_a_cut_is_told_from_an_end_and_from_damage() {
        let (commands, ended) = read(LOG);
        assert_eq!(commands, [vec![b"SELECT".to_vec(), b"0".to_vec()], vec![b"SET".to_vec(), b"a".to_vec(), vec![]]]);
        assert_eq!(ended.unwrap(), Next::End);
        for cut in 1..LOG.len() {
            let (commands, ended) = read(&LOG[..cut]);
            let whole = [0, 23, 39, 40].contains(&cut);
            assert_eq!(ended.unwrap(), if whole { Next::End } else { Next::Cut }, "{cut}");
            assert_eq!(commands.len(), usize::from(cut >= 23), "{cut}");
        }
        for damaged in
            [&b"SET a\r\n"[..], b"*1\r\n+a\r\n", b"*0\r\n", b"*1\r\n$1\r\nabc\r\n", b"*1\r\n$1001\r\n", b"*x\r\n"]
        {
            assert!(read(damaged).1.is_err(), "{}", damaged.escape_ascii());
        }
    }
}
