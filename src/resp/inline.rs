//! A command as a line of text: splits it into arguments by the quoting rules of Redis (`sdssplitargs`).
//! The server reads what a person types into `nc` with it, the client what a person types into its prompt.

use std::ops::Range;

/// A quote that is not closed, or is closed in the middle of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnbalancedQuotes;

/// Splits `line` (without its line end). The unquoted arguments are appended to `text`, and where each stands in `text`
/// to `spans`.
///
/// - `"…"` knows `\n \r \t \b \a \xHH`; any other byte after a backslash stands for itself.
/// - `'…'` knows `\'` only.
/// - A closing quote ends the argument and is followed by a blank or nothing; an opening one may stand in mid-word.
///
/// A NUL byte is an ordinary byte. (Redis never answers a line that has one.)
pub fn split(line: &[u8], text: &mut Vec<u8>, spans: &mut Vec<Range<usize>>) -> Result<(), UnbalancedQuotes> {
    let mut rest = line;
    loop {
        rest = skip_blanks(rest);
        if rest.is_empty() {
            return Ok(());
        }
        let start = text.len();
        rest = take_word(rest, text)?;
        spans.push(start..text.len());
    }
}

/// Appends one argument and returns what follows it.
fn take_word<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        match rest {
            // A word may hold a vertical tab or a form feed, though it cannot begin with one.
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Ok(rest),
            [b'"', quoted @ ..] => return after_closing_quote(take_double_quoted(quoted, text)?),
            [b'\'', quoted @ ..] => return after_closing_quote(take_single_quoted(quoted, text)?),
            [byte, after @ ..] => {
                text.push(*byte);
                rest = after;
            }
        }
    }
}

/// Both return what follows the closing quote.
fn take_double_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        let (byte, after) = match rest {
            [] => return Err(UnbalancedQuotes),
            [b'"', after @ ..] => return Ok(after),
            [b'\\', b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex_digit(*high) << 4 | hex_digit(*low), after)
            }
            [b'\\', escaped, after @ ..] => (unescape(*escaped), after),
            [byte, after @ ..] => (*byte, after),
        };
        text.push(byte);
        rest = after;
    }
}

fn take_single_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        let (byte, after) = match rest {
            [] => return Err(UnbalancedQuotes),
            [b'\'', after @ ..] => return Ok(after),
            [b'\\', b'\'', after @ ..] => (b'\'', after),
            [byte, after @ ..] => (*byte, after),
        };
        text.push(byte);
        rest = after;
    }
}

fn after_closing_quote(rest: &[u8]) -> Result<&[u8], UnbalancedQuotes> {
    match rest.first() {
        Some(byte) if !is_blank(*byte) => Err(UnbalancedQuotes),
        _ => Ok(rest),
    }
}

fn skip_blanks(line: &[u8]) -> &[u8] {
    let blanks = line.iter().take_while(|byte| is_blank(**byte)).count();
    &line[blanks..]
}

/// `isspace` of the C locale.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

/// `digit` is a hexadecimal digit.
fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Puts bytes so that `split` reads them back when they stand between double quotes: what is not printable ASCII is escaped,
/// as `sdscatrepr` of Redis does.
pub fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => {
                let digit = |half: u8| b"0123456789abcdef"[usize::from(half)];
                out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[u8]) -> Result<Vec<Vec<u8>>, UnbalancedQuotes> {
        let (mut text, mut spans) = (Vec::new(), Vec::new());
        split(line, &mut text, &mut spans)?;
        Ok(spans.into_iter().map(|span| text[span].to_vec()).collect())
    }

    #[test]
    fn lines_are_split_as_redis_splits_them() {
        let cases: &[(&[u8], &[&[u8]])] = &[
            (b"", &[]),
            (b" \t\x0b\x0c ", &[]),
            (b"PING", &[b"PING"]),
            (b"  SET  k\tv ", &[b"SET", b"k", b"v"]),
            (br#"SET k "hello world""#, &[b"SET", b"k", b"hello world"]),
            (br#""\n\r\t\b\a\\\"\q""#, &[b"\n\r\t\x08\x07\\\"q"]),
            (br#""\x41\xfF\x4""#, &[b"A\xffx4"]),
            (br#""\xg1""#, &[b"xg1"]),
            (br"'it\'s' 'a\nb' '\\a'", &[b"it's", br"a\nb", br"\\a"]),
            (br#"'' """#, &[b"", b""]),
            (br#"foo"bar" b'a z'"#, &[b"foobar", b"ba z"]),
            (b"a\x0bb \x0bc", &[b"a\x0bb", b"c"]),
            (b"\"a\"\x0bb", &[b"a", b"b"]),
            (b"a\0b \0", &[b"a\0b", b"\0"]),
            (b"a\\n", &[b"a\\n"]),
            ("SET κ 値".as_bytes(), &[b"SET", "κ".as_bytes(), "値".as_bytes()]),
        ];
        for (line, expected) in cases {
            assert_eq!(words(line).unwrap(), *expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn quotes_that_do_not_close_or_close_in_mid_word_are_refused() {
        let cases: [&[u8]; 9] = [br"'a\\'", b"\"", b"'", b"\"abc", b"'abc", b"\"a\"b", b"'a'b", b"\"a\\\"", b"\"a\\"];
        for line in cases {
            assert_eq!(words(line), Err(UnbalancedQuotes), "{}", line.escape_ascii());
        }
    }
}
