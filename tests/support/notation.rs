//! How transcripts and tests write down what a client sends: words, quoted where they need it.

/// `SET a "x\r\n" "y"*300`: bare words, quoted words with escapes, and `*N` behind a quoted one to repeat it.
pub fn words(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let word;
        (word, rest) = if let Some(quoted) = rest.strip_prefix('"') {
            let end = end_of_quotes(quoted).unwrap_or_else(|| panic!("no end of quotes: {line}"));
            let after = &quoted[end + 1..];
            let (times, after) = match after.strip_prefix('*') {
                Some(digits) => digits.split_at(digits.find(' ').unwrap_or(digits.len())),
                None => ("1", after),
            };
            (unescape(&quoted[..end]).repeat(times.parse().unwrap()), after)
        } else {
            let (bare, after) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
            (bare.as_bytes().to_vec(), after)
        };
        words.push(word);
        assert!(rest.is_empty() || rest.starts_with(' '), "words stand apart: {line}");
        rest = rest.trim_start();
    }
    words
}

/// `"+OK\r\n"`: all of it one quoted word, as bytes.
pub fn bytes_of(line: &str) -> Vec<u8> {
    words(line).concat()
}

fn end_of_quotes(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    })
}

pub fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (byte, length) = match rest {
            [b'n', ..] => (b'\n', 1),
            [b'r', ..] => (b'\r', 1),
            [b't', ..] => (b'\t', 1),
            [b'x', high, low, ..] => {
                let digits = [*high, *low];
                (u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap(), 3)
            }
            [other, ..] => (*other, 1),
            [] => panic!("a lone backslash: {text}"),
        };
        bytes.push(byte);
        rest = &rest[length..];
    }
    bytes
}
