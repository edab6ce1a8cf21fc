//! The reply bytes of one connection that are not sent yet.
//!
//! Mostly one small buffer. A peer that does not read makes it grow: then it is a row of blocks, so that nothing large is ever
//! moved, and each block's memory goes back when its bytes have left.

use std::collections::VecDeque;
use std::io;

use bytes::{Buf, Bytes};

use super::block::Block;
use super::transport::Transport;
use crate::sys::socket::Moved;

#[derive(Debug, Default)]
pub struct Outbox {
    /// Full blocks, oldest first: they leave before `buffer`.
    blocks: VecDeque<Block>,
    /// Lengths and capacities of all blocks.
    block_bytes: usize,
    block_capacity: usize,
    buffer: Vec<u8>,
    /// Bytes before this are sent: of the first block, or of `buffer` where there is none.
    sent: usize,
}

/// From this length on a buffer becomes a block. Of that size it is a mapping of its own, which goes back to the kernel when it is
/// freed (`sys::memory`).
const BLOCK_BYTES: usize = 1 << 20;
/// From this length on what several connections are sent is not copied into each one's buffer: a smaller piece is not worth a write of
/// its own.
const SHARED_BYTES_MIN: usize = 16 << 10;
/// What one connection sends in one round at most, beyond one block: others have replies, too.
const FLUSH_BYTES_MAX: usize = 2 << 20;
/// Buffers that wait for a connection with something to say; more, or larger ones, are freed.
const SPARE_BUFFERS_MAX: usize = 64;
const SPARE_BYTES_MAX: usize = 256 << 10;

impl Outbox {
    /// Replies are appended here.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        if self.buffer.len() >= BLOCK_BYTES {
            self.seal();
            // More is likely to follow; what of it is never touched takes no memory.
            self.buffer.reserve_exact(BLOCK_BYTES + BLOCK_BYTES / 4);
        }
        &mut self.buffer
    }

    /// Appends what is made already. Large replies are not copied.
    pub fn append(&mut self, bytes: impl Into<Block>) {
        let mut bytes = bytes.into();
        if bytes.len() < BLOCK_BYTES {
            return self.buffer().extend_from_slice(&bytes);
        }
        self.seal();
        // What has come in a frame of its own is moved within that memory, behind which nothing else lies.
        self.push_block(std::mem::take(bytes.own()));
    }

    /// Appends what other connections are sent as well: one memory for all of them, unless it is small.
    pub fn append_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_BYTES_MIN {
            return self.buffer().extend_from_slice(bytes);
        }
        self.seal();
        self.block_bytes += bytes.len();
        self.block_capacity += bytes.len();
        self.blocks.push_back(Block::Shared(bytes.clone()));
    }

    /// Unsent bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.block_bytes + self.buffer.len() - self.sent
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory that it takes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.block_capacity + self.buffer.capacity()
    }

    /// All unsent bytes, which count as sent: for tests and the pump.
    pub fn take(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.blocks).into_iter().fold(Vec::new(), |mut bytes, block| {
            bytes.extend_from_slice(&block);
            bytes
        });
        bytes.append(&mut self.buffer);
        bytes.drain(..self.sent);
        *self = Outbox::default();
        bytes
    }

    pub(super) fn borrow(&mut self, spare: &mut Vec<Vec<u8>>) {
        if self.buffer.capacity() == 0 {
            self.buffer = spare.pop().unwrap_or_default();
        }
    }

    /// Sends what the socket takes now, and not more than is fair: mostly one write.
    pub(super) fn flush(&mut self, transport: &mut Transport) -> io::Result<Flushed> {
        let mut count = 0;
        while !self.is_empty() {
            if count >= FLUSH_BYTES_MAX {
                return Ok(Flushed::More(count));
            }
            let first = self.blocks.front().map_or(&self.buffer[..], |block| block);
            match transport.send(&first[self.sent..])? {
                Moved::Closed => return Ok(Flushed::Closed),
                Moved::WouldBlock => return Ok(Flushed::Partly(count)),
                Moved::Bytes(bytes) => {
                    count += bytes;
                    self.sent += bytes;
                    if self.sent < first.len() {
                        self.drop_sent_part();
                        return Ok(Flushed::Partly(count));
                    }
                    self.drop_first();
                }
            }
        }
        // Only a wrapping transport holds something back.
        if transport.has_unsent() {
            match transport.flush()? {
                Moved::Closed => return Ok(Flushed::Closed),
                Moved::WouldBlock => return Ok(Flushed::Partly(count)),
                Moved::Bytes(_) => {}
            }
        }
        Ok(Flushed::Wholly(count))
    }

    /// All of the first block, or of the buffer, is sent.
    fn drop_first(&mut self) {
        self.sent = 0;
        match self.blocks.pop_front() {
            Some(block) => {
                self.block_bytes -= block.len();
                self.block_capacity -= block.capacity();
            }
            None => self.buffer.clear(),
        }
    }

    /// The sent part is cut off when it is the larger one: each byte is moved at most once more.
    fn drop_sent_part(&mut self) {
        let sent = self.sent;
        if let Some(block) = self.blocks.front_mut() {
            let before = block.capacity();
            match block {
                // One huge reply is a block, too.
                Block::Own(bytes) if sent >= BLOCK_BYTES && sent > bytes.len() / 2 => {
                    bytes.drain(..sent);
                    bytes.shrink_to_fit();
                }
                Block::Shared(bytes) => bytes.advance(sent),
                Block::Own(_) => return,
            }
            self.block_bytes -= sent;
            self.block_capacity = self.block_capacity + block.capacity() - before;
            self.sent = 0;
        } else if self.buffer.len() >= BLOCK_BYTES {
            self.seal();
        } else if sent > self.buffer.len() / 2 {
            self.buffer.drain(..sent);
            self.sent = 0;
        }
    }

    /// The buffer becomes a block.
    fn seal(&mut self) {
        if !self.buffer.is_empty() {
            let block = std::mem::take(&mut self.buffer);
            self.push_block(block);
        }
    }

    fn push_block(&mut self, mut block: Vec<u8>) {
        if block.capacity() - block.len() > block.len() / 4 {
            block.shrink_to_fit();
        }
        self.block_bytes += block.len();
        self.block_capacity += block.capacity();
        self.blocks.push_back(Block::Own(block));
    }

    pub(super) fn release(&mut self, spare: &mut Vec<Vec<u8>>) {
        if self.is_empty() && self.buffer.capacity() > 0 {
            give_back(std::mem::take(&mut self.buffer), spare);
            self.blocks = VecDeque::new();
            self.sent = 0;
        }
    }
}

