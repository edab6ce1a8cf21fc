//! A typed line and its words: the arguments of the command, and where each stands in the line.

use std::ops::Range;

use crate::resp::inline;

/// The words of a line; none in a blank one. `None`: a quote is not closed, or is closed in mid-word.
pub(crate) fn split_line(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut text, mut spans) = (Vec::new(), Vec::new());
    inline::split(line, &mut text, &mut spans).ok()?;
    Some(spans.into_iter().map(|span| text[span].to_vec()).collect())
}

/// A word as it stands in an unfinished line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// Its bytes in the line, quotes included.
    pub(crate) span: Range<usize>,
    /// What it means. An unfinished quote means what is there.
    pub(crate) text: Vec<u8>,
    /// The quote that is open at the end of the line.
    pub(crate) open_quote: Option<char>,
}

/// The words of a line that may be unfinished.
pub(crate) fn words_of(line: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut letters = line.char_indices().peekable();
    while let Some((start, letter)) = letters.next() {
        if letter.is_ascii_whitespace() {
            continue;
        }
        let mut quote = open_of(letter);
        let mut end = start + letter.len_utf8();
        while let Some(&(at, letter)) = letters.peek() {
            match quote {
                None if letter.is_ascii_whitespace() => break,
                None => quote = open_of(letter),
                // What follows a backslash closes nothing.
                Some(_) if letter == '\\' => {
                    letters.next();
                    end = at + 1;
                    if let Some((at, escaped)) = letters.next() {
                        end = at + escaped.len_utf8();
                    }
                    continue;
                }
                Some(open) if letter == open => quote = None,
                Some(_) => {}
            }
            letters.next();
            end = at + letter.len_utf8();
        }
        words.push(Word { text: meaning(&line[start..end], quote), span: start..end, open_quote: quote });
    }
    words
}

fn open_of(letter: char) -> Option<char> {
    matches!(letter, '"' | '\'').then_some(letter)
}

fn meaning(text: &str, open_quote: Option<char>) -> Vec<u8> {
    let closed = format!("{text}{}", open_quote.map(String::from).unwrap_or_default());
    let word = split_line(closed.as_bytes()).and_then(|words| words.into_iter().next());
    word.unwrap_or_else(|| text.as_bytes().to_vec())
}

/// A word so that the line means these bytes: as it is, or in double quotes.
pub(crate) fn quoted_if_needed(bytes: &[u8]) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    match str::from_utf8(bytes) {
        Ok(text) if !bytes.is_empty() && bytes.iter().all(is_plain) => text.to_owned(),
        _ => {
            let mut escaped = vec![b'"'];
            inline::escape(bytes, &mut escaped);
            escaped.push(b'"');
            String::from_utf8(escaped).expect("escaped bytes are ASCII")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_with_quotes() {
        assert_eq!(split_line(b"set 'a b' \"\\x00\"\r"), Some(vec![b"set".to_vec(), b"a b".to_vec(), vec![0]]));
        assert_eq!(split_line(b"  "), Some(vec![]));
        assert_eq!(split_line(b"set \"a"), None);
    }

    #[test]
    fn an_unfinished_line_has_words_with_places() {
        let words = words_of("set 'a b' \"x\\\" y");
        let shown: Vec<_> = words
            .iter()
            .map(|word| (word.span.clone(), String::from_utf8_lossy(&word.text), word.open_quote))
            .collect();
        let expected = [(0..3, "set".into(), None), (4..9, "a b".into(), None), (10..16, "x\" y".into(), Some('"'))];
        assert_eq!(shown, expected);
        assert_eq!(words_of("  "), []);
        assert_eq!(words_of("get \u{e9}t\u{e9} ")[1].text, "\u{e9}t\u{e9}".as_bytes());
    }

    #[test]
    fn what_is_quoted_means_the_same() {
        for bytes in [&b"a:1"[..], b"a b", b"", b"\xff\"", b"it's", b"{x}"] {
            let line = format!("get {}", quoted_if_needed(bytes));
            assert_eq!(split_line(line.as_bytes()).unwrap()[1], bytes);
        }
    }
}
