//! The body of the fuzz target of RDB files (`fuzz/`), beside the reader that it feeds; the tests below run it too. It panics where the
//! reader breaks a promise: whatever the bytes, it ends with a clear error or has shown what it said, no string is longer than it may be,
//! the pieces in which bytes come make no difference, and memory is bounded by what has come.

use std::io::{self, Read};

use super::bytes::Bytes;
use super::command_log::{CommandLog, Next};
use super::fault::{Fault, Result};
use super::rdb_file::{FileKey, RdbFile, Visitor};
use crate::kv::formats::rdb::{Element, StreamPart, crc64};

/// Small, so that a short file reaches it.
const VALUE_BYTES_MAX: u64 = 1 << 16;
const CHECKSUM_BYTES: usize = 8;

/// `data` as a file, as one with the right checksum, and as a log of commands.
pub fn fuzz_rdb_file(data: &[u8]) {
    for file in [data.to_vec(), with_checksum(data)] {
        let whole = shown(&file[..]);
        assert_eq!(shown(Drops { data: &file, next: 1 }), whole, "pieces make a difference");
        if let (shown, Ok(())) = &whole {
            assert_eq!(shown.begun, shown.ended, "a key without its end");
        }
    }
    let mut log = CommandLog::new(Bytes::new(data), VALUE_BYTES_MAX);
    let mut bytes = 0;
    while let Ok(Next::Command(command)) = log.next() {
        bytes += command.iter().map(Vec::len).sum::<usize>();
        assert!(bytes <= data.len(), "commands of more bytes than there are");
    }
}

/// A cut file, and one whose checksum is right whatever is changed.
fn with_checksum(data: &[u8]) -> Vec<u8> {
    let mut file = data[..data.len().saturating_sub(CHECKSUM_BYTES)].to_vec();
    file.extend_from_slice(&crc64(0, &file).to_le_bytes());
    file
}

/// What a file has shown, as a digest, and its faults as text.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shown {
    begun: u64,
    ended: u64,
    elements: u64,
    digest: u64,
}

fn shown(input: impl Read) -> (Shown, std::result::Result<(), String>) {
    let mut shown = Shown::default();
    let read = RdbFile::open(input, VALUE_BYTES_MAX).and_then(|mut file| file.read(&mut shown));
    (shown, read.map_err(|fault| fault.to_string()))
}

impl Shown {
    fn note(&mut self, text: &[u8]) {
        assert!(text.len() as u64 <= VALUE_BYTES_MAX, "a string of {} bytes", text.len());
        self.digest = crc64(self.digest.rotate_left(1), text);
    }
}

impl Visitor for Shown {
    fn begin(&mut self, key: &FileKey<'_>) -> Result<()> {
        assert_eq!(self.begun, self.ended, "two keys at once");
        self.begun += 1;
        self.note(key.name);
        Ok(())
    }

    fn element(&mut self, element: Element<'_>) -> Result<()> {
        self.elements += 1;
        match element {
            Element::Value(text) | Element::Item(text) | Element::Member(text) => self.note(text),
            Element::Scored(member, score) => {
                assert!(!score.is_nan(), "a score is a number");
                self.note(member);
            }
            Element::Field(field, value) | Element::EndingField(field, value, _) => {
                self.note(field);
                self.note(value);
            }
            Element::Stream(StreamPart::Entry { parts, .. }) => parts.iter().for_each(|part| self.note(part)),
            Element::Stream(StreamPart::Group { name, .. } | StreamPart::Consumer { name, .. }) => self.note(name),
            Element::Stream(other) => self.note(format!("{other:?}").as_bytes()),
        }
        Ok(())
    }

    fn end(&mut self, _: u64, encoded: Option<&[u8]>) -> Result<()> {
        self.ended += 1;
        self.note(&encoded.map_or(0, <[u8]>::len).to_le_bytes());
        Ok(())
    }

    fn library(&mut self, code: &[u8]) -> Result<()> {
        self.note(code);
        Ok(())
    }

    fn unmoved(&mut self, what: &str, name: &[u8]) {
        self.note(what.as_bytes());
        self.note(name);
    }

    fn at(&mut self, position: u64) -> Result<()> {
        if position == u64::MAX { Err(Fault::Interrupted) } else { Ok(()) }
    }
}

/// Gives few bytes at a time.
struct Drops<'a> {
    data: &'a [u8],
    next: usize,
}

impl Read for Drops<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.next.min(out.len()).min(self.data.len());
        out[..length].copy_from_slice(&self.data[..length]);
        self.data = &self.data[length..];
        self.next = self.next % 13 + 1;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    const EVERY_ENCODING: &[u8] = include_bytes!("../../tests/data/redis-7.0.15-every-encoding.rdb");
    const STREAMS: &[u8] = include_bytes!("../../tests/data/redis-7.0.15-streams.rdb");

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn a_file_with_faults_keeps_the_promises(
            changes in proptest::collection::vec((any::<Index>(), any::<u8>()), 0..4),
            cut in proptest::option::of(any::<Index>()),
        ) {
            for whole in [EVERY_ENCODING, STREAMS] {
                let mut file = whole.to_vec();
                for (at, byte) in &changes {
                    file[at.index(whole.len())] = *byte;
                }
                file.truncate(cut.map_or(file.len(), |cut| cut.index(whole.len())));
                fuzz_rdb_file(&file);
            }
        }

        #[test]
        fn any_bytes_behind_a_beginning_keep_the_promises(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            fuzz_rdb_file(&[b"REDIS0010", &data[..]].concat());
            fuzz_rdb_file(&[b"REDIS0080", &data[..]].concat());
            fuzz_rdb_file(&data);
        }
    }
}