/// What sending came to, with how many bytes left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    Wholly(usize),
    /// The socket is full.
    Partly(usize),
    /// The socket may take more, but it is others' turn.
    More(usize),
    Closed,
}

pub(super) fn give_back(mut buffer: Vec<u8>, spare: &mut Vec<Vec<u8>>) {
    if spare.len() < SPARE_BUFFERS_MAX && (1..=SPARE_BYTES_MAX).contains(&buffer.capacity()) {
        buffer.clear();
        spare.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket;
    use std::os::fd::AsFd;

    /// Sends and receives until all has left; what came.
    fn drained(out: &mut Outbox, mut before_each: impl FnMut(&mut Outbox)) -> Vec<u8> {
        let (here, there) = socket::stream_pair().unwrap();
        let mut here = Transport::Plain(here);
        let mut received = Vec::new();
        loop {
            before_each(out);
            let flushed = out.flush(&mut here).unwrap();
            while let Moved::Bytes(_) = socket::receive(there.as_fd(), &mut received, 1 << 20).unwrap() {}
            if let Flushed::Wholly(_) = flushed {
                return received;
            }
        }
    }

    #[test]
    fn replies_leave_in_order_however_large_they_are_and_give_their_memory_back_on_the_way() {
        let mut out = Outbox::default();
        let mut expected = Vec::new();
        for number in 0..400_000_u32 {
            out.buffer().extend_from_slice(&number.to_le_bytes());
            expected.extend_from_slice(&number.to_le_bytes());
            if number % 100_000 == 7 {
                let large = vec![number as u8; 5 << 20];
                expected.extend_from_slice(&large);
                out.append(large);
                out.append(vec![1; 3]);
                expected.extend_from_slice(&[1; 3]);
            }
        }
        let most = out.len();
        assert_eq!((most, out.is_empty()), (expected.len(), false));
        let is_in_proportion = |out: &mut Outbox| {
            assert!(out.capacity() <= 2 * out.len() + 4 * BLOCK_BYTES, "{} for {}", out.capacity(), out.len());
        };
        assert!(drained(&mut out, is_in_proportion) == expected);
        let mut spare = Vec::new();
        out.release(&mut spare);
        assert_eq!((out.capacity(), out.len()), (0, 0));
    }

    #[test]
    fn what_several_are_sent_lies_in_one_memory_and_leaves_in_its_place() {
        let shared = Bytes::from((0..3 << 20).map(|number: u32| number as u8).collect::<Vec<_>>());
        let mut outs = [Outbox::default(), Outbox::default()];
        for out in &mut outs {
            out.append(vec![1; 10]);
            out.append_shared(&shared);
            out.append_shared(&Bytes::from_static(b"small"));
            assert_eq!(out.len(), out.blocks[0].len() + out.blocks[1].len() + 5);
            assert_eq!(out.blocks[1].as_ptr(), shared.as_ptr());
        }
        let expected = [&[1; 10][..], &shared, b"small"].concat();
        for mut out in outs {
            assert!(drained(&mut out, |_| {}) == expected);
            assert_eq!(out.len(), 0);
        }
    }

    #[test]
    fn all_unsent_bytes_can_be_taken_at_any_time() {
        let mut out = Outbox::default();
        out.append(vec![1; 3 << 20]);
        out.append(vec![2; 10]);
        let (here, _there) = socket::stream_pair().unwrap();
        let mut here = Transport::Plain(here);
        let Flushed::Partly(sent) = out.flush(&mut here).unwrap() else { panic!("the socket takes all") };
        assert_eq!((sent + out.len(), out.take().len()), ((3 << 20) + 10, (3 << 20) + 10 - sent));
        assert!(out.is_empty() && out.capacity() == 0);
    }
}
