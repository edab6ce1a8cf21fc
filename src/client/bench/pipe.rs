//! One connection under load: what it has been asked and not answered, and what the socket would not take yet.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use crate::client::ClientError;
use crate::client::stream::Stream;
use crate::resp::{ReplySkipper, Skipped};

pub(super) struct Pipe {
    /// TLS holds bytes in both directions that the socket does not know of.
    stream: Stream,
    skipper: ReplySkipper,
    /// Oldest first.
    expected: VecDeque<Expected>,
    expected_count: usize,
    /// True exactly when it stands in the queue of those that a fixed rate may use.
    pub(super) is_queued: bool,
    unsent: Vec<u8>,
}

/// Requests of one command whose latency counts from the same moment.
#[derive(Clone, Copy, Debug)]
struct Expected {
    command: usize,
    since_ns: u64,
    count: u64,
}

/// Who hears of replies.
pub(super) trait Listener {
    fn hear_replies(&mut self, command: usize, since_ns: u64, count: u64);
    fn hear_null(&mut self, command: usize, since_ns: u64);
    /// Also of a request that does not count: no error is ignored.
    fn hear_error(&mut self, command: usize, text: &[u8]);
}

impl Pipe {
    pub(super) fn new(stream: Stream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            skipper: ReplySkipper::default(),
            expected: VecDeque::new(),
            expected_count: 0,
            is_queued: false,
            unsent: Vec::new(),
        })
    }

    /// Requests without a reply.
    pub(super) fn expected_count(&self) -> usize {
        self.expected_count
    }

    pub(super) fn expect(&mut self, command: usize, since_ns: u64) {
        self.expected_count += 1;
        match self.expected.back_mut() {
            Some(last) if last.command == command && last.since_ns == since_ns => last.count += 1,
            _ => self.expected.push_back(Expected { command, since_ns, count: 1 }),
        }
    }

    /// Sends what the socket takes and keeps the rest.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = if self.unsent.is_empty() { write(&mut self.stream, bytes)? } else { 0 };
        self.unsent.extend_from_slice(&bytes[sent..]);
        Ok(())
    }

    pub(super) fn send_rest(&mut self) -> io::Result<()> {
        if !self.unsent.is_empty() {
            let sent = write(&mut self.stream, &self.unsent)?;
            self.unsent.drain(..sent);
        }
        if self.stream.holds_output() {
            flush(&mut self.stream)?;
        }
        Ok(())
    }

    /// Reads all that has come, a buffer at a time.
    pub(super) fn receive(&mut self, buffer: &mut [u8], listener: &mut impl Listener) -> Result<(), ClientError> {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err(ClientError::Closed),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(ClientError::Closed),
                Err(error) => return Err(ClientError::Io(error)),
            };
            self.take_replies(&buffer[..count], listener)?;
            // Less than there was room for: the socket is empty (epoll(7), about edge-triggered streams). A record may be less.
            if count < buffer.len() && !self.stream.is_wrapped() {
                return Ok(());
            }
        }
    }

    /// Replies that lie side by side are told as one: their requests had the same beginning.
    fn take_replies(&mut self, mut bytes: &[u8], listener: &mut impl Listener) -> Result<(), ClientError> {
        let mut answered = 0;
        while let Some(kind) = self.skipper.skip(&mut bytes).map_err(ClientError::Protocol)? {
            if kind == Skipped::Push {
                continue;
            }
            let Some(first) = self.expected.front().copied() else { return Err(self.unasked(kind)) };
            match kind {
                Skipped::Error => listener.hear_error(first.command, self.skipper.error()),
                Skipped::Null => listener.hear_null(first.command, first.since_ns),
                Skipped::Value | Skipped::Push => {}
            }
            answered += 1;
            if answered == first.count {
                self.settle(answered, listener);
                answered = 0;
            }
        }
        if answered > 0 {
            self.settle(answered, listener);
        }
        Ok(())
    }

    /// `count` of the oldest have been answered, at most as many as began together.
    fn settle(&mut self, count: u64, listener: &mut impl Listener) {
        let Some(first) = self.expected.front_mut() else { return };
        listener.hear_replies(first.command, first.since_ns, count);
        self.expected_count -= count as usize;
        first.count -= count;
        if first.count == 0 {
            self.expected.pop_front();
        }
    }

    /// A service that is full says so without being asked.
    fn unasked(&self, kind: Skipped) -> ClientError {
        if kind == Skipped::Error {
            ClientError::Refused(String::from_utf8_lossy(self.skipper.error()).into_owned())
        } else {
            ClientError::Refused("the service sent a reply that nobody asked for".to_owned())
        }
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// How much the socket took. A connection that is gone takes nothing: its last words are still to be read.
fn write(stream: &mut Stream, bytes: &[u8]) -> io::Result<usize> {
    match stream.write(bytes) {
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Ok(0),
            _ => Err(error),
        },
        sent => sent,
    }
}

