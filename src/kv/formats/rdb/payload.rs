//! A payload around its value: the type in front, version and checksum behind. What it holds is shown element by element, so that a
//! million of them need not be in memory twice.

use super::strings::{Reader, Text};
use super::{intset, listpack, ziplist, zipmap};

/// The version written: that of Redis 7.0. A server refuses a version above its own: with 10 both 7.0 and 7.2 restore what we dump, and
/// newer ones too.
pub(super) const VERSION_WRITTEN: u16 = 10;
pub(super) const FOOTER_BYTES: usize = 10;

pub(super) const TYPE_STRING: u8 = 0;
pub(super) const TYPE_SET: u8 = 2;
pub(super) const TYPE_HASH: u8 = 4;
pub(super) const TYPE_HASH_ZIPMAP: u8 = 9;
pub(super) const TYPE_SET_INTSET: u8 = 11;
pub(super) const TYPE_HASH_ZIPLIST: u8 = 13;
pub(super) const TYPE_HASH_LISTPACK: u8 = 16;
pub(super) const TYPE_SET_LISTPACK: u8 = 20;

/// Why a payload is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// "DUMP payload version or checksum are wrong"
    VersionOrChecksum,
    /// "Bad data format": also the types that are not known, what is empty, and what has an element twice.
    Format,
    /// A string of it would be larger than it may be.
    TooLong,
}

/// What a payload is of, as its type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    String,
    Set,
    Hash,
}

/// A payload whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    kind: u8,
    encoded: &'a [u8],
    /// Strings that are longer are refused before they are made: a few bytes can stand for a hundred times as many.
    bytes_max: u64,
}

/// Takes an element; false when it was there before.
type Add<'a, E> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<bool, E>;

impl<'a> Payload<'a> {
    /// The version is not looked at: the encodings of a type are the same in all of them, Redis 8's (12, 13, 14) and Valkey 9's (80) too,
    /// and newer types have a type byte of their own. Checked by it, a copy from a newer server would bring nothing over.
    pub fn open(payload: &'a [u8], bytes_max: u64) -> Result<Self, RestoreError> {
        let split = payload.len().checked_sub(FOOTER_BYTES).ok_or(RestoreError::VersionOrChecksum)?;
        let (body, footer) = payload.split_at(split);
        if footer[2..] != crc64(&payload[..split + 2]).to_le_bytes() {
            return Err(RestoreError::VersionOrChecksum);
        }
        let (kind, encoded) = body.split_first().ok_or(RestoreError::Format)?;
        Ok(Payload { kind: *kind, encoded, bytes_max })
    }

    /// What the value is. What follows the value is ignored, as Redis does.
    pub fn holds(&self) -> Result<Holds, RestoreError> {
        match self.kind {
            TYPE_STRING => Ok(Holds::String),
            TYPE_SET | TYPE_SET_INTSET | TYPE_SET_LISTPACK => Ok(Holds::Set),
            TYPE_HASH | TYPE_HASH_ZIPMAP | TYPE_HASH_ZIPLIST | TYPE_HASH_LISTPACK => Ok(Holds::Hash),
            _ => Err(RestoreError::Format),
        }
    }

    /// The string. Takes no more memory than the payload can stand for.
    pub fn string(&self) -> Result<Vec<u8>, RestoreError> {
        if self.kind != TYPE_STRING {
            return Err(RestoreError::Format);
        }
        Ok(Reader::new(self.encoded, self.bytes_max).text()?.as_bytes().to_vec())
    }

    /// Shows the members of a set until `add` fails or says that one was there before. Those before that were shown.
    pub fn each_member<E: From<RestoreError>>(&self, mut add: impl FnMut(&[u8]) -> Result<bool, E>) -> Result<(), E> {
        let mut reader = Reader::new(self.encoded, self.bytes_max);
        match self.kind {
            TYPE_SET => {
                for _ in 0..reader.count(1)? {
                    once(add(reader.text()?.as_bytes())?)?;
                }
                Ok(())
            }
            TYPE_SET_INTSET => {
                let blob = reader.text()?;
                for value in intset::read(blob.as_bytes())? {
                    once(add(itoa::Buffer::new().format(value).as_bytes())?)?;
                }
                Ok(())
            }
            TYPE_SET_LISTPACK => {
                let blob = reader.text()?;
                let mut entries = listpack::Entries::new(blob.as_bytes())?;
                let mut count = 0;
                while let Some(member) = entries.next()? {
                    once(add(member.as_bytes())?)?;
                    count += 1;
                }
                not_empty(count)
            }
            _ => Err(RestoreError::Format.into()),
        }
    }

    /// Shows the fields of a hash with their values, as `each_member` does.
    pub fn each_field<E: From<RestoreError>>(
        &self,
        mut add: impl FnMut(&[u8], &[u8]) -> Result<bool, E>,
    ) -> Result<(), E> {
        let mut reader = Reader::new(self.encoded, self.bytes_max);
        match self.kind {
            TYPE_HASH => {
                for _ in 0..reader.count(2)? {
                    let (field, value) = (reader.text()?, reader.text()?);
                    once(add(field.as_bytes(), value.as_bytes())?)?;
                }
                Ok(())
            }
            TYPE_HASH_ZIPMAP => {
                let blob = reader.text()?;
                let mut entries = zipmap::Entries::new(blob.as_bytes())?;
                pairs(&mut add, || Ok(entries.next()?.map(Text::Borrowed)))
            }
            TYPE_HASH_ZIPLIST => {
                let blob = reader.text()?;
                let mut entries = ziplist::Entries::new(blob.as_bytes())?;
                pairs(&mut add, || entries.next())
            }
            TYPE_HASH_LISTPACK => {
                let blob = reader.text()?;
                let mut entries = listpack::Entries::new(blob.as_bytes())?;
                pairs(&mut add, || entries.next())
            }
            _ => Err(RestoreError::Format.into()),
        }
    }
}

/// Elements that alternate: a field, its value.
fn pairs<'a, E: From<RestoreError>>(
    add: Add<'_, E>,
    mut next: impl FnMut() -> Result<Option<Text<'a>>, RestoreError>,
) -> Result<(), E> {
    let mut count = 0;
    while let Some(field) = next()? {
        let value = next()?.ok_or(RestoreError::Format)?;
        once(add(field.as_bytes(), value.as_bytes())?)?;
        count += 1;
    }
    not_empty(count)
}

fn once<E: From<RestoreError>>(is_new: bool) -> Result<(), E> {
    if is_new { Ok(()) } else { Err(RestoreError::Format.into()) }
}

fn not_empty<E: From<RestoreError>>(count: u64) -> Result<(), E> {
    if count > 0 { Ok(()) } else { Err(RestoreError::Format.into()) }
}

/// Puts the footer behind what `out` has from `begin` on.
pub(super) fn seal(out: &mut Vec<u8>, begin: usize, version: u16) {
    out.extend_from_slice(&version.to_le_bytes());
    let checksum = crc64(&out[begin..]);
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// A body with the footer of a version behind it.
#[must_use]
pub fn sealed(version: u16, body: &[u8]) -> Vec<u8> {
    let mut payload = body.to_vec();
    seal(&mut payload, 0, version);
    payload
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

    #[test]
    fn the_checksum_is_the_one_of_redis() {
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }
}
