//! The patterns of SORT: keys, and fields of hashes, that are named after an element, and what lies there.

use std::ops::ControlFlow;

use crate::kv::call::ReadResult;
use crate::kv::commands::lookup;
use crate::resp::ReplyWriter;
use crate::storage::{Keyspace, StorageError};

/// A string up to this length is read together with the look whether it is there.
const SHORT_BYTES: u64 = 16 << 10;

/// A pattern of BY or GET. As in Redis what is looked for in it ends with its first NUL byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// Without a `*`: there is nothing that it names.
    Constant,
    Key {
        /// Before and behind the first `*`.
        prefix: &'a [u8],
        suffix: &'a [u8],
        /// Behind the first `->` that follows it: the key holds a hash.
        field: Option<&'a [u8]>,
    },
}

impl<'a> Pattern<'a> {
    /// Whether it names keys.
    pub fn looks_up(&self) -> bool {
        matches!(self, Pattern::Key { .. })
    }

    #[must_use]
    pub fn of(pattern: &'a [u8]) -> Pattern<'a> {
        let end = pattern.iter().position(|byte| *byte == 0).unwrap_or(pattern.len());
        if &pattern[..end] == b"#" {
            return Pattern::Element;
        }
        let Some(star) = pattern[..end].iter().position(|byte| *byte == b'*') else { return Pattern::Constant };
        let (prefix, rest) = (&pattern[..star], &pattern[star + 1..]);
        let arrow = pattern[star + 1..end].windows(2).position(|pair| pair == b"->");
        match arrow.filter(|arrow| star + 1 + arrow + 2 < end) {
            Some(arrow) => Pattern::Key { prefix, suffix: &rest[..arrow], field: Some(&rest[arrow + 2..]) },
            None => Pattern::Key { prefix, suffix: rest, field: None },
        }
    }

    /// What is there for an element; `None`: nothing.
    ///
    /// # Errors
    /// `TooLarge`: it has more than `bytes_max` bytes.
    pub fn value(&self, keyspace: &Keyspace, element: &[u8], bytes_max: u64) -> Result<Option<Vec<u8>>, StorageError> {
        let (key, field) = match *self {
            Pattern::Element => return Ok(Some(element.to_vec())),
            Pattern::Constant => return Ok(None),
            Pattern::Key { prefix, suffix, field } => ([prefix, element, suffix].concat(), field),
        };
        let value = match field {
            None => keyspace.string_range(&key, 0, bytes_max.saturating_add(1))?.found(),
            Some(field) => match keyspace.hash(&key)?.found() {
                Some(hash) => hash.with_values_up_to(bytes_max).get(field, <[u8]>::to_vec)?,
                None => None,
            },
        };
        match value {
            Some(value) if value.len() as u64 > bytes_max => Err(StorageError::TooLarge),
            value => Ok(value),
        }
    }

    /// Writes what is there for an element.
    pub fn write(&self, keyspace: &Keyspace, element: &[u8], reply: &mut ReplyWriter<'_>) -> ReadResult {
        let (key, field) = match *self {
            Pattern::Element => return Ok(reply.bulk(element)?),
            Pattern::Constant => return Ok(reply.null()?),
            Pattern::Key { prefix, suffix, field } => ([prefix, element, suffix].concat(), field),
        };
        let Some(field) = field else { return write_string(keyspace, &key, reply) };
        let written = match keyspace.hash(&key)?.found() {
            Some(hash) => hash.with_values_up_to(reply.room() as u64).get(field, |value| reply.bulk(value))?,
            None => None,
        };
        Ok(written.unwrap_or_else(|| reply.null())?)
    }
}

fn write_string(keyspace: &Keyspace, key: &[u8], reply: &mut ReplyWriter<'_>) -> ReadResult {
    let Some(begin) = keyspace.string_range(key, 0, SHORT_BYTES + 1)?.found() else { return Ok(reply.null()?) };
    if begin.len() as u64 <= SHORT_BYTES {
        return Ok(reply.bulk(&begin)?);
    }
    let Some(length) = keyspace.string_length(key)?.found() else { return Ok(reply.null()?) };
    let bytes = usize::try_from(length).map_err(|_| StorageError::TooLarge)?;
    reply.bulk_of_parts(bytes, |out| {
        lookup::pieces(keyspace, key, 0..length, |_, piece| {
            out.extend_from_slice(piece);
            ControlFlow::<()>::Continue(())
        })?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn patterns_are_taken_apart_as_redis_does() {
        let key = |prefix: &'static str, suffix: &'static str, field: Option<&'static str>| Pattern::Key {
            prefix: prefix.as_bytes(),
            suffix: suffix.as_bytes(),
            field: field.map(str::as_bytes),
        };
        for (text, pattern) in [
            ("#", Pattern::Element),
            ("##", Pattern::Constant),
            ("", Pattern::Constant),
            ("nosort", Pattern::Constant),
            ("a->b", Pattern::Constant),
            ("w_*", key("w_", "", None)),
            ("*", key("", "", None)),
            ("a*b*", key("a", "b*", None)),
            ("h_*->f", key("h_", "", Some("f"))),
            ("h->*->f", key("h->", "", Some("f"))),
            ("h_*x->f->g", key("h_", "x", Some("f->g"))),
            ("h_*->", key("h_", "->", None)),
            ("h_*->f*", key("h_", "", Some("f*"))),
            ("a\0*", Pattern::Constant),
            ("a*\0->f", key("a", "\0->f", None)),
            ("a*->\0f", key("a", "->\0f", None)),
            ("a*->f\0", key("a", "", Some("f\0"))),
        ] {
            assert_eq!(Pattern::of(text.as_bytes()), pattern, "{text:?}");
        }
    }
}
