//! The bodies of the fuzz targets under `fuzz/`, beside the parsers that they feed; the property tests run them too.
//! Each panics where a parser breaks a promise: the way in which bytes were cut changes nothing, and no byte is read
//! twice or lost.

use super::protocol_error::ProtocolError;
use super::reply::Reply;
use super::request::{Limits, Parsed, RequestParser};
use super::response::{ResponseError, ResponseLimits, ResponseParser};
use super::skip::{ReplySkipper, Skipped};

/// What a parser made of a stream: values in order, then the error that ended it, then the bytes left over.
type Outcome<T, E> = (Vec<T>, Option<E>, usize);

/// The first bytes of `data` choose limits and cuts, the rest is what a client sent.
pub fn fuzz_requests(data: &[u8]) {
    let Some(([flags, seed], stream)) = data.split_first_chunk() else { return };
    // Small limits, so that a short input reaches them.
    let small = Limits { args_max: 12, bulk_bytes_max: 20_000, inline_bytes_max: 40, unauthenticated: flags & 1 != 0 };
    let limits = if flags & 2 != 0 { small } else { Limits { unauthenticated: flags & 1 != 0, ..Limits::default() } };
    let whole = requests(&[stream], &limits);
    assert_eq!(whole, requests(&cut(stream, *seed), &limits), "the cuts changed the requests");
    let single_bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(whole, requests(&single_bytes, &limits), "single bytes changed the requests");
}

/// The same for what a server sent.
pub fn fuzz_responses(data: &[u8]) {
    let Some(([flags, seed], stream)) = data.split_first_chunk() else { return };
    let small =
        ResponseLimits { depth_max: 3, line_bytes_max: 40, bulk_bytes_max: 100, items_max: 20, reply_bytes_max: 400 };
    let limits = if flags & 1 != 0 { small } else { ResponseLimits::default() };
    let whole = responses(&[stream], &limits);
    // As text, because a NaN differs from itself.
    let described = format!("{whole:?}");
    assert_eq!(described, format!("{:?}", responses(&cut(stream, *seed), &limits)), "the cuts changed the replies");
    let single_bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(described, format!("{:?}", responses(&single_bytes, &limits)), "single bytes changed the replies");
    let (replies, error, _) = responses(&[stream], &ResponseLimits::default());
    let expected: Vec<Skipped> = replies.iter().map(nature).collect();
    for pieces in [vec![stream], cut(stream, *seed), single_bytes] {
        let found = skipped(&pieces);
        // Of a broken stream the skipper may read on: it looks for ends, not for sense.
        let found = if error.is_none() { &found[..] } else { &found[..expected.len().min(found.len())] };
        assert_eq!(found, expected, "skipped other replies than the parser gives");
    }
}

/// What the skipper has to say of a reply that the parser gave.
fn nature(reply: &Reply) -> Skipped {
    match reply {
        Reply::Push(_) => Skipped::Push,
        Reply::Null | Reply::NullArray => Skipped::Null,
        reply if has_error(reply) => Skipped::Error,
        _ => Skipped::Value,
    }
}

fn has_error(reply: &Reply) -> bool {
    match reply {
        Reply::Error(_) => true,
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => items.iter().any(has_error),
        Reply::Map(pairs) => pairs.iter().any(|(key, value)| has_error(key) || has_error(value)),
        _ => false,
    }
}

/// Feeds a skipper up to the first error.
fn skipped(pieces: &[&[u8]]) -> Vec<Skipped> {
    let (mut skipper, mut found) = (ReplySkipper::default(), Vec::new());
    for piece in pieces {
        let mut rest = *piece;
        loop {
            match skipper.skip(&mut rest) {
                Ok(Some(kind)) => found.push(kind),
                Ok(None) => break,
                Err(_) => return found,
            }
        }
        assert!(rest.is_empty(), "a skipper that wants more has taken everything");
    }
    found
}

/// Feeds a parser as a server does: what arrived is appended to what was not consumed, then all whole requests are
/// taken. A request without arguments stands for [`Parsed::Empty`].
pub(super) fn requests(pieces: &[&[u8]], limits: &Limits) -> Outcome<Vec<Vec<u8>>, ProtocolError> {
    let mut parser = RequestParser::new();
    let (mut requests, mut input) = (Vec::new(), Vec::new());
    for (index, piece) in pieces.iter().enumerate() {
        input.extend_from_slice(piece);
        let mut position = 0;
        loop {
            let bytes = &input[position..];
            let consumed = match parser.parse(bytes, limits) {
                Ok(Parsed::NeedMore) => break,
                Ok(Parsed::Empty(consumed)) => {
                    requests.push(Vec::new());
                    consumed
                }
                Ok(Parsed::Complete(consumed)) => {
                    assert!(!parser.args(bytes).is_empty(), "a complete request has a name");
                    requests.push(parser.args(bytes).iter().map(<[u8]>::to_vec).collect());
                    consumed
                }
                Err(error) => {
                    let later: usize = pieces[index + 1..].iter().map(|piece| piece.len()).sum();
                    return (requests, Some(error), bytes.len() + later);
                }
            };
            assert!(0 < consumed && consumed <= bytes.len(), "a request consumes bytes that are there");
            position += consumed;
        }
        input.drain(..position);
    }
    (requests, None, input.len())
}

/// Feeds a client's parser. What an error leaves over is not counted: the client closes.
pub(super) fn responses(pieces: &[&[u8]], limits: &ResponseLimits) -> Outcome<Reply, ResponseError> {
    let mut parser = ResponseParser::new(limits.clone());
    let mut replies = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        loop {
            match parser.parse(&mut rest) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(error) => return (replies, Some(error), 0),
            }
        }
        assert!(rest.is_empty(), "a parser that wants more has taken everything");
    }
    (replies, None, 0)
}

/// Cuts `stream` into pieces whose lengths follow from `seed`.
fn cut(stream: &[u8], seed: u8) -> Vec<&[u8]> {
    let mut state = u32::from(seed);
    let (mut pieces, mut rest) = (Vec::new(), stream);
    while !rest.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Lengths from 1 to 2^16, short ones as likely as long ones.
        let length = 1 + (state >> 8) as usize % (1 << (state >> 28));
        let (piece, after) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}
