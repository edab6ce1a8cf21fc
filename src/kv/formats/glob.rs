//! Glob patterns as Redis' `stringmatchlen` matches them: `*`, `?`, `[a-z]`, `[^a]`, `\x`. Bytes in, a yes or no out.
//!
//! A pattern is compiled once per call into an automaton whose states are bits: state n says that the first n tokens have matched. All
//! states move together, 64 at a time, so a text costs its length times the pattern's words, whatever either of them is: nothing is tried
//! again, and a class is one bit per byte value instead of a list to search.

use smallvec::{SmallVec, smallvec};

/// The longest pattern. What its automaton costs grows with it: at most 64 words a byte of the text, and 132 kB of memory.
pub const PATTERN_BYTES_MAX: usize = 4096;

pub struct Pattern {
    /// Of a set of states.
    words: usize,
    /// By byte value, `words` each: the states whose next token takes that byte.
    takes: Vec<u64>,
    /// The states in which a `*` takes any byte.
    stars: SmallVec<[u64; 1]>,
    /// In the last word: the state in which all tokens have matched.
    end: u64,
    is_empty: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatternTooLong;

/// What takes exactly one byte, or, for a star, any number of them.
enum Token<'a> {
    Star,
    Any,
    One(u8),
    Class(Class<'a>),
}

/// The inside of `[…]`, without the brackets.
struct Class<'a> {
    is_negated: bool,
    parts: &'a [u8],
}

/// One bit for each byte value.
type Bytes = [u64; 4];

impl Pattern {
    pub fn new(pattern: &[u8], ignore_case: bool) -> Result<Pattern, PatternTooLong> {
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(PatternTooLong);
        }
        let count = tokens(pattern).filter(|token| !matches!(token, Token::Star)).count();
        let words = count / 64 + 1;
        let mut takes = vec![0; 256 * words];
        let mut stars: SmallVec<[u64; 1]> = smallvec![0; words];
        let mut any: SmallVec<[u64; 1]> = smallvec![0; words];
        let mut state = 0;
        for token in tokens(pattern) {
            let (word, bit) = (state / 64, 1 << (state % 64));
            let mut take = |byte: u8| takes[usize::from(byte) * words + word] |= bit;
            match token {
                Token::Star => {
                    stars[word] |= bit;
                    continue;
                }
                Token::Any => any[word] |= bit,
                Token::One(byte) if ignore_case => {
                    take(byte.to_ascii_lowercase());
                    take(byte.to_ascii_uppercase());
                }
                Token::One(byte) => take(byte),
                Token::Class(class) => {
                    let bytes = class.bytes(ignore_case);
                    (0..=u8::MAX).filter(|byte| holds(&bytes, *byte)).for_each(take);
                }
            }
            state += 1;
        }
        for row in takes.chunks_exact_mut(words) {
            row.iter_mut().zip(&any).for_each(|(word, any)| *word |= any);
        }
        Ok(Pattern { words, takes, stars, end: 1 << (count % 64), is_empty: pattern.is_empty() })
    }

    /// True exactly when it matches the whole of `text`. As in Redis nothing but the empty pattern matches the empty text (KEYS and SCAN
    /// answer the pattern `*` without asking).
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        match self.words {
            _ if text.is_empty() => self.is_empty,
            1 => self.matches_in_one_word(text),
            _ => self.matches_in_words(text),
        }
    }

    fn matches_in_one_word(&self, text: &[u8]) -> bool {
        let (stars, mut states) = (self.stars[0], 1);
        for &byte in text {
            states = ((states & self.takes[usize::from(byte)]) << 1) | (states & stars);
            if states == 0 {
                return false;
            }
            // A star at the end takes whatever follows.
            if states & stars & self.end != 0 {
                return true;
            }
        }
        states & self.end != 0
    }

    fn matches_in_words(&self, text: &[u8]) -> bool {
        let mut states: SmallVec<[u64; 16]> = smallvec![0; self.words];
        states[0] = 1;
        let last = self.words - 1;
        for &byte in text {
            let row = &self.takes[usize::from(byte) * self.words..][..self.words];
            let (mut carry, mut is_alive) = (0, false);
            for ((states, takes), stars) in states.iter_mut().zip(row).zip(&self.stars) {
                let moved = *states & takes;
                *states = (moved << 1) | carry | (*states & stars);
                carry = moved >> 63;
                is_alive |= *states != 0;
            }
            if !is_alive {
                return false;
            }
            if states[last] & self.stars[last] & self.end != 0 {
                return true;
            }
        }
        states[last] & self.end != 0
    }
}

