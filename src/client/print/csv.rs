//! Replies as comma-separated values (RFC 4180: a quote inside quotes is doubled). A flat reply is one row; a map is a row
//! for each pair, and an array of nothing but arrays a row for each of them.

use super::reply::plain_bytes;
use crate::resp::Reply;
use crate::resp::number::DoubleText;

pub(super) fn write(reply: &Reply, out: &mut Vec<u8>) {
    match reply {
        Reply::Map(pairs) => rows(pairs, out, |(key, value), fields| {
            fields.push(key);
            flatten(value, fields);
        }),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items)
            if !items.is_empty() && items.iter().all(is_aggregate) =>
        {
            rows(items, out, flatten);
        }
        other => rows(&[other], out, |item, fields| flatten(item, fields)),
    }
}

fn is_aggregate(reply: &Reply) -> bool {
    matches!(reply, Reply::Array(_) | Reply::Set(_) | Reply::Map(_))
}

fn rows<'a, T>(items: &'a [T], out: &mut Vec<u8>, fields_of: impl Fn(&'a T, &mut Vec<&'a Reply>)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b'\n');
        }
        let mut fields = Vec::new();
        fields_of(item, &mut fields);
        for (column, field) in fields.into_iter().enumerate() {
            if column > 0 {
                out.push(b',');
            }
            scalar(field, out);
        }
    }
}

fn flatten<'a>(reply: &'a Reply, fields: &mut Vec<&'a Reply>) {
    match reply {
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
            items.iter().for_each(|item| flatten(item, fields));
        }
        Reply::Map(pairs) => {
            for (key, value) in pairs {
                flatten(key, fields);
                flatten(value, fields);
            }
        }
        scalar => fields.push(scalar),
    }
}

fn scalar(reply: &Reply, out: &mut Vec<u8>) {
    match reply {
        Reply::Null | Reply::NullArray => out.extend_from_slice(b"NULL"),
        Reply::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Reply::Bool(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Reply::Double(number) => out.extend_from_slice(DoubleText::new(*number).as_bytes()),
        Reply::BigNumber(digits) => out.extend_from_slice(digits.as_bytes()),
        Reply::Error(text) => {
            out.extend_from_slice(b"ERROR,");
            text_field(text.as_bytes(), out);
        }
        text => text_field(plain_bytes(text), out),
    }
}

fn text_field(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in bytes {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: &Reply) -> String {
        let mut out = Vec::new();
        write(reply, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn bulk(text: &str) -> Reply {
        Reply::Bulk(text.into())
    }

    #[test]
    fn rows_follow_the_shape_of_the_reply() {
        let pair = || Reply::Array(vec![bulk("a"), Reply::Integer(1)]);
        let cases = [
            (bulk("a\"b\nc"), "\"a\"\"b\nc\""),
            (Reply::Null, "NULL"),
            (Reply::Error("ERR no".into()), "ERROR,\"ERR no\""),
            (pair(), "\"a\",1"),
            (Reply::Array(vec![]), ""),
            (Reply::Array(vec![pair(), pair()]), "\"a\",1\n\"a\",1"),
            (Reply::Array(vec![bulk("0"), pair()]), "\"0\",\"a\",1"),
            (
                Reply::Map(vec![(bulk("a"), Reply::Double(1.5)), (bulk("b"), Reply::Bool(true))]),
                "\"a\",1.5\n\"b\",true",
            ),
        ];
        for (reply, text) in cases {
            assert_eq!(written(&reply), text);
        }
    }
}
