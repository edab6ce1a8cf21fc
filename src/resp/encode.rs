//! Replies (and a client's commands) to bytes. Appends to the caller's buffer and allocates nothing else.

use super::number::DoubleText;
use super::reply::{Reply, Version};

const CRLF: &[u8] = b"\r\n";
/// A type byte, the digits of a 64-bit number with its sign, CR and LF.
const HEADER_BYTES_MAX: usize = 1 + 20 + 2;

/// Appends `reply` as `version` writes it. RESP2 gets what Redis gives it: a map as a flat array, sets and pushes as
/// arrays, a boolean as an integer, the other types as bulk strings. RESP3 has one null.
pub fn encode(reply: &Reply, version: Version, out: &mut Vec<u8>) {
    match reply {
        Reply::Ok => out.extend_from_slice(b"+OK\r\n"),
        Reply::Simple(text) => simple(text, out),
        Reply::Error(text) => error(text, out),
        Reply::Integer(value) => integer(*value, out),
        Reply::Bulk(bytes) => bulk(bytes, out),
        Reply::Null => null(version, out),
        Reply::NullArray => null_array(version, out),
        Reply::Array(items) => {
            array_header(items.len(), out);
            encode_all(items, version, out);
        }
        Reply::Map(pairs) => {
            map_header(pairs.len(), version, out);
            for (key, value) in pairs {
                encode(key, version, out);
                encode(value, version, out);
            }
        }
        Reply::Set(items) => {
            set_header(items.len(), version, out);
            encode_all(items, version, out);
        }
        Reply::Push(items) => {
            push_header(items.len(), version, out);
            encode_all(items, version, out);
        }
        Reply::Double(value) => double(*value, version, out),
        Reply::Bool(value) => boolean(*value, version, out),
        Reply::BigNumber(digits) => big_number(digits, version, out),
        Reply::Verbatim { format, text } => verbatim(*format, text, version, out),
    }
}

/// Appends a command as a client sends it: an array of bulk strings.
pub fn encode_command<A: AsRef<[u8]>>(args: &[A], out: &mut Vec<u8>) {
    array_header(args.len(), out);
    for arg in args {
        bulk(arg.as_ref(), out);
    }
}

pub fn simple(text: &str, out: &mut Vec<u8>) {
    one_line(b'+', text, out);
}

/// `text` begins with its code. A line end inside it, which a peer may have put there, becomes a blank.
pub fn error(text: &str, out: &mut Vec<u8>) {
    one_line(b'-', text, out);
}

pub fn integer(value: i64, out: &mut Vec<u8>) {
    header(b':', value, out);
}

pub fn bulk(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(HEADER_BYTES_MAX + bytes.len() + CRLF.len());
    bulk_header(bytes.len(), out);
    out.extend_from_slice(bytes);
    out.extend_from_slice(CRLF);
}

/// So many bytes follow, then CR LF.
pub fn bulk_header(length: usize, out: &mut Vec<u8>) {
    header(b'$', length, out);
}

pub fn null(version: Version, out: &mut Vec<u8>) {
    out.extend_from_slice(match version {
        Version::Resp2 => b"$-1\r\n",
        Version::Resp3 => b"_\r\n",
    });
}

pub fn null_array(version: Version, out: &mut Vec<u8>) {
    out.extend_from_slice(match version {
        Version::Resp2 => b"*-1\r\n",
        Version::Resp3 => b"_\r\n",
    });
}

pub fn array_header(length: usize, out: &mut Vec<u8>) {
    header(b'*', length, out);
}

/// `pairs` keys and as many values follow, alternating.
pub fn map_header(pairs: usize, version: Version, out: &mut Vec<u8>) {
    match version {
        Version::Resp2 => array_header(pairs * 2, out),
        Version::Resp3 => header(b'%', pairs, out),
    }
}

pub fn set_header(length: usize, version: Version, out: &mut Vec<u8>) {
    match version {
        Version::Resp2 => array_header(length, out),
        Version::Resp3 => header(b'~', length, out),
    }
}

pub fn push_header(length: usize, version: Version, out: &mut Vec<u8>) {
    match version {
        Version::Resp2 => array_header(length, out),
        Version::Resp3 => header(b'>', length, out),
    }
}

pub fn double(value: f64, version: Version, out: &mut Vec<u8>) {
    let text = DoubleText::new(value);
    match version {
        Version::Resp2 => bulk(text.as_bytes(), out),
        Version::Resp3 => line(b',', text.as_bytes(), out),
    }
}

/// A double that has a text of its own.
pub fn double_text(text: &str, version: Version, out: &mut Vec<u8>) {
    match version {
        Version::Resp2 => bulk(text.as_bytes(), out),
        Version::Resp3 => line(b',', text.as_bytes(), out),
    }
}

