//! Strings, which are the elements of everything else too, and the lengths in front of them.
//!
//! ```text
//! length bytes           raw: 00LLLLLL | 01LLLLLL L | 80 LLLL | 81 LLLLLLLL, big endian
//!   or C0 i8 | C1 i16 | C2 i32, little endian: an integer in decimal
//!   or C3 length length bytes: LZF, compressed and original length
//! ```

use std::marker::PhantomData;

use super::payload::{Payload, RestoreError, TYPE_STRING, VERSION_WRITTEN, seal};
use super::values::Source;
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

pub fn put_string(value: &[u8], compressor: &mut lzf::Compressor, payload: &mut Vec<u8>) {
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

pub fn put_length(length: u64, payload: &mut Vec<u8>) {
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
        }
    }
}

/// A payload's bytes.
#[derive(Debug)]
pub(super) struct Slice<'a, E> {
    rest: &'a [u8],
    error: PhantomData<E>,
}

impl<'a, E> Slice<'a, E> {
    pub(super) fn new(encoded: &'a [u8]) -> Self {
        Slice { rest: encoded, error: PhantomData }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<E: From<RestoreError>> Source for Slice<'_, E> {
    type Error = E;

    fn take(&mut self, length: usize) -> Result<&[u8], E> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(RestoreError::Format)?;
        self.rest = rest;
        Ok(bytes)
    }
}

/// What stands in front of a string: how long it is, or how it is encoded.
enum Front {
    Length(u64),
    Encoded(u8),
}

fn read_front<S: Source>(source: &mut S) -> Result<Front, S::Error> {
    let [first] = source.array()?;
    Ok(Front::Length(match first {
        0..=0x3f => u64::from(first),
        0x40..=0x7f => {
            let [low] = source.array()?;
            u64::from(u16::from_be_bytes([first & 0x3f, low]))
        }
        0x80 => u64::from(u32::from_be_bytes(source.array()?)),
        0x81 => u64::from_be_bytes(source.array()?),
        0xc0.. => return Ok(Front::Encoded(first)),
        _ => return Err(RestoreError::Format.into()),
    }))
}

/// A length, or another number that is written as one.
pub fn read_length<S: Source>(source: &mut S) -> Result<u64, S::Error> {
    match read_front(source)? {
        Front::Length(length) => Ok(length),
        Front::Encoded(_) => Err(RestoreError::Format.into()),
    }
}

/// A string, in the place of what `out` has. What is too long is refused before it is made.
pub fn read_string<S: Source>(source: &mut S, bytes_max: u64, out: &mut Vec<u8>) -> Result<(), S::Error> {
    out.clear();
    let integer = match read_front(source)? {
        Front::Length(length) => {
            out.extend_from_slice(source.take(checked_length(length, bytes_max)?)?);
            return Ok(());
        }
        Front::Encoded(ENCODED_INT8) => i32::from(i8::from_le_bytes(source.array()?)),
        Front::Encoded(ENCODED_INT16) => i32::from(i16::from_le_bytes(source.array()?)),
        Front::Encoded(ENCODED_INT32) => i32::from_le_bytes(source.array()?),
        Front::Encoded(ENCODED_LZF) => {
            let (compressed_length, length) = (read_length(source)?, read_length(source)?);
            checked_length(length, bytes_max)?;
            // What it stands for is longer by far, so it is no longer than that may be.
            let compressed = source.take(checked_length(compressed_length, bytes_max.max(length))?)?;
            *out = lzf::decompress(compressed, length).ok_or(RestoreError::Format)?;
            return Ok(());
        }
        Front::Encoded(_) => return Err(RestoreError::Format.into()),
    };
    out.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
    Ok(())
}

fn checked_length(length: u64, bytes_max: u64) -> Result<usize, RestoreError> {
    let length = Some(length).filter(|length| *length <= bytes_max).and_then(|length| usize::try_from(length).ok());
    length.ok_or(RestoreError::TooLong)
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
