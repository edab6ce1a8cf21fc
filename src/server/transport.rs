//! What carries a connection's bytes: a plain socket, of TCP or of the Unix domain; and the place for one that wraps them, such as
//! TLS.
//!
//! A wrapping transport has bytes of its own: it reads ahead, and what it has taken is not sent yet. It may have to send before it can receive
//! and receive before it takes more. So the loop tries again to send whenever it has received (`is_wrapping`), receives
//! again though epoll is silent (`may_have_more`), and counts nothing as sent before `flush` says so. A plain socket is none of this,
//! and each call is the socket's.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::listener::ListenerKind;
use crate::sys::socket::{self, Moved};

pub(super) enum Transport {
    Plain(OwnedFd),
    #[cfg(test)]
    Wrapped(Box<wrapped::Wrapped>),
}

impl Transport {
    /// Of a connection that was accepted from such a listener.
    pub(super) fn new(socket: OwnedFd, kind: ListenerKind) -> Transport {
        match kind {
            ListenerKind::Tcp | ListenerKind::Unix => Transport::Plain(socket),
            #[cfg(test)]
            ListenerKind::Wrapped => Transport::Wrapped(Box::new(wrapped::Wrapped::new(socket))),
        }
    }

    /// Receives at most `bytes_max` bytes and appends them to `buffer`. `WouldBlock`: the socket is empty, and nothing is read ahead.
    pub(super) fn receive(&mut self, buffer: &mut Vec<u8>, bytes_max: usize) -> io::Result<Moved> {
        match self {
            Transport::Plain(socket) => socket::receive(socket.as_fd(), buffer, bytes_max),
            #[cfg(test)]
            Transport::Wrapped(wrapped) => wrapped.receive(buffer, bytes_max),
        }
    }

    /// Takes what it can of `bytes`. `WouldBlock`: the socket is full, or something has to be received first.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<Moved> {
        match self {
            Transport::Plain(socket) => socket::send(socket.as_fd(), bytes),
            #[cfg(test)]
            Transport::Wrapped(wrapped) => wrapped.send(bytes),
        }
    }

    /// True while bytes that `send` took, or that it sends by itself, are not in the socket.
    pub(super) fn has_unsent(&self) -> bool {
        match self {
            Transport::Plain(_) => false,
            #[cfg(test)]
            Transport::Wrapped(wrapped) => wrapped.has_unsent(),
        }
    }

    /// Sends those. `WouldBlock` when some are left.
    pub(super) fn flush(&mut self) -> io::Result<Moved> {
        match self {
            Transport::Plain(_) => Ok(Moved::Bytes(0)),
            #[cfg(test)]
            Transport::Wrapped(wrapped) => wrapped.flush(),
        }
    }

    /// True when something may be received though fewer bytes came than were asked for: epoll may not speak of it again.
    pub(super) fn may_have_more(&self) -> bool {
        match self {
            Transport::Plain(_) => false,
            #[cfg(test)]
            Transport::Wrapped(wrapped) => wrapped.may_have_more(),
        }
    }

    /// True when to receive may be what sending waits for.
    pub(super) fn is_wrapping(&self) -> bool {
        !matches!(self, Transport::Plain(_))
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Transport::Plain(socket) => socket.as_fd(),
            #[cfg(test)]
            Transport::Wrapped(wrapped) => wrapped.as_fd(),
        }
    }
}

#[cfg(test)]
#[path = "transport_tests.rs"]
pub(super) mod wrapped;
