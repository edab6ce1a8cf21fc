//! A running server that takes this for one of its replicas: first all of its data as an RDB file, then each change as a command. What
//! comes is put on the disk at once, so that the server never has to keep it.
//!
//! ```text
//! REPLCONF, PSYNC ? -1   ->  +FULLRESYNC name offset
//!                            $length, the file           or  $EOF: and 40 bytes, the file, the same 40 bytes
//!                            commands, which count in the offset byte by byte
//! REPLCONF ACK offset    <-  each second
//! ```

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::bytes::Bytes;
use super::command_log::{CommandLog, Next};
use super::fault::{Fault, Result};
use super::spool::{SpoolReader, SpoolWriter, spool};
use crate::client::{Connection, Patience, Stream, Target};
use crate::kv::formats::rdb::Source;
use crate::resp::{Reply, encode_command};
use crate::storage::StorageError;
use crate::sys::clock;

const MARK_BYTES: usize = 40;
const LINE_BYTES_MAX: usize = 4096;
const READ_BYTES: usize = 256 << 10;
const ACKNOWLEDGE_EVERY: Duration = Duration::from_secs(1);
/// For the beginning of the file: the server may have to finish another one first.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server whose data has come, and whose changes come.
pub struct Replica {
    /// The RDB file.
    pub file: PathBuf,
    pub changes: Changes,
}

/// The changes since, one by one.
pub struct Changes {
    log: CommandLog<SpoolReader>,
    /// Offset of the server's log at which they begin.
    begin: u64,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    Command(Vec<Vec<u8>>),
    /// Nothing, within the time.
    Nothing,
    /// The server has gone: why.
    Gone(String),
}

enum Transfer {
    Bytes(u64),
    Until([u8; MARK_BYTES]),
}

impl Replica {
    /// Fetches the data of a server into a directory. `show`: how many bytes have come, and of how many, where that is known.
    ///
    /// # Errors
    /// The server refuses, or goes before all has come.
    pub fn begin(
        source: &Target,
        directory: &Path,
        mut show: impl FnMut(u64, Option<u64>) -> Result<()>,
    ) -> Result<Self> {
        let patience = Patience { read: Some(PATIENCE), ..Patience::default() };
        let mut connection = Connection::connect(source, patience)?;
        for capability in [["REPLCONF", "capa", "eof"], ["REPLCONF", "capa", "psync2"]] {
            if let Reply::Error(text) = connection.call(&capability)? {
                return Err(Fault::NoReplicas(format!("{source} takes no replicas: {text}")));
            }
        }
        let mut stream = connection.into_stream();
        stream.write_all(b"*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n")?;
        stream.flush()?;
        let mut bytes = Bytes::new(stream);
        let gone = |fault| gone(source, fault, "before it sent its data");
        let line = line(&mut bytes).map_err(gone)?;
        let begin = line.strip_prefix("+FULLRESYNC ").and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
        let begin = begin.ok_or_else(|| Fault::NoReplicas(format!("{source} takes no replicas: {line}")))?;
        let transfer = transfer(&mut bytes, source).map_err(gone)?;
        let file = directory.join("transfer.rdb");
        receive(&mut bytes, &transfer, &file, &mut show).map_err(|fault| {
            let position = std::fs::metadata(&file).map_or(0, |facts| facts.len());
            self::gone(source, fault, &format!("after {position} bytes of its data: nothing was imported"))
        })?;
        let (writer, reader) = spool(directory);
        let log = CommandLog::new(Bytes::new(reader), u64::MAX);
        // It ends with the process: the server that it waits for may never speak again.
        std::thread::Builder::new().name("receiver".to_owned()).spawn(move || follow(bytes, writer, begin))?;
        Ok(Self { file, changes: Changes { log, begin } })
    }
}

impl Changes {
    /// The next change, waited for so long.
    ///
    /// # Errors
    /// What comes is no command.
    pub fn next(&mut self, time: Duration) -> Result<Change> {
        if self.log.bytes().is_empty() && self.log.bytes().input().is_empty() {
            self.log.bytes().input().wait(time);
            if self.log.bytes().input().is_empty() {
                return Ok(Change::Nothing);
            }
        }
        match self.log.next()? {
            Next::Command(command) => Ok(Change::Command(command)),
            Next::End | Next::Cut => {
                let cause = self.log.bytes().input().ended().flatten();
                Ok(Change::Gone(cause.unwrap_or_else(|| "it has closed the connection".to_owned())))
            }
        }
    }

    /// True exactly when the next change is there already, at least in part.
    pub fn is_waiting(&mut self) -> bool {
        !self.log.bytes().is_empty() || !self.log.bytes().input().is_empty()
    }

    /// Up to where in the server's log changes were taken.
    #[must_use]
    pub fn offset(&mut self) -> u64 {
        self.begin + self.log.bytes().position()
    }
}