pub fn boolean(value: bool, version: Version, out: &mut Vec<u8>) {
    out.extend_from_slice(match (version, value) {
        (Version::Resp2, false) => b":0\r\n",
        (Version::Resp2, true) => b":1\r\n",
        (Version::Resp3, false) => b"#f\r\n",
        (Version::Resp3, true) => b"#t\r\n",
    });
}

pub fn big_number(digits: &str, version: Version, out: &mut Vec<u8>) {
    match version {
        Version::Resp2 => bulk(digits.as_bytes(), out),
        Version::Resp3 => line(b'(', digits.as_bytes(), out),
    }
}

pub fn verbatim(format: [u8; 3], text: &[u8], version: Version, out: &mut Vec<u8>) {
    match version {
        Version::Resp2 => bulk(text, out),
        Version::Resp3 => {
            header(b'=', format.len() + 1 + text.len(), out);
            out.extend_from_slice(&format);
            out.push(b':');
            out.extend_from_slice(text);
            out.extend_from_slice(CRLF);
        }
    }
}

fn encode_all(items: &[Reply], version: Version, out: &mut Vec<u8>) {
    for item in items {
        encode(item, version, out);
    }
}

fn one_line(kind: u8, text: &str, out: &mut Vec<u8>) {
    out.push(kind);
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    for byte in &mut out[start..] {
        if matches!(*byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    out.extend_from_slice(CRLF);
}

fn line(kind: u8, text: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(text);
    out.extend_from_slice(CRLF);
}

#[inline]
fn header(kind: u8, number: impl itoa::Integer, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(number).as_bytes();
    out.reserve(HEADER_BYTES_MAX);
    out.push(kind);
    out.extend_from_slice(digits);
    out.extend_from_slice(CRLF);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(reply: &Reply, version: Version) -> String {
        let mut out = Vec::new();
        encode(reply, version, &mut out);
        out.escape_ascii().to_string().replace("\\r\\n", "|")
    }

    #[test]
    fn every_type_has_its_form_in_both_versions() {
        let one = || Reply::Integer(1);
        let cases = [
            (Reply::Ok, "+OK|", "+OK|"),
            (Reply::Simple("PONG".into()), "+PONG|", "+PONG|"),
            (Reply::Error("ERR no".into()), "-ERR no|", "-ERR no|"),
            (Reply::Integer(i64::MIN), ":-9223372036854775808|", ":-9223372036854775808|"),
            (Reply::Bulk(b"a\r\nb".to_vec()), "$4|a|b|", "$4|a|b|"),
            (Reply::Bulk(Vec::new()), "$0||", "$0||"),
            (Reply::Null, "$-1|", "_|"),
            (Reply::NullArray, "*-1|", "_|"),
            (Reply::Array(vec![one(), Reply::Null]), "*2|:1|$-1|", "*2|:1|_|"),
            (Reply::Map(vec![(one(), Reply::Ok)]), "*2|:1|+OK|", "%1|:1|+OK|"),
            (Reply::Set(vec![one()]), "*1|:1|", "~1|:1|"),
            (Reply::Push(vec![one()]), "*1|:1|", ">1|:1|"),
            (Reply::Double(1.5), "$3|1.5|", ",1.5|"),
            (Reply::Double(f64::INFINITY), "$3|inf|", ",inf|"),
            (Reply::Double(f64::NEG_INFINITY), "$4|-inf|", ",-inf|"),
            (Reply::Double(f64::NAN), "$3|nan|", ",nan|"),
            (Reply::Bool(true), ":1|", "#t|"),
            (Reply::Bool(false), ":0|", "#f|"),
            (Reply::BigNumber("-12".into()), "$3|-12|", "(-12|"),
            (Reply::Verbatim { format: *b"txt", text: b"hi".to_vec() }, "$2|hi|", "=6|txt:hi|"),
        ];
        for (reply, resp2, resp3) in cases {
            assert_eq!(encoded(&reply, Version::Resp2), resp2);
            assert_eq!(encoded(&reply, Version::Resp3), resp3);
        }
    }

    #[test]
    fn a_line_end_cannot_be_smuggled_into_a_line() {
        assert_eq!(encoded(&Reply::Error("ERR 'a\r\n+OK\r\n'".into()), Version::Resp2), "-ERR \\'a  +OK  \\'|");
        assert_eq!(encoded(&Reply::Simple("a\nb".into()), Version::Resp3), "+a b|");
    }

    #[test]
    fn a_command_is_an_array_of_bulk_strings() {
        let mut out = Vec::new();
        encode_command(&["GET", "k"], &mut out);
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    }
}
