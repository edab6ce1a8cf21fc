//! Replies as one line of JSON that every reader takes: RESP has values that JSON has not, and each gets a fixed form.
//!
//! ```text
//! map            an object; a key that is no text is its own JSON, as text      error       {"error": "ERR …"}
//! set, push      an array                                                       nil         null
//! bulk, text     a string; bytes that are no UTF-8 as the command line escapes them: "\\xff"
//! double         a number; "inf", "-inf" and "nan" as strings                   big number  a number
//! ```

use super::reply::plain_bytes;
use crate::resp::number::DoubleText;
use crate::resp::{Reply, inline};

pub(super) fn write(reply: &Reply, out: &mut Vec<u8>) {
    match reply {
        Reply::Null | Reply::NullArray => out.extend_from_slice(b"null"),
        Reply::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Reply::Bool(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Reply::Double(number) if number.is_finite() => out.extend_from_slice(DoubleText::new(*number).as_bytes()),
        Reply::Double(number) => string(DoubleText::new(*number).as_bytes(), out),
        Reply::BigNumber(digits) => out.extend_from_slice(digits.trim_start_matches('+').as_bytes()),
        Reply::Error(text) => {
            out.extend_from_slice(b"{\"error\":");
            string(text.as_bytes(), out);
            out.push(b'}');
        }
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
            out.push(b'[');
            separated(items, out, write);
            out.push(b']');
        }
        Reply::Map(pairs) => {
            out.push(b'{');
            separated(pairs, out, |(key, value), out| {
                name(key, out);
                out.push(b':');
                write(value, out);
            });
            out.push(b'}');
        }
        text => string(plain_bytes(text), out),
    }
}

fn separated<T>(items: &[T], out: &mut Vec<u8>, mut write: impl FnMut(&T, &mut Vec<u8>)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(item, out);
    }
}

fn name(key: &Reply, out: &mut Vec<u8>) {
    match key {
        Reply::Ok | Reply::Simple(_) | Reply::Bulk(_) | Reply::Verbatim { .. } | Reply::BigNumber(_) => {
            string(plain_bytes(key), out);
        }
        other => {
            let mut text = Vec::new();
            write(other, &mut text);
            string(&text, out);
        }
    }
}

pub(super) fn string(bytes: &[u8], out: &mut Vec<u8>) {
    let text = match str::from_utf8(bytes) {
        Ok(text) => std::borrow::Cow::Borrowed(text),
        Err(_) => {
            let mut escaped = Vec::new();
            inline::escape(bytes, &mut escaped);
            std::borrow::Cow::Owned(String::from_utf8(escaped).expect("escaped bytes are ASCII"))
        }
    };
    serde_json::to_writer(out, &text).expect("a Vec takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(reply: &Reply) -> serde_json::Value {
        let mut out = Vec::new();
        write(reply, &mut out);
        serde_json::from_slice(&out).unwrap()
    }

    fn bulk(bytes: &[u8]) -> Reply {
        Reply::Bulk(bytes.to_vec())
    }

    #[test]
    fn every_type_has_a_form_that_parses() {
        let cases = [
            (Reply::Ok, serde_json::json!("OK")),
            (Reply::Null, serde_json::json!(null)),
            (Reply::Integer(-3), serde_json::json!(-3)),
            (Reply::Bool(true), serde_json::json!(true)),
            (Reply::Double(1.5), serde_json::json!(1.5)),
            (Reply::Double(f64::INFINITY), serde_json::json!("inf")),
            (Reply::BigNumber("12".into()), serde_json::json!(12)),
            (Reply::Error("ERR no".into()), serde_json::json!({"error": "ERR no"})),
            (bulk(b"a\"\n\x01"), serde_json::json!("a\"\n\u{1}")),
            (bulk("\u{e9}".as_bytes()), serde_json::json!("\u{e9}")),
            (bulk(b"\xff\\"), serde_json::json!("\\xff\\\\")),
            (Reply::Set(vec![bulk(b"a")]), serde_json::json!(["a"])),
            (
                Reply::Map(vec![(bulk(b"a"), Reply::Array(vec![])), (Reply::Integer(1), Reply::Null)]),
                serde_json::json!({"a": [], "1": null}),
            ),
        ];
        for (reply, json) in cases {
            assert_eq!(parsed(&reply), json);
        }
    }
}
