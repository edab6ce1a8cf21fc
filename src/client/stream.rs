//! The bytes below a connection: TCP, a unix socket, or TLS over TCP.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use super::connection::Patience;
use super::target::Target;
use super::tls::{prepare, secure};

pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    /// Tries each address of the host.
    pub(crate) fn dial(target: &Target, patience: Patience) -> io::Result<Self> {
        if let Some(path) = &target.socket {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(patience.read)?;
            return Ok(Self::Unix(stream));
        }
        let prepared = target.tls.as_ref().map(|tls| prepare(&target.host, tls)).transpose()?;
        let stream = dial_tcp(target, patience.connect)?;
        stream.set_nodelay(true)?;
        let Some(prepared) = prepared else {
            stream.set_read_timeout(patience.read)?;
            return Ok(Self::Tcp(stream));
        };
        // Who speaks no TLS may be silent for ever.
        stream.set_read_timeout(Some(patience.connect))?;
        let stream = secure(prepared, stream)?;
        stream.sock.set_read_timeout(patience.read)?;
        Ok(Self::Tls(stream))
    }

    pub(crate) fn set_nonblocking(&self, is_nonblocking: bool) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nonblocking(is_nonblocking),
            Self::Unix(stream) => stream.set_nonblocking(is_nonblocking),
            Self::Tls(stream) => stream.sock.set_nonblocking(is_nonblocking),
        }
    }

    /// True when it reads and writes more than it gives and takes.
    pub(crate) fn is_wrapped(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// True exactly when a read gives bytes that the descriptor no longer knows of.
    pub(crate) fn holds_input(&mut self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            // An error here comes back at the read.
            Self::Tls(stream) => {
                stream.conn.process_new_packets().is_ok_and(|state| state.plaintext_bytes_to_read() > 0)
            }
        }
    }

    /// True exactly when `flush` has something left that the descriptor did not take.
    pub(crate) fn holds_output(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.conn.wants_write())
    }
}

fn dial_tcp(target: &Target, patience: Duration) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (target.host.as_str(), target.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(bytes),
            Self::Unix(stream) => stream.read(bytes),
            // A peer that leaves without TLS' farewell has left all the same.
            Self::Tls(stream) => stream.read(bytes).or_else(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => Ok(0),
                _ => Err(error),
            }),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.flush(),
            Self::Unix(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
            Self::Tls(stream) => stream.sock.as_fd(),
        }
    }
}
