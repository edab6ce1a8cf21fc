//! The options of SORT and SORT_RO, and which of the elements they ask for.

use std::ops::Range;

use crate::kv::commands::args;
use crate::kv::commands::sort_patterns::Pattern;
use crate::kv::errors::{self, CommandError};

#[derive(Debug)]
pub struct Options<'a> {
    /// `None`: by the elements themselves.
    pub by: Option<Pattern<'a>>,
    /// A pattern of BY had no `*`: the elements stay in the order that they have.
    pub is_unsorted: bool,
    pub gets: Vec<Pattern<'a>>,
    pub is_alpha: bool,
    pub is_descending: bool,
    pub destination: Option<&'a [u8]>,
    offset: i64,
    count: i64,
}

impl<'a> Options<'a> {
    /// Whether other keys are read than those that the call names.
    pub fn looks_up(&self) -> bool {
        self.by.iter().chain(&self.gets).any(Pattern::looks_up)
    }

    /// What stands behind the key. `may_store`: there may be a STORE; `may_look_up`: other keys may be read, whose names nobody knows before.
    pub fn parse(mut args: &[&'a [u8]], may_store: bool, may_look_up: bool) -> Result<Options<'a>, CommandError> {
        let mut options = Options {
            by: None,
            is_unsorted: false,
            gets: Vec::new(),
            is_alpha: false,
            is_descending: false,
            destination: None,
            offset: 0,
            count: -1,
        };
        while let [option, rest @ ..] = args {
            let is = |word| args::is_word(option, word);
            args = match rest {
                _ if is("asc") || is("desc") => {
                    options.is_descending = is("desc");
                    rest
                }
                _ if is("alpha") => {
                    options.is_alpha = true;
                    rest
                }
                [offset, count, rest @ ..] if is("limit") => {
                    (options.offset, options.count) = (args::integer(offset)?, args::integer(count)?);
                    rest
                }
                [key, rest @ ..] if may_store && is("store") => {
                    options.destination = Some(key);
                    rest
                }
                [pattern, rest @ ..] if is("by") => {
                    let pattern = Pattern::of(pattern);
                    let is_of_keys = matches!(pattern, Pattern::Key { .. });
                    if is_of_keys && !may_look_up {
                        return Err(errors::SORT_BY_DENIED.into());
                    }
                    options.is_unsorted |= !is_of_keys;
                    options.by = Some(pattern);
                    rest
                }
                [_, ..] if is("get") && !may_look_up => return Err(errors::SORT_GET_DENIED.into()),
                [pattern, rest @ ..] if is("get") => {
                    options.gets.push(Pattern::of(pattern));
                    rest
                }
                _ => return Err(errors::SYNTAX.into()),
            };
        }
        Ok(options)
    }

    /// The elements of a set have no order that anything could keep: where one is asked for all the same, they are sorted as texts.
    pub fn order_a_set(&mut self) {
        if self.is_unsorted {
            (self.is_unsorted, self.is_alpha, self.by) = (false, true, None);
        }
    }

    /// Which of so many elements are wanted.
    #[must_use]
    pub fn range(&self, length: u64) -> Range<u64> {
        let offset = u64::try_from(self.offset).unwrap_or(0);
        let count = u64::try_from(self.count).unwrap_or(length).min(length);
        if offset >= length { 0..0 } else { offset..length.min(offset + count) }
    }
}
