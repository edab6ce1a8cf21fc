//! Replies in the two styles of redis-cli: raw for programs, quoted for a person at a terminal.

use std::io::Write;

use super::{csv, json};
use crate::resp::Reply;
use crate::resp::inline;
use crate::resp::number::DoubleText;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// The bytes of the values as they are, one value a line.
    Raw,
    /// With types, quotes and numbered items.
    Quoted,
    /// One line of JSON.
    Json,
    /// Rows of comma-separated values.
    Csv,
}

/// The reply and a line end.
#[must_use]
pub fn print(reply: &Reply, style: Style) -> Vec<u8> {
    let mut out = Vec::new();
    match style {
        Style::Raw => raw(reply, &mut out),
        Style::Quoted => quoted(reply, 0, &mut out),
        Style::Json => json::write(reply, &mut out),
        Style::Csv => csv::write(reply, &mut out),
    }
    out.push(b'\n');
    out
}

fn raw(reply: &Reply, out: &mut Vec<u8>) {
    match reply {
        Reply::Null | Reply::NullArray => {}
        Reply::Integer(number) => put(out, format_args!("{number}")),
        Reply::Bool(value) => put(out, format_args!("({value})")),
        Reply::Double(number) => out.extend_from_slice(DoubleText::new(*number).as_bytes()),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => separated(items, out, raw),
        Reply::Map(pairs) => separated(pairs, out, |(key, value), out| {
            raw(key, out);
            out.push(b' ');
            raw(value, out);
        }),
        _ => out.extend_from_slice(plain_bytes(reply)),
    }
}

fn separated<T>(items: &[T], out: &mut Vec<u8>, mut print: impl FnMut(&T, &mut Vec<u8>)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b'\n');
        }
        print(item, out);
    }
}

/// `indent` columns stand before each line but the first, whose beginning the caller has written.
fn quoted(reply: &Reply, indent: usize, out: &mut Vec<u8>) {
    match reply {
        Reply::Null | Reply::NullArray => out.extend_from_slice(b"(nil)"),
        Reply::Integer(number) => put(out, format_args!("(integer) {number}")),
        Reply::Bool(value) => put(out, format_args!("({value})")),
        Reply::Double(number) => {
            out.extend_from_slice(b"(double) ");
            out.extend_from_slice(DoubleText::new(*number).as_bytes());
        }
        Reply::BigNumber(digits) => put(out, format_args!("(big number) {digits}")),
        Reply::Error(text) => put(out, format_args!("(error) {text}")),
        Reply::Bulk(bytes) => quote(bytes, out),
        Reply::Array(items) => numbered(items, "array", ')', indent, out, quoted),
        Reply::Push(items) => numbered(items, "push", ')', indent, out, quoted),
        Reply::Set(items) => numbered(items, "set", '~', indent, out, quoted),
        Reply::Map(pairs) => numbered(pairs, "hash", '#', indent, out, |(key, value), indent, out| {
            quoted(key, indent, out);
            out.extend_from_slice(b" => ");
            quoted(value, indent, out);
        }),
        _ => out.extend_from_slice(plain_bytes(reply)),
    }
}

/// One item a line, the numbers right-aligned.
fn numbered<T>(
    items: &[T],
    name: &str,
    mark: char,
    indent: usize,
    out: &mut Vec<u8>,
    print: impl Fn(&T, usize, &mut Vec<u8>),
) {
    if items.is_empty() {
        put(out, format_args!("(empty {name})"));
    }
    let digits = items.len().to_string().len();
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            put(out, format_args!("\n{:indent$}", ""));
        }
        put(out, format_args!("{:>digits$}{mark} ", index + 1));
        print(item, indent + digits + 2, out);
    }
}

/// The bytes of the replies that are just text.
pub(super) fn plain_bytes(reply: &Reply) -> &[u8] {
    match reply {
        Reply::Ok => b"OK",
        Reply::Simple(text) | Reply::Error(text) => text.as_bytes(),
        Reply::BigNumber(digits) => digits.as_bytes(),
        Reply::Bulk(bytes) | Reply::Verbatim { text: bytes, .. } => bytes,
        _ => b"",
    }
}

/// In double quotes, what is not printable ASCII escaped: can be given back to the command line as it is.
pub(super) fn quote(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    inline::escape(bytes, out);
    out.push(b'"');
}

pub(super) fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Reply {
        Reply::Bulk(text.into())
    }

    fn shown(reply: &Reply, style: Style) -> String {
        String::from_utf8(print(reply, style)).unwrap()
    }

    // Every expectation here is what redis-cli 7.0 prints, but for the blank line that it adds to a raw error.

    #[test]
    fn raw_output_is_the_bytes_of_the_values() {
        let cases = [
            (Reply::Ok, "OK\n"),
            (Reply::Integer(-3), "-3\n"),
            (Reply::Null, "\n"),
            (bulk("a\tb\n"), "a\tb\n\n"),
            (Reply::Error("ERR no".into()), "ERR no\n"),
            (Reply::Bool(true), "(true)\n"),
            (Reply::Double(1.5), "1.5\n"),
            (Reply::Array(vec![]), "\n"),
            (
                Reply::Array(vec![Reply::Integer(1), Reply::Array(vec![bulk("x"), Reply::Null]), bulk("y")]),
                "1\nx\n\ny\n",
            ),
            (Reply::Map(vec![(bulk("a"), bulk("1")), (bulk("b"), Reply::Integer(2))]), "a 1\nb 2\n"),
        ];
        for (reply, text) in cases {
            assert_eq!(shown(&reply, Style::Raw), text);
        }
    }

    #[test]
    fn quoted_output_shows_types_and_numbers_items() {
        let nested = Reply::Array(vec![
            Reply::Integer(1),
            Reply::Array(vec![Reply::Integer(2), Reply::Integer(3)]),
            Reply::Array(vec![]),
            bulk("x"),
        ]);
        let cases = [
            (Reply::Ok, "OK\n"),
            (Reply::Null, "(nil)\n"),
            (bulk("\u{1}\n\"\\"), "\"\\x01\\n\\\"\\\\\"\n"),
            (Reply::Error("ERR no".into()), "(error) ERR no\n"),
            (Reply::Double(10_000_000_000.0), "(double) 10000000000\n"),
            (Reply::Map(vec![]), "(empty hash)\n"),
            (nested, "1) (integer) 1\n2) 1) (integer) 2\n   2) (integer) 3\n3) (empty array)\n4) \"x\"\n"),
            (
                Reply::Map(vec![(bulk("a"), Reply::Array(vec![bulk("b"), bulk("c")]))]),
                "1# \"a\" => 1) \"b\"\n   2) \"c\"\n",
            ),
            (Reply::Set(vec![bulk("1")]), "1~ \"1\"\n"),
        ];
        for (reply, text) in cases {
            assert_eq!(shown(&reply, Style::Quoted), text);
        }
    }

    #[test]
    fn numbers_of_items_are_right_aligned() {
        let reply = Reply::Array((0..10).map(Reply::Integer).collect());
        let text = shown(&reply, Style::Quoted);
        assert!(text.starts_with(" 1) (integer) 0\n 2) ") && text.ends_with("\n10) (integer) 9\n"), "{text}");
    }
}
