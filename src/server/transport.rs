//! What carries a connection's bytes: a plain socket, of TCP or of the Unix domain; or TLS, which wraps them.
//!
//! A wrapping transport has bytes of its own: it reads ahead, and what it has taken is not sent yet. It may have something to send
//! because it has received (an answer to new keys). So the loop sends after each read what that left behind (`has_unsent`), receives
//! again though epoll is silent (`may_have_more`), and counts nothing as sent before `flush` says so. A plain socket is none of this,
//! and each call is the socket's. Until its handshake is done TLS is no connection's transport: see `worker/opening`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::tls::{Secured, TlsStream};
use crate::sys::socket::{self, Moved};

pub(super) enum Transport {
    Plain(OwnedFd),
    Tls(Box<TlsStream>),
}

impl Transport {
    /// Receives at most `bytes_max` bytes, which are one read of the loop, and appends them to `buffer`. `WouldBlock`: the socket is
    /// empty, and nothing is read ahead. No bytes at all: some came, and none of them for the connection.
    pub(super) fn receive(&mut self, buffer: &mut Vec<u8>, bytes_max: usize) -> io::Result<Moved> {
        match self {
            Transport::Plain(socket) => socket::receive(socket.as_fd(), buffer, bytes_max),
            Transport::Tls(stream) => stream.receive(buffer),
        }
    }

    /// Takes what it can of `bytes`: less than all only when the socket is full. `WouldBlock`: nothing, for that reason.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<Moved> {
        match self {
            Transport::Plain(socket) => socket::send(socket.as_fd(), bytes),
            Transport::Tls(stream) => stream.send(bytes),
        }
    }

    /// True while bytes that `send` took, or that it sends by itself, are not in the socket.
    pub(super) fn has_unsent(&self) -> bool {
        match self {
            Transport::Plain(_) => false,
            Transport::Tls(stream) => stream.has_unsent(),
        }
    }

    /// Sends those. `WouldBlock` when some are left.
    pub(super) fn flush(&mut self) -> io::Result<Moved> {
        match self {
            Transport::Plain(_) => Ok(Moved::Bytes(0)),
            Transport::Tls(stream) => stream.flush(),
        }
    }

    /// True when something may be received though fewer bytes came than were asked for: epoll may not speak of it again.
    pub(super) fn may_have_more(&self) -> bool {
        match self {
            Transport::Plain(_) => false,
            Transport::Tls(stream) => stream.may_have_more(),
        }
    }

    /// The last word to the peer before the socket closes.
    pub(super) fn close(&mut self) {
        match self {
            Transport::Plain(_) => {}
            Transport::Tls(stream) => stream.close(),
        }
    }

    /// The memory that it takes beside the socket.
    pub(super) fn capacity(&self) -> usize {
        match self {
            Transport::Plain(_) => 0,
            Transport::Tls(stream) => stream.capacity(),
        }
    }

    pub(super) fn secured(&self) -> Option<Secured> {
        match self {
            Transport::Plain(_) => None,
            Transport::Tls(stream) => Some(stream.secured()),
        }
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Transport::Plain(socket) => socket.as_fd(),
            Transport::Tls(stream) => stream.as_fd(),
        }
    }
}

#[cfg(test)]
#[path = "transport_tests.rs"]
mod tests;
