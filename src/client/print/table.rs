//! Tables for a terminal: columns as wide as their widest cell, drawn with a line below the heading.

use unicode_width::UnicodeWidthStr;

use super::reply::{plain_bytes, quote};
use crate::resp::Reply;
use crate::resp::number::DoubleText;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows may be shorter than the heading. Every line ends with a line end.
pub(crate) fn table(heading: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let widest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width());
        cells.chain([heading[column].0.width()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(widest).collect();
    let mut out = String::new();
    let titles: Vec<String> = heading.iter().map(|(title, _)| (*title).to_owned()).collect();
    line(&mut out, &titles, heading, &widths);
    let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
    out.push_str(&rule.join("─┼─"));
    out.push('\n');
    for row in rows {
        line(&mut out, row, heading, &widths);
    }
    out
}

fn line(out: &mut String, cells: &[String], heading: &[(&str, Align)], widths: &[usize]) {
    let mut text = String::new();
    for (column, (_, align)) in heading.iter().enumerate() {
        let cell = cells.get(column).map_or("", String::as_str);
        let blanks = " ".repeat(widths[column] - cell.width());
        if column > 0 {
            text.push_str(" │ ");
        }
        match align {
            Align::Left => text.extend([cell, &blanks]),
            Align::Right => text.extend([&blanks, cell]),
        }
    }
    out.push_str(text.trim_end());
    out.push('\n');
}

/// A value in one line of a table: text as it is; what is binary, has blanks at its ends or could be taken for a mark is
/// quoted and escaped.
pub(crate) fn cell(reply: &Reply) -> String {
    match reply {
        Reply::Null | Reply::NullArray => "(nil)".to_owned(),
        Reply::Integer(number) => number.to_string(),
        Reply::Bool(value) => value.to_string(),
        Reply::Double(number) => String::from_utf8_lossy(DoubleText::new(*number).as_bytes()).into_owned(),
        Reply::Error(text) => format!("(error) {text}"),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
            format!("[{}]", items.iter().map(cell).collect::<Vec<_>>().join(", "))
        }
        Reply::Map(pairs) => {
            let pairs: Vec<String> =
                pairs.iter().map(|(key, value)| format!("{}: {}", cell(key), cell(value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        text => text_cell(plain_bytes(text)),
    }
}

fn text_cell(bytes: &[u8]) -> String {
    let is_plain = |text: &&str| {
        !text.is_empty() && text.trim() == *text && !text.starts_with(['"', '(']) && !text.chars().any(char::is_control)
    };
    match str::from_utf8(bytes).ok().filter(is_plain) {
        Some(text) => text.to_owned(),
        None => {
            let mut quoted = Vec::new();
            quote(bytes, &mut quoted);
            String::from_utf8(quoted).expect("escaped bytes are ASCII")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_what_a_terminal_shows() {
        let rows = vec![vec!["a".to_owned(), "1".to_owned()], vec!["\u{6f22}\u{5b57}".to_owned(), "1000".to_owned()]];
        let drawn = table(&[("key", Align::Left), ("n", Align::Right)], &rows);
        assert_eq!(drawn, "key  │    n\n─────┼─────\na    │    1\n\u{6f22}\u{5b57} │ 1000\n");
    }

    #[test]
    fn a_cell_shows_what_is_text_and_escapes_the_rest() {
        for (bytes, shown) in [
            (&b"plain text"[..], "plain text"),
            ("\u{e9}".as_bytes(), "\u{e9}"),
            (b"", "\"\""),
            (b" a", "\" a\""),
            (b"(nil)", "\"(nil)\""),
            (b"a\nb", "\"a\\nb\""),
            (b"\xff\x00", "\"\\xff\\x00\""),
        ] {
            assert_eq!(cell(&Reply::Bulk(bytes.to_vec())), shown);
        }
        assert_eq!(cell(&Reply::Array(vec![Reply::Integer(1), Reply::Null])), "[1, (nil)]");
    }
}
