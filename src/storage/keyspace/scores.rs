//! Scores as they lie in rows and packed sets, and what is asked of their order.

use std::cmp::Ordering;

use super::packed::damaged;
use crate::storage::error::Result;

/// Whole numbers up to this are written without an exponent.
const WHOLE_MAX: f64 = 1e15;

/// A place between the members of a sorted set: those before it are lower.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound<'a> {
    /// Before all members of this score, or behind them.
    Score { score: f64, is_behind: bool },
    /// Before this member of this score, or behind it, be it there or not.
    Member { score: f64, member: &'a [u8], is_behind: bool },
}

impl Bound<'_> {
    /// Whether a member lies before it.
    #[must_use]
    pub fn is_behind_of(&self, name: &[u8], of: f64) -> bool {
        match *self {
            Self::Score { score, is_behind } => of < score || is_behind && of == score,
            Self::Member { score, member, is_behind } => match compare((of, name), (score, member)) {
                Ordering::Less => true,
                Ordering::Equal => is_behind,
                Ordering::Greater => false,
            },
        }
    }
}

/// The order of members: by score, then by their bytes.
pub(super) fn compare(a: (f64, &[u8]), b: (f64, &[u8])) -> Ordering {
    a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal).then(a.1.cmp(b.1))
}

/// A score in text, from which it is read back exactly: as short as it goes, and so that SQL understands it.
pub(super) fn score_text(score: f64) -> String {
    match score {
        _ if score == 0.0 && score.is_sign_negative() => "-0".into(),
        _ if score.is_infinite() => if score > 0.0 { "inf" } else { "-inf" }.into(),
        _ if score.abs() < WHOLE_MAX && score.fract() == 0.0 => (score as i64).to_string(),
        _ => format!("{score:?}"),
    }
}

/// The score that `score_text` has written.
pub(super) fn score_in(text: &[u8]) -> Result<f64> {
    let score: Option<f64> = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    score.filter(|score| !score.is_nan()).ok_or_else(damaged)
}

/// The score of a member's row.
pub(super) fn score_of_row(value: &[u8]) -> Result<f64> {
    value.first_chunk().map(|bytes| f64::from_le_bytes(*bytes)).ok_or_else(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_read_back_as_they_were() {
        for (score, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-17.0, "-17"),
            (1.5, "1.5"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e300, "1e300"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (9007199254740993.0, "9007199254740992.0"),
        ] {
            assert_eq!(score_text(score), text);
            assert_eq!(score_in(text.as_bytes()).unwrap().to_bits(), score.to_bits());
        }
        assert!(score_in(b"nan").is_err() && score_in(b"").is_err() && score_in(b"x").is_err());
    }
}
