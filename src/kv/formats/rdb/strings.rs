//! Strings, which are the elements of everything else too, and the lengths in front of them.
//!
//! ```text
//! length bytes           raw: 00LLLLLL | 01LLLLLL L | 80 LLLL | 81 LLLLLLLL, big endian
//!   or C0 i8 | C1 i16 | C2 i32, little endian: an integer in decimal
//!   or C3 length length bytes: LZF, compressed and original length
//! ```

use super::payload::{Payload, RestoreError, TYPE_STRING, VERSION_WRITTEN, seal};
use crate::kv::formats::lzf;
use crate::resp::number::parse_integer;

const ENCODED_INT8: u8 = 0xc0;
const ENCODED_INT16: u8 = 0xc1;
const ENCODED_INT32: u8 = 0xc2;
const ENCODED_LZF: u8 = 0xc3;

/// Shorter values are never compressed; Redis' limit too.
const COMPRESSED_FROM_BYTES: usize = 21;
/// Compression must gain at least this much.
const COMPRESSION_GAIN_BYTES: usize = 4;
/// The longest text of a 64-bit integer.
const INTEGER_BYTES_MAX: usize = 20;

/// The payload of DUMP of a string: the bytes that Redis 7.0 makes of the same value.
#[must_use]
pub fn dump_string(value: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(value.len() + 16);
    payload.push(TYPE_STRING);
    put_string(value, &mut lzf::Compressor::default(), &mut payload);
    seal(&mut payload, 0, VERSION_WRITTEN);
    payload
}

/// The string in a payload of DUMP. Takes no more memory than the payload can stand for.
pub fn restore_string(payload: &[u8], bytes_max: u64) -> Result<Vec<u8>, RestoreError> {
    Payload::open(payload, bytes_max)?.string()
}

pub(super) fn put_string(value: &[u8], compressor: &mut lzf::Compressor, payload: &mut Vec<u8>) {
    if !put_integer(value, payload) && !put_compressed(value, compressor, payload) {
        put_length(value.len() as u64, payload);
        payload.extend_from_slice(value);
    }
}

fn put_integer(value: &[u8], payload: &mut Vec<u8>) -> bool {
    let Some(integer) = parse_integer(value) else { return false };
    if let Ok(small) = i8::try_from(integer) {
        payload.push(ENCODED_INT8);
        payload.extend_from_slice(&small.to_le_bytes());
    } else if let Ok(small) = i16::try_from(integer) {
        payload.push(ENCODED_INT16);
        payload.extend_from_slice(&small.to_le_bytes());
    } else if let Ok(small) = i32::try_from(integer) {
        payload.push(ENCODED_INT32);
        payload.extend_from_slice(&small.to_le_bytes());
    } else {
        return false;
    }
    true
}

fn put_compressed(value: &[u8], compressor: &mut lzf::Compressor, payload: &mut Vec<u8>) -> bool {
    if value.len() < COMPRESSED_FROM_BYTES {
        return false;
    }
    let Some(compressed) = compressor.compress(value, value.len() - COMPRESSION_GAIN_BYTES) else { return false };
    payload.push(ENCODED_LZF);
    put_length(compressed.len() as u64, payload);
    put_length(value.len() as u64, payload);
    payload.extend_from_slice(&compressed);
    true
}

pub(super) fn put_length(length: u64, payload: &mut Vec<u8>) {
    match length {
        0..=0x3f => payload.push(length as u8),
        0x40..=0x3fff => payload.extend_from_slice(&(0x4000 | length as u16).to_be_bytes()),
        0x4000..=0xffff_ffff => {
            payload.push(0x80);
            payload.extend_from_slice(&(length as u32).to_be_bytes());
        }
        _ => {
            payload.push(0x81);
            payload.extend_from_slice(&length.to_be_bytes());
        }
    }
}

/// A string that was read: where the payload has its bytes as they are, those.
#[derive(Clone, Debug)]
pub(super) enum Text<'a> {
    Borrowed(&'a [u8]),
    Integer { digits: [u8; INTEGER_BYTES_MAX], length: usize },
    Made(Vec<u8>),
}

impl<'a> Text<'a> {
    /// The first so many bytes as they stand, and what is behind them.
    pub(super) fn take(length: usize, rest: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (text, rest) = rest.split_at_checked(length)?;
        Some((Text::Borrowed(text), rest))
    }

    /// A little-endian number of so many bytes, up to 8, and what is behind it.
    pub(super) fn take_integer(bytes: usize, rest: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (low, rest) = rest.split_at_checked(bytes)?;
        let mut word = [if low.last()? & 0x80 == 0 { 0 } else { 0xff }; 8];
        word[..bytes].copy_from_slice(low);
        Some((Text::integer(i64::from_le_bytes(word)), rest))
    }

    pub(super) fn integer(value: i64) -> Self {
        let mut buffer = itoa::Buffer::new();
        let text = buffer.format(value).as_bytes();
        let mut digits = [0; INTEGER_BYTES_MAX];
        digits[..text.len()].copy_from_slice(text);
        Text::Integer { digits, length: text.len() }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Text::Borrowed(bytes) => bytes,
            Text::Integer { digits, length } => &digits[..*length],
            Text::Made(bytes) => bytes,
        }
    }
}