/// The same for a pattern that is used once, or seldom: nothing is compiled, unless the two are so long that trying takes longer.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    if pattern.len().saturating_mul(text.len()) > TRIED_MAX {
        return Pattern::new(pattern, false).is_ok_and(|pattern| pattern.matches(text));
    }
    let (mut rest, mut at) = (pattern, 0);
    // Behind the last star, and how much of the text it has not taken. No star before it needs to take any other part.
    let mut star: Option<(&[u8], usize)> = None;
    loop {
        match next_token(rest) {
            None if at == text.len() => return true,
            Some((Token::Star, [])) => return true,
            Some((Token::Star, behind)) => {
                star = Some((behind, at));
                rest = behind;
                continue;
            }
            Some((token, behind)) if text.get(at).is_some_and(|byte| token.takes(*byte)) => {
                (rest, at) = (behind, at + 1);
                continue;
            }
            _ => {}
        }
        match &mut star {
            Some((behind, from)) if *from < text.len() => {
                *from += 1;
                (rest, at) = (behind, *from);
            }
            _ => return false,
        }
    }
}

/// Steps that trying may take before compiling is cheaper.
const TRIED_MAX: usize = 16 << 10;

fn tokens(mut pattern: &[u8]) -> impl Iterator<Item = Token<'_>> {
    std::iter::from_fn(move || {
        let (token, rest) = next_token(pattern)?;
        pattern = rest;
        Some(token)
    })
}

fn next_token(pattern: &[u8]) -> Option<(Token<'_>, &[u8])> {
    Some(match pattern {
        [] => return None,
        [b'*', rest @ ..] => (Token::Star, rest),
        [b'?', rest @ ..] => (Token::Any, rest),
        [b'[', rest @ ..] => {
            let (class, rest) = Class::split(rest);
            (Token::Class(class), rest)
        }
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (Token::One(*literal), rest),
    })
}

impl Token<'_> {
    fn takes(&self, byte: u8) -> bool {
        match self {
            Token::Star | Token::Any => true,
            Token::One(one) => *one == byte,
            Token::Class(class) => holds(&class.bytes(false), byte),
        }
    }
}

impl<'a> Class<'a> {
    /// The class behind a `[`, and what follows it. The end of the pattern closes it too.
    fn split(pattern: &'a [u8]) -> (Class<'a>, &'a [u8]) {
        let is_negated = pattern.first() == Some(&b'^');
        let parts = &pattern[usize::from(is_negated)..];
        let mut at = 0;
        loop {
            at += match &parts[at..] {
                [] => return (Class { is_negated, parts }, &[]),
                [b'\\', _, ..] => 2,
                [b']', rest @ ..] => return (Class { is_negated, parts: &parts[..at] }, rest),
                [_, b'-', _, ..] => 3,
                [_, ..] => 1,
            };
        }
    }

    /// The bytes that it takes. An escaped byte is taken as it is, also when case is ignored; the ends of a range are signed bytes: both are
    /// what Redis does.
    fn bytes(&self, ignore_case: bool) -> Bytes {
        let mut bytes = [0; 4];
        let mut rest = self.parts;
        while let [first, ..] = rest {
            rest = match rest {
                [b'\\', literal, behind @ ..] => {
                    add(&mut bytes, *literal);
                    behind
                }
                [start, b'-', end, behind @ ..] => {
                    add_range(&mut bytes, *start, *end, ignore_case);
                    behind
                }
                _ => {
                    add(&mut bytes, *first);
                    if ignore_case {
                        add(&mut bytes, first.to_ascii_lowercase());
                        add(&mut bytes, first.to_ascii_uppercase());
                    }
                    &rest[1..]
                }
            };
        }
        if self.is_negated { bytes.map(|word| !word) } else { bytes }
    }
}

fn add(bytes: &mut Bytes, byte: u8) {
    bytes[usize::from(byte / 64)] |= 1 << (byte % 64);
}

fn holds(bytes: &Bytes, byte: u8) -> bool {
    bytes[usize::from(byte / 64)] & (1 << (byte % 64)) != 0
}

