//! Glob patterns as Redis' `stringmatchlen` matches them: `*`, `?`, `[a-z]`, `[^a]`, `\x`. Bytes in, a yes or no out.

/// True exactly when `pattern` matches the whole of `text`.
///
/// Every token but `*` takes exactly one byte, so the last `*` is the only one worth trying again: the time is at most
/// `pattern.len() * text.len()`, whatever the pattern. As in Redis nothing but the empty pattern matches the empty text
/// (KEYS and SCAN answer the pattern `*` without asking).
pub fn matches(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut at, mut position) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while position < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                last_star = Some((at, position));
                continue;
            }
            Some(_) => {
                let (matched, taken) = match_one(&pattern[at..], text[position], ignore_case);
                if matched {
                    at += taken;
                    position += 1;
                    continue;
                }
            }
            None => {}
        }
        let Some((after_star, from)) = last_star else { return false };
        last_star = Some((after_star, from + 1));
        (at, position) = (after_star, from + 1);
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn many_stars_cost_no_more_than_the_product_of_the_lengths() {
        let pattern = "a*".repeat(2_000) + "b";
        let text = "a".repeat(20_000);
        assert!(!is_match(&pattern, &text));
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_the_plain_recursion(pattern in "[ab*?\\[\\]^\\\\-]{0,8}", text in "[ab\\]\\\\-]{1,8}") {
            fn reference(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern, text) {
                    ([], []) => true,
                    ([b'*', rest @ ..], _) => (0..=text.len()).any(|skip| reference(rest, &text[skip..])),
                    ([], _) | (_, []) => false,
                    (_, [byte, tail @ ..]) => {
                        let (matched, taken) = match_one(pattern, *byte, false);
                        matched && reference(&pattern[taken..], tail)
                    }
                }
            }
            proptest::prop_assert_eq!(is_match(&pattern, &text), reference(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
