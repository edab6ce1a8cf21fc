//! How commands read their arguments: words, integers and database numbers, with the error texts of Redis.

use std::borrow::Cow;

use crate::kv::errors::{self, CommandError};
use crate::resp::number::parse_integer;
use crate::storage::DATABASES;

/// Names that one call asks about at most: a few bytes that ask for a command become thousands, which the loop makes. There are far fewer
/// commands and parameters.
pub const NAMES_MAX: usize = 1024;

pub fn check_names(names: &[&[u8]]) -> Result<(), CommandError> {
    if names.len() > NAMES_MAX { Err(errors::too_many_names(NAMES_MAX)) } else { Ok(()) }
}

/// True exactly when the argument is this word, whatever its case. `word` is in lower case.
#[must_use]
pub fn is_word(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

pub fn integer(arg: &[u8]) -> Result<i64, CommandError> {
    integer_or(arg, errors::NOT_AN_INTEGER)
}

/// An integer, or this error text.
pub fn integer_or(arg: &[u8], error: &'static str) -> Result<i64, CommandError> {
    parse_integer(arg).ok_or(CommandError::Reply(Cow::Borrowed(error)))
}

/// An integer of 32 bits, or this error text.
pub fn integer_32_or(arg: &[u8], error: &'static str) -> Result<i32, CommandError> {
    i32::try_from(integer_or(arg, error)?).map_err(|_| CommandError::Reply(Cow::Borrowed(error)))
}

/// The number of a database.
pub fn database(arg: &[u8]) -> Result<u8, CommandError> {
    let number = i32::try_from(integer(arg)?).map_err(|_| CommandError::from(errors::NOT_A_32_BIT_INTEGER))?;
    match u8::try_from(number) {
        Ok(number) if usize::from(number) < DATABASES => Ok(number),
        _ => Err(errors::DB_INDEX_OUT_OF_RANGE.into()),
    }
}
