//! A stream between two processes that carries frames and never waits: what is not sent yet is kept, half a frame is kept.
//!
//! Frame: length of the payload (u64, little-endian: no payload is too long for it), kind (u8), payload. A payload that was received
//! shares the memory that it was received in; a large one is sent from where it lies.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::{Buf, Bytes, BytesMut};

use crate::sys::socket::{self, Moved};

pub(super) struct Link {
    fd: OwnedFd,
    input: BytesMut,
    /// Bytes of the frames that were taken since `input` began in new memory, as far as is known.
    taken: usize,
    /// Large payloads, and what goes before them: they leave before `out`.
    blocks: VecDeque<Bytes>,
    block_bytes: usize,
    out: Vec<u8>,
    /// Bytes before this are sent: of the first block, or of `out` where there is none.
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
        Link {
            fd,
            input: BytesMut::new(),
            taken: 0,
            blocks: VecDeque::new(),
            block_bytes: 0,
            out: Vec::new(),
            sent: 0,
            is_closed: false,
        }
    }

    /// Appends a frame whose payload `write` makes; `flush` sends it.
    pub(super) fn put(&mut self, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
        self.put_with(kind, |out| {
            write(out);
            None
        });
    }

    /// The same for a payload whose last bytes `write` may return, to be sent from where they lie.
    pub(super) fn put_with(&mut self, kind: u8, write: impl FnOnce(&mut Vec<u8>) -> Option<Bytes>) {
        let header = self.out.len();
        self.out.extend_from_slice(&[0; LENGTH_BYTES]);
        self.out.push(kind);
        let last = write(&mut self.out);
        let length = self.out.len() - header - HEADER_BYTES + last.as_ref().map_or(0, Bytes::len);
        self.out[header..header + LENGTH_BYTES].copy_from_slice(&(length as u64).to_le_bytes());
        if let Some(last) = last {
            let before = std::mem::take(&mut self.out);
            self.block_bytes += before.len() + last.len();
            self.blocks.extend([Bytes::from(before), last]);
        }
    }

    /// Bytes that `flush` could not send yet.
    pub(super) fn unsent(&self) -> usize {
        self.block_bytes + self.out.len() - self.sent
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Sends what the socket takes now. A link whose other side is gone drops it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.flush_first(usize::MAX)
    }

    /// The same of the first `bytes_max` unsent bytes.
    pub(super) fn flush_first(&mut self, bytes_max: usize) -> io::Result<()> {
        let mut left = bytes_max;
        while left > 0 && self.unsent() > 0 {
            let first = self.blocks.front().map_or(&self.out[..], |block| &block[..]);
            let end = first.len().min(self.sent.saturating_add(left));
            match socket::send(self.fd.as_fd(), &first[self.sent..end])? {
                Moved::Bytes(count) => {
                    left -= count;
                    self.sent += count;
                    if self.sent == first.len() {
                        self.drop_first();
                    }
                }
                Moved::WouldBlock => {
                    // The sent part goes when it is the larger one: a link that is never quite empty does not grow.
                    if self.blocks.is_empty() && self.sent > self.unsent() {
                        self.out.drain(..self.sent);
                        self.sent = 0;
                    }
                    return Ok(());
                }
                // Not `is_closed`: what the other side wrote before it died is still to be read.
                Moved::Closed => {
                    while self.unsent() > 0 {
                        self.drop_first();
                    }
                }
            }
        }
        Ok(())
    }

    /// All of the first block, or of `out`, is sent.
    fn drop_first(&mut self) {
        self.sent = 0;
        match self.blocks.pop_front() {
            Some(block) => self.block_bytes -= block.len(),
            None if self.out.capacity() > KEPT_BYTES_MAX => self.out = Vec::new(),
            None => self.out.clear(),
        }
    }

    /// Reads until nothing is left now, or the link holds `bytes_max` unread bytes and at least one whole frame.
    pub(super) fn fill(&mut self, bytes_max: usize) -> io::Result<()> {
        while !self.is_closed && (self.input.len() < bytes_max || self.lacking() > 0) {
            self.make_room();
            match socket::receive_shared(self.fd.as_fd(), &mut self.input, READ_BYTES)? {
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
        match self.input.first_chunk::<LENGTH_BYTES>() {
            Some(length) => (u64::from_le_bytes(*length) as usize + HEADER_BYTES).saturating_sub(self.input.len()),
            None => HEADER_BYTES - self.input.len().min(HEADER_BYTES),
        }
    }

    /// A large frame gets all of its memory at once: what it does not touch yet takes none, and it is not moved as it grows.
    fn make_room(&mut self) {
        let lacking = self.lacking();
        if lacking > READ_BYTES && self.input.capacity() - self.input.len() < lacking + READ_BYTES {
            let mut input = BytesMut::with_capacity(self.input.len() + lacking + READ_BYTES);
            input.extend_from_slice(&self.input);
            (self.input, self.taken) = (input, 0);
        }
    }

    /// The next whole frame: its kind and payload.
    pub(super) fn next(&mut self) -> Option<(u8, Bytes)> {
        let length = u64::from_le_bytes(*self.input.first_chunk::<LENGTH_BYTES>()?) as usize;
        if self.input.len() < HEADER_BYTES + length {
            return None;
        }
        let mut frame = self.input.split_to(HEADER_BYTES + length).freeze();
        self.taken += frame.len();
        let kind = frame[HEADER_BYTES - 1];
        frame.advance(HEADER_BYTES);
        Some((kind, frame))
    }

    /// Lets go of the memory of many or large frames: it is freed with the last of them. To be called when `next` has returned `None`.
    pub(super) fn tidy(&mut self) {
        if self.input.is_empty() && self.taken > KEPT_BYTES_MAX {
            (self.input, self.taken) = (BytesMut::new(), 0);
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
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

    fn pair() -> (Link, Link) {
        let (a, b) = socket::stream_pair().unwrap();
        (Link::new(a), Link::new(b))
    }

    #[test]
    fn payloads_are_parts_of_the_memory_that_they_were_received_in_and_outlive_the_link() {
        let (mut a, mut b) = pair();
        for number in 0..3 {
            a.put(1, |out| out.extend_from_slice(&[number; 5]));
        }
        a.flush().unwrap();
        b.fill(usize::MAX).unwrap();
        let begin = b.input.as_ptr() as usize;
        let payloads: Vec<Bytes> = std::iter::from_fn(|| b.next().map(|(_, payload)| payload)).collect();
        b.tidy();
        let places: Vec<usize> = payloads.iter().map(|payload| payload.as_ptr() as usize - begin).collect();
        assert_eq!(places, [9, 23, 37]);
        a.put(1, |out| out.extend_from_slice(&[9; 100]));
        a.flush().unwrap();
        b.fill(usize::MAX).unwrap();
        assert_eq!(b.next().unwrap().1, [9; 100][..]);
        drop(b);
        assert_eq!(payloads, [0, 1, 2].map(|number| vec![number; 5]), "later frames come elsewhere");
    }

    #[test]
    fn a_large_payload_is_sent_from_where_it_lies_and_received_in_memory_of_its_size() {
        let (mut a, mut b) = pair();
        let large = Bytes::from(vec![7; 5 << 20]);
        a.put(1, |out| out.push(1));
        a.put_with(2, |out| {
            out.push(2);
            Some(large.clone())
        });
        a.put(3, |out| out.push(3));
        assert_eq!(a.blocks[1].as_ptr(), large.as_ptr());
        assert_eq!(a.unsent(), large.len() + 3 + 3 * HEADER_BYTES);
        let (mut seen, mut place) = (Vec::new(), None);
        while seen.len() < 3 {
            a.flush().unwrap();
            b.fill(1).unwrap();
            if b.lacking() > HEADER_BYTES {
                let now = b.input.as_ptr();
                assert_eq!(*place.get_or_insert(now), now, "it is not moved while it grows");
                assert!(b.input.capacity() <= large.len() + 2 * READ_BYTES);
            }
            while let Some((kind, payload)) = b.next() {
                seen.push((kind, payload));
            }
            b.tidy();
        }
        assert_eq!(
            seen.iter().map(|(kind, payload)| (*kind, payload.len())).collect::<Vec<_>>(),
            [(1, 1), (2, large.len() + 1), (3, 1)]
        );
        assert!(seen[1].1[1..] == large[..] && seen[1].1[0] == 2);
        assert!(b.input.capacity() <= READ_BYTES, "{}", b.input.capacity());
        assert_eq!((a.unsent(), a.blocks.len()), (0, 0));
    }

    #[test]
    fn frames_arrive_whole_and_a_half_one_is_dropped_at_the_end() {
        let (mut a, mut b) = pair();
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
        assert_eq!(b.next(), Some((3, Bytes::from_static(b"whole"))));
        assert_eq!(b.next(), None);
        assert_eq!(b.lacking(), 2);
    }
}
