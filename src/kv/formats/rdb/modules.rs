//! What modules of Redis write into files, which is read over: a number that names the module, then parts with their types, then 0.
//!
//! ```text
//! 1 length, a signed number | 2 length, a number | 3 float, 4 bytes | 4 double, 8 bytes | 5 string | 0 the end; each type is a length too
//! ```

use super::payload::RestoreError;
use super::strings::{read_length, read_string};
use super::values::Source;

/// The older one, of release candidates of Redis 4.0, can't be read by whoever has not the module.
pub(super) const TYPE_MODULE: u8 = 7;

const END: u64 = 0;
const SIGNED: u64 = 1;
const UNSIGNED: u64 = 2;
const FLOAT: u64 = 3;
const DOUBLE: u64 = 4;
const STRING: u64 = 5;

/// The letters of a module's type, six bits each.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

pub(super) fn read_over_value<S: Source>(source: &mut S, bytes_max: u64) -> Result<u64, S::Error> {
    read_length(source)?;
    read_over_parts(source, bytes_max)?;
    Ok(1)
}

/// What belongs to no key; the name of the module's type.
pub fn read_over_module_data<S: Source>(source: &mut S, bytes_max: u64) -> Result<String, S::Error> {
    let name = read_length(source)?;
    read_over_parts(source, bytes_max)?;
    let letter = |place: u32| char::from(LETTERS[(name >> (10 + 6 * place) & 0x3f) as usize]);
    Ok((0..9).rev().map(letter).collect())
}

fn read_over_parts<S: Source>(source: &mut S, bytes_max: u64) -> Result<(), S::Error> {
    let mut text = Vec::new();
    loop {
        match read_length(source)? {
            END => return Ok(()),
            SIGNED | UNSIGNED => drop(read_length(source)?),
            FLOAT => drop(source.take(4)?),
            DOUBLE => drop(source.take(8)?),
            STRING => read_string(source, bytes_max, &mut text)?,
            _ => return Err(RestoreError::Format.into()),
        }
    }
}