/// How far a server's log has come.
///
/// # Errors
/// It has gone, or refuses.
pub fn offset_of(connection: &mut Connection) -> Result<u64> {
    let text = match connection.call(&["INFO", "replication"])? {
        Reply::Bulk(text) | Reply::Verbatim { text, .. } => text,
        Reply::Error(text) => return Err(Fault::Server(format!("INFO is refused: {text}"))),
        _ => return Err(Fault::Server("INFO answers with something else".to_owned())),
    };
    let text = String::from_utf8_lossy(&text);
    let offset = text.lines().find_map(|line| line.strip_prefix("master_repl_offset:")?.trim().parse().ok());
    offset.ok_or_else(|| Fault::Server("INFO says no master_repl_offset".to_owned()))
}

/// A line, behind empty ones that keep the connection alive.
fn line(bytes: &mut Bytes<Stream>) -> Result<String> {
    let mut line = Vec::new();
    loop {
        match bytes.array()? {
            [b'\n'] if line.is_empty() => {}
            [b'\n'] => break,
            [b'\r'] => {}
            [byte] if line.len() < LINE_BYTES_MAX => line.push(byte),
            [_] => return Err(Fault::Server("it does not speak the protocol".to_owned())),
        }
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn transfer(bytes: &mut Bytes<Stream>, source: &Target) -> Result<Transfer> {
    let line = line(bytes)?;
    let mark = line.strip_prefix("$EOF:").and_then(|mark| mark.as_bytes().try_into().ok());
    let length = || line.strip_prefix('$').and_then(|length| length.parse().ok());
    let transfer = mark.map(Transfer::Until).or_else(|| length().map(Transfer::Bytes));
    transfer.ok_or_else(|| Fault::Server(format!("{source} sends no data: {line}")))
}

/// Writes the file.
fn receive(
    bytes: &mut Bytes<Stream>,
    transfer: &Transfer,
    path: &Path,
    show: &mut impl FnMut(u64, Option<u64>) -> Result<()>,
) -> Result<()> {
    let mut file = crate::storage::backup::create(path)?;
    let mut received = 0;
    match transfer {
        Transfer::Bytes(length) => {
            while received < *length {
                let most = usize::try_from(length - received).unwrap_or(usize::MAX).min(READ_BYTES);
                received += write_some(bytes, most, &mut file, None)?;
                show(received, Some(*length))?;
            }
        }
        Transfer::Until(mark) => {
            let mut tail = Vec::new();
            // Nothing follows before the first acknowledgement, so the mark is the end of what has come.
            while tail != mark {
                received += write_some(bytes, READ_BYTES, &mut file, Some(&mut tail))?;
                show(received, None)?;
            }
            file.set_len(received - MARK_BYTES as u64).map_err(|error| ours(&error))?;
        }
    }
    file.sync_data().map_err(|error| ours(&error))
}

fn write_some(bytes: &mut Bytes<Stream>, most: usize, file: &mut File, tail: Option<&mut Vec<u8>>) -> Result<u64> {
    let some = bytes.take_some(most)?;
    if some.is_empty() {
        return Err(Fault::Input("it ends".to_owned()));
    }
    file.write_all(some).map_err(|error| ours(&error))?;
    if let Some(tail) = tail {
        tail.extend_from_slice(&some[some.len().saturating_sub(MARK_BYTES)..]);
        tail.drain(..tail.len().saturating_sub(MARK_BYTES));
    }
    Ok(some.len() as u64)
}

/// A fault of the file, and none of the server.
fn ours(error: &io::Error) -> Fault {
    Fault::Storage(StorageError::of_io(error))
}

/// The receiver's thread: what comes goes to the spool, and the server hears how far.
fn follow(mut bytes: Bytes<Stream>, mut spool: SpoolWriter, begin: u64) {
    let ended = (|| -> io::Result<()> {
        let mut acknowledged = None;
        loop {
            if acknowledged.is_none_or(|at| clock::monotonic() - at >= ACKNOWLEDGE_EVERY) {
                acknowledged = Some(clock::monotonic());
                acknowledge(bytes.input(), begin + spool.received())?;
            }
            if bytes.is_empty() && !is_readable(bytes.input())? {
                continue;
            }
            let some = bytes.take_some(READ_BYTES).map_err(|fault| io::Error::other(fault.to_string()))?;
            if some.is_empty() {
                return Ok(());
            }
            spool.write(some)?;
        }
    })();
    spool.end(ended.err().map(|error| error.to_string()));
}

fn acknowledge(stream: &mut Stream, offset: u64) -> io::Result<()> {
    let mut command = Vec::new();
    encode_command(&["REPLCONF", "ACK", &offset.to_string()], &mut command);
    stream.write_all(&command)?;
    stream.flush()
}

fn is_readable(stream: &mut Stream) -> io::Result<bool> {
    if stream.holds_input() {
        return Ok(true);
    }
    let mut descriptors = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
    match poll(&mut descriptors, PollTimeout::from(100_u16)) {
        Ok(count) => Ok(count > 0),
        Err(nix::errno::Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn gone(source: &Target, fault: Fault, when: &str) -> Fault {
    match fault {
        Fault::Input(_) => Fault::Server(format!("{source} has gone {when}")),
        Fault::Io(error) => Fault::Server(format!("{source} has gone {when}: {error}")),
        other => other,
    }
}
