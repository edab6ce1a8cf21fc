//! A payload around its value: the type in front, version and checksum behind. What it holds is shown element by element, so that a
//! million of them need not be in memory twice.

use super::checksum::crc64;
use super::streams::StreamPart;
use super::strings::{Slice, read_string};
use super::values::{Element, ValueKind, ValueType};

/// The version written: that of Redis 7.0. A server refuses a version above its own: with 10 both 7.0 and 7.2 restore what we dump, and
/// newer ones too.
pub(super) const VERSION_WRITTEN: u16 = 10;
const FOOTER_BYTES: usize = 10;

pub(super) const TYPE_STRING: u8 = 0;
pub(super) const TYPE_LIST: u8 = 1;
pub(super) const TYPE_SET: u8 = 2;
pub(super) const TYPE_SORTED_SET_OF_TEXTS: u8 = 3;
pub(super) const TYPE_HASH: u8 = 4;
pub(super) const TYPE_SORTED_SET: u8 = 5;
pub(super) const TYPE_HASH_ZIPMAP: u8 = 9;
pub(super) const TYPE_LIST_ZIPLIST: u8 = 10;
pub(super) const TYPE_SET_INTSET: u8 = 11;
pub(super) const TYPE_SORTED_SET_ZIPLIST: u8 = 12;
pub(super) const TYPE_HASH_ZIPLIST: u8 = 13;
pub(super) const TYPE_LIST_QUICKLIST: u8 = 14;
pub(super) const TYPE_STREAM: u8 = 15;
pub(super) const TYPE_HASH_LISTPACK: u8 = 16;
pub(super) const TYPE_SORTED_SET_LISTPACK: u8 = 17;
pub(super) const TYPE_LIST_QUICKLIST_2: u8 = 18;
pub(super) const TYPE_STREAM_2: u8 = 19;
pub(super) const TYPE_SET_LISTPACK: u8 = 20;
pub(super) const TYPE_STREAM_3: u8 = 21;

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
    List,
    Set,
    SortedSet,
    Hash,
    Stream,
}

/// A payload whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    kind: u8,
    /// That of whoever made it.
    version: u16,
    encoded: &'a [u8],
    /// Strings that are longer are refused before they are made: a few bytes can stand for a hundred times as many.
    bytes_max: u64,
}

/// What stands before a footer that is right, and the version that this tells.
pub(super) fn unsealed(payload: &[u8]) -> Result<(&[u8], u16), RestoreError> {
    let split = payload.len().checked_sub(FOOTER_BYTES).ok_or(RestoreError::VersionOrChecksum)?;
    let (body, footer) = payload.split_at(split);
    if footer[2..] == crc64(0, &payload[..split + 2]).to_le_bytes() {
        Ok((body, u16::from_le_bytes([footer[0], footer[1]])))
    } else {
        Err(RestoreError::VersionOrChecksum)
    }
}

impl<'a> Payload<'a> {
    /// No version is refused: the encodings of a type are the same in all of them, Redis 8's (12, 13, 14) and Valkey 9's (80) too,
    /// and newer types have a type byte of their own. Checked by it, a copy from a newer server would bring nothing over.
    pub fn open(payload: &'a [u8], bytes_max: u64) -> Result<Self, RestoreError> {
        let (body, version) = unsealed(payload)?;
        let (kind, encoded) = body.split_first().ok_or(RestoreError::Format)?;
        Ok(Payload { kind: *kind, version, encoded, bytes_max })
    }

    /// What the value is. What follows the value is ignored, as Redis does.
    pub fn holds(&self) -> Result<Holds, RestoreError> {
        match self.value_type().kind().filter(|_| self.value_type().is_restorable()) {
            Some(ValueKind::String) => Ok(Holds::String),
            Some(ValueKind::List) => Ok(Holds::List),
            Some(ValueKind::Set) => Ok(Holds::Set),
            Some(ValueKind::SortedSet) => Ok(Holds::SortedSet),
            Some(ValueKind::Hash) => Ok(Holds::Hash),
            Some(ValueKind::Stream) => Ok(Holds::Stream),
            Some(ValueKind::Module) | None => Err(RestoreError::Format),
        }
    }

