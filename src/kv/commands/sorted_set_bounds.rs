//! Which members of a sorted set a call asks for: bounds by rank, score or member, and the options around them. Arguments only.

use std::cmp::Ordering;

use crate::kv::commands::args;
use crate::kv::errors::{self, CommandError};
use crate::kv::formats::number::parse_double_loosely;

/// What the two bounds of a range are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Rank,
    Score,
    /// The members themselves, where all have the same score.
    Member,
}

/// Members from one bound to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Span<'a> {
    /// From 0, or from -1 backwards, in the direction of the range.
    Ranks(i64, i64),
    Scores(Scores),
    Members(Members<'a>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    pub min: ScoreBound,
    pub max: ScoreBound,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreBound {
    pub score: f64,
    pub is_exclusive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Members<'a> {
    pub min: MemberBound<'a>,
    pub max: MemberBound<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberBound<'a> {
    /// `-`: before all members.
    Lowest,
    /// `+`: behind all members.
    Highest,
    At {
        member: &'a [u8],
        is_exclusive: bool,
    },
}

/// What a range command asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range<'a> {
    pub span: Span<'a>,
    /// From the highest to the lowest.
    pub is_reverse: bool,
    /// So many of the span's are passed over; a negative number passes over all.
    offset: i64,
    /// At most so many; a negative number is no limit.
    limit: i64,
    pub has_scores: bool,
}

/// What of a range its command says, and what is left to the options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// None: BYSCORE and BYLEX.
    pub by: Option<By>,
    /// None: REV.
    pub is_reverse: Option<bool>,
    /// WITHSCORES
    pub may_have_scores: bool,
}

impl<'a> Range<'a> {
    /// Of the two bounds and the options behind them. The errors come in the order of Redis.
    pub fn parse(form: Form, first: &'a [u8], last: &'a [u8], options: &[&[u8]]) -> Result<Range<'a>, CommandError> {
        let (mut by, mut is_reverse, mut has_scores, mut offset, mut limit) = (form.by, form.is_reverse, false, 0, -1);
        let mut options = options.iter();
        while let Some(option) = options.next() {
            if form.may_have_scores && args::is_word(option, "withscores") {
                has_scores = true;
            } else if args::is_word(option, "limit") && options.len() >= 2 {
                let mut integer = || options.next().map_or(Ok(0), |text| args::integer(text));
                (offset, limit) = (integer()?, integer()?);
            } else if is_reverse.is_none() && args::is_word(option, "rev") {
                is_reverse = Some(true);
            } else if by.is_none() && args::is_word(option, "bylex") {
                by = Some(By::Member);
            } else if by.is_none() && args::is_word(option, "byscore") {
                by = Some(By::Score);
            } else {
                return Err(errors::SYNTAX.into());
            }
        }
        let (by, is_reverse) = (by.unwrap_or(By::Rank), is_reverse.unwrap_or(false));
        if limit != -1 && by == By::Rank {
            return Err(errors::LIMIT_OF_RANKS.into());
        }
        if has_scores && by == By::Member {
            return Err(errors::SCORES_BY_LEX.into());
        }
        let (min, max) = if is_reverse && by != By::Rank { (last, first) } else { (first, last) };
        Ok(Range { span: Span::parse(by, min, max)?, is_reverse, offset, limit, has_scores })
    }

    /// What is left of so many members of the span: how many are passed over, and how many come.
    #[must_use]
    pub fn limited(&self, count: u64) -> (u64, u64) {
        let Ok(offset) = u64::try_from(self.offset) else { return (0, 0) };
        let left = count.saturating_sub(offset);
        (offset, u64::try_from(self.limit).map_or(left, |limit| left.min(limit)))
    }
}

impl<'a> Span<'a> {
    pub fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Span<'a>, CommandError> {
        Ok(match by {
            By::Rank => Span::Ranks(args::integer(min)?, args::integer(max)?),
            By::Score => Span::Scores(Scores { min: ScoreBound::parse(min)?, max: ScoreBound::parse(max)? }),
            By::Member => Span::Members(Members { min: MemberBound::parse(min)?, max: MemberBound::parse(max)? }),
        })
    }
}

