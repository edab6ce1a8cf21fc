//! What the supervisor and its children say to each other: small messages, some with a descriptor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys::socket::{self, Moved};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    // To a child:
    /// To a worker, with a descriptor: a fresh link to the process lane `lane`.
    Lane { lane: u64 },
    /// To the process lane, with a descriptor: a fresh link to a worker.
    Worker { incarnation: u64 },
    /// To the process lane: the workers that are there now have all been told of.
    AllWorkers,
    /// To a worker, with a descriptor: a fresh link to the worker in `slot`.
    Bus { slot: u64 },
    /// To a worker and the sidecar, with sealed memory: what TLS is spoken with from now on.
    Certificates,
    /// End in good order, within so many milliseconds.
    Drain { within_ms: u64 },
    // To the supervisor:
    /// The child serves.
    Ready,
    /// A client asked for an orderly end of the service.
    DrainAll,
}

pub(super) struct Control {
    fd: OwnedFd,
}

/// What a read of the control socket came to.
pub(super) enum Heard {
    Message(Message, Option<OwnedFd>),
    Nothing,
    /// The other side is gone.
    Gone,
}

const MESSAGE_BYTES: usize = 9;

impl Control {
    pub(super) fn pair() -> io::Result<(Control, Control)> {
        let (a, b) = socket::message_pair()?;
        Ok((Control { fd: a }, Control { fd: b }))
    }

    /// A control socket is never full in practice (some hundred messages fit); one that is, belongs to a stopped process.
    pub(super) fn send(&self, message: Message, passed: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let (kind, value) = match message {
            Message::Lane { lane } => (1, lane),
            Message::Worker { incarnation } => (2, incarnation),
            Message::Bus { slot } => (3, slot),
            Message::Drain { within_ms } => (4, within_ms),
            Message::Ready => (5, 0),
            Message::DrainAll => (6, 0),
            Message::AllWorkers => (7, 0),
            Message::Certificates => (8, 0),
        };
        let mut bytes = [0; MESSAGE_BYTES];
        bytes[0] = kind;
        bytes[1..].copy_from_slice(&u64::to_le_bytes(value));
        match socket::send_message(self.fd.as_fd(), &bytes, passed)? {
            Moved::Bytes(_) | Moved::Closed => Ok(()),
            Moved::WouldBlock => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    pub(super) fn receive(&self) -> io::Result<Heard> {
        let mut bytes = [0; MESSAGE_BYTES];
        let (moved, passed) = socket::receive_message(self.fd.as_fd(), &mut bytes)?;
        let value = u64::from_le_bytes(*bytes.last_chunk().expect("a message has 9 bytes"));
        let message = match moved {
            Moved::WouldBlock => return Ok(Heard::Nothing),
            Moved::Closed => return Ok(Heard::Gone),
            Moved::Bytes(_) => match bytes[0] {
                1 => Message::Lane { lane: value },
                2 => Message::Worker { incarnation: value },
                3 => Message::Bus { slot: value },
                4 => Message::Drain { within_ms: value },
                5 => Message::Ready,
                6 => Message::DrainAll,
                7 => Message::AllWorkers,
                8 => Message::Certificates,
                _ => return Err(io::ErrorKind::InvalidData.into()),
            },
        };
        Ok(Heard::Message(message, passed))
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
