//! A stream between two processes that carries frames and never waits: what is not sent yet is kept, half a frame is kept.
//!
//! Frame: length of the payload (u64, little-endian: no payload is too long for it), kind (u8), payload.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys::socket::{self, Moved};

pub(super) struct Link {
    fd: OwnedFd,
    input: Vec<u8>,
    /// Bytes of `input` before this are consumed.
    start: usize,
    out: Vec<u8>,
    /// Bytes of `out` before this are sent.
    sent: usize,
    /// True once the other side is gone: its whole frames can still be read.
    is_closed: bool,
}

const LENGTH_BYTES: usize = 8;
const HEADER_BYTES: usize = LENGTH_BYTES + 1;
const READ_BYTES: usize = 256 << 10;
/// Buffers that grew beyond this are freed when they are empty.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// What the kernel may hold for one direction, if it allows that much: a whole round of jobs in one write.
const SOCKET_BYTES: usize = 1 << 20;

impl Link {
    pub(super) fn new(fd: OwnedFd) -> Link {
        // Smaller buffers are slower and nothing else.
        if let Err(error) = socket::set_buffers(fd.as_fd(), SOCKET_BYTES) {
            tracing::debug!(%error, "socket buffers stay as they are");
        }
        Link { fd, input: Vec::new(), start: 0, out: Vec::new(), sent: 0, is_closed: false }
    }

    /// Appends a frame whose payload `write` makes; `flush` sends it.
    pub(super) fn put(&mut self, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
        let header = self.out.len();
        self.out.extend_from_slice(&[0; LENGTH_BYTES]);
        self.out.push(kind);
        write(&mut self.out);
        let length = (self.out.len() - header - HEADER_BYTES) as u64;
        self.out[header..header + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    }

    /// Bytes that `flush` could not send yet.
    pub(super) fn unsent(&self) -> usize {
        self.out.len() - self.sent
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Sends what the socket takes now. A link whose other side is gone drops it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.unsent() > 0 {
            match socket::send(self.fd.as_fd(), &self.out[self.sent..])? {
                Moved::Bytes(count) => self.sent += count,
                Moved::WouldBlock => {
                    // The sent part goes when it is the larger one: a link that is never quite empty does not grow.
                    if self.sent > self.unsent() {
                        self.out.drain(..self.sent);
                        self.sent = 0;
                    }
                    return Ok(());
                }
                // Not `is_closed`: what the other side wrote before it died is still to be read.
                Moved::Closed => self.sent = self.out.len(),
            }
        }
        self.out.clear();
        self.sent = 0;
        shrink(&mut self.out);
        Ok(())
    }

    /// Reads until nothing is left now, or the link holds `bytes_max` unread bytes and at least one whole frame.
    pub(super) fn fill(&mut self, bytes_max: usize) -> io::Result<()> {
        while !self.is_closed && (self.input.len() - self.start < bytes_max || self.lacking() > 0) {
            if self.start > self.input.len() / 2 {
                self.input.drain(..self.start);
                self.start = 0;
            }
            match socket::receive(self.fd.as_fd(), &mut self.input, READ_BYTES)? {
                // A short read has emptied the socket; what comes later is reported by epoll.
                Moved::Bytes(count) if count < READ_BYTES => return Ok(()),
                Moved::Bytes(_) => {}
                Moved::WouldBlock => return Ok(()),
                Moved::Closed => self.is_closed = true,
            }
        }
        Ok(())
    }

    /// The bytes that the first frame still lacks, as far as that is known: so a large one is let in past the limit.
    fn lacking(&self) -> usize {
        let bytes = &self.input[self.start..];
        match bytes.first_chunk::<LENGTH_BYTES>() {
            Some(length) => (u64::from_le_bytes(*length) as usize + HEADER_BYTES).saturating_sub(bytes.len()),
            None => HEADER_BYTES - bytes.len().min(HEADER_BYTES),
        }
    }

    /// The next whole frame: its kind and payload.
    pub(super) fn next(&mut self) -> Option<(u8, &[u8])> {
        let bytes = &self.input[self.start..];
        let length = u64::from_le_bytes(*bytes.first_chunk::<LENGTH_BYTES>()?) as usize;
        if bytes.len() < HEADER_BYTES + length {
            return None;
        }
        let begin = self.start + HEADER_BYTES;
        self.start = begin + length;
        Some((self.input[begin - 1], &self.input[begin..begin + length]))
    }

    /// Frees what the consumed frames held. To be called when `next` has returned `None`.
    pub(super) fn tidy(&mut self) {
        if self.start == self.input.len() {
            self.input.clear();
            self.start = 0;
            shrink(&mut self.input);
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn shrink(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT_BYTES_MAX {
        *buffer = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Link {
        /// Takes the last bytes back, as a death in the middle of a frame does.
        pub(in crate::server) fn cut(&mut self, count: usize) {
            self.out.truncate(self.out.len() - count);
        }
    }

    #[test]
    fn frames_arrive_whole_and_a_half_one_is_dropped_at_the_end() {
        let (a, b) = socket::stream_pair().unwrap();
        let (mut a, mut b) = (Link::new(a), Link::new(b));
        let big = vec![7; 3 << 20];
        a.put(1, |out| out.extend_from_slice(b"first"));
        a.put(2, |out| out.extend_from_slice(&big));
        let mut seen = Vec::new();
        while seen.len() < 2 {
            a.flush().unwrap();
            b.fill(usize::MAX).unwrap();
            while let Some((kind, payload)) = b.next() {
                seen.push((kind, payload.to_vec()));
            }
            b.tidy();
        }
        assert!(seen[0] == (1, b"first".to_vec()) && seen[1] == (2, big));
        assert_eq!(a.unsent(), 0);
        a.put(3, |out| out.extend_from_slice(b"whole"));
        a.put(4, |out| out.extend_from_slice(b"half"));
        a.cut(2);
        a.flush().unwrap();
        drop(a);
        b.fill(usize::MAX).unwrap();
        b.fill(usize::MAX).unwrap();
        assert!(b.is_closed());
        assert_eq!(b.next(), Some((3, &b"whole"[..])));
        assert_eq!(b.next(), None);
        assert_eq!(b.lacking(), 2);
    }
}
