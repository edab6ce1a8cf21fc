//! Scores of sorted sets as payloads have them, and the order that members have by them.

use super::payload::RestoreError;
use super::values::Source;
use crate::kv::formats::number::parse_double;

/// In the place of a length.
const NEGATIVE_INFINITY: u8 = 0xff;
const INFINITY: u8 = 0xfe;
const NAN: u8 = 0xfd;

/// A score in digits behind a byte with their number.
pub(super) fn read_text<S: Source>(source: &mut S) -> Result<f64, S::Error> {
    let [length] = source.array()?;
    match length {
        NEGATIVE_INFINITY => Ok(f64::NEG_INFINITY),
        INFINITY => Ok(f64::INFINITY),
        NAN => Err(RestoreError::Format.into()),
        length => Ok(parse_double(source.take(usize::from(length))?).ok_or(RestoreError::Format)?),
    }
}

pub(super) fn checked(score: f64) -> Result<f64, RestoreError> {
    if score.is_nan() { Err(RestoreError::Format) } else { Ok(score) }
}

/// The members of a list so far: each is higher than the one before it.
#[derive(Debug, Default)]
pub(super) struct Order {
    last: Option<(f64, Vec<u8>)>,
}

impl Order {
    /// The score of the member that comes, from its text.
    pub(super) fn next(&mut self, member: &[u8], text: &[u8]) -> Result<f64, RestoreError> {
        let score = parse_double(text).ok_or(RestoreError::Format)?;
        let is_higher = |(last_score, last): &(f64, Vec<u8>)| {
            *last_score < score || (*last_score == score && last.as_slice() < member)
        };
        if !self.last.as_ref().is_none_or(is_higher) {
            return Err(RestoreError::Format);
        }
        self.last = Some((score, member.to_vec()));
        Ok(score)
    }
}
