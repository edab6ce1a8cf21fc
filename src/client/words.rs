//! A typed line and its words: the arguments of the command.

use crate::resp::inline;

/// The words of a line; none in a blank one. `None`: a quote is not closed, or is closed in mid-word.
pub(crate) fn split_line(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut text, mut spans) = (Vec::new(), Vec::new());
    inline::split(line, &mut text, &mut spans).ok()?;
    Some(spans.into_iter().map(|span| text[span].to_vec()).collect())
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
}