fn flush(stream: &mut Stream) -> io::Result<()> {
    match stream.flush() {
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(()),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Ok(()),
            _ => Err(error),
        },
        flushed => flushed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[derive(Default)]
    struct Heard {
        replies: Vec<(usize, u64, u64)>,
        nulls: u64,
        errors: Vec<String>,
    }

    impl Listener for Heard {
        fn hear_replies(&mut self, command: usize, since_ns: u64, count: u64) {
            self.replies.push((command, since_ns, count));
        }

        fn hear_null(&mut self, _: usize, _: u64) {
            self.nulls += 1;
        }

        fn hear_error(&mut self, _: usize, text: &[u8]) {
            self.errors.push(String::from_utf8_lossy(text).into_owned());
        }
    }

    fn pair() -> (Pipe, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Pipe::new(Stream::Tcp(stream)).unwrap(), listener.accept().unwrap().0)
    }

    #[test]
    fn replies_belong_to_requests_in_their_order_however_they_are_cut() {
        let (mut pipe, _service) = pair();
        for (command, since_ns) in [(0, 10), (0, 10), (1, 10), (0, 20)] {
            pipe.expect(command, since_ns);
        }
        let mut heard = Heard::default();
        for byte in b"+OK\r\n$-1\r\n-ERR no\r\n" {
            pipe.take_replies(&[*byte], &mut heard).unwrap();
        }
        assert_eq!(heard.replies, [(0, 10, 1), (0, 10, 1), (1, 10, 1)]);
        assert_eq!((heard.nulls, heard.errors), (1, vec!["ERR no".to_owned()]));
        assert_eq!(pipe.expected_count(), 1);
    }

    #[test]
    fn replies_that_came_together_are_told_together() {
        let (mut pipe, _service) = pair();
        (0..5).for_each(|_| pipe.expect(0, 10));
        let mut heard = Heard::default();
        pipe.take_replies(b":1\r\n:2\r\n:3\r\n", &mut heard).unwrap();
        pipe.take_replies(b":4\r\n>1\r\n:0\r\n:5\r\n", &mut heard).unwrap();
        assert_eq!(heard.replies, [(0, 10, 3), (0, 10, 2)]);
    }

    #[test]
    fn a_reply_that_nobody_asked_for_ends_it() {
        let (mut pipe, mut service) = pair();
        service.write_all(b"-ERR max number of clients reached\r\n").unwrap();
        drop(service);
        let mut heard = Heard::default();
        pipe.stream.set_nonblocking(false).unwrap();
        let error = pipe.receive(&mut [0; 100], &mut heard).unwrap_err();
        assert_eq!(error.to_string(), "ERR max number of clients reached");
    }

    #[test]
    fn what_the_socket_does_not_take_is_sent_later() {
        let (mut pipe, mut service) = pair();
        let bytes: Vec<u8> = (0..8u32 << 20).map(|index| index as u8).collect();
        pipe.send(&bytes).unwrap();
        pipe.send(b"end").unwrap();
        assert!(!pipe.unsent.is_empty());
        let mut received = vec![0; bytes.len() + 3];
        let mut at = 0;
        while at < received.len() {
            at += service.read(&mut received[at..]).unwrap();
            pipe.send_rest().unwrap();
        }
        assert!(received.starts_with(&bytes) && received.ends_with(b"end"));
    }
}
