//! One connection's TLS: records in and out of a socket that never waits. What it holds is bounded: a record that is not whole, and
//! `UNSENT_BYTES_MAX` of what was taken and is not sent.

use std::cell::RefCell;
use std::io::{self, BufRead, IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustls::{ProtocolVersion, ServerConfig, ServerConnection};

use super::certificate;
use crate::sys::socket::{self, Moved};

pub(in crate::server) struct TlsStream {
    socket: OwnedFd,
    connection: ServerConnection,
    /// What came along with the end of the handshake.
    received: Vec<u8>,
    has_begun: bool,
    /// The last read was not short: the socket may have more.
    may_have_more: bool,
    /// The peer sends no more, said by TLS or by TCP.
    is_ended: bool,
}

/// What is known of a connection that TLS protects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secured {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// The common name of the client's certificate, which was verified; `None` where it has shown none, or a nameless one.
    pub name: Option<Arc<str>>,
}

/// Where a handshake is.
pub(in crate::server) enum Shaken {
    Done,
    /// For bytes of the peer, or for room in the socket.
    Waits,
    Failed(Failure),
}

pub(in crate::server) enum Failure {
    /// The peer said nothing at all: as probes do, that see whether the port is open.
    Silent,
    /// It left in the middle.
    Gone,
    /// What it sent is no TLS.
    NotTls,
    Refused(rustls::Error),
    Socket(io::Error),
}

/// One read of a socket: what it decrypts to, together with a record that was not whole, is no more than one read of the loop.
const RAW_BYTES: usize = 40 << 10;
/// Reads without anything for the connection, as long as others wait.
const READS_MAX: usize = 4;
/// Records that were made and wait to be sent. A connection that has as many takes no more.
const UNSENT_BYTES_MAX: usize = 64 << 10;
/// About what rustls keeps of an idle connection (measured: docs/decisions/tls.md).
const IDLE_BYTES: usize = 10 << 10;
/// A record of the handshake begins so.
const HANDSHAKE: u8 = 22;
/// A longer name of a certificate is none.
const NAME_BYTES_MAX: usize = 256;

thread_local! {
    /// What was just received, of whichever connection.
    static RAW: RefCell<Vec<u8>> = RefCell::default();
}

impl TlsStream {
    pub(in crate::server) fn new(socket: OwnedFd, config: Arc<ServerConfig>) -> Result<TlsStream, rustls::Error> {
        let mut connection = ServerConnection::new(config)?;
        connection.set_buffer_limit(Some(UNSENT_BYTES_MAX));
        let (received, has_begun, may_have_more, is_ended) = (Vec::new(), false, false, false);
        Ok(TlsStream { socket, connection, received, has_begun, may_have_more, is_ended })
    }

    /// Goes on with the handshake as far as it goes.
    pub(in crate::server) fn shake(&mut self) -> Shaken {
        match self.try_shake() {
            Ok(shaken) => shaken,
            Err(failure) => Shaken::Failed(failure),
        }
    }

    fn try_shake(&mut self) -> Result<Shaken, Failure> {
        // Nothing can have come before the handshake's end.
        let mut received = Vec::new();
        for _ in 0..READS_MAX {
            let had_begun = self.has_begun;
            let moved = self.take_in(&mut received)?;
            if !self.connection.is_handshaking() {
                self.received = received;
                return Ok(Shaken::Done);
            }
            match moved {
                Moved::Bytes(_) => {}
                Moved::WouldBlock => break,
                Moved::Closed if had_begun => return Err(Failure::Gone),
                Moved::Closed => return Err(Failure::Silent),
            }
        }
        if let Moved::Closed = self.flush().map_err(Failure::Socket)? {
            return Err(Failure::Gone);
        }
        Ok(Shaken::Waits)
    }

    /// As [`Transport`](super::super::transport::Transport) has them, like all that follow.
    pub(in crate::server) fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<Moved> {
        if !self.received.is_empty() {
            let mut received = std::mem::take(&mut self.received);
            let count = received.len();
            buffer.append(&mut received);
            return Ok(Moved::Bytes(count));
        }
        let before = buffer.len();
        for _ in 0..READS_MAX {
            let moved = match self.is_ended {
                true => Moved::Closed,
                false => self.take_in(buffer).map_err(Failure::into_error)?,
            };
            if buffer.len() > before {
                return Ok(Moved::Bytes(buffer.len() - before));
            }
            if moved == Moved::WouldBlock || moved == Moved::Closed {
                return Ok(moved);
            }
        }
        // Records with nothing in them: others have their turn.
        self.may_have_more = true;
        Ok(Moved::Bytes(0))
    }