/// Strings one after the other, each no longer than what is left stands for, and than `bytes_max`.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    bytes_max: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(encoded: &'a [u8], bytes_max: u64) -> Self {
        Reader { rest: encoded, bytes_max }
    }

    /// A number of elements of so many strings each: one at least, and no more than there can be in what is left.
    pub(super) fn count(&mut self, strings_each: u64) -> Result<u64, RestoreError> {
        let count = self.length()?;
        let is_possible = count.checked_mul(strings_each).is_some_and(|bytes| bytes <= self.rest.len() as u64);
        if count > 0 && is_possible { Ok(count) } else { Err(RestoreError::Format) }
    }

    /// What is too long is refused before it is made.
    pub(super) fn text(&mut self) -> Result<Text<'a>, RestoreError> {
        let (integer, rest) = match self.rest {
            [ENCODED_INT8, a, rest @ ..] => (i32::from(i8::from_le_bytes([*a])), rest),
            [ENCODED_INT16, a, b, rest @ ..] => (i32::from(i16::from_le_bytes([*a, *b])), rest),
            [ENCODED_INT32, a, b, c, d, rest @ ..] => (i32::from_le_bytes([*a, *b, *c, *d]), rest),
            [ENCODED_LZF, rest @ ..] => {
                self.rest = rest;
                let (compressed_length, length) = (self.length()?, self.length()?);
                if length > self.bytes_max {
                    return Err(RestoreError::TooLong);
                }
                let compressed = self.bytes(compressed_length)?;
                return lzf::decompress(compressed, length).map(Text::Made).ok_or(RestoreError::Format);
            }
            _ => {
                let length = self.length()?;
                let bytes = self.bytes(length)?;
                return if length > self.bytes_max { Err(RestoreError::TooLong) } else { Ok(Text::Borrowed(bytes)) };
            }
        };
        self.rest = rest;
        Ok(Text::integer(i64::from(integer)))
    }

    fn bytes(&mut self, length: u64) -> Result<&'a [u8], RestoreError> {
        let split = usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length));
        let (bytes, rest) = split.ok_or(RestoreError::Format)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn length(&mut self) -> Result<u64, RestoreError> {
        let (length, rest) = take_length(self.rest).ok_or(RestoreError::Format)?;
        self.rest = rest;
        Ok(length)
    }
}

