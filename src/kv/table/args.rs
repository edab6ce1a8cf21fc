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

/// An integer that is not negative, or this error text.
pub fn natural_or(arg: &[u8], error: &'static str) -> Result<u64, CommandError> {
    u64::try_from(integer_or(arg, error)?).map_err(|_| error.into())
}

/// An integer above 0, or this error text.
pub fn positive_or(arg: &[u8], error: &'static str) -> Result<u64, CommandError> {
    let number = natural_or(arg, error)?;
    if number > 0 { Ok(number) } else { Err(error.into()) }
}

/// What LMPOP, ZMPOP and their like ask for: so many elements off an end of the first key that has some.
#[derive(Clone, Copy, Debug)]
pub struct PopFromFirst<'a, 'b, E> {
    pub keys: &'a [&'b [u8]],
    pub end: E,
    pub count: u64,
}

impl<'a, 'b, E> PopFromFirst<'a, 'b, E> {
    /// `args`: from the number of keys on. `end_named` knows the words for the two ends. The errors come in the order of Redis.
    pub fn parse(
        args: &'a [&'b [u8]],
        end_named: impl FnOnce(&[u8]) -> Result<E, CommandError>,
    ) -> Result<Self, CommandError> {
        let (number, rest) = args.split_first().ok_or(errors::SYNTAX)?;
        let number = positive_or(number, errors::NUMKEYS_NOT_POSITIVE)?;
        let number = usize::try_from(number).ok().filter(|number| *number < rest.len()).ok_or(errors::SYNTAX)?;
        let (keys, rest) = rest.split_at(number);
        let (end, mut options) = rest.split_first().ok_or(errors::SYNTAX)?;
        let end = end_named(end)?;
        let mut count = None;
        while let [option, value, more @ ..] = options {
            if !is_word(option, "count") || count.is_some() {
                return Err(errors::SYNTAX.into());
            }
            count = Some(positive_or(value, errors::COUNT_NOT_POSITIVE)?);
            options = more;
        }
        if options.is_empty() { Ok(Self { keys, end, count: count.unwrap_or(1) }) } else { Err(errors::SYNTAX.into()) }
    }
}

/// The number of a database.
pub fn database(arg: &[u8]) -> Result<u8, CommandError> {
    let number = i32::try_from(integer(arg)?).map_err(|_| CommandError::from(errors::NOT_A_32_BIT_INTEGER))?;
    match u8::try_from(number) {
        Ok(number) if usize::from(number) < DATABASES => Ok(number),
        _ => Err(errors::DB_INDEX_OUT_OF_RANGE.into()),
    }
}