    pub(in crate::server) fn send(&mut self, bytes: &[u8]) -> io::Result<Moved> {
        let mut taken = 0;
        loop {
            let count = self.connection.writer().write(&bytes[taken..])?;
            if count == 0 && !self.has_unsent() {
                // It takes nothing, though there is room: its keys are used up.
                return Ok(Moved::Closed);
            }
            taken += count;
            match self.flush()? {
                Moved::Closed => return Ok(Moved::Closed),
                Moved::WouldBlock if taken == 0 => return Ok(Moved::WouldBlock),
                Moved::Bytes(_) if taken < bytes.len() => {}
                Moved::WouldBlock | Moved::Bytes(_) => return Ok(Moved::Bytes(taken)),
            }
        }
    }

    pub(in crate::server) fn has_unsent(&self) -> bool {
        self.connection.wants_write()
    }

    pub(in crate::server) fn flush(&mut self) -> io::Result<Moved> {
        let mut count = 0;
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Raw(self.socket.as_fd())) {
                Ok(sent) => count += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Moved::WouldBlock),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Moved::Closed),
                Err(error) => return Err(error),
            }
        }
        Ok(Moved::Bytes(count))
    }

    pub(in crate::server) fn may_have_more(&self) -> bool {
        self.may_have_more || self.is_ended || !self.received.is_empty()
    }

    /// TLS' own farewell, if the socket takes it: the peer knows then that nothing was cut off.
    pub(in crate::server) fn close(&mut self) {
        self.connection.send_close_notify();
        if let Err(error) = self.flush() {
            tracing::trace!(%error, "a peer is gone before it was told so");
        }
    }

    /// The memory that it takes, about.
    pub(in crate::server) fn capacity(&self) -> usize {
        let unsent = if self.has_unsent() { UNSENT_BYTES_MAX } else { 0 };
        IDLE_BYTES + self.received.capacity() + unsent
    }

    pub(in crate::server) fn secured(&self) -> Secured {
        let version = match self.connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "1.2",
            _ => "1.3",
        };
        let shown = self.connection.peer_certificates().and_then(|chain| chain.first());
        let name = shown.and_then(|certificate| certificate::common_name(certificate));
        Secured { version, name: name.filter(|name| name.len() <= NAME_BYTES_MAX).map(Arc::from) }
    }

    /// One read of the socket; what it decrypts to is appended.
    fn take_in(&mut self, into: &mut Vec<u8>) -> Result<Moved, Failure> {
        RAW.with_borrow_mut(|raw| {
            raw.clear();
            let moved = socket::receive(self.socket.as_fd(), raw, RAW_BYTES).map_err(Failure::Socket)?;
            self.may_have_more = moved == Moved::Bytes(RAW_BYTES);
            match moved {
                Moved::Bytes(_) if !self.has_begun && raw.first() != Some(&HANDSHAKE) => return Err(Failure::NotTls),
                Moved::Bytes(_) => {}
                Moved::Closed => {
                    self.is_ended = true;
                    return Ok(Moved::Closed);
                }
                Moved::WouldBlock => return Ok(Moved::WouldBlock),
            }
            self.has_begun = true;
            let mut rest = raw.as_slice();
            while !rest.is_empty() {
                // None where the peer has said farewell: what follows counts for nothing.
                if self.connection.read_tls(&mut rest).map_err(Failure::Socket)? == 0 {
                    break;
                }
                let state = self.connection.process_new_packets().map_err(|error| {
                    // The peer is told why, if its socket takes that.
                    match self.flush() {
                        Ok(_) | Err(_) => Failure::Refused(error),
                    }
                })?;
                self.is_ended |= state.peer_has_closed();
                let mut left = state.plaintext_bytes_to_read();
                while left > 0 {
                    let mut reader = self.connection.reader();
                    let chunk = reader.fill_buf().map_err(Failure::Socket)?;
                    into.extend_from_slice(chunk);
                    let count = chunk.len();
                    reader.consume(count);
                    left = left.saturating_sub(count.max(1));
                }
            }
            Ok(if self.is_ended { Moved::Closed } else { moved })
        })
    }
}

impl AsFd for TlsStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Failure {
    fn into_error(self) -> io::Error {
        match self {
            Failure::Socket(error) => error,
            Failure::Refused(error) => io::Error::new(io::ErrorKind::InvalidData, error),
            Failure::Silent | Failure::Gone | Failure::NotTls => io::ErrorKind::UnexpectedEof.into(),
        }
    }
}

/// A socket to which records are written.
struct Raw<'a>(BorrowedFd<'a>);

impl Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        written(socket::send(self.0, bytes)?)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        written(match parts {
            [part] => socket::send(self.0, part)?,
            parts => socket::send_parts(self.0, parts)?,
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn written(moved: Moved) -> io::Result<usize> {
    match moved {
        Moved::Bytes(count) => Ok(count),
        Moved::WouldBlock => Err(io::ErrorKind::WouldBlock.into()),
        Moved::Closed => Err(io::ErrorKind::BrokenPipe.into()),
    }
}