impl ScoreBound {
    fn parse(text: &[u8]) -> Result<ScoreBound, CommandError> {
        let (number, is_exclusive) = match text {
            [b'(', number @ ..] => (number, true),
            number => (number, false),
        };
        let score = parse_double_loosely(number).ok_or(errors::MIN_OR_MAX_NOT_A_FLOAT)?;
        Ok(ScoreBound { score, is_exclusive })
    }
}

impl Members<'_> {
    /// True where no member can be between the two bounds.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self.min.compare(&self.max) {
            Ordering::Less => false,
            Ordering::Equal => self.min.is_exclusive() || self.max.is_exclusive(),
            Ordering::Greater => true,
        }
    }
}

impl<'a> MemberBound<'a> {
    fn parse(text: &'a [u8]) -> Result<MemberBound<'a>, CommandError> {
        Ok(match text {
            [b'-'] | [b'-', 0, ..] => MemberBound::Lowest,
            [b'+'] | [b'+', 0, ..] => MemberBound::Highest,
            [b'(', member @ ..] => MemberBound::At { member, is_exclusive: true },
            [b'[', member @ ..] => MemberBound::At { member, is_exclusive: false },
            _ => return Err(errors::MIN_OR_MAX_NOT_A_MEMBER.into()),
        })
    }

    fn is_exclusive(&self) -> bool {
        !matches!(self, MemberBound::At { is_exclusive: false, .. })
    }

    fn compare(&self, other: &MemberBound<'_>) -> Ordering {
        let place = |bound: &MemberBound<'_>| match bound {
            MemberBound::Lowest => 0,
            MemberBound::At { .. } => 1,
            MemberBound::Highest => 2,
        };
        match (self, other) {
            (MemberBound::At { member: a, .. }, MemberBound::At { member: b, .. }) => a.cmp(b),
            (a, b) => place(a).cmp(&place(b)),
        }
    }

    /// True for a member that this bound lets in from above.
    #[must_use]
    pub fn is_below(&self, member: &[u8]) -> bool {
        match self {
            MemberBound::Lowest => true,
            MemberBound::Highest => false,
            MemberBound::At { member: bound, is_exclusive: true } => member > *bound,
            MemberBound::At { member: bound, is_exclusive: false } => member >= *bound,
        }
    }

