//! The received bytes of one connection that are not consumed yet.

use std::io;
use std::ops::Range;

use bytes::Bytes;

use super::transport::Transport;
use crate::sys::socket::Moved;

/// Bytes that are copied rather than let them keep a large buffer.
const SMALL_BYTES_MAX: usize = 4 << 10;
/// From this size on memory moves without being copied (`sys::memory`).
const LARGE_BYTES: usize = 1 << 20;

#[derive(Debug, Default)]
pub struct Input {
    buffer: Vec<u8>,
    /// Bytes before this are consumed.
    start: usize,
}

impl Input {
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    pub fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.len());
        self.start += count;
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    /// `consume`, and a part of what was consumed: in the memory in which it was received, unless too much else lies there.
    pub fn take(&mut self, count: usize, part: Range<usize>) -> Bytes {
        let behind = self.len() - count;
        if behind > part.len() / 4 {
            let part = Bytes::copy_from_slice(&self.bytes()[part]);
            self.consume(count);
            return part;
        }
        let rest = self.bytes()[count..].to_vec();
        let taken = Bytes::from(std::mem::replace(&mut self.buffer, rest));
        let begin = std::mem::take(&mut self.start);
        taken.slice(begin + part.start..begin + part.end)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len() - self.start
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory that it takes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Bytes from elsewhere than a socket: for tests and the pump.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Reads once, at most `bytes_max` bytes. `spare` lends its buffer while this one has none.
    pub(super) fn fill(
        &mut self,
        transport: &mut Transport,
        bytes_max: usize,
        spare: &mut Vec<Vec<u8>>,
    ) -> io::Result<Moved> {
        if self.buffer.capacity() <= SMALL_BYTES_MAX
            && let Some(mut large) = spare.pop()
        {
            large.extend_from_slice(self.bytes());
            self.buffer = large;
            self.start = 0;
        }
        // Consumed bytes make room, but only when they are the larger part: a big frame is moved a bounded number of times.
        if self.start > self.len() {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        // A large frame grows by a quarter and not to twice its size: what is taken is what counts.
        if self.buffer.len() >= LARGE_BYTES && self.buffer.capacity() - self.buffer.len() < bytes_max {
            self.buffer.reserve_exact(bytes_max.max(self.buffer.len() / 4));
        }
        transport.receive(&mut self.buffer, bytes_max)
    }

    /// An idle connection holds no memory: an empty buffer goes to `spare`, or is freed when it grew. One that waits for the rest
    /// of a frame holds that much, or up to four times as much of a larger one.
    pub(super) fn release(&mut self, spare: &mut Vec<Vec<u8>>) {
        let is_large =
            self.buffer.capacity() > SMALL_BYTES_MAX && self.len() <= SMALL_BYTES_MAX.max(self.buffer.capacity() / 4);
        if is_large || self.is_empty() {
            let rest = self.bytes().to_vec();
            super::outbox::give_back(std::mem::replace(&mut self.buffer, rest), spare);
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket;
    use std::os::fd::AsFd;

    #[test]
    fn a_part_is_taken_without_a_copy_unless_much_lies_behind_it() {
        for behind in [0, 10, 100] {
            let mut input = Input::default();
            input.extend(&[1; 5]);
            input.consume(4);
            input.extend(&[2; 100]);
            input.extend(&vec![3; behind]);
            let place = input.bytes()[1..].as_ptr();
            let part = input.take(101, 1..101);
            assert_eq!(part, [2; 100][..]);
            assert_eq!(part.as_ptr() == place, behind < 100);
            assert_eq!(input.bytes(), vec![3; behind]);
        }
    }

    #[test]
    fn what_waits_for_the_rest_of_a_frame_takes_memory_in_proportion() {
        let (here, there) = socket::stream_pair().unwrap();
        let mut here = Transport::Plain(here);
        let (mut input, mut spare) = (Input::default(), Vec::new());
        let mut sent = 0;
        for _ in 0..4000 {
            let Moved::Bytes(count) = socket::send(there.as_fd(), &[7; 1000]).unwrap() else { panic!("no room") };
            sent += count;
            input.fill(&mut here, 64 << 10, &mut spare).unwrap();
            input.release(&mut spare);
            assert_eq!(input.len(), sent);
            assert!(input.capacity() <= (4 * sent).min(sent + sent / 4 + (2 << 20)), "{} for {sent}", input.capacity());
        }
        input.consume(sent);
        input.release(&mut spare);
        assert_eq!((input.capacity(), input.bytes()), (0, &b""[..]));
    }
}
