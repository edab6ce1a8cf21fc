//! The reply bytes of one connection that are not sent yet.

use std::io;
use std::os::fd::BorrowedFd;

use super::sys::socket::{self, Moved};

#[derive(Debug, Default)]
pub struct Outbox {
    buffer: Vec<u8>,
    /// Bytes before this are sent.
    sent: usize,
}

/// Buffers that wait for a connection with something to say; more, or larger ones, are freed.
const SPARE_BUFFERS_MAX: usize = 64;
const SPARE_BYTES_MAX: usize = 256 << 10;

impl Outbox {
    /// Replies are appended here.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Unsent bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len() - self.sent
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All unsent bytes, which count as sent: for tests and the pump.
    pub fn take(&mut self) -> Vec<u8> {
        let bytes = self.buffer.split_off(self.sent);
        self.buffer.clear();
        self.sent = 0;
        bytes
    }

    pub(super) fn borrow(&mut self, spare: &mut Vec<Vec<u8>>) {
        if self.buffer.capacity() == 0 {
            self.buffer = spare.pop().unwrap_or_default();
        }
    }

    /// One write. True when all is sent.
    pub(super) fn flush(&mut self, fd: BorrowedFd<'_>) -> io::Result<Flushed> {
        match socket::send(fd, &self.buffer[self.sent..])? {
            Moved::Closed => Ok(Flushed::Closed),
            Moved::WouldBlock => Ok(Flushed::Partly(0)),
            Moved::Bytes(count) => {
                self.sent += count;
                if self.is_empty() {
                    self.buffer.clear();
                    self.sent = 0;
                    Ok(Flushed::Wholly(count))
                } else {
                    // The sent part is cut off when it is the larger one: each byte is moved at most once more.
                    if self.sent > self.len() {
                        self.buffer.drain(..self.sent);
                        self.sent = 0;
                    }
                    Ok(Flushed::Partly(count))
                }
            }
        }
    }

    pub(super) fn release(&mut self, spare: &mut Vec<Vec<u8>>) {
        if self.is_empty() && self.buffer.capacity() > 0 {
            give_back(std::mem::take(&mut self.buffer), spare);
            self.sent = 0;
        }
    }
}

/// What one write came to, with how many bytes left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    Wholly(usize),
    Partly(usize),
    Closed,
}

pub(super) fn give_back(mut buffer: Vec<u8>, spare: &mut Vec<Vec<u8>>) {
    if spare.len() < SPARE_BUFFERS_MAX && (1..=SPARE_BYTES_MAX).contains(&buffer.capacity()) {
        buffer.clear();
        spare.push(buffer);
    }
}
