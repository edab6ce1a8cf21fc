//! The value format of DUMP and RESTORE, for strings: Redis' RDB encoding of one value with a footer.
//!
//! ```text
//! 00                     the type: string
//! length bytes           raw: 00LLLLLL | 01LLLLLL L | 80 LLLL | 81 LLLLLLLL, big endian
//!   or C0 i8 | C1 i16 | C2 i32, little endian: an integer in decimal
//!   or C3 length length bytes: LZF, compressed and original length
//! version                2 bytes, little endian
//! checksum               8 bytes, little endian: CRC-64 (Jones, reflected) of everything before it
//! ```

use super::lzf;
use crate::resp::number::parse_integer;

/// The version written: that of Redis 7.0. A string is encoded alike in 7.0 and 7.2, and a server refuses a version above
/// its own: with 10 both restore what we dump, and newer ones too.
const VERSION_WRITTEN: u16 = 10;
const FOOTER_BYTES: usize = 10;

const TYPE_STRING: u8 = 0;
const ENCODED_INT8: u8 = 0xc0;
const ENCODED_INT16: u8 = 0xc1;
const ENCODED_INT32: u8 = 0xc2;
const ENCODED_LZF: u8 = 0xc3;

/// Shorter values are never compressed; Redis' limit too.
const COMPRESSED_FROM_BYTES: usize = 21;
/// Compression must gain at least this much.
const COMPRESSION_GAIN_BYTES: usize = 4;

/// Why a payload is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// "DUMP payload version or checksum are wrong"
    VersionOrChecksum,
    /// "Bad data format": also the types that are not strings
    Format,
    /// The value would be larger than it may be.
    TooLong,
}

/// The payload of DUMP: the bytes that Redis 7.0 makes of the same value.
pub fn dump_string(value: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(value.len() + 16 + FOOTER_BYTES);
    payload.push(TYPE_STRING);
    if !put_integer(value, &mut payload) && !put_compressed(value, &mut payload) {
        put_length(value.len() as u64, &mut payload);
        payload.extend_from_slice(value);
    }
    seal(payload, VERSION_WRITTEN)
}

/// With the footer behind it.
pub(super) fn seal(mut body: Vec<u8>, version: u16) -> Vec<u8> {
    body.extend_from_slice(&version.to_le_bytes());
    let checksum = crc64(&body);
    body.extend_from_slice(&checksum.to_le_bytes());
    body
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

fn put_compressed(value: &[u8], payload: &mut Vec<u8>) -> bool {
    if value.len() < COMPRESSED_FROM_BYTES {
        return false;
    }
    let Some(compressed) = lzf::compress(value, value.len() - COMPRESSION_GAIN_BYTES) else { return false };
    payload.push(ENCODED_LZF);
    put_length(compressed.len() as u64, payload);
    put_length(value.len() as u64, payload);
    payload.extend_from_slice(&compressed);
    true
}

fn put_length(length: u64, payload: &mut Vec<u8>) {
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

/// The string in a payload of DUMP. Takes no more memory than the payload can stand for.
pub fn restore_string(payload: &[u8], bytes_max: u64) -> Result<Vec<u8>, RestoreError> {
    let split = payload.len().checked_sub(FOOTER_BYTES).ok_or(RestoreError::VersionOrChecksum)?;
    let (body, footer) = payload.split_at(split);
    // The version is not looked at: the encodings of a string have been the same in all of them, Redis 8's (12, 13, 14) and Valkey
    // 9's (80) too, and newer types have a type byte of their own. Checked by it, a copy from a newer server brings nothing over.
    if footer[2..] != crc64(&payload[..split + 2]).to_le_bytes() {
        return Err(RestoreError::VersionOrChecksum);
    }
    match body {
        [TYPE_STRING, encoded @ ..] => decode_string(encoded, bytes_max),
        _ => Err(RestoreError::Format),
    }
}

/// What follows the value is ignored, as Redis does.
/// What is too long is refused before it is made: a few bytes can stand for a hundred times as many.
fn decode_string(encoded: &[u8], bytes_max: u64) -> Result<Vec<u8>, RestoreError> {
    let integer = match encoded {
        [ENCODED_INT8, a, ..] => i32::from(i8::from_le_bytes([*a])),
        [ENCODED_INT16, a, b, ..] => i32::from(i16::from_le_bytes([*a, *b])),
        [ENCODED_INT32, a, b, c, d, ..] => i32::from_le_bytes([*a, *b, *c, *d]),
        [ENCODED_LZF, rest @ ..] => {
            let (compressed_length, rest) = take_length(rest).ok_or(RestoreError::Format)?;
            let (length, rest) = take_length(rest).ok_or(RestoreError::Format)?;
            if length > bytes_max {
                return Err(RestoreError::TooLong);
            }
            let compressed = usize::try_from(compressed_length).ok().and_then(|length| rest.get(..length));
            return compressed.and_then(|bytes| lzf::decompress(bytes, length)).ok_or(RestoreError::Format);
        }
        _ => {
            let (length, rest) = take_length(encoded).ok_or(RestoreError::Format)?;
            let value = usize::try_from(length).ok().and_then(|length| rest.get(..length));
            let value = value.ok_or(RestoreError::Format)?;
            return if length > bytes_max { Err(RestoreError::TooLong) } else { Ok(value.to_vec()) };
        }
    };
    Ok(integer.to_string().into_bytes())
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

/// CRC-64 with the Jones polynomial, reflected, starting from zero.
fn crc64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |crc, byte| CRC_TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

static CRC_TABLE: [u64; 256] = crc_table();

const fn crc_table() -> [u64; 256] {
    /// 0xad93d23594c935a9 with its bits in reverse order.
    const POLYNOMIAL: u64 = 0xad93_d235_94c9_35a9_u64.reverse_bits();
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
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

    fn sealed(version: u16, body: &[u8]) -> Vec<u8> {
        seal(body.to_vec(), version)
    }

    #[test]
    fn the_checksum_is_the_one_of_redis() {
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
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
