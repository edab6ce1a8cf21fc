//! Hashes with fields that end by themselves, as Redis 7.4 and Valkey 9 write them. Only read.
//!
//! ```text
//! 22 hash        of Valkey, 80 and later: count, triples of two strings and a time: 8 bytes, little endian, or -1
//! 22 hash        of Redis 7.4's release candidates: count, triples of a length, which is the time or 0, and two strings
//! 23 hash        of the same: a string that is a listpack of triples: field, value, time or 0
//! 24 hash        the earliest time: 8 bytes, little endian; count, triples as in 22 of Redis, with times counted from the earliest, by 1 more
//! 25 hash        the earliest time, and a listpack as in 23
//! ```

use super::listpack;
use super::payload::RestoreError;
use super::strings::{read_length, read_string};
use super::values::{Element, Source, ValueType};
use crate::resp::number::parse_integer;

const TYPE_OF_VALKEY: u8 = 22;
const TYPE_EARLY: u8 = 22;
const TYPE_EARLY_LISTPACK: u8 = 23;
const TYPE: u8 = 24;
const TYPE_LISTPACK: u8 = 25;

pub(super) fn is_hash(of: ValueType) -> bool {
    if of.is_of_valkey() { of.number == TYPE_OF_VALKEY } else { matches!(of.number, TYPE_EARLY..=TYPE_LISTPACK) }
}

/// Shows the fields. How many there were.
pub(super) fn read<S: Source>(
    of: ValueType,
    source: &mut S,
    bytes_max: u64,
    show: &mut impl FnMut(Element<'_>) -> Result<(), S::Error>,
) -> Result<u64, S::Error> {
    let earliest = match of.number {
        TYPE | TYPE_LISTPACK => i64::from_le_bytes(source.array()?),
        _ => 0,
    };
    if matches!(of.number, TYPE_LISTPACK | TYPE_EARLY_LISTPACK) {
        return read_listpack(source, bytes_max, show);
    }
    let count = read_length(source)?;
    let (mut field, mut value) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let ends_at_ms = match of.is_of_valkey() {
            true => None,
            false => Some(read_length(source)?).filter(|time| *time != 0),
        };
        read_string(source, bytes_max, &mut field)?;
        read_string(source, bytes_max, &mut value)?;
        let ends_at_ms = match ends_at_ms {
            _ if of.is_of_valkey() => Some(i64::from_le_bytes(source.array()?)).filter(|time| *time != -1),
            Some(time) => {
                let time = i64::try_from(time).map_err(|_| RestoreError::Format)?;
                let time = if of.number == TYPE { earliest.checked_add(time - 1) } else { Some(time) };
                Some(time.ok_or(RestoreError::Format)?)
            }
            None => None,
        };
        show(match ends_at_ms {
            None => Element::Field(&field, &value),
            Some(time) => Element::EndingField(&field, &value, time),
        })?;
    }
    Ok(count)
}

fn read_listpack<S: Source>(
    source: &mut S,
    bytes_max: u64,
    show: &mut impl FnMut(Element<'_>) -> Result<(), S::Error>,
) -> Result<u64, S::Error> {
    let mut blob = Vec::new();
    read_string(source, bytes_max, &mut blob)?;
    let mut entries = listpack::Entries::new(&blob)?;
    let mut count = 0;
    while let Some(field) = entries.next()? {
        let (value, time) =
            (entries.next()?.ok_or(RestoreError::Format)?, entries.next()?.ok_or(RestoreError::Format)?);
        let time = parse_integer(time.as_bytes()).ok_or(RestoreError::Format)?;
        show(match time {
            0 => Element::Field(field.as_bytes(), value.as_bytes()),
            time => Element::EndingField(field.as_bytes(), value.as_bytes(), time),
        })?;
        count += 1;
    }
    Ok(count)
}