fn take_length(bytes: &[u8]) -> Option<(u64, &[u8])> {
    match bytes {
        [short @ 0..=0x3f, rest @ ..] => Some((u64::from(*short), rest)),
        [high @ 0x40..=0x7f, low, rest @ ..] => Some((u64::from(u16::from_be_bytes([high & 0x3f, *low])), rest)),
        [0x80, rest @ ..] => {
            let (length, rest) = rest.split_first_chunk()?;
            Some((u64::from(u32::from_be_bytes(*length)), rest))
        }
        [0x81, rest @ ..] => {
            let (length, rest) = rest.split_first_chunk()?;
            Some((u64::from_be_bytes(*length), rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::payload::sealed;
    use super::*;

    fn restore_string(payload: &[u8]) -> Result<Vec<u8>, RestoreError> {
        super::restore_string(payload, u64::MAX)
    }

    #[test]
    fn what_stands_for_too_much_is_refused_before_it_is_made() {
        for value in [vec![b'a'; 1 << 20], b"not compressible".to_vec()] {
            let (payload, length) = (dump_string(&value), value.len() as u64);
            assert_eq!(super::restore_string(&payload, length - 1), Err(RestoreError::TooLong));
            assert_eq!(super::restore_string(&payload, length).unwrap(), value);
        }
        // It says that it stands for more than there is memory, and would not be looked at otherwise.
        let body = [&[0, ENCODED_LZF, 0x03, 0x81][..], &(1_u64 << 50).to_be_bytes(), b"abc"].concat();
        assert_eq!(super::restore_string(&sealed(10, &body), 512 << 20), Err(RestoreError::TooLong));
    }

    #[test]
    fn payloads_are_those_of_redis_7_0() {
        for (value, payload) in EXPECTED {
            assert_eq!(dump_string(value.as_bytes()).escape_ascii().to_string(), payload.escape_ascii().to_string());
        }
    }

    /// Read from redis-server 7.0.15.
    const EXPECTED: &[(&str, &[u8])] = &[
        ("", b"\x00\x00\n\x00]\x9b\\@\x0f\x7f\xa2\xda"),
        ("0", b"\x00\xc0\x00\n\x00\x98@\xa7x\xf8P\x03\x08"),
        ("-129", b"\x00\xc1\x7f\xff\n\x00\x17`\x82(T\x80\x84\x80"),
        ("40000", b"\x00\xc2@\x9c\x00\x00\n\x00\t\xcdc\x1f\xf3\xb9\x8c\xf2"),
        ("2147483648", b"\x00\n2147483648\n\x00\xe7\xb1)\xa3L\x1dv\xee"),
        ("hello", b"\x00\x05hello\n\x00cr\xdfve4 \n"),
        (
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            b"\x00\xc3\t2\x01aa\xe0%\x00\x01aa\n\x00\t\xacH\xb9\xab\x15\xfb\xc9",
        ),
    ];

    #[test]
    fn every_size_and_encoding_comes_back() {
        let values = [
            "",
            "0",
            "-1",
            "127",
            "128",
            "-129",
            "40000",
            "-2147483648",
            "2147483648",
            "007",
            "9223372036854775807",
            "-0",
        ];
        for value in values {
            assert_eq!(restore_string(&dump_string(value.as_bytes())).unwrap(), value.as_bytes(), "{value}");
        }
        for size in [20, 21, 63, 64, 16_383, 16_384, 100_000] {
            let value: Vec<u8> = (0..size).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            assert_eq!(restore_string(&dump_string(&value)).unwrap(), value);
            let value = vec![b'x'; size as usize];
            assert_eq!(restore_string(&dump_string(&value)).unwrap(), value);
        }
    }

    /// The payload of the string "hello" with the footer of each server's version.
    const HELLO: &[(&str, &[u8])] = &[
        ("Redis 7.0", b"\x00\x05hello\n\x00cr\xdfve4 \n"),
        ("Redis 7.2", b"\x00\x05hello\x0b\x00\n\xadb\x05\x98\xab\xc9\x83"),
        ("Redis 7.4", b"\x00\x05hello\x0c\x00\xa8\x04\xeb\xb6\x9f\x1e\xbeC"),
        ("Redis 8, version 13", b"\x00\x05hello\r\x00\xc1\xdbV\xc5b\x81W\xca"),
        ("Redis 8, version 14", b"\x00\x05hello\x0e\x00\x11)\x07\t6\x074{"),
        // Read from valkey-server 9.1.2.
        ("Valkey 9", b"\x00\x05helloP\x00\xacX\x16\xe7\xfbfG\xfe"),
    ];

    #[test]
    fn a_string_of_any_version_is_read_and_its_checksum_looked_at_all_the_same() {
        for (server, payload) in HELLO {
            assert_eq!(restore_string(payload).unwrap(), b"hello", "{server}");
            let mut changed = payload.to_vec();
            changed[2] ^= 1;
            assert_eq!(restore_string(&changed), Err(RestoreError::VersionOrChecksum), "{server}");
        }
    }

    #[test]
    fn a_type_that_is_not_there_is_refused_whatever_the_version() {
        // RPUSH l a b, read from valkey-server 9.1.2.
        let list = b"\x12\x01\x02\r\r\x00\x00\x00\x02\x00\x81a\x02\x81b\x02\xffP\x00\xa7\xc1\xc3\x18\x8d\x13\xdcE";
        assert_eq!(restore_string(list), Err(RestoreError::Format));
        for version in [1, 9, 10, 11, 12, 13, 14, 80, u16::MAX] {
            assert_eq!(restore_string(&sealed(version, b"\x00\x03abc")).unwrap(), b"abc");
            assert_eq!(restore_string(&sealed(version, b"\x15\x03abc")), Err(RestoreError::Format));
        }
    }

    #[test]
    fn a_changed_byte_fails_the_checksum() {
        let payload = dump_string(b"a value of some length, a value of some length");
        for at in 0..payload.len() {
            let mut changed = payload.clone();
            changed[at] ^= 1;
            assert_eq!(restore_string(&changed), Err(RestoreError::VersionOrChecksum));
        }
        assert_eq!(restore_string(b""), Err(RestoreError::VersionOrChecksum));
        assert_eq!(restore_string(b"123456789"), Err(RestoreError::VersionOrChecksum));
    }

    #[test]
    fn malformed_values_are_bad_data() {
        let bodies: [&[u8]; 10] = [
            b"",
            b"\x00",
            b"\x01\x01\x01a",
            b"\x00\x04abc",
            b"\x00\xc4",
            b"\x00\xc2\x01\x02",
            b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x00\xc3\x03\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01ab",
            b"\x00\xc3\x02\x04\x01a",
            b"\x00\x80\x00\x00",
        ];
        for body in bodies {
            assert_eq!(restore_string(&sealed(10, body)), Err(RestoreError::Format), "{}", body.escape_ascii());
        }
        assert_eq!(
            restore_string(&sealed(10, b"\x00\x03abcd")).unwrap(),
            b"abc",
            "bytes after the value do not matter"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(proptest::num::u8::ANY, 0..60)) {
            if let Ok(value) = restore_string(&sealed(10, &[&[0], &body[..]].concat())) {
                proptest::prop_assert!(value.len() <= body.len() * 88 + 11);
            }
        }

        #[test]
        fn any_value_comes_back(value in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            proptest::prop_assert_eq!(restore_string(&dump_string(&value)), Ok(value));
        }
    }
}