    /// Of which type and version it is.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        ValueType::new(self.kind, self.version)
    }

    /// The value as it is encoded, without type and footer.
    #[must_use]
    pub fn encoded(&self) -> &'a [u8] {
        self.encoded
    }

    /// Shows the elements of a value of any type until `show` fails. Those before that were shown. How many there were, as
    /// `ValueType::read` counts them.
    pub fn each<E: From<RestoreError>>(&self, show: &mut impl FnMut(Element<'_>) -> Result<(), E>) -> Result<u64, E> {
        self.value_type().read(&mut Slice::<E>::new(self.encoded), self.bytes_max, show)
    }

    /// The same of what may not be empty.
    fn each_of_some<E: From<RestoreError>>(
        &self,
        show: &mut impl FnMut(Element<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.each(show)? > 0 { Ok(()) } else { Err(RestoreError::Format.into()) }
    }

    /// The string. Takes no more memory than the payload can stand for.
    pub fn string(&self) -> Result<Vec<u8>, RestoreError> {
        if self.holds()? != Holds::String {
            return Err(RestoreError::Format);
        }
        let mut value = Vec::new();
        read_string(&mut Slice::<RestoreError>::new(self.encoded), self.bytes_max, &mut value)?;
        Ok(value)
    }

    /// Shows the items of a list until `add` fails. Those before that were shown.
    pub fn each_item<E: From<RestoreError>>(&self, mut add: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        self.each_of_some(&mut |element| match element {
            Element::Item(item) => add(item),
            _ => Err(RestoreError::Format.into()),
        })
    }

    /// Shows the members of a set until `add` fails or says that one was there before. Those before that were shown.
    pub fn each_member<E: From<RestoreError>>(&self, mut add: impl FnMut(&[u8]) -> Result<bool, E>) -> Result<(), E> {
        self.each_of_some(&mut |element| match element {
            Element::Member(member) => once(add(member)?),
            _ => Err(RestoreError::Format.into()),
        })
    }

    /// Shows the fields of a hash with their values, as `each_member` does.
    pub fn each_field<E: From<RestoreError>>(
        &self,
        mut add: impl FnMut(&[u8], &[u8]) -> Result<bool, E>,
    ) -> Result<(), E> {
        self.each_of_some(&mut |element| match element {
            Element::Field(field, value) => once(add(field, value)?),
            _ => Err(RestoreError::Format.into()),
        })
    }

    /// Shows the members of a sorted set with their scores, as `each_member` does. In a listpack and in a ziplist they are in their order.
    pub fn each_scored<E: From<RestoreError>>(
        &self,
        mut add: impl FnMut(&[u8], f64) -> Result<bool, E>,
    ) -> Result<(), E> {
        self.each_of_some(&mut |element| match element {
            Element::Scored(member, score) => once(add(member, score)?),
            _ => Err(RestoreError::Format.into()),
        })
    }

    /// Shows the parts of a stream, which may have no entries, until `add` fails. Those before that were shown.
    pub fn each_part<E: From<RestoreError>>(
        &self,
        mut add: impl FnMut(StreamPart<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let entries = self.each(&mut |element| match element {
            Element::Stream(part) => add(part),
            _ => Err(RestoreError::Format.into()),
        });
        entries.map(drop)
    }
}

fn once<E: From<RestoreError>>(is_new: bool) -> Result<(), E> {
    if is_new { Ok(()) } else { Err(RestoreError::Format.into()) }
}

/// Puts the footer behind what `out` has from `begin` on.
pub(super) fn seal(out: &mut Vec<u8>, begin: usize, version: u16) {
    out.extend_from_slice(&version.to_le_bytes());
    let checksum = crc64(0, &out[begin..]);
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// What a payload's type takes.
pub const TYPE_BYTES: usize = 1;

/// A payload's type and value.
///
/// # Panics
/// It is no payload.
#[must_use]
pub fn without_footer(payload: &[u8]) -> &[u8] {
    &payload[..payload.len() - FOOTER_BYTES]
}

/// The type of a value that is written element by element, as Redis 7.0 takes it.
///
/// # Panics
/// Values of modules are not written so.
#[must_use]
pub fn plain_type(kind: ValueKind) -> u8 {
    match kind {
        ValueKind::String => TYPE_STRING,
        ValueKind::List => TYPE_LIST,
        ValueKind::Set => TYPE_SET,
        ValueKind::SortedSet => TYPE_SORTED_SET,
        ValueKind::Hash => TYPE_HASH,
        ValueKind::Stream => TYPE_STREAM_2,
        ValueKind::Module => panic!("{kind:?} has no plain form"),
    }
}

/// The payload of a value that a file has.
#[must_use]
pub fn sealed_value(of: ValueType, encoded: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(1 + encoded.len() + FOOTER_BYTES);
    payload.push(of.number);
    payload.extend_from_slice(encoded);
    seal(&mut payload, 0, of.version);
    payload
}

/// A body with the footer of a version behind it.
#[must_use]
pub fn sealed(version: u16, body: &[u8]) -> Vec<u8> {
    let mut payload = body.to_vec();
    seal(&mut payload, 0, version);
    payload
}
