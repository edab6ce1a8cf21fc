//! The bytes of a file or stream, a window at a time, with the checksum of what was taken. What is asked for is never believed: room is
//! made as bytes come.

use std::io::{ErrorKind, Read};

use super::fault::{Fault, Result};
use crate::kv::formats::rdb::{Source, crc64};

const READ_BYTES: usize = 256 << 10;
const READ_BYTES_MIN: usize = 64 << 10;
/// A window of more than this gives its memory back.
const WINDOW_BYTES_KEPT: usize = 4 << 20;
/// So much of what was taken is kept for `kept`.
const KEPT_BYTES_MAX: usize = 512 << 10;

#[derive(Debug)]
pub struct Bytes<R> {
    input: R,
    window: Vec<u8>,
    /// What of the window has come.
    filled: usize,
    /// The next byte in the window.
    at: usize,
    /// Where the window begins in the input.
    begin: u64,
    /// The checksum up to here in the window.
    summed: usize,
    checksum: u64,
    /// From here on what was taken stays in the window.
    kept_from: Option<usize>,
}

impl<R: Read> Bytes<R> {
    pub fn new(input: R) -> Self {
        Self { input, window: Vec::new(), filled: 0, at: 0, begin: 0, summed: 0, checksum: 0, kept_from: None }
    }

    /// How many bytes were taken.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.begin + self.at as u64
    }

    /// The checksum of all that was taken.
    pub fn checksum(&mut self) -> u64 {
        self.checksum = crc64(self.checksum, &self.window[self.summed..self.at]);
        self.summed = self.at;
        self.checksum
    }

    /// What is taken from here on is kept, as long as it is not much.
    pub fn keep(&mut self) {
        self.kept_from = Some(self.at);
    }

    /// What was taken since `keep`; None: it is more than was kept.
    #[must_use]
    pub fn kept(&self) -> Option<&[u8]> {
        self.kept_from.map(|from| &self.window[from..self.at])
    }

    /// The next byte, which is not taken; None at the end.
    pub fn peek(&mut self) -> Result<Option<u8>> {
        if self.is_empty() {
            self.read(1)?;
        }
        Ok(self.window[..self.filled].get(self.at).copied())
    }

    /// Takes up to so many bytes of those that are there, one at least; none at the end.
    pub fn take_some(&mut self, most: usize) -> Result<&[u8]> {
        self.peek()?;
        let length = most.min(self.filled - self.at);
        self.at += length;
        Ok(&self.window[self.at - length..self.at])
    }

    /// Reads until the window has so many bytes to take, or all that there are.
    fn read(&mut self, length: usize) -> Result<()> {
        self.checksum();
        if self.kept_from.is_some_and(|from| self.at - from > KEPT_BYTES_MAX) {
            self.kept_from = None;
        }
        let from = self.kept_from.unwrap_or(self.at);
        self.window.copy_within(from..self.filled, 0);
        self.filled -= from;
        (self.at, self.begin, self.summed) = (self.at - from, self.begin + from as u64, self.summed - from);
        self.kept_from = self.kept_from.map(|_| 0);
        if self.window.len() > WINDOW_BYTES_KEPT && self.filled + length < READ_BYTES {
            self.window.truncate(READ_BYTES);
            self.window.shrink_to_fit();
        }
        while self.filled - self.at < length {
            if self.window.len() - self.filled < READ_BYTES_MIN {
                self.window.resize(self.filled + READ_BYTES, 0);
            }
            match self.input.read(&mut self.window[self.filled..]) {
                Ok(0) => break,
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// True exactly when nothing is here that was read and not taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at == self.filled
    }

    pub fn input(&mut self) -> &mut R {
        &mut self.input
    }
}

impl<R: Read> Source for Bytes<R> {
    type Error = Fault;

    fn take(&mut self, length: usize) -> Result<&[u8]> {
        if self.filled - self.at < length {
            self.read(length)?;
            if self.filled - self.at < length {
                let end = self.begin + self.filled as u64;
                return Err(Fault::Input(format!("it ends at byte {end}, in the middle of something")));
            }
        }
        self.at += length;
        Ok(&self.window[self.at - length..self.at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time.
    struct Drops<'a>(&'a [u8]);

    impl Read for Drops<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            let length = out.len().min(self.0.len()).min(1);
            out[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    #[test]
    fn bytes_are_taken_summed_and_kept_whatever_the_pieces() {
        let all: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for take in [1, 7, 4096, 700_000] {
            let data = &all[..all.len().min(take * 1000)];
            let mut bytes = Bytes::new(data);
            let mut at = 0;
            while at + take <= data.len() {
                bytes.keep();
                assert_eq!(bytes.take(take).unwrap(), &data[at..at + take]);
                assert_eq!(bytes.kept().unwrap(), &data[at..at + take]);
                at += take;
                if at % (7 * take) == 0 {
                    assert_eq!(bytes.checksum(), crc64(0, &data[..at]));
                }
                assert_eq!(bytes.position(), at as u64);
            }
            assert_eq!(bytes.peek().unwrap(), data.get(at).copied());
            assert!(bytes.take(take).is_err());
        }
        let mut bytes = Bytes::new(Drops(&all[..1000]));
        assert_eq!(bytes.take(999).unwrap(), &all[..999]);
        assert_eq!(bytes.take_some(10).unwrap(), &all[999..1000]);
        assert_eq!(bytes.take_some(10).unwrap(), b"");
    }

    #[test]
    fn much_is_not_kept_and_room_is_made_only_for_what_comes() {
        let data = vec![7; 2 << 20];
        let mut bytes = Bytes::new(&data[..]);
        bytes.keep();
        (0..2048).for_each(|_| assert_eq!(bytes.take(1024).unwrap().len(), 1024));
        assert_eq!(bytes.kept(), None);
        assert!(bytes.window.len() < 2 << 20);
        let mut bytes = Bytes::new(&data[..100]);
        let fault = bytes.take(1 << 40).unwrap_err();
        assert_eq!(fault.to_string(), "it ends at byte 100, in the middle of something");
        assert!(bytes.window.len() < 1 << 20);
    }
}