    /// True for a member that this bound lets in from below.
    #[must_use]
    pub fn is_above(&self, member: &[u8]) -> bool {
        match self {
            MemberBound::Lowest => false,
            MemberBound::Highest => true,
            MemberBound::At { member: bound, is_exclusive: true } => member < *bound,
            MemberBound::At { member: bound, is_exclusive: false } => member <= *bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Form = Form { by: None, is_reverse: None, may_have_scores: true };

    fn parsed(form: Form, arguments: &'static str) -> Result<Range<'static>, String> {
        let arguments: Vec<&'static [u8]> = arguments.split(' ').map(str::as_bytes).collect();
        Range::parse(form, arguments[0], arguments[1], &arguments[2..]).map_err(|error| error.text().into_owned())
    }

    fn at(score: f64, is_exclusive: bool) -> ScoreBound {
        ScoreBound { score, is_exclusive }
    }

    #[test]
    fn options_come_in_any_order_and_say_what_the_bounds_are() {
        let range = parsed(ANY, "0 -1 REV withscores").unwrap();
        assert_eq!((range.span, range.is_reverse, range.has_scores), (Span::Ranks(0, -1), true, true));
        let range = parsed(ANY, "(5 -inf limit 1 2 byscore REV").unwrap();
        let scores = Scores { min: at(f64::NEG_INFINITY, false), max: at(5.0, true) };
        assert_eq!((range.span, range.limited(10)), (Span::Scores(scores), (1, 2)));
        let range = parsed(ANY, "- (b BYLEX").unwrap();
        let max = MemberBound::At { member: b"b", is_exclusive: true };
        assert_eq!(range.span, Span::Members(Members { min: MemberBound::Lowest, max }));
        // Its own default is no limit.
        assert!(parsed(ANY, "0 1 LIMIT 0 -1").is_ok());
        let reverse = Form { by: Some(By::Rank), is_reverse: Some(true), may_have_scores: true };
        assert!(parsed(reverse, "0 1").unwrap().is_reverse);
    }

    #[test]
    fn errors_come_in_the_order_of_redis() {
        let rank = Form { by: Some(By::Rank), is_reverse: Some(false), may_have_scores: true };
        for (form, arguments, error) in [
            (ANY, "a b x", errors::SYNTAX),
            (ANY, "0 1 LIMIT 0", errors::SYNTAX),
            (ANY, "0 1 BYLEX BYSCORE", errors::SYNTAX),
            (ANY, "0 1 REV REV", errors::SYNTAX),
            (ANY, "a b LIMIT x y", errors::NOT_AN_INTEGER),
            (ANY, "a b LIMIT 0 1", errors::LIMIT_OF_RANKS),
            (ANY, "a b BYLEX WITHSCORES", errors::SCORES_BY_LEX),
            (ANY, "a 1", errors::NOT_AN_INTEGER),
            (ANY, "a 1 BYSCORE", errors::MIN_OR_MAX_NOT_A_FLOAT),
            (ANY, "1 nan BYSCORE", errors::MIN_OR_MAX_NOT_A_FLOAT),
            (ANY, "a + BYLEX", errors::MIN_OR_MAX_NOT_A_MEMBER),
            (ANY, "-a + BYLEX", errors::MIN_OR_MAX_NOT_A_MEMBER),
            (rank, "0 1 REV", errors::SYNTAX),
            (rank, "0 1 BYSCORE", errors::SYNTAX),
            (Form { may_have_scores: false, ..ANY }, "0 1 WITHSCORES", errors::SYNTAX),
        ] {
            assert_eq!(parsed(form, arguments).unwrap_err(), error, "{arguments}");
        }
    }

    #[test]
    fn a_limit_passes_over_and_ends() {
        let limited = |offset, limit, count| {
            Range { span: Span::Ranks(0, 0), is_reverse: false, offset, limit, has_scores: false }.limited(count)
        };
        assert_eq!(limited(0, -1, 5), (0, 5));
        assert_eq!(limited(2, -7, 5), (2, 3));
        assert_eq!(limited(2, 2, 5), (2, 2));
        assert_eq!((limited(5, 1, 5).1, limited(9, 1, 5).1, limited(0, 0, 5).1), (0, 0, 0));
        assert_eq!(limited(-1, 3, 5).1, 0);
    }

    #[test]
    fn members_are_within_their_bounds() {
        let members = |min: &'static str, max: &'static str| {
            let bound = |text: &'static str| MemberBound::parse(text.as_bytes()).unwrap();
            Members { min: bound(min), max: bound(max) }
        };
        for (min, max, is_empty) in [
            ("-", "+", false),
            ("+", "-", true),
            ("-", "-", true),
            ("+", "+", true),
            ("[a", "[a", false),
            ("(a", "[a", true),
            ("[a", "(a", true),
            ("[b", "[a", true),
            ("[", "+", false),
            ("-", "[", false),
        ] {
            assert_eq!(members(min, max).is_empty(), is_empty, "{min} {max}");
        }
        let range = members("(a", "[c");
        let within = |member: &[u8]| range.min.is_below(member) && range.max.is_above(member);
        assert!(!within(b"a") && within(b"aa") && within(b"c") && !within(b"ca"));
        assert!(MemberBound::Lowest.is_below(b"") && !MemberBound::Highest.is_below(b"\xff"));
        assert!(MemberBound::Highest.is_above(b"\xff") && !MemberBound::Lowest.is_above(b""));
    }
}
