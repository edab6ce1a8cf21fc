//! A command with holes: parsed once, then written out for each request with other keys and values in it.

use super::draws::Draws;
use crate::resp::encode::{array_header, bulk_header};
use crate::resp::inline;

/// The words of a command line, in which `__key__` becomes `key:000000012345`, `__number__` the twelve digits alone, `__same__`
/// those before it again, and `__value__` random bytes.
#[derive(Clone, Debug)]
pub(super) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// Bytes as they go over the wire.
    Literal(Vec<u8>),
    Number,
    /// The number before it, again.
    Same,
    /// The header of an argument with values in it, whose length is known only when theirs is.
    Header {
        other_bytes: usize,
        values: usize,
    },
    Value,
}

const KEY_PREFIX: &[u8] = b"key:";
const NUMBER_BYTES: usize = 12;

impl Template {
    /// # Errors
    /// What is wrong with the text.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (mut words, mut spans) = (Vec::new(), Vec::new());
        inline::split(text.as_bytes(), &mut words, &mut spans).map_err(|_| "unbalanced quotes".to_owned())?;
        if spans.is_empty() {
            return Err("there is no command".to_owned());
        }
        let mut header = Vec::new();
        array_header(spans.len(), &mut header);
        let mut pieces = vec![Piece::Literal(header)];
        for span in spans {
            append_argument(&words[span], &mut pieces);
        }
        Ok(Self { pieces })
    }

    pub(super) fn append(&self, draws: &mut Draws, out: &mut Vec<u8>) {
        let mut value_bytes = 0;
        for piece in &self.pieces {
            match piece {
                Piece::Literal(bytes) => out.extend_from_slice(bytes),
                Piece::Number => draws.append_number(out),
                Piece::Same => draws.append_same(out),
                Piece::Header { other_bytes, values } => {
                    value_bytes = draws.value_bytes();
                    bulk_header(other_bytes + values * value_bytes, out);
                }
                Piece::Value => draws.append_value(value_bytes, out),
            }
        }
    }
}

/// The argument's header, its parts, and the line end.
fn append_argument(word: &[u8], pieces: &mut Vec<Piece>) {
    let parts = parts(word);
    let values = parts.iter().filter(|part| **part == Piece::Value).count();
    let other_bytes = parts.iter().map(known_bytes).sum();
    if values > 0 {
        pieces.push(Piece::Header { other_bytes, values });
    } else {
        let mut header = Vec::new();
        bulk_header(other_bytes, &mut header);
        append_piece(Piece::Literal(header), pieces);
    }
    for part in parts {
        append_piece(part, pieces);
    }
    append_piece(Piece::Literal(b"\r\n".to_vec()), pieces);
}

fn known_bytes(piece: &Piece) -> usize {
    match piece {
        Piece::Literal(bytes) => bytes.len(),
        Piece::Number | Piece::Same => NUMBER_BYTES,
        Piece::Header { .. } | Piece::Value => 0,
    }
}

/// Literals that follow each other are one.
fn append_piece(piece: Piece, pieces: &mut Vec<Piece>) {
    match (pieces.last_mut(), piece) {
        (Some(Piece::Literal(bytes)), Piece::Literal(more)) => bytes.extend_from_slice(&more),
        (_, piece) => pieces.push(piece),
    }
}

/// A word, cut at its placeholders.
fn parts(word: &[u8]) -> Vec<Piece> {
    let placeholders: [(&[u8], &[u8], Piece); 4] = [
        (b"__key__", KEY_PREFIX, Piece::Number),
        (b"__number__", b"", Piece::Number),
        (b"__same__", b"", Piece::Same),
        (b"__value__", b"", Piece::Value),
    ];
    let mut parts = Vec::new();
    let mut rest = word;
    while let Some(first) = rest.first() {
        match placeholders.iter().find(|(name, ..)| rest.starts_with(name)) {
            Some((name, prefix, piece)) => {
                append_piece(Piece::Literal(prefix.to_vec()), &mut parts);
                parts.push(piece.clone());
                rest = &rest[name.len()..];
            }
            None => {
                append_piece(Piece::Literal(vec![*first]), &mut parts);
                rest = &rest[1..];
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::super::keys::Keys;
    use super::*;
    use crate::resp::encode_command;
    use crate::resp::{Limits, Parsed, RequestParser};

    fn draws(value_bytes: std::ops::RangeInclusive<usize>) -> Draws {
        Draws::new(3, Keys::Sequential { next: 41, count: 1000 }, value_bytes)
    }

    fn request(text: &str, value_bytes: usize) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        Template::parse(text).unwrap().append(&mut draws(value_bytes..=value_bytes), &mut out);
        arguments(&out)
    }

    fn arguments(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut parser = RequestParser::new();
        assert_eq!(parser.parse(bytes, &Limits::default()), Ok(Parsed::Complete(bytes.len())));
        parser.args(bytes).iter().map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn placeholders_become_keys_and_values() {
        let words = request("HSET x:__key__:y __number__ \"a __value__ b\" ''", 5);
        assert_eq!(words[..3], [b"HSET".to_vec(), b"x:key:000000000041:y".to_vec(), b"000000000042".to_vec()]);
        assert!(words[3].len() == 9 && words[3].starts_with(b"a ") && words[3].ends_with(b" b"));
        assert_eq!(words[4], b"");
    }

    #[test]
    fn a_template_without_holes_is_the_command_itself() {
        let mut expected = Vec::new();
        encode_command(&["PING"], &mut expected);
        assert_eq!(Template::parse("PING").unwrap().pieces, [Piece::Literal(expected)]);
    }

    #[test]
    fn every_value_of_a_range_is_announced_with_its_own_length() {
        let template = Template::parse("SET __key__ __value__").unwrap();
        let (mut draws, mut out) = (draws(0..=300), Vec::new());
        let lengths: std::collections::HashSet<usize> = (0..500)
            .map(|_| {
                out.clear();
                template.append(&mut draws, &mut out);
                arguments(&out)[2].len()
            })
            .collect();
        assert!(lengths.len() > 100 && lengths.iter().all(|length| *length <= 300));
    }

    #[test]
    fn a_text_that_is_no_command_is_refused() {
        assert_eq!(Template::parse("SET 'a").unwrap_err(), "unbalanced quotes");
        assert_eq!(Template::parse(" ").unwrap_err(), "there is no command");
    }
}