fn add_range(bytes: &mut Bytes, start: u8, end: u8, ignore_case: bool) {
    let (mut low, mut high) = (start.cast_signed(), end.cast_signed());
    if low > high {
        (low, high) = (high, low);
    }
    let lower = |byte: i8| byte.cast_unsigned().to_ascii_lowercase().cast_signed();
    if ignore_case {
        (low, high) = (lower(low), lower(high));
    }
    for byte in 0..=u8::MAX {
        let compared = if ignore_case { lower(byte.cast_signed()) } else { byte.cast_signed() };
        if (low..=high).contains(&compared) {
            add(bytes, byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
        Pattern::new(pattern, ignore_case).unwrap().matches(text)
    }

    fn is_match(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes(), false)
    }

    #[test]
    fn stars_and_question_marks_match_as_in_a_shell() {
        for (pattern, text) in
            [("h?llo", "hello"), ("h*llo", "hllo"), ("h*llo", "heeeello"), ("*", "a"), ("a**", "a"), ("*b*", "abc")]
        {
            assert!(is_match(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("h?llo", "hllo"), ("a*b", "a"), ("*a", "ab"), ("", "a"), ("a?", "a"), ("?*?", "a")] {
            assert!(!is_match(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_that_is_used_once_matches_as_a_compiled_one() {
        let long = vec![b'a'; 100_000];
        for (pattern, text) in [
            (&b"*"[..], &b""[..]),
            (b"", b""),
            (b"user:*", b"user:7"),
            (b"user:*", b"users:7"),
            (b"*a*a*a*b", &long),
            (b"*a*a*a*a", &long),
            (b"a*", &long),
            (b"a*[^a]*", &long),
        ] {
            assert_eq!(super::matches(pattern, text), matches(pattern, text, false), "{}", pattern.escape_ascii());
        }
        assert!(!super::matches(&[b'*'; PATTERN_BYTES_MAX + 1], &long), "no rule is as long");
    }

    #[test]
    fn the_empty_text_matches_only_the_empty_pattern() {
        assert!(is_match("", ""));
        assert!(!is_match("*", ""));
        assert!(!is_match("**", ""));
    }

    #[test]
    fn classes_know_ranges_negation_and_escapes() {
        for (pattern, text) in [
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-b]llo", "hbllo"),
            ("h[b-a]llo", "hbllo"),
            ("[\\]]", "]"),
            ("[^]", "x"),
            ("[a", "a"),
            ("[^", "a"),
            ("[a-", "-"),
            ("[\\", "\\"),
            ("a[b-d]*", "acxyz"),
        ] {
            assert!(is_match(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("h[^e]llo", "hello"), ("h[a-b]llo", "hcllo"), ("[]a]", "a"), ("[", "["), ("[]", "]")] {
            assert!(!is_match(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_backslash_takes_the_next_byte_as_it_is_and_stands_for_itself_at_the_end() {
        assert!(is_match("\\*", "*"));
        assert!(!is_match("\\*", "a"));
        assert!(is_match("a\\", "a\\"));
        assert!(is_match("\\\\", "\\"));
    }

    #[test]
    fn case_is_ignored_when_asked() {
        assert!(matches(b"HeLLo*", b"hEllO world", true));
        assert!(matches(b"[A-C]x", b"bX", true));
        assert!(!matches(b"[\\A]", b"a", true), "an escaped byte in a class keeps its case");
        assert!(!matches(b"a", b"A", false));
    }

    #[test]
    fn range_ends_are_signed_bytes() {
        assert!(matches(b"[\x80-\x7f]", b"a", false));
        assert!(matches(b"[a-\xff]", b"\xff", false));
        assert!(!matches(b"[\xf0-\xff]", b"a", false));
    }

    #[test]
    fn a_pattern_longer_than_the_limit_is_refused() {
        assert!(Pattern::new(&[b'a'; PATTERN_BYTES_MAX], false).unwrap().matches(&[b'a'; PATTERN_BYTES_MAX]));
        assert_eq!(Pattern::new(&[b'a'; PATTERN_BYTES_MAX + 1], false).err(), Some(PatternTooLong));
    }

    /// Each of these would be tried again at every byte of the text, with a class searched from its beginning each time.
    #[test]
    fn no_pattern_costs_more_than_the_text_times_the_words_of_its_states() {
        let text = "a".repeat(20_000);
        let class = format!("[{}]", "xyz".repeat(1_300));
        let tokens = format!("*{}b", "[^b]".repeat(1_000));
        for pattern in ["a*".repeat(2_000) + "b", format!("*{class}"), tokens, format!("*{}b", "a".repeat(4_000))] {
            assert!(!is_match(&pattern, &text));
            assert!(!matches(pattern.as_bytes(), text.as_bytes(), true));
        }
    }

    #[test]
    fn patterns_of_many_words_match_across_their_borders() {
        for count in [62, 63, 64, 65, 127, 128, 129, 500] {
            let text = "ab".repeat(count);
            for pattern in
                [text.clone(), "[a-c]?".repeat(count), "a*".repeat(count), format!("*{}", "?".repeat(2 * count))]
            {
                assert!(is_match(&pattern, &text), "{pattern}");
                assert!(!is_match(&pattern, &text[1..]) || pattern.starts_with('*'), "{pattern}");
                assert!(is_match(&format!("{pattern}*"), &format!("{text}and more")), "{pattern}");
                assert!(!is_match(&format!("{pattern}c"), &text), "{pattern}");
            }
        }
    }

    // The reference: Redis' own way, a token at a time.

    /// One token that is not `*`, against one byte: whether it matches, and how long the token is.
    fn match_one(pattern: &[u8], byte: u8, ignore_case: bool) -> (bool, usize) {
        match pattern {
            [b'?', ..] => (true, 1),
            [b'[', ..] => match_class(pattern, byte, ignore_case),
            [b'\\', literal, ..] => (same(*literal, byte, ignore_case), 2),
            [literal, ..] => (same(*literal, byte, ignore_case), 1),
            [] => (false, 0),
        }
    }

    /// A class, which the end of the pattern closes too. An escaped byte is compared as it is, also when case is ignored;
    /// the ends of a range are signed bytes: both are what Redis does.
    fn match_class(pattern: &[u8], byte: u8, ignore_case: bool) -> (bool, usize) {
        let mut at = 1;
        let negated = pattern.get(at) == Some(&b'^');
        at += usize::from(negated);
        let mut found = false;
        loop {
            match &pattern[at..] {
                [] => break,
                [b'\\', literal, ..] => {
                    found |= *literal == byte;
                    at += 2;
                }
                [b']', ..] => {
                    at += 1;
                    break;
                }
                [start, b'-', end, ..] => {
                    found |= in_range(*start, *end, byte, ignore_case);
                    at += 3;
                }
                [literal, ..] => {
                    found |= same(*literal, byte, ignore_case);
                    at += 1;
                }
            }
        }
        (found != negated, at)
    }

    fn in_range(start: u8, end: u8, byte: u8, ignore_case: bool) -> bool {
        let (mut low, mut high) = (start.cast_signed(), end.cast_signed());
        let mut byte = byte.cast_signed();
        if low > high {
            (low, high) = (high, low);
        }
        if ignore_case {
            (low, high, byte) = (lower(low), lower(high), lower(byte));
        }
        (low..=high).contains(&byte)
    }

    fn lower(byte: i8) -> i8 {
        byte.cast_unsigned().to_ascii_lowercase().cast_signed()
    }

    fn same(left: u8, right: u8, ignore_case: bool) -> bool {
        if ignore_case { left.eq_ignore_ascii_case(&right) } else { left == right }
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_the_plain_recursion(
            pattern in "[abA*?\\[\\]^\\\\-]{0,10}",
            text in "[abAB\\]\\\\-]{1,8}",
            ignore_case: bool,
        ) {
            fn reference(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
                match (pattern, text) {
                    ([], []) => true,
                    ([b'*', rest @ ..], _) => (0..=text.len()).any(|skip| reference(rest, &text[skip..], ignore_case)),
                    ([], _) | (_, []) => false,
                    (_, [byte, tail @ ..]) => {
                        let (matched, taken) = match_one(pattern, *byte, ignore_case);
                        matched && reference(&pattern[taken..], tail, ignore_case)
                    }
                }
            }
            let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
            proptest::prop_assert_eq!(matches(pattern, text, ignore_case), reference(pattern, text, ignore_case));
            proptest::prop_assert_eq!(super::matches(pattern, text), reference(pattern, text, false));
        }
    }
}
